"""JSON over HTTP: one call, one deadline, one of four errors.

The registry, Connect and Alertmanager clients all speak through `JsonHttp`, so an on-call reads
the same sentence for the same trouble whichever system it was: `GET http://host:port/path: ...`.

Promise
    A call returns the decoded JSON body (None for an empty one) or raises a `PortError`.
    The deadline covers the whole call, a body that drips in included.
    No secret is in an error: the shown address has no user, no password and no query.
    Nothing is retried and no redirect is followed: a redirected POST would become a GET.
    `Unreachable.sent` is False only where the request certainly never left: an action may then be tried again.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError

from bot.ports import Denied, Missing, Rejected, Unreachable

Headers = Callable[[], Mapping[str, str] | None]

MAX_BODY_BYTES = 64 * 1024 * 1024
SHOWN_MESSAGE_CHARACTERS = 600

# Why TLS failed, by what OpenSSL or Python calls it; the first that is found counts.
_TLS_REASONS = (
    ("CERTIFICATE_REQUIRED", "the server wants a client certificate: are tls.certificate and tls.key configured?"),
    ("EOF occurred", "the server broke the secured connection off: does it want a client certificate?"),
    ("mismatch, certificate is not valid", "the certificate is for another host: is this the right name?"),
    ("CERTIFICATE_VERIFY_FAILED", "certificate not trusted: is the CA configured?"),
    ("WRONG_VERSION_NUMBER", "the port speaks plain HTTP: is it http:// here?"),
    ("NO_CERTIFICATE_OR_CRL_FOUND", "the file of tls.ca holds no certificate in PEM form"),
    ("PEM lib", "the file of tls.certificate or tls.key is not in PEM form"),
)
# The request may have left: the server looks for the client's certificate after the client's handshake (TLS 1.3), and
# what has no name here need not be the handshake at all.
_UNNAMED_TLS_REASON = "the secured connection failed: is the CA configured?"
_LATE_TLS_REASONS = (_TLS_REASONS[0][1], _TLS_REASONS[1][1], _UNNAMED_TLS_REASON)


class Tls(Protocol):
    """The files for an address with https; None is the system's CAs, or no client certificate."""

    @property
    def ca(self) -> Path | None: ...
    @property
    def certificate(self) -> Path | None: ...
    @property
    def key(self) -> Path | None: ...


