"""The age of the oldest unread record: what the rungs prove, at both sides of each, and never more."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from bot.lag.ladder import (
    AHEAD_S,
    EPOCH,
    MAX_ASKED,
    NOTHING_UNREAD,
    RUNGS_S,
    Ladder,
    TimeLag,
    oldest,
    refine,
    refine_oldest,
    rounded_down,
    time_lag_of,
    times_to_ask,
    words,
)
from tests.unit.lag.synthetic_log import SyntheticLog, in_order, out_of_order

NOW = datetime(2026, 11, 23, 14, 7, 31, 250_000, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def ladder(answers: Mapping[float, int | None], first: int | None = 0) -> Ladder:
    """A ladder of age -> answer, whose broker can tell times."""
    return {EPOCH: first, **{ago(age_s): answer for age_s, answer in answers.items()}}


# --- What is asked ---------------------------------------------------------------------------------


def test_a_ladder_asks_the_epoch_sixteen_ages_and_a_moment_ahead():
    """Each age is the one meant or up to an eighth more, each about twice the one before."""
    first, *rungs, ahead = times_to_ask(NOW, 1)
    assert EPOCH == first
    assert AHEAD_S < (ahead - NOW).total_seconds() <= 2 * AHEAD_S
    ages_s = [(NOW - at).total_seconds() for at in reversed(rungs)]
    assert 16 == len(ages_s)
    for age_s, (meant_s, grid_s) in zip(ages_s, RUNGS_S, strict=True):
        assert meant_s <= age_s < meant_s + grid_s
        assert grid_s <= meant_s / 8 + 1
    assert (10, 3 * 86_400) == (RUNGS_S[0][0], RUNGS_S[-1][0])


@pytest.mark.parametrize(
    ("lagging", "rungs"), [(0, 16), (1, 16), (125, 16), (126, 6), (333, 6), (334, 4), (500, 4), (100_000, 4)]
)
def test_many_partitions_have_fewer_rungs(lagging: int, rungs: int):
    """Both ends stay, and each short ladder is a part of the long one: what is kept of one serves the other."""
    asked = times_to_ask(NOW, lagging)
    assert rungs + 2 == len(asked)
    assert rungs * lagging <= MAX_ASKED or rungs == 4
    whole = times_to_ask(NOW, 1)
    assert set(asked) <= set(whole)
    assert (whole[:2], whole[-2:]) == (asked[:2], asked[-2:])


def test_a_look_half_a_minute_later_asks_most_of_it_again():
    """Absolute times stay put until their grid moves on: those answers are at hand."""
    passes = [set(times_to_ask(NOW + timedelta(seconds=30 * index), 1)) for index in range(120)]
    new = [len(now - before) for before, now in pairwise(passes)]
    assert sum(new) / len(new) < 9
    assert len(set().union(*passes)) < 120 * 18 / 2


@pytest.mark.parametrize("grid_s", [1, 60, 21_600])
def test_rounding_is_down_and_stays(grid_s: int):
    """A time on the grid is its own; a microsecond before it belongs to the step before."""
    on_grid = rounded_down(NOW, grid_s)
    assert on_grid == rounded_down(on_grid, grid_s)
    assert on_grid - timedelta(seconds=grid_s) == rounded_down(on_grid - timedelta(microseconds=1), grid_s)


# --- What the answers prove ------------------------------------------------------------------------

BASE = {100.0: 10, 50.0: 20, 25.0: 30, 10.0: None}


@pytest.mark.parametrize(
    ("committed", "expected"),
    [
        (0, TimeLag(100, None, 100)),  # before the oldest rung: no upper bound
        (9, TimeLag(100, None, 100)),
        (10, TimeLag(50, 100, 100)),  # at F(T) is not before T
        (15, TimeLag(50, 100, 75)),
        (19, TimeLag(50, 100, 55)),
        (20, TimeLag(25, 50, 50)),
        (30, TimeLag(10, 25, 25)),
        (39, TimeLag(10, 25, 11.5)),  # None is "none that new": older than 10 s
        (40, NOTHING_UNREAD),
        (41, NOTHING_UNREAD),  # beyond the end is not this module's trouble
    ],
)
def test_the_rungs_enclose_the_record(committed: int, expected: TimeLag):
    """Both sides of each rung; the guess goes by the line between them."""
    assert expected == time_lag_of(committed, 0, 40, ladder(BASE), NOW)


def test_the_youngest_rung_leaves_what_is_younger():
    """At or after the offset of 10 s ago is under 10 s old; the line ends at the log end, now."""
    assert TimeLag(0, 10, 5) == time_lag_of(35, 0, 40, ladder({10: 30}), NOW)
    assert TimeLag(0, 10, 5) == time_lag_of(35, 0, 40, ladder({10: 30, -90: None}), NOW)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, None),
        ({EPOCH: None}, None),
        ({EPOCH: 0}, None),  # it can tell, and was asked nothing else
        ({EPOCH: None, ago(100): None, ago(10): None}, None),  # cannot tell: not "older than 100 s"
        ({ago(100): None, ago(10): None}, None),  # whether it can is not known
        ({EPOCH: 0, ago(100): None, ago(10): None}, TimeLag(100, None, 100)),
        ({ago(100): 0, ago(10): None}, TimeLag(10, 100, 55)),  # one answer tells that it can
        ({ago(100): 0}, TimeLag(0, 100, 50)),  # a rung that was not answered is just not there
    ],
)
def test_a_broker_that_cannot_tell_is_not_one_with_old_records(answers: Ladder, expected: TimeLag | None):
    """None for the epoch on a log with records is no age at all."""
    assert expected == time_lag_of(5, 0, 10, answers, NOW)


@pytest.mark.parametrize(
    ("committed", "earliest", "latest", "expected"),
    [
        (5, 0, None, None),  # is anything unread?
        (5, None, 40, TimeLag(100, None, 100)),
        (14, 15, 40, TimeLag(50, None, 75)),  # a record is lost: it was older than the one that is left
        (15, 15, 40, TimeLag(50, 100, 75)),
        (5, 40, 40, None),  # nothing is left that was unread
        (40, 40, 40, NOTHING_UNREAD),
        (0, 0, 0, NOTHING_UNREAD),
    ],
)
def test_what_is_lost_or_not_known_bounds_nothing(committed, earliest, latest, expected):
    """The earliest record's age is the least that a lost record's was."""
    assert expected == time_lag_of(committed, earliest, latest, ladder(BASE), NOW)


def test_offsets_that_hold_no_record_any_more_are_no_old_records():
    """Of a compacted log: the first record is at 20, whatever the commit and the start of the log say."""
    assert TimeLag(25, 50, 50) == time_lag_of(3, 0, 40, ladder({100: 20, 50: 20, 25: 30, 10: None}, first=20), NOW)


def test_a_clock_ahead_takes_the_maximum_away():
    """After a record from the future every later one looks new: at the offset it is noticed, before it is not one."""
    answers = ladder({100: 5, 10: 20, -90: 20})
    assert TimeLag(0, None, None, is_disordered=True) == time_lag_of(20, 0, 40, answers, NOW)
    assert TimeLag(10, 100, 16) == time_lag_of(19, 0, 40, answers, NOW)


@pytest.mark.parametrize(
    ("committed", "expected"),
    [
        (14, TimeLag(50, 100, 80, is_disordered=False)),  # before all that contradicts
        (15, TimeLag(10, 100, 85, is_disordered=True)),
        (19, TimeLag(10, 100, 73, is_disordered=True)),
        (20, TimeLag(10, 25, 25, is_disordered=False)),  # after it
    ],
)
def test_answers_that_contradict_are_enclosed(committed: int, expected: TimeLag):
    """The answer for 25 s ago is from before a deletion: a later rung reached before an earlier one."""
    answers = ladder({100: 10, 50: 20, 25: 15, 10: 40})
    found = time_lag_of(committed, 0, 60, answers, NOW)
    assert found is not None
    assert (expected.min_s, expected.max_s, expected.is_disordered) == (found.min_s, found.max_s, found.is_disordered)
    assert found.min_s <= (found.about_s or 0) <= (found.max_s or 0)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({EPOCH: None, ago(100): None, ago(50): 25, ago(10): None}, TimeLag(50, None, 50)),  # not "older than 100 s"
        ({EPOCH: None, ago(100): None, ago(50): 20, ago(10): None}, TimeLag(10, 50, 50)),
        ({EPOCH: 0, ago(100): None, ago(10): None}, None),  # kept from before: no answer of this log
        ({EPOCH: 20, ago(100): None, ago(10): None}, TimeLag(100, None, 100)),
        ({EPOCH: 0, ago(100): 19, ago(10): None}, TimeLag(0, 100, 100 / 21 * 20)),  # true still, of what is old
    ],
)
def test_none_below_an_answer_is_the_start_that_was_moved(answers: Ladder, expected: TimeLag | None):
    """After DeleteRecords up to 20 a broker finds nothing for times that the segments below it still reach."""
    assert expected == time_lag_of(20, 20, 40, answers, NOW)


# --- The second round ------------------------------------------------------------------------------


def test_refining_narrows_a_bracket_to_a_tenth():
    """Seven more times, all inside, evenly by ratio; the same again before the grid moves on."""
    log = SyntheticLog(tuple(ago(age_s) for age_s in range(90_000, 0, -1)))
    for age_s in (12, 45, 100, 870, 5000, 20_000, 80_000):
        committed = log.latest - age_s
        asked = dict(log.answers(times_to_ask(NOW, 1)))
        wide = time_lag_of(committed, 0, log.latest, asked, NOW)
        more = refine(NOW, asked, committed)
        assert 1 <= len(more) <= 7
        narrow = time_lag_of(committed, 0, log.latest, {**asked, **log.answers(more)}, NOW)
        assert wide is not None
        assert narrow is not None
        assert wide.max_s is not None
        assert narrow.max_s is not None
        assert wide.min_s <= narrow.min_s <= age_s <= narrow.max_s <= wide.max_s
        assert narrow.max_s <= 1.17 * narrow.min_s + 1
        assert () == tuple(at for at in more if at in asked)


def test_refining_reaches_back_behind_the_oldest_rung():
    """ "More than 3 d" becomes days with an end."""
    log = SyntheticLog(tuple(ago(hours * 3600) for hours in range(24 * 20, 0, -1)))
    asked = dict(log.answers(times_to_ask(NOW, 1)))
    found = time_lag_of(24, 0, log.latest, asked, NOW)
    assert found is not None
    assert "oldest unread record is more than 3 d old" == words(found)
    more = refine(NOW, asked, 24)
    found = time_lag_of(24, 0, log.latest, {**asked, **log.answers(more)}, NOW)
    assert found is not None
    assert 14 * 86_400 <= found.min_s <= 19 * 86_400 <= (found.max_s or 0) <= 31 * 86_400


@pytest.mark.parametrize(
    ("answers", "committed"),
    [
        ({}, 5),
        (ladder({100: None, 10: None}, first=None), 5),
        (ladder({10: 0, -90: None}), 5),  # under the youngest rung
        (ladder({-90: 0}), 5),  # a clock ahead
        (ladder({110: 0, 100.1: None}), 5),  # narrow already
        (ladder({100: 10, 50: 20, 25: 15, 10: 40}), 15),  # contradictory
    ],
)
def test_nothing_is_asked_that_would_not_help(answers: Ladder, committed: int):
    """No second round where the first one said what can be said."""
    assert () == refine(NOW, answers, committed)


def test_a_groups_second_round_asks_who_may_hold_the_oldest_record():
    """A partition whose record is certainly younger than another's is left alone; equal brackets are all asked."""
    old, young = ladder({100: 0, 50: 60, 10: None}), ladder({100: 0, 50: 3, 10: None})
    found = refine_oldest(NOW, {("t", 0): old, ("t", 1): young, ("t", 2): old}, {("t", 0): 5, ("t", 1): 5, ("t", 2): 9})
    assert {("t", 0), ("t", 2)} == found.keys()
    assert found["t", 0] == found["t", 2]
    assert {} == refine_oldest(NOW, {}, {("t", 0): 5})
    assert {} == refine_oldest(NOW, {}, {})
    many = {("t", number): old for number in range(1000)}
    found = refine_oldest(NOW, many, dict.fromkeys(many, 5))
    assert sum(map(len, found.values())) <= MAX_ASKED
    assert 1000 == len(found)


