"""What one or two reads of a consumer group prove about its lag, and nothing more.

One read proves DATA_LOST, NEVER_COMMITTED, RESIDUAL (the unread tail is in the DLQ) and OK at lag 0. Two reads
also prove a commit that went back, a commit that stood still, and that everything there at the first read has
been committed since. Rates need a window of at least two commit intervals: a committer that commits each minute
makes a sawtooth, and two points on a sawtooth prove any speed one likes. What is not proved is UNKNOWN, with all
its numbers; UNKNOWN outranks CATCHING_UP, RESIDUAL and OK, so it is never shown as healthy.

Rules per partition, the worst partition is the group's verdict. "No members" alone proves nothing: Flink and
assign() consumers never have members, so STOPPED is given to sink connectors only, which always have them.
Knows no Kafka client, no clock and no thresholds but those it is handed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bot.lag.ladder import Ladder, TimeLag
from bot.lag.track import GroupTrack
from bot.lag.verdict import Verdict
from bot.model import (
    FlinkJob,
    GroupKind,
    GroupOffsets,
    Objective,
    PartitionKey,
    PartitionOffsets,
    Retention,
    counted,
)

# The defaults of `auto.commit.interval.ms` (Java consumer) and `offset.flush.interval.ms` (Connect worker). A
# checkpoint interval has no default. Enough to size a window for rates; too weak to call a consumer stuck.
ASSUMED_COMMIT_INTERVAL_S: Mapping[GroupKind, float] = {GroupKind.CONSUMER: 5.0, GroupKind.CONNECT_SINK: 60.0}

# Two reads closer than this are one read: the second committed fetch may be served before a commit in flight.
MIN_WINDOW_S = 1.0

# A restarting task leaves its group and is back within seconds; a group without members at two reads this far
# apart has nobody who could commit, whatever the commit interval.
DESERTED_FOR_S = 30.0

DEFAULT_OBJECTIVE = Objective()
FROZEN_INTERVALS = 3
RATE_INTERVALS = 2


@dataclass(frozen=True)
class Beside:
    """What is known of a group beside its offsets; what is absent is not known, and said so where it matters.

    `commit_interval_s` is the configured one. `horizon_s` is how long an on-call needs to act: LOSS_IMMINENT looks that
    far ahead. `dead_lettered` are offsets that the DLQ's headers name. `holds_record` tells whether the unread tail
    holds a record at all. `ladders` are answers of `ListOffsets(timestamp)`. `job` is the Flink job where its REST is
    configured, `job_error` why it is not known there.
    """

    objective: Objective = DEFAULT_OBJECTIVE
    kind: GroupKind = GroupKind.CONSUMER
    commit_interval_s: float | None = None
    horizon_s: float = 8 * 3600.0
    dead_lettered: Mapping[PartitionKey, frozenset[int]] = field(default_factory=dict)
    holds_record: Mapping[PartitionKey, bool] = field(default_factory=dict)
    retention: Mapping[str, Retention] = field(default_factory=dict)
    ladders: Mapping[PartitionKey, Ladder] = field(default_factory=dict)
    job: FlinkJob | None = None
    job_error: str = ""


@dataclass(frozen=True)
class PartitionJudgement:
    """One partition's verdict; `lag_records` and `eta_s` are None when not known."""

    topic: str
    partition: int
    verdict: Verdict
    evidence: str
    lag_records: int | None
    eta_s: int | None = None


@dataclass(frozen=True)
class Judgement:
    """`lag_records` is None unless the lag of every partition that ever committed is known; `at_least_records` sums
    what is known. `eta_s` is the slowest partition's, between `eta_min_s` and `eta_max_s`; rates are records a second.
    """

    verdict: Verdict
    evidence: str
    lag_records: int | None
    at_least_records: int
    eta_s: int | None
    partitions: tuple[PartitionJudgement, ...]
    eta_min_s: int | None = None
    eta_max_s: int | None = None
    time_lag: TimeLag | None = None
    time_lag_unknown: str = ""
    """Why there is no time lag, where there is unread data."""
    consumed_per_s: float | None = None
    produced_per_s: float | None = None
    advice: tuple[str, ...] = ()
    """What to do about it, each a sentence; never "scale it" where members are not what is lacking."""
    not_known: tuple[str, ...] = ()


@dataclass(frozen=True)
class Circumstances:
    """What a partition is judged by beside its own offsets.

    `window_s` is the time between the two reads; `interval_s` the known commit interval, `assumed_interval_s` that or
    the default of the kind. `deserted`: a sink connector's group without any member; `deserted_before`: at the read
    before, too.
    """

    window_s: float
    members: int | None
    deserted: bool
    over_warn: bool
    interval_s: float | None
    assumed_interval_s: float | None
    deserted_before: bool = False


_Judged = Callable[..., PartitionJudgement]


