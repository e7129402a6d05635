"""Slack's Web API over a `SlackStore`: the methods a bot calls, answered as Slack answers.

A method is a function from decoded arguments to Slack's document; the errors are Slack's
codes. Slack answers 200 to nearly everything and says `"ok": false`; only rate limits
(429 with Retry-After) and faults have another status.

Deliberately not here: pagination tokens that expire, Enterprise Grid, user tokens.
"""

from __future__ import annotations

import json
import mimetypes
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import yaml

from bot.drill.block_rules import (
    TOTAL_CHARACTERS,
    Surface,
    broken_rules,
    broken_view_rules,
    elements_of,
    total_characters,
)
from bot.drill.loopback import Answer, Call
from bot.drill.slack_store import Channel, Json, Message, SlackFile, SlackStore, User, View

TEXT_LIMIT = 40_000
ALT_LIMIT = 1000
MODAL_STACK = 3
SCOPES: Mapping[str, str] = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.delete": "chat:write",
    "chat.postEphemeral": "chat:write",
    "conversations.replies": "channels:history",
    "conversations.history": "channels:history",
    "conversations.list": "channels:read",
    "conversations.info": "channels:read",
    "conversations.members": "channels:read",
    "conversations.join": "channels:join",
    "users.info": "users:read",
    "users.list": "users:read",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
    "reactions.add": "reactions:write",
}

APP_LEVEL: Mapping[str, str] = {"apps.connections.open": "connections:write"}
"""The methods that take the app-level token (xapp-), and the scope that it needs."""
CONNECTIONS_BURST, CONNECTIONS_PER_S = 60.0, 0.5
"""Slack publishes no number (Tier 1 is "1+ per minute, bursts tolerated"): this refuses a client that hammers."""

READS = {name for name in SCOPES if name.startswith(("conversations.", "users.")) and name != "conversations.join"}


PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class SlackError(Exception):
    """One of Slack's error codes, with what Slack says beside it."""

    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(code)
        self.code = code
        self.more = more


@dataclass(frozen=True)
class App:
    """The installed app: its ids, its token, and the scopes it was granted (None: all of them).

    `reader_tokens` may read channels and people besides, as a token of another app would: they write nothing.
    `app_token` is the app-level token, with its own scopes; without one there is no Socket Mode.
    """

    token: str
    signing_secret: str
    id: str = "A0CDCONCALL"
    bot_id: str = "B0CDCONCALL"
    bot_user_id: str = "U0CDCONCALL"
    team_id: str = "T0DRILL"
    team_name: str = "Drill"
    scopes: frozenset[str] | None = None
    reader_tokens: tuple[str, ...] = ()
    app_token: str | None = None
    app_token_scopes: frozenset[str] = frozenset({"connections:write"})


def _without_ticket(body: Any) -> Any:
    """The answer as the wire log keeps it: an address of Socket Mode is a secret while it works."""
    if isinstance(body, dict) and str(body.get("url", "")).startswith("ws"):
        return {**body, "url": str(body["url"]).partition("?")[0] + "?ticket=…"}
    return body


def _is_one_of(token: str, known: Sequence[str]) -> bool:
    return any(secrets.compare_digest(token.encode(), one.encode()) for one in known)


def scopes_of_manifest(path: Path) -> frozenset[str] | None:
    """The bot scopes a manifest.yml asks for; None (everything is granted) for an empty or absent file."""
    if not path.is_file():
        return None
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        return None
    scopes = ((document.get("oauth_config") or {}).get("scopes") or {}).get("bot")
    return frozenset(str(scope) for scope in scopes) if scopes else None


