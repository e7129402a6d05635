"""`cdc lag GROUP --json` and `/cdc lag GROUP` in Slack beside Kafka's own tool, on a quiet group."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.system.fetch import Available
from tests.system.lag_lab import Lab
from tests.system.parts import Kafka, _kafka_java
from tests.system.walk import OnCall, without_pipeline

GROUP, TOPIC, PARTITIONS = "agreeing_flink", "agreeing", 6

Row = tuple[int | None, int, int | None]
"""Committed offset, log end and lag of a partition, as printed; None where nothing was ever committed."""


@pytest.fixture(scope="module")
def oncall(kafka: Kafka, new_oncall: Callable[..., OnCall]) -> Iterator[OnCall]:
    """A bot that knows the broker; the group has read some partitions to the end, some in part and one never."""
    with Lab(kafka.bootstrap) as lab:
        lab.topic(TOPIC, PARTITIONS)
        for partition in range(PARTITIONS):
            lab.produce(TOPIC, 4 * partition, partition)
        lab.committer(GROUP)(TOPIC, {0: 0, 1: 4, 2: 3, 3: 0, 4: 15})

    def with_kafka(path: Path, oncall: OnCall) -> None:
        without_pipeline(path, oncall)
        document = {**yaml.safe_load(path.read_text()), "kafka": {"bootstrap": kafka.bootstrap}}
        path.write_text(yaml.safe_dump(document))

    yield new_oncall("agrees", with_kafka)


@pytest.fixture(scope="module")
def printed(available: Available, kafka: Kafka, oncall: OnCall, scratch: Path) -> dict[int, Row]:
    """What `kafka-consumer-groups.sh --describe` says."""
    tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    words = [*_kafka_java(available, scratch, 128), tool, "--bootstrap-server", kafka.bootstrap]
    ran = subprocess.run([*words, "--describe", "--group", GROUP], capture_output=True, text=True, timeout=60)
    rows = re.findall(rf"^{GROUP}\s+{TOPIC}\s+(\d+)\s+(\S+)\s+(\d+)\s+(\S+)", ran.stdout, re.M)
    found = {int(partition): (int(at), int(end), int(lag)) for partition, at, end, lag in rows}
    assert PARTITIONS - 1 == len(found), ran.stdout + ran.stderr
    return {**found, 5: (None, 20, None)}  # the tool leaves out what was never committed


def test_the_document_agrees_partition_by_partition(oncall: OnCall, printed: dict[int, Row]) -> None:
    """Never committed is null, and not summed."""
    document = json.loads(oncall.cdc("lag", GROUP, "--json").stdout)
    [topic] = document["topics"]
    assert printed == {
        entry["partition"]: (entry["committed_offset"], entry["log_end_offset"], entry["lag_records"])
        for entry in topic["partitions"]
    }
    assert sum(lag or 0 for _, _, lag in printed.values()) == document["lag_records"] == topic["lag_records"]


def test_the_answer_in_slack_agrees_partition_by_partition(oncall: OnCall, printed: dict[int, Row]) -> None:
    """The words say the sum, the table each partition that is behind, the worst first."""
    answer = oncall.alice.type("/cdc", f"lag {GROUP}")
    assert f"lag {sum(lag or 0 for _, _, lag in printed.values())}" in answer
    rows = re.findall(r"^(\d) +(\d+|not known) +(\d+|not known) +[A-Z_]+$", answer, re.M)
    told = {int(partition): (_number(lag), _number(committed)) for partition, lag, committed in rows}
    assert {partition: (lag, committed) for partition, (committed, _, lag) in printed.items()} == told


def _number(text: str) -> int | None:
    return None if text == "not known" else int(text)
