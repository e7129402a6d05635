"""The schema files of a check, found and read: below the paths that were given, now and in an earlier copy.

Promise
    A path that is not there or may not be read is a `not_known` line, and every other file is still read.
    Each file is read once: a link that leads back up, or to a folder already seen, is not followed again.

Paths are shown as they were given, normalised: `schemas/customers-value.avsc`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.checks.json_text import decode
from bot.checks.run import Snapshot, Source
from bot.checks.violation import Violation
from bot.ports import GitFiles

KINDS = {".avsc": "avro", ".proto": "proto", ".json": "json"}
PATTERNS = ("*.avsc", "*.proto", "*.json")
UNREAD = {".avdl": "Avro IDL: compile it to .avsc", ".avpr": "an Avro protocol: only schemas (.avsc) are checked"}
SKIPPED_FOLDERS = ("node_modules", "__pycache__")
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Found:
    """The files below some paths, by how they are shown; `roots` are the paths that are there."""

    files: tuple[str, ...]
    roots: tuple[str, ...]
    notes: tuple[str, ...]
    not_known: tuple[str, ...]


def find(paths: Sequence[str]) -> Found:
    """Return the schema files below `paths`. A file that is named itself is taken whatever its ending."""
    files: dict[str, None] = {}
    roots: list[str] = []
    unread: dict[str, int] = {}
    not_known: list[str] = []
    seen: set[tuple[int, int]] = set()
    for path in map(os.path.normpath, paths):
        if Path(path).is_file():
            files[path] = None
        elif Path(path).is_dir():
            for file in _walk(path, seen, not_known):
                ending = _ending(file)
                if ending in KINDS:
                    files[file] = None
                elif ending in UNREAD:
                    unread[ending] = unread.get(ending, 0) + 1
        else:
            not_known.append(f"{path}: there is no such file or folder")
            continue
        roots.append(path)
    notes = [f"not checked: {count} {ending} ({UNREAD[ending]})" for ending, count in unread.items()]
    return Found(tuple(files), tuple(roots), tuple(notes), tuple(not_known))


def _walk(folder: str, seen: set[tuple[int, int]], not_known: list[str]) -> Iterator[str]:
    """Yield the files below `folder` in the order of their names; hidden folders hold no schemas."""
    try:
        about = Path(folder).stat()
        if (about.st_dev, about.st_ino) in seen:
            return
        seen.add((about.st_dev, about.st_ino))
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        not_known.append(f"{folder}: {error.strerror}: nothing in it was checked")
        return
    for entry in inside:
        shown = os.path.normpath(entry.path)
        if entry.name.startswith(".") or entry.name in SKIPPED_FOLDERS:
            continue
        if _is_folder(entry):
            yield from _walk(shown, seen, not_known)
        else:
            yield shown


def _ending(file: str) -> str:
    """Return `.avsc`; a name that is only an ending has none."""
    name = file.rpartition("/")[2]
    return name[name.rfind(".") :].lower() if "." in name[1:] else ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def read(file: str) -> tuple[Source | None, tuple[Violation, ...], str | None]:
    """Return the file with what is wrong with its encoding; or a `not_known` line where it cannot be read."""
    try:
        # A pipe would be waited for without an end.
        if not stat.S_ISREG(Path(file).stat().st_mode):
            return None, (), f"{file}: not a regular file: it was not checked"
        with Path(file).open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        return None, (), f"{file}: {error.strerror}: it was not checked"
    if len(raw) > MAX_BYTES:
        return None, (), f"{file}: larger than {MAX_BYTES >> 20} MB: it was not checked"
    text, wrong = decode(raw, file)
    return Source(file, text, kind_of(file, text)), wrong, None


def kind_of(file: str, text: str) -> str:
    """Return avro, proto or json; a `.json` with `$schema` is JSON Schema, any other may be Avro."""
    ending = _ending(file)
    if ending == ".json":
        return "json" if '"$schema"' in text else "avro"
    return KINDS.get(ending, "avro")


def is_other_json(source: Source) -> bool:
    """Whether a `.json` is no JSON Schema: found in a folder it is settings or data, and no schema to check."""
    return source.kind == "avro" and _ending(source.file) == ".json"


# --- as they were ----------------------------------------------------------------------------------


def snapshot_of_git(told: GitFiles) -> Snapshot:
    texts = {file: decode(raw, file)[0] for file, raw in told.files.items()}
    return Snapshot(
        told.name,
        before={file: text for file, text in texts.items() if file not in told.deleted},
        unchanged=told.unchanged,
        deleted={file: text for file, text in texts.items() if file in told.deleted},
        renamed=told.renamed,
    )


def snapshot_of_folder(folder: str, found: Found, texts: dict[str, str]) -> Snapshot:
    """Return an earlier copy: of the paths themselves, or of the folder that they are in. `texts` are those of now.

    Raises OSError where there is no such file or folder.
    """
    Path(folder).stat()
    before: dict[str, str] = {}
    unchanged: set[str] = set()
    earlier: dict[str, str] = {}
    for root in found.roots:
        whole = Path(folder, root)
        start = str(whole) if whole.exists() and not Path(root).is_absolute() else folder
        if Path(start).is_file():
            earlier[root] = start
            continue
        if Path(root).is_file():
            earlier[root] = str(Path(start, Path(root).name))
            continue
        for file in find([start]).files:
            earlier[os.path.normpath(f"{root}/{os.path.relpath(file, start)}")] = file
    deleted: dict[str, str] = {}
    for file, old in earlier.items():
        source, _, _ = read(old)
        if source is None:
            continue
        if file not in texts:
            deleted[file] = source.text
        elif texts[file] == source.text:
            unchanged.add(file)
        else:
            before[file] = source.text
    return Snapshot(f"dir {folder}", before, frozenset(unchanged), deleted)
