"""What every `cdc` command is given and how it ends: the call, a report on the right stream, a stop with a code.

`cli.py` holds the commands; what sets the bot up stands in files of its own beside it. Like there, everything but
click is imported inside functions.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import click

if TYPE_CHECKING:
    from bot.clients.http import JsonHttp
    from bot.config import Config
    from bot.incident.commands import PersonCommand
    from bot.incident.correlation import Board
    from bot.incident.events import Entry, Who
    from bot.incident.policy import Policy
    from bot.model import Refusal
    from bot.probes.sources import Sources
    from bot.report import Report

KAFKA_SETTINGS = click.option(
    "-X", "kafka_settings", multiple=True, metavar="KEY=VALUE", callback=lambda _, __, given: read_settings(given),
    help="A librdkafka setting to reach the brokers, as in kcat; may be repeated.",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")


class Journal(Protocol):
    def board(self) -> Board: ...
    def entries(self, incident_id: str) -> Sequence[Entry]: ...
    def link(self, incident_id: str) -> str | None: ...


class App(Protocol):
    """What the commands need of the composition root; `bot.app` is it."""

    def clock(self) -> datetime: ...
    def open_config(self, path: Path, environ: Mapping[str, str]) -> Config: ...
    def nonce(self) -> str: ...
    def policy(self, config: Config) -> Policy: ...
    def sources(self, config: Config, environ: Mapping[str, str]) -> Sources: ...
    def first_seen(self, config: Config) -> Mapping[tuple[str, int], datetime]: ...
    def http(self, section: Any, environ: Mapping[str, str]) -> JsonHttp: ...
    def bare_sources(
        self,
        bootstrap: str | None = None,
        registry: str | None = None,
        connect: str | None = None,
        kafka_settings: Mapping[str, str] | None = None,
    ) -> Sources: ...
    def journal_reader(self, config: Config) -> Journal: ...
    def order(
        self, config: Config, environ: Mapping[str, str], incident_id: str, command: PersonCommand
    ) -> tuple[str, Refusal | None]: ...
    def open_incident(self, config: Config, who: Who, pipeline: str, text: str) -> tuple[str, Refusal | None]: ...
    def refusal_inbox(self, config: Config) -> Callable[[str, bytes], None]: ...
    def serve(self, config: Config, environ: Mapping[str, str]) -> None: ...
    def start_bot(self, config_path: Path, environ: Mapping[str, str]) -> Any: ...


@dataclass(frozen=True)
class Call:
    """One run of the command: what stands before the verb, and the world it runs in."""

    config_path: Path | None
    debug: bool
    environ: Mapping[str, str]
    load_app: Callable[[], App]

    @property
    def app(self) -> App:
        return self.load_app()

    def found_config(self) -> Path | None:
        """Return -c, else CDC_CONFIG, else ./cdc.yml when there is one."""
        if self.config_path is not None:
            return self.config_path
        if named := self.environ.get("CDC_CONFIG"):
            return Path(named)
        here = Path("cdc.yml")
        return here if here.exists() else None

    def config(self) -> Config:
        """Return the checked config. Raises Stop with every error of it."""
        path = self.found_config()
        if path is None:
            stop("There is no configuration: no -c PATH, no CDC_CONFIG, no ./cdc.yml.", "Write `cdc -c PATH VERB`.")
        from bot.config import ConfigErrors

        try:
            return self.app.open_config(path, self.environ)
        except ConfigErrors as errors:
            raise Stop(list(errors.errors), 2) from errors


class Stop(click.ClickException):
    """An end with lines for stderr and an exit code."""

    def __init__(self, lines: Sequence[str], code: int) -> None:
        super().__init__("\n".join(lines))
        self.code = code

    def show(self, file: Any = None) -> None:
        complain(self.message.split("\n"))


def stop(reason: str, next_step: str = "", exit_code: int = 2) -> NoReturn:
    raise Stop([line for line in (reason, next_step) if line], exit_code)


def complain(lines: Sequence[str]) -> None:
    """Print lines on stderr. What others wrote into one cannot steer the terminal, nor begin a line of its own."""
    from bot.render.plain import one_line

    for line in lines:
        click.echo(one_line(line), err=True)


def is_interrupt(error: BaseException | None) -> bool:
    """Return whether Ctrl-C is behind an error: inside a call into C it comes out as a SystemError."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def print_report(report: Report, as_json: bool) -> int:
    """Print a report as a person or a script wants it, and return its exit code. Only a terminal pays for one."""
    import json

    from bot.render.plain import render_json, render_plain

    if as_json:
        if report.document is None:
            document = {"error": " ".join((report.title, *report.notes)), "next": list(report.next_steps)}
            click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            click.echo(render_json(report), nl=False)
    to_stderr = report.exit_code != 0
    if to_stderr or not as_json:
        stream = sys.stderr if to_stderr else sys.stdout
        if not stream.isatty():
            click.echo(render_plain(report), nl=False, err=to_stderr)
        else:
            from bot.render.terminal import render_text

            colour = not os.environ.get("NO_COLOR")
            click.echo(render_text(report, colour, _width()), nl=False, err=to_stderr, color=colour)
    return report.exit_code


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def account(environ: Mapping[str, str]) -> str:
    """Return who sits at this terminal: by the environment, else, as in a container, the account's name."""
    import pwd

    if name := environ.get("SUDO_USER") or environ.get("USER") or environ.get("LOGNAME"):
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def read_settings(given: Sequence[str]) -> dict[str, str]:
    """Return `KEY=VALUE` words as settings. Stops at one that is none, without repeating it: it may be a password."""
    settings: dict[str, str] = {}
    for word in given:
        key, equals, value = word.partition("=")
        if not key.strip() or not equals:
            stop("-X takes a librdkafka setting as KEY=VALUE.", "Write for example -X security.protocol=SASL_SSL.")
        settings[key.strip()] = value
    return settings
