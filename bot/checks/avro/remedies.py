"""The JSON to paste for exactly the field that a change rule stopped. Long types are told in words, not cut."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bot.checks.avro.difference import nullable
from bot.checks.avro.schema import Field

LONGEST = 600
"""Characters of JSON that somebody still pastes from a report."""


def fragment(value: Any) -> str | None:
    """Return JSON on one line, None where it is too long or too deep to paste."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return None
    return text if len(text) <= LONGEST else None


def as_it_was(field: Field) -> str:
    """Return the field's own JSON."""
    told = fragment(dict(field.attributes))
    return told or f'the field "{field.name}" as it was'


def decision(field: Field) -> str:
    """Return the field made optional: null first, default null."""
    kept = {key: value for key, value in field.attributes.items() if key not in ("name", "type", "default")}
    told = fragment({"name": field.name, "type": _optional(field.attributes.get("type")), "default": None, **kept})
    return told or f'"{field.name}": put its type into ["null", ...] and write "default": null beside it'


def beside(field: Field, taken: Mapping[str, object]) -> str:
    """Return a new optional field that carries the new type under a name that is not taken."""
    count = 2
    while f"{field.name}_v{count}" in taken:
        count += 1
    fresh = {"name": f"{field.name}_v{count}", "type": _optional(field.attributes.get("type")), "default": None}
    return fragment(fresh) or f'"{field.name}_v{count}", its type in ["null", ...], default null'


def with_default_null(field: Field) -> str:
    """Return a field that has null among its branches with the default null; another one as `decision` makes it."""
    return decision(field) if not nullable(field.type) or field.default is not None else as_it_was(field)


def _optional(node: Any) -> Any:
    branches = node if isinstance(node, list) else [node]
    return ["null", *(branch for branch in branches if branch != "null")]
