"""The rendered alert rules, as promtool judges them: valid, and on both sides of every edge."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.model import LagThreshold, Objective, Pipeline, Severity
from bot.slo.rules import alert_names, promql_duration, render_rules
from bot.slo.thresholds import Thresholds

ROOT = Path(__file__).parents[3]
SMALL = Pipeline("small.orders", "#x", objective=Objective(LagThreshold(10, 60), LagThreshold(100, 120), 0.5))
LIKE_SMALL = replace(SMALL, name="small-returns")
DEFAULT = Pipeline("customers", "#x")


def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        reason = "promtool is missing: the alert rules were NOT tested; install the Debian package `prometheus`"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def alerts_at(minutes: str, name: str, expected: Sequence[dict[str, str]]) -> dict[str, Any]:
    return {"eval_time": minutes, "alertname": name, "exp_alerts": [{"exp_labels": labels} for labels in expected]}


def judged(
    tmp_path: Path, rules: str, series: dict[str, str], when: Sequence[dict[str, Any]], every: str = "1m"
) -> str:
    """Empty when Prometheus fires exactly what is expected, else what it said. Annotations are not compared."""
    bare = yaml.safe_load(rules)
    for rule in bare["groups"][0]["rules"]:
        rule.pop("annotations")
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(bare), "utf-8")
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": every,
        "tests": [
            {
                "interval": every,
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": list(when),
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test), "utf-8")
    run = subprocess.run(
        [promtool(), "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    return "" if run.returncode == 0 else run.stdout + run.stderr


def test_the_committed_rules_are_the_rendered_ones() -> None:
    """Nobody edits alerts.yml by hand: the defaults render to it, byte for byte."""
    assert render_rules((), Thresholds()) == (ROOT / "runbooks/alerts.yml").read_text("utf-8")


@pytest.mark.parametrize("pipelines", [(), (DEFAULT,), (DEFAULT, SMALL), (SMALL, LIKE_SMALL)])
def test_prometheus_accepts_the_rules(pipelines: tuple[Pipeline, ...], tmp_path: Path) -> None:
    """Whatever the pipelines, promtool finds nothing wrong."""
    (tmp_path / "rules.yml").write_text(render_rules(pipelines, Thresholds(refusals_window_s=0.5)), "utf-8")
    run = subprocess.run(
        [promtool(), "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    assert 0 == run.returncode, run.stderr


def test_every_alert_links_to_a_runbook_that_is_on_the_page() -> None:
    """An anchor that leads nowhere costs a minute at 3 a.m."""
    page = (ROOT / "runbooks/README.md").read_text("utf-8")
    rules = yaml.safe_load(render_rules((), Thresholds(runbook_url="https://wiki/cdc")))["groups"][0]["rules"]
    for rule in rules:
        address, anchor = rule["annotations"]["runbook_url"].split("#")
        assert "https://wiki/cdc" == address
        assert f'<a id="{anchor}">' in page
        assert (ROOT / f"runbooks/{anchor}.yml").is_file()


def test_the_order_of_the_pipelines_does_not_change_the_rules() -> None:
    """A diff of the rules shows what changed, not how a dict was walked."""
    assert render_rules((SMALL, DEFAULT, LIKE_SMALL), Thresholds()) == render_rules(
        (LIKE_SMALL, SMALL, DEFAULT), Thresholds()
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(300, "5m"), (90, "90s"), (3600, "1h"), (86400, "1d"), (0.5, "500ms"), (5.0, "5s"), (0.0001, "1ms")],
)
def test_durations_are_written_as_prometheus_reads_them(seconds: float, text: str) -> None:
    """The largest unit that is exact; never 0, which Prometheus refuses for a window."""
    assert text == promql_duration(seconds)


LAG = 'cdc_consumergroup_lag{pipeline="customers",group="g",topic="t",partition="%d"}'
LAG_LABELS = {"pipeline": "customers", "consumergroup": "g"}
WARNING = [{**LAG_LABELS, "severity": "warning"}]
CRITICAL = [{**LAG_LABELS, "severity": "critical"}]


@pytest.mark.parametrize(
    ("lag", "when", "warns", "pages"),
    [
        (9_999, "30m", [], []),
        (10_000, "30m", [], []),  # at the threshold is not over it
        (10_001, "4m59s", [], []),
        (10_001, "5m", WARNING, []),
        (10_001, "30m", WARNING, []),  # however long: it is no page
        (99_999, "30m", WARNING, []),
        (100_000, "30m", WARNING, []),
        (100_001, "14m59s", WARNING, []),
        (100_001, "15m", WARNING, CRITICAL),  # the warning stays true: Alertmanager inhibits it
    ],
)
def test_lag_warns_and_pages_at_its_thresholds(
    lag: int, when: str, warns: list[dict[str, str]], pages: list[dict[str, str]], tmp_path: Path
) -> None:
    """Over 10,000 records for 5 minutes warns, over 100,000 for 15 minutes pages; partitions are added up."""
    half = lag // 2
    series = {LAG % 0: f"{half}+0x1900", LAG % 1: f"{lag - half}+0x1900"}
    asked = [alerts_at(when, "CDCConsumerLagWarning", warns), alerts_at(when, "CDCConsumerLagCritical", pages)]
    assert "" == judged(tmp_path, render_rules((DEFAULT,), Thresholds()), series, asked, every="1s")


def test_one_good_minute_restarts_the_window(tmp_path: Path) -> None:
    """Lag that touched the threshold did not stay over it."""
    series = {LAG % 0: "10001 10001 10001 10000 10001 10001 10001 10001 10001 10001"}
    when = [alerts_at("8m", "CDCConsumerLagWarning", []), alerts_at("9m", "CDCConsumerLagWarning", WARNING)]
    assert "" == judged(tmp_path, render_rules((), Thresholds()), series, when)


@pytest.mark.parametrize(
    ("values", "at_6m", "at_8m", "why"),
    [
        ("10001+0x3 _x2 10001+0x9", WARNING, WARNING, "scrapes that failed: Prometheus bridges up to 5 minutes"),
        ("10001+0x2 stale 10001+0x9", [], [], "a lag that the bot could not see was absent: nothing is known of it"),
        ("10001+0x2 stale", [], [], "a group that is no longer seen does not go on to fire"),
        ("_x12", [], [], "a lag that was never seen is not a lag of 0, and no alert"),
        ("4000 12000 4000 12000 4000 12000 4000 12000 4000", [], [], "teeth cross it: by design, the trough counts"),
        ("11000 90000 11000 90000 11000 90000 11000 90000 11000", WARNING, WARNING, "the trough itself is over it"),
    ],
)  # fmt: skip
def test_gaps_absence_and_sawteeth(
    values: str, at_6m: list[dict[str, str]], at_8m: list[dict[str, str]], why: str, tmp_path: Path
) -> None:
    """Only what was seen over the line without a break counts."""
    when = [alerts_at("6m", "CDCConsumerLagWarning", at_6m), alerts_at("7m", "CDCConsumerLagWarning", at_8m)]
    assert "" == judged(tmp_path, render_rules((), Thresholds()), {LAG % 0: values}, when), why


def test_what_is_known_is_enough_to_fire(tmp_path: Path) -> None:
    """A partition that cannot be seen can only add to the lag; that it cannot be seen is an alert of its own."""
    series = {
        LAG % 0: "100001+0x30",
        LAG % 1: "5 stale",
        'cdc_consumergroup_unknown_partitions{pipeline="customers",group="g"}': "0 1+0x30",
    }
    when = [
        alerts_at("15m", "CDCConsumerLagCritical", CRITICAL),
        alerts_at("10m", "CDCConsumerLagUnknown", []),
        alerts_at("11m", "CDCConsumerLagUnknown", WARNING),
    ]
    assert "" == judged(tmp_path, render_rules((), Thresholds()), series, when)


def test_a_group_that_is_watched_for_no_pipeline_fires_nothing(tmp_path: Path) -> None:
    """Everybody's abandoned console consumer is in the metrics with `lag.watch: all`, and pages nobody."""
    series = {
        'cdc_consumergroup_lag{group="g",topic="t",partition="0"}': "100001+0x30",
        'cdc_consumergroup_unknown_partitions{group="g"}': "1+0x30",
        'cdc_consumergroup_verdict{group="g",verdict="STOPPED"}': "1+0x30",
        'cdc_consumergroup_verdict{group="h",verdict="DATA_LOST"}': "1+0x30",
        'cdc_consumergroup_verdict{group="i",verdict="LOSS_IMMINENT"}': "1+0x30",
    }
    when = [alerts_at("30m", name, []) for name, _ in alert_names(Thresholds()) if name.startswith("CDCConsumer")]
    when += [alerts_at("30m", name, []) for name in ("CDCDataLost", "CDCDataLossImminent")]
    assert 7 == len(when)
    for pipelines in ((), (DEFAULT, SMALL)):
        assert "" == judged(tmp_path, render_rules(pipelines, Thresholds()), series, when)


