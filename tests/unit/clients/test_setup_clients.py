"""What setting up asks: Alertmanager's status, a test alert, Prometheus, and every server's clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from bot.clients.alertmanager import HttpAlertmanager
from bot.clients.bot import read_counter, read_page
from bot.clients.http import JsonHttp, clock_offset_s
from bot.clients.prometheus import HttpPrometheus
from bot.ports import Denied, ScrapeTarget, Unreachable

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
STATUS = "GET /api/v2/status"
BUILD, TARGETS = "GET /api/v1/status/buildinfo", "GET /api/v1/targets?state=active"
RULES, ALERTMANAGERS = "GET /api/v1/rules?type=alert", "GET /api/v1/alertmanagers"


@pytest.mark.parametrize(
    ("offset_s", "date"),
    [
        (0, "Mon, 23 Nov 2026 14:00:00 GMT"),
        (61, "Mon, 23 Nov 2026 14:01:01 GMT"),
        (-3600, "Mon, 23 Nov 2026 13:00:00 -0000"),
        (-3600, "Mon, 23 Nov 2026 14:00:00 +0100"),
        (None, "yesterday"),
        (None, ""),
        (None, None),
    ],
)
def test_a_servers_clock_is_read_from_its_date(offset_s: float | None, date: str | None) -> None:
    """The offset is theirs minus ours, in whole seconds; no readable date is no offset."""
    assert offset_s == clock_offset_s(date, AT)


@pytest.mark.parametrize("status", [200, 401, 500])
def test_an_answer_tells_the_clock_even_when_it_refuses(server, status):
    """A server that does not let us in shows its clock all the same."""
    server["GET /x"] = (status, {})
    http = JsonHttp(server.url, clock=lambda: datetime.now(UTC) - timedelta(seconds=100))
    assert None is http.clock_offset_s
    try:
        http.get("/x", 5)
    except (Denied, Unreachable):
        assert status != 200
    assert http.clock_offset_s == pytest.approx(100, abs=2)


def test_alertmanagers_status_is_its_version_and_config(server):
    """The configuration is the one in force, as text."""
    server[STATUS] = (200, {"versionInfo": {"version": "0.25.0"}, "config": {"original": "route: {}"}})
    status = HttpAlertmanager(JsonHttp(server.url)).read_status(5)
    assert ("0.25.0", "route: {}", None) == (status.version, status.config, status.clock_offset_s)


@pytest.mark.parametrize("body", [{}, [], {"versionInfo": {}}, {"versionInfo": {"version": "1"}, "config": None}])
def test_other_json_than_alertmanagers_is_unreachable(server, body):
    """Another API on the address is named as such."""
    server[STATUS] = (200, body)
    with pytest.raises(Unreachable, match="other JSON than Alertmanager's"):
        HttpAlertmanager(JsonHttp(server.url)).read_status(5)


def test_an_alert_is_handed_in_as_prometheus_does(server):
    """One alert with its labels, its start and its end."""
    server["POST /api/v2/alerts"] = (200, "")
    HttpAlertmanager(JsonHttp(server.url)).post_alert({"a": "1"}, {"summary": "s"}, AT, AT + timedelta(minutes=1), 5)
    [(_, _, body)] = server.asked
    assert [
        {
            "labels": {"a": "1"},
            "annotations": {"summary": "s"},
            "startsAt": "2026-11-23T14:00:00.000Z",
            "endsAt": "2026-11-23T14:01:00.000Z",
        }
    ] == json.loads(body)


def prometheus(server) -> HttpPrometheus:
    """A sound Prometheus; a test changes one answer."""
    server[BUILD] = (200, {"status": "success", "data": {"version": "2.42.0"}})
    target = {
        "scrapeUrl": "http://bot:8080/metrics",
        "labels": {"job": "cdc"},
        "health": "down",
        "lastError": "refused",
    }
    server[TARGETS] = (200, {"data": {"activeTargets": [target]}})
    rules = [{"name": "CDCProbeBlind", "type": "alerting"}, {"name": "sum", "type": "recording"}]
    server[RULES] = (200, {"data": {"groups": [{"rules": rules}, {"rules": []}]}})
    server[ALERTMANAGERS] = (200, {"data": {"activeAlertmanagers": [{"url": "http://am:9093/api/v2/alerts"}]}})
    return HttpPrometheus(JsonHttp(server.url))


def test_prometheus_tells_targets_rules_and_alertmanagers(server):
    """Recording rules are not alert rules."""
    status = prometheus(server).read_status(5)
    assert "2.42.0" == status.version
    assert (ScrapeTarget("http://bot:8080/metrics", "cdc", "down", "refused"),) == status.targets
    assert (("CDCProbeBlind",), ("http://am:9093/api/v2/alerts",)) == (status.rules, status.alertmanagers)
    assert () == status.not_known


@pytest.mark.parametrize(
    ("told", "loaded_at"),
    [
        ((200, {"data": {"lastConfigTime": "2026-11-23T14:00:00Z"}}), AT),
        ((200, {"data": {"lastConfigTime": "soon"}}), None),
        ((404, {}), None),
    ],
)
def test_a_prometheus_without_alertmanager_says_since_when(server, told, loaded_at):
    """When it loaded its configuration; where it does not say that nothing else is lost."""
    asked = prometheus(server)
    server[ALERTMANAGERS] = (200, {"data": {"activeAlertmanagers": []}})
    server["GET /api/v1/status/runtimeinfo"] = told
    status = asked.read_status(5)
    assert ((), loaded_at, ()) == (status.alertmanagers, status.loaded_at, status.not_known)


def test_a_prometheus_with_alertmanagers_is_not_asked_since_when(server):
    """One question less."""
    prometheus(server).read_status(5)
    assert not [line for line, _, _ in server.asked if "runtimeinfo" in line]


@pytest.mark.parametrize("answer", [(403, {}), (200, {"data": None}), (200, {"data": []}), (404, {})])
def test_what_prometheus_does_not_tell_is_none_with_a_reason(server, answer):
    """One question refused hides no other; "not told" is not "none"."""
    asked = prometheus(server)
    server[TARGETS] = answer
    status = asked.read_status(5)
    assert (None, ("CDCProbeBlind",)) == (status.targets, status.rules)
    assert 1 == len(status.not_known)
    assert "/api/v1/targets" in status.not_known[0]


def test_a_prometheus_that_refuses_everything_is_the_error(server):
    """Without a single answer there is no status."""
    for path in (BUILD, TARGETS, RULES, ALERTMANAGERS):
        server[path] = (401, {})
    with pytest.raises(Denied, match="401"):
        HttpPrometheus(JsonHttp(server.url)).read_status(5)


def test_nobody_there_is_asked_once():
    """A refused connection ends it: three more would only take the time."""
    with pytest.raises(Unreachable, match=r"buildinfo.*refused the connection"):
        HttpPrometheus(JsonHttp("http://127.0.0.1:1")).read_status(5)


def test_the_bots_own_page_is_read_whatever_its_status(server):
    """503 is an answer: it says what is wrong."""
    server["GET /healthz"] = (503, {"alive": False, "wrong": ["the inbox stands still"]})
    assert ["the inbox stands still"] == read_page(server.url, "/healthz", 5)["wrong"]


@pytest.mark.parametrize("body", ["<html>", "[]", ""])
def test_another_page_than_the_bots_is_named(server, body):
    """Something else may listen on the port."""
    server["GET /healthz"] = (200, body)
    with pytest.raises(Unreachable, match="not the bot's page"):
        read_page(server.url, "/healthz", 5)


def test_a_bot_that_is_not_there_is_named():
    """The address is in the words."""
    with pytest.raises(Unreachable, match=r"GET http://127.0.0.1:1/healthz: nobody answers"):
        read_page("http://127.0.0.1:1", "/healthz", 5)


def test_a_bot_that_does_not_answer_in_time_is_named(server):
    """One deadline."""
    server["GET /healthz"] = (200, {})
    server.delay_s = 1.0
    with pytest.raises(Unreachable, match=r"no answer within 0.2 s"):
        read_page(server.url, "/healthz", 0.2)


@pytest.mark.parametrize(
    ("page", "count"),
    [
        ('# TYPE cdc_w counter\ncdc_w_total{result="unauthorised"} 3.0\ncdc_w_total{result="stored"} 9.0\n', 3),
        ('cdc_w_total{result="stored"} 9.0\n', None),
        ("", None),
    ],
)
def test_a_counter_of_the_bot_is_read_off_its_page(server, page, count):
    """By its whole series; one that is not there is not 0."""
    server["GET /metrics"] = (200, page)
    assert count == read_counter(server.url, 'cdc_w_total{result="unauthorised"}', 5)


def test_a_bot_that_does_not_answer_has_no_counter():
    """Nobody there is the error."""
    with pytest.raises(Unreachable, match="nobody answers"):
        read_counter("http://127.0.0.1:1", "x", 5)
