"""Migrations judged before they run: what is read of SQL, what is foretold, and what is said of it."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from bot.checks.avro.schema import MISSING
from bot.checks.ddl.actions import AddColumn, NotUnderstood, SqlType, Statement
from bot.checks.ddl.captured import uncovered
from bot.checks.ddl.check import Checked, check_ddl
from bot.checks.ddl.debezium import Connector, Mapped, NoMapping, Types, connector_of, default_of, mapped
from bot.checks.ddl.files import ways_back
from bot.checks.ddl.foretell import apply, read_table, write_table
from bot.checks.ddl.rules import RULES
from bot.checks.ddl.split import split
from bot.checks.ddl.statements import statements
from bot.checks.run import Registered, RegisteredVersion
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Rule, Severity

CONNECTOR = Connector("orders-source", "shop")
DECIMAL = {
    "type": "bytes",
    "scale": 2,
    "precision": 10,
    "connect.version": 1,
    "connect.parameters": {"scale": "2", "connect.decimal.precision": "10"},
    "connect.name": "org.apache.kafka.connect.data.Decimal",
    "logicalType": "decimal",
}


def rows(*fields: dict[str, Any], name: str = "shop.public.orders.Value") -> dict[str, Any]:
    """The flat schema that Debezium registers for a table."""
    space, _, short = name.rpartition(".")
    return {"type": "record", "name": short, "namespace": space, "fields": list(fields), "connect.name": name}


ORDERS = rows(
    {"name": "id", "type": "int"},
    {"name": "note", "type": ["null", "string"], "default": None},
    {"name": "amount", "type": DECIMAL},
    {"name": "tier", "type": {"type": "string", "connect.default": "basic"}, "default": "basic"},
)


def registered(document: dict[str, Any], level: str = "BACKWARD", subject: str = "") -> Registered:
    text = json.dumps(document)
    name = subject or document["connect.name"].rpartition(".")[0] + "-value"
    return Registered("", name, "http://registry", level, (RegisteredVersion(1, "AVRO", text),))


def check(sql: str, *subjects: Registered, connectors: Iterable[Connector] = (CONNECTOR,)) -> Checked:
    return check_ddl({"m.sql": sql}, subjects or (registered(ORDERS),), SchemaSettings(), tuple(connectors))


def rules(checked: Checked) -> list[str]:
    return [f"{one.rule} {one.line}:{one.column}" for one in checked.violations]


def actions(sql: str) -> list[Statement]:
    return list(statements(sql, "m.sql"))


def foretold(
    sql: str, document: dict[str, Any] = ORDERS, connector: Connector = CONNECTOR
) -> dict[str, dict[str, Any]]:
    """The fields after the statements, by name."""
    table = read_table(document, connector)
    assert table is not None
    for statement in actions(sql):
        table, _ = apply(table, statement.action, connector, Types(), ("public", "orders"))
    written = write_table(table)
    return {field["name"]: field for field in written["fields"]}


# --- SQL --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("select 1; select 2", ["select 1", "select 2"]),
        ("select ';''x'; -- no; more\nselect 2", ["select ';''x'", "select 2"]),
        ("/* a /* ; */ ; */ select 1", ["select 1"]),
        ("select E'\\';'; select 2", ["select E'\\';'", "select 2"]),
        ('select ";" from t; x', ['select ";" from t', "x"]),
        ("do $a$ begin; $b$;$b$ end $a$; x", ["do $a$ begin; $b$;$b$ end $a$", "x"]),
        ("\\set a ;\nselect 1", ["\\set a ;", "select 1"]),
        ("copy t from stdin;\n1;2\n\\.\nselect 1", ["copy t from stdin", "select 1"]),
        ("select 'x' \\gexec\nselect 2", ["select 'x'", "\\gexec", "select 2"]),
        ("select 1\\; select 2;", ["select 1", "select 2"]),
        ("-- +goose Up\nselect 1;\n-- +goose Down\nselect 2;", ["select 1"]),
        ("-- migrate:up\nselect 1;\n-- migrate:down\nselect 2;", ["select 1"]),
        ("-- +migrate Down\nselect 2;\n-- +migrate Up\nselect 1;", ["select 1"]),
        ("create function f() begin atomic select 1; select case when a then 2 end; end; x", None),
        ("\ufeffselect 1", ["select 1"]),
        ("", []),
        (";;", []),
    ],
)
def test_a_file_is_cut_as_postgresql_cuts_it(text: str, found: list[str] | None) -> None:
    """Semicolons in strings, names, comments, bodies and data end nothing."""
    pieces = list(split(text))
    assert (found if found is not None else [text[:-3], "x"]) == [piece.text for piece in pieces]
    assert all(len(piece.text) == len(piece.mask) for piece in pieces)


@pytest.mark.parametrize(
    "text", ["select 'x", 'select "x', "select $$x", "/* x", "select E'x\\'", "select (1;", "alter table orders add ("]
)
def test_what_never_ends_is_an_error_with_its_line(text: str) -> None:
    """D002 stands at the broken statement; the one before it is judged."""
    checked = check(f"alter table orders add column n int not null;\n{text}")
    assert any(one.rule == "D002" and one.line == 2 for one in checked.violations)


def test_what_is_nested_too_deep_stops_nothing() -> None:
    """A violation at its line, not a trace."""
    deep = f"alter table orders add a int default {'(' * 3000}1{')' * 3000};"
    assert ["D002 1:1", "C008 2:20"] == rules(check(f"{deep}\nalter table orders alter amount type numeric(12,4);"))


def test_each_change_of_one_alter_table_has_its_place() -> None:
    """Line and column of the change, not of the statement; a quoted comma splits nothing."""
    found = actions("begin;\n\nalter table only \"Sho,p\".t\n  add a text default ',',\n  drop b, add c numeric(3,1);")
    assert [(1, 1), (4, 3), (5, 3), (5, 11)] == [(one.line, one.column) for one in found]
    assert {"Sho,p.t"} == {str(one.target) for one in found[1:]}


@pytest.mark.parametrize(
    "sql",
    [
        "create index concurrently i on t (a)", "comment on column t.a is 'x'", "grant select on t to me",
        "alter table t add constraint c check (a > 0) not valid", "alter table t validate constraint c",
        "alter table t owner to me", "alter table t set (fillfactor = 70)", "alter table t replica identity full",
        "alter table t alter column a set statistics 100", "alter table t enable row level security",
        "create view v as select 1", "set lock_timeout = '2s'", "select setval('s', 1)", "create extension citext",
        "create function f() returns int language sql as $$ select 1; $$", "alter sequence s owned by t.a", "vacuum t",
        "alter table t add check (a > 0)", "create temp table x (a int)", "drop index i", "create schema app",
        "alter table t add exclude using gist (a with =)", "alter table t drop constraint fk_t_u", "truncate t",
        "select pg_catalog.setval('s', 1)",
        "alter table t drop constraint t_check", "alter table t alter a add generated always as identity",
        "create materialized view v as select 1", "alter type mood owner to me", "drop type mood",
    ],
)  # fmt: skip
def test_what_changes_no_schema_is_silent(sql: str) -> None:
    """Known not to touch a row's schema: not worth a line in the report."""
    assert [] == actions(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "do $$ begin alter table t drop a; end $$", "\\i more.sql", "drop schema app cascade", "call migrate()",
        "alter table t frobnicate", "drop type mood cascade", "create publication p for table t (a)",
        "alter table t alter a drop expression", "import foreign schema x from server y into z",
        "select * from partman.create_parent('t')", "select AddGeometryColumn('t', 'g', 4326, 'POINT', 2)",
        "drop sequence s cascade", "drop extension hstore cascade", "alter domain d set not null",
        "alter table t drop constraint one_of_ours", "select 'drop table t' \\gexec", "\\if :new",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_listed(sql: str) -> None:
    """Nothing is passed in silence."""
    assert [NotUnderstood] == [type(one.action) for one in actions(sql)] or ["D002 1:15"] == rules(check(sql))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("int array not null", SqlType("int4", (), True)), ("bit varying(9)", SqlType("varbit", (9,))),
        ("double precision", SqlType("float8")), ("numeric(5,-2)", SqlType("numeric", (5, 2046))),
        ("timestamp(3) with time zone", SqlType("timestamptz", (3,))), ("pg_catalog.int4", SqlType("int4")),
        ("character varying(5)[]", SqlType("varchar", (5,), True)), ('app."Mood"', SqlType("Mood")),
        ("national character varying(3)", SqlType("varchar", (3,))), ("float(10)", SqlType("float4")),
    ],
)  # fmt: skip
def test_types_are_read_as_postgresql_names_them(written: str, read: SqlType) -> None:
    """Whatever the spelling; what sqlglot misreads is put otherwise first."""
    [statement] = actions(f"alter table t add column a {written}")
    assert isinstance(statement.action, AddColumn)
    assert read == statement.action.column.type
    assert ("not null" in written) == statement.action.column.not_null


