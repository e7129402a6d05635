"""The result of a schema check for whoever reads it: a person, GitHub, GitLab, a test report, a code scanner.

Pure: a `Result` in, the whole document out. JSON keeps every violation; the other formats say what they leave out.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.checks.result import Result
from bot.checks.violation import Severity
from bot.render.checks_ci import render_github, render_gitlab, render_junit
from bot.render.checks_markdown import render_markdown
from bot.render.checks_sarif import render_sarif
from bot.render.checks_text import render_text
from bot.render.plain import json_text

FORMATS = ("text", "json", "github", "gitlab", "junit", "sarif", "markdown")


def render(
    result: Result,
    form: str,
    *,
    fail_on: Severity | None = Severity.ERROR,
    colour: bool = False,
    command: str = "cdc",
    texts: Mapping[str, str] | None = None,
    whole: bool = False,
) -> str:
    """Return the document of a result in one of `FORMATS`, ended by a newline.

    `fail_on` is None for never. `texts` are the files' contents by the names that the violations have; without them a
    text shows no lines of the files. `command` is how the reader calls us. `whole`: older
    violations in full, too. Raises ValueError for another format.
    """
    if form == "text":
        return render_text(result, fail_on, colour, command, texts, whole)
    if form == "json":
        return render_json(result)
    if form == "github":
        return render_github(result, fail_on, command, texts, whole)
    if form == "gitlab":
        return render_gitlab(result)
    if form == "junit":
        return render_junit(result, fail_on)
    if form == "sarif":
        return render_sarif(result, texts)
    if form == "markdown":
        return render_markdown(result, fail_on, command)
    raise ValueError(f"{form} is none of {', '.join(FORMATS)}")


def render_json(result: Result) -> str:
    """Return the document of contract.md: `findings` and how many files were checked; nothing is folded."""
    return json_text(
        {
            "findings": [violation.document() for violation in result.violations],
            "checked": len(result.checked),
            "against": list(result.against),
            "notes": list(result.notes),
            "not_known": list(result.not_known),
        }
    )
