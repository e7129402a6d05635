"""What holds for any reads at all: seeded, so that a failure can be run again."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bot.lag.judge import Beside, judge_group
from bot.lag.track import follow
from bot.lag.verdict import Verdict
from bot.model import FlinkJob, GroupKind, GroupOffsets, Member, PartitionOffsets, Retention
from tests.unit.lag.lag_reads import OBJECTIVE, T0, group, tracked

V = Verdict
NOT_HEALTHY = set(V) - {V.OK}


def any_partition(seed: random.Random, topic: str, number: int, end: int) -> PartitionOffsets:
    """Return offsets in any order, known or not."""
    latest = None if seed.random() < 0.1 else max(0, end + seed.randint(-40, 60))
    committed = None if seed.random() < 0.15 else seed.choice([end, max(0, end - seed.randint(0, 300)), end + 500])
    earliest = None if seed.random() < 0.1 else seed.choice([0, 0, 0, max(0, end - 100)])
    stable = None if latest is None or seed.random() < 0.5 else max(0, latest - seed.randint(0, 50))
    error = seed.choice([None, None, None, "timed out", "Broker: Unknown topic or partition"])
    known = committed is not None or seed.random() < 0.5
    return PartitionOffsets(topic, number, committed, earliest, latest, known, error, stable)


def any_reads(seed: random.Random) -> list[GroupOffsets]:
    """Return reads at any times: of partitions that come and go, members that may not be told."""
    reads, at_s, end = [], 0.0, seed.randint(0, 1000)
    for _ in range(seed.randint(1, 25)):
        at_s += seed.choice([0.5, 1.5, 28.5, 30, 30, 30, 300, 20_000])
        end += seed.choice([0, 0, 5, 200, 10_000])
        partitions = [
            any_partition(seed, topic, number, end)
            for topic in ("a", "b")
            for number in range(4)
            if seed.random() < 0.9
        ]
        ids = seed.sample("pqrst", seed.randint(0, 4))
        members = seed.choice([None, len(ids), len(ids), len(ids)])
        people = tuple(Member(name, name, "/h", (("a", 0),)) for name in ids) if members else ()
        state = seed.choice([None, "STABLE", "STABLE", "EMPTY", "PREPARING_REBALANCE"])
        reads.append(group(*partitions, after_s=at_s, members=members, state=state, membership=people))
    return reads


def anything_beside(seed: random.Random) -> Beside:
    state = seed.choice(["RUNNING", "FAILED", "RESTARTING"])
    job = FlinkJob("j", "1", state, T0, 60.0, last_completed_at=T0) if seed.random() < 0.5 else None
    ladders = {("a", number): {T0: seed.choice([None, 0, 100, 5000])} for number in range(3)}
    return Beside(
        OBJECTIVE,
        seed.choice(list(GroupKind)),
        seed.choice([None, 5.0, 60.0]),
        retention=seed.choice([{}, {"a": Retention(86_400, 1000)}]),
        ladders=seed.choice([{}, ladders]),
        holds_record=seed.choice([{}, {("b", 1): False, ("b", 2): True}]),
        job=job,
    )


@pytest.mark.parametrize("number", range(400))
def test_whatever_was_read_there_is_a_verdict_and_no_negative_number(number):
    """No exception; no lag, age, rate or time below 0; what is unknown is never shown as healthy."""
    seed = random.Random(number)
    reads, beside, track = any_reads(seed), anything_beside(seed), None
    for read in reads:
        track = follow(track, read)
        judgement = judge_group(track, beside)
        numbers = [
            judgement.lag_records,
            judgement.at_least_records,
            judgement.trough_records,
            judgement.eta_s,
            judgement.eta_min_s,
            judgement.eta_max_s,
            judgement.consumed_per_s,
            judgement.produced_per_s,
            *(one.lag_records for one in judgement.partitions),
            *(one.eta_s for one in judgement.partitions),
        ]
        assert all(one is None or one >= 0 for one in numbers)
        assert len(judgement.partitions) == len(read.partitions)
        assert len(judgement.advice) <= 2
        assert judgement.evidence
        for offsets, judged in zip(read.partitions, judgement.partitions, strict=True):
            if offsets.lag_records is None or offsets.earliest is None:
                assert judged.verdict in NOT_HEALTHY
        if any(judged.verdict is V.UNKNOWN for judged in judgement.partitions):
            assert judgement.verdict.rank <= V.UNKNOWN.rank
        if judgement.lag_records is not None and judgement.trough_records is not None:
            assert judgement.trough_records <= judgement.lag_records


@pytest.mark.parametrize("number", range(60))
def test_the_order_of_partitions_does_not_change_the_verdict(number):
    """Not even from one read to the next."""
    seed = random.Random(number)
    reads, beside = any_reads(seed), anything_beside(seed)

    def shuffled(read: GroupOffsets) -> GroupOffsets:
        topics = sorted({one.topic for one in read.partitions}, reverse=seed.random() < 0.5)
        mixed = [
            one for topic in topics for one in seed.sample(read.partitions, len(read.partitions)) if one.topic == topic
        ]
        return replace(read, partitions=tuple(mixed))

    sorted_, mixed = tracked(*reads), tracked(*(shuffled(read) for read in reads))

    one, other = judge_group(sorted_, beside), judge_group(mixed, beside)
    assert (one.verdict, one.evidence, one.advice) == (other.verdict, other.evidence, other.advice)
    assert sorted(one.partitions) == sorted(other.partitions, key=lambda judged: (judged.topic, judged.partition))
    assert (one.lag_records, one.eta_s, one.trough_records) == (other.lag_records, other.eta_s, other.trough_records)


@pytest.mark.parametrize("number", range(40))
def test_one_read_proves_only_what_needs_no_history(number):
    """Whatever it shows: loss, nothing committed, residue, or all read."""
    seed = random.Random(number)
    read, beside = any_reads(seed)[0], replace(anything_beside(seed), job=None)

    verdicts = {one.verdict for one in judge_group(tracked(read), beside).partitions}

    assert verdicts <= {V.DATA_LOST, V.LOSS_IMMINENT, V.NEVER_COMMITTED, V.RESIDUAL, V.OK, V.UNKNOWN}
