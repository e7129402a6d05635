"""The bot's metrics: Prometheus text out of values, and the counters that make it alertable.

`render` is a pure function of a Snapshot. What is not known is an absent series, never 0 and never NaN: an alert
on absence (CDCProbeBlind) speaks for it. Counters are measured by us from broker offsets, are monotonic, and start
at 0 as soon as there is something to count, so that the first dead letter and the first refusal are an increase.

Rules of the counters
    An offset counter grows by the difference of two looks. A sum that went back (a topic made anew, a group
    rewound) is a new baseline, not a negative and not a huge number. A topic that does not exist is at 0.
    A refusal is counted when a FAILED task shows a trace that it did not show before. The same trace counts again
    only after the task was seen running: a restart that fails again is another refusal. One
    for a frozen subject is none. Those of the registry's log,
    of CI runs and of Prometheus come through the inbox and are counted there (`incident.refusals`).
    One refusal may be seen by more than one source: compare sources, never add them.

This module keeps nothing: the monitor hands in the last counters and gets the next ones. The lag of groups is written
by `lag_metrics`, from the sampler's looks; of a group that the sampler does not tell of, from the pipeline's findings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bot.incident.announce import LANES
from bot.incident.refusals import FROM_CONNECT, SUBJECT_NOT_KNOWN, RefusedSchema, subjects_of
from bot.lag.verdict import Verdict
from bot.lag_metrics import EXPORTER_FAMILIES, FAMILIES, render_looks, sees
from bot.model import Finding, Pipeline, Severity, Signal, counted
from bot.probes.consumer_lag import PROBE as CONSUMER_LAG
from bot.probes.consumer_lag import Look
from bot.probes.refusal import SchemaRefusal, read_refusal
from bot.probes.sources import DENIED, MISSING, NOT_CONFIGURED, UNREACHABLE, UNSEEN

BLIND = frozenset({DENIED, UNREACHABLE})
WEBHOOK_RESULTS = ("stored", "unauthorised", "too_large", "not_stored", "disconnected")
INBOX_STUCK_S = 60.0
OUTBOX_WAITS_S = 30.0
OUTBOX_ATTEMPTS = 2
OUTBOX_LATE_S = 300.0
PROBES_LATE_S = 600.0
SAMPLES_LATE_PASSES = 3
LINKS_DOWN_S = 60.0

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Counters:
    """Monotonic counts by labels, and what they were last compared with. All keys are tuples of label values."""

    dead_letters: Mapping[Labels, int] = field(default_factory=dict)
    processed: Mapping[Labels, int] = field(default_factory=dict)
    conflicts: Mapping[Labels, int] = field(default_factory=dict)
    last_offsets: Mapping[Labels, int] = field(default_factory=dict)
    last_traces: Mapping[Labels, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """What the runner knows at one time. `findings` are the last pass, by pipeline; ages are seconds.

    `conflicts` are the refused schemas that came through the inbox; those of traces are in `counters`.

    `incidents_open` counts by severity; `last_pass_s` is the age of the probe pass, None before the first. `links`
    are the connections of Socket Mode that stand, None where Slack comes to us; `links_down_s` is how long none does.
    `outbox_waits_s` is the age of the oldest message that waits and is not one of `outbox_held`: replies whose card was
    refused. `speechless` says what keeps the bot from speaking in Slack. `sampled` is the last look at every watched
    group, `sampled_s` the age of that pass, None before the first. `exporter_names`: kafka_exporter's names, too.
    `sampling_wrong` says why there are no new samples, or none on disk.
    """

    version: str
    findings: Mapping[str, Sequence[Finding]] = field(default_factory=dict)
    counters: Counters = Counters()
    conflicts: Mapping[Labels, int] = field(default_factory=dict)
    notice: str = ""
    write_error: str = ""
    inbox_depth: int | None = None
    inbox_oldest_s: float | None = None
    outbox_depth: Mapping[str, int] = field(default_factory=dict)
    outbox_oldest_s: float | None = None
    outbox_attempts: int = 0
    tasks_depth: Mapping[str, int] = field(default_factory=dict)
    incidents_open: Mapping[Severity, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    webhooks: Mapping[str, int] = field(default_factory=dict)
    unreadable: int = 0
    outbox_failed: int = 0
    outbox_waits_s: float | None = None
    outbox_held: int = 0
    outbox_error: str = ""
    outbox_refusal: str = ""
    last_pass_s: float | None = None
    links: int | None = None
    links_down_s: float | None = None
    links_error: str = ""
    links_greeted: bool = False
    speechless: tuple[str, ...] = ()
    sampled: Sequence[Look] = ()
    sampled_s: float | None = None
    sample_every_s: float = 30.0
    exporter_names: bool = False
    sampling_wrong: tuple[str, ...] = ()


# --- counters ------------------------------------------------------------------------------------


def advance(previous: Counters, pipeline: Pipeline, findings: Sequence[Finding]) -> Counters:
    """Return the counters after one more pass over `pipeline`; what a pass could not see leaves them as they were."""
    dead, processed, conflicts = dict(previous.dead_letters), dict(previous.processed), dict(previous.conflicts)
    offsets, traces = dict(previous.last_offsets), dict(previous.last_traces)
    for subject in _subjects(pipeline):
        conflicts.setdefault((pipeline.name, subject, FROM_CONNECT), 0)
    for finding in findings:
        if finding.signal is Signal.DEAD_LETTERS:
            end = 0 if finding.verdict == MISSING else _whole(finding.facts.get("end_total"))
            _grow(dead, offsets, (pipeline.name, finding.target), "dead_letters", end)
        elif finding.signal is Signal.CONNECTOR and finding.verdict not in UNSEEN:
            for refusal in _refused(pipeline, finding, traces):
                if refusal.frozen:
                    continue
                key = (pipeline.name, refusal.subject or SUBJECT_NOT_KNOWN, FROM_CONNECT)
                conflicts[key] = conflicts.get(key, 0) + 1
    _grow(processed, offsets, (pipeline.name,), "processed", _processed(pipeline, findings))
    return Counters(dead, processed, conflicts, offsets, traces)


def _grow(counts: dict[Labels, int], offsets: dict[Labels, int], key: Labels, what: str, total: int | None) -> None:
    if total is None:
        return
    before = offsets.get((what, *key), total)
    counts[key] = counts.get(key, 0) + max(0, total - before)
    offsets[(what, *key)] = total


def _processed(pipeline: Pipeline, findings: Sequence[Finding]) -> int | None:
    """Return how far the pipeline has come: its sink's own group, else its first group. One group, or each counts."""
    own = pipeline.sink.consumer_group if pipeline.sink else None
    names = [own] if own else [group.group for group in pipeline.groups[:1]]
    for finding in findings:
        if finding.signal is Signal.LAG and finding.target in names:
            return _whole(finding.facts.get("committed_total"))
    return None


