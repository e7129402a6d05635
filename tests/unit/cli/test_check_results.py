"""One run of a check, several readers: stdout, files, a job's summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.checks.result import Result
from bot.checks.violation import Severity, Violation
from bot.cli_call import Call, Stop
from bot.cli_results import FORMATS, emit, read_also
from bot.render import checks

FOUND = Violation("C001", Severity.ERROR, "a.avsc", "tier", "`tier` is new", "Decide.", line=3, column=2)
RESULT = Result((FOUND,), ("a.avsc",))


def call(**environ: str) -> Call:
    return Call(None, False, environ, lambda: pytest.fail("no app is needed"))


def emitted(form: str = "text", out: Path | None = None, also: Any = (), **environ: str) -> int:
    return emit(call(**environ), RESULT, Severity.ERROR, form, out, also, {"a.avsc": "\n\n x"})


def test_the_formats_are_those_that_there_are() -> None:
    """The command line names them without importing what renders them."""
    assert FORMATS == checks.FORMATS


def test_one_run_writes_many_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """stdout has the text for the log, the files what CI collects; the exit code is that of the result."""
    files = [(form, tmp_path / form) for form in FORMATS]
    assert 1 == emitted(also=files)
    assert "a.avsc:3:2  error    C001" in capsys.readouterr().out
    for form, file in files:
        assert checks.render(RESULT, form, texts={"a.avsc": "\n\n x"}) == file.read_text("utf-8")


def test_a_file_instead_of_stdout_says_how_it_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """stdout stays empty; the log of the job has one line."""
    assert 1 == emitted("json", tmp_path / "out.json")
    said = capsys.readouterr()
    assert "" == said.out
    assert said.err.startswith(f"{tmp_path / 'out.json'}: 1 error in 1 of 1 file; ")
    assert 1 == json.loads((tmp_path / "out.json").read_text())["checked"]


def test_on_github_the_job_has_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is added to what other steps wrote; another format writes none; a summary that cannot be written is told."""
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", "utf-8")
    emitted("github", GITHUB_STEP_SUMMARY=str(summary))
    assert "before\n" + checks.render(RESULT, "markdown") == summary.read_text("utf-8")
    emitted("text", GITHUB_STEP_SUMMARY=str(tmp_path / "none.md"))
    assert not (tmp_path / "none.md").exists()
    capsys.readouterr()
    assert 1 == emitted("github", GITHUB_STEP_SUMMARY=str(tmp_path))
    assert "the job has no summary" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["junit", "junit:", "yaml:x", ":x"])
def test_also_wants_a_format_and_a_file(word: str) -> None:
    """With an example to paste."""
    with pytest.raises(Stop, match="Write for example --also junit:schema-check") as stopped:
        read_also([word])
    assert 2 == stopped.value.code


def test_a_file_may_have_a_colon() -> None:
    """As on Windows."""
    assert [("junit", Path("c:/x.xml"))] == read_also(["junit:c:/x.xml"])
