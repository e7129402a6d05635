"""A Report as text for a terminal or a pipe.

On a terminal: colour, always with its word. Through a pipe: the same words, plain, one row a line, nothing cut
off, so that `grep` and `awk` see all of it. Foreign text cannot steer the terminal: control characters are shown
as escapes. This module prints nothing; it returns text.
"""

from __future__ import annotations

import json
import re
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bot.model import Status
from bot.report import Report, Table

STYLES = {Status.RED: "bold red", Status.YELLOW: "bold yellow", Status.GREEN: "bold green", Status.UNKNOWN: "bold"}
# librdkafka and people both produce long lines; a pipe has no width, and rich must be told one.
UNCUT = 100_000


def render_text(report: Report, colour: bool = False, width: int | None = None) -> str:
    """Return the report as lines. `width` is the terminal's; None cuts and wraps nothing."""
    out = StringIO()
    console = Console(
        file=out,
        width=width or UNCUT,
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
    if report.table is not None and report.table.rows:
        console.print(_table(report.table, plain=width is None))
    for note in report.notes:
        console.print(Text(f"- {one_line(note)}"), soft_wrap=True)
    for line in report.not_known:
        console.print(Text.assemble(("not known: ", "yellow"), one_line(line)), soft_wrap=True)
    for step in report.next_steps:
        console.print(Text.assemble(("next: ", "dim"), one_line(step)), soft_wrap=True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def render_json(report: Report) -> str:
    """Return exactly one JSON document: the report's, as contract.md promises it.

    JSON itself escapes controls up to U+001F; those from U+007F on steer a terminal too.
    """
    text = json.dumps(report.document, indent=2, ensure_ascii=False, allow_nan=False)
    return re.sub("[\x7f-\x9f]", lambda char: f"\\u{ord(char[0]):04x}", text) + "\n"


def safe(text: str) -> str:
    """Return text whose control characters (escape sequences of a label or a trace) are shown, not obeyed."""
    return "".join(char if char.isprintable() or char == "\n" else f"\\x{ord(char):02x}" for char in text)


def one_line(text: str) -> str:
    """Return text as one line, its control characters shown: what others wrote begins no line that looks like ours."""
    return safe(" ".join(text.splitlines()))


def _title(report: Report) -> Text:
    if report.status is None:
        return Text(one_line(report.title), style="bold")
    return Text.assemble((f"{report.status.upper():<7}", STYLES[report.status]), " ", one_line(report.title))


def _table(table: Table, plain: bool) -> RichTable:
    drawn = RichTable(
        box=None if plain else box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=not plain,
        header_style="" if plain else "bold",
        padding=(0, 2, 0, 0) if plain else (0, 1),
    )
    for column in table.columns:
        justify = "right" if column in table.right else "left"
        drawn.add_column(column, justify=justify, no_wrap=plain, overflow="fold")  # type: ignore[arg-type]
    for row in table.rows:
        drawn.add_row(*(Text(one_line(cell) if plain else safe(cell)) for cell in row))
    return drawn
