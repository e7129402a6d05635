"""Socket Mode: Slack's requests over connections that the bot opens itself, so that Slack needs no way in.

Two links, each kept by a thread of its own: ask Slack for an address (it works once), connect, wait for `hello`,
then hand every envelope to a few threads and acknowledge it on the connection that it came by. slack_sdk's own
clients are not used: measured, they are offline for 53 s after a reset, ask for an address 124 times a minute while
Slack refuses, or never notice a Slack that stands still (shared/notes/slack-platform.md section 4).

Promise
    An envelope is acknowledged after it was stored, once. What could not be stored, or came to its turn after Slack
    had told the person that we did not answer, is neither acknowledged nor done.
    A connection that Slack wants renewed is replaced first and kept until what it brought is acknowledged.
    A lost connection is replaced within 2 s; one that stands still is noticed within 8 s.
    Addresses are asked for with restraint: all links share one bucket, and back off together while it fails.
    Nothing that comes over the wire ends a thread. No token, address or payload is logged.

This module knows envelopes; what is in them is `SlackEdge`'s. Sources: docs.slack.dev, "Using Socket Mode"; 10
connections per app, `too_many_websockets` and connections that Slack counts after they died: python-slack-sdk #1940.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from bot.ports import ChatError, ChatLinks, PortError, is_loopback

LINKS = 2
WORKERS = 8
ENVELOPES_AT_ONCE = 256
REMEMBERED = 1024
MAX_ENVELOPE_BYTES = 1024 * 1024
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""A larger message ends its connection; between the two an envelope is refused and the connection goes on."""
MAX_ENVELOPE_ID = 255
"""Slack's are 36 characters; the id is all of an envelope that is sent back."""
FINISH_S = 3.0

REMEDIES: Mapping[str, str] = {
    "invalid_auth": "is slack.app_token this app's app-level token (xapp-)?",
    "not_authed": "is slack.app_token this app's app-level token (xapp-)?",
    "not_allowed_token_type": "slack.app_token must be the app-level token (xapp-), not the bot token",
    "token_revoked": "the app-level token was revoked: create a new one with the scope connections:write",
    "missing_scope": "the app-level token lacks the scope connections:write",
    "link_disabled": "Socket Mode is switched off in the app's settings",
    "too_many_websockets": "Slack counts 10 connections of this app: do other processes use the same token?",
    "redirected": "is slack.api_url right? A redirect is not followed, it would take the token to another host",
    "unreachable": "is Slack reachable from here?",
}

Answer = Callable[[str, Any], Mapping[str, Any] | None]

log = logging.getLogger("cdc.slack.socket")
_quiet = logging.getLogger("cdc.slack.socket.wire")
_quiet.setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Times:
    """All durations, in seconds. `burst` connections at once, then one in `refill_s`, over all links.

    `steps_s` are the pauses after one failure, two, and so on; the last one goes on, and is used at once for a
    failure that repeating does not cure. Connections that live less than `settled_s` are failures too, after
    `short_lives` of them in a row: a proxy that ends every connection is not worth 30 addresses a minute. `late_s`
    is when an envelope is too old to be begun, `again_s` how long Slack has to bring one again whose connection was
    lost, `linger_s` how long a replaced connection may still bring something, `apart_s` how much later each further
    link starts. `send_s` is how long a peer that does not read may hold up a send, and one that stops in the middle of
    a TLS record a read: then the connection is lost.
    """

    apart_s: float = 10.0
    hello_s: float = 10.0
    ping_s: float = 3.0
    pong_s: float = 4.0
    send_s: float = 3.0
    close_s: float = 1.0
    settled_s: float = 0.5
    short_lives: int = 4
    late_s: float = 2.5
    again_s: float = 0.5
    linger_s: float = 15.0
    burst: int = 30
    refill_s: float = 2.0
    steps_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)


