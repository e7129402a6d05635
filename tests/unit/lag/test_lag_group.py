"""The verdicts that are the group's own, and those that what is beside its offsets decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.lag.flapping import FLAPPING_CHANGES
from bot.lag.ladder import EPOCH
from bot.lag.skew import is_skewed
from bot.lag.verdict import Verdict
from bot.model import FlinkJob, GroupKind, Member, Retention
from tests.unit.lag.lag_reads import T0, group, judge, partition

V = Verdict
EMPTY = {"members": 0, "state": "EMPTY"}
FLINK = GroupKind.FLINK


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


# --- Flink -----------------------------------------------------------------------------------------


def job(state="RUNNING", completed_s: float | None = 0, **fields) -> FlinkJob:
    done = None if completed_s is None else at(completed_s)
    return FlinkJob(
        "canonical", "1f", state, started_at=at(-9000), checkpoint_interval_s=60, last_completed_at=done, **fields
    )


@pytest.mark.parametrize(
    ("verdict", "state", "after_s"),
    [
        (V.STOPPED, "CANCELED", 2),  # it commits nothing any more, however short one has looked
        (V.STOPPED, "FAILED", 2),
        (V.STOPPED, "FINISHED", 2),
        (V.UNKNOWN, "RESTARTING", 179.9),
        (V.STOPPED, "RESTARTING", 180),
        (V.UNKNOWN, "RUNNING", 170),
    ],
)
def test_a_flink_group_is_stopped_when_its_job_does_not_run(verdict, state, after_s):
    """Its group never has members: with REST the job's state decides, and is named with its cause."""
    reads = [group(partition(10, 20), **EMPTY), group(partition(10, 25), after_s=after_s, **EMPTY)]

    judgement = judge(*reads, kind=FLINK, job=job(state, cause="OutOfMemoryError: Metaspace"))

    assert verdict == judgement.verdict
    if verdict is V.STOPPED:
        assert f"Flink job canonical is {state}: OutOfMemoryError: Metaspace" in judgement.evidence


def test_an_ended_job_is_stopped_at_the_first_read_but_not_without_unread_data():
    """The state of the job is history enough; with nothing unread nothing waits for it."""
    assert V.STOPPED == judge(group(partition(10, 20), **EMPTY), kind=FLINK, job=job("FAILED")).verdict
    level = judge(group(partition(20, 20), **EMPTY), kind=FLINK, job=job("FAILED"))
    assert V.OK == level.verdict
    assert level.evidence.endswith("though Flink job canonical is FAILED")


@pytest.mark.parametrize(
    ("verdict", "after_s", "fields"),
    [
        (V.OK, 180, {}),
        (V.NOT_CHECKPOINTING, 180.1, {}),
        (V.OK, 119, {"failed_since_completed": 1}),
        (V.NOT_CHECKPOINTING, 120, {"failed_since_completed": 1}),
        (V.NOT_CHECKPOINTING, 70, {"failed_since_completed": 2}),
        (V.NOT_CHECKPOINTING, 120, {"last_failed_at": at(100)}),
        (V.OK, 120, {"last_failed_at": at(-100)}),  # before the last completed one
        (V.OK, 900, {"last_duration_s": 300.0}),  # a checkpoint that takes 5 min cannot complete each minute
        (V.NOT_CHECKPOINTING, 901, {"last_duration_s": 300.0}),
        (V.NOT_CHECKPOINTING, 240, {"at": at(200)}),  # by the JobManager's clock
        (V.OK, 240, {"at": at(170)}),
    ],
)
def test_a_running_job_whose_checkpoints_fail_or_are_overdue_commits_nothing(verdict, after_s, fields):
    """Three intervals late, or two failures in a row, or one and two intervals."""
    read = group(partition(20, 20), after_s=after_s, **EMPTY)

    assert verdict == judge(read, kind=FLINK, job=job(**fields)).verdict