def newly_refused(
    previous: Counters, pipeline: Pipeline, findings: Sequence[Finding]
) -> tuple[tuple[str, RefusedSchema], ...]:
    """Return (key, refusal) of each that `advance` would count: the same again while its counters were not saved."""
    traces, counts = dict(previous.last_traces), dict(previous.conflicts)
    told = []
    for finding in findings:
        if finding.signal is not Signal.CONNECTOR or finding.verdict in UNSEEN:
            continue
        for refusal in _refused(pipeline, finding, traces):
            subject = refusal.subject or SUBJECT_NOT_KNOWN
            place = (pipeline.name, subject, FROM_CONNECT)
            counts[place] = counts.get(place, 0) + 1  # of frozen ones, too: here it only tells one from the next
            words = hashlib.sha256(refusal.words.encode("utf-8", "replace")).hexdigest()[:16]
            completed = finding.facts.get("refusal") or {}
            is_same = completed.get("subject") == subject and completed.get("words") == refusal.words
            version = completed.get("registered_version") if is_same else refusal.registered_version
            refused = RefusedSchema(
                FROM_CONNECT, subject, finding.at, refusal.field, refusal.path, version,
                words=refusal.words, more=refusal.more, is_frozen=refusal.frozen, pipeline=pipeline.name,
            )  # fmt: skip
            told.append((f"{FROM_CONNECT}:{pipeline.name}:{finding.target}:{subject}:{counts[place]}:{words}", refused))
    return tuple(told)


def _refused(pipeline: Pipeline, finding: Finding, traces: dict[Labels, str]) -> Iterator[SchemaRefusal]:
    """Yield every refusal that is new, and remember the traces seen; a task that runs is forgotten."""
    parts = [{**finding.facts, "task": "connector", "trace": finding.facts.get("cause")}]
    parts += [dict(task) for task in finding.facts.get("tasks", ())]
    for part in parts:
        key = (pipeline.name, finding.target, str(part.get("task")))
        if part.get("state") == "RUNNING":
            traces.pop(key, None)
        if part.get("state") != "FAILED" or not part.get("trace"):
            continue
        trace = str(part["trace"])
        name = hashlib.sha256(trace.encode()).hexdigest()[:16]
        if traces.get(key) == name:
            continue
        traces[key] = name
        if (refusal := read_refusal(trace)) is not None:
            yield refusal


