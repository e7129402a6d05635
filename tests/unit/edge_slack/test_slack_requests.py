"""Stored clicks and forms become commands that carry what the person saw."""

from __future__ import annotations

from typing import Any

import pytest

from bot.edge.slack_requests import Asked, PostmortemRequest, Unreadable, as_typed, read_click, read_submission
from bot.incident import commands as c
from bot.incident.events import Who

ALICE, SEEN = Who("slack:U1", "alice"), c.Seen("n1", 4)
VALUE = {"i": "CDC-1", "r": 4, "n": "n1", "s": "lag.group", "k": "a1", "h": "hash"}


def body(**more: Any) -> dict[str, Any]:
    return {"user": {"id": "U1", "name": "alice"}, "value": VALUE, **more}


@pytest.mark.parametrize(
    ("expected", "verb"),
    [
        (("CDC-1", c.AcknowledgeIncident(ALICE, SEEN)), "ack"),
        (("CDC-1", c.AssignLead(ALICE, ALICE, SEEN)), "lead"),
        (("CDC-1", c.MitigateIncident(ALICE, "", SEEN)), "mitigate"),
        (("CDC-1", c.ResolveIncident(ALICE, "", SEEN)), "resolve"),
        (("CDC-1", c.ReopenIncident(ALICE, "", SEEN)), "reopen"),
        (("CDC-1", c.CompleteStep(ALICE, "lag.group", seen=SEEN)), "done"),
        (("CDC-1", c.UndoStep(ALICE, "lag.group", SEEN)), "undo"),
        (("CDC-1", c.PlanAction(ALICE, "lag.group", seen=SEEN)), "plan"),
        (("CDC-1", c.RunAction(ALICE, "a1", "hash", SEEN)), "run"),
        (("CDC-1", c.ApproveAction(ALICE, "a1", "hash", SEEN)), "approve"),
        (("CDC-1", c.CancelAction(ALICE, "a1", SEEN)), "cancel"),
        (PostmortemRequest("CDC-1", ALICE), "postmortem"),
        (Unreadable("unknown button explode"), "explode"),
        (Unreadable("unknown button ?"), ""),
    ],
)
def test_a_click_is_a_command(expected: Asked, verb: str) -> None:
    """Each button's verb is one command, with the revision and nonce that were shown."""
    assert expected == read_click(body(verb=verb))


@pytest.mark.parametrize("value", [None, "text", [], {}, {"i": 7}, {"i": ""}])
def test_a_value_that_names_no_incident_is_unreadable(value: Any) -> None:
    """Another version's button, or another app's, is reported with its reason."""
    assert isinstance(read_click(body(verb="ack") | {"value": value}), Unreadable)
    assert isinstance(read_submission(body(callback_id="cdc.note", values={}, private_metadata=value)), Unreadable)


@pytest.mark.parametrize("verb", ["done", "undo", "plan", "run", "approve", "cancel"])
def test_a_click_on_nothing_is_unreadable(verb: str) -> None:
    """A step button needs its step and a plan button its plan."""
    assert isinstance(read_click(body(verb=verb) | {"value": {"i": "CDC-1", "r": 4, "n": "n1"}}), Unreadable)


@pytest.mark.parametrize("value", [{"i": "CDC-1"}, {"i": "CDC-1", "r": "4", "n": "n1"}, {"i": "CDC-1", "r": True}])
def test_a_value_without_a_revision_is_stale(value: dict[str, Any]) -> None:
    """It matches no state: nothing is done and the fresh view is shown."""
    read = read_click(body(verb="ack") | {"value": value})
    assert isinstance(read, tuple)
    command = read[1]
    assert isinstance(command, c.AcknowledgeIncident) and command.seen is not None
    assert -1 == command.seen.revision


@pytest.mark.parametrize(
    ("expected", "callback_id", "values"),
    [
        (("CDC-1", c.AddNote(ALICE, "look")), "cdc.note", {"text": " look "}),
        (("CDC-1", c.SkipStep(ALICE, "lag.group", "none", SEEN)), "cdc.skip", {"reason": "none"}),
        (
            ("CDC-1", c.CompleteStep(ALICE, "lag.group", "roll back", "safer", SEEN)),
            "cdc.choose",
            {"choice": "roll back", "reason": "safer"},
        ),
        (("CDC-1", c.ResolveIncident(ALICE, "known", SEEN)), "cdc.resolve_reason", {"reason": "known"}),
        (
            ("CDC-1", c.AssignLead(ALICE, Who("slack:U02", "bob"), SEEN)),
            "cdc.assign",
            {"lead": "U02", "lead_name": "bob"},
        ),
        (Unreadable("unknown form ?"), "", {}),
    ],
)
def test_a_form_is_a_command(expected: Asked, callback_id: str, values: dict[str, str]) -> None:
    """Each form is one command; what it carried is what was seen."""
    assert expected == read_submission(body(callback_id=callback_id, values=values, private_metadata=VALUE))


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("lag orders.dev", "lag <http://orders.dev|orders.dev>"),
        ("note see https://grafana.example/d/1", "note see <https://grafana.example/d/1>"),
        ("note a <b> & c", "note a &lt;b&gt; &amp; c"),
        ("note ask #data-platform", "note ask <#C02|data-platform>"),
        ("lead <@U02BOB|bob>", "lead <@U02BOB|bob>"),
        ("", "   "),
    ],
)
def test_a_command_reads_as_it_was_typed(expected: str, text: str) -> None:
    """Slack turns words into links and ids; people's ids stay, for the verbs that name a person."""
    assert expected == as_typed(text)
