"""The shared words: pipelines, findings, objectives.

Everything may import this module; it imports nothing of ours. All values are frozen: a
decision, a judgement or a rendering can be handed any of them and cannot change it.

Times are `datetime` in UTC; durations are seconds (`_s`); lag is in records (`_records`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any


def in_one_line(text: str, limit: int) -> str:
    """Return foreign text for a log: what a terminal or a line reader would obey is blank, and the end is cut off."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:limit]


TEST_ALERT = "CDCOncallTest"
"""Name of the alert that `cdc doctor --fire` sends: nothing is wrong when it fires."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


def counted(count: int, noun: str) -> str:
    """Return `1 record`, `12,408 records`: a noun with a plain plural, counted."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class Severity(StrEnum):
    """How urgent an incident is; `rank` orders them, worst highest."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return (Severity.INFO, Severity.WARNING, Severity.CRITICAL).index(self)


class Status(StrEnum):
    """What a person should feel about a finding. UNKNOWN is never shown as healthy."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    UNKNOWN = "unknown"


class Signal(StrEnum):
    """What part of a pipeline an alert or a finding speaks of, most upstream first.

    The order is the order of cause: a refused schema fails the connector, a failed connector
    starves or stops the consumers. The first impaired signal is the suspect.
    """

    SCHEMA = "schema"
    CONNECTOR = "connector"
    DEAD_LETTERS = "dead_letters"
    LAG = "lag"
    OTHER = "other"

    @property
    def upstream_rank(self) -> int:
        return list(Signal).index(self)


class GroupKind(StrEnum):
    """What commits for a consumer group: decides what "no members" means."""

    FLINK = "flink"
    CONNECT_SINK = "connect-sink"
    CONSUMER = "consumer"


@dataclass(frozen=True)
class LagThreshold:
    """A breach is `lag_records` strictly over `records` for `for_s` seconds, as a Prometheus rule counts it."""

    records: int
    for_s: int


@dataclass(frozen=True)
class Objective:
    """What a pipeline promises; every verdict, panel and alert rule is derived from these numbers.

    `dead_letter_ratio_per_day` is a fraction (0.001 is 0.1 %).
    """

    lag_warn: LagThreshold = LagThreshold(10_000, 300)
    lag_page: LagThreshold = LagThreshold(100_000, 900)
    dead_letter_ratio_per_day: float = 0.001


@dataclass(frozen=True)
class ConsumerGroup:
    """A group as cdc.yml names it. `commit_interval_s` is how often it commits, None: learned from its commits."""

    group: str
    kind: GroupKind = GroupKind.CONSUMER
    job: str | None = None
    topics: tuple[str, ...] = ()
    commit_interval_s: float | None = None


PartitionKey = tuple[str, int]
"""(topic, partition)."""


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """One partition of one group: committed offset read first, then earliest and latest, so lag is never negative.

    `None` is "not known" (for `committed`: never committed, when `committed_known`). Offsets are record positions;
    `last_stable` is the last stable offset: a reader of committed transactions gets no further.
    """

    topic: str
    partition: int
    committed: int | None
    earliest: int | None
    latest: int | None
    committed_known: bool = True
    error: str | None = None
    last_stable: int | None = None

    @property
    def key(self) -> PartitionKey:
        return self.topic, self.partition

    @property
    def lag_records(self) -> int | None:
        """Records between the committed offset and the log end; None when either is unknown or never committed.

        None also when the commit lies beyond the log end: the topic is not the one that was read.
        """
        if self.committed is None or self.latest is None or self.committed > self.latest:
            return None
        return self.latest - self.committed

    @property
    def lag_is_unknown(self) -> bool:
        """True when there is a lag that could not be seen; a partition never committed has none."""
        return self.lag_records is None and (self.committed is not None or not self.committed_known)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a group as the coordinator sees it; `partitions` are those assigned to it."""

    id: str
    client: str
    host: str
    partitions: tuple[PartitionKey, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupOffsets:
    """A consumer group as one read saw it. `state` and `members` are None where the broker cannot tell.

    `partitions` are sorted by topic and partition. `membership` is who the members are; empty where not told.
    """

    group: str
    at: datetime
    state: str | None
    members: int | None
    partitions: tuple[PartitionOffsets, ...]
    not_known: tuple[str, ...] = ()
    membership: tuple[Member, ...] = ()


@dataclass(frozen=True)
class Retention:
    """What deletes a topic's records. None is "without limit"; a topic whose settings are unknown has no Retention."""

    retention_s: float | None
    retention_bytes: int | None
    is_compacted: bool = False
    is_deleted: bool = True
    timestamps: str = "CreateTime"
    """`CreateTime` (the producer's, possibly out of order) or `LogAppendTime`."""
    segment_s: float | None = None
    """`segment.ms`: whole segments are deleted, and an active one is not."""


