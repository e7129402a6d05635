"""Schema resolution to the letter of Avro 1.12, every conflict with its place."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bot.checks.avro.resolution import incompatibilities
from bot.checks.avro.schema import Array, Field, Primitive, Record, Reference, Schema
from tests.unit.checks.avro_documents import enum, field, fixed, optional, record, schema

ID = field("id", "long")
A, B = record(ID, name="shop.A"), record(ID, name="shop.B")
ADDRESS = record(field("street", "string"), name="shop.Address")
ADDRESS_ZIP = record(field("street", "string"), field("zip", "string"), name="shop.Address")
ADDRESS_ZIP_DEFAULT = record(field("street", "string"), field("zip", "string", default=""), name="shop.Address")


def node(*fields: dict[str, Any]) -> dict[str, Any]:
    """A record that contains itself."""
    return record(*fields, field("next", ["null", "shop.Node"]), name="shop.Node")


READABLE: list[tuple[str, Any, Any]] = [
    # What it is, writer, reader.
    ("added with default", record(ID), record(ID, field("tier", "string", default="basic"))),
    ("added [T,null] default null", record(ID), record(ID, field("tier", ["string", "null"], default=None))),
    ("removed", record(ID, field("tier", "string")), record(ID)),
    *(
        (f"{written} -> {read}", record(field("x", written)), record(field("x", read)))
        for written, read in (
            ("int", "long"), ("int", "float"), ("int", "double"), ("long", "float"), ("long", "double"),
            ("float", "double"), ("string", "bytes"), ("bytes", "string"), ("null", "null"), ("boolean", "boolean"),
        )
    ),
    ("field renamed by alias", record(field("mail", "string")), record(field("email", "string", aliases=["mail"]))),
    ("second alias", record(field("mail", "string")), record(field("email", "string", aliases=["post", "mail"]))),
    ("an alias takes the field from its namesake", record(field("a", "int")),
     record(field("a", "string", default=""), field("b", "int", aliases=["a"]))),
    ("record renamed, unqualified alias", record(ID, name="shop.Old"), record(ID, name="shop.New", aliases=["Old"])),
    ("record renamed, full alias", record(ID, name="old.Old"), record(ID, name="shop.New", aliases=["old.Old"])),
    ("enum renamed, unqualified alias", enum("A", name="shop.Old"), enum("A", name="shop.New", aliases=["Old"])),
    ("fixed renamed, full alias", fixed(4, name="old.Old"), fixed(4, name="shop.New", aliases=["old.Old"])),
    ("namespace changed", record(ID, name="old.Customer"), record(ID, name="shop.Customer")),
    ("inner namespace changed", record(field("s", enum("A", name="old.Status"))), record(field("s", enum("A")))),
    ("T -> [null, T]", record(field("x", "string")), record(field("x", ["null", "string"]))),
    ("branch added", record(field("x", ["null", "string"])), record(field("x", ["null", "string", "long"]))),
    ("branches reordered", record(field("x", ["null", "string"])), record(field("x", ["string", "null"]))),
    ("branch promoted", record(field("x", ["null", "int"])), record(field("x", ["null", "long"]))),
    ("[int, string] -> [string, double]", ["int", "string"], ["string", "double"]),
    ("one branch to the type", record(field("x", ["string"])), record(field("x", "string"))),
    ("each branch promoted to one type", ["int", "float"], "double"),
    ("symbol added", enum("A", "B"), enum("A", "B", "C")),
    ("symbol removed, enum default", enum("A", "B", "C"), enum("A", "B", default="A")),
    ("array items promoted", {"type": "array", "items": "int"}, {"type": "array", "items": "long"}),
    ("map values promoted", {"type": "map", "values": "float"}, {"type": "map", "values": "double"}),
    ("array in a union promoted", ["null", {"type": "array", "items": "int"}],
     ["null", {"type": "array", "items": "long"}]),
    ("nested field with default", record(field("a", ADDRESS)), record(field("a", ADDRESS_ZIP_DEFAULT))),
    ("nested in a union", record(field("a", ["null", ADDRESS])), record(field("a", ["null", ADDRESS_ZIP_DEFAULT]))),
    ("recursive, same", node(ID), node(ID)),
    ("recursive, added with default", node(ID), node(ID, field("x", "int", default=0))),
    ("recursive promoted", node(field("x", "int")), node(field("x", "double"))),
    ("an error is a record", {**record(ID), "type": "error"}, record(ID)),
    ("null default of a union's second branch", record(), record(field("x", ["int", "null"], default=None))),
    ("record default that leaves out a defaulted field", record(),
     record(field("a", ADDRESS_ZIP_DEFAULT, default={"street": "x"}))),
    ("recursive default", record(), record(field("n", node(ID), default={"id": 1, "next": None}))),
    ("decimals: the registry sees bytes", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
     {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 4}),
    ("the branch of the very same name", [record(ID, name="a.R")],
     [record(ID, field("x", "int"), name="b.R"), record(ID, name="a.R")]),
    ("the branch with the full name as alias", [record(ID, name="a.R")],
     [record(ID, field("x", "int"), name="b.R"), record(ID, name="c.S", aliases=["a.R"])]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "writer", "reader"), READABLE, ids=[row[0] for row in READABLE])
def test_what_the_specification_lets_a_reader_read(what: str, writer: Any, reader: Any) -> None:
    """No conflict is reported where the reader can resolve every writer's value."""
    assert () == incompatibilities(schema(reader), schema(writer))


