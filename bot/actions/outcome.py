"""What an action came to: its outcome (what the system answered) and its verification (what a probe then saw)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """`succeeded` None is unknown: the request may have been carried out. It is shown and never repeated."""

    succeeded: bool | None
    detail: str
    result: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """`verified` None is "not yet": look again until the deadline."""

    verified: bool | None
    evidence: tuple[str, ...]
