"""Does a default fit its type? Rules A008 and A009, recursively: what parsers and registries let pass.

Avro 1.12 lets the default of a union match any branch. Readers of 1.11 and before, PyPI `avro` and avsc want the first
one, so a match further down is its own rule (A009), with the order that every reader takes.

Sources: specification 1.12, "Complex Types" (table of defaults); `Schema.isValidDefault` of the Java library.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from bot.checks.avro.logical import Fault
from bot.checks.avro.schema import (
    Array,
    Enumeration,
    Fixed,
    Map,
    Missing,
    Primitive,
    Record,
    Reference,
    Schema,
    Type,
    Union,
)
from bot.checks.avro.words import with_article
from bot.checks.violation import Pointer

INTEGERS = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
FLOAT_MAX = (2 - 2**-23) * 2.0**127
_EXAMPLES = {
    "null": "null", "boolean": "false", "int": "0", "long": "0", "float": "0.0", "double": "0.0",
    "bytes": '""', "string": '""',
}  # fmt: skip


def faults(schema: Schema, type_: Type, value: Any, pointer: Pointer) -> tuple[Fault, ...]:
    """Return what is wrong with a default at `pointer`, innermost places first; nothing where it fits."""
    return _Check(schema).of(type_, value, pointer)


class _Check:
    """`known` keeps what was found: branches of unions are tried again and again in a recursive type."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.known: dict[tuple[int, Pointer], tuple[Fault, ...]] = {}

    def of(self, type_: Type, value: Any, pointer: Pointer) -> tuple[Fault, ...]:
        if isinstance(type_, Primitive):
            return _primitive(type_.kind, value, pointer)
        key = (id(type_), pointer)
        if key not in self.known:
            self.known[key] = tuple(self._complex(type_, value, pointer))
        return self.known[key]

    def _complex(self, type_: Type, value: Any, pointer: Pointer) -> list[Fault]:
        if isinstance(type_, Union):
            return self._union(type_, value, pointer)
        if isinstance(type_, Array):
            if not isinstance(value, list):
                return [_wrong(value, "an array", "[]", pointer)]
            return [fault for i, one in enumerate(value) for fault in self.of(type_.items, one, (*pointer, i))]
        if isinstance(type_, Map):
            if not isinstance(value, dict):
                return [_wrong(value, "a map", "{}", pointer)]
            return [fault for key, one in value.items() for fault in self.of(type_.values, one, (*pointer, key))]
        if isinstance(type_, Reference):
            definition = self.schema.named.get(type_.name)
            if isinstance(definition, Record):
                return self._record(definition, value, pointer)
            if isinstance(definition, Enumeration):
                return _enum(definition, value, pointer)
            if isinstance(definition, Fixed):
                return _fixed(definition, value, pointer)
        return []

    def _union(self, union: Union, value: Any, pointer: Pointer) -> list[Fault]:
        if not union.branches:
            return []
        found = self.of(union.branches[0], value, pointer)
        if not found:
            return []
        for i, branch in enumerate(union.branches[1:], 1):
            if self.of(branch, value, pointer):
                continue
            names = [self._name(one) for one in union.branches]
            words = f"default {_short(value)} fits branch {i + 1} ({names[i]}); readers before Avro 1.12 want the first"
            order = [self._json(branch), *(self._json(one) for one in union.branches if one is not branch)]
            remedy = f'Write "type": [{", ".join(order)}], "default": {_short(value)}.'
            return [Fault("A009", pointer, words, remedy)]
        inner = [fault for fault in found if fault.pointer != pointer]
        if inner:
            return inner
        names = [self._name(one) for one in union.branches]
        words = f"default {_short(value)} fits no branch of [{', '.join(names)}]"
        return [Fault("A008", pointer, words, f'Write "default": {self._example(union.branches[0])}.')]

    def _record(self, record: Record, value: Any, pointer: Pointer) -> list[Fault]:
        if not isinstance(value, dict):
            return [_wrong(value, f"a {record.name}", "{...}: an object with its fields", pointer)]
        found: list[Fault] = []
        fields = {field.name: field for field in record.fields}
        for name, field in fields.items():
            if name in value:
                found += self.of(field.type, value[name], (*pointer, name))
            elif isinstance(field.default, Missing):
                words = f"the default lacks {name}, which {record.name} has without a default of its own"
                found.append(Fault("A008", pointer, words, f'Add "{name}": {self._example(field.type)}.'))
        for name in value:
            if name not in fields:
                words = f'the default has "{name}", which {record.name} has not'
                found.append(Fault("A008", (*pointer, name), words, "Delete it, or correct the name."))
        return found

    def _name(self, type_: Type) -> str:
        if isinstance(type_, Primitive):
            return type_.kind
        if isinstance(type_, Reference):
            return type_.name
        return "array" if isinstance(type_, Array) else "map" if isinstance(type_, Map) else "union"

    def _json(self, type_: Type) -> str:
        if isinstance(type_, Reference):
            return f'"{type_.name}"'
        if isinstance(type_, Primitive) and not type_.attributes:
            return f'"{type_.kind}"'
        return "[...]" if isinstance(type_, Union) else _short(type_.attributes)

    def _example(self, type_: Type) -> str:
        if isinstance(type_, Primitive):
            return _EXAMPLES[type_.kind]
        if isinstance(type_, Union):
            return self._example(type_.branches[0]) if type_.branches else "null"
        if isinstance(type_, Array | Map):
            return "[]" if isinstance(type_, Array) else "{}"
        definition = self.schema.named.get(type_.name)
        if isinstance(definition, Enumeration) and definition.symbols:
            return f'"{definition.default or definition.symbols[0]}"'
        return '"\\u0000..."' if isinstance(definition, Fixed) else "{...}"


