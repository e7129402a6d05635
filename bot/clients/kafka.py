"""Kafka on confluent-kafka: read-only, without a trace left on the cluster.

Promise
    Asking never creates a topic (`allow.auto.create.topics` is false whatever the config says: Kafka
    creates on metadata requests otherwise), never joins a group and never commits an offset.
    Committed offsets are read before the log's ends, so a lag computed from them is never negative.
    Every request has a time-out; a call ends within its deadline, give or take 0.1 s.
    What a broker cannot or may not tell is None with a `not_known` line; only an answer that is wholly
    absent is an error. Errors name the bootstrap address, never the credentials; a refusal names the ACL it needs.
    Changed settings and certificate files are noticed within REREAD_S, after a refused login at the next call: a
    rotated secret needs no restart.

Not every broker can tell everything: librdkafka's mock brokers do not describe groups, so an unknown group
cannot be told there; on Kafka an unknown group is "DEAD with 0 members", not an error.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from bot.model import GroupOffsets, PartitionOffsets
from bot.ports import Denied, KafkaBrokers, Missing, PortError, Record, TailSample, TopicOffsets, Unreachable

REREAD_S = 5.0
"""How old settings may be before a call reads them again."""

Settings = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

# librdkafka aborts the process when a DescribeGroups answer arrives after its time-out (librdkafka #4605):
# the request may take this long, the caller stops waiting earlier.
_DESCRIBE_TIMEOUT_S = 30.0

_SAMPLER_GROUP = "cdc-oncall-tail-sample"

_SAMPLER_SETTINGS = {
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "auto.offset.reset": "error",
    "queued.max.messages.kbytes": 4096,
    "fetch.wait.max.ms": 50,
}

_NEEDS_ACL = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_BAD_LOGIN = frozenset({KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._AUTHENTICATION})
_DENIED = _NEEDS_ACL | _BAD_LOGIN
_MISSING = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.GROUP_ID_NOT_FOUND})

# What librdkafka only logs: the broker closed the connection, and what had been asked by then. One that had stood for
# longer was closed for another reason: idle, or the broker is going down.
_CLOSED_AT_ONCE = re.compile(r"Disconnected.*\(after (\d{1,3})ms (in state \w+)")
_CLOSED = (
    ("in state UP", "the broker closed the connection at the first request: does it want SASL?"),
    ("in state APIVERSION_QUERY", "the broker closed the connection at the first bytes: does the port speak TLS?"),
)

_CERTIFICATE_FILES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.keystore.location")

_CANNOT_DESCRIBE = "this broker cannot list or describe groups"

_EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]

_Key = tuple[str, int]


class ConfluentKafka:
    """Implements `bot.ports.Kafka` and `KafkaServer`. Safe to share between threads; connects at the first call.

    `config` holds librdkafka's own settings (`bootstrap.servers`, `security.protocol`, ...), or returns them each time
    it is asked, or raises PortError; `reread_s` is how old they may be. `now` stamps the reads. The connection stays
    open for the life of the object.
    """

    def __init__(self, config: Settings, now: Callable[[], datetime], reread_s: float = REREAD_S) -> None:
        self._read_settings: Callable[[], Mapping[str, Any]] = config if callable(config) else lambda: config
        self._now = now
        self._reread_s = reread_s
        self._where = "Kafka"
        self._lock = threading.Lock()
        self._config: Mapping[str, Any] = {}
        self._files: tuple[object, ...] = ()
        self._read_at_s: float | None = None
        self._client: AdminClient | None = None
        self._connection_errors: deque[KafkaError] = deque(maxlen=8)
        self._failures = _Failures()

    def read_brokers(self, deadline_s: float) -> KafkaBrokers:
        """Return the cluster's id and how many brokers it shows; needs a login, but no permission.

        Where it is TLS that fails, the error ends with what a handshake without Kafka found out (no secret is sent).
        """
        try:
            listed = self._admin().list_topics(timeout=deadline_s)
        except KafkaException as error:
            failed = self._port_error(error, "cluster", "DESCRIBE on the cluster", deadline_s)
            why = self._handshake(deadline_s) if "certificate verify failed" in str(failed) else None
            raise (Unreachable(f"{failed} [{why}]") if why else failed) from error
        self._connection_errors.clear()
        self._failures.clear()
        return KafkaBrokers(listed.cluster_id or None, len(listed.brokers))

    def read_group(self, group: str, topics: Sequence[str], deadline_s: float) -> GroupOffsets:
        """Return the offsets of `group` for `topics`, or of every topic it has committed or is assigned.

        A partition of such a topic without a commit is included, with `committed` None. Raises Missing for an
        unknown topic, and for a group that the broker calls dead and that has committed nothing.
        """
        ends_at = time.monotonic() + deadline_s
        not_known: list[str] = []
        admin = self._admin()  # kept until the end: futures fail when their client is collected
        described = _only(admin.describe_consumer_groups([group], request_timeout=_DESCRIBE_TIMEOUT_S))
        named = [key for topic in topics for key in self._partitions_of(topic, ends_at)]
        state, members, assigned, denied = self._described(described, group, ends_at, not_known)

        at = self._now()
        committed: dict[_Key, int] = {}
        errors: dict[_Key, str] = {}
        # The offsets need the permission that the state was just refused for.
        if denied is None:
            committed, errors = self._committed(group, named if topics else self._all_partitions(ends_at), ends_at)
        if topics:
            keys = named
        elif denied is not None:
            raise denied
        else:
            keys = self._expanded({*committed, *assigned}, ends_at, not_known)
            errors = {key: errors[key] for key in keys if key in errors}
        if state == "DEAD" and not committed and denied is None:
            raise Missing(f"no consumer group {group} on {self._where}")
        if not keys:
            not_known.append(f"partitions of {group}: it has committed nothing and no partition is assigned to it")

        earliest, latest, end_errors = self._ends(keys, ends_at, not_known)
        return GroupOffsets(
            group=group,
            at=at,
            state=state,
            members=members,
            partitions=tuple(
                PartitionOffsets(
                    topic=topic,
                    partition=partition,
                    committed=committed.get((topic, partition)),
                    earliest=earliest.get((topic, partition)),
                    latest=latest.get((topic, partition)),
                    committed_known=denied is None and (topic, partition) not in errors,
                    error=errors.get((topic, partition)) or end_errors.get((topic, partition)),
                )
                for topic, partition in sorted(keys)
            ),
            not_known=(*not_known, *_lines("committed offset", errors)),
        )

    def read_topic(self, topic: str, deadline_s: float) -> TopicOffsets:
        return self._read_topic(topic, time.monotonic() + deadline_s, f"DESCRIBE on topic {topic}")

    def _read_topic(self, topic: str, ends_at: float, acl: str) -> TopicOffsets:
        """`acl` is what the caller needs in the end: READ implies DESCRIBE, and one permission is enough to ask for."""
        not_known: list[str] = []
        keys = self._partitions_of(topic, ends_at, acl)
        earliest, latest, _ = self._ends(keys, ends_at, not_known)
        return TopicOffsets(topic, {key[1]: (earliest.get(key), latest.get(key)) for key in keys}, tuple(not_known))

    def sample_tail(self, topic: str, count: int, deadline_s: float) -> TailSample:
        """Return up to `count` of the newest records: an equal share of each partition's tail, oldest first.

        A partition that has less leaves its share to the others. Ended per partition by its end as first seen or by EOF
        (transaction markers and compaction leave fewer records than offsets), and by the deadline; never by count.
        """
        ends_at = time.monotonic() + deadline_s
        offsets = self._read_topic(topic, ends_at, f"READ on topic {topic}")
        not_known = list(offsets.not_known)
        starts = _shares(offsets.partitions, count)
        pending = {partition: latest for partition, (_, latest) in offsets.partitions.items() if partition in starts}
        records: list[Record] = []
        if pending:
            consumer = self._consumer(_SAMPLER_GROUP, _SAMPLER_SETTINGS)
            try:
                consumer.assign([TopicPartition(topic, partition, start) for partition, start in starts.items()])
                while pending and (left_s := ends_at - time.monotonic()) > 0:
                    message = consumer.poll(min(left_s, 0.5))
                    if message is None:
                        continue
                    _take(message, pending, records, not_known)
            except KafkaException as error:
                raise self._port_error(error, f"records of {topic}", f"READ on topic {topic}") from error
            finally:
                consumer.close()
        if pending:
            listed = ", ".join(f"{topic}/{partition}" for partition in sorted(pending))
            not_known.append(f"records of {listed}: not read to the end within {deadline_s:g} s")
        epoch = datetime.fromtimestamp(0, UTC)
        records.sort(key=lambda record: (record.at or epoch, record.partition, record.offset))
        return TailSample(topic, tuple(records), offsets, tuple(not_known))

    # --- one request each -------------------------------------------------------------------------

    def _partitions_of(self, topic: str, ends_at: float, acl: str = "") -> list[_Key]:
        asked, acl = f"partitions of topic {topic}", acl or f"DESCRIBE on topic {topic}"
        timeout_s = _left_s(ends_at)
        try:
            found = self._admin().list_topics(topic, timeout=timeout_s).topics[topic]
        except KafkaException as error:
            raise self._port_error(error, asked, acl, timeout_s) from error
        self._connection_errors.clear()
        self._failures.clear()
        if found.error is not None:
            raise self._port_error(KafkaException(found.error), asked, acl)
        return [(topic, partition) for partition in sorted(found.partitions)]

    def _expanded(self, keys: Iterable[_Key], ends_at: float, not_known: list[str]) -> list[_Key]:
        """Return all partitions of the topics of `keys`: those without a commit are the ones to worry about."""
        expanded = set(keys)
        for topic in sorted({topic for topic, _ in expanded}):
            try:
                expanded.update(self._partitions_of(topic, ends_at))
            except (Missing, Denied) as error:
                not_known.append(str(error))
        return sorted(expanded)

    def _all_partitions(self, ends_at: float) -> list[_Key]:
        """Return every partition of the cluster, without Kafka's own topics."""
        timeout_s = _left_s(ends_at)
        try:
            topics = self._admin().list_topics(timeout=timeout_s).topics
        except KafkaException as error:
            raise self._port_error(error, "topics", "DESCRIBE on the topics", timeout_s) from error
        return [
            (name, partition)
            for name, found in sorted(topics.items())
            if not name.startswith("__")
            for partition in sorted(found.partitions)
        ]

    def _committed(self, group: str, keys: Sequence[_Key], ends_at: float) -> tuple[dict[_Key, int], dict[_Key, str]]:
        """Return committed offsets and errors per partition; no group is joined and nothing is committed.

        Asked by a consumer, not by the AdminClient: when the group's coordinator moves or is still loading,
        `list_consumer_group_offsets` makes librdkafka 2.16 dereference the group that an admin client does not have
        (rd_kafka_handle_OffsetFetch -> rd_kafka_cgrp_op) and kills the process. Seen on Kafka 4.1.1.
        """
        if not keys:
            return {}, {}
        # With read_committed the broker would withhold offsets while a transaction is open.
        consumer = self._consumer(group, {"isolation.level": "read_uncommitted"})
        timeout_s = _left_s(ends_at)
        try:
            answers = consumer.committed([TopicPartition(*key) for key in keys], timeout=timeout_s)
        except KafkaException as error:
            raise self._port_error(
                error, f"committed offsets of {group}", f"DESCRIBE on group {group}", timeout_s
            ) from error
        finally:
            consumer.close()
        committed, errors = {}, {}
        for found in answers:
            if found.error is not None:
                errors[(found.topic, found.partition)] = _reason(found.error, f"DESCRIBE on topic {found.topic}")
            elif found.offset >= 0:
                committed[(found.topic, found.partition)] = found.offset
        return committed, errors

    def _described(
        self, future: Future[Any], group: str, ends_at: float, not_known: list[str]
    ) -> tuple[str | None, int | None, set[_Key], Denied | None]:
        """Return state, member count and assigned partitions; what is lacking becomes a `not_known` line."""
        try:
            # A third of what is left: the offsets are the answer, the state is a word beside it.
            answer = self._result(
                future, f"state of group {group}", f"DESCRIBE on group {group}", time.monotonic() + _left_s(ends_at) / 3
            )
        except Missing:
            return "DEAD", 0, set(), None
        except PortError as error:
            cause = _kafka_error(error)
            unable = cause is not None and cause.code() == KafkaError._UNSUPPORTED_FEATURE
            not_known.append(f"state of group {group}: {_CANNOT_DESCRIBE}" if unable else str(error))
            return None, None, set(), error if isinstance(error, Denied) else None
        assigned = {
            (found.topic, found.partition)
            for member in answer.members
            if member.assignment is not None
            for found in member.assignment.topic_partitions
        }
        # Kafka's words, not the Python enum's.
        state = answer.state.name.replace("REBALANCING", "REBALANCE")
        if state == "UNKNOWN":
            not_known.append(f"state of group {group}: a state this client has no word for")
            return None, len(answer.members), assigned, None
        return state, len(answer.members), assigned, None

    def _ends(
        self, keys: Sequence[_Key], ends_at: float, not_known: list[str]
    ) -> tuple[dict[_Key, int], dict[_Key, int], dict[_Key, str]]:
        """Return earliest and latest offsets, asked together; raise only when not one was answered."""
        if not keys:
            return {}, {}, {}
        admin = self._admin()
        fired = [
            admin.list_offsets({TopicPartition(*key): spec for key in keys}, request_timeout=_left_s(ends_at))
            for spec in (_EARLIEST, _LATEST)
        ]
        found: list[dict[_Key, int]] = [{}, {}]
        errors: dict[_Key, str] = {}
        last_error: PortError | None = None
        for answers, offsets in zip(fired, found, strict=True):
            for answered, future in answers.items():
                key = (answered.topic, answered.partition)
                try:
                    offset = self._result(
                        future, f"offsets of {key[0]}/{key[1]}", f"DESCRIBE on topic {key[0]}", ends_at
                    ).offset
                except PortError as error:
                    errors[key] = _reason(_kafka_error(error), f"DESCRIBE on topic {key[0]}")
                    last_error = error
                    continue
                if offset >= 0:
                    offsets[key] = offset
        if last_error is not None and not found[0] and not found[1]:
            raise last_error
        not_known.extend(_lines("log offsets", errors))
        return found[0], found[1], errors

    # --- the client -------------------------------------------------------------------------------

    def _settings(self) -> dict[str, Any]:
        return {
            "socket.connection.setup.timeout.ms": 5000,
            "reconnect.backoff.max.ms": 1000,
            **self._config,
            "allow.auto.create.topics": False,
            "error_cb": self._connection_errors.append,
        }

    def _admin(self) -> AdminClient:
        """Return the client for the settings as they are; what another thread still holds of an older one lives on."""
        with self._lock:
            if self._read_at_s is None or time.monotonic() - self._read_at_s > self._reread_s:
                self._reread()
            if self._client is None:
                try:
                    self._client = AdminClient(self._settings(), logger=self._failures.logger)
                except (KafkaException, ValueError, TypeError) as error:
                    self._read_at_s = None
                    raise Unreachable(
                        f"{self._where}: the settings are refused: {_words(error)}", sent=False
                    ) from error
            self._client.poll(0)
            return self._client

    def _reread(self) -> None:
        """Read the settings; drop the client if they, or the certificate files they name, have changed.

        Settings that cannot be read (a secret being written anew) are an error only where there is no client yet.
        """
        try:
            config = dict(self._read_settings())
        except PortError:
            if self._client is None:
                raise
            return
        self._read_at_s = time.monotonic()
        files = tuple(_changed_at(config[name]) for name in _CERTIFICATE_FILES if name in config)
        if (config, files) == (self._config, self._files):
            return
        self._config, self._files = config, files
        self._where = f"Kafka at {config.get('bootstrap.servers') or '(no bootstrap.servers)'}"
        self._client, self._connection_errors, self._failures = None, deque(maxlen=8), _Failures()

    def _handshake(self, deadline_s: float) -> str | None:
        """Return what Python's TLS says of the first broker's certificate, in its words; None where it says nothing."""
        host, _, port = str(self._config.get("bootstrap.servers", "")).partition(",")[0].rpartition(":")
        try:
            context = ssl.create_default_context(
                cafile=self._config.get("ssl.ca.location"), cadata=self._config.get("ssl.ca.pem")
            )
            with (
                socket.create_connection((host.strip("[]"), int(port)), timeout=deadline_s) as plain,
                context.wrap_socket(plain, server_hostname=host.strip("[]")),
            ):
                return None
        except ssl.SSLCertVerificationError as error:
            return str(error.verify_message)
        except (OSError, ValueError):
            return None

    def _consumer(self, group: str, settings: Mapping[str, Any]) -> Consumer:
        """Return a consumer that neither joins `group` nor commits. Its name is mandatory to librdkafka."""
        settings = {
            **self._settings(),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            **settings,
        }
        try:
            return Consumer(settings, logger=self._failures.logger)
        except (KafkaException, ValueError, TypeError) as error:
            raise Unreachable(f"{self._where}: the settings are refused: {_words(error)}", sent=False) from error

    def _result(self, future: Future[Any], asked: str, acl: str, ends_at: float) -> Any:
        timeout_s = _left_s(ends_at)
        try:
            # The request's own time-out is the deadline too: let it speak first, its words are better.
            return future.result(timeout_s + 0.05)
        except KafkaException as error:
            raise self._port_error(error, asked, acl, timeout_s) from error
        except FutureTimeout as error:
            raise Unreachable(f"{self._where}: no answer to `{asked}` within {timeout_s:.2g} s") from error

    def _port_error(self, error: KafkaException, asked: str, acl: str, timeout_s: float | None = None) -> PortError:
        """Return what the error is to the port; `acl` is the permission that was needed to ask."""
        kafka_error = error.args[0]
        code = kafka_error.code()
        if self._client is not None:
            self._client.poll(0)
        if code in _BAD_LOGIN:
            self._read_at_s = None
        if code in _DENIED:
            return Denied(f"{self._where}: `{asked}` was refused: {_reason(kafka_error, acl)}")
        if code in _MISSING:
            return Missing(f"{self._where}: no {asked.removeprefix('partitions of ')}: {kafka_error.str()}")
        if code in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
            within = f" within {timeout_s:.2g} s" if timeout_s else ""
            last = next(
                (seen for seen in reversed(self._connection_errors) if seen.code() != KafkaError._ALL_BROKERS_DOWN),
                None,
            )
            if last is not None and last.code() == KafkaError._AUTHENTICATION:
                self._read_at_s = None
                return Denied(f"{self._where}: `{asked}` was refused: {_words(last)}")
            reason = _words(last) if last is not None else self._failures.reason()
            because = f": {reason}" if reason else ""
            return Unreachable(f"{self._where}: no answer to `{asked}`{within}{because}")
        return Unreachable(f"{self._where}: `{asked}`: {kafka_error.name()}: {kafka_error.str()}")


