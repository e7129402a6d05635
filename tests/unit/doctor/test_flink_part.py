"""`cdc doctor`, Flink: each line from both sides."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.doctor.flink import FlinkFacts, gather, judge
from bot.model import ConsumerGroup, FlinkJob, GroupKind, Pipeline
from bot.ports import Denied, Missing, PortError, ServerFacts, Unreachable

URL = "http://flink:8081"
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
CALLS = dict.fromkeys(("GET /v1/jobs/overview", "GET /v1/overview", "GET /v1/jobs/ID/checkpoints"))
SERVER = ServerFacts("Apache Flink", "2.2.1", CALLS)
WHERE = "pipelines.p.consumers[0].job"
JOB = FlinkJob(
    "canonical", "id", "RUNNING", AT - timedelta(hours=3), 60.0, 180, 0, AT - timedelta(seconds=20), at=AT,
    last_duration_s=5.0,
)  # fmt: skip


def facts(job: FlinkJob | PortError = JOB, server: ServerFacts = SERVER) -> FlinkFacts:
    return FlinkFacts(URL, server, None, {"canonical": job}, (("canonical", WHERE),))


def judged(given: FlinkFacts) -> list[tuple[str, str]]:
    lines = judge(given)
    assert all(line.remedy for line in lines if line.status != "ok")
    return [(str(line.status), line.what) for line in lines]


def ago(**time: float) -> datetime:
    return AT - timedelta(**time)


def test_a_sound_job_is_all_ok() -> None:
    """Its version, its state, its last checkpoint by the JobManager's own clock."""
    assert [
        ("ok", "Apache Flink 2.2.1 at http://flink:8081"),
        ("ok", f"{WHERE} canonical: RUNNING, the last checkpoint completed 20 s ago, one is due every 60 s"),
    ] == judged(facts())


@pytest.mark.parametrize(
    ("status", "said", "job"),
    [
        ("failed", "did you mean", Missing("no job canonical at x: did you mean canonical-2?")),
        ("failed", "answered 403", Denied("GET x: answered 403")),
        ("warning", "it is RESTARTING: Connect refused", replace(JOB, state="RESTARTING", cause="Connect refused")),
        ("warning", "it is CANCELED", replace(JOB, state="CANCELED", at=None)),
        ("failed", "without checkpoints, so it commits nothing", replace(JOB, checkpointing_off=True)),
        ("warning", "not known: checkpoints: 403", replace(JOB, completed=None, not_known=("checkpoints: 403",))),
        ("warning", "1 checkpoint failed since one completed: disk",
         replace(JOB, failed_since_completed=1, failure="disk")),
        ("warning", "2 checkpoints failed since one completed: Flink does not say why",
         replace(JOB, failed_since_completed=2)),
        ("ok", "RUNNING", replace(JOB, failed=7, last_failed_at=ago(hours=1), failure="disk")),
        ("ok", "completed 3 min ago", replace(JOB, last_completed_at=ago(seconds=185))),
        ("warning", "no checkpoint for 3 min, since one completed, one is due every 60 s",
         replace(JOB, last_completed_at=ago(seconds=186))),
        ("warning", "one has been running for 2 min",
         replace(JOB, last_completed_at=ago(seconds=186), in_progress_since=ago(seconds=121))),
        ("ok", "RUNNING for 3 min, no checkpoint has completed yet",
         replace(JOB, completed=0, last_completed_at=None, last_duration_s=None, started_at=ago(seconds=180))),
        ("warning", "no checkpoint for 3 min, since it started",
         replace(JOB, completed=0, last_completed_at=None, last_duration_s=None, started_at=ago(seconds=181))),
        ("ok", "completed 3 h ago", replace(JOB, checkpoint_interval_s=None, last_completed_at=ago(hours=3))),
    ],
)  # fmt: skip
def test_a_job_is_judged_by_its_state_and_its_checkpoints(status: str, said: str, job: FlinkJob | PortError) -> None:
    """Three intervals and the time that the last one took may pass; a failure before the last one is history."""
    line = judged(facts(job))[1]

    assert status == line[0]
    assert line[1].startswith(f"{WHERE} canonical: ")
    assert said in line[1]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (Denied("GET x: answered 401"), '`flink: {auth: {user: NAME, password: "${FLINK_PASSWORD}"}}`'),
        (Unreachable("GET x: refused the connection"), "`flink: {url: ...}`"),
        (Unreachable("GET x: answered 404: is this a Flink JobManager's address?"), "`flink: {url: ...}`"),
    ],
)
def test_a_jobmanager_that_does_not_answer_is_one_line(error: PortError, remedy: str) -> None:
    """The jobs were not asked for, so nothing is said of them."""
    (line,) = judge(FlinkFacts(URL, None, error, {}, (("canonical", WHERE),)))

    assert ("failed", str(error)) == (line.status, line.what)
    assert remedy in line.remedy


