"""What files were in git: real repositories, each with the state that is asked about."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.clients.git import GitBinary
from bot.ports import Denied, Missing, Unreachable

ENVIRON = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{who}_{what}": f"{what}@x".lower() for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}
OLD, NEW = b'{"type": "string"}\n', b'{"type": "bytes"}\n'
LONG = b"".join(b'{"name": "field_%d", "type": "string"}\n' % number for number in range(40))


class Repository:
    """A repository on branch main with one commit of `schemas/a.avsc` and `schemas/b.avsc`."""

    def __init__(self, folder: Path, environ: Mapping[str, str] = ENVIRON) -> None:
        self.folder, self.environ = folder, environ
        folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.write("schemas/a.avsc", OLD)
        self.write("schemas/b.avsc", OLD)
        self.first = self.commit("first")

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.folder, env=self.environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, path: str, content: bytes) -> None:
        (self.folder / path).parent.mkdir(exist_ok=True, parents=True)
        (self.folder / path).write_bytes(content)

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def reader(self, below: str = "") -> GitBinary:
        return GitBinary(self.environ, self.folder / below)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def test_the_merge_base_is_compared_with(repository: Repository) -> None:
    """What main got since the branch left it is no deletion of the branch's."""
    repository.git("checkout", "-q", "-b", "topic")
    repository.write("schemas/a.avsc", NEW)
    repository.commit("topic")
    repository.git("checkout", "-q", "main")
    repository.write("schemas/on-main.avsc", NEW)
    repository.commit("main goes on")
    repository.git("checkout", "-q", "topic")
    told = repository.reader().read_before(None, ["schemas"])
    assert (f"git main ({repository.first[:7]})", repository.first) == (told.name, told.commit)
    assert {"schemas/a.avsc": OLD} == told.files
    assert {"schemas/b.avsc"} == told.unchanged
    assert (frozenset(), ()) == (told.deleted, told.notes)


def test_what_is_not_committed_counts(repository: Repository) -> None:
    """Edited, staged, deleted and new files, as they stand in the working tree."""
    repository.git("checkout", "-q", "-b", "topic")
    repository.write("schemas/a.avsc", NEW)
    repository.write("schemas/new.avsc", NEW)
    repository.write("schemas/staged.avsc", NEW)
    repository.git("add", "schemas/staged.avsc")
    (repository.folder / "schemas/b.avsc").unlink()
    told = repository.reader().read_before(None, ["schemas"])
    assert {"schemas/a.avsc": OLD, "schemas/b.avsc": OLD} == told.files
    assert {"schemas/b.avsc"} == told.deleted
    assert frozenset() == told.unchanged


def test_a_file_that_git_forgot_but_stands_there_is_compared(repository: Repository) -> None:
    """`git rm --cached` deletes nothing from the disk."""
    repository.git("checkout", "-q", "-b", "topic")
    repository.git("rm", "-q", "--cached", "schemas/a.avsc")
    told = repository.reader().read_before(None, ["schemas"])
    assert ({"schemas/a.avsc": OLD}, frozenset()) == (told.files, told.deleted)


def test_a_renamed_file_is_followed_from_wherever_it_was(repository: Repository) -> None:
    """Also from a folder that is not checked, and with a change on the way."""
    repository.write("elsewhere/c.avsc", LONG)
    repository.commit("one more")
    repository.git("checkout", "-q", "-b", "topic")
    repository.git("mv", "elsewhere/c.avsc", "schemas/moved.avsc")
    repository.write("schemas/moved.avsc", LONG + b"\n")
    repository.git("add", "-A")
    told = repository.reader().read_before(None, ["schemas"])
    assert {"schemas/moved.avsc": LONG} == told.files
    assert {"schemas/moved.avsc": "elsewhere/c.avsc"} == told.renamed
    assert frozenset() == told.deleted
    assert {"moved.avsc": "elsewhere/c.avsc"} == repository.reader("schemas").read_before(None, ["."]).renamed
    inside = repository.reader("elsewhere").read_before(None, ["..", "../schemas"]).renamed
    assert {"../schemas/moved.avsc": "../elsewhere/c.avsc"} == inside


def test_names_are_those_that_the_caller_gave(repository: Repository) -> None:
    """From a folder below, by a path upwards, by an absolute path, and for one file."""
    repository.git("checkout", "-q", "-b", "topic")
    repository.write("schemas/a.avsc", NEW)
    below, whole = repository.reader("schemas"), str(repository.folder / "schemas")
    assert {"a.avsc": OLD} == below.read_before(None, ["."]).files
    assert {"../schemas/a.avsc": OLD} == below.read_before(None, ["../schemas"]).files
    assert {f"{whole}/a.avsc": OLD} == repository.reader().read_before(None, [whole]).files
    assert {"schemas/a.avsc": OLD} == repository.reader().read_before(None, ["schemas/a.avsc"]).files
    assert {} == repository.reader().read_before(None, ["schemas/b.avsc"]).files


