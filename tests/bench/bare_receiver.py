"""The floor of the storm: a Starlette handler that stores each body in SQLite before it answers.

    python bare_receiver.py PORT FILE

The same durability as the bot's inbox (WAL, synchronous=FULL) and nothing else: one commit for each request,
no authentication, no limit on the body, no de-duplication. It knows nothing of the bot.
"""

from __future__ import annotations

import sqlite3
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def bare_app(path: str) -> Starlette:
    """Return the app; the table is there before the first request."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY, body BLOB)")

    async def receive(request: Request) -> Response:
        body = await request.body()
        db.execute("INSERT INTO inbox (body) VALUES (?)", (body,))
        return JSONResponse({"stored": True})

    async def ready(_: Request) -> Response:
        return JSONResponse({"ready": True})

    return Starlette(routes=[Route("/alertmanager", receive, methods=["POST"]), Route("/healthz", ready)])


if __name__ == "__main__":
    port, file = int(sys.argv[1]), sys.argv[2]
    uvicorn.run(
        bare_app(file), host="127.0.0.1", port=port, log_level="warning", access_log=False, backlog=4096, lifespan="off"
    )
