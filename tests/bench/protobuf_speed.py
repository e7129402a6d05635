"""Speed of the Protobuf checks beside `buf breaking` on the same files, in the same run."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bot.checks.protobuf.changes import Before, judge
from bot.checks.protobuf.lint import lint
from bot.checks.settings import SchemaSettings
from bot.clients.buf import BufCommand
from bot.clients.protoc import GrpcProtoc


def texts(count: int, fields: int, added: int = 0) -> dict[str, str]:
    """Return `count` files of one message each, every one of another text for another `added`."""
    made = {}
    for index in range(count):
        lines = "\n".join(
            f"  // Field {one}.\n  optional {'int64' if one % 3 else 'string'} field_{one} = {one};"
            for one in range(1, fields + 1 + added)
        )
        made[f"schemas/shop/v1/f{index}.proto"] = (
            f'syntax = "proto3";\npackage shop.v1;\nimport "google/protobuf/timestamp.proto";\n// A message.\n'
            f"message M{index} {{\n{lines}\n  // When.\n  google.protobuf.Timestamp seen_at = 99;\n}}\n"
        )
    return made


def measure(count: int = 1000, fields: int = 30) -> dict[str, float]:
    """Return seconds: `ours_s` for compiling both sides, linting and judging every file, `buf_s` for `buf breaking`.

    Every file differs from before, which is the worst case: unchanged ones are not compiled a second time.
    """
    now, before = texts(count, fields, added=1), texts(count, fields)
    protoc, settings = GrpcProtoc(), SchemaSettings()
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        old = pool.submit(protoc.compile, before, folders=["schemas"], places=False)
        new = protoc.compile(now, folders=["schemas"])
        earlier = old.result()
    compiled = time.monotonic()
    found = 0
    for path, file in new.files.items():
        found += len(lint(file, settings, is_compared=True))
        found += len(judge(file, [Before(earlier.files[path], "before")], "FULL", settings))
    ended = time.monotonic()
    assert (count, 0) == (len(new.files), found)
    buf = BufCommand(str(Path(sys.executable).parent / "buf"), ["schemas"])
    buf.breaking(now, before, {})
    return {"compile_s": compiled - started, "ours_s": ended - started, "buf_s": time.monotonic() - ended}


if __name__ == "__main__":
    print({name: round(seconds, 2) for name, seconds in measure().items()})