def judge_group(track: GroupTrack, beside: Beside) -> Judgement:
    """Return the group's verdict by the newest read and those before it."""
    newest = track.newest
    earlier = [read for read in track.reads if read.at < newest.at]
    # More than one earlier read: each proves something different, and only UNKNOWN proves nothing.
    return min(
        [_judge(newest, beside, read) for read in earlier] or [_judge(newest, beside, None)],
        key=lambda one: (one.verdict is Verdict.UNKNOWN, one.verdict.rank),
    )


def _judge(now: GroupOffsets, beside: Beside, previous: GroupOffsets | None) -> Judgement:
    """Return the group's verdict: its worst partition's, with that partition's evidence.

    A partition to which nothing was ever written and never committed does not count against the group: there is
    nothing to commit. No partitions at all is UNKNOWN: silence is not health.
    """
    lags = [sample.lag_records for sample in now.partitions if sample.lag_records is not None]
    at_least_records = sum(lags)
    lag_records = at_least_records if lags and not any(sample.lag_is_unknown for sample in now.partitions) else None
    circumstances = Circumstances(
        window_s=(now.at - previous.at).total_seconds() if previous else 0.0,
        members=now.members,
        deserted=_is_deserted(now, beside.kind),
        deserted_before=previous is not None and _is_deserted(previous, beside.kind),
        over_warn=at_least_records > beside.objective.lag_warn.records,
        interval_s=beside.commit_interval_s,
        assumed_interval_s=beside.commit_interval_s or ASSUMED_COMMIT_INTERVAL_S.get(beside.kind),
    )
    before = {sample.key: sample for sample in (previous.partitions if previous else ())}
    partitions = tuple(
        judge_partition(
            sample, before.get(sample.key), circumstances, beside.dead_lettered.get(sample.key, frozenset())
        )
        for sample in now.partitions
    )
    counted = [
        judged
        for judged, sample in zip(partitions, now.partitions, strict=True)
        if not (judged.verdict is Verdict.NEVER_COMMITTED and sample.latest == 0)
    ]
    if not counted:
        none = "no partitions are known" if not partitions else "nothing was ever written to its partitions"
        return Judgement(Verdict.UNKNOWN, none, lag_records, at_least_records, None, partitions)
    worst = min(counted, key=lambda judged: (judged.verdict.rank, -(judged.lag_records or 0)))
    etas = [judged.eta_s for judged in counted if judged.eta_s is not None]
    return Judgement(
        verdict=worst.verdict,
        evidence=_group_evidence(worst, counted, lag_records),
        lag_records=lag_records,
        at_least_records=at_least_records,
        eta_s=max(etas) if worst.verdict is Verdict.CATCHING_UP and etas else None,
        partitions=partitions,
    )


def _is_deserted(sample: GroupOffsets, kind: GroupKind) -> bool:
    return kind is GroupKind.CONNECT_SINK and sample.state == "EMPTY" and sample.members == 0


def judge_partition(
    now: PartitionOffsets,
    previous: PartitionOffsets | None,
    circumstances: Circumstances,
    dead_lettered: frozenset[int] = frozenset(),
) -> PartitionJudgement:
    """Return what one partition's offsets prove; the rules stand worst first."""

    def judged(verdict: Verdict, evidence: str, eta_s: int | None = None) -> PartitionJudgement:
        return PartitionJudgement(now.topic, now.partition, verdict, evidence, now.lag_records, eta_s)

    if not now.committed_known:
        return judged(Verdict.UNKNOWN, f"committed offset not known: {now.error or 'not answered'}")
    if now.committed is None:
        return judged(Verdict.NEVER_COMMITTED, _never_committed(now))
    if now.earliest is not None and now.committed < now.earliest:
        lost = now.earliest - now.committed
        span = f"offsets {now.committed:,}..{now.earliest - 1:,}"
        return judged(Verdict.DATA_LOST, f"up to {counted(lost, 'record')} deleted before they were read: {span}")
    if now.latest is None or now.earliest is None:
        return judged(Verdict.UNKNOWN, f"log offsets not known: {now.error or 'not answered'}")
    if now.committed > now.latest:
        # Committed is read before the end, so this is no race: the topic was recreated or truncated.
        return judged(
            Verdict.UNKNOWN,
            f"committed {now.committed:,} is beyond the log end {now.latest:,}: was the topic recreated?",
        )
    two_reads = previous is not None and previous.committed is not None and circumstances.window_s >= MIN_WINDOW_S
    if two_reads and previous is not None and previous.committed is not None and now.committed < previous.committed:
        back = previous.committed - now.committed
        return judged(
            Verdict.REWOUND,
            f"the commit went back {counted(back, 'record')} in {_seconds(circumstances.window_s)}: "
            f"{previous.committed:,} -> {now.committed:,}",
        )
    if now.committed == now.latest:
        return judged(Verdict.OK, f"all read: committed {now.committed:,} is the log end")
    if dead_lettered.issuperset(range(now.committed, now.latest)):
        unread = now.latest - now.committed
        return judged(
            Verdict.RESIDUAL,
            f"the unread tail is in the DLQ: {counted(unread, 'record')} from offset {now.committed:,}; "
            "a sink commits no offset for a dead-lettered tail",
        )
    if not two_reads or previous is None or previous.committed is None or previous.latest is None:
        unread = now.latest - now.committed
        return judged(Verdict.UNKNOWN, f"{unread:,} unread, one sample: ask again in 30 s, or `cdc watch`")
    return _judge_movement(now, previous, circumstances, judged)


