"""Running a drill: start the world and the bot, break something, judge what comes of it.

`run_drill` is what `cdc drill` calls. It returns the exit code: 0 when every stage was
reached (or the world was only shown), 1 when not. With `auto` the responder is played
too and the world ends by itself; else it stays until Ctrl-C or SIGTERM.

stdout carries one JSON document with `as_json`, else the page's address (`Open ADDRESS` on
a terminal); what happens is told on stderr.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import requests

from bot.drill.responder import Responder, Stuck
from bot.drill.scenarios import IDLE, SCENARIOS, Scenario
from bot.drill.score import STAGES, ScoreSheet, Seen
from bot.drill.telling import FINISHED, REACHED, beginning, ending
from bot.drill.world import PIPELINE, World

LOOK_EVERY_S = 0.3
AUTO_S = 33.0
BOT_READY_S = 15.0
LAST_LOOKS_S = 4.0


class Bot(Protocol):
    """The bot as a drill knows it: where it listens, and what `cdc incidents --json` says."""

    @property
    def url(self) -> str:
        """Where it listens."""

    def stop(self) -> None:
        """End the bot; returns when it has ended."""

    def read_incidents(self) -> list[dict[str, Any]]:
        """The document of `cdc incidents --json`."""

    def read_incident(self, incident_id: str) -> dict[str, Any]:
        """The document of `cdc incident ID --json`."""


StartBot = Callable[[Path, Mapping[str, str]], Bot]


class UnknownScenario(Exception):
    """There is no scenario of that name; the text lists those there are."""


@dataclass(frozen=True)
class Streams:
    """Where a drill writes: documents and the page's address to `out`, what happens to `err`."""

    out: TextIO
    err: TextIO

    def say(self, text: str) -> None:
        """Tell what happens."""
        print(text, file=self.err, flush=True)

    def show_page(self, address: str) -> None:
        """The page's address on a line of its own; for a person, who is told what to do with it."""
        print(f"Open {address}" if self.out.isatty() else address, file=self.out, flush=True)


def scenario_names() -> tuple[str, ...]:
    """Every scenario that `run_drill` knows, idle last."""
    return (*SCENARIOS, IDLE)


