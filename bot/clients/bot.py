"""The running bot's own pages, read from beside it: what `/healthz`, `/readyz` and `/metrics` say; refusals told to it.

`JsonHttp` takes a 503 for no answer; of the first two it is the answer.
"""

from __future__ import annotations

import json
from typing import Any

import requests

from bot.clients.http import JsonHttp
from bot.ports import Unreachable


def read_page(url: str, path: str, deadline_s: float) -> dict[str, Any]:
    """Return the JSON document at a page of the bot, whatever its status. Raises Unreachable."""
    asked = f"GET {url}{path}"
    try:
        document = _get(url, path, deadline_s).json()
    except requests.exceptions.JSONDecodeError as error:
        raise Unreachable(f"{asked}: not the bot's page: is something else listening there?") from error
    if not isinstance(document, dict):
        raise Unreachable(f"{asked}: not the bot's page: is something else listening there?")
    return document


def read_counter(url: str, series: str, deadline_s: float) -> int | None:
    """Return a counter of the bot's /metrics, `name_total{label="value"}` as it stands there, None where it has none.

    Raises Unreachable.
    """
    for line in _get(url, "/metrics", deadline_s).text.splitlines():
        name, _, value = line.rpartition(" ")
        if name == series:
            return int(float(value))
    return None


def tell_refusal(url: str, token: str, key: str, body: bytes, deadline_s: float) -> None:
    """Tell the bot at `url` of a refused schema; it is on its disk when this returns. Raises PortError.

    `body` is `incident.refusals.write_refused`'s; `key` names the refusal, so that it may be told again.
    """
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
    answer = JsonHttp(url, lambda: headers).post("/refusals", deadline_s, body=json.loads(body))
    if not isinstance(answer, dict) or answer.get("stored") is not True:
        raise Unreachable(f"POST {url}/refusals: not the bot's answer: is something else listening there?")


def _get(url: str, path: str, deadline_s: float) -> requests.Response:
    asked = f"GET {url}{path}"
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands between the bot and its own host
            return session.get(url + path, timeout=deadline_s, allow_redirects=False)
    except requests.exceptions.Timeout as error:
        raise Unreachable(f"{asked}: no answer within {deadline_s:.3g} s") from error
    except requests.exceptions.RequestException as error:
        raise Unreachable(f"{asked}: nobody answers", sent=False) from error
