"""Migrations against what a registry holds: the Avro change of each statement, judged before it is run.

Debezium registers a table's schema with the first row after a statement. Nobody knows between which statements rows
come, so each state is judged after the one before it, and after what is registered now: ADD COLUMN ... NOT NULL DEFAULT
and then DROP DEFAULT pass one by one, and are refused where no row came between. Between BEGIN and COMMIT only what has
come of them all counts, also where the migration itself writes rows: Debezium reads nullability and defaults from the
table as it is when it meets the row, which is after COMMIT.

A migration that has run already changes nothing that is registered and is silent. Where the files hold a table's
CREATE TABLE, its statements are replayed from there, and judged after the last one that comes to the registered schema.

The pure entry is `check_ddl`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.checks.avro.changes import Before, judge
from bot.checks.avro.read import link, read_part
from bot.checks.avro.schema import Schema
from bot.checks.ddl.actions import (
    Broken,
    ChangeEnum,
    ChangeKey,
    CreateDomain,
    CreateEnum,
    CreateOtherType,
    CreatePart,
    CreateTable,
    DropTable,
    NotUnderstood,
    RenameTable,
    SearchPath,
    Statement,
    Transaction,
)
from bot.checks.ddl.captured import adjusted, document_of, table_of
from bot.checks.ddl.debezium import UNKNOWN, Connector, Types
from bot.checks.ddl.foretell import (
    Remark,
    Table,
    apply,
    key_changed,
    keyed,
    read_table,
    write_table,
)
from bot.checks.ddl.rules import SEVERITIES
from bot.checks.ddl.statements import statements
from bot.checks.run import Registered
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Violation


@dataclass(frozen=True)
class Checked:
    """`subjects` are those that the migrations' tables feed."""

    violations: tuple[Violation, ...]
    notes: tuple[str, ...]
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """The state of a subject's table after statements that take effect together."""

    statements: tuple[Statement, ...]
    table: Table
    remarks: tuple[tuple[Statement, Remark], ...]


class _View:
    """One registered subject of a table, followed through the migrations."""

    def __init__(self, subject: Registered, connector: Connector, document: Mapping[str, Any], table: Table) -> None:
        self.subject, self.connector, self.document = subject, connector, document
        self.table = self.flushed = table
        self.steps: list[Step] = []
        self.pending: list[Statement] = []
        self.remarks: list[tuple[Statement, Remark]] = []
        self.is_replayed = False

    def flush(self) -> None:
        """Take what is pending as one step: it takes effect together."""
        if self.pending:
            self.steps.append(Step(tuple(self.pending), self.table, tuple(self.remarks)))
            self.pending, self.remarks, self.flushed = [], [], self.table

    def roll_back(self) -> None:
        self.pending, self.remarks, self.table = [], [], self.flushed


def check_ddl(
    files: Mapping[str, str],
    subjects: Iterable[Registered],
    settings: SchemaSettings,
    connectors: Sequence[Connector] = (),
    *,
    asked: bool = True,
) -> Checked:
    """Return what Debezium would register for the statements of `files` (path to text, in the order they run).

    `subjects` are the registry's, each with its versions oldest first; those that are no table's are left alone.
    `asked` is whether a registry told them: where none did, that no subject fits a table says nothing, and is not said.
    Without a connector whose `topic.prefix` fits, Debezium's own defaults are taken, and a note says so.
    """
    run = _Run(subjects, connectors, asked)
    for file, text in files.items():
        for statement in statements(text, file):
            run.take(statement)
        run.end_of_file()
    violations = [*run.violations]
    for view in run.all_views:
        violations += _judged(view, settings, run.notes)
    once = {(one.rule, one.file, one.line, one.column, one.path, one.message): one for one in reversed(violations)}
    ordered = sorted(once.values(), key=lambda one: (list(files).index(one.file), one.line, one.column, one.rule))
    touched = [view.subject.subject for view in run.all_views if view.steps]
    return Checked(tuple(ordered), tuple(dict.fromkeys(run.notes)), tuple(touched))


