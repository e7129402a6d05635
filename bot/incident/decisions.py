"""Decisions: what a notification or a command changes, and what is to be done because of it.

Pure: states and policy in, events and tasks out; `now`, ids and nonces come from outside. A refusal
is a value too: what was asked, what was found, what did not happen, the next move. `Task` asks the
runner for something remote; messages follow from the events (`announce`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, assert_never

from bot.incident import commands as c
from bot.incident import events as e
from bot.incident.correlation import Board, correlation_of, home_of, pipeline_of
from bot.incident.guards import refuse_action, refuse_approval, refuse_cap, refuse_run
from bot.incident.notification import Alert, Notification, severity_of
from bot.incident.policy import Policy
from bot.incident.recovery import Judgement, judge_recovery
from bot.incident.runbook import choose
from bot.incident.state import Incident, StepState, cause_of, signal_of
from bot.model import TEST_ALERT, Finding, Refusal, Severity, Signal, Status

PROBES = ("connector_state", "schema_changes", "dead_letters", "consumer_lag")
RECHECK_SLOWEST = timedelta(minutes=2)


@dataclass(frozen=True)
class Task:
    """Something remote for the runner. `key` is unique for ever: the same task twice is one row."""

    kind: str
    key: str
    body: Mapping[str, Any] = field(default_factory=dict)
    delay_s: float = 0.0


@dataclass(frozen=True)
class Change:
    """Events of one incident by one author, with the tasks they cause."""

    incident: str
    who: e.Who
    events: tuple[e.Event, ...]
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True)
class Decision:
    """`reply` is for the one who asked; `refusal` says that nothing was done; `stale` asks for a fresh view."""

    changes: tuple[Change, ...] = ()
    reply: str = ""
    refusal: Refusal | None = None
    stale: bool = False


@dataclass(frozen=True)
class Ids:
    """Where new names come from; given, so that a decision can be replayed."""

    incident: Callable[[], str]
    nonce: Callable[[], str]


# --- notifications -------------------------------------------------------------------------------


def receive(board: Board, notification: Notification, policy: Policy, ids: Ids, now: datetime) -> Decision:
    """Return what a notification changes, per (fingerprint, startsAt); the group's own status is not asked.

    An unchanged repeat, a duplicate of the other replica and an old firing after its resolve change nothing.
    """
    gathered: dict[str, _Opening] = {}
    fresh: dict[str, str] = {}
    for alert in notification.alerts:
        correlation = correlation_of(alert, notification, tuple(policy.pipelines.values()))
        home, reopen, older = home_of(board, alert, correlation, now, policy.reopen_within)
        if home is None:
            if alert.status == "resolved":
                continue  # it ended before we ever heard of it: there is nothing to open
            incident_id = fresh.get(correlation) or ids.incident()
            fresh[correlation] = incident_id
            opening = gathered.setdefault(incident_id, _Opening(None))
            opening.correlation, opening.older = correlation, opening.older or older
        else:
            opening = gathered.setdefault(home.id, _Opening(home))
            opening.reopen = opening.reopen or (reopen and alert.status == "firing")
        opening.alerts.append(alert)
    changes = []
    for incident_id, opening in gathered.items():
        if change := _change(incident_id, opening, notification, policy, ids, now):
            changes.append(change)
    if not notification.alerts or not gathered:
        return Decision(tuple(changes))
    return Decision((*changes, *_hidden(changes, gathered, notification)))


class _Opening:
    """The alerts of one notification that go to one incident."""

    def __init__(self, incident: Incident | None) -> None:
        self.incident = incident
        self.alerts: list[Alert] = []
        self.reopen = False
        self.correlation = incident.correlation if incident else ""
        self.older: Incident | None = None


def _change(
    incident_id: str, opening: _Opening, notification: Notification, policy: Policy, ids: Ids, now: datetime
) -> Change | None:
    incident, events = opening.incident, list[e.Event]()
    if incident is None:
        events += _opened(opening, policy, ids)
    elif opening.reopen:
        events.append(e.IncidentReopened(f"{opening.alerts[0].name} fires again"))
    fired = [a for a in opening.alerts if a.status == "firing" and not _known(incident, a)]
    for alert in fired:
        events += _superseded(incident, alert)
        events.append(
            e.AlertFired(
                alert.fingerprint, alert.starts_at, alert.labels, alert.annotations, notification.external_url,
                notification.receiver, notification.group_key, alert.generator_url,
                missed_while_down=notification.reason == MISSED,
            )
        )  # fmt: skip
    resolved = [a for a in opening.alerts if a.status == "resolved" and _fires(incident, a)]
    events += [e.AlertResolved(a.fingerprint, a.starts_at, a.ends_at) for a in resolved]
    if not events:
        return None
    if incident is not None and fired:
        events += _raised(incident, fired)
        events += _more_runbooks(incident, [(a.name, a.labels, signal_of(a.labels)) for a in fired], policy)
    tasks: list[Task] = []
    version = incident.version if incident else 0
    pipeline = (
        incident.pipeline if incident else pipeline_of(opening.alerts[0].labels, tuple(policy.pipelines.values()))
    )
    if fired and policy.pipeline(pipeline):
        tasks += [Task("probe", f"probe:{incident_id}:{name}:{version}", {"probe": name}) for name in PROBES]
    if resolved and incident is not None and incident.is_open:
        tasks.append(recovery_task(incident, f"alerts-{version}"))
    who = e.BOT if notification.sender == "cdc-oncall" else e.ALERTMANAGER
    return Change(incident_id, who, tuple(events), tuple(tasks))


MISSED = "missed while down"


def _superseded(incident: Incident | None, alert: Alert) -> list[e.Event]:
    """An alert fires once at a time: a newer start ends the older episode, whose resolve will never come."""
    older = [
        known
        for known in (incident.firing if incident else ())
        if known.fingerprint == alert.fingerprint and known.starts_at < alert.starts_at
    ]
    return [e.AlertEnded(known.fingerprint, known.starts_at, "fires again with a newer start") for known in older]


def _known(incident: Incident | None, alert: Alert) -> bool:
    """An episode that we ended ourselves and that fires after all is news again."""
    known = incident.alert(alert.fingerprint, alert.starts_at) if incident else None
    return known is not None and known.status != "ended"


def _fires(incident: Incident | None, alert: Alert) -> bool:
    """True when the alert's episode is known and not over; `ended` was our own conclusion, a resolve outranks it."""
    known = incident.alert(alert.fingerprint, alert.starts_at) if incident else None
    return known is not None and known.status != "resolved"


