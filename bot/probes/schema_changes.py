"""Did a schema change lately, what changed in it, and does the registry let it through?

The facts are the document of `cdc schema --json` (contract.md). When a version came is the registry's own time,
where it has one; else the time of its record on the registry's topic (`registered_by` tells which); else the bot's
first sight of it, told apart as `first_seen_at`. A subject that changed lately is yellow, not red: the change was
accepted. Red is a newest version that its own level would refuse, or whose numbers mean something else than before,
which no registry sees (a decimal's scale, a time unit).

In an incident (`Sources.failing_since`) the changes are ranked by their distance to the first failure, those before it
first: versions, and from the registry's topic deletions and changes of level and mode, the global ones too.

Beyond contract.md the document has, per version, `conflicts_with` (the versions for which the level refuses it; null
where that is not known), per change `backward`, `forward`, `rules` and `meaning` (see `schema_diff`), and beside them
`deleted` (numbers of soft-deleted versions), `failing_since` and
`recent: [{at, by, kind, subject, version, from, to, before_failure_s}]`, nearest first; a negative `before_failure_s`
is after the failure; `kind` is `registered, deleted, erased, subject deleted, compatibility, mode`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from bot.incident.timeline import duration
from bot.model import Finding, Pipeline, Signal, Status, counted
from bot.ports import Denied, Kafka, Missing, PortError, SchemaRegistry, SchemaVersion, SubjectState
from bot.probes.schema_diff import INCOMPATIBLE, NOT_SEEN, Comparison, SchemaChange, compare, refused_by
from bot.probes.schemas_topic import (
    ERASED,
    LEVEL,
    MODE,
    REGISTERED,
    SUBJECT_DELETED,
    TAIL_RECORDS,
    TOPIC,
    Registration,
    RegistryChange,
    changes_on,
    registered_at,
    registrations,
)
from bot.probes.sources import Sources, rfc3339, unseen

PROBE = "schema_changes"

NEWEST_VERSIONS = 5
MOST_VERSIONS = 50
"""A *_TRANSITIVE level compares with every version: so many are read."""

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
    """`registrations` are those of the registry's topic, read only where the registry itself keeps no times or there
    is a failure to explain; `log` is what else it tells of this subject. `earlier` are versions before those of
    `state`, for a transitive level; `referenced` the schemas that any of them use.
    """

    subject: str
    state: SubjectState | None = None
    error: PortError | None = None
    registrations: Mapping[tuple[str, int], Registration] = field(default_factory=dict)
    not_known: tuple[str, ...] = ()
    log: tuple[RegistryChange, ...] = ()
    earlier: tuple[SchemaVersion, ...] = ()
    referenced: Mapping[tuple[str, int], SchemaVersion] = field(default_factory=dict)


def gather(
    registry: SchemaRegistry,
    kafka: Kafka | None,
    subjects: Sequence[str],
    first_seen: Mapping[tuple[str, int], datetime],
    now: datetime,
    deadline_s: float,
    failing_since: datetime | None = None,
) -> tuple[SchemaFacts, ...]:
    """Read the subjects with their newest versions, then, once for all of them, the registry's topic if it is needed.

    It is needed for a newest version without a time, unless the bot has known that version for longer than RECENT, and
    for a failure: only there a level's change has a time. A registry that keeps its schemas elsewhere has no such
    topic, and many clouds hide it: then first sight has to do.
    """
    topic_s = deadline_s * TOPIC_SHARE if kafka is not None else 0.0
    share_s = (deadline_s - topic_s) / max(1, len(subjects))
    gathered = tuple(_read(registry, subject, share_s) for subject in subjects)
    wanted = failing_since is not None or any(_lacks_time(one.state, first_seen, now) for one in gathered)
    if kafka is None or not wanted:
        return gathered
    try:
        records = kafka.sample_tail(TOPIC, TAIL_RECORDS, topic_s).records
    except (Missing, Denied):
        return gathered
    except PortError as error:
        line = f"when versions were registered, by {BY_TOPIC}: {error}"
        return tuple(
            replace(one, not_known=(*one.not_known, line)) if _lacks_time(one.state, first_seen, now) else one
            for one in gathered
        )
    found, log = registrations(records), changes_on(records)
    return tuple(
        replace(one, registrations=found, log=tuple(c for c in log if c.subject in (one.subject, None)))
        for one in gathered
    )


def _read(registry: SchemaRegistry, subject: str, deadline_s: float) -> SchemaFacts:
    ends_at = time.monotonic() + deadline_s
    try:
        state = registry.read_subject(subject, NEWEST_VERSIONS, deadline_s)
    except PortError as error:
        return SchemaFacts(subject, error=error)
    not_known: list[str] = []
    earlier: list[SchemaVersion] = []
    referenced: dict[tuple[str, int], SchemaVersion] = {}
    try:
        if (state.compatibility or "").endswith("_TRANSITIVE"):
            before = state.all_versions[: -len(state.versions) or None] if state.versions else ()
            for number in before[-MOST_VERSIONS:]:
                earlier.append(registry.read_version(subject, number, _left_s(ends_at)))
            if len(before) > MOST_VERSIONS:
                not_known.append(f"whether {subject} fits its {len(before) - MOST_VERSIONS} oldest versions: not read")
        for version in (*earlier, *state.versions):
            if version.references:
                used = registry.read_referenced(version, _left_s(ends_at))
                referenced |= {(one.subject, one.version): one for one in used}
    except PortError as error:
        not_known.append(f"all that {subject} is to be compared with: {error}")
    return SchemaFacts(subject, state, not_known=tuple(not_known), earlier=tuple(earlier), referenced=referenced)


def _left_s(ends_at: float) -> float:
    return max(0.05, ends_at - time.monotonic())


def _lacks_time(state: SubjectState | None, first_seen: Mapping[tuple[str, int], datetime], now: datetime) -> bool:
    newest = state.versions[-1] if state and state.versions else None
    if newest is None or newest.registered_at is not None:
        return False
    seen = first_seen.get((newest.subject, newest.version))
    return seen is None or now - seen <= RECENT


def judge(
    facts: SchemaFacts,
    first_seen: Mapping[tuple[str, int], datetime],
    now: datetime,
    failing_since: datetime | None = None,
) -> Finding:
    """Return red for a recent newest version that its level would refuse or that changed what its numbers mean.

    Yellow is a recent one otherwise, a recent change of the level or the mode, a recent deletion, or level NONE. Green
    needs a newest version known to be older than RECENT, or to be the only one, which changed nothing: without a time
    of any kind it is unknown.
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
    compared = _compared(state, facts, not_known)
    newest = state.versions[-1] if state.versions else None
    at, word = _when(newest, first_seen) if newest else (None, "")
    if newest is not None and at is None:
        not_known.append(
            f"when version {newest.version} of {state.subject} was registered: this registry keeps no times"
        )
    refused = {
        version.version: refused_by(
            version, (*facts.earlier, *state.versions[:index]), state.compatibility, facts.referenced
        )
        for index, version in enumerate(state.versions)
        if compared.get(version.version, _NOTHING).changes is not None
    }
    recent = _ranked(_recent(state, facts, first_seen, by, now, failing_since), failing_since)
    newest_changes = (compared[newest.version].changes or ()) if newest and newest.version in compared else ()
    conflicts = refused.get(newest.version, ()) if newest else ()
    document = {
        "subject": state.subject,
        "compatibility": state.compatibility,
        "mode": state.mode,
        "versions": [
            _entry(version, by[version.version], compared.get(version.version), refused, first_seen)
            for version in state.versions
        ],
        "deleted": list(state.deleted),
        "failing_since": rfc3339(failing_since),
        "recent": [_recent_entry(one, failing_since) for one in recent],
        "not_known": not_known,
    }
    verdict, status = _verdict(state, newest, newest_changes, conflicts, at, recent, now)
    return Finding(
        probe=PROBE,
        target=state.subject,
        verdict=verdict,
        status=status,
        headline=_headline(state, newest, at, word, newest_changes, recent, failing_since, now),
        at=now,
        signal=Signal.SCHEMA,
        facts=document,
        evidence=_evidence(state, newest, newest_changes, conflicts, by, recent, failing_since, now),
        not_known=tuple(not_known),
    )


