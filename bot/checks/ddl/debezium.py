"""What Debezium's PostgreSQL connector makes of a column: the Avro type and the default that it registers.

Measured with Debezium 3.5.0.Final on PostgreSQL 15 and Apicurio's Avro converter, type by type and mode by mode; the
system tests compare with the real thing. A column whose type has no mapping is absent from the schema.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from bot.checks.avro.schema import MISSING
from bot.checks.ddl.actions import Default, SqlType
from bot.patterns import read

UNWRAP = "ExtractNewRecordState"


@dataclass(frozen=True)
class Connector:
    """The settings of a connector that decide the schema, as Debezium spells their values.

    `is_known` is False for what stands in where nobody knows the connector's settings: Debezium's defaults.
    """

    name: str = ""
    prefix: str = ""
    decimals: str = "precise"
    times: str = "adaptive"
    binaries: str = "bytes"
    hstores: str = "json"
    intervals: str = "numeric"
    money_digits: int = 2
    unknown_types: bool = False
    excluded: tuple[str, ...] = ()
    included: tuple[str, ...] = ()
    added_prefix: str = "__"
    names: str = "avro"
    has_own_keys: bool = False
    not_followed: tuple[str, ...] = ()
    is_known: bool = True

    def captures(self, schema: str, table: str, column: str) -> bool:
        """Whether column.include.list and column.exclude.list let a column through; a list RE2 cannot read lets all."""
        name = f"{schema}.{table}.{column}"
        if self.included:
            return any(_fits(pattern, name) for pattern in self.included)
        return not any(_fits(pattern, name) for pattern in self.excluded)


UNKNOWN = Connector(is_known=False)


def connector_of(name: str, config: Mapping[str, str]) -> Connector | None:
    """Return a connector's settings, None where it is no Debezium source for PostgreSQL."""
    if not config.get("connector.class", "").endswith("PostgresConnector"):
        return None
    digits = config.get("money.fraction.digits", "2")
    unwraps = [
        alias.strip()
        for alias in config.get("transforms", "").split(",")
        if config.get(f"transforms.{alias.strip()}.type", "").endswith(UNWRAP)
    ]
    return Connector(
        name,
        config.get("topic.prefix", config.get("database.server.name", "")),
        config.get("decimal.handling.mode", "precise").lower(),
        config.get("time.precision.mode", "adaptive").lower(),
        config.get("binary.handling.mode", "bytes").lower(),
        config.get("hstore.handling.mode", "json").lower(),
        config.get("interval.handling.mode", "numeric").lower(),
        int(digits) if digits.isdecimal() else 2,
        config.get("include.unknown.datatypes", "false").lower() == "true",
        _list(config.get("column.exclude.list", "")),
        _list(config.get("column.include.list", "")),
        next((config.get(f"transforms.{alias}.add.fields.prefix", "__") for alias in unwraps), "__"),
        # Debezium's default is `avro` where it writes Avro (measured).
        {"none": "avro"}.get(names := config.get("field.name.adjustment.mode", "avro").lower(), names),
        bool(config.get("message.key.columns")),
        _not_followed(config),
    )


def _not_followed(config: Mapping[str, str]) -> tuple[str, ...]:
    """Return the settings, as one writes them, that change a schema in a way that is not foretold."""
    found = [f"{key}={value}" for key, value in sorted(config.items()) if value and _CHANGES_SCHEMA.match(key)]
    for alias in (one.strip() for one in config.get("transforms", "").split(",")):
        kind = config.get(f"transforms.{alias}.type", "").rpartition(".")[2]
        if kind and kind.partition("$")[0] not in _KEEPS_SCHEMA:
            found.append(f"transforms.{alias}.type={kind}")
    return tuple(found)


