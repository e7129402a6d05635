"""Writes a golden journal: `python -m tests.golden.journal.make v2.db`, in this folder, with today's store and events.

Varied on purpose: every event type with every field away from its default, an action in each state that a crash can
leave, and each kind of row that waits. A file that is there is never written again; see README.md.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.incident import events as e
from bot.incident.runbook import Step
from bot.model import Finding, Plan, Severity, Signal, Status
from bot.store.sqlite import Store

HERE = Path(__file__).parent
AT = datetime(2026, 11, 23, 1, 45, 2, 123456, tzinfo=UTC)
ALICE, BOB = e.Who("slack:U01ALICE", "alice"), e.Who("terminal:bob", "bob ✓")
LAG = Finding(
    "consumer_lag", "customers_flink", "STUCK", Status.RED, "lag 5, stuck", AT, Signal.LAG,
    {"group": "customers_flink", "lag_records": 5, "topics": [], "not_known": ["members"]},
    ("partition 0 stands at 17",), ("members: needs DESCRIBE on group customers_flink",),
)  # fmt: skip
FAILED = Finding(
    "connector_state", "customers-sink", "FAILED", Status.RED, "task 0 failed", AT, Signal.CONNECTOR,
    {"connector": "customers-sink", "state": "RUNNING", "tasks": [{"task": 0, "state": "FAILED", "cause": "quota"}]},
)  # fmt: skip
PLAN = Plan(
    "restart_failed_tasks", "customers-sink", "Restart the failed tasks", ("POST restart",), {"tasks": [0, 1]},
    ("task 0 is FAILED",), ("it may fail again",), "9f3a77c0",
)  # fmt: skip
STEPS = (
    Step("look", "triage", "What does the trace say?", probe="connector_state", args={"lines": 5}),
    Step("decide", "actions", "Roll back or forward?", choices=("roll back", "roll forward")),
    Step("restart", "actions", "Restart failed tasks", action="restart_failed_tasks", guard="second_person"),
    Step("learn", "post_incident", "Write it down"),
)
Story = Sequence[tuple[e.Who, e.Event]]


def opened(number: int) -> tuple[e.Who, e.Event]:
    title, correlation = "customers: CDCConnectorFailed <!channel>", f"pipeline:customers-{number}"
    return e.ALERTMANAGER, e.IncidentOpened(
        title, "customers", Severity.WARNING, correlation, "#cdc-incidents", f"nonce{number}", "@data-platform",
        "0.1.0", "abc123def456",
    )  # fmt: skip


FIRED = e.AlertFired(
    "3d5fee90bf32357a", AT, {"alertname": "CDCConnectorFailed", "pipeline": "customers"}, {"summary": "it ✓ broke"},
    "http://alertmanager:9093", "cdc", '{}:{alertname="CDCConnectorFailed"}', "http://prometheus/graph", True,
)  # fmt: skip
PLANNED = (ALICE, e.ActionPlanned("k1", "restart", PLAN, "second_person", (FAILED,)))
APPROVED, CONFIRMED = (BOB, e.ActionApproved("k1", PLAN.hash)), (ALICE, e.ActionConfirmed("k1", PLAN.hash))
STARTED = (ALICE, e.ActionStarted("k1"))

WHOLE: Story = (
    opened(1),
    (e.BOT, e.RunbookAttached("connector_failed", "Connector failed", "hash", STEPS)),
    (e.ALERTMANAGER, FIRED),
    (e.ALERTMANAGER, e.AlertsHidden("{}", 3)),
    (e.ALERTMANAGER, e.SeverityRaised(Severity.CRITICAL, "CDCConnectorFailed is critical")),
    (e.BOT, e.ProbeReported(LAG)),
    (e.BOT, e.ProbeReported(FAILED)),
    (ALICE, e.IncidentAcknowledged()),
    (ALICE, e.LeadAssigned(BOB)),
    (BOB, e.NoteAdded("the quota was raised ✓\nsecond line")),
    (ALICE, e.StepDone("look", None, "it says quota")),
    (ALICE, e.StepUndone("look")),
    (ALICE, e.StepDone("decide", "roll back", "the column is not needed")),
    (ALICE, e.StepSkipped("learn", "known")),
    PLANNED,
    APPROVED,
    CONFIRMED,
    STARTED,
    (e.BOT, e.ActionFinished("k1", True, "202 Accepted", {"tasks": "0"})),
    (e.BOT, e.ActionVerified("k1", True, ("task 0 is RUNNING",))),
    (ALICE, e.ActionPlanned("k2", None, PLAN, "responder")),
    (BOB, e.ActionCancelled("k2")),
    (ALICE, e.ActionPlanned("k3", None, PLAN, "responder")),
    (e.BOT, e.ActionRefused("k3", "restart_failed_tasks", "nothing is FAILED", True)),
    (ALICE, e.ActionPlanned("k4", None, PLAN, "responder")),
    (ALICE, e.ActionConfirmed("k4", PLAN.hash)),
    (ALICE, e.ActionStarted("k4")),
    (e.BOT, e.ActionOutcomeUnknown("k4", "the bot stopped while the request was on its way")),
    (e.BOT, e.IncidentMitigated("restart_failed_tasks verified")),
    (e.ALERTMANAGER, e.AlertResolved("3d5fee90bf32357a", AT, AT + timedelta(minutes=10))),
    (e.BOT, e.RecoveryNotVerified(("lag grows",), True)),
    (ALICE, e.ResolveRequested()),
    (e.BOT, e.RecoveryProved(("lag 0", "task 0 RUNNING"))),
    (e.BOT, e.IncidentResolved(True, "recovery proved")),
    (ALICE, e.IncidentReopened("it is back")),
    (ALICE, e.IncidentLinked("CDC-2", "the same quota")),
    (BOB, e.IncidentResolved(False, "replaced")),
)
INTERRUPTED: Story = (opened(2), (e.ALERTMANAGER, FIRED), PLANNED, APPROVED, CONFIRMED, STARTED)
WAITING: Story = (
    opened(3),
    (e.ALERTMANAGER, FIRED),
    (e.ALERTMANAGER, e.AlertEnded("3d5fee90bf32357a", AT, "silenced")),
    (ALICE, e.ActionPlanned("k1", "restart", PLAN, "responder", (FAILED,))),
)
STORIES = {"CDC-1": WHOLE, "CDC-2": INTERRUPTED, "CDC-3": WAITING}


def write(path: Path) -> None:
    """Write the journal to `path`, as one file."""
    store = Store(path)
    for incident, story in STORIES.items():
        with store.deciding() as writer:
            for version, (who, event) in enumerate(story, 1):
                writer.append(e.Entry(incident, version, AT + timedelta(seconds=version), who, event), version)
    _write_messages(store)
    _write_tasks(store)
    _write_inbox(store)
    store.first_seen([("customers-value", 1), ("customers-value", 2)], AT)
    store.save_counters({"dead_letters": [["customers", "dlq.customers", 7]], "last_offsets": []})
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("VACUUM")
    db.close()


def _write_messages(store: Store) -> None:
    """A card that stands, one that may have gone out, one that is due, and two answers."""
    with store.deciding() as writer:
        writer.deliver("CDC-1", "card", "page", "#cdc-incidents", 1, AT)
    (card,) = store.due_messages(AT, 10)
    store.sent(card, "C01INCIDENT", "1763862302.000100", 37, AT)
    with store.deciding() as writer:
        writer.deliver("CDC-2", "card", "page", "#cdc-incidents", 6, AT)
    (uncertain,) = store.due_messages(AT, 10)
    store.sending(uncertain)
    with store.deciding() as writer:
        writer.deliver("CDC-3", "card", "page", "#cdc-incidents", 4, AT)
        writer.deliver("CDC-3", "event:2", "reply", "#cdc-incidents", 4, AT)
        writer.answer("answer:1", "#cdc-incidents", {"text": "Noted.", "user": "U01ALICE"}, AT)
        writer.answer("answer:2", "#cdc-incidents", {"postmortem": "CDC-1"}, AT, lane="cosmetic")


def _write_tasks(store: Store) -> None:
    """An action and a probe that were under way, and work for later."""
    with store.deciding() as writer:
        writer.enqueue("action:CDC-2:k1", "CDC-2", "action", {"key": "k1"}, AT, AT)
        writer.enqueue("probe:CDC-2:consumer_lag", "CDC-2", "probe", {"probe": "consumer_lag"}, AT, AT)
    for kind in ("action", "probe"):
        assert store.claim_task([kind], AT) is not None
    later = AT + timedelta(days=1)
    with store.deciding() as writer:
        writer.enqueue("recovery:CDC-3", "CDC-3", "recovery", {}, later, AT)
        writer.enqueue("verify:CDC-1:k1:0", "CDC-1", "verify", {"key": "k1", "attempt": 0}, later, AT)


def _write_inbox(store: Store) -> None:
    """A row that is done, one that could not be read, and an alert and a click that wait."""
    store.receive("done", "slack.action", b"{}", AT)
    store.receive("unreadable", "alertmanager", b"\xff\x00", AT)
    for state in ("done", "unreadable"):
        row = store.next_inbox()
        assert row is not None
        with store.deciding() as writer:
            writer.end_inbox(row.id, state, "not JSON" if state == "unreadable" else "")
    alert = {
        "status": "firing", "labels": {"alertname": "CDCLagHigh", "severity": "critical"}, "annotations": {},
        "startsAt": "2026-11-23T01:50:00Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "waiting",
    }  # fmt: skip
    group = {
        "version": "4", "receiver": "cdc", "groupKey": "waiting", "groupLabels": {"alertname": "CDCLagHigh"},
        "status": "firing", "externalURL": "http://alertmanager:9093", "truncatedAlerts": 0, "alerts": [alert],
    }  # fmt: skip
    store.receive("am:waiting", "alertmanager", json.dumps(group).encode(), AT)
    command = {"user": {"id": "U01ALICE", "name": "alice"}, "channel": "C01INCIDENT", "text": "note CDC-3 I look"}
    store.receive("slack.command:waiting", "slack.command", json.dumps(command).encode(), AT)


def main() -> None:
    path = HERE / sys.argv[1]
    if path.exists():
        sys.exit(f"{path} is there: a golden journal is never written again. Read README.md beside it.")
    write(path)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
