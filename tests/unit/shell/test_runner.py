"""The runner: probes may be repeated, an action never; whatever stops in between is told."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest

from bot.incident import commands as c
from bot.ports import Denied, Missing, PortError, Rejected, Unreachable
from bot.runner import VERIFY_FOR
from tests.unit.shell.conftest import ALICE, CUSTOMERS, T0, FakeConnect, Shell, alert, webhook


def test_a_confirmed_plan_is_run_once_and_its_outcome_told(shell: Shell, connect: FakeConnect) -> None:
    """ActionStarted is committed before the call, the outcome after it."""
    shell.confirmed()
    shell.work("action")
    assert (1, "succeeded") == (connect.restarts, shell.incident().actions[-1].status)
    kinds = shell.kinds()
    assert ["ActionConfirmed", "ActionStarted", "ActionFinished"] == kinds[kinds.index("ActionConfirmed") :]


def test_the_journal_says_started_before_connect_is_asked(shell: Shell, connect: FakeConnect) -> None:
    """Whoever looks while the request is on its way sees a start without an outcome."""
    seen: list[str] = []

    class Watching(FakeConnect):
        def restart_failed(self, name: str, deadline_s: float) -> str:
            seen.extend(shell.kinds())
            return "accepted"

    shell.confirmed()
    shell.runner._world = shell.runner._world.__class__(shell.runner._world.sources, Watching(), {})
    shell.work("action")
    assert "ActionStarted" == seen[-1]


def test_a_precondition_that_fails_at_the_last_moment_stops_the_call(shell: Shell, connect: FakeConnect) -> None:
    """Somebody else restarted the task after Run was pressed: nothing is asked of Connect, and it says why."""
    shell.confirmed()
    connect.state = "RUNNING"
    shell.work("action")
    action = shell.incident().actions[-1]
    assert (0, "refused") == (connect.restarts, action.status)
    assert "Nothing was changed" in action.detail
    assert [] == shell.rows("SELECT key FROM tasks WHERE state != 'done' AND kind != 'recovery'")


def test_a_right_that_was_withdrawn_meanwhile_stops_the_call(shell: Shell, connect: FakeConnect) -> None:
    """Who may act is asked again just before acting."""
    shell.confirmed()
    shell.policy = shell.policy.__class__(**{**vars(shell.policy), "responders": frozenset()})
    shell.work("action")
    assert (0, "refused") == (connect.restarts, shell.incident().actions[-1].status)


@pytest.mark.parametrize(
    ("answer", "status", "verifies"),
    [
        (None, "succeeded", 1),
        (Rejected("409 rebalance"), "failed", 0),
        (Denied("403"), "failed", 0),
        (Missing("404"), "failed", 0),
        (Unreachable("no answer within 8 s"), "unknown", 0),
        (PortError("what is this"), "unknown", 0),
        (RuntimeError("a defect of ours"), "unknown", 0),
    ],
)
def test_every_way_a_call_can_end_is_an_outcome(
    shell: Shell, connect: FakeConnect, answer: Any, status: str, verifies: int
) -> None:
    """A time-out may have been carried out: the outcome is unknown, and it is never asked for again."""
    connect.answer = answer
    shell.confirmed()
    for _ in range(5):
        shell.work("action")
        shell.clock.passes(60)
    assert (1, status) == (connect.restarts, shell.incident().actions[-1].status)
    assert [verifies] == shell.rows("SELECT count(*) FROM tasks WHERE kind = 'verify'")
    assert [] == shell.rows("SELECT key FROM tasks WHERE state = 'running'")
    unknown = [row.slot for row in shell.store.due_messages(shell.clock(), 100) if "unknown" in row.slot]
    shell.say_all()
    told = [key for key in shell.chat.said_keys() if "/page:unknown-" in key]
    assert (int(status == "unknown"), []) == (len(told), unknown)


def test_two_runs_of_one_plan_are_one_call(shell: Shell, connect: FakeConnect) -> None:
    """A second click, and a task row that appears twice, find the plan started."""
    key = shell.confirmed()
    plan_hash = shell.incident().actions[-1].plan.hash
    assert shell.dispatcher.order("CDC-1", c.RunAction(ALICE, key, plan_hash)).refusal is not None
    with shell.store.deciding() as writer:
        writer.enqueue("forged", "CDC-1", "action", {"key": key}, T0, T0)
    threads = [threading.Thread(target=shell.runner.run_one, args=(("action",),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shell.work()
    assert (1, 1) == (connect.restarts, shell.kinds().count("ActionStarted"))


# --- after a crash -----------------------------------------------------------------------------------


def test_a_confirmed_action_that_had_not_started_goes_on_after_a_restart(start: Callable[[], Shell]) -> None:
    """Claimed, and then the process died before ActionStarted: nothing was asked of anyone, so it is run now."""
    shell = start()
    shell.confirmed()
    assert shell.store.claim_task(["action"], shell.clock()) is not None
    after = start()
    after.runner.recover()
    after.work("action")
    assert (1, "succeeded") == (after.connect.restarts, after.incident().actions[-1].status)


def test_an_action_that_had_started_is_unknown_after_a_restart(start: Callable[[], Shell]) -> None:
    """The request may have been carried out: it is told, paged, and never sent again."""
    shell = start()
    key = shell.confirmed()
    task = shell.store.claim_task(["action"], shell.clock())
    assert task is not None
    shell.dispatcher.settle(task, c.StartAction(key), ended=False)
    after = start()
    after.runner.recover()
    after.work()
    assert (0, "unknown") == (after.connect.restarts, after.incident().actions[-1].status)
    assert [] == after.rows("SELECT key FROM tasks WHERE state = 'running'")
    again = start()
    again.runner.recover()
    assert 1 == again.kinds().count("ActionOutcomeUnknown")


def test_what_may_be_repeated_is_put_back_after_a_restart(start: Callable[[], Shell]) -> None:
    """Probes that were running when the process died run again."""
    shell = start()
    shell.hear(webhook(alert()))
    claimed = [shell.store.claim_task(["probe"], shell.clock()) for _ in range(4)]
    assert None not in claimed
    after = start()
    after.runner.recover()
    assert 4 == after.work("probe")
    assert ["done"] == after.rows("SELECT DISTINCT state FROM tasks WHERE kind = 'probe'")


# --- our own failures --------------------------------------------------------------------------------


def test_a_probe_that_raises_is_tried_again_and_given_up_in_the_end(shell: Shell, connect: FakeConnect) -> None:
    """A defect in a probe costs a note and a count, not the thread and not the other probes."""
    connect.reads = [RuntimeError("a defect of ours")] * 2
    shell.hear(webhook(alert()))
    for _ in range(4):
        shell.work("probe")
        shell.clock.passes(6)
    assert 2 == shell.errors["task:probe"]
    assert ["done"] == shell.rows("SELECT DISTINCT state FROM tasks WHERE kind = 'probe'")
    assert (("connector_state", "customers-sink") in shell.incident().findings, []) == (True, connect.reads)
    connect.reads = [RuntimeError("for ever")] * 9
    shell.hear(webhook(alert("f2")))
    for _ in range(9):
        shell.work("probe")
        shell.clock.passes(6)
    assert 6 == len(connect.reads)


def test_a_system_that_does_not_answer_is_a_finding(shell: Shell, connect: FakeConnect) -> None:
    """A probe says what it could not see; it is not tried again as if it were a defect."""
    connect.reads = [Unreachable("refused the connection")]
    shell.hear(webhook(alert()))
    shell.work("probe")
    assert "UNREACHABLE" == shell.incident().findings["connector_state", "customers-sink"].verdict
    assert {} == shell.errors


def test_an_action_whose_precondition_cannot_be_judged_is_not_left_waiting(shell: Shell, connect: FakeConnect) -> None:
    """A defect before the start: nothing was asked of anyone, it is told, and a new plan may be made."""
    shell.confirmed()
    connect.reads = [RuntimeError("a defect of ours")]
    shell.work("action")
    action = shell.incident().actions[-1]
    assert (0, "refused") == (connect.restarts, action.status)
    assert "a defect of ours" in action.detail
    assert shell.dispatcher.order("CDC-1", c.PlanAction(ALICE, step="restart")).refusal is None


def test_an_outcome_that_could_not_be_written_is_unknown_and_not_repeated(shell: Shell, connect: FakeConnect) -> None:
    """Connect did it and the journal was locked at that moment: nobody may believe that it is still running."""
    other = sqlite3.connect(shell.journal, isolation_level=None, check_same_thread=False)
    shell.store._db().execute("PRAGMA busy_timeout = 20")

    class Locking(FakeConnect):
        def restart_failed(self, name: str, deadline_s: float) -> str:
            other.execute("BEGIN IMMEDIATE")
            self.restarts += 1
            return "accepted"

    shell.confirmed()
    locking = Locking()
    shell.runner._world = shell.runner._world.__class__(shell.runner._world.sources, locking, {})
    with pytest.raises(sqlite3.OperationalError):
        shell.work("action")
    assert "started" == shell.incident().actions[-1].status
    other.execute("ROLLBACK")
    other.close()
    for _ in range(3):
        shell.work("action")
    assert (1, "unknown") == (locking.restarts, shell.incident().actions[-1].status)
    assert [] == shell.rows("SELECT key FROM tasks WHERE state = 'running'")


# --- verification ------------------------------------------------------------------------------------


def test_verification_ends_at_its_deadline(shell: Shell, connect: FakeConnect) -> None:
    """RUNNING without proof of delivery is looked at until the deadline, and then told as not verified."""
    shell.confirmed()
    shell.work("action")
    connect.state = "RUNNING"
    shell.clock.passes(VERIFY_FOR.total_seconds() - 3)
    shell.work("verify")
    assert shell.incident().actions[-1].verified is None
    shell.clock.passes(4)
    shell.work("verify")
    action = shell.incident().actions[-1]
    assert (False, True) == (action.verified, action.evidence[0].startswith("not verified within 90 s"))
    assert [] == shell.rows("SELECT key FROM tasks WHERE kind = 'verify' AND state != 'done'")


def test_a_task_that_fails_again_is_told_as_not_verified(shell: Shell, connect: FakeConnect) -> None:
    """The cause was not repaired: the evidence names it."""
    shell.confirmed()
    shell.work("action")
    shell.clock.passes(15)
    shell.work("verify")
    assert (False, 1) == (shell.incident().actions[-1].verified, connect.restarts)


def test_probing_everything_survives_a_probe_that_raises(shell: Shell, connect: FakeConnect) -> None:
    """The recovery check asks every probe in parallel: one that fails is tried again with the rest."""
    connect.reads = [RuntimeError("a defect of ours")]
    with pytest.raises(RuntimeError):
        shell.runner.probe_all(CUSTOMERS)
    assert "FAILED" in {finding.verdict for finding in shell.runner.probe_all(CUSTOMERS)}


def test_a_verification_that_we_fail_on_ends_in_words(shell: Shell, connect: FakeConnect) -> None:
    """However often it had looked before: the action is told as not verified, with the reason."""
    shell.confirmed()
    shell.work("action")
    connect.state = "RUNNING"
    for _ in range(4):
        shell.clock.passes(3)
        shell.work("verify")
    connect.reads = [RuntimeError("a defect of ours")] * 9
    for _ in range(4):
        shell.clock.passes(30)
        shell.work("verify")
    assert (False, ["done"]) == (
        shell.incident().actions[-1].verified, shell.rows("SELECT state FROM tasks WHERE kind = 'verify'"),
    )  # fmt: skip
    assert "a defect of ours" in shell.incident().actions[-1].evidence[0]


def test_a_look_that_the_stop_cancels_ends(shell: Shell) -> None:
    """A probe that waits for its turn when the bot stops is cancelled: who waits for it is told, and ends."""
    begun, busy = threading.Barrier(3), threading.Event()
    for _ in range(2):  # all threads of the pool
        shell.pool.submit(lambda: (begun.wait(10), busy.wait(10)))
    begun.wait(10)
    ended: list[str] = []

    def look() -> None:
        try:
            shell.runner.probe_all(CUSTOMERS)
        except CancelledError:
            ended.append("cancelled")

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    while shell.pool._work_queue.empty():
        time.sleep(0.01)
    shell.pool.shutdown(wait=False, cancel_futures=True)
    busy.set()
    looking.join(5)
    assert ["cancelled"] == ended
