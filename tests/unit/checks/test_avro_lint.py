"""The rules A004-A112 at their edges: one row each side."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.checks.avro.lint import lint
from bot.checks.avro.logical import digits
from bot.checks.avro.naming import legal, meaning, meant, pascal_case, snake_case
from bot.checks.avro.read import incomplete, link, read_part
from bot.checks.settings import CanonicalField, SchemaSettings
from bot.checks.violation import Pointer, Violation

STYLE = {"A101", "A102", "A103", "A107", "A108", "A112"}
"""Asked for in tests of their own."""


def check(document: Any, *others: Any, file: str = "customers-value.avsc", **settings: Any) -> list[Violation]:
    parts = [read_part(one, f"{i}.avsc" if i else file) for i, one in enumerate((document, *others))]
    schemas, names = link(parts)
    schemas |= incomplete(parts, schemas)
    return [*parts[0].violations, *names, *lint(schemas[file], SchemaSettings(**settings))]


def rules(document: Any, *others: Any, **settings: Any) -> list[str]:
    return [one.rule for one in check(document, *others, **settings) if one.rule not in STYLE]


def record(*fields: Any, name: str = "a.R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(type_: Any, name: str = "f", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"], "default": "A"}
FIXED = {"type": "fixed", "name": "F", "size": 2}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
DECIMAL = {"type": "fixed", "name": "D", "size": 16, "logicalType": "decimal"}
INNER = record(field("int", "a"), field("int", "b", default=1), name="I")


@pytest.mark.parametrize(
    ("expected", "type_", "default"),
    [
        ([], "int", 2**31 - 1),
        (["A008"], "int", 2**31),
        ([], "int", -(2**31)),
        (["A008"], "int", -(2**31) - 1),
        ([], "long", 2**63 - 1),
        (["A008"], "long", 2**63),
        (["A008"], "int", 1.0),
        (["A008"], "int", True),
        (["A008"], "int", "1"),
        (["A008"], "int", None),
        ([], "float", 1),
        ([], "float", 3.4e38),
        (["A008"], "float", 3.5e38),
        ([], "double", 3.5e38),
        (["A008"], "double", float("inf")),
        (["A008"], "double", float("nan")),
        (["A008"], "double", "NaN"),
        ([], "boolean", False),
        (["A008"], "boolean", 0),
        ([], "null", None),
        (["A008"], "null", 0),
        ([], "string", "\u0100"),
        (["A008"], "string", 1),
        ([], "bytes", "\u00ff"),
        (["A008"], "bytes", "\u0100"),
        (["A008"], "bytes", 1),
        ([], FIXED, "ab"),
        (["A008"], FIXED, "a"),
        (["A008"], FIXED, "abc"),
        (["A008"], FIXED, "a\u0100"),
        ([], ENUM, "B"),
        (["A008"], ENUM, "C"),
        (["A008"], ENUM, 1),
        ([], {"type": "array", "items": "int"}, []),
        ([], {"type": "array", "items": "int"}, [1, 2]),
        (["A008"], {"type": "array", "items": "int"}, [1, "2", 3]),
        (["A008"], {"type": "array", "items": "int"}, {}),
        ([], {"type": "map", "values": "int"}, {"a": 1}),
        (["A008"], {"type": "map", "values": "int"}, {"a": None}),
        (["A008"], {"type": "map", "values": "int"}, []),
        ([], INNER, {"a": 1, "b": 2}),
        ([], INNER, {"a": 1}),  # b has a default of its own
        (["A008"], INNER, {"b": 1}),
        (["A008"], INNER, {"a": 1, "c": 1}),
        (["A008"], INNER, {"a": "1"}),
        (["A008"], INNER, None),
        ([], ["null", "int"], None),
        (["A009"], ["int", "null"], None),
        ([], ["int", "null"], 1),
        (["A009"], ["null", "int"], 1),
        (["A008"], ["null", "int"], "1"),
        (["A008"], ["null", INNER], {"b": 1}),
        (["A009"], ["null", INNER], {"a": 1}),
        (["A009"], {"type": "array", "items": ["null", "int"]}, [None, 1]),
        (["A010"], ["null", "string"], "null"),
        (["A010"], "string", "null"),
        (["A010"], "int", "null"),
        ([], {"type": "enum", "name": "E", "symbols": ["null"], "default": "null"}, "null"),
    ],
)
def test_a_default_fits_its_type_through_and_through(expected: list[str], type_: Any, default: Any) -> None:
    """A008, A009 and A010: both sides of each edge."""
    assert expected == rules(record(field(type_, default=default)))


def test_the_place_of_a_wrong_default_is_the_innermost() -> None:
    """The item, the member, not the field."""
    document = record(field({"type": "array", "items": INNER}, default=[{"a": 1}, {"a": 2**40}]))
    (one,) = [one for one in check(document) if one.rule == "A008"]
    assert ("fields", 0, "default", 1, "a") == one.pointer
    assert "outside of int" in one.message
    (one,) = [one for one in check(record(field([INNER, "null"], default={"a": "1"}))) if one.rule == "A008"]
    assert ("fields", 0, "default", "a") == one.pointer


def test_a_default_of_a_later_branch_names_the_branch() -> None:
    """Counted from one, as people do."""
    (one,) = [one for one in check(record(field(["null", "string", "int"], default=1))) if one.rule == "A009"]
    assert "fits branch 3 (int)" in one.message


def test_a_default_of_a_recursive_type_ends() -> None:
    """Three branches that all nearly fit, thirty deep."""
    value: Any = {"next": "no"}
    for _ in range(30):
        value = {"next": value}
    names = ["A", "B", "C"]
    union = [record(field(["null", *(f"a.{one}" for one in names)], "next"), name=f"a.{name}") for name in names]
    document = record(field(["null", *union], default=value), name="a.Root")
    assert {"A002", "A008", "A104", "A106"} == set(rules(document))


@pytest.mark.parametrize(
    ("expected", "document"),
    [
        (["A004"], record(field("int"), field("int"))),
        ([], record(field("int"), field("int", "g"))),
        (["A018"], record(field("int"), field("int", "F"))),
        (["A019"], record()),
        (["A005"], record(field("int", "a-b"))),
        (["A005"], record(field("int", "1a"))),
        (["A005"], record(field("int", ""))),
        (["A005"], record(field("int", "é"))),
        ([], record(field("int", "_a1"))),
        (["A005"], record(field("int"), name="a-b.R")),
        (["A005"], record(field("int"), name="a..R")),
        (["A005"], record(field("int"), name="R", namespace="a.1b")),
        (["A005"], record(field("int"), name="R", namespace=3)),
        ([], record(field("int"), name="R", namespace="")),
        (["A005"], record(field("int"), name="a.string")),
        (["A005"], record(field("int"), aliases=["a b"])),
        (["A005"], record(field("int"), aliases="Old")),
        ([], record(field("int"), aliases=["b.Old"])),
        (["A005"], record(field("int", aliases=["a.b"]))),
        (["A005"], record(field("int", aliases="old"))),
        (["A110"], record(field("int", aliases=["g"]), field("int", "g"))),
        (["A110"], record(field("int", aliases=["x"]), field("int", "g", aliases=["x"]))),
        (["A110"], record(field("int", aliases=["x", "x"]))),
        (["A110"], record(field("int", aliases=["f"]))),
        (["A110"], record(field("int"), aliases=["Old", "a.Old"])),
        (["A006"], record(field([]))),
        (["A006", "A006"], record(field(["int", "int", "int"]))),
        (["A006"], record(field([{"type": "array", "items": "int"}, {"type": "array", "items": "long"}]))),
        (["A006"], record(field(["null", ["int"]], default=None))),
        (["A006"], record(field(["null", ENUM, "a.E"], default=None))),
        (["A106"], record(field(["null", ENUM, FIXED], default=None))),
        (["A106"], record(field(["int", "string"]))),
        ([], record(field(["null", "int"], default=None))),
        (["A104"], record(field(["null", "int"]))),
        (["A104", "A105"], record(field(["int", "null"]))),
        ([], record(field(["int", "null"], default=0))),
        (["A105"], record(field({"type": "map", "values": ["int", "null"]}))),
        (["A007"], record(field({"type": "enum", "name": "E", "symbols": []}))),
        (["A007"], record(field({"type": "enum", "name": "E"}))),
        (["A007"], record(field({"type": "enum", "name": "E", "symbols": ["A", "A"]}))),
        (["A007"], record(field({"type": "enum", "name": "E", "symbols": ["A", "B C"]}))),
        (["A007"], record(field({"type": "enum", "name": "E", "symbols": ["A", 1]}))),
        (["A011"], record(field({"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}))),
        (["A011"], record(field({"type": "enum", "name": "E", "symbols": ["A"], "default": None}))),
        (["A014"], record(field("long", logicalType="timestamp-millis"))),
        (["A014"], record(field(["null", "long"], default=None, logicalType="timestamp-millis"))),
        (["A016"], record(field("int", docs="x"))),
        (["A016"], record(field("int", Default=1))),
        (["A016"], record(field("int", alias=["x"]))),
        (["A016"], record(field({"type": "long", "logical_type": "date"}))),
        (["A016"], record(field({"type": "string", "default": "x"}))),
        (["A016"], record(field("int"), alaises=["Old"])),
        ([], record(field({"type": "string", "connect.name": "io.debezium.data.Uuid", "connect.version": 1}))),
        ([], record(field({"type": "int", "connect.default": 0, "connect.type": "int16", "connect.parameters": {}}))),
        ([], record(field("int", **{"__debezium.source.column.type": "INT", "confluent:tags": [], "cdc.waive": []}))),
        (["A017"], record(field("a.R"))),
        ([], record(field(["null", "a.R"], default=None))),
        ([], record(field({"type": "array", "items": "a.R"}))),
        (["A017"], record(field(record(field("a.R"), name="a.S")))),
        (["A017"], record(field(record(field("a.S"), name="a.S")))),
        (["A109"], record(field("double", "unit_price"))),
        (["A109"], record(field(["null", "float"], "qty", default=None))),
        ([], record(field("double", "temperature"))),
    ],
)
def test_a_schema_by_itself(expected: list[str], document: Any) -> None:
    """A004-A019 and A104-A110: what is wrong, and what stands beside it and is right."""
    assert expected == rules(document)


@pytest.mark.parametrize(
    ("expected", "type_"),
    [
        ([], {"type": "long", "logicalType": "timestamp-nanos"}),
        ([], {"type": "long", "logicalType": "local-timestamp-millis"}),
        ([], {"type": "long", "logicalType": "local-timestamp-nanos"}),
        ([], {"type": "bytes", "logicalType": "big-decimal"}),
        ([], {"type": "string", "logicalType": "uuid"}),
        ([], {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}),
        (["A013"], {"type": "fixed", "name": "U", "size": 15, "logicalType": "uuid"}),
        ([], {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}),
        (["A013"], {"type": "fixed", "name": "D", "size": 16, "logicalType": "duration"}),
        (["A013"], {"type": "bytes", "logicalType": "uuid"}),
        (["A013"], {"type": "int", "logicalType": "timestamp-millis"}),
        (["A013"], {"type": "long", "logicalType": "date"}),
        (["A013"], {"type": "string", "logicalType": "decimal", "precision": 4}),
        (["A012"], {"type": "long", "logicalType": "timestamp_millis"}),
        (["A012"], {"type": "long", "logicalType": "Timestamp-Millis"}),
        (["A012"], {"type": "long", "logicalType": "nonsense"}),
        (["A012"], {"type": "long", "logicalType": 3}),
        ([], {"type": "array", "items": "int", "logicalType": "map"}),  # Iceberg
        (["A012"], {"type": "string", "logicalType": "map"}),
        (["A015"], {"type": "bytes", "logicalType": "decimal"}),
        (["A015"], {"type": "bytes", "logicalType": "decimal", "precision": 0}),
        (["A015"], {"type": "bytes", "logicalType": "decimal", "precision": "4"}),
        (["A015"], {"type": "bytes", "logicalType": "decimal", "precision": True}),
        ([], {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 4}),
        (["A015"], {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 5}),
        (["A015"], {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": -1}),
        ([], {"type": "bytes", "logicalType": "decimal", "precision": 38}),
        (["A015"], {"type": "bytes", "logicalType": "decimal", "precision": 39}),
        ([], {"type": "fixed", "name": "F", "size": 4, "logicalType": "decimal", "precision": 9}),
        (["A015"], {"type": "fixed", "name": "F", "size": 4, "logicalType": "decimal", "precision": 10}),
        ([], {"type": "fixed", "name": "F", "size": 10**9, "logicalType": "decimal", "precision": 38}),
        (["A015"], {"type": "fixed", "name": "F", "size": 0, "logicalType": "decimal", "precision": 1}),
    ],
)
def test_logical_types(expected: list[str], type_: Any) -> None:
    """A012, A013, A015: the whole list of 1.12, and what every reader would ignore in silence."""
    assert expected == rules(record(field(type_)))


@pytest.mark.parametrize(("expected", "size"), [(0, 0), (2, 1), (4, 2), (9, 4), (18, 8), (35, 15), (38, 16), (38, 99)])
def test_digits_of_a_fixed(expected: int, size: int) -> None:
    """floor(log10(2^(8n-1) - 1)), no more than a decimal may have."""
    assert expected == digits(size)


@pytest.mark.parametrize(
    ("expected", "document"),
    [
        (["A101", "A101"], record(field("int"))),
        (["A101"], record(field("int", doc="Grams."), doc="todo")),
        (["A101"], record(field("int", "order_weight", doc="The order weight."), doc="One order.")),
        ([], record(field("int", doc="Grams."), doc="One order.")),
        (["A102"], record(field("int", doc="Grams."), doc="One order.", name="R")),
        (["A103"], record(field("int", "orderWeight", doc="Grams."), doc="One order.")),
        (["A103"], record(field("int", doc="Grams."), doc="One order.", name="a.order_line")),
        ([], record(field("int", "__op", doc="Debezium's."), doc="One order.")),
        (["A107"], record(
            field({"type": "enum", "name": "E", "symbols": ["A"], "doc": "Why."}, doc="Grams."), doc="One order.")),
        (["A108"], record(field("long", "created_at", doc="When."), doc="One order.")),
        (["A108"], record(field("string", "ship_date", doc="When."), doc="One order.")),
        ([], record(field("long", "response_time", doc="Milliseconds."), doc="One order.")),
        ([], record(field({"type": "int", "logicalType": "date"}, "ship_date", doc="When."), doc="One order.")),
        (["A108"], record(
            field({"type": "long", "logicalType": "timestamp-millis"}, "a_at", doc="When."),
            field({"type": "long", "logicalType": "timestamp-micros"}, "b_at", doc="When."), doc="One order.")),
        (["A112"], record(field("string", "email", doc="To write to."), doc="One order.")),
        ([], record(field("string", "email", doc="To write to.", pii=False), doc="One order.")),
        ([], record(field({"type": "string", "confluent:tags": ["PII"]}, "email", doc="To."), doc="One order.")),
        ([], record(field("string", "email", doc="To write to."), doc="One order.", classification="personal")),
        ([], record(field("boolean", "email", doc="Whether."), doc="One order.")),
        ([], record(field("string", "zip", doc="Of the street."), doc="One order.")),
        ([], record(field("long", "createdAt"), field("string", "email"), **{"connect.name": "shop.Envelope"})),
    ],
)  # fmt: skip
def test_style(expected: list[str], document: Any) -> None:
    """A101-A103, A107, A108, A112; a schema that a connector registers is not asked for what a hand writes."""
    assert expected == [one.rule for one in check(document)]


def test_a_namespace_belongs_to_its_path() -> None:
    """A102 with `checks.schemas.namespaces`: by glob, for every type of the file."""
    document = record(field(record(field("int"), name="b.S")), name="shop.R")
    settings = {"namespaces": {"schemas/shop/*.avsc": "shop"}}
    assert ["fields", 0, "type", "name"] == list(
        next(one.pointer or () for one in check(document, file="schemas/shop/r.avsc", **settings) if one.rule == "A102")
    )
    assert "A102" not in [one.rule for one in check(document, file="schemas/crm/r.avsc", **settings)]


@pytest.mark.parametrize(
    ("expected", "type_", "file"),
    [
        ([], "string", "t-value.avsc"),
        ([], ["null", {"type": "long", "logicalType": "timestamp-micros"}], "t-value.avsc"),
        (["A111"], "long", "t-value.avsc"),
        (["A111"], None, "t-value.avsc"),
        ([], None, "t-key.avsc"),
    ],
)
def test_canonical_fields(expected: list[str], type_: Any, file: str) -> None:
    """A111: missing, mistyped, optional; never asked of a key."""
    fields = [field(type_, "event", default=None)] if isinstance(type_, list) else [field(type_, "event")]
    wanted = (CanonicalField("event", ("string", "long/timestamp-micros")),)
    assert expected == rules(record(*(fields if type_ else [field("int")])), file=file, fields=wanted)


def test_a_cycle_is_an_error_under_a_profile() -> None:
    """A017: neither Flink nor Iceberg has recursive types."""
    tree = record(field({"type": "array", "items": "a.R"}))
    assert [] == rules(tree)
    assert ["A017"] == rules(tree, profiles=frozenset({"iceberg-v2"}))


def test_types_of_other_files_are_theirs() -> None:
    """A slip in another file is not said again where its type is used."""
    other = record(field("double", "price"), name="a.S")
    assert [] == rules(record(field("a.S")), other)
    assert ["A008"] == rules(record(field("a.S", default={})), other)


@pytest.mark.parametrize(
    ("remedy", "rule", "document"),
    [
        ('"type": ["null", "string"], "default": null', "A104", record(field(["string", "null"]))),
        ('"type": ["null", "string"], "default": null', "A009", record(field(["string", "null"], default=None))),
        ('"type": ["null", "string"], "default": null', "A010", record(field("string", default="null"))),
        ('{"type": "long", "logicalType": "date"}', "A014", record(field("long", logicalType="date"))),
        ('Did you mean "default"?', "A016", record(field("int", defualt=1))),
        ('Did you mean "timestamp-millis"?', "A012", record(field({"type": "long", "logicalType": "timestampmillis"}))),
        ('"first_name", and "aliases": ["firstName"]', "A103", record(field("int", "firstName"))),
        ('"default": 2147483647, or "type": "long".', "A008", record(field("int", default=2**31))),
        ('"default": -2147483648, or "type": "long".', "A008", record(field("int", default=-(2**31) - 1))),
        ('"default": 9223372036854775807.', "A008", record(field("long", default=2**63))),
        ('"default": "B".', "A008", record(field({**ENUM, "default": "B"}, default="C"))),
        ('"default": "A".', "A008", record(field({**ENUM, "default": "C"}, default="D"))),
        ('Add "e": "B".', "A008", record(field(record(field({**ENUM, "default": "B"}, "e"), name="I"), default={}))),
        (f'"type": [{json.dumps(MILLIS)}, "null"], "default": 0.', "A009", record(field(["null", MILLIS], default=0))),
        ('"size": 5, or "precision": 9.', "A015", record(field({**DECIMAL, "size": 4, "precision": 11}))),
        ('"precision": 38.', "A015", record(field({**DECIMAL, "precision": "99"}))),
        ('"precision": 1.', "A015", record(field({**DECIMAL, "precision": "0"}))),
        ("boolean has: none.", "A012", record(field({"type": "boolean", "logicalType": "nonsense"}))),
        (
            f"Did you mean {json.dumps(MILLIS)}?",
            "A012",
            record(field({**MILLIS, "type": "string", "logicalType": "timestampmillis"})),
        ),
    ],
)
def test_the_remedy_is_to_paste(remedy: str, rule: str, document: Any) -> None:
    """JSON, not advice."""
    assert remedy in next(one.remedy for one in check(document) if one.rule == rule)


@pytest.mark.parametrize(
    ("expected", "written"),
    [
        ("default", "defualt"), ("logicalType", "logicaltype"), ("logicalType", "logical_type"), ("doc", "docs"),
        ("aliases", "alias"), ("name", "nam"), ("name", "naxme"), ("name", "nome"), ("default", "defautl"),
        ("doc", "DOC"), (None, "naxxme"), (None, "dfeaulx"), (None, "connect.name"), (None, "tags"), (None, "owner"),
    ],
)  # fmt: skip
def test_what_a_misspelt_attribute_meant(expected: str | None, written: str) -> None:
    """One edit, or case and separators, no further."""
    assert expected == meant(written, ["default", "logicalType", "doc", "aliases", "name"])


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        ("time", "createdAt"), ("time", "event_ts"), ("time", "ship_date"), ("time", "updated"), ("", "format"),
        ("", "response_time"), ("", "update"), ("money", "unit_price"), ("money", "totalAmount"), ("", "priceless"),
        ("person", "email"), ("person", "customerEmail"), ("person", "phone_number"), ("person", "ip_address"),
        ("person", "birth_place"), ("", "zip"), ("", "ship"), ("", "email_template_id"), ("", "description"),
    ],
)  # fmt: skip
def test_what_a_name_says(expected: str, name: str) -> None:
    """Whole words only, in any case."""
    found = meaning(name)
    assert expected == " ".join(word for word, is_it in zip(("time", "money", "person"), found, strict=True) if is_it)


@pytest.mark.parametrize(
    ("expected", "name"), [("http_url_id", "HTTPUrlId"), ("a1_b", "a1B"), ("a_b", "a-b"), ("op", "__op")]
)
def test_snake_case(expected: str, name: str) -> None:
    """Humps, digits and separators."""
    assert expected == snake_case(name)


@pytest.mark.parametrize(("expected", "name"), [("a_b", "a-b"), ("_1a", "1a"), ("_", ""), ("a__", "aé-")])
def test_the_nearest_legal_name_is_legal(expected: str, name: str) -> None:
    """What is written instead must not be refused as well."""
    assert expected == legal(name)


@pytest.mark.parametrize(("expected", "name"), [("OrderLine", "order_line"), ("ABC", "aBC"), ("Type", "--")])
def test_pascal_case(expected: str, name: str) -> None:
    """Humps stay, and there is always a name."""
    assert expected == pascal_case(name)


def test_pointers_are_places() -> None:
    """Each violation's pointer leads to the node that it is about."""
    document = record(
        field({"type": "enum", "name": "E", "symbols": ["A", "A"], "default": "C"}),
        field("int", "g", defualt=1, aliases=["f"]),
    )
    found: dict[str, Pointer | None] = {one.rule: one.pointer for one in check(document) if one.rule not in STYLE}
    assert {
        "A007": ("fields", 0, "type", "symbols", 1),
        "A011": ("fields", 0, "type", "default"),
        "A016": ("fields", 1, "defualt"),
        "A110": ("fields", 1, "aliases", 0),
    } == found


def test_a_record_on_a_cycle_through_another_file_is_found() -> None:
    """Each file says it of its own record, whoever closes the cycle."""
    one, other = record(field("a.S")), record(field("a.R"), name="a.S")
    assert ["A017"] == rules(one, other)
    assert ["A017"] == rules(other, one)
    assert [] == rules(record(field("a.S")), record(field(["null", "a.R"], default=None), name="a.S"))
    assert [] == rules(record(field("a.S")), record(field("a.S"), name="a.S"))