class _Failures(logging.Handler):
    """Keeps the last of librdkafka's lines on lost connections: some of their reasons are told nowhere else.

    librdkafka writes to stderr unless given a logger; what else matters reaches the caller as an error.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=8)
        self.logger = logging.Logger("bot.clients.kafka.librdkafka")
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if "Disconnected" in line:
            self._lines.append(line)

    def reason(self) -> str:
        """Return what the newest line means, in words; empty where there is none."""
        newest = _CLOSED_AT_ONCE.search(self._lines[-1]) if self._lines else None
        return next((words for state, words in _CLOSED if newest is not None and state == newest[2]), "")

    def clear(self) -> None:
        self._lines.clear()


def _changed_at(path: object) -> object:
    """Return what changes when a file is written anew; None where there is none."""
    try:
        found = Path(str(path)).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _take(message: Message, pending: dict[int, int | None], records: list[Record], not_known: list[str]) -> None:
    """Keep the record if it is below its partition's end; strike the partition off `pending` once it is read."""
    partition, error = message.partition(), message.error()
    # Without a topic it is an event of the client, on "partition 0": librdkafka looks for the coordinator of the group
    # that it must be given, and a broker with ACLs refuses that, rightly: nothing is joined or committed.
    if message.topic() is None or partition not in pending or partition is None:
        return
    if error is not None:
        if error.code() != KafkaError._PARTITION_EOF:
            not_known.append(
                f"records of {message.topic()}/{partition}: {_reason(error, f'READ on topic {message.topic()}')}"
            )
        del pending[partition]
        return
    offset, latest = message.offset(), pending[partition]
    if offset is None or latest is None or offset >= latest:
        del pending[partition]
        return
    records.append(_record(message, partition, offset))
    if offset >= latest - 1:
        del pending[partition]


