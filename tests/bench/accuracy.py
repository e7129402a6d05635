"""How right the time lag is: ours beside the ways of the tools in use, on one synthetic log and the same cases.

The log is a week of one partition: day and night, a nightly batch, idle hours, a second's noise; everything from one
seed. A case is a moment of the week's second half and the true age of the oldest unread record, 5 s to 24 h, evenly by
ratio, with a record of that age to be unread. Each method gets what its tool would have at that moment:

    table   60 points of (end offset, poll time), polled each 30 s, flat stretches kept as their two ends; the commit
            is interpolated in it, and beyond it the line from its oldest to its newest point is drawn on
            (kafka-lag-exporter, LookupTable.scala)
    line    one straight line from the first record to the newest (klag, KafkaOffsetTimestampInterpolator)
    rate    lag divided by the produce rate of the last 10 minutes (klag-exporter's default)
    ladder  `bot.lag.ladder` itself, its questions answered from the log; with and without the second round

An age that a method does not give (a rate of 0) counts as an error beyond all others, and as no verdict.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise

from bot.lag.ladder import Ladder, TimeLag, refine, time_lag_of, times_to_ask
from tests.bench.table import Row, percentile

SEED = 20261123
BEGIN = datetime(2026, 11, 16, tzinfo=UTC)
DAYS = 7
DAY_S = 86_400
TOO_OLD_S = 15 * 60
TABLE_POINTS, POLL_S = 60, 30
RATE_S = 600

Method = Callable[["Log", float, int], float | None]


class Log:
    """Records of one partition, so many in each second since BEGIN, evenly within it; times are seconds since BEGIN."""

    def __init__(self, per_second: Sequence[int]) -> None:
        self._counts = per_second
        self._before = [0, *accumulate(per_second)]

    @property
    def records(self) -> int:
        return self._before[-1]

    def stamp(self, offset: int) -> float:
        """The timestamp of a record."""
        second = bisect_right(self._before, offset) - 1
        return second + (offset - self._before[second] + 0.5) / self._counts[second]

    def first_at(self, at_s: float) -> int:
        """The first offset with a timestamp at or after a time; the log end where there is none."""
        if at_s <= 0:
            return 0
        second = math.floor(at_s)
        if second >= len(self._counts):
            return self.records
        count = self._counts[second]
        within = min(count, max(0, math.ceil((at_s - second) * count - 0.5)))
        return self._before[second] + within


def synthetic_log(draw: random.Random) -> Log:
    """Return a week: up to 60/s by day and a few by night, 400/s for 40 minutes at 02:10, nothing from 04:00 to 06:30.

    In the idle hours a record comes every few minutes; each second has its noise.
    """
    counts = []
    for second in range(DAYS * DAY_S):
        hour = second % DAY_S / 3600
        if 4 <= hour < 6.5:
            counts.append(1 if draw.random() < 1 / 400 else 0)
            continue
        rate = 3 + 57 * max(0.0, math.sin((hour - 6) / 16 * math.pi))
        if 2 + 1 / 6 <= hour < 2 + 5 / 6:
            rate += 400
        counts.append(max(0, round(draw.gauss(rate, math.sqrt(rate)))))
    return Log(counts)


def end_at(log: Log, now_s: float) -> int:
    """The log end at a moment."""
    return log.first_at(now_s)


def by_table(log: Log, now_s: float, committed: int) -> float | None:
    """kafka-lag-exporter: `LookupTable`, as it stands after polling for a long time and just now."""
    points: list[tuple[float, int]] = []  # newest first
    poll_s = now_s
    while len(points) < TABLE_POINTS and poll_s >= 0:
        end = end_at(log, poll_s)
        if len(points) >= 2 and points[-1][1] == points[-2][1] == end:
            points[-1] = (poll_s, end)
        else:
            points.append((poll_s, end))
        poll_s -= POLL_S
    points.reverse()
    if committed >= points[-1][1]:
        return 0.0
    (first_s, first), (last_s, last) = points[0], points[-1]
    if committed >= first:
        for (low_s, low), (high_s, high) in pairwise(points):
            if low <= committed < high:
                first_s, first, last_s, last = low_s, low, high_s, high
                break
    if last == first:
        return None
    return max(0.0, now_s - (first_s + (committed - first) * (last_s - first_s) / (last - first)))


def by_line(log: Log, now_s: float, committed: int) -> float | None:
    """klag: between the first record and the newest everything came evenly."""
    end = end_at(log, now_s)
    first_s, newest_s = log.stamp(0), log.stamp(end - 1)
    return max(0.0, newest_s - (first_s + committed / (end - 1) * (newest_s - first_s)))


def by_rate(log: Log, now_s: float, committed: int) -> float | None:
    """klag-exporter: so long it took to write as much, at the rate of the last ten minutes."""
    end = end_at(log, now_s)
    rate = (end - end_at(log, now_s - RATE_S)) / RATE_S
    return (end - committed) / rate if rate > 0 else None


def time_lag(log: Log, now_s: float, committed: int, is_refined: bool) -> TimeLag | None:
    """Ours: the questions that `bot.lag.ladder` asks, answered from the log as it stood."""
    now, end = BEGIN + timedelta(seconds=now_s), end_at(log, now_s)

    def answers(asked: Sequence[datetime]) -> Ladder:
        found = ((at, log.first_at((at - BEGIN).total_seconds())) for at in asked)
        return {at: offset if offset < end else None for at, offset in found}

    ladder = answers(times_to_ask(now, 1))
    if is_refined:
        ladder = {**ladder, **answers(refine(now, ladder, committed))}
    return time_lag_of(committed, 0, end, ladder, now)


def guessed(is_refined: bool) -> Method:
    def guess(log: Log, now_s: float, committed: int) -> float | None:
        found = time_lag(log, now_s, committed, is_refined)
        return found.about_s if found else None

    return guess


METHODS: dict[str, Method] = {
    "table of 60 points (kafka-lag-exporter)": by_table,
    "line from log start to newest (klag)": by_line,
    "lag / 10-min rate (klag-exporter)": by_rate,
    "ladder, first round": guessed(is_refined=False),
    "ladder, both rounds (ours)": guessed(is_refined=True),
}
OURS = "ladder, both rounds (ours)"


@dataclass(frozen=True)
class Case:
    now_s: float
    committed: int
    age_s: float


@dataclass(frozen=True)
class Score:
    """Relative errors of the age (1 is 100 %, infinite where none was given), and the share of right verdicts."""

    p50: float
    p90: float
    p99: float
    verdicts: float


def cases_of(log: Log, draw: random.Random, count: int) -> list[Case]:
    """Return cases of 5 s to 24 h; a draw whose first unread record is outside of that, or not there, is drawn anew."""
    cases: list[Case] = []
    while len(cases) < count:
        now_s = draw.uniform(DAYS / 2 * DAY_S, DAYS * DAY_S)
        committed = log.first_at(now_s - 5 * (DAY_S / 5) ** draw.random())
        if committed < end_at(log, now_s) and 5 <= (age_s := now_s - log.stamp(committed)) <= DAY_S:
            cases.append(Case(now_s, committed, age_s))
    return cases


def score(log: Log, cases: Sequence[Case], method: Method) -> Score:
    errors, right = [], 0
    for case in cases:
        found = method(log, case.now_s, case.committed)
        errors.append(math.inf if found is None else abs(found - case.age_s) / case.age_s)
        right += found is not None and (found > TOO_OLD_S) == (case.age_s > TOO_OLD_S)
    return Score(percentile(errors, 0.5), percentile(errors, 0.9), percentile(errors, 0.99), right / len(cases))


def measure_accuracy(count: int) -> list[Row]:
    """Return the goals as rows, and print the table of all methods."""
    draw = random.Random(SEED)
    log = synthetic_log(draw)
    cases = cases_of(log, draw, count)
    scores = {name: score(log, cases, method) for name, method in METHODS.items()}
    print(render_scores(scores, log, len(cases)))
    ours, peers = scores[OURS], list(scores.values())[:3]
    inside, width = 0, list[float]()
    for case in cases:
        for is_refined in (False, True):
            found = time_lag(log, case.now_s, case.committed, is_refined)
            inside += found is not None and found.min_s <= case.age_s <= (found.max_s or math.inf)
        if found is not None and found.max_s is not None and found.min_s:
            width.append(found.max_s / found.min_s)
    best_p90, best_p50 = min(peer.p90 for peer in peers), min(peer.p50 for peer in peers)
    best_verdicts = max(peer.verdicts for peer in peers)
    return [
        Row(
            "true age inside the bounds",
            f"{inside:,} of {2 * len(cases):,}",
            goal="all",
            met=inside == 2 * len(cases),
        ),
        Row(
            "upper bound / lower bound, p90",
            f"{percentile(width, 0.9):.2f}",
            goal="<= 1.2",
            met=percentile(width, 0.9) <= 1.2,
        ),
        Row("time lag error, p50", in_percent(ours.p50), in_percent(best_p50), goal="<= 1 %", met=ours.p50 <= 0.01),
        Row(
            "time lag error, p90",
            in_percent(ours.p90),
            in_percent(best_p90),
            ours.p90 / best_p90 if best_p90 else None,
            "<= 0.2x the best peer",
            ours.p90 <= 0.2 * best_p90,
        ),
        Row(
            "time lag error, p99",
            in_percent(ours.p99),
            in_percent(min(peer.p99 for peer in peers)),
            goal="<= 20 %",
            met=ours.p99 <= 0.2,
        ),
        Row(
            "right on 'over 15 min?'",
            f"{ours.verdicts:.2%}",
            f"{best_verdicts:.2%}",
            goal=">= 99.8 %",
            met=ours.verdicts >= 0.998,
        ),
    ]


def render_scores(scores: dict[str, Score], log: Log, cases: int) -> str:
    headings = ("method", "p50", "p90", "p99", "over 15 min?")
    lines = [
        (name, in_percent(one.p50), in_percent(one.p90), in_percent(one.p99), f"{one.verdicts:.1%}")
        for name, one in scores.items()
    ]
    widths = [max(len(line[column]) for line in (headings, *lines)) for column in range(len(headings))]
    drawn = [
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (headings, *lines)
    ]
    what = f"Relative error of the time lag: {cases:,} cases of 5 s to 24 h on a log of {log.records:,} records."
    return "\n".join([what, drawn[0], "-+-".join("-" * width for width in widths), *drawn[1:], ""])


def in_percent(share: float) -> str:
    if math.isinf(share):
        return "no age"
    return f"{share:,.0f}x" if share >= 10 else f"{share:.1%}"
