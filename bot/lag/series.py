"""Lag, produce and consume rate of a group over time, for a chart: what was told, and where nothing was.

A point's value is None where it is not known, and a line through it is to be broken there. Nothing is filled in: not
the time in which nobody looked, not the rate over a rewind, a recreated topic or a change of the known partitions.
Knows no client and no clock; a rate is records a second over the time up to its point.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import fmean, median

from bot.model import GroupOffsets, PartitionKey, PartitionOffsets

# Reads this many times further apart than their neighbours are: nobody looked in between.
SILENT_SPACINGS = 4
FEWEST_POINTS = 4


@dataclass(frozen=True, slots=True)
class Point:
    """One moment; each value is None where it is not known. Rates are records a second."""

    at: datetime
    lag_records: int | None
    produced_per_s: float | None = None
    consumed_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class LagSeries:
    """Points in time order; none is "nothing is known", not "no lag"."""

    points: tuple[Point, ...]


def series_of(reads: Sequence[GroupOffsets], points: int, window_s: float = 0.0) -> LagSeries:
    """Return the series of a group's reads, in whatever order, thinned to at most `points` (at least 4).

    What is written shows at each read. What is consumed shows at commits: its rate is over `window_s` at least, where
    the reads go back that far without a break, else over what there is since the last read or break. Twice the commit
    interval makes a line of the steps of a committer that commits each minute.
    """
    ordered = sorted({read.at: read for read in reads}.values(), key=lambda read: read.at)
    silent = _silences([read.at for read in ordered])
    ends = [_offsets(read, lambda partition: partition.latest) for read in ordered]
    commits = [_offsets(read, lambda partition: partition.committed) for read in ordered]
    # Where a log end went back the topic is another one, and so are the commits.
    new_logs = {index for index, (before, after) in enumerate(pairwise(ends), 1) if _went_back(before, after)}
    produced = _rates(ordered, ends, silent, 0.0)
    consumed = _rates(ordered, commits, silent | new_logs, window_s)
    told = list[Point]()
    for index, read in enumerate(ordered):
        if index in silent:
            told.append(Point(ordered[index - 1].at + (read.at - ordered[index - 1].at) / 2, None))
        told.append(Point(read.at, _lag_records(read), produced[index], consumed[index]))
    return LagSeries(thinned(told, points))


def series_from_prometheus(
    lag: Sequence[tuple[datetime, float]],
    produced_per_s: Sequence[tuple[datetime, float]],
    consumed_per_s: Sequence[tuple[datetime, float]],
    step_s: float,
    points: int,
) -> LagSeries:
    """Return the series of three range queries with the same start and step (`bot.ports.Series.points` of each).

    A step that a query did not answer is not known there. So is a value that cannot be: kafka_exporter says -1 where
    nothing was committed, and NaN is no number.
    """
    lags, written, read = (_sensible(each) for each in (lag, produced_per_s, consumed_per_s))
    told = list[Point]()
    for at in sorted(lags.keys() | written.keys() | read.keys()):
        if told and (at - told[-1].at).total_seconds() > 1.5 * step_s:
            told.append(Point(told[-1].at + timedelta(seconds=step_s), None))
        told.append(Point(at, None if at not in lags else round(lags[at]), written.get(at), read.get(at)))
    return LagSeries(thinned(told, points))


def thinned(points: Sequence[Point], most: int) -> tuple[Point, ...]:
    """Return at most `most` of the points (at least 4), in time order, with the first, the last and every peak.

    Of each equal stretch of time the highest lag is kept, and beside it a gap where there is one, else the lowest; the
    rates of both are the stretch's mean, so that nothing of what was written or read is lost.
    """
    if most < FEWEST_POINTS:
        raise ValueError(f"a series has at least {FEWEST_POINTS} points, not {most}")
    if len(points) <= most:
        return tuple(points)
    stretches = (most - 2) // 2
    first, last = points[0].at, points[-1].at
    buckets: list[list[Point]] = [[] for _ in range(stretches)]
    for point in points[1:-1]:
        buckets[min(stretches - 1, int((point.at - first) / (last - first) * stretches))].append(point)
    return (points[0], *(kept for bucket in buckets for kept in _kept(bucket)), points[-1])


def _kept(bucket: Sequence[Point]) -> list[Point]:
    known = [point for point in bucket if point.lag_records is not None]
    gaps = [point for point in bucket if point.lag_records is None]
    if not known:
        return gaps[:1]
    peak = max(known, key=lambda point: point.lag_records or 0)
    beside = gaps[0] if gaps else min(known, key=lambda point: point.lag_records or 0)
    produced = _mean([point.produced_per_s for point in bucket])
    consumed = _mean([point.consumed_per_s for point in bucket])
    kept = [replace(peak, produced_per_s=produced, consumed_per_s=consumed)]
    if gaps:
        kept.append(beside)
    elif beside is not peak:
        kept.append(replace(beside, produced_per_s=produced, consumed_per_s=consumed))
    return sorted(kept, key=lambda point: point.at)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _lag_records(read: GroupOffsets) -> int | None:
    lags = [partition.lag_records for partition in read.partitions if partition.lag_records is not None]
    return sum(lags) if lags and not any(partition.lag_is_unknown for partition in read.partitions) else None


def _silences(times: Sequence[datetime]) -> set[int]:
    """Return the reads before which nobody looked for long, measured by the wider spacing of both sides."""
    apart_s = [(after - before).total_seconds() for before, after in pairwise(times)]
    silent = set[int]()
    for index, distance_s in enumerate(apart_s):
        sides = (apart_s[max(0, index - 3) : index], apart_s[index + 1 : index + 4])
        spacing_s = max((median(side) for side in sides if side), default=distance_s)
        if distance_s > SILENT_SPACINGS * spacing_s:
            silent.add(index + 1)
    return silent


Offsets = Mapping[PartitionKey, int]


def _offsets(read: GroupOffsets, of: Callable[[PartitionOffsets], int | None]) -> Offsets:
    return {partition.key: offset for partition in read.partitions if (offset := of(partition)) is not None}


def _went_back(before: Offsets, after: Offsets) -> bool:
    return any(after.get(key, offset) < offset for key, offset in before.items())


def _rates(
    reads: Sequence[GroupOffsets], offsets: Sequence[Offsets], breaks: set[int], window_s: float
) -> list[float | None]:
    """Return the rate up to each read: None for the first, and where the one before it cannot be compared with it."""
    rates = list[float | None]()
    run: deque[tuple[datetime, int]] = deque()
    for index, (read, now) in enumerate(zip(reads, offsets, strict=True)):
        before = offsets[index - 1] if index else {}
        if not now or index in breaks or before.keys() != now.keys() or _went_back(before, now):
            run = deque([(read.at, sum(now.values()))])
            rates.append(None)
            continue
        run.append((read.at, sum(now.values())))
        while len(run) > 2 and (read.at - run[1][0]).total_seconds() >= window_s:
            run.popleft()
        (since, was), (_, total) = run[0], run[-1]
        rates.append((total - was) / (read.at - since).total_seconds())
    return rates


def _sensible(points: Sequence[tuple[datetime, float]]) -> dict[datetime, float]:
    return {at: value for at, value in points if math.isfinite(value) and value >= 0}
