"""The rules C001-C020 over two Avro schemas: each cause is told once, by its own rule.

What covers what
    C001 says what the registry would say of the new field (C002), C011 of the removed one, C016 where a default went.
    A type that cannot be read (C003, C005-C007) covers whatever else changed of that type, and its default.
    C010 covers the conflict that null makes. C014 covers C015. C018 covers the conflicts with the older field.

Pointers lead into the new file: to the node itself; for a removed field to the `fields` of its record.

Choices where the rules' table is silent
    NONE: C002-C007 and C015 are off. A type replaced in place by one that cannot read it is C018 there: consumers may
    have agreed to it, the table behind the sink has not.
    C002-C010 look at every version under a transitive level; the other rules at the last.
    A logical type *added* to a bare type is a warning, under a profile an error: a sink's column changes its type.
    A new field whose default does not fit its type is A008's alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from bot.checks.avro.difference import Difference, differences, guessed_renames, non_null, nullable
from bot.checks.avro.remedies import Fields, fragment, space_of
from bot.checks.avro.resolution import PROMOTIONS, Incompatibility, fits, incompatibilities
from bot.checks.avro.schema import (
    Enumeration,
    Field,
    Fixed,
    Logical,
    Missing,
    Named,
    Primitive,
    Record,
    Reference,
    Schema,
    Type,
    Union,
    namespace_of,
    unqualified,
)
from bot.checks.avro.words import default_words, kind, logical_words, meaning, meaning_change, type_words, value_words
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Pointer, Severity, Violation

LOSSY = {
    ("int", "float"): "a float holds whole numbers up to 16,777,216 only",
    ("long", "float"): "a float holds whole numbers up to 16,777,216 only",
    ("long", "double"): "a double holds whole numbers up to 2^53 only",
    ("bytes", "string"): "bytes that are not UTF-8 cannot be read",
}
"""Promotions that the specification allows and that lose data, or depend on it."""

ICEBERG_PROMOTIONS = {("int", "long"), ("float", "double")}
RESERVED = "confluent:reserved"
KEEP_TYPE = "Keep the type, and write what is new to a topic of its own."
_TYPE_RULES = ("C003", "C005", "C006", "C007")


class _Conflict(NamedTuple):
    """What stops a reader at a path of the new schema. `backward`: the new schema reads the old one's data."""

    backward: bool
    path: str
    found: tuple[Incompatibility, ...]

    @property
    def pointer(self) -> Pointer:
        return self.found[0].reader if self.backward else self.found[0].writer

    @property
    def missing(self) -> bool:
        """Whether it is about a field that the writer lacks."""
        return self.found[0].kind == "READER_FIELD_MISSING_DEFAULT_VALUE"

    def types(self, old: Schema, new: Schema) -> tuple[Type, Type]:
        """Return the old and the new whole type at the path."""
        reader, writer = self.found[0].reader_type, self.found[0].writer_type
        assert reader is not None and writer is not None
        return (writer, reader) if self.backward else (reader, writer)


class _Beside(NamedTuple):
    """The new schema beside one previous version, and what to call that."""

    old: Schema
    name: str
    differences: tuple[Difference, ...]
    conflicts: tuple[_Conflict, ...]

    def of(self, *kinds: str) -> Iterator[Difference]:
        return (one for one in self.differences if one.kind in kinds)


