"""The postmortem's facts: what the journal proves about an incident, and what it does not.

Pure: entries in, frozen facts out; nothing is asked again, nothing is invented. A number is None when no finding
holds it, and `not_known` says why. Harm began at the earliest moment that a fact names (an alert's startsAt, the
first dead letter, a recorded failure), which is not when it was noticed (the incident's first entry).

Rules of the numbers
    delayed      the highest lag that a look saw, of the worst group: groups of one topic wait for the same records.
    dead letters those of the first look that are younger than a day before the notice, plus what came after it.
    lost         per partition, records between a committed offset and the earliest one; an upper bound.
    times        detection from harm to notice, acknowledgement from notice; mitigation and resolution from harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.incident import events as e
from bot.incident.state import ActionState, Incident, StepState, accuses, cause_of, signal_of
from bot.incident.timeline import Row, rfc3339, timeline
from bot.model import Finding, Plan, Signal, Status

# Dead letters that lay in the queue for longer than this before anyone noticed are another incident's.
OF_THIS_INCIDENT = timedelta(days=1)
FAILED_AT = ("failed_at", "began_at", "first_failed_at")


@dataclass(frozen=True)
class Amount:
    """A number of records. `records` None is "not known"; `qualifier` is "", "at least" or "up to"."""

    records: int | None
    qualifier: str = ""
    evidence: tuple[str, ...] = ()
    why_not_known: str = ""


@dataclass(frozen=True)
class Moment:
    """A time and the fact that names it."""

    at: datetime
    why: str


@dataclass(frozen=True)
class Times:
    """The five moments, and the seconds between them; None where one of the two has not come or is not known."""

    harm_began: Moment | None
    noticed: Moment
    acknowledged_at: datetime | None
    mitigated_at: datetime | None
    resolved_at: datetime | None
    detect_s: float | None
    acknowledge_s: float | None
    mitigate_s: float | None
    resolve_s: float | None


@dataclass(frozen=True)
class FindingFacts:
    """What the looks at one part saw, oldest first; only looks that saw something new are journalled."""

    probe: str
    target: str
    looks: tuple[Finding, ...]


@dataclass(frozen=True)
class ActionFacts:
    """One action from plan to proof. `plan` is None when it was refused before there was one."""

    action: str
    target: str
    plan: Plan | None
    requested_by: str
    at: datetime
    approved_by: str | None
    confirmed_by: str | None
    outcome: str
    detail: str
    verified: bool | None
    evidence: tuple[str, ...]
    break_glass: bool = False
    step: str | None = None


@dataclass(frozen=True)
class DecisionFacts:
    at: datetime
    who: str
    decided: str
    about: str
    reason: str


@dataclass(frozen=True)
class StepFacts:
    id: str
    section: str
    title: str
    status: str
    who: str | None
    reason: str


@dataclass(frozen=True)
class PostmortemFacts:
    """Everything a postmortem states. `flags` are what a reader must not miss."""

    incident: Incident
    made_at: datetime
    people: tuple[str, ...]
    cause: Finding | None
    delayed: Amount
    dead_lettered: Amount
    lost: Amount
    times: Times
    timeline: tuple[Row, ...]
    findings: tuple[FindingFacts, ...]
    actions: tuple[ActionFacts, ...]
    decisions: tuple[DecisionFacts, ...]
    steps: tuple[StepFacts, ...]
    flags: tuple[str, ...]
    not_known: tuple[str, ...]


def postmortem_facts(incident: Incident, entries: Sequence[e.Entry], now: datetime) -> PostmortemFacts:
    """Return what the journal proves about `incident`, whose entries these are, in version order."""
    findings = _findings(entries)
    delayed, dead_lettered, lost = _delayed(findings), _dead_lettered(findings, incident.opened_at), _lost(findings)
    times = _times(incident, entries, findings)
    actions = (*(_action(action) for action in incident.actions), *_refused_outright(incident, entries))
    return PostmortemFacts(
        incident=incident,
        made_at=now,
        people=_people(entries),
        cause=_cause(incident, findings),
        delayed=delayed,
        dead_lettered=dead_lettered,
        lost=lost,
        times=times,
        timeline=timeline(entries),
        findings=findings,
        actions=tuple(sorted(actions, key=lambda action: action.at)),
        decisions=_decisions(incident, entries),
        steps=tuple(_step(state) for state in incident.steps),
        flags=_flags(incident, entries, lost),
        not_known=_not_known(incident, findings, (delayed, dead_lettered, lost), times),
    )


# --- when ----------------------------------------------------------------------------------------


def _times(incident: Incident, entries: Sequence[e.Entry], findings: Sequence[FindingFacts]) -> Times:
    opener = entries[0].who if entries else e.BOT
    how = "the first alert arrived" if opener == e.ALERTMANAGER else f"{opener.name} opened the incident"
    noticed = Moment(incident.opened_at, how)
    harm = min(_harm(incident, findings), key=lambda moment: moment.at, default=None)
    acknowledged, mitigated, resolved = incident.acknowledged_at, incident.mitigated_at, incident.resolved_at
    return Times(
        harm_began=harm,
        noticed=noticed,
        acknowledged_at=acknowledged,
        mitigated_at=mitigated,
        resolved_at=resolved,
        detect_s=_between(harm.at if harm else None, noticed.at),
        acknowledge_s=_between(noticed.at, acknowledged),
        mitigate_s=_between(harm.at if harm else None, mitigated),
        resolve_s=_between(harm.at if harm else None, resolved),
    )


def _harm(incident: Incident, findings: Sequence[FindingFacts]) -> Iterator[Moment]:
    for alert in incident.alerts:
        yield Moment(alert.starts_at, f"{alert.name} began to fire")
    for part in findings:
        for look in part.looks:
            if look.status is Status.GREEN:
                continue
            if look.signal is Signal.DEAD_LETTERS:
                recent = [at for _, at in _recent_groups(look, incident.opened_at)]
                if recent:
                    yield Moment(min(recent), f"the first dead letter in {look.target}")
            for place in (look.facts, *_mappings(look.facts.get("tasks"))):
                for name in FAILED_AT:
                    if (at := _time(place.get(name))) is not None and at >= incident.opened_at - OF_THIS_INCIDENT:
                        yield Moment(at, f"{look.target} failed")


def failing_since(incident: Incident) -> datetime:
    """Return when what is known of an incident's harm began: an alert, or a first dead letter of its day."""
    alerts = [alert.starts_at for alert in incident.alerts]
    letters = [
        at
        for look in (*incident.first.values(), *incident.findings.values())
        if look.signal is Signal.DEAD_LETTERS and look.status is not Status.GREEN
        for _, at in _recent_groups(look, incident.opened_at)
    ]
    return min((*alerts, *letters), default=incident.opened_at)


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return max(0.0, (end - start).total_seconds()) if start is not None and end is not None else None