def _opened(opening: _Opening, policy: Policy, ids: Ids) -> list[e.Event]:
    first = max(opening.alerts, key=lambda a: (severity_of(a.labels).rank, -signal_of(a.labels).upstream_rank))
    name = pipeline_of(first.labels, tuple(policy.pipelines.values()))
    pipeline = policy.pipeline(name)
    severity = max((severity_of(a.labels) for a in opening.alerts), key=lambda s: s.rank)
    summary = first.annotations.get("summary") or first.name
    events: list[e.Event] = [
        e.IncidentOpened(
            title=summary,
            pipeline=name,
            severity=severity,
            correlation=opening.correlation,
            channel=pipeline.channel if pipeline else policy.default_channel,
            nonce=ids.nonce(),
            owner=pipeline.owner if pipeline else None,
            bot_version=policy.bot_version,
            config_hash=policy.config_hash,
        )
    ]
    attached: set[str] = set()
    real = [alert for alert in opening.alerts if alert.name != TEST_ALERT]
    for alert in sorted(real, key=lambda a: signal_of(a.labels).upstream_rank):
        runbook = choose(policy.runbooks, alert.name, alert.labels, signal_of(alert.labels))
        if runbook.id not in attached:
            attached.add(runbook.id)
            events.append(e.RunbookAttached(runbook.id, runbook.title, runbook.hash, runbook.steps))
    if opening.older is not None:
        names = {alert.fingerprint for alert in opening.older.alerts}
        same = any(alert.fingerprint in names for alert in opening.alerts)
        why = "the same alert, earlier" if same else "the incident before it"
        events.append(e.IncidentLinked(opening.older.id, why))
    return events


