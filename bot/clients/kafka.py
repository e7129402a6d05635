"""Consumer groups on confluent-kafka: read-only, without a trace left on the cluster.

Promise
    Asking never creates a topic (`allow.auto.create.topics` is false whatever the config says: Kafka
    creates on metadata requests otherwise), never joins a group and never commits an offset.
    Committed offsets are read before the log's ends, so a lag computed from them is never negative.
    Every request has a time-out; a call ends within its deadline, give or take 0.1 s.
    What a broker cannot or may not tell is None with a `not_known` line; only an answer that is wholly
    absent is an error. A topic that was deleted or may not be seen, and a broker that fails, make their own partitions
    unknown and no others.

Not every broker can tell everything: librdkafka's mock brokers do not describe groups, so an unknown group
cannot be told there; on Kafka an unknown group is "DEAD with 0 members", not an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from bot.clients.kafka_connection import (
    REREAD_S,
    Settings,
    kafka_error_of,
    left_s,
    lines_of,
    only,
    reason_of,
)
from bot.clients.kafka_log import Ends, KafkaLog, Layout
from bot.model import GroupOffsets, Member, PartitionKey, PartitionOffsets
from bot.ports import Denied, KafkaBrokers, Missing, PortError, Unreachable

# librdkafka aborts the process when a DescribeGroups answer arrives after its time-out (librdkafka #4605):
# the request may take this long, the caller stops waiting earlier.
_DESCRIBE_TIMEOUT_S = 30.0

# Of the time that is left: a coordinator that does not answer must leave time for the log's ends.
_COMMITTED_SHARE = 0.6

_CANNOT_DESCRIBE = "this broker cannot list or describe groups"


@dataclass(frozen=True)
class Described:
    """A group as its coordinator describes it; None is not told, and `lines` say why."""

    state: str | None = None
    members: int | None = None
    membership: tuple[Member, ...] = ()
    lines: tuple[str, ...] = ()
    denied: Denied | None = None

    @property
    def assigned(self) -> set[PartitionKey]:
        return {key for member in self.membership for key in member.partitions}


@dataclass(frozen=True)
class Commits:
    """What a group has committed; `errors` are of partitions whose commit is not known."""

    offsets: Mapping[PartitionKey, int] = field(default_factory=dict)
    errors: Mapping[PartitionKey, str] = field(default_factory=dict)


class ConfluentKafka(KafkaLog):
    """Implements `bot.ports.Kafka` and `KafkaServer`. Safe to share between threads; connects at the first call."""

    def __init__(self, config: Settings, now: Callable[[], datetime], reread_s: float = REREAD_S) -> None:
        super().__init__(config, now, reread_s)
        self._partitions_seen: dict[str, tuple[int, ...]] = {}

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

        A partition of such a topic without a commit is included, with `committed` None; so is one of a topic that was
        deleted, with an error. Raises Missing where no named topic exists, and for a group that the broker calls dead
        and that has committed nothing.
        """
        ends_at = time.monotonic() + deadline_s
        self._check_name(group)
        # Fired first, and the consumer connects to the group's coordinator while the metadata is on its way: committed
        # offsets are asked for with the wide topic known.
        admin = self._admin()  # kept until the end: futures fail when their client is collected
        described = only(admin.describe_consumer_groups([group], request_timeout=_DESCRIBE_TIMEOUT_S))
        consumer = self._consumer(group, {"isolation.level": "read_uncommitted"})
        try:
            layout = self._layout(topics, ends_at)
            at = self._now()
            asked = self._named_keys(topics, layout) if topics else layout.keys(layout.partitions)
            commits, failed = self._try_committed(consumer, group, asked, ends_at)
        finally:
            consumer.close()
        about = self._described(described, group, ends_at)
        if failed is not None and (not topics or not layout.partitions):
            raise failed
        if about.denied is not None and not topics:
            raise about.denied
        return self._assembled(group, at, topics, layout, about, commits, failed, ends_at)

    def read_groups(
        self, wanted: Mapping[str, Sequence[str]], deadline_s: float
    ) -> Mapping[str, GroupOffsets | PortError]:
        """Return each of the `wanted` groups (with its topics, or none: all it has committed), read in one pass."""

        def ask(group: str) -> GroupOffsets | PortError:
            try:
                return self.read_group(group, wanted[group], deadline_s)
            except PortError as error:
                return error

        with ThreadPoolExecutor(8, thread_name_prefix="groups") as pool:
            return dict(zip(wanted, pool.map(ask, wanted), strict=True))

    # --- one group --------------------------------------------------------------------------------

    def _check_name(self, group: str) -> None:
        if not group or "\0" in group:
            raise Missing(f"no consumer group {group!r} on {self._where}: no group can have that name")

    def _named_keys(self, topics: Sequence[str], layout: Layout) -> list[PartitionKey]:
        """Return the partitions of named topics; of an absent topic those that it once had, or the first."""
        return [
            (topic, partition)
            for topic in dict.fromkeys(topics)
            for partition in layout.partitions.get(topic) or self._partitions_seen.get(topic, (0,))
        ]

    def _try_committed(
        self, consumer: Consumer, group: str, keys: Sequence[PartitionKey], ends_at: float
    ) -> tuple[Commits, PortError | None]:
        """Return the commits, or none of them and why: the ends of the log may be known all the same."""
        now_s = time.monotonic()
        try:
            return self._committed_by(consumer, group, keys, now_s + _COMMITTED_SHARE * (ends_at - now_s)), None
        except PortError as error:
            why = f"needs the ACL DESCRIBE on group {group}" if isinstance(error, Denied) else str(error)
            return Commits(errors=dict.fromkeys(keys, why)), error

    def _assembled(
        self,
        group: str,
        at: datetime,
        topics: Sequence[str],
        layout: Layout,
        about: Described,
        commits: Commits,
        failed: PortError | None,
        ends_at: float,
    ) -> GroupOffsets:
        """Return the group with the ends of its partitions' logs, read now: after its commits."""
        if about.state == "DEAD":
            if not commits.offsets and failed is None:
                raise Missing(f"no consumer group {group} on {self._where}")
            about = Described(lines=(f"members of group {group}: it is no group that this client can describe",))
        keys = self._keys(topics, layout, commits, about)
        gone = self._gone(keys, layout, commits, about)
        errors = {key: commits.errors[key] for key in keys if key in commits.errors and key not in gone}
        not_known = [*about.lines]
        if failed is not None:
            if not isinstance(failed, Denied) or about.denied is None:
                not_known.append(str(failed))
        else:
            not_known += lines_of("committed offset", errors)
        not_known += sorted({f"{why}" for why in gone.values()})
        if not keys:
            not_known.append(f"partitions of {group}: it has committed nothing and no partition is assigned to it")
        ends = self._ends([key for key in keys if key not in gone], ends_at, layout.leaderless)
        not_known[len(about.lines) : len(about.lines)] = lines_of("log offsets", ends.errors)
        return _group_offsets(group, at, keys, commits, errors, gone, ends, about, not_known)

    def _keys(self, topics: Sequence[str], layout: Layout, commits: Commits, about: Described) -> list[PartitionKey]:
        """Return the partitions to answer for: whole topics, since those without a commit are the ones to worry about.

        Of topics that are not shown those that are committed, assigned or remembered.
        """
        if topics:
            keys = set(self._named_keys(topics, layout))
            keys.update(key for key in commits.offsets if key[0] in layout.absent)
        else:
            keys = {*commits.offsets, *about.assigned}
            keys.update(layout.keys({topic for topic, _ in keys}))
        for topic in {topic for topic, _ in keys}:
            if topic in layout.partitions:
                self._partitions_seen[topic] = layout.partitions[topic]
        return sorted(keys)

    def _gone(
        self, keys: Iterable[PartitionKey], layout: Layout, commits: Commits, about: Described
    ) -> dict[PartitionKey, str]:
        """Return why partitions are not in the cluster's metadata: deleted, unknown or not to be seen."""
        gone: dict[PartitionKey, str] = {}
        proofs = {topic for topic, _ in (*commits.offsets, *about.assigned)} | self._partitions_seen.keys()
        for key in keys:
            topic, partition = key
            if topic not in layout.partitions:
                absent = layout.absent.get(topic)
                if absent is not None and not isinstance(absent, Missing):
                    why = reason_of(kafka_error_of(absent), f"DESCRIBE on topic {topic}")
                    gone[key] = f"partitions of topic {topic}: {why}"
                else:
                    gone[key] = f"topic {topic} {'no longer exists' if topic in proofs else 'does not exist'}"
            elif partition not in layout.partitions[topic]:
                gone[key] = f"topic {topic} no longer has partition {partition}"
        return gone

    # --- one request each -------------------------------------------------------------------------

    def _committed(
        self, group: str, keys: Sequence[PartitionKey], ends_at: float
    ) -> tuple[Mapping[PartitionKey, int], Mapping[PartitionKey, str]]:
        """Return committed offsets and errors per partition."""
        # With read_committed the broker would withhold offsets while a transaction is open.
        consumer = self._consumer(group, {"isolation.level": "read_uncommitted"})
        try:
            commits = self._committed_by(consumer, group, keys, ends_at)
        finally:
            consumer.close()
        return commits.offsets, commits.errors

    def _committed_by(self, consumer: Consumer, group: str, keys: Sequence[PartitionKey], ends_at: float) -> Commits:
        """Return committed offsets and errors per partition; no group is joined and nothing is committed.

        Asked by a consumer, not by the AdminClient: when the group's coordinator moves or is still loading,
        `list_consumer_group_offsets` makes librdkafka 2.16 dereference the group that an admin client does not have
        (rd_kafka_handle_OffsetFetch -> rd_kafka_cgrp_op) and kills the process. Seen on Kafka 4.1.1.
        """
        if not keys:
            return Commits()
        timeout_s = left_s(ends_at)
        try:
            answers = consumer.committed([TopicPartition(*key) for key in keys], timeout=timeout_s)
        except KafkaException as error:
            raise self._port_error(
                error, f"committed offsets of {group}", f"DESCRIBE on group {group}", timeout_s
            ) from error
        offsets, errors = {}, {}
        for found in answers:
            if found.error is not None:
                errors[(found.topic, found.partition)] = reason_of(found.error, f"DESCRIBE on topic {found.topic}")
            elif found.offset >= 0:
                offsets[(found.topic, found.partition)] = found.offset
        return Commits(offsets, errors)

    def _described(self, future: Future[Any], group: str, ends_at: float) -> Described:
        """Return state and members; what is lacking becomes a line."""
        try:
            # A third of what is left: the offsets are the answer, the state is a word beside it.
            answer = self._result(
                future, f"state of group {group}", f"DESCRIBE on group {group}", time.monotonic() + left_s(ends_at) / 3
            )
        except Missing:
            return Described("DEAD", 0)
        except PortError as error:
            cause = kafka_error_of(error)
            unable = cause is not None and cause.code() == KafkaError._UNSUPPORTED_FEATURE
            line = f"state of group {group}: {_CANNOT_DESCRIBE}" if unable else str(error)
            return Described(lines=(line,), denied=error if isinstance(error, Denied) else None)
        membership = tuple(_member(member) for member in answer.members)
        # Kafka's words, not the Python enum's.
        state = answer.state.name.replace("REBALANCING", "REBALANCE")
        if state == "UNKNOWN":
            line = f"state of group {group}: a state this client has no word for"
            return Described(None, len(membership), membership, (line,))
        return Described(state, len(membership), membership)


def _member(member: Any) -> Member:
    assigned = member.assignment.topic_partitions if member.assignment is not None else ()
    return Member(
        id=member.member_id,
        client=member.client_id,
        host=member.host,
        partitions=tuple(sorted((found.topic, found.partition) for found in assigned)),
    )


def _group_offsets(
    group: str,
    at: datetime,
    keys: Iterable[PartitionKey],
    commits: Commits,
    errors: Mapping[PartitionKey, str],
    gone: Mapping[PartitionKey, str],
    ends: Ends,
    about: Described,
    not_known: Iterable[str],
) -> GroupOffsets:
    """Return one group's answer; a partition that is gone and has no commit is not known, not "never committed"."""
    return GroupOffsets(
        group=group,
        at=at,
        state=about.state,
        members=about.members,
        partitions=tuple(
            PartitionOffsets(
                key[0],
                key[1],
                commits.offsets.get(key),
                ends.earliest.get(key),
                ends.latest.get(key),
                key not in errors and (key not in gone or key in commits.offsets),
                gone.get(key) or errors.get(key) or ends.errors.get(key),
                ends.last_stable.get(key),
            )
            for key in keys
        ),
        not_known=tuple(not_known),
        membership=about.membership,
    )
