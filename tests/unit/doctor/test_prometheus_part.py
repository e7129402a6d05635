"""`cdc doctor`, Prometheus: each line from both sides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.doctor.prometheus import EXPORTERS, Exporter, PrometheusFacts, gather, judge, loaded
from bot.lag_metrics import EXPORTER_FAMILIES
from bot.ports import PortError, PrometheusStatus, Rejected, ScrapeTarget, Series, Unreachable

ALERTS = ("CDCConnectorFailed", "CDCProbeBlind")
NOW = datetime(2026, 11, 23, 14, 1, tzinfo=UTC)
TARGET = ScrapeTarget("http://bot:8080/metrics", "cdc", "up", "", "bot:8080")
SOUND = PrometheusStatus("2.42.0", (TARGET,), (*ALERTS, "Other"), ("http://u:secret@am:9093/api/v2/alerts",))


def test_a_sound_prometheus_is_all_ok() -> None:
    """It answers, scrapes, runs the rules, and tells an Alertmanager; a password in an address is not shown."""
    lines = judge(PrometheusFacts("http://prometheus:9090", SOUND), 8080, "bot", ALERTS, NOW)
    assert [
        "Prometheus 2.42.0 answers at http://prometheus:9090",
        "scrapes http://bot:8080/metrics (job cdc)",
        "runs the bot's 2 alert rules",
        "sends alerts to http://am:9093",
    ] == [line.what for line in lines]
    assert {"ok"} == {line.status for line in lines}


@pytest.mark.parametrize(
    ("changed", "status", "what"),
    [
        ({"targets": ()}, "warning", "no target of it is the bot"),
        ({"targets": (replace(TARGET, url="http://bot:9999/metrics"),)}, "warning", "no target of it is the bot"),
        ({"targets": (replace(TARGET, url="http://bot:8080/other"),)}, "warning", "no target of it is the bot"),
        ({"targets": (replace(TARGET, health="down", error="refused"),)}, "failed", "(job cdc) is down: refused"),
        ({"targets": (replace(TARGET, health="unknown"),)}, "warning", "has not scraped http://bot:8080/metrics yet"),
        ({"targets": (replace(TARGET, health="down"), TARGET)}, None, ""),  # one of two replicas of it is up
        ({"rules": ()}, "warning", "runs none of the bot's alert rules"),
        ({"rules": ("CDCProbeBlind",)}, "warning", "lacks CDCConnectorFailed"),
        ({"alertmanagers": ()}, "failed", "sends its alerts to no Alertmanager"),
        ({"targets": None, "not_known": ("GET /targets: 403",)}, "warning", "not known: GET /targets: 403"),
    ],
)
def test_what_is_wrong_is_one_line(changed: Mapping[str, Any], status: str | None, what: str) -> None:
    """One thing changed makes one line, with the text to paste as its remedy; what was not told is not judged."""
    lines = judge(PrometheusFacts("http://p", replace(SOUND, **changed)), 8080, "bot", ALERTS, NOW)
    bad = [line for line in lines if line.status != "ok"]
    assert ([status] if status else []) == [line.status for line in bad]
    if bad:
        assert what in bad[0].what
        assert bad[0].remedy


@pytest.mark.parametrize(
    ("age_s", "offset_s", "status"),
    [
        (59, None, "warning"),
        (60, None, "failed"),
        (70, -20, "warning"),  # its clock is 20 s behind ours
        (50, 20, "failed"),
        (None, None, "failed"),
    ],
)
def test_a_prometheus_that_has_just_loaded_may_look_for_its_alertmanager(
    age_s: float | None, offset_s: float | None, status: str
) -> None:
    """For a minute after the start or a reload; both times are by its own clock."""
    loaded_at = None if age_s is None else NOW - timedelta(seconds=age_s)
    told = replace(SOUND, alertmanagers=(), loaded_at=loaded_at, clock_offset_s=offset_s)
    [line] = [line for line in judge(PrometheusFacts("http://p", told), 8080, "bot", ALERTS, NOW) if line.remedy]
    assert status == line.status
    assert ("Ask again in 10 s." == line.remedy) == (status == "warning")


@pytest.mark.parametrize(("rules", "found"), [(None, None), ((), ()), (("Other", "CDCProbeBlind"), ("CDCProbeBlind",))])
def test_which_rules_run_is_known_or_not(rules: tuple[str, ...] | None, found: tuple[str, ...] | None) -> None:
    """Not told is None: then all of the bot's alerts are taken to run."""
    assert found == loaded(PrometheusFacts("http://p", replace(SOUND, rules=rules)), ALERTS)
    assert None is loaded(PrometheusFacts(None), ALERTS)


