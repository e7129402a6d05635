"""The `cdc` command: streams, exit codes, no stack trace; and what the terminal shows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.cli import ORDERS, SCENARIOS, run
from bot.commands import BY_NAME
from bot.config import ConfigErrors
from bot.incident import events as e
from bot.incident.commands import AcknowledgeIncident, AddNote
from bot.incident.correlation import Board
from bot.incident.state import fold
from bot.model import Refusal, Severity, Status
from bot.ports import ConnectorState, TaskState, Unreachable
from bot.probes.sources import Sources
from bot.render.plain import render_json
from bot.render.terminal import render_text
from bot.report import Report, Table, failure

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
ENTRIES = (
    e.Entry(
        "CDC-1", 1, AT, e.ALERTMANAGER, e.IncidentOpened("it broke", "p", Severity.CRITICAL, "pipeline:p", "#c", "n")
    ),
)
ENVIRON = {"USER": "alice"}


class Workers:
    """Kafka Connect with one failed connector."""

    def read_connector(self, name: str, deadline_s: float) -> ConnectorState:
        if name != "source":
            raise Unreachable("http://connect:8083: refused the connection")
        return ConnectorState(name, "source", "RUNNING", "w", None, (TaskState(0, "FAILED", "w", "boom"),))


@dataclass(frozen=True)
class Configured:
    path: Path = Path("cdc.yml")
    pipelines: tuple[object, ...] = ()
    actions: frozenset[str] = frozenset()

    def unresolved(self, environ: object) -> tuple[str, ...]:
        return ()


@dataclass
class App:
    """A composition root of fakes; `orders` is what was asked of it."""

    errors: tuple[str, ...] = ()
    refusal: Refusal | None = None
    raises: Exception | None = None
    orders: list[object] = field(default_factory=list)

    def clock(self) -> datetime:
        return AT + timedelta(minutes=1)

    def open_config(self, path, environ):
        if self.errors:
            raise ConfigErrors(self.errors)
        if self.raises:
            raise self.raises
        return Configured(path)

    def first_seen(self, config):
        return {("customers-value", 1): AT}

    def sources(self, config, environ):
        return Sources(connect=Workers())

    def bare_sources(self, bootstrap=None, registry=None, connect=None, kafka_settings=None):
        self.orders.append(kafka_settings)
        return Sources(connect=Workers() if connect else None)

    def journal_reader(self, config):
        return self

    def board(self) -> Board:
        board = Board()
        incident = fold(ENTRIES)
        assert incident is not None
        board.put(incident)
        return board

    def entries(self, incident_id: str) -> Sequence[e.Entry]:
        return ENTRIES

    def link(self, incident_id: str) -> str | None:
        return None

    def order(self, config, environ, incident_id, command):
        self.orders.append((incident_id, command))
        return "Noted.", self.refusal

    def open_incident(self, config, who, pipeline, text):
        self.orders.append((who, pipeline, text))
        return "CDC-2 opened for p.", self.refusal

    def start_bot(self, config_path, environ):
        raise NotImplementedError

    def serve(self, config, environ) -> None:
        self.orders.append("serve")


def cdc(line: str, app: App | None = None, *more: str) -> int:
    return run([*line.split(), *more], ENVIRON, lambda: app or App())


def test_json_is_one_document_on_stdout_and_nothing_else(capsys):
    """Scripts read stdout; an answered question is 0 whatever the verdict."""
    assert 0 == cdc("connector source --connect http://c --json")
    out, err = capsys.readouterr()

    assert "FAILED" == json.loads(out)["tasks"][0]["state"]
    assert "" == err


def test_a_system_that_is_down_is_3_and_its_json_has_nulls(capsys):
    """Unknown is null on stdout; the reason is on stderr."""
    assert 3 == cdc("connector other --connect http://c --json")
    out, err = capsys.readouterr()

    assert json.loads(out)["state"] is None
    assert "refused the connection" in err


def test_people_get_lines_and_errors_go_to_stderr(capsys):
    """A pipe gets the words without colour."""
    assert 0 == cdc("connector source --connect http://c")
    out, err = capsys.readouterr()

    assert out.startswith("RED")
    assert "\x1b" not in out
    assert "" == err


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (2, "connector source"),  # no config and no address
        (2, "incidents"),  # no config
        (2, "dlq topic --registry http://r"),  # a registry alone has no topic
        (2, "frob"),
        (2, "lag"),
        (2, "drill no-such-scenario"),
        (2, "-c cdc.yml note CDC-1"),
        (0, "-c cdc.yml incidents"),
        (0, "-c cdc.yml incident cdc-1"),
        (3, "-c cdc.yml incident CDC-9"),
        (3, "-c cdc.yml ack CDC-9"),
        (3, "-c cdc.yml postmortem CDC-9"),
        (0, "-c cdc.yml postmortem CDC-1"),
        (0, "-c cdc.yml postmortem CDC-1 --format json"),
        (0, "-c cdc.yml config check"),
        (0, "-c cdc.yml serve"),
        (0, "config schema"),
        (0, "rules"),
        (0, "runbooks render"),
        (0, "check runbooks"),
        (0, "version"),
        (0, "--help"),
    ],
)
def test_exit_codes_are_those_of_the_contract(code, line, tmp_path, monkeypatch, capsys):
    """0 answered, 2 usage or configuration, 3 not reachable or not there."""
    monkeypatch.chdir(tmp_path)

    assert code == cdc(line)
    assert "Traceback" not in capsys.readouterr().err


def test_the_brokers_may_need_settings():
    """-X as kcat has it: a secured cluster is asked without any config."""
    app = App()
    cdc("lag g --bootstrap k:9 -X security.protocol=SASL_SSL -X sasl.password=a=b", app)
    assert [{"security.protocol": "SASL_SSL", "sasl.password": "a=b"}] == app.orders


@pytest.mark.parametrize("line", ["lag g -X a=b", "lag g --bootstrap k:9 -X hunter2", "dlq t --bootstrap k:9 -X =v"])
def test_a_setting_that_is_none_is_refused_unseen(line, tmp_path, monkeypatch, capsys):
    """It may be a password: the words of it are not repeated."""
    monkeypatch.chdir(tmp_path)

    assert 2 == cdc(line)
    assert "hunter2" not in capsys.readouterr().err


def test_every_config_error_is_printed_and_is_2(capsys):
    """All at once, each with its line."""
    errors = ("cdc.yml:3: kafka.bootstrap: not HOST:PORT: write kafka:9092", "cdc.yml:9: pipelines: empty: name one")

    assert 2 == cdc("-c cdc.yml config check", App(errors=errors))
    assert "\n".join(errors) == capsys.readouterr().err.strip()


def test_an_order_reaches_the_journal_in_the_name_of_the_terminals_user(capsys):
    """The same grammar as in Slack; who did it is on the timeline."""
    app, alice = App(), e.Who("terminal:alice", "alice")

    assert 0 == cdc("-c cdc.yml note", app, "the DBA is on it")
    assert 0 == cdc("-c cdc.yml ack CDC-1", app)
    assert 0 == cdc("-c cdc.yml open p", app, "rows are late")
    assert [
        ("CDC-1", AddNote(alice, "the DBA is on it")),
        ("CDC-1", AcknowledgeIncident(alice)),
        (alice, "p", "rows are late"),
    ] == app.orders


def test_a_refused_order_is_1_and_says_why(capsys):
    """Nothing was done, and the next move is named."""
    refused = App(refusal=Refusal("Not skipped: say why.", "Give a reason."))

    assert 1 == cdc("-c cdc.yml skip CDC-1 look", refused)
    assert "Not skipped: say why. Give a reason." == capsys.readouterr().err.strip()


def test_a_defect_is_one_line_and_70(capsys):
    """No stack trace at a user; where to get it is said."""
    assert 70 == cdc("-c cdc.yml incidents", App(raises=RuntimeError("boom")))
    err = capsys.readouterr().err

    assert err.startswith("cdc failed: RuntimeError: boom")
    assert "--debug" in err
    assert "Traceback" not in err


def test_an_unknown_command_is_told_the_nearest(capsys):
    """A typing error costs one line, whether click says it (from 8.5) or we do."""
    assert 2 == cdc("incidnets")
    told = [line for line in capsys.readouterr().err.splitlines() if "Did you mean" in line]
    assert (1, True) == (len(told), "incidents" in told[0])


def test_debug_shows_the_trace():
    """For the report of a defect."""
    with pytest.raises(RuntimeError):
        cdc("--debug -c cdc.yml incidents", App(raises=RuntimeError("boom")))


@pytest.mark.parametrize(
    ("code", "error"), [(3, PermissionError(13, "Permission denied", "cdc.yml")), (130, KeyboardInterrupt())]
)
def test_what_happens_to_users_is_quiet(code, error, capsys):
    """A file that may not be read, Ctrl-C: a line or nothing, and the code a shell expects."""

    def load_app():
        raise error

    assert code == run(["-c", "cdc.yml", "incidents"], ENVIRON, load_app)
    assert "Traceback" not in capsys.readouterr().err


def test_the_postmortem_is_written_to_a_file(tmp_path, capsys):
    """stdout stays empty; the file is whole."""
    target = tmp_path / "pm.md"

    assert 0 == cdc("-c cdc.yml postmortem CDC-1 -o", None, str(target))
    assert "" == capsys.readouterr().out
    assert target.read_text("utf-8").startswith("# Postmortem CDC-1")


def test_check_runbooks_says_file_line_and_remedy(tmp_path, capsys):
    """CI gets one document; an error is exit 1."""
    broken = tmp_path / "lag.yml"
    broken.write_text("title: T\nsignal: lag\nsymptoms: [s]\ntriage:\n  - {id: a, title: A, probe: nothing}\n", "utf-8")

    assert 1 == cdc("check runbooks --format json", None, str(broken))
    document = json.loads(capsys.readouterr().out)
    finding = document["findings"][0]
    assert (1, "error", str(broken), 5) == (document["checked"], finding["severity"], finding["file"], finding["line"])
    assert "there is no probe nothing" in finding["message"]


def test_the_terminals_orders_are_the_verbs_of_slack():
    """One list of verbs: a new one must reach both surfaces."""
    reads = {"help", "incidents", "incident", "lag", "dlq", "schema", "connector", "health", "postmortem"}

    assert set(BY_NAME) - reads == {name for name, _, _ in ORDERS}
    assert ("schema-break", "lag", "connector-failed", "idle") == SCENARIOS


def test_help_is_fast_because_it_imports_nothing():
    """The start-up cost of Kafka, Slack and the web server is not paid for `--help`."""
    began = time.perf_counter()
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, bot.cli; bot.cli.run(['--help'], {}, None); print(*sys.modules)"],
        capture_output=True, text=True, check=True, timeout=30,
    ).stdout.split()  # fmt: skip
    heavy = {"confluent_kafka", "slack_bolt", "pydantic", "starlette", "rich", "requests", "sqlite_utils"}

    assert set() == heavy & set(loaded)
    assert time.perf_counter() - began < 5


def test_a_closed_pipe_is_quiet():
    """`cdc rules | head -1` ends without a word."""
    line = f"{sys.executable} -c 'import bot.cli, sys; sys.argv[1:] = [\"rules\"]; bot.cli.main()' | head -1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30, check=False)

    assert "" == done.stderr


# --- the terminal's text -------------------------------------------------------------------------

REPORT = Report(
    "flink: lag 12,345",
    Status.YELLOW,
    facts=(("state", "Stable"), ("members", "1")),
    table=Table(("partition", "lag"), (("0", "12,345"), ("1", "not known")), frozenset({"lag"})),
    notes=("a note",),
    not_known=("time lag: needs ListOffsets",),
    next_steps=("cdc lag flink",),
    document={"group": "flink", "lag_records": None},
)


def test_a_report_as_plain_lines():
    """Status in words first, then facts, table, notes, what is not known, the next step."""
    expected = """\
