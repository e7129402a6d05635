"""From facts to pipelines: one row per situation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.discovery.facts import ConnectorFacts, Facts
from bot.discovery.judge import Findings, FoundGroup, FoundPipeline, FoundSink, judge
from bot.discovery.kept import with_kept
from bot.model import GroupKind
from bot.ports import GroupEntry

DEAD_LETTERS = {
    "errors.tolerance": "all",
    "errors.deadletterqueue.topic.name": "dlq",
    "errors.deadletterqueue.context.headers.enable": "true",
}


def source(name: str, *topics: str, **settings: str) -> ConnectorFacts:
    return ConnectorFacts(name, "source", settings, topics)


def sink(name: str, topics: str, **settings: str) -> ConnectorFacts:
    return ConnectorFacts(name, "sink", {"topics": topics, **DEAD_LETTERS, **settings})


def group(name: str, *topics: str, state: str = "STABLE", simple: bool = False) -> GroupEntry:
    return GroupEntry(name, state, topics, simple)


def found(*connectors: ConnectorFacts, groups: tuple[GroupEntry, ...] = (), **facts: object) -> Findings:
    return judge(Facts(connectors=connectors, groups=groups, **facts))  # type: ignore[arg-type]


def shape(findings: Findings) -> dict[str, tuple[object, ...]]:
    """Return name -> (source, sink, topics, groups)."""
    return {
        each.name: (
            each.source,
            each.sink.connector if each.sink else None,
            each.topics,
            tuple(consumer.group for consumer in each.consumers),
        )
        for each in findings.pipelines
    }


@pytest.mark.parametrize(
    ("connectors", "groups", "expected"),
    [
        # Nothing is there.
        ([], [], {}),
        # A source with its sink and another reader.
        (
            [source("customers-source", "a"), sink("customers-sink", "a")],
            [group("connect-customers-sink", "a"), group("billing", "a")],
            {"customers": ("customers-source", "customers-sink", ("a",), ("connect-customers-sink", "billing"))},
        ),
        # A sink of other topics is a pipeline of its own.
        (
            [source("customers-source", "a"), sink("orders-sink", "b")],
            [],
            {
                "customers": ("customers-source", None, ("a",), ()),
                "orders": (None, "orders-sink", ("b",), ("connect-orders-sink",)),
            },
        ),
        # Two sinks: the one that reads more of the source has it, the other stands alone.
        (
            [source("crm", "a", "b"), sink("all-sink", "a,b"), sink("a-sink", "a")],
            [],
            {
                "crm": ("crm", "all-sink", ("a", "b"), ("connect-all-sink",)),
                "a": (None, "a-sink", ("a",), ("connect-a-sink",)),
            },
        ),
        # Two sinks that read the same: the first by name.
        (
            [source("crm", "a"), sink("z-sink", "a"), sink("b-sink", "a")],
            [],
            {
                "crm": ("crm", "b-sink", ("a",), ("connect-b-sink",)),
                "z": (None, "z-sink", ("a",), ("connect-z-sink",)),
            },
        ),
        # Of those, the namesake of the source first.
        (
            [source("crm-source", "a"), sink("archive", "a"), sink("crm-sink", "a")],
            [],
            {
                "crm": ("crm-source", "crm-sink", ("a",), ("connect-crm-sink",)),
                "archive": (None, "archive", ("a",), ("connect-archive",)),
            },
        ),
        # A sink of two sources belongs to the one with most of its topics.
        (
            [source("one", "a"), source("two", "b", "c"), sink("lake", "a,b,c")],
            [],
            {"one": ("one", None, ("a",), ()), "two": ("two", "lake", ("b", "c"), ("connect-lake",))},
        ),
        # A group of two pipelines is named in one: the same rule.
        (
            [source("one", "a"), source("two", "b", "c")],
            [group("wide", "a", "b", "c")],
            {"one": ("one", None, ("a",), ()), "two": ("two", None, ("b", "c"), ("wide",))},
        ),
        # An overridden group is the sink's, and not a second consumer.
        (
            [sink("lake", "a", **{"consumer.override.group.id": "mine"})],
            [group("mine", "a")],
            {"lake": (None, "lake", ("a",), ("mine",))},
        ),
        # A dead letter queue is no topic of data, even if the source has written to it.
        ([source("crm", "a", "dlq"), sink("lake", "a")], [], {"crm": ("crm", "lake", ("a",), ("connect-lake",))}),
        # Someone at a console is no consumer; a group that could not be asked is none either.
        (
            [source("crm", "a")],
            [group("console-consumer-123", "a"), group("console-consumer-x", "a"), GroupEntry("late", None)],
            {"crm": ("crm", None, ("a",), ("console-consumer-x",))},
        ),
    ],
)
def test_what_belongs_together(connectors, groups, expected):
    """Each connector and each group stands in exactly one pipeline."""
    assert expected == shape(found(*connectors, groups=tuple(groups)))


@pytest.mark.parametrize(
    ("connectors", "names"),
    [
        ([source("customers-postgres-source", "shop.public.customers")], ["customers"]),
        ([source("walk1-customers-source", "walk1_shop.public.customers")], ["walk1-customers"]),
        ([source("debezium.inventory.connector", "a", "b")], ["inventory"]),
        ([source("postgres-source", "shop.public.orders")], ["orders"]),  # nothing left of the name: its one topic
        ([source("postgres-source", "a", "b")], ["postgres-source"]),
        ([source("orders-source", "a"), source("orders-cdc", "b")], ["orders", "a"]),
        ([source("orders-source", "x.y", "z"), source("orders-cdc", "q", "r")], ["orders", "orders-source"]),
        ([sink("customers-s3-sink", "a"), source("customers-source", "a")], ["customers"]),
        ([source("Ünïcode name!")], ["n-code-name"]),
        ([source("!!!")], ["pipeline"]),
        ([source("!!!"), source("???")], ["pipeline", "pipeline-2"]),
        ([source("x" * 90)], ["x" * 80]),
        ([source("x" * 90), source("x" * 91)], ["x" * 80, "x" * 76 + "-2"]),
    ],
)
def test_names(connectors, names):
    """The common word of a connector, unique, and what `bot.config` takes as a name."""
    assert sorted(names) == sorted(each.name for each in found(*connectors).pipelines)


@pytest.mark.parametrize(
    ("entry", "connectors", "expected"),
    [
        (group("billing", "a"), [], FoundGroup("billing", GroupKind.CONSUMER, ("a",))),
        (group("billing", "a", state="EMPTY"), [], FoundGroup("billing", GroupKind.CONSUMER, ("a",))),
        (group("a-FLINK", "a", state="EMPTY", simple=True), [], FoundGroup("a-FLINK", GroupKind.FLINK, ("a",))),
        (
            group("canonical", "a", state="EMPTY", simple=True),
            [],
            FoundGroup("canonical", GroupKind.FLINK, ("a",), "Commits without members, as Flink does: is it Flink?"),
        ),
        (
            group("connect-gone", "a"),
            [source("crm", "a")],
            FoundGroup(
                "connect-gone",
                GroupKind.CONNECT_SINK,
                ("a",),
                "No connector gone in this Connect cluster: is there another one?",
            ),
        ),
        (group("connect-lake", "a"), None, FoundGroup("connect-lake", GroupKind.CONNECT_SINK, ("a",))),
    ],
)  # fmt: skip
def test_kind_of_a_group(entry, connectors, expected):
    """By name, then by what Kafka says of it; what is not certain is asked."""
    facts = Facts(connectors=None if connectors is None else tuple(connectors), groups=(entry,))
    assert (expected,) == judge(facts).pipelines[0].consumers


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (DEAD_LETTERS, []),
        ({}, ["One record that it cannot read stops it", '"errors.tolerance": "all"', '"dlq.lake"', '"true"']),
        ({"errors.tolerance": "all"}, ["It drops what it cannot read, and keeps nothing", '"dlq.lake"', '"true"']),
        ({**DEAD_LETTERS, "errors.tolerance": "none"}, ["errors.tolerance is none"]),
        ({**DEAD_LETTERS, "errors.deadletterqueue.topic.name": "${env:Q}"}, ["Which topic is it?"]),
        (
            {**DEAD_LETTERS, "errors.deadletterqueue.context.headers.enable": "false"},
            ["Its dead letters do not say why"],
        ),
    ],
)
def test_advice_on_dead_letters(settings, words):
    """A sink that keeps its dead letters with their reason needs no word; every other one gets the lines to add."""
    lake = ConnectorFacts("lake", "sink", {"topics": "a", **settings})
    advice = judge(Facts(connectors=(lake,))).pipelines[0].sink.advice
    assert len(words) == len(advice)
    assert [] == [word for word, line in zip(words, advice, strict=True) if word not in line]


def test_subjects_follow_their_topics_and_stand_once():
    """Value before key; a subject of no topic is a remark, one of a heartbeat is none."""
    findings = found(
        source("crm", "a"),
        sink("one", "a"),
        sink("two", "a"),
        subjects=("a-key", "a-value", "com.acme.Order", "__debezium-heartbeat.shop-key"),
    )
    assert {"crm": ("a-value", "a-key"), "two": ()} == {each.name: each.subjects for each in findings.pipelines}
    assert ("1 subject of no topic above: com.acme.Order",) == findings.remarks


def test_topics_outside_are_counted_and_few_are_named():
    """Internal topics, queues and what connectors keep for themselves are not missing from a pipeline."""
    listed = ("__consumer_offsets", "a", "beat.x", "dlq", *(f"t{number:02d}" for number in range(10)))
    crm = source("crm", "a", "beat.x", **{"topic.heartbeat.prefix": "beat"})
    remarks = found(crm, sink("lake", "a"), topics=listed).remarks
    assert (
        "10 topics that no connector here writes or reads: t00, t01, t02, t03, t04, t05, t06, t07 and 2 more",
    ) == remarks


def test_a_source_that_wrote_nothing_is_a_question():
    """The connector is watched all the same."""
    (pipeline,) = found(source("crm")).pipelines
    assert ("crm has written to no topic that could be seen. Which topics does it write?",) == pipeline.notes
    assert 1 == found(source("crm")).questions


def test_a_pattern_that_cannot_be_followed_is_a_question():
    """What it hits is not left out in silence; what the sink has used stands."""
    facts = Facts(connectors=(ConnectorFacts("s", "sink", {"topics.regex": r"(a)\1"}, ("a",)),), topics=("a", "aa"))
    (pipeline,) = judge(facts).pipelines
    assert ("a",) == pipeline.topics
    assert ("topics.regex of s is a pattern that cannot be followed here. Which does it read?",) == pipeline.notes


def test_topics_that_are_gone_are_asked_about():
    """One note per connector, beside its pipeline; what is still there stays."""
    (pipeline,) = found(source("crm", "a", "b"), sink("lake", "a,c"), topics=("a",)).pipelines
    assert ("a",) == pipeline.topics
    assert (
        "crm has written to what the cluster does not list: b. Gone, or not shown to this login?",
        "lake is to read what the cluster does not list: c. Gone, or not shown to this login?",
    ) == pipeline.notes


def test_another_naming_of_subjects_is_a_question():
    """TopicNameStrategy is the default, and the only one that can be followed."""
    key = "value.converter.value.subject.name.strategy"
    for strategy, questions in (("io.x.TopicNameStrategy", 0), ("io.x.RecordNameStrategy", 1)):
        assert questions == found(source("crm", "a", **{key: strategy})).questions


def test_names_that_no_file_can_hold_are_left_out_with_a_remark():
    """A control character in a name is shown escaped, and breaks nothing."""
    findings = found(source("evil\n\x1b[2J", "a"), source("crm", "a"), groups=(group("g\u2028", "a"),))
    assert ["crm"] == [each.name for each in findings.pipelines]
    assert () == findings.pipelines[0].consumers
    assert (
        r"A connector with control characters in its name was left out: 'evil\n\x1b[2J'",
        r"A consumer group with control characters in its name was left out: 'g\u2028'",
    ) == findings.remarks


def test_without_connectors_topics_with_the_same_readers_are_a_pipeline():
    """The largest set takes its groups; a topic whose readers all belong elsewhere stands in their topics alone."""
    findings = judge(
        Facts(
            topics=("a", "b", "c", "unread"),
            groups=(group("both", "a", "b"), group("both-too", "a", "b", "c"), group("c-only", "c")),
        )
    )
    assert {
        "a": (None, None, ("a", "b"), ("both", "both-too")),
        "c": (None, None, ("c",), ("c-only",)),
    } == shape(findings)
    assert ("1 topic that no group reads: unread",) == findings.remarks


# --- what a person wrote -------------------------------------------------------------------------

CRM = FoundPipeline("crm", "crm-source", topics=("a",), consumers=(FoundGroup("g", GroupKind.FLINK, ("a",), "Flink?"),))
WRITTEN = {
    "customers": {
        "source": {"connector": "crm-source"},
        "owner": "@data",
        "topics": ["old"],
        "consumers": [{"group": "g", "kind": "consumer", "job": "j"}],
    }
}


def test_what_a_person_wrote_is_kept():
    """Name, owner, and the kind of a group are theirs; topics are what is there."""
    (pipeline,) = with_kept(Findings((CRM,)), WRITTEN).pipelines
    assert ("customers", {"owner": "@data"}, ("a",)) == (pipeline.name, pipeline.kept, pipeline.topics)
    assert (FoundGroup("g", GroupKind.CONSUMER, ("a",), "", "j"),) == pipeline.consumers


def test_a_new_pipeline_does_not_take_a_name_that_is_in_use():
    """Two pipelines of one name would be one in the file."""
    new = FoundPipeline("customers", "other-source")
    assert ["customers", "customers-2"] == [each.name for each in with_kept(Findings((CRM, new)), WRITTEN).pipelines]


def test_what_was_written_is_found_once():
    """A sink that has become a pipeline of its own does not take the name of its source's pipeline along."""
    lake = FoundSink("lake", "S3", None, None)
    findings = Findings((FoundPipeline("a-lake", sink=lake), replace(CRM, sink=FoundSink("other", "S3", "t", None))))
    written = {"customers": {"source": {"connector": "crm-source"}, "sink": {"connector": "lake", "table": "x"}}}
    assert {"a-lake": None, "customers": "crm-source"} == {
        each.name: each.source for each in with_kept(findings, written).pipelines
    }
    assert "t" == with_kept(findings, written).pipelines[1].sink.table


