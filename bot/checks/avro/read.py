"""From a parsed JSON document to an Avro schema; what cannot be read is a violation, and the rest is still read.

Two steps, so that files may come in any order: `read_part` reads one file and lists the names that it defines and uses;
`link` joins the parts and reports the names that nobody defines. A part's own definition of a name wins over another
file's; a name that a file uses and that others define differently is nobody's (A003).

Source of the rules: Avro 1.12 specification, "Schema Declaration" and "Names". Where the Java parser, which registries
run, is stricter than the text (`{"type": {"type": ...}}`), that is said as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import Any

from bot.checks.avro import logical
from bot.checks.avro.schema import (
    MISSING,
    PRIMITIVES,
    Array,
    Enumeration,
    Field,
    Fixed,
    Logical,
    Map,
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
from bot.checks.avro.words import with_article
from bot.checks.violation import Pointer, Severity, Violation

_ORDERS = ("ascending", "descending", "ignore")
_DEFINITIONS = ("record", "error", "enum", "fixed")
_EVERYDAY = {
    "integer": "int", "int32": "int", "short": "int", "byte": "int", "bigint": "long", "int64": "long",
    "number": "double", "bool": "boolean", "str": "string", "text": "string", "varchar": "string", "char": "string",
    "binary": "bytes", "blob": "bytes", "real": "float", "list": "array", "object": "record", "struct": "record",
    "datetime": "timestamp-micros", "timestamp": "timestamp-micros", "time": "time-micros", "none": "null",
}  # fmt: skip
"""What people write for a type, and what Avro calls it."""


@dataclass(frozen=True)
class Part:
    """One file: `root` is None where nothing could be read. `uses` are the references to names, `paths` their places.

    `sound` is false where a node could not be read: the schema lacks something and must not be compared.
    """

    file: str
    root: Type | None
    defined: Mapping[str, Named]
    uses: tuple[Reference, ...]
    violations: tuple[Violation, ...]
    paths: tuple[str, ...] = ()
    sound: bool = True


def read_part(document: Any, file: str) -> Part:
    """Return what can be read of a file's JSON document."""
    reason = _not_a_schema(document)
    if reason:
        words, remedy = reason
        violation = Violation("A001", Severity.ERROR, file, "", words, remedy, pointer=())
        return Part(file, None, {}, (), (violation,), sound=False)
    reader = _Reader(file)
    root = reader.type_at(document, (), "", "")
    reader.report_early_uses()
    return Part(
        file,
        root,
        reader.defined,
        tuple(reader.uses),
        tuple(reader.violations),
        tuple(reader.paths),
        reader.sound and root is not None,
    )


def link(parts: Iterable[Part]) -> tuple[dict[str, Schema], tuple[Violation, ...]]:
    """Return the schema of each file that could be read whole, and the violations of names (A002, A003).

    A file with an unknown name, its own or in a file it uses, has no schema: it cannot be compared. `incomplete` has
    what there is of it.
    """
    parts = list(parts)
    homes = _homes(parts)
    schemas: dict[str, Schema] = {}
    violations: list[Violation] = []
    for part in parts:
        if part.root is None:
            continue
        named, faults, whole = _closure(part, homes, parts)
        violations += faults
        if whole:
            schemas[part.file] = Schema(part.root, named, tuple(part.defined), part.file)
    return schemas, tuple(violations)


