"""Which messages an entry changes: the rules of who is notified, as a function of events.

`chat.update` notifies nobody, so exactly these are new messages that mention the owner, once each:
critical opened, severity raised, data lost, approval wanted, outcome unknown, proved recovered.
All else edits in place or replies silently. A delivery says *what to say* (incident, slot); the words
are made when it is sent, from the newest state, so a burst of changes becomes one edit.

Slots of an incident
    card              the parent message in the channel
    checklist         the runbook's steps with their buttons, a reply edited in place
    findings          what the probes saw, a reply edited in place
    plan:KEY          one action from plan to verified outcome, a reply edited in place
    event:VERSION     one line of the timeline, a reply written once
    page:KIND         a reply that mentions the owner, written once
    chart:opened      the lag before the incident as a picture, and `chart:resolved` with what became of it; posted
                      by a thread of their own, dropped when they fail: no page and no reply waits for a picture
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from bot.incident import events as e
from bot.incident.guards import SECOND_PERSON
from bot.incident.state import Incident
from bot.model import Severity, Status

LANES = ("page", "reply", "card", "cosmetic")


@dataclass(frozen=True)
class Delivery:
    """A message to be brought up to date. A lower lane never overtakes a higher one."""

    slot: str
    lane: str


def deliveries(entries: Sequence[e.Entry]) -> tuple[Delivery, ...]:
    """Return what these new entries of one incident make due, each slot once, most urgent lane first."""
    due: dict[str, Delivery] = {}
    for entry in entries:
        for delivery in _due(entry):
            known = due.get(delivery.slot)
            if known is None or LANES.index(delivery.lane) < LANES.index(known.lane):
                due[delivery.slot] = delivery
    return tuple(sorted(due.values(), key=lambda d: LANES.index(d.lane)))


def has_something_to_say(slot: str, incident: Incident) -> bool:
    """Return whether a slot that its events make due is one of this incident's.

    A test has nothing to triage, without a runbook there is no checklist (it comes with its first step), and lag is
    drawn for a pipeline's groups alone.
    """
    if slot == "checklist":
        return bool(incident.steps)
    return not slot.startswith("chart:") or (incident.pipeline is not None and not incident.is_test)


CARD = Delivery("card", "card")
CHECKLIST = Delivery("checklist", "cosmetic")


def _due(entry: e.Entry) -> tuple[Delivery, ...]:
    line = Delivery(f"event:{entry.version}", "reply")
    match entry.event:
        case e.IncidentOpened():
            return (Delivery("card", "page"), Delivery("chart:opened", "cosmetic"))
        case e.RunbookAttached():
            return (CARD, Delivery("checklist", "reply"))
        case e.AlertFired() | e.AlertsHidden() | e.LeadAssigned():
            return (CARD,)
        case e.AlertResolved() | e.AlertEnded() | e.NoteAdded() | e.IncidentLinked():
            return (CARD, line)
        case e.SeverityRaised(severity=severity):
            return (CARD, Delivery(f"page:severity-{severity}", "page"))
        case e.IncidentAcknowledged() | e.IncidentMitigated() | e.IncidentReopened():
            return (CARD, CHECKLIST, line)
        case e.StepDone() | e.StepSkipped() | e.StepUndone():
            return (CARD, Delivery("checklist", "reply"))
        case e.ProbeReported(finding=finding):
            told = (CARD, Delivery("findings", "reply"), CHECKLIST)
            lost = finding.verdict == "DATA_LOST" and finding.status is Status.RED
            return (*told, Delivery("page:data-lost", "page")) if lost else told
        case e.ActionPlanned(key=key, guard=guard):
            plan = (Delivery(f"plan:{key}", "reply"), CHECKLIST)
            return (*plan, Delivery(f"page:approval-{key}", "page")) if guard == SECOND_PERSON else plan
        case e.ActionOutcomeUnknown(key=key):
            return (CARD, Delivery(f"plan:{key}", "reply"), Delivery(f"page:unknown-{key}", "page"))
        case (
            e.ActionRefused(key=key)
            | e.ActionApproved(key=key)
            | e.ActionCancelled(key=key)
            | e.ActionConfirmed(key=key)
            | e.ActionStarted(key=key)
            | e.ActionFinished(key=key)
            | e.ActionVerified(key=key)
        ):
            return (CARD, Delivery(f"plan:{key}", "reply"))
        case e.ResolveRequested():
            return (CARD,)
        case e.RecoveryProved():
            return (CARD, Delivery(f"page:recovered-{entry.version}", "page"))
        case e.IncidentResolved():
            return (CARD, CHECKLIST, line, Delivery("chart:resolved", "cosmetic"))
        case e.RecoveryNotVerified():
            return (CARD, CHECKLIST, line)
        case _:
            assert_never(entry.event)


def mentions(slot: str, severity: Severity) -> bool:
    """True when the message is to notify the owner: a page, or the card of an incident that opened critical."""
    return slot.startswith("page:") or (slot == "card" and severity is Severity.CRITICAL)
