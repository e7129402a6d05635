"""The result of a check as text: what a person reads in a terminal and in the log of a job.

One line a violation, `FILE:LINE:COLUMN  severity  RULE  message`, that an editor opens and `grep` finds; below it the
line of the file with a caret, and what to write instead. Errors are told each; many warnings of one rule in one file
are told once and then by name. The last line says the counts, what was compared, and what the exit code means.

Invariant: what others wrote (names, documentation, the file itself) begins no line and steers no terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from bot.checks.result import Result
from bot.checks.violation import Severity, Violation
from bot.render.plain import cells, one_line, safe

FOLD_ABOVE = 5
"""Warnings or notes of one rule in one file; errors are never folded."""
NAMED = 8
OLDER_NAMED = 10
"""Older violations that fail the check: a line each, so that the exit code is never a riddle."""
SOURCE_CELLS = 100
COLOURS = {"error": "1;31", "warning": "1;33", "note": "1;36", "waived": "2", "fix": "32", "dim": "2", "good": "32"}
ENDINGS = {
    Severity.ERROR: "errors fail",
    Severity.WARNING: "errors and warnings fail",
    Severity.NOTE: "every finding fails",
}

Paint = Callable[[str, str], str]
"""Returns a text in one of the `COLOURS`."""


def render_text(
    result: Result,
    fail_on: Severity | None,
    colour: bool,
    command: str,
    texts: Mapping[str, str] | None = None,
    whole: bool = False,
) -> str:
    """Return the lines. `texts` are the contents of files by name: where one is given, its line is shown.

    What a change brought stands alone; what is older is counted, and what of it fails is named. With `whole` the older
    violations follow in full.
    """
    paint = _painted if colour else _plain
    lines: list[str] = []
    fresh, older = by_age(result)
    for file, found in groupby((*fresh, *(older if whole else ())), key=lambda violation: violation.file):
        lines += (*_file(tuple(found), (texts or {}).get(file), result, paint), "")
    if older and not whole:
        lines += (*_older(older, result, fail_on, paint), "")
    lines += (f"{paint('note', 'note')}: {one_line(note)}" for note in result.notes)
    lines += (f"{paint('not known', 'warning')}: {one_line(line)}" for line in result.not_known)
    if (rule := rule_to_explain(result, fail_on)) is not None:
        lines.append(f"`{command} check explain {rule}` tells a rule's reason, with an example.")
    return "\n".join([*lines, paint(last_line(result, fail_on), _mood(result, fail_on))]) + "\n"


def last_line(result: Result, fail_on: Severity | None) -> str:
    """Return counts, what was compared with what, and the exit code with its meaning, as one line."""
    return f"{counts(result.violations)} in {_of_files(result)}; {_compared(result)}. {_exit(result, fail_on)}"


def rule_to_explain(result: Result, fail_on: Severity | None) -> str | None:
    """Return the first rule that fails the check, of the change where that fails it; None where nothing fails."""
    failing = sorted(result.failing(fail_on), key=result.is_older)
    return failing[0].rule if failing else None


def by_age(result: Result) -> tuple[list[Violation], list[Violation]]:
    """Return what the change may have brought, and what stood there before."""
    older = [violation for violation in result.violations if result.is_older(violation)]
    return [violation for violation in result.violations if not result.is_older(violation)], older


def older_counted(older: Sequence[Violation]) -> str:
    """Return the line that stands for the older violations, and says how to see them."""
    files = len({violation.file for violation in older})
    return f"older: {counts(older)} in {plural(files, 'file')}, there before this change; `--all` shows them"


def _older(older: Sequence[Violation], result: Result, fail_on: Severity | None, paint: Paint) -> Iterator[str]:
    ids = {id(violation) for violation in result.failing(fail_on)}
    failing = [violation for violation in older if id(violation) in ids]
    width = max((cells(place(violation)) for violation in failing[:OLDER_NAMED]), default=0)
    yield from (_headline(violation, width, paint) for violation in failing[:OLDER_NAMED])
    if len(failing) > OLDER_NAMED:
        yield paint(f"and {len(failing) - OLDER_NAMED:,} older more that fail this check", "dim")
    accept = ", `--write-baseline FILE` on the main branch accepts them" if failing else ""
    yield paint(older_counted(older) + accept, "dim")


def counts(violations: Sequence[Violation]) -> str:
    """Return `2 errors, 1 warning, 3 waived`, or `no findings`."""
    open_ones = [violation for violation in violations if violation.waiver is None]
    told = [
        plural(number, str(severity))
        for severity in reversed(Severity)
        if (number := sum(violation.severity is severity for violation in open_ones))
    ]
    waived = len(violations) - len(open_ones)
    return ", ".join([*(told or ["no findings"]), *([f"{waived} waived"] if waived else [])])


def plural(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _of_files(result: Result) -> str:
    files = {violation.file for violation in result.violations if violation.waiver is None} & set(result.checked)
    checked = plural(len(result.checked), "file")
    return f"{len(files):,} of {checked}" if files else checked


def _compared(result: Result) -> str:
    if not result.against and result.not_known:
        return "compared with nothing"
    if not result.against:
        return "compared with nothing: `--against git` adds the rules of change"
    blind = [name for name in result.against if any(line.startswith(f"{name}: ") for line in result.not_known)]
    whole = ", ".join(one_line(name) for name in result.against if name not in blind)
    parts = [f"compared with {whole}"] if whole else []
    parts += [f"not, or not wholly, compared with {', '.join(map(one_line, blind))}"] if blind else []
    return "; ".join(parts)


def _exit(result: Result, fail_on: Severity | None) -> str:
    code = result.exit_code(fail_on)
    if code == 1 and fail_on is not None:
        return f"Exit 1: {ENDINGS[fail_on]} this check."
    if code == 3:
        return "Exit 3: something could not be reached, so nothing is proved."
    ignored = fail_on is None and any(violation.waiver is None for violation in result.violations)
    return "Exit 0: `--fail-on never`." if ignored else "Exit 0: nothing fails this check."


def _mood(result: Result, fail_on: Severity | None) -> str:
    return {0: "good", 1: "error"}.get(result.exit_code(fail_on), "warning")


# --- one file --------------------------------------------------------------------------------------


def _file(violations: Sequence[Violation], text: str | None, result: Result, paint: Paint) -> Iterator[str]:
    source = None if text is None else text.split("\n")
    shown, folded = fold(violations)
    width = max(cells(place(violation)) for violation in shown)
    for violation in shown:
        yield _headline(violation, width, paint)
        if violation.waiver is not None:
            continue
        if source is not None and (violation.line, violation.column) != (1, 1):
            yield from (f"    {paint(line, 'dim')}" for line in caret(source, violation.line, violation.column))
        if against := compared_with(violation, result):
            yield f"    {paint(f'compared with {against}', 'dim')}"
        yield from (f"    {paint(line, 'fix')}" for line in remedy(violation))
        if rest := folded.get((violation.rule, violation.severity)):
            yield f"    {paint(others(violation.rule, rest), 'dim')}"


def _headline(violation: Violation, width: int, paint: Paint) -> str:
    where = place(violation) + " " * (width - cells(place(violation)))
    if violation.waiver is None:
        word = paint(f"{violation.severity:<7}", str(violation.severity))
        return f"{where}  {word}  {violation.rule}  {headline(violation)}"
    waiver = violation.waiver
    until = f" until {waiver.until}" if waiver.until else ""
    why = one_line(f"({waiver.owner}{until}: {waiver.reason})")
    return paint(f"{where}  waived   {violation.rule}  {headline(violation)} {why}", "waived")


def headline(violation: Violation) -> str:
    """Return the message as one line, without the caret that a parser draws below it."""
    return one_line(re.sub(r"\n[^\n]*\n *\^$", "", violation.message))


def place(violation: Violation) -> str:
    """Return `FILE:LINE:COLUMN`, as editors and terminals open it."""
    return f"{one_line(violation.file)}:{violation.line}:{violation.column}"


def remedy(violation: Violation) -> list[str]:
    """Return what to write instead: one line behind `fix: `, several below it, to be pasted as they are."""
    lines = safe(violation.remedy.replace("\r\n", "\n").replace("\t", "    ")).strip("\n").split("\n")
    if lines == [""]:
        return []
    return [f"fix: {lines[0]}"] if len(lines) == 1 else ["fix:", *(f"  {line}" for line in lines)]


def caret(source: Sequence[str], line: int, column: int) -> tuple[str, ...]:
    """Return the numbered line and a caret below its column; of a long line the part around it. () past the end."""
    if not 1 <= line <= len(source) or not source[line - 1].strip():
        return ()
    text = source[line - 1].rstrip("\r")
    start = max(0, min(column - 1, len(text)) - SOURCE_CELLS // 2) if len(text) > SOURCE_CELLS else 0
    before = _shown(text[start : column - 1])
    after = _shown(text[max(start, column - 1) : start + SOURCE_CELLS])
    more = "…" if len(text) > start + SOURCE_CELLS else ""
    lead = "…" if start else ""
    number = str(line)
    return (
        f"{number} | {lead}{before}{after}{more}".rstrip(),
        f"{' ' * len(number)} | {' ' * cells(lead + before)}^",
    )


def _shown(text: str) -> str:
    return safe(text.replace("\t", "    ").replace("\n", " "))


def compared_with(violation: Violation, result: Result) -> str:
    """Return what a violation was found against, "" for lint and where one comparison was all that the run made."""
    if violation.against is None or result.against == (violation.against,):
        return ""
    return one_line(violation.against)


def fold(violations: Sequence[Violation]) -> tuple[list[Violation], dict[tuple[str, Severity], list[Violation]]]:
    """Return what is told each, and the others of a rule that is told too often, by the one that stands for them."""
    kinds: dict[tuple[str, Severity], list[Violation]] = {}
    for violation in violations:
        if violation.waiver is None and violation.severity is not Severity.ERROR:
            kinds.setdefault((violation.rule, violation.severity), []).append(violation)
    folded = {kind: found[1:] for kind, found in kinds.items() if len(found) > FOLD_ABOVE}
    hidden = {id(violation) for rest in folded.values() for violation in rest}
    return [violation for violation in violations if id(violation) not in hidden], folded


def others(rule: str, rest: Sequence[Violation]) -> str:
    names = [one_line(violation.path) or f"line {violation.line}" for violation in rest]
    more = f", and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{rule} {len(rest):,} times more: {', '.join(names[:NAMED])}{more}"


# --- colour ----------------------------------------------------------------------------------------


def _plain(text: str, style: str) -> str:
    return text


def _painted(text: str, style: str) -> str:
    return f"\x1b[{COLOURS[style]}m{text}\x1b[0m"
