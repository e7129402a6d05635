"""From JSON documents to schemas, and names across files."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from bot.checks.avro.read import full_name, imports, incomplete, link, read_part, topological
from bot.checks.avro.schema import Array, Enumeration, Fixed, Logical, Map, Primitive, Record, Reference, Union
from bot.checks.violation import Pointer, Violation


def record(name: str, *fields: Any, **more: Any) -> dict[str, Any]:
    """A record with fields `f0`, `f1`, ... of the types."""
    named = [{"name": f"f{i}", "type": one} for i, one in enumerate(fields)]
    return {"type": "record", "name": name, "fields": named, **more}


def found(*documents: Any) -> list[tuple[str, str, Pointer | None]]:
    return [(one.rule, one.file, one.pointer) for one in violations(*documents)]


def violations(*documents: Any) -> list[Violation]:
    parts = [read_part(document, f"{i}.avsc") for i, document in enumerate(documents)]
    return [*(one for part in parts for one in part.violations), *link(parts)[1]]


@pytest.mark.parametrize(
    ("full", "name", "namespace"),
    [
        ("a.b.C", "C", "a.b"),
        ("x.C", "x.C", "a.b"),  # a dotted name is full whatever is around it
        ("C", "C", ""),
        ("C", "C", None),
        ("C", ".C", "a.b"),  # Java: the empty namespace from inside another
    ],
)
def test_full_names(full: str, name: str, namespace: str | None) -> None:
    """Specification 1.12, "Names"."""
    assert full == full_name(name, namespace)


def test_namespaces_are_inherited_overridden_and_emptied() -> None:
    """What stands inside takes the namespace around it, the dotted name's own before the attribute."""
    document = record(
        "shop.Customer",
        record("Address", record("geo.Point", record("Mark"))),
        record("Free", record("Bound"), namespace=""),
        {"type": "enum", "name": "Kind", "namespace": "other", "symbols": ["A"]},
        {"type": "fixed", "name": "Hash", "size": 4},
        "Address",
        namespace="ignored",
    )
    part = read_part(document, "a.avsc")
    assert () == part.violations
    names = ["shop.Customer", "shop.Address", "geo.Point", "geo.Mark", "Free", "Bound", "other.Kind", "shop.Hash"]
    assert names == list(part.defined)
    assert [("shop.Address", ("fields", 4, "type"))] == [(use.name, use.pointer) for use in part.uses]


def test_every_kind_of_type_is_read_with_its_place() -> None:
    """Primitives as objects, arrays, maps, unions, enums, fixed, errors, recursion, aliases as full names."""
    document = record(
        "a.R",
        {"type": "long", "logicalType": "timestamp-micros", "x": 1},
        {"type": "array", "items": "int"},
        {"type": "map", "values": ["null", "R"]},
        {"type": "enum", "name": "E", "symbols": ["A"], "default": "A", "aliases": ["Old", "b.Older"]},
        {"type": "fixed", "name": "F", "size": 2, "logicalType": "decimal", "precision": 3},
        {"type": "error", "name": "X", "fields": []},
        {"type": "E"},
        doc="d",
    )
    schema = link([read_part(document, "a.avsc")])[0]["a.avsc"]
    root = schema.named["a.R"]
    assert isinstance(root, Record)
    types = [field.type for field in root.fields]
    logical = Logical("timestamp-micros")
    assert Primitive("long", logical, ("fields", 0, "type"), document["fields"][0]["type"]) == types[0]
    assert isinstance(types[1], Array)
    assert Primitive("int", None, ("fields", 1, "type", "items")) == types[1].items
    assert isinstance(types[2], Map)
    assert isinstance(types[2].values, Union)
    assert Reference("a.R", ("fields", 2, "type", "values", 1)) == types[2].values.branches[1]
    enum, fixed, error = (schema.named[name] for name in ("a.E", "a.F", "a.X"))
    assert isinstance(enum, Enumeration)
    assert (("A",), "A", ("a.Old", "b.Older")) == (enum.symbols, enum.default, enum.aliases)
    assert isinstance(fixed, Fixed)
    assert (2, Logical("decimal", 3, 0)) == (fixed.size, fixed.logical)
    assert isinstance(error, Record)
    assert error.is_error
    assert Reference("a.E", ("fields", 6, "type", "type")) == types[6]
    assert ("d", "a.R") == (root.doc, schema.name)


