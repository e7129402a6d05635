"""What `--ddl` foretells is what the real Debezium registers, statement by statement, with the registry's verdicts."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import psycopg
import pytest
import requests

from bot.checks.ddl.actions import ChangeKey, SqlType
from bot.checks.ddl.check import check_ddl
from bot.checks.ddl.debezium import Types, connector_of
from bot.checks.ddl.foretell import apply, keyed, read_table, write_table
from bot.checks.ddl.statements import statements
from bot.checks.run import Registered, RegisteredVersion
from bot.checks.settings import SchemaSettings
from tests.system.parts import Cluster, wait_until
from tests.system.pipeline import Pipeline

Document = dict[str, Any]

START = (
    "id int primary key, name text not null, note text, quantity int not null default 1, price numeric(10,2) not null, "
    "tier text not null default 'basic', seen timestamp(3), tags text[], mood mood"
)

# Statement, and the registry's verdict at BACKWARD and FORWARD; None: no new version.
STATEMENTS: tuple[tuple[str, tuple[bool, bool] | None], ...] = (
    ("ALTER TABLE orders ADD COLUMN remark text", (True, True)),
    ("ALTER TABLE orders ADD COLUMN region varchar(8) NOT NULL DEFAULT 'eu'", (True, True)),
    ('ALTER TABLE orders ADD COLUMN weight double precision DEFAULT 1.5, ADD COLUMN "Colour" text', (True, True)),
    ("ALTER TABLE orders ADD COLUMN placed_at timestamptz NOT NULL DEFAULT now()", (True, True)),
    ("ALTER TABLE orders ADD COLUMN total numeric(12,4) NOT NULL DEFAULT 2.5", (True, True)),
    ("ALTER TABLE orders ADD COLUMN ratio numeric, ADD COLUMN ref uuid, ADD COLUMN area box", (True, True)),
    (
        "ALTER TABLE orders ADD COLUMN required int NOT NULL DEFAULT 1; ALTER TABLE orders ALTER required DROP DEFAULT",
        (False, True),
    ),
    ("ALTER TABLE orders ALTER COLUMN required SET DEFAULT 3", (True, True)),
    ("ALTER TABLE orders ALTER COLUMN tier DROP DEFAULT", (True, True)),
    ("ALTER TABLE orders ALTER COLUMN quantity TYPE bigint", (True, False)),
    ("ALTER TABLE orders ALTER COLUMN price TYPE numeric(12,2)", (True, True)),
    ("ALTER TABLE orders ALTER COLUMN price TYPE numeric(12,4)", (True, True)),
    ("ALTER TABLE orders ALTER COLUMN seen TYPE timestamp(6)", (True, True)),
    ("ALTER TABLE orders ALTER COLUMN name DROP NOT NULL", (True, False)),
    ("ALTER TABLE orders ALTER COLUMN weight SET NOT NULL", (False, True)),
    ("ALTER TABLE orders RENAME COLUMN note TO comment", (True, True)),
    ("ALTER TABLE orders DROP COLUMN remark", (True, True)),
    ("ALTER TABLE orders ALTER COLUMN weight TYPE text USING weight::text", (False, False)),
    ("ALTER TABLE orders ALTER COLUMN region TYPE varchar(20)", None),
    ("ALTER TABLE orders DROP COLUMN tags, ADD COLUMN counts int[]", (True, True)),
)
OTHER_MODES = {"decimal.handling.mode": "string", "time.precision.mode": "connect"}
OTHER_STATEMENTS = (
    "ALTER TABLE orders ADD COLUMN total numeric(12,4) NOT NULL DEFAULT 2.5",
    "ALTER TABLE orders ADD COLUMN due date DEFAULT '2026-01-02', ADD COLUMN at time NOT NULL DEFAULT '10:11:12'",
    "ALTER TABLE orders ADD COLUMN made timestamp NOT NULL DEFAULT '2020-01-02 03:04:05.123'",
    "ALTER TABLE orders ALTER COLUMN price TYPE numeric(12,4)",
    "ALTER TABLE orders ALTER COLUMN seen TYPE timestamptz",
)

# What was once foretold wrongly: names, domains, types and defaults. One statement each, so that a failure shows which.
ODD_STATEMENTS = (
    'ALTER TABLE orders ADD COLUMN "sp ace" text, ADD COLUMN "2x" int, ADD COLUMN dollar$ int',
    "CREATE DOMAIN email AS text NOT NULL; ALTER TABLE orders ADD COLUMN mail email DEFAULT 'y', ADD COLUMN oids oid[]",
    "ALTER TABLE orders ADD COLUMN due date DEFAULT 'infinity', ADD COLUMN made timestamp DEFAULT '-infinity'",
    "ALTER TABLE orders ADD COLUMN label text DEFAULT E'a\\tb', ADD COLUMN lines text DEFAULT E'a\\nb'",
    "ALTER TABLE orders ADD COLUMN fresh boolean NOT NULL DEFAULT (NOT true)",
    "ALTER TABLE orders ADD COLUMN sent timestamptz(3) DEFAULT now(), ADD COLUMN read timestamptz(0) DEFAULT now()",
    "ALTER TABLE orders ADD COLUMN noon timestamptz(3) DEFAULT '2020-01-02 12:00:00.123456+00'",
    "ALTER TABLE orders ADD COLUMN since date DEFAULT '2020-01-02'; ALTER TABLE orders ALTER since TYPE timestamp",
    "UPDATE orders SET note = 'x'; ALTER TABLE orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (note, id)",
)
NO_TYPES = Types()
ODD_TYPES = Types(domains={"email": SqlType("text")}, filled=frozenset({"email"}))


class Table:
    """A table `orders` of a database of its own, with a Debezium source that registers whatever comes of it."""

    def __init__(self, cluster: Cluster, name: str, settings: Mapping[str, str]) -> None:
        self.cluster, self.name, self.rows = cluster, name, 0
        pipeline = Pipeline(cluster, name)
        self.config = {**pipeline.source_config(), "table.include.list": "public.orders", **settings}
        self.prefix, self.database = self.config["topic.prefix"], self.config["database.dbname"]
        self.subject, self.slot = f"{self.prefix}.public.orders-value", self.config["slot.name"]
        with cluster.postgres.connect() as connection:
            connection.execute(f"create database {self.database}".encode())
        self.connection = psycopg.connect(cluster.postgres.url(self.database), autocommit=True)
        self.run("create type mood as enum ('calm', 'curious')")
        self.run(f"create table orders ({START})")
        self.insert()
        url = f"{cluster.connect.url}/connectors/{name}/config"
        wait_until(lambda: requests.put(url, json=self.config, timeout=30).ok, f"Connect takes {name}")
        self.newest: tuple[int, Document] = wait_until(self.read_newer, f"{self.subject} registered", 60)

    def run(self, sql: str) -> None:
        self.connection.execute(sql.encode())

    def insert(self) -> None:
        """Write one row: Debezium registers nothing before it."""
        self.rows += 1
        given = {"id": str(self.rows), "name": "'n'", "price": "1"}
        if self.rows > 1 and self.column("required"):
            given["required"] = "1"
        if self.rows > 1 and self.column("tier"):
            given["tier"] = "'x'"
        if self.column("note"):
            given["note"] = "'m'"
        self.run(f"insert into orders ({', '.join(given)}) values ({', '.join(given.values())})")

    def column(self, name: str) -> bool:
        found = "select 1 from information_schema.columns where table_name = 'orders' and column_name = %s"
        return self.connection.execute(found, [name]).fetchone() is not None

    def read_newer(self, version: int = 0, subject: str = "") -> tuple[int, Document]:
        """Return the newest version and its schema; an empty one, which is false, where none is newer."""
        answer = requests.get(f"{self.registry}/subjects/{subject or self.subject}/versions/latest", timeout=10)
        if not answer.ok or answer.json()["version"] <= version:
            return cast(tuple[int, Document], ())
        return int(answer.json()["version"]), cast(Document, json.loads(answer.json()["schema"]))

    @property
    def registry(self) -> str:
        return self.cluster.registry.ccompat_url

    def after(self, sql: str, changes: bool) -> Document:
        """Run a statement and write a row; return what is registered then."""
        version = self.newest[0]
        self.run(sql)
        self.insert()
        if changes:
            self.newest = wait_until(lambda: self.read_newer(version), sql)
        return self.newest[1]

    def would_take(self, document: Document, level: str) -> bool:
        """The registry's own verdict on a schema after the registered ones, at a level."""
        setting = f"{self.registry}/config/{self.subject}"
        requests.put(setting, json={"compatibility": level}, timeout=10).raise_for_status()
        url = f"{self.registry}/compatibility/subjects/{self.subject}/versions/latest"
        answer = requests.post(url, json={"schema": json.dumps(document), "schemaType": "AVRO"}, timeout=10)
        requests.put(setting, json={"compatibility": "NONE"}, timeout=10).raise_for_status()
        answer.raise_for_status()
        return bool(answer.json()["is_compatible"])

    def remove(self) -> None:
        requests.delete(f"{self.cluster.connect.url}/connectors/{self.name}", timeout=30)
        self.connection.close()
        inactive = "select 1 from pg_replication_slots where slot_name = %s and active"
        with self.cluster.postgres.connect() as connection:
            wait_until(lambda: connection.execute(inactive, [self.slot]).fetchone() is None, f"{self.slot} inactive")
            connection.execute(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s", [self.slot]
            )
            connection.execute(f"drop database {self.database} with (force)".encode())