@dataclass(frozen=True)
class FlinkJob:
    """A Flink job as its REST API tells it. Times are None where there was none yet; they are the JobManager's.

    `state` as Flink spells it (RUNNING, FAILED, RESTARTING, CANCELED, ...). `checkpoint_interval_s` None: not told, or
    checkpointing is off. An age is the difference to `at`, so a JobManager whose clock is off does no harm. The counts
    are those since the JobManager took the job over; what could not be read is a line of `not_known`.
    """

    job: str
    id: str
    state: str
    started_at: datetime | None = None
    checkpoint_interval_s: float | None = None
    completed: int | None = None
    failed: int | None = None
    last_completed_at: datetime | None = None
    last_failed_at: datetime | None = None
    failure: str | None = None
    cause: str | None = None
    """The newest exception of the job, in one line."""
    at: datetime | None = None
    """The JobManager's clock when it answered; None for a job that has ended."""
    ended_at: datetime | None = None
    cause_at: datetime | None = None
    checkpointing_off: bool = False
    """The job makes no checkpoints of its own accord, so it commits nothing."""
    checkpoint_timeout_s: float | None = None
    """When a checkpoint that runs is given up; until then a slow one is not counted as failed."""
    in_progress_since: datetime | None = None
    """When the oldest checkpoint that is running was begun."""
    last_duration_s: float | None = None
    """How long the newest completed checkpoint took, from its beginning."""
    failed_since_completed: int = 0
    """Failures after the newest completed one, as far as the JobManager keeps them (10 checkpoints by default)."""
    not_known: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sink:
    """A sink connector. `group` is what it commits with where its config overrides Connect's `connect-NAME`."""

    connector: str
    table: str | None = None
    dlq: str | None = None
    group: str | None = None

    @property
    def consumer_group(self) -> str:
        return self.group or f"connect-{self.connector}"


@dataclass(frozen=True)
class Pipeline:
    """Source connector -> topics -> consumer groups and sink -> table, with its DLQ, subjects and objective."""

    name: str
    channel: str
    owner: str | None = None
    source_connector: str | None = None
    topics: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    consumers: tuple[ConsumerGroup, ...] = ()
    sink: Sink | None = None
    objective: Objective = Objective()
    actions: frozenset[str] = frozenset()
    managed_by: str | None = None

    @property
    def connectors(self) -> tuple[str, ...]:
        named = (self.source_connector, self.sink.connector if self.sink else None)
        return tuple(name for name in named if name)

    @property
    def groups(self) -> tuple[ConsumerGroup, ...]:
        """The configured groups, and the sink connector's own group, `connect-NAME` or another, when not named."""
        own = self.sink.consumer_group if self.sink else None
        if own is None or any(consumer.group == own for consumer in self.consumers):
            return self.consumers
        return (*self.consumers, ConsumerGroup(own, GroupKind.CONNECT_SINK, topics=self.topics))

    @property
    def dlq(self) -> str | None:
        return self.sink.dlq if self.sink else None


@dataclass(frozen=True)
class Finding:
    """What one probe saw of one target at one time, and what it means.

    `verdict` is the field's word for it (`STUCK`, `FAILED`, `INCOMPATIBLE`, ...); `facts` are plain
    JSON values for machines, and later checks of recovery compare them; `evidence` are lines for people.
    `not_known` says what could not be seen, with the permission or the address that was lacking.
    """

    probe: str
    target: str
    verdict: str
    status: Status
    headline: str
    at: datetime
    signal: Signal = Signal.OTHER
    facts: Mapping[str, Any] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    not_known: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What an action would do, frozen: the approval is bound to `hash`, execution re-checks `preconditions`.

    `steps` are sentences; `arguments` are plain JSON values, enough to run it without asking again.
    """

    action: str
    target: str
    summary: str
    steps: tuple[str, ...]
    arguments: Mapping[str, Any]
    preconditions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    hash: str = ""


@dataclass(frozen=True)
class Refusal:
    """Why something was not done: what was asked, what was found, what did not happen, the next move."""

    reason: str
    next_step: str = ""

    def __str__(self) -> str:
        return f"{self.reason} {self.next_step}".strip()
