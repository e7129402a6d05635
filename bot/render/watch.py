"""A group that is followed in a terminal: a line for each look, a panel with a sparkline, a JSON line. Pure.

Made of the findings so far, oldest first. A look that saw nothing is a line with its reason; it neither ends the watch
nor counts as drained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bot.lag.ladder import TimeLag, words
from bot.lag.verdict import Verdict
from bot.lag.words import between
from bot.model import Finding
from bot.render.plain import one_line

KEPT_LOOKS = 60
SHOWN_PARTITIONS = 5
BARS = "▁▂▃▄▅▆▇█"


def is_drained(looks: Sequence[Finding]) -> bool:
    """Return whether there is nothing left to read: a lag of 0, or nothing but a residue at two looks in a row.

    A partition that was written and never committed is in no lag, and keeps the group from being drained.
    """
    newest = looks[-1]
    if any(_is_never_read(entry) for topic in newest.facts["topics"] for entry in topic["partitions"]):
        return False
    if newest.facts["lag_records"] == 0 and _was_seen(newest):
        return True
    return len(looks) > 1 and all(one.verdict == Verdict.RESIDUAL for one in looks[-2:])


def line_of(looks: Sequence[Finding]) -> str:
    """Return a look in a line: time, verdict, lag and by how much it changed, how old, how fast, when level."""
    newest, facts = looks[-1], looks[-1].facts
    if not _was_seen(newest):
        return one_line(f"{newest.at:%H:%M:%S}  {newest.verdict}  {'; '.join(newest.not_known)}")
    parts = [f"{newest.at:%H:%M:%S}", f"{newest.verdict:<15}", f"lag {_lag(facts)}{_delta(looks)}"]
    parts += [part for part in (_age(facts), _rates(facts), _level(facts)) if part]
    return one_line("  ".join(parts))


def panel_of(looks: Sequence[Finding]) -> list[str]:
    """Return the lines of the panel: what a look says, how the lag went, the worst partitions, why."""
    newest, facts = looks[-1], looks[-1].facts
    if not _was_seen(newest):
        return [one_line(newest.target), line_of(looks), *_history(looks)]
    lines = [
        f"{newest.target}  {newest.verdict}  {newest.at:%H:%M:%S}",
        f"lag    {_lag(facts)}{_delta(looks)}",
        *_history(looks),
        *(f"age    {age}" for age in (_age(facts),) if age),
        *(f"rates  {rates}" for rates in (_rates(facts),) if rates),
        *(f"level  {level.removeprefix('level ')}" for level in (_level(facts),) if level),
        f"why    {facts['evidence']}",
    ]
    behind = sorted(
        (
            (entry["lag_records"], f"{topic['topic']}/{entry['partition']}", entry["verdict"])
            for topic in facts["topics"]
            for entry in topic["partitions"]
            if entry["lag_records"]
        ),
        key=lambda one: (-one[0], one[1]),
    )
    lines += [f"       {name}  {lag:,}  {verdict}" for lag, name, verdict in behind[:SHOWN_PARTITIONS]]
    if len(behind) > SHOWN_PARTITIONS:
        lines.append(f"       +{len(behind) - SHOWN_PARTITIONS} more")
    return [one_line(line) for line in lines]


def document_of(looks: Sequence[Finding]) -> dict[str, Any]:
    """Return a look as a JSON document (contract.md); of a look that saw nothing the numbers are null."""
    newest, facts = looks[-1], looks[-1].facts
    return {
        "at": f"{newest.at:%Y-%m-%dT%H:%M:%SZ}",
        "group": newest.target,
        "verdict": newest.verdict,
        "evidence": facts["evidence"],
        "state": facts["state"],
        "members": facts["members"],
        "lag_records": facts["lag_records"],
        "delta_records": _change(looks),
        **{name: facts[name] for name in _NUMBERS},
        "drained": is_drained(looks),
        "not_known": list(newest.not_known),
    }


_NUMBERS = (
    "time_lag_s",
    "time_lag_min_s",
    "time_lag_max_s",
    "consumed_per_s",
    "produced_per_s",
    "eta_s",
    "eta_min_s",
    "eta_max_s",
)


def last_line(looks: Sequence[Finding], how: str) -> str:
    """Return what the watch ends with: `drained` or `stopped`, and what was seen last."""
    if not looks:
        return how
    newest = looks[-1]
    took_s = (newest.at - looks[0].at).total_seconds()
    return one_line(f"{newest.target}: {how} at lag {_lag(newest.facts)}, {newest.verdict}, watched for {took_s:.0f} s")


def sparkline(values: Sequence[int | None]) -> str:
    """Return a bar for each value against the largest; a value that is not known is a gap."""
    most = max((value for value in values if value is not None), default=0)
    return "".join(" " if value is None else BARS[value * (len(BARS) - 1) // most if most else 0] for value in values)


def _is_never_read(entry: Mapping[str, Any]) -> bool:
    is_empty = entry["log_end_offset"] == entry["earliest_offset"]
    return entry["verdict"] == Verdict.NEVER_COMMITTED.value and not is_empty


def _was_seen(finding: Finding) -> bool:
    return finding.verdict in Verdict.__members__


def _history(looks: Sequence[Finding]) -> list[str]:
    return [f"       {sparkline([one.facts['lag_records'] for one in looks])}"] if len(looks) > 1 else []


def _lag(facts: Mapping[str, Any]) -> str:
    return "not known" if facts["lag_records"] is None else f"{facts['lag_records']:,}"


def _change(looks: Sequence[Finding]) -> int | None:
    """Return by how much the lag changed since it was last known."""
    newest = looks[-1].facts["lag_records"]
    before = next((one.facts["lag_records"] for one in looks[-2::-1] if one.facts["lag_records"] is not None), None)
    return None if newest is None or before is None else int(newest - before)


def _delta(looks: Sequence[Finding]) -> str:
    change = _change(looks)
    return "" if change is None else f" ({change:+,})"


def _age(facts: Mapping[str, Any]) -> str:
    if facts["time_lag_min_s"] is None or facts["lag_records"] == 0:
        return ""
    return words(TimeLag(facts["time_lag_min_s"], facts["time_lag_max_s"], None))


def _rates(facts: Mapping[str, Any]) -> str:
    read, written = facts["consumed_per_s"], facts["produced_per_s"]
    return "" if read is None or written is None else f"{read:,.1f}/s read, {written:,.1f}/s written"


def _level(facts: Mapping[str, Any]) -> str:
    if facts["eta_s"] is None:
        return ""
    least = facts["eta_s"] if facts["eta_min_s"] is None else facts["eta_min_s"]
    return f"level in {between(least, facts['eta_max_s'])}"
