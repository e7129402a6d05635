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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from bot.clients.kafka_connection import (
    REREAD_S,
    Settings,
    is_name,
    kafka_error_of,
    left_s,
    lines_of,
    only,
    reason_of,
)
from bot.clients.kafka_groups import GroupReader, ReaderFailed
from bot.clients.kafka_log import EndsRow, KafkaLog, Layout
from bot.model import GroupOffsets, Member, PartitionKey, PartitionOffsets
from bot.ports import Denied, KafkaBrokers, Missing, PortError, Unreachable

# librdkafka aborts the process when a DescribeGroups answer arrives after its time-out (librdkafka #4605):
# the request may take this long, the caller stops waiting earlier.
_DESCRIBE_TIMEOUT_S = 30.0

# Of the time that is left: a coordinator that does not answer must leave time for the log's ends.
_COMMITTED_SHARE = 0.6
_LISTING_SHARE = 0.2

FEW_GROUPS = 4
"""So many groups are read each by itself; a process for more costs 0.1 s to start and 40 MB."""

_NOT_A_CONSUMER_GROUP = "it is of a kind that this client cannot describe (Kafka Streams, share group)"
_NOTHING: EndsRow = (None, None, None, None)
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


@dataclass(frozen=True)
class Seen:
    """A group before the ends of its logs are read: its partitions, and of which of them the topic is `gone`, and why.

    `failed` is why not one of its commits is known.
    """

    group: str
    at: datetime
    keys: Sequence[PartitionKey]
    gone: Mapping[PartitionKey, str]
    about: Described
    commits: Commits
    failed: PortError | None = None


