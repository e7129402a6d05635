"""The drill's own proof: with the real bot it ends well and in time, and no stage can be had without its work."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import pytest
import requests

from bot.drill.score import STAGES
from tests.drill.conftest import CDC, CHECKOUT, SHIPPED, Ended
from tests.drill.sabotage import SABOTAGES

PAYLOAD = CHECKOUT / "tests" / "payloads" / "01-first-firing.json"
ENDS_WITHIN_S = 40
READY_WITHIN_S = 30.0
SEEN_WITHIN_S = 15.0
LEAVES_WITHIN_S = 10

Drills = Mapping[str, Future[Ended]]


@pytest.fixture(scope="module", autouse=True)
def _under_way(drills: Drills) -> None:
    """All drills run while the idle world is looked at."""


# --- idle ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Idle:
    """`cdc drill idle --json` as it stands in the foreground of another process."""

    process: subprocess.Popen[str]
    line: str

    @property
    def places(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.line)
        return found

    def ask(self, *words: str) -> Any:
        """The document of a `cdc -c CONFIG ... --json` beside the drill."""
        command = [str(CDC), "-c", self.places["config"], *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert 0 == done.returncode, done.stderr
        return json.loads(done.stdout)

    def slack(self, method: str, **arguments: str) -> Any:
        """Ask the Slack API with the token that the drill printed."""
        headers = {"Authorization": f"Bearer {self.places['token']}"}
        url = f"{self.places['slack_api']}{method}"
        return requests.get(url, params=arguments, headers=headers, timeout=5).json()


def first_line(process: subprocess.Popen[str], within_s: float) -> str:
    """The first line of a process's stdout; fails the test when none comes in time."""
    found: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: found.append(process.stdout.readline()), daemon=True)  # type: ignore[union-attr]
    reader.start()
    reader.join(within_s)
    assert found and found[0], f"nothing on stdout within {within_s:.0f} s; it {process.poll()=}"
    return found[0]


def lines_until(words: str, stream: IO[str]) -> Iterator[str]:
    """The lines of a stream up to the first that contains some words."""
    for line in stream:
        yield line
        if words in line:
            return


def ended_by(number: signal.Signals, process: subprocess.Popen[str]) -> tuple[int, float]:
    """Signal a process; return its exit code and the seconds it took to leave."""
    began_s = time.monotonic()
    process.send_signal(number)
    code = process.wait(timeout=30)
    return code, time.monotonic() - began_s