# --- Debezium ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "config", "avro"),
    [
        ("smallint", {}, {"type": "int", "connect.type": "int16"}),
        ("oid", {}, "long"),
        ("oid[]", {}, {"type": "array", "items": ["null", "long"]}),
        ("numeric(10,2)", {}, DECIMAL),
        ("numeric(10,2)", {"decimal.handling.mode": "string"}, "string"),
        ("numeric(10,2)", {"decimal.handling.mode": "double"}, "double"),
        ("bytea", {}, "bytes"),
        ("bytea", {"binary.handling.mode": "hex"}, "string"),
        ("hstore", {"hstore.handling.mode": "map"}, {"type": "map", "values": ["null", "string"]}),
        ("text[]", {}, {"type": "array", "items": ["null", "string"]}),
        ("box", {"include.unknown.datatypes": "true"}, "bytes"),
        ("timestamp", {"time.precision.mode": "isostring"}, "io.debezium.time.IsoTimestamp"),
        ("timestamp(3)", {}, "io.debezium.time.Timestamp"),
        ("timestamp", {}, "io.debezium.time.MicroTimestamp"),
        ("time(3)", {"time.precision.mode": "adaptive_time_microseconds"}, "io.debezium.time.MicroTime"),
        ("timestamp", {"time.precision.mode": "connect"}, "org.apache.kafka.connect.data.Timestamp"),
        ("timestamptz", {"time.precision.mode": "connect"}, "io.debezium.time.ZonedTimestamp"),
    ],
)
def test_types_follow_the_connectors_modes(sql: str, config: dict[str, str], avro: Any) -> None:
    """The table of measured types; the system test compares with the real connector."""
    connector = connector_of("c", {"connector.class": "io.debezium.connector.postgresql.PostgresConnector", **config})
    assert connector is not None
    [statement] = actions(f"alter table t add column a {sql}")
    assert isinstance(statement.action, AddColumn)
    found = mapped(statement.action.column.type, connector, Types())
    assert isinstance(found, Mapped)
    name = found.node.get("connect.name") if isinstance(found.node, dict) else None
    assert avro in (found.node, name)


