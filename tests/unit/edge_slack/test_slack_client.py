"""SlackChat against the drill's workspace, and against servers that misbehave as Slack and proxies do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import requests
from slack_sdk import WebClient

from bot.clients.slack import SlackChat
from bot.drill.loopback import Answer, Call, LoopbackServer, route
from bot.drill.workspace import INCIDENTS, SlackWorkspace
from bot.ports import ChatError, Message
from bot.render.cards import render_slot
from tests.unit.render import scenes

TOKEN = "xoxb-very-secret"
KEYED = Message(
    "CRITICAL customers",
    ({"type": "section", "text": {"type": "mrkdwn", "text": "hello"}},),
    {"event_type": "cdc_incident", "event_payload": {"key": "CDC-1/card", "slot": "card", "incident": "CDC-1"}},
)


@pytest.fixture(scope="module")
def started() -> Iterator[SlackWorkspace]:
    workspace = SlackWorkspace(token=TOKEN, signing_secret="s", rate_limits=False).start()
    yield workspace
    workspace.stop()


@pytest.fixture
def workspace(started: SlackWorkspace) -> SlackWorkspace:
    started.store.clear_faults()
    for message in started.store.all_messages():
        started.store.change(message.channel, message.ts, deleted=True)
    return started


@pytest.fixture
def chat(workspace: SlackWorkspace) -> SlackChat:
    return SlackChat(lambda: TOKEN, workspace.api_url)


def standing(workspace: SlackWorkspace) -> list[dict[str, object]]:
    return [message for message in workspace.messages() if not message["deleted"]]


# --- the workspace ---------------------------------------------------------------------------------


def test_a_post_returns_where_it_stands(workspace: SlackWorkspace, chat: SlackChat) -> None:
    """A name becomes the channel's id, which later calls need."""
    channel, ts = chat.post("#cdc-incidents", KEYED, None)
    (message,) = standing(workspace)
    assert (INCIDENTS, ts, "CRITICAL customers") == (channel, message["ts"], message["text"])
    assert KEYED.metadata == message["metadata"]


@pytest.mark.parametrize("slot", ["card", "checklist", "findings", "plan:k1"])
def test_the_workspace_takes_the_largest_messages(workspace: SlackWorkspace, chat: SlackChat, slot: str) -> None:
    """What our lint lets pass, a workspace with Slack's rules posts and edits."""
    huge = scenes.huge()
    message = render_slot(slot, huge.incident, huge.entries, huge.view())
    channel, ts = chat.post("#cdc-incidents", message, None)
    chat.update(channel, ts, message)
    assert message.text == standing(workspace)[0]["text"]


def test_an_update_replaces_and_clears_blocks(workspace: SlackWorkspace, chat: SlackChat) -> None:
    """A message that is degraded to its text loses its old blocks; its key stays."""
    channel, ts = chat.post("#cdc-incidents", KEYED, None)
    chat.update("#cdc-incidents", ts, Message("shorter", (), KEYED.metadata))
    (message,) = standing(workspace)
    assert ("shorter", []) == (message["text"], message["blocks"])
    assert ts == chat.find(channel, None, "CDC-1/card")


def test_a_message_is_found_by_its_key(workspace: SlackWorkspace, chat: SlackChat) -> None:
    """In the channel and in a thread, also by a client that has posted nothing; an unknown key is None."""
    _, parent = chat.post("#cdc-incidents", KEYED, None)
    reply = Message("reply", (), {"event_type": "cdc_incident", "event_payload": {"key": "CDC-1/checklist"}})
    _, ts = chat.post("#cdc-incidents", reply, parent)
    restarted = SlackChat(lambda: TOKEN, workspace.api_url)
    assert parent == restarted.find("#cdc-incidents", None, "CDC-1/card")
    assert ts == restarted.find("#cdc-incidents", parent, "CDC-1/checklist")
    assert restarted.find("#cdc-incidents", parent, "CDC-9/card") is None


def test_a_dropped_connection_is_uncertain_and_posts_once(workspace: SlackWorkspace, chat: SlackChat) -> None:
    """slack_sdk's default would have posted twice; ours says that it may have happened, and finds it."""
    workspace.store.add_fault("chat.postMessage", "drop_after", 1, 0)
    with pytest.raises(ChatError) as caught:
        chat.post("#cdc-incidents", KEYED, None)
    assert (True, False) == (caught.value.uncertain, caught.value.permanent)
    (message,) = standing(workspace)
    assert message["ts"] == chat.find(INCIDENTS, None, "CDC-1/card")


