"""The replies of an incident's thread: findings, plans, lines of the timeline, and pages that notify.

Pure functions of the incident and its journal. A page is the only reply with the owner's mention in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import assert_never

from bot.incident import events as e
from bot.incident.guards import SECOND_PERSON
from bot.incident.state import ActionState, Incident, fold, suspect
from bot.incident.timeline import row
from bot.model import Finding, Plan, Signal, Status, counted
from bot.ports import Message
from bot.render import clicks
from bot.render.blocks import (
    SEVERITY_SIGN,
    STATUS_SIGN,
    Block,
    actions,
    button,
    clock,
    confirm,
    context,
    line,
    prose,
    section,
)
from bot.render.lint import fitting

_WORST_FIRST = (Status.RED, Status.YELLOW, Status.UNKNOWN, Status.GREEN)


# --- findings --------------------------------------------------------------------------------------


def render_findings(incident: Incident, now: datetime) -> Message:
    """Return what the probes saw, broken parts first and of those the most upstream first."""
    found = sorted(
        incident.findings.values(),
        key=lambda f: (_WORST_FIRST.index(f.status), f.signal.upstream_rank, f.probe, f.target),
    )
    broken = sum(1 for f in found if f.status in (Status.RED, Status.YELLOW))
    text = line(
        f"Findings for {incident.pipeline or incident.id}: {broken} of {counted(len(found), 'part')} broken", 120
    )

    def form(shown: int, evidence: int, width: int) -> Callable[[], Message]:
        return lambda: Message(text, tuple(_findings(found, now, shown, evidence, width)))

    return fitting((form(40, 3, 300), form(20, 2, 200), form(20, 1, 120), form(20, 0, 100), form(8, 0, 80)))


def _findings(found: Sequence[Finding], now: datetime, shown: int, evidence: int, width: int) -> Iterator[Block]:
    yield section("*What the probes saw*" if found else "*What the probes saw:* nothing yet")
    for finding in found[:shown]:
        yield section("\n".join(_finding(finding, now, evidence, width)))
    if len(found) > shown:
        yield context(f"+{counted(len(found) - shown, 'more finding')}")


def _finding(finding: Finding, now: datetime, evidence: int, width: int) -> Iterator[str]:
    part = f"{finding.signal.replace('_', ' ')} " if finding.signal is not Signal.OTHER else ""
    yield (
        f"{STATUS_SIGN[finding.status]} *{line(finding.verdict, 40)}* · {part}{line(finding.target, 120)} "
        f"· {clock(finding.at, now)}"
    )
    yield line(finding.headline.removeprefix(f"{finding.verdict}: "), 2 * width)
    yield from (f"• {line(said, width)}" for said in finding.evidence[:evidence])
    if len(finding.evidence) > evidence > 0:
        yield f"• +{counted(len(finding.evidence) - evidence, 'more line')}"
    yield from (f"• _not known:_ {line(said, width)}" for said in finding.not_known[: max(1, evidence)])


# --- plans -----------------------------------------------------------------------------------------


def render_plan(incident: Incident, key: str, entries: Sequence[e.Entry], ttl: timedelta, now: datetime) -> Message:
    """Return one action from its plan to its verified outcome; a plan that was refused at once is a reason."""
    action = incident.action(key)
    if action is None:
        return _refused_plan(incident, key, entries)
    text = line(f"{_standing_word(action)}: {action.plan.summary}", 120)

    def form(lines: int, width: int) -> Callable[[], Message]:
        return lambda: Message(text, tuple(_plan(incident, action, ttl, now, lines, width)))

    return fitting((form(10, 300), form(5, 200), form(3, 100), form(1, 60)))


def _refused_plan(incident: Incident, key: str, entries: Sequence[e.Entry]) -> Message:
    for entry in reversed(entries):
        if isinstance(entry.event, e.ActionRefused) and entry.event.key == key:
            named = line(entry.event.action.replace("_", " "), 60)
            return Message(
                line(f"Not planned: {entry.event.action.replace('_', ' ')}", 120),
                (section(f"{STATUS_SIGN[Status.UNKNOWN]} *Not planned: {named}*\n{prose(entry.event.reason, 1500)}"),),
            )
    return Message("This plan is not in the journal", (section("This plan is not in the journal."),))


_STANDING: Mapping[str, str] = {
    "planned": "Plan",
    "refused": "Not run",
    "cancelled": "Cancelled",
    "confirmed": "Queued",
    "started": "Running",
    "succeeded": "Done",
    "failed": "Failed",
    "unknown": "Outcome unknown",
}


def _plan(
    incident: Incident, action: ActionState, ttl: timedelta, now: datetime, lines: int, width: int
) -> Iterator[Block]:
    plan = action.plan
    yield section(f"*{_STANDING[action.status]}: {line(plan.summary, 2 * width)}*\n{_standing(action, now, width)}")
    if action.status == "planned":
        for title, said in (
            ("What it does", plan.steps),
            ("Mind", plan.warnings),
            ("Only if, checked again just before", plan.preconditions),
        ):
            if said:
                yield section("\n".join(_listed(title, said, lines, width)))
    if action.evidence:
        yield section("\n".join(_listed("What the probe saw afterwards", action.evidence, lines, width)))
    yield context(*_guarded(action, plan, ttl, now))
    if action.status == "planned":
        yield actions(_plan_buttons(incident, action), f"plan:{action.key}")


def _listed(title: str, said: Sequence[str], lines: int, width: int) -> Iterator[str]:
    yield f"*{title}*"
    yield from (f"• {line(one, width)}" for one in said[:lines])
    if len(said) > lines:
        yield f"• +{len(said) - lines} more"


def _standing(action: ActionState, now: datetime, width: int) -> str:
    """How it stands, in one sentence; success is what a probe saw, not what the API answered."""
    detail = f" {prose(action.detail, 3 * width)}" if action.detail else ""
    match action.status:
        case "planned":
            return "Nothing was changed yet."
        case "refused":
            return f"{STATUS_SIGN[Status.UNKNOWN]} Refused.{detail}"
        case "cancelled":
            return "Cancelled. Nothing was changed."
        case "confirmed":
            return f"Queued by {_name(action.confirmed_by)}; its preconditions are read once more first."
        case "started":
            since = f" since {clock(action.started_at, now)}" if action.started_at else ""
            return f"Running{since}."
        case "failed":
            return f"{STATUS_SIGN[Status.RED]} Failed.{detail}"
        case "unknown":
            return (
                f"{STATUS_SIGN[Status.YELLOW]} *Outcome unknown: check by hand.* It is not run again by itself.{detail}"
            )
        case "succeeded":
            return _verified(action) + detail
        case _:
            assert_never(action.status)


def _verified(action: ActionState) -> str:
    if action.verified is None:
        return f"{STATUS_SIGN[Status.UNKNOWN]} Accepted; not verified yet, a probe is looking."
    if action.verified:
        return f"{STATUS_SIGN[Status.GREEN]} Done and verified."
    return f"{STATUS_SIGN[Status.RED]} It was accepted, but *it did not help*: see below."


def _standing_word(action: ActionState) -> str:
    """What an action came to: accepted is not done, and done is what a probe has seen."""
    if action.status == "succeeded" and action.verified is not True:
        return "Accepted, not verified yet" if action.verified is None else "Did not help"
    return _STANDING[action.status]


def _guarded(action: ActionState, plan: Plan, ttl: timedelta, now: datetime) -> Iterator[str]:
    yield f"Asked by {_name(action.requested_by)}, {clock(action.planned_at, now)}"
    if action.guard == SECOND_PERSON:
        approved = action.approved_by
        yield f"Approved by {_name(approved)}" if approved else "Guard: a second person must approve"
    else:
        yield "Guard: a responder"
    if action.status == "planned":
        yield f"Valid until {clock(action.planned_at + ttl, now)}"
    if action.confirmed_by is not None:
        yield f"Run by {_name(action.confirmed_by)}"
    yield f"Plan {line(action.key, 40)}"


def _plan_buttons(incident: Incident, action: ActionState) -> list[Block]:
    target = f"{action.plan.action.replace('_', ' ')} on {action.plan.target}"
    if action.guard == SECOND_PERSON and action.approved_by is None:
        first = button(
            "Approve",
            f"action.approve:{action.key}",
            clicks.of_action(incident, action, "approve"),
            style="primary",
            confirm=confirm("Approve this plan?", f"You allow: {target}. It is not run yet.", "Approve"),
        )
    else:
        first = button(
            "Run",
            f"action.run:{action.key}",
            clicks.of_action(incident, action, "run"),
            style="danger",
            confirm=confirm("Run this plan?", f"It changes a running system: {target}.", "Run", danger=True),
        )
    cancel = button("Cancel", f"action.cancel:{action.key}", clicks.of_action(incident, action, "cancel"))
    return [first, cancel]


def _name(who: e.Who | None) -> str:
    return line(who.name, 80) if who else "someone"


# --- one line of the timeline ----------------------------------------------------------------------


def render_event(version: str, entries: Sequence[e.Entry], now: datetime) -> Message:
    """Return the timeline's row of one entry, with what it stands on."""
    entry = next((entry for entry in entries if str(entry.version) == version), None)
    if entry is None:
        return Message(f"Entry {line(version, 20)} is not in the journal")
    told = row(fold(earlier for earlier in entries if earlier.version < entry.version), entry)
    sign = _sign(entry.event)

    def form(evidence: int, width: int) -> Callable[[], Message]:
        said = "".join(f"\n• {line(one, 300)}" for one in told.evidence[:evidence])
        words = f"{sign} {clock(entry.at, now)} · {line(told.what, width)}{said}".removeprefix("• ")
        return lambda: Message(line(told.what, 120) or "(no words)", (context(words),))

    return fitting((form(4, 1500), form(1, 300), form(0, 100)))


