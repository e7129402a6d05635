"""The chart of lag: the same bytes for the same points, gaps that stay gaps, and words that are only words."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest
from PIL import Image

from bot.incident.marks import Mark
from bot.lag.series import LagSeries, Point
from bot.render.chart import draw
from bot.render.chart_words import Chart, alt_text

NOW = datetime(2026, 11, 24, 2, 30, tzinfo=UTC)
Values = tuple[int | None, float | None, float | None]
NOTHING: Values = (None, None, None)
HOSTILE = "$\\frac{1}{0}$ <script>alert(1)</script> </svg> & ]]> \x1b[31m\u202e\n-->"


def series(values: Sequence[Values], step_s: float = 30.0) -> LagSeries:
    """Points with these values, the last of them now."""
    first = NOW - timedelta(seconds=step_s * (len(values) - 1))
    return LagSeries(tuple(Point(first + timedelta(seconds=step_s * n), *each) for n, each in enumerate(values)))


def chart(
    values: Sequence[Values], *marks: Mark, title: str = "customers_canonical_flink", step_s: float = 30.0
) -> Chart:
    return Chart(title, series(values, step_s), marks, 10_000, 100_000, NOW)


def ago(minutes: float, label: str, rank: int = 0) -> Mark:
    return Mark(NOW - timedelta(minutes=minutes), label, rank)


BURST: list[Values] = [
    *((200, 120.0, 120.0) for _ in range(120)),
    *((200 + 900 * n, 150.0, 0.0) for n in range(120)),
    *((max(0, 107_300 - 2_400 * n), 140.0, 650.0) for n in range(60)),
]
WALK = (
    ago(85, "CDCLagWarn fired", 1),
    ago(70, "CDCLagPage fired", 1),
    ago(31, "restart failed tasks"),
    ago(3, "recovery proved"),
)
RANDOM = Random(1)
SHAPES: dict[str, Chart] = {
    "empty": chart([]),
    "one point": chart([(1234, None, None)]),
    "idle": chart([(0, 0.0, 0.0)] * 480),
    "burst": chart(BURST, *WALK),
    "gap": chart([*BURST[:100], *[NOTHING] * 60, *BURST[160:]], *WALK),
    "sawtooth": chart([((n % 4) * 3600, 120.0, 480.0 if n % 4 == 0 else 0.0) for n in range(360)]),
    "noise": chart([(RANDOM.randrange(100_000), RANDOM.random() * 1e3, RANDOM.random() * 1e3) for _ in range(720)]),
    "many marks": chart(BURST, *(ago(90 - 3 * n, f"CDCAlertNumber{n} fired") for n in range(25))),
    "huge": chart([(10**12 + 10**10 * n, 1.5e8, 3e7 + 1e6 * n) for n in range(360)]),
    "hostile": chart([(20 * n, 7.5, 3.25) for n in range(4)], ago(0.01, HOSTILE), title=HOSTILE * 20),
    "never committed": chart([(None, 12.0, None)] * 100),
    "weeks": chart([(5_000 + n, 100.0, 99.0) for n in range(700)], step_s=1800),
}  # fmt: skip
ALL = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def texts(picture: bytes) -> list[str]:
    """Every text of an SVG, as a reader of XML finds it."""
    return [(node.text or "") for node in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]


@ALL
def test_a_chart_of_any_shape_is_small_of_its_size_and_always_the_same(shape: Chart) -> None:
    """At most 60 kB and 1000 x 560 pixels; the same input gives the same bytes, so a test can tell a change."""
    png = draw(shape, "png")
    picture = Image.open(io.BytesIO(png))
    assert ((1000, 560), (255, 255, 255)) == (picture.size, picture.convert("RGB").getpixel((0, 0)))
    assert len(png) <= 60_000
    assert png == draw(shape, "png")
    assert draw(shape, "svg") == draw(shape, "svg")


def test_a_new_process_draws_the_same_bytes() -> None:
    """Nothing depends on a seed, a clock or the order of a set."""
    script = (
        "import sys; from tests.unit.render.test_chart import *; sys.stdout.buffer.write(draw(SHAPES['burst'], {!r}))"
    )
    for form in ("png", "svg"):
        run = subprocess.run([sys.executable, "-c", script.format(form)], capture_output=True, check=True, timeout=60)
        assert draw(SHAPES["burst"], form) == run.stdout


def test_threads_do_not_disturb_each_other() -> None:
    """The page and the thread's picture are drawn by different threads."""
    alone = {name: draw(shape, "png") for name, shape in SHAPES.items()}
    with ThreadPoolExecutor(4) as pool:
        together = dict(zip(SHAPES, pool.map(lambda shape: draw(shape, "png"), SHAPES.values()), strict=True))
    assert alone == together


