"""`cdc doctor`, journal and bot: each line from both sides; the facts are read from real folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bot.doctor.journal import BotFacts, JournalFacts, gather, gather_bot, judge, judge_bot
from bot.ports import Unreachable

GB = 1_000_000_000
SOUND = JournalFacts("/var/lib/cdc.db", exists=True, is_owned=True, free_bytes=50 * GB, total_bytes=100 * GB)
RUNNING = BotFacts(True, "http://127.0.0.1:8080", alive=True, ready=True, version="0.5.0")


@dataclass(frozen=True)
class Contents:
    is_newer: bool = False
    unreadable: int = 0
    failed_messages: int = 0
    failed_keys: tuple[str, ...] = ()
    last_error: str = ""


@pytest.mark.parametrize(
    ("changed", "status", "what"),
    [
        ({}, "ok", "/var/lib/cdc.db opens, a bot runs on it"),
        ({"is_owned": False}, "ok", "/var/lib/cdc.db opens"),
        ({"exists": False, "is_owned": False}, "ok", "/var/lib/cdc.db is not there yet: `cdc serve` makes it"),
        ({"error": "cdc.db: cannot be read as a journal: x"}, "failed", "cdc.db: cannot be read as a journal: x"),
        ({"is_newer": True}, "failed", "/var/lib/cdc.db was written by a newer version of cdc-oncall"),
        ({"is_read_only": True}, "failed", "/var/lib/cdc.db is on a file system that is mounted read-only"),
        ({"can_write": False}, "failed", "/var/lib/cdc.db cannot be written by this user"),
    ],
)
def test_the_journals_file(changed: Mapping[str, Any], status: str, what: str) -> None:
    """It opens, or one line says why it does not and what to do."""
    first, *_ = judge(replace(SOUND, **changed))
    assert (status, what) == (first.status, first.what)
    assert bool(first.remedy) is (status != "ok")


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"failed_messages": 2, "last_error": "is_archived"}, "Slack refused 2 messages for good: is_archived"),
        (
            {"failed_messages": 1, "failed_keys": ("CDC-3/card",), "last_error": "invalid_blocks"},
            "Slack refused 1 message for good (the card of CDC-3): invalid_blocks",
        ),
        (
            {"failed_messages": 9, "failed_keys": ("CDC-3/event:4", "answer:slack:1", "answer:2"), "last_error": "e"},
            "Slack refused 9 messages for good (a reply of CDC-3, an answer, and 6 more): e",
        ),
        ({"unreadable": 1}, "1 request could not be read, kept in the journal"),
        ({"unreadable": 3}, "3 requests could not be read, kept in the journal"),
    ],
)
def test_what_the_journal_holds_back_is_a_warning(changed: Mapping[str, Any], what: str) -> None:
    """What was never told, or never understood."""
    assert [what] == [line.what for line in judge(replace(SOUND, **changed)) if line.status == "warning"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            ("CDC-3/card",),
            ("restart the bot: a card that was never posted is tried again", "`cdc incident CDC-3` shows"),
        ),
        (("answer:1",), ("ask again",)),
    ],
)
def test_what_to_do_about_a_refusal_is_true(keys: tuple[str, ...], words: tuple[str, ...]) -> None:
    """The incident's own command shows what was not said; an answer has none."""
    refused = replace(SOUND, failed_messages=1, failed_keys=keys, last_error="e")
    (remedy,) = (line.remedy for line in judge(refused) if line.status == "warning")
    assert all(word in remedy for word in words)
    assert ("`cdc incident " in remedy) == ("CDC-3/card" in keys)


@pytest.mark.parametrize(
    ("free", "total", "status"),
    [
        (GB, 10 * GB, "ok"),
        (GB - 1, 10 * GB, "warning"),  # less than 1 GB
        (5 * GB, 100 * GB, "ok"),
        (5 * GB - 1, 100 * GB, "warning"),  # less than 5 %
        (100_000_000, 10 * GB, "warning"),
        (99_999_999, 10 * GB, "failed"),
        (0, 10 * GB, "failed"),
        (None, None, "warning"),
    ],
)
def test_the_room_that_is_left(free: int | None, total: int | None, status: str) -> None:
    """Little room warns, none fails; not known is not enough."""
    assert status == judge(replace(SOUND, free_bytes=free, total_bytes=total))[-1].status


