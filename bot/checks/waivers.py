"""Waivers: somebody's decision to live with a violation, written where it stands, with reason and owner.

In Avro an attribute of the field, type or root, for that node and all below it:

    "cdc.waive": [{"rule": "C001", "reason": "...", "owner": "@data-platform", "until": "2027-01-31"}]

`until` is the last day on which it holds; from the next on the violation counts again. What makes a file unreadable
(`NEVER`) cannot be waived: nothing behind it was checked. A waiver that waives nothing is a warning (S003).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from bot.checks.violation import Pointer, Severity, Violation, Waiver

ATTRIBUTE = "cdc.waive"
NEVER = frozenset({"A001", "A002", "A003", "P001"})
"""Also every S-rule: they are about the run and the waivers themselves."""

_KEYS = ("rule", "reason", "owner", "until")
_SHAPE = '{"rule": "C001", "reason": "...", "owner": "@team", "until": "2027-01-31"}'


@dataclass(frozen=True)
class InFile:
    """One waiver as it stands in a file: for `pointer` and below (Avro), or for `path` and below (Protobuf).

    `at` is where it stands itself, by pointer or line and column.
    """

    file: str
    rule: str
    waiver: Waiver
    pointer: Pointer | None = None
    path: str | None = None
    at: Pointer | None = None
    line: int = 1
    column: int = 1

    def covers(self, violation: Violation) -> bool:
        if violation.rule != self.rule or violation.file != self.file:
            return False
        if self.pointer is not None:
            return (violation.pointer or ())[: len(self.pointer)] == self.pointer
        return not self.path or violation.path == self.path or violation.path.startswith(f"{self.path}.")


def read_waivers(document: Any, file: str, rules: Collection[str]) -> tuple[list[InFile], list[Violation]]:
    """Return the waivers of a JSON document, and what is wrong with them. `rules` are the ids that there are."""
    found: list[InFile] = []
    wrong: list[Violation] = []
    for pointer, written in _written(document):
        at = (*pointer, ATTRIBUTE)
        entries = written if isinstance(written, list) else [written]
        for index, entry in enumerate(entries):
            here = (*at, index) if isinstance(written, list) else at
            rule, waiver, fault = read_entry(entry, rules)
            if fault is not None:
                wrong.append(Violation(fault[0], Severity.ERROR, file, "", *fault[1:], pointer=here))
            elif waiver is not None:
                found.append(InFile(file, rule, waiver, pointer, at=here))
    return found, wrong


def read_entry(entry: Any, rules: Collection[str]) -> tuple[str, Waiver | None, tuple[str, str, str] | None]:
    """Return rule and waiver of one entry, or (rule of the fault, message, remedy) where it is not usable.

    The keys are those of `Waiver`, and `rule`; a baseline's entry has more, which its reader takes away first.
    """
    if not isinstance(entry, dict):
        return "", None, ("S001", "a waiver is an object", f"Write {_SHAPE}.")
    unknown = [key for key in entry if key not in _KEYS]
    if unknown:
        near = get_close_matches(str(unknown[0]), _KEYS, 1)
        remedy = f"Write `{near[0]}`." if near else f"Write {_SHAPE}."
        return "", None, ("S001", f"a waiver has no `{unknown[0]}`", remedy)
    for key in ("rule", "reason", "owner"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            words = {"rule": "names no rule", "reason": "gives no reason", "owner": "has no owner"}[key]
            return "", None, ("S001", f"the waiver {words}", f'Add "{key}", as in {_SHAPE}.')
    rule, until = entry["rule"], entry.get("until")
    if until is not None and _day(until) is None:
        return "", None, ("S001", f"`until` is not a date: {until!r}", 'Write the last day: "until": "2027-01-31".')
    if rule not in rules:
        near = get_close_matches(rule.upper(), sorted(rules), 1)
        return "", None, ("S002", f"there is no rule {rule}", f"Write {near[0]}." if near else "Remove the waiver.")
    if rule in NEVER or rule.startswith("S"):
        why = "nothing behind it was checked" if rule in NEVER else "it is about the check itself"
        return "", None, ("S002", f"{rule} cannot be waived: {why}", "Correct it, and remove the waiver.")
    return rule, Waiver(entry["reason"].strip(), entry["owner"].strip(), until), None


def apply(
    violations: Iterable[Violation], waivers: Sequence[InFile], today: dt.date
) -> tuple[list[Violation], list[InFile]]:
    """Return the violations with their waivers, and the waivers that waived nothing.

    An expired waiver waives nothing but is not unused: the violation says that it counts again.
    """
    by_file: dict[str, list[InFile]] = {}
    for one in waivers:
        by_file.setdefault(one.file, []).append(one)
    used: set[int] = set()
    result: list[Violation] = []
    for violation in violations:
        for one in by_file.get(violation.file, ()):
            if one.covers(violation):
                used.add(id(one))
                violation = waived(violation, one.waiver, today)
        result.append(violation)
    return result, [one for one in waivers if id(one) not in used]


def waived(violation: Violation, waiver: Waiver, today: dt.date) -> Violation:
    """Return the violation with its waiver; with an expired one as it is, and the message says so."""
    if violation.waiver is not None:
        return violation
    if waiver.until is not None and (_day(waiver.until) or today) < today:
        return replace(violation, message=f"{violation.message} (the waiver of {waiver.owner} ended {waiver.until})")
    return replace(violation, waiver=waiver)


def unused(one: InFile) -> Violation:
    return Violation(
        "S003", Severity.WARNING, one.file, one.path or "",
        f"the waiver of {one.rule} waives nothing here", "Remove it.",
        pointer=one.at, line=one.line, column=one.column,
    )  # fmt: skip


def _written(document: Any) -> Iterator[tuple[Pointer, Any]]:
    """Yield the pointer of each node that has waivers, and what it has."""
    stack: list[tuple[Pointer, Any]] = [((), document)]
    while stack:
        pointer, node = stack.pop()
        if isinstance(node, dict):
            if ATTRIBUTE in node:
                yield pointer, node[ATTRIBUTE]
            stack += [((*pointer, key), value) for key, value in node.items() if isinstance(value, dict | list)]
        elif isinstance(node, list):
            stack += [((*pointer, i), value) for i, value in enumerate(node) if isinstance(value, dict | list)]


def _day(text: Any) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
