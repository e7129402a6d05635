"""The Slack edge: signed requests in, one inbox row each, an answer at once.

A request is bounded, decoded and its signature checked here, before Bolt parses a byte (Bolt answers 500 to
unsigned garbage, and its Starlette adapter runs listeners on the event loop). Bolt then routes it in the thread
pool; a listener validates, stores one row and acknowledges. It decides nothing and calls nobody.

Socket Mode brings the same documents over a connection of ours (`slack_socket.py`): `answer_envelope` is its door, to
the same listeners and the same rows. It checks no signature: the connection was opened with the app's own token.

What must happen while the finger is on the button, opening a modal, goes through the *interactive lane*: a few
threads, tried once, dropped when a trigger's life is over, never queued.

Promise
    200, or an ack, means "on disk" for everything that changes something; else the person reads that nothing was
    recorded.
    The same request twice is one row. Bad input is 400 or 401 with a reason, never a 500.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from slack_bolt import Ack, App, BoltRequest
from slack_bolt.authorization import AuthorizeResult
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from bot.edge.slack_requests import as_typed, missing
from bot.incident.state import Incident
from bot.ports import Chat, ChatError, Message
from bot.render import modals
from bot.render.blocks import line

PATH = "/slack/events"
ENVELOPES = ("slash_commands", "interactive", "events_api")
MAX_BODY_BYTES = 1024 * 1024
SIGNATURE_WINDOW_S = 300
TRIGGER_LIFE = timedelta(seconds=2.5)
TRIGGER_SPENT = frozenset({"exchanged_trigger_id", "trigger_exchanged"})
"""The same click came twice and the first one opened the form."""
MODALS_AT_ONCE = 4
NOT_RECORDED = "Nothing was recorded: the journal could not be written. Nothing was done. Try again in a minute."
TOO_LATE = "The form could not be opened in time. Nothing was done: press the button again."

log = logging.getLogger("cdc.slack")
_bolt_log = logging.getLogger("cdc.slack.bolt")
_bolt_log.setLevel(logging.ERROR)  # it warns of what nobody listens to with the whole request, and of SLACK_BOT_TOKEN


class SlackEdge:
    """Slack's interactions: routes for HTTP, and a door for the envelopes of Socket Mode.

    `store(key, kind, body)` writes one inbox row: False when the key is there already; it raises when it could not.
    `incident` looks an incident up for a modal; `count_error` counts what went wrong, by reason. `secrets` are asked
    at each request: two during a rotation, none means that nothing is accepted over HTTP.
    """

    def __init__(
        self,
        *,
        secrets: Callable[[], Iterable[str]],
        store: Callable[[str, str, bytes], bool],
        incident: Callable[[str], Incident | None],
        chat: Chat,
        clock: Callable[[], datetime],
        count_error: Callable[[str], None],
        command: str = "/cdc",
    ) -> None:
        self._secrets, self._store, self._incident, self._chat = secrets, store, incident, chat
        self._clock, self._count_error = clock, count_error
        self._lane = InteractiveLane(clock, count_error)
        self._names: dict[str, str] = {}
        self._bolt = self._app(command)

    def routes(self) -> list[BaseRoute]:
        return [Route(PATH, self._receive, methods=["POST"])]

    def close(self) -> None:
        self._lane.close()

    # -- the door ----------------------------------------------------------------------------

    async def _receive(self, request: Request) -> Response:
        received_at = self._clock()
        try:
            body = await _bounded(request)
        except ClientDisconnect:
            return _refused(400, "the request ended before its body")
        if body is None:
            return _refused(413, f"a request has at most {MAX_BODY_BYTES:,} bytes")
        try:
            secrets = tuple(self._secrets())
        except Exception as error:
            # The process's edge: a secret that cannot be read now is said in the log, and nothing gets in.
            log.error("the Slack signing secret cannot be read: %s", error)
            self._count_error("slack-secret")
            return _refused(503, "the signing secret cannot be read; nothing was recorded")
        reason = refuse_signature(request.headers, body, secrets, received_at)
        if reason:
            self._count_error("slack-signature")
            log.warning("Slack request refused: %s", reason)
            return _refused(401, reason)
        try:
            text = body.decode("utf-8")
            check_shape(text, request.headers.get("content-type", ""))
        except ValueError as error:
            self._count_error("slack-unreadable")
            return _refused(400, f"not a Slack request: {error}")
        return await run_in_threadpool(self._dispatch, text, request, received_at)

    def _dispatch(self, text: str, request: Request, received_at: datetime) -> Response:
        headers: dict[str, str | Sequence[str]] = dict(request.headers.items())
        try:
            answer = self._bolt.dispatch(BoltRequest(body=text, headers=headers, context={"received_at": received_at}))
        except Exception:
            # The process's edge: an answer of 200 would claim that it was recorded.
            log.exception("a Slack request failed")
            self._count_error("slack-edge")
            return _refused(503, "the request could not be handled; nothing was recorded")
        shown = {name: values[0] for name, values in answer.headers.items() if values}
        return Response(answer.body or "", status_code=answer.status, headers=shown)

    def answer_envelope(self, kind: str, payload: object) -> Mapping[str, Any] | None:
        """Handle one envelope of Socket Mode and return the payload of its ack, or None for a bare one.

        What is not Slack's and what nobody listens to is counted and gets a bare ack: Slack would only repeat it.
        Raises RuntimeError when it could not be handled: an ack would claim that it was recorded.
        """
        received_at = self._clock()
        try:
            document = check_envelope(kind, payload)
        except ValueError as error:
            self._count_error("slack-unreadable")
            log.warning("an envelope of Slack was refused: %s", error)
            return None
        context = {"received_at": received_at}
        try:
            answer = self._bolt.dispatch(BoltRequest(body=dict(document), context=context, mode="socket_mode"))
        except Exception as error:
            log.exception("a Slack envelope failed")
            self._count_error("slack-edge")
            raise RuntimeError("the envelope could not be handled; nothing was recorded") from error
        if answer.status == 404:
            self._count_error("slack-unknown")
            log.warning("nobody listens to this envelope of Slack: %s, %s", kind, line(str(document.get("type")), 80))
            return None
        if answer.status != 200:
            self._count_error("slack-edge")
            raise RuntimeError(f"the envelope was answered with status {answer.status}")
        if not answer.body:
            return None
        said = json.loads(answer.body) if answer.body.startswith("{") else {"text": answer.body}
        return said if isinstance(said, dict) else None

    # -- the listeners -----------------------------------------------------------------------

    def _app(self, command: str) -> App:
        """Bolt as a router: the signature is checked at the door already, and a listener needs no token."""
        nobody = AuthorizeResult(enterprise_id=None, team_id=None, bot_token="not-used", bot_user_id="-", bot_id="-")
        app = App(
            name="cdc-oncall",
            signing_secret="checked-at-the-door",
            request_verification_enabled=False,
            token_verification_enabled=False,
            process_before_response=True,
            authorize=lambda: nobody,
            logger=_bolt_log,
        )
        app.command(command)(self._on_command)
        app.action(re.compile(r".*", re.DOTALL))(self._on_action)
        app.view(re.compile(r".*", re.DOTALL))(self._on_view)
        return app

    def _on_command(self, ack: Ack, body: Mapping[str, Any]) -> None:
        text = as_typed(str(body.get("text") or ""))
        document = {
            "user": self._person(str(body.get("user_id") or ""), body.get("user_name")),
            "channel": body.get("channel_id"),
            "text": text,
            "response_url": body.get("response_url"),
            "trigger_id": body.get("trigger_id"),
        }
        try:
            self._store(f"slack.command:{body.get('trigger_id')}", "slack.command", _json(document))
        except Exception:
            self._not_stored("slack.command")
            ack(text=NOT_RECORDED, response_type="ephemeral")
            return
        asked = line(f"{body.get('command')} {text}".strip(), 200)
        ack(text=f"{asked}: asking…", response_type="ephemeral")

    def _on_action(self, ack: Ack, body: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        ack()
        action = (body.get("actions") or [{}])[0]
        document = action_document(body, action)
        document["user"] = self._person(document["user"]["id"], document["user"]["name"])
        if document["verb"] in modals.VERBS:
            self._open_modal(body, document, context["received_at"])
            return
        user, message_ts = document["user"]["id"], document["message_ts"]
        key = f"slack.action:{user}:{document['action_id']}:{message_ts}:{action.get('action_ts')}"
        try:
            self._store(key, "slack.action", _json(document))
        except Exception:
            self._not_stored("slack.action")
            self._tell(document["response_url"], NOT_RECORDED)

    def _on_view(self, ack: Ack, body: Mapping[str, Any]) -> None:
        view = body.get("view") or {}
        document = view_document(body)
        document["user"] = self._person(document["user"]["id"], document["user"]["name"])
        errors = missing(document["callback_id"], document["values"])
        if errors:
            ack(response_action="errors", errors=dict(errors))
            return
        if "lead" in document["values"]:
            lead = document["values"]["lead"]
            document["values"]["lead_name"] = self._names.get(lead, lead)
        if "choice" in document["values"]:
            document["values"]["choice"] = self._choice(document)
        try:
            self._store(f"slack.view:{view.get('id')}:{view.get('hash')}", "slack.view", _json(document))
        except Exception:
            self._not_stored("slack.view")
            first = next((block["block_id"] for block in view.get("blocks") or () if block.get("type") == "input"), "")
            ack(response_action="errors", errors={first: NOT_RECORDED})
            return
        ack()

    # -- leaves ------------------------------------------------------------------------------

    def _open_modal(self, body: Mapping[str, Any], document: Mapping[str, Any], received_at: datetime) -> None:
        value, verb = document["value"], document["verb"]
        trigger_id, response_url = str(body.get("trigger_id") or ""), document["response_url"]
        where = (document["channel"], document["thread_ts"], response_url)

        def open_it() -> None:
            incident = self._incident(str(value.get("i")))
            view = incident and modals.render_modal(verb, incident, value.get("s"), modals.metadata_of(value, *where))
            if view:
                self._chat.open_view(trigger_id, view)
            elif response_url:
                self._chat.respond(response_url, Message("There is no such incident or step here. Nothing was done."))

        def tell_it() -> None:
            if response_url:
                self._chat.respond(response_url, Message(TOO_LATE))

        self._lane.submit(open_it, tell_it, received_at)

    def _choice(self, document: Mapping[str, Any]) -> str:
        """The words of the choice: the form sent its place in the list."""
        carried, place = document["private_metadata"], str(document["values"]["choice"])
        incident = self._incident(str(carried.get("i")))
        step = incident.step(str(carried.get("s"))) if incident else None
        choices = step.step.choices if step else ()
        return choices[int(place)] if place.isdigit() and int(place) < len(choices) else place

    def _person(self, user_id: str, name: Any) -> dict[str, str]:
        """The person, whose name is kept: a form that names a lead sends the id alone."""
        if name:
            self._names[user_id] = str(name)
        return {"id": user_id, "name": str(name or user_id)}

    def _not_stored(self, kind: str) -> None:
        log.exception("%s could not be stored", kind)
        self._count_error("slack-store")

    def _tell(self, response_url: str | None, text: str) -> None:
        if response_url:
            respond = self._chat.respond
            self._lane.submit(lambda: respond(response_url, Message(text)), lambda: None, self._clock())


class InteractiveLane:
    """A few threads for what cannot wait. Never queued: when all are busy, or it is too late, it is dropped."""

    def __init__(self, clock: Callable[[], datetime], count_error: Callable[[str], None]) -> None:
        self._clock, self._count_error = clock, count_error
        self._threads = ThreadPoolExecutor(MODALS_AT_ONCE, thread_name_prefix="interactive")
        self._free = threading.BoundedSemaphore(MODALS_AT_ONCE)

    def submit(self, job: Callable[[], None], if_dropped: Callable[[], None], received_at: datetime) -> None:
        """Run `job` now, or `if_dropped` when it failed or came too late."""
        if not self._free.acquire(blocking=False):
            self._count_error("interactive-busy")
            return
        self._threads.submit(self._run, job, if_dropped, received_at)

    def _run(self, job: Callable[[], None], if_dropped: Callable[[], None], received_at: datetime) -> None:
        try:
            if self._clock() - received_at <= TRIGGER_LIFE:
                try:
                    job()
                    return
                except ChatError as error:
                    if error.code in TRIGGER_SPENT:
                        return
                    log.warning("interactive: %s", error.code)
            self._count_error("interactive-dropped")
            if_dropped()
        except Exception:
            log.exception("an interactive answer failed")
            self._count_error("interactive-failed")
        finally:
            self._free.release()

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


# --- pure parts ------------------------------------------------------------------------------------


def refuse_signature(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: datetime) -> str | None:
    """Return why the request is not Slack's, or None. Compares in constant time, whichever secret fits.

    Source: docs.slack.dev, "Verifying requests from Slack": `v0=` and the HMAC-SHA256 of `v0:TIMESTAMP:BODY`.
    """
    timestamp, given = headers.get("x-slack-request-timestamp", ""), headers.get("x-slack-signature", "")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp) or not given:
        return "the signature headers are missing or unreadable"
    if abs(now.timestamp() - int(timestamp)) > SIGNATURE_WINDOW_S:
        return f"the request is more than {SIGNATURE_WINDOW_S // 60} minutes old: is this machine's clock right?"
    signed = b"v0:" + timestamp.encode() + b":" + body
    fits = False
    for secret in secrets:
        own = b"v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
        fits |= bool(secret) and hmac.compare_digest(own, given.encode("utf-8", "replace"))
    return None if fits else "the signature does not fit: is the signing secret the app's?"


def check_shape(text: str, content_type: str) -> None:
    """Raise ValueError unless it is a form with a command or a payload, or a JSON object: Bolt would answer 500."""
    if content_type.startswith("application/json"):
        _object(text, "the body")
        return
    form = parse_qs(text, keep_blank_values=True, max_num_fields=200)
    if "payload" in form:
        _check_payload(_object(form["payload"][0], "payload"))
    elif "command" not in form and "ssl_check" not in form:
        raise ValueError("neither a command nor a payload")


def check_envelope(kind: str, payload: object) -> Mapping[str, Any]:
    """Return what an envelope of Socket Mode holds, shaped as HTTP would bring it. Raises ValueError."""
    if kind not in ENVELOPES:
        raise ValueError(f"its type is {kind[:80]!r}")
    if not isinstance(payload, Mapping):
        raise ValueError("its payload is not a JSON object")
    if kind == "slash_commands":
        _must_be(payload, "command", str)
    elif kind == "interactive":
        _check_payload(payload)
    return payload


def _check_payload(payload: Mapping[str, Any]) -> None:
    _must_be(payload, "user", Mapping)
    if payload.get("type") == "block_actions":
        _must_be(payload, "actions", list)
        if not payload["actions"] or not isinstance(payload["actions"][0], Mapping):
            raise ValueError("actions: empty")
    if payload.get("type") in ("view_submission", "view_closed"):
        _must_be(payload, "view", Mapping)


def action_document(body: Mapping[str, Any], action: Mapping[str, Any]) -> dict[str, Any]:
    """Return the small document of a click: who, what, and where the answer goes."""
    action_id = str(action.get("action_id") or "")
    option = action.get("selected_option")
    raw = option.get("value") if isinstance(option, Mapping) else action.get("value")
    value = _value(raw)
    head, _, thing = action_id.partition(":")
    kind, _, own_verb = head.partition(".")
    if thing and kind == "step":
        value.setdefault("s", thing)
    if thing and kind == "action":
        value.setdefault("s" if own_verb == "plan" else "k", thing)
    container = _mapping(body.get("container"))
    message = _mapping(body.get("message"))
    message_ts = container.get("message_ts") or message.get("ts")
    return {
        "user": _user(body),
        "action_id": action_id[:255],
        "verb": str(value.get("v") or own_verb),
        "value": value,
        "channel": _mapping(body.get("channel")).get("id") or container.get("channel_id"),
        "message_ts": message_ts,
        "thread_ts": container.get("thread_ts") or message.get("thread_ts") or message_ts,
        "response_url": body.get("response_url"),
    }


def view_document(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the small document of a submitted form, with the places its click came from."""
    view = _mapping(body.get("view"))
    carried = _value(view.get("private_metadata"))
    return {
        "user": _user(body),
        "callback_id": str(view.get("callback_id") or ""),
        "private_metadata": carried,
        "values": flat(_mapping(_mapping(view.get("state")).get("values"))),
        "channel": carried.get("c"),
        "thread_ts": carried.get("t"),
        "response_url": carried.get("u"),
    }


