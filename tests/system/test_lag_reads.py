"""The reads of lag on real Kafka: each kind of group, each thing that can be missing, one by one and many at once.

The module has a cluster of its own: broker 1, which leads all but what says otherwise, and broker 2, which the last
test stops. Every answer is asked for twice: by `read_group`, and by `read_groups` among more groups than it reads one
by one.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.cimpl import NewPartitions, NewTopic

from bot.clients.kafka import FEW_GROUPS, ConfluentKafka
from bot.model import GroupOffsets
from bot.ports import Missing, PortError
from tests.system.conftest import _need
from tests.system.fetch import Available
from tests.system.parts import HOST, Kafka, _kafka_java, free_port, wait_until
from tests.system.test_clients import SILENT, commit, create_topic, now, produce

ROOT = Path(__file__).parents[2]
FILLERS = [f"filler-{number}" for number in range(FEW_GROUPS)]
PROTOCOLS = ("classic", "consumer")


@dataclass
class Two:
    """Brokers 1 and 2 of one cluster; `fresh` is what broker 1 answered before it had any topic or group."""

    one: Kafka
    two: Kafka
    java: Sequence[str]
    fresh: Mapping[str, object]
    client: ConfluentKafka

    @property
    def topics(self) -> set[str]:
        return set(self.one.admin().list_topics(timeout=5).topics)

    def each(self, group: str, topics: Sequence[str] = (), deadline_s: float = 10) -> list[GroupOffsets | PortError]:
        """Return the group as `read_group` and as `read_groups` among others read it."""
        many = self.client.read_groups({group: topics, **dict.fromkeys(FILLERS, ())}, deadline_s)[group]
        try:
            return [self.client.read_group(group, topics, deadline_s), many]
        except PortError as error:
            return [error, many]

    def read(self, group: str, topics: Sequence[str] = ()) -> GroupOffsets:
        """Return what both say, and that it is the same."""
        one, many = self.each(group, topics)
        assert isinstance(one, GroupOffsets), one
        assert isinstance(many, GroupOffsets), many
        assert (one.state, one.members, one.partitions, one.not_known, one.membership) == (
            many.state,
            many.members,
            many.partitions,
            many.not_known,
            many.membership,
        )
        return one


@pytest.fixture(scope="module")
def two(available: Available, scratch: Path) -> Iterator[Two]:
    """A cluster of two brokers whose first one was asked before there was anything."""
    _need(available, "java", "kafka")
    folder, controller = scratch / "lag-reads", f"{HOST}:{free_port()}"
    port, other = free_port(), free_port()
    voters = {"controller.quorum.voters": f"1@{controller}", "broker.session.timeout.ms": "30000"}
    first = {**voters, "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{controller}"}
    second = {
        **voters,
        "process.roles": "broker",
        "node.id": "2",
        "listeners": f"PLAINTEXT://{HOST}:{other}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{other}",
    }
    with Kafka(available, folder / "one", port, first) as one:
        client = ConfluentKafka({"bootstrap.servers": one.bootstrap}, now)
        alone: object
        try:
            alone = client.read_group("nobody", [], 5)
        except PortError as error:
            alone = error
        fresh: dict[str, object] = {"alone": alone, **client.read_groups(dict.fromkeys(("nobody", *FILLERS), ()), 5)}
        fresh["topics"] = set(one.admin().list_topics(timeout=5).topics) - {"__consumer_offsets"}
        create_topic(one, "fill", 2)
        for group in FILLERS:
            commit(one, group, "fill", {0: 0})  # also creates the coordinators, all on broker 1
        with Kafka(available, folder / "two", other, second) as two:
            yield Two(one, two, _kafka_java(available, folder / "tools", 128), fresh, client)


def member_of(kafka: Kafka, group: str, topic: str, protocol: str = "classic") -> Consumer:
    """Return a consumer that is a member of the group and has its partitions."""
    member = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": group,
            "group.protocol": protocol,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        },
        logger=SILENT,
    )
    member.subscribe([topic])

    def joined() -> bool:
        member.poll(0.2)
        return bool(member.assignment())

    wait_until(joined, f"a member of {group}")
    return member


def delete_topic(kafka: Kafka, topic: str) -> None:
    admin = kafka.admin()
    for future in admin.delete_topics([topic]).values():
        future.result(timeout=10)
    wait_until(lambda: topic not in kafka.admin().list_topics(timeout=5).topics, f"{topic} deleted")


def test_an_empty_cluster_has_no_groups_and_gets_no_topics(two: Two) -> None:
    """The first questions that a broker ever hears: each group is an error in words, and asking created nothing."""
    assert set() == two.fresh["topics"]
    for name, answer in two.fresh.items():
        if name != "topics":
            assert isinstance(answer, (PortError, GroupOffsets)), name
            assert not isinstance(answer, GroupOffsets) or ((), None) == (answer.partitions, answer.state)
    assert [True, True] == [isinstance(one, Missing) for one in two.each("nobody")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_group_with_members_tells_who_they_are_and_what_they_have(two: Two, protocol: str) -> None:
    """Both protocols: the classic one and KIP-848's, which older clients call dead."""
    topic, group = f"kinds-{protocol}", f"members-{protocol}"
    create_topic(two.one, topic, 3)
    produce(two.one, topic, 5, partition=1)
    member = member_of(two.one, group, topic, protocol)
    member.commit(offsets=[TopicPartition(topic, 1, 2)], asynchronous=False)
    wait_until(lambda: two.client.read_group(group, [], 5).state == "STABLE", "stable")

    read = two.read(group)
    member.close()
    wait_until(lambda: two.client.read_group(group, [], 5).state == "EMPTY", "empty")
    left = two.read(group)

    (who,) = read.membership
    assert (("STABLE", 1), "rdkafka", 3) == ((read.state, read.members), who.client, len(who.partitions))
    assert who.id and HOST in who.host
    for one in (read, left):
        assert [(0, None, 0, 0, 0), (1, 2, 0, 5, 5), (2, None, 0, 0, 0)] == [
            (p.partition, p.committed, p.earliest, p.latest, p.last_stable) for p in one.partitions
        ]
        assert () == one.not_known
    assert ("EMPTY", 0, ()) == (left.state, left.members, left.membership)