def _subjects(pipeline: Pipeline) -> tuple[str, ...]:
    """The subjects to start at 0."""
    return (*subjects_of(pipeline), SUBJECT_NOT_KNOWN)


def conflicts_of(
    told: Mapping[tuple[str, str, str], int], pipelines: Sequence[Pipeline], sources: Sequence[str]
) -> dict[Labels, int]:
    """Return the refusals that were told, of each subject of a pipeline and each source from 0 on."""
    counts: dict[Labels, int] = {
        (one.name, subject, source): 0 for one in pipelines for subject in subjects_of(one) for source in sources
    }
    return counts | dict(told)


def counters_document(counters: Counters) -> dict[str, list[list[Any]]]:
    """Return the counters as JSON, to be kept over a restart: what was refused meanwhile is then still counted."""
    return {
        name: [[*labels, value] for labels, value in getattr(counters, name).items()]
        for name in ("dead_letters", "processed", "conflicts", "last_offsets", "last_traces")
    }


def read_counters(document: Mapping[str, Sequence[Sequence[Any]]]) -> Counters:
    """Return the counters of `counters_document`; what is missing begins anew."""

    def read(name: str) -> dict[Labels, Any]:
        return {tuple(map(str, row[:-1])): row[-1] for row in document.get(name, ())}

    return Counters(
        read("dead_letters"), read("processed"), read("conflicts"), read("last_offsets"), read("last_traces")
    )


# --- health --------------------------------------------------------------------------------------


def health(snapshot: Snapshot) -> tuple[bool, tuple[str, ...]]:
    """Return (alive, what is wrong). Not alive is what a restart may cure: the inbox stands still.

    A system that is down, a wrong token or an unreadable request is told and does not make the bot unhealthy.
    """
    stuck = snapshot.inbox_oldest_s is not None and snapshot.inbox_oldest_s > INBOX_STUCK_S
    refused, blind = snapshot.webhooks.get("unauthorised", 0), _blind(snapshot)
    told = (
        (bool(snapshot.notice), snapshot.notice),
        (bool(snapshot.write_error), f"the journal could not be written: {snapshot.write_error}"),
        (stuck, f"the inbox stands still: {snapshot.inbox_depth} wait, the oldest {_seconds(snapshot.inbox_oldest_s)}"),
        (
            _is_waiting(snapshot),
            f"Slack messages wait, the oldest {_seconds(snapshot.outbox_waits_s)}: {snapshot.outbox_error}",
        ),
        (snapshot.outbox_failed > 0, _refused_by_slack(snapshot)),
        (
            refused > 0,
            f"{counted(refused, 'webhook request')} came with a wrong token: Alertmanager does not retry soon",
        ),
        (snapshot.unreadable > 0, f"{counted(snapshot.unreadable, 'request')} could not be read, kept in the inbox"),
        *((True, line) for line in (*snapshot.speechless, *snapshot.sampling_wrong)),
        (_is_deaf(snapshot), _deaf(snapshot)),
        (_is_old(snapshot), f"the probes last looked {_seconds(snapshot.last_pass_s)} ago"),
        (bool(blind), f"cannot see: {', '.join(blind)}"),
    )
    return not stuck, tuple(line.rstrip(": ") for wrong, line in told if wrong)


def ready(snapshot: Snapshot) -> tuple[bool, tuple[str, ...]]:
    """Return (ready, what is wrong). Not ready: not alive, or what happens does not reach Slack."""
    alive, reasons = health(snapshot)
    return alive and not _is_late(snapshot), reasons


def _seconds(age_s: float | None) -> str:
    return "not known" if age_s is None else f"{age_s:.0f} s"


def _is_waiting(snapshot: Snapshot) -> bool:
    """Whether a message waits for long, or was tried again in vain; a post counts once out, once failed."""
    waits = snapshot.outbox_waits_s is not None and snapshot.outbox_waits_s > OUTBOX_WAITS_S
    return waits or snapshot.outbox_attempts > OUTBOX_ATTEMPTS


def _refused_by_slack(snapshot: Snapshot) -> str:
    held = snapshot.outbox_held
    waits = f", and {counted(held, 'message')} of the same thread not sent" if held else ""
    were = "was" if snapshot.outbox_failed == 1 else "were"
    return f"{counted(snapshot.outbox_failed, 'Slack message')} {were} refused ({snapshot.outbox_refusal}){waits}"


def _is_late(snapshot: Snapshot) -> bool:
    return snapshot.outbox_oldest_s is not None and snapshot.outbox_oldest_s > OUTBOX_LATE_S


