"""What a Kafka cluster says of its logs: partitions, ends, offsets by time, retention, the newest records.

Promise
    Futures are fired together: however many partitions, a question is about one round trip per broker.
    A broker that does not answer makes its own partitions unknown, with the reason, and nothing else.
    Reading records joins no group and commits nothing.

Answers that cannot change are kept: the first offset at or after a past time, until the log's ends go back, and what a
topic's settings are for RETENTION_KEPT_S.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import (
    OFFSET_INVALID,
    TIMESTAMP_NOT_AVAILABLE,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType  # type: ignore[attr-defined]

from bot.clients.kafka_connection import (
    REREAD_S,
    KafkaConnection,
    Settings,
    is_name,
    kafka_error_of,
    left_s,
    lines_of,
    reason_of,
)
from bot.model import PartitionKey, Retention
from bot.ports import Missing, PortError, Record, TailSample, TopicOffsets, Unreachable

RETENTION_KEPT_S = 600.0
RETENTION_REFUSED_KEPT_S = 60.0
RETENTION_DEADLINE_S = 1.0
"""Settings stand beside the answer: whatever the caller's deadline, they are not waited for longer."""

TAIL_KEPT_S = 600.0

SETTLED = timedelta(minutes=1)
"""Records of the last minute may still be on their way: what is at or after such a time is asked again."""

KEPT_TIMES = 64
KEPT_PARTITIONS = 20_000
"""Answers by time are kept for so many times of a partition, and for so many partitions; the oldest go first."""

# Above this many named topics, one question for all topics of the cluster is less than one question each.
_NAMED_TOPICS = 16
_AT_ONCE = 8

# librdkafka gives no error but OFFSET_INVALID to the partitions of a broker that did not answer when others did.
_BROKER_SILENT = "the broker that leads it did not answer"

_SAMPLER_GROUP = "cdc-oncall-tail-sample"

_READER_SETTINGS = {
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "auto.offset.reset": "error",
    "queued.max.messages.kbytes": 4096,
    "fetch.wait.max.ms": 50,
}

_EPOCH = datetime.fromtimestamp(0, UTC)

_EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Layout:
    """Partitions per topic. `leaderless` have nobody to ask, and why; `absent` are named topics that are not shown."""

    partitions: Mapping[str, tuple[int, ...]]
    leaderless: Mapping[PartitionKey, str] = field(default_factory=dict)
    absent: Mapping[str, PortError] = field(default_factory=dict)

    def keys(self, topics: Iterable[str]) -> list[PartitionKey]:
        return [(topic, partition) for topic in topics for partition in self.partitions.get(topic, ())]


EndsRow = tuple[int | None, int | None, int | None, str | None]


@dataclass(frozen=True)
class Ends:
    """Offsets per partition, absent where not known; `errors` says why."""

    earliest: dict[PartitionKey, int] = field(default_factory=dict)
    latest: dict[PartitionKey, int] = field(default_factory=dict)
    last_stable: dict[PartitionKey, int] = field(default_factory=dict)
    errors: dict[PartitionKey, str] = field(default_factory=dict)

    def rows(self, keys: Iterable[PartitionKey]) -> dict[PartitionKey, EndsRow]:
        """Return earliest, latest, last stable offset and error of each partition: many groups ask for the same."""
        return {
            key: (self.earliest.get(key), self.latest.get(key), self.last_stable.get(key), self.errors.get(key))
            for key in keys
        }


