"""What the examples of the rules do not show: waivers, levels, history, the registry's verdict, what buf adds."""

from __future__ import annotations

import pytest

from bot.checks.protobuf.changes import Before, changes, judge
from bot.checks.protobuf.delegation import OURS, added
from bot.checks.protobuf.lint import ZERO_IS_MEANINGFUL
from bot.checks.protobuf.pairs import uncovered
from bot.checks.protobuf.registry import refusals
from bot.checks.protobuf.waivers import read_waivers
from bot.checks.protobuf.wire import Harm, read_type
from bot.checks.violation import Severity, Waiver
from bot.clients.buf import BufCommand
from bot.ports import Missing, Unreachable
from tests.unit.checks.proto_texts import BUF, FILE, HEADS, SETTINGS, judged, linted, one

HEAD = HEADS["proto3"]


def message(lines, head=HEAD):
    return f"{head}message M {{\n{lines}\n}}\n"


def rules(violations):
    return {(one.rule, one.path.rpartition(".")[2]) for one in violations}


def test_p105_is_about_every_field_of_a_file_without_a_past_and_about_new_fields_otherwise():
    """Old fields do not drown the one that a person just wrote."""
    old, new = message("string a = 1;"), message("string a = 1; string b = 2;\n// Both.\nmessage N { bool c = 1; }")
    assert {"a", "b", "c"} == {path for rule, path in rules(linted(new)) if rule == "P105"}
    assert set() == {path for rule, path in rules(linted(new, is_compared=True)) if rule == "P105"}
    assert {"b", "c"} == {path for rule, path in rules(judged(old, new)) if rule == "P105"}
    assert {("P105", "b"), ("P105", "c")} == rules(judged(old, new, "NONE"))


@pytest.mark.parametrize(
    ("syntax", "was", "now"),
    [
        ("proto3", "optional int64 a = 1;", "optional string a = 1;"),
        ("proto3", "int64 a = 1;", "string a = 1;"),
        ("proto3", "E a = 1;", "string a = 1;"),
        ("proto3", "optional E a = 1;", "optional string a = 1;"),
        ("proto3", "N a = 1;", "int32 a = 1;"),
        ("proto3", "map<string, N> a = 1;", "repeated int64 a = 1;"),
        ("proto3", "repeated N a = 1;", "N a = 1;"),
        ("proto3", "optional E a = 1;", "E a = 1;"),
        ("proto2", "optional int64 a = 1 [default = 7];", "optional string a = 1;"),
        ("proto2", 'optional string a = 1 [default = "say \\"x\\""];', "optional int64 a = 1;"),
        ("proto2", "repeated int64 a = 1;", "repeated string a = 1;"),
        ("2023", "int64 a = 1;", "string a = 1;"),
        ("2023", "int64 a = 1 [features.field_presence = IMPLICIT];", "string a = 1;"),
    ],
)
def test_the_old_field_pasted_back_compiles_and_passes(syntax, was, now):
    """`optional`, a default and a feature are part of what it was."""
    more = "message N { optional int64 x = 1; }" if syntax != "2023" else "message N { int64 x = 1; }"
    more += " enum E { E_UNSPECIFIED = 0; E_ONE = 1; }\n"
    old, new = (message(line, HEADS[syntax] + more) for line in (was, now))
    remedies = {one.remedy for one in judged(old, new) if one.rule in ("P203", "P204")}
    pasted = {remedy.split("`")[1] for remedy in remedies if remedy.startswith("Write `")}
    assert 1 == len(pasted)
    assert () == judged(old, message(pasted.pop(), HEADS[syntax] + more))


@pytest.mark.parametrize(
    ("line", "undecided"),
    [
        ("int64 a = 1;", True),
        ("optional int64 a = 1;", False),
        ("repeated int64 a = 1;", False),
        ("map<string, int64> a = 1;", False),
        ("oneof o { int64 a = 1; }", False),
        ("google.protobuf.Int64Value a = 1;", False),
        ("enum E { E_UNSPECIFIED = 0; } E a = 1;", False),
        (f"// {ZERO_IS_MEANINGFUL}\nint64 a = 1;", False),
        (f"int64 a = 1; // {ZERO_IS_MEANINGFUL}", False),
    ],
)
def test_a_decision_on_null_is_any_of_these(line, undecided):
    """Presence, a list, an enum with a zero that means nothing, or somebody's word."""
    head = HEAD + 'import "google/protobuf/wrappers.proto";\n'
    assert undecided == (("P105", "a") in rules(linted(message(line, head))))


