"""Socket Mode of the local workspace: the app opens connections, interactions come over one of them.

As Slack does it: `apps.connections.open` gives a `ws://` address that works once; a connection begins with `hello`;
an envelope goes to any one connection and is acknowledged within 3 s; at most 10 connections. An envelope whose
connection dies before its ack is sent again over another one, within the same 3 s, as Slack repeats an event at once.

Faults are real: a reset is a TCP RST, a frozen connection reads and sends nothing any more, not even a pong.

Promise
    Every ack is counted: late, a second one, and one that nobody waits for.
    No address is in the wire log.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from bot.drill.loopback import Answer, Call
from bot.drill.slack_store import Json, SlackStore

PATH = "/link"
TICKET_LIFE_S = 30.0
MOST_SOCKETS = 10
REFRESH_CLOSES_AFTER_S = 10.0
REMEMBERED = 20_000
LINGER_NOT = struct.pack("ii", 1, 0)
FAULTS = ("reset", "close", "refresh", "freeze", "disable")

Fault = Literal["reset", "close", "refresh", "freeze", "disable"]


@dataclass
class Figures:
    """What happened on the sockets so far."""

    asked: int = 0
    opened: int = 0
    resets: int = 0
    sent: int = 0
    sent_again: int = 0
    acked: int = 0
    acked_late: int = 0
    acked_twice: int = 0
    acked_for_nothing: int = 0


@dataclass(frozen=True)
class Ack:
    """The app's answer to an envelope, and the number of the socket it came by."""

    payload: Any
    socket: int


@dataclass
class _Socket:
    number: int
    websocket: WebSocket
    loop: asyncio.AbstractEventLoop
    is_open: bool = True
    is_leaving: bool = False
    is_frozen: bool = False


@dataclass
class _Envelope:
    ack: Ack | None = None
    given_up: bool = False
    changed: threading.Event = field(default_factory=threading.Event)


