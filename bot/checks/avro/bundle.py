"""An Avro schema as one text: the types that it takes from other files written where they are used first.

So it is registered by those who use no references, and so a registry can judge it before the others are registered.
"""

from __future__ import annotations

import json
from typing import Any

from bot.checks.avro.read import Part, full_name
from bot.checks.avro.schema import PRIMITIVES, Schema, namespace_of


def bundled(part: Part, schema: Schema | None) -> str | None:
    """Return the whole schema of a linked file as JSON; None where it could not be linked or its root is a name."""
    if schema is None or part.root is None:
        return None
    name = schema.name
    root: Any = schema.named[name].attributes if name is not None else None
    return None if root is None else json.dumps(_Bundle(schema).type_at(root, ""), ensure_ascii=False)


class _Bundle:
    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._written = {name for name in schema.defined if name != schema.name}

    def type_at(self, node: Any, namespace: str) -> Any:
        if isinstance(node, str):
            return self._use(node, namespace)
        if isinstance(node, list):
            return [self.type_at(branch, namespace) for branch in node]
        if not isinstance(node, dict):
            return node
        kind = node.get("type")
        if isinstance(kind, dict | list):
            return {**node, "type": self.type_at(kind, namespace)}
        if kind in ("record", "error", "enum", "fixed"):
            return self._definition(node, namespace)
        if kind in ("array", "map"):
            inner = "items" if kind == "array" else "values"
            return {**node, inner: self.type_at(node.get(inner), namespace)}
        return {**node, "type": self._use(kind, namespace)} if isinstance(kind, str) else node

    def _definition(self, node: dict[str, Any], outer: str) -> dict[str, Any]:
        written = node.get("namespace")
        name = full_name(str(node.get("name")), written if isinstance(written, str) else outer)
        self._written.add(name)
        namespace = namespace_of(name)
        fields = node.get("fields")
        if not isinstance(fields, list):
            return node
        inner = [{**one, "type": self.type_at(one.get("type"), namespace)} for one in fields if isinstance(one, dict)]
        return {**node, "fields": inner}

    def _use(self, name: str, namespace: str) -> Any:
        """Return a name, or the definition of another file's type at its first use, under its full name."""
        full = full_name(name, namespace)
        if name in PRIMITIVES or full in self._written or full not in self._schema.named:
            return name
        definition = self._schema.named[full]
        node = {**definition.attributes, "name": full}
        node.pop("namespace", None)
        if "." not in full:
            node["namespace"] = ""
        return self._definition(node, "")