def _judge_movement(
    now: PartitionOffsets, previous: PartitionOffsets, circumstances: Circumstances, judged: _Judged
) -> PartitionJudgement:
    """Judge unread data by what happened between two reads of known offsets."""
    committed, latest = now.committed or 0, now.latest or 0
    before, before_end = previous.committed or 0, previous.latest or 0
    window_s, unread = circumstances.window_s, latest - committed
    window = _seconds(window_s)
    consumed, produced = committed - before, max(0, latest - before_end)

    if consumed == 0 and before >= before_end:
        return judged(Verdict.UNKNOWN, f"{unread:,} unread, all written in the last {window}: too new to judge")
    if consumed == 0:
        return _judge_frozen(unread, committed, circumstances, judged)
    if committed >= before_end and not circumstances.over_warn:
        return judged(Verdict.OK, f"{unread:,} unread; all that was unread {window} ago is committed")

    interval_s = circumstances.assumed_interval_s
    if interval_s is None or window_s < RATE_INTERVALS * interval_s:
        lacking = (
            "its commit interval is not known"
            if interval_s is None
            else f"a rate needs {_seconds(RATE_INTERVALS * interval_s)}"
        )
        return judged(Verdict.UNKNOWN, f"{unread:,} unread, {consumed:,} committed in {window}: {lacking}")
    rates = f"reads {consumed / window_s:,.1f}/s, {produced / window_s:,.1f}/s written, over {window}"
    if consumed > produced:
        eta_s = round(unread * window_s / (consumed - produced))
        return judged(Verdict.CATCHING_UP, f"{unread:,} unread, {rates}: level in about {_seconds(eta_s)}", eta_s)
    if consumed < produced and circumstances.over_warn:
        return judged(Verdict.FALLING_BEHIND, f"{unread:,} unread, {rates}")
    return judged(Verdict.UNKNOWN, f"{unread:,} unread, {rates}: neither gaining nor over the warn line")


def _judge_frozen(unread: int, committed: int, circumstances: Circumstances, judged: _Judged) -> PartitionJudgement:
    """Judge unread data whose commit did not move.

    It takes three commit intervals to prove anything; for a sink without members see DESERTED_FOR_S.
    """
    window = _seconds(circumstances.window_s)
    if circumstances.deserted and circumstances.assumed_interval_s is not None:
        long_s = FROZEN_INTERVALS * circumstances.assumed_interval_s
        if circumstances.window_s >= (min(long_s, DESERTED_FOR_S) if circumstances.deserted_before else long_s):
            return judged(
                Verdict.STOPPED, f"{unread:,} unread, no commit in {window}, no task is a member of the group"
            )
        return judged(
            Verdict.UNKNOWN, f"{unread:,} unread, no task is a member of the group, no commit in {window} yet"
        )
    if circumstances.interval_s is None:
        return judged(Verdict.UNKNOWN, f"{unread:,} unread, no commit in {window}; its commit interval is not known")
    if circumstances.window_s < FROZEN_INTERVALS * circumstances.interval_s:
        intervals = f"{FROZEN_INTERVALS} commit intervals of {_seconds(circumstances.interval_s)}"
        return judged(Verdict.UNKNOWN, f"{unread:,} unread, no commit in {window}: less than {intervals}")
    if not circumstances.members:
        return judged(Verdict.UNKNOWN, f"{unread:,} unread, no commit in {window}, no member is known")
    return judged(
        Verdict.STUCK,
        f"{unread:,} unread, commit frozen at {committed:,} for {window}, "
        f"{counted(circumstances.members, 'member')} alive",
    )


def _never_committed(now: PartitionOffsets) -> str:
    if now.latest is None or now.earliest is None:
        return "no offset was ever committed"
    if now.latest == 0:
        return "no offset was ever committed, nothing was ever written"
    return f"no offset was ever committed; the log holds {counted(now.latest - now.earliest, 'record')}"


def _group_evidence(worst: PartitionJudgement, known: list[PartitionJudgement], lag_records: int | None) -> str:
    same = sum(judged.verdict is worst.verdict for judged in known)
    if worst.verdict is Verdict.OK:
        return f"lag {lag_records or 0:,} over {counted(len(known), 'partition')}: " + (
            "all read" if not lag_records else "commits keep up"
        )
    others = f" (and {counted(same - 1, 'more partition')})" if same > 1 else ""
    return f"{worst.topic}/{worst.partition}: {worst.evidence}{others}"


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
