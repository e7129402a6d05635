"""What changed between two registered versions, what their level says to it, and what the registry does not see.

`compare` asks the engine of the checks: the field-level difference, both directions of schema resolution, and the rules
of meaning. A registry accepts a new decimal scale or time unit, because no registry looks at logical types: readers
then take old numbers for new ones. That is told apart as `meaning`.

    compatible      the level allows it
    incompatible    the level refuses it
    unknown         the level is NONE or not known, and not both directions hold

Promise: text that cannot be compared is a reason, never an empty list: no changes would read as "nothing changed".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.checks.avro.changes import Before, Change, changes, judge
from bot.checks.avro.read import link, read_part
from bot.checks.avro.resolution import Incompatibility, incompatibilities
from bot.checks.avro.schema import Schema
from bot.checks.json_text import parse
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Severity, Violation
from bot.ports import SchemaVersion

COMPATIBLE = "compatible"
INCOMPATIBLE = "incompatible"
UNKNOWN = "unknown"

MEANING = ("C008", "C009")
"""A decimal's precision or scale, a logical type or a time unit: no registry's level looks at them."""

NOT_SEEN = "the registry accepted it: it does not see logical types"

# What a level asks: does the new one read the old, does the old one read the new.
_ASKED = {"BACKWARD": (True, False), "FORWARD": (False, True), "FULL": (True, True)}


@dataclass(frozen=True)
class SchemaChange:
    """One change. `backward`: the new version reads what the old one wrote here; `forward`: the other way round.

    `rules` are the ids of `cdc check explain` that it breaks, `meaning` the words of one that no registry looks at.
    """

    path: str
    change: str
    verdict: str
    backward: bool = True
    forward: bool = True
    rules: tuple[str, ...] = ()
    meaning: str | None = None

    def document(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "change": self.change,
            "verdict": self.verdict,
            "backward": self.backward,
            "forward": self.forward,
            "rules": list(self.rules),
            "meaning": self.meaning,
        }


@dataclass(frozen=True)
class Comparison:
    """`changes` is None where the two could not be compared, and `reason` says why."""

    changes: tuple[SchemaChange, ...] | None
    reason: str = ""

    @property
    def backward(self) -> bool | None:
        return None if self.changes is None else all(one.backward for one in self.changes)

    @property
    def forward(self) -> bool | None:
        return None if self.changes is None else all(one.forward for one in self.changes)


def compare(
    old: SchemaVersion,
    new: SchemaVersion,
    level: str | None,
    referenced: Mapping[tuple[str, int], SchemaVersion],
) -> Comparison:
    """Return the changes from `old` to `new`; `referenced` holds the schemas that they use, by subject and version."""
    for one in (old, new):
        if one.schema_type != "AVRO":
            return Comparison(None, f"{one.schema_type} schemas are not compared field by field")
    before, after = readable(old, referenced), readable(new, referenced)
    for one, schema in ((old, before), (new, after)):
        if schema is None:
            return Comparison(None, f"the text of version {one.version} is not a readable Avro schema")
    assert before is not None and after is not None
    return Comparison(tuple(_changes(before, after, level)))


def refused_by(
    new: SchemaVersion,
    earlier: Iterable[SchemaVersion],
    level: str | None,
    referenced: Mapping[tuple[str, int], SchemaVersion],
) -> tuple[int, ...]:
    """Return the versions for which the level refuses `new`: the last one counts, at a *_TRANSITIVE level all do.

    Versions that cannot be compared are left out.
    """
    asked = _ASKED.get((level or "").removesuffix("_TRANSITIVE"))
    after = readable(new, referenced)
    versions = tuple(earlier) if (level or "").endswith("_TRANSITIVE") else tuple(earlier)[-1:]
    if asked is None or after is None:
        return ()
    refused = []
    for one in versions:
        before = readable(one, referenced) if one.schema_type == new.schema_type == "AVRO" else None
        if before is not None and (
            (asked[0] and incompatibilities(after, before)) or (asked[1] and incompatibilities(before, after))
        ):
            refused.append(one.version)
    return tuple(refused)


def readable(version: SchemaVersion, referenced: Mapping[tuple[str, int], SchemaVersion]) -> Schema | None:
    """Return an Avro version as a schema with the names of those it uses, None where any part cannot be read."""
    parts = {}
    pending = [version]
    while pending:
        one = pending.pop()
        file = f"{one.subject} v{one.version}"
        if file in parts:
            continue
        document, faults = parse(one.schema, file)
        if document is None and faults:
            return None
        parts[file] = part = read_part(document, file)
        if not part.sound:
            return None
        for used in one.references:
            inner = referenced.get((used.subject, used.version))
            if inner is None:
                return None
            pending.append(inner)
    schemas, _ = link(parts.values())
    return schemas.get(f"{version.subject} v{version.version}")


def _changes(old: Schema, new: Schema, level: str | None) -> list[SchemaChange]:
    """Return one line per change; a conflict that belongs to none has a line of its own."""
    found = [one for one in changes(old, new) if one.kind != "doc"]
    backward = [(one.path, one) for one in incompatibilities(new, old)]
    forward = [(one.writer_path or one.path, one) for one in incompatibilities(old, new)]
    broken = [v for v in judge(new, (Before(old, "before"),), _known(level), SchemaSettings()) if v.rule != "C020"]
    stops_new, stray_new = _shared(found, backward)
    stops_old, stray_old = _shared(found, forward)
    told = [
        _change(one, level, index not in stops_new, index not in stops_old, [v for v in broken if v.path == one.path])
        for index, one in enumerate(found)
    ]
    for stray, is_backward in ((stray_new, True), (stray_old, False)):
        told += [
            SchemaChange(path or WHOLE, one.message, verdict_at(level, not is_backward, is_backward), not is_backward,
                         is_backward)
            for path, one in stray
        ]  # fmt: skip
    return told


WHOLE = "(schema)"


def _change(one: Change, level: str | None, backward: bool, forward: bool, broken: Sequence[Violation]) -> SchemaChange:
    meaning = next((v for v in broken if v.rule in MEANING and v.severity is Severity.ERROR), None)
    return SchemaChange(
        one.path or WHOLE,
        one.words,
        verdict_at(level, backward, forward),
        backward,
        forward,
        tuple(sorted({v.rule for v in broken})),
        None if meaning is None else meaning.message,
    )


def _shared(
    found: Sequence[Change], conflicts: Sequence[tuple[str, Incompatibility]]
) -> tuple[set[int], list[tuple[str, Incompatibility]]]:
    """Return which changes a conflict belongs to: those at its path, else those above or below; and the stray ones."""
    stopped: set[int] = set()
    stray = []
    for path, conflict in conflicts:
        at = [i for i, one in enumerate(found) if one.path == path and one.kind not in _HARMLESS]
        near = at or [
            i
            for i, one in enumerate(found)
            if one.kind not in _HARMLESS
            and (
                _is_below(one.path, path)
                or _is_below(path, one.path)
                or (one.kind == "renamed" and one.old in (conflict.reader, conflict.writer))
            )
        ]
        stopped.update(near)
        if not near:
            stray.append((path, conflict))
    return stopped, stray


# No reader stumbles over these, whatever else changed at the same place.
_HARMLESS = frozenset({"order", "doc", "logical"})


def _is_below(path: str, above: str) -> bool:
    return not above or (path.startswith(above) and path[len(above) :][:1] in (".", "[", "{"))


def verdict_at(level: str | None, backward: bool, forward: bool) -> str:
    asked = _ASKED.get((level or "").removesuffix("_TRANSITIVE"))
    if asked is None:
        return COMPATIBLE if backward and forward else UNKNOWN
    return COMPATIBLE if (backward or not asked[0]) and (forward or not asked[1]) else INCOMPATIBLE


def _known(level: str | None) -> str:
    return level or "NONE"
