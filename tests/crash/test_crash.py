"""The bot is killed with SIGKILL at every commit it makes; nothing promised is lost, nothing is done or said twice.

The crash points come from the store's own commit call: a dry run counts the commits and names their call sites, then
one life each is lived for death before and after every one of them. A commit added tomorrow is covered by itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import pytest

from bot.incident.state import Incident, fold
from bot.store.sqlite import Store
from tests.crash.outside import CONNECTOR, Gone, Life, Zygote

AT_ONCE = 2
STRIDE = int(os.environ.get("CDC_CRASH_STRIDE", "1"))
ONCE = (
    "IncidentOpened", "AlertFired", "AlertResolved", "IncidentAcknowledged", "StepDone", "NoteAdded", "ActionPlanned",
    "ActionConfirmed", "ActionStarted", "IncidentResolved",
)  # fmt: skip
Killed = set[tuple[str, str]]


class Lives:
    """Lives lived two at a time, with what was wrong in each and where its first process died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._zygotes: Queue[Zygote] = Queue()
        for _ in range(AT_ONCE):
            self._zygotes.put(Zygote())
        self.lived = 0
        self.problems: list[str] = []
        self.killed: Killed = set()

    def live_all(self, deaths: Iterable[tuple[str, ...]]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.live, deaths))

    def live(self, deaths: tuple[str, ...]) -> Life:
        self.lived += 1
        zygote = self._zygotes.get()
        life = Life(zygote, self._folder / f"{self.lived:04d}-{'-'.join(deaths)[:60].replace('/', '')}", deaths)
        try:
            life.live()
        except Gone as gone:
            self.problems.append(f"{deaths}: {gone}")
        finally:
            life.end()
            self._zygotes.put(zygote)
        self.problems += [f"{deaths}: {problem}" for problem in wrong(life)]
        self.killed |= {last for n in range(len(deaths)) if (last := _died_at(life, n))}
        return life

    def stop(self) -> None:
        while not self._zygotes.empty():
            self._zygotes.get().stop()


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    lived = Lives(tmp_path)
    yield lived
    lived.stop()


def test_a_kill_at_any_commit_loses_nothing_and_repeats_nothing(lives: Lives) -> None:
    """Whatever the commit, and on either side of it: the incident is whole, the restart was asked for at most once."""
    began = time.monotonic()
    dry = lives.live(())
    assert [] == lives.problems, "\n".join(["the dry run itself:", *lives.problems])
    commits = [(n, site) for n, moment, site in dry.commits() if moment == "after"]
    sites = {site for _, site in commits}
    assert len(commits) > 60 and len(sites) > 15, "the dry run saw hardly any commit: is the hook still called?"

    lives.live_all((f"{n}:{moment}",) for n, _ in commits[::STRIDE] for moment in ("before", "after"))
    wanted = {(site, moment) for site in sites for moment in ("before", "after")}
    for _ in range(3):  # threads race: what the ordinals missed is killed by name
        lives.live_all((f"{site}#1:{moment}",) for site, moment in sorted(wanted - lives.killed))

    took_s = time.monotonic() - began
    print(f"\n{len(commits)} commits from {len(sites)} call sites, {lives.lived} lives, {took_s:.0f} s")
    assert [] == lives.problems, "\n".join(lives.problems)
    assert set() == wanted - lives.killed


def test_a_bot_that_dies_again_while_it_recovers_still_repeats_nothing(lives: Lives) -> None:
    """The second process is killed at each of its own first commits, which are those of settling the first's death."""
    started = "Dispatcher.settle<Runner._action<Runner._run<Runner.run_one"
    claimed = "Store.claim_task<Runner.run_one"
    posting = "Store.sending<Outbox._post<Outbox._deliver<Outbox.drain"
    posted = "Store.sent<Outbox._post<Outbox._deliver<Outbox.drain"
    first = (f"{started}#1:before", f"{started}#1:after", f"{started}#2:before", f"{claimed}#2:after",
             f"{posting}#1:after", f"{posted}#1:before")  # fmt: skip
    again = [f"{n}:{moment}" for n in (1,) for moment in ("before", "after")]
    lives.live_all((one, other) for one in first for other in again)
    assert [] == lives.problems, "\n".join(lives.problems)
    recovering = {site for site, _ in lives.killed if "Runner.recover" in site}
    assert {"Dispatcher.settle<Runner.recover", "Dispatcher.again<Runner.recover"} == recovering