def _sign(event: e.Event) -> str:
    match event:
        case e.SeverityRaised(severity=severity):
            return SEVERITY_SIGN[severity]
        case e.RecoveryProved() | e.IncidentMitigated() | e.IncidentResolved(verified=True):
            return STATUS_SIGN[Status.GREEN]
        case e.RecoveryNotVerified() | e.IncidentResolved() | e.AlertEnded():
            return STATUS_SIGN[Status.UNKNOWN]
        case e.NoteAdded():
            return "\N{MEMO}"
        case _:
            return "•"


def _summary(incident: Incident, key: str) -> str:
    action = incident.action(key)
    return action.plan.summary if action else "an action"


# --- pages -----------------------------------------------------------------------------------------


def render_page(incident: Incident, kind: str, mention: str, now: datetime) -> Message:
    """Return a reply that notifies the owner: what happened, in one line, and what it wants of a person."""
    sign, what, details, wanted = _page(incident, kind)
    where = line(incident.pipeline or incident.id, 40)
    room = max(40, 120 - len(where) - len(mention) - 3)
    text = f"{where}: {line(what, room)} {mention}".strip()
    body = f"{sign} *{line(what, 300)}* · {where}"
    bullet = "\n• " if len(details) > 1 else "\n"
    said = "".join(f"{bullet}{line(detail, 300)}" for detail in details[:8] if detail)
    ask = f"\n*Next:* {wanted}" if wanted else ""
    to = f"\n{mention}" if mention else ""
    return fitting(
        (
            lambda: Message(text, (section(f"{body}{said}{ask}{to}"),)),
            lambda: Message(text, (section(f"{body}{to}"),)),
        )
    )


