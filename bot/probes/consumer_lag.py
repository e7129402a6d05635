"""Is this consumer group keeping up, and did it lose data?

`gather` reads the group once, or twice when it is given a way to wait; `judge` is pure. The facts are the document
of `cdc lag --json` (contract.md) with `committed_total` and `end_total` beside it, which later checks compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from bot.lag.judge import (
    MIN_WINDOW_S,
    GroupSample,
    Judgement,
    PartitionSample,
    Verdict,
    dead_lettered,
    judge_group,
)
from bot.model import ConsumerGroup, Finding, GroupKind, Objective, Pipeline, Signal, Status, counted
from bot.ports import GroupOffsets, Kafka, PortError
from bot.probes.error_headers import read_error_headers
from bot.probes.sources import Sources, unseen

PROBE = "consumer_lag"

# Long enough for a consumer that commits each second, short enough for an incident that is opening.
BETWEEN_READS_S = 1.5

# A sink's unread tail is compared with its DLQ only when it is this short: longer is no residue.
RESIDUE_RECORDS = 200


@dataclass(frozen=True)
class LagFacts:
    """`reads` oldest first; `dead_letters` are offsets by (topic, partition) that the DLQ's headers name."""

    group: str
    reads: tuple[GroupOffsets, ...] = ()
    dead_letters: Mapping[tuple[str, int], frozenset[int]] | None = None
    error: PortError | None = None
    not_known: tuple[str, ...] = ()


def gather(
    kafka: Kafka,
    consumer: ConsumerGroup,
    dlq: str | None,
    deadline_s: float,
    wait: Callable[[float], object] | None = None,
) -> LagFacts:
    """Read the group, once more after `wait` if it has unread data, and the DLQ of a sink with a short tail.

    The waiting of BETWEEN_READS_S comes on top of the deadline, which is for the answers of Kafka.
    """
    try:
        reads = [kafka.read_group(consumer.group, consumer.topics, deadline_s / 2)]
    except PortError as error:
        return LagFacts(consumer.group, error=error)
    not_known: list[str] = []
    if wait is not None and _unread(reads[0]):
        wait(BETWEEN_READS_S)
        try:
            reads.append(kafka.read_group(consumer.group, consumer.topics, deadline_s / 4))
        except PortError as error:
            not_known.append(f"second read: {error}")
    dead = None
    if dlq and consumer.kind is GroupKind.CONNECT_SINK and 0 < _unread(reads[-1]) <= RESIDUE_RECORDS:
        try:
            dead = _dead_letters(kafka, dlq, deadline_s / 4)
        except PortError as error:
            not_known.append(f"whether the unread tail is in {dlq}: {error}")
    return LagFacts(consumer.group, tuple(reads), dead, not_known=tuple(not_known))


def judge(
    facts: LagFacts,
    objective: Objective,
    now: datetime,
    kind: GroupKind = GroupKind.CONSUMER,
    previous: GroupSample | None = None,
    commit_interval_s: float | None = None,
) -> Finding:
    """Return red over the page line or for lost or stuck data, yellow over the warn line, green only for OK.

    `previous` is an older read than those gathered; the oldest read that is of use is compared with the newest.
    """
    if not facts.reads:
        return unseen(PROBE, facts.group, Signal.LAG, now, facts.error, _nothing(facts.group), "Kafka")
    newest = _sample(facts.reads[-1], facts.dead_letters)
    earlier: list[GroupSample | None] = [
        read for read in (previous, *map(_sample, facts.reads[:-1])) if read and read.at < newest.at
    ]
    judgements = [(judge_group(newest, objective, read, kind, commit_interval_s), read) for read in earlier or [None]]
    # More than one earlier read: each proves something different, and only UNKNOWN proves nothing.
    judgement, before = min(judgements, key=lambda one: (one[0].verdict is Verdict.UNKNOWN, one[0].verdict.rank))

    not_known = (*facts.reads[-1].not_known, *facts.not_known, *_not_summed(newest))
    document = _document(newest, judgement, not_known)
    return Finding(
        probe=PROBE,
        target=facts.group,
        verdict=judgement.verdict.value,
        status=_status(judgement, objective),
        headline=_headline(newest, before, judgement, kind),
        at=newest.at,
        signal=Signal.LAG,
        facts=document,
        evidence=(judgement.evidence, *_membership(newest, judgement, kind)),
        not_known=not_known,
    )


