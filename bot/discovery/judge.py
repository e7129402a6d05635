"""From facts to pipelines: what belongs together, and what a person must still be asked.

The rule
    A source connector is a pipeline, with the topics it writes. A sink belongs to the source most of whose topics it
    reads; a pipeline has one sink: the one that reads most, then the one of the same name. Each further one is a
    pipeline of its own, as is a sink without a source here.
    A group belongs to the pipeline most of whose topics it has committed. Subjects follow TopicNameStrategy.
    Without any connector, topics with the same readers are a pipeline; while Connect does not answer, nothing is.
    Each connector, each group and each subject stands in exactly one pipeline, as `bot.config` demands.

Pure. Whatever is not certain becomes a question beside the line it concerns; nothing is left out in silence.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.discovery.connectors import (
    coordinator,
    dead_letter_queue,
    is_internal,
    is_name,
    kind,
    missing_topics,
    name_questions,
    overridden_group,
    pattern_question,
    read_topics,
    sink_group,
    sink_table,
    tables,
    written_topics,
)
from bot.discovery.facts import ConnectorFacts, Facts
from bot.model import GroupKind
from bot.ports import GroupEntry

_CONSOLE = re.compile(r"console-consumer-\d+")
_SYSTEMS = (
    r"source|sink|connector|debezium|dbz|cdc|connect|kafka|avro|jdbc|postgres(?:ql)?|pg|mysql|mariadb|mssql|sqlserver"
    r"|oracle|db2|mongo(?:db)?"
)


@dataclass(frozen=True)
class FoundGroup:
    group: str
    kind: GroupKind
    topics: tuple[str, ...]
    question: str = ""
    job: str | None = None


@dataclass(frozen=True)
class FoundSink:
    """A sink; `advice` are lines about its dead letters, none when they are kept with their reason.

    `group` is None for Connect's own name, `connect-NAME`.
    """

    connector: str
    kind: str
    table: str | None
    dlq: str | None
    group: str | None = None
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundPipeline:
    """What `cdc.yml` says of a pipeline; `notes` are facts and questions about the whole of it.

    `kept` are settings that a person has added to it before, the whole entry where `is_as_written`
    (`bot.discovery.kept`).
    """

    name: str
    source: str | None = None
    source_kind: str = ""
    tables: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    consumers: tuple[FoundGroup, ...] = ()
    sink: FoundSink | None = None
    notes: tuple[str, ...] = ()
    kept: Mapping[str, Any] = field(default_factory=dict)
    is_as_written: bool = False


@dataclass(frozen=True)
class Findings:
    """The pipelines, and what is in none of them: each of `remarks` is a line for a person."""

    pipelines: tuple[FoundPipeline, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def questions(self) -> int:
        """How many lines end with a question."""
        lines = [*self.remarks]
        for pipeline in self.pipelines:
            lines += [*pipeline.notes, *(each.question for each in pipeline.consumers)]
            lines += pipeline.sink.advice if pipeline.sink else ()
        return sum(line.endswith("?") for line in lines)


@dataclass
class _Draft:
    """A pipeline while it is put together; `names` are candidates, best first."""

    names: tuple[str, ...]
    topics: tuple[str, ...]
    source: ConnectorFacts | None = None
    sink: ConnectorFacts | None = None
    groups: list[FoundGroup] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def judge(facts: Facts) -> Findings:
    """Return the pipelines the facts speak of, by name."""
    remarks: list[str] = []
    connectors = [
        each
        for each in sorted(facts.connectors or (), key=lambda each: each.name)
        if _is_nameable(each.name, "connector", remarks)
    ]
    groups = [
        each
        for each in sorted(facts.groups or (), key=lambda each: each.group)
        if not _CONSOLE.fullmatch(each.group) and _is_nameable(each.group, "consumer group", remarks)
    ]
    drafts = _from_connectors(connectors, facts)
    is_without_connect = not connectors and "Connect" not in (part for part, _ in facts.unreached)
    drafts += _from_readers(groups) if is_without_connect else []
    _add_groups(drafts, groups, connectors, facts)
    pipelines = _subjects_added(_named(drafts), drafts, facts)
    if connectors or is_without_connect:
        remarks += _not_in_any(pipelines, connectors, groups, facts)
    return Findings(tuple(sorted(pipelines, key=lambda each: each.name)), tuple(remarks))


# --- connectors ----------------------------------------------------------------------------------


def _from_connectors(connectors: Sequence[ConnectorFacts], facts: Facts) -> list[_Draft]:
    sinks = [each for each in connectors if each.type == "sink"]
    queues = {queue for each in sinks if (queue := dead_letter_queue(each))}
    drafts: list[_Draft] = []
    for source in (each for each in connectors if each.type == "source"):
        topics = tuple(topic for topic in written_topics(source, facts.topics) if topic not in queues)
        notes = _source_notes(source, topics) + _topic_notes(source, facts)
        drafts.append(_Draft(_source_names(source, topics), topics, source, notes=notes))
    with_source = list(drafts)
    reads = {sink.name: read_topics(sink, facts.topics) for sink in sinks}
    homes = {sink.name: _best(with_source, reads[sink.name]) for sink in sinks}

    def rank(sink: ConnectorFacts) -> tuple[int, bool, str]:
        home = homes[sink.name]
        is_namesake = home is not None and _stripped(sink.name, _SYSTEMS) == home.names[0]
        return -_shared(home, reads[sink.name]), not is_namesake, sink.name

    for sink in sorted(sinks, key=rank):
        topics, home = reads[sink.name], homes[sink.name]
        name = sink_group(sink)
        groups = [] if name is None else [FoundGroup(name, GroupKind.CONNECT_SINK, topics)]
        if (found := coordinator(sink, facts.topics)) is not None:
            groups.append(FoundGroup(found[0], GroupKind.CONSUMER, (found[1],)))
        notes = _topic_notes(sink, facts)
        questions = name_questions(sink, topics)
        if home is not None and home.sink is None:
            home.sink = sink
            home.groups += groups
            home.notes += notes + questions
            continue
        if not topics and not notes:
            notes.append(f"`topics` of {sink.name} could not be read off its config. Which does it read?")
        if home is not None and home.source is not None:
            notes.append(f"A second sink of what {home.source.name} writes; a pipeline has one.")
        drafts.append(_Draft(_sink_names(sink), topics, sink=sink, groups=groups, notes=notes + questions))
    return drafts


def _source_notes(source: ConnectorFacts, topics: Collection[str]) -> list[str]:
    notes = []
    if not topics and not source.used_topics:
        notes.append(f"{source.name} has written to no topic that could be seen. Which topics does it write?")
    for side in ("key", "value"):
        strategy = source.settings.get(f"{side}.converter.{side}.subject.name.strategy", "")
        if strategy and not strategy.endswith(".TopicNameStrategy"):
            name = strategy.rpartition(".")[2]
            notes.append(f"Its {side}s are registered by {name}: which subjects are they?")
    return notes


def _topic_notes(connector: ConnectorFacts, facts: Facts) -> list[str]:
    """What is not certain of a connector's topics."""
    question, missing = pattern_question(connector, facts.topics), missing_topics(connector, facts.topics)
    questions = [question] if question else []
    if not missing:
        return questions
    does = "is to read" if connector.type == "sink" else "has written to"
    shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
    return [
        *questions,
        f"{connector.name} {does} what the cluster does not list: {shown}. Gone, or not shown to this login?",
    ]


