"""The outbox: render, pace, send, settle, reconcile.

Promise: every message that is due is sent, the most urgent lane first; nothing is dropped silently. What is
sent is rendered at that moment from the newest state. A message is at least once, and exactly once in effect:
before a post goes out the row says that it may have (`uncertain`), and an uncertain post is looked up by the
key in Slack's message metadata before it is repeated.

A card that was never posted goes where cdc.yml says now, not where it said when the incident opened; replies go where
their card stands.

A chart is a picture and drawn when it is sent, which takes a while: `send_charts` is a thread's own work, so that no
message waits for it. It is at least once, as every file is; one that fails is dropped after its tries, and counted.

Pacing is ours: about one message a second and channel with a short burst, `chat.update` 50 a minute for the
workspace; the last slots of a burst are kept for pages. A 429 pauses that method in that channel, no more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from bot.dispatcher import Dispatcher
from bot.incident.state import Incident
from bot.ports import Chat, ChatError, Message
from bot.report import Report
from bot.store.sqlite import OutboxRow, Store

log = logging.getLogger("cdc.outbox")

REPORTS: TypeAdapter[Report] = TypeAdapter(Report)
SLOWEST_RETRY = timedelta(seconds=60)
ANSWER_LIFE = timedelta(minutes=30)
"""After that nobody waits for an answer, and Slack's own address for it has ended."""
POST_BURST, POST_EVERY_S = 5.0, 1.0
UPDATE_BURST, UPDATE_EVERY_S = 10.0, 1.2
KEPT_FOR_PAGES = 2.0
URGENT = ("page",)
NOTHING_THERE = frozenset({"channel_not_found", "is_archived", "not_in_channel"})
"""Of a channel that cdc.yml names no more: what may stand there is seen by nobody, and is said again elsewhere."""
REMEMBERED = 500
CHART = "chart:"
CHART_ATTEMPTS = 10
"""Of a chart, two a try, each try later than the one before: given up after some two minutes."""


@dataclass(frozen=True)
class ChartFile:
    """A picture to be posted, with what it shows in words."""

    filename: str
    content: bytes
    alt: str


def no_chart(slot: str, incident: Incident) -> ChartFile | None:
    """What somebody without samples has to show."""
    return None


@dataclass(frozen=True)
class Renderers:
    """How things look in chat; pure functions given by the composition root."""

    slot: Callable[[str, Incident, tuple[Any, ...], datetime], Message]
    report: Callable[[Report], Message]
    text: Callable[[str], Message]
    postmortem: Callable[[str], tuple[str, str]]
    chart: Callable[[str, Incident], ChartFile | None] = no_chart


@dataclass
class Bucket:
    """A token bucket: `burst` at once, one more every `every_s` seconds."""

    burst: float
    every_s: float
    tokens: float = field(default=-1.0)
    filled_at: datetime | None = None

    def take(self, now: datetime, keep: float) -> bool:
        """Take a token unless that would leave fewer than `keep`."""
        if not self.has(now, keep):
            return False
        self.tokens -= 1.0
        return True

    def has(self, now: datetime, keep: float) -> bool:
        """Whether a token may be taken."""
        if self.filled_at is None:
            self.tokens = self.burst
        else:
            self.tokens = min(self.burst, self.tokens + (now - self.filled_at).total_seconds() / self.every_s)
        self.filled_at = now
        return self.tokens >= 1.0 + keep