@pytest.mark.parametrize("deaths", [("3:after", "4:before") * 30, ("7:after", "6:before") * 12])
def test_a_bot_that_dies_all_the_time_still_gets_there(lives: Lives, deaths: tuple[str, ...]) -> None:
    """Every process lives for a few commits only; the incident is walked from alert to postmortem all the same."""
    life = lives.live(deaths)
    assert life.bot.killed > 8
    assert [] == lives.problems, "\n".join(lives.problems)


# --- what must hold ----------------------------------------------------------------------------------


def wrong(life: Life) -> list[str]:
    """Return every promise that this life broke, as a sentence."""
    return [*_journal(life), *_actions(life), *_said(life), *(f"a process failed: {s}" for s in life.bot.crashed)]


def _journal(life: Life) -> Iterator[str]:
    kinds = life.kinds()
    for kind in ONCE:
        if kinds.count(kind) != 1:
            yield f"{kinds.count(kind)} times {kind}"
    versions = [row[0] for row in life.rows("SELECT version FROM events WHERE incident = 'CDC-1' ORDER BY seq")]
    if versions != list(range(1, len(kinds) + 1)):
        yield f"versions {versions} of {len(kinds)} events: a gap, or another incident"
    stuck = life.rows(
        "SELECT 'inbox', kind, state FROM inbox WHERE state != 'done' UNION ALL "
        "SELECT 'task', kind, state FROM tasks WHERE state = 'running' UNION ALL "
        "SELECT 'message', key, state FROM outbox WHERE state != 'sent'"
    )
    yield from (f"stuck: {row}" for row in stuck)
    incident = _folded(life)
    if incident is None or (["resolved"], "resolved", False) != (
        [alert.status for alert in incident.alerts], incident.status, incident.resolved_verified,
    ):  # fmt: skip
        yield f"folded wrong: {incident}"


def _actions(life: Life) -> Iterator[str]:
    """Once, and finished; or at most once, and everybody was told that nobody knows."""
    kinds, restarts = life.kinds(), life.connect.restarts
    if "ActionFinished" in kinds:
        if restarts != 1:
            yield f"an outcome, and {restarts} restarts of {CONNECTOR}"
    elif "ActionOutcomeUnknown" not in kinds:
        yield "an action without any outcome"
    else:
        if restarts > 1:
            yield f"outcome unknown, and {restarts} restarts of {CONNECTOR}"
        if not any("/page:unknown-" in key for key in life.slots()):
            yield "outcome unknown, and nobody was paged"
    if kinds.count("ActionFinished") + kinds.count("ActionOutcomeUnknown") > 1:
        yield "two outcomes"


def _said(life: Life) -> Iterator[str]:
    """Every message exactly once, by its key, and the card at its newest. A file may come twice, if death cut in.

    There is no Kafka here, so there are no charts: they are settled without a word.
    """
    keyed = "SELECT key FROM outbox WHERE slot != 'answer' AND slot NOT LIKE 'chart:%'"
    said, wanted = life.slots(), {row[0] for row in life.rows(keyed)}
    for key in sorted(wanted | set(said)):
        if said[key] != 1:
            yield f"{key} stands {said[key]} times in the workspace"
    card = next((m["text"] for m in life.messages() if not m["thread_ts"] and m["metadata"]), "")
    if not card.startswith("RESOLVED"):
        yield f"the card says {card!r}"
    most = 1 + sum(_cut_an_upload(life, n) for n in range(life.bot.starts))
    if not 1 <= life.files() <= most:
        yield f"{life.files()} files, not 1 to {most}"


def _cut_an_upload(life: Life, process: int) -> bool:
    """The bytes may have gone out, and the journal does not say so: a file carries no key to look it up by."""
    sides = [f"{moment} {site}" for _, moment, site in life.commits(process) if "<Outbox._upload" in site]
    return bool(sides) and not sides[-1].startswith("after Store.sent")


def _folded(life: Life) -> Incident | None:
    if not (life.folder / "journal.db").exists():
        return None
    store = Store(life.folder / "journal.db")
    try:
        return fold(entry for _, entry in store.entries("CDC-1"))
    finally:
        store.close()


def _died_at(life: Life, process: int) -> tuple[str, str] | None:
    """Return (call site, moment) of the process's death, if it died at a commit: the last line of its log."""
    commits: Sequence[tuple[int, str, str]] = life.commits(process)
    return (commits[-1][2], commits[-1][1]) if commits and life.bot.starts > process + 1 else None
