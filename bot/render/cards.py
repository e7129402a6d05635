"""What an incident says in Slack: one card in the channel, and the slots of its thread.

`render_slot` is a pure function of the incident as it stands, its journal and `View`; the same state gives
the same message at any time. A person at 3 a.m. reads top-down: how bad, what is broken, the numbers now,
who is on it, what to do next; three to five buttons for this moment, the rest in a menu.

Invariants
    Every message passes `lint.violations`: what is too long is shown shorter.
    A colour never stands without its word.
    Only the owner written in cdc.yml can mention anybody; every other text is foreign and escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from bot.incident.announce import mentions
from bot.incident.events import Entry
from bot.incident.policy import Policy
from bot.incident.state import AlertState, Incident, cause_of, suspect
from bot.incident.timeline import duration
from bot.model import NOTHING, Finding, Status, counted
from bot.ports import Message
from bot.render import clicks
from bot.render.blocks import (
    SEVERITY_SIGN,
    STATUS_SIGN,
    Block,
    actions,
    button,
    clock,
    context,
    header,
    line,
    overflow,
    section,
    units,
)
from bot.render.checklist import progress, render_checklist
from bot.render.lint import fitting
from bot.render.next_step import next_step
from bot.render.replies import render_event, render_findings, render_page, render_plan

LOCK_SCREEN = 120


def mention_of(owner: str) -> str:
    """Return mrkdwn that notifies the owner of cdc.yml: a user id, a user group id, or Slack's own syntax for them.

    A name like `@data-platform` cannot be pinged by an app: it is shown as it is written. Whole-channel
    calls are not owners.
    """
    owner = owner.strip()
    if re.fullmatch(r"<@[UW][A-Z0-9]+>|<!subteam\^S[A-Z0-9]+(\|@?[\w. -]+)?>", owner):
        return owner
    if re.fullmatch(r"[UW][A-Z0-9]{6,}", owner):
        return f"<@{owner}>"
    if re.fullmatch(r"S[A-Z0-9]{6,}", owner):
        return f"<!subteam^{owner}>"
    return line(owner, 80)


@dataclass(frozen=True)
class View:
    """What rendering needs beside the incident. `mention` turns cdc.yml's owner into mrkdwn.

    `names` fills the placeholders of commands that no pipeline names: `bootstrap`, `registry`, `connect`, ...
    """

    policy: Policy
    now: datetime
    mention: Callable[[str], str] = mention_of
    names: Mapping[str, str] = field(default_factory=lambda: NOTHING)


def render_slot(slot: str, incident: Incident, entries: Sequence[Entry], view: View) -> Message:
    """Return the message of one slot (see `bot.incident.announce`), with its key in the metadata.

    Raises ValueError for a slot that announce does not know.
    """
    kind, _, name = slot.partition(":")
    match kind:
        case "card":
            message = render_card(incident, view)
        case "checklist":
            pipeline = view.policy.pipeline(incident.pipeline)
            names = {**view.names, "cdc": view.policy.command}
            policy = view.policy
            message = render_checklist(
                incident, pipeline, names, view.now, lambda action: policy.enabled(action, incident.pipeline)
            )
        case "findings":
            message = render_findings(incident, view.now)
        case "plan":
            message = render_plan(incident, name, entries, view.policy.plan_ttl, view.now)
        case "event":
            message = render_event(name, entries, view.now)
        case "page":
            message = render_page(incident, name, owner_mention(incident, view), view.now)
        case _:
            raise ValueError(f"there is no slot {slot}")
    payload = {"incident": incident.id, "slot": slot, "key": f"{incident.id}/{slot}"}
    return replace(message, metadata={"event_type": "cdc_incident", "event_payload": payload})


def owner_mention(incident: Incident, view: View) -> str:
    return view.mention(incident.owner) if incident.owner else ""


# --- the card --------------------------------------------------------------------------------------


def render_card(incident: Incident, view: View) -> Message:
    """Return the parent message. Shorter forms show fewer alerts and numbers; the first lines always stay."""
    mention = owner_mention(incident, view) if mentions("card", incident.severity) else ""
    text = lock_screen(incident, mention)

    def form(alerts: int, numbers: int, title: int) -> Callable[[], Message]:
        return lambda: Message(text, tuple(_card(incident, view, mention, alerts, numbers, title)))

    return fitting((form(5, 8, 600), form(3, 4, 300), form(1, 2, 150), form(0, 0, 80)))


def _card(incident: Incident, view: View, mention: str, alerts: int, numbers: int, title: int) -> Iterator[Block]:
    where = f" · {view.policy.environment}" if view.policy.environment else ""
    about = "test" if incident.is_test else incident.pipeline or "no pipeline"
    yield header(f"{_sign(incident)} · {about} · {incident.id}{where}")
    yield section(_cause(incident, title))
    if lines := number_lines(incident)[:numbers]:
        yield section("\n".join(lines))
    if lines := _alert_lines(incident, view.now, alerts):
        yield section("\n".join(lines))
    if warning := _recovery_line(incident):
        yield section(warning)
    yield section(f"*Next:* {next_step(incident, view.policy, view.now)}")
    yield actions(_buttons(incident), "incident")
    yield context(*_standing(incident, view, mention))


def _sign(incident: Incident) -> str:
    if incident.status == "resolved":
        sign = STATUS_SIGN[Status.GREEN if incident.resolved_verified else Status.UNKNOWN]
        proved = "" if incident.resolved_verified else ", recovery not verified"
        return f"{sign} Resolved{proved} ({incident.severity})"
    status = "" if incident.status == "open" else f", {incident.status}"
    return f"{SEVERITY_SIGN[incident.severity]} {incident.severity.capitalize()}{status}"


def _cause(incident: Incident, limit: int) -> str:
    """The suspect in a sentence; without one, what the alerts say and that nobody knows yet."""
    found = suspect(incident)
    if found is not None:
        return f"*{line(found.headline, limit)}*\nSuspect: {found_part(found)}"
    title = f"*{line(incident.title, limit)}*"
    if incident.is_test:
        return title
    if not incident.is_open or incident.worst:
        was = min(incident.worst.values(), key=lambda f: cause_of(f).upstream_rank, default=None)
        return f"*Was: {line(was.headline, limit)}*\n{found_part(was)}" if was else title
    if not incident.findings:
        return f"{title}\nSuspect: not known yet, no probe has answered"
    return f"{title}\nSuspect: not known, no probe found a broken part"


def found_part(found: Finding) -> str:
    """`🔴 INCOMPATIBLE · schema customers-value`. What is over its line is named so, whatever else is not known."""
    part = found.signal.replace("_", " ")
    word = "OVER ITS LINE" if found.verdict == "UNKNOWN" and found.status is not Status.UNKNOWN else found.verdict
    return f"{STATUS_SIGN[found.status]} {line(word, 40)} · {part} `{line(found.target, 120)}`"


DURATION = "duration"
NUMBERS = (
    ("lag_records", "Lag", "records"),
    ("time_lag_s", "Time lag", DURATION),
    ("dead_letters", "Dead letters", "records"),
    ("records", "Dead letters", "records"),
    ("failed_tasks", "Failed tasks", ""),
    ("refused", "Refused schemas", ""),
)


def number_lines(incident: Incident) -> list[str]:
    """Return `Lag *120 records*, 9,000 at alert time · customers_flink`: what probes read, never what alerts said."""
    lines = []
    for key, now in sorted(incident.findings.items(), key=lambda item: item[1].signal.upstream_rank):
        first = incident.first.get(key, now)
        shown: set[str] = set()
        for fact, label, unit in NUMBERS:
            value, then = _number(now, fact), _number(first, fact)
            if label in shown or (value is None and then is None) or (unit == DURATION and not (value or then)):
                continue
            shown.add(label)
            before_unit = unit if unit == DURATION else ""
            before = f", {_amount(then, before_unit)} at alert time" if then is not None and then != value else ""
            lines.append(f"{label} *{_amount(value, unit)}*{before} · {line(now.target, 120)}")
    return lines


def _number(finding: Finding, fact: str) -> float | int | None:
    value = finding.facts.get(fact)
    if fact == "failed_tasks" and isinstance(value, list | tuple):
        return len(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _amount(value: float | int | None, unit: str) -> str:
    if value is None:
        return "not known"
    if unit == DURATION:
        return duration(value)
    number = f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
    return f"{number} {unit if value != 1 else unit.removesuffix('s')}".strip()


def _alert_lines(incident: Incident, now: datetime, shown: int) -> list[str]:
    """Firing alerts first, the newest first; the rest are counted."""
    ranked = sorted(incident.alerts, key=lambda a: (a.status == "firing", a.starts_at), reverse=True)
    lines = [_alert_line(alert, now) for alert in ranked[:shown]]
    more = []
    if len(ranked) > len(lines):
        more.append(f"+{counted(len(ranked) - len(lines), 'more alert')}")
    if incident.hidden_alerts:
        more.append(f"+{incident.hidden_alerts:,} not shown by Alertmanager (its list was cut)")
    if incident.reopened:
        times = "once" if incident.reopened == 1 else f"{incident.reopened} times"
        more.append(f"flapped {times}")
    return [*lines, " · ".join(more)] if more else lines


def _alert_line(alert: AlertState, now: datetime) -> str:
    name = f"*{line(alert.name, 80)}*"
    if alert.status == "firing":
        words = f"firing for {duration((now - alert.starts_at).total_seconds())}, since {clock(alert.starts_at, now)}"
    else:
        ended = f" at {clock(alert.ends_at, now)}" if alert.ends_at else ""
        words = f"{alert.status}{ended}"
    note = f", {line(alert.note, 100)}" if alert.note else ""
    said = alert.annotations.get("summary") or alert.annotations.get("description") or ""
    said = said if alert.status == "firing" else ""
    return f"• {name} {words}{note}" + (f"\n   _at alert time:_ {line(said, 200)}" if said else "")


def _recovery_line(incident: Incident) -> str:
    recovery = incident.recovery
    if recovery.proved is True:
        return (
            f"{STATUS_SIGN[Status.GREEN]} *Recovery proved:* {'; '.join(line(e, 150) for e in recovery.evidence[:4])}"
        )
    if recovery.proved is False:
        cleared = "Alerts cleared, recovery not verified" if _cleared(incident) else "Recovery not verified"
        return f"{STATUS_SIGN[Status.UNKNOWN]} *{cleared}:* {'; '.join(line(e, 150) for e in recovery.evidence[:4])}"
    return ""


def _cleared(incident: Incident) -> bool:
    return bool(incident.alerts) and incident.alerts_cleared


def _standing(incident: Incident, view: View, mention: str) -> Iterator[str]:
    """Who is on it and since when, in the small print."""
    owner = mention or (view.mention(incident.owner) if incident.owner else "")
    owner = "" if not mention and owner.startswith("<") else owner  # an id would only be noise, or ping
    lead = f"Lead: {line(incident.lead.name, 80)}" if incident.lead else "Nobody leads yet"
    lead = "" if incident.is_test and incident.lead is None else lead
    if who := " · ".join(filter(None, (lead, f"Owner: {owner}" if owner else ""))):
        yield who
    times = [f"Opened {clock(incident.opened_at, view.now)}"]
    for word, at in (
        ("acknowledged", incident.acknowledged_at),
        ("mitigated", incident.mitigated_at),
        ("resolved", incident.resolved_at),
    ):
        if at is not None:
            times.append(f"{word} after {duration((at - incident.opened_at).total_seconds())}")
    yield " · ".join(times)
    if incident.steps or not incident.is_test:
        yield f"Checklist {progress(incident)}"
    if incident.links:
        yield "See also " + ", ".join(line(other, 40) for other, _ in incident.links[:5])


# --- buttons ---------------------------------------------------------------------------------------

_LABELS = {
    "ack": "Acknowledge",
    "note": "Note…",
    "mitigate": "Mitigated",
    "resolve": "Resolve",
    "reopen": "Reopen",
    "postmortem": "Postmortem",
    "lead": "I lead",
    "assign": "Assign the lead…",
    "resolve_reason": "Resolve without proof…",
}


def _buttons(incident: Incident) -> list[Block]:
    """Three or four for this moment; `incident.more` holds the rest. A test needs next to none."""
    shown: tuple[str, ...]
    more: tuple[str, ...]
    match incident.status:
        case "open":
            shown, more = ("ack", "note", "mitigate"), ("resolve", "resolve_reason", "assign", "postmortem")
        case "acknowledged":
            shown = ("mitigate", "resolve", "note")
            more = ("lead", "assign", "resolve_reason", "postmortem")
        case "mitigated":
            shown, more = ("resolve", "note", "postmortem"), ("lead", "assign", "resolve_reason")
        case _:
            shown, more = ("postmortem", "reopen", "note"), ()
    if incident.is_test:
        shown = ("ack",) if incident.status == "open" else ("note",)
        more = ("resolve_reason",) if incident.status in ("acknowledged", "mitigated") else ()
    primary = {"open": "ack", "resolved": "postmortem"}.get(incident.status)
    if incident.is_open and incident.recovery.proved:
        primary = "resolve"
    made = [
        button(
            _LABELS[verb],
            f"incident.{verb}",
            clicks.of_incident(incident, verb),
            style="primary" if verb == primary else None,
        )
        for verb in shown
    ]
    if more:
        options = [(_LABELS[verb], clicks.of_incident(incident, verb)) for verb in more]
        made.append(overflow("incident.more", options))
    return made


# --- the lock screen -------------------------------------------------------------------------------


def lock_screen(incident: Incident, mention: str = "") -> str:
    """Return severity, pipeline, cause and number in 120 characters, with the mention when there is one.

    The mention stands here too because a client that shows no blocks notifies by the text alone.
    """
    word = "RESOLVED" if not incident.is_open else incident.severity.upper()
    start = f"{word} {line(incident.pipeline or incident.id, 40)}: "
    number = _headline_number(incident)
    tail = f"; {number}" if number else ""
    if mention and units(start) + units(mention) + 21 <= LOCK_SCREEN:
        tail += f" {mention}"
    if units(start) + units(tail) + 20 > LOCK_SCREEN:
        tail = ""
    found = suspect(incident)
    cause = found.headline if found and incident.is_open else incident.title
    return start + line(cause, LOCK_SCREEN - units(start) - units(tail)) + tail


def _headline_number(incident: Incident) -> str:
    """The lag, else the dead letters: whichever the headline does not give already."""
    found = suspect(incident)
    for fact, words in (("lag_records", "lag {:,}"), ("dead_letters", "")):
        values = [v for f in incident.findings.values() if (v := _number(f, fact)) is not None]
        if values and max(values) > 0 and f"{max(values):,}" not in (found.headline if found else ""):
            return words.format(max(values)) or counted(int(max(values)), "dead letter")
    return ""
