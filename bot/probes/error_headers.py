"""The error headers of dead letters: Kafka Connect's, Kafka Streams' and Spring's.

Each writer *adds* its headers, so a record that was sent through again and failed again carries several sets.
The last set tells the present trouble; the number of sets is the number of attempts.

Sources: Connect `DeadLetterQueueReporter`, Streams `ExceptionHandlerUtils` (KIP-1034): UTF-8 text, numbers in decimal;
Spring `KafkaHeaders` and `DeadLetterRecordManager`: partition a 4-byte, offset an 8-byte big-endian integer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CONNECT = "__connect.errors."
STREAMS = "__streams.errors."
SPRING = "kafka_dlt-"

_TEXT_FIELDS = {
    CONNECT: {
        "topic": "topic",
        "partition": "partition",
        "offset": "offset",
        "connector.name": "writer",
        "task.id": "task",
        "stage": "stage",
        "class.name": "class",
        "exception.class.name": "exception",
        "exception.message": "message",
        "exception.stacktrace": "stacktrace",
    },
    STREAMS: {
        "topic": "topic",
        "partition": "partition",
        "offset": "offset",
        "exception": "exception",
        "message": "message",
        "stacktrace": "stacktrace",
    },
    SPRING: {
        "original-topic": "topic",
        "original-partition": "partition",
        "original-offset": "offset",
        "original-consumer-group": "writer",
        "exception-fqcn": "exception",
        "exception-cause-fqcn": "cause",
        "exception-message": "message",
        "exception-stacktrace": "stacktrace",
    },
}
_FAMILIES = tuple(_TEXT_FIELDS)


@dataclass(frozen=True)
class ErrorHeaders:
    """The last set of a record's error headers. `attempts` counts the sets. None is "not in the headers".

    `exception` is the class that tells most: for Spring the cause inside its own wrapper.
    """

    attempts: int
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    stage: str | None = None
    exception: str | None = None
    message: str | None = None
    writer: str | None = None


def read_error_headers(headers: Iterable[tuple[str, bytes | None]]) -> ErrorHeaders | None:
    """Return the last set, or None when the record carries no error headers.

    A new set begins where a name repeats or another writer's headers begin.
    """
    sets = 0
    family, current = "", dict[str, bytes | None]()
    for name, value in headers:
        of = next((prefix for prefix in _FAMILIES if name.startswith(prefix)), None)
        known = _TEXT_FIELDS[of].get(name.removeprefix(of)) if of else None
        if of is None or known is None:
            continue
        if of != family or known in current:
            sets, family, current = sets + 1, of, {}
        current[known] = value
    if not sets:
        return None
    return ErrorHeaders(
        attempts=sets,
        topic=_text(current.get("topic")),
        partition=_number(current.get("partition"), family, 4),
        offset=_number(current.get("offset"), family, 8),
        stage=_text(current.get("stage")),
        exception=_text(current.get("cause")) or _text(current.get("exception")),
        message=_text(current.get("message")),
        writer=_text(current.get("writer")),
    )


def _text(value: bytes | None) -> str | None:
    return value.decode("utf-8", "replace") if value else None


def _number(value: bytes | None, family: str, width: int) -> int | None:
    """Spring's width is fixed, so its bytes are never mistaken for digits."""
    if value is None:
        return None
    if family == SPRING:
        return int.from_bytes(value, "big", signed=True) if len(value) == width else None
    return int(value) if value.isdigit() else None
