"""A drill runs from the break to the postmortem, and its score cannot be had without the work."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from bot.drill.drill import UnknownScenario, run_drill, scenario_names
from bot.drill.score import STAGES, ScoreSheet, Seen, reached
from bot.drill.telling import MISSING, REACHED, beginning, ending
from tests.drill.plain_bot import PlainBot


@dataclass(frozen=True)
class Ended:
    """A drill that has ended: its exit code, what it said, and the files it wrote."""

    code: int
    said: str
    out: Path

    def reached(self) -> list[str]:
        score = json.loads((self.out / "score.json").read_text())
        return [stage["stage"] for stage in score["stages"] if stage["reached"]]


def start_deaf(config: Path, environ: Mapping[str, str]) -> PlainBot:
    """A bot that ignores the checklist's clicks."""
    return PlainBot(config, environ, deaf_to=("step.done",))


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every scenario played, and one sabotaged, all at once: worlds do not touch each other."""

    def play(name: str) -> Ended:
        said, out = io.StringIO(), folder / name
        start = start_deaf if name == "sabotaged" else PlainBot
        scenario = "connector-failed" if name == "sabotaged" else name
        auto_s = 4.0 if name == "sabotaged" else 30.0
        code = run_drill(scenario, start, auto=True, auto_s=auto_s, out=out, stdout=said, stderr=said)
        return Ended(code, said.getvalue(), out)

    folder = tmp_path_factory.mktemp("drills")
    names = ("schema-break", "lag", "connector-failed", "sabotaged")
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(play, names), strict=True))


@pytest.mark.parametrize("scenario", ["schema-break", "lag", "connector-failed"])
def test_an_auto_drill_reaches_every_stage(drills: dict[str, Ended], scenario: str) -> None:
    """The played responder works the incident to its end, and the four files are written."""
    drill = drills[scenario]
    assert 0 == drill.code, drill.said
    assert list(STAGES) == drill.reached()
    assert "# Postmortem of inc-1" in (drill.out / "postmortem.md").read_text()
    assert {"at", "who", "what", "evidence"} == set(json.loads((drill.out / "timeline.json").read_text())[0])
    assert any(message["files"] for message in json.loads((drill.out / "slack.json").read_text()))


def test_a_drill_in_which_nothing_is_triaged_fails(drills: dict[str, Ended]) -> None:
    """A bot that ignores the checklist's clicks makes the drill exit 1, and says at which stage."""
    assert (1, ["opened"]) == (drills["sabotaged"].code, drills["sabotaged"].reached())


def test_idle_says_where_everything_is_and_stays(tmp_path: Path) -> None:
    """One JSON line once ready; every address in it answers; it ends when told to."""
    said, ended = io.StringIO(), threading.Event()
    codes: list[int] = []
    keywords: dict[str, Any] = {"as_json": True, "work_dir": tmp_path, "ended": ended, "stdout": said}
    thread = threading.Thread(target=lambda: codes.append(run_drill("idle", PlainBot, **keywords)))
    thread.start()
    deadline = time.monotonic() + 15
    while not said.getvalue().endswith("\n") and time.monotonic() < deadline:
        time.sleep(0.05)
    line = json.loads(said.getvalue())
    promised = {"page", "webhook", "slack_api", "kafka", "registry", "connect", "alertmanager", "config", "token"}
    assert promised <= set(line)
    assert 200 == requests.get(line["page"], timeout=5).status_code
    assert 200 == requests.get(f"{line['connect']}/connectors", timeout=5).status_code
    assert 200 == requests.get(f"{line['alertmanager']}/api/v2/status", timeout=5).status_code
    assert "customers-value" in requests.get(f"{line['registry']}/subjects", timeout=5).json()
    assert Path(line["config"]).is_file()
    ended.set()
    thread.join(timeout=10)
    assert [0] == codes


def test_an_unknown_scenario_names_those_there_are() -> None:
    """A typing error is answered with the list."""
    with pytest.raises(UnknownScenario, match="schema-break, lag, connector-failed, idle"):
        run_drill("shema-break", PlainBot)
    assert ("schema-break", "lag", "connector-failed", "idle") == scenario_names()


def message(slot: str, ts: str, thread_ts: str | None) -> dict[str, Any]:
    payload = {"incident": "i1", "slot": slot, "key": slot}
    return {"ts": ts, "thread_ts": thread_ts, "metadata": {"event_type": "cdc_incident", "event_payload": payload}}


CARD, CHECKLIST = message("card", "1.0", None), message("checklist", "2.0", "1.0")
PROVED = message("page:recovered-7", "3.0", "1.0")
DONE = {
    "id": "i1",
    "status": "resolved",
    "acknowledged_at": "t",
    "mitigated_at": "t",
    "resolved_at": "t",
    "resolved_verified": True,
    "alerts": [{"status": "resolved"}],
    "steps": [
        {"id": "a", "section": "triage", "status": "done"},
        {"id": "b", "section": "triage", "status": "skipped"},
        {"id": "c", "section": "actions", "status": "done"},
        {"id": "d", "section": "actions", "status": "todo"},
    ],
}


