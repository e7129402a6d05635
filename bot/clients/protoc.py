"""protoc, from grpcio-tools, as a subprocess: .proto texts in, descriptors or errors with places out.

The texts are written to a temporary folder under the names that imports use, so that files from git, from a registry
and from the disk are one case, and no path of the machine reaches protoc. One call compiles everything. protoc ends at
the first file with an error: then one more process tries each file alone, and the rest is compiled without the broken
ones and those that need them.

Promise
    Each file asked for comes back compiled or with an error of its own; none is left out in silence.
    protoc sees only names without `..` and nothing outside the folder but the well-known types.

`protoc.main` writes errors to the C stderr, hence the subprocess (0.06 s to start). Lines and columns are an editor's,
from 1. Measured with libprotoc 35: 1,000 files of 30 fields in 0.45 s, 0.1 s more to freeze them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import grpc_tools
from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from bot.clients.proto_imports import WELL_KNOWN, Imports, Places, Stage
from bot.descriptors import (
    ProtoEnum,
    ProtoError,
    ProtoField,
    ProtoFile,
    ProtoMessage,
    ProtoSet,
    ProtoValue,
)
from bot.model import in_one_line
from bot.ports import Unreachable

WELL_KNOWN_FOLDER = Path(grpc_tools.__file__).parent / "_proto"
ROUNDS = 20
"""How often the rest is compiled again: after each file alone, only what clashes with another is left to find."""
SHOWN_ERRORS = 20
SHOWN_CHARACTERS = 500

_ERROR = re.compile(r"(?P<name>[^\n]+?):(?:(?P<line>\d+):(?P<column>\d+):)? (?P<words>.+)")
_ALONE = """
import os, sys
from grpc_tools import protoc
names = open(sys.argv[1], encoding="utf-8", errors="surrogateescape").read().split("\\0")
common = ["protoc", "-I.", "-I" + sys.argv[2], "--descriptor_set_out=" + os.devnull]
for index, name in enumerate(names):
    failed = protoc.main([*common, name]) != 0
    os.write(2, b"\\n\\0%d %d\\n" % (index, failed))
