"""Guards: whether an action may be planned, run or approved, by whom, now. Each answer is a reason or None.

Everything is asked again at every step (a plan shown to one person is not a permission for another),
and again by the runner just before it acts.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.incident.correlation import Board
from bot.incident.events import Who
from bot.incident.policy import Policy
from bot.incident.state import ActionState, Incident
from bot.model import Refusal

SECOND_PERSON = "second_person"
DEFAULT_CAP_PER_HOUR = 6


def refuse_action(policy: Policy, incident: Incident, action: str, who: Who) -> Refusal | None:
    """Return why `who` may not ask for this action here, or None."""
    if not policy.enabled(action, incident.pipeline):
        return Refusal(
            f"Not planned: action {action} is not enabled"
            + (f" for pipeline {incident.pipeline}." if incident.pipeline else ".")
            + " Nothing was changed.",
            f"Enable it by name in cdc.yml: `actions: [{action}]`.",
        )
    if not policy.may_respond(who):
        return Refusal(
            f"Not allowed: {who.name} is not a responder, and {action} changes a running system. Nothing was changed.",
            "Ask someone listed under `people.responders` in cdc.yml.",
        )
    return None


def refuse_run(
    policy: Policy, board: Board, incident: Incident, action: ActionState, who: Who, plan_hash: str, now: datetime
) -> Refusal | None:
    """Return why this plan may not be run by `who` now, or None."""
    if refusal := refuse_action(policy, incident, action.plan.action, who):
        return refusal
    if action.status != "planned":
        return Refusal(f"Not run again: this plan is {action.status} already. Nothing was changed by this click.")
    if plan_hash != action.plan.hash:
        return Refusal("Not run: the plan shown is not the plan stored. Nothing was changed.", "Ask for a new plan.")
    if now - action.planned_at > policy.plan_ttl:
        minutes = int(policy.plan_ttl.total_seconds() // 60)
        return Refusal(f"Not run: the plan is older than {minutes} min. Nothing was changed.", "Ask for a new plan.")
    if action.guard == SECOND_PERSON and action.approved_by is None:
        return Refusal(
            "Not run: this action needs a second person's approval first. Nothing was changed.",
            "An approver other than the requester presses Approve.",
        )
    return refuse_cap(policy, board, action, now)


def refuse_cap(policy: Policy, board: Board, action: ActionState, now: datetime) -> Refusal | None:
    """Return a refusal when the action was started too often on this target within the last hour."""
    cap = policy.caps.get(action.plan.action, DEFAULT_CAP_PER_HOUR)
    started = board.starts_since(action.plan.action, action.plan.target, now - timedelta(hours=1))
    if started >= cap:
        return Refusal(
            f"Not run: {action.plan.action} was started {started} times on {action.plan.target} within an hour "
            f"(cap {cap}). Nothing was changed.",
            "The cause is still there: repair it first, or raise `cap_per_hour` in cdc.yml.",
        )
    return None


def refuse_approval(policy: Policy, action: ActionState, who: Who, plan_hash: str, now: datetime) -> Refusal | None:
    """Return why `who` may not approve this plan, or None. An approval is bound to the frozen plan's hash."""
    if not policy.may_approve(who):
        return Refusal(f"Not approved: {who.name} is not an approver.", "See `people.approvers` in cdc.yml.")
    if who.id == action.requested_by.id:
        return Refusal(f"Not approved: {who.name} asked for it; a second person must approve.")
    if action.status != "planned" or action.approved_by is not None:
        return Refusal("Not approved: this plan is approved or over already.")
    if plan_hash != action.plan.hash:
        return Refusal("Not approved: the plan shown is not the plan stored.", "Ask for a new plan.")
    if now - action.planned_at > policy.plan_ttl:
        return Refusal("Not approved: the plan has expired.", "Ask for a new plan.")
    return None