def test_looking_at_a_missing_journal_makes_nothing(tmp_path: Path) -> None:
    """The nearest folder that is there tells the room and whether it may be written."""
    facts = gather(tmp_path / "not" / "yet" / "cdc.db", lambda _: True, lambda _: None)
    assert (False, False, True, None) == (facts.exists, facts.is_owned, facts.can_write, facts.error)
    assert facts.free_bytes
    assert [] == list(tmp_path.iterdir())


def test_a_journal_is_looked_at(tmp_path: Path) -> None:
    """What is read of it, who owns it, or why it cannot be read."""
    path = tmp_path / "cdc.db"
    path.write_bytes(b"")
    seen = gather(path, lambda _: True, lambda _: Contents(failed_messages=1, last_error="e"))
    assert (True, True, 1, "e") == (seen.exists, seen.is_owned, seen.failed_messages, seen.last_error)
    assert "no" == gather(path, lambda _: False, lambda _: "no").error


@pytest.mark.parametrize(
    ("changed", "status", "what"),
    [
        ({}, "ok", "the bot runs (0.5.0) at http://127.0.0.1:8080"),
        ({"alive": False, "wrong": ("the inbox stands still",)}, "failed", "not alive: the inbox stands still"),
        ({"ready": False}, "warning", "the bot is not ready"),
        ({"wrong": ("2 webhook requests came with a wrong token",)}, "warning", "says: 2 webhook requests"),
        ({"is_owned": False}, "warning", "no bot runs on this journal: is it on another host?"),
        ({"is_owned": False, "error": "refused"}, "warning", "no bot runs on this journal: alerts are not heard"),
        ({"error": "refused"}, "failed", "a bot runs on this journal, but it cannot be asked how it is: refused"),
        ({"url": None}, "ok", "`listen` has port 0"),
        ({"url": None, "is_owned": False}, "warning", "alerts are not heard"),
    ],
)
def test_the_running_bot(changed: Mapping[str, Any], status: str, what: str) -> None:
    """Does one run on this journal, and what does it say itself."""
    *_, line = judge_bot(replace(RUNNING, **changed))
    assert status == line.status
    assert what in line.what
    assert bool(line.remedy) is (status != "ok")


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("2 webhook requests came with a wrong token: Alertmanager does", "Put a token of alertmanager.tokens into"),
        ("Slack messages wait, the oldest 31 s: not_in_channel", "See the slack lines"),
        ("the journal could not be written: disk full", "See the journal lines"),
        ("cannot see: customers (customers, consumer_lag)", "See the lines of kafka, registry and connect"),
        ("the probes last looked 700 s ago", "Look into the bot's log"),
        ("3 Slack messages were refused (is_archived)", None),  # the journal's own line says it
        ("1 Slack message was refused (is_archived), and 3 messages of the same thread not sent", None),
        ("3 requests could not be read, kept in the inbox", None),
        ("1 request could not be read, kept in the inbox", None),
        ("Slack: the bot is not in #a: write `/invite @cdc-oncall` there", "See the slack lines"),
    ],
)
def test_what_the_bot_says_leads_on(said: str, remedy: str | None) -> None:
    """Each of its words has its remedy, and nothing is said twice."""
    lines = [line for line in judge_bot(replace(RUNNING, wrong=(said,))) if line.status == "warning"]
    assert (0 if remedy is None else 1) == len(lines)
    assert remedy is None or lines[0].remedy.startswith(remedy)


def test_the_bot_is_asked_for_its_words() -> None:
    """/healthz and /readyz, whatever their status; an address that does not answer is said."""
    pages = {"/healthz": {"alive": True, "version": "1", "wrong": ["a\nb"]}, "/readyz": {"ready": False}}
    facts = gather_bot(True, "http://b", pages.__getitem__)
    assert (True, False, ("a b",), "1") == (facts.alive, facts.ready, facts.wrong, facts.version)

    def nobody(path: str) -> Mapping[str, Any]:
        raise Unreachable(f"GET http://b{path}: nobody answers")

    assert "GET http://b/healthz: nobody answers" == gather_bot(True, "http://b", nobody).error