class _Run:
    """The state of a database as the statements leave it, as far as a schema depends on it."""

    def __init__(self, subjects: Iterable[Registered], connectors: Sequence[Connector], asked: bool) -> None:
        self.asked = asked
        self.tables: dict[tuple[str, str], list[_View]] = {}
        self.created: set[tuple[str, str]] = set()
        self.all_views: list[_View] = []
        self.types = Types()
        self.schemas, self.session_schemas = _DEFAULT_PATH, _DEFAULT_PATH
        self.parts: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self.in_transaction = False
        self.violations: list[Violation] = []
        self.notes: list[str] = []
        self.connector = connectors[0] if len(connectors) == 1 else UNKNOWN
        self.last: tuple[str, int] | None = None
        for subject in subjects:
            self._follow(subject, connectors)

    def _follow(self, subject: Registered, connectors: Sequence[Connector]) -> None:
        document = document_of(subject)
        parts = table_of(document) if document is not None else None
        if document is None or parts is None:
            return
        prefix, schema, name = parts
        connector = next((one for one in connectors if adjusted(one.prefix) == adjusted(prefix)), UNKNOWN)
        table = read_table(document, connector)
        if table is not None:
            view = _View(subject, connector, document, table)
            self.tables.setdefault((schema, name), []).append(view)
            self.all_views.append(view)

    def take(self, statement: Statement) -> None:
        action, target = statement.action, statement.target
        if self.last != (statement.file, statement.number) and not self.in_transaction:
            self.flush()
        self.last = (statement.file, statement.number)
        if isinstance(action, Broken):
            remedy = "Correct the SQL as PostgreSQL's psql reads it; the other statements were judged."
            self.say(statement, Remark("D002", "", f"{action.reason}: {statement.words}", remedy))
        elif isinstance(action, NotUnderstood):
            remedy = "Look at it: what it does to the schemas of the topics, this check does not say."
            self.say(statement, Remark("D001", "", f"{action.reason}: {statement.words}", remedy))
        elif isinstance(action, SearchPath):
            self.schemas = tuple(one for one in action.schemas if one not in ("", "$user")) or _DEFAULT_PATH
            if not action.is_local:
                self.session_schemas = self.schemas
        elif isinstance(action, Transaction):
            self.transaction(action)
        elif isinstance(action, CreateEnum):
            self.types = replace(self.types, enums={**self.types.enums, target.name: action.labels})
        elif isinstance(action, CreateDomain):
            filled = self.types.filled | (
                {target.name} if action.not_null or action.base.name in self.types.filled else set()
            )
            self.types = replace(self.types, domains={**self.types.domains, target.name: action.base}, filled=filled)
        elif isinstance(action, CreateOtherType):
            self.types = replace(self.types, others=self.types.others | {target.name})
        elif isinstance(action, ChangeEnum):
            self.say(statement, _ENUM)
        else:
            self.alter(statement)

    def transaction(self, action: Transaction) -> None:
        if not action.begins and not action.kept:
            for view in self.all_views:
                view.roll_back()
        self.flush()
        self.in_transaction = action.begins
        self.schemas = self.session_schemas

    def end_of_file(self) -> None:
        self.flush()
        self.in_transaction, self.schemas, self.session_schemas = False, _DEFAULT_PATH, _DEFAULT_PATH

    def alter(self, statement: Statement) -> None:
        action, key = statement.action, self.key(statement)
        views = self.views(statement)
        if isinstance(action, CreateTable):
            self.create(statement, action, key, views)
            return
        if isinstance(action, CreatePart):
            self.create_part(statement, action, key, views)
            return
        if not views and key not in self.created:
            if isinstance(action, DropTable) or not self.asked:
                return
            self.notes.append(
                f"{statement.file}:{statement.line}: no registered subject fits table {'.'.join(key)}: which connector "
                "captures it? Not judged"
            )
            return
        for view in views:
            if isinstance(action, RenameTable | DropTable):
                if not view.table.is_key:
                    view.remarks.append((statement, _of_table(view, action)))
                view.pending.append(statement)
                continue
            if isinstance(action, ChangeKey) and not view.connector.has_own_keys:
                self.change_key(statement, action, view, views)
            view.table, remarks = apply(view.table, action, view.connector, self.types, key)
            view.pending.append(statement)
            view.remarks += [(statement, remark) for remark in remarks]
        if isinstance(action, RenameTable):
            self.flush()
            self.tables.pop(key, None)
            self.created.add((action.to.schema or key[0], action.to.name))
        if not views and key in self.created:
            self.look_at_new(statement, key)

    def change_key(self, statement: Statement, action: ChangeKey, view: _View, views: list[_View]) -> None:
        """Follow the key's subject; where none is registered, the rows' own tells of it."""
        ours = [one for one in views if one.connector is view.connector]
        told = any(one.number == statement.number and remark.rule == "D009" for one, remark in view.remarks)
        if not told and (view.table.is_key or not any(one.table.is_key for one in ours)):
            view.remarks.append((statement, key_changed("")))
        rows = next((one.table for one in ours if not one.table.is_key), None)
        if rows is not None and view.table.is_key:
            rows, _ = apply(rows, action, view.connector, self.types, self.key(statement))
            view.table = keyed(view.table, rows, action, view.connector) or view.table

    def create_part(self, statement: Statement, action: CreatePart, key: tuple[str, str], views: list[_View]) -> None:
        whole = (action.of.schema or key[0], action.of.name)
        self.parts.setdefault(whole, []).append(key)
        if not views:
            self.created.add(key)
            self.notes.append(
                f"{statement.file}:{statement.line}: table {'.'.join(key)} is a part of {'.'.join(whole)}: its rows "
                "have a topic and subjects of their own, but for a publication with publish_via_partition_root=true"
            )

    def create(self, statement: Statement, action: CreateTable, key: tuple[str, str], views: list[_View]) -> None:
        if not views:
            if key not in self.created and self.asked:
                self.notes.append(
                    f"{statement.file}:{statement.line}: table {'.'.join(key)} is new: Debezium registers it with its "
                    "first row, there is nothing to compare with"
                )
            self.created.add(key)
            self.look_at_new(statement, key)
            return
        for view in views:
            if not action.is_complete:
                continue
            # What came before it in the files was another life of the table.
            view.steps.clear()
            view.remarks.clear()
            view.is_replayed = True
            view.table, remarks = apply(view.table, action, view.connector, self.types, key)
            view.pending = [statement]
            view.remarks = [(statement, remark) for remark in remarks]
            view.flush()

    def look_at_new(self, statement: Statement, key: tuple[str, str]) -> None:
        """Say what is to be said of columns of a table that has no schema yet."""
        empty = Table((), {"type": "record", "name": "Value", "fields": []})
        for remark in apply(empty, statement.action, self.connector, self.types, key)[1]:
            if remark.rule != "D001" or isinstance(statement.action, CreateTable):
                self.say(statement, remark)

    def views(self, statement: Statement) -> list[_View]:
        key = self.key(statement)
        found = self.tables.get(key) or self.tables.get((adjusted(key[0]), adjusted(key[1])), [])
        if isinstance(statement.action, CreateTable | CreatePart | RenameTable | DropTable):
            return found
        return [*found, *(view for part in self.parts.get(key, ()) for view in self.tables.get(part, ()))]

    def key(self, statement: Statement) -> tuple[str, str]:
        """The table's schema and name: without a schema it is the first of that name in the search path."""
        name = statement.target.name
        if statement.target.schema or isinstance(statement.action, CreateTable | CreatePart):
            return statement.target.schema or self.schemas[0], name
        known = (one for one in self.schemas if (one, name) in self.tables or (one, name) in self.created)
        return next(known, self.schemas[0]), name

    def say(self, statement: Statement, remark: Remark) -> None:
        self.violations.append(_violation(statement, remark, None))

    def flush(self) -> None:
        for view in self.all_views:
            view.flush()


