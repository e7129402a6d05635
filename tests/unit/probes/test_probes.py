"""The four probes on stand-in ports: what they find, and that what they cannot see is never green."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fastavro
import pytest

from bot.incident.refusals import Refusals, RefusedSchema
from bot.lag.track import follow
from bot.model import (
    ConsumerGroup,
    Finding,
    FlinkJob,
    GroupKind,
    GroupOffsets,
    LagThreshold,
    Objective,
    PartitionOffsets,
    Pipeline,
    Sink,
    Status,
)
from bot.ports import (
    ConnectorState,
    Denied,
    Missing,
    PortError,
    Record,
    SchemaVersion,
    SubjectState,
    TailSample,
    TaskState,
    TopicOffsets,
    Unreachable,
)
from bot.probes.connector_state import connector_of
from bot.probes.consumer_lag import Watched, finding_of, look_at
from bot.probes.dead_letters import dead_letters_of, mask
from bot.probes.schema_changes import schema_of
from bot.probes.sources import UNSEEN, Sources
from bot.probes.table import PROBES
from tests.unit.quiet_kafka import QuietKafka

NOW = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
RECORDED = Path(__file__).parents[2] / "payloads" / "recorded"
OBJECTIVE = Objective(lag_warn=LagThreshold(100, 60), lag_page=LagThreshold(1000, 60))
PIPELINE = Pipeline(
    name="customers",
    channel="#cdc",
    source_connector="source",
    topics=("customers",),
    subjects=("customers-value",),
    consumers=(ConsumerGroup("flink", GroupKind.FLINK),),
    sink=Sink("sink", dlq="dlq"),
    objective=OBJECTIVE,
)


def now() -> datetime:
    return NOW


@dataclass
class Answers(QuietKafka):
    """All three ports: an answer by what is asked; a list is answered one after another; an error is raised."""

    by_name: dict[str, object] = field(default_factory=dict)
    asked: list[tuple[str, float]] = field(default_factory=list)

    def _answer(self, name: str, deadline_s: float):
        self.asked.append((name, deadline_s))
        answer = self.by_name.get(name, Missing(f"no {name}"))
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, PortError):
            raise answer
        return answer

    def read_group(self, group: str, topics: Sequence[str], deadline_s: float) -> GroupOffsets:
        return self._answer(group, deadline_s)

    def read_topic(self, topic: str, deadline_s: float) -> TopicOffsets:
        return self._answer(topic, deadline_s)

    def sample_tail(self, topic: str, count: int, deadline_s: float) -> TailSample:
        return self._answer(topic, deadline_s)

    def read_subject(self, subject: str, newest: int, deadline_s: float) -> SubjectState:
        return self._answer(subject, deadline_s)

    def read_schema(self, schema_id: int, deadline_s: float) -> str:
        return self._answer(f"id {schema_id}", deadline_s)

    def read_connector(self, name: str, deadline_s: float) -> ConnectorState:
        return self._answer(name, deadline_s)


def sources(answers: Mapping[str, object], **more: object) -> Sources:
    ports = Answers(dict(answers))
    return Sources(kafka=ports, registry=ports, connect=ports, **more)


def offsets(*partitions: tuple[int | None, int | None, int | None], at: datetime = NOW, **fields) -> GroupOffsets:
    """`(committed, earliest, latest)` for each partition."""
    return GroupOffsets(
        "g",
        at,
        fields.pop("state", "STABLE"),
        fields.pop("members", 2),
        tuple(PartitionOffsets("t", n, *p, **fields) for n, p in enumerate(partitions)),
    )


# --- not seen ------------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", sorted(PROBES))
def test_a_probe_without_its_port_says_not_configured(probe):
    """Nothing configured is UNKNOWN with a sentence, never green and never an exception."""
    findings = PROBES[probe](Sources(), PIPELINE, now)

    assert findings
    assert {("NOT_CONFIGURED", Status.UNKNOWN)} == {(one.verdict, one.status) for one in findings}
    assert all(one.not_known and "not configured" in one.not_known[0] for one in findings)


@pytest.mark.parametrize("probe", sorted(PROBES))
@pytest.mark.parametrize(
    ("verdict", "error"),
    [
        ("MISSING", Missing("no such thing")),
        ("DENIED", Denied("needs READ on topic x")),
        ("UNREACHABLE", Unreachable("GET http://x: refused the connection")),
    ],
)
def test_a_probe_that_cannot_see_says_what_and_why(probe, verdict, error):
    """The error's text is the evidence; the document keeps its shape with nulls."""
    names = ("flink", "connect-sink", "customers", "dlq", "customers-value", "source", "sink")
    findings = PROBES[probe](sources(dict.fromkeys(names, error)), PIPELINE, now)

    for finding in findings:
        assert (verdict, Status.UNKNOWN) == (finding.verdict, finding.status)
        assert verdict in UNSEEN
        assert f"could not see {finding.target}: {error}" == finding.not_known[0]
        assert [f"could not see {finding.target}: {error}"] == finding.facts["not_known"]
    json.dumps([dict(finding.facts) for finding in findings])


def test_the_table_has_one_finding_per_part_of_the_pipeline():
    """Groups include the sink connector's own."""
    targets = {name: [one.target for one in run(Sources(), PIPELINE, now)] for name, run in PROBES.items()}

    assert {
        "schema_changes": ["customers-value"],
        "connector_state": ["source", "sink"],
        "dead_letters": ["dlq"],
        "consumer_lag": ["flink", "connect-sink"],
    } == targets


def test_the_deadline_is_shared_by_the_targets():
    """Two groups on a broker that is down do not take twice the time."""
    ports = Answers()
    PROBES["consumer_lag"](Sources(kafka=ports, deadline_s=4.0), PIPELINE, now)

    assert sum(deadline_s for _, deadline_s in ports.asked) <= 4.0


# --- lag -----------------------------------------------------------------------------------------


def lag_of(asked: Sources, consumer: ConsumerGroup = ConsumerGroup("g"), dlq: str | None = None) -> Finding:
    return finding_of(look_at(asked, Watched(consumer, objective=OBJECTIVE, dlq=dlq)), NOW)


def after(*reads: GroupOffsets) -> dict[str, object]:
    """What a memory of earlier reads gives to `Sources`."""
    track = None
    for read in reads:
        track = follow(track, read)
    return {"track_of": lambda _: track}


