"""`cdc registry follow-log FILE`: what is told, and that it is told under one name however often it is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bot.cli_call import Call, Stop
from bot.cli_registry import _follow_file, follow_log

TIMED = '10.0.0.7 - - [23/Nov/2026:14:02:1{} +0000] "POST /subjects/s/versions HTTP/1.1" 409 211 "-"\n'
TIMELESS = '10.0.0.7:53110 - "POST /subjects/s/versions HTTP/1.1" 409 Conflict\n'


def follow(log: Path, kept: str, told: dict[str, bytes]) -> None:
    """Read the log once, as a follower with a place of its own; `told` is the bot's inbox, by key."""
    call = Call(None, False, {}, lambda: pytest.fail("a file needs no app"))
    _follow_file(call, log, log.with_name(kept), lambda key, body: told.setdefault(key, body) and None, True, True)


@pytest.mark.parametrize("line", [TIMED, TIMELESS])
def test_a_follower_killed_before_it_kept_its_place_tells_nothing_twice(line: str, tmp_path: Path) -> None:
    """The same line has the same key."""
    log, told = tmp_path / "r.log", dict[str, bytes]()
    log.write_text("".join(line.format(n) for n in range(3)))

    follow(log, "place", told)
    (tmp_path / "place").unlink()
    follow(log, "place", told)

    assert 3 == len(told)


def test_followers_that_began_before_and_after_a_rotation_tell_of_one_refusal_once(tmp_path: Path) -> None:
    """Each counts the files that it has read; the line's own time is enough."""
    log, told = tmp_path / "r.log", dict[str, bytes]()
    log.write_text(TIMED.format(1))
    follow(log, "first", told)
    log.rename(tmp_path / "r.log.1")
    log.write_text(TIMED.format(2))

    follow(log, "first", told)
    follow(log, "second", told)

    assert 2 == len(told)


def test_a_log_that_is_truncated_and_says_the_same_again_is_another_refusal(tmp_path: Path) -> None:
    """A line without a time is told apart by the files before it."""
    log, told = tmp_path / "r.log", dict[str, bytes]()
    log.write_text(TIMELESS)
    follow(log, "place", told)
    inode = log.stat().st_ino
    os.truncate(log, 0)
    follow(log, "place", told)
    with log.open("a") as file:
        file.write(TIMELESS)
    follow(log, "place", told)

    assert inode == log.stat().st_ino
    assert 2 == len(told)


def test_a_log_that_cannot_be_read_is_said_with_what_to_do(tmp_path: Path) -> None:
    """No trace, and no place is kept."""
    log = tmp_path / "r.log"
    log.mkdir()
    call = Call(None, False, {"CDC_WEBHOOK_TOKEN": "t"}, lambda: pytest.fail("a file needs no app"))
    place = tmp_path / "place"

    with pytest.raises(Stop) as stopped:
        follow_log.callback.__wrapped__(call, log, "http://127.0.0.1:1", False, True, place)

    assert "is a directory" in str(stopped.value)
    assert not place.exists()


def test_a_place_that_cannot_be_read_is_not_the_log(tmp_path: Path) -> None:
    """The remedy is another one."""
    (tmp_path / "place").mkdir()

    with pytest.raises(Stop) as stopped:
        follow(tmp_path / "r.log", "place", {})

    assert "the place in the log cannot be read: Is a directory." in str(stopped.value)
