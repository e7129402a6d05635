"""Gathering: what is asked in which order, and that nothing that fails takes the rest along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from bot.discovery.gather import Systems, gather
from bot.ports import (
    ConnectorState,
    Denied,
    GroupEntry,
    KafkaListing,
    PortError,
    PrometheusStatus,
    TopicEntry,
    Unreachable,
)


@dataclass
class Workers:
    """Kafka Connect; `topics` None refuses to tell which were used."""

    connectors: dict[str, dict[str, str]] = field(default_factory=dict)
    topics: dict[str, tuple[str, ...]] | None = field(default_factory=dict)
    error: PortError | None = None

    def read_connectors(self, deadline_s: float) -> tuple[ConnectorState, ...]:
        if self.error:
            raise self.error
        return tuple(
            ConnectorState(name, "sink" if "topics" in config else "source", "RUNNING", None, None, (), config)
            for name, config in self.connectors.items()
        )

    def read_connector_topics(self, name: str, deadline_s: float) -> tuple[str, ...]:
        if self.topics is None:
            raise Denied("topic tracking is disabled")
        return self.topics.get(name, ())


@dataclass
class Cluster:
    """Kafka; `asked` is what `read_readers` was asked."""

    topics: tuple[str, ...] = ()
    groups: dict[str, tuple[str, ...] | None] | None = field(default_factory=dict)
    error: PortError | None = None
    late: PortError | None = None
    asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)

    def read_listing(self, deadline_s: float) -> KafkaListing:
        if self.error:
            raise self.error
        groups = None if self.groups is None else tuple(GroupEntry(name, "STABLE", None, False) for name in self.groups)
        lines = ("groups: this broker cannot list groups",) if groups is None else ()
        return KafkaListing("id", 1, tuple(TopicEntry(name, 1) for name in self.topics), groups, lines)

    def read_readers(self, groups: Sequence[str], topics: Sequence[str], deadline_s: float) -> KafkaListing:
        self.asked.append((tuple(groups), tuple(topics)))
        if self.late:
            raise self.late
        committed = {
            name: None if all_of_it is None else tuple(topic for topic in all_of_it if topic in topics)
            for name, all_of_it in (self.groups or {}).items()
        }
        return KafkaListing("id", 1, (), tuple(GroupEntry(name, None, committed[name]) for name in groups))


@dataclass
class Subjects:
    names: tuple[str, ...] = ()
    error: PortError | None = None

    def read_subjects(self, deadline_s: float) -> tuple[str, ...]:
        if self.error:
            raise self.error
        return self.names


@dataclass
class Monitoring:
    alertmanagers: tuple[str, ...] | None

    def read_status(self, deadline_s: float) -> PrometheusStatus:
        return PrometheusStatus("2", (), (), self.alertmanagers)


CONNECTORS = {"source": {}, "sink": {"topics": "a"}}
DOWN = Unreachable("http://x: refused the connection")


def test_groups_are_asked_for_the_connectors_topics_alone():
    """A large cluster has thousands of topics; a group that reads none of these is left out."""
    cluster = Cluster(("a", "b", "other"), {"reads-a": ("a", "other"), "reads-other": ("other",)})
    facts = gather(Systems(Workers(CONNECTORS, {"source": ("b",)}), cluster, Subjects(("s",))), 1)

    assert [(("reads-a", "reads-other"), ("a", "b"))] == cluster.asked
    assert (GroupEntry("reads-a", "STABLE", ("a",), False),) == facts.groups
    assert ("Connect", "Kafka", "Schema Registry") == facts.asked
    assert (("s",), ("a", "b", "other"), (), ()) == (facts.subjects, facts.topics, facts.unreached, facts.not_known)


def test_a_group_that_could_not_be_asked_stays():
    """Not knowing what a group reads is not knowing that it reads nothing."""
    cluster = Cluster(("a",), {"denied": None, "idle": ()})
    facts = gather(Systems(Workers(CONNECTORS), cluster), 1)
    assert (GroupEntry("denied", "STABLE", None, False),) == facts.groups


@pytest.mark.parametrize(
    ("systems", "unreached", "is_blind"),
    [
        (Systems(), [], False),  # nothing was asked: that is no failure
        (Systems(Workers(error=DOWN)), ["Connect"], True),
        (Systems(Workers(error=DOWN), Cluster(error=DOWN)), ["Connect", "Kafka"], True),
        (Systems(Workers(error=DOWN), Cluster()), ["Connect"], False),
        (Systems(Workers(), Cluster(error=DOWN), Subjects()), ["Kafka"], False),
    ],
)  # fmt: skip
def test_what_does_not_answer_is_a_line_and_no_error(systems, unreached, is_blind):
    """The rest is asked all the same; only if nothing answered there is nothing to say."""
    facts = gather(systems, 1)
    assert unreached == [part for part, _ in facts.unreached]
    assert is_blind == facts.is_blind


def test_what_was_not_answered_is_none_and_not_empty():
    """`no connector` and `Connect did not answer` are two things."""
    assert None is gather(Systems(Workers(error=DOWN)), 1).connectors
    assert () == gather(Systems(Workers()), 1).connectors


@pytest.mark.parametrize(
    ("systems", "line"),
    [
        (Systems(Workers(CONNECTORS, None)), "topics that source has used: topic tracking is disabled"),
        (Systems(kafka=Cluster(groups=None)), "groups: this broker cannot list groups"),
        (
            Systems(kafka=Cluster(("a",), {"g": ("a",)}, late=DOWN)),
            "which groups read the topics: http://x: refused the connection",
        ),
    ],
)
def test_a_part_of_an_answer_that_is_lacking_is_said(systems, line):
    """It is a line; the rest of the answer counts."""
    facts = gather(systems, 1)
    assert line in facts.not_known
    assert () == facts.unreached


def test_a_sink_that_names_its_topics_is_not_asked_for_them():
    """One request less for each; a sink with a pattern is asked."""
    connectors = {"by-name": {"topics": "a"}, "by-pattern": {"topics.regex": "a.*", "topics": ""}}
    facts = gather(Systems(Workers(connectors, {"by-name": ("x",), "by-pattern": ("a1",)})), 1)
    assert {"by-name": None, "by-pattern": ("a1",)} == {each.name: each.used_topics for each in facts.connectors or ()}


def test_many_connectors_that_do_not_tell_are_few_lines():
    """A cluster with topic tracking switched off does not fill the screen."""
    many = {f"c{number}": {} for number in range(10)}
    assert 4 == len(gather(Systems(Workers(many, None)), 1).not_known)


@pytest.mark.parametrize(("told", "expected"), [(("http://a:9093",), ("http://a:9093",)), (None, ())])
def test_alertmanagers_come_from_prometheus(told, expected):
    """Where it tells none, none is made up."""
    assert expected == gather(Systems(prometheus=Monitoring(told)), 1).alertmanagers


def test_a_refusal_is_not_told_as_silence():
    """Whoever answered 401 has answered."""
    told: list[str] = []
    gather(Systems(Workers(error=Denied("401"))), 1, told.append)
    assert ["asking Connect ... ", "refused\n"] == told


def test_progress_is_told_as_it_goes():
    """A line per system, begun before it is asked: a person sees which one is slow."""
    told: list[str] = []
    gather(Systems(Workers(CONNECTORS), Cluster(("a",)), Subjects(error=DOWN)), 1, told.append)
    assert [
        "asking Connect ... ", "2 connectors (1 source, 1 sink)\n",
        "asking Kafka ... ", "1 broker, 1 topic, 0 groups\n",
        "asking Schema Registry ... ", "no answer\n",
    ] == told  # fmt: skip