def test_a_group_that_only_commits_is_empty_and_whole(two: Two) -> None:
    """Flink and assign() consumers: offsets without members, and nothing is lacking."""
    create_topic(two.one, "simple", 2)
    produce(two.one, "simple", 4)
    commit(two.one, "simple-group", "simple", {0: 3})

    read = two.read("simple-group")

    assert ("EMPTY", 0, ()) == (read.state, read.members, read.not_known)
    assert [("simple", 0, 3, 1), ("simple", 1, None, None)] == [
        (p.topic, p.partition, p.committed, p.lag_records) for p in read.partitions
    ]


def test_both_ways_agree_with_kafkas_own_tool_partition_by_partition(two: Two) -> None:
    """Quiet groups: what `kafka-consumer-groups --describe` prints is what is read."""
    create_topic(two.one, "agreed", 5)
    for partition in range(4):
        produce(two.one, "agreed", 3 * partition, partition)
    commit(two.one, "agreeing", "agreed", {0: 0, 1: 3, 2: 1, 3: 0})
    tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    words = [*two.java, tool, "--bootstrap-server", two.one.bootstrap, "--describe", "--group", "agreeing"]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60)
    rows = re.findall(r"^agreeing\s+(\S+)\s+(\d+)\s+(\S+)\s+(\S+)\s+(\S+)", ran.stdout, re.M)
    printed = {(topic, int(partition)): tuple(map(_number, rest)) for topic, partition, *rest in rows}

    read = two.read("agreeing")

    assert 4 == len(printed), ran.stdout + ran.stderr
    committed = {p.key: (p.committed, p.latest, p.lag_records) for p in read.partitions if p.committed is not None}
    assert printed == committed


def _number(text: str) -> int | None:
    return None if text == "-" else int(text)