class ConfluentKafka(KafkaLog):
    """Implements `bot.ports.Kafka` and `KafkaServer`. Safe to share between threads; connects at the first call."""

    def __init__(self, config: Settings, now: Callable[[], datetime], reread_s: float = REREAD_S) -> None:
        super().__init__(config, now, reread_s)
        self._partitions_seen: dict[str, tuple[int, ...]] = {}
        self._reader = GroupReader()

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
        seen = self._seen(group, at, topics, layout, about, commits, failed)
        there = [key for key in seen.keys if key not in seen.gone]
        return _group_offsets(seen, self._ends(there, ends_at, layout.leaderless).rows(there))

    def read_groups(
        self, wanted: Mapping[str, Sequence[str]], deadline_s: float
    ) -> Mapping[str, GroupOffsets | PortError]:
        """Return each of the `wanted` groups (with its topics, or none: all it has committed), read in one pass.

        FEW_GROUPS are read each by itself. More are asked together by a process of their own, states come from one
        listing, only groups with members are described, and the ends of a log are read once for all groups.
        """
        if len(wanted) > FEW_GROUPS:
            return self._read_many(wanted, time.monotonic() + deadline_s)

        def ask(group: str) -> GroupOffsets | PortError:
            try:
                return self.read_group(group, wanted[group], deadline_s)
            except PortError as error:
                return error

        with ThreadPoolExecutor(FEW_GROUPS, thread_name_prefix="groups") as pool:
            return dict(zip(wanted, pool.map(ask, wanted), strict=True))

    # --- many groups ------------------------------------------------------------------------------

    def _read_many(self, wanted: Mapping[str, Sequence[str]], ends_at: float) -> Mapping[str, GroupOffsets | PortError]:
        found: dict[str, GroupOffsets | PortError] = {}
        for group in wanted:
            try:
                self._check_name(group)
            except Missing as error:
                found[group] = error
        groups = [group for group in wanted if group not in found]
        try:
            # Asked of every broker, and answered when the last of them has answered or has not.
            listing_ends_at = time.monotonic() + _LISTING_SHARE * left_s(ends_at)
            listing = self._admin().list_consumer_groups(request_timeout=left_s(listing_ends_at))
            layout = self._layout({topic for group in groups for topic in wanted[group]}, ends_at, whole=True)
            listed = self._listed(listing, listing_ends_at)
            at = self._now()
            asked = [group for group in groups if listed is not None and listed.get(group) != "EMPTY"]
            within_s = _COMMITTED_SHARE * left_s(ends_at)
            question = {"committed": self._questions(wanted, groups, layout, listed is None), "describe": asked}
            answer = self._ask_reader(question, within_s)
        except PortError as error:
            return {**found, **dict.fromkeys(groups, error)}
        seen: list[Seen] = []
        for group in groups:
            topics, (commits, failed) = wanted[group], self._commits_told(group, answer["committed"][group], within_s)
            about = self._description_told(group, answer["described"].get(group), listed, within_s)
            if failed is not None and not (topics and any(topic in layout.partitions for topic in topics)):
                found[group] = failed
                continue
            if failed is not None:
                why = f"needs the ACL DESCRIBE on group {group}" if isinstance(failed, Denied) else str(failed)
                commits = Commits(errors=dict.fromkeys(self._named_keys(topics, layout), why))
            try:
                seen.append(self._seen(group, at, topics, layout, about, commits, failed))
            except PortError as error:
                found[group] = error
        keys = {key for one in seen for key in one.keys if key not in one.gone}
        try:
            rows = self._ends(list(keys), ends_at, layout.leaderless).rows(keys)
        except PortError as error:
            return {**dict.fromkeys(groups, error), **found}
        found.update({one.group: _group_offsets(one, rows) for one in seen})
        return {group: found[group] for group in wanted}

    def _listed(self, listing: Future[Any], ends_at: float) -> dict[str, str] | None:
        """Return the state of each listed group, in Kafka's words; None where this broker cannot list groups."""
        try:
            answer = self._result(listing, "groups", "DESCRIBE on the cluster", ends_at)
        except PortError as error:
            cause = kafka_error_of(error)
            return None if cause is not None and cause.code() == KafkaError._UNSUPPORTED_FEATURE else {}
        causes = [error.args[0] if isinstance(error, KafkaException) else error for error in answer.errors or ()]
        codes = {cause.code() for cause in causes if isinstance(cause, KafkaError)}
        if not answer.valid and KafkaError._UNSUPPORTED_FEATURE in codes:
            return None
        return {each.group_id: _word(each.state.name) for each in answer.valid or () if each.state is not None}

    def _questions(
        self, wanted: Mapping[str, Sequence[str]], groups: Sequence[str], layout: Layout, named: bool
    ) -> dict[str, Any]:
        """Return what to ask of each group: all that it committed, or with the partitions `named`.

        Brokers that cannot list groups are librdkafka's mock brokers, and those want the names.
        """
        if not named:
            return dict.fromkeys(groups)
        named_of: dict[str, Any] = {}
        for group in groups:
            topics = [topic for topic in wanted[group] or layout.partitions if topic in layout.partitions]
            named_of[group] = {topic: layout.partitions[topic] for topic in topics} or None
        return named_of

    def _commits_told(self, group: str, answer: Mapping[str, Any], within_s: float) -> tuple[Commits, PortError | None]:
        """Return what the reading process was told of a group's commits, or why they are not known."""
        if "error" in answer:
            return Commits(), self._told(answer["error"], f"committed offsets of {group}", group, within_s)
        offsets: dict[PartitionKey, int] = {}
        for topic, flat in answer["offsets"].items():
            numbers = iter(flat)
            offsets.update({(topic, partition): offset for partition, offset in zip(numbers, numbers, strict=True)})
        errors = {
            (topic, partition): reason_of(KafkaError(code, text), f"DESCRIBE on topic {topic}")
            for topic, partition, code, text in answer["errors"]
        }
        return Commits(offsets, errors), None

    def _description_told(
        self, group: str, answer: Mapping[str, Any] | None, listed: Mapping[str, str] | None, within_s: float
    ) -> Described:
        """Return state and members of a group; an empty one is known from the listing alone."""
        if listed is None:
            return Described(lines=(f"state of group {group}: {_CANNOT_DESCRIBE}",))
        if answer is None:
            return Described(listed[group], 0)
        if "error" in answer:
            failed = self._told(answer["error"], f"state of group {group}", group, within_s)
            about = Described("DEAD", 0) if isinstance(failed, Missing) else _undescribed(group, failed)
        else:
            about = _told_state(group, _word(answer["state"]), tuple(_member_told(*one) for one in answer["members"]))
        # Listed, and nobody's to describe: Kafka Streams' own protocol (KIP-1071), share groups.
        if about.state in (None, "DEAD") and group in listed:
            line = f"members of group {group}: {_NOT_A_CONSUMER_GROUP}"
            return Described(listed[group], lines=about.lines or (line,), denied=about.denied)
        return about

    def _ask_reader(self, question: Mapping[str, Any], deadline_s: float) -> dict[str, Any]:
        settings = {name: value for name, value in self._settings().items() if name != "error_cb"}
        try:
            return self._reader.ask(settings, self._version, question, deadline_s)
        except ReaderFailed as error:
            raise Unreachable(f"{self._where}: {error}") from error

    def _told(self, error: Sequence[Any], asked: str, group: str, within_s: float) -> PortError:
        """Return what the reading process was told as an error of the port, with Kafka's own behind it."""
        cause = KafkaException(KafkaError(*error))
        told = self._port_error(cause, asked, f"DESCRIBE on group {group}", within_s)
        told.__cause__ = cause
        return told

    # --- one group --------------------------------------------------------------------------------

    def _check_name(self, group: str) -> None:
        if not is_name(group):
            raise Missing(f"no consumer group {group!a} on {self._where}: no group can have that name")

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
        committed_ends_at = time.monotonic() + _COMMITTED_SHARE * left_s(ends_at)
        try:
            return self._committed_by(consumer, group, keys, committed_ends_at), None
        except PortError as error:
            why = f"needs the ACL DESCRIBE on group {group}" if isinstance(error, Denied) else str(error)
            return Commits(errors=dict.fromkeys(keys, why)), error

    def _seen(
        self,
        group: str,
        at: datetime,
        topics: Sequence[str],
        layout: Layout,
        about: Described,
        commits: Commits,
        failed: PortError | None,
    ) -> Seen:
        """Return the group with the partitions to answer for. Raises Missing for one that does not exist."""
        if about.state == "DEAD":
            if not commits.offsets and failed is None:
                raise Missing(f"no consumer group {group} on {self._where}")
            about = Described(lines=(f"members of group {group}: {_NOT_A_CONSUMER_GROUP}",))
        keys = self._keys(topics, layout, commits, about)
        return Seen(group, at, keys, self._gone(keys, layout, commits, about), about, commits, failed)

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
        self, keys: Sequence[PartitionKey], layout: Layout, commits: Commits, about: Described
    ) -> dict[PartitionKey, str]:
        """Return why partitions are not in the cluster's metadata: deleted, unknown or not to be seen."""
        shown = set(layout.keys({topic for topic, _ in keys}))
        gone = [key for key in keys if key not in shown]
        known = {topic for topic, _ in (*commits.offsets, *about.assigned)} if gone else set()

        def why(topic: str, partition: int) -> str:
            absent = layout.absent.get(topic)
            if topic in layout.partitions:
                return f"topic {topic} no longer has partition {partition}"
            if absent is not None and not isinstance(absent, Missing):
                reason = reason_of(kafka_error_of(absent), f"DESCRIBE on topic {topic}")
                return f"partitions of topic {topic}: {reason}"
            was = topic in known or topic in self._partitions_seen
            return f"topic {topic} {'no longer exists' if was else 'does not exist'}"

        return {key: why(*key) for key in gone}

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
            return _undescribed(group, error)
        return _told_state(group, _word(answer.state.name), tuple(_member(member) for member in answer.members))


