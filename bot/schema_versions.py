"""What a registry holds of the subjects of a check, and what it says of the files: read with a few calls at once.

Promise
    Nothing is registered. What could not be had is one `not_known` line a cause, not one a file.
    A registry that does not answer is not asked a thousand times: after `GIVE_UP_AFTER` failures no more is asked.
    A subject that is not there passes with a note.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bot.checks.avro.bundle import bundled
from bot.checks.run import Corpus, Registered, RegisteredVersion
from bot.checks.settings import SchemaSettings
from bot.ports import Missing, PortError, SchemaReference, SchemaRegistry, SchemaVersion, SubjectState

DEADLINE_S = 20.0
AT_ONCE = 8
GIVE_UP_AFTER = 3
NEWEST = 30
"""Versions of a subject that are compared: a transitive level looks at them all, and so does a reused name (C018)."""
NEWEST_OF_OTHERS = 5
_TYPES = {"avro": "AVRO", "proto": "PROTOBUF", "json": "JSON"}


@dataclass(frozen=True)
class Answers:
    """What was had of a registry: by file, and lines for what was not."""

    registered: tuple[Registered, ...]
    notes: tuple[str, ...]
    not_known: tuple[str, ...]


def read_registered(
    registry: SchemaRegistry,
    name: str,
    corpus: Corpus,
    settings: SchemaSettings,
    advance: Callable[[], None] = lambda: None,
) -> Answers:
    """Return what the registry holds of each judged file. `name` is what to call it, its address."""
    subjects: dict[str, str] = {}
    unnamed: list[str] = []
    for file, source in corpus.sources.items():
        if source.judged and (subject := corpus.subject(file, settings)) is not None:
            subjects[file] = subject
        elif source.linted:
            unnamed.append(file)
    reader = _Reader(registry, name, corpus, subjects)

    def asked(file: str) -> Registered | None:
        try:
            return reader.read(file)
        finally:
            advance()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = [one for one in threads.map(asked, subjects) if one is not None]
    left = len(subjects) - len(answers)
    # The same trouble is worded with each file's own address: its end tells one cause from another.
    causes = {failure.rpartition(": ")[2]: f"registry {name}: {failure}" for failure in reversed(reader.failures)}
    not_known = list(causes.values())
    if not_known:
        not_known[-1] += f" ({left:,} {'file was' if left == 1 else 'files were'} not compared with it)"
    notes = [f"no subject, not compared with the registry: {', '.join(unnamed[:3])}"] if unnamed else []
    return Answers(tuple(answers), tuple(notes), tuple(not_known))


def read_others(registry: SchemaRegistry, name: str, known: Collection[str]) -> Answers:
    """Return the newest versions of the subjects that are not in `known`: of tables, of other repositories."""
    try:
        subjects = [one for one in registry.read_subjects(DEADLINE_S) if one not in known]
    except PortError as error:
        return Answers((), (), (f"registry {name}: {error}",))
    failures: list[str] = []

    def read(subject: str) -> Registered | None:
        if len(failures) >= GIVE_UP_AFTER:
            return None
        try:
            state = registry.read_subject(subject, NEWEST_OF_OTHERS, DEADLINE_S)
            level = state.compatibility or registry.read_level(subject, DEADLINE_S)
            versions = tuple(_version(registry, one) for one in state.versions)
        except PortError as error:
            failures.append(str(error))
            return None
        return Registered("", subject, name, level, versions)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = [one for one in threads.map(read, subjects) if one is not None]
    left = len(subjects) - len(found)
    not_known = (f"registry {name}: {left} subjects were not read: {failures[0]}",) if failures else ()
    return Answers(tuple(found), (), not_known)


class _Reader:
    def __init__(self, registry: SchemaRegistry, name: str, corpus: Corpus, subjects: Mapping[str, str]) -> None:
        self._registry = registry
        self._name = name
        self._corpus = corpus
        self._subjects = subjects
        self.failures: list[str] = []

    def read(self, file: str) -> Registered | None:
        """Return what the registry holds of the file's subject; None after a failure, which is then in `failures`."""
        if len(self.failures) >= GIVE_UP_AFTER:
            return None
        subject = self._subjects[file]
        try:
            return self._read(file, subject)
        except PortError as error:
            self.failures.append(str(error))
            return None

    def _read(self, file: str, subject: str) -> Registered:
        source = self._corpus.sources[file]
        kind = _TYPES[source.kind]
        try:
            state = self._registry.read_subject(subject, NEWEST, DEADLINE_S)
        except Missing:
            level = self._registry.read_level(subject, DEADLINE_S)
            return Registered(file, subject, self._name, level)
        level = state.compatibility or self._registry.read_level(subject, DEADLINE_S)
        notes: list[str] = []
        if (hidden := len(state.all_versions) - len(state.versions)) > 0:
            notes.append(f"{subject}: {hidden} versions before v{state.versions[0].version} were not looked at")
        versions = tuple(_version(self._registry, one) for one in state.versions)
        registered = Registered(file, subject, self._name, level, versions, notes=tuple(notes))
        if not state.versions or state.versions[-1].schema_type != kind:
            return registered
        return self._with_answer(registered, state)

    def _with_answer(self, registered: Registered, state: SubjectState) -> Registered:
        """Return it with the registry's own verdict on the file; with a note where it cannot give one."""
        file, subject, latest = registered.file, registered.subject, state.versions[-1]
        source = self._corpus.sources[file]
        if source.text == latest.schema:
            return registered
        text = source.text
        references: tuple[SchemaReference, ...] = ()
        if source.kind == "avro" and self._corpus.uses.get(file):
            if latest.references:
                references, missing = self._references(latest, self._needed_names(file))
                if missing:
                    why = f"{file}: {missing} is not registered yet, so the registry cannot judge the file"
                    return _noted(registered, why)
            else:
                text = bundled(self._corpus.parts[file], self._corpus.schemas.get(file)) or text
        elif source.kind == "proto":
            references, _ = self._references(latest, ())
        answer = self._registry.check_compatibility(subject, text, latest.schema_type, references, DEADLINE_S)
        if answer.compatible is None:
            reasons = "; ".join(answer.messages) or answer.asked
            return _noted(registered, f"{file}: the registry gave no verdict: {reasons}")
        return Registered(
            file,
            subject,
            self._name,
            registered.level,
            registered.versions,
            answer.compatible,
            answer.messages,
            registered.notes,
        )

    def _needed_names(self, file: str) -> tuple[str, ...]:
        part = self._corpus.parts[file]
        return tuple(dict.fromkeys(use.name for use in part.uses if use.name not in part.defined))

    def _references(self, latest: SchemaVersion, names: Collection[str]) -> tuple[tuple[SchemaReference, ...], str]:
        """Return the references to register with: those of the latest version, and new names by their own subject.

        Each names the newest version of its subject. The second value is a subject that is not there.
        """
        known = {one.name: one.subject for one in latest.references}
        homes = {name: file for file, part in self._corpus.parts.items() for name in part.defined}
        found: list[SchemaReference] = []
        for name in names or known:
            subject = known.get(name) or self._subjects.get(homes.get(name, ""))
            if subject is None:
                return (), name
            try:
                newest = self._registry.read_subject(subject, 1, DEADLINE_S).versions[-1].version
            except (Missing, IndexError):
                return (), subject
            found.append(SchemaReference(name, subject, newest))
        return tuple(found), ""


def _version(registry: SchemaRegistry, one: SchemaVersion) -> RegisteredVersion:
    used = registry.read_referenced(one, DEADLINE_S) if one.references else ()
    names = {(use.subject, use.version): use.name for user in (one, *used) for use in user.references}
    texts = {names[(other.subject, other.version)]: other.schema for other in used}
    return RegisteredVersion(one.version, one.schema_type, one.schema, texts)


def _noted(registered: Registered, note: str) -> Registered:
    return Registered(
        registered.file,
        registered.subject,
        registered.registry,
        registered.level,
        registered.versions,
        notes=(*registered.notes, note),
    )