@pytest.mark.parametrize(
    ("verdict", "status", "lag", "partitions"),
    [
        ("OK", Status.GREEN, 0, [(10, 0, 10)]),
        ("UNKNOWN", Status.UNKNOWN, 1, [(9, 0, 10)]),
        ("UNKNOWN", Status.UNKNOWN, 100, [(0, 0, 100)]),  # at the threshold is not over it
        ("UNKNOWN", Status.YELLOW, 101, [(0, 0, 101)]),
        ("UNKNOWN", Status.YELLOW, 1000, [(0, 0, 1000)]),
        ("UNKNOWN", Status.RED, 1001, [(0, 0, 1001)]),
        ("UNKNOWN", Status.RED, None, [(0, 0, 1001), (5, 0, None)]),  # at least 1,001
        ("UNKNOWN", Status.UNKNOWN, None, [(10, 0, 10), (5, 0, None)]),
        ("NEVER_COMMITTED", Status.UNKNOWN, 0, [(10, 0, 10), (None, 0, 5)]),
        ("DATA_LOST", Status.RED, 5, [(5, 6, 10)]),
        ("UNKNOWN", Status.UNKNOWN, None, []),
    ],
)
def test_lag_status_is_red_over_page_yellow_over_warn_green_only_for_ok(verdict, status, lag, partitions):
    """Strictly over, as the alert rule counts."""
    finding = lag_of(sources({"g": offsets(*partitions)}))

    assert (verdict, status, lag) == (finding.verdict, finding.status, finding.facts["lag_records"])


def test_lag_document_has_the_contracts_shape():
    """`cdc lag --json`, key by key; a partition never committed has nulls and is not summed."""
    finding = lag_of(sources({"g": offsets((4, 0, 10), (None, 0, 3))}))

    assert {
        "group": "g",
        "state": "STABLE",
        "members": 2,
        "lag_records": 6,
        "time_lag_s": None,
        "verdict": "NEVER_COMMITTED",
        "evidence": "t/1: no offset was ever committed; the log holds 3 records",
        "eta_s": None,
        "topics": [
            {
                "topic": "t",
                "lag_records": 6,
                "partitions": [
                    {
                        "partition": 0,
                        "committed_offset": 4,
                        "earliest_offset": 0,
                        "log_end_offset": 10,
                        "lag_records": 6,
                        "verdict": "UNKNOWN",
                        "evidence": "6 unread, one sample: ask again in 30 s, or `cdc watch`",
                    },
                    {
                        "partition": 1,
                        "committed_offset": None,
                        "earliest_offset": 0,
                        "log_end_offset": 3,
                        "lag_records": None,
                        "verdict": "NEVER_COMMITTED",
                        "evidence": "no offset was ever committed; the log holds 3 records",
                    },
                ],
            }
        ],
        "not_known": [],
        "committed_total": 4,
        "end_total": 13,
        "time_lag_min_s": None,
        "time_lag_max_s": None,
        "eta_min_s": None,
        "eta_max_s": None,
        "consumed_per_s": None,
        "produced_per_s": None,
        "commit_interval_s": None,
        "trough_records": 6,
        "margin_s": None,
        "margin_max_s": None,
        "advice": [],
        "membership": [],
    } == finding.facts


def test_a_second_read_is_made_only_when_there_is_a_way_to_wait_and_something_unread():
    """The one-shot verb does not wait; the incident's probe does."""
    waits: list[float] = []
    later = NOW + timedelta(seconds=2)
    two = [offsets((4, 0, 10)), offsets((10, 0, 12), at=later)]

    finding = lag_of(sources({"g": two}, wait=waits.append))
    lag_of(sources({"g": [offsets((10, 0, 10))]}, wait=waits.append))

    assert ("OK", Status.GREEN, 1) == (finding.verdict, finding.status, len(waits))
    assert later == finding.at


def test_what_is_remembered_of_a_group_serves_as_the_earlier_read():
    """One read and what the sampler kept are enough to judge movement; the new read is told to it."""
    noted: list[GroupOffsets] = []
    earlier = offsets((0, 0, 500), at=NOW), offsets((200, 0, 550), at=NOW + timedelta(seconds=50))
    latest = offsets((400, 0, 600), at=NOW + timedelta(seconds=100))

    finding = lag_of(sources({"g": latest}, **after(*earlier), note=noted.append))

    assert ("CATCHING_UP", 67) == (finding.verdict, finding.facts["eta_s"])
    assert [latest] == noted


SINK = ConsumerGroup("g", GroupKind.CONNECT_SINK)
CONSUMER = ConsumerGroup("g")
EMPTY = {"state": "EMPTY", "members": 0}


