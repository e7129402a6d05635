"""What files were in git, read by the `git` binary.

Promise
    Nothing in the repository is changed: no lock is taken, no hook, pager or external diff is run.
    A handful of processes whatever the number of files, and only the blobs that differ are read.
    What is compared with is the merge-base, so what main got meanwhile is no deletion of the branch's.

On the main branch itself the merge-base is HEAD. With nothing uncommitted its first parent is what was before: the job
on main after a merge judges what the merge brought. `GitFiles.notes` says so.
"""

from __future__ import annotations

import difflib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.ports import Denied, GitFiles, Missing, Unreachable

DEADLINE_S = 60.0
MAIN = (
    "refs/remotes/origin/HEAD",
    "refs/remotes/origin/main",
    "refs/remotes/origin/master",
    "refs/remotes/origin/trunk",
    "refs/heads/main",
    "refs/heads/master",
    "refs/heads/trunk",
)
_SETTINGS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "diff.renameLimit=5000")
_SHALLOW = (
    "fetch its history: `git fetch --unshallow`, or `fetch-depth: 0` for actions/checkout, `GIT_DEPTH: 0` in GitLab"
)
_SUBMODULE = "160000"


@dataclass(frozen=True)
class _Base:
    """A commit to compare with, what to call it, and what a person should know of the choice."""

    commit: str
    name: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Differences:
    files: Mapping[str, bytes]
    unchanged: frozenset[str]
    deleted: frozenset[str]
    renamed: Mapping[str, str]


