"""Every verdict on lag, produced for real: consumers, producers and a broker that do what goes wrong in the field.

What Flink adds is in test_flink.py, what a Connect sink adds in test_lag_sink.py. The slow committer begins with the
module and is judged at its end.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.model import Finding, LagThreshold, Objective, Status
from bot.probes.consumer_lag import Watched
from tests.system.conftest import _need
from tests.system.fetch import Available
from tests.system.lag_lab import Lab, Rate
from tests.system.parts import Kafka, wait_until

HOUR_MS = 3_600_000
COMMITS_EVERY_S = 60
SOUND = {"OK", "CATCHING_UP", "UNKNOWN"}


@dataclass
class SlowCommitter:
    """A consumer that keeps up and commits once a minute, as a Flink job with a checkpoint a minute does."""

    lab: Lab
    producing: Rate
    committing: Rate
    watched: Watched
    began_s: float


@pytest.fixture(scope="module")
def kafka_that_forgets(available: Available, scratch: Path) -> Iterator[Kafka]:
    """A broker that looks each second for what retention lets it delete (by default each five minutes)."""
    _need(available, "java", "kafka")
    settings = {"log.retention.check.interval.ms": "1000", "log.segment.delete.delay.ms": "1000"}
    with Kafka(available, scratch / "verdicts-kafka", settings=settings) as kafka:
        yield kafka


@pytest.fixture(scope="module")
def lab(kafka_that_forgets: Kafka) -> Iterator[Lab]:
    with Lab(kafka_that_forgets.bootstrap) as lab:
        yield lab


@pytest.fixture(scope="module", autouse=True)
def slow(lab: Lab) -> SlowCommitter:
    """Begun before the first test: it needs two of its commit intervals to be known."""
    lab.topic("slow")
    watched = lab.watch("slow-group", "slow", objective=Objective(LagThreshold(1_000, 60), LagThreshold(10_000, 60)))
    commit = lab.committer("slow-group")
    commit("slow", {0: 0})
    producing = lab.produce_at("slow", 40)
    done = [time.monotonic()]

    def once_a_minute(_: int) -> None:
        if time.monotonic() - done[0] >= COMMITS_EVERY_S:
            done[0] += COMMITS_EVERY_S
            commit("slow", {0: lab.kafka.read_topic("slow", 5).partitions[0][1] or 0})

    committing = lab.start(once_a_minute, 5)
    return SlowCommitter(lab, producing, committing, watched, done[0])


def offsets(finding: Finding, partition: int = 0) -> dict[str, int]:
    """Return one partition as `cdc lag --json` shows it."""
    [topic] = finding.facts["topics"]
    return next(entry for entry in topic["partitions"] if entry["partition"] == partition)


# --- what one read proves ------------------------------------------------------------------------


def test_one_read_of_unread_data_claims_nothing(lab: Lab) -> None:
    """One read cannot tell who reads; it says so, with all its numbers, and is never shown as healthy."""
    lab.topic("once")
    lab.produce("once", 50)
    lab.committer("once-group")("once", {0: 10})
    lab.watch("once-group", "once")
    finding = lab.once("once-group")
    assert ("UNKNOWN", Status.UNKNOWN, 40) == (finding.verdict, finding.status, finding.facts["lag_records"])
    assert "one sample" in finding.evidence[0]


def test_retention_that_overtakes_the_commit_is_data_lost(lab: Lab) -> None:
    """A log without markers: the loss is exact, from the commit to the first record that is left."""
    lab.topic("lost", retention_ms=str(HOUR_MS))
    old_ms = int(time.time() * 1000) - 2 * HOUR_MS
    lab.produce("lost", 500, timestamp=old_ms)
    lab.committer("lost-group")("lost", {0: 120})
    wait_until(lambda: lab.kafka.read_topic("lost", 5).partitions[0][0] == 500, "retention", 60)
    lab.produce("lost", 30)
    lab.watch("lost-group", "lost")
    finding = lab.once("lost-group")
    assert ("DATA_LOST", Status.RED) == (finding.verdict, finding.status)
    assert "380 records" in finding.evidence[0] and "120..499" in finding.evidence[0]
    assert 410 == finding.facts["lag_records"]


def test_unread_data_that_retention_reaches_soon_is_loss_imminent(lab: Lab) -> None:
    """9 h of retention, the oldest unread record is 8.5 h old, an on-call may need 8 h: half an hour is left."""
    lab.topic("soon", retention_ms=str(9 * HOUR_MS))
    lab.produce("soon", 100, timestamp=int(time.time() * 1000) - int(8.5 * HOUR_MS))
    lab.produce("soon", 100)
    commit = lab.committer("soon-group")
    commit("soon", {0: 40})
    lab.watch("soon-group", "soon")
    finding = lab.once("soon-group")
    assert "LOSS_IMMINENT" == finding.verdict, finding.evidence
    assert Status.RED == finding.status
    assert finding.facts["margin_s"] <= 30 * 60 <= finding.facts["margin_max_s"] + 60 < 90 * 60
    low_s, high_s = finding.facts["time_lag_min_s"], finding.facts["time_lag_max_s"]
    assert low_s <= 8.5 * 3600 + 60 and 8.5 * 3600 <= high_s <= 9.5 * 3600

    commit("soon", {0: 100})
    assert "LOSS_IMMINENT" != lab.once("soon-group").verdict


def test_an_unread_tail_of_markers_is_residual(lab: Lab) -> None:
    """A committed transaction ends with a marker that nobody can read: lag 1 for ever, and nothing is behind."""
    lab.topic("markers")
    producer = lab.transactional("markers-tx")
    producer.begin_transaction()
    for number in range(5):
        producer.produce("markers", b"%d" % number)
    producer.commit_transaction(30)
    lab.committer("markers-group")("markers", {0: 5})
    lab.watch("markers-group", "markers")
    finding = lab.once("markers-group")
    assert ("RESIDUAL", 1) == (finding.verdict, finding.facts["lag_records"])
    assert "marker" in finding.evidence[0]
    assert finding.status is not Status.RED
    assert "nothing is unread" in " ".join(finding.evidence)

    lab.delete("markers", 6)
    wait_until(lambda: lab.kafka.read_topic("markers", 5).partitions[0] == (6, 6), "the deletion", 20)
    later = lab.once("markers-group")
    assert "RESIDUAL" == later.verdict, later.evidence


def test_a_loss_is_told_after_the_consumer_has_passed_it(lab: Lab) -> None:
    """What `auto.offset.reset=latest` makes of an offset out of range: lag 0, and 380 records that nobody read."""
    lab.topic("passed")
    lab.produce("passed", 530)
    commit = lab.committer("passed-group")
    commit("passed", {0: 120})
    lab.watch("passed-group", "passed")
    lab.until("passed-group", "UNKNOWN")
    lab.delete("passed", 500)
    lab.until("passed-group", "DATA_LOST")
    commit("passed", {0: 530})
    finding = lab.until("passed-group", "OK")
    [line] = [line for line in finding.evidence if "deleted before the group committed them" in line]
    assert "offsets 120..499" in line and "up to 380 records lost" in line


def test_a_group_that_never_committed_has_no_lag_at_all(lab: Lab) -> None:
    """No offset is null, never 0 and never the whole log."""
    lab.topic("never")
    lab.produce("never", 20)
    member = lab.member("never-group", ["never"])
    member.pause(0)
    lab.watch("never-group", "never")
    finding = lab.until("never-group", "NEVER_COMMITTED")
    assert (None, None) == (finding.facts["lag_records"], offsets(finding)["committed_offset"])
    member.stop()


# --- what a history proves -----------------------------------------------------------------------


def test_a_consumer_that_went_away_is_stopped(lab: Lab) -> None:
    """It committed each half second and then left; the producer goes on."""
    lab.topic("gone")
    member = lab.member("gone-group", ["gone"])
    producing = lab.produce_at("gone", 50)
    lab.watch("gone-group", "gone")
    lab.until("gone-group", "OK")
    time.sleep(6)
    assert "OK" == lab.look("gone-group").verdict
    member.stop()
    finding = lab.until("gone-group", "STOPPED")
    assert Status.RED == finding.status
    assert (0, "EMPTY") == (finding.facts["members"], finding.facts["state"])
    producing.stop()


def test_one_partition_that_stands_still_is_stuck(lab: Lab) -> None:
    """Members are alive and read the other partition; the sum of the group hides it, a partition does not."""
    lab.topic("stuck", 2)
    member = lab.member("stuck-group", ["stuck"])
    both = [lab.produce_at("stuck", 50, partition) for partition in (0, 1)]
    lab.watch("stuck-group", "stuck")
    lab.until("stuck-group", "OK")
    time.sleep(6)
    member.pause(1)
    finding = lab.until("stuck-group", "STUCK")
    assert (Status.RED, 1) == (finding.status, finding.facts["members"])
    assert "stuck/1" in finding.evidence[0]
    assert "STUCK" == offsets(finding, 1)["verdict"] and "STUCK" != offsets(finding, 0)["verdict"]
    for rate in both:
        rate.stop()
    member.stop()


def test_a_commit_that_went_back_is_rewound_until_it_has_recovered(lab: Lab) -> None:
    """A reset or a restore; what is read again is not new lag of the producer's."""
    lab.topic("rewound")
    lab.produce("rewound", 400)
    commit = lab.committer("rewound-group")
    commit("rewound", {0: 400})
    lab.watch("rewound-group", "rewound")
    lab.until("rewound-group", "OK")
    time.sleep(3)
    commit("rewound", {0: 150})
    finding = lab.until("rewound-group", "REWOUND")
    assert "400" in finding.evidence[0] and "150" in finding.evidence[0]
    time.sleep(3)
    commit("rewound", {0: 300})
    time.sleep(2)
    assert "REWOUND" == lab.look("rewound-group").verdict, "300 is not yet back at 400"
    commit("rewound", {0: 400})
    lab.until("rewound-group", "OK")


