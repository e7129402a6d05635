"""The drill's Alertmanager: the v2 API, grouping, silences, and webhooks shaped as the real one's.

Measured on Alertmanager 0.25 and kept: `receiver` is regex-escaped, the `endsAt` of a
firing alert is year 1, the alert that ended is listed once and then no more, a silenced
alert is neither sent nor resolved, 5xx is retried and 4xx is not. Grouping is by pipeline.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from bot.drill.loopback import Answer, Call, LoopbackServer, route

VERSION = "0.25.0"
NEVER = "0001-01-01T00:00:00Z"
RESOLVE_TIMEOUT = timedelta(minutes=5)
RETRY_FOR_S = 10.0


@dataclass(frozen=True)
class Alert:
    """An alert as it was last posted; firing while `ends_at` is in the future."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    generator_url: str

    def firing(self, now: datetime) -> bool:
        """Whether it fires at a time."""
        return self.ends_at > now


@dataclass(frozen=True)
class Matcher:
    """One matcher of a silence or filter."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a label set matches; an absent label is the empty string."""
        found = labels.get(self.name, "")
        same = re.fullmatch(self.value, found) is not None if self.is_regex else found == self.value
        return same == self.is_equal

    def document(self) -> dict[str, Any]:
        """The matcher as the API shows it."""
        return {"name": self.name, "value": self.value, "isRegex": self.is_regex, "isEqual": self.is_equal}


@dataclass(frozen=True)
class Silence:
    """A silence; expired by moving its end to now."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    created_by: str
    comment: str

    def state(self, now: datetime) -> str:
        """pending, active or expired."""
        if now < self.starts_at:
            return "pending"
        return "active" if now < self.ends_at else "expired"

    def meets(self, wanted: Sequence[Matcher]) -> bool:
        """Whether each wanted matcher finds one of the silence's own of that name and value."""
        return all(
            any(own.name == one.name and one.matches({own.name: own.value}) for own in self.matchers) for one in wanted
        )

    def document(self, now: datetime) -> dict[str, Any]:
        """The silence as the API shows it."""
        return {
            "id": self.id,
            "status": {"state": self.state(now)},
            "matchers": [matcher.document() for matcher in self.matchers],
            "startsAt": rfc3339(self.starts_at),
            "endsAt": rfc3339(self.ends_at),
            "updatedAt": rfc3339(self.updated_at),
            "createdBy": self.created_by,
            "comment": self.comment,
        }


@dataclass
class Group:
    """What was last told about one alert group."""

    labels: Mapping[str, str]
    flush_at_s: float
    told_firing: frozenset[str] = frozenset()
    told: bool = False
    told_at_s: float = 0.0


@dataclass(frozen=True)
class Webhook:
    """Where notifications go."""

    url: str
    token: str
    receiver: str = "cdc-oncall"


