"""How old a group's oldest unread record is, and how long retention leaves its unread data: of all its partitions.

What one partition's ladder proves is in `ladder.py` and `retention.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.lag.ladder import NOTHING_UNREAD, Ladder, TimeLag, oldest, time_lag_of
from bot.lag.retention import Margin, loss_horizon
from bot.model import GroupOffsets, PartitionKey, Retention


def group_time_lag(
    now: GroupOffsets, lags: Mapping[PartitionKey, int], is_known: bool, ladders: Mapping[PartitionKey, Ladder]
) -> tuple[TimeLag | None, str]:
    """Return the age of the group's oldest unread record, and why it or its upper bound is not known.

    A partition of which nothing is known leaves the others' minimum standing, and takes the maximum away.
    """
    unread = [one for one in now.partitions if lags.get(one.key)]
    if not unread:
        return (NOTHING_UNREAD, "") if lags and is_known else (None, "")
    if not ladders:
        return None, ""
    ages, silent = [], []
    for one in unread:
        ladder = ladders.get(one.key)
        age = None if ladder is None else time_lag_of(one.committed or 0, one.earliest, one.latest, ladder, now.at)
        if age is None:
            silent.append(f"{one.topic}/{one.partition}")
        else:
            ages.append(age)
    time_lag = oldest(ages)
    if not silent and is_known:
        return time_lag, ""
    if not silent:
        why = "the lag of some partitions is not known"
    else:
        more = f" and {len(silent) - 3} more" if len(silent) > 3 else ""
        why = f"no offset by timestamp is known of {', '.join(silent[:3])}{more}"
    if time_lag is None or time_lag.min_s == 0:
        return None, why
    return TimeLag(time_lag.min_s, None, time_lag.about_s, time_lag.is_disordered), why


def margins_of(
    now: GroupOffsets,
    ladders: Mapping[PartitionKey, Ladder],
    retention: Mapping[str, Retention],
    horizon_s: float,
) -> dict[PartitionKey, Margin]:
    """Return how long the unread data of each partition is safe from retention, where both are known."""
    margins = {}
    for one in now.partitions:
        ladder, settings = ladders.get(one.key), retention.get(one.topic)
        if ladder is None or settings is None or not one.lag_records or one.committed is None:
            continue
        margin = loss_horizon(one.committed, one.earliest, one.latest, ladder, settings, horizon_s, now.at)
        if margin is not None:
            margins[one.key] = margin
    return margins
