"""Report: what a verb answers, once, for every surface.

Slack, the terminal, `--json` and Markdown render the same Report; `document` is the JSON of
contract.md. A Report says what was not known; it never fills a gap with a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.model import Status


@dataclass(frozen=True)
class Table:
    """Columns and rows of plain text; numbers already formatted. `right` names the right-aligned columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Report:
    """`title` and `status` make the first line; then facts as label and value, tables, notes, next steps to copy."""

    title: str
    status: Status | None = None
    facts: tuple[tuple[str, str], ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()
    not_known: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    document: Mapping[str, Any] | Sequence[Any] | None = None
    exit_code: int = 0
    more_tables: tuple[Table, ...] = ()


def failure(title: str, reason: str, *next_steps: str, exit_code: int = 3) -> Report:
    """A clear error: what was asked, what was found; exit 3 = could not be reached or does not exist, 2 = usage."""
    return Report(title, Status.UNKNOWN, notes=(reason,), next_steps=next_steps, exit_code=exit_code)