@pytest.mark.parametrize(
    ("column", "default"),
    [
        ("int default -5", -5), ("int default '5'::int", 5), ("int default 1 + 1", MISSING),
        ("int default null", MISSING),
        ("text default 'a''b'", "a"), ("text default lower('X')", ""), ("text default 'a' || 'b'", "a"),
        ("bool default true", True), ("numeric(5,2) default 1.5", "\x00\x96"), ("numeric(5,2) default -1.25", "\x83"),
        ("numeric default 1.5", MISSING), ("date default '2020-01-02'", 18263), ("date default current_date", 0),
        ("timestamp default '2020-01-02 03:04:05.123456'", 1577934245123456),
        ("timestamptz default '2020-01-02 03:04:05+02'", "2020-01-02T01:04:05.000000Z"),
        ("timestamptz default now()", "1970-01-01T00:00:00.000000Z"), ("interval default '1 day'", 86400000000),
        ("uuid default gen_random_uuid()", "00000000-0000-0000-0000-000000000000"),
        ("jsonb default '{\"bb\":1,\"a\":2}'", '{"a": 2, "bb": 1}'), ("bytea default 'x'", MISSING),
        ("bit(8) default b'10000000'", "\x80"), ("citext default 'x'", MISSING), ("int[] default '{}'", MISSING),
        ("bigserial", 0), ("bigint generated always as identity", MISSING), ("bool default 1::bool", False),
        ("text default E'a\\tb'", "a\tb"), ("text default E'a\\nb'", MISSING), ("text default E'it\\'s'", "it"),
        ("bool default (not true)", False), ("bool default (1 = 1)", False), ("date default 'infinity'", 169560311),
        ("date default '-infinity'", -170999002), ("timestamp default '-infinity'", -9223372036854775808),
        ("timestamp(3) default 'infinity'", MISSING), ("timestamptz default 'infinity'", MISSING),
    ],
)  # fmt: skip
def test_defaults_are_those_that_debezium_registers(column: str, default: Any) -> None:
    """Constants in Avro's JSON, zero for calls, none for types whose defaults Debezium does not read."""
    [statement] = actions(f"alter table t add column a {column}")
    assert isinstance(statement.action, AddColumn)
    found = mapped(statement.action.column.type, CONNECTOR, Types())
    assert isinstance(found, Mapped)
    assert default == default_of(statement.action.column.default, found).value


