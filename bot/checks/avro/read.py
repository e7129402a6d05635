"""From a parsed JSON document to an Avro schema; what cannot be read is a violation, and the rest is still read.

Two steps, so that files may come in any order: `read_part` reads one file and lists the names that it defines and uses;
`link` joins the parts and reports the names that nobody defines. A part's own definition of a name wins over another
file's.

Source of the rules: Avro 1.12 specification, "Schema Declaration" and "Names".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.checks.avro.schema import (
    MISSING,
    PRIMITIVES,
    Array,
    Enumeration,
    Field,
    Fixed,
    Logical,
    Map,
    Named,
    Primitive,
    Record,
    Reference,
    Schema,
    Type,
    Union,
)
from bot.checks.violation import Pointer, Severity, Violation

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Part:
    """One file: `root` is None where nothing could be read. `uses` are the references to names."""

    file: str
    root: Type | None
    defined: Mapping[str, Named]
    uses: tuple[Reference, ...]
    violations: tuple[Violation, ...]


def read_part(document: Any, file: str) -> Part:
    """Return what can be read of a file's JSON document."""
    reader = _Reader(file)
    root = reader.type_at(document, (), "", "")
    return Part(file, root, reader.defined, tuple(reader.uses), tuple(reader.violations))


def link(parts: Iterable[Part]) -> tuple[dict[str, Schema], tuple[Violation, ...]]:
    """Return the schema of each file that could be read, and a violation (A002) for every name that nobody defines.

    A file with an unknown name, its own or in a file it uses, has no schema: it cannot be judged further.
    """
    parts = list(parts)
    everywhere: dict[str, Named] = {}
    for part in parts:
        for name, definition in part.defined.items():
            everywhere.setdefault(name, definition)
    violations: list[Violation] = []
    broken: set[str] = set()
    for part in parts:
        for use in part.uses:
            if use.name not in part.defined and use.name not in everywhere:
                broken.add(part.file)
                violations.append(_unknown(part.file, use, len(parts)))
    home = {name: part.file for part in reversed(parts) for name in part.defined}
    needs = {
        part.file: {home[use.name] for use in part.uses if use.name not in part.defined and use.name in home}
        for part in parts
    }
    broken |= {part.file for part in parts if part.root is None}
    while more := {file for file, others in needs.items() if file not in broken and others & broken}:
        broken |= more
    schemas = {
        part.file: Schema(part.root, {**everywhere, **part.defined}, tuple(part.defined), part.file)
        for part in parts
        if part.root is not None and part.file not in broken
    }
    return schemas, tuple(violations)


def _unknown(file: str, use: Reference, searched: int) -> Violation:
    return Violation(
        "A002",
        Severity.ERROR,
        file,
        use.name,
        f"{use.name} is not defined in this file nor in the {searched - 1} others that were read",
        "Define it, correct the name, or give the file that defines it to the same run.",
        pointer=use.pointer,
    )


