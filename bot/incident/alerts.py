"""What a webhook said: Alertmanager's body and Grafana's, read into one frozen shape.

Promise: `read_notification` returns a Notification or raises `Unreadable` with the place and the reason;
it never guesses a missing status. The group's own `status` is not kept: it is computed by Alertmanager
*after* `max_alerts` cut the list and may say "resolved" while hidden alerts fire (webhook.go).

Source: alertmanager `template.Data` (version "4"), grafana/alerting `receivers/webhook/v1` (version "1").
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.incident.notification import Alert, Notification


class Unreadable(ValueError):
    """The body is not a notification we know; the text says where it went wrong."""


class _Alert(BaseModel):
    model_config = ConfigDict(extra="ignore")
    status: Literal["firing", "resolved"]
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    startsAt: datetime
    endsAt: datetime | None = None
    generatorURL: str = ""
    fingerprint: str = ""


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore")
    version: Literal["4", "1"]
    receiver: str = ""
    groupKey: str = ""
    groupLabels: dict[str, str] = Field(default_factory=dict)
    externalURL: str = ""
    truncatedAlerts: int = Field(default=0, ge=0)
    notification_reason: str = ""
    alerts: list[_Alert]


def read_notification(body: bytes) -> Notification:
    """Return what the webhook said. Raises Unreadable for bytes, JSON or a shape that is not one we know."""
    try:
        document: Any = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON at line {error.lineno} column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise Unreadable("not a webhook body: nested too deeply") from error
    try:
        read = _Body.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise Unreadable(f"not an Alertmanager or Grafana webhook: {place}: {first['msg']}") from error
    return Notification(
        receiver=unescape_receiver(read.receiver),
        group_key=read.groupKey,
        group_labels=read.groupLabels,
        external_url=read.externalURL.rstrip("/"),
        truncated=read.truncatedAlerts,
        alerts=tuple(_alert(alert) for alert in read.alerts),
        sender="grafana" if read.version == "1" else "alertmanager",
        reason=read.notification_reason,
    )


def unescape_receiver(name: str) -> str:
    """Undo Go's regexp.QuoteMeta, which Alertmanager applies to the receiver name (template.go)."""
    return re.sub(r"\\([\\.+*?()|\[\]{}^$-])", r"\1", name)


def _alert(read: _Alert) -> Alert:
    ended = read.endsAt if read.status == "resolved" else None
    if ended is not None and ended.year <= 1:
        ended = None
    return Alert(
        fingerprint=read.fingerprint or _identity(read.labels),
        status=read.status,
        labels=read.labels,
        annotations=read.annotations,
        starts_at=_episode(read.startsAt),
        ends_at=_utc(ended) if ended else None,
        generator_url=read.generatorURL,
    )


def _identity(labels: Mapping[str, str]) -> str:
    return "labels:" + json.dumps(dict(sorted(labels.items())), separators=(",", ":"))


def _episode(at: datetime) -> datetime:
    """Return startsAt in milliseconds: all that Alertmanager's API tells of it, while its webhook tells nanoseconds."""
    return _utc(at).replace(microsecond=at.microsecond // 1000 * 1000)


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
