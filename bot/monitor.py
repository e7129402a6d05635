"""The monitor: what the bot knows of every pipeline between incidents, for /metrics, /healthz and /readyz.

A pass probes every pipeline and keeps its findings and counters until the next one; the counters are saved,
so that what happened during a restart is still counted. A scrape reads the last pass and calls nobody.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from bot.dispatcher import Dispatcher
from bot.incident.policy import Policy
from bot.incident.refusals import (
    FROM_CI,
    FROM_LOG,
    FROM_PROMETHEUS,
    INBOX_KIND,
    SUBJECT_NOT_KNOWN,
    RefusedSchema,
    increases,
    read_ledger,
    write_refused,
)
from bot.metrics import (
    Counters,
    Snapshot,
    advance,
    conflicts_of,
    counters_document,
    health,
    newly_refused,
    read_counters,
    ready,
    render,
)
from bot.model import Finding, in_one_line
from bot.ports import ChatChannel, ChatError, ChatLinks, ChatSetup, PortError, Series
from bot.runner import Runner
from bot.sampler import Sampler
from bot.store.sqlite import Store

log = logging.getLogger("cdc.monitor")

SPEECH_HOLDS = timedelta(minutes=5)
UNREACHED = frozenset(
    {"connection_lost", "ratelimited", "redirected", "service_unavailable", "timeout", "unreachable"}
)  # fmt: skip
"""Not Slack's word on the token or a channel: nothing is known by it."""
UNTOLD = frozenset({"too_many_channels"})
"""A workspace too large to look through: whether the bot may post there is seen when it does."""


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


class Voice:
    """Whether the bot could speak: Slack takes its token, and it is in the channels of cdc.yml.

    `wrong` says what keeps it from speaking, in words that hold no secret; what one look could not learn (Slack is not
    reached) stays as the look before saw it. `connect` gives the chat of one look, which has its own deadline.
    """

    def __init__(
        self, connect: Callable[[], ChatSetup], channels: Sequence[str], clock: Callable[[], datetime]
    ) -> None:
        self._connect, self._channels, self._clock = connect, tuple(dict.fromkeys(channels)), clock
        self._well_at: datetime | None = None
        self._wrong: tuple[str, ...] = ()

    def wrong(self) -> tuple[str, ...]:
        return self._wrong

    def look(self) -> None:
        """Ask Slack, unless it was well less than five minutes ago; log what changed."""
        if self._well_at is not None and self._clock() - self._well_at < SPEECH_HOLDS:
            return
        chat = self._connect()
        try:
            identity = chat.read_identity()
            told = chat.read_channels(self._channels)
        except ChatError as error:
            if error.code == "bot_token_unreadable":
                self._settle(("Slack: the secret with the bot token cannot be read: `cdc doctor` says more",), "")
            elif not _is_unreached(error):
                self._settle((f"Slack does not take the bot token ({error.code}): `cdc doctor` says more",), "")
            return
        if any(isinstance(one, ChatError) and _is_unreached(one) for one in told.values()):
            return
        team = in_one_line(identity.team, 80) or "a workspace without a name"
        wrong = tuple(words for name, one in told.items() if (words := _silent_in(name, one, team)))
        well = [name for name, one in told.items() if isinstance(one, ChatChannel)]
        self._settle(wrong, f"Slack: speaks in {', '.join(well)} as a bot of {team}" if well else "")

    def _settle(self, wrong: tuple[str, ...], well: str) -> None:
        before, was_well_at = self._wrong, self._well_at
        self._wrong, self._well_at = wrong, None if wrong else self._clock()
        if wrong and wrong != before:
            log.warning("%s", "; ".join(wrong))
        if not wrong and well and was_well_at is None:
            log.info("%s", well)


def _is_unreached(error: ChatError) -> bool:
    return error.uncertain or error.code in UNREACHED or error.code.startswith("http_")


def _silent_in(name: str, found: ChatChannel | ChatError, team: str) -> str:
    """Return why the bot cannot speak in a channel, or nothing."""
    if isinstance(found, ChatError):
        if found.code in UNTOLD:
            return ""
        if found.code == "channel_not_found":
            return f"Slack: there is no channel {name} in {team} that the bot can see"
        return f"Slack: whether the bot is in {name} is not known ({found.code}): `cdc doctor` says more"
    if found.is_archived:
        return f"Slack: {name} is archived, nothing can be posted there"
    return "" if found.is_member else f"Slack: the bot is not in {name}: write `/invite @cdc-oncall` there"


def _totals(series: Sequence[Series]) -> dict[str, int]:
    """Return the newest value by subject, series of one subject added up."""
    totals: dict[str, int] = {}
    for one in series:
        if one.points:
            subject = one.labels.get("subject") or SUBJECT_NOT_KNOWN
            totals[subject] = totals.get(subject, 0) + int(one.points[-1][1])
    return totals


