"""What the real parts answered, kept as JSON in `recorded/` for the unit tests and the drill's stand-ins.

A file is one exchange: `{"request": "GET /path", "status": 200, "body": ...}`; records and webhook bodies stand bare.
Tests on the real parts call `keep`: with `CDC_RECORD=1` it writes the file, otherwise it compares the *shape* of what
is answered now (keys and types, not values) with the recorded one, so that a recording cannot grow false unnoticed.
The comparison ignores null and empty lists.
"""

import json
import os
from pathlib import Path
from typing import Any

import requests

FOLDER = Path(__file__).parent / "recorded"


def keep_answer(name: str, answer: requests.Response, body: Any = None) -> None:
    """Keep an HTTP answer; `body` replaces what was answered, where that holds other tests' things."""
    request = f"{answer.request.method} {answer.request.path_url}"
    keep(name, {"request": request, "status": answer.status_code, "body": answer.json() if body is None else body})


def keep(name: str, document: Any) -> None:
    """Write a recording, or hold today's document against the recorded one."""
    path = FOLDER / f"{name}.json"
    if os.environ.get("CDC_RECORD") == "1":
        FOLDER.mkdir(exist_ok=True)
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    differences = differences_in_shape(json.loads(path.read_text(encoding="utf-8")), document)
    assert differences == [], f"{path.name} is not what the part answers now; record again with CDC_RECORD=1"


def differences_in_shape(recorded: Any, now: Any, path: str = "$") -> list[str]:
    """Return where two JSON documents differ in keys or types; of lists the first elements are compared."""
    if recorded is None or now is None:
        return []
    if type(recorded) is not type(now):
        return [f"{path}: recorded {type(recorded).__name__}, now {type(now).__name__}"]
    if isinstance(recorded, dict):
        differences = [f"{path}.{key}: recorded, not answered now" for key in recorded.keys() - now.keys()]
        differences += [f"{path}.{key}: answered now, not recorded" for key in now.keys() - recorded.keys()]
        for key in recorded.keys() & now.keys():
            differences += differences_in_shape(recorded[key], now[key], f"{path}.{key}")
        return sorted(differences)
    if isinstance(recorded, list) and recorded and now:
        return differences_in_shape(recorded[0], now[0], f"{path}[0]")
    return []
