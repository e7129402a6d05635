"""The Prometheus alert rules, rendered from the objectives: Prometheus can page from the bot's metrics alone.

Pure: the same pipelines and thresholds give the same bytes. A threshold stands in cdc.yml and nowhere else.

Invariants
    The rules work for any pipeline, also for one added later: the defaults apply to every `pipeline` label, and
    only a pipeline whose objective differs has rules of its own, and is then left out of the default ones.
    A warning stays true while the critical alert fires; Alertmanager inhibits it (else 150,000 records behind would
    say nothing for 15 minutes).
    An unknown value is an absent series and fires nothing here; CDCProbeBlind tells of it.
    Every alert names its pipeline and links to its runbook.

Lag is counted as the rest of the bot counts it: strictly more records, for so long (`for:`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bot.model import LagThreshold, Objective, Pipeline, Severity
from bot.slo.thresholds import Thresholds

T = TypeVar("T", bound=Hashable)

_HEAD = """\
# Alert rules of cdc-oncall, rendered from cdc.yml: change the thresholds there and render again.
# Keep it as cdc-alerts.yml, load it in prometheus.yml (`rule_files: [cdc-alerts.yml]`) and scrape the bot's /metrics.
#
# Alertmanager: group by pipeline, send resolves, and let critical lag hide the warning.
#
#   route:
#     routes:
#       - matchers: [alertname =~ "CDC.+"]
#         receiver: cdc-oncall
#         group_by: [pipeline]
#         group_wait: 10s
#   receivers:
#     - name: cdc-oncall
#       webhook_configs:
#         - url: http://cdc-oncall:8080/alertmanager
#           send_resolved: true
#           http_config: {authorization: {credentials_file: /etc/alertmanager/cdc-webhook-token}}
#   inhibit_rules:
#     - source_matchers: [alertname = CDCConsumerLagCritical]
#       target_matchers: [alertname = CDCConsumerLagWarning]
#       equal: [pipeline, consumergroup]
"""


@dataclass(frozen=True)
class _Rule:
    alert: str
    expr: str
    severity: Severity
    runbook: str
    summary: str
    description: str
    for_s: float = 0


def render_rules(pipelines: Sequence[Pipeline], thresholds: Thresholds) -> str:
    """Return the rule file as YAML. Without pipelines it holds the defaults, which fit any."""
    lines = ["groups:", "  - name: cdc-oncall", "    rules:"]
    for rule in _rules(pipelines, thresholds):
        lines += _render(rule, thresholds)
    return _HEAD + "\n".join(lines) + "\n"


def alert_names(thresholds: Thresholds) -> tuple[tuple[str, Severity], ...]:
    """Return every alert that the rules can fire, with its severity, most upstream first."""
    return tuple((rule.alert, rule.severity) for rule in _rules((), thresholds))


def promql_duration(seconds: float) -> str:
    """Seconds as Prometheus writes them, in the largest unit that is exact: 300 is `5m`, 0.5 is `500ms`."""
    for unit, size_s in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= size_s and seconds % size_s == 0:
            return f"{int(seconds / size_s)}{unit}"
    return f"{max(1, round(seconds * 1000))}ms"


# --- the rules, most upstream first ----------------------------------------------------------------


def _rules(pipelines: Sequence[Pipeline], thresholds: Thresholds) -> Iterator[_Rule]:
    yield from _schema_refusals(thresholds)
    yield from _connector_failed(thresholds)
    yield from _dead_letters(pipelines, thresholds)
    yield from _lag(pipelines, "CDCConsumerLagCritical", Severity.CRITICAL, lambda objective: objective.lag_page)
    yield from _lag(pipelines, "CDCConsumerLagWarning", Severity.WARNING, lambda objective: objective.lag_warn)
    yield from _probe_blind(thresholds)


def _schema_refusals(thresholds: Thresholds) -> Iterator[_Rule]:
    window = promql_duration(thresholds.refusals_window_s)
    yield _Rule(
        "CDCSchemaRefusals",
        f"sum by (pipeline, subject) (increase(cdc_schema_registry_conflicts_total[{window}])) > {thresholds.refusals}",
        thresholds.refusals_severity,
        "schema-incompatible",
        "{{ $labels.pipeline }}: the registry refuses schemas of {{ $labels.subject }}",
        f'{{{{ $value | printf "%.0f" }}}} refusals in {window} (409), more than {thresholds.refusals}. '
        "The connector that brings the schema fails next.",
    )


def _connector_failed(thresholds: Thresholds) -> Iterator[_Rule]:
    yield _Rule(
        "CDCConnectorFailed",
        "count by (pipeline, connector) (\n"
        '  cdc_connector_task_state{state="FAILED"} == 1\n'
        '  or cdc_connector_state{state="FAILED"} == 1\n'
        ")",
        Severity.CRITICAL,
        "connector-failed",
        "{{ $labels.pipeline }}: connector {{ $labels.connector }} has failed",
        "{{ $value }} FAILED (its tasks, and the connector itself if it has failed too) "
        f"for {promql_duration(thresholds.connector_failed_for_s)}. It does not start again by itself.",
        thresholds.connector_failed_for_s,
    )


def _dead_letters(pipelines: Sequence[Pipeline], thresholds: Thresholds) -> Iterator[_Rule]:
    """Growth alone is enough where nothing is known to be processed: a ratio without denominator would be silent."""
    window = promql_duration(thresholds.dead_letters_window_s)
    for ratio, only in _by_objective(pipelines, lambda objective: objective.dead_letter_ratio_per_day):
        dead = f"increase(cdc_dead_letters_total{only}[{window}])"
        processed = f"increase(cdc_processed_messages_total{only}[{window}])"
        yield _Rule(
            "CDCDeadLettersGrowing",
            f"(sum by (pipeline, topic) ({dead}) > 0)\n"
            "unless on (pipeline)\n"
            f"(sum by (pipeline) ({dead}) / (sum by (pipeline) ({processed}) > 0) <= {ratio:.10g})",
            Severity.WARNING,
            "dead-letters",
            "{{ $labels.pipeline }}: dead letters are growing in {{ $labels.topic }}",
            f'{{{{ $value | printf "%.0f" }}}} dead letters in {window}: more than {ratio * 100:.6g}% of the records, '
            "or nothing else was processed.",
        )


def _lag(
    pipelines: Sequence[Pipeline], alert: str, severity: Severity, of: Callable[[Objective], LagThreshold]
) -> Iterator[_Rule]:
    for threshold, only in _by_objective(pipelines, of):
        lag = f'label_replace(cdc_consumergroup_lag{only}, "consumergroup", "$1", "group", "(.+)")'
        for_ = promql_duration(threshold.for_s)
        yield _Rule(
            alert,
            f"sum by (pipeline, consumergroup) (\n  {lag}\n) > {threshold.records}",
            severity,
            "consumer-lag",
            '{{ $labels.pipeline }}: {{ $labels.consumergroup }} is {{ $value | printf "%.0f" }} records behind',
            f"Lag of {{{{ $labels.consumergroup }}}} was over {threshold.records} records for {for_}; "
            'it was {{ $value | printf "%.0f" }} when this was written.',
            threshold.for_s,
        )


def _probe_blind(thresholds: Thresholds) -> Iterator[_Rule]:
    yield _Rule(
        "CDCProbeBlind",
        "min by (pipeline, probe) (cdc_probe_up) == 0",
        Severity.WARNING,
        "other",
        "{{ $labels.pipeline }}: the bot sees nothing of {{ $labels.probe }}",
        f"The probe has failed for {promql_duration(thresholds.blind_for_s)}: the other alerts that stand on it cannot "
        "fire, and silence is not health.",
        thresholds.blind_for_s,
    )


# --- leaves ----------------------------------------------------------------------------------------


def _by_objective(pipelines: Sequence[Pipeline], of: Callable[[Objective], T]) -> Iterator[tuple[T, str]]:
    """Yield each threshold with its matcher: the default for all but those that differ, then each that differs."""
    default = of(Objective())
    different: dict[T, list[str]] = {}
    for pipeline in pipelines:
        if of(pipeline.objective) != default:
            different.setdefault(of(pipeline.objective), []).append(pipeline.name)
    yield default, _matcher("!", sorted(name for names in different.values() for name in names))
    for threshold, names in sorted(different.items(), key=lambda item: sorted(item[1])):
        yield threshold, _matcher("=", sorted(names))


def _matcher(sign: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    if len(names) == 1:
        return f"{{pipeline{'!=' if sign == '!' else '='}{json.dumps(names[0])}}}"
    return f"{{pipeline{sign}~{json.dumps('|'.join(re.escape(name) for name in names))}}}"


def _render(rule: _Rule, thresholds: Thresholds) -> Iterator[str]:
    """JSON strings are YAML strings; the expression stands as it would be typed."""
    yield f"      - alert: {rule.alert}"
    yield "        expr: |"
    yield from (f"          {line}" for line in rule.expr.splitlines())
    if rule.for_s:
        yield f"        for: {promql_duration(rule.for_s)}"
    yield "        labels:"
    yield f"          severity: {rule.severity}"
    yield "        annotations:"
    for name, text in (
        ("summary", rule.summary),
        ("description", rule.description),
        ("runbook_url", f"{thresholds.runbook_url}#{rule.runbook}"),
    ):
        yield f"          {name}: {json.dumps(text)}"