@ALL
def test_an_svg_is_one_element_of_shapes_and_words(shape: Chart) -> None:
    """Inside a page it runs nothing, loads nothing, and has a name for who does not see it."""
    svg = draw(shape, "svg").decode()
    root = ElementTree.fromstring(svg)
    assert ("img", alt_text(shape)) == (root.get("role"), root.get("aria-label"))
    names = {node.tag.rpartition("}")[2] for node in root.iter()}
    assert names <= {
        "svg",
        "defs",
        "style",
        "g",
        "path",
        "use",
        "clipPath",
        "rect",
        "text",
        "tspan",
        "title",
        "pattern",
    }
    assert [] == re.findall(r"\bon\w+=|javascript:|@import|<!|<\?", svg)
    links = [value for node in root.iter() for name, value in node.attrib.items() if name.rpartition("}")[2] == "href"]
    assert [] == [link for link in links if not link.startswith("#")]


def test_foreign_words_are_words() -> None:
    """`$...$` is not typeset, a tag is no tag, control characters are gone, a long name keeps both its ends."""
    said = texts(
        draw(chart([(20, 7.5, 3.25)] * 4, ago(0.01, "$x^2$ <b> fired"), title="a$\\frac{1}{0}$" * 20 + "zz"), "svg")
    )
    assert "$x^2$ <b> fired" in said
    title = next(words for words in said if "…" in words)
    assert title.startswith("a$\\frac{1}{0}$a$") and title.endswith("zz")
    assert [] == [words for words in texts(draw(SHAPES["hostile"], "svg")) if not words.isprintable()]


def lines_of(picture: bytes, colour: str) -> list[int]:
    """How many pieces each line of a colour is drawn in, and of how many points each."""
    paths = re.findall(
        rf'<path d="([^"]+)"[^>]*style="fill: none; stroke: {colour}', picture.decode().replace("\n", " ")
    )
    return [len(re.findall(r"[ML]", piece)) for path in paths for piece in re.split(r"(?=M)", path) if piece.strip()]


def test_a_gap_is_a_gap() -> None:
    """No line runs through what is not known: it is drawn in pieces, and the gap is named."""
    whole = chart([(100 + 7 * (n % 3), 5.0, 5.0) for n in range(90)])
    torn = chart([NOTHING if 30 <= n < 60 else (100 + 7 * (n % 3), 5.0, 5.0) for n in range(90)])
    lag = "#00609c"
    assert 1 == len(lines_of(draw(whole, "svg"), lag))
    assert 2 == len(lines_of(draw(torn, "svg"), lag))
    assert "not known" not in texts(draw(whole, "svg"))
    assert "not known" in texts(draw(torn, "svg"))


def test_what_nobody_sampled_for_minutes_is_not_called_now() -> None:
    """The newest number stands with its time, and the time since is a gap."""
    old = LagSeries(tuple(Point(NOW - timedelta(minutes=60 - n), 500, 1.0, 1.0) for n in range(40)))
    said = texts(draw(Chart("g", old, (), 10_000, 100_000, NOW), "svg"))
    assert "500 records behind at 02:09, not known since" in said
    assert "not known" in said


