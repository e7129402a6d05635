"""No row value, key or credential of an error text reaches a channel."""

from __future__ import annotations

import pytest

from bot.redact import cause_of, normalise, redact

SECRET = "ana.lopez"
OLD_SCHEMA = '{"type":"record","name":"c","fields":[{"name":"value","type":"string","default":"it\'s"}]}'
REFUSAL = (
    "RestClientException: Schema being registered is incompatible with an earlier schema for subject "
    "\"customers-value\", details: [{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'tier' at "
    "path '/fields/3' in the new schema has no default value and is missing in the old schema', "
    f"additionalInfo:'tier'}}, {{oldSchemaVersion: 1}}, {{oldSchema: '{OLD_SCHEMA}'}}, "
    "{validateFields: 'false', compatibility: 'BACKWARD'}]; error code: 409"
)


@pytest.mark.parametrize(
    "text",
    [
        f"ERROR: null value in column \"email\"\n  Detail: Failing row contains (1, {SECRET}, x).",
        f"Detail: Failing row contains (1, a). b\n{SECRET}, 2).\n\tat org.postgresql.X",
        f"Detail: Key (email)=({SECRET}) already exists.",
        f"Detail: Key (email, name)=(x), {SECRET}) already exists.",
        f"Duplicate entry '{SECRET}' for key 'customers.email'",
        f"Batch entry 0 INSERT INTO \"customers\" (\"id\") VALUES (('5'),('{SECRET}')) was aborted: ERROR: x",
        f"insert into customers (a) values ('{SECRET}', 'it''s)')\n\tat x",
        f"UPDATE t SET name='{SECRET}' WHERE id = 4",
        f"Record: SinkRecord{{kafkaOffset=3}} ConnectRecord{{topic='t', value=Struct{{name={SECRET}}}}}",
        f"Struct{{id=1,after=Struct{{name={SECRET}}},op=c}}",
        f'Unrecognized token \'{SECRET}\': was expecting ("true")',
        f'Unexpected character at [Source: (byte[])"{{"name":"{SECRET}"}}"; line: 1, column: 3]',
        f'[Source: (String)"{{"name":[1],"x":"{SECRET}"}}"[truncated 40 bytes]; line: 2]',
        f'For input string: "{SECRET}"',
        f'invalid input syntax for type integer: "{SECRET}"',
        f"jdbc:postgresql://bot:{SECRET}@db/shop",
        f"database.password={SECRET}, user=bot",
        f'sasl.jaas.config: password="{SECRET}";',
        f"Authorization: Bearer {SECRET}",
        f"no such user {SECRET}@example.com",
        f"ERROR: invalid value: '{SECRET}'; error code: 409",
        f"{REFUSAL}\nCaused by: X: Failing row contains (1, {SECRET}).",
        f"X: Failing row contains (1, {SECRET}), {REFUSAL}\n\tat a.b(C.java:1)",
        f"{REFUSAL}; For input string: \"{SECRET}\"",
    ],
)  # fmt: skip
def test_values_are_taken_out(text):
    """Each is worded as PostgreSQL, MySQL, Jackson, Connect or the JVM does."""
    assert SECRET in text
    assert SECRET not in redact(text)
    assert SECRET not in normalise(text)


@pytest.mark.parametrize(
    "text",
    [
        'ERROR: null value in column "email" of relation "customers" violates not-null constraint',
        "Incompatible artifact: shop.public.customers-value [AVRO], list of diff types: [tier at /fields/4]",
        "Cannot alter table customers because schema evolution is disabled\n\tat io.debezium.X(X.java:12)",
        "Failed to deserialize data for topic shop.public.orders to Avro",
        "artifact reference cannot be null",
        'Subject "orders-value", version 3, subject "orders-key", version 1',
        "{errorType:'TYPE_MISMATCH', description:'The type (path '/fields/1/type') of a field in the new schema does "
        "not match with the old schema', additionalInfo:'reader type: STRING not compatible with writer type: LONG'}",
        'for subject "orders-value", details: [Incompatibility{type:TYPE_MISMATCH, location:/fields/2/type, '
        'message:reader type: STRING not compatible with writer type: INT, reader:"string", writer:"int"}]',
    ],
)
def test_what_the_on_call_needs_stays(text):
    """Columns, tables, subjects and code positions are no data."""
    assert text == redact(text)


