"""Avro types and defaults in a person's words: `null | long (timestamp-millis)`, `array of record Address`."""

from __future__ import annotations

import json
from typing import Any

from bot.checks.avro.schema import (
    Array,
    Enumeration,
    Fixed,
    Logical,
    Map,
    Missing,
    Primitive,
    Record,
    Schema,
    Type,
    Union,
    unqualified,
)

DEEP = 6
"""Types nested deeper are told as `...`: nobody reads further, and a schema a thousand deep must not end in a trace."""


def type_words(schema: Schema, type_: Type, depth: int = 0) -> str:
    """Return a type in words; named types by their unqualified name."""
    if depth > DEEP:
        return "..."
    found = schema.resolve(type_)
    if isinstance(found, Primitive):
        return f"{found.kind}{_meaning_words(meaning(found))}"
    if isinstance(found, Union):
        return " | ".join(type_words(schema, branch, depth + 1) for branch in found.branches) or "empty union"
    if isinstance(found, Array):
        return f"array of {_grouped(type_words(schema, found.items, depth + 1))}"
    if isinstance(found, Map):
        return f"map of {_grouped(type_words(schema, found.values, depth + 1))}"
    if isinstance(found, Fixed):
        return f"fixed({found.size}) {unqualified(found.name)}{_meaning_words(meaning(found))}"
    return f"{kind(found)} {unqualified(found.name)}"


def kind(found: Primitive | Array | Map | Union | Record | Enumeration | Fixed) -> str:
    """Return a type's name in the specification: `long`, `array`, `record`; an error is a record."""
    if isinstance(found, Primitive):
        return found.kind
    return _KINDS[type(found)]


_KINDS: dict[type, str] = {
    Array: "array",
    Map: "map",
    Union: "union",
    Record: "record",
    Enumeration: "enum",
    Fixed: "fixed",
}


def meaning(found: Primitive | Fixed) -> Logical | None:
    """Return what the bare type stands for: its logical type, else the semantic type that Connect wrote beside it.

    Debezium tells units by `connect.name` alone (`io.debezium.time.MicroTimestamp`), where no Avro library looks.
    """
    if found.logical is not None or not found.attributes:
        return found.logical
    name = found.attributes.get("connect.name")
    return Logical(name) if isinstance(name, str) else None


def logical_words(logical: Logical | None) -> str:
    """Return `decimal(10,2)`, `timestamp-millis`, `io.debezium.time.MicroTimestamp`, `none`."""
    if logical is None:
        return "none"
    if logical.name == "decimal":
        return f"decimal({'?' if logical.precision is None else logical.precision},{logical.scale or 0})"
    return logical.name


def meaning_change(old: Primitive | Fixed, new: Primitive | Fixed) -> str:
    """Return `timestamp-millis -> timestamp-micros`, `logical type uuid dropped`, `logical type date added`."""
    was, now = meaning(old), meaning(new)
    if now is None:
        return f"logical type {logical_words(was)} dropped"
    if was is None:
        return f"logical type {logical_words(now)} added"
    return f"{logical_words(was)} -> {logical_words(now)}"


def with_article(noun: str) -> str:
    """Return `an enum`, `a fixed`."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _meaning_words(logical: Logical | None) -> str:
    return "" if logical is None else f" ({logical_words(logical).rpartition('.')[2]})"


def _grouped(words: str) -> str:
    return f"({words})" if " | " in words else words


def default_words(default: Any) -> str:
    """Return `no default` or `default null`, cut after 60 characters."""
    return "no default" if isinstance(default, Missing) else f"default {value_words(default)}"


def value_words(value: Any) -> str:
    """Return a JSON value on one line, cut after 60 characters."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "..."
    return text if len(text) <= 60 else f"{text[:57]}..."