def lag_of(
    sources: Sources,
    group: str | ConsumerGroup,
    now: Callable[[], datetime],
    objective: Objective | None = None,
    dlq: str | None = None,
    topics: Sequence[str] = (),
    deadline_s: float | None = None,
) -> Finding:
    """Return the finding of one group; `topics` are added to those the group is configured with."""
    consumer = group if isinstance(group, ConsumerGroup) else ConsumerGroup(group)
    consumer = replace(consumer, topics=tuple(dict.fromkeys((*consumer.topics, *topics))))
    facts = (
        LagFacts(consumer.group)
        if sources.kafka is None
        else gather(sources.kafka, consumer, dlq, deadline_s or sources.deadline_s, sources.wait)
    )
    previous = sources.previous_lag.get(consumer.group)
    return judge(facts, objective or Objective(), now(), consumer.kind, previous)


def probe(sources: Sources, pipeline: Pipeline, now: Callable[[], datetime]) -> tuple[Finding, ...]:
    """Return one finding per consumer group of the pipeline, its sink connector's own group included."""
    share_s = sources.deadline_s / max(1, len(pipeline.groups))
    return tuple(
        lag_of(
            sources,
            consumer if consumer.topics else replace(consumer, topics=pipeline.topics),
            now,
            pipeline.objective,
            pipeline.dlq,
            deadline_s=share_s,
        )
        for consumer in pipeline.groups
    )


def sample_of(finding: Finding) -> GroupSample | None:
    """Return the read behind an earlier finding, for `Sources.previous_lag`; None when it saw nothing."""
    facts = finding.facts
    if finding.probe != PROBE or not facts.get("topics"):
        return None
    return GroupSample(
        group=finding.target,
        at=finding.at,
        state=facts["state"],
        members=facts["members"],
        partitions=tuple(
            PartitionSample(
                topic=topic["topic"],
                partition=entry["partition"],
                committed=entry["committed_offset"],
                earliest=entry["earliest_offset"],
                latest=entry["log_end_offset"],
                committed_known=entry["committed_offset"] is not None
                or entry["verdict"] == Verdict.NEVER_COMMITTED.value,
            )
            for topic in facts["topics"]
            for entry in topic["partitions"]
        ),
    )


def _sample(read: GroupOffsets, dead: Mapping[tuple[str, int], frozenset[int]] | None = None) -> GroupSample:
    partitions = tuple(
        PartitionSample(p.topic, p.partition, p.committed, p.earliest, p.latest, p.committed_known, p.error)
        for p in read.partitions
    )
    return GroupSample(
        read.group, read.at, read.state, read.members, dead_lettered(partitions, dead) if dead else partitions
    )


def _unread(read: GroupOffsets) -> int:
    return sum(partition.lag_records or 0 for partition in read.partitions)


def _dead_letters(kafka: Kafka, dlq: str, deadline_s: float) -> dict[tuple[str, int], frozenset[int]]:
    found: dict[tuple[str, int], set[int]] = {}
    for record in kafka.sample_tail(dlq, 2 * RESIDUE_RECORDS, deadline_s).records:
        error = read_error_headers(record.headers)
        if error and error.topic and error.partition is not None and error.offset is not None:
            found.setdefault((error.topic, error.partition), set()).add(error.offset)
    return {key: frozenset(offsets) for key, offsets in found.items()}


def _status(judgement: Judgement, objective: Objective) -> Status:
    lag_records = judgement.at_least_records
    if judgement.verdict in (Verdict.DATA_LOST, Verdict.STUCK, Verdict.STOPPED):
        return Status.RED
    if lag_records > objective.lag_page.records:
        return Status.RED
    if lag_records > objective.lag_warn.records:
        return Status.YELLOW
    if judgement.verdict is Verdict.OK:
        return Status.GREEN
    if judgement.verdict in (Verdict.REWOUND, Verdict.FALLING_BEHIND, Verdict.CATCHING_UP, Verdict.RESIDUAL):
        return Status.YELLOW
    return Status.UNKNOWN


def _headline(newest: GroupSample, before: GroupSample | None, judgement: Judgement, kind: GroupKind) -> str:
    """Return the lag and what is the matter with it; the verdict's own word stands beside it on every surface."""
    if judgement.lag_records is not None:
        lag = f"lag {judgement.lag_records:,}"
    else:
        lag = f"lag at least {judgement.at_least_records:,}" if judgement.at_least_records else "lag not known"
    match judgement.verdict:
        case Verdict.OK:
            return f"{lag}, commits keep up" if judgement.lag_records else lag
        case Verdict.DATA_LOST:
            return f"{judgement.evidence}; {lag}"
        case Verdict.CATCHING_UP:
            return f"{lag}, level in {_about(judgement.eta_s or 0)}"
        case Verdict.RESIDUAL:
            return f"{lag}, all of it is in the DLQ"
        case Verdict.STOPPED | Verdict.FALLING_BEHIND:
            return ", ".join((lag, *_movement(newest, before), *_who_reads(newest, kind)))
        case Verdict.UNKNOWN if judgement.at_least_records:
            return ", ".join((lag, *(_movement(newest, before) or ("one read so far",)), *_who_reads(newest, kind)))
        case _:
            return f"{lag}, {judgement.evidence}"


