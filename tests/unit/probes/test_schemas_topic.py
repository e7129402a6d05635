"""The registry's topic as Confluent's and Karapace's registries write it, read through real mock brokers too."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer

from bot.clients.kafka import ConfluentKafka
from bot.model import Pipeline
from bot.ports import Record, SchemaVersion, SubjectState
from bot.probes.schema_changes import probe, schema_of
from bot.probes.schemas_topic import (
    DELETED,
    ERASED,
    INHERITED,
    LEVEL,
    MODE,
    REGISTERED,
    SUBJECT_DELETED,
    Registration,
    changes_on,
    registered_at,
    registrations,
)
from bot.probes.sources import Sources

NOW = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONFLUENT = b'{"keytype":"SCHEMA","subject":"s","version":2,"magic":1}'
KARAPACE = b'{"subject": "s", "version": 2, "magic": 1, "keytype": "SCHEMA"}'
VALUE = {"subject": "s", "version": 2, "id": 7, "schema": "{}", "deleted": False}
SILENT = logging.getLogger("tests.librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def record(key: bytes | None, value: object = VALUE, at: datetime | None = NOW, offset: int = 0) -> Record:
    raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return Record("_schemas", 0, offset, at, key, raw)


@pytest.mark.parametrize(
    "written",
    [
        record(CONFLUENT),
        record(KARAPACE),
        record(CONFLUENT, {"subject": "s", "version": 2, "id": 7, "schema": "{}"}),  # Confluent before 4.0
        record(CONFLUENT, {**VALUE, "schemaType": "PROTOBUF", "references": [], "ts": 1, "offset": 3}),
    ],
)
def test_a_version_is_registered_when_its_record_was_written(written):
    """Keys are JSON whose order differs from registry to registry."""
    assert {("s", 2): Registration(7, NOW)} == registrations([written])


@pytest.mark.parametrize(
    "written",
    [
        record(CONFLUENT, None),  # a hard delete
        record(CONFLUENT, {**VALUE, "deleted": True}),  # the time of the deletion, not of the registration
        record(CONFLUENT, at=None),
        record(CONFLUENT, b"not JSON"),
        record(CONFLUENT, []),
        record(None),
        record(b"\xff\xfe"),
        record(b"[" * 100_000),
        record(b"7"),
        record(b'{"keytype":"NOOP","magic":0}', None),
        record(b'{"keytype":"CONFIG","subject":null,"magic":0}', {"compatibilityLevel": "NONE"}),
        record(b'{"keytype":"MODE","subject":"s","magic":0}', {"mode": "READONLY"}),
        record(b'{"keytype":"DELETE_SUBJECT","subject":"s","magic":0}', {"subject": "s", "version": 2}),
        record(b'{"keytype":"CONTEXT","tenant":"default","context":"c","magic":0}', {"tenant": "default"}),
        record(b'{"keytype":"SCHEMA","subject":null,"version":2}'),
        record(b'{"keytype":"SCHEMA","subject":"s","version":"two"}'),
        record(b'{"keytype":"SCHEMA","subject":"s"}'),
    ],
)
def test_every_other_record_is_left_alone(written):
    """Nothing on the topic makes the probe fail, and nothing but a registration dates one."""
    assert {} == registrations([written])


def test_a_version_written_twice_is_dated_by_the_later_record():
    """A soft delete and a new registration of the same version: the new one is what an on-call looks for."""
    deleted = record(CONFLUENT, {**VALUE, "deleted": True}, NOW - HOUR, offset=5)

    assert {("s", 2): Registration(7, NOW)} == registrations(
        [record(CONFLUENT, at=NOW, offset=6), deleted, record(CONFLUENT, at=NOW - 2 * HOUR, offset=4)]
    )


@pytest.mark.parametrize(
    ("expected", "subject", "version", "schema_id"),
    [(NOW, "s", 2, 7), (None, "s", 2, 8), (None, "s", 2, None), (None, "s", 1, 7), (None, "other", 2, 7)],
)
def test_a_record_with_another_id_is_of_another_registry(expected, subject, version, schema_id):
    """A Kafka may hold the topic of a registry that was replaced."""
    asked = SchemaVersion(subject, version, schema_id, "AVRO", "{}")

    assert expected == registered_at(asked, {("s", 2): Registration(7, NOW)})


class Registry:
    """Two versions of any subject, without times."""

    def read_subject(self, subject: str, newest: int, deadline_s: float) -> SubjectState:
        text = json.dumps({"type": "record", "name": "r", "fields": []})
        versions = tuple(SchemaVersion(subject, number, number + 5, "AVRO", text) for number in (1, 2))
        return SubjectState(subject, "BACKWARD", "READWRITE", versions, (1, 2))

    def read_schema(self, schema_id: int, deadline_s: float) -> str: ...


@pytest.fixture(scope="module")
def producer() -> Iterator[Producer]:
    """Mock brokers; they live as long as the producer that started them."""
    producer = Producer({"bootstrap.servers": "", "test.mock.num.brokers": 1}, logger=SILENT)
    producer.list_topics(timeout=5)
    yield producer


def kafka_of(producer: Producer) -> ConfluentKafka:
    (broker,) = producer.list_topics(timeout=5).brokers.values()
    return ConfluentKafka({"bootstrap.servers": f"{broker.host}:{broker.port}"}, now=lambda: NOW)


def test_a_broker_without_the_topic_is_not_given_one(producer):
    """First sight has to do, nothing is said, and nothing is created by asking."""
    sources = Sources(kafka_of(producer), Registry(), first_seen={("s", 2): NOW - HOUR})

    finding = schema_of(sources, "s", lambda: NOW)

    assert "newest version 2, first seen by the bot 2026-11-23T13:02:11Z" == finding.headline
    assert () == finding.not_known
    assert "_schemas" not in producer.list_topics(timeout=5).topics


def test_the_tail_of_the_topic_dates_the_versions(producer):
    """Read by assignment from real brokers, among records that tell nothing."""
    produced = [
        (b'{"keytype":"NOOP","magic":0}', None, 5),
        (CONFLUENT.replace(b'"s"', b'"dated"').replace(b"2", b"1"), {**VALUE, "id": 6}, 4),
        (b'{"keytype":"CONFIG","subject":"dated","magic":0}', {"compatibilityLevel": "NONE"}, 3),
        (CONFLUENT.replace(b'"s"', b'"dated"'), VALUE, 2),
        (b'{"keytype":"NOOP","magic":0}', None, 1),
    ]
    for key, value, hours in produced:
        producer.produce(
            "_schemas",
            key=key,
            value=None if value is None else json.dumps(value).encode(),
            partition=0,
            timestamp=int((NOW - hours * HOUR).timestamp() * 1000),
        )
    assert 0 == producer.flush(10)

    sources = Sources(kafka_of(producer), Registry())
    (finding,) = probe(sources, Pipeline("p", "#c", subjects=("dated",)), lambda: NOW)

    assert ["2026-11-23T10:02:11Z", "2026-11-23T12:02:11Z"] == [
        version["registered_at"] for version in finding.facts["versions"]
    ]
    assert "version 2: registered 2026-11-23T12:02:11Z, by the _schemas topic" == finding.evidence[0]
    assert "CHANGED" == finding.verdict


# --- what else the topic tells -------------------------------------------------------------------


def key(keytype: str, subject: str | None, order: str = "confluent", **more: object) -> bytes:
    """A key in Confluent's order of fields, or in the one of an old Karapace."""
    fields = {"keytype": keytype, "subject": subject, **more, "magic": 0}
    return json.dumps(fields if order == "confluent" else dict(reversed(fields.items()))).encode()


