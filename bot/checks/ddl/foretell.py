"""What a table's registered schema becomes after a statement: columns in, columns out, and what is worth a word.

A `Table` is read from the schema that the registry holds (the record of the rows: flat as `ExtractNewRecordState`
writes it, the `before` and `after` of Debezium's envelope, or the key), changed action by action, and written back as
the Avro schema that Debezium would register with the next row. Debezium registers nothing at the statement itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.checks.avro.schema import MISSING
from bot.checks.ddl.actions import (
    Action,
    AddColumn,
    ChangeKey,
    ChangeType,
    ColumnDefinition,
    CreateTable,
    Default,
    DropColumn,
    RenameColumn,
    SetDefault,
    SetNullable,
    SqlType,
)
from bot.checks.ddl.captured import kind_of
from bot.checks.ddl.debezium import (
    Connector,
    Mapped,
    NoMapping,
    Types,
    decimal_text,
    default_of,
    field_name,
    mapped,
    time_text,
)


@dataclass(frozen=True)
class Column:
    """A column that the schema has. `default` is Avro's JSON, `source` what the migration said it was."""

    name: str
    type: Mapped
    nullable: bool
    default: Any = MISSING
    source: Default | None = None
    attributes: Mapping[str, Any] | None = None

    def field(self) -> dict[str, Any]:
        node = self.type.node
        if self.default is not MISSING:
            node = {**(node if isinstance(node, dict) else {"type": node}), "connect.default": self.default}
        kept = {} if self.attributes is None else dict(self.attributes)
        if not self.nullable:
            kept |= {"name": self.name, "type": node}
            return kept if self.default is MISSING else {**kept, "default": self.default}
        if self.default is MISSING:
            return {**kept, "name": self.name, "type": ["null", node], "default": None}
        return {**kept, "name": self.name, "type": [node, "null"], "default": self.default}


@dataclass(frozen=True)
class Table:
    """`hidden` are columns that the table has and the schema has not; `added` the fields a transform puts at the end.

    `document` is the registered schema around the columns.
    """

    columns: tuple[Column, ...]
    document: Mapping[str, Any]
    added: tuple[Mapping[str, Any], ...] = ()
    hidden: frozenset[str] = frozenset()

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    @property
    def is_key(self) -> bool:
        return kind_of(self.document) == "Key"


@dataclass(frozen=True)
class Remark:
    """Something that the schema alone does not show: a rule, what is so, and what to write."""

    rule: str
    path: str
    message: str
    remedy: str


def read_table(document: Mapping[str, Any], connector: Connector) -> Table | None:
    """Return the table of a registered schema, None where it has no record of rows."""
    row = _row(document)
    if row is None:
        return None
    fields = [one for one in _expanded(row, {})["fields"] if isinstance(one, dict) and "name" in one]
    if row is not document:  # The transform puts its fields beside the row's only where it makes the row flat.
        return Table(tuple(_column(one) for one in fields), document)
    end = len(fields)
    while connector.added_prefix and end and str(fields[end - 1]["name"]).startswith(connector.added_prefix):
        end -= 1
    return Table(tuple(_column(one) for one in fields[:end]), document, tuple(fields[end:]))


def write_table(table: Table) -> dict[str, Any]:
    """Return the whole Avro schema: of types defined twice the second is a name, as Avro wants it."""
    fields = [*(column.field() for column in table.columns), *table.added]
    row = _row(table.document)
    assert row is not None
    changed = _named_once({**row, "fields": fields}, set())
    if row is table.document:
        return dict(changed)
    outer = [
        {**one, "type": ["null", changed]} if one.get("name") == "before" else one for one in table.document["fields"]
    ]
    return {**table.document, "fields": outer}