def test_a_rate_limit_says_how_long(workspace: SlackWorkspace, chat: SlackChat) -> None:
    """429 was not carried out; its Retry-After is passed on."""
    workspace.store.add_fault("chat.postMessage", "429", 1, 7)
    with pytest.raises(ChatError) as caught:
        chat.post("#cdc-incidents", KEYED, None)
    expected = ("ratelimited", 7.0, False)
    assert expected == (caught.value.code, caught.value.retry_after_s, caught.value.uncertain)


def test_a_file_is_uploaded_into_its_thread(workspace: SlackWorkspace, chat: SlackChat) -> None:
    """A channel's name is resolved first: the upload takes ids only."""
    _, ts = chat.post("#cdc-incidents", KEYED, None)
    SlackChat(lambda: TOKEN, workspace.api_url).upload("#cdc-incidents", ts, "CDC-1.md", "# CDC-1\n", "Postmortem")
    _, message = standing(workspace)
    assert (ts, "Postmortem") == (message["thread_ts"], message["text"])
    assert "CDC-1.md" == message["files"][0]["name"]  # type: ignore[index]


@pytest.mark.parametrize("length", [1, 1000, 1001])
def test_a_picture_is_uploaded_with_its_words(workspace: SlackWorkspace, chat: SlackChat, length: int) -> None:
    """Bytes arrive as they are; what a picture shows goes along as `alt_txt`, no longer than Slack takes."""
    _, ts = chat.post("#cdc-incidents", KEYED, None)
    chat.upload("#cdc-incidents", ts, "lag.png", b"\x89PNG\r\n\x1a\n\0\xff", "Lag", "x" * length)
    _, message = standing(workspace)
    file = message["files"][0]  # type: ignore[index]
    assert ("image/png", "x" * min(length, 1000)) == (file["mimetype"], file["alt_txt"])
    assert b"\x89PNG\r\n\x1a\n\0\xff" == requests.get(file["url_private"], timeout=5).content


def test_an_ephemeral_is_for_one_person(workspace: SlackWorkspace, chat: SlackChat) -> None:
    """The id may come as our own `slack:U...`."""
    chat.post_ephemeral("#cdc-incidents", "slack:U01ALICE", Message("only you"), None)
    assert "U01ALICE" == workspace.store.ephemerals()[-1].ephemeral_for


def test_an_answer_goes_through_the_response_url(workspace: SlackWorkspace, chat: SlackChat) -> None:
    """It is shown to the person alone; a spent address is a permanent error."""
    url = workspace.store.new_response_url(INCIDENTS, "U01ALICE", None, None)
    address = f"{workspace.url}/response/{url.token}"
    for _ in range(5):
        chat.respond(address, KEYED)
    assert "CRITICAL customers" == workspace.store.ephemerals()[-1].text
    with pytest.raises(ChatError) as caught:
        chat.respond(address, KEYED)
    assert caught.value.permanent


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "https://hooks.slack.com.evil.example/x", "http://hooks.slack.com/x", ""]
)
def test_an_address_that_is_not_slacks_is_not_called(url: str) -> None:
    """A response_url comes with a request: it is still no reason to post elsewhere."""
    with pytest.raises(ChatError, match="foreign_response_url"):
        SlackChat(lambda: TOKEN).respond(url, KEYED)


@pytest.mark.parametrize(
    ("code", "act"),
    [
        ("message_not_found", lambda chat: chat.update(INCIDENTS, "1.0", KEYED)),
        ("thread_not_found", lambda chat: chat.post(INCIDENTS, KEYED, "1.0")),
        ("invalid_blocks", lambda chat: chat.post(INCIDENTS, Message("x", ({"type": "input"},)), None)),
        ("invalid_trigger_id", lambda chat: chat.open_view("old", {"type": "modal"})),
    ],
)
def test_what_repeating_cannot_help_is_permanent(chat: SlackChat, code: str, act: Callable[[SlackChat], None]) -> None:
    """Halts, not retries."""
    with pytest.raises(ChatError) as caught:
        act(chat)
    assert (code, True) == (caught.value.code, caught.value.permanent)


@pytest.mark.parametrize(
    "act",
    [
        lambda chat: chat.post("#nowhere", KEYED, None),
        lambda chat: chat.find("#nowhere", None, "k"),
        lambda chat: chat.upload("#nowhere", None, "f", "c", ""),
    ],
)
def test_what_somebody_can_put_right_is_tried_again(chat: SlackChat, act: Callable[[SlackChat], None]) -> None:
    """A channel is created, the bot invited, a scope granted: what waited is said then."""
    with pytest.raises(ChatError) as caught:
        act(chat)
    assert ("channel_not_found", False) == (caught.value.code, caught.value.permanent)