def _raised(incident: Incident, fired: Sequence[Alert]) -> list[e.Event]:
    worst = max(fired, key=lambda a: severity_of(a.labels).rank)
    severity = severity_of(worst.labels)
    if severity.rank <= incident.severity.rank:
        return []
    return [e.SeverityRaised(severity, f"{worst.name} is {severity}")]


def _more_runbooks(
    incident: Incident, named: Sequence[tuple[str, Mapping[str, str], Signal]], policy: Policy
) -> list[e.Event]:
    attached = {r.runbook for r in incident.runbooks}
    events: list[e.Event] = []
    for name, labels, signal in named:
        runbook = choose(policy.runbooks, name, labels, signal)
        if runbook.id not in attached and not (attached and signal is Signal.OTHER):
            attached.add(runbook.id)
            events.append(e.RunbookAttached(runbook.id, runbook.title, runbook.hash, runbook.steps))
    return events


def _hidden(
    changes: Sequence[Change], gathered: Mapping[str, _Opening], notification: Notification
) -> tuple[Change, ...]:
    """Return what Alertmanager's cut hides: counted on the first incident, and fetched whole over the API."""
    incident_id = next(iter(gathered))
    incident = gathered[incident_id].incident
    known = incident.hidden.get(notification.group_key, 0) if incident else 0
    if known == notification.truncated or (incident and _shows_all(incident, notification)):
        return ()
    tasks: tuple[Task, ...] = ()
    if notification.truncated:
        version = incident.version if incident else 0
        tasks = (
            Task(
                "fetch-group", f"fetch:{incident_id}:{version}",
                {"source": notification.external_url, "group_key": notification.group_key,
                 "group_labels": dict(notification.group_labels), "receiver": notification.receiver},
            ),
        )  # fmt: skip
    event = e.AlertsHidden(notification.group_key, notification.truncated)
    return (Change(incident_id, e.ALERTMANAGER, (event,), tasks),)


def _shows_all(incident: Incident, notification: Notification) -> bool:
    """A repeat of a cut list hides nothing when as many firing alerts as it cut were fetched already."""
    shown = {alert.fingerprint for alert in notification.alerts}
    ours = [alert for alert in incident.firing if alert.group_key == notification.group_key]
    return 0 < notification.truncated <= sum(alert.fingerprint not in shown for alert in ours)


def recovery_task(incident: Incident, why: str, delay_s: float = 0.0) -> Task:
    """Probe every part again and judge whether it recovered. One at a time per incident and cause."""
    return Task("recovery", f"recovery:{incident.id}:{incident.version}:{why}", {}, delay_s)


def end_alerts(incident: Incident, gone: Sequence[tuple[str, datetime]], reason: str) -> Decision:
    """Alertmanager lists these alerts no more and sent no resolve: end them, and look whether all recovered."""
    events = tuple(
        e.AlertEnded(fingerprint, starts_at, reason)
        for fingerprint, starts_at in gone
        if (known := incident.alert(fingerprint, starts_at)) and known.status == "firing"
    )
    if not events:
        return Decision()
    tasks = (recovery_task(incident, "ended"),) if incident.is_open else ()
    return Decision((Change(incident.id, e.BOT, events, tasks),))


def open_by_hand(board: Board, who: e.Who, pipeline: str, text: str, policy: Policy, ids: Ids) -> Decision:
    """A person opens an incident; a pipeline has one at a time."""
    known = policy.pipeline(pipeline)
    if known is None:
        names = ", ".join(sorted(policy.pipelines)) or "none"
        return Decision(refusal=Refusal(f"Not opened: no pipeline {pipeline} in cdc.yml.", f"It has: {names}."))
    correlation = f"pipeline:{pipeline}"
    if already := board.open_for(correlation):
        return Decision(
            refusal=Refusal(f"Not opened: {already.id} is open for {pipeline} already.", "Add a note there.")
        )
    runbook = choose(policy.runbooks, "", {}, Signal.OTHER)
    incident_id = ids.incident()
    events: tuple[e.Event, ...] = (
        e.IncidentOpened(
            text or f"opened by {who.name}", pipeline, Severity.WARNING, correlation, known.channel, ids.nonce(),
            known.owner, policy.bot_version, policy.config_hash,
        ),
        e.RunbookAttached(runbook.id, runbook.title, runbook.hash, runbook.steps),
    )  # fmt: skip
    tasks = tuple(Task("probe", f"probe:{incident_id}:{name}:0", {"probe": name}) for name in PROBES)
    return Decision((Change(incident_id, who, events, tasks),), reply=f"{incident_id} opened for {pipeline}.")


