"""A whole real CDC pipeline, and the small verbs that break and repair it through each part's own API.

    customers (database shop) -> Debezium PostgreSQL source -> topic -> Debezium JDBC sink -> customers (database lake)
                                        | Avro, BACKWARD                 | what it cannot read
                                        v                                v
                                    registry                         dlq.customers

Several pipelines share one cluster: everything is named after `prefix` (`walk1` gives database `walk1_shop`, topic
`walk1_shop.public.customers`, connector `walk1-customers-source`, ...), so each test may break one of its own.

Promises
    Every verb returns when the part has taken the change, every `wait_for_...` when the effect is seen; none sleeps
    for a fixed time, all have deadlines.
    Reading creates nothing and commits nothing: no topic, no group, no offset.

This module knows nothing of the bot but what a user would write: its `cdc.yml` and the two monitoring configurations.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import psycopg
import requests
import yaml
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from tests.system.parts import Cluster, wait_until

CONNECT_STATUS_TOPIC = "connect-status"
POISON_VALUE = b'{"id": 13, "name": "not Avro at all"}'

# What `insert` writes into each column it may find; `g` is the id.
COLUMN_VALUES: Mapping[str, str] = {
    "id": "g",
    "name": "'Customer ' || g",
    "email": "'customer' || g || '@example.com'",
    "credit_limit": "g * 100",
    "tier": "'gold'",
}

UNWRAP: Mapping[str, str] = {
    "transforms": "unwrap",
    "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
    "transforms.unwrap.delete.tombstone.handling.mode": "tombstone",
}


@dataclass(frozen=True)
class Record:
    """One record of a topic, as it lies there."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class Pipeline:
    """One pipeline on a cluster. `create()` sets it up and waits for the first row to arrive.

    The source writes flat rows (Debezium's `ExtractNewRecordState`), so that the registry's refusal names the column.
    With `envelope=True` it writes Debezium's envelope, and the refusal names only a path: the row is a record inside a
    union, and all that Apicurio says is `reader union lacking writer type: RECORD at /fields/1/type/1`.
    """

    def __init__(self, cluster: Cluster, prefix: str = "", partitions: int = 2, envelope: bool = False) -> None:
        if not re.fullmatch(r"[a-z0-9]*", prefix):
            raise ValueError(f"prefix {prefix!r}: only a-z and 0-9, it becomes part of a replication slot's name")
        self.cluster = cluster
        self.partitions = partitions
        self.envelope = envelope
        dashed, underscored = (f"{prefix}-", f"{prefix}_") if prefix else ("", "")
        self.name = f"{dashed}customers"
        self.source_database = f"{underscored}shop"
        self.target_database = f"{underscored}lake"
        self.topic_prefix = f"{underscored}shop"
        self.topic = f"{self.topic_prefix}.public.customers"
        self.value_subject = f"{self.topic}-value"
        self.key_subject = f"{self.topic}-key"
        self.dlq = f"dlq.{dashed}customers"
        self.slot = f"{underscored}customers"
        self.source_connector = f"{dashed}customers-source"
        self.sink_connector = f"{dashed}customers-sink"
        self.group = f"connect-{self.sink_connector}"
        self._next_id = 1

    # Setting up and taking down

    def create(self) -> "Pipeline":
        """Create databases, topics and connectors; return once one row has arrived and the subject is BACKWARD."""
        with self.cluster.postgres.connect() as connection:
            connection.execute(f"create database {self.source_database}")
            connection.execute(f"create database {self.target_database}")
        self.in_source(
            "create table customers (id int primary key, name text not null, email text, credit_limit bigint)"
        )
        self.insert(1)
        self._create_topics()
        self._connect("PUT", f"/connectors/{self.source_connector}/config", self.source_config())
        self._connect("PUT", f"/connectors/{self.sink_connector}/config", self.sink_config())
        self.wait_for_rows(1, deadline_s=60)
        self.set_compatibility("BACKWARD")
        return self

    def remove(self) -> None:
        """Delete connectors, slot and databases. Topics and subjects stay: nothing reads them any more."""
        for connector in (self.source_connector, self.sink_connector):
            if self._status(connector):
                self._connect("DELETE", f"/connectors/{connector}")
        with self.cluster.postgres.connect() as connection:
            wait_until(lambda: not self._slot_is_active(connection), f"slot {self.slot} inactive")
            drop_slot = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s"
            connection.execute(drop_slot, [self.slot])
            connection.execute(f"drop database if exists {self.source_database} with (force)")
            connection.execute(f"drop database if exists {self.target_database} with (force)")

    def source_config(self) -> dict[str, str]:
        """Return the configuration of the Debezium PostgreSQL source connector."""
        return {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "tasks.max": "1",
            "database.hostname": "127.0.0.1",
            "database.port": str(self.cluster.postgres.port),
            "database.user": "postgres",
            "database.dbname": self.source_database,
            "topic.prefix": self.topic_prefix,
            "table.include.list": "public.customers",
            "plugin.name": "pgoutput",
            "slot.name": self.slot,
            "publication.name": self.slot,
            "publication.autocreate.mode": "filtered",
            "snapshot.mode": "initial",
            "poll.interval.ms": "50",
            "topic.creation.default.replication.factor": "1",
            "topic.creation.default.partitions": str(self.partitions),
            **({} if self.envelope else UNWRAP),
            **self._avro_converters(),
        }

    def sink_config(self) -> dict[str, str]:
        """Return the configuration of the Debezium JDBC sink connector, which dead-letters what it cannot read."""
        return {
            "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
            "tasks.max": "1",
            "topics": self.topic,
            "connection.url": f"jdbc:{self.cluster.postgres.url(self.target_database)}".replace("postgres@", ""),
            "connection.username": "postgres",
            "connection.password": "",
            "connection.pool.min_size": "1",
            "connection.pool.max_size": "2",
            "insert.mode": "upsert",
            "delete.enabled": "true",
            "primary.key.mode": "record_key",
            "primary.key.fields": "id",
            "schema.evolution": "basic",
            "collection.name.format": "customers",
            "errors.tolerance": "all",
            "errors.deadletterqueue.topic.name": self.dlq,
            "errors.deadletterqueue.topic.replication.factor": "1",
            "errors.deadletterqueue.context.headers.enable": "true",
            "errors.log.enable": "true",
            "errors.log.include.messages": "false",
            **self._avro_converters(),
        }

    def _avro_converters(self) -> dict[str, str]:
        converter = {
            "": "io.apicurio.registry.utils.converter.AvroConverter",
            ".apicurio.registry.url": self.cluster.registry.v2_url,
            ".apicurio.registry.as-confluent": "true",
            ".apicurio.registry.use-id": "contentId",  # Its default, globalId, is not the id of the Confluent API.
            ".apicurio.registry.headers.enabled": "false",
            ".apicurio.registry.auto-register": "true",
        }
        return {f"{side}.converter{key}": value for side in ("key", "value") for key, value in converter.items()}

    def _create_topics(self) -> None:
        admin = self.cluster.kafka.admin()
        created = admin.create_topics(
            [
                NewTopic(self.topic, num_partitions=self.partitions, replication_factor=1),
                NewTopic(self.dlq, 1, 1, config={"message.timestamp.type": "LogAppendTime"}),
            ]
        )
        for future in created.values():
            future.result(timeout=30)

    # The source database

    def insert(self, rows: int = 1) -> range:
        """Insert rows into the source table in one transaction and return their ids. Fills the columns it finds."""
        ids = range(self._next_id, self._next_id + rows)
        columns = self.in_source(
            "select column_name, data_type from information_schema.columns where table_name = 'customers' order by 1"
        )
        names = ", ".join(name for name, _ in columns)
        values = ", ".join(f"({COLUMN_VALUES[name]})::{data_type}" for name, data_type in columns)
        self.in_source(
            f"insert into customers ({names}) select {values} from generate_series({ids.start}, {ids.stop - 1}) g"
        )
        self._next_id = ids.stop
        return ids

    def add_column_without_default(self) -> None:
        """Make the curable incompatible change: from the next row on, `tier` is required and has no default."""
        self.in_source("alter table customers add column tier text not null default 'basic'")
        self.in_source("alter table customers alter column tier drop default")

    def set_default(self) -> None:
        """Cure `add_column_without_default`; the failed task still has to be restarted."""
        self.in_source("alter table customers alter column tier set default 'basic'")

    def change_type_to_text(self) -> None:
        """Make the change that no restart cures: the next row cannot be read as the registered long."""
        self.in_source("alter table customers alter column credit_limit type text")

    def rows_in_source(self) -> int:
        """Return the number of rows of the source table."""
        return int(self.in_source("select count(*) from customers")[0][0])

    def in_source(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement in the source database and return its rows, if it has any."""
        return self._in_database(self.source_database, statement)

    # The target database

    def rows_in_target(self) -> int:
        """Return the number of rows that have arrived; 0 while the sink has not created the table yet."""
        try:
            return int(self.in_target("select count(*) from customers")[0][0])
        except psycopg.errors.UndefinedTable:
            return 0

    def in_target(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement in the target database and return its rows, if it has any."""
        return self._in_database(self.target_database, statement)

    def wait_for_rows(self, rows: int, deadline_s: float = 30.0) -> None:
        """Wait until at least so many rows have arrived in the target table."""
        wait_until(
            lambda: self.rows_in_target() >= rows, f"{rows} rows in {self.target_database}.customers", deadline_s
        )

    def _in_database(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        with self.cluster.postgres.connect(database) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _slot_is_active(self, connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
        active = "select 1 from pg_replication_slots where slot_name = %s and active"
        return connection.execute(active, [self.slot]).fetchone() is not None

    # Connect

    def task_states(self, connector: str) -> dict[int, str]:
        """Return the state of each task as the API spells it; empty while Connect does not know the connector yet."""
        return {task["id"]: task["state"] for task in self._status(connector).get("tasks", [])}

    def task_trace(self, connector: str, task: int = 0) -> str:
        """Return the trace of a task, empty when it has none."""
        traces = {task["id"]: task.get("trace", "") for task in self._status(connector).get("tasks", [])}
        return str(traces.get(task, ""))

    def task_history(self, connector: str, task: int = 0) -> list[str]:
        """Return every state that Connect ever wrote down for a task, oldest first, from its own status topic.

        REST shows only the last one, and after a restart the old one for a while: FAILED, RUNNING, FAILED can pass
        between two questions. Here nothing is missed.
        """
        key = f"status-task-{connector}-{task}".encode()
        written = [record.value for record in self._read(CONNECT_STATUS_TOPIC) if record.key == key]
        return [json.loads(value)["state"] for value in written if value]

    def wait_for_tasks(self, connector: str, state: str, deadline_s: float = 30.0) -> None:
        """Wait until the connector has tasks and all of them are in one state."""
        wait_until(
            lambda: set(self.task_states(connector).values()) == {state}, f"tasks of {connector} {state}", deadline_s
        )

    def restart_failed_tasks(self, connector: str) -> None:
        """Restart what has failed of a connector, as `POST /restart?includeTasks=true&onlyFailed=true` does."""
        self._connect("POST", f"/connectors/{connector}/restart?includeTasks=true&onlyFailed=true")

    def stop_sink(self) -> None:
        """Stop the sink connector and wait until it has no task left: from now on its lag grows."""
        self._connect("PUT", f"/connectors/{self.sink_connector}/stop")
        wait_until(
            lambda: (
                self._status(self.sink_connector).get("connector", {}).get("state") == "STOPPED"
                and not self.task_states(self.sink_connector)
            ),
            f"{self.sink_connector} stopped",
        )

    def resume_sink(self) -> None:
        """Start the sink connector again and wait until its tasks run."""
        self._connect("PUT", f"/connectors/{self.sink_connector}/resume")
        self.wait_for_tasks(self.sink_connector, "RUNNING")

    def _status(self, connector: str) -> dict[str, Any]:
        """Return `GET /connectors/NAME/status`; empty for 404, which Connect says for a moment after creation."""
        answer = requests.get(f"{self.cluster.connect.url}/connectors/{connector}/status", timeout=10)
        return dict(answer.json()) if answer.status_code == 200 else {}

    def _connect(self, method: str, path: str, body: Mapping[str, str] | None = None) -> None:
        """Call Connect and raise with its own words. A 409 means that it is rebalancing: ask again."""

        def call() -> bool:
            answer = requests.request(method, f"{self.cluster.connect.url}{path}", json=body, timeout=30)
            if answer.status_code == 409:
                return False
            if not answer.ok:
                raise requests.HTTPError(f"{method} {path}: {answer.status_code} {answer.text}", response=answer)
            return True

        wait_until(call, f"Connect takes {method} {path}")

    # The registry

    def set_compatibility(self, level: str) -> None:
        """Set the value subject's own level. The subject must exist: Apicurio answers 404 for one that does not."""
        self.registry("PUT", f"/config/{self.value_subject}", {"compatibility": level})

    def registry(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call the registry's Confluent API and return its document; raises requests.HTTPError for a refusal."""
        answer = requests.request(method, f"{self.cluster.registry.ccompat_url}{path}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()

    # Kafka

    def produce_poison(self, records: int = 1) -> None:
        """Produce records that are not Avro, as a careless producer would: a good key, headers, a value in JSON."""
        key = self.newest_record().key
        producer = Producer({"bootstrap.servers": self.cluster.kafka.bootstrap, "allow.auto.create.topics": False})
        for number in range(records):
            producer.produce(
                self.topic,
                POISON_VALUE,
                key,
                partition=number % self.partitions,
                headers=[("producer", b"legacy-importer"), ("batch", str(number).encode())],
            )
        if producer.flush(30):
            raise TimeoutError(f"poison was not delivered to {self.topic} within 30 s")

    def newest_record(self) -> Record:
        """Return the newest record of the topic; raises LookupError when it has none."""
        records = self._read(self.topic)
        if not records:
            raise LookupError(f"{self.topic} has no record")
        return max(records, key=lambda record: (record.timestamp_ms, record.offset))

    def dead_letters(self) -> list[Record]:
        """Return every record of the dead letter topic, in order of partition and offset."""
        return self._read(self.dlq)

    def wait_for_dead_letters(self, records: int, deadline_s: float = 30.0) -> list[Record]:
        """Wait until the dead letter topic has at least so many records and return all."""
        return wait_until(
            lambda: letters if len(letters := self.dead_letters()) >= records else [],
            f"{records} records on {self.dlq}",
            deadline_s,
        )

    def lag(self) -> dict[int, int | None]:
        """Return the sink's lag in records per partition; None where it has never committed.

        Asked by a consumer: `list_consumer_group_offsets` kills the process when the group's coordinator moves.
        """
        admin = self.cluster.kafka.admin()
        partitions = [TopicPartition(self.topic, number) for number in range(self.partitions)]
        consumer = Consumer(
            {
                "bootstrap.servers": self.cluster.kafka.bootstrap,
                "group.id": self.group,
                "enable.auto.commit": False,
                "isolation.level": "read_uncommitted",
            }
        )
        try:
            committed = consumer.committed(partitions, timeout=10)
        finally:
            consumer.close()
        ends = {
            partition.partition: future.result(timeout=10).offset
            for partition, future in admin.list_offsets({p: OffsetSpec.latest() for p in partitions}).items()  # type: ignore[no-untyped-call]
        }
        return {p.partition: ends[p.partition] - p.offset if p.offset >= 0 else None for p in committed}

    def total_lag(self) -> int:
        """Return the sum over the partitions that have a committed offset."""
        return sum(lag for lag in self.lag().values() if lag is not None)

    def _read(self, topic: str) -> list[Record]:
        """Read a small topic from its beginning to its end, by assignment: no group is joined, nothing committed."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.cluster.kafka.bootstrap,
                "group.id": "unused-by-assignment",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
            }
        )
        try:
            metadata = consumer.list_topics(topic, timeout=10).topics[topic]
            unread = set(metadata.partitions)
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in unread])
            records = []
            while unread:
                message = consumer.poll(10)
                if message is None:
                    raise TimeoutError(f"{topic}: partitions {sorted(unread)} were not read to their end within 10 s")
                error = message.error()
                if error is None:
                    records.append(_record(message))
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                else:
                    raise RuntimeError(f"{topic}: {error}")
            return sorted(records, key=lambda record: (record.partition, record.offset))
        finally:
            consumer.close()


def _record(message: Message) -> Record:
    """Return a consumed message; the client's type stubs allow None where a consumed message has none."""
    return Record(
        partition=cast(int, message.partition()),
        offset=cast(int, message.offset()),
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=cast(list[tuple[str, bytes | None]], list(message.headers() or [])),
    )


# What a user writes for the bot and for its monitoring


def prometheus_config(bot_metrics_url: str, rules_file: Path, alertmanager_url: str) -> str:
    """Return a prometheus.yml that scrapes the bot and evaluates its rules every second."""
    metrics, alertmanager = urlsplit(bot_metrics_url), urlsplit(alertmanager_url)
    return _yaml(
        {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules_file)],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager.netloc]}]}]},
            "scrape_configs": [
                {
                    "job_name": "cdc-oncall",
                    "scheme": metrics.scheme,
                    "metrics_path": metrics.path or "/metrics",
                    "static_configs": [{"targets": [metrics.netloc]}],
                }
            ],
        }
    )


