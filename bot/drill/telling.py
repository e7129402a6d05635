"""What a drill tells the person at the terminal: how it begins, each stage as it is reached, and the score.

Pure: documents in, lines out. Knows no world and no bot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]

REACHED = {
    "opened": "opened: the incident is on the page",
    "triaged": "triaged: acknowledged, and every triage step is settled",
    "acted": "acted: an action step is done",
    "recovered": "recovered: proved by the bot, and the pipeline really delivers",
    "resolved": "resolved: no alert fires",
}
MISSING = {
    "opened": "no incident card in Slack",
    "triaged": "acknowledge it, and tick or skip every triage step",
    "acted": "repair the cause, then run the action of its step, or mark the step done",
    "recovered": "the bot proves recovery once the pipeline delivers and holds",
    "resolved": "it resolves once recovery is proved and no alert fires",
}
FINISHED = "Every stage is reached. Press Postmortem on the card; Ctrl-C ends the drill."


def beginning(story: str, repair_command: str, lag_page: str, *, task_failed: bool) -> Iterator[str]:
    """What happens, how to repair it, and how to leave, for a person who has the page before them.

    After the repair a failed task waits for its restart; where none failed, the step is marked done by hand.
    """
    then = "let the bot restart the task: Plan, then Run" if task_failed else "mark the action step done"
    yield ""
    yield f"What happens:  {story}"
    yield "Work it:       acknowledge the incident, open its thread, tick the triage steps."
    yield "Repair it:     type `/drill repair` in the page's message box, or run"
    yield f"                 {repair_command}"
    yield f"               then {then}, in the thread's checklist."
    yield f"Lag:           {lag_page} shows it beside the thread."
    yield "Leave:         Ctrl-C; the score is shown."
    yield ""


def ending(score: Document, incident: Document | None) -> Iterator[str]:
    """The score in words: when each stage was reached, which was not and what it lacked, and the steps missed."""
    stages = list(score["stages"])
    times = ", ".join(f"{one['stage']} {one['at_s']} s" for one in stages if one["reached"])
    waiting = [one["stage"] for one in stages if not one["reached"]]
    if waiting:
        later = ", and no later stage counts without it" if len(waiting) > 1 else ""
        yield f"Not finished: {f'{times}; ' if times else ''}{waiting[0]} not reached{later}."
        ended = (incident or {}).get("status") == "resolved"
        yield f"{'It was resolved without this' if ended else 'Next was'}: {MISSING[waiting[0]]}."
    else:
        yield f"Finished {score['scenario']}: {times}."
    missed = steps_missed(incident)
    if missed:
        yield f"Triage steps missed: {'; '.join(missed)}."


def steps_missed(incident: Document | None) -> list[str]:
    """The titles of the triage steps that nobody settled."""
    steps = (incident or {}).get("steps", ())
    waiting = (step for step in steps if step.get("section") == "triage" and step.get("status") == "todo")
    return [str(step.get("title") or step["id"]).rstrip("?.") for step in waiting]
