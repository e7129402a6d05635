"""An alert and a notification as the bot understands them: frozen values. Reading them is `alerts`' work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bot.model import Severity


@dataclass(frozen=True)
class Alert:
    """One alert of a notification. `ends_at` is None while it fires (the wire says year 1)."""

    fingerprint: str
    status: Literal["firing", "resolved"]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    generator_url: str = ""

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "alert")


@dataclass(frozen=True)
class Notification:
    receiver: str
    group_key: str
    group_labels: Mapping[str, str]
    external_url: str
    truncated: int
    alerts: tuple[Alert, ...]
    sender: Literal["alertmanager", "grafana", "cdc-oncall"] = "alertmanager"
    reason: str = ""


def severity_of(labels: Mapping[str, str]) -> Severity:
    """Return the incident severity for an alert's `severity` label; an unlabelled alert is a warning."""
    word = labels.get("severity", "").lower()
    if word in ("critical", "page", "error", "fatal", "high"):
        return Severity.CRITICAL
    if word in ("info", "none", "notice", "low"):
        return Severity.INFO
    return Severity.WARNING
