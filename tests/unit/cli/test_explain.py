"""`cdc check explain`: every rule can be asked about, and a mistyped one is told its neighbours."""

from __future__ import annotations

import pytest

import bot.app
from bot.checks.rules import ALL
from bot.cli import run


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(["check", "explain", *words], {}, lambda: bot.app)
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("rule", ALL.values(), ids=lambda rule: rule.id)
def test_a_rule_tells_its_reason_and_both_examples(rule, capsys) -> None:
    """Any case; for Avro with what the check says of the failing example, and what to write."""
    code, said, _ = explained(capsys, rule.id.lower())
    assert 0 == code
    assert said.startswith(f"{rule.id}  {rule.severity}: {rule.title}\n\n{rule.why}\n")
    assert "\nFails" in said
    assert "\nPasses" in said
    if rule.failing.kind == "avro":
        assert f"\n  {rule.id}  " in said


def test_without_a_rule_all_are_listed(capsys) -> None:
    """One a line, with severity."""
    code, said, _ = explained(capsys)
    assert 0 == code
    assert [*ALL] == [line.split()[0] for line in said.splitlines()[: len(ALL)]]


def test_an_unknown_rule_is_told_its_neighbours(capsys) -> None:
    """Usage, not a trace."""
    code, out, said = explained(capsys, "A0O9")
    assert (2, "") == (code, out)
    assert "A009" in said
