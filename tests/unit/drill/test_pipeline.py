"""Records really move through the drill's pipeline, and what breaks it is real."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import yaml
from confluent_kafka import Consumer, TopicPartition

from bot.drill.connectors import SINK, SOURCE
from bot.drill.database import Column, Database, SqlRefused
from bot.drill.kafka import PARTITIONS
from bot.drill.scenarios import SCENARIOS
from bot.drill.world import DLQ, JOB_GROUP, TOPIC, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world")) as started:
        yield started


def wait(holds: Callable[[], bool], timeout_s: float = 8.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def status(world: World, name: str) -> dict[str, Any]:
    document: dict[str, Any] = requests.get(f"{world.places.connect}/connectors/{name}/status", timeout=5).json()
    return document


def restart(world: World, name: str) -> requests.Response:
    url = f"{world.places.connect}/connectors/{name}/restart?includeTasks=true&onlyFailed=true"
    return requests.post(url, timeout=5)


def test_rows_flow_from_the_table_to_the_lake(world: World) -> None:
    """Once started, every row is in the lake and both groups have committed."""
    assert wait(world.flows)
    assert wait(lambda: world.lake.document()["rows"] >= 400)
    assert 0 == world.brokers.lag(JOB_GROUP, TOPIC).never_committed


def test_the_config_is_valid_yaml_with_no_secret_in_it(world: World) -> None:
    """cdc.yml names the pipeline and takes every secret from the environment."""
    text = world.config_path.read_text()
    assert ["customers"] == list(yaml.safe_load(text)["pipelines"])
    assert not [secret for secret in world.environ.values() if secret in text]


def test_a_column_without_default_fails_the_source_until_it_has_one(world: World) -> None:
    """409 -> FAILED with Confluent's trace; a restart alone fails again; after the repair nothing is lost."""
    scenario = SCENARIOS["schema-break"]
    scenario.make_break(world)
    assert wait(lambda: world.connect.states()[SOURCE] == ("RUNNING", "FAILED"))
    trace = status(world, SOURCE)["tasks"][0]["trace"]
    assert "DataException: Failed to serialize Avro data from topic customers :" in trace
    assert 'incompatible with an earlier schema for subject "customers-value"' in trace
    assert "error code: 409" in trace and "'tier' at path '/fields/3'" in trace
    answer = restart(world, SOURCE)
    assert (202, "RESTARTING") == (answer.status_code, answer.json()["tasks"][0]["state"])
    assert wait(lambda: world.registry.refused("customers-value") == 2)
    assert wait(lambda: world.connect.states()[SOURCE] == ("RUNNING", "FAILED"))
    scenario.repair(world)
    restart(world, SOURCE)
    assert wait(world.flows)
    assert wait(lambda: "tier" in world.lake.document()["columns"])
    behind = world.database.end_lsn()
    assert wait(lambda: world.lake.document()["rows"] >= behind)
    assert (
        2 == requests.get(f"{world.places.registry}/subjects/customers-value/versions/2", timeout=5).json()["version"]
    )


def test_an_undecodable_record_is_dead_lettered_with_its_headers(world: World) -> None:
    """The sink goes on, and the dead letter says where it came from and why."""
    world.brokers.produce(TOPIC, [(b"k", b"not avro"), (b"k", b"\0\0\0\0\x63rest")])
    assert wait(lambda: world.brokers.end_records(DLQ) == 2)
    consumer = Consumer({"bootstrap.servers": world.places.kafka, "group.id": "look", "log_level": 0})
    consumer.assign([TopicPartition(DLQ, partition, 0) for partition in range(PARTITIONS)])
    letters = []
    while len(letters) < 2:
        letters.extend(consumer.consume(10, timeout=1))
    consumer.close()
    headers = [dict(letter.headers() or []) for letter in letters]
    assert {b"customers"} == {one["__connect.errors.topic"] for one in headers}
    assert {b"VALUE_CONVERTER"} == {one["__connect.errors.stage"] for one in headers}
    assert {SINK.encode()} == {one["__connect.errors.connector.name"] for one in headers}
    causes = b" ".join(bytes(one["__connect.errors.exception.stacktrace"]) for one in headers)
    assert b"Unknown magic byte!" in causes and b"schema for id 99" in causes
    assert wait(lambda: "CDCDeadLettersGrowing" in world.alert_rules.firing())
    assert "RUNNING" == status(world, SINK)["tasks"][0]["state"]


def test_an_unreachable_lake_fails_the_sink_and_loses_nothing(world: World) -> None:
    """The sink task is FAILED with a trace; after the lake is back and a restart every row is there."""
    SCENARIOS["connector-failed"].make_break(world)
    assert wait(lambda: world.connect.states()[SINK] == ("RUNNING", "FAILED"))
    assert "Service Unavailable" in status(world, SINK)["tasks"][0]["trace"]
    SCENARIOS["connector-failed"].repair(world)
    restart(world, SINK)
    behind = world.database.end_lsn()
    assert wait(lambda: world.lake.document()["rows"] >= behind)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/connectors/none/status", 404),
        ("GET", "/connectors/none", 404),
        ("POST", f"/connectors/{SOURCE}/tasks/7/restart", 404),
        ("POST", f"/connectors/{SOURCE}/restart", 204),
        ("GET", f"/connectors/{SINK}/topics", 200),
        ("GET", f"/connectors/{SINK}/offsets", 200),
    ],
)
def test_connect_answers_with_the_real_codes(world: World, method: str, path: str, code: int) -> None:
    """Unknown names are 404 with an error document; a restart without flags touches no task."""
    answer = requests.request(method, f"{world.places.connect}{path}", timeout=5)
    assert code == answer.status_code
    if code == 404:
        assert 404 == answer.json()["error_code"]


def test_a_rebalance_answers_409(world: World) -> None:
    """Changing calls are refused while a rebalance runs, and taken afterwards."""
    world.connect.rebalance(1)
    assert 409 == restart(world, SOURCE).status_code
    assert 202 == restart(world, SOURCE).status_code


def test_pausing_and_stopping_show_as_in_connect(world: World) -> None:
    """PAUSED keeps its task, STOPPED has none, and resuming goes on."""
    for verb, state, tasks in (("pause", "PAUSED", 1), ("stop", "STOPPED", 0), ("resume", "RUNNING", 1)):
        assert 202 == requests.put(f"{world.places.connect}/connectors/{SINK}/{verb}", timeout=5).status_code
        assert (state, tasks) == (status(world, SINK)["connector"]["state"], len(status(world, SINK)["tasks"]))
    assert wait(world.flows)


def test_the_database_refuses_in_postgres_words() -> None:
    """NOT NULL without default cannot be added to a table with rows, nor left out of an insert."""
    database = Database("t", (Column("id", "integer"),))
    database.insert_many(1)
    with pytest.raises(SqlRefused, match="contains null values"):
        database.add_column(Column("tier", "text"))
    database.add_column(Column("tier", "text"), backfill="basic")
    with pytest.raises(SqlRefused, match="violates not-null constraint"):
        database.insert([{}])
    database.alter_column("tier", default="basic")
    assert 1 == database.insert([{}])
