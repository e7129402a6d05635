"""`cdc generate`: files that a team keeps in its own repository.

`generate ci` writes the job that checks schemas before they are merged, and `scripts/validate_schemas.py`, which people
call by hand, too. The job has no path filter: a required job that does not run would block for ever.

Promise: nothing that exists is overwritten without --force, and nothing is written unless all of it can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from bot.cli_call import stop

JOB = "schema-check"
BRANCHES = ("main", "master", "trunk")
PYTHON = "3.12"


@click.group()
def generate() -> None:
    """Write files for your own repository."""


@generate.command("ci")
@click.argument("host", type=click.Choice(["github", "gitlab"]))
@click.option("--required", is_flag=True, help="Print the command that makes the job required; write nothing.")
@click.option(
    "-o", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path(), metavar="DIR",
    help="The root of the repository. Default: here.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def generate_ci(host: str, required: bool, folder: Path, force: bool) -> int:
    """Write the CI job schema-check and scripts/validate_schemas.py, which it calls."""
    from importlib.metadata import version

    if required:
        click.echo(GITHUB_REQUIRED if host == "github" else GITLAB_REQUIRED, nl=False)
        return 0
    files = github_files(version("cdc-oncall")) if host == "github" else gitlab_files(version("cdc-oncall"))
    entry = folder / ".gitlab-ci.yml"
    has_entry = host == "gitlab" and entry.exists()
    if has_entry:
        del files[".gitlab-ci.yml"]
    _write(folder, files, force)
    if has_entry and GITLAB_JOB not in entry.read_text("utf-8", "replace"):
        click.echo(f"{entry} is there and was left as it is. Add to it:\n\n{GITLAB_ENTRY}", err=True)
    click.echo(f"`cdc generate ci {host} --required` prints what makes the job required.", err=True)
    return 0


COMMANDS: tuple[click.Command, ...] = (generate,)


def _write(folder: Path, files: Mapping[str, str], force: bool) -> None:
    """Write all files or none; what is there already with the same text is left alone."""
    changed = {folder / name: text for name, text in files.items() if _text(folder / name) != text}
    there = [path for path in changed if path.exists()]
    if there and not force:
        others = [path for path in changed if path not in there]
        would = f" It would also write {', '.join(map(str, others))}." if others else ""
        stop(
            f"{', '.join(map(str, there))}: there already, with another text. Nothing was written.{would}",
            "Give --force to overwrite, or -o DIR to write elsewhere and compare.",
        )
    for path, text in changed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        click.echo(f"written: {path}")
    if not changed:
        click.echo("Everything is there already, as it would be written.")


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


# --- what is written -------------------------------------------------------------------------------


def github_files(version: str) -> dict[str, str]:
    return {
        ".github/workflows/schema-check.yml": _workflow(version),
        "scripts/validate_schemas.py": SCRIPT.replace("{version}", version),
    }


def gitlab_files(version: str) -> dict[str, str]:
    job = gitlab_job("python scripts/validate_schemas.py schemas/", version)
    return {
        ".gitlab-ci.yml": GITLAB_ENTRY,
        GITLAB_JOB: f"# Written by `cdc generate ci gitlab`.\n\n{job}",
        "scripts/validate_schemas.py": SCRIPT.replace("{version}", version),
    }


def _workflow(version: str) -> str:
    return f"""\
# Written by `cdc generate ci github`. It has no path filter, so that it can be required:
# `cdc generate ci github --required` prints the command for that.
name: {JOB}

on:
  pull_request:
  merge_group:
  push:
    branches: [{", ".join(BRANCHES)}]

permissions:
  contents: read

jobs:
  {JOB}:
    runs-on: ubuntu-latest
    timeout-minutes: 10
    steps:
      - uses: actions/checkout@v4
        with:
          fetch-depth: 0 # the branch is compared with where it left main
          persist-credentials: false
      - uses: actions/setup-python@v5
        with:
          python-version: "{PYTHON}"
      - run: python -m pip install --disable-pip-version-check cdc-oncall=={version}
      - run: python scripts/validate_schemas.py schemas/
