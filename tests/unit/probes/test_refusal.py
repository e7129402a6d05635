"""Refusals as registries word them; the Apicurio traces are recorded from the real pipeline."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.ports import SchemaVersion, SubjectState
from bot.probes.refusal import SchemaRefusal, completed, field_at, read_refusal, sentence
from bot.redact import redact

RECORDED = Path(__file__).parents[2] / "payloads" / "recorded"
REGISTERED = json.loads((RECORDED / "registry-version-latest.json").read_text())["body"]
SUBJECT = "shop.public.customers-value"
AT = datetime(2026, 11, 23, 14, 2, tzinfo=UTC)


def recorded_trace(name: str) -> str:
    body = json.loads((RECORDED / f"{name}.json").read_text())["body"]
    traces = [task.get("trace") for one in body.values() for task in one["status"]["tasks"]]
    return next(trace for trace in traces if trace)


def subject_state(level: str = "BACKWARD", subject: str = SUBJECT) -> SubjectState:
    versions = tuple(SchemaVersion(subject, number, number, "AVRO", REGISTERED["schema"]) for number in (1, 2))
    return SubjectState(subject, level, None, versions)


def confluent(details: str) -> str:
    return (
        "org.apache.kafka.connect.errors.ConnectException: Tolerance exceeded in error handler\n"
        "\tat org.apache.kafka.connect.X.y(X.java:1)\n"
        "Caused by: org.apache.kafka.common.errors.InvalidConfigurationException: Schema being registered is "
        f'incompatible with an earlier schema for subject "orders-value"{details}; error code: 409\n'
        "\tat io.confluent.kafka.serializers.X.y(X.java:2)\n"
    )


MISSING_DEFAULT = (
    ", details: [{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'tier' at path '/fields/3' in "
    "the new schema has no default value and is missing in the old schema', additionalInfo:'tier'}, "
    '{oldSchemaVersion: 7}, {oldSchema: \'{"type":"record","name":"o","fields":[]}\'}, '
    "{validateFields: 'false', compatibility: 'BACKWARD'}]"
)
TYPE_MISMATCH = (
    ", details: [{errorType:'TYPE_MISMATCH', description:'The type (path '/fields/1/type') of a field in the new "
    "schema does not match with the old schema', "
    "additionalInfo:'reader type: STRING not compatible with writer type: LONG'} "
    "{errorType:'TYPE_MISMATCH', description:'The type (path '/fields/2/type') of ..', additionalInfo:'x'} "
    '{oldSchemaVersion: 2} {oldSchema: \'{"type":"record","name":"o","fields":[{"name":"id","type":"int"},'
    '{"name":"amount","type":"long"}]}\'} {validateFields: \'false\', compatibility: \'BACKWARD\'}]'
)
OLDER = ", details: [Incompatibility{type:TYPE_MISMATCH, location:/fields/2/type, message:reader type: X, reader:1}]"
KARAPACE = "Incompatible schema, compatibility_mode=BACKWARD. Incompatibilities: reader type: string; error code: 409"


@pytest.mark.parametrize(
    ("expected", "trace"),
    [
        ((SUBJECT, "tier", "/fields/4", None, 0), recorded_trace("connect-connectors-failed-column-without-default")),
        ((SUBJECT, None, "/fields/3/type/1", None, 0), recorded_trace("connect-connectors-failed-type-change")),
        ((SUBJECT, None, "/fields/1/type/1", None, 1), recorded_trace("connect-connectors-failed-envelope")),
        (("orders-value", "tier", "/fields/3", 7, 0), confluent(MISSING_DEFAULT)),
        (("orders-value", "amount", "/fields/1/type", 2, 1), confluent(TYPE_MISMATCH)),
        (("orders-value", None, "/fields/2/type", None, 0), confluent(OLDER)),
        (("orders-value", None, None, None, 0), confluent("")),
        ((None, None, None, None, 0), KARAPACE),
    ],
)
def test_subject_field_path_and_version_as_the_registry_names_them(expected, trace):
    """Subject and field come from the trace; what it does not say is None."""
    found = read_refusal(trace)

    assert found is not None
    assert expected == (found.subject, found.field, found.path, found.registered_version, found.more)
    assert "oldSchema: '{" not in found.words


@pytest.mark.parametrize("details", [MISSING_DEFAULT, TYPE_MISMATCH, OLDER, ""])
def test_a_redacted_trace_tells_the_same_subject_path_and_version(details):
    """What is shown and journalled is redacted; metrics count the refusals of that text."""
    whole, shown = read_refusal(confluent(details)), read_refusal(redact(confluent(details)))

    assert (whole.subject, whole.path, whole.registered_version) == (
        shown.subject,
        shown.path,
        shown.registered_version,
    )
    assert "[redacted]" not in shown.words


def test_the_registrys_own_409_reads_the_same():
    """Apicurio's answer to a registration, recorded."""
    body = json.loads((RECORDED / "registry-register-refused.json").read_text())["body"]

    assert "tier" == read_refusal(body["message"]).field


