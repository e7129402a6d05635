"""Where the result of a check goes: stdout in one format, files in others, a job's summary on GitHub.

One run, several readers: `--format text --also junit:report.xml --also gitlab:quality.json`. Colour is for terminals.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli_call import Call, complain, stop

if TYPE_CHECKING:
    from bot.checks.result import Result
    from bot.checks.violation import Severity

# As bot.render.checks has them; a test compares. `cdc --help` imports no rendering.
FORMATS = ("text", "json", "github", "gitlab", "junit", "sarif", "markdown")
FORMAT = click.option(
    "--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="What stdout gets."
)
OUT = click.option(
    "-o", "out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it there, not to stdout."
)
ALSO = click.option(
    "--also", multiple=True, metavar="FORMAT:FILE", callback=lambda _, __, given: read_also(given),
    help="Write it to FILE in another format, too. May be repeated.",
)  # fmt: skip


def read_also(given: Sequence[str]) -> list[tuple[str, Path]]:
    """Return formats and files of `FORMAT:FILE` words. Stops at one that is none."""
    pairs = []
    for word in given:
        form, colon, file = word.partition(":")
        if form not in FORMATS or not colon or not file:
            stop(
                f"--also takes FORMAT:FILE, and not {word}.",
                f"Write for example --also junit:schema-check.xml; formats: {', '.join(FORMATS)}.",
            )
        pairs.append((form, Path(file)))
    return pairs


def emit(
    call: Call,
    result: Result,
    fail_on: Severity | None,
    form: str,
    out: Path | None,
    also: Sequence[tuple[str, Path]],
    texts: Mapping[str, str],
    whole: bool = False,
) -> int:
    """Write the result to all who are to read it, and return the exit code. Raises OSError for a file."""
    from bot.render.checks import render
    from bot.render.checks_text import last_line

    def rendered(form: str, colour: bool = False) -> str:
        return render(result, form, fail_on=fail_on, colour=colour, texts=texts, whole=whole)

    for other, file in also:
        file.write_text(rendered(other), "utf-8")
    if out is not None:
        out.write_text(rendered(form), "utf-8")
        complain([f"{out}: {last_line(result, fail_on)}"])
    else:
        colour = sys.stdout.isatty() and not call.environ.get("NO_COLOR")
        click.echo(rendered(form, colour), nl=False, color=colour)
    if form == "github" and (summary := call.environ.get("GITHUB_STEP_SUMMARY")):
        try:
            with Path(summary).open("a", encoding="utf-8") as written:
                written.write(rendered("markdown"))
        except OSError as error:
            complain([f"{summary}: {error.strerror}: the job has no summary; the log has everything."])
    return result.exit_code(fail_on)
