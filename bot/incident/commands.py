"""Commands: what somebody asks of an incident, in the imperative.

A click carries what the person saw (`seen`, the revision of the thing clicked, and the incident's
`nonce`): when that is no longer so, nothing is done and the fresh view is shown. A typed command
carries neither. Who asked is always given and always authorised again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.incident.events import Who
from bot.model import Finding, Plan


@dataclass(frozen=True)
class Seen:
    """What the clicked message showed."""

    nonce: str
    revision: int


@dataclass(frozen=True)
class AcknowledgeIncident:
    who: Who
    seen: Seen | None = None


@dataclass(frozen=True)
class AssignLead:
    who: Who
    lead: Who
    seen: Seen | None = None


@dataclass(frozen=True)
class AddNote:
    who: Who
    text: str


@dataclass(frozen=True)
class CompleteStep:
    who: Who
    step: str
    choice: str | None = None
    reason: str = ""
    seen: Seen | None = None


@dataclass(frozen=True)
class SkipStep:
    who: Who
    step: str
    reason: str
    seen: Seen | None = None


@dataclass(frozen=True)
class UndoStep:
    who: Who
    step: str
    seen: Seen | None = None


@dataclass(frozen=True)
class MitigateIncident:
    who: Who
    reason: str = ""
    seen: Seen | None = None


@dataclass(frozen=True)
class ResolveIncident:
    """Without a reason: resolve if recovery is proved. With one: resolve even so, and say that it was not."""

    who: Who
    reason: str = ""
    seen: Seen | None = None


@dataclass(frozen=True)
class ReopenIncident:
    who: Who
    reason: str = ""
    seen: Seen | None = None


@dataclass(frozen=True)
class LinkIncident:
    who: Who
    other: str
    reason: str = ""


@dataclass(frozen=True)
class PlanAction:
    """Ask for the plan of an action step, or of an action by its name."""

    who: Who
    step: str | None = None
    action: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    seen: Seen | None = None


@dataclass(frozen=True)
class RunAction:
    who: Who
    key: str
    plan_hash: str
    seen: Seen | None = None


@dataclass(frozen=True)
class ApproveAction:
    who: Who
    key: str
    plan_hash: str
    seen: Seen | None = None


@dataclass(frozen=True)
class CancelAction:
    who: Who
    key: str
    seen: Seen | None = None


# --- what the bot's own tasks report -------------------------------------------------------------


@dataclass(frozen=True)
class ReportFindings:
    """Probes came back. `asked_by` is None for those the bot ran by itself."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ReportPlan:
    key: str
    step: str | None
    guard: str
    plan: Plan | None
    refused: str
    action: str
    who: Who
    before: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class StartAction:
    """The runner is about to act: `findings` are the preconditions, read again just now."""

    key: str
    refused: str = ""


@dataclass(frozen=True)
class ReportOutcome:
    key: str
    succeeded: bool | None
    detail: str
    result: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportVerification:
    key: str
    verified: bool
    evidence: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class ReportGroup:
    """A group that Alertmanager had cut was read whole: nothing of it is hidden any more."""

    group_key: str


@dataclass(frozen=True)
class ReportRecovery:
    """Every part of the pipeline was probed again, to judge whether it recovered."""

    findings: tuple[Finding, ...]


PersonCommand = (
    AcknowledgeIncident
    | AssignLead
    | AddNote
    | CompleteStep
    | SkipStep
    | UndoStep
    | MitigateIncident
    | ResolveIncident
    | ReopenIncident
    | LinkIncident
    | PlanAction
    | RunAction
    | ApproveAction
    | CancelAction
)
TaskCommand = (
    ReportFindings | ReportPlan | StartAction | ReportOutcome | ReportVerification | ReportGroup | ReportRecovery
)
Command = PersonCommand | TaskCommand
