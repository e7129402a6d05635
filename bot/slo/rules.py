"""The Prometheus alert rules, rendered from the objectives: Prometheus can page from the bot's metrics alone.

Pure: the same pipelines and thresholds give the same bytes. A threshold stands in cdc.yml and nowhere else.

Invariants
    The rules work for any pipeline, also for one added later: the defaults apply to every `pipeline` label, and
    only a pipeline whose objective differs has rules of its own, and is then left out of the default ones.
    A warning stays true while the critical alert fires; Alertmanager inhibits it (else 150,000 records behind would
    say nothing for 15 minutes).
    An unknown value is an absent series and fires nothing here; CDCProbeBlind and CDCConsumerLagUnknown tell of it.
    Every alert names its pipeline and links to its runbook: a group that is watched for no pipeline (`lag.watch: all`)
    has no objective, and fires nothing.
    A verdict is 1 in the series of the current one only. Where more than one verdict fires the same alert, the label
    is dropped, so that a change between them does not begin `for:` anew.

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
# Alertmanager: group by pipeline, send resolves, and let what is critical of a group hide its warning.
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
#     - source_matchers: [alertname =~ "CDCConsumer.+Critical"]
#       target_matchers: [alertname =~ "CDCConsumer.+Warning"]
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
    yield from _data_loss(thresholds)
    for alert, severity, for_s in (
        ("CDCConsumerStoppedCritical", Severity.CRITICAL, thresholds.stopped_page_for_s),
        ("CDCConsumerStoppedWarning", Severity.WARNING, thresholds.stopped_for_s),
    ):
        yield _stopped(alert, severity, for_s)
    yield from _lag(pipelines, "CDCConsumerLagCritical", Severity.CRITICAL, lambda objective: objective.lag_page)
    yield from _lag(pipelines, "CDCConsumerLagWarning", Severity.WARNING, lambda objective: objective.lag_warn)
    yield from _blind(thresholds)


def _schema_refusals(thresholds: Thresholds) -> Iterator[_Rule]:
    """One refusal may be seen by more than one source, so the largest counts; what CI blocked was not refused."""
    window = promql_duration(thresholds.refusals_window_s)
    yield _Rule(
        "CDCSchemaRefusals",
        f'max by (pipeline, subject) (increase(cdc_schema_registry_conflicts_total{{source!="ci"}}[{window}]))'
        f" > {thresholds.refusals}",
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
    for threshold, only in _by_objective(pipelines, of, and_any='pipeline!=""'):
        for_ = promql_duration(threshold.for_s)
        yield _Rule(
            alert,
            f"{_by_group('sum', f'cdc_consumergroup_lag{only}')} > {threshold.records}",
            severity,
            "consumer-lag",
            '{{ $labels.pipeline }}: {{ $labels.consumergroup }} is {{ $value | printf "%.0f" }} records behind',
            f"Lag of {{{{ $labels.consumergroup }}}} was over {threshold.records} records for {for_}; "
            'it was {{ $value | printf "%.0f" }} when this was written.',
            threshold.for_s,
        )


def _data_loss(thresholds: Thresholds) -> Iterator[_Rule]:
    held = promql_duration(thresholds.loss_held_s)
    lost = _verdict("DATA_LOST")
    yield _Rule(
        "CDCDataLost",
        f"{_by_group('max', f'max_over_time({lost}[{held}])')} == 1",
        Severity.CRITICAL,
        "consumer-lag",
        "{{ $labels.pipeline }}: records were deleted before {{ $labels.consumergroup }} read them",
        "Retention has overtaken its commits: `cdc lag {{ $labels.consumergroup }}` says which offsets. "
        f"The alert holds for at least {held}.",
    )
    yield _Rule(
        "CDCDataLossImminent",
        f"{_by_group('max', _verdict('LOSS_IMMINENT'))} == 1",
        Severity.CRITICAL,
        "consumer-lag",
        "{{ $labels.pipeline }}: retention is about to delete what {{ $labels.consumergroup }} has not read",
        "Unread records are deleted before an on-call can have brought {{ $labels.consumergroup }} back "
        "(`lag.horizon`): raise `retention.ms` of the topic first, then look for the cause.",
    )


def _stopped(alert: str, severity: Severity, for_s: float) -> _Rule:
    of_group = 'printf "cdc_consumergroup_verdict{pipeline=%q,group=%q}" $labels.pipeline $labels.consumergroup'
    return _Rule(
        alert,
        f"{_by_group('max', _verdict('STOPPED', 'STUCK', 'NOT_CHECKPOINTING'))} == 1",
        severity,
        "consumer-lag",
        "{{ $labels.pipeline }}: {{ $labels.consumergroup }} has unread data and does not commit",
        f'{{{{ with {of_group} | query }}}}{{{{ . | first | label "verdict" }}}}: {{{{ end }}}}'
        f"unread data and no commit that moves, {promql_duration(for_s)} since that was proved, however little it is.",
        for_s,
    )


def _blind(thresholds: Thresholds) -> Iterator[_Rule]:
    for_ = promql_duration(thresholds.blind_for_s)
    unknown = 'cdc_consumergroup_unknown_partitions{pipeline!=""}'
    yield _Rule(
        "CDCConsumerLagUnknown",
        f"{_by_group('max', unknown)} > 0",
        Severity.WARNING,
        "consumer-lag",
        "{{ $labels.pipeline }}: the lag of {{ $labels.consumergroup }} is not known in {{ $value }} of its partitions",
        f"For {for_}: what is behind in them is in no sum, so a lag alert may be silent.",
        thresholds.blind_for_s,
    )
    yield _Rule(
        "CDCProbeBlind",
        "min by (pipeline, probe) (cdc_probe_up) == 0",
        Severity.WARNING,
        "other",
        "{{ $labels.pipeline }}: the bot sees nothing of {{ $labels.probe }}",
        f"The probe has failed for {for_}: the other alerts that stand on it cannot fire, and silence is not health.",
        thresholds.blind_for_s,
    )


# --- leaves ----------------------------------------------------------------------------------------


def _verdict(*verdicts: str) -> str:
    wanted = f'="{verdicts[0]}"' if len(verdicts) == 1 else f'=~"{"|".join(verdicts)}"'
    return f'cdc_consumergroup_verdict{{pipeline!="",verdict{wanted}}}'


def _by_group(how: str, series: str) -> str:
    """Aggregate to one series a group, under the label that Alertmanager's users know."""
    return f'{how} by (pipeline, consumergroup) (\n  label_replace({series}, "consumergroup", "$1", "group", "(.+)")\n)'


def _by_objective(
    pipelines: Sequence[Pipeline], of: Callable[[Objective], T], and_any: str = ""
) -> Iterator[tuple[T, str]]:
    """Yield each threshold with its matcher: the default for all but those that differ, then each that differs.

    `and_any` is one more matcher of the default.
    """
    default = of(Objective())
    different: dict[T, list[str]] = {}
    for pipeline in pipelines:
        if of(pipeline.objective) != default:
            different.setdefault(of(pipeline.objective), []).append(pipeline.name)
    others = _matcher("!", sorted(name for names in different.values() for name in names))
    yield default, _selector(and_any, others)
    for threshold, names in sorted(different.items(), key=lambda item: sorted(item[1])):
        yield threshold, _selector(_matcher("=", sorted(names)))


def _selector(*matchers: str) -> str:
    written = ",".join(filter(None, matchers))
    return f"{{{written}}}" if written else ""


def _matcher(sign: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    if len(names) == 1:
        return f"pipeline{'!=' if sign == '!' else '='}{json.dumps(names[0])}"
    return f"pipeline{sign}~{json.dumps('|'.join(re.escape(name) for name in names))}"


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