class Judgement:
    """One schema after its previous versions (schema and what to call it, oldest first). Judges once."""

    def __init__(
        self,
        new: Schema,
        before: Sequence[tuple[Schema, str]],
        level: str,
        settings: SchemaSettings,
        subject: str | None,
    ) -> None:
        self.new, self.before, self.settings, self.subject = new, before, settings, subject
        self.level = level.upper()
        self.backward = self.level.startswith(("BACKWARD", "FULL"))
        self.forward = self.level.startswith(("FORWARD", "FULL"))
        self.transitive = self.level.endswith("_TRANSITIVE")
        self.iceberg = bool(settings.profiles & {"iceberg-v2", "iceberg-v3"})
        self.found: list[Violation] = []
        self.told: set[tuple[str, str]] = set()
        self.renamed: set[str] = set()  # paths whose C011 is about the last version's name alone
        self.covered: set[tuple[str, str]] = set()  # (version, path) whose types cannot be read

    def violations(self) -> tuple[Violation, ...]:
        """Return what is wrong; only the reservation of names is looked at where nothing differs."""
        last = self._beside(*self.before[-1])
        older = [self._beside(*one) for one in reversed(self.before[:-1])] if self.transitive else []
        self._reserved(last)
        if not last.differences and not any(one.differences for one in older):
            return tuple(self.found)
        for version in (last, *older):
            self._read_twice(version)
        self._reused(last)
        self._added(last)
        self._removed(last)
        for version in (last, *older):
            self._unreadable(version)
        self._symbols_lost(last)
        for version in (last, *(older if self.backward else ())):
            self._namespaces(version, self.forward and version is last)
        self._names(last)
        if not (self.backward or self.forward or self.iceberg):
            self._replaced(last)
        for version in (last, *older):
            self._meanings(version)
            self._nullability(version)
        self._promotions(last)
        self._order(last)
        self._defaults(last)
        for version in (last, *older):
            self._missing(version)
        self._key(last)
        quiet = [_quiet(one) for one in last.differences]
        if not self.found and quiet and all(quiet):
            what = ", ".join(dict.fromkeys(word for words in quiet for word in words))
            message = f"only what no value depends on changed ({what}): no reader notices"
            self._tell("C020", Severity.NOTE, "", (), message, "Nothing to do: no announcement, no new topic.", last)
        return tuple(self.found)

    def _beside(self, old: Schema, name: str) -> _Beside:
        found = differences(old, self.new)
        if all(one.kind in ("doc", "order") for one in found):
            return _Beside(old, name, found, ())
        conflicts: list[_Conflict] = []
        if self.backward:
            conflicts.extend(_by_path(incompatibilities(self.new, old), backward=True))
        if self.forward:
            conflicts.extend(_by_path(incompatibilities(old, self.new), backward=False))
        return _Beside(old, name, found, tuple(conflicts))

    def _tell(
        self,
        rule: str,
        severity: Severity,
        path: str,
        pointer: Pointer | None,
        message: str,
        remedy: str,
        against: _Beside,
    ) -> None:
        if (rule, path) in self.told:
            return
        self.told.add((rule, path))
        self.found.append(
            Violation(
                rule,
                severity,
                self.new.file,
                path,
                message,
                remedy,
                pointer=pointer or (),
                subject=self.subject,
                against=against.name,
            )
        )

    def _on(self, rule: str) -> bool:
        return self.settings.severities.get(rule, "") is not None

    def _refused(self) -> str:
        return f"the registry refuses it at {self.level}"

    # -- fields that come and go -----------------------------------------------------------

    def _added(self, last: _Beside) -> None:
        """C001; and C013, for what was decided in a way that Iceberg v2 cannot follow."""
        for one in last.of("added"):
            if ("C002", one.path) in self.told:
                continue
            fresh = one.new_field
            what = f"new field {one.path} ({type_words(self.new, fresh.type)})"
            if not decided(fresh):
                why = "no default" if not fresh.has_default else "a default null that is no value of its type"
                said = f"{what} has {why}: nobody decided what a reader of older records gets"
                if self.backward:
                    said += f"; {self._refused()}"
                elif self.forward:
                    said += f"; the registry takes it at {self.level}, and older records can never be read with it"
                made = self._paste(one).decision(self.new, fresh)
                remedy = f"Decide: {made}, or an explicit default, or a waiver with reason and owner."
                if (taker := _taker(one, fresh.name)) is not None and fresh.name in _names(one.old_named):
                    remedy = _less_alias(fresh.name, taker)
                if self._on("C001"):
                    self._tell("C001", Severity.ERROR, one.path, one.new, said, remedy, last)
            elif "iceberg-v2" in self.settings.profiles and not nullable(fresh.type):
                said = (
                    f"{what} is required, with {default_words(fresh.default)}: an Iceberg v2 table has no column "
                    "defaults, so its older rows would have no value in a required column"
                )
                remedy = f"Make it optional: {self._paste(one).decision(self.new, fresh)}"
                self._tell("C013", Severity.ERROR, one.path, one.new, said, remedy, last)

    def _read_twice(self, version: _Beside) -> None:
        """C002 too: an alias of what was written beside the field itself. Java refuses to read either (measured)."""
        for one in version.of("removed", "added") if self.backward else ():
            name = (one.old_field if one.kind == "removed" else one.new_field).name
            taker, written = _taker(one, name), _names(one.old_named)
            others = [other for other in (taker.name, *taker.aliases) if other in written - {name}] if taker else []
            if taker is not None and others and name in written:
                said = (
                    f"{version.name} has {name} and {others[0]}, and both would be read as {taker.name}, by its alias"
                )
                remedy = _less_alias(name, taker)
                self._tell("C002", Severity.ERROR, one.path, taker.pointer, f"{said}: Java refuses", remedy, version)

    def _removed(self, last: _Beside) -> None:
        """C011: an error where old readers or an Iceberg table need the field; a sink of Flink alone does not mind."""
        needed = {one.path for one in last.conflicts if one.missing and not one.backward}
        removed = list(last.of("removed"))
        guesses = guessed_renames(last.old, self.new, last.differences) if removed else {}
        for one in last.of("renamed"):
            if one.place.old_path not in needed:
                self._renamed(one, last)
        for one in removed:
            if ("C002", one.path) in self.told:
                continue
            gone = one.old_field
            if gone.name in _names(one.new_named):
                continue  # Another field's alias takes what was written: told there.
            said = f"field {one.path} ({type_words(last.old, gone.type)}) is gone"
            severity = Severity.ERROR
            if one.path in needed:
                said += f"; it had no default, so consumers with the old schema cannot read on; {self._refused()}"
            elif self.iceberg:
                said += ": an Iceberg sink does not drop the column, and cannot fill it"
            elif self.settings.profiles:
                continue
            else:
                severity = Severity.WARNING
                said += ": whoever still reads it gets its default, or nothing"
            kept = self._paste(one).as_it_was(last.old, gone)
            remedy = f"Keep it until nobody reads it: {kept}"
            if one.path in needed:
                remedy = f"Keep it: {kept} - to let it go, first publish it with a default."
            elif one.path in guesses and not self.iceberg:
                alias = f'"aliases": {fragment([gone.name])}'
                remedy = f'If it was renamed, write {alias} in field "{guesses[one.path]}". Else keep it: {kept}'
            self._tell("C011", severity, one.path, one.new, said, remedy, last)

    def _renamed(self, one: Difference, last: _Beside) -> None:
        """C011 too: an alias is for readers of the new schema; a sink knows columns by name, and sees no alias."""
        was, now = one.old_field, one.new_field
        said = f"field {one.place.old_path} is called {now.name} now: its alias helps readers of the new schema; "
        severity = Severity.NOTE
        if self.iceberg:
            severity = Severity.ERROR
            said += f"an Iceberg sink fills column {was.name} no more, and adds another or drops the values"
        elif self.settings.profiles:
            severity = Severity.WARNING
            said += f"a Flink table that names {was.name} reads null there, or fails"
        else:
            said += f"sinks and SQL that name {was.name} get no value any more"
        paste = self._paste(one)
        remedy = f"Keep it until nobody names it: {paste.as_it_was(last.old, was)}"
        remedy += f" - and put the new one beside it: {paste.decision(self.new, now, ('aliases',))}"
        if was.name in _names(one.new_named):
            severity, remedy = Severity.WARNING, _less_alias(was.name, now)
            said = (
                f"field {one.place.old_path} is still here, yet what was written of it is read as {now.name}, by its "
            )
            said += "alias"
        self.renamed.add(one.path)
        self._tell("C011", severity, one.path, one.new, said, remedy, last)

    def _missing(self, version: _Beside) -> None:
        """C002: a field that one side lacks, where no other rule told of it."""
        for conflict in version.conflicts:
            path = conflict.path
            told = any((rule, path) in self.told for rule in ("C001", "C011", "C016", "C018"))
            if not conflict.missing or (told and path not in self.renamed):
                continue
            pointer: Pointer | None = conflict.pointer
            if conflict.backward:
                added = next((one for one in version.of("added") if one.path == path), None)
                if added is None or decided(added.new_field):
                    continue  # Its default does not fit: A008.
                said = f"field {path} has no default, and {version.name} has no such field; {self._refused()}"
                remedy = self._paste(added).decision(self.new, added.new_field)
            else:
                gone = next((one for one in version.of("removed", "renamed") if one.place.old_path == path), None)
                said = f"consumers with the schema of {version.name} need field {path}, which has no default there"
                said += f"; {self._refused()}"
                remedy = "Keep the field under its old name: an alias helps readers of the new schema only."
                if gone is not None and gone.kind == "renamed" and gone.old_field.name in _names(gone.new_named):
                    pointer, remedy = gone.new, _less_alias(gone.old_field.name, gone.new_field)
                elif gone is not None:
                    kept = self._paste(gone).as_it_was(version.old, gone.old_field)
                    pointer, remedy = gone.new, f"Keep it under its old name: {kept}"
            self._tell("C002", Severity.ERROR, path, pointer, said, remedy, version)

    def _reused(self, last: _Beside) -> None:
        """C018: a field that comes back under a name that once had another type."""
        fresh = {one.path: one for one in last.of("added")}
        if not fresh:
            return
        for old, name in reversed(self.before[:-1]):
            for one in differences(old, self.new):
                path = one.path.rstrip("[]{}")
                if path not in fresh or not (one.kind == "logical" or _replaces(old, self.new, one)):
                    continue
                assert one.old_type is not None and one.new_type is not None
                was, now = type_words(old, one.old_type), type_words(self.new, one.new_type)
                said = f"new field {path} is {now}, and was {was} in {name}: old records and tables still have that"
                remedy = f"Take another name: {self._paste(one).beside(one.new_field, self._siblings(one.new_field))}"
                earlier = _Beside(old, name, (), ())
                self._tell("C018", Severity.ERROR, path, fresh[path].new, said, remedy, earlier)

    def _reserved(self, last: _Beside) -> None:
        """C018: names that `confluent:reserved` keeps from use; a reservation is for ever."""
        kept, now = _reservations(last.old), _reservations(self.new)
        root = self.new.resolve(self.new.root)
        if not (kept or now) or not isinstance(root, Record):
            return
        for name in sorted(kept - now):
            remedy = f'Keep it: "{RESERVED}": {fragment(", ".join(sorted(kept | now)))}'
            self._tell("C018", Severity.ERROR, name, root.pointer, f"{name} is no longer reserved", remedy, last)
        for one in root.fields:
            if one.name in kept | now:
                said = f"field {one.name} has a reserved name ({RESERVED})"
                paste = Fields(self.new, space_of(self.new, one), one)
                remedy = f"Take another name: {paste.beside(one, self._siblings(one))}"
                self._tell("C018", Severity.ERROR, one.name, one.pointer, said, remedy, last)

    def _siblings(self, field: Field) -> dict[str, object]:
        """Return the names beside a field, in the new schema."""
        for name in self.new.defined:
            found = self.new.named[name]
            if isinstance(found, Record) and any(one is field for one in found.fields):
                return {one.name: one for one in found.fields}
        return {}

    # -- types -----------------------------------------------------------------------------

    def _unreadable(self, version: _Beside) -> None:
        """C003-C007: the registry's own verdict on types, once per path, both directions in one sentence."""
        at: dict[tuple[str, str], list[_Conflict]] = {}
        for conflict in version.conflicts:
            if conflict.missing or any(rule == "C018" and _within(conflict.path, path) for rule, path in self.told):
                continue
            for rule, part in _ruled(conflict, version.old, self.new):
                at.setdefault((rule, conflict.path), []).append(conflict._replace(found=part))
        for (rule, path), conflicts in at.items():
            if rule in _TYPE_RULES:
                self.covered.add((version.name, path))
            said, pointer, remedy = self._words(rule, conflicts, version)
            who = []
            if any(one.backward for one in conflicts):
                who.append(f"the new schema cannot read what {version.name} wrote")
            if any(not one.backward for one in conflicts):
                who.append(f"consumers with {version.name} cannot read what the new schema writes")
            message = f"{said}: {', and '.join(who)}; {self._refused()}"
            self._tell(rule, Severity.ERROR, path, pointer, message, remedy, version)

    def _symbols_lost(self, last: _Beside) -> None:
        """C004 as a warning: the enum's default takes a symbol's place in silence, or no level asks who reads it."""
        for one in last.of("enum"):
            after = one.new_named
            if not one.removed or not isinstance(after, Enumeration) or (last.name, one.path) in self.covered:
                continue
            said = f"enum {unqualified(after.name)} lost {', '.join(one.removed)}: records that have it "
            said += (
                "can no longer be read with this schema"
                if after.default is None
                else f"are read as {after.default}, its default symbol, and nobody notices"
            )
            remedy = f'Keep it: "symbols": {fragment([*after.symbols, *one.removed])}'
            self._tell("C004", Severity.WARNING, one.path, one.new, said, remedy, last)

    def _namespaces(self, version: _Beside, forward: bool) -> None:
        """C006: what registries take, by unqualified names, and Java cannot read, which looks for full ones (measured):
        enums and fixed in a union, and records of which a field has an alias. Old readers (`forward`) of versions with
        different names cannot all be served: of these only the last is asked for."""
        if not (self.backward or self.forward):
            return
        renamed = {id(one.new_named) for one in version.of("renamed")}
        for one in version.of("name"):
            before, after = one.old_named, one.new_named
            if before is None or after is None or unqualified(before.name) != unqualified(after.name):
                continue
            by_alias = before.name in after.aliases
            if (by_alias and not forward) or (version.name, one.path) in self.covered:
                continue
            if isinstance(after, Record):
                fails = id(after) in renamed and not by_alias
                where = "so the aliases of its fields are not looked at"
            else:
                types = (
                    one.place.old_field.type if one.place.old_field else version.old.root,
                    one.place.new_field.type if one.place.new_field else self.new.root,
                )
                fails = any(isinstance(type_, Union) for type_ in types)
                where = "and in a union it is not found by its short name"
            if not fails:
                continue
            said = f"{kind(after)} {before.name} is called {after.name} now, {where}"
            said += ": registries take it, readers in Java fail"
            remedy = f'Keep it: "name": {fragment(before.name)}'
            if "." not in before.name:
                remedy += ', "namespace": ""'
            elif not forward:
                remedy = f'Say so: "aliases": {fragment([before.name, *after.aliases])}'
            self._tell("C006", Severity.ERROR, one.path, one.new, said, remedy, version)

    def _names(self, last: _Beside) -> None:
        """C006 where every level lets it pass: generated classes and Connect know a type by its full name, no alias."""
        moved: set[tuple[str, str]] = set()
        for one in last.of("name"):
            before, after = one.old_named, one.new_named
            if before is None or after is None or (last.name, one.path) in self.covered:
                continue
            spaces = namespace_of(before.name), namespace_of(after.name)
            if spaces in moved and unqualified(before.name) == unqualified(after.name):
                continue  # It moved with the record around it.
            moved.add(spaces)
            what = f"{kind(after)} {before.name} is called {after.name} now"
            severity = Severity.NOTE
            if one.path == "" and isinstance(after, Record):
                severity = Severity.WARNING
                what += ": readers of generated classes (`specific.avro.reader`) look for a class of the name that was "
                what += "written, and fail where they have only the other one"
            else:
                what += ": Avro reads on, generated classes and Connect's schema have another name"
            space = "" if "." in before.name else ', "namespace": ""'
            remedy = f'Keep it: "name": {fragment(before.name)}{space}; also where it is used.'
            self._tell("C006", severity, one.path, one.new, what, remedy, last)

    def _words(self, rule: str, conflicts: Sequence[_Conflict], version: _Beside) -> tuple[str, Pointer, str]:
        """Return what changed, where in the new file, and what to write."""
        first = conflicts[0]
        old, new = first.types(version.old, self.new)
        what = f"field {first.path}" if first.path else "the schema"
        pointer = first.pointer
        one = next((one for one in version.differences if one.path == first.path and one.place.new_field), None)
        keep = self._instead(version, one) if one else KEEP_TYPE
        if rule in ("C003", "C005"):
            was, now = type_words(version.old, old), type_words(self.new, new)
            said = f"{what} was {was}, and is {now}"
            if rule == "C005":
                owner = version.old if first.backward else self.new
                branches = ", ".join(type_words(owner, found.written) for found in first.found if found.written)
                said += f": {branches} {'is gone' if first.backward else 'is new'}"
            used = next((one.new for one in version.of("type", "nullability") if one.path == first.path), None)
            if not isinstance(self.new.resolve(new), Fixed):
                pointer = _whole(new, first, used)
            return said, pointer, keep
        before, after = _named_pair(first, version.old, old, self.new, new)
        if rule == "C004":
            symbols = dict.fromkeys(symbol for part in conflicts for found in part.found for symbol in _symbols(found))
            enum = f"enum {unqualified(after.name) if after else ''} of {what}".replace("enum  of", "the enum of")
            listed = ", ".join(symbols)
            if first.backward:
                said = f"{enum} lost {listed} and has no default symbol"
                kept = [*getattr(after, "symbols", ()), *symbols]
                remedy = f'Keep it: "symbols": {fragment(kept)}, or give the enum a "default": one of its symbols.'
            else:
                said = f"{enum} got {listed}, and had no default symbol"
                remedy = 'First publish the enum with a "default": one of its symbols, then add the new one.'
            return said, pointer, remedy
        if rule == "C006":
            if before is None or after is None or before.name in self.new.named:
                was, now = type_words(version.old, old), type_words(self.new, new)
                return f"{what} was {was}, and is {now}", pointer, keep
            said = f"{kind(after)} {before.name} of {what} is called {after.name} now, without an alias"
            aliases = [before.name, *(alias for alias in after.aliases if alias != before.name)]
            remedy = f'Say so: "aliases": {fragment(aliases)}'
            if not all(part.backward for part in conflicts):
                remedy = f"Keep the name {before.name}: an alias helps readers of the new schema only."
            elif "." in after.name and "." not in before.name:
                remedy = f"Keep the name {before.name}: an alias is of the namespace, and the old name is of none."
            return said, pointer, remedy
        sizes = [getattr(named, "size", None) for named in (before, after)]
        return f"fixed of {what} had {sizes[0]} bytes, and has {sizes[1]}", pointer, f'Write "size": {sizes[0]}'

    def _replaced(self, last: _Beside) -> None:
        """C018 in place, where no level and no profile asks: the name was kept for a type that reads nothing of it."""
        for one in last.of("type"):
            if _replaces(last.old, self.new, one) and one.old_type is not None and one.new_type is not None:
                self.covered.add((last.name, one.path))
                was, now = type_words(last.old, one.old_type), type_words(self.new, one.new_type)
                said = (
                    f"{_what(one)} was {was}, and is {now}: level {self.level} lets it pass, the sink's column does not"
                )
                self._tell("C018", Severity.ERROR, one.path, one.new, said, self._instead(last, one), last)

    def _meanings(self, version: _Beside) -> None:
        """C008 and C009: what a value stands for. No registry sees it; always on."""
        for one in version.of("logical", "type"):
            pair = self._pair(version, one)
            if pair is None or (version.name, one.path) in self.covered:
                continue
            old, new = pair
            was, now = meaning(old), meaning(new)
            if was == now or (one.kind == "type" and _bare_kinds(old, new) is None):
                continue
            if was and now and was.name == now.name == "decimal":
                self._decimal(one, was, now, version)
                continue
            severity = Severity.WARNING if was is None and not self.settings.profiles else Severity.ERROR
            said = f"{_what(one)}: {meaning_change(old, new)}"
            said += ": stored values now mean something else, and no registry notices"
            self._tell("C009", severity, one.path, one.new, said, self._instead(version, one), version)

    def _decimal(self, one: Difference, was: Logical, now: Logical, version: _Beside) -> None:
        wider = was.scale == now.scale and (now.precision or 0) > (was.precision or 0)
        severity = Severity.WARNING if wider and self.iceberg else Severity.ERROR
        said = f"{_what(one)}: {logical_words(was)} -> {logical_words(now)}"
        if was.scale != now.scale:
            said += ": stored digits get their point in another place, and no registry notices"
        elif wider:
            said += ": readers with the old precision fail on, or cut, what is longer"
        else:
            said += ": stored values may have more digits than the new precision"
        self._tell("C008", severity, one.path, one.new, said, self._instead(version, one), version)

    def _nullability(self, version: _Beside) -> None:
        """C010: null was a value, and is none any more."""
        for one in version.of("nullability"):
            if (version.name, one.path) in self.covered or one.new_type is None or nullable(one.new_type):
                continue
            said = f"{_what(one)} may no longer be null, and stored records have null in it"
            if self.backward:
                said += f"; {self._refused()}"
            remedy = "Leave null among its types."
            if one.place.new_field is not None:
                inside = one.path.endswith(("[]", "{}"))
                paste = self._paste(one)
                kept = (
                    paste.as_it_was(version.old, one.old_field) if inside else paste.decision(self.new, one.new_field)
                )
                remedy = f"Leave null among its types: {kept}"
            self._tell("C010", Severity.ERROR, one.path, one.new, said, remedy, version)

    def _promotions(self, last: _Beside) -> None:
        """C014, what Avro widens and Iceberg does not; C015, what loses data on the way."""
        for one in last.of("type"):
            if (last.name, one.path) in self.covered or one.old_type is None or one.new_type is None:
                continue
            pair = self._pair(last, one)
            kinds = _bare_kinds(*pair) if pair else None
            was, now = type_words(last.old, one.old_type), type_words(self.new, one.new_type)
            if self.iceberg and (kinds is None or kinds not in ICEBERG_PROMOTIONS):
                said = f"{_what(one)} was {was}, and is {now}: Avro reads it, an Iceberg column cannot change so"
                said += " (only int -> long, float -> double, a wider decimal)"
                self._tell("C014", Severity.ERROR, one.path, one.new, said, self._instead(last, one), last)
            elif kinds is not None and ("C009", one.path) not in self.told:
                for asked, read in ((self.backward, kinds), (self.forward, kinds[::-1])):
                    if asked and read in LOSSY:
                        said = f"{_what(one)} was {was}, and is {now}: {LOSSY[read]}"
                        self._tell("C015", Severity.WARNING, one.path, one.new, said, self._instead(last, one), last)

    def _order(self, last: _Beside) -> None:
        """C012: Iceberg tables keep the order of their columns."""
        if not self.iceberg:
            return
        for one in last.of("order"):
            if one.added and isinstance(one.old_named, Record):
                kept = set(one.added)
                order = ", ".join(field.name for field in one.old_named.fields if field.name in kept)
                said = f"the fields of {one.path or 'the record'} are in another order: {', '.join(one.added)}"
                remedy = f"Put them in the old order, new fields last: {order}"
                self._tell("C012", Severity.WARNING, one.path, one.new, said, remedy, last)

    def _defaults(self, last: _Beside) -> None:
        """C016: what a reader gets for older records changed; a default that went ends transitive reading."""
        settled = {path for _, path in self.told}
        for one in last.of("default"):
            was, now = one.defaults
            if isinstance(was, Missing) or one.path in settled:
                continue
            gone = isinstance(now, Missing)
            if isinstance(one.new_named, Enumeration):
                self._default_symbol(one, one.new_named, was, now, last)
                continue
            ends = gone and self.transitive and self.backward
            said = f"{_what(one)} lost its {default_words(was)}"
            if not gone:
                said = f"{_what(one)}: {default_words(was)} -> {value_words(now)}"
                said += ": readers get another value for the same older records"
            elif ends:
                said += f": at {self.level} versions without the field must stay readable"
            else:
                said += ": versions before the field can no longer be read"
            severity = Severity.ERROR if ends else Severity.WARNING
            remedy = self._with_default(one, was)
            self._tell("C016", severity, one.path, one.new, said, remedy, last)

    def _with_default(self, one: Difference, was: object) -> str:
        """Return the default as it was, with the branch that it is a value of put first: older readers ask for that."""
        field = one.new_field
        branches = field.type.branches if isinstance(field.type, Union) else (field.type,)
        fitting = next((at for at, branch in enumerate(branches) if fits(self.new, branch, was)), None)
        if fitting == 0:
            return f'Write "default": {fragment(was) or "as it was"}'
        if fitting is None:
            return f"Decide anew: {self._paste(one).decision(self.new, field)}"
        return f"Put the type of the default first: {self._paste(one).reordered(self.new, field, fitting, was)}"

    def _default_symbol(self, one: Difference, now: Enumeration, was: str, default: object, last: _Beside) -> None:
        """C016 of an enum: what a reader makes of symbols that it does not know. That it meets one is C004's."""
        said = (
            f"enum {unqualified(now.name)} lost its {default_words(was)}: readers fail at symbols that are new to them"
        )
        if not isinstance(default, Missing):
            said = f"enum {unqualified(now.name)}: {default_words(was)} -> {value_words(default)}"
            said += ": symbols that are new to a reader are read as another one"
        remedy = f'Write in the enum: "default": {fragment(was)}'
        if was not in now.symbols:
            remedy += f', "symbols": {fragment([*now.symbols, was])}'
        self._tell("C016", Severity.WARNING, one.path, one.new, said, remedy, last)

    def _key(self, last: _Beside) -> None:
        """C017: a key decides the partition and which row is updated."""
        if not last.differences or not is_key(self.subject, self.new.file):
            return
        touched = [one for one in last.differences if one.kind not in ("doc", "default")]
        paths = ", ".join(dict.fromkeys(one.path or "the schema" for one in touched or last.differences))
        said = f"the key changed ({paths}): the same row gets another key, so another partition and a second row"
        severity = Severity.ERROR
        if not touched:
            severity = Severity.WARNING
            said = (
                f"of the key only documentation or a default changed ({paths}), yet that is a new version with a new "
            )
            said += "id, and Confluent's converters write the id into the key's bytes: the same row can get another "
            said += "partition and a second row"
        root = self.new.resolve(self.new.root)
        remedy = "Keep the key's schema; a new key needs a new topic, or a snapshot after the old one is emptied."
        self._tell("C017", severity, "", root.pointer, said, remedy, last)

    # -- leaves ----------------------------------------------------------------------------

    def _pair(self, version: _Beside, one: Difference) -> tuple[Primitive | Fixed, Primitive | Fixed] | None:
        if one.old_type is None or one.new_type is None:
            return None
        old, new = version.old.resolve(one.old_type), self.new.resolve(one.new_type)
        both = isinstance(old, Primitive | Fixed) and isinstance(new, Primitive | Fixed)
        return (old, new) if both else None  # type: ignore[return-value]

    def _paste(self, one: Difference) -> Fields:
        """Return what makes the JSON to paste where the difference is."""
        field, record = one.place.new_field, one.new_named
        space = space_of(self.new, field) if field else namespace_of(record.name) if record else ""
        return Fields(self.new, space, field)

    def _instead(self, version: _Beside, one: Difference) -> str:
        if one.place.old_field is None or one.place.new_field is None:
            return KEEP_TYPE
        if one.old_field.name != one.new_field.name and one.old_field.name in self._siblings(one.new_field):
            return _less_alias(one.old_field.name, one.new_field)
        paste = self._paste(one)
        kept = paste.as_it_was(version.old, one.old_field)
        fresh = paste.beside(one.new_field, self._siblings(one.new_field))
        return f"Keep it as it was: {kept} - and put what is new beside it: {fresh}"


