"""The journal on SQLite: appended once, in order, with what it causes, in one transaction."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.incident import events as e
from bot.incident.runbook import Step
from bot.model import Finding, Plan, Severity, Signal, Status
from bot.store.sqlite import Store, StoreError, decode_event, encode_event, is_owned, own

NOW = datetime(2026, 11, 23, 2, 0, 0, 123456, tzinfo=UTC)
WHO = e.Who("slack:U1", "alice")
FOUND = Finding(
    "consumer_lag", "g", "STUCK", Status.RED, "stuck", NOW, Signal.LAG, {"lag_records": 5, "topics": [{"topic": "t"}]},
    ("line",), ("needs DESCRIBE on group g",),
)  # fmt: skip
PLAN = Plan("restart_failed_tasks", "c", "Restart", ("POST",), {"tasks": [0, 1]}, ("FAILED",), ("warning",), "abc")
EVERY_EVENT: tuple[e.Event, ...] = (
    e.IncidentOpened("t", "p", Severity.CRITICAL, "pipeline:p", "#c", "n", "@o", "0.1.0", "cfg"),
    e.RunbookAttached("r", "R", "h", (Step("s", "triage", "Look", probe="consumer_lag", args={"a": 1}),)),
    e.AlertFired("f", NOW, {"a": "<!channel>"}, {"b": "c"}, "http://am", "rcv", "gk", "http://g", True),
    e.AlertResolved("f", NOW, None),
    e.AlertEnded("f", NOW, "silenced"),
    e.AlertsHidden("gk", 3),
    e.SeverityRaised(Severity.CRITICAL, "x"),
    e.IncidentAcknowledged(),
    e.LeadAssigned(WHO),
    e.NoteAdded("note ✓"),
    e.StepDone("s", "roll back", "why"),
    e.StepSkipped("s", "why"),
    e.StepUndone("s"),
    e.ProbeReported(FOUND),
    e.ActionPlanned("k", "s", PLAN, "responder", (FOUND,)),
    e.ActionRefused("k", "a", "why", True),
    e.ActionApproved("k", "abc"),
    e.ActionCancelled("k"),
    e.ActionConfirmed("k", "abc"),
    e.ActionStarted("k"),
    e.ActionFinished("k", True, "202", {"silence": "id"}),
    e.ActionOutcomeUnknown("k", "why"),
    e.ActionVerified("k", False, ("line",)),
    e.IncidentMitigated("x"),
    e.ResolveRequested(),
    e.RecoveryProved(("a", "b")),
    e.RecoveryNotVerified(("a",), True),
    e.IncidentResolved(False, "x"),
    e.IncidentReopened("x"),
    e.IncidentLinked("CDC-2", "x"),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "journal.db")
    yield opened
    opened.close()


def test_every_event_is_read_back_as_it_was_written() -> None:
    """The journal is the only truth: no event may lose a field on its way through JSON."""
    assert {cls.__name__ for cls in e.Event.__args__} == {type(event).__name__ for event in EVERY_EVENT}
    for event in EVERY_EVENT:
        assert event == decode_event(*encode_event(event))


def test_an_event_of_a_newer_version_is_an_error_not_a_gap() -> None:
    """Skipping it would fold to a wrong incident."""
    with pytest.raises(StoreError, match="downgraded"):
        decode_event("IncidentTeleported", "{}")


def test_the_same_key_is_one_row(store: Store) -> None:
    """A retried click, a duplicated webhook."""
    assert store.receive("k", "slack.action", b"{}", NOW)
    assert not store.receive("k", "slack.action", b"{}", NOW)
    store.receive_many([("k", "a", b"x"), ("k2", "a", b"\xff\x00")], NOW)
    first = store.next_inbox()
    assert first is not None and first.body == b"{}"


def test_two_writers_cannot_both_be_next(store: Store) -> None:
    """(incident, version) is unique, whoever writes."""
    entry = e.Entry("CDC-1", 1, NOW, WHO, e.NoteAdded("a"))
    with store.deciding() as writer:
        writer.append(entry, None)
    with pytest.raises(sqlite3.IntegrityError), store.deciding() as writer:
        writer.append(entry, None)


def test_concurrent_decisions_neither_fail_nor_overwrite(tmp_path: Path) -> None:
    """Read-then-write from many threads and two connections' worth of stores: every version exactly once."""
    stores = [Store(tmp_path / "journal.db") for _ in range(2)]
    failures: list[BaseException] = []

    def decide_often(store: Store) -> None:
        try:
            for _ in range(25):
                with store.deciding() as writer:
                    version = sum(1 for _ in store.entries("CDC-1")) + 1
                    writer.append(e.Entry("CDC-1", version, NOW, WHO, e.NoteAdded(str(version))), None)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=decide_often, args=(store,)) for store in stores for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failures
    assert list(range(1, 201)) == [entry.version for _, entry in stores[0].entries("CDC-1")]
    for store in stores:
        store.close()


