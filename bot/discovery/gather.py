"""Ask the systems once, for what a `cdc.yml` needs. Reads only; what does not answer is a line, never an error.

The order matters: connectors and the cluster's topics say which topics are of interest, and only for these are the
groups asked which of them they have committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from bot.discovery.connectors import topics_of_interest
from bot.discovery.facts import ConnectorFacts, Facts, connector_facts
from bot.ports import (
    Connect,
    ConnectorState,
    Denied,
    GroupEntry,
    KafkaCluster,
    KafkaListing,
    PortError,
    Prometheus,
    SchemaRegistry,
    Unreachable,
)

T = TypeVar("T")

AT_ONCE = 8
READERS_DEADLINES = 3
"""Every group is asked, so this question may take so many times the deadline of the others."""


@dataclass(frozen=True)
class Systems:
    """The systems to ask; None is not asked."""

    connect: Connect | None = None
    kafka: KafkaCluster | None = None
    registry: SchemaRegistry | None = None
    prometheus: Prometheus | None = None


class _Gathering:
    """Counts what was asked and keeps why something did not answer."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.asked: list[str] = []
        self.unreached: list[tuple[str, str]] = []
        self.not_known: list[str] = []

    def ask(self, part: str, question: Callable[[], T], counted: Callable[[T], str]) -> T | None:
        """Return the answer, or None and keep the reason."""
        self.asked.append(part)
        self.tell(f"asking {part} ... ")
        try:
            answer = question()
        except PortError as error:
            self.unreached.append((part, str(error)))
            self.tell(f"{_outcome(error)}\n")
            return None
        self.tell(f"{counted(answer)}\n")
        return answer


def gather(systems: Systems, deadline_s: float, tell: Callable[[str], None] = lambda words: None) -> Facts:
    """Return what the systems say. `deadline_s` is per question; `tell` hears the progress, in pieces of a line.

    Never raises for a system: what did not answer is in `unreached`, a part of an answer in `not_known`.
    """
    gathering = _Gathering(tell)
    connect, kafka, registry, prometheus = systems.connect, systems.kafka, systems.registry, systems.prometheus
    connectors = listing = subjects = status = None
    if connect:
        states = gathering.ask("Connect", lambda: connect.read_connectors(deadline_s), _count_connectors)
        if states is not None:
            connectors = _with_topics(connect, states, deadline_s, gathering.not_known)
    if kafka:
        listing = gathering.ask("Kafka", lambda: kafka.read_listing(deadline_s), _count_cluster)
    if registry:
        subjects = gathering.ask(
            "Schema Registry", lambda: registry.read_subjects(deadline_s), lambda found: _count(len(found), "subject")
        )
    if prometheus:
        status = gathering.ask(
            "Prometheus",
            lambda: prometheus.read_status(deadline_s),
            lambda found: _count(len(found.alertmanagers or ()), "Alertmanager"),
        )
    if listing:
        gathering.not_known += listing.not_known
    facts = Facts(
        connectors=connectors,
        topics=tuple(sorted(each.topic for each in listing.topics)) if listing else None,
        subjects=tuple(sorted(set(subjects))) if subjects is not None else None,
        alertmanagers=(status.alertmanagers or ()) if status else (),
        asked=tuple(gathering.asked),
        unreached=tuple(gathering.unreached),
    )
    if kafka and listing:
        facts = replace(facts, groups=_readers(kafka, listing, facts, deadline_s * READERS_DEADLINES, gathering))
    return replace(facts, not_known=tuple(gathering.not_known))


def _with_topics(
    connect: Connect, states: tuple[ConnectorState, ...], deadline_s: float, not_known: list[str]
) -> tuple[ConnectorFacts, ...]:
    """Return what may be kept of each connector, with the topics it has used; a sink that names them is not asked."""
    ends_at = time.monotonic() + deadline_s
    reasons: list[str] = []

    def used_topics(state: ConnectorState) -> tuple[str, ...] | None:
        named = state.config.get("topics") or ""
        if state.type == "sink" and named and "${" not in named:
            return None
        left_s = ends_at - time.monotonic()
        try:
            if left_s > 0:
                return connect.read_connector_topics(state.connector, left_s)
            reasons.append(f"topics that {state.connector} has used: not asked within {deadline_s:g} s")
        except PortError as error:
            reasons.append(f"topics that {state.connector} has used: {error}")
        return None

    ordered = sorted(states, key=lambda each: each.connector)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="connectors") as pool:
        used = list(pool.map(used_topics, ordered))
    not_known += _few(sorted(reasons))
    return tuple(connector_facts(*each) for each in zip(ordered, used, strict=True))


def _readers(
    kafka: KafkaCluster, listing: KafkaListing, facts: Facts, deadline_s: float, gathering: _Gathering
) -> tuple[GroupEntry, ...] | None:
    """Return the groups that read a topic of interest, each as the listing and the question about it say together."""
    topics = topics_of_interest(facts)
    if listing.groups is None:
        return None
    if not topics or not listing.groups:
        return ()
    listed = {each.group: each for each in listing.groups}
    try:
        answer = kafka.read_readers(tuple(listed), topics, deadline_s)
    except PortError as error:
        gathering.not_known.append(f"which groups read the topics: {error}")
        return None
    gathering.not_known += answer.not_known
    return tuple(
        replace(listed[each.group], topics=each.topics)
        for each in sorted(answer.groups or (), key=lambda each: each.group)
        if each.topics is None or each.topics
    )


def _outcome(error: PortError) -> str:
    """Return in two words what became of a question; an answer that is of no use is none the less an answer."""
    if isinstance(error, Denied):
        return "refused"
    is_silent = isinstance(error, Unreachable) and "answered" not in str(error)
    return "no answer" if is_silent else "not understood"


def _few(reasons: list[str], most: int = 3) -> list[str]:
    more = len(reasons) - most
    return [*reasons[:most], *([f"and {more} more connectors' topics"] if more > 0 else [])]


def _count_connectors(states: tuple[ConnectorState, ...]) -> str:
    sinks = sum(state.type == "sink" for state in states)
    sources = sum(state.type == "source" for state in states)
    return f"{_count(len(states), 'connector')} ({sources} source, {sinks} sink)"


def _count_cluster(listing: KafkaListing) -> str:
    groups = "groups not listed" if listing.groups is None else _count(len(listing.groups), "group")
    return f"{_count(listing.brokers, 'broker')}, {_count(len(listing.topics), 'topic')}, {groups}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