"""
_MARK = re.compile(r"\n\0(\d+) (\d)\n")
_IMPORT_FAILED = re.compile(r'Import "[^"]*" was not found or had errors\.')
_NOT_WRONG = ("warning: ", "Suggested field numbers")


class GrpcProtoc:
    """Implements `bot.ports.Protoc`. Holds no state: calls may run side by side."""

    def compile(
        self,
        texts: Mapping[str, str],
        *,
        only: Collection[str] | None = None,
        folders: Sequence[str] = (),
        read: Callable[[str], str | None] = lambda path: None,
        places: bool = True,
        deadline_s: float = 120.0,
    ) -> ProtoSet:
        """Return the files that compile and the errors of those that do not. Raises Unreachable."""
        ends_at = time.monotonic() + deadline_s
        imports = Imports(texts, tuple(texts if only is None else only), folders, read, _is_well_known)
        errors = {path: [error] for path, error in imports.wrong.items()}
        files: dict[str, ProtoFile] = {}
        healthy = _without_spoiled(imports, imports.entries, errors)
        for stage, entries in imports.stages(healthy):
            _compile_stage(imports, stage, entries, files, errors, places, ends_at)
        asked = set(imports.entries)
        # What a file beyond the asked ones breaks is told where that file is imported.
        said = [one for path in imports.entries if path not in files for one in errors[path]]
        return ProtoSet({path: files[path] for path in imports.entries if path in files and path in asked}, tuple(said))


def _is_well_known(name: str) -> bool:
    return name.startswith(WELL_KNOWN) and (WELL_KNOWN_FOLDER / name).is_file()


def _without_spoiled(imports: Imports, entries: Iterable[str], errors: dict[str, list[ProtoError]]) -> list[str]:
    """Return the entries that need no file with errors; the others get the error that names it."""
    for path, name in imports.broken_by(errors).items():
        line, column = imports.import_place(path, name)
        errors[path] = [
            ProtoError(
                path,
                f'import "{name}" does not compile, so this file was not checked',
                f"Correct {imports.targets[path][name]} first: its errors stand there.",
                line,
                column,
            )
        ]
    return [path for path in entries if path not in errors]


def _compile_stage(
    imports: Imports,
    stage: Stage,
    entries: list[str],
    files: dict[str, ProtoFile],
    errors: dict[str, list[ProtoError]],
    places: bool,
    ends_at: float,
) -> None:
    """Compile the entries of one stage into `files`, or tell in `errors` why not."""
    with tempfile.TemporaryDirectory(prefix="cdc-protoc-") as made:
        folder = Path(made)
        _write(folder / "in", imports, stage, errors)
        entries = _without_spoiled(imports, entries, errors)
        for attempt in range(ROUNDS):
            if not entries:
                return
            found, said = _run(folder, [imports.names[path] for path in entries], places, ends_at)
            if found is not None:
                for descriptor, path in zip(_in_order(found, imports, entries), entries, strict=True):
                    files[path] = _Freezer(path, imports.texts[path], places).file(descriptor)
                return
            if attempt == 0:
                said = _alone(folder, [imports.names[path] for path in entries], ends_at) or said
            wrong = _errors(said, imports, stage)
            if not wrong:
                words = f"not checked: protoc said {in_one_line(said, SHOWN_CHARACTERS) or 'nothing'}"
                wrong = {path: [ProtoError(path, words, "Check this file alone.")] for path in entries}
            errors.update(wrong)
            entries = _without_spoiled(imports, entries, errors)
        for path in entries:
            errors[path] = [ProtoError(path, "not checked: too many files clash", "Correct the other errors first.")]


def _in_order(
    found: descriptor_pb2.FileDescriptorSet, imports: Imports, entries: Iterable[str]
) -> list[descriptor_pb2.FileDescriptorProto]:
    by_name = {one.name: one for one in found.file}
    return [by_name[imports.names[path]] for path in entries]


def _write(folder: Path, imports: Imports, stage: Stage, errors: dict[str, list[ProtoError]]) -> None:
    made: set[Path] = set()
    for name, path in stage.items():
        target = folder / name
        try:
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            target.write_bytes(imports.texts[path].encode(errors="surrogateescape"))
        except (OSError, ValueError) as error:
            errors[path] = [ProtoError(path, f"cannot be given to protoc: {error}", "Rename the file or its import.")]


def _run(
    folder: Path, names: Iterable[str], places: bool, ends_at: float
) -> tuple[descriptor_pb2.FileDescriptorSet | None, str]:
    """Return the descriptors, or None and what protoc said."""
    arguments = folder / "arguments"
    arguments.write_text("".join(f"{name}\n" for name in names), encoding="utf-8", errors="surrogateescape")
    out = folder / "out"
    command = [
        *(sys.executable, "-P", "-m", "grpc_tools.protoc", "-I.", f"-I{WELL_KNOWN_FOLDER}"),
        *(["--include_source_info"] if places else []),
        *(f"--descriptor_set_out={out}", f"@{arguments}"),
    ]
    code, said = _call(command, folder / "in", ends_at)
    if code != 0:
        return None, said
    try:
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()), said
    except (OSError, DecodeError) as error:
        raise Unreachable(f"protoc ended well, but what it wrote cannot be read: {error}") from error


def _alone(folder: Path, names: Sequence[str], ends_at: float) -> str:
    """Return what protoc says of each file that fails by itself, one after another."""
    listed = folder / "names"
    listed.write_text("\0".join(names), encoding="utf-8", errors="surrogateescape")
    command = [sys.executable, "-P", "-c", _ALONE, str(listed), str(WELL_KNOWN_FOLDER)]
    _, said = _call(command, folder / "in", ends_at)
    parts = _MARK.split(said)
    return "\n".join(words for words, failed in zip(parts[0::3], parts[2::3], strict=False) if failed == "1")


def _call(command: Sequence[str], folder: Path, ends_at: float) -> tuple[int, str]:
    """Run in `folder`: protoc names a file in its errors as it was given, below `-I.`.

    The folder holds foreign files, and an import may be called `json.py`: Python is told (`-P`) not to look there.
    """
    left_s = max(0.1, ends_at - time.monotonic())
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, timeout=left_s)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"protoc did not end within {error.timeout:.0f} s") from error
    except OSError as error:
        raise Unreachable(f"protoc could not be started: {error}") from error
    return done.returncode, done.stderr.decode(errors="replace")


def _errors(said: str, imports: Imports, stage: Stage) -> dict[str, list[ProtoError]]:
    """Return the errors by path. What follows from an import that failed is left out: the import's own error counts."""
    found: dict[str, list[ProtoError]] = {}
    for line in said.splitlines():
        match = _ERROR.fullmatch(line)
        if match is None or match["words"].startswith(_NOT_WRONG) or (path := stage.get(match["name"])) is None:
            continue
        error = _error(path, match, imports)
        if error not in found.setdefault(path, []):
            found[path].append(error)
    # In a ring of imports each file blames the next, and itself: only a file that blames others alone is left out.
    causes = {path for path, errors in found.items() if any(not _IMPORT_FAILED.match(one.message) for one in errors)}
    return {
        path: [one for one in errors if path not in causes or not _IMPORT_FAILED.match(one.message)][:SHOWN_ERRORS]
        for path, errors in found.items()
        if path in causes or not causes
    }


