"""Answers to `/cdc`: a Report, a refusal or the help as a message for the person who asked.

The same Report is rendered for the terminal; here it is bounded: a table loses rows before it loses columns,
says how many are missing, and what was not known always stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bot.model import counted
from bot.ports import Message
from bot.render.blocks import FIELD_LIMIT, STATUS_SIGN, Block, code, context, cut, fence, line, prose, section, units
from bot.render.lint import fitting
from bot.report import Report, Table

WIDEST = 110
FENCED = 2900
ALONE = 20


def render_report(report: Report) -> Message:
    """Return a Report as a message; the forms differ in how many rows and lines they keep."""
    text = line(f"{report.status}: {report.title}" if report.status else report.title, 300) or "(no answer)"

    def form(rows: int, lines: int, width: int) -> Callable[[], Message]:
        return lambda: Message(text, tuple(_report(report, rows, lines, width)))

    return fitting((form(60, 20, 500), form(30, 10, 300), form(15, 8, 200), form(5, 5, 120), form(0, 3, 100)))


def render_text(text: str) -> Message:
    """Return a plain sentence, such as the reply to a click or a refusal's reason."""
    return Message(line(text, 300) or "(no words)", (section(prose(text, 2900) or "(no words)"),))


def _report(report: Report, rows: int, lines: int, width: int) -> Iterator[Block]:
    title = line(report.title, 300)
    if report.status:
        yield section(f"{STATUS_SIGN[report.status]} *{report.status.upper()}* · *{title}*")
    else:
        yield section(f"*{title}*")
    if report.facts:
        facts = [f"*{line(label, 80)}*  {line(value, width)}" for label, value in report.facts[:lines]]
        more = len(report.facts) - len(facts)
        yield from _paragraphs([*facts, f"+{more} more"] if more > 0 else facts)
    for table in (report.table, *report.more_tables):
        if table is not None and table.columns:
            yield from _table(table, rows)
    if report.notes:
        yield from _paragraphs(_bulleted(report.notes, lines, width))
    if report.not_known:
        yield from _paragraphs([f"_not known:_ {prose(one, width)}" for one in report.not_known[:lines]])
        if len(report.not_known) > lines:
            yield context(f"+{len(report.not_known) - lines} more not known")
    if report.next_steps:
        steps = [f"• {_step(one, width)}" for one in report.next_steps[:lines]]
        yield from _paragraphs(["*Next*", *steps])


def _step(text: str, width: int) -> str:
    """A command alone is shown as code to copy; a sentence is a sentence."""
    is_command = text.startswith(("/", "cdc ", "curl ", "kafka-", "$ "))
    return code(text, width) if is_command else prose(text, width)


def _bulleted(said: Sequence[str], lines: int, width: int) -> list[str]:
    shown = [f"• {prose(one, width)}" for one in said[:lines]]
    return [*shown, f"• +{len(said) - lines} more"] if len(said) > lines else shown


def _paragraphs(lines: Sequence[str]) -> Iterator[Block]:
    """Sections of whole lines, each within its limit."""
    held: list[str] = []
    for one in lines:
        if held and sum(units(x) + 1 for x in held) + units(one) > FENCED:
            yield section("\n".join(held))
            held = []
        held.append(one)
    if held:
        yield section("\n".join(held))


def _table(table: Table, most: int) -> Iterator[Block]:
    """Fenced text of at most `most` rows, as many to a block as fit; cells are cut so that a row stays a row."""
    widths = _widths(table, table.rows[:most])
    head = _row(table, table.columns, widths)
    held = [head]
    shown = table.rows[:most]
    for row in shown:
        text = _row(table, row, widths)
        if sum(_escaped_units(x) + 1 for x in held) + _escaped_units(text) > FENCED - ALONE:
            yield section(fence("\n".join(held), FENCED))
            held = [head]
        held.append(text)
    yield section(fence("\n".join(held), FENCED))
    if len(table.rows) > len(shown):
        yield context(f"+{counted(len(table.rows) - len(shown), 'more row')}: the terminal shows all")


def _widths(table: Table, rows: Sequence[Sequence[str]]) -> list[int]:
    """The columns' widths: the widest is cut until a row fits the screen."""
    widths = [max([len(name), *(len(_cell(row, i)) for row in rows)]) for i, name in enumerate(table.columns)]
    while sum(widths) + 2 * len(widths) > WIDEST and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    return widths


def _row(table: Table, cells: Sequence[str], widths: Sequence[int]) -> str:
    shown = []
    for index, width in enumerate(widths):
        cell = cut(_cell(cells, index), width)
        is_number = table.columns[index] in table.right
        shown.append(cell.rjust(width) if is_number else cell.ljust(width))
    return "  ".join(shown).rstrip()


def _cell(cells: Sequence[str], index: int) -> str:
    return cut(cells[index], FIELD_LIMIT) if index < len(cells) else ""


def _escaped_units(text: str) -> int:
    return units(text) + 4 * sum(text.count(character) for character in "&<>")
