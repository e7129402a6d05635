"""The file of a runbook: YAML, one per symptom, short enough for 3 a.m.

Promise: `parse` returns a frozen Runbook or raises RunbookErrors with every error of the file, as
`runbooks/lag.yml:14: actions[1].guard: what is wrong: what to write`.

Invariants
    An action always has a guard: it changes a running system.
    No placeholder of a command stands inside quotes: what is filled in brings its own.

This module opens no file. It is told which probes and actions exist; it knows none of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from bot.incident.runbook import GUARDS, PLACEHOLDER, PLACEHOLDERS, SECTIONS, Runbook, Step
from bot.incident.yaml_lines import Problem, closest, read, validate
from bot.model import Signal

_WORD_IN_BRACES = re.compile(r"(?<!\$)\{([a-z_]+)\}")


class RunbookErrors(Exception):
    """A runbook cannot be used. `errors` are all of them, each with file, line and remedy."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def parse(raw: bytes | str, filename: str, *, probes: Collection[str], actions: Collection[str]) -> Runbook:
    """Return the runbook in `raw`; its id is the file's name without `.yml`. Raises RunbookErrors."""
    document = read(raw, filename)
    problems = list(document.problems)
    if not isinstance(document.values, dict):
        if not problems:
            problems.append(Problem((), "not a mapping", "begin with title:, signal:, symptoms: and triage:"))
        raise RunbookErrors(document.render(problems))
    entry, wrong = validate(_RunbookEntry, document.values, _schema())
    problems += wrong
    problems += _contradictions(document.values, probes, actions)
    if entry is None or problems:
        raise RunbookErrors(document.render(problems))
    content = raw if isinstance(raw, bytes) else raw.encode()
    return Runbook(
        id=PurePath(filename).stem,
        title=entry.title,
        signal=entry.signal,
        alerts=entry.alerts,
        symptoms=entry.symptoms,
        steps=tuple(_step(step, section, entry.signal) for section in SECTIONS for step in getattr(entry, section)),
        hash=hashlib.sha256(content).hexdigest()[:12],
    )


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_Text = Annotated[str, Field(min_length=1, max_length=300)]


class _StepEntry(_Entry):
    id: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$", description="Unique in the runbook.", examples=["restart"])
    ]
    title: Annotated[
        str, Field(min_length=1, max_length=200, description="What to do, in one line.", examples=["Restart it"])
    ]
    probe: str | None = Field(None, description="Probe that answers the step.")
    action: str | None = Field(None, description="Action that the step runs.")
    guard: str | None = Field(None, description="Who may run it: responder, or second_person.")
    args: dict[str, Any] = Field({}, description="Arguments of the probe or action.")
    command: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(None, description="To copy.")
    choices: tuple[_Text, ...] = Field((), description="Makes the step a decision.")
    when: tuple[_Text, ...] = Field((), description="Verdicts that recommend the step.")
    signal: Signal | None = Field(None, description="What part it is about. Default: the runbook's.")


class _RunbookEntry(_Entry):
    title: Annotated[str, Field(min_length=1, max_length=100, description="The symptom.", examples=["Consumer lag"])]
    signal: Annotated[Signal, Field(description="What part of a pipeline it is about.", examples=["lag"])]
    alerts: tuple[_Text, ...] = Field((), description="Glob patterns on alertname.")
    symptoms: Annotated[tuple[_Text, ...], Field(min_length=1, examples=[["lag is critical"]])]
    triage: Annotated[
        tuple[_StepEntry, ...], Field(min_length=1, examples=[[{"id": "state", "title": "Which task failed?"}]])
    ]
    actions: tuple[_StepEntry, ...] = Field((), description="What to do about it.")
    post_incident: tuple[_StepEntry, ...] = Field((), description="What to do afterwards.")


@cache
def _schema() -> dict[str, Any]:
    return _RunbookEntry.model_json_schema()


def _step(entry: _StepEntry, section: str, signal: Signal) -> Step:
    return Step(
        id=entry.id,
        section=section,
        title=entry.title,
        probe=entry.probe,
        action=entry.action,
        guard=entry.guard,
        args=entry.args,
        command=entry.command.strip() if entry.command else None,
        choices=entry.choices,
        when=entry.when,
        signal=entry.signal or signal,
    )


def _contradictions(values: Mapping[str, Any], probes: Collection[str], actions: Collection[str]) -> Iterator[Problem]:
    """What is wrong beyond shapes; reads the plain values, so that it also speaks when a shape is wrong."""
    first_use: dict[str, str] = {}
    for section in SECTIONS:
        steps = values.get(section)
        for index, step in enumerate(steps if isinstance(steps, list) else ()):
            if not isinstance(step, dict):
                continue
            name = step.get("id")
            if isinstance(name, str):
                place = first_use.setdefault(name, f"{section}[{index}]")
                if place != f"{section}[{index}]":
                    yield Problem((section, index, "id"), f"the id {name} is taken by {place}", "write another")
            for key, what, remedy in _wrong_in(step, section, probes, actions):
                yield Problem((section, index, key), what, remedy)


def _wrong_in(
    step: Mapping[str, Any], section: str, probes: Collection[str], actions: Collection[str]
) -> Iterator[tuple[str, str, str]]:
    probe, action, guard = step.get("probe"), step.get("action"), step.get("guard")
    if isinstance(probe, str) and probe not in probes:
        yield "probe", f"there is no probe {probe}", closest(probe, probes)
    if isinstance(action, str) and action not in actions:
        yield "action", f"there is no action {action}", closest(action, actions)
    if isinstance(action, str) and section != "actions":
        yield "action", f"an action does not belong under {section}", "move the step to actions"
    if isinstance(action, str) and guard is None:
        remedy = "write guard: responder or guard: second_person; it changes a running system"
        yield "guard", f"action {action} has no guard", remedy
    if isinstance(guard, str) and guard not in GUARDS:
        yield "guard", f"there is no guard {guard}", closest(guard, GUARDS)
    if guard is not None and action is None:
        yield "guard", "a guard without an action", "remove it, or name the action it guards"
    if probe is not None and action is not None:
        yield "action", "both a probe and an action", "make two steps of it"
    choices = step.get("choices")
    if isinstance(choices, list) and len(choices) == 1:
        yield "choices", "one choice is no decision", "write at least two"
    command = step.get("command")
    for word in _WORD_IN_BRACES.findall(command) if isinstance(command, str) else ():
        meant = closest(word, PLACEHOLDERS)
        if word not in PLACEHOLDERS and meant.startswith("did you mean"):
            yield "command", f"unknown placeholder {{{word}}}", meant
    for placeholder in _quoted_placeholders(command) if isinstance(command, str) else ():
        yield (
            "command",
            f"{placeholder} stands inside quotes",
            "end the quotes before it: the bot quotes what it fills in",
        )


def _quoted_placeholders(command: str) -> Iterator[str]:
    """The placeholders inside '...' or "..."; there a filled-in quote would end the quoting. Comments are not read."""
    for line in command.splitlines():
        for quoted in re.findall(r"""'[^']*'|"(?:\\.|[^"\\])*\"|(?:^|(?<=\s))#.*$""", line):
            if not quoted.startswith("#"):
                yield from (match[0] for match in PLACEHOLDER.finditer(quoted))
