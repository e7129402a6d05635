"""The verdicts on a consumer group's lag, worst first: the field's words, and their order."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """Worst first; `rank` is the order. UNKNOWN outranks CATCHING_UP, RESIDUAL and OK: it is never shown as healthy."""

    DATA_LOST = "DATA_LOST"
    LOSS_IMMINENT = "LOSS_IMMINENT"
    STOPPED = "STOPPED"
    NOT_CHECKPOINTING = "NOT_CHECKPOINTING"
    STUCK = "STUCK"
    BLOCKED_BY_TXN = "BLOCKED_BY_TXN"
    REWOUND = "REWOUND"
    FALLING_BEHIND = "FALLING_BEHIND"
    SKEWED = "SKEWED"
    FLAPPING = "FLAPPING"
    NEVER_COMMITTED = "NEVER_COMMITTED"
    UNKNOWN = "UNKNOWN"
    CATCHING_UP = "CATCHING_UP"
    RESIDUAL = "RESIDUAL"
    OK = "OK"

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return _RANKS[self]


_RANKS = {verdict: rank for rank, verdict in enumerate(Verdict)}
