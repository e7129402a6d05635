"""The margin before retention deletes unread data: both sides of the horizon, and never too long a margin."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.lag.ladder import EPOCH, Ladder, times_to_ask
from bot.lag.retention import Margin, horizon_within, loss_horizon, time_to_ask
from bot.model import Retention
from tests.unit.lag.synthetic_log import in_order, out_of_order

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
HOUR_S, DAY_S = 3600.0, 86_400.0
WEEK = Retention(retention_s=7 * DAY_S, retention_bytes=None)
BY_SIZE = Retention(retention_s=None, retention_bytes=10**9)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("retention_s", "horizon_s", "expected_s"),
    [
        (7 * DAY_S, 8 * HOUR_S, 8 * HOUR_S),
        (16 * HOUR_S, 8 * HOUR_S, 8 * HOUR_S),
        (15 * HOUR_S, 8 * HOUR_S, 7.5 * HOUR_S),  # never further than half: fresh records are not in danger
        (HOUR_S, 8 * HOUR_S, HOUR_S / 2),
    ],
)
def test_a_short_retention_is_looked_into_by_half(retention_s: float, horizon_s: float, expected_s: float):
    """The horizon of the on-call, as far as the retention gives one."""
    assert expected_s == horizon_within(retention_s, horizon_s)


@pytest.mark.parametrize(
    ("retention", "asked"),
    [
        (WEEK, ago(7 * DAY_S - 8 * HOUR_S)),
        (replace(WEEK, retention_s=HOUR_S), ago(HOUR_S / 2)),
        (replace(WEEK, retention_s=None), None),
        (BY_SIZE, None),
        (replace(WEEK, is_deleted=False, is_compacted=True), None),
        (replace(WEEK, is_compacted=True), ago(7 * DAY_S - 8 * HOUR_S)),  # compact,delete
    ],
)
def test_the_rung_is_where_the_horizon_begins(retention: Retention, asked: datetime | None):
    """At `now - retention + horizon`; nothing where age deletes nothing."""
    assert asked == time_to_ask(retention, 8 * HOUR_S, NOW)


def test_the_rung_stays_put_for_five_minutes():
    """Rounded down by less than that, so that the answer can be kept."""
    times = [time_to_ask(WEEK, 8 * HOUR_S, NOW + timedelta(seconds=second)) for second in range(600)]
    assert 2 == len(set(times))
    assert all(
        timedelta(0)
        <= NOW + timedelta(seconds=second) - timedelta(days=7) + timedelta(hours=8) - at
        < timedelta(minutes=5)
        for second, at in enumerate(times)
        if at is not None
    )


def week(*more: tuple[float, int | None]) -> Ladder:
    """The rung of a week's retention answers 100; `more` are age -> answer."""
    return {EPOCH: 0, ago(7 * DAY_S - 8 * HOUR_S): 100, **{ago(age_s): answer for age_s, answer in more}}


@pytest.mark.parametrize(
    ("committed", "is_imminent", "min_s", "max_s"),
    [
        (0, True, None, 8 * HOUR_S),
        (99, True, None, 8 * HOUR_S),
        (100, False, 8 * HOUR_S, 6 * DAY_S),  # at the first offset of that time is not before it
        (149, False, 8 * HOUR_S, 6 * DAY_S),
        (150, False, 6 * DAY_S, 7 * DAY_S),
    ],
)
def test_loss_is_imminent_before_the_offset_of_the_horizon(committed, is_imminent, min_s, max_s):
    """Design section 4: committed < the offset at now - retention.ms + horizon."""
    expected = Margin(min_s, max_s, is_imminent, is_by_size=False, horizon_s=8 * HOUR_S)
    assert expected == loss_horizon(committed, 0, 200, week((DAY_S, 150)), WEEK, 8 * HOUR_S, NOW)


def test_an_expired_record_has_no_margin_and_no_negative_one():
    """It lives for as long as its segment does: deleted later, never sooner, and nothing may be said of when."""
    found = loss_horizon(5, 0, 200, {EPOCH: 0, ago(9 * DAY_S): 5, ago(8 * DAY_S): 10}, WEEK, 8 * HOUR_S, NOW)
    assert Margin(0.0, 0.0, True, is_by_size=False, horizon_s=8 * HOUR_S) == found


def test_nothing_newer_is_older_than_all():
    """None for the horizon's rung on an idle log with unread data: all of it goes."""
    found = loss_horizon(5, 0, 200, {EPOCH: 0, ago(7 * DAY_S - 8 * HOUR_S): None}, WEEK, 8 * HOUR_S, NOW)
    assert found is not None
    assert found.is_imminent


