"""The five questions that need more than a click: a note, a reason, a choice with its reason, a lead.

A modal is a pure function of the incident and the click that asked for it. Its `private_metadata` carries
what the click carried (so a stale one is still found out) and where the answer is to go:

    i r n s v as in `bot.render.clicks`   c channel   t thread   u response_url
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bot.incident.state import Incident
from bot.render.blocks import Block, line, plain, section

VERBS = frozenset({"note", "skip", "choose", "resolve_reason", "assign"})
MOST_WRITTEN = 2000


def render_modal(verb: str, incident: Incident, step_id: str | None, private_metadata: str) -> Mapping[str, Any] | None:
    """Return the view for a verb of `VERBS`, or None when it asks about a step that the incident does not have."""
    step = incident.step(step_id) if step_id else None
    match verb:
        case "note":
            blocks = [_text("text", "What did you see or do?", "It goes on the timeline and into the postmortem.")]
            return _modal(verb, "Note", "Save", incident, blocks, private_metadata)
        case "skip":
            if step is None:
                return None
            blocks = [_about(step.step.title), _text("reason", "Why is it skipped?", "The postmortem quotes it.")]
            return _modal(verb, "Skip this step", "Skip", incident, blocks, private_metadata)
        case "choose":
            if step is None or not step.step.choices:
                return None
            blocks = [
                _about(step.step.title),
                _choice(step.step.choices),
                _text("reason", "Why?", "A decision is recorded with its reason."),
            ]
            return _modal(verb, "Decide", "Record", incident, blocks, private_metadata)
        case "resolve_reason":
            about = "Recovery is not proved. The incident closes all the same, and the postmortem says so."
            blocks = [_about(about), _text("reason", "Why is it over?", "What did you look at?")]
            return _modal(verb, "Resolve without proof", "Resolve", incident, blocks, private_metadata)
        case "assign":
            blocks = [_input("lead", "Who leads?", {"type": "users_select", "action_id": "lead"})]
            return _modal(verb, "Assign the lead", "Assign", incident, blocks, private_metadata)
        case _:
            return None


def metadata_of(value: Mapping[str, Any], channel: str | None, thread_ts: str | None, response_url: str | None) -> str:
    """Return the private_metadata for a click's value, at most 3000 characters: a long address is left out."""
    carried = {key: value[key] for key in ("i", "r", "n", "s", "v") if key in value}
    places = {"c": channel, "t": thread_ts, "u": response_url if response_url and len(response_url) < 1000 else None}
    document = {**carried, **{key: place for key, place in places.items() if place}}
    return json.dumps(document, separators=(",", ":"))


def _modal(
    verb: str, title: str, submit: str, incident: Incident, blocks: list[Block], private_metadata: str
) -> Mapping[str, Any]:
    named = section(f"{line(incident.id, 60)} · {line(incident.pipeline or incident.title, 120)}")
    return {
        "type": "modal",
        "callback_id": f"cdc.{verb}",
        "title": plain(title, 24),
        "submit": plain(submit, 24),
        "close": plain("Cancel", 24),
        "private_metadata": private_metadata,
        "blocks": [named, *blocks],
    }


def _about(text: str) -> Block:
    return section(line(text, 600))


def _text(name: str, label: str, hint: str) -> Block:
    element = {"type": "plain_text_input", "action_id": name, "multiline": True, "max_length": MOST_WRITTEN}
    return {**_input(name, label, element), "hint": plain(hint, 200)}


def _choice(choices: tuple[str, ...]) -> Block:
    """The value of a choice is its place in the list: the words may be longer than an option's value."""
    options = [{"text": plain(choice), "value": str(place)} for place, choice in enumerate(choices[:100])]
    kind = "radio_buttons" if len(options) <= 10 else "static_select"
    return _input("choice", "What is decided?", {"type": kind, "action_id": "choice", "options": options})


def _input(name: str, label: str, element: Mapping[str, Any]) -> Block:
    return {"type": "input", "block_id": name, "label": plain(label, 200), "element": dict(element)}
