"""The Slack edge over real HTTP: who gets in, what is stored, and what a person reads at once."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from bot.edge.slack import MAX_BODY_BYTES, NOT_RECORDED, TOO_LATE
from bot.ports import ChatError
from bot.render.lint import violations
from tests.unit.edge_slack.conftest import OLD_SECRET, URL, VALUE, Edge, click

FORM = urlencode({"command": "/cdc", "text": "help", "user_id": "U1", "trigger_id": "t1", "team_id": "T1"}).encode()


def field(value: str) -> dict[str, Any]:
    return {"x": {"type": "plain_text_input", "value": value}}


# --- who gets in -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        (200, {}),
        (200, {"secret": OLD_SECRET}),  # both secrets are good during a rotation
        (200, {"age_s": 299}),
        (200, {"age_s": -299}),
        (401, {"age_s": 302}),
        (401, {"age_s": -302}),
        (401, {"secret": "guessed"}),
        (401, {"headers": {"X-Slack-Signature": ""}}),
        (401, {"headers": {"X-Slack-Signature": "v0=\xe9"}}),
        (401, {"headers": {"X-Slack-Request-Timestamp": "soon"}}),
        (401, {"headers": {"X-Slack-Request-Timestamp": "-1"}}),
        (401, {"headers": {"X-Slack-Request-Timestamp": "9" * 40}}),
    ],
)
def test_only_fresh_requests_with_our_signature_get_in(edge: Edge, expected: int, changes: dict[str, Any]) -> None:
    """A forged, unsigned, old or future request is 401 with a reason, and nothing is stored."""
    answer = edge.send(FORM, **changes)
    assert expected == answer.status_code
    assert (expected == 200) == bool(edge.inbox.rows)
    if expected == 401:
        assert answer.json()["error"]
        assert ["slack-signature"] == edge.errors


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"", "application/x-www-form-urlencoded"),
        (b"payload={bad", "application/x-www-form-urlencoded"),
        (b"payload=[]", "application/x-www-form-urlencoded"),
        (b'payload={"type":"block_actions"}', "application/x-www-form-urlencoded"),
        (b'payload={"type":"block_actions","user":{"id":"U"},"actions":[]}', "application/x-www-form-urlencoded"),
        (b'payload={"type":"view_submission","user":{"id":"U"}}', "application/x-www-form-urlencoded"),
        (b"payload=" + b"[" * 100_000, "application/x-www-form-urlencoded"),
        (b"{bad", "application/json"),
        (b"[]", "application/json"),
        (b'"x"', "application/json"),
        (b"a=1", "text/plain"),
    ],
)
def test_signed_garbage_is_a_clear_400(edge: Edge, body: bytes, content_type: str) -> None:
    """What is signed and not Slack's is refused with a reason; it never becomes a 500."""
    answer = edge.send(body, content_type=content_type)
    assert 400 == answer.status_code
    assert answer.json()["error"].startswith("not a Slack request: ")
    assert {} == edge.inbox.rows


@pytest.mark.parametrize("body", [b"payload={bad", b"\xff", b"{bad", b"[]"])
def test_unsigned_garbage_is_401(edge: Edge, body: bytes) -> None:
    """The signature is checked before a byte is parsed."""
    assert 401 == edge.send(body, secret="x").status_code


def test_a_body_over_the_limit_is_413(edge: Edge) -> None:
    """A megabyte is more than Slack ever sends."""
    assert 413 == edge.send(b"x" * (MAX_BODY_BYTES + 1)).status_code


def test_a_missing_secret_lets_nobody_in(edge: Edge) -> None:
    """503 with a reason, counted; never a 500, and nothing is stored."""
    edge.secret_is_missing = True
    answer = edge.send(FORM)
    assert (503, ["slack-secret"], {}) == (answer.status_code, edge.errors, edge.inbox.rows)
    assert "signing secret cannot be read" in answer.json()["error"]


def test_slack_can_verify_the_address(edge: Edge) -> None:
    """url_verification is answered with its challenge."""
    body = json.dumps({"type": "url_verification", "challenge": "abc", "token": "x"}).encode()
    answer = edge.send(body, content_type="application/json")
    assert (200, "abc") == (answer.status_code, answer.json()["challenge"])


@pytest.mark.parametrize(
    "document",
    [
        {"type": "event_callback", "event": {"type": "message"}, "team_id": "T1"},
        {"type": "something_new"},
    ],
)
def test_what_nobody_listens_to_is_404(edge: Edge, document: dict[str, Any]) -> None:
    """No event is subscribed: an answer of 200 would claim that somebody heard it."""
    assert 404 == edge.send(json.dumps(document).encode(), content_type="application/json").status_code