@pytest.mark.parametrize(("is_complete", "names"), [(True, []), (False, ["customers"])])
def test_a_pipeline_not_found_again_is_gone_only_if_everything_answered(is_complete, names):
    """A Connect cluster that is down does not make a pipeline disappear."""
    assert names == [each.name for each in with_kept(Findings(), WRITTEN, is_complete).pipelines]


def test_what_nobody_answered_for_stays():
    """Kafka was down: its groups stay in the pipeline they were written in, and none stands twice."""
    written = {
        "mine": {
            "source": {"connector": "crm-source"},
            "topics": ["b"],
            "subjects": ["b-value"],
            "consumers": [{"group": "h", "kind": "flink", "job": "j", "topics": ["b"]}],
        },
        "gone": {"topics": ["a"], "consumers": [{"group": "g"}]},
    }
    kept = {each.name: each for each in with_kept(Findings((CRM,)), written, is_complete=False).pipelines}
    assert {"mine", "gone"} == set(kept)
    assert (("a", "b"), ("b-value",)) == (kept["mine"].topics, kept["mine"].subjects)
    assert (FoundGroup("h", GroupKind.FLINK, ("b",), job="j"),) == kept["mine"].consumers
    assert (True, written["gone"]) == (kept["gone"].is_as_written, kept["gone"].kept)