def _record(message: Message, partition: int, offset: int) -> Record:
    kind, milliseconds = message.timestamp()
    headers = message.headers() or ()
    return Record(
        topic=message.topic() or "",
        partition=partition,
        offset=offset,
        at=None
        if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0
        else datetime.fromtimestamp(milliseconds / 1000, UTC),
        key=message.key(),
        value=message.value(),
        headers=tuple(
            (name, _bytes(value)) for name, value in (headers.items() if isinstance(headers, dict) else headers)
        ),
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _shares(partitions: Mapping[int, tuple[int | None, int | None]], count: int) -> dict[int, int]:
    """Return the start offset of each partition that has something to read, `count` records in all."""
    sizes = {
        partition: (latest - earliest, latest)
        for partition, (earliest, latest) in partitions.items()
        if earliest is not None and latest is not None and latest > earliest
    }
    starts: dict[int, int] = {}
    left = count
    by_size = sorted(sizes.items(), key=lambda item: (item[1][0], item[0]))
    for index, (partition, (size, latest)) in enumerate(by_size):
        share = min(size, -(-left // (len(by_size) - index)))
        if share > 0:
            starts[partition] = latest - share
            left -= share
    return starts


def _left_s(ends_at: float) -> float:
    """Return the seconds left; at least one millisecond, the smallest time-out librdkafka takes."""
    return max(0.001, ends_at - time.monotonic())


def _only(futures: Mapping[Any, Future[Any]]) -> Future[Any]:
    return next(iter(futures.values()))


def _lines(what: str, errors: Mapping[_Key, str]) -> list[str]:
    """Return one line per reason: a broker that is down takes many partitions with it."""
    by_reason: dict[str, list[str]] = {}
    for (topic, partition), reason in sorted(errors.items()):
        by_reason.setdefault(reason, []).append(f"{topic}/{partition}")
    return [
        f"{what} of {', '.join(keys[:8])}{f' and {len(keys) - 8} more' if len(keys) > 8 else ''}: {reason}"
        for reason, keys in by_reason.items()
    ]


def _kafka_error(error: PortError) -> KafkaError | None:
    """Return Kafka's own error behind ours, None when Kafka did not say anything."""
    found = error.__cause__.args[0] if isinstance(error.__cause__, KafkaException) else None
    return found if isinstance(found, KafkaError) else None


def _reason(error: KafkaError | None, acl: str) -> str:
    """Return why, without the partition, so that equal reasons are one line; None is an answer that did not come."""
    if error is None:
        return "no answer in time"
    if error.code() in _NEEDS_ACL:
        return f"needs the ACL {acl}"
    return error.str()


def _words(error: Exception | KafkaError) -> str:
    inner = error.args[0] if isinstance(error, KafkaException) else error
    text = inner.str() if isinstance(inner, KafkaError) else str(inner)
    return text.partition(" (after ")[0]
