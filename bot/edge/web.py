"""The HTTP edge: webhooks and refused schemas in; metrics, health and the pages about lag out.

Promise: a 200 means "on disk". The webhook authenticates, bounds the size, stores the raw bytes and answers;
it parses nothing and calls nobody. 503 only when the body could not be stored (Alertmanager retries a 5xx
within seconds and gives up on any 4xx, 429 included, until its next group_interval). The route is accepted
with and without the slash and never redirects: a 302 would turn the POST into a GET and lose the alert.

A burst of webhooks is committed together: every body that arrived while the last commit ran is in the next.

The pages are read-only and exposed as /metrics is: whoever reaches the port reads the names of pipelines, groups,
topics and clients, and their numbers. Nothing can be changed there.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from bot.render.page import HEADERS

log = logging.getLogger("cdc.web")

MAX_BODY = 16 * 1024 * 1024
MAX_REFUSAL = 64 * 1024
SAME_WITHIN_S = 15
PAGES_AT_ONCE = 2


class Inbox(Protocol):
    def receive_many(self, rows: Sequence[tuple[str, str, bytes]], now: datetime) -> None: ...


class Intake:
    """Group commit: one writer thread, one transaction for all that waits; `put` fails when its row is not on disk."""

    def __init__(self, inbox: Inbox, clock: Callable[[], datetime], stored: Callable[[], None]) -> None:
        self._inbox, self._clock, self._stored = inbox, clock, stored
        self._waiting: list[tuple[tuple[str, str, bytes], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="inbox")

    async def put(self, key: str, kind: str, body: bytes) -> None:
        """Return when the row is on disk. Raises what the store raised."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(((key, kind, body), future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        await future

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            rows = [row for row, _ in batch]
            try:
                await loop.run_in_executor(self._writer, self._inbox.receive_many, rows, self._clock())
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for _, future in batch:
                    if not future.done():
                        future.set_result(None)
                self._stored()

    def close(self) -> None:
        self._writer.shutdown(wait=True)


Credentials = Callable[[], tuple[Sequence[str], Sequence[tuple[str, str]]]]


def webhook_routes(
    intake: Intake,
    credentials: Credentials,
    clock: Callable[[], datetime],
    count: Callable[[str], None],
) -> list[BaseRoute]:
    """Return the routes Alertmanager and Grafana post to. `credentials` returns the bearer tokens and basic logins."""

    async def receive(request: Request) -> Response:
        if not _authorised(request.headers.get("authorization", ""), *credentials()):
            count("unauthorised")
            log.error("webhook refused: wrong or missing token from %s", _peer(request))
            return _refusal(
                401, "wrong or missing token",
                "Alertmanager tries again only at its next group_interval: put a token of `alertmanager.tokens` "
                "in `http_config.authorization.credentials` of the webhook.",
            )  # fmt: skip
        try:
            body = await _bounded(request)
        except ClientDisconnect:
            count("disconnected")
            return Response(status_code=499)
        if body is None:
            count("too_large")
            log.error("webhook refused: body over %d bytes from %s", MAX_BODY, _peer(request))
            return _refusal(413, f"body over {MAX_BODY} bytes", "Group less, or set `max_alerts` on the webhook.")
        window = int(clock().timestamp()) // SAME_WITHIN_S
        key = f"am:{hashlib.sha256(body).hexdigest()}:{window}"
        try:
            await intake.put(key, "alertmanager", body)
        except Exception as error:
            count("not_stored")
            log.error("webhook not stored: %s", error)
            return _refusal(503, f"not stored: {error}", "Alertmanager tries again by itself within seconds.")
        count("stored")
        return JSONResponse({"stored": True})

    return [Route(path, receive, methods=["POST"]) for path in ("/alertmanager", "/alertmanager/")]