@pytest.mark.parametrize(
    ("rule", "pointer", "document"),
    [
        ("A001", (), {"protocol": "P", "types": []}),
        ("A001", (), {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}),
        ("A001", (), {"name": "c", "config": {"connector.class": "X"}}),
        ("A001", (), {"schema": '"string"', "id": 1}),
        ("A001", (), {"a": 1}),
        ("A001", (), [1, 2]),
        ("A001", (), 3),
        ("A001", (), None),
        ("A001", ("fields", 0, "type"), record("R", None)),
        ("A001", ("fields", 0, "type"), record("R", 3)),
        ("A001", ("fields", 0, "type"), record("R", {"typ": "int"})),
        ("A001", ("fields", 0, "type"), record("R", {"type": {"type": "int"}})),
        ("A001", ("fields", 0, "type"), record("R", {"type": ["null", "int"]})),
        ("A001", ("fields", 0, "type"), record("R", {"type": "array"})),
        ("A001", ("fields", 0, "type"), record("R", {"type": "map", "items": "int"})),
        ("A001", ("fields", 0, "type"), record("R", "array")),
        ("A001", ("fields", 0, "type", "type"), record("R", {"type": 1})),
        ("A001", ("fields", 0, "type"), record("R", {"type": "fixed", "name": "F"})),
        ("A001", ("fields", 0, "type", "size"), record("R", {"type": "fixed", "name": "F", "size": True})),
        ("A001", ("fields", 0, "type", "size"), record("R", {"type": "fixed", "name": "F", "size": -1})),
        ("A001", ("fields", 0), {"type": "record", "name": "R", "fields": [3]}),
        ("A001", ("fields", 0), {"type": "record", "name": "R", "fields": [{"name": "f"}]}),
        ("A005", ("fields", 0), {"type": "record", "name": "R", "fields": [{"type": "int"}]}),
        ("A001", ("fields", 0, "order"), record("R") | {"fields": [{"name": "f", "type": "int", "order": "up"}]}),
        ("A001", ("fields", 0, "order"), record("R") | {"fields": [{"name": "f", "type": "int", "order": []}]}),
        ("A005", (), {"type": "record", "fields": []}),
        ("A001", (), {"type": "record", "name": "R"}),
        ("A001", (), {"type": "record", "name": "R", "fields": {}}),
        ("A002", (), "Unknown"),
        ("A002", ("fields", 0, "type"), record("R", "Later", record("Later", "int"))),
        ("A003", ("fields", 1, "type", "name"), record("R", record("S", "int"), record("S", "int"))),
    ],
)
def test_what_is_not_a_schema_is_told_at_its_place(rule: str, pointer: Pointer, document: Any) -> None:
    """One violation each, with something to write."""
    (one,) = violations(document)
    assert (rule, pointer) == (one.rule, one.pointer)
    assert one.remedy


def test_one_slip_hides_no_other() -> None:
    """Two slips in one file are two violations, and a file that lacks something is never compared."""
    document = record("R", None, "int", {"type": "array"})
    part = read_part(document, "a.avsc")
    assert [("fields", 0, "type"), ("fields", 2, "type")] == [one.pointer for one in part.violations]
    schemas, _ = link([part])
    assert {} == schemas
    left = incomplete([part], schemas)["a.avsc"].named["R"]
    assert isinstance(left, Record)
    assert ["f1"] == [field.name for field in left.fields]


