"""The small words of cdc.yml, its schema and its list of settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bot import config
from bot.model import LagThreshold


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1d", 86400), ("250ms", 0.25), ("0.5h", 1800)],
)
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: float) -> None:
    """Units may be added up, as Prometheus writes them."""
    assert seconds == config.parse_duration(text)


@pytest.mark.parametrize("text", ["5", "", "m", "5 m", "-5m", "0s", "5w", "1e3s", 5, None, True, "367d", "5mm"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    """A number without a unit, nothing, and less than nothing."""
    with pytest.raises(ValueError, match="write"):
        config.parse_duration(text)


@pytest.mark.parametrize(("seconds", "text"), [(90, "90s"), (300, "5m"), (7200, "2h"), (86400, "1d"), (0.25, "250ms")])
def test_a_duration_is_written_as_short_as_it_can_be(seconds: float, text: str) -> None:
    """What is written reads back as the same."""
    assert text == config.format_duration(seconds)
    assert seconds == config.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10000 for 5m", LagThreshold(10_000, 300)),
        ("10_000 for 5m", LagThreshold(10_000, 300)),
        ("0 for 1s", LagThreshold(0, 1)),
    ],
)
def test_a_lag_threshold_is_records_for_a_time(text: str, expected: LagThreshold) -> None:
    """As a Prometheus rule counts it; zero means any lag at all."""
    assert expected == config.parse_lag_threshold(text)


@pytest.mark.parametrize(
    "text", ["10000", "10000 for", "for 5m", "10000 in 5m", "1.5 for 5m", "-1 for 5m", "5 for 1ms", 10000]
)
def test_what_is_no_lag_threshold_is_refused(text: object) -> None:
    """Each half is needed, and the word between them."""
    with pytest.raises(ValueError, match="write"):
        config.parse_lag_threshold(text)


@pytest.mark.parametrize(("text", "ratio"), [("0.1%", 0.001), ("100%", 1.0), ("1 %", 0.01)])
def test_a_ratio_is_a_percentage(text: str, ratio: float) -> None:
    """The fraction is what rules compare with."""
    assert pytest.approx(ratio) == config.parse_ratio(text)


@pytest.mark.parametrize("text", ["0.1", 0.001, "0%", "101%", "-1%", "%", None])
def test_what_is_no_percentage_is_refused(text: object) -> None:
    """0.1 could mean ten per cent or a tenth of one."""
    with pytest.raises(ValueError, match="write"):
        config.parse_ratio(text)


def _properties(schema: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        for name, part in schema.get("properties", {}).items():
            if isinstance(part, dict):
                yield name, part
        for part in schema.values():
            yield from _properties(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _properties(part)


def test_every_setting_has_a_description_in_the_schema() -> None:
    """An editor shows what a setting is for, and offers the names of the actions."""
    schema = config.json_schema()
    assert "https://json-schema.org/draft/2020-12/schema" == schema["$schema"]
    assert [] == [name for name, part in _properties(schema) if not part.get("description") and name != "file"]
    assert list(config.ACTIONS) == schema["properties"]["actions"]["anyOf"][1]["items"]["enum"]


def test_the_list_of_settings_names_defaults_as_one_writes_them() -> None:
    """The documentation is tested against this list."""
    settings = {name: default for name, default, _ in config.settings()}
    assert "30m" == settings["incidents.reopen_within"]
    assert "5 in 10m" == settings["alerts.registry_refusals"]
    assert "10000 for 5m" == settings["pipelines.NAME.objective.lag.warn"]
    assert "consumer" == settings["pipelines.NAME.consumers[].kind"]
    assert "required" == settings["kafka.bootstrap"]
    assert "" == settings["actions"]
    assert all(description for _, _, description in config.settings())
