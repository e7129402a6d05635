"""Recovery, proved from what the parts deliver: not from a cleared alert and not from RUNNING.

An alert also clears when its exporter dies, and RUNNING means only that nothing left poll() (measured:
RUNNING with an empty trace through a lost replication slot and a dropped publication). So a part that
was broken counts as recovered when it *delivered* something since, and held for `settle`. What cannot
be seen is not proved. `judge_recovery` is pure: fresh findings against the incident's own record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.incident.state import Incident, signals
from bot.model import Finding, Pipeline, Signal, Status, counted

HARMFUL_LAG = frozenset({"DATA_LOST", "LOSS_IMMINENT", "STOPPED", "NOT_CHECKPOINTING", "STUCK", "BLOCKED_BY_TXN"})


@dataclass(frozen=True)
class Line:
    """One part's answer: True proved, False broken, None not (yet) known."""

    proved: bool | None
    text: str


@dataclass(frozen=True)
class Judgement:
    """`broken` when a part is known to be broken still; neither `proved` nor `broken` is "not yet known"."""

    proved: bool
    broken: bool
    evidence: tuple[str, ...]


def judge_recovery(
    incident: Incident, pipeline: Pipeline | None, fresh: Sequence[Finding], now: datetime, settle: timedelta
) -> Judgement:
    """Return one evidence line per part that is in the way, or per part when every one is proved."""
    if pipeline is None:
        return Judgement(False, False, ("no pipeline of cdc.yml is named by these alerts: there is nothing to probe",))
    broken_first = sorted(fresh, key=lambda finding: (finding.probe, finding.target) not in incident.worst)
    lines = tuple(_judge(incident, pipeline, finding, now, settle) for finding in broken_first)
    if not lines:
        return Judgement(False, False, (f"no probe of pipeline {pipeline.name} answered",))
    unproved = [line for line in lines if line.proved is not True]
    broken = any(line.proved is False for line in lines)
    return Judgement(not unproved, broken, tuple(line.text for line in (unproved or lines)))


def _judge(incident: Incident, pipeline: Pipeline, fresh: Finding, now: datetime, settle: timedelta) -> Line:
    key = (fresh.probe, fresh.target)
    broken = incident.worst.get(key)
    last = incident.findings.get(key)
    if fresh.signal is Signal.CONNECTOR:
        held_since = incident.steady_since.get(key) if last and last.status is Status.GREEN else None
        return _connector(fresh, broken, held_since, now, settle)
    if fresh.signal is Signal.LAG:
        return _lag(fresh, incident, pipeline)
    if fresh.signal is Signal.DEAD_LETTERS:
        return _dead_letters(fresh, incident, last, now, settle)
    return _other(fresh, broken)


def _connector(
    fresh: Finding, broken: Finding | None, held_since: datetime | None, now: datetime, settle: timedelta
) -> Line:
    if fresh.status is not Status.GREEN:
        return Line(False if fresh.status is Status.RED else None, f"{fresh.target}: {fresh.headline}")
    if broken is None:
        return Line(True, f"{fresh.target}: was not seen broken; {fresh.headline}")
    before, after = _number(broken.facts, "delivered_total"), _number(fresh.facts, "delivered_total")
    if before is None or after is None:
        return Line(None, f"{fresh.target}: RUNNING, but what it delivered is not known: RUNNING alone proves nothing")
    if after <= before:
        return Line(None, f"{fresh.target}: RUNNING, but nothing was delivered since it broke ({after:,} then and now)")
    if held_since is None or now - held_since < settle:
        return Line(None, f"{fresh.target}: RUNNING and delivering; it must hold for {settle.total_seconds():.0f} s")
    return Line(True, f"{fresh.target}: RUNNING, {counted(after - before, 'record')} delivered since it broke")


def _lag(fresh: Finding, incident: Incident, pipeline: Pipeline) -> Line:
    key = (fresh.probe, fresh.target)
    lag = _number(fresh.facts, "lag_records")
    committed = _number(fresh.facts, "committed_total")
    base = incident.worst.get(key) or incident.first.get(key)
    accused = key in incident.worst or Signal.LAG in signals(incident)
    if lag is None:
        never_seen = base is None or _number(base.facts, "lag_records") is None
        if never_seen and not accused:
            return Line(True, f"{fresh.target}: lag not known, before as now")
        return Line(None, f"{fresh.target}: {fresh.headline}")
    if fresh.verdict in HARMFUL_LAG:
        return Line(False, f"{fresh.target}: {fresh.headline}")
    warn = pipeline.objective.lag_warn.records
    if lag > warn:
        return Line(False, f"{fresh.target}: lag {lag:,} is over {warn:,}")
    if fresh.verdict == "NEVER_COMMITTED" and accused:
        return Line(None, f"{fresh.target}: {fresh.headline}")
    if lag == 0 or not accused:
        return Line(True, f"{fresh.target}: lag {lag:,}")
    before = _number(base.facts, "committed_total") if base else None
    if before is None or committed is None:
        return Line(None, f"{fresh.target}: lag {lag:,}, but whether it commits is not known")
    if committed <= before:
        return Line(None, f"{fresh.target}: lag {lag:,}, and nothing was committed since ({committed:,} then and now)")
    return Line(True, f"{fresh.target}: lag {lag:,}, {counted(committed - before, 'record')} committed since")


def _dead_letters(fresh: Finding, incident: Incident, last: Finding | None, now: datetime, settle: timedelta) -> Line:
    """No new dead letter for `settle` while records were processed: silence alone proves nothing."""
    key = (fresh.probe, fresh.target)
    accused = key in incident.worst or Signal.DEAD_LETTERS in signals(incident)
    end = _number(fresh.facts, "end_total")
    if end is None:
        known_before = last is not None and _number(last.facts, "end_total") is not None
        return Line(None if accused or known_before else True, f"{fresh.target}: {fresh.headline}")
    known = _number(last.facts, "end_total") if last else None
    if last is None or known is None or end != known:
        grew = f" ({end - known:,} more)" if known is not None and end > known else ""
        return Line(None, f"{fresh.target}: dead letters still arrive{grew}" if grew else f"{fresh.target}: first look")
    quiet_s = (now - last.at).total_seconds()
    if not accused:
        return Line(True, f"{fresh.target}: no new dead letter")
    if quiet_s < settle.total_seconds():
        return Line(None, f"{fresh.target}: no new dead letter for {quiet_s:.0f} s, too short to tell")
    before, after = _number(last.facts, "processed_total"), _number(fresh.facts, "processed_total")
    if before is None or after is None:
        return Line(None, f"{fresh.target}: no new dead letter, but whether records are processed is not known")
    if after <= before:
        return Line(None, f"{fresh.target}: no new dead letter, but nothing was processed either ({after:,})")
    return Line(True, f"{fresh.target}: no new dead letter for {quiet_s:.0f} s while {after - before:,} were processed")


def _other(fresh: Finding, broken: Finding | None) -> Line:
    """A schema probe that cannot see, and never saw anything broken, does not stand in the way; a broken one does."""
    if fresh.status is Status.RED:
        return Line(False, f"{fresh.target}: {fresh.headline}")
    if fresh.status is Status.UNKNOWN and broken is not None:
        return Line(None, f"{fresh.target}: {fresh.headline}")
    return Line(True, f"{fresh.target}: {fresh.headline}")


def _number(facts: Mapping[str, object], name: str) -> int | None:
    value = facts.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