def test_a_hanging_transaction_blocks_its_readers(lab: Lab) -> None:
    """The consumer reads committed data and stands at the last stable offset: the producer is to blame."""
    lab.topic("hanging")
    commit = lab.committer("hanging-group")
    commit("hanging", {0: 0})
    lab.watch("hanging-group", "hanging")
    producing = lab.produce_at("hanging", 50)
    reading = lab.start(lambda _: commit("hanging", {0: stable_end(lab, "hanging")}), 1)
    lab.until("hanging-group", "OK")
    hangs = lab.transactional("hanging-tx")
    hangs.begin_transaction()
    hangs.produce("hanging", b"never committed")
    hangs.flush(10)
    finding = lab.until("hanging-group", "BLOCKED_BY_TXN")
    assert "transaction" in finding.evidence[0]
    hangs.abort_transaction(30)
    lab.until("hanging-group", "OK")
    reading.stop()
    producing.stop()


def stable_end(lab: Lab, topic: str) -> int:
    """Return where a reader of committed data stands."""
    read = lab.kafka.read_group("hanging-group", [topic], 5)
    return read.partitions[0].last_stable or 0


def test_a_consumer_slower_than_its_producer_is_falling_behind(lab: Lab) -> None:
    """Both rates are told, and they are right within a quarter."""
    lab.topic("slower")
    lab.produce("slower", 3_000)
    lab.watch("slower-group", "slower", commit_interval_s=1)
    producing, consuming = lab.produce_at("slower", 400), lab.commit_at("slower-group", "slower", 100)
    lab.until("slower-group", "FALLING_BEHIND")
    time.sleep(10)
    finding = lab.look("slower-group")
    assert "FALLING_BEHIND" == finding.verdict
    assert 75 <= finding.facts["consumed_per_s"] <= 125 and 300 <= finding.facts["produced_per_s"] <= 500
    assert finding.facts["eta_s"] is None
    producing.stop()
    consuming.stop()


