"""The rules A004-A112: what is wrong with one schema, whatever came before it.

The walk goes through what this file defines, in the order of the text; types of other files are theirs. `path` is the
dotted field, `[]` the items of an array, `{}` the values of a map. A schema that a connector registers (`connect.name`)
was written by nobody: what asks for documentation, names, tags or order of hand (A101, A103, A105, A108, A112) is not
asked of it.

`schema.named` may lack names (`read.incomplete`): what they would say is not known and not reported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from bot.checks.avro import defaults, logical, naming
from bot.checks.avro.schema import (
    PRIMITIVES,
    Array,
    Enumeration,
    Field,
    Fixed,
    Map,
    Missing,
    Named,
    Primitive,
    Record,
    Reference,
    Schema,
    Type,
    Union,
    namespace_of,
    unqualified,
)
from bot.checks.json_text import Key
from bot.checks.paths import matches
from bot.checks.settings import CanonicalField, SchemaSettings
from bot.checks.subjects import is_key, subject_of
from bot.checks.violation import Pointer, Severity, Violation

WARNINGS = frozenset({"A016", "A101", "A103", "A105", "A106", "A108", "A109", "A110", "A112"})
"""The rules that warn; all others of A001-A112 are errors."""

_FIELD_KEYS = frozenset({"name", "type", "doc", "default", "order", "aliases"})
_KEYS: Mapping[type, frozenset[str]] = {
    Primitive: frozenset({"type", "logicalType", "precision", "scale"}),
    Array: frozenset({"type", "items", "logicalType"}),
    Map: frozenset({"type", "values", "logicalType"}),
    Record: frozenset({"type", "name", "namespace", "doc", "aliases", "fields", "logicalType"}),
    Enumeration: frozenset({"type", "name", "namespace", "doc", "aliases", "symbols", "default", "logicalType"}),
    Fixed: frozenset({"type", "name", "namespace", "doc", "aliases", "size", "logicalType", "precision", "scale"}),
}
_TAG = re.compile(
    r"(?i)(?:^|[^a-z])(?:tags?|(?:is_?)?pii|gdpr)(?:$|[^a-z])|classif|sensitiv|privacy|personal|confidential"
)
_TRIVIAL = frozenset(
    {"todo", "tbd", "fixme", "na", "none", "null", "doc", "docs", "description", "field", "record", "enum"}
)
_NO_WORD = re.compile(r"[\W_]+")


def lint(schema: Schema, settings: SchemaSettings) -> tuple[Violation, ...]:
    """Return the violations of one file's schema, in the order of the text; types of other files are theirs."""
    walk = _Walk(schema, settings)
    walk.type_(schema.root, "", None, ())
    walk.endless()
    if settings.fields:
        walk.canonical_fields()
    return tuple(walk.violations)


