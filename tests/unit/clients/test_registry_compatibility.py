"""Would a registry take a schema? Canned answers of each make, served by a real server; Apicurio's are recorded."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.clients.http import JsonHttp
from bot.clients.registry import HttpSchemaRegistry
from bot.ports import CompatibilityAnswer, Denied, Missing, SchemaReference, SchemaVersion, Unreachable

AVRO = '{"type":"record","name":"c","fields":[]}'
ASK = "POST /compatibility/subjects/s/versions?verbose=true"
ASK_LATEST = "POST /compatibility/subjects/s/versions/latest?verbose=true"
VERSIONS = "GET /subjects/s/versions"
LEVEL = "GET /config/s?defaultToGlobal=true"
DRY_RUN = "POST /apis/registry/v3/groups/default/artifacts/s/versions?dryRun=true"
NO_SUBJECT = (404, {"error_code": 40401, "message": "Subject 's' not found."})
APICURIO = (200, {"name": "Apicurio Registry (In Memory)", "version": "3.3.3"})
REFUSED = (
    400,
    {
        "causes": [{"description": "b", "context": "/fields/1"}],
        "detail": "Incompatible artifact: s [AVRO], num of incompatible diffs: {1}, list of diff types: [b at /x] "
        "Causes: b at /fields/1",
        "title": "Incompatible artifact: s [AVRO], ...",
        "status": 400,
        "name": "RuleViolationException",
    },
)
ACCEPTED = (200, {"version": "3", "artifactType": "AVRO", "artifactId": "s"})


def asked(server: Any, references: tuple[SchemaReference, ...] = (), kind: str = "AVRO") -> CompatibilityAnswer:
    return HttpSchemaRegistry(JsonHttp(server.url)).check_compatibility("s", AVRO, kind, references, 5)


def body_of(server: Any, line: str) -> dict[str, Any]:
    return next(json.loads(body) for asked, _, body in server.asked if asked == line)


def test_confluents_own_call_follows_the_rule_of_a_registration(server):
    """The call without a version; a schema of a known subject that passes is no news."""
    server[ASK] = (200, {"is_compatible": True, "messages": []})
    server[VERSIONS] = (200, [1, 2])

    assert CompatibilityAnswer(True, "POST /compatibility/subjects/s/versions") == asked(server)
    assert {"schema": AVRO} == body_of(server, ASK)  # a registry before 5.5 refuses keys that it does not know


def test_confluents_reasons_are_kept_less_the_old_schema_in_full(server):
    """`?verbose=true`: what it conflicts with, and at which level."""
    reasons = ["{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', ...}", "{oldSchemaVersion: 1}", "{oldSchema: '{}'}"]
    server[ASK] = (200, {"is_compatible": False, "messages": reasons})

    answer = asked(server)

    assert (False, tuple(reasons[:2])) == (answer.compatible, answer.messages)


@pytest.mark.parametrize("versions", [NO_SUBJECT, (200, [])])
def test_a_subject_that_nobody_knows_passes_and_is_told(server, versions):
    """Confluent answers true for it; CI must not fail on a new topic."""
    server[ASK] = (200, {"is_compatible": True})
    server[VERSIONS] = versions

    assert asked(server).new_subject


@pytest.mark.parametrize("code", [40401, 40402])
def test_an_unknown_subject_may_be_a_404(server, code):
    """Apicurio and older registries."""
    server[ASK] = (404, {"error_code": code, "message": "Subject 's' not found."})

    answer = asked(server)

    assert (True, True) == (answer.compatible, answer.new_subject)


@pytest.mark.parametrize("no_such_call", [(404, {"error_code": 404, "message": "Not Found"}), (404, {}), (405, {})])
@pytest.mark.parametrize(
    ("expected", "latest"),
    [
        ((True, False), (200, {"is_compatible": True})),
        ((False, False), (200, {"is_compatible": False, "messages": "reader type: string not compatible"})),
        ((True, True), NO_SUBJECT),
    ],
)
def test_karapace_has_only_the_call_with_latest(server, no_such_call, expected, latest):
    """A 404 of the call is not the 404 of a subject."""
    server[ASK], server[ASK_LATEST], server[VERSIONS] = no_such_call, latest, (200, [1])
    server["GET /_health"] = (200, {"karapace_version": "4.1", "process_uptime_sec": 5})

    answer = asked(server)

    assert expected == (answer.compatible, answer.new_subject)
    assert "POST /compatibility/subjects/s/versions/latest" == answer.asked
    assert answer.compatible or ("reader type: string not compatible",) == answer.messages


def test_a_schema_that_the_registry_cannot_read_would_be_refused(server):
    """42201 is an answer to the question, not a failure to ask it."""
    server[ASK] = (422, {"error_code": 42201, "message": "Invalid schema: no type"})

    answer = asked(server)

    assert (False, ("Invalid schema: no type",)) == (answer.compatible, answer.messages)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (Denied, (401, {})),
        (Unreachable, (500, {"error_code": 50001, "message": "store"})),
        (Unreachable, (200, {"compatible": True})),
        (Unreachable, (200, [])),
        (Unreachable, (200, "<html>")),
    ],
)
def test_what_is_no_answer_is_an_error(server, error, answer):
    """Never "compatible" by default."""
    server[ASK] = answer

    with pytest.raises(error):
        asked(server)


def test_type_and_references_are_sent(server):
    """As a registration would send them."""
    server[ASK], server[VERSIONS] = (200, {"is_compatible": True}), (200, [1])

    asked(server, (SchemaReference("a.proto", "a-value", 3),), "PROTOBUF")

    assert {
        "schema": AVRO,
        "schemaType": "PROTOBUF",
        "references": [{"name": "a.proto", "subject": "a-value", "version": 3}],
    } == body_of(server, ASK)


# --- Apicurio, whose "no" cannot be believed -----------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "dry_run"),
    [((True, ()), ACCEPTED), ((False, (REFUSED[1]["detail"].partition(" Causes")[0],)), REFUSED)],
)
def test_apicurios_no_is_checked_by_its_dry_run(server, expected, dry_run):
    """3.3.3 says no where no level is set, and compares with every version at any level."""
    server[ASK], server["GET /apis/registry/v3/system/info"] = (200, {"is_compatible": False}), APICURIO
    server[DRY_RUN] = dry_run

    answer = asked(server)

    assert expected == (answer.compatible, answer.messages)
    assert "application/json" == body_of(server, DRY_RUN)["content"]["contentType"]


@pytest.mark.parametrize(
    ("expected", "level", "latest"),
    [
        (True, "NONE", None),
        (False, "BACKWARD_TRANSITIVE", None),
        (True, "BACKWARD", True),
        (False, "FULL", False),
    ],
)
@pytest.mark.parametrize(
    ("version", "dry_run"),
    [("2.6.13.Final", ACCEPTED), ("3.0.4", ACCEPTED), ("3.3.3", (403, {})), ("3.3.3", (500, {}))],
)
def test_without_a_dry_run_apicurio_is_asked_by_the_level(server, expected, level, latest, version, dry_run):
    """An older one might really register; a login may read and not write."""
    server[ASK] = (200, {"is_compatible": False})
    server["GET /apis/registry/v3/system/info"] = (200, {**APICURIO[1], "version": version})
    server[DRY_RUN], server[LEVEL] = dry_run, (200, {"compatibilityLevel": level})
    server[ASK_LATEST] = (200, {"is_compatible": latest})

    assert expected is asked(server).compatible
    assert version == "3.3.3" or not any(line == DRY_RUN for line, _, _ in server.asked)


def test_apicurio_cannot_say_anything_of_references_without_its_dry_run(server):
    """422 there, and a registration passes: unknown is not "no"."""
    server[ASK] = (422, {"error_code": 42201, "message": "Invalid schema: Syntax violation for Avro artifact."})
    server["GET /apis/registry/v2/system/info"] = (200, {"name": "Apicurio Registry", "version": "2.6.13.Final"})

    answer = asked(server, (SchemaReference("x.A", "a", 1),))

    assert answer.compatible is None
    assert "does not resolve references" in answer.messages[0]


# --- the level -----------------------------------------------------------------------------------


def level_of(server: Any) -> str:
    return HttpSchemaRegistry(JsonHttp(server.url)).read_level("s", 5)


def test_the_level_in_force_is_the_subjects_own(server):
    """One call."""
    server[LEVEL] = (200, {"compatibilityLevel": "FULL_TRANSITIVE"})

    assert "FULL_TRANSITIVE" == level_of(server)


@pytest.mark.parametrize("code", [40401, 40408])
def test_a_subject_without_a_level_has_the_global_one(server, code):
    """Apicurio does not tell the global level of a subject that is not there."""
    server[LEVEL] = (404, {"error_code": code, "message": "not found"})
    server["GET /config"] = (200, {"compatibilityLevel": "NONE"})

    assert "NONE" == level_of(server)


@pytest.mark.parametrize("answer", [(404, {}), (200, {}), (200, {"compatibilityLevel": 3}), (200, [])])
def test_another_api_has_no_level(server, answer):
    """Not NONE, and not BACKWARD by guessing."""
    server[LEVEL] = answer

    with pytest.raises(Unreachable):
        level_of(server)


# --- versions, references, what changed lately ---------------------------------------------------


def put(server: Any, subject: str, version: int, *uses: tuple[str, int], **more: object) -> None:
    answer = {"subject": subject, "version": version, "id": version, "schema": AVRO, **more}
    if uses:
        answer["references"] = [{"name": f"x.{name}", "subject": name, "version": number} for name, number in uses]
    server[f"GET /subjects/{subject.replace(':', '%3A')}/versions/{version}?deleted=true"] = (200, answer)


def referenced(server: Any, *uses: tuple[str, int]) -> list[tuple[str, int]]:
    schema = SchemaVersion("s", 1, 1, "AVRO", AVRO, references=tuple(SchemaReference("x", *use) for use in uses))
    found = HttpSchemaRegistry(JsonHttp(server.url)).read_referenced(schema, 5)
    return [(one.subject, one.version) for one in found]


def test_references_are_read_through_others_the_used_first(server):
    """A diamond: what two use is read once."""
    put(server, "a", 1, ("c", 3))
    put(server, "b", 2, ("c", 3))
    put(server, "c", 3)

    assert [("c", 3), ("a", 1), ("b", 2)] == referenced(server, ("a", 1), ("b", 2))
    assert 3 == len(server.asked)


def test_a_cycle_of_references_ends(server):
    """A registry refuses one; a broken one must not hold a probe."""
    put(server, "a", 1, ("b", 1))
    put(server, "b", 1, ("a", 1))

    assert {("a", 1), ("b", 1)} == set(referenced(server, ("a", 1)))


def test_an_endless_chain_of_references_is_not_read(server):
    """Bounded, and said."""
    for number in range(1, 103):
        put(server, "a", number, ("a", number + 1))

    with pytest.raises(Unreachable, match="s version 1: uses more than 100 other schemas: not read"):
        referenced(server, ("a", 1))


def test_a_reference_to_nothing_is_missing(server):
    """With its name."""
    server["GET /subjects/gone/versions/4?deleted=true"] = (
        404,
        {"error_code": 40402, "message": "Version 4 not found."},
    )

    with pytest.raises(Missing, match="no version 4 of gone at http"):
        referenced(server, ("gone", 4))


def test_a_subject_of_a_context_stays_one_segment(server):
    """`:.ctx:subject`."""
    put(server, ":.ctx:orders", 7)

    assert 7 == HttpSchemaRegistry(JsonHttp(server.url)).read_version(":.ctx:orders", 7, 5).version


def test_soft_deleted_versions_are_told_and_left_out(server):
    """They can be read, and nobody can register against them."""
    server[VERSIONS], server[f"{VERSIONS}?deleted=true"] = (200, [1, 3]), (200, [1, 2, 3])

    state = HttpSchemaRegistry(JsonHttp(server.url)).read_subject("s", 0, 5)

    assert ((1, 3), (2,)) == (state.all_versions, state.deleted)


def test_a_deleted_subject_says_that_it_was_deleted(server):
    """ "Not found" would send the on-call to look for a typo."""
    server[VERSIONS], server[f"{VERSIONS}?deleted=true"] = NO_SUBJECT, (200, [1, 2])

    with pytest.raises(Missing, match=r"no subject s at .* \(it was deleted with its versions 1, 2\)"):
        HttpSchemaRegistry(JsonHttp(server.url)).read_subject("s", 2, 5)


NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def listed(number: int, at: datetime | None, **more: object) -> dict[str, Any]:
    ts = {"ts": int(at.timestamp() * 1000)} if at else {}
    return {"subject": "s", "version": number, "id": number, "schema": AVRO, **ts, **more}


def page(start: int) -> str:
    return f"GET /schemas?latestOnly=false&deleted=true&offset={start}&limit=1000"


def recent(server: Any) -> Any:
    found = HttpSchemaRegistry(JsonHttp(server.url)).read_recent(NOON, 5)
    return None if found is None else [(one.version, one.deleted) for one in found]


def test_what_changed_lately_is_listed_by_time(server):
    """A soft-deleted version changed when it was deleted."""
    later, before = NOON.replace(hour=13), NOON.replace(hour=11)
    server[page(0)] = (200, [listed(1, before), listed(3, later), listed(2, NOON, deleted=True)])

    assert [(2, True), (3, False)] == recent(server)


@pytest.mark.parametrize(
    "answer", [(200, [{"schema": AVRO}]), (200, [listed(1, None)]), (404, {"error_code": 404}), (405, {}), (200, [7])]
)
def test_a_list_without_times_is_none_not_empty(server, answer):
    """Apicurio's names not even the subject; Confluent's before 8.0 has no `ts`."""
    server[page(0)] = answer

    assert recent(server) is None


def test_the_list_is_read_by_pages(server):
    """Confluent gives a thousand at most."""
    server[page(0)] = (200, [listed(number, NOON) for number in range(1, 1001)])
    server[page(1000)] = (200, [listed(1001, NOON)])

    assert 1001 == len(recent(server))


def test_a_registry_that_ignores_pages_is_not_asked_forever(server):
    """The same thousand again and again."""
    whole = [listed(number, NOON) for number in range(1, 1001)]
    for start in range(0, 20_000, 1000):
        server[page(start)] = (200, whole)

    assert 1000 == len(recent(server))
    assert 2 == len(server.asked)


def test_the_registrys_own_references_are_kept(server):
    """With the version that was read."""
    put(server, "s", 1, ("a", 4), deleted=True)

    read = HttpSchemaRegistry(JsonHttp(server.url)).read_version("s", 1, 5)

    assert ((SchemaReference("x.a", "a", 4),), True) == (read.references, read.deleted)
