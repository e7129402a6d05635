"""Reads of groups that behave in known ways, for the tests of what is made of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from bot.lag.judge import Beside, Judgement, judge_group
from bot.lag.track import GroupTrack, follow
from bot.model import GroupOffsets, LagThreshold, Objective, PartitionOffsets

T0 = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
OBJECTIVE = Objective(lag_warn=LagThreshold(100, 60), lag_page=LagThreshold(1000, 60))


def partition(committed: int | None, latest: int | None, earliest: int | None = 0, number: int = 0, **fields):
    return PartitionOffsets("t", number, committed, earliest, latest, **fields)


def group(*partitions: PartitionOffsets, after_s: float = 0, members: int | None = 2, state="STABLE", **fields):
    return GroupOffsets("g", T0 + timedelta(seconds=after_s), state, members, partitions, **fields)


def tracked(*reads: GroupOffsets) -> GroupTrack:
    track = None
    for read in reads:
        track = follow(track, read)
    assert track is not None
    return track


def judge(*reads: GroupOffsets, objective: Objective = OBJECTIVE, **how) -> Judgement:
    """Judge by reads in their order."""
    return judge_group(tracked(*reads), Beside(objective, **how))


def every(step_s: float, count: int) -> list[float]:
    return [step_s * index for index in range(count)]


def committer(
    at_s: Iterable[float], interval_s: float, per_s: float, read_per_s: float | None = None, backlog: int = 0, **fields
) -> list[GroupOffsets]:
    """Return reads of one partition written at `per_s` and read as fast, or at `read_per_s` after a backlog.

    What is read is committed each `interval_s`, 7 s after the first read for the first time.
    """
    reads = []
    for second in at_s:
        commits = (second - 7) // interval_s if second >= 7 else -1
        committed_s = 7 + commits * interval_s
        latest = 100_000 + backlog + int(per_s * second)
        done = latest_at = 100_000 + backlog + int(per_s * committed_s)
        if backlog or read_per_s is not None:
            done = 100_000 + int((per_s if read_per_s is None else read_per_s) * committed_s)
        reads.append(group(partition(min(done, latest_at), latest), after_s=second, **fields))
    return reads