def _is_deaf(snapshot: Snapshot) -> bool:
    """No connection for a minute, or none since the start and the reason is known."""
    down_s = snapshot.links_down_s
    return down_s is not None and (down_s > LINKS_DOWN_S or (not snapshot.links_greeted and bool(snapshot.links_error)))


def _deaf(snapshot: Snapshot) -> str:
    why = snapshot.links_error or "no reason is known"
    return f"Slack: not connected for {_seconds(snapshot.links_down_s)}: {why}; commands and clicks do not reach us"


def _is_old(snapshot: Snapshot) -> bool:
    return snapshot.last_pass_s is not None and snapshot.last_pass_s > PROBES_LATE_S


def _is_stale(snapshot: Snapshot) -> bool:
    """Whether the last samples are too old to be shown as what is: a lag of ten minutes ago is not known now."""
    late_s = max(PROBES_LATE_S, SAMPLES_LATE_PASSES * snapshot.sample_every_s)
    return snapshot.sampled_s is not None and snapshot.sampled_s > late_s


def _blind(snapshot: Snapshot) -> list[str]:
    return [
        f"{finding.target} ({name}, {finding.probe})"
        for name, findings in snapshot.findings.items()
        for finding in findings
        if finding.verdict in BLIND
    ]


# --- exposition ----------------------------------------------------------------------------------


def render(snapshot: Snapshot) -> bytes:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(lambda: _families(snapshot)))
    return generate_latest(registry) + _lag_text(snapshot).encode("utf-8", "replace")


def described() -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """Return (name, labels, what it says) of every metric there can be."""
    named = [
        (
            f"{family.name}_total" if family.type == "counter" else family.name,
            _label_names(family),
            family.documentation,
        )
        for family in _families(Snapshot(""))
    ]
    return (*((each.name, each.labels, each.text) for each in (*FAMILIES, *EXPORTER_FAMILIES)), *named)


class _Once(Collector):
    """What prometheus_client wants to be handed; it keeps no state of its own."""

    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return self._families()


def _families(snapshot: Snapshot) -> Iterator[Metric]:
    yield from _state_families(snapshot)
    counters, webhooks = snapshot.counters, dict.fromkeys(WEBHOOK_RESULTS, 0) | dict(snapshot.webhooks)
    yield _counter(
        "cdc_dead_letters", "Dead letters since counting began.", ("pipeline", "topic"), counters.dead_letters
    )
    yield _counter(
        "cdc_processed_messages",
        "Records committed by the pipeline's sink, or its first group, since counting began.",
        ("pipeline",),
        counters.processed,
    )
    yield _counter(
        "cdc_schema_registry_conflicts",
        "Schemas that a registry refused (409), by where that was seen; source `ci`: schemas that a CI run blocked.",
        ("pipeline", "subject", "source"),
        {**snapshot.conflicts, **counters.conflicts},
    )
    yield _gauge("cdc_inbox_depth", "Requests that wait to be handled.", (), {(): snapshot.inbox_depth})
    yield _gauge(
        "cdc_inbox_oldest_seconds",
        "Age of the oldest request that waits; 0 when none does.",
        (),
        {(): _age(snapshot.inbox_depth, snapshot.inbox_oldest_s)},
    )
    lanes = dict.fromkeys(LANES if snapshot.inbox_depth is not None else (), 0) | dict(snapshot.outbox_depth)
    yield _gauge("cdc_outbox_depth", "Messages that wait to be sent.", ("lane",), _by_name(lanes))
    yield _gauge(
        "cdc_outbox_oldest_seconds",
        "Age of the oldest message that waits, charts left out; 0 when none does.",
        (),
        {(): snapshot.outbox_oldest_s or 0.0},
    )
    yield _gauge("cdc_tasks_depth", "Probes, plans and actions that wait.", ("kind",), _by_name(snapshot.tasks_depth))
    yield _gauge(
        "cdc_incidents_open",
        "Incidents that are not resolved.",
        ("severity",),
        {(str(severity),): snapshot.incidents_open.get(severity, 0) for severity in Severity},
    )
    yield _gauge("cdc_slack_connections", "Connections of Socket Mode that stand.", (), {(): snapshot.links})
    yield _counter("cdc_errors", "What went wrong, by reason.", ("reason",), _by_name(snapshot.errors))
    yield _counter("cdc_webhook_requests", "Alertmanager's requests, by result.", ("result",), _by_name(webhooks))
    yield _gauge("cdc_build_info", "The running version.", ("version",), {(snapshot.version,): 1})


