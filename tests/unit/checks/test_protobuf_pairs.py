"""Our verdicts on generated pairs of protos beside what the Protobuf runtime reads; our remedies, pasted.

Each pair is one message with one field (or oneof) in two forms. The records are written with the old descriptors and
read with the new ones, so "the wire would break" is told exactly where the value does not come back.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from bot.checks.protobuf.changes import Before, judge
from bot.checks.violation import Violation
from tests.unit.checks.proto_texts import HEADS, PROTOC, SETTINGS

PAIRS = 300
SEED = 7
TYPES = (
    "message P { {opt}string x = 1; {opt}int32 y = 2; }\nmessage Q { {opt}int32 x = 1; }\n"
    "message R { {opt}string z = 1; {opt}int32 y = 2; }\n"
    "message Entry { {opt}string key = 1; {opt}int32 value = 2; }\n"
    "enum E { E_UNSPECIFIED = 0; E_A = 1; E_B = 5; }\nenum F { F_UNSPECIFIED = 0; F_C = 1; F_D = 7; }\n"
)
INTS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1), "uint32": (0, 2**32 - 1),
        "uint64": (0, 2**64 - 1)}  # fmt: skip
INTS |= {"sint32": INTS["int32"], "sint64": INTS["int64"], "fixed32": INTS["uint32"], "fixed64": INTS["uint64"]}
INTS |= {"sfixed32": INTS["int32"], "sfixed64": INTS["int64"]}
SCALARS = (*INTS, "bool", "float", "double", "string", "bytes", "E", "F", "P", "Q", "R")


class Pair(NamedTuple):
    syntax: str
    old: str
    new: str


def forms(syntax: str) -> list[str]:
    """Return the declarations that a field `a = 1` can have."""
    found = []
    for type_ in SCALARS:
        found += [f"repeated {type_} a = 1;", f"oneof o {{ {type_} a = 1; }}"]
        found.append(f"{type_} a = 1;" if syntax == "2023" else f"optional {type_} a = 1;")
        if syntax == "proto3":
            found.append(f"{type_} a = 1;")
    found += ["map<string, int32> a = 1;", "map<int32, int32> a = 1;", "map<string, int64> a = 1;"]
    found += ["map<string, P> a = 1;", "repeated Entry a = 1;"]
    if syntax == "proto2":
        found += ["required string a = 1;", "required int32 a = 1;", "optional int32 a = 1 [default = 4];"]
        found += ["repeated int32 a = 1 [packed = true];", "optional group A = 1 { optional string x = 1; }"]
        found += ['optional string a = 1 [default = "q\\"\\n\\303\\251"];', 'optional bytes a = 1 [default = "\\377"];']
        found += ["optional E a = 1 [default = E_B];", "optional float a = 1 [default = -inf];"]
    elif syntax == "2023":
        found += ["int32 a = 1 [features.field_presence = IMPLICIT];", "int32 a = 1 [default = 4];"]
        found += ["string a = 1 [features.field_presence = LEGACY_REQUIRED];"]
        found += ["P a = 1 [features.message_encoding = DELIMITED];"]
        found += ["repeated int32 a = 1 [features.repeated_field_encoding = EXPANDED];"]
    else:
        found += ["repeated int32 a = 1 [packed = false];"]
    found += ['repeated string a = 1 [json_name = "b"];']
    return found


def pairs(count: int | None = PAIRS) -> list[Pair]:
    every = [
        Pair(syntax, old, new)
        for syntax in ("proto3", "proto2", "2023")
        for old, new in itertools.permutations(forms(syntax), 2)
    ]
    return every if count is None else random.Random(SEED).sample(every, count)


def text(syntax: str, lines: str, index: int) -> str:
    head = HEADS[syntax].replace("shop.v1", f"case{index}.v1")
    types = TYPES.replace("{opt}", "" if syntax == "2023" else "optional ")
    return f"{head}{types}message M {{\n{lines}\n}}\n"


def path(index: int) -> str:
    return f"case{index}/v1/m.proto"


def runtime(texts: dict[str, str], folder: Any) -> dict[str, Any]:
    """Return the class of each file's `M`, by path, as the runtime makes it of what protoc wrote."""
    for name, content in texts.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content)
    listed = folder / "names"
    listed.write_text("\n".join(texts))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--descriptor_set_out=out", f"@{listed}"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    pool = descriptor_pool.DescriptorPool()
    for one in descriptor_pb2.FileDescriptorSet.FromString((folder / "out").read_bytes()).file:
        pool.Add(one)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(name.replace("/", ".")[: -len("m.proto")] + "M")
        )
        for name in texts
    }


