"""JSON text with places: what is wrong with it, with a caret, and the line and column of any pointer into it.

Clean text goes through the C parser of the standard library and costs nothing more. Only text that it stumbles over, or
that it would pass in silence (a key written twice, NaN, half of a surrogate pair), is read again by the scanner here,
which knows places and the usual slips. The scanner builds no values, and nothing here recurses deeper than `MAX_DEPTH`.

Lines and columns count from 1, columns in characters; a byte order mark is no character.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from unicodedata import east_asian_width

from bot.checks.violation import Pointer, Severity, Violation

MAX_DEPTH = 160
"""Brackets inside brackets. Forty nullable records inside each other need this many; no schema in use comes near."""

BOM = "\ufeff"
_SPACE = re.compile(r"[ \t\n\r]*")
_TOKEN = re.compile(
    r"""(?P<string>"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*")
    |(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![\w.+-])
    |(?P<word>true|false|null|NaN|-?Infinity)(?!\w)
    |(?P<mark>[{}\[\],:])""",
    re.VERBOSE,
)
_MAX_DIGITS = 1000
_EXCERPT = 100


class Key(str):
    """The last step of a pointer that means the key itself, not its value: a misspelt attribute."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Fault:
    """`fatal` where no document can be had from the text."""

    offset: int
    words: str
    remedy: str
    path: str = ""
    fatal: bool = True


@dataclass(slots=True)
class _Open:
    """A bracket that is open: where, and what is before it on the way to the place being read."""

    mark: str
    offset: int
    keys: dict[str, int] = field(default_factory=dict)
    key: str = ""
    index: int = 0


class _TroubleError(Exception):
    """The text is JSON to the C parser, but not clean."""


def decode(raw: bytes, file: str) -> tuple[str, tuple[Violation, ...]]:
    """Return the text of a file, and what is wrong with its encoding (A001); foreign bytes become U+FFFD."""
    try:
        return raw.decode("utf-8"), ()
    except UnicodeDecodeError as error:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            text = raw.decode("utf-16", "replace")
            return text, (
                _violation(text, file, _Fault(0, "the file is UTF-16, not UTF-8", "Save the file as UTF-8.")),
            )
        text = raw.decode("utf-8", "replace")
        offset = len(raw[: error.start].decode("utf-8"))
        byte = raw[error.start]
        legacy = raw[error.start : error.start + 1].decode("cp1252", "replace")
        words = f"byte 0x{byte:02X} is not UTF-8"
        remedy = f"Save the file as UTF-8 (0x{byte:02X} is {legacy} in Windows-1252)."
        return text, (_violation(text, file, _Fault(offset, words, remedy)),)


def parse(text: str, file: str) -> tuple[Any, tuple[Violation, ...]]:
    """Return the document and what is wrong with its text (A001); None and a reason where it is not JSON."""
    try:
        if not (text.isascii() and "\\ud" not in text and "\\uD" not in text):
            text.encode("utf-8")
            if "\\ud" in text or "\\uD" in text:
                raise _TroubleError
        document = _CLEAN.decode(text)
        if text.count("{") + text.count("[") <= MAX_DEPTH or not _too_deep(document):
            return document, ()
    except (ValueError, RecursionError, _TroubleError):
        pass

    starts = _line_starts(text)
    faults = tuple(_faults(text, starts))
    violations = tuple(_violation(text, file, fault, starts) for fault in faults)
    if any(fault.fatal for fault in faults):
        return None, violations
    try:
        return json.loads(text.removeprefix(BOM)), violations
    except (ValueError, RecursionError) as error:
        return None, (*violations, _violation(text, file, _Fault(0, str(error), "Correct the JSON."), starts))


def locate(text: str, pointers: Iterable[Pointer]) -> Mapping[Pointer, tuple[int, int]]:
    """Return line and column of each pointer; of its nearest parent where it is not in the text.

    One scan for all pointers: what is on the way to none of them is skipped by the C parser.
    """
    wanted = tuple(pointers)
    tree: dict[str | int, Any] = {}
    for pointer in wanted:
        node = tree
        for step in pointer:
            node = node.setdefault(step, {})
    offsets = _Locator(text).offsets(tree)
    starts = _line_starts(text)
    places = {}
    for pointer in wanted:
        near = pointer
        while near and near not in offsets:
            near = near[:-1]
        value, key = offsets.get(near, (0, 0))
        places[pointer] = _place(text, starts, key if near and isinstance(near[-1], Key) else value)
    return places


