r"""Regular expressions of other systems, matched in time linear in the text.

Python's own engine backtracks: `(\w+-?)+_prod`, which RE2 (Alertmanager) and Java (Connect) users write without harm,
takes it hours on forty characters. Here all ways through a pattern are followed at once, a character at a time.

Promise
    `read` takes Python's syntax, and a match gives Python's answer, groups included (one that
    repeats nothing, `(a*)*`, keeps what it had); None for what this machine does
    not do: back references, lookbehind, groups in a lookahead, possessive and atomic groups, conditions, verbose mode.
    A match takes at most `MOST_STEPS`, some tenths of a second; what would take more raises Undecided.

Source: Rob Pike's and Ken Thompson's machine as in swtch.com/~rsc/regexp/regexp2.html. Each single character or place
(`[a-z]`, `\d`, `^`, `\b`) is asked of `re`, so there is nothing to be read in two ways.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

MOST_STEPS = 300_000
MOST_INSTRUCTIONS = 20_000
MOST_REPEATS = 1000

_ATOM = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]*\}|0[0-7]{0,2}|[0-7]{3}|.)"
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]|.",
    re.DOTALL,
)
_REPEAT = re.compile(r"(?:([*+?])|\{(\d*)(,?)(\d*)\}(?<!\{\}))([?+]?)")
_GROUP = re.compile(r"\(\?(?:P<(?P<name>\w+)>|(?P<look>[=!])|(?P<on>[a-zA-Z]*)(?:-(?P<off>[a-zA-Z]+))?(?P<end>[:)]))")
_SHORT: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_PLACES = ("^", "$", "\\b", "\\B", "\\A", "\\Z")


class Undecided(ValueError):
    """Whether the text matches would take too long to find out."""


class _Unread(ValueError):
    """The pattern is not one for this module."""


@dataclass(frozen=True)
class Match:
    """The groups of a match, the whole first; None for one that took no part."""

    groups: tuple[str | None, ...]
    names: Mapping[str, int]


@dataclass(frozen=True)
class Pattern:
    code: tuple[_Step, ...]
    names: Mapping[str, int]
    group_count: int

    def fullmatch(self, text: str) -> Match | None:
        """Return the match of the whole text. Raises Undecided."""
        ends = _run(self.code, text, 0, True, [MOST_STEPS])
        if ends is None:
            return None
        spans = dict(ends)
        groups = [
            text[spans[2 * number] : spans[2 * number + 1]] if 2 * number + 1 in spans else None
            for number in range(1, self.group_count + 1)
        ]
        return Match((text, *groups), self.names)


@functools.lru_cache(maxsize=512)
def read(pattern: str, ignore_case: bool = False, ascii_only: bool = False) -> Pattern | None:
    """Return a pattern, or None for one that Python cannot read, or this module cannot follow."""
    try:
        re.compile(pattern, (re.IGNORECASE if ignore_case else 0) | (re.ASCII if ascii_only else 0))
        reader = _Reader(pattern)
        node = reader.alternatives(frozenset("i" * ignore_case + "a" * ascii_only))
        code: list[_Step] = []
        _emit(node, code)
    except (re.error, RecursionError, OverflowError, _Unread):
        return None
    return Pattern((*code, _Step("end")), reader.names, reader.group_count)


# --- reading ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Node:
    """`kind`: one character, a place, look, seq, any (alternatives), repeat, group."""

    kind: str
    parts: tuple[_Node, ...] = ()
    test: Callable[[str, int], bool] | None = None
    number: int = 0
    low: int = 0
    high: int | None = None
    is_greedy: bool = True
    is_negative: bool = False


class _Reader:
    """Reads what `re` has compiled already, so syntax errors need no look."""

    def __init__(self, pattern: str) -> None:
        self._text, self._at = pattern, 0
        self.names: dict[str, int] = {}
        self.group_count = 0

    def alternatives(self, flags: frozenset[str]) -> _Node:
        branches: list[_Node] = []
        parts: list[_Node] = []
        while self._at < len(self._text) and self._text[self._at] != ")":
            if self._text[self._at] == "|":
                self._at += 1
                branches.append(_Node("seq", tuple(parts)))
                parts = []
                continue
            node, flags = self._item(flags)
            parts.append(self._repeated(node))
        branches.append(_Node("seq", tuple(parts)))
        return branches[0] if len(branches) == 1 else _Node("any", tuple(branches))

    def _item(self, flags: frozenset[str]) -> tuple[_Node, frozenset[str]]:
        if self._text[self._at] == "(":
            return self._group(flags)
        found = _ATOM.match(self._text, self._at)
        assert found is not None
        atom = found[0]
        self._at = found.end()
        if re.match(r"\\[1-9]", atom) and len(atom) < 4:
            raise _Unread("a back reference")
        kind = "place" if atom in _PLACES else "one"
        return _Node(kind, test=_test(atom, "".join(sorted(flags)))), flags

    def _group(self, flags: frozenset[str]) -> tuple[_Node, frozenset[str]]:
        if not self._text.startswith("(?", self._at):
            self._at += 1
            return self._captured(flags), flags
        found = _GROUP.match(self._text, self._at)
        if found is None:
            raise _Unread(self._text[self._at : self._at + 4])
        self._at = found.end()
        if found["name"]:
            self.names[found["name"]] = self.group_count + 1
            return self._captured(flags), flags
        if found["look"]:
            before, inside = self.group_count, self._closed(flags)
            if self.group_count > before:
                raise _Unread("a group in a lookahead")
            return _Node("look", (inside,), is_negative=found["look"] == "!"), flags
        letters = set(found["on"] or "") | set(found["off"] or "")
        if letters - set("aims"):
            raise _Unread("flags")
        inner = (flags | set(found["on"] or "")) - set(found["off"] or "")
        if found["end"] == ")":
            return _Node("seq"), inner
        return self._closed(inner), flags

    def _captured(self, flags: frozenset[str]) -> _Node:
        self.group_count += 1
        number = self.group_count
        return _Node("group", (self._closed(flags),), number=number)

    def _closed(self, flags: frozenset[str]) -> _Node:
        inside = self.alternatives(flags)
        self._at += 1
        return inside

    def _repeated(self, node: _Node) -> _Node:
        found = _REPEAT.match(self._text, self._at)
        if found is None:
            return node
        self._at = found.end()
        if found[5] == "+":
            raise _Unread("possessive")
        low, high = _SHORT.get(found[1], (int(found[2] or 0), int(found[4]) if found[4] else None))
        if not found[1] and not found[3]:
            high = low
        return _Node("repeat", (node,), low=low, high=high, is_greedy=not found[5])


@functools.lru_cache(maxsize=4096)
def _test(atom: str, flags: str) -> Callable[[str, int], bool]:
    """Return whether one character, or one place, is what the atom says: `re` is asked, at that position alone."""
    compiled = re.compile(f"(?{flags}:{atom})" if flags else atom)
    return lambda text, at: compiled.match(text, at) is not None


# --- the machine -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """An instruction. `one` consumes a character; `split` goes on at `to` first, then at `other`."""

    kind: str
    test: Callable[[str, int], bool] | None = None
    to: int = 0
    other: int = 0
    code: tuple[_Step, ...] = field(default=())
    is_negative: bool = False


def _emit(node: _Node, code: list[_Step]) -> None:
    if len(code) > MOST_INSTRUCTIONS:
        raise _Unread("too long")
    if node.kind in ("one", "place"):
        code.append(_Step(node.kind, node.test))
    elif node.kind == "look":
        inner: list[_Step] = []
        _emit(node.parts[0], inner)
        code.append(_Step("look", code=(*inner, _Step("end")), is_negative=node.is_negative))
    elif node.kind == "group":
        code.append(_Step("save", to=2 * node.number))
        _emit(node.parts[0], code)
        code.append(_Step("save", to=2 * node.number + 1))
    elif node.kind == "seq":
        code.append(_Step("jump", to=len(code) + 1))  # what is empty counts too, or `(?:){9999}` nested has no end
        for part in node.parts:
            _emit(part, code)
    elif node.kind == "any":
        _emit_alternatives(node, code)
    else:
        _emit_repeat(node, code)


def _emit_alternatives(node: _Node, code: list[_Step]) -> None:
    jumps = []
    for part in node.parts[:-1]:
        at = len(code)
        code.append(_Step("split"))
        _emit(part, code)
        jumps.append(len(code))
        code.append(_Step("jump"))
        code[at] = _Step("split", to=at + 1, other=len(code))
    _emit(node.parts[-1], code)
    for at in jumps:
        code[at] = _Step("jump", to=len(code))


def _emit_repeat(node: _Node, code: list[_Step]) -> None:
    def split(at: int, inside: int, after: int) -> None:
        code[at] = _Step("split", to=inside, other=after) if node.is_greedy else _Step("split", to=after, other=inside)

    [part] = node.parts
    if max(node.low, node.high or 0) > MOST_REPEATS:
        raise _Unread("too often")
    code.append(_Step("jump", to=len(code) + 1))
    for _ in range(node.low):
        _emit(part, code)
    if node.high is None:
        at = len(code)
        code.append(_Step("split"))
        _emit(part, code)
        code.append(_Step("jump", to=at))
        split(at, at + 1, len(code))
        return
    splits = []
    for _ in range(node.high - node.low):
        splits.append(len(code))
        code.append(_Step("split"))
        _emit(part, code)
    for at in splits:
        split(at, at + 1, len(code))


_Saved = tuple[tuple[int, int], ...]


def _run(code: tuple[_Step, ...], text: str, start: int, is_full: bool, left: list[int]) -> _Saved | None:
    """Return what the best way through has saved, None when there is none. `left[0]` counts the steps down."""
    end = len(code) - 1
    ways = dict(_reached(code, 0, (), text, start, set(), left))
    for at in range(start, len(text)):
        if not ways or (end in ways and not is_full):
            break
        following: dict[int, _Saved] = {}
        seen: set[int] = set()
        for place, saved in ways.items():
            test = code[place].test
            if test is not None and test(text, at):
                following.update(_reached(code, place + 1, saved, text, at + 1, seen, left))
        ways = following
    return ways.get(end)


def _reached(
    code: tuple[_Step, ...], place: int, saved: _Saved, text: str, at: int, seen: set[int], left: list[int]
) -> Iterator[tuple[int, _Saved]]:
    """Yield where the machine can be at `at` without another character: before a `one` or at the end, best way first.

    `seen` holds where better ways have been: each instruction is done once for a character.
    """
    stack = [(place, saved)]
    while stack:
        here, kept = stack.pop()
        if here in seen:
            continue
        seen.add(here)
        left[0] -= 1
        if left[0] < 0:
            raise Undecided
        step = code[here]
        if step.kind in ("one", "end"):
            yield here, kept
        elif step.kind == "jump":
            stack.append((step.to, kept))
        elif step.kind == "split":
            stack += [(step.other, kept), (step.to, kept)]
        elif step.kind == "save":
            stack.append((here + 1, (*(each for each in kept if each[0] != step.to), (step.to, at))))
        elif step.kind == "place":
            if step.test is not None and step.test(text, at):
                stack.append((here + 1, kept))
        elif (_run(step.code, text, at, False, left) is None) is step.is_negative:
            stack.append((here + 1, kept))
