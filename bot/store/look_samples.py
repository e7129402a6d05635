"""A look at the lag samples of a running bot: makes nothing, touches nothing, and costs what a few rows cost.

For `cdc lag GROUP`, which is a process of its own: with the bot's samples one question has a history. What cannot be
read is no history, never an error. Imports neither pydantic nor sqlite-utils: a terminal waits for this.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from bot.model import GroupOffsets
from bot.store.sample_format import SCHEMA_VERSION, decode_rows, microseconds

BUSY_S = 0.2
LOOKED_AT_PARTITIONS = 2_000
"""Some milliseconds' worth: a terminal waits for it. Of a wide group these are its newest reads only."""


def look_samples(
    path: Path, group: str, since: datetime, most_partitions: int = LOOKED_AT_PARTITIONS
) -> tuple[GroupOffsets, ...]:
    """Return the samples of `group` from `since` on, oldest first; none where they cannot be read.

    Of more than `most_partitions` partitions together, only the newest reads are.
    """
    # Without a log beside it nobody has it open, and SQLite would make one to read it: see bot.store.look.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=BUSY_S)) as db:
            if db.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
                return ()
            return read_samples(db, group, since, None, None, most_partitions)
    except sqlite3.Error:
        return ()


def read_samples(
    db: sqlite3.Connection,
    group: str,
    since: datetime,
    until: datetime | None,
    step_s: float | None,
    most_partitions: int | None,
) -> tuple[GroupOffsets, ...]:
    """Return the samples of a group between two times, both included, oldest first.

    With `step_s` the first of each step; with `most_partitions` the newest that hold no more together.
    """
    at_us, until_us = microseconds(since), 2**62 if until is None else microseconds(until)
    where = "of_group = (SELECT id FROM groups WHERE name = ?) AND at BETWEEN ? AND ?"
    if step_s is None:
        query, asked = f"SELECT at, frame, body FROM samples WHERE {where} ORDER BY at DESC", (group, at_us, until_us)
    else:
        # With one min(), SQLite takes the other columns from the row that has the minimum.
        query = f"SELECT min(at), frame, body FROM samples WHERE {where} GROUP BY at / ? ORDER BY at DESC"
        asked = (group, at_us, until_us, max(1, round(step_s * 1e6)))  # type: ignore[assignment]

    def frame(number: int) -> tuple[int, bytes] | None:
        row: tuple[int, bytes] | None = db.execute("SELECT at, body FROM frames WHERE id = ?", (number,)).fetchone()
        return row

    return tuple(reversed(_newest(decode_rows(group, db.execute(query, asked), frame), most_partitions)))


def _newest(newest_first: Iterable[GroupOffsets], most_partitions: int | None) -> list[GroupOffsets]:
    """Return the first ones, up to `most_partitions` together, and one in any case."""
    taken, partitions = list[GroupOffsets](), 0
    for read in newest_first:
        partitions += len(read.partitions)
        if most_partitions is not None and taken and partitions > most_partitions:
            break
        taken.append(read)
    return taken
