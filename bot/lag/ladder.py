"""How old the oldest unread record is, by `ListOffsets(timestamp)`: proved bounds, no record read, no history needed.

`ListOffsets(T)` answers F(T), the first offset whose record has a timestamp at or after T (Kafka's
`LogSegment.findOffsetByTimestamp`). A few times asked, the rungs, enclose the age of the record at a committed
offset c. Write M(c) for the newest timestamp at or before c: F(T) <= c says M(c) >= T, and F(T) > c says M(c) < T,
because F(T) is the first of its kind. Both hold in whatever order the timestamps are.

What is claimed
    In order (LogAppendTime, one producer): M(c) is the record's own timestamp, and its age lies in [min_s, max_s].
    Out of order: `min_s` holds for the record's own timestamp too (it is no newer than M). `max_s` holds for how long
    it has been waiting in the log, as long as no producer's clock is ahead (its neighbour with the timestamp M was
    appended before it and not before M); its own timestamp may be older: a backfill is old and has not waited.
    A clock ahead by more than a minute or so shows in the rung that lies in the future; then no maximum is claimed.
    A position is taken for a record: where transaction markers or compacted records stand at c, the age is the
    position's, and no record need be as old.

None is not always "no record that new": after DeleteRecords a broker says it for every time that a segment below the
new start still reaches, until the segment is gone (measured on 4.1.1: it looks into the first segment that is new
enough, and there only). So None is believed only of times newer than every time with an answer, and only beside an
answer at or above the log's start: whatever lies below that start is older than that time.

Past answers never change, so they may be kept: what is appended later has a higher offset, and what retention deletes
lies below every offset still to be read. Only None, "no record that new", is of the moment it was asked in. Answers
from before and after a deletion can contradict each other, in a log out of order alone: then the bounds are drawn
around all that contradict (see `_bracket`) and `is_disordered` tells.

Ages are by our own clock against the timestamps. Knows no client, no clock; durations are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from bot.model import PartitionKey

Ladder = Mapping[datetime, int | None]
"""Of one partition: time -> first offset with a timestamp at or after it; None: there is no record that new."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Asked to see whether the broker can tell at all: None for it, on a log that is not empty, is "cannot", not "old"."""

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400

# Age of each rung and the grid its absolute time is rounded down to, about an eighth of the age: until the grid moves
# on, the next look asks the same time again and has its answer already.
RUNGS_S = (
    (10, 1), (20, 2), (40, 5), (80, 10), (160, 20), (5 * MINUTE_S, 30), (10 * MINUTE_S, 60), (20 * MINUTE_S, 120),
    (40 * MINUTE_S, 300), (80 * MINUTE_S, 600), (160 * MINUTE_S, 1200), (5 * HOUR_S, 1800), (10 * HOUR_S, HOUR_S),
    (20 * HOUR_S, 2 * HOUR_S), (36 * HOUR_S, 4 * HOUR_S), (3 * DAY_S, 6 * HOUR_S),
)  # fmt: skip

# Steps that keep both ends of the 16 rungs: 16, 6 or 4 of them. Fewer is wider, and as honest.
_STRIDES = (1, 3, 5)
MAX_ASKED = 2000

# A producer's clock may be this much ahead before it is noticed; a leap of less moves an age by no more than that.
AHEAD_S = 60

REFINED_RUNGS = 7
NARROW = 1.1
_DEEP_S = tuple(days * DAY_S for days in (4, 7, 14, 30, 60, 120, 365, 3650))
_GRIDS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, HOUR_S, 2 * HOUR_S, 4 * HOUR_S, 6 * HOUR_S, DAY_S)
_FINE = 40


@dataclass(frozen=True, slots=True)
class TimeLag:
    """Age of the oldest unread record in seconds; `max_s` None: not known, `about_s`: the best guess.

    The guess is never outside the bounds; where there is no upper one it is the lower. It is None where nothing is
    known but that there is something unread. All 0: nothing is unread. `is_disordered`: timestamps are out of order or
    ahead of the clock, so that the record's own timestamp may be older than `max_s`.
    """

    min_s: float
    max_s: float | None
    about_s: float | None
    is_disordered: bool = False


