"""How often a group commits: configured, told by Flink, learned from its commits, or assumed.

What is learned is the time that unread data waited between two commits of one partition (`Wait`); a commit that was not
due, because nothing was unread, says nothing. Reads every 30 s cannot see a 5 s interval: each of them shows a commit,
and 30 s is learned. So what is learned lies between the true interval and the greater of it and the step between reads:
never too short, at worst patient. Phases even out over KEPT_WAITS of them: 45 s between commits is seen as 30, 60, 30,
60 s. Time for which a commit stood still far beyond the others is an outage, not an interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.lag.track import GroupTrack, Wait
from bot.model import GroupKind

# The defaults of `auto.commit.interval.ms` (Java consumer) and `offset.flush.interval.ms` (Connect worker). A
# checkpoint interval has no default. Enough to size a window for rates; too weak to call a consumer stuck.
ASSUMED_S: Mapping[GroupKind, float] = {GroupKind.CONSUMER: 5.0, GroupKind.CONNECT_SINK: 60.0}

# Checkpoints and Iceberg commits come every 60-300 s: where nothing else is known, a commit is late after this.
LONGEST_ASSUMED_S = 300.0

FROZEN_INTERVALS = 3
OUTAGE_TIMES = 3.0
FEW_WAITS = 3

# A committer slower than this many steps between reads is seen as a sawtooth: a read after its commit, then others.
SAWTOOTH_STEPS = 1.5


@dataclass(frozen=True, slots=True)
class Interval:
    """`is_proved`: configured, told or learned. `is_sawtooth`: commits are further apart than reads."""

    seconds: float
    is_proved: bool
    is_sawtooth: bool = False

    @property
    def frozen_s(self) -> float:
        """How long a commit must have stood still to prove anything."""
        return FROZEN_INTERVALS * self.seconds


def interval_of(
    track: GroupTrack, kind: GroupKind, configured_s: float | None, checkpoint_s: float | None
) -> Interval | None:
    """Return the group's commit interval by the best source there is; None where there is none."""
    step_s, known_s = track.step_s, configured_s or checkpoint_s
    if known_s is None:
        known_s = learned_s(track.waits)
        if known_s is not None and step_s is not None and known_s < step_s:
            known_s = step_s
    if known_s is None:
        assumed_s = ASSUMED_S.get(kind)
        return None if assumed_s is None else Interval(assumed_s, is_proved=False)
    return Interval(known_s, True, step_s is not None and known_s > SAWTOOTH_STEPS * step_s)


def learned_s(waits: tuple[Wait, ...]) -> float | None:
    """Return the commit interval in seconds that these waits show, or None where they are too few.

    The mean of waits between two commits; of one or two the longest. Data that came in between (`is_whole` False)
    waited for less than an interval: where there is nothing else the longest of several is taken.
    """
    whole = [wait for wait in waits if wait.is_whole]
    if not whole:
        return max(wait.seconds for wait in waits) if len(waits) >= FEW_WAITS else None
    if len(whole) < FEW_WAITS:
        return max(wait.seconds for wait in whole)
    total_s = sum(wait.seconds for wait in whole)
    whole.sort()
    while len(whole) > 2 and whole[-1].proved_s > OUTAGE_TIMES * (total_s - whole[-1].seconds) / (len(whole) - 1):
        total_s -= whole.pop().seconds
    return total_s / len(whole)
