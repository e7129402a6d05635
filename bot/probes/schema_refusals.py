"""Which schemas did the registry refuse lately, for which field, and what do they conflict with?

What was refused is told by the bot's own memory (`incident.refusals`): the registry's request log, Prometheus, failed
connectors. The registry is asked for the version that it conflicts with, and for the name of a field that was told by
its position alone. More refusals than allowed are red: that is the alert `CDCSchemaRefusals`. Fewer are evidence, and
accuse nobody. A pipeline of which nothing was refused for a day has no finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from bot.incident.refusals import Refusals, RefusedSchema
from bot.model import Finding, Pipeline, Signal, Status, counted
from bot.ports import PortError, SubjectState
from bot.probes.refusal import NOTHING_SEEN, SchemaRefusal, completed, sentence
from bot.probes.sources import Sources, rfc3339

PROBE = "schema_refusals"
VERSIONS = 2
TOLD_FOR = timedelta(hours=24)

REFUSED = "REFUSED"
QUIET = "QUIET"
FROZEN = "FROZEN"


def probe(sources: Sources, pipeline: Pipeline, now: Callable[[], datetime]) -> tuple[Finding, ...]:
    """Return one finding per subject that was refused within the last day."""
    at = now()
    lately = [told for told in sources.refusals_of(pipeline.name) if _is_lately(told, at)]
    share_s = sources.deadline_s / max(1, len(lately))
    return tuple(judge(told, *gather(sources, told, share_s), at, sources.first_seen) for told in lately)


def gather(sources: Sources, told: Refusals, deadline_s: float) -> tuple[SubjectState | None, tuple[str, ...]]:
    """Return the subject as the registry has it, and what could not be learned of it."""
    if sources.registry is None:
        return None, (f"which version of {told.subject} it conflicts with: no registry is configured",)
    try:
        return sources.registry.read_subject(told.subject, VERSIONS, deadline_s), ()
    except PortError as error:
        return None, (f"which version of {told.subject} it conflicts with: {error}",)


def judge(
    told: Refusals,
    state: SubjectState | None,
    not_known: tuple[str, ...],
    now: datetime,
    first_seen: Mapping[tuple[str, int], datetime] = NOTHING_SEEN,
) -> Finding:
    """Return red for more refusals than allowed, yellow for some within the window or a frozen subject, else green."""
    window = f"{told.window.total_seconds() / 60:.3g} min"
    refusal = _completed(told, state, first_seen)
    verdict, status = _verdict(told, now)
    facts: dict[str, Any] = {
        "subject": told.subject,
        "count": told.count,
        "allowed": told.allowed,
        "window_s": told.window.total_seconds(),
        "refusal": asdict(refusal) if refusal else None,
        "last_at": rfc3339(told.last.at) if told.last else None,
        "is_frozen": verdict == FROZEN,
        "not_known": list(not_known),
    }
    return Finding(
        probe=PROBE,
        target=told.subject,
        verdict=verdict,
        status=status,
        headline=_headline(told, refusal, verdict, window, now),
        at=now,
        signal=Signal.SCHEMA,
        facts=facts,
        evidence=tuple(_evidence(told, refusal, window)),
        not_known=not_known,
    )


def _is_lately(told: Refusals, now: datetime) -> bool:
    times = [one.at for one in (told.last, told.frozen) if one is not None and one.at is not None]
    return any(now - at <= TOLD_FOR for at in times)


def _verdict(told: Refusals, now: datetime) -> tuple[str, Status]:
    if told.count > told.allowed:
        return REFUSED, Status.RED
    if told.frozen and told.frozen.at and now - told.frozen.at <= told.window:
        return FROZEN, Status.YELLOW
    return (REFUSED, Status.YELLOW) if told.count else (QUIET, Status.GREEN)


def _completed(
    told: Refusals, state: SubjectState | None, first_seen: Mapping[tuple[str, int], datetime]
) -> SchemaRefusal | None:
    if told.last is None:
        return None
    last = told.last
    refusal = SchemaRefusal(told.subject, last.field, last.path, last.registered_version, last.words, last.more)
    return completed(refusal, state, last.at, first_seen)


def _headline(told: Refusals, refusal: SchemaRefusal | None, verdict: str, window: str, now: datetime) -> str:
    if verdict == FROZEN:
        return f"registrations of {told.subject} are refused because the subject is frozen (mode READONLY)"
    said = sentence(refusal) if refusal else f"the registry refused a new schema of {told.subject}"
    if verdict == QUIET:
        return f"nothing refused for {window}; before that {said}"
    return f"{said}; {counted(told.count, 'refusal')} in {window}"


def _evidence(told: Refusals, refusal: SchemaRefusal | None, window: str) -> Iterator[str]:
    if told.last is not None and told.last.at is not None:
        count = counted(told.count, "refusal")
        yield f"{count} in {window}, the last at {rfc3339(told.last.at)} ({_source(told.last)})"
    if refusal is not None and refusal.words:
        yield refusal.words
    if told.blocked is not None and told.blocked.at is not None:
        rule = f" by rule {told.blocked.rule}" if told.blocked.rule else ""
        job = f": {told.blocked.job}" if told.blocked.job else ""
        yield f"CI blocked a schema of it{rule} at {rfc3339(told.blocked.at)}{job}"
    if told.frozen is not None and told.frozen.at is not None:
        yield f"refused for being frozen at {rfc3339(told.frozen.at)}: not counted"


def _source(refused: RefusedSchema) -> str:
    return {"log": "the registry's log", "connect": "a failed task's trace", "prometheus": "Prometheus"}[refused.source]
