"""The local Slack workspace behaves as Slack does towards an app and towards a person."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any

import pytest
import requests
from conftest import SECRET, TOKEN, Drill
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from bot.drill.block_rules import broken_rules, total_characters
from bot.drill.slack_store import TRIGGER_LIFE_S, SlackStore
from bot.drill.workspace import INCIDENTS, PEOPLE, SlackWorkspace

BUTTON = {"type": "button", "text": {"type": "plain_text", "text": "Ack"}, "action_id": "ack", "value": "v1"}
MENU = {
    "type": "overflow",
    "action_id": "menu",
    "options": [
        {"text": {"type": "plain_text", "text": "Silence"}, "value": "silence"},
        {"text": {"type": "plain_text", "text": "Lead"}, "value": "lead"},
    ],
}
NOTE = {"type": "button", "text": {"type": "plain_text", "text": "Note"}, "action_id": "note"}
CARD = [
    {"type": "section", "text": {"type": "mrkdwn", "text": "*customers*: schema refused"}},
    {"type": "actions", "elements": [BUTTON, NOTE, MENU]},
]


def post(drill: Drill, **more: Any) -> str:
    answer = drill.client.chat_postMessage(channel=INCIDENTS, text="customers", **more)
    return str(answer["ts"])


def control(drill: Drill, verb: str, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = requests.post(f"{drill.workspace.url}/control/{verb}", json=body, timeout=10).json()
    return answer


def error_of(run: Any) -> str:
    with pytest.raises(SlackApiError) as refused:
        run()
    return str(refused.value.response["error"])


def test_a_message_keeps_its_metadata_for_reconciliation(drill: Drill) -> None:
    """Metadata comes back from conversations.replies only when it is asked for."""
    metadata = {"event_type": "cdc_incident", "event_payload": {"key": "k1"}}
    ts = post(drill, metadata=metadata)
    with_metadata = drill.client.conversations_replies(channel=INCIDENTS, ts=ts, include_all_metadata=True)
    without = drill.client.conversations_replies(channel=INCIDENTS, ts=ts)
    assert metadata == with_metadata["messages"][0]["metadata"]
    assert "metadata" not in without["messages"][0]


def test_a_click_is_a_signed_block_actions_payload(drill: Drill) -> None:
    """The app gets what Slack documents, signed over the exact body; Bolt accepts it."""
    ts = post(drill, blocks=CARD)
    assert control(drill, "click", channel=INCIDENTS, ts=ts, action_id="ack", user="alice")["ok"]
    body = drill.heard.bodies[-1]
    assert ("block_actions", "U01ALICE", "v1") == (body["type"], body["user"]["id"], body["actions"][0]["value"])
    assert {"type": "message", "message_ts": ts, "channel_id": INCIDENTS, "is_ephemeral": False} == body["container"]
    assert ts == body["message"]["ts"]
    headers, raw = drill.heard.raw[-1]
    basis = b"v0:" + headers["x-slack-request-timestamp"].encode() + b":" + raw
    assert "v0=" + hmac.new(SECRET.encode(), basis, hashlib.sha256).hexdigest() == headers["x-slack-signature"]


def test_a_button_that_is_gone_cannot_be_clicked(drill: Drill) -> None:
    """A click is looked up in the message as it stands now, not as it once was."""
    ts = post(drill, blocks=CARD)
    drill.client.chat_update(channel=INCIDENTS, ts=ts, text="closed", blocks=CARD[:1])
    assert "no element" in control(drill, "click", channel=INCIDENTS, ts=ts, action_id="ack", user="alice")["error"]
    assert [] == drill.heard.bodies


def test_a_response_url_shows_an_answer_to_one_person(drill: Drill) -> None:
    """What the app answers to a menu choice is ephemeral unless it says in_channel."""
    ts = post(drill, blocks=CARD)
    control(drill, "click", channel=INCIDENTS, ts=ts, action_id="menu", option="lead", user="bob")
    (shown,) = drill.workspace.store.ephemerals()
    assert ("U02BOB", "you chose lead") == (shown.ephemeral_for, shown.text)


def test_a_response_url_works_five_times(drill: Drill) -> None:
    """The sixth answer through one response_url is refused, as Slack refuses it."""
    ts = post(drill, blocks=CARD)
    control(drill, "click", channel=INCIDENTS, ts=ts, action_id="ack", user="alice")
    url = drill.heard.bodies[-1]["response_url"]
    answers = [requests.post(url, json={"text": str(n)}, timeout=5).status_code for n in range(6)]
    assert [200] * 5 + [404] == answers


def test_a_modal_opens_shows_errors_and_closes(drill: Drill) -> None:
    """A trigger opens a modal; response_action errors keeps it open; an empty ack closes it."""
    ts = post(drill, blocks=CARD)
    control(drill, "click", channel=INCIDENTS, ts=ts, action_id="note", user="alice")
    (view,) = drill.workspace.store.views()
    control(drill, "submit", view_id=view.id, user="alice", values={"note": "bad"})
    assert {"note": "say more"} == dict(drill.workspace.store.views()[0].errors)
    control(drill, "submit", view_id=view.id, user="alice", values={"note": "seen", "kind": "decision"})
    assert [] == drill.workspace.store.views()
    submitted = drill.heard.bodies[-1]["view"]
    assert "inc-1" == submitted["private_metadata"]
    assert {"type": "plain_text_input", "value": "seen"} == submitted["state"]["values"]["note"]["text"]
    assert "decision" == submitted["state"]["values"]["kind"]["kind"]["selected_option"]["value"]


def test_a_required_input_left_empty_is_not_sent(drill: Drill) -> None:
    """Slack's client checks required inputs itself; the app hears nothing."""
    ts = post(drill, blocks=CARD)
    control(drill, "click", channel=INCIDENTS, ts=ts, action_id="note", user="alice")
    heard = len(drill.heard.bodies)
    answer = control(drill, "submit", view_id=drill.workspace.store.views()[0].id, user="alice", values={"note": ""})
    assert ("missing_input", heard) == (answer["error"], len(drill.heard.bodies))