# --- commands ------------------------------------------------------------------------------------


def decide(board: Board, incident: Incident, command: c.Command, policy: Policy, ids: Ids, now: datetime) -> Decision:
    """Return what a command changes in one incident."""
    match command:
        case c.AcknowledgeIncident():
            return _acknowledge(incident, command)
        case c.AssignLead():
            if incident.lead == command.lead:
                return Decision(reply=f"{command.lead.name} leads already.")
            return _events(incident, command.who, e.LeadAssigned(command.lead))
        case c.AddNote():
            if not command.text.strip():
                return _refused("Not noted: the note is empty.", "Write `note ID what you saw`.")
            return _events(incident, command.who, e.NoteAdded(command.text.strip()), reply="Noted.")
        case c.CompleteStep():
            return _complete(incident, command, policy)
        case c.SkipStep():
            return _skip(incident, command)
        case c.UndoStep():
            return _undo(incident, command)
        case c.MitigateIncident():
            return _mitigate(incident, command, policy)
        case c.ResolveIncident():
            return _resolve(incident, command, policy, now)
        case c.ReopenIncident():
            if incident.is_open:
                return Decision(reply=f"{incident.id} is open.")
            if not policy.may_close(command.who):
                return _not_a_responder("reopened", command.who)
            return _events(incident, command.who, e.IncidentReopened(command.reason or "reopened by hand"))
        case c.LinkIncident():
            if board.get(command.other) is None or command.other == incident.id:
                return _refused(f"Not linked: there is no other incident {command.other}.", "See `incidents`.")
            return _events(incident, command.who, e.IncidentLinked(command.other, command.reason), reply="Linked.")
        case c.PlanAction():
            return _ask_plan(incident, command, policy, ids)
        case c.RunAction():
            return _run(board, incident, command, policy, now)
        case c.ApproveAction():
            return _approve(incident, command, policy, now)
        case c.CancelAction():
            return _cancel(incident, command)
        case c.ReportFindings():
            return _report(incident, command.findings, policy)
        case c.ReportPlan():
            return _report_plan(incident, command)
        case c.StartAction():
            return _start(board, incident, command, policy, now)
        case c.ReportOutcome():
            return _outcome(incident, command)
        case c.ReportVerification():
            return _verification(incident, command, policy)
        case c.ReportGroup():
            return _whole_group(incident, command)
        case c.ReportRecovery():
            return _recovery(incident, command, policy, now)
        case _:
            assert_never(command)


def _events(
    incident: Incident, who: e.Who, *events: e.Event, reply: str = "", tasks: tuple[Task, ...] = ()
) -> Decision:
    return Decision((Change(incident.id, who, events, tasks),), reply=reply)


def _refused(reason: str, next_step: str = "") -> Decision:
    return Decision(refusal=Refusal(reason, next_step))


def _stale(incident: Incident, seen: c.Seen | None, revision: int, what: str) -> Decision | None:
    """A click on something that has changed since does nothing and shows the fresh view."""
    if seen is None or (seen.nonce == incident.nonce and seen.revision == revision):
        return None
    changed = f"Nothing was done: {what} has changed since that message was shown."
    return Decision(refusal=Refusal(changed, "Here is how it stands now."), stale=True)


