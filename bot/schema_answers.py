"""The answers of `schema`: one subject, the difference between two of its versions, what changed lately anywhere.

`cdc schema SUBJECT diff [A [B]] --json`
    {subject, compatibility, from: VERSION, to: VERSION, backward, forward, verdict, changes: [CHANGE], not_known: []}
    VERSION is {version, id, registered_at, first_seen_at, deleted}; CHANGE is {path, change, verdict, backward,
    forward, rules, meaning} as in `probes.schema_diff`; `backward` and `forward` are null, `changes` empty, where the
    two could not be compared.

`cdc schema recent [24h] --json`
    {since, until, changes: [{at, by, kind, subject, version, id, from, to, pipeline, changes}], not_known: []}
    newest first; `kind` is `registered, deleted, erased, subject deleted, compatibility, mode`; `subject` null is the
    global level or mode; `changes` as above, null where they are not known.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bot.found import Known, ask_for, cell, report_of, seen
from bot.model import Finding, Pipeline, Signal, Status, counted
from bot.ports import PortError, SchemaRegistry, SchemaVersion, SubjectState
from bot.probes.schema_changes import PROBE, change_words, schema_of
from bot.probes.schema_diff import NOT_SEEN, Comparison, SchemaChange, compare, verdict_at
from bot.probes.schema_recent import RecentChange, recent_changes
from bot.probes.sources import Sources, rfc3339, unseen
from bot.report import Report, Table, failure

RECENT = "24h"
SHOWN_CHANGES = 30
LISTED_VERSIONS = 20

_LENGTH = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_VERSION = re.compile(r"v?([1-9][0-9]{0,8})", re.IGNORECASE)


def read_length(word: str) -> timedelta | None:
    """Return `30m`, `24h`, `7d` as a length of time, None for anything else."""
    found = _LENGTH.fullmatch(word.lower())
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None


def read_words(words: Sequence[str]) -> Mapping[str, str] | str:
    """Return the arguments of `schema WORDS`, or what is wrong with them.

    `recent` alone, or with a length of time, is no subject; `--subject recent` is, and so is `recent diff`.
    """
    words = list(words)
    if words[:1] == ["--subject"]:
        words = words[1:]
    elif words and words[0] == "recent" and words[1:2] != ["diff"]:
        if len(words) > 2 or (len(words) == 2 and read_length(words[1]) is None):
            return "recent takes a length of time like 30m, 24h or 7d, and nothing else"
        return {"recent": words[1] if len(words) == 2 else RECENT}
    if not words:
        return "needs a subject"
    if len(words) == 1:
        return {"subject": words[0]}
    if words[1] != "diff":
        return f"takes a subject and nothing else but `diff`, and got {len(words)} words"
    if len(words) > 4 or not all(_VERSION.fullmatch(word) for word in words[2:]):
        return "diff takes at most two version numbers"
    return {"subject": words[0], "diff": " ".join(_numbers(words[2:]))}


def _numbers(words: Sequence[str]) -> list[str]:
    return [found[1] for word in words if (found := _VERSION.fullmatch(word))]


def schema_answer(
    said: Mapping[str, str], sources: Sources, pipelines: Sequence[Pipeline], now: datetime, command: str
) -> Report:
    """Answer `schema SUBJECT`, `schema SUBJECT diff [A [B]]` or `schema recent [24h]`."""
    if "recent" in said:
        return recent_report(sources, pipelines, now, said["recent"], command)
    if "diff" in said:
        return diff_report(said["subject"], said["diff"], sources, pipelines, now, command)
    return schema_report(*seen(_look_at_subject, "schema", said, sources, pipelines, now), command)


def _look_at_subject(
    said: Mapping[str, str], sources: Sources, pipelines: Sequence[Pipeline], now: datetime
) -> Finding:
    return schema_of(sources, said["subject"], lambda: now)


def schema_report(finding: Finding, known: Known, command: str) -> Report:
    """A subject: its compatibility and newest versions with what changed in each, oldest first."""
    facts = finding.facts
    rows = tuple(
        (
            str(version["version"]),
            cell(version["id"]),
            cell(version["registered_at"]),
            cell(change.get("path") if change else None),
            cell(change.get("change") if change else None),
            cell(change.get("verdict") if change else None),
        )
        for version in facts["versions"]
        for change in (version["changes"] or (None,))
    )
    return report_of(
        finding,
        (("compatibility", cell(facts["compatibility"])), ("mode", cell(facts["mode"]))),
        Table(("version", "id", "registered", "path", "change", "verdict"), rows, frozenset({"version", "id"})),
        (f"{ask_for(finding, command)} diff",) if len(facts["versions"]) > 1 else (),
        known,
        command,
    )


# --- two versions --------------------------------------------------------------------------------


def diff_report(
    subject: str, wanted: str, sources: Sources, pipelines: Sequence[Pipeline], now: datetime, command: str
) -> Report:
    """What changed from one version to another: both directions, the level's verdict, and what no level looks at."""
    registry = sources.registry
    half_s = sources.deadline_s / 2

    def unread(error: PortError | None) -> Report:
        nothing: dict[str, Any] = {"subject": subject, "changes": []}

        def look(*_: Any) -> Finding:
            return unseen(PROBE, subject, Signal.SCHEMA, now, error, nothing, "the schema registry")

        finding, known = seen(look, "schema", {"subject": subject}, sources, pipelines, now)
        return report_of(finding, (), Table((), ()), (), known, command)

    if registry is None:
        return unread(None)
    try:
        state = registry.read_subject(subject, 2, half_s)
        chosen = _chosen(state, [int(number) for number in wanted.split()])
        if isinstance(chosen, str):
            why, _, versions = chosen.partition("\n")
            return failure(why, versions, _ask(subject, command))
        old, new = (_version(registry, state, number, half_s / 4) for number in chosen)
        referenced = {
            (used.subject, used.version): used
            for one in (old, new)
            if one.references
            for used in registry.read_referenced(one, half_s / 4)
        }
    except PortError as error:
        return unread(error)
    compared = compare(old, new, state.compatibility, referenced)
    return _diff(state, old, new, compared, sources)


