"""The rules A001-A112 as `cdc check explain` tells them, each with an example that fails and one that passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.checks.avro.lint import WARNINGS
from bot.checks.settings import CanonicalField
from bot.checks.violation import Example, Rule, Severity


def _record(*fields: str, doc: str = "One customer.", head: str = "") -> str:
    said = f'"doc": "{doc}", ' if doc else ""
    inner = ",\n    ".join(fields)
    first = f'{{"type": "record", "name": "Customer", "namespace": "shop.crm", {said}{head}"fields": ['
    return f"{first}\n    {inner}\n]}}\n" if fields else f"{first}]}}\n"


def _field(name: str, type_: str, *more: str, doc: str = "What the shop knows of it.") -> str:
    return "{" + ", ".join((f'"name": "{name}"', f'"type": {type_}', *more, f'"doc": "{doc}"')) + "}"


def _rule(
    id: str,
    title: str,
    why: str,
    failing: str,
    passing: str,
    settings: Mapping[str, Any] | None = None,
    also: tuple[str, ...] = (),
) -> Rule:
    severity = Severity.WARNING if id in WARNINGS else Severity.ERROR
    given = settings or {}
    return Rule(id, severity, title, why, Example(failing, settings=given), Example(passing, settings=given), also)


_ID = _field("id", '"long"')
_STATUS = '{"type": "enum", "name": "Status", "doc": "Where it stands.", "symbols": %s}'
_EVENT_ID = {"fields": (CanonicalField("event_id", ("string",)),)}

RULES: tuple[Rule, ...] = (
    _rule(
        "A001",
        "Not clean JSON, or not an Avro schema",
        "A registry parses what stands in the file, and parsers differ in what they forgive. A key that stands "
        "twice is the worst of it: RFC 8259 leaves the meaning open, and every parser silently keeps the last "
        "one. A byte order mark, NaN and a trailing comma pass one tool and stop the next.",
        _record('{"name": "id", "type": "int", "type": "long", "doc": "The shop\'s number."}'),
        _record(_ID),
    ),
    _rule(
        "A002",
        "A name that nobody defines",
        "A type is named before it is used, in this file or in one that was read with it (Avro 1.12, Names). A "
        'name without a dot means the namespace around it. `"String"` or `"timestamp-millis"` as a type is such a '
        "name, too.",
        _record(_field("home", '"Adress"')),
        _record(
            _field("home", '{"type": "record", "name": "Address", "doc": "Where.", "fields": [' + _ID + "]}"),
        ),
    ),
    _rule(
        "A003",
        "A name defined twice",
        "A full name has one definition (Avro 1.12, Names). Java's parser, which registries run, stops with "
        "`Can't redefine`. Two files that define one name differently are no error by themselves; a third that "
        "uses the name cannot tell which is meant.",
        _record(
            _field("home", '{"type": "fixed", "name": "Hash", "size": 16}'),
            _field("work", '{"type": "fixed", "name": "Hash", "size": 16}'),
        ),
        _record(_field("home", '{"type": "fixed", "name": "Hash", "size": 16}'), _field("work", '"Hash"')),
    ),
    _rule(
        "A004",
        "A field that stands twice",
        "Field names are unique in a record (Avro 1.12, Records). fastavro accepts two and keeps the value of the "
        "last; Java refuses the schema.",
        _record(_ID, _field("id", '"string"')),
        _record(_ID, _field("code", '"string"')),
    ),
    _rule(
        "A005",
        "A name that is not legal",
        "A name begins with a letter or `_` and goes on with letters, digits and `_`; a namespace is such names "
        "with dots (Avro 1.12, Names). fastavro accepts `-` and leading digits, PyPI avro does in fields and "
        "aliases, and both then write files that Java cannot read. Primitive types' names belong to them in every "
        "namespace.",
        _record(_field("first-order", '"long"')),
        _record(_field("first_order", '"long"')),
    ),
    _rule(
        "A006",
        "A union that is not legal",
        "A union holds no union directly, and no type twice except named ones; else a reader cannot tell which "
        "branch was written (Avro 1.12, Unions). fastavro accepts all of it, and PyPI avro accepts the empty "
        "union.",
        _record(_field("code", '["null", "string", "string"]', '"default": null')),
        _record(_field("code", '["null", "string"]', '"default": null')),
    ),
    _rule(
        "A007",
        "Symbols that are not legal",
        "The symbols of an enum are names and unique (Avro 1.12, Enums). An empty list passes fastavro and PyPI "
        "avro, and no value can ever be written.",
        _record(_field("status", _STATUS % '["NEW", "in-work"], "default": "NEW"')),
        _record(_field("status", _STATUS % '["NEW", "IN_WORK"], "default": "NEW"')),
    ),
    _rule(
        "A008",
        "A default that does not fit its type",
        "A default is read when a record lacks the field: only then does a wrong one fail, in production, in "
        "every reader. Registries check defaults only when told to (`schema.providers.avro.validate.defaults`; "
        "Confluent schema-registry #1293, #2213), and fastavro and PyPI avro let pass an int beyond 32 bits, "
        "bytes above U+00FF, a fixed of the wrong length and a record that lacks a member.",
        _record(_field("visits", '"int"', '"default": 3000000000')),
        _record(_field("visits", '"int"', '"default": 0')),
    ),
    _rule(
        "A009",
        "A union's default that does not fit the first branch",
        "Up to Avro 1.11 the default of a union fits its first branch; 1.12 allows any. Readers of 1.11, PyPI "
        "avro and avsc still fail on it, and a consumer's version is not yours to choose. Put the branch of the "
        "default first: the order of branches is free to change.",
        _record(_field("code", '["string", "null"]', '"default": null')),
        _record(_field("code", '["null", "string"]', '"default": null')),
    ),
    _rule(
        "A010",
        'The default is the string "null"',
        "JSON's null stands without quotes. In quotes it is four letters, which a string takes without complaint: "
        "libraries accept it, and so does a test of the Confluent registry itself (`testBadDefaultNull`). "
        "Consumers then see a customer whose name is null.",
        _record(_field("code", '["string", "null"]', '"default": "null"')),
        _record(_field("code", '["null", "string"]', '"default": null')),
    ),
    _rule(
        "A011",
        "An enum's default that is no symbol",
        "The default of an enum is what a reader takes for a symbol it does not know, and so must be one of its "
        "own (Avro 1.12, Enums).",
        _record(_field("status", _STATUS % '["NEW", "PAID"], "default": "UNKNOWN"')),
        _record(_field("status", _STATUS % '["UNKNOWN", "NEW", "PAID"], "default": "UNKNOWN"')),
    ),
    _rule(
        "A012",
        "A logical type that does not exist",
        "Readers must ignore a logical type that they do not know (Avro 1.12, Logical Types): a misspelt one "
        "turns times into numbers without one word. PyPI avro warns, but also of timestamp-nanos, "
        "local-timestamp-*, duration and big-decimal, which exist.",
        _record(_field("created_at", '{"type": "long", "logicalType": "timestamp_millis"}')),
        _record(_field("created_at", '{"type": "long", "logicalType": "timestamp-millis"}')),
    ),
    _rule(
        "A013",
        "A logical type on the wrong type",
        "A logical type that does not fit what it stands on is ignored like an unknown one (Avro 1.12, Logical "
        "Types): timestamp-millis stands on long, decimal on bytes or fixed, uuid on string or fixed(16).",
        _record(_field("created_at", '{"type": "int", "logicalType": "timestamp-millis"}')),
        _record(_field("created_at", '{"type": "long", "logicalType": "timestamp-millis"}')),
    ),
    _rule(
        "A014",
        "A logical type beside the type",
        "`logicalType` is an attribute of a type, not of a field: beside the type it is an unknown attribute, and "
        "no library says so. It stands like that in the schema of Confluent schema-registry #443.",
        _record(_field("created_at", '"long"', '"logicalType": "timestamp-millis"')),
        _record(_field("created_at", '{"type": "long", "logicalType": "timestamp-millis"}')),
    ),
    _rule(
        "A015",
        "A decimal that cannot be",
        "A decimal without a precision, with one in quotes or with more digits than its fixed holds is ignored, "
        "and readers see bytes (Avro 1.12, Decimal). fixed(n) holds floor(log10(2^(8n-1) - 1)) digits. More than "
        "38 digits fit neither Flink's nor Iceberg's DECIMAL.",
        _record(_field("price", '{"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 6}')),
        _record(_field("price", '{"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}')),
    ),
    _rule(
        "A016",
        "An attribute that is nearly one of Avro's",
        "Attributes that Avro does not know are kept and ignored (Avro 1.12, Schema Declaration), so `defualt` is "
        "a field without a default. Attributes of tools (`connect.name`, `confluent:tags`) are nowhere near and "
        "never reported.",
        _record(_field("code", '["null", "string"]', '"defualt": null')),
        _record(_field("code", '["null", "string"]', '"default": null')),
        also=("A104",),
    ),
    _rule(
        "A017",
        "A record that contains itself",
        "A record that needs itself in every value has no finite value; writers overflow the stack. Under a "
        "profile every cycle is an error: neither Flink nor Iceberg has recursive types (`CYCLIC_TYPE` of "
        "Confluent's LOGICAL policy).",
        _record(_field("parent", '"Customer"')),
        _record(_field("parent", '["null", "Customer"]', '"default": null')),
    ),
    _rule(
        "A018",
        "Fields that differ in case only",
        "Flink, Iceberg and most SQL databases compare column names without case: one of the two columns is lost, "
        "or the sink stops (`FIELD_NAME_CASE_COLLISION` of Confluent's LOGICAL policy). Both Avro libraries "
        "accept it.",
        _record(_ID, _field("ID", '"string"')),
        _record(_ID, _field("code", '"string"')),
    ),
    _rule(
        "A019",
        "A record without fields",
        "Avro allows it, a table without columns does not exist (`EMPTY_STRUCT` of Confluent's LOGICAL policy).",
        _record(),
        _record(_ID),
    ),
    _rule(
        "A101",
        "Not documented",
        "The schema is the only text that every consumer has. Three words on meaning and unit save the question "
        "at three in the morning. A doc that repeats the name counts as none.",
        _record('{"name": "weight", "type": "long"}'),
        _record('{"name": "weight", "type": "long", "doc": "Grams, without packaging."}'),
    ),
    _rule(
        "A102",
        "No namespace, or not the one of its path",
        "Without a namespace every `Customer` is the same type to a registry, a code generator and a reader that "
        "resolves by name. With `checks.schemas.namespaces` a path says which namespace its types have.",
        '{"type": "record", "name": "Customer", "doc": "One customer.", "fields": [\n    ' + _ID + "\n]}\n",
        _record(_ID),
    ),
    _rule(
        "A103",
        "A name in another style",
        "Types in PascalCase, fields in snake_case, symbols in UPPER_SNAKE_CASE: one style, so that a column has "
        "the same name in every sink. The patterns are `type_pattern`, `field_pattern` and `symbol_pattern`. A "
        "registered name keeps its old one as an alias.",
        _record(_field("customerNumber", '"long"')),
        _record(_field("customer_number", '"long"')),
    ),
    _rule(
        "A104",
        "An optional field without a default",
        "A union with null does not make a field optional to a reader: without a default, records written before "
        "the field existed cannot be read, and the registry refuses the schema with 409 (Confluent "
        "schema-registry #480: an optional column of Debezium).",
        _record(_field("code", '["null", "string"]')),
        _record(_field("code", '["null", "string"]', '"default": null')),
    ),
    _rule(
        "A105",
        "null is not the first branch",
        "Only a default that fits the first branch is read everywhere, so an optional type begins with null. "
        'Another order is right where the default is a value: `["string", "null"]` with `"default": "DE"`.',
        _record(_field("codes", '{"type": "array", "items": ["string", "null"]}')),
        _record(_field("codes", '{"type": "array", "items": ["null", "string"]}')),
    ),
    _rule(
        "A106",
        "A union of several types",
        "A table's column has one type: Flink and Iceberg make a struct with a member for each branch, JDBC sinks "
        "stop. A field for each, or a record with optional fields, is what they all read.",
        _record(_field("code", '["null", "int", "string"]', '"default": null')),
        _record(_field("code", '["null", "string"]', '"default": null')),
    ),
    _rule(
        "A107",
        "An enum without a default symbol",
        "A reader that meets a symbol it does not know fails, unless its enum has a default (Avro 1.9 and later). "
        "Without one, adding a symbol breaks every consumer that was not updated first (Karapace #524, Apicurio "
        "#2572). The default of the field does not help.",
        _record(_field("status", _STATUS % '["NEW", "PAID"]')),
        _record(_field("status", _STATUS % '["UNKNOWN", "NEW", "PAID"], "default": "UNKNOWN"')),
    ),
    _rule(
        "A108",
        "A time without its unit",
        "A bare long may be seconds, milliseconds or microseconds, and a string any format in any zone; a logical "
        "type says it, and sinks make a timestamp of it. Two units in one record are a factor of 1,000 waiting to "
        "be forgotten.",
        _record(_field("created_at", '"long"')),
        _record(_field("created_at", '{"type": "long", "logicalType": "timestamp-micros"}')),
    ),
    _rule(
        "A109",
        "An amount as a floating point number",
        "Binary fractions hold no tenth exactly: sums drift, and comparisons with the source fail. A decimal on "
        "bytes holds what the database holds.",
        _record(_field("price", '"double"')),
        _record(_field("price", '{"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}')),
    ),
    _rule(
        "A110",
        "An alias that is ambiguous",
        "An alias that is another field's name, or stands twice, is resolved differently by each library: "
        "measured, avsc refuses it, fastavro takes the alias, PyPI avro takes the name.",
        _record(_ID, _field("number", '"long"', '"aliases": ["id"]')),
        _record(_ID, _field("number", '"long"', '"aliases": ["old_number"]')),
    ),
    _rule(
        "A111",
        "A canonical field is missing, or of another type",
        "`checks.schemas.fields` names what every value must have: an event id, the operation, the position in "
        "the source, the time of the event. Consumers dedupe and order by them. Without the setting the rule is "
        "silent; keys are not asked.",
        _record(_ID),
        _record(_ID, _field("event_id", '"string"')),
        _EVENT_ID,
    ),
    _rule(
        "A112",
        "Personal data without a classification",
        "A name such as `email`, `phone` or `iban` says that the field holds personal data; a tag makes masking, "
        "retention and access follow it through every sink. `confluent:tags`, `tags`, `classification`, `pii` and "
        'their like count, on the field, its type or its record; `"pii": false` is an answer, too.',
        _record(_field("email", '"string"')),
        _record(_field("email", '"string"', '"confluent:tags": ["PII"]')),
    ),
)
