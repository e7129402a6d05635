"""Which file is the journal: by a link or by its own name, and never a file that is somebody else's."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.incident import events as e
from bot.store.copies import backup, restore
from bot.store.look import look, webhook_with
from bot.store.sqlite import Store, StoreError, is_owned, lock_of, own

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
WHO = e.Who("slack:U1", "alice")


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """`state` as people mount it: a name here, the file on a volume."""
    (tmp_path / "volume").mkdir()
    named = tmp_path / "cdc.db"
    named.symlink_to(tmp_path / "volume" / "real.db")
    return named


def test_a_linked_journal_is_looked_at_where_its_log_is(link: Path) -> None:
    """SQLite keeps the log beside the file, not beside the link: what the bot stored a moment ago is seen."""
    store = Store(link, lock=own(link))
    try:
        store.receive("k", "alertmanager", b'{"x": "NONCE"}', NOW)
        assert (NOW, NOW) == (webhook_with(link, "NONCE"), look(link).last_webhook_at)
    finally:
        store.close()


def test_a_journal_has_one_lock_by_whatever_name(link: Path, tmp_path: Path) -> None:
    """Two bots, one started by the link and one by the file, would each do every action."""
    real = tmp_path / "volume" / "real.db"
    lock = own(link)
    try:
        assert [True, True] == [is_owned(link), is_owned(real)]
        with pytest.raises(StoreError, match="another bot"):
            own(real)
    finally:
        lock.close()
    assert lock_of(link) == lock_of(real) == tmp_path / "volume" / "real.db.lock"


def test_a_restore_keeps_the_link_and_replaces_the_file(link: Path, tmp_path: Path) -> None:
    """A file in the link's place would be gone with the container."""
    store = Store(link)
    with store.deciding() as writer:
        writer.append(e.Entry("CDC-1", 1, NOW, WHO, e.NoteAdded("a")), None)
    store.close()
    backup(link, tmp_path / "b.db")
    restored = restore(tmp_path / "b.db", link, NOW, lambda _: None)
    assert link.is_symlink()
    assert {"real.db", "real.db.lock", "real.db.before-restore-20261123T020000Z"} == {
        path.name for path in (tmp_path / "volume").iterdir()
    }
    assert (1, tmp_path / "volume" / "real.db.before-restore-20261123T020000Z") == (
        restored.contents.events, restored.aside,
    )  # fmt: skip


def photos(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE photos (name TEXT)")


def photos_of_schema_1(db: sqlite3.Connection) -> None:
    photos(db)
    db.execute("PRAGMA user_version = 1")


def another_inbox(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE inbox (sender TEXT)")


@pytest.mark.parametrize("make", [photos, photos_of_schema_1, another_inbox])
def test_another_programs_database_gets_none_of_our_tables(
    tmp_path: Path, make: Callable[[sqlite3.Connection], None]
) -> None:
    """Sound, and not ours: not a byte of it is changed, and no new one is begun in its place."""
    path = tmp_path / "cdc.db"
    with closing(sqlite3.connect(path)) as db:
        make(db)
        db.commit()
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(StoreError, match="is not a journal of cdc-oncall: is `state` right"):
        Store(path)
    assert before == hashlib.sha256(path.read_bytes()).hexdigest()
    assert ["cdc.db"] == [each.name for each in tmp_path.iterdir()]
