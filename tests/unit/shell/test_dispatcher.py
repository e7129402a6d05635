"""The dispatcher: rows in order, each wholly done or still to do; nothing stops the next one."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable

import pytest

from bot.incident import commands as c
from bot.incident.alerts import read_notification
from tests.unit.shell.conftest import ALICE, AM, CHANNEL, Shell, alert, webhook


def slash(text: str) -> bytes:
    return json.dumps({"user": {"id": "UALICE", "name": "alice"}, "channel": "C1", "text": text}).encode()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("alertmanager", b"{not json"),
        ("alertmanager", b"\xff\xfe not text"),
        ("alertmanager", b'{"hello": "world"}'),
        ("alertmanager", b"[" * 100_000),
        ("slack.action", b"[" * 100_000),
        ("slack.action", b"\xff"),
        ("slack.action", b'"a string"'),
        ("slack.command", b"{}"),
        ("slack.view", b'{"callback_id": "cdc.note", "values": {}, "private_metadata": {}}'),
        ("grafana.oncall", b"{}"),
    ],
)
def test_a_row_that_cannot_be_read_is_kept_and_the_next_one_is_done(shell: Shell, kind: str, body: bytes) -> None:
    """It is marked with the reason, its bytes stay, and the alert behind it opens its incident."""
    shell.store.receive("bad", kind, body, shell.clock())
    shell.hear(webhook(alert()))
    state, note = shell.store.inbox_state("bad") or ("", "")
    assert "unreadable" == state
    assert note != ""
    assert [body] == shell.rows("SELECT body FROM inbox WHERE key = 'bad'")
    assert "IncidentOpened" == shell.kinds()[0]
    assert {f"inbox:{kind}": 1} == shell.errors


def test_what_cannot_be_read_is_reported_once_an_hour_and_kind(shell: Shell) -> None:
    """A sender gone wrong posts thousands; the channel reads of it once, and again an hour later."""
    for _ in range(5):
        shell.hear(b"junk")
    shell.hear(b"{}", kind="strange")
    assert [CHANNEL, CHANNEL] == [row.channel for row in shell.store.due_messages(shell.clock(), 100)]
    shell.clock.passes(3600)
    shell.hear(b"junk")
    said = [str(row.body["text"]) for row in shell.store.due_messages(shell.clock(), 100)]
    assert [True, True, True] == ["Could not read a" in text for text in said]


def test_a_defect_of_ours_sets_the_row_aside_and_leaves_nothing_half_done(shell: Shell) -> None:
    """An exception in handling is counted and told; no event of it is written."""
    good, shell.policy = shell.policy, None  # type: ignore[assignment]
    shell.store.receive("k", "alertmanager", webhook(alert()), shell.clock())
    with pytest.raises(AttributeError):
        shell.dispatcher.step()  # telling it needs the policy too: the row stays for the next attempt
    assert ("new", "") == shell.store.inbox_state("k")
    shell.policy = good
    assert shell.dispatcher.step()
    assert "IncidentOpened" == shell.kinds()[0]


def test_a_lone_surrogate_cannot_be_stored_and_does_not_stop_the_next(shell: Shell) -> None:
    """JSON may spell what UTF-8 cannot; SQLite refuses it in the middle of the decision, which is undone whole."""
    body = webhook(alert(summary="?")).replace(b'"?"', b'"\\ud800"')
    shell.store.receive("bad", "alertmanager", body, shell.clock())
    shell.hear(webhook(alert("f2")))
    assert "unreadable" == (shell.store.inbox_state("bad") or ("", ""))[0]
    assert ["f2"] == [known.fingerprint for known in shell.incident().alerts]


def test_a_journal_that_cannot_be_written_loses_no_row(shell: Shell) -> None:
    """Another process holds the lock: the row stays, and is done when the lock is gone."""
    shell.store._db().execute("PRAGMA busy_timeout = 20")
    shell.store.receive("k", "alertmanager", webhook(alert()), shell.clock())
    other = sqlite3.connect(shell.journal, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError):
        shell.dispatcher.step()
    assert ("new", "") == shell.store.inbox_state("k")
    other.execute("ROLLBACK")
    other.close()
    assert shell.dispatcher.step()
    assert ("done", "") == shell.store.inbox_state("k")


def test_a_second_writer_is_seen_and_not_overwritten(start: Callable[[], Shell]) -> None:
    """`cdc ack` in a terminal writes the same journal: the next decision of the bot stands on it."""
    bot, terminal = start(), start()
    bot.hear(webhook(alert()))
    assert terminal.dispatcher.order("CDC-1", c.AcknowledgeIncident(ALICE)).refusal is None
    assert "already" in bot.dispatcher.order("CDC-1", c.AcknowledgeIncident(ALICE)).reply
    bot.hear(webhook(alert(status="resolved")))
    versions = bot.rows("SELECT version FROM events ORDER BY seq")
    assert list(range(1, len(versions) + 1)) == versions
    assert 1 == bot.kinds().count("IncidentAcknowledged")


def test_writers_at_once_leave_no_gap_and_lose_no_note(start: Callable[[], Shell]) -> None:
    """Two processes with two threads each: every note is there once, versions count without a gap."""
    shells = [start(), start()]
    shells[0].hear(webhook(alert()))
    notes = [[f"note {n} of {writer}" for n in range(10)] for writer in range(4)]

    def note_all(shell: Shell, texts: list[str]) -> None:
        for text in texts:
            shell.dispatcher.order("CDC-1", c.AddNote(ALICE, text))

    threads = [threading.Thread(target=note_all, args=(shells[n % 2], texts)) for n, texts in enumerate(notes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = [entry for _, entry in shells[0].store.entries("CDC-1")]
    assert list(range(1, len(entries) + 1)) == [entry.version for entry in entries]
    said = [getattr(entry.event, "text", "") for entry in entries]
    assert sorted(text for texts in notes for text in texts) == sorted(text for text in said if text)


def test_the_same_webhook_again_says_nothing_new(shell: Shell) -> None:
    """A repeat, and the other replica's copy, add no event, no message and no task."""
    shell.hear(webhook(alert()))
    before = shell.rows("SELECT 'e', count(*) FROM events UNION SELECT 't', count(*) FROM tasks")
    shell.hear(webhook(alert()))
    shell.hear(webhook(alert(), source="http://other-replica:9093"))
    assert before == shell.rows("SELECT 'e', count(*) FROM events UNION SELECT 't', count(*) FROM tasks")


