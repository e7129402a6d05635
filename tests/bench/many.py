"""A pass over 500 groups of 20 partitions each: reads and judgement, with and without storing them, and its memory.

The floor is the bare client's committed and last offsets, all groups fired together. Of the peers the pass of
klag-exporter stands beside ours, as it measures itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.groups import Estate, fill, many_estate
from tests.bench.table import Row, in_ms
from tests.bench.worker import Worker, medians
from tests.system.fetch import Available

PASS_WITHIN = 2.0
NOTED_PASS_S = 1.9
"""One scrape of kafka_exporter over as many groups: ../shared/notes/peers-lag.md, on another day."""
TIMES_FASTER = 5
GROWN_WITHIN = 1.05
WARM_PASSES = 100


def measure_many(available: Available, folder: Path, groups: int, runs: int) -> list[Row]:
    """Return the rows of a pass over quiet groups, and over groups that are all behind."""
    with many_estate(available, folder, groups) as estate:
        quiet, stored, bare = _passes(estate, folder, runs)
        fill(estate)
        behind, _, bare_behind = _passes(estate, folder, runs)
    what = f"pass over {groups} groups x 20 partitions"
    return [
        Row(f"{what}, quiet", in_ms(quiet), f"{in_ms(bare)} bare reads", quiet / bare, f"< {PASS_WITHIN:g} x",
            quiet < PASS_WITHIN * bare),
        Row("  the same, stored in SQLite", in_ms(stored), f"{in_ms(bare)} bare reads", stored / bare,
            f"< {PASS_WITHIN:g} x", stored < PASS_WITHIN * bare),
        Row("  the same, beside a scrape of kafka_exporter noted on another day, not measured in this run",
            in_ms(stored), in_ms(NOTED_PASS_S), stored / NOTED_PASS_S, f"< 1/{TIMES_FASTER}",
            TIMES_FASTER * stored < NOTED_PASS_S),
        Row("  every partition behind", in_ms(behind), f"{in_ms(bare_behind)} bare reads", behind / bare_behind),
    ]  # fmt: skip


def measure_flat(available: Available, folder: Path, groups: int, passes: int) -> list[Row]:
    """Return the row of the memory of a sampler and of the process that reads for it, one group in ten behind."""
    with many_estate(available, folder, groups) as estate:
        fill(estate, one_topic_in=10)
        with Worker(OURS, estate.bootstrap, "pass", str(folder), *estate.groups) as ours:
            warm = _memory_after(ours, WARM_PASSES)
            middle = (passes - WARM_PASSES) // 2
            half = _memory_after(ours, middle)
            late = _memory_after(ours, passes - WARM_PASSES - middle)
    what = f"memory after {passes:,} passes over {groups} groups, sampler + reading process"
    before, after = f"{warm[0]} + {warm[1]} MB after {WARM_PASSES}", f"{late[0]} + {late[1]} MB"
    grown = sum(late) / sum(warm)
    # The tracks of the groups fill over the first two hours, 240 passes.
    halfway = f"{half[0]} + {half[1]} MB after {WARM_PASSES + middle}"
    return [
        Row(what, after, before, grown, f"< {GROWN_WITHIN:g} x", grown < GROWN_WITHIN),
        Row("  the same, once the tracks are full", after, halfway, sum(late) / sum(half)),
    ]


OURS, BARE = "tests.bench.our_reads", "tests.bench.bare_reads"


def _passes(estate: Estate, folder: Path, runs: int) -> Sequence[float]:
    stored = tempfile.mkdtemp(dir=folder)
    with (
        Worker(OURS, estate.bootstrap, "pass", "", *estate.groups) as ours,
        Worker(OURS, estate.bootstrap, "pass", stored, *estate.groups) as storing,
        Worker(BARE, estate.bootstrap, "admin", *estate.groups) as bare,
    ):
        return medians([ours, storing, bare], runs)


def _memory_after(worker: Worker, passes: int) -> tuple[int, int]:
    for _ in range(passes):
        worker.ask()
    own, reading = worker.ask("memory")
    return own, reading
