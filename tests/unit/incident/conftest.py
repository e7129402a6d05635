"""A small incident world: one pipeline, one runbook, a clock that is an argument."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.incident import commands as c
from bot.incident import events as e
from bot.incident.alerts import read_notification
from bot.incident.correlation import Board
from bot.incident.decisions import Decision, Ids, decide, receive
from bot.incident.notification import Notification
from bot.incident.policy import Policy
from bot.incident.runbook import Runbook, Step
from bot.incident.state import Incident, apply
from bot.model import ConsumerGroup, Finding, GroupKind, Pipeline, Signal, Sink, Status

PAYLOADS = Path(__file__).parents[2] / "payloads"
T0 = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
ALICE, BOB, CAROL = e.Who("slack:UALICE", "alice"), e.Who("slack:UBOB", "bob"), e.Who("slack:UCAROL", "carol")

CUSTOMERS = Pipeline(
    "customers", "#cdc-incidents", "@data-platform", "customers-source", ("customers",), ("customers-value",),
    (ConsumerGroup("customers_canonical_flink", GroupKind.FLINK),),
    Sink("customers-sink", "lake.customers", "dlq.customers"),
)  # fmt: skip
LAG_BOOK = Runbook(
    id="consumer-lag", title="Consumer lag", signal=Signal.LAG, alerts=("*Lag*",), symptoms=("lag grows",), hash="aaa",
    steps=(
        Step("lag.group", "triage", "Is the consumer running?", probe="consumer_lag"),
        Step("lag.decide", "actions", "Scale or reduce input", choices=("scale", "reduce input")),
        Step("lag.repair", "actions", "Repair by hand"),
    ),
)  # fmt: skip
CONNECTOR_BOOK = Runbook(
    id="connector-failed", title="Connector failed", signal=Signal.CONNECTOR, alerts=("*Connector*",), symptoms=(),
    hash="bbb",
    steps=(
        Step("connector.state", "triage", "Why did it fail?", probe="connector_state"),
        Step("connector.restart", "actions", "Restart failed tasks", action="restart_failed_tasks", guard="responder"),
        Step("connector.learn", "post_incident", "Write down the cause"),
    ),
)  # fmt: skip
OTHER_BOOK = Runbook(id="other", title="Other", signal=Signal.OTHER, alerts=(), symptoms=(), hash="ccc", steps=())


class Case:
    """Feeds notifications and commands to the pure core and keeps the board, as the dispatcher would."""

    def __init__(self) -> None:
        self.board = Board()
        self.entries: dict[str, list[e.Entry]] = {}
        self.tasks: list[Any] = []
        self.now = T0
        self.policy = Policy(
            {"customers": CUSTOMERS}, (LAG_BOOK, CONNECTOR_BOOK, OTHER_BOOK), "#other",
            responders=frozenset({"UALICE"}), approvers=frozenset({"UBOB"}),
            actions=frozenset({"restart_failed_tasks", "silence_alerts"}),
            bot_version="0.1.0", config_hash="cfg",
        )  # fmt: skip
        numbers, nonces = itertools.count(1), itertools.count(1)
        self.ids = Ids(lambda: f"CDC-{next(numbers)}", lambda: f"n{next(nonces)}")

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)

    def payload(self, name: str, **changes: Any) -> Notification:
        body = json.loads((PAYLOADS / name).read_text())
        return replace(read_notification(json.dumps(body).encode()), **changes)

    def hear(self, notification: Notification | str) -> Decision:
        heard = self.payload(notification) if isinstance(notification, str) else notification
        return self._write(receive(self.board, heard, self.policy, self.ids, self.now))

    def tell(self, incident_id: str, command: c.Command) -> Decision:
        incident = self.board.get(incident_id)
        assert incident is not None
        return self._write(decide(self.board, incident, command, self.policy, self.ids, self.now))

    def incident(self, incident_id: str = "CDC-1") -> Incident:
        found = self.board.get(incident_id)
        assert found is not None
        return found

    def kinds(self, incident_id: str = "CDC-1") -> list[str]:
        return [type(entry.event).__name__ for entry in self.entries[incident_id]]

    def _write(self, decision: Decision) -> Decision:
        for change in decision.changes:
            incident = self.board.get(change.incident)
            for event in change.events:
                version = (incident.version if incident else 0) + 1
                entry = e.Entry(change.incident, version, self.now, change.who, event)
                incident = apply(incident, entry)
                self.entries.setdefault(change.incident, []).append(entry)
            if incident:
                self.board.put(incident)
            self.tasks += change.tasks
        return decision


@pytest.fixture
def case() -> Case:
    return Case()


@pytest.fixture
def finding() -> Callable[..., Finding]:
    """Build a finding of the customers pipeline."""

    def build(
        probe: str, target: str, status: Status, facts: Mapping[str, Any], verdict: str = "", at: datetime = T0
    ) -> Finding:
        signal = {
            "connector_state": Signal.CONNECTOR, "consumer_lag": Signal.LAG, "dead_letters": Signal.DEAD_LETTERS,
        }.get(probe, Signal.SCHEMA)  # fmt: skip
        return Finding(probe, target, verdict or status.name, status, f"{target} {status}", at, signal, facts)

    return build
