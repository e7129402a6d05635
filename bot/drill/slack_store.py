"""What the local Slack workspace holds: users, channels, messages, views, files, faults, the wire.

One lock guards it all; every change is announced to listeners (the page's event stream)
after it happened. Nothing here speaks HTTP and nothing here knows the bot.

Invariants
    A message's `ts` is unique in the workspace and grows with time.
    A deleted message stays, marked: the export shows what was once said.
    A trigger id works once, within 3 s. A response_url works 5 times, within 30 minutes.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

TRIGGER_LIFE_S = 3.0
RESPONSE_URL_LIFE_S = 1800.0
RESPONSE_URL_USES = 5
WIRE_ROWS = 5000

Json = dict[str, Any]


@dataclass(frozen=True)
class User:
    """A person of the workspace, or the app's own bot user."""

    id: str
    name: str
    real_name: str
    title: str
    colour: str
    is_bot: bool = False


@dataclass(frozen=True)
class Channel:
    """A public channel; `members` are user ids."""

    id: str
    name: str
    topic: str
    members: tuple[str, ...]
    is_archived: bool = False


@dataclass(frozen=True)
class Message:
    """One message as it stands now."""

    channel: str
    ts: str
    user: str
    text: str
    thread_ts: str | None = None
    blocks: tuple[Json, ...] = ()
    metadata: Json | None = None
    edited_ts: str | None = None
    files: tuple[Json, ...] = ()
    reactions: tuple[tuple[str, str], ...] = ()
    reply_broadcast: bool = False
    subtype: str | None = None
    deleted: bool = False
    ephemeral_for: str | None = None

    @property
    def is_reply(self) -> bool:
        """Whether the message stands in a thread, under another message."""
        return self.thread_ts is not None and self.thread_ts != self.ts


@dataclass(frozen=True)
class View:
    """A modal or an App Home as the app last published it, with what the user picked in it."""

    id: str
    user: str
    hash: str
    document: Json
    root_id: str
    previous_id: str | None = None
    errors: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)


@dataclass(frozen=True)
class SlackFile:
    """A file: known once an upload URL was asked for, shared once completed."""

    id: str
    name: str
    title: str
    mimetype: str
    content: bytes | None = None
    shared: bool = False
    alt: str = ""


@dataclass(frozen=True)
class Fault:
    """The next `left` calls of `method` go wrong; `*` is every method."""

    id: int
    method: str
    kind: Literal["429", "500", "drop_after", "delay"]
    left: int
    seconds: float = 1.0


@dataclass(frozen=True)
class Exchange:
    """One request and its answer as they went over the wire; secrets are not kept."""

    id: int
    at_s: float
    direction: Literal["app to Slack", "Slack to app"]
    name: str
    status: int | None
    took_ms: float
    request: Any
    response: Any
    note: str = ""


@dataclass(frozen=True)
class ResponseUrl:
    """Where an app may still answer an interaction without a token."""

    token: str
    channel: str
    user: str
    message_ts: str | None
    thread_ts: str | None
    made_s: float
    uses: int = 0


Listener = Callable[[str, Json], None]


