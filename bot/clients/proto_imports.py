"""Which file an import of a .proto file means, and which files protoc can be given in one call.

An import is a name, not a path: protoc finds it below the folders of its `--proto_path`, and takes one file under two
names for two files that define the same twice. People rarely say these folders. So each import is tried below the
folders that were given, then below every folder between them and the file, then above; what an import calls a file
becomes its name. Entries whose imports mean different files by one name go to different stages.

This module reads nothing itself: it gets texts, and a function that reads one more.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from posixpath import dirname, join, normpath

from bot.descriptors import ProtoError

Stage = dict[str, str]
"""The name of a file for protoc -> its path."""

WELL_KNOWN = "google/protobuf/"
SHOWN_FOLDERS = 6

_TOKENS = re.compile(
    r"//[^\n]*|/\*.*?\*/"
    r"|\bimport\s+(?:(?:public|weak|option)\s+)?(\"[^\"\n]*\"|'[^'\n]*')"
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'",
    re.DOTALL,
)


@dataclass(frozen=True)
class Import:
    """One import statement: the name it gives, and its offset in the text."""

    name: str
    offset: int


def imports_of(text: str) -> tuple[Import, ...]:
    """Return the imports of a file, those in comments and strings left out; also of a file that does not compile."""
    if "import" not in text:
        return ()
    return tuple(Import(found[1][1:-1], found.start()) for found in _TOKENS.finditer(text) if found[1] is not None)


def place(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, from 1, of an offset."""
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


class Places:
    """What protoc calls a column, as an editor counts it: protoc counts bytes, and a tab as up to eight columns."""

    def __init__(self, text: str) -> None:
        self._lines = None if text.isascii() and "\t" not in text else text.split("\n")

    def column(self, line: int, column: int) -> int:
        """Return the character of `line`, both from 0, at protoc's column."""
        if self._lines is None or line >= len(self._lines):
            return column
        return bisect_right(_ends(self._lines[line]), column)


def _ends(line: str) -> list[int]:
    """Return protoc's column after each character."""
    ends, at = [], 0
    for character in line:
        at = at // 8 * 8 + 8 if character == "\t" else at + len(character.encode(errors="surrogatepass"))
        ends.append(at)
    return ends