def rfc3339(at: datetime) -> str:
    """A time as Alertmanager writes it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def fingerprint(labels: Mapping[str, str]) -> str:
    """Prometheus' label set fingerprint: FNV-1a over names and values, 0xFF between, 16 hex digits."""
    total = 0xCBF29CE484222325
    for name in sorted(labels):
        for byte in (*name.encode(), 0xFF, *labels[name].encode(), 0xFF):
            total = ((total ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{total:016x}"


def _now() -> datetime:
    return datetime.now(UTC)


class Alertmanager:
    """An Alertmanager on 127.0.0.1 with one route and one webhook receiver."""

    def __init__(
        self,
        webhook: Webhook,
        *,
        group_by: Sequence[str] = ("pipeline",),
        group_wait_s: float = 0.3,
        group_interval_s: float = 1.0,
        repeat_interval_s: float = 3600.0,
    ) -> None:
        self._webhook = webhook
        self._group_by = tuple(group_by)
        self._wait_s, self._interval_s, self._repeat_s = group_wait_s, group_interval_s, repeat_interval_s
        self._lock = threading.RLock()
        self._alerts: dict[str, Alert] = {}
        self._silences: dict[str, Silence] = {}
        self._groups: dict[tuple[str, ...], Group] = {}
        self._end = threading.Event()
        self._started_at = _now()
        self._server = LoopbackServer("Alertmanager", self._routes())
        self.url = self._server.url
        self._thread = threading.Thread(target=self._notify_for_ever, name="drill-alertmanager", daemon=True)

    def start(self) -> Alertmanager:
        """Serve and notify."""
        self._server.start()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop notifying and serving."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._server.stop()

    # -- notifying -----------------------------------------------------------------------

    def _notify_for_ever(self) -> None:
        while not self._end.wait(0.05):
            now_s = time.monotonic()
            with self._lock:
                self._form_groups(now_s)
                due = [key for key, group in self._groups.items() if group.flush_at_s <= now_s]
            for key in due:
                self._flush(key, now_s)

    def _form_groups(self, now_s: float) -> None:
        now = _now()
        for alert in self._alerts.values():
            key = tuple(alert.labels.get(name, "") for name in self._group_by)
            if key not in self._groups and alert.firing(now):
                labels = {name: alert.labels[name] for name in self._group_by if name in alert.labels}
                self._groups[key] = Group(labels, now_s + self._wait_s)

    def _flush(self, key: tuple[str, ...], now_s: float) -> None:
        now = _now()
        with self._lock:
            group = self._groups[key]
            group.flush_at_s = now_s + self._interval_s
            members = [one for one in self._alerts.values() if self._key(one) == key and not self._silenced_by(one)]
            firing = [one for one in members if one.firing(now)]
            ended = [one for one in members if not one.firing(now) and one.fingerprint in group.told_firing]
            new = frozenset(one.fingerprint for one in firing) - group.told_firing
            repeat = bool(firing) and group.told and now_s - group.told_at_s >= self._repeat_s
            body = self._body(group, firing, ended) if new or ended or repeat else None
        if body is not None and self._deliver(body):
            with self._lock:
                group.told, group.told_at_s = True, now_s
                group.told_firing = frozenset(one.fingerprint for one in firing)
        elif body is not None:
            return
        with self._lock:
            self._forget_ended(key, group, now)

    def _forget_ended(self, key: tuple[str, ...], group: Group, now: datetime) -> None:
        for mark, alert in list(self._alerts.items()):
            if self._key(alert) == key and not alert.firing(now):
                # An alert that ended while silenced goes without a word, as in the real one.
                del self._alerts[mark]
                group.told_firing -= {mark}
        if not any(self._key(alert) == key for alert in self._alerts.values()):
            self._groups.pop(key, None)

    def _key(self, alert: Alert) -> tuple[str, ...]:
        return tuple(alert.labels.get(name, "") for name in self._group_by)

    def _body(self, group: Group, firing: Sequence[Alert], ended: Sequence[Alert]) -> dict[str, Any]:
        everything = [(one, "firing") for one in firing] + [(one, "resolved") for one in ended]
        key = ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(group.labels.items()))
        return {
            "receiver": re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", self._webhook.receiver),
            "status": "firing" if firing else "resolved",
            "alerts": [
                {
                    "status": status,
                    "labels": dict(one.labels),
                    "annotations": dict(one.annotations),
                    "startsAt": rfc3339(one.starts_at),
                    "endsAt": NEVER if status == "firing" else rfc3339(one.ends_at),
                    "generatorURL": one.generator_url,
                    "fingerprint": one.fingerprint,
                }
                for one, status in everything
            ],
            "groupLabels": dict(group.labels),
            "commonLabels": _common([one.labels for one, _ in everything]),
            "commonAnnotations": _common([one.annotations for one, _ in everything]),
            "externalURL": self.url,
            "version": "4",
            "groupKey": f"{{}}:{{{key}}}",
            "truncatedAlerts": 0,
        }

    def _deliver(self, body: dict[str, Any]) -> bool:
        """POST the notification; retried with backoff after 5xx or no answer, given up after 4xx."""
        payload = json.dumps(body).encode() + b"\n"
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Alertmanager/{VERSION}",
            "Authorization": f"Bearer {self._webhook.token}",
        }
        pause_s, deadline = 0.2, time.monotonic() + RETRY_FOR_S
        while not self._end.is_set() and time.monotonic() < deadline:
            try:
                answer = requests.post(
                    self._webhook.url, data=payload, headers=headers, timeout=10, allow_redirects=False
                )
                if answer.status_code < 300:
                    return True
                if answer.status_code < 500:
                    return False
            except requests.RequestException:
                pass
            self._end.wait(pause_s)
            pause_s = min(pause_s * 2, 2.0)
        return False

    def _silenced_by(self, alert: Alert) -> list[str]:
        now = _now()
        return [
            one.id
            for one in self._silences.values()
            if one.state(now) == "active" and all(matcher.matches(alert.labels) for matcher in one.matchers)
        ]

    # -- the API -------------------------------------------------------------------------

    def _routes(self) -> list[Any]:
        rows: tuple[tuple[str, str, Callable[[Call], Answer]], ...] = (
            ("GET", "/-/healthy", lambda _: Answer(200, "OK", media_type="text/plain")),
            ("GET", "/-/ready", lambda _: Answer(200, "OK", media_type="text/plain")),
            ("GET", "/api/v2/status", lambda _: Answer(200, self._status())),
            ("GET", "/api/v2/alerts", self._get_alerts),
            ("POST", "/api/v2/alerts", self._post_alerts),
            ("GET", "/api/v2/alerts/groups", self._get_groups),
            ("GET", "/api/v2/silences", self._get_silences),
            ("POST", "/api/v2/silences", self._post_silence),
            ("GET", "/api/v2/silence/{id}", self._get_silence),
            ("DELETE", "/api/v2/silence/{id}", self._expire_silence),
        )
        return [route(*row) for row in rows]

    def _status(self) -> dict[str, Any]:
        return {
            "cluster": {"status": "disabled", "peers": []},
            "versionInfo": dict.fromkeys(("branch", "buildDate", "buildUser", "goVersion", "revision"), "drill")
            | {"version": VERSION},
            "config": {"original": f"route:\n  receiver: {self._webhook.receiver}\n  group_by: [pipeline]\n"},
            "uptime": rfc3339(self._started_at),
        }

    def _post_alerts(self, call: Call) -> Answer:
        try:
            posted = call.json()
            parsed = [_parsed(one) for one in posted]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return Answer(400, f"bad request: {error}")
        now = _now()
        with self._lock:
            for alert in parsed:
                before = self._alerts.get(alert.fingerprint)
                if before is not None and before.firing(now) and before.starts_at < alert.starts_at:
                    alert = replace(alert, starts_at=before.starts_at)
                if before is None and not alert.firing(now):
                    continue
                self._alerts[alert.fingerprint] = alert
        return Answer(200)

    def _shown(self, alert: Alert) -> dict[str, Any]:
        silenced = self._silenced_by(alert)
        return {
            "annotations": dict(alert.annotations),
            "endsAt": rfc3339(alert.ends_at),
            "fingerprint": alert.fingerprint,
            "receivers": [{"name": self._webhook.receiver}],
            "startsAt": rfc3339(alert.starts_at),
            "status": {"inhibitedBy": [], "silencedBy": silenced, "state": "suppressed" if silenced else "active"},
            "updatedAt": rfc3339(alert.updated_at),
            "generatorURL": alert.generator_url,
            "labels": dict(alert.labels),
        }

    def _wanted(self, call: Call) -> list[Alert]:
        matchers = [_matcher(text) for name, text in call.query_pairs if name == "filter"]
        now = _now()
        with self._lock:
            found = [
                one
                for one in self._alerts.values()
                if one.firing(now) and all(matcher.matches(one.labels) for matcher in matchers)
            ]
            if call.query.get("silenced") == "false":
                found = [one for one in found if not self._silenced_by(one)]
            if call.query.get("active") == "false":
                found = [one for one in found if self._silenced_by(one)]
        return found

    def _get_alerts(self, call: Call) -> Answer:
        try:
            return Answer(200, [self._shown(alert) for alert in self._wanted(call)])
        except ValueError as error:
            return Answer(400, str(error))

    def _get_groups(self, call: Call) -> Answer:
        try:
            found = self._wanted(call)
        except ValueError as error:
            return Answer(400, str(error))
        groups: dict[tuple[str, ...], list[Alert]] = {}
        for alert in found:
            groups.setdefault(self._key(alert), []).append(alert)
        return Answer(
            200,
            [
                {
                    "labels": {name: value for name, value in zip(self._group_by, key, strict=True) if value},
                    "receiver": {"name": self._webhook.receiver},
                    "alerts": [self._shown(alert) for alert in alerts],
                }
                for key, alerts in groups.items()
            ],
        )

    def _get_silences(self, call: Call) -> Answer:
        matchers = [_matcher(text) for name, text in call.query_pairs if name == "filter"]
        now = _now()
        with self._lock:
            shown = [one.document(now) for one in self._silences.values() if one.meets(matchers)]
        return Answer(200, shown)

    def _post_silence(self, call: Call) -> Answer:
        asked = call.document()
        try:
            matchers = tuple(
                Matcher(str(m["name"]), str(m["value"]), bool(m.get("isRegex")), bool(m.get("isEqual", True)))
                for m in asked["matchers"]
            )
            starts_at, ends_at = _time(asked["startsAt"]), _time(asked["endsAt"])
            created_by, comment = str(asked["createdBy"]), str(asked["comment"])
        except (KeyError, TypeError, ValueError) as error:
            return Answer(422, {"code": 602, "message": f"{error} in body is required"})
        if not matchers or ends_at <= starts_at or ends_at <= _now():
            return Answer(400, "silence invalid: at least one matcher is required and the end must be in the future")
        asked_id = str(asked.get("id") or "")
        if asked_id and asked_id not in self._silences:
            return Answer(404, f"silence not found: {asked_id}")
        made = Silence(asked_id or str(uuid.uuid4()), matchers, starts_at, ends_at, _now(), created_by, comment)
        with self._lock:
            self._silences[made.id] = made
        return Answer(200, {"silenceID": made.id})

    def _get_silence(self, call: Call) -> Answer:
        found = self._silences.get(call.params["id"])
        return Answer(404) if found is None else Answer(200, found.document(_now()))

    def _expire_silence(self, call: Call) -> Answer:
        with self._lock:
            found = self._silences.get(call.params["id"])
            if found is None:
                return Answer(404)
            now = _now()
            self._silences[found.id] = replace(found, ends_at=min(found.ends_at, now), updated_at=now)
        return Answer(200)


def _parsed(posted: dict[str, Any]) -> Alert:
    now = _now()
    labels = {str(name): str(value) for name, value in posted["labels"].items() if value != ""}
    if not labels.get("alertname"):
        raise ValueError("alertname is required")
    starts_at = _time(posted["startsAt"]) if posted.get("startsAt") else now
    ended = posted.get("endsAt") and not str(posted["endsAt"]).startswith("0001-")
    return Alert(
        fingerprint(labels),
        labels,
        {str(name): str(value) for name, value in (posted.get("annotations") or {}).items()},
        starts_at,
        _time(posted["endsAt"]) if ended else now + RESOLVE_TIMEOUT,
        now,
        str(posted.get("generatorURL") or ""),
    )


def _time(text: Any) -> datetime:
    """An RFC 3339 time; raises ValueError."""
    found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _matcher(text: str) -> Matcher:
    """A matcher as typed: name="value" with =, !=, =~ or !~; raises ValueError."""
    found = re.fullmatch(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*"?(.*?)"?\s*', text)
    if found is None:
        raise ValueError(f"bad matcher format: {text}")
    name, operator, value = found.groups()
    return Matcher(name, value, operator.endswith("~"), not operator.startswith("!"))


def _common(sets: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *rest = sets
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in rest)}