def _advice(sink: ConnectorFacts, pipeline: str) -> tuple[str, ...]:
    """What a person should know of a sink's dead letters (KIP-298); `errors.tolerance` is none by default."""
    settings = sink.settings
    is_tolerant = settings.get("errors.tolerance", "none").lower() == "all"
    if not settings.get("errors.deadletterqueue.topic.name"):
        to_add = (
            '  "errors.tolerance": "all"',
            f'  "errors.deadletterqueue.topic.name": "dlq.{pipeline}"',
            '  "errors.deadletterqueue.context.headers.enable": "true"',
        )
        if is_tolerant:
            return ("It drops what it cannot read, and keeps nothing. To keep it, in its config:", *to_add[1:])
        return ("One record that it cannot read stops it. To put such records aside, in its config:", *to_add)
    if not is_tolerant:
        return ("errors.tolerance is none: one record that it cannot read stops it, whatever queue is named.",)
    if dead_letter_queue(sink) is None:
        return ("Its dead letter queue is filled in by a config provider. Which topic is it?",)
    if settings.get("errors.deadletterqueue.context.headers.enable", "false").lower() != "true":
        return ('Its dead letters do not say why; "errors.deadletterqueue.context.headers.enable": "true" adds it.',)
    return ()


# --- groups --------------------------------------------------------------------------------------


