"""A look at a journal without touching it: none is made by looking, and a running bot is not disturbed.

For `cdc doctor`, which must be able to ask about a journal that is not there, is not a journal, or belongs to a newer
version. The whole file is not read; `bot.store.copies.inspect` does that.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bot.store.sqlite import SCHEMA_VERSION, StoreError, file_of

BUSY_S = 3.0
MOST_KEYS = 4


@dataclass(frozen=True)
class Look:
    """What a journal says of itself; `last_webhook_at` is when Alertmanager last reached the bot, None for never.

    `failed_keys` are the newest messages that Slack refused for good, `last_error` is why it refused the newest.
    `is_newer`: a newer version of the bot wrote it, and nothing else of it was read.
    """

    schema: int
    is_newer: bool = False
    last_webhook_at: datetime | None = None
    unreadable: int = 0
    failed_messages: int = 0
    failed_keys: tuple[str, ...] = ()
    last_error: str = ""


def look(path: Path) -> Look:
    """Return what stands in the journal. Raises StoreError for a file that is none, FileNotFoundError without one."""
    with _reading(path) as db:
        schema = int(db.execute("PRAGMA user_version").fetchone()[0])
        if schema > SCHEMA_VERSION:
            return Look(schema, is_newer=True)
        if not db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'inbox'").fetchone():
            raise StoreError(f"{path}: is a SQLite file, but no journal of cdc-oncall")
        last = db.execute("SELECT max(received_at) FROM inbox WHERE kind = 'alertmanager'").fetchone()[0]
        failed = db.execute("SELECT key, error FROM outbox WHERE state = 'failed' ORDER BY id DESC").fetchall()
        return Look(
            schema,
            last_webhook_at=datetime.fromisoformat(last) if last else None,
            unreadable=int(db.execute("SELECT count(*) FROM inbox WHERE state = 'unreadable'").fetchone()[0]),
            failed_messages=len(failed),
            failed_keys=tuple(str(row[0]) for row in failed[:MOST_KEYS]),
            last_error=str(failed[0][1] or "") if failed else "",
        )


def webhook_with(path: Path, words: str) -> datetime | None:
    """Return when the first webhook that holds these words was stored, or None. Raises as `look` does."""
    with _reading(path) as db:
        row = db.execute(
            "SELECT min(received_at) FROM inbox WHERE kind = 'alertmanager' AND instr(body, CAST(? AS BLOB)) > 0",
            (words,),
        ).fetchone()
        return datetime.fromisoformat(row[0]) if row[0] else None


def card_error(path: Path, incident: str) -> str:
    """Return why the last attempt to post an incident's card failed; empty where none did. Raises as `look` does."""
    with _reading(path) as db:
        row = db.execute("SELECT error FROM outbox WHERE key = ? AND ts IS NULL", (f"{incident}/card",)).fetchone()
        return str(row[0] or "") if row else ""


def seen_versions(path: Path) -> Mapping[tuple[str, int], datetime]:
    """Return when the bot first saw each (subject, version); nothing where there is no journal that can be read."""
    try:
        with _reading(path) as db:
            rows = db.execute("SELECT subject, version, at FROM first_seen").fetchall()
    except (FileNotFoundError, StoreError):
        return {}
    return {(subject, version): datetime.fromisoformat(at) for subject, version, at in rows}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        raise FileNotFoundError(2, "there is no such file", str(path))
    if not path.is_file():
        raise StoreError(f"{path}: is not a file")
    # Without a log beside it nobody has it open, and SQLite would make one to read it: owned by whoever looks, who may
    # be root, and then the bot could not write.
    file = file_of(path)
    how = "mode=ro" if file.with_name(f"{file.name}-wal").exists() else "immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?{how}", uri=True, timeout=BUSY_S)) as db:
            yield db
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be read as a journal: {error}") from error
