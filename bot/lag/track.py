"""What the reads of a group so far tell: followed read by read, so that a judgement costs what one read costs.

`follow(None, read)` begins a track; `follow(track, read)` goes on. A one-shot read is a track of one read; a track over
the stored samples is the same as one over the reads they were made of.

Invariants
    A partition whose offsets did not move is shared with the track before, and costs a comparison.
    Everything kept is bounded: by a count, or by the time FLAPPING looks back.
    A partition that could not be read keeps its history, and nothing is concluded from the time it was not seen.
    A commit that went back begins a new baseline: no rate and no wait spans two baselines. So does a log end that went
    back (the topic was made anew, or cut). The highest commit is remembered until the commit has got back there.
    Waits learned over a pause in the reading say nothing of the commit interval and are left out; rates over it hold.
    So are waits in which members that had been there were gone.

Times are seconds since the epoch (`_s`), for they are compared 10,000 times in a pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from bot.lag.flapping import Change, Seen, changed, recent
from bot.model import GroupOffsets, PartitionKey, PartitionOffsets

# Two reads closer than this are one read: the second committed fetch may be served before a commit in flight. So a
# commit went back only where it was seen further on longer ago than this.
MIN_WINDOW_S = 1.0

KEPT_READS = 3
KEPT_POINTS = 8
KEPT_TOTALS = 20
KEPT_WAITS = 16
KEPT_STEPS = 8

# Where the kept points span less than this, every second one goes instead of the oldest: a `cdc watch` of 2 s must not
# shrink the window that rates are taken over.
DENSE_S = 120.0

# Reads made at the same time by two who ask may end in another order than they began, by no more than this.
OVERTAKEN_S = 60.0

# A step between reads that is this much longer than the usual one is a pause: nobody was looking.
PAUSE_STEPS = 3.0

# How long a partition that reads no longer name is remembered after its offsets last moved.
ABSENT_S = 3600.0


class Point(NamedTuple):
    """The offsets of a partition at its first read, or at a read at which the commit had moved."""

    at_s: float
    committed: int
    latest: int


class Wait(NamedTuple):
    """How long unread data waited for a commit, as far as reads can see.

    `is_whole`: it waited since the commit before, so that this is a commit interval. Otherwise it came when nothing
    else was unread, and waited for less than an interval. `proved_s` of it the commit was seen to stand still.
    """

    seconds: float
    proved_s: float
    is_whole: bool


class Total(NamedTuple):
    """Records committed and written since the track began, over all partitions."""

    at_s: float
    consumed: int
    produced: int


class Rewind(NamedTuple):
    """A commit that went back from `since` to `to`, within `took_s` before `at_s`; it had been at `highest` before."""

    at_s: float
    took_s: float
    highest: int
    since: int
    to: int


class Loss(NamedTuple):
    """Offsets `first` up to `until` that were deleted. `is_proved`: a read saw them gone, and the commit still there.

    Otherwise the commit passed them between two reads, and whether the records were read first cannot be told.
    """

    at_s: float
    first: int
    until: int
    is_proved: bool


_Dated = TypeVar("_Dated", bound=Point | Total)


class PartitionTrack(NamedTuple):
    """One partition of one baseline; a tuple, because a moving partition needs a new one at every read.

    `committed`, `latest` and `last_stable` are the newest that are known, `seen_s` is when they were new. `moved_s` is
    the last read at which the commit had moved, `unread_s` the first of the reads since then that saw unread data
    (None: nothing is unread), `level_s` the last read known to have seen none. The last stable offset stands since
    `stable_s`, when the log end was at `stable_end`; None while it is the log end. `loss` is the newest one, kept after
    the commit has passed it.
    """

    committed: int
    latest: int
    last_stable: int | None
    seen_s: float
    first_s: float
    moved_s: float
    unread_s: float | None
    level_s: float | None
    stable_s: float | None
    stable_end: int
    points: tuple[Point, ...]
    rewind: Rewind | None = None
    loss: Loss | None = None

    @property
    def has_moved(self) -> bool:
        return self.moved_s > self.first_s


NONE_ABSENT: Mapping[PartitionKey, PartitionTrack] = MappingProxyType({})
UNSEEN = Seen()


@dataclass(frozen=True, slots=True)
class GroupTrack:
    """`reads` are the last of them, oldest first; never empty. `partitions` stand as in the newest read, None where no
    read has seen both the commit and the log end behind it; `absent` are those that the newest read did not name.

    `total` is of the newest read, `totals` are of the first and of reads at which a commit had moved. `is_complete`:
    the newest read saw every partition that one before it saw. `steps` are the times between the last reads. `moved_s`
    is the last read at which any commit had moved. `memberless_s` is the first of the newest reads that all saw no
    member; `had_members`: some read saw one. `returned_s` is the read since which there are members again.
    """

    reads: tuple[GroupOffsets, ...]
    partitions: tuple[PartitionTrack | None, ...]
    total: Total
    is_complete: bool = True
    absent: Mapping[PartitionKey, PartitionTrack] = field(default_factory=lambda: NONE_ABSENT)
    steps: tuple[float, ...] = ()
    waits: tuple[Wait, ...] = ()
    totals: tuple[Total, ...] = ()
    moved_s: float | None = None
    memberless_s: float | None = None
    had_members: bool = False
    returned_s: float | None = None
    seen: Seen = UNSEEN
    changes: tuple[Change, ...] = ()

    @property
    def newest(self) -> GroupOffsets:
        return self.reads[-1]

    @property
    def step_s(self) -> float | None:
        """The usual time between reads, by the longer ones: a pair of reads close together hides no pause."""
        return sorted(self.steps)[3 * len(self.steps) // 4] if self.steps else None


def follow(track: GroupTrack | None, read: GroupOffsets) -> GroupTrack:
    """Return the track with one more read. A read that is not newer than the newest is left out.

    One that is older by far more than reads overtake each other was made by a clock that was set back: what was dated
    before is of no use any more, and to wait until the clock is there again would show an old read as the newest.
    """
    if track is None or (track.newest.at - read.at).total_seconds() > OVERTAKEN_S:
        return _begun(read)
    if read.at <= track.newest.at:
        return track
    at_s, before_s = read.at.timestamp(), track.total.at_s
    step_s, usual_s = at_s - before_s, track.step_s
    is_pause = usual_s is not None and step_s > PAUSE_STEPS * usual_s
    earlier, absent = _aligned(track, read)
    partitions: list[PartitionTrack | None] = []
    waits: list[Wait] = []
    consumed = produced = 0
    is_complete = not absent
    for now, was in zip(read.partitions, earlier, strict=True):
        committed, latest = now.committed, now.latest
        if committed is None or latest is None:
            is_complete = is_complete and was is None
            partitions.append(was)
        elif was is not None and (
            committed == was.committed
            and latest == was.latest
            and now.last_stable == was.last_stable
            and (now.earliest is None or now.earliest <= committed or _is_told(was.loss, now.earliest))
        ):
            partitions.append(was)
        elif committed > latest:
            partitions.append(None)  # not the log that was read: whatever comes next begins anew
        elif was is None or latest < was.latest:
            partitions.append(_first(now, committed, latest, at_s))
        elif committed < was.committed:
            is_one_read = at_s - was.moved_s < MIN_WINDOW_S
            partitions.append(was if is_one_read else _rewound(was, now, committed, latest, at_s, step_s))
        else:
            produced += latest - was.latest
            if committed > was.committed:
                consumed += committed - was.committed
                if not is_pause and not _was_deserted(track, was):
                    waits.append(_wait(was, at_s, before_s))
            partitions.append(_moved(was, now, committed, latest, at_s, before_s if track.is_complete else was.seen_s))
    total = Total(at_s, track.total.consumed + consumed, track.total.produced + produced)
    seen, change = changed(track.seen, read)
    memberless_s = at_s if track.memberless_s is None else track.memberless_s
    return GroupTrack(
        reads=(*track.reads, read)[-KEPT_READS:],
        partitions=tuple(partitions),
        total=total,
        is_complete=is_complete,
        absent=absent,
        steps=(*track.steps, step_s)[-KEPT_STEPS:],
        waits=(*track.waits, _typical(waits))[-KEPT_WAITS:] if waits else track.waits,
        totals=_kept(track.totals, total, KEPT_TOTALS) if consumed else track.totals,
        moved_s=at_s if consumed else track.moved_s,
        memberless_s=memberless_s if read.members == 0 else None,
        had_members=track.had_members or bool(read.members),
        returned_s=_returned_s(track, read, at_s),
        seen=seen,
        changes=recent(track.changes, change, at_s),
    )


def _was_deserted(track: GroupTrack, was: PartitionTrack) -> bool:
    """Whether members that had been there were gone for some of the wait: an outage is no commit interval."""
    is_back_later = track.returned_s is not None and track.returned_s > was.moved_s
    return track.had_members and (track.memberless_s is not None or is_back_later)


def _returned_s(track: GroupTrack, read: GroupOffsets, at_s: float) -> float | None:
    if read.members == 0:
        return None
    return at_s if read.members and track.memberless_s is not None else track.returned_s


def _begun(read: GroupOffsets) -> GroupTrack:
    at_s = read.at.timestamp()
    total = Total(at_s, 0, 0)
    return GroupTrack(
        reads=(read,),
        partitions=tuple(
            None
            if one.committed is None or one.latest is None or one.committed > one.latest
            else _first(one, one.committed, one.latest, at_s)
            for one in read.partitions
        ),
        total=total,
        totals=(total,),
        memberless_s=at_s if read.members == 0 else None,
        had_members=bool(read.members),
        seen=changed(UNSEEN, read)[0],
    )


def _aligned(
    track: GroupTrack, read: GroupOffsets
) -> tuple[tuple[PartitionTrack | None, ...], Mapping[PartitionKey, PartitionTrack]]:
    """Return the tracks in the order of the read's partitions, and those that the read does not name."""
    before = track.newest.partitions
    if not track.absent and len(before) == len(read.partitions):
        for was, now in zip(before, read.partitions, strict=True):
            if was.partition != now.partition or was.topic != now.topic:
                break
        else:
            return track.partitions, NONE_ABSENT
    known = dict(track.absent)
    known.update((was.key, one) for was, one in zip(before, track.partitions, strict=True) if one is not None)
    aligned = tuple(known.pop(now.key, None) for now in read.partitions)
    since_s = read.at.timestamp() - ABSENT_S
    return aligned, {key: one for key, one in known.items() if one.seen_s >= since_s} or NONE_ABSENT


