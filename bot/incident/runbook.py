"""A runbook's values: symptoms, and steps in three sections. What an incident's checklist is made of.

A triage step may name a probe, which runs by itself when the incident opens, or ask a person; an action step may
name an action with its guard. Beside every automated step stands a command that does the same by hand.

Invariants
    Step ids are unique in a runbook: the journal refers to them.
    A command is filled only with shell-quoted values: a topic name cannot become a second command.

This module reads no YAML: see `runbook_file`.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")


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

    return PLACEHOLDER.sub(filled, command)


# --- leaves ----------------------------------------------------------------------------------------


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
