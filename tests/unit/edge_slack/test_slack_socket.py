"""The links of Socket Mode against a real server: what breaks them, how soon they are back, what is acknowledged."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from bot.clients.slack import SlackChat
from bot.drill.slack_sockets import SlackSockets
from bot.drill.workspace import INCIDENTS, SlackWorkspace
from bot.edge.slack_socket import MAX_ENVELOPE_BYTES, Pace, SlackSocket, Times
from bot.ports import ChatError, PortError

ALICE = "U01ALICE"
BOT, APP = "xoxb-1", "xapp-1"
QUICK = Times(
    apart_s=0.01, hello_s=1.0, ping_s=0.3, pong_s=0.3, close_s=0.2, settled_s=0.05, linger_s=0.2,
    again_s=0.1, refill_s=0.05, steps_s=(0.05, 0.1, 0.2),
)  # fmt: skip
HELLO = json.dumps({"type": "hello", "num_connections": 1})


def until(holds: Callable[[], object], what: str, within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.005)


class App:
    """What stands behind the links: it says back what it heard, and can be held up."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.errors: Counter[str] = Counter()
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.fails = False
        self.more = ""

    def answer(self, kind: str, payload: Any) -> Mapping[str, Any] | None:
        self.heard.append((kind, payload))
        assert self.goes_on.wait(10)
        if self.fails:
            raise RuntimeError("the journal could not be written")
        return {"text": f"heard {payload.get('text')}{self.more}"} if isinstance(payload, dict) else None

    def count_error(self, reason: str) -> None:
        self.errors[reason] += 1


class Links:
    """A socket under test, with the workspace as its Slack."""

    def __init__(self, times: Times, links: int, token: Callable[[], str]) -> None:
        self.app = App()
        self.workspace = SlackWorkspace(token=BOT, signing_secret="s", app_token=APP, rate_limits=False).start()
        chat = SlackChat(lambda: BOT, self.workspace.api_url)
        self.socket = SlackSocket(
            open_url=lambda: chat.open_socket(token()),
            answer=self.app.answer,
            count_error=self.app.count_error,
            times=times,
            links=links,
        )

    @property
    def slack(self) -> SlackSockets:
        return self.workspace.sockets

    def slash(self, text: str) -> Any:
        return self.workspace.people.slash(INCIDENTS, ALICE, "/cdc", text)


@pytest.fixture
def start() -> Iterator[Callable[..., Links]]:
    """`start(times, links)` returns links that are up, with the workspace at the other end."""
    started: list[Links] = []

    def start(times: Times = QUICK, links: int = 2, token: Callable[[], str] = lambda: APP, up: bool = True) -> Links:
        one = Links(times, links, token)
        started.append(one)
        one.socket.start()
        if up:
            until(lambda: one.socket.state().connected == links, "every link is up")
        return one

    yield start
    for one in started:
        one.app.goes_on.set()
        one.socket.close()
        threading.Thread(target=one.workspace.stop, daemon=True).start()


# --- connections that break -------------------------------------------------------------------------


def test_an_envelope_is_acknowledged_with_its_answer(start: Callable[..., Links]) -> None:
    """What the app says in its ack is what the person reads; nothing went over HTTP."""
    links = start()
    assert '{"text": "heard help"}' == links.slash("help").body
    assert [("slash_commands", "help")] == [(kind, payload["text"]) for kind, payload in links.app.heard]


@pytest.mark.parametrize("fault", ["reset", "close"])
def test_a_lost_connection_is_replaced_at_once(start: Callable[..., Links], fault: Any) -> None:
    """Both links are back well within 2 s, with one address asked for each."""
    links = start(Times(apart_s=0.01))
    for _ in range(2):  # the second loss comes before the connections have settled
        opened = links.slack.figures.opened
        links.slack.strike(fault, "all")
        until(lambda opened=opened: links.slack.figures.opened == opened + 2, "two new connections", 2.0)  # type: ignore[misc]
        until(lambda: links.slack.count == 2 and links.socket.state().connected == 2, "both up", 2.0)
        assert links.slash("help").ok
    assert 6 == links.slack.figures.asked