def schema_of(sources: Sources, subject: str, now: Callable[[], datetime], deadline_s: float | None = None) -> Finding:
    """Return the finding of one subject."""
    return _findings(sources, (subject,), now, deadline_s or sources.deadline_s)[0]


def probe(sources: Sources, pipeline: Pipeline, now: Callable[[], datetime]) -> tuple[Finding, ...]:
    """Return one finding per subject of the pipeline; with a failure to explain, the nearest change first."""
    found = _findings(sources, pipeline.subjects, now, sources.deadline_s)
    if sources.failing_since is None:
        return found
    return tuple(sorted(found, key=_nearest))


def _nearest(finding: Finding) -> tuple[bool, float]:
    nearest = next((one["before_failure_s"] for one in finding.facts.get("recent", ())), None)
    return (True, 0.0) if nearest is None else (nearest < 0, abs(nearest))


def _findings(
    sources: Sources, subjects: Sequence[str], now: Callable[[], datetime], deadline_s: float
) -> tuple[Finding, ...]:
    since = sources.failing_since
    gathered = (
        tuple(SchemaFacts(subject) for subject in subjects)
        if sources.registry is None
        else gather(sources.registry, sources.kafka, subjects, sources.first_seen, now(), deadline_s, since)
    )
    at = now()
    return tuple(judge(facts, _sights(facts, sources, at), at, since) for facts in gathered)


