"""The local workspace's side of Socket Mode, against a client that does only what a test says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bot.drill.slack_interactions import Delivery
from bot.drill.workspace import INCIDENTS, SlackWorkspace

BOT, APP, ALICE = "xoxb-1", "xapp-1", "U01ALICE"


@pytest.fixture
def workspace() -> Iterator[SlackWorkspace]:
    workspace = SlackWorkspace(token=BOT, signing_secret="s", app_token=APP).start()
    yield workspace
    threading.Thread(target=workspace.stop, daemon=True).start()


@pytest.fixture
def plug(workspace: SlackWorkspace) -> Iterator[Callable[[], ClientConnection]]:
    """`plug()` opens one connection, past its hello."""
    opened: list[ClientConnection] = []

    def plug() -> ClientConnection:
        websocket = connect(address(workspace), proxy=None, close_timeout=0.2).__enter__()
        opened.append(websocket)
        assert "hello" == take(websocket)["type"]
        assert workspace.sockets.wait_for(len(opened), 5)
        return websocket

    yield plug
    for websocket in opened:
        websocket.close()


def address(workspace: SlackWorkspace, token: str = APP) -> str:
    return str(WebClient(token=token, base_url=workspace.api_url, retry_handlers=[]).apps_connections_open(
        app_token=token
    )["url"])  # fmt: skip


def take(websocket: ClientConnection) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(websocket.recv(timeout=5))
    return document


def ack(websocket: ClientConnection, envelope: dict[str, Any], **payload: Any) -> None:
    websocket.send(json.dumps({"envelope_id": envelope["envelope_id"], "payload": payload}))


class Typed(threading.Thread):
    """Alice types a command; `delivery` is how it went."""

    def __init__(self, workspace: SlackWorkspace, text: str = "help") -> None:
        super().__init__(daemon=True)
        self._workspace, self._text = workspace, text
        self.delivery: Delivery | None = None
        self.start()

    def run(self) -> None:
        self.delivery = self._workspace.people.slash(INCIDENTS, ALICE, "/cdc", self._text)

    def end(self) -> Delivery:
        self.join(6)
        assert self.delivery is not None
        return self.delivery


@pytest.mark.parametrize(
    ("code", "token"), [("invalid_auth", "xapp-2"), ("not_allowed_token_type", BOT), ("not_authed", "")]
)
def test_only_the_app_level_token_opens_a_connection(workspace: SlackWorkspace, code: str, token: str) -> None:
    """Each wrong token has Slack's own word."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = requests.post(f"{workspace.api_url}apps.connections.open", headers=headers, timeout=5)
    assert code == answer.json()["error"]


def test_the_app_level_token_opens_nothing_else(workspace: SlackWorkspace) -> None:
    """It cannot post."""
    client = WebClient(token=APP, base_url=workspace.api_url, retry_handlers=[])
    with pytest.raises(SlackApiError, match="not_allowed_token_type"):
        client.chat_postMessage(channel=INCIDENTS, text="x")


def test_a_token_without_the_scope_is_told_which(workspace: SlackWorkspace) -> None:
    """missing_scope names connections:write."""
    bare = SlackWorkspace(token=BOT, signing_secret="s", app_token=APP, app_token_scopes=())
    bare.start()
    with pytest.raises(SlackApiError) as refused:
        address(bare)
    assert ("missing_scope", "connections:write") == (
        refused.value.response["error"], refused.value.response["needed"],
    )  # fmt: skip
    threading.Thread(target=bare.stop, daemon=True).start()


def test_an_address_works_once(workspace: SlackWorkspace) -> None:
    """A second connection with it, or one with an invented address, is refused."""
    url = address(workspace)
    with connect(url, proxy=None) as websocket:
        assert "hello" == take(websocket)["type"]
        for spent in (url, url.partition("?")[0]):
            with pytest.raises(InvalidStatus, match="403"), connect(spent, proxy=None):
                raise AssertionError("the address worked twice")


def test_no_address_is_in_the_wire_log(workspace: SlackWorkspace) -> None:
    """An address is a secret for as long as it works."""
    ticket = address(workspace).partition("ticket=")[2].partition("&")[0]
    assert ticket
    assert ticket not in requests.get(f"{workspace.url}/control/wire", timeout=5).text


def test_a_page_of_another_site_cannot_connect(workspace: SlackWorkspace) -> None:
    """The Origin is checked for WebSockets as for requests."""
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(address(workspace), proxy=None, origin="https://evil.example"),  # type: ignore[arg-type]
    ):
        raise AssertionError("a foreign page connected")


def test_a_command_is_an_envelope_and_its_ack_is_shown(
    workspace: SlackWorkspace, plug: Callable[[], ClientConnection]
) -> None:
    """The payload is what a form would hold; the person reads what the ack says."""
    websocket = plug()
    typed = Typed(workspace, "lag g")
    envelope = take(websocket)
    assert ("slash_commands", True, "lag g", "/cdc") == (
        envelope["type"], envelope["accepts_response_payload"], envelope["payload"]["text"],
        envelope["payload"]["command"],
    )  # fmt: skip
    ack(websocket, envelope, text="asking")
    assert typed.end().ok
    assert "asking" == workspace.store.ephemerals()[-1].text


