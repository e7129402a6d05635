"""A broker with groups that go wrong in known ways, and an observer that reads them as the bot's sampler does.

The observer asks with the bot's own client and follows the reads with the bot's own code; what a test judges is what
the bot would say. Everything else here is confluent-kafka, doing to real Kafka what consumers and producers do.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bot.clients.kafka_cluster import ConfluentCluster
from bot.lag.track import GroupTrack, follow
from bot.model import ConsumerGroup, Finding, GroupKind, GroupOffsets, LagThreshold, Objective
from bot.ports import Flink, PortError
from bot.probes.consumer_lag import Watched, finding_of, look_at
from bot.probes.sources import Sources
from tests.system.parts import wait_until

SILENT = logging.getLogger("tests.lag_lab")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False

OBJECTIVE = Objective(lag_warn=LagThreshold(1_000, 60), lag_page=LagThreshold(1_000_000, 60))


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Rate:
    """What runs `act(n)` so that n adds up to `per_s`; ends with the lab, or by `stop`."""

    per_s: float
    act: Callable[[int], object]
    stopped: threading.Event

    def run(self) -> None:
        began_s, done = time.monotonic(), 0
        while not self.stopped.wait(0.2):
            due = int((time.monotonic() - began_s) * self.per_s) - done
            if due > 0:
                self.act(due)
                done += due

    def stop(self) -> None:
        self.stopped.set()


class Lab:
    """Groups on one broker, observed every `every_s` seconds."""

    def __init__(self, bootstrap: str, every_s: float = 1.0, flink: Flink | None = None) -> None:
        self.bootstrap = bootstrap
        self.kafka = ConfluentCluster({"bootstrap.servers": bootstrap}, utc_now)
        self._every_s = every_s
        self._watched: dict[str, Watched] = {}
        self._tracks: dict[str, GroupTrack] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._rates: list[Rate] = []
        self._stack = contextlib.ExitStack()
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "allow.auto.create.topics": False, "linger.ms": 5}, logger=SILENT
        )
        self.sources = Sources(
            self.kafka, track_of=self._tracks.get, note=self._note, cluster=self.kafka, flink=flink, deadline_s=8.0
        )
        self._observer = threading.Thread(target=self._observe, name="observer", daemon=True)

    def __enter__(self) -> Lab:
        self._observer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for rate in self._rates:
            rate.stop()
        self._observer.join(20)
        self._stack.close()

    # --- watching ---

    def watch(
        self,
        group: str,
        topic: str,
        kind: GroupKind = GroupKind.CONSUMER,
        commit_interval_s: float | None = None,
        objective: Objective = OBJECTIVE,
        job: str | None = None,
    ) -> Watched:
        watched = Watched(ConsumerGroup(group, kind, job, (topic,), commit_interval_s), "lab", objective)
        with self._lock:
            self._watched[group] = watched
        return watched

    def look(self, group: str, **sources: object) -> Finding:
        """Return what the bot says of a group now, with the reads of the observer behind it."""
        asked = replace(self.sources, **sources)  # type: ignore[arg-type]
        return finding_of(look_at(asked, self._watched[group]), utc_now())

    def once(self, group: str) -> Finding:
        """Return what one question without any memory says."""
        return finding_of(look_at(Sources(self.kafka, deadline_s=8.0), self._watched[group]), utc_now())

    def until(self, group: str, verdict: str, deadline_s: float = 40.0) -> Finding:
        """Wait for a verdict and return the finding; the last other one is in the error."""
        last: list[Finding] = []

        def is_so() -> bool:
            last[:] = [self.look(group)]
            return last[0].verdict == verdict

        try:
            wait_until(is_so, f"{group} {verdict}", deadline_s, 0.5)
        except Exception as error:
            said = last[0] if last else None
            raise AssertionError(
                f"{group} never was {verdict}; last: {said and (said.verdict, said.evidence, said.not_known)}"
            ) from error
        return last[0]

    def _observe(self) -> None:
        while not self._stop.wait(self._every_s):
            with self._lock:
                wanted = {group: watched.consumer.topics for group, watched in self._watched.items()}
            for read in self.kafka.read_groups(wanted, 8.0).values():
                if not isinstance(read, PortError):
                    self._note(read)

    def _note(self, read: GroupOffsets) -> None:
        with self._lock:
            self._tracks[read.group] = follow(self._tracks.get(read.group), read)

    # --- making topics and records ---

    def topic(self, name: str, partitions: int = 1, **config: str) -> str:
        named = {key.replace("_", "."): value for key, value in config.items()}
        for future in self._admin.create_topics([NewTopic(name, partitions, 1, config=named)]).values():
            future.result(timeout=30)

        def has_leaders() -> bool:
            try:
                return self.kafka.read_topic(name, 5).end_total == 0
            except PortError:
                return False

        wait_until(has_leaders, f"topic {name}")
        return name

    def produce(self, topic: str, records: int, partition: int = 0, **fields: object) -> None:
        for number in range(records):
            if number % 50_000 == 0:
                self._producer.poll(0)
            self._producer.produce(topic, b"%d" % number, partition=partition, **fields)
        assert 0 == self._producer.flush(30)

    def delete(self, topic: str, before: int, partition: int = 0) -> None:
        """Delete the records below an offset, as retention does."""
        fired = self._admin.delete_records([TopicPartition(topic, partition, before)])
        for future in fired.values():
            future.result(20)

    def produce_at(self, topic: str, per_s: float, partition: int = 0) -> Rate:
        return self.start(lambda count: self.produce(topic, count, partition), per_s)

    def transactional(self, name: str) -> Producer:
        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "transactional.id": name, "transaction.timeout.ms": 600_000},
            logger=SILENT,
        )
        producer.init_transactions(30)
        return producer

    # --- committing ---

    def committer(self, group: str) -> Callable[[str, Mapping[int, int]], None]:
        """Return `commit(topic, offsets)` of a consumer that is no member: what assign() and Flink look like."""
        consumer = self._consumer(group)
        self._stack.callback(consumer.close)

        def commit(topic: str, offsets: Mapping[int, int]) -> None:
            places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]

            def is_committed() -> bool:
                try:
                    consumer.commit(offsets=places, asynchronous=False)
                except KafkaException:
                    return False
                return True

            wait_until(is_committed, f"commit of {group}")

        return commit

    def commit_at(self, group: str, topic: str, per_s: float, partition: int = 0, start: int = 0) -> Rate:
        """Commit ever further, five times a second, `per_s` records each second, never past the log's end."""
        commit, at = self.committer(group), [start]
        commit(topic, {partition: start})

        def forward(count: int) -> None:
            end = self.kafka.read_topic(topic, 5).partitions[partition][1]
            at[0] = min(at[0] + count, end or 0)
            commit(topic, {partition: at[0]})

        return self.start(forward, per_s)

    def member(self, group: str, topics: Sequence[str], **settings: object) -> Member:
        """Start a real consumer that joins the group, reads everything and commits each half second."""
        member = Member(self._consumer(group, **settings), topics)
        self._stack.callback(member.stop)
        return member

    def close(self, members: Sequence[Member]) -> None:
        """Let members leave within one moment, as those of a worker that ends do."""
        for member in members:
            member.leave()
        for member in members:
            member.stop()

    def _consumer(self, group: str, **settings: object) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": False,
                **{key.replace("_", "."): value for key, value in settings.items()},
            },
            logger=SILENT,
        )

    def start(self, act: Callable[[int], object], per_s: float) -> Rate:
        """Do `act(n)` for ever, so that n adds up to `per_s`."""
        rate = Rate(per_s, act, threading.Event())
        self._rates.append(rate)
        threading.Thread(target=rate.run, daemon=True).start()
        return rate