class _Locator:
    """`found`: offset of the value and of its key, for every step on the way to a pointer."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: dict[Pointer, tuple[int, int]] = {}

    def offsets(self, tree: Mapping[str | int, Any]) -> Mapping[Pointer, tuple[int, int]]:
        start = self._space(1 if self.text.startswith(BOM) else 0)
        self.found[()] = (start, start)
        try:
            self._value(tree, (), start)
        except (ValueError, IndexError, RecursionError):
            pass  # Text that `parse` refused: what was found up to there is what there is.
        return self.found

    def _space(self, position: int) -> int:
        found = _SPACE.match(self.text, position)
        return found.end() if found else position

    def _skip(self, position: int) -> tuple[Any, int]:
        value, end = _LENIENT.raw_decode(self.text, position)
        return value, self._space(end)

    def _value(self, tree: Mapping[str | int, Any], prefix: Pointer, position: int) -> int:
        """Walk the value that starts at `position`; return where the next token starts."""
        mark = self.text[position]
        if not tree or mark not in "{[":
            return self._skip(position)[1]
        closer = "}" if mark == "{" else "]"
        position = self._space(position + 1)
        index = 0
        while self.text[position] != closer:
            key_at = position
            step: str | int = index
            if mark == "{":
                step, position = self._skip(position)
                position = self._space(position + 1)
            inner = tree.get(step)
            if inner is None:
                position = self._skip(position)[1]
            else:
                pointer = (*prefix, step)
                self.found[pointer] = (position, key_at)
                position = self._value(inner, pointer, position)
            index += 1
            if self.text[position] == ",":
                position = self._space(position + 1)
        return self._space(position + 1)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TroubleError
    return found


def _constant(name: str) -> Any:
    raise _TroubleError


_CLEAN = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)
_LENIENT = json.JSONDecoder(strict=False)


def _too_deep(document: Any) -> bool:
    level = [document] if type(document) in (dict, list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) in (dict, list)
        ]
    return bool(level)


# The scanner ---------------------------------------------------------------------------------------------------------

_VALUE, _FIRST_ITEM, _ITEM, _FIRST_KEY, _KEY, _COLON, _MORE, _END = range(8)


def _faults(text: str, starts: list[int]) -> Iterator[_Fault]:
    """Yield what is wrong, in the order of the text; the first fatal fault is the last."""
    position = 0
    if text.startswith(BOM):
        yield _Fault(
            0, "a byte order mark (U+FEFF) before the JSON", "Save the file as UTF-8 without BOM.", fatal=False
        )
        position = 1
    if not text[position:].strip():
        yield _Fault(0, "the file is empty", "Write a schema, or delete the file.")
        return

    stack: list[_Open] = []
    expected = _VALUE
    end = comma = position
    while True:
        blank = _SPACE.match(text, position)
        start = blank.end() if blank else position
        if start == len(text):
            if expected != _END:
                yield _unfinished(text, starts, stack, end)
            return
        found = _TOKEN.match(text, start)
        if found is None:
            yield _unreadable(text, start, expected)
            return
        token, kind = found[0], found.lastgroup
        top = stack[-1] if stack else None

        if expected == _END:
            yield _Fault(start, "text after the end of the document", "Delete it: one file holds one document.")
            return
        if expected == _COLON:
            if token != ":":
                yield _Fault(end, "a colon is missing after the key", 'Write ":" between the key and its value.')
                return
            expected = _VALUE
        elif expected == _MORE and top:
            if token == ",":
                expected, comma = (_KEY if top.mark == "{" else _ITEM), start
                top.index += 1
            elif token == _closer(top):
                stack.pop()
                expected = _MORE if stack else _END
            elif token in ("]", "}"):
                yield _mismatched(text, starts, token, top, start)
                return
            elif token == ":":
                yield _Fault(start, "a colon where a comma or the end was expected", 'Write ",", or delete it.')
                return
            else:
                yield _Fault(end, "a comma is missing here", f'Write "," before {_short(token)}.')
                return
        elif expected in (_KEY, _FIRST_KEY) and top:
            if kind == "string":
                key = json.loads(token)
                top.key = key
                if key in top.keys:
                    first = "{}:{}".format(*_place(text, starts, top.keys[key]))
                    words = f'"{key}" stands twice in this object, first at {first}; parsers silently keep the last'
                    yield _Fault(start, words, "Delete one of the two.", _path(stack), fatal=False)
                else:
                    top.keys[key] = start
                expected = _COLON
            elif token == "}" and expected == _FIRST_KEY:
                stack.pop()
                expected = _MORE if stack else _END
            elif token == "}":
                yield _Fault(comma, 'a comma before "}"', "Delete the comma: JSON has none after the last member.")
                return
            else:
                yield _Fault(start, f"{_short(token)} where a key was expected", 'Write "key": value.')
                return
        elif token in ("{", "["):
            if len(stack) == MAX_DEPTH:
                words = f"nested more than {MAX_DEPTH} deep"
                yield _Fault(start, words, "Give the inner records names and use the names instead.", _path(stack))
                return
            stack.append(_Open(token, start))
            expected = _FIRST_KEY if token == "{" else _FIRST_ITEM
        elif token == "]" and expected == _FIRST_ITEM:
            stack.pop()
            expected = _MORE if stack else _END
        elif token == "]" and expected == _ITEM:
            yield _Fault(comma, 'a comma before "]"', "Delete the comma: JSON has none after the last element.")
            return
        elif kind == "mark":
            yield _Fault(start, f'a value is missing before "{token}"', "Write the value, or delete what wants it.")
            return
        else:
            fault = _scalar_fault(token, kind, start, _path(stack))
            if fault:
                yield fault
                if fault.fatal:
                    return
            expected = _MORE if stack else _END

        if kind == "string" and (fault := _string_fault(token, start, _path(stack))):
            yield fault
            return
        position = end = found.end()


def _closer(top: _Open) -> str:
    return "}" if top.mark == "{" else "]"


def _path(stack: list[_Open]) -> str:
    return "".join(f".{one.key}" if one.mark == "{" else f"[{one.index}]" for one in stack).removeprefix(".")


def _short(token: str) -> str:
    shown = token if len(token) <= 40 else token[:40] + "..."
    return shown if token.startswith('"') else f'"{shown}"'


def _scalar_fault(token: str, kind: str | None, offset: int, path: str) -> _Fault | None:
    if kind == "word" and token[-1] in "Ny":
        return _Fault(offset, f"{token} is not JSON", "Write a finite number, or null.", path, fatal=False)
    if kind == "number" and len(token) > _MAX_DIGITS:
        return _Fault(offset, f"a number of {len(token)} characters", "Write a number that fits a type.", path)
    return None


def _string_fault(token: str, offset: int, path: str) -> _Fault | None:
    if token.isascii() and "\\u" not in token:
        return None
    value = json.loads(token)
    if all(not "\ud800" <= char <= "\udfff" for char in value):
        return None
    return _Fault(offset, "half of a surrogate pair in a string", "Write the character itself, in UTF-8.", path)


def _mismatched(text: str, starts: list[int], token: str, top: _Open, offset: int) -> _Fault:
    line, column = _place(text, starts, top.offset)
    words = f'"{token}" closes nothing: open is the "{top.mark}" of {line}:{column}'
    return _Fault(offset, words, f'Write "{_closer(top)}", or delete it.')


def _unfinished(text: str, starts: list[int], stack: list[_Open], end: int) -> _Fault:
    if not stack:
        return _Fault(end, "the text ends where a value was expected", "Write the value.")
    line, column = _place(text, starts, stack[-1].offset)
    closers = "".join(_closer(one) for one in reversed(stack))
    missing = closers if len(closers) <= 20 else f"{closers[:20]}..."
    words = f'the text ends, and the "{stack[-1].mark}" of {line}:{column} is still open'
    return _Fault(end, words, f"Write what is missing, then {missing}.")


_UNREADABLE: tuple[tuple[str, str, str], ...] = (
    (r"//|/\*|\#", "a comment: JSON has none", 'Delete it; say it in "doc".'),
    (r"<<<<<<<|=======|>>>>>>>", "a merge conflict is left in the file", "Resolve the conflict."),
    (r"'|[‘’‚‛]", "a single quote: JSON strings stand in double quotes", 'Write "...".'),
    (r"[“”„‟«»]", "a typographic quote: JSON strings stand in straight ones", 'Write "...".'),
    (r"`", "a backtick: JSON strings stand in double quotes", 'Write "...".'),
    (r"True\b|False\b|None\b", "a word of Python, not of JSON", "Write true, false or null."),
    (r"undefined\b|nil\b|NULL\b|TRUE\b|FALSE\b|Null\b", "not a word of JSON", "Write true, false or null."),
    (r"[+-]?[0-9.][\w.+-]*", "not a number as JSON writes it", "Write digits as in 0, -1, 0.5 or 1e6."),
    (r"[-+]", "a sign without a number", "Write the number."),
    (r"\x00", "a NUL character: the file is binary, or UTF-16", "Save the file as UTF-8."),
    (r"<", "this is HTML or XML, not JSON", "Give the schema itself."),
    (r"\ufeff|\u200b|\xa0|\u2028", "an invisible character outside of a string", "Delete it, or write a space."),
)
_REASONS = tuple((re.compile(pattern), words, remedy) for pattern, words, remedy in _UNREADABLE)


def _unreadable(text: str, offset: int, expected: int) -> _Fault:
    """Return why no token of JSON starts here."""
    if text[offset] == '"':
        return _bad_string(text, offset)
    for pattern, words, remedy in _REASONS:
        if found := pattern.match(text, offset):
            return _Fault(offset, words if len(found[0]) < 3 else f"{_short(found[0])}: {words}", remedy)
    word = re.compile(r"[^\s{}\[\],:\"]*").match(text, offset)
    shown = _short(word[0]) if word and word[0] else f"U+{ord(text[offset]):04X}"
    if expected in (_KEY, _FIRST_KEY):
        return _Fault(offset, f"the key {shown} without quotes", "Put the key in double quotes.")
    return _Fault(offset, f"{shown} is not JSON", "Put a string in double quotes, or delete this.")


def _bad_string(text: str, offset: int) -> _Fault:
    """Return why the string that opens here does not end: a raw control character, a bad escape, no closing quote."""
    bad = re.compile(r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*').match(text, offset)
    stop = bad.end() if bad else offset
    if stop >= len(text) or text[stop] in "\r\n":
        return _Fault(offset, "the string that opens here is not closed on its line", "Close it; a line break is \\n.")
    if text[stop] == "\\":
        escape = text[stop : stop + (6 if text[stop + 1 : stop + 2] == "u" else 2)]
        return _Fault(stop, f"{escape.strip()} is no escape of JSON", 'Write \\\\ for a backslash, \\" for a quote.')
    char = ord(text[stop])
    written = "\\t" if char == 9 else f"\\u{char:04x}"
    return _Fault(stop, f"a control character (U+{char:04X}) in a string", f"Write {written}.")


# Places --------------------------------------------------------------------------------------------------------------


def _line_starts(text: str) -> list[int]:
    return [0, *(found.end() for found in re.finditer("\n", text))]


def _place(text: str, starts: list[int], offset: int) -> tuple[int, int]:
    line = bisect_right(starts, offset)
    column = offset - starts[line - 1] + 1
    return line, column - 1 if line == 1 and column > 1 and text.startswith(BOM) else column


def _violation(text: str, file: str, fault: _Fault, starts: list[int] | None = None) -> Violation:
    line, column = _place(text, starts or _line_starts(text), fault.offset)
    message = f"{fault.words}\n{_excerpt(text, fault.offset)}" if text.strip(BOM + " \t\r\n") else fault.words
    return Violation("A001", Severity.ERROR, file, fault.path, message, fault.remedy, line=line, column=column)


def _excerpt(text: str, offset: int) -> str:
    """Return the line with a caret under the place; a long line is cut around it."""
    start = text.rfind("\n", 0, offset) + 1
    stop = text.find("\n", offset)
    line = text[start : stop if stop >= 0 else len(text)].rstrip("\r")
    at = min(offset - start, len(line))
    first = max(0, at - _EXCERPT * 2 // 3) if len(line) > _EXCERPT else 0
    shown = "".join(map(_shown, line[first : first + _EXCERPT]))
    before = "... " if first else ""
    after = " ..." if first + _EXCERPT < len(line) else ""
    pad = sum(2 if east_asian_width(char) in "WF" else 1 for char in shown[: at - first])
    return f"  {before}{shown}{after}\n  {' ' * (len(before) + pad)}^"


def _shown(char: str) -> str:
    if char == "\t":
        return " "
    return char if char.isprintable() else "\ufffd"
