"""A real HTTP server on loopback that answers a table of recorded bodies and keeps what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Answers:
    """`answers["GET /path"] = (status, body)`; a str or bytes body is sent as it is, anything else as JSON."""

    def __init__(self) -> None:
        self.table: dict[str, tuple[int, Any]] = {}
        self.headers: dict[str, str] = {"Content-Type": "application/json"}
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.drip_s = 0.0
        self.delay_s = 0.0
        self.url = ""

    def __setitem__(self, asked: str, answer: tuple[int, Any]) -> None:
        self.table[asked] = answer


@pytest.fixture
def server() -> Iterator[Answers]:
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            line = f"{self.command} {self.path}"
            answers.asked.append((line, dict(self.headers), self.rfile.read(length)))
            status, body = answers.table.get(line, (404, {"error_code": 404, "message": f"HTTP 404 Not Found: {line}"}))
            raw = (
                body
                if isinstance(body, bytes)
                else body.encode()
                if isinstance(body, str)
                else json.dumps(body).encode()
            )
            time.sleep(answers.delay_s)
            self.send_response(status)
            for name, value in answers.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            if answers.drip_s:
                for index in range(len(raw)):
                    self.wfile.write(raw[index : index + 1])
                    time.sleep(answers.drip_s)
            else:
                self.wfile.write(raw)

        do_GET = do_POST = _answer

        def log_message(self, *_: object) -> None: ...

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                pass  # the client gave up waiting, as it should

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    answers.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield answers
    httpd.shutdown()
    httpd.server_close()
