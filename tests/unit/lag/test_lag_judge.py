"""The lag rules, one table row per case, both sides of every edge."""

from __future__ import annotations

import pytest

from bot.lag.judge import Judgement
from bot.lag.verdict import Verdict
from bot.model import GroupKind, GroupOffsets
from tests.unit.lag.lag_reads import group, partition
from tests.unit.lag.lag_reads import judge as judge_reads

V = Verdict


def judge(now: GroupOffsets, previous: GroupOffsets | None = None, **how) -> Judgement:
    return judge_reads(*(read for read in (previous, now) if read is not None), **how)


def test_verdicts_rank_as_the_design_lists_them():
    """UNKNOWN outranks CATCHING_UP, RESIDUAL and OK: it is never shown as healthy."""
    order = sorted(set(Verdict), key=lambda verdict: verdict.rank)

    assert [V.DATA_LOST, V.LOSS_IMMINENT, V.STOPPED] == order[:3]
    assert [V.NEVER_COMMITTED, V.UNKNOWN, V.CATCHING_UP, V.RESIDUAL, V.OK] == order[-5:]


@pytest.mark.parametrize(
    ("verdict", "sample"),
    [
        (V.OK, partition(10, 10)),
        (V.OK, partition(0, 0)),
        (V.OK, partition(10, 10, earliest=10)),  # everything read and everything deleted
        (V.UNKNOWN, partition(9, 10)),  # unread, one sample
        (V.UNKNOWN, partition(9, 10, earliest=9)),  # at the earliest is not below it
        (V.DATA_LOST, partition(8, 10, earliest=9)),
        (V.DATA_LOST, partition(8, 9, earliest=9)),  # all that was unread is gone
        (V.NEVER_COMMITTED, partition(None, 10)),
        (V.NEVER_COMMITTED, partition(None, None, earliest=None)),
        (V.UNKNOWN, partition(None, 10, committed_known=False)),
        (V.UNKNOWN, partition(10, None)),
        (V.UNKNOWN, partition(10, 10, earliest=None)),  # cannot exclude that data was lost
        (V.UNKNOWN, partition(11, 10)),  # a recreated topic
    ],
)
def test_what_one_read_proves(verdict, sample):
    """One sample says DATA_LOST, NEVER_COMMITTED, or OK at lag 0; the rest is UNKNOWN."""
    judgement = judge(group(sample))

    assert verdict == judgement.partitions[0].verdict
    assert verdict == judgement.verdict


def test_data_lost_says_how_many_and_which():
    """The first question of the on-call is how much."""
    judgement = judge(group(partition(1_000, 5_000, earliest=3_500)))

    assert "t/0: up to 2,500 records deleted before they were read: offsets 1,000..3,499" == judgement.evidence


def test_unknown_of_one_sample_says_what_to_do_and_gives_the_number():
    """All numbers, and the next move."""
    judgement = judge(group(partition(1, 4)))

    assert 3 == judgement.lag_records
    assert "t/0: 3 unread, one sample: ask again in 30 s, or `cdc watch`" == judgement.evidence


@pytest.mark.parametrize(
    ("verdict", "before", "now", "window_s", "how"),
    [
        # a commit that went back
        (V.REWOUND, (10, 20), (9, 20), 30, {}),
        (V.REWOUND, (10, 20), (9, 20), 1, {}),
        (V.UNKNOWN, (10, 20), (9, 20), 0.9, {}),  # too close together to be two reads
        (V.OK, (20, 20), (0, 0), 30, {}),  # the log end went back too: a topic made anew has nothing to catch up with
        # all that was unread then has been committed since
        (V.OK, (10, 20), (20, 25), 2, {}),
        (V.UNKNOWN, (10, 20), (19, 25), 2, {}),
        (V.OK, (10, 20), (20, 120), 2, {}),  # at the warn line is not over it
        (V.UNKNOWN, (10, 20), (20, 121), 2, {}),
        (V.OK, (10, 20), (20, 25), 2, {"kind": GroupKind.FLINK}),
        # written after the first read, none committed since: too new to judge
        (V.UNKNOWN, (20, 20), (20, 25), 60, {"commit_interval_s": 5}),
        # a frozen commit
        (V.STUCK, (10, 20), (10, 25), 15, {"commit_interval_s": 5}),
        (V.STUCK, (10, 20), (10, 20), 15, {"commit_interval_s": 5}),
        (V.UNKNOWN, (10, 20), (10, 25), 14.9, {"commit_interval_s": 5}),
        (V.UNKNOWN, (10, 20), (10, 25), 899, {}),  # interval not known: three of the longest usual one
        (V.STUCK, (10, 20), (10, 25), 900, {}),
        # written after the first read, and not due yet
        (V.OK, (20, 20), (20, 25), 15, {"commit_interval_s": 5}),
        (V.UNKNOWN, (20, 20), (20, 25), 15.1, {"commit_interval_s": 5}),
        # two points are no rate, however far apart
        (V.UNKNOWN, (0, 500), (100, 550), 600, {}),
        (V.UNKNOWN, (0, 500), (100, 601), 600, {}),
    ],
)
def test_what_two_reads_prove(verdict, before, now, window_s, how):
    """Movement between two reads: a frozen commit takes three commit intervals, and a rate more than two reads."""
    judgement = judge(group(partition(*now), after_s=window_s), group(partition(*before)), **how)

    assert verdict == judgement.verdict


