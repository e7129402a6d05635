"""The bot starts with nothing around it, takes alerts in, says what is missing, and catches up by itself.

`cdc serve` is a process; the parts come up later on the addresses of its cdc.yml and nobody touches the bot.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from bot.drill.kafka import MockBrokers
from bot.drill.loopback import Answer, Call, LoopbackServer, free_port, route
from bot.drill.workspace import SlackWorkspace
from tests.system.parts import wait_until
from tests.system.walk import BotProcess, Channel

TOKEN, APP_TOKEN, SECRET, WEBHOOK = "xoxb-down", "xapp-down", "down-signing-secret", "down-webhook-token"
GROUP, CONNECTOR, SUBJECT, TOPIC = "customers_flink", "customers-sink", "customers-value", "customers"
CONFIG = """\
listen: 127.0.0.1:{bot}
state: ./journal.db
kafka: {{bootstrap: "127.0.0.1:{kafka}"}}
registry: {{url: "http://127.0.0.1:{registry}"}}
connect: {{url: "http://127.0.0.1:{connect}"}}
alertmanager: {{url: "http://127.0.0.1:9", tokens: ["${{WEBHOOK}}"]}}
slack:
  mode: {mode}
  bot_token: "${{SLACK_BOT_TOKEN}}"
  app_token: "${{SLACK_APP_TOKEN}}"
  signing_secret: "${{SLACK_SIGNING_SECRET}}"
  api_url: http://127.0.0.1:{slack}/api/
incidents: {{settle: 1d, recheck: 1d}}
probes: {{interval: 10s, deadline: 2s}}
pipelines:
  customers:
    topics: [customers]
    subjects: [customers-value]
    consumers: [{{group: customers_flink, kind: flink}}]
    sink: {{connector: customers-sink}}
"""
NOTIFICATION = json.dumps(
    {
        "version": "4", "receiver": "cdc", "groupKey": "{}", "groupLabels": {}, "status": "firing",
        "externalURL": "http://127.0.0.1:9", "truncatedAlerts": 0,
        "alerts": [
            {
                "status": "firing", "startsAt": "2026-11-23T01:45:02Z", "endsAt": "0001-01-01T00:00:00Z",
                "labels": {"alertname": "CDCLagHigh", "pipeline": "customers", "severity": "critical"},
                "annotations": {}, "fingerprint": "f1",
            }
        ],
    }
)  # fmt: skip


class Forward:
    """A port that leads to another one: brokers choose theirs, cdc.yml was written before."""

    def __init__(self, port: int, target: str) -> None:
        host, _, number = target.rpartition(":")
        self._target = (host, int(number))
        self._listening = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                inward, _ = self._listening.accept()
                outward = socket.create_connection(self._target)
            except OSError:
                return
            for source, sink in ((inward, outward), (outward, inward)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while chunk := source.recv(65536):
                sink.sendall(chunk)
        except OSError:
            pass
        finally:
            source.close()
            sink.close()


def connect(port: int) -> LoopbackServer:
    def status(call: Call) -> Answer:
        task = {"id": 0, "state": "RUNNING", "worker_id": "w:8083"}
        named = {"name": call.params["name"], "type": "sink", "tasks": [task]}
        return Answer(200, {**named, "connector": {"state": "RUNNING", "worker_id": "w:8083"}})

    return LoopbackServer(
        "Connect",
        [
            route("GET", "/connectors/{name}/status", status),
            route("GET", "/connectors/{name}/config", lambda _: Answer(200, {"topics": TOPIC})),
        ],
        port=port,
    )


def registry(port: int) -> LoopbackServer:
    version = {"subject": SUBJECT, "version": 1, "id": 1, "schema": '"string"'}
    return LoopbackServer(
        "registry",
        [
            route("GET", "/subjects/{subject}/versions", lambda _: Answer(200, [1])),
            route("GET", "/subjects/{subject}/versions/{version}", lambda _: Answer(200, version)),
            route("GET", "/config/{subject}", lambda _: Answer(200, {"compatibilityLevel": "BACKWARD"})),
            route("GET", "/mode/{subject}", lambda _: Answer(200, {"mode": "READWRITE"})),
        ],
        port=port,
    )


class World:
    """The addresses, and the parts once they are up."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.mode = mode
        self.ports = {name: free_port() for name in ("bot", "kafka", "registry", "connect", "slack")}
        self.url = f"http://127.0.0.1:{self.ports['bot']}"
        self.config = folder / "cdc.yml"
        self.config.write_text(CONFIG.format(mode=mode, **self.ports))
        self.environ = {"WEBHOOK": WEBHOOK, "SLACK_BOT_TOKEN": TOKEN, "SLACK_SIGNING_SECRET": SECRET}
        self.environ["SLACK_APP_TOKEN"] = APP_TOKEN
        self.stack = ExitStack()

    def post(self) -> int:
        headers = {"Authorization": f"Bearer {WEBHOOK}", "Content-Type": "application/json"}
        return requests.post(f"{self.url}/alertmanager", data=NOTIFICATION, headers=headers, timeout=5).status_code

    def wrong(self, path: str) -> tuple[int, str]:
        """Return the status and what is wrong by /healthz or /readyz."""
        answer = requests.get(f"{self.url}{path}", timeout=5)
        return answer.status_code, "; ".join(answer.json()["wrong"])

    def start_slack(self) -> Channel:
        slack = SlackWorkspace(token=TOKEN, signing_secret=SECRET, app_token=APP_TOKEN, port=self.ports["slack"])
        self.stack.callback(slack.start().stop)
        if self.mode == "http":
            slack.connect_app(f"{self.url}/slack/events")
        self.people = slack.people
        return Channel(slack.url)

    def start_the_rest(self) -> None:
        brokers = MockBrokers()
        self.stack.callback(brokers.stop)
        brokers.create([TOPIC])
        forward = Forward(self.ports["kafka"], brokers.bootstrap.split(",")[0])
        self.stack.callback(forward.stop)
        for server in (connect(self.ports["connect"]), registry(self.ports["registry"])):
            self.stack.callback(server.start().stop)


