"""The rules P105 and P201-P209 over two versions of a .proto file, each with two verdicts.

What the registry would say (`registry.py`, at the level in force) and what the bytes on the wire do to a reader
(`wire.py`) are different questions: a registry that accepts a change does not make it safe, so each message has both.
What neither minds and no later reader can trip over is no violation: `int32` to `int64` at BACKWARD, a removed field
whose number and name are reserved.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.checks.avro.changes import Change
from bot.checks.protobuf.lint import NUMBERS_OF_LEGACY, needs_decision, undecided
from bot.checks.protobuf.pairs import (
    covers,
    local,
    paired_enums,
    paired_fields,
    paired_messages,
    type_of,
    uncovered,
)
from bot.checks.protobuf.registry import Place, refusals
from bot.checks.protobuf.wire import ENCODING, SAFE, Harm, read_cardinality, read_type
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Severity, Violation
from bot.descriptors import ProtoEnum, ProtoField, ProtoFile, ProtoMessage, ProtoValue, Range

WIRE_SAFE = "the wire is safe"


@dataclass(frozen=True)
class Before:
    """A previous version and what to call it: `git main (3fa2b1c)`, `registry customers-value v4`."""

    file: ProtoFile
    name: str


@dataclass(frozen=True)
class _Pair:
    """Two versions at a level. `elsewhere` maps the full name of a type to the file of this run that defines it."""

    old: ProtoFile
    new: ProtoFile
    against: str
    level: str
    subject: str | None
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[Place, str] = field(default_factory=dict)

    @property
    def is_backward(self) -> bool:
        """New readers must read what was written before."""
        return self.level.startswith(("BACKWARD", "FULL"))

    @property
    def is_forward(self) -> bool:
        return self.level.startswith(("FORWARD", "FULL"))


def judge(
    new: ProtoFile,
    before: Sequence[Before],
    level: str,
    settings: SchemaSettings,
    subject: str | None = None,
    elsewhere: Mapping[str, str] | None = None,
) -> tuple[Violation, ...]:
    """Return the violations of `new` after `before` (oldest first) at a level, in the order of the text.

    Levels that are not transitive compare with the last of `before`; the earlier ones are still asked whether a number
    that is new now meant something else once. `elsewhere` maps full names of types to the files that define them now,
    and tells a moved type from a removed one. At NONE nothing is compared; a new field still needs its decision (P105).
    """
    if not before:
        return ()
    last = before[-1]
    found = list(_new_fields(new, last, subject))
    if level != "NONE":
        compared = before if level.endswith("_TRANSITIVE") else (last,)
        for one in compared:
            pair = _Pair(one.file, new, one.name, level, subject, elsewhere or {}, _refused(one.file, new, level))
            found += _Judge(pair).violations()
        if compared is not before:
            found += _once_used(new, before[:-1], last.file, subject)
    found.sort(key=lambda one: (one.line, one.column))
    return tuple(found)


def _refused(old: ProtoFile, new: ProtoFile, level: str) -> Mapping[Place, str]:
    found: dict[Place, str] = {}
    if level.startswith(("FORWARD", "FULL")):
        found.update(refusals(new, old))
    if level.startswith(("BACKWARD", "FULL")):
        found.update(refusals(old, new))
    return found


def _new_fields(new: ProtoFile, last: Before, subject: str | None) -> Iterator[Violation]:
    """Yield P105 for the fields that the last version did not have, under this name or this number."""
    for old, message in paired_messages(last.file, new):
        if message is None:
            continue
        numbers = {one.number for one in old.fields} if old is not None else set()
        names = {one.name for one in old.fields} if old is not None else set()
        for one in message.fields:
            if one.number not in numbers and one.name not in names and needs_decision(one):
                yield replace(undecided(new, message, one, "new field"), subject=subject, against=last.name)


def _once_used(new: ProtoFile, earlier: Sequence[Before], last: ProtoFile, subject: str | None) -> Iterator[Violation]:
    """Yield P203 for numbers that are new now and meant something else before the last version."""
    known = {(local(one.name, last.package), field.number) for one in last.all_messages() for field in one.fields}
    told: set[Place] = set()
    for before in reversed(earlier):
        for old, message in paired_messages(before.file, new):
            if old is None or message is None:
                continue
            name = local(message.name, new.package)
            for was, now in paired_fields(old, message).both:
                place = (name, now.number)
                if place in known or place in told:
                    continue
                told.add(place)
                if type_of(was, before.file) != type_of(now, new) or was.name != now.name:
                    yield Violation(
                        "P203",
                        Severity.ERROR,
                        new.file,
                        f"{message.name}.{now.name}",
                        f"number {now.number} of {now.name} was once {was.name} ({was.words}): records of "
                        f"{before.name} read as {now.name}; the registry does not look that far back",
                        f"Take a number that was never used, and write `reserved {now.number};`.",
                        line=now.line,
                        column=now.column,
                        subject=subject,
                        against=before.name,
                    )


class _Judge:
    """One pair of files. Each method tells one thing of the table in order; `violations` puts them together."""

    def __init__(self, pair: _Pair) -> None:
        self._pair = pair
        self._told: set[Place] = set()

    def violations(self) -> list[Violation]:
        pair = self._pair
        found = list(self._package())
        for old, new in paired_messages(pair.old, pair.new):
            if new is None:
                assert old is not None
                if not self._is_within_removed(old):
                    found.append(self._gone("message", old, self._registry((local(old.name, pair.old.package), 0))))
            elif old is None:
                found += self._added(new)
            elif old != new:
                found += self._message(old, new)
        for was, now in paired_enums(pair.old, pair.new):
            if now is None:
                assert was is not None
                if not self._is_within_removed(was):
                    found.append(self._gone("enum", was, "the registry would accept it"))
            elif was is not None and was != now:
                found += self._enum(was, now)
        return found

    # --- what is said of each ---

    def _violation(
        self,
        rule: str,
        at: ProtoMessage | ProtoField | ProtoEnum | ProtoValue | None,
        path: str,
        message: str,
        remedy: str,
        severity: Severity = Severity.ERROR,
    ) -> Violation:
        pair = self._pair
        line, column = (at.line, at.column) if at is not None else (pair.new.package_line, pair.new.package_column)
        return Violation(
            rule, severity, pair.new.file, path, message, remedy, None, line, column, pair.subject, pair.against
        )  # fmt: skip

    def _registry(self, *places: Place) -> str:
        """Return the registry's verdict in words, and note that these places were told."""
        self._told.update(places)
        kinds = dict.fromkeys(self._pair.refused[place] for place in places if place in self._pair.refused)
        return f"the registry would refuse it ({', '.join(kinds)})" if kinds else "the registry would accept it"

    # --- P206 ---

    def _package(self) -> Iterator[Violation]:
        old, new = self._pair.old.package, self._pair.new.package
        if old != new:
            yield self._violation(
                "P206",
                None,
                "",
                f"package {old or '(none)'} became {new or '(none)'}: the registry would accept it; {WIRE_SAFE}, but "
                f"subjects by record name, `Any` and all code made from it know the types by their old names",
                f"Keep `package {old};`, and give the new one a file of its own." if old else "Take `package` away.",
            )

    def _added(self, new: ProtoMessage) -> Iterator[Violation]:
        """Yield that a registry asked forward takes a new message for one that the old version lacks."""
        place = (local(new.name, self._pair.new.package), 0)
        if place in self._pair.refused:
            yield self._violation(
                "P206",
                new,
                new.name,
                f"new message {place[0]}: {self._registry(place)}, for at {self._pair.level} the old version "
                f"must have it as well; {WIRE_SAFE}",
                f"Put {place[0]} into a file of its own and import it, or set the subject to BACKWARD_TRANSITIVE.",
            )

    def _gone(self, what: str, old: ProtoMessage | ProtoEnum, registry: str) -> Violation:
        pair = self._pair
        name = local(old.name, pair.old.package)
        full = f"{pair.new.package}.{name}" if pair.new.package else name
        if (now := pair.elsewhere.get(full) or pair.elsewhere.get(old.name)) is not None:
            return self._violation(
                "P206",
                None,
                full,
                f"{what} {name} moved to {now}: {registry}; {WIRE_SAFE}, but whoever imports this file misses it",
                f"Move it back, or `import public` {now} here.",
            )
        return self._violation(
            "P206",
            None,
            full,
            f"{what} {name} is gone: {registry}; the wire would break for who still reads or writes it",
            f"Keep {name}, with a comment that says it is not used any more.",
        )

    def _is_within_removed(self, one: ProtoMessage | ProtoEnum) -> bool:
        """The message around it is gone as well: told once."""
        outer = local(one.name, self._pair.old.package).rpartition(".")[0]
        names = {local(message.name, self._pair.new.package) for message in self._pair.new.all_messages()}
        return bool(outer) and outer not in names

    # --- messages ---

    def _message(self, old: ProtoMessage, new: ProtoMessage) -> Iterator[Violation]:
        name = local(new.name, self._pair.new.package)
        if old.fields != new.fields:
            fields = paired_fields(old, new)
            for was, now in fields.both:
                if was != now:
                    yield from self._field(name, old, new, was, now)
            for was, now in fields.moved:
                yield self._violation(
                    "P203",
                    now,
                    f"{new.name}.{now.name}",
                    f"field {now.name} moved from number {was.number} to {now.number}: "
                    f"{self._registry((name, was.number), (name, now.number))}; the wire would break: "
                    f"what was written as {was.number} is never read again",
                    f"Write `{now.name} = {was.number};` again.",
                )
            for one in fields.removed:
                yield from self._removed(name, new, one)
            for one in fields.added:
                if one.is_required:
                    yield self._violation(
                        "P207",
                        one,
                        f"{new.name}.{one.name}",
                        f"new field {one.name} is required: {self._registry((name, one.number))}; the wire would "
                        f"break: no record written before has it, so none can be read",
                        f"Write `{self._as_it_was(replace(one, label='optional'))}`.",
                    )
            yield from self._registry_alone(name, old, new)
        yield from self._reservations(old, new, "")

    def _field(
        self, name: str, old: ProtoMessage, new: ProtoMessage, was: ProtoField, now: ProtoField
    ) -> Iterator[Violation]:
        place, path = (name, now.number), f"{new.name}.{now.name}"
        type_ = self._type_change(was, now)
        if type_ is not None:
            severity, words = type_
            renamed = "" if was.name == now.name else f", as {was.name}"
            yield self._violation(
                "P203",
                now,
                path,
                f"field {now.name}, number {now.number}: {was.words}{renamed} became {now.words}: "
                f"{self._registry(place)}; {words}",
                f"Write `{self._as_it_was(was)}` again and give the new type a new field and number.",
                severity,
            )
        elif was.name != now.name or was.json_name != now.json_name:
            what = (
                f"field {was.name} was renamed to {now.name}"
                if was.name != now.name
                else f"the JSON name of {now.name} was {was.json_name} and is {now.json_name}"
            )
            yield self._violation(
                "P208",
                now,
                path,
                f"{what}: {self._registry(place)}; {WIRE_SAFE}, but JSON, and sinks that go by names, see one column "
                f"end and another begin",
                f'Write `{was.name} = {now.number}` again, or keep `[json_name = "{was.json_name}"]` for JSON.',
                Severity.WARNING,
            )
        if was.is_required != now.is_required:
            yield self._required(name, path, was, now)
        elif (was.map is None) == (now.map is None) and was.is_repeated != now.is_repeated:
            yield self._cardinality(place, path, was, now)
        elif was.oneof != now.oneof:
            yield self._oneof(name, path, old, new, was, now)
            if was.has_presence != now.has_presence:
                yield from self._presence(place, path, was, now)
        elif was.has_presence != now.has_presence and not was.is_repeated:
            yield from self._presence(place, path, was, now)
        if was.default != now.default and was.has_presence and now.has_presence:
            yield self._violation(
                "P209",
                now,
                path,
                f"the default of {now.name} was {was.default or 'none'} and is {now.default or 'none'}: "
                f"{self._registry(place)}; {WIRE_SAFE}, but records without the field now read as another value",
                f"Write `[{_default(was)}]` again." if was.default is not None else "Take the default away.",
                Severity.WARNING,
            )

    def _type_change(self, was: ProtoField, now: ProtoField) -> tuple[Severity, str] | None:
        """Return the severity of a change of type and its words on the wire; None where no reader notices."""
        if was.map is not None and now.map is not None:
            inner = [self._type_change(one, other) for one, other in zip(was.map, now.map, strict=True)]
            return max((one for one in inner if one is not None), default=None, key=lambda one: one[0].rank)
        if (was.map is None) != (now.map is None):
            before, after = _entry(was, self._pair.old), _entry(now, self._pair.new)
            if before and after and "group" not in (was.type, now.type) and self._alike(before, after):
                what = "as a map" if was.is_repeated and now.is_repeated else "as one message"
                same = "entries with one key" if was.is_repeated and now.is_repeated else "entries"
                return Severity.ERROR, f"the wire is read, but {what} the last of two {same} remains"
            return Severity.ERROR, "the wire would break: the entries of a map are messages of a key and a value"
        if was.type_name and now.type_name and ENCODING[was.type] == ENCODING[now.type]:
            return self._named_type_change(was, now)
        if was.type == now.type:
            return None
        readings = [read_type(was.type, now.type)] if self._pair.is_backward else []
        readings += [read_type(now.type, was.type)] if self._pair.is_forward else []
        worst = max(readings, default=SAFE)
        if worst.harm is Harm.BREAKS or (was.name != now.name and worst.harm is Harm.LOSSY):
            return Severity.ERROR, f"the wire {worst.words}"
        return (Severity.WARNING, f"the wire {worst.words}") if worst.harm is Harm.LOSSY else None

    def _named_type_change(self, was: ProtoField, now: ProtoField) -> tuple[Severity, str] | None:
        pair = self._pair
        before, after = type_of(was, pair.old), type_of(now, pair.new)
        if before == after:
            return None
        if was.type == "enum":
            values = {
                one.number: one.name
                for enum in pair.old.all_enums()
                if enum.name == was.type_name
                for one in enum.values
            }
            others = {
                one.number: one.name
                for enum in pair.new.all_enums()
                if enum.name == now.type_name
                for one in enum.values
            }
            if values and values.items() <= others.items():
                return None
            return Severity.ERROR, "the wire is read, but its numbers get the names of another enum"
        inner, other = _entry(was, pair.old), _entry(now, pair.new)
        if inner and other and self._alike(inner, other):
            return (
                Severity.ERROR,
                f"the wire is read, but only as long as {before} and {after} have the same numbers and types of fields",
            )
        return Severity.ERROR, f"the wire would break: the numbers of {before} are read as the fields of {after}"

    def _alike(self, before: Sequence[ProtoField], after: Sequence[ProtoField]) -> bool:
        """The fields have the same numbers and ways to be written: the bytes of one message are read as the other."""
        ways = [
            {
                one.number: (ENCODING[one.type], type_of(one, file) if one.type_name else "", one.is_repeated)
                for one in fields
            }
            for fields, file in ((before, self._pair.old), (after, self._pair.new))
        ]
        return ways[0] == ways[1]

    def _required(self, name: str, path: str, was: ProtoField, now: ProtoField) -> Violation:
        if now.is_required:
            words, fix = "became required", "a record written without it cannot be read"
        else:
            words, fix = "is no longer required", "a reader of the old version fails on records without it"
        return self._violation(
            "P207",
            now,
            path,
            f"field {now.name} {words}: {self._registry((name, now.number))}; the wire would break: {fix}",
            f"Write `{self._as_it_was(was)}` again; check it where the record is written.",
        )

    def _cardinality(self, place: Place, path: str, was: ProtoField, now: ProtoField) -> Violation:
        readings = [
            (read_cardinality(was, now), "a new reader of old records"),
            (read_cardinality(now, was), "an old reader of new records"),
        ]
        worst, who = max(readings, key=lambda one: one[0].harm)
        return self._violation(
            "P204",
            now,
            path,
            f"field {now.name}: {was.words} became {now.words}: {self._registry(place)}; the wire {worst.words} "
            f"({who})",
            f"Write `{self._as_it_was(was)}` again and add a new field for the {now.words}.",
        )

    def _as_it_was(self, was: ProtoField) -> str:
        """Return the old field as a line of the new file: with `optional` where that is what says so."""
        syntax, label = self._pair.new.syntax, ""
        options: list[str] = []
        if was.oneof is None and not (was.is_repeated or was.is_required):
            if syntax in NUMBERS_OF_LEGACY or (syntax == "proto3" and was.has_presence and was.type != "message"):
                label = "optional "
            elif syntax != "proto3" and not was.has_presence:
                options.append("features.field_presence = IMPLICIT")
        if was.type == "group":
            if syntax in NUMBERS_OF_LEGACY:
                name = was.type_name.rpartition(".")[2]
                inner = "".join(f"{self._as_it_was(one)} " for one in _entry(was, self._pair.old))
                return f"{label or f'{was.label} '}group {name} = {was.number} {{ {inner}}}"
            options.append("features.message_encoding = DELIMITED")
        if was.default is not None:
            options.append(_default(was))
        words = was.words
        if was.is_required and syntax not in ("proto3", *NUMBERS_OF_LEGACY):
            options.append("features.field_presence = LEGACY_REQUIRED")
            words = words.removeprefix("required ")
        told = f" [{', '.join(options)}]" if options else ""
        return f"{label}{words} {was.name} = {was.number}{told};"

    def _presence(self, place: Place, path: str, was: ProtoField, now: ProtoField) -> Iterator[Violation]:
        """Losing presence makes null and zero one; gaining it makes the zeros of old records unset."""
        registry = self._registry(place)
        if was.has_presence:
            yield self._violation(
                "P204",
                now,
                path,
                f"field {now.name} lost its presence: {registry}; {WIRE_SAFE}, but null and the zero value become one",
                f"Write `{self._as_it_was(was)}` again.",
            )
        elif self._pair.is_backward:
            yield self._violation(
                "P204",
                now,
                path,
                f"field {now.name} got presence: {registry}; {WIRE_SAFE}, but zeros written before were left out, and "
                f"read as not set",
                "Make readers take a field that is not set for zero in records from before, and waive this.",
                Severity.WARNING,
            )

    def _oneof(
        self, name: str, path: str, old: ProtoMessage, new: ProtoMessage, was: ProtoField, now: ProtoField
    ) -> Violation:
        registry = self._registry((name, now.number))
        before = {one.number for one in old.fields if was.oneof is not None and one.oneof == was.oneof}
        after = {one.number for one in new.fields if now.oneof is not None and one.oneof == now.oneof}
        ours, theirs = {one.number for one in old.fields}, {one.number for one in new.fields}
        if was.oneof is not None and now.oneof is not None and before == after:
            return self._violation(
                "P205",
                now,
                path,
                f"oneof {was.oneof} of {now.name} is now called {now.oneof}: {registry}; {WIRE_SAFE}, but code made "
                f"from it changes",
                f"Call it {was.oneof} again.",
                Severity.WARNING,
            )
        if now.oneof is None and before & theirs == {now.number}:
            return self._violation(
                "P205",
                now,
                path,
                f"field {now.name} moved out of oneof {was.oneof}, which nothing else was left in: {registry}; "
                f"{WIRE_SAFE}, but code made from it changes",
                "Put it back, or waive this.",
                Severity.WARNING,
            )
        if was.oneof is None and after & ours == {now.number}:
            return self._violation(
                "P205",
                now,
                path,
                f"field {now.name} moved into the new oneof {now.oneof}: {registry}; {WIRE_SAFE}, but code made from "
                f"it changes",
                "Keep it outside, or waive this.",
                Severity.WARNING,
            )
        if now.oneof is None:
            moved = f"out of oneof {was.oneof}"
            harm = "an old reader keeps only the last of the fields that may now be set together"
        else:
            moved = f"into oneof {now.oneof}" if was.oneof is None else f"from oneof {was.oneof} to {now.oneof}"
            harm = f"of the fields of {now.oneof} that an old record may hold together only the last is read"
        return self._violation(
            "P205",
            now,
            path,
            f"field {now.name} moved {moved}: {registry}; the wire would lose values: {harm}",
            "Move it back; add a new field with a new number where the new rule is meant.",
        )

    def _removed(self, name: str, new: ProtoMessage, gone: ProtoField) -> Iterator[Violation]:
        path, place = f"{new.name}.{gone.name}", (name, gone.number)
        if gone.is_required:
            yield self._violation(
                "P207",
                new,
                path,
                f"required field {gone.name} is gone: {self._registry(place)}; the wire would break: a reader of the "
                f"old version fails on records without it",
                f"Write `required {gone.type_name or gone.type} {gone.name} = {gone.number};` again.",
            )
        if (missing := self._not_reserved(gone.number, gone.name, new)) is not None:
            what, fix = missing
            yield self._violation(
                "P201",
                new,
                path,
                f"field {gone.name} is gone and its {what} not reserved: {self._registry(place)}; {WIRE_SAFE} until "
                f"somebody takes number {gone.number} again and old records read as something else",
                f"Write `{fix}` in {new.name.rpartition('.')[2]}.",
            )

    def _not_reserved(self, number: int, name: str, within: ProtoMessage | ProtoEnum) -> tuple[str, str] | None:
        quoted = f'"{name}"' if self._pair.new.syntax in ("proto2", "proto3", "") else name
        without_number = not covers(within.reserved_ranges, number)
        without_name = name not in within.reserved_names
        fixes = [f"reserved {number};"] if without_number else []
        fixes += [f"reserved {quoted};"] if without_name else []
        if not fixes:
            return None
        what = "number and name are" if len(fixes) == 2 else "number is" if without_number else "name is"
        return what, " ".join(fixes)

    def _registry_alone(self, name: str, old: ProtoMessage, new: ProtoMessage) -> Iterator[Violation]:
        """Yield what only the registry minds: it refuses any change of who is in a oneof that stays."""
        fields = {one.number: one for one in (*old.fields, *new.fields)}
        now = {one.number: one for one in new.fields}
        for place, kind in self._pair.refused.items():
            if place[0] != name or place in self._told or place[1] not in fields:
                continue
            one = fields[place[1]]
            way = "joined" if place[1] in now else "left"
            yield self._violation(
                "P205",
                now.get(place[1], new),
                f"{new.name}.{one.name}",
                f"field {one.name} {way} oneof {one.oneof}: the registry would refuse it ({kind}); {WIRE_SAFE}",
                f"Leave oneof {one.oneof} as it was: put the new field beside it."
                if way == "joined"
                else f"Keep {one.name} in oneof {one.oneof} with the comment that nobody writes it.",
            )

    # --- enums ---

    def _enum(self, old: ProtoEnum, new: ProtoEnum) -> Iterator[Violation]:
        names: dict[int, list[str]] = {}
        for value in new.values:
            names.setdefault(value.number, []).append(value.name)
        at = {value.name: value for value in new.values}
        for was in old.values:
            path = f"{new.name}.{was.name}"
            if (moved := at.get(was.name)) is not None:
                if moved.number != was.number:
                    yield self._violation(
                        "P203",
                        moved,
                        path,
                        f"enum value {was.name} moved from number {was.number} to {moved.number}: the registry would "
                        f"accept it; the wire is read, but old records mean "
                        f"{' or '.join(names.get(was.number, ())) or 'nothing'}",
                        f"Write `{was.name} = {was.number};` again.",
                    )
            elif was.number in names:
                other = names[was.number][0]
                yield self._violation(
                    "P208",
                    at[other],
                    f"{new.name}.{other}",
                    f"enum value {was.name} was renamed to {other}: the registry would accept it; {WIRE_SAFE}, but "
                    f"JSON shows names, and a number that means something else is a break nobody sees",
                    f"Write `{was.name} = {was.number};` again, and give a new meaning a new number.",
                    Severity.WARNING,
                )
            elif (missing := self._not_reserved(was.number, was.name, new)) is not None:
                what, fix = missing
                yield self._violation(
                    "P201",
                    new,
                    path,
                    f"enum value {was.name} is gone and its {what} not reserved: the registry would accept it; "
                    f"{WIRE_SAFE} until somebody takes number {was.number} again and old records mean something else",
                    f"Write `{fix}` in {new.name.rpartition('.')[2]}.",
                )
        yield from self._reservations(old, new, "enum ")

    # --- P202 ---

    def _reservations(
        self, old: ProtoMessage | ProtoEnum, new: ProtoMessage | ProtoEnum, what: str
    ) -> Iterator[Violation]:
        if old.reserved_ranges == new.reserved_ranges and old.reserved_names == new.reserved_names:
            return
        ranges = [_range_words(one) for one in uncovered(old.reserved_ranges, new.reserved_ranges)]
        quote = "{}" if self._pair.new.syntax not in ("proto2", "proto3", "") else '"{}"'
        gone = [name for name in old.reserved_names if name not in new.reserved_names]
        written = [*ranges, *(quote.format(name) for name in gone)]
        if not written:
            return
        fixes = [f"reserved {', '.join(ranges)};"] if ranges else []
        fixes += [f"reserved {', '.join(quote.format(name) for name in gone)};"] if gone else []
        yield self._violation(
            "P202",
            new,
            new.name,
            f"{what}{new.name.rpartition('.')[2]} no longer reserves {', '.join(written)}: the registry would accept "
            f"it; the wire would break once they are used again: old records still hold what they meant",
            f"Write `{' '.join(fixes)}` again.",
        )


