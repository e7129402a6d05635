"""The rules C001-C020 as `cdc check explain` tells them, each with an example that fails and one that passes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from bot.checks.violation import Answer, Example, Rule, Severity

_ID = {"name": "id", "type": "long"}


def _record(*fields: dict[str, Any], **more: Any) -> str:
    head = json.dumps({"type": "record", "name": "Customer", "namespace": "shop", **more})[:-1]
    return f'{head}, "fields": [\n  ' + ",\n  ".join(json.dumps(field) for field in (_ID, *fields)) + "\n]}\n"


def _field(name: str, type_: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def _change(old: str, new: str, level: str = "BACKWARD", *profiles: str, file: str = "customers-value") -> Example:
    settings = {"profiles": frozenset(profiles)} if profiles else {}
    return Example(new=new, old=old, level=level, file=f"schemas/{file}.avsc", settings=settings)


def _both(name: str, old: Any, bad: Any, good: Any, *rest: str) -> tuple[Example, Example]:
    """Return the examples of one field whose type changes badly, and well."""

    def with_field(type_: Any) -> str:
        optional = isinstance(type_, list) and type_[0] == "null"
        return _record(_field(name, type_, **({"default": None} if optional else {})))

    level, *profiles = rest or ("BACKWARD",)
    was, broken, kept = with_field(old), with_field(bad), with_field(good)
    return _change(was, broken, level, *profiles), _change(was, kept, level, *profiles)


def _decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def _enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "Status", "symbols": list(symbols), **more}


def _fixed(size: int) -> dict[str, Any]:
    return {"type": "fixed", "name": "Hash", "size": size}


_MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
_MICROS = {"type": "long", "logicalType": "timestamp-micros"}
_TIER = _field("tier", ["null", "string"], default=None)
_EMAIL = _field("email", "string", default="")
_ADDRESS = {"type": "record", "name": "Address", "fields": [{"name": "street", "type": "string"}]}
_HOME = {**_ADDRESS, "name": "Home"}
_EMPTY = _record()

RULES: tuple[Rule, ...] = (
    Rule(
        "C001",
        Severity.ERROR,
        "A new field carries a decision",
        "Records written before the field have no value for it, so somebody must say what a reader gets: null "
        '(`["null", T]` with default null), an explicit default, or, by a waiver with reason and owner, that it is '
        "required. Without a default a registry at BACKWARD answers 409 and the source connector's task fails. "
        "Counts in nested records too; the fields of a record that is new itself have no past.",
        _change(_EMPTY, _record(_field("tier", "string"))),
        _change(_EMPTY, _record(_TIER)),
    ),
    Rule(
        "C002",
        Severity.ERROR,
        "A field that one side lacks has a default",
        "Avro 1.12, Schema Resolution: a reader's field that the writer lacks is read from its default, and without "
        "one it is an error (Java: READER_FIELD_MISSING_DEFAULT_VALUE). Of new fields C001 speaks, of removed ones "
        "C011; this rule tells the rest: a transitive level's older versions, and a rename, whose alias old readers "
        "do not know.",
        _change(_record(_field("mail", "string")), _record(_field("email", "string", aliases=["mail"])), "FULL"),
        _change(_record(_field("mail", "string")), _record(_field("email", "string", aliases=["mail"]))),
    ),
    Rule(
        "C003",
        Severity.ERROR,
        "A type stays readable",
        "Avro 1.12 reads int as long, float or double, long as float or double, float as double, and string and "
        "bytes as each other; nothing else (Java: TYPE_MISMATCH). Debezium registers such a change after an ALTER "
        "TABLE and its task fails at the next row; changing the column back does not help, since the log still holds "
        "the row.",
        *_both("amount", "long", "string", "double"),
    ),
    Rule(
        "C004",
        Severity.ERROR,
        "An enum that loses symbols has a default symbol",
        "A reader that meets an unknown symbol takes the *enum's* default; the field's default does not help (Java: "
        "MISSING_ENUM_SYMBOLS). Under FORWARD and FULL the same holds for a symbol that is added: the readers of the "
        "old schema meet it. A symbol that goes from an enum with a default is a warning: records that have it are "
        "read as the default from then on. So is one that goes where the level does not ask for old records.",
        *_both("status", _enum("NEW", "PAID"), _enum("NEW"), _enum("NEW", "PAID", "SENT", default="NEW")),
        also=("A107",),
    ),
    Rule(
        "C005",
        Severity.ERROR,
        "A union keeps its branches",
        "Whatever a writer may have written needs a branch in the reader's union (Java: MISSING_UNION_BRANCH). A "
        "branch is found by type and name; a promoted one will do.",
        *_both("value", ["null", "long", "string"], ["null", "long"], ["null", "double", "string"]),
    ),
    Rule(
        "C006",
        Severity.ERROR,
        "A type keeps its name, or has the old one as alias",
        "Records, enums and fixed match by unqualified name or by an alias with the full name (Java: NAME_MISMATCH): "
        "the namespace may change, the name may not; but Java finds an enum or fixed of a union, and the aliases of a "
        "record's fields, by the full name, so there a changed namespace needs the alias too; registries take it. "
        "An alias helps readers of the new schema only. Where the level lets another full name pass, it is a warning "
        "for the record of the topic, whose generated class Confluent's deserializer looks up by the name that was "
        "written (schema-registry #670, #3670), a note inside it.",
        *_both("address", _ADDRESS, _HOME, {**_ADDRESS, "doc": "Where the parcel goes to."}),
    ),
    Rule(
        "C007",
        Severity.ERROR,
        "A fixed keeps its size",
        "Fixed values have no length in the data, so a reader of another size reads the wrong bytes (Java: "
        "FIXED_SIZE_MISMATCH).",
        *_both("hash", _fixed(16), _fixed(32), _fixed(16)),
    ),
    Rule(
        "C008",
        Severity.ERROR,
        "A decimal keeps precision and scale",
        "The bytes of a decimal hold the digits, the schema alone holds the point: 12.34 at scale 2 is read as "
        "0.1234 at scale 4. The specification lets decimals match only if both agree, yet Java, PyPI avro, fastavro "
        "and avsc all call the change compatible (AVRO-2078, open since 2017). A wider precision at the same scale "
        "is a warning under an Iceberg profile, since the table can follow.",
        *_both("amount", _decimal(10, 2), _decimal(12, 4), _decimal(10, 2)),
    ),
    Rule(
        "C009",
        Severity.ERROR,
        "A logical type and its unit stay",
        "timestamp-millis read as timestamp-micros puts every time into January 1970, and no registry notices: the "
        "bare type is the same. What Connect and Debezium tell beside the type counts too (`connect.name`: "
        "io.debezium.time.Timestamp is milliseconds, MicroTimestamp microseconds). A logical type added to a bare "
        "type is a warning, an error under a profile.",
        *_both("updated_at", _MILLIS, _MICROS, _MILLIS),
    ),
    Rule(
        "C010",
        Severity.ERROR,
        "A nullable field stays nullable",
        "Records with null in it are in the topic and in the table. Some levels let it pass (FORWARD, NONE), an "
        "upsert sink or a Flink job fails at the first of them.",
        *_both("email", ["null", "string"], "string", ["null", "string"]),
    ),
    Rule(
        "C011",
        Severity.WARNING,
        "A removed field is missed by nobody",
        "An error where the level has old readers (FORWARD, FULL) and the field had no default, and under an Iceberg "
        "profile, whose sink does not drop columns (FIELD_DELETED in Confluent's LOGICAL policy); else a warning. "
        "Under the Flink profile alone it is fine. A field renamed with an alias is gone for whoever knows it by "
        "name, since no sink sees aliases: an error under an Iceberg profile, a warning under Flink's, else a note. "
        "Apache Iceberg's sink goes by the record's names, or by the table's `schema.name-mapping.default`: with both "
        "names there, waive it. A Flink table derives its reader's schema from its own DDL.",
        _change(_record(_EMAIL), _EMPTY),
        _change(_record(_EMAIL), _EMPTY, "BACKWARD", "flink"),
    ),
    Rule(
        "C012",
        Severity.WARNING,
        "Fields keep their order",
        "Only under an Iceberg profile: Avro reads fields by name, but a table keeps the order of its columns "
        "(FIELD_REORDERED in Confluent's LOGICAL policy), and positional readers of files mix them up. New fields "
        "may stand anywhere.",
        _change(_record(_EMAIL, _TIER), _record(_TIER, _EMAIL), "BACKWARD", "iceberg-v2"),
        _change(_record(_EMAIL, _TIER), _record(_TIER, _EMAIL)),
    ),
    Rule(
        "C013",
        Severity.ERROR,
        "A new column of Iceberg v2 is optional",
        "Only under the profile iceberg-v2. An Avro default lets readers read older records, but an Iceberg v2 table "
        "has no default for a column: its older rows have no value, so a required column cannot be added "
        "(REQUIRED_FIELD_ADDED). Format v3 has column defaults.",
        _change(_EMPTY, _record(_EMAIL), "BACKWARD", "iceberg-v2"),
        _change(_EMPTY, _record(_EMAIL), "BACKWARD", "iceberg-v3"),
    ),
    Rule(
        "C014",
        Severity.ERROR,
        "A column's type widens only as Iceberg allows",
        "Only under an Iceberg profile. Avro promotes int to double, long to float, string to bytes; an Iceberg "
        "column follows only int to long, float to double and a wider decimal (Iceberg specification, Schema "
        "Evolution).",
        *_both("amount", "int", "double", "long", "BACKWARD", "iceberg-v2"),
    ),
    Rule(
        "C015",
        Severity.WARNING,
        "A promotion keeps every value",
        "Avro allows long to be read as double, which holds whole numbers up to 2^53 only, int and long as float, "
        "and bytes as string, which fails where they are not UTF-8. The data decides, not the schema, so nobody "
        "notices in a test.",
        *_both("amount", "long", "double", "long"),
    ),
    Rule(
        "C016",
        Severity.WARNING,
        "A default stays what it was",
        "Readers fill older records from it: another default changes what was read yesterday. A default that goes is "
        "an error under BACKWARD_TRANSITIVE and FULL_TRANSITIVE: versions before the field can no longer be read. An "
        "enum's default symbol counts too: it is what a reader makes of symbols that it does not know.",
        _change(_record(_EMAIL), _record({**_EMAIL, "default": "none"})),
        _change(_record(_EMAIL), _record(_EMAIL)),
    ),
    Rule(
        "C017",
        Severity.ERROR,
        "A key does not change",
        "The bytes of the key choose the partition and, in an upsert sink or a compacted topic, the row. After a "
        "change the same row has two keys: updates arrive out of order, deletes miss. Documentation alone is a "
        "warning: it makes a new version, whose id Confluent's converters write into the key's bytes. The subject "
        "ends in `-key`, or the file's name does.",
        _change(_EMPTY, _record(_TIER), file="customers-key"),
        _change(_EMPTY, _record(_TIER), file="customers-value"),
    ),
    Rule(
        "C018",
        Severity.ERROR,
        "A name is never used again for something else",
        "Old records, tables and jobs still have the name with its old type. Looks at all previous versions, "
        "whatever the level; at NONE also at a type replaced in place, which the registry lets pass and the sink's "
        "column does not. Names in `confluent:reserved` of the record are kept from use, and a reservation stays.",
        _change(_record(**{"confluent:reserved": "tier"}), _record(_TIER, **{"confluent:reserved": "tier"})),
        _change(
            _record(**{"confluent:reserved": "tier"}),
            _record({**_TIER, "name": "plan"}, **{"confluent:reserved": "tier"}),
        ),
    ),
    Rule(
        "C019",
        Severity.ERROR,
        "A subject keeps its kind of schema",
        "A topic whose records are Avro cannot be read on as Protobuf or JSON: the payload's format follows the "
        "schema's type, and a registry refuses the change at every level but NONE. Judged where the subject's "
        "registered type is known.",
        Example(
            new='syntax = "proto3";\npackage shop.v1;\n\nmessage Customer {\n  optional int64 id = 1;\n}\n',
            old=_EMPTY,
            kind="proto",
            file="schemas/customers-value.proto",
            answer=Answer("AVRO"),
        ),
        replace(_change(_EMPTY, _record(_TIER)), answer=Answer("AVRO")),
    ),
    Rule(
        "C020",
        Severity.NOTE,
        "Only documentation changed",
        "A `doc`, an alias or another attribute that carries no data, the order of fields or of symbols (readers go by "
        "names): no reader notices. The registry makes a new "
        "version of it all the same (it compares texts), so an incident that begins then has another cause.",
        _change(_EMPTY, _record(doc="One row of the table customers.")),
        _change(_EMPTY, _record(_TIER)),
    ),
)
