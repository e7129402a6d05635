"""What servers, names and files say reaches a terminal as text: shown, never obeyed, and never as a line of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.cli import run
from bot.config import ConfigErrors
from bot.ports import Unreachable
from bot.render.plain import render_json
from bot.render.terminal import render_text
from bot.report import Report, Table
from bot.store.sqlite import StoreError

HOSTILE = "it \x1b]0;title\x07 said \x9b2J\nnext: run-me"
SHOWN = "it \\x1b]0;title\\x07 said \\x9b2J next: run-me"


class FailingApp:
    """An app whose config ends the command with an error that holds foreign text."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def open_config(self, *_: Any) -> Any:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [Unreachable(HOSTILE), StoreError(HOSTILE), ConfigErrors((HOSTILE,)), OSError(5, HOSTILE), RuntimeError(HOSTILE)],
)
def test_an_error_cannot_steer_the_terminal(error: Exception, capsys) -> None:
    """Each kind of end: a server's, the journal's, the configuration's, the system's, and a defect."""
    run(["-c", "cdc.yml", "config", "check"], {}, lambda: FailingApp(error))  # type: ignore[arg-type, return-value]
    told = capsys.readouterr().err
    assert "\\x1b]0;title\\x07 said \\x9b2J" in told
    assert all(char.isprintable() or char == "\n" for char in told)


def test_lines_of_ours_stay_lines(capsys) -> None:
    """Two errors of cdc.yml are two lines."""
    run(["-c", "cdc.yml", "config", "check"], {}, lambda: FailingApp(ConfigErrors(("one", "two"))))  # type: ignore[arg-type, return-value]
    assert "one\ntwo\n" == capsys.readouterr().err


def test_a_report_has_no_lines_but_its_own() -> None:
    """A message with a newline in it cannot bring a next step of its own to copy."""
    report = Report(
        HOSTILE, facts=(("fact", HOSTILE),), notes=(HOSTILE,), not_known=(HOSTILE,), next_steps=(HOSTILE,),
        table=Table(("cell",), ((HOSTILE,),)),
    )  # fmt: skip
    lines = render_text(report).splitlines()
    assert [SHOWN, f"  fact  {SHOWN}", "cell", SHOWN, f"- {SHOWN}", f"not known: {SHOWN}", f"next: {SHOWN}"] == lines


def test_json_of_foreign_text_is_the_same_document_without_controls() -> None:
    """`--json` is read by people too."""
    printed = render_json(Report("t", document={"said": HOSTILE}))
    assert {"said": HOSTILE} == json.loads(printed)
    assert all(char.isprintable() or char == "\n" for char in printed)