# --- how much ------------------------------------------------------------------------------------


RESIDUAL = "RESIDUAL"  # an unread tail that is in the DLQ: dead-lettered, not delayed


def _delayed(findings: Sequence[FindingFacts]) -> Amount:
    peaks: list[tuple[int, str]] = []
    for part in _of(findings, Signal.LAG):
        seen = [
            (lag, look.at)
            for look in part.looks
            if look.verdict != RESIDUAL and (lag := _number(look.facts.get("lag_records"))) is not None
        ]
        if seen:
            lag, at = max(seen, key=lambda pair: pair[0])
            peaks.append(
                (lag, f"{part.target}: lag peaked at {_count(lag, 'record')} at {rfc3339(at)} ({_looks(len(seen))})")
            )
    behind = tuple(_behind_source(findings))
    lines = (*(line for _, line in peaks), *behind)
    if not peaks:
        return Amount(None, evidence=lines, why_not_known="no look at a consumer group could read its lag")
    peak = max(peaks)[0]
    if behind and peak == 0:
        return Amount(None, evidence=lines, why_not_known="they waited in the database, where lag does not count them")
    return Amount(peak, "at least", lines)


def _behind_source(findings: Sequence[FindingFacts]) -> Iterator[str]:
    """Yield what each source that broke delivered afterwards: rows that waited in the database have no lag in Kafka."""
    for part in findings:
        broken = [look for look in part.looks if look.facts.get("type") == "source" and look.status is Status.RED]
        if not broken:
            continue
        before = _number(broken[0].facts.get("delivered_total"))
        after = _number(part.looks[-1].facts.get("delivered_total"))
        count = _count(after - before, "record") if before is not None and after is not None else "a number not known"
        yield f"{part.target} broke; it delivered {count} from then to the last look, those that had waited among them"