@pytest.mark.parametrize(
    "trace", ["", "java.lang.NullPointerException", "HTTP 409 Conflict: a rebalance is in progress"]
)
def test_another_failure_is_no_refusal(trace):
    """A 409 of Connect is a rebalance."""
    assert None is read_refusal(trace)


@pytest.mark.parametrize(
    ("version", "field", "looked_up", "trace", "state"),
    [
        (2, "tier", False, "connect-connectors-failed-column-without-default", subject_state()),
        (2, "credit_limit", True, "connect-connectors-failed-type-change", subject_state()),
        (None, "tier", False, "connect-connectors-failed-column-without-default", subject_state("FULL_TRANSITIVE")),
        (None, "tier", False, "connect-connectors-failed-column-without-default", subject_state(subject="other")),
        (None, "tier", False, "connect-connectors-failed-column-without-default", None),
        (None, None, False, "connect-connectors-failed-type-change", None),
    ],
)
def test_what_the_trace_lacks_comes_from_the_registry_and_says_so(version, field, looked_up, trace, state):
    """A transitive level may have conflicted with an older version: then none is named."""
    found = completed(read_refusal(recorded_trace(trace)), state, AT, {(SUBJECT, 1): AT, (SUBJECT, 2): AT})

    assert (version, field, looked_up) == (found.registered_version, found.field, found.field_is_looked_up)


def seen(*seconds: int | None) -> dict[tuple[str, int], datetime]:
    """When the bot first saw version 1, 2 .. of SUBJECT; None where it never did."""
    return {(SUBJECT, n): AT + timedelta(seconds=at) for n, at in enumerate(seconds, 1) if at is not None}


@pytest.mark.parametrize(
    ("version", "state", "at", "first_seen"),
    [
        (2, subject_state(), AT, seen(-60, -30)),
        (2, subject_state(), AT, seen(-60, 0)),
        (1, subject_state(), AT, seen(-60, 1)),  # version 2 is the repair
        (None, subject_state(), AT, seen(1, 1)),  # the bot's first look came after
        (None, subject_state(), AT, seen(1, None)),
        (None, subject_state(), AT, seen()),
        (None, subject_state(), None, seen(-60, -30)),  # a trace of no known time
        (2, replace(subject_state(), versions=subject_state().versions[1:], all_versions=(2,)), None, seen()),
        (None, replace(subject_state(), versions=subject_state().versions[1:], all_versions=(1, 2)), None, seen()),
        (None, replace(subject_state(), deleted=(3,)), AT, seen(-60, -30)),  # deleted since, or before?
        (2, replace(subject_state(), deleted=(3,)), AT, seen(-60, -30, 1)),
        (2, replace(subject_state(), deleted=(1,)), AT, seen(-60, -30)),
    ],
)
def test_a_refusal_conflicts_with_the_newest_version_of_its_own_time(version, state, at, first_seen):
    """The version that repaired it came later; where that is not known, none is named."""
    refusal = SchemaRefusal(SUBJECT, "tier", "/fields/4", None, "words")

    assert version == completed(refusal, state, at, first_seen).registered_version