def test_a_deleted_topic_is_an_error_of_its_own_partitions(two: Two) -> None:
    """The rest of the group is read; the topic is not created again by asking."""
    for topic in ("kept", "deleted"):
        create_topic(two.one, topic, 2)
        produce(two.one, topic, 2)
        commit(two.one, "orphan", topic, {0: 1})
    before = two.read("orphan", ["kept", "deleted"])
    delete_topic(two.one, "deleted")

    def forgotten() -> bool:
        """Kafka forgets the commits of a deleted topic a moment later."""
        reads = two.each("orphan", ["kept", "deleted"])
        return not any(p.committed for one in reads if isinstance(one, GroupOffsets) for p in one.partitions[:2])

    wait_until(forgotten, "the commits of a deleted topic forgotten")
    read = two.read("orphan", ["kept", "deleted"])
    unnamed = two.read("orphan")

    assert [None] * 4 == [p.error for p in before.partitions]
    gone, kept = read.partitions[:2], read.partitions[2:]
    assert [("deleted", 0), ("deleted", 1)] == [p.key for p in gone]
    assert ["topic deleted no longer exists"] * 2 == [p.error for p in gone]
    assert [(None, True)] * 2 == [(p.latest, p.lag_is_unknown or p.committed is not None) for p in gone]
    assert [("kept", 1, 2), ("kept", None, 0)] == [(p.topic, p.committed, p.latest) for p in kept]
    assert kept == tuple(p for p in unnamed.partitions if p.topic == "kept")
    assert ("topic deleted no longer exists",) == read.not_known
    assert "deleted" not in two.topics


def test_a_topic_that_never_was_is_named_beside_the_others(two: Two) -> None:
    """One typo of two topics: that one is unknown. Alone it is Missing."""
    create_topic(two.one, "real")
    commit(two.one, "typist", "real", {0: 0})

    read = two.read("typist", ["real", "typo"])

    assert [(None, 0), ("topic typo does not exist", None)] == [(p.error, p.committed) for p in read.partitions]
    assert read.partitions[1].lag_is_unknown
    with pytest.raises(Missing, match="no topic typo"):
        two.client.read_group("typist", ["typo"], 5)
    assert "typo" not in two.topics


def test_a_partition_added_meanwhile_is_there_without_a_commit(two: Two) -> None:
    """It is the one to worry about."""
    create_topic(two.one, "growing")
    commit(two.one, "grower", "growing", {0: 0})
    before = two.read("grower")
    admin = two.one.admin()
    for future in admin.create_partitions([NewPartitions("growing", 2)]).values():
        future.result(timeout=10)
    wait_until(lambda: len(two.client.read_topic("growing", 5).partitions) == 2, "the second partition")

    assert [(0, 0)] == [(p.partition, p.committed) for p in before.partitions]
    assert [(0, 0), (1, None)] == [(p.partition, p.committed) for p in two.read("grower").partitions]


def test_a_commit_beyond_the_log_end_is_shown_and_is_no_lag(two: Two) -> None:
    """A recreated topic: no negative number."""
    create_topic(two.one, "short")
    produce(two.one, "short", 3)
    commit(two.one, "beyond", "short", {0: 100})

    (partition,) = two.read("beyond").partitions

    assert (100, 3, None, True) == (
        partition.committed,
        partition.latest,
        partition.lag_records,
        partition.lag_is_unknown,
    )


@pytest.mark.parametrize("group", ['späti / "eins" <!channel>', "--", "a b\tc", "x" * 249, "'; --", "日本"])
def test_odd_characters_in_a_name_are_a_name(two: Two, group: str) -> None:
    """Kafka takes nearly everything as a group's name."""
    commit(two.one, group, "fill", {0: 0})

    assert [("fill", 0, 0), ("fill", 1, None)] == [
        (p.topic, p.partition, p.committed) for p in two.read(group, ["fill"]).partitions
    ]


@pytest.mark.parametrize("group", ["", "a\0b", "never heard of", "z" * 5000, "\udcff"])
def test_a_name_that_no_group_has_is_missing(two: Two, group: str) -> None:
    """Whatever it is: the name, not an exception of the client."""
    assert ["Missing", "Missing"] == [type(one).__name__ for one in two.each(group, ["fill"])]