_CHANGES_SCHEMA = re.compile(
    r"(?:column|datatype)\.(?:mask|truncate|propagate)|converters$|message\.key\.columns$|value\.converter\.(?:connect"
    r"\.meta\.data|enhanced\.avro|scrub)"
)
_KEEPS_SCHEMA = frozenset(
    (
        UNWRAP, "RegexRouter", "TimestampRouter", "TopicRegexRouter", "Filter", "ContentBasedRouter", "InsertHeader",
        "DropHeaders", "HeaderFrom", "SetSchemaMetadata", "PartitionRouting", "ActivateTracingSpan",
        "SchemaChangeEventFilter",
    )
)  # fmt: skip


def field_name(column: str, connector: Connector) -> str:
    """Return a column's name in the schema: letters that Avro forbids are replaced, a digit is never the first."""
    in_code = connector.names == "avro_unicode"
    name = re.sub(r"[^A-Za-z0-9_]", lambda found: f"_u{ord(found[0]):04x}" if in_code else "_", column)
    return f"_{name}" if name[:1].isdigit() and not in_code else name


@dataclass(frozen=True)
class Types:
    """What the migration itself defines: enums by their labels, domains by their base, and types without a mapping.

    `filled` are the domains that are NOT NULL: so are their columns.
    """

    enums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    domains: Mapping[str, SqlType] = field(default_factory=dict)
    filled: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()


@dataclass(frozen=True)
class NoMapping:
    """Why a column will not be in the schema. `is_certain` False: the type is defined where this check did not look."""

    is_certain: bool


@dataclass(frozen=True)
class Mapped:
    """An Avro type without its null. `takes_default` False: Debezium reads no default of such a column.

    `scale` is that of a decimal written as a string: its default has as many digits. `fraction` counts those of the
    seconds of a timestamptz.
    """

    node: Any
    takes_default: bool = True
    is_jsonb: bool = False
    scale: int | None = None
    fraction: int = 6


def mapped(sql: SqlType, connector: Connector, types: Types) -> Mapped | NoMapping:
    """Return the Avro type that Debezium registers for a type of PostgreSQL."""
    name, base = sql.name, sql
    is_domain = name in types.domains
    for _ in range(32):  # A domain over a domain; one over itself cannot be made.
        if base.name not in types.domains:
            break
        base = types.domains[base.name]
    if is_domain and (sql.is_array or base.is_array):
        return _unknown_type(connector, sql.is_array)
    if is_domain:
        # The modifiers of a domain's base are not looked at where a column has none of its own.
        inner = _scalar(base, connector, types)
        return Mapped(inner.node, False) if isinstance(inner, Mapped) else inner
    scalar = _scalar(base, connector, types)
    if not sql.is_array:
        return scalar
    if name in _NO_ARRAY:
        return NoMapping(True)
    if name in _NO_MAPPING or name in types.others:
        return _unknown_type(connector, True)
    if isinstance(scalar, NoMapping):
        return scalar
    if name in types.enums:
        return Mapped({"type": "array", "items": scalar.node}, False)
    if name in ("bit", "varbit"):
        return Mapped(scalar.node, False)
    return Mapped({"type": "array", "items": ["null", scalar.node]}, False)


def _unknown_type(connector: Connector, is_array: bool = False) -> Mapped | NoMapping:
    if not connector.unknown_types:
        return NoMapping(True)
    node = "bytes" if connector.binaries == "bytes" else "string"
    return Mapped({"type": "array", "items": node} if is_array else node, False)