def incomplete(parts: Iterable[Part], whole: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return what could be read of the files that `link` left out: to be linted, never compared or resolved.

    `named` may lack names.
    """
    return {
        part.file: Schema(part.root, part.defined, tuple(part.defined), part.file)
        for part in parts
        if part.root is not None and part.file not in whole
    }


def imports(parts: Iterable[Part]) -> dict[str, dict[str, str]]:
    """Return, for each file, the names that it takes from other files, and from which: a registration's references."""
    parts = list(parts)
    homes = _homes(parts)
    return {
        part.file: {
            use.name: homes[use.name][0].file for use in part.uses if use.name not in part.defined and use.name in homes
        }
        for part in parts
    }


def topological(parts: Iterable[Part]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the files so that what a file uses comes before it, and the cycles: `(a, b, a)` for "a uses b uses a".

    Files in a cycle can be read and checked, but never registered: each would have to be there first.
    """
    # No sets: which cycle is found first must not differ from run to run.
    needs = {file: dict.fromkeys(names.values()) for file, names in imports(parts).items()}
    cycles: list[tuple[str, ...]] = []
    while True:
        try:
            return tuple(TopologicalSorter(needs).static_order()), tuple(cycles)
        except CycleError as error:
            cycle = error.args[1]
            cycles.append(tuple(reversed(cycle)))
            del needs[cycle[1]][cycle[0]]


def full_name(name: str, namespace: str | None) -> str:
    """Return the full name: a dotted one is full already; the empty namespace is none (specification, "Names").

    A leading dot means the empty namespace, as Java's parser has it.
    """
    if "." in name:
        return name[1:] if name.startswith(".") and "." not in name[1:] else name
    return f"{namespace}.{name}" if namespace else name


# Names across files --------------------------------------------------------------------------------------------------


def _homes(parts: Sequence[Part]) -> dict[str, list[Part]]:
    homes: dict[str, list[Part]] = {}
    for part in parts:
        for name in part.defined:
            homes.setdefault(name, []).append(part)
    return homes


def _closure(
    part: Part, homes: Mapping[str, list[Part]], parts: Sequence[Part]
) -> tuple[Mapping[str, Named], list[Violation], bool]:
    """Return every name that the part needs, what is wrong with its own uses, and whether all of it was found."""
    work = [use for use in part.uses if use.name not in part.defined]
    if not work:
        return part.defined, [], part.sound
    own = {id(use): path for use, path in zip(part.uses, part.paths, strict=True)}
    named = dict(part.defined)
    origin = dict.fromkeys(part.defined, part.file)
    whole = part.sound
    faults: list[Violation] = []
    said: set[str] = set()
    for use in work:  # Grows while it is read: what a file uses needs what that file uses.
        if use.name in said:
            continue
        path = own.get(id(use))
        homes_of_it = homes.get(use.name)
        if homes_of_it is None:
            whole = False
            if path is not None:
                faults.append(_unknown(part, use, path, parts, homes))
            continue
        if path is not None and any(_differ(homes_of_it[0], other, use.name) for other in homes_of_it[1:]):
            said.add(use.name)
            faults.append(_ambiguous(part, use, path, homes_of_it))
        if use.name in named:
            continue
        home = homes_of_it[0]
        whole = whole and home.sound
        for name, definition in home.defined.items():
            if name in named:
                faults.append(_twice(part, use, name, origin[name], home.file))
            else:
                named[name] = definition
                origin[name] = home.file
        work += [inner for inner in home.uses if inner.name not in home.defined]
    return named, faults, whole


def _unknown(
    part: Part, use: Reference, path: str, parts: Sequence[Part], homes: Mapping[str, list[Part]]
) -> Violation:
    others = sorted(other.file for other in parts if other.file != part.file)
    listed = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    searched = f"this file nor in {listed}" if others else "this file, the only one that was read"
    words = f"{use.name} is not defined in {searched}".replace("in this file nor", "in this file, nor")
    return Violation("A002", Severity.ERROR, part.file, path, words, _near(use.name, homes), pointer=use.pointer)


def _near(name: str, homes: Mapping[str, list[Part]]) -> str:
    """Return what was probably meant: another namespace's name, a type spelt nearly so, what Avro calls it."""
    short = unqualified(name)
    elsewhere = [known for known in homes if unqualified(known) == short]
    if elsewhere and "." in elsewhere[0]:
        return f'Did you mean "{elsewhere[0]}" ({homes[elsewhere[0]][0].file})?'
    if elsewhere:
        return (
            f"{short} of {homes[short][0].file} has no namespace and cannot be named from inside one: "
            f'give it "namespace": "{namespace_of(name)}".'
        )
    everyday = _EVERYDAY.get(short.lower(), short.lower() if short.lower() in PRIMITIVES else short)
    if everyday in logical.BASES:
        return f"Did you mean {logical.written(everyday)}?"
    if everyday in PRIMITIVES:
        return f'Did you mean "{everyday}"?'
    if everyday in ("array", "record"):
        inner = '"items": "string"' if everyday == "array" else '"name": "...", "fields": []'
        return f'Did you mean {{"type": "{everyday}", {inner}}}?'
    by_short = {unqualified(known): known for known in reversed(list(homes))}
    if close := get_close_matches(short, [*by_short, *PRIMITIVES], 1, 0.7):
        meant = by_short.get(close[0], close[0])
        return f'Did you mean "{meant}" ({homes[meant][0].file})?' if meant in homes else f'Did you mean "{meant}"?'
    return "Define it, correct the name, or give the file that defines it to the same run."


def _ambiguous(part: Part, use: Reference, path: str, homes: Sequence[Part]) -> Violation:
    files = " and ".join(sorted(home.file for home in homes)[:3])
    words = f"{use.name} is defined differently in {files}: which one is meant is not known"
    remedy = "Define it in one file, or give one of the two another name."
    return Violation("A003", Severity.ERROR, part.file, path, words, remedy, pointer=use.pointer)


def _twice(part: Part, use: Reference, name: str, first: str, second: str) -> Violation:
    where = "in this file" if first == part.file else f"in {first}"
    words = f"{name} is defined {where} and in {second}, which this file needs for {use.name}"
    remedy = f'Define {name} in one of them and write "{name}" in the other.'
    pointer = use.pointer if any(use is own for own in part.uses) else ()
    return Violation("A003", Severity.ERROR, part.file, name, words, remedy, pointer=pointer)


def _differ(one: Part, other: Part, name: str) -> bool:
    """Return whether two files mean different things by a name; places and documentation do not count."""
    return bool(_shape(one.defined[name]) != _shape(other.defined[name]))


def _shape(node: Any) -> Any:
    if isinstance(node, Record):
        fields = tuple((field.name, _shape(field.type), repr(field.default)) for field in node.fields)
        return ("record", node.name, fields)
    if isinstance(node, Enumeration):
        return ("enum", node.name, node.symbols, node.default)
    if isinstance(node, Fixed):
        return ("fixed", node.name, node.size, node.logical)
    if isinstance(node, Array):
        return ("array", _shape(node.items))
    if isinstance(node, Map):
        return ("map", _shape(node.values))
    if isinstance(node, Union):
        return ("union", tuple(map(_shape, node.branches)))
    return node.name if isinstance(node, Reference) else (node.kind, node.logical)


# One file ------------------------------------------------------------------------------------------------------------


class _Reader:
    """`path` is the place in the schema's own terms; `namespace` the enclosing one.

    A name must be defined before it is used, depth first and left to right (specification, "Names").
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.defined: dict[str, Named] = {}
        self.uses: list[Reference] = []
        self.paths: list[str] = []
        self.violations: list[Violation] = []
        self.sound = True
        self._places: dict[str, str] = {}
        self._early: list[tuple[Reference, str]] = []

    def report(self, rule: str, path: str, pointer: Pointer, message: str, remedy: str) -> None:
        self.violations.append(Violation(rule, Severity.ERROR, self.file, path, message, remedy, pointer=pointer))

    def unreadable(self, path: str, pointer: Pointer, message: str, remedy: str, rule: str = "A001") -> None:
        self.sound = False
        self.report(rule, path, pointer, message, remedy)

    def report_early_uses(self) -> None:
        for use, path in self._early:
            if use.name in self.defined:
                where = f" (at {self._places[use.name]})" if self._places[use.name] else ""
                words = f"{use.name} is used before this file defines it{where}"
                self.report(
                    "A002", path, use.pointer, words, "Move the definition to the first use, the name to the second."
                )

    def type_at(self, node: Any, pointer: Pointer, namespace: str, path: str) -> Type | None:
        if isinstance(node, str):
            if node in PRIMITIVES:
                return Primitive(node, None, pointer)
            return self._use(node, pointer, namespace, path)
        if isinstance(node, dict):
            return self._object(node, pointer, namespace, path)
        if isinstance(node, list):
            branches = []
            for i, branch in enumerate(node):
                read = self.type_at(branch, (*pointer, i), namespace, path)
                if read is not None:
                    branches.append(read)
            if node and not branches:
                return None
            return Union(tuple(branches), pointer)
        remedy = 'Write "null" in quotes.' if node is None else 'Write a type: "string", {"type": ...} or [...].'
        self.unreadable(path, pointer, f"{_short(node)} is not a type", remedy)
        return None

    def _object(self, node: Mapping[str, Any], pointer: Pointer, namespace: str, path: str) -> Type | None:
        kind = node.get("type")
        if isinstance(kind, str):
            if kind in PRIMITIVES:
                return Primitive(kind, _logical(node), pointer, node)
            if kind == "array":
                items = self._inner(node, "items", pointer, namespace, f"{path}[]")
                return None if items is None else Array(items, pointer, node)
            if kind == "map":
                values = self._inner(node, "values", pointer, namespace, f"{path}{{}}")
                return None if values is None else Map(values, pointer, node)
            if kind in _DEFINITIONS:
                return self._definition(kind, node, pointer, namespace, path)
            return self._use(kind, (*pointer, "type"), namespace, path)
        if isinstance(kind, dict | list):
            inner = _short(kind)
            words = f'a type inside a type: {{"type": {inner}}}; Java\'s parser, and so the registry, refuses it'
            self.report("A001", path, pointer, words, f"Write the inner one alone: {inner}.")
            return self.type_at(kind, (*pointer, "type"), namespace, path)
        if "type" not in node:
            near = get_close_matches("type", list(node), 1, 0.6)
            words = f'{_short(node)} has no "type"' + (f': "{near[0]}" is not it' if near else "")
            self.unreadable(path, pointer, words, 'Write "type": "record", "string", ....')
            return None
        self.unreadable(path, (*pointer, "type"), f"{_short(kind)} is not a type", 'Write "type": "string", ....')
        return None

    def _inner(self, node: Mapping[str, Any], key: str, pointer: Pointer, namespace: str, path: str) -> Type | None:
        if key not in node:
            what = "an array" if key == "items" else "a map"
            self.unreadable(path, pointer, f'{what} without "{key}"', f'Write "{key}": the type of its {key}.')
            return None
        return self.type_at(node[key], (*pointer, key), namespace, path)

    def _use(self, name: str, pointer: Pointer, namespace: str, path: str) -> Type | None:
        if name in _DEFINITIONS or name in ("array", "map"):
            words = f'"{name}" needs an object of its own'
            self.unreadable(path, pointer, words, f'Write {{"type": "{name}", ...}}.')
            return None
        use = Reference(full_name(name, namespace), pointer)
        self.uses.append(use)
        self.paths.append(path)
        if use.name not in self.defined:
            self._early.append((use, path))
        return use

    def _definition(self, kind: str, node: Mapping[str, Any], pointer: Pointer, outer: str, path: str) -> Type | None:
        written = node.get("name")
        if not isinstance(written, str) or not written:
            words = f"{with_article(kind)} without a name" if "name" not in node else f"{_short(written)} is not a name"
            self.unreadable(path, pointer, words, 'Write "name": "...".', "A005")
            return None
        given = node.get("namespace")
        name = full_name(written, given if isinstance(given, str) else outer)
        namespace = namespace_of(name)
        aliases = tuple(full_name(alias, namespace) for alias in _strings(node.get("aliases")))
        doc = node.get("doc")
        doc = doc if isinstance(doc, str) else None
        if kind == "enum":
            default = node.get("default")
            symbols = tuple(_strings(node.get("symbols")))
            default = default if isinstance(default, str) else None
            self._define(Enumeration(name, symbols, default, aliases, doc, pointer, node), path)
        elif kind == "fixed":
            size = node.get("size")
            if type(size) is not int or size < 0:
                words = f"fixed {name} without a size" if "size" not in node else f"{_short(size)} is not a size"
                place = (*pointer, "size") if "size" in node else pointer
                self.unreadable(path, place, words, 'Write "size": the number of bytes.')
                size = 0
            self._define(Fixed(name, size, _logical(node), aliases, pointer, node), path)
        else:
            # A record may use itself: its name stands before its fields are read.
            record = Record(name, (), aliases, doc, kind == "error", pointer, node)
            first = self._define(record, path)
            fields = self._fields(node, pointer, name, namespace, path)
            if first:
                self.defined[name] = replace(record, fields=fields)
        return Reference(name, pointer)

    def _define(self, definition: Named, path: str) -> bool:
        name = definition.name
        first = self.defined.setdefault(name, definition)
        if first is definition:
            self._places[name] = path
            return True
        where = f"at {self._places[name]}" if self._places[name] else "at the root"
        words = f"{name} is defined a second time; the first is {where}"
        remedy = f'Write "{name}" here' + ("." if first.attributes == definition.attributes else ", or another name.")
        self.report("A003", path, (*definition.pointer, "name"), words, remedy)
        return False

    def _fields(
        self, node: Mapping[str, Any], pointer: Pointer, name: str, namespace: str, path: str
    ) -> tuple[Field, ...]:
        fields = node.get("fields")
        if not isinstance(fields, list):
            words = f'record {name} without "fields"' if "fields" not in node else f'"fields" is {_short(fields)}'
            self.unreadable(path, pointer, words, 'Write "fields": [{"name": "...", "type": "..."}].')
            return ()
        prefix = f"{path}." if path else ""
        read = []
        for i, one in enumerate(fields):
            field = self._field(one, (*pointer, "fields", i), namespace, prefix)
            if field is not None:
                read.append(field)
        return tuple(read)

    def _field(self, node: Any, pointer: Pointer, namespace: str, prefix: str) -> Field | None:
        if not isinstance(node, dict):
            words = f"{_short(node)} is not a field"
            self.unreadable(prefix, pointer, words, 'Write {"name": "...", "type": "..."}.')
            return None
        name = node.get("name")
        if not isinstance(name, str):
            words = "a field without a name" if "name" not in node else f"{_short(name)} is not a name"
            self.unreadable(prefix, pointer, words, 'Write {"name": "...", "type": ...}.', "A005")
            return None
        path = prefix + name
        if "type" not in node:
            near = get_close_matches("type", list(node), 1, 0.6)
            words = f'field {name} has no "type"' + (f': "{near[0]}" is not it' if near else "")
            self.unreadable(path, pointer, words, 'Write "type": ["null", "string"], "default": null, or another type.')
            return None
        type_ = self.type_at(node["type"], (*pointer, "type"), namespace, path)
        if type_ is None:
            return None
        doc = node.get("doc")
        order = node.get("order", "ascending")
        if order not in _ORDERS:
            words = f"order {_short(order)} is not one of Avro: Java's parser refuses the schema"
            remedy = 'Delete it, or write "ascending", "descending" or "ignore".'
            self.report("A001", path, (*pointer, "order"), words, remedy)
            order = "ascending"
        return Field(
            name,
            type_,
            node.get("default", MISSING),
            tuple(_strings(node["aliases"])) if "aliases" in node else (),
            doc if isinstance(doc, str) else None,
            order,
            pointer,
            node,
        )


def _not_a_schema(document: Any) -> tuple[str, str] | None:
    """Return what the document is instead, and what to do."""
    if isinstance(document, dict):
        if isinstance(document.get("protocol"), str):
            remedy = "Give the schemas of its types, one a file; `avro-tools idl2schemata` writes them."
            return "this is an Avro protocol (.avpr), not a schema", remedy
        if "$schema" in document or "properties" in document:
            return "this is JSON Schema, not Avro", "Name the file .json, or write it in Avro."
        if "connector.class" in document or "connector.class" in (document.get("config") or ()):
            return "this is a connector's configuration, not a schema", "Check it with `cdc check connector`."
        if "type" not in document and isinstance(document.get("schema"), str):
            return "this is a registry's answer; the schema is the text in it", 'Save what stands in "schema".'
        if "type" not in document:
            return (
                'an object without "type" is not a schema',
                'Write "type": "record", "name": ..., "fields": [...].',
            )
        return None
    if isinstance(document, list) and all(isinstance(one, str | dict | list) for one in document):
        return None
    if isinstance(document, str):
        return None
    what = "an array of values" if isinstance(document, list) else _short(document)
    return f"{what} is not a schema", 'Write {"type": "record", "name": ..., "fields": [...]}.'


def _strings(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _logical(node: Mapping[str, Any]) -> Logical | None:
    name = node.get("logicalType")
    if not isinstance(name, str):
        return None
    if name != "decimal":
        return Logical(name)
    precision, scale = node.get("precision"), node.get("scale", 0)
    return Logical(name, precision if type(precision) is int else None, scale if type(scale) is int else None)


def _short(node: Any) -> str:
    text = json.dumps(node, ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "..."
