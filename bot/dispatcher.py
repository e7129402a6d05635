"""The dispatcher: inbox row -> decide -> one transaction.

Promise: rows are taken in order, each once. The events, the messages and the tasks a row causes, and the
row's end, are committed together: after a crash the row is either still to do or wholly done. A row that
cannot be read is kept, marked and reported; it never stops the next one.

The board (every incident as it stands) is a cache of the fold, brought up to date from the journal inside
each transaction, so that a second writer (`cdc ack` in a terminal) is seen and never overwritten.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bot import commands as verbs
from bot.edge import slack_requests
from bot.incident import commands as c
from bot.incident import events as e
from bot.incident.alerts import Unreadable, read_notification
from bot.incident.announce import deliveries, has_something_to_say
from bot.incident.correlation import Board
from bot.incident.decisions import (
    Change,
    Decision,
    Ids,
    decide,
    end_alerts,
    open_by_hand,
    receive,
)
from bot.incident.notification import Notification
from bot.incident.policy import Policy
from bot.incident.refusals import INBOX_KIND as REFUSAL
from bot.incident.refusals import Ledger, crossed, ledger_document, noted, read_ledger, read_refused
from bot.incident.state import Incident, apply
from bot.model import Refusal, in_one_line
from bot.store.sqlite import InboxRow, Store, StoreError, TaskRow, Writer

log = logging.getLogger("cdc.dispatcher")


@dataclass(frozen=True)
class Nudges:
    """Wake the threads that have something to do; a missed nudge costs one poll."""

    outbox: Callable[[], None]
    runner: Callable[[], None]


class Dispatcher:
    """One per process. `step` handles the next inbox row; `order` serves the terminal, `settle` the runner."""

    def __init__(
        self,
        store: Store,
        policy: Callable[[], Policy],
        clock: Callable[[], datetime],
        nonce: Callable[[], str],
        nudges: Nudges,
        count_error: Callable[[str], None],
    ) -> None:
        self._store, self._policy, self._clock, self._nonce = store, policy, clock, nonce
        self._nudges, self._count_error = nudges, count_error
        self._board = Board()
        self._seq = 0
        self._lock = threading.RLock()

    def board(self) -> Board:
        """Return the board as the journal has it now."""
        with self._lock:
            self._refresh()
            return self._board

    def incident(self, incident_id: str) -> Incident | None:
        with self._lock:
            self._refresh()
            return self._board.get(incident_id)

    def channel_of(self, incident: Incident) -> str:
        """Return where cdc.yml says now that an incident's card goes; its events keep what it said then."""
        policy = self._policy()
        pipeline = policy.pipeline(incident.pipeline)
        return pipeline.channel if pipeline else policy.default_channel

    def step(self) -> bool:
        """Handle the oldest inbox row; return False when there was none."""
        row = self._store.next_inbox()
        if row is None:
            return False
        try:
            with self._lock, self._remembering(), self._store.deciding() as writer:
                self._refresh()
                self._handle(row, writer)
                writer.end_inbox(row.id, "done", "")
        except (sqlite3.Error, StoreError):
            raise  # the journal cannot be written now: the row stays, and is taken again
        except Exception as error:
            self._set_aside(row, error)
            return True
        self._nudge(writer)
        return True

    def _set_aside(self, row: InboxRow, error: Exception) -> None:
        """A row that cannot be read, or that we fail on, is marked, reported and never stops the next one."""
        if not isinstance(error, Unreadable):
            log.exception("inbox row %d (%s) failed", row.id, row.kind)
        reason = str(error) if isinstance(error, Unreadable) else f"{type(error).__name__}: {error}"
        self._count_error(f"inbox:{row.kind}")
        reason = reason.encode("utf-8", "replace").decode()  # it may quote what no journal can hold
        with self._lock, self._store.deciding() as writer:
            self._report_unreadable(row, reason, writer)
        self._nudge(writer)

    def order(self, incident_id: str, command: c.PersonCommand) -> Decision:
        """Decide a person's command now (the terminal): the same decision, the same transaction."""
        with self._lock, self._store.deciding() as writer:
            self._refresh()
            decision = self._decide(incident_id, command, writer, None)
        self._nudge(writer)
        return decision

    def open_incident(self, who: e.Who, pipeline: str, text: str) -> Decision:
        with self._lock, self._store.deciding() as writer:
            self._refresh()
            decision = open_by_hand(self._board, who, pipeline, text, self._policy(), self._ids(writer))
            self._write(decision, writer, None)
        self._nudge(writer)
        return decision

    def settle(
        self, task: TaskRow, command: c.TaskCommand | None, *, ended: bool = True, note: str = "",
        answer: Mapping[str, Any] | None = None,
    ) -> Decision:  # fmt: skip
        """Write what a task found, and its end, together. `ended` False keeps it claimed (an action that starts)."""
        now = self._clock()
        with self._lock, self._store.deciding() as writer:
            self._refresh()
            decision = Decision()
            if command is not None:
                decision = self._decide(task.incident, command, writer, None)
            if answer is not None:
                writer.answer(f"answer:{task.key}", str(answer.get("channel", "")), answer, now)
            if ended or decision.refusal is not None:
                writer.end_task(task.id, now, note)
        self._nudge(writer)
        return decision

    def again(self, task: TaskRow, delay_s: float, body: Mapping[str, Any], note: str = "") -> None:
        """Put a repeatable task back."""
        with self._lock, self._store.deciding() as writer:
            writer.again(task.id, self._clock() + timedelta(seconds=delay_s), body, note)

    def reconcile(
        self, gone: Mapping[str, Sequence[tuple[str, datetime]]], reason: str, missed: Sequence[Notification]
    ) -> None:
        """Take in what Alertmanager's API says: alerts that ended without a word, and ones that we never heard of."""
        policy, now = self._policy(), self._clock()
        with self._lock, self._remembering(), self._store.deciding() as writer:
            self._refresh()
            for incident_id, episodes in gone.items():
                if incident := self._board.get(incident_id):
                    self._write(end_alerts(incident, episodes, reason), writer, None)
            self._refresh()
            for notification in missed:
                self._write(receive(self._board, notification, policy, self._ids(writer), now), writer, None)
                self._refresh()
        self._nudge(writer)

    def settle_refusals(self) -> None:
        """End the alerts of subjects whose refusals have left the window; a look alone where none fires."""
        if not read_ledger(self._store.refusals()).firing:
            return
        with self._lock, self._remembering(), self._store.deciding() as writer:
            self._refresh()
            self._keep_refusals(read_ledger(writer.refusals()), writer, None)
        self._nudge(writer)

    # --- one row ---

    def _handle(self, row: InboxRow, writer: Writer) -> None:
        if row.kind == REFUSAL:
            self._refusal(row, writer)
            return
        if row.kind == "alertmanager":
            notification = read_notification(row.body)
            decision = receive(self._board, notification, self._policy(), self._ids(writer), self._clock())
            self._write(decision, writer, row)
            return
        try:
            body = json.loads(row.body)
        except ValueError as error:
            raise Unreadable(f"not JSON: {error}") from error
        if row.kind == "slack.command":
            self._slash(row, body, writer)
        elif row.kind in ("slack.action", "slack.view"):
            self._click(row, body, writer)
        else:
            raise Unreadable(f"unknown kind {row.kind}")

    def _refusal(self, row: InboxRow, writer: Writer) -> None:
        """Count a refused schema; more than allowed are an alert of our own, decided as Alertmanager's are."""
        try:
            refused = read_refused(row.body)
        except ValueError as error:
            raise Unreadable(f"not a refused schema: {error}") from error
        refused = replace(refused, at=refused.at or row.received_at)
        ledger = noted(read_ledger(writer.refusals()), refused, self._policy(), self._clock())
        self._keep_refusals(ledger, writer, row)

    def _keep_refusals(self, ledger: Ledger, writer: Writer, row: InboxRow | None) -> None:
        policy, now = self._policy(), self._clock()
        ledger, notifications = crossed(ledger, policy, now)
        writer.keep_refusals(ledger_document(ledger))
        for notification in notifications:
            self._write(receive(self._board, notification, policy, self._ids(writer), now), writer, row)
            self._refresh()  # two subjects of one pipeline may cross the line at once

    def _slash(self, row: InboxRow, body: Mapping[str, Any], writer: Writer) -> None:
        who = e.Who(f"slack:{body['user']['id']}", str(body["user"].get("name") or body["user"]["id"]))
        asked = verbs.parse_line(str(body.get("text", "")))
        if isinstance(asked, Refusal):
            self._answer(row, body, writer, str(asked))
        elif isinstance(asked, verbs.Query) and asked.verb == "postmortem":
            self._postmortem(row, body, str(asked.arguments["id"]), writer)
        elif isinstance(asked, verbs.Query):
            request = {
                "verb": asked.verb, "arguments": dict(asked.arguments), "channel": body["channel"],
                "user": body["user"], "response_url": body.get("response_url"),
            }  # fmt: skip
            now = self._clock()
            writer.enqueue(f"verb:{row.key}", "", "verb", request, now, now)
        elif asked.verb == "open":
            decision = open_by_hand(
                self._board, who, str(asked.arguments["pipeline"]), str(asked.arguments["text"]), self._policy(),
                self._ids(writer),
            )  # fmt: skip
            self._write(decision, writer, row)
            self._reply(row, body, decision, writer)
        else:
            ordered = verbs.order_command(asked, who, self._board)
            if isinstance(ordered, Refusal):
                self._answer(row, body, writer, str(ordered))
                return
            decision = self._decide(ordered[0], ordered[1], writer, row)
            self._reply(row, body, decision, writer)

    def _click(self, row: InboxRow, body: Mapping[str, Any], writer: Writer) -> None:
        read = slack_requests.read_click if row.kind == "slack.action" else slack_requests.read_submission
        request = read(body)
        if isinstance(request, slack_requests.Unreadable):
            raise Unreadable(request.reason)
        if isinstance(request, slack_requests.PostmortemRequest):
            self._postmortem(row, body, request.incident, writer)
            return
        incident_id, command = request
        decision = self._decide(incident_id, command, writer, row)
        self._reply(row, body, decision, writer)

    def _postmortem(self, row: InboxRow, body: Mapping[str, Any], incident_id: str, writer: Writer) -> None:
        """The file goes into the incident's thread, written when it is sent."""
        if self._board.get(incident_id) is None:
            self._answer(row, body, writer, f"There is no incident {incident_id}. See `incidents`.")
            return
        writer.answer(f"answer:{row.key}", str(body.get("channel") or ""), {"postmortem": incident_id}, self._clock())

    def _reply(self, row: InboxRow, body: Mapping[str, Any], decision: Decision, writer: Writer) -> None:
        text = str(decision.refusal) if decision.refusal else decision.reply
        if text:
            self._answer(row, body, writer, text)

    def _answer(self, row: InboxRow, body: Mapping[str, Any], writer: Writer, text: str) -> None:
        document = {
            "text": text, "response_url": body.get("response_url"), "user": body["user"]["id"],
            "thread_ts": body.get("thread_ts"),
        }  # fmt: skip
        writer.answer(f"answer:{row.key}", str(body.get("channel") or ""), document, self._clock())

    def _report_unreadable(self, row: InboxRow, reason: str, writer: Writer) -> None:
        """Say it where people look, once an hour and kind; the body stays in the inbox."""
        now = self._clock()
        writer.end_inbox(row.id, "unreadable", reason)
        text = (
            f"Could not read a {row.kind} request (inbox row {row.id}): {reason}. "
            "It is kept, nothing was done with it. Is something else posting to this address?"
        )
        key = f"unreadable:{row.kind}:{now:%Y%m%d%H}"
        writer.answer(key, self._policy().default_channel, {"text": text}, now, lane="cosmetic")

    # --- writing ---

    def _decide(self, incident_id: str, command: c.Command, writer: Writer, row: InboxRow | None) -> Decision:
        incident = self._board.get(incident_id)
        if incident is None:
            return Decision(refusal=Refusal(f"There is no incident {incident_id}.", "See `incidents`."))
        decision = decide(self._board, incident, command, self._policy(), self._ids(writer), self._clock())
        self._write(decision, writer, row)
        if decision.stale:
            self._show_again(incident, command, writer)
        return decision

    def _show_again(self, incident: Incident, command: c.Command, writer: Writer) -> None:
        key = getattr(command, "key", None)
        slots = ["card", "checklist", *([f"plan:{key}"] if key else [])]
        for slot in slots:
            writer.deliver(incident.id, slot, "reply", incident.channel, incident.version, self._clock())

    def _write(self, decision: Decision, writer: Writer, row: InboxRow | None) -> None:
        now = self._clock()
        ahead: dict[str, Incident] = {}
        for change in decision.changes:
            self._append(change, ahead, writer, row, now)

    def _append(
        self, change: Change, ahead: dict[str, Incident], writer: Writer, row: InboxRow | None, now: datetime
    ) -> None:
        incident = ahead.get(change.incident) or self._board.get(change.incident)
        entries = []
        for event in change.events:
            entry = e.Entry(change.incident, (incident.version if incident else 0) + 1, now, change.who, event)
            incident = apply(incident, entry)
            entries.append(entry)
            writer.append(entry, row.id if row else None)
        if incident is not None:
            ahead[change.incident] = incident
            writer.news.extend(_news(incident, change.events))
            for delivery in deliveries(entries):
                if has_something_to_say(delivery.slot, incident):
                    writer.deliver(incident.id, delivery.slot, delivery.lane, incident.channel, incident.version, now)
        for task in change.tasks:
            due = now + timedelta(seconds=task.delay_s)
            if task.kind == "recovery" and writer.pending_task(change.incident, "recovery"):
                writer.hasten_task(change.incident, "recovery", due)
            else:
                writer.enqueue(task.key, change.incident, task.kind, task.body, due, now)

    def _refresh(self) -> None:
        """Bring the board up to the journal's end; inside a transaction that is the truth no one can change."""
        for seq, entry in self._store.entries(after_seq=self._seq):
            self._board.put(apply(self._board.get(entry.incident), entry))
            self._seq = seq

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        """Forget the board when a transaction is rolled back whose events a refresh inside it took in."""
        before = self._seq
        try:
            yield
        except BaseException:
            if self._seq != before:
                self._board, self._seq = Board(), 0
            raise

    def _ids(self, writer: Writer) -> Ids:
        taken: list[int] = []

        def next_id() -> str:
            taken.append(taken[-1] + 1 if taken else writer.next_number())
            return f"CDC-{taken[-1]}"

        return Ids(next_id, self._nonce)

    def _nudge(self, writer: Writer) -> None:
        """Wake only those who got something to do: in a storm a needless wake costs a dozen threads a look each.

        Called after the commit: what the log tells of happened.
        """
        for words in writer.news:
            log.info("%s", words)
        if writer.says:
            self._nudges.outbox()
        if writer.asks:
            self._nudges.runner()


def _news(incident: Incident, events: Sequence[e.Event]) -> Iterator[str]:
    """Yield the log's lines: an incident opened, an incident resolved."""
    for event in events:
        if isinstance(event, e.IncidentOpened):
            about = in_one_line("test" if incident.is_test else incident.pipeline or "no pipeline", 200)
            yield f"{incident.id} opened ({incident.severity}, {about}): {in_one_line(incident.title, 200)}"
        elif isinstance(event, e.IncidentResolved):
            proof = "recovery proved" if event.verified else "recovery not verified"
            yield f"{incident.id} resolved, {'the test alert ended' if incident.is_test else proof}"