@pytest.mark.parametrize("suffix", ["", "\n\tat a.b(C.java:1)", "\nCaused by: Y: z"])
def test_a_registrys_refusal_loses_nothing_but_the_old_schemas_text(suffix):
    """Error type, description, path, field and level are what is read at 3 a.m.; a schema holds no row."""
    assert REFUSAL.replace(OLD_SCHEMA, "...") + suffix == redact(REFUSAL + suffix)


def test_a_refusal_of_a_json_schema_is_quoted_otherwise_and_stays_too():
    """Confluent quotes JSON Schema and Protobuf details with double quotes."""
    start = (
        'details: [{errorType:"PROPERTY_REMOVED", description:"... at path \'#/properties/x\'"}, {oldSchemaVersion: 1}'
    )

    assert start + ', {oldSchema: "..."}]' == redact(start + ", {oldSchema: \"{'type': 'object'}\"}]")


def test_the_stack_after_a_redacted_row_stays():
    """The frames and the next cause are worth keeping."""
    text = "X: Failing row contains (1, a).\n\tat a.b(C.java:1)\nCaused by: Y: z"

    assert "X: Failing row contains ([redacted])\n\tat a.b(C.java:1)\nCaused by: Y: z" == redact(text)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ("record N at offset N is bad", "record 17 at offset 4,711 is bad"),
        ("value N of N", "value -3.5 of 0xFF"),
        ("id N", "id 550e8400-e29b-41d4-a716-446655440000"),
        ('null value in column "email"', 'null value in column "email"'),
        ("column '...' is odd", "column 'a b' is odd"),
        ("unknown magic byte '...'", "unknown magic byte '7b'"),
        ("topic orders2 v1", "topic orders2 v1"),
        ("a b", " a\n\tb "),
    ],
)
def test_messages_lose_what_differs_from_record_to_record(expected, message):
    """Equal troubles are one group, and quoted text may be data."""
    assert expected == normalise(message)


def test_a_long_message_is_cut():
    """A group is one line."""
    assert 303 == len(normalise("x " * 1_000))


@pytest.mark.parametrize(
    ("expected", "trace"),
    [
        (None, None),
        (None, " \n"),
        ("ConnectException: outer", "org.apache.kafka.connect.errors.ConnectException: outer\n\tat a.B.c(D.java:1)\n"),
        ("Y: inner", "a.X: outer\n\tat a.B.c(D.java:1)\nCaused by: b.Y: inner\n\tat e.F(G.java:2)\n\t... 3 more\n"),
        (
            "Z: innermost",
            "a.X: o\nCaused by: b.Y: inner\n\tat e.F(G.java:2)\nCaused by: c.Z: innermost\n\t... 3 more\n",
        ),
        (
            "Y: inner",
            "a.X: o\nCaused by: b.Y: inner\n\tSuppressed: c.S: s\n\t\tat e.F(G.java:2)\n\tCaused by: d.T: t\n",
        ),
        ("Y: two lines Detail: more", "a.X: o\nCaused by: b.Y: two lines\n  Detail: more\n\tat e.F(G.java:2)\n"),
        ("NullPointerException", "java.lang.NullPointerException\n\tat a.B.c(D.java:1)\n"),
        ("Y: Failing row contains ([redacted])", "a.X: o\nCaused by: b.Y: Failing row contains (1, Ana).\n\tat x\n"),
    ],
)
def test_the_innermost_cause_in_one_line(expected, trace):
    """The last `Caused by:` at the start of a line, without its package and without data."""
    assert expected == cause_of(trace)