def test_the_oldest_of_several_lies_between_the_maxima():
    """One without an upper bound takes it away from all; none of them is nothing."""
    one, two = TimeLag(50, 100, 80), TimeLag(60, 90, 70)
    assert TimeLag(60, 100, 80) == oldest([one, two])
    assert TimeLag(300, None, 300) == oldest([one, TimeLag(300, None, 300)])
    assert TimeLag(50, None, 80, is_disordered=True) == oldest([one, TimeLag(0, None, None, is_disordered=True)])
    assert NOTHING_UNREAD == oldest([NOTHING_UNREAD])
    assert None is oldest([])


# --- In words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("min_s", "max_s", "said"),
    [
        (0, 0, "nothing is unread"),
        (0, 10, "oldest unread record is under 10 s old"),
        (0, 10.2, "oldest unread record is under 11 s old"),
        (14.5, 17.2, "oldest unread record is 14-18 s old"),
        (119, 119.9, "oldest unread record is 119-120 s old"),
        (119, 120, "oldest unread record is 1.9-2 min old"),
        (840, 1000, "oldest unread record is 14-17 min old"),
        (840, 840, "oldest unread record is 14 min old"),
        (7100, 7199, "oldest unread record is 118-120 min old"),
        (7100, 7300, "oldest unread record is 1.9-2.1 h old"),
        (36_000, 40_000, "oldest unread record is 10-12 h old"),
        (180_000, 400_000, "oldest unread record is 2-4.7 d old"),
        (259_200, None, "oldest unread record is more than 3 d old"),
        (262_213, None, "oldest unread record is more than 3 d old"),
        (612, None, "oldest unread record is more than 10 min old"),
        (0, None, "age of the oldest unread record is not known"),
    ],
)
def test_the_words_are_as_true_as_the_bounds(min_s: float, max_s: float | None, said: str):
    """Rounded outwards, in one unit."""
    assert said == words(TimeLag(min_s, max_s, min_s))


