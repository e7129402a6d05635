"""`cdc check`: files checked for CI, every finding with its line and remedy.

This is the shell of the schema checks: it finds and reads the files, asks git and registries through their ports, and
prints the `Result` of the pure run. Exit codes are contract.md's: 1 findings, 2 usage, 3 not reachable or not there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli_call import Call, stop
from bot.cli_results import ALSO, FORMAT, OUT, emit

if TYPE_CHECKING:
    from bot.checks.run import Corpus, Snapshot
    from bot.schema_files import Found

FAIL_ON = ("error", "warning", "note", "never")
LEVELS = (
    "NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"
)  # fmt: skip


@click.group()
def check() -> None:
    """Check files, for CI: every finding with its line and remedy."""


# --- schemas ---------------------------------------------------------------------------------------


@check.command("schemas")
@click.argument("paths", nargs=-1, type=click.Path())
@click.option(
    "--against", multiple=True, metavar="git[:REF]|dir:PATH|registry[:URL]",
    help="Compare with what was: the merge-base with REF (the main branch), a copy, a registry. May be repeated.",
)  # fmt: skip
@click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), help="Compatibility level of every file.")
@click.option(
    "--profile", "profiles", multiple=True, type=click.Choice(["flink", "iceberg-v2", "iceberg-v3"]),
    help="What reads the topics downstream. May be repeated.",
)  # fmt: skip
@click.option("--fail-on", type=click.Choice(FAIL_ON), default="error", show_default=True, help="What exits with 1.")
@FORMAT
@OUT
@ALSO
@click.pass_obj
def check_schemas(
    call: Call,
    paths: tuple[str, ...],
    against: tuple[str, ...],
    level: str | None,
    profiles: tuple[str, ...],
    fail_on: str,
    form: str,
    out: Path | None,
    also: list[tuple[str, Path]],
) -> int:
    """Check Avro and Protobuf schemas, alone and against what they were. Default PATHS: schemas/, else here."""
    from bot.checks import run
    from bot.checks.settings import SchemaSettings
    from bot.checks.violation import Severity
    from bot.schema_files import find, read

    settings = SchemaSettings(profiles=frozenset(profiles))
    found = find(paths or (("schemas",) if Path("schemas").is_dir() else (".",)))
    read_files = [read(file) for file in found.files]
    sources = [source for source, _, _ in read_files if source is not None]
    corpus = run.read(sources)
    not_known = [*found.not_known, *(line for _, _, line in read_files if line is not None)]
    snapshots: list[Snapshot] = []
    for one in against:
        _gather(call, one, found, corpus, snapshots, not_known)
    result = run.check(corpus, settings, call.app.clock().date(), snapshots, (), level)
    result = run.with_more(result, [wrong for _, wrongs, _ in read_files for wrong in wrongs], found.notes, not_known)
    worst = None if fail_on == "never" else Severity(fail_on)
    texts = {source.file: source.text for source in sources}
    return emit(call, result, worst, form, out, also, texts)


def _gather(
    call: Call, against: str, found: Found, corpus: Corpus, snapshots: list[Snapshot], not_known: list[str]
) -> None:
    """Add what `against` names to `snapshots`, or a line to `not_known` where it cannot be had."""
    from bot.clients.git import GitBinary
    from bot.ports import PortError
    from bot.schema_files import PATTERNS, snapshot_of_folder, snapshot_of_git

    kind, _, which = against.partition(":")
    try:
        if kind == "git":
            snapshots.append(snapshot_of_git(GitBinary(call.environ).read_before(which or None, found.roots, PATTERNS)))
        elif kind == "dir" and which:
            texts = {file: source.text for file, source in corpus.sources.items()}
            snapshots.append(snapshot_of_folder(which, found, texts))
    except PortError as error:
        not_known.append(str(error))
    except OSError as error:
        not_known.append(f"{which}: {error.strerror}: not compared with it")


# --- runbooks --------------------------------------------------------------------------------------


@check.command("runbooks")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--fail-on", type=click.Choice(["error", "warning", "note", "never"]), default="error", show_default=True)
def check_runbooks(paths: tuple[Path, ...], form: str, fail_on: str) -> int:
    """Check runbooks: unknown probes and actions, missing guards. Default: those that ship with the bot."""
    import json

    from bot.shipped import shipped

    files = [file for path in paths or (shipped("runbooks"),) for file in _runbook_files(path)]
    findings = [finding for file in files for finding in _runbook_findings(file)]
    if form == "json":
        click.echo(json.dumps({"findings": findings, "checked": len(files)}, indent=2, ensure_ascii=False))
    else:
        for found in findings:
            place = f"{found['file']}:{found['line']}" if found["line"] is not None else found["file"]
            click.echo(f"{place}: {found['message']}: {found['remedy']}")
        click.echo(f"{len(files)} runbooks checked, {len(findings)} errors.", err=True)
    return 1 if findings and fail_on != "never" else 0


def _runbook_files(path: Path) -> list[Path]:
    """Return the runbooks of a folder; `alerts.yml` beside them holds the rules."""
    if path.is_dir():
        return sorted(file for file in path.glob("*.yml") if file.name != "alerts.yml")
    if not path.exists():
        stop(f"{path}: there is no such file or folder. Nothing was checked.", exit_code=3)
    return [path]


def _runbook_findings(file: Path) -> list[dict[str, Any]]:
    """Return what is wrong with a runbook, as `cdc check ... --format json` lists it."""
    from bot.config import ACTIONS, PROBES
    from bot.incident.runbook_file import RunbookErrors, parse

    try:
        parse(file.read_bytes(), str(file), probes=PROBES, actions=ACTIONS)
    except RunbookErrors as errors:
        return [_finding(line, str(file)) for line in errors.errors]
    return []


def _finding(line: str, file: str) -> dict[str, Any]:
    """Take `FILE:14: actions[1].guard: what is wrong: what to write` apart; what does not fit is the message."""
    import re

    placed = re.fullmatch(r"(?P<line>\d+): (?P<message>.*?)(?:: (?P<remedy>[^:]*))?", line.removeprefix(f"{file}:"))
    found = placed.groupdict() if placed else {"line": None, "message": line, "remedy": None}
    return {
        "rule": "runbook",
        "severity": "error",
        "file": file,
        "line": int(found["line"]) if found["line"] else None,
        "column": None,
        "message": found["message"],
        "remedy": found["remedy"] or "",
        "waived": False,
    }
