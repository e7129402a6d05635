"""Did a schema change lately, what changed in it, and does the registry let it through?

The facts are the document of `cdc schema --json` (contract.md). When a version came is the registry's own time,
where it has one; else the bot's first sight of it, told apart as `first_seen_at`. A subject that changed lately is
yellow, not red: the change was accepted. Red is a newest version that its own level would refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.model import Finding, Pipeline, Signal, Status
from bot.ports import PortError, SchemaRegistry, SchemaVersion, SubjectState
from bot.probes.avro_changes import INCOMPATIBLE, Change, changes_between
from bot.probes.sources import Sources, rfc3339, unseen

PROBE = "schema_changes"

NEWEST_VERSIONS = 5
RECENT = timedelta(hours=24)

CHANGED = "CHANGED"
UNCHANGED = "UNCHANGED"
BREAKING = "BREAKING"
UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class SchemaFacts:
    subject: str
    state: SubjectState | None = None
    error: PortError | None = None


def gather(registry: SchemaRegistry, subject: str, deadline_s: float) -> SchemaFacts:
    """Read the subject and its newest versions."""
    try:
        return SchemaFacts(subject, registry.read_subject(subject, NEWEST_VERSIONS, deadline_s))
    except PortError as error:
        return SchemaFacts(subject, error=error)


def judge(facts: SchemaFacts, first_seen: Mapping[tuple[str, int], datetime], now: datetime) -> Finding:
    """Return red for a recent newest version that its level would refuse, yellow for a recent one or level NONE.

    Green needs a newest version known to be older than RECENT: without a time of any kind it is unknown.
    """
    state = facts.state
    if state is None:
        nothing: dict[str, Any] = {"subject": facts.subject, "compatibility": None, "mode": None, "versions": []}
        return unseen(PROBE, facts.subject, Signal.SCHEMA, now, facts.error, nothing, "the schema registry")
    not_known = list(state.not_known)
    changes = _changes_by_version(state, not_known)
    newest = state.versions[-1] if state.versions else None
    at, word = _when(newest, first_seen) if newest else (None, "")
    if newest is not None and at is None:
        not_known.append(
            f"when version {newest.version} of {state.subject} was registered: this registry keeps no times"
        )

    versions = [_entry(version, changes.get(version.version, ()), first_seen) for version in state.versions]
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
        headline=_headline(newest, at, word, newest_changes),
        at=now,
        signal=Signal.SCHEMA,
        facts=document,
        evidence=_evidence(state, newest, newest_changes),
        not_known=tuple(not_known),
    )


def schema_of(sources: Sources, subject: str, now: Callable[[], datetime], deadline_s: float | None = None) -> Finding:
    """Return the finding of one subject."""
    facts = (
        SchemaFacts(subject)
        if sources.registry is None
        else gather(sources.registry, subject, deadline_s or sources.deadline_s)
    )
    return judge(facts, sources.first_seen, now())


def probe(sources: Sources, pipeline: Pipeline, now: Callable[[], datetime]) -> tuple[Finding, ...]:
    """Return one finding per subject of the pipeline."""
    share_s = sources.deadline_s / max(1, len(pipeline.subjects))
    return tuple(schema_of(sources, subject, now, share_s) for subject in pipeline.subjects)


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
    version: SchemaVersion, changes: tuple[Change, ...], first_seen: Mapping[tuple[str, int], datetime]
) -> dict[str, Any]:
    return {
        "version": version.version,
        "id": version.schema_id,
        "registered_at": rfc3339(version.registered_at),
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
    if at is None:
        return UNKNOWN, Status.UNKNOWN
    if now - at > RECENT:
        return UNCHANGED, Status.YELLOW if state.compatibility == "NONE" else Status.GREEN
    if any(change.verdict == INCOMPATIBLE for change in changes):
        return BREAKING, Status.RED
    return CHANGED, Status.YELLOW


def _headline(newest: SchemaVersion | None, at: datetime | None, word: str, changes: tuple[Change, ...]) -> str:
    if newest is None:
        return "no version is registered"
    when = f"{word} {rfc3339(at)}" if at else "registered at a time not known"
    what = f": {changes[0].path} {changes[0].change}" if changes else ""
    more = f" and {len(changes) - 1} more changes" if len(changes) > 1 else ""
    return f"newest version {newest.version}, {when}{what}{more}"


def _evidence(state: SubjectState, newest: SchemaVersion | None, changes: tuple[Change, ...]) -> tuple[str, ...]:
    lines = [f"version {newest.version}: {one.path} {one.change} ({one.verdict})" for one in changes[:5] if newest]
    level = f"compatibility {state.compatibility or 'not known'}, mode {state.mode or 'not known'}"
    if state.compatibility == "NONE":
        level += ": the registry refuses nothing"
    return (*lines, level)
