"""What a chart of lag is drawn of, and what it shows in words and numbers, for who does not see it.

It loads no matplotlib: `bot.render.chart` does, when something is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.incident.marks import Mark
from bot.lag.series import LagSeries, Point
from bot.model import counted, in_one_line

ALT_LIMIT = 1000
"""Slack: `alt_txt_too_large`, "longer than the limit of 1000 character"."""

Value = Callable[[Point], float | None]


@dataclass(frozen=True)
class Chart:
    """What is to be drawn: `now` is the right edge, `source` says where the points are from."""

    title: str
    series: LagSeries
    marks: tuple[Mark, ...]
    warn_records: int
    page_records: int
    now: datetime
    source: str = "the bot's own samples"
    stale_s: float = 120.0
    """A newest point older than this is not called "now"."""

    @property
    def since(self) -> datetime:
        """The left edge: the first point."""
        return min((point.at for point in self.series.points), default=self.now)


def alt_text(chart: Chart) -> str:
    """Return what the chart shows in sentences with their numbers, for who does not see it."""
    about = f"Lag of {in_one_line(chart.title, 200)}"
    known = [point for point in chart.series.points if point.lag_records is not None]
    if not known:
        return f"{about}: no samples until {clock(chart.now)} UTC."
    now, peak = known[-1], peak_of(known)
    span = f"{clock(known[0].at)} to {clock(now.at)} UTC"
    words = f"{about}, {span}: {counted(now.lag_records or 0, 'record')} behind"
    if peak.lag_records != now.lag_records:
        words += f", at most {peak.lag_records or 0:,} at {clock(peak.at)}"
    rates = [
        f"{name} {rate(value)}"
        for name, of in (("written", written_of), ("read", read_of))
        if (value := last_known(chart.series.points, of)[1]) is not None
    ]
    words += f"; {' and '.join(rates)}." if rates else "."
    if chart.marks:
        happened = [f"{clock(mark.at)} {in_one_line(mark.label, 60)}" for mark in chart.marks]
        words += f" What happened: {'; '.join(happened)}."
    return words if len(words) <= ALT_LIMIT else f"{words[: ALT_LIMIT - 1]}…"


def lag_of(point: Point) -> float | None:
    return point.lag_records


def written_of(point: Point) -> float | None:
    return point.produced_per_s


def read_of(point: Point) -> float | None:
    return point.consumed_per_s


def last_known(points: Sequence[Point], of: Value) -> tuple[datetime | None, float | None]:
    return next(((p.at, value) for p in reversed(points) if (value := of(p)) is not None), (None, None))


def peak_of(known: Sequence[Point]) -> Point:
    return max(known, key=lambda point: point.lag_records or 0)


def clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M}"


def exact(records: float) -> str:
    return f"{records:,.0f}" if records < 10_000_000 else short(records)


def short(value: float) -> str:
    """Return 0, 0.5, 950, 1.2k, 98k, 1.25M: three digits that count, and the unit's prefix."""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor * 0.9995:
            return f"{value / factor:.3g}{prefix}"
    return f"{value:.3g}"


def rate(per_s: float) -> str:
    return f"{short(per_s)}/s" if per_s >= 0.05 or per_s == 0 else "<0.1/s"
