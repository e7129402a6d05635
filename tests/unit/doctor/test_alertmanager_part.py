"""`cdc doctor`, Alertmanager: one table row per line, each edge from both sides."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from bot.doctor.alertmanager import Address, AlertmanagerFacts, History, gather, judge
from bot.doctor.check import Check
from bot.model import Pipeline, Severity
from bot.ports import AlertmanagerStatus, Denied, PortError, Unreachable

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
ADDRESS = Address("cdc-oncall", 8080)
ALERTS = (("CDCConsumerLagCritical", Severity.CRITICAL), ("CDCDeadLettersGrowing", Severity.WARNING))
PIPELINES = (Pipeline("customers", "#c"), Pipeline("orders", "#c"))
URL = "http://bot:8080/alertmanager"
WEBHOOK: dict[str, Any] = {"url": URL, "http_config": {"authorization": {"credentials": "<secret>"}}}
PAGER = {"name": "pager", "pagerduty_configs": [{"routing_key": "<secret>"}]}


def config(routes: Sequence[dict[str, Any]] = (), webhook: dict[str, Any] | None = None, **more: Any) -> str:
    """An alertmanager.yml whose root is somebody's pager; without routes its root is the bot."""
    root = {"receiver": "pager", "routes": list(routes)} if routes else {"receiver": "cdc-oncall"}
    receivers = [{"name": "cdc-oncall", "webhook_configs": [WEBHOOK if webhook is None else webhook]}, PAGER]
    return yaml.safe_dump({"route": root, "receivers": receivers, **more})


def lines(
    text: str, address: Address = ADDRESS, last: datetime | None = NOW, pipelines: Sequence[Pipeline] = PIPELINES,
    alerts: Sequence[tuple[str, Severity]] = ALERTS,
) -> tuple[Check, ...]:  # fmt: skip
    facts = AlertmanagerFacts("http://am:9093", AlertmanagerStatus("0.25.0", text))
    return judge(facts, address, History(NOW, last), pipelines, alerts)


def told(checks: Sequence[Check], status: str) -> list[str]:
    return [check.what for check in checks if check.status == status]


def test_a_sound_route_has_no_warning() -> None:
    """Address, credentials, resolves, routes, the last webhook: all said, all ok."""
    checks = lines(config())
    assert [
        "Alertmanager 0.25.0 answers at http://am:9093",
        f"receiver cdc-oncall posts to {URL}, with credentials, resolves too",
        "the bot's alerts of customers, orders reach it and nobody else",
        "last webhook 0 s ago",
    ] == told(checks, "ok")
    assert 4 == len(checks)


@pytest.mark.parametrize(
    ("changed", "status", "what"),
    [
        ({"send_resolved": False}, "failed", "send_resolved: false"),
        ({"send_resolved": True}, "ok", "resolves too"),
        ({"http_config": {}}, "failed", "sends no credentials: the bot answers 401"),
        ({"http_config": {"basic_auth": {"username": "a"}}}, "ok", "with credentials"),
        ({"max_alerts": 5}, "warning", "max_alerts: 5"),
        ({"max_alerts": 0}, "ok", "with credentials"),
        ({"url": "http://bot:8080/alerts"}, "failed", "posts to http://bot:8080/alerts, where the bot answers 404"),
        ({"url": "http://bot:8080"}, "failed", "where the bot answers 404"),
        ({"url": "http://bot:8080/alertmanager/"}, "ok", "with credentials"),
        ({"url": "http://bot/alertmanager"}, "warning", "and the bot listens on port 8080"),
        ({"url": "<secret>"}, "ok", "its address is hidden"),
    ],
)
def test_a_receiver_line_says_what_is_wrong(changed: dict[str, Any], status: str, what: str) -> None:
    """The receiver named in cdc.yml, with one thing about it changed."""
    checks = lines(config(webhook={**WEBHOOK, **changed}))
    found = [check for check in checks if check.what.startswith("receiver cdc-oncall")]
    assert [status] == [check.status for check in found]
    assert what in found[0].what
    assert bool(found[0].remedy) is (status != "ok")


@pytest.mark.parametrize(
    ("webhook", "status"), [("http://bot:8080/alertmanager", "ok"), ("http://other:8080/alertmanager", "failed")]
)
def test_the_address_of_cdc_yml_is_compared(webhook: str, status: str) -> None:
    """`alertmanager.webhook` is how Alertmanager reaches the bot: nothing else will do then."""
    checks = lines(config(), Address("cdc-oncall", 8080, webhook))
    assert status == next(check.status for check in checks if check.what.startswith("receiver"))


