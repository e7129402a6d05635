"""`slack.command` renames `/cdc` wherever it is shown: who has `/data` is never told to type `/cdc`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import bot.app
from bot.cli import run
from bot.commands import TARGETS, VERBS, Query, answer, order_command, parse_line
from bot.config import read_runbooks
from bot.incident import events as e
from bot.incident.correlation import Board
from bot.model import Pipeline
from bot.ports import Message, Missing
from bot.probes.sources import Sources
from bot.render.answers import render_report, render_text
from bot.render.cards import render_slot
from bot.render.manifest import render_manifest
from bot.render.modals import VERBS as FORMS
from bot.render.modals import metadata_of, render_modal
from bot.shipped import shipped
from tests.unit.render import scenes

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
ALICE = e.Who("slack:U1", "alice")
COMMAND = "/data"


class Nothing:
    """Connect, registry and Kafka that know none of the names asked."""

    def read_connector(self, name: str, deadline_s: float) -> Any:
        raise Missing(f"no connector {name}")

    def read_connectors(self, deadline_s: float) -> tuple[()]:
        return ()

    def read_subject(self, subject: str, newest: int, deadline_s: float) -> Any:
        raise Missing(f"no subject {subject}")

    def read_subjects(self, deadline_s: float) -> tuple[str, ...]:
        return ()


def told(message: Message | object) -> str:
    """Everything of a message that a person can see, as JSON."""
    return json.dumps([message.text, message.blocks] if isinstance(message, Message) else message, default=str)


def answers() -> Iterator[tuple[str, str]]:
    nothing: Any = Nothing()
    board = Board()
    board.put(scenes.worked_on().incident)
    for verb in VERBS:
        if verb.name in TARGETS:
            for sources in (Sources(), Sources(registry=nothing, connect=nothing)):
                query = Query(verb.name, {TARGETS[verb.name][0]: "customers_canonical_flnk"})
                report = answer(query, sources, [scenes.CUSTOMERS], board, AT, command=COMMAND)
                yield verb.name, told(render_report(report))
        else:
            for incident_id in ("CDC-12", "CDC-404"):
                query = Query(verb.name, {"id": incident_id})
                report = answer(query, Sources(), [scenes.CUSTOMERS], board, AT, command=COMMAND)
                yield f"{verb.name} {incident_id}", told(render_report(report))
    empty: list[Pipeline] = []
    yield "no pipeline", told(render_report(answer(Query("health"), Sources(), empty, Board(), AT, command=COMMAND)))


def cards() -> Iterator[tuple[str, str]]:
    for name, make in {**scenes.TYPICAL, "huge": scenes.huge, "hostile": scenes.hostile}.items():
        scene = make()
        view = scene.view(policy=replace(scenes.POLICY, command=COMMAND))
        for slot in scenes.slots(scene):
            yield f"{name} {slot}", told(render_slot(slot, scene.incident, scene.entries, view))


def checklists() -> Iterator[tuple[str, str]]:
    """Every step of every runbook that ships."""
    for runbook in read_runbooks(shipped("runbooks")):
        scene = scenes.opened()
        scene.add(e.RunbookAttached(runbook.id, runbook.title, runbook.hash, tuple(runbook.steps)), e.ALERTMANAGER)
        view = scene.view(policy=replace(scenes.POLICY, command=COMMAND))
        yield runbook.id, told(render_slot("checklist", scene.incident, scene.entries, view))


def refusals() -> Iterator[tuple[str, str]]:
    board = Board()
    lines = ["", "lgg x", "zzz", "lead bob", "link", *(verb.name for verb in VERBS), "ack CDC-404", "done nothing"]
    for line in lines:
        asked = parse_line(line)
        yield f"parse {line}", told(render_text(str(asked)))
        if hasattr(asked, "incident_id"):
            yield f"order {line}", told(render_text(str(order_command(asked, ALICE, board))))


def forms() -> Iterator[tuple[str, str]]:
    incident = scenes.opened().incident
    for verb in FORMS:
        for step in incident.steps:
            view = render_modal(verb, incident, step.step.id, metadata_of({"i": incident.id}, "C1", "1.1", None))
            yield f"{verb} {step.step.id}", told(view)


@pytest.mark.parametrize("surface", [answers, cards, checklists, refusals, forms], ids=lambda s: s.__name__)
def test_no_surface_says_the_default_name(surface) -> None:
    """Help, answers, near misses, cards, checklists of the shipped runbooks, refusals and forms."""
    shown = dict(surface())
    assert len(shown) > 3
    assert {} == {name: text for name, text in shown.items() if "/cdc" in text}


def test_the_new_name_is_said_where_a_name_is() -> None:
    """The test above would pass on silence: the name does stand in the help, on cards and in checklists."""
    for surface in (answers, checklists):
        assert any(COMMAND in text for text in dict(surface()).values()), surface.__name__


def test_the_manifest_and_the_rendered_runbooks_say_it(tmp_path: Path, capsys) -> None:
    """What is pasted into Slack and into the wiki fits the command that people have."""
    (tmp_path / "cdc.yml").write_text(
        'slack: {bot_token: "${T}", app_token: "${A}", command: /data}\npipelines: {customers: {topics: [customers]}}\n'
    )
    assert "/cdc" not in render_manifest(command=COMMAND)
    assert 0 == run(["-c", str(tmp_path / "cdc.yml"), "runbooks", "render"], {}, lambda: bot.app)
    printed = capsys.readouterr().out
    assert "`/data lag " in printed
    assert "/cdc" not in printed