def _dead_lettered(findings: Sequence[FindingFacts], noticed_at: datetime) -> Amount:
    total, evidence, qualifier = 0, list[str](), ""
    parts = list(_of(findings, Signal.DEAD_LETTERS))
    known = False
    for part in parts:
        ends = [(end, look) for look in part.looks if (end := _number(look.facts.get("end_total"))) is not None]
        if not ends:
            continue
        (start, first), (end, last) = ends[0], ends[-1]
        if end < start:
            evidence.append(f"{part.target}: its log end went back from {start:,} to {end:,}: it was made anew or cut")
            continue
        known = True
        earlier = sum(count for count, _ in _recent_groups(first, noticed_at))
        total += earlier + end - start
        evidence.append(f"{part.target}: {earlier:,} found at the first look ({rfc3339(first.at)})")
        held = _number(first.facts.get("records"))
        if held is not None and held > earlier:
            evidence.append(f"{part.target}: {held - earlier:,} more lay there, older or of no known age: not counted")
        if last is not first:
            evidence.append(
                f"{part.target}: {end - start:,} more until {rfc3339(last.at)} (log end {start:,} to {end:,})"
            )
        if _unsampled(first):
            qualifier = "at least"
    if not known:
        return Amount(None, why_not_known=evidence[0] if evidence else _UNREAD_QUEUE[bool(parts)])
    return Amount(total, qualifier, tuple(evidence))


_UNREAD_QUEUE = {True: "no dead letter queue could be read", False: "no dead letter queue was looked at"}


def _recent_groups(look: Finding, noticed_at: datetime) -> Iterator[tuple[int, datetime]]:
    """Yield (count, first_at) of the groups of dead letters that belong to this incident by their age."""
    for group in _mappings(look.facts.get("groups")):
        count, first_at = _number(group.get("count")), _time(group.get("first_at"))
        if count is not None and first_at is not None and first_at >= noticed_at - OF_THIS_INCIDENT:
            yield count, first_at


def _unsampled(look: Finding) -> bool:
    """True when the sample is smaller than the queue: the count of the first look is then a lower bound."""
    counts = [_number(group.get("count")) or 0 for group in _mappings(look.facts.get("groups"))]
    records = _number(look.facts.get("records"))
    return records is None or sum(counts) < records


def _lost(findings: Sequence[FindingFacts]) -> Amount:
    worst: dict[str, tuple[int, str]] = {}
    gaps = [gap for part in _of(findings, Signal.LAG) for look in part.looks for gap in _gaps(look)]
    if not gaps:
        return Amount(None, why_not_known="no committed offset could be compared with the start of its log")
    for place, committed, earliest in gaps:
        gone = earliest - committed
        if gone > worst.get(place, (0, ""))[0]:
            worst[place] = (
                gone,
                f"{place}: offsets {committed:,}..{earliest - 1:,} were deleted before they were read",
            )
    if not worst:
        return Amount(0, "", ("none seen: every committed offset that was read lay inside its log",))
    return Amount(sum(gone for gone, _ in worst.values()), "up to", tuple(line for _, line in worst.values()))


