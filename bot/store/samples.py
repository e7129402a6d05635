"""The lag samples: what each pass over the watched groups read, for rates, verdicts and charts.

They lie in a file of their own beside the journal, because they are measurements and not truth: losing them loses
charts and what was learned of a group, no incident. Nothing here raises for the state of the file or the disk. What
cannot be written now is kept in memory, bounded, and written with the next pass; a file that cannot be read is set
aside as `NAME.unreadable` and begun anew, and so is one that was deleted or replaced under the running bot.

Invariants
    One pass is one transaction (BEGIN IMMEDIATE), `synchronous=NORMAL`, WAL: a crash loses the last passes at most.
    A connection per thread; no thread closes another one's, which would end the process.
    The whole resolution is kept for FULL_FOR_S, then the first sample of each THINNED_S, until `prune` is told the end.
    A frame lives as long as a sample that needs it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import sqlite_utils

from bot.model import GroupOffsets
from bot.store.look_samples import read_samples
from bot.store.sample_format import (
    FRAME_S,
    SCHEMA_VERSION,
    Frame,
    encode_body,
    encode_frame,
    fits,
    frame_of,
    microseconds,
)

log = logging.getLogger("cdc.samples")

FULL_FOR_S = 6 * 3600.0
THINNED_S = 300.0
UNSAVED_PARTITIONS = 100_000
"""How much waits in memory for a disk with room, counted in partitions read: some 20 MB."""
CLOCK_SLACK_US = 60_000_000
FRAME_US, THINNED_US = round(FRAME_S * 1e6), round(THINNED_S * 1e6)


class Samples:
    """The samples in one file. `wrong` says why they are not being written, and is empty while they are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wrong = ""
        self._local = threading.local()
        self._writing = threading.RLock()
        self._file_number = 0
        self._file: tuple[int, int] | None = None
        self._closed = False
        self._groups: dict[str, int] = {}
        self._frames: dict[str, tuple[int, Frame]] = {}
        self._unsaved: deque[GroupOffsets] = deque()
        self._thinned_until_us = 0
        self.keep(())

    def keep(self, reads: Sequence[GroupOffsets]) -> None:
        """Store the reads of one pass, and those that waited. A sample of the same group and time is replaced."""
        with self._writing:
            self._unsaved.extend(reads)
            if self._tried(self._write):
                self._unsaved.clear()
            waiting = sum(len(read.partitions) for read in self._unsaved)
            while waiting > UNSAVED_PARTITIONS:
                waiting -= len(self._unsaved.popleft().partitions)

    def since(
        self,
        group: str,
        at: datetime,
        until: datetime | None = None,
        step_s: float | None = None,
        most_partitions: int | None = None,
    ) -> tuple[GroupOffsets, ...]:
        """Return the samples from `at` to `until`, both included, oldest first.

        With `step_s` the first of each step; with `most_partitions` the newest that hold no more partitions together.
        """
        found: dict[datetime, GroupOffsets] = {}

        def read(db: sqlite3.Connection) -> None:
            found.update((each.at, each) for each in read_samples(db, group, at, until, step_s, most_partitions))

        self._tried(read, change=False)
        with self._writing:
            waiting = [each for each in self._unsaved if each.group == group and at <= each.at <= (until or each.at)]
        found.update((each.at, each) for each in waiting)
        return tuple(found[when] for when in sorted(found))

    def groups(self) -> tuple[str, ...]:
        """Return the groups that have samples, sorted."""
        with self._writing:
            found = {read.group for read in self._unsaved}

        def read(db: sqlite3.Connection) -> None:
            rows = db.execute("SELECT name FROM groups g WHERE EXISTS (SELECT 1 FROM samples WHERE of_group = g.id)")
            found.update(name for (name,) in rows)

        self._tried(read, change=False)
        return tuple(sorted(found))

    def prune(self, now: datetime, keep_s: float) -> None:
        """Delete what is older than `keep_s` or of a time that has not come, and thin out what is older than a shift.

        A sample of the future is left from a clock that was set back.
        """
        full_us, gone_us = (microseconds(now - timedelta(seconds=age_s)) for age_s in (FULL_FOR_S, keep_s))
        future_us = microseconds(now) + CLOCK_SLACK_US
        names = list[tuple[int, str]]()
        if not self._tried(lambda db: names.extend(db.execute("SELECT id, name FROM groups")), change=False):
            return
        for number, name in names:

            def shorten(db: sqlite3.Connection, number: int = number, name: str = name) -> None:
                with self._transaction(db):
                    deleted = _delete_ends(db, number, gone_us, future_us)
                    deleted += _delete_between(db, number, min(self._thinned_until_us, full_us), full_us)
                    _delete_unused(db, number, deleted)
                if deleted:
                    self._groups.pop(name, None)
                    self._frames.pop(name, None)

            if not self._tried(shorten):
                return
        self._thinned_until_us = full_us

    def close(self) -> None:
        """Let go of the file. Other threads' connections end with them."""
        with self._writing:
            self._closed = True
            self._forget_connection()

    # --- writing ---

    def _write(self, db: sqlite3.Connection) -> None:
        frames = dict[str, tuple[int, Frame]]()
        groups = dict[str, int]()
        with self._transaction(db):
            rows = []
            for read in self._unsaved:
                number = groups.get(read.group) or self._groups.get(read.group)
                if number is None:
                    number = groups[read.group] = _group_number(db, read.group)
                frame_id, frame = frames.get(read.group) or self._frames.get(read.group) or (0, None)
                if frame is None or not fits(frame, read):
                    frame = frame_of(read)
                    frame_id = _insert_frame(db, number, frame)
                    frames[read.group] = frame_id, frame
                rows.append((number, microseconds(read.at), frame_id, encode_body(read, frame)))
            db.executemany("INSERT OR REPLACE INTO samples (of_group, at, frame, body) VALUES (?, ?, ?, ?)", rows)
        self._groups.update(groups)
        self._frames.update(frames)

    @contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Iterator[None]:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    # --- the file ---

    def _tried(self, work: Callable[[sqlite3.Connection], object], change: bool = True) -> bool:
        """Do `work` with this thread's connection and return whether it was done. A damaged file is begun anew."""
        for _ in range(2):
            if self._closed:
                return False
            number = self._file_number
            try:
                if change:
                    with self._writing:
                        work(self._db())
                        self.wrong = ""
                else:
                    work(self._db())
                return True
            except (sqlite3.Error, OSError) as error:
                self._forget_connection()
                if type(error) is not sqlite3.DatabaseError:  # its kinds are the disk, a lock and mistakes of ours
                    self._say(f"{self.path}: the lag samples cannot be {'written' if change else 'read'}: {error}")
                    return False
                self._set_aside(number, error)
        return False

    def _db(self) -> sqlite3.Connection:
        if self._file is not None and _file_at(self.path) != self._file:
            self._lose_file()
        number, db = getattr(self._local, "connection", (None, None))
        if db is None or number != self._file_number:
            self._forget_connection()
            with self._writing:
                db = _opened(self.path)
                self._file = _file_at(self.path)
                self._local.connection = self._file_number, db
        connection: sqlite3.Connection = db
        return connection

    def _lose_file(self) -> None:
        """Let every thread open the file that has the name now: its groups and frames have numbers of their own."""
        with self._writing:
            if _file_at(self.path) != self._file:  # else another thread was faster
                self._file = None
                self._file_number += 1
                self._groups.clear()
                self._frames.clear()

    def _forget_connection(self) -> None:
        _, db = getattr(self._local, "connection", (None, None))
        if db is not None:
            del self._local.connection
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _set_aside(self, number: int, error: Exception) -> None:
        """Keep one damaged file, for who wants to see it, and let every thread open a new one."""
        with self._writing:
            if number != self._file_number:
                return  # another thread was faster
            for suffix in ("-wal", "-shm"):
                with contextlib.suppress(OSError):
                    Path(f"{self.path}{suffix}").unlink()
            with contextlib.suppress(OSError):
                self.path.replace(f"{self.path}.unreadable")
            self._file_number += 1
            self._groups.clear()
            self._frames.clear()
            log.warning("%s: the lag samples cannot be read: %s; set aside and begun anew", self.path, error)

    def _say(self, wrong: str) -> None:
        if not self.wrong:
            log.warning("%s; the bot goes on without them", wrong)
        self.wrong = wrong