def _acknowledge(incident: Incident, command: c.AcknowledgeIncident) -> Decision:
    if incident.acknowledged_at is not None:
        lead = incident.lead.name if incident.lead else "someone"
        return Decision(reply=f"{incident.id} is acknowledged already; {lead} leads.")
    if stale := _stale(incident, command.seen, incident.revision, "the incident"):
        return stale
    if not incident.is_open:
        return _refused(f"Not acknowledged: {incident.id} is resolved.")
    return _events(incident, command.who, e.IncidentAcknowledged(), reply=f"{incident.id} acknowledged; you lead.")


def _step(incident: Incident, step_id: str) -> StepState | Decision:
    found = incident.step(step_id)
    if found is not None:
        return found
    names = ", ".join(s.step.id for s in incident.steps) or "none"
    return _refused(f"Not done: {incident.id} has no step {step_id}.", f"Its steps: {names}.")


def _complete(incident: Incident, command: c.CompleteStep, policy: Policy) -> Decision:
    step = _step(incident, command.step)
    if isinstance(step, Decision):
        return step
    if stale := _stale(incident, command.seen, step.revision, "the step"):
        return stale
    if step.status == "done":
        return Decision(reply=f"Done already by {step.who.name if step.who else 'someone'}.")
    if step.step.choices and command.choice not in step.step.choices:
        options = " or ".join(step.step.choices)
        return _refused(f"Not recorded: this step is a decision: {options}.", "Choose one and give the reason.")
    if step.step.choices and not command.reason.strip():
        return _refused("Not recorded: a decision needs its reason.", "The postmortem will quote it.")
    done = e.StepDone(step.step.id, command.choice, command.reason.strip())
    repaired = step.step.section == "actions" and incident.is_open
    tasks = (recovery_task(incident, "step"),) if repaired and policy.pipeline(incident.pipeline) else ()
    return _events(incident, command.who, done, tasks=tasks)


def _skip(incident: Incident, command: c.SkipStep) -> Decision:
    step = _step(incident, command.step)
    if isinstance(step, Decision):
        return step
    if stale := _stale(incident, command.seen, step.revision, "the step"):
        return stale
    if not command.reason.strip():
        return _refused("Not skipped: say why, the postmortem will ask.", "Give a reason.")
    return _events(incident, command.who, e.StepSkipped(step.step.id, command.reason.strip()))


def _undo(incident: Incident, command: c.UndoStep) -> Decision:
    step = _step(incident, command.step)
    if isinstance(step, Decision):
        return step
    if stale := _stale(incident, command.seen, step.revision, "the step"):
        return stale
    if step.status == "todo":
        return Decision(reply="This step is to do already.")
    return _events(incident, command.who, e.StepUndone(step.step.id))


def _not_a_responder(what: str, who: e.Who) -> Decision:
    return _refused(
        f"Not {what}: {who.name} is not a responder, and this says how the incident stands without proof.",
        "Ask someone listed under `people.responders` in cdc.yml, or leave a note.",
    )


def _mitigate(incident: Incident, command: c.MitigateIncident, policy: Policy) -> Decision:
    if incident.status in ("mitigated", "resolved"):
        return Decision(reply=f"{incident.id} is {incident.status} already.")
    if stale := _stale(incident, command.seen, incident.revision, "the incident"):
        return stale
    if not policy.may_close(command.who):
        return _not_a_responder("mitigated", command.who)
    reason = command.reason.strip() or "set by hand"
    return _events(incident, command.who, e.IncidentMitigated(reason), reply=f"{incident.id} mitigated.")


def _resolve(incident: Incident, command: c.ResolveIncident, policy: Policy, now: datetime) -> Decision:
    """Resolve with proof; without it only for a reason, and flagged."""
    if not incident.is_open:
        return Decision(reply=f"{incident.id} is resolved already.")
    if stale := _stale(incident, command.seen, incident.revision, "the incident"):
        return stale
    recovery = incident.recovery
    fresh = recovery.at is not None and now - recovery.at <= max(policy.settle, policy.recheck) * 4
    if recovery.proved and fresh:
        return _events(incident, command.who, e.IncidentResolved(True, command.reason or "recovery proved"))
    if command.reason.strip() and not policy.may_close(command.who):
        return _not_a_responder("resolved", command.who)
    if command.reason.strip():
        return _events(
            incident, command.who, e.IncidentResolved(False, command.reason.strip()),
            reply=f"{incident.id} resolved without proof; the postmortem says so.",
        )  # fmt: skip
    if incident.resolve_requested_by is not None:
        return Decision(reply="Recovery is being checked; it resolves as soon as it is proved.")
    task = recovery_task(incident, "asked")
    return _events(
        incident, command.who, e.ResolveRequested(), tasks=(task,),
        reply="Checking recovery first: it resolves as soon as it is proved.",
    )  # fmt: skip


