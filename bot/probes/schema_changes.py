"""Did a schema change lately, what changed in it, and does the registry let it through?

The facts are the document of `cdc schema --json` (contract.md). When a version came is the registry's own time,
where it has one; else the time of its record on the registry's topic (`registered_by` tells which); else the bot's
first sight of it, told apart as `first_seen_at`. A subject that changed lately is yellow, not red: the change was
accepted. Red is a newest version that its own level would refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from bot.model import Finding, Pipeline, Signal, Status
from bot.ports import Denied, Kafka, Missing, PortError, SchemaRegistry, SchemaVersion, SubjectState
from bot.probes.avro_changes import INCOMPATIBLE, Change, changes_between
from bot.probes.schemas_topic import TAIL_RECORDS, TOPIC, Registration, registered_at, registrations
from bot.probes.sources import Sources, rfc3339, unseen

PROBE = "schema_changes"

NEWEST_VERSIONS = 5
REFUSES_NOTHING = "compatibility NONE, the registry refuses nothing"
RECENT = timedelta(hours=24)

CHANGED = "CHANGED"
UNCHANGED = "UNCHANGED"
BREAKING = "BREAKING"
UNKNOWN = "UNKNOWN"


BY_REGISTRY = "the registry"
BY_TOPIC = f"the {TOPIC} topic"

# Of the deadline, for the registry's topic.
TOPIC_SHARE = 0.4


@dataclass(frozen=True)
class SchemaFacts:
    """`registrations` are those of the registry's topic, read only where the registry itself keeps no times."""

    subject: str
    state: SubjectState | None = None
    error: PortError | None = None
    registrations: Mapping[tuple[str, int], Registration] = field(default_factory=dict)
    not_known: tuple[str, ...] = ()


def gather(
    registry: SchemaRegistry,
    kafka: Kafka | None,
    subjects: Sequence[str],
    first_seen: Mapping[tuple[str, int], datetime],
    now: datetime,
    deadline_s: float,
) -> tuple[SchemaFacts, ...]:
    """Read the subjects with their newest versions, then, once for all of them, the registry's topic if it is needed.

    It is needed for a newest version without a time, unless the bot has known that version for longer than RECENT. A
    registry that keeps its schemas elsewhere has no such topic, and many clouds hide it: then first sight has to do.
    """
    topic_s = deadline_s * TOPIC_SHARE if kafka is not None else 0.0
    share_s = (deadline_s - topic_s) / max(1, len(subjects))
    gathered = tuple(_read(registry, subject, share_s) for subject in subjects)
    if kafka is None or not any(_lacks_time(one.state, first_seen, now) for one in gathered):
        return gathered
    try:
        found = registrations(kafka.sample_tail(TOPIC, TAIL_RECORDS, topic_s).records)
    except (Missing, Denied):
        return gathered
    except PortError as error:
        line = f"when versions were registered, by {BY_TOPIC}: {error}"
        return tuple(
            replace(one, not_known=(line,)) if _lacks_time(one.state, first_seen, now) else one for one in gathered
        )
    return tuple(replace(one, registrations=found) for one in gathered)


def _read(registry: SchemaRegistry, subject: str, deadline_s: float) -> SchemaFacts:
    try:
        return SchemaFacts(subject, registry.read_subject(subject, NEWEST_VERSIONS, deadline_s))
    except PortError as error:
        return SchemaFacts(subject, error=error)


def _lacks_time(state: SubjectState | None, first_seen: Mapping[tuple[str, int], datetime], now: datetime) -> bool:
    newest = state.versions[-1] if state and state.versions else None
    if newest is None or newest.registered_at is not None:
        return False
    seen = first_seen.get((newest.subject, newest.version))
    return seen is None or now - seen <= RECENT


def judge(facts: SchemaFacts, first_seen: Mapping[tuple[str, int], datetime], now: datetime) -> Finding:
    """Return red for a recent newest version that its level would refuse, yellow for a recent one or level NONE.

    Green needs a newest version known to be older than RECENT, or to be the only one, which changed nothing: without
    a time of any kind it is unknown.
    """
    state = facts.state
    if state is None:
        nothing: dict[str, Any] = {"subject": facts.subject, "compatibility": None, "mode": None, "versions": []}
        return unseen(PROBE, facts.subject, Signal.SCHEMA, now, facts.error, nothing, "the schema registry")
    not_known = [*state.not_known, *facts.not_known]
    by_topic = {version.version: registered_at(version, facts.registrations) for version in state.versions}
    by = {
        version.version: BY_REGISTRY if version.registered_at else BY_TOPIC if by_topic[version.version] else None
        for version in state.versions
    }
    state = replace(
        state,
        versions=tuple(
            replace(version, registered_at=version.registered_at or by_topic[version.version])
            for version in state.versions
        ),
    )
    changes = _changes_by_version(state, not_known)
    newest = state.versions[-1] if state.versions else None
    at, word = _when(newest, first_seen) if newest else (None, "")
    if newest is not None and at is None:
        not_known.append(
            f"when version {newest.version} of {state.subject} was registered: this registry keeps no times"
        )

    versions = [
        _entry(version, by[version.version], changes.get(version.version, ()), first_seen) for version in state.versions
    ]
    document = {
        "subject": state.subject,
        "compatibility": state.compatibility,
        "mode": state.mode,
        "versions": versions,
        "not_known": not_known,
    }
    newest_changes = changes.get(newest.version, ()) if newest else ()
    verdict, status = _verdict(state, newest, newest_changes, at, now)
    return Finding(
        probe=PROBE,
        target=state.subject,
        verdict=verdict,
        status=status,
        headline=_headline(state, newest, at, word, newest_changes),
        at=now,
        signal=Signal.SCHEMA,
        facts=document,
        evidence=_evidence(state, newest, newest_changes, by),
        not_known=tuple(not_known),
    )


