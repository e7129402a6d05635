"""What can break in the drill, and the repair that the part's own API allows.

A scenario breaks one thing at its root and nothing else: everything that follows, down to
the alert, happens because the parts really work on each other. `repair` is what a
responder would do at the broken part; what remains is done through the bot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import requests

from bot.drill.world import JOB, World

LAG_ROWS, LAG_CHUNK = 24_000, 3_000


@dataclass(frozen=True)
class Scenario:
    """One failure. `action` is what the responder runs through the bot after the repair, or None."""

    name: str
    story: str
    make_break: Callable[[World], None]
    repair: Callable[[World], None]
    repair_command: Callable[[World], str]
    action: str | None


def _asked(answer: requests.Response) -> None:
    if answer.status_code >= 300:
        raise RuntimeError(f"{answer.request.method} {answer.url} answered {answer.status_code}: {answer.text[:200]}")


def _add_column_without_default(world: World) -> None:
    """ADD COLUMN tier text NOT NULL DEFAULT 'basic', then DROP DEFAULT, in one transaction."""
    column = {"name": "tier", "type": "text", "nullable": False, "backfill": "basic"}
    _asked(requests.post(f"{world.places.database}/columns", json=column, timeout=5))
    _asked(requests.post(f"{world.places.database}/rows", json={"count": 20}, timeout=5))


def _set_default(world: World) -> None:
    _asked(requests.put(f"{world.places.database}/columns/tier/default", json={"default": "basic"}, timeout=5))


def _stop_job_and_sell(world: World) -> None:
    _asked(requests.post(f"{world.places.jobs}/{JOB}/stop", timeout=10))
    for _ in range(LAG_ROWS // LAG_CHUNK):
        _asked(requests.post(f"{world.places.database}/rows", json={"count": LAG_CHUNK}, timeout=10))
        time.sleep(0.15)


def _start_job(world: World) -> None:
    _asked(requests.post(f"{world.places.jobs}/{JOB}/start", timeout=10))


def _reach_lake(world: World, reachable: bool) -> None:
    url = world.places.lake.partition("/tables/")[0] + "/reachable"
    _asked(requests.put(url, json={"reachable": reachable}, timeout=5))


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "schema-break",
            "A column was added without a default: the registry refuses the new schema and the source task fails.",
            _add_column_without_default,
            _set_default,
            lambda world: (
                f"curl -X PUT {world.places.database}/columns/tier/default "
                """-H 'Content-Type: application/json' -d '{"default": "basic"}'"""
            ),
            "restart_failed_tasks",
        ),
        Scenario(
            "lag",
            "The job that reads the topic is down while the shop writes a lot: its group falls behind.",
            _stop_job_and_sell,
            _start_job,
            lambda world: f"curl -X POST {world.places.jobs}/{JOB}/start",
            None,
        ),
        Scenario(
            "connector-failed",
            "The lake is unreachable: the sink task fails.",
            lambda world: _reach_lake(world, False),
            lambda world: _reach_lake(world, True),
            lambda world: (
                f"curl -X PUT {world.places.lake.partition('/tables/')[0]}/reachable "
                """-H 'Content-Type: application/json' -d '{"reachable": true}'"""
            ),
            "restart_failed_tasks",
        ),
    )
}
IDLE = "idle"