_DEFAULT_PATH: tuple[str, ...] = ("public",)


# --- judging ---------------------------------------------------------------------------------------


def _judged(view: _View, settings: SchemaSettings, notes: list[str]) -> Iterator[Violation]:
    steps, subject = view.steps, view.subject
    if view.is_replayed:
        done = _applied(view)
        if done is None:
            notes.append(
                f"{subject.subject}: the table that these migrations create was never what is registered, so something "
                "else changed it: only their end is judged; give the new ones alone to have each judged"
            )
        steps = view.steps[len(view.steps) - 1 if done is None else done :]
    if not steps:
        return
    if not view.connector.is_known:
        notes.append(
            f"{subject.subject}: the settings of its connector are not known, Debezium's defaults are taken "
            "(decimal.handling.mode=precise, time.precision.mode=adaptive): write `connect: {url: ...}` into cdc.yml"
        )
    if view.connector.not_followed:
        notes.append(
            f"{subject.subject}: {', '.join(view.connector.not_followed)} of connector {view.connector.name} "
            "changes the schema in a way that is not foretold: compare with what a test environment registers"
        )
    registered = tuple(_versions(subject))
    before = registered
    last = write_table(read_table(view.document, view.connector) or steps[0].table)
    told: set[tuple[str, str]] = set()
    for step in steps:
        for statement, remark in step.remarks:
            yield _violation(statement, remark, subject.subject)
        new = write_table(step.table)
        if new == last or not step.table.columns:
            continue
        schema = _schema(new, step.statements[-1].file)
        last = new
        if schema is None:
            continue
        found = list(judge(schema, before, subject.level, settings, subject.subject))
        if len(before) > len(registered):
            known = told | {(one.rule, one.path) for one in found}
            all_at_once = judge(schema, registered, subject.level, settings, subject.subject)
            found += [one for one in all_at_once if (one.rule, one.path) not in known]
        for one in found:
            place = _cause(step, one.path)
            told.add((one.rule, one.path))
            yield replace(
                one,
                file=place.file,
                line=place.line,
                column=place.column,
                pointer=None,
                remedy=_REMEDIES.get(one.rule, one.remedy),
            )
        # Only the state before: history's rule (C018) would grow with the square of the statements.
        before = (*registered, Before(schema, f"{step.statements[-1].file}:{step.statements[-1].line}"))