def test_a_receiver_is_found_by_its_address_whatever_its_name() -> None:
    """The name in cdc.yml counts only where the address is not shown."""
    checks = lines(config(), Address("another-name", 8080))
    assert [] == [check for check in checks if check.status != "ok"]


@pytest.mark.parametrize(
    ("receivers", "what"),
    [
        ([PAGER], "no receiver posts to the bot: there is none named cdc-oncall"),
        ([PAGER, {"name": "cdc-oncall"}], "receiver cdc-oncall has no webhook_configs"),
        (
            [PAGER, {"name": "hook", "webhook_configs": [{"url": "http://bot:8080/alerts"}]}],
            "receiver hook (http://bot:8080/alerts) posts to the bot's port",
        ),
    ],
)
def test_without_a_receiver_it_says_what_to_write(receivers: list[dict[str, Any]], what: str) -> None:
    """The remedy holds the address and asks for a reload."""
    [_, line] = lines(yaml.safe_dump({"route": {"receiver": "pager"}, "receivers": receivers}))
    assert "failed" == line.status
    assert what in line.what
    assert "/alertmanager" in line.remedy
    assert "reload Alertmanager" in line.remedy


CDC_ONLY = {"receiver": "cdc-oncall", "matchers": ['alertname=~"CDC.+"']}
TEAM = {"receiver": "cdc-oncall", "matchers": ['team="data"']}


@pytest.mark.parametrize(
    ("routes", "status", "what"),
    [
        ([{"receiver": "pager"}], "failed", "no route leads to receiver cdc-oncall"),
        ([CDC_ONLY], "ok", "the bot's alerts of customers, orders reach it and nobody else"),
        ([{**CDC_ONLY, "continue": True}], "ok", "of customers, orders reach it and nobody else"),
        (
            [{**CDC_ONLY, "continue": True}, {"receiver": "pager"}],
            "ok",
            "of customers, orders reach it; besides: pager",
        ),
        (
            [{"receiver": "cdc-oncall", "matchers": ['severity="critical"']}],
            "failed",
            "CDCDeadLettersGrowing of customers, orders do not reach it: they go to pager",
        ),
        (
            [{"receiver": "cdc-oncall", "matchers": ['pipeline="orders"']}],
            "failed",
            "none of the bot's alerts of customers reaches it: they go to pager",
        ),
        ([{"receiver": "pager"}, CDC_ONLY], "failed", "none of the bot's alerts of customers, orders reaches it"),
        ([{"receiver": "cdc-oncall", "matchers": [r'alertname=~"("']}], "warning", "is not known: `alertname=~"),
        (
            [{"receiver": "cdc-oncall", "matchers": ['alertname=~"CDC.+"', 'env="prod"']}],
            "warning",
            'none of the bot\'s alerts of customers, orders reaches it without env="prod", which its rules do not set',
        ),
        (
            [{"receiver": "cdc-oncall", "matchers": ['alertname="Other"', 'env="prod"']}],
            "failed",
            "none of the bot's alerts of customers, orders reaches it: they go to pager",
        ),
    ],
)
def test_the_bots_own_alerts_are_followed_through_the_routes(
    routes: list[dict[str, Any]], status: str, what: str
) -> None:
    """What reaches the bot, what does not, and whom else it reaches; a matcher that cannot be read is no answer."""
    found = [check for check in lines(config(routes)) if what in check.what]
    assert [status] == [check.status for check in found]


@pytest.mark.parametrize(
    ("routes", "missed"),
    [
        ([{**TEAM, "continue": True}, {"receiver": "pager"}], None),
        ([CDC_ONLY], None),  # only the bot's own alerts: nobody got them before
        ([TEAM], 'pager no longer gets alerts with team="data"'),
        ([{**TEAM, "continue": True}], "pager no longer gets"),  # it goes on to the next routes, not to the root
        ([{"receiver": "cdc-oncall", "match_re": {"team": "data|web"}}], 'alerts with team="data"'),
        ([{"receiver": "cdc-oncall", "match_re": {"team": "d.*"}}], None),  # none can be thought of
        ([{"receiver": "cdc-oncall"}], "pager no longer gets alerts"),
        ([{"receiver": "pager", "continue": True}, TEAM], None),  # the pager has it already
        (
            [{"receiver": "pager", "routes": [{"receiver": "cdc-oncall", "matchers": ['env="prod"']}]}],
            'alerts with env="prod"',
        ),
    ],
)
def test_a_route_that_takes_alerts_from_others_is_named(routes: list[dict[str, Any]], missed: str | None) -> None:
    """The bot leaves the pager alone: what it got before, it gets."""
    found = [check for check in lines(config(routes), alerts=()) if "keeps what it sends" in check.what]
    assert (missed is not None) is bool(found)
    if missed is not None:
        assert missed in found[0].what
        assert found[0].remedy.startswith("Write `")


