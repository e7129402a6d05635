"""The floor of our reads: confluent_kafka alone, its client kept open. It knows nothing of the bot.

    python -m tests.bench.bare_reads HOST:PORT consumer GROUP     state, committed, first and last offsets
    python -m tests.bench.bare_reads HOST:PORT admin GROUP...     committed and last offsets, all groups fired together

`consumer` asks as the bot must in its own process, by a consumer of the group, which is kept open too. `admin` asks by
`list_consumer_group_offsets`, which is faster and may kill the process that calls it (librdkafka 2.16): this one.
Prints "ready", then for each line it reads the seconds that one round took.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

Key = tuple[str, int]

EARLIEST, LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]


def main() -> None:
    bootstrap, how, *groups = sys.argv[1:]
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    lags = by_consumer(admin, bootstrap, groups[0]) if how == "consumer" else by_admin(admin, groups)
    expected = lags()
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        found = lags()
        taken_s = time.perf_counter() - began
        if found != expected:
            raise SystemExit(f"{len(found)} lags instead of {len(expected)}, or others")
        print(json.dumps(taken_s), flush=True)


def by_consumer(admin: AdminClient, bootstrap: str, group: str) -> Callable[[], dict[Key, int]]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})

    def lags() -> dict[Key, int]:
        described = admin.describe_consumer_groups([group], request_timeout=30)[group]
        topics = admin.list_topics(timeout=10).topics
        keys = [(name, at) for name, found in topics.items() if not name.startswith("__") for at in found.partitions]
        answers = consumer.committed([TopicPartition(*key) for key in keys], timeout=10)
        try:
            described.result(5)
        except KafkaException:
            pass
        committed = {(at.topic, at.partition): at.offset for at in answers if at.offset >= 0}
        starts, ends = offsets(admin, list(committed), (EARLIEST, LATEST))
        return {key: end - max(committed[key], starts[key]) for key, end in ends.items()}

    return lags


def by_admin(admin: AdminClient, groups: Sequence[str]) -> Callable[[], dict[Key, int]]:
    def lags() -> dict[Key, int]:
        fired = [admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group] for group in groups]
        committed: dict[tuple[str, Key], int] = {}
        for group, future in zip(groups, fired, strict=True):
            for at in future.result(20).topic_partitions:
                committed[(group, (at.topic, at.partition))] = at.offset
        (ends,) = offsets(admin, list({key for _, key in committed}), (LATEST,))
        return {(group, *key): ends[key] - offset for (group, key), offset in committed.items()}  # type: ignore[misc]

    return lags


def offsets(admin: AdminClient, keys: Sequence[Key], specs: Sequence[OffsetSpec]) -> list[dict[Key, int]]:
    fired = [admin.list_offsets({TopicPartition(*key): spec for key in keys}) for spec in specs]
    return [{(at.topic, at.partition): future.result(10).offset for at, future in asked.items()} for asked in fired]


if __name__ == "__main__":
    main()