def test_not_checkpointing_tells_age_failures_and_why():
    """What the on-call would look up in Flink's page."""
    fails = job(failed_since_completed=11, failure="Checkpoint expired before completing.")
    reads = [group(partition(10, 2000), **EMPTY), group(partition(10, 9000), after_s=720, **EMPTY)]

    judgement = judge(*reads, kind=FLINK, job=fails)

    assert (
        "Flink job canonical is RUNNING, but the last checkpoint completed 12 min ago (one is due every 60 s), "
        "11 failures since: Checkpoint expired before completing."
    ) == judgement.evidence
    assert V.NOT_CHECKPOINTING == judgement.verdict


def test_a_job_that_makes_no_checkpoints_commits_nothing():
    """It reads everything, and its lag grows for ever."""
    off = replace(job(completed_s=None), checkpoint_interval_s=None, checkpointing_off=True)

    assert V.NOT_CHECKPOINTING == judge(group(partition(10, 20), **EMPTY), kind=FLINK, job=off).verdict


def test_one_frozen_partition_of_a_running_job_is_stuck():
    """Its checkpoints complete and the other partition is committed."""
    reads = [
        group(partition(10 * n, 10 * n + 5), partition(7, 50 + n, number=1), after_s=30 * n, **EMPTY) for n in range(7)
    ]

    judgement = judge(*reads, kind=FLINK, job=job(completed_s=170))

    assert V.STUCK == judgement.verdict
    assert "t/1: 49 unread, commit frozen at 7 for 3 min, Flink job canonical is RUNNING" == judgement.evidence


@pytest.mark.parametrize(
    ("job_error", "said"),
    [
        ("", "Flink's REST is not configured: judged by commits alone"),
        ("refused by 10.0.0.7:8081", "Flink did not tell (refused by 10.0.0.7:8081): judged by commits alone"),
    ],
)
def test_without_flinks_rest_commits_alone_tell_and_that_is_said(job_error, said):
    """Three configured intervals without a commit, and the ground of the verdict."""
    reads = [group(partition(10, 20 + n), after_s=60 * n, **EMPTY) for n in range(4)]

    assert V.UNKNOWN == judge(*reads[:3], kind=FLINK, commit_interval_s=60, job_error=job_error).verdict
    judgement = judge(*reads, kind=FLINK, commit_interval_s=60, job_error=job_error)
    assert V.STOPPED == judgement.verdict
    assert judgement.evidence.endswith(said)


def test_one_frozen_partition_without_flinks_rest_is_stuck_as_the_others_are_committed():
    """Somebody commits: the job is there."""
    reads = [
        group(partition(10 * n, 10 * n + 5), partition(7, 50 + n, number=1), after_s=30 * n, **EMPTY) for n in range(7)
    ]

    judgement = judge(*reads, kind=FLINK, commit_interval_s=60)

    assert V.STUCK == judgement.verdict
    assert "other partitions are committed (Flink's REST is not configured" in judgement.evidence


def test_data_lost_of_a_flink_group_says_that_it_reads_on_from_its_own_state():
    """The committed offset is not the read position."""
    judgement = judge(group(partition(5, 20, earliest=10), **EMPTY), kind=FLINK)

    assert V.DATA_LOST == judgement.verdict
    assert "reads on from its own state" in judgement.evidence


def test_a_loss_is_never_more_exact_than_offsets_are():
    """Transaction markers and compacted records take offsets too."""
    judgement = judge(group(partition(5, 20, earliest=10)), retention={"t": Retention(3600, None)})

    assert "t/0: up to 5 records deleted before they were read: offsets 5..9" == judgement.evidence


# --- what retention, transactions and the log itself tell -----------------------------------------


@pytest.mark.parametrize(
    ("verdict", "age_h", "retention_h"),
    [(V.LOSS_IMMINENT, 17, 24), (V.UNKNOWN, 15, 24), (V.LOSS_IMMINENT, 30, 24)],
)
def test_unread_data_within_the_horizon_of_its_deletion_is_in_danger(verdict, age_h, retention_h):
    """An on-call has 8 h: retention of a day reaches records of 17 h then, and of 15 h not yet."""
    written = T0 - timedelta(hours=age_h)
    ladder = {EPOCH: 0, written: 10, written + timedelta(minutes=1): 11, T0: None}

    judgement = judge(
        group(partition(10, 20)),
        ladders={("t", 0): ladder},
        retention={"t": Retention(retention_h * 3600, None)},
    )

    assert verdict == judgement.verdict
    assert judgement.time_lag is not None
    assert age_h * 3600 - 60 <= judgement.time_lag.min_s <= age_h * 3600


