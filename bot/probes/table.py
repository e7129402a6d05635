"""The probes by name: what a runbook's step may call, and what runs when an incident opens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType

from bot.model import Finding, Pipeline
from bot.probes import connector_state, consumer_lag, dead_letters, schema_changes, schema_refusals
from bot.probes.sources import Sources

Probe = Callable[[Sources, Pipeline, Callable[[], datetime]], tuple[Finding, ...]]


def _schemas(sources: Sources, pipeline: Pipeline, now: Callable[[], datetime]) -> tuple[Finding, ...]:
    """What the registry took, and what it refused: one question to a person."""
    return (*schema_changes.probe(sources, pipeline, now), *schema_refusals.probe(sources, pipeline, now))


PROBES: Mapping[str, Probe] = MappingProxyType(
    {
        schema_changes.PROBE: _schemas,
        connector_state.PROBE: connector_state.probe,
        dead_letters.PROBE: dead_letters.probe,
        consumer_lag.PROBE: consumer_lag.probe,
    }
)
