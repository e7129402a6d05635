"""Foreign text in a message: escaped, cut, and unable to look like something else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.render.blocks import clock, code, cut, escaped, fence, line, prose, units


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("&lt;!channel&gt;", "<!channel>"),
        ("a &amp; b", "a & b"),
        ("&amp;lt;", "&lt;"),
        ("one two", " one \n\t two "),
        ("evil txt", "evil\u202e txt\u2066\x00\u200b"),
        ("half \ufffd", "half \ud83d"),
        ("", "\n"),
    ],
)
def test_foreign_text_is_one_harmless_line(expected: str, text: str) -> None:
    """Entities for markup, one line, no direction marks, no halves of characters."""
    assert expected == line(text)


@pytest.mark.parametrize("text", ["x" * 10_000, "<" * 10_000, "\N{FIRE}" * 10_000, "a<\N{FIRE}&" * 3_000])
@pytest.mark.parametrize("limit", [5, 20, 75, 3000])
def test_a_cut_ends_in_an_ellipsis_and_never_inside_an_entity(text: str, limit: int) -> None:
    """At most the limit in UTF-16 units, entities whole."""
    for made in (escaped(text, limit), cut(text, limit), line(text, limit)):
        assert units(made) <= limit
        assert made.endswith("…")
    rest = escaped(text, limit)[:-1].replace("&lt;", "").replace("&amp;", "").replace("&gt;", "")
    assert not set("<>&") & set(rest)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("`cdc lag g`", "cdc lag g"),
        ("```\necho `date`\n```", "echo `date`"),
        ("```\na\nb\n```", "a\nb\n"),
        ("```\n′′′&lt;!here&gt;\n```", "```<!here>"),
        ("` `", ""),
    ],
)
def test_code_cannot_be_left(expected: str, text: str) -> None:
    """A span where it fits on a line, a block otherwise; backticks inside end neither."""
    assert expected == code(text)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("see `incidents`, &lt;b&gt;", "see `incidents`, <b>"),
        ("an odd ′ one", "an odd ` one"),
        ("′′′fence′′′", "```fence```"),
    ],
)
def test_prose_keeps_its_code_spans(expected: str, text: str) -> None:
    """A refusal says what to type as code; backticks that do not pair are none."""
    assert expected == prose(text)


def test_a_fence_keeps_its_limit() -> None:
    """The fences count."""
    assert 100 == units(fence("x" * 500, 100))


def test_a_time_of_another_day_has_its_date() -> None:
    """At 00:10 an alert of 23:50 was yesterday."""
    now = datetime(2026, 11, 23, 0, 10, tzinfo=UTC)
    assert "00:05 UTC" == clock(now.replace(minute=5), now)
    assert "2026-11-22 23:50 UTC" == clock(now.replace(day=22, hour=23, minute=50), now)