NOTHING_UNREAD = TimeLag(0.0, 0.0, 0.0)


def times_to_ask(now: datetime, lagging: int) -> tuple[datetime, ...]:
    """Return the times of a ladder, oldest first, for each of `lagging` partitions with unread data.

    The epoch (can the broker tell?), 16 ages of 10 s to 3 days, and a minute or two ahead (does a clock run ahead?).
    Where that would be more than MAX_ASKED questions there are 6 or 4 ages.
    """
    stride = next((one for one in _STRIDES if lagging * len(RUNGS_S[::one]) <= MAX_ASKED), _STRIDES[-1])
    rungs = (rounded_down(now - timedelta(seconds=age_s), grid_s) for age_s, grid_s in reversed(RUNGS_S[::stride]))
    return (EPOCH, *rungs, rounded_down(now + timedelta(seconds=2 * AHEAD_S), AHEAD_S))


def time_lag_of(
    committed: int, earliest: int | None, latest: int | None, ladder: Ladder, now: datetime
) -> TimeLag | None:
    """Return the age of the oldest unread record of one partition at `now`, the time its offsets were read.

    None where it is not known: the log end is not known, the ladder has no answer, the broker cannot tell, or all that
    was unread is deleted. Where part of it is deleted (committed < earliest) the age of the earliest record that is
    left is the least it can be, and no maximum is known.
    """
    if latest is None:
        return None
    if committed >= latest:
        return NOTHING_UNREAD
    is_lost = earliest is not None and committed < earliest
    offset = max(committed, earliest or 0)
    if offset >= latest:
        return None
    bracket = _bracket(ladder, offset, earliest or 0)
    if bracket is None:
        return None
    if bracket.no_older is not None and bracket.no_older > now:
        return TimeLag(0.0, None, None, is_disordered=True)
    min_s, max_s = bracket.ages_s(now)
    about_s = min_s if max_s is None else _guess_s(bracket, ladder, offset, latest, now, min_s, max_s)
    return TimeLag(min_s, None if is_lost else max_s, about_s, bracket.is_disordered)


def refine(now: datetime, ladder: Ladder, committed: int, rungs: int = REFINED_RUNGS) -> tuple[datetime, ...]:
    """Return `rungs` times inside the bracket of a partition with unread data, for a second round of questions.

    Seven of them turn "10-20 min" into "14-16 min". Nothing where that would not help: under the youngest rung, in a
    bracket that is narrow already, in a disordered one. Beyond the oldest rung they reach 10 years back.
    """
    bracket = _bracket(ladder, committed)
    return () if bracket is None else _refined(now, ladder, bracket, rungs)


def _refined(now: datetime, ladder: Ladder, bracket: _Bracket, rungs: int) -> tuple[datetime, ...]:
    if bracket.is_disordered or bracket.older_than is None or bracket.older_than >= now:
        return ()
    return tuple([at for at in _times_within(now, bracket, rungs) if at not in ladder])


@lru_cache(maxsize=1024)
def _times_within(now: datetime, bracket: _Bracket, rungs: int) -> tuple[datetime, ...]:
    """Return the times on their grids. The partitions of a pass share their rungs, and so a few brackets."""
    min_s, max_s = bracket.ages_s(now)
    if max_s is None:
        ages_s = [age_s for age_s in _DEEP_S if age_s > min_s][:rungs]
    elif max_s > NARROW * min_s:
        step = (max_s / min_s) ** (1 / (rungs + 1))
        ages_s = [round(min_s * step**index) for index in range(1, rungs + 1)]
    else:
        return ()
    times = {rounded_down(now - timedelta(seconds=age_s), _grid_s(age_s / _FINE)) for age_s in ages_s}
    return tuple(sorted(at for at in times if bracket.holds(at)))


