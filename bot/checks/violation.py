"""A violation: which rule, where, what is wrong and what to write instead.

A rule names the place by the JSON pointer of its node (Avro) or by line and column (what protoc and sqlglot tell); the
run turns pointers into lines once, for files that have violations. `path` is the place in the schema's own terms
(`customer.address.zip`): it survives reformatting, so fingerprints, waivers and baselines are keyed by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any

Pointer = tuple[str | int, ...]
"""Keys and indices from the root of a JSON document: `("fields", 2, "type")`."""


class Severity(StrEnum):
    """`rank` orders them, worst highest."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


@dataclass(frozen=True)
class Waiver:
    """Somebody's decision to live with a violation: never without a reason and an owner; `until` is an ISO date."""

    reason: str
    owner: str
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """`against` is what the file was compared with (`git main (3fa2b1c)`, `registry S v4`), None for lint.

    `subject` is the registry's subject where it is known. `line` and `column` count from 1.
    """

    rule: str
    severity: Severity
    file: str
    path: str
    message: str
    remedy: str
    pointer: Pointer | None = None
    line: int = 1
    column: int = 1
    subject: str | None = None
    against: str | None = None
    waiver: Waiver | None = None

    @property
    def fingerprint(self) -> str:
        """Stable over reformatting and over the moves of other fields: rule, file or subject, and path."""
        said = "\0".join((self.rule, self.subject or self.file, self.path))
        return sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def document(self) -> dict[str, Any]:
        """Return the `findings[]` entry of contract.md."""
        return {
            "rule": self.rule,
            "severity": str(self.severity),
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "remedy": self.remedy,
            "subject": self.subject,
            "against": self.against,
            "waived": self.waiver is not None,
            "waiver": None
            if self.waiver is None
            else {"reason": self.waiver.reason, "owner": self.waiver.owner, "until": self.waiver.until},
        }


@dataclass(frozen=True)
class Answer:
    """What a registry holds and says in an example: the type of `old`, and whether it would take `new`, and why not."""

    schema_type: str
    accepts: bool | None = None
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """A file, or a change from `old` to `new`, under settings; what a rule's documentation and its test share.

    `kind` is `avro`, `proto`, `json` (JSON Schema) or `ddl`. `settings` are the fields of `SchemaSettings` that differ
    from the defaults. `beside` are other files of the same run. With an `answer`, `old` is what the registry holds.
    """

    new: str
    old: str | None = None
    kind: str = "avro"
    level: str = "BACKWARD"
    file: str = "schemas/customers-value.avsc"
    settings: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    answer: Answer | None = None


@dataclass(frozen=True)
class Rule:
    """One rule as `cdc check explain` tells it. `why` is two to five sentences with the source (spec, KIP, issue).

    `also` are the other rules whose errors `failing` cannot be without.
    """

    id: str
    severity: Severity
    title: str
    why: str
    failing: Example
    passing: Example
    also: tuple[str, ...] = ()
