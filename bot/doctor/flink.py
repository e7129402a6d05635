"""`cdc doctor`, Flink: its version, whether each job of cdc.yml is there, runs, and completes its checkpoints.

A group of kind flink has no members: without the REST API, or without the name of its job, only its commits are judged.
Ages are by the JobManager's own clock.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.doctor.check import Check, failed, names, not_configured, ok, warning
from bot.doctor.http import unreached
from bot.model import FlinkJob, GroupKind, Pipeline, counted
from bot.ports import Flink, Missing, PortError, Server, ServerFacts

PART = "flink"

RUNNING = "RUNNING"
OVERDUE_INTERVALS = 3


@dataclass(frozen=True)
class FlinkFacts:
    """`url` None: cdc.yml has no flink section, and nothing was asked. A job that was not read is its error."""

    url: str | None
    server: ServerFacts | None = None
    error: PortError | None = None
    jobs: Mapping[str, FlinkJob | PortError] = field(default_factory=dict)
    configured: tuple[tuple[str, str], ...] = ()
    """(job, where it stands in cdc.yml)."""
    nameless: tuple[tuple[str, str], ...] = ()
    """(group of kind flink without a job, where it stands)."""


def gather(
    server: Server | None, flink: Flink | None, url: str | None, pipelines: Sequence[Pipeline], deadline_s: float
) -> FlinkFacts:
    """Ask the JobManager what it is, then for each job; the jobs together have `deadline_s`, too."""
    configured, nameless = list[tuple[str, str]](), list[tuple[str, str]]()
    for pipeline in pipelines:
        for index, consumer in enumerate(pipeline.consumers):
            where = f"pipelines.{pipeline.name}.consumers[{index}]"
            if consumer.kind is GroupKind.FLINK and consumer.job:
                configured.append((consumer.job, f"{where}.job"))
            elif consumer.kind is GroupKind.FLINK:
                nameless.append((consumer.group, where))
    named = FlinkFacts(url, configured=tuple(configured), nameless=tuple(nameless))
    if server is None or flink is None:
        return named
    try:
        found = server.read_server(deadline_s)
    except PortError as error:
        return FlinkFacts(url, None, error, {}, named.configured, named.nameless)
    jobs, ends_at = dict[str, FlinkJob | PortError](), time.monotonic() + deadline_s
    for job in dict.fromkeys(job for job, _ in configured):
        try:
            jobs[job] = flink.read_job(job, max(0.05, ends_at - time.monotonic()))
        except PortError as error:
            jobs[job] = error
    return FlinkFacts(url, found, None, jobs, named.configured, named.nameless)


def judge(facts: FlinkFacts) -> tuple[Check, ...]:
    """Return a line on the JobManager, then one for each job; one line in all where it is not configured."""
    if facts.url is None:
        return _without_rest(facts)
    if facts.server is None:
        return (unreached(PART, facts.url, facts.error),)
    version = facts.server.version or "(it does not tell its version)"
    line = ok(PART, f"Apache Flink {version} at {facts.url}")
    jobs = tuple(_job(name, where, facts.jobs[name]) for name, where in facts.configured if name in facts.jobs)
    return (line, *_calls(facts.server), *jobs, *(_nameless(group, where) for group, where in facts.nameless))


def _without_rest(facts: FlinkFacts) -> tuple[Check, ...]:
    if not facts.configured and not facts.nameless:
        return ()
    wanted = [job for job, _ in facts.configured] or [group for group, _ in facts.nameless]
    what = (
        f"cdc.yml has no flink section: {names(wanted)} {'is' if len(wanted) == 1 else 'are'} judged by commits alone"
    )
    return (not_configured(PART, what, "Write `flink: {url: http://HOST:8081}` in cdc.yml, the JobManager's address."),)


def _calls(server: ServerFacts) -> tuple[Check, ...]:
    less = {
        "GET /v1/overview": "its version is not known",
        "GET /v1/jobs/ID/checkpoints": "whether checkpoints complete is not known",
        "GET /v1/jobs/ID/checkpoints/config": "how often a checkpoint is due is not known",
        "GET /v1/jobs/ID/exceptions": "why a job failed is not known",
    }
    return tuple(
        warning(PART, f"{call} does not work, {less[call]}: {reason}", _GRANT)
        for call, reason in server.calls.items()
        if reason is not None and call in less
    )


def _nameless(group: str, where: str) -> Check:
    what = f"{where}: group {group} is of kind flink and names no job: it is judged by commits alone"
    return warning(PART, what, f"Write `job: NAME` under {where}, the name that Flink lists.")


def _job(name: str, where: str, job: FlinkJob | PortError) -> Check:
    if isinstance(job, Missing):
        return failed(PART, f"{where} {name}: {job}", f"Correct {where} in cdc.yml, or start the job.")
    if isinstance(job, PortError):
        return failed(PART, f"{where} {name}: {job}", _GRANT)
    if job.state != RUNNING:
        cause = f": {job.cause}" if job.cause else ""
        return warning(PART, f"{where} {name}: it is {job.state}{cause}", "Start it again; Flink's page has its log.")
    if job.checkpointing_off:
        what = f"{where} {name}: it is RUNNING without checkpoints, so it commits nothing and a restart begins anew"
        return failed(PART, what, "Set `execution.checkpointing.interval` in the job's configuration.")
    if job.completed is None or job.at is None:
        lacking = "; ".join(job.not_known) or "Flink did not tell"
        return warning(
            PART, f"{where} {name}: RUNNING; whether its checkpoints complete is not known: {lacking}", _GRANT
        )
    if job.failed_since_completed:
        what = f"{counted(job.failed_since_completed, 'checkpoint')} failed since one completed"
        return warning(PART, f"{where} {name}: {what}: {job.failure or 'Flink does not say why'}", _CHECKPOINTS)
    due = "" if job.checkpoint_interval_s is None else f", one is due every {_duration(job.checkpoint_interval_s)}"
    last_at = job.last_completed_at or job.started_at
    age_s = 0.0 if last_at is None else (job.at - last_at).total_seconds()
    since = "it started" if job.last_completed_at is None else "one completed"
    if _is_overdue(job, age_s):
        running_s = 0.0 if job.in_progress_since is None else (job.at - job.in_progress_since).total_seconds()
        waits = f"; one has been running for {_duration(running_s)}" if running_s else ""
        what = f"no checkpoint for {_duration(age_s)}, since {since}{due}{waits}"
        return warning(PART, f"{where} {name}: {what}", _CHECKPOINTS if not waits else _BACK_PRESSURE)
    if job.last_completed_at is None:
        return ok(PART, f"{where} {name}: RUNNING for {_duration(age_s)}, no checkpoint has completed yet{due}")
    return ok(PART, f"{where} {name}: RUNNING, the last checkpoint completed {_duration(age_s)} ago{due}")


def _is_overdue(job: FlinkJob, age_s: float) -> bool:
    """A checkpoint that takes longer than the interval delays the next one: its time is granted on top."""
    if job.checkpoint_interval_s is None:
        return False
    return age_s > OVERDUE_INTERVALS * job.checkpoint_interval_s + (job.last_duration_s or 0.0)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


_GRANT = "Let this user through, as `cdc doctor --permissions` lists it."
_CHECKPOINTS = "Look at the storage under `execution.checkpointing.dir`, and at the checkpoints on Flink's page."
_BACK_PRESSURE = "Its barriers wait behind records: look for back pressure on Flink's page, a slow sink first."
