"""JSON text with places."""

from __future__ import annotations

import json
import time

import pytest

from bot.checks.json_text import MAX_DEPTH, Key, decode, locate, parse


@pytest.mark.parametrize(
    ("place", "words", "text"),
    [
        ((1, 1), "the file is empty", ""),
        ((1, 1), "the file is empty", " \n\t\n"),
        ((1, 3), 'a comma before "]"', "[1,]"),
        ((2, 8), 'a comma before "}"', '{\n "a": 1,\n}'),
        ((1, 7), "a comma is missing here", '{"a":1 "b":2}'),
        ((1, 5), "a colon is missing after the key", '{"a" 1}'),
        ((1, 2), "a single quote", "{'a': 1}"),
        ((1, 2), "a typographic quote", "[“a”]"),
        ((2, 3), "a comment", '{"a": 1,\n  // why\n"b": 2}'),
        ((1, 3), "/*", "[ /* why */ 1]"),
        ((1, 2), 'the key "a" without quotes', "{a: 1}"),
        ((1, 2), "a word of Python", "[True]"),
        ((1, 2), "not a number", "[01]"),
        ((1, 2), "not a number", "[.5]"),
        ((1, 2), "not a number", "[+1]"),
        ((1, 4), "a control character (U+0009)", '["a\tb"]'),
        ((1, 3), "is no escape of JSON", '["\\x"]'),
        ((1, 2), "not closed on its line", '["abc\n"]'),
        ((1, 2), "not closed on its line", '["abc'),
        ((1, 2), "half of a surrogate pair", '["\\ud800"]'),
        ((1, 2), "half of a surrogate pair", '["\\udc00"]'),
        ((1, 8), 'open is the "[" of 1:6', '{"a":[1}'),
        ((1, 7), 'the "[" of 1:6 is still open', '{"a":['),
        ((2, 1), "text after the end", "[1]\n[2]"),
        ((1, 1), "merge conflict", "<<<<<<< HEAD\n{}"),
        ((1, 1), "NUL", "\x00{"),
        ((1, 1), "HTML", "<html>"),
        ((1, 6), "a value is missing", '{"a":}'),
        ((1, 2), "a value is missing", "[,1]"),
        ((1, MAX_DEPTH + 1), "nested more than", "[" * 1000 + "]" * 1000),
        ((1, MAX_DEPTH + 1), "nested more than", "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)),
        ((1, 1), "a number of 5000 characters", "9" * 5000),
    ],
)
def test_broken_json_is_told_with_its_place(place: tuple[int, int], words: str, text: str) -> None:
    """One violation, at the slip itself, and no document."""
    document, violations = parse(text, "a.avsc")
    assert document is None
    assert [place] == [(one.line, one.column) for one in violations]
    assert words in violations[0].message
    assert violations[0].remedy


def test_the_line_is_quoted_with_a_caret_under_the_place() -> None:
    """Tabs and wide letters do not move the caret away."""
    message = parse('[\n\t"日本" 1]', "a.avsc")[1][0].message
    _, line, caret = message.split("\n")
    assert '   "日本" 1]' == line
    assert "         ^" == caret


def test_a_long_line_is_cut_around_the_place() -> None:
    """A minified schema of megabytes makes no message of megabytes."""
    text = "[" + "1," * 100_000 + "x" + ",1" * 100_000 + "]"
    message = parse(text, "a.avsc")[1][0].message
    _, line, caret = message.split("\n")
    assert len(line) < 120
    assert "x" == line[caret.index("^")]


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("", "", "[" + "1," * 48 + "]"),
        ("", " ...", "[x" + ",1" * 60 + "]"),
        ("... ", "", "[" + "1," * 60 + "x]"),
        ("... ", "", "[" + "1," * 60 + "x" + ",1" * 16 + "]"),
        ("... ", " ...", "[" + "1," * 60 + "x" + ",1" * 16 + " ]"),
    ],
)
def test_a_line_that_was_cut_says_on_which_side(before: str, after: str, text: str) -> None:
    """A hundred characters are shown; three dots are never a part of the file."""
    _, line, caret = parse(text, "a.avsc")[1][0].message.split("\n")
    assert (before, after) == (line[2:][: len(before)], line[len(line) - len(after) :])
    assert (before != "", after != "") == (line[2:].startswith("..."), line.endswith("..."))
    assert line[caret.index("^")] in "x,"


def test_a_line_of_windows_is_quoted_without_its_end() -> None:
    """A carriage return would put the cursor back."""
    assert '  {"a" 1}' == parse('{"a" 1}\r\n', "a.avsc")[1][0].message.split("\n")[1]


@pytest.mark.parametrize(
    ("document", "places", "text"),
    [
        ({"a": 1}, [(1, 1)], '\ufeff{"a": 1}'),
        ({"a": 2}, [(1, 8)], '{"a":1,"a":2}'),
        ({"a": 3}, [(1, 8), (1, 14)], '{"a":1,"a":2,"a":3}'),
        ([float("inf")], [(1, 2)], "[Infinity]"),
        ([{"b": 2}, 0], [(2, 1)], '[{"b": 1,\n"b": 2}, 0]'),
        ("ab", [], '"ab"'),
        (["😀"], [], '["\\ud83d\\ude00"]'),
        ([{}], [], "[" + "{}" + "]"),
    ],
)
def test_what_can_still_be_read_is_read(document: object, places: list[tuple[int, int]], text: str) -> None:
    """A byte order mark, a key that stands twice and NaN are said, and the rest is judged."""
    found, violations = parse(text, "a.avsc")
    assert document == found
    assert places == [(one.line, one.column) for one in violations]


