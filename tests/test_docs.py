"""The documents say what the code does: rendered pages are rendered again, and what is named exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from bot.cli import cdc
from bot.commands import BY_NAME
from bot.config import parse
from tests import reference, rules_page

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_reference_is_the_code() -> None:
    """Every command, setting, metric, alert, probe, action, step and event has its sentence; `make docs` writes it."""
    assert reference.render() == reference.REFERENCE.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", rules_page.pages(), ids=lambda path: path.name)
def test_the_rules_are_those_of_the_code(path: Path) -> None:
    """Every rule with its reason and examples, and GitLab's template with this version; `make docs` writes them."""
    assert rules_page.pages()[path] == path.read_text(encoding="utf-8")


def test_every_verb_of_the_readme_exists() -> None:
    """The README names no verb that is not there, and leaves none out."""
    table = README.split("## Verbs")[1].split("## ")[0]
    named = {word for code in re.findall(r"`([a-z]+)[^`]*`", table) for word in [code]} - {"cdc"}
    assert set(BY_NAME) - {"help"} == named


def test_every_command_line_of_the_readme_is_one() -> None:
    """`cdc VERB` in the README is a command of the terminal."""
    for verb in re.findall(r"(?:(?<![/\w])cdc|bin/cdc)(?: -c \S+)? ([a-z]+)", README):
        assert verb in cdc.commands, f"the README says `cdc {verb}`"


def test_the_config_of_the_readme_is_valid() -> None:
    """What people paste must load."""
    block = re.search(r"```yaml\n(listen:.*?)```", README, re.DOTALL)
    assert block is not None
    text = block[1].replace("/var/lib/cdc-oncall/cdc-oncall.db", "./cdc-oncall.db")
    assert ["customers"] == [pipeline.name for pipeline in parse(text.encode(), ROOT / "cdc.yml").pipelines]


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_links_and_files_named_exist(name: str) -> None:
    """A link to a file of the repository leads somewhere."""
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if not t.startswith(("http", "mailto"))]
    assert [] == [target for target in targets if not (ROOT / target).exists()]


def test_every_file_of_the_architecture_exists() -> None:
    """The map names nothing that has moved."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = {path for path in re.findall(r"`((?:bot|tests|runbooks)/[\w/.*]+)`", text) if "*" not in path}
    assert [] == sorted(path for path in named if not (ROOT / path).exists())


def test_the_architecture_fits_on_its_page() -> None:
    """150 lines at most: a map, not a territory."""
    assert 150 >= len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines())


def test_make_targets_named_in_the_readme_exist() -> None:
    """`make X` in the README is a target."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set() == set(re.findall(r"\bmake ([a-z]+)", README)) - targets


def test_the_readme_routes_alerts_as_the_rules_say() -> None:
    """The head of `cdc rules` and the README's first hour give the same route and receiver; only the token differs."""
    head = (ROOT / "runbooks/alerts.yml").read_text(encoding="utf-8").split("groups:")[0]
    said = yaml.safe_load("\n".join(line[4:] for line in head.splitlines() if line.startswith("#   ")))
    block = re.search(r"```yaml\n(route:.*?)```", README, re.DOTALL)
    assert block is not None
    shown = yaml.safe_load(block[1])
    for document in (said, shown):
        del document["receivers"][0]["webhook_configs"][0]["http_config"]
    assert (said["route"], said["receivers"]) == (shown["route"], shown["receivers"])
