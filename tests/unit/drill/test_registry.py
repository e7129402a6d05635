"""The registry stand-in answers as Confluent Schema Registry does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from bot.drill.registry import SchemaRegistry


def schema(*fields: dict[str, Any]) -> str:
    return json.dumps({"type": "record", "name": "Value", "fields": list(fields)})


ID, EMAIL = {"name": "id", "type": "int"}, {"name": "email", "type": "string"}
TIER = {"name": "tier", "type": "string"}
TIER_WITH_DEFAULT = {**TIER, "default": "basic"}


@pytest.fixture(scope="module")
def registry() -> Iterator[SchemaRegistry]:
    started = SchemaRegistry().start()
    yield started
    started.stop()


def register(registry: SchemaRegistry, subject: str, text: str) -> requests.Response:
    return requests.post(f"{registry.url}/subjects/{subject}/versions", json={"schema": text}, timeout=5)


def test_a_missing_default_is_refused_in_confluents_words(registry: SchemaRegistry) -> None:
    """409 names the field, its path, the version it conflicts with and the level; the refusal is counted."""
    register(registry, "customers-value", schema(ID, EMAIL))
    refused = register(registry, "customers-value", schema(ID, EMAIL, TIER))
    assert 409 == refused.status_code
    message = refused.json()["message"]
    assert message.startswith(
        'Schema being registered is incompatible with an earlier schema for subject "customers-value", details: '
        "[{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'tier' at path '/fields/2' in the "
        "new schema has no default value and is missing in the old schema', additionalInfo:'tier'}, "
        "{oldSchemaVersion: 1}, {oldSchema: '"
    )
    assert message.endswith("{validateFields: 'false', compatibility: 'BACKWARD'}]")
    assert {"customers-value": 1} == registry.refusals(60)


@pytest.mark.parametrize(
    ("level", "old", "new", "compatible"),
    [
        ("BACKWARD", (ID, EMAIL), (ID, EMAIL, TIER_WITH_DEFAULT), True),
        ("BACKWARD", (ID, EMAIL), (ID, EMAIL, TIER), False),
        ("BACKWARD", (ID, EMAIL), (ID,), True),
        ("FORWARD", (ID, EMAIL), (ID,), False),
        ("FORWARD", (ID, EMAIL), (ID, EMAIL, TIER), True),
        ("FULL", (ID, EMAIL), (ID, EMAIL, TIER), False),
        ("FULL", (ID, EMAIL), (ID, EMAIL, TIER_WITH_DEFAULT), True),
        ("BACKWARD", (ID,), ({"name": "id", "type": "long"},), True),
        ("BACKWARD", (ID,), ({"name": "id", "type": "string"},), False),
        ("NONE", (ID,), ({"name": "id", "type": "string"},), True),
    ],
)
def test_each_level_allows_what_it_says(
    registry: SchemaRegistry, level: str, old: Any, new: Any, compatible: bool
) -> None:
    """Both sides of each compatibility level, asked and registered."""
    subject = f"s{time.time_ns()}"
    requests.put(f"{registry.url}/config/{subject}", json={"compatibility": level}, timeout=5)
    register(registry, subject, schema(*old))
    asked = requests.post(
        f"{registry.url}/compatibility/subjects/{subject}/versions/latest?verbose=true",
        json={"schema": schema(*new)},
        timeout=5,
    ).json()
    assert (compatible, not compatible) == (asked["is_compatible"], bool(asked["messages"]))
    assert (200 if compatible else 409) == register(registry, subject, schema(*new)).status_code


def test_versions_carry_when_they_were_registered(registry: SchemaRegistry) -> None:
    """`ts` is milliseconds, as registries from version 8 on answer; the same schema is the same id."""
    first = register(registry, "orders-value", schema(ID)).json()["id"]
    assert first == register(registry, "orders-value", schema(ID)).json()["id"]
    latest = requests.get(f"{registry.url}/subjects/orders-value/versions/latest", timeout=5).json()
    assert (1, first) == (latest["version"], latest["id"])
    assert abs(time.time() * 1000 - latest["ts"]) < 60_000
    assert [1] == requests.get(f"{registry.url}/subjects/orders-value/versions", timeout=5).json()


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/subjects/none/versions", 404, 40401),
        ("/subjects/known/versions/9", 404, 40402),
        ("/subjects/known/versions/x", 422, 42202),
        ("/schemas/ids/99999", 404, 40403),
        ("/config/known", 404, 40408),
        ("/mode/known", 404, 40409),
    ],
)
def test_what_is_not_there_has_confluents_error_code(
    registry: SchemaRegistry, path: str, status: int, code: int
) -> None:
    """Each 404 and 422 has its own error code."""
    register(registry, "known", schema(ID))
    answer = requests.get(f"{registry.url}{path}", timeout=5)
    assert (status, code) == (answer.status_code, answer.json()["error_code"])


ENUM = {"type": "enum", "name": "S", "symbols": ["A", "B"]}
FIXED = {"type": "fixed", "name": "H", "size": 4}


@pytest.mark.parametrize(
    ("old", "new", "kind", "description", "info"),
    [
        ("int", "string", "TYPE_MISMATCH", "The type (path '/fields/0/type') of a field in the new schema does not "
         "match with the old schema", "reader type: STRING not compatible with writer type: INT"),
        (ENUM, {**ENUM, "symbols": ["A"]}, "MISSING_ENUM_SYMBOLS", "The new schema is missing enum symbols '[B]' at "
         "path '/fields/0/type/symbols' in the old schema", "[B]"),
        (FIXED, {**FIXED, "size": 8}, "FIXED_SIZE_MISMATCH", "The size of FIXED type field at path "
         "'/fields/0/type/size' in the new schema does not match with the old schema", "expected: 4, found: 8"),
        (FIXED, {**FIXED, "name": "G"}, "NAME_MISMATCH", "The name of the schema has changed (path "
         "'/fields/0/type/name')", "expected: H"),
        (["null", "int"], ["null", "string"], "MISSING_UNION_BRANCH", "The new schema is missing a type inside a union "
         "field at path '/fields/0/type/1' in the old schema", "reader union lacking writer type: INT"),
    ],
)  # fmt: skip
def test_each_kind_of_conflict_has_confluents_words(
    registry: SchemaRegistry, old: Any, new: Any, kind: str, description: str, info: str
) -> None:
    """Java's kind, Confluent's sentence, the path in the reader and Java's own message."""
    subject = f"k{time.time_ns()}"
    register(registry, subject, schema({"name": "x", "type": old}))
    refused = register(registry, subject, schema({"name": "x", "type": new}))
    assert 409 == refused.status_code
    expected = (
        f"[{{errorType:'{kind}', description:'{description}', additionalInfo:'{info}'}}, {{oldSchemaVersion: 1}}, "
    )
    assert expected in refused.json()["message"]