# --- commands --------------------------------------------------------------------------------------


def test_a_command_is_stored_and_acknowledged(edge: Edge) -> None:
    """The row holds what the dispatcher needs; the ack tells the person that it is being asked."""
    answer = edge.slash("lag customers_canonical_flink")
    assert {"text": "/cdc lag customers_canonical_flink: asking…", "response_type": "ephemeral"} == answer.json()
    expected = {
        "user": {"id": "U01ALICE", "name": "alice"},
        "channel": "C01",
        "text": "lag customers_canonical_flink",
        "response_url": "https://hooks.slack.com/commands/1",
        "trigger_id": "t1",
    }
    assert {"slack.command:t1": ("slack.command", expected)} == edge.inbox.rows


def test_the_ack_repeats_no_markup(edge: Edge) -> None:
    """What a person typed comes back escaped."""
    assert "/cdc note &lt;!channel&gt;: asking…" == edge.slash("note <!channel>").json()["text"]


def test_another_command_is_not_ours(edge: Edge) -> None:
    """The command is named in cdc.yml; another one that reaches this address is not handled."""
    assert 404 == edge.slash("help", command="/other").status_code


def test_a_replay_is_one_row(edge: Edge) -> None:
    """The same signed request twice, within the window, is one row and two equal acks."""
    assert edge.slash("ack").json() == edge.slash("ack").json()
    assert (2, 1) == (len(edge.inbox.asked), len(edge.inbox.rows))


def test_a_full_disk_is_told_to_the_person(edge: Edge) -> None:
    """Nothing was recorded, and the ack says so."""
    edge.inbox.broken = True
    assert {"text": NOT_RECORDED, "response_type": "ephemeral"} == edge.slash("ack").json()
    assert ["slack-store"] == edge.errors


# --- clicks ----------------------------------------------------------------------------------------


def test_a_click_is_stored_with_what_was_seen(edge: Edge) -> None:
    """The value is parsed; the row says who, what, and where the answer goes."""
    assert 200 == edge.click("incident.ack", {**VALUE, "v": "ack"}).status_code
    expected = {
        "user": {"id": "U01ALICE", "name": "alice"},
        "action_id": "incident.ack",
        "verb": "ack",
        "value": {**VALUE, "v": "ack"},
        "channel": "C01",
        "message_ts": "7.7",
        "thread_ts": "7.0",
        "response_url": URL,
    }
    assert {"slack.action:U01ALICE:incident.ack:7.7:1.2": ("slack.action", expected)} == edge.inbox.rows


def test_a_menu_entry_is_its_verb(edge: Edge) -> None:
    """An overflow's option carries the verb; the action id names the step that the value had no room for."""
    option = {"text": {"type": "plain_text", "text": "Undo"}, "value": json.dumps({**VALUE, "v": "undo"})}
    edge.payload(click("step.more:lag.group", {"type": "overflow", "selected_option": option}))
    _, body = edge.inbox.only
    assert ("undo", "lag.group") == (body["verb"], body["value"]["s"])


def test_two_clicks_are_two_rows_and_one_click_is_one(edge: Edge) -> None:
    """Slack's own time of the click tells a second press from a replay."""
    for action_ts in ("1.0", "1.0", "2.0"):
        edge.click("incident.mitigate", VALUE, action_ts)
    assert 2 == len(edge.inbox.rows)


@pytest.mark.parametrize("value", ["", "not json", "[]", '"x"', "{" * 1000])
def test_a_button_of_another_make_is_stored_too(edge: Edge, value: str) -> None:
    """The dispatcher reports it; the edge neither guesses nor fails."""
    assert 200 == edge.click("somebody.else", value).status_code
    assert ({}, "else") == (edge.inbox.only[1]["value"], edge.inbox.only[1]["verb"])


def test_a_click_that_cannot_be_stored_is_told_to_the_person(edge: Edge) -> None:
    """Slack shows no text of an ack to a click: the words go through the response_url."""
    edge.inbox.broken = True
    assert 200 == edge.click("incident.ack", VALUE).status_code
    assert edge.screen.happened.wait(5)
    assert [(URL, NOT_RECORDED)] == edge.screen.told


