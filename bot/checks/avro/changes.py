"""What changed between two Avro schemas, field by field, in a person's words; `judge` says what that means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.checks.avro.difference import Difference, differences, guessed_renames, nullable
from bot.checks.avro.judgement import Judgement
from bot.checks.avro.schema import Fixed, Named, Primitive, Schema, namespace_of, unqualified
from bot.checks.avro.words import default_words, kind, meaning_change, type_words
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Pointer, Violation


@dataclass(frozen=True, slots=True)
class Change:
    """One change, in a person's words: `added: null | string, default null`. Pointers None where it is not there.

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
    """Return the field-level difference, in the order of the new schema; removed fields last.

    A field that went while another of its type came is told as removed and added, with the guess that it was renamed:
    only an alias makes it a rename for a reader.
    """
    found = differences(old, new)
    guesses = guessed_renames(old, new, found)
    told = []
    for one in found:
        words = _words(old, new, one)
        if one.path in guesses:
            words += f"; renamed {'from' if one.kind == 'added' else 'to'} {guesses[one.path]}? Then it needs an alias"
        gone, fresh = one.kind == "removed", one.kind == "added"
        told.append(Change(one.path, one.kind, words, None if fresh else one.old, None if gone else one.new))
    return tuple(told)


def judge(
    new: Schema, before: Sequence[Before], level: str, settings: SchemaSettings, subject: str | None = None
) -> tuple[Violation, ...]:
    """Return the violations C001-C020 of `new` after `before` (oldest first) at a compatibility level.

    Levels that are not transitive compare with the last of `before`; C018 looks at them all. One cause is one
    violation: what the registry would say of it is in its message. The rules are in `judgement.py`.
    """
    if not before:
        return ()
    return Judgement(new, [(one.schema, one.name) for one in before], level, settings, subject).violations()


def _words(old: Schema, new: Schema, one: Difference) -> str:
    if one.kind == "added":
        return f"added: {type_words(new, one.new_field.type)}, {default_words(one.new_field.default)}"
    if one.kind == "removed":
        return f"removed: {type_words(old, one.old_field.type)}, {default_words(one.old_field.default)}"
    if one.kind == "renamed":
        return f"renamed from {one.old_field.name} by alias"
    if one.kind == "name":
        assert one.old_named is not None and one.new_named is not None
        return _name_words(one.old_named, one.new_named)
    if one.kind == "enum":
        return _symbol_words(one)
    if one.kind == "default":
        return _default_words(one)
    if one.kind == "order":
        if one.added:
            return f"fields reordered: {', '.join(one.added)}"
        return f"sort order {one.old_field.order} -> {one.new_field.order}"
    if one.kind == "doc":
        return f"{', '.join(one.added)} changed"
    assert one.old_type is not None and one.new_type is not None
    if one.kind == "nullability":
        return "null allowed" if nullable(one.new_type) else "null no longer allowed"
    if one.kind == "logical":
        was, now = old.resolve(one.old_type), new.resolve(one.new_type)
        assert isinstance(was, Primitive | Fixed) and isinstance(now, Primitive | Fixed)
        return meaning_change(was, now)
    return f"type {type_words(old, one.old_type)} -> {type_words(new, one.new_type)}"


def _name_words(old: Named, new: Named) -> str:
    if unqualified(old.name) == unqualified(new.name):
        return f"namespace {namespace_of(old.name) or 'none'} -> {namespace_of(new.name) or 'none'}"
    return f"{kind(new)} renamed {old.name} -> {new.name}"


def _symbol_words(one: Difference) -> str:
    parts = [
        f"{what}: {', '.join(symbols)}" for what, symbols in (("added", one.added), ("removed", one.removed)) if symbols
    ]
    return f"symbols {'; '.join(parts) or 'reordered'}"


def _default_words(one: Difference) -> str:
    was, now = one.defaults
    return f"{default_words(was)} -> {default_words(now).removeprefix('default ')}"