class _Bucket:
    """A token bucket: `burst` calls at once, then `per_s` a second."""

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._tokens, self._at = burst, time.monotonic()

    def wait_s(self) -> float:
        """0 when the call may pass (and is counted), else the seconds until one may."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._per_s


class SlackWebApi:
    """`POST /api/METHOD`, the upload endpoint and `response_url`s."""

    def __init__(
        self,
        store: SlackStore,
        app: App,
        base_url: str,
        *,
        rate_limits: bool = True,
        open_address: Callable[[], str] | None = None,
    ) -> None:
        self._open_address = open_address
        self._store = store
        self._app = app
        self._base_url = base_url
        self.rate_limits = rate_limits
        self._buckets: dict[str, _Bucket] = {}
        self._bucket_lock = threading.Lock()
        self._methods: Mapping[str, Callable[[Json], Json]] = {
            "api.test": lambda arguments: {"args": arguments},
            "auth.test": self._auth_test,
            "chat.postMessage": self._post_message,
            "chat.update": self._update,
            "chat.delete": self._delete,
            "chat.postEphemeral": self._post_ephemeral,
            "conversations.replies": self._replies,
            "conversations.history": self._history,
            "conversations.list": self._list,
            "conversations.info": self._info,
            "conversations.members": self._members,
            "conversations.join": self._join,
            "users.info": self._user,
            "users.list": self._users,
            "views.open": self._views_open,
            "views.push": self._views_push,
            "views.update": self._views_update,
            "views.publish": self._views_publish,
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._upload_complete,
            "reactions.add": self._react,
            "apps.connections.open": self._open_connection,
        }

    # -- the endpoints -------------------------------------------------------------------

    def answer(self, call: Call) -> Answer:
        """One Web API call: token, fault, rate limit, scope, method, in Slack's order."""
        started = time.perf_counter()
        method = call.params["method"]
        arguments, token = _arguments(call)
        fault = self._store.take_fault(method)
        answer = self._faulty(method, arguments, token, fault.kind, fault.seconds) if fault else None
        if answer is None:
            answer = self._answer(method, arguments, token)
        note = f"fault: {fault.kind}" if fault else ""
        took_ms = (time.perf_counter() - started) * 1000
        shown = "connection dropped after the call took effect" if answer.drop else _without_ticket(answer.body)
        self._store.record(
            "app to Slack", method, None if answer.drop else answer.status, took_ms, arguments, shown, note
        )
        return answer

    def _faulty(self, method: str, arguments: Json, token: str, kind: str, seconds: float) -> Answer:
        if kind == "429":
            return _limited(seconds)
        if kind == "500":
            return Answer(500, "Internal Server Error", media_type="text/plain")
        answer = self._answer(method, arguments, token)
        if kind == "drop_after":
            return replace(answer, drop=True)
        return replace(answer, delay_s=seconds)

    def _answer(self, method: str, arguments: Json, token: str) -> Answer:
        run = self._methods.get(method)
        if run is None:
            return Answer(200, {"ok": False, "error": "unknown_method", "req_method": method})
        if method != "api.test":
            if not token:
                return Answer(200, {"ok": False, "error": "not_authed"})
            refused = self._token_refusal(method, token)
            if refused:
                return Answer(200, refused)
        wait_s = self._rate_wait_s(method, arguments)
        if wait_s:
            return _limited(wait_s)
        try:
            return Answer(200, {"ok": True, **run(arguments)}, headers=self._scope_headers(method))
        except SlackError as error:
            return Answer(200, {"ok": False, "error": error.code, **error.more}, headers=self._scope_headers(method))

    def install(self, app: App) -> None:
        """Install the app anew, with another token perhaps: the old one is refused from then on."""
        self._app = app

    def _token_refusal(self, method: str, token: str) -> Json | None:
        is_app_token = self._app.app_token is not None and _is_one_of(token, (self._app.app_token,))
        is_bot_token = _is_one_of(token, (self._app.token,))
        if method in APP_LEVEL:
            if is_bot_token:
                return {"ok": False, "error": "not_allowed_token_type"}
            if is_app_token and APP_LEVEL[method] not in self._app.app_token_scopes:
                provided = ",".join(sorted(self._app.app_token_scopes))
                return {"ok": False, "error": "missing_scope", "needed": APP_LEVEL[method], "provided": provided}
            return None if is_app_token else {"ok": False, "error": "invalid_auth"}
        if is_app_token:
            return {"ok": False, "error": "not_allowed_token_type"}
        if method in READS and _is_one_of(token, self._app.reader_tokens):
            return None
        return self._scope_refusal(method) if is_bot_token else {"ok": False, "error": "invalid_auth"}

    def _scope_refusal(self, method: str) -> Json | None:
        needed = SCOPES.get(method)
        if needed is None or self._app.scopes is None or needed in self._app.scopes:
            return None
        provided = ",".join(sorted(self._app.scopes))
        return {"ok": False, "error": "missing_scope", "needed": needed, "provided": provided}

    def _scope_headers(self, method: str) -> dict[str, str]:
        headers = {"X-Slack-Req-Id": secrets.token_hex(16)}
        if self._app.scopes is not None:
            headers["X-OAuth-Scopes"] = ",".join(sorted(self._app.scopes))
        if method in SCOPES:
            headers["X-Accepted-OAuth-Scopes"] = SCOPES[method]
        return headers

    def _rate_wait_s(self, method: str, arguments: Json) -> float:
        """About one message a second and channel with a short burst; chat.update 50 a minute in all."""
        if not self.rate_limits:
            return 0.0
        if method in ("chat.postMessage", "chat.postEphemeral"):
            name, burst, per_s = f"post:{arguments.get('channel')}", 5.0, 1.0
        elif method == "chat.update":
            name, burst, per_s = "chat.update", 50.0, 50 / 60
        elif method in APP_LEVEL:
            name, burst, per_s = method, CONNECTIONS_BURST, CONNECTIONS_PER_S
        else:
            return 0.0
        with self._bucket_lock:
            return self._buckets.setdefault(name, _Bucket(burst, per_s)).wait_s()

    def receive_upload(self, call: Call) -> Answer:
        """The bytes of a file, raw as slack_sdk sends them or as multipart as curl does."""
        file = self._store.file(call.params["file_id"])
        if file is None:
            return Answer(404, "no such upload", media_type="text/plain")
        content = _multipart_content(call) if "multipart/" in call.headers.get("content-type", "") else call.body
        self._store.put_file(replace(file, content=content))
        self._store.record("app to Slack", "file upload", 200, 0.0, f"{len(content)} bytes", "OK")
        return Answer(200, f"OK - {len(content)}", media_type="text/plain")

    def respond(self, call: Call) -> Answer:
        """An app's answer through a `response_url`: ephemeral unless it says in_channel."""
        spent = self._store.use_response_url(call.params["token"])
        document = call.document()
        if isinstance(spent, str):
            answer = Answer(404, {"ok": False, "error": spent})
        else:
            try:
                self._say_through_url(spent.channel, spent.user, spent.message_ts, spent.thread_ts, document)
                answer = Answer(200, "ok", media_type="text/plain")
            except SlackError as error:
                answer = Answer(400, {"ok": False, "error": error.code, **error.more})
        self._store.record("app to Slack", "response_url", answer.status, 0.0, document, answer.body)
        return answer

    def _say_through_url(
        self, channel: str, user: str, message_ts: str | None, thread_ts: str | None, document: Json
    ) -> None:
        if message_ts and document.get("delete_original"):
            self._store.dismiss(message_ts)
            self._store.change(channel, message_ts, deleted=True)
            return
        if message_ts and document.get("replace_original"):
            text, blocks = self._said(document)
            shown = self._store.ephemeral(message_ts)
            if shown is not None:
                self._store.show(replace(shown, text=text, blocks=blocks))
            else:
                self._store.change(channel, message_ts, text=text, blocks=blocks, edited_ts=self._store.new_ts())
            return
        self.say(channel, user, document, thread_ts)

    def say(self, channel: str, user: str, document: Json, thread_ts: str | None = None) -> None:
        """Show an app's answer to an interaction: to `user` alone, or in the channel."""
        text, blocks = self._said(document)
        ts = self._store.new_ts()
        thread = document.get("thread_ts") or thread_ts
        message = Message(channel, ts, self._app.bot_user_id, text, thread, blocks)
        if document.get("response_type") == "in_channel":
            self._store.post(message)
        else:
            self._store.show(replace(message, ephemeral_for=user))

    def _open_connection(self, _: Json) -> Json:
        if self._open_address is None:
            raise SlackError("invalid_auth")
        return {"url": self._open_address()}

    # -- chat ----------------------------------------------------------------------------

    def _auth_test(self, _: Json) -> Json:
        return {
            "url": f"{self._base_url}/",
            "team": self._app.team_name,
            "user": self._store.users[self._app.bot_user_id].name,
            "team_id": self._app.team_id,
            "user_id": self._app.bot_user_id,
            "bot_id": self._app.bot_id,
            "app_id": self._app.id,
            "is_enterprise_install": False,
        }

    def _post_message(self, arguments: Json) -> Json:
        channel = self._channel(arguments)
        self._may_post(channel)
        text, blocks = self._said(arguments)
        thread_ts = arguments.get("thread_ts")
        if thread_ts and self._store.message(channel.id, thread_ts) is None:
            raise SlackError("thread_not_found")
        parent = self._store.message(channel.id, thread_ts) if thread_ts else None
        if parent is not None and parent.is_reply:
            thread_ts = parent.thread_ts
        message = self._store.post(
            Message(
                channel.id,
                self._store.new_ts(),
                self._app.bot_user_id,
                text,
                thread_ts,
                blocks,
                _metadata(arguments.get("metadata")),
                reply_broadcast=bool(thread_ts) and _true(arguments.get("reply_broadcast")),
            )
        )
        return {"channel": channel.id, "ts": message.ts, "message": self.document(message)}

    def _update(self, arguments: Json) -> Json:
        channel = self._channel(arguments)
        message = self._own_message(channel, arguments, "cant_update_message")
        fields: dict[str, Any] = {"edited_ts": self._store.new_ts()}
        if arguments.get("blocks") is not None or arguments.get("text") is not None:
            text, blocks = self._said(arguments)
            fields["text"] = text
            if arguments.get("blocks") is not None:
                fields["blocks"] = blocks
        elif arguments.get("metadata") is None:
            raise SlackError("no_text")
        if arguments.get("metadata") is not None:
            fields["metadata"] = _metadata(arguments["metadata"])
        changed = self._store.change(channel.id, message.ts, **fields)
        if changed is None:
            raise SlackError("message_not_found")
        return {
            "channel": channel.id,
            "ts": changed.ts,
            "text": changed.text,
            "message": self.document(changed, metadata=True),
        }

    def _delete(self, arguments: Json) -> Json:
        channel = self._channel(arguments)
        message = self._own_message(channel, arguments, "cant_delete_message")
        self._store.change(channel.id, message.ts, deleted=True)
        return {"channel": channel.id, "ts": message.ts}

    def _post_ephemeral(self, arguments: Json) -> Json:
        channel = self._channel(arguments)
        self._may_post(channel)
        user = str(arguments.get("user") or "")
        if user not in self._store.users or user not in channel.members:
            raise SlackError("user_not_in_channel")
        text, blocks = self._said(arguments)
        ts = self._store.new_ts()
        self._store.show(
            Message(
                channel.id,
                ts,
                self._app.bot_user_id,
                text,
                arguments.get("thread_ts"),
                blocks,
                ephemeral_for=user,
            )
        )
        return {"message_ts": ts}

    def _react(self, arguments: Json) -> Json:
        channel = self._channel(arguments)
        ts, name = str(arguments.get("timestamp") or ""), str(arguments.get("name") or "").strip(":")
        message = self._store.message(channel.id, ts)
        if message is None:
            raise SlackError("message_not_found")
        if not name:
            raise SlackError("invalid_name")
        reaction = (name, self._app.bot_user_id)
        if reaction in message.reactions:
            raise SlackError("already_reacted")
        self._store.change(channel.id, ts, reactions=(*message.reactions, reaction))
        return {}

    # -- conversations and users -----------------------------------------------------------

    def _replies(self, arguments: Json) -> Json:
        channel = self._readable(arguments)
        ts = str(arguments.get("ts") or "")
        asked = self._store.message(channel.id, ts)
        parent_ts = asked.thread_ts if asked is not None and asked.thread_ts else ts
        thread = self._store.replies(channel.id, parent_ts)
        if not thread:
            raise SlackError("thread_not_found")
        return self._page(thread, arguments)

    def _history(self, arguments: Json) -> Json:
        channel = self._readable(arguments)
        return self._page(list(reversed(self._store.history(channel.id))), arguments)

    def _page(self, messages: Sequence[Message], arguments: Json) -> Json:
        oldest, latest = str(arguments.get("oldest") or "0"), str(arguments.get("latest") or "9")
        inclusive = _true(arguments.get("inclusive"))
        with_metadata = _true(arguments.get("include_all_metadata"))
        kept = [
            message
            for message in messages
            if oldest < message.ts < latest or (inclusive and message.ts in (oldest, latest))
        ]
        start = int(str(arguments.get("cursor") or "0")) if str(arguments.get("cursor") or "0").isdigit() else 0
        limit = max(1, min(int(arguments.get("limit") or 100), 999))
        page = kept[start : start + limit]
        more = start + limit < len(kept)
        return {
            "messages": [self.document(message, metadata=with_metadata) for message in page],
            "has_more": more,
            "response_metadata": {"next_cursor": str(start + limit) if more else ""},
        }

    def _list(self, _: Json) -> Json:
        return {
            "channels": [self._channel_document(channel) for channel in self._store.channels()],
            "response_metadata": {"next_cursor": ""},
        }

    def _info(self, arguments: Json) -> Json:
        return {"channel": self._channel_document(self._channel(arguments, by_name=False))}

    def _members(self, arguments: Json) -> Json:
        channel = self._channel(arguments, by_name=False)
        return {"members": list(channel.members), "response_metadata": {"next_cursor": ""}}

    def _join(self, arguments: Json) -> Json:
        channel = self._channel(arguments, by_name=False)
        self._store.join(channel.id, self._app.bot_user_id)
        return {"channel": self._channel_document(channel)}

    def _user(self, arguments: Json) -> Json:
        user = self._store.users.get(str(arguments.get("user") or ""))
        if user is None:
            raise SlackError("user_not_found")
        return {"user": user_document(user, self._app.team_id)}

    def _users(self, _: Json) -> Json:
        return {
            "members": [user_document(user, self._app.team_id) for user in self._store.users.values()],
            "response_metadata": {"next_cursor": ""},
        }

    # -- views -------------------------------------------------------------------------------

    def _views_open(self, arguments: Json) -> Json:
        user = self._trigger_user(arguments)
        document = self._view_argument(arguments, "modal")
        view_id = self._store.new_id("V")
        view = View(view_id, user, _hash(), document, view_id)
        return {"view": self.view_document(self._store.put_view(view))}

    def _views_push(self, arguments: Json) -> Json:
        user = self._trigger_user(arguments)
        return {"view": self.view_document(self.push_view(user, self._view_argument(arguments, "modal")))}

    def push_view(self, user: str, document: Json) -> View:
        """Put a modal on top of the user's stack, which holds three."""
        stack = [view for view in self._store.views() if view.user == user]
        if not stack:
            raise SlackError("not_found")
        if len(stack) >= MODAL_STACK:
            raise SlackError("push_limit_reached")
        top = stack[-1]
        return self._store.put_view(
            View(self._store.new_id("V"), user, _hash(), self.checked_view(document), top.root_id, top.id)
        )

    def _views_update(self, arguments: Json) -> Json:
        found = self._store.view(str(arguments.get("view_id") or ""))
        if found is None and arguments.get("external_id"):
            found = self._store.view_by_external_id(str(arguments["external_id"]))
        if found is None:
            raise SlackError("not_found")
        if arguments.get("hash") and arguments["hash"] != found.hash:
            raise SlackError("hash_conflict")
        document = self._view_argument(arguments, "modal")
        changed = replace(found, document=document, hash=_hash(), errors={})
        return {"view": self.view_document(self._store.put_view(changed))}

    def _views_publish(self, arguments: Json) -> Json:
        user = str(arguments.get("user_id") or "")
        if user not in self._store.users:
            raise SlackError("user_not_found")
        document = self._view_argument(arguments, "home")
        before = self._store.home(user)
        if before is not None and arguments.get("hash") and arguments["hash"] != before.hash:
            raise SlackError("hash_conflict")
        view_id = before.id if before else self._store.new_id("V")
        view = View(view_id, user, _hash(), document, view_id)
        return {"view": self.view_document(self._store.put_home(view))}

    def _trigger_user(self, arguments: Json) -> str:
        spent = self._store.use_trigger(str(arguments.get("trigger_id") or ""))
        if spent not in self._store.users:
            raise SlackError(spent)
        return spent

    def _view_argument(self, arguments: Json, kind: str) -> Json:
        view = arguments.get("view")
        if not isinstance(view, dict):
            raise SlackError("invalid_arguments")
        if view.get("type") != kind:
            raise SlackError("invalid_arguments", response_metadata={"messages": [f"type must be {kind}"]})
        return self.checked_view(view)

    def checked_view(self, view: Json) -> Json:
        """A view with ids on its blocks; raises Slack's invalid_arguments when it breaks a rule."""
        said = broken_view_rules(view)
        if said:
            raise SlackError("invalid_arguments", response_metadata={"messages": said})
        return {**view, "blocks": list(_with_ids(view.get("blocks") or []))}

    # -- files -------------------------------------------------------------------------------

    def _upload_url(self, arguments: Json) -> Json:
        name = str(arguments.get("filename") or "")
        length = str(arguments.get("length") or "")
        if not name or not length.isdigit() or int(length) < 1:
            raise SlackError("invalid_arguments")
        alt = str(arguments.get("alt_txt") or "")
        if len(alt) > ALT_LIMIT:
            raise SlackError("alt_txt_too_large")
        file = self._store.put_file(SlackFile(self._store.new_id("F"), name, name, _mimetype(name), alt=alt))
        return {"upload_url": f"{self._base_url}/upload/v1/{file.id}", "file_id": file.id}

    def _upload_complete(self, arguments: Json) -> Json:
        asked = arguments.get("files")
        if not isinstance(asked, list) or not asked:
            raise SlackError("invalid_arguments")
        done: list[SlackFile] = []
        for one in asked:
            file = self._store.file(str(one.get("id"))) if isinstance(one, dict) else None
            if file is None or file.content is None:
                raise SlackError("file_not_found")
            title = str(one.get("title") or file.name)
            done.append(replace(file, title=title, mimetype=_seen_mimetype(file.mimetype, file.content), shared=True))
        documents = [self.file_document(self._store.put_file(file)) for file in done]
        channel_id = arguments.get("channel_id")
        if channel_id:
            channel = self._channel({"channel": channel_id}, by_name=False)
            self._may_post(channel)
            self._store.post(
                Message(
                    channel.id,
                    self._store.new_ts(),
                    self._app.bot_user_id,
                    str(arguments.get("initial_comment") or ""),
                    arguments.get("thread_ts"),
                    files=tuple(documents),
                    subtype="file_share",
                )
            )
        return {"files": documents}

    def file_document(self, file: SlackFile) -> Json:
        """A file as Slack describes it; the links lead to this workspace."""
        return {
            "id": file.id,
            "name": file.name,
            "title": file.title,
            "mimetype": file.mimetype,
            "filetype": file.name.rpartition(".")[2],
            "size": len(file.content or b""),
            **({"alt_txt": file.alt} if file.alt else {}),
            "user": self._app.bot_user_id,
            "permalink": f"{self._base_url}/files/{file.id}/{file.name}",
            "url_private": f"{self._base_url}/files/{file.id}/{file.name}",
            "url_private_download": f"{self._base_url}/files/{file.id}/{file.name}?download=1",
        }

    # -- shared checks and shapes ---------------------------------------------------------------

    def _channel(self, arguments: Json, *, by_name: bool = True) -> Channel:
        asked = str(arguments.get("channel") or "")
        channel = self._store.channel(asked) if by_name or asked.startswith("C") else None
        if channel is None:
            raise SlackError("channel_not_found")
        return channel

    def _readable(self, arguments: Json) -> Channel:
        channel = self._channel(arguments, by_name=False)
        if self._app.bot_user_id not in channel.members:
            raise SlackError("not_in_channel")
        return channel

    def _may_post(self, channel: Channel) -> None:
        if channel.is_archived:
            raise SlackError("is_archived")
        if self._app.bot_user_id in channel.members:
            return
        if self._app.scopes is not None and "chat:write.public" in self._app.scopes:
            return
        raise SlackError("not_in_channel")

    def _own_message(self, channel: Channel, arguments: Json, refusal: str) -> Message:
        message = self._store.message(channel.id, str(arguments.get("ts") or ""))
        if message is None:
            raise SlackError("message_not_found")
        if message.user != self._app.bot_user_id:
            raise SlackError(refusal)
        return message

    def _said(self, arguments: Json) -> tuple[str, tuple[Json, ...]]:
        """The checked text and blocks of a message; raises Slack's codes for bad ones."""
        text = str(arguments.get("text") or arguments.get("markdown_text") or "")
        blocks = arguments.get("blocks")
        if blocks is None or blocks == [] or blocks == "":
            if not text:
                raise SlackError("no_text")
            return text[:TEXT_LIMIT], ()
        self._check_blocks(blocks, "message")
        return text[:TEXT_LIMIT], tuple(_with_ids(blocks))

    def _check_blocks(self, blocks: Any, surface: Surface) -> None:
        if isinstance(blocks, str):
            raise SlackError("invalid_blocks_format")
        said = broken_rules(blocks, surface)
        if said:
            raise SlackError("invalid_blocks", errors=[line[8:] for line in said], response_metadata={"messages": said})
        if total_characters(blocks) > TOTAL_CHARACTERS:
            raise SlackError("msg_blocks_too_long")

    def document(self, message: Message, *, metadata: bool = True) -> Json:
        """A message as the Web API shows it."""
        shown: Json = {"type": "message", "user": message.user, "text": message.text, "ts": message.ts}
        if message.user == self._app.bot_user_id:
            shown |= {"bot_id": self._app.bot_id, "app_id": self._app.id, "team": self._app.team_id}
        if message.blocks:
            shown["blocks"] = list(message.blocks)
        if message.subtype:
            shown["subtype"] = message.subtype
        if message.edited_ts:
            shown["edited"] = {"user": message.user, "ts": message.edited_ts}
        if message.metadata is not None and metadata:
            shown["metadata"] = message.metadata
        if message.files:
            shown["files"] = list(message.files)
        if message.reactions:
            names = list(dict.fromkeys(name for name, _ in message.reactions))
            shown["reactions"] = [
                {"name": name, "users": [user for one, user in message.reactions if one == name]} for name in names
            ]
        if message.is_reply:
            shown["thread_ts"] = message.thread_ts
            shown["parent_user_id"] = self._app.bot_user_id
            return shown
        replies = self._store.replies(message.channel, message.ts)[1:]
        if replies:
            shown |= {
                "thread_ts": message.ts,
                "reply_count": len(replies),
                "reply_users_count": len({reply.user for reply in replies}),
                "reply_users": sorted({reply.user for reply in replies}),
                "latest_reply": replies[-1].ts,
            }
        return shown

    def _channel_document(self, channel: Channel) -> Json:
        return {
            "id": channel.id,
            "name": channel.name,
            "name_normalized": channel.name,
            "is_channel": True,
            "is_private": False,
            "is_archived": channel.is_archived,
            "is_member": self._app.bot_user_id in channel.members,
            "num_members": len(channel.members),
            "topic": {"value": channel.topic},
        }

    def view_document(self, view: View) -> Json:
        """A view as Slack shows it in answers and payloads."""
        return {
            "private_metadata": "",
            "callback_id": "",
            "external_id": "",
            "clear_on_close": False,
            "notify_on_close": False,
            "submit": None,
            "close": None,
            **view.document,
            "id": view.id,
            "team_id": self._app.team_id,
            "app_id": self._app.id,
            "bot_id": self._app.bot_id,
            "app_installed_team_id": self._app.team_id,
            "hash": view.hash,
            "root_view_id": view.root_id,
            "previous_view_id": view.previous_id,
            "state": {"values": {block: dict(values) for block, values in view.values.items()}},
        }