VERDICT = 'cdc_consumergroup_verdict{pipeline="customers",group="g",verdict="%s"}'


@pytest.mark.parametrize(
    ("verdict", "when", "warns", "pages"),
    [
        ("STOPPED", "4m59s", [], []),
        ("STOPPED", "5m", WARNING, []),
        ("STUCK", "14m59s", WARNING, []),
        ("STUCK", "15m", WARNING, CRITICAL),
        ("NOT_CHECKPOINTING", "15m", WARNING, CRITICAL),
        ("CATCHING_UP", "20m", [], []),
        ("FALLING_BEHIND", "20m", [], []),  # how much that is decides the lag rule
        ("UNKNOWN", "20m", [], []),
        ("OK", "20m", [], []),
    ],
)
def test_a_group_that_does_not_read_warns_and_pages(
    verdict: str, when: str, warns: list[dict[str, str]], pages: list[dict[str, str]], tmp_path: Path
) -> None:
    """However little is unread: it is not delivered."""
    asked = [alerts_at(when, "CDCConsumerStoppedWarning", warns), alerts_at(when, "CDCConsumerStoppedCritical", pages)]
    series = {VERDICT % verdict: "1+0x1300"}
    assert "" == judged(tmp_path, render_rules((), Thresholds()), series, asked, every="1s")


