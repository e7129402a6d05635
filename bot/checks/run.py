"""One run of the schema checks: texts in, a `Result` out.

Every file is judged by itself (lint) and against what it was: in git or a folder (a `Snapshot`), in a registry
(`Registered`). Then the severities of the settings, waivers and the baseline are applied, and places become lines.

Promise
    One file that cannot be read stops no other: it is a violation, and all others are judged.
    A file is compared where its text, or that of a file whose types it uses, is not as before.
    What could not be compared is a note or a `not_known` line, never silence.
    A change of a shared type is told where the type is defined, not once more in every file that uses it.

This module reads no file and knows no clock: `today` is an argument.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.checks import baseline, waivers
from bot.checks.avro.changes import Before, judge
from bot.checks.avro.lint import lint
from bot.checks.avro.read import Part, imports, incomplete, link, read_part, topological
from bot.checks.avro.schema import Schema, unqualified
from bot.checks.json_text import locate, parse
from bot.checks.paths import matches
from bot.checks.protobuf.changes import Before as ProtoBefore
from bot.checks.protobuf.changes import judge as judge_proto
from bot.checks.protobuf.lint import lint as lint_proto
from bot.checks.protobuf.lint import not_compiled
from bot.checks.protobuf.waivers import read_waivers as proto_waivers
from bot.checks.result import Result, Standing
from bot.checks.rules import ALL
from bot.checks.settings import SchemaSettings
from bot.checks.subjects import subject_of
from bot.checks.violation import Pointer, Severity, Violation
from bot.descriptors import ProtoSet

SHOWN_NAMES = 3


@dataclass(frozen=True)
class Source:
    """A schema file as it is now. `kind` is `avro`, `proto` or `json`.

    Not `linted`: only a type that it uses changed. Not `judged` either: it is read for the names that others use.
    """

    file: str
    text: str
    kind: str
    linted: bool = True
    judged: bool = True


@dataclass(frozen=True)
class Snapshot:
    """The files as they were at `name` (`git main (3fa2b1c)`).

    `before` maps a file to its text there, only where that differs from now; `unchanged` are the files that do not;
    `deleted` maps files that are no more to their texts. What is in none of them is new. `renamed` maps files of
    `before` to their names there, where git takes them for the same ones.
    """

    name: str
    before: Mapping[str, str]
    unchanged: frozenset[str]
    deleted: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RegisteredVersion:
    """One version as the registry holds it. `uses` are the schemas it references, of theirs too: name -> text."""

    version: int
    schema_type: str
    text: str
    uses: Mapping[str, str] = field(default_factory=dict)


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
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protos:
    """What protoc made of the .proto files: now, at each snapshot by its name, and of registered versions by file.

    What was not compiled there is not compared, and a note says so.
    """

    now: ProtoSet = field(default_factory=ProtoSet)
    snapshots: Mapping[str, ProtoSet] = field(default_factory=dict)
    versions: Mapping[str, tuple[ProtoBefore, ...]] = field(default_factory=dict)


NO_PROTOS = Protos()
NO_PROTO_SET = ProtoSet()


@dataclass(frozen=True)
class Corpus:
    """All files of a run, read: Avro parts and linked schemas by file, and what was wrong on the way.

    `broken` is what could be read of files that have no whole schema: they are linted and never compared.
    `uses` has the files that each takes names from; `messages` the full name of the first message of a .proto file.
    """

    sources: Mapping[str, Source]
    parts: Mapping[str, Part]
    schemas: Mapping[str, Schema]
    broken: Mapping[str, Schema]
    uses: Mapping[str, frozenset[str]]
    waivers: tuple[waivers.InFile, ...]
    violations: tuple[Violation, ...]
    messages: Mapping[str, str] = field(default_factory=dict)

    def subject(self, file: str, settings: SchemaSettings) -> str | None:
        schema = self.schemas.get(file)
        name = schema.name if schema else self.messages.get(file)
        return subject_of(file, name, settings.subjects)

    def users(self, changed: Collection[str]) -> set[str]:
        """Return the other files that use types of `changed`, straight or through others."""
        reached = set(changed)
        while more := {file for file, uses in self.uses.items() if file not in reached and uses & reached}:
            reached |= more
        return reached - set(changed)

    def used(self, file: str) -> set[str]:
        """Return the files whose types `file` uses, straight or through others."""
        reached: set[str] = set()
        work = [file]
        while work:
            more = self.uses.get(work.pop(), frozenset()) - reached
            reached |= more
            work += more
        return reached - {file}


def read(sources: Iterable[Source], advance: Callable[[], None] = lambda: None) -> Corpus:
    """Return the files read and linked. `advance` is called once a file, for a progress bar."""
    by_file = {source.file: source for source in sources}
    parts: dict[str, Part] = {}
    violations: list[Violation] = []
    waived: list[waivers.InFile] = []
    for source in by_file.values():
        if source.kind == "avro":
            document, wrong = parse(source.text, source.file)
            violations += wrong
            if document is not None or not wrong:
                parts[source.file] = part = read_part(document, source.file)
                violations += part.violations
                if waivers.ATTRIBUTE in source.text:
                    found, faults = waivers.read_waivers(document, source.file, ALL)
                    waived += found
                    violations += faults
        advance()
    schemas, unknown = link(parts.values())
    violations += unknown
    violations += _cycles(parts)
    linted = {file for file, source in by_file.items() if source.linted}
    return Corpus(
        by_file,
        parts,
        schemas,
        incomplete(parts.values(), schemas),
        {file: frozenset(names.values()) for file, names in imports(parts.values()).items() if names},
        tuple(waived),
        tuple(one for one in violations if one.file in linted),
    )


def with_protos(corpus: Corpus, now: ProtoSet) -> Corpus:
    """Return the corpus with what protoc made of its .proto files: names for their subjects, waivers, errors."""
    found = [proto_waivers(file, ALL) for file in now.files.values()]
    return replace(
        corpus,
        messages={path: file.messages[0].name for path, file in now.files.items() if file.messages},
        waivers=(*corpus.waivers, *(waiver for waivers, _ in found for waiver in waivers)),
        violations=(*corpus.violations, *not_compiled(now.errors), *(one for _, wrong in found for one in wrong)),
    )


def narrowed(texts: Mapping[str, str], changed: Collection[str]) -> Iterator[Source]:
    """Yield the Avro files that a check of `changed` alone needs: these, those that use their types, those they use.

    Looked for by their names in the texts, so that a thousand files need not be parsed for one: a file too many is
    read and found not to matter.
    """
    for file in changed:
        yield Source(file, texts[file], "avro")
    rest = {file: text for file, text in texts.items() if file not in changed}
    parts = {file: part for file in changed if (part := _part(file, texts[file])) is not None}
    users: set[str] = set()
    asked: set[str] = set()
    while more := {unqualified(name) for part in parts.values() for name in part.defined} - asked:
        asked |= more
        written = re.compile(f'"(?:[A-Za-z0-9_]+[.])*(?:{"|".join(map(re.escape, sorted(more)))})"')
        found = {file for file, text in rest.items() if file not in users and written.search(text)}
        users |= found
        parts |= {file: part for file in found if (part := _part(file, rest[file])) is not None}
    wanted: set[str] = set()
    asked = set()
    while True:
        defined = {name for part in parts.values() for name in part.defined}
        names = {use.name for part in parts.values() for use in part.uses} - defined
        if not (more := {unqualified(name) for name in names} - asked):
            break
        asked |= more
        written = re.compile(f'"name"\\s*:\\s*"(?:[A-Za-z0-9_]+[.])*(?:{"|".join(map(re.escape, sorted(more)))})"')
        found = {file for file, text in rest.items() if file not in parts and written.search(text)}
        wanted |= found
        parts |= {file: part for file in found if (part := _part(file, rest[file])) is not None}
    for file in sorted(users | wanted):
        yield Source(file, texts[file], "avro", linted=False, judged=file in users)


def _part(file: str, text: str) -> Part | None:
    document, wrong = parse(text, file)
    return None if document is None and wrong else read_part(document, file)


def _cycles(parts: Mapping[str, Part]) -> Iterator[Violation]:
    for cycle in topological(parts.values())[1]:
        words = f"files use each other's types: {' uses '.join(cycle)}: none can be registered before the other"
        yield Violation("S006", Severity.ERROR, cycle[0], "", words, "Define the types in one file.", pointer=())


def check(
    corpus: Corpus,
    settings: SchemaSettings,
    today: dt.date,
    snapshots: Sequence[Snapshot] = (),
    registered: Sequence[Registered] = (),
    protos: Protos = NO_PROTOS,
    level: str | None = None,
    more: Iterable[Violation] = (),
    accepted: Sequence[baseline.Entry] = (),
    baseline_file: str = "",
    advance: Callable[[], None] = lambda: None,
) -> Result:
    """Return what is wrong with the judged files of `corpus`.

    The level of a file is `level` where it is given, else the registry's for its subject, else that of the settings.
    `more` are violations found elsewhere (protoc, DDL): they are rated, waived and placed like all others.
    """
    levels = {one.file: one.level for one in registered}

    def level_of(file: str) -> str:
        return level or levels.get(file) or level_in_settings(file, settings)

    violations = [*corpus.violations, *more]
    notes: list[str] = []
    for file, source in corpus.sources.items():
        schema = corpus.schemas.get(file) or corpus.broken.get(file) if source.linted else None
        if schema is not None:
            violations += lint(schema, settings)
        advance()
    of_protos = list(_proto_violations(corpus, snapshots, protos, settings, level_of, notes))
    linted_wrong = {one.file for one in (*violations, *of_protos) if one.against is None}
    violations += of_protos
    standing: list[frozenset[Standing]] = []
    for snapshot in snapshots:
        earlier = _earlier(corpus, snapshot, settings)
        found, said = _against_snapshot(corpus, snapshot, earlier, settings, level_of)
        violations += _told_once(corpus, found)
        notes += said
        old_protos = protos.snapshots.get(snapshot.name, NO_PROTO_SET)
        standing.append(frozenset(_standing(linted_wrong, earlier, old_protos, settings)))
    by_registry: list[Violation] = []
    for one in registered:
        refused = [was for was in of_protos if was.file == one.file and _is_of_registry(was, one)]
        found, said = _against_registry(corpus, one, settings, level_of(one.file), refused)
        by_registry += found
        notes += said
    violations += _told_once(corpus, by_registry)
    violations += _shared_subjects(registered)
    violations = _with_subjects(_rated(violations, settings), corpus, settings)
    violations, idle = waivers.apply(_merged(violations), corpus.waivers, today)
    violations, gone = baseline.apply(violations, accepted, today)
    changed = {file for snapshot in snapshots for file in snapshot.before} | {one.file for one in registered}
    linted = {file for file, source in corpus.sources.items() if source.linted}
    judged = linted | {corpus.subject(file, settings) for file in linted}
    compared = bool(snapshots or registered)
    violations += [waivers.unused(one) for one in idle if _could_be_used(one.rule, one.file in changed, compared)]
    violations += [
        baseline.unused(entry, baseline_file)
        for entry in gone
        if (entry.subject or entry.file) in judged and _could_be_used(entry.rule, compared, compared)
    ]
    return Result(
        violations=tuple(_placed(corpus, violations)),
        checked=tuple(file for file, source in corpus.sources.items() if source.linted),
        notes=tuple(notes),
        against=tuple(
            dict.fromkeys((*(one.name for one in snapshots), *(f"registry {one.registry}" for one in registered)))
        ),
        untouched=_untouched(corpus, snapshots),
        standing=frozenset.intersection(*standing) if standing else frozenset(),
    )


def _standing(
    files: Collection[str], earlier: _Earlier, protos: ProtoSet, settings: SchemaSettings
) -> Iterator[Standing]:
    """Yield what the lint said of those of `files` that changed, as they were; without their waivers."""
    for file in earlier.before:
        if file in files and (schema := earlier.schemas.get(file)) is not None:
            yield from ((file, one.rule, one.path) for one in lint(schema, settings))
    for file, old in protos.files.items():
        if file in files:
            yield from ((file, one.rule, one.path) for one in lint_proto(old, settings, True))


def _untouched(corpus: Corpus, snapshots: Sequence[Snapshot]) -> frozenset[str]:
    """Return the files that are in every snapshot as they are now."""
    if not snapshots:
        return frozenset()
    return frozenset.intersection(*(snapshot.unchanged for snapshot in snapshots)) & corpus.sources.keys()


def level_in_settings(file: str, settings: SchemaSettings) -> str:
    return next((level for pattern, level in settings.levels.items() if matches(pattern, file)), settings.level)


# --- against what ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Earlier:
    """The Avro files of a snapshot: texts of those that differ, by the names they have now, and schemas that link.

    `moved` maps files to the names that they had.
    """

    before: Mapping[str, str]
    deleted: Mapping[str, str]
    moved: Mapping[str, str]
    schemas: Mapping[str, Schema]


def _earlier(corpus: Corpus, snapshot: Snapshot, settings: SchemaSettings) -> _Earlier:
    before, deleted, moved = _moved(corpus, snapshot, settings)
    parts = {file: part for file, part in corpus.parts.items() if file in snapshot.unchanged}
    for file, text in (*before.items(), *deleted.items()):
        if (part := _part(file, text)) is not None:
            parts[file] = part
    return _Earlier(before, deleted, moved, link(parts.values())[0])


def _against_snapshot(
    corpus: Corpus, snapshot: Snapshot, earlier: _Earlier, settings: SchemaSettings, level_of: Callable[[str], str]
) -> tuple[list[Violation], list[str]]:
    before, deleted = earlier.before, earlier.deleted
    violations: list[Violation] = []
    unread: list[str] = []
    for file in (*before, *sorted(corpus.users(before) & snapshot.unchanged)):
        source, new = corpus.sources.get(file), corpus.schemas.get(file)
        if source is None or not source.judged or new is None:
            continue
        if (old := earlier.schemas.get(file)) is None:
            unread.append(file)
            continue
        subject = corpus.subject(file, settings)
        violations += judge(new, (Before(old, snapshot.name),), level_of(file), settings, subject)
    fresh = [
        file
        for file, source in corpus.sources.items()
        if source.linted and file not in before and file not in snapshot.unchanged
    ]
    notes = list(snapshot.notes)
    if unread:
        notes.append(f"not compared, unreadable at {snapshot.name}: {_listed(unread)}")
    if fresh:
        notes.append(f"new since {snapshot.name}, nothing to compare with: {_listed(fresh)}")
    notes += _other_subjects(corpus, snapshot, earlier, settings)
    gone = []
    for file, text in deleted.items():
        name = _root_name(file, text)
        if name is not None or not file.endswith(".json") or '"$schema"' in text:
            subject = subject_of(file, name, settings.subjects)
            gone.append(f"{file} ({subject})" if subject else file)
    if gone:
        notes.append(
            f"deleted since {snapshot.name}, the subject stays in the registry and is checked no more: {_listed(gone)}"
        )
    return violations, notes


def _other_subjects(corpus: Corpus, snapshot: Snapshot, earlier: _Earlier, settings: SchemaSettings) -> Iterator[str]:
    """Yield notes on files whose subject is another one than before: by their path, or by the name of their record."""
    several: list[str] = []
    for file in earlier.before:
        old, new, old_file = earlier.schemas.get(file), corpus.schemas.get(file), earlier.moved.get(file, file)
        if old_file == file and (old is None or new is None or old.name == new.name):
            continue
        name = old.name if old is not None else corpus.messages.get(file)
        was, now = subject_of(old_file, name, settings.subjects), corpus.subject(file, settings)
        if was == now:
            continue
        said = f"{file} was {old_file} at {snapshot.name}"
        if old is not None or corpus.sources[file].kind == "proto":
            said += ", and is compared with that"
        if old_file == file:
            said = f"{file}: its {name} is called {new.name if new else None} now"
        said += f"; its subject was {was or 'none'} and is {now or 'none'}: to the registry, and to consumers, that is "
        said += "another one, which the registry compares with nothing of before"
        several.append(f"{said}; to keep the subject: --subject '{file}={was}'" if was else said)
    yield from several[:SHOWN_NAMES]
    if len(several) > SHOWN_NAMES:
        yield f"{len(several) - SHOWN_NAMES:,} more files have another subject than at {snapshot.name}"


def _proto_violations(
    corpus: Corpus,
    snapshots: Sequence[Snapshot],
    protos: Protos,
    settings: SchemaSettings,
    level_of: Callable[[str], str],
    notes: list[str],
) -> Iterator[Violation]:
    """Yield what is wrong with the .proto files, alone and against what they were."""
    elsewhere = {one.name: file.file for file in protos.now.files.values() for one in file.all_messages()}
    for path, new in protos.now.files.items():
        before = [
            ProtoBefore(old, snapshot.name)
            for snapshot in snapshots
            if (old := protos.snapshots.get(snapshot.name, NO_PROTO_SET).files.get(path)) is not None
        ]
        unchanged = any(path in snapshot.unchanged for snapshot in snapshots)
        yield from lint_proto(new, settings, bool(before) or unchanged)
        subject = corpus.subject(path, settings)
        for one in before:
            yield from judge_proto(new, (one,), level_of(path), settings, subject, elsewhere)
        if registered := protos.versions.get(path):
            yield from judge_proto(new, registered, level_of(path), settings, subject, elsewhere)
    for snapshot in snapshots:
        compiled = protos.snapshots.get(snapshot.name, NO_PROTO_SET).files
        wanted = [path for path in snapshot.before if path in protos.now.files and path not in compiled]
        if wanted:
            notes.append(f"not compared, it did not compile at {snapshot.name}: {_listed(wanted)}")


def _moved(
    corpus: Corpus, snapshot: Snapshot, settings: SchemaSettings
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Return `before` and `deleted` with a deleted file taken as moved to the one new file of its subject, else of its
    root type; and the old names of moved files.

    git pairs files by how alike their texts are, so two records of a few common fields are taken for each other: of
    Avro files its pairs are not believed.
    """
    before, deleted, moved = dict(snapshot.before), dict(snapshot.deleted), dict[str, str]()
    for file, old in snapshot.renamed.items():
        if file in corpus.sources and corpus.sources[file].kind == "avro":
            deleted[old] = before.pop(file)
        else:
            moved[file] = old
    if not deleted:
        return before, deleted, moved
    fresh = {
        file: (corpus.subject(file, settings), schema.name if (schema := corpus.schemas.get(file)) else None)
        for file, source in corpus.sources.items()
        if source.kind == "avro" and file not in before and file not in snapshot.unchanged
    }
    names = {old: _root_name(old, text) for old, text in deleted.items()}
    gone = {old: (subject_of(old, name, settings.subjects), name) for old, name in names.items()}
    for key in (0, 1):
        there: dict[str, list[str]] = {}
        for file, keys in fresh.items():
            there.setdefault(keys[key] or "", []).append(file)
        for old, keys in gone.items():
            if old in deleted and keys[key] and len(files := there.get(keys[key] or "", [])) == 1:
                (file,) = files
                before[file], moved[file] = deleted.pop(old), old
                files.clear()
                del fresh[file]
    return before, deleted, moved


