"""The runbooks that ship: the user's content, short, with commands that name the real things."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bot import config
from bot.incident.runbook import PLACEHOLDERS, Runbook, choose, fill
from bot.incident.runbook_file import RunbookErrors
from bot.lag.judge import Verdict
from bot.model import Signal
from bot.probes import schema_changes
from bot.probes.table import PROBES
from bot.render.markdown import EXAMPLE, EXAMPLE_ADDRESSES, render_runbook_page
from bot.shipped import shipped

RUNBOOKS = config.read_runbooks(shipped("runbooks"))
BY_ID = {runbook.id: runbook for runbook in RUNBOOKS}
STEPS = [(runbook, step) for runbook in RUNBOOKS for step in runbook.steps]


def titles(runbook: Runbook, section: str) -> str:
    return " / ".join(step.title for step in runbook.section(section)).lower()


def test_the_page_is_rendered_from_the_runbooks() -> None:
    """Nobody edits the page by hand: rendered again it is the same."""
    assert render_runbook_page(RUNBOOKS) == (shipped("runbooks") / "README.md").read_text("utf-8")


def test_the_page_has_one_title_four_sections_and_fits_one_screen() -> None:
    """What a wiki reader looks for at 3 a.m., without scrolling."""
    page = render_runbook_page(RUNBOOKS)
    assert ["# CDC Pipeline - Incident Runbook"] == re.findall(r"^# .*$", page, re.MULTILINE)
    assert ["Symptoms", "Quick triage checklist", "Standard actions", "Post-incident tasks"] == re.findall(
        r"^## (.*)$", page, re.MULTILINE
    )
    assert 60 >= page.count("\n")


def test_the_page_can_be_rendered_for_any_pipeline() -> None:
    """A team's own wiki page names the team's own things."""
    page = render_runbook_page(RUNBOOKS, replace(EXAMPLE, subjects=("orders-value",)), {"bootstrap": "b:1"})
    assert "/cdc schema orders-value" in page
    assert "curl -s CONNECT/connectors/" in page


@pytest.mark.parametrize(
    ("runbook", "section", "words"),
    [
        ("schema-incompatible", "triage", ["recent schema changes on the subject"]),
        (
            "schema-incompatible",
            "actions",
            ["freeze schema changes", "roll back or roll forward", "repair at the source"],
        ),
        ("dead-letters", "triage", ["error messages and common patterns"]),
        ("dead-letters", "actions", ["identify the bad producer or pattern", "defensive transformation or validation"]),
        ("consumer-lag", "triage", ["is its consumer running"]),
        ("consumer-lag", "actions", ["no crash loop", "scale the consumer", "reduce the input"]),
        ("connector-failed", "actions", ["read the cause", "restart the failed tasks"]),
        (
            "schema-incompatible",
            "post_incident",
            ["root cause in the runbook", "ci schema checks", "alerts or budgets"],
        ),
    ],
)
def test_the_users_content_is_there(runbook: str, section: str, words: list[str]) -> None:
    """Each part of the incident practice that the runbooks were written from."""
    assert [] == [word for word in words if word not in titles(BY_ID[runbook], section)]


def test_rollback_or_roll_forward_is_a_recorded_decision() -> None:
    """The step asks for a choice, so that the postmortem can say which and why."""
    step = BY_ID["schema-incompatible"].step("decide_schema")
    assert step is not None
    assert ("roll back", "roll forward") == step.choices


def test_every_runbook_can_silence_and_ends_with_the_root_cause() -> None:
    """Optional, guarded, and never the first thing to do."""
    for runbook in RUNBOOKS:
        silence = runbook.section("actions")[-1]
        assert ("silence_alerts", "responder") == (silence.action, silence.guard)
        assert runbook.step("root_cause") is not None


def test_steps_with_one_id_mean_the_same_in_every_runbook() -> None:
    """An incident with two runbooks shows a shared step once: it must be the same step."""
    meaning: dict[str, tuple[object, ...]] = {}
    for _, step in STEPS:
        same = (step.section, step.title, step.probe, step.action, step.guard, step.choices)
        assert same == meaning.setdefault(step.id, same)


def test_every_probe_of_the_bot_is_asked_by_the_generic_runbook() -> None:
    """An alert that nobody knows gets a look at everything; and the config names the probes that there are."""
    assert set(PROBES) == {step.probe for step in BY_ID["other"].steps if step.probe}
    assert set(PROBES) == set(config.PROBES)


def test_recommendations_name_verdicts_that_exist() -> None:
    """A misspelt verdict would never recommend anything."""
    known = {verdict.value for verdict in Verdict} | {schema_changes.BREAKING, "FAILED", "PRESENT"}
    assert set() == {verdict for _, step in STEPS for verdict in step.when} - known


def test_every_placeholder_of_the_shipped_commands_is_filled() -> None:
    """With a whole pipeline no command keeps a gap, and no line is longer than a screen is wide."""
    for runbook, step in STEPS:
        for line in (step.command or "").splitlines():
            filled = fill(line, EXAMPLE, EXAMPLE_ADDRESSES)
            gaps = {name.upper() for name in PLACEHOLDERS} - {"TABLE"}  # that one is a word of SQL
            assert not gaps & set(re.findall(r"[A-Z]+", filled)), filled
            assert 160 >= len(filled), (runbook.id, step.id, len(filled))


@pytest.mark.parametrize(
    ("alertname", "signal", "expected"),
    [
        ("CDCSchemaRefusals", Signal.OTHER, "schema-incompatible"),
        ("CDCConnectorFailed", Signal.OTHER, "connector-failed"),
        ("CDCDeadLettersGrowing", Signal.OTHER, "dead-letters"),
        ("CDCConsumerLagWarning", Signal.OTHER, "consumer-lag"),
        ("CDCConsumerLagCritical", Signal.OTHER, "consumer-lag"),
        ("CDCProbeBlind", Signal.LAG, "other"),
        ("KafkaConnectTaskFailed", Signal.OTHER, "connector-failed"),
        ("KafkaConsumerGroupLagHigh", Signal.OTHER, "consumer-lag"),
        ("SchemaRegistry409", Signal.OTHER, "schema-incompatible"),
        ("HostDown", Signal.LAG, "consumer-lag"),
        ("HostDown", Signal.OTHER, "other"),
    ],
)
def test_the_alerts_find_their_runbook(alertname: str, signal: Signal, expected: str) -> None:
    """Our own rules, and the names that other people's rules usually have."""
    assert expected == choose(RUNBOOKS, alertname, {}, signal).id


def test_a_folder_of_runbooks_reports_the_errors_of_all_files(tmp_path: Path) -> None:
    """Two bad files are two errors; alert rules beside them are no runbook."""
    (tmp_path / "a.yml").write_text("title: 7", "utf-8")
    (tmp_path / "b.yml").write_text("- x", "utf-8")
    (tmp_path / "alerts.yml").write_text("groups: []", "utf-8")
    with pytest.raises(RunbookErrors) as caught:
        config.read_runbooks(tmp_path)
    assert {"a.yml", "b.yml"} == {Path(error.split(":")[0]).name for error in caught.value.errors}


def test_an_empty_folder_of_runbooks_is_an_error(tmp_path: Path) -> None:
    """Without runbooks no incident has a checklist."""
    with pytest.raises(RunbookErrors, match="holds no runbook"):
        config.read_runbooks(tmp_path)
