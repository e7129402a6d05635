"""What a schema check is told: levels, profiles, names, mappings. `checks.schemas` of cdc.yml and the flags fill it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LEVELS = (
    "NONE",
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
)  # fmt: skip
DEFAULT_LEVEL = "BACKWARD"

PROFILES = ("flink", "iceberg-v2", "iceberg-v3")
"""What reads the topics downstream: none is on by default."""


@dataclass(frozen=True)
class CanonicalField:
    """A field that every value schema must have (rule A111): its name and the Avro types it may have, `long` or
    `long/timestamp-micros` for a logical type."""

    name: str
    types: tuple[str, ...] = ()


@dataclass(frozen=True)
class SchemaSettings:
    """`severities` re-rates a rule by its id, None turns it off. Patterns are globs on the file's path.

    `subjects` maps a pattern to a template of the subject's name: `{stem}`, `{parent}`, `{name}` (record's full name),
    `{topic}`. `namespaces` maps a pattern to the namespace its types must have (A102); `fields` are those of A111.
    """

    level: str = DEFAULT_LEVEL
    levels: Mapping[str, str] = field(default_factory=dict)
    profiles: frozenset[str] = frozenset()
    severities: Mapping[str, str | None] = field(default_factory=dict)
    subjects: Mapping[str, str] = field(default_factory=dict)
    namespaces: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[CanonicalField, ...] = ()
    type_pattern: str = r"[A-Z][A-Za-z0-9]*"
    field_pattern: str = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"
    symbol_pattern: str = r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*"
