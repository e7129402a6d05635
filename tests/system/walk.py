"""The stage of a walk: the bot as its users run it, real monitoring around it, and a responder who only sees Slack.

    Prometheus --scrapes /metrics--> bot (a process of its own: `cdc -c cdc.yml serve`)
        | rules of `cdc rules`        ^   |
        v                             |   v
    Alertmanager --bearer token-------+   local Slack workspace <--signed clicks-- alice

`OnCall` is the bot with an Alertmanager and a workspace; `Walk` puts a pipeline and a Prometheus before it. A `Person`
reads what the page shows and clicks what is on it; what the bot itself thinks is read from outside only, by `cdc`
run as a process beside it.

Promises
    Nothing of the bot is imported but what a user's machine has too: its command. The workspace is the drill's.
    Every wait has a deadline and none sleeps for a fixed time. A click whose card changed meanwhile is made again.
"""

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
import yaml

from bot.drill.workspace import SlackWorkspace
from tests.system.fetch import Available
from tests.system.parts import HOST, Alertmanager, NotInTime, Process, Prometheus, free_port, wait_until
from tests.system.pipeline import Pipeline, alertmanager_config, cdc_yml, prometheus_config

ALICE, BOB, CAROL = "U01ALICE", "U02BOB", "U03CAROL"
CDC = Path(sys.executable).with_name("cdc")
MANIFEST = Path(__file__).parents[2] / "manifest.yml"
SHORT: Mapping[str, Any] = {
    "incidents": {"reopen_within": "10m", "settle": "3s", "recheck": "1s"},
    "probes": {"interval": "1s", "deadline": "5s"},
    "alerts": {"connector_failed_for": "1s", "dead_letters_window": "10s"},
    "people": {"responders": [ALICE], "approvers": [BOB]},
}

Json = dict[str, Any]


class BotProcess:
    """`cdc serve` as a process; it can be stopped and started again on the same journal and port."""

    def __init__(self, config: Path, url: str, environ: Mapping[str, str]) -> None:
        self._config, self._url, self._environ = config, url, environ
        self.start()

    def start(self) -> None:
        command: list[str | Path] = [CDC, "-c", self._config, "serve"]
        self.process = Process("cdc-oncall", command, self._config.parent, self._environ)
        self.process.wait_ready(lambda: requests.get(f"{self._url}/healthz", timeout=2), deadline_s=20)

    def stop(self) -> None:
        self.process.stop(grace_s=15)


class Channel:
    """The workspace's messages as the page shows them, found by the slot that the bot wrote into their metadata."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = requests.Session()
        self._http.headers["Connection"] = "close"  # one kept idle ends under the next question after 5 s

    def messages(self) -> list[Json]:
        """Return what stands in the workspace now, oldest first."""
        found: list[Json] = self._http.get(f"{self.url}/control/messages", timeout=5).json()
        return [message for message in found if not message["deleted"]]

    def cards(self) -> list[Json]:
        """Return the incidents' parent messages."""
        return [message for message in self.messages() if slot_of(message) == "card"]

    def slot(self, prefix: str, incident: str = "") -> Json | None:
        """Return the newest message whose slot is, or begins with, `prefix`."""
        for message in reversed(self.messages()):
            if slot_of(message).startswith(prefix) and incident in ("", incident_of(message)):
                return message
        return None

    def text(self, prefix: str, incident: str = "") -> str:
        """Return everything legible in a slot; empty while it is not there."""
        message = self.slot(prefix, incident)
        return legible(message) if message else ""

    def wait_for(self, prefix: str, *words: str, incident: str = "", deadline_s: float = 30.0) -> str:
        """Wait until a slot is there and says all the words; return everything legible in it."""
        try:
            return wait_until(
                lambda: said if (said := self.text(prefix, incident)) and all(word in said for word in words) else "",
                f"{prefix} saying {words}",
                deadline_s,
            )
        except NotInTime as late:
            raise NotInTime(f"{late}\nIt says: {self.text(prefix, incident)}") from late

    def everything(self) -> str:
        """Return all that can be read in the workspace, files' contents included."""
        files = [requests.get(file["url_private"], timeout=5).text for m in self.messages() for file in m["files"]]
        return "\n".join([*(legible(message) for message in self.messages()), *files])

    def state(self) -> Json:
        """Return the page's own state: ephemeral messages and open modals are in it."""
        found: Json = self._http.get(f"{self.url}/control/state", timeout=5).json()
        return found

    def post(self, path: str, body: Mapping[str, Any]) -> Json:
        """Do what a person at the page does; the workspace sends the bot the signed request for it."""
        answer: Json = self._http.post(f"{self.url}/control/{path}", json=body, timeout=10).json()
        return answer


