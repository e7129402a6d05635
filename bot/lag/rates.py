"""Rates of one partition by the reads at which its commit had moved, and when it will be level.

At those reads the lag is a trough of the sawtooth (as near to one as the step between reads allows), so the lag's
change from one to another is what was written less what was committed: peaks and phases do not come into it. A trend
needs three of them over two commit intervals: two points prove any speed one likes.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.lag.interval import Interval
from bot.lag.track import PartitionTrack, Point

TREND_INTERVALS = 2
TREND_POINTS = 3

# The newest points tell where a partition is going; older ones than this, or than this many intervals, do not.
TREND_S = 600.0
TREND_AT_MOST_INTERVALS = 8

# A change of the lag by less than this share of what was written is noise: reads and commits are not of one moment.
LEVEL_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Trend:
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


@dataclass(frozen=True, slots=True)
class Eta:
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
    since_s = at_s - max(TREND_S, TREND_AT_MOST_INTERVALS * interval.seconds)
    if points[0].at_s < since_s:
        points = tuple(point for point in points if point.at_s >= since_s)
    if interval.is_sawtooth and points and points[0].at_s == track.first_s:
        points = points[1:]
    if len(points) < TREND_POINTS:
        return None
    first, last = points[0], points[-1]
    window_s = last.at_s - first.at_s
    if window_s < TREND_INTERVALS * interval.seconds:
        return None
    middle = min(points[1:-1], key=lambda point: abs(2 * point.at_s - first.at_s - last.at_s))
    parts = (_gain(first, middle), _gain(middle, last))
    consumed, produced = last.committed - first.committed, last.latest - first.latest
    return Trend(
        window_s,
        consumed / window_s,
        produced / window_s,
        (consumed - produced) / window_s,
        min(parts),
        max(parts),
        last.latest - last.committed,
        last.at_s,
    )


def eta_of(trend: Trend, at_s: float) -> Eta | None:
    """Return when the lag of `trend` is gone, counted from `at_s`; None where it does not shrink."""
    if trend.gain_per_s <= 0 or trend.is_level:
        return None
    passed_s = at_s - trend.at_s

    def until(gain_per_s: float) -> int:
        return max(0, round(trend.lag_records / gain_per_s - passed_s))

    worst = trend.worst_gain_per_s
    return Eta(until(trend.gain_per_s), until(trend.best_gain_per_s), until(worst) if worst > 0 else None)


def _gain(one: Point, other: Point) -> float:
    shrunk = (one.latest - one.committed) - (other.latest - other.committed)
    return shrunk / (other.at_s - one.at_s)
