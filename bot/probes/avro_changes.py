"""What changed between two Avro schemas, field by field, and whether the subject's level allows it.

Simple rules, documented here; a registry has the last word. `reads(reader, writer)` is Avro's schema resolution:

    BACKWARD   the new schema must read data of the old one: an added field needs a default
    FORWARD    the old schema must read data of the new one: a removed field needed a default
    FULL       both
    NONE, or a level that is not known: a change is compatible when FULL allows it, else unknown

Paths are dotted field names (`after.email`, `lines[].price`). Neighbouring versions only, also for *_TRANSITIVE.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

COMPATIBLE = "compatible"
INCOMPATIBLE = "incompatible"
UNKNOWN = "unknown"

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_NAMED = ("record", "error", "enum", "fixed")
MAX_DEPTH = 32


@dataclass(frozen=True)
class Change:
    path: str
    change: str
    verdict: str


@dataclass(frozen=True)
class _Schema:
    """A schema node with the named types it may refer to."""

    node: Any
    names: Mapping[str, Any]

    @property
    def resolved(self) -> Any:
        return self.names.get(self.node, self.node) if isinstance(self.node, str) else self.node

    @property
    def kind(self) -> str:
        node = self.resolved
        if isinstance(node, list):
            return "union"
        kind = node.get("type") if isinstance(node, dict) else node
        return _Schema(kind, self.names).kind if isinstance(kind, dict | list) else str(kind)

    def of(self, node: Any) -> _Schema:
        return _Schema(node, self.names)

    @property
    def branches(self) -> list[_Schema]:
        return [self.of(node) for node in self.resolved] if self.kind == "union" else [self]

    @property
    def fields(self) -> dict[str, dict[str, Any]]:
        return {field["name"]: field for field in self.resolved["fields"]}


def parse(text: str) -> _Schema | None:
    """Return the schema, or None when the text is not an Avro schema."""
    try:
        node = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(node, dict | list | str):
        return None
    names: dict[str, Any] = {}
    _collect(node, "", names, 0)
    return _Schema(node, names)


def changes_between(old_text: str, new_text: str, level: str | None) -> tuple[Change, ...] | None:
    """Return the changes from old to new, judged at `level`; None when either text is not an Avro schema."""
    old, new = parse(old_text), parse(new_text)
    if old is None or new is None:
        return None
    try:
        return tuple(_changes(old, new, "", (level or "").removesuffix("_TRANSITIVE"), 0))
    except (KeyError, TypeError, AttributeError, RecursionError):
        return None


def field_at(schema_text: str, path: str) -> str | None:
    """Return the dotted field name of a registry's path (`/fields/1/type/1` -> `amount`), None when there is none."""
    schema = parse(schema_text)
    if schema is None:
        return None
    names: list[str] = []
    steps = [step for step in path.split("/") if step]
    node: Any = schema.resolved
    for step in steps:
        node = schema.of(node).resolved
        try:
            node = node[int(step)] if isinstance(node, list) else node[step]
        except (KeyError, IndexError, ValueError, TypeError):
            break
        if isinstance(node, dict) and "name" in node and "type" in node and node["type"] not in _NAMED:
            names.append(str(node["name"]))
    return ".".join(names) or None


