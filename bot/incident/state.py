"""The incident as it stands: the fold of its entries, and nothing else.

`fold` and `apply` are total over the event union: a new event without a case fails mypy.
Derived words (`signals`, `suspect`, `firing`) are functions of the state, never stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, assert_never

from bot.incident import events as e
from bot.incident.runbook import Step
from bot.model import TEST_ALERT, Finding, Plan, Severity, Signal, Status

IncidentStatus = Literal["open", "acknowledged", "mitigated", "resolved"]
AlertStatus = Literal["firing", "resolved", "ended"]
StepStatus = Literal["todo", "done", "skipped"]
ActionStatus = Literal[
    "planned", "refused", "cancelled", "confirmed", "started", "succeeded", "failed", "unknown",
]  # fmt: skip


@dataclass(frozen=True)
class AlertState:
    fingerprint: str
    starts_at: datetime
    status: AlertStatus
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    seen_at: datetime
    ends_at: datetime | None = None
    source: str = ""
    receiver: str = ""
    group_key: str = ""
    generator_url: str = ""
    note: str = ""

    @property
    def episode(self) -> tuple[str, datetime]:
        return self.fingerprint, self.starts_at

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "alert")


@dataclass(frozen=True)
class StepState:
    step: Step
    status: StepStatus = "todo"
    revision: int = 0
    who: e.Who | None = None
    at: datetime | None = None
    choice: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class ActionState:
    key: str
    step: str | None
    plan: Plan
    guard: str
    status: ActionStatus
    requested_by: e.Who
    planned_at: datetime
    before: tuple[Finding, ...] = ()
    approved_by: e.Who | None = None
    confirmed_by: e.Who | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    detail: str = ""
    result: Mapping[str, str] = field(default_factory=dict)
    verified: bool | None = None
    evidence: tuple[str, ...] = ()
    revision: int = 0


@dataclass(frozen=True)
class Recovery:
    """The last word on recovery: `proved` None is "not checked"."""

    proved: bool | None = None
    evidence: tuple[str, ...] = ()
    at: datetime | None = None


@dataclass(frozen=True)
class Incident:
    """One incident. By probe and target: `first` is the first finding (the harm), `worst` the last broken one,
    `steady_since` the time since which the findings have had their status unbroken.
    """

    id: str
    version: int
    title: str
    pipeline: str | None
    severity: Severity
    correlation: str
    channel: str
    nonce: str
    opened_at: datetime
    owner: str | None = None
    bot_version: str = ""
    config_hash: str = ""
    status: IncidentStatus = "open"
    acknowledged_at: datetime | None = None
    mitigated_at: datetime | None = None
    resolved_at: datetime | None = None
    resolved_verified: bool | None = None
    lead: e.Who | None = None
    alerts: tuple[AlertState, ...] = ()
    hidden: Mapping[str, int] = field(default_factory=dict)
    runbooks: tuple[e.RunbookAttached, ...] = ()
    steps: tuple[StepState, ...] = ()
    findings: Mapping[tuple[str, str], Finding] = field(default_factory=dict)
    first: Mapping[tuple[str, str], Finding] = field(default_factory=dict)
    worst: Mapping[tuple[str, str], Finding] = field(default_factory=dict)
    steady_since: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    actions: tuple[ActionState, ...] = ()
    recovery: Recovery = Recovery()
    resolve_requested_by: e.Who | None = None
    reopened: int = 0
    last_flap_at: datetime | None = None
    links: tuple[tuple[str, str], ...] = ()
    revision: int = 0

    def step(self, step_id: str) -> StepState | None:
        return next((s for s in self.steps if s.step.id == step_id), None)

    def action(self, key: str) -> ActionState | None:
        return next((a for a in self.actions if a.key == key), None)

    def alert(self, fingerprint: str, starts_at: datetime) -> AlertState | None:
        return next((a for a in self.alerts if a.episode == (fingerprint, starts_at)), None)

    @property
    def firing(self) -> tuple[AlertState, ...]:
        return tuple(a for a in self.alerts if a.status == "firing")

    @property
    def hidden_alerts(self) -> int:
        return sum(self.hidden.values())

    @property
    def alerts_cleared(self) -> bool:
        """No known alert fires and none is hidden behind Alertmanager's cut."""
        return not self.firing and not self.hidden_alerts

    @property
    def is_open(self) -> bool:
        return self.status != "resolved"

    @property
    def is_test(self) -> bool:
        """Nothing but the doctor's test alert: there is nothing to triage, to prove or to learn."""
        return bool(self.alerts) and all(alert.labels.get("alertname") == TEST_ALERT for alert in self.alerts)


