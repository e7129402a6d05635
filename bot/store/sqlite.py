"""The journal on SQLite: what came in, what happened, what is still to be said and done.

Promise: a row that was answered with 200 is on disk (`synchronous=FULL`). Events, the messages and
the tasks they cause, and the end of the inbox row that caused them, are written in ONE transaction:
a crash can repeat a message but never lose one, and never repeats an action.

Invariants
    events are only ever appended; (incident, version) is unique: two writers cannot both be next.
    A decision reads and appends under one BEGIN IMMEDIATE: sqlite-utils' own `atomic()` is deferred,
    and of 400 concurrent read-then-write decisions 290 got "database is locked" with it (measured).
    An outbox row says what to say (incident, slot), never the words, except an answer, which is its own.
    A task is claimed in the transaction that says so; an action is claimed together with ActionStarted.

Every commit goes through `Store._commit`, the one place a crash test needs to know. A connection per
thread; `busy_timeout` 5 s; WAL. This module knows no Slack, no Kafka and no decision.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import sqlite_utils
from pydantic import TypeAdapter

from bot.incident import events as e

SCHEMA_VERSION = 1
NOT_NOW = sqlite3.OperationalError
"""What a write raises on a full disk or under a lock: the same write may succeed later."""
SQLITE_HEADER = b"SQLite format 3\0"
ANOTHERS = "is not a journal of cdc-oncall: is `state` right? It was left as it is"
COUNTERS_ROW, NUMBERS_ROW, REFUSALS_ROW, TOTALS_ROW = 1, 2, 3, 4
LANE_ORDER = "CASE lane WHEN 'page' THEN 0 WHEN 'reply' THEN 1 WHEN 'card' THEN 2 ELSE 3 END"
HELD = "EXISTS (SELECT 1 FROM outbox c WHERE c.key = o.incident || '/card' AND c.ts IS NULL AND c.state = 'failed')"
"""Of a message `o`: its card was refused, so it has no thread to be said in."""


class StoreError(Exception):
    """The journal cannot be opened or written; the text names the file and the reason."""


class UnreadableJournal(StoreError):
    """The file is there, and SQLite cannot read it any more: waiting does not help."""


@dataclass(frozen=True)
class InboxRow:
    id: int
    key: str
    kind: str
    received_at: datetime
    body: bytes


@dataclass(frozen=True)
class OutboxRow:
    """A message to be brought up to date. `ts` is None until it was posted; `wanted` is the version to show."""

    id: int
    key: str
    incident: str | None
    slot: str
    lane: str
    channel: str
    body: Mapping[str, Any]
    wanted: int
    shown: int
    attempts: int
    uncertain: bool
    ts: str | None
    channel_id: str | None
    created_at: datetime


@dataclass(frozen=True)
class TaskRow:
    id: int
    key: str
    incident: str
    kind: str
    body: Mapping[str, Any]
    attempts: int
    created_at: datetime


@cache
def _event_types() -> dict[str, TypeAdapter[Any]]:
    return {cls.__name__: TypeAdapter(cls) for cls in e.Event.__args__}


def encode_event(event: e.Event) -> tuple[str, str]:
    """Return (type name, JSON) of an event."""
    name = type(event).__name__
    return name, _event_types()[name].dump_json(event).decode()


def decode_event(name: str, body: str | bytes, where: str = "the journal") -> e.Event:
    """Return the event as it was written. A type this version does not know is an error, not a gap.

    The error names the place and the type, never what stands in it.
    """
    if name not in _event_types():
        raise StoreError(f"{where} holds an event {name} that this version does not know: was it downgraded?")
    try:
        event: e.Event = _event_types()[name].validate_json(body)
    except (ValueError, TypeError):
        raise StoreError(f"{where} holds an event {name} that cannot be read: damaged, or changed by hand") from None
    return event


class Store:
    """One journal file. `on_commit`, when given, is called just before and just after every commit (crash tests)."""

    def __init__(self, path: Path, on_commit: Callable[[str], None] | None = None, lock: TextIO | None = None) -> None:
        """Open the journal, or make it; `lock` is what `own` returned, and is this store's from then on."""
        self.path = path
        self._file = file_of(path)
        self._on_commit = on_commit
        self._local = threading.local()
        self._closed = False
        self._lock = lock
        self._writing = threading.Lock()
        self._write_error = ""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch(mode=0o600)  # what people said is for the bot's account; who widens it keeps it so
            self._refuse_foreign()
            self._create()
        except (sqlite3.Error, OSError) as error:
            kind = UnreadableJournal if _is_damaged(error) else StoreError
            raise kind(f"{path}: cannot be opened as the journal: {error}. {_remedy(error)}") from error

    def close(self) -> None:
        """Let go of the journal. Other threads' connections end with them.

        SQLite crashes the process when a connection is closed while another thread is inside it.
        """
        self._closed = True
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            del self._local.connection
        if self._lock is not None:
            self._lock.close()  # last: from here on the file may be another one's

    # --- inbox ---

    def receive(self, key: str, kind: str, body: bytes, now: datetime) -> bool:
        """Store what came in, durably, and return True; False when this key is stored already."""
        with self._transaction() as db:
            cursor = db.execute(
                "INSERT INTO inbox (key, kind, received_at, body, state) VALUES (?, ?, ?, ?, 'new') "
                "ON CONFLICT (key) DO NOTHING",
                (key, kind, _stamp(now), body),
            )
            return cursor.rowcount == 1

    def receive_many(self, rows: Sequence[tuple[str, str, bytes]], now: datetime) -> None:
        """Store several rows (key, kind, body) in one commit: what a burst of webhooks becomes. All or none."""
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO inbox (key, kind, received_at, body, state) VALUES (?, ?, ?, ?, 'new') "
                "ON CONFLICT (key) DO NOTHING",
                [(key, kind, _stamp(now), body) for key, kind, body in rows],
            )

    def next_inbox(self) -> InboxRow | None:
        row = self._db().execute(
            "SELECT id, key, kind, received_at, body FROM inbox WHERE state = 'new' ORDER BY id LIMIT 1"
        ).fetchone()  # fmt: skip
        return InboxRow(row[0], row[1], row[2], _at(row[3]), bytes(row[4])) if row else None

    def inbox_state(self, key: str) -> tuple[str, str] | None:
        """Return (state, note) of a stored row: new, done or unreadable."""
        row = self._db().execute("SELECT state, note FROM inbox WHERE key = ?", (key,)).fetchone()
        return (row[0], row[1] or "") if row else None

    def receivers(self) -> frozenset[str]:
        """Return the receiver names that webhooks came under."""
        rows = self._db().execute(
            "SELECT DISTINCT json_extract(body, '$.receiver') FROM events WHERE type = 'AlertFired'"
        )
        return frozenset(row[0] for row in rows if row[0])

    # --- journal ---

    def entries(self, incident: str | None = None, after_seq: int = 0) -> Iterator[tuple[int, e.Entry]]:
        """Yield (seq, entry) in order, of one incident or of all."""
        where, arguments = "seq > ?", [after_seq]  # type: tuple[str, list[Any]]
        if incident is not None:
            where, arguments = where + " AND incident = ?", [after_seq, incident]
        rows = self._db().execute(
            f"SELECT seq, incident, version, at, who_id, who_name, type, body FROM events WHERE {where} ORDER BY seq",
            arguments,
        )
        for seq, name, version, at, who_id, who_name, kind, body in rows:
            event = decode_event(kind, body, f"{self.path}: row {seq}")
            yield seq, e.Entry(name, version, _at(at), e.Who(who_id, who_name), event)

    @contextmanager
    def deciding(self) -> Iterator[Writer]:
        """One decision: everything read and written inside is one transaction that no other writer can enter."""
        with self._transaction() as db:
            yield Writer(db)

    # --- outbox ---

    def due_messages(self, now: datetime, limit: int, charts: bool | None = None) -> tuple[OutboxRow, ...]:
        """Return messages that are due, most urgent lane first, oldest first within a lane.

        At most `limit` of one channel, and as many answers: a storm in one channel holds up no other. A reply
        is not due before its card is posted. `charts`: these alone, or all others.
        """
        rows = self._db().execute(
            "SELECT id, key, incident, slot, lane, channel, body, wanted, shown, attempts, uncertain, ts, channel_id, "
            "created_at FROM (SELECT o.*, row_number() OVER (PARTITION BY channel, slot = 'answer' "
            f"ORDER BY {LANE_ORDER}, id) AS place FROM outbox o WHERE state = 'due' AND not_before <= ? "
            "AND coalesce(? = (slot GLOB 'chart:*'), 1) "
            "AND (slot IN ('card', 'answer') OR EXISTS (SELECT 1 FROM outbox c "
            "WHERE c.key = o.incident || '/card' AND c.ts IS NOT NULL))) "
            f"WHERE place <= ? ORDER BY {LANE_ORDER}, id",
            (_stamp(now), charts, limit),
        )
        return tuple(
            OutboxRow(r[0], r[1], r[2], r[3], r[4], r[5], json.loads(r[6]), r[7], r[8], r[9], bool(r[10]), r[11],
                      r[12], _at(r[13]))
            for r in rows
        )  # fmt: skip

    def posted(self, incident: str, slot: str) -> tuple[str, str] | None:
        """Return (channel id, ts) of a slot's message, or None while it was not posted."""
        row = self._db().execute(
            "SELECT channel_id, ts FROM outbox WHERE key = ? AND ts IS NOT NULL", (f"{incident}/{slot}",)
        ).fetchone()  # fmt: skip
        return (row[0], row[1]) if row else None

    def unsaid(self) -> tuple[str, ...]:
        """Return the incidents whose card was never posted."""
        rows = self._db().execute("SELECT incident FROM outbox WHERE slot = 'card' AND ts IS NULL ORDER BY id")
        return tuple(row[0] for row in rows)

    def readdress(self, incident: str, channel: str, now: datetime) -> tuple[str, bool] | None:
        """Send an incident that nobody was told of to `channel`, now; its card is tried again if it was given up.

        Return (the channel before, whether it had been given up), or None when nothing changed. Of a message that may
        stand in the channel before, that one is kept as `channel_id`: it is looked up there.
        """
        stamp = _stamp(now)
        with self._transaction() as db:
            card = db.execute(
                "SELECT channel, state FROM outbox WHERE key = ? AND ts IS NULL", (f"{incident}/card",)
            ).fetchone()
            if card is None or (card[0] == channel and card[1] != "failed"):
                return None
            db.execute(
                "UPDATE outbox SET channel_id = CASE WHEN uncertain = 1 THEN COALESCE(channel_id, channel) END, "
                "channel = ?, not_before = ? WHERE incident = ? AND ts IS NULL AND channel != ?",
                (channel, stamp, incident, channel),
            )
            db.execute(
                "UPDATE outbox SET state = 'due', attempts = 0, not_before = ?, created_at = ? "
                "WHERE key = ? AND state = 'failed'",
                (stamp, stamp, f"{incident}/card"),
            )
        return str(card[0]), card[1] == "failed"

    def sending(self, row: OutboxRow) -> None:
        """Say, before a post goes out, that it may have gone out: a crash in between is looked up, not repeated."""
        with self._transaction() as db:
            db.execute(
                "UPDATE outbox SET uncertain = 1, attempts = attempts + 1, "
                "channel_id = CASE WHEN ts IS NULL THEN NULL ELSE channel_id END WHERE id = ?",
                (row.id,),
            )

    def sent(self, row: OutboxRow, channel_id: str | None, ts: str | None, shown: int, now: datetime) -> None:
        """Settle a message: it stays due only when a newer version was wanted meanwhile."""
        with self._transaction() as db:
            db.execute(
                "UPDATE outbox SET channel_id = COALESCE(?, channel_id), ts = COALESCE(?, ts), shown = ?, "
                "uncertain = 0, attempts = 0, error = NULL, settled_at = ?, "
                "state = CASE WHEN wanted > ? THEN 'due' ELSE 'sent' END "
                "WHERE id = ?",
                (channel_id, ts, shown, _stamp(now), shown, row.id),
            )

    def postpone(self, row: OutboxRow, until: datetime, error: str, uncertain: bool) -> None:
        with self._transaction() as db:
            db.execute(
                "UPDATE outbox SET not_before = ?, error = ?, uncertain = ?, attempts = attempts + 1 WHERE id = ?",
                (_stamp(until), error, int(uncertain), row.id),
            )

    def give_up(self, row: OutboxRow, error: str, now: datetime) -> None:
        """The chat will never take this message: keep it, with the reason, where health shows it."""
        with self._transaction() as db:
            db.execute(
                "UPDATE outbox SET state = 'failed', error = ?, settled_at = ? WHERE id = ?",
                (error, _stamp(now), row.id),
            )

    def drop(self, row: OutboxRow, reason: str, now: datetime) -> None:
        """Settle a message that nobody misses, unsaid: it is no trouble for health to tell of."""
        with self._transaction() as db:
            db.execute(
                "UPDATE outbox SET state = 'dropped', error = ?, attempts = 0, uncertain = 0, settled_at = ? "
                "WHERE id = ?",
                (reason, _stamp(now), row.id),
            )

    # --- tasks ---

    def claim_task(self, kinds: Sequence[str], now: datetime) -> TaskRow | None:
        """Take the oldest due task of these kinds, atomically; a claimed one is 'running' until it is settled."""
        marks = ",".join("?" * len(kinds))
        if not self._has_task(marks, kinds, now):
            return None
        with self._transaction() as db:
            row = db.execute(
                f"UPDATE tasks SET state = 'running', attempts = attempts + 1, started_at = ? WHERE id = ("
                f"SELECT id FROM tasks WHERE state = 'todo' AND not_before <= ? AND kind IN ({marks}) "
                "ORDER BY not_before, id LIMIT 1) RETURNING id, key, incident, kind, body, attempts, created_at",
                (_stamp(now), _stamp(now), *kinds),
            ).fetchone()
        return TaskRow(row[0], row[1], row[2], row[3], json.loads(row[4]), row[5], _at(row[6])) if row else None

    def _has_task(self, marks: str, kinds: Sequence[str], now: datetime) -> bool:
        """A look without a write lock: an idle bot commits nothing."""
        row = self._db().execute(
            f"SELECT 1 FROM tasks WHERE state = 'todo' AND not_before <= ? AND kind IN ({marks}) LIMIT 1",
            (_stamp(now), *kinds),
        ).fetchone()  # fmt: skip
        return row is not None

    def running_tasks(self) -> tuple[TaskRow, ...]:
        """Return tasks that were running when the last process ended."""
        rows = self._db().execute(
            "SELECT id, key, incident, kind, body, attempts, created_at FROM tasks WHERE state = 'running' ORDER BY id"
        )
        return tuple(TaskRow(r[0], r[1], r[2], r[3], json.loads(r[4]), r[5], _at(r[6])) for r in rows)

    def unfinished_actions(self) -> tuple[TaskRow, ...]:
        """Return the action tasks that wait or run."""
        rows = self._db().execute(
            "SELECT id, key, incident, kind, body, attempts, created_at FROM tasks "
            "WHERE kind = 'action' AND state IN ('todo', 'running') ORDER BY id"
        )
        return tuple(TaskRow(r[0], r[1], r[2], r[3], json.loads(r[4]), r[5], _at(r[6])) for r in rows)

    # --- what is known besides ---

    def first_seen(self, pairs: Sequence[tuple[str, int]], now: datetime) -> Mapping[tuple[str, int], datetime]:
        """Return when each (subject, version) was first seen by this bot, noting new ones at `now`."""
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO first_seen (subject, version, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(subject, version, _stamp(now)) for subject, version in pairs],
            )
        return self.seen_versions()

    def seen_versions(self) -> Mapping[tuple[str, int], datetime]:
        rows = self._db().execute("SELECT subject, version, at FROM first_seen")
        return {(subject, version): _at(at) for subject, version, at in rows}

    def counters(self) -> Mapping[str, Any]:
        """Return the saved monotonic counters, or an empty mapping."""
        row = self._db().execute("SELECT body FROM counters WHERE id = ?", (COUNTERS_ROW,)).fetchone()
        saved: Mapping[str, Any] = json.loads(row[0]) if row else {}
        return saved

    def refusals(self) -> Mapping[str, Any]:
        """Return what is kept of refused schemas (`incident.refusals`), or an empty mapping."""
        return _refusals(self._db())

    def save_counters(self, counters: Mapping[str, Any]) -> None:
        with self._transaction() as db:
            _keep(db, COUNTERS_ROW, counters)

    def refusal_totals(self) -> tuple[int, Mapping[str, int] | None]:
        """Return (looks that found a change, what Prometheus' counters of refusals stood at by subject at the last).

        They are None before the first.
        """
        row = self._db().execute("SELECT body FROM counters WHERE id = ?", (TOTALS_ROW,)).fetchone()
        saved: dict[str, Any] = json.loads(row[0]) if row else {"looks": 0, "totals": None}
        return saved["looks"], saved["totals"]

    def save_refusal_totals(self, looks: int, totals: Mapping[str, int]) -> None:
        with self._transaction() as db:
            _keep(db, TOTALS_ROW, {"looks": looks, "totals": totals})

    def depths(self) -> Mapping[str, Any]:
        """Return what waits: inbox and outbox depth and age, tasks per kind, failed messages, unreadable rows.

        `outbox_oldest` is the oldest message, charts left out: nobody misses one. `outbox_held` are replies that wait
        for a card which was refused; `outbox_waits` is the oldest of the others.
        `write_error` is why the last write failed, empty once one has succeeded.
        """
        db = self._db()
        inbox = db.execute("SELECT count(*), min(received_at) FROM inbox WHERE state = 'new'").fetchone()
        oldest = db.execute(
            "SELECT min(created_at) FROM outbox WHERE state = 'due' AND slot NOT GLOB 'chart:*'"
        ).fetchone()[0]
        waits = db.execute(
            f"SELECT min(created_at), max(attempts) FROM outbox o WHERE state = 'due' AND NOT {HELD}"
        ).fetchone()

        def newest_error(state: str) -> str:
            row = db.execute(
                "SELECT error FROM outbox WHERE state = ? AND error IS NOT NULL ORDER BY id DESC LIMIT 1", (state,)
            ).fetchone()
            return row[0] if row else ""

        return {
            "write_error": self._write_error,
            "inbox": inbox[0],
            "inbox_oldest": _at(inbox[1]) if inbox[1] else None,
            "unreadable": db.execute("SELECT count(*) FROM inbox WHERE state = 'unreadable'").fetchone()[0],
            "outbox": dict(db.execute("SELECT lane, count(*) FROM outbox WHERE state = 'due' GROUP BY lane")),
            "outbox_oldest": _at(oldest) if oldest else None,
            "outbox_waits": _at(waits[0]) if waits[0] else None,
            "outbox_attempts": waits[1] or 0,
            "outbox_held": db.execute(f"SELECT count(*) FROM outbox o WHERE state = 'due' AND {HELD}").fetchone()[0],
            "outbox_failed": db.execute("SELECT count(*) FROM outbox WHERE state = 'failed'").fetchone()[0],
            "outbox_error": newest_error("due"),
            "outbox_refusal": newest_error("failed"),
            "tasks": dict(db.execute("SELECT kind, count(*) FROM tasks WHERE state = 'todo' GROUP BY kind")),
        }

    # --- connections ---

    def _db(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            if self._closed:
                raise StoreError(f"{self.path}: the journal is closed")
            connection = sqlite3.connect(self._file, timeout=5.0, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA busy_timeout = 5000")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._local.connection = connection
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One writer at a time: threads wait in line here, other processes in SQLite's busy handler."""
        connection = self._db()
        with self._writing:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                self._commit(connection)
            except BaseException as error:
                connection.rollback()
                if isinstance(error, NOT_NOW):
                    self._write_error = str(error)
                raise
            self._write_error = ""

    def _commit(self, connection: sqlite3.Connection) -> None:
        """The one place that commits. A crash before it loses nothing that was promised; after it, everything holds."""
        if self._on_commit:
            self._on_commit("before")
        connection.commit()
        if self._on_commit:
            self._on_commit("after")

    def _refuse_foreign(self) -> None:
        """Raise StoreError for a newer version's journal and another program's database, before a byte is changed."""
        with closing(sqlite3.connect(self._file, timeout=5.0)) as db:
            found = db.execute("PRAGMA user_version").fetchone()[0]
            tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if found > SCHEMA_VERSION:
            raise StoreError(f"{self.path}: written by a newer version (schema {found}); upgrade cdc-oncall")
        if tables and not {"inbox", "events"} <= tables:
            raise StoreError(f"{self.path}: {ANOTHERS}")

    def _create(self) -> None:
        connection = self._db()
        if connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
            return
        with self._transaction():
            database = sqlite_utils.Database(connection)
            _create_tables(database)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _is_damaged(error: Exception) -> bool:
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)


def _remedy(error: Exception) -> str:
    """What to do about a journal that does not open: the file is broken, or it cannot be reached or grown."""
    if _is_damaged(error):
        return "Put a backup in its place with `cdc restore FILE`, or move it away: then a new one is made"
    return "The account of the bot must be able to write there, and the disk must have room"


def own(journal: Path) -> TextIO:
    """Make this process the one bot of the journal, until the lock returned is closed or the process dies.

    It is taken before the journal is opened: a restore under way puts another file in its place. Readers and
    `cdc ack` need not own it. Raises StoreError when another bot does, and for a file that never was a journal: a
    wrong `state` must cost nobody their file.
    """
    file, path = file_of(journal), lock_of(journal)
    try:
        if not path.exists() and not _may_be_journal(file):
            raise StoreError(f"{journal}: {ANOTHERS}")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise StoreError(f"{journal}: cannot be opened as the journal: {error}. {_remedy(error)}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreError(
            f"{journal}: another bot runs on this journal, or a restore is under way: "
            "stop it first, or use another `state`"
        ) from error
    return lock


def _may_be_journal(file: Path) -> bool:
    """Whether a file is none yet, or one of SQLite's, sound or damaged."""
    if not file.exists():
        return True
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(len(SQLITE_HEADER)) in (b"", SQLITE_HEADER)


def is_owned(journal: Path) -> bool:
    """Whether a bot runs on this journal now, in whatever process."""
    try:
        with lock_of(journal).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def lock_of(journal: Path) -> Path:
    """Return the file whose lock says that a bot owns the journal, by whichever name it is called."""
    file = file_of(journal)
    return file.with_name(file.name + ".lock")


def file_of(journal: Path) -> Path:
    """Return the file that the journal's name leads to: SQLite keeps the log beside that one, not beside a link."""
    return Path(os.path.realpath(journal))


def last_number(db: sqlite3.Connection) -> int:
    """Return the highest incident number given, 0 for none, also by the journal that a restored one took the place of.

    Numbers are given in the order of the journal, so the last incident opened has the highest: no need to read all.
    """
    opened = db.execute("SELECT incident FROM events WHERE version = 1 ORDER BY seq DESC LIMIT 1").fetchone()
    kept = db.execute("SELECT body FROM counters WHERE id = ?", (NUMBERS_ROW,)).fetchone()
    return max(
        int(opened[0].removeprefix("CDC-")) if opened else 0, int(json.loads(kept[0])["last_incident"]) if kept else 0
    )


def keep_number(db: sqlite3.Connection, last: int) -> None:
    """Give no number up to `last` any more."""
    _keep(db, NUMBERS_ROW, {"last_incident": last})


def _keep(db: sqlite3.Connection, row: int, document: Mapping[str, Any]) -> None:
    """Write one document of the table of counters, in the place of the one before."""
    db.execute(
        "INSERT INTO counters (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
        (row, json.dumps(document)),
    )


def _refusals(db: sqlite3.Connection) -> Mapping[str, Any]:
    row = db.execute("SELECT body FROM counters WHERE id = ?", (REFUSALS_ROW,)).fetchone()
    saved: Mapping[str, Any] = json.loads(row[0]) if row else {}
    return saved


def _create_tables(db: sqlite_utils.Database) -> None:
    text, integer, blob = str, int, bytes
    db.table("inbox").create(
        {"id": integer, "key": text, "kind": text, "received_at": text, "body": blob, "state": text, "note": text},
        pk="id", not_null={"key", "kind", "received_at", "body", "state"}, if_not_exists=True,
    ).create_index(["key"], unique=True, if_not_exists=True)  # fmt: skip
    db.table("inbox").create_index(["state", "id"], if_not_exists=True)
    db.table("events").create(
        {"seq": integer, "incident": text, "version": integer, "at": text, "who_id": text, "who_name": text,
         "type": text, "body": text, "cause": integer},
        pk="seq", not_null={"incident", "version", "at", "type", "body"}, if_not_exists=True,
    ).create_index(["incident", "version"], unique=True, if_not_exists=True)  # fmt: skip
    db.table("outbox").create(
        {"id": integer, "key": text, "incident": text, "slot": text, "lane": text, "channel": text, "body": text,
         "wanted": integer, "shown": integer, "attempts": integer, "uncertain": integer, "not_before": text,
         "state": text, "channel_id": text, "ts": text, "error": text, "created_at": text, "settled_at": text},
        pk="id", not_null={"key", "slot", "lane", "state"}, if_not_exists=True,
    ).create_index(["key"], unique=True, if_not_exists=True)  # fmt: skip
    db.table("outbox").create_index(["state", "not_before"], if_not_exists=True)
    db.table("tasks").create(
        {"id": integer, "key": text, "incident": text, "kind": text, "body": text, "state": text, "attempts": integer,
         "not_before": text, "created_at": text, "started_at": text, "done_at": text, "note": text},
        pk="id", not_null={"key", "kind", "state"}, if_not_exists=True,
    ).create_index(["key"], unique=True, if_not_exists=True)  # fmt: skip
    db.table("tasks").create_index(["state", "not_before"], if_not_exists=True)
    db.table("first_seen").create(
        {"subject": text, "version": integer, "at": text}, pk=("subject", "version"), if_not_exists=True
    )
    db.table("counters").create({"id": integer, "body": text}, pk="id", if_not_exists=True)


class Writer:
    """What one decision may write; lives only inside `Store.deciding`.

    After it, `says` and `asks` tell whom to wake, and `news` what to log.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.says = self.asks = False
        self.news: list[str] = []

    def next_number(self) -> int:
        """Return the next incident number: unique, since no other writer is inside."""
        return last_number(self._db) + 1

    def append(self, entry: e.Entry, cause: int | None) -> int:
        """Append one entry and return its seq. Raises sqlite3.IntegrityError when another writer was first."""
        kind, body = encode_event(entry.event)
        cursor = self._db.execute(
            "INSERT INTO events (incident, version, at, who_id, who_name, type, body, cause) VALUES (?,?,?,?,?,?,?,?)",
            (entry.incident, entry.version, _stamp(entry.at), entry.who.id, entry.who.name, kind, body, cause),
        )
        return int(cursor.lastrowid or 0)

    def deliver(self, incident: str, slot: str, lane: str, channel: str, version: int, now: datetime) -> None:
        """Make a slot's message due; a burst of changes stays one row and becomes one edit.

        `channel` is where the incident's card goes; a reply has its card's, which may have been corrected since.
        """
        self.says = True
        self._db.execute(
            "INSERT INTO outbox (key, incident, slot, lane, channel, body, wanted, shown, attempts, uncertain, "
            "not_before, state, created_at) "
            "VALUES (?,?,?,?,COALESCE((SELECT channel FROM outbox WHERE key = ?),?),'{}',?,0,0,0,?,'due',?) "
            "ON CONFLICT (key) DO UPDATE SET wanted = max(wanted, excluded.wanted), lane = CASE WHEN state = 'due' "
            f"AND {LANE_ORDER} < {LANE_ORDER.replace('lane', 'excluded.lane', 1)} THEN lane ELSE excluded.lane END, "
            "not_before = CASE WHEN state = 'due' THEN not_before ELSE excluded.not_before END, "
            "created_at = CASE WHEN state = 'due' THEN created_at ELSE excluded.created_at END, state = 'due'",
            (
                f"{incident}/{slot}",
                incident,
                slot,
                lane,
                f"{incident}/card",
                channel,
                version,
                _stamp(now),
                _stamp(now),
            ),
        )

    def answer(self, key: str, channel: str, body: Mapping[str, Any], now: datetime, lane: str = "reply") -> None:
        """Make an answer due: words for one person, sent once."""
        self.says = True
        self._db.execute(
            "INSERT INTO outbox (key, slot, lane, channel, body, wanted, shown, attempts, uncertain, not_before, "
            "state, created_at) VALUES (?,'answer',?,?,?,1,0,0,0,?,'due',?) ON CONFLICT (key) DO NOTHING",
            (key, lane, channel, json.dumps(body), _stamp(now), _stamp(now)),
        )

    def enqueue(
        self, key: str, incident: str, kind: str, body: Mapping[str, Any], not_before: datetime, now: datetime
    ) -> None:
        self.asks = True
        self._db.execute(
            "INSERT INTO tasks (key, incident, kind, body, state, attempts, not_before, created_at) "
            "VALUES (?,?,?,?,'todo',0,?,?) ON CONFLICT (key) DO NOTHING",
            (key, incident, kind, json.dumps(body), _stamp(not_before), _stamp(now)),
        )

    def pending_task(self, incident: str, kind: str) -> bool:
        row = self._db.execute(
            "SELECT 1 FROM tasks WHERE incident = ? AND kind = ? AND state = 'todo' LIMIT 1", (incident, kind)
        ).fetchone()  # fmt: skip
        return row is not None

    def hasten_task(self, incident: str, kind: str, not_before: datetime) -> None:
        """Bring a waiting task forward."""
        self.asks = True
        self._db.execute(
            "UPDATE tasks SET not_before = min(not_before, ?) WHERE incident = ? AND kind = ? AND state = 'todo'",
            (_stamp(not_before), incident, kind),
        )

    def refusals(self) -> Mapping[str, Any]:
        """Return what is kept of refused schemas, as this decision finds it."""
        return _refusals(self._db)

    def keep_refusals(self, document: Mapping[str, Any]) -> None:
        _keep(self._db, REFUSALS_ROW, document)

    def rewind(self, note: str) -> tuple[int, int, int]:
        """End what the past wanted of the chat; return how many clicks and answers, and how many messages to look for.

        For a journal put back from a backup. A click that waited would be decided a second time, and an answer that
        waited be told twice: both are ended. A message that was not posted then may have been posted since: it is
        looked for in the chat by its key before it is posted.
        """
        self.says = True
        clicks = self._db.execute(
            "UPDATE inbox SET state = 'done', note = ? WHERE state = 'new' AND kind LIKE 'slack.%'", (note,)
        ).rowcount
        answers = self._db.execute(
            "UPDATE outbox SET state = 'dropped' WHERE state = 'due' AND slot = 'answer'"
        ).rowcount
        messages = self._db.execute(
            "UPDATE outbox SET uncertain = 1 WHERE state = 'due' AND slot != 'answer' AND ts IS NULL"
        ).rowcount
        return clicks, answers, messages

    def end_inbox(self, row_id: int, state: str, note: str) -> None:
        self._db.execute("UPDATE inbox SET state = ?, note = ? WHERE id = ?", (state, note[:500], row_id))

    def end_task(self, task_id: int, now: datetime, note: str = "") -> None:
        self._db.execute(
            "UPDATE tasks SET state = 'done', done_at = ?, note = ? WHERE id = ?", (_stamp(now), note[:500], task_id)
        )

    def again(self, task_id: int, not_before: datetime, body: Mapping[str, Any], note: str = "") -> None:
        """Put a claimed task back, to be run again: for probes and checks, never for an action that started."""
        self._db.execute(
            "UPDATE tasks SET state = 'todo', not_before = ?, body = ?, note = ? WHERE id = ?",
            (_stamp(not_before), json.dumps(body), note[:500], task_id),
        )


def _stamp(at: datetime) -> str:
    """Fixed-width UTC, so that text order is time order."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _at(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp)