@pytest.mark.parametrize("order", ["confluent", "karapace"])
@pytest.mark.parametrize(
    ("expected", "keytype", "subject", "more", "values"),
    [
        ([(LEVEL, None, "NONE")], "CONFIG", "s", {}, [{"compatibilityLevel": "NONE"}]),
        (
            [(LEVEL, None, "BACKWARD"), (LEVEL, "BACKWARD", "NONE")],
            "CONFIG", "s", {}, [{"compatibilityLevel": "BACKWARD"}, {"compatibilityLevel": "NONE"}],
        ),
        ([(LEVEL, None, "FULL")], "CONFIG", "s", {}, [{"compatibilityLevel": "FULL"}] * 2),  # only `normalize` changed
        (
            [(LEVEL, None, "FULL"), (LEVEL, "FULL", INHERITED)],
            "CONFIG", None, {}, [{"compatibilityLevel": "FULL"}, None],
        ),
        ([(MODE, None, "READONLY")], "MODE", "s", {}, [{"mode": "READONLY"}]),
        ([], "CONFIG", "s", {}, [{"normalize": True}]),
        ([], "CONFIG", "s", {}, [b"not JSON"]),
        ([(DELETED, None, None)], "SCHEMA", "s", {"version": 2}, [{**VALUE, "deleted": True}]),
        ([(REGISTERED, None, None), (DELETED, None, None), (ERASED, None, None)],
         "SCHEMA", "s", {"version": 2}, [VALUE, {**VALUE, "deleted": True}, None]),
        ([(REGISTERED, None, None)], "SCHEMA", "s", {"version": 2}, [VALUE, VALUE]),
        ([(SUBJECT_DELETED, None, None)], "DELETE_SUBJECT", "s", {}, [{"subject": "s", "version": 2}]),
        ([], "CLEAR_SUBJECT", "s", {}, [{"subject": "s"}]),
        ([], "NOOP", None, {}, [None]),
        ([], "CONTEXT", "s", {"tenant": "t"}, [{"tenant": "t"}]),
        ([], "SCHEMA", "s", {"version": "two"}, [VALUE]),
    ],
)  # fmt: skip
def test_levels_modes_and_deletions_are_told(order, expected, keytype, subject, more, values):
    """A soft delete is a deletion, never a registration; what a level was before may be compacted away."""
    written = [record(key(keytype, subject, order, **more), value, offset=at) for at, value in enumerate(values)]

    assert expected == [(one.kind, one.before, one.after) for one in changes_on(written)]


def test_a_global_level_has_no_subject():
    """It is every subject's that has none of its own."""
    (one,) = changes_on([record(key("CONFIG", None), {"compatibilityLevel": "NONE"})])

    assert (None, LEVEL, NOW) == (one.subject, one.kind, one.at)
