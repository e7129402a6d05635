"""The terminal: whole processes, from exec to exit, each in turn with its floor.

`cdc --help` beside `python -c pass`; `cdc lag GROUP` on a real Kafka (librdkafka's mock brokers where there is none)
beside a bare confluent_kafka script that makes the same reads.

Goal and ratio are judged by the median of the runs; the best one stands beside it, since other work on the machine
only ever makes a run longer.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bot.drill.kafka import MockBrokers
from tests.bench.bots import CDC
from tests.bench.table import Row, in_s
from tests.system.fetch import Available
from tests.system.parts import Kafka

HELP_WITHIN_S, LAG_WITHIN_S = 0.3, 1.0
GROUP, TOPIC, PARTITIONS, RECORDS, COMMITTED = "bench-group", "bench-topic", 4, 400, 50
BARE_PROGRAM = Path(__file__).with_name("bare_lag.py")


def measure_help(runs: int) -> list[Row]:
    """Return the row of `cdc --help`."""
    ours, floor = run_in_turns([[str(CDC), "--help"], [sys.executable, "-c", "pass"]], runs)
    return [_row("cdc --help, whole process", ours, floor, "python -c pass", HELP_WITHIN_S)]


def measure_lag(available: Available, folder: Path, runs: int) -> list[Row]:
    """Return the rows of `cdc lag`, with an address given and with a config and a journal."""
    with _brokers(available, folder) as (brokers, bootstrap):
        _fill(bootstrap, create=brokers == "Kafka")
        config = folder / "cdc.yml"
        config.write_text(_config(bootstrap), encoding="utf-8")
        bare = [sys.executable, str(BARE_PROGRAM), bootstrap, GROUP]
        rows = []
        for what, ours in (
            (
                f"cdc lag GROUP --bootstrap, whole process ({brokers})",
                [str(CDC), "lag", GROUP, "--bootstrap", bootstrap],
            ),
            (f"cdc -c cdc.yml lag GROUP, whole process ({brokers})", [str(CDC), "-c", str(config), "lag", GROUP]),
        ):
            rows.append(_row(what, *run_in_turns([ours, bare], runs), "bare script", LAG_WITHIN_S))
    return rows


def _row(what: str, ours: Sequence[float], floor: Sequence[float], peer: str, within_s: float) -> Row:
    median, bare = statistics.median(ours), statistics.median(floor)
    return Row(
        what, f"best {in_s(min(ours))}, median {in_s(median)}", f"best {in_s(min(floor))}, median {in_s(bare)} {peer}",
        median / bare, f"< {within_s:g} s", median < within_s,
    )  # fmt: skip


def run_in_turns(commands: Sequence[Sequence[str]], runs: int) -> list[list[float]]:
    """Run each `runs` times in turns, after one turn that warms the caches; return the seconds of each."""
    turns = [[_wall_s(command) for command in commands] for _ in range(runs + 1)][1:]
    return [list(taken) for taken in zip(*turns, strict=True)]


def _wall_s(command: Sequence[str]) -> float:
    began = time.perf_counter()
    ended = subprocess.run(list(command), capture_output=True, text=True, timeout=60)
    taken_s = time.perf_counter() - began
    if ended.returncode != 0:
        raise RuntimeError(f"{command} ended with {ended.returncode}: {ended.stderr.strip()[-500:]}")
    return taken_s


@contextmanager
def _brokers(available: Available, folder: Path) -> Iterator[tuple[str, str]]:
    if "kafka" in available.places and "java" in available.places:
        with Kafka(available, folder) as kafka:
            yield "Kafka", kafka.bootstrap
        return
    brokers = MockBrokers()
    yield "mock brokers", brokers.bootstrap
    brokers.stop()


def _fill(bootstrap: str, create: bool) -> None:
    """Produce some records and commit behind their end, so that there is a lag to tell."""
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    if create:
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(10)
    else:
        producer.list_topics(TOPIC, timeout=10)
    for number in range(RECORDS):
        producer.produce(TOPIC, value=b"x", partition=number % PARTITIONS)
    producer.flush(20)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP, "enable.auto.commit": False})
    places = [TopicPartition(TOPIC, partition, COMMITTED) for partition in range(PARTITIONS)]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()


def _config(bootstrap: str) -> str:
    return f"""\
state: ./cdc-oncall.db
kafka: {{bootstrap: "{bootstrap}"}}
registry: {{url: "http://127.0.0.1:9"}}
connect: {{url: "http://127.0.0.1:9"}}
pipelines:
  bench: {{topics: [{TOPIC}], consumers: [{{group: {GROUP}, topics: [{TOPIC}]}}]}}
"""
