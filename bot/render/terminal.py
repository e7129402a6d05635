"""A Report as text for a terminal: colour, always with its word, and tables as wide as the window.

A pipe gets the same words from `plain.py`. This module prints nothing; it returns text.
"""

from __future__ import annotations

from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bot.model import Status
from bot.render.plain import one_line, render_plain, safe
from bot.report import Report, Table

STYLES = {Status.RED: "bold red", Status.YELLOW: "bold yellow", Status.GREEN: "bold green", Status.UNKNOWN: "bold"}


def render_text(report: Report, colour: bool = False, width: int | None = None) -> str:
    """Return the report as lines. `width` is the terminal's; None is a pipe: nothing is cut, wrapped or coloured."""
    if width is None:
        return render_plain(report)
    out = StringIO()
    console = Console(
        file=out,
        width=width,
        color_system="standard" if colour else None,
        force_terminal=colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(_title(report), soft_wrap=True)
    label_width = max((len(label) for label, _ in report.facts), default=0)
    for label, text in report.facts:
        console.print(Text.assemble((f"  {label:<{label_width}}  ", "dim"), one_line(text)), soft_wrap=True)
    for table in (report.table, *report.more_tables):
        if table is not None and table.rows:
            console.print(_table(table))
    for note in report.notes:
        console.print(Text(f"- {one_line(note)}"), soft_wrap=True)
    for line in report.not_known:
        console.print(Text.assemble(("not known: ", "yellow"), one_line(line)), soft_wrap=True)
    for step in report.next_steps:
        console.print(Text.assemble(("next: ", "dim"), one_line(step)), soft_wrap=True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _title(report: Report) -> Text:
    if report.status is None:
        return Text(one_line(report.title), style="bold")
    return Text.assemble((f"{report.status.upper():<7}", STYLES[report.status]), " ", one_line(report.title))


def _table(table: Table) -> RichTable:
    drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False, header_style="bold", padding=(0, 1))
    for column in table.columns:
        justify = "right" if column in table.right else "left"
        drawn.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in table.rows:
        drawn.add_row(*(Text(safe(cell)) for cell in row))
    return drawn