@dataclass(frozen=True)
class Control:
    """Something to click, and the option to choose when it is a menu."""

    message: Json
    action_id: str
    value: str | None
    option: str | None = None


class Person:
    """Somebody at the page. Every verb returns when its effect can be seen in Slack."""

    def __init__(self, channel: Channel, user: str, incident: str = "") -> None:
        self._channel, self._user, self._incident = channel, user, incident

    def on(self, incident: str) -> "Person":
        """Return the same person, who clicks in this incident's messages only."""
        return Person(self._channel, self._user, incident)

    # The responder's verbs

    def acknowledge(self) -> None:
        self.press("card", "incident.ack", lambda: not self._control("card", "incident.ack"))

    def tick(self, step: str) -> None:
        """Mark a step done; one with an action is marked through its menu, "Done by hand"."""
        action_id, option = f"step.done:{step}", None
        if self._control("checklist", action_id) is None:
            action_id, option = f"step.more:{step}", "Done by hand"
        self.press("checklist", action_id, lambda: self.is_settled(step), option)

    def skip(self, step: str, reason: str) -> None:
        self.press("checklist", f"step.more:{step}", lambda: self._modal() is not None, "Skip…")
        self.fill(reason=reason)
        wait_until(lambda: self.is_settled(step), f"step {step} skipped")

    def decide(self, step: str, choice: str, reason: str) -> None:
        self.press("checklist", f"step.done:{step}", lambda: self._modal() is not None)
        view = (self._modal() or {"view": {}})["view"]
        options = [o for block in view["blocks"] for o in block.get("element", {}).get("options", ())]
        value = next(option["value"] for option in options if option["text"]["text"] == choice)
        self.fill(choice=value, reason=reason)
        wait_until(lambda: self.is_settled(step), f"step {step} decided")

    def is_settled(self, step: str) -> bool:
        """Whether the checklist shows the step without a button or a menu entry that would settle it."""
        menu = self._control("checklist", f"step.more:{step}")
        labels = [] if menu is None else [label for label, _ in _options(menu)]
        return any(label.startswith("Undo") for label in labels)

    def plan(self, step: str) -> str:
        """Ask for an action's plan and return what it says; nothing is changed yet."""
        before = {slot_of(m) for m in self._channel.messages() if slot_of(m).startswith("plan:")}

        def planned() -> Json | None:
            new = self._channel.slot("plan:", self._incident)
            return new if new is not None and slot_of(new) not in before else None

        self.press("checklist", f"action.plan:{step}", planned, patience_s=15)
        message = planned()
        assert message is not None
        return legible(message)

    def run(self) -> None:
        """Press Run on the newest plan and wait until it is not waiting any more."""
        self.press("plan:", "action.run:", lambda: not self._control("plan:", "action.run:"))

    def press_resolve(self) -> None:
        self.press("card", "incident.resolve", lambda: not self._control("card", "incident.resolve"))

    def export(self) -> str:
        """Press Postmortem and return the file that appears in the thread."""
        seen = len(self._files())
        if self._control("card", "incident.postmortem"):
            self.press("card", "incident.postmortem", lambda: len(self._files()) > seen, patience_s=15)
        else:
            self.press("card", "incident.more", lambda: len(self._files()) > seen, "Postmortem", patience_s=15)
        return requests.get(self._files()[-1]["url_private"], timeout=5).content.decode()

    def type(self, command: str, text: str) -> str:
        """Send a slash command and return the answer that only this person sees, once it is complete."""
        before = {message["ts"] for message in self._ephemerals()}
        body = {"channel": "C01INCIDENTS", "user": self._user, "command": command, "text": text}
        answer = self._channel.post("slash", body)
        if not answer["ok"]:
            raise AssertionError(f"{command} {text}: {answer}")

        def answered() -> str:
            new = [legible(m) for m in self._ephemerals() if m["ts"] not in before]
            return next((said for said in reversed(new) if "asking…" not in said), "")

        return wait_until(answered, f"an answer to {command} {text}")

    # Clicking

    def press(
        self,
        slot: str,
        action_id: str,
        until: Callable[[], object],
        option: str | None = None,
        patience_s: float = 4.0,
        deadline_s: float = 40.0,
    ) -> None:
        """Click until the effect shows: a click on what has changed since it was drawn does nothing in the bot."""
        ends_at = time.monotonic() + deadline_s
        while True:
            control = self._control(slot, action_id, option)
            if control is not None:
                self.click(control)
            try:
                wait_until(until, f"the effect of {action_id} {option or ''} in {slot}", patience_s)
                return
            except NotInTime as late:
                if time.monotonic() > ends_at:
                    raise NotInTime(f"{late}\n{self._channel.text(slot, self._incident)}") from late

    def click(self, control: Control) -> Json:
        """Click once and return what Slack's side says of the bot's answer."""
        return self._channel.post(
            "click",
            {
                "channel": control.message["channel"],
                "ts": control.message["ts"],
                "action_id": control.action_id,
                "user": self._user,
                "value": control.value,
                "option": control.option,
            },
        )

    def fill(self, **values: str) -> None:
        """Submit the open modal and wait until it is gone."""
        view = wait_until(self._modal, "a modal")
        assert view is not None
        self._channel.post("submit", {"view_id": view["id"], "user": self._user, "values": values})
        wait_until(lambda: self._modal() is None, "the modal closed")

    def told(self) -> str:
        """Return all that only this person can see."""
        return "\n".join(legible(message) for message in self._ephemerals())

    def control(self, slot: str, action_id: str) -> Control:
        """Return what is to be clicked as it stands now; keep it, and it may be stale later."""
        found = wait_until(lambda: self._control(slot, action_id), f"{action_id} in {slot}")
        assert found is not None
        return found

    def _control(self, slot: str, action_id: str, option: str | None = None) -> Control | None:
        message = self._channel.slot(slot, self._incident)
        for element in _elements(message):
            if not str(element.get("action_id", "")).startswith(action_id):
                continue
            control = Control(message or {}, element["action_id"], element.get("value"))
            if option is None:
                return control
            for label, value in _options(control):
                if label.startswith(option):
                    return Control(message or {}, element["action_id"], None, value)
        return None

    def _modal(self) -> Json | None:
        mine = [view for view in self._channel.state()["views"] if view["user"] == self._user]
        return mine[-1] if mine else None

    def _ephemerals(self) -> list[Json]:
        return [m for m in self._channel.state()["ephemerals"] if m["ephemeral_for"] == self._user]

    def _files(self) -> list[Json]:
        """Return the documents of the channel; charts come and go beside them."""
        files = [file for message in self._channel.messages() for file in message["files"]]
        return [file for file in files if file["name"].endswith(".md")]


