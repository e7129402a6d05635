"""Globs on the path of a file, as `.gitignore` users write them."""

from __future__ import annotations

import re
from functools import cache


def matches(pattern: str, path: str) -> bool:
    """Whether `path` fits: `*` and `?` stay within a folder, `**` spans folders, a pattern fits from any folder on.

    `schemas/*.avsc` fits `repo/schemas/a.avsc`; one that begins with `/` or `./` fits from the start only.
    """
    return _compiled(pattern).fullmatch(path.removeprefix("./")) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    anchored = pattern.startswith("/") or pattern.startswith("./")
    rest = pattern.removeprefix("./").rstrip("/") + ("/**" if pattern.endswith("/") else "")
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", rest)
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(("" if anchored else "(?:.*/)?") + "".join(words.get(part, re.escape(part)) for part in parts))
