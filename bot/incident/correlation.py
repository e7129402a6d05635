"""Which incident an alert belongs to.

Alerts that name a pipeline join that pipeline's open incident: a refused schema, the failed
connector and the growing lag are one incident, and the most upstream part is the suspect. Alerts
that name none get one incident per alert group. An episode, (fingerprint, startsAt), never changes
its incident; a fingerprint links a group whose key changed because a route was edited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from bot.incident.notification import Alert, Notification
from bot.incident.state import Incident
from bot.model import Pipeline

GROUP_LABELS = ("consumergroup", "group", "group_id", "consumer_group")


class Board:
    """Every incident of the journal, indexed for correlation. It holds states, never decides.

    One thread writes, others may read meanwhile: a reader gets tuples of frozen states, each whole.
    """

    def __init__(self) -> None:
        self.incidents: dict[str, Incident] = {}
        self._by_correlation: dict[str, list[str]] = {}
        self._by_fingerprint: dict[str, list[str]] = {}
        self._open: set[str] = set()

    def put(self, incident: Incident) -> None:
        """Take an incident's newest state."""
        known = self.incidents.get(incident.id)
        self.incidents[incident.id] = incident
        (self._open.add if incident.is_open else self._open.discard)(incident.id)
        if known is None:
            self._by_correlation.setdefault(incident.correlation, []).append(incident.id)
        seen = len(known.alerts) if known else 0
        if len(incident.alerts) != seen:
            for alert in incident.alerts:
                ids = self._by_fingerprint.setdefault(alert.fingerprint, [])
                if incident.id not in ids:
                    ids.append(incident.id)

    def get(self, incident_id: str) -> Incident | None:
        return self.incidents.get(incident_id)

    def all(self) -> tuple[Incident, ...]:
        """Every incident, oldest first."""
        return tuple(self.incidents.values())

    def open(self) -> tuple[Incident, ...]:
        """The unresolved incidents, worst first, then oldest first."""
        return tuple(
            sorted((self.incidents[i] for i in tuple(self._open)), key=lambda i: (-i.severity.rank, i.opened_at, i.id))
        )

    def open_for(self, correlation: str) -> Incident | None:
        for incident_id in reversed(self._by_correlation.get(correlation, ())):
            incident = self.incidents[incident_id]
            if incident.is_open:
                return incident
        return None

    def last_for(self, correlation: str) -> Incident | None:
        ids = self._by_correlation.get(correlation)
        return self.incidents[ids[-1]] if ids else None

    def with_fingerprint(self, fingerprint: str) -> tuple[Incident, ...]:
        """Incidents that ever held this alert, newest first."""
        return tuple(self.incidents[i] for i in reversed(self._by_fingerprint.get(fingerprint, ())))

    def starts_since(self, action: str, target: str, since: datetime) -> int:
        """How often an action was started on a target since then, over all incidents: what a cap counts."""
        return sum(
            1
            for incident in self.all()
            for a in incident.actions
            if a.plan.action == action and a.plan.target == target and a.started_at and a.started_at >= since
        )


def pipeline_of(labels: Mapping[str, str], pipelines: Sequence[Pipeline]) -> str | None:
    """Return the pipeline that an alert's labels name, directly or through a group, connector, topic or subject.

    A `pipeline` label counts even when cdc.yml does not know it: it still correlates.
    """
    if named := labels.get("pipeline"):
        return named
    wanted_group = next((labels[name] for name in GROUP_LABELS if labels.get(name)), None)
    for pipeline in pipelines:
        owned = (
            (wanted_group, [g.group for g in pipeline.groups]),
            (labels.get("connector"), pipeline.connectors),
            (labels.get("topic"), [*pipeline.topics, *([pipeline.dlq] if pipeline.dlq else [])]),
            (labels.get("subject"), pipeline.subjects),
        )
        if any(name and name in names for name, names in owned):
            return pipeline.name
    return None


def correlation_of(alert: Alert, notification: Notification, pipelines: Sequence[Pipeline]) -> str:
    """Return the key under which alerts share an incident."""
    if pipeline := pipeline_of(alert.labels, pipelines):
        return f"pipeline:{pipeline}"
    return f"group:{notification.external_url}:{notification.receiver}:{notification.group_key}"


def home_of(
    board: Board, alert: Alert, correlation: str, now: datetime, reopen_within: timedelta
) -> tuple[Incident | None, bool, Incident | None]:
    """Return (the incident it belongs to or None, whether that is to be reopened, an older one to link).

    A known episode stays where it is, resolved or not. A new episode of an alert whose incident was
    resolved within `reopen_within` reopens it (a flap); an older one is linked from a new incident.
    """
    past = board.with_fingerprint(alert.fingerprint)
    for incident in past:
        if incident.alert(alert.fingerprint, alert.starts_at) is not None:
            return incident, False, None
    if here := board.open_for(correlation):
        return here, False, None
    if still_open := next((i for i in past if i.is_open), None):
        return still_open, False, None
    if past:
        last = past[0]
        recent = last.resolved_at is not None and now - last.resolved_at <= reopen_within
        return (last, True, None) if recent else (None, False, last)
    return None, False, board.last_for(correlation)