def _root_name(file: str, text: str) -> str | None:
    part = _part(file, text)
    return getattr(part.root, "name", None) if part else None


def _against_registry(
    corpus: Corpus, registered: Registered, settings: SchemaSettings, level: str, refused_by_us: Sequence[Violation]
) -> tuple[list[Violation], list[str]]:
    """Return our verdict and, where it differs, the registry's own: only one that refuses as well stays unsaid."""
    file, where = registered.file, f"registry {registered.subject}"
    notes = list(registered.notes)
    if not registered.versions:
        return [], [*notes, f"{file}: {registered.subject} is new to the registry: nothing to compare with"]
    latest = registered.versions[-1]
    kind = {"avro": "AVRO", "proto": "PROTOBUF", "json": "JSON"}[corpus.sources[file].kind]
    if latest.schema_type != kind:
        words = f"{registered.subject} is {latest.schema_type} in the registry, and this file is {kind}"
        remedy = f"Keep {latest.schema_type}, or give the new type a subject (and topic) of its own."
        against = f"{where} v{latest.version}"
        return [_of_registry("C019", registered, words, remedy, against)], notes
    found: list[Violation] = []
    if kind == "AVRO":
        found, said = _judged_by_us(corpus, registered, settings, level)
        notes += said
    refusing = [*(one for one in found if one.severity is Severity.ERROR), *refused_by_us]
    against = f"{where} v{latest.version}"
    reasons = "; ".join(registered.said) or "it gives no reason"
    if registered.accepts is False and not refusing:
        ours = "this check does not judge JSON Schema" if kind == "JSON" else f"this check finds nothing at {level}"
        words = f"the registry would refuse this schema, {ours}: {reasons}"
        found.append(_of_registry("S004", registered, words, _REFUSED_REMEDY, against))
    if registered.accepts is True and refusing and kind != "JSON":
        rules = ", ".join(dict.fromkeys(one.rule for one in refusing))
        words = f"the registry would accept this schema at {registered.level}; this check refuses it: {rules}"
        found.append(_of_registry("S005", registered, words, _ACCEPTED_REMEDY, against, Severity.NOTE))
    return found, notes