class Outbox:
    """Sends what is due; `drain` is what the sender thread repeats."""

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        chat: Chat,
        render: Renderers,
        clock: Callable[[], datetime],
        count_error: Callable[[str], None],
    ) -> None:
        self._store, self._dispatcher, self._chat, self._render = store, dispatcher, chat, render
        self._clock, self._count_error = clock, count_error
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._paused: dict[tuple[str, str], datetime] = {}
        self._last: dict[str, Message] = {}
        self._has_begun = False

    def drain(self) -> int:
        """Send what may be sent now; return how many rows were settled or postponed."""
        if not self._has_begun:
            self._begin()
        return self._pass(are_charts=False)

    def send_charts(self) -> int:
        """Draw and send one chart that may be sent now, as `drain` does the rest; safe beside it.

        One, because each may take half a minute where systems hang: who stops the bot waits for no more than that.
        """
        return self._pass(are_charts=True)

    def _pass(self, are_charts: bool) -> int:
        moved = 0
        for row in self._store.due_messages(self._clock(), 50, are_charts):
            try:
                moved += self._deliver(row)
            except ChatError as error:
                self._failed(row, error)
                moved += 1
            except Exception as error:
                log.exception("message %s failed", row.key)
                self._count_error("chart" if are_charts else "outbox")
                if self._drop_chart(row, type(error).__name__):
                    continue
                # The post may have gone out: the failure can be that of writing so.
                self._postpone(row, f"{type(error).__name__}: {error}", row.ts is None)
                moved += 1
            if are_charts and moved:
                break
        return moved

    def _begin(self) -> None:
        """At start: what nobody was told goes where cdc.yml says now; a card that was given up is tried once more."""
        for incident_id in self._store.unsaid():
            incident = self._dispatcher.incident(incident_id)
            if incident is None:
                continue
            channel = self._dispatcher.channel_of(incident)
            if changed := self._store.readdress(incident_id, channel, self._clock()):
                before, was_given_up = changed
                log.info(
                    "%s: nobody was told of it yet; its card goes to %s%s%s", incident_id, channel,
                    f" instead of {before}" if before != channel else "", ", once more" if was_given_up else "",
                )  # fmt: skip
        self._has_begun = True

    def _deliver(self, row: OutboxRow) -> bool:
        if self._waits(*_way(row), row.lane, take=False):
            return False  # nothing is looked up or rendered for what cannot go out now
        if row.slot == "answer":
            return self._answer(row)
        incident = self._dispatcher.incident(row.incident or "")
        if incident is None:
            self._store.give_up(row, "no such incident", self._clock())
            return True
        parent = None if row.slot == "card" else self._store.posted(incident.id, "card")
        if row.slot != "card" and parent is None:
            return False  # its thread does not exist yet: the card goes first
        if parent is not None and row.slot.startswith(CHART):
            return self._chart(row, incident, parent)
        if row.ts is not None:
            return self._update(row, incident)
        return self._post(row, incident, parent)

    def _post(self, row: OutboxRow, incident: Incident, parent: tuple[str, str] | None) -> bool:
        if self._waits(*_way(row), row.lane):
            return False
        message = self._message(row, incident)
        channel, thread_ts = parent or (row.channel, None)
        if row.uncertain and (found := self._find(row, channel, thread_ts)):
            self._store.sent(row, *found, 0, self._clock())
            return True  # it had arrived; shown 0 makes the newer words an edit
        self._store.sending(row)
        channel_id, ts = self._chat.post(channel, message, thread_ts)
        self._remember(row.key, message)
        self._store.sent(row, channel_id, ts, incident.version, self._clock())
        return True

    def _find(self, row: OutboxRow, channel: str, thread_ts: str | None) -> tuple[str, str] | None:
        """Return (channel, ts) of a post that may have arrived: a card's, in the channel it was sent to then."""
        where = channel if thread_ts else row.channel_id or channel
        try:
            ts = self._chat.find(where, thread_ts, row.key)
        except ChatError as error:
            if where == channel or error.code not in NOTHING_THERE:
                raise
            return None
        return (where, ts) if ts else None

    def _update(self, row: OutboxRow, incident: Incident) -> bool:
        if row.slot.startswith(("event:", "page:")):
            self._store.sent(row, None, None, incident.version, self._clock())
            return True  # written once
        message = self._message(row, incident)
        if self._last.get(row.key) == message and row.wanted > row.shown:
            self._store.sent(row, None, None, incident.version, self._clock())
            return True
        if self._waits(*_way(row), row.lane):
            return False
        assert row.ts is not None
        self._chat.update(row.channel_id or row.channel, row.ts, message)
        self._remember(row.key, message)
        self._store.sent(row, None, None, incident.version, self._clock())
        return True

    def _message(self, row: OutboxRow, incident: Incident) -> Message:
        needs_entries = row.slot.startswith(("event:", "page:", "plan:"))
        entries = tuple(entry for _, entry in self._store.entries(incident.id)) if needs_entries else ()
        return self._render.slot(row.slot, incident, entries, self._clock())

    def _remember(self, key: str, message: Message) -> None:
        """Keep the newest messages as sent, to leave out edits that change nothing; older ones are just edited."""
        self._last[key] = message
        while len(self._last) > REMEMBERED:
            del self._last[next(iter(self._last))]

    def _answer(self, row: OutboxRow) -> bool:
        body = row.body
        if incident_id := body.get("postmortem"):
            return self._upload(row, str(incident_id))
        if report := body.get("report"):
            message = self._render.report(REPORTS.validate_python(report))
        else:
            message = self._render.text(str(body.get("text", "")))
        if body.get("response_url"):  # its own limit (5 uses): a person who waits is not paced with the channel
            self._chat.respond(str(body["response_url"]), message)
        elif self._waits(*_way(row), row.lane):
            return False
        elif body.get("user"):
            self._chat.post_ephemeral(row.channel, str(body["user"]), message, body.get("thread_ts"))
        else:
            self._chat.post(row.channel, message, None)
        self._store.sent(row, None, None, row.wanted, self._clock())
        return True

    def _upload(self, row: OutboxRow, incident_id: str) -> bool:
        card = self._store.posted(incident_id, "card")
        if card is None or self._waits(*_way(row), row.lane):
            return False
        filename, content = self._render.postmortem(incident_id)
        self._store.sending(row)
        self._chat.upload(card[0], card[1], filename, content, f"Postmortem draft of {incident_id}")
        self._store.sent(row, card[0], None, row.wanted, self._clock())
        return True

    def _chart(self, row: OutboxRow, incident: Incident, card: tuple[str, str]) -> bool:
        """Post the picture; nothing where there is none, or where a later one of a resolved incident shows it too."""
        moment = row.slot.removeprefix(CHART)
        outlived = moment == "opened" and not incident.is_open
        chart = None if outlived else self._render.chart(row.slot, incident)
        if chart is not None:
            if self._waits(*_way(row), row.lane):
                return False
            self._store.sending(row)
            self._chat.upload(*card, chart.filename, chart.content, f"Lag when {incident.id} was {moment}", chart.alt)
        self._store.sent(row, card[0], None, row.wanted, self._clock())
        return True

    def _drop_chart(self, row: OutboxRow, reason: str) -> bool:
        """Give a chart up that was tried often enough; False for one that is to be tried again, and for all else."""
        if not row.slot.startswith(CHART) or row.attempts < CHART_ATTEMPTS:
            return False
        log.warning("%s: not posted: %s", row.key, reason)
        self._count_error("chart:dropped")
        self._store.drop(row, reason, self._clock())
        return True

    # --- pacing and failures ---

    def _waits(self, method: str, channel: str, lane: str, take: bool = True) -> bool:
        now = self._clock()
        if now < self._paused.get((method, channel), now):
            return True
        burst, every_s = (UPDATE_BURST, UPDATE_EVERY_S) if method == "update" else (POST_BURST, POST_EVERY_S)
        bucket = self._buckets.setdefault((method, channel), Bucket(burst, every_s))
        keep = 0.0 if lane in URGENT else KEPT_FOR_PAGES
        return not (bucket.take(now, keep) if take else bucket.has(now, keep))

    def _failed(self, row: OutboxRow, error: ChatError) -> None:
        self._count_error(f"slack:{error.code}")
        now = self._clock()
        if self._drop_chart(row if not error.permanent else replace(row, attempts=CHART_ATTEMPTS), error.code):
            return
        if error.permanent or (row.slot == "answer" and now - row.created_at > ANSWER_LIFE):
            log.error("%s: the chat refuses it for good: %s", row.key, error.code)
            self._store.give_up(row, error.code, now)
            return
        if error.retry_after_s is not None:
            self._paused[_way(row)] = now + timedelta(seconds=error.retry_after_s)
            self._store.postpone(row, now + timedelta(seconds=error.retry_after_s), error.code, row.uncertain)
            return
        log.warning("%s: %s, trying again", row.key, error.code)
        # A failed look-up says nothing of the post before it: what was uncertain stays so.
        self._postpone(row, error.code, row.ts is None and (row.uncertain or error.uncertain))

    def _postpone(self, row: OutboxRow, reason: str, uncertain: bool) -> None:
        delay = min(timedelta(seconds=2 ** min(row.attempts, 6)), SLOWEST_RETRY)
        self._store.postpone(row, self._clock() + delay, reason, uncertain)


def _way(row: OutboxRow) -> tuple[str, str]:
    """Return (method, channel) whose rate limit a message counts against."""
    if row.ts is not None:
        return "update", ""
    if row.slot.startswith(CHART):
        return "chart", row.channel
    if row.slot == "answer" and row.body.get("postmortem"):
        return "upload", row.channel
    if row.slot == "answer" and row.body.get("response_url"):
        return "respond", row.channel
    return "post", row.channel
