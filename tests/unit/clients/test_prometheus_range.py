"""A range query: what Prometheus answers, and every way in which it does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.clients.http import JsonHttp
from bot.clients.prometheus import HttpPrometheus
from bot.ports import Denied, Missing, PortError, Rejected, Series, Unreachable

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
SINCE = AT - timedelta(hours=2)
ASKED = (
    "GET /api/v1/query_range?query=sum%28a%7Bb%3D%22c%22%7D%29&start=1795435200.000&end=1795442400.000"
    "&step=30.000&timeout=5.000"
)


def ask(server: Any, answer: tuple[int, Any]) -> tuple[Series, ...]:
    server[ASKED] = answer
    return HttpPrometheus(JsonHttp(server.url)).read_range('sum(a{b="c"})', SINCE, AT, 30, 5)


def matrix(*result: Any) -> tuple[int, Any]:
    return 200, {"status": "success", "data": {"resultType": "matrix", "result": list(result)}}


def test_a_range_is_asked_with_its_ends_its_step_and_a_limit(server):
    """The expression as it is, times in seconds, and no computing beyond our own deadline."""
    ask(server, matrix())
    [(line, _, _)] = server.asked
    asked = parse_qs(urlsplit(line.split()[1]).query)
    assert {
        "query": ['sum(a{b="c"})'],
        "start": [f"{SINCE.timestamp():.3f}"],
        "end": [f"{AT.timestamp():.3f}"],
        "step": ["30.000"],
        "timeout": ["5.000"],
    } == asked


def test_series_carry_their_labels_and_the_points_that_are_numbers(server):
    """NaN and infinity are no points; a series of histograms has none, and is there all the same."""
    values = [[1795442340, "7"], [1795442350.5, "NaN"], [1795442360, "+Inf"], [1795442370, "-Inf"], [1795442400, "0.5"]]
    told = matrix(
        {"metric": {"group": "a", "__name__": "lag"}, "values": values},
        {"metric": {}, "histograms": [[1795442340, {"count": "1"}]]},
    )
    assert (
        Series({"group": "a", "__name__": "lag"}, ((AT - timedelta(minutes=1), 7.0), (AT, 0.5))),
        Series({}, ()),
    ) == ask(server, told)


def test_nothing_found_is_no_series(server):
    """An expression without a match is an answer."""
    assert () == ask(server, matrix())


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((400, {"status": "error", "errorType": "bad_data", "error": "1:5: parse error: no"}), Rejected, "parse error"),
        (
            (422, {"status": "error", "errorType": "execution", "error": "too many samples"}),
            Rejected,
            "too many samples",
        ),
        ((503, {"status": "error", "errorType": "timeout", "error": "query timed out"}), Unreachable, "timed out"),
        ((401, {}), Denied, "401"),
        ((404, {}), Missing, "404"),
        ((302, {}), Unreachable, "right address"),
        ((200, "<html>"), Unreachable, "right address"),
        ((200, None), Unreachable, "other JSON than Prometheus'"),
        ((200, []), Unreachable, "other JSON than Prometheus'"),
        ((200, {"data": {"resultType": "vector", "result": []}}), Unreachable, "other JSON than Prometheus'"),
        (matrix({"values": []}), Unreachable, "other JSON than Prometheus'"),
        (matrix({"metric": {}, "values": [[1, "soon"]]}), Unreachable, "other JSON than Prometheus'"),
        (matrix({"metric": {}, "values": [["x", "1"]]}), Unreachable, "other JSON than Prometheus'"),
        (matrix({"metric": {}, "values": [[1e300, "1"]]}), Unreachable, "other JSON than Prometheus'"),
        (matrix({"metric": {}, "values": [7]}), Unreachable, "other JSON than Prometheus'"),
    ],
)
def test_what_is_no_answer_is_the_error(server, answer, error: type[PortError], words: str):
    """Prometheus' own words where it has some; never a series that was not told."""
    with pytest.raises(error, match=words):
        ask(server, answer)


def test_a_prometheus_that_does_not_answer_in_time_is_unreachable(server):
    """The deadline is ours."""
    server.delay_s = 1.0
    with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
        HttpPrometheus(JsonHttp(server.url)).read_range("up", SINCE, AT, 30, 0.2)