@pytest.mark.parametrize(
    ("verdict", "headline", "consumer", "before", "latest", "after_s"),
    [
        # a stopped sink: the group is empty, the commits are frozen, the lag grows
        (
            "UNKNOWN",
            "lag 12,431, one read so far, no members: is the sink running?",
            SINK,
            None,
            offsets((100, 0, 12_531), **EMPTY),
            0,
        ),
        (
            "UNKNOWN",
            "lag 12,431, nothing committed for 2 s, no members: is the sink running?",
            SINK,
            offsets((100, 0, 12_400), **EMPTY),
            offsets((100, 0, 12_531), **EMPTY),
            1.6,
        ),
        (
            "STOPPED",
            "lag 12,431, nothing committed for 40 s, no members: is the sink running?",
            SINK,
            offsets((100, 0, 9_000), (50, 0, 50), **EMPTY),
            offsets((100, 0, 12_531), (50, 0, 50), **EMPTY),
            40.3,
        ),
        (
            "UNKNOWN",
            "lag 12,431, nothing committed for 40 s, no members: is the sink running?",
            SINK,
            offsets((100, 0, 9_000)),
            offsets((100, 0, 12_531), **EMPTY),
            38,
        ),
        (
            "UNKNOWN",
            "lag 31, all written in the last 40 s, no members: is the sink running?",
            SINK,
            offsets((100, 0, 100), **EMPTY),
            offsets((100, 0, 131), **EMPTY),
            40,
        ),
        # draining: a rate needs two commit intervals, the numbers do not
        (
            "UNKNOWN",
            "lag 8,200, 4,500 committed and 300 written in 40 s",
            SINK,
            offsets((0, 0, 12_400)),
            offsets((4_500, 0, 12_700)),
            40,
        ),
        (
            "CATCHING_UP",
            "lag 8,200, level in 4 min",
            SINK,
            (offsets((0, 0, 12_400)), offsets((2_250, 0, 12_550), at=NOW + timedelta(seconds=60))),
            offsets((4_500, 0, 12_700)),
            120,
        ),
        ("OK", "lag 25, commits keep up", SINK, offsets((0, 0, 100)), offsets((100, 0, 125)), 2),
        ("OK", "lag 0", SINK, offsets((0, 0, 100)), offsets((100, 0, 100)), 2),
        # losing
        (
            "FALLING_BEHIND",
            "lag 510, 100 committed and 110 written in 10 s",
            CONSUMER,
            (offsets((0, 0, 500)), offsets((50, 0, 555), at=NOW + timedelta(seconds=5))),
            offsets((100, 0, 610)),
            10,
        ),
        # no members says little of a consumer that may use assign(), and nothing of a Flink job: commits alone tell
        (
            "STOPPED",
            "lag 90, nothing committed for 15 min, no members: is it running?",
            CONSUMER,
            offsets((0, 0, 50), **EMPTY),
            offsets((0, 0, 90), **EMPTY),
            900,
        ),
        (
            "STOPPED",
            "lag 90, nothing committed for 2 h",
            ConsumerGroup("g", GroupKind.FLINK),
            offsets((0, 0, 50), **EMPTY),
            offsets((0, 0, 90), **EMPTY),
            7_300,
        ),
        (
            "REWOUND",
            "lag 11, t/0: the commit went back 1 record in 10 s: 10 -> 9",
            CONSUMER,
            offsets((10, 0, 20)),
            offsets((9, 0, 20)),
            10,
        ),
        # one read
        ("UNKNOWN", "lag 6, one read so far", CONSUMER, None, offsets((4, 0, 10)), 0),
        ("UNKNOWN", "lag at least 6, one read so far", CONSUMER, None, offsets((4, 0, 10), (5, 0, None)), 0),
        (
            "UNKNOWN",
            "lag not known, t/0: log offsets not known: not answered",
            CONSUMER,
            None,
            offsets((5, 0, None)),
            0,
        ),
        ("UNKNOWN", "lag not known, no partitions are known", CONSUMER, None, offsets(), 0),
        (
            "NEVER_COMMITTED",
            "lag 0, t/1: no offset was ever committed; the log holds 5 records",
            CONSUMER,
            None,
            offsets((10, 0, 10), (None, 0, 5)),
            0,
        ),
        (
            "DATA_LOST",
            "t/0: up to 1 record deleted before they were read: offsets 5..5; lag 5",
            CONSUMER,
            None,
            offsets((5, 6, 10)),
            0,
        ),
    ],
)
def test_the_headline_says_at_3_am_what_is_the_matter(verdict, headline, consumer, before, latest, after_s):
    """The lag, what moved and for how long, who reads; the verdict's word is printed beside it, never in it."""
    memory = {} if before is None else after(*(before if isinstance(before, tuple) else (before,)))
    latest = replace(latest, at=NOW + timedelta(seconds=after_s))

    finding = lag_of(sources({"g": latest}, **memory), consumer)

    assert (verdict, headline) == (finding.verdict, finding.headline)


def test_what_the_broker_cannot_tell_is_one_line_of_the_finding():
    """Both reads say it; the finding says it once."""
    line = "state of group g: this broker cannot list or describe groups"
    reads = [
        replace(
            offsets((4, 0, latest), at=NOW + timedelta(seconds=after_s), state=None, members=None), not_known=(line,)
        )
        for latest, after_s in ((10, 0), (12, 2))
    ]

    finding = lag_of(sources({"g": reads}, wait=lambda _: None))

    assert (line,) == finding.not_known
    assert "lag 8, nothing committed for 2 s" == finding.headline


def test_no_members_of_a_flink_group_is_explained_not_judged():
    """Flink assigns its partitions itself."""
    answers = {"flink": offsets((4, 0, 10), state="EMPTY", members=0)}
    finding = lag_of(sources(answers), ConsumerGroup("flink", GroupKind.FLINK))

    assert "UNKNOWN" == finding.verdict
    assert "group EMPTY, 0 members: says nothing, a Flink job never is a member" in finding.evidence


def test_what_flink_did_not_tell_of_a_job_is_a_line_of_the_finding():
    """A proxy that hides its checkpoints: the state stands, and what is lacking is said."""

    class HalfTold:
        def read_job(self, name: str, deadline_s: float) -> FlinkJob:
            return FlinkJob(name, "id", "RUNNING", not_known=(f"checkpoints of Flink job {name}: answered 403",))

    answers = {"flink": offsets((4, 0, 10), state="EMPTY", members=0)}
    finding = lag_of(sources(answers, flink=HalfTold()), ConsumerGroup("flink", GroupKind.FLINK, "canonical"))

    assert "checkpoints of Flink job canonical: answered 403" in finding.not_known


def dead(topic: str, partition: int, offset: int, **more) -> Record:
    headers = tuple(
        (f"__connect.errors.{name}", str(value).encode())
        for name, value in {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "stage": "VALUE_CONVERTER",
            "exception.class.name": "a.b.DataException",
            "exception.message": f"bad record {offset}",
        }.items()
    )
    fields = {"at": NOW, "key": b"k", "value": b'{"email": "ana@example.com"}', "headers": headers, **more}
    return Record("dlq", 0, offset, **fields)


def tail(*records: Record, end: int | None = None) -> TailSample:
    end = len(records) if end is None else end
    return TailSample("dlq", records, TopicOffsets("dlq", {0: (0, end)}))


@pytest.mark.parametrize(
    ("verdict", "status", "dlq"),
    [
        ("RESIDUAL", Status.YELLOW, tail(dead("t", 0, 9), dead("t", 0, 8))),
        ("UNKNOWN", Status.UNKNOWN, tail(dead("t", 0, 9))),  # offset 8 is nowhere
        ("UNKNOWN", Status.UNKNOWN, tail(dead("t", 1, 9), dead("t", 1, 8))),  # another partition
        ("UNKNOWN", Status.UNKNOWN, Unreachable("down")),
    ],
)
def test_a_sinks_unread_tail_that_is_in_its_dlq_is_residual(verdict, status, dlq):
    """A sink commits no offset for a dead-lettered tail: lag that never drains, and no stuck consumer."""
    sink = ConsumerGroup("g", GroupKind.CONNECT_SINK)
    finding = lag_of(sources({"g": offsets((8, 0, 10)), "dlq": dlq}), sink, dlq="dlq")

    assert (verdict, status) == (finding.verdict, finding.status)


# --- dead letters --------------------------------------------------------------------------------


def test_an_empty_dlq_is_green_and_a_filled_one_yellow():
    """Green is for a queue that was seen empty."""
    assert Status.GREEN == dead_letters_of(sources({"dlq": tail()}), "dlq", now).status
    assert Status.YELLOW == dead_letters_of(sources({"dlq": tail(dead("t", 0, 1))}), "dlq", now).status


