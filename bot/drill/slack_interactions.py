"""What Slack sends to an app when a person acts: real payloads, over signed HTTP or over Socket Mode.

A click, a slash command, a modal submission or an opened App Home becomes the payload
Slack documents for it, signed with the signing secret (`v0:timestamp:body`), and is
POSTed to the app; without a request URL it goes as an envelope over one of the app's
connections (`slack_sockets.py`). The app has 3 s: after that the person is told it did not respond,
whatever the app does later. Interactions are sent once; Slack repeats only events.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import requests

from bot.drill.block_rules import elements_of
from bot.drill.slack_sockets import SlackSockets, socket_kind
from bot.drill.slack_store import Channel, Json, Message, SlackStore, View
from bot.drill.slack_web_api import App, SlackError, SlackWebApi

ACK_S = 3.0
DID_NOT_RESPOND = "operation_timeout"


class NothingThere(Exception):
    """What was to be clicked or submitted is not on the screen; the text says what was looked for."""


@dataclass(frozen=True)
class Delivery:
    """How the app answered: `error` is None when it acked in time, else Slack's word for what went wrong."""

    status: int | None
    took_ms: float
    error: str | None
    body: str

    @property
    def ok(self) -> bool:
        """Whether the app acknowledged within 3 s."""
        return self.error is None

    def document(self) -> Json:
        """The delivery as JSON, for the page and the control API."""
        return {"ok": self.ok, "status": self.status, "took_ms": self.took_ms, "error": self.error}


def signature(signing_secret: str, timestamp: int, body: bytes) -> str:
    """Slack's v0 request signature."""
    basis = b"v0:" + str(timestamp).encode() + b":" + body
    return "v0=" + hmac.new(signing_secret.encode(), basis, hashlib.sha256).hexdigest()


