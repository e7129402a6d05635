"""What one partition's reads prove, by rules that stand worst first.

One read proves DATA_LOST, LOSS_IMMINENT, NEVER_COMMITTED, RESIDUAL and OK at lag 0. The others need reads over time:
a commit that stands still beside unread data is judged after three commit intervals, a speed over two of them. What is
not proved is UNKNOWN, with its numbers.

The lag is held against its warn line at the trough of the sawtooth that a slow committer makes, never at the peak.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from bot.lag.interval import FROZEN_INTERVALS, Interval
from bot.lag.life import ENDED, Life, Readers
from bot.lag.rates import TREND_INTERVALS, Eta, Trend, eta_of, trend_of
from bot.lag.retention import Margin
from bot.lag.track import PartitionTrack
from bot.lag.verdict import Verdict
from bot.lag.words import between, in_words
from bot.model import FlinkJob, GroupKind, PartitionKey, PartitionOffsets, counted

# What was unread this long ago and has been committed since is no delay that anybody would call one.
KEEPS_UP_S = 120.0

# A reader of committed transactions stands at the last stable offset, or before the markers that precede it.
NEAR_STABLE_RECORDS = 10

# What an exactly-once pipeline leaves at the end of an idle partition: the markers of its last transactions.
MARKER_RECORDS = 3

DELETED_TOPIC = ("unknown topic", "unknown_topic", "does not exist", "no longer exists", "no such topic")

# Kafka Streams deletes the records of its repartition topics as soon as it has committed them.
PURGED = "-repartition"

# A loss that the commit has passed is told for so long.
LOSS_TOLD_S = 86_400.0

_NO_RECORDS = "transaction markers, aborted or compacted records"


class PartitionJudgement(NamedTuple):
    """One partition's verdict; `lag_records` and `eta_s` are None when not known."""

    topic: str
    partition: int
    verdict: Verdict
    evidence: str
    lag_records: int | None
    eta_s: int | None = None
    eta_min_s: int | None = None
    eta_max_s: int | None = None


class Circumstances(NamedTuple):
    """What a partition is judged by beside its own offsets, the same for all of a group.

    `over_warn`: the group's lag, each partition at its trough, is over `warn_records`. `margins` are those of
    partitions with unread data, where retention is known.
    """

    at_s: float
    kind: GroupKind
    interval: Interval | None
    readers: Readers
    over_warn: bool
    warn_records: int
    dead_lettered: Mapping[PartitionKey, frozenset[int]]
    holds_record: Mapping[PartitionKey, bool]
    margins: Mapping[PartitionKey, Margin]
    unseen_tails: frozenset[PartitionKey] = frozenset()
    job: FlinkJob | None = None


_Judged = Callable[..., PartitionJudgement]


def judge_partition(
    now: PartitionOffsets, track: PartitionTrack | None, circumstances: Circumstances
) -> PartitionJudgement:
    """Return the partition's verdict by the newest offsets and what its track remembers."""
    committed, latest, earliest = now.committed, now.latest, now.earliest
    if (
        committed == latest
        and committed is not None
        and earliest is not None
        and earliest <= committed
        and (track is None or track.rewind is None)
        and now.committed_known
    ):
        return PartitionJudgement(
            now.topic, now.partition, Verdict.OK, f"all read: committed {committed:,} is the log end", 0
        )
    lag_records = now.lag_records

    def judged(verdict: Verdict, evidence: str, eta: Eta | None = None) -> PartitionJudgement:
        if eta is None:
            return PartitionJudgement(now.topic, now.partition, verdict, evidence, lag_records)
        return PartitionJudgement(
            now.topic, now.partition, verdict, evidence, lag_records, eta.about_s, eta.min_s, eta.max_s
        )

    if now.error and any(word in now.error.lower() for word in DELETED_TOPIC):
        held = "" if committed is None else f"; the group still holds offset {committed:,} of it"
        return judged(Verdict.UNKNOWN, f"topic {now.topic} does not exist any more{held}")
    if not now.committed_known:
        return judged(Verdict.UNKNOWN, f"committed offset not known: {now.error or 'not answered'}")
    if committed is None:
        return judged(Verdict.NEVER_COMMITTED, _never_committed(now, track))
    if earliest is not None and committed < earliest:
        if circumstances.holds_record.get(now.key) is False:
            gone = f"nothing to read was deleted: offsets {committed:,}..{earliest - 1:,} held {_NO_RECORDS}"
            return judged(Verdict.RESIDUAL, gone)
        if now.topic.endswith(PURGED) and (track is None or track.moved_s >= circumstances.at_s):
            gap = f"committed {committed:,}, the log begins at {earliest:,} a moment later"
            why = "Kafka Streams deletes what it has committed, only a commit that stands still would prove a loss"
            return judged(Verdict.UNKNOWN, f"{gap}: {why}")
        return judged(Verdict.DATA_LOST, _data_lost(committed, earliest, circumstances))
    if latest is None or earliest is None:
        return judged(Verdict.UNKNOWN, f"log offsets not known: {now.error or 'not answered'}")
    if committed > latest:
        # Committed is read before the end, so this is no race: the topic was recreated or truncated.
        return judged(
            Verdict.UNKNOWN, f"committed {committed:,} is beyond the log end {latest:,}: was the topic recreated?"
        )
    return _judge_unread(now, track, circumstances, judged, committed, latest)