# --- actions -------------------------------------------------------------------------------------


def _ask_plan(incident: Incident, command: c.PlanAction, policy: Policy, ids: Ids) -> Decision:
    guard, action, arguments = "responder", command.action, dict(command.arguments)
    if command.step is not None:
        step = _step(incident, command.step)
        if isinstance(step, Decision):
            return step
        action, guard = step.step.action, step.step.guard or guard
        arguments = {**step.step.args, **arguments}
        if stale := _stale(incident, command.seen, step.revision, "the step"):
            return stale
    if action is None:
        return _refused("Not planned: this step has no action.", "Do it by hand and mark it done.")
    if refusal := refuse_action(policy, incident, action, command.who):
        return Decision(refusal=refusal)
    if any(a.plan.action == action and a.status in ("confirmed", "started") for a in incident.actions):
        return _refused(f"Not planned: {action} is running on {incident.id} now.", "Wait for its outcome.")
    key = ids.nonce()
    body = {
        "key": key, "step": command.step, "action": action, "guard": guard, "arguments": arguments,
        "who": {"id": command.who.id, "name": command.who.name},
    }  # fmt: skip
    return Decision(
        (Change(incident.id, command.who, (), (Task("plan", f"plan:{incident.id}:{key}", body),)),),
        reply=f"Planning {action}: the plan appears in the thread. Nothing is changed yet.",
    )


def _report_plan(incident: Incident, command: c.ReportPlan) -> Decision:
    if command.plan is None:
        return _events(incident, command.who, e.ActionRefused(command.key, command.action, command.refused))
    planned = e.ActionPlanned(command.key, command.step, command.plan, command.guard, command.before)
    return _events(incident, command.who, planned)


def _run(board: Board, incident: Incident, command: c.RunAction, policy: Policy, now: datetime) -> Decision:
    action = incident.action(command.key)
    if action is None:
        return _refused("Not run: no such plan in this incident.", "Ask for a new plan.")
    if stale := _stale(incident, command.seen, action.revision, "the plan"):
        return stale
    if refusal := refuse_run(policy, board, incident, action, command.who, command.plan_hash, now):
        return Decision(refusal=refusal, stale=action.status != "planned")
    task = Task("action", f"action:{incident.id}:{command.key}", {"key": command.key})
    return _events(incident, command.who, e.ActionConfirmed(command.key, command.plan_hash), tasks=(task,))


def _approve(incident: Incident, command: c.ApproveAction, policy: Policy, now: datetime) -> Decision:
    action = incident.action(command.key)
    if action is None:
        return _refused("Not approved: no such plan in this incident.")
    if stale := _stale(incident, command.seen, action.revision, "the plan"):
        return stale
    if refusal := refuse_approval(policy, action, command.who, command.plan_hash, now):
        return Decision(refusal=refusal)
    return _events(incident, command.who, e.ActionApproved(command.key, command.plan_hash), reply="Approved.")


def _cancel(incident: Incident, command: c.CancelAction) -> Decision:
    action = incident.action(command.key)
    if action is None or action.status != "planned":
        return _refused("Not cancelled: the plan is not waiting any more.")
    return _events(incident, command.who, e.ActionCancelled(command.key))


