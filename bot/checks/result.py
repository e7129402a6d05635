"""What a run of checks came to: for every format, and for the exit code."""

from __future__ import annotations

from dataclasses import dataclass

from bot.checks.violation import Severity, Violation

OF_SEVERAL_FILES = ("A002", "A003", "A006", "A008", "A009", "A017", "P001")
"""Rules that a change of one file can break in another."""

Standing = tuple[str, str, str]


@dataclass(frozen=True)
class Result:
    """`violations` are sorted by file and place, waived ones among them; `checked` are the files that were judged.

    `notes` are worth a line and no finding (a new subject, a schema that a connector registers). `not_known` is what
    could not be reached or read: it makes the exit code 3 where nothing worse was found. `against` names what was
    compared with. `untouched` are the files that do not differ from what was; `standing` what others broke before the
    change as well, by file, rule and path.
    """

    violations: tuple[Violation, ...] = ()
    checked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    not_known: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    untouched: frozenset[str] = frozenset()
    standing: frozenset[Standing] = frozenset()

    def is_older(self, violation: Violation) -> bool:
        """Whether it stood there before the change: then it is nothing that the change's author just wrote."""
        if violation.against is not None or violation.rule.startswith("S"):
            return False
        if (violation.file, violation.rule, violation.path) in self.standing:
            return True
        return violation.file in self.untouched and violation.rule not in OF_SEVERAL_FILES

    def failing(self, fail_on: Severity | None) -> tuple[Violation, ...]:
        """Return the violations that make a job fail: not waived, and at or above `fail_on`; None for never."""
        if fail_on is None:
            return ()
        return tuple(one for one in self.violations if one.waiver is None and one.severity.rank >= fail_on.rank)

    def exit_code(self, fail_on: Severity | None) -> int:
        """Return the code of contract.md: 1 for a failing violation, else 3 where something was not reached, else 0."""
        return 1 if self.failing(fail_on) else 3 if self.not_known else 0
