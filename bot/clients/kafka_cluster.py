"""A Kafka cluster as a whole: its topics, its groups, and which group has committed on which topic.

For setting up; the probes ask `bot.clients.kafka`, whose connection and promises these are: nothing is created, no
group is joined, no offset is committed, and an answer that a broker cannot or may not give is a `not_known` line.

Groups are asked `AT_ONCE` at a time, each by a consumer of its own: `AdminClient.list_consumer_group_offsets` makes
librdkafka 2.16 kill the process (see `ConfluentKafka._committed`), and a group is one request in librdkafka anyway.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from bot.clients.kafka import ConfluentKafka
from bot.clients.kafka_connection import kafka_error_of, left_s, lines_of, reason_of
from bot.ports import GroupEntry, KafkaListing, PortError, TopicEntry

AT_ONCE = 8
GROUP_DEADLINE_S = 5.0
SHOWN_GROUPS = 8

_CANNOT_LIST = "groups: this broker cannot list groups"


class ConfluentCluster(ConfluentKafka):
    """Implements `bot.ports.KafkaCluster`. Safe to share between threads; connects at the first call."""

    def read_listing(self, deadline_s: float) -> KafkaListing:
        """Return every topic and group this client may DESCRIBE; Kafka leaves out the others without a word.

        Groups are None where they could not be listed at all. Raises the `PortError` of the topics when those could
        not be.
        """
        ends_at = time.monotonic() + deadline_s
        future = self._admin().list_consumer_groups(request_timeout=left_s(ends_at))
        metadata = self._metadata(ends_at)
        not_known: list[str] = []
        return KafkaListing(
            cluster_id=metadata.cluster_id,
            brokers=len(metadata.brokers),
            topics=_topics(metadata, metadata.topics),
            groups=self._groups(future, ends_at, not_known),
            not_known=tuple(not_known),
        )

    def read_readers(self, groups: Sequence[str], topics: Sequence[str], deadline_s: float) -> KafkaListing:
        """Return those of `groups` with the ones of `topics` on which each has committed, in the order given.

        A group's topics are None where it was not asked before the deadline or may not be described; a `not_known`
        line names it. A topic that the cluster does not list is left out.
        """
        ends_at = time.monotonic() + deadline_s
        metadata = self._metadata(ends_at)
        found = [topic for topic in topics if topic in metadata.topics]
        keys = [(topic, partition) for topic in found for partition in sorted(metadata.topics[topic].partitions)]
        refused: dict[str, list[str]] = {}

        def ask(group: str) -> GroupEntry:
            now = time.monotonic()
            if now >= ends_at:
                refused.setdefault(f"not asked within {deadline_s:g} s", []).append(group)
                return GroupEntry(group, None)
            try:
                committed, errors = self._committed(group, keys, min(ends_at, now + GROUP_DEADLINE_S))
            except PortError as error:
                kafka_error = kafka_error_of(error)
                late = kafka_error is not None and kafka_error.code() == KafkaError._TIMED_OUT
                known = reason_of(None if late else kafka_error, "DESCRIBE on the group")
                reason = known if kafka_error else str(error)
                refused.setdefault(reason, []).append(group)
                return GroupEntry(group, None)
            for line in lines_of("committed offset", errors):
                refused.setdefault(line, []).append(group)
            return GroupEntry(group, None, tuple(sorted({topic for topic, _ in committed})))

        entries: tuple[GroupEntry, ...] = ()
        if groups:
            with ThreadPoolExecutor(min(AT_ONCE, len(groups)), thread_name_prefix="readers") as pool:
                entries = tuple(pool.map(ask, groups))
        return KafkaListing(
            cluster_id=metadata.cluster_id,
            brokers=len(metadata.brokers),
            topics=_topics(metadata, found),
            groups=entries,
            not_known=tuple(f"topics of {_named(names)}: {reason}" for reason, names in sorted(refused.items())),
        )

    def _metadata(self, ends_at: float) -> Any:
        timeout_s = left_s(ends_at)
        try:
            metadata = self._admin().list_topics(timeout=timeout_s)
        except KafkaException as error:
            raise self._port_error(error, "topics", "DESCRIBE on the topics", timeout_s) from error
        self._connection_errors.clear()
        return metadata

    def _groups(self, future: Any, ends_at: float, not_known: list[str]) -> tuple[GroupEntry, ...] | None:
        try:
            answer = self._result(future, "groups", "DESCRIBE on the cluster", ends_at)
        except PortError as error:
            not_known.append(_CANNOT_LIST if _is_unable(kafka_error_of(error)) else str(error))
            return None
        causes = [_cause(error) for error in answer.errors or ()]
        if any(map(_is_unable, causes)) and not answer.valid:
            not_known.append(_CANNOT_LIST)
            return None
        reasons = sorted({reason_of(cause, "DESCRIBE on the cluster") for cause in causes})
        not_known.extend(f"groups: a broker did not list its own: {reason}" for reason in reasons)
        if reasons and not answer.valid:
            return None
        return tuple(
            GroupEntry(name, state, simple=simple)
            for name, state, simple in sorted(
                {(each.group_id, _state(each), bool(each.is_simple_consumer_group)) for each in answer.valid or ()},
                key=lambda entry: entry[0],
            )
        )


def _topics(metadata: Any, names: Iterable[str]) -> tuple[TopicEntry, ...]:
    return tuple(TopicEntry(name, len(metadata.topics[name].partitions)) for name in sorted(names))


def _state(listed: Any) -> str | None:
    """Return the state in Kafka's words, not the Python enum's; None where the broker gives none."""
    name = str(listed.state.name).replace("REBALANCING", "REBALANCE") if listed.state else "UNKNOWN"
    return None if name == "UNKNOWN" else name


def _is_unable(error: KafkaError | None) -> bool:
    return error is not None and error.code() == KafkaError._UNSUPPORTED_FEATURE


def _cause(error: Any) -> KafkaError | None:
    cause = error.args[0] if isinstance(error, KafkaException) else error
    return cause if isinstance(cause, KafkaError) else None


def _named(groups: Sequence[str]) -> str:
    shown, more = ", ".join(sorted(groups)[:SHOWN_GROUPS]), len(groups) - SHOWN_GROUPS
    return f"group{'s' if len(groups) > 1 else ''} {shown}{f' and {more} more' if more > 0 else ''}"