def _scalar(sql: SqlType, connector: Connector, types: Types) -> Mapped | NoMapping:
    name, digits = sql.name, sql.parameters
    if name in _PLAIN:
        return Mapped(_PLAIN[name])
    if name in _STRINGS:
        return Mapped("string", name in ("text", "varchar", "bpchar"))
    if name in _NAMED:
        return Mapped(_logical("string", _NAMED[name]), name not in ("tsvector", "ltree"), name == "jsonb")
    if name == "oid":
        return Mapped("long", False)
    if name in types.enums:
        return Mapped(_logical("string", "io.debezium.data.Enum", {"allowed": ",".join(types.enums[name])}))
    if name == "bit" and digits in ((), (1,)):
        return Mapped("boolean")
    if name in ("bit", "varbit"):
        return Mapped(_logical("bytes", "io.debezium.data.Bits", {"length": str(digits[0] if digits else 2**31 - 1)}))
    if name in ("numeric", "money"):
        return _decimal(name, digits, connector)
    if name == "bytea":
        return Mapped("bytes" if connector.binaries == "bytes" else "string", False)
    if name == "hstore":
        is_map = connector.hstores == "map"
        return Mapped({"type": "map", "values": ["null", "string"]} if is_map else _logical("string", _JSON), False)
    if name.startswith("interval"):
        if connector.intervals == "string":
            return Mapped(_logical("string", "io.debezium.time.Interval"))
        return Mapped(_logical("long", "io.debezium.time.MicroDuration"))
    if name in ("timestamptz", "timetz"):
        node = _logical("string", f"io.debezium.time.Zoned{_CAPITALS[name]}")
        return Mapped(node, name == "timestamptz", fraction=digits[0] if digits else 6)
    if name in ("date", "time", "timestamp"):
        return Mapped(_time(name, digits[0] if digits else 6, connector.times))
    if name == "point":
        return Mapped(_POINT, False)
    if name in _NO_MAPPING or name in types.others:
        return _unknown_type(connector)
    return NoMapping(False)


def _decimal(name: str, digits: tuple[int, ...], connector: Connector) -> Mapped:
    takes_default = name != "money" and bool(digits)
    if connector.decimals in ("string", "double"):
        scale = (digits[1] if len(digits) > 1 else 0) if digits and connector.decimals == "string" else None
        return Mapped(connector.decimals, takes_default, scale=scale)
    if name == "money":
        return Mapped(_fixed_point(64, connector.money_digits, {"scale": str(connector.money_digits)}), False)
    if not digits:
        return Mapped(_VARIABLE, False)
    precision, scale = digits[0], digits[1] if len(digits) > 1 else 0
    return Mapped(
        _fixed_point(precision, scale, {"scale": str(scale), "connect.decimal.precision": str(precision)}), True
    )


def _fixed_point(precision: int, scale: int, parameters: Mapping[str, str]) -> dict[str, Any]:
    node = _logical("bytes", "org.apache.kafka.connect.data.Decimal", parameters)
    return {**node, "scale": scale, "precision": precision, "logicalType": "decimal"}


def _time(name: str, digits: int, mode: str) -> dict[str, Any]:
    if mode == "isostring":
        return _logical("string", f"io.debezium.time.Iso{_CAPITALS[name]}")
    if mode == "connect":
        kind, logical = _CONNECT_TIMES[name]
        return {**_logical(kind, f"org.apache.kafka.connect.data.{_CAPITALS[name]}"), "logicalType": logical}
    if name == "date":
        return _logical("int", "io.debezium.time.Date")
    if mode == "nanoseconds":
        return _logical("long", f"io.debezium.time.Nano{_CAPITALS[name]}")
    in_micros = mode == "microseconds" or digits > 3 or (mode == "adaptive_time_microseconds" and name == "time")
    if in_micros:
        return _logical("long", f"io.debezium.time.Micro{_CAPITALS[name]}")
    return _logical("int" if name == "time" else "long", f"io.debezium.time.{_CAPITALS[name]}")