def test_a_connection_to_be_renewed_is_replaced_first(start: Callable[..., Links]) -> None:
    """The old one stays until what it brought is acknowledged on it; there is no moment without a connection."""
    links = start(links=1)
    links.app.goes_on.clear()
    acks: list[Any] = []
    person = threading.Thread(target=lambda: acks.append(links.slash("slow")))
    person.start()
    until(lambda: links.app.heard, "the envelope is being handled")
    assert [1] == links.slack.strike("refresh")
    until(lambda: links.slack.count == 2, "the replacement stands beside the old one")
    assert (1, None) == (links.socket.state().connected, links.socket.state().down_s)
    links.app.goes_on.set()
    person.join()
    assert acks[0].ok
    assert (1, 0, 0) == (
        links.slack.figures.acked, links.slack.figures.sent_again, links.slack.figures.acked_for_nothing,
    )  # fmt: skip
    until(lambda: links.slack.count == 1, "the old one has ended")
    assert links.slash("next").ok
    assert 2 == links.slack.figures.opened


def test_a_slack_that_stands_still_is_noticed(start: Callable[..., Links]) -> None:
    """Without an answer to a ping the connection is given up, though TCP still stands."""
    links = start()
    opened = links.slack.figures.opened
    links.slack.strike("freeze", "all")
    until(lambda: links.slack.figures.opened == opened + 2, "two new connections")
    until(lambda: links.socket.state().connected == 2, "both links count again")


def test_a_stand_still_is_noticed_within_eight_seconds() -> None:
    """The last answered ping, the unanswered one, and the end of the connection, as they are set in production."""
    times = Times()
    assert times.ping_s + times.pong_s + times.close_s <= 8


def test_socket_mode_switched_off_is_said_and_tried_on(start: Callable[..., Links]) -> None:
    """Slack's last word is in the state; a connection is tried again with the longest pause."""
    links = start(replace(QUICK, steps_s=(0.01, 0.3)), links=1)
    links.slack.strike("disable")
    until(lambda: "switched off in the app's settings" in links.socket.state().error, "the remedy")
    asked = links.slack.figures.asked
    until(lambda: links.socket.state().connected == 1, "the link is up again")
    assert (asked + 1, "") == (links.slack.figures.asked, links.socket.state().error)


def test_the_links_start_apart(start: Callable[..., Links]) -> None:
    """Connections that began at one time would be renewed at one time."""
    links = start(replace(QUICK, apart_s=60.0), up=False)
    until(lambda: links.socket.state().connected == 1, "the first link")
    assert (1, 2) == (links.slack.figures.asked, links.socket.state().wanted)


# --- connections that do not come about -------------------------------------------------------------


def test_a_rotated_token_heals_a_permanent_error(start: Callable[..., Links], caplog: pytest.LogCaptureFixture) -> None:
    """A refused token is said in the log once and in the state for as long; the next one is read from its file."""
    tokens = ["xapp-old"]
    links = start(replace(QUICK, steps_s=(0.01, 0.02)), token=lambda: tokens[0], up=False)
    until(lambda: links.app.errors["slack-connect"] >= 3, "three refusals")
    state = links.socket.state()
    assert "invalid_auth (is slack.app_token this app's app-level token (xapp-)?)" == state.error
    assert (0, None, True) == (state.connected, state.hello_s, (state.down_s or 0) > 0)
    tokens[0] = APP
    until(lambda: links.socket.state().connected == 2, "connected with the new token")
    assert ("", None) == (links.socket.state().error, links.socket.state().down_s)
    assert 1 == sum("invalid_auth" in record.getMessage() for record in caplog.records)
    assert "xapp" not in caplog.text.replace("(xapp-)", "")


def test_a_missing_token_is_said_in_the_words_of_the_config() -> None:
    """A file that cannot be read is no crash: the link waits and asks again."""
    app, asked = App(), threading.Event()

    def open_url() -> str:
        asked.set()
        raise PortError("The secret file /run/app-token could not be read: Permission denied.")

    socket = SlackSocket(open_url=open_url, answer=app.answer, count_error=app.count_error, times=QUICK)
    socket.start()
    assert asked.wait(5)
    until(lambda: "Permission denied" in socket.state().error, "the reason")
    socket.close()


@pytest.mark.parametrize(
    ("asked_in_1_s", "error"),
    [
        (2, ChatError("ratelimited", retry_after_s=0.6)),  # Slack's own wish is kept
        (1, ChatError("invalid_auth", permanent=True)),  # at once the longest pause
        (5, ChatError("http_500", uncertain=True)),  # 0, 0.1, 0.3, 0.7 and the longest after that
    ],
)
def test_addresses_are_asked_for_with_restraint(asked_in_1_s: int, error: ChatError) -> None:
    """Both links together ask once for each step of the pauses: 0.1, 0.2, 0.4 s and then the longest."""
    app, asked = App(), list[float]()

    def open_url() -> str:
        asked.append(time.monotonic())
        raise error

    times = replace(QUICK, steps_s=(0.1, 0.2, 0.4, 2.0) if asked_in_1_s == 5 else (0.1, 2.0))
    socket = SlackSocket(open_url=open_url, answer=app.answer, count_error=app.count_error, times=times)
    socket.start()
    until(lambda: asked and time.monotonic() - asked[0] > 1.0, "a second has gone")
    socket.close()
    assert len(asked) in (asked_in_1_s, asked_in_1_s - 1), asked


