"""Which subject of the registry a file is: by a template for its path, else as most repositories name their files.

Strategies are Confluent's `subject.name.strategy`: TopicName (the default), RecordName, TopicRecordName. A template may
begin with a context: `:.staging:{stem}-value`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from bot.checks.paths import matches

NO_SUBJECT = "none"
"""The template of files that only define types for others: no subject, so nothing registered to compare with."""

STRATEGIES: Mapping[str, str] = {
    "TopicNameStrategy": "{topic}-{end}",
    "RecordNameStrategy": "{name}",
    "TopicRecordNameStrategy": "{topic}-{name}",
}
PLACEHOLDERS = ("stem", "parent", "name", "topic", "end")
_END = re.compile(r"[-.](key|value)\Z")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def subject_of(file: str, name: str | None, templates: Mapping[str, str]) -> str | None:
    """Return the subject of `file`; `name` is the full name of its record or message, None where it has none.

    The first pattern that fits decides. None: the file has no subject, or its template needs a name that it lacks.
    `{topic}` is the stem less its `-value` or `-key`, `{end}` that word, `value` where there is none.
    """
    template = next((templates[pattern] for pattern in templates if matches(pattern, file)), "TopicNameStrategy")
    if template == NO_SUBJECT:
        return None
    path = PurePosixPath(file)
    end = _END.search(path.stem)
    words = {
        "stem": path.stem,
        "parent": path.parent.name,
        "name": name,
        "topic": path.stem[: end.start()] if end else path.stem,
        "end": end[1] if end else "value",
    }
    asked = STRATEGIES.get(template, template)
    if any(words.get(word) is None for word in _PLACEHOLDER.findall(asked)):
        return None
    return _PLACEHOLDER.sub(lambda match: words[match[1]] or "", asked)


def is_key(subject: str | None) -> bool:
    return subject is not None and subject.endswith("-key")


def wrong_template(template: str) -> str | None:
    """Return what is wrong with a template and what to write, None where it is usable."""
    if template == NO_SUBJECT or template in STRATEGIES:
        return None
    unknown = [word for word in _PLACEHOLDER.findall(template) if word not in PLACEHOLDERS]
    if unknown or "{" in _PLACEHOLDER.sub("", template) or not template:
        known = ", ".join(f"{{{word}}}" for word in PLACEHOLDERS)
        what = f"there is no {{{unknown[0]}}}" if unknown else "not a template of a subject"
        return f"{what}: write {known}, one of {', '.join(STRATEGIES)}, or {NO_SUBJECT}"
    return None
