"""Avro schemas for tests: from Python values, through the real reader."""

from __future__ import annotations

from typing import Any

from bot.checks.avro.read import link, read_part
from bot.checks.avro.schema import Schema


def schema(document: Any, file: str = "schemas/customers-value.avsc", *others: tuple[str, Any]) -> Schema:
    """Return the schema of one document; `others` are (file, document) of files read with it."""
    parts = [read_part(document, file), *(read_part(other, name) for name, other in others)]
    found = [violation for part in parts for violation in part.violations]
    schemas, unknown = link(parts)
    assert not [one for one in (*found, *unknown) if one.rule in ("A001", "A002", "A003", "A005")], (found, unknown)
    return schemas[file]


def record(*fields: dict[str, Any], name: str = "shop.Customer", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, type_: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def enum(*symbols: str, name: str = "shop.Status", **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size: int, name: str = "shop.Hash", **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size, **more}


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def optional(name: str, type_: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": ["null", type_], "default": None, **more}
