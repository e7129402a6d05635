"""The timeline: an incident's entries as rows in plain words, for the thread, the terminal and the postmortem.

Pure and total over the event union: an event without words fails mypy. A row says what happened (`what`, a
whole sentence, the person's name in it) and on what it stands (`evidence`, the facts behind it). It reads only
the entries themselves, so a runbook edited later does not change what the timeline says.
Foreign text (labels, notes, traces) is passed on as it came; whoever renders makes it safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from bot.incident import events as e
from bot.incident.runbook import Step
from bot.incident.state import Incident, apply
from bot.model import Finding, Plan

# Labels that other words of the row or of the incident say already.
SAID_ELSEWHERE = frozenset({"alertname", "severity", "pipeline"})


@dataclass(frozen=True)
class Row:
    """One line of the timeline. `who` is a name for people."""

    at: datetime
    who: str
    what: str
    evidence: tuple[str, ...] = ()


def rfc3339(at: datetime) -> str:
    """Return a time as contract.md spells it: UTC, whole seconds, `Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(seconds: float) -> str:
    """Return a length of time for people: `45 s`, `12 min`, `2 h 5 min`, `3 d 4 h`."""
    whole = round(seconds)
    if whole == 0 < seconds:
        return "under 1 s"
    if whole < 120:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def timeline(entries: Iterable[e.Entry]) -> tuple[Row, ...]:
    """Return one row per entry, oldest first. The entries are one incident's, in version order."""
    rows: list[Row] = []
    before: Incident | None = None
    for entry in entries:
        what, evidence = _words(entry, before)
        rows.append(Row(entry.at, entry.who.name, what, evidence))
        before = apply(before, entry)
    return tuple(rows)


def row(before: Incident | None, entry: e.Entry) -> Row:
    """Return the row of one entry, given the incident as it stood before it."""
    what, evidence = _words(entry, before)
    return Row(entry.at, entry.who.name, what, evidence)


Words = tuple[str, tuple[str, ...]]


def _words(entry: e.Entry, before: Incident | None) -> Words:
    event, who = entry.event, entry.who.name
    match event:
        case e.IncidentOpened():
            return _opened(entry, event)
        case e.RunbookAttached():
            steps = f"{len(event.steps)} step" + ("" if len(event.steps) == 1 else "s")
            return f"runbook {event.title} attached ({steps})", (f"runbook {event.runbook}, text {event.hash}",)
        case e.AlertFired():
            return _fired(event)
        case e.AlertResolved():
            lasted = f" after {duration((event.ends_at - event.starts_at).total_seconds())}" if event.ends_at else ""
            ended = (f"ended {rfc3339(event.ends_at)}",) if event.ends_at else ()
            name = _alert_name(before, event.fingerprint, event.starts_at)
            return f"{name} resolved{lasted}", (f"firing since {rfc3339(event.starts_at)}", *ended)
        case e.AlertEnded():
            name = _alert_name(before, event.fingerprint, event.starts_at)
            return f"{name} ended: {event.reason}", (f"firing since {rfc3339(event.starts_at)}",)
        case e.AlertsHidden():
            if event.count == 0:
                return "Alertmanager shows every alert of the group again", ()
            return f"Alertmanager cut its list: {event.count} more alerts of the group were not shown", ()
        case e.SeverityRaised():
            return f"severity raised to {event.severity}: {event.reason}", ()
        case e.IncidentAcknowledged():
            lead = before.lead if before else None
            if lead is None or lead.id == entry.who.id:
                return f"{who} acknowledged and leads", ()
            return f"{who} acknowledged; {lead.name} leads", ()
        case e.LeadAssigned():
            if event.lead.id == entry.who.id:
                return f"{who} took the lead", ()
            return f"{who} made {event.lead.name} the lead", ()
        case e.NoteAdded():
            return f"{who} noted: {event.text}", ()
        case e.StepDone():
            return _step_done(before, event, entry.who)
        case e.StepSkipped():
            return f"{who} skipped step {_step_title(before, event.step)}: {event.reason}", ()
        case e.StepUndone():
            return f"{who} set step {_step_title(before, event.step)} back to do", ()
        case e.ProbeReported(finding=finding):
            return _reported(finding)
        case e.ActionPlanned():
            wants = ", wants a second person's approval" if event.guard == "second_person" else ""
            return f"{who} planned {_of(event.plan)}{wants}: {event.plan.summary}", _plan_evidence(event.plan)
        case e.ActionRefused():
            broken = " (break-glass)" if event.break_glass else ""
            return f"{event.action} refused{broken}: {event.reason}", ()
        case e.ActionApproved():
            return f"{who} approved {_action(before, event.key)}", (f"plan {event.plan_hash}",)
        case e.ActionCancelled():
            return f"{who} cancelled {_action(before, event.key)}; nothing was changed", ()
        case e.ActionConfirmed():
            return f"{who} confirmed {_action(before, event.key)}", (f"plan {event.plan_hash}",)
        case e.ActionStarted():
            return _started(before, event.key), ()
        case e.ActionFinished():
            word = "was carried out" if event.succeeded else "failed"
            return f"{_action(before, event.key)} {word}: {event.detail}", _pairs(event.result)
        case e.ActionOutcomeUnknown():
            return f"{_action(before, event.key)}: outcome unknown, look before you repeat it", (event.detail,)
        case e.ActionVerified():
            word = "verified" if event.verified else "not verified"
            return f"{_action(before, event.key)} {word}", event.evidence
        case e.IncidentMitigated():
            by_hand = f"{who} set the incident to mitigated" if entry.who != e.BOT else "mitigated"
            return f"{by_hand}: {event.reason}", ()
        case e.ResolveRequested():
            return f"{who} asked to resolve; recovery is checked first", ()
        case e.RecoveryProved():
            return "recovery proved", event.evidence
        case e.RecoveryNotVerified():
            cleared = "alerts cleared, " if event.alerts_cleared else ""
            first = f": {event.evidence[0]}" if event.evidence else ""
            return f"{cleared}recovery not verified{first}", event.evidence
        case e.IncidentResolved():
            by_hand = f"{who} resolved the incident" if entry.who != e.BOT else "incident resolved"
            proof = "" if event.verified else " without proof of recovery"
            return f"{by_hand}{proof}: {event.reason}", ()
        case e.IncidentReopened():
            again = f"flapped {_times(before.reopened + 1)}" if before and entry.who == e.ALERTMANAGER else ""
            return f"incident reopened{f' ({again})' if again else f' by {who}'}: {event.reason}", ()
        case e.IncidentLinked():
            reason = f": {event.reason}" if event.reason else ""
            return f"linked to {event.other}{reason}", ()
        case _:
            assert_never(event)


def _opened(entry: e.Entry, event: e.IncidentOpened) -> Words:
    by = f"{entry.who.name} opened" if entry.who != e.ALERTMANAGER else "alerts opened"
    about = f" for pipeline {event.pipeline}" if event.pipeline else ""
    known_by = (("bot", event.bot_version), ("config", event.config_hash))
    return (
        f"{by} {entry.incident}{about} ({event.severity}): {event.title}",
        tuple(f"{name} {value}" for name, value in known_by if value),
    )


def _fired(event: e.AlertFired) -> Words:
    name = event.labels.get("alertname", "alert")
    severity = event.labels.get("severity", "no severity")
    missed = ", missed while the bot was down" if event.missed_while_down else ""
    labels = ", ".join(f"{key}={value}" for key, value in sorted(event.labels.items()) if key not in SAID_ELSEWHERE)
    said = event.annotations.get("summary") or event.annotations.get("description")
    evidence = (
        f"firing since {rfc3339(event.starts_at)}",
        *((labels,) if labels else ()),
        *((f"at alert time: {said}",) if said else ()),
    )
    return f"{name} fired ({severity}){missed}", evidence


def _step_done(before: Incident | None, event: e.StepDone, who: e.Who) -> Words:
    title = _step_title(before, event.step)
    reason = f": {event.reason}" if event.reason else ""
    if event.choice:
        return f"{who.name} decided {event.choice} ({title}){reason}", ()
    if who == e.BOT:
        return f"step {title} done{reason}", ()
    return f"{who.name} did step {title}{reason}", ()


def _reported(finding: Finding) -> Words:
    unknown = tuple(f"not known: {line}" for line in finding.not_known)
    verdict = "" if finding.verdict in finding.headline else f" [{finding.verdict}]"
    target = "" if finding.headline.startswith(finding.target) else f"{finding.target}: "
    return f"{target}{finding.headline}{verdict}", (*finding.evidence, *unknown)


def _started(before: Incident | None, key: str) -> str:
    action = before.action(key) if before else None
    return f"{action.plan.action} started on {action.plan.target}" if action else f"action {key} started"


def _plan_evidence(plan: Plan) -> tuple[str, ...]:
    return (
        *plan.steps,
        *(f"only if: {condition}" for condition in plan.preconditions),
        *(f"warning: {warning}" for warning in plan.warnings),
        *((f"plan {plan.hash}",) if plan.hash else ()),
    )


def _of(plan: Plan) -> str:
    return f"{plan.action} on {plan.target}"


def _action(before: Incident | None, key: str) -> str:
    action = before.action(key) if before else None
    return _of(action.plan) if action else f"action {key}"


def _step(before: Incident | None, step_id: str) -> Step | None:
    state = before.step(step_id) if before else None
    return state.step if state else None


def _step_title(before: Incident | None, step_id: str) -> str:
    step = _step(before, step_id)
    return f"“{step.title}”" if step else step_id


def _alert_name(before: Incident | None, fingerprint: str, starts_at: datetime) -> str:
    alert = before.alert(fingerprint, starts_at) if before else None
    return alert.name if alert else f"alert {fingerprint}"


def _pairs(values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}: {value}" for name, value in values.items())


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
