"""What a button carries: which incident, the revision of the thing it acts on, and the incident's nonce.

A click is compared with the state of that moment: a stale or forged value does nothing. Keys are short
because Slack counts values into a message's size, and gives a menu's option 150 characters:

    i incident   r revision   n nonce   v verb   s step   k action key   h plan hash
"""

from __future__ import annotations

import json
from typing import Any

from bot.incident.state import ActionState, Incident, StepState
from bot.render.blocks import OPTION_VALUE_LIMIT, units


def of_incident(incident: Incident, verb: str) -> str:
    return _value(incident, incident.revision, v=verb)


def of_step(incident: Incident, step: StepState, verb: str) -> str:
    """For a button or an option: where 150 characters do not hold the step too, the action id names it."""
    value = _value(incident, step.revision, s=step.step.id, v=verb)
    return value if units(value) <= OPTION_VALUE_LIMIT else _value(incident, step.revision, v=verb)


def of_action(incident: Incident, action: ActionState, verb: str) -> str:
    """Run and Approve are bound to the hash of the plan that was shown."""
    return _value(incident, action.revision, k=action.key, h=action.plan.hash, v=verb)


def _value(incident: Incident, revision: int, **more: Any) -> str:
    return json.dumps({"i": incident.id, "r": revision, "n": incident.nonce, **more}, separators=(",", ":"))