def test_the_words_tell_of_timestamps_that_cannot_be_trusted():
    """Out of order, and ahead of the clock."""
    said = words(TimeLag(600, 900, 700, is_disordered=True))
    assert "oldest unread record is 10-15 min old by timestamps that are out of order" == said
    assert "timestamps are ahead of the clock" in words(TimeLag(0, None, None, is_disordered=True))


# --- Against logs ----------------------------------------------------------------------------------


def ask(log: SyntheticLog, committed: int, lagging: int, is_refined: bool) -> tuple[TimeLag, Ladder]:
    answers = dict(log.answers(times_to_ask(NOW, lagging)))
    if is_refined:
        answers |= log.answers(refine(NOW, answers, committed))
    found = time_lag_of(committed, log.earliest, log.latest, answers, NOW)
    assert found is not None
    return found, answers


def is_between(found: TimeLag, age_s: float) -> bool:
    return found.min_s <= age_s and (found.max_s is None or age_s <= found.max_s)


@pytest.mark.parametrize("lagging", [1, 200, 1000])
def test_the_truth_is_always_inside_the_bounds(lagging: int):
    """Bursts, idle hours, a drained or a young log: any offset of any log in order, refined or not."""
    draw = random.Random(lagging)
    for _ in range(150):
        log = in_order(draw, NOW, draw.choice([1, 2, 30, 300]))
        log = log.without_first(draw.randrange(len(log.stamps)))
        for committed in {log.earliest, log.latest - 1, *(draw.randrange(log.earliest, log.latest) for _ in range(8))}:
            age_s = (NOW - log.stamp(committed)).total_seconds()
            for is_refined in (False, True):
                found, _ = ask(log, committed, lagging, is_refined)
                assert is_between(found, age_s), (found, age_s)
                assert not found.is_disordered
                assert found.about_s is not None
                assert is_between(found, found.about_s)


