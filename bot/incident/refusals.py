"""Schemas that a registry refused: what was told of each, how many there were, and when that is an incident.

A refusal reaches the bot as one inbox row whose key is the refusal's own id: told twice, it is one row. The ledger is
what the bot keeps of them: counters that only grow, the times within the window, the last refusal of each subject, and
which subjects are over the line. It is written in the transaction that ends the row.

Rules of the threshold
    More than `refusals` of one subject within the window, by the time in the registry's log where it tells one, is an
    alert; it ends once the window holds no more than that. As the rule `CDCSchemaRefusals` of Prometheus counts.
    One refusal may be seen twice: by its failed connector, in the registry's log, in Prometheus. So the window counts
    the source that saw the most, never their sum.
    A pipeline's CI that blocked a schema is counted and shown, and never an alert: nothing was refused, and a
    developer who pushes six times pages nobody.
    A subject that is frozen (READONLY) refuses because we told it to: it is named as such, and not counted.

The counter of `connect` is the monitor's (`metrics.advance`): here its refusals only fill the window.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bot.incident.notification import Alert, Notification
from bot.incident.policy import Policy
from bot.model import Pipeline, in_one_line

ALERT = "CDCSchemaRefusals"
SENDER: Final = "cdc-oncall"
INBOX_KIND = "refusal"

FROM_CONNECT, FROM_LOG, FROM_CI, FROM_PROMETHEUS = "connect", "log", "ci", "prometheus"
SOURCES = (FROM_CONNECT, FROM_LOG, FROM_CI, FROM_PROMETHEUS)
SUBJECT_NOT_KNOWN = "not_known"
MOST_SUBJECTS = 1000
"""Subjects that no pipeline has, counted by name: whoever may register or post may invent more, each is a series."""
MOST_TIMES = 100
MOST_AT_ONCE = 100_000
_LONGEST = {
    "subject": 1000,
    "field": 300,
    "path": 500,
    "level": 40,
    "words": 600,
    "rule": 40,
    "ref": 200,
    "job": 500,
    "pipeline": 300,
}

Key = tuple[str, str]
"""(pipeline, subject); the pipeline is empty for a subject of none."""


@dataclass(frozen=True)
class RefusedSchema:
    """One refusal, or `count` alike. `registered_version` is the version it conflicts with, None where that is untold.

    `at` is None where the source tells no time. `pipeline` is named by what saw it in one: a connector of it. `words`
    are the registry's. `is_frozen`: refused for the subject's mode, not its schema. A CI run tells `rule`, `ref` (the
    commit) and `job` (its address).
    """

    source: str
    subject: str
    at: datetime | None = None
    field: str | None = None
    path: str | None = None
    registered_version: int | None = None
    level: str | None = None
    words: str = ""
    more: int = 0
    count: int = 1
    is_frozen: bool = False
    rule: str = ""
    ref: str = ""
    job: str = ""
    pipeline: str = ""


@dataclass(frozen=True)
class Ledger:
    """What is kept of all refusals. `counts` and `recent` are by (pipeline, subject, source).

    `recent` holds (time, count), oldest first. `last` and `blocked` are the newest that a registry and CI told of a
    subject, `frozen` the newest for its mode; `firing` since when a subject is over the line.
    """

    counts: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    recent: Mapping[tuple[str, str, str], tuple[tuple[datetime, int], ...]] = field(default_factory=dict)
    last: Mapping[Key, RefusedSchema] = field(default_factory=dict)
    blocked: Mapping[Key, RefusedSchema] = field(default_factory=dict)
    frozen: Mapping[Key, RefusedSchema] = field(default_factory=dict)
    firing: Mapping[Key, datetime] = field(default_factory=dict)


# --- as bytes ------------------------------------------------------------------------------------


def write_refused(refused: RefusedSchema) -> bytes:
    """Return the body that `POST /refusals` takes; the same refusal is the same bytes."""
    document = {name: value for name, value in asdict(refused).items() if value not in (None, "", 0, False)}
    if refused.at is not None:
        document["at"] = refused.at.astimezone(UTC).isoformat()
    return json.dumps(document, sort_keys=True).encode()


def read_refused(body: bytes) -> RefusedSchema:
    """Return what `write_refused` wrote. Raises ValueError with the reason; a text too long is cut."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {type(error).__name__}") from error
    if not isinstance(told, dict):
        raise ValueError("not a JSON object")
    source, subject = told.get("source"), _text(told, "subject")
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}")
    if not subject:
        raise ValueError("subject is missing")
    texts = {name: _text(told, name) for name in _LONGEST if name != "subject"}
    version = told.get("registered_version")
    return RefusedSchema(
        source=source, subject=subject, at=_time(told.get("at")),
        registered_version=None if version is None else _number(told, "registered_version", 1, 2**31),
        more=_number(told, "more", 0, MOST_AT_ONCE, 0), count=_number(told, "count", 1, MOST_AT_ONCE, 1),
        field=texts["field"] or None, path=texts["path"] or None, level=texts["level"] or None, words=texts["words"],
        is_frozen=told.get("is_frozen") is True, rule=texts["rule"], ref=texts["ref"], job=texts["job"],
        pipeline=texts["pipeline"],
    )  # fmt: skip


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text")
    value = value.encode("utf-8", "replace").decode()  # half a surrogate pair is JSON, and no text
    return in_one_line(value, _LONGEST[name])


