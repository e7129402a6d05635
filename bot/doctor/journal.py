"""`cdc doctor`, journal: can the bot keep its journal, is there room left, and does a bot run on it and feel well.

Looking makes no journal: what is not there yet is judged by the folder that it would be made in.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bot.doctor.check import Check, failed, names, ok, one_line, warning
from bot.model import counted
from bot.ports import PortError

PART, BOT_PART = "journal", "bot"
FEW_BYTES, FEW_SHARE = 1_000_000_000, 0.05
NO_BYTES = 100_000_000


class Contents(Protocol):
    """What was read of a journal; `bot.store.look.Look` is one."""

    @property
    def is_newer(self) -> bool: ...
    @property
    def unreadable(self) -> int: ...
    @property
    def failed_messages(self) -> int: ...
    @property
    def failed_keys(self) -> tuple[str, ...]: ...
    @property
    def last_error(self) -> str: ...


@dataclass(frozen=True)
class JournalFacts:
    """The journal's file and where it lies. `error` is why it cannot be read; `exists` False is no error.

    `free_bytes` and `total_bytes` are of its file system, None where they cannot be told.
    """

    path: str
    exists: bool = False
    is_owned: bool = False
    can_write: bool = True
    is_read_only: bool = False
    free_bytes: int | None = None
    total_bytes: int | None = None
    error: str | None = None
    is_newer: bool = False
    unreadable: int = 0
    failed_messages: int = 0
    failed_keys: tuple[str, ...] = ()
    last_error: str = ""


@dataclass(frozen=True)
class BotFacts:
    """The running bot as its own `/healthz` and `/readyz` tell it. `url` is None where its port is not known."""

    is_owned: bool
    url: str | None
    error: str | None = None
    alive: bool | None = None
    ready: bool | None = None
    wrong: tuple[str, ...] = field(default=())
    version: str = ""


def gather(path: Path, is_owned: Callable[[Path], bool], look: Callable[[Path], Contents | str | None]) -> JournalFacts:
    """Look at the journal. `look` returns None without one, and the reason of one that cannot be read."""
    folder = next((each for each in (path.parent, *path.parent.parents) if each.is_dir()), Path("/"))
    free = total = None
    is_read_only = False
    try:
        usage = shutil.disk_usage(folder)
        free, total = usage.free, usage.total
        is_read_only = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        pass  # the line says that the room is not known
    found = look(path)
    seen = None if isinstance(found, str) else found
    exists = found is not None
    writes_to = path if exists else folder
    return JournalFacts(
        path=str(path),
        exists=exists,
        is_owned=exists and is_owned(path),
        can_write=os.access(writes_to, os.W_OK) and os.access(folder, os.W_OK | os.X_OK),
        is_read_only=is_read_only,
        free_bytes=free,
        total_bytes=total,
        error=found if isinstance(found, str) else None,
        is_newer=seen.is_newer if seen else False,
        unreadable=seen.unreadable if seen else 0,
        failed_messages=seen.failed_messages if seen else 0,
        failed_keys=seen.failed_keys if seen else (),
        last_error=seen.last_error if seen else "",
    )


def judge(facts: JournalFacts) -> tuple[Check, ...]:
    return (*_file(facts), _room(facts))


def gather_bot(is_owned: bool, url: str | None, get: Callable[[str], Mapping[str, Any]]) -> BotFacts:
    """Ask the bot how it is. `get` returns the JSON at a path of its address, whatever its status; raises PortError."""
    if url is None:
        return BotFacts(is_owned, None)
    try:
        health, ready = get("/healthz"), get("/readyz")
    except PortError as error:
        return BotFacts(is_owned, url, error=str(error))
    return BotFacts(
        is_owned,
        url,
        alive=health.get("alive") is True,
        ready=ready.get("ready") is True,
        wrong=tuple(one_line(str(line)) for line in health.get("wrong") or ()),
        version=str(health.get("version") or ""),
    )


def judge_bot(facts: BotFacts) -> tuple[Check, ...]:
    """Return whether the bot runs and what it says is wrong; a bot that does not run yet is a warning."""
    if facts.url is None:
        if facts.is_owned:
            return (
                ok(BOT_PART, "a bot runs on this journal; `listen` has port 0, so it could not be asked how it is"),
            )
        return (_not_running(),)
    if facts.error is not None:
        if not facts.is_owned:
            return (_not_running(),)
        return (
            failed(
                BOT_PART, f"a bot runs on this journal, but it cannot be asked how it is: {facts.error}",
                "Look into its log; if it was started with another `listen`, ask with that cdc.yml.",
            ),
        )  # fmt: skip
    if not facts.is_owned:
        return (
            warning(
                BOT_PART, f"something answers at {facts.url}, but no bot runs on this journal: is it on another host?",
                "Run `cdc doctor` where the bot runs, with the cdc.yml it was started with.",
            ),
        )  # fmt: skip
    if facts.alive is False:
        return (failed(BOT_PART, f"the bot is not alive: {names(facts.wrong)}", "Look into its log and restart it."),)
    running = ok(BOT_PART, f"the bot runs{' (' + facts.version + ')' if facts.version else ''} at {facts.url}")
    if facts.ready is False and not facts.wrong:
        return (running, warning(BOT_PART, "the bot is not ready", f"See what {facts.url}/readyz says."))
    said = ((line, _remedy(line)) for line in facts.wrong)
    return (running, *(warning(BOT_PART, f"the bot says: {line}", remedy) for line, remedy in said if remedy))


# What the bot's /healthz says -> what to do about it; empty where the journal's own line says it already.
_SAID = (
    (
        "with a wrong token",
        "Put a token of alertmanager.tokens into http_config.authorization of its receiver; it counts since the bot "
        "started.",
    ),
    ("message was refused", ""),
    ("messages were refused", ""),
    ("request could not be read", ""),
    ("requests could not be read", ""),
    ("Slack", "See the slack lines; where they are ok, the bot runs with an older cdc.yml or token: restart it."),
    ("journal", "See the journal lines: room, and who may write."),
    ("cannot see", "See the lines of kafka, registry and connect."),
)


def _remedy(line: str) -> str:
    return next((remedy for words, remedy in _SAID if words in line), "Look into the bot's log.")


def _file(facts: JournalFacts) -> tuple[Check, ...]:
    if facts.error is not None:
        return (
            failed(
                PART, f"{facts.error}",
                f"Put a backup back with `cdc restore FILE`, or move {facts.path} away and let `cdc serve` begin anew.",
            ),
        )  # fmt: skip
    if facts.is_newer:
        return (
            failed(
                PART, f"{facts.path} was written by a newer version of cdc-oncall",
                "Upgrade cdc-oncall here, or put back the backup made before the upgrade with `cdc restore FILE`.",
            ),
        )  # fmt: skip
    if facts.is_read_only:
        return (
            failed(
                PART, f"{facts.path} is on a file system that is mounted read-only",
                "Mount a writable volume there, or write `state: /path/on/one/cdc-oncall.db` in cdc.yml.",
            ),
        )  # fmt: skip
    if not facts.can_write:
        return (
            failed(
                PART, f"{facts.path} cannot be written by this user",
                f"Run this as the user the bot runs as, or give it the folder: `chown USER {Path(facts.path).parent}`.",
            ),
        )  # fmt: skip
    if not facts.exists:
        return (ok(PART, f"{facts.path} is not there yet: `cdc serve` makes it"),)
    lines = [ok(PART, f"{facts.path} opens{', a bot runs on it' if facts.is_owned else ''}")]
    if facts.failed_messages:
        lines.append(
            warning(
                PART, f"Slack refused {counted(facts.failed_messages, 'message')} for good{_which(facts)}: "
                f"{facts.last_error or 'no reason is kept'}", _remedy_of_refusal(facts),
            )
        )  # fmt: skip
    if facts.unreadable:
        lines.append(
            warning(
                PART, f"{counted(facts.unreadable, 'request')} could not be read, kept in the journal",
                "Look for `could not read` in the bot's log: it names the sender and what is wrong.",
            )
        )  # fmt: skip
    return tuple(lines)


def _which(facts: JournalFacts) -> str:
    """` (the card of CDC-3, an answer, and 5 more)`: what was refused, the newest first."""
    what = tuple(dict.fromkeys(_what(key) for key in facts.failed_keys))
    more = facts.failed_messages - len(facts.failed_keys)
    return f" ({', '.join(what)}{f', and {more} more' if more > 0 else ''})" if what else ""


def _what(key: str) -> str:
    incident, _, slot = key.partition("/")
    if not slot or not incident.startswith("CDC-"):
        return "an answer"
    return f"{'the card' if slot == 'card' else 'a reply'} of {one_line(incident)}"


def _remedy_of_refusal(facts: JournalFacts) -> str:
    """What was refused is in the journal; a card is posted again, an answer is not."""
    said = ["Put right what the slack lines say, then restart the bot: a card that was never posted is tried again."]
    incidents = dict.fromkeys(key.partition("/")[0] for key in facts.failed_keys if _what(key) != "an answer")
    if incidents:
        said.append(
            f"{' and '.join(f'`cdc incident {one_line(name)}`' for name in incidents)} shows what was to be said."
        )
    if any(_what(key) == "an answer" for key in facts.failed_keys):
        said.append("An answer is not said again: ask again.")
    return " ".join(said)


def _room(facts: JournalFacts) -> Check:
    free, total = facts.free_bytes, facts.total_bytes
    if free is None or total is None:
        return warning(PART, "how much room its disk has is not known", f"Run `df -h {Path(facts.path).parent}`.")
    share = free / total if total else 0.0
    line = f"{_size(free)} of {_size(total)} free ({share:.0%})"
    remedy = "Make room, or write another `state` in cdc.yml: on a full disk alerts are not stored and answered 503."
    if free < NO_BYTES:
        return failed(PART, f"the disk is full: {line}", remedy)
    if free < FEW_BYTES or share < FEW_SHARE:
        return warning(PART, f"little room is left: {line}", remedy)
    return ok(PART, line)


def _not_running() -> Check:
    return warning(BOT_PART, "no bot runs on this journal: alerts are not heard", "Run `cdc serve`.")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
