"""The result of a schema check as text and as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from bot.checks.result import Result
from bot.checks.violation import Severity, Violation, Waiver
from bot.render.checks import FORMATS, render
from bot.render.plain import cells

FILE = "schemas/customers-value.avsc"
TEXT = """{
  "type": "record",
  "name": "Customer",
  "fields": [
\t{"name": "tier", "type": "string"}
  ]
}
"""
WAIVER = Waiver("the sink casts it", "@data-platform", "2026-12-31")


def violation(rule: str = "C001", severity: Severity = Severity.ERROR, **said: Any) -> Violation:
    fields: dict[str, Any] = {"file": FILE, "path": "tier", "message": "`tier` is new", "remedy": "Decide."}
    return Violation(rule, severity, **{**fields, **said})


def result(*violations: Violation, **said: Any) -> Result:
    return Result(violations, **{"checked": (FILE, "schemas/orders-value.avsc"), **said})


def lines(shown: Result, fail_on: Severity | None = Severity.ERROR, **said: Any) -> list[str]:
    return render(shown, "text", fail_on=fail_on, **said).splitlines()


# --- text ------------------------------------------------------------------------------------------


def test_a_violation_is_a_line_to_click_its_place_and_its_fix() -> None:
    """Place, severity, rule, message; the line of the file with a caret, a tab as four blanks; what to write."""
    one = violation(line=5, column=2, remedy='{"name": "tier", "type": ["null", "string"], "default": null}')
    assert [
        f"{FILE}:5:2  error    C001  `tier` is new",
        '    5 |     {"name": "tier", "type": "string"}',
        "      |     ^",
        '    fix: {"name": "tier", "type": ["null", "string"], "default": null}',
        "",
        "`cdc check explain C001` tells a rule's reason, with an example.",
        "1 error in 1 of 2 files; compared with git main (3fa2b1c). Exit 1: errors fail this check.",
    ] == lines(result(one, against=("git main (3fa2b1c)",)), texts={FILE: TEXT})


def test_a_fix_of_several_lines_is_pasted_as_it_is() -> None:
    """The lines keep their own indentation below `fix:`."""
    shown = lines(result(violation(remedy='"type": {\n  "type": "long"\n}\n')))
    assert ["    fix:", '      "type": {', '        "type": "long"', "      }"] == shown[1:5]


@pytest.mark.parametrize(
    ("column", "source", "marked"),
    [
        (1, "{}", "{"),
        (3, '"é": 1', '"'),
        (4, '"日本": 1', '"'),  # wide letters take two columns
        (300, "x" * 299 + "y" + "z" * 300, "y"),  # the part around the place of a minified file
        (600, "x" * 599 + "y", "y"),
        (9, "{}", ""),  # past the end of the line
    ],
)
def test_the_caret_stands_below_the_column(column: int, source: str, marked: str) -> None:
    """Also behind wide letters and in a line that is cut on both sides."""
    shown = lines(result(violation(line=2, column=column)), texts={FILE: f"[\n{source}\n]"})
    text, caret = shown[1], shown[2]
    at = next(i for i in range(len(text) + 1) if cells(text[:i]) == cells(caret) - 1)
    assert marked == text[at : at + 1]
    assert len(text) < 120


def test_a_caret_of_the_parser_is_not_drawn_twice() -> None:
    """A message that brings its own is one line; the place is shown below it."""
    one = violation(line=5, column=2, message='a comma before "]"\n  {"name": "tier",\n      ^')
    assert f'{FILE}:5:2  error    C001  a comma before "]"' == lines(result(one), texts={FILE: TEXT})[0]


def test_no_line_is_shown_that_is_not_there() -> None:
    """A file that changed under the run, an empty line, a finding about the whole file."""
    for line, column in ((99, 1), (1, 1)):
        shown = lines(result(violation(line=line, column=column)), texts={FILE: TEXT})
        assert "    fix: Decide." == shown[1]


def test_it_is_said_what_a_finding_was_compared_with_where_that_is_not_plain() -> None:
    """One comparison stands in the last line alone; a version, or one of several, with the finding."""
    one = violation(against="git main (3fa2b1c)")
    assert "compared with" not in lines(result(one, against=("git main (3fa2b1c)",)))[1]
    assert "    compared with git main (3fa2b1c)" == lines(result(one, against=("git main (3fa2b1c)", "dir:old")))[1]
    assert "    compared with registry S v4" == lines(result(violation(against="registry S v4"), against=("r",)))[1]


@pytest.mark.parametrize(
    ("count", "severity", "told"),
    [(5, Severity.WARNING, 5), (6, Severity.WARNING, 1), (6, Severity.NOTE, 1), (40, Severity.ERROR, 40)],
)
def test_many_warnings_of_a_rule_in_a_file_are_told_once(count: int, severity: Severity, told: int) -> None:
    """Up to five are told each, errors always; the rest by name, and JSON has them all."""
    many = result(*(violation("A101", severity, path=f"f{i}", line=i + 1, column=2) for i in range(count)))
    shown = lines(many)
    assert told == sum("  A101  " in line for line in shown)
    assert count == len(json.loads(render(many, "json"))["findings"])
    if told < count:
        assert "    A101 5 times more: f1, f2, f3, f4, f5" in shown
        assert f"{count} {severity}s in 1 of 2 files" in shown[-1]


def test_of_very_many_some_are_named() -> None:
    """A line stays a line."""
    many = result(*(violation("A101", Severity.WARNING, path=f"f{i}") for i in range(1_200)))
    assert "    A101 1,199 times more: f1, f2, f3, f4, f5, f6, f7, f8, and 1,191 more" in lines(many)
    assert "1,200 warnings in 1 of 2 files" in lines(many)[-1]


def test_a_waived_finding_is_one_line_with_who_and_why() -> None:
    """It is counted, fails nothing, and wants no fix."""
    shown = lines(result(violation(waiver=WAIVER)))
    said = f"{FILE}:1:1  waived   C001  `tier` is new (@data-platform until 2026-12-31: the sink casts it)"
    assert [said, ""] == shown[:2]
    assert shown[2].startswith("no findings, 1 waived in 2 files; ")


@pytest.mark.parametrize(
    ("violations", "fail_on", "said", "end"),
    [
        ((), Severity.ERROR, "no findings in 2 files", "Exit 0: nothing fails this check."),
        ((Severity.WARNING,), Severity.ERROR, "1 warning in 1 of 2 files", "Exit 0: nothing fails this check."),
        ((Severity.WARNING,), Severity.WARNING, "1 warning in", "Exit 1: errors and warnings fail this check."),
        ((Severity.NOTE,), Severity.NOTE, "1 note in", "Exit 1: every finding fails this check."),
        ((Severity.NOTE,) * 2 + (Severity.ERROR,), None, "1 error, 2 notes in", "Exit 0: `--fail-on never`."),
    ],
)
def test_the_last_line_says_counts_comparison_and_exit(
    violations: tuple[Severity, ...], fail_on: Severity | None, said: str, end: str
) -> None:
    """The worst comes first, and the meaning is that of the code."""
    last = lines(result(*(violation(severity=one) for one in violations)), fail_on)[-1]
    assert last.startswith(said)
    assert "; compared with nothing: `--against git` adds the rules of change. " in last
    assert last.endswith(end)


def test_what_could_not_be_reached_proves_nothing() -> None:
    """It is said, and the exit code is 3 unless something worse was found."""
    shown = result(not_known=("registry http://r: 401",), notes=("orders-value: new subject",))
    assert ["note: orders-value: new subject", "not known: registry http://r: 401"] == lines(shown)[:2]
    assert lines(shown)[-1].endswith("Exit 3: something could not be reached, so nothing is proved.")
    assert 3 == shown.exit_code(Severity.ERROR)
    assert 1 == replace(shown, violations=(violation(),)).exit_code(Severity.ERROR)


@pytest.mark.parametrize("evil", ["a\nerror: b", "\x1b[2J", "\x9b31m", "a\rb", "\u2028x", "\ud800", "\x00"])
@pytest.mark.parametrize("form", FORMATS)
def test_foreign_text_steers_nothing(evil: str, form: str) -> None:
    """A name with a newline begins no line, an escape sequence is shown, and everything can be written as UTF-8."""
    one = violation(
        file=f"s/{evil}.avsc", path=evil, message=f"m {evil}", remedy=f"r {evil}", subject=evil, against=evil, column=2
    )
    waived = replace(one, waiver=Waiver(evil, evil, evil))
    shown = result(one, waived, checked=(one.file,), notes=(evil,), not_known=(evil,), against=(evil, "b"))
    said = render(shown, form, texts={one.file: f"[{evil}]"})
    said.encode("utf-8")
    assert not set(said) & set("\x1b\x9b\r\x00\u2028")
    if form == "text":
        assert not any(line.startswith(("error:", "x", "b")) for line in said.splitlines())


def test_colour_never_stands_without_its_word() -> None:
    """The same words with and without; every colour ends on its line."""
    shown = result(violation(), violation("A1", Severity.WARNING), violation(waiver=WAIVER), not_known=("x",))
    painted = render(shown, "text", colour=True)
    assert render(shown, "text") == re.sub(r"\x1b\[[\d;]*m", "", painted)
    assert all(line.count("\x1b[") == 2 * line.count("\x1b[0m") for line in painted.splitlines())


# --- JSON ------------------------------------------------------------------------------------------


def test_the_json_document_is_that_of_the_contract() -> None:
    """`findings` with place, message, remedy and waiver; `checked` is a number."""
    one = violation(line=5, column=2, waiver=WAIVER, subject="customers-value", against="git main")
    shown = result(one, against=("git main",), notes=("n",), not_known=("k",))
    assert {
        "findings": [
            {
                "rule": "C001",
                "severity": "error",
                "file": FILE,
                "line": 5,
                "column": 2,
                "path": "tier",
                "message": "`tier` is new",
                "remedy": "Decide.",
                "subject": "customers-value",
                "against": "git main",
                "waived": True,
                "waiver": {"reason": "the sink casts it", "owner": "@data-platform", "until": "2026-12-31"},
            }
        ],
        "checked": 2,
        "against": ["git main"],
        "notes": ["n"],
        "not_known": ["k"],
    } == json.loads(render(shown, "json"))


def test_an_unknown_format_is_refused() -> None:
    """With the names of those that there are."""
    with pytest.raises(ValueError, match="yaml is none of text, json"):
        render(result(), "yaml")


def test_a_registry_that_did_not_answer_is_not_said_to_be_compared_with() -> None:
    """What was compared is named apart from what was not."""
    down = ("registry http://r:8081: GET http://r:8081/subjects: refused the connection",)
    names = ("git main (1)", "registry http://r:8081")
    last = lines(result(against=names, not_known=down))[-1]
    assert "; compared with git main (1); not, or not wholly, compared with registry http://r:8081. Exit 3" in last
    assert "; not, or not wholly, compared with" in lines(result(against=names[1:], not_known=down))[-1]
    assert "; compared with git main (1), registry http://r:8081. Exit 0" in lines(result(against=names))[-1]


# --- what is older ---------------------------------------------------------------------------------

OLD = "schemas/agents-value.avsc"


def aged(errors: int) -> Result:
    old = [violation("A107", file=OLD, path=f"e{i}", message="no default symbol") for i in range(errors)]
    old.append(violation("A101", Severity.WARNING, file=OLD, message="no doc"))
    return result(*old, violation(against="git main (1)"), against=("git main (1)",), untouched=frozenset({OLD}))


def test_what_the_change_brought_stands_before_one_line_for_what_is_older() -> None:
    """Older errors that fail the check are named, so that the exit code is no riddle; older warnings are counted."""
    shown = lines(aged(1))
    assert shown[0].startswith(f"{FILE}:1:1  error    C001")
    assert f"{OLD}:1:1  error    A107  no default symbol" in shown
    assert not any("A101" in line for line in shown)
    accepts = "`--write-baseline FILE` on the main branch accepts them"
    told = "older: 1 error, 1 warning in 1 file, there before this change; `--all` shows them"
    assert f"{told}, {accepts}" in shown
    assert told in lines(aged(1), None)
    assert "`cdc check explain C001` tells a rule's reason, with an example." in shown
    assert "2 errors, 1 warning in 1 of 2 files; compared with git main (1). Exit 1: errors fail this check." in shown


def test_of_many_older_errors_ten_are_named() -> None:
    """The others are counted."""
    shown = lines(aged(12))
    assert 10 == sum("A107" in line for line in shown)
    assert "and 2 older more that fail this check" in shown


def test_all_tells_older_findings_in_full_after_those_of_the_change() -> None:
    """Nothing is counted away then."""
    shown = lines(aged(12), whole=True)
    assert shown[0].startswith(f"{FILE}:1:1  error    C001")
    assert 12 == sum("A107" in line for line in shown)
    assert any("A101" in line for line in shown)
    assert not any(line.startswith("older: ") for line in shown)


def test_a_comment_and_annotations_tell_the_change_first() -> None:
    """GitHub shows ten errors a step, and older ones took the place of the change's."""
    errors = [line for line in render(aged(12), "github").splitlines() if line.startswith("::error ")]
    assert "C001" in errors[0]
    assert "`--all` logs all of them." in render(aged(12), "github")
    comment = render(aged(12), "markdown")
    assert "`C001`" in comment and "`A107`" not in comment
    assert "older: 12 errors, 1 warning in 1 file" in comment


def test_json_and_reports_hold_the_older_findings_in_their_order() -> None:
    """The contract's documents are as they were: tools count for themselves."""
    assert ["A107", "A101", "C001"] == [one["rule"] for one in json.loads(render(aged(1), "json"))["findings"]]
    assert 3 == len(json.loads(render(aged(1), "gitlab")))
    assert 2 == render(aged(1), "junit").count("<failure")