def test_a_wrong_token_is_tried_again_and_nowhere_shown(
    workspace: SlackWorkspace, caplog: pytest.LogCaptureFixture
) -> None:
    """It can be rotated: what waited is said with the next one. No error and no log line holds the token."""
    with caplog.at_level(logging.DEBUG), pytest.raises(ChatError) as caught:
        SlackChat(lambda: "xoxb-wrong-one", workspace.api_url).post("#cdc-incidents", KEYED, None)
    assert ("invalid_auth", False) == (caught.value.code, caught.value.permanent)
    assert "xoxb-wrong-one" not in caplog.text + repr(caught.value)


def test_a_rotated_token_works_at_once(workspace: SlackWorkspace) -> None:
    """The token is asked for at each call."""
    tokens = iter(["xoxb-old", TOKEN])
    chat = SlackChat(lambda: next(tokens), workspace.api_url)
    with pytest.raises(ChatError, match="invalid_auth"):
        chat.post("#cdc-incidents", KEYED, None)
    assert INCIDENTS == chat.post("#cdc-incidents", KEYED, None)[0]


# --- servers that misbehave ------------------------------------------------------------------------


@dataclass
class Odd:
    """A server that gives the same answer to every call, and counts them."""

    answer: Answer = field(default_factory=Answer)
    calls: list[Call] = field(default_factory=list)


@pytest.fixture(scope="module")
def odd_server() -> Iterator[tuple[Odd, str]]:
    odd = Odd()

    def say(call: Call) -> Answer:
        odd.calls.append(call)
        return odd.answer

    server = LoopbackServer("odd Slack", [route("POST", "/api/{method}", say)]).start()
    yield odd, f"{server.url}/api/"
    server.stop()


@pytest.fixture
def odd(odd_server: tuple[Odd, str]) -> Odd:
    odd_server[0].calls.clear()
    return odd_server[0]


@pytest.mark.parametrize(
    ("code", "uncertain", "permanent", "retry_after_s", "answer"),
    [
        ("ratelimited", False, False, 0.5, Answer(429, "", headers={"Retry-After": "0.5"}, media_type="text/plain")),
        ("ratelimited", False, False, 30.0, Answer(429, {"ok": False}, headers={"retry-after": "30"})),
        ("ratelimited", False, False, None, Answer(429, {"ok": False}, headers={"Retry-After": "Wed, 21 Oct"})),
        ("ratelimited", False, False, None, Answer(429, {"ok": False})),
        ("ratelimited", False, False, 9.0, Answer(200, {"ok": False, "error": "ratelimited"}, {"Retry-After": "9"})),
        ("fatal_error", True, False, None, Answer(200, {"ok": False, "error": "fatal_error"})),
        ("internal_error", True, False, None, Answer(200, {"ok": False, "error": "internal_error"})),
        ("service_unavailable", False, False, None, Answer(200, {"ok": False, "error": "service_unavailable"})),
        ("missing_scope", False, False, None, Answer(200, {"ok": False, "error": "missing_scope", "needed": "x:y"})),
        ("msg_blocks_too_long", False, True, None, Answer(200, {"ok": False, "error": "msg_blocks_too_long"})),
        ("message_limit_exceeded", False, False, None, Answer(200, {"ok": False, "error": "message_limit_exceeded"})),
        ("is_archived", False, False, None, Answer(200, {"ok": False, "error": "is_archived"})),
        ("http_500", True, False, None, Answer(500, "Internal Server Error", media_type="text/plain")),
        ("http_502", True, False, None, Answer(502, "<html>Bad Gateway</html>", media_type="text/html")),
        ("http_503", True, False, None, Answer(503, {"ok": False, "error": "service_unavailable"})),
        ("http_403", False, False, None, Answer(403, "<html>Forbidden</html>", media_type="text/html")),
        ("unreadable_answer", True, False, None, Answer(200, "<html>Sign in</html>", media_type="text/html")),
        ("unreadable_answer", True, False, None, Answer(200, "", media_type="text/plain")),
        ("unreadable_answer", True, False, None, Answer(200, {"ok": False})),
        ("unreadable_answer", True, False, None, Answer(200, [])),
        ("unreadable_answer", True, False, None, Answer(200, [1])),
        ("unreadable_answer", True, False, None, Answer(200, "[" * 100_000, media_type="application/json")),
        ("connection_lost", True, False, None, Answer(200, drop=True)),
        ("timeout", True, False, None, Answer(200, {"ok": True}, delay_s=2.0)),
    ],
)
def test_every_bad_answer_is_one_error_and_one_call(
    odd: Odd,
    odd_server: tuple[Odd, str],
    code: str,
    uncertain: bool,
    permanent: bool,
    retry_after_s: float | None,
    answer: Answer,
) -> None:
    """The error says whether the post may have happened, whether to repeat, and when; nothing is tried twice."""
    odd.answer = answer
    with pytest.raises(ChatError) as caught:
        SlackChat(lambda: TOKEN, odd_server[1], timeout_s=1).post("C01", KEYED, None)
    error = caught.value
    found = (error.code, error.uncertain, error.permanent, error.retry_after_s)
    assert (code, uncertain, permanent, retry_after_s) == found
    assert 1 == len(odd.calls)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize(
    "act",
    [
        lambda chat, url: chat.post("C01", KEYED, None),
        lambda chat, url: chat.read_identity(),
        lambda chat, url: chat.open_socket("xapp-very-secret"),
        lambda chat, url: chat.upload("C0123456", None, "f", "content", ""),
        lambda chat, url: chat.respond(f"{url}response", KEYED),
    ],
    ids=["post", "identity", "socket", "upload", "response_url"],
)
def test_no_redirect_is_followed(
    odd: Odd, odd_server: tuple[Odd, str], act: Callable[[SlackChat, str], None], status: int
) -> None:
    """A redirect would take the token to another host, without TLS too: it is an error, and nothing was carried out."""
    odd.answer = Answer(status, "", headers={"Location": f"{odd_server[1]}steal"}, media_type="text/plain")
    with pytest.raises(ChatError) as caught:
        act(SlackChat(lambda: TOKEN, odd_server[1]), odd_server[1])
    assert ("redirected", False, False) == (caught.value.code, caught.value.uncertain, caught.value.permanent)
    assert 1 == len(odd.calls)


