"""What changed between two Avro schemas, field by field, and what that means at a level and under a profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.checks.avro.schema import Schema
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Pointer, Violation


@dataclass(frozen=True, slots=True)
class Change:
    """One change, in a person's words: `added: ["null", "string"], default null`. Pointers None where it is not there.

    `kind` is one of `added, removed, renamed, type, logical, default, nullability, order, doc, enum, name`.
    """

    path: str
    kind: str
    words: str
    old: Pointer | None = None
    new: Pointer | None = None


@dataclass(frozen=True)
class Before:
    """A previous version and what to call it: `git main (3fa2b1c)`, `registry customers-value v4`. Oldest first."""

    schema: Schema
    name: str


def changes(old: Schema, new: Schema) -> tuple[Change, ...]:
    """Return the field-level difference, in the order of the new schema; removed fields last."""
    return ()


def judge(
    new: Schema, before: Sequence[Before], level: str, settings: SchemaSettings, subject: str | None = None
) -> tuple[Violation, ...]:
    """Return the violations C001-C020 of `new` after `before` (oldest first) at a compatibility level.

    Levels that are not transitive compare with the last of `before`; C018 looks at them all.
    """
    return ()