class OnCall:
    """The bot with an Alertmanager that may post to it and a Slack workspace; `write_config` writes its cdc.yml.

    `write_config(path, oncall)` is called once every address is known.
    """

    def __init__(
        self,
        available: Available,
        folder: Path,
        write_config: Callable[[Path, "OnCall"], object],
        alertmanager: Callable[[str, str], str] = alertmanager_config,
        page_port: int = 0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.token = "the-webhook-token-of-this-test"
        bot_token, signing_secret = "xoxb-system-tests", "the-signing-secret-of-this-test"
        self.environ = {
            "CDC_WEBHOOK_TOKEN": self.token,
            "SLACK_BOT_TOKEN": bot_token,
            "SLACK_SIGNING_SECRET": signing_secret,
            "USER": "walker",
        }
        self.url = f"http://{HOST}:{free_port()}"
        self.config = folder / "cdc.yml"
        with contextlib.ExitStack() as stack:
            self.workspace = SlackWorkspace(
                token=bot_token, signing_secret=signing_secret, manifest=MANIFEST, port=page_port
            ).start()
            stack.callback(self.workspace.stop)
            self.workspace.connect_app(f"{self.url}/slack/events")
            self.channel = Channel(self.workspace.url)
            config = alertmanager(f"{self.url}/alertmanager", self.token)
            self.alertmanager = Alertmanager(available, folder / "alertmanager", config)
            stack.callback(self.alertmanager.stop)
            write_config(self.config, self)
            self.bot = BotProcess(self.config, self.url, self.environ)
            stack.callback(self.bot.stop)
            self._stack = stack.pop_all()
        self.alice, self.bob, self.carol = (Person(self.channel, user) for user in (ALICE, BOB, CAROL))

    def stop(self) -> None:
        self._stack.close()

    def cdc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command beside the running bot, on the same config."""
        return run_cdc("-c", str(self.config), *arguments, environ=self.environ)

    def incidents(self) -> list[Json]:
        """Return the document of `cdc incidents --json`."""
        found: list[Json] = json.loads(self.cdc("incidents", "--json").stdout)
        return found

    def incident(self, incident_id: str) -> Json:
        """Return the document of `cdc incident ID --json`."""
        found: Json = json.loads(self.cdc("incident", incident_id, "--json").stdout)
        return found

    def wait_for_incident(
        self, holds: Callable[[Json], object], what: str, incident_id: str = "", deadline_s: float = 30.0
    ) -> Json:
        """Ask `cdc` until one incident is as wanted, and return its summary."""
        wanted = incident_id

        def look() -> Json | None:
            return next((i for i in self.incidents() if wanted in ("", i["id"]) and holds(i)), None)

        found = wait_until(look, what, deadline_s, every_s=0.4)
        assert found is not None
        return found


class Walk:
    """A pipeline of its own, everything that watches it, and the bot."""

    def __init__(
        self,
        available: Available,
        folder: Path,
        pipeline: Pipeline,
        *,
        page_port: int = 0,
        more: Mapping[str, Any] | None = None,
        **thresholds: str,
    ) -> None:
        """Create `pipeline` and start what watches it, side by side."""

        def write_config(path: Path, oncall: OnCall) -> None:
            cdc_yml(
                path,
                pipeline,
                alertmanager_url=oncall.alertmanager.url,
                slack_api_url=oncall.workspace.api_url,
                listen=oncall.url.removeprefix("http://"),
                more={**SHORT, **(more or {})},
                **thresholds,
            )

        self.pipeline = pipeline
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
            creating = pool.submit(pipeline.create)
            self.oncall = OnCall(available, folder, write_config, by_pipeline, page_port)
            stack.callback(self.oncall.stop)
            rules = folder / "alerts.yml"
            rules.write_text(self.oncall.cdc("rules").stdout)
            scraping = prometheus_config(f"{self.oncall.url}/metrics", rules, self.oncall.alertmanager.url)
            self.prometheus = Prometheus(available, folder / "prometheus", scraping)
            stack.callback(self.prometheus.stop)
            creating.result()
            # A counter's first step is seen only by who saw it before: `increase` wants two scrapes.
            seen = f'count_over_time(cdc_dead_letters_total{{pipeline="{pipeline.name}"}}[30s]) > 1'
            wait_until(lambda: self.prometheus.query(seen), "two scrapes of the bot's metrics")
            self._stack = stack.pop_all()
        self.alice, self.channel = self.oncall.alice, self.oncall.channel

    def stop(self) -> None:
        self._stack.close()

    def __enter__(self) -> "Walk":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def by_pipeline(webhook_url: str, token: str) -> str:
    """Return the alertmanager.yml that runbooks/alerts.yml recommends: grouped by pipeline, critical inhibits."""
    document = yaml.safe_load(alertmanager_config(webhook_url, token, group_by=["pipeline"]))
    document["route"]["group_wait"] = "3s"  # A refused schema fires before the connector that it fails: both in one.
    document["inhibit_rules"] = [
        {
            "source_matchers": ['alertname =~ "CDCConsumer.+Critical"'],
            "target_matchers": ['alertname =~ "CDCConsumer.+Warning"'],
            "equal": ["pipeline", "consumergroup"],
        }
    ]
    return str(yaml.safe_dump(document, sort_keys=False))


def without_pipeline(path: Path, oncall: OnCall) -> None:
    """Write the smallest cdc.yml: alerts in, Slack out, nothing to probe."""
    document = {
        "listen": oncall.url.removeprefix("http://"),
        "alertmanager": {"url": oncall.alertmanager.url, "tokens": ["${CDC_WEBHOOK_TOKEN}"]},
        "slack": {
            "bot_token": "${SLACK_BOT_TOKEN}",
            "signing_secret": "${SLACK_SIGNING_SECRET}",
            "api_url": oncall.workspace.api_url,
            "channel": "#cdc-incidents",
        },
        "people": SHORT["people"],
        "actions": ["silence_alerts"],
        "incidents": SHORT["incidents"],
    }
    path.write_text(yaml.safe_dump(document))


def run_cdc(*arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `cdc` and return what it printed; an error of its own is shown whole."""
    done = subprocess.run([str(CDC), *arguments], capture_output=True, text=True, timeout=30, env=dict(environ or {}))
    if done.returncode != 0:
        raise AssertionError(f"cdc {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done


def slot_of(message: Json) -> str:
    """Return the slot that the bot wrote into a message's metadata, empty for any other message."""
    metadata = message.get("metadata") or {}
    return str((metadata.get("event_payload") or {}).get("slot") or "")


def incident_of(message: Json) -> str:
    metadata = message.get("metadata") or {}
    return str((metadata.get("event_payload") or {}).get("incident") or "")


def legible(message: Json) -> str:
    """Return every text of a message: its own, and those of its blocks in their order."""
    return "\n".join([message["text"], *_texts(message["blocks"])])


def _texts(node: object) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from _texts(one)
    elif isinstance(node, dict):
        for name, one in node.items():
            if name == "text" and isinstance(one, str):
                yield one
            else:
                yield from _texts(one)


def _elements(message: Json | None) -> Iterator[Json]:
    for block in (message or {}).get("blocks") or ():
        for element in [*block.get("elements", ()), block.get("accessory")]:
            if isinstance(element, dict) and element.get("action_id"):
                yield element


def _options(control: Control) -> Sequence[tuple[str, str]]:
    for element in _elements(control.message):
        if element["action_id"] == control.action_id:
            return [(option["text"]["text"], option["value"]) for option in element.get("options", ())]
    return ()


def rows_of(walk: Walk) -> tuple[int, int]:
    """Return (rows in the source table, rows in the target table)."""
    return walk.pipeline.rows_in_source(), walk.pipeline.rows_in_target()


def words(text: str) -> str:
    """Return text with every run of whitespace as one space: easier to search in."""
    return re.sub(r"\s+", " ", text)
