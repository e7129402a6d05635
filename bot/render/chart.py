"""The chart of a group's lag: how far behind over the last hours, how fast it is written and read, and what happened.

Promise: made for a phone at night. Lag stands above as a filled line from zero, the rates below it on the same axis of
time, in UTC. What is not known is a grey gap with no line through it. Nothing is told by colour alone: lines differ in
their dashes too and carry their names, numbers and all, where they end. A threshold far above the data, or far below,
is named in the foot: drawing it would press the data flat.

The same chart gives the same bytes. Foreign text (names of groups and alerts) is one plain line: neither mathtext nor
markup. No font is fetched, nothing is read but matplotlib's own files, and one chart is drawn at a time.
Importing this costs half a second: only app.py does, when something is to be drawn.
"""

from __future__ import annotations

import io
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from html import escape
from typing import Literal

from matplotlib import rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from bot.incident.marks import Mark
from bot.lag.series import Point
from bot.model import counted, in_one_line
from bot.render.chart_words import (
    Chart,
    Value,
    alt_text,
    clock,
    exact,
    lag_of,
    last_known,
    peak_of,
    rate,
    read_of,
    short,
    written_of,
)

WIDTH_PX, HEIGHT_PX, DPI = 1000, 560, 100
LEFT_PX, RIGHT_PX = 86, 836
TITLE_PX, SAID_PX, MARKS_PX, MARK_ROW_PX = 30, 61, 84, 23
LAG_BOTTOM_PX, RATES_TOP_PX, RATES_BOTTOM_PX, FOOT_PX = 352, 378, 478, 540
MARK_ROWS = 3
COLOURS = 64
"""Of a PNG: a third of the bytes of all colours, and nobody sees the difference."""

INK, QUIET, GRID, GAP = "#1a1a1a", "#5c5c5c", "#e4e4e4", "#f1f1f1"
# Okabe and Ito's palette, darkened until text in it can be read on white.
LAG, WRITTEN, READ, WARN, PAGE = "#00609c", "#a34100", "#006b50", "#7a5c00", "#a3123a"

THRESHOLD_SHOWN_FROM, THRESHOLD_SHOWN_TO = 0.3, 50
"""A peak below or above that much of a threshold is drawn without it."""
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800)

