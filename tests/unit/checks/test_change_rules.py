"""What `cdc check explain` shows of C001-C020 is what the engine says."""

from __future__ import annotations

import json

import pytest

from bot.checks.avro.change_rules import RULES
from bot.checks.avro.changes import Before, judge
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Example, Rule, Violation
from tests.unit.checks.avro_documents import schema

OF_TWO_AVRO_SCHEMAS = [rule for rule in RULES if rule.id != "C019"]


def run(example: Example) -> tuple[Violation, ...]:
    assert example.old is not None
    new, old = (schema(json.loads(text), example.file) for text in (example.new, example.old))
    return judge(new, [Before(old, "git main")], example.level, SchemaSettings(**example.settings))


@pytest.mark.parametrize("rule", OF_TWO_AVRO_SCHEMAS, ids=[rule.id for rule in OF_TWO_AVRO_SCHEMAS])
def test_each_example_does_what_it_says(rule: Rule) -> None:
    """The failing example breaks this rule and no other, at its severity; the passing one breaks none but C020's."""
    assert [(rule.id, rule.severity)] == [(one.rule, one.severity) for one in run(rule.failing)]
    assert rule.id not in {one.rule for one in run(rule.passing)}


def test_the_rules_are_complete_and_in_order() -> None:
    """C001 to C020, each with a reason of at least two sentences' length."""
    assert [f"C{number:03}" for number in range(1, 21)] == [rule.id for rule in RULES]
    assert all(len(rule.why) > 100 and rule.title for rule in RULES)