CONFLICTS: list[tuple[str, Any, Any, list[tuple[str, str, tuple[Any, ...], tuple[Any, ...]]]]] = [
    # What it is, writer, reader, [(kind, path, reader's pointer, writer's pointer)].
    ("added without default", record(ID), record(ID, field("tier", "string")),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "tier", ("fields", 1), ("fields",))]),
    ("added [null, T] without default", record(ID), record(ID, field("tier", ["null", "string"])),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "tier", ("fields", 1), ("fields",))]),
    ("added, default of a wrong type", record(ID), record(ID, field("tier", "string", default=5)),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "tier", ("fields", 1), ("fields",))]),
    ("added, default out of range", record(ID), record(ID, field("n", "int", default=1 << 31)),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "n", ("fields", 1), ("fields",))]),
    ("added, default of more than a byte", record(ID), record(ID, field("b", "bytes", default="\u0100")),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "b", ("fields", 1), ("fields",))]),
    ("added, true for a double", record(ID), record(ID, field("d", "double", default=True)),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "d", ("fields", 1), ("fields",))]),
    ("added, default of another size", record(ID), record(ID, field("h", fixed(4), default="abc")),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "h", ("fields", 1), ("fields",))]),
    ("added, default that lacks a field", record(ID), record(ID, field("a", ADDRESS, default={})),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "a", ("fields", 1), ("fields",))]),
    ("enum default is no field default", record(ID), record(ID, field("s", enum("A", default="A"))),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "s", ("fields", 1), ("fields",))]),
    *(
        (f"{written} -> {read}", record(field("x", written)), record(field("x", read)),
         [("TYPE_MISMATCH", "x", ("fields", 0, "type"), ("fields", 0, "type"))])
        for written, read in (
            ("long", "int"), ("double", "float"), ("float", "long"), ("int", "string"), ("string", "long"),
            ("boolean", "int"), ("null", "string"), ("string", {"type": "array", "items": "string"}),
            ({"type": "map", "values": "int"}, {"type": "array", "items": "int"}), ("bytes", fixed(4)),
            (fixed(4), enum("A")), (record(name="shop.R"), "string"),
        )
    ),
    ("string -> timestamp", record(field("x", "string")),
     record(field("x", {"type": "long", "logicalType": "timestamp-millis"})),
     [("TYPE_MISMATCH", "x", ("fields", 0, "type"), ("fields", 0, "type"))]),
    ("record renamed", A, B, [("NAME_MISMATCH", "", ("name",), ("name",))]),
    ("alias in the wrong namespace", record(ID, name="old.Old"), record(ID, name="shop.New", aliases=["Old"]),
     [("NAME_MISMATCH", "", ("name",), ("name",))]),
    ("fixed renamed", fixed(4, name="shop.X"), fixed(4), [("NAME_MISMATCH", "", ("name",), ("name",))]),
    ("fixed size", fixed(4), fixed(8), [("FIXED_SIZE_MISMATCH", "", ("size",), ("size",))]),
    ("fixed renamed and resized", fixed(4, name="shop.X"), fixed(8),
     [("NAME_MISMATCH", "", ("name",), ("name",)), ("FIXED_SIZE_MISMATCH", "", ("size",), ("size",))]),
    ("[null, T] -> T", record(field("x", ["null", "string"])), record(field("x", "string")),
     [("TYPE_MISMATCH", "x", ("fields", 0, "type"), ("fields", 0, "type", 0))]),
    ("branch removed", record(field("x", ["null", "string", "long"])), record(field("x", ["null", "string"])),
     [("MISSING_UNION_BRANCH", "x", ("fields", 0, "type"), ("fields", 0, "type", 2))]),
    ("two branches removed", ["null", "string", "long"], ["null"],
     [("MISSING_UNION_BRANCH", "", (), (1,)), ("MISSING_UNION_BRANCH", "", (), (2,))]),
    ("T -> union without it", "string", ["null", "int"], [("MISSING_UNION_BRANCH", "", (), ())]),
    ("record of another name in a union", ["null", A], ["null", B], [("MISSING_UNION_BRANCH", "", (), (1,))]),
    ("symbol removed, no default", enum("A", "B", "C"), enum("A"),
     [("MISSING_ENUM_SYMBOLS", "", ("symbols",), ("symbols",))]),
    ("symbol removed, only a field default", record(field("s", enum("A", "B"))),
     record(field("s", enum("A"), default="A")),
     [("MISSING_ENUM_SYMBOLS", "s", ("fields", 0, "type", "symbols"), ("fields", 0, "type", "symbols"))]),
    ("symbol removed, default that is no symbol", enum("A", "B"), enum("A", default="Z"),
     [("MISSING_ENUM_SYMBOLS", "", ("symbols",), ("symbols",))]),
    ("items narrowed", {"type": "array", "items": "long"}, {"type": "array", "items": "int"},
     [("TYPE_MISMATCH", "[]", ("items",), ("items",))]),
    ("map values", {"type": "map", "values": "int"}, {"type": "map", "values": "string"},
     [("TYPE_MISMATCH", "{}", ("values",), ("values",))]),
    ("items narrowed in a union", ["null", {"type": "array", "items": "long"}],
     ["null", {"type": "array", "items": "int"}], [("TYPE_MISMATCH", "[]", (1, "items"), (1, "items"))]),
    ("nested field without default", record(field("a", ADDRESS)), record(field("a", ADDRESS_ZIP)),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "a.zip", ("fields", 0, "type", "fields", 1),
       ("fields", 0, "type", "fields"))]),
    ("nested in a union", record(field("a", ["null", ADDRESS])), record(field("a", ["null", ADDRESS_ZIP])),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "a.zip", ("fields", 0, "type", 1, "fields", 1),
       ("fields", 0, "type", 1, "fields"))]),
    ("nested in array and map", record(field("l", {"type": "array", "items": {"type": "map", "values": ADDRESS}})),
     record(field("l", {"type": "array", "items": {"type": "map", "values": ADDRESS_ZIP}})),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "l[]{}.zip", ("fields", 0, "type", "items", "values", "fields", 1),
       ("fields", 0, "type", "items", "values", "fields"))]),
    ("recursive, added without default", node(ID), node(ID, field("x", "int")),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "x", ("fields", 1), ("fields",))]),
    ("recursive, deep in the cycle", node(ID, field("x", "long")), node(ID, field("x", "int")),
     [("TYPE_MISMATCH", "x", ("fields", 1, "type"), ("fields", 1, "type"))]),
    ("below a field renamed by alias", record(field("old", ADDRESS)),
     record(field("new", ADDRESS_ZIP, aliases=["old"])),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "new.zip", ("fields", 0, "type", "fields", 1),
       ("fields", 0, "type", "fields"))]),
    ("a written field feeds one field", record(field("a", "int")),
     record(field("a", "int"), field("b", "int", aliases=["a"])),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "a", ("fields", 0), ("fields",))]),
    ("all at once, in the order of the text",
     record(field("x", "long"), field("y", "string"), field("s", enum("A", "B"))),
     record(field("x", "int"), field("new", "int"), field("y", "int"), field("s", enum("A"))),
     [("TYPE_MISMATCH", "x", ("fields", 0, "type"), ("fields", 0, "type")),
      ("READER_FIELD_MISSING_DEFAULT_VALUE", "new", ("fields", 1), ("fields",)),
      ("TYPE_MISMATCH", "y", ("fields", 2, "type"), ("fields", 1, "type")),
      ("MISSING_ENUM_SYMBOLS", "s", ("fields", 3, "type", "symbols"), ("fields", 2, "type", "symbols"))]),
    ("a type used twice is told once", record(field("a", ADDRESS), field("b", "shop.Address")),
     record(field("a", ADDRESS_ZIP), field("b", "shop.Address")),
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "a.zip", ("fields", 0, "type", "fields", 1),
       ("fields", 0, "type", "fields"))]),
    ("the first branch of the unqualified name decides", [record(ID, name="a.R")],
     [record(ID, field("x", "int"), name="b.R"), record(ID, name="c.R")],
     [("READER_FIELD_MISSING_DEFAULT_VALUE", "x", (0, "fields", 1), (0, "fields"))]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "writer", "reader", "expected"), CONFLICTS, ids=[row[0] for row in CONFLICTS])
