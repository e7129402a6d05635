"""The Flink client against answers recorded from Flink 2.2.1, and against what stands in its way."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.clients.flink import HttpFlink
from bot.clients.http import JsonHttp
from bot.ports import Denied, Missing, Unreachable

ID = "cedd8c099c2ca7db31afbfd7b59cafda"
STARTED_MS = 1795460027376
NAME = "customers-canonical"
TRACE = (
    "org.apache.flink.util.FlinkException: Global failure triggered by OperatorCoordinator.\n\tat a.B.c(D.java:1)\n"
    "Caused by: java.lang.RuntimeException: no login to jdbc:postgresql://app:hunter2@db/shop\n\tat e.F(G.java:2)\n"
)


def at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def listed(job: str = ID, name: str = NAME, state: str = "RUNNING", started: int = 0, **more: Any) -> dict[str, Any]:
    """A line of `/jobs/overview`, `started` milliseconds after the first one."""
    ended = {"RUNNING": -1, "RESTARTING": -1}.get(state, STARTED_MS + started + 30_000)
    line = {"jid": job, "name": name, "start-time": STARTED_MS + started, "end-time": ended, "duration": 30_000}
    return {**line, "state": state, **more}


def completed(number: int, at_ms: int) -> dict[str, Any]:
    times = {"trigger_timestamp": at_ms - 81, "latest_ack_timestamp": at_ms, "end_to_end_duration": 81}
    return {"className": "completed", "id": number, "status": "COMPLETED", **times}


def failed(number: int, at_ms: int, words: str = "IO-problem detected.") -> dict[str, Any]:
    line = {"className": "failed", "id": number, "status": "FAILED", "trigger_timestamp": at_ms - 2}
    return {**line, "failure_timestamp": at_ms, "failure_message": words, "latest_ack_timestamp": -1}


def begun(number: int, at_ms: int) -> dict[str, Any]:
    return {"className": "in_progress", "id": number, "status": "IN_PROGRESS", "trigger_timestamp": at_ms}


CHECKPOINTS = {
    "counts": {"restored": 0, "total": 2, "in_progress": 0, "completed": 2, "failed": 0},
    "latest": {"completed": completed(2, STARTED_MS + 29_000), "savepoint": None, "failed": None, "restored": None},
    "history": [completed(2, STARTED_MS + 29_000), completed(1, STARTED_MS + 26_000)],
}
CONFIG = {"mode": "exactly_once", "interval": 3000, "timeout": 600000, "min_pause": 0}
NO_EXCEPTION = {"exceptionHistory": {"entries": [], "truncated": False}}


def flink(server, *jobs: dict[str, Any], base: str = "/v1", **answers: Any) -> HttpFlink:
    """Return a client of a JobManager with these jobs; the newest answers as given."""
    jobs = jobs or (listed(),)
    server[f"GET {base}/jobs/overview"] = (200, {"jobs": list(jobs)})
    server[f"GET {base}/overview"] = (200, {"taskmanagers": 1, "flink-version": "2.2.1"})
    for job in jobs:
        path = f"GET {base}/jobs/{job['jid']}"
        server[f"{path}/checkpoints"] = answers.get("checkpoints", (200, CHECKPOINTS))
        server[f"{path}/checkpoints/config"] = answers.get("config", (200, CONFIG))
        server[f"{path}/exceptions"] = answers.get("exceptions", (200, NO_EXCEPTION))
    return HttpFlink(JsonHttp(server.url))


def checkpoints(newest: dict[str, Any] | None, lost: dict[str, Any] | None, *history: dict[str, Any]) -> Any:
    counts = {"completed": 2, "failed": 7, "in_progress": 0}
    return 200, {"counts": counts, "latest": {"completed": newest, "failed": lost}, "history": list(history)}


def test_a_sound_job_with_the_clock_that_its_ages_are_taken_by(server):
    """A running job's duration tells the JobManager's clock: no age depends on ours."""
    job = flink(server).read_job(NAME, 5)

    assert (NAME, ID, "RUNNING") == (job.job, job.id, job.state)
    assert (at(STARTED_MS), at(STARTED_MS + 30_000), None) == (job.started_at, job.at, job.ended_at)
    assert (2, 0, 3.0, 600.0) == (job.completed, job.failed, job.checkpoint_interval_s, job.checkpoint_timeout_s)
    assert (at(STARTED_MS + 29_000), 0.081) == (job.last_completed_at, job.last_duration_s)
    assert (None, None, None, None, 0) == (
        job.last_failed_at, job.failure, job.cause, job.in_progress_since, job.failed_since_completed
    )  # fmt: skip
    assert (False, ()) == (job.checkpointing_off, job.not_known)


def test_failing_checkpoints_are_counted_since_the_newest_completed(server):
    """What failed before it has been made good."""
    answer = checkpoints(
        completed(4, STARTED_MS + 4), failed(6, STARTED_MS + 6), failed(6, STARTED_MS + 6), failed(5, STARTED_MS + 5),
        completed(4, STARTED_MS + 4), failed(3, STARTED_MS + 3),
    )  # fmt: skip
    job = flink(server, checkpoints=answer).read_job(NAME, 5)

    assert (7, 2) == (job.failed, job.failed_since_completed)
    assert (at(STARTED_MS + 6), "IO-problem detected.") == (job.last_failed_at, job.failure)


def test_no_checkpoint_ever_completed_is_no_time_at_all(server):
    """Unknown is None, and every failure counts."""
    answer = checkpoints(None, failed(2, STARTED_MS + 6), failed(2, STARTED_MS + 6), failed(1, STARTED_MS + 3))
    job = flink(server, checkpoints=answer).read_job(NAME, 5)

    assert (None, None, 2) == (job.last_completed_at, job.last_duration_s, job.failed_since_completed)


def test_a_checkpoint_that_runs_tells_since_when(server):
    """Back pressure holds a barrier for minutes: nothing fails, nothing completes. The oldest one counts."""
    answer = checkpoints(completed(4, STARTED_MS), None, begun(6, STARTED_MS + 9000), begun(5, STARTED_MS + 5000))
    job = flink(server, checkpoints=answer).read_job(NAME, 5)

    assert at(STARTED_MS + 5000) == job.in_progress_since


@pytest.mark.parametrize(
    ("config", "stats"),
    [
        ((200, {**CONFIG, "interval": 2**63 - 1}), (200, CHECKPOINTS)),
        (
            (404, {"errors": [f"x.RestHandlerException: Checkpointing is not enabled for this job ({ID}).\n\tat a.B"]}),
            (404, {"errors": [f"x.RestHandlerException: Checkpointing was not enabled for job {ID}.\n\tat a.B"]}),
        ),
    ],
)
def test_a_job_without_checkpoints_is_told_apart_from_one_that_was_not_told(server, config, stats):
    """It commits nothing, whatever its state; the interval is None, not 292 million years."""
    job = flink(server, config=config, checkpoints=stats).read_job(NAME, 5)

    assert (True, None, ()) == (job.checkpointing_off, job.checkpoint_interval_s, job.not_known)


@pytest.mark.parametrize(
    "answer",
    [
        {"exceptionHistory": {"entries": [
            {"exceptionName": "a.Newer", "stacktrace": TRACE, "timestamp": STARTED_MS + 9},
            {"exceptionName": "a.Older", "stacktrace": "a.Older: x", "timestamp": STARTED_MS + 3},
        ]}},
        {"root-exception": TRACE, "timestamp": STARTED_MS + 9, "all-exceptions": []},
    ],
)  # fmt: skip
def test_the_newest_exception_is_its_root_cause_in_one_line_without_a_password(server, answer):
    """Its innermost cause, as the connectors' are worded; Flink before 1.13 gives one trace."""
    job = flink(server, exceptions=(200, answer)).read_job(NAME, 5)

    assert "RuntimeException: no login to jdbc:postgresql://[redacted]@db/shop" == job.cause
    assert at(STARTED_MS + 9) == job.cause_at


