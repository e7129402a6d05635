"""The job that the user described, on a real git repository with branches and beside a real registry.

`cdc generate ci github` writes the workflow; the test runs the commands of its job as GitHub's runner would (bash with
`-e`, in a fresh clone of the branch, with the runner's variables), less the steps that install.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.system.parts import Registry

CUSTOMERS: dict[str, Any] = {
    "type": "record",
    "name": "Customer",
    "namespace": "com.shop",
    "doc": "A customer as the shop knows one.",
    "fields": [
        {"name": "id", "type": "long", "doc": "Primary key."},
        {"name": "nickname", "type": ["null", "string"], "default": None, "doc": "As shown to others."},
    ],
}
UNDECIDED = {"name": "tier", "type": "string", "doc": "Loyalty tier."}
DECIDED = {"name": "tier", "type": ["null", "string"], "default": None, "doc": "Loyalty tier."}
SENSIBLE = {"name": "tier", "type": "string", "default": "basic", "doc": "Loyalty tier."}
WAIVED = {
    **UNDECIDED,
    "cdc.waive": [
        {"rule": "C001", "reason": "The topic is rebuilt on Monday.", "owner": "@data", "until": "2099-01-31"}
    ],
}
TEXT_ID = {"name": "id", "type": "string", "doc": "Primary key."}
FILE = "schemas/customers-value.avsc"


def with_field(field: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema with one more field, or with that field in the place of its namesake."""
    kept = [one for one in CUSTOMERS["fields"] if one["name"] != field["name"]]
    replaced = len(kept) < len(CUSTOMERS["fields"])
    return {**CUSTOMERS, "fields": [field, *kept] if replaced else [*kept, field]}


class Repository:
    """A bare origin, a developer's clone with main pushed, and a runner that clones what was pushed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.origin, self.clone = folder, folder / "origin.git", folder / "clone"
        folder.mkdir()
        run("git", "init", "-q", "--bare", "-b", "main", str(self.origin), at=folder)
        run("git", "clone", "-q", str(self.origin), str(self.clone), at=folder)
        run("git", "checkout", "-q", "-B", "main", at=self.clone)
        self.write(CUSTOMERS)
        run(sys.executable, "-m", "bot.cli", "generate", "ci", "github", at=self.clone)
        self.push("main")

    def write(self, schema: Mapping[str, Any]) -> None:
        file = self.clone / FILE
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")

    def push(self, branch: str) -> None:
        run("git", "add", "-A", at=self.clone)
        run("git", "commit", "-q", "--allow-empty", "-m", branch, at=self.clone)
        run("git", "push", "-q", "origin", f"HEAD:{branch}", at=self.clone)

    def branch(self, name: str, schema: Mapping[str, Any]) -> None:
        """Push a branch off main with the schema changed, and move main on: the branch is now behind it."""
        run("git", "checkout", "-q", "-B", name, "main", at=self.clone)
        self.write(schema)
        self.push(name)
        run("git", "checkout", "-q", "main", at=self.clone)
        other = self.clone / "schemas" / f"{name}-behind-value.avsc"
        other.write_text(json.dumps({**CUSTOMERS, "name": f"Behind{name.title()}"}), encoding="utf-8")
        self.push("main")

    def job(self, branch: str) -> subprocess.CompletedProcess[str]:
        """Run the job's commands as the runner of a pull request from `branch` to main would."""
        checkout = self.folder / f"runner-{branch}"
        run("git", "clone", "-q", "--branch", branch, str(self.origin), str(checkout), at=self.folder)
        workflow = yaml.safe_load((checkout / ".github/workflows/schema-check.yml").read_text())
        steps = [step["run"] for step in workflow["jobs"]["schema-check"]["steps"] if "run" in step]
        commands = [step for step in steps if "pip install" not in step]
        assert any("python scripts/validate_schemas.py schemas/" in step for step in commands)
        environ = {**git_environ(), "GITHUB_ACTIONS": "true", "GITHUB_BASE_REF": "main", "GITHUB_HEAD_REF": branch}
        for command in commands:
            ran = subprocess.run(
                ["bash", "-e", "-c", command], cwd=checkout, env=environ, capture_output=True, text=True, timeout=60
            )
            if ran.returncode:
                break
        return ran


