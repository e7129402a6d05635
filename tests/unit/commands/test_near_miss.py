"""A name that does not exist is answered so, with at most three real ones that are spelt much like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from bot.commands import Query, answer
from bot.found import Known
from bot.incident.correlation import Board
from bot.model import ConsumerGroup, GroupOffsets, PartitionOffsets, Pipeline, Sink
from bot.ports import (
    ConnectorState,
    GroupEntry,
    KafkaListing,
    Missing,
    PortError,
    SubjectState,
    TailSample,
    TopicEntry,
    TopicOffsets,
    Unreachable,
)
from bot.probes.sources import Sources
from bot.report import Report
from tests.unit.quiet_kafka import QuietKafka

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
CUSTOMERS = Pipeline(
    "customers",
    "#cdc",
    topics=("customers",),
    subjects=("customers-value",),
    consumers=(ConsumerGroup("customers_canonical_flink"),),
    sink=Sink("customers-sink", dlq="dlq.customers"),
)


@dataclass
class Systems(QuietKafka):
    """Kafka, registry and Connect in one: nothing that is asked for exists, `asked` counts the questions."""

    listed: tuple[str, ...] = ()
    groups_unlisted: bool = False
    error: PortError | None = None
    asked: list[str] = field(default_factory=list)

    def read_group(self, group: str, topics: Sequence[str], deadline_s: float) -> GroupOffsets:
        self.asked.append("group")
        if group in self.listed:
            return GroupOffsets(group, AT, "Stable", 1, (PartitionOffsets("t", 0, 1, 0, 1),))
        raise Missing(f"no consumer group {group}")

    def read_topic(self, topic: str, deadline_s: float) -> TopicOffsets:
        raise Missing(f"no topic {topic}")

    def sample_tail(self, topic: str, count: int, deadline_s: float) -> TailSample:
        self.asked.append("topic")
        raise Missing(f"no topic {topic}")

    def read_listing(self, deadline_s: float) -> KafkaListing:
        self._list(deadline_s)
        groups = None if self.groups_unlisted else tuple(GroupEntry(name, "Stable") for name in self.listed)
        topics = tuple(TopicEntry(name, 1) for name in (*self.listed, "__consumer_offsets"))
        return KafkaListing("id", 1, topics, groups)

    def read_readers(self, groups: Sequence[str], topics: Sequence[str], deadline_s: float) -> KafkaListing:
        raise AssertionError("nobody asks who reads")

    def read_subject(self, subject: str, newest: int, deadline_s: float) -> SubjectState:
        self.asked.append("subject")
        raise Missing(f"no subject {subject}")

    def read_schema(self, schema_id: int, deadline_s: float) -> str:
        raise Missing(f"no schema {schema_id}")

    def read_subjects(self, deadline_s: float) -> tuple[str, ...]:
        self._list(deadline_s)
        return self.listed

    def read_connector(self, name: str, deadline_s: float) -> ConnectorState:
        self.asked.append("connector")
        raise Missing(f"no connector {name}")

    def read_connectors(self, deadline_s: float) -> tuple[ConnectorState, ...]:
        self._list(deadline_s)
        return tuple(ConnectorState(name, "sink", "RUNNING", "w", None, ()) for name in self.listed)

    def read_connector_topics(self, name: str, deadline_s: float) -> tuple[str, ...]:
        return ()

    def restart_failed(self, name: str, deadline_s: float) -> str:
        raise AssertionError("nobody restarts")

    def _list(self, deadline_s: float) -> None:
        assert 0 < deadline_s <= 5
        self.asked.append("list")
        if self.error:
            raise self.error


def ask(verb: str, name: str, systems: Systems, *pipelines: Pipeline) -> Report:
    argument = {"lag": "group", "dlq": "topic", "schema": "subject", "connector": "name"}[verb]
    sources = Sources(systems, systems, systems, cluster=systems)
    return answer(Query(verb, {argument: name}), sources, pipelines, Board(), AT, command="/cdc")


@pytest.mark.parametrize(
    ("suggested", "verb", "name", "listed"),
    [
        (("customers_canonical_flink",), "lag", "customers_canonical_flnk", ("customers_canonical_flink", "other")),
        (("customers-value",), "schema", "customer-value", ("customers-value", "zebra")),
        (("customers-sink",), "connector", "customers-snk", ("customers-sink",)),
        (("dlq.customers",), "dlq", "dlq.customer", ("dlq.customers", "orders")),
        (("app-3", "app-2", "app-1"), "lag", "app-9", ("app-1", "app-2", "app-3", "app-4")[:3]),
        ((), "lag", "nothing-like-it", ("customers_canonical_flink",)),
        ((), "dlq", "__consumer_offset", ()),
        ((), "lag", "g", ()),
    ],
)
def test_the_nearest_real_names_are_suggested(suggested, verb, name, listed) -> None:
    """Without any config: from what the system lists once it has said that there is no such thing.

    What was asked stands first, and nothing is answered in its stead. Kafka's own topics are nobody's dead letters.
    """
    report = ask(verb, name, Systems(listed))
    assert 3 == report.exit_code
    assert report.title.startswith(f"{name}: ")
    assert "no such thing" in report.title
    assert sorted(f"/cdc {verb} {one}" for one in suggested) == sorted(report.next_steps)


def test_at_most_three_are_suggested() -> None:
    """A hint, not a listing."""
    listed = tuple(f"orders_{n}" for n in range(40))
    assert 3 == len(ask("lag", "orders_x", Systems(listed)).next_steps)


def test_names_of_the_config_and_of_the_system_are_one_list() -> None:
    """The nearest comes first, wherever it is from, and none is named twice."""
    systems = Systems(("customers_canonical_flunk", "customers_canonical_flink"))
    report = ask("lag", "customers_canonical_flnk", systems, CUSTOMERS)
    assert {"/cdc lag customers_canonical_flink", "/cdc lag customers_canonical_flunk"} == set(report.next_steps)
    assert 2 == len(report.next_steps)
    assert any(note.startswith("cdc.yml names: customers_canonical_flink") for note in report.notes)


def test_brokers_that_list_no_groups_leave_the_names_of_the_config() -> None:
    """librdkafka's mock brokers cannot: the config's names are still suggested, and nothing is made up."""
    report = ask("lag", "customers_canonical_flnk", Systems(("t",), groups_unlisted=True), CUSTOMERS)
    assert ("/cdc lag customers_canonical_flink",) == report.next_steps


def test_a_listing_that_fails_is_said_and_changes_nothing_else() -> None:
    """The answer is the same: there is no such thing. Why nobody could look further stands with what is not known."""
    report = ask("schema", "customer-value", Systems(error=Unreachable("registry: no answer")), CUSTOMERS)
    assert (3, ("/cdc schema customers-value",)) == (report.exit_code, report.next_steps)
    assert "what there is: registry: no answer" in report.not_known


def test_a_list_is_asked_for_only_after_a_miss() -> None:
    """Two questions at the most; a group that is there costs one."""
    systems = Systems(("there",))
    assert 0 == ask("lag", "there", systems).exit_code
    assert ["group"] == systems.asked
    ask("lag", "ther", systems)
    assert ["group", "group", "list"] == systems.asked


def test_a_name_is_never_suggested_in_place_of_itself() -> None:
    """A group of cdc.yml that has not committed yet: "did you mean the same" helps nobody."""
    assert () == Known(("orders",), ("orders",)).nearest("orders")
    assert ("orders2",) == Known(("orders",), ("orders2",)).nearest("orders")