def test_what_is_lost_is_not_what_may_be_lost():
    """With a commit before the earliest offset the margin is that of the earliest record left; its age has an end."""
    found = loss_horizon(5, 120, 200, week((DAY_S, 150)), WEEK, 8 * HOUR_S, NOW)
    assert found == loss_horizon(120, 120, 200, week((DAY_S, 150)), WEEK, 8 * HOUR_S, NOW)
    assert found is not None
    assert (8 * HOUR_S, 6 * DAY_S, False) == (found.min_s, found.max_s, found.is_imminent)


@pytest.mark.parametrize(
    ("committed", "earliest", "latest", "retention"),
    [
        (200, 0, 200, WEEK),
        (5, 200, 200, WEEK),
        (5, 0, 200, replace(WEEK, retention_s=None)),
        (5, 0, 200, replace(WEEK, is_deleted=False, is_compacted=True)),
        (5, 0, 200, replace(BY_SIZE, is_deleted=False, is_compacted=True)),
    ],
)
def test_nothing_to_lose_is_no_margin(committed: int, earliest: int, latest: int, retention: Retention):
    """All read, all gone, kept for ever, or compacted only."""
    assert None is loss_horizon(committed, earliest, latest, week(), retention, 8 * HOUR_S, NOW)


@pytest.mark.parametrize("ladder", [{}, {EPOCH: None, ago(DAY_S): None}])
def test_an_age_that_is_not_known_is_a_margin_that_is_not_known(ladder: Ladder):
    """Not known is not imminent, and not safe either: there is a margin without numbers."""
    expected = Margin(None, None, False, is_by_size=False, horizon_s=8 * HOUR_S)
    assert expected == loss_horizon(5, 0, 200, ladder, WEEK, 8 * HOUR_S, NOW)


# --- By size ---------------------------------------------------------------------------------------


def test_when_size_deletes_is_not_known():
    """It depends on what will be written: no number is made up, and no danger."""
    expected = Margin(None, None, False, is_by_size=True, horizon_s=8 * HOUR_S)
    assert expected == loss_horizon(5, 0, 200, week(), BY_SIZE, 8 * HOUR_S, NOW)


def test_both_delete_where_both_are_set():
    """Age as proved, size as not known."""
    both = replace(WEEK, retention_bytes=10**9)
    found = loss_horizon(150, 0, 200, week((DAY_S, 150)), both, 8 * HOUR_S, NOW)
    assert Margin(6 * DAY_S, 7 * DAY_S, False, is_by_size=True, horizon_s=8 * HOUR_S) == found


# --- Against logs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_ordered", [True, False])
def test_a_margin_is_never_too_long(is_ordered: bool):
    """Whole segments deleted as Kafka does it, at the first moment it may: not before the margin's minimum.

    In order the first moment is inside the bounds, and imminent is what is inside the horizon, to the rung's rounding.
    """
    draw = random.Random(is_ordered)
    seen = set[bool]()
    for _ in range(400):
        log = in_order(draw, NOW, draw.choice([5, 60, 300]))
        log = log if is_ordered else out_of_order(draw, log.stamps)
        retention = Retention(draw.choice([HOUR_S, DAY_S, 3 * DAY_S, 7 * DAY_S]), None)
        horizon_s = draw.choice([600.0, 8 * HOUR_S])
        committed = draw.randrange(log.latest)
        rung = time_to_ask(retention, horizon_s, NOW)
        assert rung is not None
        ladder = log.answers((*times_to_ask(NOW, 1), rung))
        found = loss_horizon(committed, 0, log.latest, ladder, retention, horizon_s, NOW)
        assert found is not None
        assert found.max_s is not None

        assert retention.retention_s is not None
        may_go_s = retention.retention_s - (NOW - log.newest_until(committed)).total_seconds()
        ends = draw.randrange(committed, log.latest) + 1  # the last offset of its segment, and one
        gone_s = retention.retention_s - (NOW - max(log.stamps[:ends])).total_seconds()
        assert (found.min_s or 0.0) <= max(0.0, gone_s)
        assert (found.min_s or 0.0) <= max(0.0, may_go_s) <= found.max_s
        if found.is_imminent:
            assert may_go_s <= found.horizon_s
        else:
            assert may_go_s >= found.horizon_s - 300
        seen.add(found.is_imminent)
    assert {True, False} == seen
