"""Every rule has an example that breaks it and one that does not, and both are what the documentation shows."""

from __future__ import annotations

import datetime as dt
import re

import pytest

from bot.checks.ddl.rules import RULES as OF_DDL
from bot.checks.examples import judged
from bot.checks.protobuf.rules import RULES as OF_PROTOBUF
from bot.checks.rules import ALL
from bot.checks.violation import Rule, Severity
from bot.render.checks_rules import example_lines

TODAY = dt.date(2026, 11, 23)
WANTED = [
    *(f"A{number:03}" for number in range(1, 20)),
    *(f"A{number}" for number in range(101, 113)),
    *(f"C{number:03}" for number in range(1, 21)),
    "P001",
    *(f"P{number}" for number in range(101, 108)),
    *(f"P{number}" for number in range(201, 209)),
    *(f"S{number:03}" for number in range(1, 8)),
]


def test_no_rule_is_missing() -> None:
    """Those of the notes' tables, each with severity, title and reason."""
    assert set() == set(WANTED) - set(ALL)
    assert all(rule.title and rule.why and rule.id == name for name, rule in ALL.items())


ELSEWHERE = {rule.id for rule in (*OF_PROTOBUF, *OF_DDL)}
"""Run through protoc and buf in test_protobuf_rules.py, through sqlglot in test_ddl.py: every one of these tables."""

HERE = [rule for rule in ALL.values() if rule.id not in ELSEWHERE]


@pytest.mark.parametrize("rule", HERE, ids=lambda rule: rule.id)
def test_the_failing_example_fails_and_the_passing_one_passes(rule: Rule) -> None:
    """By this rule, as gravely as the table says, and by the others it names; a passing one has no error of any."""
    failing, passing = judged(rule.failing, TODAY), judged(rule.passing, TODAY)
    assert failing is not None
    assert passing is not None
    assert rule.severity in {violation.severity for violation in failing if violation.rule == rule.id}
    errors = {one.rule for one in failing if one.severity is Severity.ERROR and one.waiver is None}
    assert set(rule.also) == errors - {rule.id}
    assert [] == [
        (violation.rule, violation.message)
        for violation in passing
        if violation.rule == rule.id or (violation.severity is Severity.ERROR and violation.waiver is None)
    ]


@pytest.mark.parametrize("rule", ALL.values(), ids=lambda rule: rule.id)
def test_each_block_of_the_page_is_in_the_language_it_says(rule: Rule) -> None:
    """A highlighter, and whoever pastes, go by the label."""
    page = "\n".join(example_lines(rule))
    blocks = re.findall(r"```(\w+)\n(.*?)\n```", page, re.DOTALL)
    wanted = sum(1 + (one.old is not None) + len(one.beside) for one in (rule.failing, rule.passing))
    assert wanted == len(blocks)
    assert {"json", "proto", "sql"} >= {language for language, _ in blocks}
    assert all((language == "json") == text.startswith(("{", '"', "[")) for language, text in blocks)