def test_dead_letters_are_grouped_by_cause_largest_first_and_masked():
    """Numbers in a message do not make a new group; no value is in the document."""
    other = dead("u", 0, 5)
    finding = dead_letters_of(sources({"dlq": tail(other, dead("t", 0, 6), dead("t", 0, 7))}), "dlq", now)

    assert [("t", 2), ("u", 1)] == [(group["topic"], group["count"]) for group in finding.facts["groups"]]
    assert {
        "stage": "VALUE_CONVERTER",
        "exception": "a.b.DataException",
        "message": "bad record N",
        "topic": "t",
        "schema_id": None,
        "count": 2,
        "first_at": "2026-11-23T14:02:11Z",
        "last_at": "2026-11-23T14:02:11Z",
        "example": {
            "partition": 0,
            "offset": 7,
            "original_partition": 0,
            "original_offset": 7,
            "attempts": 1,
            "key": "sha256:8254c329a928",
            "value": {"email": "string"},
        },
    } == finding.facts["groups"][0]
    assert "ana@example.com" not in json.dumps(finding.facts)
    assert "3 dead letters; most: VALUE_CONVERTER: DataException: bad record N" == finding.headline


def test_recorded_dead_letters_of_the_real_sink():
    """Three records of an importer that wrote JSON to an Avro topic; own headers before the error headers."""
    records = [
        Record(
            "dlq",
            one["partition"],
            one["offset"],
            datetime.fromtimestamp(one["timestamp_ms"] / 1000, UTC),
            bytes.fromhex(one["key_hex"]),
            bytes.fromhex(one["value_hex"]) if one["value_hex"] else None,
            tuple((name, value.encode()) for name, value in one["headers"]),
        )
        for one in json.loads((RECORDED / "dlq-records.json").read_text())
    ]
    finding = dead_letters_of(sources({"dlq": tail(*records)}), "dlq", now)
    (group,) = finding.facts["groups"]

    assert (len(records), "web_shop.public.customers") == (group["count"], group["topic"])
    assert ("VALUE_CONVERTER", "java.lang.IllegalStateException") == (group["stage"], group["exception"])
    assert "artifact reference cannot be null" == group["message"]
    assert {"id": "long", "name": "string"} == group["example"]["value"]
    assert "not Avro at all" not in json.dumps(finding.facts)


def test_records_without_error_headers_say_which_setting_is_lacking():
    """Context headers are off by default."""
    finding = dead_letters_of(sources({"dlq": tail(dead("t", 0, 1, headers=()), end=40)}), "dlq", now)

    assert any("errors.deadletterqueue.context.headers.enable=true" in line for line in finding.not_known)
    assert any("newest 1 of 40 records" in line for line in finding.not_known)
    assert "40 dead letters; most: no error headers" == finding.headline


def test_the_pipelines_probe_tells_how_far_the_sink_came():
    """No new dead letter proves something only while records are processed."""
    answers = {"dlq": tail(dead("t", 0, 1)), "connect-sink": offsets((7, 0, 9), (5, 0, 5))}
    (finding,) = PROBES["dead_letters"](sources(answers), PIPELINE, now)

    assert (1, 12) == (finding.facts["end_total"], finding.facts["processed_total"])


SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "c",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "email", "type": ["null", "string"]},
            {"name": "tags", "type": {"type": "map", "values": "string"}},
        ],
    }
)


def avro(value: object) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(SCHEMA)), value)
    return b"\0\0\0\0\7" + out.getvalue()


GOOD = avro({"id": 1, "email": "ana@example.com", "tags": {"ana lopez": "x", "vip": "y"}})


@pytest.mark.parametrize(
    ("expected", "value", "schemas"),
    [
        ("tombstone", None, {}),
        ({"id": "long", "email": "string", "tags": {"vip": "string", "...": "1 more"}}, GOOD, {7: SCHEMA}),
        (f"undecodable, {len(GOOD)} bytes", GOOD, {}),
        (f"undecodable, {len(GOOD) - 3} bytes", GOOD[:-3], {7: SCHEMA}),
        (f"undecodable, {len(GOOD) + 1} bytes", GOOD + b"x", {7: SCHEMA}),
        (f"undecodable, {len(GOOD)} bytes", GOOD, {7: "not a schema"}),
        (f"undecodable, {len(GOOD)} bytes", GOOD, {7: '{"type": "nonsense"}'}),
        ("undecodable, 5 bytes", b"hello", {}),
        ("undecodable, 2 bytes", b"\xff\xfe", {}),
        ("undecodable, 100,000 bytes", b"[" * 100_000, {}),
        ("string", b'"ana"', {}),
        ([{"a": "long"}], b'[{"a": 1}, {"b": "ana"}]', {}),
        ({"...": "1 more"}, b'{"ana@example.com": 1}', {}),
        ({"a": {"b": {"c": {"d": "record"}}}}, b'{"a":{"b":{"c":{"d":{"e":"x"}}}}}', {}),
    ],
)
def test_values_are_shown_as_names_and_types(expected, value, schemas):
    """A name that does not look like a field's may be data: a map's key."""
    assert expected == mask(value, schemas)


def test_any_bytes_can_be_masked():
    """Dead letters are broken by definition; decoding them must not raise and must not show them."""
    seeded = random.Random(4)
    for _ in range(3_000):
        shown = mask(b"\0\0\0\0\7" + seeded.randbytes(seeded.randrange(40)), {7: SCHEMA})
        assert isinstance(shown, dict) or shown.startswith("undecodable")


def test_avro_values_are_decoded_with_the_registrys_schema():
    """The schema id is in the first five bytes."""
    record = dead("t", 0, 1, value=GOOD)
    finding = dead_letters_of(sources({"dlq": tail(record), "id 7": SCHEMA}), "dlq", now)
    unread = dead_letters_of(sources({"dlq": tail(record)}), "dlq", now)

    assert (7, "long") == (
        finding.facts["groups"][0]["schema_id"],
        finding.facts["groups"][0]["example"]["value"]["id"],
    )
    assert f"undecodable, {len(GOOD)} bytes" == unread.facts["groups"][0]["example"]["value"]
    assert "schema 7: no id 7" in unread.not_known


# --- schema --------------------------------------------------------------------------------------


def version(number: int, *fields: dict, at: datetime | None = None, kind: str = "AVRO") -> SchemaVersion:
    text = json.dumps({"type": "record", "name": "r", "fields": list(fields)})
    return SchemaVersion("s", number, number + 10, kind, text, at)


V1 = version(1, {"name": "id", "type": "long"})
V2 = version(2, {"name": "id", "type": "long"}, {"name": "tier", "type": "string"})
V2_WITH_DEFAULT = version(2, {"name": "id", "type": "long"}, {"name": "tier", "type": "string", "default": ""})
HOUR, DAY = timedelta(hours=1), timedelta(hours=24)