# --- transactions --------------------------------------------------------------------------------


def transactional(kafka: Kafka, name: str) -> Producer:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": name}, logger=SILENT)

    def initialised() -> bool:
        try:
            producer.init_transactions(5)
        except KafkaException:
            return False
        return True

    wait_until(initialised, "the transaction coordinator")
    return producer


def test_a_hanging_transaction_holds_the_last_stable_offset_back(two: Two) -> None:
    """A reader of committed data gets no further; the unread tail is nobody's to judge until it ends."""
    create_topic(two.one, "hanging")
    produce(two.one, "hanging", 4)
    commit(two.one, "blocked", "hanging", {0: 4})
    producer = transactional(two.one, "hanging")
    producer.begin_transaction()
    producer.produce("hanging", b"x", partition=0)
    assert 0 == producer.flush(10)

    (open_,) = two.read("blocked").partitions
    while_open = two.client.holds_record({("hanging", 0): 4}, 5)
    producer.abort_transaction(10)
    wait_until(lambda: two.client.read_group("blocked", [], 5).partitions[0].last_stable == 6, "the marker")
    (ended,) = two.read("blocked").partitions

    assert (4, 4, 5) == (open_.committed, open_.last_stable, open_.latest)
    assert (4, 6, 6) == (ended.committed, ended.last_stable, ended.latest)
    assert {} == while_open
    # An aborted record and its marker: lag 2, and nothing to read.
    assert {("hanging", 0): False} == two.client.holds_record({("hanging", 0): 4}, 5)
    assert {("hanging", 0): True} == two.client.holds_record({("hanging", 0): 3}, 5)


def test_looking_for_a_record_leaves_no_group_and_tells_each_partition(two: Two) -> None:
    """Markers behind one, records behind another, nothing behind the third; one is out of range."""
    create_topic(two.one, "tails", 4)
    producer = transactional(two.one, "tails")
    for partition in (0, 1, 3):
        producer.begin_transaction()
        producer.produce("tails", b"x", partition=partition)
        producer.commit_transaction(10)

    wait_until(lambda: two.client.read_topic("tails", 5).end_total == 6, "the markers")
    started = time.monotonic()
    found = two.client.holds_record({("tails", 0): 1, ("tails", 1): 0, ("tails", 2): 0, ("tails", 3): 99}, 5)

    assert {("tails", 0): False, ("tails", 1): True, ("tails", 2): False} == found
    assert time.monotonic() - started < 3
    admin = two.one.admin()
    listed = admin.list_consumer_groups(request_timeout=10).result(timeout=10).valid
    assert "cdc-oncall-tail-sample" not in {group.group_id for group in listed}


# --- by time -------------------------------------------------------------------------------------


def test_offsets_by_time_are_those_of_known_timestamps(two: Two) -> None:
    """At, between and after records; to the millisecond; a second question about the past is answered from memory."""
    create_topic(two.one, "dated", 2)
    base = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    for minute in (0, 10, 10, 30):
        at_ms = int((base + timedelta(minutes=minute)).timestamp() * 1000)
        produce(two.one, "dated", 1, timestamp=at_ms)
    asked = {
        base - timedelta(days=1): 0,
        base: 0,
        base + timedelta(microseconds=1): 1,
        base + timedelta(minutes=10): 1,
        base + timedelta(minutes=10, milliseconds=1): 3,
        base + timedelta(minutes=30): 3,
        base + timedelta(minutes=31): None,
    }

    found = two.client.read_offsets_at({("dated", 0): list(asked), ("dated", 1): [base]}, 5)
    started = time.perf_counter()
    again = two.client.read_offsets_at({("dated", 0): [at for at, offset in asked.items() if offset is not None]}, 0.0)
    took_s = time.perf_counter() - started

    assert {("dated", 0): asked, ("dated", 1): {base: None}} == found
    assert {at: offset for at, offset in asked.items() if offset is not None} == again[("dated", 0)]
    assert took_s < 0.01


