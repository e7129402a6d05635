"""A full disk under the journal: refused in words while it lasts, and over by itself when it ends.

The journal lies on a tmpfs of a few megabytes that the test mounts, which needs root; the bot is `cdc serve` as a
process and is never restarted.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from bot.drill.loopback import free_port
from bot.drill.workspace import SlackWorkspace
from bot.edge.slack import NOT_RECORDED
from bot.store.sqlite import Store
from tests.system.parts import wait_until
from tests.system.walk import BotProcess, Channel

SIZE = "8m"
TOKEN, APP_TOKEN, SECRET, WEBHOOK = "xoxb-full", "xapp-full", "full-signing-secret", "full-webhook-token"
ALICE = "U01ALICE"
CONFIG = """\
listen: {listen}
state: {state}
alertmanager: {{url: "http://127.0.0.1:9", tokens: ["${{WEBHOOK}}"]}}
slack:
  mode: {mode}
  bot_token: "${{SLACK_BOT_TOKEN}}"
  app_token: "${{SLACK_APP_TOKEN}}"
  signing_secret: "${{SLACK_SIGNING_SECRET}}"
  api_url: {slack_api}
people: {{responders: [U01ALICE]}}
incidents: {{settle: 1d, recheck: 1d}}
probes: {{interval: 1d}}
pipelines:
  customers: {{topics: [customers]}}
"""


class SmallDisk:
    """A mounted tmpfs; `fill` leaves not one byte of it, `free` gives everything back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (65536, 512, 1):
                try:
                    while True:
                        ballast.write(b"x" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        reason = f"a small disk cannot be mounted here (it needs root): {mounted.stderr.strip()}"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason} (with CI=true that is a failure)", pytrace=False)
        pytest.skip(reason)
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Served:
    """The bot on the small disk, its Slack, and Alertmanager's hand."""

    def __init__(self, folder: Path, disk: SmallDisk, mode: str) -> None:
        listen = f"127.0.0.1:{free_port()}"
        self.url, self.journal = f"http://{listen}", disk.folder / "journal.db"
        self.workspace = SlackWorkspace(
            token=TOKEN, signing_secret=SECRET, rate_limits=False, app_token=APP_TOKEN
        ).start()
        if mode == "http":
            self.workspace.connect_app(f"{self.url}/slack/events")
        self.channel = Channel(self.workspace.url)
        config = folder / "cdc.yml"
        config.write_text(CONFIG.format(mode=mode, listen=listen, state=self.journal, slack_api=self.workspace.api_url))
        environ = {
            "WEBHOOK": WEBHOOK,
            "SLACK_BOT_TOKEN": TOKEN,
            "SLACK_APP_TOKEN": APP_TOKEN,
            "SLACK_SIGNING_SECRET": SECRET,
        }
        self.bot = BotProcess(config, self.url, environ)
        self._http = requests.Session()

    def stop(self) -> None:
        self.bot.stop()
        self.workspace.stop()

    def post(self, name: str) -> requests.Response:
        """Post an alert of an incident of its own, as Alertmanager does; no answer in 5 s is a failure."""
        headers = {"Authorization": f"Bearer {WEBHOOK}", "Content-Type": "application/json"}
        return self._http.post(f"{self.url}/alertmanager", data=notification(name), headers=headers, timeout=5)

    def post_until(self, status: int) -> list[str]:
        """Post until it is answered so; return the names that were stored on the way."""
        stored: list[str] = []
        for number in range(2000):
            name = f"{status}-{number}"
            answer = self.post(name)
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 200:
                stored.append(name)
            if answer.status_code == status:
                return stored
        raise AssertionError(f"never answered {status}")

    def click(self, action_id: str) -> Any:
        card = self.channel.cards()[0]
        return self.workspace.people.click(card["channel"], card["ts"], action_id, ALICE)

    def health(self) -> str:
        return str(self._http.get(f"{self.url}/healthz", timeout=5).json())

    def told(self) -> list[str]:
        """What alice alone was told."""
        return [str(message.text) for message in self.workspace.store.ephemerals()]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.journal, timeout=5)) as db:
            return db.execute(sql).fetchall()

    def incidents(self) -> set[str]:
        """The groups that have an incident in the journal."""
        sql = "SELECT json_extract(body, '$.labels.alertname') FROM events WHERE type = 'AlertFired'"
        return {row[0] for row in self.rows(sql)}


def notification(name: str) -> bytes:
    """A group of its own, padded, so that the journal's log has to grow."""
    labels = {"alertname": name, "severity": "warning"}
    alert = {
        "status": "firing", "labels": labels, "annotations": {"summary": "x" * 20_000},
        "startsAt": "2026-11-23T01:45:02Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": name,
    }  # fmt: skip
    return json.dumps(
        {
            "version": "4", "receiver": "cdc", "groupKey": name, "groupLabels": labels, "status": "firing",
            "externalURL": "http://127.0.0.1:9", "truncatedAlerts": 0, "alerts": [alert],
        }
    ).encode()  # fmt: skip


