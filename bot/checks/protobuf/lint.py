"""The rules P001 and P101-P107: what is wrong with one .proto file, whatever came before it.

P105 is about every field here, so it is for files that nothing is compared with. Of a file with a previous version only
the new fields count, which `changes.py` judges: a repository with thousands of fields from before the rule must not
drown the one that a person just wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from posixpath import dirname

from bot.checks.avro.naming import meaning, pascal_case, snake_case
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Severity, Violation
from bot.descriptors import ProtoEnum, ProtoError, ProtoField, ProtoFile, ProtoMessage, ProtoValue

VERSION = re.compile(r"v[1-9][0-9]*(?:(?:alpha|beta)[1-9][0-9]*|p[1-9][0-9]*(?:alpha|beta)[1-9][0-9]*|test.*)?\Z")
"""The last part of a package: `v1`, `v1beta1`, `v1p1alpha1`, `v1test`. Source: buf's PACKAGE_VERSION_SUFFIX."""
ZERO_IS_MEANINGFUL = "cdc:zero-is-meaningful"
"""In a comment of the field: the owner says that the zero value and "not set" may be one."""
MONEY_TYPES = frozenset({"float", "double", "string"})
TIME_TYPES = frozenset(
    {"string", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64",
     "float", "double"}
)  # fmt: skip
NUMBERS_OF_LEGACY = frozenset({"proto2", ""})


def not_compiled(errors: Iterable[ProtoError]) -> tuple[Violation, ...]:
    """Return what protoc said, as P001."""
    return tuple(
        Violation("P001", Severity.ERROR, one.file, "", one.message, one.remedy, line=one.line, column=one.column)
        for one in errors
    )


def lint(file: ProtoFile, settings: SchemaSettings, is_compared: bool = False) -> tuple[Violation, ...]:
    """Return the violations of one file, in the order of the text. `is_compared`: it has a previous version."""
    found = list(_file(file))
    linter = _Linter(file, settings, with_presence=not is_compared)
    for message in file.all_messages():
        found += linter.message(message)
    for enum in file.all_enums():
        found += linter.enum(enum)
    found.sort(key=lambda one: (one.line, one.column))
    return tuple(found)


def needs_decision(field: ProtoField) -> bool:
    """Return whether "not set" and the zero value of a field look the same, and nobody said that this is meant.

    A list or a map has no "not set" in Protobuf, and the zero value of an enum is `..._UNSPECIFIED` (P103): neither
    hides a null.
    """
    return (
        not field.has_presence
        and not field.is_repeated
        and field.type != "enum"
        and ZERO_IS_MEANINGFUL not in field.comment
    )


def undecided(file: ProtoFile, message: ProtoMessage, field: ProtoField, what: str = "field") -> Violation:
    """Return P105 for a field that `needs_decision`."""
    zero = {"string": '""', "bytes": "no bytes", "bool": "false"}.get(field.type, "0")
    fix = (
        f"Take `features.field_presence = IMPLICIT` away from {field.name}"
        if file.syntax not in ("proto3", *NUMBERS_OF_LEGACY)
        else f"Write `optional {field.words} {field.name} = {field.number};`"
    )
    return Violation(
        "P105",
        Severity.ERROR,
        file.file,
        f"{message.name}.{field.name}",
        f"{what} {field.name}: {field.type} that is not set reads as {zero}, so null and {zero} are one",
        f"{fix}, or say that {zero} is meant: `// {ZERO_IS_MEANINGFUL}` above it.",
        line=field.line,
        column=field.column,
    )


def _file(file: ProtoFile) -> Iterator[Violation]:
    def violation(rule: str, message: str, remedy: str) -> Violation:
        return Violation(
            rule, Severity.ERROR, file.file, "", message, remedy, line=file.package_line, column=file.package_column
        )

    if not file.syntax:
        yield violation(
            "P001", "no `syntax` or `edition`: protoc takes it for proto2", 'Write `syntax = "proto3";` as first line.'
        )
    folder = [part for part in dirname(file.file).split("/") if part not in ("", ".", "..")]
    if not file.package:
        words = ".".join(re.sub(r"\W", "_", part) for part in folder[-2:]) or "shop"
        made = words if VERSION.match(words.rpartition(".")[2]) else f"{words}.v1"
        yield violation(
            "P101", "no `package`: its names clash with those of any other file", f"Write `package {made};`."
        )
        return
    parts = file.package.split(".")
    if not VERSION.match(parts[-1]):
        yield violation(
            "P101",
            f"package {file.package} does not end in a version: a break has no second package to go to",
            f"Write `package {file.package}.v1;`.",
        )
    elif folder[-len(parts) :] != parts[-len(folder) :] if folder else False:
        yield violation(
            "P101",
            f"package {file.package} is in the folder {'/'.join(folder)}: imports and names point to different places",
            f"Move the file to {'/'.join(parts)}/, or name the package after its folder.",
        )


