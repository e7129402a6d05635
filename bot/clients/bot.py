"""The running bot's own pages, read from beside it: what `/healthz` and `/readyz` say, whatever their status is.

`JsonHttp` takes a 503 for no answer; here it is the answer.
"""

from __future__ import annotations

from typing import Any

import requests

from bot.ports import Unreachable


def read_page(url: str, path: str, deadline_s: float) -> dict[str, Any]:
    """Return the JSON document at a page of the bot. Raises Unreachable."""
    asked = f"GET {url}{path}"
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands between the bot and its own host
            answer = session.get(url + path, timeout=deadline_s, allow_redirects=False)
            document = answer.json()
    except requests.exceptions.Timeout as error:
        raise Unreachable(f"{asked}: no answer within {deadline_s:.3g} s") from error
    except requests.exceptions.JSONDecodeError as error:
        raise Unreachable(f"{asked}: not the bot's page: is something else listening there?") from error
    except requests.exceptions.RequestException as error:
        raise Unreachable(f"{asked}: nobody answers", sent=False) from error
    if not isinstance(document, dict):
        raise Unreachable(f"{asked}: not the bot's page: is something else listening there?")
    return document