def test_a_decision_that_fails_leaves_nothing(store: Store) -> None:
    """Events, messages, tasks and the inbox row's end are one transaction."""
    store.receive("k", "alertmanager", b"{}", NOW)
    row = store.next_inbox()
    assert row is not None
    with pytest.raises(RuntimeError), store.deciding() as writer:
        writer.append(e.Entry("CDC-1", 1, NOW, WHO, e.NoteAdded("a")), row.id)
        writer.deliver("CDC-1", "card", "page", "#c", 1, NOW)
        writer.enqueue("t", "CDC-1", "probe", {}, NOW, NOW)
        writer.end_inbox(row.id, "done", "")
        raise RuntimeError("power cut")
    assert ([], (), None) == (
        list(store.entries()), store.due_messages(NOW, 10), store.claim_task(["probe"], NOW),
    )  # fmt: skip
    assert row == store.next_inbox()


def test_a_burst_of_changes_is_one_message(store: Store) -> None:
    """Many versions of a slot are one row that wants the newest; the most urgent lane wins while it waits."""
    with store.deciding() as writer:
        writer.deliver("CDC-1", "card", "page", "#c", 1, NOW)
        writer.deliver("CDC-1", "card", "cosmetic", "#c", 5, NOW)
        writer.deliver("CDC-1", "card", "card", "#c", 3, NOW)
    (row,) = store.due_messages(NOW, 10)
    assert (5, "page", None) == (row.wanted, row.lane, row.ts)
    store.sent(row, "C1", "1.1", 5, NOW)
    assert () == store.due_messages(NOW, 10)
    with store.deciding() as writer:
        writer.deliver("CDC-1", "card", "card", "#c", 6, NOW)
    (again,) = store.due_messages(NOW, 10)
    assert ("1.1", "C1", "card") == (again.ts, again.channel_id, again.lane)
    assert ("C1", "1.1") == store.posted("CDC-1", "card")


def test_a_change_during_the_send_stays_due(store: Store) -> None:
    """What was wanted meanwhile is not marked as shown."""
    with store.deciding() as writer:
        writer.deliver("CDC-1", "card", "page", "#c", 1, NOW)
    (row,) = store.due_messages(NOW, 10)
    with store.deciding() as writer:
        writer.deliver("CDC-1", "card", "card", "#c", 2, NOW)
    store.sent(row, "C1", "1.1", 1, NOW)
    assert [2] == [r.wanted for r in store.due_messages(NOW, 10)]


def test_urgent_lanes_come_first_and_postponed_rows_wait(store: Store) -> None:
    """A page never waits behind cosmetics; nothing in a thread is due before its card is posted."""
    with store.deciding() as writer:
        for slot, lane in (("checklist", "cosmetic"), ("card", "card"), ("event:2", "reply"), ("page:x", "page")):
            writer.deliver("CDC-1", slot, lane, "#c", 1, NOW)
    (card,) = store.due_messages(NOW, 10)
    assert "card" == card.slot
    store.sent(card, "C1", "1.1", 1, NOW)
    due = store.due_messages(NOW, 10)
    assert ["page", "reply", "cosmetic"] == [row.lane for row in due]
    store.postpone(due[0], NOW + timedelta(seconds=5), "ratelimited", False)
    assert "page" not in [row.lane for row in store.due_messages(NOW, 10)]
    assert "page" in [row.lane for row in store.due_messages(NOW + timedelta(seconds=5), 10)]


