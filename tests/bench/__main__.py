"""`python -m tests.bench`: measure everything, print one table.

Exits 0 whether goals are met or not (the table says it), and 1 when something could not run, which it names.
`--only` picks some of NAMES; `--small` makes everything short, to develop with. `--peers` first builds the exporters
that our scrape stands beside, which takes minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.bench.accuracy import measure_accuracy
from tests.bench.ack import measure_ack
from tests.bench.card import measure_card
from tests.bench.many import measure_flat, measure_many
from tests.bench.memory import measure_memory
from tests.bench.peers import build_peers
from tests.bench.schemas import measure_protos, measure_schemas
from tests.bench.scrape import measure_scrape
from tests.bench.storm import measure_storm
from tests.bench.table import Row, render_table
from tests.bench.terminal import measure_help, measure_lag
from tests.bench.wide import measure_wide
from tests.system import fetch, parts

NAMES = "storm,card,ack,help,lag,memory,accuracy,wide,many,scrape,flat,schemas,protos"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Speed, as ratios in one run.")
    parser.add_argument("--only", default="", metavar="NAMES", help=NAMES)
    parser.add_argument("--small", action="store_true", help="short runs, to develop with")
    parser.add_argument("--peers", action="store_true", help="build the other exporters first")
    asked = parser.parse_args()
    if asked.peers:
        build_peers()

    folder = parts.scratch_folder()
    measures = _measures(fetch.fetch(), folder, asked.small)
    chosen = [name for name in asked.only.split(",") if name] or list(measures)
    rows: list[Row] = []
    failures: list[str] = []
    for name in chosen:
        print(f"bench: {name} ...", file=sys.stderr, flush=True)
        try:
            rows += measures[name]()
        except Exception as error:
            # The edge of the script: one measurement that cannot run does not take the others with it.
            traceback.print_exc()
            failures.append(f"{name} could not run: {type(error).__name__}: {error}")
    print(render_table(rows))
    load = " ".join(f"{average:.1f}" for average in os.getloadavg())
    print(f"Load average {load} on {os.cpu_count()} cores: what else ran lengthens every time above.")
    for failure in failures:
        print(failure, file=sys.stderr)
    if failures:
        print(f"The logs are kept in {folder}.", file=sys.stderr)
        return 1
    parts.remove_folder(folder)
    return 0


def _measures(available: fetch.Available, folder: Path, small: bool) -> dict[str, Callable[[], list[Row]]]:
    return {
        "storm": lambda: measure_storm(available, folder / "storm", groups=300 if small else 3000),
        "card": lambda: measure_card(folder / "card", incidents=4 if small else 24),
        "ack": lambda: measure_ack(folder / "ack", requests_count=40 if small else 240),
        "help": lambda: measure_help(runs=3 if small else 10),
        "lag": lambda: measure_lag(available, folder / "lag", runs=3 if small else 10),
        "memory": lambda: measure_memory(folder / "memory", idle_s=5.0 if small else 30.0),
        "accuracy": lambda: measure_accuracy(500 if small else 3000),
        "wide": lambda: measure_wide(available, folder / "wide", 100 if small else 1000, runs=3 if small else 9),
        "many": lambda: measure_many(available, folder / "many", 50 if small else 500, runs=3 if small else 9),
        "scrape": lambda: measure_scrape(available, folder / "scrape", 50 if small else 500, runs=5 if small else 15),
        "flat": lambda: measure_flat(available, folder / "flat", 50 if small else 500, 120 if small else 1000),
        "schemas": lambda: measure_schemas(folder / "schemas", 100 if small else 1000, runs=2 if small else 5),
        "protos": lambda: measure_protos(folder / "protos", 100 if small else 1000, runs=2 if small else 5),
    }


if __name__ == "__main__":
    sys.exit(main())
