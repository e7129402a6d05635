"""`schema SUBJECT`, `schema SUBJECT diff`, `schema recent`: the words, the documents, the bad inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.commands import Query, parse_line
from bot.model import Pipeline, Refusal, Status
from bot.ports import Missing, Record, SchemaVersion, SubjectState, TailSample, TopicOffsets, Unreachable
from bot.probes.sources import Sources
from bot.report import Report
from bot.schema_answers import read_length, schema_answer

NOW = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
HOUR = timedelta(hours=1)
PIPELINE = Pipeline("orders", "#c", subjects=("s",))


@pytest.mark.parametrize(
    ("expected", "line"),
    [
        ({"subject": "s"}, "schema s"),
        ({"subject": "s", "diff": ""}, "schema s diff"),
        ({"subject": "s", "diff": "3"}, "schema s diff 3"),
        ({"subject": "s", "diff": "3 4"}, "schema `s` diff v3 V4"),
        ({"recent": "24h"}, "schema recent"),
        ({"recent": "30m"}, "schema recent 30m"),
        ({"subject": "recent", "diff": ""}, "schema recent diff"),
        ({"subject": "recent"}, "schema --subject recent"),
        ({"subject": "recent", "diff": "1 2"}, "schema --subject recent diff 1 2"),
        ({"subject": "diff"}, "schema diff"),
        ({"subject": ":.ctx:s", "diff": ""}, "schema :.ctx:s diff"),
    ],
)
def test_what_may_be_written(expected, line):
    """The same words in Slack and in a terminal."""
    assert Query("schema", expected) == parse_line(line)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("needs a subject", "schema"),
        ("needs a subject", "schema --subject"),
        ("like 30m, 24h or 7d", "schema recent 24"),
        ("like 30m, 24h or 7d", "schema recent yesterday"),
        ("like 30m, 24h or 7d", "schema recent 24h s"),
        ("nothing else but `diff`", "schema s t"),
        ("at most two version numbers", "schema s diff 1 2 3"),
        ("at most two version numbers", "schema s diff one"),
        ("at most two version numbers", "schema s diff 0"),
        ("at most two version numbers", "schema s diff -1"),
    ],
)
def test_what_may_not_be_written_says_why(said, line):
    """Nothing is guessed."""
    refusal = parse_line(line)

    assert isinstance(refusal, Refusal)
    assert said in str(refusal)


@pytest.mark.parametrize("word", ["24", "h", "0h", "-1h", "1.5h", "1w", "", "999999d"])
def test_what_is_no_length_of_time(word):
    """None, never a default."""
    assert read_length(word) is None


def avro(*fields: dict[str, Any]) -> str:
    return json.dumps({"type": "record", "name": "r", "fields": list(fields)})


def version(number: int, *fields: dict[str, Any], at: datetime | None = None, subject: str = "s") -> SchemaVersion:
    return SchemaVersion(subject, number, number + 10, "AVRO", avro(*fields), at)


ID, TIER = {"name": "id", "type": "long"}, {"name": "tier", "type": "string"}
V1, V2, V3 = version(1, ID), version(2, ID, TIER), version(3, ID, {**TIER, "default": ""}, at=NOW - HOUR)


@dataclass
class Registry:
    """A registry of a few versions; `recent` None is one that keeps no times."""

    versions: tuple[SchemaVersion, ...] = (V1, V2, V3)
    deleted: tuple[int, ...] = ()
    recent: tuple[SchemaVersion, ...] | None = None
    error: Exception | None = None
    read: list[int] = field(default_factory=list)

    def read_subject(self, subject: str, newest: int, deadline_s: float) -> SubjectState:
        if self.error is not None:
            raise self.error
        here = tuple(v for v in self.versions if v.subject == subject and v.version not in self.deleted)
        if not here:
            raise Missing(f"no subject {subject}", error_code=40401)
        return SubjectState(
            subject, "BACKWARD", "READWRITE", here[-newest:], tuple(v.version for v in here), deleted=self.deleted
        )

    def read_version(self, subject: str, version: int, deadline_s: float) -> SchemaVersion:
        self.read.append(version)
        return next(v for v in self.versions if (v.subject, v.version) == (subject, version))

    def read_recent(self, since: datetime, deadline_s: float) -> tuple[SchemaVersion, ...] | None:
        if self.error is not None:
            raise self.error
        return None if self.recent is None else tuple(v for v in self.recent if (v.registered_at or since) >= since)

    def read_subjects(self, deadline_s: float) -> tuple[str, ...]:
        return tuple(sorted({v.subject for v in self.versions}))


@dataclass
class Kafka:
    """The registry's topic."""

    answer: Sequence[Record] | Exception = ()

    def sample_tail(self, topic: str, count: int, deadline_s: float) -> TailSample:
        if isinstance(self.answer, Exception):
            raise self.answer
        return TailSample(topic, tuple(self.answer), TopicOffsets(topic, {0: (0, len(self.answer))}))