def values(field: Any) -> list[Any]:
    """Return single values of a field's type, none of them zero."""
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields
            return [{one: other} for one, other in zip(values(key), itertools.cycle(values(value)), strict=False)]
        made = []
        for index in range(2):
            made.append(message_factory.GetMessageClass(field.message_type)())
            for inner in field.message_type.fields:
                setattr(made[-1], inner.name, values(inner)[index])
        return made
    if field.enum_type is not None:
        return [one.number for one in field.enum_type.values if one.number]
    name = descriptor_pb2.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    if name in INTS:
        low, high = INTS[name]
        return [1, 5, high] + ([-1, low] if low else [])
    return {"bool": [True], "float": [1.0, 2.5], "double": [1.0, 2.5], "string": ["a", "b\u00e9"],
            "bytes": [b"a", b"\xff"]}[name]  # fmt: skip


def plain(value: Any) -> Any:
    """Return a value as what it means, whatever the type that holds it."""
    if isinstance(value, str):
        return value.encode()
    if hasattr(value, "ListFields"):
        return {field.number: plain(inner) for field, inner in value.ListFields()}
    return value


def listed(field: Any, record: Any) -> list[Any]:
    """Return what the record holds in its field, as a list of one where it is no list."""
    if field.name not in {one.name for one, _ in record.ListFields()}:
        return []
    value = getattr(record, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return [{1: plain(key), 2: plain(value[key])} for key in sorted(value)]
    return [plain(one) for one in value] if field.is_repeated else [plain(value)]


def come_back(writer: Any, reader: Any) -> Iterator[bool]:
    """Yield of each sample record whether a reader finds in it what was written."""
    (out,) = writer.DESCRIPTOR.fields
    (into,) = reader.DESCRIPTOR.fields
    singles = values(out)
    is_map = out.message_type is not None and out.message_type.GetOptions().map_entry
    samples: list[Any] = [[one] for one in singles] + [singles[:2]] if out.is_repeated and not is_map else singles
    for sample in samples:
        record = writer()
        if is_map:
            for key, value in sample.items():
                if hasattr(value, "ListFields"):
                    getattr(record, out.name)[key].CopyFrom(value)
                else:
                    getattr(record, out.name)[key] = value
        elif out.is_repeated:
            getattr(record, out.name).extend(sample)
        elif out.message_type is not None:
            getattr(record, out.name).CopyFrom(sample)
        else:
            setattr(record, out.name, sample)
        try:
            read = reader.FromString(record.SerializeToString())
        except DecodeError:
            yield False
            continue
        yield listed(out, record) == listed(into, read)


@functools.cache
def judged(level: str, count: int | None = PAIRS) -> tuple[tuple[Violation, ...], ...]:
    cases = pairs(count)
    now = PROTOC.compile({path(i): text(one.syntax, one.new, i) for i, one in enumerate(cases)})
    before = PROTOC.compile({path(i): text(one.syntax, one.old, i) for i, one in enumerate(cases)}, places=False)
    assert ((), ()) == (now.errors, before.errors)
    return tuple(
        judge(now.files[path(i)], [Before(before.files[path(i)], "v1")], level, SETTINGS) for i in range(len(cases))
    )


def harm(violations: tuple[Violation, ...]) -> str:
    words = " ".join(one.message for one in violations)
    if "the wire would break" in words:
        return "breaks"
    return "lossy" if re.search("the wire (is read, but|would lose)", words) else "safe"


def disagreements(count: int | None, folder: Any) -> Iterator[tuple[Pair, str, tuple[Violation, ...]]]:
    """Yield the pairs that are read otherwise than we say, both ways: at FULL each side reads the other."""
    cases = pairs(count)
    before = runtime({path(i): text(one.syntax, one.old, i) for i, one in enumerate(cases)}, folder / "old")
    now = runtime({path(i): text(one.syntax, one.new, i) for i, one in enumerate(cases)}, folder / "new")
    for i, (case, violations) in enumerate(zip(cases, judged("FULL", count), strict=True)):
        ways = (before[path(i)], now[path(i)])
        read = max((worst(come_back(*way), *way) for way in (ways, ways[::-1])), key=HARMS.index)
        said = harm(violations)
        if read != said:
            yield case, f"{read} != {said}", violations


HARMS = ("safe", "lossy", "breaks")


def worst(read: Iterator[bool], writer: Any, reader: Any) -> str:
    """Return the worst that happens to a record; one without the field must be whole for the reader as well."""
    came = list(read)
    if writer().IsInitialized() and not reader().IsInitialized():
        return "breaks"
    return "safe" if all(came) else "lossy" if any(came) else "breaks"


CAUSES = {
    "a number that the sample enum has no name for, or a negative one": "numbers without a name in the enum",
    "proto2 does not look whether text is UTF-8; the readers of other languages do": "that are not UTF-8",
    "the samples hold one entry, or no key twice": "the last of two",
    "alike today, two messages still: the next change parts them": "have the same numbers and types",
    "numbers are compared here, and not the names they have": "the names of another enum",
    "true and true are the same, whichever is last": "only the last of the list remains",
}
"""Why the runtime reads a sample in full where we say that values can be lost: the words of the verdict."""


def test_the_wire_breaks_exactly_where_the_runtime_reads_nothing(tmp_path):
    """Never more harm on the wire than we said, and less only for a cause with a name."""
    unexplained = [
        (case, what, [one.message for one in violations])
        for case, what, violations in disagreements(PAIRS, tmp_path)
        if what != "safe != lossy" or not any(words in one.message for words in CAUSES.values() for one in violations)
    ]
    assert [] == unexplained
    assert {"safe", "lossy", "breaks"} == {harm(violations) for violations in judged("FULL")}


RULES = ("P203", "P204", "P207")


def test_what_a_remedy_says_to_write_compiles_and_passes():
    """Pasted in the place of the field, letter for letter."""
    texts, told = {}, {}
    for i, (case, violations) in enumerate(zip(pairs(), judged("BACKWARD"), strict=True)):
        for one in violations:
            code = re.match("Write `([^`]+)` again", one.remedy)
            if code is None or one.rule not in RULES or case.old.startswith("oneof"):
                continue
            name = f"{one.rule}/{path(i)}"
            texts[name] = text(case.syntax, code[1], i)
            told[name] = (case, one.rule, i)
    assert len(texts) > PAIRS / 3
    now = PROTOC.compile(texts, folders=RULES)
    assert [] == [(told[one.file][0], one.message) for one in now.errors]
    before = PROTOC.compile({name: text(told[name][0].syntax, told[name][0].old, told[name][2]) for name in texts},
                            folders=RULES)  # fmt: skip
    failed = []
    for name, (case, rule, _) in told.items():
        found = judge(now.files[name], [Before(before.files[name], "v1")], "BACKWARD", SETTINGS)
        if rule in {one.rule for one in found}:
            failed.append((case, [one.message for one in found]))
    assert [] == failed


def test_a_new_message_is_refused_where_the_registry_asks_forward():
    """Asked the other way around it is one that was removed; no reader of the wire minds."""
    old = text("proto3", "optional P a = 1;", 0)
    before = [Before(PROTOC.compile({path(0): old}).files[path(0)], "v1")]
    now = PROTOC.compile({path(0): old + "message New {}"}).files[path(0)]
    (found,) = judge(now, before, "FORWARD", SETTINGS)
    assert "new message New: the registry would refuse it (MESSAGE_REMOVED)" in found.message
    assert "the wire is safe" in found.message
    assert () == judge(now, before, "BACKWARD", SETTINGS)


def test_a_default_pasted_back_is_the_one_it_was():
    """Bytes come escaped from protoc, text does not."""
    for old, new in (
        (r'optional bytes a = 1 [default = "\377\n\""];', "optional int32 a = 1;"),
        (r'optional string a = 1 [default = "q\"\n\303\251"];', "optional int32 a = 1;"),
    ):
        was, now = (PROTOC.compile({path(0): text("proto2", lines, 0)}).files[path(0)] for lines in (old, new))
        found = next(one for one in judge(now, [Before(was, "v1")], "BACKWARD", SETTINGS) if one.rule == "P203")
        pasted = text("proto2", found.remedy.partition("`")[2].partition("`")[0], 0)
        assert was == PROTOC.compile({path(0): pasted}).files[path(0)]