@pytest.mark.parametrize(
    ("column", "setting", "default"),
    [
        ("timestamptz(3) default '2020-01-02 03:04:05.123456'", {}, "2020-01-02T03:04:05.123Z"),
        ("timestamptz(3) default '2020-01-02 03:04:05'", {}, "2020-01-02T03:04:05.000Z"),
        ("timestamptz(0) default '2020-01-02 03:04:05.6'", {}, "2020-01-02T03:04:05.6Z"),
        ("timestamptz(3) default now()", {}, "1970-01-01T00:00:00.000Z"),
        ("timestamptz(0) default now()", {}, "1970-01-01T00:00:00Z"),
        ("date default '2020-01-02'", {"times": "isostring"}, "2020-01-02Z"),
        ("date default '0001-01-01'", {"times": "isostring"}, "0001-01-01Z"),
        ("date default now()", {"times": "isostring"}, "1970-01-01Z"),
        ("time default '10:11:12.5'", {"times": "isostring"}, "10:11:12.5Z"),
        ("timestamp default '2020-01-02 03:04:05.6'", {"times": "isostring"}, "2020-01-02T03:04:05.6Z"),
        ("interval default '1 day'", {"intervals": "string"}, "P0Y0M1DT0H0M0S"),
        ("interval default '1.5 seconds'", {"intervals": "string"}, "P0Y0M0DT0H0M1.5S"),
        ("interval default '1 mon 02:03:04.5'", {"intervals": "string"}, "P0Y1M0DT2H3M4.5S"),
    ],
)
def test_defaults_of_time_are_written_as_the_modes_want_them(
    column: str, setting: dict[str, Any], default: str
) -> None:
    """All measured: digits by the column's precision, ISO with the mode."""
    connector = Connector("c", "shop", **setting)
    assert default == foretold(f"alter table orders add a {column}", connector=connector)["a"]["default"]


def test_a_type_is_known_from_the_migration_that_makes_it() -> None:
    """Enums and domains of the files; another type is neither guessed nor passed over."""
    sql = "create type mood as enum ('a', 'b');\nalter table orders add m mood;\nalter table orders add x shape;"
    checked = check(sql)
    assert ["D001 3:20"] == rules(checked)
    assert NoMapping(False) == mapped(SqlType("shape"), CONNECTOR, Types())


# --- foretelling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "column", "field"),
    [
        ("alter table orders add a int", "a", {"name": "a", "type": ["null", "int"], "default": None}),
        (
            "alter table orders add a int default 7",
            "a",
            {"name": "a", "type": [{"type": "int", "connect.default": 7}, "null"], "default": 7},
        ),
        ("alter table orders add a int not null", "a", {"name": "a", "type": "int"}),
        ("alter table orders alter note set not null", "note", {"name": "note", "type": "string"}),
        ("alter table orders alter id type bigint", "id", {"name": "id", "type": "long"}),
        ("alter table orders alter tier drop default", "tier", {"name": "tier", "type": "string"}),
        (
            "alter table orders alter tier drop not null",
            "tier",
            {"name": "tier", "type": [{"type": "string", "connect.default": "basic"}, "null"], "default": "basic"},
        ),
        (
            "alter table orders rename note to remark",
            "remark",
            {"name": "remark", "type": ["null", "string"], "default": None},
        ),
        ("alter table orders drop note", "note", None),
        ("alter table orders add area box", "area", None),
    ],
)  # fmt: skip
def test_a_field_becomes_what_debezium_registers(sql: str, column: str, field: dict[str, Any] | None) -> None:
    """Nullable is [null, T]; nullable with a default is [T, null], as Connect's converter writes it."""
    assert field == foretold(sql).get(column)


