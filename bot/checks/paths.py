"""Globs on the path of a file, as `.gitignore` users write them."""

from __future__ import annotations

import re
from functools import cache


def matches(pattern: str, path: str) -> bool:
    """Whether `path` fits: `*` and `?` stay within a folder, `**` spans folders, a pattern fits from any folder on.

    `schemas/*.avsc` fits `repo/schemas/a.avsc`; one that begins with `/` or `./` fits from the start only, of a path
    with or without the `/`.
    """
    return _compiled(pattern).fullmatch(path.removeprefix("./")) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    start = "/?" if pattern.startswith("/") else "" if pattern.startswith("./") else "(?:.*/)?"
    rest = re.sub("^[.]?/", "", pattern).rstrip("/") + ("/**" if pattern.endswith("/") else "")
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", rest)
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(start + "".join(words.get(part, re.escape(part)) for part in parts))