def test_a_change_of_meaning_passes_as_it_does_at_confluents(registry: SchemaRegistry) -> None:
    """A registry sees bytes where there is a decimal: `cdc check schemas` is what stops it."""
    for scale in (2, 4):
        type_ = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale}
        assert 200 == register(registry, "money-value", schema({"name": "amount", "type": type_})).status_code
    assert 200 == register(registry, "wrong-default", schema({**ID, "default": "none"})).status_code


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "recod"}',
        '{"type": "record"',
        "null",
        "",
        schema(ID, ID),
        schema({"name": "a-b", "type": "int"}),
        schema({"name": "u", "type": ["int", "int"]}),
        schema({"name": "s", "type": {**ENUM, "symbols": ["A", "A"]}}),
        schema({"name": "s", "type": {**ENUM, "default": "Z"}}),
        schema({"name": "x", "type": "shop.Unknown"}),
    ],
)
def test_a_schema_that_is_none_is_refused(registry: SchemaRegistry, text: str) -> None:
    """What is no Avro schema answers 42201 and says why."""
    refused = register(registry, "bad", text).json()
    assert 42201 == refused["error_code"]
    assert refused["message"].partition("details: ")[2]


def test_a_frozen_subject_takes_nothing_more(registry: SchemaRegistry) -> None:
    """Mode READONLY refuses a registration; READWRITE takes it."""
    requests.put(f"{registry.url}/mode/frozen", json={"mode": "READONLY"}, timeout=5)
    assert 42205 == register(registry, "frozen", schema(ID)).json()["error_code"]
    requests.put(f"{registry.url}/mode/frozen", json={"mode": "READWRITE"}, timeout=5)
    assert 200 == register(registry, "frozen", schema(ID)).status_code
