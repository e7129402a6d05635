"""Refused schemas through the shell: stored before they are answered, counted once, one incident."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests

from bot.incident.refusals import RefusedSchema, read_ledger, write_refused
from bot.model import Pipeline
from tests.unit.shell.conftest import CHANNEL, Clock, Shell, alert, webhook
from tests.unit.shell.test_web_edge import NEW, Bot, bot  # noqa: F401

SUBJECT = "customers-value"


@pytest.fixture
def schemas(shell: Shell) -> Shell:
    """A shell whose pipeline has a subject; its incidents settle at once."""
    customers = Pipeline("customers", CHANNEL, subjects=(SUBJECT,))
    shell.policy = type(shell.policy)({"customers": customers}, shell.policy.runbooks, CHANNEL)
    return shell


def refuse(shell: Shell, times: int = 1, **more: Any) -> None:
    for _ in range(times):
        shell.hear(write_refused(RefusedSchema("log", SUBJECT, shell.clock(), field="tier", **more)), "refusal")


def counts(shell: Shell) -> dict[tuple[str, str, str], int]:
    return dict(read_ledger(shell.store.refusals()).counts)


def test_more_than_allowed_open_one_incident_that_ends_with_the_window(schemas: Shell, clock: Clock) -> None:
    """Announced once, however many follow; the alert ends when they stop, as if Alertmanager had said so."""
    refuse(schemas, 5)
    assert () == schemas.dispatcher.board().all()
    refuse(schemas, 20)
    incident = schemas.incident()
    assert ("customers", 1) == (incident.pipeline, len(incident.alerts))
    assert "field tier" in incident.title
    assert {("customers", SUBJECT, "log"): 25} == counts(schemas)
    schemas.dispatcher.settle_refusals()
    assert schemas.incident().firing
    clock.passes(601)
    schemas.dispatcher.settle_refusals()
    assert ["AlertResolved"] == [kind for kind in schemas.kinds() if kind in ("AlertResolved", "AlertEnded")]


def test_prometheus_alert_and_ours_share_an_incident(schemas: Shell) -> None:
    """Whichever comes first; people are told once."""
    refuse(schemas, 6)
    schemas.hear(webhook(alert("prometheus", alertname="CDCSchemaRefusals", subject=SUBJECT)))
    assert ["CDC-1"] == [incident.id for incident in schemas.dispatcher.board().all()]
    assert 2 == len(schemas.incident().firing)
    assert ["card"] == schemas.rows("SELECT slot FROM outbox WHERE lane = 'page'")


def test_a_bot_killed_after_a_refusal_counts_it_once(start: Callable[..., Shell]) -> None:
    """The row's end and its count are one transaction, and its key is one row."""
    first = start()
    body = write_refused(RefusedSchema("log", SUBJECT, first.clock()))
    assert first.store.receive("refusal:a", "refusal", body, first.clock())
    assert not first.store.receive("refusal:a", "refusal", body, first.clock())
    again = start()
    assert again.dispatcher.step() and not again.dispatcher.step() and not first.dispatcher.step()
    assert {("", SUBJECT, "log"): 1} == counts(again)


def test_old_news_pages_nobody(schemas: Shell, clock: Clock) -> None:
    """A log followed from its start tells of yesterday: counted, and no incident."""
    at = clock() - timedelta(days=1)
    for _ in range(9):
        schemas.hear(write_refused(RefusedSchema("log", SUBJECT, at)), "refusal")
    assert (9, ()) == (counts(schemas)[("customers", SUBJECT, "log")], schemas.dispatcher.board().all())


def test_what_is_no_refusal_is_kept_and_said(schemas: Shell) -> None:
    """It stops no next one."""
    schemas.hear(b"{", "refusal")
    refuse(schemas)
    assert ["unreadable", "done"] == schemas.rows("SELECT state FROM inbox ORDER BY id")


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Authorization": f"Bearer {NEW}"}, b"{}", 200),
        ({"Authorization": "Bearer wrong"}, b"{}", 401),
        ({}, b"{}", 401),
        ({"Authorization": f"Bearer {NEW}"}, b"x" * 70_000, 413),
    ],
)
def test_the_endpoint_wants_a_token_and_bounds_the_body(
    bot: Bot,  # noqa: F811
    headers: dict[str, str],
    body: bytes,
    status: int,
) -> None:
    """As the webhook does: stored before it is answered, never 429."""
    assert status == requests.post(f"{bot.url}/refusals", data=body, headers=headers, timeout=5).status_code
