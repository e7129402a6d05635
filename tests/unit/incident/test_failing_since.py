"""Since when an incident's harm is known to have begun: what schema changes are ranked by."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.incident.facts import failing_since
from bot.incident.state import AlertState, Incident
from bot.model import Finding, Severity, Signal, Status
from tests.unit.incident.conftest import T0

MINUTE = timedelta(minutes=1)
INCIDENT = Incident("CDC-1", 1, "t", "customers", Severity.CRITICAL, "c", "#c", "n", T0)


def alert(at: datetime) -> AlertState:
    return AlertState("f", at, "firing", {}, {}, T0)


def dead_letters(at: datetime, status: Status = Status.RED) -> Finding:
    groups = [{"count": 2, "first_at": at.strftime("%Y-%m-%dT%H:%M:%SZ")}]
    return Finding(
        "dead_letters", "dlq", "GROWING", status, "h", at=T0, signal=Signal.DEAD_LETTERS, facts={"groups": groups}
    )


@pytest.mark.parametrize(
    ("expected", "alerts", "found"),
    [
        (T0, (), None),
        (T0 - 5 * MINUTE, (T0 - 5 * MINUTE, T0 - MINUTE), None),
        (T0 - 9 * MINUTE, (T0 - 5 * MINUTE,), dead_letters(T0 - 9 * MINUTE)),
        (T0 - 5 * MINUTE, (T0 - 5 * MINUTE,), dead_letters(T0 - MINUTE)),
        (T0 - 5 * MINUTE, (T0 - 5 * MINUTE,), dead_letters(T0 - timedelta(days=2))),  # another incident's
        (T0 - 5 * MINUTE, (T0 - 5 * MINUTE,), dead_letters(T0 - 9 * MINUTE, Status.GREEN)),
    ],
)
def test_the_first_dead_letter_counts_when_it_came_before_the_alert(expected, alerts, found):
    """An alert waits out its `for:`; the first failing record did not."""
    looks = {} if found is None else {("dead_letters", "dlq"): found}
    incident = replace(INCIDENT, alerts=tuple(alert(at) for at in alerts), first=looks)

    assert expected == failing_since(incident)