def test_offsets_by_time_of_a_recreated_topic_are_asked_again(two: Two) -> None:
    """The memory is of the log, not of the name."""
    at = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    key = ("reborn", 0)
    create_topic(two.one, "reborn")
    produce(two.one, "reborn", 3, timestamp=int(at.timestamp() * 1000) - 1)
    produce(two.one, "reborn", 2, timestamp=int(at.timestamp() * 1000))
    two.client.read_topic("reborn", 5)
    first = two.client.read_offsets_at({key: [at]}, 5)
    delete_topic(two.one, "reborn")
    create_topic(two.one, "reborn")
    produce(two.one, "reborn", 2, timestamp=int(at.timestamp() * 1000))
    wait_until(lambda: two.client.read_topic("reborn", 5).end_total == 2, "the new log")

    assert {key: {at: 3}} == first
    assert {key: {at: 0}} == two.client.read_offsets_at({key: [at]}, 5)


def test_what_cannot_be_read_by_time_is_absent_or_an_error(two: Two) -> None:
    """An unknown topic beside a known one is absent, alone it is an error."""
    at = now()

    found = two.client.read_offsets_at({("fill", 0): [at], ("nothing", 0): [at]}, 5)

    assert {("fill", 0): {at: None}, ("nothing", 0): {}} == found
    with pytest.raises(PortError, match="offsets by time of nothing/0"):
        two.client.read_offsets_at({("nothing", 0): [at]}, 2)


def test_retention_is_what_the_topic_says(two: Two) -> None:
    """Without limit is None; the broker's own defaults count; an unknown topic is its own error."""
    create_topic(
        two.one,
        "kept-by",
        config={
            "retention.ms": "3600000",
            "retention.bytes": "1000000",
            "cleanup.policy": "compact,delete",
            "message.timestamp.type": "LogAppendTime",
            "segment.ms": "60000",
        },
    )
    create_topic(two.one, "kept-for-ever", config={"retention.ms": "-1", "cleanup.policy": "compact"})

    found = two.client.read_retention(["kept-by", "kept-for-ever", "unheard"], 5)

    by, ever, unheard = found["kept-by"], found["kept-for-ever"], found["unheard"]
    assert not isinstance(by, PortError)
    assert not isinstance(ever, PortError)
    assert (3600.0, 1_000_000, True, True, "LogAppendTime", 60.0) == (
        by.retention_s,
        by.retention_bytes,
        by.is_compacted,
        by.is_deleted,
        by.timestamps,
        by.segment_s,
    )
    assert (None, None, True, False) == (ever.retention_s, ever.retention_bytes, ever.is_compacted, ever.is_deleted)
    assert isinstance(unheard, Missing)


# --- many groups ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd(two: Two) -> Mapping[str, Sequence[str]]:
    """Sixty groups on a topic of twenty partitions."""
    create_topic(two.one, "crowded", 20)
    for partition in range(20):
        produce(two.one, "crowded", 2, partition)
    names = [f"crowd-{number}" for number in range(60)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: commit(two.one, name, "crowded", dict.fromkeys(range(20), 1)), names))
    return dict.fromkeys(names, ())


def lags(answers: Mapping[str, GroupOffsets | PortError]) -> dict[str, list[int | None]]:
    return {
        name: [p.lag_records for p in one.partitions] for name, one in answers.items() if isinstance(one, GroupOffsets)
    }


def test_many_groups_are_read_in_one_pass(two: Two, crowd: Mapping[str, Sequence[str]]) -> None:
    """With an unknown one among them, which is its own error."""
    answers = two.client.read_groups({**crowd, "nobody": ()}, 10)

    assert {name: [1] * 20 for name in crowd} == lags(answers)
    assert isinstance(answers["nobody"], Missing)