def decided(field: Field) -> bool:
    """Return whether a new field carries a decision: a default, which is null only where null is a value."""
    return field.has_default and (field.default is not None or nullable(field.type))


def is_key(subject: str | None, file: str) -> bool:
    """Return whether a schema is the key of a topic: the subject says so, else the file's name (`orders-key.avsc`)."""
    if subject is not None:
        return subject.endswith("-key")
    stem = PurePosixPath(file).stem
    return stem == "key" or stem.endswith(("-key", "_key", ".key"))


def _names(named: Named | None) -> frozenset[str]:
    return frozenset(field.name for field in named.fields) if isinstance(named, Record) else frozenset()


def _taker(one: Difference, name: str) -> Field | None:
    """Return the field beside a new one that has its name for an alias: to it goes what was written so."""
    fields = one.new_named.fields if isinstance(one.new_named, Record) else ()
    return next((field for field in fields if name in field.aliases), None)


def _less_alias(alias: str, field: Field) -> str:
    kept = fragment([one for one in field.aliases if one != alias])
    return f'Write in field "{field.name}": "aliases": {kept}'


def _by_path(found: Iterable[Incompatibility], *, backward: bool) -> Iterator[_Conflict]:
    grouped: dict[tuple[str, bool], list[Incompatibility]] = {}
    for one in found:
        missing = one.kind == "READER_FIELD_MISSING_DEFAULT_VALUE"
        grouped.setdefault((one.path if backward else one.writer_path, missing), []).append(one)
    for (path, _), conflicts in grouped.items():
        yield _Conflict(backward, path, tuple(conflicts))