def _from_readers(groups: Sequence[GroupEntry]) -> list[_Draft]:
    """A pipeline per set of topics with the same readers, the largest sets first: they take their groups."""
    readers: dict[str, set[str]] = {}
    for group in groups:
        for topic in group.topics or ():
            readers.setdefault(topic, set()).add(group.group)
    sets: dict[frozenset[str], list[str]] = {}
    for topic in sorted(readers):
        sets.setdefault(frozenset(readers[topic]), []).append(topic)
    by_size = sorted(sets.values(), key=lambda topics: (-len(topics), topics))
    return [_Draft(_topic_names(topics), tuple(topics)) for topics in by_size]


def _add_groups(
    drafts: list[_Draft], groups: Sequence[GroupEntry], connectors: Sequence[ConnectorFacts], facts: Facts
) -> None:
    owned = {each.group for draft in drafts for each in draft.groups}
    known = {each.name for each in connectors}
    for group in groups:
        home = _best(drafts, group.topics or ())
        if home is not None and group.group not in owned:
            home.groups.append(_found_group(group, known if facts.connectors is not None else None))
    if not connectors:
        drafts[:] = [draft for draft in drafts if draft.groups]


def _found_group(group: GroupEntry, connectors: Collection[str] | None) -> FoundGroup:
    """Return the group with its kind; `connectors` are those of the Connect cluster, None where it was not asked."""
    topics = group.topics or ()
    if group.group.startswith("connect-") and not group.simple:
        name = group.group.removeprefix("connect-")
        question = "" if connectors is None else f"No connector {name} in this Connect cluster: is there another one?"
        return FoundGroup(group.group, GroupKind.CONNECT_SINK, topics, question)
    if "flink" in group.group.lower():
        return FoundGroup(group.group, GroupKind.FLINK, topics)
    if group.simple and group.state == "EMPTY":
        return FoundGroup(group.group, GroupKind.FLINK, topics, "Commits without members, as Flink does: is it Flink?")
    return FoundGroup(group.group, GroupKind.CONSUMER, topics)


def _best(drafts: Iterable[_Draft], topics: Collection[str]) -> _Draft | None:
    """Return the draft with most of `topics`, the first of equals; None when none has any."""
    ranked = [(_shared(draft, topics), draft) for draft in drafts]
    most = max((shared for shared, _ in ranked), default=0)
    return next((draft for shared, draft in ranked if shared == most), None) if most else None


def _shared(draft: _Draft | None, topics: Collection[str]) -> int:
    return len(set(draft.topics) & set(topics)) if draft else 0


# --- names, subjects, and the rest ---------------------------------------------------------------


def _source_names(source: ConnectorFacts, topics: Sequence[str]) -> tuple[str, ...]:
    return (_stripped(source.name, _SYSTEMS), *(_topic_names(topics)[:1] if len(topics) == 1 else ()), source.name)


def _sink_names(sink: ConnectorFacts) -> tuple[str, ...]:
    return (_stripped(sink.name, "sink|connector"), sink.name)


def _topic_names(topics: Sequence[str]) -> tuple[str, ...]:
    return (topics[0].rpartition(".")[2], topics[0]) if topics else ()


