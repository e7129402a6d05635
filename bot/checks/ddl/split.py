"""From the text of a migration to its statements, each with its place; what PostgreSQL's own lexer would cut alike.

Known: comments (nested ones), quoted names, strings with `''`, `E'\\''`, dollar quoting, `BEGIN ATOMIC ... END` bodies,
psql's backslash commands, and the rows after `COPY ... FROM stdin;`. What goose, dbmate and sql-migrate keep below
their mark for the way back is left out. A quote that never ends makes the last statement `broken`; all before it are
whole.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<line>--[^\n]*)
      | (?P<block>/\*)
      | (?P<escape>(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*(?P<escape_end>')?)
      | (?P<string>'(?:[^']|'')*(?P<string_end>')?)
      | (?P<name>"(?:[^"]|"")*(?P<name_end>")?)
      | (?P<dollar>(?<![\w$])\$(?:[A-Za-z_\x80-\uffff][\w\x80-\uffff]*)?\$)
      | (?P<meta>\\(?!;)[^\n]*)
      | (?P<word>[A-Za-z_][\w$]*)
      | (?P<mark>\\?;|[()])""",
    re.VERBOSE | re.DOTALL,
)
_ATOMIC = re.compile(r"\s+atomic\b", re.IGNORECASE)
_BLOCK = re.compile(r"/\*|\*/")
_COPY = re.compile(r"\s*copy\b.*\bfrom\s+stdin\b", re.IGNORECASE | re.DOTALL)
# psql sends what stands before these, as a semicolon does.
_SENDS = re.compile(r"\\(?:g|gx|gset|gexec|gdesc|bind|crosstabview|watch)\b")
_DOWN = re.compile(r"--\s*(?:\+(?:goose|migrate)\s+down|migrate:down|//\s*@undo)\b", re.IGNORECASE)
_UP = re.compile(r"^--\s*(?:\+(?:goose|migrate)\s+up|migrate:up)\b", re.IGNORECASE | re.MULTILINE)
_COPY_END = re.compile(r"^\\\.[ \t]*\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Piece:
    """One statement without its semicolon. `text` has blanks for comments; in `mask`, of the same length, all that is
    quoted is `x` within its quotes, so that a word or a comma found in it is one of SQL's.

    `broken` says what never ends. `line` and `column`, from 1, are of the first word.
    """

    text: str
    mask: str
    line: int
    column: int
    broken: str | None = None

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column of an offset into `text`."""
        above = self.text.count("\n", 0, offset)
        start = self.text.rfind("\n", 0, offset)
        return self.line + above, offset - start if above else self.column + offset


def split(text: str) -> Iterator[Piece]:
    """Yield the statements and backslash commands of a file, in order."""
    text = text.removeprefix("\ufeff")
    lines = [0, *(found.end() for found in re.finditer("\n", text))]
    shown, mask = list(text), list(text)
    start = at = depth = atomic = 0

    def row(offset: int) -> int:
        return bisect_right(lines, offset)

    def column(offset: int) -> int:
        return offset - lines[row(offset) - 1] + 1

    def blank(begin: int, end: int) -> None:
        for where in range(begin, end):
            if text[where] != "\n":
                shown[where] = mask[where] = " "

    def piece(end: int, broken: str | None = None) -> Piece | None:
        whole = "".join(shown[start:end])
        begin = start + len(whole) - len(whole.lstrip())
        if begin >= end:
            return None
        stop = start + len(whole.rstrip())
        return Piece("".join(shown[begin:stop]), "".join(mask[begin:stop]), row(begin), column(begin), broken)

    while token := _TOKEN.search(text, at):
        at, kind, begin = token.end(), token.lastgroup, token.start()
        if kind == "line":
            if _DOWN.match(token[0]):
                up = _UP.search(text, at)
                at = up.start() if up else len(text)
            blank(begin, at)
        elif kind == "block":
            nested = 1
            while nested and (mark := _BLOCK.search(text, at)):
                nested, at = nested + (1 if mark[0] == "/*" else -1), mark.end()
            at = len(text) if nested else at
            blank(begin, at)
            if nested:
                if found := piece(begin):
                    yield found
                yield Piece("/*", "/*", row(begin), column(begin), "a comment that begins with /* has no */")
                return
        elif token["escape"] or token["string"] or token["name"]:
            what = "name" if token["name"] else "escape" if token["escape"] else "string"
            if token[f"{what}_end"] is None:
                quoted = "name" if what == "name" else "string"
                if found := piece(len(text), f"the {quoted} that begins in line {row(begin)} has no end"):
                    yield found
                return
            first = begin + (2 if what == "escape" else 1)
            mask[first : at - 1] = "x" * (at - 1 - first)
        elif kind == "dollar":
            end = text.find(token[0], at)
            if end < 0:
                if found := piece(len(text), f"{token[0]} of line {row(begin)} has no end"):
                    yield found
                return
            mask[at:end] = "x" * (end - at)
            at = end + len(token[0])
        elif kind == "meta":
            # psql takes a backslash command anywhere; what stands before it on other lines goes on after it.
            if not "".join(shown[start:begin]).strip():
                start = begin
                if found := piece(at):
                    yield found
                start = at
            elif _SENDS.match(token[0]):
                for first, last in ((start, begin), (begin, at)):
                    start = first
                    if found := piece(last):
                        yield found
                start, depth = at, 0
            else:
                blank(begin, at)
        elif kind == "word":
            word = token[0].lower()
            if (atomic and word == "case") or (word == "begin" and _ATOMIC.match(text, at)):
                atomic += 1
            elif atomic and word == "end":
                atomic -= 1
        elif token[0] in "()":
            depth += 1 if token[0] == "(" else -1
        elif not atomic:
            found = piece(begin, "it has a ( without its )" if depth > 0 else None)
            if found:
                yield found
            start, depth = at, 0
            if found and _COPY.match(found.mask):
                end_of_rows = _COPY_END.search(text, at)
                start = at = end_of_rows.end() if end_of_rows else len(text)
    if found := piece(len(text), "it has a ( without its )" if depth > 0 else None):
        yield found