class _Reader:
    """`path` is the place in the schema's own terms; `namespace` the enclosing one."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.defined: dict[str, Named] = {}
        self.uses: list[Reference] = []
        self.violations: list[Violation] = []

    def report(self, rule: str, path: str, pointer: Pointer, message: str, remedy: str) -> None:
        self.violations.append(Violation(rule, Severity.ERROR, self.file, path, message, remedy, pointer=pointer))

    def type_at(self, node: Any, pointer: Pointer, namespace: str, path: str) -> Type | None:
        if isinstance(node, str):
            return self._named_use(node, pointer, namespace)
        if isinstance(node, list):
            branches = [self.type_at(branch, (*pointer, i), namespace, path) for i, branch in enumerate(node)]
            return Union(tuple(branch for branch in branches if branch is not None), pointer)
        if not isinstance(node, dict):
            self.report("A001", path, pointer, f"{node!r} is not a type", 'Write a type: "string", {...} or [...].')
            return None
        kind = node.get("type")
        if isinstance(kind, dict | list):
            return self.type_at(kind, (*pointer, "type"), namespace, path)
        if not isinstance(kind, str):
            self.report("A001", path, pointer, "a type without `type`", 'Write "type": "record", "string", ...')
            return None
        if kind in PRIMITIVES:
            return Primitive(kind, _logical(node), pointer, node)
        if kind == "array":
            items = self._inner(node, "items", pointer, namespace, f"{path}[]")
            return None if items is None else Array(items, pointer, node)
        if kind == "map":
            values = self._inner(node, "values", pointer, namespace, f"{path}{{}}")
            return None if values is None else Map(values, pointer, node)
        if kind in ("record", "error", "enum", "fixed"):
            return self._definition(kind, node, pointer, namespace, path)
        return self._named_use(kind, (*pointer, "type"), namespace)

    def _inner(self, node: Mapping[str, Any], key: str, pointer: Pointer, namespace: str, path: str) -> Type | None:
        if key not in node:
            self.report(
                "A001", path, pointer, f"{node['type']} without `{key}`", f'Write "{key}": the type of its {key}.'
            )
            return None
        return self.type_at(node[key], (*pointer, key), namespace, path)

    def _named_use(self, name: str, pointer: Pointer, namespace: str) -> Type:
        if name in PRIMITIVES:
            return Primitive(name, None, pointer)
        use = Reference(full_name(name, namespace), pointer)
        self.uses.append(use)
        return use

    def _definition(self, kind: str, node: Mapping[str, Any], pointer: Pointer, outer: str, path: str) -> Type | None:
        written = node.get("name")
        if not isinstance(written, str) or not written:
            self.report("A005", path, pointer, f"{kind} without a name", 'Write "name": "...".')
            return None
        name = full_name(written, node.get("namespace") if isinstance(node.get("namespace"), str) else outer)
        namespace = name.rpartition(".")[0]
        if name in self.defined:
            self.report("A003", path, pointer, f"{name} is defined twice in this file", "Use its name the second time.")
        aliases = tuple(full_name(alias, namespace) for alias in _strings(node.get("aliases")))
        doc = node.get("doc") if isinstance(node.get("doc"), str) else None
        reference = Reference(name, pointer)
        if kind == "enum":
            default = node.get("default") if isinstance(node.get("default"), str) else None
            self.defined[name] = Enumeration(
                name, tuple(_strings(node.get("symbols"))), default, aliases, doc, pointer, node
            )
            return reference
        if kind == "fixed":
            size = node.get("size")
            if not isinstance(size, int) or isinstance(size, bool) or size < 0:
                self.report("A001", path, pointer, "fixed without a size", 'Write "size": the number of bytes.')
                return None
            self.defined[name] = Fixed(name, size, _logical(node), aliases, pointer, node)
            return reference
        # A record may use itself: its name stands before its fields are read.
        self.defined[name] = Record(name, (), aliases, doc, kind == "error", pointer, node)
        fields = node.get("fields")
        if not isinstance(fields, list):
            self.report("A001", path, pointer, f"record {name} without `fields`", 'Write "fields": [...].')
            fields = []
        read = [self._field(one, (*pointer, "fields", i), namespace, path) for i, one in enumerate(fields)]
        self.defined[name] = Record(
            name, tuple(one for one in read if one is not None), aliases, doc, kind == "error", pointer, node
        )
        return reference

    def _field(self, node: Any, pointer: Pointer, namespace: str, path: str) -> Field | None:
        if not isinstance(node, dict) or not isinstance(node.get("name"), str):
            self.report("A005", path, pointer, "a field without a name", 'Write {"name": "...", "type": ...}.')
            return None
        name = node["name"]
        inner = f"{path}.{name}" if path else name
        if "type" not in node:
            self.report("A001", inner, pointer, f"field {name} without `type`", 'Write "type": ....')
            return None
        type_ = self.type_at(node["type"], (*pointer, "type"), namespace, inner)
        if type_ is None:
            return None
        return Field(
            name,
            type_,
            node.get("default", MISSING),
            tuple(_strings(node.get("aliases"))),
            node.get("doc") if isinstance(node.get("doc"), str) else None,
            str(node.get("order", "ascending")),
            pointer,
            node,
        )


def full_name(name: str, namespace: str | None) -> str:
    """Return the full name: a dotted one is full already; the empty namespace is none (specification, "Names")."""
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _strings(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _logical(node: Mapping[str, Any]) -> Logical | None:
    name = node.get("logicalType")
    if not isinstance(name, str):
        return None
    if name != "decimal":
        return Logical(name)
    precision, scale = node.get("precision"), node.get("scale", 0)
    return Logical(name, precision if type(precision) is int else None, scale if type(scale) is int else None)