def _sights(facts: SchemaFacts, sources: Sources, now: datetime) -> Mapping[tuple[str, int], datetime]:
    """Return the first sights with this one, where the bot itself looks and knew the subject without its newest."""
    newest = facts.state.versions[-1] if facts.state and facts.state.versions else None
    numbers = [number for subject, number in sources.first_seen if newest and subject == newest.subject]
    if newest is None or not sources.remembers or not numbers:
        return sources.first_seen
    new = [one for one in facts.state.versions if one.version > max(numbers)] if facts.state else []
    return {**{(one.subject, one.version): now for one in new}, **sources.first_seen}


_NOTHING = Comparison(())


def _compared(state: SubjectState, facts: SchemaFacts, not_known: list[str]) -> dict[int, Comparison]:
    """Return what changed in each version against the one before it that is still registered."""
    found = {}
    before = (*facts.earlier[-1:], *state.versions)
    for old, new in pairwise(before):
        found[new.version] = compared = compare(old, new, state.compatibility, facts.referenced)
        if compared.changes is None:
            not_known.append(f"what changed in version {new.version}: {compared.reason}")
    return found


def _when(version: SchemaVersion, first_seen: Mapping[tuple[str, int], datetime]) -> tuple[datetime | None, str]:
    if version.registered_at is not None:
        return version.registered_at, "registered"
    return first_seen.get((version.subject, version.version)), "first seen by the bot"


def _entry(
    version: SchemaVersion,
    by: str | None,
    compared: Comparison | None,
    refused: Mapping[int, tuple[int, ...]],
    first_seen: Mapping[tuple[str, int], datetime],
) -> dict[str, Any]:
    conflicts = refused.get(version.version)
    return {
        "version": version.version,
        "id": version.schema_id,
        "registered_at": rfc3339(version.registered_at),
        "registered_by": by,
        "first_seen_at": rfc3339(first_seen.get((version.subject, version.version))),
        "changes": [one.document() for one in (compared.changes or ())] if compared else [],
        "conflicts_with": None if conflicts is None else list(conflicts),
    }


# --- what changed lately, by its distance to the first failure -----------------------------------


@dataclass(frozen=True)
class _Recent:
    """One change with a time, and who told the time."""

    change: RegistryChange
    by: str


def _recent(
    state: SubjectState,
    facts: SchemaFacts,
    first_seen: Mapping[tuple[str, int], datetime],
    by: Mapping[int, str | None],
    now: datetime,
    failing_since: datetime | None,
) -> list[_Recent]:
    """Return what changed within RECENT before the first failure, or before now. A first version changed nothing."""
    since = (failing_since or now) - RECENT
    first = state.all_versions[0] if state.all_versions else None
    found = []
    for version in state.versions:
        at, _ = _when(version, first_seen)
        if at is not None and version.version != first:
            told = RegistryChange(at, REGISTERED, state.subject, version.version, version.schema_id)
            found.append(_Recent(told, by[version.version] or "first seen by the bot"))
    found += [_Recent(change, BY_TOPIC) for change in facts.log if change.kind != REGISTERED]
    return [one for one in found if one.change.at >= since]


def _ranked(recent: Sequence[_Recent], failing_since: datetime | None) -> list[_Recent]:
    """Sort by the distance to the first failure, what came after it last; without one the newest is first."""
    if failing_since is None:
        return sorted(recent, key=lambda one: one.change.at, reverse=True)
    return sorted(recent, key=lambda one: (one.change.at > failing_since, abs(failing_since - one.change.at)))


def _recent_entry(one: _Recent, failing_since: datetime | None) -> dict[str, Any]:
    change = one.change
    return {
        "at": rfc3339(change.at),
        "by": one.by,
        "kind": change.kind,
        "subject": change.subject,
        "version": change.version,
        "from": change.before,
        "to": change.after,
        "before_failure_s": None if failing_since is None else (failing_since - change.at).total_seconds(),
    }


def change_words(change: RegistryChange) -> str:
    """Return one change of a registry in words: `compatibility BACKWARD -> NONE`, `version 3 deleted`."""
    if change.kind in (LEVEL, MODE):
        whose = f"global {change.kind}" if change.subject is None else change.kind
        return f"{whose} {change.before} -> {change.after}" if change.before else f"{whose} set to {change.after}"
    if change.kind == SUBJECT_DELETED:
        return f"subject deleted, versions up to {change.version}" if change.version else "subject deleted"
    return f"version {change.version} {change.kind if change.kind != ERASED else 'deleted for good'}"


