"""A program that measures itself, once for each line it is sent: what is warm stays warm, what dies is another process.

The program prints one line when it is ready, and one line of JSON for each line it reads.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.system.parts import NotInTime

ROOT = Path(__file__).parents[2]


class Worker:
    """One such program. `ask` raises RuntimeError when it died, with the end of what it said."""

    def __init__(self, module: str, *words: str) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.ready = self._line()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, words: str = "") -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> Any:
        assert self._process.stdout is not None and self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait(10)
            raise RuntimeError(f"{self._module} ended with {code}: {self._process.stderr.read()[-800:].strip()}")
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise NotInTime(f"{self._module} did not end") from None


def medians(workers: Sequence[Worker], runs: int) -> list[float]:
    """Ask each in turns, after one turn that is not counted; return each one's median of the seconds."""
    taken = [[worker.ask() for worker in workers] for _ in range(runs + 1)][1:]
    return [statistics.median(each) for each in zip(*taken, strict=True)]
