"""A postmortem as Markdown to send and to fill in, and as JSON.

It states what the journal proves, with the evidence beside it, and says what is not known. What only people can
say (root cause, what went well, owners, due dates) is left blank for them; nothing is invented.
Foreign text is made safe: no raw HTML, no accidental table, list, heading or link; what is too long is cut and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from bot.incident.documents import finding_document, incident_summary, row_document, time_or_null
from bot.incident.facts import ActionFacts, Amount, FindingFacts, Moment, PostmortemFacts
from bot.incident.state import accuses
from bot.incident.timeline import duration, rfc3339
from bot.model import Finding, Status

LONGEST = 600
IN_A_ROW = 200
TO_FILL = "_to be written_"
HARM = "Harm began, at the latest"


def render_markdown(facts: PostmortemFacts) -> str:
    """Return the postmortem, ready to send; ends with one newline."""
    parts = (
        _heading(facts),
        _summary(facts),
        _impact(facts),
        _times(facts),
        _findings(facts),
        _actions(facts),
        _decisions(facts),
        _left_out(facts),
        _timeline(facts),
        _for_people(),
        _tasks(facts),
        _unknown(facts),
        _provenance(facts),
    )
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"


# --- the parts, as they are read -----------------------------------------------------------------


def _heading(facts: PostmortemFacts) -> Iterator[str]:
    incident = facts.incident
    yield f"# Postmortem {incident.id}: {md(incident.title)}"
    yield ""
    state = {True: "resolved, recovery proved", False: "resolved **without proof of recovery**", None: incident.status}
    lead = md(incident.lead.name) if incident.lead else "nobody took the lead"
    yield f"- Pipeline: {md(incident.pipeline or 'none named')}"
    yield f"- Severity: {incident.severity}"
    yield f"- Status: {state[incident.resolved_verified]}"
    yield f"- Lead: {lead}"
    if facts.people:
        yield f"- Took part: {', '.join(md(name) for name in facts.people)}"
    if incident.links:
        yield f"- Linked incidents: {', '.join(_link(other, reason) for other, reason in incident.links)}"
    if incident.is_open:
        yield ""
        yield f"> **Draft.** The incident is not over; this is how it stood at {rfc3339(facts.made_at)}."
    for flag in facts.flags:
        yield ""
        yield f"> **Note:** {md(flag)}"


def _summary(facts: PostmortemFacts) -> Iterator[str]:
    yield "## Summary"
    yield ""
    yield " ".join(sentence for sentence in _sentences(facts) if sentence)
    yield ""
    yield f"Root cause and trigger: {TO_FILL}"


def _sentences(facts: PostmortemFacts) -> Iterator[str]:
    incident, times = facts.incident, facts.times
    noticed, harm = times.noticed, times.harm_began
    about = f"pipeline {md(incident.pipeline)}" if incident.pipeline else "no named pipeline"
    names = ", ".join(md(name) for name in dict.fromkeys(alert.name for alert in incident.alerts))
    alerts = f" ({names})" if names else ""
    yield f"On {noticed.at:%-d %B %Y} at {_clock(noticed.at)} UTC {md(noticed.why)}{alerts} for {about}."
    if harm is not None and times.detect_s is not None and times.detect_s >= 1:
        yield f"Harm had begun at {_clock(harm.at)} at the latest, {duration(times.detect_s)} earlier: {md(harm.why)}."
    if facts.cause is None:
        yield "No probe saw a broken part."
    elif accuses(facts.cause):
        yield f"The most upstream broken part was {_ended(_named(facts.cause))}"
    else:
        yield f"Of the part that the alerts name the probes said: {_ended(_named(facts.cause))}"
    if times.acknowledge_s is not None and incident.lead is not None:
        after = f"after {duration(times.acknowledge_s)}" if times.acknowledge_s >= 1 else "at once"
        yield f"It was acknowledged {after}; {md(incident.lead.name)} led."
    for decision in facts.decisions:
        yield f"{md(decision.who)} decided {md(decision.decided)} ({md(decision.about)}): {md(decision.reason)}."
    for action in facts.actions:
        if action.verified:
            by = f", run by {md(action.confirmed_by)}," if action.confirmed_by else ""
            yield f"{md(action.action)} on {md(action.target)}{by} was verified to have worked."
        elif action.verified is False:
            yield f"{md(action.action)} on {md(action.target)} was run and did not help."
    yield _ending(facts)
    amounts = ((facts.delayed, "delayed"), (facts.dead_lettered, "dead-lettered"), (facts.lost, "lost"))
    yield f"Records {', '.join(f'{word}: {_amount(amount)}' for amount, word in amounts)}."


def _ending(facts: PostmortemFacts) -> str:
    incident, times = facts.incident, facts.times
    if times.resolved_at is None:
        return f"It is {incident.status}, not resolved."
    took = times.resolve_s if times.resolve_s is not None else (times.resolved_at - times.noticed.at).total_seconds()
    since = "after harm began" if times.resolve_s is not None else "after it was noticed"
    how = "recovery was proved" if incident.resolved_verified else "**recovery was not proved**"
    return f"It was resolved {duration(took)} {since}; {how}."


def _impact(facts: PostmortemFacts) -> Iterator[str]:
    yield "## Impact"
    yield ""
    yield "| | records | from |"
    yield "|---|---:|---|"
    for name, amount in (("Delayed", facts.delayed), ("Dead-lettered", facts.dead_lettered), ("Lost", facts.lost)):
        source = "; ".join(md(line) for line in (amount.why_not_known, *amount.evidence) if line)
        yield f"| {name} | {_amount(amount)} | {source} |"


def _amount(amount: Amount) -> str:
    if amount.records is None:
        return "not known"
    if amount.records == 0 and amount.qualifier:
        return "none seen"
    return f"{amount.qualifier} {amount.records:,}".strip()


def _times(facts: PostmortemFacts) -> Iterator[str]:
    times = facts.times
    yield "## When"
    yield ""
    yield "| | at (UTC) | took | from |"
    yield "|---|---|---|---|"
    rows = (
        (HARM, times.harm_began.at if times.harm_began else None, None, _why(times.harm_began)),
        ("Noticed", times.noticed.at, times.detect_s, times.noticed.why),
        ("Acknowledged", times.acknowledged_at, times.acknowledge_s, "after the notice"),
        ("Mitigated", times.mitigated_at, times.mitigate_s, "after harm began"),
        ("Resolved", times.resolved_at, times.resolve_s, "after harm began"),
    )
    for name, at, took_s, note in rows:
        took = duration(took_s) if took_s is not None else ""
        said = note if (at is not None and (took or name in (HARM, "Noticed"))) or name == HARM else ""
        yield f"| {name} | {_full(at) if at else _not_yet(name)} | {took} | {md(said)} |"


def _why(moment: Moment | None) -> str:
    return moment.why if moment else "no fact names it"


def _not_yet(name: str) -> str:
    return "not known" if name == HARM else "not " + name.lower()


def _findings(facts: PostmortemFacts) -> Iterator[str]:
    yield "## Findings"
    yield ""
    if not facts.findings:
        yield "No probe reported anything."
    healthy = [part for part in facts.findings if all(look.status is Status.GREEN for look in part.looks)]
    for part in facts.findings:
        if part in healthy:
            continue
        yield f"- **{md(part.target)}** ({part.probe})"
        for look in _telling(part):
            yield f"  - {_clock(look.at)} {_coloured(look)}"
            for line in look.evidence[:5]:
                if line not in look.headline:
                    yield f"    - {md(line)}"
    if healthy:
        told = "; ".join(f"{md(part.target)} ({part.probe}: {md(part.looks[-1].headline)})" for part in healthy)
        yield f"- Healthy at every look: {told}"


def _telling(part: FindingFacts) -> Sequence[Finding]:
    """Return the looks that changed the verdict, and the last one: twenty lags on the way down are one story."""
    told = [
        look for before, look in zip((None, *part.looks), part.looks, strict=False)
        if before is None or (before.verdict, before.status) != (look.verdict, look.status)
    ]  # fmt: skip
    return told if told[-1] is part.looks[-1] else [*told, part.looks[-1]]


def _actions(facts: PostmortemFacts) -> Iterator[str]:
    yield "## Actions"
    yield ""
    if not facts.actions:
        yield "No action was run through the bot."
        return
    for action in facts.actions:
        on = f" on {md(action.target)}" if action.target else ""
        yield f"- **{md(action.action)}{on}**: {_outcome(action)}"
        yield f"  - {_clock(action.at)} {_asked(action)}"
        if action.plan is not None:
            yield f"  - Plan: {md(action.plan.summary)}"
            yield from (f"    {number}. {md(step)}" for number, step in enumerate(action.plan.steps, 1))
            yield from (f"    - Warning: {md(warning)}" for warning in action.plan.warnings)
        if action.detail and action.outcome != "refused":
            yield f"  - Outcome: {md(action.detail)}"
        yield from (f"  - Verification: {md(line)}" for line in action.evidence)


def _outcome(action: ActionFacts) -> str:
    if action.outcome == "succeeded":
        return {
            True: "carried out, verified",
            False: "carried out, **not verified: it did not help**",
            None: "carried out, never verified",
        }[action.verified]
    if action.outcome == "refused":
        return f"refused{' (break-glass)' if action.break_glass else ''}: {md(action.detail)}"
    words = {
        "failed": "failed",
        "unknown": "**outcome unknown**",
        "cancelled": "cancelled, nothing was changed",
        "planned": "planned, never run",
        "confirmed": "confirmed, not started",
        "started": "started, no outcome yet",
    }
    return words[action.outcome]


def _asked(action: ActionFacts) -> str:
    by = f"asked for by {md(action.requested_by)}"
    approved = f", approved by {md(action.approved_by)}" if action.approved_by else ""
    run = f", run by {md(action.confirmed_by)}" if action.confirmed_by else ""
    return by + approved + run


def _decisions(facts: PostmortemFacts) -> Iterator[str]:
    yield "## Decisions"
    yield ""
    if not facts.decisions:
        yield "None was recorded."
    for decision in facts.decisions:
        reason = md(decision.reason) or "no reason given"
        about = f"**{md(decision.decided)}** ({md(decision.about)})"
        yield f"- {_clock(decision.at)} {md(decision.who)} decided {about}: {reason}"


def _left_out(facts: PostmortemFacts) -> Iterator[str]:
    left = [step for step in facts.steps if step.status != "done" and step.section != "post_incident"]
    if not left:
        return
    yield "## Steps of the runbook that were not done"
    yield ""
    for step in left:
        if step.status == "skipped":
            yield f"- {md(step.title)}: skipped by {md(step.who or 'someone')}: {md(step.reason)}"
    tried = {action.step: action for action in facts.actions if action.step and action.outcome != "planned"}
    for step in left:
        if step.status != "skipped" and step.id in tried:
            yield f"- {md(step.title)}: its action was {_outcome(tried[step.id])}"
    unmarked = [md(step.title) for step in left if step.status != "skipped" and step.id not in tried]
    if unmarked:
        yield f"- Marked by nobody: {'; '.join(unmarked)}"


def _timeline(facts: PostmortemFacts) -> Iterator[str]:
    yield "## Timeline"
    yield ""
    days = {row.at.date() for row in facts.timeline}
    told = {text for action in facts.actions for text in _of_plan(action)}
    yield "All times are UTC" + (f", {next(iter(days)):%-d %B %Y}." if len(days) == 1 else ".")
    yield ""
    for row in facts.timeline:
        at = _clock(row.at) if len(days) == 1 else _full(row.at)
        yield f"- **{at}** {md(row.what)}"
        yield from (f"  - {md(line, IN_A_ROW)}" for line in row.evidence if line not in row.what and line not in told)


def _for_people() -> Iterator[str]:
    for number, title in enumerate(("What went well", "What went badly", "Where we were lucky")):
        if number:
            yield ""
        yield f"## {title}"
        yield ""
        yield f"- {TO_FILL}"


def _tasks(facts: PostmortemFacts) -> Iterator[str]:
    yield "## Post-incident tasks"
    yield ""
    yield "| Task | Status | Owner | Due |"
    yield "|---|---|---|---|"
    for step in facts.steps:
        if step.section == "post_incident":
            status = step.status if not step.reason else f"{step.status}: {step.reason}"
            owner = f" {md(step.who)} " if step.who and step.status == "done" else " "
            yield f"| {md(step.title)} | {md(status)} |{owner}| |"
    yield "| | | | |"


def _unknown(facts: PostmortemFacts) -> Iterator[str]:
    yield "## What is not known"
    yield ""
    if not facts.not_known:
        yield "Every probe saw what it looked at."
    yield from (f"- {md(line)}" for line in facts.not_known)


def _provenance(facts: PostmortemFacts) -> Iterator[str]:
    incident = facts.incident
    yield "---"
    yield ""
    runbooks = ", ".join(f"{md(r.title)} ({md(r.runbook)}, text {md(r.hash)})" for r in incident.runbooks) or "none"
    version, config = md(incident.bot_version or "(version not known)"), md(incident.config_hash or "not known")
    yield f"Made from the journal at {rfc3339(facts.made_at)}; opened by cdc-oncall {version} with config {config}."
    yield f"Runbooks: {runbooks}."


# --- JSON ----------------------------------------------------------------------------------------


def postmortem_document(facts: PostmortemFacts) -> dict[str, Any]:
    """Return the same facts as JSON; unknown is null, times are RFC 3339, durations are seconds."""
    times = facts.times
    return {
        "incident": incident_summary(facts.incident),
        "made_at": rfc3339(facts.made_at),
        "people": list(facts.people),
        "impact": {
            "records_delayed": _amount_document(facts.delayed),
            "records_dead_lettered": _amount_document(facts.dead_lettered),
            "records_lost": _amount_document(facts.lost),
        },
        "times": {
            "harm_began_at": time_or_null(times.harm_began.at if times.harm_began else None),
            "harm_began_by": times.harm_began.why if times.harm_began else None,
            "noticed_at": rfc3339(times.noticed.at),
            "acknowledged_at": time_or_null(times.acknowledged_at),
            "mitigated_at": time_or_null(times.mitigated_at),
            "resolved_at": time_or_null(times.resolved_at),
            "detect_s": times.detect_s,
            "acknowledge_s": times.acknowledge_s,
            "mitigate_s": times.mitigate_s,
            "resolve_s": times.resolve_s,
        },
        "suspect": finding_document(facts.cause) if facts.cause else None,
        "timeline": [row_document(row) for row in facts.timeline],
        "findings": [finding_document(look) for part in facts.findings for look in part.looks],
        "actions": [_action_document(action) for action in facts.actions],
        "decisions": [
            {"at": rfc3339(d.at), "who": d.who, "decided": d.decided, "about": d.about, "reason": d.reason}
            for d in facts.decisions
        ],
        "steps": [
            {"id": s.id, "section": s.section, "title": s.title, "status": s.status, "who": s.who, "reason": s.reason}
            for s in facts.steps
        ],
        "flags": list(facts.flags),
        "not_known": list(facts.not_known),
        "links": [{"incident": other, "reason": reason} for other, reason in facts.incident.links],
        "bot_version": facts.incident.bot_version or None,
        "config_hash": facts.incident.config_hash or None,
        "runbooks": [{"id": r.runbook, "title": r.title, "hash": r.hash} for r in facts.incident.runbooks],
    }


def _amount_document(amount: Amount) -> dict[str, Any]:
    return {
        "records": amount.records,
        "qualifier": amount.qualifier or None,
        "evidence": list(amount.evidence),
        "why_not_known": amount.why_not_known or None,
    }


def _action_document(action: ActionFacts) -> dict[str, Any]:
    plan = action.plan
    return {
        "action": action.action,
        "target": action.target or None,
        "at": rfc3339(action.at),
        "requested_by": action.requested_by,
        "approved_by": action.approved_by,
        "confirmed_by": action.confirmed_by,
        "plan": None
        if plan is None
        else {
            "summary": plan.summary,
            "steps": list(plan.steps),
            "preconditions": list(plan.preconditions),
            "warnings": list(plan.warnings),
            "hash": plan.hash,
        },
        "outcome": action.outcome,
        "detail": action.detail,
        "verified": action.verified,
        "evidence": list(action.evidence),
        "break_glass": action.break_glass,
    }


# --- leaves --------------------------------------------------------------------------------------


def md(text: str, longest: int = LONGEST) -> str:
    """Return foreign text as one line of Markdown that shows what it says and does nothing else.

    `_` is escaped only where it could begin emphasis (GitHub and CommonMark leave `a_b` alone), so that the
    file also reads well as plain text.
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if len(line) > longest + len(" … (1,000 characters more)"):
        line = f"{line[:longest]} … ({len(line) - longest:,} characters more)"
    line = re.sub(r"([\\`*\[\]|~])", r"\\\1", line)
    line = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)
    line = re.sub(r"&(?=#?\w+;)", "&amp;", line).replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"^([#+=-])(?=\s|$|\1)", r"\\\1", line)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line)


def _named(finding: Finding) -> str:
    if finding.headline.startswith(finding.target):
        return md(finding.headline)
    return f"{md(finding.target)}: {md(finding.headline)}"


def _of_plan(action: ActionFacts) -> Iterator[str]:
    """What the section of actions says of a plan already."""
    if action.plan is not None:
        yield from action.plan.steps
        yield from (f"only if: {text}" for text in action.plan.preconditions)
        yield from (f"warning: {text}" for text in action.plan.warnings)


def _ended(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _coloured(finding: Finding) -> str:
    word = {Status.RED: "red", Status.YELLOW: "yellow", Status.GREEN: "green", Status.UNKNOWN: "unknown"}
    verdict = "" if finding.verdict in finding.headline else f", {md(finding.verdict)}"
    return f"{word[finding.status]}{verdict}: {md(finding.headline)}"


def _link(other: str, reason: str) -> str:
    return f"{md(other)} ({md(reason)})" if reason else md(other)


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S}"


def _full(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
