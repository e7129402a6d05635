"""The rules C001-C020: which one speaks, how loud, about which node, and that one cause is told once."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from bot.checks.avro.changes import Before, judge
from bot.checks.avro.resolution import incompatibilities
from bot.checks.avro.schema import Field, Primitive
from bot.checks.settings import LEVELS, PROFILES, SchemaSettings
from bot.checks.violation import Severity, Violation
from tests.unit.checks.avro_documents import decimal, enum, field, fixed, optional, record, schema
from tests.unit.checks.avro_generator import Generator
from tests.unit.checks.test_resolution import nested

ID = field("id", "long")
DATE = {"type": "int", "logicalType": "date"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
FIRST, SECOND = ("fields", 0), ("fields", 1)
TYPE = ("fields", 0, "type")
ADDRESS = record(field("street", "string"), name="shop.Address")
ADDRESS_ZIP = record(field("street", "string"), field("zip", "string"), name="shop.Address")


def judged(
    old: Any, new: Any, level: str = "BACKWARD", *profiles: str, subject: str | None = None
) -> tuple[Violation, ...]:
    """`old` is a schema, or a list of versions, oldest first."""
    versions = old if isinstance(old, list) else [old]
    before = [Before(schema(one), f"git v{number}") for number, one in enumerate(versions, 1)]
    return judge(schema(new), before, level, SchemaSettings(profiles=frozenset(profiles)), subject)


def x(type_: Any, **more: Any) -> dict[str, Any]:
    """A record of one field."""
    return record(field("x", type_, **more))


Row = tuple[Any, Any, tuple[str, ...], list[tuple[str, str, str, tuple[Any, ...]]]]
TABLE: dict[str, Row] = {
    # what it is: old, new, level and profiles, [rule severity path pointer]
    "same": (x("int"), x("int"), ("FULL_TRANSITIVE", "flink", "iceberg-v2"), []),
    "optional with default null": (record(ID), record(ID, optional("x", "int")), ("FULL", "iceberg-v2"), []),
    "explicit default": (record(ID), record(ID, field("x", "int", default=0)), ("FULL",), []),
    "no decision": (record(ID), record(ID, field("x", "int")), ("BACKWARD",), [("C001", "error", "x", SECOND)]),
    "no decision, forward": (record(ID), record(ID, field("x", "int")), ("FORWARD",), [("C001", "error", "x", SECOND)]),
    "no decision, none": (record(ID), record(ID, field("x", "int")), ("NONE",), [("C001", "error", "x", SECOND)]),
    "optional without default": (record(ID), record(ID, field("x", ["null", "int"])), ("FULL",),
                                 [("C001", "error", "x", SECOND)]),
    "default null of a type without null": (record(ID), record(ID, field("x", "int", default=None)), ("BACKWARD",),
                                            [("C001", "error", "x", SECOND)]),
    "a default that does not fit is lint's": (record(ID), record(ID, field("x", "int", default="a")), ("FULL",), []),
    "nested": (x(ADDRESS), x(ADDRESS_ZIP), ("BACKWARD",), [("C001", "error", "x.zip", (*TYPE, "fields", 1))]),
    "newly in a union": (x(ADDRESS), x(["null", ADDRESS_ZIP]), ("BACKWARD",),
                         [("C001", "error", "x.zip", (*TYPE, 1, "fields", 1))]),
    "a new record has no past": (record(ID), record(ID, optional("x", ADDRESS_ZIP)), ("FULL",), []),
    "a new branch has no past": (x(["null", "int"]), x(["null", "int", ADDRESS_ZIP]), ("BACKWARD",), []),
    "absent from the first version only": ([record(ID), record(ID, field("x", "int"))], record(ID, field("x", "int")),
                                           ("BACKWARD_TRANSITIVE",), [("C002", "error", "x", SECOND)]),
    "the same, not transitive": ([record(ID), record(ID, field("x", "int"))], record(ID, field("x", "int")),
                                 ("BACKWARD",), []),
    "renamed, forward": (record(field("mail", "string")), record(field("email", "string", aliases=["mail"])),
                         ("FULL",), [("C002", "error", "mail", FIRST)]),
    "renamed, backward": (record(field("mail", "string")), record(field("email", "string", aliases=["mail"])),
                          ("BACKWARD",), [("C011", "note", "email", FIRST)]),
    "renamed, flink": (record(field("mail", "string")), record(field("email", "string", aliases=["mail"])),
                       ("BACKWARD", "flink"), [("C011", "warning", "email", FIRST)]),
    "renamed, iceberg": (record(field("mail", "string")), record(field("email", "string", aliases=["mail"])),
                         ("NONE", "flink", "iceberg-v3"), [("C011", "error", "email", FIRST)]),
    "renamed, iceberg, forward": (record(field("mail", "string")), record(field("email", "string", aliases=["mail"])),
                                  ("FULL", "iceberg-v3"), [("C002", "error", "mail", FIRST)]),
    "an alias of a field that is still here": (
        record(field("mail", "string")), record(field("mail", "string"), field("email", "string", aliases=["mail"])),
        ("BACKWARD",), [("C001", "error", "mail", FIRST), ("C011", "warning", "email", SECOND)]),
    "narrowed": (x("long"), x("int"), ("BACKWARD",), [("C003", "error", "x", TYPE)]),
    "narrowed, forward": (x("long"), x("int"), ("FORWARD",), []),
    "widened": (x("int"), x("long"), ("BACKWARD", "iceberg-v2"), []),
    "widened, forward": (x("int"), x("long"), ("FORWARD",), [("C003", "error", "x", TYPE)]),
    "nullability and type": (x(["null", "string"], default=None), x("int"), ("FULL",), [("C003", "error", "x", TYPE)]),
    "type and meaning": (x(MILLIS), x("string"), ("BACKWARD",), [("C003", "error", "x", TYPE)]),
    "null to a type": (x("null"), x("int"), ("BACKWARD",), [("C003", "error", "x", TYPE)]),
    "only null, as a union, to a type": (x(["null"]), x("int"), ("BACKWARD",), [("C010", "error", "x", TYPE)]),
    "optional, forward": (x("int"), x(["int", "null"]), ("FORWARD",), [("C003", "error", "x", TYPE)]),
    "optional, backward": (x("int"), x(["int", "null"]), ("BACKWARD",), []),
    "replaced, none": (x("int"), x("string"), ("NONE",), [("C018", "error", "x", TYPE)]),
    "widened, none": (x("int"), x("long"), ("NONE",), []),
    "symbol lost": (x(enum("A", "B")), x(enum("A")), ("BACKWARD",), [("C004", "error", "x", (*TYPE, "symbols"))]),
    "symbol lost, field default": (x(enum("A", "B")), x(enum("A"), default="A"), ("BACKWARD",),
                                   [("C004", "error", "x", (*TYPE, "symbols"))]),
    "symbol lost, enum default": (x(enum("A", "B")), x(enum("A", default="A")), ("BACKWARD",),
                                  [("C004", "warning", "x", (*TYPE, "symbols"))]),
    "symbol got, enum default": (x(enum("A", default="A")), x(enum("A", "B", default="A")), ("FULL",), []),
    "symbol got, forward": (x(enum("A")), x(enum("A", "B")), ("FULL",), [("C004", "error", "x", (*TYPE, "symbols"))]),
    "branch lost": (x(["null", "int", "string"]), x(["null", "int"]), ("BACKWARD",), [("C005", "error", "x", TYPE)]),
    "branch got, forward": (x(["null", "int"]), x(["null", "int", "string"]), ("FULL",),
                            [("C005", "error", "x", TYPE)]),
    "renamed type": (record(ID, name="shop.A"), record(ID, name="shop.B"), ("BACKWARD",),
                     [("C006", "error", "", ("name",))]),
    "renamed type in a union": (x(["null", record(ID, name="shop.A")]), x(["null", record(ID, name="shop.B")]),
                                ("BACKWARD",), [("C006", "error", "x", TYPE)]),
    "renamed type of many": (x(["null", fixed(2, name="A"), enum("A", name="E")]), x(fixed(2, name="B")), ("BACKWARD",),
                             [("C006", "error", "x", (*TYPE, "name")), ("C005", "error", "x", TYPE)]),
    "renamed type, one of several": (
        x(["null", fixed(2, name="A"), fixed(2, name="C")]), x(fixed(2, name="B")), ("BACKWARD",),
        [("C006", "error", "x", (*TYPE, "name"))]),
    "renamed type with alias": (record(ID, name="shop.A"), record(ID, name="shop.B", aliases=["A"]), ("BACKWARD",),
                                [("C006", "warning", "", ("name",))]),
    "namespace": (record(ID, name="a.R"), record(ID, name="b.R"), ("FULL",), [("C006", "warning", "", ("name",))]),
    "renamed type, none": (record(ID, name="shop.A"), record(ID, name="shop.B"), ("NONE", "iceberg-v2"),
                           [("C006", "warning", "", ("name",))]),
    "renamed type inside": (x(enum("A", name="a.E")), x(enum("A", name="a.F", aliases=["a.E"])), ("BACKWARD", "flink"),
                            [("C006", "note", "x", (*TYPE, "name"))]),
    "namespace inside": (x(fixed(4, name="a.F")), x(fixed(4, name="b.F")), ("FULL", "iceberg-v3"),
                         [("C006", "note", "x", (*TYPE, "name"))]),
    "namespace in a union": (x(["null", fixed(4, name="a.F")]), x(["null", fixed(4, name="b.F")]), ("BACKWARD",),
                             [("C006", "error", "x", (*TYPE, 1, "name"))]),
    "namespace in a union, none": (x(["null", fixed(4, name="a.F")]), x(["null", fixed(4, name="b.F")]), ("NONE",),
                                   [("C006", "note", "x", (*TYPE, 1, "name"))]),
    "namespace in a union, alias": (x(["null", fixed(4, name="a.F")]), x(["null", fixed(4, name="b.F",
                                    aliases=["a.F"])]), ("BACKWARD",), [("C006", "note", "x", (*TYPE, 1, "name"))]),
    "namespace in a union, alias, old readers": (x(["null", fixed(4, name="a.F")]), x(["null", fixed(4, name="b.F",
                                                 aliases=["a.F"])]), ("FULL",), [("C006", "error", "x",
                                                                                 (*TYPE, 1, "name"))]),
    "namespace, and a field's alias": (record(field("a", "int"), name="a.R"), record(field("b", "int", aliases=["a"]),
                                       name="b.R"), ("BACKWARD",), [("C011", "note", "b", FIRST),
                                                                    ("C006", "error", "", ("name",))]),
    "an alias of a field written beside it": (record(field("a", "int"), field("b", "int")),
                                              record(field("b", "int", aliases=["a"])), ("BACKWARD",),
                                              [("C002", "error", "a", FIRST)]),
    "two fields by alias into one": (record(field("a", "int"), field("b", "int")),
                                     record(field("n", "int", aliases=["a", "b"])), ("BACKWARD",),
                                     [("C002", "error", "b", FIRST), ("C011", "note", "n", FIRST)]),
    "renamed again, transitive": ([record(field("a", "int")), record(field("b", "int", aliases=["a"]))],
                                  record(field("c", "int", aliases=["b"])), ("BACKWARD_TRANSITIVE",),
                                  [("C011", "note", "c", FIRST), ("C002", "error", "c", FIRST)]),
    "renamed type with alias, full": (record(ID, name="shop.A"), record(ID, name="shop.B", aliases=["A"]), ("FULL",),
                                      [("C006", "error", "", ("name",))]),
    "size": (x(fixed(4)), x(fixed(8)), ("BACKWARD",), [("C007", "error", "x", (*TYPE, "size"))]),
    "scale": (x(decimal(10, 2)), x(decimal(12, 4)), ("NONE",), [("C008", "error", "x", TYPE)]),
    "precision": (x(decimal(10, 2)), x(decimal(12, 2)), ("BACKWARD",), [("C008", "error", "x", TYPE)]),
    "precision wider, Iceberg": (x(decimal(10, 2)), x(decimal(12, 2)), ("BACKWARD", "iceberg-v3"),
                                 [("C008", "warning", "x", TYPE)]),
    "precision narrower, Iceberg": (x(decimal(10, 2)), x(decimal(9, 2)), ("BACKWARD", "iceberg-v3"),
                                    [("C008", "error", "x", TYPE)]),
    "scale of a fixed": (x(fixed(8, logicalType="decimal", precision=9, scale=2)),
                         x(fixed(8, logicalType="decimal", precision=9, scale=3)), ("BACKWARD",),
                         [("C008", "error", "x", TYPE)]),
    "unit": (x(MILLIS), x(MICROS), ("NONE",), [("C009", "error", "x", TYPE)]),
    "unit in a list": (x({"type": "array", "items": MILLIS}), x({"type": "array", "items": MICROS}), ("BACKWARD",),
                       [("C009", "error", "x[]", (*TYPE, "items"))]),
    "date to timestamp": (x(DATE), x(MILLIS), ("BACKWARD",), [("C009", "error", "x", TYPE)]),
    "meaning dropped": (x(MILLIS), x("long"), ("BACKWARD",), [("C009", "error", "x", TYPE)]),
    "meaning added": (x("long"), x(MILLIS), ("BACKWARD",), [("C009", "warning", "x", TYPE)]),
    "meaning added, Flink": (x("long"), x(MILLIS), ("BACKWARD", "flink"), [("C009", "error", "x", TYPE)]),
    "null gone": (x(["null", "int"], default=None), x("int"), ("BACKWARD",), [("C010", "error", "x", TYPE)]),
    "null gone, none": (x(["null", "int"], default=None), x("int"), ("NONE",), [("C010", "error", "x", TYPE)]),
    "null gone, forward": (x(["null", "int"], default=None), x("int"), ("FORWARD",), [("C010", "error", "x", TYPE)]),
    "null gone from a list": (x({"type": "array", "items": ["null", "int"]}), x({"type": "array", "items": "int"}),
                              ("BACKWARD",), [("C010", "error", "x[]", (*TYPE, "items"))]),
    "removed": (record(ID, field("x", "int")), record(ID), ("BACKWARD",), [("C011", "warning", "x", ("fields",))]),
    "removed, forward": (record(ID, field("x", "int")), record(ID), ("FULL",), [("C011", "error", "x", ("fields",))]),
    "removed with default, forward": (record(ID, field("x", "int", default=0)), record(ID), ("FORWARD",),
                                      [("C011", "warning", "x", ("fields",))]),
    "removed, Iceberg": (record(ID, optional("x", "int")), record(ID), ("BACKWARD", "iceberg-v2"),
                         [("C011", "error", "x", ("fields",))]),
    "removed, Flink": (record(ID, optional("x", "int")), record(ID), ("BACKWARD", "flink"), []),
    "removed from a nested record": (x(ADDRESS_ZIP), x(ADDRESS), ("BACKWARD",),
                                     [("C011", "warning", "x.zip", (*TYPE, "fields"))]),
    "order": (record(ID, optional("x", "int")), record(optional("x", "int"), ID), ("FULL",),
              [("C020", "note", "", ())]),
    "sort order": (x("int"), x("int", order="ignore"), ("FULL",), [("C020", "note", "", ())]),
    "symbols reordered": (x(enum("A", "B", default="A")), x(enum("B", "A", default="A")), ("FULL_TRANSITIVE", "flink"),
                          [("C020", "note", "", ())]),
    "reordered, and more": (record(ID, optional("x", "int", doc="a")), record(optional("x", "long", doc="b"), ID),
                            ("BACKWARD",), []),
    "order, Iceberg": (record(ID, optional("x", "int")), record(optional("x", "int"), ID), ("FULL", "iceberg-v2"),
                       [("C012", "warning", "", ("fields",))]),
    "a field between is no reordering": (record(ID, optional("x", "int")),
                                         record(ID, optional("y", "int"), optional("x", "int")),
                                         ("FULL", "iceberg-v2"), []),
    "required with default, v2": (record(ID), record(ID, field("x", "int", default=0)), ("BACKWARD", "iceberg-v2"),
                                  [("C013", "error", "x", SECOND)]),
    "required with default, v3": (record(ID), record(ID, field("x", "int", default=0)), ("BACKWARD", "iceberg-v3"), []),
    "required without default, v2": (record(ID), record(ID, field("x", "int")), ("BACKWARD", "iceberg-v2"),
                                     [("C001", "error", "x", SECOND)]),
    "int -> double, Iceberg": (x("int"), x("double"), ("BACKWARD", "iceberg-v2"), [("C014", "error", "x", TYPE)]),
    "long -> double, Iceberg: told once": (x("long"), x("double"), ("BACKWARD", "iceberg-v2"),
                                           [("C014", "error", "x", TYPE)]),
    "string -> bytes, Iceberg": (x("string"), x("bytes"), ("BACKWARD", "iceberg-v3"), [("C014", "error", "x", TYPE)]),
    "float -> double": (x("float"), x("double"), ("BACKWARD", "iceberg-v3"), []),
    "lossy": (x("long"), x("double"), ("BACKWARD",), [("C015", "warning", "x", TYPE)]),
    "lossy int": (x("int"), x("float"), ("BACKWARD",), [("C015", "warning", "x", TYPE)]),
    "not lossy": (x("int"), x("double"), ("BACKWARD",), []),
    "lossy for old readers": (x("double"), x("long"), ("FORWARD",), [("C015", "warning", "x", TYPE)]),
    "bytes -> string": (x("bytes"), x("string"), ("BACKWARD",), [("C015", "warning", "x", TYPE)]),
    "default changed": (x("int", default=0), x("int", default=1), ("FULL",),
                        [("C016", "warning", "x", (*FIRST, "default"))]),
    "default gone": (x("int", default=0), x("int"), ("FULL",), [("C016", "warning", "x", FIRST)]),
    "default gone, transitive": (x("int", default=0), x("int"), ("FULL_TRANSITIVE",), [("C016", "error", "x", FIRST)]),
    "default gone, and once absent": ([record(ID), record(ID, field("x", "int", default=0))],
                                      record(ID, field("x", "int")), ("BACKWARD_TRANSITIVE",),
                                      [("C016", "error", "x", SECOND)]),
    "default gone, forward transitive": (x("int", default=0), x("int"), ("FORWARD_TRANSITIVE",),
                                         [("C016", "warning", "x", FIRST)]),
    "default changed, none": (x("int", default=0), x("int", default=1), ("NONE", "iceberg-v3"),
                              [("C016", "warning", "x", (*FIRST, "default"))]),
    "default symbol changed": (x(enum("A", "B", default="A")), x(enum("A", "B", default="B")), ("FULL_TRANSITIVE",),
                               [("C016", "warning", "x", (*TYPE, "default"))]),
    "default symbol gone": (x(enum("A", "B", default="A")), x(enum("A", "B")), ("FULL_TRANSITIVE",),
                            [("C016", "warning", "x", TYPE)]),
    "default symbol gone, and a symbol": (x(enum("A", "B", default="A")), x(enum("A")), ("BACKWARD",),
                                          [("C004", "error", "x", (*TYPE, "symbols"))]),
    "default got": (x("int"), x("int", default=0), ("FULL",), []),
    "name back with another type": ([record(ID, field("x", "int")), record(ID)], record(ID, optional("x", "string")),
                                    ("BACKWARD",), [("C018", "error", "x", SECOND)]),
    "the same, transitive: told once": ([record(ID, field("x", "int")), record(ID)],
                                        record(ID, optional("x", "string")), ("FULL_TRANSITIVE",),
                                        [("C018", "error", "x", SECOND)]),
    "name back with another unit": ([record(ID, field("x", MILLIS)), record(ID)], record(ID, optional("x", MICROS)),
                                    ("BACKWARD",), [("C018", "error", "x", SECOND)]),
    "name back as it was": ([record(ID, field("x", "int")), record(ID)], record(ID, optional("x", "int")),
                            ("BACKWARD",), []),
    "reserved name": (record(ID, **{"confluent:reserved": "x"}), record(ID, optional("x", "int"),
                                                                        **{"confluent:reserved": "x"}),
                      ("BACKWARD",), [("C018", "error", "x", SECOND)]),
    "reservation gone": (record(ID, **{"confluent:reserved": "x, y"}), record(ID, **{"confluent:reserved": "y"}),
                         ("BACKWARD",), [("C018", "error", "x", ())]),
    "doc": (record(ID), record(ID, doc="x"), ("FULL",), [("C020", "note", "", ())]),
    "alias": (x("int"), x("int", aliases=["y"]), ("FULL",), [("C020", "note", "", ())]),
    "three causes": (record(field("a", "long"), field("b", MILLIS)),
                     record(field("a", "int"), field("b", MICROS), field("c", "int")), ("BACKWARD",),
                     [("C001", "error", "c", ("fields", 2)), ("C003", "error", "a", TYPE),
                      ("C009", "error", "b", ("fields", 1, "type"))]),
}  # fmt: skip


@pytest.mark.parametrize("what", TABLE)
def test_each_cause_is_told_once_by_its_rule(what: str) -> None:
    """Rule, severity, path and the node in the new file; against the version that it conflicts with."""
    old, new, (level, *profiles), expected = TABLE[what]
    found = judged(old, new, level, *profiles)
    assert expected == [(one.rule, str(one.severity), one.path, one.pointer) for one in found]


BACKWARD = {"BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"}
AT_EVERY_LEVEL: dict[str, tuple[Any, Any, Any]] = {
    # what it is: old, new, and what is told at a level
    "symbols reordered": (x(enum("A", "B")), x(enum("B", "A")), lambda _: ("C020", "note")),
    "fields reordered": (
        record(ID, optional("x", "int")), record(optional("x", "int"), ID), lambda _: ("C020", "note"),
    ),
    "documentation": (x("int"), x("int", doc="y"), lambda _: ("C020", "note")),
    "default": (x("int", default=0), x("int", default=1), lambda _: ("C016", "warning")),
    "default gone": (
        x("int", default=0), x("int"),
        lambda level: ("C016", "error" if level in BACKWARD and level.endswith("TRANSITIVE") else "warning"),
    ),
    "default symbol": (x(enum("A", "B", default="A")), x(enum("A", "B", default="B")), lambda _: ("C016", "warning")),
    "default symbol gone": (x(enum("A", "B", default="A")), x(enum("A", "B")), lambda _: ("C016", "warning")),
    "symbol gone": (
        x(enum("A", "B")), x(enum("A")),
        lambda level: ("C004", "error" if level in BACKWARD else "warning"),
    ),
    "symbol gone, default": (x(enum("A", "B")), x(enum("A", default="A")), lambda _: ("C004", "warning")),
    "size": (x(fixed(4)), x(fixed(8)), lambda level: ("C018" if level == "NONE" else "C007", "error")),
    "namespace": (record(ID, name="a.R"), record(ID, name="b.R"), lambda _: ("C006", "warning")),
    "name": (
        record(ID, name="R"), record(ID, name="S"),
        lambda level: ("C006", "warning" if level == "NONE" else "error"),
    ),
    "name, alias": (
        record(ID, name="R"), record(ID, name="S", aliases=["R"]),
        lambda level: ("C006", "error" if level.startswith(("FORWARD", "FULL")) else "warning"),
    ),
    "field's name, alias": (
        x("int"), record(field("y", "int", aliases=["x"])),
        lambda level: ("C002", "error") if level.startswith(("FORWARD", "FULL")) else ("C011", "note"),
    ),
    "field's name, alias and default": (
        x("int", default=0), record(field("y", "int", default=0, aliases=["x"])), lambda _: ("C011", "note"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("what", AT_EVERY_LEVEL)
def test_no_level_passes_over_a_change_in_silence(what: str, level: str) -> None:
    """By one rule at all levels, as gravely as the level takes it."""
    old, new, told = AT_EVERY_LEVEL[what]
    assert [told(level)] == [(one.rule, str(one.severity)) for one in judged(old, new, level)]


def test_the_decision_can_be_pasted() -> None:
    """C001 names the type, what the registry will do, and the field's JSON, other attributes kept."""
    (found,) = judged(record(ID), record(ID, field("tier", "string", doc="the plan")))
    assert "new field tier (string) has no default" in found.message
    assert "the registry refuses it at BACKWARD" in found.message
    pasted = json.loads(found.remedy.removeprefix("Decide: ").partition(", or an explicit")[0])
    assert {"name": "tier", "type": ["null", "string"], "default": None, "doc": "the plan"} == pasted
    assert () == judged(record(ID), record(ID, pasted))