class SlackInteractions:
    """Turns what people do into signed requests to the app, or into envelopes where it has no request URL."""

    def __init__(
        self,
        store: SlackStore,
        api: SlackWebApi,
        app: App,
        base_url: str,
        app_url: Callable[[], str | None],
        sockets: SlackSockets,
    ) -> None:
        self._sockets = sockets
        self._store = store
        self._api = api
        self._app = app
        self._base_url = base_url
        self._app_url = app_url
        self.local_commands: dict[str, Callable[[str], str]] = {}

    # -- what a person can do ------------------------------------------------------------

    def click(
        self,
        channel: str,
        ts: str,
        action_id: str,
        user: str,
        *,
        value: str | None = None,
        block_id: str | None = None,
        option: str | None = None,
    ) -> Delivery:
        """Use an element of a message; `value` picks among equal action ids, `option` the entry of a menu.

        Raises NothingThere when the message (as it stands now) has no such element.
        """
        where = self._store.channel(channel)
        if where is None:
            raise NothingThere(f"no channel {channel}")
        message = self._store.message(where.id, ts) or self._store.ephemeral(ts)
        if message is None or message.ephemeral_for not in (None, user):
            raise NothingThere(f"no message {ts} in #{where.name} that {user} can see")
        block, element = _element(message.blocks, action_id, block_id, value)
        action = _action(block, element, option, self._store.new_ts())
        if element.get("type") not in ("button", "overflow"):
            self._store.pick(where.id, ts, str(block["block_id"]), action_id, _state_of(action))
        response_url = self._store.new_response_url(where.id, user, ts, message.thread_ts)
        payload = self._payload("block_actions", user) | {
            "container": _container(message),
            "trigger_id": self._store.new_trigger(user),
            "channel": {"id": where.id, "name": where.name},
            "state": {"values": self._store.picked(where.id, ts)},
            "response_url": f"{self._base_url}/response/{response_url.token}",
            "actions": [action],
        }
        if message.ephemeral_for is None:
            payload["message"] = self._api.document(message)
        return self._send_payload(f"block_actions {action_id}", payload)

    def click_in_view(self, view_id: str, action_id: str, user: str, *, option: str | None = None) -> Delivery:
        """Use an element of a modal or of the App Home."""
        view = self._store.view(view_id) or self._store.home_by_id(view_id)
        if view is None or view.user != user:
            raise NothingThere(f"no view {view_id} that {user} can see")
        block, element = _element(view.document.get("blocks") or (), action_id, None, None)
        action = _action(block, element, option, self._store.new_ts())
        payload = self._payload("block_actions", user) | {
            "container": {"type": "view", "view_id": view.id},
            "trigger_id": self._store.new_trigger(user),
            "view": self._api.view_document(view),
            "actions": [action],
        }
        return self._send_payload(f"block_actions {action_id}", payload)

    def slash(self, channel: str, user: str, command: str, text: str, thread_ts: str | None = None) -> Delivery:
        """Send a slash command; what the app answers in its ack is shown to the person."""
        where = self._store.channel(channel)
        if where is None:
            raise NothingThere(f"no channel {channel}")
        if command in self.local_commands:
            self._slackbot(where, user, self.local_commands[command](text), thread_ts)
            return Delivery(None, 0.0, None, "")
        response_url = self._store.new_response_url(where.id, user, None, thread_ts)
        form = {
            "token": "drill-verification-token",
            "team_id": self._app.team_id,
            "team_domain": "drill",
            "channel_id": where.id,
            "channel_name": where.name,
            "user_id": user,
            "user_name": self._store.users[user].name,
            "command": command,
            "text": text,
            "api_app_id": self._app.id,
            "is_enterprise_install": "false",
            "response_url": f"{self._base_url}/response/{response_url.token}",
            "trigger_id": self._store.new_trigger(user),
        }
        delivery = self._send(f"{command} {text}".strip(), urlencode(form).encode(), shown=form)
        if not delivery.ok:
            failed = (
                f"{command} failed because the app did not respond."
                if delivery.error == DID_NOT_RESPOND
                else f"{command} failed with the error “{delivery.error}”."
            )
            self._slackbot(where, user, failed, thread_ts)
        elif delivery.body.strip():
            self._show_ack(where, user, delivery.body, thread_ts)
        return delivery

    def submit(self, view_id: str, user: str, values: Mapping[str, Any]) -> Delivery:
        """Submit a modal. `values` maps a block id or action id to what was entered.

        A required input left empty is shown as an error and nothing is sent, as Slack's client does.
        """
        view = self._view_of(view_id, user)
        state, missing = _state_values(view.document.get("blocks") or [], values)
        if missing:
            self._store.put_view(replace(view, errors=missing, values=state))
            return Delivery(None, 0.0, "missing_input", "")
        view = self._store.put_view(replace(view, values=state, errors={}))
        payload = self._payload("view_submission", user) | {
            "trigger_id": self._store.new_trigger(user),
            "view": self._api.view_document(view),
            "response_urls": [],
        }
        name = f"view_submission {view.document.get('callback_id', '')}"
        delivery = self._send_payload(name, payload)
        if delivery.ok:
            self._after_submission(view, delivery)
        else:
            said = "We had some trouble connecting. Try again?"
            self._store.put_view(replace(view, errors={"": said}))
        return delivery

    def close(self, view_id: str, user: str) -> Delivery:
        """Close a modal; the app hears of it if it asked to."""
        view = self._view_of(view_id, user)
        self._store.close_views([view.id])
        if not view.document.get("notify_on_close"):
            return Delivery(None, 0.0, None, "")
        payload = self._payload("view_closed", user) | {"view": self._api.view_document(view), "is_cleared": False}
        return self._send_payload("view_closed", payload)

    def open_home(self, user: str) -> Delivery:
        """Open the App Home tab: the app gets an `app_home_opened` event."""
        event: Json = {
            "type": "app_home_opened",
            "user": user,
            "channel": "D0" + user[2:],
            "tab": "home",
            "event_ts": self._store.new_ts(),
        }
        home = self._store.home(user)
        if home is not None:
            event["view"] = self._api.view_document(home)
        envelope = {
            "token": "drill-verification-token",
            "team_id": self._app.team_id,
            "api_app_id": self._app.id,
            "event": event,
            "type": "event_callback",
            "event_id": self._store.new_id("Ev"),
            "event_time": int(time.time()),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": self._app.team_id,
                    "user_id": self._app.bot_user_id,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
        }
        body = json.dumps(envelope).encode()
        return self._send("event app_home_opened", body, shown=envelope, content_type="application/json")

    # -- the wire ------------------------------------------------------------------------

    def _payload(self, kind: str, user: str) -> Json:
        person = self._store.users[user]
        return {
            "type": kind,
            "user": {"id": person.id, "username": person.name, "name": person.name, "team_id": self._app.team_id},
            "api_app_id": self._app.id,
            "token": "drill-verification-token",
            "team": {"id": self._app.team_id, "domain": "drill"},
            "enterprise": None,
            "is_enterprise_install": False,
        }

    def _send_payload(self, name: str, payload: Json) -> Delivery:
        return self._send(name, urlencode({"payload": json.dumps(payload)}).encode(), shown=payload)

    def _send(
        self, name: str, body: bytes, *, shown: Any, content_type: str = "application/x-www-form-urlencoded"
    ) -> Delivery:
        url = self._app_url()
        if url is None and (self._sockets.count or self._sockets.figures.opened):
            return self._send_envelope(name, shown)
        timestamp = int(time.time())
        headers = {
            "Content-Type": content_type,
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            "X-Slack-Request-Timestamp": str(timestamp),
            "X-Slack-Signature": signature(self._app.signing_secret, timestamp, body),
        }
        started = time.perf_counter()
        status: int | None = None
        text, error = "", None
        if url is None:
            error = "dispatch_failed"
        else:
            try:
                response = requests.post(url, data=body, headers=headers, timeout=ACK_S, allow_redirects=False)
                status, text = response.status_code, response.text
                if status != 200:
                    error = "dispatch_failed"
            except requests.Timeout:
                error = DID_NOT_RESPOND
            except requests.RequestException:
                error = "dispatch_failed"
        took_s = time.perf_counter() - started
        if took_s > ACK_S:
            error = DID_NOT_RESPOND
        answered: Any = text
        try:
            answered = json.loads(text) if text else ""
        except ValueError:
            pass
        self._store.record("Slack to app", name, status, took_s * 1000, shown, answered, error or "")
        return Delivery(status, round(took_s * 1000, 1), error, text)

    def _send_envelope(self, name: str, payload: Json) -> Delivery:
        kind, takes_answer = socket_kind(payload)
        started = time.perf_counter()
        ack, how = self._sockets.deliver(kind, payload, takes_answer, ACK_S)
        took_s = time.perf_counter() - started
        error = None if ack is not None else DID_NOT_RESPOND
        text = json.dumps(ack.payload) if ack is not None and ack.payload and takes_answer else ""
        status = None if ack is None else 200
        note = f"{how}: {error}" if error else how
        self._store.record(
            "Slack to app", name, status, took_s * 1000, payload, ack.payload if ack is not None else "", note
        )
        return Delivery(status, round(took_s * 1000, 1), error, text)

    # -- what the person sees afterwards ---------------------------------------------------

    def _show_ack(self, channel: Channel, user: str, body: str, thread_ts: str | None) -> None:
        try:
            document = json.loads(body)
        except ValueError:
            document = {"text": body}
        if not isinstance(document, dict) or not (document.get("text") or document.get("blocks")):
            return
        try:
            self._api.say(channel.id, user, document, thread_ts)
        except SlackError as error:
            self._slackbot(channel, user, f"The app's answer could not be shown: {error.code}.", thread_ts)

    def _slackbot(self, channel: Channel, user: str, text: str, thread_ts: str | None) -> None:
        self._store.show(Message(channel.id, self._store.new_ts(), "USLACKBOT", text, thread_ts, ephemeral_for=user))

    def _view_of(self, view_id: str, user: str) -> View:
        view = self._store.view(view_id)
        if view is None or view.user != user:
            raise NothingThere(f"no modal {view_id} open for {user}")
        return view

    def _after_submission(self, view: View, delivery: Delivery) -> None:
        """Do what the app's `response_action` says; no answer closes this view."""
        try:
            answer = json.loads(delivery.body) if delivery.body.strip() else {}
        except ValueError:
            answer = {}
        action = answer.get("response_action") if isinstance(answer, dict) else None
        if action == "errors":
            self._store.put_view(replace(view, errors=dict(answer.get("errors") or {})))
        elif action in ("update", "push"):
            try:
                if action == "push":
                    self._api.push_view(view.user, answer.get("view") or {})
                else:
                    checked = self._api.checked_view(answer.get("view") or {})
                    self._store.put_view(replace(view, document=checked, hash=f"{time.time_ns()}", values={}))
            except SlackError as error:
                self._store.put_view(replace(view, errors={"": f"The app sent a view that Slack refuses: {error}"}))
        elif action == "clear":
            self._store.close_views([one.id for one in self._store.views() if one.user == view.user])
        else:
            self._store.close_views([view.id])