def refine_oldest(
    now: datetime, ladders: Mapping[PartitionKey, Ladder], committed: Mapping[PartitionKey, int]
) -> dict[PartitionKey, tuple[datetime, ...]]:
    """Return the second round for a group: what to ask of each partition that may hold its oldest unread record.

    `committed` are the partitions with unread data. One whose record is certainly younger than another's is not asked:
    its bounds cannot move the group's. All together it is at most MAX_ASKED questions, or one per partition.
    """
    drawn = ((key, _bracket(ladders.get(key, {}), offset)) for key, offset in committed.items())
    brackets = {key: bracket for key, bracket in drawn if bracket is not None}
    ages_s = {key: bracket.ages_s(now) for key, bracket in brackets.items()}
    oldest_s = max((min_s for min_s, _ in ages_s.values()), default=0.0)
    asked = [key for key, (_, max_s) in ages_s.items() if max_s is None or max_s > oldest_s]
    rungs = max(1, min(REFINED_RUNGS, MAX_ASKED // max(1, len(asked))))
    refined = {key: _refined(now, ladders[key], brackets[key], rungs) for key in asked}
    return {key: times for key, times in refined.items() if times}


def oldest(time_lags: Iterable[TimeLag]) -> TimeLag | None:
    """Return the age of the oldest unread record of several partitions: the maximum of values lies between the maxima.

    None for none. A partition of which nothing is known cannot be handed in: say that beside it.
    """
    known = list(time_lags)
    if not known:
        return None
    maxima = [one.max_s for one in known]
    guesses = [one.about_s for one in known if one.about_s is not None]
    return TimeLag(
        min_s=max(one.min_s for one in known),
        max_s=None if None in maxima else max(max_s for max_s in maxima if max_s is not None),
        about_s=max(guesses, default=None),
        is_disordered=any(one.is_disordered for one in known),
    )


def words(time_lag: TimeLag) -> str:
    """Return `oldest unread record is 14-17 min old`: the bounds rounded outwards, so that the words are true too."""
    min_s, max_s = time_lag.min_s, time_lag.max_s
    if max_s == 0:
        return "nothing is unread"
    if max_s is None and min_s == 0:
        why = ": timestamps are ahead of the clock" if time_lag.is_disordered else ""
        return f"age of the oldest unread record is not known{why}"
    if max_s is None:
        age = f"more than {_in_unit(min_s, min_s, math.floor)} {_unit(min_s)[1]}"
    elif min_s == 0:
        age = f"under {_in_unit(max_s, max_s, math.ceil)} {_unit(max_s)[1]}"
    else:
        low, high = _in_unit(min_s, max_s, math.floor), _in_unit(max_s, max_s, math.ceil)
        age = f"{low if low == high else f'{low}-{high}'} {_unit(max_s)[1]}"
    order = " by timestamps that are out of order" if time_lag.is_disordered else ""
    return f"oldest unread record is {age} old{order}"


def rounded_down(at: datetime, grid_s: int) -> datetime:
    """Return the last time on the grid, counted from the epoch, that is not after `at`."""
    return EPOCH + timedelta(seconds=math.floor((at - EPOCH).total_seconds()) // grid_s * grid_s)


@dataclass(frozen=True, slots=True)
class _Bracket:
    """M(c) >= no_older and M(c) < older_than; None: no rung says so."""

    no_older: datetime | None
    older_than: datetime | None
    is_disordered: bool

    def ages_s(self, now: datetime) -> tuple[float, float | None]:
        min_s = 0.0 if self.older_than is None else max(0.0, (now - self.older_than).total_seconds())
        return min_s, None if self.no_older is None else max(0.0, (now - self.no_older).total_seconds())

    def holds(self, at: datetime) -> bool:
        after = self.no_older is None or at > self.no_older
        return after and (self.older_than is None or at < self.older_than)


def _bracket(ladder: Ladder, committed: int, earliest: int = 0) -> _Bracket | None:
    """Return the rungs around the record at `committed`, or None where the broker gave no answer but None.

    A rung is reached when F(T) <= c. Without contradiction every reached rung is older than every other one. With one,
    the bracket reaches from the newest reached rung below all the others to the oldest other rung above all that are
    reached: whatever each answer proved by itself, it proved of something inside.
    """
    offset = max(committed, ladder.get(EPOCH) or 0)  # below the first record there is none to be old
    newest_told = newest_reached = oldest_beyond = None
    highest = -1
    for at, answer in ladder.items():
        if answer is None:
            continue
        if newest_told is None or at > newest_told:
            newest_told = at
        if answer > highest:
            highest = answer
        if answer > offset:
            if (oldest_beyond is None or at < oldest_beyond) and at != EPOCH:
                oldest_beyond = at
        elif (newest_reached is None or at > newest_reached) and at != EPOCH:
            newest_reached = at
    if newest_told is None:
        return None
    if oldest_beyond is None and highest >= earliest:
        silent = [at for at, answer in ladder.items() if answer is None and at > newest_told]
        oldest_beyond = min(silent, default=None)
    if newest_reached is None and oldest_beyond is None:
        return None
    if newest_reached is None or oldest_beyond is None or newest_reached < oldest_beyond:
        return _Bracket(newest_reached, oldest_beyond, is_disordered=False)
    return _disordered(ladder, offset, newest_reached, oldest_beyond, newest_told if highest >= earliest else None)


def _disordered(
    ladder: Ladder, offset: int, newest_reached: datetime, oldest_beyond: datetime, newest_told: datetime | None
) -> _Bracket:
    """Return the bracket around all rungs that contradict each other; `newest_told` None: no None is believed."""

    def is_beyond(at: datetime, answer: int | None) -> bool:
        return newest_told is not None and at > newest_told if answer is None else answer > offset

    return _Bracket(
        max(
            (
                at
                for at, answer in ladder.items()
                if answer is not None and answer <= offset and EPOCH != at < oldest_beyond
            ),
            default=None,
        ),
        min((at for at, answer in ladder.items() if at > newest_reached and is_beyond(at, answer)), default=None),
        is_disordered=True,
    )


def _guess_s(
    bracket: _Bracket, ladder: Ladder, offset: int, latest: int, now: datetime, min_s: float, max_s: float
) -> float:
    """Return the age by the line through the bracket's two rungs: records are taken to come evenly between them."""
    low = ladder[bracket.no_older] if bracket.no_older is not None else None
    high = ladder[bracket.older_than] if bracket.older_than is not None else None
    low, high = offset if low is None else low, latest if high is None else high
    share = max(0, offset - low) / max(1, high - low)
    return max_s - min(1.0, share) * (max_s - min_s)


def _grid_s(wanted_s: float) -> int:
    return max((grid_s for grid_s in _GRIDS_S if grid_s <= wanted_s), default=1)


def _unit(seconds: float) -> tuple[int, str]:
    """Return the unit in which a duration is told: 119 s, 119 min, 47 h, 2 d."""
    for unit_s, name, until_s in ((1, "s", 2 * MINUTE_S), (MINUTE_S, "min", 2 * HOUR_S), (HOUR_S, "h", 2 * DAY_S)):
        if seconds < until_s:
            return unit_s, name
    return DAY_S, "d"


def _in_unit(seconds: float, largest_s: float, round_to: Callable[[float], int]) -> str:
    """Return a duration in the unit of the largest one, rounded outwards; under 10 to a tenth, seconds whole."""
    unit_s, _ = _unit(largest_s)
    value = seconds / unit_s
    if unit_s == 1 or largest_s >= 10 * unit_s:
        return str(round_to(value))
    tenths = round_to(value * 10)
    return str(tenths // 10) if tenths % 10 == 0 else f"{tenths / 10:.1f}"
