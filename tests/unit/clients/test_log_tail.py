"""A log followed as `tail -F` does, on real files: nothing twice, nothing lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bot.clients.log_tail import MOST_LINE, LogTail, Place


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "registry.log"


def write(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def texts(tail: LogTail) -> list[str]:
    return [line.text for line in tail.read()]


def test_a_log_is_followed_from_its_end(log: Path) -> None:
    """What stands there is history; a line that is just being written is not."""
    write(log, "old\nhal")
    tail = LogTail(log)
    assert [] == texts(tail)
    write(log, "f\r\nnew\n")
    assert ["half", "new"] == texts(tail)


def test_a_log_that_is_not_there_yet_is_read_whole(log: Path) -> None:
    """It appeared while we followed: all of it is new."""
    tail = LogTail(log)
    assert [] == texts(tail)
    write(log, "first\n")
    assert ["first"] == texts(tail)


def test_a_renamed_log_is_read_to_its_end_first(log: Path) -> None:
    """logrotate with create: lines written after the rename to the old file count, too."""
    write(log, "one\n")
    tail = LogTail(log, from_start=True)
    assert ["one"] == texts(tail)
    log.rename(log.with_name("registry.log.1"))
    write(log.with_name("registry.log.1"), "two\n")
    assert ["two"] == texts(tail)  # the path is empty for a moment
    write(log.with_name("registry.log.1"), "three\nunended")
    write(log, "four\n")
    assert ["three", "unended", "four"] == texts(tail)


@pytest.mark.parametrize("after", ["new\n", "longer than what was there before\nx\n"])
def test_a_log_copied_and_truncated_is_read_from_its_start(log: Path, after: str) -> None:
    """Also where it has grown past the place before anybody looked again."""
    write(log, "one\ntwo\n")
    tail = LogTail(log, from_start=True)
    assert ["one", "two"] == texts(tail)
    os.truncate(log, 0)
    write(log, after)
    assert after.split() == " ".join(texts(tail)).split()[: len(after.split())] and not texts(tail)


@pytest.mark.parametrize("rotations", [0, 1])
def test_a_restart_goes_on_where_it_was_left(log: Path, rotations: int) -> None:
    """By inode and offset, and by what stands before it; a file renamed meanwhile is found beside the path."""
    write(log, "one\ntwo\n")
    first = LogTail(log, from_start=True)
    behind = first.marked(next(first.read()).behind)
    write(log, "three\n")
    if rotations:
        log.rename(log.with_name("registry.log.1"))
        write(log, "four\n")
    again = LogTail(log, behind)
    assert ["two", "three", *["four"] * rotations] == texts(again)
    assert [] == again.missed


def test_a_log_that_went_while_nobody_looked_is_said(log: Path) -> None:
    """Rotated and compressed: what is there now is read, and what is lost is told."""
    write(log, "one\n")
    tail = LogTail(log, from_start=True)
    list(tail.read())
    kept = tail.place
    log.unlink()
    write(log, "another\n")
    again = LogTail(log, kept)
    assert ["another"] == texts(again)
    assert ["delaycompress" in line for line in again.missed] == [True]


def test_the_same_inode_written_anew_is_another_file(log: Path) -> None:
    """A place names what stands before it: inodes are used again."""
    write(log, "one\n")
    tail = LogTail(log, from_start=True)
    list(tail.read())
    kept = tail.place
    log.write_text("ONE\ntwo\n")
    assert ["ONE", "two"] == texts(LogTail(log, kept))


def test_no_line_is_too_strange(log: Path) -> None:
    """Bytes that are no UTF-8 are replaced, a huge line is passed over, and the lines around it stay whole."""
    write(log, b"a\xff\n" + b"x" * (3 * MOST_LINE) + b"\nb\n\nc\n")
    tail = LogTail(log, from_start=True)
    assert ["a�", "b", "", "c"] == texts(tail)
    assert log.stat().st_size == tail.place.offset


def test_places_of_lines_add_up(log: Path) -> None:
    """A line begins where the one before it ended."""
    write(log, "one\ntwo\r\nthree\n")
    lines = list(LogTail(log, from_start=True).read())
    assert [0, 4, 9] == [line.began.offset for line in lines]
    assert [4, 9, 15] == [line.behind.offset for line in lines]
    assert Place(lines[0].began.inode, 0) == lines[0].began
