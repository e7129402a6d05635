"""Is this consumer group keeping up, and did it lose data?

`look_at` reads the group once, or twice when it is given a way to wait, and asks what decides about its unread data;
`finding_of` is pure, its words and its facts are those of `lag_words`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from bot.lag.age import was_never_read
from bot.lag.judge import DEFAULT_OBJECTIVE, Beside, Judgement, judge_group
from bot.lag.ladder import EPOCH, Ladder, refine_oldest, times_to_ask
from bot.lag.retention import time_to_ask
from bot.lag.track import MIN_WINDOW_S, GroupTrack, follow
from bot.lag.verdict import Verdict
from bot.model import (
    ConsumerGroup,
    Finding,
    FlinkJob,
    GroupKind,
    GroupOffsets,
    Objective,
    PartitionKey,
    PartitionOffsets,
    Pipeline,
    Retention,
    Signal,
    Status,
)
from bot.ports import Kafka, PortError
from bot.probes import lag_words as words
from bot.probes.error_headers import read_error_headers
from bot.probes.sources import Sources, unseen

PROBE = "consumer_lag"

# Long enough for a consumer that commits each second, short enough for an incident that is opening.
BETWEEN_READS_S = 1.5

# A sink's unread tail is compared with its DLQ only when it is this short: longer is no residue.
RESIDUE_RECORDS = 200

# A partition's tail is looked into for a record only when it is this short: transactions leave a marker or two each.
TAIL_RECORDS = 10

ASKED_AT_ONCE = 8

RED = frozenset({Verdict.DATA_LOST, Verdict.LOSS_IMMINENT, Verdict.STOPPED, Verdict.NOT_CHECKPOINTING, Verdict.STUCK})

AGE = "how old the oldest unread record is"
RETENTION = "what deletes records"
DEAD_LETTERED = "whether the unread tail is in the DLQ"
HOLDS_RECORD = "whether the unread tail holds a record"
JOB = "Flink job"


@dataclass(frozen=True)
class Watched:
    """A group to look at, with what is promised for it; `pipeline` None: it belongs to none."""

    consumer: ConsumerGroup
    pipeline: str | None = None
    objective: Objective = DEFAULT_OBJECTIVE
    dlq: str | None = None

    @property
    def group(self) -> str:
        return self.consumer.group


@dataclass(frozen=True)
class Look:
    """One look at a group: its reads so far and what they prove, or why it could not be read."""

    watched: Watched
    track: GroupTrack | None = None
    judgement: Judgement | None = None
    error: PortError | None = None
    not_known: tuple[str, ...] = ()
    beside: Beside | None = None


def look_at(sources: Sources, watched: Watched, deadline_s: float | None = None) -> Look:
    """Read one group, once more after a pause where that can decide, and what is beside its unread data.

    The waiting of BETWEEN_READS_S comes on top of the deadline, which is for the answers of the systems.
    """
    if sources.kafka is None:
        return Look(watched)
    consumer, deadline_s = watched.consumer, deadline_s or sources.deadline_s
    try:
        read = sources.kafka.read_group(consumer.group, consumer.topics, deadline_s / 2)
    except PortError as error:
        return Look(watched, error=error)
    sources.note(read)
    track, not_known = follow(sources.track_of(consumer.group), read), list[str]()
    if sources.wait is not None and _wants_second_read(track, consumer):
        sources.wait(BETWEEN_READS_S)
        try:
            track = follow(track, sources.kafka.read_group(consumer.group, consumer.topics, deadline_s / 4))
        except PortError as error:
            not_known.append(f"second read: {error}")
    beside, unseen_beside = beside_of(sources, watched, track, deadline_s / 4)
    return Look(watched, track, judge_group(track, beside), not_known=(*not_known, *unseen_beside), beside=beside)


def beside_of(
    sources: Sources, watched: Watched, track: GroupTrack, deadline_s: float
) -> tuple[Beside, tuple[str, ...]]:
    """Return what decides about the group's unread data, and what of it could not be had; never raises.

    Asked all at once and only for a group that has unread data, or a job and no first commit: what deletes its topics,
    how old its oldest unread records are, the DLQ of a sink with a short tail, whether a short tail holds a record at
    all, the Flink job. How old they are is asked in two rounds, the second inside the bounds of the first.
    """
    return besides_of(sources, [(watched, track)], deadline_s)[0]


def besides_of(
    sources: Sources, tracked: Sequence[tuple[Watched, GroupTrack]], deadline_s: float
) -> tuple[tuple[Beside, tuple[str, ...]], ...]:
    """Return the same for several groups, in their order: a partition that several of them read is asked once."""
    bare = [Beside(w.objective, w.consumer.kind, w.consumer.commit_interval_s, sources.horizon_s) for w, _ in tracked]
    behind = [(watched, track) for watched, track in tracked if is_behind(watched, track)]
    if sources.kafka is None or not behind:
        return tuple((one, ()) for one in bare)
    kafka, ends_at = sources.kafka, time.monotonic() + deadline_s
    rounds = _Rungs(kafka, behind, sources.ladder_of)
    topics = tuple(dict.fromkeys(key[0] for key in rounds.keys))
    asked: dict[tuple[str, str], Callable[[], object]] = {}
    if topics:
        asked["", RETENTION] = lambda: kafka.read_retention(topics, deadline_s / 2)
        asked["", AGE] = lambda: rounds.ask_ladder(deadline_s / 2)
    starts = {watched.group: tails for watched, track in behind if (tails := _short_tails(track))}
    if starts:
        asked["", HOLDS_RECORD] = lambda: _tails_told(kafka, starts, deadline_s)
    for watched, track in behind:
        asked |= {(watched.group, what): call for what, call in _group_asks(sources, watched, track, deadline_s)}
    found, errors = _together(asked)
    retention, refused = _sorted_out(found.get(("", RETENTION), {}))
    held, unheld = _sorted_out(found.get(("", HOLDS_RECORD), {}))
    errors |= {(group, HOLDS_RECORD): error for group, error in unheld.items()}
    times = rounds.second_round(retention, sources.horizon_s)
    if times and ("", AGE) not in errors:
        _, failed = _together({("", AGE): lambda: rounds.ask(times, max(0.05, ends_at - time.monotonic()))})
        errors |= failed
    sources.note_ladders(rounds.ladders)

    def of_group(beside: Beside, watched: Watched, track: GroupTrack) -> tuple[Beside, tuple[str, ...]]:
        unread = {one.key for one in track.newest.partitions if one.lag_records}
        read = {topic for topic, _ in unread}
        mine = {what: one for (group, what), one in errors.items() if group == watched.group or (unread and not group)}
        lines = [f"{what}: {error}" for what, error in mine.items()]
        lines += [f"{RETENTION} of {topic}: {error}" for topic, error in refused.items() if topic in read]
        job: FlinkJob | None = found.get((watched.group, JOB))
        lines += job.not_known if job is not None else ()
        beside = replace(
            beside,
            retention={topic: one for topic, one in retention.items() if topic in read},
            ladders={key: rounds.ladders[key] for key in unread if rounds.ladders.get(key)},
            dead_lettered=found.get((watched.group, DEAD_LETTERED), {}),
            holds_record=held.get(watched.group, {}),
            unseen_tails=frozenset(starts.get(watched.group, {}).keys() - held.get(watched.group, {}).keys()),
            job=job,
            job_error=str(mine.get(JOB, "")),
        )
        return beside, tuple(lines)

    return tuple(of_group(beside, *one) for beside, one in zip(bare, tracked, strict=True))


def is_behind(watched: Watched, track: GroupTrack) -> bool:
    """Return whether there is something to ask beside a group's offsets; a job is asked before its first commit too."""
    if any(one.lag_records for one in track.newest.partitions):
        return True
    names_job = watched.consumer.kind is GroupKind.FLINK and watched.consumer.job is not None
    return names_job and any(map(was_never_read, track.newest.partitions))


