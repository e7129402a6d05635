"""A log file as `tail -F` follows it, by lines, and resumed where it was left.

Promise: every complete line that was written after the place it began at is yielded once, in order, over rotations
(renamed, or copied and truncated), restarts and a file that is not there yet. A place is told with each line; who keeps
the place of the last line that was dealt with loses nothing and repeats nothing.

    A file that was renamed while nobody looked is found beside the path by its inode, and read to its end first.
    What was rotated away twice, or compressed, before anybody looked is lost, and said (`missed`).
    A line that does not end yet is left alone; one over MOST_LINE bytes is passed over. Bytes that are not UTF-8 are
    replaced.

A place names what stands before it, too: a file whose inode or length happens to fit but that was written anew is begun
from its start. `read` never waits; who calls it does.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

MOST_LINE = 1024 * 1024
CHUNK = 256 * 1024
BEFORE = 256


@dataclass(frozen=True)
class Place:
    """Up to where a file was read: `before` names its last bytes up to there, `files` counts the files read so far."""

    inode: int
    offset: int
    before: str = ""
    files: int = 0


@dataclass(frozen=True)
class Line:
    """A line without its end, where it began, and the place behind it."""

    text: str
    began: Place
    behind: Place


class LogTail:
    """Follows one path. `place` is where to begin, None for the file's end, or with `from_start` for its start.

    A path that is not there yet is read from its start once it is. `missed` says what could not be read.
    """

    def __init__(self, path: Path, place: Place | None = None, from_start: bool = False) -> None:
        self._path, self._from_start = path, from_start
        self._file: BinaryIO | None = None
        self._at = Place(0, 0)
        self._rest = b""
        self._skips = False
        self.missed: list[str] = []
        if place is not None:
            self._resume(place)
        elif not from_start:
            self._open(self._path, 0, to_end=True)

    @property
    def place(self) -> Place:
        """Where it stands now; a line that does not end yet lies before it."""
        return self._at

    def read(self) -> Iterator[Line]:
        """Yield the lines there are now. Raises OSError for a file that may not be read."""
        while self._file is not None or self._open(self._path, self._at.files + (self._at.inode != 0)):
            if self._is_cut():
                self._close()
                continue
            yield from self._lines()
            if not self._is_replaced():
                return
            yield from self._lines()  # what was written between the look and the rename
            if self._rest and not self._skips:
                yield self._line(self._rest)  # nobody will end it any more
            self._close()

    def marked(self, place: Place) -> Place:
        """Return a place of the open file with the name of what stands before it, to be kept."""
        if self._file is None or place.inode != self._at.inode or place.before:
            return place
        return replace(place, before=_before(self._file, place.offset))

    def modified_at(self) -> datetime | None:
        """Return when the open file was last written to: a line without a time is no younger."""
        return None if self._file is None else datetime.fromtimestamp(os.fstat(self._file.fileno()).st_mtime, UTC)

    def close(self) -> None:
        self._close()

    # --- files ---

    def _open(self, path: Path, files: int, to_end: bool = False) -> bool:
        """Open a file at its start or end; return False when it is not there."""
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            return False
        self._file, self._rest, self._skips = file, b"", False
        self._at = Place(os.fstat(file.fileno()).st_ino, 0, "", files)
        if to_end:
            self._seek(self._end_of_lines())
        return True

    def _seek(self, offset: int) -> None:
        assert self._file is not None
        self._at = replace(self._at, offset=offset, before=_before(self._file, offset))
        self._file.seek(offset)

    def _end_of_lines(self) -> int:
        """Return where the last line that has ended ends: the next one is being written."""
        assert self._file is not None
        size = os.fstat(self._file.fileno()).st_size
        begin = max(0, size - MOST_LINE)
        tail = os.pread(self._file.fileno(), size - begin, begin)
        return begin + tail.rfind(b"\n") + 1 if b"\n" in tail else size

    def _resume(self, place: Place) -> None:
        for path in (self._path, *self._siblings()):
            try:
                same = path.stat().st_ino == place.inode
            except OSError:
                continue
            if same and self._open(path, place.files):
                assert self._file is not None
                if _before(self._file, place.offset) == place.before:
                    self._seek(place.offset)
                    return
                self._close()
        self._at = replace(place, offset=0, before="")
        if place.inode:
            self.missed.append(
                f"{self._path}: the file that was read up to byte {place.offset:,} is gone or written anew: what came "
                "after that is not read. Is it rotated and compressed at once? (`delaycompress` of logrotate)"
            )

    def _siblings(self) -> list[Path]:
        try:
            return sorted(self._path.parent.glob(_escaped(self._path.name) + "?*"))
        except OSError:
            return []

    def _is_cut(self) -> bool:
        """Whether what was read is not there any more: the file was copied and truncated, or written anew."""
        assert self._file is not None
        if os.fstat(self._file.fileno()).st_size < self._at.offset + len(self._rest):
            return True
        return bool(self._at.before) and _before(self._file, self._at.offset) != self._at.before

    def _is_replaced(self) -> bool:
        """Whether the path names another file by now. While it names none, the old one may still be written to."""
        try:
            return self._path.stat().st_ino != self._at.inode
        except OSError:
            return False

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    # --- lines ---

    def _lines(self) -> Iterator[Line]:
        assert self._file is not None
        while chunk := self._file.read(CHUNK):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for number, line in enumerate(lines):
                if self._skips and number == 0:
                    self._skips = False
                    self._at = _behind(self._at, len(line) + 1)
                elif len(line) > MOST_LINE:
                    self._at = _behind(self._at, len(line) + 1)
                else:
                    yield self._line(line)
            if len(self._rest) > MOST_LINE:
                self._at, self._rest, self._skips = _behind(self._at, len(self._rest)), b"", True
        self._at = self.marked(self._at)

    def _line(self, line: bytes) -> Line:
        began, self._at = self._at, _behind(self._at, len(line) + 1)
        return Line(line.rstrip(b"\r").decode("utf-8", "replace"), began, self._at)


def _behind(place: Place, size: int) -> Place:
    return replace(place, offset=place.offset + size, before="")


def _before(file: BinaryIO, offset: int) -> str:
    """Name the bytes before a place; empty at the start."""
    begin = max(0, offset - BEFORE)
    return hashlib.sha256(os.pread(file.fileno(), offset - begin, begin)).hexdigest()[:16] if offset else ""


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
