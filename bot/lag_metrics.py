"""The lag of every watched group as Prometheus text: each number from one look, and each series once.

Rendered by hand: 10,000 group-partitions are 50,000 lines, and prometheus_client takes 10 us for each of them. What is
written here is read back with its parser, with promtool and by a real Prometheus in the tests.

Invariants
    What is not known is an absent series: never 0, never -1, never NaN. So is the lag of a partition that the group
    never committed, and a sum with a part that is not known. A group that could not be read has no number at all: its
    verdict is UNKNOWN.
    A group without a pipeline has no label `pipeline`; to Prometheus an empty label is an absent one.
    The names of kafka_exporter carry its labels and no others, and are written only when asked for: beside a running
    kafka_exporter every sum over them would double. A group that two pipelines watch is there once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bot.lag.judge import Judgement
from bot.lag.verdict import Verdict
from bot.model import GroupOffsets, PartitionOffsets
from bot.ports import Missing
from bot.probes.consumer_lag import Look


@dataclass(frozen=True)
class Family:
    """A metric's name, its labels and what it says. `kind` is what Prometheus is told of it."""

    name: str
    labels: tuple[str, ...]
    text: str
    kind: str = "gauge"


_PARTITION, _GROUP = ("pipeline", "group", "topic", "partition"), ("pipeline", "group")
LAG = Family("cdc_consumergroup_lag", _PARTITION, "Records between the committed offset and the log end.")
TIME_LAG = Family(
    "cdc_consumergroup_time_lag_seconds",
    _GROUP,
    "About how old the oldest unread record is, or how old it is at least where no more is known; 0: all is read.",
)
VERDICT = Family(
    "cdc_consumergroup_verdict", (*_GROUP, "verdict"), "1 for the group's verdict; the others have no series."
)
DRAIN = Family(
    "cdc_consumergroup_drain_seconds",
    _GROUP,
    "How long a group that catches up needs at most until it is level; 0: all is read.",
)
UNKNOWN_PARTITIONS = Family(
    "cdc_consumergroup_unknown_partitions", _GROUP, "Partitions whose lag could not be seen: they have no lag series."
)
CONSUMED = Family(
    "cdc_consumergroup_consumed_records_per_second", _GROUP, "How fast the group commits, over its last reads."
)
PRODUCED = Family(
    "cdc_consumergroup_produced_records_per_second", _GROUP, "How fast is written to what it reads, over the same time."
)
MEMBERS = Family("cdc_consumergroup_members", _GROUP, "Members; a Flink job and a consumer with assign() never is one.")
SAMPLED = Family(
    "cdc_consumergroup_sampled_timestamp_seconds", _GROUP, "When the group was last read: how old the numbers are."
)
FAMILIES = (LAG, TIME_LAG, VERDICT, DRAIN, UNKNOWN_PARTITIONS, CONSUMED, PRODUCED, MEMBERS, SAMPLED)

_OPT_IN = "As kafka_exporter has it, with `lag.kafka_exporter_names`"
_THEIR_PARTITION, _TOPIC = ("consumergroup", "topic", "partition"), ("topic", "partition")
THEIR_LAG = Family("kafka_consumergroup_lag", _THEIR_PARTITION, f"{_OPT_IN}: records behind.")
# Untyped: promtool takes a gauge that ends with `_sum` for a mistake.
THEIR_SUM = Family(
    "kafka_consumergroup_lag_sum", ("consumergroup", "topic"), f"{_OPT_IN}: records behind in a topic.", "untyped"
)
THEIR_COMMITTED = Family("kafka_consumergroup_current_offset", _THEIR_PARTITION, f"{_OPT_IN}: the committed offset.")
THEIR_END = Family("kafka_topic_partition_current_offset", _TOPIC, f"{_OPT_IN}: the log end.")
THEIR_EARLIEST = Family("kafka_topic_partition_oldest_offset", _TOPIC, f"{_OPT_IN}: the earliest offset.")
THEIR_MEMBERS = Family("kafka_consumergroup_members", ("consumergroup",), f"{_OPT_IN}: members.")
EXPORTER_FAMILIES = (THEIR_LAG, THEIR_SUM, THEIR_COMMITTED, THEIR_END, THEIR_EARLIEST, THEIR_MEMBERS)