@pytest.mark.parametrize("name", ["customers\x1b[31m\nx", "a" * 300])
def test_foreign_text_is_one_plain_line(server, name):
    """A job's name and Flink's words are somebody else's; a long name is found by its whole."""
    stats = checkpoints(None, failed(1, STARTED_MS, "line\x1b[2J\nnext token=abc123"))
    job = flink(server, listed(name=name), checkpoints=stats).read_job(name, 5)

    assert job.job.isprintable()
    assert len(job.job) <= 200
    assert "line [2J next token=[redacted]" == job.failure


@pytest.mark.parametrize(
    ("expected", "jobs"),
    [
        ("b", [listed("a", started=0), listed("b", started=5)]),
        ("a", [listed("a", started=0), listed("b", state="CANCELED", started=5)]),
        ("a", [listed("a", state="RESTARTING"), listed("b", state="FAILED", started=5)]),
        ("b", [listed("a", state="FAILED"), listed("b", state="FINISHED", started=5)]),
        ("b", [listed("a", name="another", started=9), listed("b", state="FAILED")]),
    ],
)
def test_the_job_of_a_name_is_the_newest_that_runs(server, expected, jobs):
    """A redeployed job leaves its cancelled ones in the list for an hour."""
    assert expected == flink(server, *jobs).read_job(NAME, 5).id


