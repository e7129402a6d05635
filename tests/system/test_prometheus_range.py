"""Range queries on a real Prometheus that scrapes itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from bot.clients.http import JsonHttp
from bot.clients.prometheus import HttpPrometheus
from bot.ports import Rejected
from tests.system.parts import Prometheus


def config(address: str) -> str:
    return (
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: self, static_configs: [{{targets: ['{address}']}}]}}]\n"
    )


def test_a_real_prometheus_answers_ranges(new_prometheus: Callable[[str], Prometheus]) -> None:
    """Points on the steps that were scraped and none before; NaN and infinity are none; its own words for a mistake."""
    prometheus = new_prometheus(config("127.0.0.1:1"))
    prometheus.reload(config(prometheus.url.removeprefix("http://")))
    ends_at = time.monotonic() + 30
    while not any(one["value"][1] == "1" for one in prometheus.query('up{job="self"}')):
        assert time.monotonic() < ends_at, "it never scraped itself"
        time.sleep(0.2)
    asked = HttpPrometheus(JsonHttp(prometheus.url))
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    since = until - timedelta(hours=1)

    [up] = asked.read_range(f'up{{instance="{prometheus.url.removeprefix("http://")}"}}', since, until, 1, 5)
    assert "self" == up.labels["job"]
    assert {1.0} >= {value for _, value in up.points if value}
    assert up.points
    assert all(timedelta(0) <= until - at < timedelta(minutes=2) for at, _ in up.points)
    assert [at for at, _ in up.points] == sorted(at for at, _ in up.points)

    [ones] = asked.read_range("vector(1)", since, until, 60, 5)
    assert [since + timedelta(minutes=index) for index in range(61)] == [at for at, _ in ones.points]
    assert [()] == [one.points for one in asked.read_range("vector(1) / 0", since, until, 60, 5)]
    assert [()] == [one.points for one in asked.read_range("vector(0) / 0", since, until, 60, 5)]
    assert () == asked.read_range("nothing_of_that_name", since, until, 60, 5)
    with pytest.raises(Rejected, match="parse error"):
        asked.read_range("sum(", since, until, 60, 5)
    with pytest.raises(Rejected, match="11,000 points"):
        asked.read_range("up", since - timedelta(days=1), until, 1, 5)
