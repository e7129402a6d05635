"""Which chart is due, on real samples: the right group, the right time, the right source."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bot.charts import Charts
from bot.incident import events as e
from bot.incident.correlation import Board
from bot.incident.state import Incident, fold
from bot.model import ConsumerGroup, GroupOffsets, PartitionKey, PartitionOffsets, Pipeline, Retention, Severity
from bot.ports import PortError, Series, Unreachable
from bot.probes.consumer_lag import Watched
from bot.probes.sources import Sources
from bot.render.chart import draw
from bot.render.chart_words import Chart
from bot.sampler import Sampler
from bot.store.samples import Samples
from tests.unit.shell.conftest import T0, Clock

GROUP, WEIRD = "customers_canonical_flink", 'we"ird\\g'
PIPELINE = Pipeline(
    "customers", "#c", consumers=tuple(ConsumerGroup(group, topics=("t",)) for group in (GROUP, "app", WEIRD))
)


def read(group: str, at: datetime, lag_records: int) -> GroupOffsets:
    seconds = int((at - T0).total_seconds()) + 10**7
    return GroupOffsets(group, at, "STABLE", 1, (PartitionOffsets("t", 0, seconds - lag_records, 0, seconds),))


@dataclass
class FakeKafka:
    """A cluster whose groups have the lag of `lags`; None: the broker does not answer."""

    clock: Clock
    lags: dict[str, int | None]
    asked: list[str] = field(default_factory=list)
    said: str = "Kafka did not answer"

    def read_group(self, group: str, topics: Sequence[str], deadline_s: float) -> GroupOffsets:
        self.asked.append(group)
        lag = self.lags.get(group)
        if lag is None:
            raise Unreachable(self.said)
        return read(group, self.clock(), lag)

    def read_groups(
        self, wanted: Mapping[str, Sequence[str]], deadline_s: float
    ) -> Mapping[str, GroupOffsets | PortError]:
        return {group: read(group, self.clock(), lag) for group in wanted if (lag := self.lags.get(group)) is not None}

    def read_retention(self, topics: Sequence[str], deadline_s: float) -> Mapping[str, Retention | PortError]:
        return {}

    def read_offsets_at(self, *_: object) -> Mapping[PartitionKey, Mapping[datetime, int | None]]:
        return {}

    def holds_record(self, *_: object) -> Mapping[PartitionKey, bool]:
        return {}


@dataclass
class FakePrometheus:
    """Answers every range with `values`, one a minute until now, or with an error."""

    clock: Clock
    values: Sequence[float] = ()
    error: PortError | None = None
    asked: list[str] = field(default_factory=list)

    def read_range(
        self, expression: str, since: datetime, until: datetime, step_s: float, deadline_s: float
    ) -> tuple[Series, ...]:
        self.asked.append(expression)
        if self.error is not None:
            raise self.error
        first = self.clock() - timedelta(minutes=len(self.values) - 1)
        points = tuple((first + timedelta(minutes=n), value) for n, value in enumerate(self.values))
        return (Series({}, points),) if points else ()


class Room:
    """Charts over real samples in a file; what is drawn is kept as it was asked for."""

    def __init__(self, path: Path, clock: Clock, prometheus: FakePrometheus | None = None) -> None:
        self.clock, self.kafka = clock, FakeKafka(clock, {GROUP: 40, "app": 7, WEIRD: 1})
        self.samples = Samples(path / "samples.db")
        watched = tuple(Watched(consumer, PIPELINE.name) for consumer in PIPELINE.groups)
        sources = Sources(kafka=self.kafka)  # type: ignore[arg-type]
        self.sampler = Sampler(self.samples, sources, lambda: watched, clock, lambda _: None, 7 * 86_400.0)
        self.board, self.journal = Board(), dict[str, list[e.Entry]]()
        self.drawn: list[Chart] = []
        self.charts = Charts(
            self.sampler, prometheus, {"customers": PIPELINE}.get, lambda: self.board,  # type: ignore[arg-type]
            lambda incident: self.journal[incident], clock, self.draw, 30.0, self.kafka,  # type: ignore[arg-type]
        )  # fmt: skip

    def draw(self, chart: Chart, form: str) -> bytes:
        self.drawn.append(chart)
        return draw(chart, form)  # type: ignore[arg-type]

    def sampled(self, minutes: float, lag_records: int = 40, every_s: float = 30.0) -> None:
        """So many minutes of samples of both groups until now."""
        began = self.clock()
        times = [began + timedelta(seconds=every_s * n) for n in range(int(minutes * 60 / every_s) + 1)]
        self.samples.keep([read(GROUP, at, lag_records) for at in times] + [read("app", at, 7) for at in times])
        self.clock.now = times[-1] + timedelta(seconds=10)
        self.sampler.look()

    def incident(self, pipeline: str | None = "customers", **labels: str) -> Incident:
        opened = e.IncidentOpened("t", pipeline, Severity.WARNING, "c", "#c", "n")
        fired = e.AlertFired("f", self.clock(), {"alertname": "CDCLag", **labels}, {})
        self.journal["CDC-1"] = [
            e.Entry("CDC-1", n, self.clock(), e.ALERTMANAGER, event) for n, event in enumerate((opened, fired), 1)
        ]
        incident = fold(self.journal["CDC-1"])
        assert incident is not None
        self.board.put(incident)
        return incident

    def close(self) -> None:
        self.sampler.close()
        self.samples.close()


@pytest.fixture
def room(tmp_path: Path, clock: Clock) -> Iterator[Room]:
    made = Room(tmp_path, clock)
    yield made
    made.close()


def test_an_incidents_chart_begins_two_hours_before_it_and_ends_now(room: Room) -> None:
    """With one more sample, taken when it is drawn; marks, lines and words are the incident's."""
    room.sampled(180)
    incident = room.incident()
    room.clock.passes(20)
    room.kafka.lags[GROUP] = 3
    chart = room.charts.of_incident("chart:opened", incident)
    assert chart is not None
    (drawn,) = room.drawn
    assert timedelta(hours=2) >= incident.opened_at - drawn.since > timedelta(minutes=119)
    assert (3, room.clock()) == (drawn.series.points[-1].lag_records, drawn.series.points[-1].at)
    assert ("CDCLag fired",) == tuple(mark.label for mark in drawn.marks)
    assert f"lag-{GROUP}-CDC-1-opened.png" == chart.filename
    assert (1000, 560) == struct.unpack(">II", chart.content[16:24])
    assert chart.alt.startswith(f"Lag of {GROUP}, ") and "3 records behind" in chart.alt


