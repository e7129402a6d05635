"""The series of a chart: what is known is a point, and what is not is a gap."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from bot.lag.series import LagSeries, Point, series_from_prometheus, series_of, thinned
from bot.model import GroupOffsets, PartitionOffsets

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
Offsets = Mapping[int, tuple[int | None, int | None]]


def at(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def read(seconds: float, offsets: Offsets) -> GroupOffsets:
    """A read of partitions number -> (committed, latest)."""
    partitions = tuple(PartitionOffsets("t", number, pair[0], 0, pair[1]) for number, pair in offsets.items())
    return GroupOffsets("g", at(seconds), "STABLE", 1, partitions)


def reads(*offsets: tuple[int | None, int | None], step_s: float = 30.0) -> list[GroupOffsets]:
    """Reads of one partition, `step_s` apart."""
    return [read(index * step_s, {0: pair}) for index, pair in enumerate(offsets)]


def rates(series: LagSeries) -> list[tuple[float | None, float | None]]:
    return [(point.produced_per_s, point.consumed_per_s) for point in series.points]


def lags(series: LagSeries) -> list[int | None]:
    return [point.lag_records for point in series.points]


def test_rates_are_offsets_over_time():
    """Both ends move by themselves; the first read has no rate."""
    series = series_of(reads((0, 100), (30, 130), (90, 160)), 100)
    assert [100, 100, 70] == lags(series)
    assert [(None, None), (1.0, 1.0), (1.0, 2.0)] == rates(series)


def test_reads_may_come_in_any_order_and_twice():
    """A series is in time order whatever the store gave."""
    one, two, three = reads((0, 100), (30, 130), (90, 160))
    assert series_of([one, two, three], 100) == series_of([three, one, two, one], 100)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({0: (10, 110), 1: (10, 110)}, (20 / 30, 20 / 30)),
        ({0: (0, 100), 1: (0, 100)}, (0.0, 0.0)),  # nothing moved: that is a rate, and it is 0
        ({0: (-1, 110), 1: (10, 110)}, (20 / 30, None)),  # a rewind
        ({0: (0, 99), 1: (10, 200)}, (None, None)),  # another topic of that name: its commits too
        ({0: (10, 110)}, (None, None)),  # a partition less is no rate of the rest
        ({0: (10, 110), 1: (10, 110), 2: (0, 0)}, (None, None)),
        ({0: (10, 110), 1: (None, 110)}, (20 / 30, None)),
        ({0: (10, 110), 1: (10, None)}, (None, 20 / 30)),
        ({}, (None, None)),
    ],
)
def test_what_cannot_be_compared_is_a_gap(second: Offsets, expected: tuple[float | None, float | None]):
    """Never a negative rate, never a rate of some of the partitions."""
    series = series_of([read(0, {0: (0, 100), 1: (0, 100)}), read(30, second)], 100)
    assert [(None, None), pytest.approx(expected)] == rates(series)


@pytest.mark.parametrize(
    ("offsets", "lag"),
    [
        ({0: (1, 3), 1: (2, 2)}, 2),
        ({0: (2, 2)}, 0),
        ({0: (1, 3), 1: (None, 9)}, 2),  # never committed has no lag, and is not summed
        ({0: (1, 3), 1: (2, None)}, None),
        ({0: (1, 3), 1: (9, 2)}, None),  # beyond the end: not known
        ({0: (None, 9)}, None),
        ({}, None),
    ],
)
def test_a_lag_is_known_whole_or_not_at_all(offsets: Offsets, lag: int | None):
    """Half of a sum is not a smaller lag."""
    assert [lag] == lags(series_of([read(0, offsets)], 100))


def test_a_window_makes_a_line_of_a_sawtooth():
    """A committer that commits each minute reads 2/s, not 4 and 0 by turns."""
    told = reads(*((index // 2 * 120, index * 60) for index in range(8)))
    assert [None, 0.0, 4.0, 0.0, 4.0, 0.0, 4.0, 0.0] == [consumed for _, consumed in rates(series_of(told, 100))]
    smooth = [consumed for _, consumed in rates(series_of(told, 100, window_s=60))]
    assert [2.0] * 6 == smooth[2:]


def test_a_burst_is_no_wider_for_a_slow_committer():
    """What is written shows at each read: a window would draw a burst of one read as minutes of writing."""
    told = reads((0, 0), (0, 6000), (0, 6000), (0, 6000))
    produced = [produced for produced, _ in rates(series_of(told, 100, window_s=600))]
    assert [None, produced[1], 0.0, 0.0] == produced and produced[1]


def test_a_window_does_not_reach_over_a_break():
    """What was read before a rewind is no part of the rate after it."""
    told = reads((0, 1000), (300, 1000), (0, 1000), (30, 1000), (60, 1000))
    assert [None, 10.0, None, 1.0, 1.0] == [consumed for _, consumed in rates(series_of(told, 100, window_s=600))]


@pytest.mark.parametrize(
    ("seconds", "silent"),
    [
        ([0, 30, 60, 180, 210, 240], False),  # four times the spacing is not over it
        ([0, 30, 60, 181, 211, 241], True),
        ([0, 300, 600, 900, 930, 960], False),  # the store keeps less of what is old
        ([0, 300, 600, 900, 930, 1500, 1530, 2100, 2130, 2160], True),  # twice
        ([0, 3000], False),  # nothing to measure it by
    ],
)
def test_the_time_in_which_nobody_looked_is_a_gap(seconds: Sequence[float], silent: bool):
    """A line over it would say that somebody knew."""
    series = series_of([read(second, {0: (0, index)}) for index, second in enumerate(seconds)], 100)
    assert silent == (None in lags(series))
    if silent:
        gap = lags(series).index(None)
        assert (None, None) == rates(series)[gap + 1]


def test_nothing_is_no_series():
    """No reads are no points."""
    assert LagSeries(()) == series_of([], 100) == series_from_prometheus([], [], [], 60, 100)


@pytest.mark.parametrize("most", [4, 5, 20, 101])
def test_thinning_keeps_ends_peaks_and_gaps(most: int):
    """The highest lag, whether there is a gap, and the first and last moment survive any thinning."""
    draw = random.Random(most)
    for _ in range(50):
        values = [draw.choice([None, draw.randrange(10**6)]) for _ in range(draw.randrange(most, 500))]
        points = [Point(at(index), value, 1.0, 2.0) for index, value in enumerate(values)]
        kept = thinned(points, most)
        assert len(kept) <= most
        assert list(kept) == sorted(kept, key=lambda point: point.at)
        assert (points[0].at, points[-1].at) == (kept[0].at, kept[-1].at)
        assert max(v or 0 for v in values) == max(point.lag_records or 0 for point in kept)
        assert (None in values) == (None in [point.lag_records for point in kept])
        assert {1.0} >= {point.produced_per_s for point in kept if point.produced_per_s is not None}


def test_thinning_takes_the_mean_of_the_rates():
    """What was written is the same area under the line."""
    points = [Point(at(index), index, float(index % 2), None) for index in range(1002)]
    inner = thinned(points, 12)[1:-1]
    assert [0.5] * 10 == [point.produced_per_s for point in inner]
    assert {None} == {point.consumed_per_s for point in inner}


def test_few_points_are_left_as_they_are():
    """As many as asked for is not too many; fewer than four cannot tell anything."""
    points = tuple(Point(at(index), index) for index in range(6))
    assert points == thinned(points, 6)
    with pytest.raises(ValueError, match="at least 4"):
        thinned(points, 3)


def test_prometheus_is_joined_by_time():
    """Each step has what each query answered for it; a step without any is a gap."""
    series = series_from_prometheus(
        [(at(0), 10.0), (at(60), -1.0), (at(120), 30.2), (at(300), 5.0)],
        [(at(0), 1.5), (at(60), float("nan"))],
        [(at(60), 2.5)],
        60,
        100,
    )
    assert [
        Point(at(0), 10, 1.5, None),
        Point(at(60), None, None, 2.5),
        Point(at(120), 30, None, None),
        Point(at(180), None),
        Point(at(300), 5),
    ] == list(series.points)