def _logical(kind: str, name: str, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    node: dict[str, Any] = {"type": kind, "connect.version": 1, "connect.name": name}
    if parameters:
        node["connect.parameters"] = dict(parameters)
    return node


_JSON = "io.debezium.data.Json"
_CAPITALS = {"date": "Date", "time": "Time", "timestamp": "Timestamp", "timestamptz": "Timestamp", "timetz": "Time"}
_CONNECT_TIMES = {"date": ("int", "date"), "time": ("int", "time-millis"), "timestamp": ("long", "timestamp-millis")}
_PLAIN: Mapping[str, Any] = {
    "int2": {"type": "int", "connect.type": "int16"},
    "int4": "int",
    "int8": "long",
    "float4": "float",
    "float8": "double",
    "bool": "boolean",
}
_STRINGS = frozenset(
    (
        "text", "varchar", "bpchar", "char", "name", "citext", "inet", "cidr", "macaddr", "macaddr8", "int4range",
        "int8range", "numrange", "tsrange", "tstzrange", "daterange",
    )
)  # fmt: skip
_NAMED = {
    "uuid": "io.debezium.data.Uuid", "json": _JSON, "jsonb": _JSON, "xml": "io.debezium.data.Xml",
    "ltree": "io.debezium.data.Ltree", "tsvector": "io.debezium.data.Tsvector",
}  # fmt: skip
_NO_ARRAY = frozenset(("xml", "point", "money", "interval"))
_NO_MAPPING = frozenset(
    (
        "box", "line", "polygon", "circle", "lseg", "path", "pg_lsn", "regclass", "regtype", "regproc", "xid", "xid8",
        "cid", "tid", "txid_snapshot", "pg_snapshot", "jsonpath", "tsquery", "int4multirange", "int8multirange",
        "nummultirange", "datemultirange", "tsmultirange", "tstzmultirange",
    )
)  # fmt: skip
_VARIABLE = {
    "type": "record", "name": "VariableScaleDecimal", "namespace": "io.debezium.data",
    "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
    "connect.doc": "Variable scaled decimal", "connect.version": 1,
    "connect.name": "io.debezium.data.VariableScaleDecimal",
}  # fmt: skip
_POINT = {
    "type": "record", "name": "Point", "namespace": "io.debezium.data.geometry",
    "fields": [
        {"name": "x", "type": "double"}, {"name": "y", "type": "double"},
        {"name": "wkb", "type": ["null", "bytes"], "default": None},
        {"name": "srid", "type": ["null", "int"], "default": None},
    ],
    "connect.doc": "Geometry (POINT)", "connect.version": 1, "connect.name": "io.debezium.data.geometry.Point",
}  # fmt: skip


@dataclass(frozen=True)
class DefaultRead:
    """What Debezium registers as the default, MISSING for none. Not `is_exact`: another value than PostgreSQL's own.

    Not `is_foretold`: PostgreSQL makes a constant of it that only the server knows, and `value` stands in for that.
    """

    value: Any = MISSING
    is_exact: bool = True
    is_foretold: bool = True


def default_of(default: Default | None, type_: Mapped) -> DefaultRead:
    """Return what Debezium reads of a default: the constant in Avro's JSON; for a call zero, and none for the rest."""
    if default is None or default.is_null:
        return DefaultRead()
    if not type_.takes_default:
        return DefaultRead(MISSING, False)
    kind, name = _kind(type_.node), _connect_name(type_.node)
    if default.literal is not None and name.startswith(_TIMES):
        return _cut(_point_in_time(default.literal, name, type_.node), type_)
    if default.literal is not None:
        if "\n" in default.literal and name != _JSON:
            return DefaultRead(MISSING, False)
        if default.is_cast and kind == "boolean":
            return DefaultRead(False, default.literal == "0")
        # It reads up to the first quote: 'it''s' becomes "it".
        literal = default.literal.partition("'")[0]
        value = _constant(_as_printed(literal, type_), type_.node)
        return DefaultRead(value, literal == default.literal and value is not MISSING)
    if kind == "boolean":
        return DefaultRead(False, False)
    if default.first is not None and not default.is_call and kind == "string" and not name:
        return DefaultRead(default.first.partition("'")[0], False)
    if default.is_call or (kind in ("int", "long", "string") and name.startswith(_TIMES)):
        if name == "io.debezium.data.Enum":
            return DefaultRead(MISSING, False)
        return _cut(DefaultRead(_zero(kind, name, default.words), False), type_)
    return DefaultRead(MISSING, False)


def _cut(found: DefaultRead, type_: Mapped) -> DefaultRead:
    """A timestamptz(3) has three digits, a timestamptz(0) those that there are (measured)."""
    if type_.fraction == 6 or not isinstance(found.value, str):
        return found
    second, _, digits = found.value.removesuffix("Z").partition(".")
    digits = digits[: type_.fraction] if type_.fraction else digits.rstrip("0")
    return replace(found, value=f"{second}.{digits}Z" if digits else f"{second}Z")


def _point_in_time(literal: str, name: str, node: Any) -> DefaultRead:
    value = _constant(literal, node)
    if value is not MISSING:
        return DefaultRead(value)
    word = literal.strip().lower()
    if name.endswith("Decimal"):
        return DefaultRead(MISSING, False)
    if word in ("infinity", "-infinity"):
        return DefaultRead(_INFINITY.get(name, {}).get(word, MISSING), False)
    return DefaultRead(_zero(_kind(node), name, literal), False, False)


# Measured: what is not here has no default.
_ENDS = {"infinity": 169560311, "-infinity": -170999002}
_INFINITY: Mapping[str, Mapping[str, Any]] = {
    "io.debezium.time.Date": _ENDS,
    "org.apache.kafka.connect.data.Date": _ENDS,
    "io.debezium.time.MicroTimestamp": {"infinity": -9223372036854775810, "-infinity": -9223372036854775808},
    "io.debezium.time.IsoDate": {"infinity": "+999999999-12-31Z", "-infinity": "-999999999-01-01Z"},
    "io.debezium.time.IsoTimestamp": {
        "infinity": "+999999999-12-31T23:59:59.999999999Z", "-infinity": "-999999999-01-01T00:00:00Z",
    },
}  # fmt: skip
_TIMES = ("io.debezium.time.", "org.apache.kafka.connect.data.")


def _zero(kind: str, name: str, words: str) -> Any:
    if name.endswith("ZonedTimestamp"):
        return "1970-01-01T00:00:00.000000Z"
    if name.endswith("IsoTimestamp"):
        return "1970-01-01T00:00:00Z"
    if name in _ZEROS_OF_TIME:
        return _ZEROS_OF_TIME[name]
    if name.endswith("data.Uuid"):
        return "00000000-0000-0000-0000-000000000000"
    if name == _JSON:
        return "{}"
    if name.endswith("Decimal"):
        return "\x00"
    zeros: Mapping[str, Any] = {"string": "", "int": 0, "long": 0, "float": 0.0, "double": 0.0, "boolean": False}
    if kind == "string" and words.upper() in ("CURRENT_USER", "SESSION_USER"):
        return words.upper()
    return zeros.get(kind, MISSING)


_ZEROS_OF_TIME = {
    "io.debezium.time.IsoDate": "1970-01-01Z",
    "io.debezium.time.IsoTime": "00:00:00Z",
    "io.debezium.time.Interval": "P0Y0M0DT0H0M0S",
}


def _constant(text: str, node: Any) -> Any:
    """Return a constant as Avro's JSON, MISSING where Debezium cannot read it."""
    kind, name = _kind(node), _connect_name(node)
    try:
        reader = _READERS.get(name)
        if reader is not None:
            return reader(text, node)
        if kind in ("int", "long"):
            value = Decimal(text)
            return int(value) if value == value.to_integral_value() else MISSING
        if kind in ("float", "double"):
            return text if text in ("NaN", "Infinity", "-Infinity") else float(text)
        if kind == "boolean":
            return text.lower() in ("t", "true", "y", "yes", "on", "1")
        return text if kind == "string" else MISSING
    except (ValueError, InvalidOperation, OverflowError):
        return MISSING


def time_text(value: Any, node: Any) -> str | None:
    """Return a registered default of a date or timestamp as PostgreSQL writes it, None for other types."""
    unit = _UNITS.get(_connect_name(node))
    if unit is None or not isinstance(value, int):
        return None
    try:
        return str(dt.datetime(1970, 1, 1) + value * unit)
    except OverflowError:
        return None


def _decimal_bytes(text: str, node: Any) -> Any:
    unscaled = int(Decimal(text).scaleb(node["scale"]).to_integral_value())
    size = (unscaled if unscaled >= 0 else ~unscaled).bit_length() // 8 + 1
    return unscaled.to_bytes(size, "big", signed=True).decode("latin-1")


def decimal_text(value: str, scale: int) -> str:
    """Return the number that the bytes of an Avro decimal's default stand for."""
    return str(Decimal(int.from_bytes(value.encode("latin-1"), "big", signed=True)).scaleb(-scale))


def _bits(text: str, _: Any) -> Any:
    number = int(text, 2)
    # Little-endian without trailing zero bytes.
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "little").decode("latin-1")


