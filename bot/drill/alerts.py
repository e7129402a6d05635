"""The drill's Prometheus rules: looks at the world itself and posts alerts to Alertmanager.

Every RULES_EVERY_S it reads connector states, lag on the brokers, the dead letter queue's
end and the registry's refusals, and fires or resolves alerts named as the shipped rules.
It never asks the bot: the alerts would come even if the bot were gone.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests
from confluent_kafka import KafkaException

from bot.drill.alertmanager import rfc3339
from bot.drill.connect import ConnectWorker
from bot.drill.kafka import MockBrokers
from bot.drill.registry import SchemaRegistry

RULES_EVERY_S = 0.3
CLEAR_AFTER_S = 0.7
WINDOW_S = 6.0
LAG_WARN_RECORDS, LAG_PAGE_RECORDS = 10_000, 100_000
LAG_FOR_S = 0.8
RUNBOOKS = "runbooks/README.md"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Condition:
    """An alert that should fire now."""

    name: str
    severity: str
    labels: Mapping[str, str]
    summary: str
    runbook: str

    @property
    def identity(self) -> Labels:
        """The whole label set, sorted."""
        return tuple(sorted({"alertname": self.name, "severity": self.severity, **self.labels}.items()))


@dataclass
class Firing:
    """An alert that was posted: since when, and when its condition was last true."""

    starts_at: datetime
    held_at_s: float
    condition: Condition


@dataclass(frozen=True)
class Watched:
    """What the rules look at."""

    pipeline: str
    topic: str
    dlq: str
    groups: tuple[str, ...]


@dataclass
class AlertRules:
    """The loop; `start` after the world runs, `stop` before it ends."""

    watched: Watched
    brokers: MockBrokers
    registry: SchemaRegistry
    connect: ConnectWorker
    alertmanager_url: str
    _firing: dict[Labels, Firing] = field(default_factory=dict)
    _lag_since_s: dict[tuple[str, str], float] = field(default_factory=dict)
    _dlq_ends: deque[tuple[float, int]] = field(default_factory=deque)
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> AlertRules:
        """Watch from now on."""
        self._thread = threading.Thread(target=self._watch, name="drill-alert-rules", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Watch no more; alerts that fire are left firing."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def firing(self) -> list[str]:
        """The names of the alerts that fire now."""
        return sorted(firing.condition.name for firing in list(self._firing.values()))

    def _watch(self) -> None:
        while not self._end.wait(RULES_EVERY_S):
            try:
                conditions = self.conditions(time.monotonic())
            except KafkaException:
                # Brokers that do not answer tell nothing; what fires goes on firing.
                continue
            self._post(conditions)

    def conditions(self, now_s: float) -> list[Condition]:
        """Every alert whose condition is true now."""
        return [*self._connectors(), *self._lag(now_s), *self._dead_letters(now_s), *self._refusals()]

    def _connectors(self) -> list[Condition]:
        return [
            Condition(
                "CDCConnectorFailed",
                "critical",
                {"pipeline": self.watched.pipeline, "connector": name},
                f"Connector {name} or one of its tasks is FAILED",
                "connector-failed",
            )
            for name, states in self.connect.states().items()
            if "FAILED" in states or (states[1] == "RESTARTING" and self._fires("CDCConnectorFailed", name))
        ]

    def _fires(self, alert: str, connector: str) -> bool:
        return any(
            one.condition.name == alert and one.condition.labels.get("connector") == connector
            for one in self._firing.values()
        )

    def _lag(self, now_s: float) -> list[Condition]:
        found = []
        for group in self.watched.groups:
            lag = self.brokers.lag(group, self.watched.topic).lag_records
            for name, severity, limit in (
                ("CDCConsumerLagWarning", "warning", LAG_WARN_RECORDS),
                ("CDCConsumerLagCritical", "critical", LAG_PAGE_RECORDS),
            ):
                if lag <= limit:
                    self._lag_since_s.pop((name, group), None)
                    continue
                if now_s - self._lag_since_s.setdefault((name, group), now_s) >= LAG_FOR_S:
                    labels = {"pipeline": self.watched.pipeline, "consumergroup": group}
                    summary = f"Consumer group {group} is {lag:,} records behind"
                    found.append(Condition(name, severity, labels, summary, "consumer-lag"))
        return found

    def _dead_letters(self, now_s: float) -> list[Condition]:
        end = self.brokers.end_records(self.watched.dlq)
        self._dlq_ends.append((now_s, end))
        while len(self._dlq_ends) > 1 and self._dlq_ends[0][0] < now_s - WINDOW_S:
            self._dlq_ends.popleft()
        grown = end - self._dlq_ends[0][1]
        if grown <= 0:
            return []
        labels = {"pipeline": self.watched.pipeline, "topic": self.watched.dlq}
        summary = f"{grown:,} new dead letters in {self.watched.dlq}"
        return [Condition("CDCDeadLettersGrowing", "warning", labels, summary, "dead-letters")]

    def _refusals(self) -> list[Condition]:
        return [
            Condition(
                "CDCSchemaRefusals",
                "warning",
                {"pipeline": self.watched.pipeline, "subject": subject},
                f"The registry refused registrations of {subject} as incompatible",
                "schema-incompatible",
            )
            for subject, count in self.registry.refusals(WINDOW_S).items()
            if count
        ]

    def _post(self, conditions: list[Condition]) -> None:
        now_s, now = time.monotonic(), datetime.now(UTC)
        posts: list[dict[str, Any]] = []
        for condition in conditions:
            firing = self._firing.setdefault(condition.identity, Firing(now, now_s, condition))
            firing.held_at_s, firing.condition = now_s, condition
            posts.append(_document(firing, None))
        for identity, firing in list(self._firing.items()):
            if now_s - firing.held_at_s > CLEAR_AFTER_S:
                posts.append(_document(firing, now))
                del self._firing[identity]
        if not posts:
            return
        try:
            requests.post(f"{self.alertmanager_url}/api/v2/alerts", json=posts, timeout=5)
        except requests.RequestException:
            # Posted again at the next look, as Prometheus does.
            return


def _document(firing: Firing, ended_at: datetime | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "labels": dict(firing.condition.identity),
        "annotations": {
            "summary": firing.condition.summary,
            "runbook_url": f"{RUNBOOKS}#{firing.condition.runbook}",
        },
        "startsAt": rfc3339(firing.starts_at),
        "generatorURL": "http://prometheus.example:9090/graph",
    }
    if ended_at is not None:
        document["endsAt"] = rfc3339(ended_at)
    return document
