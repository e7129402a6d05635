"""The rules P001-P209 as `cdc check explain` tells them, each with an example that fails and one that passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.checks.violation import Example, Rule, Severity

FILE = "schemas/shop/v1/customer.proto"
_HEAD = 'syntax = "proto3";\npackage shop.v1;\n\n'
_MESSAGE = "// A customer, as the shop knows them.\nmessage Customer {{\n{}}}\n"
_EMAIL = "  // Where to write to; not set: never asked.\n  optional string email = 1;\n"


def _lint(new: str, **settings: Mapping[str, Any]) -> Example:
    return Example(new, kind="proto", file=FILE, settings=settings)


def _change(old: str, new: str, level: str = "BACKWARD", head: str = _HEAD) -> Example:
    """Return a change of the lines within one message."""
    return Example(head + _MESSAGE.format(new), head + _MESSAGE.format(old), "proto", level, FILE)


def _fields(lines: str, head: str = _HEAD) -> Example:
    return _lint(head + _MESSAGE.format(lines))


_ENUM = "// Where an order is.\nenum State {{\n{}}}\n"
_PROTO2 = 'syntax = "proto2";\npackage shop.v1;\n\n'
_PHONE = "  // The last number they gave.\n  optional string phone = 2;\n"

RULES: tuple[Rule, ...] = (
    Rule(
        "P001", Severity.ERROR, "The file does not compile",
        "Nothing can be said of a file that protoc does not read, and no converter or registry will take it. A file "
        "without `syntax` is read as proto2, with a warning that CI logs swallow: every field then means something "
        "else than its author thought. All other files are still checked; one that imports a broken file says so.",
        _lint(_HEAD + "message Customer {\n  optional string email = 1\n}\n"),
        _fields(_EMAIL),
    ),
    Rule(
        "P101", Severity.ERROR, "The package is missing, without a version, or not where its folder is",
        "Names without a package clash as soon as two teams use one registry. A version at its end (`shop.v1`) is "
        "the only way to make a break later: v2 lives beside v1. Imports and generated code follow folders, so the "
        "two must agree. buf asks the same: PACKAGE_DEFINED, PACKAGE_VERSION_SUFFIX, PACKAGE_DIRECTORY_MATCH.",
        _lint('syntax = "proto3";\n\n' + _MESSAGE.format(_EMAIL)),
        _fields(_EMAIL),
    ),
    Rule(
        "P102", Severity.WARNING, "A name in another case than the rest",
        "Code generators and sinks turn names into columns, getters and JSON keys by rules that expect snake_case "
        "fields, PascalCase types and UPPER_SNAKE_CASE values that begin with their enum's name (values share the "
        "scope around the enum, as in C++). The Protobuf style guide says so; the patterns can be configured.",
        _fields(_EMAIL.replace("email", "eMail")),
        _fields(_EMAIL),
    ),
    Rule(
        "P103", Severity.ERROR, "The zero value of an enum means something, or numbers have two names",
        "A field that nobody set reads as the value 0. If that is `PAID`, an order whose state was lost is paid. "
        "`..._UNSPECIFIED = 0` is the decision that makes an enum safe without presence. Two names for one number "
        "(`allow_alias`) come back as the first in JSON, whatever was written.",
        _lint(_HEAD + _ENUM.format("  STATE_PAID = 0;\n")),
        _lint(_HEAD + _ENUM.format("  STATE_UNSPECIFIED = 0;\n  STATE_PAID = 1;\n")),
    ),
    Rule(
        "P104", Severity.ERROR, "A required field",
        "`required` can never be taken back: a reader of the old version fails on every record without the field. "
        "proto3 left it out for that reason, and editions call it LEGACY_REQUIRED. Check the value where the record "
        "is written.",
        _fields("  // Where to write to.\n  required string email = 1;\n", _PROTO2),
        _fields("  // Where to write to.\n  optional string email = 1;\n", _PROTO2),
    ),
    Rule(
        "P105", Severity.ERROR, "A scalar that cannot say `not set`",
        "A proto3 scalar without `optional` is not written when it is zero: NULL in the table and 0 in the table "
        "reach the sink as the same bytes. A new field carries a decision: `optional`, a wrapper, a oneof, or the "
        "comment `cdc:zero-is-meaningful`. With something to compare with, only new fields count; without, every "
        "field of the file.",
        _change(_EMAIL, _EMAIL + "  // Orders so far.\n  int64 orders = 2;\n"),
        _change(_EMAIL, _EMAIL + "  // Orders so far.\n  optional int64 orders = 2;\n"),
    ),
    Rule(
        "P106", Severity.WARNING, "No comment",
        "Whoever reads the topic has only the schema: what the field holds, in which unit, and what its absence means. "
        "buf calls these COMMENT_MESSAGE, COMMENT_FIELD and COMMENT_ENUM. A comment at the end of the line counts.",
        _fields("  optional string email = 1;\n"),
        _fields(_EMAIL),
    ),
    Rule(
        "P107", Severity.WARNING, "A time or an amount as text or a bare number",
        "By its name the field is a time or an amount; as a string or number its unit, zone or scale is left to "
        "guess, and double loses cents. Flink and Iceberg map google.protobuf.Timestamp to a timestamp, a string to "
        "a string.",
        _fields("  // When the row was written.\n  optional string created_at = 1;\n"),
        _lint(
            _HEAD.replace("\n\n", '\nimport "google/protobuf/timestamp.proto";\n\n')
            + _MESSAGE.format("  // When the row was written.\n  google.protobuf.Timestamp created_at = 1;\n")
        ),
    ),
    Rule(
        "P201", Severity.ERROR, "A field or enum value deleted without reserving its number and name",
        "Old records keep the number for as long as the topic keeps them. The next person to take it gives those "
        "bytes another meaning, and nothing fails. `reserved` makes protoc refuse that. Confluent's registry "
        "accepts the removal and the later reuse alike.",
        _change(_EMAIL + _PHONE, _EMAIL),
        _change(_EMAIL + _PHONE, '  reserved 2;\n  reserved "phone";\n' + _EMAIL),
    ),
    Rule(
        "P202", Severity.ERROR, "A reservation removed or shrunk",
        "A reservation is the memory of a deleted field. Without it the number can be taken again while old records "
        "still carry the old value. No registry looks at reservations.",
        _change("  reserved 5 to 9;\n" + _EMAIL, "  reserved 5 to 7;\n" + _EMAIL),
        _change("  reserved 5 to 7;\n" + _EMAIL, "  reserved 5 to 9;\n" + _EMAIL),
    ),
    Rule(
        "P203", Severity.ERROR, "A number with another type or meaning",
        "The number, not the name, decides what bytes mean. Another wire type is skipped or misread; within one "
        "wire type (int64 to int32, bytes to string) values are cut or fail, which is a warning in the direction "
        "that the level asks for. A field at a new number loses what was written at the old one, and Confluent's "
        "registry accepts that.",
        _change(_EMAIL + "  // Orders.\n  optional int64 orders = 2;\n",
                _EMAIL + "  // Orders.\n  optional string orders = 2;\n"),
        _change(_EMAIL + "  // Orders.\n  optional int32 orders = 2;\n",
                _EMAIL + "  // Orders.\n  optional int64 orders = 2;\n"),
    ),
    Rule(
        "P204", Severity.ERROR, "One value became many, or `not set` was lost or gained",
        "A packed list of numbers is skipped by a reader of one number; of a list of strings only the last remains. "
        "Without presence NULL and zero become one. Confluent's registry accepts these for strings, bytes and "
        "messages.",
        _change(_EMAIL, _EMAIL.replace("optional ", "repeated ")),
        _change(_EMAIL, _EMAIL + "  // All others.\n  repeated string emails = 2;\n"),
    ),
    Rule(
        "P205", Severity.ERROR, "A field moved into, out of or between oneofs",
        "Of the members of a oneof a reader keeps the last. Old records may hold two fields together that are "
        "members now, and new records two that were members before: one of them is lost in silence. Only a single "
        "field into a new oneof is safe, and a warning. Confluent's registry also refuses fields that leave a oneof "
        "which stays.",
        _change(_EMAIL + _PHONE, "  oneof contact {\n" + (_EMAIL + _PHONE).replace("optional ", "") + "  }\n"),
        _change(_EMAIL, _EMAIL + "  oneof contact {\n    // The last number.\n    string phone = 2;\n  }\n"),
    ),
    Rule(
        "P206", Severity.ERROR, "The package, or the file of a type, changed; or a type is gone",
        "Subjects by record name, `google.protobuf.Any` and generated code know a type by package and name, imports "
        "by its file. Confluent's registry accepts a new package and refuses a removed message.",
        Example(_HEAD.replace("shop.v1", "shop.v2") + _MESSAGE.format(_EMAIL), _HEAD + _MESSAGE.format(_EMAIL), "proto",
                file=FILE),
        _change(_EMAIL, _EMAIL + _PHONE),
        also=("P101",),
    ),
    Rule(
        "P207", Severity.ERROR, "`required` added or removed",
        "A reader that requires a field fails on the whole record without it: new readers on old records where it "
        "was added, old readers on new records where it was removed. Confluent's registry refuses added and removed "
        "required fields, not a change of an existing one.",
        _change("  // Where to write to.\n  optional string email = 1;\n",
                "  // Where to write to.\n  required string email = 1;\n", head=_PROTO2),
        _change("  // Where to write to.\n  optional string email = 1;\n",
                "  // Where to write to.\n  optional string email = 1;\n  // Last one.\n  optional string phone = 2;\n",
                head=_PROTO2),
        also=("P104",),
    ),
    Rule(
        "P208", Severity.WARNING, "A field or enum value renamed, or its JSON name",
        "The wire carries numbers, so nothing breaks there. But JSON, Flink's tables and Iceberg's columns go by "
        "names: for them one column ends and another begins. And a rename cannot be told from a new meaning for an "
        "old number.",
        _change(_EMAIL, _EMAIL.replace("email", "mail")),
        _change(_EMAIL, _EMAIL + _PHONE),
    ),
    Rule(
        "P209", Severity.WARNING, "The default of a field changed",
        "A proto2 or editions default is not written: the reader puts it in. Records without the field read as another "
        "value from the day the reader is deployed. buf asks the same (FIELD_SAME_DEFAULT); no registry does.",
        _change("  // Their plan.\n  optional string plan = 1 [default = \"free\"];\n",
                "  // Their plan.\n  optional string plan = 1 [default = \"basic\"];\n", head=_PROTO2),
        _change("  // Their plan.\n  optional string plan = 1 [default = \"free\"];\n",
                "  // Their plan, as sold.\n  optional string plan = 1 [default = \"free\"];\n", head=_PROTO2),
    ),
    Rule(
        "BUF", Severity.ERROR, "A rule of buf that none of ours asks",
        "With `--buf` the installed buf is run as well, with the project's buf.yaml or else its STANDARD and "
        "WIRE_JSON rules, and what no P-rule asks is added under its own id. Another version of buf may find "
        "something else, so it never runs unasked, and its version is in the notes.",
        _fields(_EMAIL + "  oneof Contact {\n    // The last number.\n    string phone = 2;\n  }\n"),
        _fields(_EMAIL),
    ),
)  # fmt: skip