def fold(entries: Iterable[e.Entry]) -> Incident | None:
    """Return the incident that these entries, in version order, add up to."""
    incident: Incident | None = None
    for entry in entries:
        incident = apply(incident, entry)
    return incident


def apply(incident: Incident | None, entry: e.Entry) -> Incident:
    """Return the incident after one more entry."""
    event, at, who = entry.event, entry.at, entry.who
    if isinstance(event, e.IncidentOpened):
        return Incident(
            id=entry.incident, version=entry.version, title=event.title, pipeline=event.pipeline,
            severity=event.severity, correlation=event.correlation, channel=event.channel, nonce=event.nonce,
            opened_at=at, owner=event.owner, bot_version=event.bot_version, config_hash=event.config_hash,
        )  # fmt: skip
    if incident is None:
        raise ValueError(f"{entry.incident}: its first event is {type(event).__name__}, not IncidentOpened")
    changed = _changed(incident, event, at, who)
    return replace(changed, version=entry.version)


def _changed(i: Incident, event: e.Event, at: datetime, who: e.Who) -> Incident:
    match event:
        case e.IncidentOpened():
            return i
        case e.RunbookAttached():
            known = {s.step.id for s in i.steps}
            added = tuple(StepState(step) for step in event.steps if step.id not in known)
            return replace(i, runbooks=(*i.runbooks, event), steps=_in_sections((*i.steps, *added)))
        case e.AlertFired():
            fired = AlertState(
                event.fingerprint, event.starts_at, "firing", event.labels, event.annotations, at,
                source=event.source, receiver=event.receiver, group_key=event.group_key,
                generator_url=event.generator_url, note="missed while down" if event.missed_while_down else "",
            )  # fmt: skip
            others = tuple(a for a in i.alerts if a.episode != fired.episode)
            return replace(i, alerts=(*others, fired), recovery=Recovery())
        case e.AlertResolved():
            return _alert(i, event.fingerprint, event.starts_at, "resolved", event.ends_at or at, "")
        case e.AlertEnded():
            return _alert(i, event.fingerprint, event.starts_at, "ended", at, event.reason)
        case e.AlertsHidden():
            hidden = {key: n for key, n in {**i.hidden, event.group_key: event.count}.items() if n}
            return replace(i, hidden=hidden)
        case e.SeverityRaised():
            return replace(i, severity=event.severity)
        case e.IncidentAcknowledged():
            status: IncidentStatus = "acknowledged" if i.status == "open" else i.status
            lead = i.lead or who
            return _revised(i, status=status, acknowledged_at=i.acknowledged_at or at, lead=lead)
        case e.LeadAssigned():
            return _revised(i, lead=event.lead)
        case e.NoteAdded():
            return i
        case e.StepDone():
            return _step(i, event.step, "done", at, who, event.choice, event.reason)
        case e.StepSkipped():
            return _step(i, event.step, "skipped", at, who, None, event.reason)
        case e.StepUndone():
            return _step(i, event.step, "todo", at, who, None, "")
        case e.ProbeReported():
            return _finding(i, event.finding)
        case e.ActionPlanned():
            planned = ActionState(event.key, event.step, event.plan, event.guard, "planned", who, at, event.before)
            return replace(i, actions=(*i.actions, planned))
        case e.ActionRefused():
            return _action(i, event.key, status="refused", detail=event.reason)
        case e.ActionApproved():
            return _action(i, event.key, approved_by=who)
        case e.ActionCancelled():
            return _action(i, event.key, status="cancelled")
        case e.ActionConfirmed():
            return _action(i, event.key, status="confirmed", confirmed_by=who)
        case e.ActionStarted():
            return _action(i, event.key, status="started", started_at=at)
        case e.ActionFinished():
            done: ActionStatus = "succeeded" if event.succeeded else "failed"
            return _action(i, event.key, status=done, detail=event.detail, finished_at=at, result=event.result)
        case e.ActionOutcomeUnknown():
            return _action(i, event.key, status="unknown", detail=event.detail)
        case e.ActionVerified():
            return _action(i, event.key, verified=event.verified, evidence=event.evidence)
        case e.IncidentMitigated():
            return _revised(i, status="mitigated", mitigated_at=i.mitigated_at or at)
        case e.ResolveRequested():
            return replace(i, resolve_requested_by=who)
        case e.RecoveryProved():
            return replace(i, recovery=Recovery(True, event.evidence, at))
        case e.RecoveryNotVerified():
            return replace(i, recovery=Recovery(False, event.evidence, at), resolve_requested_by=None)
        case e.IncidentResolved():
            return _revised(
                i, status="resolved", resolved_at=at, resolved_verified=event.verified, resolve_requested_by=None
            )
        case e.IncidentReopened():
            return _revised(
                i, status="acknowledged" if i.acknowledged_at else "open", resolved_at=None, resolved_verified=None,
                mitigated_at=None, recovery=Recovery(), reopened=i.reopened + 1, last_flap_at=at,
            )  # fmt: skip
        case e.IncidentLinked():
            return replace(i, links=(*i.links, (event.other, event.reason)))
        case _:
            assert_never(event)


