"""The README's first hour, done as it is written: its own commands and its own YAML, on a real estate.

What a reader does by hand is done here in the same order; only the addresses are this machine's. A step of the README
that stops working, or that needs something it does not say, fails here.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from tests.system.estate import Estate
from tests.system.parts import Process, wait_until
from tests.system.walk import CDC, legible

README = Path(__file__).parents[2] / "README.md"
COMMAND_S = 90


def steps() -> Iterator[tuple[str, str]]:
    """Yield ("yaml" or "sh", text) of the section, in its order; a command continued with a backslash is one."""
    section = README.read_text("utf-8").split("## Your first hour")[1].split("\n## ")[0]
    for fenced, indented in re.findall(r"```yaml\n(.*?)```|((?:^    [^\n]*\n)+)", section, re.DOTALL | re.MULTILINE):
        if fenced:
            yield "yaml", fenced
        for command in re.sub(r"\\\n\s*", "", indented).splitlines():
            yield "sh", command.strip()


class Reader:
    """Somebody who follows the README."""

    def __init__(self, estate: Estate, folder: Path) -> None:
        self.estate, self.folder = estate, folder
        self.environ = {
            **estate.environ,
            "PATH": f"{CDC.parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "USER": "reader",
        }
        self.said: dict[str, str] = {}
        self.bot: Process | None = None
        cluster = estate.pipeline.cluster
        self._addresses = {
            "http://connect:8083": cluster.connect.url,
            "http://registry:8081": cluster.registry.ccompat_url,
            "kafka:9092": cluster.kafka.bootstrap,
            "http://alertmanager:9093": estate.alertmanager.url,
            "http://prometheus:9090": estate.prometheus.url,
            "http://cdc-oncall:8080": f"http://127.0.0.1:{estate.bot_port}",
            "the value of CDC_WEBHOOK_TOKEN": estate.environ["CDC_WEBHOOK_TOKEN"],
        }

    def here(self, text: str) -> str:
        for theirs, ours in self._addresses.items():
            text = text.replace(theirs, ours)
        return text

    def follow(self, kind: str, text: str) -> None:
        if kind == "yaml":
            self.route_alerts(yaml.safe_load(self.here(text)))
        elif text.endswith(" serve"):
            self.serve(text)
        elif not text.startswith(("export ", "pip install")):
            self.run(self.here(text))
            if " init " in text:
                self.answer_the_questions()
            if " rules " in text:
                (self.estate.rules / "cdc.yml").write_text((self.folder / "cdc-alerts.yml").read_text())
                self.estate.prometheus.reload((self.folder_of_prometheus / "prometheus.yml").read_text())
                self.wait_for_the_scrape()

    @property
    def folder_of_prometheus(self) -> Path:
        return self.estate.rules.parent / "prometheus"

    def run(self, command: str) -> None:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        assert 0 == done.returncode, f"{command}\n{done.stdout}\n{done.stderr}"
        self.said[command] = done.stdout

    def answer_the_questions(self) -> None:
        """The workspace is not slack.com and the port is this test's: the two lines a reader here must write."""
        path = self.folder / "oncall" / "cdc.yml"
        text = path.read_text()
        text, slack = re.subn(r"^slack:\n", f"slack:\n  api_url: {self.estate.workspace.api_url}\n", text, flags=re.M)
        text, listen = re.subn(r"^listen: .*$", f"listen: 127.0.0.1:{self.estate.bot_port}", text, flags=re.M)
        text = text.replace("http://cdc-oncall:8080", f"http://127.0.0.1:{self.estate.bot_port}")
        assert (1, 1) == (slack, listen), text
        path.write_text(text)

    def serve(self, command: str) -> None:
        words = [CDC, *command.split()[1:]]
        self.bot = Process("cdc-oncall of the first hour", words, self.folder, self.environ)
        log = self.bot.log
        self.bot.wait_ready(lambda: "Slack: connected" in log.read_text(), deadline_s=20)

    def route_alerts(self, addition: dict[str, dict[str, list[object]]]) -> None:
        config = yaml.safe_load(self.estate.alertmanager_yml.read_text())
        config["route"]["routes"] = addition["route"]["routes"] + config["route"].get("routes", [])
        config["receivers"] += addition["receivers"]
        self.estate.alertmanager.reload(yaml.safe_dump(config, sort_keys=False))

    def wait_for_the_scrape(self) -> None:
        """A person is slower than Prometheus, which finds its Alertmanager some seconds after a reload."""
        prometheus = self.estate.prometheus
        wait_until(lambda: prometheus.query('up{job="cdc-oncall"} == 1'), "Prometheus scrapes the bot")
        found = f"{prometheus.url}/api/v1/alertmanagers"
        wait_until(lambda: requests.get(found, timeout=5).json()["data"]["activeAlertmanagers"], "its Alertmanager")


@pytest.fixture
def reader(estate: Estate, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(estate, tmp_path)
    yield reader
    if reader.bot is not None:
        reader.bot.stop(grace_s=15)


def test_the_first_hour_of_the_readme(reader: Reader) -> None:
    """manifest, init, serve, route, rules, doctor, a test alert in Slack: every line of the README, in its order."""
    for kind, text in steps():
        reader.follow(kind, text)

    manifest = next(said for command, said in reader.said.items() if command.startswith("cdc manifest"))
    assert yaml.safe_load(manifest)["settings"]["socket_mode_enabled"]

    reader.run("cdc -c oncall/cdc.yml doctor --json")
    lines = json.loads(reader.said["cdc -c oncall/cdc.yml doctor --json"])
    assert [] == [line for line in lines if line["status"] in ("warning", "failed")]
    parts = {line["part"] for line in lines if line["status"] == "ok"}
    assert parts >= {"slack", "alertmanager", "kafka", "registry", "connect", "prometheus", "journal"}, parts

    cards = [legible(card) for card in reader.estate.channel.cards()]
    assert 1 == len(cards), cards
    assert "test alert" in cards[0].lower()
    reader.run("cdc -c oncall/cdc.yml incidents --json")
    incidents = json.loads(reader.said["cdc -c oncall/cdc.yml incidents --json"])
    assert ["resolved"] == [incident["status"] for incident in incidents]
    assert [] == reader.estate.pager.rang
