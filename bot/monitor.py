"""The monitor: what the bot knows of every pipeline between incidents, for /metrics, /healthz and /readyz.

A pass probes every pipeline and keeps its findings and counters until the next one; the counters are saved,
so that what happened during a restart is still counted. A scrape reads the last pass and calls nobody.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from bot.dispatcher import Dispatcher
from bot.incident.policy import Policy
from bot.metrics import Counters, Snapshot, advance, counters_document, health, read_counters, ready, render
from bot.model import Finding
from bot.ports import ChatLinks
from bot.runner import Runner
from bot.store.sqlite import Store


class Tally:
    """Counts since the start, by reason; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._errors: Counter[str] = Counter()
        self._webhooks: Counter[str] = Counter()

    def error(self, reason: str) -> None:
        with self._lock:
            self._errors[reason] += 1

    def webhook(self, result: str) -> None:
        with self._lock:
            self._webhooks[result] += 1

    def errors(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._errors)

    def webhooks(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._webhooks)


class Monitor:
    """`look` is one pass, called by the schedule; the rest answers scrapes from what it saw.

    `chat_links` tells how Socket Mode stands; None where Slack comes to us. `notice` is told for as long as it runs.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        runner: Runner,
        policy: Callable[[], Policy],
        clock: Callable[[], datetime],
        tally: Tally,
        version: str,
        chat_links: Callable[[], ChatLinks | None] = lambda: None,
        notice: str = "",
    ) -> None:
        self._store, self._dispatcher, self._runner, self._policy = store, dispatcher, runner, policy
        self._clock, self._tally, self._version = clock, tally, version
        self._chat_links, self._notice = chat_links, notice
        self._findings: Mapping[str, Sequence[Finding]] = {}
        self._counters: Counters = read_counters(store.counters())
        self._looked_at: datetime | None = None

    def look(self) -> None:
        """Probe every pipeline, move the counters, save them when they moved."""
        findings: dict[str, Sequence[Finding]] = {}
        counters = self._counters
        for pipeline in self._policy().pipelines.values():
            findings[pipeline.name] = self._runner.probe_all(pipeline)
            counters = advance(counters, pipeline, findings[pipeline.name])
        if counters != self._counters:
            self._store.save_counters(counters_document(counters))
        self._findings, self._counters, self._looked_at = findings, counters, self._clock()

    def metrics(self) -> bytes:
        return render(self._snapshot())

    def health(self) -> tuple[bool, Mapping[str, object]]:
        alive, reasons = health(self._snapshot())
        return alive, {"alive": alive, "version": self._version, "wrong": list(reasons)}

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        well, reasons = ready(self._snapshot())
        return well, {"ready": well, "version": self._version, "wrong": list(reasons)}

    def _snapshot(self) -> Snapshot:
        depths, now = self._store.depths(), self._clock()
        links = self._chat_links()

        def age_s(at: datetime | None) -> float | None:
            return None if at is None else round((now - at).total_seconds(), 1)

        return Snapshot(
            version=self._version,
            notice=self._notice,
            findings=self._findings,
            counters=self._counters,
            write_error=depths["write_error"],
            inbox_depth=depths["inbox"],
            inbox_oldest_s=age_s(depths["inbox_oldest"]),
            outbox_depth=depths["outbox"],
            outbox_oldest_s=age_s(depths["outbox_oldest"]),
            outbox_attempts=depths["outbox_attempts"],
            tasks_depth=depths["tasks"],
            incidents_open=Counter(incident.severity for incident in self._dispatcher.board().open()),
            errors=self._tally.errors(),
            webhooks=self._tally.webhooks(),
            unreadable=depths["unreadable"],
            outbox_failed=depths["outbox_failed"],
            outbox_error=depths["outbox_error"],
            last_pass_s=age_s(self._looked_at),
            links=links.connected if links else None,
            links_down_s=links.down_s if links else None,
            links_error=links.error if links else "",
            links_greeted=links is not None and links.hello_s is not None,
        )
