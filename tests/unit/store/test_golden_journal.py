"""Journals as earlier releases wrote them: each still opens, means what it meant, and a bot starts on it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.app import start_bot
from bot.drill.loopback import free_port
from bot.drill.workspace import SlackWorkspace
from bot.incident import events as e
from bot.incident.facts import postmortem_facts
from bot.incident.state import Incident, fold
from bot.incident.timeline import timeline
from bot.store.copies import backup, inspect, restore
from bot.store.sqlite import SCHEMA_VERSION, Store, decode_event, encode_event

HERE = Path(__file__).parents[2] / "golden" / "journal"
# A file and its SHA-256: what people have on their disks is never written again. See README.md beside the files.
GOLDEN = {"v1.db": "e13540f2ec29bd762c3c7ff97f4fddcc79bab938de8192e35e43e33bd0bba381"}
CONFIG = """\
listen: 127.0.0.1:{port}
state: ./journal.db
alertmanager: {{url: "http://127.0.0.1:9", tokens: ["${{WEBHOOK}}"]}}
connect: {{url: "http://127.0.0.1:9"}}
slack: {{mode: http, bot_token: "${{TOKEN}}", signing_secret: "${{SECRET}}", api_url: {slack_api}}}
people: {{responders: [U01ALICE]}}
actions: [restart_failed_tasks]
probes: {{interval: 1d, deadline: 1s}}
pipelines: {{customers: {{topics: [customers], sink: {{connector: customers-sink}}}}}}
"""
ENVIRON = {"WEBHOOK": "w", "TOKEN": "xoxb-golden", "SECRET": "golden-secret"}


@pytest.fixture(params=sorted(GOLDEN))
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a golden journal; the original is only read."""
    path = tmp_path / "journal.db"
    shutil.copyfile(HERE / request.param, path)
    return path


@pytest.fixture
def store(journal: Path) -> Iterator[Store]:
    opened = Store(journal)
    yield opened
    opened.close()


