"""What is asked beside a read of a group: how much, when, and what is said of what could not be had."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from bot.lag.ladder import EPOCH
from bot.lag.track import GroupTrack, follow
from bot.model import (
    ConsumerGroup,
    FlinkJob,
    GroupKind,
    GroupOffsets,
    Member,
    PartitionKey,
    PartitionOffsets,
    Retention,
)
from bot.ports import Denied, Missing, PortError, TailSample, Unreachable
from bot.probes.consumer_lag import Watched, beside_of, besides_of, finding_of, look_at
from bot.probes.sources import Sources
from tests.unit.quiet_kafka import QuietKafka

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
WRITTEN_EVERY_S = 60


@dataclass
class Log(QuietKafka):
    """A log with a record a minute in each partition, offset 0 first; `refuses` maps a question to its error."""

    ends: Mapping[PartitionKey, int] = field(default_factory=dict)
    committed: Mapping[PartitionKey, int] = field(default_factory=dict)
    retention_s: float = 7 * 86_400
    refuses: Mapping[str, Exception] = field(default_factory=dict)
    asked: list[tuple[str, object]] = field(default_factory=list)
    together: threading.Barrier | None = None
    membership: tuple[Member, ...] = ()
    at: list[datetime] = field(default_factory=lambda: [AT])

    def _told(self, question: str, what: object) -> None:
        self.asked.append((question, what))
        if self.together is not None:
            self.together.wait(5)
        if question in self.refuses:
            raise self.refuses[question]

    def read_group(self, group: str, topics: Sequence[str], deadline_s: float) -> GroupOffsets:
        self._told("group", group)
        at = self.at.pop(0) if len(self.at) > 1 else self.at[0]
        partitions = tuple(
            PartitionOffsets(*key, self.committed.get(key), 0, end) for key, end in sorted(self.ends.items())
        )
        return GroupOffsets(group, at, "STABLE", 1, partitions, membership=self.membership)

    def read_offsets_at(
        self, asked: Mapping[PartitionKey, Sequence[datetime]], deadline_s: float
    ) -> Mapping[PartitionKey, Mapping[datetime, int | None]]:
        self._told("times", {key: tuple(times) for key, times in asked.items()})
        return {key: {at: self._first_at(key, at) for at in times} for key, times in asked.items()}

    def _first_at(self, key: PartitionKey, at: datetime) -> int | None:
        began = AT - timedelta(seconds=WRITTEN_EVERY_S * self.ends[key])
        offset = max(0, -(-int((at - began).total_seconds()) // WRITTEN_EVERY_S))
        return offset if offset < self.ends[key] else None

    def read_retention(self, topics: Sequence[str], deadline_s: float) -> Mapping[str, Retention | PortError]:
        self._told("retention", tuple(topics))
        return {topic: Retention(self.retention_s, None) for topic in topics}

    def holds_record(self, starts: Mapping[PartitionKey, int], deadline_s: float) -> Mapping[PartitionKey, bool]:
        self._told("records", dict(starts))
        return dict.fromkeys(starts, False)

    def sample_tail(self, topic: str, count: int, deadline_s: float) -> TailSample:
        self._told("dlq", topic)
        raise AssertionError("not in these tests")


class Jobs:
    def __init__(self, answer: FlinkJob | PortError) -> None:
        self._answer = answer

    def read_job(self, name: str, deadline_s: float) -> FlinkJob:
        if isinstance(self._answer, PortError):
            raise self._answer
        return self._answer


BEHIND = {("t", 0): 1000}


def tracked(log: Log, group: str = "g") -> GroupTrack:
    return follow(None, log.read_group(group, (), 1.0))


def asked(log: Log, question: str) -> list[object]:
    return [what for name, what in log.asked if name == question]


def test_nothing_is_asked_beside_a_group_that_has_read_all() -> None:
    """A quiet group costs its read and no more."""
    log = Log(BEHIND, {("t", 0): 1000})
    look = look_at(Sources(kafka=log), Watched(ConsumerGroup("g")))  # type: ignore[arg-type]

    assert ["group"] == [question for question, _ in log.asked]
    assert () == look.not_known


def test_how_old_the_oldest_unread_record_is_takes_two_rounds() -> None:
    """The second lies inside the bounds of the first, and holds the time that retention is judged by."""
    log = Log(BEHIND, {("t", 0): 940})
    finding = finding_of(look_at(Sources(kafka=log), Watched(ConsumerGroup("g"))), AT)  # type: ignore[arg-type]
    first, second = asked(log, "times")

    assert EPOCH in first[("t", 0)]  # type: ignore[index]
    assert not set(first[("t", 0)]) & set(second[("t", 0)])  # type: ignore[index]
    low, high = finding.facts["time_lag_min_s"], finding.facts["time_lag_max_s"]
    assert low <= 3600 <= high <= 1.2 * low
    assert any(line.startswith("oldest unread record is ") for line in finding.evidence)
    margin = finding.facts["margin_s"], finding.facts["margin_max_s"]
    assert margin[0] <= 7 * 86_400 - 3600 <= margin[1]


def test_what_is_remembered_by_time_is_not_asked_again_but_for_what_was_not_there_yet() -> None:
    """Past answers never change; `no record that new` is of its moment, and so is whether the broker can tell."""
    log = Log(BEHIND, {("t", 0): 940})
    kept: dict[PartitionKey, Mapping[datetime, int | None]] = {}
    remembering = Sources(kafka=log, ladder_of=lambda key: kept.get(key, {}), note_ladders=kept.update)  # type: ignore[arg-type]
    track = tracked(log)
    beside_of(remembering, Watched(ConsumerGroup("g")), track, 2.0)
    before = {at for each in asked(log, "times") for at in each[("t", 0)]}  # type: ignore[index]
    log.asked.clear()
    beside_of(remembering, Watched(ConsumerGroup("g")), track, 2.0)
    again = {at for each in asked(log, "times") for at in each[("t", 0)]}  # type: ignore[index]

    assert {EPOCH, *(at for at in before if log._first_at(("t", 0), at) is None)} == again


def test_several_groups_are_asked_as_one() -> None:
    """A partition that two groups read is asked once, and each gets its own bounds."""
    log = Log(BEHIND, {("t", 0): 940})
    early = Log(BEHIND, {("t", 0): 500})
    sources = Sources(kafka=log)  # type: ignore[arg-type]
    groups = [(Watched(ConsumerGroup("g")), tracked(log)), (Watched(ConsumerGroup("h")), tracked(early, "h"))]
    log.asked.clear()
    besides = besides_of(sources, groups, 2.0)

    assert 2 == len(asked(log, "times"))
    assert 1 == len(asked(log, "retention"))
    assert [{("t", 0)}, {("t", 0)}] == [set(beside.ladders) for beside, _ in besides]


def test_what_does_not_need_each_other_is_asked_at_once() -> None:
    """Retention, ages and the short tail: three questions wait for each other here, or nobody gets on."""
    log = Log(BEHIND, {("t", 0): 995})
    track = tracked(log)
    log.together = threading.Barrier(3)
    log.refuses = {"times": Unreachable("down")}  # so that there is no second round

    _, not_known = beside_of(Sources(kafka=log), Watched(ConsumerGroup("g")), track, 2.0)  # type: ignore[arg-type]

    assert ("how old the oldest unread record is: down",) == not_known


@pytest.mark.parametrize(
    ("looked_into", "before", "now"),
    [
        (True, None, 990),  # one look, ten unread
        (False, None, 989),  # one look, eleven unread
        (True, 995, 995),  # stands still
        (False, 994, 995),  # its commit moved
    ],
)
def test_a_tail_is_looked_into_when_it_is_short_and_stands_still(
    looked_into: bool, before: int | None, now: int
) -> None:
    """It takes a consumer of its own and READ on the topic."""
    log = Log(BEHIND, {("t", 0): now})
    earlier = None
    if before is not None:
        earlier = follow(None, Log(BEHIND, {("t", 0): before}, at=[AT - timedelta(seconds=30)]).read_group("g", (), 1))
    track = follow(earlier, log.read_group("g", (), 1))
    beside, _ = beside_of(Sources(kafka=log), Watched(ConsumerGroup("g")), track, 2.0)  # type: ignore[arg-type]

    assert ({("t", 0): False} if looked_into else {}) == beside.holds_record


def test_many_short_tails_are_looked_into_once_they_stand_still() -> None:
    """A busy group of a thousand partitions has a short tail everywhere, at any one moment."""
    ends = {("t", n): 100 for n in range(1000)}
    log = Log(ends, {("t", n): 97 for n in range(1000)})
    track = tracked(log)
    beside, _ = beside_of(Sources(kafka=log), Watched(ConsumerGroup("g")), track, 2.0)  # type: ignore[arg-type]
    log.at = [AT + timedelta(seconds=30)]
    later, _ = beside_of(
        Sources(kafka=log),  # type: ignore[arg-type]
        Watched(ConsumerGroup("g")),
        follow(track, log.read_group("g", (), 1)),
        2.0,
    )

    assert (0, 1000) == (len(beside.holds_record), len(later.holds_record))


def test_a_lacking_permission_names_what_is_not_known_for_it() -> None:
    """Each is a line; what could be had is still judged."""
    log = Log(
        BEHIND,
        {("t", 0): 995},
        refuses={"records": Denied("needs the ACL READ on topic t"), "times": Unreachable("no answer")},
    )
    sources = Sources(kafka=log, flink=Jobs(Missing("no job orders at http://flink:8081")))  # type: ignore[arg-type]
    look = look_at(sources, Watched(ConsumerGroup("g", GroupKind.FLINK, job="orders")))
    finding = finding_of(look, AT)

    assert {
        "how old the oldest unread record is: no answer",
        "whether the unread tail holds a record: needs the ACL READ on topic t",
        "Flink job: no job orders at http://flink:8081",
    } == set(look.not_known)
    assert look.beside is not None
    assert "no job orders at http://flink:8081" == look.beside.job_error
    assert {("t", 0)} == look.beside.unseen_tails
    assert set(look.not_known) <= set(finding.not_known)
    assert 1 == sum("how old" in line for line in finding.not_known)


def test_the_flink_job_is_asked_for_by_its_name() -> None:
    """Only where the group is one of Flink's, has unread data, and names its job."""
    job = FlinkJob("orders", "a1", "RUNNING")
    sources = Sources(kafka=Log(BEHIND, {("t", 0): 940}), flink=Jobs(job))  # type: ignore[arg-type]
    look = look_at(sources, Watched(ConsumerGroup("g", GroupKind.FLINK, job="orders")))
    other = look_at(sources, Watched(ConsumerGroup("g", GroupKind.CONSUMER, job="orders")))

    assert (job, None) == (look.beside and look.beside.job, other.beside and other.beside.job)


