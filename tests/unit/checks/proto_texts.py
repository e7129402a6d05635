"""Real protoc and buf for the tests of the Protobuf checks: a text in, a frozen file or verdicts out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from bot.checks.protobuf.changes import Before, judge
from bot.checks.protobuf.lint import lint, not_compiled
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Violation
from bot.clients.buf import BufCommand
from bot.clients.protoc import GrpcProtoc
from bot.descriptors import ProtoFile

PROTOC = GrpcProtoc()
BUF = BufCommand(str(Path(sys.executable).parent / "buf"), ["schemas"])
FILE = "schemas/shop/v1/customer.proto"
HEADS = {
    "proto3": 'syntax = "proto3";\npackage shop.v1;\n',
    "proto2": 'syntax = "proto2";\npackage shop.v1;\n',
    "2023": 'edition = "2023";\npackage shop.v1;\n',
    "2024": 'edition = "2024";\npackage shop.v1;\n',
}
SETTINGS = SchemaSettings()


def compiled(texts: Mapping[str, str], places: bool = True) -> Mapping[str, ProtoFile]:
    found = PROTOC.compile(texts, folders=["schemas"], places=places)
    assert () == found.errors
    return found.files


def one(text: str, places: bool = True) -> ProtoFile:
    return compiled({FILE: text}, places)[FILE]


def linted(text: str, is_compared: bool = False, file: str = FILE) -> tuple[Violation, ...]:
    found = PROTOC.compile({file: text}, folders=["schemas"])
    if found.errors:
        return not_compiled(found.errors)
    return lint(found.files[file], SETTINGS, is_compared)


def judged(old: str, new: str, level: str = "BACKWARD") -> tuple[Violation, ...]:
    return judge(one(new), [Before(one(old, places=False), "git main (3fa2b1c)")], level, SETTINGS)