def test_a_key_that_stands_twice_names_both_places() -> None:
    """The violation stands at the second and names the first; its path tells the two objects apart."""
    _, (one,) = parse('{"fields": [\n {"doc": "a",\n  "doc": "b"}]}', "a.avsc")
    assert (3, 3, "fields[0].doc") == (one.line, one.column, one.path)
    assert "first at 2:3" in one.message
    _, (one,) = parse('{"fields": [1, {}, {"doc": "a", "doc": "b"}]}', "a.avsc")
    assert "fields[2].doc" == one.path


def test_the_deepest_nesting_that_is_allowed_is_read_whole() -> None:
    """The limit is between 160 and 161."""
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert json.loads(text) == parse(text, "a.avsc")[0]


@pytest.mark.parametrize(
    ("text", "place", "words", "raw"),
    [
        ('["é"]', None, "", '["é"]'.encode()),
        ('["\ufffd"]', (1, 3), "0xE9 is not UTF-8", '["é"]'.encode("latin-1")),
        ('\n["é\ufffd"]', (2, 4), "0xFF is not UTF-8", b'\n["\xc3\xa9\xff"]'),
        ('["é"]', (1, 1), "UTF-16", '["é"]'.encode("utf-16")),
        ('["é"]', (1, 1), "UTF-16", b"\xfe\xff" + '["é"]'.encode("utf-16-be")),
    ],
)
def test_bytes_that_are_not_utf_8_are_said_and_the_rest_is_read(
    text: str, place: tuple[int, int] | None, words: str, raw: bytes
) -> None:
    """Each with the place of the first foreign byte."""
    found, violations = decode(raw, "a.avsc")
    assert text == found
    assert ([place] if place else []) == [(one.line, one.column) for one in violations]
    assert all(words in one.message for one in violations)


TEXT = """{
  "type": "record",
  "fields": [
    {"name": "a", "type": ["null", "int"]}, {"name": "b\\u0021", "type": {"type": "array", "items": "int"}}
  ],
  "été": {"": 1, "x\\"y": 2}
}
"""


@pytest.mark.parametrize(
    ("place", "pointer"),
    [
        ((1, 1), ()),
        ((2, 11), ("type",)),
        ((2, 3), (Key("type"),)),
        ((3, 13), ("fields",)),
        ((4, 5), ("fields", 0)),
        ((4, 27), ("fields", 0, "type")),
        ((4, 36), ("fields", 0, "type", 1)),
        ((4, 45), ("fields", 1)),
        ((4, 54), ("fields", 1, "name")),
        ((4, 100), ("fields", 1, "type", "items")),
        ((6, 15), ("été", "")),
        ((6, 26), ("été", 'x"y')),
        ((4, 45), ("fields", 1, "default", "x")),  # not there: its nearest parent
        ((3, 13), ("fields", 7)),
        ((1, 1), ("nothing",)),
        ((2, 11), ("type", "inside", "a", "string")),
    ],
)
def test_a_pointer_is_found_in_the_text(place: tuple[int, int], pointer: tuple[str | int, ...]) -> None:
    """The value's place; the key's for a `Key`; the parent's for what is not there."""
    assert place == locate(TEXT, [pointer])[pointer]
    line, column = locate("\ufeff" + TEXT, [pointer])[pointer]
    assert place == (line, column)


def test_all_pointers_are_found_in_one_scan() -> None:
    """As many answers as questions, also where the text is not JSON."""
    pointers = [("fields", i) for i in range(3)] + [("fields", 1, "name"), ()]
    assert set(pointers) == set(locate(TEXT, pointers))
    assert {(): (1, 1), ("a", 0): (1, 8)} == locate('{"a": [1, ', [(), ("a", 0)])
    assert (1, 1) == locate("", [("a",)])[("a",)]
    deep = (0,) * 4000
    assert 1 == locate("[" * 5000, [deep])[deep][0]


def test_five_megabytes_are_no_trouble() -> None:
    """Read and located in a second or so, whole or broken at its end."""
    field = {"name": "f", "type": ["null", "string"], "default": None, "doc": "what it is"}
    text = json.dumps({"type": "record", "fields": [field] * 60_000}, indent=1)
    assert len(text) > 5_000_000
    start = time.perf_counter()
    document, violations = parse(text, "a.avsc")
    assert () == violations
    assert 60_000 == len(document["fields"])
    assert locate(text, [("fields", 59_999, "doc")])[("fields", 59_999, "doc")][0] > 400_000
    assert time.perf_counter() - start < 5
    (one,) = parse(text[:-1] + ",}", "a.avsc")[1]
    assert "a comma" in one.message


def test_twenty_thousand_keys_that_stand_twice_are_told_in_linear_time() -> None:
    """Each by its own place."""
    text = "[" + ",\n".join('{"a": 1, "a": 2}' for _ in range(20_000)) + "]"
    start = time.perf_counter()
    violations = parse(text, "a.avsc")[1]
    assert 20_000 == len({(one.line, one.column) for one in violations})
    assert time.perf_counter() - start < 5
