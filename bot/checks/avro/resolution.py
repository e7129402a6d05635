"""May a reader's schema read what a writer's wrote? Avro 1.12, "Schema Resolution", and nothing else.

This is the registry's question: it knows neither logical types nor sinks. `changes.py` and `change_rules.py` add those.

Invariants
    A branch of a reader's union is chosen by the kind and the name of what was written, never by trying whether its
    inside can be read. So a conflict inside a branch is told where it is, each pair of records is looked at once, and
    recursive types end.
    A written field feeds one field of the reader: the last that has its name for an alias, else its namesake. Java
    reads so (`Schema.applyAliases` renames what was written, then goes by names).
    Nothing here calls itself: a schema hundreds of levels deep is resolved on a stack of its own.

Where the specification leaves a choice: of several branches that match by their unqualified name, the one with the very
full name goes first, as Java and fastavro decide; a default of a field that the writer lacks must fit the field's type
(any branch of a union, 1.12), since it is the value that would be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bot.checks.avro.schema import (
    Array,
    Enumeration,
    Field,
    Fixed,
    Map,
    Named,
    Primitive,
    Record,
    Reference,
    Schema,
    Type,
    Union,
    unqualified,
)
from bot.checks.avro.words import kind, type_words, value_words
from bot.checks.violation import Pointer

PROMOTIONS: dict[str, tuple[str, ...]] = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
"""What is written, and what may read it besides itself (specification, "Schema Resolution")."""


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """`kind` is Java's SchemaIncompatibilityType (`READER_FIELD_MISSING_DEFAULT_VALUE`, ...); `path` the dotted field.

    `reader` and `writer` are the pointers of the two nodes in their own documents; inside a type that another file
    defines, the place where it is used. `info` is what Java's message adds. `writer_path` differs from `path` below a
    field renamed by alias; of a field that the writer lacks it is where the field would be. `reader_type` and
    `writer_type` are the whole types at the path, unions included; `written` the branch that cannot be read.
    """

    kind: str
    path: str
    message: str
    reader: Pointer
    writer: Pointer
    info: str = ""
    writer_path: str = ""
    reader_type: Type | None = None
    writer_type: Type | None = None
    written: Type | None = None


def incompatibilities(reader: Schema, writer: Schema) -> tuple[Incompatibility, ...]:
    """Return everything that stops the reader; empty means it can read all that the writer may have written.

    In the order of the reader's schema. What is wrong inside a named type that is used twice is told once.
    """
    return tuple(_Resolution(reader, writer).conflicts())


def paired_fields(reader: Record, writer: Record) -> list[tuple[Field, Field | None]]:
    """Return each field of the reader with the written field that it is read from, None where there is none."""
    renamed = {alias: field.name for field in reader.fields for alias in field.aliases}
    written = {field.name: field for field in writer.fields if field.name not in renamed}
    if renamed:
        for field in writer.fields:
            if field.name in renamed:
                written.setdefault(renamed[field.name], field)
    return [(field, written.get(field.name)) for field in reader.fields]


def same_name(reader: Named, writer: Named) -> bool:
    """Return whether the names match: unqualified, or an alias of the reader is the writer's full name."""
    return unqualified(reader.name) == unqualified(writer.name) or writer.name in reader.aliases


def fits(schema: Schema, type_: Type, value: Any, depth: int = 0) -> bool:
    """Return whether a JSON value is a value of the type, as a field's default must be written (specification, "Complex
    Types", Records)."""
    if depth > DEEPEST_DEFAULT:
        return True
    found = schema.resolve(type_)
    if isinstance(found, Union):
        return any(fits(schema, branch, value, depth + 1) for branch in found.branches)
    if isinstance(found, Primitive):
        return _fits_primitive(found.kind, value)
    if isinstance(found, Array):
        return isinstance(value, list) and all(fits(schema, found.items, one, depth + 1) for one in value)
    if isinstance(found, Map):
        return isinstance(value, dict) and all(fits(schema, found.values, one, depth + 1) for one in value.values())
    if isinstance(found, Enumeration):
        return value in found.symbols
    if isinstance(found, Fixed):
        return _fits_primitive("bytes", value) and len(value) == found.size
    return isinstance(value, dict) and all(
        fits(schema, field.type, value[field.name], depth + 1) if field.name in value else field.has_default
        for field in found.fields
    )


DEEPEST_DEFAULT = 200
"""Defaults nested deeper are taken to fit."""

_INTEGERS = {"int": 1 << 31, "long": 1 << 63}


