"""What a CI run tells the bot of what it blocked."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.checks.violation import Severity, Violation
from bot.cli_registry import blocked_of

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def violation(rule: str, subject: str | None) -> Violation:
    return Violation(rule, Severity.ERROR, "schemas/a.avsc", "tier", "undecided", "decide", subject=subject)


def test_a_blocked_subject_is_told_once_with_rule_commit_and_job() -> None:
    """However many rules it breaks; a file without a subject is told by its name."""
    failing = [violation("C001", "a-value"), violation("C002", "a-value"), violation("A001", None)]
    environ = {"GITHUB_RUN_ID": "7", "GITHUB_REPOSITORY": "shop/schemas", "GITHUB_SHA": "3fa2b1c"}
    told = blocked_of(failing, environ, AT)
    assert [("a-value", "C001", 1), ("schemas/a.avsc", "A001", 0)] == [
        (one.subject, one.rule, one.more) for one in told
    ]
    assert {"https://github.com/shop/schemas/actions/runs/7/attempts/1"} == {one.job for one in told}
    assert {("ci", "3fa2b1c", AT)} == {(one.source, one.ref, one.at) for one in told}


def test_gitlab_names_its_job_itself() -> None:
    """And outside of CI there is none."""
    assert ["http://gitlab/1", ""] == [
        blocked_of([violation("C001", "a")], environ, AT)[0].job for environ in ({"CI_JOB_URL": "http://gitlab/1"}, {})
    ]
