"""The monitor: what the bot knows of every pipeline between incidents, for /metrics, /healthz and /readyz."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime

from bot.dispatcher import Dispatcher
from bot.incident.policy import Policy
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
    def __init__(
        self, store: Store, dispatcher: Dispatcher, runner: Runner, policy: Callable[[], Policy],
        clock: Callable[[], datetime], tally: Tally, version: str,
    ) -> None:  # fmt: skip
        self._store, self._dispatcher, self._runner, self._policy = store, dispatcher, runner, policy
        self._clock, self._tally, self._version = clock, tally, version

    def look(self) -> None:
        for pipeline in self._policy().pipelines.values():
            self._runner.probe_all(pipeline)

    def metrics(self) -> bytes:
        return b""

    def health(self) -> tuple[bool, Mapping[str, object]]:
        return True, {"ok": True}

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        return True, {"ok": True}