def _container(message: Message) -> Json:
    container: Json = {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": message.channel,
        "is_ephemeral": message.ephemeral_for is not None,
    }
    if message.thread_ts:
        container["thread_ts"] = message.thread_ts
    return container


def _element(blocks: Any, action_id: str, block_id: str | None, value: str | None) -> tuple[Json, Json]:
    """The block and its element with this action id (and block id, and value, if given)."""
    for block in blocks:
        if block_id is not None and block.get("block_id") != block_id:
            continue
        for element in elements_of(block):
            if element.get("action_id") != action_id:
                continue
            if value is not None and element.get("type") == "button" and element.get("value") != value:
                continue
            return block, element
    raise NothingThere(f"no element with action id {action_id} in that message")


def _action(block: Json, element: Json, option: str | None, ts: str) -> Json:
    kind = element["type"]
    action: Json = {
        "type": kind,
        "action_id": element["action_id"],
        "block_id": block["block_id"],
        "action_ts": ts,
    }
    if kind == "button":
        action["text"] = element["text"]
        for name in ("value", "style", "url"):
            if element.get(name) is not None:
                action[name] = element[name]
    elif kind in ("overflow", "static_select", "radio_buttons"):
        action["selected_option"] = _option(element, option)
    elif kind in ("checkboxes", "multi_static_select"):
        action["selected_options"] = [_option(element, one) for one in (option or "").split(",") if one]
    elif kind == "users_select":
        action["selected_user"] = option
    elif kind == "datepicker":
        action["selected_date"] = option
    if kind.endswith("select") and element.get("placeholder"):
        action["placeholder"] = element["placeholder"]
    return action


