"""What happened to an incident, as marks on a chart, and whose lag the chart is to show.

Pure. A chart has room for a few words: an alert's first firing, an action that was started, the harm stopped, the
recovery proved, the end. Foreign text is passed on as it came; whoever draws makes it safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bot.incident import events as e
from bot.incident.correlation import GROUP_LABELS
from bot.incident.state import Incident
from bot.model import Pipeline


@dataclass(frozen=True)
class Mark:
    """A moment, and what happened then in a few words. Where there is no room for all, `rank` 0 is said first."""

    at: datetime
    label: str
    rank: int = 0


def marks_of(entries: Iterable[e.Entry]) -> tuple[Mark, ...]:
    """Return the marks of one incident, in order of time.

    An alert is marked once, when its first episode began: what flaps would hide everything else.
    """
    marks: list[Mark] = []
    alerts: set[str] = set()
    actions: dict[str, str] = {}
    for entry in entries:
        match entry.event:
            case e.AlertFired(labels=labels, starts_at=starts_at):
                name = labels.get("alertname", "alert")
                if name not in alerts:
                    alerts.add(name)
                    marks.append(Mark(starts_at, f"{name} fired", 1))
            case e.ActionPlanned(key=key, plan=plan):
                actions[key] = plan.action.replace("_", " ")
            case e.ActionStarted(key=key):
                marks.append(Mark(entry.at, actions.get(key, "action")))
            case e.ActionFinished(key=key, succeeded=False):
                marks.append(Mark(entry.at, f"{actions.get(key, 'action')} failed"))
            case e.IncidentMitigated() if entry.who != e.BOT:  # the bot's own word comes with its proof
                marks.append(Mark(entry.at, "mitigated"))
            case e.RecoveryProved():
                marks.append(Mark(entry.at, "recovery proved"))
            case e.IncidentResolved(verified=False):
                marks.append(Mark(entry.at, "resolved without proof"))
            case _:
                pass
    return tuple(sorted(marks, key=lambda mark: mark.at))


def group_to_show(incident: Incident, pipeline: Pipeline, lag_records: Mapping[str, int | None]) -> str | None:
    """Return the group that the alerts name, else the pipeline's with the most lag; None where it has no group.

    A name that is not one of the pipeline's groups is not believed: `group` may be a label of anything. Of groups whose
    lag nobody knows the first that cdc.yml names is shown.
    """
    groups = [consumer.group for consumer in pipeline.groups]
    named = {alert.labels[label] for alert in incident.alerts for label in GROUP_LABELS if label in alert.labels}
    candidates = [group for group in groups if group in named] or groups
    return max(candidates, key=lambda group: lag_records.get(group) or 0, default=None)