# --- leaves ----------------------------------------------------------------------------------------


def _file_at(path: Path) -> tuple[int, int] | None:
    """Return which file has the name now, None where none has it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _opened(path: Path) -> sqlite3.Connection:
    """Return a connection to the file, which is made where there is none. Raises sqlite3.Error, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA busy_timeout = 5000")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version != SCHEMA_VERSION and tables:
            raise sqlite3.DatabaseError(f"written by another version (schema {version}, not {SCHEMA_VERSION})")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        if not tables:
            _create_tables(db)
    except BaseException:
        db.close()
        raise
    return db


def _create_tables(db: sqlite3.Connection) -> None:
    tables = sqlite_utils.Database(db)
    db.execute("BEGIN IMMEDIATE")
    tables.table("groups").create({"id": int, "name": str}, pk="id", not_null={"name"}).create_index(
        ["name"], unique=True
    )
    tables.table("frames").create(
        {"id": int, "of_group": int, "at": int, "body": bytes}, pk="id", not_null={"of_group", "at", "body"}
    ).create_index(["of_group", "at"])
    db.execute(  # a group's samples lie together, without a second tree: sqlite-utils knows no such table
        "CREATE TABLE samples (of_group INTEGER NOT NULL, at INTEGER NOT NULL, frame INTEGER NOT NULL, "
        "body BLOB NOT NULL, PRIMARY KEY (of_group, at)) WITHOUT ROWID"
    )
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")


