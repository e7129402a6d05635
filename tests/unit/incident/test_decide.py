"""Commands on one incident: acknowledge, checklist, guarded actions, resolve with proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bot.incident import commands as c
from bot.incident import events as e
from bot.incident.notification import Alert
from bot.incident.state import fold
from bot.model import TEST_ALERT, Finding, Plan, Status

from .conftest import ALICE, BOB, CAROL, T0, Case

Build = Callable[..., Finding]


@pytest.fixture
def opened(case: Case) -> Case:
    """An incident on a failed connector, with its checklist."""
    note = case.payload("01-first-firing.json")
    labels = {"alertname": "CDCConnectorFailed", "connector": "customers-source", "severity": "critical"}
    case.hear(replace(note, alerts=(replace(note.alerts[0], labels=labels),)))
    return case


def connector(build: Build, status: Status, delivered: int | None, state: str = "RUNNING", **more: object) -> Finding:
    tasks = [{"task": 0, "state": state, "worker": "w", "cause": None, "trace": None}]
    facts = {"state": "RUNNING", "type": "source", "tasks": tasks, "delivered_total": delivered}
    return build("connector_state", "customers-source", status, facts, **more)


PLAN = Plan("restart_failed_tasks", "customers-source", "Restart task 0", ("POST",), {"connector": "c"}, hash="h1")


def planned(case: Case, guard: str = "responder", who: e.Who = ALICE, key: str = "k1") -> None:
    case.tell("CDC-1", c.ReportPlan(key, "connector.restart", guard, PLAN, "", PLAN.action, who))


def test_first_acknowledge_leads_and_the_second_hears_so(opened: Case) -> None:
    """Two people click: one acknowledges, the other is told who leads."""
    opened.tell("CDC-1", c.AcknowledgeIncident(ALICE))
    second = opened.tell("CDC-1", c.AcknowledgeIncident(BOB))
    assert ("acknowledged", "alice") == (opened.incident().status, opened.incident().lead.name)  # type: ignore[union-attr]
    assert "alice leads" in second.reply


def test_stale_click_does_nothing_and_asks_for_the_fresh_view(opened: Case) -> None:
    """A click on an old card is refused, whatever it was."""
    seen = c.Seen(opened.incident().nonce, opened.incident().revision)
    opened.tell("CDC-1", c.AcknowledgeIncident(ALICE, seen))
    version = opened.incident().version
    decision = opened.tell("CDC-1", c.MitigateIncident(BOB, seen=seen))
    assert (True, version) == (decision.stale, opened.incident().version)
    forged = opened.tell("CDC-1", c.MitigateIncident(BOB, seen=c.Seen("forged", opened.incident().revision)))
    assert forged.stale


def test_steps_done_skipped_with_a_reason_and_undone(opened: Case) -> None:
    """Each step has its own revision: two people can tick two steps at once."""
    opened.tell("CDC-1", c.CompleteStep(ALICE, "connector.state", seen=c.Seen(opened.incident().nonce, 0)))
    assert "Not skipped" in str(opened.tell("CDC-1", c.SkipStep(ALICE, "connector.learn", " ")).refusal)
    opened.tell("CDC-1", c.SkipStep(ALICE, "connector.learn", "later", c.Seen(opened.incident().nonce, 0)))
    assert ["done", "todo", "skipped"] == [s.status for s in opened.incident().steps]
    opened.tell("CDC-1", c.UndoStep(BOB, "connector.state"))
    assert "todo" == opened.incident().steps[0].status
    assert "no step nope" in str(opened.tell("CDC-1", c.CompleteStep(ALICE, "nope")).refusal)


def test_a_decision_step_needs_a_choice_and_a_reason(case: Case) -> None:
    """Roll back or roll forward is recorded with its reason, or not at all."""
    case.hear("01-first-firing.json")
    assert case.tell("CDC-1", c.CompleteStep(ALICE, "lag.decide")).refusal
    assert case.tell("CDC-1", c.CompleteStep(ALICE, "lag.decide", "scale")).refusal
    assert case.tell("CDC-1", c.CompleteStep(ALICE, "lag.decide", "pray", "why")).refusal
    case.tell("CDC-1", c.CompleteStep(ALICE, "lag.decide", "scale", "two consumers for 12 partitions"))
    step = case.incident().step("lag.decide")
    assert ("done", "scale") == (step.status, step.choice)  # type: ignore[union-attr]


def test_actions_are_read_only_until_enabled(opened: Case) -> None:
    """Installing the bot changes nothing: an action that cdc.yml does not name is refused with the line to write."""
    opened.policy = replace(opened.policy, actions=frozenset())
    refusal = opened.tell("CDC-1", c.PlanAction(ALICE, "connector.restart")).refusal
    assert "not enabled" in str(refusal) and "actions: [restart_failed_tasks]" in str(refusal)


def test_only_responders_may_act(opened: Case) -> None:
    """Carol may read and tick, not act; asked again at every step."""
    assert "not a responder" in str(opened.tell("CDC-1", c.PlanAction(CAROL, "connector.restart")).refusal)
    planned(opened)
    assert "not a responder" in str(opened.tell("CDC-1", c.RunAction(CAROL, "k1", "h1")).refusal)


def test_run_confirms_once_and_queues_one_action(opened: Case) -> None:
    """Two clicks on Run are one action."""
    planned(opened)
    opened.tell("CDC-1", c.RunAction(ALICE, "k1", "h1"))
    second = opened.tell("CDC-1", c.RunAction(ALICE, "k1", "h1"))
    assert "confirmed already" in str(second.refusal)
    assert 1 == len([t for t in opened.tasks if t.kind == "action"])


@pytest.mark.parametrize(
    ("hash_", "minutes", "words"), [("h2", 0, "not the plan stored"), ("h1", 11, "older than 10 min")]
)
def test_run_is_bound_to_the_plan_shown(opened: Case, hash_: str, minutes: int, words: str) -> None:
    """Another plan's hash, or a plan gone stale, is not run."""
    planned(opened)
    opened.pass_time(minutes=minutes)
    assert words in str(opened.tell("CDC-1", c.RunAction(ALICE, "k1", hash_)).refusal)