def ask(said: Mapping[str, str], registry: Any = None, **more: Any) -> Report:
    sources = Sources(registry=Registry() if registry is None else registry, **more)
    return schema_answer(said, sources, (PIPELINE,), NOW, "cdc")


# --- two versions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "wanted"), [((2, 3), ""), ((1, 3), "1"), ((1, 2), "1 2"), ((3, 1), "3 1"), ((2, 2), "2 2")]
)
def test_which_two_versions_are_meant(expected, wanted):
    """None: the last two. One: that one with the newest. Two: as they are written."""
    document = ask({"subject": "s", "diff": wanted}).document

    assert expected == (document["from"]["version"], document["to"]["version"])


def test_a_difference_has_both_directions_and_the_levels_verdict():
    """The document is what the module's docstring promises."""
    report = ask({"subject": "s", "diff": "1 2"}, first_seen={("s", 2): NOW - HOUR})

    assert {
        "subject": "s",
        "compatibility": "BACKWARD",
        "from": {"version": 1, "id": 11, "registered_at": None, "first_seen_at": None, "deleted": False},
        "to": {
            "version": 2, "id": 12, "registered_at": None, "first_seen_at": "2026-11-23T13:02:11Z", "deleted": False,
        },
        "backward": False,
        "forward": True,
        "verdict": "incompatible",
        "changes": [
            {
                "path": "tier",
                "change": "added: string, no default",
                "verdict": "incompatible",
                "backward": False,
                "forward": True,
                "rules": ["C001"],
                "meaning": None,
            }
        ],
        "not_known": [],
    } == report.document  # fmt: skip
    assert (Status.RED, 0) == (report.status, report.exit_code)
    assert ("BACKWARD (2 reads 1)", "no") in report.facts
    assert ("cdc check explain C001",) == report.next_steps


@pytest.mark.parametrize(
    ("title", "versions", "wanted"),
    [
        ("There is no version 99 of s", "It has 1, 2, 3.", "3 99"),
        ("There is no version 98 and no version 99 of s", "It has 1, 2, 3.", "98 99"),
    ],
)
def test_a_version_that_is_not_there_names_those_that_are(title, versions, wanted):
    """3 is "does not exist" (contract.md)."""
    report = ask({"subject": "s", "diff": wanted})

    assert (title, (versions,), 3) == (report.title, report.notes, report.exit_code)


def test_a_soft_deleted_version_can_be_compared():
    """It is what the failing consumer still reads."""
    report = ask({"subject": "s", "diff": "2 3"}, Registry(deleted=(2,)))
    missing = ask({"subject": "s", "diff": "9"}, Registry(deleted=(2,)))

    assert report.document["from"]["deleted"]
    assert ("It has 1, 3 (soft-deleted: 2).",) == missing.notes


def test_an_only_version_has_nothing_to_be_compared_with():
    """Said, not shown as "no change"."""
    report = ask({"subject": "s", "diff": ""}, Registry((V1,)))

    assert ("There are no two versions of s to compare", 3) == (report.title, report.exit_code)


def test_an_unknown_subject_names_the_near_ones():
    """As `schema` alone does."""
    report = ask({"subject": "order-value", "diff": ""}, Registry((replace(V1, subject="orders-value"),)))

    assert (3, ("cdc schema orders-value",)) == (report.exit_code, report.next_steps)


def test_what_cannot_be_compared_is_unknown_not_equal():
    """A Protobuf subject."""
    registry = Registry((replace(V1, schema_type="PROTOBUF"), replace(V2, schema_type="PROTOBUF")))
    report = ask({"subject": "s", "diff": ""}, registry)

    assert Status.UNKNOWN is report.status
    assert report.document["backward"] is None
    assert ("what changed: PROTOBUF schemas are not compared field by field",) == report.not_known