def _is_of_registry(violation: Violation, registered: Registered) -> bool:
    against = violation.against or ""
    return violation.severity is Severity.ERROR and against.startswith(f"registry {registered.subject} v")


def _judged_by_us(
    corpus: Corpus, registered: Registered, settings: SchemaSettings, level: str
) -> tuple[list[Violation], list[str]]:
    schema = corpus.schemas.get(registered.file)
    if schema is None:
        return [], []
    before: list[Before] = []
    notes: list[str] = []
    for one in registered.versions:
        name = f"registry {registered.subject} v{one.version}"
        texts = (one.text, *one.uses.values()) if one.schema_type == "AVRO" else ()
        parts = [part for index, text in enumerate(texts) if (part := _part(f"{index}", text)) is not None]
        schemas, _ = link(parts)
        if (old := schemas.get("0")) is None:
            notes.append(f"{registered.file}: {name} could not be read, not compared with it")
            continue
        before.append(Before(old, name))
    if not before:
        return [], notes
    return list(judge(schema, before, level, settings, registered.subject)), notes


def _of_registry(
    rule: str, registered: Registered, words: str, remedy: str, against: str, severity: Severity = Severity.ERROR
) -> Violation:
    return Violation(
        rule, severity, registered.file, "", words, remedy, pointer=(), subject=registered.subject, against=against
    )


