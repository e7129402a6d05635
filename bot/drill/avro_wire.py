"""Rows of the source table as Avro in Confluent's wire format: a zero byte, the schema id, the record."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import fastavro

from bot.drill.database import Column

_AVRO_TYPES = {"integer": "int", "bigint": "long", "text": "string", "boolean": "boolean", "double precision": "double"}


def value_schema(table: str, columns: Sequence[Column]) -> str:
    """The record schema Debezium builds from columns: nullable is a union with null, a default is carried."""
    return _record("Value", table, [_field(column) for column in columns])


def key_schema(table: str) -> str:
    """The schema of the key: the primary key column."""
    return _record("Key", table, [{"name": "id", "type": "int"}])


def _record(name: str, table: str, fields: list[dict[str, Any]]) -> str:
    record = {
        "type": "record",
        "name": name,
        "namespace": f"shop.public.{table}",
        "fields": fields,
        "connect.name": f"shop.public.{table}.{name}",
    }
    return json.dumps(record, separators=(",", ":"))


def _field(column: Column) -> dict[str, Any]:
    kind = _AVRO_TYPES[column.type]
    if column.nullable:
        return {"name": column.name, "type": ["null", kind], "default": None}
    if column.default is not None:
        return {
            "name": column.name,
            "type": {"type": kind, "connect.default": column.default},
            "default": column.default,
        }
    return {"name": column.name, "type": kind}


@lru_cache(maxsize=64)
def _compiled(schema: str) -> Any:
    return fastavro.parse_schema(json.loads(schema))


def encode(schema: str, schema_id: int, record: dict[str, Any]) -> bytes:
    """A record on the wire."""
    out = io.BytesIO()
    out.write(struct.pack(">bI", 0, schema_id))
    fastavro.schemaless_writer(out, _compiled(schema), record)
    return out.getvalue()


class Undecodable(Exception):
    """Bytes that are not a record in the wire format; the text is what Confluent's deserializer says."""


def schema_id_of(payload: bytes) -> int:
    """The schema id in front of a record; raises Undecodable."""
    if len(payload) < 5 or payload[0] != 0:
        raise Undecodable("Unknown magic byte!")
    found: int = struct.unpack(">I", payload[1:5])[0]
    return found


def decode(schema: str, payload: bytes) -> dict[str, Any]:
    """The record behind the five bytes; raises Undecodable."""
    try:
        record = fastavro.schemaless_reader(io.BytesIO(payload[5:]), _compiled(schema), None)
    except (EOFError, ValueError, IndexError, StopIteration, UnicodeDecodeError) as error:
        raise Undecodable(f"Error deserializing Avro message for id {schema_id_of(payload)}") from error
    if not isinstance(record, dict):
        raise Undecodable(f"Error deserializing Avro message for id {schema_id_of(payload)}")
    return record
