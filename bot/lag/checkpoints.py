"""Does a running Flink job complete checkpoints? It commits its offsets with them, and so do exactly-once sinks.

A checkpoint is overdue after three intervals, failing after two failures in a row, or one and two intervals. Where
checkpoints take longer than their interval, what they take is the interval. Ages are by the JobManager's clock.
"""

from __future__ import annotations

from datetime import datetime

from bot.lag.interval import FROZEN_INTERVALS
from bot.lag.life import RUNNING
from bot.lag.words import in_words
from bot.model import FlinkJob, counted

FAILURES_IN_A_ROW = 2
FAILING_INTERVALS = 2


def checkpoint_interval_s(job: FlinkJob | None) -> float | None:
    """Return how often the job completes a checkpoint when it is well; None where Flink does not tell."""
    if job is None or job.checkpoint_interval_s is None:
        return None
    return max(job.checkpoint_interval_s, job.last_duration_s or 0.0)


def not_checkpointing(job: FlinkJob, interval_s: float | None, has_unread: bool, at: datetime) -> str | None:
    """Return what is wrong with the checkpoints of a RUNNING job, or None.

    `interval_s` is how often they complete; None: not known, then only failures in a row tell.
    """
    if job.state != RUNNING:
        return None
    name = f"Flink job {job.job} is RUNNING"
    if job.checkpointing_off:
        return f"{name} with checkpointing off: it reads, and commits nothing" if has_unread else None
    since = job.last_completed_at or job.started_at
    if since is None:
        return None
    age_s = max(0.0, ((job.at or at) - since).total_seconds())
    failed_last = job.last_failed_at is not None and job.last_failed_at > since
    failures = max(job.failed_since_completed, int(failed_last))
    is_failing = failures >= FAILURES_IN_A_ROW
    if interval_s is not None:
        is_failing |= failures > 0 and age_s >= FAILING_INTERVALS * interval_s
        is_failing |= age_s > FROZEN_INTERVALS * interval_s
    if not is_failing:
        return None
    if job.last_completed_at is None:
        last = f"no checkpoint completed in {in_words(age_s)}"
    else:
        last = f"the last checkpoint completed {in_words(age_s)} ago"
    every = "" if interval_s is None else f" (one is due every {in_words(interval_s)})"
    failed = f", {counted(failures, 'failure')} since" if failures else ""
    why = f": {job.failure}" if failures and job.failure else ""
    if not failures and job.at is not None and job.in_progress_since is not None:
        why = f"; one is waiting for {in_words(max(0.0, (job.at - job.in_progress_since).total_seconds()))}"
    if job.at is not None and job.cause_at is not None and since < job.cause_at <= job.at:
        why += f"; it failed {in_words((job.at - job.cause_at).total_seconds())} ago and was restarted"
    return f"{name}, but {last}{every}{failed}{why}"