def test_two_running_jobs_of_one_name_are_said(server):
    """They commit over each other."""
    job = flink(server, listed("a"), listed("b", started=5)).read_job(NAME, 5)

    assert ("2 jobs called customers-canonical are running: the newest one was looked at",) == job.not_known


def test_a_job_may_be_given_by_its_id_and_an_ended_one_tells_when(server):
    """Its clock is not known then: a duration that stands still tells none."""
    job = flink(server, listed(state="CANCELED")).read_job(ID, 5)

    assert (NAME, "CANCELED") == (job.job, job.state)
    assert (at(STARTED_MS + 30_000), None) == (job.ended_at, job.at)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("did you mean customers-canonical?", [NAME, "orders"]),
        ("it lists orders, payments, refunds and 1 more", ["orders", "payments", "refunds", "stock"]),
        ("it lists no job at all", []),
    ],
)
def test_an_unknown_job_is_missing_with_the_names_that_were_seen(server, words, names):
    """A typo is answered with what it may have been."""
    client = flink(server)
    server["GET /v1/jobs/overview"] = (200, {"jobs": [listed(name=name) for name in names]})

    with pytest.raises(Missing) as raised:
        client.read_job("customer-canonical", 5)

    assert f"no job customer-canonical at {server.url}: {words}" == str(raised.value)


@pytest.mark.parametrize("answer", [(404, {"errors": ["Not found: /v1/jobs"]}), (404, "<html>nginx</html>"), (404, "")])
def test_without_v1_the_same_paths_are_asked_without_it(server, answer):
    """Flink before 1.7, and proxies that hand on some paths."""
    client = flink(server, base="")
    server["GET /v1/jobs/overview"] = answer

    assert (3.0, ()) == (client.read_job(NAME, 5).checkpoint_interval_s, client.read_job(NAME, 5).not_known)
    assert "2.2.1" == client.read_server(5).version