def test_a_storm_in_one_channel_holds_up_no_other(store: Store) -> None:
    """Thirty cards wait in one channel; the one of another channel, and an answer, are due all the same."""
    with store.deciding() as writer:
        for number in range(30):
            writer.deliver(f"CDC-{number}", "card", "page", "#busy", 1, NOW)
        writer.deliver("CDC-99", "card", "card", "#quiet", 1, NOW)
        writer.answer("a", "#busy", {"text": "x"}, NOW)
    due = store.due_messages(NOW, 5)
    assert 5 == sum(row.channel == "#busy" and row.slot == "card" for row in due)
    assert {"CDC-99/card", "a"} <= {row.key for row in due}


def test_a_task_is_claimed_once_and_found_after_a_crash(store: Store) -> None:
    """Two workers never run the same task; what was running is known at the next start."""
    with store.deciding() as writer:
        writer.enqueue("t1", "CDC-1", "action", {"key": "k"}, NOW, NOW)
        writer.enqueue("t1", "CDC-1", "action", {"key": "other"}, NOW, NOW)
        writer.enqueue("t2", "CDC-1", "action", {}, NOW + timedelta(seconds=9), NOW)
    claimed = store.claim_task(["action"], NOW)
    assert claimed is not None and claimed.body == {"key": "k"}
    assert store.claim_task(["action"], NOW) is None
    assert ["t1"] == [task.key for task in store.running_tasks()]


def test_a_write_that_fails_is_told_until_one_succeeds(tmp_path: Path) -> None:
    """A full disk: nothing of it is stored, and health can say why; the next write that holds ends it."""
    full: list[str] = []

    def commit(moment: str) -> None:
        if full and moment == "before":
            raise sqlite3.OperationalError(full[0])

    store = Store(tmp_path / "journal.db", commit)
    full.append("database or disk is full")
    with pytest.raises(sqlite3.OperationalError):
        store.receive("k", "alertmanager", b"{}", NOW)
    assert ("database or disk is full", 0) == (store.depths()["write_error"], store.depths()["inbox"])
    full.clear()
    assert store.receive("k", "alertmanager", b"{}", NOW)
    assert ("", 1) == (store.depths()["write_error"], store.depths()["inbox"])
    store.close()


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    """The person who installs it reads which file and why."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(StoreError, match=r"journal\.db: .* is not a database. Put a backup .*`cdc restore FILE`"):
        Store(path)
    with pytest.raises(StoreError, match=r"under: cannot be opened .* must be able to write there"):
        Store(path / "under")


def test_numbers_go_on_where_they_stopped(store: Store) -> None:
    """CDC-12 follows CDC-11, also after a restart."""
    with store.deciding() as writer:
        assert 1 == writer.next_number()
        writer.append(e.Entry("CDC-11", 1, NOW, WHO, e.NoteAdded("a")), None)
        assert 12 == writer.next_number()


def test_one_bot_owns_the_journal(tmp_path: Path) -> None:
    """A second bot is refused by name; a reader is not, and the first one's end lets go."""
    path = tmp_path / "journal.db"
    assert not is_owned(path)
    first = Store(path, lock=own(path))
    assert is_owned(path)
    with pytest.raises(StoreError, match="another bot"):
        own(path)
    reader = Store(path)
    assert reader.receive("k", "alertmanager", b"{}", NOW)
    reader.close()
    assert is_owned(path)
    first.close()
    own(path).close()


def test_a_new_journal_is_for_the_bots_account_alone(tmp_path: Path) -> None:
    """Alerts, names and notes stand in it; a mode that somebody widened is kept."""
    path = tmp_path / "journal.db"
    Store(path).close()
    assert 0o600 == path.stat().st_mode & 0o777

    path.chmod(0o660)
    Store(path).close()
    assert 0o660 == path.stat().st_mode & 0o777
