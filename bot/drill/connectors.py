"""The two connectors of the drill: what their tasks do with records.

The source turns the database's log into Avro records on a topic and registers the schema
on the way; the sink turns the topic into rows of the lake and dead-letters what it cannot
read (`errors.tolerance=all`). Both keep their place: a failed task restarted after the
repair goes on where it stopped, and loses nothing. A failure raises TaskFailed with the
trace a real worker shows.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol

import requests
from confluent_kafka import Consumer, Message, Producer

from bot.drill.avro_wire import Undecodable, decode, encode, key_schema, schema_id_of, value_schema
from bot.drill.database import Change, Database
from bot.drill.kafka import MockBrokers, commit

SOURCE, SINK = "customers-postgres-source", "customers-iceberg-sink"
BATCH = 1000
_SR_TYPE = "application/vnd.schemaregistry.v1+json"


class TaskFailed(Exception):
    """A task cannot go on; `trace` is what the status endpoint shows."""

    def __init__(self, trace: str) -> None:
        super().__init__(trace.splitlines()[0])
        self.trace = trace


class Task(Protocol):
    """The work of one task: `open`, then `step` until told to end, then `close`."""

    def open(self) -> None:
        """Find the place to go on from."""

    def step(self) -> None:
        """Move some records, waiting a little when there are none; raises TaskFailed."""

    def close(self) -> None:
        """Let go of clients."""

    def offsets(self) -> list[dict[str, Any]]:
        """The place, as GET /connectors/NAME/offsets shows it."""


class SourceTask:
    """Debezium in small: log -> schema -> registry -> topic, in order, nothing skipped."""

    def __init__(self, database: Database, brokers: MockBrokers, registry_url: str, topic: str) -> None:
        self._database = database
        self._registry_url = registry_url
        self._topic = topic
        self._producer: Producer = brokers.producer()
        self._lsn = 0
        self._ids: dict[tuple[str, str], int] = {}
        self._http = requests.Session()
        self._idle = threading.Event()

    def open(self) -> None:
        """Forget cached ids, as a new task's converter has none."""
        self._ids.clear()

    def step(self) -> None:
        """Send the next changes; the place moves only past what the brokers acknowledged."""
        changes = self._database.log_from(self._lsn, BATCH)
        if not changes:
            self._idle.wait(0.05)
            return
        sent = 0
        try:
            for change in changes:
                self._send(change)
                sent += 1
        finally:
            if self._producer.flush(10) == 0:
                self._lsn += sent

    def close(self) -> None:
        """Send what is left."""
        self._producer.flush(5)

    def offsets(self) -> list[dict[str, Any]]:
        """The log position."""
        return [{"partition": {"server": "shop"}, "offset": {"lsn": self._lsn, "lsn_commit": self._lsn}}]

    def _send(self, change: Change) -> None:
        of_key = key_schema(self._database.table)
        of_value = value_schema(self._database.table, change.columns)
        key = encode(of_key, self._registered(f"{self._topic}-key", of_key), {"id": change.values["id"]})
        value = encode(of_value, self._registered(f"{self._topic}-value", of_value), dict(change.values))
        self._producer.produce(self._topic, key=key, value=value)
        self._producer.poll(0)

    def _registered(self, subject: str, schema: str) -> int:
        known = self._ids.get((subject, schema))
        if known is not None:
            return known
        try:
            answer = self._http.post(
                f"{self._registry_url}/subjects/{subject}/versions",
                json={"schema": schema},
                headers={"Accept": _SR_TYPE},
                timeout=5,
            )
        except requests.RequestException as error:
            raise TaskFailed(_source_trace(self._topic, schema, "java.net.ConnectException: Connection refused")) from (
                error
            )
        if answer.status_code != 200:
            raise TaskFailed(_source_trace(self._topic, schema, _rest_exception(answer)))
        schema_id = int(answer.json()["id"])
        self._ids[subject, schema] = schema_id
        return schema_id