def _chosen(state: SubjectState, wanted: Sequence[int]) -> tuple[int, int] | str:
    """Return the two versions meant, or why there are none and, on a second line, which there are."""
    there = state.all_versions
    shown = ", ".join(map(str, there[-LISTED_VERSIONS:])) + (" (soft-deleted: " if state.deleted else "")
    shown += f"{', '.join(map(str, state.deleted[-LISTED_VERSIONS:]))})" if state.deleted else ""
    earlier = (
        f"the newest {LISTED_VERSIONS} of its {len(there)} versions are" if len(there) > LISTED_VERSIONS else "it has"
    )
    listed = f"{earlier[0].upper()}{earlier[1:]} {shown or 'none'}."
    missing = [number for number in wanted if number not in there and number not in state.deleted]
    if missing:
        return f"There is no version {' and no version '.join(map(str, missing))} of {state.subject}\n{listed}"
    if len(wanted) == 2:
        return wanted[0], wanted[1]
    if not there or (not wanted and len(there) < 2):
        return f"There are no two versions of {state.subject} to compare\n{listed}"
    return (wanted[0], there[-1]) if wanted else (there[-2], there[-1])


def _version(registry: SchemaRegistry, state: SubjectState, number: int, deadline_s: float) -> SchemaVersion:
    read = next((one for one in state.versions if one.version == number), None)
    return read or registry.read_version(state.subject, number, deadline_s)


def _diff(
    state: SubjectState,
    old: SchemaVersion,
    new: SchemaVersion,
    compared: Comparison,
    sources: Sources,
) -> Report:
    changes = compared.changes or ()
    not_known = () if compared.changes is not None else (f"what changed: {compared.reason}",)
    verdict = None
    if compared.backward is not None and compared.forward is not None:
        verdict = verdict_at(state.compatibility, compared.backward, compared.forward)
    document = {
        "subject": state.subject,
        "compatibility": state.compatibility,
        "from": _version_document(state, old, sources),
        "to": _version_document(state, new, sources),
        "backward": compared.backward,
        "forward": compared.forward,
        "verdict": verdict,
        "changes": [one.document() for one in changes],
        "not_known": [*not_known],
    }
    rows = tuple(
        (one.path, one.change, _yes(one.backward), _yes(one.forward), one.verdict, " ".join(one.rules) or "-")
        for one in changes
    )
    meanings = tuple(f"{one.meaning} ({NOT_SEEN})" for one in changes if one.meaning)
    title = f"{state.subject}: version {old.version} -> {new.version}"
    what = counted(len(changes), "change") if compared.changes is not None else "not compared"
    return Report(
        f"{title}: {what if changes or compared.changes is None else 'no change that a reader sees'}",
        _colour(changes, verdict),
        facts=(
            ("compatibility", cell(state.compatibility)),
            (f"BACKWARD ({new.version} reads {old.version})", _yes(compared.backward)),
            (f"FORWARD ({old.version} reads {new.version})", _yes(compared.forward)),
        ),
        table=Table(("path", "change", "BACKWARD", "FORWARD", "verdict", "rules"), rows) if rows else None,
        notes=meanings,
        not_known=not_known,
        next_steps=tuple(f"cdc check explain {rule}" for rule in sorted({r for one in changes for r in one.rules}))[:3],
        document=document,
    )


