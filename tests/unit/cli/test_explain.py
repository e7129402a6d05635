"""`cdc check explain`: every rule can be asked about, and a mistyped one is told which there are."""

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
    """Any case; for all but Protobuf and DDL with what the check says of the failing example, and what to write."""
    code, said, _ = explained(capsys, rule.id.lower())
    assert 0 == code
    assert said.startswith(f"{rule.id}  {rule.severity}: {rule.title}\n\n{rule.why}\n")
    assert "\nFails" in said
    assert "\nPasses" in said
    if rule.failing.kind == "avro" or rule.failing.answer:
        assert f"\n  {rule.id}  " in said


def test_without_a_rule_all_are_listed(capsys) -> None:
    """One a line, with severity."""
    code, said, _ = explained(capsys)
    assert 0 == code
    assert [*ALL] == [line.split()[0] for line in said.splitlines()[: len(ALL)]]


@pytest.mark.parametrize(
    ("asked", "there_are"),
    [
        ("A0O9", "The A-rules are A001-A019, A101-A112. "),
        ("c099", "The C-rules are C001-C020. "),
        ("BUFF", "There are A001-A019, A101-A112, C001-C020, P001, "),
        ("nonsense", "There are A001-A019, A101-A112, C001-C020, P001, "),
        ("", "There are A001-A019, A101-A112, C001-C020, P001, "),
    ],
)
def test_an_unknown_rule_is_told_which_there_are(asked, there_are, capsys) -> None:
    """Those of its family, else all. Usage, not a trace, and no guess: a neighbour's number is another rule."""
    code, out, said = explained(capsys, asked)
    assert (2, "") == (code, out)
    assert f"There is no rule {asked}." in said
    assert there_are in said
    assert "`cdc check explain` lists all." in said