@pytest.mark.parametrize(
    ("remedy", "written", "others"),
    [
        ('Did you mean "a.Address" (1.avsc)?', "Adress", [record("a.Address")]),
        ('Did you mean "b.Address" (1.avsc)?', "Address", [record("b.Address")]),
        ('Did you mean "string"?', "String", []),
        ('Did you mean "string"?', "sting", []),
        ('Did you mean "int"?', "integer", []),
        ('Did you mean {"type": "long", "logicalType": "timestamp-millis"}?', "timestamp-millis", []),
        ('give it "namespace": "a"', "Address", [record("Address")]),
        ("give the file that defines it", "Zzzz", [record("b.Address")]),
    ],
)
def test_an_unknown_name_says_what_was_meant(remedy: str, written: str, others: list[Any]) -> None:
    """Another namespace, a spelling, a word of another language; and which files were searched."""
    (one,) = violations(record("a.R", written), *others)
    assert "A002" == one.rule
    assert ("1.avsc" if others else "the only one") in one.message
    assert remedy in one.remedy


def test_files_come_in_any_order_and_know_only_what_they_need() -> None:
    """A name is looked for in all files; a schema's names are its closure, not the whole repository."""
    documents = [
        record("a.Order", "a.Customer"),
        record("a.Other"),
        record("a.Customer", "a.Address"),
        record("a.Address"),
    ]
    for order in (documents, documents[::-1]):
        parts = [read_part(document, document["name"]) for document in order]
        schemas, wrong = link(parts)
        assert () == wrong
        assert {"a.Order", "a.Customer", "a.Address"} == set(schemas["a.Order"].named)
        files, cycles = topological(parts)
        assert () == cycles
        assert files.index("a.Address") < files.index("a.Customer") < files.index("a.Order")
    assert {"a.Customer": "a.Customer"} == imports(parts)["a.Order"]


def test_a_cycle_of_files_is_read_and_reported() -> None:
    """Legal to read, since a union ends it; not to register."""
    parts = [read_part(record(*one), one[0]) for one in (("a.A", "a.B"), ("a.B", ["null", "a.A"]), ("a.C", "a.A"))]
    assert {"a.A", "a.B", "a.C"} == set(link(parts)[0])
    files, (cycle,) = topological(parts)
    assert {"a.A", "a.B"} == set(cycle)
    assert cycle[0] == cycle[-1]
    assert "a.C" == files[-1]


def test_what_files_of_a_cycle_need_beside_it_still_comes_first() -> None:
    """The cycle is broken in one place only."""
    written = (("a.A", "a.B", "a.Z"), ("a.B", ["null", "a.A"], "a.Z"), ("a.Z", "int"))
    files, cycles = topological([read_part(record(*one), one[0]) for one in written])
    assert ("a.Z", 1) == (files[0], len(cycles))


def test_cycles_come_in_the_order_in_which_the_files_use_each_other() -> None:
    """A baseline knows a cycle by its first file: the next run has to say the same."""
    names = [f"a.{letter}" for letter in "QWERTYUI"]
    documents = [record(name, *(["null", other] for other in names if other != name)) for name in names]
    _, cycles = topological([read_part(document, document["name"]) for document in documents])
    assert [(one, other, one) for one, other in combinations(names, 2)] == list(cycles)


def test_a_broken_file_breaks_those_that_use_it_and_no_other() -> None:
    """Nothing is compared that lacks a part."""
    parts = [read_part(record(*one), one[0]) for one in (("a.A", "a.B"), ("a.B", "a.Gone"), ("a.C", "int"))]
    schemas, wrong = link(parts)
    assert {"a.C"} == set(schemas)
    assert [("A002", "a.B")] == [(one.rule, one.file) for one in wrong]
    assert {"a.A", "a.B"} == set(incomplete(parts, schemas))