def test_v1_is_pinned_where_it_answers(server):
    """Two round trips, three requests in the second."""
    flink(server).read_job(NAME, 5)

    asked = [line for line, _, _ in server.asked]
    assert "GET /v1/jobs/overview" == asked[0]
    assert [f"GET /v1/jobs/{ID}/{call}" for call in ("checkpoints", "checkpoints/config", "exceptions")] == sorted(
        asked[1:]
    )


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((401, {"errors": ["no"]}), Denied, "answered 401"),
        ((403, ""), Denied, "answered 403"),
        ((503, {"errors": ["Service temporarily unavailable due to an ongoing leader election.\n\tat a"]}),
         Unreachable, "answered 503: Service temporarily unavailable due to an ongoing leader election."),
        ((404, {"errors": ["Not found"]}), Unreachable, "is this a Flink JobManager's address?"),
        ((200, "<html>dashboard</html>"), Unreachable, "is this the right address?"),
        ((200, []), Unreachable, "other JSON than a Flink JobManager's"),
        ((200, {"jobs": [{"id": ID, "status": "RUNNING"}]}), Unreachable, "other JSON than a Flink JobManager's"),
        ((200, {"jobs": None}), Unreachable, "other JSON than a Flink JobManager's"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ask", [lambda it: it.read_job(NAME, 5), lambda it: it.read_server(5)])
def test_what_is_no_jobmanager_is_an_error_of_the_port(server, answer, error, words, ask):
    """Never a job that was not read."""
    for base in ("/v1", ""):
        server[f"GET {base}/jobs/overview"] = answer

    with pytest.raises(error) as raised:
        ask(HttpFlink(JsonHttp(server.url)))

    assert words in str(raised.value)


@pytest.mark.parametrize("answer", [(403, ""), (500, {"errors": ["x"]}), (404, ""), (200, {"other": 1}), (200, [])])
@pytest.mark.parametrize(
    ("call", "what"), [("checkpoints", "checkpoints"), ("config", "the checkpoint interval"), ("exceptions", "its exc")]
)
def test_what_one_call_does_not_tell_is_a_line_and_the_state_stands(server, call, what, answer):
    """Only `exceptions` may be empty of itself: there was none."""
    job = flink(server, **{call: answer}).read_job(NAME, 5)

    assert "RUNNING" == job.state
    if call == "exceptions" and answer == (200, {"other": 1}):
        assert (None, ()) == (job.cause, job.not_known)
        return
    (line,) = job.not_known
    assert line.startswith(f"{what}")
    if call == "checkpoints":
        assert (None, None, None) == (job.completed, job.failed, job.last_completed_at)
    if call == "config":
        assert (None, False) == (job.checkpoint_interval_s, job.checkpointing_off)


@pytest.mark.parametrize(
    "numbers", [{"start-time": "soon", "duration": None}, {"start-time": -1}, {"start-time": 2**70}, {"duration": -1}]
)
def test_a_time_that_is_none_is_none(server, numbers):
    """A job that has not begun, or a proxy that rewrites numbers."""
    assert flink(server, listed(**numbers)).read_job(NAME, 5).at is None


def test_one_deadline_holds_for_all_requests(server):
    """A JobManager that hangs after the list costs no more than was given; the state is still told."""
    client = flink(server)
    server.delay_s = 0.4
    started_s = time.monotonic()
    job = client.read_job(NAME, 0.7)

    assert time.monotonic() - started_s < 1.0
    assert ("RUNNING", 3) == (job.state, len(job.not_known))


def test_nobody_is_there_is_unreachable_and_nothing_was_sent():
    """A refused connection is certain."""
    with pytest.raises(Unreachable) as raised:
        HttpFlink(JsonHttp("http://127.0.0.1:1")).read_job(NAME, 2)

    assert not raised.value.sent


def test_the_server_says_its_version_and_which_calls_it_answers(server):
    """Tried on the newest job; a job without checkpoints has answered too."""
    off = (404, {"errors": ["x: Checkpointing was not enabled for job x"]})
    facts = flink(server, checkpoints=off, exceptions=(403, "")).read_server(5)

    assert ("Apache Flink", "2.2.1") == (facts.kind, facts.version)
    assert ["GET /v1/jobs/ID/exceptions"] == [call for call, reason in facts.calls.items() if reason]
    assert 5 == len(facts.calls)
    assert json.dumps(dict(facts.calls)).count("answered 403") == 1


def test_a_cluster_without_a_job_is_asked_for_its_version_alone(server):
    """There is nothing to try the other calls on."""
    server["GET /v1/jobs/overview"] = (200, {"jobs": []})
    server["GET /v1/overview"] = (200, {"flink-version": "2.2.1"})

    assert {"GET /v1/jobs/overview": None, "GET /v1/overview": None} == HttpFlink(JsonHttp(server.url)).read_server(
        5
    ).calls