class Monitor:
    """`look` is one pass, called by the schedule; the rest answers scrapes from what it saw.

    `chat_links` tells how Socket Mode stands; None where Slack comes to us. `notice` is told for as long as it runs,
    `speechless` is what keeps the bot from speaking in Slack. `sampler` knows the lag of every watched group;
    `exporter_names`: it is told under kafka_exporter's names, too. `nudge` wakes who reads the inbox; `refusal_series`
    asks Prometheus for the refusals by subject, None where cdc.yml has no query for them.
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
        speechless: Callable[[], Sequence[str]] = lambda: (),
        sampler: Sampler | None = None,
        exporter_names: bool = False,
        nudge: Callable[[], None] = lambda: None,
        refusal_series: Callable[[datetime], Sequence[Series]] | None = None,
    ) -> None:
        self._store, self._dispatcher, self._runner, self._policy = store, dispatcher, runner, policy
        self._clock, self._tally, self._version = clock, tally, version
        self._chat_links, self._notice, self._speechless = chat_links, notice, speechless
        self._sampler, self._exporter_names = sampler, exporter_names
        self._nudge, self._refusal_series = nudge, refusal_series
        self._refusals_error = ""
        self._findings: Mapping[str, Sequence[Finding]] = {}
        self._counters: Counters = read_counters(store.counters())
        self._looked_at: datetime | None = None

    def look(self) -> None:
        """Probe every pipeline, move the counters, save them when they moved."""
        findings: dict[str, Sequence[Finding]] = {}
        counters = self._counters
        for pipeline in self._policy().pipelines.values():
            findings[pipeline.name] = self._runner.probe_all(pipeline)
            for key, refused in newly_refused(counters, pipeline, findings[pipeline.name]):
                self._tell(key, refused)
            counters = advance(counters, pipeline, findings[pipeline.name])
        if counters != self._counters:
            self._store.save_counters(counters_document(counters))
        self._findings, self._counters, self._looked_at = findings, counters, self._clock()

    def look_at_refusals(self) -> None:
        """Ask Prometheus how many refusals there are by now, and take in what came since the last look."""
        if self._refusal_series is None:
            return
        try:
            totals = _totals(self._refusal_series(self._clock()))
        except PortError as error:
            if str(error) != self._refusals_error:
                log.warning("registry.refusals_query: %s", error)
            self._refusals_error = str(error)
            self._tally.error("refusals_query")
            return
        self._refusals_error = ""
        looks, before = self._store.refusal_totals()
        for subject, count in increases(before, totals).items():
            refused = RefusedSchema(FROM_PROMETHEUS, subject, self._clock(), count=count)
            self._tell(f"{FROM_PROMETHEUS}:{subject}:{looks}", refused)
        known = {**(before or {}), **totals}
        if known != before:
            self._store.save_refusal_totals(looks + 1, known)

    def _tell(self, key: str, refused: RefusedSchema) -> None:
        """Put a refusal where those of the registry's log come in; before counters are saved, so it may come twice."""
        digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
        if self._store.receive(f"refusal:{digest}", INBOX_KIND, write_refused(refused), self._clock()):
            self._nudge()

    def metrics(self) -> bytes:
        return render(self._snapshot())

    def health(self) -> tuple[bool, Mapping[str, object]]:
        alive, reasons = health(self._snapshot())
        return alive, {"alive": alive, "version": self._version, "wrong": list(reasons)}

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        well, reasons = ready(self._snapshot())
        return well, {"ready": well, "version": self._version, "wrong": list(reasons)}

    def _conflicts(self) -> Mapping[tuple[str, ...], int]:
        sources = (FROM_LOG, FROM_CI) if self._refusal_series is None else (FROM_LOG, FROM_CI, FROM_PROMETHEUS)
        counts = read_ledger(self._store.refusals()).counts
        return conflicts_of(counts, tuple(self._policy().pipelines.values()), sources)

    def _snapshot(self) -> Snapshot:
        depths, now = self._store.depths(), self._clock()
        links, sampler = self._chat_links(), self._sampler

        def age_s(at: datetime | None) -> float | None:
            return None if at is None else round((now - at).total_seconds(), 1)

        return Snapshot(
            version=self._version,
            notice=self._notice,
            speechless=tuple(self._speechless()),
            findings=self._findings,
            counters=self._counters,
            conflicts=self._conflicts(),
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
            outbox_waits_s=age_s(depths["outbox_waits"]),
            outbox_held=depths["outbox_held"],
            outbox_error=depths["outbox_error"],
            outbox_refusal=depths["outbox_refusal"],
            last_pass_s=age_s(self._looked_at),
            links=links.connected if links else None,
            links_down_s=links.down_s if links else None,
            links_error=links.error if links else "",
            links_greeted=links is not None and links.hello_s is not None,
            sampled=sampler.latest() if sampler else (),
            sampled_s=sampler.looked_s() if sampler else None,
            sample_every_s=sampler.every_s if sampler else 0.0,
            sampling_wrong=sampler.wrong() if sampler else (),
            exporter_names=self._exporter_names,
        )