def _ruled(conflict: _Conflict, old: Schema, new: Schema) -> Iterator[tuple[str, tuple[Incompatibility, ...]]]:
    """Yield the rules of a conflict about types, each with its part. Null alone, backward, is C010's."""
    by_kind = {"NAME_MISMATCH": "C006", "MISSING_ENUM_SYMBOLS": "C004", "FIXED_SIZE_MISMATCH": "C007"}
    for kind_, rule in by_kind.items():
        part = tuple(one for one in conflict.found if one.kind == kind_)
        if part:
            yield rule, part
    rest = tuple(one for one in conflict.found if one.kind not in by_kind)
    if not rest:
        return
    null_alone = all(isinstance(one.written, Primitive) and one.written.kind == "null" for one in rest)
    was, now = conflict._replace(found=rest).types(old, new)
    if null_alone and nullable(was) != nullable(now) and (isinstance(was, Union) or isinstance(now, Union)):
        if not conflict.backward:
            yield "C003", rest
        return
    before, after = non_null(was), non_null(now)
    if len(before) == len(after) == 1:
        pair = old.resolve(before[0]), new.resolve(after[0])
        renamed = (
            isinstance(before[0], Reference) and isinstance(after[0], Reference) and type(pair[0]) is type(pair[1])
        )
        yield ("C006" if renamed else "C003"), rest
    else:
        yield ("C005" if isinstance(was, Union) or isinstance(now, Union) else "C003"), rest


