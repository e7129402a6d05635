"""The baseline: violations that were there when the checks came, each with reason and owner, in one file.

Keyed by rule, subject (or file) and the path in the schema, as fingerprints are: reformatting and moved fields change
nothing. It is written by `cdc check schemas --write-baseline` and shrinks: an entry that matches nothing is a warning.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.checks.violation import Severity, Violation, Waiver
from bot.checks.waivers import read_entry, waived


@dataclass(frozen=True)
class Entry:
    """One accepted violation; `subject` or `file` is None. `line` is its own in the baseline file."""

    rule: str
    path: str
    waiver: Waiver
    subject: str | None = None
    file: str | None = None
    line: int = 1

    def covers(self, violation: Violation) -> bool:
        if (self.rule, self.path) != (violation.rule, violation.path):
            return False
        return self.file == violation.file if self.subject is None else self.subject == violation.subject


def read_baseline(
    document: Any, file: str, rules: Collection[str], lines: Mapping[int, int]
) -> tuple[list[Entry], list[Violation]]:
    """Return the entries of a baseline, and what is wrong with it (S001, S002). `lines` maps an index to its line."""
    if document is None:
        return [], []
    if not isinstance(document, list):
        wrong = Violation("S001", Severity.ERROR, file, "", "a baseline is a list of entries", "Write it with " + _HOW)
        return [], [wrong]
    entries: list[Entry] = []
    faults: list[Violation] = []
    for index, written in enumerate(document):
        line = lines.get(index, 1)
        rest = {k: v for k, v in written.items() if k not in _PLACE} if isinstance(written, dict) else written
        rule, waiver, fault = read_entry(rest, rules)
        place = {k: written.get(k) for k in _PLACE} if isinstance(written, dict) else {}
        if fault is None and (place["subject"] is None) == (place["file"] is None):
            fault = ("S001", "an entry names a subject or a file", "Write `subject: customers-value` or `file: ...`.")
        if fault is not None:
            faults.append(Violation(fault[0], Severity.ERROR, file, "", fault[1], fault[2], line=line))
        elif waiver is not None:
            subject, name = place["subject"], place["file"]
            path = str(place["path"] or "")
            entries.append(Entry(rule, path, waiver, subject and str(subject), name and str(name), line))
    return entries, faults


def apply(
    violations: Iterable[Violation], entries: Sequence[Entry], today: dt.date
) -> tuple[list[Violation], list[Entry]]:
    """Return the violations with those of the baseline waived, and the entries that match none."""
    by_rule: dict[str, list[Entry]] = {}
    for entry in entries:
        by_rule.setdefault(entry.rule, []).append(entry)
    used: set[int] = set()
    result: list[Violation] = []
    for violation in violations:
        for entry in by_rule.get(violation.rule, ()):
            if entry.covers(violation):
                used.add(id(entry))
                violation = waived(violation, entry.waiver, today)
        result.append(violation)
    return result, [entry for entry in entries if id(entry) not in used]


def unused(entry: Entry, file: str) -> Violation:
    place = f"{entry.subject or entry.file} {entry.path}".rstrip()
    words = f"the baseline's {entry.rule} of {place} is no violation any more"
    return Violation("S003", Severity.WARNING, file, "", words, "Remove the entry.", line=entry.line)


def render_baseline(violations: Iterable[Violation], waiver: Waiver, as_json: bool) -> str:
    """Return the file that accepts `violations`, as YAML or JSON."""
    rows: list[dict[str, str]] = []
    for one in violations:
        place = {"file": one.file} if one.subject is None else {"subject": one.subject}
        row = {"rule": one.rule, **place, "path": one.path, "reason": waiver.reason, "owner": waiver.owner}
        if waiver.until is not None:
            row["until"] = waiver.until
        if row not in rows:
            rows.append(row)
    if as_json:
        return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    head = f"# Accepted violations: they do not fail the check. Written by {_HOW}\n"
    lines = [
        f"{'- ' if key == 'rule' else '  '}{key}: {json.dumps(value, ensure_ascii=False)}\n"
        for row in rows
        for key, value in row.items()
    ]
    return head + ("".join(lines) or "[]\n")


_PLACE = ("subject", "file", "path")
_HOW = "`cdc check schemas --write-baseline FILE --reason ... --owner ...`."