@pytest.mark.parametrize("what", [what for what, row in TABLE.items() if row[3] and row[3][0][0] != "C020"])
def test_every_message_has_a_remedy_that_is_not_the_message(what: str) -> None:
    """No message without what to do, and none names an internal."""
    old, new, (level, *profiles), _ = TABLE[what]
    for one in judged(old, new, level, *profiles):
        assert one.remedy and one.remedy != one.message
        assert "None" not in one.message + one.remedy and "object at" not in one.message + one.remedy
        assert one.against and one.against.startswith("git v")


@pytest.mark.parametrize(
    ("subject", "file", "rules"),
    [
        ("orders-key", "a.avsc", ["C017"]),
        (":.prod:orders-key", "a.avsc", ["C017"]),
        ("orders-value", "orders-key.avsc", []),
        (None, "schemas/orders-key.avsc", ["C017"]),
        (None, "schemas/key.avsc", ["C017"]),
        (None, "schemas/monkey.avsc", []),
    ],
)
def test_a_key_may_not_change(subject: str | None, file: str, rules: list[str]) -> None:
    """Even what the level allows: the key decides the partition and the row."""
    before = [Before(schema(record(ID), file), "git")]
    found = judge(schema(record(ID, optional("x", "int")), file), before, "BACKWARD", SchemaSettings(), subject)
    assert rules == [one.rule for one in found]
    assert {subject} >= {one.subject for one in found}


