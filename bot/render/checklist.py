"""The checklist: the runbook's steps with what the probes saw right there, commands to copy, and buttons.

A step that waits has its buttons under it; a finished one shrinks to a line. The message never exceeds
Slack's limits: buttons move into the row's menu, then commands go, then the end of the list is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from bot.incident.runbook import fill
from bot.incident.state import Incident, StepState
from bot.model import Finding, Pipeline, Signal, Status, counted
from bot.ports import Message
from bot.render import clicks
from bot.render.blocks import (
    STATUS_SIGN,
    Block,
    actions,
    button,
    clock,
    code,
    context,
    divider,
    line,
    overflow,
    section,
    seen,
)
from bot.render.lint import fitting
from bot.render.next_step import next_todo

SECTION_TITLES = {"triage": "Triage", "actions": "Actions", "post_incident": "After the incident"}
_WORST_FIRST = (Status.RED, Status.YELLOW, Status.UNKNOWN, Status.GREEN)
_PLACEHOLDER = {
    Signal.SCHEMA: "subject",
    Signal.CONNECTOR: "connector",
    Signal.DEAD_LETTERS: "dlq",
    Signal.LAG: "group",
}


@dataclass(frozen=True)
class _Form:
    """How much of it is shown. `rows` False puts a row's buttons into its menu: one block a step."""

    rows: bool
    commands: bool
    findings: bool
    title: int
    steps: int


_FORMS = (
    _Form(True, True, True, 200, 100),
    _Form(False, True, True, 200, 100),
    _Form(False, False, True, 120, 100),
    *(_Form(False, False, False, 80, count) for count in (40, 30, 20, 12, 6, 3, 0)),
)


@dataclass(frozen=True)
class _Around:
    """What stands around the incident: see `render_checklist`."""

    pipeline: Pipeline | None
    names: Mapping[str, str]
    now: datetime
    enabled: Callable[[str], bool]

    def can_plan(self, step: StepState) -> bool:
        return step.step.action is not None and self.enabled(step.step.action)


def render_checklist(
    incident: Incident,
    pipeline: Pipeline | None,
    names: Mapping[str, str],
    now: datetime,
    enabled: Callable[[str], bool],
) -> Message:
    """Return the checklist; `names` fill the commands, `cdc` among them, where neither probe nor pipeline does.

    `enabled` tells whether cdc.yml lets the bot plan an action here: a step whose action it does not is done by hand.
    """
    text = line(f"Checklist of {incident.id}: {progress(incident)}", 120)
    around = _Around(pipeline, names, now, enabled)
    return fitting(
        (lambda form=form: Message(text, tuple(_checklist(incident, around, form))))  # type: ignore[misc]
        for form in _FORMS
    )


def progress(incident: Incident) -> str:
    """`3 of 5 steps`; skipped ones count as settled, and are told."""
    settled = [s for s in incident.steps if s.status != "todo"]
    skipped = sum(1 for s in settled if s.status == "skipped")
    told = f" ({skipped} skipped)" if skipped else ""
    return f"{len(settled)} of {counted(len(incident.steps), 'step')}{told}" if incident.steps else "has no steps"


def _checklist(incident: Incident, around: _Around, form: _Form) -> Iterator[Block]:
    runbooks = ", ".join(line(r.title, 60) for r in incident.runbooks[:4])
    yield section(f"*Checklist* · {progress(incident)}" + (f" · {runbooks}" if runbooks else ""))
    shown = _most_pressing(incident, form.steps)
    upcoming = next_todo(incident) if incident.is_open else None
    for name, title in SECTION_TITLES.items():
        rows = [s for s in incident.steps if s.step.section == name and s.step.id in shown]
        if not rows:
            continue
        if form.rows:
            yield divider()
        yield context(f"*{title}*")
        for step in rows:
            yield from _row(incident, step, around, form, step is upcoming)
    left = len(incident.steps) - len(shown)
    if left:
        ask = code(f"{around.names.get('cdc', '/cdc')} incident {incident.id}")
        yield context(f"+{counted(left, 'more step')}, for want of room. All of them: {ask}")


def _most_pressing(incident: Incident, count: int) -> frozenset[str]:
    """The ids of the steps to keep: those still to do come before the settled ones."""
    ranked = sorted(incident.steps, key=lambda s: s.status != "todo")
    return frozenset(s.step.id for s in ranked[:count])


def _row(incident: Incident, step: StepState, around: _Around, form: _Form, upcoming: bool) -> Iterator[Block]:
    text = "\n".join(_lines(incident, step, around, form, upcoming))
    can_plan = around.can_plan(step)
    menu = overflow(f"step.more:{step.step.id}", _menu(incident, step, form.rows, can_plan))
    if step.status == "todo" and form.rows:
        yield section(text, block_id=f"step:{step.step.id}")
        yield actions([*_buttons(incident, step, can_plan), menu], f"do:{step.step.id}")
    else:
        yield section(text, accessory=menu, block_id=f"step:{step.step.id}")


