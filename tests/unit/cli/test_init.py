"""`cdc init` on small real servers: what it writes, what it never touches, and what it never shows."""

from __future__ import annotations

import base64
import json
import logging
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from confluent_kafka import Producer

import bot.app
from bot.cli import run
from bot.config import load
from bot.shipped import shipped

SILENT = logging.getLogger("tests.librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False

PASSWORD = "hunter2 @:/%"
LOGIN = "Basic " + base64.b64encode(f"cdc:{PASSWORD}".encode()).decode()


def connector(kind: str, **config: str) -> dict[str, object]:
    state = {"name": "x", "connector": {"state": "RUNNING", "worker_id": "w"}, "tasks": [], "type": kind}
    return {"status": state, "info": {"config": config}}


@dataclass
class Estate:
    """Connect, which wants a login, a registry and Prometheus, behind one port."""

    url: str = ""
    answers: dict[str, object] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def with_login(self) -> str:
        return self.url.replace("http://", "http://cdc:hunter2%20%40%3A%2F%25@")


@pytest.fixture
def estate() -> Iterator[Estate]:
    estate = Estate(
        answers={
            "/connect/connectors": {
                "crm-source": connector("source", **{"database.password": PASSWORD}),
                "crm-sink": connector("sink", topics="crm.customers"),
            },
            "/connect/connectors/crm-source/topics": {"crm-source": {"topics": ["crm.customers"]}},
            "/connect/connectors/crm-sink/topics": {"crm-sink": {"topics": []}},
            "/registry/subjects": ["crm.customers-value"],
            "/prometheus/api/v1/alertmanagers": {
                "data": {"activeAlertmanagers": [{"url": "http://am:9093/x/api/v2/alerts"}, {"url": "http://am2:9093"}]}
            },
        }
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            estate.asked.append(path)
            denied = path.startswith("/connect/") and self.headers.get("Authorization") != LOGIN
            status = 401 if denied else 200 if path in estate.answers else 404
            body = json.dumps(estate.answers[path] if status == 200 else {"message": "no"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    estate.url = f"http://127.0.0.1:{httpd.server_port}"
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield estate
    httpd.shutdown()
    httpd.server_close()


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def cdc(capsys, tmp_path, monkeypatch):
    """Return `cdc(line, **environ)`: the command in an empty folder, with nothing in its environment."""
    monkeypatch.chdir(tmp_path)

    def call(line: str, **environ: str) -> Ran:
        code = run(shlex.split(line), environ, lambda: bot.app)
        return Ran(code, *capsys.readouterr())

    return call


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_without_an_address_it_writes_a_file_to_fill_in(cdc, tmp_path):
    """It loads as it stands, with the runbooks that ship beside it, and asks nobody."""
    ran = cdc("init oncall")

    assert (0, "") == (ran.code, ran.out)
    assert "asking" not in ran.err
    assert (
        "Next: set the variables it names, then `cdc -c oncall/cdc.yml serve`, and in another terminal "
        "`cdc -c oncall/cdc.yml doctor`." in ran.err
    )
    config = load(tmp_path / "oncall" / "cdc.yml")
    assert ((), {}, "socket") == (config.pipelines, dict(config.actions), config.slack and config.slack.mode)
    names = {path.name for path in shipped("runbooks").glob("*.yml")} - {"alerts.yml"}
    assert names == {path.name for path in (tmp_path / "oncall" / "runbooks").iterdir()}


def test_with_addresses_it_writes_the_pipelines(cdc, estate, tmp_path):
    """And from Prometheus the Alertmanager; the login that asked Connect is named, not written."""
    ran = cdc(
        f"init . --connect {estate.with_login}/connect --registry {estate.url}/registry "
        f"--prometheus {estate.url}/prometheus"
    )

    assert 0 == ran.code, ran.err
    text = (tmp_path / "cdc.yml").read_text()
    config = load(tmp_path / "cdc.yml")
    (crm,) = config.pipelines
    assert ("crm", ("crm-source", "crm-sink"), ("crm.customers",)) == (crm.name, crm.connectors, crm.topics)
    assert ("crm.customers-value",) == crm.subjects
    assert "auth: {user: cdc, password: '${CONNECT_PASSWORD}'}" in text
    assert config.alertmanager is not None
    assert "http://am:9093/x" == config.alertmanager.url
    assert "Prometheus also tells http://am2:9093" in ran.err
    assert [] == [where for where in (text, ran.out, ran.err) if "hunter2" in where]


def test_a_second_run_uses_the_login_of_the_file(cdc, estate, tmp_path):
    """Without any option: addresses are in the file, passwords in the environment; nothing is written."""
    assert 0 == cdc(f"init . --connect {estate.with_login}/connect").code
    before = contents(tmp_path)

    again = cdc("init", CONNECT_PASSWORD=PASSWORD)
    assert (0, "") == (again.code, again.out)
    assert "no difference" in again.err
    assert before == contents(tmp_path)

    blind = cdc("init")  # the password is not there: nothing can be asked
    assert 3 == blind.code
    assert "CONNECT_PASSWORD" in blind.err
    assert before == contents(tmp_path)


def test_a_login_is_used_for_its_own_address_alone(cdc, estate, tmp_path):
    """The password of one server is not sent to another that is asked for."""
    (tmp_path / "cdc.yml").write_text(
        'connect: {url: "http://127.0.0.1:1", auth: {user: cdc, password: "${CONNECT_PASSWORD}"}}\n'
    )
    ran = cdc(f"init --connect {estate.url}/connect", CONNECT_PASSWORD=PASSWORD)
    assert 3 == ran.code
    assert "answered 401" in ran.err


def test_what_has_changed_is_a_diff_and_no_byte_is(cdc, estate, tmp_path):
    """A new connector shows as lines to add; an owner that a person wrote is not taken away."""
    address = f"--connect {estate.with_login}/connect"
    cdc(f"init . {address}")
    path = tmp_path / "cdc.yml"
    path.write_text(path.read_text().replace("  crm:\n", "  crm:\n    owner: '@crm'\n"))
    estate.answers["/connect/connectors"] |= {"hr-source": connector("source")}
    estate.answers["/connect/connectors/hr-source/topics"] = {"hr-source": {"topics": ["hr.people"]}}
    before = contents(tmp_path)

    ran = cdc(f"init . {address}")

    assert 0 == ran.code
    changed = [line for line in ran.out.splitlines() if line[:1] in "+-"]
    assert ["--- cdc.yml\tas it is", "+++ cdc.yml\tas cdc init would write it"] == changed[:2]
    assert ["+  hr:", "+    source: {connector: hr-source}", "+    topics: [hr.people]"] == changed[2:]
    assert "Nothing was overwritten: cdc.yml is yours." in ran.err
    assert before == contents(tmp_path)


def test_what_was_not_asked_is_not_taken_away(cdc, estate, tmp_path):
    """With Connect alone nobody told the groups: what a person wrote stays, a pipeline included."""
    address = f"--connect {estate.with_login}/connect"
    cdc(f"init . {address}")
    path = tmp_path / "cdc.yml"
    more = "      - {group: billing, kind: consumer, topics: [crm.customers]}\n    sink:"
    path.write_text(path.read_text().replace("    sink:", more) + "  mine:\n    topics: [other]\n")

    ran = cdc(f"init . {address}")
    assert 0 == ran.code
    assert [] == [line for line in ran.out.splitlines() if line[:1] == "-" and ("billing" in line or "mine" in line)]


def test_nothing_that_exists_is_touched(cdc, tmp_path):
    """Files and runbooks of a folder stay; a runbook that differs is shown, a missing one is not added."""
    books = tmp_path / "runbooks"
    books.mkdir()
    (books / "consumer-lag.yml").write_text("mine\n")
    (tmp_path / "notes.txt").write_text("mine")
    before = contents(tmp_path)

    ran = cdc("init .")

    assert 0 == ran.code
    assert before == {path: raw for path, raw in contents(tmp_path).items() if path.name != "cdc.yml"}
    assert "-mine" in ran.out
    assert "runbooks/other.yml is not there; the shipped one was not added." in ran.err


def test_a_disk_that_is_full_leaves_nothing_half(cdc, tmp_path):
    """Runbooks and config are there whole or not at all: the next run writes them."""
    command = f"ulimit -f 2; {sys.executable} -m bot.cli init f"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert 0 != done.returncode
    assert [] == [path for path in (tmp_path / "f").rglob("*") if path.name in ("cdc.yml", "runbooks")]

    assert 0 == cdc("init f").code
    assert 5 == len(list((tmp_path / "f" / "runbooks").glob("*.yml")))


@pytest.mark.parametrize("make", [lambda here: here.mkdir(), lambda here: here.write_text("mine")])
def test_runbooks_that_are_none_are_not_named(cdc, tmp_path, make):
    """An empty folder, or a file of that name, stays; the config uses those that ship."""
    make(tmp_path / "runbooks")
    assert 0 == cdc("init .").code
    assert load(tmp_path / "cdc.yml").runbooks == shipped("runbooks")


@pytest.mark.parametrize("line", ["init --print", "init -", "init --print new"])
def test_print_writes_nothing(cdc, tmp_path, line):
    """The file is on stdout, and loads where there is no folder of runbooks either."""
    ran = cdc(line)
    assert 0 == ran.code
    assert {} == yaml.safe_load(ran.out)["pipelines"]
    assert "runbooks" not in yaml.safe_load(ran.out)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--connect {down}", 3, "Connect: GET {down}/connectors: refused the connection"),
        ("--connect {url}/connect", 3, "answered 401, the credentials are missing or wrong"),
        ("--connect {url}/nothing", 3, "answered 404"),
        ("--connect connect:8083", 2, "connect.url: not an address: write http://host:port"),
        ("--connect http://u:hunter/2@c", 2, "The login in --connect cannot be read"),
        ("--connect http://u:hunter#2@c", 2, "Write / ? # in it as %2F %3F %23."),
        ("--registry http://h/?x=1", 2, "registry.url: more than an address"),
        ("--bootstrap kafka", 2, "kafka.bootstrap: not a broker list: write host:9092"),
        ("-X security.protocol=SSL", 2, "Give --bootstrap HOST:PORT as well."),
        ("--bootstrap k:9092 -X nonsense", 2, "KEY=VALUE"),
        ("--bootstrap k:9092 -X group.id=x", 2, "group.id is set by the bot itself"),
        ("--alertmanager am", 2, "alertmanager.url: not an address"),
    ],
)
def test_what_cannot_be_asked_is_said_and_nothing_is_written(cdc, estate, tmp_path, options, code, words):
    """Usage is 2, no answer is 3; the next move is named."""
    names = {"url": estate.url, "down": "http://127.0.0.1:1"}
    ran = cdc(f"init new {options.format(**names)}")
    assert (code, "") == (ran.code, ran.out)
    assert words.format(**names) in ran.err
    assert "hunter" not in ran.err
    assert [] == list(tmp_path.iterdir())


def test_what_one_system_knows_is_written_without_the_other(cdc, estate, tmp_path):
    """A registry that is down costs the subjects, not the file."""
    ran = cdc(f"init . --connect {estate.with_login}/connect --registry http://127.0.0.1:1")
    assert 0 == ran.code
    assert "Not read: Schema Registry: GET http://127.0.0.1:1/subjects: refused the connection" in ran.err
    assert "# Schema Registry could not be read when this was written" in (tmp_path / "cdc.yml").read_text()
    assert ["crm"] == [each.name for each in load(tmp_path / "cdc.yml").pipelines]


APICURIO = {"name": "Apicurio Registry (In Memory)", "version": "3.3.3"}


def test_apicurios_base_address_becomes_that_of_its_confluent_api(cdc, estate, tmp_path):
    """It is told, used and written; the login goes along."""
    estate.answers |= {"/apis/registry/v3/system/info": APICURIO, "/apis/ccompat/v7/subjects": ["crm.customers-value"]}
    ran = cdc(f"init . --connect {estate.with_login}/connect --registry {estate.with_login}")
    assert 0 == ran.code, ran.err
    right = f"{estate.url}/apis/ccompat/v7"
    assert f"{estate.url} is Apicurio; its Confluent API is at {right}: that is used and written." in ran.err
    config = load(tmp_path / "cdc.yml")
    assert config.registry is not None
    assert (right, ("crm.customers-value",)) == (config.registry.url, config.pipelines[0].subjects)
    assert config.registry.auth is not None


def test_an_address_that_is_no_registrys_is_not_said_to_be_silent(cdc, estate, tmp_path):
    """A 404 is an answer; which address is likely meant is said."""
    ran = cdc(f"init . --connect {estate.with_login}/connect --registry {estate.url}/nothing")
    assert 0 == ran.code
    assert "asking Schema Registry ... not understood" in ran.err
    assert f"is it Apicurio? its Confluent API is at {estate.url}/apis/ccompat/v7" in ran.err


def test_what_is_written_otherwise_and_says_the_same_is_no_difference(cdc, estate, tmp_path):
    """People, comments and the order outside the pipelines are the user's; a new system's address does show."""
    address = f"--connect {estate.with_login}/connect"
    cdc(f"init . {address}")
    path = tmp_path / "cdc.yml"
    pipelines = path.read_text().split("pipelines:\n")[1]
    mine = "# who may\npeople:\n  responders:\n    - U0123ABCD  # alice\n"
    connect = (
        "connect: # ours\n    url:   '"
        + estate.url
        + "/connect'\n    auth: {password: '${CONNECT_PASSWORD}', user: cdc}\n"
    )
    path.write_text(f"{mine}\n{connect}\npipelines:\n{pipelines}")

    ran = cdc("init", CONNECT_PASSWORD=PASSWORD)
    assert (0, "") == (ran.code, ran.out)
    assert "no difference" in ran.err

    ran = cdc(f"init --registry {estate.url}/registry", CONNECT_PASSWORD=PASSWORD)
    changed = [line for line in ran.out.splitlines()[2:] if line[:1] in "+-"]
    assert ["+registry:", f"+  url: {estate.url}/registry", "+    subjects: [crm.customers-value]"] == changed


def test_secrets_among_kafka_settings_get_a_name(cdc, tmp_path):
    """A password given on the command line is for asking; a `${NAME}` stays as it was given."""
    brokers = Producer({"bootstrap.servers": "", "test.mock.num.brokers": 1}, logger=SILENT)
    (broker,) = brokers.list_topics(timeout=5).brokers.values()
    ran = cdc(
        f"init . --bootstrap {broker.host}:{broker.port} -X sasl.mechanism=PLAIN -X sasl.username=cdc "
        "-X sasl.password=hunter2 --kafka-config 'ssl.key.password=${MINE}'",
        MINE="hunter2",
    )
    assert 0 == ran.code, ran.err
    written = yaml.safe_load((tmp_path / "cdc.yml").read_text())["kafka"]["config"]
    assert ("${KAFKA_SASL_PASSWORD}", "${MINE}", "cdc") == (
        written["sasl.password"],
        written["ssl.key.password"],
        written["sasl.username"],
    )
    assert "hunter2" not in (tmp_path / "cdc.yml").read_text() + ran.out + ran.err


@pytest.mark.parametrize(
    ("make", "line", "code", "words"),
    [
        (lambda here: (here / "f").write_text("x"), "init f", 2, "f is a file."),
        (lambda here: (here / "cdc.yml").write_bytes(b"\xff\xfe"), "init .", 2, "is not UTF-8 text"),
        (lambda here: (here / "cdc.yml").mkdir(), "init .", 2, "is there and is no file"),
        (lambda here: os.mkfifo(here / "cdc.yml"), "init .", 2, "is there and is no file"),
        (lambda here: None, "-c x/cdc.yml init y", 2, "Both -c and DIR say where cdc.yml is."),
    ],
)
def test_a_place_that_cannot_be_used_is_said(cdc, tmp_path, make, line, code, words):
    """Nothing is written there or elsewhere."""
    make(tmp_path)
    before = contents(tmp_path)
    ran = cdc(line)
    assert (code, "") == (ran.code, ran.out)
    assert words in ran.err
    assert before == contents(tmp_path)


def test_a_broken_file_is_compared_all_the_same(cdc, tmp_path):
    """Its errors are shown, what can be read of it is used, and it stays as it is."""
    (tmp_path / "cdc.yml").write_text("listen: nonsense\nenvironment: prod\nslack: 3\n")
    before = contents(tmp_path)
    ran = cdc("init")
    assert 0 == ran.code
    assert "cdc.yml has errors; what can be read of it is used:" in ran.err
    assert " environment: prod" in ran.out.splitlines()
    assert before == contents(tmp_path)


def test_minus_c_names_the_file(cdc, tmp_path):
    """As for every other command it stands before the verb."""
    assert 0 == cdc("-c deep/er/mine.yml init").code
    assert () == load(tmp_path / "deep" / "er" / "mine.yml").pipelines


def test_what_systems_say_does_not_steer_the_terminal(cdc, estate, tmp_path):
    """Names and errors of others are shown with their control characters written out, one line each."""
    estate.answers["/connect/connectors"] = {"orders\x1b]0;OWNED\x07\n\x1b[2J": connector("source")}
    ran = cdc(f"init . --connect {estate.with_login}/connect")
    assert 0 == ran.code
    assert not {"\x1b", "\x07"} & set(ran.err + ran.out + (tmp_path / "cdc.yml").read_text())
