"""`cdc check`: files checked for CI, every finding with its line and remedy.

This is the shell of the schema checks: it finds and reads the files, asks git and registries through their ports, and
hands all of it to the pure run. Exit codes are contract.md's: 1 findings, 2 usage, 3 not reachable or not there.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli_call import Call, stop
from bot.cli_results import ALSO, FORMAT, OUT, emit

if TYPE_CHECKING:
    import datetime as dt

    from rich.progress import Progress

    from bot.checks.baseline import Entry
    from bot.checks.ddl.debezium import Connector
    from bot.checks.run import Corpus, Protos, Registered, Snapshot, Source
    from bot.checks.settings import SchemaSettings
    from bot.checks.violation import Violation, Waiver
    from bot.config import Config
    from bot.ports import GitFiles, SchemaRegistry
    from bot.schema_files import Found

FAIL_ON = ("error", "warning", "note", "never")
PROFILES = ("flink", "iceberg-v2", "iceberg-v3")
LEVELS = (
    "NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"
)  # fmt: skip
PROGRESS_AFTER_S = 1.0
DEADLINE_S = 10.0
BUF_FILES = ("buf.yaml", "buf.lock")
"""What buf is told by, in the current folder."""
_NO_COMMIT = "0" * 40


@click.group()
def check() -> None:
    """Check files, for CI: every finding with its line and remedy."""


# --- schemas ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """What the command line and cdc.yml ask for."""

    paths: tuple[str, ...]
    migrations: tuple[str, ...]
    against: tuple[tuple[str, str], ...]
    settings: SchemaSettings
    level: str | None
    only_changed: bool
    baseline: Path | None
    proto_paths: tuple[str, ...]
    config: Config | None
    buf: bool | None
    """None where nobody said it: buf does not run, and a note says that it could."""


@check.command("schemas")
@click.argument("paths", nargs=-1, type=click.Path())
@click.option(
    "--against", multiple=True, metavar="git[:REF]|dir:PATH|registry[:URL]",
    help="Compare with what was: the merge-base with REF (the main branch), a copy, a registry. May be repeated.",
)  # fmt: skip
@click.option("--changed", is_flag=True, help="Only what differs from git's merge-base; implies --against git.")
@click.option("--all", "whole", is_flag=True, help="Older findings in full, too: what was there before.")
@click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), help="Compatibility level of every file.")
@click.option("--profile", "profiles", multiple=True, type=click.Choice(PROFILES), help="What reads downstream.")
@click.option(
    "--subject", "subjects", multiple=True, metavar="[PATTERN=]TEMPLATE",
    help="Subject of the files that fit, such as 'keys/*={stem}-key' or RecordNameStrategy. May be repeated.",
)  # fmt: skip
@click.option("--baseline", type=click.Path(path_type=Path), metavar="FILE", help="Accepted violations (YAML, JSON).")
@click.option(
    "--write-baseline", type=click.Path(path_type=Path), metavar="FILE",
    help="Write what fails today there, as accepted; needs --reason and --owner.",
)  # fmt: skip
@click.option("--reason", help="Why the violations of --write-baseline are accepted.")
@click.option("--owner", help="Who answers for them, such as @data-platform.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="The last day they are accepted.")
@click.option(
    "--ddl", multiple=True, metavar="FILE|DIR",
    help="Migrations (PostgreSQL): what Debezium would register for them. More .sql files may follow it.",
)  # fmt: skip
@click.option("--proto-path", "proto_paths", multiple=True, metavar="DIR", help="Where imports of .proto files start.")
@click.option(
    "--buf/--no-buf", "buf", default=None,
    help="Run the installed buf over .proto files as well, against git and dir too. Default: as cdc.yml says, else no.",
)  # fmt: skip
@click.option("--fail-on", type=click.Choice(FAIL_ON), default="error", show_default=True, help="What exits with 1.")
@click.option("--report", metavar="URL", help="Tell the bot at this address what was blocked (CDC_WEBHOOK_TOKEN).")
@click.option("-c", "--config", "config_path", type=click.Path(path_type=Path), help="As `cdc -c PATH check ...`.")
@FORMAT
@OUT
@ALSO
@click.pass_obj
def check_schemas(
    call: Call,
    paths: tuple[str, ...],
    against: tuple[str, ...],
    changed: bool,
    whole: bool,
    level: str | None,
    profiles: tuple[str, ...],
    subjects: tuple[str, ...],
    baseline: Path | None,
    write_baseline: Path | None,
    reason: str | None,
    owner: str | None,
    until: dt.datetime | None,
    ddl: tuple[str, ...],
    proto_paths: tuple[str, ...],
    buf: bool | None,
    fail_on: str,
    report: str | None,
    config_path: Path | None,
    form: str,
    out: Path | None,
    also: list[tuple[str, Path]],
) -> int:
    """Check Avro and Protobuf schemas, alone and against what they were.

    Without PATHS: those of cdc.yml, else schemas/, else this folder.
    """
    from bot.checks import run
    from bot.checks.violation import Severity

    if config_path is not None:
        call = replace(call, config_path=config_path)
    accepted_as = _accepted_as(write_baseline, reason, owner, until)
    migrations = (*ddl, *(path for path in paths if path.endswith(".sql")))
    paths = tuple(path for path in paths if not path.endswith(".sql"))
    asked = _asked(call, paths, against, changed, level, profiles, subjects, baseline, proto_paths, migrations, buf)
    worst = None if fail_on == "never" else Severity(fail_on)
    with _Bar() as advance:
        reading = _Reading(call, asked)
        registries = sum(kind == "registry" for kind, _ in asked.against)
        advance.expect((2 + registries) * len(reading.sources))
        corpus = run.read(reading.sources, advance)
        compiled = reading.compiled(corpus)
        reading.ask_buf()
        corpus = run.with_protos(corpus, compiled.now)
        registered = reading.registered(corpus, advance)
        protos = reading.with_versions(compiled, corpus, registered, asked.level)
        entries, wrong_entries = _read_baseline(asked.baseline)
        result = run.check(
            corpus,
            asked.settings,
            call.app.clock().date(),
            reading.snapshots,
            registered,
            protos,
            asked.level,
            (*reading.violations, *wrong_entries),
            entries,
            str(asked.baseline or ""),
            advance,
        )
    result = run.with_more(result, reading.notes, reading.not_known, reading.against, reading.migrations)
    if accepted_as is not None and write_baseline is not None:
        from bot.checks.baseline import render_baseline

        failing = result.failing(worst)
        write_baseline.write_text(render_baseline(failing, accepted_as, write_baseline.suffix == ".json"), "utf-8")
        click.echo(f"{write_baseline}: {len(failing)} accepted. Give it with --baseline {write_baseline}.", err=True)
        return 0
    if report is not None:
        from bot.cli_registry import report_blocked

        report_blocked(call, report, result.failing(worst))
    texts = {source.file: source.text for source in reading.sources}
    return emit(call, result, worst, form, out, also, texts, whole)


def _asked(
    call: Call,
    paths: tuple[str, ...],
    against: Sequence[str],
    changed: bool,
    level: str | None,
    profiles: Sequence[str],
    subjects: Sequence[str],
    baseline: Path | None,
    proto_paths: Sequence[str],
    migrations: tuple[str, ...],
    buf: bool | None,
) -> _Asked:
    """Return what is asked for: a flag goes before cdc.yml. Stops at what cannot be meant."""
    from bot.checks.rules import ALL
    from bot.checks.settings import SchemaSettings
    from bot.checks.subjects import wrong_template

    config = call.config() if call.found_config() is not None else None
    section = config.checks.schemas if config else None
    settings = section.settings() if section else SchemaSettings()
    templates: dict[str, str] = {}
    for word in subjects:
        pattern, equals, template = word.rpartition("=")
        if wrong := wrong_template(template):
            stop(f"--subject {word}: {wrong}.")
        templates[pattern if equals else "**"] = template
    if profiles:
        settings = replace(settings, profiles=frozenset(profiles))
    if templates:
        settings = replace(settings, subjects={**templates, **settings.subjects})
    if not paths and not migrations:
        configured = tuple(_shown(path) for path in section.paths) if section else ()
        paths = configured or (("schemas",) if Path("schemas").is_dir() else (".",))
    if unknown := [rule for rule in settings.severities if rule not in ALL]:
        stop(f"cdc.yml: checks.schemas.rules: there is no rule {unknown[0]}.", "`cdc check explain` lists them.")
    wanted = [_against(word) for word in against]
    if changed and not any(kind == "git" for kind, _ in wanted):
        wanted.insert(0, ("git", ""))
    return _Asked(
        paths,
        migrations,
        tuple(dict.fromkeys(wanted)),
        settings,
        level,
        changed,
        baseline or (section.baseline if section else None),
        (*proto_paths, *(_shown(path) for path in (section.proto_paths if section else ()))),
        config,
        section.buf or None if buf is None and section else buf,
    )


def _against(word: str) -> tuple[str, str]:
    kind, colon, which = word.partition(":")
    wrong_address = kind == "registry" and bool(which) and not which.startswith(("http://", "https://"))
    if kind not in ("git", "dir", "registry") or wrong_address or (not which and (colon or kind == "dir")):
        stop(
            f"--against {word}: not something to compare with.",
            "Write git, git:BRANCH, dir:PATH, registry or registry:http://host:8081.",
        )
    return kind, which


def _shown(path: Path) -> str:
    """Return a path of cdc.yml as it is shown: from the current folder where it is below it."""
    import os

    shown = os.path.relpath(path)
    return str(path) if shown.startswith("..") else shown


def _accepted_as(write: Path | None, reason: str | None, owner: str | None, until: dt.datetime | None) -> Waiver | None:
    from bot.checks.violation import Waiver

    if write is None:
        if reason or owner or until:
            stop("--reason, --owner and --until go with --write-baseline.", "A waiver in a file has its own.")
        return None
    if not (reason or "").strip() or not (owner or "").strip():
        stop("--write-baseline needs to say why and who.", 'Add --reason "..." --owner @team.')
    return Waiver(str(reason), str(owner), until.date().isoformat() if until else None)


def _read_baseline(path: Path | None) -> tuple[list[Entry], list[Violation]]:
    """Return the entries and what is wrong with them. Stops where the file cannot be read as a whole."""
    from bot.checks.baseline import read_baseline
    from bot.checks.rules import ALL
    from bot.incident.yaml_lines import read

    if path is None:
        return [], []
    try:
        raw = path.read_bytes()
    except OSError as error:
        stop(f"{path}: {error.strerror}: the baseline was not read.", "Write one with --write-baseline.", 3)
    document = read(raw, str(path))
    if document.problems:
        stop(document.render(document.problems)[0])
    count = len(document.values) if isinstance(document.values, list) else 0
    return read_baseline(document.values, str(path), ALL, {i: document.line_of((i,)) for i in range(count)})


class _Reading:
    """All that a check reads: files now, as they were, and what could not be had."""

    def __init__(self, call: Call, asked: _Asked) -> None:
        from bot.schema_files import find

        self._call, self._asked = call, asked
        self.found: Found = find(asked.paths)
        self.notes: list[str] = [*self.found.notes]
        self.not_known: list[str] = [*self.found.not_known]
        self.violations: list[Violation] = []
        self.against: list[str] = []
        self._known_connectors: list[Connector] | None = None
        self.snapshots: list[Snapshot] = []
        self.migrations: dict[str, str] = self._migrations()
        if not self.found.files and not self.migrations and not self.not_known:
            stop(
                f"No schema file below {', '.join(asked.paths)}: nothing was checked.",
                "Give the folder or the files: cdc check schemas path/to/schemas (.avsc, .proto, .json).",
            )
        git = [self._git(which) for kind, which in asked.against if kind == "git" and self.found.roots]
        self.sources: list[Source] = self._sources([told for told in git if told is not None])
        texts = {source.file: source.text for source in self.sources}
        for kind, which in asked.against:
            if kind == "dir":
                self._folder(which, texts)

    def _git(self, ref: str) -> GitFiles | None:
        from bot.clients.git import GitBinary
        from bot.ports import PortError
        from bot.schema_files import PATTERNS, snapshot_of_git

        try:
            told = GitBinary(self._call.environ).read_before(
                ref or _ref_of_ci(self._call.environ), self.found.roots, PATTERNS
            )
        except PortError as error:
            self.not_known.append(str(error))
            return None
        self.snapshots.append(snapshot_of_git(told))
        return told

    def _folder(self, folder: str, texts: dict[str, str]) -> None:
        from bot.schema_files import snapshot_of_folder

        try:
            self.snapshots.append(snapshot_of_folder(folder, self.found, texts))
        except OSError as error:
            self.not_known.append(f"{folder}: {error.strerror}: nothing was compared with it")

    def _sources(self, git: Sequence[GitFiles]) -> list[Source]:
        """Return the files; with --changed those that differ from git, and what these need or are needed by."""
        from bot.checks.run import narrowed
        from bot.schema_files import is_other_json, read

        sources: dict[str, Source] = {}
        for file in self.found.files:
            source, wrong, line = read(file)
            if source is not None and file not in self.found.roots and is_other_json(source):
                continue
            if source is not None:
                sources[file] = source
            if line is not None:
                self.not_known.append(line)
            self.violations += wrong
        if not self._asked.only_changed or not git:
            return list(sources.values())
        same = frozenset.intersection(*(told.unchanged for told in git))
        changed = [file for file in sources if file not in same]
        self.violations = [one for one in self.violations if one.file in changed]
        avro = {file: source.text for file, source in sources.items() if source.kind == "avro"}
        others = [sources[file] for file in changed if file not in avro]
        if not changed:
            self.notes.append("no schema file differs: nothing to check")
        return [*narrowed(avro, [file for file in changed if file in avro]), *others]

    def registered(self, corpus: Corpus, advance: Callable[[], None]) -> list[Registered]:
        """Return what the registries hold of the files."""
        from bot.schema_versions import read_registered

        found: list[Registered] = []
        for kind, which in self._asked.against:
            if kind != "registry":
                continue
            name, registry = self._registry(which)
            self.against.append(f"registry {name}")
            answers = read_registered(registry, name, corpus, self._asked.settings, advance)
            found += answers.registered
            self.notes += answers.notes
            see = f"; see it with `curl -sS {shlex.quote(f'{name}/subjects')}`, then run this again"
            self.not_known += [line + see for line in answers.not_known]
            if not answers.not_known and (self.migrations or not self._asked.only_changed):
                self._tables(name, registry, answers.registered)
        if self.migrations and not any(kind == "registry" for kind, _ in self._asked.against):
            self.not_known.append("what the tables are now: --ddl needs --against registry:URL to judge every change")
            self._foretell((), asked=False)
        return found

    def _migrations(self) -> dict[str, str]:
        """Return the texts of the migrations, in the order that they run: of their names, numbers by their value."""
        import re

        from bot.checks.ddl.files import ways_back

        def order(file: str) -> list[tuple[int, str]]:
            return [(int(word), "") if word.isdigit() else (-1, word) for word in re.findall(r"\d+|\D+", file)]

        files: dict[str, None] = {}
        for given in self._asked.migrations:
            path = Path(given)
            files |= dict.fromkeys(map(str, path.rglob("*.sql")) if path.is_dir() else [given])
        back = ways_back(files)
        if back:
            shown = ", ".join(sorted(back)[:5]) + (f" and {len(back) - 5} more" if len(back) > 5 else "")
            self.notes.append(f"left out, the way back of other migrations given: {shown}")
        texts: dict[str, str] = {}
        for file in sorted(files.keys() - set(back), key=order):
            try:
                texts[file] = Path(file).read_text("utf-8")
            except OSError as error:
                self.not_known.append(f"{file}: {error.strerror}: it was not checked")
            except UnicodeDecodeError:
                self.not_known.append(f"{file}: not UTF-8: it was not checked")
        return texts

    def _tables(self, name: str, registry: SchemaRegistry, ours: Sequence[Registered]) -> None:
        """Judge the migrations against the tables' subjects, and say which subjects of tables nobody checks."""
        from bot.checks.ddl.captured import uncovered
        from bot.schema_versions import read_others

        others = read_others(registry, name, {one.subject for one in ours})
        self.not_known += others.not_known
        asked = not others.not_known
        covered = self._foretell((*ours, *others.registered), asked=asked) if self.migrations else ()
        if not self._asked.only_changed:
            self.notes += uncovered(others.registered, covered, self._connectors())

    def _foretell(self, subjects: Sequence[Registered], *, asked: bool) -> tuple[str, ...]:
        from bot.checks.ddl.check import check_ddl

        checked = check_ddl(self.migrations, subjects, self._asked.settings, self._connectors(), asked=asked)
        self.violations += checked.violations
        self.notes += checked.notes
        return checked.subjects

    def _connectors(self) -> list[Connector]:
        """Return the Debezium connectors of cdc.yml's Connect cluster; none where there is no such cluster."""
        from bot.checks.ddl.debezium import connector_of
        from bot.ports import PortError

        section = self._asked.config.connect if self._asked.config else None
        if section is None or self._known_connectors is not None:
            return self._known_connectors or []
        from bot.clients.connect import HttpConnect

        try:
            listed = HttpConnect(self._call.app.http(section, self._call.environ)).read_connectors(DEADLINE_S)
        except PortError as error:
            self.notes.append(f"the connectors' settings are not known: {error}")
            listed = ()
        read = [connector_of(one.connector, one.config) for one in listed]
        self._known_connectors = [one for one in read if one is not None]
        return self._known_connectors

    def compiled(self, corpus: Corpus) -> Protos:
        """Return what protoc makes of the .proto files, now and at the snapshots."""
        from bot.checks.run import Protos
        from bot.ports import PortError

        texts = {source.file: source.text for source in self.sources if source.kind == "proto"}
        if not texts:
            return Protos()
        from bot.clients.protoc import GrpcProtoc

        folders = self._proto_folders()
        protoc = GrpcProtoc()
        try:
            now = protoc.compile(texts, folders=folders, read=_text_of)
            snapshots: dict[str, Any] = {}
            for one in self.snapshots:
                changed = {file: text for file, text in one.before.items() if file in texts}
                if changed:
                    was = {**{file: text for file, text in texts.items() if file in one.unchanged}, **changed}
                    gone = {file: text for file, text in one.deleted.items() if file.endswith(".proto")}
                    snapshots[one.name] = protoc.compile(
                        {**was, **gone}, only=changed, folders=folders, read=_text_of, places=False
                    )
        except PortError as error:
            self.not_known.append(f"protoc: {error}: no .proto file was checked")
            return Protos()
        return Protos(now, snapshots)

    def ask_buf(self) -> None:
        """Add what buf finds in the .proto files, alone and against the snapshots, where it is asked for."""
        import shutil

        ours = {source.file for source in self.sources if source.kind == "proto"}
        binary = shutil.which("buf", path=self._call.environ.get("PATH"))
        if not ours or (not self._asked.buf and (self._asked.buf is False or binary is None)):
            return
        if not self._asked.buf:
            self.notes.append("buf is installed: --buf adds its rules")
            return
        from bot.checks.protobuf.delegation import added
        from bot.clients.buf import BufCommand
        from bot.ports import BufAnswer, PortError

        # Of all files, since an import of a changed one may be of an unchanged one.
        found = {file: _text_of(file) for file in self.found.files if file.endswith(".proto")}
        texts = {file: text for file, text in found.items() if text is not None}
        config = {file: text for file in BUF_FILES if (text := _text_of(file)) is not None}
        buf = BufCommand(binary or "buf", self._proto_folders(), _text_of)
        answers: list[tuple[str | None, BufAnswer]] = []
        try:
            answers.append((None, buf.lint(texts, config)))
            for one in self.snapshots:
                changed = {file: text for file, text in {**one.before, **one.deleted}.items() if file[-6:] == ".proto"}
                if changed:
                    same = {file: text for file, text in texts.items() if file in one.unchanged}
                    answers.append((one.name, buf.breaking(texts, {**same, **changed}, config)))
        except PortError as error:
            self.not_known.append(f"buf: {error}: its rules are not known to hold")
        for against, answer in answers:
            here = [one for one in answer.findings if one.file in ours or one.file not in texts]
            self.violations += added((replace(one, file=one.file or self.found.roots[0]) for one in here), against)
            refused = [f"{one.file}:{one.line}: {one.message}" for one in answer.findings if one.rule == "COMPILE"]
            self.not_known += [f"buf: it does not compile {refused[0]}: its rules did not run"] if refused else []
            self.notes += () if refused else answer.notes

    def _proto_folders(self) -> tuple[str, ...]:
        """Return where imports of .proto files begin."""
        return (*self._asked.proto_paths, *(root for root in self.found.roots if Path(root).is_dir()))

    def with_versions(
        self, protos: Protos, corpus: Corpus, registered: Sequence[Registered], level: str | None
    ) -> Protos:
        """Return the protos with the registered versions that they are compared with."""
        from bot.checks.protobuf.changes import Before
        from bot.ports import PortError

        versions: dict[str, tuple[Before, ...]] = {}
        for one in registered:
            if one.file not in protos.now.files or not one.versions:
                continue
            from bot.clients.protoc import GrpcProtoc

            wanted = one.versions if (level or one.level).endswith("_TRANSITIVE") else one.versions[-1:]
            before: list[Before] = []
            for version in wanted:
                name = f"registry {one.subject} v{version.version}"
                if version.schema_type != "PROTOBUF":
                    continue
                try:
                    told = GrpcProtoc().compile({one.file: version.text, **version.uses}, only=[one.file], places=False)
                except PortError as error:
                    self.not_known.append(f"protoc: {error}")
                    continue
                if one.file in told.files:
                    before.append(Before(told.files[one.file], name))
                else:
                    self.notes.append(f"{name} did not compile: {one.file} was not compared with it")
            versions[one.file] = tuple(before)
        return replace(protos, versions=versions)

    def _registry(self, url: str) -> tuple[str, SchemaRegistry]:
        """Return the registry: the URL given, else cdc.yml's, else SCHEMA_REGISTRY_URL; with the login of cdc.yml."""
        from bot.clients.registry import HttpSchemaRegistry

        section = self._asked.config.registry if self._asked.config else None
        if section is not None and url.rstrip("/") in ("", section.url):
            http = self._call.app.http(section, self._call.environ)
            return http.url, HttpSchemaRegistry(http)
        url = url or self._call.environ.get("SCHEMA_REGISTRY_URL", "")
        if not url:
            stop(
                "Which registry? --against registry needs a URL, `registry:` in cdc.yml, or SCHEMA_REGISTRY_URL.",
                "Write --against registry:http://host:8081.",
            )
        from bot.clients.http import JsonHttp

        http = JsonHttp(url, _login_of(self._call.environ))
        return http.url, HttpSchemaRegistry(http)