def _lines(incident: Incident, step: StepState, around: _Around, form: _Form, upcoming: bool) -> Iterator[str]:
    title = line(step.step.title, form.title)
    findings = findings_of(incident, step)
    if step.status == "todo":
        words = []
        if incident.is_open and step.step.recommended_by(incident.findings.values()):
            words.append("*recommended*")
        if upcoming:
            words.append("*next*")
        yield " · ".join([f"☐ {title}", *words])
    else:
        yield f"{_settled(step)} {title}"
        yield _by_whom(step, around.now)
    if form.findings:
        for finding in findings[:2]:
            yield f"{seen(finding)} · {line(finding.target, 80)}"
        if len(findings) > 2:
            yield f"+{counted(len(findings) - 2, 'more finding')} of this probe"
        if step.step.probe and not findings and step.status == "todo" and incident.is_open:
            why = (
                "the probe has not answered yet"
                if around.pipeline
                else "no probe runs, this pipeline is not in cdc.yml"
            )
            yield f"{STATUS_SIGN[Status.UNKNOWN]} UNKNOWN: {why}"
    if form.commands and step.step.command and step.status == "todo":
        facts = {**_facts(findings, around.names), **_refused(incident)}
        yield code(fill(step.step.command, around.pipeline, facts), 700)
    if step.step.action and step.status == "todo" and not around.can_plan(step):
        yield f"_not enabled in cdc.yml: {'run' if step.step.command else 'do'} it by hand_"


def findings_of(incident: Incident, step: StepState) -> list[Finding]:
    """What the step's probe saw, worst first."""
    found = [f for (probe, _), f in incident.findings.items() if probe == step.step.probe]
    return sorted(found, key=lambda f: _WORST_FIRST.index(f.status))


def _refused(incident: Incident) -> Mapping[str, str]:
    """The subject that the registry refused, where a connector's trace names it: that one is to be looked at."""
    for finding in incident.findings.values():
        refusal = finding.facts.get("refusal")
        if isinstance(refusal, Mapping) and refusal.get("subject"):
            return {"subject": str(refusal["subject"])}
    return {}


def _facts(findings: list[Finding], names: Mapping[str, str]) -> Mapping[str, str]:
    """The names a command is filled with: what the probe found broken comes before the pipeline's first."""
    facts = dict(names)
    for finding in findings:
        if finding.status is not Status.GREEN and (name := _PLACEHOLDER.get(finding.signal)):
            facts.setdefault(name, finding.target)
    return facts


def _settled(step: StepState) -> str:
    return "\N{WHITE HEAVY CHECK MARK} Done:" if step.status == "done" else "⏭ Skipped:"


def _by_whom(step: StepState, now: datetime) -> str:
    who = line(step.who.name, 60) if step.who else "someone"
    at = f", {clock(step.at, now)}" if step.at else ""
    chosen = f" · chose *{line(step.choice, 100)}*" if step.choice else ""
    reason = f" · {line(step.reason, 300)}" if step.reason else ""
    return f"_{who}{at}_{chosen}{reason}"


def _buttons(incident: Incident, step: StepState, can_plan: bool) -> list[Block]:
    if can_plan and step.step.action:
        label = f"Plan: {step.step.action.replace('_', ' ')}"
        return [button(label, f"action.plan:{step.step.id}", clicks.of_step(incident, step, "plan"))]
    verb = "choose" if step.step.choices else "done"
    label = "Decide…" if step.step.choices else "Done"
    return [button(label, f"step.done:{step.step.id}", clicks.of_step(incident, step, verb))]


def _menu(incident: Incident, step: StepState, has_buttons: bool, can_plan: bool) -> list[tuple[str, str]]:
    """What a step's menu offers; where the row has no buttons of its own, their verbs too."""
    verbs: list[tuple[str, str]] = []
    if step.status != "todo":
        verbs.append(("Undo: to do again", "undo"))
    else:
        settle = "choose" if step.step.choices else "done"
        words = "Decide…" if step.step.choices else "Done by hand" if can_plan else "Done"
        if can_plan and step.step.action and not has_buttons:
            verbs.append((f"Plan: {step.step.action.replace('_', ' ')}", "plan"))
        if can_plan or not has_buttons:
            verbs.append((words, settle))
        verbs.append(("Skip…", "skip"))
    return [(label, clicks.of_step(incident, step, verb)) for label, verb in verbs]