def _collect(node: Any, namespace: str, names: dict[str, Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        return
    if isinstance(node, list):
        for branch in node:
            _collect(branch, namespace, names, depth + 1)
    if not isinstance(node, dict):
        return
    if node.get("type") in _NAMED and isinstance(node.get("name"), str):
        namespace = str(node.get("namespace") or node["name"].rpartition(".")[0] or namespace)
        short = node["name"].rpartition(".")[2]
        names[short] = node
        names[f"{namespace}.{short}"] = node
    fields = node.get("fields")
    for inner in (
        node.get("type"),
        node.get("items"),
        node.get("values"),
        *(fields if isinstance(fields, list) else ()),
    ):
        _collect(inner, namespace, names, depth + 1)


def _changes(old: _Schema, new: _Schema, path: str, level: str, depth: int) -> Iterator[Change]:
    if depth > MAX_DEPTH or (old.resolved == new.resolved and old.names == new.names):
        return
    pair = _same_container(old, new)
    if pair is None:
        if _words(old) != _words(new):
            verdict = _judge(level, reads(new, old), reads(old, new))
            yield Change(path or "(schema)", f"type {_words(old)} -> {_words(new)}", verdict)
        return
    old, new = pair
    if new.kind == "array":
        yield from _changes(old.of(old.resolved["items"]), new.of(new.resolved["items"]), f"{path}[]", level, depth + 1)
    elif new.kind == "map":
        yield from _changes(
            old.of(old.resolved["values"]), new.of(new.resolved["values"]), f"{path}{{}}", level, depth + 1
        )
    elif new.kind == "enum":
        yield from _enum_changes(old, new, path, level)
    else:
        yield from _field_changes(old, new, path, level, depth)


def _same_container(old: _Schema, new: _Schema) -> tuple[_Schema, _Schema] | None:
    """Return the two nodes whose insides can be compared: records, arrays, maps or enums that are equally optional."""
    if (old.kind == "union") != (new.kind == "union"):
        return None
    old_others = [branch for branch in old.branches if branch.kind != "null"]
    new_others = [branch for branch in new.branches if branch.kind != "null"]
    if len(old_others) != 1 or len(new_others) != 1 or len(old.branches) != len(new.branches):
        return None
    old, new = old_others[0], new_others[0]
    if old.kind != new.kind or old.kind not in ("record", "array", "map", "enum"):
        return None
    return old, new


def _field_changes(old: _Schema, new: _Schema, path: str, level: str, depth: int) -> Iterator[Change]:
    before, after = old.fields, new.fields
    for name, field in before.items():
        if name not in after and not any(name in other.get("aliases", ()) for other in after.values()):
            default = "with" if "default" in field else "without"
            yield Change(_join(path, name), f"removed ({default} default)", _judge(level, True, "default" in field))
    for name, field in after.items():
        where = _join(path, name)
        renamed = next((alias for alias in field.get("aliases", ()) if alias in before and alias not in after), None)
        if name not in before and renamed is None:
            default = f"default {json.dumps(field['default'])}" if "default" in field else "without default"
            words = f"added, {_words(new.of(field['type']))}, {default}"
            yield Change(where, words, _judge(level, "default" in field, True))
            continue
        earlier = before[renamed or name]
        if renamed:
            yield Change(where, f"renamed from {renamed} by alias", _judge(level, True, "default" in earlier))
        yield from _changes(old.of(earlier["type"]), new.of(field["type"]), where, level, depth + 1)
        if earlier.get("default", ...) != field.get("default", ...):
            # A default counts only for a side that lacks the field; both sides have it.
            yield Change(where, f"default {_default(earlier)} -> {_default(field)}", COMPATIBLE)


def _enum_changes(old: _Schema, new: _Schema, path: str, level: str) -> Iterator[Change]:
    before, after = old.resolved["symbols"], new.resolved["symbols"]
    added, removed = [s for s in after if s not in before], [s for s in before if s not in after]
    if added:
        yield Change(path, f"symbols added: {', '.join(added)}", _judge(level, True, "default" in old.resolved))
    if removed:
        yield Change(path, f"symbols removed: {', '.join(removed)}", _judge(level, "default" in new.resolved, True))


def _judge(level: str, backward: bool, forward: bool) -> str:
    needed = {"BACKWARD": backward, "FORWARD": forward, "FULL": backward and forward}
    if level in needed:
        return COMPATIBLE if needed[level] else INCOMPATIBLE
    return COMPATIBLE if backward and forward else UNKNOWN


def reads(reader: _Schema, writer: _Schema, depth: int = 0) -> bool:
    """Return whether data written with `writer` can always be read with `reader` (Avro schema resolution)."""
    if depth > MAX_DEPTH:
        return True  # a recursive type: equal so far
    if writer.kind == "union":
        return all(reads(reader, branch, depth + 1) for branch in writer.branches)
    if reader.kind == "union":
        return any(reads(branch, writer, depth + 1) for branch in reader.branches)
    if reader.kind != writer.kind:
        return reader.kind in _PROMOTIONS.get(writer.kind, ())
    mine, theirs = reader.resolved, writer.resolved
    if reader.kind == "array":
        return reads(reader.of(mine["items"]), writer.of(theirs["items"]), depth + 1)
    if reader.kind == "map":
        return reads(reader.of(mine["values"]), writer.of(theirs["values"]), depth + 1)
    if reader.kind == "enum":
        return "default" in mine or set(theirs["symbols"]) <= set(mine["symbols"])
    if reader.kind == "fixed":
        return bool(mine["size"] == theirs["size"])
    if reader.kind == "record":
        written = writer.fields
        return all(
            reads(reader.of(field["type"]), writer.of(written[found]["type"]), depth + 1)
            if found
            else "default" in field
            for name, field in reader.fields.items()
            for found in [next((key for key in (name, *field.get("aliases", ())) if key in written), None)]
        )
    return True


def _words(schema: _Schema) -> str:
    """Return a type in a few words: `null|long`, `array<string>`, `long (timestamp-millis)`, `record Address`."""
    kind, node = schema.kind, schema.resolved
    if kind == "union":
        return "|".join(_words(branch) for branch in schema.branches)
    if not isinstance(node, dict):
        return kind
    if kind in ("array", "map"):
        return f"{kind}<{_words(schema.of(node['items' if kind == 'array' else 'values']))}>"
    if kind in ("record", "enum"):
        return f"{kind} {str(node.get('name', '')).rpartition('.')[2]}".strip()
    if kind == "fixed":
        return f"fixed({node.get('size')})"
    logical = node.get("logicalType") or str(node.get("connect.name", "")).rpartition(".")[2]
    return f"{kind} ({logical})" if logical else kind


def _default(field: Mapping[str, Any]) -> str:
    return json.dumps(field["default"]) if "default" in field else "none"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
