"""The sampler: reads every watched group in one pass, remembers what the reads tell, and judges each of them.

Promise
    What was learned of a group outlives the process: its track is followed again over the stored samples. A group that
    cannot be read, or is slow, is that group's alone. A pass is bounded by the time until the next one. `latest` is
    what the last pass saw of each group, a read error included; it calls nobody.

Invariants
    A read is followed, and stored, before anything is asked beside it: a crash loses the judgement, not the read.
    A track takes reads in the order of time; a group is recalled from the samples before its first new read.
    Memory is bounded: a track by itself, the tracks by what is watched and MOST_NOTED groups more; a group that was
    not read for a day is forgotten.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import replace
from datetime import datetime, timedelta

from bot.lag.judge import Beside, judge_group
from bot.lag.ladder import Ladder, times_to_ask
from bot.lag.track import GroupTrack, follow
from bot.model import ConsumerGroup, GroupOffsets, PartitionKey
from bot.ports import Kafka, KafkaCluster, PortError, Unreachable
from bot.probes.consumer_lag import Look, Watched, besides_of, is_behind
from bot.probes.sources import Sources
from bot.store.samples import Samples

log = logging.getLogger("cdc.sampler")

RECALLED_FOR = timedelta(hours=2)
RECALLED_PARTITIONS = 12_000
"""How much of a group is recalled at most, in partitions read: two hours of 50, less of a wider group."""
RECALLED_IN_ALL = 600_000
"""The same of all watched groups together: some seconds at the start."""
RECALLED_IN_HASTE = 200
"""The same of one group, once recalling has taken half of a pass."""
FORGOTTEN_AFTER = timedelta(days=1)
MOST_NOTED = 200
NOTED_APART_S = 5.0
CLOCK_SLACK = timedelta(seconds=60)
LISTED_EVERY_S = 180.0
LISTING_DEADLINE_S = 5.0
THROW_AWAY = "cg-control-"
"""Groups that the Iceberg sink's coordinator makes at each start and never commits with."""
KEPT_RUNGS = 24
"""Answers by time that are kept of a partition with unread data: the rungs of a ladder and some within their bounds."""
NOT_ASKED = "what is beside its unread data: not asked, the pass over all groups took too long"
CHART_READS, CHART_PARTITIONS = 600, 100_000