def test_while_connect_is_down_topics_are_no_pipelines():
    """They would be the connectors' own pipelines a second time, once it answers."""
    facts = Facts(topics=("a",), groups=(group("g", "a"),))
    assert 1 == len(judge(facts).pipelines)
    assert Findings() == judge(replace(facts, unreached=(("Connect", "refused"),)))


@pytest.mark.parametrize("written", [None, [], "text", {"a": None}, {"a": {"source": "x"}}, {1: {"consumers": [3]}}])
def test_a_broken_file_is_no_obstacle(written):
    """What cannot be read is not kept."""
    assert (CRM,) == with_kept(Findings((CRM,)), written).pipelines


def test_the_coordinator_of_an_iceberg_sink_is_watched_beside_it():
    """Lag 0 in the sink's own group is no visible row: the coordinator commits the table."""
    lake = sink("lake", "a", **{"connector.class": "org.apache.iceberg.connect.IcebergSinkConnector"})
    [pipeline] = found(source("s", "a"), lake, topics=("a", "control-iceberg")).pipelines
    assert (
        FoundGroup("connect-lake", GroupKind.CONNECT_SINK, ("a",)),
        FoundGroup("connect-lake-coord", GroupKind.CONSUMER, ("control-iceberg",)),
    ) == pipeline.consumers
