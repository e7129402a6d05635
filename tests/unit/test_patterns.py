"""Patterns of other systems: Python's answer, in time linear in the text; what cannot be followed is None."""

from __future__ import annotations

import re
import time

import pytest

from bot.patterns import Undecided, read

FOREVER = [
    (r"(\w+-?)+_prod", "warehouse-inventory-snapshots-eu-central"),
    (r"([a-z]+[-_.]?)+\d", "shop-inventory-snapshots-eu-central"),
    (r"(a|aa)+", "a" * 200 + "b"),
    (r"(a*)*b", "a" * 200),
    (r"(?:a?){200}a{200}b", "a" * 200),
    (r".*.*.*.*.*.*.*x", "a" * 200),
    (r"(?=(?:a+)+b).*", "a" * 200),
    ("(a|a)" * 60 + "b", "a" * 60),
]


@pytest.mark.parametrize(("pattern", "text"), FOREVER)
def test_no_pattern_takes_for_ever(pattern: str, text: str) -> None:
    """Each of these keeps a backtracking engine busy for years; here, for less than the second of this deadline."""
    found = read(pattern)
    assert found is not None
    began_s = time.monotonic()
    assert found.fullmatch(text) is None
    assert time.monotonic() - began_s < 5


def test_what_would_take_too_long_is_undecided() -> None:
    """Linear in the text is still long where pattern and text are; it is not answered `no`."""
    found = read("(?:a?){1000}" * 4)
    assert found is not None
    with pytest.raises(Undecided):
        found.fullmatch("a" * 8000)


PATTERNS = [
    "", "a", "ab|c", "(a)|(b)", "(?:ab)+", "(a|b)*c", "a{2}", "a{,2}", "a{1,}b", "a{", "a{}", "a{x}", "[]a]+", "[^]a]",
    r"[\]a]+", r"\d+", r"\x61|\u0062|\141", r"\.", r"\bab\b", "^ab$", r"\Aa\Z", "(?i)aB", "(?i:a)b", "(?s)a.b", "a.b",
    "(?P<n>a+)b?", "(a+?)(a*)", "(a+)(a*)", "(?!b).*", "(?=a).+", "(?:a*)*", "((a)|b)+", "(?m)a\n^b$", "(?:)", "(|a)b",
]  # fmt: skip
TEXTS = [
    "",
    "a",
    "b",
    "c",
    "ab",
    "aa",
    "aab",
    "abc",
    "abab",
    "a{",
    "a{}",
    "a{x}",
    "]",
    "1",
    "१",
    "A",
    "aB",
    "a\nb",
    ".",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("flags", [0, re.ASCII, re.IGNORECASE])
def test_a_match_is_pythons(pattern: str, flags: int) -> None:
    """Whether it matches, and what each group holds: `re` is the judge, where it is quick."""
    found = read(pattern, ignore_case=bool(flags & re.IGNORECASE), ascii_only=bool(flags & re.ASCII))
    assert found is not None
    for text in TEXTS:
        expected, match = re.fullmatch(pattern, text, flags), found.fullmatch(text)
        shown = None if expected is None else [group or "" for group in (expected[0], *expected.groups())]
        assert (text, shown) == (text, None if match is None else [group or "" for group in match.groups])


def test_groups_have_their_names() -> None:
    """Numbers are counted from the left, names or none."""
    found = read("(a)(?P<second>b)")
    match = found.fullmatch("ab") if found else None
    assert match is not None
    assert (("ab", "a", "b"), {"second": 2}) == (match.groups, dict(match.names))


@pytest.mark.parametrize(
    "pattern",
    [
        "(", "[", "*", r"(a)\1", r"(?P<n>a)(?P=n)", "(?<=a)b", "(?<!a)b", "a++", "a*+", "(?>a)", "(a)(?(1)b)", "(?x)a",
        "(?#c)a", "(?=(a))a", "a{1001}", "((a{999}){999}){999}", "(((?:){999}){999}){999}", "(?u:a)", "(" * 5000,
        "(" * 5000 + ")" * 5000,
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_none(pattern: str) -> None:
    """Not a pattern, or one that needs backtracking, or has no end: nobody is answered a guess."""
    assert read(pattern) is None
