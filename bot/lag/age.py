"""How old a group's oldest unread record is, and how long retention leaves its unread data: of all its partitions.

What one partition's ladder proves is in `ladder.py` and `retention.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bot.lag.ladder import NOTHING_UNREAD, Ladder, TimeLag, oldest, time_lag_of
from bot.lag.retention import Margin, loss_horizon
from bot.model import GroupOffsets, PartitionKey, PartitionOffsets, Retention

NOTHING_TOLD: Mapping[PartitionKey, bool] = MappingProxyType({})


def group_time_lag(
    now: GroupOffsets,
    lags: Mapping[PartitionKey, int],
    is_known: bool,
    ladders: Mapping[PartitionKey, Ladder],
    holds_record: Mapping[PartitionKey, bool] = NOTHING_TOLD,
) -> tuple[TimeLag | None, str]:
    """Return the age of the group's oldest unread record, and why it or its upper bound is not known.

    A partition of which nothing is known leaves the others' minimum standing, and takes the maximum away; one that was
    written and never committed does not count, but where nothing else is unread there is no "nothing is unread". A tail
    that `holds_record` says holds none has no age.
    """
    unread = [one for one in now.partitions if lags.get(one.key) and holds_record.get(one.key) is not False]
    if not unread:
        never = [one for one in now.partitions if was_never_read(one)]
        if lags and is_known and never:
            more = f" and {len(never) - 1} more" if len(never) > 1 else ""
            return None, f"{never[0].topic}/{never[0].partition}{more} was written and never committed"
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


def was_never_read(one: PartitionOffsets) -> bool:
    """Return whether a partition holds something, or may, of which nothing was ever committed."""
    return one.committed is None and one.committed_known and (one.latest is None or one.latest != one.earliest)


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