def test_the_age_of_a_group_is_that_of_its_oldest_unread_record():
    """And says of which partitions it is not known: then only the minimum stands."""
    ladder = {EPOCH: 0, at(-700): 10, at(-600): 11, T0: None}
    reads = group(partition(10, 20), partition(5, 9, number=1))

    half = judge(reads, ladders={("t", 0): ladder})
    whole = judge(reads, ladders={("t", 0): ladder, ("t", 1): {EPOCH: 0, at(-60): 5, at(-30): 6, T0: None}})

    assert half.time_lag is not None
    assert whole.time_lag is not None
    assert (600, None) == (half.time_lag.min_s, half.time_lag.max_s)
    assert "t/1" in half.time_lag_unknown
    assert (600, 700, "") == (whole.time_lag.min_s, whole.time_lag.max_s, whole.time_lag_unknown)


def test_nothing_unread_has_no_age():
    """Zero, and not "not known"."""
    level = judge(group(partition(10, 10)))

    assert level.time_lag is not None
    assert (0, 0) == (level.time_lag.min_s, level.time_lag.max_s)


@pytest.mark.parametrize(
    ("verdict", "committed", "stable", "after_s", "grown"),
    [
        (V.BLOCKED_BY_TXN, 50, 50, 15, 1),
        (V.BLOCKED_BY_TXN, 40, 50, 15, 1),  # markers stand before the last stable offset
        (V.STUCK, 39, 50, 15, 1),  # it has not read what it could
        (V.STUCK, 51, 50, 15, 1),  # a reader of uncommitted data is not held
        (V.STUCK, 50, 50, 15, 0),  # nothing was written beyond it
        (V.STUCK, 50, None, 15, 1),
        (V.UNKNOWN, 50, 50, 14.9, 1),
    ],
)
def test_a_reader_at_the_last_stable_offset_waits_for_a_transaction(verdict, committed, stable, after_s, grown):
    """The log grows beyond it; the producer is to blame, not the consumer."""
    reads = [group(partition(committed, 60 + n * grown, last_stable=stable), after_s=n * after_s / 3) for n in range(4)]

    assert verdict == judge(*reads, commit_interval_s=5).verdict


def test_one_read_never_blames_a_transaction():
    """Every open transaction looks like this for a moment."""
    assert V.UNKNOWN == judge(group(partition(50, 60, last_stable=50))).verdict


@pytest.mark.parametrize(("verdict", "holds"), [(V.RESIDUAL, False), (V.UNKNOWN, True), (V.UNKNOWN, None)])
def test_a_tail_without_a_record_is_residue(verdict, holds):
    """Markers, aborted or compacted records: nobody will ever read them."""
    told = {} if holds is None else {("t", 0): holds}

    assert verdict == judge(group(partition(9, 10)), holds_record=told).verdict


def test_residue_is_not_stuck_however_long_it_stands():
    """Lag 1 for ever, and members alive."""
    reads = [group(partition(9, 10), after_s=600 * n) for n in range(5)]

    assert V.RESIDUAL == judge(*reads, commit_interval_s=5, holds_record={("t", 0): False}).verdict


@pytest.mark.parametrize("verdict", [V.UNKNOWN, V.DATA_LOST])
def test_a_deleted_topic_is_told_and_hides_nothing_worse(verdict):
    """The group still holds offsets of a topic that is gone."""
    gone = replace(partition(7, None, earliest=None), topic="old", error="Broker: Unknown topic or partition")
    other = partition(5, 9, earliest=6) if verdict is V.DATA_LOST else partition(5, 5)

    judgement = judge(group(gone, other))

    assert verdict == judgement.verdict
    assert "topic old does not exist any more; the group still holds offset 7 of it" == judgement.partitions[0].evidence


def test_an_offset_that_is_gone_is_told_with_the_last_one_seen():
    """Offsets expire with offsets.retention.minutes: the group would begin anew."""
    judgement = judge(group(partition(7, 9)), group(partition(None, 9), after_s=30))

    assert V.NEVER_COMMITTED == judgement.verdict
    assert "the last one seen was 7" in judgement.evidence