def test_another_verdict_of_the_same_kind_does_not_begin_anew(tmp_path: Path) -> None:
    """Members that come and go make STUCK of STOPPED and back; OK in between is a new beginning."""
    turning = {VERDICT % "STOPPED": "1+0x3 stale 1+0x9", VERDICT % "STUCK": "_x4 1 stale"}
    well = {VERDICT % "STOPPED": "1+0x3 stale 1+0x9", VERDICT % "OK": "_x4 1 stale"}
    for series, expected in ((turning, WARNING), (well, [])):
        when = [alerts_at("6m", "CDCConsumerStoppedWarning", expected)]
        assert "" == judged(tmp_path, render_rules((), Thresholds()), series, when)


def test_lost_data_pages_at_once_and_is_not_over_in_a_moment(tmp_path: Path) -> None:
    """A consumer that jumps over the hole commits within seconds; the page must reach somebody all the same."""
    series = {
        VERDICT % "DATA_LOST": "_ 1 stale",
        VERDICT % "OK": "1 stale 1+0x20",
        VERDICT % "LOSS_IMMINENT": "1 stale",
    }
    when = [
        alerts_at("0m", "CDCDataLost", []),
        alerts_at("1m", "CDCDataLost", CRITICAL),
        alerts_at("5m", "CDCDataLost", CRITICAL),
        alerts_at("7m", "CDCDataLost", []),
        alerts_at("0m", "CDCDataLossImminent", CRITICAL),
        alerts_at("1m", "CDCDataLossImminent", []),
    ]
    assert "" == judged(tmp_path, render_rules((), Thresholds()), series, when)