class SlackSockets:
    """The app's connections; `deliver` sends one envelope and waits for its ack."""

    def __init__(self, store: SlackStore, base_url: str, app_id: str, seed: int = 0) -> None:
        self._store, self._app_id = store, app_id
        self._address = f"ws{base_url.removeprefix('http')}{PATH}"
        self._random = random.Random(seed)
        self._changed = threading.Condition()
        self._tickets: dict[str, float] = {}
        self._sockets: dict[int, _Socket] = {}
        self._envelopes: OrderedDict[str, _Envelope] = OrderedDict()
        self.figures = Figures()

    # -- the app's side --------------------------------------------------------------------

    def open_address(self) -> str:
        """`apps.connections.open`: an address for one connection."""
        ticket = secrets.token_urlsafe(24)
        with self._changed:
            self.figures.asked += 1
            now = time.monotonic()
            self._tickets = {name: made for name, made in self._tickets.items() if now - made < TICKET_LIFE_S}
            self._tickets[ticket] = now
        return f"{self._address}?ticket={ticket}&app_id={self._app_id}"

    async def serve(self, websocket: WebSocket) -> None:
        """The endpoint of one connection."""
        with self._changed:
            is_known = self._tickets.pop(websocket.query_params.get("ticket", ""), None) is not None
            is_full = len(self._sockets) >= MOST_SOCKETS
        if not is_known:
            await websocket.close()  # before it is accepted: HTTP 403
            return
        await websocket.accept()
        if is_full:
            await websocket.send_text(_disconnect("too_many_websockets"))
            await websocket.close()
            return
        with self._changed:
            self.figures.opened += 1
            one = _Socket(self.figures.opened, websocket, asyncio.get_running_loop())
            count = len(self._sockets) + 1
        try:
            await websocket.send_text(self._hello(count))
            with self._changed:
                self._sockets[one.number] = one
                self._changed.notify_all()
            while True:
                self._acked(one, await websocket.receive_text())
        except (WebSocketDisconnect, KeyError):
            pass  # the connection is over; a binary message (KeyError) is none of the protocol's
        finally:
            self._gone(one)

    def _hello(self, count: int) -> str:
        return json.dumps(
            {
                "type": "hello",
                "num_connections": count,
                "debug_info": {"host": "drill", "build_number": 1, "approximate_connection_time": 18060},
                "connection_info": {"app_id": self._app_id},
            }
        )

    def _acked(self, one: _Socket, text: str) -> None:
        try:
            document = json.loads(text)
            envelope_id, payload = str(document["envelope_id"]), document.get("payload")
        except (ValueError, KeyError, TypeError, AttributeError):
            envelope_id, payload = "", None
        with self._changed:
            if one.is_frozen or not one.is_open:
                return  # what was under way when the connection broke has not arrived
            envelope = self._envelopes.get(envelope_id)
            if envelope is None:
                self.figures.acked_for_nothing += 1
            elif envelope.ack is not None:
                self.figures.acked_twice += 1
            else:
                self.figures.acked += 1
                self.figures.acked_late += envelope.given_up
                envelope.ack = Ack(payload, one.number)
            self._changed.notify_all()

    def _gone(self, one: _Socket) -> None:
        with self._changed:
            one.is_open = False
            self._sockets.pop(one.number, None)
            self._changed.notify_all()

    # -- the workspace's side --------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many connections stand."""
        with self._changed:
            return len(self._sockets)

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Wait until so many connections stand."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._sockets) >= count, timeout_s)

    def deliver(self, kind: str, payload: Json, takes_answer: bool, within_s: float) -> tuple[Ack | None, str]:
        """Send an envelope until it is acknowledged or the time is over; return (ack, what happened, for the log)."""
        deadline_s = time.monotonic() + within_s
        envelope_id, envelope, tries = f"{secrets.token_hex(16)}", _Envelope(), 0
        with self._changed:
            self._envelopes[envelope_id] = envelope
            while len(self._envelopes) > REMEMBERED:
                self._envelopes.popitem(last=False)
            while envelope.ack is None and (left_s := deadline_s - time.monotonic()) > 0:
                one = self._pick()
                if one is None:
                    self._changed.wait(left_s)
                    continue
                document = {
                    "envelope_id": envelope_id,
                    "type": kind,
                    "payload": payload,
                    "accepts_response_payload": takes_answer,
                    **({"retry_attempt": tries, "retry_reason": "connection_lost"} if tries else {}),
                }
                tries += 1
                self.figures.sent += 1
                self.figures.sent_again += tries > 1
                self._send(one, json.dumps(document))
                self._changed.wait_for(
                    lambda one=one: envelope.ack is not None or not one.is_open,  # type: ignore[misc]
                    max(0.0, deadline_s - time.monotonic()),
                )
            envelope.given_up = envelope.ack is None
            by = f"socket {envelope.ack.socket}" if envelope.ack else "no socket"
            return envelope.ack, by if tries < 2 else f"{by}, sent {tries} times"

    def _pick(self) -> _Socket | None:
        """Any connection, one that is not being renewed first."""
        staying = [one for one in self._sockets.values() if not one.is_leaving]
        choice = staying or list(self._sockets.values())
        return self._random.choice(choice) if choice else None

    def _send(self, one: _Socket, text: str) -> None:
        if one.is_frozen:
            return

        async def send() -> None:
            try:
                await one.websocket.send_text(text)
            except (WebSocketDisconnect, RuntimeError):
                self._gone(one)

        _run(one, send())

    # -- faults ----------------------------------------------------------------------------

    def control(self, call: Call) -> Answer:
        """`/control/sockets`: what happened. A POST with `fault` and `which` (one, all, a number) breaks some."""
        if call.method == "POST":
            asked = call.document()
            fault = asked.get("fault")
            if fault not in FAULTS:
                return Answer(400, {"ok": False, "error": f"fault is one of {', '.join(FAULTS)}"})
            self.strike(fault, asked.get("which", "one"))
        with self._changed:
            standing = [
                {"number": one.number, "leaving": one.is_leaving, "frozen": one.is_frozen}
                for one in self._sockets.values()
            ]
            return Answer(200, {"ok": True, "sockets": standing, **asdict(self.figures)})

    def strike(self, fault: Fault, which: str | int = "one") -> list[int]:
        """Break one connection (any), all of them, or the one of that number; return the numbers hit."""
        with self._changed:
            standing = list(self._sockets.values())
            if which == "one":
                standing = [self._random.choice(standing)] if standing else []
            elif which != "all":
                standing = [one for one in standing if str(one.number) == str(which)]
            for one in standing:
                if fault == "reset":
                    self.figures.resets += 1
                    self._gone(one)
                elif fault == "freeze":
                    one.is_frozen = True
                else:
                    one.is_leaving = True
                _run(one, self._fail(one, fault))
        self._store.record(
            "Slack to app", f"socket {fault}", None, 0.0, {"sockets": [one.number for one in standing]}, "", "fault"
        )
        return [one.number for one in standing]

    async def _fail(self, one: _Socket, fault: Fault) -> None:
        protocol, transport = _wire(one.websocket)
        if fault == "reset":
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            transport.abort()
        elif fault == "freeze":
            protocol.read_paused = False  # else the next receive() would let it read on
            transport.pause_reading()
        elif fault == "close":
            await one.websocket.close()
            self._gone(one)
        else:
            await one.websocket.send_text(_disconnect("link_disabled" if fault == "disable" else "refresh_requested"))
            await asyncio.sleep(0 if fault == "disable" else REFRESH_CLOSES_AFTER_S)
            if one.is_open and one.websocket.application_state is WebSocketState.CONNECTED:
                await one.websocket.close()
            self._gone(one)


def _run(one: _Socket, work: Any) -> None:
    try:
        asyncio.run_coroutine_threadsafe(work, one.loop)
    except RuntimeError:
        work.close()  # the server's loop has ended, and the connection with it


def _disconnect(reason: str) -> str:
    return json.dumps({"type": "disconnect", "reason": reason, "debug_info": {"host": "drill"}})


def _wire(websocket: WebSocket) -> tuple[Any, Any]:
    """uvicorn's protocol under a WebSocket, and its TCP transport: what a network fault acts on."""
    send: Any = websocket.scope["drill.send"]
    protocol = send.__self__
    return protocol, protocol.transport


def socket_kind(payload: Mapping[str, Any]) -> tuple[str, bool]:
    """The envelope's type for a payload, and whether Slack takes an answer in its ack."""
    if "command" in payload:
        return "slash_commands", True
    if payload.get("type") == "event_callback":
        return "events_api", False
    return "interactive", payload.get("type") == "view_submission"
