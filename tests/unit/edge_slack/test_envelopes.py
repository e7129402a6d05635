"""The door of Socket Mode: the same listeners and rows as over HTTP, and what the ack carries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.edge.slack import NOT_RECORDED, InteractiveLane
from bot.ports import ChatError
from tests.unit.edge_slack.conftest import URL, USER, VALUE, Edge, click

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
COMMAND = {
    "command": "/cdc", "text": "lag g", "user_id": "U01ALICE", "user_name": "alice", "channel_id": "C01",
    "response_url": "https://hooks.slack.com/commands/1", "trigger_id": "t1", "team_id": "T1",
}  # fmt: skip
CLICK = click("incident.ack", {"type": "button", "value": '{"i":"CDC-12","r":3,"n":"5f3a9c1e","v":"ack"}'})


def view(text: str) -> dict[str, Any]:
    return {
        "type": "view_submission",
        "user": USER,
        "team": {"id": "T1"},
        "view": {
            "type": "modal", "id": "V1", "hash": "h1", "callback_id": "cdc.note", "private_metadata": "{}",
            "blocks": [{"type": "input", "block_id": "text"}],
            "state": {"values": {"text": {"text": {"type": "plain_text_input", "value": text}}}},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "payload", "ack", "key"),
    [
        ("slash_commands", COMMAND, {"text": "/cdc lag g: asking…", "response_type": "ephemeral"}, "slack.command:t1"),
        ("interactive", CLICK, None, "slack.action:U01ALICE:incident.ack:7.7:1.2"),
        ("interactive", view("the DBA is on it"), None, "slack.view:V1:h1"),
    ],
)
def test_an_envelope_is_one_row_however_often_it_comes(
    edge: Edge, kind: str, payload: dict[str, Any], ack: dict[str, Any] | None, key: str
) -> None:
    """A redelivered envelope gets the same ack and has the same key: Slack repeats what it heard no ack for."""
    assert [ack, ack] == [edge.slack.answer_envelope(kind, payload) for _ in range(2)]
    assert ([key, key], [key]) == (edge.inbox.asked, list(edge.inbox.rows))


def test_a_click_over_http_and_over_the_socket_is_one_row(edge: Edge) -> None:
    """Both doors store the same document under the same key."""
    edge.payload(CLICK)
    over_http = edge.inbox.only
    edge.inbox.rows.clear()
    edge.slack.answer_envelope("interactive", CLICK)
    assert over_http == edge.inbox.only


def test_an_error_of_a_form_is_the_payload_of_the_ack(edge: Edge) -> None:
    """The form stays open with the error at its input; nothing is stored."""
    answer = edge.slack.answer_envelope("interactive", view("  "))
    assert answer is not None
    assert ("errors", {"text"}) == (answer["response_action"], set(answer["errors"]))
    assert {} == edge.inbox.rows


def test_a_full_disk_is_told_to_the_person(edge: Edge) -> None:
    """An ack that says nothing would claim that it was recorded: a command, a form and a click each say it."""
    edge.inbox.broken = True
    command = edge.slack.answer_envelope("slash_commands", COMMAND)
    assert {"text": NOT_RECORDED, "response_type": "ephemeral"} == command
    form = edge.slack.answer_envelope("interactive", view("important"))
    assert {"response_action": "errors", "errors": {"text": NOT_RECORDED}} == form
    edge.slack.answer_envelope("interactive", CLICK)
    assert edge.screen.happened.wait(5)
    assert [(URL, NOT_RECORDED)] == edge.screen.told


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        ("something_new", {}, "slack-unreadable"),
        ("hello", {}, "slack-unreadable"),
        ("slash_commands", None, "slack-unreadable"),
        ("slash_commands", [], "slack-unreadable"),
        ("slash_commands", {"text": "no command"}, "slack-unreadable"),
        ("slash_commands", {"command": 7}, "slack-unreadable"),
        ("interactive", {"type": "block_actions", "user": {"id": "U"}, "actions": []}, "slack-unreadable"),
        ("interactive", {"type": "view_submission", "user": {"id": "U"}}, "slack-unreadable"),
        ("interactive", {"type": "block_actions", "actions": [{}]}, "slack-unreadable"),
        ("slash_commands", {**COMMAND, "command": "/other"}, "slack-unknown"),
        ("interactive", {"type": "shortcut", "user": {"id": "U"}, "callback_id": "x"}, "slack-unknown"),
        ("events_api", {"type": "event_callback", "event": {"type": "message"}}, "slack-unknown"),
        ("events_api", {}, "slack-unknown"),
    ],
)
def test_what_is_not_for_us_gets_a_bare_ack(edge: Edge, kind: str, payload: Any, reason: str) -> None:
    """It is counted and acknowledged, so that Slack does not repeat it; nothing is stored."""
    assert edge.slack.answer_envelope(kind, payload) is None
    assert ([reason], {}) == (edge.errors, edge.inbox.rows)


@pytest.mark.parametrize(
    ("code", "told"),
    [("exchanged_trigger_id", []), ("trigger_exchanged", []), ("expired_trigger_id", ["the form is not open"])],
)
def test_a_redelivered_click_does_not_deny_the_form_it_opened(code: str, told: list[str]) -> None:
    """The trigger was spent by the first delivery: the form is open, and nobody is told otherwise."""
    said: list[str] = []

    def open_it() -> None:
        raise ChatError(code, permanent=True)

    lane = InteractiveLane(lambda: AT, lambda _: None)
    lane.submit(open_it, lambda: said.append("the form is not open"), AT)
    lane.close()  # returns once it has done what it was given
    assert told == said


def test_a_form_is_opened_from_an_envelope(edge: Edge) -> None:
    """The finger is still on the button: the form opens at once and nothing is stored."""
    value = f'{{"i":"{VALUE["i"]}","r":3,"n":"5f3a9c1e","v":"note"}}'
    edge.slack.answer_envelope("interactive", click("incident.note", {"type": "button", "value": value}))
    assert edge.screen.happened.wait(5)
    assert ("t9", "cdc.note") == (edge.screen.views[0][0], edge.screen.views[0][1]["callback_id"])