def test_a_trigger_id_works_once(drill: Drill) -> None:
    """A spent trigger answers exchanged_trigger_id, an invented one invalid_trigger_id."""
    ts = post(drill, blocks=CARD)
    control(drill, "click", channel=INCIDENTS, ts=ts, action_id="note", user="alice")
    view = {"type": "modal", "title": {"type": "plain_text", "text": "x"}, "blocks": []}
    spent = drill.heard.bodies[-1]["trigger_id"]
    assert "exchanged_trigger_id" == error_of(lambda: drill.client.views_open(trigger_id=spent, view=view))
    assert "invalid_trigger_id" == error_of(lambda: drill.client.views_open(trigger_id="1.2.3", view=view))


def test_a_trigger_id_expires() -> None:
    """A trigger that is too old answers expired_trigger_id; Slack's life of 3 s is the default."""
    store = SlackStore(PEOPLE, (), trigger_life_s=0.02)
    trigger = store.new_trigger("U01ALICE")
    time.sleep(0.03)
    assert "expired_trigger_id" == store.use_trigger(trigger)
    assert 3.0 == TRIGGER_LIFE_S


def test_a_slash_command_is_answered_to_the_person_who_typed_it(drill: Drill) -> None:
    """The ack's text is shown to that person only."""
    assert control(drill, "slash", channel=INCIDENTS, user="carol", command="/cdc", text="lag g")["ok"]
    assert ("U03CAROL", "heard lag g") == (
        drill.workspace.store.ephemerals()[0].ephemeral_for,
        drill.workspace.store.ephemerals()[0].text,
    )


def test_an_app_that_is_down_is_said_to_the_person(drill: Drill) -> None:
    """An app that cannot be reached gives dispatch_failed and a line from Slackbot."""
    drill.workspace.connect_app("http://127.0.0.1:9/slack/events")
    answer = control(drill, "slash", channel=INCIDENTS, user="alice", command="/cdc", text="lag g")
    assert (False, "dispatch_failed") == (answer["ok"], answer["error"])
    assert "failed" in drill.workspace.store.ephemerals()[0].text


