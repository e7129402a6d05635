"""Names on a real Kafka: a near miss is answered with the real ones, and TAB offers them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.system.parts import Kafka

CDC = Path(sys.executable).with_name("cdc")


@pytest.fixture(scope="module")
def names(kafka: Kafka) -> tuple[str, str]:
    """A group that has committed and the topic it reads, of this module alone."""
    suffix = uuid.uuid4().hex[:6]
    topic, group = f"names.dlq.{suffix}", f"names_canonical_flink_{suffix}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        future.result(20)
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)
    consumer.close()
    return group, topic


def cdc(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **environ}
    return subprocess.run([CDC, *arguments], env=environment, cwd="/", capture_output=True, text=True, timeout=30)


def test_a_near_miss_names_the_real_group_and_the_real_topic(kafka: Kafka, names: tuple[str, str]) -> None:
    """An unknown group is "DEAD with 0 members" on Kafka: the answer says so and what there is, within the deadline."""
    for verb, real in zip(("lag", "dlq"), names, strict=True):
        asked = real.replace("names", "nmes", 1)
        began_s = time.monotonic()
        ended = cdc(verb, asked, "--bootstrap", kafka.bootstrap)
        assert time.monotonic() - began_s < 10
        assert (3, "") == (ended.returncode, ended.stdout)
        assert ended.stderr.startswith(f"UNKNOWN {asked}: Kafka says there is no such thing\n")
        assert f"next: cdc {verb} {real} --bootstrap {kafka.bootstrap}\n" in ended.stderr


def test_tab_offers_what_the_brokers_list(kafka: Kafka, names: tuple[str, str]) -> None:
    """Groups for lag and topics for dlq, without any config, in the time that somebody waits for a prompt."""
    for verb, real in zip(("lag", "dlq"), names, strict=True):
        line = f"cdc {verb} --bootstrap {kafka.bootstrap} {real[:8]}"
        began_s = time.monotonic()
        offered = cdc(COMP_WORDS=line, _CDC_COMPLETE="bash_complete")
        assert time.monotonic() - began_s < 5
        assert (0, "", f"plain,{real}\n") == (offered.returncode, offered.stderr, offered.stdout)