def refusal_routes(intake: Intake, credentials: Credentials, count: Callable[[str], None]) -> list[BaseRoute]:
    """Return the route that `cdc registry follow-log` and CI runs post refused schemas to, one a request.

    The tokens are those of the webhook. `Idempotency-Key` names the refusal: told again, it is the same row. Without
    the header its bytes do. The sender tries again on anything but a 200, so nothing is answered 429 here either.
    """

    async def receive(request: Request) -> Response:
        if not _authorised(request.headers.get("authorization", ""), *credentials()):
            count("refusal:unauthorised")
            log.error("refused schema not taken: wrong or missing token from %s", _peer(request))
            return _refusal(
                401, "wrong or missing token",
                "Send a token of `alertmanager.tokens` in cdc.yml: `cdc registry follow-log` reads CDC_WEBHOOK_TOKEN.",
            )  # fmt: skip
        try:
            body = await _bounded(request, MAX_REFUSAL)
        except ClientDisconnect:
            return Response(status_code=499)
        if body is None:
            count("refusal:too_large")
            return _refusal(
                413, f"body over {MAX_REFUSAL} bytes", "Send one refused schema a request, without its text."
            )
        named = request.headers.get("idempotency-key", "").encode("utf-8", "surrogateescape")
        try:
            await intake.put(f"refusal:{hashlib.sha256(named or body).hexdigest()}", "refusal", body)
        except Exception as error:
            count("refusal:not_stored")
            log.error("refused schema not stored: %s", error)
            return _refusal(503, f"not stored: {error}", "Send it again.")
        return JSONResponse({"stored": True})

    return [Route(path, receive, methods=["POST"]) for path in ("/refusals", "/refusals/")]


def status_routes(
    metrics: Callable[[], bytes], health: Callable[[], tuple[bool, Mapping[str, object]]],
    ready: Callable[[], tuple[bool, Mapping[str, object]]],
) -> list[BaseRoute]:  # fmt: skip
    """Return /metrics, /healthz and /readyz; the latter two say what is wrong."""

    async def show_metrics(_: Request) -> Response:
        text = await run_in_threadpool(metrics)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    def answer(check: Callable[[], tuple[bool, Mapping[str, object]]]) -> Callable[[Request], object]:
        async def show(_: Request) -> Response:
            well, document = await run_in_threadpool(check)
            return JSONResponse(document, status_code=200 if well else 503)

        return show

    return [
        Route("/metrics", show_metrics),
        Route("/healthz", answer(health)),
        Route("/readyz", answer(ready)),
        Route("/", _index),
    ]


def lag_routes(page: Callable[[], str], group_page: Callable[[str], tuple[bool, str]]) -> list[BaseRoute]:
    """Return /lag and /lag/GROUP; `group_page` says with a page whether the group is watched (else 404).

    Pages have threads of their own: a chart takes a while, and many readers must not hold up /healthz.
    """
    pages = ThreadPoolExecutor(PAGES_AT_ONCE, thread_name_prefix="pages")

    async def show_all(_: Request) -> Response:
        return HTMLResponse(await asyncio.get_running_loop().run_in_executor(pages, page), headers=HEADERS)

    async def show_group(request: Request) -> Response:
        group = request.path_params["group"]
        is_watched, text = await asyncio.get_running_loop().run_in_executor(pages, group_page, group)
        return HTMLResponse(text, 200 if is_watched else 404, HEADERS)

    return [Route("/lag", show_all), Route("/lag/", show_all), Route("/lag/{group:path}", show_group)]


async def _index(_: Request) -> Response:
    return PlainTextResponse(
        "cdc-oncall: /alertmanager (POST), /refusals (POST), /slack/events (POST), /metrics, /healthz, /readyz, /lag\n"
    )


def _authorised(header: str, tokens: Iterable[str], logins: Iterable[tuple[str, str]]) -> bool:
    """Compare in constant time with every credential: two are valid at once during a rotation."""
    scheme, _, value = header.partition(" ")
    given, allowed = value.strip().encode("utf-8", "surrogateescape"), False
    if scheme.lower() == "bearer":
        for token in tokens:
            allowed |= hmac.compare_digest(given, token.encode())
    elif scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            return False
        for user, password in logins:
            allowed |= hmac.compare_digest(decoded, f"{user}:{password}".encode())
    return allowed


async def _bounded(request: Request, most: int = MAX_BODY) -> bytes | None:
    """Return the body, or None as soon as it is too large; what is announced too large is not read."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        return None
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _refusal(status: int, reason: str, remedy: str) -> Response:
    return JSONResponse({"error": reason, "remedy": remedy}, status_code=status)


def _peer(request: Request) -> str:
    return request.client.host if request.client else "an unknown address"