def run(*words: str, at: Path) -> str:
    ran = subprocess.run(words, cwd=at, env=git_environ(), capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, f"{words}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def git_environ() -> dict[str, str]:
    """The developer's environment: an identity for git, and the `python` and `cdc` of this checkout."""
    root = str(Path(__file__).resolve().parents[2])
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in
           (("NAME", "Dev"), ("EMAIL", "dev@shop.example"))}  # fmt: skip
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "GITHUB_"))}
    return {**kept, **who, "PATH": path, "PYTHONPATH": root}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("git") / "shop")


@pytest.mark.parametrize(
    ("branch", "field", "code", "said"),
    [
        ("undecided", UNDECIDED, 1, "C001"),
        ("incompatible", TEXT_ID, 1, "C003"),
        ("decided", DECIDED, 0, ""),
        ("sensible", SENSIBLE, 0, ""),
        ("waived", WAIVED, 0, ""),
    ],
)
def test_the_job_blocks_what_is_undecided_or_incompatible_and_passes_what_is_decided(
    repository: Repository, branch: str, field: Mapping[str, Any], code: int, said: str
) -> None:
    """A pull request's job fails with an annotation on the field's line, and passes with a decision."""
    repository.branch(branch, with_field(field))
    ran = repository.job(branch)
    assert code == ran.returncode, ran.stdout + ran.stderr
    errors = [line for line in ran.stdout.splitlines() if line.startswith("::error ")]
    if not said:
        assert [] == errors
        return
    (error,) = errors
    lines = json.dumps(with_field(field), indent=2).splitlines()
    first = next(n for n, line in enumerate(lines, 1) if f'"{field["name"]}"' in line)
    properties = dict(pair.split("=", 1) for pair in error.removeprefix("::error ").split("::")[0].split(","))
    assert FILE == properties["file"]
    assert first - 1 <= int(properties["line"]) <= first + len(field)
    assert said in error


def test_what_main_brought_meanwhile_is_no_finding(repository: Repository) -> None:
    """A branch that is behind main is compared with where it began: what it lacks it has not deleted."""
    repository.branch("behind", with_field(DECIDED))
    ran = repository.job("behind")
    assert 0 == ran.returncode, ran.stdout + ran.stderr
    assert "-behind-value" not in ran.stdout + ran.stderr


def test_the_registry_is_asked_at_its_level(registry: Registry, tmp_path: Path) -> None:
    """Beside a real registry: what the check blocks is refused there with 409, and what it passes is taken."""
    subject = "job-customers-value"
    register(registry, subject, CUSTOMERS, 200)
    level = {"compatibility": "BACKWARD"}
    requests.put(f"{registry.ccompat_url}/config/{subject}", json=level, timeout=10).raise_for_status()
    file = tmp_path / "schemas" / f"{subject}.avsc"
    file.parent.mkdir()

    def check(schema: Mapping[str, Any]) -> tuple[int, set[str]]:
        file.write_text(json.dumps(schema), encoding="utf-8")
        ran = subprocess.run(
            [sys.executable, "-m", "bot.cli", "check", "schemas", "schemas", "--format", "json",
             "--against", f"registry:{registry.ccompat_url}"],
            cwd=tmp_path, env=git_environ(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        found = json.loads(ran.stdout)["findings"]
        return ran.returncode, {one["rule"] for one in found if one["severity"] == "error"}

    assert (1, {"C001"}) == check(with_field(UNDECIDED))
    register(registry, subject, with_field(UNDECIDED), 409)
    assert (1, {"C003"}) == check(with_field(TEXT_ID))
    register(registry, subject, with_field(TEXT_ID), 409)
    assert (0, set()) == check(with_field(DECIDED))
    register(registry, subject, with_field(DECIDED), 200)
    assert (0, set()) == check(with_field(DECIDED))


def register(registry: Registry, subject: str, schema: Mapping[str, Any], status: int) -> None:
    answered = requests.post(
        f"{registry.ccompat_url}/subjects/{subject}/versions", json={"schema": json.dumps(schema)}, timeout=10
    )
    assert status == answered.status_code, answered.text
