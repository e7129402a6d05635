"""One run of the schema checks: texts in, a `Result` out.

Every file is judged by itself (lint) and against what it was: in git or a folder (a `Snapshot`), in a registry
(`Registered`). Then the severities of the settings, waivers and the baseline are applied, and places become lines.

Promise
    One file that cannot be read stops no other: it is a violation, and all others are judged.
    A file whose text and types are as before is not compared: nothing changed.
    What could not be compared is a note or a `not_known` line, never silence.

This module reads no file and knows no clock: `today` is an argument.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bot.checks.avro.changes import Before, judge
from bot.checks.avro.lint import lint
from bot.checks.avro.read import Part, incomplete, link, read_part
from bot.checks.avro.schema import Schema
from bot.checks.json_text import locate, parse
from bot.checks.paths import matches
from bot.checks.result import Result
from bot.checks.settings import SchemaSettings
from bot.checks.subjects import subject_of
from bot.checks.violation import Severity, Violation


@dataclass(frozen=True)
class Source:
    """A schema file as it is now. `kind` is `avro`, `proto` or `json`; `judged` False: read for its names only."""

    file: str
    text: str
    kind: str
    judged: bool = True


@dataclass(frozen=True)
class Snapshot:
    """The files as they were at `name` (`git main (3fa2b1c)`).

    `before` maps a file to its text there, only where that differs from now; `unchanged` are the files that do not;
    `deleted` maps files that are no more to their texts. What is in none of them is new.
    """

    name: str
    before: Mapping[str, str]
    unchanged: frozenset[str]
    deleted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RegisteredVersion:
    """One version as the registry holds it. `uses` are the texts of the schemas it references, of theirs too."""

    version: int
    schema_type: str
    text: str
    uses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registered:
    """What a registry holds of one file's subject. `versions` are oldest first; empty: a new subject.

    `accepts` is its own answer to the file, None where it gave none, `said` its reasons.
    """

    file: str
    subject: str
    registry: str
    level: str
    versions: tuple[RegisteredVersion, ...] = ()
    accepts: bool | None = None
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """All files of a run, read: Avro parts and linked schemas by file, and what was wrong on the way.

    `broken` is what could be read of files that have no whole schema: they are linted and never compared.
    """

    sources: Mapping[str, Source]
    parts: Mapping[str, Part]
    schemas: Mapping[str, Schema]
    broken: Mapping[str, Schema]
    violations: tuple[Violation, ...]

    def subject(self, file: str, settings: SchemaSettings) -> str | None:
        schema = self.schemas.get(file)
        return subject_of(file, schema.name if schema else None, settings.subjects)


def read(sources: Iterable[Source], advance: Callable[[], None] = lambda: None) -> Corpus:
    """Return the files read and linked. `advance` is called once a file, for a progress bar."""
    by_file = {source.file: source for source in sources}
    parts: dict[str, Part] = {}
    violations: list[Violation] = []
    for source in by_file.values():
        if source.kind == "avro":
            part, wrong = _part(source.file, source.text)
            violations += wrong
            if part is not None:
                parts[source.file] = part
        advance()
    schemas, unknown = link(parts.values())
    judged = {file for file, source in by_file.items() if source.judged}
    wrong = tuple(one for one in (*violations, *unknown) if one.file in judged)
    return Corpus(by_file, parts, schemas, incomplete(parts.values(), schemas), wrong)


def _part(file: str, text: str) -> tuple[Part | None, tuple[Violation, ...]]:
    document, wrong = parse(text, file)
    if document is None and wrong:
        return None, wrong
    part = read_part(document, file)
    return part, (*wrong, *part.violations)


def check(
    corpus: Corpus,
    settings: SchemaSettings,
    today: dt.date,
    snapshots: Sequence[Snapshot] = (),
    registered: Sequence[Registered] = (),
    level: str | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Result:
    """Return what is wrong with the judged files of `corpus`.

    The level of a file is `level` where it is given, else the registry's for its subject, else that of the settings.
    """
    judged = [file for file, source in corpus.sources.items() if source.judged]
    levels = {one.file: one.level for one in registered}

    def level_of(file: str) -> str:
        return level or levels.get(file) or level_in_settings(file, settings)

    violations = list(corpus.violations)
    notes: list[str] = []
    for file in judged:
        if (schema := corpus.schemas.get(file) or corpus.broken.get(file)) is not None:
            violations += lint(schema, settings)
        advance()
    for snapshot in snapshots:
        found, said = _against_snapshot(corpus, snapshot, settings, level_of)
        violations += found
        notes += said
    for one in registered:
        found, said = _against_registry(corpus, one, settings, level_of(one.file))
        violations += found
        notes += said
    return Result(
        violations=tuple(_placed(corpus, _merged(_rated(violations, settings)))),
        checked=tuple(judged),
        notes=tuple(notes),
        against=tuple(
            dict.fromkeys((*(one.name for one in snapshots), *(f"registry {one.registry}" for one in registered)))
        ),
    )


def level_in_settings(file: str, settings: SchemaSettings) -> str:
    return next((level for pattern, level in settings.levels.items() if matches(pattern, file)), settings.level)


# --- against what ----------------------------------------------------------------------------------


def _against_snapshot(
    corpus: Corpus, snapshot: Snapshot, settings: SchemaSettings, level_of: Callable[[str], str]
) -> tuple[list[Violation], list[str]]:
    changed = [file for file in corpus.schemas if file in snapshot.before and corpus.sources[file].judged]
    parts = {file: part for file, part in corpus.parts.items() if file in snapshot.unchanged}
    for file, text in (*snapshot.before.items(), *snapshot.deleted.items()):
        part, _ = _part(file, text)
        if part is not None:
            parts[file] = part
    earlier, _ = link(parts.values())
    violations: list[Violation] = []
    notes: list[str] = []
    for file in changed:
        if (old := earlier.get(file)) is None:
            notes.append(f"{file} could not be read at {snapshot.name}: not compared with it")
            continue
        subject = corpus.subject(file, settings)
        violations += judge(corpus.schemas[file], (Before(old, snapshot.name),), level_of(file), settings, subject)
    new = sum(
        1
        for file in corpus.schemas
        if corpus.sources[file].judged and file not in snapshot.before and file not in snapshot.unchanged
    )
    if new:
        notes.append(
            f"{new} {'file is' if new == 1 else 'files are'} new since {snapshot.name}: nothing to compare with"
        )
    notes += [
        f"{file} was deleted since {snapshot.name}; its subject stays in the registry" for file in snapshot.deleted
    ]
    return violations, notes


def _against_registry(
    corpus: Corpus, registered: Registered, settings: SchemaSettings, level: str
) -> tuple[list[Violation], list[str]]:
    schema = corpus.schemas.get(registered.file)
    if schema is None:
        return [], []
    if not registered.versions:
        return [], [f"{registered.file}: {registered.subject} is new to the registry {registered.registry}"]
    before: list[Before] = []
    notes: list[str] = []
    for one in registered.versions:
        name = f"registry {registered.subject} v{one.version}"
        parts = [_part(f"{name}:{index}", text)[0] for index, text in enumerate((one.text, *one.uses))]
        schemas, _ = link(part for part in parts if part is not None)
        if (old := schemas.get(f"{name}:0")) is None:
            notes.append(f"{name} could not be read: {registered.file} was not compared with it")
            continue
        before.append(Before(old, name))
    return list(judge(schema, before, level, settings, registered.subject)), notes


# --- what counts, and where ------------------------------------------------------------------------


def _rated(violations: Iterable[Violation], settings: SchemaSettings) -> Iterator[Violation]:
    for one in violations:
        severity = settings.severities.get(one.rule, one.severity)
        if severity is not None:
            yield one if severity == one.severity else replace(one, severity=Severity(severity))


def _merged(violations: Iterable[Violation]) -> list[Violation]:
    """Return each violation once: what git and the registry both show names both."""
    merged: dict[tuple[str, str, str, str], Violation] = {}
    for one in violations:
        key = (one.rule, one.file, one.path, one.message)
        if (known := merged.setdefault(key, one)) is not one and one.against not in (None, known.against):
            against = one.against if known.against is None else f"{known.against}, {one.against}"
            merged[key] = replace(known, against=against)
    return list(merged.values())


def _placed(corpus: Corpus, violations: Iterable[Violation]) -> list[Violation]:
    """Return the violations with their lines, in the order of files and places."""
    by_file: dict[str, list[Violation]] = {}
    for one in violations:
        by_file.setdefault(one.file, []).append(one)
    placed: list[Violation] = []
    for file in sorted(by_file):
        ours = by_file[file]
        wanted = {one.pointer for one in ours if one.pointer is not None and (one.line, one.column) == (1, 1)}
        places: Mapping[Any, tuple[int, int]] = {}
        if wanted and (source := corpus.sources.get(file)) is not None:
            places = locate(source.text, wanted)
        for index, one in enumerate(ours):
            if one.pointer in places:
                line, column = places[one.pointer]
                ours[index] = replace(one, line=line, column=column)
        placed += sorted(ours, key=lambda one: (one.line, one.column, one.rule))
    return placed


def with_more(
    result: Result, violations: Iterable[Violation], notes: Iterable[str], not_known: Iterable[str]
) -> Result:
    """Return the result with what the shell found on the way."""
    return replace(
        result,
        violations=tuple(sorted((*result.violations, *violations), key=lambda one: (one.file, one.line, one.column))),
        notes=(*notes, *result.notes),
        not_known=(*result.not_known, *not_known),
    )