def _first(now: PartitionOffsets, committed: int, latest: int, at_s: float) -> PartitionTrack:
    is_level = committed >= latest
    return PartitionTrack(
        committed,
        latest,
        now.last_stable,
        at_s,
        at_s,
        at_s,
        None if is_level else at_s,
        at_s if is_level else None,
        at_s if _is_held(now.last_stable, latest) else None,
        latest,
        (Point(at_s, committed, latest),),
        loss=_loss(None, now, committed, committed, latest, at_s),
    )


def _rewound(
    was: PartitionTrack, now: PartitionOffsets, committed: int, latest: int, at_s: float, step_s: float
) -> PartitionTrack:
    highest = max(was.committed, was.rewind.highest if was.rewind else 0)
    begun, rewind = _first(now, committed, latest, at_s), Rewind(at_s, step_s, highest, was.committed, committed)
    return begun._replace(rewind=rewind, loss=begun.loss or was.loss)


def _moved(
    was: PartitionTrack, now: PartitionOffsets, committed: int, latest: int, at_s: float, before_s: float
) -> PartitionTrack:
    """Return the track of a partition whose offsets went on; `before_s` is the last read known to have seen it."""
    has_moved, is_level = committed > was.committed, committed >= latest
    unread_s, level_s = was.unread_s, was.level_s
    if is_level:
        unread_s, level_s = None, at_s
    elif unread_s is None:
        unread_s, level_s = at_s, before_s
    elif has_moved:
        unread_s = at_s
    stable_s, stable_end = at_s, latest
    if was.stable_s is not None and now.last_stable == was.last_stable:
        stable_s, stable_end = was.stable_s, was.stable_end
    rewind = was.rewind
    return PartitionTrack(
        committed,
        latest,
        now.last_stable,
        at_s,
        was.first_s,
        at_s if has_moved else was.moved_s,
        unread_s,
        level_s,
        stable_s if _is_held(now.last_stable, latest) else None,
        stable_end,
        _kept(was.points, Point(at_s, committed, latest), KEPT_POINTS) if has_moved else was.points,
        None if rewind is None or committed >= rewind.highest else rewind,
        _loss(was.loss, now, was.committed, committed, was.latest, at_s),
    )