# Whoever runs the bot may have a matplotlibrc, in the folder or at home: it may load LaTeX, or paint anything.
rcdefaults()
# Text is text: `$` is a letter, an SVG's words are words, and its ids do not depend on chance.
rcParams.update({"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "cdc", "font.family": "DejaVu Sans"})
_one_at_a_time = threading.Lock()


def draw(chart: Chart, form: Literal["png", "svg"]) -> bytes:
    """Return the picture: a PNG of 1000 x 560 pixels, or an SVG element of that shape for a page."""
    with _one_at_a_time:
        figure = Figure(figsize=(WIDTH_PX / DPI, HEIGHT_PX / DPI), dpi=DPI, facecolor="white")
        _Drawing(figure, chart).draw()
        out = io.BytesIO()
        if form == "png":
            canvas = FigureCanvasAgg(figure)
            canvas.draw()  # type: ignore[no-untyped-call]
            pixels = bytes(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
            _few_colours(pixels).save(out, "PNG", optimize=True)
            return out.getvalue()
        unsaid = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(out, metadata=unsaid)  # type: ignore[no-untyped-call]
    _, _, element = out.getvalue().decode().partition("<svg")  # a page has its own prolog
    return f'<svg role="img" aria-label="{escape(alt_text(chart))}"{element}'.encode()


def _few_colours(pixels: bytes) -> Image.Image:
    """Return the picture in COLOURS colours, with the corner's as white as it was drawn: they are means of many."""
    picture = Image.frombuffer("RGBA", (WIDTH_PX, HEIGHT_PX), pixels, "raw", "RGBA", 0, 1).convert("RGB")
    few = picture.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette, corner = few.getpalette() or [], few.tobytes()[0]
    palette[3 * corner : 3 * corner + 3] = [255] * 3
    few.putpalette(palette)
    return few


# --- the drawing ---------------------------------------------------------------------------------------


class _Drawing:
    """One figure on its way: places are in pixels from the left and from the top."""

    def __init__(self, figure: Figure, chart: Chart) -> None:
        self._figure, self._chart = figure, chart
        self._renderer: RendererAgg = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        self._points = chart.series.points
        self._until_s = max([chart.now.timestamp(), *(point.at.timestamp() for point in self._points)])
        self._since_s = min(chart.since.timestamp(), self._until_s - 60)

    def draw(self) -> None:
        rows = self._draw_mark_labels()
        lag = self._axes(MARKS_PX + rows * MARK_ROW_PX + (8 if rows else 0), LAG_BOTTOM_PX)
        rates = self._axes(RATES_TOP_PX, RATES_BOTTOM_PX)
        self._draw_lag(lag)
        self._draw_rates(rates)
        self._draw_times(rates)
        for mark in self._shown_marks():
            for axes in (lag, rates):
                axes.axvline(mark.at.timestamp(), color=INK, linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=4)
        title = _fitting(
            _plain(self._chart.title, 300), lambda words: self._width_px(words, 24, "bold") <= WIDTH_PX - 40
        )
        self._write(title, LEFT_PX - 66, TITLE_PX, 24, weight="bold")
        self._write(self._said(), LEFT_PX - 66, SAID_PX, 19)
        self._write(self._foot(), LEFT_PX - 66, FOOT_PX, 15, QUIET)

    def _said(self) -> str:
        known = [point for point in self._points if point.lag_records is not None]
        if not known:
            return "no samples: nothing is known of its lag"
        newest, peak = known[-1], peak_of(known)
        stale = self._until_s - newest.at.timestamp() > self._chart.stale_s
        when = f"at {clock(newest.at)}, not known since" if stale else "now"
        words = f"{counted(newest.lag_records or 0, 'record')} behind {when}"
        if peak.lag_records != newest.lag_records:
            words += f"   ·   peak {peak.lag_records or 0:,} at {clock(peak.at)}"
        return words

    def _foot(self) -> str:
        chart = self._chart
        days = list(dict.fromkeys(f"{at.astimezone(UTC):%-d %b}" for at in (chart.since, chart.now)))
        words = [
            f"{' to '.join(days)} {chart.now.astimezone(UTC):%Y}, times in UTC",
            f"from {_plain(chart.source, 60)}",
        ]
        hidden = [f"{word} at {short(value)}" for word, value, shown in self._thresholds() if not shown]
        if hidden:
            words.append(f"{' and '.join(hidden)} not drawn")
        return "   ·   ".join(words)

    # --- lag, above ---

    def _draw_lag(self, axes: Axes) -> None:
        values = _values(self._points, lag_of)
        shown = [(word, value) for word, value, is_shown in self._thresholds() if is_shown]
        top = _ticks(
            axes, max([*(v for v in values if not math.isnan(v)), *(v for _, v in shown)], default=0), 4, whole=True
        )
        times = [point.at.timestamp() for point in self._points]
        self._shade_gaps(axes, times, values)
        axes.fill_between(times, values, color=LAG, alpha=0.16, linewidth=0, zorder=2)
        _line(axes, times, values, LAG, 2.6, "-")
        known = [point for point in self._points if point.lag_records is not None]
        if known and peak_of(known).lag_records != known[-1].lag_records:
            peak = peak_of(known)
            axes.plot(
                [peak.at.timestamp()], [peak.lag_records or 0], "o", markerfacecolor="white", markeredgecolor=LAG,
                markersize=6, markeredgewidth=1.8, zorder=6, clip_on=False,
            )  # fmt: skip
        self._draw_thresholds(axes, shown, top)
        if known:
            value = known[-1].lag_records or 0
            self._end(axes, [(value, f"{exact(value)} behind", LAG)], top, known[-1].at)

    def _thresholds(self) -> list[tuple[str, int, bool]]:
        peak = max((point.lag_records or 0 for point in self._points), default=0)
        lines = (("warn", self._chart.warn_records), ("page", self._chart.page_records))
        return [
            (word, value, value * THRESHOLD_SHOWN_FROM <= peak <= value * THRESHOLD_SHOWN_TO) for word, value in lines
        ]

    def _draw_thresholds(self, axes: Axes, shown: Sequence[tuple[str, int]], top: float) -> None:
        height_px = axes.get_window_extent(self._renderer).height
        for index, (word, value) in enumerate(shown):
            colour, dashes = (WARN, (0, (6, 3))) if word == "warn" else (PAGE, (0, (9, 2, 2, 2)))
            axes.axhline(value, color=colour, linewidth=1.5, linestyle=dashes, zorder=3)
            next_px = (shown[index + 1][1] - value) / top * height_px if index + 1 < len(shown) else math.inf
            is_below = next_px < 24 and value / top * height_px > 24
            axes.annotate(
                f"{word} {short(value)}", (0, value), (6, -3 if is_below else 3), xycoords=("axes fraction", "data"),
                textcoords="offset pixels", va="top" if is_below else "bottom", color=colour, fontsize=_points_of(17),
                fontweight="bold", zorder=7, bbox={"facecolor": "white", "alpha": 0.75, "pad": 0.5, "linewidth": 0},
            )  # fmt: skip

    def _shade_gaps(self, axes: Axes, times: Sequence[float], values: Sequence[float]) -> None:
        """Grey what is not known: between two known points, before the first of them, from the last until now."""
        unseen = [(self._since_s, times[0])] if times and times[0] - self._since_s > 1 else []
        for begin, end in [*unseen, *_gaps(times, values, self._until_s, self._chart.stale_s)]:
            axes.axvspan(begin, end, facecolor=GAP, edgecolor="#c9c9c9", hatch="///", linewidth=0, zorder=1)
            width_px = (end - begin) / (self._until_s - self._since_s) * (RIGHT_PX - LEFT_PX)
            if width_px > 100:
                axes.annotate(
                    "not known", ((begin + end) / 2, 0.5), xycoords=("data", "axes fraction"), ha="center", va="center",
                    color=QUIET, fontsize=_points_of(17), zorder=7, bbox={"facecolor": GAP, "linewidth": 0, "pad": 2},
                )  # fmt: skip

    # --- rates, below ---

    def _draw_rates(self, axes: Axes) -> None:
        times = [point.at.timestamp() for point in self._points]
        lines = (("written", written_of, WRITTEN, "-", 2.0), ("read", read_of, READ, (0, (4, 1.6)), 2.4))
        everything = [v for _, of, *_ in lines for v in _values(self._points, of) if not math.isnan(v)]
        top = _ticks(axes, max(everything, default=0), 2, whole=False)
        ends = []
        ended_at = None
        for name, of, colour, style, width in lines:
            _line(axes, times, _values(self._points, of), colour, width, style)
            at, value = last_known(self._points, of)
            if value is not None:
                ends.append((value, f"{name} {rate(value)}", colour))
                ended_at = at
        self._write("records per second", LEFT_PX + 6, (LAG_BOTTOM_PX + RATES_TOP_PX) / 2 + 4, 15, QUIET)
        if ended_at is not None:
            self._end(axes, ends, top, ended_at)
        else:
            axes.annotate(
                "not known yet", (0.5, 0.45), xycoords="axes fraction", ha="center", va="center", color=QUIET,
                fontsize=_points_of(17),
            )  # fmt: skip

    def _draw_times(self, axes: Axes) -> None:
        span_s = self._until_s - self._since_s
        step_s = next((step for step in STEPS_S if span_s / step <= 6), 86_400 * math.ceil(span_s / 86_400 / 6))
        first = math.ceil(self._since_s / step_s) * step_s
        ticks = [float(first + n * step_s) for n in range(int((self._until_s - first) // step_s) + 1)]
        axes.set_xticks(ticks, [_tick(tick, step_s) for tick in ticks], fontsize=_points_of(18), color=INK)
        axes.tick_params(axis="x", length=5, color=QUIET, labelbottom=True)

    # --- marks ---

    def _shown_marks(self) -> tuple[Mark, ...]:
        return tuple(mark for mark in self._chart.marks if self._since_s <= mark.at.timestamp() <= self._until_s)

    def _draw_mark_labels(self) -> int:
        """Write what fits into up to three rows, none over another, and count the rest; return how many rows it took.

        A label stands right of its line, or left of it where the edge or another mark is near; it covers a line that
        it cannot avoid.
        """
        placed: list[_Label] = []
        unsaid = 0
        for mark in sorted(self._shown_marks(), key=lambda mark: mark.rank):
            words = _fitting(_plain(mark.label, 200), lambda words: self._width_px(words, 17) <= 330)
            x, width = self._x_px(mark.at.timestamp()), self._width_px(words, 17) + 8
            begins = [begin for begin in (x, x - width) if 10 <= begin <= WIDTH_PX - 10 - width] or [10.0]
            rows = [_Label(row, x, begin, begin + width, words) for row in range(MARK_ROWS) for begin in begins]
            free = [label for label in rows if not any(label.overlaps(other) for other in placed)]
            if not free:
                unsaid += 1
                continue
            placed.append(min(free, key=lambda label: sum(label.crosses(other) for other in placed)))
        count = max((label.row for label in placed), default=-1) + 1
        for label in placed:
            y = MARKS_PX + label.row * MARK_ROW_PX + 14
            self._write(label.words, label.begin + 4, y, 17, is_opaque=True)
            self._figure.add_artist(_thread(label.x, y - 10, MARKS_PX + count * MARK_ROW_PX + 8))
        if unsaid:
            self._write(f"+{unsaid} more", WIDTH_PX - 12, SAID_PX, 17, QUIET, align="right")
        return count

    # --- leaves ---

    def _axes(self, top_px: float, bottom_px: float) -> Axes:
        axes = self._figure.add_axes(
            (
                LEFT_PX / WIDTH_PX,
                1 - bottom_px / HEIGHT_PX,
                (RIGHT_PX - LEFT_PX) / WIDTH_PX,
                (bottom_px - top_px) / HEIGHT_PX,
            )
        )
        axes.set_xlim(self._since_s, self._until_s)
        axes.set_axisbelow(True)
        axes.grid(axis="y", color=GRID, linewidth=1)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(QUIET)
        axes.tick_params(axis="both", length=0, labelsize=_points_of(18), labelcolor=INK)
        axes.set_xticks([])
        return axes

    def _end(self, axes: Axes, ends: Sequence[tuple[float, str, str]], top: float, at: datetime) -> None:
        """Name lines where they end, right of the plot, at least a line's height apart and in their order."""
        box = axes.get_window_extent(self._renderer)
        at_px = sorted(((box.y0 + value / top * box.height, words, colour) for value, words, colour in ends))
        places = [max(y, box.y0 + 8) for y, *_ in at_px]
        for index in range(1, len(places)):
            places[index] = max(places[index], places[index - 1] + 21)
        over = max(0.0, places[-1] - (box.y1 - 4))
        for place, (y, words, colour) in zip(places, at_px, strict=True):
            axes.plot(
                [at.timestamp()],
                [(y - box.y0) / box.height * top],
                "o",
                color=colour,
                markersize=5,
                clip_on=False,
                zorder=8,
            )
            self._write(words, RIGHT_PX + 10, HEIGHT_PX - (place - over), 17, colour, weight="bold")

    def _write(
        self, words: str, x_px: float, y_px: float, size_px: float, colour: str = INK, weight: str = "normal",
        align: Literal["left", "right"] = "left", is_opaque: bool = False,
    ) -> None:  # fmt: skip
        self._figure.text(
            x_px / WIDTH_PX, 1 - y_px / HEIGHT_PX, words, fontsize=_points_of(size_px), color=colour, fontweight=weight,
            ha=align, va="center", bbox={"facecolor": "white", "linewidth": 0, "pad": 1} if is_opaque else None,
        )  # fmt: skip

    def _x_px(self, at_s: float) -> float:
        return LEFT_PX + (at_s - self._since_s) / (self._until_s - self._since_s) * (RIGHT_PX - LEFT_PX)

    def _width_px(self, words: str, size_px: float, weight: str = "normal") -> float:
        probe = Text(0, 0, words, fontsize=_points_of(size_px), fontweight=weight, figure=self._figure)
        return float(probe.get_window_extent(self._renderer).width)


@dataclass(frozen=True)
class _Label:
    """Where a mark's words stand: their row, from `begin` to `end`; the mark's line at `x` runs down from there."""

    row: int
    x: float
    begin: float
    end: float
    words: str

    def overlaps(self, other: _Label) -> bool:
        return self.row == other.row and self.begin <= other.end and other.begin <= self.end

    def crosses(self, other: _Label) -> bool:
        """Whether the line of one runs through the words of the other."""
        upper, lower = (self, other) if self.row < other.row else (other, self)
        return upper.row != lower.row and lower.begin + 2 < upper.x < lower.end - 2


def _fitting(words: str, fits: Callable[[str], bool]) -> str:
    """Return the words with their middle left out until they fit: names differ at both ends."""
    shown, keep = words, len(words)
    while not fits(shown) and keep > 8:
        keep -= max(1, keep // 12)
        shown = f"{words[: keep // 2]}…{words[-(keep - keep // 2) :]}"
    return shown


def _thread(x_px: float, top_px: float, bottom_px: float) -> Line2D:
    """Return the part of a mark's line that leads from its label down to the plot, in the figure's own measure."""
    ys = [1 - top_px / HEIGHT_PX, 1 - bottom_px / HEIGHT_PX]
    return Line2D([x_px / WIDTH_PX] * 2, ys, color=INK, linewidth=0.8, linestyle=(0, (1, 1.5)))


def _line(
    axes: Axes, times: Sequence[float], values: Sequence[float], colour: str, width: float, style: object
) -> None:
    """A line that ends where a value is missing; a value alone between two gaps is a dot."""
    axes.plot(times, values, color=colour, linewidth=width, linestyle=style, solid_capstyle="round", zorder=5)
    padded = [math.nan, *values, math.nan]
    alone = [
        (time, value)
        for time, (before, value, after) in zip(times, zip(padded, padded[1:], padded[2:], strict=False), strict=False)
        if not math.isnan(value) and math.isnan(before) and math.isnan(after)
    ]
    if alone:
        axes.plot(
            [t for t, _ in alone], [v for _, v in alone], "o", color=colour, markersize=4, zorder=5, clip_on=False
        )


def _gaps(
    times: Sequence[float], values: Sequence[float], until_s: float, stale_s: float
) -> Iterator[tuple[float, float]]:
    known = [(time, n) for n, (time, value) in enumerate(zip(times, values, strict=True)) if not math.isnan(value)]
    if times and (not known or known[0][1] > 0):
        yield times[0], known[0][0] if known else until_s
    for (before, i), (after, j) in itertools.pairwise(known):
        if j > i + 1:
            yield before, after
    if known and until_s - known[-1][0] > stale_s:
        yield known[-1][0], until_s


def _ticks(axes: Axes, highest: float, count: int, whole: bool) -> float:
    """Set the scale from 0 to a little above `highest`, with about `count` round numbers; return its top."""
    highest = max(highest, 10 if whole else 1)
    rough = highest / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    factors = (1, 2, 5, 10) if whole and magnitude < 10 else (1, 2, 2.5, 5, 10)
    step = next(factor * magnitude for factor in factors if factor * magnitude >= rough)
    top = highest * 1.12
    ticks = [step * n for n in range(int(top // step) + 1)]
    axes.set_ylim(0, top)
    axes.set_yticks(ticks, [short(tick) for tick in ticks])
    return top


def _values(points: Sequence[Point], of: Value) -> list[float]:
    return [math.nan if (value := of(point)) is None else float(value) for point in points]


def _plain(text: str, limit: int) -> str:
    """Return foreign text as one line of letters that the font has; what it lacks is a square."""
    line = in_one_line(text, limit)
    return "".join(letter if ord(letter) in _letters() else "□" for letter in line)


@cache
def _letters() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def _points_of(size_px: float) -> float:
    return size_px * 72 / DPI


def _tick(at_s: float, step_s: float) -> str:
    at = datetime.fromtimestamp(at_s, UTC)
    if step_s >= 86_400 or (at.hour == at.minute == at.second == 0):
        return f"{at:%-d %b}"
    return f"{at:%H:%M:%S}" if step_s < 60 else f"{at:%H:%M}"
