"""`cdc doctor`, coverage: what runs and is in no pipeline. (What a pipeline names and is not there, its system says.)

A connector in no pipeline is a warning: it is CDC, and nobody would hear of it. Topics and groups are counted: a shared
cluster has thousands of them that are somebody else's. A group that reads a pipeline's topic is somebody's pipeline.
What could not be listed is not judged; the part that could not be read says so itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bot.doctor.check import Check, names, ok, warning
from bot.model import Pipeline
from bot.ports import Connect, KafkaCluster, PortError

PART = "coverage"
MOST_GROUPS = 2000
"""Of how many groups in no pipeline it is asked what they read: one question each."""
INTERNAL = ("connect-configs", "connect-offsets", "connect-status", "_schemas", "kafkasql-journal")


@dataclass(frozen=True)
class CoverageFacts:
    """What there is; None is not asked or not known.

    `reads` are the groups in no pipeline that have committed on a pipeline's topic, with those topics.
    """

    connectors: tuple[str, ...] | None = None
    topics: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    reads: tuple[tuple[str, tuple[str, ...]], ...] = ()
    not_known: tuple[str, ...] = ()


def gather(
    connect: Connect | None, kafka: KafkaCluster | None, pipelines: Sequence[Pipeline], deadline_s: float
) -> CoverageFacts:
    """List what there is. A system that does not answer leaves its names unknown: its own part says why."""
    ends_at = time.monotonic() + deadline_s
    connectors = topics = groups = None
    reads: tuple[tuple[str, tuple[str, ...]], ...] = ()
    not_known: list[str] = []
    if connect is not None:
        try:
            connectors = tuple(each.connector for each in connect.read_connectors(_left_s(ends_at)))
        except PortError:
            pass
    if kafka is not None:
        try:
            listing = kafka.read_listing(_left_s(ends_at))
            topics = tuple(each.topic for each in listing.topics)
            groups = None if listing.groups is None else tuple(each.group for each in listing.groups)
            loose = _loose(groups or (), (group.group for pipeline in pipelines for group in pipeline.groups))
            wanted = [topic for pipeline in pipelines for topic in pipeline.topics]
            if loose and wanted:
                if len(loose) > MOST_GROUPS:
                    not_known.append(f"what {len(loose) - MOST_GROUPS} of {len(loose)} groups in no pipeline read")
                readers = kafka.read_readers(loose[:MOST_GROUPS], wanted, _left_s(ends_at))
                reads = tuple((each.group, each.topics) for each in readers.groups or () if each.topics)
                not_known += readers.not_known
        except PortError:
            pass
    return CoverageFacts(connectors, topics, groups, reads, tuple(not_known))


def judge(facts: CoverageFacts, pipelines: Sequence[Pipeline]) -> tuple[Check, ...]:
    return (*_connectors(facts, pipelines), *_topics(facts, pipelines), *_groups(facts, pipelines))


def _connectors(facts: CoverageFacts, pipelines: Sequence[Pipeline]) -> Iterator[Check]:
    if not facts.connectors:
        return
    loose = _loose(facts.connectors, (name for pipeline in pipelines for name in pipeline.connectors))
    if loose:
        yield warning(
            PART, f"in no pipeline: connector{'s' if len(loose) > 1 else ''} {names(loose)}",
            "Add them to a pipeline in cdc.yml; `cdc init DIR` shows how they would be written.",
        )  # fmt: skip
    else:
        yield ok(PART, f"every connector is in a pipeline ({len(facts.connectors)})")


def _topics(facts: CoverageFacts, pipelines: Sequence[Pipeline]) -> Iterator[Check]:
    if facts.topics is None:
        return
    named = (name for pipeline in pipelines for name in (*pipeline.topics, pipeline.dlq) if name)
    yield ok(PART, _counted([topic for topic in _loose(facts.topics, named) if not _is_internal(topic)], "topic"))


def _groups(facts: CoverageFacts, pipelines: Sequence[Pipeline]) -> Iterator[Check]:
    if facts.groups is None:
        return
    for group, topics in facts.reads:
        yield warning(
            PART, f"group {group} reads {names(topics)} and is in no pipeline",
            f"Add `- group: {group}` to the consumers of {topics[0]}'s pipeline, or delete a group that nobody uses.",
        )  # fmt: skip
    for line in facts.not_known:
        yield warning(
            PART, f"not known: {line}",
            "Grant DESCRIBE on these groups, or ask `kafka-consumer-groups.sh --describe --all-groups`.",
        )  # fmt: skip
    reading = {group for group, _ in facts.reads}
    loose = _loose(facts.groups, (group.group for pipeline in pipelines for group in pipeline.groups))
    yield ok(PART, _counted([group for group in loose if group not in reading], "group"))


def _loose(found: Iterable[str], covered: Iterable[str]) -> list[str]:
    known = set(covered)
    return [name for name in found if name not in known]


def _is_internal(topic: str) -> bool:
    return topic.startswith("__") or topic in INTERNAL


def _counted(loose: Sequence[str], kind: str) -> str:
    if not loose:
        return f"every {kind} is in a pipeline"
    return f"{len(loose)} other {kind}{'s are' if len(loose) > 1 else ' is'} in no pipeline: {names(loose)}"


def _left_s(ends_at: float) -> float:
    return max(0.5, ends_at - time.monotonic())
