"""Restart the failed tasks of one connector: `POST /connectors/C/restart?includeTasks=true&onlyFailed=true`.

What the API answers (202, RESTARTING) is no proof. Verified means: every task RUNNING at two looks some
seconds apart, and more delivered than before the plan; a start() that blocks shows the OLD trace for a
while (measured), so a FAILED with the same trace counts only once it has had time to change.
Reversible: no state is lost by a restart, but during an initial snapshot Debezium begins again at row 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bot.actions.outcome import Outcome, Verification, not_carried_out
from bot.model import Finding, Pipeline, Plan, Refusal, Status, counted
from bot.ports import Connect, PortError

NAME = "restart_failed_tasks"
BLOCKED_START_S = 12.0


def plan(finding: Finding, pipeline: Pipeline) -> Plan | Refusal:
    """Return what would be restarted, from a fresh look at the connector; refuse where there is nothing to do."""
    name = finding.target
    tasks: Sequence[Mapping[str, Any]] = finding.facts.get("tasks", ())
    if finding.status is Status.UNKNOWN and not tasks:
        return Refusal(f"Not planned: {finding.headline}. Nothing was changed.", f"Try `connector {name}`.")
    failed = [task for task in tasks if task["state"] == "FAILED"]
    connector_failed = finding.facts.get("state") == "FAILED"
    if not failed and not connector_failed:
        states = ", ".join(f"task {t['task']} {t['state']}" for t in tasks) or str(finding.facts.get("state"))
        return Refusal(
            f"Not planned: {name} has no FAILED task ({states}), and this action is for FAILED tasks. "
            "Nothing was changed.",
            f"See it with `connector {name}`.",
        )
    causes = sorted({str(task["cause"]) for task in failed if task.get("cause")})
    numbers = ", ".join(str(task["task"]) for task in failed)
    warnings = [f"It failed with: {cause}. If that is not repaired, it fails again." for cause in causes]
    if pipeline.managed_by:
        warnings.append(f"{name} is managed by {pipeline.managed_by}: a restart is not reverted, but may come twice.")
    if finding.facts.get("type") == "source":
        warnings.append("A source that is still in its initial snapshot begins it again at the first row.")
    return Plan(
        action=NAME,
        target=name,
        summary=_summary(name, numbers, len(failed), connector_failed),
        steps=(
            f"POST /connectors/{name}/restart?includeTasks=true&onlyFailed=true",
            "Tasks that run are left alone. Nothing is skipped, no offset is changed.",
            "Then look again until every task runs and delivers, or one fails again.",
        ),
        arguments={"connector": name, "tasks": [task["task"] for task in failed]},
        preconditions=(f"at least one of task {numbers} is still FAILED" if numbers else f"{name} is still FAILED",),
        warnings=tuple(warnings),
    )


def _summary(name: str, numbers: str, failed: int, connector_failed: bool) -> str:
    tasks = f"{'task' if failed == 1 else 'tasks'} {numbers}"
    if not connector_failed:
        return f"Restart {tasks} of {name}"
    return f"Restart connector {name} and its {tasks}" if failed else f"Restart connector {name}"


def still_holds(finding: Finding) -> str:
    """Return why the plan's precondition does not hold any more, or an empty string."""
    again = plan(finding, Pipeline("", ""))
    return str(again).replace("Not planned", "Not restarted") if isinstance(again, Refusal) else ""


def run(connect: Connect, plan: Plan, deadline_s: float) -> Outcome:
    """Ask Connect, once."""
    try:
        answer = connect.restart_failed(str(plan.arguments["connector"]), deadline_s)
    except PortError as error:
        return not_carried_out("Not restarted", error)
    return Outcome(True, f"Connect answered: {answer}")


def verify(before: Finding | None, now: Finding, green_before: bool, since_s: float) -> Verification:
    """Judge the connector `since_s` after the restart; `green_before` is what the look before this one said."""
    tasks: Sequence[Mapping[str, Any]] = now.facts.get("tasks", ())
    failed = [task for task in tasks if task["state"] == "FAILED"]
    if failed:
        cause = failed[0].get("cause") or "no trace"
        evidence = (f"task {failed[0]['task']} of {now.target} is FAILED {since_s:.0f} s after the restart: {cause}",)
        return Verification(False if since_s >= BLOCKED_START_S else None, evidence)
    if now.status is not Status.GREEN:
        return Verification(None, (f"{now.target}: {now.headline}",))
    if not green_before:
        return Verification(None, (f"{now.target}: RUNNING, seen once",))
    was, is_now = (f.facts.get("delivered_total") if f else None for f in (before, now))
    if not isinstance(was, int) or not isinstance(is_now, int):
        return Verification(None, (f"{now.target}: RUNNING; whether it delivers is not known",))
    if is_now <= was:
        return Verification(None, (f"{now.target}: RUNNING, nothing delivered yet ({is_now:,} as before)",))
    return Verification(True, (f"{now.target}: all tasks RUNNING, {counted(is_now - was, 'record')} delivered since",))
