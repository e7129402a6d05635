"""What a migration does to tables, as values: one action each, with its place. Needs no parser of SQL."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Name:
    """A name as PostgreSQL folds it; `schema` None where the search path decides."""

    schema: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True)
class SqlType:
    """`name` in PostgreSQL's lower-case spelling without its schema: `numeric`, `timestamptz`, `mood`."""

    name: str
    parameters: tuple[int, ...] = ()
    is_array: bool = False

    def __str__(self) -> str:
        parameters = f"({','.join(map(str, self.parameters))})" if self.parameters else ""
        return self.name + parameters + "[]" * self.is_array


@dataclass(frozen=True)
class Default:
    """A default as PostgreSQL keeps it. `literal` is the constant, None for what is computed.

    `words` is the expression as written, `first` the first string in it, `is_call` whether a call or the
    clock gives it.
    """

    words: str
    literal: str | None = None
    first: str | None = None
    is_call: bool = False
    is_bits: bool = False
    is_null: bool = False
    is_cast: bool = False


@dataclass(frozen=True)
class ColumnDefinition:
    name: str
    type: SqlType
    not_null: bool = False
    default: Default | None = None
    in_key: bool = False
    is_generated: bool = False
    is_identity: bool = False


@dataclass(frozen=True)
class AddColumn:
    column: ColumnDefinition
    if_not_exists: bool = False


@dataclass(frozen=True)
class DropColumn:
    name: str


@dataclass(frozen=True)
class RenameColumn:
    old: str
    new: str


@dataclass(frozen=True)
class ChangeType:
    name: str
    type: SqlType


@dataclass(frozen=True)
class SetDefault:
    """None drops it."""

    name: str
    default: Default | None


@dataclass(frozen=True)
class SetNullable:
    name: str
    nullable: bool


@dataclass(frozen=True)
class CreateTable:
    """`is_complete` is False where its columns come from elsewhere: LIKE, AS SELECT, INHERITS."""

    columns: tuple[ColumnDefinition, ...]
    is_complete: bool = True


@dataclass(frozen=True)
class CreatePart:
    """A partition, made or attached. `of` is its table."""

    of: Name


@dataclass(frozen=True)
class DropTable:
    pass


@dataclass(frozen=True)
class RenameTable:
    """A new name or a new schema: another topic either way."""

    to: Name


@dataclass(frozen=True)
class ChangeKey:
    """The primary key, or the index that stands for it, is changed; `columns` are the new key's, None if not known."""

    columns: tuple[str, ...] | None = None


@dataclass(frozen=True)
class CreateEnum:
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ChangeEnum:
    pass


@dataclass(frozen=True)
class CreateDomain:
    base: SqlType
    not_null: bool = False


@dataclass(frozen=True)
class CreateOtherType:
    """A composite or range type: Debezium has no mapping for its columns."""


@dataclass(frozen=True)
class Transaction:
    """`begins`, or ends with `kept`."""

    begins: bool
    kept: bool = True


@dataclass(frozen=True)
class SearchPath:
    """`schemas` as written, none for the default. `is_local`: to the end of the transaction."""

    schemas: tuple[str, ...]
    is_local: bool = False


@dataclass(frozen=True)
class Broken:
    reason: str


@dataclass(frozen=True)
class NotUnderstood:
    reason: str


Action = (
    AddColumn | DropColumn | RenameColumn | ChangeType | SetDefault | SetNullable | CreateTable | CreatePart | DropTable
    | RenameTable | ChangeKey | CreateEnum | ChangeEnum | CreateDomain | CreateOtherType | Transaction
    | SearchPath | Broken | NotUnderstood
)  # fmt: skip


@dataclass(frozen=True)
class Statement:
    """One action. `target` is the table, or the type, that it acts on; `words` is its text on one line.

    `number` counts the file's statements: actions with the same one take effect together.
    """

    file: str
    line: int
    column: int
    words: str
    action: Action
    target: Name
    number: int = 0