def run_drill(
    scenario: str,
    start_bot: StartBot,
    *,
    auto: bool = False,
    out: Path | None = None,
    port: int = 0,
    as_json: bool = False,
    work_dir: Path | None = None,
    manifest: Path | None = None,
    auto_s: float = AUTO_S,
    scenarios: Mapping[str, Scenario] = SCENARIOS,
    ended: threading.Event | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """Run one scenario of `scenarios`, or idle, and return the exit code.

    `port` is the page's (0: a free one). `auto_s` is how long the played responder has.
    `ended` ends a drill that waits, beside SIGINT and SIGTERM. Raises UnknownScenario, and
    RuntimeError when the world or the bot does not start.
    """
    if scenario != IDLE and scenario not in scenarios:
        raise UnknownScenario(f"no scenario {scenario!r}: there are {', '.join((*scenarios, IDLE))}")
    streams = Streams(stdout or sys.stdout, stderr or sys.stderr)
    gone = ended or threading.Event()
    with _signals(gone), _directory(work_dir) as directory:
        world = World(directory, port=port, manifest=manifest)
        try:
            world.start()
            bot = start_bot(world.config_path, world.environ)
            try:
                _await_bot(bot)
                if scenario == IDLE:
                    return _idle(world, bot, streams, gone, as_json)
                drill = _Drill(world, bot, scenarios[scenario], streams, gone, auto_s)
                return drill.run(auto=auto, out=out, as_json=as_json)
            finally:
                bot.stop()
        finally:
            world.stop()


def ready_line(world: World, bot: Bot) -> dict[str, str]:
    """The document of `cdc drill idle --json`; `token` posts to `webhook` and reads `slack_api`."""
    return {
        "page": world.places.page,
        "webhook": f"{bot.url}/alertmanager",
        "slack_api": world.places.slack_api,
        "kafka": world.places.kafka,
        "registry": world.places.registry,
        "connect": world.places.connect,
        "alertmanager": world.places.alertmanager,
        "config": str(world.config_path),
        "token": world.token,
        "database": world.places.database,
        "lake": world.places.lake,
        "jobs": world.places.jobs,
    }


def _idle(world: World, bot: Bot, streams: Streams, gone: threading.Event, as_json: bool) -> int:
    if as_json:
        print(json.dumps(ready_line(world, bot)), file=streams.out, flush=True)
    else:
        streams.show_page(world.places.page)
        streams.say(f"Nothing is broken. The config is {world.config_path}. Ctrl-C ends it.")
    gone.wait()
    return 0


class _Drill:
    """One scenario under way."""

    def __init__(
        self,
        world: World,
        bot: Bot,
        scenario: Scenario,
        streams: Streams,
        gone: threading.Event,
        auto_s: float,
    ) -> None:
        self._auto_s = auto_s
        self._world, self._bot, self._scenario = world, bot, scenario
        self._streams, self._gone = streams, gone
        self._sheet = ScoreSheet()
        self._began_s = 0.0

    def run(self, *, auto: bool, out: Path | None, as_json: bool) -> int:
        if as_json:
            self._streams.say(self._world.places.page)
        else:
            self._streams.show_page(self._world.places.page)
        self._offer_repair()
        if auto:
            self._streams.say(self._scenario.story)
        else:
            repair = self._scenario.repair_command(self._world)
            failed = self._scenario.action is not None
            for line in beginning(self._scenario.story, repair, f"{self._bot.url}/lag", task_failed=failed):
                self._streams.say(line)
        self._began_s = time.monotonic()
        self._scenario.make_break(self._world)
        if auto:
            self._respond()
        else:
            self._watch_until_gone()
        document = self._sheet.document(self._scenario.name)
        complete = self._write(out, document) if out is not None else True
        if as_json:
            print(json.dumps(document), file=self._streams.out, flush=True)
        for line in ending(document, self._incident()):
            self._streams.say(line)
        return 0 if complete and document["passed"] else 1

    # -- played by the responder -----------------------------------------------------------

    def _respond(self) -> None:
        """Play the responder while looking at the score, then look on until nothing more can come."""
        stuck: list[str] = []
        responder = Responder(
            self._world, self._scenario, say=self._tell, gone=self._gone, deadline_s=self._auto_s - self._at_s()
        )

        def work() -> None:
            try:
                responder.work()
            except (Stuck, RuntimeError, requests.RequestException) as error:
                stuck.append(str(error))

        thread = threading.Thread(target=work, name="drill-responder", daemon=True)
        thread.start()
        while thread.is_alive() and self._at_s() < self._auto_s and not self._gone.wait(LOOK_EVERY_S):
            self._look()
        until = min(self._at_s() + LAST_LOOKS_S, self._auto_s + 1)
        while not all(self._look().values()) and self._at_s() < until and not self._gone.wait(LOOK_EVERY_S):
            continue
        thread.join(timeout=2)
        for line in stuck or (["it ran out of time"] if thread.is_alive() else []):
            self._streams.say(f"the responder is stuck: {line}")

    # -- played by a person ------------------------------------------------------------------

    def _offer_repair(self) -> None:
        """`/drill repair` on the page does what the scenario's repair does at the broken part."""

        def command(text: str) -> str:
            if text.strip() != "repair":
                return "`/drill repair` puts the broken part right, as its owner would. The rest is yours."
            try:
                self._scenario.repair(self._world)
            except (RuntimeError, requests.RequestException) as error:
                return f"Not repaired: {error}"
            return "Repaired at the part itself. What failed because of it still has to be put right."

        self._world.workspace.add_command("/drill", ("repair", "help"), command)

    def _watch_until_gone(self) -> None:
        told: set[str] = set()
        while not self._gone.wait(LOOK_EVERY_S):
            for stage, holds in self._look().items():
                if holds and stage not in told:
                    told.add(stage)
                    self._tell(REACHED[stage])
                    if stage == STAGES[-1]:
                        self._streams.say(FINISHED)
        # The terminal's ^C stands on this line.
        self._streams.say("")

    # -- judging -------------------------------------------------------------------------------

    def _at_s(self) -> float:
        return time.monotonic() - self._began_s

    def _tell(self, text: str) -> None:
        self._streams.say(f"{self._at_s():5.1f} s  {text}")

    def _look(self) -> dict[str, bool]:
        return self._sheet.look(
            Seen(self._world.workspace.messages(), self._incident(), self._world.flows()), self._at_s()
        )

    def _incident(self) -> dict[str, Any] | None:
        """The newest incident of the drill's pipeline."""
        found = [one for one in self._bot.read_incidents() if one.get("pipeline") == PIPELINE]
        return max(found, key=lambda one: str(one.get("opened_at"))) if found else None

    # -- what is kept ----------------------------------------------------------------------------

    def _write(self, out: Path, score: dict[str, Any]) -> bool:
        """Write the four files; false when there is no postmortem to write."""
        out.mkdir(parents=True, exist_ok=True)
        messages = self._world.workspace.messages()
        incident = self._incident()
        timeline = self._bot.read_incident(str(incident["id"]))["timeline"] if incident else []
        _write_json(out / "score.json", score)
        _write_json(out / "slack.json", messages)
        _write_json(out / "timeline.json", timeline)
        postmortem = self._postmortem(messages)
        if postmortem is None:
            self._streams.say("no postmortem was uploaded to Slack: postmortem.md is not written")
            return False
        (out / "postmortem.md").write_bytes(postmortem)
        return True

    def _postmortem(self, messages: list[dict[str, Any]]) -> bytes | None:
        """The newest Markdown file in Slack."""
        for message in reversed(messages):
            for file in message["files"]:
                if file["name"].endswith(".md"):
                    return requests.get(file["url_private"], timeout=5).content
        return None


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _await_bot(bot: Bot) -> None:
    """Wait until the bot answers on /healthz with anything but a refused connection."""
    deadline = time.monotonic() + BOT_READY_S
    while time.monotonic() < deadline:
        try:
            requests.get(f"{bot.url}/healthz", timeout=2)
            return
        except requests.RequestException:
            time.sleep(0.05)
    raise RuntimeError(f"the bot did not answer on {bot.url}/healthz within {BOT_READY_S:.0f} s")


@contextmanager
def _signals(gone: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM end the drill in order; only the main thread can say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.signal(number, lambda *_: gone.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextmanager
def _directory(work_dir: Path | None) -> Iterator[Path]:
    if work_dir is not None:
        yield work_dir
        return
    with tempfile.TemporaryDirectory(prefix="cdc-drill-", ignore_cleanup_errors=True) as made:
        yield Path(made)