def alertmanager_config(
    webhook_url: str, token: str, group_by: Sequence[str] = ("alertname", "pipeline"), repeat_interval: str = "1h"
) -> str:
    """Return an alertmanager.yml that sends every alert to the bot with a bearer token, and its end too.

    A group is sent after 1 s and then at most every 5 s: what changes in between comes late, as in production.
    """
    return _yaml(
        {
            "route": {
                "receiver": "cdc-oncall",
                "group_by": list(group_by),
                "group_wait": "1s",
                "group_interval": "5s",
                "repeat_interval": repeat_interval,
            },
            "receivers": [
                {
                    "name": "cdc-oncall",
                    "webhook_configs": [
                        {
                            "url": webhook_url,
                            "send_resolved": True,
                            "http_config": {"authorization": {"type": "Bearer", "credentials": token}},
                        }
                    ],
                }
            ],
        }
    )


def cdc_yml(
    path: Path,
    *pipelines: Pipeline,
    alertmanager_url: str | None = None,
    prometheus_url: str | None = None,
    slack_api_url: str | None = None,
    listen: str = "127.0.0.1:0",
    lag_warn: str = "20 for 2s",
    lag_page: str = "100 for 4s",
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write a cdc.yml for pipelines of one cluster, with windows of seconds instead of minutes, and return its path.

    Secrets are `${CDC_WEBHOOK_TOKEN}`, `${SLACK_BOT_TOKEN}` and `${SLACK_SIGNING_SECRET}`: the bot's environment must
    have them. `more` replaces whole sections, or adds them.
    """
    cluster = pipelines[0].cluster
    document: dict[str, Any] = {
        "listen": listen,
        "environment": "system-tests",
        "state": "./cdc-oncall.db",
        "kafka": {"bootstrap": cluster.kafka.bootstrap},
        "registry": {"url": cluster.registry.ccompat_url},
        "connect": {"url": cluster.connect.url},
        "people": {"responders": ["*"]},
        "actions": ["restart_failed_tasks", *(["silence_alerts"] if alertmanager_url else [])],
        "incidents": {"settle": "2s", "recheck": "1s"},
        "alerts": {"registry_refusals": "1 in 1m", "connector_failed_for": "1s", "dead_letters_window": "1m"},
        "pipelines": {
            pipeline.name: {
                "owner": "@data-platform",
                "channel": "#cdc-incidents",
                "source": {"connector": pipeline.source_connector},
                "topics": [pipeline.topic],
                "subjects": [pipeline.value_subject, pipeline.key_subject],
                "consumers": [{"group": pipeline.group, "kind": "connect-sink", "topics": [pipeline.topic]}],
                "sink": {
                    "connector": pipeline.sink_connector,
                    "table": f"{pipeline.target_database}.public.customers",
                    "dlq": pipeline.dlq,
                },
                "objective": {"dead_letters_per_day": "0.1%", "lag": {"warn": lag_warn, "page": lag_page}},
            }
            for pipeline in pipelines
        },
    }
    if alertmanager_url:
        document["alertmanager"] = {"url": alertmanager_url, "tokens": ["${CDC_WEBHOOK_TOKEN}"]}
    if prometheus_url:
        document["prometheus"] = {"url": prometheus_url}
    if slack_api_url:
        document["slack"] = {
            "mode": "http",
            "bot_token": "${SLACK_BOT_TOKEN}",
            "signing_secret": "${SLACK_SIGNING_SECRET}",
            "api_url": slack_api_url,
            "channel": "#cdc-incidents",
        }
    path.write_text(_yaml({**document, **(more or {})}))
    return path


def _yaml(document: Mapping[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)