def _movement(newest: GroupSample, before: GroupSample | None) -> tuple[str, ...]:
    """Return what happened between the reads to the partitions with unread data; nothing when there is one read."""
    window_s = (newest.at - before.at).total_seconds() if before else 0.0
    earlier = {_key(one): one for one in (before.partitions if before else ())}
    pairs = [(one, earlier[_key(one)]) for one in newest.partitions if one.lag_records and _key(one) in earlier]
    known = [(now, was) for now, was in pairs if was.committed is not None and was.latest is not None]
    if not known or window_s < MIN_WINDOW_S:
        return ()
    committed = sum((now.committed or 0) - (was.committed or 0) for now, was in known)
    written = sum((now.latest or 0) - (was.latest or 0) for now, was in known)
    if committed:
        return (f"{committed:,} committed and {written:,} written in {_about(window_s)}",)
    if all(was.lag_records == 0 for _, was in known):
        return (f"all written in the last {_about(window_s)}",)
    return (f"nothing committed for {_about(window_s)}",)


def _who_reads(sample: GroupSample, kind: GroupKind) -> tuple[str, ...]:
    """Return the question that an empty group puts; a Flink job is never a member, so there it puts none."""
    if sample.state != "EMPTY" or sample.members != 0 or kind is GroupKind.FLINK:
        return ()
    return ("no members: is the sink running?" if kind is GroupKind.CONNECT_SINK else "no members: is it running?",)


def _about(seconds: float) -> str:
    """Return a duration in steps, so that two looks that say the same are worded the same: 2 s, 40 s, 3 min, 2 h."""
    if seconds >= 7200:
        return f"{seconds / 3600:.0f} h"
    if seconds >= 95:
        return f"{seconds / 60:.0f} min"
    step_s = 1 if seconds < 5 else 5 if seconds < 20 else 10
    return f"{step_s * round(seconds / step_s)} s"


def _membership(sample: GroupSample, judgement: Judgement, kind: GroupKind) -> tuple[str, ...]:
    if sample.state is None or sample.members is None:
        return ()
    line = f"group {sample.state}, {counted(sample.members, 'member')}"
    if sample.members == 0 and judgement.verdict is not Verdict.OK:
        line += {
            GroupKind.FLINK: ": says nothing, a Flink job never is a member",
            GroupKind.CONNECT_SINK: ": no task of the sink is reading",
            GroupKind.CONSUMER: ": nothing is reading, unless it uses assign()",
        }[kind]
    return (line,)


def _not_summed(sample: GroupSample) -> tuple[str, ...]:
    unknown = [f"{p.topic}/{p.partition}" for p in sample.partitions if p.lag_is_unknown]
    return (f"lag of {', '.join(unknown)}",) if unknown else ()


def _total(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if values and len(known) == len(values) else None


def _document(sample: GroupSample, judgement: Judgement, not_known: Sequence[str]) -> dict[str, Any]:
    judged = {(one.topic, one.partition): one for one in judgement.partitions}
    topics = []
    for topic, members in groupby(sorted(sample.partitions, key=_key), key=lambda partition: partition.topic):
        partitions = list(members)
        lags = [p.lag_records for p in partitions if p.lag_records is not None or p.lag_is_unknown]
        topics.append(
            {
                "topic": topic,
                "lag_records": _total(lags),
                "partitions": [
                    {
                        "partition": partition.partition,
                        "committed_offset": partition.committed,
                        "earliest_offset": partition.earliest,
                        "log_end_offset": partition.latest,
                        "lag_records": partition.lag_records,
                        "verdict": judged[_key(partition)].verdict.value,
                        "evidence": judged[_key(partition)].evidence,
                    }
                    for partition in partitions
                ],
            }
        )
    committed = [p.committed for p in sample.partitions if p.committed is not None or not p.committed_known]
    return {
        "group": sample.group,
        "state": sample.state,
        "members": sample.members,
        "lag_records": judgement.lag_records,
        "time_lag_s": None,
        "verdict": judgement.verdict.value,
        "evidence": judgement.evidence,
        "eta_s": judgement.eta_s,
        "topics": topics,
        "not_known": list(not_known),
        "committed_total": _total(committed),
        "end_total": _total([partition.latest for partition in sample.partitions]),
    }


def _nothing(group: str) -> dict[str, Any]:
    return {
        "group": group,
        "state": None,
        "members": None,
        "lag_records": None,
        "time_lag_s": None,
        "verdict": Verdict.UNKNOWN.value,
        "evidence": "nothing could be read",
        "eta_s": None,
        "topics": [],
        "committed_total": None,
        "end_total": None,
    }


def _key(partition: PartitionSample) -> tuple[str, int]:
    return partition.topic, partition.partition
