"""The `cdc doctor` command: streams, exit codes, one document; nothing is made by asking."""

from __future__ import annotations

import json
import os
import pwd
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

import bot.app
from bot.cli import run
from bot.cli_call import Call, account
from bot.cli_doctor import TOTAL_S, _ask_all, _lines, _with_config
from bot.config import SecretError
from bot.doctor.check import Check, failed, not_configured, ok, warning
from bot.drill.workspace import SlackWorkspace
from bot.store.sqlite import Store, own

MANIFEST = Path(__file__).parents[3] / "manifest.yml"
NOBODY = "http://127.0.0.1:1"
CONFIG = f"""
listen: 127.0.0.1:1
alertmanager: {{url: "{NOBODY}", tokens: ["${{CDC_WEBHOOK_TOKEN}}"]}}
registry: {{url: "{NOBODY}"}}
connect: {{url: "{NOBODY}", auth: {{bearer: "${{CONNECT_TOKEN}}"}}}}
prometheus: {{url: "{NOBODY}"}}
flink: {{url: "{NOBODY}"}}
slack: {{bot_token: "${{SLACK_BOT_TOKEN}}", app_token: "${{SLACK_APP_TOKEN}}", api_url: "{NOBODY}/api/"}}
pipelines:
  customers: {{source: {{connector: source}}, topics: [customers]}}
"""
SECRETS = {
    "CDC_WEBHOOK_TOKEN": "the-webhook-secret",
    "SLACK_BOT_TOKEN": "xoxb-the-bot-secret",
    "SLACK_APP_TOKEN": "xapp-the-app-secret",
    "CONNECT_TOKEN": "the-connect-secret",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cdc.yml").write_text(CONFIG)
    return tmp_path


def doctor(folder: Path, *arguments: str, environ: Mapping[str, str] = SECRETS) -> int:
    return run(["-c", str(folder / "cdc.yml"), "doctor", *arguments], environ, lambda: bot.app)


def test_with_everything_down_each_part_has_its_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON document; a failed line per system; no secret; no journal made; long before 15 s."""
    started_s = time.monotonic()
    assert 1 == doctor(folder, "--json")
    assert time.monotonic() - started_s < TOTAL_S
    printed = capsys.readouterr()
    lines = json.loads(printed.out)
    assert {"part", "status", "what", "remedy"} == {key for line in lines for key in line}
    down = {line["part"] for line in lines if line["status"] == "failed"}
    assert {"slack", "alertmanager", "prometheus", "registry", "connect", "flink"} == down
    assert {"kafka"} == {line["part"] for line in lines if line["status"] == "not configured"}
    assert not any(secret in printed.out + printed.err for secret in SECRETS.values())
    assert ["cdc.yml"] == [path.name for path in folder.iterdir()]


def test_a_secret_that_is_missing_is_a_line_of_its_part(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The config's line names every one; the part that needs it says that it was not asked."""
    assert 1 == doctor(folder, "--json", environ={})
    lines = json.loads(capsys.readouterr().out)
    told = {line["part"]: line["what"] for line in lines if "SLACK_BOT_TOKEN" in line["what"]}
    assert {"config", "slack"} == set(told)
    assert "not asked: The environment variable SLACK_BOT_TOKEN is not set." == told["slack"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("listen: nowhere\nslack: 3\n", ["cdc.yml:1: listen: not host:port", "cdc.yml:2: slack:"]),
        ("", ["not a mapping of settings"]),
        (None, ["No such file or directory"]),
    ],
)
def test_a_config_that_does_not_load_is_lines_too(
    tmp_path: Path, text: str | None, what: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, and still exactly one document: each error with its remedy."""
    if text is not None:
        (tmp_path / "cdc.yml").write_text(text)
    assert 2 == doctor(tmp_path, "--json")
    lines = json.loads(capsys.readouterr().out)
    assert len(what) == len(lines)
    for words, line in zip(what, lines, strict=True):
        assert words in line["what"]
        assert line["remedy"]


@pytest.mark.parametrize(
    "make", [lambda path: path.write_bytes(b"garbage" * 999), lambda path: path.mkdir()], ids=["garbage", "a folder"]
)
def test_an_unreadable_journal_is_a_line(folder: Path, make, capsys: pytest.CaptureFixture[str]) -> None:
    """Garbage or a folder where the journal should be: one line with the way back, and the other parts go on."""
    make(folder / "cdc-oncall.db")
    assert 1 == doctor(folder, "--json")
    lines = json.loads(capsys.readouterr().out)
    [line] = [line for line in lines if line["part"] == "journal" and line["status"] == "failed"]
    assert "cdc-oncall.db" in line["what"]
    assert f"`cdc -c {folder}/cdc.yml restore FILE`" in line["remedy"]
    assert {"alertmanager", "connect"} < {line["part"] for line in lines}


def test_a_bot_that_is_not_on_its_address_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The journal is owned, and nobody answers where it should listen."""
    store = Store(folder / "cdc-oncall.db", lock=own(folder / "cdc-oncall.db"))
    doctor(folder, "--json")
    store.close()
    [line] = [line for line in json.loads(capsys.readouterr().out) if line["part"] == "bot"]
    assert "failed" == line["status"]
    assert "GET http://127.0.0.1:1/healthz: nobody answers" in line["what"]


@pytest.mark.parametrize(
    ("app_token", "scopes", "given", "words"),
    [
        ("xapp-1-A0CDCONCALL-1-x", ("connections:write",), None, None),
        ("xapp-1-A0OTHER-1-x", ("connections:write",), None, "is of app A0OTHER, the bot token of app A0CDCONCALL"),
        ("xapp-1-A0CDCONCALL-1-x", (), None, "apps.connections.open was refused (missing_scope)"),
        ("xapp-1-A0CDCONCALL-1-x", ("connections:write",), "xapp-1-A0CDCONCALL-old", "was refused (invalid_auth)"),
        ("xapp-1-A0CDCONCALL-1-x", ("connections:write",), "xapp-1-A0OTHER-1-x", "is of app A0OTHER, the bot token"),
        ("xapp-1-A0CDCONCALL-1-x", ("connections:write",), "xoxb-1", "holds a bot token (xoxb-)"),
    ],
)
def test_socket_mode_is_tried(
    tmp_path: Path, app_token: str, scopes: tuple[str, ...], given: str | None, words: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A socket is asked for with the app-level token, which must be of the bot token's app."""
    workspace = SlackWorkspace(
        token="xoxb-1", signing_secret="s", manifest=MANIFEST, app_token=app_token, app_token_scopes=scopes
    ).start()
    tokens = 'bot_token: "${BOT}", app_token: "${APP}"'
    (tmp_path / "cdc.yml").write_text(f"slack: {{{tokens}, api_url: {json.dumps(workspace.api_url)}}}\n")
    doctor(tmp_path, "--json", environ={"BOT": "xoxb-1", "APP": given or app_token})
    workspace.stop()
    lines = [line for line in json.loads(capsys.readouterr().out) if line["part"] == "slack"]
    bad = [line["what"] for line in lines if line["status"] != "ok"]
    assert (0 if words is None else 1) == len(bad)
    assert words is None or words in bad[0]


def test_a_command_in_a_remedy_can_be_pasted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the cdc.yml as this run did: by -c and its path, or not at all where it was found here."""
    folder = tmp_path / "on call"
    folder.mkdir()
    (folder / "cdc.yml").write_text(SMALL)
    doctor(folder, "--json")
    named = [line["remedy"] for line in json.loads(capsys.readouterr().out) if line["part"] == "bot"]
    monkeypatch.chdir(folder)
    run(["doctor", "--json"], {}, lambda: bot.app)
    found = [line["remedy"] for line in json.loads(capsys.readouterr().out) if line["part"] == "bot"]
    assert ([f"Run `cdc -c '{folder}/cdc.yml' serve`."], ["Run `cdc serve`."]) == (named, found)


def test_init_is_told_its_file_once() -> None:
    """`cdc -c PATH init DIR` would be refused."""
    call = Call(Path("x/cdc.yml"), False, {}, lambda: bot.app)
    assert "`cdc -c x/cdc.yml init --connect URL`" == _with_config(call, "`cdc init DIR --connect URL`")


@pytest.mark.parametrize(
    ("environ", "who"),
    [
        ({"SUDO_USER": "alice", "USER": "root"}, "alice"),
        ({"LOGNAME": "bob"}, "bob"),
        ({}, pwd.getpwuid(os.getuid()).pw_name),  # as in a container
    ],
)
def test_who_sits_here_is_known_without_an_environment(environ: Mapping[str, str], who: str) -> None:
    """The test alert says who sent it."""
    assert who == account(environ)


SMALL = "listen: 127.0.0.1:0\npipelines: {customers: {topics: [customers]}}\n"


@pytest.mark.parametrize(("fail_on", "code"), [("failed", 0), ("warning", 1), ("never", 0)])
def test_the_exit_code_is_asked_for(
    tmp_path: Path, fail_on: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A config of which nothing fails, but no bot runs: a warning."""
    (tmp_path / "cdc.yml").write_text(SMALL)
    assert code == doctor(tmp_path, "--fail-on", fail_on)
    printed = capsys.readouterr()
    assert "no bot runs on this journal" in printed.out
    assert "" == printed.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--fire"], 1, "No bot runs on"),
        (["--fire", "--label", "x"], 1, "No bot runs on"),
    ],
)
def test_nothing_is_fired_when_nobody_would_hear(
    folder: Path, arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so first, and asks nobody."""
    assert code == doctor(folder, *arguments)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("label", "words"),
    [("x", "not NAME=VALUE"), ("pipeline=customers", "has a pipeline of its own"), ("=1", "not NAME")],
)
def test_a_label_that_cannot_be_given_is_refused(
    folder: Path, label: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What marks the test alert is not to be overwritten."""
    store = Store(folder / "cdc-oncall.db", lock=own(folder / "cdc-oncall.db"))
    assert 2 == doctor(folder, "--fire", "--label", label)
    store.close()
    assert words in capsys.readouterr().err


def test_an_alertmanager_that_is_down_is_not_fired_at(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not reachable is exit 3, in a sentence."""
    store = Store(folder / "cdc-oncall.db", lock=own(folder / "cdc-oncall.db"))
    assert 3 == doctor(folder, "--fire")
    store.close()
    assert "refused the connection" in capsys.readouterr().err


def test_one_parts_trouble_hides_no_other() -> None:
    """A defect, a missing secret, and an answer: three lines' worth."""

    def broken() -> object:
        raise KeyError("x")

    def secret() -> object:
        raise SecretError("The environment variable A is not set. Set it and start again.")

    found = _ask_all({"a": broken, "b": secret, "c": lambda: "facts"})
    assert "could not be examined: KeyError: 'x'" == found["a"].what
    assert ("not asked: The environment variable A is not set.", "Set A where this command and the bot run.") == (
        found["b"].what, found["b"].remedy,
    )  # fmt: skip
    assert "facts" == found["c"]


def test_a_part_that_hangs_is_not_waited_for() -> None:
    """After the time it is a line, and the others' answers stand."""
    release = threading.Event()
    found = _ask_all({"kafka": release.wait, "slack": lambda: "facts"}, total_s=0.3)
    release.set()
    assert ("failed", "did not answer all that was asked within 0.3 s") == (found["kafka"].status, found["kafka"].what)
    assert "facts" == found["slack"]


def test_the_lines_are_grouped_and_aligned_with_a_word() -> None:
    """Part once, the word beside any colour, the remedy below; the worst comes first at the end."""
    lines: list[Check] = [
        ok("config", "loads"),
        warning("config", "no pipeline", "Write one."),
        not_configured("kafka", "no kafka section", "Write `kafka:`."),
        failed("slack", "not in #c", "Invite it."),
    ]
    assert [
        "config  ok              loads",
        "        warning         no pipeline",
        "                        -> Write one.",
        "kafka   not configured  no kafka section",
        "                        -> Write `kafka:`.",
        "slack   FAILED          not in #c",
        "                        -> Invite it.",
        "",
        "1 failed, 1 warning, 1 not configured, 1 ok. First: slack: not in #c. Invite it.",
    ] == _lines(lines, colour=False)
    assert "\x1b[31m\x1b[1mFAILED" in "\n".join(_lines(lines, colour=True))
    assert "1 ok. Nothing to put right." == _lines([ok("config", "loads")], colour=False)[-1]
