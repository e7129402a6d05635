"""Runbooks: YAML, one per symptom, short enough for 3 a.m.

A runbook has symptoms and three sections of steps. A triage step may name a probe, which runs by itself when
the incident opens, or ask a person; an action step may name an action with its guard. Beside every automated
step stands a command that does the same by hand.

Promise: `parse` returns a frozen Runbook or raises RunbookErrors with every error of the file, as
`runbooks/lag.yml:14: actions[1].guard: what is wrong: what to write`.

Invariants
    Step ids are unique in a runbook: the journal refers to them.
    An action always has a guard: it changes a running system.
    A command is filled only with shell-quoted values, and never inside quotes of its own: a topic name cannot
    become a second command.

This module opens no file. It is told which probes and actions exist; it knows none of them.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from bot.incident.yaml_lines import Problem, closest, read, validate
from bot.model import NOTHING, Finding, Pipeline, Signal

SECTIONS = ("triage", "actions", "post_incident")
GUARDS = ("responder", "second_person")
PLACEHOLDERS = (
    "cdc",
    "group",
    "topic",
    "connector",
    "source",
    "sink",
    "subject",
    "dlq",
    "table",
    "job",
    "pipeline",
    "bootstrap",
    "registry",
    "connect",
    "alertmanager",
)


class RunbookErrors(Exception):
    """A runbook cannot be used. `errors` are all of them, each with file, line and remedy."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


@dataclass(frozen=True)
class Step:
    """One step. `section` is triage, actions or post_incident; at most one of `probe` and `action` is set.

    `command` is a template for `fill`. `choices` make the step a decision, recorded with its reason. `when` are the
    verdicts of findings that recommend the step. `signal` is the part of the pipeline that it is about.
    """

    id: str
    section: str
    title: str
    probe: str | None = None
    action: str | None = None
    guard: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    command: str | None = None
    choices: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    signal: Signal = Signal.OTHER

    def recommended_by(self, findings: Iterable[Finding]) -> bool:
        """Whether a finding has one of the verdicts in `when`; a step without `when` is never recommended."""
        return any(finding.verdict in self.when for finding in findings)


@dataclass(frozen=True)
class Runbook:
    """`alerts` are glob patterns on alertname; `hash` are the first 12 digits of the SHA-256 of the file."""

    id: str
    title: str
    signal: Signal
    alerts: tuple[str, ...]
    symptoms: tuple[str, ...]
    steps: tuple[Step, ...]
    hash: str

    def section(self, name: str) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.section == name)

    def step(self, step_id: str) -> Step | None:
        return next((step for step in self.steps if step.id == step_id), None)


def parse(raw: bytes | str, filename: str, *, probes: Collection[str], actions: Collection[str]) -> Runbook:
    """Return the runbook in `raw`; its id is the file's name without `.yml`. Raises RunbookErrors."""
    document = read(raw, filename)
    problems = list(document.problems)
    if not isinstance(document.values, dict):
        if not problems:
            problems.append(Problem((), "not a mapping", "begin with title:, signal:, symptoms: and triage:"))
        raise RunbookErrors(document.render(problems))
    entry, wrong = validate(_RunbookEntry, document.values, _RunbookEntry.model_json_schema())
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


def choose(runbooks: Sequence[Runbook], alertname: str, labels: Mapping[str, str], signal: Signal) -> Runbook:
    """Return the runbook for an alert: the one the alert names (label `runbook`), else by its name, else by signal.

    Of several patterns that match a name the longest wins: it says most. When nothing fits, the generic
    runbook (signal `other`) does. Raises LookupError when there is no generic one either.
    """
    for runbook in runbooks:
        if runbook.id == labels.get("runbook"):
            return runbook
    by_name = [
        (len(pattern), runbook)
        for runbook in runbooks
        for pattern in runbook.alerts
        if fnmatch.fnmatchcase(alertname, pattern)
    ]
    if by_name:
        return max(by_name, key=lambda pair: pair[0])[1]
    for wanted in (signal, Signal.OTHER):
        for runbook in runbooks:
            if runbook.signal is wanted:
                return runbook
    raise LookupError("no runbook fits and there is no generic one: write one with signal: other")


def fill(command: str, pipeline: Pipeline | None, facts: Mapping[str, str] = NOTHING) -> str:
    """Return the command with the real names of `pipeline`, shell-quoted; `facts` (by placeholder) come first.

    A name that is not known stays as a word to replace: `{subject}` becomes SUBJECT. `{cdc}` is the slash command.
    """
    known = {**_names_of(pipeline), **{name: value for name, value in facts.items() if value}}

    def filled(match: re.Match[str]) -> str:
        name = match[1]
        if name == "cdc":
            return known.get("cdc", "/cdc")
        return shlex.quote(_one_line(known[name])) if name in known else name.upper()

    return _PLACEHOLDER.sub(filled, command)


# --- the file --------------------------------------------------------------------------------------


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


# --- leaves ----------------------------------------------------------------------------------------

_PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
_WORD_IN_BRACES = re.compile(r"(?<!\$)\{([a-z_]+)\}")


def _quoted_placeholders(command: str) -> Iterator[str]:
    """The placeholders inside '...' or "..."; there a filled-in quote would end the quoting. Comments are not read."""
    for line in command.splitlines():
        for quoted in re.findall(r"""'[^']*'|"(?:\\.|[^"\\])*\"|(?:^|(?<=\s))#.*$""", line):
            if not quoted.startswith("#"):
                yield from (match[0] for match in _PLACEHOLDER.finditer(quoted))


def _names_of(pipeline: Pipeline | None) -> dict[str, str]:
    if pipeline is None:
        return {}
    group = next(iter(pipeline.groups), None)
    names = {
        "pipeline": pipeline.name,
        "group": group.group if group else None,
        "job": next((consumer.job for consumer in pipeline.groups if consumer.job), None),
        "topic": next(iter(pipeline.topics), None),
        "connector": next(iter(pipeline.connectors), None),
        "source": pipeline.source_connector,
        "sink": pipeline.sink.connector if pipeline.sink else None,
        "subject": next(iter(pipeline.subjects), None),
        "dlq": pipeline.dlq,
        "table": pipeline.sink.table if pipeline.sink else None,
    }
    return {placeholder: name for placeholder, name in names.items() if name}


def _one_line(value: str) -> str:
    """A value with a line break would still be one shell word, but not one line to copy."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", value)
