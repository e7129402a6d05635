"""Our reads and passes, as the bot makes them, in a process of their own whose client is kept open.

    python -m tests.bench.our_reads HOST:PORT group GROUP               `read_group`
    python -m tests.bench.our_reads HOST:PORT pass FOLDER GROUP...      `Sampler.look`; without FOLDER ("") nothing is
                                                                        stored

Prints "ready", then for each line it reads the seconds of one round; for a line "memory" the resident megabytes
(MiB) of this process and of the one that reads many groups. The clock of a pass is 30 s ahead of the one before, as in
the bot: so many passes are so many half minutes of samples, tracks and ladders.
"""

from __future__ import annotations

import gc
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.app import COLLECTED_EVERY
from bot.clients.kafka import ConfluentKafka
from bot.model import ConsumerGroup, GroupOffsets
from bot.probes.consumer_lag import Watched
from bot.probes.sources import Sources
from bot.sampler import Sampler
from bot.store.samples import Samples

EVERY_S, KEEP_S = 30.0, 7 * 86400.0


class Clock:
    """Real time, and what it was set forward by."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class NoSamples:
    """What is asked of `Samples`, where nothing is to be stored."""

    wrong = ""

    def keep(self, reads: Sequence[GroupOffsets]) -> None:
        pass

    def since(self, *_: object, **__: object) -> tuple[GroupOffsets, ...]:
        return ()

    def prune(self, now: datetime, keep_s: float) -> None:
        pass


def main() -> None:
    gc.set_threshold(COLLECTED_EVERY)
    bootstrap, what, *words = sys.argv[1:]
    clock = Clock()
    kafka = ConfluentKafka({"bootstrap.servers": bootstrap}, clock)
    round_ = reading(kafka, words[0]) if what == "group" else passing(kafka, clock, words[0], words[1:])
    round_()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(json.dumps([memory_mb("self"), memory_mb(kafka._reader.pid)]), flush=True)
            continue
        began = time.perf_counter()
        round_()
        print(json.dumps(time.perf_counter() - began), flush=True)


def reading(kafka: ConfluentKafka, group: str) -> Callable[[], None]:
    def read() -> None:
        found = kafka.read_group(group, (), 10.0)
        if found.not_known or any(one.lag_records is None for one in found.partitions):
            raise SystemExit(f"not read: {found.not_known}")

    return read


def passing(kafka: ConfluentKafka, clock: Clock, folder: str, groups: Sequence[str]) -> Callable[[], None]:
    samples = Samples(Path(folder) / "samples.db") if folder else NoSamples()
    watched = tuple(Watched(ConsumerGroup(group)) for group in groups)
    errors: list[str] = []
    sources = Sources(kafka=kafka, deadline_s=20.0)
    sampler = Sampler(samples, sources, lambda: watched, clock, errors.append, KEEP_S, EVERY_S)  # type: ignore[arg-type]

    def look() -> None:
        clock.ahead += timedelta(seconds=EVERY_S)
        sampler.look()
        unseen = [each for each in sampler.latest() if each.judgement is None or each.not_known]
        if unseen or errors or len(sampler.latest()) != len(groups):
            raise SystemExit(f"{len(unseen)} groups not judged: {unseen[:1]} {errors[:3]} {sampler.wrong()}")

    return look


def memory_mb(pid: int | str | None) -> int:
    if pid is None:
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) // 1024 if found else 0


if __name__ == "__main__":
    main()