def _undescribed(group: str, error: PortError) -> Described:
    cause = kafka_error_of(error)
    unable = cause is not None and cause.code() == KafkaError._UNSUPPORTED_FEATURE
    line = f"state of group {group}: {_CANNOT_DESCRIBE}" if unable else str(error)
    return Described(lines=(line,), denied=error if isinstance(error, Denied) else None)


def _told_state(group: str, state: str, membership: tuple[Member, ...]) -> Described:
    if state == "UNKNOWN":
        line = f"state of group {group}: a state this client has no word for"
        return Described(None, len(membership), membership, (line,))
    return Described(state, len(membership), membership)


def _word(state: str) -> str:
    """Return Kafka's word for a state, not the Python enum's."""
    return state.replace("REBALANCING", "REBALANCE")


def _member(member: Any) -> Member:
    assigned = member.assignment.topic_partitions if member.assignment is not None else ()
    return Member(
        id=member.member_id,
        client=member.client_id,
        host=member.host,
        partitions=tuple(sorted((found.topic, found.partition) for found in assigned)),
    )


def _member_told(id: str, client: str, host: str, assigned: Mapping[str, Sequence[int]]) -> Member:
    keys = sorted((topic, partition) for topic, partitions in assigned.items() for partition in partitions)
    return Member(id, client, host, tuple(keys))


def _group_offsets(seen: Seen, rows: Mapping[PartitionKey, EndsRow]) -> GroupOffsets:
    """Return one group's answer; a partition that is gone and has no commit is not known, not "never committed"."""
    gone, about, committed_of = seen.gone, seen.about, seen.commits.offsets.get
    errors = seen.commits.errors
    partitions = []
    for key in seen.keys:
        topic, partition = key
        committed, (earliest, latest, last_stable, error) = committed_of(key), rows.get(key, _NOTHING)
        is_known = True
        if gone or errors:
            is_known = committed is not None if key in gone else key not in errors
            error = gone.get(key) or errors.get(key) or error
        partitions.append(PartitionOffsets(topic, partition, committed, earliest, latest, is_known, error, last_stable))
    return GroupOffsets(
        seen.group, seen.at, about.state, about.members, tuple(partitions), _not_known(seen, rows), about.membership
    )


def _not_known(seen: Seen, rows: Mapping[PartitionKey, EndsRow]) -> tuple[str, ...]:
    """Return what could not be seen, each reason once."""
    lines = list(seen.about.lines)
    ends = {key: why for key in seen.keys if key in rows and (why := rows[key][3]) is not None}
    if ends:
        lines += lines_of("log offsets", ends)
    if seen.failed is not None and seen.about.denied is None:
        lines.append(str(seen.failed))
    elif seen.failed is None and seen.commits.errors:
        known = set(seen.keys) - seen.gone.keys()
        lines += lines_of("committed offset", {key: why for key, why in seen.commits.errors.items() if key in known})
    lines += sorted(set(seen.gone.values()))
    if not seen.keys:
        lines.append(f"partitions of {seen.group}: it has committed nothing and no partition is assigned to it")
    return tuple(lines)