def test_a_pipeline_with_its_own_objective_has_its_own_thresholds(tmp_path: Path) -> None:
    """11 records behind warn for the pipeline that asked for it, and for no other."""
    series = {
        'cdc_consumergroup_lag{pipeline="small.orders",group="g",topic="t",partition="0"}': "11+0x10",
        'cdc_consumergroup_lag{pipeline="smallXorders",group="g",topic="t",partition="0"}': "11+0x10",
        LAG % 0: "11+0x10",
    }
    expected = [{"pipeline": "small.orders", "consumergroup": "g", "severity": "warning"}]
    when = [alerts_at("0m", "CDCConsumerLagWarning", []), alerts_at("1m", "CDCConsumerLagWarning", expected)]
    assert "" == judged(tmp_path, render_rules((SMALL, LIKE_SMALL, DEFAULT), Thresholds()), series, when)


@pytest.mark.parametrize(
    ("metric", "at_1m"),
    [
        ('cdc_connector_task_state{pipeline="p",connector="c",task="1",state="FAILED"}', True),
        ('cdc_connector_state{pipeline="p",connector="c",state="FAILED"}', True),
        ('cdc_connector_task_state{pipeline="p",connector="c",task="1",state="RUNNING"}', False),
        ('cdc_connector_state{pipeline="p",connector="c",state="PAUSED"}', False),
    ],
)
def test_a_failed_connector_or_task_pages_after_a_minute(metric: str, at_1m: bool, tmp_path: Path) -> None:
    """A task that is FAILED is enough; one that was FAILED for less than a minute is not."""
    expected = [{"pipeline": "p", "connector": "c", "severity": "critical"}] if at_1m else []
    when = [alerts_at("30s", "CDCConnectorFailed", []), alerts_at("1m", "CDCConnectorFailed", expected)]
    assert "" == judged(tmp_path, render_rules((), Thresholds()), {metric: "1+0x10"}, when, every="30s")


@pytest.mark.parametrize(
    ("refusals", "fires"),
    [
        ("0+0x20", False),
        ("0 5+0x20", False),
        ("0 6+0x20", True),
        ("0 6+0x8 6+0x20", True),
        ("6+0x20", False),  # a counter that did not begin at 0 shows nothing: the bot exports it at 0 first
    ],
)
def test_more_refusals_than_allowed_alert(refusals: str, fires: bool, tmp_path: Path) -> None:
    """More than 5 refusals of one subject in 10 minutes, by the source that saw the most; what CI blocked is none."""
    series = {
        'cdc_schema_registry_conflicts_total{pipeline="p",subject="s",source="log"}': refusals,
        'cdc_schema_registry_conflicts_total{pipeline="p",subject="s",source="connect"}': "0 3+0x20",
        'cdc_schema_registry_conflicts_total{pipeline="p",subject="s",source="ci"}': "0 90+0x20",
    }
    expected = [{"pipeline": "p", "subject": "s", "severity": "critical"}] if fires else []
    rules = render_rules((), Thresholds(refusals_severity=Severity.CRITICAL))
    assert "" == judged(tmp_path, rules, series, [alerts_at("10m", "CDCSchemaRefusals", expected)])


def test_old_refusals_end_the_alert(tmp_path: Path) -> None:
    """Ten minutes after the last one it is over."""
    series = {'cdc_schema_registry_conflicts_total{pipeline="p",subject="s",source="trace"}': "0 60+0x40"}
    when = [
        alerts_at("5m", "CDCSchemaRefusals", [{"pipeline": "p", "subject": "s", "severity": "warning"}]),
        alerts_at("12m", "CDCSchemaRefusals", []),
    ]
    assert "" == judged(tmp_path, render_rules((), Thresholds()), series, when)


