"""The result of a check for GitHub, GitLab, JUnit, SARIF, Markdown: valid, whole, and foreign text steers nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from bot.checks.result import Result
from bot.checks.violation import Severity, Waiver
from bot.render.checks import render
from bot.render.checks_markdown import render_markdown
from tests.unit.render.test_checks import FILE, TEXT, WAIVER, result, violation

EVIL = (
    "a\n::error file=x::y",
    "##[error]boo",
    "100%0A::warning::x",
    "a,b:c=d",
    "| a | b |\n|---|\n",
    "``` x ```` y `",
    "</script><img src=x onerror=alert(1)> &amp; ]]>",
    "@channel @org/team #12 <!channel> <@U1>",
    "[text](http://evil) {0} {{1}}",
    "\x00\x1b[31m\x9b\ud800\ufffe\u2028",
    "*_~\\",
)


def evil_result(text: str) -> Result:
    one = violation(
        file=f"s/{text}.avsc", path=text, message=f"m {text}", remedy=f"r {text}\nr {text}", subject=text, against=text
    )
    waived = replace(one, waiver=Waiver(text, text, text))
    return result(one, waived, checked=(one.file,), notes=(text,), not_known=(text,), against=(text, "b"))


# --- GitHub ----------------------------------------------------------------------------------------


def obeyed(log: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield the commands that GitHub's runner finds in a log, unescaped, by the rules of its `ActionCommandManager`."""
    stopped = None
    for line in log.splitlines():
        stripped = line.strip()
        if stopped is not None:
            stopped = None if stripped == f"::{stopped}::" else stopped
            continue
        if found := re.match(r"::([a-z-]+)(?: (.*?))?::(.*)", stripped):
            name, said, text = found[1], found[2] or "", found[3]
            properties = dict(pair.split("=", 1) for pair in said.split(",") if pair)
            if name == "stop-commands":
                stopped = text
                continue
            yield name, {key: unescaped(value, ":,") for key, value in properties.items()}, unescaped(text, "")
        elif "##[" in line:
            yield "##[", {}, line


def unescaped(text: str, more: str) -> str:
    assert not set(text) & set(f"\r\n{more}")
    for char in f"\r\n{more}%":
        text = text.replace(f"%{ord(char):02X}", char)
    return text


def test_an_annotation_says_place_rule_and_fix() -> None:
    """Beside the line of the file, with what to write below the message."""
    shown = result(violation(file=f"./{FILE}", line=5, column=2, remedy="a\nb"))
    assert [
        ("error", {"file": FILE, "line": "5", "col": "2", "title": "X999"}, "`tier` is new\na\nb"),
    ] == list(obeyed(render(replace(shown, violations=(replace(shown.violations[0], rule="X999"),)), "github")))


@pytest.mark.parametrize("text", EVIL)
def test_foreign_text_is_no_command(text: str) -> None:
    """The runner finds our commands alone, and what they say comes out as it went in; the log's lines are fenced."""
    shown = evil_result(text)
    log = render(shown, "github", texts={shown.checked[0]: text})
    log.encode("utf-8")
    commands = list(obeyed(log))
    assert ["error", "error"] == [name for name, _, _ in commands]
    printable = all(char.isprintable() or char == "\n" for char in text)
    if printable:
        assert text.strip() == commands[0][2]
        assert (f"s/{text}.avsc", f"m {text}\nr {text}\nr {text}".strip()) == (commands[1][1]["file"], commands[1][2])


def test_github_shows_ten_of_a_kind_and_the_log_says_so() -> None:
    """The worst come first, what is not known among them; all are in the log."""
    many = [violation(path=f"e{i}") for i in range(11)]
    many += [violation("A101", Severity.WARNING, path=f"w{i}", file=f"{i}.avsc") for i in range(12)]
    shown = result(*reversed(many), violation("C020", Severity.NOTE), not_known=("the registry",))
    log = render(shown, "github")
    assert [*["error"] * 10, *["warning"] * 10, "notice"] == [name for name, _, _ in obeyed(log)]
    assert "GitHub shows 10 of 12 errors and 10 of 12 warnings beside the files; this log has all of them." in log
    assert 12 == log.count("  A101  ")


