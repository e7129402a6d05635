"""A Connect sink's lag on the real pipeline: the dead-lettered tail that stays for ever, and the sink that is gone."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from bot.clients.kafka_cluster import ConfluentCluster
from bot.model import ConsumerGroup, Finding, GroupKind, Status
from bot.probes.consumer_lag import Watched, finding_of, look_at
from bot.probes.sources import Sources
from tests.system.lag_lab import Lab
from tests.system.parts import wait_until
from tests.system.pipeline import Pipeline


def now() -> datetime:
    return datetime.now(UTC)


def test_a_dead_lettered_tail_is_residual_and_its_headers_are_the_evidence(
    new_pipeline: Callable[..., Pipeline],
) -> None:
    """A sink commits no offset for a dead-lettered tail: lag 1 on each partition for ever, and nothing is behind."""
    pipeline = new_pipeline("residue")
    pipeline.insert(20)
    pipeline.wait_for_rows(21)
    pipeline.produce_poison(2)
    pipeline.wait_for_dead_letters(2)
    kafka = ConfluentCluster({"bootstrap.servers": pipeline.cluster.kafka.bootstrap}, now)
    sink = Watched(ConsumerGroup(pipeline.group, GroupKind.CONNECT_SINK, None, (pipeline.topic,)), dlq=pipeline.dlq)

    def look() -> Finding:
        return finding_of(look_at(Sources(kafka, deadline_s=8), sink), now())

    wait_until(lambda: pipeline.total_lag() == 2, "all but the tail is committed", 90)
    finding = look()
    assert ("RESIDUAL", 2) == (finding.verdict, finding.facts["lag_records"]), finding.evidence
    assert finding.status is not Status.RED
    assert "DLQ" in finding.evidence[0]
    partitions = [entry for topic in finding.facts["topics"] for entry in topic["partitions"]]
    named = {
        (int(dict(letter.headers)["__connect.errors.partition"] or b""),
         int(dict(letter.headers)["__connect.errors.offset"] or b""))
        for letter in pipeline.dead_letters()
    }  # fmt: skip
    assert named == {(entry["partition"], entry["committed_offset"]) for entry in partitions}, "the headers name them"

    without = finding_of(look_at(Sources(kafka, deadline_s=8), replace(sink, dlq=None)), now())
    assert "RESIDUAL" != without.verdict, "without the queue's headers the tail is just unread"


def test_a_stopped_sink_is_stopped(new_pipeline: Callable[..., Pipeline]) -> None:
    """Its group is empty at two reads, and rows go on arriving."""
    pipeline = new_pipeline("stops")
    with Lab(pipeline.cluster.kafka.bootstrap) as lab:
        lab.watch(pipeline.group, pipeline.topic, GroupKind.CONNECT_SINK)
        pipeline.stop_sink()
        pipeline.insert(30)
        finding = lab.until(pipeline.group, "STOPPED", 60)
        assert (Status.RED, 0) == (finding.status, finding.facts["members"])