def _text_of(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _login_of(environ: Mapping[str, str]) -> Callable[[], Mapping[str, str] | None]:
    """Return the login that Confluent's own tools read from the environment, `user:password`."""
    from base64 import b64encode

    login = environ.get("SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO", "")
    header = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else None
    return lambda: header


def _ref_of_ci(environ: Mapping[str, str]) -> str | None:
    """Return what the job's change goes to: the target of a pull request, or what a push to main replaced (GitLab)."""
    for name in ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"):
        if target := environ.get(name):
            return target
    pushed = environ.get("CI_COMMIT_BEFORE_SHA", "")
    on_main = environ.get("CI_COMMIT_BRANCH") == environ.get("CI_DEFAULT_BRANCH", "")
    return pushed if on_main and pushed not in ("", _NO_COMMIT) else None


class _Bar:
    """Called once a step; on a terminal a bar appears when the check takes longer than PROGRESS_AFTER_S, and goes."""

    def __init__(self) -> None:
        import time

        self._clock = time.monotonic
        self._began, self._done, self._steps = time.monotonic(), 0, 0
        self._shown: Progress | None = None

    def expect(self, steps: int) -> None:
        self._steps = steps

    def __call__(self) -> None:
        self._done += 1
        if self._shown is None and sys.stderr.isatty() and self._clock() - self._began > PROGRESS_AFTER_S:
            from rich.console import Console
            from rich.progress import Progress

            self._shown = Progress(console=Console(stderr=True), transient=True)
            self._shown.add_task("checking schemas", total=self._steps)
            self._shown.start()
        if self._shown is not None and self._done % 16 == 0:
            self._shown.update(self._shown.task_ids[0], completed=min(self._done, self._steps))

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown is not None:
            self._shown.stop()


# --- runbooks --------------------------------------------------------------------------------------


@check.command("runbooks")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--fail-on", type=click.Choice(["error", "warning", "note", "never"]), default="error", show_default=True)
def check_runbooks(paths: tuple[Path, ...], form: str, fail_on: str) -> int:
    """Check runbooks: unknown probes and actions, missing guards. Default: those that ship with the bot."""
    import json

    from bot.shipped import shipped

    files = [file for path in paths or (shipped("runbooks"),) for file in _runbook_files(path)]
    findings = [finding for file in files for finding in _runbook_findings(file)]
    if form == "json":
        click.echo(json.dumps({"findings": findings, "checked": len(files)}, indent=2, ensure_ascii=False))
    else:
        for found in findings:
            place = f"{found['file']}:{found['line']}" if found["line"] is not None else found["file"]
            click.echo(f"{place}: {found['message']}: {found['remedy']}")
        click.echo(f"{len(files)} runbooks checked, {len(findings)} errors.", err=True)
    return 1 if findings and fail_on != "never" else 0


def _runbook_files(path: Path) -> list[Path]:
    """Return the runbooks of a folder; `alerts.yml` beside them holds the rules."""
    if path.is_dir():
        return sorted(file for file in path.glob("*.yml") if file.name != "alerts.yml")
    if not path.exists():
        stop(f"{path}: there is no such file or folder. Nothing was checked.", exit_code=3)
    return [path]


def _runbook_findings(file: Path) -> list[dict[str, Any]]:
    """Return what is wrong with a runbook, as `cdc check ... --format json` lists it."""
    from bot.config import ACTIONS, PROBES
    from bot.incident.runbook_file import RunbookErrors, parse

    try:
        parse(file.read_bytes(), str(file), probes=PROBES, actions=ACTIONS)
    except RunbookErrors as errors:
        return [_finding(line, str(file)) for line in errors.errors]
    return []


def _finding(line: str, file: str) -> dict[str, Any]:
    """Take `FILE:14: actions[1].guard: what is wrong: what to write` apart; what does not fit is the message."""
    import re

    placed = re.fullmatch(r"(?P<line>\d+): (?P<message>.*?)(?:: (?P<remedy>[^:]*))?", line.removeprefix(f"{file}:"))
    found = placed.groupdict() if placed else {"line": None, "message": line, "remedy": None}
    return {
        "rule": "runbook",
        "severity": "error",
        "file": file,
        "line": int(found["line"]) if found["line"] else None,
        "column": None,
        "message": found["message"],
        "remedy": found["remedy"] or "",
        "waived": False,
    }
