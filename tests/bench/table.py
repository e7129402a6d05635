"""The table of the bench: what was measured, against what, and whether the goal is met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEADINGS = ("what", "ours", "floor or peer", "ratio", "goal", "met")


@dataclass(frozen=True)
class Row:
    """One measurement. `met` None is a figure without a goal; an empty `peer` has nothing to be compared with."""

    what: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        met = {True: "yes", False: "NO", None: ""}[self.met]
        return self.what, self.ours, self.peer, ratio, self.goal, met


def render_table(rows: Sequence[Row]) -> str:
    """Return the rows under their headings, each column as wide as its widest cell."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    drawn = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([drawn[0], "-+-".join("-" * width for width in widths), *drawn[1:]])


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, -(-int(share * 1000 * len(ranked)) // 1000) - 1)]


def in_ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def in_s(seconds: float) -> str:
    return f"{seconds:.2f} s"