@pytest.mark.parametrize(
    ("peak", "drawn", "told"),
    [
        (2_999, [], "warn at 10k and page at 100k not drawn"),
        (3_000, ["warn 10k"], "page at 100k not drawn"),
        (30_000, ["warn 10k", "page 100k"], ""),
        (500_000, ["warn 10k", "page 100k"], ""),
        (500_001, ["page 100k"], "warn at 10k not drawn"),
    ],
)
def test_a_threshold_is_drawn_where_it_does_not_press_the_data_flat(peak: int, drawn: list[str], told: str) -> None:
    """Lag far below or far above a line hides it; the foot then says where it would be."""
    said = texts(draw(chart([(0, 1.0, 1.0), (peak, 1.0, 1.0)]), "svg"))
    assert drawn == [words for words in said if words in ("warn 10k", "page 100k")]
    foot = next(words for words in said if "times in UTC" in words)
    assert foot.endswith(told)
    assert bool(told) is ("not drawn" in foot)


def test_marks_without_room_are_counted_and_what_was_done_comes_first() -> None:
    """25 alerts leave the recovery its place; the rest is counted, not written over each other."""
    marks = (*(ago(20 - n / 2, f"CDCAlertNumber{n} fired", 1) for n in range(25)), ago(4, "recovery proved"))
    said = texts(draw(chart(BURST, *marks), "svg"))
    written = [words for words in said if words.endswith(" fired")]
    assert "recovery proved" in said
    assert f"+{25 - len(written)} more" in said
    assert 1 <= len(written) <= 8


@pytest.mark.parametrize(
    ("values", "marks", "words"),
    [
        ([], (), "Lag of g: no samples until 02:30 UTC."),
        ([(None, 3.0, None)], (), "Lag of g: no samples until 02:30 UTC."),
        ([(1, None, None)], (), "Lag of g, 02:30 to 02:30 UTC: 1 record behind."),
        (
            [(12_408, 120.0, 0.0), (98_100, 1_200.0, 0.0), (500, 0.01, 2.5e6)],
            (ago(0.75, "CDCLag fired"), ago(0, "recovery\nproved")),
            "Lag of g, 02:29 to 02:30 UTC: 500 records behind, at most 98,100 at 02:29; "
            "written <0.1/s and read 2.5M/s. What happened: 02:29 CDCLag fired; 02:30 recovery proved.",
        ),
    ],
)
def test_the_alt_text_has_the_numbers(values: list[Values], marks: tuple[Mark, ...], words: str) -> None:
    """Who cannot see the picture is told its numbers: now, the peak, the rates, what happened."""
    assert words == alt_text(chart(values, *marks, title="g"))


def test_an_alt_text_is_never_longer_than_slack_takes() -> None:
    """1,000 characters: Slack refuses the file for one more."""
    words = alt_text(chart(BURST, *(ago(n, "x" * 200) for n in range(90)), title="y" * 500))
    assert (1000, "…") == (len(words), words[-1])


def test_drawing_is_quick_and_only_drawing_loads_matplotlib() -> None:
    """A picture takes less than 0.25 s; `cdc lag` and the bot's start do not pay for the library."""

    def took_s(work: Callable[[], object]) -> float:
        began_s = time.thread_time()  # of this thread: what others do on the machine is not its time
        work()
        return time.thread_time() - began_s

    draw(SHAPES["burst"], "png")
    assert min(took_s(lambda: draw(SHAPES["many marks"], "png")) for _ in range(5)) < 0.25
    script = (
        "import sys, bot.app, bot.cli, bot.outbox, bot.edge.web, bot.render.cards; print('matplotlib' in sys.modules)"
    )
    assert (
        "False\n" == subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    )


def test_nobodys_matplotlibrc_changes_the_chart(tmp_path: Path) -> None:
    """One in the folder where the bot is started, or at home, may want LaTeX or paint everything red."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nlines.color: red\nxtick.labelsize: 40\n")
    script = (
        "import sys; from tests.unit.render.test_chart import SHAPES; from bot.render.chart import draw; "
        "sys.stdout.buffer.write(draw(SHAPES['one point'], 'svg'))"
    )
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(root)}, cwd=tmp_path, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert draw(SHAPES["one point"], "svg") == run.stdout
