"""One sentence: what a person should do now. The most pressing thing wins, and there is always an answer."""

from __future__ import annotations

from datetime import datetime

from bot.incident.guards import SECOND_PERSON
from bot.incident.policy import Policy
from bot.incident.state import ActionState, Incident, StepState
from bot.render.blocks import line


def next_step(incident: Incident, policy: Policy, now: datetime) -> str:
    """Return the sentence as mrkdwn."""
    if incident.is_test:
        return "nothing: `cdc doctor --fire` tried the way from Alertmanager to this thread."
    if not incident.is_open:
        return _after(incident)
    if action := _last(incident, "unknown"):
        return (
            f"*look by hand* whether {_named(action)} happened: its outcome is not known. "
            "It is not run again by itself."
        )
    if incident.status == "open":
        return "press *Acknowledge*, so that others know someone is on it."
    if action := _last(incident, "started", "confirmed"):
        return f"wait: {_named(action)} is running."
    if (action := _last(incident, "planned")) and now - action.planned_at <= policy.plan_ttl:
        needs_second = action.guard == SECOND_PERSON and action.approved_by is None
        verb = "a second person presses *Approve*" if needs_second else "read it and press *Run*"
        return f"the plan for {_named(action)} waits in the thread: {verb}."
    if incident.resolve_requested_by is not None:
        return "wait: recovery is being checked, then it resolves by itself."
    if incident.recovery.proved:
        if incident.firing:
            return "recovery is proved; an alert still fires. It resolves when that clears, or press *Resolve*."
        return "recovery is proved: press *Resolve*."
    if incident.actions and incident.actions[-1].verified is False:
        return f"{_named(incident.actions[-1])} did not help: repair the cause first, then plan it again."
    step = next_todo(incident)
    if step is not None:
        return _do(step, incident, policy)
    if incident.status == "acknowledged":
        return "the checklist is through: repair what is broken, then press *Mitigated* or *Resolve*."
    return "press *Resolve*: recovery is checked first, and it resolves when it is proved."


def next_todo(incident: Incident) -> StepState | None:
    """The step to do now: a recommended action, else triage in order, else the other actions."""
    todo = [s for s in incident.steps if s.status == "todo" and s.step.section != "post_incident"]
    findings = tuple(incident.findings.values())
    triage = [s for s in todo if s.step.section == "triage" and not _answered(s, incident)]
    recommended = [s for s in todo if s.step.section == "actions" and s.step.recommended_by(findings)]
    return next(iter([*recommended, *triage, *todo]), None)


def _answered(step: StepState, incident: Incident) -> bool:
    """A probe has seen it already: what is left of the step is a tick."""
    return step.step.probe is not None and any(probe == step.step.probe for probe, _ in incident.findings)


def _do(step: StepState, incident: Incident, policy: Policy) -> str:
    title = line(step.step.title, 200)
    if step.step.choices:
        return f"decide: {title}"
    if step.step.action and policy.enabled(step.step.action, incident.pipeline):
        return f"{title} (press *Plan*: nothing is changed before you have read the plan)"
    if step.step.action:
        return f"{title} (by hand: the action is not enabled in cdc.yml)"
    return title


def _after(incident: Incident) -> str:
    left = sum(1 for s in incident.steps if s.step.section == "post_incident" and s.status == "todo")
    tasks = f", and do the {left} tasks after the incident" if left > 1 else ", and the one task left" if left else ""
    if incident.resolved_verified:
        return f"write the postmortem{tasks}."
    return f"it was closed without proof of recovery: look once more. Then write the postmortem{tasks}."


def _last(incident: Incident, *statuses: str) -> ActionState | None:
    return next((a for a in reversed(incident.actions) if a.status in statuses), None)


def _named(action: ActionState) -> str:
    return f"{line(action.plan.action.replace('_', ' '), 60)} on {line(action.plan.target, 120)}"
