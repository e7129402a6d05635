"""`cdc registry`: what a registry's own log tells, given to the bot.

`follow-log` reads the log as `tail -F` does and tells the bot of each refused registration: in the journal beside the
bot, or over HTTP with `--to`. A place in the log is kept only behind what the bot has on disk, and each line has a key:
nothing is lost while the bot is down, and what is told twice is one refusal.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from bot.cli_call import Call, complain, stop

if TYPE_CHECKING:
    from datetime import datetime

    from bot.checks.violation import Violation
    from bot.clients.log_tail import Place
    from bot.incident.refusals import RefusedSchema
    from bot.probes.registry_log import LogReader

TOKEN = "CDC_WEBHOOK_TOKEN"
LOOK_EVERY_S = 0.25
SLOWEST_RETRY_S = 30.0
DEADLINE_S = 10.0
MOST_LINE = 1024 * 1024
MOST_KEYS = 10_000

Send = Callable[[str, bytes], None]


@click.group()
def registry() -> None:
    """What the Schema Registry's own log tells."""


@registry.command("follow-log")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--to", metavar="URL", help=f"Tell the bot at this address; its token is in {TOKEN}. Default: cdc.yml's.")
@click.option("--from-start", is_flag=True, help="Begin at the start of the log when it was never followed before.")
@click.option("--once", is_flag=True, help="Read what there is, and end.")
@click.option("--place", type=click.Path(path_type=Path), metavar="FILE", help="Keep the place in the log there.")
@click.pass_obj
def follow_log(call: Call, file: Path, to: str | None, from_start: bool, once: bool, place: Path | None) -> int:
    """Count the schemas that a registry refuses, from its log: `-` reads what is piped in.

    Understands Apicurio's audit log, Confluent's request log, Karapace's and a proxy's access log. Follow one node's
    log of a Confluent cluster, its leader's: a follower passes registrations on, and both log them.

    \b
      cdc registry follow-log /var/log/schema-registry/schema-registry.log
      docker logs -f --tail 0 registry 2>&1 | cdc registry follow-log - --to http://bot:8080
    """
    send = _sender(call, to)
    if str(file) == "-":
        return _follow_stream(call, sys.stdin.buffer, _delivering(send, once))
    kept = place or _default_place(call, file, to)
    try:
        return _follow_file(call, file.absolute(), kept, send, from_start, once)
    except IsADirectoryError:
        stop(f"{file} is a directory.", "Give the log itself, a file in it.")
    except PermissionError:
        stop(
            f"{file} may not be read by this account.",
            f"Let it read the file, or pipe it in: sudo tail -F {shlex.quote(str(file))} | cdc registry follow-log -",
        )


COMMANDS: tuple[click.Command, ...] = (registry,)


# --- to whom -------------------------------------------------------------------------------------


def _sender(call: Call, to: str | None) -> Send:
    if to is None:
        if call.found_config() is None:
            stop("Who is to be told? There is no cdc.yml here and no --to.", "Give --to URL of the bot, or -c PATH.")
        config = call.config()
        if not config.state.exists():
            stop(
                f"There is no journal at {config.state}: does the bot run on another machine?",
                "Give --to URL of the bot, or start it here once.", 3,
            )  # fmt: skip
        return call.app.refusal_inbox(config)
    if not to.startswith(("http://", "https://")):
        stop(f"--to {to} is not an address.", "Write --to http://HOST:PORT of the bot.")
    from bot.clients.bot import tell_refusal

    token, url = _token(call), to.rstrip("/")
    return lambda key, body: tell_refusal(url, token, key, body, DEADLINE_S)


def _token(call: Call) -> str:
    if given := call.environ.get(TOKEN):
        return given
    section = call.config().alertmanager if call.found_config() else None
    if section is None or not section.tokens:
        stop(f"{TOKEN} is not set: the bot takes nothing without a token.", "Set it to one of `alertmanager.tokens`.")
    return section.tokens[0].reveal(call.environ)


