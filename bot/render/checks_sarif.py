"""The result of a check as SARIF 2.1.0, for code scanning: GitHub, GitLab, Azure DevOps, editors.

Source: OASIS SARIF 2.1.0; the numbers in comments are its sections. A waived violation is a suppressed result, and as
suppressions must be there for all results or for none (3.27.23), the others have an empty list of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from bot.checks.result import Result
from bot.checks.rules import ALL
from bot.checks.violation import Severity, Violation
from bot.render.checks_ci import from_root
from bot.render.checks_rules import example_lines
from bot.render.plain import json_text, one_line

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT = "%SRCROOT%"
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def render_sarif(result: Result, texts: Mapping[str, str] | None = None) -> str:
    """Return the log. Columns are UTF-16 code units, as most readers count, where the `texts` are given."""
    sources = {file: text.split("\n") for file, text in (texts or {}).items()}
    ids = list(dict.fromkeys(violation.rule for violation in result.violations))
    run = {
        "tool": {"driver": {"name": "cdc-oncall", "rules": [_rule(rule_id) for rule_id in ids]}},
        "invocations": [
            {
                "executionSuccessful": not result.not_known,
                "toolExecutionNotifications": [
                    *({"level": "error", "message": {"text": _message(line)}} for line in result.not_known),
                    *({"level": "note", "message": {"text": _message(note)}} for note in result.notes),
                ],
            }
        ],
        "originalUriBaseIds": {ROOT: {"description": {"text": "The root of the repository."}}},
        "columnKind": "utf16CodeUnits" if texts is not None else "unicodeCodePoints",
        "results": [_result(violation, ids, sources.get(violation.file)) for violation in result.violations],
    }
    return json_text({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(rule_id: str) -> dict[str, Any]:
    rule = ALL.get(rule_id)
    if rule is None:
        return {"id": rule_id}
    return {
        "id": rule.id,
        "shortDescription": {"text": _message(rule.title)},
        "fullDescription": {"text": _message(rule.why)},
        "help": {"text": rule.why, "markdown": "\n".join([rule.why, "", *example_lines(rule)])},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
    }


def _result(violation: Violation, ids: Sequence[str], source: Sequence[str] | None) -> dict[str, Any]:
    place: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": _artifact(violation.file),
            "region": {"startLine": violation.line, "startColumn": _column(violation, source)},
        }
    }
    if violation.path:
        place["logicalLocations"] = [{"fullyQualifiedName": one_line(violation.path)}]
    return {
        "ruleId": violation.rule,
        "ruleIndex": ids.index(violation.rule),
        "level": LEVELS[violation.severity],
        "message": {"text": _message(f"{violation.message}\n{violation.remedy}".strip())},
        "locations": [place],
        "partialFingerprints": {"cdcOncall/v1": violation.fingerprint},
        "suppressions": [] if violation.waiver is None else [_suppression(violation)],
    }


def _suppression(violation: Violation) -> dict[str, Any]:
    waiver = violation.waiver
    assert waiver is not None
    until = f" until {waiver.until}" if waiver.until else ""
    return {"kind": "external", "status": "accepted", "justification": f"{waiver.owner}{until}: {waiver.reason}"}


def _artifact(file: str) -> dict[str, Any]:
    """Return the place of a file: below the root of the repository, or by itself where its path is absolute (3.4)."""
    uri = quote(from_root(file).encode("utf-8", "surrogatepass"))
    if uri.startswith("/"):
        return {"uri": f"file://{uri}"}
    # A colon before the first slash would make the start of a path a scheme (RFC 3986, 4.2).
    return {"uri": uri, "uriBaseId": ROOT}


def _column(violation: Violation, source: Sequence[str] | None) -> int:
    if source is None or not 1 <= violation.line <= len(source):
        return violation.column
    before = source[violation.line - 1][: violation.column - 1]
    return violation.column + sum(char > "\uffff" for char in before)


def _message(text: str) -> str:
    """Return a message whose brackets make no link (3.11.6)."""
    return re.sub(r"\[(?=[^\[\]]*\]\()", r"\\[", text)
