"""Damaged schemas and damaged JSON: never a trace, each violation somewhere in the file; and what other libraries say.

One seed replays everything.
"""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Iterator
from typing import Any

import avro.errors
import avro.schema
import fastavro
import pytest

from bot.checks.avro.lint import lint
from bot.checks.avro.read import incomplete, link, read_part, topological
from bot.checks.json_text import decode, locate, parse
from bot.checks.settings import CanonicalField, SchemaSettings
from bot.checks.violation import Severity, Violation

SEEDS = range(8)
SETTINGS = SchemaSettings(
    profiles=frozenset({"flink"}), namespaces={"*.avsc": "a"}, fields=(CanonicalField("id", ("long",)),)
)
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Customer",
    "namespace": "a.b",
    "doc": "One customer.",
    "aliases": ["Client"],
    "fields": [
        {"name": "id", "type": "long", "doc": "The shop's number.", "default": 1},
        {"name": "code", "type": ["null", "string"], "default": None, "aliases": ["old_code"]},
        {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["A", "B"], "default": "A"}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 2}, "default": "ab"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": ["x"]},
        {"name": "more", "type": {"type": "map", "values": ["null", "Hash"]}, "default": {"k": None}},
        {
            "name": "home",
            "type": {"type": "record", "name": "Address", "fields": [{"name": "zip", "type": "string"}]},
            "default": {"zip": "1"},
        },
        {"name": "work", "type": ["null", "Address"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "order": "descending"},
        {"name": "parent", "type": ["null", "Customer"], "default": None},
    ],
}
STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 2**70, 1e400, "", "null", "string", "record", "array", "Customer", "a..b", "\ud83d\ude00",
    "x" * 200, [], {}, [[]], [1], ["null"], ["null", "null"], {"type": "int"}, {"type": {"type": "int"}},
    {"type": "enum"}, "é", {"type": "array", "items": "Customer"}, {"type": "fixed", "name": "Hash", "size": -1},
    "decimal", "timestamp-nanos",
)  # fmt: skip
KEYS = (
    "type",
    "name",
    "namespace",
    "default",
    "doc",
    "aliases",
    "fields",
    "symbols",
    "size",
    "logicalType",
    "scale",
    "x",
)


def nodes(document: Any) -> Iterator[Any]:
    """Yield every object and array in a document."""
    work = [document]
    for node in work:
        if isinstance(node, dict | list):
            yield node
            work += node.values() if isinstance(node, dict) else node


def damaged(chance: random.Random) -> Any:
    """Return the schema with one to four places put wrong."""
    document = copy.deepcopy(SCHEMA)
    for _ in range(chance.randint(1, 4)):
        node = chance.choice(list(nodes(document)))
        strange = copy.deepcopy(chance.choice(STRANGE))
        if isinstance(node, dict):
            key = chance.choice([*node, *KEYS[: 4 if node else 12], chance.choice(KEYS)])
            act = chance.randrange(4)
            if act == 0:
                node.pop(key, None)
            elif act == 1 and key in node:
                node[key[:-1] + chance.choice("xs")] = node.pop(key)
            else:
                node[key] = strange
        elif node and chance.random() < 0.5:
            node.append(copy.deepcopy(chance.choice(node)))
        else:
            node.insert(chance.randint(0, len(node)), strange)
    return document


def check(text: str, settings: SchemaSettings = SETTINGS) -> list[Violation]:
    document, wrong = parse(text, "a.avsc")
    if document is None and wrong:
        return list(wrong)
    part = read_part(document, "a.avsc")
    schemas, names = link([part])
    topological([part])
    schemas |= incomplete([part], schemas)
    return [*wrong, *part.violations, *names, *(one for s in schemas.values() for one in lint(s, settings))]


def places(text: str, violations: list[Violation]) -> list[tuple[int, int]]:
    found = locate(text, [one.pointer for one in violations if one.pointer is not None])
    return [(one.line, one.column) if one.pointer is None else found[one.pointer] for one in violations]


