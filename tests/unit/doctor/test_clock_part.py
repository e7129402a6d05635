"""`cdc doctor`, clock: how far apart is a warning, a failure, and whose clock it is."""

from __future__ import annotations

import pytest

from bot.doctor.clock import judge


@pytest.mark.parametrize(
    ("offsets", "statuses", "what"),
    [
        ({}, ["warning"], "is not known"),
        ({"slack": None}, ["warning"], "is not known"),
        ({"slack": 30.0, "connect": -1.0, "registry": None}, ["ok"], "within 30 s of slack, connect"),
        ({"slack": 31.0, "connect": 0.0}, ["warning"], "the clock of slack is 31 s ahead of this host's"),
        ({"slack": -300.0, "connect": 0.0}, ["warning"], "300 s behind this host's"),
        ({"slack": -301.0, "connect": 0.0}, ["failed"], "Slack refuses what is signed more than 5 min apart"),
        ({"slack": 400.0, "connect": 410.0}, ["failed"], "this host's clock is 405 s behind all servers asked"),
        ({"slack": -40.0, "connect": -50.0}, ["warning"], "this host's clock is 45 s ahead of all servers asked"),
        ({"slack": 400.0, "connect": -400.0}, ["failed", "failed"], "the clock of slack is 400 s ahead of this host's"),
        ({"slack": 400.0}, ["failed"], "the clock of slack is 400 s ahead of this host's"),
    ],
)
def test_clocks_that_are_apart(offsets: dict[str, float | None], statuses: list[str], what: str) -> None:
    """30 s are let pass, 300 s break Slack's signatures; where all agree, this host is the one that is off."""
    lines = judge(offsets)
    assert statuses == [line.status for line in lines]
    assert what in lines[0].what
