"""How one read of a consumer group lies on disk: a frame, which seldom changes, and the little that each read adds.

A frame holds what a read has in common with those before it (partitions, members, state) and the log offsets at its
beginning; a body holds four columns of small numbers relative to them. A body is read with its frame alone, so any
sample may be deleted without the others. What was None comes back as None.

Knows no database; `bot.store.samples` writes and `bot.store.look_samples` reads.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.model import GroupOffsets, Member, PartitionKey, PartitionOffsets

SCHEMA_VERSION = 1
FRAME_S = 3600.0
"""A frame is begun anew after so long: the numbers relative to it stay small."""

UNREADABLE = (ValueError, KeyError, TypeError, IndexError, zlib.error)
"""What a damaged frame or body raises."""

_PLAIN, _DEFLATED = b"\0", b"\1"
_NONE_IN_IT = 0x40
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Frame:
    """`latest` and `earliest` are the offsets of the read it was made of, 0 where they were not known."""

    at: datetime
    keys: tuple[PartitionKey, ...]
    latest: tuple[int, ...]
    earliest: tuple[int, ...]
    state: str | None
    members: int | None
    membership: tuple[Member, ...]
    not_known: tuple[str, ...]


def samples_beside(journal: Path) -> Path:
    """Return where the samples of the bot that owns `journal` are: `cdc-oncall.samples.db` beside `cdc-oncall.db`."""
    return journal.resolve().with_suffix(f".samples{journal.suffix or '.db'}")


def frame_of(read: GroupOffsets) -> Frame:
    return Frame(
        read.at,
        _keys(read),
        tuple(each.latest or 0 for each in read.partitions),
        tuple(each.earliest or 0 for each in read.partitions),
        read.state,
        read.members,
        read.membership,
        read.not_known,
    )


def fits(frame: Frame, read: GroupOffsets) -> bool:
    """Whether `read` differs from the frame in numbers only, and is not far from it in time."""
    return (
        0.0 <= (read.at - frame.at).total_seconds() < FRAME_S
        and frame.state == read.state
        and frame.members == read.members
        and frame.not_known == read.not_known
        and frame.keys == _keys(read)
        and frame.membership == read.membership
    )


def encode_frame(frame: Frame) -> bytes:
    topics = sorted({topic for topic, _ in frame.keys} | {t for one in frame.membership for t, _ in one.partitions})
    number = {topic: index for index, topic in enumerate(topics)}

    def numbered(keys: Iterable[PartitionKey]) -> list[list[int]]:
        return [[number[topic], partition] for topic, partition in keys]

    document = {
        "topics": topics,
        "keys": numbered(frame.keys),
        "latest": frame.latest,
        "earliest": frame.earliest,
        "state": frame.state,
        "members": frame.members,
        "membership": [[one.id, one.client, one.host, numbered(one.partitions)] for one in frame.membership],
        "not_known": frame.not_known,
    }
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode())


def decode_frame(at_us: int, body: bytes) -> Frame:
    """Raises one of UNREADABLE."""
    document = json.loads(zlib.decompress(body))
    topics = document["topics"]

    def named(keys: Iterable[Sequence[int]]) -> tuple[PartitionKey, ...]:
        return tuple((topics[topic], partition) for topic, partition in keys)

    return Frame(
        datetime_of(at_us),
        named(document["keys"]),
        tuple(document["latest"]),
        tuple(document["earliest"]),
        document["state"],
        document["members"],
        tuple(Member(name, client, host, named(keys)) for name, client, host, keys in document["membership"]),
        tuple(document["not_known"]),
    )


def encode_body(read: GroupOffsets, frame: Frame) -> bytes:
    """Return what `read` adds to a frame that `fits` it."""
    latest, committed, earliest, stable = [], [], [], []  # type: list[int | None], list[int | None], list[int | None], list[int | None]
    odd: dict[int, tuple[str | None, bool]] = {}
    for index, (one, base, first) in enumerate(zip(read.partitions, frame.latest, frame.earliest, strict=True)):
        end = base if one.latest is None else one.latest
        latest.append(None if one.latest is None else end - base)
        committed.append(None if one.committed is None else end - one.committed)
        earliest.append(None if one.earliest is None else one.earliest - first)
        stable.append(None if one.last_stable is None else end - one.last_stable)
        if one.error is not None or not one.committed_known:
            odd[index] = (one.error, one.committed_known)
    columns = b"".join(_column(values) for values in (latest, committed, earliest, stable))
    plain = columns + json.dumps(odd, separators=(",", ":")).encode() if odd else columns
    deflated = zlib.compress(plain, 6, -15)
    return _DEFLATED + deflated if len(deflated) < len(plain) else _PLAIN + plain


def decode_body(group: str, at_us: int, frame: Frame, body: bytes) -> GroupOffsets:
    """Return the read as it was. Raises one of UNREADABLE."""
    plain = zlib.decompress(body[1:], -15) if body[:1] == _DEFLATED else body[1:]
    count, place, columns = len(frame.keys), 0, list[Sequence[int | None]]()
    for _ in range(4):
        values, place = _values(plain, place, count)
        columns.append(values)
    odd = {int(index): said for index, said in json.loads(plain[place:]).items()} if place < len(plain) else {}
    partitions = []
    rows = zip(frame.keys, frame.latest, frame.earliest, *columns, strict=True)
    for index, ((topic, number), base, first, latest, behind, earliest, unstable) in enumerate(rows):
        end = base if latest is None else base + latest
        error, known = odd.get(index, (None, True))
        partitions.append(
            PartitionOffsets(
                topic,
                number,
                None if behind is None else end - behind,
                None if earliest is None else first + earliest,
                None if latest is None else end,
                known,
                error,
                None if unstable is None else end - unstable,
            )
        )
    return GroupOffsets(
        group, datetime_of(at_us), frame.state, frame.members, tuple(partitions), frame.not_known, frame.membership
    )


def decode_rows(
    group: str, rows: Iterable[tuple[int, int, bytes]], frame_body: Callable[[int], tuple[int, bytes] | None]
) -> Iterator[GroupOffsets]:
    """Yield the reads of rows (time, frame id, body); one that is damaged is left out. `frame_body` is (time, body)."""
    frames: dict[int, Frame | None] = {}
    for at_us, frame_id, body in rows:
        try:
            if frame_id not in frames:
                found = frame_body(frame_id)
                frames[frame_id] = decode_frame(*found) if found else None
            frame = frames[frame_id]
            if frame is not None:
                yield decode_body(group, at_us, frame, body)
        except UNREADABLE:
            frames.setdefault(frame_id, None)


def microseconds(at: datetime) -> int:
    """Return a time as whole microseconds since 1970: exact, so that a read comes back equal."""
    return (at - _EPOCH) // _US


def datetime_of(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)


# --- leaves ----------------------------------------------------------------------------------------


def _keys(read: GroupOffsets) -> tuple[PartitionKey, ...]:
    return tuple([(each.topic, each.partition) for each in read.partitions])


def _column(values: Sequence[int | None]) -> bytes:
    """One byte for the width of a number (0: all are 0), a bitmap of what is None where something is, the numbers."""
    present = [value for value in values if value is not None]
    low, high = (min(present), max(present)) if present else (0, 0)
    # Signed, so one bit more than the number needs; of a negative one, -2**(8n-1) still fits.
    bits = max((~low if low < 0 else low).bit_length(), (~high if high < 0 else high).bit_length())
    width = 0 if low == high == 0 else bits // 8 + 1
    head = width | (0 if len(present) == len(values) else _NONE_IN_IT)
    nones = b""
    if head & _NONE_IN_IT:
        marks = sum(1 << index for index, value in enumerate(values) if value is None)
        nones = marks.to_bytes((len(values) + 7) // 8, "little")
    numbers = b"".join([value.to_bytes(width, "little", signed=True) for value in present]) if width else b""
    return bytes((head,)) + nones + numbers


def _values(plain: bytes, place: int, count: int) -> tuple[Sequence[int | None], int]:
    """Return the `count` numbers of the column at `place`, and where the next one begins."""
    head = plain[place]
    width, place = head & ~_NONE_IN_IT, place + 1
    marks = 0
    if head & _NONE_IN_IT:
        size = (count + 7) // 8
        marks, place = int.from_bytes(plain[place : place + size], "little"), place + size
    present = count - marks.bit_count()
    end = place + present * width
    if end > len(plain):
        raise ValueError("a column that was cut off")
    numbers: Any = (
        [int.from_bytes(plain[at : at + width], "little", signed=True) for at in range(place, end, width)]
        if width
        else [0] * present
    )
    if not marks:
        return numbers, end
    rest = iter(numbers)
    return [None if marks >> index & 1 else next(rest) for index in range(count)], end
