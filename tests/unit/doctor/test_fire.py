"""`cdc doctor --fire`: whom it would reach, and how far it came; time is given, nothing waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from bot.doctor.alertmanager import Address, webhook_checks
from bot.doctor.fire import FirePlan, Seen, Step, follow, marked_alert, plan
from bot.ports import AlertmanagerStatus, Rejected
from bot.slo.route import parse_routing

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
ADDRESS = Address("cdc-oncall", 8080)
ALERT = marked_alert("abcd1234", "alice", {"team": "data"})
OURS = {
    "name": "cdc-oncall",
    "webhook_configs": [{"url": "http://b:8080/alertmanager", "http_config": {"authorization": {"credentials": "x"}}}],
}
PAGER = {"name": "pager", "pagerduty_configs": [{"routing_key": "x"}]}
CDC = {"receiver": "cdc-oncall", "matchers": ['alertname=~"CDC.+"'], "group_wait": "2s", "group_interval": "1m"}


def test_the_alert_is_marked_and_joins_nothing() -> None:
    """It has a pipeline of its own, mentions nobody, says who sent it, and passes routes that want more labels."""
    assert {
        "alertname": "CDCOncallTest",
        "severity": "info",
        "pipeline": "cdc-test-abcd1234",
        "cdc_test": "abcd1234",
        "team": "data",
    } == ALERT.labels
    assert "Test alert by alice from cdc doctor: nothing is wrong" == ALERT.annotations["summary"]


def planned(route: dict[str, Any], *receivers: dict[str, Any]) -> FirePlan:
    routing = parse_routing(yaml.safe_dump({"route": route, "receivers": list(receivers or (OURS, PAGER))}))
    return plan(routing, ADDRESS, ALERT, webhook_checks(routing, ADDRESS))


@pytest.mark.parametrize(
    ("route", "others", "waits"),
    [
        ({"receiver": "cdc-oncall"}, (), (30.0, 300.0)),
        ({"receiver": "pager", "routes": [CDC]}, (), (2.0, 60.0)),
        ({"receiver": "pager", "routes": [{**CDC, "continue": True}, {"receiver": "pager"}]}, ("pager",), (2.0, 60.0)),
        ({"receiver": "pager", "routes": [{"receiver": "pager", "continue": True}, CDC]}, ("pager",), (2.0, 60.0)),
    ],
)
def test_it_is_known_who_else_would_be_told(
    route: dict[str, Any], others: tuple[str, ...], waits: tuple[float, float]
) -> None:
    """A pager that would ring is named before anything is sent; the waits are those of the bot's route."""
    found = planned(route)
    assert (None, others, waits) == (found.refusal, found.others, (found.group_wait_s, found.group_interval_s))


def test_a_pager_in_the_bots_own_receiver_would_ring_too() -> None:
    """A receiver tells all that it holds."""
    both = {**OURS, "pagerduty_configs": [{"routing_key": "x"}]}
    assert ("cdc-oncall (pagerduty)",) == planned({"receiver": "cdc-oncall"}, both).others


@pytest.mark.parametrize(
    ("route", "receivers", "why"),
    [
        ({"receiver": "pager"}, (OURS, PAGER), 'alertname="CDCOncallTest"'),
        ({"receiver": "pager"}, (PAGER,), "no receiver posts to the bot"),
        (
            {"receiver": "cdc-oncall"},
            ({"name": "cdc-oncall", "webhook_configs": [{"url": "http://b:8080/alerts"}]},),
            "where the bot answers 404",
        ),
    ],
)
def test_what_would_not_arrive_is_not_sent(
    route: dict[str, Any], receivers: Sequence[dict[str, Any]], why: str
) -> None:
    """It says what is wrong and what to write."""
    refusal = planned(route, *receivers).refusal
    assert refusal is not None
    assert why in refusal[0]
    assert refusal[1]


# --- the way ---------------------------------------------------------------------------------------