def _judge_unread(
    now: PartitionOffsets,
    track: PartitionTrack | None,
    circumstances: Circumstances,
    judged: _Judged,
    committed: int,
    latest: int,
) -> PartitionJudgement:
    """Judge known offsets with something unread, or a rewind behind them."""
    unread, at_s = latest - committed, circumstances.at_s
    if unread:
        residue = _residue(now, circumstances, committed, unread)
        if residue:
            return judged(Verdict.RESIDUAL, residue)
    if circumstances.margins:
        margin = circumstances.margins.get(now.key)
        if margin is not None and margin.is_imminent and not _keeps_ahead(track, committed, at_s, margin):
            return judged(Verdict.LOSS_IMMINENT, _loss_imminent(unread, margin))
    one_sample = track is None or (at_s <= track.first_s and track.rewind is None)
    readers = circumstances.readers
    if one_sample and not (unread and readers.life is Life.GONE and readers.frozen_s == 0):
        return judged(Verdict.UNKNOWN, f"{unread:,} unread, one sample: ask again in 30 s, or `cdc watch`")
    if track is None:
        return judged(Verdict.STOPPED, f"{unread:,} unread, {readers.reason}")
    frozen_s = 0.0 if track.unread_s is None else at_s - track.unread_s
    if unread and frozen_s >= _blocked_after_s(circumstances) and not _is_deserted_sink(circumstances):
        blocked = _blocked(track, committed, latest, at_s, circumstances)
        if blocked:
            return judged(Verdict.BLOCKED_BY_TXN, f"{unread:,} unread, {blocked}")
    if unread and frozen_s >= readers.frozen_s and readers.life is not Life.NOT_KNOWN:
        if _may_be_markers(now, unread, circumstances):
            line = (
                f"{unread:,} unread, no commit in {in_words(frozen_s)}: whether it is a record or transaction markers"
            )
            return judged(Verdict.UNKNOWN, f"{line} is not known, the tail could not be read")
        return _judge_frozen(unread, committed, frozen_s, circumstances, judged)
    if track.rewind is not None:
        return judged(Verdict.REWOUND, _rewound(track, committed, at_s))
    return _judge_moving(track, circumstances, judged, committed, unread, frozen_s)


def _judge_frozen(
    unread: int, committed: int, frozen_s: float, circumstances: Circumstances, judged: _Judged
) -> PartitionJudgement:
    """Judge unread data whose commit has stood still long enough to prove something."""
    readers = circumstances.readers
    for_long = in_words(frozen_s)
    if readers.life is Life.GONE:
        if readers.frozen_s == 0:
            return judged(Verdict.STOPPED, f"{unread:,} unread, {readers.reason}")
        usual = (
            "" if readers.interval_s is not None or not readers.by_commits else "; how often it commits is not known"
        )
        return judged(Verdict.STOPPED, f"{unread:,} unread, no commit in {for_long}, {readers.reason}{usual}")
    assumed = (
        "" if readers.interval_s is not None else "; its commit interval is not known, the longest usual one is over"
    )
    return judged(
        Verdict.STUCK, f"{unread:,} unread, commit frozen at {committed:,} for {for_long}, {readers.reason}{assumed}"
    )