class Script:
    """A small WebSocket server that does to each connection what a test says, and keeps what it was sent."""

    def __init__(self, play: Callable[[ServerConnection, int], None]) -> None:
        self._play, self.received = play, list[Any]()
        self.connections = 0
        self._server: Server = serve(self._serve, "127.0.0.1", 0, max_size=None, ping_interval=None)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/?ticket=very-secret"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _serve(self, websocket: ServerConnection) -> None:
        self.connections += 1
        try:
            self._play(websocket, self.connections)
            for message in websocket:
                self.received.append(json.loads(message))
        except ConnectionClosed:
            return

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture
def scripted() -> Iterator[Callable[..., tuple[Script, SlackSocket, App]]]:
    """`scripted(play, times)` starts one link to a server that plays `play(connection, its number)`."""
    ends: list[Callable[[], None]] = []

    def start(play: Callable[[ServerConnection, int], None], times: Times = QUICK) -> tuple[Script, SlackSocket, App]:
        script, app = Script(play), App()
        socket = SlackSocket(
            open_url=lambda: script.url, answer=app.answer, count_error=app.count_error, times=times, links=1
        )
        ends.extend((script.close, socket.close, app.goes_on.set))
        socket.start()
        return script, socket, app

    yield start
    for end in reversed(ends):
        end()


