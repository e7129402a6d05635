"""May a reader's schema read what a writer's wrote? Avro 1.12, "Schema Resolution", and nothing else.

This is the registry's question: it knows neither logical types nor sinks. `changes.py` and `change_rules.py` add those.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.checks.avro.schema import Schema
from bot.checks.violation import Pointer


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """`kind` is Java's SchemaIncompatibilityType (`READER_FIELD_MISSING_DEFAULT_VALUE`, ...); `path` the dotted field.

    `reader` and `writer` are the pointers of the two nodes in their own documents.
    """

    kind: str
    path: str
    message: str
    reader: Pointer
    writer: Pointer


def incompatibilities(reader: Schema, writer: Schema) -> tuple[Incompatibility, ...]:
    """Return everything that stops the reader; empty means it can read all that the writer may have written."""
    return ()