def test_the_workspace_answers_its_own_commands(drill: Drill) -> None:
    """A command of the drill itself is answered by Slackbot and never reaches the app."""
    drill.workspace.add_command("/drill", ("repair",), lambda text: f"{text} is done")
    assert control(drill, "slash", channel=INCIDENTS, user="alice", command="/drill", text="repair")["ok"]
    assert ("repair is done", []) == (drill.workspace.store.ephemerals()[0].text, drill.heard.bodies)


def test_a_port_that_is_taken_is_said(drill: Drill) -> None:
    """A second workspace on the same port fails with the port in the message."""
    port = int(drill.workspace.url.rpartition(":")[2])
    with pytest.raises(RuntimeError, match=f"cannot listen on 127.0.0.1:{port}"):
        SlackWorkspace(token=TOKEN, signing_secret=SECRET, port=port)


def test_opening_the_app_home_publishes_it(drill: Drill) -> None:
    """The app hears app_home_opened and what it publishes is that person's Home."""
    control(drill, "home", user="alice")
    deadline = time.monotonic() + 2
    while drill.workspace.store.home("U01ALICE") is None and time.monotonic() < deadline:
        time.sleep(0.02)
    home = drill.workspace.store.home("U01ALICE")
    assert home is not None and "header" == home.document["blocks"][0]["type"]


def test_an_uploaded_file_is_a_message_with_a_download(drill: Drill) -> None:
    """files_upload_v2 of slack_sdk works unchanged, and the bytes come back."""
    ts = post(drill)
    drill.client.files_upload_v2(
        channel=INCIDENTS, thread_ts=ts, filename="postmortem.md", title="Postmortem", content="# Postmortem"
    )
    (shared,) = [message for message in drill.workspace.messages() if message["files"]]
    assert (ts, "Postmortem") == (shared["thread_ts"], shared["files"][0]["title"])
    assert "# Postmortem" == requests.get(shared["files"][0]["url_private"], timeout=5).text


def test_an_alt_text_over_slacks_limit_is_refused(drill: Drill) -> None:
    """`alt_txt` is kept with its file, up to 1,000 characters."""
    for words in ("Lag: 12 records", "x" * 1000):
        assert drill.client.files_getUploadURLExternal(filename="lag.png", length=9, alt_txt=words)["ok"]
    with pytest.raises(SlackApiError, match="alt_txt_too_large"):
        drill.client.files_getUploadURLExternal(filename="lag.png", length=9, alt_txt="x" * 1001)


@pytest.mark.parametrize(
    ("name", "content", "shown_as"),
    [
        ("lag.png", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("lag.png", b"<svg onload='alert(1)'/>", "text/plain; charset=utf-8"),
        ("lag.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text/plain; charset=utf-8"),
        ("lag.html", b"<script>alert(1)</script>", "text/plain; charset=utf-8"),
    ],
)
def test_only_a_png_is_served_as_a_picture(drill: Drill, name: str, content: bytes, shown_as: str) -> None:
    """What could run is text, whatever it is called; nothing of it may load or run anything."""
    drill.client.files_upload_v2(channel=INCIDENTS, filename=name, content=content, alt_txt="Lag: 12 records")
    file = next(message for message in drill.workspace.messages() if message["files"])["files"][0]
    assert "Lag: 12 records" == file["alt_txt"]
    answer = requests.get(file["url_private"], timeout=5)
    assert (shown_as, content) == (answer.headers["content-type"], answer.content)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "nosniff" == answer.headers["x-content-type-options"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"channel": "C0NOWHERE", "text": "x"}, "channel_not_found"),
        ({"channel": INCIDENTS}, "no_text"),
        ({"channel": INCIDENTS, "text": "x", "thread_ts": "1.1"}, "thread_not_found"),
        ({"channel": INCIDENTS, "text": "x", "blocks": [{"type": "section"}]}, "invalid_blocks"),
        ({"channel": INCIDENTS, "text": "x", "blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
    ],
)
def test_bad_posts_get_slacks_error_codes(drill: Drill, arguments: dict[str, Any], code: str) -> None:
    """Each refusal is the code a bot must tell apart."""
    assert code == error_of(lambda: drill.client.api_call("chat.postMessage", json=arguments))


