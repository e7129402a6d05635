"""Prometheus over its HTTP API: what it scrapes, which alert rules it runs, and which Alertmanager it tells.

For setting up only: the bot itself asks Prometheus nothing. Each question stands alone: one that a proxy in front
refuses is a `not_known` line, and the error is raised only where not one was answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from bot.clients.http import JsonHttp, remaining_s
from bot.ports import PortError, PrometheusStatus, ScrapeTarget, Unreachable

T = TypeVar("T")


class HttpPrometheus:
    """Implements `bot.ports.Prometheus`."""

    def __init__(self, http: JsonHttp) -> None:
        self._http = http

    def read_status(self, deadline_s: float) -> PrometheusStatus:
        """Return version, active scrape targets, alert rules and active Alertmanagers. What was not told is None."""
        ends_at = time.monotonic() + deadline_s
        errors: list[PortError] = []

        def ask(path: str, read: Callable[[Any], T]) -> T | None:
            try:
                answer = self._http.get(path, remaining_s(ends_at))
                return read(answer["data"])
            except PortError as error:
                errors.append(error)
            except (KeyError, TypeError, AttributeError, ValueError):
                words = "answered other JSON than Prometheus': is this the right address?"
                errors.append(Unreachable(f"GET {self._http.url}{path}: {words}"))
            return None

        version = ask("/api/v1/status/buildinfo", lambda told: str(told["version"]))
        if errors and isinstance(errors[0], Unreachable) and not errors[0].sent:
            raise errors[0]  # nobody is there: asking three times more would only take the time
        targets = ask("/api/v1/targets?state=active", lambda told: tuple(map(_target, told["activeTargets"])))
        rules = ask("/api/v1/rules?type=alert", _rule_names)
        alertmanagers = ask(
            "/api/v1/alertmanagers", lambda told: tuple(str(each["url"]) for each in told["activeAlertmanagers"])
        )
        if len(errors) == 4:
            raise errors[0]
        not_known = tuple(str(error) for error in errors)
        loaded_at = None
        if alertmanagers == ():  # it looks for them after it has started or was reloaded
            loaded_at = ask(
                "/api/v1/status/runtimeinfo", lambda told: datetime.fromisoformat(str(told["lastConfigTime"]))
            )
        return PrometheusStatus(version, targets, rules, alertmanagers, self._http.clock_offset_s, not_known, loaded_at)


def _target(told: Mapping[str, Any]) -> ScrapeTarget:
    return ScrapeTarget(
        url=str(told["scrapeUrl"]),
        job=str((told.get("labels") or {}).get("job") or told.get("scrapePool") or ""),
        health=str(told.get("health") or "unknown"),
        error=str(told.get("lastError") or ""),
    )


def _rule_names(told: Mapping[str, Any]) -> tuple[str, ...]:
    rules = (rule for group in told["groups"] for rule in group["rules"])
    return tuple(dict.fromkeys(str(rule["name"]) for rule in rules if rule.get("type") != "recording"))