@dataclass
class World:
    """Alertmanager, journal and clock of one run: what shows after how many seconds, and what was posted."""

    shows: Mapping[str, float] = field(default_factory=dict)
    refuses_at: int | None = None
    now: datetime = AT
    posted: list[tuple[float, float]] = field(default_factory=list)

    def read_status(self, deadline_s: float) -> AlertmanagerStatus:
        raise NotImplementedError

    def post_alert(
        self, labels: Mapping[str, str], annotations: Mapping[str, str], starts_at: datetime, ends_at: datetime,
        deadline_s: float,
    ) -> None:  # fmt: skip
        if len(self.posted) == self.refuses_at:
            raise Rejected("POST /api/v2/alerts: answered 400")
        self.posted.append((self.seconds, (ends_at - self.now).total_seconds()))

    @property
    def seconds(self) -> float:
        return (self.now - AT).total_seconds()

    def look(self) -> Seen:
        there = {name for name, after_s in self.shows.items() if self.seconds >= after_s}
        ended = len(self.posted) > 1 and "resolved" in there
        return Seen(
            AT if "webhook" in there else None,
            "CDC-7" if "incident" in there else None,
            ("resolved" if ended else "open") if "incident" in there else None,
            "https://slack/card" if "card" in there else None,
        )

    def pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def run(self, has_chat: bool = True) -> list[Step]:
        route = FirePlan(("cdc-oncall",), (), 2.0, 5.0)
        return list(
            follow(
                self, ALERT, route, self.look, lambda: "it is suppressed by a silence", has_chat, lambda: self.now,
                self.pause,
            )
        )  # fmt: skip


def test_the_whole_way_is_told_step_by_step() -> None:
    """Each step with the seconds it took; the end is sent once the card is there."""
    world = World({"webhook": 2, "incident": 3, "card": 4, "resolved": 9})
    steps = world.run()
    assert [
        (True, "accepted by Alertmanager (receivers cdc-oncall)", 0.0),
        (True, "webhook stored by the bot", 2.0),
        (True, "incident CDC-7 opened", 3.0),
        (True, "card posted in Slack: https://slack/card", 4.0),
        (True, "its end sent to Alertmanager", 4.0),
        (True, "incident CDC-7 resolved: its alert ended, and it has nothing to prove", 9.0),
    ] == [(step.came, step.what, step.after_s) for step in steps]
    [(_, first_end_s), (_, second_end_s)] = world.posted
    assert first_end_s > 2 + 5
    assert 0 == second_end_s


@pytest.mark.parametrize(
    ("shows", "what", "after_s"),
    [
        ({}, "no webhook after 2 s (group_wait) and 60 s: it is suppressed by a silence", 62.0),
        ({"webhook": 2}, "no incident after 30 s", 32.0),
        ({"webhook": 2, "incident": 2}, "no card in Slack after 60 s", 62.0),
        (
            {"webhook": 2, "incident": 2, "card": 2},
            "incident CDC-7 is open after 5 s (group_interval) and 60 s",
            67.0,
        ),
    ],
)
def test_a_step_that_does_not_come_ends_it_with_what_to_look_at(
    shows: Mapping[str, float], what: str, after_s: float
) -> None:
    """The alert is ended all the same: nothing that was sent fires on."""
    world = World(shows)
    *_, last = world.run()
    assert (False, after_s) == (last.came, last.after_s)
    assert what in last.what
    assert last.remedy
    assert 2 == len(world.posted)
    assert 0 == world.posted[-1][1]


def test_without_slack_there_is_no_card_to_wait_for() -> None:
    """A bot that speaks in the terminal only is sound."""
    steps = World({"webhook": 1, "incident": 1, "resolved": 3}).run(has_chat=False)
    assert all(step.came for step in steps)
    assert "no card: cdc.yml has no slack section" in [step.what for step in steps]


@pytest.mark.parametrize(("refuses_at", "steps"), [(0, [False]), (1, [True, True, True, True, False])])
def test_an_alertmanager_that_refuses_is_told(refuses_at: int, steps: list[bool]) -> None:
    """The alert, or its end."""
    world = World({"webhook": 0, "incident": 0, "card": 0}, refuses_at)
    assert steps == [step.came for step in world.run()]


def test_who_interrupts_leaves_nothing_that_fires() -> None:
    """Ctrl-C in the middle ends the alert."""
    world = World({"webhook": 2})
    steps = follow(
        world, ALERT, FirePlan(("cdc-oncall",)), world.look, str, True, lambda: world.now, world.pause
    )  # fmt: skip
    next(steps)
    steps.close()
    assert 2 == len(world.posted)
