"""Slack's Web API over slack_sdk: one call, one attempt, one of two answers.

Promise
    A call is made once (`retry_handlers=[]`: slack_sdk's default posts twice when the connection drops
    after Slack took the message). It returns, or raises ChatError saying whether it may have happened.
    The token is read at each call, so a rotated one works at once, and is in no error and no log line. No redirect is
    followed, which would take the token along to another host: it is ChatError("redirected").
    Links in messages are not unfurled: a host name in an alert fetches nothing.

Sources: docs.slack.dev (the errors of each method); measured in shared/notes/slack-platform.md section 4.
"""

from __future__ import annotations

import difflib
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import BaseHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import SlackResponse
from slack_sdk.web.file_upload_v2_result import FileUploadV2Result
from slack_sdk.webhook import WebhookClient, WebhookResponse

from bot.clients.http import clock_offset_s
from bot.ports import ChatChannel, ChatError, ChatIdentity, Message, is_loopback

SLACK_API_URL = "https://slack.com/api/"
TRIGGER_S = 2
ALT_LIMIT = 1000
REPLIES_PAGE, HISTORY_PAGE, CHANNELS_PAGE, MOST_PAGES = 200, 200, 500, 10

# What somebody can put right is not among them (a token, a scope, an invitation, an archived channel): what was to be
# said is still true, and is said once it can be.
_NO_USE_IN_REPEATING = """
    app_missing_action_url as_user_not_supported cant_update_message duplicate_channel_not_found edit_window_closed
    exchanged_trigger_id expired_trigger_id expired_url file_not_found invalid_arg_name invalid_arguments
    invalid_array_arg invalid_blocks invalid_blocks_format invalid_channel invalid_metadata_format
    invalid_trigger_id is_inactive message_not_found metadata_must_be_sent_from_app metadata_too_large
    method_deprecated msg_blocks_too_long msg_too_long no_text not_allowed_token_type thread_not_found
    too_many_attachments trigger_exchanged trigger_expired unknown_method used_url user_not_found
    user_not_in_channel view_too_large
    """
PERMANENT = frozenset(_NO_USE_IN_REPEATING.split())
MAY_HAVE_HAPPENED = frozenset({"fatal_error", "internal_error", "request_timeout"})
"""Slack: "It's possible some aspect of the operation succeeded before the error was raised"."""

_log = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.sdk")
_quiet.setLevel(logging.CRITICAL)


