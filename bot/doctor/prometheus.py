"""`cdc doctor`, Prometheus: does it scrape the bot, run its rules, and tell an Alertmanager.

Without it the bot works on the alerts of others; with it, the bot's own metrics page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from bot.doctor.check import Check, failed, names, not_configured, ok, warning
from bot.doctor.http import unreached
from bot.ports import PortError, Prometheus, PrometheusStatus, ScrapeTarget

PART = "prometheus"
METRICS_PATH = "/metrics"
SETTLES_S = 60.0
"""So long after it has loaded its configuration Prometheus may still look for its Alertmanagers."""


@dataclass(frozen=True)
class PrometheusFacts:
    """What Prometheus answered; `url` None is not configured."""

    url: str | None
    status: PrometheusStatus | None = None
    error: PortError | None = None


def gather(prometheus: Prometheus, url: str, deadline_s: float) -> PrometheusFacts:
    try:
        return PrometheusFacts(url, prometheus.read_status(deadline_s))
    except PortError as error:
        return PrometheusFacts(url, error=error)


def judge(facts: PrometheusFacts, port: int, host: str, alerts: Sequence[str], now: datetime) -> tuple[Check, ...]:
    """Return Prometheus' lines. The bot is scraped at `port` (0 is not known); `alerts` are the names of its rules."""
    if facts.url is None:
        return (
            not_configured(
                PART, "which Prometheus scrapes the bot and runs its rules is not known",
                "Write `prometheus: {url: http://HOST:9090}` in cdc.yml to have it looked at.",
            ),
        )  # fmt: skip
    if facts.status is None:
        return (unreached(PART, facts.url, facts.error),)
    return tuple(_lines(facts.url, facts.status, port, host, alerts, now))


def loaded(facts: PrometheusFacts, alerts: Sequence[str]) -> tuple[str, ...] | None:
    """Return which of the bot's rules Prometheus runs; None where that is not known."""
    if facts.status is None or facts.status.rules is None:
        return None
    return tuple(alert for alert in alerts if alert in facts.status.rules)


def _lines(
    url: str, status: PrometheusStatus, port: int, host: str, alerts: Sequence[str], now: datetime
) -> Iterator[Check]:
    yield ok(PART, f"Prometheus{' ' + status.version if status.version else ''} answers at {url}")
    for line in status.not_known:
        yield warning(PART, f"not known: {line}", "Let the login under prometheus.auth read it.")
    if status.targets is not None:
        yield _scraped(status.targets, port, host)
    if status.rules is not None:
        yield _rules(status.rules, alerts)
    if status.alertmanagers is not None:
        yield _sends(status.alertmanagers, _loaded_before_s(status, now))


def _scraped(targets: Sequence[ScrapeTarget], port: int, host: str) -> Check:
    ours = [target for target in targets if _is_ours(target.url, port)]
    if not ours:
        return warning(
            PART, "no target of it is the bot: its metrics are not scraped, and its rules cannot fire",
            "Add `- {job_name: cdc-oncall, static_configs: [{targets: ['" + f"{host}:{port or 'PORT'}" + "']}]}` "
            "to scrape_configs and reload Prometheus.",
        )  # fmt: skip
    up = [target for target in ours if target.health == "up"]
    if up:
        return ok(PART, f"scrapes {names([target.url for target in up])} (job {up[0].job})")
    down = ours[0]
    why = f": {down.error}" if down.error else ""
    if down.health == "unknown":
        return warning(PART, f"has not scraped {down.url} yet", "Ask again in a minute.")
    return failed(
        PART, f"the target {down.url} (job {down.job}) is {down.health}{why}",
        "Start the bot, and see that Prometheus' host reaches that address.",
    )  # fmt: skip


def _is_ours(url: str, port: int) -> bool:
    """By path and port: the name under which Prometheus reaches the bot is not ours to know."""
    parts = urlsplit(url)
    try:
        found = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return False
    return parts.path.rstrip("/") == METRICS_PATH and found == port


def _rules(rules: Sequence[str], alerts: Sequence[str]) -> Check:
    missing = [alert for alert in alerts if alert not in rules]
    load = "Write `cdc rules > cdc-alerts.yml` where Prometheus finds it, name it in rule_files, and reload Prometheus."
    if not missing:
        return ok(PART, f"runs the bot's {len(alerts)} alert rules")
    if len(missing) == len(alerts):
        return warning(PART, "runs none of the bot's alert rules", load)
    return warning(PART, f"lacks {names(missing)} of the bot's alert rules", load)


def _loaded_before_s(status: PrometheusStatus, now: datetime) -> float | None:
    """Return how long ago it loaded its configuration, both by its clock; None where it did not say."""
    if status.loaded_at is None:
        return None
    return (now - status.loaded_at).total_seconds() + (status.clock_offset_s or 0.0)


def _sends(alertmanagers: Sequence[str], loaded_before_s: float | None) -> Check:
    if not alertmanagers and loaded_before_s is not None and loaded_before_s < SETTLES_S:
        return warning(
            PART, "has no Alertmanager yet: it loaded its configuration less than a minute ago, and may look for it",
            "Ask again in 10 s.",
        )  # fmt: skip
    if not alertmanagers:
        return failed(
            PART, "sends its alerts to no Alertmanager",
            "Write `alerting: {alertmanagers: [{static_configs: [{targets: ['HOST:9093']}]}]}` in prometheus.yml and "
            "reload Prometheus.",
        )  # fmt: skip
    return ok(PART, f"sends alerts to {names([_origin(url) for url in alertmanagers])}")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
