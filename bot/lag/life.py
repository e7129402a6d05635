"""Is anybody there who could commit for a group? What proves it depends on what commits.

A sink's tasks are members of its group. So are subscribed consumers, but a consumer with assign() never is, and neither
is a Flink job: there only commits tell, or Flink's REST. A group of which one partition is committed is alive.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from bot.lag.interval import ASSUMED_S, FROZEN_INTERVALS, LONGEST_ASSUMED_S, Interval
from bot.lag.track import GroupTrack
from bot.lag.words import in_words
from bot.model import FlinkJob, GroupKind, counted

# A restarting task leaves its group and is back within seconds; a group without members at two reads this far
# apart has nobody who could commit, whatever the commit interval.
DESERTED_FOR_S = 30.0

RUNNING = "RUNNING"
ENDED = frozenset({"FAILED", "CANCELED", "FINISHED", "SUSPENDED"})
"""States in which a Flink job commits nothing any more; every other one but RUNNING may pass by itself."""


class Life(Enum):
    ALIVE = "alive"
    GONE = "gone"
    NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Readers:
    """`reason` completes "no commit for 3 min, ...". Unread data whose commit stood still for `frozen_s` proves STOPPED
    where they are gone, STUCK where they are alive. `interval_s` None: none is known, and `frozen_s` is generous.
    `by_commits`: that they are gone is nothing but the absence of commits, for nothing else tells.
    """

    life: Life
    reason: str
    frozen_s: float
    interval_s: float | None = None
    by_commits: bool = False


def readers_of(
    track: GroupTrack, kind: GroupKind, interval: Interval | None, job: FlinkJob | None, job_error: str
) -> Readers:
    """Return whether anybody commits for the group, as far as members, commits or Flink tell."""
    proved_s = interval.frozen_s if interval is not None and interval.is_proved else None
    frozen_s = FROZEN_INTERVALS * LONGEST_ASSUMED_S if proved_s is None else proved_s
    interval_s = None if proved_s is None or interval is None else interval.seconds
    newest, at_s = track.newest, track.total.at_s
    others = track.moved_s is not None and at_s - track.moved_s < frozen_s
    if kind is GroupKind.FLINK:
        if job is not None:
            return _by_job(job, frozen_s, interval_s, newest.at)
        why = f"Flink did not tell ({job_error})" if job_error else "Flink's REST is not configured"
        reason = f"{why}: judged by commits alone"
        if others:
            return Readers(Life.ALIVE, f"other partitions are committed ({reason})", frozen_s, interval_s)
        return Readers(Life.GONE, reason, frozen_s, interval_s, by_commits=True)
    if newest.members is None:
        if newest.state == "STABLE":
            return Readers(Life.ALIVE, "the group is STABLE", frozen_s, interval_s)
        return Readers(Life.NOT_KNOWN, "whether it has members is not known", frozen_s, interval_s)
    if newest.members:
        back_s = None if track.returned_s is None else at_s - track.returned_s
        return Readers(
            Life.ALIVE, f"{counted(newest.members, 'member')} alive{_only(back_s, frozen_s)}", frozen_s, interval_s
        )
    memberless_s = 0.0 if track.memberless_s is None else at_s - track.memberless_s
    if kind is GroupKind.CONNECT_SINK:
        long_s = interval.frozen_s if interval is not None else frozen_s
        if memberless_s >= DESERTED_FOR_S:
            long_s = min(long_s, DESERTED_FOR_S)
        return Readers(Life.GONE, "no task is a member of the group", long_s, interval_s)
    if others:
        return Readers(Life.ALIVE, "other partitions are committed", frozen_s, interval_s)
    if track.had_members:
        long_s = proved_s or max(FROZEN_INTERVALS * ASSUMED_S[kind], DESERTED_FOR_S)
        return Readers(Life.GONE, "its members are gone", long_s, interval_s)
    # Flink's groups look like this too where nobody said that they are Flink's: 300 s between commits are usual.
    reason = "no member, which says nothing of assign() or Flink: judged by commits alone"
    return Readers(Life.GONE, reason, frozen_s, interval_s, by_commits=True)


def _only(alive_s: float | None, frozen_s: float) -> str:
    """Return that they are there for so short that they may not have committed yet: repaired, or about to go again."""
    return "" if alive_s is None or alive_s >= frozen_s else f" for {in_words(max(0.0, alive_s))} only"


def _by_job(job: FlinkJob, frozen_s: float, interval_s: float | None, at: datetime) -> Readers:
    if job.state == RUNNING:
        ran_s = None if job.started_at is None else ((job.at or at) - job.started_at).total_seconds()
        return Readers(Life.ALIVE, f"Flink job {job.job} is RUNNING{_only(ran_s, frozen_s)}", frozen_s, interval_s)
    cause = f": {job.cause}" if job.cause else ""
    return Readers(
        Life.GONE,
        f"Flink job {job.job} is {job.state}{cause}",
        0.0 if job.state in ENDED else frozen_s,
        interval_s,
    )
