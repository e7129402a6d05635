"""The difference between two schemas, as people read it."""

from __future__ import annotations

from typing import Any

import pytest

from bot.checks.avro.changes import Change, changes
from bot.checks.avro.schema import Field, Primitive
from tests.unit.checks.avro_documents import decimal, enum, field, fixed, optional, record, schema
from tests.unit.checks.test_resolution import nested

ID = field("id", "long")
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}


def connect(kind: str, name: str, **parameters: str) -> dict[str, Any]:
    return {"type": kind, "connect.version": 1, "connect.name": name, "connect.parameters": parameters}


def envelope(*columns: dict[str, Any]) -> dict[str, Any]:
    """A Debezium envelope: `before` defines the row's type, `after` uses it."""
    row = record(*columns, name="shop.public.customers.Value")
    return record(
        field("before", ["null", row], default=None),
        field("after", ["null", "shop.public.customers.Value"], default=None),
        field("op", "string"),
        name="shop.public.customers.Envelope",
    )


ADDRESS = record(field("street", "string"), name="shop.Address")
TABLE: list[tuple[str, Any, Any, list[tuple[str, str, str]]]] = [
    ("same", record(ID), record(ID), []),
    ("added", record(ID), record(ID, optional("tier", "string")),
     [("tier", "added", "added: null | string, default null")]),
    ("added bare", record(ID), record(ID, field("n", "int")), [("n", "added", "added: int, no default")]),
    ("removed", record(ID, field("n", "int", default=1)), record(ID), [("n", "removed", "removed: int, default 1")]),
    ("removed last", record(field("a", "int"), ID), record(ID, field("b", "long")),
     [("b", "added", "added: long, no default"), ("a", "removed", "removed: int, no default")]),
    ("alias", record(field("mail", "string")), record(field("email", "string", aliases=["mail"])),
     [("email", "renamed", "renamed from mail by alias")]),
    ("guess", record(ID, field("mail", "string")), record(ID, field("email", "string")),
     [("email", "added", "added: string, no default; renamed from mail? Then it needs an alias"),
      ("mail", "removed", "removed: string, no default; renamed to email? Then it needs an alias")]),
    ("type", record(field("n", "int")), record(field("n", "long")), [("n", "type", "type int -> long")]),
    ("type in a union", record(optional("n", "int")), record(optional("n", "string")),
     [("n", "type", "type int -> string")]),
    ("decimal", record(field("n", decimal(10, 2))), record(field("n", decimal(12, 4))),
     [("n", "logical", "decimal(10,2) -> decimal(12,4)")]),
    ("unit", record(field("at", MILLIS)), record(field("at", MICROS)),
     [("at", "logical", "timestamp-millis -> timestamp-micros")]),
    ("unit that only Connect tells", record(field("at", connect("long", "io.debezium.time.Timestamp"))),
     record(field("at", connect("long", "io.debezium.time.MicroTimestamp"))),
     [("at", "logical", "io.debezium.time.Timestamp -> io.debezium.time.MicroTimestamp")]),
    ("dropped", record(field("at", MILLIS)), record(field("at", "long")),
     [("at", "logical", "logical type timestamp-millis dropped")]),
    ("logical added", record(field("at", "long")), record(field("at", MILLIS)),
     [("at", "logical", "logical type timestamp-millis added")]),
    ("nullable", record(field("n", "int")), record(optional("n", "int")),
     [("n", "default", "no default -> null"), ("n", "nullability", "null allowed")]),
    ("required", record(optional("n", "int")), record(field("n", "int", default=0)),
     [("n", "default", "default null -> 0"), ("n", "nullability", "null no longer allowed")]),
    ("default", record(field("n", "int", default=0)), record(field("n", "int")),
     [("n", "default", "default 0 -> no default")]),
    ("0 is not false", record(field("n", ["int", "boolean"], default=0)),
     record(field("n", ["int", "boolean"], default=False)), [("n", "default", "default 0 -> false")]),
    ("symbols", record(field("s", enum("A", "B"))), record(field("s", enum("A", "C"))),
     [("s", "enum", "symbols added: C; removed: B")]),
    ("symbols reordered", record(field("s", enum("A", "B"))), record(field("s", enum("B", "A"))),
     [("s", "enum", "symbols reordered")]),
    ("enum default", record(field("s", enum("A", "B", default="A"))), record(field("s", enum("A", "B", default="B"))),
     [("s", "default", 'default "A" -> "B"')]),
    ("enum column of Debezium", record(field("s", connect("string", "io.debezium.data.Enum", allowed="a,b"))),
     record(field("s", connect("string", "io.debezium.data.Enum", allowed="a,b,c"))),
     [("s", "enum", "symbols added: c")]),
    ("order", record(ID, field("a", "int")), record(field("a", "int"), ID), [("", "order", "fields reordered: a, id")]),
    ("sort order", record(field("a", "int")), record(field("a", "int", order="ignore")),
     [("a", "order", "sort order ascending -> ignore")]),
    ("doc", record(ID, doc="x"), record({**ID, "doc": "y"}, doc="z"),
     [("", "doc", "doc changed"), ("id", "doc", "doc changed")]),
    ("alias only", record(ID), record({**ID, "aliases": ["key"]}), [("id", "doc", "aliases changed")]),
    ("record renamed", record(ID, name="shop.Old"), record(ID, name="shop.New", aliases=["Old"]),
     [("", "name", "record renamed shop.Old -> shop.New")]),
    ("namespace", record(ID, name="a.R"), record(ID, name="b.R"), [("", "name", "namespace a -> b")]),
    ("first namespace", record(ID, name="R"), record(ID, name="b.R"), [("", "name", "namespace none -> b")]),
    ("last namespace", record(ID, name="a.R"), record(ID, name="R"), [("", "name", "namespace a -> none")]),
    ("fixed", record(field("h", fixed(4))), record(field("h", fixed(8))),
     [("h", "type", "type fixed(4) Hash -> fixed(8) Hash")]),
    ("another record", record(field("a", ADDRESS)), record(field("a", record(field("x", "int"), name="shop.Other"))),
     [("a", "type", "type record Address -> record Other")]),
    ("branch added", record(field("n", ["null", "int"])), record(field("n", ["null", "int", "string"])),
     [("n", "type", "type int -> int | string")]),
    ("branch promoted among many", record(field("n", ["int", "string"])), record(field("n", ["long", "string"])),
     [("n", "type", "type int -> long")]),
    ("array", record(field("lines", {"type": "array", "items": record(field("price", "int"), name="shop.Line")})),
     record(field("lines", {"type": "array", "items": record(field("price", "long"), name="shop.Line")})),
     [("lines[].price", "type", "type int -> long")]),
    ("map", record(field("attrs", {"type": "map", "values": record(field("x", "int"), name="shop.V")})),
     record(field("attrs", {"type": "map", "values": record(field("x", "int"), field("y", "int"), name="shop.V")})),
     [("attrs{}.y", "added", "added: int, no default")]),
    ("envelope, told once", envelope(ID), envelope(ID, optional("email", "string")),
     [("before.email", "added", "added: null | string, default null")]),
    ("record that became optional", record(field("a", ADDRESS)),
     record(field("a", ["null", record(field("street", "string"), field("zip", "string"), name="shop.Address")])),
     [("a", "nullability", "null allowed"), ("a.zip", "added", "added: string, no default")]),
    ("root", "int", "long", [("", "type", "type int -> long")]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "old", "new", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_changes_are_told_in_a_persons_words(
    what: str, old: Any, new: Any, expected: list[tuple[str, str, str]]
) -> None:
    """Path, kind and words of every change, in the order of the new schema, removed fields last."""
    found = changes(schema(old), schema(new))
    assert expected == [(one.path, one.kind, one.words) for one in found]


def test_a_change_knows_its_place_in_both_texts() -> None:
    """Pointers lead to the nodes; None where there is none."""
    old = schema(record(field("n", "int"), field("gone", "string")))
    new = schema(record(field("n", "long"), field("fresh", "bytes")))
    assert (
        Change("n", "type", "type int -> long", ("fields", 0, "type"), ("fields", 0, "type")),
        Change("fresh", "added", "added: bytes, no default", None, ("fields", 1)),
        Change("gone", "removed", "removed: string, no default", ("fields", 1), None),
    ) == changes(old, new)


def test_a_schema_five_hundred_deep_is_compared() -> None:
    """No depth ends in a trace."""
    found = changes(nested(500, Field("x", Primitive("int"))), nested(500, Field("x", Primitive("long"))))
    assert [("type", "type int -> long")] == [(one.kind, one.words) for one in found]