def _error(path: str, match: re.Match[str], imports: Imports) -> ProtoError:
    words = in_one_line(match["words"], SHOWN_CHARACTERS)
    remedy = "Correct the line; protoc compiles nothing of a file with an error."
    if "already defined in file" in words:
        remedy = "Rename one of the two, or give only one of the files to this run."
    elif "recursively imports itself" in words:
        remedy = "Move what both files need into a third one that imports neither."
    if match["line"] is None:
        return ProtoError(path, words, remedy)
    line, column = int(match["line"]), int(match["column"])
    return ProtoError(path, words, remedy, line, Places(imports.texts[path]).column(line - 1, column - 1) + 1)


# --- freezing ------------------------------------------------------------------------------------

_SCALARS: Mapping[int, str] = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()
}  # fmt: skip
_GROUP = descriptor_pb2.FieldDescriptorProto.TYPE_GROUP
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_REQUIRED = descriptor_pb2.FieldDescriptorProto.LABEL_REQUIRED
_REPEATED = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
_NEVER_PACKED = frozenset(
    {
        _GROUP,
        _MESSAGE,
        descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
        descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    }
)
_FEATURES = descriptor_pb2.FeatureSet
_MESSAGES_OF_FILE, _ENUMS_OF_FILE, _PACKAGE, _SYNTAX = 4, 5, 2, 12
_FIELDS, _NESTED, _ENUMS, _VALUES = 2, 3, 4, 2

Path_ = tuple[int, ...]
Spot = tuple[int, int, str]
NOWHERE: Spot = (1, 1, "")