def _applied(view: _View) -> int | None:
    """Return how many steps of a replayed table have run: to the last that comes to what is registered, or None."""
    registered = read_table(view.document, view.connector)
    for alike in (_exactly, _by_types):
        found = [index for index, step in enumerate(view.steps) if registered and alike(step.table, registered)]
        if found:
            return found[-1] + 1
    return None


def _exactly(table: Table, registered: Table) -> bool:
    return write_table(table) == write_table(registered)


def _by_types(table: Table, registered: Table) -> bool:
    one, other = ([(c.name, c.type.node, c.nullable) for c in each.columns] for each in (table, registered))
    return one == other


def _cause(step: Step, path: str) -> Statement:
    """Return the statement of a step that touched the column of a path, the last one where several or none did."""
    column = re.split(r"[.\[{]", path.removeprefix("before.").removeprefix("after."))[0]
    for statement in reversed(step.statements):
        action = statement.action
        names = {getattr(action, "name", None), getattr(action, "old", None), getattr(action, "new", None)}
        names.add(getattr(getattr(action, "column", None), "name", None))
        if column in names:
            return statement
    return step.statements[-1]


def _versions(subject: Registered) -> Iterator[Before]:
    for version in subject.versions:
        try:
            schema = _schema(json.loads(version.text), "")
        except (ValueError, RecursionError):
            schema = None
        if schema is not None:
            yield Before(schema, f"registry {subject.subject} v{version.version}")


def _schema(document: Mapping[str, Any], file: str) -> Schema | None:
    return link([read_part(document, file)])[0].get(file)


def _violation(statement: Statement, remark: Remark, subject: str | None) -> Violation:
    return Violation(
        remark.rule,
        SEVERITIES[remark.rule],
        statement.file,
        remark.path or str(statement.target),
        remark.message,
        remark.remedy,
        line=statement.line,
        column=statement.column,
        subject=subject,
    )


def _of_table(view: _View, action: RenameTable | DropTable) -> Remark:
    what = "its rows go to another topic" if isinstance(action, RenameTable) else "no row follows"
    return Remark(
        "D010",
        "",
        f"the topic of {view.subject.subject} ends here: {what}, and its readers wait without an error",
        "Move the readers first; then name the new table in table.include.list, or take the old one out of it.",
    )


_ENUM = Remark(
    "D005",
    "",
    "Debezium goes on registering the old list of labels until its task is restarted; rows carry the new label at once",
    "Restart the connector's task after the migration, and tell readers that match the labels.",
)

# What to write in SQL, where the rule itself would tell what to write in Avro.
_REMEDIES: Mapping[str, str] = {
    "C001": "Write ADD COLUMN ... without NOT NULL, or NOT NULL DEFAULT a constant.",
    "C002": "Leave out NOT NULL, or write DEFAULT a constant and keep that default.",
    "C003": "Add a column of the new type beside the old one, fill it, move the readers, then drop the old one.",
    "C005": "Add a column of the new type beside the old one, fill it, move the readers, then drop the old one.",
    "C008": "Add a column of the new type beside the old one, fill it, move the readers, then drop the old one.",
    "C009": "Add a column of the new type beside the old one, fill it, move the readers, then drop the old one.",
    "C010": "Leave the column nullable and write ADD CONSTRAINT ... CHECK (column IS NOT NULL): Avro sees no change.",
    "C011": "Move the readers first; under FORWARD a column may go only when it is nullable or has a default.",
    "C014": "Add a column of the new type beside the old one, fill it, move the readers, then drop the old one.",
    "C015": "Add a column of the new type beside the old one, fill it, move the readers, then drop the old one.",
    "C017": "Give the table with the new key a topic of its own, and move the readers there.",
}
