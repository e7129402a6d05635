"""A line of `cdc doctor` is safe to print and has one of four words."""

from __future__ import annotations

import pytest

from bot.doctor.check import Check, CheckStatus, failed, names, not_configured, ok, warning, worst


def test_a_line_cannot_steer_the_terminal() -> None:
    """A topic or an error of a foreign system is shown on one line, its control characters as escapes."""
    line = failed("kafka", "topic \x1b[31mred\x07\nsecond", "remove\tit")
    assert "topic \\x1b[31mred\\x07 second" == line.what
    assert "remove it" == line.remedy


def test_the_document_is_the_contracts() -> None:
    """`cdc doctor --json` prints these keys and these words."""
    line = not_configured("prometheus", "no Prometheus", "write prometheus:")
    assert {
        "part": "prometheus",
        "status": "not configured",
        "what": "no Prometheus",
        "remedy": "write prometheus:",
    } == line.document()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([], "ok"),
        ([ok("a", "x")], "ok"),
        ([ok("a", "x"), not_configured("b", "x", "y")], "not configured"),
        ([warning("a", "x", "y"), not_configured("b", "x", "y")], "warning"),
        ([warning("a", "x", "y"), failed("b", "x", "y"), ok("c", "x")], "failed"),
    ],
)
def test_the_worst_line_counts(lines: list[Check], status: str) -> None:
    """A failure outranks a warning, and both outrank what nobody configured."""
    assert CheckStatus(status) is worst(lines)


@pytest.mark.parametrize(
    ("count", "shown"), [(0, ""), (1, "t0"), (2, "t0, t1"), (3, "t0, t1 and 1 more"), (9, "t0, t1 and 7 more")]
)
def test_many_names_are_counted(count: int, shown: str) -> None:
    """A line names the first few and says how many more there are."""
    assert shown == names([f"t{number}" for number in range(count)], 2)
