"""A real Kafka with consumer groups: wide ones on 1,000 partitions, or many of 20 partitions each.

No group has a member, as Flink's have none. Records carry times of the last three hours, evenly, so that a group that
stopped within them is behind by minutes or hours, and the ladder has something to find.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from tests.system.fetch import Available
from tests.system.parts import Kafka, wait_until

WIDE_TOPIC, QUIET_GROUP, BEHIND_GROUP = "wide", "wide-quiet", "wide-behind"
RECORDS = 10
"""Records in a partition before its first group commits."""
SPREAD_S = 3 * 3600.0
GROUPS_A_TOPIC = 10
COMMITTED_AT_ONCE = 50


@dataclass(frozen=True)
class Estate:
    """A broker, its topics with their partitions, and which topic each group reads. `ends` are the ends of the logs."""

    kafka: Kafka
    topics: Mapping[str, int]
    groups: Mapping[str, str]
    end: int = 0

    @property
    def bootstrap(self) -> str:
        return self.kafka.bootstrap


@contextmanager
def wide_estate(available: Available, folder: Path, partitions: int) -> Iterator[Estate]:
    """Yield a topic with one group at its end and one half way."""
    with Kafka(available, folder) as kafka:
        estate = fill(Estate(kafka, {WIDE_TOPIC: partitions}, dict.fromkeys((QUIET_GROUP, BEHIND_GROUP), WIDE_TOPIC)))
        commit(estate, [QUIET_GROUP], estate.end)
        commit(estate, [BEHIND_GROUP], estate.end // 2)
        yield estate


@contextmanager
def many_estate(available: Available, folder: Path, groups: int, partitions: int = 20) -> Iterator[Estate]:
    """Yield `groups` groups at the end of their topic, GROUPS_A_TOPIC of them on each."""
    names = [f"group-{number:03}" for number in range(groups)]
    topics = {name: f"topic-{number // GROUPS_A_TOPIC:02}" for number, name in enumerate(names)}
    with Kafka(available, folder) as kafka:
        estate = fill(Estate(kafka, dict.fromkeys(topics.values(), partitions), topics))
        commit(estate, names, estate.end)
        yield estate


def fill(estate: Estate, one_topic_in: int = 1) -> Estate:
    """Write RECORDS to every partition, making the topics first where there are none; return the estate as it is then.

    The groups are then behind by so many in each partition; those of one topic in `one_topic_in`.
    """
    written = dict(list(estate.topics.items())[::one_topic_in])
    if not estate.end:
        admin = estate.kafka.admin()
        wanted = [NewTopic(name, partitions, 1) for name, partitions in estate.topics.items()]
        for future in admin.create_topics(wanted, request_timeout=60).values():
            future.result(60)
        wait_until(
            lambda: all(
                partition.leader >= 0
                for name in estate.topics
                for partition in admin.list_topics(name, timeout=10).topics[name].partitions.values()
            ),
            "every partition has a leader",
        )
    producer = Producer({"bootstrap.servers": estate.bootstrap, "linger.ms": 50, "log_level": 0})
    began_ms = int((time.time() - SPREAD_S) * 1000)
    step_ms = int(SPREAD_S * 1000 / RECORDS)
    for number in range(RECORDS):
        for topic, partitions in written.items():
            for partition in range(partitions):
                producer.produce(topic, b"x" * 100, partition=partition, timestamp=began_ms + number * step_ms)
        producer.poll(0)
    if producer.flush(60):
        raise RuntimeError("the records of the bench were not written within 60 s")
    return replace(estate, end=estate.end + RECORDS)


def commit(estate: Estate, groups: Sequence[str], offset: int) -> None:
    """Commit the offset for every partition of each group's topic."""
    admin = estate.kafka.admin()

    def is_committed(some: Sequence[str]) -> bool:
        fired: list[Future[Any]] = []
        for group in some:
            topic = estate.groups[group]
            places = [TopicPartition(topic, partition, offset) for partition in range(estate.topics[topic])]
            fired += admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)]).values()
        # Refused, partition by partition, while the topic that keeps the offsets is being made.
        return all(each.error is None for future in fired for each in future.result(30).topic_partitions)

    for start in range(0, len(groups), COMMITTED_AT_ONCE):
        some = groups[start : start + COMMITTED_AT_ONCE]
        wait_until(lambda some=some: is_committed(some), f"{some[0]} and others have committed")  # type: ignore[misc]