def _judge_moving(
    track: PartitionTrack,
    circumstances: Circumstances,
    judged: _Judged,
    committed: int,
    unread: int,
    frozen_s: float,
) -> PartitionJudgement:
    """Judge unread data of a partition that is committed, or has not stood still for long enough."""
    at_s, interval, over_warn = circumstances.at_s, circumstances.interval, circumstances.over_warn
    covered_s, is_committed_since = _covered(track, committed, at_s)
    if covered_s is not None and not over_warn:
        readers = circumstances.readers
        nobody = readers.life is Life.GONE and not readers.by_commits
        allowed_s = 0.0 if interval is None or nobody else interval.frozen_s
        if covered_s <= (max(allowed_s, KEEPS_UP_S) if is_committed_since else allowed_s):
            ago = in_words(covered_s)
            if is_committed_since:
                return judged(Verdict.OK, f"{unread:,} unread; all that was unread {ago} ago is committed")
            return judged(Verdict.OK, f"{unread:,} unread, all written in the last {ago}: not due yet")
    trend = None if interval is None else trend_of(track, interval, at_s)
    if trend is not None:
        return _judge_trend(trend, unread, circumstances, judged)
    if covered_s is not None and not is_committed_since:
        return judged(
            Verdict.UNKNOWN, f"{unread:,} unread, all written in the last {in_words(covered_s)}: too new to judge"
        )
    if not track.has_moved or frozen_s > 0:
        return judged(Verdict.UNKNOWN, f"{unread:,} unread, {_not_frozen_yet(frozen_s, circumstances)}")
    window_s, consumed = at_s - track.first_s, committed - track.points[0].committed
    lacking = (
        "its commit interval is not known"
        if interval is None
        else f"a rate needs three commits over {in_words(TREND_INTERVALS * interval.seconds)}"
    )
    return judged(Verdict.UNKNOWN, f"{unread:,} unread, {consumed:,} committed in {in_words(window_s)}: {lacking}")


def _judge_trend(trend: Trend, unread: int, circumstances: Circumstances, judged: _Judged) -> PartitionJudgement:
    """Judge by the rates between commits: gaining, losing, or level with what is written."""
    rates = (
        f"reads {trend.consumed_per_s:,.1f}/s, {trend.produced_per_s:,.1f}/s written, over {in_words(trend.window_s)}"
    )
    eta = eta_of(trend, circumstances.at_s)
    if eta is not None:
        until = between(eta.min_s, eta.max_s)
        return judged(Verdict.CATCHING_UP, f"{unread:,} unread, {rates}: level in {until}", eta)
    warn = f"the warn line of {circumstances.warn_records:,}"
    if not circumstances.over_warn:
        return judged(Verdict.OK, f"{unread:,} unread, under {warn}; {rates}")
    if not trend.is_level and trend.best_gain_per_s <= 0:
        return judged(Verdict.FALLING_BEHIND, f"{unread:,} unread, {rates}")
    return judged(Verdict.UNKNOWN, f"{unread:,} unread, over {warn}, {rates}: neither gaining nor losing")


def _covered(track: PartitionTrack, committed: int, at_s: float) -> tuple[float | None, bool]:
    """Return how long ago everything that was unread is committed by now, and whether by a commit since then.

    No unread record is older than that. None: at no read that is remembered.
    """
    level_s = track.level_s
    for point in reversed(track.points):
        if level_s is not None and point.at_s <= level_s:
            break
        if point.latest <= committed:
            return at_s - point.at_s, True
    return (None, False) if level_s is None else (at_s - level_s, track.moved_s > level_s)


def _may_be_markers(now: PartitionOffsets, unread: int, circumstances: Circumstances) -> bool:
    """Return whether so little is unread that it may be markers, and nobody could look. An ended job stays ended."""
    is_held = now.last_stable is not None and now.latest is not None and now.last_stable < now.latest
    is_open = now.key in circumstances.unseen_tails and unread <= MARKER_RECORDS and not is_held
    return is_open and not _is_deserted_sink(circumstances)


def _keeps_ahead(track: PartitionTrack | None, committed: int, at_s: float, margin: Margin) -> bool:
    """Return whether what is unread has not waited long, though its timestamps are old: a backfill that is being read.

    One read cannot tell. A wait as long as the horizon is no keeping ahead of a short retention.
    """
    if track is None or at_s <= track.first_s or track.rewind is not None:
        return False
    waited_s, _ = _covered(track, committed, at_s)
    return waited_s is not None and waited_s <= min(KEEPS_UP_S, margin.horizon_s / 2)


def _not_frozen_yet(frozen_s: float, circumstances: Circumstances) -> str:
    """Say what a commit that stands still does not prove yet, and why."""
    readers, for_long = circumstances.readers, f"no commit in {in_words(frozen_s)}"
    if readers.life is Life.NOT_KNOWN:
        return f"{for_long}; {readers.reason}"
    if readers.life is Life.GONE:
        return f"{readers.reason}, {for_long} yet"
    if readers.interval_s is None:
        return f"{for_long}; its commit interval is not known"
    return f"{for_long}: less than {FROZEN_INTERVALS} commit intervals of {in_words(readers.interval_s)}"


def _is_deserted_sink(circumstances: Circumstances) -> bool:
    readers = circumstances.readers
    return readers.life is Life.GONE and (circumstances.kind is GroupKind.CONNECT_SINK or _has_ended(circumstances))


def _has_ended(circumstances: Circumstances) -> bool:
    return circumstances.job is not None and circumstances.job.state in ENDED