def test_documentation_of_a_key_is_in_its_bytes() -> None:
    """No reader notices; the id of the new version does, since the key's bytes begin with it (Materialize #26353)."""
    (found,) = judged(record(ID), record(ID, doc="x"), subject="orders-key")
    assert ("C017", Severity.WARNING) == (found.rule, found.severity)
    assert "a new version with a new id" in found.message
    (found,) = judged(record(ID, field("b", "int")), record(field("b", "int"), ID), subject="orders-key")
    assert ("C017", Severity.ERROR) == (found.rule, found.severity)


def test_where_c001_is_switched_off_the_registrys_verdict_stands() -> None:
    """Turning the user's rule off does not let a 409 through; where the level allows the field, nothing is left."""
    settings = SchemaSettings(severities={"C001": None})
    before = [Before(schema(record(ID)), "git")]
    new = schema(record(ID, field("x", "int")))
    assert ["C002"] == [one.rule for one in judge(new, before, "BACKWARD", settings)]
    assert [] == [one.rule for one in judge(new, before, "FORWARD", settings)]


def test_the_remedies_of_a_rename_and_of_a_lost_symbol_pass_when_pasted() -> None:
    """Both names beside each other, the new one optional and without its alias; the symbol back in its list."""
    was, now = field("mail", "string"), field("email", "string", aliases=["mail"], doc="Where to write.")
    (found,) = judged(record(was), record(now), "BACKWARD", "flink", "iceberg-v2")
    kept, fresh = found.remedy.removeprefix("Keep it until nobody names it: ").split(
        " - and put the new one beside it: "
    )
    assert [] == [*judged(record(was), record(json.loads(kept), json.loads(fresh)), "FULL", "flink", "iceberg-v2")]
    (lost,) = judged(x(enum("A", "B")), x(enum("A", default="A")))
    symbols = json.loads(lost.remedy.removeprefix('Keep it: "symbols": '))
    assert [] == [*judged(x(enum("A", "B")), x(enum(*symbols, default="A")))]
    assert "read as A" in lost.message


