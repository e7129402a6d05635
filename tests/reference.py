"""docs/reference.md, rendered from the code: `python -m tests.reference` writes it, tests/test_docs.py compares.

Everything a person may type, set, scrape, read in the journal or tick in a checklist is in it with one sentence.
A thing without its sentence raises: what is not documented does not exist.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from bot.cli import cdc
from bot.commands import VERBS
from bot.config import ACTIONS, read_runbooks, settings
from bot.incident import events as e
from bot.metrics import described
from bot.probes.table import PROBES

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference.md"
RUNBOOKS = ROOT / "runbooks"


def render() -> str:
    """Return the whole page."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield "Rendered from the code by `make docs`; a test compares. The README is the place to start."
    yield from _table("Commands", ("command", "what it does"), commands())
    yield from _table("Verbs in Slack", ("after `/cdc`", "what it does"), [(f"`{v.usage}`", v.does) for v in VERBS])
    yield from _table(
        "Settings", ("in `cdc.yml`", "default", "what it sets"), [(f"`{n}`", _code(d), t) for n, d, t in settings()]
    )
    yield from _table("Metrics", ("metric", "labels", "what it says"), metrics())
    yield from _table("Alert rules", ("alert", "severity", "when"), alert_rules())
    yield from _table("Probes", ("probe", "question"), probes())
    yield from _table("Actions", ("action", "what it does"), actions())
    yield from _table("Runbook steps", ("step", "section", "runs", "what to do"), steps())
    yield from _table("Events", ("event", "what it says"), events())


def commands() -> list[tuple[str, str]]:
    return [(f"`cdc {name}`", text) for name, text in _commands(cdc, "")]


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, str]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            arguments = " ".join(p.make_metavar(click.Context(command)) for p in command.params if _is_argument(p))
            yield f"{prefix}{name} {arguments}".strip(), _said(command.help, name)


def _is_argument(parameter: Any) -> bool:
    return isinstance(parameter, click.Argument)


def metrics() -> list[tuple[str, str, str]]:
    return [
        (f"`{name}`", ", ".join(f"`{label}`" for label in labels), _said(text, name))
        for name, labels, text in described()
    ]


def alert_rules() -> list[tuple[str, str, str]]:
    groups = yaml.safe_load((RUNBOOKS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [
        (f"`{rule['alert']}`", rule["labels"]["severity"], f"{_said(rule['annotations']['summary'], rule['alert'])}")
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    ]


def probes() -> list[tuple[str, str]]:
    return [(f"`{name}`", _first(importlib.import_module(f"bot.probes.{name}"), name)) for name in PROBES]


def actions() -> list[tuple[str, str]]:
    return [(f"`{name}`", _first(importlib.import_module(f"bot.actions.{name}"), name)) for name in sorted(ACTIONS)]


def steps() -> list[tuple[str, str, str, str]]:
    rows: dict[str, tuple[str, str, str, str]] = {}
    for runbook in read_runbooks(RUNBOOKS):
        for step in runbook.steps:
            runs = step.probe or (f"{step.action} ({step.guard})" if step.action else "")
            rows[step.id] = (f"`{step.id}`", step.section.replace("_", "-"), runs, _said(step.title, step.id))
    return list(rows.values())


def events() -> list[tuple[str, str]]:
    return [(f"`{kind.__name__}`", _first(kind, kind.__name__)) for kind in e.Event.__args__]


def _first(thing: Any, name: str) -> str:
    document = inspect.getdoc(thing) or ""
    generated = document.startswith(f"{name}(")
    return _said("" if generated else document.split("\n\n")[0], name)


def _said(text: str | None, name: str) -> str:
    if not text or not text.strip():
        raise LookupError(f"{name} is not documented: give it a sentence")
    return " ".join(text.split("\n\n")[0].split())


def _code(text: str) -> str:
    return f"`{text}`" if text and text != "required" else text


def _table(title: str, columns: tuple[str, ...], rows: list[Any]) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"


if __name__ == "__main__":
    REFERENCE.parent.mkdir(exist_ok=True)
    REFERENCE.write_text(render(), encoding="utf-8")