class GitBinary:
    """Implements `bot.ports.Git`. `environ` is the environment git runs in; `directory` what paths are relative to."""

    def __init__(self, environ: Mapping[str, str], directory: Path = Path()) -> None:
        self._environ = {**environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        self._directory = directory.resolve()

    def read_before(
        self, ref: str | None, paths: Sequence[str], patterns: Sequence[str] = ("*.avsc", "*.proto")
    ) -> GitFiles:
        """Return how the files below `paths` differ from the merge-base of HEAD and `ref` (None: the main branch)."""
        found: list[tuple[_Base, _Differences]] = []
        for top, roots in self._repositories(paths).items():
            base = self._base(top, ref, roots, patterns)
            if base is None:
                found.append((_Base("", "git, no commit before", (f"{top}: git has no commit before this",)), _NOTHING))
            else:
                found.append((base, self._differences(top, base.commit, roots, patterns)))
        bases = [base for base, _ in found]
        return GitFiles(
            name=", ".join(dict.fromkeys(base.name for base in bases)),
            commit=bases[0].commit,
            files={path: raw for _, one in found for path, raw in one.files.items()},
            unchanged=frozenset().union(*(one.unchanged for _, one in found)),
            deleted=frozenset().union(*(one.deleted for _, one in found)),
            renamed={path: old for _, one in found for path, old in one.renamed.items()},
            notes=tuple(dict.fromkeys(note for base in bases for note in base.notes)),
        )

    # --- where ---------------------------------------------------------------------------------

    def _repositories(self, paths: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return, by the top of its working tree, the roots in each repository: path from the top to path as given."""
        tops: dict[str, str] = {}
        found: dict[str, dict[str, str]] = {}
        for path in paths:
            real = os.path.realpath(self._directory / path)
            folder = real if Path(real).is_dir() else str(Path(real).parent)
            if folder not in tops:
                tops[folder] = self._top(folder)
            found.setdefault(tops[folder], {})[os.path.relpath(real, tops[folder])] = path
        return found

    def _top(self, folder: str) -> str:
        """Return the top of the working tree around `folder`, by its `.git`; git itself says where there is none."""
        here = Path(folder)
        for candidate in (here, *here.parents):
            if (candidate / ".git").exists():
                return str(candidate)
        return self._git(folder, "rev-parse", "--show-toplevel").decode("utf-8", "surrogateescape").rstrip("\n")

    # --- compared with what --------------------------------------------------------------------

    def _base(self, top: str, ref: str | None, roots: Mapping[str, str], patterns: Sequence[str]) -> _Base | None:
        """Return the commit to compare with; None where there is no commit at all."""
        head = self._commit(top, "HEAD")
        if head is None:
            return None
        name, commit = self._main(top) if ref is None else self._named(top, ref)
        if (base := self._merge_base(top, commit, name)) != head or (ref is not None and not self._is_branch(top, ref)):
            return _Base(base, f"git {name} ({base[:7]})")
        here = self._ask(top, "symbolic-ref", "-q", "--short", "HEAD")
        on_main = here is None or here == name.removeprefix("origin/")
        if not on_main or any(self._changed(top, head, roots, patterns)):
            return _Base(base, f"git {name} ({base[:7]})")
        parent = self._commit(top, "HEAD~1")
        if parent is None:
            if self._is_shallow(top):
                raise Unreachable(f"git: HEAD is {name}, and its parent is not in this shallow clone: {_SHALLOW}")
            return None
        said = f"HEAD is {name} itself: compared with its first parent HEAD~1 ({parent[:7]})"
        return _Base(parent, f"git HEAD~1 ({parent[:7]})", (said,))

    def _main(self, top: str) -> tuple[str, str]:
        listed = self._git(top, "for-each-ref", "--format=%(refname) %(objectname) %(symref:short)", *MAIN).decode()
        known = {line.split(" ")[0]: line.split(" ")[1:] for line in listed.splitlines()}
        for name in MAIN:
            if name in known:
                commit, means = known[name]
                return means or name.removeprefix("refs/remotes/").removeprefix("refs/heads/"), commit
        shallow = f"; this clone is shallow: {_SHALLOW}" if self._is_shallow(top) else ""
        raise Missing(
            f"git: no main branch here (origin/HEAD, origin/main, main, master, trunk): name it, --against git:BRANCH, "
            f"or fetch it, `git fetch origin`{shallow}"
        )

    def _named(self, top: str, ref: str) -> tuple[str, str]:
        if not ref.startswith("-"):
            for name in (ref, f"origin/{ref}"):
                if (commit := self._commit(top, name)) is not None:
                    return name, commit
        every = self._git(top, "for-each-ref", "--format=%(refname:short)").decode("utf-8", "replace").split()
        near = difflib.get_close_matches(ref, every, 3, 0.5)
        hint = f"is it {' or '.join(near)}?" if near else f"fetch it: `git fetch origin {ref.lstrip('-')}`"
        shallow = f" This clone is shallow: {_SHALLOW}." if self._is_shallow(top) else ""
        raise Missing(f"git: there is no branch, tag or commit {ref}: {hint}{shallow}")

    def _is_branch(self, top: str, ref: str) -> bool:
        name = self._ask(top, "rev-parse", "--symbolic-full-name", ref) or ""
        return ref != "HEAD" and (name.startswith("refs/heads/") or name.startswith("refs/remotes/") or not name)

    def _merge_base(self, top: str, commit: str, name: str) -> str:
        base = self._ask(top, "merge-base", "HEAD", commit)
        if base is not None:
            return base
        if self._is_shallow(top):
            raise Unreachable(f"git: HEAD and {name} have no common commit in this shallow clone: {_SHALLOW}")
        raise Unreachable(f"git: HEAD and {name} have no common commit: name another one, --against git:REF")

    # --- what differs --------------------------------------------------------------------------

    def _differences(self, top: str, commit: str, roots: Mapping[str, str], patterns: Sequence[str]) -> _Differences:
        """Return what differs below `roots`. A submodule is compared with the commit that was pinned in it."""
        blobs: dict[str, str] = {}
        unchanged: set[str] = set()
        deleted: set[str] = set()
        renamed: dict[str, str] = {}
        inside: list[_Differences] = []
        changed = {new: (old, blob) for old, new, blob in self._changed(top, commit, roots, patterns)}
        for mode, path in self._tree(top, commit, roots):
            if mode == _SUBMODULE:
                inside += self._submodule(top, path, commit, roots, patterns)
            elif path not in changed:
                unchanged.add(_as_given(path, roots))
        for new, (old, blob) in changed.items():
            given = _as_given(new, roots)
            blobs[given] = blob
            if old != new:
                renamed[given] = _as_given(old, roots)
            elif not os.path.lexists(f"{top}/{new}"):
                deleted.add(given)
        contents = self._read(top, set(blobs.values()))
        return _Differences(
            {
                **{given: contents[blob] for given, blob in blobs.items()},
                **{k: v for one in inside for k, v in one.files.items()},
            },
            frozenset(unchanged).union(*(one.unchanged for one in inside)),
            frozenset(deleted).union(*(one.deleted for one in inside)),
            {**renamed, **{k: v for one in inside for k, v in one.renamed.items()}},
        )

    def _submodule(
        self, top: str, path: str, commit: str, roots: Mapping[str, str], patterns: Sequence[str]
    ) -> Iterator[_Differences]:
        inner = f"{top}/{path}"
        if not Path(inner, ".git").exists():
            return
        pinned = self._git(top, "rev-parse", f"{commit}:{path}").decode().strip()
        if self._commit(inner, pinned) is None:
            raise Unreachable(f"git: {path}: its commit {pinned[:7]} is not here: `git -C {path} fetch`")
        yield self._differences(inner, pinned, {".": _as_given(path, roots)}, patterns)

    def _tree(self, top: str, commit: str, roots: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Yield mode and path from the top of what stood below `roots`."""
        below = [] if "." in roots else list(roots)
        for entry in self._git(top, "ls-tree", "-r", "-z", "--full-tree", commit, "--", *below).split(b"\0"):
            head, _, path = entry.partition(b"\t")
            if path:
                yield head[:6].decode(), os.fsdecode(path)

    def _changed(
        self, top: str, commit: str, roots: Mapping[str, str], patterns: Sequence[str]
    ) -> Iterator[tuple[str, str, str]]:
        """Yield (old path, path, old blob) of what differs from `commit` in the working tree and was there before.

        The whole repository is looked at, so that a file moved in from elsewhere is known; others are left out.
        """
        told = self._git(
            top, "diff", "--raw", "-z", "-M", "--no-abbrev", "--no-ext-diff", "--no-textconv",
            "--ignore-submodules=all", commit, "--", *(f":(top,glob)**/{pattern}" for pattern in patterns),
        )  # fmt: skip
        words = iter(told.split(b"\0"))
        for word in words:
            if not word:
                continue
            _, _, blob, _, status = word.decode().split(" ")
            old = new = os.fsdecode(next(words))
            if status[0] in "RC":
                new = os.fsdecode(next(words))
            if status[0] != "A" and _below(new, roots) and set(blob) != {"0"}:
                yield old, new, blob

    def _read(self, top: str, blobs: set[str]) -> dict[str, bytes]:
        if not blobs:
            return {}
        told = self._git(top, "cat-file", "--batch", given="".join(f"{blob}\n" for blob in blobs).encode())
        contents: dict[str, bytes] = {}
        at = 0
        while at < len(told):
            end = told.index(b"\n", at)
            blob, kind, *size = told[at:end].decode().split(" ")
            if not size:
                raise Unreachable(f"git: {blob} is {kind}: fetch what this clone left out, `git fetch --refetch`")
            contents[blob] = told[end + 1 : end + 1 + int(size[0])]
            at = end + 1 + int(size[0]) + 1
        return contents

    # --- the binary ----------------------------------------------------------------------------

    def _commit(self, top: str, name: str) -> str | None:
        return self._ask(top, "rev-parse", "--verify", "-q", f"{name}^{{commit}}")

    def _is_shallow(self, top: str) -> bool:
        return self._ask(top, "rev-parse", "--is-shallow-repository") == "true"

    def _ask(self, top: str, *arguments: str) -> str | None:
        """Return the first line of the answer; None where git says no."""
        done = self._run(top, arguments)
        return done.stdout.decode("utf-8", "surrogateescape").split("\n")[0] if done.returncode == 0 else None

    def _git(self, top: str, *arguments: str, given: bytes = b"") -> bytes:
        done = self._run(top, arguments, given)
        if done.returncode != 0:
            raise _refused(done.stderr.decode("utf-8", "replace"), top)
        return done.stdout

    def _run(self, top: str, arguments: Sequence[str], given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        environ = self._environ
        if not str(self._directory).startswith(top):
            # A hook's GIT_DIR and GIT_INDEX_FILE are of the repository it runs in, not of another one.
            environ = {name: value for name, value in environ.items() if name not in _OF_ONE_REPOSITORY}
        directory = self._directory if environ is self._environ else top
        try:
            done = subprocess.run(
                ["git", "--no-pager", *_SETTINGS, *arguments],
                cwd=directory, env=environ, input=given, capture_output=True, timeout=DEADLINE_S, check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise Missing("git: there is no git on the PATH: install it, or compare with --against dir:PATH") from error
        except OSError as error:
            raise Unreachable(f"git: it did not start: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise Unreachable(f"git: no answer within {DEADLINE_S:g} s to `git {arguments[0]}`") from error
        if b"dubious ownership" in done.stderr:
            raise _refused(done.stderr.decode("utf-8", "replace"), top)
        return done


_OF_ONE_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")
_NOTHING = _Differences({}, frozenset(), frozenset(), {})


def _below(path: str, roots: Mapping[str, str]) -> bool:
    return any(root == "." or path == root or path.startswith(f"{root}/") for root in roots)


def _as_given(path: str, roots: Mapping[str, str]) -> str:
    """Return a path from the top as the caller names it: below the root as it was given."""
    for root, given in roots.items():
        if path == root:
            return os.path.normpath(given)
        if root == "." or path.startswith(f"{root}/"):
            return os.path.normpath(f"{given}/{path if root == '.' else path[len(root) + 1 :]}")
    return path


def _refused(said: str, top: str) -> Exception:
    if "dubious ownership" in said:
        return Denied(
            f"git: {top} belongs to another user, and git refuses it: `git config --global --add safe.directory {top}`"
        )
    if "not a git repository" in said:
        return Missing(f"git: {top} is not in a git repository: compare with --against dir:PATH or registry:URL")
    if "must be run in a work tree" in said:
        return Missing(f"git: {top} is a bare repository, without files: run it in a clone or a `git worktree`")
    line = next((line for line in said.splitlines() if line.strip()), "it failed and said nothing")
    return Unreachable(f"git: {line.removeprefix('fatal: ')}")
