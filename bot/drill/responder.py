"""The responder of `--auto`: a person at the page, played over HTTP.

Reads only what the page shows (`/control/messages`, `/control/state`), acts only through
signed clicks (`/control/click`, `/control/submit`) and the scenario's repair at the
broken part's own API. It is the one place that knows how the bot names its buttons.
A click on a card that has changed meanwhile does nothing in the bot, so every click is
looked for again until its effect shows.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from bot.drill.scenarios import Scenario
from bot.drill.score import EVENT_TYPE
from bot.drill.world import World

RESPONDER, APPROVER = "U01ALICE", "U02BOB"
LOOK_EVERY_S = 0.1
CLICK_AGAIN_S = 2.0
HEADINGS = {"triage": "triage", "actions": "actions", "after the incident": "post_incident"}

Json = dict[str, Any]


class Stuck(Exception):
    """The responder waited for something that did not come; the text says for what."""


@dataclass(frozen=True)
class Control:
    """One thing to click: where it is, and the option to choose when it is a menu."""

    channel: str
    ts: str
    action_id: str
    value: str | None = None
    option: str | None = None


class Responder:
    """Works one incident of a scenario from its card to its postmortem."""

    def __init__(
        self, world: World, scenario: Scenario, *, say: Callable[[str], None], gone: threading.Event, deadline_s: float
    ) -> None:
        self._world = world
        self._scenario = scenario
        self._say = say
        self._gone = gone
        self._deadline = time.monotonic() + deadline_s
        self._page = world.workspace.url
        self._http = requests.Session()

    def work(self) -> None:
        """Acknowledge, triage, repair, act, wait for proof, export; raises Stuck."""
        card = self._await(lambda: self._slot("card"), "the incident card")
        self._say(f"card: {card['text']}")
        self._press("acknowledge", lambda: self._button("card", "incident.ack"))
        self._await(lambda: self._slot("checklist"), "the checklist in the thread")
        self._triage()
        self._scenario.repair(self._world)
        self._say("repaired the part through its own API")
        if self._scenario.action is None:
            self._press("mark the action step done", self._action_step, once=True)
        else:
            self._run_action(self._scenario.action)
        self._await_resolution()
        self._export()

    # -- the walk ------------------------------------------------------------------------

    def _triage(self) -> None:
        """Tick every triage step that still waits."""
        while True:
            waiting = [one for section, one in self._steps() if section == "triage"]
            if not waiting:
                return
            step = waiting[0].action_id
            self._press(f"tick {step.partition(':')[2]}", lambda step=step: self._button("checklist", step))  # type: ignore[misc]

    def _run_action(self, action: str) -> None:
        """Plan, confirm, have it approved if it asks for that, until its step is done."""
        words = action.replace("_", " ")

        def planned() -> Control | None:
            return self._find("plan:", "action.run:") or self._find("plan:", "action.approve:")

        def to_plan() -> Control | None:
            return None if planned() else self._labelled("checklist", "action.plan:", words)

        for _ in range(6):
            if self._labelled("checklist", "action.plan:", words) is None and planned() is None:
                return
            self._press(f"plan {words}", to_plan, patience_s=4.0, must=False)
            if self._find("plan:", "action.approve:"):
                self._press("approve", lambda: self._find("plan:", "action.approve:"), user=APPROVER, must=False)
            self._press(f"run {words}", lambda: self._find("plan:", "action.run:"), patience_s=4.0, must=False)
            if self._await_or_none(lambda: self._labelled("checklist", "action.plan:", words) is None, 8.0):
                self._say(f"{words}: done")
                return
        raise Stuck(f"the action {words} was never done")

    def _await_resolution(self) -> None:
        """Wait for the proof of recovery; then the incident resolves by itself, or by the button."""
        self._await(lambda: self._slot("page:recovered"), "the message that recovery is proved")
        self._say("recovery is proved")
        if not self._await_or_none(lambda: self._button("card", "incident.resolve") is None, 6.0):
            self._press("resolve", lambda: self._button("card", "incident.resolve"))
        self._await(lambda: self._button("card", "incident.resolve") is None, "the incident to be resolved")

    def _export(self) -> None:
        """Press the postmortem button until the file is in the thread."""
        self._press(
            "export the postmortem",
            lambda: self._button("card", "incident.postmortem") or self._option("card", "incident.more", "postmortem"),
            done=lambda: any(file["name"].endswith(".md") for one in self._messages() for file in one["files"]),
            patience_s=5.0,
        )

    # -- finding things on the page -------------------------------------------------------

    def _messages(self) -> list[Json]:
        found: list[Json] = self._http.get(f"{self._page}/control/messages", timeout=5).json()
        return [message for message in found if not message["deleted"]]

    def _slot(self, prefix: str) -> Json | None:
        """The newest message of the incident whose slot is or begins with `prefix`."""
        for message in reversed(self._messages()):
            metadata = message.get("metadata") or {}
            slot = str((metadata.get("event_payload") or {}).get("slot"))
            if metadata.get("event_type") == EVENT_TYPE and (slot == prefix or slot.startswith(prefix)):
                return message
        return None

    def _controls(self, slot: str) -> Iterator[tuple[str, Json, Control]]:
        """Every element of a message: its section of the checklist, itself, and how to click it."""
        message = self._slot(slot)
        section = "triage"
        for block in (message or {}).get("blocks") or ():
            if block["type"] == "context":
                said = " ".join(str(one.get("text", "")) for one in block.get("elements", ()))
                section = HEADINGS.get(said.strip(" *").lower(), section)
            elements = [*block.get("elements", ()), block.get("accessory")]
            for element in elements:
                if isinstance(element, dict) and element.get("action_id") and message is not None:
                    control = Control(message["channel"], message["ts"], element["action_id"], element.get("value"))
                    yield section, element, control

    def _button(self, slot: str, action_id: str) -> Control | None:
        return next((one for _, _, one in self._controls(slot) if one.action_id == action_id), None)

    def _find(self, slot: str, prefix: str) -> Control | None:
        return next((one for _, _, one in self._controls(slot) if one.action_id.startswith(prefix)), None)

    def _labelled(self, slot: str, prefix: str, words: str) -> Control | None:
        for _, element, control in self._controls(slot):
            label = str((element.get("text") or {}).get("text", "")).lower()
            if control.action_id.startswith(prefix) and words in label:
                return control
        return None

    def _option(self, slot: str, prefix: str, verb: str) -> Control | None:
        """The menu entry that carries a verb."""
        for _, element, control in self._controls(slot):
            if not control.action_id.startswith(prefix):
                continue
            for option in element.get("options") or ():
                carried = _document(option.get("value"))
                if verb in (carried.get("v"), carried.get("verb")):
                    return Control(control.channel, control.ts, control.action_id, None, str(option["value"]))
        return None

    def _steps(self) -> list[tuple[str, Control]]:
        """Every step with a button of its own to settle it, with its section."""
        return [
            (section, control)
            for section, _, control in self._controls("checklist")
            if control.action_id.startswith("step.done:")
        ]

    def _action_step(self) -> Control | None:
        """The first action step that a person may mark done; else the first that offers it in its menu."""
        by_hand = [control for section, control in self._steps() if section == "actions"]
        if by_hand:
            return by_hand[0]
        return self._option("checklist", "step.more:", "done")

    # -- clicking and waiting ---------------------------------------------------------------

    def _press(
        self,
        what: str,
        find: Callable[[], Control | None],
        *,
        user: str = RESPONDER,
        done: Callable[[], bool] | None = None,
        once: bool = False,
        must: bool = True,
        patience_s: float = 8.0,
    ) -> None:
        """Click what `find` finds until it is gone or changed (or `done` holds), filling a modal that opens.

        With `once` only the control found first is clicked. Without `must` nothing to click is no failure.
        """
        control = self._await_or_none(find, patience_s)
        if control is None:
            if must:
                raise Stuck(f"there was nothing to click to {what}")
            return
        self._say(what)
        first = control.action_id
        for _ in range(8):
            if control is not None:
                self._click(control, user)
                self._fill_modal(user)
            if self._await_or_none(lambda: self._effect(find, first, done), CLICK_AGAIN_S):
                return
            control = find()
            if once and control is not None and control.action_id != first:
                return
        if must:
            raise Stuck(f"clicking to {what} had no effect")

    def _effect(self, find: Callable[[], Control | None], first: str, done: Callable[[], bool] | None) -> bool:
        if done is not None:
            return done()
        control = find()
        return control is None or control.action_id != first

    def _click(self, control: Control, user: str) -> None:
        body = {
            "channel": control.channel,
            "ts": control.ts,
            "action_id": control.action_id,
            "user": user,
            "value": control.value,
            "option": control.option,
        }
        self._http.post(f"{self._page}/control/click", json=body, timeout=8)

    def _fill_modal(self, user: str) -> None:
        """Fill a modal that the click opened: the first choice, and a sentence where words are wanted."""
        for _ in range(3):
            views = self._http.get(f"{self._page}/control/state", timeout=5).json()["views"]
            mine = [view for view in views if view["user"] == user]
            if not mine:
                return
            values: Json = {}
            for block in mine[-1]["view"].get("blocks", ()):
                if block["type"] == "input":
                    values[block["block_id"]] = _entry(block["element"])
            body = {"view_id": mine[-1]["id"], "user": user, "values": values}
            self._http.post(f"{self._page}/control/submit", json=body, timeout=8)

    def _await(self, find: Callable[[], Any], what: str) -> Any:
        found = self._await_or_none(find, self._deadline - time.monotonic())
        if not found:
            raise Stuck(f"waited for {what}, which did not come")
        return found

    def _await_or_none(self, find: Callable[[], Any], patience_s: float) -> Any:
        until = min(time.monotonic() + patience_s, self._deadline)
        while True:
            found = find()
            if found:
                return found
            if time.monotonic() >= until or self._gone.wait(LOOK_EVERY_S):
                return None


def _entry(element: Json) -> Any:
    if element["type"] in ("static_select", "radio_buttons"):
        return element["options"][0]["value"]
    if element["type"] == "checkboxes":
        return [element["options"][0]["value"]]
    if element["type"] == "users_select":
        return RESPONDER
    return "Drill: looked at the evidence in the thread and agree."


def _document(value: object) -> Mapping[str, Any]:
    try:
        found = json.loads(str(value))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
