"""Silencing: which alerts the matchers aim at, which plans are refused, and what an answer means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from bot.actions import silence_alerts as action
from bot.clients.alertmanager import HttpAlertmanager
from bot.clients.http import JsonHttp
from bot.incident.events import Who
from bot.incident.state import AlertState, Incident
from bot.model import Plan, Refusal, Severity
from bot.ports import Denied, LiveAlert, Matcher, Missing, PortError, Rejected, Unreachable

NOW = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
ANA = Who("slack:U1", "ana")


def alert(fingerprint: str, status: str = "firing", **labels: str) -> AlertState:
    return AlertState(fingerprint, NOW, status, labels, {}, NOW)


def incident(*alerts: AlertState, pipeline: str | None = "customers") -> Incident:
    return Incident(
        "INC-7", 3, "Lag", pipeline, Severity.WARNING, "key", "#cdc", "nonce", NOW, alerts=alerts,
    )  # fmt: skip


def live(fingerprint: str, state: str = "active", **labels: str) -> LiveAlert:
    return LiveAlert(fingerprint, labels, {}, NOW, None, state)


LAG = alert("f1", alertname="Lag", pipeline="customers", severity="warning", group="a")
DLQ = alert("f2", alertname="DeadLetters", pipeline="customers", severity="critical")
ENDED = alert("f3", "ended", alertname="Refusals", pipeline="customers")
BY_NAME = Matcher("alertname", "Lag")
BY_PIPELINE = Matcher("pipeline", "customers")


@pytest.mark.parametrize(
    ("expected", "of"),
    [
        ((BY_NAME, BY_PIPELINE), incident(LAG)),
        ((Matcher("alertname", "DeadLetters|Lag", is_regex=True), BY_PIPELINE), incident(LAG, DLQ)),
        ((BY_NAME, BY_PIPELINE), incident(LAG, ENDED)),  # what has ended needs no silence
        ((Matcher("alertname", "Refusals"), BY_PIPELINE), incident(ENDED)),
        ((BY_NAME, Matcher("group", "a"), BY_PIPELINE), incident(LAG, pipeline=None)),  # all but the severity
        ((BY_PIPELINE,), incident(LAG, DLQ, pipeline=None)),
        ((), incident()),
    ],
)
def test_matchers_name_the_alerts_and_the_pipeline(expected, of):
    """Never the pipeline alone where its alerts are known, never the severity, which changes."""
    assert expected == action.matchers_for(of)


@pytest.mark.parametrize(
    ("words", "hit", "matchers", "arguments"),
    [
        ("this incident has no alert to silence", [], (), {}),
        ("soon is not a number of minutes", [live("f1")], (BY_NAME,), {"minutes": "soon"}),
        ("0 minutes; a silence lasts 1 to 1440 minutes", [live("f1")], (BY_NAME,), {"minutes": 0}),
        ("1441 minutes", [live("f1")], (BY_NAME,), {"minutes": "1441"}),
        (
            "would also hide 1 alerts of other pipelines (Lag of orders)",
            [live("f1", pipeline="customers"), live("f9", alertname="Lag", pipeline="orders")],
            (BY_NAME,),
            {},
        ),
    ],
)
def test_a_silence_that_would_hide_too_much_or_nothing_is_refused(words, hit, matchers, arguments):
    """A silence over another team's alerts is the worst thing a tired person can do here."""
    refused = action.plan(incident(LAG), hit, matchers, ANA, arguments)

    assert isinstance(refused, Refusal)
    assert str(refused).startswith("Not planned: ")
    assert words in str(refused)