def _number(told: Mapping[str, Any], name: str, least: int, most: int, default: int | None = None) -> int:
    value = told.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be a number from {least} to {most}")
    return value


def _time(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value if isinstance(value, str) else "")
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("at must be a time such as 2026-11-23T14:02:11Z") from None


def ledger_document(ledger: Ledger) -> dict[str, Any]:
    """Return the ledger as JSON."""
    return {
        "counts": [[*key, count] for key, count in ledger.counts.items()],
        "recent": [[*key, [[at.isoformat(), n] for at, n in times]] for key, times in ledger.recent.items()],
        **{
            name: [[*key, write_refused(one).decode()] for key, one in getattr(ledger, name).items()]
            for name in ("last", "blocked", "frozen")
        },
        "firing": [[*key, at.isoformat()] for key, at in ledger.firing.items()],
    }


def read_ledger(document: Mapping[str, Sequence[Sequence[Any]]]) -> Ledger:
    """Return the ledger of `ledger_document`; what is missing begins anew."""

    def told(name: str) -> dict[Key, RefusedSchema]:
        return {(row[0], row[1]): read_refused(row[2].encode()) for row in document.get(name, ())}

    return Ledger(
        counts={(row[0], row[1], row[2]): int(row[3]) for row in document.get("counts", ())},
        recent={
            (row[0], row[1], row[2]): tuple((datetime.fromisoformat(at), int(n)) for at, n in row[3])
            for row in document.get("recent", ())
        },
        last=told("last"),
        blocked=told("blocked"),
        frozen=told("frozen"),
        firing={(row[0], row[1]): datetime.fromisoformat(row[2]) for row in document.get("firing", ())},
    )


# --- counting ------------------------------------------------------------------------------------


def subjects_of(pipeline: Pipeline) -> tuple[str, ...]:
    """Return a pipeline's subjects: those configured, else those that topics have by the default naming strategy."""
    by_topic = tuple(f"{topic}-{part}" for topic in pipeline.topics for part in ("value", "key"))
    return pipeline.subjects or by_topic


def pipelines_of(subject: str, pipelines: Sequence[Pipeline]) -> tuple[str, ...]:
    """Return the pipelines that a subject is one of; one empty name where it is of none."""
    return tuple(one.name for one in pipelines if subject in subjects_of(one)) or ("",)


def noted(ledger: Ledger, refused: RefusedSchema, policy: Policy, now: datetime) -> Ledger:
    """Return the ledger with one more refusal, in each pipeline that has the subject; a time to come is now."""
    refused = replace(refused, at=min(refused.at or now, now))
    subject = refused.subject
    is_named = policy.pipeline(refused.pipeline) is not None
    names = (refused.pipeline,) if is_named else pipelines_of(subject, tuple(policy.pipelines.values()))
    own = {one.name: subjects_of(one) for one in policy.pipelines.values()}
    for name in names:
        key = (name, subject)
        if subject not in own.get(name, ()) and not any((*key, source) in ledger.counts for source in SOURCES):
            strangers = {one[:2] for one in ledger.counts if one[1] not in own.get(one[0], ())}
            key = (name, SUBJECT_NOT_KNOWN) if len(strangers) >= MOST_SUBJECTS else key
        ledger = _noted(ledger, refused, key, policy, now)
    return ledger


def _noted(ledger: Ledger, refused: RefusedSchema, key: Key, policy: Policy, now: datetime) -> Ledger:
    if refused.is_frozen:
        return replace(ledger, frozen=_newest(ledger.frozen, key, refused, policy))
    place = (*key, refused.source)
    if refused.source != FROM_CONNECT:
        ledger = replace(ledger, counts={**ledger.counts, place: ledger.counts.get(place, 0) + refused.count})
    if refused.source == FROM_CI:
        return replace(ledger, blocked=_newest(ledger.blocked, key, refused, policy))
    assert refused.at is not None
    times = sorted((*ledger.recent.get(place, ()), (refused.at, refused.count)))
    within = [time for time in times if now - time[0] <= policy.refusals_window]
    kept = tuple(within[-max(MOST_TIMES, policy.refusals + 1) :])
    recent = {
        known: told
        for known, told in ledger.recent.items()
        if known != place and now - told[-1][0] <= policy.refusals_window
    }
    recent |= {place: kept} if kept else {}
    return replace(ledger, recent=recent, last=_newest(ledger.last, key, refused, policy))


