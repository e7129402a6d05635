"""The result of a check for the machines of CI: GitHub's workflow commands, GitLab's Code Quality, JUnit's XML.

Sources: GitHub's "Workflow commands" and `ActionCommandManager` of its runner, GitLab's "Code Quality report format",
Jenkins' junit-10.xsd. What others wrote is escaped by each format's own rules.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape

from bot.checks.result import Result
from bot.checks.rules import ALL
from bot.checks.violation import Severity, Violation
from bot.render.checks_text import headline, plural, render_text
from bot.render.plain import json_text, one_line

ANNOTATIONS = 10
"""What GitHub shows of each kind in one step; it drops the others without a word."""
COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
GITLAB_SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.NOTE: "minor"}
NOT_XML = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202f-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


# --- GitHub ----------------------------------------------------------------------------------------


def render_github(
    result: Result,
    fail_on: Severity | None,
    command: str,
    texts: Mapping[str, str] | None = None,
    whole: bool = False,
) -> str:
    """Return annotations, the worst and newest first and as many as GitHub shows, then the result as text for the log.

    The text is fenced by `stop-commands`, with a token that it cannot hold: GitHub's runner looks for commands in every
    line, the older `##[...]` even inside of it.
    """
    kinds: dict[str, list[str]] = {"error": [_workflow_command("error", {}, line) for line in result.not_known]}
    for violation in sorted(result.violations, key=lambda one: (-one.severity.rank, result.is_older(one))):
        if violation.waiver is None:
            kinds.setdefault(COMMANDS[violation.severity], []).append(_annotation(violation))
    commands = [line for found in kinds.values() for line in found[:ANNOTATIONS]]
    cut = [f"{ANNOTATIONS} of {plural(len(found), kind)}" for kind, found in kinds.items() if len(found) > ANNOTATIONS]
    log = render_text(result, fail_on, False, command, texts, whole)
    if cut:
        is_short = not whole and any(map(result.is_older, result.violations))
        rest = "`--all` logs all of them" if is_short else "this log has all of them"
        log += f"GitHub shows {' and '.join(cut)} beside the files; {rest}.\n"
    token = sha256(log.encode("utf-8", "surrogatepass")).hexdigest()
    return "\n".join([*commands, f"::stop-commands::{token}", f"{log}::{token}::"]) + "\n"


def _annotation(violation: Violation) -> str:
    rule = ALL.get(violation.rule)
    properties = {
        "file": from_root(violation.file),
        "line": str(violation.line),
        "col": str(violation.column),
        "title": f"{violation.rule}: {rule.title}" if rule else violation.rule,
    }
    return _workflow_command(COMMANDS[violation.severity], properties, f"{violation.message}\n{violation.remedy}")


def _workflow_command(name: str, properties: Mapping[str, str], text: str) -> str:
    said = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name} {said}".rstrip() + f"::{_data(text.strip())}"


def _data(text: str) -> str:
    """Escape as `@actions/core` does; what is no character of a log is shown as one."""
    shown = "".join(char if char.isprintable() or char in "\r\n" else f"\\x{ord(char):02x}" for char in text)
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def from_root(file: str) -> str:
    """Return a path as GitHub and GitLab compare it with those of a repository: without a leading `./`."""
    return re.sub(r"^(\./+)+", "", file)


# --- GitLab ----------------------------------------------------------------------------------------


def render_gitlab(result: Result) -> str:
    """Return the Code Quality report: what is not waived, each with a fingerprint of its own that holds no line."""
    seen: Counter[str] = Counter()
    issues = []
    for violation in result.violations:
        if violation.waiver is not None:
            continue
        said = "\0".join((violation.fingerprint, violation.file, violation.against or ""))
        seen[said] += 1
        issues.append(
            {
                "description": one_line(f"{violation.rule}: {headline(violation)} {violation.remedy}".strip()),
                "check_name": violation.rule,
                "fingerprint": sha256(f"{said}\0{seen[said]}".encode("utf-8", "surrogatepass")).hexdigest(),
                "severity": GITLAB_SEVERITIES[violation.severity],
                "location": {"path": from_root(violation.file), "lines": {"begin": violation.line}},
            }
        )
    return json_text(issues)


# --- JUnit -----------------------------------------------------------------------------------------


def render_junit(result: Result, fail_on: Severity | None) -> str:
    """Return a test suite a file: what fails the check is a failure, what is waived is skipped, a clean file passes."""
    by_file: dict[str, list[Violation]] = {file: [] for file in result.checked}
    for violation in result.violations:
        by_file.setdefault(violation.file, []).append(violation)
    failing = {id(violation) for violation in result.failing(fail_on)}
    suites = [line for file, found in by_file.items() for line in _suite(file, found, failing)]
    if result.not_known:
        suites += _not_known(result.not_known)
    counts = f'tests="{_tests(by_file, result)}" failures="{len(failing)}" errors="{len(result.not_known)}"'
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<testsuites name="schema-check" {counts} time="0">',
            *suites,
            "</testsuites>\n",
        ]
    )


def _tests(by_file: Mapping[str, Sequence[Violation]], result: Result) -> int:
    return sum(max(1, len(found)) for found in by_file.values()) + len(result.not_known)


def _suite(file: str, violations: Sequence[Violation], failing: set[int]) -> Iterator[str]:
    failures = sum(id(violation) in failing for violation in violations)
    skipped = sum(violation.waiver is not None for violation in violations)
    name, tests = xml(from_root(file)), max(1, len(violations))
    yield f'  <testsuite name="{name}" tests="{tests}" failures="{failures}" errors="0" skipped="{skipped}" time="0">'
    if not violations:
        yield f'    <testcase classname="{name}" name="no findings" time="0"/>'
    for violation in violations:
        title = xml(one_line(f"{violation.rule} {violation.path}".strip()))
        yield f'    <testcase classname="{name}" name="{title}" time="0">'
        yield f"      {_outcome(violation, id(violation) in failing)}"
        yield "    </testcase>"
    yield "  </testsuite>"


def _outcome(violation: Violation, is_failure: bool) -> str:
    message = headline(violation)
    if violation.waiver is not None:
        until = f" until {violation.waiver.until}" if violation.waiver.until else ""
        why = one_line(f"{message} (waived by {violation.waiver.owner}{until}: {violation.waiver.reason})")
        return f'<skipped message="{xml(why)}"/>'
    where = f"{one_line(violation.file)}:{violation.line}:{violation.column}"
    if not is_failure:
        return f"<system-out>{xml(f'{where}: {violation.severity}: {message}')}\n{xml(violation.remedy)}</system-out>"
    body = f"{xml(where)}\n{xml(violation.remedy)}"
    return f'<failure type="{xml(violation.rule)}" message="{xml(message)}">{body}</failure>'


def _not_known(lines: Sequence[str]) -> Iterator[str]:
    yield f'  <testsuite name="not known" tests="{len(lines)}" failures="0" errors="{len(lines)}" skipped="0" time="0">'
    for number, line in enumerate(lines, start=1):
        yield f'    <testcase classname="not known" name="{number}" time="0">'
        yield f'      <error type="not known" message="{xml(one_line(line))}"/>'
        yield "    </testcase>"
    yield "  </testsuite>"


def xml(text: str) -> str:
    """Return text for XML 1.0, in an attribute too: line ends kept, U+FFFD for what it forbids or what turns a line."""
    return escape(NOT_XML.sub("\ufffd", text)).replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;")
