"""`cdc generate ci`: the job that the user described, and a script that runs as their text says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

import bot.app
from bot.cli import run

ROOT = Path(__file__).resolve().parents[3]
VERSION = version("cdc-oncall")


def cdc(*words: str) -> int:
    return run(words, {}, lambda: bot.app)


def test_the_github_job_can_be_required(tmp_path: Path) -> None:
    """No path filter, the whole history, no more rights than to read, the version that wrote it."""
    assert 0 == cdc("generate", "ci", "github", "-o", str(tmp_path))
    written = yaml.load((tmp_path / ".github/workflows/schema-check.yml").read_text(), yaml.BaseLoader)
    assert {"pull_request": "", "merge_group": "", "push": {"branches": ["main", "master", "trunk"]}} == written["on"]
    assert {"contents": "read"} == written["permissions"]
    steps = written["jobs"]["schema-check"]["steps"]
    assert {"fetch-depth": "0", "persist-credentials": "false"} == steps[0]["with"]
    assert [
        f"python -m pip install --disable-pip-version-check cdc-oncall=={VERSION}",
        "python scripts/validate_schemas.py schemas/",
    ] == [step["run"] for step in steps if "run" in step]


def test_the_gitlab_job_reports_beside_the_lines(tmp_path: Path) -> None:
    """The whole history, both reports also when it fails, on merge requests and the default branch."""
    assert 0 == cdc("generate", "ci", "gitlab", "-o", str(tmp_path))
    assert {"include": [{"local": ".gitlab/schema-check.yml"}]} == yaml.safe_load(
        (tmp_path / ".gitlab-ci.yml").read_text()
    )
    job = yaml.safe_load((tmp_path / ".gitlab/schema-check.yml").read_text())["schema-check"]
    assert "0" == job["variables"]["GIT_DEPTH"]
    assert job["script"][-1] == (
        "python scripts/validate_schemas.py schemas/ "
        "--also gitlab:gl-code-quality-report.json --also junit:schema-check.xml"
    )
    assert "always" == job["artifacts"]["when"]
    assert {"codequality": "gl-code-quality-report.json", "junit": "schema-check.xml"} == job["artifacts"]["reports"]
    assert 2 == len(job["rules"])


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a file of theirs nor half of ours; again is no change; --force is a word."""
    theirs = tmp_path / "scripts/validate_schemas.py"
    theirs.parent.mkdir()
    theirs.write_text("print('ours')\n")
    where = ("generate", "ci", "github", "-o", str(tmp_path))
    assert 2 == cdc(*where)
    said = capsys.readouterr().err
    assert "Nothing was written. It would also write" in said
    assert "--force" in said
    assert [theirs] == [path for path in tmp_path.rglob("*") if path.is_file()]
    assert 0 == cdc(*where, "--force")
    assert 0 == cdc(*where)
    assert "Everything is there already, as it would be written." in capsys.readouterr().out