def test_second_person_must_be_another_approver(opened: Case) -> None:
    """The requester cannot approve; an approver can; only then it runs."""
    planned(opened, "second_person")
    assert "second person" in str(opened.tell("CDC-1", c.RunAction(ALICE, "k1", "h1")).refusal)
    assert "not an approver" in str(opened.tell("CDC-1", c.ApproveAction(CAROL, "k1", "h1")).refusal)
    opened.tell("CDC-1", c.ApproveAction(BOB, "k1", "h1"))
    assert opened.tell("CDC-1", c.RunAction(ALICE, "k1", "h1")).refusal is None
    planned(opened, "second_person", BOB, "k2")
    assert "asked for it" in str(opened.tell("CDC-1", c.ApproveAction(BOB, "k2", "h1")).refusal)


def test_only_responders_close_without_proof(opened: Case) -> None:
    """Carol may acknowledge and note; saying that it is over is for responders, asking for proof is for anyone."""
    for command in (c.ResolveIncident(CAROL, "because I want"), c.MitigateIncident(CAROL)):
        assert "not a responder" in str(opened.tell("CDC-1", command).refusal)
    assert opened.tell("CDC-1", c.ResolveIncident(CAROL)).refusal is None
    opened.policy = replace(opened.policy, responders=frozenset(), approvers=frozenset())
    assert opened.tell("CDC-1", c.MitigateIncident(CAROL)).refusal is None, "where none are named, anyone may"


def test_cap_counts_starts_on_the_target_within_an_hour(opened: Case) -> None:
    """The cap stops the third restart within an hour, and lets it through after it."""
    opened.policy = replace(opened.policy, caps={"restart_failed_tasks": 2})
    for key in ("k1", "k2"):
        planned(opened, key=key)
        opened.tell("CDC-1", c.RunAction(ALICE, key, "h1"))
        opened.tell("CDC-1", c.StartAction(key))
        opened.tell("CDC-1", c.ReportOutcome(key, True, "202"))
    planned(opened, key="k3")
    assert "2 times" in str(opened.tell("CDC-1", c.RunAction(ALICE, "k3", "h1")).refusal)
    opened.pass_time(minutes=61)
    planned(opened, key="k4")
    assert opened.tell("CDC-1", c.RunAction(ALICE, "k4", "h1")).refusal is None


def test_precondition_lost_at_the_last_moment_refuses(opened: Case) -> None:
    """What was FAILED at the plan and runs now is not restarted."""
    planned(opened)
    opened.tell("CDC-1", c.RunAction(ALICE, "k1", "h1"))
    decision = opened.tell("CDC-1", c.StartAction("k1", "Not restarted: task 0 is RUNNING."))
    assert "RUNNING" in str(decision.refusal)
    assert "refused" == opened.incident().actions[0].status


def test_unknown_outcome_is_shown_and_stays(opened: Case) -> None:
    """A start without an answer is `unknown`; a later report cannot make it a success."""
    planned(opened)
    opened.tell("CDC-1", c.RunAction(ALICE, "k1", "h1"))
    opened.tell("CDC-1", c.StartAction("k1"))
    opened.tell("CDC-1", c.ReportOutcome("k1", None, "no answer"))
    opened.tell("CDC-1", c.ReportOutcome("k1", True, "late"))
    assert "unknown" == opened.incident().actions[0].status
    assert [] == [t for t in opened.tasks if t.kind == "verify"]


