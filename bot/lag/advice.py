"""What to do about a verdict, in two sentences at most: the next move, not a lecture.

"Add members" is said only where members are what is lacking: fewer of them than partitions, and no partition that
carries most of the lag by itself.
"""

from __future__ import annotations

import re

from bot.lag.verdict import Verdict
from bot.model import GroupKind, counted

MOST = 2


def more_readers(kind: GroupKind, members: int | None, partitions: int, hot: str) -> str:
    """Return whether more readers would help a group that falls behind, and how to get them."""
    if hot:
        return f"More members would not help: {hot} carries most of the lag, and one partition has one reader."
    if kind is GroupKind.FLINK:
        return f"The source's parallelism can go up to its {partitions} partitions; more would be idle."
    if members is None or members == 0:
        return ""
    if members >= partitions:
        shared = f"{counted(members, 'member')} for {counted(partitions, 'partition')}"
        return f"More members would not help: there are {shared}. Make each record cheaper, or add partitions."
    how = "raise tasks.max" if kind is GroupKind.CONNECT_SINK else "add members"
    return f"{counted(members, 'member')} for {partitions} partitions: {how}, up to {partitions}."


def _connector(group: str) -> str:
    """Return the sink's name as Connect names its group, or a placeholder: what is copied runs in somebody's shell."""
    name = group.removeprefix("connect-")
    return name if name != group and re.fullmatch(r"[\w.-]+", name, re.ASCII) else "NAME"


def advice_for(
    verdict: Verdict, kind: GroupKind, more: str, skew: str, flapping: tuple[str, ...], owner: str, group: str
) -> tuple[str, ...]:
    """Return the sentences for the group's verdict; `more` and `skew` are those of `more_readers` and `skew_of`."""
    said: tuple[str, ...]
    match verdict:
        case Verdict.DATA_LOST | Verdict.LOSS_IMMINENT:
            said = ("Raise retention.ms of the topic now: what is deleted cannot be brought back.",)
        case Verdict.STOPPED if kind is GroupKind.FLINK:
            said = ("Restart the job from its last checkpoint or savepoint, after its cause is known.",)
        case Verdict.STOPPED if kind is GroupKind.CONNECT_SINK:
            said = (
                f"Look at the connector: `cdc connector {_connector(group)}` tells whether it was stopped, or why "
                "it failed.",
            )
        case Verdict.STOPPED:
            said = ("Look whether its process runs.",)
        case Verdict.NOT_CHECKPOINTING:
            said = ("Look at the job's checkpoint history and back pressure; do not cancel it without a savepoint.",)
        case Verdict.STUCK:
            said = (
                "Look at the record at the committed offset, and at its reader's log"
                + (f": {owner}." if owner else "."),
            )
        case Verdict.BLOCKED_BY_TXN:
            said = (
                "The producer is to blame, not the consumer: `kafka-transactions.sh find-hanging` names it.",
                "A hanging transaction ends after transaction.timeout.ms, or by `kafka-transactions.sh abort`.",
            )
        case Verdict.REWOUND:
            said = ("Was it meant? A reset, a restored checkpoint, or auto.offset.reset: records are read again.",)
        case Verdict.FALLING_BEHIND:
            said = (skew or more,)
        case Verdict.SKEWED:
            said = (skew,)
        case Verdict.FLAPPING:
            said = flapping
        case _:
            said = ()
    return tuple(sentence for sentence in said if sentence)[:MOST]
