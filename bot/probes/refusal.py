"""A registry's refusal, read out of a connector's trace or an error answer.

    Apicurio   Incompatible artifact: S [AVRO], num of incompatible diffs: {1}, list of diff types: [tier at /fields/4]
    Confluent  Schema being registered is incompatible with an earlier schema for subject "S", details:
               [{errorType:'T', description:'... path 'P' ...', additionalInfo:'tier'}, {oldSchemaVersion: 1}, ...]
    Confluent before 7.1: `details: [Incompatibility{type:T, location:P, message:..}]`, or no details at all
    Karapace   Incompatible schema, compatibility_mode=BACKWARD. Incompatibilities: ...
    frozen     Subject S in context C is in read-only mode; error code: 42205 (Confluent, Redpanda)

The refused schema has no version and no name: what can be named is what it conflicts with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from bot.ports import SchemaVersion, SubjectState
from bot.redact import redact

WORDS_CHARACTERS = 400
NOTHING_SEEN: Mapping[tuple[str, int], datetime] = MappingProxyType({})

_APICURIO = re.compile(
    r"Incompatible artifact: (?P<subject>[^\n]+?) \[(?P<type>\w+)\].*?list of diff types: \[(?P<diffs>[^\n]*)\]", re.S
)
_APICURIO_DIFF = re.compile(r"\s*(?P<words>.*?) at (?P<path>/\S*?|/)(?:,|$)")
_CONFLUENT = re.compile(r"Schema being registered is incompatible with an earlier schema(?P<rest>[^\n]*)")
_CONFLUENT_SUBJECT = re.compile(r'for subject \\*"(?P<subject>[^"\\]+)\\*"')
_CONFLUENT_DETAIL = re.compile(
    r"errorType:\s*'(?P<kind>\w+)',\s*description:\s*'(?P<words>.*?)',\s*additionalInfo:\s*'(?P<extra>[^']*)'", re.S
)
_CONFLUENT_OLDER = re.compile(
    r"Incompatibility\{type:(?P<kind>\w+), location:(?P<path>[^,]*), message:(?P<words>[^,}]*)"
)
_CONFLUENT_PATH = re.compile(r"path '(?P<path>[^']*)'")
_CONFLUENT_FIELD = re.compile(r"[Tt]he field '(?P<field>[^']+)'")
_CONFLUENT_VERSION = re.compile(r"oldSchemaVersion:\s*(?P<version>\d+)")
_CONFLUENT_OLD_SCHEMA = re.compile(r"oldSchema:\s*'(?P<schema>\{.*?\})'\}")
_KARAPACE = re.compile(r"Incompatible schema, compatibility_mode=\w+\.?\s*Incompatibilities:(?P<rest>[^\n]*)")
_FROZEN = re.compile(r"Subject (?P<subject>\S+)(?: in context \S*)? is in read-only mode")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class SchemaRefusal:
    """What was refused. `registered_version` is the version it conflicts with. None is "the refusal does not say".

    `field_is_looked_up`: the name stands at that position in the *registered* schema; the refused one may differ.
    `words` are the registry's own, cut. `more` counts further conflicts in the same refusal. `frozen`: the subject is
    READONLY, so the registry takes no schema at all: nothing is known against this one.
    """

    subject: str | None
    field: str | None
    path: str | None
    registered_version: int | None
    words: str
    more: int = 0
    field_is_looked_up: bool = False
    frozen: bool = False


def read_refusal(text: str) -> SchemaRefusal | None:
    """Return the last refusal in a trace, or None when it is about something else."""
    for pattern, read in (
        (_APICURIO, _apicurio),
        (_CONFLUENT, _confluent),
        (_KARAPACE, _karapace),
        (_FROZEN, _frozen),
    ):
        found = list(pattern.finditer(text))
        if found:
            return read(found[-1])
    return None


def completed(
    refusal: SchemaRefusal,
    state: SubjectState | None,
    at: datetime | None = None,
    first_seen: Mapping[tuple[str, int], datetime] = NOTHING_SEEN,
) -> SchemaRefusal:
    """Return the refusal with the version it conflicts with and the field's name, where it lacked them.

    A registry compares with the newest version at the levels BACKWARD, FORWARD and FULL: the newest that was there `at`
    the refusal, not the one that repaired it. A *_TRANSITIVE level may have conflicted with an older one. A version is
    named only where no other is possible, a field where it has one name in all that are.
    """
    if state is None or not state.versions or state.subject != refusal.subject or refusal.frozen:
        return refusal
    possible, is_sure = _possible(state, at, first_seen)
    version = refusal.registered_version
    if version is None and is_sure and not (state.compatibility or "").endswith("_TRANSITIVE"):
        version = possible[0].version
    if refusal.field is not None or refusal.path is None:
        return replace(refusal, registered_version=version)
    against = [one for one in state.versions if one.version == version] or possible
    names = {field_at(one.schema, refusal.path) for one in against}
    name = names.pop() if len(names) == 1 else None
    return replace(refusal, registered_version=version, field=name, field_is_looked_up=name is not None)


def _possible(
    state: SubjectState, at: datetime | None, first_seen: Mapping[tuple[str, int], datetime]
) -> tuple[list[SchemaVersion], bool]:
    """Return the versions that may have been the newest at a time, and whether it was surely the one.

    What the bot saw in a later look than its first came in between; what it saw in its first may be older. A deleted
    one may have been there, too.
    """
    begun = min((seen for (subject, _), seen in first_seen.items() if subject == state.subject), default=None)
    registered = {one.version: one for one in state.versions}
    possible, strangers = list[SchemaVersion](), 0
    for number in sorted({*registered, *state.deleted}, reverse=True):
        version, seen = registered.get(number), first_seen.get((state.subject, number))
        told = version.registered_at if version else None
        later = told or (seen if seen != begun else None)
        if at is not None and later is not None and later > at:
            continue
        if version is None:
            strangers += 1
            continue
        possible.append(version)
        if at is not None and any(one is not None and one <= at for one in (told, seen)):
            break
    else:
        strangers += bool(state.versions) and any(one < state.versions[0].version for one in state.all_versions)
    return possible, len(possible) == 1 and not strangers


def sentence(refusal: SchemaRefusal) -> str:
    """Return one line for a person: what was refused, for which field, against which version."""
    if refusal.frozen:
        return f"the registry takes no new schema of {refusal.subject}: the subject is frozen (mode READONLY)"
    line = "the registry refused a new schema" + (f" of {refusal.subject}" if refusal.subject else "")
    if refusal.field:
        line += f": field {refusal.field}"
        if refusal.path:
            line += f" at {refusal.path}"
    elif refusal.path:
        line += f": at {refusal.path}"
    if refusal.more:
        line += f" and {refusal.more} more"
    if refusal.registered_version is not None:
        line += f"; conflicts with version {refusal.registered_version}"
    return line


def field_at(schema_text: str, path: str) -> str | None:
    """Return the dotted field name of a registry's path (`/fields/1/type/1` -> `amount`), None when there is none.

    A path leads through the use of a named type into its definition, wherever that stands.
    """
    try:
        node: Any = json.loads(schema_text)
    except (ValueError, RecursionError):
        return None
    named = {str(one["name"]).rpartition(".")[2]: one for one in _named_types(node)}
    names: list[str] = []
    for step in filter(None, path.split("/")):
        if isinstance(node, str):
            node = named.get(node.rpartition(".")[2])
        try:
            node = node[int(step)] if isinstance(node, list) else node[step]
        except (KeyError, IndexError, ValueError, TypeError):
            break
        if isinstance(node, dict) and "name" in node and "type" in node and not _is_named_type(node):
            names.append(str(node["name"]))
    return ".".join(names) or None


def _named_types(document: Any) -> Iterator[dict[str, Any]]:
    pending = [document]
    while pending:
        node = pending.pop()
        if isinstance(node, dict) and _is_named_type(node):
            yield node
        pending.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())


def _is_named_type(node: dict[str, Any]) -> bool:
    return node.get("type") in ("record", "error", "enum", "fixed") and "name" in node


def _apicurio(found: re.Match[str]) -> SchemaRefusal:
    diffs = list(_APICURIO_DIFF.finditer(found["diffs"]))
    words = diffs[0]["words"] if diffs else ""
    return SchemaRefusal(
        subject=found["subject"],
        field=words if _NAME.match(words) else None,
        path=diffs[0]["path"] if diffs else None,
        registered_version=None,
        words=_cut(found[0]),
        more=max(0, len(diffs) - 1),
    )


def _confluent(found: re.Match[str]) -> SchemaRefusal:
    rest = found["rest"]
    subject = _CONFLUENT_SUBJECT.search(rest)
    details = list(_CONFLUENT_DETAIL.finditer(rest)) or list(_CONFLUENT_OLDER.finditer(rest))
    version = _CONFLUENT_VERSION.search(rest)
    path = field = None
    if details:
        first = details[0].groupdict()
        located = _CONFLUENT_PATH.search(first["words"])
        path = first.get("path") or (located["path"] if located else None)
        field = _confluent_field(first, rest, path)
    return SchemaRefusal(
        subject=subject["subject"] if subject else None,
        field=field,
        path=path,
        registered_version=int(version["version"]) if version else None,
        words=_cut(found[0]),
        more=max(0, len(details) - 1),
    )


def _confluent_field(detail: dict[str, str], rest: str, path: str | None) -> str | None:
    """`additionalInfo` is the field only for a missing default; else the description may name it."""
    extra = detail.get("extra") or ""
    if detail["kind"] == "READER_FIELD_MISSING_DEFAULT_VALUE":
        if _NAME.match(extra):
            return extra
        if _NAME.match(detail["words"]):
            return detail["words"]
    named = _CONFLUENT_FIELD.search(detail["words"])
    if named:
        return named["field"]
    old = _CONFLUENT_OLD_SCHEMA.search(rest)
    return field_at(old["schema"].replace('\\"', '"'), path) if old and path else None


def _karapace(found: re.Match[str]) -> SchemaRefusal:
    return SchemaRefusal(None, None, None, None, _cut(found[0]))


def _frozen(found: re.Match[str]) -> SchemaRefusal:
    return SchemaRefusal(found["subject"], None, None, None, _cut(found[0]), frozen=True)


def _cut(words: str) -> str:
    words = " ".join(redact(words).split())
    return words if len(words) <= WORDS_CHARACTERS else words[:WORDS_CHARACTERS] + "..."
