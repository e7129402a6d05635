"""The floor of `cdc lag`: confluent_kafka alone, the same reads, one number printed.

    python bare_lag.py HOST:PORT GROUP

The group's state, its committed offsets (with no topic named: of every partition of the cluster), then the first and
last offset of each partition of the topics it committed to. It knows nothing of the bot.
"""

from __future__ import annotations

import sys

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

bootstrap, group = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
described = admin.describe_consumer_groups([group], request_timeout=30)[group]
topics = admin.list_topics(timeout=10).topics
keys = [(name, at) for name, found in topics.items() if not name.startswith("__") for at in found.partitions]
try:
    state = described.result(5).state.name
except KafkaException:
    state = "UNKNOWN"
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 0})
answers = consumer.committed([TopicPartition(*key) for key in keys], timeout=10)
consumer.close()
committed = {(at.topic, at.partition): at.offset for at in answers if at.offset >= 0}
wanted = [key for key in keys if key[0] in {topic for topic, _ in committed}]
asked = [
    admin.list_offsets({TopicPartition(*key): spec for key in wanted})
    for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
]
ends = {(at.topic, at.partition): future.result(10).offset for at, future in asked[1].items()}
starts = {(at.topic, at.partition): future.result(10).offset for at, future in asked[0].items()}
print(state, sum(end - committed.get(key, starts[key]) for key, end in ends.items()))
