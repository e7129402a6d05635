"""What a reader makes of a value that was written as another type: Protobuf's wire format, and nothing else.

Source: "Updating A Message Type" and "Encoding" of protobuf.dev.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from bot.descriptors import ProtoField


class Harm(IntEnum):
    """Worst highest. `LOSSY`: the bytes are read, some values come out as others. `BREAKS`: they are not read."""

    SAFE = 0
    LOSSY = 1
    BREAKS = 2


class Reading(NamedTuple):
    """`words` end a sentence that begins with "the wire"; empty where all is well."""

    harm: Harm
    words: str = ""


SAFE = Reading(Harm.SAFE)

_ENCODINGS = {
    "varint": ("int32", "int64", "uint32", "uint64", "bool", "enum"),
    "zigzag varint": ("sint32", "sint64"),
    "four bytes": ("fixed32", "sfixed32"),
    "eight bytes": ("fixed64", "sfixed64"),
    "four bytes of a float": ("float",),
    "eight bytes of a double": ("double",),
    "text or bytes": ("string", "bytes"),
    "message": ("message",),
    "group": ("group",),
}
ENCODING = {type_: name for name, types in _ENCODINGS.items() for type_ in types}
_BITS = {
    "int32": 32, "uint32": 32, "sint32": 32, "fixed32": 32, "sfixed32": 32, "enum": 32, "bool": 1,
    "int64": 64, "uint64": 64, "sint64": 64, "fixed64": 64, "sfixed64": 64,
}  # fmt: skip
_UNSIGNED = frozenset({"uint32", "uint64", "fixed32", "fixed64", "bool"})
NUMERIC = frozenset({*_BITS, "float", "double"})


def read_type(writer: str, reader: str) -> Reading:
    """Return what a reader of scalar (or `enum`, `message`, `group`) `reader` makes of a `writer`'s value."""
    if writer == reader:
        return SAFE
    if ENCODING[writer] != ENCODING[reader]:
        return Reading(Harm.BREAKS, f"would break: {writer} is written as {ENCODING[writer]}, {reader} is not")
    if (writer, reader) == ("string", "bytes"):
        return SAFE
    if (writer, reader) == ("bytes", "string"):
        return Reading(Harm.LOSSY, "is read, but bytes that are not UTF-8 fail")
    if reader == "bool":
        return Reading(Harm.LOSSY, "is read, but every number but 0 becomes true")
    if reader == "enum":
        return Reading(Harm.LOSSY, "is read, but numbers without a name in the enum have no meaning")
    if _BITS[writer] > _BITS[reader]:
        return Reading(Harm.LOSSY, f"is read, but {writer} values beyond {_BITS[reader]} bits are cut")
    if writer not in _UNSIGNED and reader in _UNSIGNED:
        return Reading(Harm.LOSSY, "is read, but negative numbers become large ones")
    if writer in _UNSIGNED and reader not in _UNSIGNED and _BITS[writer] == _BITS[reader]:
        return Reading(Harm.LOSSY, "is read, but the upper half of the numbers becomes negative")
    return SAFE


def read_cardinality(writer: ProtoField, reader: ProtoField) -> Reading:
    """Return what a reader makes of one value where it expects many, or of many where it expects one."""
    if writer.is_repeated == reader.is_repeated:
        return SAFE
    if reader.is_repeated:
        return SAFE  # one value is a list of one, packed or not
    if writer.is_packed:
        return Reading(Harm.BREAKS, "would break: a packed list is no single number, and is skipped")
    if writer.type in ("string", "bytes") or writer.type in NUMERIC:
        return Reading(Harm.LOSSY, "is read, but only the last of the list remains")
    return Reading(Harm.LOSSY, "is read, but the elements of the list are merged into one")