YELLOW  flink: lag 12,345
  state    Stable
  members  1
partition        lag
0             12,345
1          not known
- a note
not known: time lag: needs ListOffsets
next: cdc lag flink
"""
    assert expected == render_text(REPORT)


def test_colour_never_stands_alone():
    """With colour the same words are there."""
    coloured = render_text(REPORT, colour=True, width=80)

    assert "\x1b[" in coloured
    assert "YELLOW" in coloured


def test_foreign_text_cannot_steer_the_terminal():
    """An escape sequence in a trace is shown, not obeyed; markup is no markup."""
    text = render_text(Report("\x1b[2J[bold]x[/bold]"))

    assert "\\x1b[2J[bold]x[/bold]\n" == text


def test_a_pipe_cuts_nothing():
    """A cause of 500 characters is one line of 500 characters."""
    long = "x" * 500
    text = render_text(Report("t", table=Table(("cause",), ((long,),))))

    assert long in text.splitlines()


def test_json_is_the_document_alone():
    """What contract.md promises, null where nothing is known."""
    assert {"group": "flink", "lag_records": None} == json.loads(render_json(REPORT))


def test_a_failure_names_reason_and_next_step():
    """The clear error of a verb."""
    assert "UNKNOWN Not there\n- no such thing\nnext: cdc incidents\n" == render_text(
        failure("Not there", "no such thing", "cdc incidents")
    )