def test_fields_of_the_transform_stay_at_the_end() -> None:
    """`add.fields` of ExtractNewRecordState come after the columns, new ones too."""
    document = rows({"name": "id", "type": "int"}, {"name": "__op", "type": ["null", "string"], "default": None})
    assert ["id", "a", "__op"] == list(foretold("alter table orders add a int", document))


def test_the_envelope_has_the_row_twice() -> None:
    """The row is defined in `before` and used by name in `after`: one change."""
    row = {**ORDERS, "connect.name": "shop.public.orders.Value"}
    envelope = {
        **rows(name="shop.public.orders.Envelope"),
        "fields": [
            {"name": "before", "type": ["null", row], "default": None},
            {"name": "after", "type": ["null", "Value"], "default": None},
            {"name": "op", "type": "string"},
        ],
    }
    table = read_table(envelope, CONNECTOR)
    assert table is not None
    assert envelope == write_table(table)
    checked = check("alter table orders add a int not null", registered(envelope))
    assert "m.sql" == checked.violations[0].file


def test_a_definition_moves_on_when_its_column_goes() -> None:
    """VariableScaleDecimal is defined where it is first used, and by its name after that."""
    both = foretold("alter table orders add a numeric, add b numeric, add c numeric[]")
    assert "io.debezium.data.VariableScaleDecimal" == both["b"]["type"][1]
    document = rows(*both.values())
    one = foretold("alter table orders drop a", document)
    assert "record" == one["b"]["type"][1]["type"]


# --- judging ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_each_rule_has_an_example_that_fails_and_one_that_passes(rule: Rule) -> None:
    """What `cdc check explain` shows is true: by this rule, at its severity, and the errors of those it names."""
    for example, expected in ((rule.failing, {rule.severity}), (rule.passing, set())):
        assert example.old is not None
        subject = registered(json.loads(example.old))
        found = check_ddl({example.file: example.new}, (subject,), SchemaSettings(), (CONNECTOR,)).violations
        assert expected == {one.severity for one in found if one.rule == rule.id}
        errors = {one.rule for one in found if one.severity is Severity.ERROR} - {rule.id}
        assert (set(rule.also) if expected else set()) == errors


def test_a_statement_is_judged_at_its_line_with_sql_to_write() -> None:
    """A required column without a default: refused by BACKWARD, and the remedy is SQL."""
    checked = check("-- V2\nalter table orders\n  add column a int,\n  add column b int not null;")
    assert {"4:3"} == {f"{one.line}:{one.column}" for one in checked.violations}
    assert all("NOT NULL" in one.remedy and one.subject == "shop.public.orders-value" for one in checked.violations)


def test_a_scale_change_is_found_though_a_registry_takes_it() -> None:
    """C008: decimals of another scale are other numbers."""
    assert ["C008 1:20"] == rules(check("alter table orders alter amount type numeric(12,4)"))


def test_a_transaction_takes_effect_as_a_whole() -> None:
    """Between BEGIN and COMMIT no state is registered, also where the migration writes rows itself."""
    steps = ("alter table orders add a int not null", "alter table orders alter a set default 0")
    assert [] != rules(check(";".join(steps)))
    assert () == check(f"begin; {'; '.join(steps)}; commit").violations
    fill = "update orders set c = 'basic'"
    safe = (
        "alter table orders add c text", fill, "alter table orders alter c set not null",
        "alter table orders alter c set default 'basic'",
    )  # fmt: skip
    assert () == check(f"begin; {'; '.join(safe)}; commit").violations
    assert [] != rules(check(f"begin; {steps[0]}; {fill}; commit"))
    assert () == check(f"begin; {steps[0]}; rollback; select 1").violations


def test_statements_that_pass_one_by_one_are_judged_together_too() -> None:
    """NOT NULL DEFAULT, then DROP DEFAULT: with no row in between the registry sees a required field."""
    checked = check("alter table orders add a int not null default 1;\nalter table orders alter a drop default;")
    assert {2} == {one.line for one in checked.violations if one.severity == "error"}
    assert {"C001", "C002"} & {one.rule for one in checked.violations}


def test_a_migration_that_has_run_is_silent() -> None:
    """The whole history replayed: only what comes after the registered state is judged."""
    history = (
        "create table orders (id int primary key, note varchar(3), amount numeric(10,2) not null);"
        "alter table orders add tier text not null default 'basic';"
    )
    assert () == check(history).violations
    assert ["C008 2:20"] == rules(check(f"{history}\nalter table orders alter amount type numeric(12,4);"))
    assert () == check("alter table orders add column note text").violations