@pytest.mark.parametrize(
    ("verdict", "status", "newest", "age", "level"),
    [
        ("CHANGED", Status.YELLOW, V2_WITH_DEFAULT, HOUR, "BACKWARD"),
        ("CHANGED", Status.YELLOW, V2_WITH_DEFAULT, DAY, "BACKWARD"),
        ("UNCHANGED", Status.GREEN, V2_WITH_DEFAULT, DAY + timedelta(seconds=1), "BACKWARD"),
        ("UNCHANGED", Status.YELLOW, V2_WITH_DEFAULT, 2 * DAY, "NONE"),
        ("BREAKING", Status.RED, V2, HOUR, "BACKWARD"),
        ("CHANGED", Status.YELLOW, V2, HOUR, "FORWARD"),
        ("CHANGED", Status.YELLOW, V2, HOUR, "NONE"),
        ("UNCHANGED", Status.GREEN, V2, 2 * DAY, "BACKWARD"),
        ("UNKNOWN", Status.UNKNOWN, V2, None, "BACKWARD"),
    ],
)
def test_a_recent_version_is_yellow_one_that_its_level_would_refuse_red(verdict, status, newest, age, level):
    """Green needs a time: a registry without times leaves it unknown."""
    newest = replace(newest, registered_at=NOW - age if age else None)
    state = SubjectState("s", level, "READWRITE", (V1, newest), (1, 2))

    finding = schema_of(sources({"s": state}), "s", now)

    assert (verdict, status) == (finding.verdict, finding.status)


@pytest.mark.parametrize(
    ("verdict", "status", "level", "said"),
    [
        ("UNCHANGED", Status.GREEN, "BACKWARD", "only version 1, registered at a time not known"),
        (
            "UNCHANGED",
            Status.YELLOW,
            "NONE",
            "only version 1, registered at a time not known; compatibility NONE, the registry refuses nothing",
        ),
    ],
)
def test_an_only_version_changed_nothing_whenever_it_came(verdict, status, level, said):
    """No time is needed for that, and a yellow subject says why it is yellow."""
    found = schema_of(sources({"s": SubjectState("s", level, "READWRITE", (V1,), (1,))}), "s", now)
    assert (verdict, status, said) == (found.verdict, found.status, found.headline)


def test_schema_document_has_the_contracts_shape():
    """First sight stands beside the registry's time, never in its place."""
    state = SubjectState("s", "BACKWARD", None, (V1, V2), (1, 2), ("mode of s: 404",))
    finding = schema_of(sources({"s": state}, first_seen={("s", 2): NOW - HOUR}), "s", now)

    assert {
        "subject": "s",
        "compatibility": "BACKWARD",
        "mode": None,
        "versions": [
            {
                "version": 1,
                "id": 11,
                "registered_at": None,
                "registered_by": None,
                "first_seen_at": None,
                "changes": [],
                "conflicts_with": [],
            },
            {
                "version": 2,
                "id": 12,
                "registered_at": None,
                "registered_by": None,
                "first_seen_at": "2026-11-23T13:02:11Z",
                "changes": [
                    {
                        "path": "tier",
                        "change": "added: string, no default",
                        "verdict": "incompatible",
                        "backward": False,
                        "forward": True,
                        "rules": ["C001"],
                        "meaning": None,
                    },
                ],
                "conflicts_with": [1],
            },
        ],
        "deleted": [],
        "failing_since": None,
        "recent": [
            {
                "at": "2026-11-23T13:02:11Z",
                "by": "first seen by the bot",
                "kind": "registered",
                "subject": "s",
                "version": 2,
                "from": None,
                "to": None,
                "before_failure_s": None,
            }
        ],
        "not_known": ["mode of s: 404"],
    } == finding.facts
    assert "BREAKING" == finding.verdict
    assert (
        "newest version 2, first seen by the bot 2026-11-23T13:02:11Z: tier added: string, no default"
        == finding.headline
    )


def registration(number: int, at: datetime | None, key: object = None, offset: int = 0, **value: object) -> Record:
    """A record of the registry's topic, worded as Confluent's."""
    key = key or {"keytype": "SCHEMA", "subject": "s", "version": number, "magic": 1}
    written = {"subject": "s", "version": number, "id": number + 10, "schema": "{}", "deleted": False, **value}
    return Record("_schemas", 0, offset, at, json.dumps(key).encode(), json.dumps(written).encode())


def schemas_tail(*records: Record) -> TailSample:
    return TailSample("_schemas", records, TopicOffsets("_schemas", {0: (0, len(records))}))


WITHOUT_TIMES = SubjectState("s", "BACKWARD", "READWRITE", (V1, V2), (1, 2))


def test_a_registry_without_times_is_dated_by_its_topic_and_says_so():
    """Red needs a time; the source of the time is evidence."""
    answers = {
        "s": WITHOUT_TIMES,
        "_schemas": schemas_tail(registration(1, NOW - 3 * DAY), registration(2, NOW - HOUR)),
    }
    finding = schema_of(sources(answers, first_seen={("s", 2): NOW}), "s", now)

    assert ("BREAKING", ()) == (finding.verdict, finding.not_known)
    assert finding.headline.startswith("newest version 2, registered 2026-11-23T13:02:11Z: tier added")
    assert "version 2: registered 2026-11-23T13:02:11Z, by the _schemas topic" == finding.evidence[0]
    assert [("2026-11-20T14:02:11Z", "the _schemas topic"), ("2026-11-23T13:02:11Z", "the _schemas topic")] == [
        (one["registered_at"], one["registered_by"]) for one in finding.facts["versions"]
    ]


def test_the_registrys_own_time_is_believed_and_the_topic_not_read():
    """One call less, and no doubt about which registry wrote the topic."""
    state = replace(WITHOUT_TIMES, versions=(V1, replace(V2, registered_at=NOW - HOUR)))
    asked = sources({"s": state})
    finding = schema_of(asked, "s", now)

    assert finding.headline.startswith("newest version 2, registered 2026-11-23T13:02:11Z")
    assert "the registry" == finding.facts["versions"][1]["registered_by"]
    assert not any("registered" in line for line in finding.evidence)  # the headline says it
    assert ["s"] == [name for name, _ in asked.kafka.asked]


def test_a_version_known_for_longer_than_a_day_needs_no_topic():
    """It is older than recent already; a bot that looks every minute must not read a topic for it."""
    asked = sources({"s": WITHOUT_TIMES}, first_seen={("s", 2): NOW - DAY - HOUR})

    assert "UNCHANGED" == schema_of(asked, "s", now).verdict
    assert ["s"] == [name for name, _ in asked.kafka.asked]


