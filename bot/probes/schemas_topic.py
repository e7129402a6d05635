"""The registry's own topic: when a version was registered or deleted, when a level or a mode was changed.

Confluent's and Karapace's registries keep everything in one compacted topic of one partition. The record of a version
is written when the version is registered: its timestamp is the time of the registration. Their orders of keys differ
(karapace#347): keys are parsed as JSON, never compared as bytes.

    {"keytype":"SCHEMA","subject":"customers-value","version":2,"magic":1}
    {"subject":"customers-value","version":2,"id":7,"schema":"...","deleted":false}
    {"keytype":"CONFIG","subject":null,"magic":0}                   {"compatibilityLevel":"NONE"}
    {"keytype":"MODE","subject":"customers-value","magic":0}        {"mode":"READONLY"}
    {"keytype":"DELETE_SUBJECT","subject":"s","magic":0}            {"subject":"s","version":2}

A soft delete writes the record again with `deleted: true`, at the time of the deletion: it dates that, and no
registration. A tombstone is a hard delete, or a level or mode that was reset. Compaction keeps only the last level and
mode of a subject: what it was before may be gone. NOOP and whatever a newer registry adds are left alone.
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


REGISTERED = "registered"
DELETED = "deleted"
ERASED = "erased"
SUBJECT_DELETED = "subject deleted"
LEVEL = "compatibility"
MODE = "mode"

INHERITED = "inherited"
"""The value of a level or mode that was reset: the global one is in force, or for the global one the default."""

_SETTINGS = {"CONFIG": (LEVEL, "compatibilityLevel"), "MODE": (MODE, "mode")}


@dataclass(frozen=True)
class RegistryChange:
    """One change to the registry. `kind` is one of the words above.

    `subject` None is the global level or mode. `before` None is "not known". A deleted subject has its last version.
    """

    at: datetime
    kind: str
    subject: str | None
    version: int | None = None
    schema_id: int | None = None
    before: str | None = None
    after: str | None = None


def changes_on(records: Iterable[Record]) -> tuple[RegistryChange, ...]:
    """Return what the records tell, in the order they were written; a level written again unchanged is no change."""
    settings: dict[tuple[str, str | None], str] = {}
    alive: set[tuple[str, int]] = set()
    found: list[RegistryChange] = []
    for record in sorted(records, key=lambda record: record.offset):
        key, value = _document(record.key), _document(record.value)
        kind, subject = key.get("keytype"), key.get("subject")
        if record.at is None or not (isinstance(subject, str) or (subject is None and kind in _SETTINGS)):
            continue
        if record.value and not value:
            continue  # no JSON object: nothing that a registry wrote
        if kind in _SETTINGS:
            word, name = _SETTINGS[kind]
            after = value.get(name) if value else INHERITED
            before = settings.get((kind, subject))
            if not isinstance(after, str) or after == before:
                continue
            settings[kind, subject] = after
            found.append(RegistryChange(record.at, word, subject, before=before, after=after))
        elif kind == "DELETE_SUBJECT":
            last = value.get("version")
            found.append(RegistryChange(record.at, SUBJECT_DELETED, subject, last if isinstance(last, int) else None))
        elif kind == "SCHEMA" and isinstance(version := key.get("version"), int):
            pair = (str(subject), version)
            word = ERASED if not value else DELETED if value.get("deleted") is True else REGISTERED
            schema_id = value.get("id")
            if word == REGISTERED and pair in alive:
                continue
            (alive.add if word == REGISTERED else alive.discard)(pair)
            found.append(
                RegistryChange(record.at, word, subject, version, schema_id if isinstance(schema_id, int) else None)
            )
    return tuple(found)


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
