"""Random Avro schemas, random evolutions of them, and random data: for the property test. One seed replays everything.

Data is encoded here, branch by branch, so that each union branch and symbol can be met; the test reads every datum back
with the writer's own schema, so a wrong encoding cannot pass for an unreadable one.
"""

from __future__ import annotations

import copy
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

from bot.checks.avro.schema import Array, Enumeration, Fixed, Map, Primitive, Schema, Type, Union

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
SAMPLES: dict[str, Any] = {
    "null": None, "boolean": True, "int": 7, "long": 9, "float": 1, "double": 2, "bytes": "\u00ff",
    "string": "x",
}  # fmt: skip
UNFIT = {"int": 1 << 31, "long": 1 << 63, "fixed": "x", "enum": "NONE"}
"""Defaults that do not fit, and that parsers let pass."""
Node = Any


class Generator:
    """Schemas as JSON documents; every name is defined once, at its first use."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0

    # -- schemas ---------------------------------------------------------------------------

    def schema(self) -> Node:
        self.count = 0
        if self.random.random() < 0.1:
            return self.type(0, [])
        return self.record(0, [])

    def name(self, kind: str) -> dict[str, str]:
        """Return a new name; sometimes with a namespace of its own, sometimes as a full name."""
        self.count += 1
        name = f"{kind}{self.count}"
        roll = self.random.random()
        if roll < 0.2:
            return {"name": f"other.{name}"}
        return {"name": name, "namespace": "shop"} if roll < 0.4 else {"name": name}

    def record(self, depth: int, outer: list[str]) -> Node:
        named = self.name("R")
        count = self.random.randint(0 if depth else 1, 4)
        # A namespace of the outer record is inherited: recursion uses the short name, right below it only.
        fields = [self.field(f"f{number}", depth, [named["name"]]) for number in range(count)]
        return {"type": "record", **named, "fields": fields}

    def field(self, name: str, depth: int, outer: list[str]) -> Node:
        made: dict[str, Any] = {"name": name, "type": self.type(depth + 1, outer)}
        if self.random.random() < 0.3:
            default = self.default(made["type"])
            if default is not NO_DEFAULT:
                made["default"] = default
        return made

    def type(self, depth: int, outer: list[str]) -> Node:
        roll = self.random.random()
        if depth >= 3 or roll < 0.45:
            return self.random.choice(PRIMITIVES)
        if roll < 0.53:
            return {"type": "array", "items": self.type(depth + 1, [])}
        if roll < 0.6:
            return {"type": "map", "values": self.type(depth + 1, [])}
        if roll < 0.68:
            made = {"type": "enum", **self.name("E"), "symbols": list("ABC")[: self.random.randint(1, 3)]}
            if self.random.random() < 0.3:
                made["default"] = "A"
            return made
        if roll < 0.74:
            return {"type": "fixed", **self.name("F"), "size": self.random.choice((2, 4))}
        if roll < 0.82:
            return self.record(depth, outer)
        if outer and roll < 0.86:
            return ["null", outer[-1]]
        return self.union(depth)

    def union(self, depth: int) -> Node:
        branches: list[Node] = []
        for _ in range(self.random.randint(1, 3)):
            branch = self.type(depth + 1, [])
            if not isinstance(branch, list) and _kind(branch) not in [_kind(one) for one in branches]:
                branches.append(branch)
        if "null" not in branches and self.random.random() < 0.6:
            branches.insert(0, "null")
        return branches or ["null", "string"]

    def default(self, type_: Node) -> Any:
        """Return a default that fits, NO_DEFAULT where that is not simple."""
        first = type_[0] if isinstance(type_, list) else type_
        if isinstance(first, str):
            return SAMPLES.get(first, NO_DEFAULT)
        kind = first["type"]
        if kind in ("array", "map"):
            return [] if kind == "array" else {}
        if kind == "enum":
            return first["symbols"][0]
        return "x" * first["size"] if kind == "fixed" else NO_DEFAULT

    # -- evolution -------------------------------------------------------------------------

    def evolved(self, document: Node) -> Node:
        """Return the document after one to three changes; sometimes another schema altogether."""
        if self.random.random() < 0.04:
            return self.schema()
        made = {"type": copy.deepcopy(document)}
        for _ in range(self.random.randint(1, 3)):
            places = list(_places(made, "type"))
            self.random.shuffle(places)
            for holder, key in places:
                if self.change(holder, key):
                    break
        return made["type"]

    def change(self, holder: Any, key: Any) -> bool:
        node = holder[key]
        kind = _kind(node)
        if isinstance(holder, dict) and kind not in ("record", "enum", "fixed") and self.random.random() < 0.9:
            holder.pop("default", None)  # Mostly no default that fits no more: PyPI avro does not parse those.
        choices: list[Callable[[Any, Any], bool]] = {
            "record": [self._fields, self._fields, self._fields, self._rename, self._nullable],
            "enum": [self._symbols, self._symbols, self._rename, self._nullable],
            "fixed": [self._size, self._rename],
            "union": [self._branches],
            "array": [self._nullable, self._replace],
            "map": [self._nullable, self._replace],
        }.get(kind, [self._promote, self._promote, self._replace, self._nullable])
        return self.random.choice(choices)(holder, key)

    def _fields(self, holder: Any, key: Any) -> bool:
        fields = holder[key]["fields"]
        roll = self.random.random()
        if roll < 0.35 or not fields:
            self.count += 1
            made = self.field(f"g{self.count}", 2, [])
            if self.random.random() < 0.5 and "default" not in made:
                made["default"] = self.default(made["type"])
                if made["default"] is NO_DEFAULT:
                    del made["default"]
            if _kind(made["type"]) in UNFIT and self.random.random() < 0.5:
                made["default"] = UNFIT[_kind(made["type"])]
            if self.random.random() < 0.1 and fields:
                made["aliases"] = [self.random.choice(fields)["name"]]
            fields.insert(self.random.randint(0, len(fields)), made)
            return True
        at = self.random.randrange(len(fields))
        if roll < 0.5 and not list(_named(fields[at])):
            del fields[at]
            return True
        if roll < 0.75:
            old = fields[at]["name"]
            self.count += 1
            fields[at] = {**fields[at], "name": f"g{self.count}"}
            if self.random.random() < 0.6:
                fields[at]["aliases"] = self.random.choice(([old], ["nothing", old]))
            return True
        if roll < 0.85:
            if "default" in fields[at]:
                del fields[at]["default"]
                return True
            return False
        self.random.shuffle(fields)
        return not list(_named({"fields": fields}))

    def _rename(self, holder: Any, key: Any) -> bool:
        """Rename, or move to another namespace; where the name is not used elsewhere."""
        node = holder[key]
        if node["type"] == "record" and _uses(node["fields"], node["name"]):
            return False
        old, short = node["name"], node["name"].rpartition(".")[2]
        namespace = node.pop("namespace", None)
        roll = self.random.random()
        if roll < 0.3:
            node["name"] = f"moved.{short}"
            return True
        self.count += 1
        node["name"] = old.replace(short, f"N{self.count}")
        if namespace:
            node["namespace"] = namespace
        full = old if "." in old else f"{namespace or 'shop'}.{old}"
        if roll < 0.5:
            node["aliases"] = [short]
        elif roll < 0.7:
            node["aliases"] = [full]
        elif roll < 0.78:
            node["aliases"] = [f"wrong.{short}"]
        return True

    def _symbols(self, holder: Any, key: Any) -> bool:
        node = holder[key]
        roll = self.random.random()
        if roll < 0.4:
            node["symbols"] = [*node["symbols"], "Z"] if "Z" not in node["symbols"] else node["symbols"]
        elif roll < 0.8 and len(node["symbols"]) > 1:
            node["symbols"] = node["symbols"][:-1]
            if self.random.random() < 0.3:
                node["default"] = "A"
        else:
            node.pop("default", None)
        return True

    def _size(self, holder: Any, key: Any) -> bool:
        holder[key]["size"] = 8
        return isinstance(holder, dict) and "default" not in holder

    def _branches(self, holder: Any, key: Any) -> bool:
        branches = holder[key]
        roll = self.random.random()
        if roll < 0.35 and len(branches) > 1:
            at = self.random.randrange(len(branches))
            if not list(_named(branches[at])):
                del branches[at]
                return True
        if roll < 0.6:
            fresh = self.random.choice(PRIMITIVES)
            if fresh not in branches:
                branches.append(fresh)
                return True
        if roll < 0.8:
            branches.reverse()
            return not list(_named(branches))
        if len(branches) == 1 or branches[0] != "null":
            return False
        holder[key] = branches[1]
        return True

    def _promote(self, holder: Any, key: Any) -> bool:
        wider = {"int": "long", "long": "double", "float": "double", "string": "bytes", "bytes": "string"}
        narrower = {wide: narrow for narrow, wide in wider.items()}
        node = holder[key]
        table = wider if self.random.random() < 0.7 else narrower
        if node not in table or (isinstance(holder, list) and table[node] in holder):
            return False
        holder[key] = table[node]
        return True

    def _replace(self, holder: Any, key: Any) -> bool:
        fresh = self.random.choice(PRIMITIVES)
        if (isinstance(holder, list) and fresh in holder) or list(_named(holder[key])):
            return False
        holder[key] = fresh
        return True

    def _nullable(self, holder: Any, key: Any) -> bool:
        if isinstance(holder, list) or holder[key] == "null":
            return False
        holder[key] = ["null", holder[key]]
        if "default" in holder:
            del holder["default"]
        return True


NO_DEFAULT = object()


def _kind(node: Node) -> str:
    if isinstance(node, list):
        return "union"
    return str(node["type"]) if isinstance(node, dict) else str(node)


def _places(holder: Any, key: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (holder, key) of every type in a document."""
    yield holder, key
    node = holder[key]
    if isinstance(node, list):
        for index in range(len(node)):
            yield from _places(node, index)
    elif isinstance(node, dict):
        for inner in ("items", "values"):
            if inner in node:
                yield from _places(node, inner)
        for field in node.get("fields", ()):
            yield from _places(field, "type")