class _Freezer:
    """One file's descriptor, frozen. `spots` maps the path of a declaration to its line, column and comment."""

    def __init__(self, path: str, text: str, with_places: bool) -> None:
        self._path = path
        self._places = Places(text)
        self._with_places = with_places
        self._spots: dict[Path_, Spot] = {}
        self._legacy = True
        self._presence = _FEATURES.EXPLICIT
        self._delimited = False
        self._packed = True
        self._closed = False

    def file(self, descriptor: descriptor_pb2.FileDescriptorProto) -> ProtoFile:
        self._read_spots(descriptor)
        syntax = descriptor.syntax or "proto2"
        if syntax == "editions":
            syntax = descriptor_pb2.Edition.Name(descriptor.edition).removeprefix("EDITION_")
        self._legacy = syntax == "proto2"
        self._presence = _FEATURES.IMPLICIT if syntax == "proto3" else _FEATURES.EXPLICIT
        features = descriptor.options.features
        if features.field_presence:
            self._presence = features.field_presence
        self._delimited = features.message_encoding == _FEATURES.DELIMITED
        self._packed = features.repeated_field_encoding != _FEATURES.EXPANDED and not self._legacy
        self._closed = features.enum_type == _FEATURES.CLOSED or self._legacy
        if syntax == "proto2" and self._with_places and (_SYNTAX,) not in self._spots:
            syntax = ""
        package_line, package_column, _ = self._spots.get((_PACKAGE,), NOWHERE)
        return ProtoFile(
            self._path,
            descriptor.name,
            descriptor.package,
            syntax,
            tuple(descriptor.dependency),
            self._messages(descriptor.message_type, descriptor.package, (_MESSAGES_OF_FILE,)),
            self._all_enums(descriptor.enum_type, descriptor.package, (_ENUMS_OF_FILE,)),
            package_line,
            package_column,
            "\n".join(self._spots[one][2] for one in ((_SYNTAX,), (_PACKAGE,)) if one in self._spots).strip(),
        )

    def _read_spots(self, descriptor: descriptor_pb2.FileDescriptorProto) -> None:
        """Keep the place of each declaration: their paths are pairs of a field and an index. A part's is left out."""
        column = self._places.column
        for location in descriptor.source_code_info.location:
            path = location.path
            if len(path) & 1 and len(path) != 1:
                continue
            span = location.span
            comment = location.leading_comments
            if location.trailing_comments:
                comment = f"{comment}\n{location.trailing_comments}"
            key = tuple(path)
            if key not in self._spots:
                self._spots[key] = (span[0] + 1, column(span[0], span[1]) + 1, comment)

    def _messages(
        self, descriptors: Iterable[descriptor_pb2.DescriptorProto], outer: str, path: Path_
    ) -> tuple[ProtoMessage, ...]:
        return tuple(
            self._message(one, f"{outer}.{one.name}" if outer else one.name, (*path, index))
            for index, one in enumerate(descriptors)
            if not (one.HasField("options") and one.options.map_entry)
        )

    def _message(self, descriptor: descriptor_pb2.DescriptorProto, name: str, path: Path_) -> ProtoMessage:
        maps = {
            f".{name}.{one.name}": one
            for one in descriptor.nested_type
            if one.HasField("options") and one.options.map_entry
        }
        # The oneofs that `optional` makes come last and hold one field each.
        made = {one.oneof_index for one in descriptor.field if one.proto3_optional}
        oneofs = {index: one.name for index, one in enumerate(descriptor.oneof_decl) if index not in made}
        line, column, comment = self._spots.get(path, NOWHERE)
        fields_path = (*path, _FIELDS)
        return ProtoMessage(
            name,
            tuple(self._field(one, oneofs, maps, (*fields_path, index)) for index, one in enumerate(descriptor.field)),
            self._messages(descriptor.nested_type, name, (*path, _NESTED)) if descriptor.nested_type else (),
            self._all_enums(descriptor.enum_type, name, (*path, _ENUMS)) if descriptor.enum_type else (),
            tuple(oneofs.values()),
            tuple((one.start, one.end - 1) for one in descriptor.reserved_range),
            tuple(descriptor.reserved_name),
            tuple((one.start, one.end - 1) for one in descriptor.extension_range),
            line,
            column,
            comment,
        )

    def _field(
        self,
        descriptor: descriptor_pb2.FieldDescriptorProto,
        oneofs: Mapping[int, str],
        maps: Mapping[str, descriptor_pb2.DescriptorProto],
        path: Path_,
    ) -> ProtoField:
        presence, delimited, packed = self._presence, self._delimited, self._packed
        if descriptor.HasField("options") and descriptor.options.HasField("features"):
            features = descriptor.options.features
            presence = features.field_presence or presence
            if features.message_encoding:
                delimited = features.message_encoding == _FEATURES.DELIMITED
            if features.repeated_field_encoding:
                packed = features.repeated_field_encoding == _FEATURES.PACKED
        if descriptor.HasField("options") and descriptor.options.HasField("packed"):
            packed = descriptor.options.packed
        type_, label = descriptor.type, "optional"
        written = descriptor.label
        map_ = None
        if written == _REPEATED:
            label = "repeated"
            if type_ == _MESSAGE and (entry := maps.get(descriptor.type_name)) is not None:
                key, value = (self._field(one, {}, {}, ()) for one in entry.field)
                map_ = (key, value)
        elif written == _REQUIRED or presence == _FEATURES.LEGACY_REQUIRED:
            label = "required"
        if type_ == _MESSAGE and delimited and map_ is None:
            type_ = _GROUP
        oneof = oneofs.get(descriptor.oneof_index) if descriptor.HasField("oneof_index") else None
        line, column, comment = self._spots.get(path, NOWHERE)
        return ProtoField(
            descriptor.name,
            descriptor.number,
            label,
            _SCALARS[type_],
            descriptor.type_name[1:],
            descriptor.json_name,
            oneof,
            label != "repeated"
            and (
                type_ in (_MESSAGE, _GROUP)
                or oneof is not None
                or presence != _FEATURES.IMPLICIT
                or descriptor.proto3_optional
            ),
            descriptor.default_value if descriptor.HasField("default_value") else None,
            map_,
            packed and label == "repeated" and type_ not in _NEVER_PACKED,
            line,
            column,
            comment,
        )

    def _all_enums(
        self, descriptors: Iterable[descriptor_pb2.EnumDescriptorProto], outer: str, path: Path_
    ) -> tuple[ProtoEnum, ...]:
        return tuple(
            self._enum(one, f"{outer}.{one.name}" if outer else one.name, (*path, index))
            for index, one in enumerate(descriptors)
        )

    def _enum(self, descriptor: descriptor_pb2.EnumDescriptorProto, name: str, path: Path_) -> ProtoEnum:
        closed = self._closed
        if own := descriptor.options.features.enum_type:
            closed = own == _FEATURES.CLOSED
        values = []
        for index, one in enumerate(descriptor.value):
            values.append(ProtoValue(one.name, one.number, *self._spots.get((*path, _VALUES, index), NOWHERE)))
        return ProtoEnum(
            name,
            tuple(values),
            tuple((one.start, one.end) for one in descriptor.reserved_range),
            tuple(descriptor.reserved_name),
            descriptor.options.allow_alias,
            closed,
            *self._spots.get(path, NOWHERE),
        )
