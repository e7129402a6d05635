"""The drill's Kafka: librdkafka's mock brokers, speaking the real protocol on loopback.

Any client can connect to `bootstrap`. Topics come to be when their metadata is asked for,
always with PARTITIONS partitions (the mock's fixed default). Mind the mock's limits:
about 5 MB a partition, no group listing, no offsets by timestamp.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

PARTITIONS = 4
_QUIET: dict[str, str | int | bool] = {"log_level": 0, "log.connection.close": False}


@dataclass(frozen=True)
class GroupLag:
    """One group's place in one topic; a partition never committed is not summed."""

    lag_records: int
    committed_records: int
    end_records: int
    never_committed: int


class MockBrokers:
    """Mock brokers that live as long as this object, and a way to produce and to look."""

    def __init__(self, brokers: int = 1) -> None:
        self._owner = Producer({"test.mock.num.brokers": brokers, "bootstrap.servers": "mock", **_QUIET})
        found = self._owner.list_topics(timeout=10).brokers.values()
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in found)
        self._producer = self.producer()
        self._lookers: dict[str, Consumer] = {}
        self._lock = threading.Lock()

    def create(self, topics: Iterable[str]) -> None:
        """Bring topics into being, with PARTITIONS partitions each."""
        for topic in topics:
            self._producer.list_topics(topic, timeout=10)

    def producer(self) -> Producer:
        """A producer of its own for one part of the world."""
        return Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5, "acks": "all", **_QUIET})

    def reader(self, group: str, topic: str) -> Consumer:
        """A consumer that reads every partition of a topic from where its group committed.

        Partitions are assigned, not subscribed to, as Flink does: the group has no members.
        """
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": 50,
                **_QUIET,
            }
        )
        committed = consumer.committed(_partitions(topic), timeout=10)
        consumer.assign([TopicPartition(topic, at.partition, max(at.offset, 0)) for at in committed])
        return consumer

    def produce(self, topic: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        """Write records (key, value) and wait until the brokers have them."""
        for key, value in records:
            self._producer.produce(topic, key=key, value=value)
            self._producer.poll(0)
        self._producer.flush(30)

    def end_records(self, topic: str) -> int:
        """How many records the topic ever took: the sum of its log end offsets."""
        looker = self._looker("drill-watch")
        return sum(looker.get_watermark_offsets(at, timeout=5)[1] for at in _partitions(topic))

    def lag(self, group: str, topic: str) -> GroupLag:
        """Committed offsets first, then log end offsets, so that lag is never negative."""
        looker = self._looker(group)
        committed = {at.partition: at.offset for at in looker.committed(_partitions(topic), timeout=5)}
        ends = {at.partition: looker.get_watermark_offsets(at, timeout=5)[1] for at in _partitions(topic)}
        known = {partition: offset for partition, offset in committed.items() if offset >= 0}
        return GroupLag(
            lag_records=sum(ends[partition] - offset for partition, offset in known.items()),
            committed_records=sum(known.values()),
            end_records=sum(ends.values()),
            never_committed=len(committed) - len(known),
        )

    def stop(self) -> None:
        """Close this object's own clients; the brokers end with the process's last reference."""
        with self._lock:
            for looker in self._lookers.values():
                looker.close()
            self._lookers.clear()
        self._producer.flush(2)

    def _looker(self, group: str) -> Consumer:
        with self._lock:
            if group not in self._lookers:
                self._lookers[group] = Consumer(
                    {
                        "bootstrap.servers": self.bootstrap,
                        "group.id": group,
                        "enable.auto.commit": False,
                        "allow.auto.create.topics": False,
                        **_QUIET,
                    }
                )
            return self._lookers[group]


def commit(consumer: Consumer, topic: str, offsets: dict[int, int]) -> bool:
    """Commit next-to-read offsets; false when the brokers did not take them."""
    if not offsets:
        return True
    places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    try:
        consumer.commit(offsets=places, asynchronous=False)
    except KafkaException:
        return False
    return True


def _partitions(topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