def _gaps(look: Finding) -> Iterator[tuple[str, int, int]]:
    """Yield (group and partition, committed offset, earliest offset) of every partition where both were read."""
    for topic in _mappings(look.facts.get("topics")):
        for partition in _mappings(topic.get("partitions")):
            committed, earliest = _number(partition.get("committed_offset")), _number(partition.get("earliest_offset"))
            if committed is not None and earliest is not None:
                yield f"{look.target}, {topic.get('topic')}/{partition.get('partition')}", committed, earliest


# --- what ----------------------------------------------------------------------------------------


def _findings(entries: Sequence[e.Entry]) -> tuple[FindingFacts, ...]:
    looks: dict[tuple[str, str], list[Finding]] = {}
    for entry in entries:
        if isinstance(entry.event, e.ProbeReported):
            finding = entry.event.finding
            looks.setdefault((finding.probe, finding.target), []).append(finding)
    parts = [FindingFacts(probe, target, tuple(seen)) for (probe, target), seen in looks.items()]
    return tuple(sorted(parts, key=lambda part: part.looks[0].signal.upstream_rank))


def _cause(incident: Incident, findings: Sequence[FindingFacts]) -> Finding | None:
    """Return the first broken look at the most upstream broken part: where to begin asking why. Not a root cause.

    Without a red one it is the part that the alerts speak of: a schema that changed is no suspect for a lag.
    """
    named = {signal_of(alert.labels) for alert in incident.alerts}
    looks = [look for part in findings for look in part.looks]
    accusing = [look for look in looks if accuses(look)]
    accused = [look for look in looks if look.status is not Status.GREEN and look.signal in named]
    return min(accusing or accused, key=lambda look: cause_of(look).upstream_rank, default=None)


def _action(action: ActionState) -> ActionFacts:
    return ActionFacts(
        action=action.plan.action,
        target=action.plan.target,
        plan=action.plan,
        requested_by=action.requested_by.name,
        at=action.planned_at,
        approved_by=action.approved_by.name if action.approved_by else None,
        confirmed_by=action.confirmed_by.name if action.confirmed_by else None,
        outcome=action.status,
        detail=action.detail,
        verified=action.verified,
        evidence=action.evidence,
        step=action.step,
    )


def _refused_outright(incident: Incident, entries: Sequence[e.Entry]) -> Iterator[ActionFacts]:
    """Yield the refusals that came before a plan: the state keeps plans alone."""
    for entry in entries:
        event = entry.event
        if isinstance(event, e.ActionRefused) and incident.action(event.key) is None:
            yield ActionFacts(
                action=event.action,
                target="",
                plan=None,
                requested_by=entry.who.name,
                at=entry.at,
                approved_by=None,
                confirmed_by=None,
                outcome="refused",
                detail=event.reason,
                verified=None,
                evidence=(),
                break_glass=event.break_glass,
            )


def _decisions(incident: Incident, entries: Sequence[e.Entry]) -> tuple[DecisionFacts, ...]:
    """Return what people chose and why: decision steps, and words that overrode or anticipated the proof."""
    told: list[DecisionFacts] = []
    for entry in entries:
        event, who = entry.event, entry.who.name
        if isinstance(event, e.StepDone) and event.choice:
            step = incident.step(event.step)
            about = step.step.title if step else event.step
            told.append(DecisionFacts(entry.at, who, event.choice, about, event.reason))
        elif isinstance(event, e.IncidentMitigated) and entry.who != e.BOT:
            told.append(DecisionFacts(entry.at, who, "mitigated", "set by hand", event.reason))
        elif isinstance(event, e.IncidentResolved) and entry.who != e.BOT and not event.verified:
            told.append(DecisionFacts(entry.at, who, "resolved", "without proof of recovery", event.reason))
        elif isinstance(event, e.IncidentReopened) and entry.who not in (e.BOT, e.ALERTMANAGER):
            told.append(DecisionFacts(entry.at, who, "reopened", "by hand", event.reason))
    return tuple(told)