def test_a_waiver_is_a_comment_of_what_it_waives():
    """The line above or the end of the line; for a message all within; on the package the whole file."""
    text = (
        'syntax = "proto3";\n// cdc:waive P101 reason="one version for ever" owner=@shop\npackage shop.v1;\n'
        '// cdc:waive P102 reason="from the table" owner=@data until=2027-01-31\n'
        '// cdc:waive P106 reason="x" owner=@y\n'
        'message M {\n  string a = 1; // cdc:waive P105 reason="never null" owner=@shop\n'
        '  /* cdc:waive P107 reason="ISO" owner=@shop */\n  string made_at = 2;\n}\n'
    )
    found, wrong = read_waivers(one(text), {"P101", "P102", "P105", "P106", "P107"})
    assert [] == wrong
    assert [("P101", ""), ("P102", "shop.v1.M"), ("P106", "shop.v1.M"), ("P105", "shop.v1.M.a"),
            ("P107", "shop.v1.M.made_at")] == [(one.rule, one.path) for one in found]  # fmt: skip
    assert Waiver("from the table", "@data", "2027-01-31") == found[1].waiver
    assert {"P105"} == {one.rule for one in linted(text) if found[3].covers(one)}
    assert {"P106"} == {one.rule for one in linted(text) if found[2].covers(one)}


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ('P105 reason="x"', "S001"),
        ("P105 owner=@a", "S001"),
        ('P105 reason="x" owner=@a until=tomorrow', "S001"),
        ('P105 reason="x" owner=@a because', "S001"),
        ('reason="x" owner=@a', "S001"),
        ('P105 reason="x owner=@a', "S001"),
        ('P999 reason="x" owner=@a', "S002"),
        ('P001 reason="x" owner=@a', "S002"),
    ],
)
def test_a_waiver_that_cannot_be_read_is_told_at_its_place(words, rule):
    """Never taken for a waiver, never passed over."""
    found, wrong = read_waivers(one(message(f"// cdc:waive {words}\nstring a = 1;")), {"P105", "P001"})
    assert ([], [(rule, 5)]) == (found, [(one.rule, one.line) for one in wrong])


@pytest.mark.parametrize(
    ("old", "new", "level", "found"),
    [
        ("optional int32 a = 1;", "optional int64 a = 1;", "BACKWARD", None),
        ("optional int32 a = 1;", "optional int64 a = 1;", "FORWARD", Severity.WARNING),
        ("optional int32 a = 1;", "optional int64 a = 1;", "FULL", Severity.WARNING),
        ("optional int32 a = 1;", "optional int64 a = 1;", "NONE", None),
        ("optional string a = 1;", "optional bytes a = 1;", "BACKWARD", None),
        ("optional string a = 1;", "optional bytes a = 1;", "FORWARD_TRANSITIVE", Severity.WARNING),
        ("optional int32 a = 1;", "optional string a = 1;", "FORWARD", Severity.ERROR),
    ],
)
def test_the_level_says_who_reads_whom(old, new, level, found):
    """A widening is fine for new readers, and cut by old ones; a break breaks both."""
    severities = [one.severity for one in judged(message(old), message(new), level)]
    assert ([] if found is None else [found]) == severities


def test_a_number_that_meant_something_before_the_last_version_is_remembered():
    """Non-transitive levels compare with the last version alone; the records of the one before are still there."""
    first, last = message("optional string email = 1;"), message("optional string name = 2;")
    now = message("optional int64 age = 1; optional string name = 2;")
    before = [Before(one(text), f"v{i}") for i, text in enumerate((first, last), 1)]
    (found,) = judge(one(now), before, "BACKWARD", SETTINGS)
    assert ("P203", "v1") == (found.rule, found.against)
    assert "was once email" in found.message
    assert () == judge(one(now.replace("int64 age", "string email")), before, "BACKWARD", SETTINGS)


def test_a_transitive_level_compares_with_every_version():
    """What the last version already lost is still lost for the records before it."""
    texts = [message(f"optional {type_} a = 1;") for type_ in ("string", "int32")]
    before = [Before(one(text), f"v{i}") for i, text in enumerate(texts, 1)]
    now = one(message("optional int64 a = 1;"))
    assert () == judge(now, before, "BACKWARD", SETTINGS)
    assert ["v1"] == [one.against for one in judge(now, before, "BACKWARD_TRANSITIVE", SETTINGS)]