class Member:
    """A consumer in a thread of its own. `paused` partitions are not read; `asleep` stops polling altogether."""

    COMMIT_EVERY_S = 0.5

    def __init__(self, consumer: Consumer, topics: Sequence[str]) -> None:
        self._consumer = consumer
        self._paused: frozenset[int] = frozenset()
        self.asleep = threading.Event()
        self._stop = threading.Event()
        consumer.subscribe(list(topics))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def pause(self, *partitions: int) -> None:
        """Stop reading some partitions for good, as a consumer does whose handler hangs on a record of theirs."""
        self._paused = frozenset(partitions)

    def leave(self) -> None:
        self._stop.set()

    def stop(self) -> None:
        self.leave()
        self._thread.join(20)

    def _run(self) -> None:
        read_to: dict[tuple[str, int], int] = {}
        committed_s = time.monotonic()
        while not self._stop.is_set():
            if self.asleep.is_set():
                self._stop.wait(0.2)
                continue
            for message in self._consumer.consume(500, 0.1):
                place = (message.topic() or "", message.partition() or 0)
                if message.error() is None and place[1] not in self._paused:
                    read_to[place] = (message.offset() or 0) + 1
            if time.monotonic() - committed_s > self.COMMIT_EVERY_S and read_to:
                with contextlib.suppress(KafkaException):  # thrown out meanwhile: the next round joins again
                    self._consumer.commit(
                        offsets=[TopicPartition(*place, offset) for place, offset in read_to.items()],
                        asynchronous=False,
                    )
                committed_s = time.monotonic()
                read_to.clear()
        self._consumer.close()
