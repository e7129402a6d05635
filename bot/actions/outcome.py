"""What an action came to: its outcome (what the system answered) and its verification (what a probe then saw)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.ports import Denied, Missing, PortError, Rejected, Unreachable


@dataclass(frozen=True)
class Outcome:
    """`succeeded` None is unknown: the request may have been carried out. It is shown and never repeated."""

    succeeded: bool | None
    detail: str
    result: Mapping[str, str] = field(default_factory=dict)


def not_carried_out(not_done: str, error: PortError) -> Outcome:
    """Return failed for a refusal and for a request that never left, else unknown; `not_done` is `Not restarted`.

    A time-out is unknown, never a reason to ask again: the system may have done it and answered too late.
    """
    if isinstance(error, Rejected | Missing | Denied):
        return Outcome(False, f"{not_done}: {error}")
    if isinstance(error, Unreachable) and not error.sent:
        return Outcome(False, f"{not_done}: {error}; nothing was sent")
    return Outcome(None, f"The request was sent and no answer came: {error}")


@dataclass(frozen=True)
class Verification:
    """`verified` None is "not yet": look again until the deadline."""

    verified: bool | None
    evidence: tuple[str, ...]