def test_a_waived_finding_is_no_annotation() -> None:
    """It stands in the log."""
    log = render(result(violation(waiver=WAIVER)), "github")
    assert [] == list(obeyed(log))
    assert "waived   C001" in log


# --- GitLab ----------------------------------------------------------------------------------------

CODE_QUALITY = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "additionalProperties": False,
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": r"^(?!\./)"},
                    "lines": {"required": ["begin"], "properties": {"begin": {"type": "integer", "minimum": 1}}},
                },
            },
        },
    },
}
"""As GitLab documents it: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format"""


def issues(shown: Result) -> list[dict[str, Any]]:
    document: list[dict[str, Any]] = json.loads(render(shown, "gitlab"))
    jsonschema.validate(document, CODE_QUALITY)
    return document


def test_code_quality_is_that_of_gitlab() -> None:
    """Severities are GitLab's, paths are the repository's, waived findings are none."""
    shown = result(
        violation(file=f"./{FILE}", line=5, remedy="Decide:\nyes"),
        violation("A101", Severity.WARNING),
        violation("C020", Severity.NOTE),
        violation(waiver=WAIVER),
    )
    found = issues(shown)
    assert ["critical", "major", "minor"] == [issue["severity"] for issue in found]
    assert {"path": FILE, "lines": {"begin": 5}} == found[0]["location"]
    assert "C001: `tier` is new Decide: yes" == found[0]["description"]
    assert [] == issues(result())


def test_a_fingerprint_outlives_a_move_and_is_never_told_twice() -> None:
    """GitLab takes two alike for one: each has its own; a line more above changes none."""
    same = [violation(line=i) for i in (1, 2, 3)] + [violation(against="registry S v1"), violation(file="other.avsc")]
    before = [issue["fingerprint"] for issue in issues(result(*same))]
    assert len(same) == len(set(before))
    moved = [replace(one, line=one.line + 7, column=9) for one in same]
    assert before == [issue["fingerprint"] for issue in issues(result(*moved))]


@pytest.mark.parametrize("text", EVIL)
def test_code_quality_takes_any_text(text: str) -> None:
    """It stays JSON in UTF-8, and a description stays one line."""
    assert all("\n" not in issue["description"] for issue in issues(evil_result(text)))
    render(evil_result(text), "gitlab").encode("utf-8")


# --- JUnit -----------------------------------------------------------------------------------------