class _Walk:
    def __init__(self, schema: Schema, settings: SchemaSettings) -> None:
        self.schema = schema
        self.settings = settings
        self.own = frozenset(schema.defined)
        self.seen: set[str] = set()
        self.violations: list[Violation] = []
        root = schema.named.get(schema.root.name) if isinstance(schema.root, Reference) else None
        self.by_hand = root is None or "connect.name" not in root.attributes
        self.namespace = next(
            (settings.namespaces[one] for one in settings.namespaces if matches(one, schema.file)), None
        )
        self.field_style = _compiled(settings.field_pattern)
        self.paths: dict[str, str] = {}

    def add(self, rule: str, path: str, pointer: Pointer, message: str, remedy: str) -> None:
        severity = Severity.WARNING if rule in WARNINGS else Severity.ERROR
        self.violations.append(Violation(rule, severity, self.schema.file, path, message, remedy, pointer=pointer))

    # Types -----------------------------------------------------------------------------------------------------------

    def type_(self, type_: Type, path: str, outer: str | None, tags: tuple[str, ...], default: bool = False) -> None:
        """Judge a type. `outer` is the namespace around it, None at the root; `default`: its field has one."""
        if isinstance(type_, Primitive):
            if type_.attributes:
                self.node(type_, path)
        elif isinstance(type_, Union):
            self.union(type_, path, outer, tags, default)
        elif isinstance(type_, Reference):
            definition = self.schema.named.get(type_.name)
            if definition is not None and type_.name in self.own and definition.pointer == type_.pointer:
                self.definition(definition, path, outer, tags)
        elif isinstance(type_, Array):
            self.node(type_, path)
            self.type_(type_.items, f"{path}[]", outer, tags)
        else:
            self.node(type_, path)
            self.type_(type_.values, f"{path}{{}}", outer, tags)

    def node(self, node: Primitive | Array | Map | Named, path: str) -> None:
        """Judge the attributes of a type's JSON object."""
        attributes = node.attributes
        if "logicalType" in attributes:
            for fault in logical.faults(node):
                self.add(fault.rule, path, fault.pointer, fault.message, fault.remedy)
        reserved = _KEYS[type(node)]
        if attributes.keys() <= reserved:
            return
        if "default" in attributes and "default" not in reserved and self.by_hand:
            words = "a default inside the type is ignored: it belongs to the field"
            remedy = f'Write "default": {_short(attributes["default"])} beside the field\'s "type".'
            self.add("A016", path, (*node.pointer, Key("default")), words, remedy)
        self.misspelt(attributes, reserved, node.pointer, path)

    def misspelt(self, attributes: Mapping[str, Any], reserved: frozenset[str], pointer: Pointer, path: str) -> None:
        for key in attributes.keys() - reserved:
            meant = naming.meant(key, reserved - attributes.keys())
            if meant is not None:
                words = f'"{key}" is no attribute of Avro and is ignored'
                self.add("A016", path, (*pointer, Key(key)), words, f'Did you mean "{meant}"?')

    def union(self, union: Union, path: str, outer: str | None, tags: tuple[str, ...], default: bool) -> None:
        kinds: dict[str, int] = {}
        if not union.branches:
            self.add(
                "A006", path, union.pointer, "an empty union has no value", 'Write ["null", "string"], or one type.'
            )
        for i, branch in enumerate(union.branches):
            if isinstance(branch, Union):
                words = "a union directly inside a union"
                self.add("A006", path, branch.pointer, words, "Write its branches into the outer one.")
            else:
                kind = _branch_name(branch)
                if kind in kinds:
                    words = f"{kind} stands twice in this union: a reader cannot tell the branches apart"
                    self.add("A006", path, branch.pointer, words, "Delete one, or wrap each in a record of its own.")
                kinds.setdefault(kind, i)
            self.type_(branch, path, outer, tags)
        if kinds.get("null", 0) and not default and self.by_hand:
            words = "null is not the first branch: only there it can be the default"
            raw = [branch for branch in union.branches if _branch_name(branch) != "null"]
            remedy = f'Write ["null", {", ".join(_json(one) for one in raw)}].'
            self.add("A105", path, union.branches[kinds["null"]].pointer, words, remedy)
        if len(kinds) - ("null" in kinds) > 1:
            shown = ", ".join(kind for kind in kinds if kind != "null")
            words = f"a union of {shown}: Flink and Iceberg make a struct with a column for each"
            remedy = "Use one record with optional fields, or a field for each."
            self.add("A106", path, union.pointer, _cut(words), remedy)

    # Named types -----------------------------------------------------------------------------------------------------

    def definition(self, definition: Named, path: str, outer: str | None, tags: tuple[str, ...]) -> None:
        if definition.name in self.seen:
            return
        self.seen.add(definition.name)
        self.paths[definition.name] = path
        self.node(definition, path)
        self.names(definition, path, outer)
        if isinstance(definition, Record):
            self.record(definition, path, tags)
        elif isinstance(definition, Enumeration):
            self.enumeration(definition, path)

    def names(self, definition: Named, path: str, outer: str | None) -> None:
        """A005, A102, A103 and A110 for the name, the namespace and the aliases of a type."""
        attributes, pointer = definition.attributes, definition.pointer
        name = str(attributes["name"])
        space = attributes.get("namespace")
        own = namespace_of(definition.name)
        short = unqualified(name)
        at_name = (*pointer, "name")
        if not naming.is_legal_full(name):
            good = ".".join(naming.legal(part) for part in name.split(".") if part)
            self.add("A005", path, at_name, f"{_quoted(name)} is not a legal name", f'Write "{good}".')
        elif short in PRIMITIVES:
            words = f'"{short}" is a primitive type: no other type may have its name'
            self.add("A005", path, at_name, words, f'Write "{naming.pascal_case(short)}Value", or another name.')
        elif self.by_hand and not _compiled(self.settings.type_pattern).match(short):
            words = f"{short} does not match {self.settings.type_pattern}"
            good = naming.pascal_case(short)
            alias = f', and "aliases": ["{short}"] once it is registered'
            self.add("A103", path, at_name, f"type name {words}", f'Write "{good}"{alias}.')
        if "namespace" in attributes and not (isinstance(space, str) and (not space or naming.is_legal_full(space))):
            words = f"{_short(space)} is not a legal namespace"
            self.add("A005", path, (*pointer, "namespace"), words, 'Write "namespace": "company.domain".')
        elif self.namespace is not None and own != self.namespace:
            words = f"{definition.name} is not in {self.namespace}, the namespace that checks.schemas gives this path"
            place = (*pointer, "namespace") if "namespace" in attributes else at_name
            self.add("A102", path, place, words, f'Write "namespace": "{self.namespace}".')
        elif not own and outer != "":
            words = f"{name} has no namespace: its name collides with every other {name} in the registry and in code"
            self.add("A102", path, at_name, words, 'Write "namespace": "company.domain".')
        if "aliases" in attributes:
            self.type_aliases(definition, path)

    def type_aliases(self, definition: Named, path: str) -> None:
        aliases = _list(definition.attributes["aliases"])
        if aliases is None:
            remedy = 'Write "aliases": ["OldName"].'
            self.add("A005", path, (*definition.pointer, "aliases"), '"aliases" is not an array of names', remedy)
            return
        used: set[str] = set()
        for i, alias in enumerate(aliases):
            place = (*definition.pointer, "aliases", i)
            if not isinstance(alias, str) or not naming.is_legal_full(alias):
                self.add("A005", path, place, f"alias {_short(alias)} is not a legal name", 'Write "OldName".')
                continue
            space = namespace_of(definition.name)
            full = alias if "." in alias or not space else f"{space}.{alias}"
            if full in used:
                self.add("A110", path, place, f"alias {alias} stands twice", "Delete one.")
            elif full == definition.name:
                self.add("A110", path, place, f"alias {alias} is the type's own name", "Delete it.")
            elif full in self.own:
                words = (
                    f"alias {alias} is the name of another type in this file: which one is read depends on the library"
                )
                self.add("A110", path, place, words, "Delete it, or rename the other type.")
            used.add(full)

    def enumeration(self, enum: Enumeration, path: str) -> None:
        raw = enum.attributes.get("symbols")
        place = (*enum.pointer, "symbols")
        if self.by_hand:
            self.documented(enum.doc, enum.name, path, enum.pointer, "enum ")
        if not isinstance(raw, list) or not raw:
            words = f"enum {enum.name} has no symbols: it has no value"
            self.add(
                "A007",
                path,
                place if "symbols" in enum.attributes else enum.pointer,
                words,
                'Write "symbols": ["UNKNOWN"].',
            )
            return
        seen: set[str] = set()
        style = _compiled(self.settings.symbol_pattern)
        odd: list[tuple[int, str]] = []
        for i, symbol in enumerate(raw):
            if not isinstance(symbol, str) or not naming.LEGAL.match(symbol):
                good = f'Write "{naming.legal(symbol)}".' if isinstance(symbol, str) and symbol else "Write a name."
                self.add("A007", path, (*place, i), f"{_short(symbol)} is not a legal symbol", good)
            elif symbol in seen:
                self.add("A007", path, (*place, i), f"symbol {symbol} stands twice", "Delete one.")
            elif not style.match(symbol):
                odd.append((i, symbol))
            if isinstance(symbol, str):
                seen.add(symbol)
        if odd and self.by_hand:
            shown = ", ".join(symbol for _, symbol in odd[:3]) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")
            good = ", ".join(f'"{naming.snake_case(symbol).upper()}"' for _, symbol in odd[:3])
            words = f"{'symbols' if len(odd) > 1 else 'symbol'} {shown} not matching {self.settings.symbol_pattern}"
            self.add("A103", path, (*place, odd[0][0]), words, f"Write {good}; a registered symbol keeps its name.")
        default = enum.attributes.get("default")
        if "default" not in enum.attributes:
            known = next((one for one in raw if one in ("UNKNOWN", "UNSPECIFIED", "UNDEFINED", "OTHER", "NONE")), None)
            words = f"enum {unqualified(enum.name)} without a default symbol: a reader fails on a symbol added later"
            remedy = (
                f'Write "default": "{known}".'
                if known
                else 'Add "UNKNOWN" to the symbols and write "default": "UNKNOWN".'
            )
            self.add("A107", path, place, words, remedy)
        elif not isinstance(default, str) or default not in seen:
            words = f"enum default {_short(default)} is not one of its symbols"
            remedy = f'Write "default": {_short(raw[0])}, or add the symbol.'
            self.add("A011", path, (*enum.pointer, "default"), words, remedy)

    # Records ---------------------------------------------------------------------------------------------------------

    def record(self, record: Record, path: str, tags: tuple[str, ...]) -> None:
        if self.by_hand:
            self.documented(record.doc, record.name, path, record.pointer, "record ")
        if not record.fields and record.attributes.get("fields") == []:
            words = f"record {unqualified(record.name)} has no fields: no table can hold it"
            remedy = 'Write a field: {"name": "id", "type": "string"}.'
            self.add("A019", path, (*record.pointer, "fields"), words, remedy)
        space = namespace_of(record.name)
        prefix = f"{path}." if path else ""
        tags = tags or tuple(key for key in record.attributes.keys() - _KEYS[Record] if _TAG.search(key))
        names: dict[str, str] = {}
        aliased = False
        units: dict[str, Field] = {}
        for field in record.fields:
            name = field.name
            inner = prefix + name
            lower = name.lower()
            before = names.get(lower)
            if before is None:
                names[lower] = name
            elif before == name:
                words = f"field {name} stands twice in {unqualified(record.name)}"
                self.add("A004", inner, (*field.pointer, "name"), words, "Delete one, or rename it.")
            else:
                words = f"fields {before} and {name} differ in case only: one column in Flink, Iceberg and SQL"
                self.add("A018", inner, (*field.pointer, "name"), words, "Rename one of them.")
            aliased = aliased or "aliases" in field.attributes
            self.field(field, inner, space, tags)
            core = _core(field.type)
            if isinstance(core, Primitive) and core.logical is not None and "timestamp-" in core.logical.name:
                units.setdefault(core.logical.name.rpartition("-")[2], field)
        if aliased:
            self.field_aliases(record, prefix)
        if len(units) > 1 and self.by_hand:
            first, second = list(units.items())[:2]
            words = f"{second[1].name} counts {second[0]}, {first[1].name} counts {first[0]}: one record, two units"
            remedy = f'Write "logicalType": "timestamp-{first[0]}" for both.'
            self.add("A108", prefix + second[1].name, (*second[1].pointer, "type"), words, remedy)

    def field(self, field: Field, path: str, space: str, tags: tuple[str, ...]) -> None:
        name, attributes, type_ = field.name, field.attributes, field.type
        has_default = not isinstance(field.default, Missing)
        if not naming.LEGAL.match(name):
            words = f"{_quoted(name)} is not a legal field name"
            self.add("A005", path, (*field.pointer, "name"), words, f'Write "{naming.legal(name)}".')
        elif self.by_hand and not self.field_style.match(name) and not name.startswith("__"):
            words = f"field name {name} does not match {self.settings.field_pattern}"
            remedy = f'Write "{naming.snake_case(name)}", and "aliases": ["{name}"] once it is registered.'
            self.add("A103", path, (*field.pointer, "name"), words, remedy)
        if self.by_hand:
            self.documented(field.doc, name, path, field.pointer, "")
        if not attributes.keys() <= _FIELD_KEYS:
            if "logicalType" in attributes:
                self.logical_beside(field, path)
            self.misspelt(attributes, _FIELD_KEYS, field.pointer, path)
        if has_default:
            self.default(field, path)
        elif isinstance(type_, Union) and any(
            isinstance(one, Primitive) and one.kind == "null" for one in type_.branches
        ):
            others = [one for one in type_.branches if not (isinstance(one, Primitive) and one.kind == "null")]
            written = ", ".join(('"null"', *(_json(one) for one in others)))
            words = f"{name} may be null and has no default: a reader of older records fails"
            self.add("A104", path, field.pointer, words, f'Write "type": [{written}], "default": null.')
        meaning = naming.meaning(name)
        if meaning != _PLAIN:
            self.meaning(field, path, meaning, tags)
        self.type_(type_, path, space, tags, has_default)

    def default(self, field: Field, path: str) -> None:
        """A008, A009 and A010."""
        value, type_, place = field.default, field.type, (*field.pointer, "default")
        if value is None and isinstance(type_, Union) and type_.branches:
            first = type_.branches[0]
            if isinstance(first, Primitive) and first.kind == "null":
                return
        if value == "null" and isinstance(value, str) and not self.is_symbol(type_, value):
            can_be_null = isinstance(type_, Union) and any(_branch_name(one) == "null" for one in type_.branches)
            words = 'the default is the string "null", not null'
            written = _nullable(type_)
            remedy = 'Write "default": null.' if can_be_null else f'Write "type": {written}, "default": null.'
            self.add("A010", path, place, words, remedy)
            return
        for fault in defaults.faults(self.schema, type_, value, place):
            self.add(fault.rule, path, fault.pointer, fault.message, fault.remedy)

    def is_symbol(self, type_: Type, value: str) -> bool:
        branches = type_.branches if isinstance(type_, Union) else (type_,)
        found = [self.schema.named.get(one.name) for one in branches if isinstance(one, Reference)]
        return any(isinstance(one, Enumeration) and value in one.symbols for one in found)

    def logical_beside(self, field: Field, path: str) -> None:
        """A014: the attribute of the type stands beside the type."""
        beside = field.attributes["logicalType"]
        core = _core(field.type)
        if isinstance(core, Primitive) and core.logical is not None and core.logical.name == beside:
            return
        words = f'"logicalType" beside the type is ignored: it belongs inside, and {field.name} is bare without it'
        moved = {key: field.attributes[key] for key in ("logicalType", "precision", "scale") if key in field.attributes}
        inside = {"type": core.kind, **moved} if isinstance(core, Primitive) else {"type": "...", **moved}
        written = f'["null", {_short(inside)}]' if isinstance(field.type, Union) else _short(inside)
        self.add("A014", path, (*field.pointer, Key("logicalType")), words, f'Write "type": {written}.')

    def documented(self, doc: str | None, name: str, path: str, pointer: Pointer, what: str) -> None:
        short = unqualified(name)
        if doc is None:
            self.add(
                "A101", path, pointer, f"{what}{short} has no doc", 'Write "doc": what it means, its unit, who sets it.'
            )
        elif _is_trivial(doc, short):
            words = f"the doc of {what}{short} says nothing: {_short(doc)}"
            self.add("A101", path, (*pointer, "doc"), words, "Say what it means, its unit, who sets it.")

    def meaning(self, field: Field, path: str, meaning: naming.Meaning, tags: tuple[str, ...]) -> None:
        """A108, A109, A112: what the name says, and the type does not."""
        core = _core(field.type)
        place = (*field.pointer, "type")
        kind = core.kind if isinstance(core, Primitive) else None
        bare = isinstance(core, Primitive) and core.logical is None and "logicalType" not in field.attributes
        if meaning.is_time and bare and kind in ("string", "long", "int") and self.by_hand:
            name = "date" if naming.snake_case(field.name).endswith("date") else "timestamp-micros"
            written = logical.written(name)
            written = f'["null", {written}]' if isinstance(field.type, Union) else written
            words = f"{field.name} is a time by its name and a bare {kind} by its type"
            self.add("A108", path, place, words, f'Write "type": {written}.')
        if meaning.is_money and kind in ("float", "double"):
            written = logical.written("decimal")
            written = f'["null", {written}]' if isinstance(field.type, Union) else written
            words = f"{field.name} is an amount by its name and a {kind} by its type: 0.1 + 0.2 is not 0.3"
            self.add("A109", path, place, words, f'Write "type": {written}.')
        if meaning.is_person and self.by_hand and not tags:
            inner = _core(core.items) if isinstance(core, Array) else core
            personal = isinstance(inner, Reference) or (isinstance(inner, Primitive) and inner.kind in _PERSONAL)
            tagged = any(_TAG.search(key) for node in (field, inner) for key in _extra(node))
            if personal and not tagged and not self.is_record(inner):
                words = f"{field.name} looks like personal data and has no classification"
                self.add("A112", path, field.pointer, words, 'Write "confluent:tags": ["PII"], or "pii": false.')

    def is_record(self, type_: Type) -> bool:
        return isinstance(type_, Reference) and isinstance(self.schema.named.get(type_.name), Record)

    def field_aliases(self, record: Record, prefix: str) -> None:
        names = {field.name for field in record.fields}
        used: dict[str, str] = {}
        for field in record.fields:
            if "aliases" not in field.attributes:
                continue
            aliases = _list(field.attributes["aliases"])
            path = prefix + field.name
            if aliases is None:
                remedy = 'Write "aliases": ["old_name"].'
                self.add("A005", path, (*field.pointer, "aliases"), '"aliases" is not an array of names', remedy)
                continue
            for i, alias in enumerate(aliases):
                place = (*field.pointer, "aliases", i)
                if not isinstance(alias, str) or not naming.LEGAL.match(alias):
                    self.add("A005", path, place, f"alias {_short(alias)} is not a legal name", 'Write "old_name".')
                elif alias in names:
                    whose = "the field's own name" if alias == field.name else "the name of another field"
                    words = f"alias {alias} is {whose}: which one is read depends on the library"
                    self.add("A110", path, place, words, "Delete the alias.")
                elif alias in used:
                    words = f"alias {alias} stands twice, first at {used[alias]}"
                    self.add("A110", path, place, words, "Delete one: each library picks its own.")
                else:
                    used[alias] = field.name

    def endless(self) -> None:
        """A017: records that contain themselves without a way out; any cycle where a profile cannot hold one."""
        said: set[str] = set()
        remedy = 'Make one step optional: ["null", "..."], or an array.'
        for name, field in self.cycles(strict=True):
            self.endless_at(name, field, "it has no finite value", remedy, said)
        if self.settings.profiles:
            remedy = "Break the cycle: keep the parent's id instead."
            for name, field in self.cycles(strict=False):
                self.endless_at(name, field, "Flink and Iceberg hold no recursive type", remedy, said)

    def endless_at(self, name: str, field: Field, words: str, remedy: str, said: set[str]) -> None:
        if name not in said:
            said.add(name)
            path = f"{self.paths[name]}.{field.name}" if self.paths.get(name) else field.name
            text = f"{unqualified(name)} contains itself: {words}"
            self.add("A017", path, (*field.pointer, "type"), text, remedy)

    def cycles(self, strict: bool) -> Iterator[tuple[str, Field]]:
        """Yield, for each cycle, a record of this file on it and the field that leads on: depth first, no recursion.

        `strict` follows only what every value has: fields whose type is a record itself.
        """
        place: dict[str, int] = {}  # Where a name stands on the way; -1 once all behind it was seen.
        for start in self.schema.defined:
            way = [] if start in place else [start]
            steps = [self.steps(start, strict)]
            place.setdefault(start, 0)
            fields: list[Field] = []
            while way:
                found = next(steps[-1], None)
                del fields[len(way) - 1 :]
                if found is None:
                    place[way.pop()] = -1
                    steps.pop()
                    continue
                field, onward = found
                fields.append(field)
                if onward not in place:
                    place[onward] = len(way)
                    way.append(onward)
                    steps.append(self.steps(onward, strict))
                elif place[onward] >= 0:
                    # A cycle wholly in other files is theirs.
                    yield from islice(
                        ((way[i], fields[i]) for i in range(place[onward], len(way)) if way[i] in self.own), 1
                    )

    def steps(self, name: str, strict: bool) -> Iterator[tuple[Field, str]]:
        record = self.schema.named.get(name)
        for field in record.fields if isinstance(record, Record) else ():
            for onward in _records_in(field.type, strict):
                yield field, onward

    def canonical_fields(self) -> None:
        """A111, for the records of value subjects."""
        root = self.schema.named.get(self.schema.root.name) if isinstance(self.schema.root, Reference) else None
        subject = subject_of(self.schema.file, self.schema.name, self.settings.subjects)
        if not isinstance(root, Record) or subject is None or is_key(subject) or root.name not in self.own:
            return
        fields = {field.name: field for field in root.fields}
        for wanted in self.settings.fields:
            field = fields.get(wanted.name)
            if field is None:
                words = f"{unqualified(root.name)} lacks {wanted.name}, a field that every value has"
                self.add("A111", wanted.name, (*root.pointer, "fields"), words, f"Add {_canonical(wanted)}.")
            elif wanted.types and not _types(field.type) & set(wanted.types):
                found = max(_types(field.type), key=len)
                words = f"{wanted.name} is {found}, not {' or '.join(wanted.types)}"
                self.add("A111", wanted.name, (*field.pointer, "type"), words, f"Write {_canonical(wanted)}.")


