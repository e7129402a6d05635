"""What Confluent's registry refuses of a change to a .proto schema: far less than what breaks its readers.

It compares messages by name and fields by number, without the package. Taken as fine: a field removed (from no oneof),
renamed or at another number, any number or enum for any other of its group, `string` for `bytes`, lists of these and of
messages for single ones, a field moved into a new oneof, anything about enums, reservations, JSON names and defaults.

Source: SchemaDiff, MessageSchemaDiff, FieldSchemaDiff, OneOfDiff of confluentinc/schema-registry, measured on its own
data file. Karapace and Apicurio differ in details; their own answer, where it was asked for, stands beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.checks.protobuf.pairs import local, type_of
from bot.descriptors import ProtoField, ProtoFile, ProtoMessage

Place = tuple[str, int]
"""A message's name below its package, and a field's number, 0 for the message itself."""

_GROUPS = {
    **dict.fromkeys(("int32", "int64", "uint32", "uint64", "bool", "enum"), "number"),
    **dict.fromkeys(("sint32", "sint64"), "signed number"),
    **dict.fromkeys(("string", "bytes"), "string or bytes"),
    **dict.fromkeys(("fixed32", "sfixed32"), "fixed32"),
    **dict.fromkeys(("fixed64", "sfixed64"), "fixed64"),
}


def refusals(original: ProtoFile, update: ProtoFile) -> Mapping[Place, str]:
    """Return Confluent's name of each difference that makes it refuse `update` after `original`, by its place.

    That is the question at BACKWARD; at FORWARD it is asked the other way around.
    """
    found: dict[Place, str] = {}
    _messages(original, update, original.messages, update.messages, found)
    return found


def _messages(
    original: ProtoFile,
    update: ProtoFile,
    before: tuple[ProtoMessage, ...],
    after: tuple[ProtoMessage, ...],
    found: dict[Place, str],
) -> None:
    kept = {local(one.name, update.package): one for one in after}
    for old in before:
        name = local(old.name, original.package)
        if (new := kept.get(name)) is None:
            found[name, 0] = "MESSAGE_REMOVED"
            continue
        _message(original, update, name, old, new, found)
        if old.messages:
            _messages(original, update, old.messages, new.messages, found)


def _message(
    original: ProtoFile,
    update: ProtoFile,
    name: str,
    old: ProtoMessage,
    new: ProtoMessage,
    found: dict[Place, str],
) -> None:
    before = {field.number: field for field in old.fields}
    after = {field.number: field for field in new.fields}
    for number, field in before.items():
        now = after.get(number)
        if now is None:
            if field.is_required:
                found[name, number] = "REQUIRED_FIELD_REMOVED"
        elif (said := _field(original, update, field, now)) is not None:
            found[name, number] = said
        if field.oneof in new.oneofs and (now is None or now.oneof != field.oneof):
            found[name, number] = "ONEOF_FIELD_REMOVED"
    for number, field in after.items():
        if field.is_required and number not in before:
            found[name, number] = "REQUIRED_FIELD_ADDED"
    for oneof in new.oneofs:
        members = [field.number for field in new.fields if field.oneof == oneof and field.number in before]
        moved = [number for number in members if before[number].oneof is None]
        if len(moved) > 1:
            found.update(dict.fromkeys(((name, number) for number in moved), "MULTIPLE_FIELDS_MOVED_TO_ONEOF"))
        elif moved and len(members) > 1:
            found[name, moved[0]] = "FIELD_MOVED_TO_EXISTING_ONEOF"


def _field(original: ProtoFile, update: ProtoFile, old: ProtoField, new: ProtoField) -> str | None:
    if _kind(old) != _kind(new):
        return "FIELD_KIND_CHANGED"
    if old.map is not None and new.map is not None:
        inner = (_field(original, update, was, now) for was, now in zip(old.map, new.map, strict=True))
        return next((said for said in inner if said is not None), None)
    if _kind(old) == "message":
        return None if type_of(old, original) == type_of(new, update) else "FIELD_NAMED_TYPE_CHANGED"
    if _GROUPS.get(old.type, old.type) != _GROUPS.get(new.type, new.type):
        return "FIELD_SCALAR_KIND_CHANGED"
    if old.is_repeated != new.is_repeated and _GROUPS.get(old.type) != "string or bytes":
        return "FIELD_NUMERIC_LABEL_CHANGED"
    return None


def _kind(field: ProtoField) -> str:
    if field.map is not None:
        return "map"
    return "message" if field.type in ("message", "group") else "scalar"