def _version_document(state: SubjectState, version: SchemaVersion, sources: Sources) -> dict[str, Any]:
    return {
        "version": version.version,
        "id": version.schema_id,
        "registered_at": rfc3339(version.registered_at),
        "first_seen_at": rfc3339(sources.first_seen.get((version.subject, version.version))),
        "deleted": version.deleted or version.version in state.deleted,
    }


def _colour(changes: Sequence[SchemaChange], verdict: str | None) -> Status:
    if verdict is None:
        return Status.UNKNOWN
    if verdict == "incompatible" or any(one.meaning for one in changes):
        return Status.RED
    return Status.YELLOW if changes else Status.GREEN


def _ask(subject: str, command: str) -> str:
    """Return the question about a subject, to be copied: in a terminal a shell reads what others named."""
    return f"{command} schema {subject if command.startswith('/') else shlex.quote(subject)}"


def _yes(holds: bool | None) -> str:
    return "not known" if holds is None else "yes" if holds else "no"


# --- lately --------------------------------------------------------------------------------------


def recent_report(sources: Sources, pipelines: Sequence[Pipeline], now: datetime, length: str, command: str) -> Report:
    """What changed in the registry within a length of time, newest first, with the pipeline whose subject it is."""
    since = now - (read_length(length) or timedelta(hours=24))
    nothing: dict[str, Any] = {"since": rfc3339(since), "until": rfc3339(now), "changes": []}
    subjects = {subject: pipeline.name for pipeline in pipelines for subject in pipeline.subjects}
    if sources.registry is None:
        finding = unseen(PROBE, "recent changes", Signal.SCHEMA, now, None, nothing, "the schema registry")
        return report_of(finding, (), Table((), ()), (), Known(), command)
    try:
        found, not_known = recent_changes(sources, tuple(subjects), since)
    except PortError as error:
        finding = unseen(PROBE, "recent changes", Signal.SCHEMA, now, error, nothing, "the schema registry")
        return report_of(finding, (), Table((), ()), (), Known(), command)
    changes = [_recent_document(one, subjects) for one in found]
    rows = tuple(_row(one, subjects) for one in found[:SHOWN_CHANGES])
    more = len(found) - len(rows)
    named = next((one.change for one in found if one.change.subject and one.compared), None)
    return Report(
        f"{counted(len(found), 'change')} in the registry in {length}" if found else f"No change seen in {length}",
        Status.UNKNOWN if not_known and not found else Status.YELLOW if found else Status.GREEN,
        table=Table(("at", "subject", "what", "pipeline", "time by"), rows) if rows else None,
        notes=(f"{more} older ones are not shown; `--json` has all.",) if more > 0 else (),
        not_known=not_known,
        next_steps=(f"{_ask(named.subject or '', command)} diff",) if named else (),
        document={**nothing, "changes": changes, "not_known": list(not_known)},
    )


def _row(one: RecentChange, subjects: Mapping[str, str]) -> tuple[str, ...]:
    change = one.change
    words = change_words(change)
    if one.compared:
        first = one.compared[0]
        more = f" and {counted(len(one.compared) - 1, 'more change')}" if len(one.compared) > 1 else ""
        worst = "incompatible" if any(each.verdict == "incompatible" for each in one.compared) else first.verdict
        words += f": {first.path} {first.change}{more} ({worst})"
    return cell(rfc3339(change.at)), cell(change.subject), words, subjects.get(change.subject or "", "-"), one.by


def _recent_document(one: RecentChange, subjects: Mapping[str, str]) -> dict[str, Any]:
    change = one.change
    return {
        "at": rfc3339(change.at),
        "by": one.by,
        "kind": change.kind,
        "subject": change.subject,
        "version": change.version,
        "id": change.schema_id,
        "from": change.before,
        "to": change.after,
        "pipeline": subjects.get(change.subject or ""),
        "changes": None if one.compared is None else [each.document() for each in one.compared],
    }
