"""One line of `cdc doctor`: what was looked at, how it is, and the one thing to write or run.

Every part of the doctor is a module beside this one, made the same way:

    gather(...) -> Facts                 asks through ports, within a deadline; a `PortError` is a fact, never raised
    judge(facts, ...) -> tuple[Check]    pure: what the facts mean; one table test per line, both sides

Invariants
    A status is one of the four words of contract.md. What could not be seen is never `ok`.
    A line that is not `ok` has a remedy: one sentence with the exact thing to write or run.
    No secret and no control character is in a line; foreign text is flattened to one line here, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

SHOWN_CHARACTERS = 600
SHOWN_NAMES = 6


class CheckStatus(StrEnum):
    """The four words of contract.md."""

    OK = "ok"
    NOT_CONFIGURED = "not configured"
    WARNING = "warning"
    FAILED = "failed"

    @property
    def rank(self) -> int:
        """Worst highest; what is not configured is no finding."""
        return list(CheckStatus).index(self)


@dataclass(frozen=True)
class Check:
    """`part` groups lines (`slack`, `kafka`, ...); `what` is what was found; `remedy` is empty for `ok`."""

    part: str
    status: CheckStatus
    what: str
    remedy: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", one_line(self.what))
        object.__setattr__(self, "remedy", one_line(self.remedy))

    def document(self) -> Mapping[str, str]:
        """The line as `cdc doctor --json` prints it."""
        return {"part": self.part, "status": str(self.status), "what": self.what, "remedy": self.remedy}


def ok(part: str, what: str) -> Check:
    return Check(part, CheckStatus.OK, what)


def warning(part: str, what: str, remedy: str) -> Check:
    return Check(part, CheckStatus.WARNING, what, remedy)


def failed(part: str, what: str, remedy: str) -> Check:
    return Check(part, CheckStatus.FAILED, what, remedy)


def not_configured(part: str, what: str, remedy: str) -> Check:
    return Check(part, CheckStatus.NOT_CONFIGURED, what, remedy)


def worst(checks: Iterable[Check]) -> CheckStatus:
    """Return the worst status of some lines; `ok` of none."""
    return max((check.status for check in checks), key=lambda status: status.rank, default=CheckStatus.OK)


def names(found: Sequence[str], most: int = SHOWN_NAMES) -> str:
    """Return names for a line, the first of many: `a, b and 3 more`."""
    shown = ", ".join(found[:most])
    return shown if len(found) <= most else f"{shown} and {len(found) - most} more"


def one_line(text: str) -> str:
    """Return text on one line, control characters as escapes, cut where nobody reads on."""
    flat = " ".join(text.split())
    plain = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in flat)
    return plain if len(plain) <= SHOWN_CHARACTERS else plain[:SHOWN_CHARACTERS] + "..."