def _loss(
    known: Loss | None, now: PartitionOffsets, was_committed: int, committed: int, was_latest: int, at_s: float
) -> Loss | None:
    """Return the newest loss with this read: of what was written at the read before, and is deleted at this one."""
    earliest = now.earliest
    if earliest is None or earliest <= was_committed or _is_told(known, earliest):
        return known
    if committed < earliest:
        return Loss(at_s, committed, earliest, True)
    return Loss(at_s, was_committed, earliest, False) if earliest <= was_latest else known


def _is_told(known: Loss | None, earliest: int) -> bool:
    return known is not None and earliest <= known.until


def _is_held(last_stable: int | None, latest: int) -> bool:
    return last_stable is not None and last_stable < latest


def _wait(was: PartitionTrack, at_s: float, before_s: float) -> Wait:
    """Return how long what was unread has waited for the commit that this read shows."""
    if was.unread_s is None:
        return Wait(at_s - before_s, 0.0, False)
    return Wait(at_s - was.unread_s, before_s - was.unread_s, was.has_moved and was.unread_s == was.moved_s)


def _typical(waits: list[Wait]) -> Wait:
    """Return the one wait that stands for a read: the median of the whole ones, else the longest."""
    whole = sorted(wait for wait in waits if wait.is_whole)
    return whole[len(whole) // 2] if whole else max(waits)


def _kept(points: tuple[_Dated, ...], newest: _Dated, most: int) -> tuple[_Dated, ...]:
    """Return the points with the newest one, `most` of them at most."""
    if len(points) < most:
        return (*points, newest)
    if newest.at_s - points[0].at_s < DENSE_S:
        return (*points[::2], newest)
    return (*points[1:], newest)
