"""Events: what happened to an incident, in the past tense. The journal keeps them for ever.

An incident is the fold of its entries (`state.fold`); nothing else is kept of it. An event holds
what was known when it was written, so that a runbook or a config edited later cannot change history.
Fields may be added with a default; none is ever renamed or removed: old journals must still open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bot.incident.runbook import Step
from bot.model import Finding, Plan, Severity


@dataclass(frozen=True)
class Who:
    """Who did it: `id` is `slack:U123`, `terminal:alice`, `alertmanager` or `bot`; `name` is for people."""

    id: str
    name: str


BOT = Who("bot", "cdc-oncall")
ALERTMANAGER = Who("alertmanager", "Alertmanager")


@dataclass(frozen=True)
class IncidentOpened:
    """An incident began: where it is told, whom it belongs to, and which bot and config opened it."""

    title: str
    pipeline: str | None
    severity: Severity
    correlation: str
    channel: str
    nonce: str
    owner: str | None = None
    bot_version: str = ""
    config_hash: str = ""


@dataclass(frozen=True)
class RunbookAttached:
    """The checklist gained a runbook's steps, frozen as they were; `hash` names that text."""

    runbook: str
    title: str
    hash: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class AlertFired:
    """One episode of an alert: the same fingerprint with a new `starts_at` is another episode."""

    fingerprint: str
    starts_at: datetime
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    source: str = ""
    receiver: str = ""
    group_key: str = ""
    generator_url: str = ""
    missed_while_down: bool = False


@dataclass(frozen=True)
class AlertResolved:
    """Alertmanager said that this episode is over."""

    fingerprint: str
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True)
class AlertEnded:
    """The alert is gone and no resolve was sent: `reason` says how we know."""

    fingerprint: str
    starts_at: datetime
    reason: str


@dataclass(frozen=True)
class AlertsHidden:
    """Alertmanager cut its list (`max_alerts`): so many alerts of the group were not shown."""

    group_key: str
    count: int


@dataclass(frozen=True)
class SeverityRaised:
    """It got worse: severity only ever goes up."""

    severity: Severity
    reason: str


@dataclass(frozen=True)
class IncidentAcknowledged:
    """Someone has it. Who acknowledges first leads, unless someone does already."""


@dataclass(frozen=True)
class LeadAssigned:
    """The lead changed."""

    lead: Who


@dataclass(frozen=True)
class NoteAdded:
    """A person's line on the timeline."""

    text: str


@dataclass(frozen=True)
class StepDone:
    """A step of the checklist was done; a decision carries its choice and its reason."""

    step: str
    choice: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class StepSkipped:
    """A step was left out, for this reason."""

    step: str
    reason: str


@dataclass(frozen=True)
class StepUndone:
    """A step is to do again."""

    step: str


@dataclass(frozen=True)
class ProbeReported:
    """A probe saw something that it had not said before."""

    finding: Finding


@dataclass(frozen=True)
class ActionPlanned:
    """`key` names this one attempt; `before` is what the verifying probe saw before anything was done."""

    key: str
    step: str | None
    plan: Plan
    guard: str
    before: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class ActionRefused:
    """An action was not planned or not started: why. Nothing was changed."""

    key: str
    action: str
    reason: str
    break_glass: bool = False


@dataclass(frozen=True)
class ActionApproved:
    """A second person approved this frozen plan."""

    key: str
    plan_hash: str


@dataclass(frozen=True)
class ActionCancelled:
    """The plan was dropped; nothing was done."""

    key: str


@dataclass(frozen=True)
class ActionConfirmed:
    """A person pressed Run on this plan: it is queued, nothing was done yet."""

    key: str
    plan_hash: str


@dataclass(frozen=True)
class ActionStarted:
    """Committed before the remote call: a start without an outcome is `outcome unknown`, never run again."""

    key: str


@dataclass(frozen=True)
class ActionFinished:
    """The system answered; what it answered is no proof."""

    key: str
    succeeded: bool
    detail: str
    result: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ActionOutcomeUnknown:
    """The request may have been carried out, nobody knows: look. It is never run again by itself."""

    key: str
    detail: str


@dataclass(frozen=True)
class ActionVerified:
    """What the verifying probe saw afterwards: what the API answered is no proof that it did it."""

    key: str
    verified: bool
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class IncidentMitigated:
    """The harm has stopped, the cause may remain."""

    reason: str


@dataclass(frozen=True)
class ResolveRequested:
    """A person wants it resolved: recovery is being checked first."""


@dataclass(frozen=True)
class RecoveryProved:
    """Every part delivered again and held: one line of evidence per part."""

    evidence: tuple[str, ...]


@dataclass(frozen=True)
class RecoveryNotVerified:
    """What stands in the way of proof, while alerts may have cleared."""

    evidence: tuple[str, ...]
    alerts_cleared: bool


@dataclass(frozen=True)
class IncidentResolved:
    """`verified` is false when a person closed it without proof; the postmortem says so."""

    verified: bool
    reason: str


@dataclass(frozen=True)
class IncidentReopened:
    """It was not over: an alert fired again soon, or a person said so."""

    reason: str


@dataclass(frozen=True)
class IncidentLinked:
    """Another incident has to do with this one."""

    other: str
    reason: str


Event = (
    IncidentOpened
    | RunbookAttached
    | AlertFired
    | AlertResolved
    | AlertEnded
    | AlertsHidden
    | SeverityRaised
    | IncidentAcknowledged
    | LeadAssigned
    | NoteAdded
    | StepDone
    | StepSkipped
    | StepUndone
    | ProbeReported
    | ActionPlanned
    | ActionRefused
    | ActionApproved
    | ActionCancelled
    | ActionConfirmed
    | ActionStarted
    | ActionFinished
    | ActionOutcomeUnknown
    | ActionVerified
    | IncidentMitigated
    | ResolveRequested
    | RecoveryProved
    | RecoveryNotVerified
    | IncidentResolved
    | IncidentReopened
    | IncidentLinked
)


@dataclass(frozen=True)
class Entry:
    """One row of the journal: `version` counts the incident's events from 1, without a gap."""

    incident: str
    version: int
    at: datetime
    who: Who
    event: Event
