"""What Alertmanager really does, on a real one: each test is a row of the design's table (section 3)."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest
import requests

from tests.system.alerts import alert, quick
from tests.system.parts import wait_until
from tests.system.walk import Json, OnCall, without_pipeline


@pytest.fixture(scope="module")
def oncall(new_oncall: Callable[..., OnCall]) -> OnCall:
    """A bot that knows no Kafka, with an Alertmanager that speaks every 2 s."""
    return new_oncall("alertmanager-rows", without_pipeline, quick)


def sent_to_webhook(oncall: OnCall, metric: str = "alertmanager_notifications_total") -> float:
    """Return a counter of Alertmanager's own for its webhooks."""
    lines = requests.get(f"{oncall.alertmanager.url}/metrics", timeout=5).text.splitlines()
    found = [line for line in lines if line.startswith(f"{metric}{{") and 'integration="webhook"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def incident_of(oncall: OnCall, pipeline: str, alerts: Mapping[str, int]) -> Json:
    """Wait until the pipeline's incident has so many alerts of each status."""

    def has_them(incident: Json) -> bool:
        statuses = [one["status"] for one in incident["alerts"]]
        return incident["pipeline"] == pipeline and dict(Counter(statuses)) == alerts

    return oncall.wait_for_incident(has_them, f"{pipeline} with {alerts}")


def test_a_silence_is_planned_run_and_seen_active(silenced: OnCall) -> None:
    """The guarded action's silence has owner and comment, hits this incident's alert alone, and repairs nothing."""
    [silence] = silenced.alertmanager.silences()
    assert "alice" == silence["createdBy"]
    assert "CDC-1" in silence["comment"]
    assert {("alertname", "LagHigh"), ("pipeline", "silenced")} == {
        (m["name"], m["value"]) for m in silence["matchers"]
    }
    states = {
        a["labels"]["pipeline"]: a["status"]["state"] for g in silenced.alertmanager.groups() for a in g["alerts"]
    }
    assert {"silenced": "suppressed", "heard": "active"} == states
    assert silence["id"] in silenced.channel.text("plan:")
    [incident] = [one for one in silenced.incidents() if one["pipeline"] == "silenced"]
    assert "acknowledged" == incident["status"], "silencing does not mitigate"


def test_an_unchanged_repeat_posts_nothing(oncall: OnCall) -> None:
    """Alertmanager repeats what still fires; nothing is added to the timeline and nothing is said again."""
    oncall.alertmanager.post_alerts(alert("repeated"))
    incident = incident_of(oncall, "repeated", {"firing": 1})
    before = oncall.incident(incident["id"])["timeline"]
    messages = [m for m in oncall.channel.messages() if m["thread_ts"] is None]

    sent = sent_to_webhook(oncall)
    wait_until(lambda: sent_to_webhook(oncall) > sent, "a repeat")
    assert before == oncall.incident(incident["id"])["timeline"]
    assert messages == [m for m in oncall.channel.messages() if m["thread_ts"] is None]


def test_a_partially_resolved_group_stays_open(oncall: OnCall) -> None:
    """The resolved alert comes once and then vanishes; the other one fires on, and the incident stays open."""
    oncall.alertmanager.post_alerts(alert("partial", partition="0"), alert("partial", partition="1"))
    incident = incident_of(oncall, "partial", {"firing": 2})

    oncall.alertmanager.post_alerts(alert("partial", datetime.now(UTC), partition="0"))
    incident_of(oncall, "partial", {"firing": 1, "resolved": 1})
    sent = sent_to_webhook(oncall)
    wait_until(lambda: sent_to_webhook(oncall) >= sent + 2, "later notifications, without the resolved alert")
    assert "open" == incident_of(oncall, "partial", {"firing": 1, "resolved": 1})["status"]
    oncall.channel.wait_for("event:", "LagHigh resolved", incident=incident["id"])


def test_a_cut_group_is_fetched_whole(oncall: OnCall) -> None:
    """With `max_alerts: 2` three of five alerts are hidden: the bot says so and takes them from Alertmanager's API."""
    oncall.alertmanager.post_alerts(*(alert("cutted", cut="yes", partition=str(number)) for number in range(5)))

    incident = incident_of(oncall, "cutted", {"firing": 5})
    assert "open" == incident["status"]
    oncall.channel.wait_for("card", "cutted", incident=incident["id"])
    sent = sent_to_webhook(oncall)
    wait_until(lambda: sent_to_webhook(oncall) >= sent + 4, "repeats of the cut list")
    told = [row["what"] for row in oncall.incident(incident["id"])["timeline"]]
    assert 1 == len([what for what in told if "3 more alerts of the group were not shown" in what])
    incident_of(oncall, "cutted", {"firing": 5})

    oncall.alertmanager.post_alerts(
        *(alert("cutted", datetime.now(UTC), cut="yes", partition=str(number)) for number in (0, 1))
    )
    still = incident_of(oncall, "cutted", {"firing": 3, "resolved": 2})
    assert "open" == still["status"], "the two that are shown have resolved: the payload itself said resolved"


def test_a_wrong_token_is_told_and_the_alert_comes_with_the_right_one(oncall: OnCall) -> None:
    """Alertmanager gets 401 and gives up until its next interval; /healthz names it; nothing is lost."""
    oncall.alertmanager.reload(quick(f"{oncall.url}/alertmanager", "not-the-token"))
    failed = sent_to_webhook(oncall, "alertmanager_notifications_failed_total")
    oncall.alertmanager.post_alerts(alert("refused"))
    wait_until(
        lambda: sent_to_webhook(oncall, "alertmanager_notifications_failed_total") > failed, "a notification refused"
    )
    health = requests.get(f"{oncall.url}/healthz", timeout=5)
    assert 200 == health.status_code
    assert "wrong token" in health.text
    assert "refused" not in {incident["pipeline"] for incident in oncall.incidents()}

    oncall.alertmanager.reload(quick(f"{oncall.url}/alertmanager", oncall.token))
    incident_of(oncall, "refused", {"firing": 1})


def test_what_fires_while_the_bot_is_down_comes_when_it_is_up(oncall: OnCall) -> None:
    """Alertmanager tries again while nobody answers; the bot goes on with its old incidents and has the new one."""
    known = {incident["id"] for incident in oncall.incidents()}
    oncall.bot.stop()
    tried = sent_to_webhook(oncall, "alertmanager_notification_requests_failed_total")
    oncall.alertmanager.post_alerts(alert("missed"))
    wait_until(
        lambda: sent_to_webhook(oncall, "alertmanager_notification_requests_failed_total") > tried, "a refused post"
    )

    oncall.bot.start()
    incident_of(oncall, "missed", {"firing": 1})
    assert known < {incident["id"] for incident in oncall.incidents()}
