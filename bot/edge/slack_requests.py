"""What a stored click or a submitted modal asks: JSON of the inbox in, a command of the incident out.

Pure. A value is what the button carried when it was shown (`bot.render.clicks`): the revision and nonce in it
become `Seen`, so that the decision can tell a stale click. Nothing here says who may do what.
A body that names no incident or no known verb is `Unreadable`, with the reason.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.incident import commands as c
from bot.incident.events import Who


@dataclass(frozen=True)
class PostmortemRequest:
    """Somebody wants the postmortem of an incident as a file in its thread."""

    incident: str
    who: Who


@dataclass(frozen=True)
class Unreadable:
    reason: str


Asked = tuple[str, c.PersonCommand] | PostmortemRequest | Unreadable

NEEDS_REASON: Mapping[str, str] = {
    "cdc.note": "text",
    "cdc.skip": "reason",
    "cdc.choose": "reason",
    "cdc.resolve_reason": "reason",
}


def read_click(body: Mapping[str, Any]) -> Asked:
    """Return what a body of kind `slack.action` asks."""
    value = body.get("value")
    if not isinstance(value, Mapping):
        return Unreadable("the button carries no value of ours: is it from another version?")
    verb, step, key = str(body.get("verb") or ""), _word(value, "s"), _word(value, "k")
    incident = _word(value, "i")
    if not incident:
        return Unreadable(f"the button {verb or '?'} names no incident")
    who, seen = _who(body), _seen(value)
    match verb:
        case "ack":
            return incident, c.AcknowledgeIncident(who, seen)
        case "lead":
            return incident, c.AssignLead(who, who, seen)
        case "mitigate":
            return incident, c.MitigateIncident(who, "", seen)
        case "resolve":
            return incident, c.ResolveIncident(who, "", seen)
        case "reopen":
            return incident, c.ReopenIncident(who, "", seen)
        case "postmortem":
            return PostmortemRequest(incident, who)
        case "done" if step:
            return incident, c.CompleteStep(who, step, seen=seen)
        case "undo" if step:
            return incident, c.UndoStep(who, step, seen)
        case "plan" if step:
            return incident, c.PlanAction(who, step=step, seen=seen)
        case "run" if key:
            return incident, c.RunAction(who, key, _word(value, "h"), seen)
        case "approve" if key:
            return incident, c.ApproveAction(who, key, _word(value, "h"), seen)
        case "cancel" if key:
            return incident, c.CancelAction(who, key, seen)
        case "done" | "undo" | "plan" | "run" | "approve" | "cancel":
            return Unreadable(f"the button {verb} does not say which step or plan")
        case _:
            return Unreadable(f"unknown button {verb[:80] or '?'}")


def read_submission(body: Mapping[str, Any]) -> Asked:
    """Return what a body of kind `slack.view` asks."""
    carried, values = body.get("private_metadata"), body.get("values")
    if not isinstance(carried, Mapping) or not isinstance(values, Mapping):
        return Unreadable("the form carries no incident of ours: is it from another version?")
    incident, step, callback_id = _word(carried, "i"), _word(carried, "s"), str(body.get("callback_id") or "")
    if not incident:
        return Unreadable(f"the form {callback_id or '?'} names no incident")
    who, seen = _who(body), _seen(carried)
    reason = str(values.get("reason") or "").strip()
    match callback_id:
        case "cdc.note":
            return incident, c.AddNote(who, str(values.get("text") or "").strip())
        case "cdc.skip" if step:
            return incident, c.SkipStep(who, step, reason, seen)
        case "cdc.choose" if step:
            return incident, c.CompleteStep(who, step, str(values.get("choice") or "") or None, reason, seen)
        case "cdc.resolve_reason":
            return incident, c.ResolveIncident(who, reason, seen)
        case "cdc.assign":
            user = str(values.get("lead") or "")
            if not re.fullmatch(r"[A-Z0-9]{3,30}", user):
                return Unreadable("the form names no person to lead")
            return incident, c.AssignLead(who, Who(f"slack:{user}", str(values.get("lead_name") or user)), seen)
        case "cdc.skip" | "cdc.choose":
            return Unreadable(f"the form {callback_id} does not say which step")
        case _:
            return Unreadable(f"unknown form {callback_id[:80] or '?'}")


def missing(callback_id: str, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return what must still be written, by input: spaces are no reason."""
    errors: dict[str, str] = {}
    name = NEEDS_REASON.get(callback_id)
    if name is not None and not str(values.get(name) or "").strip():
        errors[name] = "Write a sentence: the timeline and the postmortem quote it."
    if callback_id == "cdc.choose" and not values.get("choice"):
        errors["choice"] = "Choose one."
    if callback_id == "cdc.assign" and not values.get("lead"):
        errors["lead"] = "Choose a person."
    return errors


def as_typed(text: str) -> str:
    """Return a command's text as the person typed it: Slack makes links and channel ids of words like `orders.dev`.

    Mentions of people (`<@U123|alice>`) stay: a verb reads the id from them.
    """
    text = re.sub(r"<(?:https?://|mailto:)[^<>|]*\|([^<>]*)>", r"\1", text)
    text = re.sub(r"<(https?://[^<>|]*|mailto:[^<>|]*)>", r"\1", text)
    text = re.sub(r"<#[A-Z0-9]+\|([^<>]*)>", r"#\1", text)
    return html.unescape(text).strip()


def _who(body: Mapping[str, Any]) -> Who:
    user = body.get("user")
    user = user if isinstance(user, Mapping) else {}
    user_id = str(user.get("id") or "unknown")
    return Who(f"slack:{user_id}", str(user.get("name") or user_id))


def _seen(value: Mapping[str, Any]) -> c.Seen:
    """A value without a revision or nonce matches no state: the click counts as stale, never as permitted."""
    revision = value.get("r")
    is_number = isinstance(revision, int) and not isinstance(revision, bool)
    return c.Seen(_word(value, "n"), revision if is_number and isinstance(revision, int) else -1)


def _word(value: Mapping[str, Any], name: str) -> str:
    word = value.get(name)
    return word if isinstance(word, str) else ""
