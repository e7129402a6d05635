"""A partition as a list of timestamps, asked as a broker is."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate


@dataclass(frozen=True)
class SyntheticLog:
    """`stamps[i]` is the timestamp of offset `earliest + i`; what was before is deleted."""

    stamps: tuple[datetime, ...]
    earliest: int = 0

    @property
    def latest(self) -> int:
        return self.earliest + len(self.stamps)

    def stamp(self, offset: int) -> datetime:
        return self.stamps[offset - self.earliest]

    def newest_until(self, offset: int) -> datetime:
        """The newest timestamp at or before an offset, deleted records aside."""
        return max(self.stamps[: offset - self.earliest + 1])

    def answers(self, asked: Iterable[datetime]) -> Mapping[datetime, int | None]:
        """What ListOffsets answers: the first offset with a timestamp at or after each time."""
        newest = list(accumulate(self.stamps, max))
        found = ((at, bisect_left(newest, at)) for at in asked)
        return {at: self.earliest + index if index < len(newest) else None for at, index in found}

    def without_first(self, records: int) -> SyntheticLog:
        """The log after retention deleted its first records."""
        return SyntheticLog(self.stamps[records:], self.earliest + records)


def in_order(draw: random.Random, now: datetime, records: int) -> SyntheticLog:
    """A log of bursts and of idle stretches from a second to days long, ending at some time before `now`."""
    ages_s, age_s = list[float](), draw.choice([0.0, 0.5, 20.0, 7200.0])
    for _ in range(records):
        ages_s.append(age_s)
        age_s += draw.choice([0.0, 0.001, 0.1, 1.0, 60.0, 3600.0, 86_400.0]) * draw.random()
    return SyntheticLog(tuple(now - timedelta(seconds=age_s) for age_s in reversed(ages_s)))


def out_of_order(
    draw: random.Random, arrivals: Sequence[datetime], late_s: Sequence[float] = (0, 1, 60, 7200, 300_000)
) -> SyntheticLog:
    """The same arrivals with the timestamps of producers that were late, each by a little or by days."""
    return SyntheticLog(tuple(at - timedelta(seconds=draw.choice(late_s) * draw.random()) for at in arrivals))