def with_step(step_id: str, status: str) -> dict[str, Any]:
    steps = [{**step, "status": status} if step["id"] == step_id else step for step in DONE["steps"]]  # type: ignore[attr-defined]
    return {**DONE, "steps": steps}


@pytest.mark.parametrize(
    ("seen", "last"),
    [
        (Seen([CARD, CHECKLIST, PROVED], DONE, True), "resolved"),
        (Seen([CARD, CHECKLIST, PROVED], None, True), None),
        (Seen([CHECKLIST, PROVED], DONE, True), None),
        (Seen([CARD, PROVED], DONE, True), "opened"),
        (Seen([CARD, message("checklist", "2.0", None), PROVED], DONE, True), "opened"),
        (Seen([CARD, CHECKLIST, PROVED], {**DONE, "acknowledged_at": None}, True), "opened"),
        (Seen([CARD, CHECKLIST, PROVED], with_step("a", "todo"), True), "opened"),
        (Seen([CARD, CHECKLIST, PROVED], with_step("a", "skipped"), True), "opened"),
        (Seen([CARD, CHECKLIST, PROVED], with_step("c", "todo"), True), "triaged"),
        (Seen([CARD, CHECKLIST], DONE, True), "acted"),
        (Seen([CARD, CHECKLIST, PROVED], {**DONE, "mitigated_at": None}, True), "acted"),
        (Seen([CARD, CHECKLIST, PROVED], DONE, False), "acted"),
        (Seen([CARD, CHECKLIST, PROVED], {**DONE, "status": "mitigated"}, True), "recovered"),
        (Seen([CARD, CHECKLIST, PROVED], {**DONE, "resolved_verified": False}, True), "recovered"),
        (Seen([CARD, CHECKLIST, PROVED], {**DONE, "alerts": [{"status": "firing"}]}, True), "recovered"),
    ],
)
def test_each_stage_needs_its_evidence(seen: Seen, last: str | None) -> None:
    """Taking away the evidence of one stage loses it and all after it; a claim without a flowing pipeline too."""
    expected = list(STAGES[: STAGES.index(last) + 1]) if last else []
    assert expected == [stage for stage, holds in reached(seen).items() if holds]


def test_a_stage_lost_again_does_not_count() -> None:
    """Only what holds at the end is reached; the time is when it was first seen for good."""
    sheet = ScoreSheet()
    sheet.look(Seen([CARD, CHECKLIST, PROVED], DONE, True), 1.0)
    sheet.look(Seen([CARD, CHECKLIST, PROVED], DONE, False), 2.0)
    document = sheet.document("lag")
    assert (False, None) == (document["passed"], document["stages"][3]["at_s"])
    sheet.look(Seen([CARD, CHECKLIST, PROVED], DONE, True), 3.04)
    document = sheet.document("lag")
    assert (True, [1.0, 1.0, 1.0, 3.0, 3.0]) == (document["passed"], [one["at_s"] for one in document["stages"]])


def score(*reached: str) -> dict[str, Any]:
    stages = [{"stage": one, "reached": one in reached, "at_s": 1.5 if one in reached else None} for one in STAGES]
    return {"scenario": "lag", "stages": stages, "passed": len(reached) == len(STAGES)}


@pytest.mark.parametrize(
    ("document", "incident", "told"),
    [
        (
            score(),
            None,
            [
                "Not finished: opened not reached, and no later stage counts without it.",
                "Next was: no incident card in Slack.",
            ],
        ),
        (
            score("opened"),
            with_step("a", "todo"),
            [
                "Not finished: opened 1.5 s; triaged not reached, and no later stage counts without it.",
                "It was resolved without this: acknowledge it, and tick or skip every triage step.",
                "Triage steps missed: a.",
            ],
        ),
        (
            score(*STAGES[:4]),
            DONE,
            [
                "Not finished: opened 1.5 s, triaged 1.5 s, acted 1.5 s, recovered 1.5 s; resolved not reached.",
                "It was resolved without this: it resolves once recovery is proved and no alert fires.",
            ],
        ),
        (
            score(*STAGES),
            DONE,
            ["Finished lag: opened 1.5 s, triaged 1.5 s, acted 1.5 s, recovered 1.5 s, resolved 1.5 s."],
        ),
    ],
)
def test_the_score_is_told_in_words(document: dict[str, Any], incident: dict[str, Any] | None, told: list[str]) -> None:
    """When each stage was reached; leaving early is "not finished", with what was lacking, not a crash."""
    assert told == list(ending(document, incident))


def test_every_stage_has_its_words() -> None:
    """A stage that is added is told of as well."""
    assert set(STAGES) == set(REACHED) == set(MISSING)


@pytest.mark.parametrize(("task_failed", "then"), [(True, "Plan, then Run"), (False, "mark the action step done")])
def test_the_beginning_says_how_to_repair(task_failed: bool, then: str) -> None:
    """The story, the command, what remains after the repair, and how to leave."""
    told = "\n".join(beginning("It broke.", "curl -X PUT http://part", "http://bot/lag", task_failed=task_failed))
    missing = [
        one for one in ("It broke.", "/drill repair", "curl -X PUT http://part", then, "Ctrl-C") if one not in told
    ]
    assert [] == missing