def _revised(i: Incident, **changes: object) -> Incident:
    return replace(i, revision=i.revision + 1, **changes)  # type: ignore[arg-type]


def _in_sections(steps: tuple[StepState, ...]) -> tuple[StepState, ...]:
    """Steps of several runbooks: by section, the most upstream part first, so that a repair precedes a restart."""
    order = ("triage", "actions", "post_incident")
    return tuple(sorted(steps, key=lambda s: (order.index(s.step.section), s.step.signal.upstream_rank)))


def _alert(
    i: Incident, fingerprint: str, starts_at: datetime, status: AlertStatus, ends_at: datetime, note: str
) -> Incident:
    alerts = tuple(
        replace(a, status=status, ends_at=ends_at, note=note or a.note) if a.episode == (fingerprint, starts_at) else a
        for a in i.alerts
    )
    return replace(i, alerts=alerts)


def _step(
    i: Incident, step_id: str, status: StepStatus, at: datetime, who: e.Who, choice: str | None, reason: str
) -> Incident:
    steps = tuple(
        replace(s, status=status, revision=s.revision + 1, at=at, who=who, choice=choice, reason=reason)
        if s.step.id == step_id
        else s
        for s in i.steps
    )
    return replace(i, steps=steps)


def _action(i: Incident, key: str, **changes: object) -> Incident:
    actions = tuple(
        replace(a, revision=a.revision + 1, **changes) if a.key == key else a  # type: ignore[arg-type]
        for a in i.actions
    )
    return replace(i, actions=actions)


def _finding(i: Incident, finding: Finding) -> Incident:
    key = (finding.probe, finding.target)
    first = i.first if key in i.first else {**i.first, key: finding}
    worst = {**i.worst, key: finding} if is_broken(finding) else i.worst
    known = i.findings.get(key)
    steady = i.steady_since if known and known.status is finding.status else {**i.steady_since, key: finding.at}
    return replace(i, findings={**i.findings, key: finding}, first=first, worst=worst, steady_since=steady)


def signals(incident: Incident) -> tuple[Signal, ...]:
    """Return the impaired signals, most upstream first: what the alerts name and what red findings show."""
    named = {signal_of(alert.labels) for alert in incident.alerts}
    named |= {cause_of(finding) for finding in incident.worst.values()}
    return tuple(sorted(named, key=lambda s: s.upstream_rank))


def is_broken(finding: Finding) -> bool:
    """A schema that merely changed is evidence, not a broken part: it takes a refusal to accuse one."""
    return finding.status is Status.RED or (finding.status is Status.YELLOW and finding.signal is not Signal.SCHEMA)


def accuses(finding: Finding) -> bool:
    """What is red, and a connector that is not running as it should: a stopped sink explains the lag behind it."""
    return finding.status is Status.RED or (finding.status is Status.YELLOW and finding.signal is Signal.CONNECTOR)


def cause_of(finding: Finding) -> Signal:
    """Return the part to blame: a connector that failed on a refused schema points upstream, to the schema."""
    return Signal.SCHEMA if finding.facts.get("refusal") else finding.signal


def signal_of(labels: Mapping[str, str]) -> Signal:
    """Return what part of the pipeline an alert speaks of: its name first, then the labels it carries."""
    name = labels.get("alertname", "").lower()
    for words, signal in (
        (("schema", "registry", "409"), Signal.SCHEMA),
        (("deadletter", "dead_letter", "dlq"), Signal.DEAD_LETTERS),
        (("lag",), Signal.LAG),
        (("connector", "task"), Signal.CONNECTOR),
    ):
        if any(word in name for word in words):
            return signal
    for label, signal in (
        ("subject", Signal.SCHEMA),
        ("connector", Signal.CONNECTOR),
        ("consumergroup", Signal.LAG),
        ("consumer_group", Signal.LAG),
        ("group_id", Signal.LAG),
        ("group", Signal.LAG),
    ):
        if label in labels:
            return signal
    return Signal.OTHER


def suspect(incident: Incident) -> Finding | None:
    """Return the most upstream broken finding: the part to look at first; the newest word on it."""
    found = incident.findings.values()
    broken = [f for f in found if accuses(f)] or [f for f in found if is_broken(f)]
    return min(broken, key=lambda f: cause_of(f).upstream_rank) if broken else None