@pytest.mark.parametrize(("version", "seconds"), [(1, 1), (2, 0)])
def test_a_registrys_own_time_of_a_version_counts_before_any_sight(version, seconds):
    """The bot may have looked late."""
    state = subject_state()
    first, second = state.versions
    state = replace(state, versions=(first, replace(second, registered_at=AT + timedelta(seconds=seconds))))

    found = completed(SchemaRefusal(SUBJECT, "tier", None, None, ""), state, AT, seen(-60, 90))

    assert version == found.registered_version


def test_a_position_that_has_two_names_in_the_versions_it_may_be_of_has_none():
    """A wrong field costs more than no field."""
    first, second = subject_state().versions
    moved = replace(second, schema=second.schema.replace("credit_limit", "limit_cents"))

    found = completed(
        SchemaRefusal(SUBJECT, None, "/fields/3/type/1", None, ""), replace(subject_state(), versions=(first, moved))
    )

    assert (None, None, False) == (found.registered_version, found.field, found.field_is_looked_up)


def test_one_sentence_for_the_thread():
    """Subject, field and the registered version it conflicts with."""
    refusal = SchemaRefusal("s-value", "tier", "/fields/4", 1, "words", more=2)

    assert (
        "the registry refused a new schema of s-value: field tier at /fields/4 and 2 more; conflicts with version 1"
        == sentence(refusal)
    )
    assert "the registry refused a new schema" == sentence(SchemaRefusal(None, None, None, None, ""))


@pytest.mark.parametrize(
    "words",
    [
        "Subject orders-value in context  is in read-only mode; error code: 42205",
        "Subject orders-value in context . is in read-only mode; error code: 42205",
        "Subject orders-value is in read-only mode; error code: 42205",
        '{"error_code": 42205, "message": "Subject orders-value is in read-only mode"}',
    ],
)
def test_a_frozen_subject_is_told_apart(words):
    """Nothing is known against the schema: no field, no version, also when the subject has versions."""
    found = read_refusal(f"Caused by: io.confluent...RestClientException: {words}\n\tat x.y(Z.java:1)")

    assert ("orders-value", None, None, True) == (found.subject, found.field, found.registered_version, found.frozen)
    assert found == completed(found, subject_state(subject="orders-value"))
    assert "the registry takes no new schema of orders-value: the subject is frozen (mode READONLY)" == sentence(found)


@pytest.mark.parametrize(
    "words", ["Subject orders-value is not in import mode; error code: 42205", "in read-only mode"]
)
def test_another_refused_operation_is_no_freeze(words):
    """42205 says also that ids may only be given in import mode."""
    assert None is read_refusal(words)


STREET = {"type": "record", "name": "x.Address", "fields": [{"name": "street", "type": "string"}]}
FIELDS = [
    {"name": "id", "type": "long"},
    {"name": "email", "type": ["null", "string"]},
    {"name": "before", "type": ["null", STREET]},
    {"name": "after", "type": ["null", "x.Address"]},
]


@pytest.mark.parametrize(
    ("expected", "path"),
    [
        ("id", "/fields/0"),
        ("email", "/fields/1/type/1"),
        ("before.street", "/fields/2/type/1/fields/0"),
        ("before.street", "/fields/2/type/1/fields/0/type"),
        ("after.street", "/fields/3/type/1/fields/0"),  # a name leads to its definition
        (None, "/fields/9"),
        (None, "/"),
        (None, ""),
        (None, "/fields/x"),
        (None, "/name"),
    ],
)
def test_field_at_a_registrys_path(expected, path):
    """Registries name positions; people know names."""
    assert expected == field_at(json.dumps({"type": "record", "name": "r", "fields": FIELDS}), path)


@pytest.mark.parametrize("text", ['syntax = "proto3";', "", "[" * 100_000, "7", "null"])
def test_field_at_of_no_schema_is_none(text):
    """A protobuf subject has no such path."""
    assert None is field_at(text, "/fields/0")
