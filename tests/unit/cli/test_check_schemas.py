"""`cdc check schemas`: from paths and flags to findings and an exit code; git and the registry are real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import bot.app
from bot.cli import run
from bot.drill.registry import SchemaRegistry

ENVIRON = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{who}_{what}": f"{what}@x".lower() for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}
ID = {"name": "id", "type": "long", "doc": "Primary key, from the database."}
TIER = {"name": "tier", "type": "string", "doc": "Loyalty tier, as sales has it."}
DECIDED = {**TIER, "type": ["null", "string"], "default": None}
FILE = "schemas/customers-value.avsc"


def record(*fields: Any, name: str = "Customer") -> str:
    head = {"type": "record", "name": name, "namespace": "com.shop", "doc": "Whom the shop sells to."}
    return json.dumps({**head, "fields": list(fields)}, indent=1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a repository of schemas, on a branch off main."""
    monkeypatch.chdir(tmp_path)
    write(FILE, record(ID))
    write("schemas/orders-value.avsc", record(ID, name="Order"))
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "x"], ["checkout", "-q", "-bt"]):
        subprocess.run(["git", *words], env=ENVIRON, check=True)
    return tmp_path


def write(path: str, content: str | bytes) -> None:
    Path(path).parent.mkdir(exist_ok=True, parents=True)
    Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())


def check(line: str, *more: str, **environ: str) -> int:
    return run(["check", "schemas", *line.split(), *more], {**ENVIRON, **environ}, lambda: bot.app)


