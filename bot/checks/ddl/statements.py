"""From the text of a migration to what it does to tables: one action each, with its place. PostgreSQL's dialect.

What changes no row's schema (indexes, grants, comments, data) is left out; what is not understood is an action of its
own, `NotUnderstood`, never nothing. An `ALTER TABLE` with several changes is several actions, so that one of them that
is not understood hides no other.

sqlglot (30.30) reads definitions of columns and what is altered of them. What it misreads is rewritten before
(`int array not null` loses its NOT NULL there), what it calls a `Command` is told by its first words.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace

import sqlglot
from sqlglot import exp

from bot.checks.ddl.actions import (
    Action,
    AddColumn,
    Broken,
    ChangeEnum,
    ChangeKey,
    ChangeType,
    ColumnDefinition,
    CreateDomain,
    CreateEnum,
    CreateOtherType,
    CreatePart,
    CreateTable,
    Default,
    DropColumn,
    DropTable,
    Name,
    NotUnderstood,
    RenameColumn,
    RenameTable,
    SearchPath,
    SetDefault,
    SetNullable,
    SqlType,
    Statement,
    Transaction,
)
from bot.checks.ddl.split import Piece, split

# It logs a warning for each statement that it does not parse; each is told as a finding.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


_NAME = r'(?:"x*"|[a-z_][\w$]*)'
_QUALIFIED = rf"(?:{_NAME}\s*\.\s*)?{_NAME}"

# The first words of what changes no row's schema. A longer one may still be told apart before this is asked.
_SILENT = re.compile(
    r"""(?:
    select|values|with|table|show|explain|analyze|vacuum|reindex|cluster|checkpoint|discard|truncate|lock|listen|notify
    |unlisten|grant|revoke|comment|security|set|reset|savepoint|release|declare|fetch|close|move|prepare|deallocate
    |refresh|reassign|load|insert|update|delete|merge|copy
    |create\s+(?:or\s+replace\s+)?(?:global\s+|local\s+)?(?:temp|temporary)\b
    |(?:create|alter|drop)\s+(?:or\s+replace\s+)?(?:unique\s+)?(?:recursive\s+)?(?:trusted\s+|procedural\s+|constraint\s+|event\s+|materialized\s+|foreign\s+data\s+|text\s+search\s+\w+|user\s+mapping)?\s*
       (?:index|sequence|view|function|procedure|routine|aggregate|trigger|rule|policy|role|user|group|extension|language
       |collation|conversion|operator|cast|statistics|server|wrapper|tablespace|subscription|transform|access|default
       |large|system|text|for)\b
    |create\s+schema|create\s+database|alter\s+database|alter\s+domain|alter\s+default|alter\s+type
    )\b""",
    re.VERBOSE,
)  # fmt: skip
_SILENT_ACTION = re.compile(
    r"""(?:
    owner\s+to|replica\s+identity\s+(?:full|default|nothing)|validate\s+constraint|enable|disable|set\s+(?:without|with|logged|unlogged|tablespace|access|\()
    |reset\s*\(|cluster\s+on|force\s+row|no\s+force|detach\s+partition|rename\s+constraint
    |add\s+(?:constraint\s+NAME\s+)?(?:check\b|unique\b|foreign\s+key|exclude\s+using|exclude\s*\()
    |alter\s+constraint|(?:no\s+)?inherit|not\s+of|of
    |alter\s+(?:column\s+)?NAME\s+(?:set\s+(?:statistics|storage|compression|\()|reset\s*\(|add\s+generated|set\s+generated|drop\s+identity|set\s+(?:start|increment|cache|restart|minvalue|maxvalue|no)\b|restart)
    )""".replace("NAME", _NAME),
    re.VERBOSE,
)  # fmt: skip
_ALTER_TABLE = re.compile(
    rf"alter\s+(?:foreign\s+)?table\s+(?:if\s+exists\s+)?(?:only\s+)?(?P<name>{_QUALIFIED})\s*\*?"
)
_ALTER_TYPE = re.compile(rf"alter\s+type\s+(?P<name>{_QUALIFIED})\s+(?P<rest>.*)", re.DOTALL)
_CREATE_TYPE = re.compile(rf"create\s+type\s+(?P<name>{_QUALIFIED})\s*(?P<rest>.*)", re.DOTALL)
_CREATE_DOMAIN = re.compile(rf"create\s+domain\s+(?P<name>{_QUALIFIED})\s+(?:as\s+)?", re.DOTALL)
_PATH = rf"(?:{_NAME}|'x*')"
_SEARCH_PATH = re.compile(
    rf"(?:set\s+(?:session\s+|(?P<local>local)\s+)?(?:search_path\s*(?:to|=)|schema)|reset\s+search_path)"
    rf"\s*(?P<names>{_PATH}(?:\s*,\s*{_PATH})*)?"
)
_SET_CONFIG = re.compile(
    r"select\s+(?:pg_catalog\s*\.\s*)?set_config\s*\(\s*'x{11}'\s*,\s*(?P<names>'x*')(?:\s*,\s*(?P<local>true))?"
)
_SET_SCHEMA = re.compile(rf"set\s+schema\s+(?P<name>{_NAME})")
_RENAME_TABLE = re.compile(rf"rename\s+to\s+(?P<name>{_NAME})")
_RENAME_COLUMN = re.compile(rf"rename\s+(?:column\s+)?(?P<old>{_NAME})\s+to\s+(?P<new>{_NAME})")
_DROP_TABLE = re.compile(rf"drop\s+table\s+(?:if\s+exists\s+)?(?P<names>{_QUALIFIED}(?:\s*,\s*{_QUALIFIED})*)")
_KEY = re.compile(
    rf"(?:add\s+(?:constraint\s+{_NAME}\s+)?primary\s+key\s*(?:\((?P<columns>[^)]*)\))?|replica\s+identity\s+using)"
)
_NOT_NULL = re.compile(rf"add\s+(?:constraint\s+{_NAME}\s+)?not\s+null\s+(?P<name>{_NAME})\s*(?:no\s+inherit\s*)?$")
_DROP_CONSTRAINT = re.compile(rf"drop\s+constraint\s+(?:if\s+exists\s+)?(?P<name>{_NAME})")
# What constraints are called by PostgreSQL, Rails, Django, SQLAlchemy and Entity Framework.
_KEY_NAME = re.compile(r"_pkey\d*$|(?:^|_)pkc?(?:_|$)|primary", re.IGNORECASE)
_OTHER_NAME = re.compile(
    r"_(?:fkey|key|excl|check|uniq|unique|chk|fk|uq|ck|ukey)\d*$|^(?:fk|uq|uk|ck|chk|check|unique|uniq|ix|excl)_"
    r"|_fk_|_uniq$|^fk_rails",
    re.IGNORECASE,
)
_PART = re.compile(
    rf"create\s+(?:unlogged\s+|foreign\s+)?table\s+(?:if\s+not\s+exists\s+)?(?P<name>{_QUALIFIED})\s+partition\s+of"
    rf"\s+(?P<of>{_QUALIFIED})"
)
_ATTACH = re.compile(rf"attach\s+partition\s+(?P<name>{_QUALIFIED})")
_CASCADES = re.compile(
    r"drop\s+(?:extension|sequence|function|procedure|routine|aggregate|operator|collation|language|cast)\b.*\bcascade\s*$",
    re.DOTALL,
)
_CALL = re.compile(rf"(?:select|perform)\s+(?:\*\s+from\s+)?(?:{_NAME}\s*\.\s*)?(?P<name>{_NAME})\s*\(")
_HARMLESS_CALL = re.compile(
    r"pg_|current|now$|set_?val$|nextval$|set_config$|count$|max$|min$|sum$|avg$|coalesce$|version$|format$|lower$|upper$"
    r"|exists$|to_|date_|array_|json|row_|string_|concat|length$|case$|cast$|distinct$|generate_series$|not$|unnest$"
    r"|txid_|quote_|round$|abs$|greatest$|least$|extract$|bool_"
)
# Of Flyway and Liquibase, and of psql; a slice (a[1:b]) or a cast (a::b) is none.
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}|(?<=[\s.]):(?:[a-z_]\w*|\"x*\")")
_INCLUDES = re.compile(r"\\(?:i|ir|include|include_relative|gexec|c|connect|if|elif|else)\b")


def _unsigned_scale(found: re.Match[str]) -> str:
    return f"{found[1]}{2048 - int(found[2])}"


# What sqlglot does not read, or misreads, and what it reads instead.
_REWRITES = (
    (re.compile(r"\bbit\s+varying\b"), "varbit"),
    (re.compile(r"\bnational\s+char(?:acter)?(\s+varying)?\b"), lambda found: "varchar" if found[1] else "char"),
    # PostgreSQL keeps a negative scale in eleven bits, and Debezium reads them as they are.
    (re.compile(r"(\b(?:numeric|decimal)\s*\(\s*\d+\s*,)\s*-\s*(\d+)"), _unsigned_scale),
    (re.compile(r"(?<=[\w)\]])\s+array\b(?!\s*[\[(])"), "[]"),
    # Debezium registers both alike.
    (re.compile(r"\boid(?=\s*\[)"), "bigint"),
    (re.compile(r"(?<=\))\s*virtual\b"), " stored"),
    (re.compile(r"\bstorage\s+(?:plain|external|extended|main|default)\b"), ""),
    (re.compile(r"\bcompression\s+\w+"), ""),
    (re.compile(r"(\bas\s+identity)\s*\([^()]*\)"), lambda found: found[1]),
    (re.compile(r"\bno\s+inherit\b"), ""),
)  # fmt: skip


def statements(text: str, file: str) -> Iterator[Statement]:
    """Yield what a migration does, in its order; nothing for what has no effect on a row's schema."""
    for number, piece in enumerate(split(text)):
        if piece.broken:
            yield _statement(file, piece, Broken(piece.broken), number=number)
            continue
        try:
            found = list(_read(file, piece))
        except RecursionError:  # sqlglot descends once a parenthesis.
            found = [_statement(file, piece, Broken("it is nested too deep to be read"))]
        for one in found:
            yield replace(one, number=number)


def _read(file: str, piece: Piece) -> Iterator[Statement]:
    mask = piece.mask.lower()

    def whole(found: re.Match[str], group: str) -> Name:
        return _name(piece.text[found.start(group) : found.end(group)])

    if mask.startswith("\\"):
        if _INCLUDES.match(mask):
            yield _statement(file, piece, NotUnderstood("psql's command runs what this check does not see"))
    elif found := _ALTER_TABLE.match(mask):
        table = whole(found, "name")
        for start, end in _commas(mask, found.end()):
            yield from _alteration(file, piece, mask, table, start, end)
    elif found := _PART.match(mask):
        yield _statement(file, piece, CreatePart(whole(found, "of")), whole(found, "name"))
    elif re.match(r"create\s+(?:unlogged\s+|foreign\s+)?table\b", mask):
        yield from _creation(file, piece)
    elif found := _DROP_TABLE.match(mask):
        for name in re.finditer(_QUALIFIED, found["names"]):
            start = found.start("names") + name.start()
            yield _statement(file, piece, DropTable(), _name(piece.text[start : start + len(name[0])]))
    elif found := _SEARCH_PATH.match(mask) or _SET_CONFIG.match(mask):
        written = piece.text[found.start("names") : found.end("names")] if found["names"] else ""
        names = tuple(_folded(name) for name in re.findall(r"\"[^\"]*\"|'[^']*'|[^\s,]+", written))
        if mask.startswith("select"):
            names = tuple(_folded(name.strip()) for name in names[0].split(","))
        default = names == ("default",) and "'" not in written and '"' not in written
        yield _statement(file, piece, SearchPath(() if default else names, found["local"] is not None))
    elif re.match(r"(?:begin|start\s+transaction)\b", mask):
        yield _statement(file, piece, Transaction(True))
    elif re.match(r"(?:commit|end|rollback|abort)\b(?!\s+(?:to|prepared|(?:work\s+|transaction\s+)?to)\b)", mask):
        yield _statement(file, piece, Transaction(False, mask.startswith(("commit", "end"))))
    elif found := _CREATE_TYPE.match(mask):
        yield _statement(file, piece, _new_type(piece, found), whole(found, "name"))
    elif found := _CREATE_DOMAIN.match(mask):
        base = _column_type(piece.text[found.end() :], mask[found.end() :])
        not_null = re.search(r"\bnot\s+null\b", re.sub(r"\([^()]*\)", "", mask)) is not None
        action = CreateDomain(base, not_null) if base else NotUnderstood("its type is not one that this check can read")
        yield _statement(file, piece, action, whole(found, "name"))
    elif found := _ALTER_TYPE.match(mask):
        if re.match(r"(?:add\s+value|rename\s+value)\b", found["rest"]):
            yield _statement(file, piece, ChangeEnum(), whole(found, "name"))
        elif not re.match(r"owner|set\s|(?:add|drop|alter|rename)\s+attribute", found["rest"]):
            yield _statement(file, piece, NotUnderstood("what it does to the columns of that type is not known"))
    elif re.match(r"drop\s+(?:type|domain)\b", mask) and not re.search(r"\bcascade\s*$", mask):
        pass  # PostgreSQL refuses it while a column has the type.
    elif re.match(r"alter\s+domain\b.*\b(?:set|drop)\s+not\s+null\s*$", mask, re.DOTALL):
        yield _statement(file, piece, NotUnderstood("each column of that domain becomes nullable or not with it"))
    elif _CASCADES.match(mask):
        yield _statement(file, piece, NotUnderstood("CASCADE may take columns or defaults with it"))
    elif (found := _CALL.match(mask)) and not _HARMLESS_CALL.match(found["name"]):
        yield _statement(file, piece, NotUnderstood("the function that it calls may change tables"))
    elif re.match(r"do\b", mask):
        yield _statement(file, piece, NotUnderstood("the code of a DO block is not read"))
    elif found := _PLACEHOLDER.search(mask):
        placeholder = piece.text[found.start() : found.end()]
        yield _statement(file, piece, NotUnderstood(f"{placeholder} stands for a name that this check does not have"))
    elif not _SILENT.match(mask) and mask.strip():
        yield _statement(file, piece, NotUnderstood("this check does not know it"))


def _alteration(file: str, piece: Piece, mask: str, table: Name, start: int, end: int) -> Iterator[Statement]:
    """One of the changes of an `ALTER TABLE`."""
    words = mask[start:end]

    def one(action: Action) -> Statement:
        return _statement(file, piece, action, table, start)

    def named(found: re.Match[str], group: str) -> str:
        return _folded(piece.text[start + found.start(group) : start + found.end(group)])

    if found := _SET_SCHEMA.match(words):
        yield one(RenameTable(Name(named(found, "name"), table.name)))
    elif found := _RENAME_TABLE.match(words):
        yield one(RenameTable(Name(table.schema, named(found, "name"))))
    elif found := _ATTACH.match(words):
        part = _name(piece.text[start + found.start("name") : start + found.end("name")])
        yield _statement(file, piece, CreatePart(table), part, start)
    elif _SILENT_ACTION.match(words):
        return
    elif found := _RENAME_COLUMN.match(words):
        yield one(RenameColumn(named(found, "old"), named(found, "new")))
    elif found := _KEY.match(words):
        written = piece.text[start + found.start("columns") : start + found.end("columns")] if found["columns"] else ""
        columns = tuple(_folded(name) for name in re.findall(r'"(?:[^"]|"")*"|[^\s,]+', written))
        yield one(ChangeKey(columns or None))
    elif found := _NOT_NULL.match(words):
        yield one(SetNullable(named(found, "name"), False))
    elif found := _DROP_CONSTRAINT.match(words):
        name = named(found, "name")
        if _KEY_NAME.search(name):
            yield one(ChangeKey(()))
        elif not _OTHER_NAME.search(name):
            yield one(NotUnderstood("whether it is the primary key or a NOT NULL is not known by its name"))
    elif re.match(rf"alter\s+(?:column\s+)?{_NAME}\s+drop\s+expression", words):
        yield one(NotUnderstood("a generated column becomes a usual one, and its type is not in the registry"))
    else:
        yield from (one(action) for action in _column_actions(piece.text[start:end], words))


def _column_actions(text: str, mask: str) -> Iterator[Action]:
    """What sqlglot reads of one change."""
    try:
        tree = sqlglot.parse_one(f"alter table t {_rewritten(text, mask)}", dialect="postgres")
    except sqlglot.errors.SqlglotError as error:
        yield Broken(_why(error))
        return
    if not isinstance(tree, exp.Alter):
        yield NotUnderstood("this check does not know this change")
        return
    for action in tree.args["actions"]:
        if isinstance(action, exp.ColumnDef):
            column = _definition(action)
            if column is None:
                yield NotUnderstood("the type of the column is not one that this check can read")
            else:
                yield AddColumn(column, bool(action.args.get("exists")))
        elif isinstance(action, exp.Drop) and action.args.get("kind") == "COLUMN":
            yield DropColumn(_identifier(action.find(exp.Identifier)))
        elif isinstance(action, exp.AlterColumn):
            yield _altered(action)
        elif not isinstance(action, exp.AddConstraint):
            yield NotUnderstood("this check does not know this change")


def _altered(action: exp.AlterColumn) -> Action:
    name = _identifier(action.this)
    dtype, default = action.args.get("dtype"), action.args.get("default")
    if dtype is not None:
        type_ = _type(dtype)
        return ChangeType(name, type_) if type_ else NotUnderstood("the new type is not one that this check can read")
    if default is not None:
        return SetDefault(name, _default(default))
    allow_null = action.args.get("allow_null")
    if allow_null is not None:
        return SetNullable(name, bool(allow_null))
    if action.args.get("drop"):
        return SetDefault(name, None)
    return NotUnderstood("this check does not know this change")


def _creation(file: str, piece: Piece) -> Iterator[Statement]:
    try:
        tree = sqlglot.parse_one(_rewritten(piece.text, piece.mask.lower()), dialect="postgres")
    except sqlglot.errors.SqlglotError as error:
        yield _statement(file, piece, Broken(_why(error)))
        return
    if not isinstance(tree, exp.Create):
        yield _statement(file, piece, NotUnderstood("this check cannot read this CREATE TABLE"))
        return
    schema = tree.this
    table = schema.this if isinstance(schema, exp.Schema) else schema
    parts = schema.expressions if isinstance(schema, exp.Schema) else []
    columns = [_definition(part) for part in parts if isinstance(part, exp.ColumnDef)]
    whole = all(columns) and tree.expression is None and not any(isinstance(part, exp.LikeProperty) for part in parts)
    whole = whole and bool(columns) and not tree.find(exp.InheritsProperty)
    keys = {_identifier(one) for key in tree.find_all(exp.PrimaryKey) for one in key.find_all(exp.Identifier)}
    known = tuple(
        ColumnDefinition(one.name, one.type, True, one.default, True, one.is_generated, one.is_identity)
        if one.name in keys
        else one
        for one in columns
        if one is not None
    )
    name = Name(_identifier(table.args["db"]) if table.args.get("db") else None, _identifier(table.this))
    yield _statement(file, piece, CreateTable(known, whole), name)


def _new_type(piece: Piece, found: re.Match[str]) -> Action:
    if not re.match(r"as\s+enum\b", found["rest"]):
        return CreateOtherType()
    labels = re.finditer(r"'x*'", found["rest"])
    offset = found.start("rest")
    return CreateEnum(
        tuple(piece.text[offset + one.start() + 1 : offset + one.end() - 1].replace("''", "'") for one in labels)
    )


def _definition(column: exp.ColumnDef) -> ColumnDefinition | None:
    type_ = _type(column.args.get("kind"))
    if type_ is None:
        return None
    kinds = [constraint.kind for constraint in column.args.get("constraints") or []]
    default = next((one.this for one in kinds if isinstance(one, exp.DefaultColumnConstraint)), None)
    in_key = any(isinstance(one, exp.PrimaryKeyColumnConstraint) for one in kinds)
    is_identity = any(isinstance(one, exp.GeneratedAsIdentityColumnConstraint) for one in kinds)
    serial = _SERIAL.get(type_.name)
    not_null = any(isinstance(one, exp.NotNullColumnConstraint) and not one.args.get("allow_null") for one in kinds)
    return ColumnDefinition(
        _identifier(column.this),
        SqlType(serial) if serial else type_,
        not_null or in_key or is_identity or serial is not None,
        Default("nextval(...)", is_call=True) if serial else None if default is None else _default(default),
        in_key,
        any(isinstance(one, exp.ComputedColumnConstraint) for one in kinds),
        is_identity,
    )


_SERIAL = {
    "serial": "int4", "serial4": "int4", "bigserial": "int8", "serial8": "int8", "smallserial": "int2",
    "serial2": "int2",
}  # fmt: skip
_SPELLINGS = {
    "int": "int4", "integer": "int4", "bigint": "int8", "smallint": "int2", "real": "float4",
    "double precision": "float8", "boolean": "bool", "decimal": "numeric", "char": "bpchar", "character": "bpchar",
    "character varying": "varchar", "bit varying": "varbit",
    "timestamp with time zone": "timestamptz", "time with time zone": "timetz",
}  # fmt: skip
_TYPE = re.compile(
    r'(?:[\w$]+\.|"[^"]+"\.)?(?P<name>"[^"]+"|[a-zA-Z_][\w$]*(?:\s+precision)?)(?P<rest>.*)', re.I | re.S
)


def _type(kind: exp.Expression | None) -> SqlType | None:
    """From sqlglot's type; its own spelling is the safest to read: types it does not know stand in it as written."""
    found = _TYPE.fullmatch(kind.sql("postgres")) if kind is not None else None
    if found is None:
        return None
    name = _folded(found["name"])
    rest = found["rest"]
    parameters = re.search(r"\(([\d\s,]+)\)|^ (\d+)$", rest)
    numbers = tuple(int(one) for one in re.findall(r"\d+", parameters[0])) if parameters else ()
    if name == "float":
        name, numbers = ("float4" if numbers and numbers[0] <= 24 else "float8"), ()
    quoted = found["name"].startswith('"')
    return SqlType(name if quoted else _SPELLINGS.get(name, name), numbers, "[" in rest)


def _column_type(text: str, mask: str) -> SqlType | None:
    try:
        tree = sqlglot.parse_one(f"alter table t add column c {_rewritten(text, mask)}", dialect="postgres")
    except sqlglot.errors.SqlglotError:
        return None
    action = tree.args["actions"][0] if isinstance(tree, exp.Alter) else None
    return _type(action.args.get("kind")) if isinstance(action, exp.ColumnDef) else None


def _default(node: exp.Expression) -> Default:
    """Return a default as PostgreSQL would write it back, as far as Debezium looks at it."""
    words = node.sql("postgres")
    inner, is_cast = node, False
    while isinstance(inner, exp.Cast | exp.Paren | exp.Collate):
        is_cast = is_cast or isinstance(inner, exp.Cast)
        inner = inner.this
    if isinstance(inner, exp.Null):
        return Default(words, is_null=True)
    if isinstance(inner, exp.Neg) and isinstance(inner.this, exp.Literal):
        return Default(words, f"-{inner.this.this}", is_cast=is_cast)
    if isinstance(inner, exp.ByteString):
        return Default(words, str(inner.this))
    if isinstance(inner, exp.BitString):
        return Default(words, str(inner.this), is_bits=True)
    if isinstance(inner, exp.Literal | exp.RawString):
        return Default(words, str(inner.this), is_cast=is_cast and not inner.args.get("is_string"))
    if isinstance(inner, exp.Boolean):
        return Default(words, "true" if inner.this else "false")
    if isinstance(inner, exp.Interval) and isinstance(inner.this, exp.Literal):
        unit = inner.args.get("unit")
        return Default(words, f"{inner.this.this}{f' {unit}'.lower() if unit else ''}")
    first = next((str(one.this) for one in node.find_all(exp.Literal) if one.is_string), None)
    return Default(words, None, first, isinstance(inner, exp.Func | exp.Dot) and not isinstance(inner, exp.Array))


_NOTHING = Name(None, "")


def _statement(
    file: str, piece: Piece, action: Action, target: Name = _NOTHING, start: int = 0, number: int = 0
) -> Statement:
    line, column = piece.place(start)
    words = " ".join(piece.text.split())
    return Statement(file, line, column, words if len(words) <= 100 else f"{words[:97]}...", action, target, number)


def _commas(mask: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield the parts between the commas that stand in no parentheses, without the blanks around them."""
    depth, begin = 0, start
    for at in range(start, len(mask) + 1):
        sign = mask[at] if at < len(mask) else ","
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth <= 0:
            part = mask[begin:at]
            yield begin + len(part) - len(part.lstrip()), begin + len(part.rstrip())
            begin = at + 1


def _rewritten(text: str, mask: str) -> str:
    """Return the text with what sqlglot misreads put otherwise; `mask` says what is quoted."""
    for pattern, instead in _REWRITES:
        for found in reversed(list(pattern.finditer(mask))):
            new = instead if isinstance(instead, str) else instead(found)
            text = text[: found.start()] + new + text[found.end() :]
            mask = mask[: found.start()] + new + mask[found.end() :]
    return text


def _name(text: str) -> Name:
    """Read a name, qualified or not, as written."""
    parts = [_folded(part) for part in re.findall(r'"(?:[^"]|"")*"|[^\s."]+', text)]
    return Name(parts[-2] if len(parts) > 1 else None, parts[-1] if parts else "")


def _folded(written: str) -> str:
    """PostgreSQL folds to lower case what is not quoted."""
    if written[:1] in "\"'" and len(written) > 1:
        return written[1:-1].replace(written[0] * 2, written[0])
    return written.lower()


def _identifier(node: exp.Expression | None) -> str:
    found = node if isinstance(node, exp.Identifier) else node.find(exp.Identifier) if node is not None else None
    if found is None:
        return ""
    return str(found.this) if found.args.get("quoted") else str(found.this).lower()


def _why(error: Exception) -> str:
    """The first line of sqlglot's message, without the terminal's escapes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines()[0].partition(". Line")[0]