def test_a_gitlab_file_of_theirs_is_told_what_to_include(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their jobs stay as they are, also with --force."""
    (tmp_path / ".gitlab-ci.yml").write_text("build: {script: make}\n")
    assert 0 == cdc("generate", "ci", "gitlab", "--force", "-o", str(tmp_path))
    assert "build: {script: make}\n" == (tmp_path / ".gitlab-ci.yml").read_text()
    assert "include:\n  - local: .gitlab/schema-check.yml" in capsys.readouterr().err


def test_required_prints_what_makes_it_required(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command for a shell, and no file."""
    assert 0 == cdc("generate", "ci", "github", "--required", "-o", str(tmp_path))
    command = capsys.readouterr().out
    ruleset = json.loads(command.split("<<'JSON'\n")[1].removesuffix("JSON\n"))
    assert [{"context": "schema-check"}] == ruleset["rules"][0]["parameters"]["required_status_checks"]
    assert {"refs/heads/main", "refs/heads/trunk"} <= set(ruleset["conditions"]["ref_name"]["include"])
    assert 0 == cdc("generate", "ci", "gitlab", "--required", "-o", str(tmp_path))
    gitlab = capsys.readouterr().out
    assert "only_allow_merge_if_pipeline_succeeds=true" in gitlab
    for text in (command, gitlab):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert [] == list(tmp_path.iterdir())


# --- the script ------------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path: Path) -> Path:
    cdc("generate", "ci", "github", "-o", str(tmp_path))
    return tmp_path / "scripts/validate_schemas.py"


def called(script: Path, *words: str, **environ: str) -> list[str]:
    """Return what the script gives to `cdc`, a program of that name being all there is of it."""
    folder = script.parent / "path"
    folder.mkdir(exist_ok=True)
    (folder / "cdc").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 7\n')
    (folder / "cdc").chmod(0o755)
    ran = alone(script, *words, PATH=f"{folder}:/usr/bin:/bin", **environ)
    assert 7 == ran.returncode
    return ran.stdout.splitlines()


def alone(script: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a Python that has no packages."""
    python = [sys.executable, "-I", "-S", str(script)]
    return subprocess.run([*python, *words], capture_output=True, text=True, env=environ, timeout=60)


@pytest.mark.parametrize(
    ("words", "environ", "given"),
    [
        (["schemas/"], {}, ["--against", "git", "schemas/"]),
        (["--against=dir:x", "schemas/"], {}, ["--against=dir:x", "schemas/"]),
        (["s"], {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "trunk"}, ["--against", "git:origin/trunk", "s"]),
        (
            ["s"],
            {"GITHUB_ACTIONS": "true", "GITHUB_BASE_REF": "main"},
            ["--format", "github", "--against", "git:origin/main", "s"],
        ),
        (["--format", "text", "s"], {"GITHUB_ACTIONS": "true"}, ["--against", "git", "--format", "text", "s"]),
    ],
)
def test_the_script_calls_us(script: Path, words: list[str], environ: dict[str, str], given: list[str]) -> None:
    """Against where the branch left its target, annotations on GitHub; what the user gives wins."""
    assert ["check", "schemas", *given] == called(script, *words, **environ)


def test_the_script_says_how_to_install_us(script: Path) -> None:
    """Nothing checked is no success."""
    ran = alone(script, "schemas/", PATH="/nowhere")
    assert 2 == ran.returncode
    assert f"-m pip install cdc-oncall=={VERSION}" in ran.stderr


# --- what others use from our repository ------------------------------------------------------------


def action() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return document


def test_the_action_puts_no_input_into_a_shell() -> None:
    """Inputs come by environment; every one has a default and is used; every script is of a named shell."""
    document = action()
    steps = [step for step in document["runs"]["steps"] if "run" in step]
    assert all("${{" not in step["run"] for step in steps)
    assert {"bash"} == {step["shell"] for step in steps}
    text = (ROOT / "action.yml").read_text()
    for name, said in document["inputs"].items():
        assert "default" in said
        assert f"inputs.{name} " in text


@pytest.mark.parametrize(
    ("inputs", "given"),
    [
        ({}, ["--fail-on", "error", "--format", "github", "--against", "git", "--", "schemas"]),
        (
            {
                "CDC_PATHS": "a b\n$(touch x)\n",
                "CDC_AGAINST": "git:main\nregistry:http://r",
                "CDC_PROFILE": "flink",
                "CDC_ALSO": "sarif:x y.sarif",
            },
            [
                *["--fail-on", "error", "--format", "github", "--against", "git:main", "--against"],
                *["registry:http://r", "--profile", "flink", "--also", "sarif:x y.sarif", "--", "a b", "$(touch x)"],
            ],
        ),
    ],
)
def test_the_action_calls_us(tmp_path: Path, inputs: dict[str, str], given: list[str]) -> None:
    """Its script in bash as the runner calls it: a word a line, whatever is in it; the exit code comes through."""
    step = action()["runs"]["steps"][-1]
    defaults = {
        name: str(action()["inputs"][value.removeprefix("${{ inputs.").removesuffix(" }}")]["default"])
        for name, value in step["env"].items()
    }
    program = tmp_path / "cdc-oncall/bin/cdc"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 3\n')
    program.chmod(0o755)
    environ = {"PATH": os.environ["PATH"], "RUNNER_TEMP": str(tmp_path), **defaults, **inputs}
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    ran = subprocess.run(shell, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert (3, ["check", "schemas", *given]) == (ran.returncode, ran.stdout.splitlines())
    assert not (tmp_path / "x").exists()


def test_the_hook_finds_what_changed_itself() -> None:
    """pre-commit starts it for Avro and Protobuf files; alone, these would not know the types of the others."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert ("python", True) == (hook["language"], hook["require_serial"])
    assert re.search(hook["files"], "schemas/customers-value.avsc")
    assert not re.search(hook["files"], "schemas/readme.md")
    assert (["cdc", "check", "schemas", "--changed"], False) == (hook["entry"].split(), hook["pass_filenames"])