@pytest.mark.parametrize("error", [Missing("no topic _schemas"), Denied("needs the ACL READ on topic _schemas")])
def test_without_the_topic_first_sight_has_to_do_silently(error):
    """Apicurio keeps its schemas elsewhere and clouds hide the topic: nothing that anybody has to repair."""
    finding = schema_of(sources({"s": WITHOUT_TIMES, "_schemas": error}, first_seen={("s", 2): NOW - HOUR}), "s", now)

    assert finding.headline.startswith("newest version 2, first seen by the bot 2026-11-23T13:02:11Z")
    assert () == finding.not_known


def test_a_kafka_that_does_not_answer_is_told():
    """The time may be there, and was not seen."""
    answers = {"s": WITHOUT_TIMES, "_schemas": Unreachable("Kafka at k:9092: no answer")}
    finding = schema_of(sources(answers), "s", now)

    assert "when versions were registered, by the _schemas topic: Kafka at k:9092: no answer" == finding.not_known[0]
    assert "UNKNOWN" == finding.verdict


def test_the_topic_is_read_once_for_all_subjects_within_the_deadline():
    """A pipeline has a subject for keys and one for values."""
    two = replace(PIPELINE, subjects=("s", "t"))
    answers = {"s": WITHOUT_TIMES, "t": WITHOUT_TIMES, "_schemas": schemas_tail()}
    asked = sources(answers, deadline_s=5.0)

    PROBES["schema_changes"](asked, two, now)

    assert ["s", "t", "_schemas"] == [name for name, _ in asked.kafka.asked]
    assert sum(deadline_s for _, deadline_s in asked.kafka.asked) == pytest.approx(5.0)


MINUTE = timedelta(minutes=1)
FAILED = NOW - 10 * MINUTE


def setting(kind: str, subject: str | None, value: dict | None, at: datetime, offset: int) -> Record:
    """A record of a level or a mode."""
    key = {"keytype": kind, "subject": subject, "magic": 0}
    raw = None if value is None else json.dumps(value).encode()
    return Record("_schemas", 0, offset, at, json.dumps(key).encode(), raw)


def in_incident(*records: Record, newest_at: datetime, level: str = "BACKWARD", newest: SchemaVersion = V2) -> Finding:
    state = SubjectState("s", level, None, (V1, replace(newest, registered_at=newest_at)), (1, 2))
    return schema_of(sources({"s": state, "_schemas": schemas_tail(*records)}, failing_since=FAILED), "s", now)


def test_a_version_is_told_by_how_long_before_the_first_failure():
    """The distance is what tells a cause from a coincidence."""
    finding = in_incident(newest_at=FAILED - 3 * MINUTE)

    assert (
        "newest version 2, registered 2026-11-23T13:49:11Z, 3 min before the first failure: "
        "tier added: string, no default" == finding.headline
    )
    assert [("registered", 180.0)] == [(one["kind"], one["before_failure_s"]) for one in finding.facts["recent"]]


def test_a_level_changed_nearer_to_the_failure_stands_in_the_headline():
    """NONE let the version in: who reads only the headline must see it."""
    finding = in_incident(
        setting("CONFIG", "s", {"compatibilityLevel": "BACKWARD"}, NOW - 30 * DAY, 1),
        setting("CONFIG", "s", {"compatibilityLevel": "NONE"}, FAILED - 12 * MINUTE, 2),
        newest_at=FAILED - 2 * HOUR,
        level="NONE",
    )

    assert "; compatibility BACKWARD -> NONE 12 min before the first failure; compatibility NONE" in finding.headline
    assert ["compatibility", "registered"] == [one["kind"] for one in finding.facts["recent"]]


def test_what_changed_after_the_failure_is_ranked_last():
    """It cannot be the cause: somebody deleted the version to help."""
    finding = in_incident(
        registration(2, FAILED + MINUTE, deleted=True, offset=1),
        setting("MODE", None, {"mode": "READONLY"}, FAILED - 5 * HOUR, 2),
        newest_at=FAILED - 6 * HOUR,
    )

    assert [("mode", 18000.0), ("registered", 21600.0), ("deleted", -60.0)] == [
        (one["kind"], one["before_failure_s"]) for one in finding.facts["recent"]
    ]
    assert "global mode set to READONLY 5 h before the first failure" in finding.headline
    assert any("version 2 deleted, 60 s after the first failure" in line for line in finding.evidence)


def test_a_changed_level_alone_is_yellow():
    """The version is old, and the door was opened an hour ago."""
    finding = in_incident(
        setting("CONFIG", "s", {"compatibilityLevel": "FORWARD"}, NOW - HOUR, 1), newest_at=NOW - 30 * DAY
    )

    assert ("CHANGED", Status.YELLOW) == (finding.verdict, finding.status)


def test_the_subject_that_changed_nearest_before_the_failure_comes_first():
    """A pipeline of many subjects: the ranking is over all of them."""
    two = replace(PIPELINE, subjects=("s", "t"))
    old = SubjectState("s", "BACKWARD", None, (V1, replace(V2, registered_at=FAILED - HOUR)), (1, 2))
    near = replace(V2, subject="t", registered_at=FAILED - MINUTE)
    answers = {"s": old, "t": SubjectState("t", "BACKWARD", None, (replace(V1, subject="t"), near), (1, 2))}
    answers["_schemas"] = schemas_tail()

    found = PROBES["schema_changes"](sources(answers, failing_since=FAILED), two, now)

    assert ["t", "s"] == [finding.target for finding in found]


def test_a_new_scale_is_red_although_the_registry_took_it():
    """What was 12.34 is read as 0.1234, and nothing fails."""
    amount = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}
    old = version(1, {"name": "amount", "type": amount})
    new = version(2, {"name": "amount", "type": {**amount, "scale": 4}}, at=NOW - HOUR)

    finding = schema_of(sources({"s": SubjectState("s", "FULL", None, (old, new), (1, 2))}), "s", now)

    assert ("BREAKING", Status.RED) == (finding.verdict, finding.status)
    assert any("it does not see logical types" in line for line in finding.evidence)
    assert "compatible" == finding.facts["versions"][1]["changes"][0]["verdict"]


def test_a_soft_deleted_version_is_told():
    """What is gone is why a consumer finds no schema."""
    state = SubjectState("s", "BACKWARD", None, (V1,), (1,), deleted=(2, 3))
    finding = schema_of(sources({"s": state}), "s", now)

    assert [2, 3] == finding.facts["deleted"]
    assert "soft-deleted: version 2, 3" in finding.evidence


