"""One group on 1,000 partitions: `cdc lag` as a whole process beside Kafka's own tool, and its reads alone.

The tool runs as kafka-consumer-groups.sh starts it, without the script: its own heap, garbage collector and compiler.
"""

from __future__ import annotations

import shlex
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench.bots import CDC
from tests.bench.groups import BEHIND_GROUP, QUIET_GROUP, wide_estate
from tests.bench.table import Row, in_ms, in_s
from tests.bench.terminal import BARE_PROGRAM, run_in_turns
from tests.bench.worker import Worker, medians
from tests.system.fetch import Available

# bin/kafka-run-class.sh and bin/kafka-consumer-groups.sh of Kafka 4.1.1.
JAVA_OPTIONS = (
    "-Xmx256M -server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35"
    " -XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true"
)
TOOL = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"

TIMES_FASTER, READS_WITHIN, BEHIND_WITHIN = 4, 2.0, 2.0


def measure_wide(available: Available, folder: Path, partitions: int, runs: int) -> list[Row]:
    """Return the rows of a quiet group, of one that lags, and of the reads."""
    with wide_estate(available, folder, partitions) as estate:
        at = ["--bootstrap", estate.bootstrap]
        commands = [
            [str(CDC), "lag", QUIET_GROUP, *at],
            [str(CDC), "lag", BEHIND_GROUP, *at],
            [sys.executable, str(BARE_PROGRAM), estate.bootstrap, QUIET_GROUP],
            tool(available, folder, "--bootstrap-server", estate.bootstrap, "--describe", "--group", QUIET_GROUP),
        ]
        quiet, behind, bare, tools = run_in_turns(commands, runs)
        rows = whole_processes(partitions, quiet, behind, bare, tools)
        with (
            Worker("tests.bench.our_reads", estate.bootstrap, "group", QUIET_GROUP) as ours,
            Worker("tests.bench.bare_reads", estate.bootstrap, "consumer", QUIET_GROUP) as by_consumer,
            Worker("tests.bench.bare_reads", estate.bootstrap, "admin", QUIET_GROUP) as by_admin,
        ):
            read, floor, admin = medians([ours, by_consumer, by_admin], 3 * runs)
    what = f"read_group, {partitions:,} partitions, client open"
    return [
        *rows,
        Row(what, in_ms(read), f"{in_ms(floor)} bare reads", read / floor, f"< {READS_WITHIN:g} x",
            read < READS_WITHIN * floor),
        Row("  the same", in_ms(read), f"{in_ms(admin)} list_consumer_group_offsets", read / admin),
    ]  # fmt: skip


def whole_processes(
    partitions: int, quiet: Sequence[float], behind: Sequence[float], bare: Sequence[float], tools: Sequence[float]
) -> list[Row]:
    ours, lagging, floor, theirs = (statistics.median(each) for each in (quiet, behind, bare, tools))
    what = f"cdc lag, {partitions:,} partitions, whole process"
    return [
        Row(what, f"best {in_s(min(quiet))}, median {in_s(ours)}",
            f"best {in_s(min(tools))}, median {in_s(theirs)} kafka-consumer-groups", ours / theirs,
            f"< 1/{TIMES_FASTER}", TIMES_FASTER * ours < theirs),
        Row("  the same", f"median {in_s(ours)}", f"median {in_s(floor)} bare script", ours / floor),
        Row("  the same, every partition behind", f"best {in_s(min(behind))}, median {in_s(lagging)}",
            f"median {in_s(ours)} quiet", lagging / ours, f"< {BEHIND_WITHIN:g} x", lagging < BEHIND_WITHIN * ours),
    ]  # fmt: skip


def tool(available: Available, folder: Path, *words: str) -> list[str]:
    """Return the command of Kafka's tool, logging warnings only, as tools-log4j2.yaml has it."""
    log = folder / "tools-log4j2.properties"
    log.write_text("rootLogger.level=WARN\nrootLogger.appenderRef.e.ref=E\nappender.e.type=Console\nappender.e.name=E\n"
                   "appender.e.target=SYSTEM_ERR\n")  # fmt: skip
    libraries = available.place("kafka") / "libs"
    java = [str(available.place("java")), *shlex.split(JAVA_OPTIONS), f"-Dlog4j2.configurationFile={log}"]
    return [*java, "-cp", f"{libraries}/*", TOOL, *words]