class Sampler:
    """`look` is one pass, called by the schedule; the rest answers from memory and samples, to any thread."""

    def __init__(
        self,
        samples: Samples,
        sources: Sources,
        watched: Callable[[], Sequence[Watched]],
        clock: Callable[[], datetime],
        count_error: Callable[[str], None],
        keep_s: float,
        every_s: float = 30.0,
    ) -> None:
        self._samples, self._watched = samples, watched
        self._sources = replace(sources, ladder_of=self.ladder_of, note_ladders=self.note_ladders)
        self._clock, self._count_error, self._keep_s, self.every_s = clock, count_error, keep_s, every_s
        self._lock = threading.Lock()
        self._recalling = threading.Lock()
        self._tracks: dict[str, GroupTrack] = {}
        self._recalled: set[str] = set()
        self._stored_at: dict[str, datetime] = {}
        self._was_wrong = False
        self._latest: tuple[Look, ...] = ()
        self._began_at = clock()
        self._looked_at: datetime | None = None
        self._ladders: dict[PartitionKey, Ladder] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="beside")
        self._asking: Future[tuple[tuple[Beside, tuple[str, ...]], ...]] | None = None

    def look(self) -> None:
        """Read all watched groups, follow and store what was read, judge each."""
        kafka = self._sources.kafka
        if kafka is None:
            return
        ends_at_s = time.monotonic() + 0.9 * self.every_s
        watched: dict[str, Watched] = {}
        for each in self._watched():
            watched.setdefault(each.group, each)
        self._forget(self._clock(), watched)
        share = min(RECALLED_PARTITIONS, RECALLED_IN_ALL // max(1, len(watched)))
        for group in watched:
            is_late = ends_at_s - time.monotonic() < self.every_s / 2
            self._recall(group, RECALLED_IN_HASTE if is_late else share)
        answers = self._read(kafka, watched, min(self._sources.deadline_s, self.every_s / 2))
        reads = [answer for answer in answers.values() if isinstance(answer, GroupOffsets)]
        with self._lock:
            for read in reads:
                self._follow(read)
        self._keep(reads)
        self._latest = self._judged(watched, answers, ends_at_s)
        self._looked_at = self._clock()

    def prune(self) -> None:
        """Thin out and delete samples; called by the schedule."""
        self._samples.prune(self._clock(), self._keep_s)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --- what others ask ---

    def track_of(self, group: str) -> GroupTrack | None:
        """Return what all reads of a group so far tell, those before the last restart included."""
        self._recall(group)
        return self._tracks.get(group)

    def note(self, read: GroupOffsets) -> None:
        """Take in what a probe read on the side. A read of fewer partitions than are known is not the group's."""
        self._recall(read.group)
        with self._lock:
            before = self._tracks.get(read.group)
            known = {one.key for one in before.newest.partitions} if before else set()
            if not known <= {one.key for one in read.partitions} or (before and read.at <= before.newest.at):
                return
            stored_at = self._stored_at.get(read.group)
            self._follow(read)
        if stored_at is None or (read.at - stored_at).total_seconds() >= NOTED_APART_S:
            self._keep([read])

    def ladder_of(self, key: PartitionKey) -> Ladder:
        """Return what brokers answered by time of a partition with unread data: past answers never change."""
        return self._ladders.get(key, {})

    def note_ladders(self, ladders: Mapping[PartitionKey, Ladder]) -> None:
        """Keep the answers that will be asked for again, and the newest others."""
        rungs = frozenset(times_to_ask(self._clock(), len(ladders)))
        for key, ladder in ladders.items():
            known = [(at, offset) for at, offset in ladder.items() if offset is not None]
            again = [each for each in known if each[0] in rungs]
            others = [each for each in known if each[0] not in rungs]
            self._ladders[key] = dict(others[len(others) + len(again) - KEPT_RUNGS :] + again)

    def latest(self) -> tuple[Look, ...]:
        """Return what the last pass saw of each watched group; without a judgement where it could not be read."""
        return self._latest

    def looked_s(self) -> float | None:
        """Return the age of the last pass, None before the first."""
        return None if self._looked_at is None else (self._clock() - self._looked_at).total_seconds()

    def reads(self, group: str, since: datetime, until: datetime | None = None) -> tuple[GroupOffsets, ...]:
        """Return the samples of a time, oldest first and evenly thinned to what a chart can show."""
        track = self._tracks.get(group)
        partitions = len(track.newest.partitions) if track else 0
        most = max(2, min(CHART_READS, CHART_PARTITIONS // max(1, partitions)))
        span_s = ((until or self._clock()) - since).total_seconds()
        return self._samples.since(group, since, until, step_s=max(0.0, span_s) / most)

    def wrong(self) -> tuple[str, ...]:
        """Return what health is to be told: the samples are not written, or no pass has ended for long."""
        stands_s = (self._clock() - (self._looked_at or self._began_at)).total_seconds()
        lines = [self._samples.wrong] if self._samples.wrong else []
        if self._sources.kafka is not None and stands_s > max(60.0, 4 * self.every_s):
            lines.append(f"the lag samples stand still: no pass over the groups has ended for {stands_s:.0f} s")
        return tuple(lines)

    # --- one pass ---

    def _read(
        self, kafka: Kafka, watched: Mapping[str, Watched], deadline_s: float
    ) -> dict[str, GroupOffsets | PortError]:
        if not watched:
            return {}
        answers = kafka.read_groups({group: each.consumer.topics for group, each in watched.items()}, deadline_s)
        return {group: answers.get(group) or Unreachable(f"group {group}: not answered") for group in watched}

    def _judged(
        self, watched: Mapping[str, Watched], answers: Mapping[str, GroupOffsets | PortError], ends_at_s: float
    ) -> tuple[Look, ...]:
        """Judge each group with what is beside its unread data: asked for all groups together, until the end.

        What is not answered by then is said, and the groups are judged by their offsets.
        """
        tracks = {group: self._tracks[group] for group, answer in answers.items() if isinstance(answer, GroupOffsets)}
        behind = [group for group, track in tracks.items() if is_behind(watched[group], track)]
        besides = self._besides([(watched[group], tracks[group]) for group in behind], ends_at_s)
        return tuple(
            self._look_of(each, tracks.get(group), answers[group], besides.get(group))
            for group, each in watched.items()
        )

    def _besides(
        self, tracked: Sequence[tuple[Watched, GroupTrack]], ends_at_s: float
    ) -> dict[str, tuple[Beside, tuple[str, ...]]]:
        left_s, failed = ends_at_s - time.monotonic(), NOT_ASKED
        self._forget_ladders(tracked)
        if tracked and left_s > 0 and (self._asking is None or self._asking.done()):
            deadline_s = min(self._sources.deadline_s, 0.8 * left_s)
            self._asking = self._pool.submit(besides_of, self._sources, tracked, deadline_s)
            wait_for([self._asking], timeout=left_s)
            if self._asking.done() and not self._asking.cancelled():
                try:
                    return {each.group: found for (each, _), found in zip(tracked, self._asking.result(), strict=True)}
                except Exception as error:  # a defect of ours must not take the verdicts that offsets alone prove
                    log.exception("what is beside the unread data of the groups could not be asked")
                    self._count_error("sampler")
                    failed = f"what is beside its unread data: {type(error).__name__}: {error}"
        return {each.group: (self._plain(each), (failed,)) for each, _ in tracked}

    def _look_of(
        self,
        watched: Watched,
        track: GroupTrack | None,
        answer: GroupOffsets | PortError,
        found: tuple[Beside, tuple[str, ...]] | None,
    ) -> Look:
        if track is None or isinstance(answer, PortError):
            error = answer if isinstance(answer, PortError) else None
            return Look(watched, self._tracks.get(watched.group), error=error)
        beside, not_known = found or (self._plain(watched), ())
        try:
            return Look(watched, track, judge_group(track, beside), not_known=not_known, beside=beside)
        except Exception as error:  # one group's defect must not take the verdicts of all others
            log.exception("group %r could not be judged", watched.group)
            self._count_error("sampler")
            return Look(watched, track, error=PortError(f"not judged: {type(error).__name__}: {error}"))

    def _plain(self, watched: Watched) -> Beside:
        consumer = watched.consumer
        return Beside(watched.objective, consumer.kind, consumer.commit_interval_s, self._sources.horizon_s)

    # --- memory ---

    def _follow(self, read: GroupOffsets) -> None:
        self._tracks[read.group] = follow(self._tracks.get(read.group), read)

    def _forget_ladders(self, tracked: Sequence[tuple[Watched, GroupTrack]]) -> None:
        behind = {one.key for _, track in tracked for one in track.newest.partitions if one.lag_records}
        self._ladders = {key: ladder for key, ladder in self._ladders.copy().items() if key in behind}

    def _keep(self, reads: Sequence[GroupOffsets]) -> None:
        self._samples.keep(reads)
        with self._lock:
            self._stored_at.update((read.group, read.at) for read in reads)
            was_wrong, self._was_wrong = self._was_wrong, bool(self._samples.wrong)
        if self._samples.wrong and not was_wrong:
            self._count_error("samples")

    def _recall(self, group: str, most_partitions: int = RECALLED_PARTITIONS) -> None:
        """Follow the stored samples of a group, once, before its first new read."""
        if group in self._recalled:
            return
        with self._recalling:
            if group in self._recalled:
                return
            now = self._clock()
            track = None
            for read in self._samples.since(group, now - RECALLED_FOR, now, most_partitions=most_partitions):
                track = follow(track, read)
            with self._lock:
                if track is not None:
                    self._tracks[group] = track
                    self._stored_at[group] = track.newest.at
                self._recalled.add(group)

    def _forget(self, now: datetime, watched: Mapping[str, Watched]) -> None:
        """Forget who was not read for a day, the oldest of too many noted ones, and reads of a clock set back."""
        with self._lock:
            noted = sorted((self._tracks[group].newest.at, group) for group in self._tracks if group not in watched)
            gone = {group for _, group in noted[: max(0, len(noted) - MOST_NOTED)]}
            for group, track in self._tracks.items():
                if track.newest.at < now - FORGOTTEN_AFTER or track.newest.at > now + CLOCK_SLACK:
                    gone.add(group)
            for group in gone:
                del self._tracks[group]
                self._stored_at.pop(group, None)
            self._recalled &= self._tracks.keys() | watched.keys()
            self._recalled -= gone


class EveryGroup:
    """The groups of `named`, and every other one that the cluster lists; for `watch: all`.

    Listed anew every few minutes; while that fails, the last list holds.
    """

    def __init__(
        self,
        named: Sequence[Watched],
        cluster: KafkaCluster,
        count_error: Callable[[str], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._named, self._cluster, self._count_error, self._now_s = tuple(named), cluster, count_error, now_s
        self._known = {each.group for each in self._named}
        self._listed: tuple[Watched, ...] = ()
        self._listed_at_s: float | None = None
        self._error = ""

    def __call__(self) -> Sequence[Watched]:
        now_s = self._now_s()
        if self._listed_at_s is None or now_s - self._listed_at_s >= LISTED_EVERY_S:
            self._list(now_s)
        return (*self._named, *self._listed)

    def _list(self, now_s: float) -> None:
        try:
            listing = self._cluster.read_listing(LISTING_DEADLINE_S)
        except PortError as error:
            self._say(str(error))
            return
        if listing.groups is None:
            self._say("; ".join(listing.not_known) or "the broker lists no groups")
            return
        self._listed_at_s, self._error = now_s, ""
        self._listed = tuple(
            Watched(ConsumerGroup(entry.group))
            for entry in listing.groups
            if entry.group not in self._known and not entry.group.startswith(THROW_AWAY)
        )

    def _say(self, error: str) -> None:
        if error != self._error:
            log.warning("which groups there are is not known: %s", error)
            self._count_error("listing")
        self._error = error


def named_groups(watched: Sequence[Watched], names: Sequence[str]) -> tuple[Watched, ...]:
    """Return the groups of the pipelines and those named beside them."""
    known = {each.group for each in watched}
    return (*watched, *(Watched(ConsumerGroup(name)) for name in dict.fromkeys(names) if name not in known))