def flat(values: Mapping[str, Any]) -> dict[str, str]:
    """Return block_id -> what was entered, of Slack's `view.state.values`."""
    entered: dict[str, str] = {}
    for block_id, elements in values.items():
        for element in _mapping(elements).values():
            state = _mapping(element)
            option = _mapping(state.get("selected_option"))
            value = state.get("value") or option.get("value") or state.get("selected_user")
            if value:
                entered[block_id] = str(value)
    return entered


async def _bounded(request: Request) -> bytes | None:
    """The body, or None when it is too large; a chunked one is cut off as soon as it is."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _refused(status: int, reason: str) -> Response:
    return JSONResponse({"ok": False, "error": reason}, status_code=status)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _object(text: str, name: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON") from error
    if not isinstance(document, dict):
        raise ValueError(f"{name} is not a JSON object")
    return document


def _must_be(payload: Mapping[str, Any], name: str, kind: type) -> None:
    if not isinstance(payload.get(name), kind):
        raise ValueError(f"{name} is missing or of another kind")


def _value(raw: Any) -> dict[str, Any]:
    try:
        value = json.loads(raw) if isinstance(raw, str) else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _user(body: Mapping[str, Any]) -> dict[str, str]:
    user = _mapping(body.get("user"))
    user_id = str(user.get("id") or "")
    return {"id": user_id, "name": str(user.get("name") or user.get("username") or user_id)}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
