"""A look at a journal makes none, disturbs none, and tells what is there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.store.look import Look, card_error, look, seen_versions, webhook_with
from bot.store.sqlite import SCHEMA_VERSION, Store, StoreError, own

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def test_looking_makes_no_journal(tmp_path: Path) -> None:
    """A missing journal stays missing, and so does its folder."""
    with pytest.raises(FileNotFoundError):
        look(tmp_path / "state" / "cdc.db")
    assert [] == list(tmp_path.iterdir())


def test_looking_leaves_nothing_beside_the_journal(tmp_path: Path) -> None:
    """A log made by root, who only looked, would keep the bot from writing."""
    Store(tmp_path / "cdc.db").close()
    assert SCHEMA_VERSION == look(tmp_path / "cdc.db").schema
    assert ["cdc.db"] == [path.name for path in tmp_path.iterdir()]


def test_a_look_beside_a_running_bot_tells_the_last_webhook(tmp_path: Path) -> None:
    """What the bot stored a moment ago is seen; a click is not a webhook."""
    store = Store(tmp_path / "cdc.db", lock=own(tmp_path / "cdc.db"))
    assert Look(SCHEMA_VERSION) == look(store.path)
    store.receive("am:1", "alertmanager", b'{"cdc_test": "abc"}', AT)
    store.receive("am:2", "alertmanager", b'{"cdc_test": "abc"}', AT + timedelta(seconds=5))
    store.receive("s:1", "slack.action", b"abcd", AT + timedelta(seconds=9))
    assert AT + timedelta(seconds=5) == look(store.path).last_webhook_at
    assert [AT, None] == [webhook_with(store.path, words) for words in ("abc", "abcd")]
    store.close()


def test_a_card_that_was_not_posted_says_why(tmp_path: Path) -> None:
    """Nothing before it was tried, Slack's word after, and nothing once it is posted."""
    store = Store(tmp_path / "cdc.db", lock=own(tmp_path / "cdc.db"))
    with store.deciding() as writer:
        writer.deliver("CDC-1", "card", "card", "#c", 1, AT)
    (row,) = store.due_messages(AT, 10)
    said = [card_error(store.path, "CDC-1"), card_error(store.path, "CDC-2")]
    store.postpone(row, AT, "channel_not_found", False)
    said.append(card_error(store.path, "CDC-1"))
    store.sent(row, "C1", "1.1", 1, AT)
    assert ["", "", "channel_not_found", ""] == [*said, card_error(store.path, "CDC-1")]
    store.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE birds (name TEXT)")


@pytest.mark.parametrize(
    ("words", "make"),
    [
        ("cannot be read as a journal", lambda path: path.write_bytes(b"garbage" * 1000)),
        ("is not a file", lambda path: path.mkdir()),
        ("no journal of cdc-oncall", foreign),
        ("no journal of cdc-oncall", lambda path: path.write_bytes(b"")),
    ],
)
def test_what_is_no_journal_is_named(tmp_path: Path, words: str, make: Callable[[Path], object]) -> None:
    """Garbage, a folder, another program's database, an empty file: one error, and the file is as it was."""
    path = tmp_path / "cdc.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreError, match=words):
        look(path)
    assert before == (path.read_bytes() if path.is_file() else None)


def test_a_newer_journal_is_told_and_not_read(tmp_path: Path) -> None:
    """Its tables may mean something else."""
    newer(tmp_path / "cdc.db")
    assert Look(SCHEMA_VERSION + 1, is_newer=True) == look(tmp_path / "cdc.db")


def test_what_the_bot_remembers_of_schemas_can_be_read_beside_it(tmp_path: Path) -> None:
    """A terminal says what Slack says; without a journal, or with none that can be read, nothing is remembered."""
    assert {} == seen_versions(tmp_path / "cdc.db")
    (tmp_path / "text.db").write_text("no journal")
    assert {} == seen_versions(tmp_path / "text.db")

    store = Store(tmp_path / "cdc.db")
    store.first_seen([("customers-value", 3)], AT)
    assert {("customers-value", 3): AT} == seen_versions(store.path)
    store.close()
