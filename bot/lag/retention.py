"""How long until retention deletes what a group has not read yet.

Kafka deletes whole segments, oldest first, each when its newest record is older than `retention.ms`
(`UnifiedLog.deleteRetentionMsBreachedSegments`; an active segment that is wholly expired is rolled and deleted too). So
the record at an offset may go as soon as M, the newest timestamp at or before it, is that old; it stays longer while
its segment holds anything newer, up to `segment.ms` more. A margin is therefore never too long: later, never sooner.
The earliest offset tells nothing of this: it stands still for a segment's length and then leaps.

`retention.bytes` deletes by size, whatever the age. When that reaches a record depends on what will be written, and how
large it is: it is not known, and said to be.

A compacted-only topic deletes nothing that is the newest of its key, and has no margin. Durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.lag.ladder import Ladder, rounded_down, time_lag_of
from bot.model import Retention

# The rung's time stays put for a sixty-fourth of the horizon at most: 5 minutes of 8 hours.
_GRIDS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300)
_FINE = 64


@dataclass(frozen=True, slots=True)
class Margin:
    """Seconds from now until the first unread record may be deleted for its age: between `min_s` and `max_s`.

    None is not known; for both where only size deletes. Never negative: 0 is "at the next check" (each
    `log.retention.check.interval.ms`, 5 minutes). `is_imminent`: proved to be within the horizon. `is_by_size`: the
    topic deletes by size as well, when is not known. `horizon_s` is how far ahead was looked.
    """

    min_s: float | None
    max_s: float | None
    is_imminent: bool
    is_by_size: bool
    horizon_s: float


def horizon_within(retention_s: float, horizon_s: float) -> float:
    """Return how far ahead to look: the on-call horizon, but never further than half of the retention.

    With a retention shorter than the horizon every unread record would be in danger from the moment it was written.
    """
    return min(horizon_s, retention_s / 2)


def time_to_ask(retention: Retention, horizon_s: float, now: datetime) -> datetime | None:
    """Return the time whose first offset decides: a record before it may be deleted within the horizon.

    It belongs to the ladder beside `times_to_ask`, for every partition with unread data. Rounded down, by 5 minutes at
    most, so that it can be kept; a record in between is told that much later. None where age deletes nothing.
    """
    if not retention.is_deleted or retention.retention_s is None:
        return None
    ahead_s = horizon_within(retention.retention_s, horizon_s)
    grid_s = max((one for one in _GRIDS_S if one <= ahead_s / _FINE), default=1)
    return rounded_down(now - timedelta(seconds=retention.retention_s - ahead_s), grid_s)


def loss_horizon(
    committed: int,
    earliest: int | None,
    latest: int | None,
    ladder: Ladder,
    retention: Retention,
    horizon_s: float,
    now: datetime,
) -> Margin | None:
    """Return how long the first unread record of a partition is safe, or None where nothing will delete one.

    That is: all is read, nothing is left of what was not, or the topic deletes neither by age nor by size. Where part
    is lost already (committed < earliest) the margin is that of the earliest record left.
    """
    deletes_by_age, deletes_by_size = retention.retention_s is not None, retention.retention_bytes is not None
    if not retention.is_deleted or not (deletes_by_age or deletes_by_size):
        return None
    offset = max(committed, earliest or 0)
    if latest is not None and offset >= latest:
        return None
    ahead_s = horizon_s if retention.retention_s is None else horizon_within(retention.retention_s, horizon_s)
    min_s, max_s = _by_age(offset, earliest, latest, ladder, retention, now)
    return Margin(
        min_s=min_s,
        max_s=max_s,
        is_imminent=max_s is not None and max_s <= ahead_s,
        is_by_size=deletes_by_size,
        horizon_s=ahead_s,
    )


def _by_age(
    offset: int, earliest: int | None, latest: int | None, ladder: Ladder, retention: Retention, now: datetime
) -> tuple[float | None, float | None]:
    """Return the margin's bounds: what is left of the retention when the record's own age is taken off."""
    if retention.retention_s is None:
        return None, None
    time_lag = time_lag_of(offset, earliest, latest, ladder, now)
    if time_lag is None:
        return None, None
    least_s = None if time_lag.max_s is None else max(0.0, retention.retention_s - time_lag.max_s)
    return least_s, max(0.0, retention.retention_s - time_lag.min_s)
