"""Ways to break one scored stage of a drill from outside, each with what must still be reached.

    python -m tests.drill.sabotage wrong-webhook-token OUT

Runs the drill with the real bot and exits as `cdc drill` does. Nothing of the bot is changed: it gets another secret,
another line in its cdc.yml, an alert of somebody else, or a repair that does not repair. Only the bot that lies is not
the real one alone: it says of every incident that all is well, in its documents and in Slack.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
import yaml

from bot.app import start_bot
from bot.drill.drill import Bot, StartBot, run_drill
from bot.drill.scenarios import SCENARIOS
from bot.drill.score import EVENT_TYPE
from bot.drill.workspace import INCIDENTS
from bot.drill.world import PIPELINE

Document = dict[str, Any]


def with_wrong(secret: str) -> StartBot:
    """The bot knows another secret than the world."""
    return lambda config, environ: start_bot(config, {**environ, secret: "not-the-one"})


def with_config(line: str, instead: str) -> StartBot:
    """The bot gets a cdc.yml in which one piece of text is another."""

    def start(config: Path, environ: Mapping[str, str]) -> Bot:
        text = config.read_text(encoding="utf-8")
        if line not in text:
            raise RuntimeError(f"the drill's cdc.yml has no {line!r} to replace")
        config.write_text(text.replace(line, instead), encoding="utf-8")
        return start_bot(config, environ)

    return start


def with_alert_that_stays(config: Path, environ: Mapping[str, str]) -> Bot:
    """Beside the drill's own alerts one of the same pipeline fires that nothing in the drill clears."""
    bot = start_bot(config, environ)
    now = datetime.now(UTC)
    alert = {
        "labels": {"alertname": "CDCEndToEndCheckFailed", "pipeline": PIPELINE, "severity": "warning"},
        "annotations": {"summary": "The end-to-end check of customers fails"},
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
    }
    alertmanager = yaml.safe_load(config.read_text(encoding="utf-8"))["alertmanager"]["url"]
    requests.post(f"{alertmanager}/api/v2/alerts", json=[alert], timeout=5).raise_for_status()
    return bot


class LyingBot:
    """The real bot under a coat that says of every incident: everything is done, proved and resolved."""

    def __init__(self, config: Path, environ: Mapping[str, str]) -> None:
        self._bot = start_bot(config, environ)
        self.url = self._bot.url
        self._slack_url = yaml.safe_load(config.read_text(encoding="utf-8"))["slack"]["api_url"]
        self._headers = {"Authorization": f"Bearer {environ['SLACK_BOT_TOKEN']}"}
        self._claimed: set[str] = set()

    def stop(self) -> None:
        self._bot.stop()

    def read_incidents(self) -> list[Document]:
        return [self._embellished(incident) for incident in self._bot.read_incidents()]

    def read_incident(self, incident_id: str) -> Document:
        return self._embellished(self._bot.read_incident(incident_id))

    def _embellished(self, incident: Document) -> Document:
        self._claim(str(incident["id"]))
        at = incident["opened_at"]
        return {
            **incident,
            **{"status": "resolved", "acknowledged_at": at, "mitigated_at": at, "resolved_at": at},
            "resolved_verified": True,
            "alerts": [{**alert, "status": "resolved", "ends_at": at} for alert in incident["alerts"]],
            "steps": [{**step, "status": "done"} for step in incident["steps"]],
        }

    def _claim(self, incident_id: str) -> None:
        """Say once in Slack that recovery is proved, in the message that says so."""
        if incident_id in self._claimed:
            return
        payload = {"incident": incident_id, "slot": "page:recovered-1", "key": f"{incident_id}/page:recovered-1"}
        message = {
            "channel": INCIDENTS,
            "text": "Recovery proved",
            "metadata": {"event_type": EVENT_TYPE, "event_payload": payload},
        }
        answer = requests.post(f"{self._slack_url}chat.postMessage", json=message, headers=self._headers, timeout=5)
        if answer.json().get("ok"):
            self._claimed.add(incident_id)


@dataclass(frozen=True)
class Sabotage:
    """What is broken and what is reached all the same; `auto_s` is long enough for exactly that."""

    what: str
    scenario: str
    reached: tuple[str, ...]
    auto_s: float
    start: Callable[[Path, Mapping[str, str]], Bot] = start_bot
    repairs: bool = True


ALL_BUT_RESOLVED = ("opened", "triaged", "acted", "recovered")
SABOTAGES: Mapping[str, Sabotage] = {
    "wrong-webhook-token": Sabotage(
        "opened: the bot refuses Alertmanager's webhook",
        "schema-break", (), 6.0, with_wrong("CDC_WEBHOOK_TOKEN"),
    ),
    "wrong-signing-secret": Sabotage(
        "triaged: the bot refuses every click",
        "schema-break", ("opened",), 8.0, with_wrong("SLACK_SIGNING_SECRET"),
    ),
    "no-actions": Sabotage(
        "acted: the restart is not enabled",
        "schema-break", ("opened", "triaged"), 14.0,
        with_config("actions: [restart_failed_tasks, silence_alerts]", "actions: []"),
    ),
    "repair-that-does-not-repair": Sabotage(
        "acted: the restarted task fails again, so its step is not done",
        "schema-break", ("opened", "triaged"), 14.0, repairs=False,
    ),
    "step-marked-done-without-repair": Sabotage(
        "recovered: the job is still down, whatever was marked done",
        "lag", ("opened", "triaged", "acted"), 14.0, repairs=False,
    ),
    "proof-that-never-holds": Sabotage(
        "recovered: the parts would have to hold for longer than the drill lasts",
        "schema-break", ("opened", "triaged", "acted"), 18.0, with_config("settle: 2s", "settle: 10m"),
    ),
    "bot-that-lies": Sabotage(
        "recovered: claimed everywhere, but the pipeline does not flow",
        "connector-failed", ("opened", "triaged", "acted"), 10.0, LyingBot, repairs=False,
    ),
    "alert-that-stays": Sabotage(
        "resolved: an alert of the incident fires on",
        "schema-break", ALL_BUT_RESOLVED, 33.0, with_alert_that_stays,
    ),
}  # fmt: skip


def run(name: str, out: Path) -> int:
    """Run one sabotaged drill; the exit code is the drill's."""
    sabotage = SABOTAGES[name]
    scenario = SCENARIOS[sabotage.scenario]
    if not sabotage.repairs:
        scenario = replace(scenario, repair=lambda world: None)
    scenarios = {scenario.name: scenario}
    return run_drill(scenario.name, sabotage.start, auto=True, out=out, auto_s=sabotage.auto_s, scenarios=scenarios)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], Path(sys.argv[2])))
