"""`cdc doctor`, config: each line from both sides."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bot.doctor.config import ConfigFacts, judge, judge_errors
from bot.model import Pipeline

SOUND = ConfigFacts("cdc.yml", (Pipeline("customers", "#c"),), runbooks=5)


def test_a_sound_config_is_all_ok() -> None:
    """It loads, its secrets resolve, it is read-only, its runbooks load."""
    assert [
        "cdc.yml loads: 1 pipeline (customers)",
        "every secret resolves",
        "read-only: no action is enabled",
        "5 runbooks load",
    ] == [line.what for line in judge(SOUND)]
    assert {"ok"} == {line.status for line in judge(SOUND)}


def test_a_config_without_a_pipeline_is_a_warning() -> None:
    """There is nothing to watch; `cdc init` writes it."""
    line = judge(ConfigFacts("cdc.yml", runbooks=5))[0]
    assert "warning" == line.status
    assert "cdc init" in line.remedy


@pytest.mark.parametrize(
    ("reason", "what", "remedy"),
    [
        (
            "The environment variable SLACK_BOT_TOKEN is not set. Set it and start again.",
            "The environment variable SLACK_BOT_TOKEN is not set.",
            "Set SLACK_BOT_TOKEN where this command and the bot run.",
        ),
        (
            "The secret file /run/token is empty.",
            "The secret file /run/token is empty.",
            "Put the secret into that file, readable by the user of this command and of the bot.",
        ),
    ],
)
def test_a_secret_that_does_not_resolve_is_named_by_its_place(reason: str, what: str, remedy: str) -> None:
    """The variable or the file, never the value."""
    line = judge(ConfigFacts("cdc.yml", SOUND.pipelines, unresolved=(reason,), runbooks=5))[1]
    assert ("failed", what, remedy) == (line.status, line.what, line.remedy)


@pytest.mark.parametrize(
    ("actions", "responders", "status", "words"),
    [
        ({}, (), "ok", "read-only"),
        ({"silence_alerts": None}, ("U1", "U2"), "ok", "actions enabled: silence_alerts; 2 people may run them"),
        (
            {"silence_alerts": ("customers",)},
            ("U1",),
            "ok",
            "actions enabled: silence_alerts (for customers); 1 person may run them",
        ),
        ({"silence_alerts": None}, ("*",), "warning", "everyone in the channel may run them"),
    ],
)
def test_what_the_bot_may_change_is_said(
    actions: Mapping[str, tuple[str, ...] | None], responders: tuple[str, ...], status: str, words: str
) -> None:
    """Which actions, where, and who; everyone is too many."""
    line = judge(ConfigFacts("cdc.yml", SOUND.pipelines, actions=actions, responders=responders, runbooks=5))[2]
    assert status == line.status
    assert words in line.what


@pytest.mark.parametrize(
    ("error", "what", "remedy"),
    [
        (
            "cdc.yml:14: pipelines.a.owner: has no value: write one or remove the line",
            "cdc.yml:14: pipelines.a.owner: has no value",
            "Write one or remove the line.",
        ),
        ("cdc.yml is a riddle", "cdc.yml is a riddle", "Put cdc.yml right; `cdc config check` shows every error"),
    ],
)
def test_each_error_of_a_config_is_a_line(error: str, what: str, remedy: str) -> None:
    """The place and what is wrong, and what to write below it; so it is for a runbook's."""
    [line] = judge_errors("cdc.yml", (error,))
    assert ("failed", what) == (line.status, line.what)
    assert line.remedy.startswith(remedy)
    told = judge(ConfigFacts("cdc.yml", SOUND.pipelines, runbook_errors=(error,)))[-1]
    assert ("failed", what) == (told.status, told.what)
