"""`cdc doctor`, coverage: what is in no pipeline; a shared cluster's thousands are counted, not listed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bot.doctor.coverage import CoverageFacts, gather, judge
from bot.model import ConsumerGroup, Pipeline, Sink
from bot.ports import ConnectorState, GroupEntry, KafkaListing, TopicEntry, Unreachable

CUSTOMERS = Pipeline(
    "customers",
    "#c",
    source_connector="source",
    topics=("customers",),
    consumers=(ConsumerGroup("flink"),),
    sink=Sink("sink", dlq="dlq.customers"),
)


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        (CoverageFacts(), []),
        (CoverageFacts(connectors=()), []),
        (CoverageFacts(connectors=("source", "sink")), [("ok", "every connector is in a pipeline (2)")]),
        (CoverageFacts(connectors=("source", "b", "a")), [("warning", "in no pipeline: connectors b, a")]),
        (
            CoverageFacts(topics=("customers", "dlq.customers", "__consumer_offsets", "_schemas", "connect-status")),
            [("ok", "every topic is in a pipeline")],
        ),
        (CoverageFacts(topics=("customers", "x")), [("ok", "1 other topic is in no pipeline: x")]),
        (
            CoverageFacts(topics=tuple("abcdefgh")),
            [("ok", "8 other topics are in no pipeline: a, b, c, d, e, f and 2 more")],
        ),
        (CoverageFacts(groups=("flink", "connect-sink")), [("ok", "every group is in a pipeline")]),
        (
            CoverageFacts(groups=("flink", "other", "x"), reads=(("other", ("customers",)),)),
            [
                ("warning", "group other reads customers and is in no pipeline"),
                ("ok", "1 other group is in no pipeline: x"),
            ],
        ),
        (
            CoverageFacts(groups=("flink",), not_known=("topics of group x: needs DESCRIBE",)),
            [("warning", "not known: topics of group x: needs DESCRIBE"), ("ok", "every group is in a pipeline")],
        ),
    ],
)
def test_what_is_in_no_pipeline(facts: CoverageFacts, lines: list[tuple[str, str]]) -> None:
    """A connector, and a group that reads a pipeline's topic, are warnings; other topics and groups a count."""
    assert lines == [(line.status, line.what) for line in judge(facts, (CUSTOMERS,))]


class Workers:
    def read_connectors(self, deadline_s: float) -> tuple[ConnectorState, ...]:
        return (ConnectorState("source", "source", "RUNNING", None, None, ()),)

    def read_connector(self, name: str, deadline_s: float) -> ConnectorState:
        raise NotImplementedError

    def read_connector_topics(self, name: str, deadline_s: float) -> tuple[str, ...]:
        raise NotImplementedError

    def restart_failed(self, name: str, deadline_s: float) -> str:
        raise NotImplementedError


class Cluster:
    """Two groups in no pipeline, of which one reads `customers`; it keeps what it was asked."""

    def __init__(self, listed: bool = True) -> None:
        self.listed = listed
        self.asked: tuple[Sequence[str], Sequence[str]] | None = None

    def read_listing(self, deadline_s: float) -> KafkaListing:
        groups = tuple(GroupEntry(name, "STABLE") for name in ("flink", "billing", "audit"))
        return KafkaListing("id", 1, (TopicEntry("customers", 1),), groups if self.listed else None)

    def read_readers(self, groups: Sequence[str], topics: Sequence[str], deadline_s: float) -> KafkaListing:
        self.asked = (groups, topics)
        entries = (GroupEntry("billing", None, ("customers",)), GroupEntry("audit", None, ()))
        return KafkaListing("id", 1, (), entries, ("topics of group x: not asked",))


class Down(Workers):
    def read_connectors(self, deadline_s: float) -> tuple[ConnectorState, ...]:
        raise Unreachable("down")


def test_only_groups_in_no_pipeline_are_asked_what_they_read() -> None:
    """One question per group: those that cdc.yml names are known."""
    cluster = Cluster()
    facts = gather(Workers(), cluster, (CUSTOMERS,), 5.0)
    assert (["billing", "audit"], ["customers"]) == cluster.asked
    assert (("source",), ("customers",), ("flink", "billing", "audit")) == (
        facts.connectors, facts.topics, facts.groups,
    )  # fmt: skip
    assert ((("billing", ("customers",)),), ("topics of group x: not asked",)) == (facts.reads, facts.not_known)


def test_what_does_not_answer_stays_unknown() -> None:
    """Its own part says why; here nothing is made of it."""
    facts = gather(Down(), Cluster(listed=False), (CUSTOMERS,), 5.0)
    assert (None, ("customers",), None, ()) == (facts.connectors, facts.topics, facts.groups, facts.reads)
    assert CoverageFacts() == gather(None, None, (CUSTOMERS,), 5.0)