# Leaves --------------------------------------------------------------------------------------------------------------

_PLAIN = naming.Meaning(False, False, False)
_PERSONAL = ("string", "bytes", "int", "long")


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{pattern})\Z")


def _list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) else None


def _core(type_: Type) -> Type:
    """Return the one branch beside null, or the type itself."""
    if isinstance(type_, Union):
        others = [one for one in type_.branches if not (isinstance(one, Primitive) and one.kind == "null")]
        return others[0] if len(others) == 1 else type_
    return type_


def _branch_name(type_: Type) -> str:
    if isinstance(type_, Primitive):
        return type_.kind
    if isinstance(type_, Reference):
        return type_.name
    return "array" if isinstance(type_, Array) else "map" if isinstance(type_, Map) else "union"


def _types(type_: Type) -> set[str]:
    """Return what a canonical field's `types` may call a type: `long`, `long/timestamp-micros`, a full name."""
    core = _core(type_)
    names = {_branch_name(core)}
    if isinstance(core, Primitive) and core.logical is not None:
        names.add(f"{core.kind}/{core.logical.name}")
    return names


def _canonical(field: CanonicalField) -> str:
    kind, _, name = (field.types[0] if field.types else "string").partition("/")
    written = f'{{"type": "{kind}", "logicalType": "{name}"}}' if name else f'"{kind}"'
    return f'{{"name": "{field.name}", "type": {written}}}'


