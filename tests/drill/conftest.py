"""Drills as subprocesses, played side by side: the shipped scenarios with `cdc`, and each sabotage of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.drill.sabotage import SABOTAGES

CHECKOUT = Path(__file__).resolve().parents[2]
CDC = Path(sys.executable).with_name("cdc")
SHIPPED = ("schema-break", "lag", "connector-failed")
AT_ONCE = 5


@dataclass(frozen=True)
class Ended:
    """A drill that has ended: its exit code, how long it took, what it said, and the files it wrote."""

    code: int
    took_s: float
    said: str
    out: Path

    def document(self, name: str) -> Any:
        """One of the JSON files it wrote."""
        return json.loads((self.out / name).read_text(encoding="utf-8"))

    def reached(self) -> tuple[str, ...]:
        """The stages that score.json says were reached."""
        return tuple(stage["stage"] for stage in self.document("score.json")["stages"] if stage["reached"])


def _play(command: Sequence[str], folder: Path, running: list[subprocess.Popen[str]]) -> Ended:
    """Run a drill to its end; a drill that hangs is ended after 90 s and fails its test by its code."""
    out = folder / "out"
    began_s = time.monotonic()
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([*command, str(out)], cwd=CHECKOUT, text=True, **pipes) as process:
        running.append(process)
        try:
            said, _ = process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[0] + "\nit did not end within 90 s"
    return Ended(process.returncode, time.monotonic() - began_s, said, out)


@pytest.fixture(scope="session")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Ended]]]:
    """Every drill by its name, under way: the shipped ones first, so that they are not slowed by a full house."""
    commands: dict[str, list[str]] = {name: [str(CDC), "drill", name, "--auto", "--out"] for name in SHIPPED}
    longest_first = sorted(SABOTAGES, key=lambda name: -SABOTAGES[name].auto_s)
    commands |= {name: [sys.executable, "-m", "tests.drill.sabotage", name] for name in longest_first}
    folders = {name: tmp_path_factory.mktemp(name) for name in commands}
    running: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(_play, command, folders[name], running) for name, command in commands.items()}
        # Only a few tests were asked for, and they are done: what nobody waits for is ended.
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            if process.poll() is None:
                process.terminate()
