"""What is shown of the lag beside words: the chart of an incident's thread, and the pages.

The samples are the bot's own. Where they do not reach back over the time to be shown (a new bot, a lost file) and
Prometheus is configured, it is asked; what it cannot tell is drawn from what there is. Nothing here raises but for
defects: without samples there is no chart, and nobody misses it.

`draw` is given by app.py, because whoever imports it loads matplotlib.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal

from bot.incident.correlation import Board
from bot.incident.events import Entry
from bot.incident.marks import Mark, group_to_show, marks_of
from bot.incident.state import Incident
from bot.lag.interval import interval_of
from bot.lag.series import LagSeries, series_from_prometheus, series_of
from bot.model import ConsumerGroup, GroupOffsets, Pipeline, in_one_line
from bot.outbox import ChartFile
from bot.ports import Kafka, PortError, Prometheus
from bot.probes.consumer_lag import Look, Watched, finding_of
from bot.render.chart_words import Chart, alt_text
from bot.render.page import GroupView, group_page, lag_page, unknown_group_page
from bot.sampler import Sampler

log = logging.getLogger("cdc.charts")

BEFORE = timedelta(hours=2)
"""So much is shown of the time before an incident."""
LONGEST = timedelta(days=7)
PAGE_SHOWS = timedelta(hours=3)
PAGE_STEP_S = 10
"""A page asked for more often than this is given the same chart."""
POINTS = 600
OWN = "the bot's own samples"
COVERS = 0.9
"""Of the time to be shown: samples that reach back so far need no Prometheus."""
PROMETHEUS_DEADLINE_S, READ_DEADLINE_S = 4.0, 3.0
UNKNOWN_INTERVAL_S = 60.0
SAID_CHARACTERS = 500
NO_GROUPS = (
    "No group was sampled yet. The groups of the pipelines and of `lag: groups` in cdc.yml are, once `kafka` is "
    "configured and the first pass has ended."
)

Draw = Callable[[Chart, Literal["png", "svg"]], bytes]


class Charts:
    """Draws for the outbox (`of_incident`) and the pages (`page`, `group_page`); safe from any thread."""

    def __init__(
        self,
        sampler: Sampler,
        prometheus: Prometheus | None,
        pipeline: Callable[[str | None], Pipeline | None],
        board: Callable[[], Board],
        entries: Callable[[str], Iterable[Entry]],
        clock: Callable[[], datetime],
        draw: Draw,
        sample_every_s: float,
        kafka: Kafka | None = None,
    ) -> None:
        self._sampler, self._prometheus, self._pipeline = sampler, prometheus, pipeline
        self._board, self._entries, self._clock = board, entries, clock
        self._draw = lru_cache(maxsize=16)(draw)
        self._stale_s, self._every_s, self._kafka = max(120.0, 4 * sample_every_s), sample_every_s, kafka

    def of_incident(self, slot: str, incident: Incident) -> ChartFile | None:
        """Return the picture for a slot `chart:MOMENT`: from two hours before the incident until now."""
        pipeline, now = self._pipeline(incident.pipeline), self._clock()
        if pipeline is None:
            return None
        lag = {look.watched.group: _lag_records(look) for look in self._sampler.latest()}
        group = group_to_show(incident, pipeline, lag)
        if group is None:
            return None
        began = min([incident.opened_at, *(alert.starts_at for alert in incident.alerts)])
        marks = marks_of(self._entries(incident.id))
        watched = _watched(self._sampler.latest(), group, pipeline)
        self._look_now(watched)
        now = self._clock()
        chart = self._chart(watched, max(began - BEFORE, now - LONGEST), now, marks)
        if chart is None:
            return None
        moment = slot.partition(":")[2]
        safe = "".join(
            letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in group
        )
        return ChartFile(f"lag-{safe[:100]}-{incident.id}-{moment}.png", self._draw(chart, "png"), alt_text(chart))

    def of_group(self, look: Look) -> str:
        """Return the SVG of a group over the last hours, with the marks of its pipeline; empty without samples."""
        at_s = self._clock().timestamp()
        now = datetime.fromtimestamp(at_s - at_s % PAGE_STEP_S, self._clock().tzinfo)
        since, pipeline = now - PAGE_SHOWS, look.watched.pipeline
        incidents = [
            incident
            for incident in self._board().all()
            if pipeline is not None and incident.pipeline == pipeline and (incident.resolved_at or now) > since
        ]
        marks = tuple(mark for incident in incidents[-5:] for mark in marks_of(self._entries(incident.id)))
        chart = self._chart(look.watched, since, now, tuple(sorted(marks, key=lambda mark: mark.at)))
        return self._draw(chart, "svg").decode() if chart is not None else ""

    def page(self) -> str:
        """Return the page of all watched groups."""
        return lag_page([_view(look, self._clock()) for look in self._sampler.latest()], self._clock(), NO_GROUPS)

    def group_page(self, group: str) -> tuple[bool, str]:
        """Return the page of one group; False with the page of one that is not watched."""
        now = self._clock()
        look = next((look for look in self._sampler.latest() if look.watched.group == group), None)
        if look is None:
            return False, unknown_group_page(group, now)
        return True, group_page(_view(look, now), self.of_group(look), now)

    def _chart(self, watched: Watched, since: datetime, now: datetime, marks: tuple[Mark, ...]) -> Chart | None:
        reads = self._reads(watched.group, since)
        series = series_of(reads, POINTS, 2 * self._commit_interval_s(watched.consumer))
        series, source = _bridged(series, reads, self._every_s), OWN
        begins = series.points[0].at if series.points else now
        if self._prometheus is not None and now - begins < COVERS * (now - since):
            asked = _asked(self._prometheus, watched.group, since, now)
            if asked.points and asked.points[0].at < begins:
                series, source = asked, "Prometheus"
        if not any(point.lag_records is not None for point in series.points):
            return None
        lines = watched.objective
        return Chart(
            watched.group, series, marks, lines.lag_warn.records, lines.lag_page.records, now, source, self._stale_s
        )

    def _reads(self, group: str, since: datetime) -> tuple[GroupOffsets, ...]:
        """Return the samples since then, the newest read included, which may be too near the last to be stored.

        They come thinned to the time asked for: where they begin later, they are asked for from there, in full.
        """
        reads = self._sampler.reads(group, since)
        if reads and reads[0].at - since > (self._clock() - since) / 2:
            reads = self._sampler.reads(group, reads[0].at)
        track = self._sampler.track_of(group)
        return (*reads, track.newest) if track is not None and track.newest.at >= since else reads

    def _look_now(self, watched: Watched) -> None:
        """Take one more sample, so that a picture of the end shows the end; without an answer there are the others."""
        if self._kafka is None:
            return
        try:
            read = self._kafka.read_group(watched.group, watched.consumer.topics, READ_DEADLINE_S)
        except PortError as error:
            log.info("chart of %r: no newest sample: %s", watched.group, in_one_line(str(error), SAID_CHARACTERS))
        else:
            self._sampler.note(read)

    def _commit_interval_s(self, consumer: ConsumerGroup) -> float:
        track = self._sampler.track_of(consumer.group)
        found = interval_of(track, consumer.kind, consumer.commit_interval_s, None) if track is not None else None
        return found.seconds if found is not None else UNKNOWN_INTERVAL_S


def _bridged(series: LagSeries, reads: Sequence[GroupOffsets], every_s: float) -> LagSeries:
    """Return the series without the gaps of a pause that is none: no longer than a sample missed.

    Probes read an incident's groups every few seconds; beside those reads the sampler's own step looks like silence.
    """
    points, read_at = series.points, {read.at for read in reads}
    made_up = {
        point.at
        for before, point, after in zip(points, points[1:], points[2:], strict=False)
        if point.at not in read_at and (after.at - before.at).total_seconds() <= 2.5 * every_s
    }
    return LagSeries(tuple(point for point in points if point.at not in made_up))


def _view(look: Look, now: datetime) -> GroupView:
    read = look.track.newest if look.track is not None else None
    return GroupView(finding_of(look, now), look.watched.pipeline, look.judgement, read)


def _lag_records(look: Look) -> int | None:
    return look.judgement.at_least_records if look.judgement is not None else None


def _watched(latest: Sequence[Look], group: str, pipeline: Pipeline) -> Watched:
    for look in latest:
        if (look.watched.group, look.watched.pipeline) == (group, pipeline.name):
            return look.watched
    consumer = next(consumer for consumer in pipeline.groups if consumer.group == group)
    return Watched(consumer, pipeline.name, pipeline.objective, pipeline.dlq)


def _asked(prometheus: Prometheus, group: str, since: datetime, until: datetime) -> LagSeries:
    """Return what Prometheus knows of a group, by our own metrics, else by kafka_exporter's; empty where it does not.

    Of several that scrape the same, one is believed: their sum would double.
    """
    name = group.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    step_s = max(15.0, (until - since).total_seconds() / POINTS)
    over = f"[{round(max(300.0, 4 * step_s))}s]"

    def one_of(ours: str, theirs: str) -> str:
        summed = "max(sum without (group, consumergroup, topic, partition) ({}))"
        return f"{summed.format(ours)} or {summed.format(theirs)}"

    expressions = (
        one_of(f'cdc_consumergroup_lag{{group="{name}"}}', f'kafka_consumergroup_lag{{consumergroup="{name}"}}'),
        f'max(cdc_consumergroup_produced_records_per_second{{group="{name}"}})',
        one_of(
            f'cdc_consumergroup_consumed_records_per_second{{group="{name}"}}',
            f'rate(kafka_consumergroup_current_offset{{consumergroup="{name}"}}{over})',
        ),
    )
    try:
        lag, produced, consumed = (
            answer[0].points if answer else ()
            for answer in [
                prometheus.read_range(expression, since, until, step_s, PROMETHEUS_DEADLINE_S / 3)
                for expression in expressions
            ]
        )
    except PortError as error:
        log.warning("chart of %r: Prometheus was not of use: %s", group, in_one_line(str(error), SAID_CHARACTERS))
        return LagSeries(())
    return series_from_prometheus(lag, produced, consumed, step_s, POINTS)
