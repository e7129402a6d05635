"""The rules D001- as `cdc check explain` tells them, each with an example that fails and one that passes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bot.checks.violation import Example, Rule, Severity

_FILE = "migrations/V2__orders.sql"
_ROWS = """{"type": "record", "name": "Value", "namespace": "shop.public.orders",
 "connect.name": "shop.public.orders.Value",
 "fields": [{"name": "id", "type": "int"}, {"name": "note", "type": ["null", "string"], "default": null}]}"""


def _example(sql: str) -> Example:
    return Example(sql, _ROWS, "ddl", file=_FILE)


def _rule(
    id_: str, severity: Severity, title: str, why: str, failing: str, passing: str, also: tuple[str, ...] = ()
) -> Rule:
    return Rule(id_, severity, title, why, _example(failing), _example(passing), also)


RULES: tuple[Rule, ...] = (
    _rule(
        "D001",
        Severity.WARNING,
        "a statement that this check does not understand",
        "A statement that is passed over in silence looks like one that is safe. So each statement is judged, known to "
        "change no row's schema, or listed here: the code of a DO block, a type that is defined elsewhere, a column "
        "that the registered schema does not have.",
        "DO $$ BEGIN EXECUTE 'ALTER TABLE orders DROP COLUMN note'; END $$;",
        "ALTER TABLE orders ADD COLUMN remark text;",
    ),
    _rule(
        "D002",
        Severity.ERROR,
        "SQL that cannot be read",
        "A quote without an end, a ( without its ), or words that are no SQL of PostgreSQL. The statements around it "
        "are still judged; behind a quote without an end nothing can be told apart any more.",
        "ALTER TABLE orders ADD COLUMN remark text DEFAULT 'none;",
        "ALTER TABLE orders ADD COLUMN remark text DEFAULT 'none';",
    ),
    _rule(
        "D003",
        Severity.ERROR,
        "a numeric with a negative scale",
        "PostgreSQL keeps the scale -2 as 2046, and Debezium registers that number (measured, 3.5.0.Final): a decimal "
        "with a scale beyond its precision, which the Avro specification forbids and no reader can hold.",
        "ALTER TABLE orders ADD COLUMN total numeric(5,-2);",
        "ALTER TABLE orders ADD COLUMN total numeric(7,0);",
    ),
    _rule(
        "D004",
        Severity.WARNING,
        "a column is renamed",
        "Debezium tells no alias: in the schema one field goes and another comes. For a nullable column every level of "
        "a registry accepts that (measured), and each reader of the old name reads null from then on, with no error.",
        "ALTER TABLE orders RENAME COLUMN note TO remark;",
        "ALTER TABLE orders ADD COLUMN remark text;",
    ),
    _rule(
        "D005",
        Severity.NOTE,
        "the labels of an enum change",
        "An enum is a string in the schema, with its labels in the parameter `allowed`. Debezium reads the labels when "
        "its task starts: rows carry a new one at once, the registered list follows after a restart (measured).",
        "ALTER TYPE mood ADD VALUE 'curious';",
        "CREATE TYPE mood AS ENUM ('calm', 'curious');",
    ),
    _rule(
        "D006",
        Severity.WARNING,
        "a generated column",
        "PostgreSQL 17 and older send no generated columns in logical replication. The snapshot's schema has it, "
        "the first record after it registers one without: a field that comes and goes (measured on PostgreSQL 15).",
        "ALTER TABLE orders ADD COLUMN twice int GENERATED ALWAYS AS (id * 2) STORED;",
        "ALTER TABLE orders ADD COLUMN twice int;",
    ),
    _rule(
        "D007",
        Severity.WARNING,
        "a type that Debezium leaves out",
        "For box, line, tsquery, composite types and some more, Debezium has no mapping: the column is missing from "
        "every record, and nothing fails. include.unknown.datatypes=true sends most of them as they are.",
        "ALTER TABLE orders ADD COLUMN area box;",
        "ALTER TABLE orders ADD COLUMN area text;",
    ),
    _rule(
        "D008",
        Severity.NOTE,
        "Debezium registers another default than the column's",
        "A reader fills in the schema's default where an older record lacks the field. Debezium reads constants; of a "
        "call it makes zero (now() becomes 1970-01-01, gen_random_uuid() all zeros), of 'it''s' the text up to the "
        "quote, and of bytea, inet, citext or arrays no default at all (measured, 3.5.0.Final).",
        "ALTER TABLE orders ADD COLUMN placed_at timestamptz NOT NULL DEFAULT now();",
        "ALTER TABLE orders ADD COLUMN placed_at timestamptz;",
    ),
    _rule(
        "D009",
        Severity.WARNING,
        "the primary key changes",
        "The key of the records is the primary key. With another one a row goes to another partition, compaction "
        "keeps both keys, and an upsert sink writes a second row.",
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (id, note);",
        "ALTER TABLE orders ADD CONSTRAINT orders_note UNIQUE (note);",
        also=("C010",),
    ),
    _rule(
        "D010",
        Severity.WARNING,
        "a captured table is renamed or dropped",
        "The topic is named after the table. A renamed table goes on in another topic with its own schema, if the "
        "connector captures that name at all; the old topic stays, its readers are up to date and hear nothing more.",
        "ALTER TABLE orders RENAME TO purchases;",
        "CREATE VIEW purchases AS SELECT * FROM orders;",
    ),
)

SEVERITIES: Mapping[str, Severity] = MappingProxyType({rule.id: rule.severity for rule in RULES})