def _whole(new: Type, conflict: _Conflict, used: Pointer | None) -> Pointer:
    """Return the place of the whole type, not of a branch; where a type is used that is defined elsewhere."""
    own = conflict.pointer
    return new.pointer if own[: len(new.pointer)] == new.pointer else own if used is None else used


def _named_pair(
    conflict: _Conflict, old: Schema, was: Type, new: Schema, now: Type
) -> tuple[Named | None, Named | None]:
    """Return the named types that met: what was written, and what reads it by its name, an alias or as the only one of
    its kind; None where several could be meant."""
    written = conflict.found[0].written
    writer, reader, asked = (old, new, now) if conflict.backward else (new, old, was)
    if not isinstance(written, Reference):
        return None, None
    theirs = writer.named[written.name]
    kin = [reader.named[one.name] for one in non_null(asked) if isinstance(one, Reference)]
    kin = [one for one in kin if type(one) is type(theirs)]
    named = [one for one in kin if unqualified(one.name) == unqualified(theirs.name) or theirs.name in one.aliases]
    mine = named[0] if named else kin[0] if len(kin) == 1 else None
    return (theirs, mine) if conflict.backward else (mine, theirs)


def _symbols(found: Incompatibility) -> list[str]:
    return found.info.strip("[]").split(", ")


