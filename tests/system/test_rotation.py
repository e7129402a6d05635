"""Every secret of a running bot is changed, on disk and where it is checked; the bot goes on and is not started again.

The bot is `cdc serve` with nothing but file secrets. Kafka is a real one, with SCRAM; the registry and Connect are
canned answers behind a login; Slack is the local workspace. Each system first refuses the old secret, and the bot says
that it is blind there: so the login is really checked.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from bot.drill.workspace import SlackWorkspace
from tests.system.alerts import alert
from tests.system.conftest import _need
from tests.system.fetch import Available
from tests.system.parts import HOST, Certificates, SecuredKafka, free_port, wait_until
from tests.system.walk import MANIFEST, BotProcess, Channel, Json

CONNECTOR = {"connector": {"state": "RUNNING", "worker_id": "w:1"}, "type": "source", "tasks": []}
VERSION = {"version": 1, "id": 1, "schema": '{"type": "record", "name": "r", "fields": []}', "ts": 1_700_000_000_000}
ANSWERS: dict[str, Any] = {
    "/connectors/customers-source/status": CONNECTOR,
    "/connectors/customers-source/config": {},
    "/subjects/customers-value/versions": [1],
    "/subjects/customers-value/versions/1": VERSION,
    "/config/customers-value?defaultToGlobal=true": {"compatibilityLevel": "BACKWARD"},
    "/mode/customers-value?defaultToGlobal=true": {"mode": "READWRITE"},
}
PROBES = {"consumer_lag": "kafka", "schema_changes": "registry", "connector_state": "connect"}


class LoginServer:
    """Answers as the registry and Connect do, to whoever has the password it has now."""

    def __init__(self, password: str) -> None:
        self.password = password
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                expected = base64.b64encode(f"cdc-oncall:{server.password}".encode()).decode()
                is_known = self.headers.get("Authorization") == f"Basic {expected}"
                body = json.dumps(ANSWERS.get(self.path, {"message": "no"})).encode()
                self.send_response(401 if not is_known else 200 if self.path in ANSWERS else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Rotating:
    """A bot whose secrets are all files, and the systems that check them."""

    def __init__(self, kafka: SecuredKafka, folder: Path) -> None:
        self._secrets = folder / "secrets"
        self._secrets.mkdir(parents=True)
        self.kafka, self.registry, self.connect = kafka, LoginServer("registry-1"), LoginServer("connect-1")
        for name in ("kafka", "registry", "connect", "hook", "hook-next", "xoxb-bot", "signing"):
            self.write(name, f"{name}-1")
        kafka.set_password("admin", "kafka-1")
        self.workspace = SlackWorkspace(token="xoxb-bot-1", signing_secret="signing-1", manifest=MANIFEST).start()
        self.channel = Channel(self.workspace.url)
        self.url = f"http://{HOST}:{free_port()}"
        config = folder / "cdc.yml"
        config.write_text(yaml.safe_dump(self._document()))
        self.bot = BotProcess(config, self.url, {})

    def write(self, name: str, secret: str) -> None:
        """Put a secret in its place as Kubernetes does: complete, at once."""
        beside = self._secrets / f".{name}"
        beside.write_text(f"{secret}\n")
        beside.replace(self._secrets / name)

    def seeing(self) -> dict[str, float]:
        """Return whether each probe sees its systems, as `/metrics` has it."""
        found = {}
        for line in requests.get(f"{self.url}/metrics", timeout=5).text.splitlines():
            if line.startswith("cdc_probe_up{"):
                labels, _, value = line.rpartition(" ")
                found[labels.partition('probe="')[2].partition('"')[0]] = float(value)
        return {probe: found.get(probe, -1.0) for probe in PROBES}

    def post(self, token: str, pipeline: str = "other") -> int:
        """Post an alert as Alertmanager would and return the status of the answer."""
        now = "2026-11-23T14:02:11Z"
        fired = {**alert(pipeline), "status": "firing", "startsAt": now, "endsAt": "0001-01-01T00:00:00Z"}
        notification = {
            "version": "4", "groupKey": f"{{}}:{{pipeline={pipeline}}}", "status": "firing", "receiver": "cdc-oncall",
            "truncatedAlerts": 0, "groupLabels": {"pipeline": pipeline}, "commonLabels": fired["labels"],
            "commonAnnotations": {}, "externalURL": "http://127.0.0.1:1",
            "alerts": [{**fired, "fingerprint": hashlib.sha256(pipeline.encode()).hexdigest()[:16]}],
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {token}"}
        return requests.post(f"{self.url}/alertmanager", json=notification, headers=headers, timeout=5).status_code

    def slash(self, secret: str) -> int:
        """Send a signed slash command as Slack would and return the status of the answer."""
        body = "command=/cdc&text=help&user_id=U01ALICE&team_id=T0DRILL&channel_id=C01INCIDENTS&trigger_id=1.2"
        at = str(int(time.time()))
        digest = hmac.new(secret.encode(), f"v0:{at}:{body}".encode(), hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": at,
            "X-Slack-Signature": f"v0={digest}",
        }
        return requests.post(f"{self.url}/slack/events", data=body, headers=headers, timeout=5).status_code

    def has_card(self, pipeline: str) -> bool:
        return any(pipeline in json.dumps(card) for card in self.channel.cards())

    def stop(self) -> None:
        self.bot.stop()
        self.workspace.stop()
        self.registry.stop()
        self.connect.stop()

    def _document(self) -> Json:
        def secret(name: str) -> Json:
            return {"file": f"secrets/{name}"}

        login = {"user": "cdc-oncall"}
        return {
            "listen": self.url.removeprefix("http://"),
            "kafka": {
                "bootstrap": self.kafka.sasl,
                "config": {
                    "security.protocol": "SASL_PLAINTEXT",
                    "sasl.mechanism": "SCRAM-SHA-512",
                    "sasl.username": "admin",
                    "sasl.password": secret("kafka"),
                },
            },
            "registry": {"url": self.registry.url, "auth": {**login, "password": secret("registry")}},
            "connect": {"url": self.connect.url, "auth": {**login, "password": secret("connect")}},
            "alertmanager": {"url": "http://127.0.0.1:1", "tokens": [secret("hook"), secret("hook-next")]},
            "slack": {
                "mode": "http",
                "bot_token": secret("xoxb-bot"),
                "signing_secret": secret("signing"),
                "api_url": self.workspace.api_url,
            },
            "probes": {"interval": "1s", "deadline": "3s"},
            "lag": {"sample_every": "1s"},
            "pipelines": {
                "customers": {
                    "source": {"connector": "customers-source"},
                    "topics": ["customers"],
                    "subjects": ["customers-value"],
                    "consumers": [{"group": "canonical"}],
                }
            },
        }


@pytest.fixture(scope="module")
def rotating(available: Available, scratch: Path) -> Iterator[Rotating]:
    """The bot, seeing everything."""
    _need(available, "java", "kafka")
    folder = scratch / "rotation"
    with SecuredKafka(available, folder / "kafka", Certificates(folder / "certificates")) as kafka:
        admin = kafka.admin()  # kept while its futures run
        for future in admin.create_topics([NewTopic("customers", 1, 1)]).values():
            future.result(timeout=30)
        producer = Producer({**kafka.admin_settings(), "log_level": 0})
        producer.produce("customers", b"x")
        assert 0 == producer.flush(30)
        consumer = Consumer({**kafka.admin_settings(), "group.id": "canonical"})
        consumer.commit(offsets=[TopicPartition("customers", 0, 1)], asynchronous=False)
        consumer.close()
        rotating = Rotating(kafka, folder / "bot")
        yield rotating
        rotating.stop()


def test_the_logins_of_kafka_registry_and_connect_are_rotated(rotating: Rotating) -> None:
    """Blind while the old one is refused; seeing again within seconds of the new one on disk; the same process."""
    wait_until(lambda: rotating.seeing() == dict.fromkeys(PROBES, 1.0), "every probe sees")
    before = rotating.bot.process.pid

    rotating.kafka.set_password("admin", "kafka-2")
    rotating.registry.password, rotating.connect.password = "registry-2", "connect-2"
    wait_until(lambda: rotating.seeing() == dict.fromkeys(PROBES, 0.0), "every probe is refused")
    for name in PROBES.values():
        rotating.write(name, f"{name}-2")
    wait_until(lambda: rotating.seeing() == dict.fromkeys(PROBES, 1.0), "every probe sees again", deadline_s=20)

    assert before == rotating.bot.process.pid


def test_a_secret_file_that_is_gone_is_named_and_what_it_is_for_goes_on_when_it_is_back(rotating: Rotating) -> None:
    """A secret that is being replaced is no crash: the log names the file, never the secret."""
    (rotating._secrets / "registry").unlink()
    wait_until(lambda: rotating.seeing()["schema_changes"] == 0.0, "the registry is not asked")
    rotating.write("registry", rotating.registry.password)
    wait_until(lambda: rotating.seeing()["schema_changes"] == 1.0, "the registry is asked again")

    log = rotating.bot.process.log.read_text()
    assert "Traceback" not in log
    assert not any(f"{name}-{number}" in log for name in PROBES.values() for number in (1, 2))


def test_webhook_tokens_are_rotated_two_valid_at_once(rotating: Rotating) -> None:
    """The next token is valid beside the old one until the old one's file is rewritten; then at once not the old."""
    assert [200, 200, 401] == [rotating.post(token) for token in ("hook-1", "hook-next-1", "hook-2")]
    rotating.write("hook", "hook-2")
    assert [401, 200, 200] == [rotating.post(token) for token in ("hook-1", "hook-next-1", "hook-2")]


