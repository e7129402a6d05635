"""What an on-call has seen happen to a group, read by read: nothing is paged for nothing, and no loss is hidden."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.lag.ladder import EPOCH
from bot.lag.verdict import Verdict
from bot.model import FlinkJob, GroupKind, Member, PartitionOffsets, Retention
from tests.unit.lag.lag_reads import T0, group, judge, partition

V = Verdict
KEY = ("t", 0)


def reads(*rows: tuple[float, int, int, int]):
    """Return reads of one partition: (after_s, committed, latest, earliest)."""
    return [group(partition(committed, latest, earliest), after_s=s) for s, committed, latest, earliest in rows]


# --- records that were deleted ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "rows"),
    [
        ("offsets 100..499 were deleted before the group committed them, seen 30 s ago: up to 400 records lost",
         [(0, 100, 1000, 50), (30, 100, 1000, 500), (60, 1000, 1000, 500)]),
        ("offsets 100..699 were deleted before the group committed them, seen 60 s ago: up to 600 records lost",
         [(0, 100, 1000, 500), (30, 100, 1000, 700), (60, 800, 1000, 700), (90, 1000, 1000, 700)]),
        ("offsets 100..499 were deleted before the group committed them, seen 24.0 h ago: up to 400 records lost",
         [(0, 100, 1000, 500), (86_400, 1000, 1000, 500)]),
        ("", [(0, 100, 1000, 500), (86_401, 1000, 1000, 500)]),
        ("", [(0, 100, 1000, 50), (30, 1000, 1000, 100)]),  # deleted up to the commit
    ],
)  # fmt: skip
def test_a_loss_is_told_after_the_commit_has_passed_it(said, rows):
    """A consumer out of range resets within seconds, and its lag looks sound again: what is gone stays gone."""
    judgement = judge(*reads(*rows))

    assert V.OK == judgement.verdict
    assert ((f"t/0: {said}",) if said else ()) == judgement.losses
    assert () == judgement.not_known


def test_what_flink_may_have_read_is_not_called_lost_for_certain():
    """It reads on from its own state."""
    judgement = judge(*reads((0, 100, 900, 500), (30, 900, 900, 500)), kind=GroupKind.FLINK)

    assert judgement.losses[0].endswith("up to 400 records lost; Flink may have read them")


@pytest.mark.parametrize(
    ("is_said", "topic", "rows"),
    [
        (True, "t", [(0, 100, 1000, 50), (30, 1000, 1000, 500)]),
        (False, "t", [(0, 100, 1000, 50), (30, 2000, 2000, 1500)]),  # not what was written at the read before
        (False, "app-by-key-repartition", [(0, 100, 1000, 50), (30, 1000, 1000, 500)]),
    ],
)
def test_what_was_deleted_between_two_reads_is_not_known_to_have_been_read(is_said, topic, rows):
    """No read saw the commit behind the log's start; a fast reader looks the same as one that was reset."""
    seen = [group(PartitionOffsets(topic, 0, now, begin, end), after_s=s) for s, now, end, begin in rows]

    judgement = judge(*seen)

    assert (V.OK, ()) == (judgement.verdict, judgement.losses)
    line = "t/0: offsets 100..499 were deleted between two reads, just now: whether they were read first"
    assert ((line,) if is_said else ()) == judgement.not_known


@pytest.mark.parametrize(
    ("verdict", "topic", "rows"),
    [
        (V.UNKNOWN, "app-by-key-repartition", [(0, 100, 1000, 90), (30, 500, 1000, 600)]),
        (V.DATA_LOST, "t", [(0, 100, 1000, 90), (30, 500, 1000, 600)]),
        (V.DATA_LOST, "app-by-key-repartition", [(0, 500, 1000, 90), (30, 500, 1000, 600)]),
        (V.UNKNOWN, "app-by-key-repartition", [(0, 500, 1000, 600)]),
    ],
)
def test_what_kafka_streams_deletes_after_its_commit_is_no_loss(verdict, topic, rows):
    """The commit is read first, then Streams commits and purges, then the log's start is read."""
    seen = [group(PartitionOffsets(topic, 0, now, begin, end), after_s=s) for s, now, end, begin in rows]

    assert verdict == judge(*seen).verdict


# --- tails of markers ------------------------------------------------------------------------------


def test_markers_that_retention_is_about_to_delete_are_no_loss():
    """An exactly-once pipeline that was idle for a week: record and marker expire, and nothing was unread."""
    written = T0 - timedelta(hours=23)
    beside = {
        "ladders": {KEY: {EPOCH: 0, written: 9, written + timedelta(minutes=1): None, T0: None}},
        "retention": {"t": Retention(86_400, None)},
    }
    assert V.LOSS_IMMINENT == judge(group(partition(9, 10)), **beside).verdict

    judgement = judge(group(partition(9, 10)), holds_record={KEY: False}, **beside)

    assert V.RESIDUAL == judgement.verdict
    assert judgement.time_lag is not None
    assert 0 == judgement.time_lag.max_s


