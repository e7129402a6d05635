"""Answers in Slack: the same Report as in the terminal, bounded to what Slack takes."""

from __future__ import annotations

import pytest

from bot.drill.block_rules import broken_rules
from bot.model import Status
from bot.render.answers import render_report, render_text
from bot.render.lint import violations
from bot.report import Report, Table, failure
from tests.unit.render.test_cards import words

LAG = Report(
    "consumer group customers_flink",
    Status.RED,
    (("lag", "120,412 records"), ("verdict", "STUCK")),
    Table(("partition", "lag"), (("customers-0", "120,412"), ("customers-1", "0")), frozenset({"lag"})),
    ("partition 0 has not moved for 90 s",),
    ("members: needs DESCRIBE on group customers_flink",),
    ("/cdc dlq dlq.customers", "Ask again in 30 s."),
)


def test_a_report_reads_top_down() -> None:
    """Status in words, facts, table with numbers to the right, notes, what is not known, next steps to copy."""
    message = render_report(LAG)
    expected = [
        "🔴 *RED* · *consumer group customers_flink*",
        "*lag*  120,412 records\n*verdict*  STUCK",
        "```\npartition        lag\ncustomers-0  120,412\ncustomers-1        0\n```",
        "• partition 0 has not moved for 90 s",
        "_not known:_ members: needs DESCRIBE on group customers_flink",
        "*Next*\n• `/cdc dlq dlq.customers`\n• Ask again in 30 s.",
    ]
    assert expected == words(message).split("\n\n") or expected == [b["text"]["text"] for b in message.blocks]
    assert "red: consumer group customers_flink" == message.text


@pytest.mark.parametrize("word", ["x" * 10_000, "<!channel>" * 50, "`" * 500, "\N{FIRE}" * 3000, "", "a\nb"])
@pytest.mark.parametrize("count", [1, 40, 2000])
def test_every_report_fits(word: str, count: int) -> None:
    """Rows go before columns, and the count of what is missing is told; nothing foreign is markup."""
    table = Table(("a", "b", "<c>"), ((word, word, word),) * count, frozenset({"b"}))
    pairs, lines = ((word or "k", word),) * count, (word,) * count
    message = render_report(Report(word, Status.UNKNOWN, pairs, table, lines, lines, lines))
    assert () == violations(message)
    assert [] == broken_rules(list(message.blocks))
    assert message.blocks
    assert "<!" not in words(message)
    if count == 2000:
        assert "more rows" in words(message)


def test_an_error_is_a_report_too() -> None:
    """What was asked, what was found, the next move."""
    text = words(render_report(failure("topic nowhere", "the broker has no such topic", "/cdc health")))
    assert "*UNKNOWN*" in text
    assert "the broker has no such topic" in text
    assert "`/cdc health`" in text


@pytest.mark.parametrize("text", ["Noted.", "", "x" * 50_000, "<!channel>"])
def test_a_sentence_fits(text: str) -> None:
    """Replies to clicks are sentences of ours with names of others."""
    assert () == violations(render_text(text))