@pytest.mark.parametrize(
    ("minutes", "summary", "hit", "arguments"),
    [
        (60, "Silence 1 alert for 60 min", [live("f1", pipeline="customers")], {}),
        (1, "Silence 1 alert for 1 min", [live("f1")], {"minutes": "1"}),
        (1440, "Silence 0 alerts for 1440 min", [], {"minutes": 1440}),
        (60, "Silence 2 alerts for 60 min", [live("f1"), live("f9", alertname="Disk")], {}),
    ],
)
def test_the_plan_previews_what_is_hit_and_who_asks(minutes, summary, hit, arguments):
    """Owner and comment are never empty: Alertmanager would take them so."""
    planned = action.plan(incident(LAG), hit, (BY_NAME, BY_PIPELINE), ANA, arguments)

    assert isinstance(planned, Plan)
    assert (summary, minutes) == (planned.summary, planned.arguments["minutes"])
    assert 'POST /api/v2/silences with {alertname="Lag", pipeline="customers"}' == planned.steps[0]
    assert len(hit) + 1 == len(planned.steps)
    assert ("ana", "INC-7: silenced by ana through cdc-oncall") == (
        planned.arguments["created_by"],
        planned.arguments["comment"],
    )
    assert any("not in this incident" in line for line in planned.warnings) == (len(hit) == 2)
    json.dumps(dict(planned.arguments))


@dataclass
class Alertmanager:
    """Answers a silence's creation and its state with a word or an error; keeps what it was asked."""

    answer: str | PortError
    asked: list[tuple[object, ...]] = field(default_factory=list)
    external_url: str = ""

    def create_silence(self, *arguments: object) -> str:
        return self._answer(arguments)

    def read_silence(self, silence_id: str, deadline_s: float) -> str:
        return self._answer((silence_id, deadline_s))

    def read_alerts(self, matchers: Sequence[Matcher], deadline_s: float) -> tuple[LiveAlert, ...]: ...

    def _answer(self, arguments: tuple[object, ...]) -> str:
        self.asked.append(arguments)
        if isinstance(self.answer, PortError):
            raise self.answer
        return self.answer


PLAN = action.plan(incident(LAG), [live("f1")], (BY_NAME, BY_PIPELINE), ANA, {"minutes": 30})


@pytest.mark.parametrize(
    ("succeeded", "detail", "answer"),
    [
        (True, "silence s1 until 14:32:11Z", "s1"),
        (False, "Not silenced: answered 400: bad matcher", Rejected("answered 400: bad matcher")),
        (False, "Not silenced: answered 403", Denied("answered 403")),
        (False, "Not silenced: it is down; nothing was sent", Unreachable("it is down", sent=False)),
        (None, "The request was sent and no answer came: no answer within 8 s", Unreachable("no answer within 8 s")),
    ],
)
def test_an_outcome_is_unknown_only_when_the_request_may_have_been_carried_out(succeeded, detail, answer):
    """Asked once, always; the silence's id is the result that is looked at afterwards."""
    alertmanager = Alertmanager(answer)

    outcome = action.run(alertmanager, PLAN, NOW, 8)

    assert (succeeded, detail) == (outcome.succeeded, outcome.detail)
    assert ({"silence": "s1"} if succeeded else {}) == outcome.result
    assert [([BY_NAME, BY_PIPELINE], NOW, NOW + timedelta(minutes=30), "ana", PLAN.arguments["comment"], 8)] == (
        alertmanager.asked
    )


def test_an_alertmanager_that_is_down_is_a_failed_silence_not_an_unknown_one():
    """The real client on a port nobody listens on."""
    outcome = action.run(HttpAlertmanager(JsonHttp("http://127.0.0.1:1")), PLAN, NOW, 5)

    assert (False, {}) == (outcome.succeeded, outcome.result)
    assert (
        "Not silenced: POST http://127.0.0.1:1/api/v2/silences: refused the connection; nothing was sent"
        == outcome.detail
    )


@pytest.mark.parametrize(
    ("verified", "words", "answer"),
    [
        (True, "silence s1 is active", "active"),
        (None, "silence s1 is pending", "pending"),
        (False, "silence s1 is expired", "expired"),
        (False, "Alertmanager does not know silence s1", Missing("no silence s1")),
        (None, "could not see silence s1: down", Unreachable("down", sent=False)),
    ],
)
def test_a_silence_is_verified_when_it_is_seen_active(verified, words, answer):
    """The 200 of its creation is a claim."""
    verification = action.verify(Alertmanager(answer), "s1", 5)

    assert (verified, (words,)) == (verification.verified, verification.evidence)