def test_first_verified_action_mitigates_and_ticks_its_step(opened: Case) -> None:
    """Verified by a probe: the step is done and the incident mitigated; not verified: neither."""
    planned(opened)
    opened.tell("CDC-1", c.RunAction(ALICE, "k1", "h1"))
    opened.tell("CDC-1", c.StartAction("k1"))
    opened.tell("CDC-1", c.ReportOutcome("k1", True, "202"))
    opened.tell("CDC-1", c.ReportVerification("k1", True, ("delivered",)))
    step = opened.incident().step("connector.restart")
    assert ("mitigated", "done") == (opened.incident().status, step.status)  # type: ignore[union-attr]


def test_alert_resolves_while_the_part_is_still_broken(opened: Case, finding: Build) -> None:
    """The test that matters: alerts cleared, the connector still FAILED: "recovery not verified", and it stays open."""
    broken = connector(finding, Status.RED, 100, "FAILED")
    opened.tell("CDC-1", c.ReportFindings((broken,)))
    _clear(opened)
    opened.tell("CDC-1", c.ReportRecovery((broken,)))
    assert ("open", False) == (opened.incident().status, opened.incident().recovery.proved)
    assert "RecoveryNotVerified" in opened.kinds()
    assert "IncidentResolved" not in opened.kinds()
    assert [t for t in opened.tasks if t.kind == "recovery"], "it keeps looking"


def _clear(case: Case) -> None:
    for alert in case.incident().firing:
        note = case.payload("05-all-resolved.json")
        ended = replace(note.alerts[0], fingerprint=alert.fingerprint, starts_at=alert.starts_at, labels=alert.labels)
        case.hear(replace(note, alerts=(ended,)))


def test_recovery_is_proved_by_delivery_that_holds(opened: Case, finding: Build) -> None:
    """RUNNING is not enough; delivering is, once it held for `settle`; then it resolves by itself."""
    opened.tell("CDC-1", c.ReportFindings((connector(finding, Status.RED, 100, "FAILED"),)))
    _clear(opened)
    opened.pass_time(seconds=5)
    idle = connector(finding, Status.GREEN, 100, at=opened.now)
    opened.tell("CDC-1", c.ReportRecovery((idle,)))
    assert opened.incident().is_open, "RUNNING and nothing delivered proves nothing"
    opened.pass_time(seconds=5)
    opened.tell("CDC-1", c.ReportRecovery((connector(finding, Status.GREEN, 130, at=opened.now),)))
    assert opened.incident().is_open, "it must hold"
    opened.pass_time(seconds=30)
    opened.tell("CDC-1", c.ReportRecovery((connector(finding, Status.GREEN, 150, at=opened.now),)))
    incident = opened.incident()
    assert ("resolved", True, True) == (incident.status, incident.resolved_verified, incident.recovery.proved)
    assert 1 == opened.kinds().count("RecoveryProved")


def test_recovery_waits_for_the_alert(opened: Case, finding: Build) -> None:
    """Proved while the alert still fires: mitigated, said once, resolved when the alert clears."""
    opened.tell("CDC-1", c.ReportFindings((connector(finding, Status.RED, 100, "FAILED"),)))
    for seconds in (1, 30, 30):
        opened.pass_time(seconds=seconds)
        opened.tell("CDC-1", c.ReportRecovery((connector(finding, Status.GREEN, 150, at=opened.now),)))
    assert "mitigated" == opened.incident().status
    _clear(opened)
    opened.tell("CDC-1", c.ReportRecovery((connector(finding, Status.GREEN, 160, at=opened.now),)))
    assert ("resolved", 1) == (opened.incident().status, opened.kinds().count("RecoveryProved"))


def test_unseen_part_is_not_recovered(opened: Case, finding: Build) -> None:
    """Connect does not answer: unknown is never green."""
    opened.tell("CDC-1", c.ReportFindings((connector(finding, Status.RED, 100, "FAILED"),)))
    _clear(opened)
    opened.tell("CDC-1", c.ReportRecovery((connector(finding, Status.UNKNOWN, None),)))
    assert opened.incident().is_open


def test_the_doctors_test_alert_leaves_nothing_to_do(case: Case) -> None:
    """No runbook, nobody mentioned, no proof asked for; it resolves when it ends. A real alert beside it counts."""
    labels = {"alertname": TEST_ALERT, "pipeline": "cdc-test-1", "severity": "info"}
    fired = Alert("t1", "firing", labels, {"summary": "Test alert by alice"}, T0, None)
    heard = replace(case.payload("01-first-firing.json"), alerts=(fired,), group_key="test")
    case.hear(heard)
    assert (True, ()) == (case.incident().is_test, case.incident().runbooks)

    case.hear(replace(heard, alerts=(replace(fired, status="resolved", ends_at=case.now),)))
    case.tell("CDC-1", c.ReportRecovery(()))
    assert ("resolved", True, None) == (
        case.incident().status, case.incident().resolved_verified, case.incident().recovery.proved,
    )  # fmt: skip

    real = replace(fired, fingerprint="r1", labels={**labels, "alertname": "CDCConsumerLagWarning"})
    case.hear(replace(heard, alerts=(replace(fired, fingerprint="t2"), real), group_key="both"))
    assert (False, 1) == (case.incident("CDC-2").is_test, len(case.incident("CDC-2").runbooks))