class _Linter:
    def __init__(self, file: ProtoFile, settings: SchemaSettings, with_presence: bool) -> None:
        self._file = file
        self._with_presence = with_presence
        self._type = re.compile(settings.type_pattern)
        self._field = re.compile(settings.field_pattern)
        self._symbol = re.compile(settings.symbol_pattern)

    def message(self, message: ProtoMessage) -> Iterator[Violation]:
        short = message.name.rpartition(".")[2]
        if not self._type.fullmatch(short):
            yield self._named(message, message.name, f"message {short}", pascal_case(short))
        if _is_silent(message.comment):
            yield self._silent(message, message.name, f"message {short}", "what one of it is")
        for field in message.fields:
            if field.type == "group" and field.type_name.lower() == f"{message.name}.{field.name}".lower():
                continue  # a proto2 group: its message is told
            yield from self._field_of(message, field)

    def _field_of(self, message: ProtoMessage, field: ProtoField) -> Iterator[Violation]:
        name, path = field.name, f"{message.name}.{field.name}"
        if not self._field.fullmatch(name):
            yield self._named(field, path, f"field {name}", snake_case(name))
        if field.is_required:
            how = "optional" if self._file.syntax in NUMBERS_OF_LEGACY else "EXPLICIT"
            yield Violation(
                "P104",
                Severity.ERROR,
                self._file.file,
                path,
                f"field {name} is required: it can never be removed, and a reader without it fails",
                f"Make it {how} and check it where the record is written."
                if how == "optional"
                else "Write `features.field_presence = EXPLICIT` and check it where the record is written.",
                line=field.line,
                column=field.column,
            )
        if self._with_presence and needs_decision(field):
            yield undecided(self._file, message, field)
        if _is_silent(field.comment):
            yield self._silent(field, path, f"field {name}", "what it holds, and what its absence means")
        if field.map is None and field.type in TIME_TYPES:
            yield from self._meaning(field, path)

    def _meaning(self, field: ProtoField, path: str) -> Iterator[Violation]:
        meant = meaning(field.name)
        what, better = "", ""
        if meant.is_time:
            what, better = "a time", "google.protobuf.Timestamp"
        elif meant.is_money and field.type in MONEY_TYPES:
            loses = "loses cents" if field.type != "string" else "cannot be added up"
            what, better = f"an amount, and {field.type} {loses}", "google.type.Money, or an int64 of minor units"
        if what:
            label = "repeated " if field.is_repeated else ""
            yield Violation(
                "P107",
                Severity.WARNING,
                self._file.file,
                path,
                f"field {field.name} is of type {field.type} and by its name {what}: unit and zone are left to guess"
                if meant.is_time
                else f"field {field.name} is by its name {what}",
                f"Write `{label}{better} {field.name} = {field.number};`."
                if meant.is_time
                else f"Use {better}, in a new field.",
                line=field.line,
                column=field.column,
            )

    def enum(self, enum: ProtoEnum) -> Iterator[Violation]:
        short = enum.name.rpartition(".")[2]
        prefix = snake_case(short).upper()
        if not self._type.fullmatch(short):
            yield self._named(enum, enum.name, f"enum {short}", pascal_case(short))
        if _is_silent(enum.comment):
            yield self._silent(enum, enum.name, f"enum {short}", "what its values decide")
        for value in enum.values:
            if not (self._symbol.fullmatch(value.name) and value.name.startswith(f"{prefix}_")):
                bare = snake_case(value.name).upper()
                bare = bare if bare.startswith(f"{prefix}_") else f"{prefix}_{bare}"
                yield self._named(value, f"{enum.name}.{value.name}", f"enum value {value.name}", bare)
        if (wrong := _zero(enum, prefix)) is not None:
            at, message, remedy = wrong
            yield Violation(
                "P103", Severity.ERROR, self._file.file, enum.name, message, remedy, line=at.line, column=at.column
            )
        if enum.allow_alias:
            yield Violation(
                "P103",
                Severity.ERROR,
                self._file.file,
                enum.name,
                f"enum {short} has two names for one number: which of them JSON shows is open",
                "Remove `option allow_alias` and the second name, and reserve that name.",
                line=enum.line,
                column=enum.column,
            )

    def _named(
        self, at: ProtoMessage | ProtoField | ProtoEnum | ProtoValue, path: str, what: str, to: str
    ) -> Violation:
        return Violation(
            "P102",
            Severity.WARNING,
            self._file.file,
            path,
            f"{what}: not named as the others are, so code and columns made from it differ",
            f"Write {to}; in a schema that is in use, leave it and waive this.",
            line=at.line,
            column=at.column,
        )

    def _silent(self, at: ProtoMessage | ProtoField | ProtoEnum, path: str, what: str, say: str) -> Violation:
        return Violation(
            "P106",
            Severity.WARNING,
            self._file.file,
            path,
            f"{what} has no comment",
            f"Write a `//` line above it: {say}.",
            line=at.line,
            column=at.column,
        )


def _is_silent(comment: str) -> bool:
    """Return whether nothing is said to a reader: a waiver or a tag of ours explains no field."""
    if "cdc:" not in comment:
        return not comment.strip()
    return not any(line.strip(" \t*/") and not line.strip(" \t*/").startswith("cdc:") for line in comment.splitlines())


def _zero(enum: ProtoEnum, prefix: str) -> tuple[ProtoEnum | ProtoValue, str, str] | None:
    """Return where and how the zero value is not what an unset field can safely read as."""
    short = enum.name.rpartition(".")[2]
    if not enum.values or enum.values[0].number != 0:
        return (
            enum,
            f"enum {short} does not begin with the value 0: readers differ on what an unset field is",
            f"Begin with `{prefix}_UNSPECIFIED = 0;`.",
        )
    first = enum.values[0]
    if not first.name.upper().endswith("UNSPECIFIED"):
        return (
            first,
            f"the value 0 of enum {short} is {first.name}: a field that nobody set reads as {first.name}",
            f"Begin with `{prefix}_UNSPECIFIED = 0;` and give {first.name} the next free number (a break: in a schema "
            f"that is in use, waive this).",
        )
    return None
