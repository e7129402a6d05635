"""Apache Flink over the JobManager's REST API: a job's state, its checkpoints, and its newest exception.

Two round trips: the list of jobs, then checkpoints, their settings and the exceptions together. Times are the
JobManager's own, its clock beside them. It keeps an ended job for an hour (`jobstore.expiration-time`), and tells
checkpoints up to 3 s late (`web.refresh-interval`). Whether a checkpoint is overdue is for the judge.

The shapes are Flink 2.2's; `/v1` is since 1.7, and where a proxy hides it the same paths are asked without.
Sources, in flink-runtime: JobDetails, CheckpointingStatistics, CheckpointConfigInfo, JobExceptionsInfoWithHistory.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from bot.clients.http import JsonHttp, remaining_s
from bot.model import FlinkJob, in_one_line
from bot.ports import Missing, PortError, ServerFacts, Unreachable
from bot.redact import cause_of, redact

VERSION = "/v1"
ENDED = frozenset({"FAILED", "CANCELED", "FINISHED", "SUSPENDED"})
# What Java writes for "no periodic checkpoints" is Long.MAX_VALUE milliseconds; nobody means a century.
LONGEST_INTERVAL_S = 100 * 365 * 86_400.0
NEAR_NAMES = 3
SHOWN_CHARACTERS = 500
NAME_CHARACTERS = 200

_OTHER_JSON = "answered other JSON than a Flink JobManager's: is this the right address?"


class HttpFlink:
    """Implements `bot.ports.Flink` and `Server`. Safe to share between threads."""

    def __init__(self, http: JsonHttp) -> None:
        self._http = http

    def read_server(self, deadline_s: float) -> ServerFacts:
        """Return the version; the calls on a job are tried on the newest one. Nothing is changed.

        Raises what the list of jobs raised, and Unreachable for an answer that is not a JobManager's.
        """
        ends_at = time.monotonic() + deadline_s
        base, listed = self._listed(ends_at)
        asked = {"GET /v1/overview": f"{base}/overview"}
        if listed:
            path = f"{base}/jobs/{quote(listed[0].id, safe='')}"
            calls = ("checkpoints", "checkpoints/config", "exceptions")
            asked |= {f"GET /v1/jobs/ID/{call}": f"{path}/{call}" for call in calls}
        answers = self._ask_all(asked, ends_at)
        refused = {call: str(answer) for call, answer in answers.items() if isinstance(answer, PortError)}
        about = answers["GET /v1/overview"]
        return ServerFacts(
            kind="Apache Flink",
            version=_line(about.get("flink-version"), NAME_CHARACTERS) or None if isinstance(about, Mapping) else None,
            calls={"GET /v1/jobs/overview": None}
            | {call: None if _says_off(answer) else refused.get(call) for call, answer in answers.items()},
            clock_offset_s=self._http.clock_offset_s,
        )

    def read_job(self, name: str, deadline_s: float) -> FlinkJob:
        """Return the newest job of that name or id, one that runs before those that ended.

        What is lacking beside the state (a proxy that hides `checkpoints`) is a `not_known` line, not an error.
        Raises Missing with the names alike, Unreachable, Denied.
        """
        ends_at = time.monotonic() + deadline_s
        base, listed = self._listed(ends_at)
        alike = sorted((job for job in listed if name in (job.name, job.id)), key=lambda job: job.rank)
        if not alike:
            raise Missing(f"no job {in_one_line(name, NAME_CHARACTERS)} at {self._http.url}: {_seen(name, listed)}")
        job = alike[-1]
        shown = in_one_line(job.name, NAME_CHARACTERS)
        path = f"{base}/jobs/{quote(job.id, safe='')}"
        asked = {
            "checkpoints": f"{path}/checkpoints",
            "the checkpoint interval": f"{path}/checkpoints/config",
            "its exceptions": f"{path}/exceptions",
        }
        answers = self._ask_all(asked, ends_at)
        told, not_known = dict[str, Any](), list[str]()
        for (what, where), read in zip(asked.items(), (_checkpoints, _settings, _newest_exception), strict=True):
            answer = answers[what]
            if _says_off(answer):
                told["checkpointing_off"] = True
            elif isinstance(answer, PortError):
                not_known.append(f"{what} of Flink job {shown}: {answer}")
            else:
                try:
                    told |= read(answer)
                except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
                    not_known.append(f"{what} of Flink job {shown}: GET {self._http.url}{where}: {_OTHER_JSON}")
        running = sum(not other.is_ended for other in alike)
        if running > 1:
            not_known.append(f"{running} jobs called {shown} are running: the newest one was looked at")
        return FlinkJob(
            job=shown,
            id=job.id,
            state=job.state,
            started_at=job.started_at,
            at=job.at,
            ended_at=job.ended_at,
            not_known=tuple(not_known),
            **told,
        )

    def _listed(self, ends_at: float) -> tuple[str, tuple[_Listed, ...]]:
        """Return where the API is and the jobs that it lists, the newest running one first."""
        base = VERSION
        try:
            answer = self._http.get(f"{VERSION}/jobs/overview", remaining_s(ends_at))
        except (Missing, Unreachable) as error:
            if "answered 404" not in str(error):
                raise
            base = ""
            try:
                answer = self._http.get("/jobs/overview", remaining_s(ends_at))
            except Missing as missing:
                raise Unreachable(f"{missing}: is this a Flink JobManager's address?") from missing
        try:
            jobs = [_read_listed(each) for each in answer["jobs"]]
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise Unreachable(f"GET {self._http.url}{base}/jobs/overview: {_OTHER_JSON}") from error
        return base, tuple(sorted(jobs, key=lambda job: job.rank, reverse=True))

    def _ask_all(self, asked: Mapping[str, str], ends_at: float) -> dict[str, Any]:
        """Ask all at once; an error stands in its answer's place."""

        def ask(path: str) -> Any:
            try:
                return self._http.get(path, remaining_s(ends_at))
            except PortError as error:
                return error

        with ThreadPoolExecutor(len(asked), "flink") as pool:
            return dict(zip(asked, pool.map(ask, asked.values()), strict=True))