def _row(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if kind_of(document) != "Envelope":
        return document if isinstance(document.get("fields"), list) else None
    before: Mapping[str, Any] = next((one for one in document.get("fields", ()) if one.get("name") == "before"), {})
    branches = before.get("type")
    return next((one for one in branches if isinstance(one, dict)), None) if isinstance(branches, list) else None


def _column(field: Mapping[str, Any]) -> Column:
    kept = {key: value for key, value in field.items() if key not in ("name", "type", "default")}
    type_, nullable = field["type"], False
    if isinstance(type_, list) and "null" in type_:
        rest = [branch for branch in type_ if branch != "null"]
        type_, nullable = rest[0] if len(rest) == 1 else rest, True
    default = field.get("default", MISSING)
    if nullable and default is None:
        default = MISSING
    if isinstance(type_, dict) and "connect.default" in type_:
        type_ = {key: value for key, value in type_.items() if key != "connect.default"}
        type_ = type_["type"] if set(type_) == {"type"} else type_
    return Column(str(field["name"]), _registered_type(type_), nullable, default, attributes=kept)


_NO_DEFAULT = frozenset(
    f"io.debezium.{name}" for name in ("data.Ltree", "data.Tsvector", "time.ZonedTime", "data.VariableScaleDecimal")
)


def _registered_type(node: Any) -> Mapped:
    """What the registry tells of a column's type; text stands for all that become a string, jsonb for json."""
    if not isinstance(node, dict):
        return Mapped(node, node != "bytes")
    name = node.get("connect.name", "")
    is_money = name.endswith("data.Decimal") and "connect.decimal.precision" not in node.get("connect.parameters", {})
    takes = node.get("type") not in ("array", "map", "record") and name not in _NO_DEFAULT and not is_money
    return Mapped(node, takes, name == "io.debezium.data.Json")


# --- one action ------------------------------------------------------------------------------------


def apply(
    table: Table, action: Action, connector: Connector, types: Types, where: tuple[str, str]
) -> tuple[Table, tuple[Remark, ...]]:
    """Return the table after an action, and what is to be said of it. `where` is the table's schema and name."""
    if isinstance(action, CreateTable):
        return _created(table, action, connector, types, where)
    if isinstance(action, ChangeKey):
        return _filled(table, action, connector), ()
    if isinstance(action, AddColumn):
        return _added(table, action, connector, types, where)
    action = _as_registered(action, connector)
    name = action.old if isinstance(action, RenameColumn) else getattr(action, "name", None)
    if name is None:
        return table, ()
    if name in table.hidden:
        return _of_hidden(table, action, connector, where)
    old = table.column(name)
    if old is None:
        return table, () if table.is_key else _not_there(table, action, name, connector, where)
    if isinstance(action, DropColumn):
        return replace(table, columns=tuple(one for one in table.columns if one is not old)), ()
    if isinstance(action, RenameColumn):
        return _renamed(table, old, action, connector, where)
    remarks: tuple[Remark, ...] = ()
    new = old
    if isinstance(action, ChangeType):
        found, remarks = _mapped(name, action.type, connector, types)
        if found is None:
            rest = tuple(one for one in table.columns if one is not old)
            return replace(table, columns=rest, hidden=table.hidden | {name}), remarks
        source = old.source or _source(old)
        filled = old.nullable and action.type.name not in types.filled
        new = replace(old, type=found, nullable=filled, default=default_of(source, found).value if source else MISSING)
    elif isinstance(action, SetDefault):
        default, remarks = _default(name, action.default, old.type)
        new = replace(old, default=default, source=action.default)
    elif isinstance(action, SetNullable):
        new = replace(old, nullable=action.nullable)
    return replace(table, columns=tuple(new if one is old else one for one in table.columns)), remarks


def _as_registered(action: Action, connector: Connector) -> Action:
    """The action with its columns' names as the schema has them."""
    if isinstance(action, RenameColumn):
        return RenameColumn(field_name(action.old, connector), field_name(action.new, connector))
    if isinstance(action, DropColumn | ChangeType | SetDefault | SetNullable):
        return replace(action, name=field_name(action.name, connector))
    return action


def _filled(table: Table, action: ChangeKey, connector: Connector) -> Table:
    """The columns of a primary key are NOT NULL."""
    names = {field_name(name, connector) for name in action.columns or ()}
    return replace(
        table, columns=tuple(replace(one, nullable=False) if one.name in names else one for one in table.columns)
    )


def keyed(table: Table, rows: Table, action: ChangeKey, connector: Connector) -> Table | None:
    """Return a key of other columns, in the order of the PRIMARY KEY (measured); None where one is not there."""
    found = [rows.column(field_name(name, connector)) for name in action.columns or ()]
    columns = tuple(one for one in found if one is not None)
    return replace(table, columns=columns) if columns and len(columns) == len(found) else None


def _created(
    table: Table, action: CreateTable, connector: Connector, types: Types, where: tuple[str, str]
) -> tuple[Table, tuple[Remark, ...]]:
    keys = {column.name for column in table.columns} if table.is_key else None
    new = replace(table, columns=(), hidden=frozenset())
    remarks: list[Remark] = []
    for column in action.columns:
        if keys is None or column.in_key:
            new, said = _added(new, AddColumn(replace(column, in_key=False)), connector, types, where, keys is not None)
            remarks += said
    return new, tuple(remarks)


def _added(
    table: Table,
    action: AddColumn,
    connector: Connector,
    types: Types,
    where: tuple[str, str],
    to_key: bool = False,
) -> tuple[Table, tuple[Remark, ...]]:
    column = action.column
    if table.is_key and not to_key:
        return table, ()
    name = field_name(column.name, connector)
    hidden = replace(table, hidden=table.hidden | {name})
    if not table.is_key and not connector.captures(*where, column.name):
        return hidden, ()
    if column.is_generated:
        return hidden, (_generated(column),)
    if name in table.hidden:
        return table, ()
    found, remarks = _mapped(column.name, column.type, connector, types)
    if found is None:
        return hidden, remarks
    if (old := table.column(name)) is not None:
        if action.if_not_exists or old.type.node == found.node:
            return table, ()
        return table, (_other_type(column),)
    default, more = _default(column.name, column.default, found)
    if column.in_key:
        more = (*more, key_changed(column.name))
    nullable = not column.not_null and column.type.name not in types.filled
    new = Column(name, found, nullable, default, column.default)
    return replace(table, columns=(*table.columns, new)), (*remarks, *more)


def _renamed(
    table: Table, old: Column, action: RenameColumn, connector: Connector, where: tuple[str, str]
) -> tuple[Table, tuple[Remark, ...]]:
    rest = tuple(one for one in table.columns if one is not old)
    if not table.is_key and not connector.captures(*where, action.new):
        return replace(table, columns=rest, hidden=table.hidden | {action.new}), ()
    columns = tuple(replace(one, name=action.new) if one is old else one for one in table.columns)
    if table.is_key:
        return replace(table, columns=columns), ()
    return replace(table, columns=columns), (
        Remark(
            "D004",
            action.new,
            f"to readers {old.name} is gone and {action.new} is new: those of {old.name} read null or its default "
            "from now on, and nothing fails",
            f"Add {action.new} beside {old.name}, write both, move the readers, then drop {old.name}.",
        ),
    )


def _of_hidden(
    table: Table, action: Action, connector: Connector, where: tuple[str, str]
) -> tuple[Table, tuple[Remark, ...]]:
    """A column that is not in the schema: only a new type or a new name could bring it in."""
    if isinstance(action, DropColumn):
        return replace(table, hidden=table.hidden - {action.name}), ()
    if isinstance(action, RenameColumn) and not connector.captures(*where, action.old):
        hidden = table.hidden - {action.old} | {action.new}
        if not connector.captures(*where, action.new):
            return replace(table, hidden=hidden), ()
    elif isinstance(action, RenameColumn):
        return replace(table, hidden=table.hidden - {action.old} | {action.new}), ()
    elif not isinstance(action, ChangeType) or not connector.captures(*where, action.name):
        return table, ()
    return table, (
        Remark(
            "D001",
            getattr(action, "name", getattr(action, "new", "")),
            "it brings a column into the schema that was not in it, and where is not known",
            "Look at the schema that Debezium registers in a test environment.",
        ),
    )


def _not_there(
    table: Table, action: Action, name: str, connector: Connector, where: tuple[str, str]
) -> tuple[Remark, ...]:
    if not connector.captures(*where, name) or isinstance(action, DropColumn):
        return ()  # Dropped before, or never captured.
    if isinstance(action, RenameColumn) and table.column(action.new) is not None:
        return ()  # Renamed before.
    return (
        Remark(
            "D001",
            name,
            f"the registered schema has no field {name}: this statement cannot be judged",
            "Give the migration that adds the column to the same run, or write the column's name as it is registered.",
        ),
    )


def _mapped(name: str, sql: SqlType, connector: Connector, types: Types) -> tuple[Mapped | None, tuple[Remark, ...]]:
    found = mapped(sql, connector, types)
    if isinstance(found, NoMapping):
        if found.is_certain:
            return None, (
                Remark(
                    "D007",
                    name,
                    f"Debezium has no mapping for {sql}: {name} will be missing from every record, and nothing fails",
                    "Use a type that it maps (text, jsonb), or set include.unknown.datatypes=true on the connector.",
                ),
            )
        return None, (
            Remark(
                "D001",
                name,
                f"the type {sql} is not known to this check: what {name} becomes cannot be foretold",
                f"Give the migration with CREATE TYPE or CREATE DOMAIN {sql.name} to the same run, before this one.",
            ),
        )
    base = types.domains.get(sql.name, sql)
    if base.name == "numeric" and len(base.parameters) > 1 and base.parameters[1] > 1000:
        scale = base.parameters[1] - 2048
        return found, (
            Remark(
                "D003",
                name,
                f"numeric({base.parameters[0]},{scale}): Debezium registers scale {base.parameters[1]}, no reader has "
                "such a decimal",
                f"Write numeric({base.parameters[0] - scale},0), it holds the same numbers.",
            ),
        )
    return found, ()


def _default(name: str, default: Default | None, type_: Mapped) -> tuple[Any, tuple[Remark, ...]]:
    found = default_of(default, type_)
    if found.is_exact or default is None:
        return found.value, ()
    shown = "no default" if found.value is MISSING else f"the default {json.dumps(found.value, ensure_ascii=False)}"
    if not found.is_foretold:
        shown = "what PostgreSQL makes of it at the statement: which value that is, is not foretold"
    if default.is_call:
        remedy = "Expect it where a reader fills in the default: rows themselves carry the real value."
    else:
        remedy = "Write a plain constant, so that readers fill in what PostgreSQL would."
    return found.value, (Remark("D008", name, f"for DEFAULT {default.words} Debezium registers {shown}", remedy),)


def _generated(column: ColumnDefinition) -> Remark:
    return Remark(
        "D006",
        column.name,
        f"{column.name} is generated: PostgreSQL 17 and older do not send such columns, so it is in the schema of the "
        "snapshot and in no record that follows",
        "Compute it in the reader, or write it as a usual column by a trigger.",
    )


def _other_type(column: ColumnDefinition) -> Remark:
    return Remark(
        "D001",
        column.name,
        f"the registered schema has {column.name} already, as another type than {column.type}: the statement cannot be "
        "judged",
        "Write IF NOT EXISTS where the column may be there, or leave out migrations that have run.",
    )


def key_changed(path: str) -> Remark:
    return Remark(
        "D009",
        path,
        "the key of the records changes, and the schema of the topic's -key subject with it: a row goes to another "
        "partition, compaction keeps both keys, an upsert by key writes a second row",
        "Give the table with the new key a topic of its own, and move the readers there.",
    )


def _source(column: Column) -> Default | None:
    """The default of a registered column as PostgreSQL had it; None for one that cannot be told from Avro's."""
    if column.default is MISSING:
        return None
    node = column.type.node
    if (text := time_text(column.default, node)) is not None:
        return Default("", text)
    if isinstance(node, dict) and node.get("logicalType") == "decimal":
        return Default("", decimal_text(column.default, int(node.get("scale", 0))))
    if isinstance(node, dict) and node.get("connect.name"):
        return None
    value = column.default
    return Default("", str(value).lower() if isinstance(value, bool) else str(value))


# --- names -----------------------------------------------------------------------------------------


def _expanded(node: Any, known: dict[str, Any]) -> Any:
    """Put definitions in the place of names, so that a column can be dropped that defined one."""
    if isinstance(node, str):
        return known.get(node, node)
    if isinstance(node, list):
        return [_expanded(one, known) for one in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "record":
        inner = {**node, "fields": [{**one, "type": _expanded(one["type"], known)} for one in node["fields"]]}
        known[_full(node)] = inner
        return inner
    return {key: _expanded(one, known) if key in ("type", "items", "values") else one for key, one in node.items()}


def _named_once(node: Any, seen: set[str]) -> Any:
    if isinstance(node, list):
        return [_named_once(one, seen) for one in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "record":
        name = _full(node)
        if name in seen:
            return name
        seen.add(name)
        fields: Sequence[Any] = node["fields"]
        return {**node, "fields": [{**one, "type": _named_once(one["type"], seen)} for one in fields]}
    return {key: _named_once(one, seen) if key in ("type", "items", "values") else one for key, one in node.items()}


def _full(node: Mapping[str, Any]) -> str:
    return f"{node['namespace']}.{node['name']}" if node.get("namespace") else str(node.get("name"))
