"""What the check says of a rule's example: for `cdc check explain`, and for the test that every example is true.

Examples of Protobuf and DDL take protoc and the parser of SQL: their own tests run those.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from bot.checks.run import Registered, RegisteredVersion, Snapshot, Source, check, read
from bot.checks.settings import SchemaSettings
from bot.checks.subjects import subject_of
from bot.checks.violation import Example, Violation


def judged(example: Example, today: dt.date) -> tuple[Violation, ...] | None:
    """Return all violations of the example's files, after `old` or beside a registry; None where it takes a parser."""
    if example.kind != "avro" and example.answer is None:
        return None
    settings = replace(SchemaSettings(level=example.level), **dict(example.settings))
    files = {example.file: example.new, **example.beside}
    corpus = read(Source(file, text, example.kind) for file, text in files.items())
    if example.answer is None:
        before = () if example.old is None else (Snapshot("before", {example.file: example.old}, frozenset()),)
        return check(corpus, settings, today, before).violations
    registered = []
    for file in files:
        subject = subject_of(file, None, settings.subjects) or file
        held = () if example.old is None else (RegisteredVersion(1, example.answer.schema_type, example.old),)
        answer = (example.answer.accepts, example.answer.said)
        registered.append(Registered(file, subject, "http://registry:8081", example.level, held, *answer))
    return check(corpus, settings, today, (), registered).violations