def test_a_history_that_never_was_what_is_registered_says_so() -> None:
    """A column came by other means: which statements have run is not known, and that is no secret."""
    history = "create table orders (id int primary key);\nalter table orders add grade text not null;"
    told = check(history)
    assert any("was never what is registered" in note for note in told.notes)
    assert ["2"] == sorted({rule.split()[1].split(":")[0] for rule in rules(told)})
    assert not any("never what" in note for note in check("alter table orders add grade text").notes)


def test_a_table_that_nobody_registered_is_told() -> None:
    """No subject fits: it is a note, with the question to answer."""
    [note] = check("alter table app.unknown add a int").notes
    assert "no registered subject fits table app.unknown: which connector captures it?" in note
    unasked = check_ddl({"m.sql": "alter table t add a int"}, (), SchemaSettings(), asked=False)
    assert () == unasked.notes
    [new] = check("create table fresh (a int); alter table fresh add b int").notes
    assert "table public.fresh is new" in new


def test_search_path_and_quotes_decide_the_table() -> None:
    """`Orders` in quotes is another table than orders; `SET search_path` holds to the end of its file."""
    app = registered(rows({"name": "id", "type": "int"}, name="shop.app.Orders.Value"))
    assert [] != rules(check('set search_path to app, public; alter table "Orders" add a int not null', app))
    assert [] == rules(check("set search_path to app, public; alter table Orders add a int not null", app))


def test_unknown_settings_are_said_and_excluded_columns_left_out() -> None:
    """Debezium's defaults stand in, not in silence; column.exclude.list keeps a column out of the schema."""
    [note] = check("alter table orders add a int", connectors=()).notes
    assert "Debezium's defaults are taken" in note
    connector = Connector("c", "shop", excluded=(r"public\.orders\.secret.*",))
    assert () == check("alter table orders add secret_a box not null", connectors=(connector,)).violations


def test_key_and_value_are_both_followed() -> None:
    """A column of the primary key changes two subjects."""
    key = registered(
        rows({"name": "id", "type": "int"}, name="shop.public.orders.Key"), "FULL", "shop.public.orders-key"
    )
    checked = check("alter table orders alter id type text", registered(ORDERS), key)
    assert {"shop.public.orders-value", "shop.public.orders-key"} <= {one.subject for one in checked.violations}


KEY = rows({"name": "id", "type": "int"}, name="shop.public.orders.Key")
KEYED = (registered(ORDERS), registered(KEY, "FULL", "shop.public.orders-key"))


@pytest.mark.parametrize(
    "sql",
    [
        "alter table orders drop constraint orders_pkey, add primary key (note, id)",
        'alter table orders drop constraint "PK_orders", add constraint pk_orders_2 primary key ("note", id)',
    ],
)
def test_a_new_primary_key_changes_both_subjects(sql: str) -> None:
    """The -key subject gets the columns in the key's order; in the rows' they are NOT NULL from then on."""
    checked = check(sql, *KEYED)
    keys = {one.rule for one in checked.violations if one.subject == "shop.public.orders-key"}
    assert {"C001", "C017", "D009"} == keys
    assert {"C010"} == {one.rule for one in checked.violations if one.subject == "shop.public.orders-value"}
    assert "string" == foretold(sql)["note"]["type"]


def test_a_key_that_the_connector_chooses_is_not_the_tables() -> None:
    """With message.key.columns the primary key decides nothing; that the key is not followed is a note."""
    config = {
        "connector.class": "x.PostgresConnector",
        "topic.prefix": "shop",
        "message.key.columns": "public.orders:note",
    }
    connector = connector_of("c", config)
    assert connector is not None
    checked = check("alter table orders add primary key (id, tier)", *KEYED, connectors=(connector,))
    assert () == checked.violations
    added = check("alter table orders add x int", *KEYED, connectors=(connector,))
    assert any("message.key.columns=public.orders:note of connector c" in note for note in added.notes)


