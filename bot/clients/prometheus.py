"""Prometheus over its HTTP API: what it scrapes, which alert rules it runs, which Alertmanager it tells, and a series.

The status is for setting up. There each question stands alone: one that a proxy in front refuses is a `not_known` line,
and the error is raised only where not one was answered. A range is one question, and any trouble with it is the error.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from bot.clients.http import JsonHttp, remaining_s
from bot.ports import PortError, PrometheusStatus, ScrapeTarget, Series, Unreachable

RANGE = "/api/v1/query_range"

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
                errors.append(self._not_prometheus(path))
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

    def read_range(
        self, expression: str, since: datetime, until: datetime, step_s: float, deadline_s: float
    ) -> tuple[Series, ...]:
        """Return the series of `expression`, evaluated each `step_s`; NaN and infinite points are left out.

        Raises Rejected, with Prometheus' own words, for an expression it cannot read or more than 11,000 steps.
        """
        params = {
            "query": expression,
            "start": f"{since.timestamp():.3f}",
            "end": f"{until.timestamp():.3f}",
            "step": f"{step_s:.3f}",
            "timeout": f"{deadline_s:.3f}",  # it goes on computing for nobody otherwise
        }
        data = self._http.get(RANGE, deadline_s, params)
        try:
            if data["data"]["resultType"] != "matrix":
                raise ValueError(data["data"]["resultType"])
            return tuple(map(_series, data["data"]["result"]))
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise self._not_prometheus(RANGE) from error

    def _not_prometheus(self, path: str) -> Unreachable:
        return Unreachable(
            f"GET {self._http.url}{path}: answered other JSON than Prometheus': is this the right address?"
        )


def _series(told: Mapping[str, Any]) -> Series:
    """Return one series; one of native histograms has no values, and so no points."""
    points = [(datetime.fromtimestamp(float(at), UTC), float(value)) for at, value in told.get("values") or ()]
    labels = {str(name): str(value) for name, value in told["metric"].items()}
    return Series(labels, tuple((at, value) for at, value in points if math.isfinite(value)))


def _target(told: Mapping[str, Any]) -> ScrapeTarget:
    labels = told.get("labels") or {}
    return ScrapeTarget(
        url=str(told["scrapeUrl"]),
        job=str(labels.get("job") or told.get("scrapePool") or ""),
        health=str(told.get("health") or "unknown"),
        error=str(told.get("lastError") or ""),
        instance=str(labels.get("instance") or ""),
    )


def _rule_names(told: Mapping[str, Any]) -> tuple[str, ...]:
    rules = (rule for group in told["groups"] for rule in group["rules"])
    return tuple(dict.fromkeys(str(rule["name"]) for rule in rules if rule.get("type") != "recording"))
