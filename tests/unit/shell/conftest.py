"""The shell on a real journal: real SQLite, real dispatcher, and a world of small hand-written fakes."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.dispatcher import Dispatcher, Nudges
from bot.incident import commands as c
from bot.incident import events as e
from bot.incident.policy import Policy
from bot.incident.runbook import Runbook, Step
from bot.incident.state import Incident
from bot.model import Pipeline, Signal, Sink
from bot.outbox import Outbox, Renderers
from bot.ports import ConnectorState, LiveAlert, Matcher, Message, PortError, TaskState
from bot.probes.sources import Sources
from bot.runner import POOLS, Runner, World
from bot.store.sqlite import Store

T0 = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
ALICE = e.Who("slack:UALICE", "alice")
CHANNEL = "#cdc-incidents"
AM = "http://alertmanager.example:9093"
SINK = "customers-sink"
ALL_KINDS = tuple(kind for kinds, _ in POOLS.values() for kind in kinds)
CUSTOMERS = Pipeline("customers", CHANNEL, "@data-platform", sink=Sink(SINK))
BOOK = Runbook(
    id="connector-failed", title="Connector failed", signal=Signal.CONNECTOR, alerts=("*Connector*",), symptoms=(),
    hash="bbb",
    steps=(
        Step("look", "triage", "Why did it fail?", probe="connector_state"),
        Step("restart", "actions", "Restart failed tasks", action="restart_failed_tasks", guard="responder"),
    ),
)  # fmt: skip
OTHER_BOOK = Runbook(id="other", title="Other", signal=Signal.OTHER, alerts=(), symptoms=(), hash="ccc", steps=())


@dataclass
class Clock:
    """A clock that stands still until it is told."""

    now: datetime = T0

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class FakeChat:
    """Keeps what was said. The next calls of a method fail as `fails` says; `takes` first takes the message."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    said: dict[str, tuple[str, str | None, Message]] = field(default_factory=dict)
    fails: dict[str, list[Exception]] = field(default_factory=dict)
    takes: bool = False
    looked_in: list[str] = field(default_factory=list)
    files: dict[str, tuple[str, str | None, str | bytes, str, str]] = field(default_factory=dict)

    def _call(self, method: str, what: str) -> None:
        self.calls.append((method, what))
        if self.fails.get(method):
            raise self.fails[method].pop(0)

    def post(self, channel: str, message: Message, thread_ts: str | None, broadcast: bool = False) -> tuple[str, str]:
        ts = f"{len(self.said) + 1}.0"
        if self.takes:
            self.said[ts] = (channel, thread_ts, message)
        self._call("post", _key(message))
        self.said[ts] = (channel, thread_ts, message)
        return "C1", ts

    def update(self, channel: str, ts: str, message: Message) -> None:
        self._call("update", _key(message))
        self.said[ts] = (*self.said[ts][:2], message)

    def find(self, channel: str, thread_ts: str | None, key: str) -> str | None:
        self.looked_in.append(channel)
        self._call("find", key)
        return next((ts for ts, (_, _, message) in self.said.items() if _key(message) == key), None)

    def respond(self, response_url: str, message: Message) -> None:
        self._call("respond", message.text)

    def post_ephemeral(self, channel: str, user: str, message: Message, thread_ts: str | None) -> None:
        self._call("post_ephemeral", message.text)

    def upload(
        self, channel: str, thread_ts: str | None, filename: str, content: str | bytes, comment: str, alt: str = ""
    ) -> None:
        self._call("upload", filename)
        self.files[filename] = (channel, thread_ts, content, comment, alt)

    def open_view(self, trigger_id: str, view: Mapping[str, Any]) -> None:
        self._call("open_view", trigger_id)

    def said_keys(self) -> list[str]:
        return [_key(message) for _, _, message in self.said.values()]


def _key(message: Message) -> str:
    return str(message.metadata.get("event_payload", {}).get("key", message.text))


@dataclass
class FakeConnect:
    """One connector with one task in `state`; counts the restarts and answers them as `answer` says."""

    state: str = "FAILED"
    restarts: int = 0
    answer: PortError | None = None
    reads: list[Exception] = field(default_factory=list)

    def read_connector(self, name: str, deadline_s: float) -> ConnectorState:
        if self.reads:
            raise self.reads.pop(0)
        return ConnectorState(name, "sink", "RUNNING", "w", None, (TaskState(0, self.state, "w", "java.lang.Error"),))

    def read_connectors(self, deadline_s: float) -> tuple[ConnectorState, ...]:
        return (self.read_connector(SINK, deadline_s),)

    def restart_failed(self, name: str, deadline_s: float) -> str:
        self.restarts += 1
        if self.answer is not None:
            raise self.answer
        return "accepted"


@dataclass
class FakeAlertmanager:
    """Lists `live`, or raises what `down` says."""

    external_url: str = AM
    live: list[LiveAlert] = field(default_factory=list)
    down: PortError | None = None

    def read_alerts(self, matchers: Sequence[Matcher], deadline_s: float) -> tuple[LiveAlert, ...]:
        if self.down is not None:
            raise self.down
        return tuple(self.live)

    def create_silence(self, *_: object) -> str:
        return "s1"

    def read_silence(self, silence_id: str, deadline_s: float) -> str:
        return "active"


def alert(fingerprint: str = "f1", status: str = "firing", starts_at: datetime = T0, **labels: str) -> dict[str, Any]:
    named = {"alertname": "CDCConnectorFailed", "pipeline": "customers", "severity": "warning", **labels}
    ends_at = "0001-01-01T00:00:00Z" if status == "firing" else (starts_at + timedelta(hours=1)).isoformat()
    return {
        "status": status, "labels": named, "annotations": {}, "fingerprint": fingerprint,
        "startsAt": starts_at.isoformat(), "endsAt": ends_at,
    }  # fmt: skip