def test_blocks_too_long_together_are_refused(drill: Drill) -> None:
    """Blocks that are each allowed but over 13,200 characters in all answer msg_blocks_too_long."""
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2900}}] * 5
    assert [] == broken_rules(blocks)
    assert 14_500 == total_characters(blocks)
    assert "msg_blocks_too_long" == error_of(lambda: post(drill, blocks=blocks))


def test_another_token_is_refused(drill: Drill) -> None:
    """A wrong bearer answers invalid_auth; none answers not_authed."""
    other = WebClient(token="xoxb-other", base_url=drill.workspace.api_url, retry_handlers=[])
    assert "invalid_auth" == error_of(other.auth_test)
    assert "not_authed" == requests.post(f"{drill.workspace.api_url}auth.test", timeout=5).json()["error"]


def test_the_next_calls_can_be_made_to_fail(drill: Drill) -> None:
    """A fault hits exactly the next N calls of its method, and 429 carries Retry-After."""
    control(drill, "faults", method="chat.postMessage", kind="429", count=1, seconds=7)
    with pytest.raises(SlackApiError) as refused:
        post(drill)
    assert (429, "7") == (refused.value.response.status_code, refused.value.response.headers["Retry-After"])
    assert post(drill)


def test_a_connection_dropped_after_the_post_leaves_the_message(drill: Drill) -> None:
    """The client sees a dead connection, the channel has the message: the uncertain send."""
    control(drill, "faults", method="chat.postMessage", kind="drop_after", count=1)
    with pytest.raises(OSError):
        post(drill)
    assert ["customers"] == [message["text"] for message in drill.workspace.messages()]


def test_posting_faster_than_one_a_second_is_limited() -> None:
    """After a short burst a channel takes one message a second and answers 429."""
    workspace = SlackWorkspace(token=TOKEN, signing_secret=SECRET).start()
    client = WebClient(token=TOKEN, base_url=workspace.api_url, retry_handlers=[])
    said = []
    for _ in range(7):
        try:
            client.chat_postMessage(channel=INCIDENTS, text="x")
            said.append("ok")
        except SlackApiError as error:
            said.append(str(error.response["error"]))
    workspace.stop()
    assert (["ok"] * 5, "ratelimited") == (said[:5], said[-1])


def test_scopes_come_from_the_manifest(tmp_path: Any) -> None:
    """A method whose scope the manifest does not ask for answers missing_scope."""
    manifest = tmp_path / "manifest.yml"
    manifest.write_text("oauth_config: {scopes: {bot: [commands, 'chat:write']}}")
    workspace = SlackWorkspace(token=TOKEN, signing_secret=SECRET, manifest=manifest).start()
    client = WebClient(token=TOKEN, base_url=workspace.api_url, retry_handlers=[])
    assert client.chat_postMessage(channel=INCIDENTS, text="x")["ok"]
    assert "missing_scope" == error_of(lambda: client.users_info(user="U01ALICE"))
    workspace.stop()


def test_a_reader_reads_and_writes_nothing() -> None:
    """A reader's token sees channels and messages, whatever scopes the app was granted, and cannot post."""
    workspace = SlackWorkspace(token=TOKEN, signing_secret=SECRET, reader_tokens=["looks-on"]).start()
    WebClient(token=TOKEN, base_url=workspace.api_url).chat_postMessage(channel=INCIDENTS, text="customers")
    reader = WebClient(token="looks-on", base_url=workspace.api_url, retry_handlers=[])
    seen = reader.conversations_history(channel=INCIDENTS)["messages"]
    refused = error_of(lambda: reader.chat_postMessage(channel=INCIDENTS, text="x"))
    workspace.stop()
    assert (["customers"], "invalid_auth") == ([message["text"] for message in seen], refused)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_another_site_cannot_use_the_controls(drill: Drill, headers: dict[str, str]) -> None:
    """A foreign Host (DNS rebinding) or Origin (cross-site request) is refused."""
    answer = requests.post(f"{drill.workspace.url}/control/faults", json={}, headers=headers, timeout=5)
    assert 403 == answer.status_code


