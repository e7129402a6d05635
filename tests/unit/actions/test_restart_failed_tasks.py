"""Restarting failed tasks: what is planned, what is refused, what an answer means, and what proves that it worked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from bot.actions import restart_failed_tasks as action
from bot.clients.connect import HttpConnect
from bot.clients.http import JsonHttp
from bot.model import Finding, Pipeline, Plan, Refusal, Status
from bot.ports import ConnectorState, Denied, Missing, PortError, Rejected, Unreachable

NOW = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
PIPELINE = Pipeline("customers", "#cdc")
REFUSED = "the registry refused a new schema of customers-value: field tier at /fields/3"


def found(*tasks: str, state: str = "RUNNING", kind: str = "sink", cause: str | None = "X: boom", delivered=None):
    """The connector probe's finding: one state per task."""
    words = (state, *tasks)
    status = Status.RED if "FAILED" in words else Status.GREEN if set(words) == {"RUNNING"} else Status.YELLOW
    return Finding(
        probe="connector_state",
        target="sink",
        verdict="FAILED" if status is Status.RED else state,
        status=status,
        headline="as it stands",
        at=NOW,
        facts={
            "type": kind,
            "state": state,
            "tasks": [
                {"task": number, "state": word, "cause": cause if word == "FAILED" else None}
                for number, word in enumerate(tasks)
            ],
            "delivered_total": delivered,
        },
    )


UNSEEN = Finding(
    "connector_state",
    "sink",
    "UNREACHABLE",
    Status.UNKNOWN,
    "sink: Kafka Connect did not answer",
    NOW,
    facts={"tasks": [], "state": None},
)


@pytest.mark.parametrize(
    ("summary", "tasks", "precondition", "finding"),
    [
        ("Restart task 1 of sink", [1], "at least one of task 1 is still FAILED", found("RUNNING", "FAILED")),
        (
            "Restart tasks 0, 2 of sink",
            [0, 2],
            "at least one of task 0, 2 is still FAILED",
            found("FAILED", "RUNNING", "FAILED"),
        ),
        (
            "Restart connector sink and its task 0",
            [0],
            "at least one of task 0 is still FAILED",
            found("FAILED", state="FAILED"),
        ),
        ("Restart connector sink", [], "sink is still FAILED", found(state="FAILED")),
        ("Restart task 0 of sink", [0], "at least one of task 0 is still FAILED", found("FAILED", state="PAUSED")),
    ],
)
def test_the_plan_names_exactly_what_is_failed(summary, tasks, precondition, finding):
    """Tasks that run are left alone, so they are not in the plan."""
    planned = action.plan(finding, PIPELINE)

    assert isinstance(planned, Plan)
    assert (summary, {"connector": "sink", "tasks": tasks}) == (planned.summary, planned.arguments)
    assert (precondition,) == planned.preconditions
    assert "POST /connectors/sink/restart?includeTasks=true&onlyFailed=true" == planned.steps[0]


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        ("sink has no FAILED task (task 0 RUNNING, task 1 RUNNING)", found("RUNNING", "RUNNING")),
        ("sink has no FAILED task (task 0 UNASSIGNED)", found("UNASSIGNED", state="UNASSIGNED")),
        ("sink has no FAILED task (STOPPED)", found(state="STOPPED")),
        ("sink: Kafka Connect did not answer", UNSEEN),
    ],
)
def test_nothing_failed_or_nothing_seen_is_refused_and_says_so(words, finding):
    """What was found, that nothing was changed, and where to look; the same words when it no longer holds."""
    refused = action.plan(finding, PIPELINE)

    assert isinstance(refused, Refusal)
    assert str(refused).startswith("Not planned: ")
    assert words in str(refused)
    assert "Nothing was changed." in str(refused)
    assert "`connector sink`" in refused.next_step
    assert str(refused).replace("Not planned", "Not restarted") == action.still_holds(finding)


@pytest.mark.parametrize("finding", [found("FAILED"), found("RUNNING", "FAILED"), found(state="FAILED")])
def test_a_precondition_that_holds_has_no_words(finding):
    """Execution asks again and goes on only on an empty answer."""
    assert "" == action.still_holds(finding)


