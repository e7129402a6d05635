"""The sampler learns from every read, forgets nothing over a restart, and waits for nobody longer than a pass."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.lag.track import GroupTrack
from bot.lag.verdict import Verdict
from bot.model import ConsumerGroup, GroupOffsets, PartitionKey, PartitionOffsets, Retention
from bot.ports import Denied, GroupEntry, KafkaListing, PortError, Unreachable
from bot.probes.consumer_lag import Watched
from bot.probes.sources import Sources
from bot.sampler import LISTED_EVERY_S, MOST_NOTED, EveryGroup, Sampler, named_groups
from bot.store.look_samples import look_samples
from bot.store.samples import Samples
from tests.unit.shell.conftest import T0, Clock

PAID, SHIPPED = Watched(ConsumerGroup("paid", topics=("orders",))), Watched(ConsumerGroup("shipped"))


@dataclass
class FakeKafka:
    """Groups as `groups` has them now: an end and a commit per partition, or why they cannot be read."""

    clock: Clock
    groups: dict[str, list[tuple[int, int]] | PortError] = field(default_factory=dict)
    asked: list[Mapping[str, Sequence[str]]] = field(default_factory=list)
    slow_topics: set[str] = field(default_factory=set)
    is_deaf: bool = False
    times_asked: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def read(self, group: str) -> GroupOffsets:
        found = self.groups[group]
        assert not isinstance(found, PortError)
        partitions = tuple(
            PartitionOffsets(f"of-{group}", number, committed, 0, latest, last_stable=latest)
            for number, (committed, latest) in enumerate(found)
        )
        return GroupOffsets(group, self.clock(), "STABLE", 1, partitions)

    def read_groups(
        self, wanted: Mapping[str, Sequence[str]], deadline_s: float
    ) -> Mapping[str, GroupOffsets | PortError]:
        self.asked.append(dict(wanted))
        answers: dict[str, GroupOffsets | PortError] = {}
        for group in wanted:
            found = self.groups.get(group)
            if found is not None:
                answers[group] = found if isinstance(found, PortError) else self.read(group)
        return answers

    def read_group(self, group: str, topics: Sequence[str], deadline_s: float) -> GroupOffsets:
        return self.read(group)

    def read_retention(self, topics: Sequence[str], deadline_s: float) -> Mapping[str, Retention | PortError]:
        if slow := self.slow_topics.intersection(topics):
            self.released.wait(10 if self.is_deaf else deadline_s)
        late = Unreachable("no answer in time")
        return {topic: late if topic in slow else Retention(7 * 86400.0, None) for topic in topics}

    def read_offsets_at(
        self, asked: Mapping[PartitionKey, Sequence[datetime]], deadline_s: float
    ) -> Mapping[PartitionKey, Mapping[datetime, int | None]]:
        self.times_asked += sum(map(len, asked.values()))
        return {key: {at: None if at > self.clock() else 95 for at in times} for key, times in asked.items()}

    def holds_record(self, starts: Mapping[PartitionKey, int], deadline_s: float) -> Mapping[PartitionKey, bool]:
        return dict.fromkeys(starts, True)

    def read_topic(self, topic: str, deadline_s: float) -> Any:
        raise Unreachable("not asked here")

    def sample_tail(self, topic: str, count: int, deadline_s: float) -> Any:
        raise Unreachable("not asked here")


class Bench:
    """A sampler on a file, stepped by hand; `again` is the next process on the same file, the last one killed."""

    def __init__(self, path: Path) -> None:
        self.clock, self.path = Clock(), path
        self.kafka = FakeKafka(self.clock)
        self.errors: Counter[str] = Counter()
        self.watched: list[Watched] = [PAID, SHIPPED]
        self.every_s = 30.0
        self.open: list[tuple[Sampler, Samples]] = []

    def again(self) -> Sampler:
        samples = Samples(self.path)
        sampler = Sampler(
            samples, Sources(kafka=self.kafka), lambda: self.watched, self.clock, self.count, 7 * 86400.0, self.every_s
        )
        self.open.append((sampler, samples))
        return sampler

    def count(self, reason: str) -> None:
        self.errors[reason] += 1

    def passes(self, sampler: Sampler, count: int, step: Callable[[int], None] = lambda n: None) -> None:
        for number in range(count):
            step(number)
            sampler.look()
            self.clock.passes(30)

    def close(self) -> None:
        for sampler, samples in self.open:
            sampler.close()
            samples.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "cdc-oncall.samples.db")
    made.kafka.groups = {"paid": [(90, 100), (50, 50)], "shipped": [(7, 7)]}
    yield made
    made.close()


def track_of(sampler: Sampler, group: str) -> GroupTrack:
    track = sampler.track_of(group)
    assert track is not None
    return track


def test_a_pass_reads_judges_and_stores_every_watched_group(bench: Bench) -> None:
    """All in one question to Kafka, with the topics that are configured; what was read is in the file."""
    sampler = bench.again()
    assert ((), None) == (sampler.latest(), sampler.looked_s())
    sampler.look()
    bench.clock.passes(2)
    paid, shipped = sampler.latest()
    assert [{"paid": ("orders",), "shipped": ()}] == bench.kafka.asked
    assert (PAID, 10, None) == (paid.watched, paid.judgement and paid.judgement.lag_records, paid.error)
    assert Verdict.OK is (shipped.judgement and shipped.judgement.verdict)
    assert 2.0 == sampler.looked_s()
    assert (track_of(sampler, "paid").newest,) == look_samples(bench.path, "paid", T0)


def test_what_was_learned_outlives_the_process(bench: Bench) -> None:
    """A track over the stored samples is the track before the kill; the next read goes on from it."""
    bench.kafka.groups["shipped"] = [(0, 0)]

    def move(number: int) -> None:
        bench.kafka.groups["paid"] = [(100 * (number // 2), 120 * number), (50, 50 + number)]

    before = bench.again()
    bench.passes(before, 40, move)
    after = bench.again()
    assert track_of(before, "paid") == track_of(after, "paid")
    assert track_of(before, "shipped") == track_of(after, "shipped")
    move(40)
    before.look()
    third = bench.again()
    after.look()
    assert track_of(before, "paid") == track_of(after, "paid") == track_of(third, "paid")
    judged, judged_after = (each.latest()[0].judgement for each in (before, after))
    assert judged is not None
    assert judged_after is not None
    assert judged.partitions == judged_after.partitions
    assert (judged.evidence, judged.consumed_per_s) == (judged_after.evidence, judged_after.consumed_per_s)


def test_a_restart_after_a_long_night_begins_anew(bench: Bench) -> None:
    """Samples of yesterday say nothing of now: rates over them would be lies."""
    before = bench.again()
    bench.passes(before, 3)
    bench.clock.passes(86400)
    after = bench.again()
    after.look()
    assert 1 == len(track_of(after, "paid").reads)


def test_a_group_that_cannot_be_read_is_its_own_trouble(bench: Bench) -> None:
    """Its look carries the error and no judgement; who was not answered is unreachable; the others are judged."""
    sampler = bench.again()
    bench.watched.append(Watched(ConsumerGroup("silent")))
    sampler.look()
    bench.clock.passes(30)
    bench.kafka.groups["paid"] = Denied("needs DESCRIBE on group paid")
    sampler.look()
    paid, shipped, silent = sampler.latest()
    assert (None, "needs DESCRIBE on group paid") == (paid.judgement, str(paid.error))
    assert T0 == (paid.track and paid.track.newest.at)
    assert Verdict.OK is (shipped.judgement and shipped.judgement.verdict)
    assert (None, None) == (silent.track, silent.judgement)
    assert isinstance(silent.error, Unreachable)


@pytest.mark.parametrize(
    ("is_deaf", "of_paid", "of_shipped"),
    [(False, "no answer in time", None), (True, "took too long", "took too long")],
)
def test_what_is_slow_ends_with_the_pass(bench: Bench, is_deaf: bool, of_paid: str, of_shipped: str | None) -> None:
    """What is beside unread data is not waited for longer than a pass, even where a client forgets its deadline.

    All groups are judged, who lacks something says so, and what was read is stored. The next pass asks again.
    """
    bench.every_s = 1.0
    bench.kafka.groups["shipped"] = [(1, 7)]
    bench.kafka.slow_topics, bench.kafka.is_deaf = {"of-paid"}, is_deaf
    sampler = bench.again()
    began = time.monotonic()
    sampler.look()
    assert time.monotonic() - began < 2
    paid, shipped = sampler.latest()
    assert paid.judgement is not None
    assert shipped.judgement is not None
    assert any(of_paid in line for line in paid.not_known)
    assert (of_shipped is not None) is any(of_shipped or "" in line for line in shipped.not_known)
    assert 1 == len(look_samples(bench.path, "paid", T0))
    bench.kafka.slow_topics.clear()
    bench.kafka.released.set()
    time.sleep(0.05)
    bench.clock.passes(30)
    sampler.look()
    assert [()] * 2 == [look.not_known for look in sampler.latest()]


def test_what_a_broker_answered_by_time_is_not_asked_again(bench: Bench) -> None:
    """Past answers never change: the next pass asks for times that have moved on, of partitions with unread data."""
    sampler = bench.again()
    counts = []
    for number in range(4):
        sampler.look()
        counts.append(bench.kafka.times_asked)
        bench.clock.passes(30)
        bench.kafka.times_asked = 0
        assert len(sampler.ladder_of(("of-paid", 0))) <= 24, number
    assert counts[0] >= 17
    assert max(counts[1:]) < counts[0] / 1.5
    assert {} == sampler.ladder_of(("of-paid", 1))
    bench.kafka.groups["paid"] = [(100, 100), (50, 50)]
    sampler.look()
    assert {} == sampler.ladder_of(("of-paid", 0))


def test_what_probes_read_on_the_side_is_taken_in(bench: Bench) -> None:
    """Each such read is followed; it is stored when the newest sample is some seconds old."""
    sampler = bench.again()
    sampler.look()
    for seconds in (1, 3, 5):
        bench.clock.passes(seconds)
        sampler.note(bench.kafka.read("paid"))
    assert T0 + timedelta(seconds=9) == track_of(sampler, "paid").newest.at
    stored = [(each.at - T0).total_seconds() for each in look_samples(bench.path, "paid", T0)]
    assert [0.0, 9.0] == stored


def test_a_read_of_some_topics_only_is_not_the_groups(bench: Bench) -> None:
    """`/cdc lag GROUP --topic T` must not make the sampler think that the other topics are gone."""
    sampler = bench.again()
    sampler.look()
    bench.clock.passes(30)
    read = bench.kafka.read("paid")
    sampler.note(replace(read, partitions=read.partitions[:1]))
    assert T0 == track_of(sampler, "paid").newest.at
    sampler.note(read)
    assert read == track_of(sampler, "paid").newest


def test_reads_for_a_chart_are_bounded(bench: Bench) -> None:
    """A wide group's chart of a day costs what a narrow one's does."""
    sampler = bench.again()
    bench.passes(sampler, 20)
    assert 20 == len(sampler.reads("paid", T0, T0 + timedelta(seconds=570)))
    assert 2 == len(sampler.reads("paid", T0 + timedelta(seconds=30), T0 + timedelta(seconds=60)))
    wide = GroupOffsets("wide", T0, None, None, tuple(PartitionOffsets("t", n, 1, 0, 2) for n in range(10_000)))
    for number in range(30):
        bench.clock.passes(30)
        sampler.note(replace(wide, at=T0 + timedelta(seconds=30 * number)))
    assert 10 <= len(sampler.reads("wide", T0, T0 + timedelta(seconds=900))) <= 11


def test_a_full_disk_is_counted_once_and_told_to_health(bench: Bench) -> None:
    """The bot goes on from memory; when the disk has room again nothing is wrong any more."""
    bench.path.mkdir()
    sampler = bench.again()
    bench.passes(sampler, 4)
    assert {"samples": 1} == bench.errors
    assert ["cannot be written"] == [line[line.index("cannot") :][:17] for line in sampler.wrong()]
    assert 4 == len(sampler.reads("shipped", T0, bench.clock()))
    bench.path.rmdir()
    sampler.look()
    assert () == sampler.wrong()
    assert 5 == len(look_samples(bench.path, "shipped", T0))


def test_health_hears_that_sampling_stands_still(bench: Bench) -> None:
    """Not at once after the start, and not while passes end."""
    sampler = bench.again()
    bench.clock.passes(120)
    assert () == sampler.wrong()
    bench.clock.passes(1)
    assert ("the lag samples stand still: no pass over the groups has ended for 121 s",) == sampler.wrong()
    sampler.look()
    assert () == sampler.wrong()


def test_a_clock_set_back_begins_anew(bench: Bench) -> None:
    """Reads of a time that has not come are forgotten, or every read until then would be too old to follow."""
    sampler = bench.again()
    bench.passes(sampler, 3)
    bench.clock.passes(-7200)
    sampler.look()
    assert [bench.clock()] == [read.at for read in track_of(sampler, "paid").reads]
    sampler.prune()
    assert [bench.clock()] == [read.at for read in look_samples(bench.path, "paid", T0 - timedelta(days=1))]


def test_a_group_not_seen_for_a_day_is_forgotten(bench: Bench) -> None:
    """It is in no metric, in no memory, and no longer recalled."""
    sampler = bench.again()
    sampler.look()
    bench.watched.remove(PAID)
    bench.clock.passes(30)
    sampler.look()
    assert ["shipped"] == [look.watched.group for look in sampler.latest()]
    assert sampler.track_of("paid") is not None
    bench.clock.passes(86401)
    sampler.look()
    assert sampler.track_of("paid") is None


def test_the_tracks_of_asked_groups_are_bounded(bench: Bench) -> None:
    """`lag --all` over a large cluster is not kept for ever; the watched ones are never what gives way."""
    sampler = bench.again()
    sampler.look()
    for number in range(MOST_NOTED + 20):
        bench.clock.passes(0.1)
        sampler.note(replace(bench.kafka.read("paid"), group=f"asked-{number}"))
    sampler.look()
    assert MOST_NOTED + 2 == len(sampler._tracks)
    assert {"paid", "shipped"} <= sampler._tracks.keys()


def test_memory_stays_flat_over_many_passes(bench: Bench) -> None:
    """Hours of a moving group: what is learned is bounded."""
    sampler = bench.again()

    def move(number: int) -> None:
        state = [(number * 7 + p, number * 9 + p) for p in range(20)]
        bench.kafka.groups = {"paid": list(state), "shipped": list(state)}
        bench.kafka.asked.clear()

    def used() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    bench.passes(sampler, 100, move)
    tracemalloc.start()
    try:
        bench.passes(sampler, 100, move)
        before = used()
        bench.passes(sampler, 300, move)
        grown = used() - before
    finally:
        tracemalloc.stop()
    assert grown < 100_000


# --- which groups ---


@dataclass
class FakeCluster:
    listings: list[KafkaListing | PortError]

    def read_listing(self, deadline_s: float) -> KafkaListing:
        answer = self.listings.pop(0)
        if isinstance(answer, PortError):
            raise answer
        return answer

    def read_readers(self, groups: Sequence[str], topics: Sequence[str], deadline_s: float) -> KafkaListing:
        raise AssertionError("not asked")


def listing(*groups: str) -> KafkaListing:
    return KafkaListing("c1", 1, (), tuple(GroupEntry(group, "STABLE") for group in groups))


@dataclass
class Seconds:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_every_group_is_watched_but_throw_away_ones() -> None:
    """The Iceberg coordinator's groups are left out; a new group is seen after some minutes, while listing works."""
    errors, seconds = list[str](), Seconds()
    cluster = FakeCluster(
        [Unreachable("no broker"), listing("a", "cg-control-8f2c", "paid"), listing("b"), Unreachable("no broker")]
    )
    watched = EveryGroup([PAID], cluster, errors.append, seconds)
    seen = []
    for _ in range(4):
        seen.append([each.group for each in watched()])
        seconds.now_s += LISTED_EVERY_S
    assert [["paid"], ["paid", "a"], ["paid", "b"], ["paid", "b"]] == seen
    assert ["listing", "listing"] == errors


def test_named_groups_come_after_those_of_the_pipelines() -> None:
    """A group that a pipeline has is watched with what the pipeline says of it."""
    watched = named_groups([PAID], ["billing-stream", "paid", "billing-stream"])
    assert ["paid", "billing-stream"] == [each.group for each in watched]
    assert watched[0] is PAID