def distance_words(at: datetime, failing_since: datetime | None, now: datetime) -> str:
    """Return how far from the first failure a change is, or without one how long ago."""
    if failing_since is None:
        return f"{duration(max(0.0, (now - at).total_seconds()))} ago"
    apart = (failing_since - at).total_seconds()
    return f"{duration(abs(apart))} {'before' if apart >= 0 else 'after'} the first failure"


# --- the verdict and its words -------------------------------------------------------------------


def _verdict(
    state: SubjectState,
    newest: SchemaVersion | None,
    changes: Sequence[SchemaChange],
    conflicts: Sequence[int],
    at: datetime | None,
    recent: Sequence[_Recent],
    now: datetime,
) -> tuple[str, Status]:
    if newest is None:
        return UNKNOWN, Status.UNKNOWN
    touched = any(one.change.kind != REGISTERED and one.change.subject is not None for one in recent)
    if at is None and not _only(state):
        return (CHANGED, Status.YELLOW) if touched else (UNKNOWN, Status.UNKNOWN)
    if at is None or now - at > RECENT or _only(state):
        if touched:
            return CHANGED, Status.YELLOW
        return UNCHANGED, Status.YELLOW if state.compatibility == "NONE" else Status.GREEN
    if conflicts or any(change.verdict == INCOMPATIBLE or change.meaning for change in changes):
        return BREAKING, Status.RED
    return CHANGED, Status.YELLOW


def _only(state: SubjectState) -> bool:
    """A subject's first version changed nothing."""
    return len(state.all_versions or state.versions) == 1


def _headline(
    state: SubjectState,
    newest: SchemaVersion | None,
    at: datetime | None,
    word: str,
    changes: Sequence[SchemaChange],
    recent: Sequence[_Recent],
    failing_since: datetime | None,
    now: datetime,
) -> str:
    """Name the newest version, when it came, what it changed; and what else was changed nearer to the failure."""
    if newest is None:
        return "no version is registered"
    when = f"{word} {rfc3339(at)}" if at else "registered at a time not known"
    if at is not None and failing_since is not None and at >= failing_since - RECENT and not _only(state):
        when += f", {distance_words(at, failing_since, now)}"
    what = f": {changes[0].path} {changes[0].change}" if changes else ""
    more = f" and {counted(len(changes) - 1, 'more change')}" if len(changes) > 1 else ""
    other = recent[0].change if recent and recent[0].change.kind != REGISTERED else None
    also = f"; {change_words(other)} {distance_words(other.at, failing_since, now)}" if other else ""
    open_door = f"; {REFUSES_NOTHING}" if state.compatibility == "NONE" else ""
    return f"{'only' if _only(state) else 'newest'} version {newest.version}, {when}{what}{more}{also}{open_door}"


def _evidence(
    state: SubjectState,
    newest: SchemaVersion | None,
    changes: Sequence[SchemaChange],
    conflicts: Sequence[int],
    by: Mapping[int, str | None],
    recent: Sequence[_Recent],
    failing_since: datetime | None,
    now: datetime,
) -> tuple[str, ...]:
    lines = []
    # The headline gives the time: here stands only a source that it leaves out.
    if newest is not None and by[newest.version] == BY_TOPIC:
        lines.append(f"version {newest.version}: registered {rfc3339(newest.registered_at)}, by {BY_TOPIC}")
    for one in changes[:5] if newest else ():
        lines.append(f"version {newest.version if newest else ''}: {one.path} {one.change} ({one.verdict})")
        if one.meaning:
            lines.append(f"{one.meaning} ({NOT_SEEN})")
    beyond = [number for number in conflicts if number != (state.all_versions[-2:-1] or (None,))[0]]
    if newest is not None and beyond:
        numbers = ", ".join(map(str, beyond))
        lines.append(f"version {newest.version}: {state.compatibility} would refuse it for version {numbers}")
    for told in recent[:SHOWN_RECENT]:
        if told.change.kind != REGISTERED or (newest is not None and told.change.version != newest.version):
            lines.append(
                f"{rfc3339(told.change.at)}: {change_words(told.change)}, "
                f"{distance_words(told.change.at, failing_since, now)}"
            )
    if state.deleted:
        lines.append(f"soft-deleted: version {', '.join(map(str, state.deleted[-SHOWN_RECENT:]))}")
    return (*lines, f"compatibility {state.compatibility or 'not known'}, mode {state.mode or 'not known'}")


SHOWN_RECENT = 5