# --- SKEWED ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skewed", "lags"),
    [
        (True, [51, 17, 16, 16]),
        (False, [50, 17, 17, 16]),  # half is not over half
        (True, [301, 100, 100, 1]),
        (False, [300, 100, 100]),  # three medians are not over three medians
        (True, [301, 100, 100]),
        (False, [400, 1]),  # of two partitions none is hot
        (True, [1, 0, 0]),
        (False, [0, 0, 0]),
    ],
)
def test_skew_is_over_half_of_the_lag_and_over_three_medians(skewed, lags):
    """Both, of at least three partitions."""
    assert skewed == is_skewed(lags)


def skewed_reads(lag: int, hot_per_s=10, hot_read_per_s=10, count=4, **fields):
    return [
        group(
            partition(int(hot_read_per_s * 10 * n), lag + int(hot_per_s * 10 * n)),
            *(partition(100 * n, 100 * n + 1, number=number) for number in (1, 2, 3)),
            after_s=10 * n,
            **fields,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(("verdict", "lag"), [(V.OK, 97), (V.SKEWED, 98)])
def test_a_skew_counts_over_the_warn_line_only(verdict, lag):
    """97 and three of 1 are 100: at the line. Three records on one partition are a skew of nothing."""
    assert verdict == judge(*skewed_reads(lag), commit_interval_s=5).verdict


def test_one_read_is_no_skew():
    """Whether its keys or its reader are to blame, or it is just being read, takes more than one."""
    assert V.UNKNOWN == judge(*skewed_reads(5000, count=1)).verdict


MEMBERS = (Member("m1", "app-1", "/10.0.0.1", (("t", 0),)), Member("m2", "app-2", "/10.0.0.2", (("t", 1),)))


@pytest.mark.parametrize(
    ("verdict", "said", "advice", "per_s", "read_per_s"),
    [
        (V.SKEWED, "its keys are hot", "spread the hot key", 40, 40),
        (V.SKEWED, "an old backlog, read by app-1", "More members do not help", 10, 10),
        (V.SKEWED, "written at 20.1/s, the median of the others at 10.0/s", "spread the hot key", 20.1, 20.1),
        (V.SKEWED, "an old backlog", "More members do not help", 20, 20),  # twice the median is not over it
        (V.FALLING_BEHIND, "its reader, app-1 on /10.0.0.1, is slow", "app-1 on /10.0.0.1.", 20, 4),
    ],
)
def test_hot_keys_are_told_from_a_slow_member(verdict, said, advice, per_s, read_per_s):
    """By how it is written and read beside the others; the member that owns it is named."""
    reads = skewed_reads(5000, per_s, read_per_s, membership=MEMBERS)

    judgement = judge(*reads, commit_interval_s=5)

    assert verdict == judgement.verdict
    assert "t/0 carries 100% of the topic's lag" in judgement.evidence
    assert said in judgement.evidence
    assert advice in judgement.advice[0]


# --- FLAPPING --------------------------------------------------------------------------------------


def people(*names: str) -> tuple[Member, ...]:
    return tuple(Member(f"{name}-id", name.split("#")[0], "/10.0.0.1") for name in names)


def memberships(*members: tuple[Member, ...], step_s: float = 30):
    return [
        group(partition(5, 5), after_s=step_s * n, members=len(each), membership=each) for n, each in enumerate(members)
    ]


@pytest.mark.parametrize(
    ("verdict", "states", "step_s"),
    [
        (V.OK, ["STABLE", "PREPARING_REBALANCE", "STABLE"], 30),
        (V.FLAPPING, ["STABLE", "PREPARING_REBALANCE", "STABLE", "COMPLETING_REBALANCE"], 30),
        (V.OK, ["STABLE", None, "STABLE", None, "STABLE"], 30),  # not told is no change
        (V.FLAPPING, ["STABLE", "EMPTY", "STABLE", "EMPTY"], 300),  # the first of three is 10 min old
        (V.OK, ["STABLE", "EMPTY", "STABLE", "EMPTY"], 300.1),
    ],
)
def test_three_changes_in_ten_minutes_are_flapping(verdict, states, step_s):
    """States or members, as reads show them."""
    reads = [group(partition(5, 5), after_s=step_s * n, state=state) for n, state in enumerate(states)]

    assert verdict == judge(*reads).verdict
    assert FLAPPING_CHANGES == 3


@pytest.mark.parametrize("kind", [GroupKind.CONSUMER, GroupKind.CONNECT_SINK])
def test_members_that_vanish_together_are_lost_workers(kind):
    """A dead worker takes all of its members along; that they join one by one says nothing."""
    few, all_ = people("stays"), people("stays", "a", "b", "c")

    judgement = judge(
        *memberships(few, all_, few, people("stays", "a#2", "b#2", "c#2"), people("stays", "a#2")), kind=kind
    )

    assert V.FLAPPING == judgement.verdict
    assert "3 members vanish together on /10.0.0.1: workers are lost" in judgement.evidence
    assert not any("max.poll" in line for line in judgement.advice)


@pytest.mark.parametrize(
    ("kind", "said"),
    [(GroupKind.CONSUMER, "Lower max.poll.records"), (GroupKind.CONNECT_SINK, "consumer.override.max.poll.records")],
)
def test_members_thrown_out_one_at_a_time_are_too_slow_between_polls(kind, said):
    """The remedy is fewer records a poll or faster work, never more members."""
    reads = memberships(
        people("a", "b", "c"), people("a", "c"), people("a", "b#2", "c"), people("a", "b#2"), people("a", "b#2", "c#2"),
        people("a", "c#2"),
    )  # fmt: skip

    judgement = judge(*reads, kind=kind)

    assert V.FLAPPING == judgement.verdict
    assert (
        "one at a time (b, c): thrown out, most likely because a batch takes longer than max.poll" in judgement.evidence
    )
    assert said in judgement.advice[0]


def test_flapping_without_names_of_members_tells_no_cause():
    """Counts alone cannot tell a lost worker from a slow one."""
    reads = [group(partition(5, 5), after_s=30 * n, members=members) for n, members in enumerate((3, 2, 3, 2))]

    assert "the cause is not known" in judge(*reads).evidence


def test_an_assignment_that_moves_is_no_change():
    """Members and state are as they were."""
    reads = memberships(*[(replace(MEMBERS[0], partitions=(("t", n),)),) for n in range(6)])

    assert V.OK == judge(*reads).verdict


# --- advice ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "members", "partitions"),
    [
        ("1 member for 2 partitions: add members, up to 2.", 1, 2),
        ("More members would not help: there are 2 members for 2 partitions.", 2, 2),
        ("More members would not help: there are 3 members for 2 partitions.", 3, 2),
        ("More members would not help: there are 1 member for 1 partition.", 1, 1),
    ],
)
def test_scaling_is_advised_only_where_members_are_lacking(said, members, partitions):
    """A partition has one reader: more members than partitions are idle."""
    reads = [
        group(
            *(partition(50 * n, 500 + 60 * n, number=number) for number in range(partitions)),
            after_s=10 * n,
            members=members,
        )
        for n in range(4)
    ]

    judgement = judge(*reads, commit_interval_s=10)

    assert V.FALLING_BEHIND == judgement.verdict
    assert judgement.advice[0].startswith(said)


def test_scaling_is_not_advised_for_one_hot_partition():
    """It falls behind by itself, and one partition has one reader."""
    judgement = judge(*skewed_reads(5000, 60, 30), commit_interval_s=5)

    assert V.FALLING_BEHIND == judgement.verdict
    assert judgement.advice[0].startswith("More members do not help, one partition has one reader")


@pytest.mark.parametrize("members", [None, 0])
def test_scaling_is_not_advised_where_members_are_not_told(members):
    """assign() and an old broker."""
    reads = [group(partition(50 * n, 500 + 60 * n), after_s=10 * n, members=members, state=None) for n in range(4)]

    judgement = judge(*reads, commit_interval_s=10)

    assert (V.FALLING_BEHIND, ()) == (judgement.verdict, judgement.advice)
