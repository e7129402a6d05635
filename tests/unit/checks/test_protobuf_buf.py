"""Our verdicts on changes beside those of the real `buf breaking`, and why they differ where they do.

All changes of the table go to buf in one call, each in a package of its own.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

import pytest

from bot.checks.protobuf.changes import Before, judge
from bot.checks.violation import Severity
from tests.unit.checks.proto_texts import BUF, HEADS, PROTOC, SETTINGS


class Case(NamedTuple):
    """A change of the lines of `message M` (or whole declarations, where a line begins with `message` or `enum`).

    `ours` are the rules that find errors, `buf` whether its WIRE_JSON does. `why` is set exactly where they differ.
    """

    name: str
    old: str
    new: str
    ours: tuple[str, ...]
    buf: bool
    why: str = ""
    syntax: str = "proto3"


CASES = [
    Case("nothing", "optional string a = 1;", "optional string a = 1;", (), False),
    Case("field added", "optional string a = 1;", "optional string a = 1; optional string b = 2;", (), False),
    Case("undecided field added", "optional string a = 1;", "optional string a = 1; string b = 2;", ("P105",), False,
         "P105 is the nullability decision, which is ours alone"),
    Case("undecided list added", "optional string a = 1;", "optional string a = 1; repeated string b = 2;", (), False),
    Case("undecided map added", "optional string a = 1;", "optional string a = 1; map<string, int32> b = 2;", (),
         False),
    Case("message field added", "optional string a = 1;", "optional string a = 1; M b = 2;", (), False),
    Case("oneof added", "optional string a = 1;", "optional string a = 1; oneof o { string b = 2; }", (), False),
    Case("field removed", "optional string a = 1; optional string b = 2;", "optional string a = 1;", ("P201",), True),
    Case("removed, number reserved", "optional string a = 1; optional string b = 2;",
         "reserved 2; optional string a = 1;", ("P201",), True),
    Case("removed, name reserved", "optional string a = 1; optional string b = 2;",
         'reserved "b"; optional string a = 1;', ("P201",), True),
    Case("removed, both reserved", "optional string a = 1; optional string b = 2;",
         'reserved 2; reserved "b"; optional string a = 1;', (), False),
    Case("removed within a reserved range", "optional string a = 1; optional string b = 2;",
         'reserved 2 to max; reserved "b"; optional string a = 1;', (), False),
    Case("number changed", "optional string a = 1;", "optional string a = 2;", ("P203",), True),
    Case("number re-used", "optional string a = 1;", "optional int64 b = 1;", ("P203",), True),
    Case("renamed", "optional string a = 1;", "optional string b = 1;", (), True,
         "P208 is a warning: the wire carries numbers"),
    Case("json_name changed", "optional string a = 1;", 'optional string a = 1 [json_name = "x"];', (), True,
         "P208 is a warning"),
    Case("int32 to int64", "optional int32 a = 1;", "optional int64 a = 1;", (), True,
         "JSON writes an int64 as a string; the wire is read in full, and the topic carries the wire"),
    Case("int64 to int32", "optional int64 a = 1;", "optional int32 a = 1;", (), True,
         "P203 is a warning: values are cut"),
    Case("int32 to uint32", "optional int32 a = 1;", "optional uint32 a = 1;", (), False),
    Case("uint32 to int64", "optional uint32 a = 1;", "optional int64 a = 1;", (), True, "as int32 to int64"),
    Case("int32 to bool", "optional int32 a = 1;", "optional bool a = 1;", (), True,
         "P203 is a warning: values are cut"),
    Case("bool to int32", "optional bool a = 1;", "optional int32 a = 1;", (), True, "JSON writes true; the wire 1"),
    Case("int32 to sint32", "optional int32 a = 1;", "optional sint32 a = 1;", ("P203",), True),
    Case("sint32 to sint64", "optional sint32 a = 1;", "optional sint64 a = 1;", (), True, "as int32 to int64"),
    Case("int32 to fixed32", "optional int32 a = 1;", "optional fixed32 a = 1;", ("P203",), True),
    Case("fixed32 to sfixed32", "optional fixed32 a = 1;", "optional sfixed32 a = 1;", (), False),
    Case("fixed32 to fixed64", "optional fixed32 a = 1;", "optional fixed64 a = 1;", ("P203",), True),
    Case("float to double", "optional float a = 1;", "optional double a = 1;", ("P203",), True),
    Case("float to fixed32", "optional float a = 1;", "optional fixed32 a = 1;", ("P203",), True),
    Case("string to bytes", "optional string a = 1;", "optional bytes a = 1;", (), True,
         "JSON writes bytes in base64; the wire is read in full"),
    Case("bytes to string", "optional bytes a = 1;", "optional string a = 1;", (), True,
         "P203 is a warning: only bytes that are not UTF-8 fail"),
    Case("string to int64", "optional string a = 1;", "optional int64 a = 1;", ("P203",), True),
    Case("string to message", "optional string a = 1;", "optional M a = 1;", ("P203",), True),
    Case("message to another",
         "message P { optional string x = 1; }\nmessage Q { optional int32 x = 1; }\noptional P a = 1;",
         "message P { optional string x = 1; }\nmessage Q { optional int32 x = 1; }\noptional Q a = 1;", ("P203",),
         True),
    Case("enum to int32", "enum E { E_UNSPECIFIED = 0; }\noptional E a = 1;",
         "enum E { E_UNSPECIFIED = 0; }\noptional int32 a = 1;", (), True,
         "JSON writes names; the wire is read in full"),
    Case("int32 to enum", "enum E { E_UNSPECIFIED = 0; }\noptional int32 a = 1;",
         "enum E { E_UNSPECIFIED = 0; }\noptional E a = 1;", (), True, "P203 is a warning: numbers without a name"),
    Case("enum to another", "enum E { E_UNSPECIFIED = 0; E_A = 1; }\nenum F { F_UNSPECIFIED = 0; }\noptional E a = 1;",
         "enum E { E_UNSPECIFIED = 0; E_A = 1; }\nenum F { F_UNSPECIFIED = 0; }\noptional F a = 1;", ("P203",), True),
    Case("singular to repeated number", "optional int32 a = 1;", "repeated int32 a = 1;", ("P204",), True),
    Case("repeated to singular number", "repeated int32 a = 1;", "optional int32 a = 1;", ("P204",), True),
    Case("singular to repeated string", "optional string a = 1;", "repeated string a = 1;", ("P204",), True),
    Case("repeated to singular message", "repeated M a = 1;", "optional M a = 1;", ("P204",), True),
    Case("presence lost", "optional string a = 1;", "string a = 1;", ("P204",), False,
         "null and the zero value become one: the sink's question, not the wire's"),
    Case("presence gained", "string a = 1;", "optional string a = 1;", (), False),
    Case("map to list", "map<string, int32> a = 1;", "repeated M a = 1;", ("P203",), True),
    Case("map value type", "map<string, int32> a = 1;", "map<string, string> a = 1;", ("P203",), True),
    Case("map key type", "map<int32, string> a = 1;", "map<string, string> a = 1;", ("P203",), True),
    Case("one into a new oneof", "optional string a = 1;", "oneof o { string a = 1; }", (), True,
         "P205 is a warning: protobuf.dev calls it safe"),
    Case("two into a oneof", "optional string a = 1; optional string b = 2;", "oneof o { string a = 1; string b = 2; }",
         ("P205",), True),
    Case("into an existing oneof", "oneof o { string a = 1; }\noptional string b = 2;",
         "oneof o { string a = 1; string b = 2; }", ("P205",), True),
    Case("out of a oneof", "oneof o { string a = 1; string b = 2; }",
         "oneof o { string a = 1; }\noptional string b = 2;",
         ("P205",), True),
    Case("oneof renamed", "oneof o { string a = 1; string b = 2; }", "oneof p { string a = 1; string b = 2; }", (),
         True,
         "P205 is a warning: only code changes"),
    Case("out of a oneof, reserved", "oneof o { string a = 1; string b = 2; }",
         'reserved 2; reserved "b"; oneof o { string a = 1; }', ("P205",), False,
         "Confluent's registry refuses any field that leaves a oneof which stays"),
    Case("reserved range shrunk", "reserved 5 to 9; optional string a = 1;", "reserved 5 to 7; optional string a = 1;",
         ("P202",), True),
    Case("reserved range split", "reserved 5 to 9; optional string a = 1;",
         "reserved 5 to 6, 7 to 9; optional string a = 1;", (), False),
    Case("reserved name removed", 'reserved "x"; optional string a = 1;', "optional string a = 1;", ("P202",), True),
    Case("enum value added", "enum E { E_UNSPECIFIED = 0; }", "enum E { E_UNSPECIFIED = 0; E_A = 1; }", (), False),
    Case("enum value removed", "enum E { E_UNSPECIFIED = 0; E_A = 1; }", "enum E { E_UNSPECIFIED = 0; }", ("P201",),
         True),
    Case("enum value removed, reserved", "enum E { E_UNSPECIFIED = 0; E_A = 1; }",
         'enum E { reserved 1; reserved "E_A"; E_UNSPECIFIED = 0; }', (), False),
    Case("enum value renamed", "enum E { E_UNSPECIFIED = 0; E_A = 1; }", "enum E { E_UNSPECIFIED = 0; E_B = 1; }", (),
         True,
         "P208 is a warning: the wire carries numbers"),
    Case("enum value renumbered", "enum E { E_UNSPECIFIED = 0; E_A = 1; }", "enum E { E_UNSPECIFIED = 0; E_A = 2; }",
         ("P203",), True),
    Case("enum reservation removed", "enum E { reserved 5; E_UNSPECIFIED = 0; }", "enum E { E_UNSPECIFIED = 0; }",
         ("P202",), True),
    Case("nested message removed", "message P { optional string x = 1; }\noptional string a = 1;",
         "optional string a = 1;", ("P206",), False, "WIRE_JSON lets types go; Confluent's registry does not"),
    Case("fields reordered", "optional string a = 1; optional string b = 2;",
         "optional string b = 2; optional string a = 1;", (), False),
    Case("required added", "optional string a = 1;", "optional string a = 1; required string b = 2;", ("P207",), True,
         syntax="proto2"),
    Case("required removed", "optional string a = 1; required string b = 2;",
         'reserved 2; reserved "b"; optional string a = 1;', ("P207",), True, syntax="proto2"),
    Case("optional to required", "optional string a = 1;", "required string a = 1;", ("P207",), True, syntax="proto2"),
    Case("required to optional", "required string a = 1;", "optional string a = 1;", ("P207",), True, syntax="proto2"),
    Case("default changed", "optional int32 a = 1 [default = 1];", "optional int32 a = 1 [default = 2];", (), True,
         "P209 is a warning, as for Avro", syntax="proto2"),
    Case("group to message", "optional group G = 1 { optional string x = 1; }",
         "message G { optional string x = 1; }\noptional G g = 1;", ("P203",), True, syntax="proto2"),
    Case("implicit presence in an edition", "string a = 1;", "string a = 1 [features.field_presence = IMPLICIT];",
         ("P204",), False, "as `presence lost`", syntax="2023"),
    Case("required in an edition", "string a = 1;", "string a = 1 [features.field_presence = LEGACY_REQUIRED];",
         ("P207",),
         True, syntax="2024"),
    Case("delimited in an edition", "M a = 1;", "M a = 1 [features.message_encoding = DELIMITED];", ("P203",), True,
         syntax="2024"),
]  # fmt: skip


def path(index: int) -> str:
    return f"schemas/case{index}/v1/m.proto"


def text(case: Case, lines: str, index: int) -> str:
    head = HEADS[case.syntax].replace("shop.v1", f"case{index}.v1")
    return f"{head}message M {{\n{lines}\n}}\n"


@functools.cache
def found_by_buf() -> frozenset[str]:
    """Return the files that `buf breaking` with WIRE_JSON finds something in."""
    now = {path(i): text(case, case.new, i) for i, case in enumerate(CASES)}
    before = {path(i): text(case, case.old, i) for i, case in enumerate(CASES)}
    return frozenset(one.file for one in BUF.breaking(now, before, {}).findings)


@functools.cache
def found_by_us() -> tuple[tuple[str, ...], ...]:
    now = PROTOC.compile({path(i): text(case, case.new, i) for i, case in enumerate(CASES)}, folders=["schemas"])
    before = PROTOC.compile({path(i): text(case, case.old, i) for i, case in enumerate(CASES)}, places=False)
    assert ((), ()) == (now.errors, before.errors)
    found = []
    for i in range(len(CASES)):
        violations = judge(now.files[path(i)], [Before(before.files[path(i)], "v1")], "BACKWARD", SETTINGS)
        for one in violations:
            assert one.rule == "P105" or re.search(r"registry would (accept|refuse) it.*; the wire ", one.message)
        found.append(tuple(dict.fromkeys(one.rule for one in violations if one.severity is Severity.ERROR)))
    return tuple(found)


@pytest.mark.parametrize("index", range(len(CASES)), ids=[case.name for case in CASES])
def test_a_change_is_judged_as_in_the_table(index):
    """Both verdicts are what the table says, and the table says why wherever they differ."""
    case = CASES[index]
    assert case.ours == found_by_us()[index]
    assert case.buf == (path(index) in found_by_buf())
    assert (bool(case.ours) != case.buf) == bool(case.why)