class SinkTask:
    """A sink in small: topic -> rows of the lake; undecodable records -> the dead letter queue."""

    def __init__(
        self, brokers: MockBrokers, registry_url: str, lake_url: str, *, topic: str, dlq: str, connector: str = SINK
    ) -> None:
        self._brokers = brokers
        self._registry_url = registry_url
        self._lake_url = lake_url
        self._topic, self._dlq, self._connector = topic, dlq, connector
        self.group = f"connect-{connector}"
        self._producer: Producer = brokers.producer()
        self._consumer: Consumer | None = None
        self._schemas: dict[int, str] = {}
        self._http = requests.Session()
        self._committed: dict[int, int] = {}

    def open(self) -> None:
        """Read on from the group's committed offsets."""
        self.close()
        self._schemas.clear()
        self._consumer = self._brokers.reader(self.group, self._topic)

    def step(self) -> None:
        """Put one batch, then commit; nothing is committed that the lake did not take.

        As in Connect, a dead-lettered record moves the offset only when a good one follows it.
        """
        if self._consumer is None:
            raise RuntimeError("a sink task stepped before it was opened")
        rows: list[dict[str, Any]] = []
        places: dict[int, int] = {}
        for record in self._consumer.consume(BATCH, timeout=0.15):
            if record.error():
                continue
            row = self._row(record)
            if row is not None:
                rows.append(row)
                places[record.partition() or 0] = (record.offset() or 0) + 1
        self._producer.flush(5)
        if rows:
            self._put(rows)
            if commit(self._consumer, self._topic, places):
                self._committed.update(places)

    def close(self) -> None:
        """Close the consumer."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def offsets(self) -> list[dict[str, Any]]:
        """Committed offsets per partition."""
        return [
            {"partition": {"kafka_topic": self._topic, "kafka_partition": partition}, "offset": {"kafka_offset": at}}
            for partition, at in sorted(self._committed.items())
        ]

    def _row(self, record: Message) -> dict[str, Any] | None:
        payload = record.value()
        if not isinstance(payload, bytes):
            return None
        try:
            return decode(self._schema(schema_id_of(payload)), payload)
        except Undecodable as error:
            self._dead_letter(record, str(error))
            return None

    def _schema(self, schema_id: int) -> str:
        if schema_id not in self._schemas:
            unknown = f"Error retrieving Avro value schema for id {schema_id}"
            try:
                answer = self._http.get(f"{self._registry_url}/schemas/ids/{schema_id}", timeout=5)
            except requests.RequestException as error:
                raise Undecodable(unknown) from error
            if answer.status_code != 200:
                raise Undecodable(unknown)
            self._schemas[schema_id] = str(answer.json()["schema"])
        return self._schemas[schema_id]

    def _dead_letter(self, record: Message, cause: str) -> None:
        before = record.headers()
        own = list(before.items()) if isinstance(before, dict) else list(before or [])
        context = _dead_letter_headers(
            topic=self._topic,
            partition=record.partition() or 0,
            offset=record.offset() or 0,
            connector=self._connector,
            cause=cause,
        )
        key, value = record.key(), record.value()
        self._producer.produce(
            self._dlq,
            key=key if isinstance(key, bytes) else None,
            value=value if isinstance(value, bytes) else None,
            headers=[*own, *((name, text.encode()) for name, text in context.items())],
            timestamp=record.timestamp()[1],
        )

    def _put(self, rows: list[dict[str, Any]]) -> None:
        try:
            answer = self._http.post(f"{self._lake_url}/rows", json={"rows": rows}, timeout=5)
        except requests.RequestException as error:
            raise TaskFailed(_sink_trace("Connection refused")) from error
        if answer.status_code != 200:
            raise TaskFailed(_sink_trace(f"Service Unavailable: HTTP {answer.status_code} from the catalog"))


def _rest_exception(answer: requests.Response) -> str:
    """Confluent's RestClientException for a registry answer."""
    name = "io.confluent.kafka.schemaregistry.client.rest.exceptions.RestClientException"
    try:
        document = answer.json()
        return f"{name}: {document['message']}; error code: {document['error_code']}"
    except (ValueError, KeyError, TypeError):
        return f"{name}: Unexpected error; error code: {answer.status_code * 100}"


