"""Slash ack: how long Slack waits for the answer to a signed `/cdc lag` while the brokers are down.

Slack shows an error after 3 s. The bot must store and answer at once, whatever Kafka does: here nobody listens on
the brokers' port, so every question behind the acks ends in its deadline.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import requests

from bot.drill.slack_interactions import signature
from bot.drill.workspace import INCIDENTS, SlackWorkspace
from tests.bench.bots import BotProcess
from tests.bench.table import Row, in_ms, percentile
from tests.system.parts import HOST, free_port

SECRET, TOKEN = "bench-signing", "xoxb-bench"
WITHIN_MS = 300
AT_ONCE = 4


def measure_ack(folder: Path, requests_count: int) -> list[Row]:
    """Return the row of the slash acks. Raises RuntimeError when one was refused."""
    port, nobody = free_port(), free_port()
    workspace = SlackWorkspace(token=TOKEN, signing_secret=SECRET).start()
    environ = {"BOT_TOKEN": TOKEN, "SIGNING_SECRET": SECRET}
    config = _config(port, nobody, workspace.api_url)
    with BotProcess(folder, f"http://{HOST}:{port}", config, environ) as bot, ThreadPoolExecutor(AT_ONCE) as pool:
        taken_s = list(pool.map(lambda number: _ask(bot.url, number, workspace.url), range(requests_count)))
    workspace.stop()
    p50, p99 = percentile(taken_s, 0.5), percentile(taken_s, 0.99)
    return [
        Row(
            f"slash ack, brokers down, {requests_count} requests, {AT_ONCE} at once",
            f"p50 {in_ms(p50)}, p99 {in_ms(p99)}", "", None, f"p99 < {WITHIN_MS} ms", p99 * 1000 < WITHIN_MS,
        )
    ]  # fmt: skip


def _ask(url: str, number: int, workspace_url: str) -> float:
    form = {
        "team_id": "T01DRILL", "channel_id": INCIDENTS, "channel_name": "cdc-incidents", "user_id": "U01ALICE",
        "user_name": "alice", "command": "/cdc", "text": "lag customers_canonical_flink", "api_app_id": "A01",
        "response_url": f"{workspace_url}/response/bench-{number}", "trigger_id": f"bench.{number}",
    }  # fmt: skip
    body, now = urlencode(form).encode(), int(time.time())
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": str(now),
        "X-Slack-Signature": signature(SECRET, now, body),
    }
    began = time.perf_counter()
    answer = requests.post(f"{url}/slack/events", data=body, headers=headers, timeout=10)
    taken_s = time.perf_counter() - began
    if answer.status_code != 200 or "asking" not in answer.text:
        raise RuntimeError(f"the command was not taken: {answer.status_code} {answer.text[:200]}")
    return taken_s


def _config(port: int, nobody: int, slack_url: str) -> str:
    return f"""\
listen: {HOST}:{port}
state: ./cdc-oncall.db
kafka: {{bootstrap: "{HOST}:{nobody}"}}
slack:
  bot_token: ${{BOT_TOKEN}}
  signing_secret: ${{SIGNING_SECRET}}
  api_url: {slack_url}
  channel: "#cdc-incidents"
pipelines:
  customers:
    topics: [customers]
    consumers: [{{group: customers_canonical_flink, topics: [customers]}}]
"""