def _since(text: str) -> dt.timedelta:
    text = "1970-01-01" if text == "epoch" else text.replace("T", " ").strip()
    at = dt.datetime.fromisoformat(re.sub(r"(\.\d+)", lambda found: found[1][:7].ljust(7, "0"), text))
    return at - dt.datetime(1970, 1, 1, tzinfo=at.tzinfo and dt.UTC)


def _at(text: str) -> dt.datetime:
    return dt.datetime(1970, 1, 1) + _since(text)


def _iso(at: dt.datetime) -> str:
    """As Java writes it: no more digits of a second than there are."""
    text = at.isoformat()
    return f"{text.rstrip('0') if at.microsecond else text}Z"


def _in(unit: dt.timedelta) -> Callable[[str, Any], Any]:
    return lambda text, _: _since(text) // unit


def _of_day(unit: dt.timedelta) -> Callable[[str, Any], Any]:
    return lambda text, _: _since(f"1970-01-01 {text}") // unit


def _zoned(text: str, _: Any) -> Any:
    at = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + _since(text)
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"


_DURATION = re.compile(
    r"([+-]?\d+(?:\.\d+)?)\s*(years?|months?|mons?|weeks?|days?|hours?|minutes?|mins?|seconds?|secs?)"
)
_SECONDS = {
    "y": Decimal("31557600"), "mo": Decimal("2629800"), "w": Decimal(604800), "d": Decimal(86400), "h": Decimal(3600),
    "mi": Decimal(60), "s": Decimal(1),
}  # fmt: skip