def test_a_call_that_is_refused_says_what_is_lost() -> None:
    """A proxy that hands on the list of jobs alone."""
    lines = judged(facts(server=replace(SERVER, calls={**CALLS, "GET /v1/jobs/ID/checkpoints": "answered 403"})))

    assert (
        "warning",
        "GET /v1/jobs/ID/checkpoints does not work, whether checkpoints complete is not known: answered 403",
    ) == lines[1]


class JobManager:
    """A JobManager with one job."""

    def __init__(self, error: PortError | None = None) -> None:
        self.error, self.asked = error, list[str]()

    def read_server(self, deadline_s: float) -> ServerFacts:
        if self.error:
            raise self.error
        return SERVER

    def read_job(self, name: str, deadline_s: float) -> FlinkJob:
        self.asked.append(name)
        if name != "canonical":
            raise Missing(f"no job {name}")
        return JOB


def pipeline(*consumers: ConsumerGroup) -> Pipeline:
    return Pipeline("p", "#c", consumers=consumers)


def test_gathering_asks_once_for_each_job_and_knows_where_it_stands() -> None:
    """Two groups of one job are one question; a group without a job is a warning of its own."""
    flink = JobManager()
    found = gather(
        flink, flink, URL,
        [pipeline(
            ConsumerGroup("a", GroupKind.FLINK, "canonical"), ConsumerGroup("b", GroupKind.FLINK, "canonical"),
            ConsumerGroup("c", GroupKind.FLINK), ConsumerGroup("d", job="not of Flink"),
            ConsumerGroup("e", GroupKind.FLINK, "typo"),
        )], 1,
    )  # fmt: skip

    assert ["canonical", "typo"] == flink.asked
    assert ["ok", "ok", "ok", "failed", "warning"] == [status for status, _ in judged(found)]
    assert ("pipelines.p.consumers[2]: group c is of kind flink and names no job: it is judged by commits alone") == (
        judged(found)[-1][1]
    )


def test_gathering_never_raises() -> None:
    """An unreachable JobManager is a fact, and it is asked for nothing more."""
    flink = JobManager(Unreachable("GET x: refused the connection"))
    found = gather(flink, flink, URL, [pipeline(ConsumerGroup("a", GroupKind.FLINK, "canonical"))], 1)

    assert ([], 1) == (flink.asked, len(judged(found)))


@pytest.mark.parametrize(
    ("expected", "consumers"),
    [
        ([], ()),
        ([], (ConsumerGroup("a"),)),
        (["canonical is judged by commits alone"], (ConsumerGroup("a", GroupKind.FLINK, "canonical"),)),
        (["a is judged by commits alone"], (ConsumerGroup("a", GroupKind.FLINK),)),
    ],
)
def test_without_a_flink_section_only_a_pipeline_with_a_flink_group_hears_of_it(
    expected: list[str], consumers: tuple[ConsumerGroup, ...]
) -> None:
    """Nobody without Flink is told to configure it."""
    lines = judge(gather(None, None, None, [pipeline(*consumers)], 1))

    assert [("not configured", f"cdc.yml has no flink section: {said}") for said in expected] == [
        (str(line.status), line.what) for line in lines
    ]
    assert all("`flink: {url: http://HOST:8081}`" in line.remedy for line in lines)
