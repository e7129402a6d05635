"""Every rule has an example that breaks it and one that does not, and both are what the documentation shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace

import pytest

from bot.checks.rules import ALL
from bot.checks.run import Snapshot, Source, check, read
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Example, Rule, Violation

TODAY = dt.date(2026, 11, 23)
WANTED = [
    *(f"A{number:03}" for number in range(1, 20)),
    *(f"A{number}" for number in range(101, 113)),
    *(f"C{number:03}" for number in range(1, 21)),
    "P001",
    *(f"P{number}" for number in range(101, 108)),
    *(f"P{number}" for number in range(201, 209)),
]


def found(example: Example) -> Iterable[Violation]:
    settings = replace(SchemaSettings(level=example.level), **dict(example.settings))
    corpus = read([Source(example.file, example.new, example.kind)])
    before = () if example.old is None else (Snapshot("before", {example.file: example.old}, frozenset()),)
    return check(corpus, settings, TODAY, before, ()).violations


def test_no_rule_is_missing() -> None:
    """Those of the notes' tables, each with severity, title and reason."""
    assert set() == set(WANTED) - set(ALL)
    assert all(rule.title and rule.why and rule.id == name for name, rule in ALL.items())


AVRO = [rule for rule in ALL.values() if rule.failing.kind == "avro"]


@pytest.mark.parametrize("rule", AVRO, ids=lambda rule: rule.id)
def test_the_failing_example_fails_and_the_passing_one_passes(rule: Rule) -> None:
    """By this rule, whatever others say."""
    assert rule.id in {violation.rule for violation in found(rule.failing)}
    assert rule.id not in {violation.rule for violation in found(rule.passing)}
