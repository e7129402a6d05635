"""Copies of the journal: consistent while the bot writes, checked before they are believed, put back whole."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.incident import events as e
from bot.store.copies import backup, inspect, restore
from bot.store.sqlite import SCHEMA_VERSION, Store, StoreError, own

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
ASIDE = "journal.db.before-restore-20261123T020000Z"
WHO = e.Who("slack:U1", "alice")


def note(store: Store, incident: str, version: int) -> None:
    with store.deciding() as writer:
        writer.append(e.Entry(incident, version, NOW, WHO, e.NoteAdded(f"note {version}")), None)


def notes(path: Path) -> list[tuple[str, int]]:
    store = Store(path)
    try:
        return [(entry.incident, entry.version) for _, entry in store.entries()]
    finally:
        store.close()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def leave(path: Path) -> None:
    """The settling of somebody who has nothing to settle."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "journal.db")
    for version in (1, 2):
        note(opened, "CDC-1", version)
    note(opened, "CDC-2", 1)
    yield opened
    opened.close()


def test_a_backup_is_one_file_that_says_what_it_holds(store: Store, tmp_path: Path) -> None:
    """Made while the journal is open; no log, no part, nothing beside it, and readable by its owner alone."""
    target = tmp_path / "copies" / "one.db"
    target.parent.mkdir()
    contents = backup(store.path, target)
    assert (2, 3, SCHEMA_VERSION, NOW) == (contents.incidents, contents.events, contents.schema, contents.newest)
    assert target.stat().st_size == contents.size_bytes
    assert ["one.db"] == names(target.parent)
    assert 0o600 == target.stat().st_mode & 0o777
    assert contents == inspect(target)


def test_a_backup_during_writes_is_a_moment_of_the_journal(store: Store, tmp_path: Path) -> None:
    """Two events of one decision are both in a copy or neither, however busy the bot is."""
    stopped = threading.Event()

    def write() -> None:
        version = 1
        while not stopped.is_set():
            with store.deciding() as writer:
                for incident in ("CDC-8", "CDC-9"):
                    writer.append(e.Entry(incident, version, NOW, WHO, e.NoteAdded("x" * 2000)), None)
            version += 1

    writing = threading.Thread(target=write)
    writing.start()
    try:
        sizes = []
        for number in range(10):
            target = tmp_path / f"{number}.db"
            backup(store.path, target)
            held = notes(target)
            assert [v for i, v in held if i == "CDC-8"] == [v for i, v in held if i == "CDC-9"]
            sizes.append(len(held))
    finally:
        stopped.set()
        writing.join()
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


def test_a_file_that_is_there_is_replaced_only_when_asked(store: Store, tmp_path: Path) -> None:
    """Last night's backup is not lost by a typing error; and the journal is never its own backup."""
    target = tmp_path / "b.db"
    target.write_text("something of yours")
    with pytest.raises(StoreError, match="there already; nothing was written"):
        backup(store.path, target)
    assert "something of yours" == target.read_text()
    assert 3 == backup(store.path, target, overwrite=True).events
    with pytest.raises(StoreError, match="the journal itself"):
        backup(store.path, store.path, overwrite=True)


def test_a_backup_that_fails_leaves_nothing(store: Store, tmp_path: Path) -> None:
    """A folder that is not there, a journal that is not there: said by name, and no half a file."""
    with pytest.raises(StoreError, match="No such file or directory; the backup was not written"):
        backup(store.path, tmp_path / "nowhere" / "b.db")
    with pytest.raises(StoreError, match="there is no journal yet"):
        backup(tmp_path / "other.db", tmp_path / "b.db")
    assert not (tmp_path / "b.db").exists() and not (tmp_path / "other.db").exists()


def test_a_damaged_journal_is_not_backed_up(store: Store, tmp_path: Path) -> None:
    """A copy that nobody could restore is worse than none: the last good one would be replaced by it."""
    for version in range(3, 300):
        note(store, "CDC-1", version)
    store.close()
    raw = bytearray(store.path.read_bytes())
    raw[4096 * 3 : 4096 * 9] = b"\xff" * 4096 * 6
    store.path.write_bytes(raw)
    target = tmp_path / "b.db"
    target.write_text("the last good one")
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        backup(store.path, target, overwrite=True)
    assert "the last good one" == target.read_text()


def test_a_restore_puts_back_and_keeps_what_was_there(store: Store, tmp_path: Path) -> None:
    """What happened since the backup is beside it, its log included, and is a journal that opens."""
    backup(store.path, tmp_path / "b.db")
    note(store, "CDC-3", 1)
    restored = restore(tmp_path / "b.db", store.path, NOW, leave)
    store.close()
    assert tmp_path / ASIDE == restored.aside
    assert [("CDC-1", 1), ("CDC-1", 2), ("CDC-2", 1)] == notes(store.path)
    assert ("CDC-3", 1) in notes(tmp_path / ASIDE)
    assert 3 == inspect(tmp_path / "b.db").events


