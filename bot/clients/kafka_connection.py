"""The connection to a Kafka cluster: settings that may change, clients that leave no trace, errors in the port's words.

Promise
    No client made here creates a topic, joins a group or commits an offset, whatever the settings say.
    Changed settings and certificate files are noticed within REREAD_S, after a refused login at the next call: a
    rotated secret needs no restart.
    Errors name the bootstrap address, never the credentials; a refusal names the ACL it needs.

Knows no question: those are `bot.clients.kafka`'s.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from bot.model import PartitionKey
from bot.ports import Denied, Missing, PortError, Unreachable

REREAD_S = 5.0
"""How old settings may be before a call reads them again."""

Settings = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

# librdkafka waits half of `reconnect.backoff.ms` between its first two connections, the one to the bootstrap address
# and the one to the broker behind it: 50 ms of a read that takes 60 (measured). It doubles with each failure.
_BACKOFF_MS = 20

NEEDS_ACL = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_BAD_LOGIN = frozenset({KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._AUTHENTICATION})
_DENIED = NEEDS_ACL | _BAD_LOGIN
_MISSING = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.GROUP_ID_NOT_FOUND,
    }
)

# What librdkafka only logs: the broker closed the connection, and what had been asked by then. One that had stood for
# longer was closed for another reason: idle, or the broker is going down.
_CLOSED_AT_ONCE = re.compile(r"Disconnected.*\(after (\d{1,3})ms (in state \w+)")
_CLOSED = (
    ("in state UP", "the broker closed the connection at the first request: does it want SASL?"),
    ("in state APIVERSION_QUERY", "the broker closed the connection at the first bytes: does the port speak TLS?"),
)

_CERTIFICATE_FILES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.keystore.location")


class KafkaConnection:
    """One cluster as one user. Safe to share between threads; connects at the first call.

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
        self._version = 0
        self._read_at_s: float | None = None
        self._client: AdminClient | None = None
        self._connection_errors: deque[KafkaError] = deque(maxlen=8)
        self._failures = Failures()

    def _settings(self) -> dict[str, Any]:
        return {
            "socket.connection.setup.timeout.ms": 5000,
            "reconnect.backoff.ms": _BACKOFF_MS,
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
                        f"{self._where}: the settings are refused: {words_of(error)}", sent=False
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
        self._version += 1
        self._where = f"Kafka at {config.get('bootstrap.servers') or '(no bootstrap.servers)'}"
        self._client, self._connection_errors, self._failures = None, deque(maxlen=8), Failures()

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
        self._admin()  # reads the settings anew where that is due
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
            raise Unreachable(f"{self._where}: the settings are refused: {words_of(error)}", sent=False) from error

    def _result(self, future: Future[Any], asked: str, acl: str, ends_at: float) -> Any:
        timeout_s = left_s(ends_at)
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
            return Denied(f"{self._where}: `{asked}` was refused: {reason_of(kafka_error, acl)}")
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
                return Denied(f"{self._where}: `{asked}` was refused: {words_of(last)}")
            reason = words_of(last) if last is not None else self._failures.reason()
            because = f": {reason}" if reason else ""
            return Unreachable(f"{self._where}: no answer to `{asked}`{within}{because}")
        return Unreachable(f"{self._where}: `{asked}`: {kafka_error.name()}: {kafka_error.str()}")


class Failures(logging.Handler):
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


def is_name(text: str) -> bool:
    """Whether a topic or a group may be called so as far as librdkafka's strings go; an argument may hold any bytes."""
    try:
        return bool(text.encode()) and "\0" not in text
    except UnicodeEncodeError:
        return False


def left_s(ends_at: float) -> float:
    """Return the seconds left; at least one millisecond, the smallest time-out librdkafka takes."""
    return max(0.001, ends_at - time.monotonic())


def only(futures: Mapping[Any, Future[Any]]) -> Future[Any]:
    return next(iter(futures.values()))


def lines_of(what: str, errors: Mapping[PartitionKey, str]) -> list[str]:
    """Return one line per reason: a broker that is down takes many partitions with it."""
    by_reason: dict[str, list[str]] = {}
    for (topic, partition), reason in sorted(errors.items()):
        by_reason.setdefault(reason, []).append(f"{topic}/{partition}")
    return [
        f"{what} of {', '.join(keys[:8])}{f' and {len(keys) - 8} more' if len(keys) > 8 else ''}: {reason}"
        for reason, keys in by_reason.items()
    ]


def kafka_error_of(error: PortError) -> KafkaError | None:
    """Return Kafka's own error behind ours, None when Kafka did not say anything."""
    found = error.__cause__.args[0] if isinstance(error.__cause__, KafkaException) else None
    return found if isinstance(found, KafkaError) else None


def reason_of(error: KafkaError | None, acl: str) -> str:
    """Return why, without the partition, so that equal reasons are one line; None is an answer that did not come."""
    if error is None:
        return "no answer in time"
    if error.code() in NEEDS_ACL:
        return f"needs the ACL {acl}"
    return error.str()


def words_of(error: Exception | KafkaError) -> str:
    inner = error.args[0] if isinstance(error, KafkaException) else error
    text = inner.str() if isinstance(inner, KafkaError) else str(inner)
    return text.partition(" (after ")[0]