def test_an_alias_of_a_field_that_is_still_here_is_taken_out() -> None:
    """Else what was written of the one is read as the other; both findings tell the same remedy."""
    old = record(field("mail", "string"))
    email = field("email", ["null", "string"], default=None)
    found = judged(old, record(field("mail", "string"), {**email, "aliases": ["mail", "post"]}))
    assert {'Write in field "email": "aliases": ["post"]'} == {one.remedy for one in found}
    assert () == judged(old, record(field("mail", "string"), {**email, "aliases": ["post"]}))


def test_what_moves_with_its_record_is_told_once() -> None:
    """A namespace above is one cause; a type that takes another name besides is another."""

    def nested(space: str, enum_name: str) -> Any:
        return record(field("e", enum("A", name=enum_name)), field("f", fixed(4, name="F")), name=f"{space}.R")

    assert [("C006", "")] == [(one.rule, one.path) for one in judged(nested("a", "E"), nested("b", "E"))]
    found = judged(nested("a", "E"), record(*nested("b", "G")["fields"], name="b.R"), "NONE")
    assert [("C006", ""), ("C006", "e")] == [(one.rule, one.path) for one in found]


def test_a_new_schema_has_nothing_to_answer_for() -> None:
    """Without a previous version there is no change."""
    assert () == judge(schema(record(ID)), [], "FULL", SchemaSettings())