def _fits_primitive(kind_: str, value: Any) -> bool:
    if kind_ == "null":
        return value is None
    if kind_ == "boolean":
        return isinstance(value, bool)
    if kind_ in _INTEGERS:
        return isinstance(value, int) and not isinstance(value, bool) and -_INTEGERS[kind_] <= value < _INTEGERS[kind_]
    if kind_ in ("float", "double"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str) and (kind_ == "string" or all(ord(one) < 256 for one in value))


class _Place(NamedTuple):
    """Where two types meet. `whole` are the types before a union's branch was entered; an anchor is the place where a
    type of another file was entered, None within the own file."""

    path: str
    writer_path: str
    reader_anchor: Pointer | None = None
    writer_anchor: Pointer | None = None
    whole: tuple[Type, Type] | None = None


class _Resolution:
    """A walk over pairs of types with a stack of its own; see the module's invariants."""

    def __init__(self, reader: Schema, writer: Schema) -> None:
        self.reader, self.writer = reader, writer
        self.own = frozenset(reader.defined), frozenset(writer.defined)
        self.seen: set[tuple[str, str]] = set()
        self.stack: list[tuple[Type, Type, _Place] | Incompatibility] = [(reader.root, writer.root, _Place("", ""))]

    def conflicts(self) -> Iterator[Incompatibility]:
        stack = self.stack
        while stack:
            top = stack.pop()
            if isinstance(top, Incompatibility):
                yield top
                continue
            reader, writer, place = top
            if isinstance(writer, Union):
                whole = place.whole or (reader, writer)
                inner = place._replace(whole=whole)
                stack.extend((reader, branch, inner) for branch in reversed(writer.branches))
            elif isinstance(reader, Union):
                branch = self._branch(reader.branches, writer)
                if branch is None:
                    yield self._missing_branch(reader, writer, place)
                else:
                    stack.append((branch, writer, place if place.whole else place._replace(whole=(reader, writer))))
            elif isinstance(reader, Primitive) and isinstance(writer, Primitive):
                if reader.kind != writer.kind and reader.kind not in PROMOTIONS.get(writer.kind, ()):
                    yield self._mismatch(reader, writer, place)
            elif isinstance(reader, Array) and isinstance(writer, Array):
                stack.append((reader.items, writer.items, _inside(place, "[]")))
            elif isinstance(reader, Map) and isinstance(writer, Map):
                stack.append((reader.values, writer.values, _inside(place, "{}")))
            elif isinstance(reader, Reference) and isinstance(writer, Reference):
                yield from self._named(reader, writer, place)
            else:
                yield self._mismatch(reader, writer, place)

    def _branch(self, branches: Sequence[Type], writer: Type) -> Type | None:
        """Return the reader's branch that what was written goes to, None where none matches."""
        if isinstance(writer, Primitive):
            promoted = None
            for branch in branches:
                if isinstance(branch, Primitive):
                    if branch.kind == writer.kind:
                        return branch
                    if promoted is None and branch.kind in PROMOTIONS.get(writer.kind, ()):
                        promoted = branch
            return promoted
        if not isinstance(writer, Reference):
            return next((branch for branch in branches if type(branch) is type(writer)), None)
        written = self.writer.named[writer.name]
        second = None
        for branch in branches:
            if isinstance(branch, Reference):
                mine = self.reader.named[branch.name]
                if type(mine) is type(written) and same_name(mine, written):
                    if written.name == mine.name or written.name in mine.aliases:
                        return branch
                    second = second or branch
        return second

    def _named(self, reader: Reference, writer: Reference, place: _Place) -> Iterator[Incompatibility]:
        mine, theirs = self.reader.named[reader.name], self.writer.named[writer.name]
        if type(mine) is not type(theirs):
            yield self._mismatch(reader, writer, place)
            return
        if place.reader_anchor is None and reader.name not in self.own[0]:
            place = place._replace(reader_anchor=reader.pointer)
        if place.writer_anchor is None and writer.name not in self.own[1]:
            place = place._replace(writer_anchor=writer.pointer)
        if (reader.name, writer.name) in self.seen:
            return
        self.seen.add((reader.name, writer.name))
        types = (reader, writer)
        if not same_name(mine, theirs):
            message = f"{kind(mine)} {mine.name} has neither the name nor an alias {theirs.name}"
            yield self._told("NAME_MISMATCH", place, message, mine, theirs, "name", f"expected: {theirs.name}", types)
        if isinstance(mine, Enumeration) and isinstance(theirs, Enumeration):
            known = frozenset(mine.symbols)
            missing = [symbol for symbol in theirs.symbols if symbol not in known]
            if missing and mine.default not in known:
                message = f"enum {unqualified(mine.name)} lacks {', '.join(missing)} and has no default symbol"
                info = f"[{', '.join(missing)}]"
                yield self._told("MISSING_ENUM_SYMBOLS", place, message, mine, theirs, "symbols", info, types)
        elif isinstance(mine, Fixed) and isinstance(theirs, Fixed):
            if mine.size != theirs.size:
                message = f"{theirs.size} bytes are written, {mine.size} are read"
                info = f"expected: {theirs.size}, found: {mine.size}"
                yield self._told("FIXED_SIZE_MISMATCH", place, message, mine, theirs, "size", info, types)
        elif isinstance(mine, Record) and isinstance(theirs, Record):
            self._fields(mine, theirs, place)

    def _fields(self, reader: Record, writer: Record, place: _Place) -> None:
        """Put what is to be looked at on the stack, so that it comes off in the reader's order."""
        todo: list[tuple[Type, Type, _Place] | Incompatibility] = []
        for field, written in paired_fields(reader, writer):
            if written is None:
                if not field.has_default or not fits(self.reader, field.type, field.default):
                    todo.append(self._missing_field(writer, field, place))
            elif not _plainly_equal(field.type, written.type):
                inner = _Place(
                    f"{place.path}.{field.name}" if place.path else field.name,
                    f"{place.writer_path}.{written.name}" if place.writer_path else written.name,
                    place.reader_anchor,
                    place.writer_anchor,
                )
                todo.append((field.type, written.type, inner))
        self.stack.extend(reversed(todo))

    def _missing_field(self, writer: Record, field: Field, place: _Place) -> Incompatibility:
        why = "has no default"
        if field.has_default:
            why = f"its default {value_words(field.default)} is no value of {type_words(self.reader, field.type)}"
        message = f"{field.name} is not written, and {why}"
        return Incompatibility(
            "READER_FIELD_MISSING_DEFAULT_VALUE",
            f"{place.path}.{field.name}" if place.path else field.name,
            message,
            place.reader_anchor or field.pointer,
            place.writer_anchor or (*writer.pointer, "fields"),
            field.name,
            f"{place.writer_path}.{field.name}" if place.writer_path else field.name,
            field.type,
        )

    def _mismatch(self, reader: Type, writer: Type, place: _Place) -> Incompatibility:
        mine, theirs = self.reader.resolve(reader), self.writer.resolve(writer)
        message = f"{type_words(self.writer, writer)} cannot be read as {type_words(self.reader, reader)}"
        info = f"reader type: {kind(mine).upper()} not compatible with writer type: {kind(theirs).upper()}"
        return self._told("TYPE_MISMATCH", place, message, mine, theirs, None, info, (reader, writer))

    def _missing_branch(self, reader: Union, writer: Type, place: _Place) -> Incompatibility:
        message = f"no branch of {type_words(self.reader, reader)} reads {type_words(self.writer, writer)}"
        whole = place.whole or (reader, writer)
        return Incompatibility(
            "MISSING_UNION_BRANCH",
            place.path,
            message,
            place.reader_anchor or reader.pointer,
            place.writer_anchor or writer.pointer,
            f"reader union lacking writer type: {kind(self.writer.resolve(writer)).upper()}",
            place.writer_path,
            *whole,
            writer,
        )

    def _told(
        self,
        kind_: str,
        place: _Place,
        message: str,
        reader: Primitive | Array | Map | Named | Union,
        writer: Primitive | Array | Map | Named | Union,
        key: str | None,
        info: str,
        types: tuple[Type, Type],
    ) -> Incompatibility:
        inside = () if key is None else (key,)
        whole = place.whole or types
        return Incompatibility(
            kind_,
            place.path,
            message,
            place.reader_anchor or (*reader.pointer, *inside),
            place.writer_anchor or (*writer.pointer, *inside),
            info,
            place.writer_path,
            *whole,
            types[1],
        )


def _inside(place: _Place, sign: str) -> _Place:
    return _Place(f"{place.path}{sign}", f"{place.writer_path}{sign}", place.reader_anchor, place.writer_anchor)


def _plainly_equal(one: Type, other: Type) -> bool:
    """Return whether two types are the same primitives in the same order: the usual case, settled without a walk."""
    if isinstance(one, Primitive) and isinstance(other, Primitive):
        return one.kind == other.kind
    if not isinstance(one, Union) or not isinstance(other, Union) or len(one.branches) != len(other.branches):
        return False
    for mine, theirs in zip(one.branches, other.branches, strict=True):
        if not isinstance(mine, Primitive) or not isinstance(theirs, Primitive) or mine.kind != theirs.kind:
            return False
    return True
