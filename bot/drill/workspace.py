"""The local Slack workspace: the Web API a bot calls, and the page a person uses.

    workspace = SlackWorkspace(signing_secret="...", token="xoxb-...").start()
    workspace.connect_app("http://127.0.0.1:8080/slack/events")

With `app_token="xapp-..."` and no `connect_app` the app connects by Socket Mode.
`workspace.api_url` is what `slack_sdk.WebClient(base_url=...)` takes. The page is at
`workspace.url`; everything it can do, a program can do at `/control/...`. Both send the
app the same requests Slack would.

Promises
    The page loads nothing but from this server, and no message text can become HTML in it.
    Secrets (tokens, signing secret, addresses of sockets) are not in the wire log and not on the page.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute

from bot.drill.loopback import Answer, Call, LoopbackServer, route
from bot.drill.slack_interactions import Delivery, NothingThere, SlackInteractions
from bot.drill.slack_sockets import PATH as SOCKET_PATH
from bot.drill.slack_sockets import SlackSockets
from bot.drill.slack_store import Channel, Json, Message, SlackStore, User, View
from bot.drill.slack_web_api import App, SlackWebApi, scopes_of_manifest

PEOPLE = (
    User("U01ALICE", "alice", "Alice Moreau", "on-call, responder", "#4d7c6f"),
    User("U02BOB", "bob", "Bob Okafor", "approver", "#7a6a9b"),
    User("U03CAROL", "carol", "Carol Lind", "viewer", "#a0705a"),
)
SLACKBOT = User("USLACKBOT", "slackbot", "Slackbot", "", "#5f6b7a", is_bot=True)
OWNERS = "S01DATAPLATFORM"
USERGROUPS: Mapping[str, str] = {OWNERS: "data-platform"}
INCIDENTS, DATA_PLATFORM = "C01INCIDENTS", "C02DATAPLATFORM"
VERBS: Mapping[str, Sequence[str]] = {
    "/cdc": (
        "help", "incidents", "lag GROUP", "dlq TOPIC", "schema SUBJECT", "connector NAME", "health", "ack",
        "note TEXT", "open PIPELINE TEXT", "mitigate", "resolve", "postmortem ID",
    )
}  # fmt: skip
_PAGE_TYPES = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class SlackWorkspace:
    """A Slack workspace on 127.0.0.1 with one app installed."""

    def __init__(
        self,
        *,
        token: str,
        signing_secret: str,
        bot_name: str = "cdc-oncall",
        manifest: Path | None = None,
        verbs: Mapping[str, Sequence[str]] = VERBS,
        port: int = 0,
        rate_limits: bool = True,
        reader_tokens: Sequence[str] = (),
        app_token: str | None = None,
        app_token_scopes: Sequence[str] = ("connections:write",),
    ) -> None:
        scopes = scopes_of_manifest(manifest) if manifest else None
        app = App(
            token,
            signing_secret,
            scopes=scopes,
            reader_tokens=tuple(reader_tokens),
            app_token=app_token,
            app_token_scopes=frozenset(app_token_scopes),
        )
        bot = User(app.bot_user_id, bot_name, "CDC on-call", "app", "#2f6f8f", is_bot=True)
        everyone = tuple(user.id for user in (*PEOPLE, bot))
        self.app = app
        self.store = SlackStore(
            (*PEOPLE, bot, SLACKBOT),
            (
                Channel(INCIDENTS, "cdc-incidents", "Incidents of the CDC pipelines, one thread each", everyone),
                Channel(DATA_PLATFORM, "data-platform", "The team that owns the pipelines", everyone),
            ),
        )
        self._verbs = dict(verbs)
        self._app_url: str | None = None
        self._streams: set[tuple[asyncio.AbstractEventLoop, asyncio.Queue[str | None]]] = set()
        self._server = LoopbackServer("Slack workspace", self._routes(), port=port, websockets=True)
        self.url = self._server.url
        self.api_url = f"{self.url}/api/"
        self.sockets = SlackSockets(self.store, self.url, app.id)
        self.web_api = SlackWebApi(
            self.store, app, self.url, rate_limits=rate_limits, open_address=self.sockets.open_address
        )
        self.people = SlackInteractions(self.store, self.web_api, app, self.url, lambda: self._app_url, self.sockets)
        self.store.listen(self._broadcast)

    def start(self) -> SlackWorkspace:
        """Serve; returns once the page and the API answer."""
        self._server.start()
        return self

    def stop(self) -> None:
        """End the event streams and the server."""
        for loop, queue in list(self._streams):
            _put(loop, queue, None)
        self._server.stop()

    def connect_app(self, url: str) -> None:
        """Where interactions go: the app's request URL, usually `.../slack/events`. Not called: over its sockets."""
        self._app_url = url

    def rotate_token(self, token: str) -> None:
        """Give the app another bot token; the old one is refused from now on."""
        self.app = replace(self.app, token=token)
        self.web_api.install(self.app)

    def add_command(self, command: str, verbs: Sequence[str], answer: Callable[[str], str]) -> None:
        """A slash command that the workspace itself answers, to the person who typed it."""
        self._verbs[command] = tuple(verbs)
        self.people.local_commands[command] = answer

    def messages(self) -> list[Json]:
        """Every message as it stands now, in order of time, deleted ones included (marked)."""
        return [
            {
                "channel": message.channel,
                "ts": message.ts,
                "thread_ts": message.thread_ts,
                "user": message.user,
                "text": message.text,
                "blocks": list(message.blocks),
                "metadata": message.metadata,
                "edited": message.edited_ts is not None,
                "files": list(message.files),
                "deleted": message.deleted,
            }
            for message in self.store.all_messages()
        ]

    # -- routes --------------------------------------------------------------------------

    def _routes(self) -> list[BaseRoute]:
        return [
            WebSocketRoute(SOCKET_PATH, lambda websocket: self.sockets.serve(websocket)),
            route("GET", "/control/sockets", lambda call: self.sockets.control(call)),
            route("POST", "/control/sockets", lambda call: self.sockets.control(call)),
            route("POST", "/api/{method}", lambda call: self.web_api.answer(call)),
            route("GET", "/api/{method}", lambda call: self.web_api.answer(call)),
            route("POST", "/upload/v1/{file_id}", lambda call: self.web_api.receive_upload(call)),
            route("POST", "/response/{token}", lambda call: self.web_api.respond(call)),
            route("GET", "/", lambda _: _page_file("page.html")),
            route("GET", "/app_redirect", self._redirect),
            route("GET", "/static/{name}", lambda call: _page_file(call.params["name"])),
            route("GET", "/files/{file_id}/{name}", self._download),
            Route("/events", self._events, methods=["GET"]),
            route("GET", "/control/state", lambda _: Answer(200, self.state())),
            route("GET", "/control/messages", lambda _: Answer(200, self.messages())),
            route("GET", "/control/wire", self._wire),
            route("POST", "/control/click", self._click),
            route("POST", "/control/slash", self._slash),
            route("POST", "/control/submit", self._submit),
            route("POST", "/control/close", self._close),
            route("POST", "/control/home", self._home),
            route("POST", "/control/say", self._say),
            route("POST", "/control/dismiss", self._dismiss),
            route("GET", "/control/faults", lambda _: Answer(200, self._faults_document())),
            route("POST", "/control/faults", self._fault),
            route("DELETE", "/control/faults", self._clear_faults),
            route("POST", "/control/rate", self._rate),
        ]

    def _redirect(self, call: Call) -> Answer:
        """Slack's link to a message, as the bot gives it: the page, opened at its thread."""
        channel = self.store.channel(call.query.get("channel", ""))
        ts = call.query.get("message_ts", "")
        if channel is None:
            return Answer(404, "no such channel\n", media_type="text/plain")
        at = f"/{ts}" if re.fullmatch(r"[0-9]+\.[0-9]+", ts) else ""
        return Answer(302, headers={"Location": f"/#{channel.id}{at}"}, media_type="text/plain")

    def _click(self, call: Call) -> Answer:
        asked = call.document()
        user = self._user(asked)
        option = _optional(asked, "option")
        if asked.get("view_id"):
            return self._act(
                user,
                lambda: self.people.click_in_view(
                    str(asked["view_id"]), str(asked.get("action_id")), user, option=option
                ),
            )
        return self._act(
            user,
            lambda: self.people.click(
                str(asked.get("channel")),
                str(asked.get("ts")),
                str(asked.get("action_id")),
                user,
                value=_optional(asked, "value"),
                block_id=_optional(asked, "block_id"),
                option=option,
            ),
        )

    def _slash(self, call: Call) -> Answer:
        asked = call.document()
        user = self._user(asked)
        return self._act(
            user,
            lambda: self.people.slash(
                str(asked.get("channel")),
                user,
                str(asked.get("command")),
                str(asked.get("text") or ""),
                _optional(asked, "thread_ts"),
            ),
        )

    def _submit(self, call: Call) -> Answer:
        asked = call.document()
        user = self._user(asked)
        values = asked.get("values") if isinstance(asked.get("values"), dict) else {}
        return self._act(user, lambda: self.people.submit(str(asked.get("view_id")), user, values or {}))

    def _close(self, call: Call) -> Answer:
        asked = call.document()
        user = self._user(asked)
        return self._act(user, lambda: self.people.close(str(asked.get("view_id")), user))

    def _home(self, call: Call) -> Answer:
        user = self._user(call.document())
        return self._act(user, lambda: self.people.open_home(user))

    def _act(self, user: str, run: Any) -> Answer:
        if user not in self.store.users:
            return Answer(404, {"ok": False, "error": f"no user {user}: there are alice, bob and carol"})
        try:
            delivery: Delivery = run()
        except NothingThere as missing:
            return Answer(404, {"ok": False, "error": str(missing)})
        return Answer(200, delivery.document())

    def _say(self, call: Call) -> Answer:
        """A person writes a plain message."""
        asked = call.document()
        channel, user = self.store.channel(str(asked.get("channel"))), self._user(asked)
        text = str(asked.get("text") or "").strip()
        if channel is None or user not in self.store.users or not text:
            return Answer(404, {"ok": False, "error": "a message needs a channel, a user and a text"})
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        ts = self.store.new_ts()
        self.store.post(Message(channel.id, ts, user, escaped, _optional(asked, "thread_ts")))
        return Answer(200, {"ok": True, "ts": ts})

    def _dismiss(self, call: Call) -> Answer:
        self.store.dismiss(str(call.document().get("ts")))
        return Answer(200, {"ok": True})

    def _fault(self, call: Call) -> Answer:
        asked = call.document()
        kind = asked.get("kind")
        if kind not in ("429", "500", "drop_after", "delay"):
            return Answer(400, {"ok": False, "error": "kind is one of 429, 500, drop_after, delay"})
        try:
            count, seconds = int(asked.get("count") or 1), float(asked.get("seconds") or 1)
        except (TypeError, ValueError):
            return Answer(400, {"ok": False, "error": "count and seconds are numbers"})
        self.store.add_fault(str(asked.get("method") or "*"), kind, max(1, count), max(0.0, min(seconds, 60.0)))
        return Answer(200, self._faults_document())

    def _clear_faults(self, _: Call) -> Answer:
        self.store.clear_faults()
        return Answer(200, self._faults_document())

    def _rate(self, call: Call) -> Answer:
        self.web_api.rate_limits = bool(call.document().get("on"))
        return Answer(200, self._faults_document())

    def _faults_document(self) -> Json:
        return {
            "ok": True,
            "rate_limits": self.web_api.rate_limits,
            "faults": [asdict(fault) for fault in self.store.faults()],
        }

    def _wire(self, call: Call) -> Answer:
        after = call.query.get("after", "0")
        return Answer(200, [asdict(row) for row in self.store.wire(int(after) if after.isdigit() else 0)])

    def _download(self, call: Call) -> Answer:
        file = self.store.file(call.params["file_id"])
        if file is None or file.content is None or file.name != call.params["name"]:
            return Answer(404, "no such file\n", media_type="text/plain")
        headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
        if "download" in call.query:
            headers["Content-Disposition"] = f'attachment; filename="{_header_safe(file.name)}"'
        shown_as = file.mimetype if file.mimetype == "image/png" else "text/plain; charset=utf-8"
        return Answer(200, file.content, headers=headers, media_type=shown_as)

    def _user(self, asked: Json) -> str:
        """The user's id, from an id or a name."""
        wanted = str(asked.get("user") or "")
        return next((user.id for user in self.store.users.values() if wanted in (user.id, user.name)), wanted)

    # -- the page ------------------------------------------------------------------------

    def state(self) -> Json:
        """All the page needs to draw itself."""
        return {
            "team": self.app.team_name,
            "bot_user": self.app.bot_user_id,
            "verbs": {command: list(verbs) for command, verbs in self._verbs.items()},
            "users": [asdict(user) for user in self.store.users.values()],
            "usergroups": dict(USERGROUPS),
            "channels": [asdict(channel) for channel in self.store.channels()],
            "messages": [self._shown(message) for message in self.store.all_messages() if not message.deleted],
            "ephemerals": [self._shown(message) for message in self.store.ephemerals()],
            "views": [self._shown_view(view) for view in self.store.views()],
            "homes": [self._shown_view(view) for view in self.store.homes()],
            **self._faults_document(),
        }

    def _shown(self, message: Message) -> Json:
        return {
            "channel": message.channel,
            "ts": message.ts,
            "thread_ts": message.thread_ts if message.is_reply else None,
            "user": message.user,
            "text": message.text,
            "blocks": list(message.blocks),
            "edited": message.edited_ts is not None,
            "files": list(message.files),
            "reactions": [list(reaction) for reaction in message.reactions],
            "broadcast": message.reply_broadcast,
            "deleted": message.deleted,
            "ephemeral_for": message.ephemeral_for,
            "picked": self.store.picked(message.channel, message.ts),
        }

    def _shown_view(self, view: View) -> Json:
        return {"id": view.id, "user": view.user, "hash": view.hash, "view": view.document, "errors": dict(view.errors)}

    def _broadcast(self, kind: str, payload: Json) -> None:
        if not self._streams:
            return
        if "message" in payload:
            payload = {"message": self._shown(payload["message"])}
        elif "view" in payload:
            payload = {"view": self._shown_view(payload["view"])}
        elif "exchange" in payload:
            payload = {"exchange": asdict(replace(payload["exchange"], request=None, response=None))}
        elif "faults" in payload:
            payload = self._faults_document()
        line = f"data: {json.dumps({'kind': kind, **payload})}\n\n"
        for loop, queue in list(self._streams):
            _put(loop, queue, line)

    async def _events(self, request: Request) -> StreamingResponse:
        """The page's live stream; it begins with `hello`, on which the page loads the state."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[str | None]()
        stream = (loop, queue)
        self._streams.add(stream)

        async def lines() -> AsyncIterator[str]:
            try:
                yield 'retry: 500\ndata: {"kind":"hello"}\n\n'
                while True:
                    try:
                        line = await asyncio.wait_for(queue.get(), 15)
                    except TimeoutError:
                        yield ": still here\n\n"
                        continue
                    if line is None:
                        return
                    yield line
            finally:
                self._streams.discard(stream)

        return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _put(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[str | None], line: str | None) -> None:
    try:
        loop.call_soon_threadsafe(queue.put_nowait, line)
    except RuntimeError:
        # The server's loop has ended, and the stream with it.
        return


def _page_file(name: str) -> Answer:
    if name not in _PAGE_TYPES:
        return Answer(404, "no such file\n", media_type="text/plain")
    return Answer(200, _page_bytes(name), headers=_SECURITY_HEADERS, media_type=_PAGE_TYPES[name])


@cache
def _page_bytes(name: str) -> bytes:
    return (resources.files("bot.drill") / "page" / name).read_bytes()


def _optional(asked: Json, name: str) -> str | None:
    value = asked.get(name)
    return None if value is None or value == "" else str(value)


def _header_safe(name: str) -> str:
    return "".join(letter if letter.isascii() and letter not in '"\\\r\n' else "_" for letter in name)
