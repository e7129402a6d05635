"""Patterns of other systems: answered in time linear in the text; what cannot be read is None, never "no"."""

from __future__ import annotations

import time

import pytest

from bot.patterns import read


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(\w+-?)+_prod", "warehouse-inventory-snapshots-eu-central"),
        (r"([a-z]+[-_.]?)+\d", "shop-inventory-snapshots-eu-central"),
        (r"(a*)*b", "a" * 2000),
        (r".*.*.*.*.*.*.*x", "a" * 2000),
    ],
)
def test_no_pattern_takes_for_ever(pattern: str, text: str) -> None:
    """Each of these keeps a backtracking engine busy for years; the deadline is a hundred times what is needed."""
    found = read(pattern)
    assert found is not None
    began_s = time.monotonic()
    assert found.fullmatch(text) is None
    assert time.monotonic() - began_s < 2


@pytest.mark.parametrize(
    ("pattern", "text", "groups"),
    [
        ("a|ab", "ab", ("ab",)),
        ("a", "ab", None),
        ("(a)|(b)", "b", ("b", None, "b")),
        ("(?P<n>a+)b?", "aab", ("aab", "aa")),
        ("(?i)aB", "Ab", ("Ab",)),
        ("a.b", "a\nb", None),
        (r"\d", "१", None),
        ("[[:alpha:]]+", "ab", ("ab",)),
        ("a", "\ud800", None),
    ],
)
def test_the_whole_text_must_match(pattern: str, text: str, groups: tuple[str | None, ...] | None) -> None:
    """As Alertmanager anchors its matchers, and Java's `matches` does."""
    found = read(pattern)
    assert found is not None
    match = found.fullmatch(text)
    assert groups == (match.groups if match else None)


def test_groups_have_their_names() -> None:
    """Numbers are counted from the left, names or none."""
    found = read("(a)(?P<second>b)")
    match = found.fullmatch("ab") if found else None
    assert match is not None
    assert (("ab", "a", "b"), {"second": 2}) == (match.groups, dict(match.names))


@pytest.mark.parametrize("pattern", ["(", "[", "*", r"(a)\1", "(?<=a)b", "(?=a)a", "a++", "(?>a)", "a{1001}", "\ud800"])
def test_what_cannot_be_read_is_none(pattern: str) -> None:
    """Not a pattern, or one that needs backtracking: nobody is answered a guess."""
    assert read(pattern) is None
