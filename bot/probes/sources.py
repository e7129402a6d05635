"""What the probes may ask, and what a probe says when it could not see.

A port that is None is not configured: its findings are UNKNOWN and say so. A probe never raises: what it could
not see becomes a finding with status UNKNOWN and one of the verdicts of `UNSEEN`, so that a surface can tell
"does not exist" from "did not answer" (`cdc` exits 3 for each of them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bot.lag.ladder import Ladder
from bot.lag.track import GroupTrack
from bot.model import Finding, GroupOffsets, PartitionKey, Signal, Status
from bot.ports import Connect, Denied, Flink, Kafka, KafkaCluster, Missing, PortError, SchemaRegistry

if TYPE_CHECKING:
    from bot.incident.refusals import Refusals  # `cdc lag` does not pay for it

MISSING = "MISSING"
DENIED = "DENIED"
UNREACHABLE = "UNREACHABLE"
NOT_CONFIGURED = "NOT_CONFIGURED"
UNSEEN = frozenset({MISSING, DENIED, UNREACHABLE, NOT_CONFIGURED})


def no_track(group: str) -> GroupTrack | None:
    """What somebody without a memory knows of a group."""
    return None


def forget(read: GroupOffsets) -> None:
    """What somebody without a memory keeps of a read."""


def no_refusals(pipeline: str) -> Sequence[Refusals]:
    """What somebody without a memory knows of refused schemas."""
    return ()


def no_ladder(key: PartitionKey) -> Ladder:
    """What somebody without a memory knows of a partition's times."""
    return {}


def forget_ladders(ladders: Mapping[PartitionKey, Ladder]) -> None:
    """What somebody without a memory keeps of them."""


@dataclass(frozen=True)
class Sources:
    """The systems a probe may ask, the bot's own memory, and the time it has.

    `first_seen` tells when the bot first saw (subject, version). `track_of` tells what earlier reads of a group showed,
    and `note` is told of each new read. `wait` pauses between two reads of a group; without it there is one read.
    `deadline_s` is for all targets of one probe together. `cluster` lists what there is; no probe asks it.
    `horizon_s` is how far ahead LOSS_IMMINENT looks. `ladder_of` and `note_ladders` keep what brokers answered by time:
    past answers never change. `groups` are those that are looked at beside the pipelines' own. `refusals_of` tells
    which schemas of a pipeline a registry refused lately. `failing_since` is when what an incident is about first
    failed; None where nobody looks because of a failure. `remembers`: it is the bot that looks, time and again, so what
    it did not see before is new.
    """

    kafka: Kafka | None = None
    registry: SchemaRegistry | None = None
    connect: Connect | None = None
    first_seen: Mapping[tuple[str, int], datetime] = field(default_factory=dict)
    track_of: Callable[[str], GroupTrack | None] = no_track
    note: Callable[[GroupOffsets], object] = forget
    wait: Callable[[float], object] | None = None
    deadline_s: float = 5.0
    cluster: KafkaCluster | None = None
    flink: Flink | None = None
    horizon_s: float = 8 * 3600.0
    ladder_of: Callable[[PartitionKey], Ladder] = no_ladder
    groups: tuple[str, ...] = ()
    note_ladders: Callable[[Mapping[PartitionKey, Ladder]], object] = forget_ladders
    refusals_of: Callable[[str], Sequence[Refusals]] = no_refusals
    failing_since: datetime | None = None
    remembers: bool = False


def unseen(
    probe: str, target: str, signal: Signal, at: datetime, error: PortError | None, facts: Mapping[str, Any], what: str
) -> Finding:
    """Return the finding of a probe that saw nothing; `error` None means that `what` is not configured."""
    if error is None:
        verdict, reason = NOT_CONFIGURED, f"{what} is not configured"
    else:
        verdict = MISSING if isinstance(error, Missing) else DENIED if isinstance(error, Denied) else UNREACHABLE
        reason = str(error)
    line = f"could not see {target}: {reason}"
    return Finding(
        probe=probe,
        target=target,
        verdict=verdict,
        status=Status.UNKNOWN,
        headline=f"{target}: {_HEADLINES[verdict].format(what=what)}",
        at=at,
        signal=signal,
        facts={**facts, "not_known": [line]},
        not_known=(line,),
    )


def rfc3339(at: datetime | None) -> str | None:
    """Return the contract's form of a time: UTC, whole seconds, `Z`; None stays None."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


_HEADLINES = {
    MISSING: "{what} says there is no such thing",
    DENIED: "{what} does not let the bot look",
    UNREACHABLE: "{what} did not answer",
    NOT_CONFIGURED: "{what} is not configured",
}