_REFUSED_REMEDY = "Change the schema as the registry's reason says, or ask its owner for the level that you expect."
_ACCEPTED_REMEDY = "Correct the findings: a registry compares names and types only, readers and sinks need more."


def _shared_subjects(registered: Sequence[Registered]) -> Iterator[Violation]:
    files: dict[str, list[Registered]] = {}
    for one in registered:
        files.setdefault(one.subject, []).append(one)
    for subject, several in files.items():
        for one in several[1:]:
            words = f"{subject} is the subject of {several[0].file} as well"
            remedy = f"Rename one of them, or say which is what: --subject '{one.file}=SUBJECT'."
            yield _of_registry("S007", one, words, remedy, f"registry {subject}")


# --- what counts, and where ------------------------------------------------------------------------


def _told_once(corpus: Corpus, violations: Sequence[Violation]) -> list[Violation]:
    """Return the violations less those of a shared type that the file which defines it tells as gravely."""
    told: dict[str, dict[tuple[str, str], int]] = {}
    for one in violations:
        ranks = told.setdefault(one.file, {})
        ranks[one.rule, one.path] = max(one.severity.rank, ranks.get((one.rule, one.path), 0))
    kept: list[Violation] = []
    for one in violations:
        used = corpus.used(one.file) & told.keys() if one.file in corpus.uses else set()
        ends = [one.path[at + 1 :] for at in range(len(one.path)) if one.path[at] in ".]}"] if used else []
        if not any(told[f].get((one.rule, end.lstrip(".")), -1) >= one.severity.rank for f in used for end in ends):
            kept.append(one)
    return kept