@pytest.mark.parametrize("said", [{"subject": "s", "diff": ""}, {"recent": "24h"}])
def test_no_registry_is_a_question_of_configuration(said):
    """2, and not 3."""
    assert 2 == schema_answer(said, Sources(), (PIPELINE,), NOW, "cdc").exit_code


def test_a_registry_that_does_not_answer_is_said():
    """3, without a trace."""
    assert 3 == ask({"subject": "s", "diff": ""}, Registry(error=Unreachable("GET x: no answer"))).exit_code


# --- lately --------------------------------------------------------------------------------------


def level(subject: str | None, value: str, at: datetime, offset: int) -> Record:
    key = {"keytype": "CONFIG", "subject": subject, "magic": 0}
    return Record(
        "_schemas", 0, offset, at, json.dumps(key).encode(), json.dumps({"compatibilityLevel": value}).encode()
    )


def written(number: int, at: datetime, offset: int, subject: str = "s", deleted: bool = False) -> Record:
    key = {"keytype": "SCHEMA", "subject": subject, "version": number, "magic": 1}
    value = {"subject": subject, "version": number, "id": number + 10, "schema": "{}", "deleted": deleted}
    return Record("_schemas", 0, offset, at, json.dumps(key).encode(), json.dumps(value).encode())


def rows(report: Report) -> list[tuple[Any, ...]]:
    return [(one["at"], one["kind"], one["subject"], one["version"], one["by"]) for one in report.document["changes"]]


def test_a_registry_with_times_and_its_topic_make_one_list_newest_first():
    """Versions by the registry, levels by the topic; a version is not told twice."""
    topic = [
        written(3, NOW - HOUR, 1),
        level("s", "NONE", NOW - 2 * HOUR, 2),
        level(None, "FULL", NOW - 30 * HOUR, 3),
    ]
    report = ask({"recent": "24h"}, Registry(recent=(V3,)), kafka=Kafka(topic))

    assert [
        ("2026-11-23T13:02:11Z", "registered", "s", 3, "the registry"),
        ("2026-11-23T12:02:11Z", "compatibility", "s", None, "the _schemas topic"),
    ] == rows(report)
    assert ["orders", "orders"] == [one["pipeline"] for one in report.document["changes"]]
    assert ["tier"] == [one["path"] for one in report.document["changes"][0]["changes"]]
    assert () == report.not_known
    assert "compatibility set to NONE" == report.table.rows[1][2]


def test_without_times_the_topic_dates_versions():
    """Karapace, and Confluent before 8."""
    topic = [written(3, NOW - HOUR, 1), written(3, NOW - HOUR / 2, 2, deleted=True), written(1, NOW - HOUR, 3, "other")]
    report = ask({"recent": "24h"}, kafka=Kafka(topic))

    assert {("deleted", "s"), ("registered", "s"), ("registered", "other")} == {(r[1], r[2]) for r in rows(report)}


@pytest.mark.parametrize("kafka", [None, Kafka(Missing("no topic _schemas")), Kafka(Unreachable("Kafka: no answer"))])
def test_with_neither_first_sight_has_to_do_and_says_what_it_misses(kafka):
    """Only what came while the bot was looking: all that was there at its first look is of no known age."""
    seen = {("s", 1): NOW - 5 * HOUR, ("s", 2): NOW - 5 * HOUR, ("s", 3): NOW - HOUR, ("new", 1): NOW - HOUR}
    report = ask({"recent": "24h"}, kafka=kafka, first_seen=seen)

    assert [("2026-11-23T13:02:11Z", "registered", "s", 3, "first seen by the bot")] == rows(report)
    assert any("this registry keeps no times" in line for line in report.not_known)
    assert any("levels and modes" in line for line in report.not_known)


def test_nothing_seen_without_sources_is_unknown_never_green():
    """Silence is not "nothing changed"."""
    report = ask({"recent": "1h"})
    quiet = ask({"recent": "1h"}, Registry(recent=()), kafka=Kafka())

    assert (Status.UNKNOWN, Status.GREEN) == (report.status, quiet.status)
    assert ("No change seen in 1h", 0) == (report.title, report.exit_code)


def test_a_long_list_is_cut_and_counted():
    """The document has all."""
    many = tuple(version(number, ID, at=NOW - HOUR, subject=f"s{number}") for number in range(1, 41))
    report = ask({"recent": "24h"}, Registry(many, recent=many), kafka=Kafka())

    assert (30, 40) == (len(report.table.rows), len(report.document["changes"]))
    assert ("10 older ones are not shown; `--json` has all.",) == report.notes
