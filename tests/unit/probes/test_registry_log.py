"""The registry's own log: which lines are refusals. Apicurio's are recorded from 3.3.3."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.incident.refusals import RefusedSchema
from bot.probes.registry_log import LogReader

_HEAD = "2026-11+00-23 22:22:44 INFO [io.apicurio.registry.logging.audit.AuditLogService] (executor-thread-1) "
_WORDS = "Incompatible artifact: customers-value [AVRO], num of incompatible diffs: {1}, list of diff types: "
AUDIT = (
    f'{_HEAD}apicurio.audit action="registerSchemaUnderSubject" result="failure" src_ip="127.0.0.1" '
    f'error_msg="io.apicurio.registry.rules.violation.RuleViolationException: {_WORDS}[tier at /fields/1]" '
    'artifact_id="customers-value" '
)
APICURIO_ACCESS = (
    "2026-11+00-23 22:22:44 INFO [io.quarkus.vertx.http.runtime.filters.accesslog.JBossLoggingAccessLogReceiver] "
    '(executor-thread-1) "apicurio-registry.access method="POST" path="/apis/ccompat/v7/subjects/customers-value/'
    'versions" response_code="409" response_time="-" remote_ip="127.0.0.1" remote_user="-" user_agent="x""'
)
STRANGE = AUDIT.replace("customers-value", 'wei rd"<!here>"-välue')
NATIVE = (
    f'{_HEAD}apicurio.audit action="createArtifactVersion" result="failure" src_ip="127.0.0.1" dryRun="null" '
    f'error_msg="{_WORDS}[tier at /fields/1]" group_id="default" artifact_id="customers-value" '
)
OLD_NATIVE = (
    f'{_HEAD}apicurio.audit action="createArtifact" result="failure" src_ip="127.0.0.1" if_exists="RETURN_OR_UPDATE" '
    f'artifact_type="AVRO" error_msg="{_WORDS}[tier at /fields/1]" group_id="default" name="null" content_hash="null" '
    'artifact_id="customers-value" version="null" '
)
NOT_A_SCHEMA = AUDIT.partition('error_msg="')[0] + 'error_msg="Failed to discover artifact type." artifact_id="x" '
TAKEN = f'{_HEAD}apicurio.audit action="registerSchemaUnderSubject" result="success" artifact_id="customers-value" '
CONFLUENT = (
    '[2026-11-23 14:02:11,017] INFO 10.0.0.7 - - [23/Nov/2026:16:02:11 +0200] "POST /subjects/customers-value/versions'
    '?normalize=false HTTP/1.1" 409 211 "-" "kafka-connect" 12 (io.confluent.rest-utils.requests)'
)
EXCEPTION = (
    "io.confluent.kafka.schemaregistry.rest.exceptions.RestIncompatibleSchemaException: Schema being registered is "
    'incompatible with an earlier schema for subject "customers-value", details: [{errorType:\'READER_FIELD_MISSING_'
    "DEFAULT_VALUE', description:'The field 'tier' at path '/fields/1' in the new schema has no default value and is "
    "missing in the old schema', additionalInfo:'tier'}, {oldSchemaVersion: 3}, {oldSchema: '{}'}, "
    "{validateFields: 'false', compatibility: 'BACKWARD'}]"
)
KARAPACE = 'INFO: 10.0.0.7:53110 - "POST /subjects/customers-value/versions HTTP/1.1" 409 Conflict'
AIOHTTP = '10.0.0.7 [23/Nov/2026:14:02:11 +0000] "POST /subjects/customers-value/versions HTTP/1.1" 409 300 "-" "curl"'
FROZEN = (
    "io.confluent.kafka.schemaregistry.rest.exceptions.RestOperationNotPermittedException: "
    "Subject customers-value is in read-only mode"
)
AT = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
APICURIO_AT = datetime(2026, 11, 23, 22, 22, 44, tzinfo=UTC)


def read(*lines: str) -> list[RefusedSchema]:
    reader = LogReader()
    return [refused for line in lines if (refused := reader.read(line)) is not None]


@pytest.mark.parametrize(
    ("line", "subject", "field", "at"),
    [
        (AUDIT, "customers-value", "tier", APICURIO_AT),
        (
            AUDIT.replace("2026-11+00-23", "2026-11-05-23"),
            "customers-value",
            "tier",
            APICURIO_AT.replace(day=24, hour=3),
        ),
        (AUDIT.replace("2026-11+00-23", "2026-11-23"), "customers-value", "tier", None),  # Apicurio 2: no zone
        (STRANGE, 'wei rd"<!here>"-välue', "tier", APICURIO_AT),
        (NATIVE, "customers-value", "tier", APICURIO_AT),  # answered 400, the same refusal
        (OLD_NATIVE, "customers-value", "tier", APICURIO_AT),
        (CONFLUENT, "customers-value", None, AT),
        (CONFLUENT.replace("/subjects", "/contexts/:.lab:/subjects"), "customers-value", None, AT),
        (CONFLUENT.replace("customers-value", "a%2Fb%20%22"), 'a/b "', None, AT),
        (CONFLUENT.replace("23/Nov", "99/Nov"), "customers-value", None, None),
        (KARAPACE, "customers-value", None, None),
        (AIOHTTP, "customers-value", None, AT),
    ],
)
def test_a_refused_registration_is_read(line: str, subject: str, field: str | None, at: datetime | None) -> None:
    """Subject, field where the line tells it, and the time where the line tells its zone."""
    (refused,) = read(line)
    assert (subject, field, at) == (refused.subject, refused.field, refused.at)


@pytest.mark.parametrize(
    "line",
    [
        "",
        TAKEN,
        NOT_A_SCHEMA,
        NATIVE.replace('dryRun="null"', 'dryRun="true"'),  # a check
        CONFLUENT.replace('" 409', '" 200'),
        CONFLUENT.replace('" 409', '" 422'),
        CONFLUENT.replace('" 409 211', '" 4091 211'),
        CONFLUENT.replace("POST", "GET"),
        CONFLUENT.replace("/subjects", "/compatibility/subjects").replace("/versions", "/versions/latest"),
        CONFLUENT.replace("/versions", ""),
        EXCEPTION,  # its request line follows, and is the one that counts
        APICURIO_ACCESS,
        '"POST "POST "POST ' * 2000,
        ' artifact_id=""' * 50_000,
        AUDIT[:200],
    ],
)
def test_any_other_line_is_none(line: str) -> None:
    """Checks, successes, lookups, other errors, and what is no line of a registry."""
    assert [] == read(line)


def test_an_exception_lends_its_field_to_the_request_line() -> None:
    """Confluent logs both; one refusal is one."""
    (refused,) = read(EXCEPTION, f"Caused by: {EXCEPTION}", CONFLUENT)
    assert ("tier", 3, AT) == (refused.field, refused.registered_version, refused.at)
    assert "READER_FIELD_MISSING_DEFAULT_VALUE" in refused.words
    assert [None] == [one.field for one in read(EXCEPTION, CONFLUENT, CONFLUENT)[1:]]  # told once, lent once


def test_audit_lines_and_request_lines_of_one_refusal_are_one() -> None:
    """An Apicurio whose access log has the common pattern tells each refusal twice."""
    assert 2 == len(read(AUDIT, APICURIO_ACCESS, AIOHTTP, AUDIT, AIOHTTP))


def test_a_frozen_subject_is_named_as_such() -> None:
    """422 is an invalid schema, too: the exception tells them apart."""
    (refused,) = read(FROZEN, CONFLUENT.replace('" 409', '" 422'))
    assert ("customers-value", True) == (refused.subject, refused.is_frozen)
