"""Keeps the process of `bot.clients.kafka_child` and asks it.

Promise
    One process, started at the first question, kept open, started again after it died or was given other settings.
    A process that dies is asked again once, in the time that is left; one that does not answer in time is killed. Both
    cost one answer, never the process that asks.
    It ends with this object, and with this process, however that ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CHILD = Path(__file__).with_name("kafka_child.py")

# The child stops waiting when the time is up, and then has to write its answer.
_GRACE_S = 0.25


class ReaderFailed(Exception):
    """The process died or did not answer; the text says which."""


class GroupReader:
    """Safe to share between threads, which take turns."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._version: object = None
        self._asked = 0
        self._stop: weakref.finalize[[subprocess.Popen[bytes]], GroupReader] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def ask(
        self, settings: Mapping[str, Any], version: object, question: Mapping[str, Any], deadline_s: float
    ) -> dict[str, Any]:
        """Return the child's answer. `version` changes with `settings`. Raises ReaderFailed."""
        ends_at = time.monotonic() + deadline_s
        if not self._turn.acquire(timeout=deadline_s):
            raise ReaderFailed(f"the process that reads many groups was busy for {deadline_s:.2g} s")
        try:
            try:
                return self._asked_once(settings, version, question, ends_at)
            except EOFError:
                pass
            try:
                return self._asked_once(settings, version, question, ends_at)
            except EOFError as died:
                raise ReaderFailed(f"the process that reads many groups died twice: {died}") from died
        finally:
            self._turn.release()

    def _asked_once(
        self, settings: Mapping[str, Any], version: object, question: Mapping[str, Any], ends_at: float
    ) -> dict[str, Any]:
        self._asked += 1
        left_s = max(0.001, ends_at - time.monotonic())
        try:
            process = self._started(settings, version)
            left_s = max(0.001, ends_at - time.monotonic())
            _write(process, {**question, "id": self._asked, "deadline_s": left_s}, ends_at + _GRACE_S)
            answer: dict[str, Any] = json.loads(_read_line(process, ends_at + _GRACE_S))
        except EOFError:
            code = self._ended()
            raise EOFError(signal.Signals(-code).name if code < 0 else f"exit code {code}") from None
        except TimeoutError:
            self._ended()
            raise ReaderFailed(f"the process that reads many groups did not answer within {left_s:.2g} s") from None
        except OSError as error:  # no descriptor, no memory or no process left to start it with
            if self._process is not None:
                self._ended()
            raise ReaderFailed(f"the process that reads many groups cannot be started: {error.strerror}") from error
        return answer

    def _started(self, settings: Mapping[str, Any], version: object) -> subprocess.Popen[bytes]:
        if self._process is not None and version != self._version:
            self._ended()
        if self._process is None:
            # -P: the folder of the script, with its `http.py`, must not come before Python's own.
            process = subprocess.Popen(
                [sys.executable, "-P", str(_CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
            self._process, self._version = process, version
            self._stop = weakref.finalize(self, _end, process)
            _write(process, settings, time.monotonic() + 1)
        return self._process

    def _ended(self) -> int:
        """End the process and return its code."""
        assert self._process is not None
        process, self._process = self._process, None
        if self._stop is not None:
            self._stop.detach()
        return _end(process)


def _end(process: subprocess.Popen[bytes]) -> int:
    process.kill()
    code = process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    return code


def _write(process: subprocess.Popen[bytes], value: Mapping[str, Any], ends_at: float) -> None:
    """Write one line. Raises EOFError when the process is gone, TimeoutError."""
    assert process.stdin is not None
    left = memoryview(json.dumps(value, separators=(",", ":")).encode() + b"\n")
    while left:
        _wait_for(process.stdin.fileno(), select.POLLOUT, ends_at)
        try:
            left = left[os.write(process.stdin.fileno(), left) :]
        except BrokenPipeError:
            raise EOFError from None
        except BlockingIOError:
            continue


def _read_line(process: subprocess.Popen[bytes], ends_at: float) -> bytes:
    """Read one line. Raises EOFError when the process is gone, TimeoutError."""
    assert process.stdout is not None
    parts: list[bytes] = []
    while not parts or not parts[-1].endswith(b"\n"):
        _wait_for(process.stdout.fileno(), select.POLLIN, ends_at)
        try:
            part = os.read(process.stdout.fileno(), 1 << 20)
        except BlockingIOError:
            continue
        if not part:
            raise EOFError
        parts.append(part)
    return b"".join(parts)


def _wait_for(descriptor: int, event: int, ends_at: float) -> None:
    waiting = select.poll()
    waiting.register(descriptor, event)
    if not waiting.poll(max(0.0, ends_at - time.monotonic()) * 1000):
        raise TimeoutError