def until(look: Callable[[], Any], within_s: float = SEEN_WITHIN_S) -> Any:
    """Look until there is something, and return it; after the time return what there is."""
    deadline = time.monotonic() + within_s
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def idle() -> Iterator[Idle]:
    """An idle drill, ready."""
    with subprocess.Popen([str(CDC), "drill", "idle", "--json"], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Idle(process, first_line(process, READY_WITHIN_S))
        finally:
            if process.poll() is None:
                ended_by(signal.SIGTERM, process)


def test_idle_prints_one_line_with_every_address(idle: Idle) -> None:
    """One flushed JSON line, with the keys of the contract, and every HTTP address in it answers."""
    promised = {"page", "webhook", "slack_api", "kafka", "registry", "connect", "alertmanager", "config", "token"}
    assert set() == promised - set(idle.places)
    assert "# cdc-incidents" in "# " + idle.slack("conversations.list")["channels"][0]["name"]
    for key, path in (
        ("page", ""),
        ("registry", "/subjects"),
        ("connect", "/connectors"),
        ("alertmanager", "/-/ready"),
    ):
        assert 200 == requests.get(idle.places[key] + path, timeout=5).status_code, key


def test_verbs_work_beside_an_idle_drill(idle: Idle) -> None:
    """`cdc -c CONFIG` reads the journal and the brokers of the drill, in the shapes of the contract."""
    assert [] == idle.ask("incidents")
    lag = idle.ask("lag", "customers_canonical_flink")
    promised = {"group", "state", "members", "lag_records", "time_lag_s", "verdict", "evidence", "eta_s", "topics"}
    assert set() == (promised | {"not_known"}) - set(lag)
    assert ("customers_canonical_flink", "customers", 4) == (
        lag["group"],
        lag["topics"][0]["topic"],
        len(lag["topics"][0]["partitions"]),
    )
    assert (None, True) == (lag["members"], bool(lag["not_known"])), "mock brokers cannot list members: not 0"


def test_an_alert_posted_to_idle_is_an_incident_in_the_verb_and_in_slack(idle: Idle) -> None:
    """What Alertmanager sends opens one incident: in `cdc incidents --json`, and as a card in the channel.

    Without the token nothing is stored.
    """
    body, headers = PAYLOAD.read_bytes(), {"Content-Type": "application/json"}
    refused = requests.post(idle.places["webhook"], data=body, headers=headers, timeout=5)
    assert 401 == refused.status_code
    bearer = {**headers, "Authorization": f"Bearer {idle.places['token']}"}
    assert 200 == requests.post(idle.places["webhook"], data=body, headers=bearer, timeout=5).status_code

    incident = until(lambda: idle.ask("incidents"))[0]
    assert ("open", "warning", "customers") == (incident["status"], incident["severity"], incident["pipeline"])
    assert ["3d5fee90bf32357a"] == [alert["fingerprint"] for alert in incident["alerts"]]
    assert {"todo"} == {step["status"] for step in incident["steps"]}
    channel = idle.slack("conversations.list")["channels"][0]["id"]
    asked = {"channel": channel, "include_all_metadata": "true"}
    cards = until(lambda: idle.slack("conversations.history", **asked)["messages"])
    assert [incident["id"]] == [card["metadata"]["event_payload"]["incident"] for card in cards]


def test_sigterm_ends_an_idle_drill(idle: Idle) -> None:
    """SIGTERM ends it with exit 0, in seconds, and nothing but the one line was ever on stdout."""
    assert idle.process.stdout is not None
    code, took_s = ended_by(signal.SIGTERM, idle.process)
    assert (0, "") == (code, idle.process.stdout.read())
    assert took_s < LEAVES_WITHIN_S
    assert not Path(idle.places["config"]).exists(), "the drill's folder stayed behind"


# --- a person at the page ------------------------------------------------------------------------------


def test_leaving_early_is_not_a_crash() -> None:
    """Ctrl-C once the incident is there: exit 1, and calm words about what was not reached, without a trace."""
    with subprocess.Popen(
        [str(CDC), "drill", "lag"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        address = first_line(process, READY_WITHIN_S)
        assert process.stderr is not None
        beginning = list(lines_until("opened: ", process.stderr))
        code, took_s = ended_by(signal.SIGINT, process)
        said = "".join(beginning) + process.stderr.read()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", address)
    assert (1, True) == (code, took_s < LEAVES_WITHIN_S)
    missing = [one for one in ("/drill repair", "curl -X POST", "Ctrl-C", "Not finished: ") if one not in said]
    assert ([], False) == (missing, "Traceback" in said), said


# --- played ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SHIPPED)
def test_a_shipped_scenario_ends_well_and_in_time(drills: Drills, scenario: str) -> None:
    """`cdc drill S --auto --out d` exits 0 in under 40 s, every stage reached."""
    drill = drills[scenario].result()
    assert 0 == drill.code, drill.said
    assert drill.took_s < ENDS_WITHIN_S
    score = drill.document("score.json")
    assert {"scenario", "stages", "passed"} <= set(score)
    assert (scenario, True) == (score["scenario"], score["passed"])
    assert list(STAGES) == [stage["stage"] for stage in score["stages"] if stage["reached"] and stage["at_s"] > 0]


@pytest.mark.parametrize("scenario", SHIPPED)
def test_the_files_of_a_drill_have_their_shapes(drills: Drills, scenario: str) -> None:
    """timeline.json in order of time, slack.json with card, thread and file, and the postmortem of that incident."""
    drill = drills[scenario].result()
    timeline = drill.document("timeline.json")
    assert {frozenset({"at", "who", "what", "evidence"})} == {frozenset(row) for row in timeline}
    times = [datetime.strptime(row["at"], "%Y-%m-%dT%H:%M:%SZ") for row in timeline]
    assert sorted(times) == times
    messages = drill.document("slack.json")
    card = next(one for one in messages if (one["metadata"] or {}).get("event_payload", {}).get("slot") == "card")
    assert {card["ts"]} == {one["thread_ts"] for one in messages} - {None}
    incident_id = card["metadata"]["event_payload"]["incident"]
    files = {file["name"]: file for one in messages for file in one["files"]}
    charts = [name for name in files if name.endswith(".png")]
    assert [f"postmortem-{incident_id}.md"] == [name for name in files if name not in charts]
    assert charts[-1].endswith(f"-{incident_id}-resolved.png")
    for chart in charts:
        assert re.match(r"Lag of \S+, .* behind.*; written .* and read ", files[chart]["alt_txt"])
        assert 2_000 < files[chart]["size"] <= 60_000
    postmortem = (drill.out / "postmortem.md").read_text(encoding="utf-8")
    assert postmortem.startswith("# ") and incident_id in postmortem


def test_a_mention_of_the_owner_is_one_that_slack_highlights(drills: Drills) -> None:
    """The owner is a user group of the workspace: a mention by a made-up name would ping nobody."""
    pages = [one for one in drills["schema-break"].result().document("slack.json") if "<!subteam^" in one["text"]]
    assert pages


# --- sabotaged --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(SABOTAGES))
def test_a_sabotaged_stage_fails_the_drill(drills: Drills, name: str) -> None:
    """With one stage broken from outside the drill exits 1, and exactly the stages before it are reached."""
    drill = drills[name].result()
    assert (1, SABOTAGES[name].reached) == (drill.code, drill.reached()), f"{SABOTAGES[name].what}\n{drill.said}"
    assert "Not finished: " in drill.said


def test_every_stage_is_sabotaged() -> None:
    """No scored stage is without a drill in which it, and nothing before it, is lost."""
    first_lost = {STAGES[len(sabotage.reached)] for sabotage in SABOTAGES.values()}
    assert set(STAGES) == first_lost
    assert all(sabotage.reached == STAGES[: len(sabotage.reached)] for sabotage in SABOTAGES.values())
