"""The postmortems of the walks, kept under tests/golden/postmortems with what changes from run to run masked.

`CDC_GOLDEN=1` writes them anew: read the difference before it is committed.

Rules of the comparison
    Every section stands in its place, and its lines are the same after masking.
    The timeline and the findings are compared as sets of entries: probes answer in any order, and a look that fell
    between two states is journalled in one run and not in another. Such looks match a pattern of `TRANSIENT`;
    nothing else may be missing or come in addition.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "golden" / "postmortems"

Masks = tuple[tuple[str, str], ...]

MASKS: Masks = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?", "<time>"),
    (r"\d\d:\d\d:\d\d", "<time>"),
    (r"\d{1,2} (January|February|March|April|May|June|July|August|September|October|November|December) \d{4}", "<day>"),
    (r"at once|after (under )?\d+(\.\d+)? (s|min)\b", "after <duration>"),
    (r"oldest unread record is [\w .-]+ old", "oldest unread record is <age> old"),
    (r"(under )?\b\d+(\.\d+)? (s|min)\b(?! in)", "<duration>"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
    (r"\b(plan|text|config) [0-9a-f]{12,16}\b", r"\1 <hash>"),
    (r"sha256:[0-9a-f]+", "sha256:<hash>"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uuid>"),
    (r"cdc-oncall \d+\.\d+\.\d+\S*|bot \d+\.\d+\.\d+\S*", "cdc-oncall <version>"),
    (r"\(\d+ looks?\)|of \d+ looks?", "<looks>"),
    (r"[\d,]+ records (in its topics|committed by its group)", r"<count> records \1"),
)
SETS = ("Findings", "Timeline")
# What a look at a sound or a changing part says depends on the moment it fell into; what is red, what people and
# Alertmanager did, and what was proved, does not.
TRANSIENT = (
    r"UNKNOWN",
    r"too new to judge",
    r"^- \*\*<time>\*\* [^\n]*\\\[(OK|RESIDUAL|CATCHING_UP|UNCHANGED|CHANGED|EMPTY)\\\]",
    r"^- \*\*<time>\*\* \S+: connector [A-Z]+, \d of \d tasks RUNNING",
    r"^  - <time> (green|yellow|unknown)\b",
    r"^- Healthy at every look",
    r"recovery not verified: [^\n]*(must hold|too short to tell)",
)


def compare_with_golden(name: str, postmortem: str, masks: Masks = (), transient: tuple[str, ...] = ()) -> None:
    """Compare a postmortem with the kept one; `transient` are patterns of entries that a run may or may not have."""
    now = masked(postmortem, masks)
    path = FOLDER / f"{name}.md"
    if os.environ.get("CDC_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(now, "utf-8")
    differences = "\n".join(differences_of(path.read_text("utf-8"), now, (*TRANSIENT, *transient)))
    assert "" == differences, f"{path} and this run differ:\n{differences}"


def masked(text: str, more_masks: Masks = ()) -> str:
    for pattern, mask in (*MASKS, *more_masks):
        text = re.sub(pattern, mask, text)
    return text


def differences_of(kept: str, now: str, transient: tuple[str, ...]) -> Iterator[str]:
    """Yield a line for every difference: `-` stands in the kept text only, `+` in this run's only."""
    then_sections, now_sections = dict(_sections(kept)), dict(_sections(now))
    if list(then_sections) != list(now_sections):
        yield f"sections: kept {list(then_sections)}, now {list(now_sections)}"
    for title in then_sections.keys() & now_sections.keys():
        before, after = _parts(title, then_sections[title]), _parts(title, now_sections[title])
        passing = transient if title in SETS else ()
        yield from (f"{title}: - {one}" for one in before if one not in after and not _matches(one, passing))
        yield from (f"{title}: + {one}" for one in after if one not in before and not _matches(one, passing))
        if title not in SETS and sorted(before) == sorted(after) and before != after:
            yield f"{title}: the same lines in another order"


def _sections(text: str) -> Iterator[tuple[str, str]]:
    title, lines = "heading", list[str]()
    for line in text.splitlines():
        if line.startswith("## "):
            yield title, "\n".join(lines)
            title, lines = line.removeprefix("## "), []
        else:
            lines.append(line)
    yield title, "\n".join(lines)


def _parts(title: str, body: str) -> list[str]:
    """Return a section's lines; of the timeline each entry with its evidence, of the findings each look with its."""
    if title not in SETS:
        return [line for line in body.splitlines() if line]
    indent = "  - " if title == "Findings" else "- "
    parts: list[str] = []
    for line in body.splitlines():
        if not parts or line.startswith(indent) or not line.startswith(" "):
            parts.append(line)
        else:
            parts[-1] += f"\n{line}"
    return list(dict.fromkeys(part for part in parts if part))


def _matches(entry: str, patterns: tuple[str, ...]) -> bool:
    return any(re.search(pattern, entry) for pattern in patterns)