def assert_well_told(text: str, violations: list[Violation]) -> None:
    """Every violation says what, what to do, and where: a place that the text has."""
    lines = text.split("\n")
    for line, column in places(text, violations):
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1]) + 1
    for one in violations:
        assert one.message
        assert one.remedy
        assert len(one.message) < 700
        assert len(one.remedy) < 700
        json.dumps(one.document(), ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_schema_is_told_and_never_ends_in_a_trace(seed: int) -> None:
    """Types where values belong, keys that are gone, misspelt or twice."""
    chance = random.Random(seed)
    for _ in range(250):
        text = json.dumps(damaged(chance), indent=chance.choice((None, 1)))
        assert_well_told(text, check(text))


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_json_is_told_and_never_ends_in_a_trace(seed: int) -> None:
    """Bytes deleted, repeated and put in; what the C parser refuses, ours explains."""
    chance = random.Random(seed)
    whole = json.dumps(SCHEMA, indent=1, ensure_ascii=False).encode()
    for _ in range(250):
        raw = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(raw))
            act = chance.randrange(3)
            if act == 0:
                del raw[at : at + chance.randint(1, 5)]
            elif act == 1:
                raw[at:at] = chance.choice(
                    (b",", b'"', b"{", b"}", b"[", b"]", b":", b"'", b"\\", b"\xff", b"//", b"NaN", b"\0", b"0")
                )
            else:
                raw[at:at] = raw[at : at + chance.randint(1, 30)]
        text, encoding = decode(bytes(raw), "a.avsc")
        violations = [*encoding, *check(text)]
        assert_well_told(text, violations)
        try:
            json.loads(text)
        except ValueError:
            assert any(one.rule == "A001" for one in violations)


def refused_by_avro(text: str) -> bool:
    try:
        avro.schema.parse(text)
    except (avro.errors.AvroException, AttributeError, TypeError, ValueError, KeyError):
        return True
    return False


def refused_by_fastavro(text: str) -> bool:
    try:
        fastavro.schema.parse_schema(json.loads(text))
    except Exception:  # It raises what it happens to meet.
        return True
    return False


def test_what_both_libraries_refuse_we_refuse() -> None:
    """Two thousand damaged schemas: whatever avro and fastavro both refuse has an error here, of a structural rule."""
    chance = random.Random(7)
    both = 0
    for _ in range(2000):
        text = json.dumps(damaged(chance))
        if refused_by_avro(text) and refused_by_fastavro(text):
            both += 1
            found = {one.rule for one in check(text) if one.severity == Severity.ERROR}
            assert found & {f"A{n:03}" for n in range(1, 18)}, text
    assert both > 500


def test_what_we_take_the_libraries_take() -> None:
    """A schema without any error here, those of taste aside, is read by fastavro and by avro."""
    chance = random.Random(11)
    clean = 0
    for _ in range(3000):
        text = json.dumps(damaged(chance))
        errors = {one.rule for one in check(text, SchemaSettings()) if one.severity == Severity.ERROR}
        if errors - {"A102", "A104", "A107"}:
            continue
        clean += 1
        fastavro.schema.parse_schema(json.loads(text))
        assert not refused_by_avro(text), text
    assert clean > 100


def test_a_default_that_we_take_fastavro_reads() -> None:
    """A record written without the fields is read with all defaults, when nothing is wrong with them."""
    writer = {"type": "record", "name": "Customer", "namespace": "a.b", "fields": []}
    reader = {**SCHEMA, "fields": [field for field in SCHEMA["fields"] if "default" in field]}
    assert not [one for one in check(json.dumps(reader)) if one.rule in ("A008", "A009", "A010")]
    out = io.BytesIO()
    fastavro.schemaless_writer(out, writer, {})
    out.seek(0)
    assert 1 == fastavro.schemaless_reader(out, writer, reader)["id"]  # type: ignore[call-overload,index]


@pytest.mark.parametrize("depth", [10, 52, 300])
def test_deep_schemas(depth: int) -> None:
    """Arrays in arrays, records in records: read to the limit, refused beyond it, without a deep stack."""
    arrays: Any = "int"
    records: Any = "int"
    for i in range(depth):
        arrays = {"type": "array", "items": arrays}
        records = {"type": "record", "name": f"R{i}", "namespace": "a", "fields": [{"name": "f", "type": records}]}
    for document in (arrays, records):
        text = json.dumps(document)
        violations = check(text)
        assert (depth == 300) == any("nested more than" in one.message for one in violations)
        assert_well_told(text, violations)


def test_a_long_chain_of_records_in_one_file() -> None:
    """Two thousand records, each using the next: a cycle at the end is found without recursion."""
    chain = [
        {"type": "record", "name": f"a.R{i}", "fields": [{"name": "f", "type": f"a.R{i - 1}"}] if i else []}
        for i in range(2000)
    ]
    found = check(json.dumps(chain))
    assert {"A019", "A106", "A101"} == {one.rule for one in found}
