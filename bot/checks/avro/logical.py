"""Logical types: which exist, on what they stand, and what is wrong with one. Rules A012, A013, A015.

The specification tells readers to ignore a logical type that they do not know or that does not fit, so a slip here
turns amounts into bytes and times into numbers without one word. Source: Avro 1.12, "Logical Types".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from bot.checks.avro.schema import Array, Enumeration, Fixed, Map, Primitive, Record
from bot.checks.violation import Pointer

BASES: Mapping[str, tuple[str, ...]] = {
    "decimal": ("bytes", "fixed"),
    "big-decimal": ("bytes",),
    "uuid": ("string", "fixed"),
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "timestamp-nanos": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-nanos": ("long",),
    "duration": ("fixed",),
}
"""The logical types of Avro 1.12 and the types that they may stand on."""

VENDORS: Mapping[str, tuple[str, ...]] = {
    "map": ("array",),  # Iceberg, "Maps with non-string keys".
    "variant": ("record",),  # Iceberg v3.
    "varchar": ("string",),  # Hive.
    "char": ("string",),  # Hive.
    "datetime": ("string",),  # BigQuery exports.
}
"""Names outside of the specification that a well-known reader acts on."""

SIZES: Mapping[str, int] = {"uuid": 16, "duration": 12}
MAX_PRECISION = 38
"""Flink's and Iceberg's decimal end here, and SQL databases' with them."""


class Fault(NamedTuple):
    rule: str
    pointer: Pointer
    message: str
    remedy: str


def faults(node: Primitive | Array | Map | Record | Enumeration | Fixed) -> Iterator[Fault]:
    """Yield what is wrong with the logical type of a node that has the attribute `logicalType`."""
    attributes = node.attributes
    name = attributes["logicalType"]
    place = (*node.pointer, "logicalType")
    base = kind_of(node)
    if not isinstance(name, str):
        yield Fault("A012", place, f"logicalType {json.dumps(name)[:60]} is not a name", 'Write "logicalType": "...".')
        return
    bases = BASES.get(name)
    if bases is None:
        if base not in VENDORS.get(name, ()):
            words = f'"{name}" is no logical type of Avro: every reader ignores it and sees a bare {base}'
            yield Fault("A012", place, words, _meant(name, base))
        return
    if base not in bases:
        words = f"{name} stands on {' or '.join(bases)}, not on {base}: every reader ignores it"
        yield Fault("A013", place, words, f"Write {_right(name, attributes)}.")
    elif isinstance(node, Fixed) and node.size != SIZES.get(name, node.size):
        words = f"{name} stands on fixed({SIZES[name]}), not on fixed({node.size}): every reader ignores it"
        yield Fault("A013", (*node.pointer, "size"), words, f'Write "size": {SIZES[name]}.')
    elif name == "decimal":
        yield from _decimal_faults(node, node.size if isinstance(node, Fixed) else None)


def kind_of(node: Primitive | Array | Map | Record | Enumeration | Fixed) -> str:
    if isinstance(node, Primitive):
        return node.kind
    return str(node.attributes.get("type"))


def written(name: str) -> str:
    """Return a type with this logical type, to paste."""
    return _right(name, {})


def _decimal_faults(node: Primitive | Array | Map | Record | Enumeration | Fixed, size: int | None) -> Iterator[Fault]:
    attributes, pointer = node.attributes, node.pointer
    precision, scale = attributes.get("precision"), attributes.get("scale", 0)
    at_precision, at_scale = (*pointer, "precision"), (*pointer, "scale")
    ignored = "every reader ignores the decimal and sees bytes"
    if "precision" not in attributes:
        yield Fault("A015", pointer, f"a decimal without precision: {ignored}", 'Write "precision": 18, "scale": 2.')
        return
    if type(precision) is not int or precision < 1:
        words = f"precision {json.dumps(precision)[:40]} is not a whole number of digits: {ignored}"
        good = int(precision) if isinstance(precision, str) and precision.isascii() and precision.isdigit() else 18
        yield Fault("A015", at_precision, words, f'Write "precision": {min(max(good, 1), MAX_PRECISION)}.')
        return
    if type(scale) is not int or scale < 0:
        words = f"scale {json.dumps(scale)[:40]} is not a number of digits, 0 or more: {ignored}"
        yield Fault("A015", at_scale, words, 'Write "scale": 2, or another number up to the precision.')
    elif scale > precision:
        words = f"scale {scale} is more than the precision {precision}: {ignored}"
        yield Fault("A015", at_scale, words, f'Write a "scale" up to {precision}, or a greater "precision".')
    if precision > MAX_PRECISION:
        words = f"precision {precision} is more than {MAX_PRECISION}, the most that Flink and Iceberg hold"
        yield Fault("A015", at_precision, words, f'Write "precision": {MAX_PRECISION}, or less.')
    elif size is not None and precision > (most := digits(size)):
        words = f"fixed({size}) holds {most} digits, not {precision}: {ignored}"
        least = next(n for n in range(1, 17) if digits(n) >= precision)
        yield Fault("A015", at_precision, words, f'Write "size": {least}, or "precision": {most}.')


def digits(size: int) -> int:
    """Return how many decimal digits a two's complement number of `size` bytes always holds, 38 from 16 bytes on."""
    if size <= 0:
        return 0
    return len(str(2 ** (8 * size - 1) - 1)) - 1 if size < 16 else MAX_PRECISION


def _right(name: str, attributes: Mapping[str, Any]) -> str:
    base = BASES[name][0]
    if base == "fixed":
        return f'{{"type": "fixed", "name": "Duration", "size": {SIZES[name]}, "logicalType": "{name}"}}'
    extra = ""
    if name == "decimal":
        extra = f', "precision": {attributes.get("precision", 18)}, "scale": {attributes.get("scale", 2)}'
    return f'{{"type": "{base}", "logicalType": "{name}"{extra}}}'


def _meant(name: str, base: str) -> str:
    spelt = name.lower().replace("_", "-").replace(" ", "-")
    alike = {
        "timestamp": "timestamp-micros", "datetime": "timestamp-micros", "instant": "timestamp-micros",
        "time": "time-micros", "guid": "uuid", "numeric": "decimal", "bigdecimal": "big-decimal",
        "timestamp-ms": "timestamp-millis", "timestamp-us": "timestamp-micros", "timestamp-ns": "timestamp-nanos",
        "timestamp-milliseconds": "timestamp-millis", "timestamp-microseconds": "timestamp-micros",
    }  # fmt: skip
    squeezed = {known.replace("-", ""): known for known in BASES}
    close = get_close_matches(spelt, BASES, 1, 0.75)
    meant = alike.get(spelt) or squeezed.get(spelt.replace("-", "")) or (close[0] if close else None)
    if meant is None:
        return f"Delete it, or write one that {base} has: {', '.join(n for n in BASES if base in BASES[n]) or 'none'}."
    return f'Did you mean "{meant}"?' if base in BASES[meant] else f"Did you mean {_right(meant, {})}?"