# --- modals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("callback_id", "action_id", "value"),
    [
        ("cdc.note", "incident.note", {"v": "note"}),
        ("cdc.skip", "step.more:lag.group", {"v": "skip", "s": "lag.group"}),
        ("cdc.choose", "step.done:schema.decide", {"v": "choose", "s": "schema.decide"}),
        ("cdc.resolve_reason", "incident.more", {"v": "resolve_reason"}),
        ("cdc.assign", "incident.more", {"v": "assign"}),
    ],
)
def test_a_question_opens_its_form_and_stores_nothing(
    edge: Edge, callback_id: str, action_id: str, value: dict[str, Any]
) -> None:
    """Opening a form changes nothing; what the click carried travels in it, with the place for the answer."""
    edge.click(action_id, {**VALUE, **value})
    assert edge.screen.happened.wait(5)
    ((trigger_id, view),) = edge.screen.views
    assert ("t9", callback_id, {}) == (trigger_id, view["callback_id"], edge.inbox.rows)
    assert {**VALUE, **value, "c": "C01", "t": "7.0", "u": URL} == json.loads(view["private_metadata"])
    assert () == violations(view)


def test_an_expired_trigger_is_told_to_the_person(edge: Edge) -> None:
    """The form is tried once; then the person hears that it could not be opened."""
    edge.screen.refuses = ChatError("expired_trigger_id", permanent=True)
    edge.click("incident.note", {**VALUE, "v": "note"})
    assert edge.screen.happened.wait(5)
    assert [(URL, TOO_LATE)] == edge.screen.told
    assert ["interactive-dropped"] == edge.errors


def test_a_form_about_nothing_says_so(edge: Edge) -> None:
    """An incident that is not in the journal opens no form."""
    edge.click("incident.note", {**VALUE, "i": "CDC-404", "v": "note"})
    assert edge.screen.happened.wait(5)
    assert "no such incident" in edge.screen.told[0][1]


def test_a_submitted_form_is_stored(edge: Edge) -> None:
    """One row, keyed by the view and its hash, with the flat values."""
    assert "" == edge.submit("cdc.note", {"text": field("the DBA is on it")}).text
    kind, body = edge.inbox.only
    assert ("slack.view", ["slack.view:V1:h1"]) == (kind, list(edge.inbox.rows))
    assert {"text": "the DBA is on it"} == body["values"]
    assert VALUE.items() <= body["private_metadata"].items()
    assert ("C01", "1.0", URL) == (body["channel"], body["thread_ts"], body["response_url"])


@pytest.mark.parametrize(
    ("expected", "callback_id", "values"),
    [
        ({"text"}, "cdc.note", {"text": field("  \n ")}),
        ({"reason"}, "cdc.skip", {"reason": field("")}),
        ({"reason", "choice"}, "cdc.choose", {}),
        ({"reason"}, "cdc.resolve_reason", {}),
        ({"lead"}, "cdc.assign", {}),
    ],
)
def test_an_empty_reason_is_asked_for_again(
    edge: Edge, expected: set[str], callback_id: str, values: dict[str, Any]
) -> None:
    """The form stays open with the error at its input; nothing is stored."""
    answer = edge.submit(callback_id, values).json()
    assert ("errors", expected) == (answer["response_action"], set(answer["errors"]))
    assert {} == edge.inbox.rows


def test_a_choice_is_stored_in_words(edge: Edge) -> None:
    """The form sends the choice's place in the list; the row says what it means."""
    option = {"selected_option": {"value": "1"}}
    carried = {**VALUE, "s": "schema.decide", "v": "choose"}
    edge.submit("cdc.choose", {"choice": {"choice": option}, "reason": field("deployed already")}, carried)
    assert {"choice": "roll forward", "reason": "deployed already"} == edge.inbox.only[1]["values"]


def test_a_lead_is_named_when_the_person_was_seen_before(edge: Edge) -> None:
    """Slack sends the id alone; a name seen in another request is used, else the id stands for it."""
    edge.slash("help")
    edge.inbox.rows.clear()
    edge.submit("cdc.assign", {"lead": {"lead": {"selected_user": "U01ALICE"}}})
    assert {"lead": "U01ALICE", "lead_name": "alice"} == edge.inbox.only[1]["values"]


def test_a_form_that_cannot_be_stored_stays_open(edge: Edge) -> None:
    """What was written is not lost: the form says that nothing was recorded."""
    edge.inbox.broken = True
    answer = edge.submit("cdc.note", {"text": field("important")}).json()
    assert {"response_action": "errors", "errors": {"text": NOT_RECORDED}} == answer
