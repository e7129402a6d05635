"""A scrape of `/metrics` with every series of 500 groups x 20 partitions, kafka_exporter's names included.

Ours and the peers' are asked in turns over HTTP, each as its own process; each answers from what it last read.
"""

from __future__ import annotations

import re
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

import requests

from bot.drill.workspace import SlackWorkspace
from tests.bench import peers
from tests.bench.bots import BotProcess
from tests.bench.groups import fill, many_estate
from tests.bench.table import Row, in_ms
from tests.system.fetch import Available
from tests.system.parts import HOST, free_port, wait_until

THEIR_LAG, KLAG_LAG = "kafka_consumergroup_lag", "kafka_consumergroup_group_lag"
KLAG_TOOK = re.compile(r"^kafka_lag_exporter_scrape_duration_seconds(?:\{.*\})? (\S+)", re.MULTILINE)
TOKEN, SECRET = "xoxb-bench", "bench-signing"


def measure_scrape(available: Available, folder: Path, groups: int, runs: int) -> list[Row]:
    """Return the rows of our scrape, of each peer that can be had, and of those that cannot."""
    with ExitStack() as stack:
        estate = stack.enter_context(many_estate(available, folder, groups))
        fill(estate)
        series = 20 * groups
        port = free_port()
        workspace = SlackWorkspace(token=TOKEN, signing_secret=SECRET).start()
        stack.callback(workspace.stop)
        config = _config(estate.bootstrap, port, workspace.api_url)
        environ = {"BOT_TOKEN": TOKEN, "SIGNING_SECRET": SECRET}
        bot = stack.enter_context(BotProcess(folder / "bot", f"http://{HOST}:{port}", config, environ))
        wait_until(lambda: _count(f"{bot.url}/metrics", THEIR_LAG) == series, "the bot tells of all", 90, every_s=1.0)
        urls = {"ours": f"{bot.url}/metrics"}
        if peers.klag_program().is_file():
            klag = peers.Klag(folder / peers.KLAG, estate.bootstrap)
            stack.callback(klag.process.stop)
            peers.wait_for_series(klag, KLAG_LAG, series)
            urls[peers.KLAG] = klag.url
        time.sleep(5)
        turns = [{name: _seconds(at) for name, at in urls.items()} for _ in range(runs + 1)][1:]
        taken = {name: statistics.median(turn[name] for turn in turns) for name in urls}
        size = len(requests.get(urls["ours"], timeout=30).content)
        rows = [*_ours(taken["ours"], groups, size)]
        if peers.KLAG in urls:
            theirs = taken[peers.KLAG]
            rows.append(
                Row("  the same", in_ms(taken["ours"]), f"{in_ms(theirs)} {peers.KLAG}", taken["ours"] / theirs)
            )
            took = KLAG_TOOK.search(requests.get(urls[peers.KLAG], timeout=30).text)
            rows.append(Row(f"  one pass of {peers.KLAG}, as it tells", "", f"{float(took[1]):.2f} s" if took else "?"))
        else:
            rows.append(Row(f"  {peers.KLAG}: not built: --peers", ""))
    return [*rows, *(Row(f"  {line}", "") for line in peers.NOT_AVAILABLE)]


def _ours(ours: float, groups: int, size: int) -> tuple[Row, ...]:
    return (
        Row(f"scrape, {groups} groups x 20 partitions, {size / 1e6:.1f} MB", in_ms(ours),
            f"{in_ms(peers.NOTED_KMINION_S)} kminion adminApi, {peers.NOTED_DAY}", ours / peers.NOTED_KMINION_S,
            f"<= {in_ms(peers.NOTED_KMINION_S)}", ours <= peers.NOTED_KMINION_S),
        Row("  the same", in_ms(ours), f"{in_ms(peers.NOTED_KAFKA_EXPORTER_S)} kafka_exporter, {peers.NOTED_DAY}",
            ours / peers.NOTED_KAFKA_EXPORTER_S),
    )  # fmt: skip


def _seconds(url: str) -> float:
    began = time.perf_counter()
    requests.get(url, timeout=30).raise_for_status()
    return time.perf_counter() - began


def _count(url: str, family: str) -> int:
    text = requests.get(url, timeout=30).text
    return sum(line.startswith(family + "{") for line in text.splitlines())


def _config(bootstrap: str, port: int, slack_url: str) -> str:
    return f"""\
listen: {HOST}:{port}
state: ./cdc-oncall.db
kafka: {{bootstrap: "{bootstrap}"}}
lag: {{watch: all, kafka_exporter_names: true}}
slack:
  bot_token: ${{BOT_TOKEN}}
  signing_secret: ${{SIGNING_SECRET}}
  api_url: {slack_url}
  channel: "#cdc-incidents"
pipelines: {{}}
"""