class SlackSocket:
    """The links to Slack. `start` returns at once, whether Slack is there or not; `close` ends them in order.

    `open_url` returns a fresh address; it raises PortError (a ChatError says whether repeating can help). `answer`
    is given an envelope's type and payload and returns the payload of the ack; it raises when there must be none.
    """

    def __init__(
        self,
        *,
        open_url: Callable[[], str],
        answer: Answer,
        count_error: Callable[[str], None],
        times: Times | None = None,
        links: int = LINKS,
    ) -> None:
        self._open_url, self._answer, self._count_error = open_url, answer, count_error
        self._times = times or Times()
        self._stop = threading.Event()
        self._pace = Pace(self._times)
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="slack-envelope")
        self._room = threading.BoundedSemaphore(ENVELOPES_AT_ONCE)
        self._lock = threading.Lock()
        self._lines: set[_Line] = set()
        self._connected: dict[int, _Line] = {}
        self._seen: dict[str, int] = {}
        self._down_since_s: float | None = time.monotonic()
        self._hello_at_s: float | None = None
        self._error, self._said = "", ""
        self._keepers = [
            threading.Thread(target=self._keep, args=(number,), name=f"slack-link-{number}", daemon=True)
            for number in range(links)
        ]

    def start(self) -> None:
        for keeper in self._keepers:
            keeper.start()

    def close(self) -> None:
        """Take nothing new, acknowledge what was taken within 3 s, then end the connections."""
        self._stop.set()
        self._pace.stop()
        with self._lock:
            lines = list(self._lines)
        ends_s = time.monotonic() + FINISH_S
        for line in sorted(lines, key=_Line.stop_taking):  # the idle ones end first
            line.finish(ends_s - time.monotonic())
        for keeper in self._keepers:
            keeper.join(timeout=1.0)  # one that waits for Slack's answer ends with the process
        self._pool.shutdown(wait=True)

    def state(self) -> ChatLinks:
        """How the links stand now, for health and metrics."""
        now = time.monotonic()
        with self._lock:
            down_s = None if self._down_since_s is None else now - self._down_since_s
            hello_s = None if self._hello_at_s is None else now - self._hello_at_s
            return ChatLinks(len(self._connected), len(self._keepers), down_s, hello_s, self._error)

    # -- keeping a link ----------------------------------------------------------------------

    def _keep(self, number: int) -> None:
        """One link, for ever: connect, wait until the connection is lost or to be renewed, connect again."""
        if self._stop.wait(number * self._times.apart_s):
            return
        line: _Line | None = None
        while not self._stop.is_set():
            try:
                line = self._renew(number, line)
            except Exception:
                # The process's edge: whatever it was, the link tries again.
                log.exception("a Slack link failed; trying again")
                self._failed("it failed unexpectedly, see the log", "")
                line = None

    def _renew(self, number: int, old: _Line | None) -> _Line | None:
        """Return the connection to go on with once it is over or to be renewed; the old one while there is no new."""
        fresh = self._connect()
        if fresh is None:
            return old if old is not None and not old.ended else None
        if old is not None:
            old.retire(self._times.linger_s)
        with self._lock:
            is_first = self._hello_at_s is None
            if not fresh.ended:
                self._connected[number] = fresh
                self._error, self._down_since_s, self._hello_at_s = "", None, time.monotonic()
        if is_first or self._said:
            log.info("Slack: connected%s", "" if is_first else " again")
            self._said = ""
        if fresh.wait_until(lambda: fresh.ended or self._stop.is_set(), self._times.settled_s):
            if self._pace.ended_at_once():
                self._failed(f"the connection ended at once: {fresh.reason}", "at once")
        else:
            self._pace.worked()
        fresh.wait_until(lambda: fresh.ended or fresh.leaving is not None or self._stop.is_set(), None)
        if self._stop.is_set():
            return None
        if fresh.leaving is not None and fresh.leaving in REMEDIES:
            self._failed(_told(fresh.leaving), fresh.leaving, self._times.steps_s[-1])
            fresh.retire(0)
            return None
        if fresh.ended:
            log.info("a connection to Slack ended: %s", fresh.reason)
            return None
        log.info("Slack asks for a new connection: %s", fresh.leaving)
        return fresh

    def _connect(self) -> _Line | None:
        """Return a connection that said hello, or None: refused, or the bot stops."""
        if not self._pace.wait():
            return None
        try:
            address = self._open_url()
        except ChatError as error:
            patience_s = self._times.steps_s[-1] if error.permanent else error.retry_after_s or 0
            self._failed(_told(error.code), error.code, patience_s)
            return None
        except PortError as error:
            self._failed(str(error), "", self._times.steps_s[-1])
            return None
        try:
            opened = connect(
                address,
                open_timeout=self._times.hello_s,
                ping_interval=self._times.ping_s,
                ping_timeout=self._times.pong_s,
                close_timeout=self._times.close_s,
                max_size=MAX_MESSAGE_BYTES,
                compression=None,
                user_agent_header="cdc-oncall",
                proxy=None if is_loopback(urlsplit(address).hostname) else True,
                logger=_quiet,
            )
            # Entered and never left: a connection ends where it is read, in a thread of its own.
            websocket = opened.__enter__()
            # The library's own sends have no time limit, and its watchdog waits for the one that is under way.
            with suppress(OSError):  # closed already: whoever reads it finds out
                websocket.socket.settimeout(self._times.send_s)
        except (OSError, WebSocketException, ValueError) as error:
            self._failed(f"the connection was refused: {_words(error)}", "")
            return None
        line = _Line(websocket, self._received, self._forget)
        with self._lock:
            self._lines.add(line)
        line.start()

        def is_decided() -> bool:
            return line.greeted or line.ended or line.leaving is not None or self._stop.is_set()

        decided = line.wait_until(is_decided, self._times.hello_s)
        if line.greeted and not self._stop.is_set():
            return line
        line.finish(0)
        if line.leaving is not None:
            patience_s = self._times.steps_s[-1] if line.leaving in REMEDIES else 0.0
            self._failed(_told(line.leaving), line.leaving, patience_s)
        elif not self._stop.is_set():
            late = f"no hello within {self._times.hello_s:g} s"
            self._failed(f"the connection ended: {line.reason}" if decided else late, "")
        return None

    def _failed(self, words: str, code: str, at_least_s: float = 0.0) -> None:
        """Hold the next attempt back, and say why: in the log once, in health for as long as it lasts."""
        self._pace.failed(at_least_s)
        if self._stop.is_set():
            return
        self._count_error("slack-connect")
        with self._lock:
            self._error = words
        if (code or words) != self._said:
            self._said = code or words
            log.warning("not connected to Slack: %s; trying again", words)

    def _forget(self, line: _Line) -> None:
        """A connection has ended; one that was replaced before stands for no link any more."""
        with self._lock:
            self._lines.discard(line)
            self._connected = {number: one for number, one in self._connected.items() if one is not line}
            if not self._connected and self._down_since_s is None:
                self._down_since_s, self._error = time.monotonic(), self._error or line.reason

    # -- envelopes ---------------------------------------------------------------------------

    def _received(self, line: _Line, message: bytes) -> None:
        """Sort one message of Slack: hello, a wish to disconnect, or an envelope for the pool."""
        received_s = time.monotonic()
        if len(message) > MAX_ENVELOPE_BYTES:
            self._refuse("slack-envelope-size", f"an envelope of {len(message):,} bytes was refused")
            return
        document = _object(message)
        kind = document.get("type")
        if kind == "hello":
            line.greet()
            self._compare(document.get("num_connections"))
        elif kind == "disconnect":
            line.leave(str(document.get("reason") or "no reason given"))
        elif not _is_id(document.get("envelope_id")):
            self._refuse("slack-envelope-unreadable", "a message over the socket is no envelope")
        elif not line.take():
            return  # the bot stops: it is not acknowledged, so nobody believes that it was done
        elif not self._room.acquire(blocking=False):
            line.done()
            self._refuse("slack-envelope-busy", f"{ENVELOPES_AT_ONCE} envelopes wait already: one was not taken")
        else:
            self._note(document["envelope_id"])
            self._pool.submit(self._handle, line, document, received_s)

    def _handle(self, line: _Line, envelope: Mapping[str, Any], received_s: float) -> None:
        try:
            waited_s = time.monotonic() - received_s
            if waited_s > self._times.late_s:
                self._refuse("slack-envelope-late", f"an envelope waited {waited_s:.1f} s: Slack has given it up")
                return
            payload = self._answer(str(envelope.get("type")), envelope.get("payload"))
            ack: dict[str, Any] = {"envelope_id": envelope["envelope_id"]}
            if payload and envelope.get("accepts_response_payload", True):
                ack["payload"] = payload
            self._acknowledge(line, str(envelope["envelope_id"]), json.dumps(ack, separators=(",", ":")))
        except Exception:
            # The process's edge: without an ack the person is told that the app did not respond, which is true.
            log.exception("an envelope failed")
            self._count_error("slack-envelope-failed")
        finally:
            self._room.release()
            line.done()

    def _acknowledge(self, line: _Line, envelope_id: str, text: str) -> None:
        """Send an ack on the connection that the envelope came by.

        When that is lost, another one takes the ack, as slack_sdk's clients send theirs over whichever is current:
        one that has stood for a while, over which Slack would have brought the same envelope again if it did.
        """
        if line.sent(text):
            return
        gives_up_at_s = time.monotonic() + self._times.late_s
        ends = False
        while not ends:
            ends = self._stop.wait(self._times.again_s) or time.monotonic() >= gives_up_at_s
            stands_since_s = time.monotonic() - self._times.again_s
            with self._lock:
                if self._seen.get(envelope_id, 1) > 1:
                    return  # Slack brings it again where a connection is lost: each has an ack of its own
                others = [one for one in self._connected.values() if one.greeted_at_s <= stands_since_s]
            if any(other.sent(text) for other in others):
                return
        self._refuse("slack-ack-lost", "an ack was lost with its connection: it is stored, Slack says otherwise")

    def _note(self, envelope_id: str) -> None:
        """Count how often an envelope came; the oldest ones are forgotten."""
        with self._lock:
            self._seen[envelope_id] = self._seen.pop(envelope_id, 0) + 1
            while len(self._seen) > REMEMBERED:
                self._seen.pop(next(iter(self._seen)))

    def _refuse(self, reason: str, words: str) -> None:
        self._count_error(reason)
        log.warning("%s", words)

    def _compare(self, counted: object) -> None:
        """Say when Slack counts connections that are not ours: clicks go to any of them."""
        with self._lock:
            own = len(self._lines)
        if isinstance(counted, int) and counted > own:
            log.info("Slack counts %d connections of this app, this bot holds %d: clicks go to any", counted, own)