class KafkaLog(KafkaConnection):
    """The part of `bot.ports.Kafka` that knows no group. Safe to share between threads."""

    def __init__(self, config: Settings, now: Callable[[], datetime], reread_s: float = REREAD_S) -> None:
        super().__init__(config, now, reread_s)
        self._ends_seen: dict[PartitionKey, tuple[int, int]] = {}
        self._by_time: dict[PartitionKey, dict[datetime, int]] = {}
        self._retention: dict[str, tuple[float, Retention | PortError]] = {}
        self._tails: dict[PartitionKey, tuple[int, int, float, bool]] = {}

    def read_topic(self, topic: str, deadline_s: float) -> TopicOffsets:
        return self._read_topic(topic, time.monotonic() + deadline_s, f"DESCRIBE on topic {topic}")

    def read_offsets_at(
        self, asked: Mapping[PartitionKey, Sequence[datetime]], deadline_s: float
    ) -> Mapping[PartitionKey, Mapping[datetime, int | None]]:
        """Return per partition and time the first offset with a timestamp at or after it; None: no record that new.

        One request per distinct time and broker, all at once. Answers about more than SETTLED ago are kept: what is
        appended later has a higher offset. "No record that new" is not kept, nor the answer for the epoch: that it is
        at or above the log's start shows that a None beside it is to be believed.
        """
        ends_at = time.monotonic() + deadline_s
        found: dict[PartitionKey, dict[datetime, int | None]] = {key: {} for key in asked}
        wanted: dict[datetime, list[PartitionKey]] = {}
        for key, times in asked.items():
            kept = self._by_time.get(key, {})
            for at in times:
                if at in kept:
                    found[key][at] = kept[at]
                else:
                    wanted.setdefault(at, []).append(key)
        if not wanted:
            return found
        admin = self._admin()
        fired = [
            (at, _list_offsets(admin, keys, OffsetSpec.for_timestamp(_milliseconds(at)), ends_at))
            for at, keys in wanted.items()
        ]
        settled = self._now() - SETTLED
        last_error: PortError | None = None
        for at, answers in fired:
            for key, future in answers:
                try:
                    offset = self._result(
                        future, f"offsets by time of {key[0]}/{key[1]}", f"DESCRIBE on topic {key[0]}", ends_at
                    ).offset
                except PortError as error:
                    last_error = error
                    continue
                if offset == OFFSET_INVALID:
                    last_error = Unreachable(
                        f"{self._where}: no answer to `offsets by time of {key[0]}/{key[1]}`: {_BROKER_SILENT}"
                    )
                    continue
                found[key][at] = offset if offset >= 0 else None
                if offset >= 0 and _EPOCH < at <= settled:
                    self._keep(key, at, offset)
        if last_error is not None and not any(found.values()):
            raise last_error
        return found

    def read_retention(self, topics: Sequence[str], deadline_s: float) -> Mapping[str, Retention | PortError]:
        """Return what deletes the records of each topic, asked in one request; kept, refusals for a shorter time.

        It is no question that an answer waits for: RETENTION_DEADLINE_S is the longest it takes.
        """
        now_s = time.monotonic()
        found: dict[str, Retention | PortError] = {}
        for topic in dict.fromkeys(topics):
            kept_until_s, kept = self._retention.get(topic, (0.0, None))
            if kept is not None and now_s < kept_until_s:
                found[topic] = kept
        wanted = [topic for topic in dict.fromkeys(topics) if topic not in found]
        if not wanted:
            return found
        ends_at = now_s + min(deadline_s, RETENTION_DEADLINE_S)
        try:
            admin = self._admin()
            fired = admin.describe_configs(
                [ConfigResource(ResourceType.TOPIC, topic) for topic in wanted], request_timeout=left_s(ends_at)
            )
        except (PortError, KafkaException, ValueError) as error:
            failed = error if isinstance(error, PortError) else Unreachable(f"{self._where}: {error}")
            return {**found, **dict.fromkeys(wanted, failed)}
        for resource, future in fired.items():
            asked, acl = f"settings of topic {resource.name}", f"DESCRIBE_CONFIGS on topic {resource.name}"
            answer: Retention | PortError
            try:
                answer = _retention(self._result(future, asked, acl, ends_at))
            except PortError as error:
                answer = error
            kept_s = RETENTION_REFUSED_KEPT_S if isinstance(answer, PortError) else RETENTION_KEPT_S
            self._retention[resource.name] = (now_s + kept_s, answer)
            found[resource.name] = answer
        return found

    def holds_record(self, starts: Mapping[PartitionKey, int], deadline_s: float) -> Mapping[PartitionKey, bool]:
        """Return whether a reader of committed data gets a record at or after each offset, or only the partition's end.

        Not told, and absent: a partition whose end for such a reader is an open transaction, one whose offset is out of
        range, one that was not read in time. Raises PortError when nothing is told. A tail that was looked into is not
        looked into again while its start and its end stay; one that held a record, which compaction may take away, is
        after TAIL_KEPT_S.
        """
        ends_at = time.monotonic() + deadline_s
        found = {key: held for key, start in starts.items() if (held := self._kept_tail(key, start)) is not None}
        pending = set(starts) - found.keys()
        failed: PortError | None = None
        # A consumer is told nothing of a topic that it may not describe.
        for topic in sorted({topic for topic, _ in pending}):
            try:
                self._layout_of(topic, ends_at, f"READ on topic {topic}")
            except PortError as error:
                failed, pending = error, {key for key in pending if key[0] != topic}
        if not pending:
            if failed is not None and not found:
                raise failed
            return found
        asked = frozenset(pending)
        consumer = self._consumer(_SAMPLER_GROUP, _READER_SETTINGS)
        try:
            consumer.assign([TopicPartition(*key, starts[key]) for key in asked])
            while pending and (wait_s := ends_at - time.monotonic()) > 0:
                message = consumer.poll(min(wait_s, 0.5))
                topic_of, partition = (message.topic(), message.partition()) if message is not None else (None, None)
                # Without a topic it is an event of the client: see `_take`.
                if message is None or topic_of is None or partition is None or (topic_of, partition) not in pending:
                    continue
                key, told = (topic_of, partition), message.error()
                if told is None:
                    found[key] = True
                    self._keep_tail(key, starts[key], True)
                elif told.code() == KafkaError._PARTITION_EOF:
                    log_end = consumer.get_watermark_offsets(TopicPartition(*key), cached=True)[1]
                    # Short of the log end stands an open transaction: what is in it nobody can tell yet.
                    if 0 <= log_end <= (message.offset() or 0):
                        found[key] = False
                        self._keep_tail(key, starts[key], False, log_end)
                else:
                    failed = self._port_error(
                        KafkaException(told), f"records of {topic_of}", f"READ on topic {topic_of}"
                    )
                pending.discard(key)
                consumer.incremental_unassign([TopicPartition(*key)])
        except KafkaException as error:
            raise self._port_error(error, "records", "READ on the topics") from error
        finally:
            consumer.close()
        if failed is not None and not found:
            raise failed
        if not found and pending == asked:
            raise Unreachable(f"{self._where}: no answer to `records of {_named(pending)}` within {deadline_s:.2g} s")
        return found

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
            consumer = self._consumer(_SAMPLER_GROUP, _READER_SETTINGS)
            try:
                consumer.assign([TopicPartition(topic, partition, start) for partition, start in starts.items()])
                while pending and (wait_s := ends_at - time.monotonic()) > 0:
                    message = consumer.poll(min(wait_s, 0.5))
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
        records.sort(key=lambda record: (record.at or _EPOCH, record.partition, record.offset))
        return TailSample(topic, tuple(records), offsets, tuple(not_known))

    # --- one request each -------------------------------------------------------------------------

    def _read_topic(self, topic: str, ends_at: float, acl: str) -> TopicOffsets:
        """`acl` is what the caller needs in the end: READ implies DESCRIBE, and one permission is enough to ask for."""
        layout = self._layout_of(topic, ends_at, acl)
        keys = layout.keys([topic])
        ends = self._ends(keys, ends_at, layout.leaderless)
        partitions = {key[1]: (ends.earliest.get(key), ends.latest.get(key)) for key in keys}
        return TopicOffsets(topic, partitions, tuple(lines_of("log offsets", ends.errors)))

    def _layout(self, topics: Iterable[str], ends_at: float, whole: bool = False) -> Layout:
        """Return the partitions of the named topics; with none named, or if `whole`, of every topic but Kafka's own.

        A named topic that is not there or may not be seen is `absent`; raises what keeps all that was asked for from
        being seen.
        """
        named = list(dict.fromkeys(topics))
        if len(named) == 1 and not whole:
            return self._layout_of(named[0], ends_at)
        all_topics = whole or not named or len(named) > _NAMED_TOPICS
        shown = self._layout_of(None, ends_at) if all_topics else Layout({})
        alone = [topic for topic in named if topic not in shown.partitions]
        if not alone:
            return shown

        def ask(topic: str) -> Layout | PortError:
            try:
                return self._layout_of(topic, ends_at)
            except PortError as error:
                return error

        with ThreadPoolExecutor(min(_AT_ONCE, len(alone)), "kafka-topics") as pool:
            answers = dict(zip(alone, pool.map(ask, alone), strict=True))
        partitions, leaderless, absent = dict(shown.partitions), dict(shown.leaderless), dict[str, PortError]()
        for topic, answer in answers.items():
            if isinstance(answer, PortError):
                absent[topic] = answer
            else:
                partitions.update(answer.partitions)
                leaderless.update(answer.leaderless)
        if len(absent) == len(named) and not whole:
            raise absent[named[0]]
        return Layout(partitions, leaderless, absent)

    def _layout_of(self, topic: str | None, ends_at: float, acl: str = "") -> Layout:
        """Return the partitions of one topic, or of every topic but Kafka's own."""
        asked, acl = f"partitions of topic {topic}", acl or f"DESCRIBE on topic {topic}"
        if topic is None:
            asked, acl = "topics", "DESCRIBE on the topics"
        elif not is_name(topic):
            raise Missing(f"{self._where}: no topic {topic!a}: no topic can have that name")
        timeout_s = left_s(ends_at)
        admin = self._admin()
        try:
            listed = admin.list_topics(timeout=timeout_s) if topic is None else admin.list_topics(topic, timeout_s)
        except KafkaException as error:
            raise self._port_error(error, asked, acl, timeout_s) from error
        self._connection_errors.clear()
        self._failures.clear()
        if topic is not None:
            found = listed.topics[topic]
            if found.error is not None:
                raise self._port_error(KafkaException(found.error), asked, acl)
        shown = {name: each for name, each in listed.topics.items() if name == topic or not name.startswith("__")}
        leaderless = {
            (name, number): "no broker leads it now"
            for name, each in shown.items()
            for number, partition in each.partitions.items()
            if partition.leader < 0
        }
        return Layout({name: tuple(sorted(each.partitions)) for name, each in shown.items()}, leaderless)

    def _ends(self, keys: Sequence[PartitionKey], ends_at: float, leaderless: Mapping[PartitionKey, str]) -> Ends:
        """Return earliest, latest and last stable offsets, asked together; raise only when not one was answered."""
        ends = Ends(errors={key: leaderless[key] for key in keys if key in leaderless})
        asked = [key for key in keys if key not in ends.errors]
        if not asked:
            return ends
        admin = self._admin()
        fired = (
            (ends.earliest, _list_offsets(admin, asked, _EARLIEST, ends_at)),
            (ends.latest, _list_offsets(admin, asked, _LATEST, ends_at)),
            (
                ends.last_stable,
                _list_offsets(admin, asked, _LATEST, ends_at, isolation_level=IsolationLevel.READ_COMMITTED),
            ),
        )
        last_error: PortError | None = None
        for offsets, answers in fired:
            for key, future in answers:
                try:
                    offset = self._result(
                        future, f"offsets of {key[0]}/{key[1]}", f"DESCRIBE on topic {key[0]}", ends_at
                    ).offset
                except PortError as error:
                    ends.errors[key] = reason_of(kafka_error_of(error), f"DESCRIBE on topic {key[0]}")
                    last_error = error
                    continue
                if offset >= 0:
                    offsets[key] = offset
                else:
                    ends.errors[key] = _BROKER_SILENT
        if last_error is not None and not ends.earliest and not ends.latest:
            raise last_error
        for key, latest in ends.latest.items():
            # Answered a moment later than the end, it may be beyond it: then nothing holds it back.
            if ends.last_stable.get(key, latest) > latest:
                ends.last_stable[key] = latest
            self._note_ends(key, ends.earliest.get(key, latest), latest)
        return ends

    # --- what is kept -----------------------------------------------------------------------------

    def _note_ends(self, key: PartitionKey, earliest: int, latest: int) -> None:
        """Forget a partition's answers by time when its ends go back: it is another log of the same name."""
        seen_earliest, seen_latest = self._ends_seen.get(key, (earliest, latest))
        self._ends_seen[key] = (earliest, latest)
        if latest < seen_latest:
            self._tails.pop(key, None)
        if earliest < seen_earliest or latest < seen_latest:
            for one in [one for one in self._by_time if one[0] == key[0]]:
                self._by_time.pop(one, None)

    def _kept_tail(self, key: PartitionKey, start: int) -> bool | None:
        kept_start, kept_end, until_s, held = self._tails.get(key, (-1, -1, 0.0, False))
        is_same = (kept_start, kept_end) == (start, self._ends_seen.get(key, (0, -2))[1])
        return held if is_same and (not held or time.monotonic() < until_s) else None

    def _keep_tail(self, key: PartitionKey, start: int, held: bool, end: int | None = None) -> None:
        seen_end = self._ends_seen.get(key, (0, -1))[1]
        if seen_end < 0 or (end is not None and end != seen_end):
            return
        if key not in self._tails and len(self._tails) >= KEPT_PARTITIONS:
            self._tails.pop(next(iter(self._tails)), None)
        self._tails[key] = (start, seen_end, time.monotonic() + TAIL_KEPT_S, held)

    def _keep(self, key: PartitionKey, at: datetime, offset: int) -> None:
        kept = self._by_time.get(key)
        if kept is None:
            if len(self._by_time) >= KEPT_PARTITIONS:
                self._by_time.pop(next(iter(self._by_time)), None)
            kept = self._by_time.setdefault(key, {})
        if len(kept) >= KEPT_TIMES:
            kept.pop(next(iter(kept)), None)
        kept[at] = offset


