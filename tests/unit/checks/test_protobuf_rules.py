"""Each P-rule's examples through the real protoc (and buf)."""

from __future__ import annotations

import pytest

from bot.checks.protobuf.delegation import added
from bot.checks.protobuf.rules import RULES
from bot.checks.violation import Example, Rule
from tests.unit.checks.proto_texts import BUF, judged, linted


def broken_rules(example: Example, rule: Rule) -> set[str]:
    if rule.id == "BUF":
        return {one.rule for one in added(BUF.lint({example.file: example.new}, {}).findings)}
    found = linted(example.new, example.old is not None, example.file)
    if example.old is not None:
        found = (*found, *judged(example.old, example.new, example.level))
    return {one.rule for one in found}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_the_failing_example_breaks_its_rule_and_the_passing_one_none(rule):
    """What `cdc check explain` shows is what the check says; the remedy's example is clean under every rule."""
    assert {rule.id, *rule.also} == broken_rules(rule.failing, rule)
    assert set() == broken_rules(rule.passing, rule)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.id != "BUF"], ids=lambda rule: rule.id)
def test_the_severity_in_the_table_is_the_one_of_the_example(rule):
    """The worst that the failing example shows is what the documentation says."""
    example = rule.failing
    found = [*linted(example.new, example.old is not None, example.file)]
    if example.old is not None:
        found += judged(example.old, example.new, example.level)
    assert rule.severity in {one.severity for one in found if one.rule == rule.id}