@pytest.mark.parametrize(
    ("verdict", "members", "state"),
    [
        (V.STUCK, 1, "STABLE"),
        (V.STUCK, 1, "PREPARING_REBALANCE"),
        (V.STUCK, None, "STABLE"),  # somebody must be there
        (V.UNKNOWN, None, None),
        (V.UNKNOWN, None, "EMPTY"),
        (V.STOPPED, 0, "EMPTY"),
    ],
)
def test_stuck_needs_members_that_are_known_to_be_alive(verdict, members, state):
    """Where the broker cannot tell of members, a frozen commit may be a stopped consumer."""
    now = group(partition(10, 25), after_s=60, members=members, state=state)

    assert verdict == judge(now, group(partition(10, 20), members=members, state=state), commit_interval_s=5).verdict


def test_a_frozen_commit_of_members_not_known_says_so():
    """The reason names what is lacking."""
    now = group(partition(10, 25), after_s=60, members=None, state=None)

    judgement = judge(now, group(partition(10, 20), members=None, state=None), commit_interval_s=5)

    assert "t/0: 15 unread, no commit in 60 s; whether it has members is not known" == judgement.evidence


@pytest.mark.parametrize(
    ("verdict", "kind", "members", "state", "window_s"),
    [
        (V.STOPPED, GroupKind.CONNECT_SINK, 0, "EMPTY", 180),
        (V.UNKNOWN, GroupKind.CONNECT_SINK, 0, "EMPTY", 179),  # members may have left a second ago
        (V.UNKNOWN, GroupKind.CONNECT_SINK, 1, "STABLE", 180),
        (V.UNKNOWN, GroupKind.CONNECT_SINK, None, None, 180),
        # commits alone: three of the longest usual interval where none is known
        (V.UNKNOWN, GroupKind.FLINK, 0, "EMPTY", 899),
        (V.STOPPED, GroupKind.FLINK, 0, "EMPTY", 900),
        # had members a read ago, the default interval is 5 s: not sooner than DESERTED_FOR_S
        (V.UNKNOWN, GroupKind.CONSUMER, 0, "EMPTY", 29.9),
        (V.STOPPED, GroupKind.CONSUMER, 0, "EMPTY", 30),
        (V.UNKNOWN, GroupKind.CONSUMER, None, None, 99_999),
    ],
)
def test_stopped_is_nobody_there_and_nothing_committed(verdict, kind, members, state, window_s):
    """What "no members" is worth depends on what commits."""
    now = group(partition(10, 25), after_s=window_s, members=members, state=state)

    assert verdict == judge(now, group(partition(10, 20)), kind=kind).verdict


@pytest.mark.parametrize(
    ("verdict", "window_s", "interval_s"),
    [(V.UNKNOWN, 899, None), (V.STOPPED, 900, None), (V.UNKNOWN, 14.9, 5), (V.STOPPED, 15, 5)],
)
def test_a_consumer_that_never_had_members_is_judged_by_commits_alone(verdict, window_s, interval_s):
    """It may use assign(), or be a Flink job that nobody configured: nothing tells how often it commits."""
    empty = {"members": 0, "state": "EMPTY"}
    now = group(partition(10, 25), after_s=window_s, **empty)

    judgement = judge(now, group(partition(10, 20), **empty), commit_interval_s=interval_s)

    assert verdict == judgement.verdict
    assert "judged by commits alone" in judgement.evidence


