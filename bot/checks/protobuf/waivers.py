"""Waivers in a .proto file: a comment of the field, value, message or enum, or of the package for the whole file.

    // cdc:waive P105 reason="zero orders is a count" owner=@shop until=2027-01-31

They hold for what the comment belongs to, as protoc sees it (the lines right above, or the end of the same line), and
for all within. What is wrong with one is said as for Avro's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from bot.checks.violation import Severity, Violation
from bot.checks.waivers import InFile, read_entry
from bot.descriptors import ProtoFile, ProtoMessage

MARK = "cdc:waive"
_WAIVER = re.compile(r"(?m)^[ \t/*]*cdc:waive\b[ \t]*(?P<rest>[^\n]*)")
_RULE = re.compile(r"\s*(?P<rule>[A-Za-z][A-Za-z0-9_]*)(?=\s|$)")
_PAIR = re.compile(r"\s*(?P<key>[A-Za-z_]+)\s*=\s*(?:\"(?P<quoted>[^\"]*)\"|(?P<bare>[^\s\"]+))")
_EXAMPLE = '`// cdc:waive P105 reason="..." owner=@team until=2027-01-31`'


def read_waivers(file: ProtoFile, rules: Collection[str]) -> tuple[list[InFile], list[Violation]]:
    """Return the waivers of a file, and what is wrong with others. `rules` are the ids that there are."""
    found: list[InFile] = []
    wrong: list[Violation] = []
    for path, comment, line, column in _commented(file):
        for match in _WAIVER.finditer(comment):
            entry, rest = _entry(match["rest"])
            if rest:
                message = f"the waiver cannot be read from `{rest[:40]}` on"
                wrong.append(
                    Violation(
                        "S001", Severity.ERROR, file.file, path, message, f"Write {_EXAMPLE}.", None, line, column
                    )
                )
                continue
            rule, waiver, fault = read_entry(entry, rules)
            if fault is not None:
                id_, message, remedy = fault
                remedy = f"Write {_EXAMPLE}." if id_ == "S001" else remedy
                wrong.append(Violation(id_, Severity.ERROR, file.file, path, message, remedy, None, line, column))
            elif waiver is not None:
                found.append(InFile(file.file, rule, waiver, path=path, line=line, column=column))
    return found, wrong


def _entry(text: str) -> tuple[dict[str, str], str]:
    """Return what a waiver says by key, and the rest that says nothing."""
    text = text.strip().removesuffix("*/").rstrip()
    entry: dict[str, str] = {}
    at = 0
    if (rule := _RULE.match(text)) is not None:
        entry["rule"] = rule["rule"]
        at = rule.end()
    while (pair := _PAIR.match(text, at)) is not None:
        entry[pair["key"]] = pair["bare"] if pair["quoted"] is None else pair["quoted"]
        at = pair.end()
    return entry, text[at:].strip()


def _commented(file: ProtoFile) -> Iterator[tuple[str, str, int, int]]:
    """Yield path, comment and place of everything that has a waiver in its comment."""
    if MARK in file.comment:
        yield "", file.comment, file.package_line, file.package_column
    for message in file.all_messages():
        if MARK in message.comment:
            yield message.name, message.comment, message.line, message.column
        yield from _fields(message)
    for enum in file.all_enums():
        if MARK in enum.comment:
            yield enum.name, enum.comment, enum.line, enum.column
        for value in enum.values:
            if MARK in value.comment:
                yield f"{enum.name}.{value.name}", value.comment, value.line, value.column


def _fields(message: ProtoMessage) -> Iterator[tuple[str, str, int, int]]:
    for field in message.fields:
        if MARK in field.comment:
            yield f"{message.name}.{field.name}", field.comment, field.line, field.column