def _page(incident: Incident, kind: str) -> tuple[str, str, tuple[str, ...], str]:
    """Return (sign, what, details, what is wanted of a person)."""
    name, _, rest = kind.partition("-")
    red, yellow, green = (STATUS_SIGN[s] for s in (Status.RED, Status.YELLOW, Status.GREEN))
    found = suspect(incident)
    cause = found.headline if found else incident.title
    if name == "severity":
        word = rest or str(incident.severity)
        return SEVERITY_SIGN[incident.severity], f"Severity raised to {word}", (cause,), ""
    if kind == "data-lost":
        lost = [f.headline for f in incident.findings.values() if f.verdict == "DATA_LOST"]
        return red, "Data was lost", tuple(lost) or (cause,), "find out which records, and who must know."
    if name == "approval":
        asked = _summary(incident, rest)
        return yellow, f"Approval wanted: {asked}", (), "a second person reads the plan above and presses *Approve*."
    if name == "unknown":
        action = incident.action(rest)
        detail = (action.detail,) if action else ()
        wanted = "look by hand whether it happened; it is not run again by itself."
        return yellow, f"Outcome unknown: {_summary(incident, rest)}", detail, wanted
    if name == "recovered":
        return green, "Recovery proved", incident.recovery.evidence, ""
    return SEVERITY_SIGN[incident.severity], kind.replace("-", " "), (cause,), ""