Lags = Mapping[tuple[str, ...], int | None]
"""Lag in records by the label values of `LAG`."""

NONE: Lags = MappingProxyType({})

Verdicts = Mapping[tuple[str, str], tuple[str, int | None]]
"""(verdict, partitions whose lag could not be seen) by pipeline and group."""

NO_VERDICTS: Verdicts = MappingProxyType({})

Lines = dict[str, list[str]]
"""Of each family, by its name: what stands behind the name, labels and value."""


def render_looks(
    looks: Sequence[Look], exporter_names: bool, lags: Lags = NONE, verdicts: Verdicts = NO_VERDICTS
) -> str:
    """Return the text of all families. Of two looks at a group for one pipeline the first counts.

    `lags` and `verdicts` are those of groups that no look tells of.
    """
    lines: Lines = {family.name: [] for family in FAMILIES}
    seen: set[tuple[str | None, str]] = set()
    for look in looks:
        name = (look.watched.pipeline, look.watched.group)
        if name not in seen:
            seen.add(name)
            _add_look(lines, look)
    lines[LAG.name] += [f"{_labels(LAG.labels, key)} {lag}" for key, lag in sorted(lags.items()) if lag is not None]
    for key, (verdict, unknown) in sorted(verdicts.items()):
        lines[VERDICT.name].append(f"{_labels(VERDICT.labels, (*key, verdict))} 1")
        if unknown is not None:
            lines[UNKNOWN_PARTITIONS.name].append(f"{_labels(_GROUP, key)} {unknown}")
    text = write(FAMILIES, lines)
    return text + write(EXPORTER_FAMILIES, _exporter_lines(looks)) if exporter_names else text


def write(families: Sequence[Family], lines: Lines) -> str:
    """Return Prometheus' text format; a family without a sample still has its help, so that it can be found."""
    return "".join(
        f"# HELP {family.name} {family.text}\n# TYPE {family.name} {family.kind}\n"
        + "".join([f"{family.name}{line}\n" for line in lines[family.name]])
        for family in families
    )


