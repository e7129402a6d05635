"""Two registered versions: what changed, what each level says to it, and what no registry looks at."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.ports import SchemaReference, SchemaVersion
from bot.probes.schema_diff import SchemaChange, compare, readable, refused_by

C, X, U = "compatible", "incompatible", "unknown"


def version(number: int, *fields: dict[str, Any], kind: str = "AVRO", text: str | None = None) -> SchemaVersion:
    text = json.dumps({"type": "record", "name": "r", "fields": list(fields)}) if text is None else text
    return SchemaVersion("s", number, number, kind, text)


def field(name: str, kind: object = "long", **more: object) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def changed(old: list[dict[str, Any]], new: list[dict[str, Any]], level: str | None) -> tuple[SchemaChange, ...]:
    found = compare(version(1, *old), version(2, *new), level, {}).changes
    assert found is not None
    return found


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


ID, OPTIONAL = field("id"), field("email", ["null", "string"], default=None)
MILLIS, MICROS = ({"type": "long", "logicalType": f"timestamp-{unit}"} for unit in ("millis", "micros"))
ADDRESS = {"type": "record", "name": "Address", "fields": [field("street", "string")]}
ADDRESS_2 = {"type": "record", "name": "Address", "fields": [field("street", "string"), field("zip", "string")]}
COLOUR = {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN"]}
COLOUR_2 = {"type": "enum", "name": "Colour", "symbols": ["RED"]}


@pytest.mark.parametrize(
    ("path", "backward", "forward", "full", "none", "old", "new"),
    [
        ("tier", X, C, X, U, [ID], [ID, field("tier", "string")]),
        ("tier", C, C, C, C, [ID], [ID, field("tier", "string", default="a")]),
        ("email", C, C, C, C, [ID], [ID, OPTIONAL]),
        ("email", C, C, C, C, [ID, OPTIONAL], [ID]),
        ("email", C, X, X, U, [ID, field("email", "string")], [ID]),
        ("id", C, X, X, U, [field("id", "int")], [ID]),
        ("id", X, C, X, U, [ID], [field("id", "int")]),
        ("id", X, X, X, U, [ID], [field("id", "string")]),
        ("id", C, X, X, U, [ID], [field("id", ["null", "long"])]),
        ("id", X, C, X, U, [field("id", ["null", "long"])], [ID]),
        ("id", C, C, C, C, [ID], [field("id", default=0)]),
        ("after.zip", X, C, X, U, [field("after", ["null", ADDRESS])], [field("after", ["null", ADDRESS_2])]),
        ("new", C, X, X, U, [field("old")], [field("new", aliases=["old"])]),
        ("c", X, C, X, U, [field("c", COLOUR)], [field("c", COLOUR_2)]),
        ("amount", C, C, C, C, [field("amount", decimal(10, 2))], [field("amount", decimal(10, 4))]),
        ("at", C, C, C, C, [field("at", MILLIS)], [field("at", MICROS)]),
    ],
)  # fmt: skip
def test_one_change_at_each_level(path, backward, forward, full, none, old, new):
    """BACKWARD: new reads old. FORWARD: old reads new. NONE: unknown unless both hold."""
    for level, verdict in (
        ("BACKWARD", backward),
        ("BACKWARD_TRANSITIVE", backward),
        ("FORWARD", forward),
        ("FULL", full),
        ("NONE", none),
        (None, none),
    ):
        (one,) = changed(old, new, level)
        assert (path, verdict) == (one.path, one.verdict), level
        assert (backward == C, forward == C) == (one.backward, one.forward)


@pytest.mark.parametrize(
    ("rule", "words", "old", "new"),
    [
        ("C008", "decimal", decimal(10, 2), decimal(10, 4)),
        ("C009", "timestamp-micros", MILLIS, MICROS),
        ("C009", "timestamp-millis", {"type": "int", "logicalType": "date"}, MILLIS),
    ],
)
def test_what_a_number_means_is_seen_by_no_registry(rule, words, old, new):
    """The rule and its words stand beside a verdict that says compatible."""
    (one, *_) = changed([field("x", old)], [field("x", new)], "BACKWARD")

    assert C == one.verdict
    assert rule in one.rules
    assert one.meaning is not None
    assert words in one.meaning


def test_equal_schemas_have_no_changes():
    """And both read each other."""
    found = compare(version(1, ID, OPTIONAL), version(2, ID, OPTIONAL), "FULL", {})

    assert ((), True, True) == (found.changes, found.backward, found.forward)


def test_a_word_of_documentation_is_no_change():
    """No reader sees it."""
    assert () == changed([ID], [field("id", doc="the key")], "FULL")


@pytest.mark.parametrize("text", ["", "{", "7", "null", '{"type": "record"}', '{"type":"record","fields":[{}]}'])
def test_text_that_is_not_avro_is_a_reason_not_an_empty_list(text):
    """No changes would read as "nothing changed"."""
    for old, new in ((version(1, text=text), version(2, ID)), (version(1, ID), version(2, text=text))):
        found = compare(old, new, "BACKWARD", {})
        assert (None, None, None) == (found.changes, found.backward, found.forward)
        assert "is not a readable Avro schema" in found.reason


def test_other_types_are_not_compared():
    """Said, not passed over."""
    assert "PROTOBUF schemas are not compared field by field" == (
        compare(version(1, kind="PROTOBUF"), version(2, kind="PROTOBUF"), "BACKWARD", {}).reason
    )


def test_a_schema_that_uses_another_is_read_with_it():
    """Through two steps; without one of them it cannot be compared."""
    street = SchemaVersion("street", 1, 1, "AVRO", '{"type":"record","name":"Street","fields":[]}')
    address = SchemaVersion(
        "address", 4, 4, "AVRO", json.dumps({"type": "record", "name": "Address", "fields": [field("s", "Street")]}),
        references=(SchemaReference("Street", "street", 1),),
    )  # fmt: skip
    user = SchemaVersion(
        "s", 2, 2, "AVRO", json.dumps({"type": "record", "name": "r", "fields": [field("a", "Address")]}),
        references=(SchemaReference("Address", "address", 4),),
    )  # fmt: skip
    used = {("street", 1): street, ("address", 4): address}

    assert readable(user, used) is not None
    assert readable(user, {("address", 4): address}) is None
    assert ["a"] == [one.path for one in compare(version(1), user, "FORWARD", used).changes or ()]


V1, V2, V3 = version(1, ID), version(2, ID, field("t", "string", default="")), version(3, ID, field("t", "string"))


@pytest.mark.parametrize(
    ("expected", "level"),
    [
        ((), "BACKWARD"),
        ((1,), "BACKWARD_TRANSITIVE"),
        ((1,), "FULL_TRANSITIVE"),
        ((), "NONE"),
        ((), None),
        ((), "FULL"),
    ],
)
def test_a_transitive_level_looks_at_every_version(expected, level):
    """Version 3 reads what 2 wrote, and not what 1 wrote."""
    assert expected == refused_by(V3, (V1, V2), level, {})
