"""Many groups in one pass, and what stands beside the offsets, against librdkafka's own mock brokers: no JVM.

What mock brokers cannot tell is not known, and does not hold the answer up.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from bot.clients.kafka import FEW_GROUPS, ConfluentKafka
from bot.clients.kafka_groups import GroupReader, ReaderFailed
from bot.model import GroupOffsets
from bot.ports import Missing, PortError, Unreachable

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
SILENT = logging.getLogger("tests.librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False
MANY = [f"many-{number}" for number in range(FEW_GROUPS + 4)]


@pytest.fixture(scope="module")
def producer() -> Producer:
    """Mock brokers, which live as long as it, with a topic of four partitions and groups that have committed."""
    producer = Producer({"bootstrap.servers": "", "test.mock.num.brokers": 3}, logger=SILENT)
    for number in range(20):
        producer.produce("orders", b"x", partition=number % 4)
    assert 0 == producer.flush(10)
    for number, group in enumerate(MANY):
        consumer = Consumer({"bootstrap.servers": bootstrap(producer), "group.id": group}, logger=SILENT)
        consumer.commit(offsets=[TopicPartition("orders", 0, number % 6)], asynchronous=False)
        consumer.close()
    return producer


@pytest.fixture
def kafka(producer: Producer) -> Iterator[ConfluentKafka]:
    yield ConfluentKafka({"bootstrap.servers": bootstrap(producer)}, now=lambda: AT)


def bootstrap(producer: Producer) -> str:
    return ",".join(f"{one.host}:{one.port}" for one in producer.list_topics(timeout=5).brokers.values())


@pytest.mark.parametrize("topics", [(), ("orders",)])
def test_a_pass_reads_what_single_reads_do(kafka: ConfluentKafka, topics: tuple[str, ...]) -> None:
    """Mock brokers list and describe no group, and want the partitions named: the offsets are the same all the same."""
    answers = kafka.read_groups(dict.fromkeys(MANY, topics), 10)

    assert MANY == list(answers)
    for group, answer in answers.items():
        assert isinstance(answer, GroupOffsets), answer
        alone = kafka.read_group(group, topics, 5)
        assert (alone.partitions, alone.not_known, alone.state) == (answer.partitions, answer.not_known, answer.state)
        assert (f"state of group {group}: this broker cannot list or describe groups",) == answer.not_known
    assert [number % 6 for number in range(len(MANY))] == [
        one.partitions[0].committed for one in answers.values() if isinstance(one, GroupOffsets)
    ]


def test_one_group_that_cannot_be_is_its_own_error(kafka: ConfluentKafka) -> None:
    """The others are read; so it is with few groups and with many."""
    for groups in (MANY, MANY[:2]):
        answers = kafka.read_groups({**dict.fromkeys(groups, ("orders",)), "": (), "typo": ("nothing",)}, 10)

        assert isinstance(answers[""], Missing)
        assert [True] * len(groups) == [isinstance(answers[group], GroupOffsets) for group in groups]
        assert isinstance(answers["typo"], PortError if groups is not MANY else (PortError, GroupOffsets))


@pytest.mark.parametrize("topic", ["", "a\0b", "\udcff", "no such", "x" * 300])
def test_a_topic_that_cannot_be_is_missing(kafka: ConfluentKafka, topic: str) -> None:
    """Whatever stands on a command line is a clear line."""
    for ask in (lambda: kafka.read_topic(topic, 5), lambda: kafka.read_group("many-1", [topic], 5)):
        with pytest.raises(Missing, match="no topic"):
            ask()


def test_a_cluster_that_is_down_is_every_groups_error_within_the_deadline() -> None:
    """And nothing is raised."""
    kafka = ConfluentKafka({"bootstrap.servers": "127.0.0.1:1"}, now=lambda: AT)
    started = time.monotonic()

    answers = kafka.read_groups(dict.fromkeys(MANY, ()), 0.5)

    assert {Unreachable} == {type(one) for one in answers.values()}
    assert time.monotonic() - started < 1.0


def test_the_reading_process_ends_with_its_owner(producer: Producer) -> None:
    """No handle, no process; other settings, another process."""
    reader, settings = GroupReader(), {"bootstrap.servers": bootstrap(producer)}
    question = {"committed": {"many-1": {"orders": [0]}}, "describe": []}

    first = reader.ask(settings, 1, question, 10)
    pid = reader.pid
    reader.ask(settings, 1, question, 10)
    assert pid == reader.pid
    reader.ask(settings, 2, question, 10)
    other = reader.pid
    del reader

    assert {"offsets": {"orders": [0, 1]}, "errors": []} == first["committed"]["many-1"]
    assert other != pid
    assert [False, False] == [Path(f"/proc/{one}").exists() for one in (pid, other)]


def test_a_process_that_dies_each_time_is_an_error_in_words() -> None:
    """Settings that librdkafka refuses end it at its start."""
    with pytest.raises(ReaderFailed, match="died twice: exit code 1"):
        GroupReader().ask({"bootstrap.servers": "x", "no.such.setting": "1"}, 1, {"committed": {}, "describe": []}, 10)


def test_a_process_that_hangs_is_killed_at_the_deadline(producer: Producer) -> None:
    """Also while a long question is being written to it."""
    reader, settings = GroupReader(), {"bootstrap.servers": bootstrap(producer)}
    reader.ask(settings, 1, {"committed": {}, "describe": []}, 10)
    pid = reader.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()

    with pytest.raises(ReaderFailed, match=r"did not answer within 0\.3 s"):
        reader.ask(settings, 1, {"committed": {"x" * 300_000: None}, "describe": []}, 0.3)

    assert time.monotonic() - started < 1.0
    assert not Path(f"/proc/{pid}").exists()


def test_a_process_that_cannot_be_started_is_an_answer_that_failed() -> None:
    """Of descriptors there are none left: it is told, and the next question is asked anew."""
    reader = GroupReader()
    question: dict[str, Any] = {"committed": {}, "describe": []}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        with pytest.raises(ReaderFailed, match="cannot be started: Too many open files"):
            reader.ask({"bootstrap.servers": "127.0.0.1:9"}, 1, question, 10)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {} == reader.ask({"bootstrap.servers": "127.0.0.1:9"}, 1, question, 10)["committed"]


def test_offsets_by_time_are_never_invented(kafka: ConfluentKafka) -> None:
    """Mock brokers answer -1 whatever is asked: no record that new, None."""
    times = [AT, AT - timedelta(days=1)]

    assert {("orders", 0): dict.fromkeys(times)} == kafka.read_offsets_at({("orders", 0): times}, 5)
    assert {} == kafka.read_offsets_at({}, 5)


def test_settings_that_a_broker_cannot_tell_hold_nothing_up(kafka: ConfluentKafka) -> None:
    """Mock brokers time out: a second at most, and the next question is answered from memory."""
    started = time.monotonic()
    first = kafka.read_retention(["orders"], 30)
    took_s = time.monotonic() - started
    again = kafka.read_retention(["orders"], 30)

    assert isinstance(first["orders"], Unreachable)
    assert took_s < 1.3
    assert again == first
    assert time.monotonic() - started - took_s < 0.1


def test_whether_a_record_is_there_is_told_per_partition(kafka: ConfluentKafka) -> None:
    """Partition 0 has five records."""
    assert {("orders", 0): True, ("orders", 1): False} == kafka.holds_record({("orders", 0): 4, ("orders", 1): 5}, 5)
    assert {} == kafka.holds_record({}, 5)


def test_a_tail_that_stands_is_looked_into_once(kafka: ConfluentKafka) -> None:
    """A sampler asks each 30 s about the same markers: from memory, while nothing is written behind them."""
    starts = {("orders", 0): 4, ("orders", 1): 5}
    kafka.read_topic("orders", 5)
    found = kafka.holds_record(starts, 5)

    assert {("orders", 0): True, ("orders", 1): False} == found
    assert found == kafka.holds_record(starts, 1e-9)
    with pytest.raises(PortError):
        kafka.holds_record({("orders", 0): 3}, 1e-9)


def test_a_record_that_cannot_be_looked_for_in_time_is_an_error() -> None:
    """Nobody answers: not False."""
    kafka = ConfluentKafka({"bootstrap.servers": "127.0.0.1:1"}, now=lambda: AT)

    with pytest.raises(Unreachable, match="Connection refused"):
        kafka.holds_record({("orders", 0): 1}, 0.4)