@pytest.mark.parametrize(
    ("warnings", "finding", "pipeline"),
    [
        (("It failed with: X: boom. If that is not repaired, it fails again.",), found("FAILED", "FAILED"), PIPELINE),
        (
            (f"It failed with: {REFUSED}. If that is not repaired, it fails again.",),
            found("FAILED", cause=REFUSED),
            PIPELINE,
        ),
        ((), found("FAILED", cause=None), PIPELINE),
        (
            ("sink is managed by Strimzi: a restart is not reverted, but may come twice.",),
            found("FAILED", cause=None),
            replace(PIPELINE, managed_by="Strimzi"),
        ),
        (
            ("A source that is still in its initial snapshot begins it again at the first row.",),
            found("FAILED", kind="source", cause=None),
            PIPELINE,
        ),
    ],
)
def test_the_plan_warns_of_what_a_restart_does_not_cure(warnings, finding, pipeline):
    """Each distinct cause once, in the words of the finding."""
    assert warnings == action.plan(finding, pipeline).warnings


@dataclass
class Connect:
    """Answers a restart with a word or an error; keeps how often it was asked."""

    answer: str | PortError
    asked: int = 0

    def restart_failed(self, name: str, deadline_s: float) -> str:
        self.asked += 1
        if isinstance(self.answer, PortError):
            raise self.answer
        return self.answer

    def read_connector(self, name: str, deadline_s: float) -> ConnectorState: ...
    def read_connectors(self, deadline_s: float) -> tuple[ConnectorState, ...]: ...


PLAN = action.plan(found("FAILED"), PIPELINE)


@pytest.mark.parametrize(
    ("succeeded", "detail", "answer"),
    [
        (True, "Connect answered: accepted: sink RUNNING", "accepted: sink RUNNING"),
        (False, "Not restarted: answered 409: rebalance", Rejected("answered 409: rebalance")),
        (False, "Not restarted: no connector sink", Missing("no connector sink")),
        (False, "Not restarted: answered 403", Denied("answered 403")),
        (False, "Not restarted: it is down; nothing was sent", Unreachable("it is down", sent=False)),
        (None, "The request was sent and no answer came: no answer within 8 s", Unreachable("no answer within 8 s")),
        (None, "The request was sent and no answer came: odd", PortError("odd")),
    ],
)
def test_an_outcome_is_unknown_only_when_the_request_may_have_been_carried_out(succeeded, detail, answer):
    """Unknown is shown and never repeated, so a refused connection must not end there. Asked once, always."""
    connect = Connect(answer)

    outcome = action.run(connect, PLAN, 8)

    assert (succeeded, detail, 1) == (outcome.succeeded, outcome.detail, connect.asked)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://connect.invalid:8083", "nonsense"])
def test_a_connect_that_is_down_is_a_failed_restart_not_an_unknown_one(url):
    """The real client: refused, unknown host, unusable address."""
    outcome = action.run(HttpConnect(JsonHttp(url)), PLAN, 5)

    assert outcome.succeeded is False
    assert outcome.detail.startswith("Not restarted: POST ")
    assert outcome.detail.endswith("; nothing was sent")


BEFORE = found("FAILED", delivered=40)


@pytest.mark.parametrize(
    ("verified", "words", "before", "now", "green_before", "since_s"),
    [
        (None, "FAILED 11 s after the restart: X: boom", BEFORE, found("FAILED"), False, 11.4),  # maybe the old trace
        (False, "FAILED 12 s after the restart: X: boom", BEFORE, found("FAILED"), False, 12.0),
        (False, "FAILED 30 s after the restart: no trace", BEFORE, found("FAILED", cause=None), True, 30),
        (None, "as it stands", BEFORE, found("RESTARTING", delivered=50), True, 30),
        (None, "sink: Kafka Connect did not answer", BEFORE, UNSEEN, True, 30),
        (None, "RUNNING, seen once", BEFORE, found("RUNNING", delivered=50), False, 5),
        (None, "whether it delivers is not known", BEFORE, found("RUNNING"), True, 30),
        (None, "whether it delivers is not known", None, found("RUNNING", delivered=50), True, 30),
        (None, "whether it delivers is not known", found("FAILED"), found("RUNNING", delivered=50), True, 30),
        (None, "nothing delivered yet (40 as before)", BEFORE, found("RUNNING", delivered=40), True, 30),
        (True, "all tasks RUNNING, 1 record delivered since", BEFORE, found("RUNNING", delivered=41), True, 5),
    ],
)
def test_verified_means_running_twice_and_more_delivered_than_before(
    verified, words, before, now, green_before, since_s
):
    """RUNNING alone proves nothing, and a FAILED may show the old trace for a while."""
    verification = action.verify(before, now, green_before, since_s)

    assert verified is verification.verified
    assert words in verification.evidence[0]