@pytest.mark.parametrize("slip", ["a.A", "a.B"])
def test_a_file_with_a_slip_is_not_compared_though_all_its_names_are_known(slip: str) -> None:
    """Its own slip, or one in a file that it uses: a field may be missing there."""
    uses = {"a.A": ("a.B",), "a.B": ("int",), "a.C": ("a.B",)}
    parts = [read_part(record(name, *types, *([3] if name == slip else [])), name) for name, types in uses.items()]
    schemas, wrong = link(parts)
    assert () == wrong
    assert ({"a.B", "a.C"} if slip == "a.A" else set()) == set(schemas)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (record("R", "int"), record("R", "long")),
        (record("R") | {"fields": [{"name": "f", "type": "int", "default": 0}]},
         record("R") | {"fields": [{"name": "f", "type": "int", "default": False}]}),
        (record("R", {"type": "long", "logicalType": "timestamp-millis"}), record("R", "long")),
        (record("R", {"type": "array", "items": "int"}), record("R", {"type": "array", "items": "long"})),
        (record("R", {"type": "map", "values": "int"}), record("R", {"type": "map", "values": "long"})),
        (record("R", ["null", "int"]), record("R", ["int", "null"])),
        ({"type": "fixed", "name": "R", "size": 4}, {"type": "fixed", "name": "R", "size": 8}),
        ({"type": "fixed", "name": "R", "size": 4},
         {"type": "fixed", "name": "R", "size": 4, "logicalType": "decimal", "precision": 4}),
        ({"type": "enum", "name": "R", "symbols": ["A"]}, {"type": "enum", "name": "R", "symbols": ["B"]}),
        ({"type": "enum", "name": "R", "symbols": ["A"]},
         {"type": "enum", "name": "R", "symbols": ["A"], "default": "A"}),
    ],
)  # fmt: skip
def test_all_that_a_reader_sees_makes_two_definitions_differ(one: Any, other: Any) -> None:
    """Types, defaults, logical types, symbols; said once, however often the name is used."""
    user = record("U", "R", "R")
    assert [("A003", "0.avsc", ("fields", 0, "type"))] == found(user, one, other)
    assert [] == found(user, one, one)


def test_an_ambiguous_name_is_told_in_the_file_that_writes_it() -> None:
    """Not in those that use that file."""
    user, middle = record("a.U", "a.M"), record("a.M", "a.R")
    assert [("A003", "1.avsc")] == [one[:2] for one in found(user, middle, record("a.R", "int"), record("a.R", "long"))]


def test_what_cannot_stand_is_read_as_what_readers_take_it_for() -> None:
    """An order that is none is ascending; a scale that is no number is none."""
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": "2"}
    document = record("R", decimal) | {"fields": [{"name": "f", "type": decimal, "order": "up"}]}
    read = read_part(document, "a.avsc").defined["R"]
    assert isinstance(read, Record)
    (field,) = read.fields
    assert isinstance(field.type, Primitive)
    assert ("ascending", Logical("decimal", 4, None)) == (field.order, field.type.logical)


@pytest.mark.parametrize(
    ("expected", "documents"),
    [
        ([], [record("a.R", "int"), record("a.R", "long")]),  # nobody asks which
        ([], [record("a.U", "a.R"), record("a.R", "int", doc="x"), record("a.R", "int")]),  # the same but for its doc
        (
            [("A003", "0.avsc", ("fields", 0, "type"))],
            [record("a.U", "a.R"), record("a.R", "int"), record("a.R", "long")],
        ),
        (
            [("A003", "0.avsc", ("fields", 1, "type"))],  # its own S, and the S of the file that it needs
            [record("a.U", record("S", "int"), "a.R"), record("a.R", record("S", "long"))],
        ),
    ],
)
def test_a_name_of_two_files_is_wrong_where_a_third_uses_it(expected: list[Any], documents: list[Any]) -> None:
    """Files that define one name each for themselves are common and right."""
    assert expected == found(*documents)


def test_a_long_chain_of_files_needs_no_deep_stack() -> None:
    """Two thousand files, each using the next."""
    parts = [read_part(record(f"a.R{i}", *([f"a.R{i + 1}"] if i < 1999 else [])), str(i)) for i in range(2000)]
    files, cycles = topological(parts)
    assert ("1999", "0", ()) == (files[0], files[-1], cycles)
    assert 2000 == len(link(parts[-1:] + parts[:1] + parts[1:-1])[0])
