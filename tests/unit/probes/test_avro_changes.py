"""Field-level differences between two Avro versions and what the subject's level says to them."""

from __future__ import annotations

import json

import pytest

from bot.probes.avro_changes import Change, changes_between, field_at

C, X, U = "compatible", "incompatible", "unknown"


def record(*fields: dict, name: str = "r") -> str:
    return json.dumps({"type": "record", "name": name, "fields": list(fields)})


def field(name: str, kind: object = "long", **more: object) -> dict:
    return {"name": name, "type": kind, **more}


def array(items: object) -> dict:
    return {"type": "array", "items": items}


def fixed(size: int) -> dict:
    return {"type": "fixed", "name": "H", "size": size}


ID, OPTIONAL = field("id"), field("email", ["null", "string"], default=None)
ADDRESS = {"type": "record", "name": "Address", "fields": [field("street", "string")]}
ADDRESS_2 = {"type": "record", "name": "Address", "fields": [field("street", "string"), field("zip", "string")]}
COLOUR = {"type": "enum", "name": "Colour", "symbols": ["red", "green"]}
COLOUR_2 = {"type": "enum", "name": "Colour", "symbols": ["red", "blue"]}


@pytest.mark.parametrize(
    ("path", "change", "backward", "forward", "full", "none", "old", "new"),
    [
        ("tier", "added, string, without default", X, C, X, U, [ID], [ID, field("tier", "string")]),
        ("tier", 'added, string, default "a"', C, C, C, C, [ID], [ID, field("tier", "string", default="a")]),
        ("email", "added, null|string, default null", C, C, C, C, [ID], [ID, OPTIONAL]),
        ("email", "removed (with default)", C, C, C, C, [ID, OPTIONAL], [ID]),
        ("email", "removed (without default)", C, X, X, U, [ID, field("email", "string")], [ID]),
        ("id", "type int -> long", C, X, X, U, [field("id", "int")], [ID]),
        ("id", "type long -> int", X, C, X, U, [ID], [field("id", "int")]),
        ("id", "type long -> string", X, X, X, U, [ID], [field("id", "string")]),
        ("id", "type long -> null|long", C, X, X, U, [ID], [field("id", ["null", "long"])]),
        ("id", "type null|long -> long", X, C, X, U, [field("id", ["null", "long"])], [ID]),
        ("id", "type null|long -> null|string", X, X, X, U,
         [field("id", ["null", "long"])], [field("id", ["null", "string"])]),
        ("id", 'default none -> 0', C, C, C, C, [ID], [field("id", default=0)]),
        ("id", 'default 0 -> none', C, C, C, C, [field("id", default=0)], [ID]),
        ("after.zip", "added, string, without default", X, C, X, U,
         [field("after", ["null", ADDRESS])], [field("after", ["null", ADDRESS_2])]),
        ("lines[].zip", "added, string, without default", X, C, X, U,
         [field("lines", array(ADDRESS))], [field("lines", array(ADDRESS_2))]),
        ("lines[]", "type int -> string", X, X, X, U,
         [field("lines", array("int"))], [field("lines", array("string"))]),
        ("m{}", "type int -> long", C, X, X, U,
         [field("m", {"type": "map", "values": "int"})], [field("m", {"type": "map", "values": "long"})]),
        ("new", "renamed from old by alias", C, X, X, U, [field("old")], [field("new", aliases=["old"])]),
        ("at", "type long -> long (timestamp-millis)", C, C, C, C,
         [field("at")], [field("at", {"type": "long", "logicalType": "timestamp-millis"})]),
        ("h", "type fixed(4) -> fixed(8)", X, X, X, U,
         [field("h", fixed(4))], [field("h", fixed(8))]),
    ],
)  # fmt: skip
def test_one_change_at_each_level(path, change, backward, forward, full, none, old, new):
    """BACKWARD: new reads old. FORWARD: old reads new. NONE: unknown unless FULL allows it."""
    for level, verdict in (
        ("BACKWARD", backward),
        ("BACKWARD_TRANSITIVE", backward),
        ("FORWARD", forward),
        ("FULL", full),
        ("NONE", none),
        (None, none),
    ):
        assert (Change(path, change, verdict),) == changes_between(record(*old), record(*new), level), level


def test_enum_symbols_added_and_removed():
    """A symbol that old data holds and the new schema lacks cannot be read; the other way round for FORWARD."""
    assert (
        Change("c", "symbols added: blue", C),
        Change("c", "symbols removed: green", X),
    ) == changes_between(record(field("c", COLOUR)), record(field("c", COLOUR_2)), "BACKWARD")


def test_equal_schemas_have_no_changes_and_order_does_not_matter():
    """Avro matches fields by name."""
    assert () == changes_between(record(ID, OPTIONAL), record(OPTIONAL, ID), "FULL")


def test_a_type_named_once_and_used_twice_is_followed():
    """Debezium's envelope defines Value in `before` and names it in `after`: both changed."""
    old = record(field("before", ["null", ADDRESS]), field("after", ["null", "Address"]))
    new = record(field("before", ["null", ADDRESS_2]), field("after", ["null", "Address"]))

    assert ["before.zip", "after.zip"] == [one.path for one in changes_between(old, new, "BACKWARD")]


def test_a_recursive_type_ends():
    """A tree refers to itself."""
    tree = {"type": "record", "name": "T", "fields": [field("v", "int"), field("next", ["null", "T"])]}
    tree_2 = {"type": "record", "name": "T", "fields": [field("v", "long"), field("next", ["null", "T"])]}

    changes = changes_between(json.dumps(tree), json.dumps(tree_2), "BACKWARD")

    assert Change("v", "type int -> long", C) == changes[0]


@pytest.mark.parametrize("text", ["", "{", "7", "null", '{"type": "record"}', '{"type":"record","fields":[{}]}'])
def test_text_that_is_not_avro_is_none_not_an_empty_list(text):
    """No changes would read as "nothing changed"."""
    assert None is changes_between(text, record(ID), "BACKWARD")
    assert None is changes_between(record(ID), text, "BACKWARD")


@pytest.mark.parametrize(
    ("expected", "path"),
    [
        ("id", "/fields/0"),
        ("email", "/fields/1/type/1"),
        ("after.street", "/fields/2/type/1/fields/0"),
        ("after.street", "/fields/2/type/1/fields/0/type"),
        (None, "/fields/9"),
        (None, "/"),
        (None, ""),
        (None, "/fields/x"),
        (None, "/name"),
    ],
)
def test_field_at_a_registrys_path(expected, path):
    """Registries name positions; people know names."""
    assert expected == field_at(record(ID, OPTIONAL, field("after", ["null", ADDRESS])), path)


def test_field_at_of_no_schema_is_none():
    """A protobuf subject has no such path."""
    assert None is field_at('syntax = "proto3";', "/fields/0")
