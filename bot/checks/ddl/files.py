"""Which files of a folder of migrations are the way back, by the names that the tools give them."""

from __future__ import annotations

import re
from collections.abc import Collection

# golang-migrate's x.down.sql, diesel's down.sql, sqitch's revert/x.sql, Flyway's U2__x.sql: each beside its way forth.
_WAYS_BACK = (
    (re.compile(r"\.down\.sql$"), ".up.sql"),
    (re.compile(r"(^|/)down\.sql$"), r"\1up.sql"),
    (re.compile(r"(^|/)revert/"), r"\1deploy/"),
    (re.compile(r"(^|/)U([\d._]+?)__[^/]*$"), r"\1V\2__"),
)


def ways_back(files: Collection[str]) -> tuple[str, ...]:
    """Return the files that take back what another of them does; one whose way forth is not given is none."""
    found = []
    for file in files:
        forth = {there.sub(back, file) for there, back in _WAYS_BACK if there.search(file)}
        if any(other.startswith(tuple(forth)) for other in files if forth and other != file):
            found.append(file)
    return tuple(found)
