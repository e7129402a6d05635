"""The drill's job runner: a job that reads a topic as its group and commits, until it is stopped.

It stands where a Flink cluster would: partitions are assigned, so the group never has
members; offsets are committed at every checkpoint. It is started and stopped over HTTP.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from confluent_kafka import Consumer, KafkaException
from starlette.routing import Route

from bot.drill.kafka import MockBrokers, commit
from bot.drill.loopback import Answer, route


class Job:
    """One job; `start` and `stop` may be called any number of times."""

    def __init__(self, name: str, brokers: MockBrokers, group: str, topic: str, checkpoint_s: float = 0.4) -> None:
        self.name, self.group, self.topic = name, group, topic
        self._brokers = brokers
        self._checkpoint_s = checkpoint_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._end = threading.Event()
        self._records = 0
        self._checkpoints = 0
        self._cause: str | None = None

    def start(self) -> None:
        """Run from where the group committed; does nothing when it runs."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._end = threading.Event()
            self._cause = None
            self._thread = threading.Thread(
                target=self._run, args=(self._end,), name=f"drill-job-{self.name}", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End after a last checkpoint."""
        with self._lock:
            self._end.set()
            if self._thread is not None:
                self._thread.join(timeout=5)
                self._thread = None

    def document(self) -> dict[str, Any]:
        """State, group and counts."""
        running = self._thread is not None and self._thread.is_alive()
        return {
            "name": self.name,
            "state": "FAILED" if self._cause else "RUNNING" if running else "CANCELED",
            "group": self.group,
            "topic": self.topic,
            "records": self._records,
            "checkpoints": self._checkpoints,
            "cause": self._cause,
        }

    def routes(self, prefix: str) -> list[Route]:
        """Look at jobs, start and stop one."""

        def act(run: Any) -> Any:
            def handler(_: object) -> Answer:
                run()
                return Answer(202, self.document())

            return handler

        return [
            route("GET", prefix, lambda _: Answer(200, [self.document()])),
            route("GET", f"{prefix}/{self.name}", lambda _: Answer(200, self.document())),
            route("POST", f"{prefix}/{self.name}/start", act(self.start)),
            route("POST", f"{prefix}/{self.name}/stop", act(self.stop)),
        ]

    def _run(self, end: threading.Event) -> None:
        consumer = self._brokers.reader(self.group, self.topic)
        try:
            self._consume(consumer, end)
        except KafkaException as error:
            self._cause = str(error)
        finally:
            consumer.close()

    def _consume(self, consumer: Consumer, end: threading.Event) -> None:
        read: dict[int, int] = {}
        checkpoint_at = time.monotonic() + self._checkpoint_s
        while not end.is_set():
            for record in consumer.consume(2000, timeout=0.1):
                partition, offset = record.partition(), record.offset()
                if record.error() or partition is None or offset is None:
                    continue
                read[partition] = offset + 1
                self._records += 1
            if time.monotonic() >= checkpoint_at:
                checkpoint_at = time.monotonic() + self._checkpoint_s
                if commit(consumer, self.topic, read):
                    self._checkpoints += 1
                    read = {}
        commit(consumer, self.topic, read)