def escape(value: str) -> str:
    """Return a label's value as the text format has it. A group may be called anything, a line break included."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def sees(look: Look) -> bool | None:
    """Whether the group was seen; that there is no such thing is seen, too. None: nobody was asked.

    A group of which not one committed offset was told is not seen, though its topics may be.
    """
    if look.track is None and look.error is None:
        return None
    judged = _judged(look)
    if judged is None:
        return isinstance(look.error, Missing)
    partitions = judged[0].partitions
    return not partitions or any(partition.committed_known for partition in partitions)


def _judged(look: Look) -> tuple[GroupOffsets, Judgement] | None:
    """Return the newest read and its judgement; None where the last look could not read the group."""
    if look.error is not None or look.track is None or look.judgement is None:
        return None
    return look.track.newest, look.judgement


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in zip(names, values, strict=True)) + "}"


def _add_look(lines: Lines, look: Look) -> None:
    watched = look.watched
    group = f'group="{escape(watched.group)}"'
    labels = group if watched.pipeline is None else f'pipeline="{escape(watched.pipeline)}",{group}'
    judged = _judged(look)
    if sees(look) is not None:
        lines[VERDICT.name].append(f'{{{labels},verdict="{judged[1].verdict if judged else Verdict.UNKNOWN}"}} 1')
    if look.track is not None:
        lines[SAMPLED.name].append(f"{{{labels}}} {look.track.newest.at.timestamp():.3f}")
    if judged is None:
        return
    newest, judgement = judged
    unknown = _add_partitions(lines[LAG.name], newest.partitions, labels)
    for family, value in (
        (TIME_LAG, _time_lag_s(judgement)),
        (DRAIN, 0 if judgement.lag_records == 0 else judgement.eta_max_s),
        (UNKNOWN_PARTITIONS, unknown),
        (CONSUMED, judgement.consumed_per_s),
        (PRODUCED, judgement.produced_per_s),
        (MEMBERS, newest.members),
    ):
        if value is not None and math.isfinite(value):
            lines[family.name].append(f"{{{labels}}} {value:.10g}")


def _add_partitions(lines: list[str], partitions: Sequence[PartitionOffsets], labels: str) -> int:
    """Add the lag of every partition that has one; return how many have one that could not be seen."""
    unknown, topic, head = 0, None, ""
    for one in partitions:
        lag_records = one.lag_records
        if lag_records is None:
            unknown += one.lag_is_unknown
            continue
        if one.topic != topic:
            topic = one.topic
            head = f'{{{labels},topic="{escape(topic)}",partition="'
        lines.append(f'{head}{one.partition}"}} {lag_records}')
    return unknown


def _time_lag_s(judgement: Judgement) -> float | None:
    if judgement.lag_records == 0:
        return 0.0
    lag = judgement.time_lag
    if lag is None:
        return None
    return lag.min_s if lag.about_s is None else lag.about_s


# --- kafka_exporter's names --------------------------------------------------------------------------


def _exporter_lines(looks: Sequence[Look]) -> Lines:
    """Return what kafka_exporter would say: by group and topic only, the newest read of each."""
    lines: Lines = {family.name: [] for family in EXPORTER_FAMILIES}
    groups: dict[str, list[GroupOffsets]] = {}
    ends: dict[str, dict[int, int]] = {}
    earliest: dict[str, dict[int, int]] = {}
    for read in sorted(_reads(looks), key=lambda read: read.at):
        groups.setdefault(read.group, []).append(read)
        for one in read.partitions:
            if one.latest is not None:
                ends.setdefault(one.topic, {})[one.partition] = one.latest
            if one.earliest is not None:
                earliest.setdefault(one.topic, {})[one.partition] = one.earliest
    for group, reads in sorted(groups.items()):
        labels = f'{{consumergroup="{escape(group)}"'
        _add_group(lines, labels, _newest_of(reads))
        members = [read.members for read in reads if read.members is not None]
        if members:
            lines[THEIR_MEMBERS.name].append(f"{labels}}} {members[-1]}")
    for family, by_topic in ((THEIR_END, ends), (THEIR_EARLIEST, earliest)):
        for topic, offsets in sorted(by_topic.items()):
            head = f'{{topic="{escape(topic)}",partition="'
            lines[family.name] += [f'{head}{partition}"}} {offset}' for partition, offset in sorted(offsets.items())]
    return lines


def _newest_of(reads: Sequence[GroupOffsets]) -> Sequence[PartitionOffsets]:
    """Return each partition of a group once, by topic and partition."""
    if len(reads) == 1:
        return reads[0].partitions
    newest = {one.key: one for read in reads for one in read.partitions}
    return [newest[key] for key in sorted(newest)]


def _reads(looks: Sequence[Look]) -> Iterator[GroupOffsets]:
    for look in looks:
        if judged := _judged(look):
            yield judged[0]


def _add_group(lines: Lines, labels: str, partitions: Sequence[PartitionOffsets]) -> None:
    """Add one group's lags, commits and sums. A topic with a lag that could not be seen has no sum."""
    lags, committed = lines[THEIR_LAG.name], lines[THEIR_COMMITTED.name]
    sums: dict[str, int] = {}
    unknown: set[str] = set()
    topic, head = None, ""
    for one in partitions:
        if one.topic != topic:
            topic, head = one.topic, f'{labels},topic="{escape(one.topic)}",partition="'
        if one.committed is not None:
            committed.append(f'{head}{one.partition}"}} {one.committed}')
        lag_records = one.lag_records
        if lag_records is not None:
            lags.append(f'{head}{one.partition}"}} {lag_records}')
            sums[one.topic] = sums.get(one.topic, 0) + lag_records
        elif one.lag_is_unknown:
            unknown.add(one.topic)
    lines[THEIR_SUM.name] += [
        f'{labels},topic="{escape(topic)}"}} {lag_records}'
        for topic, lag_records in sums.items()
        if topic not in unknown
    ]