class JsonHttp:
    """One server's base address. Safe to share between threads.

    `headers` is asked at each call and its answer is never kept: a rotated token works at once, and
    a missing one is noticed when used. The files of `tls` are read at each call too.
    A user and password in `url` become basic auth and are shown nowhere.
    `clock_offset_s` is the server's clock minus `clock`, to the second, as its last answer (a refusal too) told it.
    """

    def __init__(
        self,
        url: str,
        headers: Headers | None = None,
        tls: Tls | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.url, self._basic = _address(url)
        self._headers = headers
        self._clock = clock
        self.clock_offset_s: float | None = None
        self._verify: bool | str = str(tls.ca) if tls and tls.ca else True
        certificate = str(tls.certificate) if tls and tls.certificate else None
        self._cert = (certificate, str(tls.key)) if certificate and tls and tls.key else certificate

    def at_root(self) -> JsonHttp:
        """Return the same server with the same login, addressed from `/`."""
        parts = urlsplit(self.url)
        root = copy.copy(self)
        root.url = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        return root

    def get(self, path: str, deadline_s: float, params: Mapping[str, Any] | None = None) -> Any:
        return self.call("GET", path, deadline_s, params=params)

    def post(
        self, path: str, deadline_s: float, params: Mapping[str, Any] | None = None, body: Any | None = None
    ) -> Any:
        return self.call("POST", path, deadline_s, params=params, body=body)

    def call(
        self,
        method: str,
        path: str,
        deadline_s: float,
        params: Mapping[str, Any] | None = None,
        body: Any | None = None,
    ) -> Any:
        """Return the decoded body of a 2xx answer; raise Unreachable, Denied, Missing or Rejected."""
        asked = f"{method} {self.url}{path}"
        ends_at = time.monotonic() + deadline_s
        try:
            # A session per call: requests promises no thread safety, and a probe makes a handful of calls.
            with (
                requests.Session() as session,
                session.request(
                    method,
                    self.url + path,
                    params=params,
                    json=body,
                    headers={"Accept": "application/json"},
                    auth=self._authorise,
                    timeout=deadline_s,
                    verify=self._verify,
                    cert=self._cert,
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                if self._clock is not None:
                    self.clock_offset_s = clock_offset_s(response.headers.get("Date"), self._clock())
                text = _read_body(response, ends_at, asked, deadline_s)
        except requests.exceptions.SSLError as error:
            reason = _tls_reason(error)
            raise Unreachable(f"{asked}: TLS failed: {reason}", sent=reason in _LATE_TLS_REASONS) from error
        except requests.exceptions.Timeout as error:
            sent = not isinstance(error, requests.exceptions.ConnectTimeout)
            raise Unreachable(f"{asked}: no answer within {deadline_s:.3g} s", sent=sent) from error
        except requests.exceptions.ConnectionError as error:
            raise Unreachable(f"{asked}: {_connection_reason(error)}", sent=not _is_unconnected(error)) from error
        except (requests.exceptions.RequestException, ValueError) as error:
            # What requests refuses to send (an address, a header) is a ValueError too; a broken answer is not.
            raise Unreachable(
                f"{asked}: not a usable address or answer ({type(error).__name__})",
                sent=not isinstance(error, ValueError),
            ) from error
        except OSError as error:  # requests says so of a file of `tls` that is not there
            raise Unreachable(f"{asked}: not asked: {error}", sent="invalid path" not in str(error)) from error
        return _decode(response, text, asked)

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """An auth callable, not plain headers: otherwise requests lets a ~/.netrc entry replace them."""
        if self._basic is not None:
            requests.auth.HTTPBasicAuth(*self._basic)(request)
        for name, value in ((self._headers() if self._headers else None) or {}).items():
            request.headers[name] = value
        return request


def _address(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return the address without user, password, query and trailing slash, and the user and password."""
    try:
        parts = urlsplit(url)
        credentials = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    except ValueError:
        return url.rpartition("@")[2], None  # the call will say that it is not usable
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", "")), credentials


def clock_offset_s(date: str | None, now: datetime) -> float | None:
    """Return the clock of an HTTP `Date` header minus `now`, in whole seconds; None where there is no such header."""
    try:
        there = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return float(round((there.replace(tzinfo=there.tzinfo or UTC) - now).total_seconds()))


def remaining_s(ends_at: float) -> float:
    """Return what is left until `ends_at` on the monotonic clock; never 0, which a socket takes for "no wait"."""
    return max(0.05, ends_at - time.monotonic())


def _read_body(response: requests.Response, ends_at: float, asked: str, deadline_s: float) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := response.raw.read1(65_536, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if time.monotonic() > ends_at:
                raise Unreachable(f"{asked}: the answer did not end within {deadline_s:.3g} s")
            if size > MAX_BODY_BYTES:
                raise Unreachable(f"{asked}: the answer is larger than {MAX_BODY_BYTES:,} bytes")
    except (HTTPError, OSError) as error:
        raise Unreachable(f"{asked}: the answer broke off ({type(error).__name__})") from error
    return b"".join(chunks)


def _decode(response: requests.Response, text: bytes, asked: str) -> Any:
    status = response.status_code
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_html = kind == "text/html" or text.lstrip()[:1] == b"<"
    try:
        body = json.loads(text) if text.strip() and not is_html else None
        is_json = not is_html
    except (ValueError, RecursionError):
        body, is_json = None, False
    words = _message(body)
    suffix = f": {words}" if words else ""

    if 300 <= status < 400:
        location, _ = _address(response.headers.get("Location", "nowhere"))
        raise Unreachable(f"{asked}: answered {status}, go to {location}: is this the right address?")
    if status == 401:
        raise Denied(f"{asked}: answered 401, the credentials are missing or wrong{suffix}")
    if status == 403:
        raise Denied(f"{asked}: answered 403, these credentials may not do this{suffix}")
    if status >= 500 or status == 408:
        raise Unreachable(f"{asked}: answered {status}{suffix}")
    if status == 400 and b"No required SSL certificate" in text:  # nginx
        raise Unreachable(f"{asked}: answered 400: {_TLS_REASONS[0][1]}")
    if not is_json:
        what = "HTML" if is_html else "text that is not JSON"
        raise Unreachable(f"{asked}: answered {status} with {what}, not the API: is this the right address?")
    code = body.get("error_code") if isinstance(body, dict) else None
    code = code if isinstance(code, int) else None
    if status == 404:
        raise Missing(f"{asked}: answered 404{suffix or ' with an empty body'}", error_code=code)
    if status >= 400:
        raise Rejected(f"{asked}: answered {status}{suffix}", status=status, error_code=code, reason=words or None)
    return body


def _message(body: Any) -> str:
    """Return the server's own words: Connect and registries send `message`, Prometheus `error`, Apicurio `detail`.

    Alertmanager sends also a bare string. Flink sends `errors`, where a line is a Java trace: its first line is it.
    """
    words = body if isinstance(body, str) else ""
    if isinstance(body, dict):
        words = body.get("message") or body.get("error") or body.get("detail") or ""
    if not words and isinstance(body, dict) and isinstance(body.get("errors"), list):
        words = next((str(error).strip().partition("\n")[0] for error in body["errors"] if error), "")
    words = " ".join(str(words or "").split())
    return words if len(words) <= SHOWN_MESSAGE_CHARACTERS else words[:SHOWN_MESSAGE_CHARACTERS] + "..."


def _is_unconnected(error: requests.exceptions.ConnectionError) -> bool:
    """Return whether no connection came about, so that not a byte of the request left."""
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError | ConnectTimeoutError)


def _connection_reason(error: requests.exceptions.ConnectionError) -> str:
    text = str(error)
    for needle, reason in (
        ("Connection refused", "refused the connection"),
        ("Failed to resolve", "the host name is not known"),
        ("NameResolutionError", "the host name is not known"),
        ("timed out", "no answer in time"),
        ("Remote end closed", "closed the connection without an answer"),
        ("Connection reset", "reset the connection"),
        ("No route to host", "no route to the host"),
        ("Network is unreachable", "the network is unreachable"),
    ):
        if needle in text:
            return reason
    return "the connection failed"


def _tls_reason(error: requests.exceptions.SSLError) -> str:
    text = str(error)
    return next((reason for needle, reason in _TLS_REASONS if needle in text), _UNNAMED_TLS_REASON)
