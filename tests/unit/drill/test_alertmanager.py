"""The Alertmanager stand-in notifies as the real one was seen to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from bot.drill.alertmanager import NEVER, Alertmanager, Matcher, Webhook, fingerprint, rfc3339
from bot.drill.loopback import Answer, Call, LoopbackServer, route

LABELS = {"alertname": "CDCConnectorFailed", "pipeline": "customers", "connector": "c1", "severity": "critical"}
OTHER = {**LABELS, "alertname": "CDCSchemaRefusals"}
PAYLOADS = Path(__file__).parents[2] / "payloads"


@dataclass
class Sink:
    """A webhook receiver that remembers bodies and answers with the next status given."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def take(self, call: Call) -> Answer:
        self.bodies.append(call.json())
        self.tokens.append(call.headers.get("authorization", ""))
        return Answer(self.statuses.pop(0) if self.statuses else 200)


@dataclass
class Pair:
    """An Alertmanager and the receiver of its webhooks."""

    manager: Alertmanager
    sink: Sink

    def post(self, labels: dict[str, str], ended: bool = False) -> None:
        alert: dict[str, Any] = {"labels": labels, "annotations": {"summary": "s"}}
        if ended:
            alert["endsAt"] = rfc3339(datetime.now(UTC))
        requests.post(f"{self.manager.url}/api/v2/alerts", json=[alert], timeout=5).raise_for_status()

    def wait(self, holds: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + 5
        while not holds() and time.monotonic() < deadline:
            time.sleep(0.02)
        return holds()

    def get(self, path: str, **params: Any) -> Any:
        return requests.get(f"{self.manager.url}/api/v2/{path}", params=params, timeout=5).json()


@pytest.fixture
def pair() -> Iterator[Pair]:
    sink = Sink()
    server = LoopbackServer("sink", [route("POST", "/alertmanager", sink.take)]).start()
    webhook = Webhook(f"{server.url}/alertmanager", "t0ken", receiver="cdc-bot.prod")
    manager = Alertmanager(webhook, group_wait_s=0.1, group_interval_s=0.2).start()
    yield Pair(manager, sink)
    manager.stop()
    server.stop()


@pytest.mark.parametrize("name", ["01-first-firing", "04-partially-resolved", "22-prometheus-schema-registry-409"])
def test_fingerprints_are_alertmanagers_own(name: str) -> None:
    """The fingerprint of every captured alert comes out of its labels."""
    for alert in json.loads((PAYLOADS / f"{name}.json").read_text())["alerts"]:
        assert alert["fingerprint"] == fingerprint(alert["labels"])


def test_a_group_is_told_once_then_resolved_once(pair: Pair) -> None:
    """Two alerts of a pipeline are one webhook; the ended one is listed once; unchanged repeats are not sent."""
    pair.post(LABELS)
    pair.post(OTHER)
    assert pair.wait(lambda: len(pair.sink.bodies) == 1)
    first = pair.sink.bodies[0]
    assert ("cdc-bot\\.prod", "firing", 2, "4") == (
        first["receiver"],
        first["status"],
        len(first["alerts"]),
        first["version"],
    )
    assert ('{}:{pipeline="customers"}', {"pipeline": "customers"}) == (first["groupKey"], first["groupLabels"])
    assert {NEVER} == {alert["endsAt"] for alert in first["alerts"]}
    assert ["Bearer t0ken"] == pair.sink.tokens
    pair.post(LABELS)
    time.sleep(0.5)
    assert 1 == len(pair.sink.bodies)
    pair.post(LABELS, ended=True)
    assert pair.wait(lambda: len(pair.sink.bodies) == 2)
    assert ["firing", "resolved"] == sorted(alert["status"] for alert in pair.sink.bodies[1]["alerts"])
    pair.post(OTHER, ended=True)
    assert pair.wait(lambda: len(pair.sink.bodies) == 3)
    assert ("resolved", 1) == (pair.sink.bodies[2]["status"], len(pair.sink.bodies[2]["alerts"]))


def test_a_5xx_is_retried_and_a_4xx_is_not(pair: Pair) -> None:
    """503 is asked again within a second; after 400 nothing comes until the next group interval."""
    pair.sink.statuses = [503, 200]
    pair.post(LABELS)
    assert pair.wait(lambda: len(pair.sink.bodies) == 2)
    time.sleep(0.4)
    assert 2 == len(pair.sink.bodies)


def test_a_silenced_alert_is_neither_sent_nor_resolved(pair: Pair) -> None:
    """An alert that ends while silenced ends without a word, as in the real one."""
    now = datetime.now(UTC)
    silence = {
        "matchers": [{"name": "pipeline", "value": "customers", "isRegex": False, "isEqual": True}],
        "startsAt": rfc3339(now),
        "endsAt": rfc3339(now + timedelta(hours=1)),
        "createdBy": "alice",
        "comment": "drill",
    }
    made = requests.post(f"{pair.manager.url}/api/v2/silences", json=silence, timeout=5).json()["silenceID"]
    pair.post(LABELS)
    time.sleep(0.4)
    (shown,) = pair.get("alerts", filter='pipeline="customers"')
    assert ("suppressed", [made]) == (shown["status"]["state"], shown["status"]["silencedBy"])
    pair.post(LABELS, ended=True)
    time.sleep(0.4)
    assert ([], []) == (pair.sink.bodies, pair.get("alerts"))
    assert 200 == requests.delete(f"{pair.manager.url}/api/v2/silence/{made}", timeout=5).status_code
    assert "expired" == pair.get(f"silence/{made}")["status"]["state"]
    pair.post(LABELS)
    assert pair.wait(lambda: len(pair.sink.bodies) == 1)


def test_groups_are_listed_for_truncated_webhooks(pair: Pair) -> None:
    """/alerts/groups gives every alert of a group, filtered as asked."""
    pair.post(LABELS)
    pair.post({**LABELS, "pipeline": "orders"})
    groups = pair.get("alerts/groups", filter="pipeline=~ord.*")
    assert [({"pipeline": "orders"}, 1)] == [(group["labels"], len(group["alerts"])) for group in groups]


@pytest.mark.parametrize(
    ("matcher", "matches"),
    [
        (Matcher("a", "x"), True),
        (Matcher("a", "y"), False),
        (Matcher("a", "y", is_equal=False), True),
        (Matcher("a", "x|y", is_regex=True), True),
        (Matcher("a", "x.+", is_regex=True), False),
        (Matcher("absent", ""), True),
    ],
)
def test_matchers_match_as_in_alertmanager(matcher: Matcher, matches: bool) -> None:
    """Regular expressions are anchored and an absent label is empty."""
    assert matches == matcher.matches({"a": "x"})
