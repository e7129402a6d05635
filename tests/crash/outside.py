"""The world outside a bot that dies: Slack, Connect, Alertmanager, a supervisor, and the people.

Everything here is on the other side of a socket from the bot, and behaves as the real thing does: Alertmanager
posts until it is answered 200; a click is one signed request, and the very same bytes are sent again until they
are acknowledged; the supervisor starts the bot again when it is gone. Connect counts what it is asked to do.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from bot.drill.loopback import Answer, Call, LoopbackServer, free_port, route
from bot.drill.slack_interactions import signature
from bot.drill.workspace import SlackWorkspace

ROOT = Path(__file__).parents[2]
TOKEN, SECRET, WEBHOOK = "xoxb-crash", "crash-signing-secret", "crash-webhook-token"
CONNECTOR = "customers-sink"
PATIENCE_S = 25.0
TICK_S = 0.01
PASSES_S = 2.0

Json = dict[str, Any]


class Gone(Exception):
    """Something that was promised did not come; the text says what was waited for."""


class Zygote:
    """Forks bots; one at a time. `status` of a death is as `os.waitpid` gives it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.launcher", "--zygote"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._said() == "ready"

    def fork(self, environ: dict[str, str]) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(environ) + "\n")
        self._process.stdin.flush()
        return int(self._said())

    def death(self) -> int:
        """Wait for the child's end and return its status."""
        return int(self._said().removeprefix("exit "))

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)

    def _said(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the zygote ended: its words are on standard error")
        return line.strip()


class Supervised:
    """A bot that is started again whenever it is gone; the first processes die where `deaths` say."""

    def __init__(self, zygote: Zygote, environ: dict[str, str], deaths: tuple[str, ...], first_log: Path) -> None:
        self._zygote, self._environ, self._deaths, self._log = zygote, environ, list(deaths), first_log
        self._stopping = threading.Event()
        self._pid = 0
        self._lock = threading.Lock()
        self.starts = 0
        self.killed = 0
        self.crashed: list[int] = []
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def _supervise(self) -> None:
        while not self._stopping.is_set():
            at = self._deaths[self.starts] if self.starts < len(self._deaths) else ""
            log = f"{self._log}.{self.starts}"
            with self._lock:
                if self._stopping.is_set():
                    return
                self._pid = self._zygote.fork({**self._environ, "CDC_CRASH_AT": at, "CDC_CRASH_LOG": log})
            self.starts += 1
            status = self._zygote.death()
            if self._stopping.is_set():
                return
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                self.killed += 1
            else:
                self.crashed.append(status)
                time.sleep(0.1)

    def stop(self) -> None:
        """End the bot for good, as hard as the rest."""
        with self._lock:
            self._stopping.set()
            if self._pid and self._thread.is_alive():
                os.kill(self._pid, signal.SIGKILL)
        self._thread.join(timeout=10)


class FailingConnect:
    """A Connect worker whose one task fails again after every restart: what was asked twice would be done twice."""

    def __init__(self) -> None:
        self.restarts = 0
        self._server = LoopbackServer(
            "Connect",
            [
                route("GET", "/connectors/{name}/status", lambda call: Answer(200, self._status(call))),
                route("GET", "/connectors/{name}/config", lambda _: Answer(200, {"topics": "customers"})),
                route("POST", "/connectors/{name}/restart", self._restart),
            ],
        )
        self.url = self._server.url
        self._server.start()

    def _status(self, call: Call) -> Json:
        task = {"id": 0, "state": "FAILED", "worker_id": "w:8083", "trace": "java.lang.Error: disk quota"}
        return {
            "name": call.params["name"], "type": "sink", "tasks": [task],
            "connector": {"state": "RUNNING", "worker_id": "w:8083"},
        }  # fmt: skip

    def _restart(self, call: Call) -> Answer:
        self.restarts += 1
        return Answer(202, self._status(call))

    def stop(self) -> None:
        self._server.stop()


def config_text(port: int, slack_api: str, connect: str) -> str:
    return f"""\
listen: 127.0.0.1:{port}
state: ./journal.db
connect: {{url: "{connect}"}}
alertmanager: {{url: "http://127.0.0.1:9", tokens: ["${{WEBHOOK}}"]}}
slack:
  bot_token: ${{SLACK_BOT_TOKEN}}
  signing_secret: ${{SLACK_SIGNING_SECRET}}
  api_url: {slack_api}
  channel: "#cdc-incidents"
people: {{responders: [U01ALICE]}}
actions: [restart_failed_tasks]
incidents: {{settle: 1d, recheck: 1d}}
probes: {{deadline: 2s, interval: 1d}}
pipelines:
  customers:
    owner: "@data-platform"
    channel: "#cdc-incidents"
    topics: [customers]
    sink: {{connector: {CONNECTOR}}}
"""


def notification(status: str) -> bytes:
    """The webhook body of the one alert, firing or resolved: the same bytes at every attempt."""
    alert = {
        "status": status,
        "labels": {
            "alertname": "CDCConnectorFailed", "pipeline": "customers", "connector": CONNECTOR, "severity": "critical",
        },
        "annotations": {"summary": "customers-sink has a FAILED task"},
        "startsAt": "2026-11-23T01:45:02Z",
        "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-11-23T01:55:02Z",
        "fingerprint": "3d5fee90bf32357a",
    }  # fmt: skip
    group = {"alertname": "CDCConnectorFailed"}
    return json.dumps(
        {
            "version": "4", "receiver": "cdc", "groupKey": "{}:{}", "groupLabels": group, "status": status,
            "externalURL": "http://127.0.0.1:9", "truncatedAlerts": 0, "alerts": [alert],
        }
    ).encode()  # fmt: skip


@dataclass
class Life:
    """One incident from alert to postmortem, with a bot that dies where `deaths` say."""

    zygote: Zygote
    folder: Path
    deaths: tuple[str, ...] = ()
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self._ahead_s = 0.0
        self._clock = self.folder / "clock"
        self._clock.write_text(f"{0.0:020.3f}")
        self.workspace = SlackWorkspace(token=TOKEN, signing_secret=SECRET, rate_limits=False).start()
        self._requests: queue.Queue[bytes] = queue.Queue()
        self._door = LoopbackServer("Slack's sender", [route("POST", "/slack/events", self._take)]).start()
        self.workspace.connect_app(f"{self._door.url}/slack/events")
        self.connect = FailingConnect()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = self.folder / "cdc.yml"
        config.write_text(config_text(port, self.workspace.api_url, self.connect.url))
        environ = {
            "CDC_CRASH_CONFIG": str(config), "CDC_CRASH_CLOCK": str(self._clock), "WEBHOOK": WEBHOOK,
            "SLACK_BOT_TOKEN": TOKEN, "SLACK_SIGNING_SECRET": SECRET,
        }  # fmt: skip
        self.log = self.folder / "commits"
        self._http = requests.Session()
        self.bot = Supervised(self.zygote, environ, self.deaths, self.log)

    def commits(self, process: int = 0) -> list[tuple[int, str, str]]:
        """Return (ordinal, moment, call site) of the n-th process, in order."""
        file = Path(f"{self.log}.{process}")
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(n), moment, site) for n, moment, site in (line.split(" ", 2) for line in lines)]

    def end(self) -> None:
        self.bot.stop()
        for stop in (self.workspace.stop, self.connect.stop, self._door.stop):
            threading.Thread(target=stop, daemon=True).start()

    # --- the people and the senders ---

    def live(self) -> None:
        """The whole incident. Raises Gone when something acknowledged never shows its effect."""
        self.post(notification("firing"))
        self.click("card", "incident.ack")
        self.until("acknowledged", lambda: "IncidentAcknowledged" in self.kinds())
        self.click("checklist", "step.done:connector_state")
        self.until("the step done", lambda: "StepDone" in self.kinds())
        self.click("checklist", "action.plan:restart_failed_tasks")
        self.click("plan:", "action.run:")
        self.until("an outcome", lambda: {"ActionFinished", "ActionOutcomeUnknown"} & set(self.kinds()))
        self.fill("card", "incident.note", {"text": "the disk quota was raised"})
        self.until("the note", lambda: "NoteAdded" in self.kinds())
        self.post(notification("resolved"))
        self.until("the alert resolved", lambda: "AlertResolved" in self.kinds())
        self.say("/cdc", "resolve CDC-1 the sink is being replaced")
        self.until("resolved", lambda: "IncidentResolved" in self.kinds())
        self.click("card", "incident.postmortem")
        self.until("the postmortem", lambda: self.files())
        self.until("rest", self.rests)

    def post(self, body: bytes) -> None:
        """Post a webhook until it is answered 200, as Alertmanager does on a 5xx or a broken connection."""
        headers = {"Authorization": f"Bearer {WEBHOOK}", "Content-Type": "application/json"}
        self._until_200(lambda: self._http.post(f"{self.url}/alertmanager", data=body, headers=headers, timeout=5))

    def click(self, slot: str, action_id: str) -> None:
        """Click once, when the button is there; the request is repeated until it is acknowledged, not the click."""
        found: list[tuple[str, str, str]] = []

        def there() -> bool:
            found[:] = self._buttons(slot, action_id)
            return bool(found)

        self.until(f"{action_id} on {slot}", there)
        channel, ts, full_id = found[0]
        self.workspace.people.click(channel, ts, full_id, "U01ALICE")
        self._send(self._requests.get(timeout=5))

    def fill(self, slot: str, action_id: str, values: Json) -> None:
        """Click for a form and submit it. A form lives in an interactive lane: who sees none clicks again."""
        for _ in range(10):
            self.click(slot, action_id)
            try:
                self.until("a form", self.workspace.store.views, patience_s=1.0, passes_s=0.0)
            except Gone:
                continue
            self.workspace.people.submit(self.workspace.store.views()[-1].id, "U01ALICE", values)
            self._send(self._requests.get(timeout=5))
            return
        raise Gone(f"no form opened for {action_id}")

    def say(self, command: str, text: str) -> None:
        self.workspace.people.slash("cdc-incidents", "U01ALICE", command, text)
        self._send(self._requests.get(timeout=5))

    def until(
        self, what: str, holds: Callable[[], Any], patience_s: float = PATIENCE_S, passes_s: float = PASSES_S
    ) -> None:
        """Wait until it holds; meanwhile the bot's time passes faster than ours, so that nobody waits for a delay."""
        deadline, ticks = time.monotonic() + patience_s, 0
        while not holds():
            if time.monotonic() > deadline:
                raise Gone(f"waited for {what}, which did not come; {self.standing()}")
            time.sleep(TICK_S)
            ticks += 1
            if ticks % 3 == 0 and passes_s:
                self._ahead_s += passes_s
                self._clock.write_text(f"{self._ahead_s:020.3f}")

    # --- what can be seen ---

    def messages(self) -> list[Json]:
        return self.workspace.messages()

    def slots(self) -> Counter[str]:
        """Return how often each message key stands in the workspace."""
        payloads = [((m["metadata"] or {}).get("event_payload") or {}) for m in self.messages()]
        return Counter(str(payload["key"]) for payload in payloads if "key" in payload)

    def files(self) -> int:
        return sum(len(m["files"]) for m in self.messages())

    def kinds(self) -> list[str]:
        """Return the journal's event types, in order."""
        return [row[0] for row in self.rows("SELECT type FROM events ORDER BY seq")]

    def rests(self) -> bool:
        """Nothing is new, running or due; the action was judged or is unknown. What waits for tomorrow may wait."""
        busy = self.rows(
            "SELECT 'inbox ' || kind FROM inbox WHERE state = 'new' UNION ALL "
            "SELECT 'task ' || kind FROM tasks WHERE state = 'running' UNION ALL "
            "SELECT 'task ' || kind FROM tasks WHERE state = 'todo' AND kind != 'recovery' UNION ALL "
            "SELECT 'message ' || key FROM outbox WHERE state = 'due'"
        )
        return not busy

    def standing(self) -> str:
        """What the journal holds now, for a failure's text."""
        rows = self.rows(
            "SELECT 'inbox', kind, state, note FROM inbox WHERE state != 'done' UNION ALL "
            "SELECT 'task', key, state, note FROM tasks WHERE state != 'done' UNION ALL "
            "SELECT 'message', key, state, error FROM outbox WHERE state != 'sent'"
        )
        return f"events {self.kinds()}; open rows {rows}; starts {self.bot.starts}, crashed {self.bot.crashed}"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        journal = self.folder / "journal.db"
        if not journal.exists():
            return []
        connection = sqlite3.connect(journal, timeout=5)
        try:
            return connection.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return []  # its tables are not there yet
        finally:
            connection.close()

    # --- leaves ---

    def _take(self, call: Call) -> Answer:
        self._requests.put(call.body)
        return Answer(200, "", media_type="text/plain")

    def _send(self, body: bytes) -> None:
        def send() -> requests.Response:
            now = int(time.time() + self._ahead_s)
            headers = {
                "Content-Type": "application/x-www-form-urlencoded",
                "X-Slack-Request-Timestamp": str(now),
                "X-Slack-Signature": signature(SECRET, now, body),
            }
            return self._http.post(f"{self.url}/slack/events", data=body, headers=headers, timeout=5)

        self._until_200(send)

    def _until_200(self, send: Callable[[], requests.Response]) -> None:
        deadline, said = time.monotonic() + PATIENCE_S, ""
        while time.monotonic() < deadline:
            try:
                answer = send()
                if answer.status_code == 200:
                    return
                said = f"{answer.status_code} {answer.text[:200]}"
            except requests.RequestException as error:
                said = type(error).__name__
            time.sleep(TICK_S)
        raise Gone(f"never answered 200, last {said}; {self.standing()}")

    def _buttons(self, slot: str, action_id: str) -> list[tuple[str, str, str]]:
        return [
            (message["channel"], message["ts"], element["action_id"])
            for message in self.messages()
            if str(((message["metadata"] or {}).get("event_payload") or {}).get("slot", "")).startswith(slot)
            for element in _elements(message["blocks"])
            if str(element.get("action_id", "")).startswith(action_id)
        ]


def _elements(blocks: list[Json]) -> Iterator[Json]:
    for block in blocks:
        yield from block.get("elements") or ()
        if block.get("accessory"):
            yield block["accessory"]