def test_markers_that_retention_has_deleted_are_no_loss():
    """What is known of the tail stays true when it is gone."""
    judgement = judge(group(partition(9, 10, earliest=10)), holds_record={KEY: False})

    assert V.RESIDUAL == judgement.verdict
    assert "nothing to read was deleted: offsets 9..9" in judgement.evidence
    assert V.DATA_LOST == judge(group(partition(9, 10, earliest=10)), holds_record={KEY: True}).verdict


@pytest.mark.parametrize(
    ("verdict", "unread", "stable", "fields"),
    [
        (V.UNKNOWN, 3, None, {}),
        (V.UNKNOWN, 3, 10, {}),
        (V.STUCK, 4, 10, {}),
        (V.STUCK, 3, 9, {}),  # an open transaction is no marker
        (V.STOPPED, 3, 10, {"kind": GroupKind.CONNECT_SINK}),
    ],
)
def test_a_short_tail_that_nobody_could_look_into_is_not_called_stuck(verdict, unread, stable, fields):
    """Without READ on the topic every idle partition of an exactly-once pipeline would page."""
    members = 0 if fields else 2
    seen = [group(partition(10 - unread, 10, last_stable=stable), after_s=60 * n, members=members) for n in range(4)]

    judgement = judge(*seen, commit_interval_s=5, unseen_tails=frozenset({KEY}), **fields)

    assert verdict == judgement.verdict


# --- how old --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_level", "other"),
    [
        (False, partition(None, 50, number=1)),
        (False, partition(None, None, earliest=None, number=1)),
        (True, partition(None, 50, earliest=50, number=1)),  # all that was written is deleted
        (True, partition(None, 0, number=1)),
    ],
)
def test_a_partition_that_was_never_committed_is_not_nothing_unread(is_level, other):
    """Its lag is in no sum, so the others' age must not speak for it."""
    judgement = judge(group(partition(10, 10), other))

    assert is_level is (judgement.time_lag is not None)
    assert ("" if is_level else "t/1 was written and never committed") == judgement.time_lag_unknown


@pytest.mark.parametrize(
    ("verdict", "rows"),
    [
        (V.OK, [(0, 100, 110, 0), (30, 140, 150, 0), (60, 180, 190, 0)]),  # all of 30 s ago is committed
        (V.OK, [(0, 110, 110, 0), (30, 110, 115, 0)]),  # level half a minute ago
        (V.LOSS_IMMINENT, [(0, 100, 190, 0), (30, 120, 190, 0), (60, 140, 190, 0)]),
        (V.LOSS_IMMINENT, [(60, 180, 190, 0)]),  # one read cannot tell
    ],
)
def test_a_backfill_that_is_read_as_it_comes_is_in_no_danger(verdict, rows):
    """Its timestamps are as old as the retention, its records have waited for seconds."""
    old = T0 - timedelta(days=1)

    judgement = judge(
        *reads(*rows),
        commit_interval_s=30,
        ladders={KEY: {EPOCH: 0, old: 0, old + timedelta(minutes=1): 1000}},
        retention={"t": Retention(86_400, None)},
    )

    assert verdict == judgement.verdict


# --- somebody has repaired it ----------------------------------------------------------------------


@pytest.mark.parametrize(("said", "back_s"), [("2 members alive for 10 s only", 10), ("2 members alive", 20)])
def test_members_that_have_just_come_back_are_told_from_a_stuck_reader(said, back_s):
    """A consumer that was restarted after two hours has had no time to commit: that is no news of a second fault."""
    gone = [group(partition(10, 500), after_s=s, members=0, state="EMPTY") for s in (0, 7200)]
    back = [group(partition(10, 500), after_s=s) for s in (7230, 7230 + back_s)]

    judgement = judge(*gone, *back, commit_interval_s=5)

    assert V.STUCK == judgement.verdict
    assert judgement.evidence.endswith(said)


def flink(**fields):
    started = T0 + timedelta(seconds=7180)
    return FlinkJob("j", "1f", "RUNNING", **{"started_at": started, "checkpoint_interval_s": 60.0, **fields})


def test_a_job_that_was_just_restored_says_so():
    """It runs for 20 s, and its first checkpoint is due in 40."""
    frozen = [group(partition(10, 500), after_s=s, members=0, state="EMPTY") for s in (0, 7200)]

    judgement = judge(*frozen, kind=GroupKind.FLINK, job=flink())

    assert judgement.evidence.endswith("Flink job j is RUNNING for 20 s only")


