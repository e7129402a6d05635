"""Which registered subjects come from tables, and from which: by the names that Debezium gives its schemas.

A routed topic keeps them: the subject's own name decides nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from bot.checks.ddl.debezium import Connector
from bot.checks.run import Registered

_KINDS = ("Value", "Envelope", "Key")


def connect_name(document: Mapping[str, Any]) -> str:
    """Return Connect's name of the record, Avro's where the converter leaves Connect's out."""
    name, namespace = document.get("name", ""), document.get("namespace", "")
    return str(document.get("connect.name") or (f"{namespace}.{name}" if namespace else name))


def kind_of(document: Mapping[str, Any]) -> str:
    return connect_name(document).rpartition(".")[2]


def table_of(document: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return (topic.prefix, schema, table) of a schema that Debezium registered, None for all others."""
    parts = connect_name(document).split(".")
    if len(parts) < 4 or parts[-1] not in _KINDS:
        return None
    return ".".join(parts[:-3]), parts[-3], parts[-2]


def uncovered(
    subjects: Iterable[Registered], covered: Collection[str], connectors: Sequence[Connector] = ()
) -> tuple[str, ...]:
    """Return a note a connector on the registered subjects that it feeds and that neither a file nor `--ddl` covers."""
    by_prefix: dict[str, list[str]] = {}
    for subject in subjects:
        document = document_of(subject) if subject.subject not in covered else None
        found = table_of(document) if document is not None else None
        if found is not None:
            by_prefix.setdefault(found[0], []).append(subject.subject)
    notes = []
    for prefix, names in sorted(by_prefix.items()):
        connector = next((one.name for one in connectors if adjusted(one.prefix) == adjusted(prefix)), None)
        shown = ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        by = f"connector {connector}" if connector else f"a Debezium connector (topic.prefix {prefix})"
        notes.append(f"registered by {by}, not covered by this check: {shown}; give its migrations with --ddl")
    return tuple(notes)


def document_of(subject: Registered) -> Mapping[str, Any] | None:
    """The newest version's JSON; None for what is no Avro record."""
    if not subject.versions or subject.versions[-1].schema_type != "AVRO":
        return None
    try:
        document = json.loads(subject.versions[-1].text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and isinstance(document.get("fields"), list) else None


def adjusted(name: str) -> str:
    """A name as Debezium writes it into Avro where the database allows more letters than Avro."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)
