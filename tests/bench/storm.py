"""A storm: thousands of alert groups at once from a real Alertmanager, every one its own notification.

The bot and a bare handler of the same durability are fed by the same Alertmanager, in turns (bare, ours, ours,
bare), each time as a fresh process on an empty file; the better turn of each counts. What is stored is read from
outside, in the SQLite file: not what the bot says of itself.

Most alerts name no pipeline, so each opens an incident of its own: the heaviest case for journal and board.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests

from bot.drill.workspace import SlackWorkspace
from tests.bench.bots import BotProcess
from tests.bench.table import Row, in_s
from tests.system.fetch import Available
from tests.system.parts import HOST, Alertmanager, Process, free_port, wait_until

TOKEN, SLACK_TOKEN, SIGNING_SECRET = "bench-webhook", "xoxb-bench", "bench-signing"
WITHIN_RATIO = 2.0
STORED_WITHIN_S, DISPATCHED_WITHIN_S = 120.0, 300.0
LOOK_EVERY_S = 0.005
BARE_PROGRAM = Path(__file__).with_name("bare_receiver.py")


@dataclass(frozen=True)
class Turn:
    """How one receiver took one storm: `stored_s` from the first row to the last, `whole_s` from handing the alerts in.

    `dispatched_s` is None for the bare one. `refused` is Alertmanager's own count of requests that failed.
    """

    stored: int
    stored_s: float
    whole_s: float
    refused: int
    dispatched_s: float | None = None
    incidents: int = 0


def measure_storm(available: Available, folder: Path, groups: int) -> list[Row]:
    """Return the rows of the storm. Raises PartMissing without an Alertmanager, NotInTime when a receiver hangs."""
    bare_port, bot_port = free_port(), free_port()
    workspace = SlackWorkspace(token=SLACK_TOKEN, signing_secret=SIGNING_SECRET).start()
    ours: list[Turn] = []
    bare: list[Turn] = []
    with Alertmanager(available, folder / "alertmanager", _alertmanager_config(bare_port, bot_port)) as alertmanager:
        for number, to in enumerate(("bare", "ours", "ours", "bare")):
            place = folder / f"{number}-{to}"
            if to == "bare":
                with _bare(place, bare_port) as file:
                    bare.append(_take(alertmanager, to, number, file, groups))
            else:
                config = _bot_config(bot_port, alertmanager.url, workspace.api_url)
                environ = {"TOKEN": TOKEN, "BOT_TOKEN": SLACK_TOKEN, "SIGNING_SECRET": SIGNING_SECRET}
                with BotProcess(place, f"http://{HOST}:{bot_port}", config, environ) as bot:
                    ours.append(_take(alertmanager, to, number, bot.journal, groups))
    workspace.stop()
    return _rows(ours, bare, groups)


def _rows(ours: list[Turn], bare: list[Turn], groups: int) -> list[Row]:
    taken, floor = min(t.stored_s for t in ours), min(t.stored_s for t in bare)
    whole, whole_floor = min(t.whole_s for t in ours), min(t.whole_s for t in bare)
    refused = sum(turn.refused for turn in ours)
    lost = sum(groups - turn.stored for turn in ours)
    slowest = max(turn.dispatched_s or 0.0 for turn in ours)
    unheard = sum(groups - turn.incidents for turn in ours)
    return [
        _compared(f"storm: {groups:,} groups, first to last stored", taken, floor, groups),
        _compared(f"storm: {groups:,} groups, given to Alertmanager to last stored", whole, whole_floor, groups),
        Row(
            "storm: groups lost / requests refused (two storms)", f"{lost} / {refused}", "", None, "0 / 0",
            lost == 0 and refused == 0,
        ),
        Row(
            "storm: first stored to all dispatched; alerts not in an incident",
            f"{in_s(slowest)} ({groups / slowest:,.0f}/s); {unheard}", "", None, "0 alerts missing", unheard == 0,
        ),
    ]  # fmt: skip


def _compared(what: str, ours_s: float, floor_s: float, groups: int) -> Row:
    rate, ratio = f"{groups / ours_s:,.0f}/s", ours_s / floor_s
    return Row(
        what, f"{in_s(ours_s)} ({rate})", f"{in_s(floor_s)} bare Starlette + SQLite", ratio,
        f"within {WITHIN_RATIO:g}x", ratio <= WITHIN_RATIO,
    )  # fmt: skip


def _take(alertmanager: Alertmanager, to: str, number: int, file: Path, groups: int) -> Turn:
    """Let the storm loose and watch the file fill."""
    refused_before, began_at = _refused(alertmanager), time.monotonic()
    _post_alerts(alertmanager, to, number, groups)
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5.0)) as db:
        first_at = _await_rows(db, 1)
        last_at = _await_rows(db, groups)
        stored = len({json.loads(body)["groupKey"] for (body,) in db.execute("SELECT body FROM inbox")})
        refused = _refused(alertmanager) - refused_before
        turn = Turn(stored, last_at - first_at, last_at - began_at, refused)
        if to == "bare":
            return turn

        def nothing_new() -> bool:
            return db.execute("SELECT 1 FROM inbox WHERE state = 'new' LIMIT 1").fetchone() is None

        wait_until(nothing_new, "the storm dispatched", DISPATCHED_WITHIN_S, every_s=0.02)
        dispatched_s = time.monotonic() - first_at
        fired = "SELECT count(DISTINCT json_extract(body, '$.labels.n')) FROM events WHERE type = 'AlertFired'"
        return replace(turn, dispatched_s=dispatched_s, incidents=int(db.execute(fired).fetchone()[0]))


def _await_rows(db: sqlite3.Connection, count: int) -> float:
    """Return when the inbox was first seen to hold `count` rows."""

    def enough() -> bool:
        return int(db.execute("SELECT max(id) FROM inbox").fetchone()[0] or 0) >= count

    wait_until(enough, f"{count} rows stored", STORED_WITHIN_S, LOOK_EVERY_S)
    return time.monotonic()


def _post_alerts(alertmanager: Alertmanager, to: str, number: int, groups: int) -> None:
    now = datetime.now(UTC)
    alerts = [
        {
            "labels": {
                "alertname": "ConnectorTaskFailed", "to": to, "turn": str(number), "n": f"{n:05}",
                "connector": f"orders-{n:05}-source", "severity": "warning", "cluster": "prod-eu-1",
            },
            "annotations": {
                "summary": f"Task 0 of orders-{n:05}-source has failed",
                "description": "The task has been FAILED for more than two minutes. " * 4,
            },
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=2)).isoformat(),
            "generatorURL": "http://prometheus.example/graph?g0.expr=connect_task_failed",
        }
        for n in range(groups)
    ]  # fmt: skip
    requests.post(f"{alertmanager.url}/api/v2/alerts", json=alerts, timeout=60).raise_for_status()


def _refused(alertmanager: Alertmanager) -> int:
    """Return how many requests of Alertmanager failed, by its own count."""
    text = requests.get(f"{alertmanager.url}/metrics", timeout=5).text
    name = "alertmanager_notification_requests_failed_total{"
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in text.splitlines() if line.startswith(name))


@contextmanager
def _bare(folder: Path, port: int) -> Iterator[Path]:
    file = folder / "bare.db"
    process = Process("bare receiver", [sys.executable, BARE_PROGRAM, str(port), file], folder)
    process.wait_ready(lambda: requests.get(f"http://{HOST}:{port}/healthz", timeout=2).ok, deadline_s=15)
    try:
        yield file
    finally:
        process.stop()


def _alertmanager_config(bare_port: int, bot_port: int) -> str:
    def receiver(name: str, port: int) -> str:
        return f"""\
  - name: {name}
    webhook_configs:
      - url: http://{HOST}:{port}/alertmanager
        http_config: {{authorization: {{credentials: {TOKEN}}}}}
"""

    def route(name: str) -> str:
        times = "group_wait: 100ms, group_interval: 1h, repeat_interval: 12h"
        return f"    - {{matchers: ['to=\"{name}\"'], receiver: {name}, group_by: [turn, n], {times}}}\n"

    return (
        "route:\n  receiver: nobody\n  routes:\n" + route("bare") + route("ours")
        + "receivers:\n  - name: nobody\n" + receiver("bare", bare_port) + receiver("ours", bot_port)
    )  # fmt: skip


def _bot_config(port: int, alertmanager_url: str, slack_url: str) -> str:
    return f"""\
listen: {HOST}:{port}
state: ./cdc-oncall.db
alertmanager: {{url: "{alertmanager_url}", tokens: ["${{TOKEN}}"]}}
slack:
  bot_token: ${{BOT_TOKEN}}
  signing_secret: ${{SIGNING_SECRET}}
  api_url: {slack_url}
  channel: "#cdc-incidents"
pipelines: {{}}
"""