def _step(state: StepState) -> StepFacts:
    return StepFacts(
        id=state.step.id,
        section=state.step.section,
        title=state.step.title,
        status=state.status,
        who=state.who.name if state.who else None,
        reason=state.reason,
    )


def _people(entries: Sequence[e.Entry]) -> tuple[str, ...]:
    names = (entry.who.name for entry in entries if entry.who not in (e.BOT, e.ALERTMANAGER))
    return tuple(dict.fromkeys(names))


def _flags(incident: Incident, entries: Sequence[e.Entry], lost: Amount) -> tuple[str, ...]:
    """Return what a reader must not miss, worst first."""
    events = [entry.event for entry in entries]
    unknown = [action for action in incident.actions if action.status == "unknown"]
    unproved = [action for action in incident.actions if action.verified is False]
    missed = sum(isinstance(event, e.AlertFired) and event.missed_while_down for event in events)
    glass = [event for event in events if isinstance(event, e.ActionRefused) and event.break_glass]
    return (
        *((f"Data was lost: up to {_count(lost.records, 'record')}.",) if lost.records else ()),
        *(("Resolved without proof of recovery.",) if incident.resolved_verified is False else ()),
        *(f"The outcome of {a.plan.action} on {a.plan.target} is unknown: {a.detail}" for a in unknown),
        *(f"{a.plan.action} on {a.plan.target} was carried out and did not help." for a in unproved),
        *(f"Break-glass was used for {event.action}: {event.reason}" for event in glass),
        *((f"It came back {_count(incident.reopened, 'time')} after it was resolved.",) if incident.reopened else ()),
        *((f"{_count(missed, 'alert')} fired while the bot was down and came in late.",) if missed else ()),
        *(
            (f"Alertmanager cut its list: {_count(incident.hidden_alerts, 'alert')} of the group were never shown.",)
            if incident.hidden_alerts
            else ()
        ),
    )


def _not_known(
    incident: Incident, findings: Sequence[FindingFacts], amounts: tuple[Amount, Amount, Amount], times: Times
) -> tuple[str, ...]:
    lines: list[str] = []
    for name, amount in zip(("delayed", "dead-lettered", "lost"), amounts, strict=True):
        if amount.records is None:
            lines.append(f"How many records were {name}: {amount.why_not_known}.")
    if times.harm_began is None:
        lines.append("When harm began: no alert and no record names a time before the notice.")
    if amounts[0].records and any(_behind_source(findings)):
        lines.append("How many rows waited in the database behind a source that had failed: lag does not count them.")
    for part in findings:
        last = part.looks[-1]
        if last.status is Status.UNKNOWN:
            why = f" ({last.evidence[0]})" if last.evidence else ""
            lines.append(f"How {part.target} stood at the end: {last.headline}{why}.")
        lines += [f"{part.target} ({part.probe}): {line}" for line in last.not_known]
    lines += [
        f"Whether {action.plan.action} on {action.plan.target} did what it should: {action.detail or 'never verified'}"
        for action in incident.actions
        if action.status == "unknown" or (action.status == "succeeded" and action.verified is None)
    ]
    return tuple(dict.fromkeys(lines))


# --- leaves --------------------------------------------------------------------------------------


def _of(findings: Sequence[FindingFacts], signal: Signal) -> Iterator[FindingFacts]:
    return (part for part in findings if part.looks[0].signal is signal)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _mappings(value: object) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, (list, tuple)):
        return ()
    return tuple(item for item in value if isinstance(item, Mapping))


def _time(value: object) -> datetime | None:
    """Return an RFC 3339 time of a finding's facts, or None."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _looks(count: int) -> str:
    return _count(count, "look")


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
