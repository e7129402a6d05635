"""The JSON to paste for exactly the field that a change rule stopped. Long types are told in words, not cut.

A field is moved with what its types need: one that the new schema defines elsewhere is named, since a second definition
is an error; one that it no longer defines is brought along; a short name that would mean another type becomes full.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bot.checks.avro.read import full_name
from bot.checks.avro.schema import Field, Primitive, Record, Schema, Union, namespace_of, unqualified

LONGEST = 600
"""Characters of JSON that somebody still pastes from a report."""

_PRIMITIVES = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))


def fragment(value: Any) -> str | None:
    """Return JSON on one line, None where it is too long or too deep to paste."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return None
    return text if len(text) <= LONGEST else None


class Fields:
    """Fields as they can be pasted into `new`, in the place of `instead` where there is one; in the order of asking."""

    def __init__(self, new: Schema, space: str, instead: Field | None = None) -> None:
        self.new, self.space, self.instead = new, space, instead
        self.known: set[str] | None = None
        self.later: frozenset[str] = frozenset()

    def as_it_was(self, old: Schema, field: Field) -> str:
        """Return the field's own JSON."""
        return self._told(old, field, {}) or f'the field "{field.name}" as it was'

    def decision(self, home: Schema, field: Field, less: tuple[str, ...] = ()) -> str:
        """Return the field made optional: null first, default null; `less` some attributes."""
        settled = ("name", "type", "default", *less)
        kept = {key: value for key, value in field.attributes.items() if key not in settled}
        made = {"name": field.name, "type": _optional(field.attributes.get("type")), "default": None, **kept}
        told = self._told(home, field, made)
        return told or f'"{field.name}": put its type into ["null", ...] and write "default": null beside it'

    def reordered(self, home: Schema, field: Field, first: int, default: Any) -> str:
        """Return the field with one branch of its union first, and a default of that."""
        branches = list(field.attributes["type"])
        made = {**field.attributes, "type": [branches.pop(first), *branches], "default": default}
        return self._told(home, field, made) or f'"{field.name}" with that branch first'

    def beside(self, field: Field, taken: Mapping[str, object]) -> str:
        """Return a new optional field that carries the new type under a name that is not taken."""
        count = 2
        while f"{field.name}_v{count}" in taken:
            count += 1
        fresh = {"name": f"{field.name}_v{count}", "type": _optional(field.attributes.get("type")), "default": None}
        return self._told(self.new, field, fresh) or f'"{field.name}_v{count}", its type in ["null", ...], default null'

    def _told(self, home: Schema, field: Field, made: Mapping[str, Any]) -> str | None:
        made = made or dict(field.attributes)
        if _is_flat(field):
            return fragment(made)
        if self.known is None:
            self.known = set(_defined_outside(self.new, self.instead))
            self.later = _defined_after(self.new, self.instead)
        moved = _Move(home, self.known, self.space)
        try:
            type_ = moved.node(made.get("type"), space_of(home, field))
        except RecursionError:
            return None
        return None if moved.named & self.later else fragment({**made, "type": type_})


class _Move:
    """One move out of `home`; `known` are the types that need no definition any more, and grows."""

    def __init__(self, home: Schema, known: set[str], space: str) -> None:
        self.home, self.known, self.space = home, known, space
        self.named: set[str] = set()

    def node(self, node: Any, space: str) -> Any:
        """Return a type's JSON; `space` is the namespace around it where it was."""
        if isinstance(node, str):
            return node if node in _PRIMITIVES else self._use(node, full_name(node, space))
        if isinstance(node, list):
            return [self.node(branch, space) for branch in node]
        if not isinstance(node, dict):
            return node
        kind = node.get("type")
        if kind in ("record", "error", "enum", "fixed"):
            given = node.get("namespace")
            return self._definition(node, full_name(str(node.get("name")), space if given is None else str(given)))
        key = {"array": "items", "map": "values"}.get(kind) if isinstance(kind, str) else "type"
        if key is None:
            return node if kind in _PRIMITIVES else self.node(kind, space)
        return {**node, key: self.node(node.get(key), space)}

    def _use(self, written: str, name: str) -> Any:
        if name not in self.known and name in self.home.named:
            return self._definition(self.home.named[name].attributes, name)
        self.named.add(name)
        if full_name(written, self.space) == name:
            return written
        return name if "." in name else f".{name}"

    def _definition(self, node: Mapping[str, Any], name: str) -> Any:
        if name in self.known:
            return self._use(unqualified(name), name)
        self.known.add(name)
        inner, given, made = namespace_of(name), node.get("namespace"), dict(node)
        if full_name(str(node.get("name")), self.space if given is None else str(given)) != name:
            made |= {"name": unqualified(name), "namespace": inner}
        outer, self.space = self.space, inner
        if isinstance(made.get("fields"), list):
            made["fields"] = [
                {**one, "type": self.node(one.get("type"), inner)} if isinstance(one, dict) else one
                for one in made["fields"]
            ]
        self.space = outer
        return made


def _defined_outside(schema: Schema, instead: Field | None) -> list[str]:
    """Return the names that stand whatever is pasted in the place of `instead`; those of other files too."""
    inside = instead.pointer if instead is not None else None
    own = frozenset(schema.defined)
    return [
        name
        for name, found in schema.named.items()
        if inside is None or name not in own or found.pointer[: len(inside)] != inside
    ]


def _defined_after(schema: Schema, instead: Field | None) -> frozenset[str]:
    """Return the names that are defined further down than the field `instead`: too late to be used there."""
    if instead is None:
        return frozenset()
    *fields, at = instead.pointer
    before = len(fields)
    return frozenset(
        name
        for name in schema.defined
        if len(there := schema.named[name].pointer) > before
        and there[:before] == tuple(fields)
        and isinstance(sibling := there[before], int)
        and isinstance(at, int)
        and sibling > at
    )


def space_of(schema: Schema, field: Field) -> str:
    """Return the namespace around a field."""
    for found in schema.named.values():
        if isinstance(found, Record) and any(one is field for one in found.fields):
            return namespace_of(found.name)
    return ""


def _is_flat(field: Field) -> bool:
    branches = field.type.branches if isinstance(field.type, Union) else (field.type,)
    return all(isinstance(branch, Primitive) for branch in branches)


def _optional(node: Any) -> Any:
    branches = node if isinstance(node, list) else [node]
    return ["null", *(branch for branch in branches if branch != "null")]