@pytest.fixture
def document(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a check and return its exit code and its JSON document."""

    def checked(line: str, *more: str, **environ: str) -> tuple[int, dict[str, Any]]:
        code = check(f"{line} --format json", *more, **environ)
        return code, json.loads(capsys.readouterr().out)

    return checked


def errors(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f["rule"], f["file"]) for f in found["findings"] if f["severity"] == "error" and not f["waived"]]


def test_an_undecided_field_fails_and_a_decided_one_passes(here: Path, document: Any) -> None:
    """The user's rule, against the merge-base with main, with the shapes of contract.md."""
    assert 0 == document("schemas --against git")[0]
    write(FILE, record(ID, TIER))
    code, found = document("schemas --against git")
    assert (1, [("C001", FILE)], 2) == (code, errors(found), found["checked"])
    assert {"rule", "severity", "file", "line", "column", "message", "remedy", "waived"} <= found["findings"][0].keys()
    assert found["against"][0].startswith("git main (")
    assert 0 == document("schemas --against git --fail-on never")[0]
    write(FILE, record(ID, DECIDED))
    assert (0, []) == (lambda code, found: (code, errors(found)))(*document("schemas --against git"))


@pytest.mark.parametrize("flags", ["--against git", "--changed"])
def test_a_renamed_file_is_told_as_another_subject(here: Path, document: Any, flags: str) -> None:
    """`git mv` alone, and with a change; nothing of it is an error where nothing else is."""
    moved = "schemas/clients-value.avsc"
    subprocess.run(["git", "mv", FILE, moved], env=ENVIRON, check=True)
    code, found = document(f"schemas {flags}")
    (note,) = found["notes"]
    assert (0, True) == (code, note.startswith(f"{moved} was {FILE} at git main ("))
    assert "its subject was customers-value and is clients-value" in note
    write(moved, record(ID, TIER))
    code, found = document(f"schemas {flags}")
    assert (1, [("C001", moved)], [note]) == (code, errors(found), found["notes"])


def test_only_what_changed_is_checked(here: Path, document: Any) -> None:
    """The rest is read for its names only; a main branch is compared with even if no --against says so."""
    write(FILE, record({**ID, "type": "com.shop.Money"}))
    write("schemas/money.avsc", record(ID, name="Money"))
    code, found = document("--changed")
    assert (1, 2) == (code, found["checked"])
    subprocess.run(["git", "checkout", "-q", "."], env=ENVIRON, check=True)
    subprocess.run(["git", "add", "schemas/money.avsc"], env=ENVIRON, check=True)
    subprocess.run(["git", "commit", "-qmx"], env=ENVIRON, check=True)
    subprocess.run(["git", "branch", "-f", "main"], env=ENVIRON, check=True)
    write(FILE, record(ID, {**DECIDED, "type": ["null", "com.shop.Money"]}))
    assert (0, 1) == (lambda code, found: (code, found["checked"]))(*document("--changed"))
    subprocess.run(["git", "checkout", "-q", "."], env=ENVIRON, check=True)
    code, found = document("--changed")
    assert (0, 0, ["no schema file differs: nothing to check"]) == (code, found["checked"], found["notes"])


def test_an_earlier_copy_is_compared_with(here: Path, document: Any) -> None:
    """Of the folder, of what is around it, and of one file."""
    write("old/customers-value.avsc", record(ID))
    write("copy/schemas/customers-value.avsc", record(ID))
    write(FILE, record(ID, TIER))
    for words in (
        "schemas --against dir:old",
        "schemas --against dir:copy",
        f"{FILE} --against dir:old/customers-value.avsc",
    ):
        assert [("C001", FILE)] == errors(document(words)[1]), words
    code, found = document("schemas --against dir:nowhere")
    assert (3, True) == (code, "nowhere: No such file" in found["not_known"][0])


def test_several_at_once_each_count(here: Path, document: Any) -> None:
    """One that cannot be had hides nothing of another, nor of the lint: findings are 1, else it is 3."""
    write("old/customers-value.avsc", record(ID))
    write(FILE, record(ID, TIER))
    code, found = document("schemas --against git:nowhere --against dir:old --against registry:http://127.0.0.1:1")
    assert (1, [("C001", FILE)]) == (code, errors(found))
    assert 2 == len(found["not_known"])
    assert "no branch, tag or commit nowhere" in found["not_known"][0]
    assert "refused the connection (2 files were not compared with it)" in found["not_known"][1]
    assert 3 == check("schemas --against git:nowhere --fail-on never")


# --- what is there ---------------------------------------------------------------------------------


def test_nothing_to_check_is_never_green(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file at all is a usage error, a path that is not there is told and the others are checked."""
    Path("empty").mkdir()
    assert 2 == check("empty")
    assert "No schema file below empty: nothing was checked." in capsys.readouterr().err
    assert 3 == check("nowhere --against git --against dir:schemas")
    assert "nowhere: there is no such file or folder" in capsys.readouterr().out
    assert 3 == check("schemas nowhere")
    said = capsys.readouterr().out
    assert "nowhere: there is no such file or folder" in said
    assert "2 files" in said
    for word in ("main", "registry:localhost:8081"):
        assert 2 == check(f"schemas --against {word}")
        assert "registry:http://host:8081" in capsys.readouterr().err


def test_what_is_no_schema_is_an_error_of_that_file_alone(here: Path, document: Any) -> None:
    """Other encodings, a byte order mark, broken JSON, what is not a schema, nothing at all."""
    for name, content in {
        "latin": b'{"type": "record", "name": "\xe9"}',
        "bom": b"\xef\xbb\xbf" + record(ID, name="Bom").encode(),
        "broken": b'{"type": "record",',
        "number": b"7",
        "empty": b"",
        "deep": b"[" * 3000,
    }.items():
        write(f"schemas/{name}.avsc", content)
    code, found = document("schemas --against git")
    assert (1, 8) == (code, found["checked"])
    wrong = {finding["file"] for finding in found["findings"] if finding["rule"] == "A001"}
    assert {f"schemas/{name}.avsc" for name in ("latin", "bom", "broken", "number", "empty", "deep")} == wrong


def test_links_are_followed_once(here: Path, document: Any) -> None:
    """One that leads back up ends; one to nowhere is told, and a pipe, which would be waited for."""
    Path("schemas/loop").symlink_to("..")
    Path("schemas/dangling.avsc").symlink_to("nowhere.avsc")
    os.mkfifo("schemas/pipe.avsc")
    code, found = document("schemas")
    assert (3, 2) == (code, found["checked"])
    assert [
        "schemas/dangling.avsc: No such file or directory: it was not checked",
        "schemas/pipe.avsc: not a regular file: it was not checked",
    ] == found["not_known"]


def test_hidden_folders_hold_no_schemas_and_other_files_are_named(here: Path, document: Any) -> None:
    """A `.json` counts by its `$schema` only where a folder is given."""
    write("schemas/.cache/x.avsc", "{")
    write("schemas/node_modules/x.avsc", "{")
    write("schemas/x.avdl", "protocol P {}")
    write("schemas/package.json", "{}")
    write("schemas/events-value.json", '{"$schema": "http://json-schema.org/draft-07/schema#"}')
    code, found = document("schemas")
    assert (0, 3) == (code, found["checked"])
    assert ["not checked: 1 .avdl (Avro IDL: compile it to .avsc)"] == found["notes"]


# --- cdc.yml, waivers, baseline --------------------------------------------------------------------


def test_cdc_yml_may_hold_nothing_but_the_checks(here: Path, document: Any) -> None:
    """A flag goes before it; what is broken in it is told, wherever it stands."""
    write(FILE, record(ID, TIER))
    write("cdc.yml", "checks: {schemas: {paths: [schemas], rules: {C001: warning, C002: off}}}")
    assert (0, []) == (lambda code, found: (code, errors(found)))(*document("--against git"))
    write("cdc.yml", "checks: {schemas: {level: SIDEWAYS}}\nkafka: {}")
    assert 2 == check("schemas")
    write("cdc.yml", "checks: {schemas: {rules: {C01: warning}}}")
    assert 2 == check("schemas")


def test_a_baseline_is_written_and_then_accepts(here: Path, document: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """With reason and owner, never without; what comes later still fails."""
    write(FILE, record(ID, TIER))
    assert 2 == check("schemas --against git --write-baseline b.yml")
    assert "--reason" in capsys.readouterr().err
    assert 0 == check("schemas --against git --write-baseline b.yml --owner @data", "--reason", "Before the rule.")
    assert "1 accepted" in capsys.readouterr().err
    code, found = document("schemas --against git --baseline b.yml")
    assert (0, True) == (code, next(f["waived"] for f in found["findings"] if f["rule"] == "C001"))
    write(FILE, record(ID, TIER, {**TIER, "name": "grade"}))
    assert [("C001", FILE)] == errors(document("schemas --against git --baseline b.yml")[1])
    assert 3 == check("schemas --baseline nowhere.yml")
    write("b.yml", "- rule: C001\n  rule: C002\n")
    assert 2 == check("schemas --baseline b.yml")


# --- a registry ------------------------------------------------------------------------------------


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    world = SchemaRegistry().start()
    yield world
    world.stop()


def register(registry: SchemaRegistry, subject: str, schema: str) -> None:
    answer = requests.post(f"{registry.url}/subjects/{subject}/versions", json={"schema": schema}, timeout=5)
    assert 200 == answer.status_code, answer.text


def test_the_registry_s_versions_and_level_are_judged_by(registry: SchemaRegistry, here: Path, document: Any) -> None:
    """A subject that is not there passes with a note; the URL may come from the environment."""
    register(registry, "customers-value", record(ID))
    write(FILE, record(ID, TIER))
    code, found = document("schemas --against registry", SCHEMA_REGISTRY_URL=registry.url)
    assert (1, [("C001", FILE)]) == (code, errors(found))
    assert ["registry customers-value v1"] == [f["against"] for f in found["findings"] if f["rule"] == "C001"]
    assert any("orders-value is new to the registry" in note for note in found["notes"])
    write(FILE, record(ID, DECIDED))
    assert 0 == document(f"schemas --against registry:{registry.url}")[0]


def test_a_registry_is_asked_by_the_template_s_subject(registry: SchemaRegistry, here: Path, document: Any) -> None:
    """For all files, or for those of a pattern."""
    register(registry, "com.shop.Customer", record(ID))
    write(FILE, record(ID, TIER))
    against = f"schemas --against registry:{registry.url}"
    assert [("C001", FILE)] == errors(document(f"{against} --subject RecordNameStrategy")[1])
    assert [("C001", FILE)] == errors(document(f"{against} --subject customers*={{name}}")[1])
    assert [] == errors(document(f"{against} --subject orders*={{name}}")[1])
    assert 2 == check(f"{against} --subject {{steem}}")


def test_a_registry_that_is_down_is_one_line(registry: SchemaRegistry, here: Path, document: Any) -> None:
    """Not one a file; and which registry is asked must be said."""
    registry.break_down(True)
    code, found = document(f"schemas --against registry:{registry.url}")
    assert f"`curl -sS {registry.url}/subjects`" in found["not_known"][-1]
    assert (3, 1) == (code, len({line.partition(" (")[0].split(":")[0] for line in found["not_known"]}))
    assert 2 == check("schemas --against registry")


# --- Protobuf and migrations -----------------------------------------------------------------------

PROTO = 'syntax = "proto3";\npackage shop.v1;\n\n// One order.\nmessage Order {\n%s\n}\n'
NUMBER = "  // Key.\n  optional string id = %d;"


def test_a_proto_is_compared_too(here: Path, document: Any) -> None:
    """By the same run, against the same commit."""
    write("schemas/shop/v1/order.proto", PROTO % (NUMBER % 1))
    subprocess.run(["git", "add", "-A"], env=ENVIRON, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "proto"], env=ENVIRON, check=True)
    assert [] == errors(document("schemas --against git:HEAD")[1])
    write("schemas/shop/v1/order.proto", PROTO % (NUMBER % 2))
    code, found = document("schemas --against git:HEAD")
    assert 1 == code
    assert {"P203"} <= {rule for rule, _ in errors(found)}
    assert all(f["against"].startswith("git HEAD") for f in found["findings"] if f["rule"] == "P203")


def test_a_migration_is_judged_before_it_is_run(registry: SchemaRegistry, here: Path, document: Any) -> None:
    """What Debezium would register for it, against what it registered; without it, the tables are named."""
    table = {"type": "record", "name": "Value", "namespace": "shop.public.customers"}
    held = {**table, "connect.name": "shop.public.customers.Value", "fields": [{"name": "id", "type": "int"}]}
    register(registry, "shop.public.customers-value", json.dumps(held))
    write("db/V1__tier.sql", "ALTER TABLE customers ADD COLUMN tier text NOT NULL;\n")
    against = f"--against registry:{registry.url}"
    code, found = document(f"{against} --ddl db/V1__tier.sql")
    assert (1, 1) == (code, found["checked"])
    assert ["db/V1__tier.sql"] == sorted({file for _, file in errors(found)})
    write("db/U1__tier.sql", "ALTER TABLE customers DROP COLUMN id;\n")
    code, found = document(f"{against} --ddl db")
    assert {"db/V1__tier.sql"} == {file for _, file in errors(found)}
    assert any("the way back of other migrations given: db/U1__tier.sql" in note for note in found["notes"])
    code, found = document(f"schemas {against}")
    assert any("shop.public.customers-value" in note and "not covered" in note for note in found["notes"])


SERVED = """syntax = "proto3";

package shop.v1;

// Whom the shop sells to.
message Customer {
  // Primary key, from the database.
  optional int64 id = 1;
}

// What is called.
service Customers {
  rpc Get(Customer) returns (Customer);
}
"""


def test_buf_adds_its_rules_where_it_is_asked_to(here: Path, document: Any) -> None:
    """The real buf: alone, against a copy, and by buf.yaml; not run unless somebody says so."""
    installed = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    write("p/shop/v1/a.proto", SERVED)
    write("copy/p/shop/v1/a.proto", SERVED.replace("(Customer);", "(stream Customer);"))
    code, found = document("p", PATH=installed)
    assert (0, ["buf is installed: --buf adds its rules"]) == (code, found["notes"])
    assert (0, []) == (lambda code, found: (code, found["notes"]))(*document("p --no-buf", PATH=installed))
    code, found = document("p --buf --against dir:copy", PATH=installed)
    told = [(one["file"], one["path"], one["against"]) for one in found["findings"] if one["rule"] == "BUF"]
    assert (1, True) == (code, ("p/shop/v1/a.proto", "SERVICE_SUFFIX", None) in told)
    assert ("p/shop/v1/a.proto", "RPC_SAME_SERVER_STREAMING", "dir copy") in told
    assert any("ran with its STANDARD rules" in note for note in found["notes"])
    write("buf.yaml", '{"version": "v2", "modules": [{"path": "p"}], "lint": {"use": ["COMMENT_RPC"]}}')
    code, found = document("p --buf", PATH=installed)
    assert (1, ["COMMENT_RPC"]) == (code, [one["path"] for one in found["findings"]])
    assert "ran with the rules of buf.yaml" in found["notes"][0]
    write("cdc.yml", "checks: {schemas: {buf: true, paths: [p]}}")
    assert found["notes"] == document("", PATH=installed)[1]["notes"]


def test_buf_that_cannot_judge_proves_nothing(here: Path, document: Any) -> None:
    """It is not there; or it does not find what protoc does."""
    write("p/shop/v1/a.proto", SERVED)
    code, found = document("p --buf", PATH="/nowhere")
    assert (3, True) == (code, "`pip install buf-bin`" in found["not_known"][0])
    write("lib/shop/v1/b.proto", SERVED.replace("Customer", "Other"))
    write("p/shop/v1/a.proto", SERVED.replace("// Whom", 'import "shop/v1/b.proto";\n\n// Whom'))
    write("buf.yaml", '{"version": "v2", "modules": [{"path": "p"}]}')
    installed = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    code, found = document("p --buf --proto-path lib", PATH=installed)
    assert (3, True) == (code, "its rules did not run" in found["not_known"][0])


def test_a_baseline_is_idle_only_where_its_file_was_judged(
    here: Path, document: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever removed entries that a narrower run did not need would break the whole run."""
    old = 'syntax = "proto3";\npackage shop.v1;\n\nmessage Row {\n  string name = 1;\n}\n'
    write("schemas/shop/v1/row.proto", old)
    write("schemas/orders-value.avsc", record(ID, {"name": "total", "type": "string", "default": 5}, name="Order"))
    subprocess.run(["git", "add", "-A"], env=ENVIRON, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "old"], env=ENVIRON, check=True)
    subprocess.run(["git", "branch", "-f", "main"], env=ENVIRON, check=True)
    assert 0 == check("schemas --write-baseline accepted.yml --owner @data", "--reason", "was there before")
    capsys.readouterr()

    def idle(line: str) -> list[str]:
        return [f["message"] for f in document(f"{line} --baseline accepted.yml")[1]["findings"] if f["rule"] == "S003"]

    write(FILE, record(ID, DECIDED))
    assert [] == idle("schemas")
    assert [] == idle("schemas --against git")
    assert [] == idle(f"{FILE} --against git")
    assert [] == idle("schemas --changed")
    write("schemas/orders-value.avsc", record(ID, name="Order"))
    (told,) = idle("schemas")
    assert "A008" in told


def test_migrations_without_a_registry_are_not_silently_fine(here: Path, document: Any) -> None:
    """What the tables are now is known to the registry alone: without it, or with a dead one, nothing is judged."""
    write("db/V1.sql", "ALTER TABLE customers ADD COLUMN tier text NOT NULL;\n")
    for line in ("--ddl db", "schemas --ddl db --against git", "schemas --ddl db --changed"):
        code, found = document(line)
        assert 3 == code, found
        assert "--against registry:URL" in found["not_known"][0]
    code, found = document("schemas --ddl db --changed --against registry:http://127.0.0.1:9")
    assert (3, True) == (code, bool(found["not_known"]))


def test_a_long_check_shows_a_bar_on_a_terminal_and_takes_it_away(tmp_path: Path) -> None:
    """A real terminal: 3,000 files take longer than a second; a short check and a pipe see none."""
    folder = tmp_path / "schemas"
    for number in range(3000):
        write(
            str(folder / f"s{number}-value.avsc"),
            record(ID, DECIDED, *({**DECIDED, "name": f"f{i}"} for i in range(30))),
        )
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "bot.cli", "check", "schemas", str(folder), "-o", str(tmp_path / "out")]
    environ = {**ENVIRON, "TERM": "xterm", "PYTHONPATH": str(Path(bot.app.__file__).parents[1])}
    with subprocess.Popen(command, stderr=theirs, stdout=theirs, env=environ, cwd=tmp_path) as ran:
        os.close(theirs)
        seen = b""
        while True:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # the terminal's other end is closed: the process has ended
                break
    os.close(ours)
    assert 0 == ran.returncode, seen[-500:]
    assert b"checking schemas" in seen
    assert b"\x1b[2K" in seen