def test_a_consumer_that_catches_up_says_when_it_will_have(lab: Lab) -> None:
    """The time it then took lies in the range that was told, give or take a read."""
    lab.topic("catching")
    lab.produce("catching", 12_000)
    lab.watch("catching-group", "catching", commit_interval_s=1)
    producing, consuming = lab.produce_at("catching", 100), lab.commit_at("catching-group", "catching", 600)
    lab.until("catching-group", "CATCHING_UP")
    time.sleep(6)
    finding, asked_s = lab.look("catching-group"), time.monotonic()
    assert "CATCHING_UP" == finding.verdict, finding.evidence
    low_s, high_s = finding.facts["eta_min_s"], finding.facts["eta_max_s"]
    assert 0 < low_s <= finding.facts["eta_s"] <= high_s
    wait_until(lambda: (lab.kafka.read_group("catching-group", ["catching"], 5).partitions[0].lag_records or 0) < 150,
               "caught up", 60, 0.2)  # fmt: skip
    took_s = time.monotonic() - asked_s
    assert 0.7 * low_s - 2 <= took_s <= 1.3 * high_s + 2, (low_s, took_s, high_s)
    producing.stop()
    consuming.stop()
    lab.until("catching-group", "OK")


def test_a_topic_with_one_hot_partition_is_skewed(lab: Lab) -> None:
    """Neither gaining nor losing, and nearly all of the lag on one partition: the key is to blame, not the size."""
    lab.topic("skewed", 4)
    lab.produce("skewed", 20_000, 2)
    lab.watch("skewed-group", "skewed", commit_interval_s=1)
    commit, read_to = lab.committer("skewed-group"), [0]
    commit("skewed", {0: 0, 1: 0, 2: 0, 3: 0})
    producing = [lab.produce_at("skewed", 300 if partition == 2 else 20, partition) for partition in range(4)]

    def keep_up(count: int) -> None:
        read_to[0] += count
        ends = lab.kafka.read_topic("skewed", 5).partitions
        commit("skewed", {p: read_to[0] if p == 2 else ends[p][1] or 0 for p in range(4)})

    consuming = lab.start(keep_up, 300)
    finding = lab.until("skewed-group", "SKEWED")
    assert "skewed/2" in " ".join(finding.evidence)
    assert not any(re.search(r"\badd (members|consumers)|scale", line, re.IGNORECASE) for line in finding.evidence)
    for rate in (*producing, consuming):
        rate.stop()