def test_a_schema_that_is_not_compared_says_so():
    """An empty list of changes must not read as "nothing changed"."""
    state = SubjectState("s", "BACKWARD", None, (V1, version(2, at=NOW, kind="PROTOBUF")), (1, 2))

    assert any(
        "PROTOBUF schemas are not compared" in line for line in schema_of(sources({"s": state}), "s", now).not_known
    )


def test_a_subject_without_versions_is_unknown():
    """All of them were deleted."""
    state = SubjectState("s", "BACKWARD", None, ())

    assert Status.UNKNOWN == schema_of(sources({"s": state}), "s", now).status


# --- connector -----------------------------------------------------------------------------------


def connector(*tasks: str, state: str = "RUNNING", kind: str = "source", trace: str | None = None) -> ConnectorState:
    return ConnectorState(
        "source",
        kind,
        state,
        "w:8083",
        None,
        tuple(TaskState(n, word, "w:8083", trace if word == "FAILED" else None) for n, word in enumerate(tasks)),
        {"database.password": "hunter2"},
    )


@pytest.mark.parametrize(
    ("verdict", "status", "state"),
    [
        ("RUNNING", Status.GREEN, connector("RUNNING", "RUNNING")),
        ("FAILED", Status.RED, connector("RUNNING", "FAILED")),
        ("FAILED", Status.RED, connector(state="FAILED")),
        ("FAILED", Status.RED, connector("FAILED", state="PAUSED")),
        ("NO_TASKS", Status.YELLOW, connector()),
        ("STOPPED", Status.YELLOW, connector(state="STOPPED")),
        ("PAUSED", Status.YELLOW, connector("PAUSED", state="PAUSED")),
        ("PAUSED", Status.YELLOW, connector("RUNNING", "PAUSED")),
        ("RESTARTING", Status.YELLOW, connector("RESTARTING", "RUNNING")),
        ("UNASSIGNED", Status.YELLOW, connector("UNASSIGNED", "RESTARTING")),
        ("HIBERNATING", Status.YELLOW, connector("HIBERNATING")),
    ],
)
def test_the_worst_state_of_connector_and_tasks(verdict, status, state):
    """A RUNNING connector with a FAILED task is FAILED; a word of a newer Connect is not healthy."""
    finding = connector_of(sources({"source": state}), "source", now)

    assert (verdict, status) == (finding.verdict, finding.status)
    assert not finding.headline.startswith(f"{verdict}:")  # surfaces print the verdict beside the headline
    assert "hunter2" not in json.dumps(finding.facts)


def recorded_failure(name: str) -> ConnectorState:
    body = json.loads((RECORDED / f"connect-connectors-failed-{name}.json").read_text())["body"]
    trace = next(t["trace"] for one in body.values() for t in one["status"]["tasks"] if "trace" in t)
    return connector("FAILED", trace=trace)


REGISTERED = json.loads((RECORDED / "registry-version-latest.json").read_text())["body"]["schema"]
CUSTOMERS = SubjectState(
    "shop.public.customers-value",
    "BACKWARD",
    None,
    (SchemaVersion("shop.public.customers-value", 1, 2, "AVRO", REGISTERED),),
    (1,),
)


def test_a_refused_schema_names_subject_field_and_conflicting_version():
    """The recorded trace of a Debezium task on a real registry."""
    answers = {
        "source": recorded_failure("column-without-default"),
        "shop.public.customers-value": CUSTOMERS,
        "t": TopicOffsets("t", {0: (0, 40), 1: (5, 8)}),
    }
    finding = connector_of(sources(answers), "source", now, ["t"])

    assert (
        "task 0 FAILED: the registry refused a new schema of shop.public.customers-value: field tier at /fields/4; "
        "conflicts with version 1"
    ) == finding.headline
    assert ([0], 48) == (finding.facts["failed_tasks"], finding.facts["delivered_total"])
    assert {
        "subject": "shop.public.customers-value",
        "field": "tier",
        "path": "/fields/4",
        "registered_version": 1,
        "more": 0,
        "field_is_looked_up": False,
    }.items() <= finding.facts["refusal"].items()
    (task,) = finding.facts["tasks"]
    assert {"task", "state", "worker", "cause", "trace"} == set(task)
    assert finding.headline == f"task 0 FAILED: {task['cause']}"
    assert "task 0 on w:8083" == finding.evidence[0]
    assert finding.evidence[1].startswith(
        "the registry's words: Incompatible artifact: shop.public.customers-value [AVRO]"
    )
    assert ("48 records in its topics (offsets)",) == finding.evidence[2:]


CONFLUENT_TRACE = """org.apache.kafka.connect.errors.ConnectException: Tolerance exceeded in error handler
\tat org.apache.kafka.connect.runtime.errors.X.y(X.java:1)
Caused by: io.confluent.kafka.schemaregistry.client.rest.exceptions.RestClientException: Schema being registered is \
incompatible with an earlier schema for subject "customers-value", details: [{errorType:'READER_FIELD_MISSING_DEFAULT_\
VALUE', description:'The field 'tier' at path '/fields/3' in the new schema has no default value and is missing in the \
old schema', additionalInfo:'tier'}, {oldSchemaVersion: 1}, {oldSchema: '{"type":"record","name":"c","fields":[]}'}, \
{validateFields: 'false', compatibility: 'BACKWARD'}]; error code: 409
"""


def test_a_confluent_refusal_is_a_sentence_as_cause_and_readable_as_trace():
    """The cause is also what a restart's plan warns with: one line, no schema text, nothing mangled."""
    finding = connector_of(sources({"source": connector("FAILED", trace=CONFLUENT_TRACE)}), "source", now)
    (task,) = finding.facts["tasks"]

    assert (
        "the registry refused a new schema of customers-value: field tier at /fields/3; conflicts with version 1"
        == task["cause"]
    )
    assert "[redacted]" not in task["trace"]
    assert "errorType:'READER_FIELD_MISSING_DEFAULT_VALUE'" in task["trace"]
    assert "{oldSchema: '...'}" in task["trace"]


def test_evidence_says_once_what_each_failed_task_says():
    """The headline tells one cause: evidence adds where, and what else went wrong."""
    state = replace(
        connector("FAILED", "FAILED", "FAILED", trace="a.X: boom"), state="FAILED", trace="b.Y: no quorum\n\tat x"
    )
    state = replace(state, tasks=(*state.tasks[:2], replace(state.tasks[2], worker=None, trace="c.Z: full\n\tat x")))

    finding = connector_of(sources({"source": state}), "source", now)

    assert "task 0, 1, 2 FAILED: X: boom" == finding.headline
    assert (
        "task 0 on w:8083, task 1 on w:8083",
        "task 2 on an unknown worker: Z: full",
        "connector on w:8083: Y: no quorum",
    ) == finding.evidence