def _start(board: Board, incident: Incident, command: c.StartAction, policy: Policy, now: datetime) -> Decision:
    """Last look before acting: still confirmed, still permitted, preconditions still hold."""
    action = incident.action(command.key)
    if action is None or action.status != "confirmed" or action.confirmed_by is None:
        return _refused("Not started: it is not waiting to be run.")
    refusal = refuse_action(policy, incident, action.plan.action, action.confirmed_by) or refuse_cap(
        policy, board, action, now
    )
    reason = command.refused or (str(refusal) if refusal else "")
    if reason:
        refused = e.ActionRefused(command.key, action.plan.action, reason)
        return Decision((Change(incident.id, e.BOT, (refused,)),), refusal=Refusal(reason))
    return _events(incident, action.confirmed_by, e.ActionStarted(command.key))


def _outcome(incident: Incident, command: c.ReportOutcome) -> Decision:
    action = incident.action(command.key)
    if action is None or action.status != "started":
        return Decision()
    if command.succeeded is None:
        return _events(incident, e.BOT, e.ActionOutcomeUnknown(command.key, command.detail))
    finished = e.ActionFinished(command.key, command.succeeded, command.detail, command.result)
    verify = Task("verify", f"verify:{incident.id}:{command.key}:0", {"key": command.key, "attempt": 0}, 2.0)
    return _events(incident, e.BOT, finished, tasks=(verify,) if command.succeeded else ())


def _verification(incident: Incident, command: c.ReportVerification, policy: Policy) -> Decision:
    action = incident.action(command.key)
    if action is None or action.verified is not None:
        return Decision()
    events: list[e.Event] = [e.ActionVerified(command.key, command.verified, command.evidence)]
    step = incident.step(action.step) if action.step else None
    if command.verified and step is not None and step.status == "todo":
        events.append(e.StepDone(step.step.id, None, f"action {action.plan.action} verified"))
    repairs = action.plan.action not in NOT_REPAIRS
    if command.verified and repairs and incident.status in ("open", "acknowledged"):
        events.append(e.IncidentMitigated(f"{action.plan.action} verified"))
    reported = _report(incident, command.findings, policy)
    events += [event for change in reported.changes for event in change.events]
    tasks = (recovery_task(incident, f"verified-{command.key}"),) if repairs and incident.is_open else ()
    return _events(incident, e.BOT, *events, tasks=tasks)


NOT_REPAIRS = frozenset({"silence_alerts"})


# --- findings and recovery -----------------------------------------------------------------------


def _report(incident: Incident, findings: Sequence[Finding], policy: Policy) -> Decision:
    """Journal the findings that say something new, and take in the runbook of a cause found upstream."""
    told = [f for f in findings if _is_news(incident.findings.get((f.probe, f.target)), f)]
    events: list[e.Event] = [e.ProbeReported(f) for f in told]
    causes: list[tuple[str, Mapping[str, str], Signal]] = [
        ("", {}, signal) for f in told if f.status is Status.RED for signal in dict.fromkeys((cause_of(f), f.signal))
    ]
    if incident.is_open:
        events += _more_runbooks(incident, causes, policy)
    return _events(incident, e.BOT, *events) if events else Decision()


def _whole_group(incident: Incident, command: c.ReportGroup) -> Decision:
    if command.group_key not in incident.hidden:
        return Decision()
    tasks = (recovery_task(incident, "group"),) if incident.is_open else ()
    return _events(incident, e.BOT, e.AlertsHidden(command.group_key, 0), tasks=tasks)


def _is_news(known: Finding | None, found: Finding) -> bool:
    if known is None:
        return True
    same = (known.verdict, known.status) == (found.verdict, found.status)
    moved = (
        known.facts.get("end_total") != found.facts.get("end_total") if found.signal is Signal.DEAD_LETTERS else False
    )
    return not same or moved or (known.status is not Status.GREEN and known.headline != found.headline)