@pytest.fixture
def served(request: pytest.FixtureRequest, tmp_path: Path, disk: SmallDisk) -> Iterator[Served]:
    """In Socket Mode, as documented, unless the test asks for HTTP as well."""
    bot = Served(tmp_path, disk, getattr(request, "param", "socket"))
    yield bot
    bot.stop()


@pytest.mark.parametrize("served", ["socket", "http"], indirect=True)
def test_a_full_disk_is_refused_in_words_and_recovers_by_itself(served: Served, disk: SmallDisk) -> None:
    """503 for Alertmanager, never 200 for what is not stored and never 429; "nothing was recorded" for a person.

    With room again everything is taken in, said and done without a restart: what was stored is all there, once.
    """
    stored = set(served.post_until(200))
    wait_until(served.channel.cards, "a card")
    pid = served.bot.process.pid

    disk.fill()
    stored |= set(served.post_until(503))
    refused = served.post("refused")
    assert 503 == refused.status_code
    assert "not stored" in refused.json()["error"]
    assert "by itself" in refused.json()["remedy"]
    slash = served.workspace.people.slash("cdc-incidents", ALICE, "/cdc", "ack CDC-1")
    assert (None, True) == (slash.error, NOT_RECORDED in slash.body)
    assert served.click("incident.ack").ok
    wait_until(lambda: any(NOT_RECORDED in told for told in served.told()), "word that the click was not recorded")
    assert "the journal could not be written" in served.health()

    disk.free()
    began_s = time.monotonic()
    stored |= set(served.post_until(200))
    assert time.monotonic() - began_s < 5
    assert 200 == served.post("refused").status_code
    stored.add("refused")
    wait_until(lambda: stored == served.incidents(), "an incident for each alert", 60.0)
    wait_until(lambda: len(stored) == len(served.channel.cards()), "a card for each incident", 90.0)
    assert served.click("incident.ack").ok
    wait_until(lambda: served.rows("SELECT 1 FROM events WHERE type = 'IncidentAcknowledged'"), "the click's event")
    wait_until(lambda: "the journal could not be written" not in served.health(), "health without a complaint")

    assert pid == served.bot.process.pid
    assert [("ok",)] == served.rows("PRAGMA integrity_check")
    assert [(len(stored),)] == served.rows("SELECT count(*) FROM events WHERE type = 'IncidentOpened'")
    assert [] == served.rows("SELECT key FROM inbox WHERE state = 'unreadable'")


def test_a_disk_that_fills_up_under_the_work_loses_and_repeats_nothing(served: Served, disk: SmallDisk) -> None:
    """Decisions, posts and probes are on their way when there is no room any more: each is done once, afterwards."""
    stored = {name for name in (f"group-{n}" for n in range(8)) if served.post(name).status_code == 200}
    assert 8 == len(stored)
    wait_until(served.channel.cards, "the first card")
    disk.fill()
    full_until_s, answers = time.monotonic() + 3, []
    while time.monotonic() < full_until_s:
        name = f"late-{len(answers)}"
        answers.append(served.post(name).status_code)
        if answers[-1] == 200:
            stored.add(name)
    assert set(answers) <= {200, 503} and 503 in answers
    disk.free()
    wait_until(lambda: stored == served.incidents(), "an incident for each alert", 60.0)
    wait_until(lambda: len(stored) <= len(served.channel.cards()), "a card for each incident", 90.0)
    wait_until(lambda: not served.rows("SELECT 1 FROM outbox WHERE state = 'due'"), "every message", 90.0)
    assert len(stored) == len(served.channel.cards())
    assert [] == served.rows("SELECT key FROM outbox WHERE state = 'failed'")
    assert [("ok",)] == served.rows("PRAGMA integrity_check")


def test_a_bot_that_is_started_on_a_full_disk_waits_for_room(served: Served, disk: SmallDisk) -> None:
    """It was killed with work under way: it refuses in words, and settles that work before it takes up any other."""
    served.post_until(200)
    wait_until(served.channel.cards, "a card")
    os.kill(served.bot.process.pid, signal.SIGKILL)
    served.bot.stop()
    store = Store(served.journal)
    with store.deciding() as writer:
        writer.enqueue("under way", "CDC-1", "recovery", {}, datetime.now(UTC), datetime.now(UTC))
    while (task := store.claim_task(["recovery"], datetime.now(UTC))) is not None and task.key != "under way":
        pass
    assert "under way" in {running.key for running in store.running_tasks()}
    disk.fill()
    served.bot.start()
    store.close()  # not before: whoever is the last to close removes the log, and a killed bot leaves it
    assert 503 == served.post("refused").status_code
    assert "the journal could not be written" in served.health()
    assert [("running",)] == served.rows("SELECT state FROM tasks WHERE key = 'under way'")
    disk.free()
    wait_until(lambda: not served.rows("SELECT 1 FROM tasks WHERE state = 'running'"), "the work to be settled")
    assert 200 == served.post("refused").status_code
    wait_until(lambda: "refused" in served.incidents(), "the alert")
