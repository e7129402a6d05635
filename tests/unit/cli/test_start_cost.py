"""What a start does not pay for: the packages that a command must not import, whatever they cost on a machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

SERVER = {"starlette", "uvicorn", "slack_bolt", "slack_sdk", "apscheduler", "sqlite_utils", "prometheus_client"}
HEAVY = SERVER | {"pydantic", "confluent_kafka", "requests", "rich", "jinja2", "yaml", "fastavro", "avro"}


def imported_by(program: str) -> set[str]:
    """Return the top-level packages that are imported once a program has run in a fresh interpreter."""
    listing = f"import sys\n{program}\nprint('\\n'.join(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    return set(
        subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    )


@pytest.mark.parametrize(
    "program",
    ["import bot.cli", "import bot.app", "from bot import cli\ncli.run(['--help'], {}, lambda: None)"],
    ids=["cli", "app", "help"],
)
def test_help_pays_for_nothing(program: str) -> None:
    """`cdc --help` and the composition root import none of the heavy packages."""
    assert set() == HEAVY & imported_by(program)


def test_a_question_does_not_pay_for_the_server() -> None:
    """`cdc lag GROUP --bootstrap ...` imports no web server, no Slack, no scheduler and no journal."""
    program = (
        "import bot.app\nfrom bot import cli\n"
        "cli.run(['lag', 'g', '--bootstrap', '127.0.0.1:x', '--json'], {}, lambda: bot.app)"
    )
    imported = imported_by(program)
    assert "confluent_kafka" in imported
    assert set() == (HEAVY - {"confluent_kafka"}) & imported


def test_a_lag_pays_for_no_other_verb() -> None:
    """No incident, no journal, no schema: what `cdc lag GROUP --bootstrap ...` imports of ours is what it uses."""
    program = (
        "import bot.app\nfrom bot import cli\n"
        "cli.run(['lag', 'g', '--bootstrap', '127.0.0.1:x'], {}, lambda: bot.app)\n"
        "print(sorted(name for name in sys.modules if name.startswith('bot.')))\n"
    )
    listed = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}"], capture_output=True, text=True, check=True
    ).stdout
    parts = {name.strip("' []").split(".")[1] for name in listed.splitlines()[-1].split(",")}
    assert "lag" in parts
    assert set() == parts & {"incident", "store", "config", "commands", "runner", "slo", "edge", "drill"}