class _Line:
    """One connection: a thread that reads it, and the number of envelopes taken and not yet acknowledged."""

    def __init__(
        self,
        websocket: ClientConnection,
        received: Callable[[_Line, bytes], None],
        forget: Callable[[_Line], None],
    ) -> None:
        self._websocket, self._received, self._forget = websocket, received, forget
        self._changed = threading.Condition()
        self.greeted, self.greeted_at_s, self.ended = False, 0.0, False
        self.leaving: str | None = None
        self.reason = ""
        self._is_taking, self._open_envelopes = True, 0
        self._sending, self._is_broken = threading.Lock(), False
        self._over_at_s: float | None = None
        self._thread = threading.Thread(target=self._read, name="slack-line", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait_until(self, holds: Callable[[], bool], timeout_s: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(holds, timeout_s)

    def greet(self) -> None:
        with self._changed:
            self.greeted, self.greeted_at_s = True, time.monotonic()
            self._changed.notify_all()

    def leave(self, reason: str) -> None:
        """Slack wants another connection; this one goes on until there is one."""
        with self._changed:
            self.leaving = reason
            self._changed.notify_all()

    def take(self) -> bool:
        """Count an envelope in; False when nothing is taken any more."""
        with self._changed:
            self._open_envelopes += self._is_taking
            return self._is_taking

    def done(self) -> None:
        with self._changed:
            self._open_envelopes -= 1
            self._changed.notify_all()

    def sent(self, text: str) -> bool:
        """Send, and return whether the connection took it. Only one at a time waits for a peer that does not read."""
        with self._sending:
            if self._is_broken:
                return False
            try:
                self._websocket.send(text)
            except ConnectionClosed:
                self._is_broken = True
            return not self._is_broken

    def retire(self, linger_s: float) -> None:
        """A replacement stands: read on until Slack ends it, or nothing is open after `linger_s`."""
        with self._changed:
            self._over_at_s = time.monotonic() + linger_s

    def stop_taking(self) -> int:
        """Take nothing more; return how many envelopes are not acknowledged yet."""
        with self._changed:
            self._is_taking = False
            self._changed.notify_all()
            return self._open_envelopes

    def finish(self, within_s: float) -> None:
        """Take nothing more, wait until what was taken is acknowledged, then end the connection."""
        self.stop_taking()
        with self._changed:
            self._changed.wait_for(lambda: not self._open_envelopes, max(0.0, within_s))
        self._websocket.close()
        self._thread.join(timeout=2.0)

    def _read(self) -> None:
        try:
            while not self._is_over():
                try:
                    message = self._websocket.recv(timeout=1.0, decode=False)
                except TimeoutError:
                    continue
                self._received(self, message)
        except ConnectionClosed as closed:
            self.reason = _words(closed)
        except Exception:
            # The process's edge: the link replaces this connection.
            log.exception("a Slack connection failed")
            self.reason = "it failed unexpectedly, see the log"
        finally:
            with self._changed:
                self.ended = True
                self._changed.notify_all()
            self._forget(self)
            self._websocket.close()

    def _is_over(self) -> bool:
        with self._changed:
            over = self._over_at_s is not None and time.monotonic() >= self._over_at_s and not self._open_envelopes
            self._is_taking &= not over
            return over


class Pace:
    """When the next address may be asked for: a token bucket for good times, growing pauses for bad ones.

    Slack allows "1+ per minute" with bursts (Tier 1) and says no more. A connection that Slack itself ends is
    replaced at once while the bucket lasts: 30, and one more every 2 s.
    """

    def __init__(self, times: Times) -> None:
        self._times = times
        self._changed = threading.Condition()
        self._is_stopped = False
        self._tokens, self._filled_at_s = float(times.burst), time.monotonic()
        self._failures, self._short_lives, self._not_before_s = 0, 0, 0.0

    def wait(self) -> bool:
        """Return True when it is this caller's turn, False when the bot stops."""
        with self._changed:
            while not self._is_stopped:
                now = time.monotonic()
                pause_s = self._pause_s(now)
                if pause_s <= 0:
                    self._tokens -= 1
                    if self._failures:
                        # While it fails one attempt stands for all links.
                        self._not_before_s = now + self._step_s()
                    return True
                self._changed.wait(pause_s)
            return False

    def worked(self) -> None:
        """A connection lives: the next one may come at once."""
        with self._changed:
            self._failures, self._short_lives, self._not_before_s = 0, 0, 0.0
            self._changed.notify_all()

    def ended_at_once(self) -> bool:
        """Count a connection that did not live; True once there were too many in a row to try again at once."""
        with self._changed:
            self._short_lives += 1
            return self._short_lives > self._times.short_lives

    def failed(self, at_least_s: float = 0.0) -> None:
        """Make everybody wait a step longer than the last time, and `at_least_s`."""
        with self._changed:
            self._failures += 1
            self._not_before_s = time.monotonic() + max(self._step_s(), at_least_s)

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _step_s(self) -> float:
        steps_s = self._times.steps_s
        return steps_s[min(self._failures, len(steps_s)) - 1]

    def _pause_s(self, now_s: float) -> float:
        filled = self._tokens + (now_s - self._filled_at_s) / self._times.refill_s
        self._tokens, self._filled_at_s = min(filled, float(self._times.burst)), now_s
        missing_s = max(0.0, 1 - self._tokens) * self._times.refill_s
        return max(missing_s, self._not_before_s - now_s)


# --- pure parts ------------------------------------------------------------------------------------


def _object(message: bytes) -> Mapping[str, Any]:
    """The message as an object; anything else is an empty one."""
    try:
        document = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _is_id(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_ENVELOPE_ID


def _told(code: str) -> str:
    remedy = REMEDIES.get(code)
    return f"{code} ({remedy})" if remedy else code


def _words(error: Exception) -> str:
    """What went wrong, without the address: it carries a ticket."""
    if isinstance(error, InvalidStatus):
        return f"HTTP {error.response.status_code}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionClosed):
        if error.sent is not None and error.sent.reason == "keepalive ping timeout":
            return "Slack did not answer a ping"
        return "closed by Slack" if error.rcvd is not None else "connection lost"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__