def user_document(user: User, team_id: str) -> Json:
    """A user as the Web API shows it."""
    return {
        "id": user.id,
        "team_id": team_id,
        "name": user.name,
        "real_name": user.real_name,
        "deleted": False,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "tz": "Etc/UTC",
        "tz_offset": 0,
        "profile": {
            "real_name": user.real_name,
            "display_name": user.name,
            "title": user.title,
            "email": f"{user.name}@drill.example",
        },
    }


def _limited(seconds: float) -> Answer:
    wait_s = max(1, int(-(-seconds // 1)))
    return Answer(429, {"ok": False, "error": "ratelimited"}, headers={"Retry-After": str(wait_s)})


def _arguments(call: Call) -> tuple[Json, str]:
    """Arguments and token of a call, from a JSON or form body or the query; nested JSON is decoded."""
    if "application/json" in call.headers.get("content-type", ""):
        raw: Json = call.document()
    else:
        raw = {**call.query, **dict(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True))}
        for name in ("blocks", "metadata", "view", "files", "attachments"):
            if isinstance(raw.get(name), str) and raw[name]:
                try:
                    raw[name] = json.loads(raw[name])
                except ValueError:
                    continue
    token = str(raw.pop("token", "") or "")
    authorization = call.headers.get("authorization", "")
    if authorization.lower().startswith("bearer "):
        token = authorization[7:].strip()
    return raw, token


def _metadata(value: Any) -> Json | None:
    """Message metadata; raises Slack's code unless it is event_type and a flat event_payload."""
    if value is None or value == "":
        return None
    ok = isinstance(value, dict) and isinstance(value.get("event_type"), str)
    if not ok or not isinstance(value.get("event_payload"), dict):
        raise SlackError("invalid_metadata_format")
    return {"event_type": value["event_type"], "event_payload": value["event_payload"]}


def _with_ids(blocks: Sequence[Any]) -> list[Json]:
    """The blocks with the block_id and action_id Slack makes up where the app gave none."""
    made: list[Json] = []
    for block in json.loads(json.dumps(list(blocks))):
        block.setdefault("block_id", secrets.token_urlsafe(4)[:5])
        for element in elements_of(block):
            if element.get("type") != "image":
                element.setdefault("action_id", secrets.token_urlsafe(4)[:5])
        made.append(block)
    return made


def _mimetype(name: str) -> str:
    known = {"md": "text/markdown", "json": "application/json", "txt": "text/plain"}
    return known.get(name.rpartition(".")[2]) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _seen_mimetype(named: str, content: bytes) -> str:
    """What a file is by its bytes: one that is only called a picture is none."""
    if named == "image/png" and not content.startswith(PNG_SIGNATURE):
        return "application/octet-stream"
    return named


def _multipart_content(call: Call) -> bytes:
    """The first part of a multipart body that has a file name, else the first part."""
    head = f"Content-Type: {call.headers['content-type']}\r\n\r\n".encode()
    parts = [part for part in message_from_bytes(head + call.body).walk() if not part.is_multipart()]
    chosen = next((part for part in parts if part.get_filename()), parts[0] if parts else None)
    content = chosen.get_payload(decode=True) if chosen is not None else None
    return content if isinstance(content, bytes) else call.body


def _true(value: Any) -> bool:
    return value is True or str(value).lower() in ("true", "1")


def _hash() -> str:
    return f"{int(time.time())}.{secrets.token_hex(4)}"