def _stripped(name: str, words: str) -> str:
    """Return the name without the words that say what kind of thing it is, at its ends; empty when they are all."""
    parts = [part for part in re.split(r"[-_. ]+", name) if part]
    while parts and re.fullmatch(words, parts[-1], re.IGNORECASE):
        parts.pop()
    while parts and re.fullmatch(words, parts[0], re.IGNORECASE):
        parts.pop(0)
    return name[name.find(parts[0]) : name.rfind(parts[-1]) + len(parts[-1])] if parts else ""


def _named(drafts: Sequence[_Draft]) -> list[str]:
    """Return one name per draft: its best candidate that nobody has, with a number where all are taken."""
    taken: set[str] = set()
    names = []
    for draft in drafts:
        candidates = [each for each in map(_valid_name, draft.names) if each] or ["pipeline"]
        numbered = (f"{candidates[-1][:76]}-{number}" for number in range(2, len(drafts) + 3))
        name = next(each for each in (*candidates, *numbered) if each not in taken)
        taken.add(name)
        names.append(name)
    return names


def _valid_name(name: str) -> str:
    return re.sub(r"^[^A-Za-z0-9]+", "", re.sub(r"[^A-Za-z0-9._-]+", "-", name))[:80].rstrip("-._")


def _subjects_added(names: Sequence[str], drafts: Sequence[_Draft], facts: Facts) -> list[FoundPipeline]:
    left = set(facts.subjects or ())
    pipelines = []
    for name, draft in zip(names, drafts, strict=True):
        wanted = [f"{topic}-{side}" for topic in draft.topics for side in ("value", "key")]
        subjects = tuple(subject for subject in wanted if subject in left)
        left -= set(subjects)
        sink, source = draft.sink, draft.source
        pipelines.append(
            FoundPipeline(
                name=name,
                source=source.name if source else None,
                source_kind=kind(source) if source else "",
                tables=tables(source) if source else (),
                topics=draft.topics,
                subjects=subjects,
                consumers=tuple(draft.groups),
                sink=FoundSink(
                    sink.name,
                    kind(sink),
                    sink_table(sink, read_topics(sink, facts.topics)),
                    dead_letter_queue(sink),
                    overridden_group(sink),
                    _advice(sink, name),
                )
                if sink
                else None,
                notes=tuple(draft.notes),
            )
        )
    return pipelines


def _not_in_any(
    pipelines: Sequence[FoundPipeline],
    connectors: Sequence[ConnectorFacts],
    groups: Sequence[GroupEntry],
    facts: Facts,
) -> list[str]:
    """Return a line for each kind of thing that stands in no pipeline."""
    topics = {topic for each in pipelines for topic in each.topics} | {
        topic for each in pipelines for consumer in each.consumers for topic in consumer.topics
    }
    queues = {each.sink.dlq for each in pipelines if each.sink}
    own = {topic for each in connectors for topic in each.used_topics or ()}
    others = [
        topic for topic in sorted(facts.topics or ()) if topic not in topics | queues | own and not is_internal(topic)
    ]
    subjects = [
        subject
        for subject in sorted(facts.subjects or ())
        if not subject.startswith("__") and not any(subject in each.subjects for each in pipelines)
    ]
    unknown = [each.name for each in connectors if each.type not in ("source", "sink")]
    unasked = [each.group for each in groups if each.topics is None]
    whose = "no connector here writes or reads" if connectors else "no group reads"
    remarks = [
        _remark(others, f"topic that {whose}", f"topics that {whose}"),
        _remark(subjects, "subject of no topic above", "subjects of no topic above"),
        _remark(unknown, "connector that is neither source nor sink", "connectors that are neither source nor sink"),
        _remark(unasked, "group whose topics could not be read", "groups whose topics could not be read"),
    ]
    return [remark for remark in remarks if remark]


def _remark(names: Sequence[str], one: str, many: str, most: int = 8) -> str:
    shown = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    return f"{len(names)} {one if len(names) == 1 else many}: {shown}" if names else ""


def _is_nameable(name: str, what: str, remarks: list[str]) -> bool:
    """Whether `cdc.yml` can hold the name: no control characters, not blank."""
    if is_name(name):
        return True
    remarks.append(f"A {what} with control characters in its name was left out: {name!a}")
    return False