def _group_number(db: sqlite3.Connection, group: str) -> int:
    db.execute("INSERT INTO groups (name) VALUES (?) ON CONFLICT DO NOTHING", (group,))
    return int(db.execute("SELECT id FROM groups WHERE name = ?", (group,)).fetchone()[0])


def _insert_frame(db: sqlite3.Connection, group: int, frame: Frame) -> int:
    cursor = db.execute(
        "INSERT INTO frames (of_group, at, body) VALUES (?, ?, ?)", (group, microseconds(frame.at), encode_frame(frame))
    )
    return int(cursor.lastrowid or 0)


def _delete_ends(db: sqlite3.Connection, group: int, gone_us: int, future_us: int) -> list[int]:
    """Delete what is too old, or of the future; return the times."""
    return [
        at
        for (at,) in db.execute(
            "DELETE FROM samples WHERE of_group = ? AND (at < ? OR at > ?) RETURNING at", (group, gone_us, future_us)
        )
    ]


def _delete_between(db: sqlite3.Connection, group: int, from_us: int, until_us: int) -> list[int]:
    """Delete all but the first sample of each THINNED_S; return the times."""
    return [
        at
        for (at,) in db.execute(
            "DELETE FROM samples WHERE of_group = ? AND at >= ? AND at < ? AND EXISTS (SELECT 1 FROM samples e "
            "WHERE e.of_group = samples.of_group AND e.at < samples.at AND e.at >= samples.at - samples.at % ?) "
            "RETURNING at",
            (group, from_us - from_us % THINNED_US, until_us, THINNED_US),
        )
    ]


def _delete_unused(db: sqlite3.Connection, group: int, deleted: Sequence[int]) -> None:
    """Delete the frames that only the deleted samples needed, and a group that has no sample left.

    A frame is at most FRAME_S older than its samples, so only the neighbourhood is looked at.
    """
    if not deleted:
        return
    first, last = min(deleted) - FRAME_US, max(deleted)
    db.execute(
        "DELETE FROM frames WHERE of_group = ? AND at BETWEEN ? AND ? AND id NOT IN "
        "(SELECT frame FROM samples WHERE of_group = ? AND at BETWEEN ? AND ?)",
        (group, first, last, group, first, last + FRAME_US),
    )
    db.execute(
        "DELETE FROM groups WHERE id = ? AND NOT EXISTS (SELECT 1 FROM samples WHERE of_group = ?)", (group,) * 2
    )