@pytest.fixture
def new_table(cluster: Cluster) -> Iterator[Any]:
    made: list[Table] = []

    def make(name: str, **settings: str) -> Table:
        made.append(Table(cluster, name, settings))
        return made[-1]

    yield make
    for table in made:
        table.remove()


def foretold(table: Table, sql: str, types: Types = NO_TYPES) -> Document:
    """What the check says that Debezium registers next, from what the registry holds now."""
    connector = connector_of(table.name, table.config)
    assert connector is not None
    state = read_table(table.newest[1], connector)
    assert state is not None
    for statement in statements(f"{sql};", "m.sql"):
        state, _ = apply(state, statement.action, connector, types, ("public", "orders"))
    return write_table(state)


def refusals(table: Table, sql: str, level: str) -> list[str]:
    """The errors of `--ddl` for one statement against the newest registered version."""
    versions = (RegisteredVersion(table.newest[0], "AVRO", json.dumps(table.newest[1])),)
    subject = Registered("", table.subject, "http://registry", level, versions)
    connector = connector_of(table.name, table.config)
    assert connector is not None
    found = check_ddl({"m.sql": f"{sql};"}, (subject,), SchemaSettings(), (connector,)).violations
    return [one.rule for one in found if one.rule.startswith("C") and one.severity == "error"]