def _recovery(incident: Incident, command: c.ReportRecovery, policy: Policy, now: datetime) -> Decision:
    """Prove recovery or say that it is not: resolve by ourselves only when proved and nothing fires."""
    if not incident.is_open or _is_overtaken(incident, command.findings):
        return Decision()
    pipeline = policy.pipeline(incident.pipeline)
    judged = judge_recovery(incident, pipeline, command.findings, now, policy.settle)
    evidence = judged.evidence
    reported = _report(incident, command.findings, policy)
    events = [event for change in reported.changes for event in change.events]
    asked = incident.resolve_requested_by
    changes: list[Change] = []
    if judged.proved:
        if incident.recovery.proved is not True:
            events += _as_proved(incident, command.findings, events)
            events.append(e.RecoveryProved(evidence))
        if incident.status in ("open", "acknowledged"):
            events.append(e.IncidentMitigated("recovery proved"))
        if incident.alerts_cleared and not _awaits_person(incident):
            events.append(e.IncidentResolved(True, "recovery proved, alerts cleared"))
        elif asked:
            changes.append(Change(incident.id, asked, (e.IncidentResolved(True, "recovery proved"),)))
    elif incident.is_test and incident.alerts_cleared:
        events.append(e.IncidentResolved(True, "the test alert ended"))
    elif pipeline is None and incident.alerts_cleared:
        events.append(e.RecoveryNotVerified(evidence, True))
        events.append(e.IncidentResolved(False, "alerts cleared; recovery not verified: no pipeline to probe"))
    elif asked or (incident.recovery.proved and judged.broken) or _says_more(incident, judged, policy, now):
        events.append(e.RecoveryNotVerified(evidence, incident.alerts_cleared))
    resolves = any(isinstance(event, e.IncidentResolved) for event in events) or bool(changes)
    tasks = () if resolves or not _keeps_checking(incident) else (_again(incident, policy, now),)
    first = Change(incident.id, e.BOT, tuple(events), tasks)
    return Decision((first, *changes) if events or tasks else tuple(changes))


def _is_overtaken(incident: Incident, findings: Sequence[Finding]) -> bool:
    """Two checks may run at once: one that began to look before the proof cannot take it back.

    The one that proved it looks again.
    """
    proved_at = incident.recovery.at if incident.recovery.proved else None
    return proved_at is not None and any(finding.at < proved_at for finding in findings)


def _as_proved(incident: Incident, fresh: Sequence[Finding], told: Sequence[e.Event]) -> list[e.Event]:
    """The look at each once broken connector on which the proof stands: the record keeps what it delivered."""
    said = [event.finding for event in told if isinstance(event, e.ProbeReported)]
    return [
        e.ProbeReported(finding)
        for finding in fresh
        if finding.signal is Signal.CONNECTOR
        and (finding.probe, finding.target) in incident.worst
        and finding not in said
    ]


def _awaits_person(incident: Incident) -> bool:
    """An incident opened by hand, with no alert ever, is resolved by a person."""
    return not incident.alerts


def _says_more(incident: Incident, judged: Judgement, policy: Policy, now: datetime) -> bool:
    """Say that alerts cleared without proof: at once when a part is broken, else when proof is overdue.

    After that only when a different part stands in the way. Proof takes `settle` and two looks at best.
    """
    if not incident.alerts_cleared or not incident.alerts:
        return False
    cleared_at = max(alert.ends_at or alert.seen_at for alert in incident.alerts)
    overdue = now - cleared_at > 3 * policy.settle + 2 * policy.recheck
    parts = tuple(line.split(":")[0] for line in judged.evidence)
    said = tuple(line.split(":")[0] for line in incident.recovery.evidence)
    return (judged.broken or overdue) and (incident.recovery.proved is not False or parts != said)


def _keeps_checking(incident: Incident) -> bool:
    repaired = any(s.status == "done" and s.step.section == "actions" for s in incident.steps)
    acted = any(a.status == "succeeded" and a.plan.action not in NOT_REPAIRS for a in incident.actions)
    return (bool(incident.alerts) and incident.alerts_cleared) or repaired or acted


def _again(incident: Incident, policy: Policy, now: datetime) -> Task:
    """Look again after `recheck`, more rarely the longer it takes: a tenth of the age, two minutes at most."""
    age = now - incident.opened_at
    delay = min(max(policy.recheck, age / 10), max(RECHECK_SLOWEST, policy.recheck))
    return Task("recovery", f"recovery:{incident.id}:{now.isoformat()}", {}, delay.total_seconds())
