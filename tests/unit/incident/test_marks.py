"""What a chart is marked with, and whose lag it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.incident import events as e
from bot.incident.marks import Mark, group_to_show, marks_of
from bot.incident.state import AlertState, fold
from bot.model import ConsumerGroup, Pipeline, Plan, Severity, Sink

T0 = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
ALICE = e.Who("slack:UALICE", "alice")
OPENED = e.IncidentOpened("t", "customers", Severity.WARNING, "c", "#c", "n")
PLAN = Plan("restart_failed_tasks", "sink", "s", (), {})
PIPELINE = Pipeline(
    "customers", "#c", consumers=(ConsumerGroup("flink"), ConsumerGroup("app")), sink=Sink("customers-sink")
)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def journal(*happened: tuple[float, e.Who, e.Event]) -> list[e.Entry]:
    return [e.Entry("CDC-1", n, at(minutes), who, event) for n, (minutes, who, event) in enumerate(happened, 1)]


def fired(name: str, minutes: float, **labels: str) -> e.AlertFired:
    return e.AlertFired(f"{name}{minutes}", at(minutes), {"alertname": name, **labels}, {})


def test_a_chart_is_marked_with_what_fired_what_was_done_and_what_came_of_it() -> None:
    """In order of time, alerts at the time they fired, and after the rest where there is no room for all."""
    entries = journal(
        (5, e.ALERTMANAGER, OPENED),
        (5, e.ALERTMANAGER, fired("CDCLag", 1)),
        (6, ALICE, e.IncidentAcknowledged()),
        (7, ALICE, e.ActionPlanned("k", "s", PLAN, "responder")),
        (8, ALICE, e.ActionConfirmed("k", "h")),
        (9, e.BOT, e.ActionStarted("k")),
        (10, e.BOT, e.ActionFinished("k", False, "409")),
        (11, ALICE, e.IncidentMitigated("scaled out")),
        (12, e.BOT, e.RecoveryProved(("lag 0",))),
        (12, e.BOT, e.IncidentMitigated("recovery proved")),
        (13, e.BOT, e.IncidentResolved(True, "proved")),
    )
    expected = (
        Mark(at(1), "CDCLag fired", 1),
        Mark(at(9), "restart failed tasks"),
        Mark(at(10), "restart failed tasks failed"),
        Mark(at(11), "mitigated"),
        Mark(at(12), "recovery proved"),
    )
    assert expected == marks_of(entries)


def test_an_alert_that_flaps_is_marked_once() -> None:
    """A hundred episodes would hide all else; an end without proof is marked as what it is."""
    flaps = [(n, e.ALERTMANAGER, fired("CDCLag", n)) for n in range(100)]
    entries = journal((0, e.ALERTMANAGER, OPENED), *flaps, (101, ALICE, e.IncidentResolved(False, "enough")))
    assert ["CDCLag fired", "resolved without proof"] == [mark.label for mark in marks_of(entries)]


@pytest.mark.parametrize(
    ("named", "lag_records", "shown"),
    [
        ([], {}, "flink"),  # nobody knows their lag: the first that cdc.yml names
        ([], {"flink": 5, "app": 6}, "app"),
        ([], {"flink": None, "app": 0, "connect-customers-sink": 1}, "connect-customers-sink"),
        ([{"consumergroup": "flink"}], {"flink": 5, "app": 6}, "flink"),
        ([{"group": "flink"}, {"consumer_group": "app"}], {"flink": 5, "app": 6}, "app"),
        ([{"group": "kafka-alerts"}], {"flink": 7, "app": 6}, "flink"),  # a label of something else
    ],
)
def test_the_group_shown_is_the_one_the_alerts_name_else_the_one_furthest_behind(
    named: Sequence[dict[str, str]], lag_records: dict[str, int | None], shown: str
) -> None:
    """Only groups of the pipeline are believed."""
    incident = fold(journal((0, e.ALERTMANAGER, OPENED)))
    assert incident is not None
    alerts = tuple(AlertState(f"f{n}", T0, "firing", labels, {}, T0) for n, labels in enumerate(named))
    assert shown == group_to_show(replace(incident, alerts=alerts), PIPELINE, lag_records)


def test_a_pipeline_without_groups_has_no_chart() -> None:
    incident = fold(journal((0, e.ALERTMANAGER, OPENED)))
    assert incident is not None
    assert group_to_show(incident, Pipeline("customers", "#c"), {}) is None