@pytest.mark.parametrize(
    ("routes", "remedy"),
    [
        (
            [TEAM],
            "Write `continue: true` on route.routes[0], and `- {receiver: pager}` as the last route beside it, "
            "and reload Alertmanager.",
        ),
        ([TEAM, {"receiver": "pager"}], "Write `continue: true` on route.routes[0], and reload Alertmanager."),
        (
            [{**TEAM, "continue": True}],
            "Write `- {receiver: pager}` as the last route beside it, and reload Alertmanager.",
        ),
    ],
)
def test_the_remedy_gives_back_what_was_taken(routes: list[dict[str, Any]], remedy: str) -> None:
    """Alertmanager falls back to the parent's receiver only where no route below it matched."""
    assert [remedy] == [check.remedy for check in lines(config(routes), alerts=()) if "keeps what" in check.what]


def test_a_route_that_rests_at_night_is_named() -> None:
    """Incidents would be missed then."""
    checks = lines(config([{**CDC_ONLY, "mute_time_intervals": ["night"]}]))
    assert ["route.routes[0], which leads to the bot, is muted at certain times"] == told(checks, "warning")


def test_rules_that_run_nowhere_are_not_followed() -> None:
    """Where Prometheus runs none of the bot's rules, none of its alerts can be lost."""
    checks = lines(config([{**TEAM, "continue": True}, {"receiver": "pager"}]), alerts=())
    assert [] == [check for check in checks if check.status != "ok"]


@pytest.mark.parametrize(
    ("webhook", "last", "status", "what"),
    [
        (WEBHOOK, None, "ok", "no webhook has come yet"),
        ({**WEBHOOK, "url": "<secret>"}, None, "warning", "Alertmanager hides the address"),
        ({**WEBHOOK, "url": "<secret>"}, NOW - timedelta(seconds=89), "ok", "last webhook 89 s ago"),
        (WEBHOOK, NOW - timedelta(seconds=180), "ok", "last webhook 3 min ago"),
        (WEBHOOK, NOW - timedelta(hours=5), "ok", "last webhook 5 h ago"),
        (WEBHOOK, NOW - timedelta(days=3), "ok", "last webhook 3 days ago"),
    ],
)
def test_a_webhook_that_came_is_the_proof(
    webhook: dict[str, Any], last: datetime | None, status: str, what: str
) -> None:
    """A hidden address is believed once something came through it."""
    *_, line = lines(config(webhook=webhook), last=last)
    assert status == line.status
    assert what in line.what


@pytest.mark.parametrize(
    ("text", "what"),
    [("route: [", "cannot be read (not YAML"), ("receivers: []", "cannot be read (it has no `route`)")],
)
def test_a_config_that_cannot_be_read_is_not_known(text: str, what: str) -> None:
    """A proxy that answers something else makes a warning, not a verdict."""
    [_, line] = lines(text)
    assert "warning" == line.status
    assert what in line.what


class Refusing:
    def __init__(self, error: PortError) -> None:
        self.error = error

    def read_status(self, deadline_s: float) -> AlertmanagerStatus:
        raise self.error

    def post_alert(self, *_: object) -> None:
        raise AssertionError("doctor sends nothing")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (Denied("GET http://am:9093/api/v2/status: answered 401, the credentials are missing"), "alertmanager: {auth"),
        (Unreachable("GET http://am:9093/api/v2/status: refused the connection"), "alertmanager: {url"),
    ],
)
def test_an_alertmanager_that_does_not_answer_is_one_line(error: PortError, remedy: str) -> None:
    """Why, and where to write the login or the address."""
    facts = gather(Refusing(error), "http://am:9093", 1.0)
    [line] = judge(facts, ADDRESS, History(NOW), PIPELINES, ALERTS)
    assert ("failed", str(error)) == (line.status, line.what)
    assert remedy in line.remedy
