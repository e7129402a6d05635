"""Silence one incident's alert group in Alertmanager for a while.

Alertmanager accepts a silence without owner or comment (measured); we never send one. The plan previews
which live alerts the matchers hit, and refuses matchers so broad that they would hide other pipelines.
Silencing repairs nothing: it never mitigates an incident and proves no recovery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from bot.actions.outcome import Outcome, Verification, not_carried_out
from bot.incident.events import Who
from bot.incident.state import Incident
from bot.model import Plan, Refusal
from bot.ports import Alertmanager, LiveAlert, Matcher, Missing, PortError

NAME = "silence_alerts"
DEFAULT_MINUTES = 60
LONGEST_MINUTES = 24 * 60


def matchers_for(incident: Incident) -> tuple[Matcher, ...]:
    """Return the matchers of the incident's alerts: its pipeline when they name one, else what all have in common."""
    alerts = incident.firing or incident.alerts
    if not alerts:
        return ()
    shared = set(alerts[0].labels.items())
    for alert in alerts[1:]:
        shared &= set(alert.labels.items())
    if incident.pipeline and ("pipeline", incident.pipeline) in shared:
        names = sorted({alert.name for alert in alerts})
        pattern = Matcher("alertname", "|".join(names), is_regex=True) if len(names) > 1 else Matcher(
            "alertname", names[0]
        )  # fmt: skip
        return (pattern, Matcher("pipeline", incident.pipeline))
    return tuple(Matcher(name, value) for name, value in sorted(shared) if name != "severity")


def plan(
    incident: Incident, hit: Sequence[LiveAlert], matchers: Sequence[Matcher], who: Who, arguments: Mapping[str, object]
) -> Plan | Refusal:
    """Return which alerts would be silenced and for how long, or why not."""
    if not matchers:
        return Refusal("Not planned: this incident has no alert to silence. Nothing was changed.")
    try:
        minutes = int(str(arguments.get("minutes", DEFAULT_MINUTES)))
    except ValueError:
        return Refusal(f"Not planned: {arguments.get('minutes')} is not a number of minutes.")
    if not 1 <= minutes <= LONGEST_MINUTES:
        return Refusal(f"Not planned: {minutes} minutes; a silence lasts 1 to {LONGEST_MINUTES} minutes.")
    ours = {alert.fingerprint for alert in incident.alerts}
    others = [alert for alert in hit if alert.fingerprint not in ours]
    foreign = [a for a in others if incident.pipeline and a.labels.get("pipeline") not in (None, incident.pipeline)]
    if foreign:
        name = foreign[0].labels.get("alertname", "?")
        return Refusal(
            f"Not planned: the matchers would also hide {len(foreign)} alerts of other pipelines "
            f"({name} of {foreign[0].labels.get('pipeline')}). Nothing was changed.",
            "Silence them by hand with narrower matchers.",
        )
    lines = [f"{a.labels.get('alertname', '?')} since {a.starts_at:%H:%M:%S}Z ({a.state})" for a in hit[:5]]
    text = ", ".join(str(m) for m in matchers)
    return Plan(
        action=NAME,
        target=incident.id,
        summary=f"Silence {len(hit)} alert{'s' if len(hit) != 1 else ''} for {minutes} min",
        steps=(f"POST /api/v2/silences with {{{text}}}", *lines),
        arguments={
            "matchers": [[m.name, m.value, m.is_regex, m.is_equal] for m in matchers],
            "minutes": minutes,
            "created_by": who.name,
            "comment": f"{incident.id}: silenced by {who.name} through cdc-oncall",
        },
        preconditions=("the incident is open",),
        warnings=(
            "Silencing repairs nothing. When a silenced alert ends, Alertmanager sends no resolve: "
            "the bot then asks its API.",
            *((f"{len(others)} of them are not in this incident.",) if others else ()),
        ),
    )


def run(alertmanager: Alertmanager, plan: Plan, now: datetime, deadline_s: float) -> Outcome:
    """Create the silence, once."""
    matchers = [Matcher(*fields) for fields in plan.arguments["matchers"]]
    ends_at = now + timedelta(minutes=int(plan.arguments["minutes"]))
    try:
        silence = alertmanager.create_silence(
            matchers, now, ends_at, str(plan.arguments["created_by"]), str(plan.arguments["comment"]), deadline_s
        )
    except PortError as error:
        return not_carried_out("Not silenced", error)
    return Outcome(True, f"silence {silence} until {ends_at:%H:%M:%S}Z", {"silence": silence})


def verify(alertmanager: Alertmanager, silence: str, deadline_s: float) -> Verification:
    """Ask for the silence again: what a 200 claimed is now seen, or not."""
    try:
        state = alertmanager.read_silence(silence, deadline_s)
    except Missing:
        return Verification(False, (f"Alertmanager does not know silence {silence}",))
    except PortError as error:
        return Verification(None, (f"could not see silence {silence}: {error}",))
    if state == "active":
        return Verification(True, (f"silence {silence} is active",))
    return Verification(None if state == "pending" else False, (f"silence {silence} is {state}",))
