"""Schema checks, whole processes: 1,000 Avro schemas against a previous version, one changed file among them, and
1,000 protos beside `buf breaking`.

The floor of the Avro rows is `json.loads` of the same files, old and new, in a process of its own: nobody checks a
file that is not read. No other tool lints Avro; PyPI `avro`'s parser with its compatibility checker stands beside it:
what a script of one's own would use, though it finds a fraction.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.bots import CDC
from tests.bench.table import Row, in_s

FIELDS = 30
ALL_WITHIN_S, ONE_WITHIN_S, OF_BUF = 2.0, 0.3, 2.0
READ = """
import json, sys, pathlib
for folder in sys.argv[1:]:
    for file in pathlib.Path(folder).rglob('*.avsc'):
        json.loads(file.read_bytes())
"""
PARSE = """
import json, sys, pathlib, avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker
old, new = map(pathlib.Path, sys.argv[1:])
checker = ReaderWriterCompatibilityChecker()
for file in new.rglob('*.avsc'):
    before = avro.schema.parse((old / file.name).read_text())
    checker.get_compatibility(avro.schema.parse(file.read_text()), before)
"""


def measure_schemas(folder: Path, count: int, runs: int) -> list[Row]:
    """Return the rows of Avro: everything changed, and one file changed in a git repository."""
    old, new = folder / "old", folder / "schemas"
    for place, extra in ((old, 0), (new, 1)):
        place.mkdir(parents=True)
        for number in range(count):
            (place / f"subject{number:04}-value.avsc").write_text(avro_schema(number, extra), encoding="utf-8")
    whole = [str(CDC), "check", "schemas", str(new), "--against", f"dir:{old}"]
    start = _seconds([str(CDC), "check", "schemas", "--help"], runs)
    ours = _seconds(whole, runs)
    floor = _seconds([sys.executable, "-c", READ, str(old), str(new)], runs)
    peer = _seconds([sys.executable, "-c", PARSE, str(old), str(new)], runs)
    one = _seconds(_one_changed(folder, count), runs)
    what = f"cdc check schemas, {count:,} Avro, all changed"
    return [
        Row(what, in_s(ours), f"{in_s(peer)} avro: parse and compare", ours / peer, f"< {ALL_WITHIN_S:g} s",
            ours < ALL_WITHIN_S),
        Row("  the same", in_s(ours), f"{in_s(floor)} json.loads of the files", ours / floor),
        Row(f"  one changed among {count:,} (git, --changed)", in_s(one), f"{in_s(start)} start-up (--help)",
            one / start, f"< {ONE_WITHIN_S:g} s + start-up", one < ONE_WITHIN_S + start),
    ]  # fmt: skip


def measure_protos(folder: Path, count: int, runs: int) -> list[Row]:
    """Return the row of Protobuf, beside `buf breaking` on the same files in turns."""
    old, new = folder / "old", folder / "new"
    for place, extra in ((old, 0), (new, 1)):
        place.mkdir(parents=True)
        for number in range(count):
            (place / f"m{number:04}.proto").write_text(proto_file(number, extra), encoding="utf-8")
    buf = str(Path(sys.executable).parent / "buf")
    ours = _seconds([str(CDC), "check", "schemas", str(new), "--against", f"dir:{old}"], runs)
    theirs = _seconds([buf, "breaking", str(new), "--against", str(old)], runs)
    what = f"cdc check schemas, {count:,} protos, all changed"
    return [Row(what, in_s(ours), f"{in_s(theirs)} buf breaking", ours / theirs, f"< {OF_BUF:g} x",
                ours < OF_BUF * theirs)]  # fmt: skip


def avro_schema(number: int, extra: int) -> str:
    """Return a documented record of FIELDS fields, a quarter of them nested or logical, and `extra` decided ones."""
    kinds: tuple[Any, ...] = (
        "long",
        ["null", "string"],
        {"type": "long", "logicalType": "timestamp-micros"},
        {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2},
    )
    fields: list[dict[str, Any]] = []
    for index in range(FIELDS + extra):
        kind = ["null", "string"] if index >= FIELDS else kinds[index % len(kinds)]
        field = {"name": f"column_{index}", "type": kind, "doc": f"Column {index} of table {number}."}
        fields.append({**field, "default": None} if isinstance(kind, list) else field)
    record = {
        "type": "record",
        "name": f"Subject{number}",
        "namespace": "com.shop",
        "doc": "A table.",
        "fields": fields,
    }
    return json.dumps(record, indent=1)


def proto_file(number: int, extra: int) -> str:
    fields = "".join(f"  optional string column_{index} = {index + 1};\n" for index in range(FIELDS + extra))
    return f'syntax = "proto3";\npackage shop.m{number:04}.v1;\n\nmessage Row {{\n{fields}}}\n'


def _one_changed(folder: Path, count: int) -> list[str]:
    """Make a repository of all schemas, change one, and return the command that checks it."""
    repository = folder / "repository"
    schemas = repository / "schemas"
    schemas.mkdir(parents=True)
    for number in range(count):
        (schemas / f"subject{number:04}-value.avsc").write_text(avro_schema(number, 0), encoding="utf-8")
    git = ["git", "-C", str(repository), "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    (schemas / "subject0007-value.avsc").write_text(avro_schema(7, 1), encoding="utf-8")
    inside = f'cd "{repository}" && exec "{CDC}" check schemas schemas --against git --changed'
    return ["bash", "-c", inside]


def _seconds(command: Sequence[str], runs: int) -> float:
    """Return the median of whole processes, after one that warms the caches.

    Findings (exit 1, with buf 100) are an answer.
    """
    taken = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=dict(os.environ))
        taken.append(time.perf_counter() - began)
        if ended.returncode not in (0, 1, 100):
            raise RuntimeError(f"{command} ended with {ended.returncode}: {ended.stderr.strip()[-500:]}")
    return statistics.median(taken[1:])