def folded(store: Store, incident_id: str) -> Incident:
    incident = fold([entry for _, entry in store.entries(incident_id)])
    assert incident is not None
    return incident


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def until(holds: Callable[[], object], what: str, within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"waited {within_s:g} s for {what}"
        time.sleep(0.02)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_golden_journal_is_never_written_again(name: str) -> None:
    """Its bytes are the promise: make a new one beside it instead."""
    assert GOLDEN[name] == hashlib.sha256((HERE / name).read_bytes()).hexdigest()


def test_the_newest_one_is_of_todays_schema_and_knows_every_event() -> None:
    """Who raises SCHEMA_VERSION or adds an event adds a golden journal: its README says how."""
    newest = HERE / max(GOLDEN)
    written = {row[0] for row in rows(newest, "SELECT DISTINCT type FROM events")}
    assert {cls.__name__ for cls in e.Event.__args__} == written
    assert [(SCHEMA_VERSION,)] == rows(newest, "PRAGMA user_version")


def within(old: Any, new: Any) -> bool:
    """Whether everything that was written is still there; keys may have been added."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and within(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(within, old, new))
    return bool(old == new)


def test_no_event_loses_a_field(journal: Path) -> None:
    """Read and written again it holds all that it held: nothing was renamed, dropped or re-typed."""
    found = rows(journal, "SELECT type, body FROM events ORDER BY seq")
    assert 45 < len(found)
    lost = [
        (kind, body)
        for kind, body in found
        if not within(json.loads(body), json.loads(encode_event(decode_event(kind, body))[1]))
    ]
    assert [] == lost


def test_the_schema_is_brought_up_to_date_and_loses_nothing(journal: Path) -> None:
    """Opening is the upgrade; every row is still there."""
    tables = ("inbox", "events", "outbox", "tasks", "first_seen")
    before = [rows(journal, f"SELECT count(*) FROM {table}") for table in tables]
    store = Store(journal)
    store.close()
    assert [(SCHEMA_VERSION,)] == rows(journal, "PRAGMA user_version")
    assert before == [rows(journal, f"SELECT count(*) FROM {table}") for table in tables]


def test_the_incidents_mean_what_they_meant(store: Store) -> None:
    """The fold of a whole life, of an interrupted action and of a waiting plan; each can be told."""
    whole, interrupted, waiting = (folded(store, f"CDC-{number}") for number in (1, 2, 3))
    assert ("resolved", False, 1) == (whole.status, whole.resolved_verified, whole.reopened)
    assert ["succeeded", "cancelled", "refused", "unknown"] == [action.status for action in whole.actions]
    assert (True, "bob ✓") == (whole.actions[0].verified, whole.lead.name if whole.lead else None)
    assert ["done", "skipped"] == [s.status for s in whole.steps if s.step.id in ("decide", "learn")]
    assert (("CDC-2", "the same quota"),) == whole.links
    assert ("open", "started") == (interrupted.status, interrupted.actions[0].status)
    assert ("open", "planned") == (waiting.status, waiting.actions[0].status)
    for incident in (whole, interrupted, waiting):
        entries = tuple(entry for _, entry in store.entries(incident.id))
        assert len(timeline(entries)) > 2
        assert incident == postmortem_facts(incident, entries, datetime(2026, 11, 24, tzinfo=UTC)).incident


def test_what_waits_is_read(store: Store) -> None:
    """Messages, tasks, requests and counters are rows of an earlier release too."""
    due = {row.key: row for row in store.due_messages(datetime(2026, 11, 24, tzinfo=UTC), 50)}
    assert {"CDC-2/card", "CDC-3/card", "answer:1", "answer:2"} == set(due)
    assert due["CDC-2/card"].uncertain and not due["CDC-3/card"].uncertain
    assert ("C01INCIDENT", "1763862302.000100") == store.posted("CDC-1", "card")
    assert ["action", "probe"] == [task.kind for task in store.running_tasks()]
    row = store.next_inbox()
    assert row is not None and ("am:waiting", "alertmanager") == (row.key, row.kind)
    assert 2 == len(store.seen_versions())
    assert [["customers", "dlq.customers", 7]] == store.counters()["dead_letters"]
    assert 1 == store.depths()["unreadable"]


def test_it_is_backed_up_and_restored(journal: Path, tmp_path: Path) -> None:
    """By today's commands, without having been opened by today's bot."""
    contents = backup(journal, tmp_path / "b.db")
    assert (3, rows(journal, "SELECT count(*) FROM events")[0][0]) == (contents.incidents, contents.events)
    restore(tmp_path / "b.db", journal, datetime(2026, 11, 24, tzinfo=UTC), lambda path: None)
    assert contents.events == inspect(journal).events


def test_a_bot_starts_on_it_and_goes_on(journal: Path, tmp_path: Path) -> None:
    """What waited is decided and said; the action that was on its way is shown as unknown and is not run again."""
    slack = SlackWorkspace(token="xoxb-golden", signing_secret="golden-secret", rate_limits=False).start()
    path = tmp_path / "cdc.yml"
    path.write_text(CONFIG.format(port=free_port(), slack_api=slack.api_url))
    bot = start_bot(path, ENVIRON)
    try:
        until(lambda: bot.store.next_inbox() is None, "the requests that waited")
        interrupted = bot.dispatcher.incident("CDC-2")
        assert interrupted is not None and "unknown" == interrupted.actions[0].status
        started = rows(journal, "SELECT type FROM events WHERE type = 'ActionStarted' AND incident = 'CDC-2'")
        assert [("ActionStarted",)] == started
        kinds = rows(journal, "SELECT type FROM events WHERE incident = 'CDC-3' ORDER BY version DESC LIMIT 1")
        assert [("NoteAdded",)] == kinds
        assert [("done",)] == rows(journal, "SELECT state FROM tasks WHERE key = 'action:CDC-2:k1'")

        def cards() -> dict[str, str]:
            keys = {m["metadata"]["event_payload"]["key"]: m["text"] for m in slack.messages() if m["metadata"]}
            return {key: text for key, text in keys.items() if key.endswith("/card")}

        until(lambda: {"CDC-2/card", "CDC-3/card", "CDC-4/card"} <= set(cards()), "a card for each open incident")
    finally:
        bot.stop()
        slack.stop()