def _blocked_after_s(circumstances: Circumstances) -> float:
    return KEEPS_UP_S / 2 if circumstances.interval is None else circumstances.interval.frozen_s


def _blocked(
    track: PartitionTrack, committed: int, latest: int, at_s: float, circumstances: Circumstances
) -> str | None:
    """Return how an open transaction holds the reader, or None: it stands at the last stable offset, and that stands.

    The log must have grown beyond it meanwhile; otherwise nothing but the transaction's own records is held back.
    """
    stable, since_s = track.last_stable, track.stable_s
    if stable is None or since_s is None or not stable - NEAR_STABLE_RECORDS <= committed <= stable:
        return None
    if at_s - since_s < _blocked_after_s(circumstances) or latest <= track.stable_end:
        return None
    grown = latest - track.stable_end
    return (
        f"held by an open transaction: committed {committed:,} is at the last stable offset {stable:,}, which has "
        f"stood for {in_words(at_s - since_s)} while {counted(grown, 'record')} were written beyond it"
    )


def _residue(now: PartitionOffsets, circumstances: Circumstances, committed: int, unread: int) -> str | None:
    """Return why the unread tail is nothing to be read, or None."""
    dead = circumstances.dead_lettered.get(now.key) if circumstances.dead_lettered else None
    if dead and unread <= len(dead) and dead.issuperset(range(committed, committed + unread)):
        return (
            f"the unread tail is in the DLQ: {counted(unread, 'record')} from offset {committed:,}; "
            "a sink commits no offset for a dead-lettered tail"
        )
    if circumstances.holds_record and circumstances.holds_record.get(now.key) is False:
        return f"nothing to read in the last {counted(unread, 'offset')} from {committed:,}: {_NO_RECORDS}"
    return None


def _rewound(track: PartitionTrack, committed: int, at_s: float) -> str:
    rewind = track.rewind
    if rewind is None:
        return ""
    back = f"the commit went back {counted(rewind.since - rewind.to, 'record')} in {in_words(rewind.took_s)}: "
    back += f"{rewind.since:,} -> {rewind.to:,}"
    if at_s <= rewind.at_s:
        return back
    left = counted(rewind.highest - committed, "record")
    return f"{back}, {in_words(at_s - rewind.at_s)} ago; {left} short of where it was"


def _loss_imminent(unread: int, margin: Margin) -> str:
    if margin.max_s == 0:
        return f"{unread:,} unread, the oldest is older than the retention: deleted at the next check"
    when = "now" if margin.max_s is None else f"{between(margin.min_s or 0.0, margin.max_s)} from now"
    return f"{unread:,} unread, retention may delete the oldest {when} (within {in_words(margin.horizon_s)})"


def _data_lost(committed: int, earliest: int, circumstances: Circumstances) -> str:
    """Say at most how many: markers and compacted records take offsets too, and what was deleted nobody can look at."""
    lost = counted(earliest - committed, "record")
    span = f"offsets {committed:,}..{earliest - 1:,}"
    line = f"up to {lost} deleted before they were read: {span}"
    if circumstances.kind is GroupKind.FLINK:
        return f"{line}; Flink reads on from its own state, not from the committed offset: it may have read them"
    return line


def past_loss(
    now: PartitionOffsets, track: PartitionTrack | None, at_s: float, kind: GroupKind
) -> tuple[bool, str] | None:
    """Return whether a loss that the commit has passed is proved, and what it was; None: there was none lately."""
    loss = None if track is None else track.loss
    if loss is None or at_s - loss.at_s > LOSS_TOLD_S or now.committed is None or now.committed < loss.until:
        return None
    span = f"{now.topic}/{now.partition}: offsets {loss.first:,}..{loss.until - 1:,}"
    ago = "just now" if at_s <= loss.at_s else f"{in_words(at_s - loss.at_s)} ago"
    if loss.is_proved:
        lost = counted(loss.until - loss.first, "record")
        whose = "; Flink may have read them" if kind is GroupKind.FLINK else ""
        return True, f"{span} were deleted before the group committed them, seen {ago}: up to {lost} lost{whose}"
    if now.topic.endswith(PURGED):
        return None
    return False, f"{span} were deleted between two reads, {ago}: whether they were read first"


def _never_committed(now: PartitionOffsets, track: PartitionTrack | None) -> str:
    if track is not None:
        return f"its committed offset is gone: expired or deleted; the last one seen was {track.committed:,}"
    if now.latest is None or now.earliest is None:
        return "no offset was ever committed"
    if now.latest == 0:
        return "no offset was ever committed, nothing was ever written"
    return f"no offset was ever committed; the log holds {counted(now.latest - now.earliest, 'record')}"