def test_a_log_out_of_order_is_bounded_as_claimed():
    """The record is at least as old as said, has waited at most as long, and its place's newest timestamp is inside."""
    draw = random.Random(7)
    for _ in range(200):
        arrivals = in_order(draw, NOW, draw.choice([2, 30, 300])).stamps
        log = out_of_order(draw, arrivals)
        for committed in [draw.randrange(log.latest) for _ in range(8)]:
            found, _ = ask(log, committed, 1, is_refined=True)
            assert found.min_s <= (NOW - log.stamp(committed)).total_seconds()
            assert found.max_s is None or (NOW - arrivals[committed]).total_seconds() <= found.max_s
            assert is_between(found, (NOW - log.newest_until(committed)).total_seconds())


def test_answers_from_before_a_deletion_stay_true():
    """Kept answers beside new ones, in order: the bounds hold. Out of order: what is claimed of it holds."""
    draw = random.Random(11)
    contradictions = 0
    for index in range(1500):
        arrivals = in_order(draw, NOW, 60).stamps
        log = out_of_order(draw, arrivals) if index % 2 else SyntheticLog(arrivals)
        left = log.without_first(draw.randrange(1, 50))
        committed = draw.randrange(left.earliest, left.latest)
        whole = log.answers(times_to_ask(NOW, 1))
        answers = {at: draw.choice([whole, left.answers([at])])[at] for at in whole}
        found = time_lag_of(committed, left.earliest, left.latest, answers, NOW)
        assert found is not None
        assert found.min_s <= (NOW - log.stamp(committed)).total_seconds()
        assert found.max_s is None or (NOW - arrivals[committed]).total_seconds() <= found.max_s
        contradictions += found.is_disordered
        assert index % 2 or not found.is_disordered
    assert contradictions  # the case was met, not only allowed for
