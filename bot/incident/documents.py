"""The JSON of an incident as contract.md promises it: keys may be added, none is renamed or re-typed.

Times are RFC 3339 in UTC or null; unknown is null. Pure: states and entries in, plain JSON values out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bot.incident.events import Entry
from bot.incident.state import AlertState, Incident, StepState
from bot.incident.timeline import Row, rfc3339, timeline
from bot.model import Finding

Document = dict[str, Any]


def incident_summary(incident: Incident, link: str | None = None) -> Document:
    """Return one element of `cdc incidents --json`."""
    return {
        "id": incident.id,
        "status": incident.status,
        "severity": str(incident.severity),
        "pipeline": incident.pipeline,
        "title": incident.title,
        "opened_at": rfc3339(incident.opened_at),
        "acknowledged_at": time_or_null(incident.acknowledged_at),
        "mitigated_at": time_or_null(incident.mitigated_at),
        "resolved_at": time_or_null(incident.resolved_at),
        "resolved_verified": incident.resolved_verified,
        "lead": incident.lead.name if incident.lead else None,
        "alerts": [_alert(alert) for alert in incident.alerts],
        "alerts_not_shown": incident.hidden_alerts,
        "steps": [_step(step) for step in incident.steps],
        "link": link,
    }


def incident_document(incident: Incident, entries: Sequence[Entry], link: str | None = None) -> Document:
    """Return `cdc incident ID --json`: the summary, the timeline, the newest finding of each probe and target."""
    return {
        **incident_summary(incident, link),
        "timeline": [row_document(row) for row in timeline(entries)],
        "findings": [finding_document(finding) for finding in incident.findings.values()],
    }


def row_document(row: Row) -> Document:
    return {"at": rfc3339(row.at), "who": row.who, "what": row.what, "evidence": list(row.evidence)}


def finding_document(finding: Finding) -> Document:
    return {
        "probe": finding.probe,
        "target": finding.target,
        "verdict": finding.verdict,
        "status": str(finding.status),
        "headline": finding.headline,
        "facts": dict(finding.facts),
        "at": rfc3339(finding.at),
        "evidence": list(finding.evidence),
        "not_known": list(finding.not_known),
    }


def time_or_null(at: datetime | None) -> str | None:
    return rfc3339(at) if at else None


def _alert(alert: AlertState) -> Document:
    return {
        "fingerprint": alert.fingerprint,
        "starts_at": rfc3339(alert.starts_at),
        "ends_at": time_or_null(alert.ends_at),
        "status": alert.status,
        "labels": dict(alert.labels),
    }


def _step(state: StepState) -> Document:
    return {
        "id": state.step.id,
        "status": state.status,
        "title": state.step.title,
        "section": state.step.section,
        "choice": state.choice,
        "reason": state.reason or None,
    }