def test_settings_that_are_not_followed_are_said() -> None:
    """A transform or mask that changes the schema is named; one that does not is not."""
    config = {
        "connector.class": "x.PostgresConnector", "topic.prefix": "shop", "transforms": "unwrap, route,cast",
        "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
        "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
        "transforms.cast.type": "org.apache.kafka.connect.transforms.Cast$Value",
        "column.mask.with.5.chars": "public.orders.note",
    }  # fmt: skip
    connector = connector_of("c", config)
    assert connector is not None
    assert ("column.mask.with.5.chars=public.orders.note", "transforms.cast.type=Cast$Value") == connector.not_followed


def test_names_that_avro_forbids_are_those_that_debezium_writes() -> None:
    """Measured with field.name.adjustment.mode as it is by default, and avro_unicode."""
    sql = 'alter table orders add "sp ace" text, add "2x" int, add "dollar$" text; alter table orders drop "sp ace"'
    assert ["_2x", "dollar_"] == list(foretold(sql))[-2:]
    in_code = Connector("c", "shop", names="avro_unicode")
    assert ["sp_u0020ace"] == list(foretold('alter table orders add "sp ace" text', connector=in_code))[-1:]


def test_a_domain_that_is_not_null_makes_its_columns_so() -> None:
    """PostgreSQL's driver tells such columns as NOT NULL (measured)."""
    made = "create domain email as text not null; create domain work as email; alter table orders add a work"
    assert {"C001"} == {one.rule for one in check(made).violations}
    assert () == check(made.replace("not null", "check (value is not null)")).violations


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("set search_path to other, app", "Orders"), ("set search_path = 'app'", "Orders"),
        ("set schema 'app'", "Orders"),
        ("select set_config('search_path', 'other, app', false)", "Orders"),
        ("set search_path to app; set search_path to default", None),
        ("set search_path to app; reset search_path", None),
        ("begin; set local search_path to app; commit", None), ("set local search_path to app", "Orders"),
    ],
)  # fmt: skip
def test_the_search_path_is_followed(path: str, table: str | None) -> None:
    """Its schemas in their order, until it is set otherwise; LOCAL to the end of the transaction."""
    app = registered(rows({"name": "id", "type": "int"}, name="shop.app.Orders.Value"))
    checked = check(f'{path}; alter table "Orders" add a int not null', app)
    assert (table is not None) == bool(checked.violations)


def test_a_partition_has_a_topic_of_its_own() -> None:
    """What is done to the whole is done to its parts; a new part is a note."""
    part = registered(rows({"name": "id", "type": "int"}, name="shop.public.orders_1.Value"))
    made = "create table orders_1 partition of orders for values in (1);"
    checked = check(f"{made} alter table orders add a int not null", part)
    assert {"shop.public.orders_1-value"} == {one.subject for one in checked.violations}
    [note] = check("alter table orders attach partition orders_2 default").notes
    assert "public.orders_2 is a part of public.orders: its rows have a topic" in note


@pytest.mark.parametrize("name", ["${app}", "${flyway:defaultSchema}", ":app", ':"app"'])
def test_a_placeholder_is_named(name: str) -> None:
    """Flyway's and psql's: what stands there decides the table."""
    [told] = check(f"alter table {name}.orders add a int not null").violations
    assert "D001" == told.rule and f"{name} stands for a name" in told.message


def test_the_way_back_is_no_migration() -> None:
    """By the names that tools give; a file that takes back nothing that is given is a migration as any."""
    files = ["m/1_a.down.sql", "m/1_a.up.sql", "m/V2__b.sql", "m/U2__undo.sql", "x/down.sql", "x/up.sql", "2.down.sql"]
    assert {"m/1_a.down.sql", "m/U2__undo.sql", "x/down.sql"} == set(ways_back(files))


def test_a_default_that_only_the_server_knows_counts_as_one() -> None:
    """DEFAULT 'today' is a day of its own each time: there is a default, its value is not foretold."""
    [told] = check("alter table orders add d date not null default 'today'").violations
    assert "D008" == told.rule and "is not foretold" in told.message


def test_what_connectors_register_and_nobody_covers_is_a_note() -> None:
    """Without --ddl the report says which subjects come from tables, and by which connector."""
    subjects = (registered(ORDERS), registered(rows(name="com.acme.Customer"), subject="customers-value"))
    [note] = uncovered(subjects, (), (CONNECTOR,))
    assert "registered by connector orders-source, not covered by this check: shop.public.orders-value" in note
    assert () == uncovered(subjects, ("shop.public.orders-value",))
