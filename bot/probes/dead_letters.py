"""What is in the dead letter queue, and why?

The newest records are sampled from the tail (nothing joined, nothing committed), grouped by what went wrong, and
shown masked: keys as hashes, values as field names and types, messages without numbers and quoted values. The facts
are the document of `cdc dlq --json` (contract.md) with `sampled`, `end_total` and `processed_total` beside it;
`end_total` grows by one per dead letter, `processed_total` per record the sink got past.

Times are the records' own. A DLQ without LogAppendTime keeps the time of the original record.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException

from bot.model import Finding, Pipeline, Signal, Status, counted
from bot.ports import Kafka, PortError, Record, SchemaRegistry, TailSample
from bot.probes.error_headers import ErrorHeaders, read_error_headers
from bot.probes.sources import Sources, rfc3339, unseen
from bot.redact import normalise

PROBE = "dead_letters"

SAMPLE_RECORDS = 200
MAX_GROUPS = 20
MAX_SCHEMAS = 5
MAX_FIELDS = 30

EMPTY = "EMPTY"
PRESENT = "PRESENT"

_MASKABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
# What fastavro raises on bytes that are not what the schema says; found by decoding random bytes.
_UNDECODABLE = (
    EOFError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    ArithmeticError,
    MemoryError,
    struct.error,
    SchemaParseException,
)


@dataclass(frozen=True)
class DeadLetterFacts:
    """`schemas` are schema texts by id; `processed_total` is what the sink's group has committed, summed."""

    topic: str
    sample: TailSample | None = None
    schemas: Mapping[int, str] = field(default_factory=dict)
    processed_total: int | None = None
    error: PortError | None = None
    not_known: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Letter:
    record: Record
    error: ErrorHeaders | None
    schema_id: int | None
    message: str | None


def gather(
    kafka: Kafka,
    registry: SchemaRegistry | None,
    topic: str,
    deadline_s: float,
    sink: tuple[str, Sequence[str]] | None = None,
) -> DeadLetterFacts:
    """Sample the tail, fetch the schemas its values name, and read how far the sink's (group, topics) came."""
    try:
        sample = kafka.sample_tail(topic, SAMPLE_RECORDS, deadline_s * 0.6)
    except PortError as error:
        return DeadLetterFacts(topic, error=error)
    not_known = list(sample.not_known)
    processed_total = None
    if sink is not None:
        try:
            read = kafka.read_group(sink[0], sink[1], deadline_s * 0.2)
            committed = [p.committed for p in read.partitions if p.committed is not None or not p.committed_known]
            known = [offset for offset in committed if offset is not None]
            processed_total = sum(known) if known and len(known) == len(committed) else None
            if read.not_known and processed_total is None:
                not_known.append(f"records processed by {sink[0]}: {'; '.join(read.not_known)}")
        except PortError as error:
            not_known.append(f"records processed by {sink[0]}: {error}")
    schemas: dict[int, str] = {}
    wanted = dict.fromkeys(found for record in reversed(sample.records) if (found := _schema_id(record)) is not None)
    if registry is not None:
        for schema_id in list(wanted)[:MAX_SCHEMAS]:
            try:
                schemas[schema_id] = registry.read_schema(schema_id, deadline_s * 0.2 / min(MAX_SCHEMAS, len(wanted)))
            except PortError as error:
                not_known.append(f"schema {schema_id}: {error}")
    return DeadLetterFacts(topic, sample, schemas, processed_total, not_known=tuple(not_known))


def judge(facts: DeadLetterFacts, now: datetime) -> Finding:
    """Return yellow when there are dead letters, green for a DLQ seen empty, unknown when it could not be seen.

    Red is not given: whether the rate breaks the objective needs a day of counts, which the alert rule has.
    """
    if facts.sample is None:
        nothing: dict[str, Any] = {
            "topic": facts.topic,
            "records": None,
            "groups": [],
            "end_total": None,
            "processed_total": None,
        }
        return unseen(PROBE, facts.topic, Signal.DEAD_LETTERS, now, facts.error, nothing, "Kafka")
    sample, records = facts.sample, facts.sample.offsets.records
    letters = [_letter(record) for record in sample.records]
    groups = _groups(letters, facts.schemas)
    bare = sum(letter.error is None for letter in letters)
    not_known = list(dict.fromkeys((*sample.offsets.not_known, *facts.not_known)))
    if bare:
        not_known.append(
            f"why {bare} of {counted(len(letters), 'record')} failed: they carry no error headers "
            "(Connect writes them with errors.deadletterqueue.context.headers.enable=true)"
        )
    if records is not None and records > len(letters):
        not_known.append(f"groups are of the newest {len(letters):,} of {records:,} records")
    document: dict[str, Any] = {
        "topic": facts.topic,
        "records": records,
        "sampled": len(letters),
        "groups": groups,
        "not_known": not_known,
        "end_total": sample.offsets.end_total,
        "processed_total": facts.processed_total,
    }
    verdict, status = _verdict(records, letters)
    return Finding(
        probe=PROBE,
        target=facts.topic,
        verdict=verdict,
        status=status,
        headline=_headline(records, groups),
        at=now,
        signal=Signal.DEAD_LETTERS,
        facts=document,
        evidence=tuple(_line(group) for group in groups[:3]),
        not_known=tuple(not_known),
    )


def dead_letters_of(
    sources: Sources,
    topic: str,
    now: Callable[[], datetime],
    sink: tuple[str, Sequence[str]] | None = None,
) -> Finding:
    """Return the finding of one DLQ topic; `sink` is the group, and its topics, whose progress is told beside it."""
    facts = (
        DeadLetterFacts(topic)
        if sources.kafka is None
        else gather(sources.kafka, sources.registry, topic, sources.deadline_s, sink)
    )
    return judge(facts, now())


