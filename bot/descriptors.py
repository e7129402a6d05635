"""What protoc says of .proto files, frozen: the values between the client that runs it and the rules that judge it.

Names are full names without a leading dot (`shop.v1.Customer`). Lines and columns count from 1; they are 1 and comments
are empty where the file was compiled without places (the previous side of a comparison).

Invariants
    Presence is resolved: `has_presence` is true where a reader can tell "not set" from the zero value, whatever says so
    (proto2, `optional`, a message, a oneof, the features of an edition).
    A map field carries its key and value; the entry message that protoc makes up is not among the messages.
    Reserved ranges include both ends.
    Places and comments do not count where two values are compared: a version without them may equal one with them.

Source: descriptor.proto of protobuf 35, and "Feature Settings for Editions".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ProtoField:
    """`label` is `optional`, `required` or `repeated` (`optional` also where nothing is written).

    `type` is the scalar's name, `message`, `enum` or `group`; `type_name` the full name of the last three. `oneof` is
    the name of a oneof that stands in the text, not the one that `optional` makes. `map` is key and value. `is_packed`:
    a list of numbers that is written as one piece, which proto3 does and proto2 does not.
    """

    name: str
    number: int
    label: str
    type: str
    type_name: str = ""
    json_name: str = ""
    oneof: str | None = None
    has_presence: bool = True
    default: str | None = None
    map: tuple[ProtoField, ProtoField] | None = None
    is_packed: bool = field(default=False, compare=False)
    line: int = field(default=1, compare=False)
    column: int = field(default=1, compare=False)
    comment: str = field(default="", compare=False)

    @property
    def is_repeated(self) -> bool:
        return self.label == "repeated"

    @property
    def is_required(self) -> bool:
        return self.label == "required"

    @property
    def words(self) -> str:
        """The type as one writes it: `repeated string`, `map<string, int64>`, `shop.v1.Money`."""
        if self.map is not None:
            return f"map<{self.map[0].words}, {self.map[1].words}>"
        type_ = self.type_name or self.type
        return type_ if self.label == "optional" else f"{self.label} {type_}"


@dataclass(frozen=True, slots=True)
class ProtoValue:
    name: str
    number: int
    line: int = field(default=1, compare=False)
    column: int = field(default=1, compare=False)
    comment: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ProtoEnum:
    """Values in the order of the text. A closed enum (proto2) keeps values it does not know as unknown fields."""

    name: str
    values: tuple[ProtoValue, ...]
    reserved_ranges: tuple[Range, ...] = ()
    reserved_names: tuple[str, ...] = ()
    allow_alias: bool = False
    is_closed: bool = False
    line: int = field(default=1, compare=False)
    column: int = field(default=1, compare=False)
    comment: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ProtoMessage:
    """`fields` in the order of the text, those of oneofs among them; `oneofs` are the names of the written ones."""

    name: str
    fields: tuple[ProtoField, ...]
    messages: tuple[ProtoMessage, ...] = ()
    enums: tuple[ProtoEnum, ...] = ()
    oneofs: tuple[str, ...] = ()
    reserved_ranges: tuple[Range, ...] = ()
    reserved_names: tuple[str, ...] = ()
    extension_ranges: tuple[Range, ...] = ()
    line: int = field(default=1, compare=False)
    column: int = field(default=1, compare=False)
    comment: str = field(default="", compare=False)


@dataclass(frozen=True)
class ProtoFile:
    """`file` is the path as the caller gave it, `name` the one that imports use.

    `syntax` is `proto2`, `proto3`, an edition (`2023`), or empty where the text says none and protoc assumes proto2.
    """

    file: str
    name: str
    package: str
    syntax: str
    imports: tuple[str, ...] = ()
    messages: tuple[ProtoMessage, ...] = ()
    enums: tuple[ProtoEnum, ...] = ()
    package_line: int = field(default=1, compare=False)
    package_column: int = field(default=1, compare=False)
    comment: str = field(default="", compare=False)

    def all_messages(self) -> Iterator[ProtoMessage]:
        """Yield the messages, outer before inner, in the order of the text."""
        yield from _nested(self.messages)

    def all_enums(self) -> Iterator[ProtoEnum]:
        yield from self.enums
        for message in self.all_messages():
            yield from message.enums


@dataclass(frozen=True)
class ProtoError:
    """Why a file was not compiled, with the place in it. `remedy` is what to do."""

    file: str
    message: str
    remedy: str
    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class ProtoSet:
    """The files that compiled, by their paths, and what stopped the others: a file asked for is in one of the two."""

    files: Mapping[str, ProtoFile] = field(default_factory=dict)
    errors: tuple[ProtoError, ...] = ()


@dataclass(frozen=True)
class BufFinding:
    """One line of `buf`: its own rule id, `FIELD_SAME_TYPE`, and words. `file` is the path as it was given."""

    file: str
    line: int
    column: int
    rule: str
    message: str


def _nested(messages: tuple[ProtoMessage, ...]) -> Iterator[ProtoMessage]:
    for message in messages:
        yield message
        if message.messages:
            yield from _nested(message.messages)