class SlackStore:
    """The workspace's state; every method is one atomic step."""

    def __init__(
        self, users: Sequence[User], channels: Sequence[Channel], trigger_life_s: float = TRIGGER_LIFE_S
    ) -> None:
        self._trigger_life_s = trigger_life_s
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self.users: Mapping[str, User] = {user.id: user for user in users}
        self._channels = {channel.id: channel for channel in channels}
        self._messages: dict[tuple[str, str], Message] = {}
        self._ephemerals: dict[str, Message] = {}
        self._views: dict[str, View] = {}
        self._homes: dict[str, View] = {}
        self._triggers: dict[str, tuple[str, float]] = {}
        self._used_triggers: set[str] = set()
        self._response_urls: dict[str, ResponseUrl] = {}
        self._files: dict[str, SlackFile] = {}
        self._faults: list[Fault] = []
        self._wire: deque[Exchange] = deque(maxlen=WIRE_ROWS)
        self._picked: dict[tuple[str, str], dict[str, dict[str, Json]]] = {}
        self._numbers = itertools.count(1)
        self._last_ts_us = 0
        self._listeners: list[Listener] = []

    # -- listening -------------------------------------------------------------------

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have `listener(kind, payload)` called after each change; returns how to stop it."""
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return end

    def _announce(self, kind: str, payload: Json) -> None:
        with self._changed:
            self._changed.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            listener(kind, payload)

    def wait_until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for a condition on the state; true when it holds within the time."""
        with self._changed:
            return self._changed.wait_for(holds, timeout_s)

    def new_ts(self) -> str:
        """A message timestamp later than every one before it."""
        with self._lock:
            self._last_ts_us = max(self._last_ts_us + 1, time.time_ns() // 1000)
            return f"{self._last_ts_us // 1_000_000}.{self._last_ts_us % 1_000_000:06d}"

    def new_id(self, prefix: str) -> str:
        """A fresh id in Slack's style, such as V0ABC..."""
        return prefix + secrets.token_hex(5).upper()

    # -- channels and messages ---------------------------------------------------------

    def channels(self) -> list[Channel]:
        """Every channel, in the order they were made."""
        with self._lock:
            return list(self._channels.values())

    def channel(self, name_or_id: str) -> Channel | None:
        """The channel by id, or by name with or without the hash."""
        with self._lock:
            found = self._channels.get(name_or_id)
            if found is None:
                wanted = name_or_id.removeprefix("#")
                found = next((one for one in self._channels.values() if one.name == wanted), None)
            return found

    def put_channel(self, channel: Channel) -> None:
        """Add a channel, or replace the one with its id."""
        with self._lock:
            self._channels[channel.id] = channel

    def join(self, channel_id: str, user_id: str) -> None:
        """Make a user a member of a channel."""
        with self._lock:
            channel = self._channels[channel_id]
            if user_id not in channel.members:
                self._channels[channel_id] = replace(channel, members=(*channel.members, user_id))

    def post(self, message: Message) -> Message:
        """Keep a new message and announce it."""
        with self._lock:
            self._messages[message.channel, message.ts] = message
        self._announce("message", {"message": message})
        return message

    def message(self, channel_id: str, ts: str) -> Message | None:
        """The message as it stands, unless it was deleted."""
        with self._lock:
            found = self._messages.get((channel_id, ts))
            return None if found is None or found.deleted else found

    def change(self, channel_id: str, ts: str, **fields: Any) -> Message | None:
        """Replace fields of a message; None when there is no such message."""
        with self._lock:
            found = self.message(channel_id, ts)
            if found is None:
                return None
            changed = replace(found, **fields)
            self._messages[channel_id, ts] = changed
        self._announce("message", {"message": changed})
        return changed

    def history(self, channel_id: str) -> list[Message]:
        """Messages of the channel itself, oldest first: parents and broadcast replies."""
        with self._lock:
            return [
                message
                for message in self._messages.values()
                if message.channel == channel_id
                and not message.deleted
                and (not message.is_reply or message.reply_broadcast)
            ]

    def replies(self, channel_id: str, parent_ts: str) -> list[Message]:
        """A thread: its parent, then its replies, oldest first; empty when there is no parent."""
        with self._lock:
            parent = self.message(channel_id, parent_ts)
            if parent is None:
                return []
            return [parent] + [
                message
                for message in self._messages.values()
                if message.channel == channel_id
                and message.is_reply
                and message.thread_ts == parent_ts
                and not message.deleted
            ]

    def all_messages(self) -> list[Message]:
        """Every message ever posted, deleted ones included, in order of time."""
        with self._lock:
            return sorted(self._messages.values(), key=lambda message: message.ts)

    # -- ephemerals ----------------------------------------------------------------------

    def show(self, message: Message) -> None:
        """Show a message to one user only (or replace the one with the same ts)."""
        with self._lock:
            self._ephemerals[message.ts] = message
        self._announce("ephemeral", {"message": message})

    def ephemerals(self) -> list[Message]:
        """Every ephemeral message still shown."""
        with self._lock:
            return list(self._ephemerals.values())

    def ephemeral(self, ts: str) -> Message | None:
        """One ephemeral message by ts."""
        with self._lock:
            return self._ephemerals.get(ts)

    def dismiss(self, ts: str) -> None:
        """Take an ephemeral message away."""
        with self._lock:
            gone = self._ephemerals.pop(ts, None)
        if gone is not None:
            self._announce("dismissed", {"ts": ts, "user": gone.ephemeral_for})

    # -- what was picked in a message's selects and inputs -----------------------------------

    def pick(self, channel_id: str, ts: str, block_id: str, action_id: str, value: Json) -> None:
        """Remember what a stateful element of a message shows now."""
        with self._lock:
            self._picked.setdefault((channel_id, ts), {}).setdefault(block_id, {})[action_id] = value

    def picked(self, channel_id: str, ts: str) -> dict[str, dict[str, Json]]:
        """`state.values` of a message."""
        with self._lock:
            return {block: dict(values) for block, values in self._picked.get((channel_id, ts), {}).items()}

    # -- triggers and response URLs -------------------------------------------------------

    def new_trigger(self, user_id: str) -> str:
        """A trigger id that opens one modal within 3 s."""
        trigger_id = f"{time.time_ns() // 1000}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        with self._lock:
            self._triggers[trigger_id] = (user_id, time.monotonic())
        return trigger_id

    def use_trigger(self, trigger_id: str) -> str:
        """Spend a trigger id: the user's id, or one of Slack's error codes."""
        with self._lock:
            if trigger_id in self._used_triggers:
                return "exchanged_trigger_id"
            if trigger_id not in self._triggers:
                return "invalid_trigger_id"
            user_id, made = self._triggers.pop(trigger_id)
            self._used_triggers.add(trigger_id)
            if time.monotonic() - made > self._trigger_life_s:
                return "expired_trigger_id"
            return user_id

    def new_response_url(
        self, channel: str, user: str, message_ts: str | None = None, thread_ts: str | None = None
    ) -> ResponseUrl:
        """A response URL for one interaction."""
        made = ResponseUrl(secrets.token_hex(12), channel, user, message_ts, thread_ts, time.monotonic())
        with self._lock:
            self._response_urls[made.token] = made
        return made

    def use_response_url(self, token: str) -> ResponseUrl | str:
        """Spend one use: the URL's facts, or Slack's error code."""
        with self._lock:
            found = self._response_urls.get(token)
            if found is None:
                return "invalid_url"
            if found.uses >= RESPONSE_URL_USES:
                return "used_url"
            if time.monotonic() - found.made_s > RESPONSE_URL_LIFE_S:
                return "expired_url"
            self._response_urls[token] = replace(found, uses=found.uses + 1)
            return found

    # -- views -----------------------------------------------------------------------------

    def put_view(self, view: View) -> View:
        """Keep a modal, new or changed, and announce it."""
        with self._lock:
            self._views[view.id] = view
        self._announce("view", {"view": view})
        return view

    def view(self, view_id: str) -> View | None:
        """A modal that is open, by id."""
        with self._lock:
            return self._views.get(view_id)

    def view_by_external_id(self, external_id: str) -> View | None:
        """A modal that is open, by the app's own id for it."""
        with self._lock:
            return next((one for one in self._views.values() if one.document.get("external_id") == external_id), None)

    def views(self) -> list[View]:
        """Every open modal, oldest first."""
        with self._lock:
            return list(self._views.values())

    def close_views(self, view_ids: Sequence[str]) -> None:
        """Close modals."""
        with self._lock:
            gone = [view_id for view_id in view_ids if self._views.pop(view_id, None)]
        for view_id in gone:
            self._announce("view_closed", {"view_id": view_id})

    def put_home(self, view: View) -> View:
        """Publish a user's App Home."""
        with self._lock:
            self._homes[view.user] = view
        self._announce("home", {"view": view})
        return view

    def home(self, user_id: str) -> View | None:
        """A user's App Home, if one was published."""
        with self._lock:
            return self._homes.get(user_id)

    def home_by_id(self, view_id: str) -> View | None:
        """A published App Home by view id."""
        with self._lock:
            return next((view for view in self._homes.values() if view.id == view_id), None)

    def homes(self) -> list[View]:
        """Every published App Home."""
        with self._lock:
            return list(self._homes.values())

    # -- files -------------------------------------------------------------------------------

    def put_file(self, file: SlackFile) -> SlackFile:
        """Keep a file, new or changed."""
        with self._lock:
            self._files[file.id] = file
        return file

    def file(self, file_id: str) -> SlackFile | None:
        """A file by id."""
        with self._lock:
            return self._files.get(file_id)

    # -- faults ------------------------------------------------------------------------------

    def add_fault(
        self, method: str, kind: Literal["429", "500", "drop_after", "delay"], count: int, seconds: float = 1.0
    ) -> Fault:
        """Make the next `count` calls of `method` go wrong; `seconds` is Retry-After or the delay."""
        with self._lock:
            fault = Fault(next(self._numbers), method, kind, count, seconds)
            self._faults.append(fault)
        self._announce("faults", {"faults": self.faults()})
        return fault

    def take_fault(self, method: str) -> Fault | None:
        """The fault that hits this call, if one is switched on; it counts down."""
        with self._lock:
            index = next((at for at, one in enumerate(self._faults) if one.method in (method, "*")), None)
            if index is None:
                return None
            fault = self._faults[index]
            left = replace(fault, left=fault.left - 1)
            if left.left > 0:
                self._faults[index] = left
            else:
                del self._faults[index]
        self._announce("faults", {"faults": self.faults()})
        return fault

    def faults(self) -> list[Fault]:
        """The faults switched on now."""
        with self._lock:
            return list(self._faults)

    def clear_faults(self) -> None:
        """Switch every fault off."""
        with self._lock:
            self._faults.clear()
        self._announce("faults", {"faults": []})

    # -- the wire log ------------------------------------------------------------------------

    def record(
        self,
        direction: Literal["app to Slack", "Slack to app"],
        name: str,
        status: int | None,
        took_ms: float,
        request: Any,
        response: Any,
        note: str = "",
    ) -> Exchange:
        """Keep one exchange for the wire log."""
        with self._lock:
            row = Exchange(
                next(self._numbers), time.time(), direction, name, status, round(took_ms, 1), request, response, note
            )
            self._wire.append(row)
        self._announce("wire", {"exchange": row})
        return row

    def wire(self, after: int = 0) -> Iterator[Exchange]:
        """Exchanges with a number greater than `after`, oldest first."""
        with self._lock:
            rows = [row for row in self._wire if row.id > after]
        yield from rows