def test_a_connection_without_a_hello_is_none(scripted: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is given up after its time and another address is asked for; the address is in no log line."""
    script, socket, _ = scripted(lambda ws, number: ws.send(HELLO) if number > 1 else None, replace(QUICK, hello_s=0.2))
    until(lambda: "no hello within 0.2 s" == socket.state().error, "the reason")
    until(lambda: socket.state().connected == 1, "the second connection said hello")
    assert 2 == script.connections
    assert "very-secret" not in caplog.text


def test_too_many_connections_are_no_reason_to_hurry(scripted: Any) -> None:
    """Slack counts 10 per app, dead ones too: the longest pause follows, and the reason is said."""
    full = json.dumps({"type": "disconnect", "reason": "too_many_websockets"})
    script, socket, _ = scripted(lambda ws, _: ws.send(full), replace(QUICK, steps_s=(0.01, 60.0)))
    until(lambda: "Slack counts 10 connections" in socket.state().error, "the reason")
    assert 1 == script.connections


def test_connections_that_end_at_once_are_paced(scripted: Any) -> None:
    """A proxy that ends every connection after hello costs a few tries and then a pause, not the whole bucket."""

    def play(ws: ServerConnection, _: int) -> None:
        ws.send(HELLO)
        ws.close()

    times = replace(QUICK, settled_s=0.5, short_lives=4, steps_s=(60.0,))
    script, socket, _ = scripted(play, times)
    until(lambda: "ended at once" in socket.state().error, "the reason")
    assert 5 == script.connections


def test_an_address_that_answers_nothing_of_the_kind_is_said(scripted: Any) -> None:
    """A refused connection is told without its address."""
    script, socket, _ = scripted(lambda ws, _: ws.send(HELLO))
    until(lambda: socket.state().connected == 1, "up")
    script.close()
    refused = SlackSocket(
        open_url=lambda: "ws://127.0.0.1:9/?ticket=very-secret",
        answer=lambda *_: None, count_error=lambda _: None, times=QUICK, links=1,
    )  # fmt: skip
    refused.start()
    until(lambda: refused.state().error, "the reason")
    refused.close()
    assert "the connection was refused: Connection refused" == refused.state().error


# --- what comes over it -----------------------------------------------------------------------------


def envelope(number: int, kind: str = "slash_commands", **more: Any) -> str:
    payload = {"command": "/cdc", "text": str(number)}
    return json.dumps({"envelope_id": f"e{number}", "type": kind, "payload": payload, **more})


LARGE = envelope(1, padding="x" * MAX_ENVELOPE_BYTES)


@pytest.mark.parametrize(
    ("message", "ack", "reason"),
    [
        (envelope(1), {"envelope_id": "e1", "payload": {"text": "heard 1"}}, ""),
        (envelope(1, accepts_response_payload=False), {"envelope_id": "e1"}, ""),
        (envelope(1, "something_new", payload=None), {"envelope_id": "e1"}, ""),
        (envelope(1, payload=["a list"]), {"envelope_id": "e1"}, ""),
        (LARGE, None, "slack-envelope-size"),
        ("{not json", None, "slack-envelope-unreadable"),
        ("[]", None, "slack-envelope-unreadable"),
        ('"text"', None, "slack-envelope-unreadable"),
        ("[" * 100_000, None, "slack-envelope-unreadable"),
        ('{"type":"slash_commands"}', None, "slack-envelope-unreadable"),
        ('{"type":"slash_commands","envelope_id":7}', None, "slack-envelope-unreadable"),
        ('{"type":"slash_commands","envelope_id":"%s"}' % ("i" * 256), None, "slack-envelope-unreadable"),
        ('{"type":"x","envelope_id":"%s"}' % ("d" * 255), {"envelope_id": "d" * 255}, ""),
        ('{"type":["hello"],"envelope_id":null}', None, "slack-envelope-unreadable"),
    ],
)
def test_whatever_comes_the_link_goes_on(scripted: Any, message: str, ack: dict[str, Any] | None, reason: str) -> None:
    """An envelope gets one ack with what the app said; what is none is counted, and the next one is handled."""

    def play(ws: ServerConnection, _: int) -> None:
        for text in (HELLO, message, envelope(2)):
            ws.send(text)

    script, _, app = scripted(play)
    wanted = [one for one in (ack, {"envelope_id": "e2", "payload": {"text": "heard 2"}}) if one]
    until(lambda: len(script.received) == len(wanted), "the acks")
    assert wanted == sorted(script.received, key=lambda one: str(one["envelope_id"]))
    assert (1, Counter([reason] if reason else [])) == (script.connections, app.errors)


def test_a_peer_that_does_not_read_is_left(scripted: Any) -> None:
    """Acks that nobody takes fill the way back; neither the watchdog nor the end of the bot waits for them for ever."""
    goes, never = threading.Event(), threading.Event()

    def play(ws: ServerConnection, number: int) -> None:
        ws.send(HELLO)
        if number > 1:
            return
        assert goes.wait(5)
        with ws.recv_flow_control:  # the server reads nothing
            for each in range(32):
                ws.send(envelope(each))
            never.wait(20)

    script, socket, app = scripted(play, replace(QUICK, ping_s=60.0, send_s=0.5))
    app.more = "x" * 1_000_000
    goes.set()
    try:
        until(lambda: script.connections == 2 and socket.state().connected == 1, "another connection", 8.0)
        began_s = time.monotonic()
        socket.close()
        assert time.monotonic() - began_s < 8
    finally:
        never.set()


def test_the_bot_ends_while_a_peer_does_not_read(scripted: Any) -> None:
    """`close` waits for what was taken, for as long as it promises, and not for a send that cannot end."""
    goes, never, blocked = threading.Event(), threading.Event(), threading.Event()

    def play(ws: ServerConnection, _: int) -> None:
        ws.send(HELLO)
        assert goes.wait(5)
        with ws.recv_flow_control:
            for each in range(32):
                ws.send(envelope(each))
            blocked.set()
            never.wait(20)

    _, socket, app = scripted(play, Times(apart_s=0.01))
    app.more = "x" * 1_000_000
    goes.set()
    try:
        assert blocked.wait(5)
        ended = threading.Thread(target=socket.close, daemon=True)
        ended.start()
        ended.join(8)
        assert not ended.is_alive()
    finally:
        never.set()


def test_binary_garbage_is_survived(scripted: Any) -> None:
    """Bytes that are no text are counted like any other message that is none of Slack's."""
    script, _, app = scripted(lambda ws, _: [ws.send(one) for one in (HELLO, b"\xff\xfe\x00", envelope(2))])  # type: ignore[func-returns-value]
    until(lambda: script.received, "the ack of the next envelope")
    assert Counter(["slack-envelope-unreadable"]) == app.errors


def test_what_could_not_be_stored_is_not_acknowledged(scripted: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Without an ack the person reads that the app did not respond, which is true; the link goes on."""
    gate = threading.Event()

    def play(ws: ServerConnection, _: int) -> None:
        ws.send(HELLO)
        assert gate.wait(5)
        ws.send(envelope(1))

    script, socket, app = scripted(play)
    app.fails = True
    gate.set()
    until(lambda: app.errors["slack-envelope-failed"], "the failure is counted")
    until(lambda: socket.state().connected == 1, "the link stands")
    assert [] == script.received


@pytest.mark.parametrize(("comes_again", "acks"), [(False, ["e1"]), (True, ["e1"])])
def test_an_ack_whose_connection_was_lost_goes_over_the_next_one(
    scripted: Any, comes_again: bool, acks: list[str]
) -> None:
    """Slack repeats no click: the ack goes over another connection. An envelope that did come again is acked once."""
    held = threading.Event()

    def play(ws: ServerConnection, number: int) -> None:
        ws.send(HELLO)
        if number == 1:
            ws.send(envelope(1))
            assert held.wait(5)
            ws.close()
        elif comes_again:
            ws.send(envelope(1, retry_attempt=1))

    script, socket, app = scripted(play)
    app.goes_on.clear()
    until(lambda: app.heard, "the envelope is being handled")
    held.set()
    until(lambda: script.connections == 2 and socket.state().connected == 1, "the next connection")
    until(lambda: len(app.heard) == 1 + comes_again, "the second delivery is being handled")
    app.goes_on.set()
    until(lambda: script.received, "the ack")
    socket.close()  # waits until what is at hand has its end
    assert acks == [one["envelope_id"] for one in script.received]
    assert 0 == app.errors["slack-ack-lost"]


def test_an_envelope_that_waited_too_long_is_not_begun(scripted: Any) -> None:
    """Slack has told the person that we did not answer: doing it now would do it behind his back."""
    script, _, app = scripted(
        lambda ws, _: [ws.send(one) for one in (HELLO, *(envelope(n) for n in range(12)))],  # type: ignore[func-returns-value]
        replace(QUICK, late_s=0.1),
    )
    app.goes_on.clear()
    until(lambda: len(app.heard) >= 1, "the first is being handled")
    started = time.monotonic()
    until(lambda: time.monotonic() - started > 0.3, "the others wait too long")
    app.goes_on.set()
    until(lambda: len(script.received) + app.errors["slack-envelope-late"] == 12, "each has its end")
    assert app.errors["slack-envelope-late"] == 12 - len(app.heard)


def test_closing_acknowledges_what_was_taken(start: Callable[..., Links]) -> None:
    """The envelope at hand is finished and acknowledged before the connection ends; what comes later is not taken."""
    links = start()
    links.app.goes_on.clear()
    acks: list[Any] = []
    person = threading.Thread(target=lambda: acks.append(links.slash("last")))
    person.start()
    until(lambda: links.app.heard, "the envelope is being handled")
    closing = threading.Thread(target=links.socket.close)
    closing.start()
    until(lambda: links.slack.count == 1, "the idle connection has ended")
    links.app.goes_on.set()
    closing.join(5)
    person.join(5)
    assert (True, False) == (acks[0].ok, closing.is_alive())
    assert (1, 0) == (links.slack.figures.acked, links.slack.count)


# --- pacing -----------------------------------------------------------------------------------------


def turns(pace: Pace, within_s: float) -> int:
    """How many turns one caller gets."""
    count, ends = 0, time.monotonic() + within_s
    stopper = threading.Timer(within_s, pace.stop)
    stopper.start()
    while pace.wait():
        count += time.monotonic() <= ends
    stopper.join()
    return count


@pytest.mark.parametrize(("burst", "least", "most"), [(1, 3, 4), (10, 12, 13)])
def test_a_burst_and_then_one_at_a_time(burst: int, least: int, most: int) -> None:
    """The bucket's burst at once, then one for each 0.1 s."""
    assert least <= turns(Pace(replace(QUICK, burst=burst, refill_s=0.1)), 0.3) <= most


def test_the_bucket_survives_a_reset_every_second() -> None:
    """One address a second for a minute is within what the bucket gives: 30 at once and 30 more in the minute."""
    times = Times()
    assert times.burst + 60 / times.refill_s >= 60
    assert times.refill_s <= 2.0, "and then a lost connection still waits 2 s at most"


def test_the_pauses_grow_to_half_a_minute() -> None:
    """A Slack that refuses for ten minutes is asked some 20 times by both links together."""
    steps_s = Times().steps_s
    assert list(steps_s) == sorted(steps_s)
    assert 30.0 == steps_s[-1]
