"""`cdc doctor`, Prometheus: does it scrape the bot, run its rules, and tell an Alertmanager.

Without it the bot works on the alerts of others; with it, the bot's own metrics page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from bot.doctor.check import Check, failed, names, not_configured, ok, warning
from bot.doctor.http import unreached
from bot.ports import PortError, Prometheus, PrometheusStatus, ScrapeTarget, Series

PART = "prometheus"
METRICS_PATH = "/metrics"
SETTLES_S = 60.0
"""So long after it has loaded its configuration Prometheus may still look for its Alertmanagers."""


EXPORTERS = (
    'count by (job, instance) ({__name__=~"kafka_consumergroup_(lag|lag_sum|current_offset|members)'
    '|kafka_topic_partition_(current|oldest)_offset"})'
)
"""Who exports a name of kafka_exporter that the bot can export, too."""


@dataclass(frozen=True)
class Exporter:
    """What a series says of where it was scraped."""

    job: str
    instance: str

    def __str__(self) -> str:
        return f"job {self.job or '(none)'}" + (f" ({self.instance})" if self.instance else "")


@dataclass(frozen=True)
class PrometheusFacts:
    """What Prometheus answered; `url` None is not configured.

    `exporters` export kafka_exporter's names, None: not asked, or not told for `exporters_error`.
    """

    url: str | None
    status: PrometheusStatus | None = None
    error: PortError | None = None
    exporters: tuple[Exporter, ...] | None = None
    exporters_error: PortError | None = None


def gather(
    prometheus: Prometheus, url: str, deadline_s: float, exporters_at: datetime | None = None
) -> PrometheusFacts:
    """Ask Prometheus, and with `exporters_at`, which is now, who exports kafka_exporter's names."""
    share_s = deadline_s if exporters_at is None else deadline_s / 2
    try:
        status = prometheus.read_status(share_s)
    except PortError as error:
        return PrometheusFacts(url, error=error)
    if exporters_at is None:
        return PrometheusFacts(url, status)
    at = exporters_at + timedelta(seconds=status.clock_offset_s or 0.0)
    try:
        series = prometheus.read_range(EXPORTERS, at, at, 60.0, share_s)
    except PortError as error:
        return PrometheusFacts(url, status, exporters_error=error)
    return PrometheusFacts(url, status, exporters=tuple(sorted(map(_exporter, series), key=str)))


def _exporter(series: Series) -> Exporter:
    return Exporter(series.labels.get("job", ""), series.labels.get("instance", ""))


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
    lines = _lines(facts.url, facts.status, port, host, alerts, now)
    return (*lines, *_exported(facts, facts.status.targets or (), port))


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


def _exported(facts: PrometheusFacts, targets: Sequence[ScrapeTarget], port: int) -> Iterator[Check]:
    """Say whether the bot is alone with kafka_exporter's names; nothing where it does not export them."""
    off = "Write `lag: {kafka_exporter_names: false}` in cdc.yml and start the bot again"
    if facts.exporters_error is not None:
        yield warning(
            PART, f"whether another job exports kafka_exporter's names is not known: {facts.exporters_error}",
            f"Let the login under prometheus.auth query it. {off} if a kafka_exporter is scraped.",
        )  # fmt: skip
    if facts.exporters is None:
        return
    ours = {(target.job, target.instance) for target in targets if _is_ours(target.url, port)}
    others = [str(each) for each in facts.exporters if (each.job, each.instance) not in ours]
    if others:
        yield warning(
            PART, f"{names(others)} exports kafka_exporter's names as the bot does: every sum over them counts twice",
            f"{off}, or take that job out of scrape_configs.",
        )  # fmt: skip
    else:
        yield ok(
            PART, "no other job exports kafka_exporter's names, which lag.kafka_exporter_names makes the bot export"
        )


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