def test_a_reconciliation_that_fails_leaves_no_trace_on_the_board(shell: Shell) -> None:
    """What was rolled back never happened: the board does not show it, and the next versions have no gap."""
    shell.hear(webhook(alert()))
    bad = read_notification(webhook(alert("f2")))
    worse = read_notification(webhook(alert("f3", broken="\\ud800")).replace(b"\\\\ud800", b"\\ud800"))
    with pytest.raises(ValueError, match="surrogates"):
        shell.dispatcher.reconcile({"CDC-1": [("f1", shell.clock())]}, "ended", [worse])
    with pytest.raises(ValueError, match="surrogates"):
        shell.dispatcher.reconcile({}, "", [bad, worse])
    known = {a.fingerprint for a in shell.incident().alerts}
    journal = {row for row in shell.rows("SELECT json_extract(body, '$.fingerprint') FROM events") if row}
    assert journal == known
    shell.dispatcher.order("CDC-1", c.AddNote(ALICE, "after it"))
    versions = shell.rows("SELECT version FROM events ORDER BY seq")
    assert list(range(1, len(versions) + 1)) == versions
    assert versions[-1] == shell.incident().version


def test_a_slash_command_is_answered_where_it_was_asked(shell: Shell) -> None:
    """An order is decided, a question becomes a task, an unknown word is answered; none is dropped."""
    shell.hear(webhook(alert()))
    for text in ("ack", "lag g", "frobnicate", "postmortem CDC-9", ""):
        shell.hear(slash(text), kind="slack.command")
    assert "IncidentAcknowledged" in shell.kinds()
    said = [str(row.body["text"]) for row in shell.store.due_messages(shell.clock(), 100) if row.slot == "answer"]
    assert 3 == len(said)
    assert ["verb", "verb"] == shell.rows("SELECT kind FROM tasks WHERE kind = 'verb'")


