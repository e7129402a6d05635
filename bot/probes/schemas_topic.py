"""The registry's own topic: when a schema version was registered, for registries that do not say.

Confluent's and Karapace's registries keep everything in one compacted topic of one partition. The record of a version
is written when the version is registered: its timestamp is the time of the registration. Their orders of keys differ
(karapace#347): keys are parsed as JSON, never compared as bytes.

    {"keytype":"SCHEMA","subject":"customers-value","version":2,"magic":1}
    {"subject":"customers-value","version":2,"id":7,"schema":"...","deleted":false}

A soft delete writes the record again with `deleted: true`, at the time of the deletion: such a record tells nothing.
NOOP, CONFIG, MODE, DELETE_SUBJECT and whatever a newer registry adds are left alone, and so are tombstones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.ports import Record, SchemaVersion

TOPIC = "_schemas"

# A registry writes one record per version and some NOOPs when it starts: a day's changes are well within.
TAIL_RECORDS = 1_000


@dataclass(frozen=True)
class Registration:
    """One version as the topic has it; `schema_id` None is "the record does not say"."""

    schema_id: int | None
    at: datetime


def registrations(records: Iterable[Record]) -> dict[tuple[str, int], Registration]:
    """Return the registrations by (subject, version); of a version written twice the later record counts."""
    found: dict[tuple[str, int], Registration] = {}
    for record in sorted(records, key=lambda record: record.offset):
        key, value = _document(record.key), _document(record.value)
        if key.get("keytype") != "SCHEMA" or not value or value.get("deleted") is True or record.at is None:
            continue
        subject, version, schema_id = key.get("subject"), key.get("version"), value.get("id")
        if isinstance(subject, str) and isinstance(version, int):
            found[(subject, version)] = Registration(schema_id if isinstance(schema_id, int) else None, record.at)
    return found


def registered_at(version: SchemaVersion, found: Mapping[tuple[str, int], Registration]) -> datetime | None:
    """Return when the version was registered, None when the topic does not tell.

    A record with another id is of another registry, whose topic was left on this Kafka.
    """
    registration = found.get((version.subject, version.version))
    if registration is None or registration.schema_id != version.schema_id:
        return None
    return registration.at


def _document(text: bytes | None) -> dict[str, Any]:
    """Return the JSON object, an empty one for anything else."""
    try:
        document = json.loads(text or b"null")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