def test_a_restore_where_there_is_no_journal_keeps_none(store: Store, tmp_path: Path) -> None:
    """On a new machine there is nothing to keep."""
    backup(store.path, tmp_path / "b.db")
    restored = restore(tmp_path / "b.db", tmp_path / "new" / "journal.db", NOW, leave)
    assert (None, 3) == (restored.aside, restored.contents.events)
    assert 3 == len(notes(tmp_path / "new" / "journal.db"))


def test_a_log_that_was_left_behind_is_not_read_into_the_restored_journal(store: Store, tmp_path: Path) -> None:
    """Someone deleted the journal and forgot its log: SQLite would apply it to whatever file has the name."""
    backup(store.path, tmp_path / "b.db")
    note(store, "CDC-3", 1)
    (tmp_path / "log").write_bytes(Path(f"{store.path}-wal").read_bytes())
    store.close()
    store.path.unlink()
    (tmp_path / "log").rename(f"{store.path}-wal")
    assert restore(tmp_path / "b.db", store.path, NOW, leave).aside is None
    assert [("CDC-1", 1), ("CDC-1", 2), ("CDC-2", 1)] == notes(store.path)
    assert (tmp_path / f"{ASIDE}-wal").stat().st_size > 0


def test_a_restore_of_a_broken_journal_keeps_it_for_whoever_wants_to_look(store: Store, tmp_path: Path) -> None:
    """The very case that one restores for: nothing of the present file needs to be readable."""
    backup(store.path, tmp_path / "b.db")
    store.close()
    store.path.write_bytes(b"not a database, but long enough to be looked at as one" * 20)
    assert tmp_path / ASIDE == restore(tmp_path / "b.db", store.path, NOW, leave).aside
    assert 3 == len(notes(store.path))
    assert (tmp_path / ASIDE).read_bytes().startswith(b"not a database")


def test_a_running_bot_is_not_restored_over(store: Store, tmp_path: Path) -> None:
    """Its connections would go on writing into the file that was moved away."""
    backup(store.path, tmp_path / "b.db")
    with own(store.path), pytest.raises(StoreError, match="a bot runs on this journal; nothing was restored"):
        restore(tmp_path / "b.db", store.path, NOW, leave)
    assert not (tmp_path / ASIDE).exists()


def unknown_event(db: sqlite3.Connection) -> None:
    db.execute("UPDATE events SET type = 'IncidentTeleported' WHERE seq = 2")


def newer_schema(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def no_journal(db: sqlite3.Connection) -> None:
    db.execute("DROP TABLE events")


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("does not know: was it downgraded", unknown_event),
        ("written by a newer version", newer_schema),
        ("is no journal of cdc-oncall", no_journal),
    ],
)
def test_a_backup_that_this_version_cannot_read_is_refused(store: Store, tmp_path: Path, words, change) -> None:
    """Before anything is moved: the journal is the one that was there."""
    backup(store.path, tmp_path / "b.db")
    with sqlite3.connect(tmp_path / "b.db") as db:
        change(db)
    db.close()
    with pytest.raises(StoreError, match=words):
        restore(tmp_path / "b.db", store.path, NOW, leave)
    assert 3 == inspect(store.path).events
    assert not (tmp_path / ASIDE).exists()


@pytest.mark.parametrize("contents", [b"", b"not a database, but long enough to be looked at as one" * 20])
def test_a_file_that_is_no_backup_is_refused(store: Store, tmp_path: Path, contents: bytes) -> None:
    """A wrong name on the command line restores nothing."""
    (tmp_path / "b.db").write_bytes(contents)
    with pytest.raises(StoreError, match=r"b\.db: (cannot be read as a journal|is no journal)"):
        restore(tmp_path / "b.db", store.path, NOW, leave)
    with pytest.raises(StoreError, match="there is no such file"):
        restore(tmp_path / "c.db", store.path, NOW, leave)
    with pytest.raises(StoreError, match="the journal itself"):
        restore(store.path, store.path, NOW, leave)
    assert 3 == inspect(store.path).events


def test_a_restore_that_cannot_be_settled_changes_nothing(store: Store, tmp_path: Path) -> None:
    """A broken runbook, a full disk: the journal is the one that was there, and no part is left behind."""
    backup(store.path, tmp_path / "b.db")
    before = set(names(tmp_path))

    def fail(path: Path) -> None:
        raise RuntimeError("a broken runbook")

    with pytest.raises(RuntimeError):
        restore(tmp_path / "b.db", store.path, NOW, fail)
    assert before | {"journal.db.lock"} == set(names(tmp_path))
    assert 3 == inspect(store.path).events


def garbled(db: sqlite3.Connection) -> None:
    db.execute("UPDATE events SET body = '{\"secret-of-alice\": 1}' WHERE seq = 2")


def no_text(db: sqlite3.Connection) -> None:
    db.execute("UPDATE events SET body = CAST(x'7b2273656372657420ff' AS TEXT) WHERE seq = 2")


def no_time(db: sqlite3.Connection) -> None:
    db.execute("UPDATE events SET at = 'secret' WHERE seq = 2")