def finding_of(look: Look, now: datetime) -> Finding:
    """Return red over the page line or for lost or stuck data, yellow over the warn line, green only for OK."""
    group, track, judgement = look.watched.group, look.track, look.judgement
    if track is None or judgement is None:
        return unseen(PROBE, group, Signal.LAG, now, look.error, words.nothing(group), "Kafka")
    newest, kind, beside = track.newest, look.watched.consumer.kind, look.beside
    before = track.reads[0] if len(track.reads) > 1 else None
    margin = words.margin_of(newest, beside) if beside else None
    refused = any(line.startswith(AGE) for line in look.not_known)
    no_age = () if refused else words.no_age(judgement)
    not_known = dict.fromkeys(
        (*newest.not_known, *look.not_known, *judgement.not_known, *words.not_summed(newest), *no_age)
    )
    return Finding(
        probe=PROBE,
        target=group,
        verdict=judgement.verdict.value,
        status=_status(judgement, look.watched.objective),
        headline=words.headline(newest, before, judgement, kind, beside, _waited_s(track)),
        at=newest.at,
        signal=Signal.LAG,
        facts=words.document(newest, judgement, beside, margin, tuple(not_known)),
        evidence=(
            judgement.evidence,
            *judgement.losses,
            *words.age(judgement),
            *words.safe_for(margin),
            *words.who(newest, judgement, kind),
            *judgement.advice,
        ),
        not_known=tuple(not_known),
    )