def test_the_signing_secret_is_rotated(rotating: Rotating) -> None:
    """A request signed with the old secret is refused at once."""
    assert [200, 401] == [rotating.slash("signing-1"), rotating.slash("signing-2")]
    rotating.write("signing", "signing-2")
    assert [401, 200] == [rotating.slash("signing-1"), rotating.slash("signing-2")]


def test_the_bot_token_is_rotated_and_what_was_refused_meanwhile_is_said(rotating: Rotating) -> None:
    """Alerts that came while Slack refused the old token, or there was none, are told once the new one is there."""
    rotating.workspace.rotate_token("xoxb-bot-2")
    assert 200 == rotating.post("hook-next-1", "between")
    wait_until(lambda: "slack:invalid_auth" in requests.get(f"{rotating.url}/metrics", timeout=5).text, "refused")
    (rotating._secrets / "xoxb-bot").unlink()
    assert 200 == rotating.post("hook-next-1", "gone")
    wait_until(lambda: "slack:bot_token_unreadable" in requests.get(f"{rotating.url}/metrics", timeout=5).text, "gone")
    rotating.write("xoxb-bot", "xoxb-bot-2")

    for pipeline in ("between", "gone"):
        wait_until(partial(rotating.has_card, pipeline), f"the card of {pipeline} is posted")
    assert "Traceback" not in rotating.bot.process.log.read_text()