class SlackChat:
    """Implements `bot.ports.Chat` and `ChatSetup`. Safe to share between threads.

    `token` is asked at each call. `api_url` is Slack's, or a stand-in's for tests and the drill. Slack's clock is
    compared with `clock`, if any. Channels may be given as `#name`: the id is learned from the first post, else asked.
    """

    def __init__(
        self,
        token: Callable[[], str],
        api_url: str = SLACK_API_URL,
        timeout_s: int = 10,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._token, self._clock = token, clock
        self._api_url = api_url if api_url.endswith("/") else f"{api_url}/"
        self._timeout_s = timeout_s
        self._ids: dict[str, str] = {}

    def post(self, channel: str, message: Message, thread_ts: str | None, broadcast: bool = False) -> tuple[str, str]:
        """Post and return (channel id, ts)."""
        arguments = _shown(message) | {"unfurl_links": False, "unfurl_media": False}
        if thread_ts:
            arguments |= {"thread_ts": thread_ts, "reply_broadcast": broadcast}
        answer = self._call("chat.postMessage", channel=self._ids.get(channel, channel), **arguments)
        channel_id, ts = str(answer.get("channel") or channel), str(answer.get("ts") or "")
        self._ids[channel] = channel_id
        return channel_id, ts

    def update(self, channel: str, ts: str, message: Message) -> None:
        """Replace text, blocks and metadata; blocks that are no longer there vanish."""
        arguments = {"blocks": [], **_shown(message)}
        self._call("chat.update", channel=self._channel_id(channel), ts=ts, **arguments)

    def post_ephemeral(self, channel: str, user: str, message: Message, thread_ts: str | None) -> None:
        """Show a message to one person; `user` is a Slack id, with or without our `slack:` before it."""
        arguments = {name: value for name, value in _shown(message).items() if name != "metadata"}
        if thread_ts:
            arguments["thread_ts"] = thread_ts
        self._call(
            "chat.postEphemeral",
            channel=self._ids.get(channel, channel),
            user=user.removeprefix("slack:"),
            **arguments,
        )

    def respond(self, response_url: str, message: Message) -> None:
        """Answer the person alone through the address that came with the command or the click.

        Raises ChatError("foreign_response_url") without a call when the address is not Slack's.
        """
        if not self._is_slacks(response_url):
            raise ChatError("foreign_response_url", permanent=True)
        client = _StrictWebhook(response_url, timeout=self._timeout_s, logger=_quiet, retry_handlers=[])
        client.proxy = None if is_loopback(urlsplit(response_url).hostname) else client.proxy
        blocks = [dict(block) for block in message.blocks]
        with _Attempt("response_url"):
            answer: WebhookResponse = client.send_dict(
                {
                    "text": message.text,
                    "response_type": "ephemeral",
                    "replace_original": False,
                    **({"blocks": blocks} if blocks else {}),
                }
            )
        if answer.status_code != 200:
            raise _refused("response_url", answer.status_code, answer.headers, _word_in(answer.body))

    def find(self, channel: str, thread_ts: str | None, key: str) -> str | None:
        """Return the ts of the message whose metadata carries `key`: at most 2,000 back."""
        channel_id = self._channel_id(channel)
        if thread_ts:
            pages = self._pages(
                "conversations.replies",
                channel=channel_id,
                ts=thread_ts,
                limit=REPLIES_PAGE,
                include_all_metadata=True,
            )
        else:
            pages = self._pages(
                "conversations.history", channel=channel_id, limit=HISTORY_PAGE, include_all_metadata=True
            )
        for page in pages:
            for message in page.get("messages") or ():
                payload = (message.get("metadata") or {}).get("event_payload") or {}
                if payload.get("key") == key:
                    return str(message["ts"])
        return None

    def upload(
        self, channel: str, thread_ts: str | None, filename: str, content: str | bytes, comment: str, alt: str = ""
    ) -> None:
        """Share a file: ask for an address, send the bytes there, then share it in the channel or thread.

        `alt` describes a picture to who does not see it. At most 1,000 characters of it are sent: Slack refuses
        more (`alt_txt_too_large`, docs.slack.dev/reference/methods/files.getUploadURLExternal).
        """
        channel_id = self._channel_id(channel)
        with _Attempt("files.upload"):
            self._client().files_upload_v2(
                filename=filename,
                content=content or " ",
                title=filename,
                alt_txt=alt[:ALT_LIMIT] or None,
                channel=channel_id,
                thread_ts=thread_ts,
                initial_comment=comment or None,
            )

    def open_view(self, trigger_id: str, view: Mapping[str, Any]) -> None:
        """Open a modal; given up after 2 s, because the trigger dies at 3."""
        self._call("views.open", TRIGGER_S, trigger_id=trigger_id, view=dict(view))

    def open_socket(self, app_token: str) -> str:
        """Return a single-use address for Socket Mode; `app_token` is the app-level token (xapp-)."""
        with _Attempt("apps.connections.open"):
            answer = self._client(token=app_token).api_call("apps.connections.open")
        address = str(_document(answer).get("url") or "")
        is_local = address.startswith("ws://") and is_loopback(urlsplit(self._api_url).hostname)
        if not address.startswith("wss://") and not is_local:
            raise ChatError("unreadable_answer")
        return address

    def read_identity(self) -> ChatIdentity:
        """Return who the token is (auth.test). Slack names the granted scopes in a header of every answer."""
        with _Attempt("auth.test"):
            answer = self._client().api_call("auth.test")
        told, headers = _document(answer), {name.lower(): value for name, value in dict(answer.headers).items()}
        scopes = headers.get("x-oauth-scopes")
        return ChatIdentity(
            team=str(told.get("team") or ""),
            team_id=str(told.get("team_id") or ""),
            user_id=str(told.get("user_id") or ""),
            url=str(told.get("url") or ""),
            scopes=None if scopes is None else frozenset(re.findall(r"[^\s,]+", _first(scopes))),
            clock_offset_s=clock_offset_s(_first(headers.get("date")), self._clock()) if self._clock else None,
            app_id=str(told["app_id"]) if told.get("app_id") else None,
        )

    def read_channels(self, channels: Sequence[str]) -> Mapping[str, ChatChannel | ChatError]:
        """Return each channel, given as `#name` or id, or Slack's word for why not.

        Names are looked for in one listing of all channels, which ends as soon as all are found: Slack allows some 20
        pages a minute. Archived channels are found too; of two with a name, the one that is not archived.
        """
        by_id = [channel for channel in channels if re.fullmatch(r"[CDG][A-Z0-9]{5,}", channel)]
        found: dict[str, ChatChannel | ChatError] = {}
        for channel in by_id:
            try:
                found[channel] = _channel(self._query("conversations.info", channel=channel).get("channel") or {})
            except ChatError as error:
                found[channel] = error
        names = {channel.removeprefix("#"): channel for channel in channels if channel not in by_id}
        return {**found, **(self._read_by_name(names) if names else {})}

    def _read_by_name(self, names: Mapping[str, str]) -> Mapping[str, ChatChannel | ChatError]:
        found: dict[str, ChatChannel | ChatError] = {}
        seen: list[str] = []
        pages = 0
        try:
            for page in self._pages("conversations.list", types="public_channel,private_channel", limit=CHANNELS_PAGE):
                pages += 1
                for one in map(_channel, page.get("channels") or ()):
                    seen += [] if one.is_archived else [one.name]
                    if one.name in names and not (one.is_archived and names[one.name] in found):
                        found[names[one.name]] = one
                living = [one for one in found.values() if isinstance(one, ChatChannel) and not one.is_archived]
                if len(living) == len(names):
                    break
        except ChatError as error:
            return {**dict.fromkeys(names.values(), error), **found}
        word = "channel_not_found" if pages < MOST_PAGES else "too_many_channels"
        missing = {channel: name for name, channel in names.items() if channel not in found}
        return {
            **{
                channel: ChatError(word, permanent=True, near=_nearest(name, seen)) for channel, name in missing.items()
            },
            **found,
        }

    # -- leaves ------------------------------------------------------------------------------

    def _call(self, method: str, timeout_s: int | None = None, **arguments: Any) -> Mapping[str, Any]:
        with _Attempt(method):
            answer = self._client(timeout_s).api_call(method, json=arguments)
        return _document(answer)

    def _query(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        """A reading method: Slack takes no JSON body for these."""
        with _Attempt(method):
            answer = self._client().api_call(method, params=arguments)
        return _document(answer)

    def _pages(self, method: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        cursor = ""
        for _ in range(MOST_PAGES):
            page = self._query(method, **arguments, **({"cursor": cursor} if cursor else {}))
            yield page
            cursor = str((page.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return

    def _channel_id(self, channel: str) -> str:
        """Return the id of a channel given as id or name. Raises ChatError("channel_not_found")."""
        if re.fullmatch(r"[CDG][A-Z0-9]{5,}", channel):
            return channel
        known = self._ids.get(channel)
        if known:
            return known
        name = channel.removeprefix("#")
        for page in self._pages(
            "conversations.list", types="public_channel,private_channel", exclude_archived=True, limit=CHANNELS_PAGE
        ):
            for one in page.get("channels") or ():
                if one.get("name") == name:
                    self._ids[channel] = str(one["id"])
                    return self._ids[channel]
        raise ChatError("channel_not_found")

    def _client(self, timeout_s: int | None = None, token: str | None = None) -> WebClient:
        client = _StrictClient(
            token=token or self._token(),
            base_url=self._api_url,
            timeout=timeout_s or self._timeout_s,
            logger=_quiet,
            retry_handlers=[],
        )
        if is_loopback(urlsplit(self._api_url).hostname):
            client.proxy = None  # slack_sdk takes HTTP_PROXY from the environment and knows no NO_PROXY
        return client

    def _is_slacks(self, url: str) -> bool:
        asked, own = urlsplit(url), urlsplit(self._api_url)
        if asked.netloc == own.netloc and asked.scheme == own.scheme:
            return True
        host = asked.hostname or ""
        slack = host == "slack.com" or host.endswith((".slack.com", ".slack-gov.com"))
        return slack and asked.scheme == "https" and urlsplit(SLACK_API_URL).netloc == own.netloc


class _RefusedRedirects(BaseHandler):
    """Ends a request at any 3xx, before urllib's own handler follows it with all its headers."""

    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:
        if 300 <= response.status < 400:
            response.close()
            raise ChatError("redirected")
        return response

    https_response = http_response


def _exchange(request: Request, timeout_s: float, proxy: str | None, tls: ssl.SSLContext | None) -> HTTPResponse:
    """Perform one request as slack_sdk does, but follow no redirect; HTTPError from 400 on."""
    proxies = {"http": proxy, "https": proxy} if proxy else {}
    opener = build_opener(ProxyHandler(proxies), HTTPSHandler(context=tls), _RefusedRedirects())
    answer: HTTPResponse = opener.open(request, timeout=timeout_s)
    return answer


class _StrictClient(WebClient):
    """slack_sdk's client with the two methods that touch the network replaced: neither takes an opener."""

    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        with _exchange(req, self.timeout, self.proxy, self.ssl) as answer:
            return {"status": answer.status, "headers": answer.headers, "body": _text_of(answer)}

    def _upload_file(
        self, *, url: str, data: bytes, logger: logging.Logger, timeout: int, proxy: str | None,
        ssl: ssl.SSLContext | None,
    ) -> FileUploadV2Result:  # fmt: skip
        """Send a file's bytes to the address that Slack gave for them; no token goes along."""
        with _exchange(Request(url, data, method="POST"), timeout, proxy, ssl) as answer:
            return FileUploadV2Result(status=answer.status, body=_text_of(answer))


class _StrictWebhook(WebhookClient):
    """As `_StrictClient`, for a response_url."""

    def _perform_http_request_internal(self, url: str, req: Request) -> WebhookResponse:
        with _exchange(req, self.timeout, self.proxy, self.ssl) as answer:
            return WebhookResponse(
                url=url, status_code=answer.status, body=_text_of(answer), headers=dict(answer.headers)
            )


def _text_of(answer: HTTPResponse) -> str:
    return answer.read().decode(answer.headers.get_content_charset() or "utf-8")


class _Attempt:
    """Turns what slack_sdk raises during one call into ChatError."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, ChatError):
            return
        if isinstance(error, SlackApiError):
            raise _api_error(self._method, error.response) from None
        if isinstance(error, URLError) and isinstance(
            error.reason, ConnectionRefusedError | socket.gaierror | ssl.SSLCertVerificationError
        ):
            raise ChatError("unreachable") from error
        if isinstance(error, TimeoutError) or "timed out" in str(error):
            raise ChatError("timeout", uncertain=True) from error
        if isinstance(error, ValueError | AttributeError | RecursionError):
            raise ChatError("unreadable_answer", uncertain=True) from error
        if isinstance(error, OSError | HTTPException | SlackClientError):
            raise ChatError("connection_lost", uncertain=True) from error


def _api_error(method: str, response: Any) -> ChatError:
    if not isinstance(response, SlackResponse):
        return ChatError("unreadable_answer", uncertain=True)
    document = response.data if isinstance(response.data, Mapping) else {}
    if document.get("needed"):
        _log.warning("Slack refused %s: the app lacks the scope %s", method, document["needed"])
    elif said := (document.get("response_metadata") or {}).get("messages"):
        _log.warning("Slack refused %s: %s: %s", method, document.get("error"), said[:5])
    return _refused(method, response.status_code, response.headers, str(document.get("error") or ""))


def _refused(method: str, status: int, headers: Mapping[str, Any], code: str) -> ChatError:
    """The error for an answer: 429 and `ratelimited` wait, 5xx may have happened, the rest is Slack's word."""
    if status == 429 or code in ("ratelimited", "rate_limited"):
        return ChatError("ratelimited", retry_after_s=_retry_after_s(headers))
    if status >= 500:
        return ChatError(f"http_{status}", uncertain=True)
    if not re.fullmatch(r"[a-z0-9_]{1,80}", code):
        # Not Slack's JSON (a proxy's page?): whether Slack was reached is not known.
        return ChatError("unreadable_answer" if status == 200 else f"http_{status}", uncertain=status == 200)
    return ChatError(code, uncertain=code in MAY_HAVE_HAPPENED, permanent=code in PERMANENT)


def _retry_after_s(headers: Mapping[str, Any]) -> float | None:
    """Slack sends whole seconds; proxies send fractions, dates or nothing."""
    for name, value in headers.items():
        if name.lower() == "retry-after":
            try:
                return max(0.0, float(value[0] if isinstance(value, list) else value))
            except ValueError:
                return None
    return None


def _channel(told: Mapping[str, Any]) -> ChatChannel:
    return ChatChannel(
        id=str(told.get("id") or ""),
        name=str(told.get("name") or ""),
        is_member=told.get("is_member") is True,
        is_archived=told.get("is_archived") is True,
    )


def _nearest(name: str, seen: Sequence[str]) -> str:
    """Return the `#name` that is most like one that is not there; empty where none is."""
    return "".join(f"#{near}" for near in difflib.get_close_matches(name, seen, 1))


def _first(value: object) -> str:
    """slack_sdk gives a header as text or as a list of texts."""
    return str(value[0] if isinstance(value, list) and value else value or "")


def _document(answer: Any) -> Mapping[str, Any]:
    data = answer.data if isinstance(answer, SlackResponse) else None
    if not isinstance(data, Mapping):
        raise ChatError("unreadable_answer", uncertain=True)
    return data


def _word_in(body: str | None) -> str:
    """Slack answers a response_url with `ok`, a bare word, or JSON with `error`."""
    match = re.search(r'"error"\s*:\s*"([a-z0-9_]+)"', body or "")
    return match[1] if match else (body or "").strip()


def _shown(message: Message) -> dict[str, Any]:
    """The text always; blocks and metadata only when there are any."""
    shown: dict[str, Any] = {"text": message.text}
    if message.blocks:
        shown["blocks"] = [dict(block) for block in message.blocks]
    if message.metadata:
        shown["metadata"] = dict(message.metadata)
    return shown