def _lag_text(snapshot: Snapshot) -> str:
    sampled, lags = _sampled(snapshot), dict[Labels, int | None]()
    verdicts = dict[tuple[str, str], tuple[str, int | None]]()
    for pipeline, findings in snapshot.findings.items():
        for finding in findings:
            told = (pipeline, finding.target)
            if finding.signal is not Signal.LAG or told in sampled or finding.verdict == NOT_CONFIGURED:
                continue
            verdicts[told] = (str(Verdict.UNKNOWN), None)
            if finding.verdict not in UNSEEN:
                partitions = list(_partitions(finding))
                verdicts[told] = (finding.verdict, sum(_is_unknown(partition) for _, partition in partitions))
                for topic, partition in partitions:
                    lags[(*told, topic, str(partition.get("partition")))] = _whole(partition.get("lag_records"))
    return render_looks(_shown(snapshot), snapshot.exporter_names, lags, verdicts)


def _sampled(snapshot: Snapshot) -> frozenset[tuple[str | None, str]]:
    """The pipelines' groups that the sampler tells of: what a finding says of them is not shown beside it."""
    return frozenset((look.watched.pipeline, look.watched.group) for look in snapshot.sampled)


def _shown(snapshot: Snapshot) -> Sequence[Look]:
    """Return the looks; without their judgement, which makes their numbers unknown, where they are too old."""
    return [replace(look, judgement=None) for look in snapshot.sampled] if _is_stale(snapshot) else snapshot.sampled


def _state_families(snapshot: Snapshot) -> Iterator[Metric]:
    connectors: dict[Labels, int | None] = {}
    tasks: dict[Labels, int | None] = {}
    up, sampled = _sampled_up(snapshot), _sampled(snapshot)
    for pipeline, findings in snapshot.findings.items():
        for finding in findings:
            is_told = finding.probe == CONSUMER_LAG and (pipeline, finding.target) in sampled
            if finding.verdict != NOT_CONFIGURED and not is_told:
                key = (pipeline, finding.probe)
                up[key] = min(up.get(key) or 0, _sees(finding)) if key in up else _sees(finding)
            if finding.signal is Signal.CONNECTOR and finding.verdict not in UNSEEN:
                if state := finding.facts.get("state"):
                    connectors[(pipeline, finding.target, str(state))] = 1
                for task in finding.facts.get("tasks", ()):
                    tasks[(pipeline, finding.target, str(task["task"]), str(task["state"]))] = 1
    yield _gauge(
        "cdc_connector_state",
        "1 for the state that Kafka Connect gives the connector.",
        ("pipeline", "connector", "state"),
        connectors,
    )
    yield _gauge(
        "cdc_connector_task_state",
        "1 for the state that Kafka Connect gives the task.",
        ("pipeline", "connector", "task", "state"),
        tasks,
    )
    yield _gauge("cdc_probe_up", "1 when the probe saw its targets, 0 when it is blind.", ("pipeline", "probe"), up)


def _sampled_up(snapshot: Snapshot) -> dict[Labels, int | None]:
    """Return whether all sampled groups of each pipeline were seen: one that was not makes the probe blind."""
    up: dict[Labels, int | None] = {}
    for look in _shown(snapshot):
        seen = sees(look)
        if look.watched.pipeline is not None and seen is not None:
            key = (look.watched.pipeline, CONSUMER_LAG)
            up[key] = min(up.get(key) or 0, int(seen)) if key in up else int(seen)
    return up


def _sees(finding: Finding) -> int:
    """A system that says "there is no such thing" was seen."""
    return 0 if finding.verdict in BLIND else 1


def _partitions(finding: Finding) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for topic in finding.facts.get("topics", ()):
        for partition in topic["partitions"]:
            yield str(topic["topic"]), partition


def _is_unknown(partition: Mapping[str, Any]) -> bool:
    return partition.get("lag_records") is None and partition.get("verdict") == Verdict.UNKNOWN


def _label_names(family: Metric) -> tuple[str, ...]:
    names: tuple[str, ...] = family._labelnames  # type: ignore[attr-defined]
    return names


def _gauge(name: str, text: str, labels: Sequence[str], values: Mapping[Labels, float | None]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        if value is not None:
            family.add_metric(key, value)
    return family


def _counter(name: str, text: str, labels: Sequence[str], values: Mapping[Labels, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _by_name(values: Mapping[str, int]) -> dict[Labels, int]:
    return {(name,): value for name, value in values.items()}


def _age(depth: int | None, oldest_s: float | None) -> float | None:
    return 0.0 if depth == 0 else oldest_s


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