def _rated(violations: Iterable[Violation], settings: SchemaSettings) -> Iterator[Violation]:
    for one in violations:
        severity = settings.severities.get(one.rule, one.severity)
        if severity is not None:
            yield one if severity == one.severity else replace(one, severity=Severity(severity))


def _with_subjects(violations: Iterable[Violation], corpus: Corpus, settings: SchemaSettings) -> list[Violation]:
    subjects: dict[str, str | None] = {}
    placed: list[Violation] = []
    for one in violations:
        if one.subject is None and one.file in corpus.sources:
            if one.file not in subjects:
                subjects[one.file] = corpus.subject(one.file, settings)
            one = one if subjects[one.file] is None else replace(one, subject=subjects[one.file])
        placed.append(one)
    return placed


def _merged(violations: Iterable[Violation]) -> list[Violation]:
    """Return each violation once: what git and the registry both show names both."""
    merged: dict[tuple[str, str, str, str, Pointer | None], Violation] = {}
    for one in violations:
        key = (one.rule, one.file, one.path, one.message, one.pointer if one.against is None else None)
        known = merged.setdefault(key, one)
        if known is not one and one.against is not None and one.against not in (known.against or "").split(", "):
            against = one.against if known.against is None else f"{known.against}, {one.against}"
            merged[key] = replace(known, against=against)
    return list(merged.values())


