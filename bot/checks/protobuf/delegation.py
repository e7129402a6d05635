"""What buf found, as violations of rule `BUF`, less what a P-rule asks as well.

buf's own id is the path, so that a waiver, a baseline entry or a fingerprint is about one of its rules in one file. A
rule of buf that asks what a P-rule asks is left out whether or not ours found something: where the two disagree, ours
knows more (the level, or both verdicts), and the table of changes in tests/unit/checks/test_protobuf_buf.py says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from bot.checks.violation import Severity, Violation
from bot.descriptors import BufFinding

OURS: Mapping[str, str] = MappingProxyType(
    {
        "COMPILE": "P001",
        "SYNTAX_SPECIFIED": "P001",
        **dict.fromkeys(("PACKAGE_DEFINED", "PACKAGE_VERSION_SUFFIX", "PACKAGE_DIRECTORY_MATCH"), "P101"),
        **dict.fromkeys(
            (
                "FIELD_LOWER_SNAKE_CASE",
                "MESSAGE_PASCAL_CASE",
                "ENUM_PASCAL_CASE",
                "ENUM_VALUE_PREFIX",
                "ENUM_VALUE_UPPER_SNAKE_CASE",
            ),
            "P102",
        ),
        **dict.fromkeys(("ENUM_FIRST_VALUE_ZERO", "ENUM_ZERO_VALUE_SUFFIX", "ENUM_NO_ALLOW_ALIAS"), "P103"),
        "FIELD_NOT_REQUIRED": "P104",
        **dict.fromkeys(("COMMENT_FIELD", "COMMENT_MESSAGE", "COMMENT_ENUM"), "P106"),
        **dict.fromkeys(
            (
                "FIELD_NO_DELETE",
                "FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED",
                "FIELD_NO_DELETE_UNLESS_NAME_RESERVED",
                "ENUM_VALUE_NO_DELETE",
                "ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED",
                "ENUM_VALUE_NO_DELETE_UNLESS_NAME_RESERVED",
            ),
            "P201",
        ),
        **dict.fromkeys(("RESERVED_MESSAGE_NO_DELETE", "RESERVED_ENUM_NO_DELETE"), "P202"),
        **dict.fromkeys(("FIELD_SAME_TYPE", "FIELD_WIRE_COMPATIBLE_TYPE", "FIELD_WIRE_JSON_COMPATIBLE_TYPE"), "P203"),
        **dict.fromkeys(
            (
                "FIELD_SAME_CARDINALITY",
                "FIELD_WIRE_COMPATIBLE_CARDINALITY",
                "FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY",
            ),
            "P204",
        ),
        **dict.fromkeys(("FIELD_SAME_ONEOF", "ONEOF_NO_DELETE"), "P205"),
        **dict.fromkeys(
            ("FILE_SAME_PACKAGE", "MESSAGE_NO_DELETE", "ENUM_NO_DELETE", "PACKAGE_MESSAGE_NO_DELETE"), "P206"
        ),
        "MESSAGE_SAME_REQUIRED_FIELDS": "P207",
        **dict.fromkeys(("FIELD_SAME_NAME", "FIELD_SAME_JSON_NAME", "ENUM_VALUE_SAME_NAME"), "P208"),
        "FIELD_SAME_DEFAULT": "P209",
    }
)
"""A rule of buf -> ours that asks the same. Source: notes on the rule tables of buf 1.75."""


def added(findings: Iterable[BufFinding], against: str | None = None) -> tuple[Violation, ...]:
    """Return what buf alone found. `against` names what was compared with, None for lint."""
    return tuple(
        Violation(
            "BUF",
            Severity.ERROR,
            one.file,
            one.rule,
            f"buf {one.rule}: {one.message}",
            f"Follow https://buf.build/docs/{'breaking' if against else 'lint'}/rules/#{one.rule.lower()}, or except "
            f"{one.rule} in buf.yaml.",
            line=one.line,
            column=one.column,
            against=against,
        )
        for one in findings
        if one.rule not in OURS
    )