# Jenkins' junit-10.xsd, which pytest's and Maven's reports follow: attributes (required first) and children.
JUNIT: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": (
        {"name"},
        {"time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}


def junit(shown: Result, fail_on: Severity | None = Severity.ERROR) -> ElementTree.Element:
    """Return the report, checked by the rules of the XSD, its counts by what is in it."""
    root = ElementTree.fromstring(render(shown, "junit", fail_on=fail_on).encode("utf-8"))
    assert "testsuites" == root.tag
    for element in root.iter():
        required, optional, children = JUNIT[element.tag]
        assert required <= set(element.attrib) <= required | optional
        assert {child.tag for child in element} <= children
    for suite in (*root, root):
        for attribute, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            assert suite.attrib[attribute] == str(len(list(suite.iter(tag))))
    for suite in root:
        assert suite.attrib["skipped"] == str(len(list(suite.iter("skipped"))))
    return root


def test_junit_has_a_suite_a_file_and_a_case_a_finding() -> None:
    """What fails the check is a failure; a warning passes and says so; waived is skipped; a clean file passes."""
    shown = result(
        violation(line=5, column=2),
        violation("A101", Severity.WARNING, path="a.b"),
        violation("C003", waiver=WAIVER),
        not_known=("the registry",),
    )
    root = junit(shown)
    assert [FILE, "schemas/orders-value.avsc", "not known"] == [suite.attrib["name"] for suite in root]
    cases = root[0]
    assert ["C001 tier", "A101 a.b", "C003 tier"] == [case.attrib["name"] for case in cases]
    assert ["failure", "system-out", "skipped"] == [case[0].tag for case in cases]
    assert f"{FILE}:5:2\nDecide." == cases[0][0].text
    assert "`tier` is new (waived by @data-platform until 2026-12-31: the sink casts it)" == cases[2][0].get("message")
    assert ["no findings"] == [case.attrib["name"] for case in root[1]]


def test_what_fails_in_junit_is_what_fails_the_check() -> None:
    """`--fail-on` decides."""
    shown = result(violation(), violation("A101", Severity.WARNING))
    said = [junit(shown, fail_on).get("failures") for fail_on in (None, Severity.ERROR, Severity.WARNING)]
    assert ["0", "1", "2"] == said


@pytest.mark.parametrize("text", EVIL)
def test_junit_takes_any_text(text: str) -> None:
    """Markup is escaped, line ends are kept in a body, and what XML forbids is a replacement character."""
    root = junit(evil_result(text))
    failure = next(root.iter("failure"))
    if all(char.isprintable() or char == "\n" for char in text):
        assert (failure.text or "").endswith(f"r {text}\nr {text}")


# --- SARIF -----------------------------------------------------------------------------------------


def sarif(shown: Result, texts: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the only run of the log, checked by the rules of the specification that a reader trips over."""
    log = json.loads(render(shown, "sarif", texts=texts))
    assert ("2.1.0", 1) == (log["version"], len(log["runs"]))
    run: dict[str, Any] = log["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert len(rules) == len({rule["id"] for rule in rules})
    for one in run["results"]:
        assert one["ruleId"] == rules[one["ruleIndex"]]["id"]
        assert one["level"] in ("error", "warning", "note")
        assert one["message"]["text"]
        assert isinstance(one["suppressions"], list)  # all or none: 3.27.23
        place = one["locations"][0]["physicalLocation"]
        assert place["artifactLocation"].get("uriBaseId") in (*run["originalUriBaseIds"], None)
        assert re.fullmatch(r"(file:///)?[\w.~/%-]+", place["artifactLocation"]["uri"], re.ASCII)
        assert 1 <= place["region"]["startLine"]
        assert 1 <= place["region"]["startColumn"]
    return run


def test_sarif_has_place_rule_and_fingerprint() -> None:
    """A code scanner follows a result over commits by the fingerprint, and finds the file below the repository."""
    one = violation(file=f"./{FILE}", line=5, column=2, path="customer.tier")
    (found,) = sarif(result(one), {one.file: TEXT})["results"]
    assert {
        "ruleId": "C001",
        "ruleIndex": 0,
        "level": "error",
        "message": {"text": "`tier` is new\nDecide."},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": FILE, "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": 5, "startColumn": 2},
                },
                "logicalLocations": [{"fullyQualifiedName": "customer.tier"}],
            }
        ],
        "partialFingerprints": {"cdcOncall/v1": one.fingerprint},
        "suppressions": [],
    } == found


def test_a_waived_finding_is_a_suppressed_result() -> None:
    """With who, until when and why; the others have an empty list, so that a reader knows that they were judged."""
    run = sarif(result(violation(waiver=WAIVER), violation()))
    said = {
        "kind": "external",
        "status": "accepted",
        "justification": "@data-platform until 2026-12-31: the sink casts it",
    }
    assert [[said], []] == [one["suppressions"] for one in run["results"]]


def test_sarif_counts_columns_as_it_says() -> None:
    """A letter beyond U+FFFF is two UTF-16 code units; without the text the columns are code points."""
    one = violation(line=1, column=4)
    for texts, kind, column in (({FILE: '"\U0001f600" 1'}, "utf16CodeUnits", 5), (None, "unicodeCodePoints", 4)):
        run = sarif(result(one), texts)
        assert (kind, column) == (
            run["columnKind"],
            run["results"][0]["locations"][0]["physicalLocation"]["region"]["startColumn"],
        )


def test_what_was_not_reached_is_a_failed_run() -> None:
    """A scanner must not take the absence of results for health."""
    (invocation,) = sarif(result(not_known=("registry: 401",)))["invocations"]
    assert (False, "registry: 401") == (
        invocation["executionSuccessful"],
        invocation["toolExecutionNotifications"][0]["message"]["text"],
    )
    assert sarif(result())["invocations"][0]["executionSuccessful"]


@pytest.mark.parametrize("text", EVIL)
def test_sarif_takes_any_text(text: str) -> None:
    """Paths are percent-encoded, and brackets make no link."""
    run = sarif(evil_result(text))
    assert not re.search(r"(?<!\\)\[[^\]]*\]\(", run["results"][0]["message"]["text"])


# --- Markdown --------------------------------------------------------------------------------------


def test_a_comment_is_a_table_what_to_write_and_the_counts() -> None:
    """The worst first; what is to be pasted is code; the last line is that of the text."""
    shown = result(
        violation("A101", Severity.WARNING, message="no doc", file="a.avsc"),
        violation(line=5, column=2, remedy='{"a": 1}', against="registry S v4"),
        violation(line=6, remedy='"x":\n  1'),
        violation(waiver=WAIVER),
        against=("registry",),
        notes=("new subject",),
    )
    assert [
        "### ❌ Schema check: 2 errors, 1 warning, 1 waived",
        "",
        "| | rule | where | what is wrong |",
        "|---|---|---|---|",
        f"| ❌ error | `C001` | `{FILE}:5:2` | `tier` is new; compared with registry S v4 |",
        f"| ❌ error | `C001` | `{FILE}:6:1` | `tier` is new |",
        "| ⚠️ warning | `A101` | `a.avsc:1:1` | no doc |",
        "",
        f'- `C001` `{FILE}:5:2`: `{{"a": 1}}`',
        "",
        f"- `C001` `{FILE}:6:1`:",
        "",
        "  ```",
        '  "x":',
        "    1",
        "  ```",
        "",
        "- new subject",
        "",
        "2 errors, 1 warning, 1 waived in 1 of 2 files; compared with registry. Exit 1: errors fail this check.",
        "",
        "`cdc check explain C001` tells a rule's reason, with an example.",
    ] == render(shown, "markdown").splitlines()


@pytest.mark.parametrize("text", EVIL)
def test_a_comment_takes_any_text(text: str) -> None:
    """A row stays a row of four cells, nothing is HTML or a link, and nobody is mentioned outside of code."""
    said = render(evil_result(text), "markdown")
    said.encode("utf-8")
    rows = [line for line in said.splitlines() if line.startswith("|")]
    assert 3 == len(rows)
    assert {5} == {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    # The rendered words without code: fences, then spans of any number of backticks.
    bare = re.sub(r"(?ms)^ *(`{3,})\n.*?^ *\1$", "", said)
    bare = re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", bare)
    assert "<" not in bare
    assert not re.search(r"(?<!\\)\]\(|[@#]\w", bare)


@pytest.mark.parametrize("text", ["x" * 70_000, "|" * 5_000, "`a` " * 4_000])
def test_a_comment_is_never_longer_than_github_takes(text: str) -> None:
    """Rows go before the counts, and what is left out is told."""
    many = [violation(path=f"f{i}", message=text, remedy=text, file=f"{i}.avsc") for i in range(100)]
    said = render(result(*many, notes=(text,) * 100), "markdown")
    assert len(said) <= 65_536
    assert re.search(r"\d+ lines more: `cdc check schemas` in a terminal has all\.", said)
    assert "100 errors in" in said.splitlines()[-3]
    assert len(render_markdown(result(*many[:2]), Severity.ERROR, "cdc", limit=3_000)) <= 3_000