def _delivering(send: Send, once: bool) -> Send:
    """Return `send` that tries until it is taken, saying so once; with `once` the first failure is raised."""
    from bot.ports import PortError

    def deliver(key: str, body: bytes) -> None:
        delay_s, told = 1.0, ""
        while True:
            try:
                send(key, body)
            except PortError as error:
                if once:
                    raise
                if str(error) != told:
                    told = str(error)
                    complain([f"{told}. Trying again; nothing is lost, the log is read on from here."])
                time.sleep(delay_s)
                delay_s = min(2 * delay_s, SLOWEST_RETRY_S)
            else:
                if told:
                    complain(["The bot takes refusals again."])
                return

    return deliver


# --- what CI blocked ---------------------------------------------------------------------------------


def report_blocked(call: Call, url: str, failing: Sequence[Violation]) -> None:
    """Tell the bot which subjects a CI run blocked. One that cannot be told is a line on stderr, no failed job."""
    from bot.clients.bot import tell_refusal
    from bot.incident.refusals import write_refused
    from bot.ports import PortError

    if not failing:
        return
    token = _token(call)
    for refused in blocked_of(failing, call.environ, call.app.clock()):
        run = refused.job or call.app.nonce()
        try:
            tell_refusal(
                url.rstrip("/"), token, _named(f"ci:{run}", refused.subject), write_refused(refused), DEADLINE_S
            )
        except PortError as error:
            complain([f"{error}. The bot was not told; the check itself is not changed by it."])
            return


def blocked_of(failing: Sequence[Violation], environ: Mapping[str, str], now: datetime) -> tuple[RefusedSchema, ...]:
    """Return one refusal per subject, or file without one: its first violation, the commit and the job."""
    from bot.incident.refusals import FROM_CI, RefusedSchema

    job = environ.get("CI_JOB_URL", "")
    if environ.get("GITHUB_RUN_ID"):
        where = f"{environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{environ.get('GITHUB_REPOSITORY', '')}"
        job = f"{where}/actions/runs/{environ['GITHUB_RUN_ID']}/attempts/{environ.get('GITHUB_RUN_ATTEMPT', '1')}"
    ref = environ.get("GITHUB_SHA") or environ.get("CI_COMMIT_SHA", "")
    by_subject: dict[str, list[Violation]] = {}
    for one in failing:
        by_subject.setdefault(one.subject or one.file, []).append(one)
    return tuple(
        RefusedSchema(
            FROM_CI, subject, now, path=of[0].path or None, words=of[0].message, more=len(of) - 1, rule=of[0].rule,
            ref=ref, job=job,
        )
        for subject, of in by_subject.items()
    )  # fmt: skip


# --- a file --------------------------------------------------------------------------------------


def _follow_file(call: Call, file: Path, kept: Path, send: Send, from_start: bool, once: bool) -> int:
    from bot.clients.log_tail import LogTail
    from bot.incident.refusals import write_refused
    from bot.probes.registry_log import LogReader

    place, has_audit = _read_place(kept, file)
    tail, reader = LogTail(file, place, from_start or once), LogReader(has_audit)
    deliver, saved, is_waiting = _delivering(send, once), place, False
    if not once:
        where = "where it was left" if place else "its start" if from_start else "its end"
        complain([f"Following {file} from {where}."])
    while True:
        for line in tail.read():
            refused = reader.read(line.text)
            if refused is None:
                continue
            # A line that tells its time is itself in every file; how many came before depends on who began when.
            files = 0 if refused.at else line.began.files
            where = f"{os.uname().nodename}:{file}:{line.began.inode}:{files}:{line.began.offset}"
            refused = replace(refused, at=refused.at or tail.modified_at())
            deliver(_named(where, line.text), write_refused(refused))
            saved = _save_place(kept, file, tail.marked(line.behind), reader, call)
            _say(refused)
        while tail.missed:
            complain([tail.missed.pop()])
        if tail.place != saved and tail.place.inode:
            saved = _save_place(kept, file, tail.place, reader, call)
        if once:
            if not tail.place.inode:
                stop(f"{file}: there is no such file.", exit_code=3)
            return 0
        if not tail.place.inode and not is_waiting:
            is_waiting = True
            complain([f"{file} is not there yet: waiting for it."])
        time.sleep(LOOK_EVERY_S)