def test_a_message_that_moved_is_not_one_that_is_gone():
    """Where it is now, when the run knows."""
    old, new = one(HEAD + "message A {}\nmessage B {}"), one(HEAD + "message A {}")
    (moved,) = judge(new, [Before(old, "v1")], "BACKWARD", SETTINGS, elsewhere={"shop.v1.B": "schemas/b.proto"})
    (gone,) = judge(new, [Before(old, "v1")], "BACKWARD", SETTINGS)
    assert "moved to schemas/b.proto" in moved.message
    assert "B is gone: the registry would refuse it (MESSAGE_REMOVED)" in gone.message


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ("string a = 1; string b = 2;", "string a = 1;", set()),
        ("string a = 1;", "string a = 2;", set()),
        ("int32 a = 1;", "bool a = 1;", set()),
        ("enum E { Z = 0; } E a = 1;", "enum E { Z = 0; } uint64 a = 1;", set()),
        ("string a = 1;", "repeated bytes a = 1;", set()),
        ("M a = 1;", "repeated M a = 1;", set()),
        ("string a = 1;", "oneof o { string a = 1; }", set()),
        ("int32 a = 1;", "repeated int32 a = 1;", {"FIELD_NUMERIC_LABEL_CHANGED"}),
        ("int32 a = 1;", "sint32 a = 1;", {"FIELD_SCALAR_KIND_CHANGED"}),
        ("int32 a = 1;", "M a = 1;", {"FIELD_KIND_CHANGED"}),
        ("map<string, M> a = 1;", "repeated M a = 1;", {"FIELD_KIND_CHANGED"}),
        ("map<string, int32> a = 1;", "map<string, float> a = 1;", {"FIELD_SCALAR_KIND_CHANGED"}),
        ("message P {} message Q {} P a = 1;", "message P {} message Q {} Q a = 1;", {"FIELD_NAMED_TYPE_CHANGED"}),
        ("message P {}", "", {"MESSAGE_REMOVED"}),
        ("string a = 1; string b = 2;", "oneof o { string a = 1; string b = 2; }", {"MULTIPLE_FIELDS_MOVED_TO_ONEOF"}),
        ("oneof o { string a = 1; } string b = 2;", "oneof o { string a = 1; string b = 2; }",
         {"FIELD_MOVED_TO_EXISTING_ONEOF"}),
        ("oneof o { string a = 1; string b = 2; }", "oneof o { string a = 1; }", {"ONEOF_FIELD_REMOVED"}),
        ("oneof o { string a = 1; }", "string a = 1;", set()),
    ],
)  # fmt: skip
def test_the_registry_refuses_what_confluents_source_says(old, new, refused):
    """Confluent's own names of the differences that it does not take."""
    assert refused == set(refusals(one(message(old)), one(message(new))).values())


def test_a_new_member_of_a_oneof_is_refused_at_forward_though_the_wire_is_safe():
    """Asked the other way around, it is a member that left: only the registry minds, and the message says so."""
    old, new = message("oneof o { string a = 1; }"), message("oneof o { string a = 1; string b = 2; }")
    assert () == judged(old, new)
    (found,) = judged(old, new, "FORWARD")
    assert "the registry would refuse it (ONEOF_FIELD_REMOVED); the wire is safe" in found.message


def test_reading_another_type_never_depends_on_the_order_of_the_table():
    """A type reads itself; what breaks one way breaks the other way too."""
    types = (
        "int32",
        "int64",
        "uint32",
        "uint64",
        "bool",
        "enum",
        "sint32",
        "fixed32",
        "float",
        "double",
        "string",
        "bytes",
    )
    for writer in types:
        assert Harm.SAFE is read_type(writer, writer).harm
        for reader in types:
            assert (read_type(writer, reader).harm is Harm.BREAKS) == (read_type(reader, writer).harm is Harm.BREAKS)


def test_what_is_left_of_a_range():
    """Both ends belong to it."""
    assert [(1, 2), (5, 6), (9, 9)] == uncovered([(1, 9)], [(7, 8), (3, 4)])
    assert [] == uncovered([(1, 4), (6, 6)], [(1, 6)])


def test_the_difference_is_told_field_by_field():
    """What `cdc schema S diff 3 4` shows."""
    old = message("string a = 1; int32 b = 2; optional string c = 3; enum E { Z = 0; } E e = 5;")
    new = message("string x = 1; int64 b = 2; string c = 3; M d = 4; enum E { Z = 0; Y = 1; }")
    assert [
        ("shop.v1.M.x", "renamed", "renamed from a"),
        ("shop.v1.M.b", "type", "int32 -> int64"),
        ("shop.v1.M.c", "nullability", "presence dropped"),
        ("shop.v1.M.d", "added", "added: shop.v1.M = 4"),
        ("shop.v1.M.E", "enum", "+Y = 1"),
        ("shop.v1.M.e", "removed", "removed: shop.v1.M.E = 5"),
    ] == [(one.path, one.kind, one.words) for one in changes(one(old), one(new))]


def test_buf_adds_what_none_of_ours_asks_and_says_its_version():
    """A oneof in PascalCase is buf's alone; a missing package is ours as well."""
    answer = BUF.lint({FILE: message("oneof Contact { string phone = 1; }", 'syntax = "proto3";\n')}, {})
    assert {"ONEOF_LOWER_SNAKE_CASE"} == {one.path for one in added(answer.findings)}
    assert "PACKAGE_DEFINED" in {one.rule for one in answer.findings} & OURS.keys()
    assert {FILE} == {one.file for one in answer.findings}
    (note,) = answer.notes
    assert note.startswith("buf 1.")


def test_the_projects_buf_yaml_decides():
    """With it in the run our choice of rules does not count."""
    config = {"buf.yaml": "version: v2\nmodules:\n  - path: schemas\nlint:\n  use: [COMMENT_ONEOF]\n"}
    answer = BUF.lint({FILE: message("oneof Contact { string phone = 1; }")}, config)
    assert [(FILE, "COMMENT_ONEOF")] == [(one.file, one.rule) for one in answer.findings]


def test_without_buf_it_is_said_how_to_get_it():
    """Missing where there is none, Unreachable where it fails."""
    with pytest.raises(Missing, match="pip install buf-bin"):
        BufCommand("no-such-buf").lint({FILE: HEAD}, {})
    with pytest.raises(Unreachable, match="buf lint ended with"):
        BUF.lint({FILE: HEAD}, {"buf.yaml": "version: v9\n"})
