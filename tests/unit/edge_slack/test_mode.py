"""`slack.mode` decides how Slack reaches a bot, and a start waits for neither."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from bot.app import Bot, start_bot

ENVIRON = {"BOT": "xoxb-1", "APP": "xapp-1", "SECRET": "s", "TOKEN": "token"}


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a Slack that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def started(folder: Path, port: int, mode: str) -> Bot:
    path = folder / "cdc.yml"
    path.write_text(
        "listen: 127.0.0.1:0\n"
        "state: ./journal.db\n"
        f"slack: {{mode: {mode}, bot_token: '${{BOT}}', app_token: '${{APP}}', signing_secret: '${{SECRET}}',\n"
        f"        api_url: 'http://127.0.0.1:{port}/api/'}}\n"
        'alertmanager: {url: "http://127.0.0.1:9", tokens: ["${TOKEN}"]}\n'
        "probes: {interval: 1d}\n"
        'pipelines: {customers: {owner: "@o", channel: "#c", topics: [customers]}}\n'
    )
    return start_bot(path, ENVIRON)


@pytest.mark.parametrize(("status", "series", "mode"), [(404, True, "socket"), (401, False, "http")])
def test_the_mode_opens_one_door_only(tmp_path: Path, silent: int, status: int, series: bool, mode: str) -> None:
    """In Socket Mode nobody can come in by HTTP; in HTTP mode no connection is opened, and none is missed."""
    bot = started(tmp_path, silent, mode)
    try:
        assert status == requests.post(f"{bot.url}/slack/events", data=b"x", timeout=5).status_code
        assert series == ("\ncdc_slack_connections 0.0" in requests.get(f"{bot.url}/metrics", timeout=5).text)
    finally:
        bot.stop()


def test_a_start_and_a_stop_wait_for_no_slack(tmp_path: Path, silent: int) -> None:
    """A Slack that takes the question for an address and never answers delays neither the start nor the end."""
    began_s = time.monotonic()
    bot = started(tmp_path, silent, "socket")
    assert requests.get(f"{bot.url}/healthz", timeout=5).json()["alive"]
    bot.stop()
    assert time.monotonic() - began_s < 6
