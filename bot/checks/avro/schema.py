"""An Avro schema as values: the types of the specification (1.12), each with the place it was read from.

Use of a named type is a `Reference`, also where it is defined: `Schema.named` holds the definition, so recursive types
need no cycle of objects. Names are full names. What is malformed does not come this far: `read.py` reports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bot.checks.violation import Pointer

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


class Missing:
    """A field without a default: `None` is the default null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


@dataclass(frozen=True, slots=True)
class Logical:
    """`name` as written, valid or not; precision and scale of a decimal as numbers, scale 0 where it is absent."""

    name: str
    precision: int | None = None
    scale: int | None = None


@dataclass(frozen=True, slots=True)
class Primitive:
    kind: str
    logical: Logical | None = None
    pointer: Pointer = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Array:
    items: Type
    pointer: Pointer = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Map:
    values: Type
    pointer: Pointer = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Union:
    branches: tuple[Type, ...]
    pointer: Pointer = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """A full name. `pointer` is where the name stands, or where the type is defined."""

    name: str
    pointer: Pointer = ()


Type = Primitive | Array | Map | Union | Reference


@dataclass(frozen=True, slots=True)
class Field:
    """`attributes` is the field's whole JSON object; `pointer` its place."""

    name: str
    type: Type
    default: Any = MISSING
    aliases: tuple[str, ...] = ()
    doc: str | None = None
    order: str = "ascending"
    pointer: Pointer = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_default(self) -> bool:
        return not isinstance(self.default, Missing)


@dataclass(frozen=True, slots=True)
class Record:
    """A record or an error. `aliases` are full names."""

    name: str
    fields: tuple[Field, ...]
    aliases: tuple[str, ...] = ()
    doc: str | None = None
    is_error: bool = False
    pointer: Pointer = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Enumeration:
    name: str
    symbols: tuple[str, ...]
    default: str | None = None
    aliases: tuple[str, ...] = ()
    doc: str | None = None
    pointer: Pointer = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fixed:
    name: str
    size: int
    logical: Logical | None = None
    aliases: tuple[str, ...] = ()
    pointer: Pointer = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


Named = Record | Enumeration | Fixed


@dataclass(frozen=True)
class Schema:
    """`named` resolves every reference, those into other files too; `defined` are the names that this text defines."""

    root: Type
    named: Mapping[str, Named]
    defined: tuple[str, ...] = ()
    file: str = ""

    def resolve(self, type_: Type) -> Primitive | Array | Map | Union | Named:
        """Return the type itself, the definition for a reference."""
        return self.named[type_.name] if isinstance(type_, Reference) else type_

    @property
    def name(self) -> str | None:
        """The full name of the root where it is a named type."""
        return self.root.name if isinstance(self.root, Reference) else None

    def records(self) -> Iterator[Record]:
        """Yield the records that this text defines, outermost first."""
        for name in self.defined:
            found = self.named[name]
            if isinstance(found, Record):
                yield found


def unqualified(name: str) -> str:
    return name.rpartition(".")[2]


def namespace_of(name: str) -> str:
    return name.rpartition(".")[0]
