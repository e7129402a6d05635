"""What a run of checks came to: for every format, and for the exit code."""

from __future__ import annotations

from dataclasses import dataclass

from bot.checks.violation import Severity, Violation


@dataclass(frozen=True)
class Result:
    """`violations` are sorted by file and place, waived ones among them; `checked` are the files that were judged.

    `notes` are worth a line and no finding (a new subject, a schema that a connector registers). `not_known` is what
    could not be reached or read: it makes the exit code 3 where nothing worse was found. `against` names what was
    compared with.
    """

    violations: tuple[Violation, ...] = ()
    checked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    not_known: tuple[str, ...] = ()
    against: tuple[str, ...] = ()

    def failing(self, fail_on: Severity | None) -> tuple[Violation, ...]:
        """Return the violations that make a job fail: not waived, and at or above `fail_on`; None for never."""
        if fail_on is None:
            return ()
        return tuple(one for one in self.violations if one.waiver is None and one.severity.rank >= fail_on.rank)

    def exit_code(self, fail_on: Severity | None) -> int:
        """Return the code of contract.md: 1 for a failing violation, else 3 where something was not reached, else 0."""
        return 1 if self.failing(fail_on) else 3 if self.not_known else 0
