"""The verdict on a consumer group's lag: what its reads and what is beside them prove, and nothing more.

Rules per partition (`partition.py`); the worst partition's verdict is the group's, never that of a sum. Some verdicts
are the group's own: NOT_CHECKPOINTING, SKEWED and FLAPPING. The worse of both is given, with its evidence. What is not
proved is UNKNOWN, with all its numbers; UNKNOWN outranks CATCHING_UP, RESIDUAL and OK, so it is never shown as healthy.

Who could commit (`life.py`) and how often (`interval.py`) are known of the whole group. The lag is held against its
warn line with each partition at the trough of its sawtooth. Knows no Kafka client, no clock and no thresholds but those
it is handed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.lag.advice import advice_for, more_readers
from bot.lag.age import group_time_lag, margins_of, was_never_read
from bot.lag.checkpoints import checkpoint_interval_s, not_checkpointing
from bot.lag.flapping import flapping_of
from bot.lag.interval import Interval, interval_of
from bot.lag.ladder import Ladder, TimeLag
from bot.lag.life import RUNNING, readers_of
from bot.lag.partition import Circumstances, PartitionJudgement, judge_partition, past_loss
from bot.lag.rates import TREND_INTERVALS, TREND_S
from bot.lag.skew import Skew, owner_of, skew_of
from bot.lag.track import GroupTrack, PartitionTrack
from bot.lag.verdict import Verdict
from bot.model import (
    FlinkJob,
    GroupKind,
    GroupOffsets,
    Objective,
    PartitionKey,
    Retention,
    counted,
)

DEFAULT_OBJECTIVE = Objective()

# The shortest window for the rates of a group whose commit interval nothing tells.
RATES_AT_LEAST_S = 60.0

LOSSES_TOLD = 5

_DRAINING = frozenset({Verdict.CATCHING_UP, Verdict.RESIDUAL, Verdict.OK})
_MAY_HAVE_ETA = frozenset({Verdict.CATCHING_UP, Verdict.SKEWED, Verdict.FLAPPING})


@dataclass(frozen=True)
class Beside:
    """What is known of a group beside its offsets; what is absent is not known, and said so where it matters.

    `commit_interval_s` is the configured one. `horizon_s` is how long an on-call needs to act: LOSS_IMMINENT looks that
    far ahead. `dead_lettered` are offsets that the DLQ's headers name. `holds_record` tells whether the unread tail
    holds a record at all; `unseen_tails` are those of which that was asked and not told. `ladders` are answers of
    `ListOffsets(timestamp)`. `job` is the Flink job where its REST is configured, `job_error` why it is not known.
    """

    objective: Objective = DEFAULT_OBJECTIVE
    kind: GroupKind = GroupKind.CONSUMER
    commit_interval_s: float | None = None
    horizon_s: float = 8 * 3600.0
    dead_lettered: Mapping[PartitionKey, frozenset[int]] = field(default_factory=dict)
    holds_record: Mapping[PartitionKey, bool] = field(default_factory=dict)
    unseen_tails: frozenset[PartitionKey] = frozenset()
    retention: Mapping[str, Retention] = field(default_factory=dict)
    ladders: Mapping[PartitionKey, Ladder] = field(default_factory=dict)
    job: FlinkJob | None = None
    job_error: str = ""


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
    """Why there is no time lag, or no upper bound of it, though offsets by timestamp were asked."""
    consumed_per_s: float | None = None
    produced_per_s: float | None = None
    advice: tuple[str, ...] = ()
    """What to do about it, each a sentence; never "scale it" where members are not what is lacking."""
    losses: tuple[str, ...] = ()
    """What was lost lately and the commit has passed since: no verdict shows it any more, and it stays lost."""
    not_known: tuple[str, ...] = ()
    trough_records: int | None = None
    """What to hold against a threshold: `at_least_records` with the partitions of a slow committer as they stood after
    their commit. Peaks of its sawtooth are no breach. None: no lag is known."""
    commit_interval_s: float | None = None
    """Configured, told by Flink or learned; None: not known. A learned one is never below the step between reads."""


def judge_group(track: GroupTrack, beside: Beside) -> Judgement:
    """Return the group's verdict by the newest read and what the track remembers of those before it.

    A partition to which nothing was ever written and never committed does not count against the group: there is
    nothing to commit. No partitions at all is UNKNOWN: silence is not health.
    """
    now, at_s, kind = track.newest, track.total.at_s, beside.kind
    interval = interval_of(track, kind, beside.commit_interval_s, checkpoint_interval_s(beside.job))
    lags, is_known = _lags(now)
    at_least_records = sum(lags.values())
    troughs = _troughs(now, track, lags, interval)
    trough_records = sum(troughs.values())
    over_warn = trough_records > beside.objective.lag_warn.records
    circumstances = Circumstances(
        at_s=at_s,
        kind=kind,
        interval=interval,
        readers=readers_of(track, kind, interval, beside.job, beside.job_error),
        over_warn=over_warn,
        warn_records=beside.objective.lag_warn.records,
        dead_lettered=beside.dead_lettered,
        holds_record=beside.holds_record,
        unseen_tails=beside.unseen_tails,
        margins=margins_of(now, beside.ladders, beside.retention, beside.horizon_s) if beside.retention else {},
        job=beside.job,
    )
    partitions = tuple(
        [
            judge_partition(one, tracked, circumstances)
            for one, tracked in zip(now.partitions, track.partitions, strict=True)
        ]
    )
    lag_records = at_least_records if lags and is_known else None
    known_interval_s = interval.seconds if interval is not None and interval.is_proved else None
    time_lag, time_lag_unknown = group_time_lag(now, lags, is_known, beside.ladders, beside.holds_record)
    consumed_per_s, produced_per_s = _rates(track, interval)
    skew = skew_of(now.partitions, track.partitions, troughs, now.membership, at_s) if over_warn else None
    verdict, evidence, advice = _verdict(track, beside, interval, partitions, lags, skew, lag_records)
    eta = _eta(verdict, partitions)
    passed = _past_losses(track, kind)
    return Judgement(
        verdict=verdict,
        evidence=evidence,
        lag_records=lag_records,
        at_least_records=at_least_records,
        eta_s=eta[0],
        partitions=partitions,
        eta_min_s=eta[1],
        eta_max_s=eta[2],
        time_lag=time_lag,
        time_lag_unknown=time_lag_unknown,
        consumed_per_s=consumed_per_s,
        produced_per_s=produced_per_s,
        advice=advice,
        losses=tuple(line for is_proved, line in passed if is_proved),
        not_known=tuple(line for is_proved, line in passed if not is_proved),
        trough_records=trough_records if lags else None,
        commit_interval_s=known_interval_s,
    )


def _past_losses(track: GroupTrack, kind: GroupKind) -> list[tuple[bool, str]]:
    """Return what was deleted lately and is passed by the commit, a few of them: proved or not, and in words."""
    rows = zip(track.newest.partitions, track.partitions, strict=True)
    lost = [(one, tracked) for one, tracked in rows if tracked is not None and tracked.loss is not None]
    found = [past_loss(one, tracked, track.total.at_s, kind) for one, tracked in lost]
    told = [one for one in found if one is not None]
    return [each for proved in (True, False) for each in _few([one for one in told if one[0] is proved])]


def _few(told: list[tuple[bool, str]]) -> list[tuple[bool, str]]:
    if len(told) <= LOSSES_TOLD:
        return told
    is_proved, line = told[LOSSES_TOLD - 1]
    more = counted(len(told) - LOSSES_TOLD, "more partition")
    return [*told[: LOSSES_TOLD - 1], (is_proved, f"{line} (and so of {more})")]


def _verdict(
    track: GroupTrack,
    beside: Beside,
    interval: Interval | None,
    partitions: tuple[PartitionJudgement, ...],
    lags: Mapping[PartitionKey, int],
    skew: Skew | None,
    lag_records: int | None,
) -> tuple[Verdict, str, tuple[str, ...]]:
    """Return the worst of the partitions' and the group's own verdicts, with its evidence and advice."""
    now, kind = track.newest, beside.kind
    worst, same = _worst(partitions, now)
    if worst is None:
        none = "no partitions are known" if not partitions else "nothing was ever written to its partitions"
        verdict, evidence = Verdict.UNKNOWN, none
    else:
        verdict, evidence = worst.verdict, _group_evidence(worst, same, len(partitions), lag_records)
    flapping = flapping_of(track.changes, track.total.at_s, kind) if track.changes else None
    own: list[tuple[Verdict, str]] = []
    if beside.job is not None:
        due_s = checkpoint_interval_s(beside.job) or (interval.seconds if interval is not None else None)
        has_unread = any(lags.values()) or any(map(was_never_read, now.partitions))
        failing = not_checkpointing(beside.job, due_s, has_unread, now.at)
        if failing:
            own.append((Verdict.NOT_CHECKPOINTING, failing))
    if skew is not None and len(track.reads) > 1:
        own.append((Verdict.SKEWED, skew.evidence))
    if flapping is not None:
        own.append((Verdict.FLAPPING, flapping.evidence))
    if skew is not None and verdict is Verdict.FALLING_BEHIND:
        evidence = f"{evidence}; {skew.evidence}"
    for candidate, line in own:
        if candidate.rank < verdict.rank:
            verdict, evidence = candidate, line
    if verdict is Verdict.OK and beside.job is not None and beside.job.state != RUNNING:
        evidence = f"{evidence}, though Flink job {beside.job.job} is {beside.job.state}"
    if verdict.rank >= Verdict.NEVER_COMMITTED.rank:
        return verdict, evidence, ()
    read = sum(one.committed is not None for one in now.partitions)
    hot = f"{skew.key[0]}/{skew.key[1]}" if skew is not None else ""
    owner = "" if worst is None else owner_of((worst.topic, worst.partition), now.membership)
    advice = advice_for(
        verdict,
        kind,
        more_readers(kind, now.members, max(1, read), hot),
        skew.advice if skew is not None else "",
        flapping.advice if flapping is not None else (),
        owner,
        now.group,
    )
    return verdict, evidence, advice


def _worst(partitions: Sequence[PartitionJudgement], now: GroupOffsets) -> tuple[PartitionJudgement | None, int]:
    """Return the worst partition, of equals the one with the most lag, and how many have its verdict."""
    by_verdict: dict[Verdict, int] = {}
    for judged in partitions:
        by_verdict[judged.verdict] = by_verdict.get(judged.verdict, 0) + 1
    if Verdict.NEVER_COMMITTED in by_verdict:
        ends = {one.key: one.latest for one in now.partitions}
        partitions = [
            judged
            for judged in partitions
            if judged.verdict is not Verdict.NEVER_COMMITTED or ends[judged.topic, judged.partition] != 0
        ]
        written = sum(judged.verdict is Verdict.NEVER_COMMITTED for judged in partitions)
        by_verdict[Verdict.NEVER_COMMITTED] = written
    verdict = min((one for one, count in by_verdict.items() if count), key=lambda one: one.rank, default=None)
    if verdict is None:
        return None, 0
    same = [judged for judged in partitions if judged.verdict is verdict]
    worst = min(same, key=lambda judged: (-(judged.lag_records or 0), judged.topic, judged.partition))
    return worst, len(same)


def _group_evidence(worst: PartitionJudgement, same: int, count: int, lag_records: int | None) -> str:
    if worst.verdict is Verdict.OK:
        return f"lag {lag_records or 0:,} over {counted(count, 'partition')}: " + (
            "all read" if not lag_records else "commits keep up"
        )
    others = f" (and {counted(same - 1, 'more partition')})" if same > 1 else ""
    return f"{worst.topic}/{worst.partition}: {worst.evidence}{others}"


def _lags(now: GroupOffsets) -> tuple[dict[PartitionKey, int], bool]:
    """Return the lags that are known, and whether those of all partitions that ever committed are."""
    lags: dict[PartitionKey, int] = {}
    is_known = True
    for one in now.partitions:
        committed, latest = one.committed, one.latest
        if committed is not None and latest is not None and committed <= latest:
            lags[one.topic, one.partition] = latest - committed
        elif committed is not None or not one.committed_known:
            is_known = False
    return lags, is_known


def _troughs(
    now: GroupOffsets, track: GroupTrack, lags: Mapping[PartitionKey, int], interval: Interval | None
) -> Mapping[PartitionKey, int]:
    """Return each lag as it stood after a commit, the lesser of the last two, while commits come when they are due."""
    if interval is None or not interval.is_sawtooth:
        return lags
    at_s = track.total.at_s
    return {
        one.key: _trough(lags[one.key], tracked, interval, at_s)
        for one, tracked in zip(now.partitions, track.partitions, strict=True)
        if one.key in lags
    }


def _trough(lag: int, tracked: PartitionTrack | None, interval: Interval, at_s: float) -> int:
    if tracked is None or not tracked.has_moved or tracked.unread_s is None:
        return lag
    if at_s - tracked.unread_s > interval.frozen_s:
        return lag
    after = [point.latest - point.committed for point in tracked.points[-2:] if point.at_s > tracked.first_s]
    return min(lag, *after)


def _rates(track: GroupTrack, interval: Interval | None) -> tuple[float | None, float | None]:
    """Return records a second committed and written, over the last TREND_S or what it takes for two commits.

    Commits are counted from one to another, so that a slow committer's rate does not depend on when one looks; up to
    now when they have ceased.
    """
    at_s, seconds = track.total.at_s, RATES_AT_LEAST_S / TREND_INTERVALS if interval is None else interval.seconds
    since_s = at_s - max(TREND_S, TREND_INTERVALS * seconds)
    totals = track.totals
    first = totals[0]
    if first.at_s <= since_s:
        first = next(total for total in reversed(totals) if total.at_s <= since_s)
    last, window_s = totals[-1], at_s - first.at_s
    if window_s < TREND_INTERVALS * seconds:
        return None, None
    produced_per_s = (track.total.produced - first.produced) / window_s
    committed_s = last.at_s - first.at_s
    if committed_s < TREND_INTERVALS * seconds or (interval is not None and at_s - last.at_s > interval.frozen_s):
        committed_s = window_s
    return (last.consumed - first.consumed) / committed_s, produced_per_s


def _eta(verdict: Verdict, partitions: Sequence[PartitionJudgement]) -> tuple[int | None, int | None, int | None]:
    """Return (about, min, max): the slowest partition counts. None where one of them is not draining."""
    if verdict not in _MAY_HAVE_ETA or any(judged.verdict not in _DRAINING for judged in partitions):
        return None, None, None
    slow = [judged for judged in partitions if judged.eta_s is not None]
    if not slow:
        return None, None, None
    maxima = [judged.eta_max_s for judged in slow]
    return (
        max(judged.eta_s or 0 for judged in slow),
        max(judged.eta_min_s or 0 for judged in slow),
        None if None in maxima else max(one or 0 for one in maxima),
    )