def _option(element: Json, wanted: str | None) -> Json:
    """The option with this value or this label."""
    options = list(element.get("options") or [])
    for group in element.get("option_groups") or []:
        options.extend(group.get("options") or [])
    for option in options:
        if wanted in (option.get("value"), (option.get("text") or {}).get("text")):
            return dict(option)
    raise NothingThere(f"no option {wanted!r} in {element.get('action_id')}")


def _state_of(action: Json) -> Json:
    return {name: value for name, value in action.items() if name.startswith(("type", "selected"))}


def _state_values(blocks: Any, values: Mapping[str, Any]) -> tuple[dict[str, dict[str, Json]], dict[str, str]]:
    """`view.state.values` for what was entered, and the required inputs that are empty."""
    state: dict[str, dict[str, Json]] = {}
    missing: dict[str, str] = {}
    for block in blocks:
        if block.get("type") != "input":
            continue
        element = block["element"]
        block_id, action_id = str(block["block_id"]), str(element["action_id"])
        entered = values.get(block_id, values.get(action_id, _initial(element)))
        if isinstance(entered, Mapping) and action_id in entered:
            entered = entered[action_id]
        one = _input_state(element, entered)
        state[block_id] = {action_id: one}
        empty = all(value in (None, "", []) for name, value in one.items() if name != "type")
        if empty and not block.get("optional"):
            missing[block_id] = "Please complete this required field."
        most = element.get("max_length")
        if isinstance(most, int) and len(str(one.get("value") or "")) > most:
            missing[block_id] = f"Please enter at most {most} characters."
    return state, missing


def _initial(element: Json) -> Any:
    for name in ("initial_value", "initial_user", "initial_date"):
        if element.get(name) is not None:
            return element[name]
    if element.get("initial_option"):
        return element["initial_option"].get("value")
    if element.get("initial_options"):
        return [option.get("value") for option in element["initial_options"]]
    return None


def _input_state(element: Json, entered: Any) -> Json:
    kind = element["type"]
    if isinstance(entered, Mapping) and entered.get("type") == kind:
        return dict(entered)
    if kind in ("static_select", "radio_buttons"):
        return {"type": kind, "selected_option": _option(element, str(entered)) if entered else None}
    if kind in ("checkboxes", "multi_static_select"):
        chosen = entered if isinstance(entered, list) else [entered] if entered else []
        return {"type": kind, "selected_options": [_option(element, str(one)) for one in chosen]}
    if kind == "users_select":
        return {"type": kind, "selected_user": entered}
    if kind == "datepicker":
        return {"type": kind, "selected_date": entered}
    return {"type": kind, "value": None if entered in (None, "") else str(entered)}
