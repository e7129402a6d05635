"""A throw-away bot that follows the button conventions: what the played responder is tested against.

It knows one incident at a time and judges recovery from Connect and the alerts alone.
`deaf_to` names click prefixes that it acknowledges and ignores: how a stage is sabotaged.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
import yaml
from slack_sdk import WebClient

from bot.drill.loopback import Answer, Call, LoopbackServer, route

Json = dict[str, Any]
TRIAGE = ("schema-changes", "dead-letters", "lag")


def _text(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def _button(label: str, action_id: str, **value: Any) -> Json:
    return {
        "type": "button",
        "text": _text(label),
        "action_id": action_id,
        "value": json.dumps({"i": "inc-1", **value}),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class PlainBot:
    """The bot protocol of `bot.drill.drill`, as small as it can be."""

    def __init__(self, config_path: Path, environ: Mapping[str, str], deaf_to: tuple[str, ...] = ()) -> None:
        config = yaml.safe_load(config_path.read_text())
        self._deaf_to = deaf_to
        self._connect, self._token = config["connect"]["url"], environ["CDC_WEBHOOK_TOKEN"]
        self._slack = WebClient(
            token=environ["SLACK_BOT_TOKEN"], base_url=config["slack"]["api_url"], retry_handlers=[]
        )
        self._lock = threading.RLock()
        self._incident: Json | None = None
        self._timeline: list[Json] = []
        self._alerts: dict[str, Json] = {}
        self._posted: dict[str, str] = {}
        self._shown: dict[str, str] = {}
        self._end = threading.Event()
        port = int(config["listen"].rpartition(":")[2])
        self._server = LoopbackServer(
            "plain bot",
            [
                route("GET", "/healthz", lambda _: Answer(200, "ok", media_type="text/plain")),
                route("POST", "/alertmanager", self._webhook),
                route("POST", "/slack/events", self._events),
            ],
            port=port,
        ).start()
        self.url = self._server.url
        self._thread = threading.Thread(target=self._judge_for_ever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(timeout=5)
        self._server.stop()

    def read_incidents(self) -> list[Json]:
        with self._lock:
            alerts = [
                {"fingerprint": mark, "status": alert["status"], "labels": alert["labels"]}
                for mark, alert in self._alerts.items()
            ]
            return [json.loads(json.dumps({**self._incident, "alerts": alerts}))] if self._incident else []

    def read_incident(self, incident_id: str) -> Json:
        (incident,) = self.read_incidents()
        return {**incident, "timeline": list(self._timeline), "findings": []}

    # -- in ------------------------------------------------------------------------------

    def _webhook(self, call: Call) -> Answer:
        if call.headers.get("authorization") != f"Bearer {self._token}":
            return Answer(401)
        with self._lock:
            for alert in call.json()["alerts"]:
                self._alerts[alert["fingerprint"]] = alert
            if self._incident is None:
                names = {alert["labels"]["alertname"] for alert in self._alerts.values()}
                self._open(names)
        return Answer(200, {})

    def _open(self, names: set[str]) -> None:
        steps = [{"id": step, "status": "todo", "section": "triage"} for step in TRIAGE]
        restart = "CDCConnectorFailed" in names
        steps.append({"id": "restart" if restart else "scale", "status": "todo", "section": "actions"})
        self._incident = {
            "id": "inc-1",
            "status": "open",
            "pipeline": "customers",
            "title": ", ".join(sorted(names)),
            "opened_at": _now(),
            "acknowledged_at": None,
            "mitigated_at": None,
            "resolved_at": None,
            "steps": steps,
        }
        self._say("opened")

    def _events(self, call: Call) -> Answer:
        payload = json.loads(call.form()["payload"])
        action = payload["actions"][0]["action_id"]
        if not action.startswith(self._deaf_to or ("nothing",)):
            threading.Thread(target=self._clicked, args=(action, payload["user"]["id"]), daemon=True).start()
        return Answer(200)

    def _clicked(self, action: str, user: str) -> None:
        with self._lock:
            assert self._incident is not None
            if action == "incident.ack":
                self._incident |= {"status": "acknowledged", "acknowledged_at": _now()}
            elif action.startswith("step.done:"):
                self._settle(action.partition(":")[2])
            elif action.startswith("action.plan:"):
                self._put("plan:k1", "Plan: restart failed tasks", [_button("Run", "action.run:k1")])
            elif action.startswith("action.run:"):
                self._put("plan:k1", "Running", [])
                for name in requests.get(f"{self._connect}/connectors", timeout=5).json():
                    requests.post(
                        f"{self._connect}/connectors/{name}/restart?includeTasks=true&onlyFailed=true", timeout=5
                    )
                time.sleep(0.6)
                self._settle("restart")
            elif action == "incident.postmortem":
                self._slack.files_upload_v2(
                    channel="C01INCIDENTS",
                    thread_ts=self._posted["card"],
                    filename="postmortem.md",
                    content=f"# Postmortem of inc-1\n\nExported by {user}.\n",
                )
            self._say(f"{action} by {user}")

    def _settle(self, step_id: str) -> None:
        assert self._incident is not None
        for step in self._incident["steps"]:
            if step["id"] == step_id:
                step["status"] = "done"

    # -- out -----------------------------------------------------------------------------

    def _say(self, what: str) -> None:
        assert self._incident is not None
        self._timeline.append({"at": _now(), "who": "bot", "what": what, "evidence": []})
        buttons = {"open": [_button("Acknowledge", "incident.ack")], "acknowledged": []}
        buttons["mitigated"] = [_button("Resolve", "incident.resolve")]
        self._put(
            "card",
            f"{self._incident['title']}: {self._incident['status']}",
            [*buttons.get(self._incident["status"], []), _button("Postmortem", "incident.postmortem")],
        )
        blocks: list[Json] = []
        for section, title in (("triage", "Triage"), ("actions", "Actions")):
            blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": f"*{title}*"}]})
            for step in self._incident["steps"]:
                if step["section"] == section:
                    blocks.append({"type": "section", "text": _text(f"{step['status']}: {step['id']}")})
                    if step["status"] == "todo":
                        blocks.append({"type": "actions", "elements": [_step_button(step)]})
        self._put("checklist", "Checklist", None, blocks)

    def _put(self, slot: str, text: str, buttons: list[Json] | None, blocks: list[Json] | None = None) -> None:
        if blocks is None:
            blocks = [{"type": "section", "text": _text(text)}]
            if buttons:
                blocks.append({"type": "actions", "elements": buttons})
        shown = json.dumps([text, blocks])
        if self._shown.get(slot) == shown:
            return
        self._shown[slot] = shown
        metadata = {"event_type": "cdc_incident", "event_payload": {"incident": "inc-1", "slot": slot, "key": slot}}
        if slot in self._posted:
            self._slack.chat_update(
                channel="C01INCIDENTS", ts=self._posted[slot], text=text, blocks=blocks, metadata=metadata
            )
            return
        answer = self._slack.chat_postMessage(
            channel="C01INCIDENTS",
            text=text,
            blocks=blocks,
            metadata=metadata,
            thread_ts=self._posted.get("card") if slot != "card" else None,
        )
        self._posted[slot] = str(answer["ts"])

    def _judge_for_ever(self) -> None:
        while not self._end.wait(0.3):
            with self._lock:
                if self._incident is None or self._incident["status"] in ("open", "resolved"):
                    continue
                document = requests.get(f"{self._connect}/connectors?expand=status", timeout=5).json()
                running = all(one["status"]["tasks"][0]["state"] == "RUNNING" for one in document.values())
                quiet = all(alert["status"] == "resolved" for alert in self._alerts.values())
                if running and quiet and "recovered" not in self._deaf_to:
                    self._put("page:recovered-9", "Recovery proved", [])
                    self._incident |= {"mitigated_at": _now()}
                    if "resolved" not in self._deaf_to:
                        self._incident |= {"status": "resolved", "resolved_at": _now(), "resolved_verified": True}
                    self._say("recovery proved")


def _step_button(step: Json) -> Json:
    if step["id"] == "restart":
        return _button("Plan: restart failed tasks", "action.plan:restart", v="plan")
    return _button("Done", f"step.done:{step['id']}", v="done")