def _waited_s(track: GroupTrack) -> float:
    """Return how long unread data has waited for a commit, of the partition where that is longest."""
    waits = [
        track.total.at_s - one.unread_s for one in track.partitions if one is not None and one.unread_s is not None
    ]
    return max(waits, default=0.0)


def watched_by(pipelines: Sequence[Pipeline]) -> tuple[Watched, ...]:
    """Return every group of the pipelines; a group without topics of its own reads those of its pipeline."""
    return tuple(
        Watched(
            consumer if consumer.topics else replace(consumer, topics=pipeline.topics),
            pipeline.name,
            pipeline.objective,
            pipeline.dlq,
        )
        for pipeline in pipelines
        for consumer in pipeline.groups
    )


def probe(sources: Sources, pipeline: Pipeline, now: Callable[[], datetime]) -> tuple[Finding, ...]:
    """Return one finding per consumer group of the pipeline, its sink connector's own group included."""
    watched = watched_by([pipeline])
    share_s = sources.deadline_s / max(1, len(watched))
    return tuple(finding_of(look_at(sources, each, share_s), now()) for each in watched)


def _wants_second_read(track: GroupTrack, consumer: ConsumerGroup) -> bool:
    """A pause is worth it where nothing earlier is known and the group may commit in it."""
    has_earlier = any((track.newest.at - read.at).total_seconds() >= MIN_WINDOW_S for read in track.reads)
    is_slow = consumer.commit_interval_s is not None and consumer.commit_interval_s > BETWEEN_READS_S
    return bool(_unread(track.newest)) and not has_earlier and not is_slow


def _short_tails(track: GroupTrack) -> dict[PartitionKey, int]:
    """Return where the tails begin that may be markers only: short, and standing still as far as is known.

    At a first look nothing is known to stand still: then they are looked into only if all of them are short together.
    """
    earlier = {one.key: one for one in track.reads[-2].partitions} if len(track.reads) > 1 else None
    if earlier is None and _unread(track.newest) > RESIDUE_RECORDS:
        return {}
    return {
        one.key: one.committed
        for one in track.newest.partitions
        if one.committed is not None
        and 0 < (one.lag_records or 0) <= TAIL_RECORDS
        and (earlier is None or _stands_still(one, earlier.get(one.key)))
    }


