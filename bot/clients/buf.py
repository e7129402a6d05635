"""buf, where it is installed: what its own rules say of .proto files, beside ours.

The files are written to a temporary folder, so that git's side is a folder as well, and buf sees no home directory and
no network module cache of the machine. With a `buf.yaml` of the project its rules decide; without one ours do: STANDARD
for lint, WIRE_JSON for breaking. The answer names buf's version, since another one may find something else.

Source: `buf lint --help`, `buf breaking --help` of 1.75: exit code 100 for findings, one JSON object a line.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bot.clients.proto_imports import Imports, Stage
from bot.descriptors import BufFinding
from bot.model import in_one_line
from bot.ports import BufAnswer, Missing, Unreachable

LINT_RULES = "STANDARD"
BREAKING_RULES = "WIRE_JSON"
CONFIG = json.dumps({"version": "v2", "lint": {"use": [LINT_RULES]}, "breaking": {"use": [BREAKING_RULES]}})
FOUND = 100
SHOWN_CHARACTERS = 500


class BufCommand:
    """Implements `bot.ports.Buf`. `folders` and `read` are those of `Protoc.compile`: where imports begin."""

    def __init__(
        self,
        binary: str = "buf",
        folders: Sequence[str] = (),
        read: Callable[[str], str | None] = lambda path: None,
    ) -> None:
        self._binary = binary
        self._folders = tuple(folders)
        self._read = read

    def lint(self, texts: Mapping[str, str], config: Mapping[str, str], deadline_s: float = 60.0) -> BufAnswer:
        """Return what `buf lint` says. Raises Missing without buf, Unreachable where it does not answer."""
        ends_at = time.monotonic() + deadline_s
        with tempfile.TemporaryDirectory(prefix="cdc-buf-") as made:
            folder = Path(made)
            names = self._write(folder / "now", texts, config)
            said = self._call(folder / "now", ["lint", "."], ends_at)
            return BufAnswer(_findings(said, names), (self._note(LINT_RULES, config, ends_at),))

    def breaking(
        self, texts: Mapping[str, str], before: Mapping[str, str], config: Mapping[str, str], deadline_s: float = 60.0
    ) -> BufAnswer:
        """Return what `buf breaking` says of `texts` after `before`. Raises Missing, Unreachable."""
        ends_at = time.monotonic() + deadline_s
        with tempfile.TemporaryDirectory(prefix="cdc-buf-") as made:
            folder = Path(made)
            names = self._write(folder / "now", texts, config)
            self._write(folder / "before", before, config)
            said = self._call(folder / "now", ["breaking", ".", "--against", "../before"], ends_at)
            return BufAnswer(_findings(said, names), (self._note(BREAKING_RULES, config, ends_at),))

    def version(self, deadline_s: float = 10.0) -> str:
        """Return `1.75.0`. Raises Missing, Unreachable."""
        return in_one_line(self._call(Path(), ["--version"], time.monotonic() + deadline_s), 40)

    def _note(self, rules: str, config: Mapping[str, str], ends_at: float) -> str:
        whose = "the rules of buf.yaml" if config else f"its {rules} rules"
        return f"buf {self.version(max(1.0, ends_at - time.monotonic()))} ran with {whose}"

    def _write(self, folder: Path, texts: Mapping[str, str], config: Mapping[str, str]) -> Mapping[str, str]:
        """Write the files and return the path of each by its name there.

        A `buf.yaml` speaks of the project's own folders, so they are kept; without one imports decide on the names.
        """
        stage: Stage = {path: path for path in texts}
        found: Mapping[str, str] = texts
        if not config:
            imports = Imports(texts, tuple(texts), self._folders, self._read, lambda name: name.startswith("google/"))
            stage, found = {}, imports.texts
            for path in imports.entries:
                for name, imported in imports.closure(path).items():
                    stage.setdefault(name, imported)
        folder.mkdir(parents=True)
        written = {name: found[path] for name, path in stage.items()} | (dict(config) or {"buf.yaml": CONFIG})
        for name, text in written.items():
            target = folder / name
            if target.resolve().is_relative_to(folder.resolve()):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(text.encode(errors="surrogateescape"))
        return stage

    def _call(self, folder: Path, arguments: Sequence[str], ends_at: float) -> str:
        command = [self._binary, *arguments]
        if len(arguments) > 1:
            command += ["--error-format", "json"]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=max(0.1, ends_at - time.monotonic()),
            )
        except FileNotFoundError as error:
            raise Missing(
                f"no `{self._binary}` on this machine: `pip install buf-bin`, or run without --buf"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise Unreachable(f"{self._binary} did not end within {error.timeout:.0f} s") from error
        except OSError as error:
            raise Unreachable(f"{self._binary} could not be started: {error}") from error
        if done.returncode not in (0, FOUND):
            said = in_one_line(done.stderr.decode(errors="replace"), SHOWN_CHARACTERS)
            raise Unreachable(f"buf {arguments[0]} ended with {done.returncode}: {said}")
        return done.stdout.decode(errors="replace")


def _findings(said: str, names: Mapping[str, str]) -> tuple[BufFinding, ...]:
    """Return the findings with the paths that the caller gave; those of no file (a deleted one) name what buf names."""
    found = []
    for line in said.splitlines():
        try:
            one = json.loads(line)
        except ValueError as error:
            raise Unreachable(f"buf answered no JSON: {in_one_line(line, SHOWN_CHARACTERS)}") from error
        name = str(one.get("path", ""))
        found.append(
            BufFinding(
                names.get(name, name),
                int(one.get("start_line") or 1),
                int(one.get("start_column") or 1),
                str(one.get("type", "")),
                in_one_line(str(one.get("message", "")), SHOWN_CHARACTERS),
            )
        )
    return tuple(found)
