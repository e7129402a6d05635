"""A group that is followed: what a look says in a line, in a panel, as JSON, and when it is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.model import Finding, Status
from bot.probes.lag_words import nothing
from bot.render.watch import document_of, is_drained, last_line, line_of, panel_of, sparkline

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def look(lag: int | None, verdict: str = "UNKNOWN", at_s: int = 0, **facts: object) -> Finding:
    known = {**nothing("g"), "lag_records": lag, "verdict": verdict, "evidence": "because", **facts}
    return Finding("consumer_lag", "g", verdict, Status.UNKNOWN, "", AT + timedelta(seconds=at_s), facts=known)


def never(earliest: int, latest: int) -> list[dict[str, object]]:
    """A partition that was never committed."""
    offsets = {"committed_offset": None, "earliest_offset": earliest, "log_end_offset": latest, "lag_records": None}
    return [{"topic": "t", "partitions": [{"partition": 0, **offsets, "verdict": "NEVER_COMMITTED"}]}]


LOST = replace(look(None, "UNREACHABLE", 10), not_known=("could not see g: Kafka at k:9: no answer",))


@pytest.mark.parametrize(
    ("drained", "looks"),
    [
        (True, [look(0, "OK")]),
        (False, [look(1, "OK")]),  # commits keep up: still something to read
        (False, [look(1, "RESIDUAL")]),
        (True, [look(1, "RESIDUAL"), look(1, "RESIDUAL")]),
        (False, [look(1, "RESIDUAL"), look(9), look(1, "RESIDUAL")]),
        (False, [look(0, "NEVER_COMMITTED", topics=never(0, 5))]),
        (False, [look(1, "RESIDUAL", topics=never(0, 5))] * 2),
        (True, [look(0, "OK", topics=never(5, 5))]),  # nothing is left to be read there
        (False, [look(None)]),
        (False, [look(0, "OK"), LOST]),
        (False, [replace(LOST, facts={**LOST.facts, "lag_records": 0})]),
    ],
)
def test_it_is_drained_at_lag_0_or_at_a_residue_twice(drained: bool, looks: list[Finding]) -> None:
    """What could not be seen is never drained."""
    assert drained is is_drained(looks)


@pytest.mark.parametrize(
    ("line", "looks"),
    [
        ("14:00:00  UNKNOWN          lag 1,200", [look(1200)]),
        ("14:00:05  UNKNOWN          lag 900 (-300)", [look(1200), look(900, at_s=5)]),
        ("14:00:05  UNKNOWN          lag not known", [look(1200), look(None, at_s=5)]),
        ("14:00:20  UNKNOWN          lag 1,500 (+300)", [look(1200), LOST, look(1500, at_s=20)]),
        ("14:00:10  UNREACHABLE  could not see g: Kafka at k:9: no answer", [look(1200), LOST]),
        (
            "14:00:00  CATCHING_UP      lag 1,200  oldest unread record is 14-17 min old  "
            "50.0/s read, 2.5/s written  level in 20-40 s",
            [
                look(
                    1200,
                    "CATCHING_UP",
                    time_lag_min_s=850.0,
                    time_lag_max_s=1010.0,
                    consumed_per_s=50.0,
                    produced_per_s=2.5,
                    eta_s=25,
                    eta_min_s=20,
                    eta_max_s=40,
                )
            ],
        ),
        ("14:00:00  CATCHING_UP      lag 9  level in at least 20 s", [look(9, "CATCHING_UP", eta_s=25, eta_min_s=20)]),
        ("14:00:00  OK               lag 0", [look(0, "OK", time_lag_min_s=0.0, time_lag_max_s=0.0)]),
    ],
)
def test_a_look_is_a_line(line: str, looks: list[Finding]) -> None:
    """The change is since the lag was last known."""
    assert line == line_of(looks)


def test_what_others_wrote_is_one_line_and_steers_nothing() -> None:
    """A reason comes from a server."""
    hostile = replace(LOST, not_known=("no \x1b[31m answer\nnext: run-me",))

    assert all(line.isprintable() for line in (line_of([hostile]), *panel_of([look(3), hostile])))


def test_a_sparkline_is_against_the_largest_and_has_gaps() -> None:
    """0 is the lowest bar, not nothing."""
    assert "█▄▁ ▂" == sparkline([70, 35, 0, None, 10])
    assert "▁▁" == sparkline([0, 0])
    assert "" == sparkline([])


def test_the_panel_shows_the_worst_partitions() -> None:
    """Five, and how many more are behind."""
    entries = [{"partition": n, "lag_records": n, "verdict": "UNKNOWN"} for n in range(9)]
    lines = panel_of([look(50), look(36, at_s=5, topics=[{"topic": "t", "partitions": entries}])])

    assert "g  UNKNOWN  14:00:05" == lines[0]
    assert "lag    36 (-14)" == lines[1]
    assert "       █▆" == lines[2]
    assert ["       t/8  8  UNKNOWN", "       +3 more"] == [lines[4], lines[-1]]


def test_a_json_line_has_nulls_for_what_was_not_seen() -> None:
    """One document a line, always of the same shape."""
    seen, lost = document_of([look(3), look(2, at_s=5)]), document_of([look(3), LOST])

    assert set(seen) == set(lost)
    assert ("2026-11-23T14:00:05Z", 2, -1, False) == (
        seen["at"], seen["lag_records"], seen["delta_records"], seen["drained"],
    )  # fmt: skip
    assert ("UNREACHABLE", None, None, list(LOST.not_known)) == (
        lost["verdict"], lost["lag_records"], lost["delta_records"], lost["not_known"],
    )  # fmt: skip


def test_the_last_line_says_how_it_ended() -> None:
    """Also when it was ended."""
    assert "g: stopped at lag 2, UNKNOWN, watched for 5 s" == last_line([look(3), look(2, at_s=5)], "stopped")
    assert "stopped" == last_line([], "stopped")
