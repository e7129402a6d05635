"""What differs between two schemas, field by field, as values; `changes.py` words and judges them.

Fields are paired as a reader pairs them (`resolution.paired_fields`: by name, else by an alias of the new field).
`null` is taken out of unions first. Each pair of records is compared once, where it is met first, so a recursive type
ends, and a type that is used twice is told once. Nothing calls itself: a schema hundreds of levels deep is compared on
a stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bot.checks.avro.resolution import paired_fields, same_name
from bot.checks.avro.schema import (
    MISSING,
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
)
from bot.checks.avro.words import meaning, type_words
from bot.checks.violation import Pointer


class Place(NamedTuple):
    """Where two types meet: the path in the new schema and in the old one, and the fields that hold them.

    An anchor is where a type of another file was entered, None within the own file: pointers end there.
    """

    path: str = ""
    old_path: str = ""
    old_field: Field | None = None
    new_field: Field | None = None
    old_anchor: Pointer | None = None
    new_anchor: Pointer | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """`kind` as in `changes.Change`; only what the kind needs is set.

    `old` and `new` are pointers, None where it is not there. `old_type` and `new_type` are what differs: `null` is
    among the branches only for `nullability`. `old_named` and `new_named` are the record, enum or fixed it is part of.
    `names` are symbols (enum), fields in their order (order), or what changed of documentation (doc).
    """

    kind: str
    place: Place
    old: Pointer | None = None
    new: Pointer | None = None
    old_type: Type | None = None
    new_type: Type | None = None
    old_named: Named | None = None
    new_named: Named | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return self.place.path

    @property
    def old_field(self) -> Field:
        """The field as it was; of `removed`, the one that is gone."""
        assert self.place.old_field is not None
        return self.place.old_field

    @property
    def new_field(self) -> Field:
        assert self.place.new_field is not None
        return self.place.new_field

    @property
    def defaults(self) -> tuple[Any, Any]:
        """The old and the new default of a field, or of an enum; MISSING where there is none."""
        if isinstance(self.old_named, Enumeration) and isinstance(self.new_named, Enumeration):
            was, now = self.old_named.default, self.new_named.default
            return MISSING if was is None else was, MISSING if now is None else now
        return self.old_field.default, self.new_field.default


def differences(old: Schema, new: Schema) -> tuple[Difference, ...]:
    """Return what differs, in the order of the new schema; removed fields last."""
    comparison = _Comparison(old, new)
    found = tuple(comparison.walk())
    return (*found, *comparison.gone)


def guessed_renames(old: Schema, new: Schema, found: Sequence[Difference]) -> Mapping[str, str]:
    """Return, for the paths of fields that came and went, the other name, where a record lost one field of a type and
    got one of the same type."""
    gone: dict[tuple[str, str], list[Difference]] = {}
    come: dict[tuple[str, str], list[Difference]] = {}
    for one in found:
        if one.kind in ("added", "removed"):
            fresh = one.kind == "added"
            field = one.new_field if fresh else one.old_field
            words = " ".join(sorted(type_words(new if fresh else old, branch) for branch in non_null(field.type)))
            (come if fresh else gone).setdefault((one.path[: -len(field.name)], words), []).append(one)
    guesses: dict[str, str] = {}
    for key, removed in gone.items():
        added = come.get(key, [])
        if len(removed) == len(added) == 1:
            guesses[added[0].path] = removed[0].old_field.name
            guesses[removed[0].path] = added[0].new_field.name
    return guesses


def non_null(type_: Type) -> tuple[Type, ...]:
    """Return the branches that are not null; a type that is no union is its only branch."""
    if not isinstance(type_, Union):
        return (type_,)
    return tuple(branch for branch in type_.branches if not (isinstance(branch, Primitive) and branch.kind == "null"))


def nullable(type_: Type) -> bool:
    """Return whether null is a value: a union with null, or null itself."""
    branches = type_.branches if isinstance(type_, Union) else (type_,)
    return any(isinstance(branch, Primitive) and branch.kind == "null" for branch in branches)


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self.old, self.new = old, new
        self.own = frozenset(old.defined), frozenset(new.defined)
        self.seen: set[tuple[str, str]] = set()
        self.gone: list[Difference] = []
        self.stack: list[tuple[Type, Type, Place] | Difference] = [(old.root, new.root, Place())]

    def walk(self) -> Iterator[Difference]:
        stack = self.stack
        while stack:
            top = stack.pop()
            if isinstance(top, Difference):
                yield top
                continue
            old, new, place = top
            if isinstance(old, Union) or isinstance(new, Union):
                yield from self._unions(old, new, place)
            elif isinstance(old, Primitive) and isinstance(new, Primitive):
                if old.kind != new.kind:
                    yield self._types("type", old, new, place)
                elif old.attributes != new.attributes:
                    yield from self._meanings(old, new, place)
            elif isinstance(old, Array) and isinstance(new, Array):
                stack.append((old.items, new.items, _inside(place, "[]")))
            elif isinstance(old, Map) and isinstance(new, Map):
                stack.append((old.values, new.values, _inside(place, "{}")))
            elif isinstance(old, Reference) and isinstance(new, Reference):
                yield from self._named(old, new, place)
            else:
                yield self._types("type", old, new, place)

    def _unions(self, old: Type, new: Type, place: Place) -> Iterator[Difference]:
        if nullable(old) != nullable(new):
            yield self._types("nullability", old, new, place)
        before, after = list(non_null(old)), list(non_null(new))
        pairs: list[tuple[Type, Type]] = []
        if len(before) == len(after) == 1:
            pairs.append((before[0], after[0]))
        else:
            left = list(before)
            for branch in after:
                alike = [one for one in left if self._alike(one, branch)]
                match = next((one for one in alike if self._namesakes(one, branch)), None)
                match = match or next(iter(alike), None)
                if match is not None:
                    left.remove(match)
                    pairs.append((match, branch))
            matched = {id(branch) for _, branch in pairs}
            fresh = [branch for branch in after if id(branch) not in matched]
            if len(left) == len(fresh) == 1:
                pairs.append((left[0], fresh[0]))
            elif left or fresh:
                yield self._types("type", _union(old, before), _union(new, after), place)
        self.stack.extend((one, other, place) for one, other in reversed(pairs))

    def _alike(self, old: Type, new: Type) -> bool:
        """Return whether two branches are the same one, whatever changed inside."""
        before, after = self.old.resolve(old), self.new.resolve(new)
        if isinstance(before, Primitive) and isinstance(after, Primitive):
            return before.kind == after.kind
        if isinstance(before, Record | Enumeration | Fixed) and isinstance(after, Record | Enumeration | Fixed):
            return type(before) is type(after) and same_name(after, before)
        return type(before) is type(after)

    @staticmethod
    def _namesakes(old: Type, new: Type) -> bool:
        return isinstance(old, Reference) and isinstance(new, Reference) and old.name == new.name

    def _meanings(self, old: Primitive, new: Primitive, place: Place) -> Iterator[Difference]:
        if meaning(old) != meaning(new):
            yield self._types("logical", old, new, place)
        before, after = _allowed(old), _allowed(new)
        if before != after:
            yield self._symbols(before, after, place, old.pointer, new.pointer, None, None)

    def _named(self, old: Reference, new: Reference, place: Place) -> Iterator[Difference]:
        before, after = self.old.named[old.name], self.new.named[new.name]
        if (
            type(before) is not type(after)
            or (isinstance(before, Fixed) and isinstance(after, Fixed) and before.size != after.size)
            or not (same_name(after, before) or _akin(before, after))
        ):
            yield self._types("type", old, new, place)
            return
        if (old.name, new.name) in self.seen:
            return
        self.seen.add((old.name, new.name))
        if place.old_anchor is None and old.name not in self.own[0]:
            place = place._replace(old_anchor=old.pointer)
        if place.new_anchor is None and new.name not in self.own[1]:
            place = place._replace(new_anchor=new.pointer)
        if before.name != after.name:
            yield self._part("name", before, after, place, "name")
        if before.attributes is not after.attributes:
            yield from self._documentation(before, after, place)
        if isinstance(before, Enumeration) and isinstance(after, Enumeration):
            if before.symbols != after.symbols:
                pointers = (*before.pointer, "symbols"), (*after.pointer, "symbols")
                yield self._symbols(before.symbols, after.symbols, place, *pointers, before, after)
            if before.default != after.default:
                yield self._part("default", before, after, place, "default")
        elif isinstance(before, Fixed) and isinstance(after, Fixed):
            if meaning(before) != meaning(after):
                yield self._types("logical", old, new, place)
        elif isinstance(before, Record) and isinstance(after, Record):
            self._fields(before, after, place)

    def _fields(self, old: Record, new: Record, place: Place) -> None:
        """Put what is to be told and looked at on the stack, so that it comes off in the order of the new record."""
        todo: list[tuple[Type, Type, Place] | Difference] = []
        pairs = paired_fields(new, old)
        for field, before in pairs:
            if before is None:
                at = _below(place, None, field)
                todo.append(
                    Difference(
                        "added",
                        at,
                        place.old_anchor or (*old.pointer, "fields"),
                        place.new_anchor or field.pointer,
                        None,
                        field.type,
                        old,
                        new,
                    )
                )
            elif not _untouched(before, field):
                at = _below(place, before, field)
                todo.extend(self._field(before, field, at, old, new))
                todo.append((before.type, field.type, at))
        kept = [before.name for _, before in pairs if before is not None]
        still = set(kept)
        ordered = [field.name for field in old.fields if field.name in still]
        if ordered != kept:
            todo.append(replace(self._part("order", old, new, place, "fields"), added=tuple(kept)))
        self.stack.extend(reversed(todo))
        if len(still) < len(old.fields):
            self.gone.extend(
                Difference(
                    "removed",
                    _below(place, field, None),
                    place.old_anchor or field.pointer,
                    place.new_anchor or (*new.pointer, "fields"),
                    field.type,
                    None,
                    old,
                    new,
                )
                for field in old.fields
                if field.name not in still
            )

    def _field(self, old: Field, new: Field, at: Place, before: Record, after: Record) -> Iterator[Difference]:
        pointers = at.old_anchor or old.pointer, at.new_anchor or new.pointer
        plain = Difference("renamed", at, *pointers, old.type, new.type, before, after)
        if old.name != new.name:
            yield plain
        if old.has_default != new.has_default or not _same(old.default, new.default):
            where = (
                pointers[0] if at.old_anchor or not old.has_default else (*pointers[0], "default"),
                pointers[1] if at.new_anchor or not new.has_default else (*pointers[1], "default"),
            )
            yield replace(plain, kind="default", old=where[0], new=where[1])
        if old.order != new.order:
            yield replace(plain, kind="order")
        told = _documented(old.attributes, new.attributes, old.name != new.name)
        if told:
            yield replace(plain, kind="doc", added=told)

    def _documentation(self, old: Named, new: Named, place: Place) -> Iterator[Difference]:
        told = _documented(old.attributes, new.attributes, old.name != new.name)
        if told:
            yield replace(self._part("doc", old, new, place), added=told)

    def _types(self, kind: str, old: Type, new: Type, place: Place) -> Difference:
        return Difference(kind, place, place.old_anchor or old.pointer, place.new_anchor or new.pointer, old, new)

    def _part(self, kind: str, old: Named, new: Named, place: Place, key: str = "") -> Difference:
        before = (*old.pointer, key) if key in old.attributes else old.pointer
        after = (*new.pointer, key) if key in new.attributes else new.pointer
        return Difference(kind, place, place.old_anchor or before, place.new_anchor or after, None, None, old, new)

    def _symbols(
        self,
        before: Sequence[str],
        after: Sequence[str],
        place: Place,
        old: Pointer,
        new: Pointer,
        old_named: Named | None,
        new_named: Named | None,
    ) -> Difference:
        was, now = frozenset(before), frozenset(after)
        return Difference(
            "enum",
            place,
            place.old_anchor or old,
            place.new_anchor or new,
            None,
            None,
            old_named,
            new_named,
            tuple(symbol for symbol in after if symbol not in was),
            tuple(symbol for symbol in before if symbol not in now),
        )


_DESCRIBED = frozenset(
    ("type", "name", "namespace", "fields", "symbols", "default", "order", "size", "items", "values", "logicalType",
     "precision", "scale", "connect.name", "connect.default")
)  # fmt: skip
"""Attributes that other differences tell of, or that repeat what they tell."""


def _documented(old: Mapping[str, Any], new: Mapping[str, Any], renamed: bool) -> tuple[str, ...]:
    """Return which attributes that carry no data differ. The alias of a rename is part of the rename."""
    keys = [key for key in (*new, *(key for key in old if key not in new)) if key not in _DESCRIBED]
    return tuple(key for key in keys if old.get(key) != new.get(key) and not (renamed and key == "aliases"))


def _untouched(old: Field, new: Field) -> bool:
    """Return whether a field is the same text, and its type one that leads nowhere else: the usual case, settled fast.

    `==` of nested JSON is C code that recurses, so only flat types are compared that way.
    """
    return (
        _flat(new.type)
        and _flat(old.type)
        and bool(old.attributes)
        and old.attributes == new.attributes
        and type(old.default) is type(new.default)
    )


def _flat(type_: Type) -> bool:
    if isinstance(type_, Primitive):
        return True
    if not isinstance(type_, Union):
        return False
    for branch in type_.branches:  # noqa: SIM110 - a generator costs three times as much, for every field.
        if not isinstance(branch, Primitive):
            return False
    return True


def _akin(old: Named, new: Named) -> bool:
    """Return whether a type under another name is the old one renamed: most of what it held is still there."""
    if isinstance(old, Record) and isinstance(new, Record):
        before, after = {field.name for field in old.fields}, {field.name for field in new.fields}
    elif isinstance(old, Enumeration) and isinstance(new, Enumeration):
        before, after = set(old.symbols), set(new.symbols)
    else:
        return True
    return len(before & after) * 2 >= min(len(before), len(after))


def _allowed(type_: Primitive) -> tuple[str, ...]:
    """Return the symbols of an enum column as Debezium writes them beside a string."""
    parameters = type_.attributes.get("connect.parameters")
    allowed = parameters.get("allowed") if isinstance(parameters, dict) else None
    return tuple(allowed.split(",")) if isinstance(allowed, str) else ()


def _same(old: Any, new: Any) -> bool:
    """Return whether two defaults are the same JSON value: 0 is not false."""
    return type(old) is type(new) and bool(old == new)


def _union(type_: Type, branches: Sequence[Type]) -> Type:
    return Union(tuple(branches), type_.pointer) if isinstance(type_, Union) and len(branches) != 1 else branches[0]


def _inside(place: Place, sign: str) -> Place:
    return place._replace(path=f"{place.path}{sign}", old_path=f"{place.old_path}{sign}")


def _below(place: Place, old: Field | None, new: Field | None) -> Place:
    """Return the place of a field. One that is only in one schema has the same name in both paths."""
    names = [field.name for field in (new, old) if field is not None]
    return Place(
        f"{place.path}.{names[0]}" if place.path else names[0],
        f"{place.old_path}.{names[-1]}" if place.old_path else names[-1],
        old,
        new,
        place.old_anchor,
        place.new_anchor,
    )