def _stands_still(now: PartitionOffsets, before: PartitionOffsets | None) -> bool:
    return before is not None and (now.committed, now.latest) == (before.committed, before.latest)


def _group_asks(
    sources: Sources, watched: Watched, track: GroupTrack, deadline_s: float
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what concerns one group alone."""
    kafka, flink, consumer = sources.kafka, sources.flink, watched.consumer
    dlq, job = watched.dlq, consumer.job
    if kafka and dlq and consumer.kind is GroupKind.CONNECT_SINK and _unread(track.newest) <= RESIDUE_RECORDS:
        yield DEAD_LETTERED, lambda: _dead_letters(kafka, dlq, deadline_s)
    if flink and job and consumer.kind is GroupKind.FLINK:
        yield JOB, lambda: flink.read_job(job, deadline_s)


class _Rungs:
    """The two rounds of questions by time for the partitions with unread data, and the answers so far."""

    def __init__(
        self,
        kafka: Kafka,
        behind: Sequence[tuple[Watched, GroupTrack]],
        ladder_of: Callable[[PartitionKey], Ladder],
    ) -> None:
        self._kafka, self._behind = kafka, behind
        self.now = max(track.newest.at for _, track in behind)
        unread = [one for _, track in behind for one in track.newest.partitions if one.lag_records]
        self.keys = tuple(dict.fromkeys(one.key for one in unread))
        # Past answers never change, but None is "no record that new", of the moment it was asked in, and the epoch's
        # answer shows whether to believe it now.
        self.ladders: dict[PartitionKey, dict[datetime, int | None]] = {
            key: {at: offset for at, offset in ladder_of(key).items() if offset is not None and at != EPOCH}
            for key in self.keys
        }

    def ask_ladder(self, deadline_s: float) -> None:
        times = times_to_ask(self.now, len(self.keys))
        self.ask(dict.fromkeys(self.keys, times), deadline_s)

    def ask(self, times: Mapping[PartitionKey, Sequence[datetime]], deadline_s: float) -> None:
        """Ask for the times that have no answer yet. Raises PortError."""
        lacking = {key: [at for at in each if at not in self.ladders[key]] for key, each in times.items()}
        lacking = {key: each for key, each in lacking.items() if each}
        if lacking:
            for key, answers in self._kafka.read_offsets_at(lacking, deadline_s).items():
                self.ladders[key].update(answers)

    def second_round(
        self, retention: Mapping[str, Retention], horizon_s: float
    ) -> dict[PartitionKey, tuple[datetime, ...]]:
        """Return what to ask inside the first round's bounds, and the time before which retention is near."""
        asked: dict[PartitionKey, tuple[datetime, ...]] = {}
        for _, track in self._behind:
            committed = {
                p.key: p.committed for p in track.newest.partitions if p.lag_records and p.committed is not None
            }
            for key, times in refine_oldest(self.now, self.ladders, committed).items():
                asked[key] = (*asked.get(key, ()), *times)
        for key in self.keys:
            rule = retention.get(key[0])
            at = time_to_ask(rule, horizon_s, self.now) if rule else None
            if at is not None:
                asked[key] = (*asked.get(key, ()), at)
        return {key: tuple(dict.fromkeys(times)) for key, times in asked.items()}


Tails = Mapping[PartitionKey, int]
Told = Mapping[PartitionKey, bool]


def _tails_told(kafka: Kafka, starts: Mapping[str, Tails], deadline_s: float) -> dict[str, Told | PortError]:
    """Return per group whether its short tails hold a record, all groups asked together.

    A reader stands at one place of a partition: groups that stand elsewhere in it are asked about by another one. Of
    whom nothing is told that way is asked about once more, with those that read the same topics: the reason is theirs.
    """
    ends_at = time.monotonic() + deadline_s
    told: dict[tuple[PartitionKey, int], bool] = {}

    def ask(tails: Tails, share: float = 1.0) -> None:
        answers = kafka.holds_record(tails, share * max(0.05, ends_at - time.monotonic()))
        told.update({(key, tails[key]): answer for key, answer in answers.items()})

    share = 1.0 if len(starts) == 1 else 0.5
    parts = _one_place_each(starts.values())
    _, refused = _together({("", str(number)): partial(ask, tails, share) for number, tails in enumerate(parts)})
    alone: dict[frozenset[str], list[str]] = {}
    for group, tails in starts.items():
        if not any(one in told for one in tails.items()):
            alone.setdefault(frozenset(topic for topic, _ in tails), []).append(group)
    errors: dict[str, PortError] = {}
    if len(starts) == 1:
        errors = dict.fromkeys(starts, next(iter(refused.values()))) if refused else {}
    elif alone:
        again = {(groups[0], ""): partial(ask, starts[groups[0]]) for groups in alone.values()}
        _, reasons = _together(again)
        errors = {group: reasons[one[0], ""] for one in alone.values() if (one[0], "") in reasons for group in one}

    def of_group(group: str, tails: Tails) -> Told | PortError:
        return errors.get(group) or {one[0]: told[one] for one in tails.items() if one in told}

    return {group: of_group(group, tails) for group, tails in starts.items()}


def _one_place_each(tails: Iterable[Tails]) -> list[dict[PartitionKey, int]]:
    """Return all places to look at, in as few parts as have no partition twice."""
    parts: list[dict[PartitionKey, int]] = []
    for key, start in dict.fromkeys(place for each in tails for place in each.items()):
        free = next((part for part in parts if key not in part), None)
        if free is None:
            parts.append(free := {})
        free[key] = start
    return parts


T = TypeVar("T")


def _sorted_out(answers: Mapping[str, T | PortError]) -> tuple[dict[str, T], dict[str, PortError]]:
    known = {topic: one for topic, one in answers.items() if not isinstance(one, PortError)}
    return known, {topic: one for topic, one in answers.items() if isinstance(one, PortError)}


def _together(
    asked: Mapping[tuple[str, str], Callable[[], object]],
) -> tuple[dict[tuple[str, str], Any], dict[tuple[str, str], PortError]]:
    """Ask all at once, on a few threads; return what was answered and what was refused. A defect is raised here."""
    found, errors, defects = dict[tuple[str, str], Any](), dict[tuple[str, str], PortError](), list[Exception]()
    waiting = list(asked.items())[::-1]

    def work() -> None:
        while waiting:
            try:
                what, call = waiting.pop()
            except IndexError:
                return
            try:
                found[what] = call()
            except PortError as error:
                errors[what] = error
            except Exception as error:
                defects.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(ASKED_AT_ONCE, len(asked)) - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if defects:
        raise defects[0]
    return found, errors


def _unread(read: GroupOffsets) -> int:
    return sum(partition.lag_records or 0 for partition in read.partitions)


def _dead_letters(kafka: Kafka, dlq: str, deadline_s: float) -> dict[tuple[str, int], frozenset[int]]:
    found: dict[tuple[str, int], set[int]] = {}
    for record in kafka.sample_tail(dlq, 2 * RESIDUE_RECORDS, deadline_s).records:
        error = read_error_headers(record.headers)
        if error and error.topic and error.partition is not None and error.offset is not None:
            found.setdefault((error.topic, error.partition), set()).add(error.offset)
    return {key: frozenset(offsets) for key, offsets in found.items()}


def _status(judgement: Judgement, objective: Objective) -> Status:
    lag_records = judgement.at_least_records if judgement.trough_records is None else judgement.trough_records
    if judgement.verdict in RED:
        return Status.RED
    if lag_records > objective.lag_page.records:
        return Status.RED
    if lag_records > objective.lag_warn.records:
        return Status.YELLOW
    if judgement.verdict is Verdict.OK:
        return Status.GREEN
    if judgement.verdict in (Verdict.NEVER_COMMITTED, Verdict.UNKNOWN):
        return Status.UNKNOWN
    return Status.YELLOW