def _duration(text: str, _: Any) -> Any:
    """A month is a twelfth of 365.25 days, as Debezium counts."""
    if text.strip() == "0":
        return 0
    rest, total = text.lower(), Decimal(0)
    for found in _DURATION.finditer(rest):
        unit = next(seconds for start, seconds in _SECONDS.items() if found[2].startswith(start))
        total += Decimal(found[1]) * unit
    rest = _DURATION.sub("", rest).strip()
    if clock := re.fullmatch(r"(-?)(\d+):(\d+)(?::(\d+(?:\.\d+)?))?", rest):
        seconds = int(clock[2]) * 3600 + int(clock[3]) * 60 + Decimal(clock[4] or 0)
        total += -seconds if clock[1] else seconds
    elif rest:
        return MISSING
    return int(total * 1_000_000)


def _iso_duration(text: str, _: Any) -> Any:
    """Months become years and seconds hours, as PostgreSQL keeps an interval; days stay days."""
    months, days, rest = 0, 0, []
    for found in _DURATION.finditer(text.lower()):
        number, unit = Decimal(found[1]), found[2]
        if unit[:2] in ("ye", "mo", "we", "da") and number != int(number):
            return MISSING
        months += int(number) * {"ye": 12, "mo": 1}.get(unit[:2], 0)
        days += int(number) * {"we": 7, "da": 1}.get(unit[:2], 0)
        rest += [] if unit[:2] in ("ye", "mo", "we", "da") else [found[0]]
    micros = _duration(" ".join([*rest, _DURATION.sub("", text.lower()).strip()]) or "0", None)
    if micros is MISSING or min(months, days, micros) < 0:
        return MISSING
    minutes, micros = divmod(micros, 60_000_000)
    seconds = f"{micros // 1_000_000}.{micros % 1_000_000:06}".rstrip("0").rstrip(".")
    return f"P{months // 12}Y{months % 12}M{days}DT{minutes // 60}H{minutes % 60}M{seconds}S"