def _records_in(type_: Type, strict: bool) -> list[str]:
    if isinstance(type_, Reference):
        return [type_.name]
    if strict:
        return []
    if isinstance(type_, Union):
        return [name for branch in type_.branches for name in _records_in(branch, strict)]
    if isinstance(type_, Array):
        return _records_in(type_.items, strict)
    return _records_in(type_.values, strict) if isinstance(type_, Map) else []


def _extra(node: Field | Type) -> list[str]:
    return list(node.attributes) if isinstance(node, Field | Primitive | Array | Map) else []


def _is_trivial(doc: str, name: str) -> bool:
    said = _NO_WORD.sub("", doc).lower()
    said = said.removeprefix("the").removeprefix("a") if said not in _TRIVIAL else said
    return not said or said in _TRIVIAL or said == name.replace("_", "").lower()


def _nullable(type_: Type) -> str:
    branches = type_.branches if isinstance(type_, Union) else (type_,)
    written = ", ".join(('"null"', *(_json(one) for one in branches if _branch_name(one) != "null")))
    return f"[{written}]"


def _json(type_: Type) -> str:
    """Return a type as it may be written: a reference by its name, a long one shortened."""
    if isinstance(type_, Reference):
        return f'"{type_.name}"'
    if isinstance(type_, Union):
        return f"[{', '.join(map(_json, type_.branches))}]"
    return _short(type_.attributes) if type_.attributes else f'"{_branch_name(type_)}"'


def _short(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False, default=dict), 100)


def _quoted(name: str) -> str:
    return _cut(json.dumps(name, ensure_ascii=False))


def _cut(text: str, most: int = 160) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
