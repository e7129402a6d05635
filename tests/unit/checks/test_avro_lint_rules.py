"""The documented examples of the rules A001-A112, run through the real reader and linter."""

from __future__ import annotations

import re

import pytest

from bot.checks.avro.lint import lint
from bot.checks.avro.lint_rules import RULES
from bot.checks.avro.read import incomplete, link, read_part
from bot.checks.json_text import parse
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Example, Rule, Severity, Violation


def check(example: Example) -> tuple[Violation, ...]:
    document, wrong = parse(example.new, example.file)
    part = read_part(document, example.file)
    schemas, names = link([part])
    schemas |= incomplete([part], schemas)
    settings = SchemaSettings(**example.settings)
    return (*wrong, *part.violations, *names, *(one for s in schemas.values() for one in lint(s, settings)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_each_rule_finds_its_failing_example(rule: Rule) -> None:
    """The failing example breaks the rule once, at the rule's severity; the passing one breaks nothing at all."""
    found = [one for one in check(rule.failing) if one.rule == rule.id]
    assert [(rule.id, rule.severity)] == [(one.rule, one.severity) for one in found]
    assert [] == [(one.rule, one.message) for one in check(rule.passing)]


def test_every_rule_of_the_notes_is_there_and_says_why() -> None:
    """A001-A019 and A101-A112 in order, each with a reason of its own."""
    numbers = [*range(1, 20), *range(101, 113)]
    assert [f"A{number:03}" for number in numbers] == [rule.id for rule in RULES]
    assert len({rule.why for rule in RULES}) == len(RULES)
    assert all(20 < len(rule.why) for rule in RULES)
    assert all(re.match(r"[A-Zn]", rule.title) for rule in RULES)
    assert {Severity.WARNING, Severity.ERROR} == {rule.severity for rule in RULES}
