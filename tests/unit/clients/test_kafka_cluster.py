"""`ConfluentCluster` against librdkafka's own mock brokers: a real client, real sockets, no JVM.

Mock brokers cannot list groups; that side is in tests/system/test_init.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from bot.clients.kafka_cluster import ConfluentCluster
from bot.ports import GroupEntry, Unreachable

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
SILENT = logging.getLogger("tests.librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


@pytest.fixture(scope="module")
def producer() -> Iterator[Producer]:
    """Mock brokers live as long as the producer that started them."""
    producer = Producer({"bootstrap.servers": "", "test.mock.num.brokers": 3}, logger=SILENT)
    for topic in ("orders", "payments"):
        producer.produce(topic, b"x", partition=0)
    assert 0 == producer.flush(10)
    yield producer


@pytest.fixture
def bootstrap(producer: Producer) -> str:
    return ",".join(f"{each.host}:{each.port}" for each in producer.list_topics(timeout=5).brokers.values())


def cluster(bootstrap: str) -> ConfluentCluster:
    return ConfluentCluster({"bootstrap.servers": bootstrap}, now=lambda: AT)


def commit(bootstrap: str, group: str, topic: str) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group}, logger=SILENT)
    consumer.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    consumer.close()


def test_lists_topics_and_says_that_groups_cannot_be_listed(bootstrap):
    """Topics come with their shape; groups that this broker cannot list are None with a line, not an empty list."""
    listing = cluster(bootstrap).read_listing(5)

    assert 3 == listing.brokers
    assert [("orders", 4), ("payments", 4)] == [(t.topic, t.partitions) for t in listing.topics]
    assert None is listing.groups
    assert ("groups: this broker cannot list groups",) == listing.not_known


def test_names_the_topics_that_each_group_has_committed(bootstrap, producer):
    """In the order asked; a group without a commit has none, a topic that is not there is left out, none is created."""
    commit(bootstrap, "shipping", "orders")
    commit(bootstrap, "both", "orders")
    commit(bootstrap, "both", "payments")

    asked = ["shipping", "nobody", "both"]
    readers = cluster(bootstrap).read_readers(asked, ["orders", "payments", "no-such-topic"], 10)

    assert (
        GroupEntry("shipping", None, ("orders",)),
        GroupEntry("nobody", None, ()),
        GroupEntry("both", None, ("orders", "payments")),
    ) == readers.groups
    assert () == readers.not_known
    assert ["orders", "payments"] == [each.topic for each in readers.topics]
    assert {"orders", "payments"} == set(producer.list_topics(timeout=5).topics)


def test_only_the_topics_asked_for_are_named(bootstrap):
    """A group that reads other topics as well is shown with those of interest."""
    commit(bootstrap, "wide", "orders")
    commit(bootstrap, "wide", "payments")

    assert (GroupEntry("wide", None, ("orders",)),) == cluster(bootstrap).read_readers(["wide"], ["orders"], 10).groups


def test_groups_not_asked_before_the_deadline_are_named(bootstrap):
    """Nothing is guessed of a group that was not asked: its topics are None and a line counts it."""
    groups = [f"g{number:03d}" for number in range(200)]
    begun = time.monotonic()

    readers = cluster(bootstrap).read_readers(groups, ["orders"], 0.2)

    assert 5 > time.monotonic() - begun
    late = [each.group for each in readers.groups or () if each.topics is None]
    assert "g199" in late
    assert any("not asked within 0.2 s" in line for line in readers.not_known)


def test_no_broker_is_unreachable_within_the_deadline():
    """A refused connection is an error with the address, not an empty cluster."""
    begun = time.monotonic()
    with pytest.raises(Unreachable, match=r"Kafka at 127\.0\.0\.1:1: no answer to `topics`"):
        cluster("127.0.0.1:1").read_listing(1)
    assert 4 > time.monotonic() - begun