def probe(sources: Sources, pipeline: Pipeline, now: Callable[[], datetime]) -> tuple[Finding, ...]:
    """Return the finding of the pipeline's DLQ, or none where it has no DLQ."""
    if pipeline.sink is None or pipeline.dlq is None:
        return ()
    return (dead_letters_of(sources, pipeline.dlq, now, (pipeline.sink.consumer_group, pipeline.topics)),)


def _verdict(records: int | None, letters: Sequence[_Letter]) -> tuple[str, Status]:
    if letters or records:
        return PRESENT, Status.YELLOW
    return (EMPTY, Status.GREEN) if records == 0 else ("UNKNOWN", Status.UNKNOWN)


def _headline(records: int | None, groups: Sequence[Mapping[str, Any]]) -> str:
    if records == 0:
        return "no dead letters"
    count = "dead letters, count not known" if records is None else counted(records, "dead letter")
    if not groups:
        return count
    return f"{count}; most: {_what(groups[0])}"


def _line(group: Mapping[str, Any]) -> str:
    return f"{group['count']} x {_what(group)} (topic {group['topic'] or 'not known'}, last {group['last_at'] or '?'})"


def _what(group: Mapping[str, Any]) -> str:
    exception = (group["exception"] or "no error headers").rpartition(".")[2]
    words = f"{exception}: {group['message']}" if group["message"] else exception
    return f"{group['stage']}: {words}" if group["stage"] else words


def _letter(record: Record) -> _Letter:
    error = read_error_headers(record.headers)
    message = normalise(error.message) if error and error.message else None
    return _Letter(record, error, _schema_id(record), message)


def _schema_id(record: Record) -> int | None:
    """Return the schema id of the Confluent wire format (byte 0 is 0, then 4 bytes big endian) of what failed."""
    error = read_error_headers(record.headers)
    wire = record.key if error and error.stage == "KEY_CONVERTER" else record.value
    if wire is None or len(wire) < 5 or wire[0] != 0:
        return None
    return int.from_bytes(wire[1:5], "big")


def _groups(letters: Sequence[_Letter], schemas: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return the groups, largest first; the example is the newest record of each."""
    by_cause: dict[tuple[str | None, str | None, str | None, str | None, int | None], list[_Letter]] = {}
    for letter in letters:
        error = letter.error or ErrorHeaders(0)
        cause = (error.stage, error.exception, letter.message, error.topic, letter.schema_id)
        by_cause.setdefault(cause, []).append(letter)
    groups: list[dict[str, Any]] = []
    for (stage, exception, message, topic, schema_id), members in by_cause.items():
        times = [letter.record.at for letter in members if letter.record.at is not None]
        groups.append(
            {
                "stage": stage,
                "exception": exception,
                "message": message,
                "topic": topic,
                "schema_id": schema_id,
                "count": len(members),
                "first_at": rfc3339(min(times)) if times else None,
                "last_at": rfc3339(max(times)) if times else None,
                "example": _example(members[-1], schemas),
            }
        )
    groups.sort(key=lambda group: (-group["count"], group["last_at"] or ""))
    return groups[:MAX_GROUPS]


def _example(letter: _Letter, schemas: Mapping[int, str]) -> dict[str, Any]:
    """Return a record masked: where it is, a hash of its key, and the names and types of its value's fields."""
    record, error = letter.record, letter.error
    return {
        "partition": record.partition,
        "offset": record.offset,
        "original_partition": error.partition if error else None,
        "original_offset": error.offset if error else None,
        "attempts": error.attempts if error else None,
        "key": None if record.key is None else f"sha256:{hashlib.sha256(record.key).hexdigest()[:12]}",
        "value": mask(record.value, schemas),
    }


def mask(value: bytes | None, schemas: Mapping[int, str]) -> Any:
    """Return field names and types of a value; never a value. What cannot be read is "undecodable, N bytes"."""
    if value is None:
        return "tombstone"
    undecodable = f"undecodable, {len(value):,} bytes"
    if value[:1] == b"\0" and len(value) >= 5:
        schema = schemas.get(int.from_bytes(value[1:5], "big"))
        return undecodable if schema is None else _decoded(value[5:], schema, undecodable)
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return undecodable
    return _shape(document, 0)


def _decoded(payload: bytes, schema: str, undecodable: str) -> Any:
    """Decode Avro; bytes left over mean that it is not what the schema says."""
    stream = io.BytesIO(payload)
    try:
        parsed = fastavro.parse_schema(json.loads(schema))
        decoded = fastavro.schemaless_reader(stream, parsed, None)
    except _UNDECODABLE:
        return undecodable
    return undecodable if stream.read(1) else _shape(decoded, 0)


def _shape(value: Any, depth: int) -> Any:
    """Return names and types. Names that do not look like field names are hidden: a map's keys can be data."""
    if isinstance(value, Mapping):
        if depth > 3:
            return "record"
        shape = {name: _shape(inner, depth + 1) for name, inner in value.items() if _MASKABLE_NAME.match(str(name))}
        hidden = len(value) - len(shape)
        shown = dict(list(shape.items())[:MAX_FIELDS])
        hidden += len(shape) - len(shown)
        return {**shown, "...": f"{hidden} more"} if hidden else shown
    if isinstance(value, list | tuple):
        return [_shape(value[0], depth + 1)] if value else "array"
    words = ((bool, "boolean"), (int, "long"), (float, "double"), (str, "string"), (bytes, "bytes"))
    if value is None:
        return "null"
    return next((word for kind, word in words if isinstance(value, kind)), type(value).__name__)
