"""A name in a live system is somebody else's text: a shell that completes or is pasted it runs none of it."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import bot.app
from bot.cli import run
from bot.drill.loopback import Answer, Call, LoopbackServer, route

CDC = Path(sys.executable).with_name("cdc")
HOSTILE = (
    "a0$(touch ran)",
    "b0;touch ran",
    "c0`touch ran`",
    "d0'&touch ran&'",
    'e0"|touch ran|"',
    "f0*",
    "g0 two words",
)
UNFIT = ("h0\ntouch ran", "i0\x1b]0;title\x07", "j0\x9b2J", "k0\u202ename", "--debug", "")
READY = "Ready:"


class Systems:
    """A Connect whose connectors have names of somebody who means harm; `asked` are the names it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        status = {"status": {"connector": {"state": "RUNNING"}, "tasks": [], "type": "sink"}, "info": {"config": {}}}
        self.server = LoopbackServer(
            "Connect",
            [
                route("GET", "/connectors/{name}/status", self._refuse),
                route("GET", "/connectors", lambda _: Answer(200, dict.fromkeys((*HOSTILE, *UNFIT), status))),
            ],
        ).start()

    def _refuse(self, call: Call) -> Answer:
        self.asked.append(call.params["name"])
        return Answer(404, {"error_code": 404, "message": "No status"})


@pytest.fixture
def systems() -> Iterator[Systems]:
    made = Systems()
    yield made
    made.server.stop()


class Terminal:
    """An interactive bash with the completion in it, as somebody types into it."""

    def __init__(self, folder: Path) -> None:
        self.shown = ""
        environ = {"PATH": f"{CDC.parent}:{os.environ['PATH']}", "PS1": READY, "TERM": "dumb", "LC_ALL": "C.UTF-8"}
        pid, self._screen = pty.fork()
        if pid == 0:
            os.chdir(folder)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environ)
        self._pid = pid
        self.wait_for_prompt()

    def type(self, keys: str) -> None:
        self.shown = ""
        os.write(self._screen, keys.encode())

    def wait_for_prompt(self) -> None:
        deadline_s = time.monotonic() + 20
        while not self.shown.endswith(READY):
            assert time.monotonic() < deadline_s, self.shown
            if select.select([self._screen], [], [], 0.1)[0]:
                self.shown += os.read(self._screen, 4096).decode(errors="replace")

    def close(self) -> None:
        os.close(self._screen)
        os.waitpid(self._pid, 0)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path)
    opened.type('eval "$(cdc completion bash)"\n')
    opened.wait_for_prompt()
    yield opened
    opened.close()


def test_tab_and_enter_ask_for_the_name_and_run_nothing(systems: Systems, terminal: Terminal, tmp_path: Path) -> None:
    """Substitutions, separators, globs, quotes: the server is asked for exactly the name that it listed."""
    (tmp_path / "f0-file").touch()
    for name in HOSTILE:
        terminal.type(f"cdc connector --connect {systems.server.url} {name[:2]}\t\n")
        terminal.wait_for_prompt()
    assert list(HOSTILE) == systems.asked
    assert not (tmp_path / "ran").exists()


def test_between_quotes_no_name_that_needs_others_is_offered(
    systems: Systems, terminal: Terminal, tmp_path: Path
) -> None:
    """What is quoted for an open line is not quoted for the inside of quotes; what was typed is left."""
    for typed, closed in (('"a0', '"'), ("'d0", "'"), ('"c0', '"')):
        terminal.type(f"cdc connector --connect {systems.server.url} {typed}\t{closed}\n")
        terminal.wait_for_prompt()
    assert ["a0", "d0", "c0"] == systems.asked
    assert not (tmp_path / "ran").exists()


def test_a_name_that_steers_a_terminal_or_is_an_option_is_not_offered(systems: Systems, terminal: Terminal) -> None:
    """A newline would be a second answer, an escape sequence is obeyed, a leading dash is no name."""
    for name in UNFIT[:4]:
        terminal.type(f"cdc connector --connect {systems.server.url} {name[:2]}\t\n")
        terminal.wait_for_prompt()
    assert [name[:2] for name in UNFIT[:4]] == systems.asked


def test_a_near_miss_is_quoted_where_a_shell_would_obey_it(systems: Systems, capsys) -> None:
    """The line is there to be copied."""
    code = run(["connector", "a0touch ran", "--connect", systems.server.url], {}, lambda: bot.app)
    assert 3 == code
    assert f"next: cdc connector 'a0$(touch ran)' --connect {systems.server.url}\n" in capsys.readouterr().err


def test_a_near_miss_never_holds_what_a_terminal_obeys(systems: Systems, capsys) -> None:
    """Nor the newline that would make a second line of it."""
    assert 3 == run(["connector", "h0touch ran", "--connect", systems.server.url], {}, lambda: bot.app)
    assert "h0\n" not in capsys.readouterr().err