def test_a_job_that_restarted_itself_says_when():
    """Its last checkpoint is of before the failure."""
    at = T0 + timedelta(seconds=7200)
    job = flink(
        started_at=T0 - timedelta(hours=9),
        last_completed_at=T0,
        at=at,
        cause="java.lang.OutOfMemoryError",
        cause_at=at - timedelta(seconds=40),
    )

    judgement = judge(group(partition(10, 500), after_s=7200, members=0), kind=GroupKind.FLINK, job=job)

    assert V.NOT_CHECKPOINTING == judgement.verdict
    assert judgement.evidence.endswith("it failed 40 s ago and was restarted")


@pytest.mark.parametrize(("verdict", "latest"), [(V.NOT_CHECKPOINTING, 9), (V.UNKNOWN, 0)])
def test_a_job_without_checkpoints_that_never_committed_is_told(verdict, latest):
    """Nothing was ever committed, and that is why."""
    job = flink(checkpoint_interval_s=None, checkpointing_off=True)

    read = group(partition(None, latest), members=0, state="EMPTY")

    assert verdict == judge(read, kind=GroupKind.FLINK, job=job).verdict


# --- rates -----------------------------------------------------------------------------------------


def test_an_offset_that_was_reset_forward_is_no_speed():
    """It reads 67/s of 100/s; somebody skips a million records: what is left still grows, and no ETA is made of it."""
    seen, committed, latest = [], 0, 1_000_000
    for number in range(21):
        latest += 3000
        committed = latest - 2000 if number == 15 else committed + 2000
        seen.append(group(partition(committed, latest), after_s=30 * number))

    verdicts = [judge(*seen[: number + 1]).verdict for number in range(14, 21)]

    assert [V.FALLING_BEHIND, V.UNKNOWN, V.UNKNOWN, *[V.FALLING_BEHIND] * 4] == verdicts


def test_a_reader_that_is_back_after_a_pause_is_catching_up():
    """One step beside a frozen commit proves no speed, two do."""
    seen, committed, latest = [], 0, 1_000_000
    for number in range(21):
        latest += 3000
        committed += 3000 if number < 5 else 30_000 if number > 15 else 0
        seen.append(group(partition(committed, latest), after_s=30 * number))

    assert V.CATCHING_UP == judge(*seen[:19]).verdict
    assert judge(*seen).eta_s is not None


# --- who comes and goes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "rows"),
    [
        ("once so far (c-a, c-b, c-c): a rolling restart", ["abc", "aBc", "aBC", "ABC"]),
        ("once so far (c-a, c-b, c-c): a rolling restart", ["abc", "ac", "acB", "aB", "aBC", "BC", "ABC"]),
        ("(c-b): thrown out", ["abc", "aBc", "abc", "aBc"]),  # the same one, again and again
    ],
)
def test_a_rolling_restart_is_not_blamed_on_slow_polls(cause, rows):
    """Capitals are the same pods under a new id, on the same host."""
    seen = []
    for number, ids in enumerate(rows):
        names = tuple(sorted((Member(f"{one}-{number // 9}", f"c-{one.lower()}", "/10.0.0.1") for one in ids),
                             key=lambda member: member.id))  # fmt: skip
        seen.append(group(partition(5, 5), after_s=30 * number, members=len(names), membership=names))

    judgement = judge(*seen)

    assert V.FLAPPING == judgement.verdict
    assert cause in judgement.evidence


@pytest.mark.parametrize(("lag", "back_s"), [(0, 60), (900, 61)])
def test_a_clock_that_was_set_back_does_not_freeze_what_is_told(lag, back_s):
    """For an hour each read would be older than the newest, and the group as sound as it was."""
    sound, behind = group(partition(1000, 1000), after_s=0), group(partition(1000, 1900), after_s=-back_s)

    assert lag == judge(sound, behind).lag_records


# --- an outage ------------------------------------------------------------------------------------


def test_an_outage_of_the_members_is_no_commit_interval():
    """A sink is stopped for ten minutes and commits at once when it is back: that says nothing of the next stall."""
    told = [group(partition(300, 340), members=1), group(partition(340, 400), after_s=30, members=1)]
    told += [group(partition(340, 900), after_s=s, members=0, state="EMPTY") for s in range(60, 660, 30)]
    told += [group(partition(340, 900), after_s=660, members=1), group(partition(900, 900), after_s=690, members=1)]

    assert judge(*told, kind=GroupKind.CONNECT_SINK).commit_interval_s is None


@pytest.mark.parametrize(
    ("name", "connector"),
    [("connect-customers-sink", "customers-sink"), ("lake-writer", "NAME"), ("connect-a b; rm", "NAME")],
)
def test_the_advice_for_a_stopped_sink_can_be_copied(name, connector):
    """The group's name is the connector's; another group, or what a shell would run, is not filled in."""
    told = [replace(group(partition(0, 9), after_s=s, members=0, state="EMPTY"), group=name) for s in (0, 100, 200)]
    judgement = judge(*told, kind=GroupKind.CONNECT_SINK)

    assert V.STOPPED == judgement.verdict
    assert f"`cdc connector {connector}` tells" in judgement.advice[0]