def _entry(one: ProtoField, file: ProtoFile) -> Sequence[ProtoField]:
    """Return the fields of a map's entry, or of the message that is the type; nothing where another file has it."""
    if one.map is not None:
        return one.map
    return next((message.fields for message in file.all_messages() if message.name == one.type_name), ())


def _range_words(range_: Range) -> str:
    start, end = range_
    return str(start) if start == end else f"{start} to {end if end < 536_870_911 else 'max'}"


# --- in a person's words --------------------------------------------------------------------------


def changes(old: ProtoFile, new: ProtoFile) -> tuple[Change, ...]:
    """Return the field-level difference in the order of the new file, removed things last; no pointers."""
    found: list[Change] = []
    gone: list[Change] = []
    if old.package != new.package:
        found.append(Change("", "name", f"package {old.package or '(none)'} -> {new.package or '(none)'}"))
    for before, after in paired_messages(old, new):
        if after is None:
            assert before is not None
            gone.append(Change(before.name, "removed", "message removed"))
        elif before is None:
            found.append(Change(after.name, "added", f"message added, {len(after.fields)} fields"))
        elif before != after:
            fields = paired_fields(before, after)
            for was, now in (*fields.both, *fields.moved):
                found += (Change(f"{after.name}.{now.name}", *words) for words in _field_words(was, now, old, new))
            found += (Change(f"{after.name}.{one.name}", "added", f"added: {_written(one)}") for one in fields.added)
            gone += (
                Change(f"{after.name}.{one.name}", "removed", f"removed: {_written(one)}") for one in fields.removed
            )
    for earlier, later in paired_enums(old, new):
        if later is None:
            assert earlier is not None
            gone.append(Change(earlier.name, "removed", "enum removed"))
        elif earlier is None:
            found.append(Change(later.name, "added", f"enum added, {len(later.values)} values"))
        elif words := _enum_words(earlier.values, later.values):
            found.append(Change(later.name, "enum", words))
    return (*found, *gone)