def test_the_flink_job_is_asked_for_before_the_first_commit() -> None:
    """Checkpoints that never complete are why there is none."""
    job, log = FlinkJob("orders", "a1", "RUNNING", checkpointing_off=True), Log(BEHIND, {})
    sources = Sources(kafka=log, flink=Jobs(job))  # type: ignore[arg-type]
    look = look_at(sources, Watched(ConsumerGroup("g", GroupKind.FLINK, job="orders")))

    assert look.judgement is not None
    assert "NOT_CHECKPOINTING" == look.judgement.verdict
    assert {"group"} == {question for question, _ in log.asked}


def test_a_defect_beside_the_read_is_not_lost_in_a_thread() -> None:
    """Only what the world refuses is a line."""
    log = Log(BEHIND, {("t", 0): 940}, refuses={"retention": RuntimeError("a defect")})

    with pytest.raises(RuntimeError, match="a defect"):
        look_at(Sources(kafka=log), Watched(ConsumerGroup("g")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("waits", "earlier_s", "interval_s", "unread"),
    [
        (1, None, None, 60),
        (0, None, None, 0),  # nothing unread: nothing to decide
        (0, 30, None, 60),  # the sampler has seen it before
        (0, None, 60.0, 60),  # it cannot commit in the pause
        (1, None, 1.0, 60),
    ],
)
def test_a_pause_is_made_only_where_it_can_decide(
    waits: int, earlier_s: float | None, interval_s: float | None, unread: int
) -> None:
    """It stands between a person and the answer."""
    log = Log(BEHIND, {("t", 0): 1000 - unread}, at=[AT, AT + timedelta(seconds=1.5)])
    earlier = None
    if earlier_s is not None:
        before = Log(BEHIND, {("t", 0): 900}, at=[AT - timedelta(seconds=earlier_s)])
        earlier = follow(None, before.read_group("g", (), 1))
    waited: list[float] = []
    sources = Sources(kafka=log, wait=waited.append, track_of=lambda _: earlier)  # type: ignore[arg-type]
    look_at(sources, Watched(ConsumerGroup("g", commit_interval_s=interval_s)))

    assert waits == len(waited)


def test_the_members_and_what_they_read_are_facts() -> None:
    """Who is slow is found by what is assigned to whom."""
    member = Member("m-1", "orders-app", "/10.0.0.7", (("t", 0),))
    log = Log(BEHIND, {("t", 0): 940}, membership=(member,))
    finding = finding_of(look_at(Sources(kafka=log), Watched(ConsumerGroup("g"))), AT)  # type: ignore[arg-type]

    assert [
        {"id": "m-1", "client": "orders-app", "host": "/10.0.0.7", "partitions": [{"topic": "t", "partition": 0}]}
    ] == finding.facts["membership"]


@dataclass
class Tails(Log):
    """A log of which each topic in `denied` may not be read, alone or, in silence, among others."""

    denied: frozenset[str] = frozenset()

    def holds_record(self, starts: Mapping[PartitionKey, int], deadline_s: float) -> Mapping[PartitionKey, bool]:
        self._told("records", dict(starts))
        told = {key: start == 997 for key, start in starts.items() if key[0] not in self.denied}
        if not told:
            raise Denied(f"needs the ACL READ on topic {min(starts)[0]}")
        return told


def short_tails(log: Log, committed: Mapping[str, Mapping[PartitionKey, int]]) -> list[tuple[Watched, GroupTrack]]:
    reads = {
        group: GroupOffsets(group, AT, "EMPTY", 0, tuple(PartitionOffsets(*key, at, 0, 1000) for key, at in at.items()))
        for group, at in committed.items()
    }
    return [(Watched(ConsumerGroup(group)), follow(None, read)) for group, read in reads.items()]


def test_short_tails_of_all_groups_are_looked_into_together() -> None:
    """One reader for all of them; another one only where groups stand at different places of one partition."""
    log = Tails({("t", 0): 1000, ("u", 0): 1000})
    tracked = short_tails(log, {"a": {("t", 0): 997}, "b": {("u", 0): 997}, "c": {("t", 0): 998}, "d": {("t", 0): 997}})
    besides = besides_of(Sources(kafka=log), tracked, 2.0)  # type: ignore[arg-type]

    assert [
        {("t", 0): True}, {("u", 0): True}, {("t", 0): False}, {("t", 0): True}
    ] == [beside.holds_record for beside, _ in besides]  # fmt: skip
    assert [{("t", 0): 997, ("u", 0): 997}, {("t", 0): 998}] == sorted(
        (what for question, what in log.asked if question == "records"), key=lambda starts: -len(starts)  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_topic_that_may_not_be_read_is_named_to_its_own_groups() -> None:
    """What one group may not see is no line of another's answer, and hides nothing of it."""
    log = Tails({("t", 0): 1000, ("u", 0): 1000}, denied=frozenset("u"))
    tracked = short_tails(log, {"a": {("t", 0): 997}, "b": {("u", 0): 997}, "c": {("u", 0): 998}})
    besides = besides_of(Sources(kafka=log), tracked, 2.0)  # type: ignore[arg-type]
    refused = "whether the unread tail holds a record: needs the ACL READ on topic u"

    assert [{("t", 0): True}, {}, {}] == [beside.holds_record for beside, _ in besides]
    assert [False, True, True] == [refused in lines for _, lines in besides]
