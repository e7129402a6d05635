"""A Report as plain text for a pipe, and as JSON; what others wrote, made safe for a terminal.

Through a pipe: the words of the terminal, one row a line, nothing cut off, so that `grep` and `awk` see all of it.
Foreign text cannot steer the terminal: control characters are shown as escapes. This module prints nothing; it returns
text, and imports nothing heavy: a script that asks pays for no terminal.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping

from bot.report import Report, Table

GAP = "  "


def render_plain(report: Report) -> str:
    """Return the report as lines without colour; nothing is wrapped."""
    return "\n".join(line.rstrip() for line in _lines(report)) + "\n"


def render_json(report: Report) -> str:
    """Return exactly one JSON document: the report's, as contract.md promises it."""
    return json_text(report.document)


def json_text(document: object) -> str:
    """Return a document as JSON that people can read, too, ended by a newline.

    What holds no other list or object is one line, so that `grep` finds a partition whole, and a thousand of them are
    written fast. JSON itself escapes controls up to U+001F; those from U+007F on steer a terminal too, others end or
    turn a line, and half a pair of surrogates is no UTF-8.
    """
    text = _json(document, "")
    return (
        re.sub("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", lambda char: f"\\u{ord(char[0]):04x}", text) + "\n"
    )


def _json(value: object, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, Mapping):
        if any(isinstance(one, NESTED) for one in value.values()):
            members = (f"{inner}{_encode(str(key))}: {_json(one, inner)}" for key, one in value.items())
            return "{\n" + ",\n".join(members) + f"\n{indent}}}"
        return _encode(value if isinstance(value, dict) else dict(value))
    if isinstance(value, (list, tuple)) and any(isinstance(one, NESTED) for one in value):
        return "[\n" + ",\n".join(f"{inner}{_json(one, inner)}" for one in value) + f"\n{indent}]"
    return _encode(value)


NESTED = (list, tuple, dict, Mapping)
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def safe(text: str) -> str:
    """Return text whose control characters (escape sequences of a label or a trace) are shown, not obeyed."""
    return "".join(char if char.isprintable() or char == "\n" else f"\\x{ord(char):02x}" for char in text)


def one_line(text: str) -> str:
    """Return text as one line, its control characters shown: what others wrote begins no line that looks like ours."""
    return safe(" ".join(text.splitlines()))


def cells(text: str) -> int:
    """Return how many columns a text takes: wide letters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _lines(report: Report) -> Iterator[str]:
    title = one_line(report.title)
    yield title if report.status is None else f"{report.status.upper():<7} {title}"
    label_width = max((len(label) for label, _ in report.facts), default=0)
    for label, text in report.facts:
        yield f"  {label:<{label_width}}  {one_line(text)}"
    for table in (report.table, *report.more_tables):
        if table is not None and table.rows:
            yield from _table(table)
    yield from (f"- {one_line(note)}" for note in report.notes)
    yield from (f"not known: {one_line(line)}" for line in report.not_known)
    yield from (f"next: {one_line(step)}" for step in report.next_steps)


def _table(table: Table) -> Iterator[str]:
    rows = [table.columns, *(tuple(one_line(cell) for cell in row) for row in table.rows)]
    widths = [max(cells(row[index]) for row in rows) for index in range(len(table.columns))]
    right = [column in table.right for column in table.columns]
    for row in rows:
        padded = []
        for cell, width, is_right in zip(row, widths, right, strict=True):
            space = " " * (width - cells(cell))
            padded.append(space + cell if is_right else cell + space)
        yield GAP.join(padded)