def test_a_young_bots_samples_are_not_thinned(room: Room) -> None:
    """A minute of samples every 2 s is shown as that, without gaps that are none."""
    room.sampled(1, every_s=2)
    assert room.charts.of_incident("chart:opened", room.incident()) is not None
    points = room.drawn[0].series.points
    assert len(points) >= 30
    assert None not in [point.lag_records for point in points]


def test_a_broker_that_does_not_answer_costs_the_newest_sample_only(room: Room) -> None:
    """The picture is drawn from what there is."""
    room.sampled(30)
    incident = room.incident()
    room.kafka.lags[GROUP] = None
    room.clock.passes(300)
    assert room.charts.of_incident("chart:opened", incident) is not None
    assert 300 == (room.clock() - room.drawn[0].series.points[-1].at).total_seconds()


def test_a_name_in_an_error_is_no_line_of_the_log(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """A group may be called anything: what the client says of it is logged as one line."""
    room.sampled(60)
    room.kafka.lags[GROUP] = None
    room.kafka.said = "committed offsets of x\n2026-11-24 ERROR cdc a forged line\x1b[2J"
    with caplog.at_level("INFO"):
        assert room.charts.of_incident("chart:opened", room.incident()) is not None
    (line,) = [record.getMessage() for record in caplog.records if "no newest sample" in record.getMessage()]
    assert line.isprintable() and "a forged line" in line


def test_probes_that_read_often_make_no_gap_and_a_missing_hour_does(room: Room) -> None:
    """The sampler's step beside reads every 5 s is no silence; a bot that was down is one."""
    room.sampled(30)
    for _ in range(6):
        room.clock.passes(5)
        room.sampler.note(read(GROUP, room.clock(), 40))
    room.clock.passes(30)
    room.sampled(1, every_s=5)
    room.charts.of_incident("chart:opened", room.incident())
    assert None not in [point.lag_records for point in room.drawn[0].series.points]
    room.clock.passes(3600)
    room.sampled(5)
    room.charts.of_incident("chart:opened", room.incident())
    assert 1 == [point.lag_records for point in room.drawn[1].series.points].count(None)


@pytest.mark.parametrize(("pipeline", "minutes"), [(None, 30), ("gone", 30), ("customers", 0)])
def test_without_a_group_or_a_sample_there_is_nothing_to_draw(room: Room, pipeline: str | None, minutes: float) -> None:
    """A pipeline that cdc.yml names no more, an alert without one, a bot that never saw the group."""
    if minutes:
        room.sampled(minutes)
    else:
        room.kafka.lags = {GROUP: None, "app": None}
    assert room.charts.of_incident("chart:opened", room.incident(pipeline)) is None


@pytest.mark.parametrize(("labels", "group"), [({}, GROUP), ({"consumergroup": "app"}, "app")])
def test_the_group_that_the_alerts_name_is_drawn(room: Room, labels: dict[str, str], group: str) -> None:
    """Else the one furthest behind."""
    room.sampled(10)
    room.charts.of_incident("chart:opened", room.incident(**labels))
    assert [group] == [chart.title for chart in room.drawn]


@pytest.mark.parametrize(
    ("minutes", "values", "error", "source"),
    [
        (180, [5.0] * 200, None, "the bot's own samples"),  # they reach back: Prometheus is not asked
        (10, [5.0] * 200, None, "Prometheus"),
        (10, [], None, "the bot's own samples"),
        (10, [5.0] * 3, None, "the bot's own samples"),  # it knows less than we do
        (10, [5.0] * 200, Unreachable("no route"), "the bot's own samples"),
    ],
)
def test_prometheus_is_asked_where_our_samples_do_not_reach_back(
    tmp_path: Path, clock: Clock, minutes: float, values: list[float], error: PortError | None, source: str
) -> None:
    """A new bot beside an old Prometheus shows what was before it, and says whose numbers they are."""
    prometheus = FakePrometheus(clock, values, error)
    room = Room(tmp_path, clock, prometheus)
    room.sampled(minutes)
    assert room.charts.of_incident("chart:opened", room.incident()) is not None
    room.close()
    assert [source] == [chart.source for chart in room.drawn]
    assert bool(prometheus.asked) is (minutes < 120)
    assert not prometheus.asked or f'cdc_consumergroup_lag{{group="{GROUP}"}}' in prometheus.asked[0]


def test_a_page_shows_every_watched_group_and_one_with_its_chart(room: Room) -> None:
    """The chart is marked with the incidents of its pipeline; asked for again within 10 s it is drawn once."""
    assert "No group was sampled yet" in room.charts.page()
    room.sampled(30)
    room.incident()
    page = room.charts.page()
    assert page.index(f"/lag/{GROUP}") < page.index("/lag/app"), "more behind comes first"
    room.clock.now = room.clock.now.replace(second=0)
    pages = [room.charts.group_page(GROUP) for _ in range(3)]
    assert [True] * 3 == [is_watched for is_watched, _ in pages]
    assert "<svg role=" in pages[0][1] and "CDCLag fired" in pages[0][1]
    assert 1 == len(room.drawn)
    assert not room.charts.group_page("nobody")[0]


@pytest.mark.skipif(
    shutil.which("promtool") is None and os.environ.get("CI") != "true",
    reason="promtool is missing: the expressions were NOT tried",
)
def test_prometheus_is_asked_what_it_understands(tmp_path: Path, clock: Clock) -> None:
    """By promtool: partitions are summed, two that scrape the same do not double, kafka_exporter answers where we do
    not, and a group called anything is one.
    """
    prometheus = FakePrometheus(clock)
    room = Room(tmp_path, clock, prometheus)
    room.sampled(1)
    room.charts.of_incident("chart:opened", room.incident())
    room.close()
    lag, _, consumed = (asked.replace(GROUP, r"we\"ird\\g") for asked in prometheus.asked)
    ours = ", ".join(("pipeline='p'", f"group={json.dumps(WEIRD)}", "topic='t'"))
    theirs = f"consumergroup={json.dumps(WEIRD)}, topic='t', partition='0'"
    told = [
        (f"cdc_consumergroup_lag{{job='a', {ours}, partition='0'}}", "5x20"),
        (f"cdc_consumergroup_lag{{job='a', {ours}, partition='1'}}", "7x20"),
        (f"cdc_consumergroup_lag{{job='b', {ours}, partition='0'}}", "5x20"),
        (f"kafka_consumergroup_lag{{job='k', {theirs}}}", "99x20"),
        (f"kafka_consumergroup_current_offset{{job='k', {theirs}}}", "0+60x20"),
    ]
    tests = {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in told],
                "promql_expr_test": [
                    {"expr": expression, "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": value}]}
                    for expression, value in ((lag, 12), (consumed, 1))
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(tests))
    run = subprocess.run(["promtool", "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True)
    assert 0 == run.returncode, run.stdout + run.stderr