class Imports:
    """The import graph of `texts`, and of what `read` finds beyond them.

    `entries` are the files that must compile. A path is `/`-separated; `folders` are searched first, in order.
    """

    def __init__(
        self,
        texts: Mapping[str, str],
        entries: Iterable[str],
        folders: Sequence[str],
        read: Callable[[str], str | None],
        is_known: Callable[[str], bool],
    ) -> None:
        self.texts = dict(texts)
        self.entries = tuple(entries)
        self._folders = tuple(dict.fromkeys(_folder(one) for one in folders))
        self._read = read
        self._is_known = is_known
        self._found: dict[str, str | None] = {}
        self.wrong: dict[str, ProtoError] = {}
        """The first import of a file that means no file."""
        self.targets: dict[str, dict[str, str]] = {}
        """What each import of a file means: name -> path. Well-known types that nobody brings are not in it."""
        waiting = list(self.entries)
        while waiting:
            path = waiting.pop()
            if path in self.targets:
                continue
            self.targets[path] = self._resolve(path)
            waiting.extend(self.targets[path].values())

    def _resolve(self, path: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for one in imports_of(self.texts[path]):
            if one.name in found:
                continue
            target = self._find(one.name, path)
            if target is not None:
                found[one.name] = target
            elif not self._is_known(one.name):
                self.wrong.setdefault(path, self._missing(path, one))
        return found

    def _bases(self, path: str) -> tuple[str, ...]:
        """Return the folders an import of `path` is looked for in, in order."""
        above = _ancestors(dirname(path))
        root = max((one for one in self._folders if one in above), key=len, default=None)
        inside = [] if root is None else [one for one in reversed(above) if len(one) > len(root)]
        rest = above if root is None else [one for one in above if one not in inside and one != root]
        return tuple(dict.fromkeys((*self._folders, *inside, *rest)))

    def _find(self, name: str, path: str) -> str | None:
        if _is_unsafe(name):
            return None
        tried = [join(base, name) if base else name for base in self._bases(path)]
        for one in tried:
            if one in self.texts:
                return one
        if self._is_known(name):
            return None
        for one in tried:
            if one not in self._found:
                self._found[one] = self._read(one)
            if (text := self._found[one]) is not None:
                self.texts[one] = text
                return one
        return None

    def _missing(self, path: str, one: Import) -> ProtoError:
        line, column = place(self.texts[path], one.offset)
        if _is_unsafe(one.name):
            return ProtoError(
                path,
                f'import "{one.name}": a path with `..`, `.`, `//`, `\\` or a leading `/` is none that protoc takes',
                "Write the path from the folder that all your imports begin at, and name that folder: "
                "`--proto-path FOLDER`.",
                line,
                column,
            )
        bases = [f"{base or '.'}/" for base in self._bases(path)]
        more = f" and {len(bases) - SHOWN_FOLDERS} more" if len(bases) > SHOWN_FOLDERS else ""
        return ProtoError(
            path,
            f'import "{one.name}" is not there: looked in {", ".join(bases[:SHOWN_FOLDERS])}{more}',
            f"Name the folder that holds {one.name}: `--proto-path FOLDER`, or give the file to the same run.",
            line,
            column,
        )

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The name of each entry: what most imports call it, else its path below the folder it was found in."""
        called: dict[str, Counter[str]] = {}
        for targets in self.targets.values():
            for name, path in targets.items():
                called.setdefault(path, Counter())[name] += 1
        return {
            path: max(called[path].items(), key=lambda item: (item[1], item[0]))[0]
            if path in called
            else self._below(path)
            for path in self.entries
        }

    def _below(self, path: str) -> str:
        above = _ancestors(dirname(path))
        root = max((one for one in self._folders if one in above), key=len, default="")
        below = path[len(root) + 1 :] if root else path
        return "/".join(part for part in below.split("/") if part not in ("", ".", ".."))

    def closure(self, entry: str) -> Stage:
        """Return what protoc needs for one entry."""
        stage = {self.names[entry]: entry}
        waiting = [entry]
        while waiting:
            for name, path in self.targets[waiting.pop()].items():
                if name not in stage:
                    stage[name] = path
                    waiting.append(path)
        return stage

    def stages(self, entries: Iterable[str]) -> list[tuple[Stage, list[str]]]:
        """Return the fewest stages the entries fit in, first come first served, and the entries of each."""
        stages: list[tuple[Stage, list[str]]] = []
        for entry in entries:
            needs = self.closure(entry)
            for stage, held in stages:
                if all(stage.get(name, path) == path for name, path in needs.items()):
                    stage.update(needs)
                    held.append(entry)
                    break
            else:
                stages.append((needs, [entry]))
        return stages

    def broken_by(self, broken: Iterable[str]) -> dict[str, str]:
        """Return the files that cannot compile because of `broken`, each with the import that is to blame."""
        users: dict[str, list[tuple[str, str]]] = {}
        for path, targets in self.targets.items():
            for name, target in targets.items():
                users.setdefault(target, []).append((path, name))
        spoiled: dict[str, str] = {}
        waiting = list(broken)
        known = set(waiting)
        while waiting:
            for path, name in users.get(waiting.pop(), ()):
                if path not in known:
                    known.add(path)
                    spoiled[path] = name
                    waiting.append(path)
        return spoiled

    def import_place(self, path: str, name: str) -> tuple[int, int]:
        text = self.texts[path]
        return next((place(text, one.offset) for one in imports_of(text) if one.name == name), (1, 1))


def touched(before: Mapping[str, str], now: Mapping[str, str]) -> frozenset[str]:
    """Return the paths of `before` whose descriptors may differ from now: the text does, or that of a file they import.

    An import is followed by the end of its path, so a file too many may be named, never one too few.
    """
    changed = {path for path, text in before.items() if now.get(path) != text}
    changed |= now.keys() - before.keys()
    found = set(changed)
    users: dict[str, list[str]] = {}
    for path, text in before.items():
        for one in imports_of(text):
            users.setdefault(one.name.rpartition("/")[2], []).append(path)
    waiting = list(changed)
    while waiting:
        for user in users.get(waiting.pop().rpartition("/")[2], ()):
            if user not in found:
                found.add(user)
                waiting.append(user)
    return frozenset(found & before.keys())


def _is_unsafe(name: str) -> bool:
    return (
        not name
        or name.startswith("/")
        or "\\" in name
        or "\0" in name
        or any(part in ("", ".", "..") for part in name.split("/"))
    )


def _folder(path: str) -> str:
    folder = normpath(path) if path else ""
    return "" if folder == "." else folder


def _ancestors(folder: str) -> list[str]:
    """Return the folder and all above it, nearest first; the last is `` or `/`."""
    found = [folder]
    while folder not in ("", "/"):
        folder = dirname(folder)
        found.append(folder)
    return found