def _could_be_used(rule: str, file_compared: bool, compared: bool) -> bool:
    """Whether a waiver of `rule` had something to waive: without a comparison there are no changes.

    P105 asks every field where nothing is compared, and only new ones else: there an older field's waiver rests.
    """
    if rule == "P105":
        return not compared
    return file_compared or not rule.startswith(("C", "P2"))


def _placed(corpus: Corpus, violations: Iterable[Violation]) -> list[Violation]:
    """Return the violations with their lines, in the order of files and places."""
    by_file: dict[str, list[Violation]] = {}
    for one in violations:
        by_file.setdefault(one.file, []).append(one)
    placed: list[Violation] = []
    for file in sorted(by_file):
        ours = by_file[file]
        wanted = {one.pointer for one in ours if one.pointer is not None and (one.line, one.column) == (1, 1)}
        source = corpus.sources.get(file)
        places: Mapping[Pointer, tuple[int, int]] = {}
        if wanted and source is not None and source.kind != "proto":
            places = locate(source.text, wanted)
        for index, one in enumerate(ours):
            if one.pointer is not None and one.pointer in places:
                line, column = places[one.pointer]
                ours[index] = replace(one, line=line, column=column)
        placed += sorted(ours, key=lambda one: (one.line, one.column, one.rule))
    return placed


def _listed(files: Sequence[str]) -> str:
    more = f" and {len(files) - SHOWN_NAMES:,} more" if len(files) > SHOWN_NAMES else ""
    return ", ".join(files[:SHOWN_NAMES]) + more


def with_more(
    result: Result,
    notes: Iterable[str],
    not_known: Iterable[str],
    against: Iterable[str] = (),
    checked: Iterable[str] = (),
) -> Result:
    """Return the result with what the shell found on the way; `against` is what it meant to compare with."""
    return replace(
        result,
        notes=tuple(dict.fromkeys((*result.notes, *notes))),
        not_known=(*result.not_known, *not_known),
        checked=(*result.checked, *checked),
        against=tuple(dict.fromkeys((*result.against, *against))),
    )
