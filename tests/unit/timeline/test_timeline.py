"""The timeline: every event in plain words, with the facts behind it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import pytest

from bot.incident import events as e
from bot.incident.runbook import Step
from bot.incident.timeline import Row, duration, rfc3339, row, timeline
from bot.model import Finding, Plan, Severity, Signal, Status

AT = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
ALICE = e.Who("slack:U1", "alice")
BOB = e.Who("slack:U2", "bob")

OPENED = e.IncidentOpened(
    "customers-source failed",
    "customers",
    Severity.CRITICAL,
    "pipeline:customers",
    "#cdc",
    "n",
    None,
    "0.1.0",
    "c0ffee",
)
RUNBOOK = e.RunbookAttached(
    "connector-failed",
    "Connector failed",
    "abc123",
    (
        Step("read_error", "triage", "Read the task's error"),
        Step("restart", "actions", "Restart the failed tasks", action="restart_failed_tasks", guard="responder"),
        Step("decide", "actions", "Roll back or roll forward", choices=("roll back", "roll forward")),
    ),
)
FIRED = e.AlertFired(
    "f1",
    AT - timedelta(minutes=1),
    {"alertname": "CDCConnectorFailed", "severity": "critical", "pipeline": "customers", "connector": "source"},
    {"summary": "task 0 is FAILED"},
)
PLAN = Plan(
    "restart_failed_tasks",
    "customers-source",
    "restart 1 failed task",
    ("POST /connectors/customers-source/restart",),
    {},
    preconditions=("task 0 is FAILED",),
    warnings=("the last error was a refused schema",),
    hash="9f3a",
)
FINDING = Finding(
    "connector_state",
    "customers-source",
    "FAILED",
    Status.RED,
    "task 0 is FAILED: schema refused",
    AT,
    Signal.CONNECTOR,
    evidence=("409 on customers-value",),
    not_known=("offsets: needs DESCRIBE",),
)
STORY: list[tuple[e.Who, e.Event]] = [(e.ALERTMANAGER, OPENED), (e.ALERTMANAGER, RUNBOOK), (e.ALERTMANAGER, FIRED)]
PLANNED = (ALICE, e.ActionPlanned("k1", "restart", PLAN, "responder"))


def entries(*told: tuple[e.Who, e.Event]) -> list[e.Entry]:
    return [
        e.Entry("CDC-12", version, AT + timedelta(seconds=10 * version), who, event)
        for version, (who, event) in enumerate([*STORY, *told], 1)
    ]


def last(*told: tuple[e.Who, e.Event]) -> Row:
    return timeline(entries(*told))[-1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("alice acknowledged and leads", [(ALICE, e.IncidentAcknowledged())]),
        ("bob acknowledged; alice leads", [(ALICE, e.LeadAssigned(ALICE)), (BOB, e.IncidentAcknowledged())]),
        ("alice took the lead", [(ALICE, e.LeadAssigned(ALICE))]),
        ("alice made bob the lead", [(ALICE, e.LeadAssigned(BOB))]),
        ("alice noted: the DBA added a column", [(ALICE, e.NoteAdded("the DBA added a column"))]),
        ("alice did step “Read the task's error”", [(ALICE, e.StepDone("read_error"))]),
        (
            "alice decided roll back (“Roll back or roll forward”): the column is not needed",
            [(ALICE, e.StepDone("decide", "roll back", "the column is not needed"))],
        ),
        (
            "step “Restart the failed tasks” done: action verified",
            [(e.BOT, e.StepDone("restart", None, "action verified"))],
        ),
        ("alice skipped step “Read the task's error”: known", [(ALICE, e.StepSkipped("read_error", "known"))]),
        (
            "alice set step “Read the task's error” back to do",
            [(ALICE, e.StepDone("read_error")), (ALICE, e.StepUndone("read_error"))],
        ),
        ("alice planned restart_failed_tasks on customers-source: restart 1 failed task", [PLANNED]),
        (
            "alice planned restart_failed_tasks on customers-source, wants a second person's approval: "
            "restart 1 failed task",
            [(ALICE, e.ActionPlanned("k1", None, PLAN, "second_person"))],
        ),
        ("bob approved restart_failed_tasks on customers-source", [PLANNED, (BOB, e.ActionApproved("k1", "9f3a"))]),
        (
            "alice confirmed restart_failed_tasks on customers-source",
            [PLANNED, (ALICE, e.ActionConfirmed("k1", "9f3a"))],
        ),
        (
            "alice cancelled restart_failed_tasks on customers-source; nothing was changed",
            [PLANNED, (ALICE, e.ActionCancelled("k1"))],
        ),
        ("restart_failed_tasks started on customers-source", [PLANNED, (ALICE, e.ActionStarted("k1"))]),
        (
            "restart_failed_tasks on customers-source was carried out: Connect answered 202",
            [PLANNED, (e.BOT, e.ActionFinished("k1", True, "Connect answered 202"))],
        ),
        (
            "restart_failed_tasks on customers-source failed: 409, a rebalance is in progress",
            [PLANNED, (e.BOT, e.ActionFinished("k1", False, "409, a rebalance is in progress"))],
        ),
        (
            "restart_failed_tasks on customers-source: outcome unknown, look before you repeat it",
            [PLANNED, (e.BOT, e.ActionOutcomeUnknown("k1", "no answer in 10 s"))],
        ),
        (
            "restart_failed_tasks on customers-source not verified",
            [PLANNED, (e.BOT, e.ActionVerified("k1", False, ("task 0 is FAILED again",)))],
        ),
        (
            "restart_failed_tasks refused: not enabled",
            [(ALICE, e.ActionRefused("k2", "restart_failed_tasks", "not enabled"))],
        ),
        (
            "restart_failed_tasks refused (break-glass): no reason",
            [(ALICE, e.ActionRefused("k2", "restart_failed_tasks", "no reason", break_glass=True))],
        ),
        (
            "severity raised to critical: lag is critical",
            [(e.ALERTMANAGER, e.SeverityRaised(Severity.CRITICAL, "lag is critical"))],
        ),
        ("alice set the incident to mitigated: input paused", [(ALICE, e.IncidentMitigated("input paused"))]),
        ("mitigated: recovery proved", [(e.BOT, e.IncidentMitigated("recovery proved"))]),
        ("alice asked to resolve; recovery is checked first", [(ALICE, e.ResolveRequested())]),
        ("recovery proved", [(e.BOT, e.RecoveryProved(("source: 4 records delivered",)))]),
        (
            "alerts cleared, recovery not verified: source: RUNNING, nothing delivered",
            [(e.BOT, e.RecoveryNotVerified(("source: RUNNING, nothing delivered",), True))],
        ),
        (
            "incident resolved: recovery proved, alerts cleared",
            [(e.BOT, e.IncidentResolved(True, "recovery proved, alerts cleared"))],
        ),
        (
            "alice resolved the incident without proof of recovery: will watch it",
            [(ALICE, e.IncidentResolved(False, "will watch it"))],
        ),
        (
            "incident reopened (flapped once): CDCConnectorFailed fires again",
            [(e.ALERTMANAGER, e.IncidentReopened("CDCConnectorFailed fires again"))],
        ),
        ("incident reopened by alice: it is back", [(ALICE, e.IncidentReopened("it is back"))]),
        ("linked to CDC-3: the same alerts, earlier", [(e.BOT, e.IncidentLinked("CDC-3", "the same alerts, earlier"))]),
        (
            "Alertmanager cut its list: 3 more alerts of the group were not shown",
            [(e.ALERTMANAGER, e.AlertsHidden("g", 3))],
        ),
        ("Alertmanager shows every alert of the group again", [(e.ALERTMANAGER, e.AlertsHidden("g", 0))]),
        (
            "CDCConnectorFailed resolved after 9 min",
            [(e.ALERTMANAGER, e.AlertResolved("f1", FIRED.starts_at, FIRED.starts_at + timedelta(minutes=9)))],
        ),
        ("CDCConnectorFailed resolved", [(e.ALERTMANAGER, e.AlertResolved("f1", FIRED.starts_at, None))]),
        (
            "CDCConnectorFailed ended: no resolve was sent (silenced)",
            [(e.BOT, e.AlertEnded("f1", FIRED.starts_at, "no resolve was sent (silenced)"))],
        ),
        ("customers-source: task 0 is FAILED: schema refused", [(e.BOT, e.ProbeReported(FINDING))]),
    ],
)
def test_each_event_reads_as_a_plain_sentence(words, told):
    """A row can be read aloud: it names who, what and which part, without an internal word."""
    assert words == last(*told).what


def test_opening_rows_name_pipeline_severity_and_runbook():
    """The first rows say for what the incident was opened, by which checklist, and by which alert."""
    opened, attached, fired = timeline(entries())

    assert "alerts opened CDC-12 for pipeline customers (critical): customers-source failed" == opened.what
    assert ("bot 0.1.0", "config c0ffee") == opened.evidence
    assert "runbook Connector failed attached (3 steps)" == attached.what
    assert "CDCConnectorFailed fired (critical)" == fired.what
    assert (
        "firing since 2026-11-23T14:01:11Z",
        "connector=source",
        "at alert time: task 0 is FAILED",
    ) == fired.evidence
    assert "Alertmanager" == fired.who


def test_a_finding_row_carries_its_evidence_and_what_was_not_seen():
    """What could not be seen stands beside what was: a gap is never silent."""
    evidence = last((e.BOT, e.ProbeReported(FINDING))).evidence

    assert ("409 on customers-value", "not known: offsets: needs DESCRIBE") == evidence


def test_a_plan_row_carries_steps_conditions_warnings_and_hash():
    """The postmortem can quote what was going to be done before it was done."""
    expected = (
        "POST /connectors/customers-source/restart",
        "only if: task 0 is FAILED",
        "warning: the last error was a refused schema",
        "plan 9f3a",
    )

    assert expected == last(PLANNED).evidence


def test_an_alert_missed_while_the_bot_was_down_says_so():
    """Found by reconciliation is not the same as received in time."""
    missed = e.AlertFired("f2", AT, {"alertname": "CDCLag"}, {}, missed_while_down=True)

    assert "CDCLag fired (no severity), missed while the bot was down" == last((e.ALERTMANAGER, missed)).what


def test_a_row_alone_equals_the_row_in_the_timeline():
    """A thread line is made from the state before it; it reads as in the timeline."""
    told = entries((ALICE, e.IncidentAcknowledged()))

    assert timeline(told)[0] == row(None, told[0])


def test_every_event_of_the_union_is_in_this_test():
    """A new event must be read aloud here before it ships."""
    named = {type(event) for _, event in STORY} | {type(PLANNED[1])}
    table = test_each_event_reads_as_a_plain_sentence.pytestmark[0].args[1]
    named |= {type(event) for _, told in table for _, event in told}

    assert set(get_args(e.Event)) == named


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0 s", 0),
        ("under 1 s", 0.4),
        ("119 s", 119),
        ("2 min", 120),
        ("119 min", 119 * 60),
        ("2 h", 7200),
        ("2 h 5 min", 7500),
        ("47 h 59 min", 48 * 3600 - 60),
        ("2 d", 48 * 3600),
        ("3 d 4 h", 76 * 3600),
    ],
)
def test_durations_are_rounded_as_people_say_them(text, seconds):
    """Seconds up to two minutes, minutes up to two hours, then hours, then days."""
    assert text == duration(seconds)


def test_times_are_utc_whole_seconds():
    """contract.md: RFC 3339 with Z, whatever zone the time came in."""
    assert "2026-11-23T14:02:11Z" == rfc3339(AT.astimezone(timezone(timedelta(hours=2))).replace(microsecond=999_999))
