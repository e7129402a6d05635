"""Somebody who follows remedies to the letter: JSON is pasted where the finding points, and nothing else is touched."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bot.checks.violation import Pointer, Violation

Node = Any


def pasted(document: Node, violation: Violation) -> Node | None:
    """Return the document after the remedy, None where it has nothing to paste."""
    for pattern, paste in REMEDIES.items():
        if (match := re.fullmatch(pattern, violation.remedy, re.DOTALL)) is not None:
            changed = copy.deepcopy(document)
            given = {name: json.loads(text) if text and name.startswith("json") else text
                     for name, text in match.groupdict().items()}  # fmt: skip
            called = re.search(r"is called (\S+) now", violation.message)
            paste(changed, violation.pointer or (), {**given, "type": called[1] if called else ""})
            return changed
    return None


def at(document: Node, pointer: Pointer) -> Node:
    for step in pointer:
        document = document[step]
    return document


def _field(pointer: Pointer) -> Pointer:
    """Return the pointer of the innermost field around a node."""
    ends = [end for end in range(2, len(pointer) + 1) if pointer[end - 2] == "fields"]
    return pointer[: ends[-1]]


def _instead(document: Node, pointer: Pointer, given: Mapping[str, Any]) -> None:
    """The given fields in the place of the one that is told; at the end of the record that lacks it."""
    fresh = [given[name] for name in ("json", "json2") if name in given]
    if pointer[-1] == "fields":
        at(document, pointer).extend(fresh)
        return
    *holder, index = _field(pointer)
    at(document, tuple(holder))[index : index + 1] = fresh


def _attribute(name: str) -> Callable[[Node, Pointer, Mapping[str, Any]], None]:
    def write(document: Node, pointer: Pointer, given: Mapping[str, Any]) -> None:
        node = at(document, pointer)
        at(document, pointer[:-1] if not isinstance(node, dict) else pointer)[name] = given["json"]

    return write


def _enum(document: Node, pointer: Pointer, given: Mapping[str, Any]) -> None:
    at(document, pointer[:-1])["symbols"] = given["json"]


def _default(document: Node, pointer: Pointer, given: Mapping[str, Any]) -> None:
    at(document, _field(pointer))["default"] = given["json"]


def _of_the_enum(document: Node, pointer: Pointer, given: Mapping[str, Any]) -> None:
    node = at(document, pointer)
    (node if isinstance(node, dict) else at(document, pointer[:-1]))["default"] = given["json"]


def _aliases(document: Node, pointer: Pointer, given: Mapping[str, Any]) -> None:
    _told(document, pointer, given)["aliases"] = given["json"]


def _aliases_of_field(document: Node, pointer: Pointer, given: Mapping[str, Any]) -> None:
    fields = at(document, _field(pointer)[:-1])
    next(one for one in fields if one["name"] == given["field"])["aliases"] = given["json"]


def _name(document: Node, pointer: Pointer, given: Mapping[str, Any]) -> None:
    node = _told(document, pointer, given)
    _used(document, {node["name"], given["type"]}, given["name"])
    node |= {"name": given["name"], "namespace": given["name"].rpartition(".")[0]}


def _told(document: Node, pointer: Pointer, given: Mapping[str, Any]) -> Node:
    """The type of the name that the message tells, below the place that is told."""
    below = at(document, pointer[:-1] if pointer[-1:] == ("name",) else pointer)
    short = given["type"].rpartition(".")[2]
    return next(node for node in _types(below) if node["name"].rpartition(".")[2] == short)


def _used(node: Node, names: set[str], name: str) -> None:
    """Write the name where the type is used."""
    for key, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if isinstance(inner, str) and inner in names and key not in ("name", "default", "namespace"):
            node[key] = name
        _used(inner, names, name)


def _order(document: Node, pointer: Pointer, given: Mapping[str, Any]) -> None:
    fields = at(document, pointer)
    names = given["names"].split(", ")
    fields.sort(key=lambda one: names.index(one["name"]) if one["name"] in names else len(names))


def _types(node: Node) -> Iterator[Node]:
    if isinstance(node, dict) and node.get("type") in ("record", "enum", "fixed"):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _types(inner)


REMEDIES: Mapping[str, Callable[[Node, Pointer, Mapping[str, Any]], None]] = {
    r"Decide: (?P<json>\{.*\}), or an explicit default, or a waiver .*": _instead,
    r"(Make it optional: |Leave null among its types: |Decide anew: |Put the type of the default first: |)"
    r"(?P<json>\{.*\})": _instead,
    r"Keep it until nobody reads it: (?P<json>\{.*\})": _instead,
    r"If it was renamed, .* Else keep it: (?P<json>\{.*\})": _instead,
    r"Keep it until nobody names it: (?P<json>\{.*\}) - and put the new one beside it: (?P<json2>\{.*\})": _instead,
    r"Keep it as it was: (?P<json>\{.*\}) - and put .* beside it: (?P<json2>\{.*\})": _instead,
    r"Keep it under its old name: (?P<json>\{.*\})": _instead,
    r"Keep it: (?P<json>\{.*\}) - to let it go, first publish it with a default[.]": _instead,
    r"Take another name: (?P<json>\{.*\})": _instead,
    r'Keep it: "symbols": (?P<json>\[.*\])(, or .*)?': _enum,
    r'Write in field "(?P<field>[^"]*)": "aliases": (?P<json>.*)': _aliases_of_field,
    r'Keep it: "confluent:reserved": (?P<json>".*")': _attribute("confluent:reserved"),
    r'Write "size": (?P<json>\d+)': _attribute("size"),
    r'Write "default": (?P<json>.*)': _default,
    r'Write in the enum: "default": (?P<json>"[^"]*")(, "symbols": (?P<json2>.*))?': _of_the_enum,
    r'Keep it: "name": "(?P<name>[^"]*)"(, "namespace": "")?(; also where it is used[.])?': _name,
    r"Keep the name (?P<name>[^:]+): an alias .*": _name,
    r'Say so: "aliases": (?P<json>.*)': _aliases,
    r"Put them in the old order, new fields last: (?P<names>.*)": _order,
}
