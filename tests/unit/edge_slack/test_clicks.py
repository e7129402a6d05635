"""Every button that is shown works: rendered, posted, clicked in the local workspace, signed, stored, read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from bot.clients.slack import SlackChat
from bot.drill.workspace import SlackWorkspace
from bot.edge.slack_requests import PostmortemRequest, read_click, read_submission
from bot.incident import commands as c
from bot.incident import events as e
from bot.render.cards import render_slot
from bot.render.modals import VERBS
from tests.unit.edge_slack.conftest import SECRET, Edge
from tests.unit.render import scenes
from tests.unit.render.test_cards import elements, value


@pytest.fixture
def workspace(edge: Edge) -> Iterator[SlackWorkspace]:
    started = SlackWorkspace(token="xoxb-t", signing_secret=SECRET, rate_limits=False).start()
    started.connect_app(edge.url)
    yield started
    started.stop()


def shown_buttons(scene: scenes.Scene) -> Iterator[tuple[str, str, str | None, str]]:
    """(slot, action id, option, verb) of everything that can be pressed."""
    for slot in ("card", "checklist", *(f"plan:{a.key}" for a in scene.incident.actions)):
        message = render_slot(slot, scene.incident, scene.entries, scene.view())
        for action_id, element in elements(message).items():
            for option in element.get("options", [None]):
                yield slot, action_id, option and option["value"], str(value(option or element)["v"])


@pytest.mark.parametrize("build", scenes.TYPICAL.values(), ids=scenes.TYPICAL)
def test_every_button_becomes_a_command_or_a_form(build: Any, edge: Edge, workspace: SlackWorkspace) -> None:
    """Through HTTP both ways; the command carries the revision that is true now, so that it is not stale."""
    scene = build()
    chat = SlackChat(lambda: "xoxb-t", workspace.api_url)
    incident = scene.incident
    posted: dict[str, tuple[str, str]] = {}
    for slot, action_id, option, verb in shown_buttons(scene):
        if slot not in posted:
            posted[slot] = chat.post("#cdc-incidents", render_slot(slot, incident, scene.entries, scene.view()), None)
        edge.inbox.rows.clear()
        delivery = workspace.people.click(*posted[slot], action_id, "U01ALICE", option=option)
        assert delivery.ok, (action_id, delivery)
        assert (verb in VERBS) == (not edge.inbox.rows), action_id
        if verb in VERBS:
            continue
        asked = read_click(edge.inbox.only[1])
        if isinstance(asked, PostmortemRequest):
            continue
        assert isinstance(asked, tuple), (action_id, asked)
        assert "CDC-12" == asked[0]
        seen = getattr(asked[1], "seen", None)
        assert seen is not None and "5f3a9c1e" == seen.nonce
        step, key = getattr(asked[1], "step", None), getattr(asked[1], "key", None)
        thing = incident.step(step) if step else incident.action(key) if key else incident
        assert thing is not None and seen.revision == thing.revision, action_id


def test_a_form_opens_is_filled_and_stored(edge: Edge, workspace: SlackWorkspace) -> None:
    """A decision: the button, the form with its choices, the submission, the command with the words of the choice."""
    scene = scenes.schema_break().add(e.IncidentAcknowledged(), scenes.ALICE)
    chat = SlackChat(lambda: "xoxb-t", workspace.api_url)
    real, edge.screen.open_view = edge.screen.open_view, chat.open_view  # type: ignore[method-assign]
    message = render_slot("checklist", scene.incident, scene.entries, scene.view())
    place = chat.post("#cdc-incidents", message, None)
    assert workspace.people.click(*place, "step.done:schema.decide", "U01ALICE").ok
    view = _opened(workspace)
    filled = workspace.people.submit(view, "U01ALICE", {"choice": "roll forward", "reason": "deployed already"})
    edge.screen.open_view = real  # type: ignore[method-assign]
    assert filled.ok
    asked = read_submission(edge.inbox.only[1])
    who = e.Who("slack:U01ALICE", "alice")
    expected = c.CompleteStep(who, "schema.decide", "roll forward", "deployed already", c.Seen("5f3a9c1e", 0))
    assert ("CDC-12", expected) == asked


def _opened(workspace: SlackWorkspace) -> str:
    for _ in range(100):
        views = workspace.store.views()
        if views:
            return views[0].id
        time.sleep(0.02)
    raise AssertionError("no form was opened")
