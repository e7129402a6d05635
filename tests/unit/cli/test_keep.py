"""`cdc manifest`, `completion`, `backup` and `restore`: what they print, refuse, and leave behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

import bot.app
from bot.cli import run
from bot.drill.loopback import Answer, LoopbackServer, route
from bot.incident import events as e
from bot.incident.state import Incident, fold
from bot.model import Plan, Severity
from bot.store.sqlite import Store, own

CDC = Path(sys.executable).with_name("cdc")
ROOT = Path(__file__).parents[3]
AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
ALICE = e.Who("slack:U1", "alice")
CONFIG = """\
slack: {bot_token: "${T}", app_token: "${A}", command: /data}
kafka: {bootstrap: "127.0.0.1:1"}
connect: {url: "http://127.0.0.1:1"}
people: {responders: [U1]}
actions: [restart_failed_tasks]
pipelines:
  customers:
    topics: [customers]
    subjects: [customers-value, "customers:key"]
    sink: {connector: customers-sink, dlq: dlq.customers}
"""


def cdc(*arguments: str) -> int:
    return run(arguments, {"USER": "alice"}, lambda: bot.app)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "cdc.yml"
    path.write_text(CONFIG)
    return path


# --- manifest --------------------------------------------------------------------------------------


def test_the_manifest_needs_no_config(tmp_path: Path) -> None:
    """In an empty folder, in an empty environment, as on the first day: what is printed is manifest.yml."""
    printed = subprocess.run([CDC, "manifest"], cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert (ROOT / "manifest.yml").read_text() == printed.stdout
    assert "" == printed.stderr


def test_the_config_names_command_and_mode(config: Path, capsys) -> None:
    """Who renamed the command in cdc.yml gets the manifest that fits; an option goes before it."""
    assert 0 == cdc("-c", str(config), "manifest")
    printed = yaml.safe_load(capsys.readouterr().out)
    assert "/data" == printed["features"]["slash_commands"][0]["command"]
    assert printed["settings"]["socket_mode_enabled"]
    assert 0 == cdc("-c", str(config), "manifest", "--command", "/ops", "--url", "https://cdc.example.com")
    printed = yaml.safe_load(capsys.readouterr().out)
    assert "/ops" == printed["features"]["slash_commands"][0]["command"]
    assert not printed["settings"]["socket_mode_enabled"]


@pytest.mark.parametrize(
    ("told", "options"),
    [
        ("its address is not known. No manifest was printed.\nGive --url", ("--mode", "http")),
        ("In Socket Mode there is no address", ("--mode", "socket", "--url", "https://x.example")),
        ("is no https:// address", ("--url", "http://x.example")),
        ("not a slash command: write /cdc", ("--command", "cdc")),
        ("has 36 characters, Slack takes 35", ("--name", "x" * 36)),
    ],
)
def test_a_manifest_that_slack_would_refuse_is_not_printed(told: str, options: Sequence[str], capsys) -> None:
    """Each with the remedy, and nothing on stdout that somebody could paste."""
    assert 2 == cdc("manifest", *options)
    out, err = capsys.readouterr()
    assert "" == out
    assert told in err


# --- backup and restore ------------------------------------------------------------------------------

PLAN = Plan("restart_failed_tasks", "customers-sink", "restart", ("POST",), {"tasks": [0]}, hash="9f3a")


def write_incident(store: Store, *more: tuple[e.Who, e.Event]) -> None:
    opened = e.IncidentOpened("it broke", "customers", Severity.CRITICAL, "pipeline:customers", "#cdc", "n")
    with store.deciding() as writer:
        for version, (who, event) in enumerate([(e.ALERTMANAGER, opened), *more], 1):
            writer.append(e.Entry("CDC-1", version, AT + timedelta(seconds=version), who, event), None)


PLANNED = (ALICE, e.ActionPlanned("k1", None, PLAN, "responder"))
CONFIRMED = (ALICE, e.ActionConfirmed("k1", "9f3a"))
STARTED = (ALICE, e.ActionStarted("k1"))


def backed_up(config: Path, *more: tuple[e.Who, e.Event]) -> Path:
    """Return a backup of a journal in which an action waits and much else is due."""
    store = Store(config.parent / "cdc-oncall.db")
    write_incident(store, *more)
    with store.deciding() as writer:
        writer.enqueue("action:k1", "CDC-1", "action", {"key": "k1"}, AT, AT)
        writer.enqueue("probe:1", "CDC-1", "probe", {"probe": "consumer_lag"}, AT, AT)
        writer.deliver("CDC-1", "card", "page", "#cdc", 1, AT)
        writer.answer("answer:1", "#cdc", {"text": "old news"}, AT)
    store.receive("slack.action:1", "slack.action", b"{}", AT)
    store.receive("am:1", "alertmanager", b"{}", AT)
    store.close()
    target = config.parent / "b.db"
    assert 0 == cdc("-c", str(config), "backup", str(target))
    return target


def reopened(config: Path) -> tuple[Store, Incident]:
    store = Store(config.parent / "cdc-oncall.db")
    incident = fold([entry for _, entry in store.entries("CDC-1")])
    assert incident is not None
    return store, incident


def test_a_backup_says_what_it_holds_and_a_restore_where_the_rest_is(config: Path, capsys) -> None:
    """Numbers that somebody can compare, the name of the file kept, and nothing of a stack trace."""
    target = backed_up(config, PLANNED)
    assert "b.db: 1 incident, 2 events, " in capsys.readouterr().out
    assert 3 == cdc("-c", str(config), "backup", str(target))
    assert "there already" in capsys.readouterr().err
    assert 0 == cdc("-c", str(config), "restore", str(target))
    told = capsys.readouterr().out
    (aside,) = config.parent.glob("cdc-oncall.db.before-restore-*Z")
    assert str(aside) in told
    assert "1 clicks or commands that waited were dropped" in told
    assert 3 == cdc("-c", str(config), "restore", str(config.parent / "no.db"))
    assert f"{config.parent / 'no.db'}: there is no such file\n" == capsys.readouterr().err


def test_what_may_have_been_done_since_is_not_done_again(config: Path, capsys) -> None:
    """A confirmed action is refused with the reason, a click is ended, a post is looked for; alerts and probes stay."""
    target = backed_up(config, PLANNED, CONFIRMED)
    assert 0 == cdc("-c", str(config), "restore", str(target))
    assert "Not run, plan anew if it is still wanted: CDC-1 restart_failed_tasks on customers-sink." in (
        capsys.readouterr().out
    )
    store, incident = reopened(config)
    (action,) = incident.actions
    assert "refused" == action.status
    assert "nobody knows whether it was run since" in action.detail
    later = AT + timedelta(days=1)
    assert store.claim_task(["action"], later) is None
    assert ("done", "restored from a backup: not decided") == store.inbox_state("slack.action:1")
    assert ("new", "") == store.inbox_state("am:1")
    assert store.claim_task(["probe"], later) is not None
    due = {row.slot: row for row in store.due_messages(datetime.now(UTC) + timedelta(days=1), 10)}
    assert "answer" not in due
    assert due["card"].uncertain
    store.close()


def test_an_action_that_had_started_is_left_to_the_bot(config: Path) -> None:
    """It is running in the backup: at its start the bot says that nobody knows the outcome, and never runs it."""
    store = Store(config.parent / "cdc-oncall.db")
    write_incident(store, PLANNED, CONFIRMED, STARTED)
    with store.deciding() as writer:
        writer.enqueue("action:k1", "CDC-1", "action", {"key": "k1"}, AT, AT)
    assert store.claim_task(["action"], AT) is not None
    store.close()
    assert 0 == cdc("-c", str(config), "backup", str(config.parent / "b.db"))
    assert 0 == cdc("-c", str(config), "restore", str(config.parent / "b.db"))
    store, incident = reopened(config)
    assert "started" == incident.actions[0].status
    assert ["action:k1"] == [task.key for task in store.running_tasks()]
    store.close()


def test_a_restore_under_a_running_bot_is_refused(config: Path, capsys) -> None:
    """The journal is the one that was there."""
    target = backed_up(config)
    store = Store(config.parent / "cdc-oncall.db", lock=own(config.parent / "cdc-oncall.db"))
    try:
        assert 3 == cdc("-c", str(config), "restore", str(target))
    finally:
        store.close()
    assert "a bot runs on this journal; nothing was restored. Stop it first" in capsys.readouterr().err
    assert [] == list(config.parent.glob("*.before-restore-*"))


@pytest.mark.parametrize(
    ("line", "later"),
    [
        ("No incident of it is newer than the backup.", []),
        ("1 incident of it (CDC-2) is newer than the backup, and not known any more. The next one is CDC-3", [2]),
        ("2 incidents of it (CDC-2 to CDC-3) are newer than the backup, and not known any more.", [2, 3]),
    ],
)
def test_a_restore_tells_what_is_newer_than_the_backup(config: Path, line: str, later: list[int], capsys) -> None:
    """Their cards stay in Slack: whoever restores must know, and no new incident may take their numbers."""
    target = backed_up(config)
    store = Store(config.parent / "cdc-oncall.db")
    with store.deciding() as writer:
        for number in later:
            writer.append(e.Entry(f"CDC-{number}", 1, AT, ALICE, e.NoteAdded("later")), None)
    store.close()
    assert 0 == cdc("-c", str(config), "restore", str(target))
    assert line in capsys.readouterr().out
    store = Store(config.parent / "cdc-oncall.db")
    with store.deciding() as writer:
        assert 2 + len(later) == writer.next_number()
    store.close()


def test_a_restore_over_a_broken_journal_says_that_numbers_are_not_known(config: Path, capsys) -> None:
    """It cannot say what was newer."""
    target = backed_up(config)
    (config.parent / "cdc-oncall.db").write_bytes(b"SQLite format 3" + b"x" * 1000)
    assert 0 == cdc("-c", str(config), "restore", str(target))
    assert "It could not be read: numbers that it gave may be given again" in capsys.readouterr().out


# --- completion ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def systems() -> Iterator[LoopbackServer]:
    """A Connect with two connectors and a registry with two subjects, one of them with a colon."""
    status = {"status": {"connector": {"state": "RUNNING"}, "tasks": [], "type": "sink"}, "info": {"config": {}}}
    routes = [
        route("GET", "/connectors/{name}/status", lambda _: Answer(404, {"error_code": 404, "message": "No status"})),
        route("GET", "/connectors", lambda _: Answer(200, {"live-sink": status, "live-source": status})),
        route("GET", "/subjects", lambda _: Answer(200, ["live-value", "live:key"])),
    ]
    server = LoopbackServer("Connect and registry", routes).start()
    yield server
    server.stop()


def offered(shell: str, line: str, config: Path | None = None) -> list[str]:
    """Return what the shell is answered for the line typed so far."""
    words = line.split(" ")
    environ = {"_CDC_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "PATH": os.environ["PATH"]}
    environ["COMP_CWORD"] = words[-1] if shell == "fish" else str(len(words) - 1)
    if config is not None:
        environ["CDC_CONFIG"] = str(config)
    began_s = time.monotonic()
    ended = subprocess.run([CDC], env=environ, cwd="/", capture_output=True, text=True, timeout=20)
    assert time.monotonic() - began_s < 10, "a prompt that hangs is worse than one that offers nothing"
    assert "" == ended.stderr
    return ended.stdout.splitlines()


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (["connect-customers-sink"], "cdc lag "),
        (["connect-customers-sink"], "cdc watch "),
        (["dlq.customers"], "cdc dlq d"),
        (["customers-value", "customers:key"], "cdc schema cust"),
        (["recent"], "cdc schema rec"),
        (["diff"], "cdc schema customers-value "),
        ([], "cdc schema customers-value diff "),
        ([], "cdc schema recent "),
        (["customers-sink"], "cdc connector "),
        (["customers"], "cdc open c"),
        ([], "cdc open customers c"),
        ([], "cdc lag nothing-like-it"),
        (["manifest"], "cdc man"),
    ],
)
def test_names_of_the_config_complete_with_every_system_down(found: list[str], line: str, config: Path) -> None:
    """Nothing listens on port 1: what cdc.yml names is offered all the same, and no error disturbs the line."""
    assert [f"plain,{name}" for name in found] == offered("bash", line, config)


def test_a_name_of_the_config_does_not_wait_for_the_dead(config: Path) -> None:
    """Brokers that refuse are given a moment, not the whole deadline."""
    began_s = time.monotonic()
    offered("bash", "cdc lag connect-", config)
    with_config_s = time.monotonic() - began_s
    began_s = time.monotonic()
    offered("bash", "cdc lag zzz", config)
    assert with_config_s < time.monotonic() - began_s


def test_names_come_from_the_system_typed_so_far(systems: LoopbackServer) -> None:
    """Without any config: the address stands on the line, before the name or after the verb."""
    assert ["plain,live-sink", "plain,live-source"] == offered("bash", f"cdc connector --connect {systems.url} li")
    assert ["plain,live-value", "plain,live:key"] == offered("bash", f"cdc schema --registry {systems.url} ")
    assert [] == offered("bash", "cdc schema l")
    assert ["plain", "live-sink", "_"] == offered("zsh", f"cdc connector --connect {systems.url} live-si")
    assert ["plain,live-sink"] == offered("fish", f"cdc connector --connect {systems.url} live-si")


def test_names_of_the_config_and_of_the_system_are_offered_together(systems: LoopbackServer, config: Path) -> None:
    """What nobody has written into cdc.yml yet is found as well."""
    config.write_text(CONFIG.replace('connect: {url: "http://127.0.0.1:1"}', f"connect: {{url: '{systems.url}'}}"))
    found = ["customers-sink", "live-sink", "live-source"]
    assert [f"plain,{name}" for name in found] == offered("bash", "cdc connector ", config)


def test_open_incidents_complete_and_no_journal_is_made(config: Path) -> None:
    """`cdc ack` offers what can be acknowledged, `cdc incident` everything there is."""
    assert [] == offered("bash", "cdc ack ", config)
    assert not (config.parent / "cdc-oncall.db").exists()
    store = Store(config.parent / "cdc-oncall.db")
    write_incident(store, (ALICE, e.IncidentResolved(False, "enough")))
    store.close()
    assert [] == offered("bash", "cdc ack ", config)
    assert ["plain,CDC-1"] == offered("bash", "cdc incident C", config)
    assert ["plain,CDC-1"] == offered("bash", "cdc reopen ", config)


@pytest.mark.parametrize("broken", ["pipelines: [", "nonsense: 1"])
def test_a_broken_config_offers_nothing_and_says_nothing(broken: str, config: Path) -> None:
    """`cdc config check` is the place for its errors."""
    config.write_text(broken)
    assert [] == offered("bash", "cdc lag c", config)


def in_bash(line: str, environ: dict[str, str]) -> list[str]:
    """Return what bash itself would put on the line: the printed script, called as readline calls it."""
    script = f"""
