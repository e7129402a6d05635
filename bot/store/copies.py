"""Copies of the journal: one taken while the bot runs, and one put back in its place.

Promise
    A backup is one consistent file, whole or not there: SQLite's backup API reads it in one transaction, it is
    checked, forced to disk and only then given its name. A running bot is not stopped and loses nothing.
    A restore touches nothing before the backup was checked to its last event, refuses while a bot owns the
    journal, and keeps the journal that was there beside it.

A backup speaks of the moment it was made: what may have been done after it is ended by whoever calls `restore`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bot.store.sqlite import SCHEMA_VERSION, StoreError, decode_event, file_of, keep_number, last_number, lock_of


@dataclass(frozen=True)
class Contents:
    """What a journal file holds. `newest` is when its last event happened, None without any."""

    incidents: int
    events: int
    size_bytes: int
    schema: int
    newest: datetime | None


@dataclass(frozen=True)
class Restored:
    """What was put in place, and where the journal that was there is now (None when there was none).

    `newer` are the incidents of that journal that the backup does not have, None where it could not be read. The next
    incident gets the number after `last_number`, so that no card in the chat is meant by two incidents.
    """

    contents: Contents
    aside: Path | None
    newer: tuple[str, ...] | None
    last_number: int


def backup(journal: Path, target: Path, overwrite: bool = False) -> Contents:
    """Copy the journal to `target` and return what it holds. Raises StoreError, and then leaves `target` as it was."""
    journal = file_of(journal)
    if file_of(target) in [Path(f"{journal}{suffix}") for suffix in ("-wal", "-shm", ".lock")]:
        raise StoreError(f"{target}: is part of the journal; nothing was written. Give another name")
    if os.path.lexists(target) and not stat.S_ISREG(target.lstat().st_mode):
        raise StoreError(f"{target}: is not a regular file; nothing was written. Give another name")
    if target.exists() and not overwrite:
        raise StoreError(f"{target}: is there already; nothing was written. Give another name, or --force")
    if target.exists() and journal.exists() and target.samefile(journal):
        raise StoreError(f"{target}: is the journal itself; nothing was written. Give another name")
    if not journal.exists():
        raise StoreError(f"{journal}: there is no journal yet; nothing was written. `cdc serve` makes it")
    with _beside(target, "the backup was not written") as copy:
        _copy(journal, copy)
        contents = inspect(copy, journal)
        _force_to_disk(copy)
        copy.replace(target)
        _force_to_disk(target.parent)
    return contents


def inspect(path: Path, called: Path | None = None) -> Contents:
    """Return what the journal at `path` holds, every page checked and every event read.

    Raises StoreError for a file that is damaged, no journal, or written by a newer version; it is `called` so.
    """
    called = called or path
    if not path.is_file():
        raise StoreError(f"{called}: there is no such file")
    try:
        with contextlib.closing(_open_to_read(path)) as db:
            return _read_contents(path, called, db)
    except sqlite3.Error as error:
        raise StoreError(f"{called}: cannot be read as a journal: {error}") from error


def restore(copy: Path, journal: Path, now: datetime, settle: Callable[[Path], object]) -> Restored:
    """Put `copy` in the place of `journal`, which is kept as `NAME.before-restore-TIME`.

    `settle` is given the file before it gets its name, to end in it what must not be done again. Raises StoreError,
    and then the journal is the one that was there.
    """
    inspect(copy)
    journal = file_of(journal)
    if journal.exists() and not journal.is_file():
        raise StoreError(f"{journal}: is not a file; nothing was restored. Is `state` right?")
    if journal.exists() and copy.samefile(journal):
        raise StoreError(f"{copy}: is the journal itself; nothing was restored")
    aside = journal.with_name(f"{journal.name}.before-restore-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    if aside.exists():
        raise StoreError(f"{aside}: is there already; nothing was restored. Move it away, or wait a second")
    journal.parent.mkdir(parents=True, exist_ok=True)
    with _owned(journal, "nothing was restored"), _beside(journal, "nothing was restored") as put:
        _copy(copy, put)
        there = journal.exists()
        newer, last = _go_on(put, journal) if there else ((), _numbers(put)[1])
        settle(put)
        contents = inspect(put, copy)
        _keep_owner(put, journal)
        if there:
            _fold_log(journal)
        _force_to_disk(put)
        _set_aside(journal, aside)
        put.replace(journal)
        _force_to_disk(journal.parent)
    return Restored(contents, aside if there else None, newer, last)


def put_aside(journal: Path, now: datetime) -> Path:
    """Give a journal that cannot be read the name `NAME.unreadable-TIME`, and return it: a new one can be begun.

    The caller owns the journal.
    """
    journal = file_of(journal)
    aside = journal.with_name(f"{journal.name}.unreadable-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{journal}{suffix}").rename(f"{aside}{suffix}")
    _force_to_disk(journal.parent)
    return aside


# --- leaves ----------------------------------------------------------------------------------------


def _read_contents(path: Path, called: Path, db: sqlite3.Connection) -> Contents:
    damage = [row[0] for row in db.execute("PRAGMA integrity_check(3)")]
    if damage != ["ok"]:
        raise StoreError(f"{called}: is damaged: {'; '.join(damage)}")
    schema = int(db.execute("PRAGMA user_version").fetchone()[0])
    if schema > SCHEMA_VERSION:
        raise StoreError(
            f"{called}: written by a newer version (schema {schema}, this one knows {SCHEMA_VERSION}): "
            "upgrade cdc-oncall"
        )
    if not db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'events'").fetchone():
        raise StoreError(f"{called}: is no journal of cdc-oncall")
    db.text_factory = bytes  # what is no text is told by its row; SQLite's own error would repeat it
    events, newest, incidents = 0, None, set()
    for seq, incident, at, kind, body in db.execute("SELECT seq, incident, at, type, body FROM events ORDER BY seq"):
        where = f"{called}: row {seq}"
        decode_event(_shown(kind), body, where)
        try:
            events, newest = events + 1, datetime.fromisoformat(at.decode())
        except (ValueError, AttributeError):
            raise StoreError(f"{where} holds an event {_shown(kind)} without a time that can be read") from None
        incidents.add(incident)
    return Contents(len(incidents), events, path.stat().st_size, schema, newest)


def _shown(kind: object) -> str:
    return kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)


def _go_on(put: Path, journal: Path) -> tuple[tuple[str, ...] | None, int]:
    """Let numbers in `put` go on after those of `journal`; return the incidents it lacks and the last number given.

    A journal that cannot be read keeps nobody from restoring: then only the numbers of the backup are known.
    """
    kept, last = _numbers(put)
    try:
        known, there = _numbers(journal)
    except (sqlite3.Error, ValueError, TypeError, KeyError):
        return None, last
    if there > last:
        with contextlib.closing(sqlite3.connect(put)) as db, db:
            keep_number(db, there)
    return tuple(incident for incident in known if incident not in set(kept)), max(last, there)


def _numbers(path: Path) -> tuple[tuple[str, ...], int]:
    """Return the incidents of a journal in the order they were opened, and the last number given."""
    with contextlib.closing(_open_to_read(path)) as db:
        opened = db.execute("SELECT incident FROM events WHERE version = 1 ORDER BY seq").fetchall()
        return tuple(row[0] for row in opened), last_number(db)


def _open_to_read(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)
    db.execute("PRAGMA busy_timeout = 5000")
    return db


def _copy(source: Path, target: Path) -> None:
    """Copy a journal that may be in use, as one file without a log beside it."""
    with contextlib.closing(_open_to_read(source)) as read, contextlib.closing(sqlite3.connect(target)) as written:
        read.backup(written)
        written.execute("PRAGMA journal_mode = DELETE")


def _fold_log(journal: Path) -> None:
    """Bring the log beside the journal into it, so that the file alone is whole. A damaged one is kept as it is."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(journal, timeout=5.0)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _set_aside(journal: Path, aside: Path) -> None:
    """Give the journal its second name, and its log too: even an orphaned one would be read into the one put back.

    The first name stays until the restored file takes it, so that a bot started meanwhile finds a journal, not none.
    """
    if journal.exists():
        try:
            aside.hardlink_to(journal)
        except OSError:  # a file system without hard links
            journal.rename(aside)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{journal}{suffix}").rename(f"{aside}{suffix}")


@contextlib.contextmanager
def _beside(target: Path, consequence: str) -> Iterator[Path]:
    """A file in the folder of `target`, readable by its owner alone; it is gone afterwards unless it was renamed."""
    try:
        number, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror}; {consequence}") from error
    os.close(number)
    try:
        yield Path(name)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{target}: {error}; {consequence}") from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{name}{suffix}").unlink(missing_ok=True)


@contextlib.contextmanager
def _owned(journal: Path, consequence: str) -> Iterator[None]:
    """Hold the bot's own lock: no bot runs on the journal now, and none starts."""
    path = lock_of(journal)
    with path.open("a") as lock:
        _keep_owner(path, journal)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(f"{journal}: a bot runs on this journal; {consequence}. Stop it first") from error
        yield


def _keep_owner(path: Path, journal: Path) -> None:
    """Who restores may be root, and the bot is not: the file is as the journal is, else of whoever has the folder."""
    kept = journal.stat() if journal.exists() else journal.parent.stat()
    if journal.exists():
        path.chmod(kept.st_mode & 0o777)
    with contextlib.suppress(PermissionError):
        os.chown(path, kept.st_uid, kept.st_gid)


def _force_to_disk(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