def test_a_refusal_is_the_headline_though_another_task_failed_first():
    """Task 1's refusal explains; task 0 only says that it gave up."""
    state = connector("FAILED", "FAILED", trace=CONFLUENT_TRACE)
    state = replace(state, tasks=(replace(state.tasks[0], trace="a.X: gave up"), state.tasks[1]))

    finding = connector_of(sources({"source": state}), "source", now)

    assert finding.headline.startswith("task 0, 1 FAILED: the registry refused a new schema of customers-value")
    assert "task 0 on w:8083: X: gave up" == finding.evidence[0]


def test_a_type_change_gets_its_field_from_the_registered_schema():
    """The trace names a position only; the looked-up name is told as such."""
    answers = {"source": recorded_failure("type-change"), "shop.public.customers-value": CUSTOMERS}
    finding = connector_of(sources(answers), "source", now, ["t"])

    assert ("credit_limit", True) == (
        finding.facts["refusal"]["field"],
        finding.facts["refusal"]["field_is_looked_up"],
    )
    assert any("field credit_limit is what stands at /fields/3/type/1" in line for line in finding.evidence)


REPAIRED = replace(
    CUSTOMERS,
    versions=(*CUSTOMERS.versions, replace(CUSTOMERS.versions[0], version=2, schema_id=3)),
    all_versions=(1, 2),
)
TRACED = (
    "Incompatible artifact: shop.public.customers-value [AVRO], num of incompatible diffs: {1}, "
    "list of diff types: [reader union lacking writer type: LONG at /fields/3/type/1]"
)


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (1, RefusedSchema("connect", CUSTOMERS.subject, NOW - HOUR, registered_version=1, words=TRACED)),
        (1, RefusedSchema("connect", CUSTOMERS.subject, NOW - HOUR, words=TRACED)),
        (2, RefusedSchema("connect", CUSTOMERS.subject, NOW - HOUR, words="another refusal")),
    ],
)
def test_a_trace_from_before_the_repair_conflicts_with_the_version_before_it(version, told):
    """A trace stands until its task is restarted: what is remembered of the refusal dates it."""
    answers = {"source": recorded_failure("type-change"), CUSTOMERS.subject: REPAIRED}
    seen = {(CUSTOMERS.subject, 1): NOW - DAY, (CUSTOMERS.subject, 2): NOW - HOUR / 2}
    memory = {
        "first_seen": seen,
        "remembers": True,
        "refusals_of": lambda _: (Refusals(told.subject, 1, 5, HOUR, told),),
    }

    finding = connector_of(sources(answers, **memory), "source", now, ["t"], pipeline="customers")

    assert version == finding.facts["refusal"]["registered_version"]
    assert f"conflicts with version {version}" in finding.headline


def test_the_refusal_of_an_hour_ago_is_not_laid_to_the_version_that_repaired_it():
    """The registry has version 2 by now."""
    told = RefusedSchema("log", "customers-value", NOW - HOUR)
    state = SubjectState(
        "customers-value",
        "BACKWARD",
        None,
        tuple(replace(version(n), subject="customers-value") for n in (1, 2)),
        (1, 2),
    )
    seen = {("customers-value", 1): NOW - DAY, ("customers-value", 2): NOW}
    asked = sources(
        {"customers-value": state}, first_seen=seen, refusals_of=lambda _: (Refusals(told.subject, 1, 5, DAY, told),)
    )

    found = [one for one in PROBES["schema_changes"](asked, PIPELINE, now) if one.probe == "schema_refusals"]

    assert [1] == [one.facts["refusal"]["registered_version"] for one in found]


@pytest.mark.parametrize(
    ("word", "first_seen", "remembers"),
    [
        ("first seen by the bot 2026-11-23T14:02:11Z", {("s", 1): NOW - DAY}, True),
        ("registered at a time not known", {("s", 1): NOW - DAY}, False),
        ("registered at a time not known", {}, True),
        ("registered at a time not known", {("s", 3): NOW - DAY}, True),  # an older one that a deletion laid bare
    ],
)
def test_a_version_that_the_bots_last_look_did_not_have_is_first_seen_now(word, first_seen, remembers):
    """Its memory is told after the look: the look itself knows already."""
    asked = sources({"s": WITHOUT_TIMES}, first_seen=first_seen, remembers=remembers)

    assert word in schema_of(asked, "s", now).headline


def test_a_refusal_without_a_registry_still_names_the_field():
    """The registry may be down too: that is one line of not known."""
    finding = connector_of(sources({"source": recorded_failure("column-without-default")}), "source", now)

    assert ("tier", None) == (finding.facts["refusal"]["field"], finding.facts["refusal"]["registered_version"])
    assert any("which version of shop.public.customers-value" in line for line in finding.not_known)


@pytest.mark.parametrize(
    ("expected", "kind", "answers"),
    [
        (12, "source", {"t": TopicOffsets("t", {0: (2, 10), 1: (0, 2)})}),
        (None, "source", {"t": TopicOffsets("t", {0: (2, 10), 1: (0, None)})}),
        (None, "source", {}),
        (15, "sink", {"connect-source": offsets((10, 0, 12), (5, 0, 5))}),
        (10, "sink", {"connect-source": offsets((10, 0, 12), (None, 0, 5))}),
        (0, "sink", {"connect-source": offsets((None, 0, 12))}),
        (None, "sink", {"connect-source": offsets()}),
        (None, "sink", {"connect-source": offsets((None, 0, 5), committed_known=False)}),
        (None, "unknown", {}),
    ],
)
def test_delivered_total_is_offsets_or_not_known(expected, kind, answers):
    """RUNNING proves nothing; log ends of a source's topics and commits of a sink's group do."""
    answers = {"source": connector("RUNNING", kind=kind), **answers}
    finding = connector_of(sources(answers), "source", now, ["t"])

    assert expected == finding.facts["delivered_total"]
    assert (expected is None) == any("what source delivered" in line for line in finding.not_known)


def test_no_row_value_of_a_trace_is_in_the_finding():
    """PostgreSQL writes the whole row into its message."""
    message = 'o.p.PSQLException: null value in column "n"\n  Detail: Failing row contains (7, Ana).'
    trace = f"a.X: o\nCaused by: {message}\n\tat x"
    finding = connector_of(sources({"source": connector("FAILED", trace=trace)}), "source", now)

    assert "Ana" not in json.dumps([dict(finding.facts), finding.headline, finding.evidence])
    assert 'null value in column "n"' in finding.headline
