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
from bot.ports import AlertmanagerStatus, Unreachable
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
CDC["group_by"] = ["pipeline"]


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
        ({"receiver": "cdc-oncall", "group_by": ["..."]}, (), (30.0, 300.0)),
        ({"receiver": "cdc-oncall", "group_by": ["cdc_test"]}, (), (30.0, 300.0)),
        ({"receiver": "cdc-oncall"}, (), (300.0, 300.0)),  # the one group of all may stand already
        ({"receiver": "cdc-oncall", "group_by": ["alertname"]}, (), (300.0, 300.0)),
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
    assert (None, others, waits) == (found.refusal, found.others, (found.first_s, found.group_interval_s))


def test_of_two_hidden_webhooks_one_is_somebody_elses() -> None:
    """Alertmanager 0.26 and newer hide addresses: two that look the same are still two."""
    hidden = {"url": "<secret>", "http_config": {"authorization": {"credentials": "<secret>"}}}
    found = planned({"receiver": "cdc-oncall"}, {"name": "cdc-oncall", "webhook_configs": [hidden, dict(hidden)]})
    assert ("cdc-oncall (webhook)",) == found.others


@pytest.mark.parametrize(("first", "second"), [("cdc-oncall", "prod-bot"), ("prod-bot", "cdc-oncall")])
def test_a_bot_on_another_host_is_not_this_one(first: str, second: str) -> None:
    """Path and port are the same everywhere: a test here must not open an incident there unasked."""
    receivers = [
        {"name": name, "webhook_configs": [{**OURS["webhook_configs"][0], "url": f"http://{name}:8080/alertmanager"}]}
        for name in (first, second)
    ]
    routes = [{"receiver": first, "continue": True}, {"receiver": second}]
    assert ("prod-bot",) == planned({"receiver": first, "routes": routes}, *receivers).others


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
    refusal: Unreachable = field(default_factory=lambda: Unreachable("POST /api/v2/alerts: refused", sent=False))
    refusals: Mapping[float, int | None] = field(default_factory=dict)
    card_error: str = ""
    now: datetime = AT
    posted: list[tuple[float, float]] = field(default_factory=list)

    def read_status(self, deadline_s: float) -> AlertmanagerStatus:
        raise NotImplementedError

    def post_alert(
        self, labels: Mapping[str, str], annotations: Mapping[str, str], starts_at: datetime, ends_at: datetime,
        deadline_s: float,
    ) -> None:  # fmt: skip
        if len(self.posted) == self.refuses_at:
            if self.refusal.sent:
                self.posted.append((self.seconds, (ends_at - self.now).total_seconds()))
            self.refuses_at = None
            raise self.refusal
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
            self.card_error if "incident" in there else "",
        )

    def refused(self) -> int | None:
        """The newest count that the bot has told; 7 before the start."""
        return next((count for at, count in sorted(self.refusals.items(), reverse=True) if self.seconds >= at), 7)

    def pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def run(self, has_chat: bool = True) -> list[Step]:
        route = FirePlan(("cdc-oncall",), (), 2.0, 5.0, receiver="cdc-oncall")
        return list(
            follow(
                self, ALERT, route, self.look, self.refused, lambda: ("a silence suppresses it", "Expire it."),
                has_chat, lambda: self.now, self.pause,
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


@pytest.mark.parametrize(("sent", "posts"), [(False, 0), (True, 2)])
def test_a_post_that_may_have_been_taken_is_ended(sent: bool, posts: int) -> None:
    """No answer came: the alert may fire. A connection that was refused took nothing."""
    world = World(refuses_at=0, refusal=Unreachable("POST /api/v2/alerts: no answer", sent=sent))
    [step] = world.run()
    assert (False, posts) == (step.came, len(world.posted))
    assert not sent or 0 == world.posted[-1][1]


ENDED = "the end of the test alert was sent to Alertmanager; "


@pytest.mark.parametrize(
    ("shows", "what", "after_s", "left"),
    [
        (
            {},
            "a silence suppresses it: no webhook after the 2 s of the group and 60 s",
            62.0,
            "a test incident that comes",
        ),
        ({"webhook": 2}, "the bot took the webhook in and does not go on: no incident after 30 s", 32.0, "a test inci"),
        (
            {"webhook": 2, "incident": 2},
            "the bot has not tried to post the card: CDC-7 is in the journal, and has no card after 62 s",
            62.0,
            "incident CDC-7 ends by itself",
        ),
    ],
)
def test_a_step_that_does_not_come_ends_it_with_what_to_look_at(
    shows: Mapping[str, float], what: str, after_s: float, left: str
) -> None:
    """The cause first; the alert is ended all the same, and the last line says what is left of it."""
    world = World(shows)
    *_, step, last = world.run()
    assert (False, what, after_s) == (step.came, step.what, step.after_s)
    assert step.remedy
    assert last.came
    assert last.what.startswith(ENDED + left)
    assert 2 == len(world.posted)
    assert 0 == world.posted[-1][1]


def test_an_incident_that_does_not_end_is_to_be_closed() -> None:
    """The end was sent before that."""
    *_, last = World({"webhook": 2, "incident": 2, "card": 2}).run()
    assert (False, 67.0) == (last.came, last.after_s)
    assert "incident CDC-7 is open after 5 s (group_interval) and 60 s" in last.what
    assert "cdc resolve CDC-7" in last.remedy


@pytest.mark.parametrize(
    ("refusals", "shows", "is_said", "after_s"),
    [
        ({4: 8}, {}, True, 6.0),  # asked every 3 s
        ({0.5: 7}, {}, False, 62.0),  # what was refused before is another's
        ({0.5: 0}, {}, False, 62.0),  # the bot was started anew
        ({0: None, 1: 8}, {}, False, 62.0),  # how many there were before is not known
        ({4: None}, {}, False, 62.0),
        ({61.5: 8}, {}, True, 62.0),  # asked once more at the end
    ],
)
def test_a_token_the_bot_does_not_know_is_said_at_once(
    refusals: Mapping[float, int | None], shows: Mapping[str, float], is_said: bool, after_s: float
) -> None:
    """The bot counts what it refuses: one more since the start is this alert, and nothing more is waited for."""
    *_, step, _ = World(shows, refusals=refusals).run()
    assert (False, after_s) == (step.came, step.after_s)
    assert is_said == step.what.startswith("Alertmanager sends a token the bot does not know")
    assert is_said == ("http_config.authorization.credentials" in step.remedy)
    assert is_said == ("receiver cdc-oncall" in step.remedy)


@pytest.mark.parametrize(
    ("error", "what", "remedy", "after_s"),
    [
        ("channel_not_found", "Slack refuses the card (channel_not_found)", "Correct slack.channel in cdc.yml", 2.0),
        ("invalid_auth", "Slack refuses the card (invalid_auth)", "Copy the Bot User OAuth Token", 2.0),
        ("something_new", "Slack refuses the card (something_new)", "Look `something_new` up", 2.0),
        ("ratelimited", "Slack refuses the card (ratelimited)", "Wait a minute", 62.0),  # may be over at the next try
        ("unreachable", "the bot does not reach Slack (unreachable)", "slack.com on port 443", 62.0),
        ("http_503", "Slack refuses the card (http_503)", "Look `http_503` up", 62.0),
    ],
)
def test_a_card_that_slack_refuses_is_said_at_once(error: str, what: str, remedy: str, after_s: float) -> None:
    """With Slack's word first and the remedy for it; what may pass is waited for."""
    *_, step, last = World({"webhook": 2, "incident": 2}, card_error=error).run()
    assert (False, after_s) == (step.came, step.after_s)
    assert step.what.startswith(f"{what}: CDC-7 is in the journal")
    assert remedy in step.remedy
    assert ENDED + "incident CDC-7 ends by itself" == last.what


def test_an_end_that_cannot_be_sent_is_said() -> None:
    """The alert was sent with an end, so nothing is to be done."""
    *_, step, last = World({}, refuses_at=1).run()
    assert not step.came
    assert not last.came
    assert "could not be sent: POST /api/v2/alerts: refused; a test incident that comes" in last.what


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
        world, ALERT, FirePlan(("cdc-oncall",)), world.look, world.refused, lambda: ("", ""), True, lambda: world.now,
        world.pause,
    )  # fmt: skip
    next(steps)
    steps.close()
    assert 2 == len(world.posted)