def test_every_conflict_has_its_kind_and_its_two_places(
    what: str, writer: Any, reader: Any, expected: list[tuple[str, str, Any, Any]]
) -> None:
    """All conflicts are told in the order of the reader's text, with pointers into both schemas."""
    found = incompatibilities(schema(reader), schema(writer))
    assert expected == [(one.kind, one.path, one.reader, one.writer) for one in found]


@pytest.mark.parametrize(
    ("writer", "reader", "message"),
    [
        (record(ID), record(ID, field("x", "int")), "x is not written, and has no default"),
        (record(ID), record(ID, field("x", "int", default="1")),
         'x is not written, and its default "1" is no value of int'),
        ("long", "int", "long cannot be read as int"),
        (["null", "long"], ["null", "int"], "no branch of null | int reads long"),
        (enum("A", "B", "C"), enum("A"), "enum Status lacks B, C and has no default symbol"),
        (A, B, "record shop.B has neither the name nor an alias shop.A"),
        (fixed(16), fixed(8), "16 bytes are written, 8 are read"),
        (
            {"type": "array", "items": ["null", "string"]},
            {"type": "map", "values": "int"},
            "array of (null | string) cannot be read as map of int",
        ),
    ],
)  # fmt: skip
def test_the_message_says_what_was_written_and_what_is_read(writer: Any, reader: Any, message: str) -> None:
    """Words for a person; the kind is for programs."""
    assert [message] == [one.message for one in incompatibilities(schema(reader), schema(writer))]