def _source_trace(topic: str, schema: str, cause: str) -> str:
    return "\n".join(
        (
            "org.apache.kafka.connect.errors.ConnectException: Tolerance exceeded in error handler",
            "\tat org.apache.kafka.connect.runtime.errors.RetryWithToleranceOperator.execAndHandleError"
            "(RetryWithToleranceOperator.java:260)",
            "\tat org.apache.kafka.connect.runtime.errors.RetryWithToleranceOperator.execute"
            "(RetryWithToleranceOperator.java:180)",
            "\tat org.apache.kafka.connect.runtime.AbstractWorkerSourceTask.convertTransformedRecord"
            "(AbstractWorkerSourceTask.java:494)",
            "\tat org.apache.kafka.connect.runtime.AbstractWorkerSourceTask.sendRecords"
            "(AbstractWorkerSourceTask.java:402)",
            "\tat org.apache.kafka.connect.runtime.WorkerTask.run(WorkerTask.java:281)",
            "\tat java.base/java.lang.Thread.run(Thread.java:840)",
            f"Caused by: org.apache.kafka.connect.errors.DataException: Failed to serialize Avro data from topic "
            f"{topic} :",
            "\tat io.confluent.connect.avro.AvroConverter.fromConnectData(AvroConverter.java:107)",
            "\t... 9 more",
            f"Caused by: org.apache.kafka.common.errors.SerializationException: Error registering Avro schema{schema}",
            "\tat io.confluent.kafka.serializers.AbstractKafkaAvroSerializer.serializeImpl"
            "(AbstractKafkaAvroSerializer.java:174)",
            "\t... 11 more",
            f"Caused by: {cause}",
            "\tat io.confluent.kafka.schemaregistry.client.rest.RestService.sendHttpRequest(RestService.java:336)",
            "\t... 20 more",
        )
    )


def _sink_trace(cause: str) -> str:
    return "\n".join(
        (
            "org.apache.kafka.connect.errors.ConnectException: Exiting WorkerSinkTask due to unrecoverable exception.",
            "\tat org.apache.kafka.connect.runtime.WorkerSinkTask.deliverMessages(WorkerSinkTask.java:635)",
            "\tat org.apache.kafka.connect.runtime.WorkerSinkTask.poll(WorkerSinkTask.java:344)",
            "\tat org.apache.kafka.connect.runtime.WorkerTask.run(WorkerTask.java:281)",
            "\tat java.base/java.lang.Thread.run(Thread.java:840)",
            f"Caused by: org.apache.iceberg.exceptions.ServiceFailureException: {cause}",
            "\tat org.apache.iceberg.rest.ErrorHandlers$DefaultErrorHandler.accept(ErrorHandlers.java:225)",
            "\t... 10 more",
        )
    )


def _dead_letter_headers(*, topic: str, partition: int, offset: int, connector: str, cause: str) -> Mapping[str, str]:
    """Connect's ten context headers (DeadLetterQueueReporter.java), all text."""
    message = f"Failed to deserialize data for topic {topic} to Avro: "
    exception = "org.apache.kafka.connect.errors.DataException"
    trace = "\n".join(
        (
            f"{exception}: {message}",
            "\tat io.confluent.connect.avro.AvroConverter.toConnectData(AvroConverter.java:148)",
            f"Caused by: org.apache.kafka.common.errors.SerializationException: {cause}",
        )
    )
    prefix = "__connect.errors."
    return {
        f"{prefix}topic": topic,
        f"{prefix}partition": str(partition),
        f"{prefix}offset": str(offset),
        f"{prefix}connector.name": connector,
        f"{prefix}task.id": "0",
        f"{prefix}stage": "VALUE_CONVERTER",
        f"{prefix}class.name": "io.confluent.connect.avro.AvroConverter",
        f"{prefix}exception.class.name": exception,
        f"{prefix}exception.message": message,
        f"{prefix}exception.stacktrace": trace,
    }