@pytest.mark.parametrize(
    ("dead", "processed", "fires"),
    [
        ("0+0x20", "0+1000x20", False),
        ("0+2x20", "0+1000x20", True),  # 0.2 % of the records
        ("0+1x20", "0+2000x20", False),  # 0.05 %
        ("0+1x20", "0+1000x20", False),  # exactly the objective is within it
        ("0+1x20", None, True),  # nothing is known to be processed: growth alone is enough
        ("0+1x20", "7+0x20", True),  # nothing is processed
        ("9+0x20", "0+1000x20", False),  # old dead letters do not grow
    ],
)
def test_growing_dead_letters_alert(dead: str, processed: str | None, fires: bool, tmp_path: Path) -> None:
    """Growth over the objective's share of the processed records, or growth where there is nothing to compare with."""
    series = {'cdc_dead_letters_total{pipeline="p",topic="dlq"}': dead}
    if processed is not None:
        series['cdc_processed_messages_total{pipeline="p"}'] = processed
    expected = [{"pipeline": "p", "topic": "dlq", "severity": "warning"}] if fires else []
    when = [alerts_at("10m", "CDCDeadLettersGrowing", expected)]
    assert "" == judged(tmp_path, render_rules((), Thresholds()), series, when)


@pytest.mark.parametrize(("up", "minutes", "fires"), [("0", "9m", False), ("0", "10m", True), ("1", "20m", False)])
def test_a_blind_probe_alerts(up: str, minutes: str, fires: bool, tmp_path: Path) -> None:
    """A probe that sees nothing for ten minutes is an alert of its own: no value is not a good value."""
    expected = [{"pipeline": "p", "probe": "consumer_lag", "severity": "warning"}] if fires else []
    series = {'cdc_probe_up{pipeline="p",probe="consumer_lag"}': f"{up}+0x30"}
    assert "" == judged(
        tmp_path, render_rules((), Thresholds()), series, [alerts_at(minutes, "CDCProbeBlind", expected)]
    )


def test_small_windows_for_a_rehearsal(tmp_path: Path) -> None:
    """Seconds instead of minutes: a real Prometheus pages while one watches."""
    rehearsal = Pipeline("p", "#x", objective=Objective(LagThreshold(5, 5), LagThreshold(50, 15)))
    rules = render_rules((rehearsal,), Thresholds(refusals=0, refusals_window_s=30, connector_failed_for_s=2))
    series = {
        'cdc_consumergroup_lag{pipeline="p",group="g",topic="t",partition="0"}': "51+0x60",
        'cdc_schema_registry_conflicts_total{pipeline="p",subject="s",source="trace"}': "0 1+0x60",
        'cdc_connector_task_state{pipeline="p",connector="c",task="0",state="FAILED"}': "1+0x60",
    }
    lag = {"pipeline": "p", "consumergroup": "g"}
    when = [
        alerts_at("1s", "CDCConnectorFailed", []),
        alerts_at("2s", "CDCConnectorFailed", [{"pipeline": "p", "connector": "c", "severity": "critical"}]),
        alerts_at("3s", "CDCSchemaRefusals", [{"pipeline": "p", "subject": "s", "severity": "warning"}]),
        alerts_at("14s", "CDCConsumerLagCritical", []),
        alerts_at("15s", "CDCConsumerLagCritical", [{**lag, "severity": "critical"}]),
    ]
    assert "" == judged(tmp_path, rules, series, when, every="1s")


def test_the_alertmanager_example_in_the_head_is_valid(tmp_path: Path) -> None:
    """What people copy from the comment is a configuration that Alertmanager takes."""
    amtool = shutil.which("amtool")
    if amtool is None:
        reason = "amtool is missing: the Alertmanager example was NOT tested; install `prometheus-alertmanager`"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    comment = re.findall(r"^#   (.*)$", render_rules((), Thresholds()), re.MULTILINE)
    text = "\n".join(comment).replace("route:\n", "route:\n  receiver: cdc-oncall\n", 1) + "\n"
    (tmp_path / "am.yml").write_text(text, "utf-8")
    run = subprocess.run(
        [amtool, "check-config", str(tmp_path / "am.yml")], capture_output=True, timeout=60, check=False
    )
    assert 0 == run.returncode, run.stdout + run.stderr


def test_the_alerts_are_named_with_their_severity() -> None:
    """What `cdc doctor` follows through the routes is what the rules fire."""
    rules = yaml.safe_load(render_rules((), Thresholds()))["groups"][0]["rules"]
    assert tuple((rule["alert"], rule["labels"]["severity"]) for rule in rules) == alert_names(Thresholds())