def test_an_incident_of_another_alertmanager_is_kept_apart(shell: Shell) -> None:
    """Alerts that name no pipeline correlate by group and sender."""
    plain = alert("f7", pipeline="")
    shell.hear(webhook(plain))
    shell.hear(webhook({**plain, "fingerprint": "f8"}, source="http://elsewhere:9093"))
    assert [AM, "http://elsewhere:9093"] == [shell.incident(i).alerts[0].source for i in ("CDC-1", "CDC-2")]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("alertmanager", b'{"version":"4","alerts":[{"status":"firing","labels":{"\\ud800":5},"startsAt":"x"}]}'),
        ("alertmanager", b'{"version":"\\ud800","alerts":[]}'),
        ("slack.action", b'{"user":{"id":"U"},"verb":"\\ud800","value":{"i":"CDC-1"}}'),
        ("slack.command", b'{"user":{"id":"\\ud800","name":"\\ud800"},"channel":"\\ud800","text":"\\ud800"}'),
        ("slack.command", b'{"user":{"id":"U"},"channel":"C","text":"note CDC-1 \\ud800"}'),
    ],
)
def test_no_row_can_block_the_inbox_by_what_its_error_quotes(shell: Shell, kind: str, body: bytes) -> None:
    """A reason that quotes foreign text must be storable itself, or one row would stop every alert for ever."""
    shell.hear(webhook(alert()))
    shell.store.receive("poison", kind, body, shell.clock())
    shell.hear(webhook(alert("f2")))
    assert ["f1", "f2"] == [known.fingerprint for known in shell.incident().alerts]
    assert [0] == shell.rows("SELECT count(*) FROM inbox WHERE state = 'new'")


@pytest.mark.parametrize(("slots", "name"), [([], "CDCOncallTest"), (["checklist"], "CDCConnectorFailed")])
def test_a_checklist_comes_with_its_first_step(shell: Shell, slots: list[str], name: str) -> None:
    """No runbook is about a test: its thread has no message that says that there is nothing to do."""
    shell.hear(webhook(alert(alertname=name)))
    shell.dispatcher.order("CDC-1", c.AcknowledgeIncident(ALICE))
    assert slots == shell.rows("SELECT slot FROM outbox WHERE slot = 'checklist'")


# --- the log -------------------------------------------------------------------------------------------


def test_the_log_tells_of_incidents_and_of_nothing_else(shell: Shell, caplog: pytest.LogCaptureFixture) -> None:
    """A line when one opens and one when it is resolved, whatever comes between; foreign text stays in its line."""
    caplog.set_level(logging.INFO, "cdc.dispatcher")
    hostile = "bad\nCDC-9 opened\x1b[31m\u202e" + "x" * 500
    shell.hear(webhook(alert(severity="critical")))
    shell.hear(webhook(alert("f2")))
    shell.hear(webhook(alert("f3", pipeline="", alertname=hostile, group="g")))
    shell.dispatcher.order("CDC-1", c.ResolveIncident(ALICE, reason="false alarm"))
    said = [record.getMessage() for record in caplog.records if record.name == "cdc.dispatcher"]
    titles = [shell.incident(name).title for name in ("CDC-1", "CDC-2")]
    assert f"CDC-1 opened (critical, customers): {titles[0]}" == said[0]
    assert "CDC-2 opened (warning, no pipeline): bad CDC-9 opened [31m x" == said[1][:60]
    assert ["CDC-1 resolved, recovery not verified"] == said[2:]
    assert all(line.isprintable() and len(line) < 260 for line in said)


def test_the_log_tells_nothing_that_was_rolled_back(shell: Shell, caplog: pytest.LogCaptureFixture) -> None:
    """The row fails after its incident was made: there is none, and no line of one."""
    caplog.set_level(logging.INFO, "cdc.dispatcher")
    shell.store._db().execute("CREATE TEMP TRIGGER no BEFORE INSERT ON tasks BEGIN SELECT RAISE(ABORT, 'x'); END")
    with pytest.raises(sqlite3.Error):
        shell.hear(webhook(alert()))
    assert [] == [record.getMessage() for record in caplog.records if "opened" in record.getMessage()]
