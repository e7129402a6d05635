"""A real registry refuses a schema by hand, again and again: its log makes the incident that says so.

Apicurio's 409s -> its own log -> `cdc registry follow-log` -> the bot's inbox -> one incident in Slack that names the
subject, the field and the registered version. No Prometheus and no failed connector is needed for it.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import yaml

from tests.system.parts import Process, Registry, wait_until
from tests.system.walk import CDC, SHORT, OnCall, words

ALLOWED = 5
SUBJECT = "payments-value"
SOUND = {"type": "record", "name": "Payment", "fields": [{"name": "id", "type": "long"}]}
BLOCKED = {**SOUND, "fields": [*SOUND["fields"], {"name": "tier", "type": "string"}]}  # type: ignore[misc]


def register(registry: Registry, schema: object, subject: str = SUBJECT) -> int:
    return requests.post(
        f"{registry.ccompat_url}/subjects/{subject}/versions", json={"schema": json.dumps(schema)}, timeout=10
    ).status_code


@pytest.fixture
def oncall(new_oncall: Callable[..., OnCall], registry: Registry) -> OnCall:
    """A bot whose one pipeline has a subject in the real registry."""

    def write_config(path: Path, oncall: OnCall) -> None:
        document = {
            "listen": oncall.url.removeprefix("http://"),
            "registry": {"url": registry.ccompat_url},
            "alertmanager": {"url": oncall.alertmanager.url, "tokens": ["${CDC_WEBHOOK_TOKEN}"]},
            "slack": {
                "bot_token": "${SLACK_BOT_TOKEN}",
                "signing_secret": "${SLACK_SIGNING_SECRET}",
                "api_url": oncall.workspace.api_url,
                "channel": "#cdc-incidents",
            },
            "alerts": {"registry_refusals": f"{ALLOWED} in 10m"},
            "incidents": SHORT["incidents"],
            "probes": SHORT["probes"],
            "pipelines": {"payments": {"subjects": [SUBJECT]}},
        }
        path.write_text(yaml.safe_dump(document))

    return new_oncall("refusals", write_config)


@pytest.fixture
def follow(oncall: OnCall, tmp_path: Path, registry: Registry) -> Iterator[Callable[[], Process]]:
    """Start `cdc registry follow-log` on the registry's log, as on its machine: an address, a token, no cdc.yml."""
    started: list[Process] = []

    def start() -> Process:
        command = [
            CDC, "registry", "follow-log", registry.process.log, "--to", oncall.url, "--place", tmp_path / "place.json",
        ]  # fmt: skip
        folder = tmp_path / f"follow-{len(started)}"
        process = Process("follow-log", command, folder, {**os.environ, "CDC_WEBHOOK_TOKEN": oncall.token})
        started.append(process)
        wait_until(lambda: "Following" in process.log.read_text(), "the log is followed", 20)
        return process

    yield start
    for process in started:
        process.stop()


def counted(oncall: OnCall, source: str = "log") -> float | None:
    text = requests.get(f"{oncall.url}/metrics", timeout=5).text
    labels = f'pipeline="payments",source="{source}",subject="{SUBJECT}"'
    found = re.search(rf"^cdc_schema_registry_conflicts_total{{{labels}}} (\S+)$", text, re.M)
    return float(found[1]) if found else None


def test_refusals_by_hand_become_an_incident(oncall: OnCall, registry: Registry, follow: Callable[[], Process]) -> None:
    """Five are counted and page nobody; the sixth opens one incident. A restarted follower counts none twice."""
    assert register(registry, SOUND) == 200
    level = {"compatibility": "BACKWARD"}
    assert requests.put(f"{registry.ccompat_url}/config/{SUBJECT}", json=level, timeout=10).ok
    assert counted(oncall) == 0  # a first refusal must be an increase

    follower = follow()
    assert [register(registry, BLOCKED) for _ in range(ALLOWED)] == [409] * ALLOWED
    check = requests.post(
        f"{registry.ccompat_url}/compatibility/subjects/{SUBJECT}/versions/latest",
        json={"schema": json.dumps(BLOCKED)},
        timeout=10,
    )
    assert check.json() == {"is_compatible": False}  # a check is no refusal
    wait_until(lambda: counted(oncall) == ALLOWED, "five refusals counted")
    assert oncall.incidents() == []

    follower.stop()
    follower = follow()  # goes on where it was left
    assert register(registry, BLOCKED) == 409
    card = words(oncall.channel.wait_for("card", SUBJECT, "field tier", "conflicts with version 1"))
    assert "CDCSchemaRefusals" in card
    assert counted(oncall) == ALLOWED + 1

    # While the bot is away nothing is lost, and nothing is told twice.
    oncall.bot.stop()
    assert register(registry, BLOCKED) == 409
    wait_until(lambda: "Trying again" in follower.log.read_text(), "the follower to notice")
    oncall.bot.start()
    wait_until(lambda: counted(oncall) == ALLOWED + 2, "the refusal that came while the bot was away", 45)

    (incident,) = oncall.incidents()
    assert (incident["pipeline"], incident["status"]) == ("payments", "open")
    assert [alert["labels"]["field"] for alert in incident["alerts"]] == ["tier"]
    (finding,) = [f for f in oncall.incident(incident["id"])["findings"] if f["probe"] == "schema_refusals"]
    refusal = finding["facts"]["refusal"]
    assert (refusal["subject"], refusal["field"], refusal["registered_version"]) == (SUBJECT, "tier", 1)
    assert len(oncall.channel.cards()) == 1

    # The whole log read once more, into the journal beside the bot: the same keys.
    place = oncall.config.with_name("once.json")
    command = [str(CDC), "-c", str(oncall.config), "registry", "follow-log", str(registry.process.log)]
    once = subprocess.run(
        [*command, "--once", "--place", str(place)], capture_output=True, text=True, timeout=30, env=oncall.environ
    )
    assert (once.returncode, once.stderr) == (0, "")
    assert once.stdout.count(f"{SUBJECT}: field tier at /fields/1") == ALLOWED + 2
    assert counted(oncall) == ALLOWED + 2