def fields(document: Document) -> list[str]:
    """A line a field, so that a failure shows which."""
    return [json.dumps(field, sort_keys=True) for field in document["fields"]]


# Refused by us and taken by a registry, which compares names and wire types only.
OURS = {"C001", "C008", "C009", "C010"}


def test_what_was_foretold_is_what_debezium_registered(new_table: Any) -> None:
    """Twenty statements in a row, as JSON field by field; both verdicts of the registry are ours, or C008 and C009."""
    table = new_table("ddl")
    for sql, verdicts in STATEMENTS:
        expected = foretold(table, sql)
        if verdicts is not None:
            ours = {level: refusals(table, sql, level) for level in ("BACKWARD", "FORWARD")}
            theirs = tuple(table.would_take(expected, level) for level in ours)
            assert verdicts == theirs, sql
            for (level, rules), taken in zip(ours.items(), theirs, strict=True):
                assert set(rules) <= OURS if taken else rules, (sql, level, rules)
        assert fields(expected) == fields(table.after(sql, verdicts is not None)), sql
        assert expected == table.newest[1], sql
    assert ["C008"] == refusals(table, "ALTER TABLE orders ALTER COLUMN price TYPE numeric(12,6)", "BACKWARD")


def test_the_connectors_modes_are_followed(new_table: Any) -> None:
    """decimal.handling.mode=string and time.precision.mode=connect, read from the connector's config."""
    table = new_table("ddlmodes", **OTHER_MODES)
    for sql in OTHER_STATEMENTS:
        expected = foretold(table, sql)
        changes = expected != table.newest[1]
        assert fields(expected) == fields(table.after(sql, changes)), sql
        assert expected == table.newest[1], sql


def test_odd_names_types_defaults_and_a_new_key(new_table: Any) -> None:
    """What teams write seldom, and the -key subject after another PRIMARY KEY, its columns in that key's order."""
    table = new_table("ddlodd")
    subject = table.subject.replace("-value", "-key")
    version, key = table.read_newer(subject=subject)
    for sql in ODD_STATEMENTS:
        expected = foretold(table, sql, ODD_TYPES)
        assert expected != table.newest[1], sql
        assert fields(expected) == fields(table.after(sql, True)), sql
        assert expected == table.newest[1], sql
    connector = connector_of(table.name, table.config)
    assert connector is not None
    was, rows = read_table(key, connector), read_table(table.newest[1], connector)
    assert was is not None and rows is not None
    new = keyed(was, rows, ChangeKey(("note", "id")), connector)
    assert new is not None
    assert write_table(new) == wait_until(lambda: table.read_newer(version, subject), subject)[1]