def test_the_page_comes_from_this_server_alone(drill: Drill) -> None:
    """The content security policy allows no other origin and no inline script."""
    page = requests.get(drill.workspace.url, timeout=5)
    assert "default-src 'none'; script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "innerHTML =" not in requests.get(f"{drill.workspace.url}/static/page.js", timeout=5).text


@pytest.mark.parametrize(
    ("status", "location", "query"),
    [
        (302, "/#C01INCIDENTS/1764.000100", "channel=C01INCIDENTS&message_ts=1764.000100"),
        (302, "/#C01INCIDENTS", "channel=C01INCIDENTS"),
        (302, "/#C01INCIDENTS", "channel=C01INCIDENTS&message_ts=1764.1%0d%0aX: y"),
        (302, "/#C01INCIDENTS", "channel=C01INCIDENTS&message_ts=<script>"),
        (404, None, "channel=//evil.example&message_ts=1764.000100"),
        (404, None, ""),
    ],
)
def test_a_link_to_a_message_leads_to_the_page(drill: Drill, status: int, location: str | None, query: str) -> None:
    """The address that the bot gives of a thread; it leads nowhere but to this page."""
    answer = requests.get(f"{drill.workspace.url}/app_redirect?{query}", allow_redirects=False, timeout=5)
    assert (status, location) == (answer.status_code, answer.headers.get("Location"))


def test_secrets_are_not_in_the_wire_log(drill: Drill) -> None:
    """The log shows every call and neither the token nor the signing secret."""
    ts = post(drill, blocks=CARD)
    control(drill, "click", channel=INCIDENTS, ts=ts, action_id="ack", user="alice")
    wire = requests.get(f"{drill.workspace.url}/control/wire", timeout=5).text
    assert "chat.postMessage" in wire and "block_actions ack" in wire
    assert TOKEN not in wire.replace("xoxb-drill-", "") and SECRET not in wire


def section(**more: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": "x"}, **more}


@pytest.mark.parametrize(
    ("block", "valid"),
    [
        (section(text={"type": "mrkdwn", "text": "x" * 3000}), True),
        (section(text={"type": "mrkdwn", "text": "x" * 3001}), False),
        (section(text={"type": "mrkdwn", "text": ""}), False),
        (section(fields=[{"type": "mrkdwn", "text": "x"}] * 10), True),
        (section(fields=[{"type": "mrkdwn", "text": "x"}] * 11), False),
        (section(fields=[{"type": "mrkdwn", "text": "x" * 2001}]), False),
        ({"type": "header", "text": {"type": "plain_text", "text": "x" * 150}}, True),
        ({"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}, False),
        ({"type": "header", "text": {"type": "mrkdwn", "text": "x"}}, False),
        ({"type": "actions", "elements": [BUTTON]}, True),
        ({"type": "actions", "elements": []}, False),
        ({"type": "actions", "elements": [BUTTON, BUTTON]}, False),
        ({"type": "actions", "elements": [{**BUTTON, "action_id": str(n)} for n in range(26)]}, False),
        ({"type": "actions", "elements": [{**BUTTON, "text": {"type": "plain_text", "text": "x" * 76}}]}, False),
        ({"type": "actions", "elements": [{**BUTTON, "value": "x" * 2001}]}, False),
        ({"type": "actions", "elements": [{**MENU, "options": MENU["options"] * 3}]}, False),  # type: ignore[operator]
        ({"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}, False),
        ({"type": "input"}, False),
        ({"type": "alert"}, False),
        ({"type": "nonsense"}, False),
    ],
)
def test_block_rules_are_slacks(block: dict[str, Any], valid: bool) -> None:
    """Both sides of each limit."""
    assert valid == (broken_rules([block]) == [])
