"""Which task failed and why, and did the connector deliver anything?

The facts are the document of `cdc connector --json` (contract.md) with `failed_tasks`, `refusal` and
`delivered_total`. RUNNING means only that nothing left poll(): `delivered_total` is what proves progress. For a source
it is the sum of the log end offsets of its topics, for a sink of what its group committed; None when not known.
A trace can be of an earlier failure (after a task restart, until start() returns): it is never proof of a new one.
Traces are shown without row values and credentials; configs are not shown at all. A task's `cause` is the innermost
exception in one line, or, for a schema that a registry refused, one sentence about the refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from bot.incident.refusals import Refusals
from bot.model import Finding, Pipeline, Signal, Status, counted
from bot.ports import Connect, ConnectorState, Kafka, PortError, SchemaRegistry, SubjectState
from bot.probes.refusal import SchemaRefusal, completed, read_refusal, sentence
from bot.probes.sources import Sources, unseen
from bot.redact import cause_of, redact

PROBE = "connector_state"

TRACE_CHARACTERS = 16_000
FIELD_LOOKUP_VERSIONS = 2

_WORST_FIRST = ("FAILED", "UNASSIGNED", "RESTARTING", "STOPPED", "PAUSED", "RUNNING")


@dataclass(frozen=True)
class ConnectorFacts:
    """`subject` is the registry's state of the refused subject, asked for when a trace tells of a refusal.

    `refusals` are what is remembered of them: a trace has no time. `refused_at` is that of one that is not, None where
    it may be of any time; `first_seen` as in `Sources`.
    """

    connector: str
    state: ConnectorState | None = None
    subject: SubjectState | None = None
    delivered_total: int | None = None
    error: PortError | None = None
    not_known: tuple[str, ...] = ()
    refusals: tuple[Refusals, ...] = ()
    refused_at: datetime | None = None
    first_seen: Mapping[tuple[str, int], datetime] = field(default_factory=dict)


def gather(
    connect: Connect,
    kafka: Kafka | None,
    registry: SchemaRegistry | None,
    connector: str,
    topics: Sequence[str],
    deadline_s: float,
) -> ConnectorFacts:
    """Read the connector, then what it delivered to (a source) or from (a sink) `topics`, and a refused subject."""
    try:
        state = connect.read_connector(connector, deadline_s * 0.5)
    except PortError as error:
        return ConnectorFacts(connector, error=error)
    not_known: list[str] = list(state.not_known)
    delivered_total = _delivered(kafka, state, topics, deadline_s * 0.25, not_known)
    subject = None
    refusal = _refusal_of(state)
    if refusal is not None and refusal.subject is not None and registry is not None:
        try:
            subject = registry.read_subject(refusal.subject, FIELD_LOOKUP_VERSIONS, deadline_s * 0.25)
        except PortError as error:
            not_known.append(f"which version of {refusal.subject} the refused schema conflicts with: {error}")
    return ConnectorFacts(connector, state, subject, delivered_total, not_known=tuple(not_known))


def judge(facts: ConnectorFacts, now: datetime) -> Finding:
    """Return red when the connector or a task FAILED, yellow for any other state than RUNNING, green for RUNNING.

    The verdict is the worst state as the API spells it, or NO_TASKS: RUNNING without tasks moves nothing.
    """
    state = facts.state
    if state is None:
        return unseen(
            PROBE, facts.connector, Signal.CONNECTOR, now, facts.error, _nothing(facts.connector), "Kafka Connect"
        )
    refusal = _refusal_of(state)
    refusal = _completed(refusal, facts) if refusal else None
    causes = {task.task: _cause(task.trace, facts) for task in state.tasks}
    tasks = [
        {
            "task": task.task,
            "state": task.state,
            "worker": task.worker,
            "cause": causes[task.task],
            "trace": _shown(task.trace),
        }
        for task in state.tasks
    ]
    failed = [task.task for task in state.tasks if task.state == "FAILED"]
    document = {
        "connector": state.connector,
        "type": state.type,
        "state": state.state,
        "tasks": tasks,
        "not_known": list(facts.not_known),
        "worker": state.worker,
        "cause": cause_of(state.trace),
        "failed_tasks": failed,
        "refusal": asdict(refusal) if refusal else None,
        "delivered_total": facts.delivered_total,
    }
    verdict = _verdict(state)
    return Finding(
        probe=PROBE,
        target=state.connector,
        verdict=verdict,
        status=_status(verdict),
        headline=_headline(state, verdict, failed, _why(state, causes, facts)),
        at=now,
        signal=Signal.CONNECTOR,
        facts=document,
        evidence=_evidence(state, verdict, causes, refusal, facts),
        not_known=facts.not_known,
    )


def connector_of(
    sources: Sources,
    connector: str,
    now: Callable[[], datetime],
    topics: Sequence[str] = (),
    deadline_s: float | None = None,
    pipeline: str = "",
) -> Finding:
    """Return the finding of one connector of a pipeline; `topics` are what it writes (a source) or reads (a sink)."""
    facts = (
        ConnectorFacts(connector)
        if sources.connect is None
        else gather(
            sources.connect, sources.kafka, sources.registry, connector, topics, deadline_s or sources.deadline_s
        )
    )
    at = now()
    known = replace(
        facts,
        refusals=tuple(sources.refusals_of(pipeline)) if pipeline else (),
        refused_at=at if sources.remembers else None,
        first_seen=sources.first_seen,
    )
    return judge(known, at)


def probe(sources: Sources, pipeline: Pipeline, now: Callable[[], datetime]) -> tuple[Finding, ...]:
    """Return one finding per connector of the pipeline, the source first."""
    share_s = sources.deadline_s / max(1, len(pipeline.connectors))
    return tuple(
        connector_of(sources, name, now, pipeline.topics, share_s, pipeline.name) for name in pipeline.connectors
    )


def _refusal_of(state: ConnectorState) -> SchemaRefusal | None:
    traces = [task.trace for task in state.tasks if task.state == "FAILED"]
    traces += [state.trace] if state.state == "FAILED" else []
    return next((found for trace in traces if trace and (found := read_refusal(trace))), None)


def _delivered(
    kafka: Kafka | None, state: ConnectorState, topics: Sequence[str], deadline_s: float, not_known: list[str]
) -> int | None:
    """Return the sum of log end offsets (source) or committed offsets (sink), None when any part is not known."""
    what = f"what {state.connector} delivered"
    if kafka is None or not topics or state.type not in ("source", "sink"):
        lacking = "Kafka is not configured" if kafka is None else "its topics are not known"
        not_known.append(f"{what}: {lacking}; RUNNING alone proves nothing")
        return None
    try:
        if state.type == "source":
            ends = [kafka.read_topic(topic, deadline_s / len(topics)).end_total for topic in topics]
            total = sum(end for end in ends if end is not None) if None not in ends else None
        else:
            group = state.config.get("consumer.override.group.id") or f"connect-{state.connector}"
            read = kafka.read_group(group, topics, deadline_s)
            committed = [p.committed for p in read.partitions if p.committed is not None or not p.committed_known]
            known = [offset for offset in committed if offset is not None]
            # Nothing committed yet is 0 delivered, which a later commit is compared with.
            total = sum(known) if len(known) == len(committed) and read.partitions else None
            if total is None and read.not_known:
                not_known.append(f"{what}: {'; '.join(read.not_known)}")
                return None
    except PortError as error:
        not_known.append(f"{what}: {error}")
        return None
    if total is None:
        not_known.append(f"{what}: some offsets could not be read")
    return total


def _verdict(state: ConnectorState) -> str:
    states = [state.state, *(task.state for task in state.tasks)]
    worst = next((word for word in _WORST_FIRST if word in states), "")
    strange = next((word for word in states if word not in _WORST_FIRST), None)
    if worst != "FAILED" and strange:
        return strange
    # A stopped connector has no tasks by design.
    if state.state == "RUNNING" and not state.tasks:
        return "NO_TASKS"
    return worst


def _status(verdict: str) -> Status:
    return {"FAILED": Status.RED, "RUNNING": Status.GREEN}.get(verdict, Status.YELLOW)


def _headline(state: ConnectorState, verdict: str, failed: Sequence[int], why: str | None) -> str:
    if verdict == "FAILED":
        who = f"task {', '.join(map(str, failed))} FAILED" if failed else "connector FAILED"
        return f"{who}: {why}" if why else who
    if verdict == "NO_TASKS":
        return "connector RUNNING, but it has no tasks: nothing moves"
    running = sum(task.state == "RUNNING" for task in state.tasks)
    return f"connector {state.state}, {running} of {counted(len(state.tasks), 'task')} RUNNING"


def _completed(refusal: SchemaRefusal, facts: ConnectorFacts) -> SchemaRefusal:
    """Return the refusal with what it lacks, as of the time when it was told first: its trace stays after a repair."""
    told = next((one.last for one in facts.refusals if one.last and one.subject == refusal.subject), None)
    if told is None or told.words != refusal.words:
        return completed(refusal, facts.subject, facts.refused_at, facts.first_seen)
    known = replace(refusal, registered_version=refusal.registered_version or told.registered_version)
    return completed(known, facts.subject, told.at, facts.first_seen)


def _cause(trace: str | None, facts: ConnectorFacts) -> str | None:
    """Return the cause for a person: a refused schema in a sentence, anything else as the exception words it."""
    refusal = read_refusal(trace) if trace else None
    return sentence(_completed(refusal, facts)) if refusal else cause_of(trace)


def _why(state: ConnectorState, causes: Mapping[int, str | None], facts: ConnectorFacts) -> str | None:
    """Return the cause that the headline tells: a refusal before anything else, then the first known."""
    traces = [(task.trace, causes[task.task]) for task in state.tasks if task.state == "FAILED"]
    if state.state == "FAILED":
        traces.append((state.trace, _cause(state.trace, facts)))
    told = sorted(
        ((trace, cause) for trace, cause in traces if trace and cause), key=lambda one: read_refusal(one[0]) is None
    )
    return told[0][1] if told else None


def _evidence(
    state: ConnectorState,
    verdict: str,
    causes: Mapping[int, str | None],
    refusal: SchemaRefusal | None,
    facts: ConnectorFacts,
) -> tuple[str, ...]:
    """Return what the headline does not say: where, the other causes, the registry's own words, what was delivered."""
    lines = []
    why = _why(state, causes, facts)
    failed = [task for task in state.tasks if task.state == "FAILED"]
    for cause in dict.fromkeys(causes[task.task] for task in failed):
        who = ", ".join(
            f"task {task.task} on {task.worker or 'an unknown worker'}" for task in failed if causes[task.task] == cause
        )
        lines.append(who if cause in (why, None) else f"{who}: {cause}")
    if state.state == "FAILED":
        cause = _cause(state.trace, facts)
        where = f"connector on {state.worker or 'an unknown worker'}"
        lines.append(where if cause in (why, None) else f"{where}: {cause}")
    if refusal:
        lines.append(f"the registry's words: {refusal.words}")
        if refusal.field_is_looked_up:
            lines.append(f"field {refusal.field} is what stands at {refusal.path} in the registered schema")
    if facts.delivered_total is not None:
        unit = "records in its topics" if state.type == "source" else "records committed by its group"
        lines.append(f"{facts.delivered_total:,} {unit} (offsets)")
    elif verdict == "RUNNING":
        lines.append("RUNNING means only that nothing left poll(); what it delivered is not known")
    return tuple(lines)


def _shown(trace: str | None) -> str | None:
    if not trace:
        return None
    text = redact(trace)
    if len(text) <= TRACE_CHARACTERS:
        return text
    half = TRACE_CHARACTERS // 2
    return f"{text[:half]}\n... {len(text) - TRACE_CHARACTERS:,} characters left out ...\n{text[-half:]}"


def _nothing(connector: str) -> dict[str, Any]:
    return {
        "connector": connector,
        "type": None,
        "state": None,
        "tasks": [],
        "worker": None,
        "cause": None,
        "failed_tasks": [],
        "refusal": None,
        "delivered_total": None,
    }