def test_the_bytes_of_a_file_are_not_redirected(odd: Odd, odd_server: tuple[Odd, str]) -> None:
    """The address that Slack gives for them takes them itself, and is called without the token."""
    calls: list[Call] = []

    def say(call: Call) -> Answer:
        calls.append(call)
        if call.path.endswith("getUploadURLExternal"):
            return Answer(200, {"ok": True, "upload_url": f"{server.url}/upload", "file_id": "F1"})
        return Answer(302, "", headers={"Location": f"{odd_server[1]}steal"}, media_type="text/plain")

    server = LoopbackServer("a redirecting upload", [route("POST", "/{path:path}", say)]).start()
    try:
        with pytest.raises(ChatError, match="redirected"):
            SlackChat(lambda: TOKEN, f"{server.url}/api/").upload("C0123456", None, "f", "content", "")
    finally:
        server.stop()
    assert [True, False] == ["authorization" in call.headers for call in calls]
    assert ([], b"content") == (odd.calls, calls[1].body)


def test_nobody_listening_is_not_uncertain() -> None:
    """A refused connection carried nothing out."""
    with pytest.raises(ChatError) as caught:
        SlackChat(lambda: TOKEN, "http://127.0.0.1:1/api/").post("C01", KEYED, None)
    assert ("unreachable", False, False) == (caught.value.code, caught.value.uncertain, caught.value.permanent)


def test_links_are_not_unfurled_and_nothing_is_parsed(odd: Odd, odd_server: tuple[Odd, str]) -> None:
    """A host name in an alert makes Slack fetch nothing, and no bare word becomes a mention."""
    odd.answer = Answer(200, {"ok": True, "channel": "C01", "ts": "1.0"})
    assert ("C01", "1.0") == SlackChat(lambda: TOKEN, odd_server[1]).post("C01", KEYED, "0.9", True)
    sent = odd.calls[0].document()
    assert (False, False, "0.9", True) == (
        sent["unfurl_links"],
        sent["unfurl_media"],
        sent["thread_ts"],
        sent["reply_broadcast"],
    )
    assert not {"parse", "link_names"} & set(sent)


def test_the_default_client_would_have_posted_twice(odd: Odd, odd_server: tuple[Odd, str]) -> None:
    """Why `retry_handlers=[]`: the SDK's default repeats a post whose answer was lost."""
    odd.answer = Answer(drop=True)
    with pytest.raises(Exception, match=r"Remote end closed|Connection reset"):
        WebClient(token=TOKEN, base_url=odd_server[1]).chat_postMessage(channel="C01", text="twice")
    assert 2 == len(odd.calls)
