"""One partition that carries most of a topic's lag, and whether its keys or its reader are to blame.

Over half of the topic's lag and over three times the median of its partitions, of which there must be three. Judged
only while the group is over its warn line: three records on one of eight partitions are a skew of nothing.

Where the partition is written far faster than the others its keys are to blame; where it is written like the others and
read slower, its reader is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from bot.lag.track import PartitionTrack
from bot.model import Member, PartitionKey, PartitionOffsets

SKEWED_SHARE = 0.5
SKEWED_MEDIANS = 3
SKEWED_PARTITIONS = 3

# A partition that is written twice as fast as the median one stands out by its keys.
HOT_TIMES = 2.0
SLOW_SHARE = 0.8


class Skew(NamedTuple):
    key: PartitionKey
    evidence: str
    advice: str


def skew_of(
    partitions: Sequence[PartitionOffsets],
    tracks: Sequence[PartitionTrack | None],
    troughs: Mapping[PartitionKey, int],
    membership: Sequence[Member],
    at_s: float,
) -> Skew | None:
    """Return the worst skew among the topics, or None. `troughs` are the lags that are known, partitions sorted."""
    found: list[tuple[int, Skew]] = []
    for topic, group in groupby(zip(partitions, tracks, strict=True), key=lambda row: row[0].topic):
        rows = [
            (troughs[one.topic, one.partition], one, track)
            for one, track in group
            if (one.topic, one.partition) in troughs
        ]
        lags = [row[0] for row in rows]
        if not is_skewed(lags):
            continue
        most, hot, track = rows[lags.index(max(lags))]
        cause, advice = _cause(hot.key, track, [row[2] for row in rows], membership, at_s)
        share = f"{most / sum(lags):.0%} of the topic's lag, {most:,} of {sum(lags):,}"
        found.append((most, Skew(hot.key, f"{topic}/{hot.partition} carries {share}: {cause}", advice)))
    return max(found, key=lambda one: one[0])[1] if found else None


def is_skewed(lags: Sequence[int]) -> bool:
    """Return whether one of a topic's lags is over half of the sum and over three times the median."""
    if len(lags) < SKEWED_PARTITIONS:
        return False
    most = max(lags)
    return most > SKEWED_SHARE * sum(lags) and most > SKEWED_MEDIANS * _median(lags)


def owner_of(key: PartitionKey, membership: Sequence[Member]) -> str:
    """Return who reads a partition, in words for evidence; empty where it is not told."""
    for member in membership:
        if key in member.partitions:
            return f"{member.client or member.id}{f' on {member.host}' if member.host else ''}"
    return ""


def _cause(
    key: PartitionKey,
    track: PartitionTrack | None,
    others: Sequence[PartitionTrack | None],
    membership: Sequence[Member],
    at_s: float,
) -> tuple[str, str]:
    rates = [_rates(one, at_s) for one in others]
    known = [rate for rate in rates if rate is not None]
    hot = _rates(track, at_s)
    if hot is None or len(known) < SKEWED_PARTITIONS:
        return "why is not known yet", ""
    produced, consumed = hot
    median = _median([rate for rate, _ in known])
    if produced > HOT_TIMES * median:
        return (
            f"written at {produced:,.1f}/s, the median of the others at {median:,.1f}/s: its keys are hot",
            "More members do not help, one partition has one reader: spread the hot key, or make its records cheaper.",
        )
    owner = owner_of(key, membership)
    by = f", {owner}," if owner else ""
    if consumed < SLOW_SHARE * produced or consumed < SLOW_SHARE * _median([rate for _, rate in known]):
        return (
            f"written like the others ({produced:,.1f}/s) but read at {consumed:,.1f}/s: its reader{by} is slow",
            f"Look at the member that reads it{f': {owner}' if owner else ''}.",
        )
    return (
        f"written and read like the others by now ({produced:,.1f}/s, {consumed:,.1f}/s): an old backlog"
        + (f", read by {owner}" if owner else ""),
        "More members do not help: one partition has one reader.",
    )


def _rates(track: PartitionTrack | None, at_s: float) -> tuple[float, float] | None:
    """Return records a second written to and read from a partition since its oldest point; None for one read."""
    if track is None or at_s <= track.points[0].at_s:
        return None
    first, window_s = track.points[0], at_s - track.points[0].at_s
    return (track.latest - first.latest) / window_s, (track.committed - first.committed) / window_s


def _median(values: Sequence[float]) -> float:
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
