"""The result of a check as Markdown: a comment on a pull request, a job's summary, a block in Slack.

No HTML: GitHub, GitLab and Slack all read tables, lists and code. What others wrote is escaped: it makes no markup,
mentions nobody, and ends no table. The worst findings come first, and the text is never longer than a comment may be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from bot.checks.result import Result
from bot.checks.violation import Severity, Violation
from bot.render.checks_text import (
    by_age,
    compared_with,
    counts,
    fold,
    headline,
    last_line,
    older_counted,
    others,
    place,
    plural,
    remedy,
    rule_to_explain,
)
from bot.render.plain import one_line, safe

LIMIT = 65_536
"""Characters of a comment on GitHub; a job's summary takes 1 MiB."""
ROWS = 30
LONGEST = 1_000
"""Characters of a note, or of the line of counts."""
SPARE = 300
CODE = ("{", "[", '"')
MARKS = {Severity.ERROR: "❌ error", Severity.WARNING: "⚠️ warning", Severity.NOTE: "ℹ️ note"}


def render_markdown(result: Result, fail_on: Severity | None, command: str, limit: int = LIMIT) -> str:
    """Return the comment: a heading, a table, what to write, and the line of counts; what is left out is said."""
    rows = [(violation, _row(violation, rest, result)) for violation, rest in _worst_first(result)]
    head = [f"### {_mark(result, fail_on)} Schema check: {counts(result.violations)}", ""]
    tail = _tail(result, fail_on, command)
    left = limit - sum(len(line) + 1 for line in (*head, *tail)) - SPARE
    body, told = [], []
    for violation, row in rows[:ROWS]:
        if len(row) + 1 > left:
            break
        body.append(row)
        told.append(violation)
        left -= len(row) + 1
    if body:
        body = ["| | rule | where | what is wrong |", "|---|---|---|---|", *body, ""]
    if len(told) < len(rows):
        body += [f"{plural(len(rows) - len(told), 'line')} more: `{command} check schemas` in a terminal has all.", ""]
    failing = {id(violation) for violation in result.failing(fail_on)}
    for violation in told:
        block = _what_to_write(violation) if id(violation) in failing else ""
        if block and len(block) + 2 <= left:
            body += [block, ""]
            left -= len(block) + 2
    return "\n".join([*head, *body, *tail]) + "\n"


def _worst_first(result: Result) -> list[tuple[Violation, Sequence[Violation]]]:
    """Return each violation of the change that is told with those that it stands for."""
    found = []
    for _, group in groupby(by_age(result)[0], key=lambda violation: violation.file):
        shown, folded = fold(tuple(group))
        found += [(v, folded.get((v.rule, v.severity), ())) for v in shown if v.waiver is None]
    return sorted(found, key=lambda told: -told[0].severity.rank)


def _tail(result: Result, fail_on: Severity | None, command: str) -> list[str]:
    older = by_age(result)[1]
    lines = [
        *([f"- {prose(older_counted(older))}"] if older else []),
        *(f"- {prose(note)}" for note in result.notes[:ROWS]),
        *(f"- **not known:** {prose(line)}" for line in result.not_known[:ROWS]),
    ]
    tail = [*lines, *([""] if lines else []), prose(last_line(result, fail_on))]
    if (rule := rule_to_explain(result, fail_on)) is not None:
        tail += ["", f"`{command} check explain {rule}` tells a rule's reason, with an example."]
    return [line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…" for line in tail]


def _mark(result: Result, fail_on: Severity | None) -> str:
    return {0: "✅", 1: "❌"}.get(result.exit_code(fail_on), "❔")


def _row(violation: Violation, rest: Sequence[Violation], result: Result) -> str:
    against = compared_with(violation, result)
    said = prose(headline(violation))
    said += f"; compared with {prose(against)}" if against else ""
    said += f"; {prose(others(violation.rule, rest))}" if rest else ""
    cells = (MARKS[violation.severity], code(violation.rule), code(place(violation)), said)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _what_to_write(violation: Violation) -> str:
    """Return a list item with the fix: as code where it is to be pasted, "" where there is none."""
    lines = remedy(violation)
    if not lines:
        return ""
    item = f"- {code(violation.rule)} {code(place(violation))}:"
    if len(lines) > 1:
        fence = _fence("\n".join(lines), 3)
        return "\n".join([item, "", f"  {fence}", *lines[1:], f"  {fence}"])
    line = lines[0].removeprefix("fix: ")
    return f"{item} {code(line) if line.startswith(CODE) else prose(line)}"


# --- escaping --------------------------------------------------------------------------------------


def prose(text: str) -> str:
    """Return one line of text: what stands between backticks stays code, all else is no markup and mentions nobody."""
    parts = one_line(text).split("`")
    if len(parts) % 2 == 0:
        parts = ["'".join(parts)]
    return "".join(code(part) if index % 2 else _escaped(part) for index, part in enumerate(parts))


def code(text: str) -> str:
    """Return one line of text as code, whatever backticks are in it."""
    text = one_line(text)
    if not text.strip():
        return ""
    fence = _fence(text, 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\*_\[\]~])", r"\\\1", text)
    # A mention or a reference is found in the finished text: only a character between breaks it.
    return re.sub(r"([@#])(?=\w)", "\\1\u200b", text)


def _fence(text: str, least: int) -> str:
    return "`" * max([least, *(len(run) + 1 for run in re.findall("`+", safe(text)))])
