"""What changed in the registry lately, over all subjects: versions, deletions, levels, modes.

Three sources, each with what it cannot know told in `not_known`:

    the registry     lists every version with its time (Confluent >= 8.0)
    its topic        dates versions, deletions, levels and modes (Confluent, Karapace)
    first sight      what the bot saw first, of the subjects of pipelines; only for a version that came after another
                     that it had seen: all that was there when it first looked is of no known age
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from bot.ports import Denied, Kafka, Missing, PortError, SchemaRegistry, SchemaVersion, SubjectState
from bot.probes.schema_changes import BY_REGISTRY, BY_TOPIC, NEWEST_VERSIONS
from bot.probes.schema_diff import SchemaChange, compare
from bot.probes.schemas_topic import DELETED, REGISTERED, TAIL_RECORDS, TOPIC, RegistryChange, changes_on
from bot.probes.sources import Sources

BY_BOT = "first seen by the bot"
COMPARED_SUBJECTS = 20
READERS = 8


@dataclass(frozen=True)
class RecentChange:
    """One change; `compared` is what a registered version changed, None where that is not known."""

    change: RegistryChange
    by: str
    compared: tuple[SchemaChange, ...] | None = None


def recent_changes(
    sources: Sources, subjects: Sequence[str], since: datetime
) -> tuple[tuple[RecentChange, ...], tuple[str, ...]]:
    """Return what changed since then, newest first, and what is not known. `subjects` are those of the pipelines.

    Raises PortError where no source answered. The registry must be configured.
    """
    assert sources.registry is not None
    ends_at = time.monotonic() + sources.deadline_s
    not_known: list[str] = []
    listed = _listed(sources.registry, since, sources.deadline_s * 0.4, not_known)
    told = _told(sources.kafka, sources.deadline_s * 0.3, since, not_known)
    found: dict[tuple[str, str | None, int | None, datetime | None], RecentChange] = {}
    if listed is not None:
        for version in listed:
            kind = DELETED if version.deleted else REGISTERED
            assert version.registered_at is not None
            change = RegistryChange(version.registered_at, kind, version.subject, version.version, version.schema_id)
            found[kind, version.subject, version.version, None] = RecentChange(change, BY_REGISTRY)
    for change in told or ():
        dated = None if change.kind in (REGISTERED, DELETED) else change.at
        key = (change.kind, change.subject, change.version, dated)
        if listed is None or change.kind != REGISTERED:
            found.setdefault(key, RecentChange(change, BY_TOPIC))
    if listed is None and told is None:
        for change in _first_sights(sources.first_seen, subjects, since):
            found[change.kind, change.subject, change.version, None] = RecentChange(change, BY_BOT)
        not_known.append(
            "changes of subjects of no pipeline, and what changed before the bot looked: this registry keeps no times"
        )
    if told is None:
        not_known.append(f"changes of levels and modes: only {BY_TOPIC} tells them, and it was not read")
    newest_first = sorted(found.values(), key=lambda one: one.change.at, reverse=True)
    return _with_changes(sources.registry, newest_first, ends_at), tuple(not_known)


def _listed(
    registry: SchemaRegistry, since: datetime, deadline_s: float, not_known: list[str]
) -> tuple[SchemaVersion, ...] | None:
    try:
        return registry.read_recent(since, deadline_s)
    except PortError as error:
        not_known.append(f"the registry's own list of versions: {error}")
        return None


def _told(
    kafka: Kafka | None, deadline_s: float, since: datetime, not_known: list[str]
) -> tuple[RegistryChange, ...] | None:
    """Return what the topic's tail tells; None where there is no such topic, or nobody may read it."""
    if kafka is None:
        return None
    try:
        records = kafka.sample_tail(TOPIC, TAIL_RECORDS, deadline_s).records
    except (Missing, Denied):
        return None
    except PortError as error:
        not_known.append(f"what {BY_TOPIC} tells: {error}")
        return None
    oldest = min((record.at for record in records if record.at is not None), default=None)
    if len(records) >= TAIL_RECORDS and oldest is not None and oldest > since:
        not_known.append(
            f"changes before {oldest:%Y-%m-%dT%H:%M:%SZ}: only the newest {TAIL_RECORDS:,} records were read"
        )
    return tuple(change for change in changes_on(records) if change.at >= since)


def _first_sights(
    first_seen: Mapping[tuple[str, int], datetime], subjects: Sequence[str], since: datetime
) -> list[RegistryChange]:
    """Return the versions that came while the bot was looking: after another of the same subject."""
    begun: dict[str, datetime] = {}
    for (subject, _), at in first_seen.items():
        begun[subject] = min(at, begun.get(subject, at))
    return [
        RegistryChange(at, REGISTERED, subject, version)
        for (subject, version), at in first_seen.items()
        if at >= since and at > begun[subject] and (not subjects or subject in subjects)
    ]


def _with_changes(registry: SchemaRegistry, found: Sequence[RecentChange], ends_at: float) -> tuple[RecentChange, ...]:
    """Add what the versions of the first COMPARED_SUBJECTS subjects changed."""
    registered = (one.change.subject for one in found if one.change.kind == REGISTERED)
    wanted = [subject for subject in dict.fromkeys(registered) if subject is not None][:COMPARED_SUBJECTS]

    def read(subject: str) -> dict[tuple[str, int], tuple[SchemaChange, ...]]:
        left_s = ends_at - time.monotonic()
        try:
            return _changes_of(registry.read_subject(subject, NEWEST_VERSIONS, left_s)) if left_s > 0 else {}
        except PortError:
            return {}

    with ThreadPoolExecutor(max_workers=READERS) as pool:
        compared = {key: value for each in pool.map(read, wanted) for key, value in each.items()}
    return tuple(
        RecentChange(one.change, one.by, compared.get((one.change.subject or "", one.change.version or 0)))
        if one.change.kind == REGISTERED
        else one
        for one in found
    )


def _changes_of(state: SubjectState) -> dict[tuple[str, int], tuple[SchemaChange, ...]]:
    found = {}
    for old, new in pairwise(state.versions):
        changes = compare(old, new, state.compatibility, {}).changes
        if changes is not None:
            found[state.subject, new.version] = changes
    return found