@pytest.fixture(params=["socket", "http"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, request.param)
    with made.stack:
        yield made


def test_a_bot_with_nothing_around_it_stores_alerts_and_catches_up(world: World) -> None:
    """200 at once, the card as soon as there is a Slack, sight as soon as there is something to see."""
    bot = BotProcess(world.config, world.url, world.environ)
    world.stack.callback(bot.stop)
    pid = bot.process.pid
    assert 200 == world.post()

    def blind() -> Any:
        said = world.wrong("/healthz")[1]
        return all(name in said for name in (GROUP, CONNECTOR, SUBJECT)) and "Slack messages wait" in said

    wait_until(blind, "words for each part that is missing", 30.0)
    assert 200 == world.wrong("/healthz")[0], "a restart would not cure it"
    status, said = world.wrong("/readyz")
    assert 200 == status, "readiness takes the webhook away: alerts must still come in"
    assert f"{GROUP} (customers, consumer_lag)" in said
    assert f"{CONNECTOR} (customers, connector_state)" in said
    assert f"{SUBJECT} (customers, schema_changes)" in said

    channel = world.start_slack()
    card = channel.wait_for("card", "CDC-1", deadline_s=70)
    assert "customers" in card
    world.start_the_rest()
    wait_until(lambda: "cannot see" not in world.wrong("/healthz")[1], "sight of every part", 60.0)
    assert (200, "") == world.wrong("/healthz")
    assert 200 == world.post(), "the same alert again is known"
    assert 1 == len(channel.cards())
    acked = world.people.slash("cdc-incidents", "U01ALICE", "/cdc", "ack")
    assert acked.ok, acked.error
    channel.wait_for("card", "acknowledged", deadline_s=30)
    assert pid == bot.process.pid


def test_a_corrected_channel_saves_what_nobody_was_told(world: World) -> None:
    """A misspelt channel is named in /healthz before the first alert; corrected and restarted, the card is posted."""
    channel = world.start_slack()
    right = world.config.read_text()
    world.config.write_text(right.replace("  mode:", '  channel: "#no-such-channel"\n  mode:'))
    bot = BotProcess(world.config, world.url, world.environ)
    world.stack.callback(lambda: bot.stop())
    named = "Slack: there is no channel #no-such-channel in "
    wait_until(lambda: named in world.wrong("/healthz")[1], "the channel in /healthz", 30.0)
    assert 200 == world.post()
    wait_until(lambda: "Slack messages wait" in world.wrong("/healthz")[1], "a refused card", 45.0)
    bot.stop()
    world.config.write_text(right)
    bot.start()
    channel.wait_for("card", "CDC-1", deadline_s=30)
    wait_until(lambda: "Slack" not in world.wrong("/healthz")[1], "a bot that can speak", 30.0)
    assert 1 == len(channel.cards())
    channel.wait_for("findings", deadline_s=60)
