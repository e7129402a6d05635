"""Alertmanager over its API v2: live alerts, and silences that always have an owner and a comment.

Alertmanager words its errors in two shapes, a bare JSON string and `{code, message}`; `JsonHttp` reads
both. A silence that does not exist is a 404 with an empty body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from bot.clients.http import JsonHttp
from bot.ports import AlertmanagerStatus, LiveAlert, Matcher, Missing, Rejected, Unreachable


class HttpAlertmanager:
    """Implements `bot.ports.Alertmanager` and `AlertmanagerSetup`.

    `external_url` is what this Alertmanager calls itself in webhooks.
    """

    def __init__(self, http: JsonHttp, external_url: str | None = None) -> None:
        self._http = http
        self.external_url = external_url or http.url

    def read_alerts(self, matchers: Sequence[Matcher], deadline_s: float) -> tuple[LiveAlert, ...]:
        """Return the alerts all matchers hit, oldest first; silenced, inhibited and unprocessed ones included."""
        params = {
            "active": "true",
            "silenced": "true",
            "inhibited": "true",
            "unprocessed": "true",
            "filter": [_filter(matcher) for matcher in matchers],
        }
        answer = self._http.get("/api/v2/alerts", deadline_s, params)
        try:
            return tuple(sorted((_alert(entry) for entry in answer), key=lambda alert: alert.starts_at))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._not_alertmanager("GET", "/api/v2/alerts") from error

    def create_silence(
        self,
        matchers: Sequence[Matcher],
        starts_at: datetime,
        ends_at: datetime,
        created_by: str,
        comment: str,
        deadline_s: float,
    ) -> str:
        """Create a silence, return its id. Refuses what Alertmanager would accept: no owner, no comment."""
        if not created_by.strip() or not comment.strip():
            raise Rejected("a silence needs an owner and a comment: nothing was sent")
        if not any(matcher.is_equal and matcher.value not in ("", ".*") for matcher in matchers):
            raise Rejected("the matchers would hit every alert: nothing was sent")
        body = {
            "matchers": [
                {"name": m.name, "value": m.value, "isRegex": m.is_regex, "isEqual": m.is_equal} for m in matchers
            ],
            "startsAt": _rfc3339(starts_at),
            "endsAt": _rfc3339(ends_at),
            "createdBy": created_by,
            "comment": comment,
        }
        answer = self._http.post("/api/v2/silences", deadline_s, body=body)
        try:
            return str(answer["silenceID"])
        except (KeyError, TypeError) as error:
            raise self._not_alertmanager("POST", "/api/v2/silences") from error

    def read_silence(self, silence_id: str, deadline_s: float) -> str:
        path = f"/api/v2/silence/{quote(silence_id, safe='')}"
        try:
            answer = self._http.get(path, deadline_s)
        except Missing as error:
            raise Missing(f"no silence {silence_id} at {self._http.url} ({error})") from error
        try:
            return str(answer["status"]["state"])
        except (KeyError, TypeError) as error:
            raise self._not_alertmanager("GET", path) from error

    def read_status(self, deadline_s: float) -> AlertmanagerStatus:
        """Return version and configuration; Alertmanager has replaced the secrets in it by `<secret>`."""
        answer = self._http.get("/api/v2/status", deadline_s)
        try:
            version, config = answer["versionInfo"]["version"], answer["config"]["original"]
        except (KeyError, TypeError) as error:
            raise self._not_alertmanager("GET", "/api/v2/status") from error
        return AlertmanagerStatus(str(version), str(config), self._http.clock_offset_s)

    def post_alert(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        starts_at: datetime,
        ends_at: datetime,
        deadline_s: float,
    ) -> None:
        """Hand one alert in as Prometheus does. An `ends_at` that has passed resolves it; a later one ends it then.

        Alertmanager knows an alert by its labels and `starts_at`: the same again moves its end.
        """
        alert = {
            "labels": dict(labels),
            "annotations": dict(annotations),
            "startsAt": _rfc3339(starts_at),
            "endsAt": _rfc3339(ends_at),
        }
        self._http.post("/api/v2/alerts", deadline_s, body=[alert])

    def _not_alertmanager(self, method: str, path: str) -> Unreachable:
        return Unreachable(
            f"{method} {self._http.url}{path}: answered other JSON than Alertmanager's: is this the right address?"
        )


def _filter(matcher: Matcher) -> str:
    """Return the matcher as Alertmanager's matcher syntax; backslash, quote and newline escaped."""
    value = matcher.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return str(Matcher(matcher.name, value, matcher.is_regex, matcher.is_equal))


def _alert(entry: Mapping[str, Any]) -> LiveAlert:
    status = entry["status"]
    ends_at = _time(entry["endsAt"])
    return LiveAlert(
        fingerprint=entry["fingerprint"],
        labels=dict(entry["labels"]),
        annotations=dict(entry.get("annotations") or {}),
        starts_at=_time(entry["startsAt"]),
        ends_at=ends_at if ends_at.year > 1 else None,
        state=status["state"],
        silenced_by=tuple(status.get("silencedBy") or ()),
        inhibited_by=tuple(status.get("inhibitedBy") or ()),
        generator_url=entry.get("generatorURL") or "",
        receivers=tuple(receiver["name"] for receiver in entry.get("receivers") or ()),
    )


def _time(text: str) -> datetime:
    return (
        datetime.fromisoformat(text).astimezone(UTC) if not text.startswith("0001-") else datetime(1, 1, 1, tzinfo=UTC)
    )


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