def _default(one: ProtoField) -> str:
    assert one.default is not None
    if one.type == "bytes":  # protoc gives these as they were escaped
        return f'default = "{one.default}"'
    return f"default = {json.dumps(one.default, ensure_ascii=False) if one.type == 'string' else one.default}"


def _written(one: ProtoField) -> str:
    return f"{one.words} = {one.number}"


def _field_words(was: ProtoField, now: ProtoField, old: ProtoFile, new: ProtoFile) -> Iterator[tuple[str, str]]:
    if was.name != now.name:
        yield "renamed", f"renamed from {was.name}"
    if was.number != now.number:
        yield "type", f"number {was.number} -> {now.number}"
    if was.words != now.words and (type_of(was, old), was.label, was.map) != (type_of(now, new), now.label, now.map):
        yield "type", f"{was.words} -> {now.words}"
    if was.oneof != now.oneof:
        yield "type", f"oneof {was.oneof or '(none)'} -> {now.oneof or '(none)'}"
    elif was.has_presence != now.has_presence and was.is_repeated == now.is_repeated:
        yield "nullability", "presence added" if now.has_presence else "presence dropped"
    if was.default != now.default:
        yield "default", f"default {was.default or '(none)'} -> {now.default or '(none)'}"


def _enum_words(was: Iterable[ProtoValue], now: Iterable[ProtoValue]) -> str:
    before, after = {(one.name, one.number) for one in was}, {(one.name, one.number) for one in now}
    parts = [f"+{name} = {number}" for name, number in sorted(after - before, key=lambda one: one[1])]
    parts += [f"-{name} = {number}" for name, number in sorted(before - after, key=lambda one: one[1])]
    return ", ".join(parts)