def test_inside_another_files_type_the_place_is_where_it_is_used() -> None:
    """A pointer never leads into another document."""
    user = record(ID, field("home", "shop.Address"))
    reader = schema(user, "customer.avsc", ("address.avsc", ADDRESS_ZIP))
    writer = schema(user, "customer.avsc", ("address.avsc", ADDRESS))
    found = incompatibilities(reader, writer)
    assert [("home.zip", ("fields", 1, "type"), ("fields", 1, "type"))] == [
        (one.path, one.reader, one.writer) for one in found
    ]


def nested(depth: int, *leaf: Field) -> Schema:
    """Records that contain one another, `depth` levels deep, with arrays between them; built without the reader."""
    named = {
        f"R{level}": Record(f"R{level}", (Field("in", Array(Reference(f"R{level + 1}"))),)) for level in range(depth)
    }
    named[f"R{depth}"] = Record(f"R{depth}", leaf)
    return Schema(Reference("R0"), named, tuple(named))


def test_a_schema_five_hundred_deep_is_resolved() -> None:
    """No depth ends in a trace."""
    written, read = nested(500, Field("x", Primitive("long"))), nested(500, Field("x", Primitive("int")))
    assert () == incompatibilities(written, written)
    assert [(500, "TYPE_MISMATCH")] == [(one.path.count("[]"), one.kind) for one in incompatibilities(read, written)]


def test_a_thousand_equal_schemas_cost_next_to_nothing() -> None:
    """The common case of a check, nothing changed, is cheap: 1,000 pairs of 30 fields."""
    pair = schema(record(*(optional(f"f{n}", "string") for n in range(30))))
    started = time.process_time()
    for _ in range(1000):
        incompatibilities(pair, pair)
    assert time.process_time() - started < 0.5


def test_a_conflict_has_the_path_of_each_side() -> None:
    """Fields renamed by alias have two names, at every level; `path` is the reader's."""

    def lines(outer: str, inner: str, type_: str, *aliases: str) -> Any:
        of_inner, of_outer = ({"aliases": [one]} for one in aliases) if aliases else ({}, {})
        line = record(field(inner, type_, **of_inner), name="shop.Line")
        return record(field(outer, {"type": "array", "items": line}, **of_outer))

    reader, writer = lines("lines", "price", "int", "cost", "rows"), lines("rows", "cost", "long")
    (one,) = incompatibilities(schema(reader), schema(writer))
    assert ("lines[].price", "rows[].cost") == (one.path, one.writer_path)


def test_a_conflict_inside_types_of_other_files_stands_where_this_file_uses_them() -> None:
    """However far inside: the pointers are into this file's text."""

    def of_three_files(type_: str) -> Schema:
        zip_code = record(field("zip", type_), name="shop.Place")
        address = record(field("place", "shop.Place"), name="shop.Address")
        return schema(record(ID, field("ship_to", "shop.Address")), "a.avsc", ("b.avsc", address), ("c.avsc", zip_code))

    (one,) = incompatibilities(of_three_files("int"), of_three_files("long"))
    assert ("ship_to.place.zip", ("fields", 1, "type")) == (one.path, one.reader)
    assert ("fields", 1, "type") == one.writer