def _list_offsets(
    admin: AdminClient, keys: Sequence[PartitionKey], spec: Any, ends_at: float, **settings: Any
) -> list[tuple[PartitionKey, Any]]:
    """Fire one question about many partitions; `spec` says which offset of each."""
    partitions = {TopicPartition(*key): spec for key in keys}
    fired = admin.list_offsets(partitions, request_timeout=left_s(ends_at), **settings)
    return [((answered.topic, answered.partition), future) for answered, future in fired.items()]


def _milliseconds(at: datetime) -> int:
    """Return Kafka's time: the first record at or after a fraction of a millisecond is at or after the next one."""
    return max(0, -(-((at - _EPOCH) // timedelta(microseconds=1)) // 1000))


def _retention(settings: Mapping[str, Any]) -> Retention:
    """Return what deletes records by the topic's settings as the broker resolved them (TopicConfig.java)."""

    def text(name: str) -> str | None:
        return settings[name].value if name in settings else None

    def limit(name: str) -> int | None:
        value = text(name)
        return None if value is None or int(value) < 0 else int(value)

    def seconds(name: str) -> float | None:
        value = limit(name)
        return None if value is None else value / 1000

    policies = {policy.strip() for policy in (text("cleanup.policy") or "delete").split(",")}
    return Retention(
        retention_s=seconds("retention.ms"),
        retention_bytes=limit("retention.bytes"),
        is_compacted="compact" in policies,
        is_deleted="delete" in policies,
        timestamps=text("message.timestamp.type") or "CreateTime",
        segment_s=seconds("segment.ms"),
    )


def _named(keys: Iterable[PartitionKey]) -> str:
    shown = [f"{topic}/{partition}" for topic, partition in sorted(keys)]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")


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
                f"records of {message.topic()}/{partition}: {reason_of(error, f'READ on topic {message.topic()}')}"
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
