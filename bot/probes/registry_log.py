"""Refused registrations, read from a registry's own log: lines in, refusals out.

    Apicurio   apicurio.audit action="registerSchemaUnderSubject" result="failure" ... error_msg="...: Incompatible
               artifact: S [AVRO], ... list of diff types: [tier at /fields/4]" artifact_id="S"   (subject and field)
    Confluent  [...] INFO 10.0.0.7 - - [23/Nov/2026:14:02:11 +0000] "POST /subjects/S/versions HTTP/1.1" 409 211 "-" ...
               (io.confluent.rest-utils.requests); the exception's line before it tells field and version
    Karapace   10.0.0.7:53110 - "POST /subjects/S/versions HTTP/1.1" 409 Conflict; a proxy's access log, too

One refusal is one line: where audit lines are, request lines are not counted beside them. Only what would have
registered counts: a compatibility check answers 200, and a `dryRun` of Apicurio registers nothing. Apicurio's own API
(v2, v3) answers 400 where its Confluent API answers 409; the audit line is the same.

A subject that is frozen (mode READONLY, Confluent's 42205) is told by the exception's line: the request line has 422,
which an invalid schema has too.

`LogReader.read` is a function of the lines before and this one. No line is too strange: what is not recognised is None.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote

from bot.incident.refusals import FROM_LOG, RefusedSchema
from bot.probes.refusal import SchemaRefusal, read_refusal
from bot.redact import redact

MOST_TOLD = 200
"""Exceptions whose request line has not come yet; it comes next."""
MOST_CHARACTERS = 16 * 1024
"""Of a line: Confluent quotes the whole old schema, after all that is wanted of it."""

_AUDIT = re.compile(r'apicurio\.audit action="(?P<action>\w+)" result="(?P<result>\w+)"(?P<rest>.*)', re.S)
_AUDIT_SUBJECT = re.compile(r' artifact_id="(?P<subject>.*?)"(?: \w+="[^"]*")*\s*\Z', re.S)
_AUDIT_WORDS = re.compile(r' error_msg="(?P<words>.*?)"(?: (?:artifact_id|group_id)="|\s*\Z)', re.S)
_AUDIT_TIME = re.compile(
    r"(?P<month>\d{4}-\d\d)(?P<zone>[+-]\d\d(?:\d\d)?|Z)?-(?P<day>\d\d)[ T](?P<time>\d\d:\d\d:\d\d)(?:[.,]\d+)?"
)
_REQUEST = re.compile(
    r'"POST (?:https?://[^/\s"]+)?(?P<path>/[^\s"?]*)(?:\?[^\s"]*)?(?: HTTP/[\d.]+)?" (?P<status>\d{3})(?!\d)'
)
_VERSIONS = re.compile(r"/subjects/(?P<subject>[^/]+)/versions/?\Z")
_REQUEST_TIME = re.compile(r"\[(\d{1,2}/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]")
_LEVEL = re.compile(r"compatibility(?:_mode=|: ')(?P<level>[A-Z_]+)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class LogReader:
    """Reads one log's lines in order. `has_audit`: the log is Apicurio's, whose audit lines alone count."""

    def __init__(self, has_audit: bool = False) -> None:
        self.has_audit = has_audit
        self._told: dict[str, SchemaRefusal] = {}

    def read(self, line: str) -> RefusedSchema | None:
        """Return the refusal that a line tells of, None for any other. Its time is None where the line has no zone."""
        line = line[:MOST_CHARACTERS]
        if "apicurio.audit " in line and (audit := _AUDIT.search(line)):
            self.has_audit = True
            return _audited(line, audit)
        if '"POST ' in line and (request := _REQUEST.search(line)):
            return None if self.has_audit else self._requested(line, request)
        is_told = "ncompatible" in line or "read-only mode" in line
        if is_told and (refusal := read_refusal(line)) is not None and refusal.subject:
            if refusal.frozen:
                return RefusedSchema(FROM_LOG, refusal.subject, words=refusal.words, is_frozen=True)
            while len(self._told) >= MOST_TOLD:
                del self._told[next(iter(self._told))]
            self._told[refusal.subject] = refusal
        return None

    def _requested(self, line: str, request: re.Match[str]) -> RefusedSchema | None:
        found = _VERSIONS.search(request["path"])
        if found is None:
            return None
        subject = unquote(found["subject"], errors="replace")
        told = self._told.pop(subject, None)
        if request["status"] != "409":
            return None
        return _refused(subject, told, _request_time(line))


def _audited(line: str, audit: re.Match[str]) -> RefusedSchema | None:
    """Return the refusal of an audit line; a failure of another kind (no such artifact, not a schema) is none."""
    if audit["result"] != "failure" or 'dryRun="true"' in audit["rest"]:
        return None
    words = _AUDIT_WORDS.search(audit["rest"])
    refusal = read_refusal(words["words"]) if words else None
    if refusal is None:
        return None
    subject = _AUDIT_SUBJECT.search(audit["rest"])
    return _refused(subject["subject"] if subject else refusal.subject or "", refusal, _audit_time(line))


def _refused(subject: str, told: SchemaRefusal | None, at: datetime | None) -> RefusedSchema | None:
    if not subject:
        return None
    if told is None:
        return RefusedSchema(FROM_LOG, subject, at)
    level = _LEVEL.search(told.words)
    return RefusedSchema(
        FROM_LOG, subject, at, told.field, told.path, told.registered_version, level["level"] if level else None,
        redact(told.words), told.more,
    )  # fmt: skip


def _audit_time(line: str) -> datetime | None:
    """Apicurio writes the offset between month and day (`2026-11+00-23 22:22:44`); an older one leaves it out."""
    found = _AUDIT_TIME.match(line.lstrip()) or _AUDIT_TIME.search(line)
    if found is None or not found["zone"]:
        return None
    zone = found["zone"].replace("Z", "+00")
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5] or 0))
    try:
        at = datetime.fromisoformat(f"{found['month']}-{found['day']}T{found['time']}")
        return at.replace(tzinfo=timezone(-offset if zone[0] == "-" else offset)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _request_time(line: str) -> datetime | None:
    found = _REQUEST_TIME.search(line)
    if found is None:
        return None
    day, month, rest = found[1].split("/", 2)
    if month not in _MONTHS:
        return None
    year, time, zone = rest[:4], rest[5:13], rest[14:]
    try:
        text = f"{year}-{_MONTHS.index(month) + 1:02}-{int(day):02}T{time}{zone[:3]}:{zone[3:]}"
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
