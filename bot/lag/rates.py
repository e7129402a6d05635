"""Rates of one partition by the reads at which its commit had moved, and when it will be level.

At those reads the lag is a trough of the sawtooth (as near to one as the step between reads allows), so the lag's
change from one to another is what was written less what was committed: peaks and phases do not come into it. A trend
needs three of them over two commit intervals: two points prove any speed one likes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from bot.lag.interval import Interval
from bot.lag.track import PartitionTrack, Point

TREND_INTERVALS = 2
TREND_POINTS = 3

# The newest points tell where a partition is going; older ones than this, or than this many intervals, do not.
TREND_S = 600.0
TREND_AT_MOST_INTERVALS = 8

# A change of the lag by less than this share of what was written is noise: reads and commits are not of one moment.
LEVEL_SHARE = 0.02


# With fewer points a leap is not told from a reader that has just begun to catch up. What the others lose is no match.
LEAP_POINTS = 5
LEAP_TIMES = 3


class Trend(NamedTuple):
    """Records a second over `window_s`. `gains_per_s` is by how much the lag shrinks: overall, at worst, at best.

    Worst and best are of the window's parts. The lag was `lag_records` at `at_s`, the newest of the points.
    """

    window_s: float
    consumed_per_s: float
    produced_per_s: float
    gain_per_s: float
    worst_gain_per_s: float
    best_gain_per_s: float
    lag_records: int
    at_s: float

    @property
    def is_level(self) -> bool:
        """The lag neither shrinks nor grows, as far as can be told."""
        return abs(self.gain_per_s) <= LEVEL_SHARE * self.produced_per_s


class Eta(NamedTuple):
    """Seconds until a partition is level; `max_s` None: at its worst rate it would not be."""

    about_s: int
    min_s: int
    max_s: int | None


def trend_of(track: PartitionTrack, interval: Interval, at_s: float) -> Trend | None:
    """Return where the partition is going, or None where its points are too few or too close together.

    The first read of a baseline falls anywhere in a sawtooth: then it is no trough and is left out.
    """
    points = track.points
    if len(points) < TREND_POINTS:
        return None
    seconds = interval.seconds
    since_s = at_s - max(TREND_S, TREND_AT_MOST_INTERVALS * seconds)
    if points[0].at_s < since_s:
        points = tuple(point for point in points if point.at_s >= since_s)
    if interval.is_sawtooth and points and points[0].at_s == track.first_s:
        points = points[1:]
    if len(points) < TREND_POINTS:
        return None
    points = _since_leap(points)
    if len(points) < TREND_POINTS:
        return None
    first_s, first_committed, first_latest = points[0]
    last_s, last_committed, last_latest = points[-1]
    window_s = last_s - first_s
    if window_s < TREND_INTERVALS * seconds:
        return None
    half_s = first_s + window_s / 2
    index = 1
    while index < len(points) - 2 and points[index].at_s < half_s:
        index += 1
    middle_s, middle_committed, middle_latest = points[index]
    first_lag, middle_lag, last_lag = (
        first_latest - first_committed,
        middle_latest - middle_committed,
        last_latest - last_committed,
    )
    one, other = (first_lag - middle_lag) / (middle_s - first_s), (middle_lag - last_lag) / (last_s - middle_s)
    return Trend(
        window_s,
        (last_committed - first_committed) / window_s,
        (last_latest - first_latest) / window_s,
        (first_lag - last_lag) / window_s,
        one if one < other else other,
        other if one < other else one,
        last_lag,
        last_s,
    )


def _since_leap(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Return the points since the commit leapt forward, all of them where it did not.

    A leap is one step that takes far more off the lag than it grew in all the others together: an offset that was reset
    forward, or a job that was restored, and no speed that will last.
    """
    if len(points) < LEAP_POINTS:
        return points
    lags = [point.latest - point.committed for point in points]
    most, at = max((before - after, index) for index, (before, after) in enumerate(pairwise(lags), 1))
    rest = lags[0] - lags[-1] - most
    return points[at:] if most > 0 and rest <= 0 and most > -LEAP_TIMES * rest else points


def eta_of(trend: Trend, at_s: float) -> Eta | None:
    """Return when the lag of `trend` is gone, counted from `at_s`; None where it does not shrink."""
    if trend.gain_per_s <= 0 or trend.is_level:
        return None
    lag, passed_s = trend.lag_records, at_s - trend.at_s
    best_s, about_s = lag / trend.best_gain_per_s - passed_s, lag / trend.gain_per_s - passed_s
    max_s = None
    if trend.worst_gain_per_s > 0:
        max_s = max(0, round(lag / trend.worst_gain_per_s - passed_s))
    return Eta(max(0, round(about_s)), max(0, round(best_s)), max_s)