def webhook(*alerts: Mapping[str, Any], source: str = AM, truncated: int = 0) -> bytes:
    group = {
        "version": "4", "receiver": "cdc", "groupKey": "g", "groupLabels": {}, "status": "firing",
        "externalURL": source, "truncatedAlerts": truncated, "alerts": list(alerts),
    }  # fmt: skip
    return json.dumps(group).encode()


def live(fingerprint: str = "f1", state: str = "active", starts_at: datetime = T0, **more: Any) -> LiveAlert:
    labels = {"alertname": "CDCConnectorFailed", "pipeline": "customers", "severity": "warning"}
    more = {"receivers": ("cdc",), **more}
    return LiveAlert(fingerprint, labels, {}, starts_at, None, state, **more)


class Shell:
    """The bot's engines on one journal, stepped by hand. `again` is a new process on the same file."""

    def __init__(self, journal: Path, clock: Clock, chat: FakeChat, connect: FakeConnect, ams: Sequence[Any]) -> None:
        self.journal, self.clock, self.chat, self.connect, self.ams = journal, clock, chat, connect, ams
        self.store = Store(journal)
        self.errors: Counter[str] = Counter()
        self.policy = Policy(
            {"customers": CUSTOMERS}, (BOOK, OTHER_BOOK), CHANNEL, responders=frozenset({"UALICE"}),
            actions=frozenset({"restart_failed_tasks", "silence_alerts"}),
            settle=timedelta(days=1), recheck=timedelta(days=1),
        )  # fmt: skip
        nonces = itertools.count(1)
        nudges = Nudges(lambda: None, lambda: None)
        self.dispatcher = Dispatcher(
            self.store, lambda: self.policy, clock, lambda: f"n{next(nonces)}", nudges, self.count
        )
        self.pool = ThreadPoolExecutor(2)
        world = World(Sources(connect=connect), connect, {am.external_url: am for am in ams})
        self.runner = Runner(
            self.store, self.dispatcher, world, lambda: self.policy, clock, self.pool, self.count
        )  # fmt: skip
        self.outbox = Outbox(self.store, self.dispatcher, chat, renderers(), clock, self.count)

    def count(self, reason: str) -> None:
        self.errors[reason] += 1

    def again(self) -> Shell:
        """The process died; this is the next one, before it settled anything."""
        self.close()
        return Shell(self.journal, self.clock, self.chat, self.connect, self.ams)

    def close(self) -> None:
        self.pool.shutdown()
        self.store.close()

    # --- steps ---

    def hear(self, body: bytes, kind: str = "alertmanager") -> None:
        self.store.receive(f"{kind}:{next(KEYS)}", kind, body, self.clock())
        while self.dispatcher.step():
            pass

    def work(self, *kinds: str) -> int:
        """Run what is due of these kinds, of all without one."""
        done = 0
        while self.runner.run_one(kinds or ALL_KINDS):
            done += 1
        return done

    def say_all(self) -> None:
        """Drain until nothing moves, with time enough for pacing."""
        for _ in range(60):
            self.outbox.drain()
            self.outbox.send_charts()
            self.clock.passes(1.0)

    def planned(self) -> str:
        """An incident with a plan that waits for Run; returns the action's key."""
        self.hear(webhook(alert()))
        self.work("probe")
        self.dispatcher.order("CDC-1", c.PlanAction(ALICE, step="restart"))
        self.work("plan")
        return self.incident().actions[-1].key

    def confirmed(self) -> str:
        key = self.planned()
        action = self.incident().actions[-1]
        assert self.dispatcher.order("CDC-1", c.RunAction(ALICE, key, action.plan.hash)).refusal is None
        return key

    # --- what is to be seen ---

    def incident(self, incident_id: str = "CDC-1") -> Incident:
        found = self.dispatcher.incident(incident_id)
        assert found is not None
        return found

    def kinds(self, incident_id: str = "CDC-1") -> list[str]:
        return [type(entry.event).__name__ for _, entry in self.store.entries(incident_id)]

    def rows(self, sql: str) -> list[Any]:
        return [row[0] if len(row) == 1 else row for row in self.store._db().execute(sql)]


KEYS = itertools.count(1)


def renderers() -> Renderers:
    """The words do not matter here: each message says its slot and version, and carries its key."""

    def slot(name: str, incident: Incident, entries: tuple[Any, ...], now: datetime) -> Message:
        payload = {"event_payload": {"key": f"{incident.id}/{name}"}}
        return Message(f"{incident.id} {name} v{incident.version}", metadata=payload)

    return Renderers(slot, lambda r: Message(r.title), Message, lambda i: (f"postmortem-{i}.md", "# Postmortem"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def chat() -> FakeChat:
    return FakeChat()


@pytest.fixture
def connect() -> FakeConnect:
    return FakeConnect()


@pytest.fixture
def alertmanager() -> FakeAlertmanager:
    return FakeAlertmanager()


@pytest.fixture
def start(
    tmp_path: Path, clock: Clock, chat: FakeChat, connect: FakeConnect, alertmanager: FakeAlertmanager
) -> Iterator[Callable[..., Shell]]:
    """Start a shell; every one on the same journal."""
    started: list[Shell] = []

    def begin(*more: FakeAlertmanager) -> Shell:
        started.append(Shell(tmp_path / "journal.db", clock, chat, connect, (alertmanager, *more)))
        return started[-1]

    yield begin
    for shell in started:
        shell.close()


@pytest.fixture
def shell(start: Callable[..., Shell]) -> Shell:
    return start()