def test_no_pipeline_closes_flagged(case: Case) -> None:
    """Nothing to probe: resolved with the alert, and it says that recovery was not verified."""
    case.hear("22-prometheus-schema-registry-409.json")
    _clear(case)
    case.tell("CDC-1", c.ReportRecovery(()))
    assert ("resolved", False) == (case.incident().status, case.incident().resolved_verified)


def test_resolve_by_hand_checks_first_and_flags_what_is_not_proved(opened: Case, finding: Build) -> None:
    """Without proof it asks the probes; with a reason it closes, and the record says it was not proved."""
    opened.tell("CDC-1", c.ReportFindings((connector(finding, Status.RED, 100, "FAILED"),)))
    decision = opened.tell("CDC-1", c.ResolveIncident(ALICE))
    assert "Checking recovery" in decision.reply
    opened.tell("CDC-1", c.ReportRecovery((connector(finding, Status.RED, 100, "FAILED"),)))
    assert (True, None) == (opened.incident().is_open, opened.incident().resolve_requested_by)
    opened.tell("CDC-1", c.ResolveIncident(ALICE, "sink is decommissioned"))
    assert (False, False) == (opened.incident().is_open, opened.incident().resolved_verified)


def test_lag_is_recovered_when_committed_moved_and_the_line_is_kept(case: Case, finding: Build) -> None:
    """Lag under the warn line with commits since is recovery; a frozen commit or lag over the line is not."""
    case.hear("01-first-firing.json")

    def lag(records: int | None, committed: int | None, status: Status, verdict: str = "") -> Finding:
        facts = {"lag_records": records, "committed_total": committed}
        return finding("consumer_lag", "customers_canonical_flink", status, facts, verdict)

    case.tell("CDC-1", c.ReportFindings((lag(50_000, 1_000, Status.YELLOW, "UNKNOWN"),)))
    _clear(case)
    for records, committed, proved in ((20_000, 31_000, False), (900, 1_000, False), (900, 50_100, True)):
        case.pass_time(seconds=30)
        case.tell("CDC-1", c.ReportRecovery((lag(records, committed, Status.UNKNOWN, "UNKNOWN"),)))
        assert proved is (case.incident().recovery.proved is True), (records, committed)


def test_the_fold_is_the_whole_truth(opened: Case, finding: Build) -> None:
    """Folding the entries from the start gives the same incident as applying them one by one."""
    opened.tell("CDC-1", c.AcknowledgeIncident(ALICE))
    opened.tell("CDC-1", c.ReportFindings((connector(finding, Status.RED, 100, "FAILED"),)))
    planned(opened)
    assert opened.incident() == fold(opened.entries["CDC-1"])


def test_dead_letters_need_quiet_and_processing(case: Case, finding: Build) -> None:
    """No new dead letter while nothing is processed proves nothing."""
    note = case.payload("01-first-firing.json")
    labels = {"alertname": "CDCDeadLettersGrowing", "topic": "dlq.customers"}
    case.hear(replace(note, alerts=(replace(note.alerts[0], labels=labels),)))

    def dlq(end: int, processed: int) -> Finding:
        facts = {"end_total": end, "processed_total": processed}
        return finding("dead_letters", "dlq.customers", Status.YELLOW, facts, at=case.now)

    case.tell("CDC-1", c.ReportFindings((dlq(2, 100),)))
    _clear(case)
    for end, processed, proved in ((2, 100, False), (3, 120, False), (3, 120, False), (3, 130, True)):
        case.pass_time(seconds=30)
        case.tell("CDC-1", c.ReportRecovery((dlq(end, processed),)))
        assert proved is (case.incident().recovery.proved is True), (end, processed)


def test_opened_by_hand_once_per_pipeline(case: Case) -> None:
    """`open customers text` opens; a second is pointed at the first; an unknown pipeline lists the known."""
    from bot.incident.decisions import open_by_hand

    case._write(open_by_hand(case.board, ALICE, "customers", "rows are missing", case.policy, case.ids))
    again = open_by_hand(case.board, ALICE, "customers", "x", case.policy, case.ids)
    unknown = open_by_hand(case.board, ALICE, "custmers", "x", case.policy, case.ids)
    assert ("rows are missing", True, "customers" in str(unknown.refusal)) == (
        case.incident().title, "CDC-1" in str(again.refusal), True,
    )  # fmt: skip