def _default_place(call: Call, file: Path, to: str | None) -> Path:
    """Return where the place in a log is kept: beside the journal, or with --to in the account's own state."""
    name = f"follow-log-{hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:12]}.json"
    if to is None:
        state = call.config().state
        return state.with_name(f"{state.name}.{name}")
    home = call.environ.get("XDG_STATE_HOME")
    states = Path(home) if home else Path(call.environ.get("HOME") or "/var/lib") / ".local" / "state"
    return states / "cdc-oncall" / name


def _read_place(kept: Path, file: Path) -> tuple[Place | None, bool]:
    from bot.clients.log_tail import Place

    try:
        told = json.loads(kept.read_text("utf-8"))
        place = Place(int(told["inode"]), int(told["offset"]), str(told["before"]), int(told["files"]))
        return place, bool(told["has_audit"])
    except FileNotFoundError:
        return None, False
    except OSError as error:
        stop(f"{kept}: the place in the log cannot be read: {error.strerror}.", "Give --place FILE that may be read.")
    except (ValueError, KeyError, TypeError):
        stop(f"{kept}: does not hold a place in {file}.", "Remove it: then the log is followed from its end.")


def _save_place(kept: Path, file: Path, place: Place, reader: LogReader, call: Call) -> Place:
    told = {"file": str(file), **asdict(place), "has_audit": reader.has_audit}
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        written = kept.with_name(kept.name + ".new")
        written.write_text(json.dumps(told), "utf-8")
        written.replace(kept)
    except OSError as error:
        stop(
            f"{kept}: the place in the log cannot be kept: {error.strerror}.", "Give --place FILE that may be written."
        )
    return place


# --- a stream ------------------------------------------------------------------------------------


def _follow_stream(call: Call, stream: IO[bytes], deliver: Send) -> int:
    """Read to the stream's end. What is piped in again, as by `docker logs -f`, is known by its lines' own times."""
    from bot.incident.refusals import write_refused
    from bot.probes.registry_log import LogReader

    reader, run = LogReader(), call.app.nonce()
    seen: dict[str, int] = {}
    for number, text in enumerate(_stream_lines(stream)):
        refused = reader.read(text)
        if refused is None:
            continue
        seen[text] = seen.pop(text, 0) + 1
        while len(seen) > MOST_KEYS:
            del seen[next(iter(seen))]
        where = f"{os.uname().nodename}:{seen[text]}" if refused.at else f"{run}:{number}"
        deliver(_named(where, text), write_refused(refused))
        _say(refused)
    return 0


def _stream_lines(stream: IO[bytes]) -> Iterator[str]:
    skips = False
    while line := stream.readline(MOST_LINE):
        is_whole = line.endswith(b"\n")
        if not skips and (is_whole or len(line) < MOST_LINE):
            yield line.rstrip(b"\r\n").decode("utf-8", "replace")
        skips = not is_whole


def _named(where: str, text: str) -> str:
    return hashlib.sha256(f"{where}\n{text}".encode()).hexdigest()


def _say(refused: RefusedSchema) -> None:
    from bot.render.plain import one_line

    what = "the subject is frozen" if refused.is_frozen else f"field {refused.field}" if refused.field else "refused"
    path = f" at {refused.path}" if refused.path else ""
    try:
        click.echo(one_line(f"{refused.subject}: {what}{path}"))
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody listens any more: what counts is what the bot was told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