@pytest.mark.parametrize(
    ("verdict", "window_s", "before", "kind"),
    [
        (V.STOPPED, 30, "EMPTY", GroupKind.CONNECT_SINK),
        (V.UNKNOWN, 29.9, "EMPTY", GroupKind.CONNECT_SINK),  # a task that restarts is back by then
        (V.UNKNOWN, 30, "STABLE", GroupKind.CONNECT_SINK),  # may have left a second ago
        (V.UNKNOWN, 30, "EMPTY", GroupKind.CONSUMER),  # may use assign()
        (V.UNKNOWN, 30, "EMPTY", GroupKind.FLINK),
    ],
)
def test_a_sink_without_members_at_both_reads_is_stopped_whatever_its_interval(verdict, window_s, before, kind):
    """Nobody is there who could commit: no commit interval has to pass."""
    members = 0 if before == "EMPTY" else 2
    now = group(partition(10, 25), after_s=window_s, members=0, state="EMPTY")
    previous = group(partition(10, 20), members=members, state=before)

    assert verdict == judge(now, previous, kind=kind).verdict


def test_a_sink_without_members_that_committed_in_between_is_not_stopped():
    """It was drained and stopped, or moved to another worker, between the reads."""
    now = group(partition(20, 25), after_s=60, members=0, state="EMPTY")
    previous = group(partition(10, 20), members=0, state="EMPTY")

    assert V.OK == judge(now, previous, kind=GroupKind.CONNECT_SINK).verdict


@pytest.mark.parametrize(
    ("verdict", "lag", "partitions"),
    [
        (V.UNKNOWN, None, []),
        (V.UNKNOWN, None, [partition(None, 0)]),  # nothing was ever written
        (V.OK, 0, [partition(5, 5), partition(None, 0, number=1)]),  # an empty partition is nothing to commit
        (V.NEVER_COMMITTED, 0, [partition(5, 5), partition(None, 1, number=1)]),
        (V.NEVER_COMMITTED, 0, [partition(5, 5), partition(None, 9, earliest=9, number=1)]),  # expired unread
        (V.UNKNOWN, 3, [partition(5, 5), partition(2, 5, number=1)]),
        (V.UNKNOWN, None, [partition(5, 5), partition(2, 5, number=1), partition(5, None, number=2)]),
        (V.UNKNOWN, None, [partition(5, 5), partition(None, 5, number=1, committed_known=False)]),
        (V.UNKNOWN, None, [partition(5, 5), partition(9, 5, number=1)]),  # recreated: 0 would read as drained
        (V.DATA_LOST, 5, [partition(5, 5), partition(0, 5, earliest=1, number=1)]),
    ],
)
def test_the_worst_partition_is_the_groups_verdict(verdict, lag, partitions):
    """Never a sum: one bad partition must not hide behind good ones. Never-committed partitions are not summed."""
    judgement = judge(group(*partitions))

    assert (verdict, lag) == (judgement.verdict, judgement.lag_records)


def test_what_is_known_of_a_lag_is_kept_when_a_partition_is_not():
    """A page must not wait for the broker that does not answer."""
    judgement = judge(group(partition(0, 5000), partition(5, None, number=1)))

    assert (None, 5000) == (judgement.lag_records, judgement.at_least_records)


def test_one_frozen_partition_is_stuck_though_the_others_move():
    """The sum moves; partition 1 does not."""
    before = group(partition(0, 50), partition(7, 50, number=1))
    now = group(partition(50, 60), partition(7, 60, number=1), after_s=30)

    judgement = judge(now, before, commit_interval_s=5)

    assert V.STUCK == judgement.verdict
    assert judgement.evidence.startswith("t/1: 53 unread, commit frozen at 7 for 30 s")


def test_a_partition_that_the_first_read_did_not_have_is_one_sample():
    """Added partitions and a first read that failed are no history."""
    judgement = judge(group(partition(1, 5, number=3), after_s=60), group(partition(1, 5)))

    assert "one sample" in judgement.evidence


@pytest.mark.parametrize(
    ("verdict", "key", "offsets", "earliest"),
    [
        (V.RESIDUAL, ("t", 0), {8, 9}, 0),
        (V.UNKNOWN, ("t", 0), {9}, 0),  # 8 is not in the DLQ
        (V.UNKNOWN, ("t", 1), {8, 9}, 0),  # another partition's dead letters prove nothing here
        (V.DATA_LOST, ("t", 0), {8, 9}, 9),
    ],
)
def test_a_tail_that_is_in_the_dlq_is_residue(verdict, key, offsets, earliest):
    """Every unread offset of that partition is named by the DLQ's headers, or it is no residue."""
    judgement = judge(group(partition(8, 10, earliest)), dead_lettered={key: frozenset(offsets)})

    assert verdict == judgement.verdict