def schema_of(sources: Sources, subject: str, now: Callable[[], datetime], deadline_s: float | None = None) -> Finding:
    """Return the finding of one subject."""
    return _findings(sources, (subject,), now, deadline_s or sources.deadline_s)[0]


def probe(sources: Sources, pipeline: Pipeline, now: Callable[[], datetime]) -> tuple[Finding, ...]:
    """Return one finding per subject of the pipeline."""
    return _findings(sources, pipeline.subjects, now, sources.deadline_s)


def _findings(
    sources: Sources, subjects: Sequence[str], now: Callable[[], datetime], deadline_s: float
) -> tuple[Finding, ...]:
    gathered = (
        tuple(SchemaFacts(subject) for subject in subjects)
        if sources.registry is None
        else gather(sources.registry, sources.kafka, subjects, sources.first_seen, now(), deadline_s)
    )
    return tuple(judge(facts, sources.first_seen, now()) for facts in gathered)


def _changes_by_version(state: SubjectState, not_known: list[str]) -> dict[int, tuple[Change, ...]]:
    """Return the changes of each version against the one before it that is still registered."""
    changes: dict[int, tuple[Change, ...]] = {}
    for old, new in zip(state.versions, state.versions[1:], strict=False):
        if old.schema_type != "AVRO" or new.schema_type != "AVRO":
            not_known.append(f"what changed in version {new.version}: {new.schema_type} schemas are not compared yet")
            continue
        found = changes_between(old.schema, new.schema, state.compatibility)
        if found is None:
            not_known.append(f"what changed in version {new.version}: its text is not a readable Avro schema")
        else:
            changes[new.version] = found
    return changes


def _when(version: SchemaVersion, first_seen: Mapping[tuple[str, int], datetime]) -> tuple[datetime | None, str]:
    if version.registered_at is not None:
        return version.registered_at, "registered"
    return first_seen.get((version.subject, version.version)), "first seen by the bot"


def _entry(
    version: SchemaVersion,
    by: str | None,
    changes: tuple[Change, ...],
    first_seen: Mapping[tuple[str, int], datetime],
) -> dict[str, Any]:
    return {
        "version": version.version,
        "id": version.schema_id,
        "registered_at": rfc3339(version.registered_at),
        "registered_by": by,
        "first_seen_at": rfc3339(first_seen.get((version.subject, version.version))),
        "changes": [{"path": one.path, "change": one.change, "verdict": one.verdict} for one in changes],
    }


def _verdict(
    state: SubjectState,
    newest: SchemaVersion | None,
    changes: tuple[Change, ...],
    at: datetime | None,
    now: datetime,
) -> tuple[str, Status]:
    if newest is None:
        return UNKNOWN, Status.UNKNOWN
    if at is None and not _only(state):
        return UNKNOWN, Status.UNKNOWN
    if at is None or now - at > RECENT or _only(state):
        return UNCHANGED, Status.YELLOW if state.compatibility == "NONE" else Status.GREEN
    if any(change.verdict == INCOMPATIBLE for change in changes):
        return BREAKING, Status.RED
    return CHANGED, Status.YELLOW


def _only(state: SubjectState) -> bool:
    """A subject's first version changed nothing."""
    return len(state.all_versions or state.versions) == 1


def _headline(
    state: SubjectState, newest: SchemaVersion | None, at: datetime | None, word: str, changes: tuple[Change, ...]
) -> str:
    if newest is None:
        return "no version is registered"
    when = f"{word} {rfc3339(at)}" if at else "registered at a time not known"
    what = f": {changes[0].path} {changes[0].change}" if changes else ""
    more = f" and {len(changes) - 1} more changes" if len(changes) > 1 else ""
    open_door = f"; {REFUSES_NOTHING}" if state.compatibility == "NONE" else ""
    return f"{'only' if _only(state) else 'newest'} version {newest.version}, {when}{what}{more}{open_door}"


def _evidence(
    state: SubjectState,
    newest: SchemaVersion | None,
    changes: tuple[Change, ...],
    by: Mapping[int, str | None],
) -> tuple[str, ...]:
    lines = []
    # The headline gives the time: here stands only a source that it leaves out.
    if newest is not None and by[newest.version] == BY_TOPIC:
        lines.append(f"version {newest.version}: registered {rfc3339(newest.registered_at)}, by {BY_TOPIC}")
    lines += [f"version {newest.version}: {one.path} {one.change} ({one.verdict})" for one in changes[:5] if newest]
    return (*lines, f"compatibility {state.compatibility or 'not known'}, mode {state.mode or 'not known'}")