def _as_printed(text: str, type_: Mapped) -> str:
    """The constant as PostgreSQL gives it back for the type of the column."""
    if type_.is_jsonb:
        return _jsonb(text)
    if type_.scale is None:
        return text
    try:
        return f"{Decimal(text):.{type_.scale}f}"
    except InvalidOperation:
        return text


def _jsonb(text: str) -> str:
    """As PostgreSQL prints a jsonb: keys by length, then by letter; text that is no JSON as it is."""
    try:
        return json.dumps(_ordered(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=lambda key: (len(key.encode()), key.encode()))}
    return [_ordered(one) for one in value] if isinstance(value, list) else value


_DAY, _MILLI, _MICRO = dt.timedelta(days=1), dt.timedelta(milliseconds=1), dt.timedelta(microseconds=1)
_CONNECT = "org.apache.kafka.connect.data."
_DEBEZIUM = "io.debezium.time."
_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    f"{_CONNECT}Decimal": _decimal_bytes,
    f"{_CONNECT}Date": _in(_DAY),
    f"{_CONNECT}Time": _of_day(_MILLI),
    f"{_CONNECT}Timestamp": _in(_MILLI),
    f"{_DEBEZIUM}Date": _in(_DAY),
    f"{_DEBEZIUM}Time": _of_day(_MILLI),
    f"{_DEBEZIUM}MicroTime": _of_day(_MICRO),
    f"{_DEBEZIUM}NanoTime": lambda text, node: _of_day(_MICRO)(text, node) * 1000,
    f"{_DEBEZIUM}Timestamp": _in(_MILLI),
    f"{_DEBEZIUM}MicroTimestamp": _in(_MICRO),
    f"{_DEBEZIUM}NanoTimestamp": lambda text, node: _in(_MICRO)(text, node) * 1000,
    f"{_DEBEZIUM}ZonedTimestamp": _zoned,
    f"{_DEBEZIUM}MicroDuration": _duration,
    f"{_DEBEZIUM}Interval": _iso_duration,
    f"{_DEBEZIUM}IsoDate": lambda text, node: f"{_at(text):%Y-%m-%d}Z".zfill(11),
    f"{_DEBEZIUM}IsoTime": lambda text, node: _iso(_at(f"1970-01-01 {text}")).partition("T")[2],
    f"{_DEBEZIUM}IsoTimestamp": lambda text, node: _iso(_at(text)),
    "io.debezium.data.Bits": _bits,
}


_UNITS: Mapping[str, dt.timedelta] = {
    f"{_CONNECT}Date": _DAY,
    f"{_CONNECT}Timestamp": _MILLI,
    f"{_DEBEZIUM}Date": _DAY,
    f"{_DEBEZIUM}Timestamp": _MILLI,
    f"{_DEBEZIUM}MicroTimestamp": _MICRO,
}


def _kind(node: Any) -> str:
    return str(node["type"]) if isinstance(node, dict) else str(node)


def _connect_name(node: Any) -> str:
    return str(node.get("connect.name", "")) if isinstance(node, dict) else ""


def _fits(pattern: str, name: str) -> bool:
    compiled = read(pattern, True)
    return compiled is not None and compiled.fullmatch(name) is not None


def _list(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())
