"""What stands for what in two versions of a .proto file: messages and enums by name, fields by number.

Names are compared without the package, so that a new package is one change and not a change of everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from bot.descriptors import ProtoEnum, ProtoField, ProtoFile, ProtoMessage, Range

Type = TypeVar("Type", ProtoMessage, ProtoEnum)


def local(name: str, package: str) -> str:
    """Return a name below its package: `Customer.Address`. Another package's name is whole."""
    return name.removeprefix(f"{package}.") if package else name


def type_of(field: ProtoField, file: ProtoFile) -> str:
    """Return a field's type as it is compared: the scalar, or the name below the file's package."""
    return local(field.type_name, file.package) if field.type_name else field.type


class Paired(NamedTuple):
    """The fields of a message and its next version. `moved` have their name at another number; `added` are new."""

    both: tuple[tuple[ProtoField, ProtoField], ...]
    added: tuple[ProtoField, ...]
    removed: tuple[ProtoField, ...]
    moved: tuple[tuple[ProtoField, ProtoField], ...]


def paired_fields(old: ProtoMessage, new: ProtoMessage) -> Paired:
    """Return the fields paired by number, those of neither pair by name."""
    before = {field.number: field for field in old.fields}
    both, fresh = [], {}
    for field in new.fields:
        if (was := before.pop(field.number, None)) is not None:
            both.append((was, field))
        else:
            fresh[field.name] = field
    moved, removed = [], []
    for was in before.values():
        if (now := fresh.pop(was.name, None)) is not None:
            moved.append((was, now))
        else:
            removed.append(was)
    return Paired(tuple(both), tuple(fresh.values()), tuple(removed), tuple(moved))


def paired_messages(old: ProtoFile, new: ProtoFile) -> Iterator[tuple[ProtoMessage | None, ProtoMessage | None]]:
    """Yield (before, after) of each message, nested ones too: new ones where they stand, removed ones last."""
    yield from _paired(old.all_messages(), old.package, new.all_messages(), new.package)


def paired_enums(old: ProtoFile, new: ProtoFile) -> Iterator[tuple[ProtoEnum | None, ProtoEnum | None]]:
    yield from _paired(old.all_enums(), old.package, new.all_enums(), new.package)


def _paired(
    old: Iterable[Type], old_package: str, new: Iterable[Type], new_package: str
) -> Iterator[tuple[Type | None, Type | None]]:
    before = {local(one.name, old_package): one for one in old}
    for one in new:
        yield before.pop(local(one.name, new_package), None), one
    for gone in before.values():
        yield gone, None


def covers(ranges: Iterable[Range], number: int) -> bool:
    return any(start <= number <= end for start, end in ranges)


def uncovered(old: Iterable[Range], new: Iterable[Range]) -> list[Range]:
    """Return the parts of the old ranges that no new range covers, both ends included."""
    left: list[Range] = []
    taken = sorted(new)
    for start, end in sorted(old):
        for low, high in taken:
            if high < start or low > end:
                continue
            if low > start:
                left.append((start, low - 1))
            start = high + 1
        if start <= end:
            left.append((start, end))
    return left