def _bare_kinds(old: Primitive | Fixed, new: Primitive | Fixed) -> tuple[str, str] | None:
    """Return the kinds of two primitives where one can be read as the other, None else."""
    if not isinstance(old, Primitive) or not isinstance(new, Primitive):
        return None
    readable = new.kind in PROMOTIONS.get(old.kind, ()) or old.kind in PROMOTIONS.get(new.kind, ())
    return (old.kind, new.kind) if readable else None


def _replaces(old: Schema, new: Schema, one: Difference) -> bool:
    """Return whether a difference puts another type in the place of one: neither can be read as the other."""
    if one.kind != "type" or one.old_type is None or one.new_type is None:
        return False
    if isinstance(one.old_type, Union) or isinstance(one.new_type, Union):
        return False
    before, after = old.resolve(one.old_type), new.resolve(one.new_type)
    if isinstance(before, Primitive) and isinstance(after, Primitive):
        return _bare_kinds(before, after) is None
    return True


def _reservations(schema: Schema) -> frozenset[str]:
    root = schema.resolve(schema.root)
    named = root.attributes.get(RESERVED) if isinstance(root, Record) else None
    names = named.split(",") if isinstance(named, str) else named if isinstance(named, list) else ()
    return frozenset(name.strip() for name in names if isinstance(name, str) and name.strip())


def _quiet(one: Difference) -> tuple[str, ...]:
    """Return what a difference changes that no value depends on, empty where one does."""
    if one.kind == "doc":
        return one.added
    if one.kind == "order":
        return ("order of the fields" if one.added else "sort order",)
    return ("order of the symbols",) if one.kind == "enum" and not (one.added or one.removed) else ()


def _within(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}.", f"{outer}[", f"{outer}{{"))


def _what(one: Difference) -> str:
    return f"field {one.path}" if one.path else "the schema"