def test_inside_another_files_type_the_pointer_stays_in_the_file() -> None:
    """The using file's place is told, since the shared file is not the one at hand."""
    user = record(ID, field("home", "shop.Address"))
    new = schema(user, "customer.avsc", ("address.avsc", ADDRESS_ZIP))
    old = schema(user, "customer.avsc", ("address.avsc", ADDRESS))
    (found,) = judge(new, [Before(old, "git")], "BACKWARD", SchemaSettings())
    assert ("C001", "home.zip", ("fields", 1, "type")) == (found.rule, found.path, found.pointer)


def test_whatever_the_registry_refuses_is_an_error_here() -> None:
    """1,500 generated histories, all levels and profiles: no conflict without an error, each cause once, every pointer
    leads to a node. A default that does not fit is A008's."""
    generator, chance = Generator(5), random.Random(1)
    for _ in range(1500):
        first = generator.schema()
        second = generator.evolved(first)
        third = generator.evolved(second)
        new, versions = schema(third), [schema(first), schema(second)]
        level = chance.choice(LEVELS)
        settings = SchemaSettings(profiles=frozenset(chance.sample(PROFILES, chance.randint(0, 2))))
        found = judge(new, [Before(one, "git") for one in versions], level, settings)
        assert len(found) == len({(one.rule, one.path) for one in found})
        for one in found:
            node = third
            for step in one.pointer or ():
                node = node[step]
        looked_at = versions if level.endswith("TRANSITIVE") else versions[-1:]
        refused = [
            conflict
            for old in looked_at
            for asked, pair in ((("BACKWARD", "FULL"), (new, old)), (("FORWARD", "FULL"), (old, new)))
            if level.startswith(asked)
            for conflict in incompatibilities(*pair)
            if "is no value of" not in conflict.message
        ]
        errors = [one for one in found if one.severity is Severity.ERROR]
        assert errors or not refused, (level, refused, first, second, third)


def test_a_schema_five_hundred_deep_is_judged() -> None:
    """No depth ends in a trace."""
    old, new = nested(500, Field("x", Primitive("long"))), nested(500, Field("x", Primitive("int")))
    found = judge(new, [Before(old, "git")], "FULL", SchemaSettings())
    assert ["C003"] == [one.rule for one in found]


def test_a_thousand_judgements_are_quick() -> None:
    """1,000 pairs of 30 fields with one added: well under the 2 s that the whole check has."""
    fields = [optional(f"f{number}", "string") for number in range(30)]
    old, new = schema(record(*fields)), schema(record(*fields, field("tier", "string")))
    before, settings = [Before(old, "git")], SchemaSettings()
    started = time.process_time()
    for _ in range(1000):
        (found,) = judge(new, before, "BACKWARD", settings)
    assert time.process_time() - started < 1.0
    assert Severity.ERROR is found.severity
