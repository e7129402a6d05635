"""HTTP on 127.0.0.1: the one way the parts of the drill world are served.

Each part is a list of routes, `(method, path, handler)`; a handler is a plain function
from a `Call` to an `Answer`, run on a worker thread, so a part may block. The port is
bound before the server starts, so `url` is true from the constructor on.

Invariants
    Only 127.0.0.1 is ever bound.
    A page on another site cannot call a part: a foreign Host or Origin is refused.
    Threads are daemons; `stop()` returns when the server has ended.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

JSON = "application/json"
BODY_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Call:
    """One HTTP request: path parameters, query and headers are decoded, the body is as sent."""

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    query_pairs: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; raises ValueError when it is none."""
        return json.loads(self.body or b"null")

    def document(self) -> dict[str, Any]:
        """The body as a JSON object; anything else, an empty body included, is an empty object."""
        try:
            found = self.json()
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def form(self) -> dict[str, str]:
        """The body as a urlencoded form; the last of several equal names counts."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(frozen=True)
class Answer:
    """One HTTP response. `drop` closes the connection without a byte instead of answering."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = JSON
    drop: bool = False
    delay_s: float = 0.0


Handler = Callable[[Call], Answer]
RouteRow = tuple[str, str, Handler]


class _Dropped(Response):
    """A response that is none: the connection is reset before the first byte."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _abort(scope["drill.send"])


def route(method: str, path: str, handler: Handler) -> Route:
    """A Starlette route that reads the body, runs `handler` on a thread and answers."""

    async def endpoint(request: Request) -> Response:
        call = Call(
            method=request.method,
            path=request.url.path,
            params={name: str(value) for name, value in request.path_params.items()},
            query=dict(request.query_params),
            query_pairs=tuple(request.query_params.multi_items()),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.body(),
        )
        answer = await run_in_threadpool(handler, call)
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        return _Dropped() if answer.drop else _response(answer)

    return Route(path, endpoint, methods=[method])


def _response(answer: Answer) -> Response:
    headers = dict(answer.headers)
    if answer.body is None:
        return Response(status_code=answer.status, headers=headers)
    if isinstance(answer.body, bytes):
        return Response(answer.body, answer.status, headers, media_type=answer.media_type)
    if isinstance(answer.body, str) and answer.media_type != JSON:
        return Response(answer.body, answer.status, headers, media_type=answer.media_type)
    text = json.dumps(answer.body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, answer.status, headers, media_type=answer.media_type)


class _Door:
    """The outermost ASGI layer: refuses foreign hosts and origins, and can drop a connection."""

    def __init__(self, inner: ASGIApp, port: int) -> None:
        self._inner = inner
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._inner(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal and scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # before it is accepted: HTTP 403
            return
        if refusal:
            await Response(refusal, 403, media_type="text/plain")(scope, receive, send)
            return
        # Starlette wraps `send`; dropping a connection needs the server's own.
        scope["drill.send"] = send
        await self._inner(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if headers.get("host", "") not in self._hosts:
            return "Refused: this is a local drill; the Host header names another machine.\n"
        origin = headers.get("origin")
        if origin and urlsplit(origin).netloc not in self._hosts:
            return "Refused: this is a local drill; the request comes from another site.\n"
        return None


async def _abort(send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
    """Close the TCP connection under a response that has not begun, as a reset would."""
    cycle = getattr(send, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is None:
        return
    transport.abort()
    for _ in range(3):
        await asyncio.sleep(0)


class LoopbackServer:
    """An ASGI app on its own thread and port of 127.0.0.1; raises RuntimeError when the port is taken."""

    def __init__(self, name: str, routes: Sequence[BaseRoute], *, port: int = 0, websockets: bool = False) -> None:
        self._name = name
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(("127.0.0.1", port))
        except OSError as error:
            self._socket.close()
            raise RuntimeError(f"the drill's {name} cannot listen on 127.0.0.1:{port}: {error.strerror}") from error
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        door = _Door(Starlette(routes=list(routes)), self.port)
        self._server = uvicorn.Server(
            uvicorn.Config(
                door,
                http="h11",
                ws="websockets-sansio" if websockets else "none",
                loop="asyncio",
                lifespan="off",
                log_level="critical",
                access_log=False,
                timeout_graceful_shutdown=1,
                backlog=2048,
            )
        )
        self._thread = threading.Thread(target=self._serve, name=f"drill-{name}", daemon=True)

    def start(self) -> LoopbackServer:
        """Serve; returns once connections are accepted."""
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        if not self._server.started:
            raise RuntimeError(f"the drill's {self._name} did not start on {self.url} within 10 s")
        return self

    def stop(self) -> None:
        """End the server and its thread; calling it twice does nothing."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now; the caller binds it soon.

    Taken below 32768, where Linux hands out no ports by itself: until the caller listens no outgoing connection
    can take it.
    """
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