def test_members_that_vanish_together_are_flapping_as_lost_workers(lab: Lab) -> None:
    """A worker that dies takes all its members along; three changes within ten minutes."""
    lab.topic("flaps", 6)
    lab.watch("flaps-group", "flaps")
    stays = lab.member("flaps-group", ["flaps"])
    for _ in range(2):
        together = [lab.member("flaps-group", ["flaps"]) for _ in range(3)]
        wait_until(lambda: lab.look("flaps-group").facts["members"] == 4, "four members", 40, 0.5)
        time.sleep(2.5)
        lab.close(together)
        wait_until(lambda: lab.look("flaps-group").facts["members"] == 1, "one member", 40, 0.5)
        time.sleep(2.5)
    finding = lab.until("flaps-group", "FLAPPING", 20)
    assert "together" in " ".join(finding.evidence), finding.evidence
    stays.stop()


def test_members_thrown_out_one_at_a_time_are_too_slow_between_polls(lab: Lab) -> None:
    """`max.poll.interval.ms` passed: the remedy is fewer records a poll or a faster sink, never more members."""
    lab.topic("slowpoll", 2)
    lab.watch("slowpoll-group", "slowpoll")
    stays = lab.member("slowpoll-group", ["slowpoll"])
    sleeper = lab.member("slowpoll-group", ["slowpoll"], max_poll_interval_ms=6000, session_timeout_ms=6000)
    for _ in range(2):
        wait_until(lambda: lab.look("slowpoll-group").facts["members"] == 2, "two members", 40, 0.5)
        time.sleep(2.5)
        sleeper.asleep.set()
        wait_until(lambda: lab.look("slowpoll-group").facts["members"] == 1, "thrown out", 40, 0.5)
        sleeper.asleep.clear()
    wait_until(lambda: lab.look("slowpoll-group").facts["members"] == 2, "back", 40, 0.5)
    finding = lab.until("slowpoll-group", "FLAPPING", 20)
    assert "max.poll" in " ".join(finding.evidence), finding.evidence
    sleeper.stop()
    stays.stop()


# --- what is sound, whatever it looks like --------------------------------------------------------


def test_a_group_of_the_new_protocol_has_members_and_a_state(lab: Lab) -> None:
    """KIP-848: other tools show it dead with no members."""
    lab.topic("new-protocol", 3)
    member = lab.member("new-protocol-group", ["new-protocol"], group_protocol="consumer")
    producing = lab.produce_at("new-protocol", 50, 1)
    lab.watch("new-protocol-group", "new-protocol")
    finding = lab.until("new-protocol-group", "OK")
    assert (1, "STABLE") == (finding.facts["members"], finding.facts["state"])
    producing.stop()
    member.stop()


def test_a_consumer_that_assigns_itself_has_no_members_and_is_sound(lab: Lab) -> None:
    """assign() and Flink never join: while it commits it is well, and when it stops it is stopped."""
    lab.topic("assigned")
    lab.watch("assigned-group", "assigned", commit_interval_s=1)
    producing, consuming = lab.produce_at("assigned", 50), lab.commit_at("assigned-group", "assigned", 1_000)
    lab.until("assigned-group", "OK")
    time.sleep(8)
    finding = lab.look("assigned-group")
    assert ("OK", 0) == (finding.verdict, finding.facts["members"])
    consuming.stop()
    assert Status.RED == lab.until("assigned-group", "STOPPED").status
    producing.stop()


def test_a_consumer_that_commits_once_a_minute_is_judged_at_its_trough(slow: SlowCommitter) -> None:
    """40 records a second for a minute is 2,400 unread at each peak, over the warn line of 1,000: it is well."""
    seen: set[str] = set()
    ends_at_s = max(time.monotonic() + 20, slow.began_s + 2 * COMMITS_EVERY_S)
    while time.monotonic() < ends_at_s or not 0.7 < (time.monotonic() - slow.began_s) / COMMITS_EVERY_S % 1 < 0.9:
        seen.add(slow.lab.look("slow-group").verdict)
        time.sleep(2)
    finding = slow.lab.look("slow-group")
    assert 1_000 < finding.facts["lag_records"] < 2_400, "the peak is over the warn line"
    assert ("OK", Status.GREEN) == (finding.verdict, finding.status), finding.evidence
    assert seen <= SOUND, seen
    assert 50 <= finding.facts["commit_interval_s"] <= 70
    assert finding.facts["trough_records"] < 200
    slow.producing.stop()
    slow.committing.stop()