def _primitive(kind: str, value: Any, pointer: Pointer) -> tuple[Fault, ...]:
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        if type(value) is not int:
            return (_wrong(value, f"{with_article(kind)} (a whole number)", "0", pointer),)
        if not low <= value <= high:
            words = f"default {_short(value)} is outside of {kind} ({low} to {high})"
            wider = (
                ', or "type": "long"' if kind == "int" and INTEGERS["long"][0] <= value <= INTEGERS["long"][1] else ""
            )
            return (Fault("A008", pointer, words, f'Write "default": {min(max(value, low), high)}{wider}.'),)
        return ()
    if kind in ("float", "double"):
        if type(value) not in (int, float):
            return (_wrong(value, f"a {kind}", "0.0", pointer),)
        most = FLOAT_MAX if kind == "float" else sys.float_info.max
        if not abs(value) <= most:  # NaN is neither.
            words = f"default {_short(value)} is outside of {kind}"
            return (Fault("A008", pointer, words, f"Write a number up to {most:.7g}."),)
        return ()
    if kind == "string":
        return () if isinstance(value, str) else (_wrong(value, "a string", '""', pointer),)
    if kind == "bytes":
        if not isinstance(value, str):
            return (_wrong(value, "bytes (a string)", '""', pointer),)
        return tuple(_above(value, "bytes", pointer))
    if kind == "boolean":
        return () if isinstance(value, bool) else (_wrong(value, "a boolean", "false", pointer),)
    return () if value is None else (_wrong(value, "null", "null", pointer),)


def _enum(enum: Enumeration, value: Any, pointer: Pointer) -> list[Fault]:
    if isinstance(value, str) and value in enum.symbols:
        return []
    symbol = enum.default if enum.default in enum.symbols else next(iter(enum.symbols), "...")
    words = f"default {_short(value)} is no symbol of {enum.name} ({', '.join(enum.symbols[:6])})"
    return [Fault("A008", pointer, words, f'Write "default": "{symbol}".')]


def _fixed(fixed: Fixed, value: Any, pointer: Pointer) -> list[Fault]:
    if not isinstance(value, str):
        return [_wrong(value, f"a {fixed.name} (a string)", f"a string of {fixed.size} characters", pointer)]
    if len(value) != fixed.size:
        words = f"default is {len(value)} bytes, and {fixed.name} is {fixed.size}"
        return [Fault("A008", pointer, words, f"Write {fixed.size} characters up to \\u00ff.")]
    return _above(value, fixed.name, pointer)


def _above(value: str, kind: str, pointer: Pointer) -> list[Fault]:
    char = next((char for char in value if char > "\u00ff"), None)
    if char is None:
        return []
    words = f"U+{ord(char):04X} in the default of {kind}: a character stands for a byte, up to U+00FF"
    return [Fault("A008", pointer, words, "Write each byte as \\u0000 to \\u00ff.")]


def _wrong(value: Any, wanted: str, example: str, pointer: Pointer) -> Fault:
    return Fault("A008", pointer, f"default {_short(value)} is not {wanted}", f'Write "default": {example}.')


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=dict)
    return text if len(text) <= 60 else text[:60] + "..."