class Refusing:
    def read_status(self, deadline_s: float) -> PrometheusStatus:
        raise Unreachable("GET http://p/api/v1/status/buildinfo: refused the connection")

    def read_range(
        self, expression: str, since: datetime, until: datetime, step_s: float, deadline_s: float
    ) -> tuple[Series, ...]:
        raise AssertionError("nobody answers: nothing more is asked")


def test_without_prometheus_nothing_is_wrong() -> None:
    """Not configured is no finding; configured and not there is one."""
    [line] = judge(PrometheusFacts(None), 8080, "bot", ALERTS, NOW)
    assert "not configured" == line.status
    [line] = judge(gather(Refusing(), "http://p", 1.0), 8080, "bot", ALERTS, NOW)
    assert ("failed", "GET http://p/api/v1/status/buildinfo: refused the connection") == (line.status, line.what)


# --- kafka_exporter's names ------------------------------------------------------------------------

BOT, EXPORTER = Exporter("cdc", "bot:8080"), Exporter("kafka-exporter", "exporter:9308")
TWICE = "exports kafka_exporter's names as the bot does: every sum over them counts twice"


@pytest.mark.parametrize(
    ("expected", "exporters"),
    [
        ([], None),  # the names are off: nobody asked
        ([("ok", "no other job exports kafka_exporter's names")], ()),
        ([("ok", "no other job exports kafka_exporter's names")], (BOT,)),
        ([("warning", f"job kafka-exporter (exporter:9308) {TWICE}")], (BOT, EXPORTER)),
        ([("warning", f"job kafka-exporter (exporter:9308) {TWICE}")], (EXPORTER,)),  # the bot is to come
        (
            [("warning", f"job cdc (exporter:9308) {TWICE}")],
            (BOT, Exporter("cdc", "exporter:9308")),
        ),  # one job for both
        ([("warning", f"job (none) {TWICE}")], (BOT, Exporter("", ""))),  # a recording rule
    ],
)
def test_another_job_with_kafka_exporters_names_is_told(
    expected: list[tuple[str, str]], exporters: tuple[Exporter, ...] | None
) -> None:
    """By job and instance: what is scraped from the bot itself is no other."""
    sound = judge(PrometheusFacts("http://p", SOUND), 8080, "bot", ALERTS, NOW)
    lines = judge(PrometheusFacts("http://p", SOUND, exporters=exporters), 8080, "bot", ALERTS, NOW)[len(sound) :]

    assert [status for status, _ in expected] == [line.status for line in lines]
    assert all(line.what.startswith(words) for line, (_, words) in zip(lines, expected, strict=True))
    assert all("kafka_exporter_names: false" in line.remedy for line in lines if line.status == "warning")


class Answering:
    def __init__(self, answer: tuple[Series, ...] | PortError) -> None:
        self.answer, self.asked = answer, list[tuple[str, datetime, datetime]]()

    def read_status(self, deadline_s: float) -> PrometheusStatus:
        return replace(SOUND, clock_offset_s=-20.0)

    def read_range(
        self, expression: str, since: datetime, until: datetime, step_s: float, deadline_s: float
    ) -> tuple[Series, ...]:
        self.asked.append((expression, since, until))
        if isinstance(self.answer, PortError):
            raise self.answer
        return self.answer


def test_who_exports_is_asked_only_when_the_names_are_on() -> None:
    """At this moment by Prometheus' own clock."""
    told = Answering((Series({"job": "kafka-exporter", "instance": "exporter:9308"}, ()), Series({}, ())))

    assert gather(told, "http://p", 1.0).exporters is None
    assert [] == told.asked
    assert (Exporter("", ""), EXPORTER) == gather(told, "http://p", 1.0, NOW).exporters
    there = NOW - timedelta(seconds=20)
    assert [(EXPORTERS, there, there)] == told.asked


def test_a_proxy_that_refuses_queries_leaves_it_unknown() -> None:
    """Not ok: what could not be seen may count twice."""
    facts = gather(Answering(Rejected("GET /api/v1/query_range: 403")), "http://p", 1.0, NOW)
    [line] = [line for line in judge(facts, 8080, "bot", ALERTS, NOW) if line.status != "ok"]

    assert ("warning", True) == (line.status, "is not known: GET /api/v1/query_range: 403" in line.what)


def test_every_name_that_the_bot_can_export_is_asked_for() -> None:
    """A name that is added is asked for as well."""
    match = re.search(r'=~"(.+)"', EXPORTERS)

    assert match is not None
    assert all(re.fullmatch(match[1], family.name) for family in EXPORTER_FAMILIES)
    assert not re.fullmatch(match[1], "cdc_consumergroup_lag")