def test_strange_names_of_files_come_through(repository: Repository) -> None:
    """Blanks, quotes, a new line, letters beyond ASCII."""
    name = 'schemas/a "b"\n\u00fc.avsc'
    repository.write(name, OLD)
    repository.commit("strange")
    repository.git("checkout", "-q", "-b", "topic")
    repository.write(name, NEW)
    assert {name: OLD} == repository.reader().read_before(None, ["schemas"]).files


def test_on_main_after_a_merge_the_first_parent_is_compared_with(repository: Repository) -> None:
    """The job on main judges what the merge brought, and says what it compared with."""
    repository.git("checkout", "-q", "-b", "topic")
    repository.write("schemas/a.avsc", NEW)
    repository.commit("topic")
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "topic")
    for ref in (None, "main"):
        told = repository.reader().read_before(ref, ["schemas"])
        assert {"schemas/a.avsc": OLD} == told.files
        assert f"git HEAD~1 ({repository.first[:7]})" == told.name
        assert "HEAD is main itself" in told.notes[0]
    assert {} == repository.reader().read_before("HEAD", ["schemas"]).files


def test_on_main_with_something_uncommitted_head_is_compared_with(repository: Repository) -> None:
    """Whoever edits on main is asked about the edit, not about the last merge."""
    repository.write("schemas/b.avsc", NEW)
    repository.commit("second")
    repository.write("schemas/a.avsc", NEW)
    assert {"schemas/a.avsc": OLD} == repository.reader().read_before(None, ["schemas"]).files


def test_a_branch_without_a_commit_of_its_own_has_no_change(repository: Repository) -> None:
    """It is not on main: main's last commit is not its own."""
    repository.write("schemas/b.avsc", NEW)
    repository.commit("second")
    repository.git("checkout", "-q", "-b", "topic")
    assert {} == repository.reader().read_before(None, ["schemas"]).files


def test_the_first_commit_has_nothing_before_it(repository: Repository, tmp_path: Path) -> None:
    """Nor has a repository without any: every file is new, and a note says why."""
    for reader, folder in ((repository.reader(), "schemas"), (_empty(tmp_path / "empty"), ".")):
        told = reader.read_before(None, [folder])
        assert ({}, frozenset()) == (told.files, told.unchanged)
        assert len(told.notes) == 1


def _empty(folder: Path) -> GitBinary:
    folder.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=folder, env=ENVIRON, check=True)
    return GitBinary(ENVIRON, folder)


def test_a_shallow_clone_says_how_to_fetch(repository: Repository, tmp_path: Path) -> None:
    """As actions/checkout makes one by default: neither the main branch nor a parent is there."""
    repository.git("checkout", "-q", "-b", "topic")
    repository.write("schemas/a.avsc", NEW)
    repository.commit("topic")
    clone, source = tmp_path / "clone", f"file://{repository.folder}"
    options = ("--depth", "1", "--no-single-branch", "--branch", "topic")
    subprocess.run(["git", "clone", "-q", *options, source, str(clone)], env=ENVIRON, check=True)
    with pytest.raises(Unreachable, match=r"git fetch --unshallow.*fetch-depth: 0"):
        GitBinary(ENVIRON, clone).read_before("main", ["schemas"])
    subprocess.run(["git", "fetch", "-q", "--unshallow"], cwd=clone, env=ENVIRON, check=True)
    assert {"schemas/a.avsc": OLD} == GitBinary(ENVIRON, clone).read_before("main", ["schemas"]).files


def test_a_shallow_clone_of_main_lacks_the_parent(repository: Repository, tmp_path: Path) -> None:
    """The job on main would otherwise pass for want of anything to compare with."""
    repository.write("schemas/a.avsc", NEW)
    repository.commit("second")
    clone, source = tmp_path / "clone", f"file://{repository.folder}"
    subprocess.run(["git", "clone", "-q", "--depth", "1", source, str(clone)], env=ENVIRON, check=True)
    with pytest.raises(Unreachable, match="its parent is not in this shallow clone"):
        GitBinary(ENVIRON, clone).read_before(None, ["schemas"])


def test_an_unknown_ref_names_the_near_ones(repository: Repository) -> None:
    """And a word that git would take for an option is no option."""
    repository.git("branch", "release")
    with pytest.raises(Missing, match=r"no branch, tag or commit relaese: is it release"):
        repository.reader().read_before("relaese", ["schemas"])
    with pytest.raises(Missing, match="no branch, tag or commit --output=x"):
        repository.reader().read_before("--output=x", ["schemas"])
    assert not (repository.folder / "x").exists()


