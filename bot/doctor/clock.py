"""`cdc doctor`, clock: how far this host's clock is from the clocks of the servers it talks to.

Slack refuses what is signed more than 5 minutes apart, and an alert that ends "in the future" is judged wrongly. The
servers' `Date` headers tell whole seconds. Which clock is wrong nobody can tell from two: with more, the odd one out.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from bot.doctor.check import Check, failed, names, ok, warning

PART = "clock"
WARN_S, FAIL_S = 30, 300


def judge(offsets: Mapping[str, float | None]) -> tuple[Check, ...]:
    """Return a line per server that is off, or one for all. An offset is the server's clock minus ours, in seconds."""
    known = {name: offset for name, offset in offsets.items() if offset is not None}
    if not known:
        return (
            warning(
                PART, "no server told its time: whether this host's clock is right is not known",
                "Run `timedatectl` and see that the clock is synchronized.",
            ),
        )  # fmt: skip
    off = {name: offset for name, offset in known.items() if abs(offset) > WARN_S}
    if not off:
        furthest = max(abs(offset) for offset in known.values())
        return (ok(PART, f"within {furthest:.0f} s of {names(list(known))}"),)
    if len(known) > 1 and len(off) == len(known) and max(known.values()) - min(known.values()) <= WARN_S:
        here = median(known.values())
        what = f"this host's clock is {_apart(-here)} all servers asked ({names(list(known))})"
        return (_line(abs(here), what, "Synchronize this host's clock (`timedatectl set-ntp true`)."),)
    return tuple(
        _line(
            abs(offset), f"the clock of {name} is {_apart(offset)} this host's",
            f"Synchronize the clock of {name}'s host, or this one's, with NTP (`timedatectl set-ntp true`).",
        )
        for name, offset in off.items()
    )  # fmt: skip


def _line(apart_s: float, what: str, remedy: str) -> Check:
    if apart_s > FAIL_S:
        return failed(PART, f"{what}: Slack refuses what is signed more than 5 min apart", remedy)
    return warning(PART, what, remedy)


def _apart(offset_s: float) -> str:
    return f"{abs(offset_s):.0f} s {'ahead of' if offset_s > 0 else 'behind'}"
