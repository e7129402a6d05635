"""A consumer group's lag in words and as a document: pure, from what was read and judged.

The document is that of `cdc lag --json` (contract.md) with `committed_total` and `end_total` beside it, which later
checks compare. The verdict's own word stands beside every headline, so no headline repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from bot.lag.judge import Beside, Judgement
from bot.lag.ladder import TimeLag, words
from bot.lag.retention import Margin, loss_horizon
from bot.lag.track import MIN_WINDOW_S
from bot.lag.verdict import Verdict
from bot.model import GroupKind, GroupOffsets, PartitionOffsets, counted

# Partitions named in a line; the document has them all.
NAMED = 8


def headline(
    newest: GroupOffsets,
    before: GroupOffsets | None,
    judgement: Judgement,
    kind: GroupKind,
    beside: Beside | None,
    waited_s: float = 0.0,
) -> str:
    """Return the lag and what is the matter with it; the verdict's own word stands beside it on every surface.

    `waited_s` is how long unread data is known to have waited for a commit, which may be longer than since `before`.
    """
    no_record = beside is not None and not all(beside.holds_record.values())
    if judgement.lag_records is not None:
        lag = f"lag {judgement.lag_records:,}"
    else:
        lag = f"lag at least {judgement.at_least_records:,}" if judgement.at_least_records else "lag not known"
    match judgement.verdict:
        case Verdict.OK:
            return f"{lag}, commits keep up" if judgement.lag_records else lag
        case Verdict.DATA_LOST:
            return f"{judgement.evidence}; {lag}"
        case Verdict.CATCHING_UP:
            return f"{lag}, {level_in(judgement.eta_s, judgement.eta_min_s, judgement.eta_max_s)}"
        case Verdict.RESIDUAL if not no_record:
            return f"{lag}, all of it is in the DLQ"
        case Verdict.STOPPED | Verdict.FALLING_BEHIND:
            return ", ".join((lag, *_movement(newest, before, waited_s), *_who_reads(newest, kind)))
        case Verdict.UNKNOWN if judgement.at_least_records:
            return ", ".join(
                (lag, *(_movement(newest, before, waited_s) or ("one read so far",)), *_who_reads(newest, kind))
            )
        case _:
            return f"{lag}, {judgement.evidence}"


def level_in(eta_s: int | None, eta_min_s: int | None, eta_max_s: int | None) -> str:
    """Return `level in 4-6 min`: a range where there is one, for a rate is never one number."""
    if eta_s is None:
        return "when it will be level is not known"
    low, high = about(eta_s if eta_min_s is None else eta_min_s), about(eta_s if eta_max_s is None else eta_max_s)
    if eta_min_s is not None and eta_max_s is None:
        return f"level in {low} or more"
    if low == high:
        return f"level in {low}"
    low = low.removesuffix(f" {high.rpartition(' ')[2]}")
    return f"level in {low}-{high}" if " " not in low else f"level in {low} to {high}"


def age_between(min_s: float, max_s: float | None) -> str:
    """Return `14-17 min old`."""
    return words(TimeLag(min_s, max_s, None)).removeprefix("oldest unread record is ")


def age(judgement: Judgement) -> tuple[str, ...]:
    """Return how old the oldest unread record is, nothing where nothing is unread or it is not known."""
    return (words(judgement.time_lag),) if judgement.time_lag and judgement.at_least_records else ()


def no_age(judgement: Judgement) -> tuple[str, ...]:
    """Return why it is not known, or not known to its upper end."""
    if not judgement.time_lag_unknown:
        return ()
    what = "how old the oldest unread record is" + (" at most" if judgement.time_lag else "")
    return (f"{what}: {judgement.time_lag_unknown}",)


def margin_of(newest: GroupOffsets, beside: Beside) -> Margin | None:
    """Return the shortest margin of the partitions with unread data before retention deletes some of it."""
    margins = [
        margin
        for one in newest.partitions
        if one.lag_records and one.committed is not None and one.topic in beside.retention
        for margin in (_margin(one, beside, newest),)
        if margin is not None
    ]
    return min(margins, key=_shortest, default=None)


def _margin(one: PartitionOffsets, beside: Beside, newest: GroupOffsets) -> Margin | None:
    rule, ladder = beside.retention[one.topic], beside.ladders.get(one.key, {})
    return loss_horizon(one.committed or 0, one.earliest, one.latest, ladder, rule, beside.horizon_s, newest.at)


def _shortest(margin: Margin) -> float:
    """What is not known at all comes before what is known to be long."""
    return -1.0 if margin.min_s is None else margin.min_s


def safe_for(margin: Margin | None) -> tuple[str, ...]:
    """Return how long retention leaves unread data alone, in words."""
    if margin is None:
        return ()
    by_size = "retention.bytes deletes by size as well: when is not known" if margin.is_by_size else ""
    by_age = ""
    if margin.min_s is not None and margin.max_s is not None:
        low, high = about(margin.min_s), about(margin.max_s)
        by_age = (
            f"retention deletes the oldest unread data in {low if low == high else f'{low} to {high}'} at the soonest"
        )
    elif margin.max_s is not None:
        by_age = f"retention may delete the oldest unread data at any time within {about(margin.max_s)}"
    return tuple(line for line in (by_age, by_size) if line)


def _movement(newest: GroupOffsets, before: GroupOffsets | None, waited_s: float) -> tuple[str, ...]:
    """Return what happened between the reads to the partitions with unread data; nothing when there is one read."""
    window_s = (newest.at - before.at).total_seconds() if before else 0.0
    earlier = {one.key: one for one in (before.partitions if before else ())}
    pairs = [(one, earlier[one.key]) for one in newest.partitions if one.lag_records and one.key in earlier]
    known = [(now, was) for now, was in pairs if was.committed is not None and was.latest is not None]
    if not known or window_s < MIN_WINDOW_S:
        return ()
    committed = sum((now.committed or 0) - (was.committed or 0) for now, was in known)
    written = sum((now.latest or 0) - (was.latest or 0) for now, was in known)
    if committed:
        return (f"{committed:,} committed and {written:,} written in {about(window_s)}",)
    if all(was.lag_records == 0 for _, was in known):
        return (f"all written in the last {about(window_s)}",)
    return (f"nothing committed for {about(max(window_s, waited_s))}",)


def _who_reads(sample: GroupOffsets, kind: GroupKind) -> tuple[str, ...]:
    """Return the question that an empty group puts; a Flink job is never a member, so there it puts none."""
    if sample.state != "EMPTY" or sample.members != 0 or kind is GroupKind.FLINK:
        return ()
    return ("no members: is the sink running?" if kind is GroupKind.CONNECT_SINK else "no members: is it running?",)


def about(seconds: float) -> str:
    """Return a duration in steps, so that two looks that say the same are worded the same: 2 s, 40 s, 3 min, 2 h."""
    if seconds >= 7200:
        return f"{seconds / 3600:.0f} h"
    if seconds >= 95:
        return f"{seconds / 60:.0f} min"
    step_s = 1 if seconds < 5 else 5 if seconds < 20 else 10
    return f"{step_s * round(seconds / step_s)} s"


def who(sample: GroupOffsets, judgement: Judgement, kind: GroupKind) -> tuple[str, ...]:
    if sample.state is None or sample.members is None:
        return ()
    line = f"group {sample.state}, {counted(sample.members, 'member')}"
    if sample.members == 0 and judgement.verdict is not Verdict.OK:
        line += {
            GroupKind.FLINK: ": says nothing, a Flink job never is a member",
            GroupKind.CONNECT_SINK: ": no task of the sink is reading",
            GroupKind.CONSUMER: ": nothing is reading, unless it uses assign()",
        }[kind]
    return (line,)


def not_summed(sample: GroupOffsets) -> tuple[str, ...]:
    """Return whose lag is not in the sum; a commit beyond the log end is of another topic of that name."""
    unknown = [one for one in sample.partitions if one.lag_is_unknown]
    beyond = [one for one in unknown if one.committed is not None and one.latest is not None]
    others = [one for one in unknown if one.committed is None or one.latest is None]
    return (
        *(f"lag of {named}" for named in _named(others)),
        *(f"lag of {named}: its commit is beyond the log end, was the topic made anew?" for named in _named(beyond)),
    )


def _named(partitions: Sequence[PartitionOffsets]) -> tuple[str, ...]:
    names = [f"{one.topic}/{one.partition}" for one in partitions]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (f"{', '.join(names[:NAMED])}{more}",) if names else ()


def _total(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if values and len(known) == len(values) else None


def document(
    sample: GroupOffsets,
    judgement: Judgement,
    beside: Beside | None,
    margin: Margin | None,
    not_known: Sequence[str],
) -> dict[str, Any]:
    """Return the facts; what is not known is None and told in `not_known`."""
    judged = {(one.topic, one.partition): one for one in judgement.partitions}
    topics = []
    for topic, members in groupby(
        sorted(sample.partitions, key=lambda partition: partition.key), key=lambda partition: partition.topic
    ):
        partitions = list(members)
        lags = [p.lag_records for p in partitions if p.lag_records is not None or p.lag_is_unknown]
        topics.append(
            {
                "topic": topic,
                "lag_records": _total(lags),
                "partitions": [
                    {
                        "partition": partition.partition,
                        "committed_offset": partition.committed,
                        "earliest_offset": partition.earliest,
                        "log_end_offset": partition.latest,
                        "lag_records": partition.lag_records,
                        "verdict": judged[partition.key].verdict.value,
                        "evidence": judged[partition.key].evidence,
                    }
                    for partition in partitions
                ],
            }
        )
    committed = [p.committed for p in sample.partitions if p.committed is not None or not p.committed_known]
    time_lag = judgement.time_lag
    return {
        **nothing(sample.group),
        "state": sample.state,
        "members": sample.members,
        "lag_records": judgement.lag_records,
        "time_lag_s": _rounded(time_lag.about_s) if time_lag else None,
        "time_lag_min_s": _rounded(time_lag.min_s) if time_lag else None,
        "time_lag_max_s": _rounded(time_lag.max_s) if time_lag else None,
        "verdict": judgement.verdict.value,
        "evidence": judgement.evidence,
        "eta_s": judgement.eta_s,
        "eta_min_s": judgement.eta_min_s,
        "eta_max_s": judgement.eta_max_s,
        "consumed_per_s": _rounded(judgement.consumed_per_s),
        "produced_per_s": _rounded(judgement.produced_per_s),
        "commit_interval_s": _rounded(judgement.commit_interval_s),
        "trough_records": judgement.trough_records,
        "margin_s": _rounded(margin.min_s) if margin else None,
        "margin_max_s": _rounded(margin.max_s) if margin else None,
        "advice": list(judgement.advice),
        "membership": [
            {
                "id": member.id,
                "client": member.client,
                "host": member.host,
                "partitions": [{"topic": topic, "partition": partition} for topic, partition in member.partitions],
            }
            for member in sample.membership
        ],
        "topics": topics,
        "not_known": list(not_known),
        "committed_total": _total(committed),
        "end_total": _total([partition.latest for partition in sample.partitions]),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def nothing(group: str) -> dict[str, Any]:
    """Return the document of a group of which nothing could be read."""
    return {
        "group": group,
        "state": None,
        "members": None,
        "lag_records": None,
        "time_lag_s": None,
        "time_lag_min_s": None,
        "time_lag_max_s": None,
        "verdict": Verdict.UNKNOWN.value,
        "evidence": "nothing could be read",
        "eta_s": None,
        "eta_min_s": None,
        "eta_max_s": None,
        "consumed_per_s": None,
        "produced_per_s": None,
        "commit_interval_s": None,
        "trough_records": None,
        "margin_s": None,
        "margin_max_s": None,
        "advice": [],
        "membership": [],
        "topics": [],
        "committed_total": None,
        "end_total": None,
    }