def _newest(
    known: Mapping[Key, RefusedSchema], key: Key, refused: RefusedSchema, policy: Policy
) -> dict[Key, RefusedSchema]:
    """Keep the newest; one that tells no field does not take the place of one within its window that does.

    Two sources tell of one refusal, and Prometheus and a request log know the subject alone.
    """
    before = known.get(key)
    if before is not None and before.at is not None and refused.at is not None:
        if before.at > refused.at:
            return dict(known)
        is_near = refused.at - before.at <= policy.refusals_window
        if is_near and refused.field is None and refused.path is None and (before.field or before.path):
            refused = replace(before, at=refused.at)
    others = {one: told for one, told in known.items() if one != key}
    return {**dict(list(others.items())[-MOST_SUBJECTS:]), key: refused}


def increases(before: Mapping[str, int] | None, totals: Mapping[str, int]) -> dict[str, int]:
    """Return by how much the counters of subjects grew since the last look; one that went back began anew, at 0.

    Before the first look (None) nothing is known to have grown. A subject that shows up later began at 0: what counts
    refusals by subject has no series for one before its first.
    """
    if before is None:
        return {}
    grown = {name: total - before.get(name, 0) for name, total in totals.items()}
    return {name: (totals[name] if grew < 0 else grew) for name, grew in grown.items() if grew and totals[name]}


def count_in_window(ledger: Ledger, key: Key, policy: Policy, now: datetime) -> int:
    """Return how many refusals of a subject the window holds, by the source that saw the most."""
    return max((_in_window(ledger.recent.get((*key, source), ()), policy, now) for source in SOURCES), default=0)


def _in_window(times: Sequence[tuple[datetime, int]], policy: Policy, now: datetime) -> int:
    return sum(count for at, count in times if now - at <= policy.refusals_window)


# --- when that is an incident --------------------------------------------------------------------


def crossed(ledger: Ledger, policy: Policy, now: datetime) -> tuple[Ledger, tuple[Notification, ...]]:
    """Return the ledger and one notification for each subject that went over the line, or came back under it."""
    firing, told = dict(ledger.firing), list[Notification]()
    for key in sorted({(pipeline, subject) for pipeline, subject, _ in ledger.recent} | set(firing)):
        count = count_in_window(ledger, key, policy, now)
        if count > policy.refusals and key not in firing:
            firing[key] = now.replace(microsecond=now.microsecond // 1000 * 1000)
            told.append(_notification(_alert(ledger, key, firing[key], None, count, policy)))
        elif count <= policy.refusals and key in firing:
            told.append(_notification(_alert(ledger, key, firing.pop(key), now, count, policy)))
    return (replace(ledger, firing=firing) if told else ledger), tuple(told)


def _alert(
    ledger: Ledger, key: Key, starts_at: datetime, ends_at: datetime | None, count: int, policy: Policy
) -> Alert:
    pipeline, subject = key
    last = ledger.last.get(key)
    named = (("pipeline", pipeline), ("field", (last.field or "") if last else ""))
    labels = {"alertname": ALERT, "severity": str(policy.refusals_severity), "subject": subject}
    labels |= {name: value for name, value in named if value}
    about = f": field {last.field}" if last and last.field else ""
    version = f"; conflicts with version {last.registered_version}" if last and last.registered_version else ""
    window_s = policy.refusals_window.total_seconds()
    window = f"{window_s / 60:.0f} min" if window_s >= 60 else f"{window_s:g} s"
    annotations = {
        "summary": f"{pipeline or 'no pipeline'}: the registry refuses schemas of {subject}{about}{version}",
        "description": f"{count} refusals in {window} (409), more than {policy.refusals}. {last.words if last else ''}",
    }
    digest = hashlib.sha256(json.dumps([ALERT, *key]).encode()).hexdigest()[:16]
    return Alert(digest, "resolved" if ends_at else "firing", labels, annotations, starts_at, ends_at)


def _notification(alert: Alert) -> Notification:
    return Notification("", f"refusals:{alert.fingerprint}", {}, SENDER, 0, (alert,), sender=SENDER)


def refusals_of(ledger: Ledger, pipeline: str, policy: Policy, now: datetime) -> Iterator[Refusals]:
    """Yield what is known of each subject of a pipeline that was refused lately."""
    keys = {key for told in (ledger.last, ledger.frozen) for key in told if key[0] == pipeline}
    for key in sorted(keys):
        yield Refusals(
            key[1], count_in_window(ledger, key, policy, now), policy.refusals, policy.refusals_window,
            ledger.last.get(key), ledger.blocked.get(key), ledger.frozen.get(key),
        )  # fmt: skip


@dataclass(frozen=True)
class Refusals:
    """The refusals of one subject: how many the window holds, how many are allowed, and the newest of each kind."""

    subject: str
    count: int
    allowed: int
    window: timedelta
    last: RefusedSchema | None = None
    blocked: RefusedSchema | None = None
    frozen: RefusedSchema | None = None


assert {one.name for one in fields(RefusedSchema)} >= set(_LONGEST)
