"""Regular expressions of other systems, matched in time linear in the text.

Alertmanager's matchers are RE2, which never backtracks; Connect's are Java's, most of which RE2 reads alike. Python's
own engine takes hours for `(\\w+-?)+_prod` on forty characters. What RE2 cannot read (back references, look-around) is
None: not known, never "no".
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import re2


@dataclass(frozen=True)
class Match:
    """`groups` begins with the whole; a group that took no part is None. `names` are the numbers of the named ones."""

    groups: tuple[str | None, ...]
    names: Mapping[str, int]


@dataclass(frozen=True)
class Pattern:
    compiled: Any

    def fullmatch(self, text: str) -> Match | None:
        """Return the match of the whole text; text that is no UTF-8 (a lone surrogate) matches nothing."""
        try:
            found = self.compiled.fullmatch(text)
        except UnicodeEncodeError:
            return None
        return Match((text, *found.groups()), self.compiled.groupindex) if found else None


@functools.lru_cache(maxsize=512)
def read(pattern: str, ignore_case: bool = False) -> Pattern | None:
    """Return a pattern, or None for one that RE2 cannot read."""
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        return Pattern(re2.compile(pattern, options))
    except (re2.error, UnicodeEncodeError):
        return None