def test_a_reading_process_that_is_killed_costs_at_most_one_answer(
    two: Two, crowd: Mapping[str, Sequence[str]]
) -> None:
    """Killed in mid-read it is asked once more; stopped, it costs that pass, in words; the next pass is whole."""
    reading = two.client._reader
    two.client.read_groups(crowd, 10)
    killed = reading.pid
    assert killed is not None
    killer = threading.Timer(0.01, os.kill, (killed, signal.SIGKILL))
    killer.start()
    while killer.is_alive():
        assert {name: [1] * 20 for name in crowd} == lags(two.client.read_groups(crowd, 10))
    after = lags(two.client.read_groups(crowd, 10))
    stopped = reading.pid
    assert stopped not in (None, killed)
    os.kill(stopped, signal.SIGSTOP)
    started = time.monotonic()
    lost = two.client.read_groups(crowd, 1.0)
    took_s = time.monotonic() - started

    assert {name: [1] * 20 for name in crowd} == after
    assert {"Unreachable"} == {type(one).__name__ for one in lost.values()}
    assert "the process that reads many groups did not answer" in str(lost["crowd-0"])
    assert took_s < 1.3
    assert {name: [1] * 20 for name in crowd} == lags(two.client.read_groups(crowd, 10))
    assert not Path(f"/proc/{stopped}").exists()


PARENT = """
import sys, time
from datetime import UTC, datetime
from bot.clients.kafka import ConfluentKafka
kafka = ConfluentKafka({"bootstrap.servers": sys.argv[1]}, lambda: datetime.now(UTC))
kafka.read_groups({f"crowd-{number}": () for number in range(60)}, 10)
print(kafka._reader.pid, flush=True)
while True:
    kafka.read_groups({f"crowd-{number}": () for number in range(60)}, 10)
"""


def test_a_killed_parent_leaves_no_reading_process_and_no_password_in_sight(
    two: Two, crowd: Mapping[str, Sequence[str]]
) -> None:
    """SIGKILL of the parent in the middle of a pass."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, two.one.bootstrap], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        child = Path(f"/proc/{int(parent.stdout.readline())}")
        arguments, environment = (child / "cmdline").read_bytes(), (child / "environ").read_bytes()
        parent.kill()

    wait_until(lambda: not child.exists(), "the reading process ended", 5)
    assert two.one.bootstrap.encode() not in arguments + environment  # nor any other setting


# --- last: broker 2 goes away ----------------------------------------------------------------------


def test_a_broker_that_fails_makes_its_partitions_unknown_and_nothing_else(two: Two) -> None:
    """The coordinator and half of the partitions are on broker 1; broker 2 dies between two reads."""
    admin = two.one.admin()
    topic = NewTopic("halves", 4, replica_assignment=[[1], [2], [1], [2]])
    for future in admin.create_topics([topic]).values():
        future.result(timeout=30)
    wait_until(lambda: _end_total(two, "halves") == 0, "the leaders of halves")
    for partition in range(4):
        produce(two.one, "halves", 3, partition)
    commit(two.one, "half", "halves", dict.fromkeys(range(4), 1))
    before = two.read("half")
    two.two.stop()

    for read in two.each("half", deadline_s=3.0):
        assert isinstance(read, GroupOffsets), read
        assert [(1, 3), (1, None), (1, 3), (1, None)] == [(p.committed, p.latest) for p in read.partitions]
        assert [True, False, True, False] == [p.error is None for p in read.partitions]
        assert "EMPTY" == read.state
        assert 1 == len(read.not_known)
        assert read.not_known[0].startswith("log offsets of halves/1, halves/3: ")

    assert [2] * 4 == [p.lag_records for p in before.partitions]
    long_ago, ahead = now() - timedelta(days=1), now() + timedelta(days=1)
    by_time = two.client.read_offsets_at({("halves", number): [long_ago, ahead] for number in range(4)}, 1.0)
    assert {0: {long_ago: 0, ahead: None}, 1: {}, 2: {long_ago: 0, ahead: None}, 3: {}} == {
        key[1]: answers for key, answers in by_time.items()
    }


def _end_total(two: Two, topic: str) -> int | None:
    try:
        return two.client.read_topic(topic, 5).end_total
    except PortError:
        return None