@dataclass(frozen=True, slots=True)
class _Listed:
    """A line of `/jobs/overview`; `at` is the JobManager's clock, told by how long a job has been running."""

    id: str
    name: str
    state: str
    started_at: datetime | None
    ended_at: datetime | None
    at: datetime | None

    @property
    def is_ended(self) -> bool:
        return self.state in ENDED

    @property
    def rank(self) -> tuple[bool, float]:
        """Later is better: what runs, then what began last."""
        return not self.is_ended, self.started_at.timestamp() if self.started_at else 0.0


def _read_listed(told: Mapping[str, Any]) -> _Listed:
    started_at, ended_at = _time(told.get("start-time")), _time(told.get("end-time"))
    duration_s = _seconds(told.get("duration"))
    runs = started_at is not None and ended_at is None and duration_s is not None
    return _Listed(
        id=str(told["jid"]),
        name=str(told["name"]),
        state=in_one_line(str(told["state"]), NAME_CHARACTERS),
        started_at=started_at,
        ended_at=ended_at,
        at=started_at + timedelta(seconds=duration_s) if runs and started_at and duration_s is not None else None,
    )


def _checkpoints(told: Mapping[str, Any]) -> dict[str, Any]:
    completed, failed = (told["latest"].get(kind) or {} for kind in ("completed", "failed"))
    history: Sequence[Mapping[str, Any]] = told.get("history") or ()
    since = int(completed.get("id") or 0)
    begun = [_time(each.get("trigger_timestamp")) for each in history if each.get("status") == "IN_PROGRESS"]
    return {
        "completed": int(told["counts"]["completed"]),
        "failed": int(told["counts"]["failed"]),
        "last_completed_at": _time(completed.get("latest_ack_timestamp")),
        "last_duration_s": _seconds(completed.get("end_to_end_duration")),
        "last_failed_at": _time(failed.get("failure_timestamp")) or _time(failed.get("trigger_timestamp")),
        "failure": _line(failed.get("failure_message")) or None,
        "in_progress_since": min((at for at in begun if at), default=None),
        "failed_since_completed": sum(each.get("status") == "FAILED" and int(each["id"]) > since for each in history),
    }


def _settings(told: Mapping[str, Any]) -> dict[str, Any]:
    interval_s = _seconds(told["interval"])
    if interval_s is None or interval_s > LONGEST_INTERVAL_S:
        return {"checkpointing_off": True}
    return {"checkpoint_interval_s": interval_s, "checkpoint_timeout_s": _seconds(told.get("timeout"))}


def _newest_exception(told: Mapping[str, Any]) -> dict[str, Any]:
    """The newest entry is the first; before Flink 1.13 there is `root-exception` alone."""
    entries = (told.get("exceptionHistory") or {}).get("entries") or ()
    if entries:
        newest = max(entries, key=lambda entry: int(entry.get("timestamp") or 0))
        trace, at = newest.get("stacktrace") or newest.get("exceptionName"), newest.get("timestamp")
    else:
        trace, at = told.get("root-exception"), told.get("timestamp")
    return {"cause": _line(cause_of(trace)) or None, "cause_at": _time(at) if trace else None}


def _says_off(answer: object) -> bool:
    """Whether it is the 404 of a job that makes no checkpoints (`AbstractCheckpointStatsHandler`)."""
    return isinstance(answer, Missing) and "not enabled for" in str(answer)


def _seen(name: str, listed: Sequence[_Listed]) -> str:
    """Return the names alike, else those that are listed, else that there is none."""
    seen = list(dict.fromkeys(in_one_line(job.name, NAME_CHARACTERS) for job in listed))
    if not seen:
        return "it lists no job at all"
    alike = difflib.get_close_matches(name, seen, NEAR_NAMES)
    if alike:
        return f"did you mean {', '.join(alike)}?"
    more = f" and {len(seen) - NEAR_NAMES} more" if len(seen) > NEAR_NAMES else ""
    return f"it lists {', '.join(seen[:NEAR_NAMES])}{more}"


def _line(text: object, limit: int = SHOWN_CHARACTERS) -> str:
    return in_one_line(redact(text), limit) if isinstance(text, str) else ""


def _time(milliseconds: object) -> datetime | None:
    """Return the time of epoch milliseconds; Flink writes -1 for "not yet"."""
    seconds = _seconds(milliseconds)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _seconds(milliseconds: object) -> float | None:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float) or not 0 <= milliseconds < 2**63:
        return None
    return milliseconds / 1000