def test_an_ack_after_three_seconds_is_too_late(
    workspace: SlackWorkspace, plug: Callable[[], ClientConnection]
) -> None:
    """The person is told that the app did not respond; the late ack is counted."""
    websocket = plug()
    typed = Typed(workspace)
    envelope = take(websocket)
    late = typed.end()
    assert (False, "operation_timeout", True) == (late.ok, late.error, 3000 <= late.took_ms < 3500)
    ack(websocket, envelope)
    deadline = time.monotonic() + 5
    while not workspace.sockets.figures.acked_late and time.monotonic() < deadline:
        time.sleep(0.005)
    assert 1 == workspace.sockets.figures.acked_late


def test_an_envelope_goes_to_one_connection_and_to_another_one_when_that_dies(
    workspace: SlackWorkspace, plug: Callable[[], ClientConnection]
) -> None:
    """The same envelope comes again with its attempt, in time for the person to notice nothing."""
    lines = [plug(), plug()]
    first, second = _who_got_it(lines, Typed(workspace), workspace)
    assert (first["envelope_id"], 1) == (second["envelope_id"], second["retry_attempt"])


def _who_got_it(
    lines: list[ClientConnection], typed: Typed, workspace: SlackWorkspace
) -> tuple[dict[str, Any], dict[str, Any]]:
    for _ in range(30):
        for index, websocket in enumerate(lines):
            try:
                envelope: dict[str, Any] = json.loads(websocket.recv(timeout=0.05))
            except TimeoutError:
                continue
            workspace.sockets.strike("reset", index + 1)
            with pytest.raises(ConnectionClosed):
                websocket.recv(timeout=5)
            again = take(lines[1 - index])
            ack(lines[1 - index], again)
            assert typed.end().ok
            assert (1, 2) == (workspace.sockets.figures.resets, workspace.sockets.figures.sent)
            return envelope, again
    raise AssertionError("the envelope came nowhere within 3 s")


def test_two_acks_of_one_envelope_are_counted(workspace: SlackWorkspace, plug: Callable[[], ClientConnection]) -> None:
    """An app that answers twice is seen, and so is one that answers nothing it was asked."""
    websocket = plug()
    typed = Typed(workspace)
    envelope = take(websocket)
    for one in (envelope, envelope, {"envelope_id": "invented"}):
        ack(websocket, one)
    assert typed.end().ok
    deadline = time.monotonic() + 5
    while not workspace.sockets.figures.acked_for_nothing and time.monotonic() < deadline:
        time.sleep(0.005)
    figures = workspace.sockets.figures
    assert (1, 1, 1) == (figures.acked, figures.acked_twice, figures.acked_for_nothing)


def test_an_app_that_never_connected_is_said_at_once(workspace: SlackWorkspace) -> None:
    """dispatch_failed, and not after 3 s."""
    delivery = Typed(workspace).end()
    assert ("dispatch_failed", True) == (delivery.error, delivery.took_ms < 1000)


def test_a_request_url_goes_before_connections(workspace: SlackWorkspace, plug: Callable[[], ClientConnection]) -> None:
    """A workspace with `connect_app` speaks HTTP, whoever is connected."""
    plug()
    workspace.connect_app("http://127.0.0.1:9/slack/events")
    assert ("dispatch_failed", 0) == (Typed(workspace).end().error, workspace.sockets.figures.sent)


def test_a_program_can_break_connections(workspace: SlackWorkspace, plug: Callable[[], ClientConnection]) -> None:
    """`/control/sockets` shows what stands and what happened, and resets one, all or a number."""
    websocket = plug()
    url = f"{workspace.url}/control/sockets"
    assert [{"number": 1, "leaving": False, "frozen": False}] == requests.get(url, timeout=5).json()["sockets"]
    assert 400 == requests.post(url, json={"fault": "melt"}, timeout=5).status_code
    requests.post(url, json={"fault": "refresh"}, timeout=5)
    wish = take(websocket)
    assert ("disconnect", "refresh_requested") == (wish["type"], wish["reason"])
    requests.post(url, json={"fault": "reset", "which": "all"}, timeout=5)
    with pytest.raises(ConnectionClosed) as lost:
        websocket.recv(timeout=5)
    assert isinstance(lost.value.__cause__, ConnectionResetError), "a real RST, not a FIN"
    assert 1 == requests.get(url, timeout=5).json()["resets"]


def test_more_than_ten_connections_are_refused(workspace: SlackWorkspace, plug: Callable[[], ClientConnection]) -> None:
    """The eleventh is told too_many_websockets and closed."""
    for _ in range(10):
        plug()
    with connect(address(workspace), proxy=None) as websocket:
        assert "too_many_websockets" == take(websocket)["reason"]


def test_hammering_for_addresses_is_limited(workspace: SlackWorkspace) -> None:
    """After a burst `apps.connections.open` answers 429, and says how long to wait."""
    with pytest.raises(SlackApiError) as refused:
        for _ in range(70):
            address(workspace)
    assert (429, 60, True) == (
        refused.value.response.status_code, workspace.sockets.figures.asked,
        int(refused.value.response.headers["Retry-After"]) >= 1,
    )  # fmt: skip