def test_a_ref_that_only_the_remote_has_is_found(repository: Repository, tmp_path: Path) -> None:
    """GITHUB_BASE_REF names the branch, and the checkout of a pull request has only origin's."""
    subprocess.run(["git", "clone", "-q", str(repository.folder), str(tmp_path / "clone")], env=ENVIRON, check=True)
    clone = Path(tmp_path / "clone")
    subprocess.run(["git", "checkout", "-q", "--detach"], cwd=clone, env=ENVIRON, check=True)
    subprocess.run(["git", "branch", "-q", "-D", "main"], cwd=clone, env=ENVIRON, check=True)
    (clone / "schemas/a.avsc").write_bytes(NEW)
    for ref in ("main", None):
        told = GitBinary(ENVIRON, clone).read_before(ref, ["schemas"])
        assert ({"schemas/a.avsc": OLD}, f"git origin/main ({repository.first[:7]})") == (told.files, told.name)


def test_without_a_main_branch_one_must_be_named(repository: Repository) -> None:
    """Its name is not guessed."""
    repository.git("branch", "-q", "-m", "main", "development")
    with pytest.raises(Missing, match=r"--against git:BRANCH"):
        repository.reader().read_before(None, ["schemas"])


def test_no_repository_a_bare_one_and_no_git(repository: Repository, tmp_path: Path) -> None:
    """Each says what to do instead."""
    (tmp_path / "plain").mkdir()
    ceiling = {**ENVIRON, "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    with pytest.raises(Missing, match=r"not in a git repository: compare with --against dir:PATH"):
        GitBinary(ceiling, tmp_path / "plain").read_before(None, ["."])
    repository.git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    with pytest.raises(Missing, match=r"bare repository.*worktree"):
        GitBinary(ENVIRON, tmp_path / "bare").read_before(None, ["."])
    with pytest.raises(Missing, match="no git on the PATH"):
        GitBinary({**ENVIRON, "PATH": str(tmp_path)}, repository.folder).read_before(None, ["schemas"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_the_folder_of_another_user_says_what_git_wants(repository: Repository) -> None:
    """As in a container whose checkout was made by another user."""
    for path in (repository.folder, repository.folder / ".git"):
        os.chown(path, 4711, 4711)
    with pytest.raises(Denied, match=r"git config --global --add safe\.directory"):
        repository.reader().read_before(None, ["schemas"])


def test_a_worktree_and_a_submodule_are_repositories_like_others(repository: Repository, tmp_path: Path) -> None:
    """In a worktree `.git` is a file; a submodule is compared with the commit that was pinned."""
    repository.git("worktree", "add", "-q", "-b", "topic", str(tmp_path / "tree"))
    (tmp_path / "tree/schemas/a.avsc").write_bytes(NEW)
    assert {"schemas/a.avsc": OLD} == GitBinary(ENVIRON, tmp_path / "tree").read_before("main", ["schemas"]).files

    outer = Repository(tmp_path / "outer")
    outer.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repository.folder), "shared")
    outer.commit("with a submodule")
    outer.git("checkout", "-q", "-b", "topic")
    (outer.folder / "shared/schemas/a.avsc").write_bytes(NEW)
    told = outer.reader().read_before("main", ["."])
    assert {"shared/schemas/a.avsc": OLD} == told.files
    assert {"schemas/a.avsc", "schemas/b.avsc", "shared/schemas/b.avsc", ".gitmodules"} == told.unchanged


def test_nothing_in_the_repository_is_changed(repository: Repository) -> None:
    """No lock is taken, no hook and no external diff is run: the folder is byte for byte as it was."""
    marker = repository.folder.parent / "ran"
    script = repository.folder.parent / "script"
    script.write_text(f"#!/bin/sh\ntouch {marker}\n")
    script.chmod(0o755)
    for setting in ("diff.external", "core.fsmonitor", "core.pager"):
        repository.git("config", setting, str(script))
    repository.git("config", "core.hooksPath", str(script.parent))
    repository.git("config", "diff.relative", "true")
    marker.unlink(missing_ok=True)
    (repository.folder / ".git/index.lock").touch()
    repository.write("schemas/a.avsc", NEW)
    before = _contents(repository.folder)
    assert {"schemas/a.avsc": OLD} == repository.reader().read_before(None, ["schemas"]).files
    assert before == _contents(repository.folder)
    assert not marker.exists()


def _contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_a_hook_s_environment_is_understood(repository: Repository, tmp_path: Path) -> None:
    """`git commit` gives its hooks GIT_INDEX_FILE and GIT_DIR, which are of this repository and no other."""
    other = Repository(tmp_path / "other")
    other.git("checkout", "-q", "-b", "topic")
    other.write("schemas/a.avsc", NEW)
    environ = {**ENVIRON, "GIT_DIR": ".git", "GIT_INDEX_FILE": ".git/index"}
    repository.git("checkout", "-q", "-b", "topic")
    repository.write("schemas/b.avsc", NEW)
    told = GitBinary(environ, repository.folder).read_before("main", ["schemas", str(other.folder / "schemas")])
    assert {"schemas/b.avsc": OLD, f"{other.folder}/schemas/a.avsc": OLD} == told.files
