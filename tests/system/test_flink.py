"""A real Flink job commits its checkpoints to real Kafka: what it looks like from both, and what the bot says of it.

Three jobs read the same topic, ten records a second in each partition: one whose checkpoints succeed until a test makes
them fail, and which is cancelled in the end; one whose records are held back, so that its barriers never arrive; one
without checkpoints. Each is looked at as the sampler does, with the JobManager's REST API and without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.clients.flink import HttpFlink
from bot.clients.http import JsonHttp
from bot.doctor import flink as flink_part
from bot.model import ConsumerGroup, FlinkJob, GroupKind, Pipeline, Status
from bot.ports import Missing
from tests.system.conftest import _need
from tests.system.fetch import Available
from tests.system.lag_lab import Lab
from tests.system.parts import Flink, Kafka, NotInTime, wait_until

TOPIC = "flink.customers"
CHECKPOINT_S = 3
GROUP, JOB = "customers_canonical_flink", "customers-canonical"
HELD_GROUP, HELD_JOB = "orders_canonical_flink", "orders-canonical"
OFF_GROUP, OFF_JOB = "stock_canonical_flink", "stock-canonical"


@dataclass
class Line:
    """What the tests look at: a topic that is written all the time, and the jobs that read it."""

    kafka: Kafka
    part: Flink
    flink: HttpFlink
    lab: Lab
    jobs: dict[str, str]

    def job(self, name: str) -> FlinkJob:
        return self.flink.read_job(name, 5)

    def stopped_by_commits_alone(self, group: str) -> None:
        """Wait until a bot without the REST API says STOPPED, and on what ground."""
        said: list[str] = []

        def is_said() -> bool:
            finding = self.lab.look(group, flink=None)
            said[:] = [finding.verdict, *finding.evidence, *finding.not_known]
            return finding.verdict == "STOPPED" and any("judged by commits alone" in words for words in said)

        try:
            wait_until(is_said, f"{group} STOPPED by commits alone", 30, 0.5)
        except NotInTime as error:
            raise AssertionError(f"{error}: {said}") from error


@pytest.fixture(scope="module")
def line(available: Available, scratch: Path, kafka: Kafka) -> Iterator[Line]:
    _need(available, "flink", "flink-job")
    with Flink(available, scratch / "flink", kafka.bootstrap) as part:
        flink = HttpFlink(JsonHttp(part.url))
        with Lab(kafka.bootstrap, every_s=1.5, flink=flink) as lab:
            lab.topic(TOPIC, partitions=2)
            for partition in (0, 1):
                lab.produce_at(TOPIC, 10, partition)
            jobs = {
                JOB: part.submit(JOB, GROUP, TOPIC, CHECKPOINT_S),
                HELD_JOB: part.submit(HELD_JOB, HELD_GROUP, TOPIC, CHECKPOINT_S),
                OFF_JOB: part.submit(OFF_JOB, OFF_GROUP, TOPIC, None),
            }
            for group, job in ((GROUP, JOB), (HELD_GROUP, HELD_JOB), (OFF_GROUP, OFF_JOB)):
                lab.watch(group, TOPIC, GroupKind.FLINK, job=job)
            lab.until(HELD_GROUP, "OK")
            part.hold(HELD_JOB)
            yield Line(kafka, part, flink, lab, jobs)


def test_a_job_that_checkpoints_is_healthy_though_its_group_is_empty(line: Line) -> None:
    """To Kafka it is a group without members that somebody commits for; its lag is a sawtooth of one checkpoint."""
    assert "OK" == line.lab.until(GROUP, "OK").verdict
    wait_until(lambda: (line.job(JOB).completed or 0) >= 5, "enough checkpoints to learn their interval from")
    findings = [line.lab.until(GROUP, "OK", 10) for _ in range(3)]

    assert {("EMPTY", 0)} == {(finding.facts["state"], finding.facts["members"]) for finding in findings}
    assert {Status.GREEN} == {finding.status for finding in findings}
    admin = line.kafka.admin()
    described = admin.describe_consumer_groups([GROUP])[GROUP].result(10)
    assert (True, []) == (described.is_simple_consumer_group, described.members)
    committed = findings[-1].facts["committed_total"]
    assert committed > 0
    job = line.job(JOB)
    assert ("RUNNING", 3.0, 0) == (job.state, job.checkpoint_interval_s, job.failed_since_completed)
    assert job.at is not None and job.last_completed_at is not None
    assert 0 <= (job.at - job.last_completed_at).total_seconds() < 4 * CHECKPOINT_S
    assert () == job.not_known


def test_a_running_job_whose_checkpoints_fail_is_not_checkpointing(line: Line) -> None:
    """It reads on, and nothing of it is committed: the file system of its checkpoints refuses it. Then it is put right.

    Without the REST API the same commits are all there is to judge by, and that is said.
    """
    line.part.break_checkpoints(line.jobs[JOB])
    finding = line.lab.until(GROUP, "NOT_CHECKPOINTING")
    job = line.job(JOB)

    assert ("RUNNING", True) == (job.state, job.failed_since_completed >= 1)
    assert job.failure is not None and "IO-problem" in job.failure
    assert "IO-problem" in " ".join(finding.evidence)
    assert Status.GREEN != finding.status
    line.stopped_by_commits_alone(GROUP)

    line.part.mend_checkpoints(line.jobs[JOB])
    line.lab.until(GROUP, "OK")


def test_a_checkpoint_that_waits_behind_held_records_is_overdue(line: Line) -> None:
    """Back pressure fails no checkpoint for ten minutes: the one that runs tells since when."""
    finding = line.lab.until(HELD_GROUP, "NOT_CHECKPOINTING")
    job = line.job(HELD_JOB)

    assert ("RUNNING", 0) == (job.state, job.failed_since_completed)
    assert job.at is not None and job.in_progress_since is not None
    assert (job.at - job.in_progress_since).total_seconds() > 2 * CHECKPOINT_S
    assert Status.GREEN != finding.status


def test_a_job_without_checkpoints_is_told(line: Line) -> None:
    """It reads everything and commits nothing for ever."""
    job = line.job(OFF_JOB)

    assert ("RUNNING", True, None) == (job.state, job.checkpointing_off, job.checkpoint_interval_s)
    assert "OK" != line.lab.look(OFF_GROUP).verdict


def test_the_doctor_tells_the_sound_job_from_the_others(line: Line) -> None:
    """By the same REST API: version, and a line for each job of cdc.yml."""
    groups = ((GROUP, JOB), (HELD_GROUP, HELD_JOB), (OFF_GROUP, OFF_JOB), ("g", "customer-canonical"))
    consumers = tuple(ConsumerGroup(group, GroupKind.FLINK, job) for group, job in groups)
    facts = flink_part.gather(line.flink, line.flink, line.part.url, [Pipeline("p", "#c", consumers=consumers)], 5)
    checks = flink_part.judge(facts)

    assert ("ok", f"Apache Flink 2.2.1 at {line.part.url}") == (str(checks[0].status), checks[0].what)
    told = {name: [str(c.status) for c in checks[1:] if name in c.what.split(":")[0]] for _, name in groups}
    assert {JOB: ["ok"], HELD_JOB: ["warning"], OFF_JOB: ["failed"], "customer-canonical": ["failed"]} == told


def test_a_cancelled_job_is_stopped(line: Line) -> None:
    """With the REST API its state says so; without it the commits that stopped do, and that is said.

    A job that is not there is missing, with the name that was meant.
    """
    line.part.cancel(line.jobs[JOB])
    finding = line.lab.until(GROUP, "STOPPED")
    job = line.job(JOB)

    assert ("CANCELED", True, None) == (job.state, job.ended_at is not None, job.at)
    assert Status.RED == finding.status
    assert "CANCELED" in " ".join(finding.evidence)
    line.stopped_by_commits_alone(GROUP)
    with pytest.raises(Missing, match="did you mean customers-canonical"):
        line.job("customer-canonical")