@pytest.mark.parametrize("change", [garbled, no_text, no_time])
def test_an_event_that_cannot_be_read_is_named_and_not_shown(store: Store, tmp_path: Path, change) -> None:
    """Its row and type lead to it; what stands in it may be what somebody said in confidence."""
    backup(store.path, tmp_path / "good.db")
    backup(store.path, tmp_path / "b.db")
    store.close()
    for path in (store.path, tmp_path / "b.db"):
        with sqlite3.connect(path) as db:
            change(db)
        db.close()
    with pytest.raises(StoreError, match=r"journal\.db: row 2 holds an event NoteAdded") as error:
        backup(store.path, tmp_path / "c.db")
    with pytest.raises(StoreError, match=r"/b\.db: row 2 holds an event NoteAdded") as second:
        restore(tmp_path / "b.db", store.path, NOW, leave)
    assert "secret" not in f"{error.value}{second.value}"
    assert not (tmp_path / "c.db").exists()
    restore(tmp_path / "good.db", store.path, NOW, leave)
    assert 3 == inspect(store.path).events


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link(path: Path) -> None:
    (path.parent / "last.db").write_text("last night's")
    path.symlink_to(path.parent / "last.db")


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere.db")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("make", [a_fifo, a_folder, a_link, a_link_to_nothing])
def test_what_is_no_file_of_its_own_is_never_replaced(store: Store, tmp_path: Path, make, overwrite: bool) -> None:
    """Asked or not: a pipe or a device that becomes a file breaks whoever uses it."""
    make(tmp_path / "b.db")
    before = (tmp_path / "b.db").lstat()
    with pytest.raises(StoreError, match="is not a regular file; nothing was written"):
        backup(store.path, tmp_path / "b.db", overwrite)
    assert (before.st_ino, before.st_mode) == ((now := (tmp_path / "b.db").lstat()).st_ino, now.st_mode)


@pytest.mark.parametrize("suffix", ["-wal", "-shm", ".lock"])
def test_what_belongs_to_the_journal_is_no_place_for_its_backup(store: Store, suffix: str) -> None:
    """A backup with the name of the log would be read into the journal."""
    with pytest.raises(StoreError, match="is part of the journal; nothing was written"):
        backup(store.path, Path(f"{store.path}{suffix}"), overwrite=True)
    assert 3 == len(notes(store.path))


def next_number(path: Path) -> int:
    store = Store(path)
    try:
        with store.deciding() as writer:
            return writer.next_number()
    finally:
        store.close()


def test_numbers_given_after_the_backup_are_not_given_again(store: Store, tmp_path: Path) -> None:
    """Slack still shows their cards; also after a second restore, when only the floor of the first is left."""
    backup(store.path, tmp_path / "b.db")
    for number in (3, 17):
        note(store, f"CDC-{number}", 1)
    store.close()
    first = restore(tmp_path / "b.db", store.path, NOW, leave)
    assert (("CDC-3", "CDC-17"), 17, 18) == (first.newer, first.last_number, next_number(store.path))
    second = restore(tmp_path / "b.db", store.path, NOW + timedelta(seconds=1), leave)
    assert ((), 17, 18) == (second.newer, second.last_number, next_number(store.path))
    third = restore(tmp_path / "b.db", tmp_path / "new.db", NOW, leave)
    assert ((), 2, 3) == (third.newer, third.last_number, next_number(tmp_path / "new.db"))


def test_a_newer_backup_keeps_its_own_numbers(store: Store, tmp_path: Path) -> None:
    """The present journal may be the older one."""
    backup(store.path, tmp_path / "old.db")
    note(store, "CDC-9", 1)
    backup(store.path, tmp_path / "new.db")
    store.close()
    restore(tmp_path / "old.db", store.path, NOW, leave)
    restored = restore(tmp_path / "new.db", store.path, NOW + timedelta(seconds=1), leave)
    assert ((), 9, 10) == (restored.newer, restored.last_number, next_number(store.path))


def test_numbers_of_a_journal_that_cannot_be_read_are_not_known(store: Store, tmp_path: Path) -> None:
    """That keeps nobody from restoring, and is told."""
    backup(store.path, tmp_path / "b.db")
    store.close()
    store.path.write_bytes(b"not a database, but long enough to be looked at as one" * 20)
    restored = restore(tmp_path / "b.db", store.path, NOW, leave)
    assert (None, 2, 3) == (restored.newer, restored.last_number, next_number(store.path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("is_new", [True, False])
def test_what_root_restores_is_the_bots(store: Store, tmp_path: Path, is_new: bool) -> None:
    """The bot could neither open the journal nor its lock: they are its, by the journal or by the folder."""
    backup(store.path, tmp_path / "b.db")
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    if not is_new:
        Store(folder / "cdc.db").close()
        os.chown(folder / "cdc.db", 65533, 65534)
    restore(tmp_path / "b.db", folder / "cdc.db", NOW, leave)
    owner = 65534 if is_new else 65533
    there = {path.name: path.stat() for path in folder.iterdir() if "before-restore" not in path.name}
    assert {"cdc.db": owner, "cdc.db.lock": owner} == {name: found.st_uid for name, found in there.items()}
    assert 0o600 == there["cdc.db"].st_mode & 0o777
