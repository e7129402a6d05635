"""The drill's source database: one table with columns, a write-ahead log, and a shop that writes to it.

Rows go into the log with the columns they were written with; a column's default is read
from the catalogue when the log is read, as Debezium does. So a bad column can be put
right by setting its default, while a changed type stays in the log.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.routing import Route

from bot.drill.loopback import Answer, Call, route

TYPES = ("integer", "bigint", "text", "boolean", "double precision")


@dataclass(frozen=True)
class Column:
    """A column as the catalogue knows it; `default` is None when it has none."""

    name: str
    type: str
    nullable: bool = False
    default: Any = None


@dataclass(frozen=True)
class Change:
    """One committed insert, with the columns of its moment."""

    lsn: int
    columns: tuple[Column, ...]
    values: Mapping[str, Any]


class SqlRefused(Exception):
    """What the database answers to a statement it cannot do, in PostgreSQL's words."""


class Database:
    """A table and its log, in memory; every method is one transaction."""

    def __init__(self, table: str, columns: Sequence[Column]) -> None:
        self.table = table
        self._lock = threading.Lock()
        self._columns = list(columns)
        self._log: list[Change] = []
        self._ids = itertools.count(1)
        self._stopped = threading.Event()
        self._shop: threading.Thread | None = None

    def columns(self) -> tuple[Column, ...]:
        """The catalogue now."""
        with self._lock:
            return tuple(self._columns)

    def log_from(self, lsn: int, limit: int) -> list[Change]:
        """At most `limit` changes from a log position on, each column with its default of now."""
        with self._lock:
            defaults = {column.name: column.default for column in self._columns}
            return [
                replace(
                    change,
                    columns=tuple(replace(one, default=defaults.get(one.name)) for one in change.columns),
                )
                for change in self._log[lsn : lsn + limit]
            ]

    def end_lsn(self) -> int:
        """Where the log ends."""
        with self._lock:
            return len(self._log)

    def add_column(self, column: Column, backfill: Any = None) -> None:
        """ALTER TABLE ... ADD COLUMN; with `backfill`, DEFAULT and DROP DEFAULT in one transaction."""
        with self._lock:
            if any(one.name == column.name for one in self._columns):
                raise SqlRefused(f'column "{column.name}" of relation "{self.table}" already exists')
            if column.type not in TYPES:
                raise SqlRefused(f'type "{column.type}" does not exist')
            if not column.nullable and column.default is None and backfill is None and self._log:
                raise SqlRefused(f'column "{column.name}" of relation "{self.table}" contains null values')
            self._columns.append(column)

    def alter_column(self, name: str, **fields: Any) -> None:
        """ALTER TABLE ... ALTER COLUMN: a new default (None drops it) or type."""
        with self._lock:
            for index, column in enumerate(self._columns):
                if column.name == name:
                    self._columns[index] = replace(column, **fields)
                    return
        raise SqlRefused(f'column "{name}" of relation "{self.table}" does not exist')

    def insert(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """INSERT rows; `id` is given out here. Returns how many were written."""
        with self._lock:
            columns = tuple(self._columns)
            written = []
            for row in rows:
                unknown = set(row) - {column.name for column in columns}
                if unknown:
                    raise SqlRefused(f'column "{min(unknown)}" of relation "{self.table}" does not exist')
                values: dict[str, Any] = {}
                for column in columns:
                    value = row.get(column.name, column.default)
                    if value is None and column.name == "id":
                        value = next(self._ids)
                    if value is None and not column.nullable:
                        raise SqlRefused(
                            f'null value in column "{column.name}" of relation "{self.table}" '
                            "violates not-null constraint"
                        )
                    values[column.name] = value
                written.append(values)
            for values in written:
                self._log.append(Change(len(self._log), columns, values))
            return len(written)

    def insert_many(self, count: int) -> int:
        """INSERT that many made-up customers, every column filled."""
        made = {"integer": 1, "bigint": 1, "boolean": True, "double precision": 1.0}
        columns = [column for column in self.columns() if column.name != "id"]
        rows = [
            {column.name: made.get(column.type, f"{column.name[0]}{number % 97}") for column in columns}
            for number in range(count)
        ]
        return self.insert(rows)

    # -- the shop ------------------------------------------------------------------------

    def open_shop(self, rows_per_s: float) -> None:
        """Have a shop insert customers all the time, until `close`."""

        def sell() -> None:
            while not self._stopped.wait(1 / rows_per_s):
                self.insert_many(1)

        self._shop = threading.Thread(target=sell, name="drill-shop", daemon=True)
        self._shop.start()

    def close(self) -> None:
        """Close the shop."""
        self._stopped.set()
        if self._shop is not None:
            self._shop.join(timeout=2)

    # -- HTTP ----------------------------------------------------------------------------

    def routes(self, prefix: str) -> list[Route]:
        """The database's own API: look, add a column, set or drop a default, change a type, insert."""
        here = f"{prefix}/tables/{self.table}"
        return [
            route("GET", here, lambda _: Answer(200, self._document())),
            route("POST", f"{here}/columns", self._answer(self._http_add)),
            route("PUT", f"{here}/columns/{{name}}/default", self._answer(self._http_default)),
            route(
                "DELETE",
                f"{here}/columns/{{name}}/default",
                self._answer(lambda call: self.alter_column(call.params["name"], default=None)),
            ),
            route("PUT", f"{here}/columns/{{name}}/type", self._answer(self._http_type)),
            route("POST", f"{here}/rows", self._answer(self._http_insert)),
        ]

    def _answer(self, run: Callable[[Call], object]) -> Callable[[Call], Answer]:
        def handler(call: Call) -> Answer:
            try:
                run(call)
            except SqlRefused as refused:
                return Answer(400, {"error": f"ERROR: {refused}"})
            return Answer(200, self._document())

        return handler

    def _document(self) -> dict[str, Any]:
        columns = [
            {"name": one.name, "type": one.type, "nullable": one.nullable, "default": one.default}
            for one in self.columns()
        ]
        return {"table": self.table, "columns": columns, "rows": self.end_lsn()}

    def _http_add(self, call: Call) -> None:
        asked = call.document()
        column = Column(
            str(asked.get("name")), str(asked.get("type")), bool(asked.get("nullable")), asked.get("default")
        )
        self.add_column(column, asked.get("backfill"))

    def _http_default(self, call: Call) -> None:
        self.alter_column(call.params["name"], default=call.document().get("default"))

    def _http_type(self, call: Call) -> None:
        self.alter_column(call.params["name"], type=str(call.document().get("type")))

    def _http_insert(self, call: Call) -> int:
        asked = call.document()
        if asked.get("count"):
            return self.insert_many(min(int(asked["count"]), 100_000))
        rows = asked.get("rows")
        return self.insert([row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else [])
