"""Whether a drill reached its end, judged from outside.

Judged are the messages in Slack, the facts that `cdc incidents --json` gives, and the
parts themselves: a recovery that the bot claims while the pipeline is broken does not
count. A stage counts only if it still holds at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STAGES = ("opened", "triaged", "acted", "recovered", "resolved")
EVENT_TYPE = "cdc_incident"

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What can be seen from outside at one moment; `incident` is None while there is none."""

    messages: Sequence[Document]
    incident: Document | None
    pipeline_flows: bool


def reached(seen: Seen) -> dict[str, bool]:
    """Which stages hold; each needs the ones before it."""
    judged = {
        "opened": _opened(seen),
        "triaged": _triaged(seen),
        "acted": _acted(seen),
        "recovered": _recovered(seen),
        "resolved": _resolved(seen),
    }
    holds = True
    result = {}
    for stage in STAGES:
        holds = holds and judged[stage]
        result[stage] = holds
    return result


def slot_of(message: Document, incident_id: str) -> str | None:
    """The slot a message fills for an incident, or None when it is not about it."""
    metadata = message.get("metadata") or {}
    payload = metadata.get("event_payload") or {}
    if metadata.get("event_type") != EVENT_TYPE or payload.get("incident") != incident_id:
        return None
    return str(payload.get("slot"))


def _in_slots(seen: Seen) -> dict[str, Document]:
    if seen.incident is None:
        return {}
    found = {slot_of(message, str(seen.incident.get("id"))): message for message in seen.messages}
    return {slot: message for slot, message in found.items() if slot is not None and not message.get("deleted")}


def _opened(seen: Seen) -> bool:
    """The incident is known and its card stands in a channel."""
    card = _in_slots(seen).get("card")
    return card is not None and card.get("thread_ts") in (None, card.get("ts"))


def _triaged(seen: Seen) -> bool:
    """Acknowledged by a person, the checklist in the thread, every triage step settled, one at least done."""
    if seen.incident is None or not seen.incident.get("acknowledged_at"):
        return False
    card, checklist = _in_slots(seen).get("card"), _in_slots(seen).get("checklist")
    if card is None or checklist is None or checklist.get("thread_ts") != card.get("ts"):
        return False
    statuses = [step.get("status") for step in _steps(seen, "triage")]
    return "todo" not in statuses and "done" in statuses


def _acted(seen: Seen) -> bool:
    """An action step is done: by a verified action, or marked by the person who repaired the part itself."""
    return any(step.get("status") == "done" for step in _steps(seen, "actions"))


def _recovered(seen: Seen) -> bool:
    """The thread says that recovery is proved, the record says mitigated, and the pipeline really delivers."""
    said = any(slot.startswith("page:recovered") for slot in _in_slots(seen))
    mitigated = seen.incident is not None and bool(seen.incident.get("mitigated_at"))
    return said and mitigated and seen.pipeline_flows


def _resolved(seen: Seen) -> bool:
    """Resolved with proof, and none of its alerts fires."""
    incident = seen.incident or {}
    quiet = all(alert.get("status") != "firing" for alert in incident.get("alerts", ()))
    return (
        incident.get("status") == "resolved"
        and bool(incident.get("resolved_at"))
        and incident.get("resolved_verified") is not False
        and quiet
    )


def _steps(seen: Seen, section: str) -> list[Document]:
    steps = (seen.incident or {}).get("steps", ())
    return [step for step in steps if step.get("section") == section]


class ScoreSheet:
    """When each stage was first seen, in seconds since the break; a stage lost again is forgotten."""

    def __init__(self) -> None:
        self._at_s: dict[str, float] = {}

    def look(self, seen: Seen, at_s: float) -> dict[str, bool]:
        """Note what holds at a moment."""
        now = reached(seen)
        for stage, holds in now.items():
            if holds:
                self._at_s.setdefault(stage, round(at_s, 1))
            else:
                self._at_s.pop(stage, None)
        return now

    def document(self, scenario: str) -> dict[str, Any]:
        """score.json."""
        stages = [{"stage": stage, "reached": stage in self._at_s, "at_s": self._at_s.get(stage)} for stage in STAGES]
        return {"scenario": scenario, "stages": stages, "passed": len(self._at_s) == len(STAGES)}
