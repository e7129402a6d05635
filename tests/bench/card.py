"""Webhook to card: how long until an alert can be read in the channel.

From the first byte of the POST to the moment the local Slack workspace has the incident's card, the bot being a
process of its own, in the drill's world with every probe running. Incidents of several pipelines in two channels,
spaced so that Slack's pace of one message a second and channel does not count.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from bot.drill.world import TOPIC, World, config_text
from tests.bench.bots import BotProcess
from tests.bench.table import Row, in_ms, percentile

WITHIN_MS = 300
SETTLING_S, BETWEEN_S, SEEN_WITHIN_S = 3.0, 3.0, 10.0
CHANNELS = ("#cdc-incidents", "#data-platform")


def measure_card(folder: Path, incidents: int) -> list[Row]:
    """Return the row of webhook to card. Raises TimeoutError when a card does not come."""
    with World(folder) as world:
        seen = _Cards(world)
        config = config_text(world.places) + "".join(_pipeline(number) for number in range(incidents))
        with BotProcess(folder / "bot", world.bot_url, config, world.environ):
            time.sleep(SETTLING_S)
            taken_s = [_one(world, number, seen) for number in range(incidents)]
    p50, p95 = percentile(taken_s, 0.5), percentile(taken_s, 0.95)
    return [
        Row(
            f"webhook to card, {incidents} incidents", f"p50 {in_ms(p50)}, p95 {in_ms(p95)}", "", None,
            f"p50 < {WITHIN_MS} ms", p50 * 1000 < WITHIN_MS,
        )
    ]  # fmt: skip


class _Cards:
    """When each card came: the workspace tells after every change; a card is the first message to name its pipeline."""

    def __init__(self, world: World) -> None:
        self._came: dict[str, float] = {}
        self._changed = threading.Condition()
        world.workspace.store.listen(self._on_change)

    def _on_change(self, kind: str, payload: dict[str, Any]) -> None:
        message = payload.get("message")
        if message is None or message.is_reply:
            return
        now = time.perf_counter()
        words = message.text + json.dumps(message.blocks, default=str)
        with self._changed:
            for number in range(1000):
                name = _name(number)
                if name in words:
                    self._came.setdefault(name, now)
                    self._changed.notify_all()
                    return

    def wait_for(self, name: str) -> float:
        """Return when the card of a pipeline was there."""
        with self._changed:
            if not self._changed.wait_for(lambda: name in self._came, SEEN_WITHIN_S):
                raise TimeoutError(f"no card of {name} within {SEEN_WITHIN_S:g} s")
            return self._came[name]


def _one(world: World, number: int, cards: _Cards) -> float:
    began = time.perf_counter()
    body = json.dumps(_notification(number, world.places.alertmanager)).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {world.token}"}
    requests.post(f"{world.bot_url}/alertmanager", data=body, headers=headers, timeout=10).raise_for_status()
    taken_s = cards.wait_for(_name(number)) - began
    time.sleep(BETWEEN_S)
    return taken_s


def _name(number: int) -> str:
    return f"bench{number:03}"


def _pipeline(number: int) -> str:
    return f"""\
  {_name(number)}:
    owner: "@data-platform"
    channel: "{CHANNELS[number % 2]}"
    topics: [{TOPIC}]
    consumers: [{{group: {_name(number)}-job, topics: [{TOPIC}]}}]
"""


def _notification(number: int, external_url: str) -> dict[str, Any]:
    labels = {
        "alertname": "ConsumerLagHigh",
        "pipeline": _name(number),
        "severity": "critical",
        "group": f"{_name(number)}-job",
    }
    return {
        "version": "4",
        "groupKey": f'{{}}:{{pipeline="{_name(number)}"}}',
        "status": "firing",
        "receiver": "cdc-oncall",
        "groupLabels": {"pipeline": _name(number)},
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": external_url,
        "truncatedAlerts": 0,
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": {"summary": f"{_name(number)}-job is behind"},
                "startsAt": datetime.now(UTC).isoformat(),
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "",
                "fingerprint": f"{number:016x}",
            }
        ],
    }