eval "$(cdc completion bash)"
COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; COMPREPLY=()
_cdc_completion cdc
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    path = f"{CDC.parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "--norc", "-c", script], env={"PATH": path, **environ}, cwd="/", capture_output=True, text=True,
        timeout=30,
    )  # fmt: skip
    assert "" == ended.stderr
    return [name for name in ended.stdout.splitlines() if name]


def test_bash_puts_the_name_on_the_line(systems: LoopbackServer, config: Path) -> None:
    """Through the script itself: an address with colons before the name, and a name with a colon in it.

    bash holds the part before the colon for a word of its own, so only the rest may be put in.
    """
    environ = {"CDC_CONFIG": str(config)}
    assert ["connect-customers-sink"] == in_bash("cdc lag conn", environ)
    assert ["live-sink", "live-source"] == in_bash(f"cdc connector --connect {systems.url} ", {})
    assert ["key"] == in_bash("cdc schema customers:", environ)
    assert ["completion", "config"] == in_bash("cdc co", {})[:1] + in_bash("cdc conf", {})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_reads(shell: str) -> None:
    """Where the shell is installed its own parser reads it; the function and the variable are in it everywhere."""
    printed = subprocess.run([CDC, "completion", shell], capture_output=True, text=True, check=True, cwd="/")
    assert "_CDC_COMPLETE" in printed.stdout and f"{shell}_complete" in printed.stdout
    assert "" == printed.stderr
    if shutil.which(shell):
        check = subprocess.run([shell, "-n"], input=printed.stdout, capture_output=True, text=True, timeout=20)
        assert (0, "") == (check.returncode, check.stderr)


def test_a_near_miss_is_asked_where_the_question_was(systems: LoopbackServer, capsys) -> None:
    """Without any config the next step must name the address too, or it asks nobody."""
    assert 3 == cdc("connector", "live-snk", "--connect", systems.url)
    assert f"next: cdc connector live-sink --connect {systems.url}\n" in capsys.readouterr().err