def _named(node: Any) -> Iterator[Node]:
    """Yield the definitions of names, and their uses, in a part of a document."""
    for holder, key in _places({"type": {"type": "record", **node} if isinstance(node, dict) and "fields" in node
                                else node["type"] if isinstance(node, dict) and "items" not in node
                                and "values" not in node and isinstance(node.get("type"), dict | list) else node},
                               "type"):  # fmt: skip
        found = holder[key]
        if (isinstance(found, dict) and "name" in found) or (isinstance(found, str) and found not in PRIMITIVES):
            yield found


def _uses(fields: list[Any], name: str) -> bool:
    return any(holder[key] == name for field in fields for holder, key in _places(field, "type"))


# -- data -----------------------------------------------------------------------------------


def datum(schema: Schema, chance: random.Random) -> bytes:
    """Return one value of the schema in Avro's binary encoding (specification, "Binary Encoding")."""
    return b"".join(_encoded(schema, schema.root, chance, 0))


def _encoded(schema: Schema, type_: Type, chance: random.Random, depth: int) -> Iterator[bytes]:
    found = schema.resolve(type_)
    if isinstance(found, Primitive):
        yield _primitive(found.kind, chance)
    elif isinstance(found, Union):
        at = chance.randrange(len(found.branches))
        nulls = [i for i, one in enumerate(found.branches) if isinstance(one, Primitive) and one.kind == "null"]
        at = nulls[0] if depth > 8 and nulls else at
        yield _long(at)
        yield from _encoded(schema, found.branches[at], chance, depth + 1)
    elif isinstance(found, Array | Map):
        count = 0 if depth > 8 else chance.randint(1, 2)
        if count:
            yield _long(count)
        for number in range(count):
            if isinstance(found, Map):
                yield _text(f"k{number}".encode())
            yield from _encoded(schema, found.items if isinstance(found, Array) else found.values, chance, depth + 1)
        yield _long(0)
    elif isinstance(found, Enumeration):
        yield _long(chance.randrange(len(found.symbols)))
    elif isinstance(found, Fixed):
        yield b"x" * found.size
    else:
        for field in found.fields:
            yield from _encoded(schema, field.type, chance, depth + 1)


def _primitive(kind: str, chance: random.Random) -> bytes:
    if kind == "null":
        return b""
    if kind == "boolean":
        return b"\x01"
    if kind in ("int", "long"):
        return _long(chance.randint(-1000, 1000))
    if kind in ("float", "double"):
        return struct.pack("<f" if kind == "float" else "<d", 1.5)
    return _text(b"text")


def _long(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value & ~0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(value: bytes) -> bytes:
    return _long(len(value)) + value
