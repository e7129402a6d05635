"""Forms: what they ask, what they carry, and that Slack takes them."""

from __future__ import annotations

import json

import pytest

from bot.drill.block_rules import broken_view_rules
from bot.edge.slack_requests import missing
from bot.incident import events as e
from bot.incident.runbook import Step
from bot.render.lint import violations
from bot.render.modals import VERBS, metadata_of, render_modal
from tests.unit.render import scenes


@pytest.mark.parametrize("verb", sorted(VERBS))
@pytest.mark.parametrize("scene", [scenes.worked_on, scenes.hostile, lambda: scenes.hostile("x" * 9000)])
def test_every_form_passes_slacks_rules(verb: str, scene: object) -> None:
    """Whatever the step's title and choices are."""
    incident = scene().incident  # type: ignore[operator]
    decision = next(s.step.id for s in incident.steps if s.step.choices)
    view = render_modal(verb, incident, decision, "{}")
    assert view is not None
    assert () == violations(view)
    assert [] == broken_view_rules(dict(view))


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_form_asks_for_what_is_validated(verb: str) -> None:
    """The inputs that the edge complains about are inputs of the form."""
    view = render_modal(verb, scenes.worked_on().incident, "schema.decide", "{}")
    assert view is not None
    asked = {block["block_id"] for block in view["blocks"] if block["type"] == "input"}
    assert set(missing(view["callback_id"], {})) == asked


@pytest.mark.parametrize(
    ("verb", "step"), [("skip", "no.such"), ("choose", None), ("choose", "lag.group"), ("x", None)]
)
def test_a_form_about_nothing_is_none(verb: str, step: str | None) -> None:
    """No such step, a step that is no decision, an unknown verb."""
    assert render_modal(verb, scenes.worked_on().incident, step, "{}") is None


def test_many_choices_become_a_list() -> None:
    """Slack has ten radio buttons at most."""
    step = Step("many", "actions", "Choose", choices=tuple(f"choice {n}" for n in range(150)))
    incident = scenes.opened().add(e.RunbookAttached("r", "R", "h", (step,))).incident
    view = render_modal("choose", incident, "many", "{}")
    assert view is not None
    assert () == violations(view)


def test_a_form_carries_the_click_and_its_place() -> None:
    """What was seen, and where the answer goes; an address too long for it is left out."""
    value = {"i": "CDC-1", "r": 3, "n": "n1", "s": "lag.group", "v": "skip", "x": "other"}
    expected = {"i": "CDC-1", "r": 3, "n": "n1", "s": "lag.group", "v": "skip", "c": "C1", "u": "https://h"}
    assert expected == json.loads(metadata_of(value, "C1", None, "https://h"))
    assert len(metadata_of(value, "C1", "1.0", "x" * 5000)) < 3000