"""


def gitlab_job(command: str, version: str) -> str:
    """Return the job, which calls `command`."""
    return f"""\
{JOB}:
  stage: test
  image: python:{PYTHON} # the slim images have no git
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
  variables:
    GIT_DEPTH: "0" # the branch is compared with where it left the target
    PIP_DISABLE_PIP_VERSION_CHECK: "1"
  script:
    - git config --global --add safe.directory "$CI_PROJECT_DIR"
    - python -m pip install --quiet cdc-oncall=={version}
    - >-
      {command}
      --also gitlab:gl-code-quality-report.json --also junit:schema-check.xml
  artifacts:
    when: always
    reports:
      codequality: gl-code-quality-report.json
      junit: schema-check.xml
"""


def gitlab_template(version: str) -> str:
    """Return ci/gitlab-schema-check.yml, which others include from afar; nothing else of theirs is needed."""
    job = gitlab_job('cdc check schemas $CDC_SCHEMAS --against "$CDC_AGAINST"', version)
    variables = """\
  variables:
    CDC_SCHEMAS: schemas/ # files and folders
    CDC_AGAINST: git:origin/$CI_MERGE_REQUEST_TARGET_BRANCH_NAME
"""
    on_default = """\
    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
      variables:
        CDC_AGAINST: git
"""
    job = job.replace("  variables:\n", variables).replace(
        "    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH\n", on_default
    )
    return f"""\
# The schema check for GitLab, rendered by `make docs`. In your .gitlab-ci.yml:
#
#   include:
#     - remote: https://HOST/PATH/cdc-oncall/-/raw/v{version}/ci/gitlab-schema-check.yml

{job}"""


GITLAB_JOB = ".gitlab/schema-check.yml"
GITLAB_ENTRY = f"""\
include:
  - local: {GITLAB_JOB}
"""

GITHUB_REQUIRED = """\
gh api --method POST 'repos/{owner}/{repo}/rulesets' --input - <<'JSON'
{
  "name": "schema-check is required",
  "target": "branch",
  "enforcement": "active",
  "conditions": {
    "ref_name": {"include": ["~DEFAULT_BRANCH", "refs/heads/main", "refs/heads/trunk"], "exclude": []}
  },
  "rules": [
    {
      "type": "required_status_checks",
      "parameters": {
        "strict_required_status_checks_policy": false,
        "required_status_checks": [{"context": "schema-check"}]
      }
    }
  ]
}
JSON
"""
GITLAB_REQUIRED = """\
glab api --method PUT 'projects/:id' \\
  --field only_allow_merge_if_pipeline_succeeds=true --field allow_merge_on_skipped_pipeline=false
"""

SCRIPT = '''\
#!/usr/bin/env python3
"""Check schemas before they are merged: `python scripts/validate_schemas.py schemas/`.

A thin call of `cdc check schemas`, whose options may be given, too; written by `cdc generate ci`. Without --against
the schemas are compared with where this branch left the one that it will be merged into.

Exit codes: 0 nothing fails, 1 there are errors, 2 usage, or cdc-oncall is missing, 3 something could not be reached.
"""

import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version as installed


def command():
    """Return how `cdc` is called: of this Python if it is installed there, else what the PATH has."""
    try:
        installed("cdc-oncall")
        return [sys.executable, "-P", "-m", "bot.cli"]
    except PackageNotFoundError:
        found = shutil.which("cdc")
        return [found] if found else None


def main(arguments):
    cdc = command()
    if cdc is None:
        print("cdc-oncall is not installed: nothing was checked.", file=sys.stderr)
        print(f"Write: {sys.executable} -m pip install cdc-oncall=={version}", file=sys.stderr)
        return 2
    if not any(word.split("=")[0] in ("--against", "-h", "--help") for word in arguments):
        target = os.environ.get("GITHUB_BASE_REF") or os.environ.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
        arguments = ["--against", f"git:origin/{target}" if target else "git", *arguments]
    if os.environ.get("GITHUB_ACTIONS") == "true" and not any(word.split("=")[0] == "--format" for word in arguments):
        arguments = ["--format", "github", *arguments]
    return subprocess.call([*cdc, "check", "schemas", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
'''
