"""A served Slack edge with a recording store and chat, and a way to sign what is sent to it."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from starlette.routing import BaseRoute

from bot.drill.loopback import LoopbackServer
from bot.edge.slack import SlackEdge
from bot.ports import ChatError, Message
from tests.unit.render import scenes

SECRET, OLD_SECRET = "new-secret", "old-secret"


class Inbox:
    """Keeps rows by key, as the journal does; `broken` is a full disk."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, dict[str, Any]]] = {}
        self.asked: list[str] = []
        self.broken = False

    def put(self, key: str, kind: str, body: bytes) -> bool:
        self.asked.append(key)
        if self.broken:
            raise OSError("No space left on device")
        if key in self.rows:
            return False
        self.rows[key] = (kind, json.loads(body))
        return True

    @property
    def only(self) -> tuple[str, dict[str, Any]]:
        ((kind, body),) = self.rows.values()
        return kind, body


class Screen:
    """The part of a Chat that the edge uses: what it showed."""

    def __init__(self) -> None:
        self.views: list[tuple[str, Mapping[str, Any]]] = []
        self.told: list[tuple[str, str]] = []
        self.happened = threading.Event()
        self.refuses: ChatError | None = None

    def open_view(self, trigger_id: str, view: Mapping[str, Any]) -> None:
        if self.refuses:
            raise self.refuses
        self.views.append((trigger_id, view))
        self.happened.set()

    def respond(self, response_url: str, message: Message) -> None:
        self.told.append((response_url, message.text))
        self.happened.set()


class _Chat:
    """The screen of the moment: the edge outlives a test."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def open_view(self, trigger_id: str, view: Mapping[str, Any]) -> None:
        self._edge.screen.open_view(trigger_id, view)

    def respond(self, response_url: str, message: Message) -> None:
        self._edge.screen.respond(response_url, message)


class Edge:
    """The edge over HTTP on a free port."""

    def __init__(self) -> None:
        self.forget()
        self.scene = scenes.worked_on()
        self.slack = SlackEdge(
            secrets=self._secrets,
            store=lambda *row: self.inbox.put(*row),
            incident={self.scene.id: self.scene.incident}.get,
            chat=_Chat(self),  # type: ignore[arg-type]
            clock=lambda: datetime.now(UTC),
            count_error=lambda reason: self.errors.append(reason),
        )
        routes: list[BaseRoute] = self.slack.routes()
        self._server = LoopbackServer("slack edge", routes).start()  # type: ignore[arg-type]
        self.url = f"{self._server.url}/slack/events"

    def _secrets(self) -> tuple[str, ...]:
        if self.secret_is_missing:
            raise LookupError("SLACK_SIGNING_SECRET is not set")
        return SECRET, OLD_SECRET

    def forget(self) -> None:
        """An empty inbox and screen for the next test."""
        self.secret_is_missing = False
        self.inbox, self.screen, self.errors = Inbox(), Screen(), list[str]()

    def stop(self) -> None:
        self._server.stop()
        self.slack.close()

    def send(
        self, body: bytes, *, secret: str = SECRET, age_s: int = 0, headers: Mapping[str, str] | None = None,
        content_type: str = "application/x-www-form-urlencoded",
    ) -> requests.Response:  # fmt: skip
        stamp = str(int(time.time()) - age_s)
        digest = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        signed = {
            "Content-Type": content_type,
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={digest}",
            **(headers or {}),
        }
        return requests.post(self.url, data=body, headers=signed, timeout=5)

    def payload(self, document: Mapping[str, Any]) -> requests.Response:
        return self.send(urlencode({"payload": json.dumps(document)}).encode())

    def slash(self, text: str, trigger_id: str = "t1", command: str = "/cdc") -> requests.Response:
        form = {
            "command": command,
            "text": text,
            "user_id": "U01ALICE",
            "user_name": "alice",
            "channel_id": "C01",
            "channel_name": "cdc-incidents",
            "response_url": "https://hooks.slack.com/commands/1",
            "trigger_id": trigger_id,
            "team_id": "T1",
        }
        return self.send(urlencode(form).encode())

    def click(self, action_id: str, value: Mapping[str, Any] | str, action_ts: str = "1.2") -> requests.Response:
        raw = value if isinstance(value, str) else json.dumps(value)
        return self.payload(click(action_id, {"type": "button", "value": raw}, action_ts))

    def submit(
        self, callback_id: str, values: Mapping[str, Any], carried: Mapping[str, Any] | None = None
    ) -> requests.Response:
        metadata = json.dumps(carried if carried is not None else {**VALUE, "c": "C01", "t": "1.0", "u": URL})
        view = {
            "type": "modal",
            "id": "V1",
            "hash": "h1",
            "callback_id": callback_id,
            "private_metadata": metadata,
            "blocks": [{"type": "input", "block_id": "text"}],
            "state": {"values": values},
        }
        return self.payload({"type": "view_submission", "user": USER, "team": {"id": "T1"}, "view": view})


USER = {"id": "U01ALICE", "username": "alice", "name": "alice", "team_id": "T1"}
URL = "https://hooks.slack.com/actions/1"
VALUE = {"i": "CDC-12", "r": 3, "n": "5f3a9c1e"}


def click(action_id: str, action: Mapping[str, Any], action_ts: str = "1.2") -> dict[str, Any]:
    return {
        "type": "block_actions",
        "user": USER,
        "team": {"id": "T1"},
        "trigger_id": "t9",
        "container": {"type": "message", "message_ts": "7.7", "thread_ts": "7.0", "channel_id": "C01"},
        "channel": {"id": "C01", "name": "cdc-incidents"},
        "message": {"ts": "7.7"},
        "response_url": URL,
        "actions": [{"action_id": action_id, "block_id": "b", "action_ts": action_ts, **action}],
    }


@pytest.fixture(scope="package")
def served() -> Iterator[Edge]:
    edge = Edge()
    yield edge
    edge.stop()


@pytest.fixture
def edge(served: Edge) -> Edge:
    served.forget()
    return served
