"""The lag of groups as Prometheus text: what is known once, what is not known not at all, and readable by others."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from bot.lag.judge import Judgement, PartitionJudgement
from bot.lag.ladder import TimeLag
from bot.lag.track import follow
from bot.lag.verdict import Verdict
from bot.lag_metrics import EXPORTER_FAMILIES, FAMILIES, LAG, render_looks
from bot.metrics import Snapshot, described, render
from bot.model import ConsumerGroup, Finding, GroupOffsets, PartitionOffsets, Signal, Status
from bot.ports import Denied, Missing, PortError, Unreachable
from bot.probes.consumer_lag import Look, Watched

AT = datetime(2026, 11, 23, 14, 0, 0, 250_000, tzinfo=UTC)
ODD = 'a"b\\c\nd\re\tf{g="h"} é 日本 \x01,\\n'
Series = tuple[str, tuple[tuple[str, str], ...]]


def at(
    partition: int, committed: int | None, earliest: int | None = 10, latest: int | None = 100, topic: str = "t"
) -> PartitionOffsets:
    return PartitionOffsets(topic, partition, committed, earliest, latest)


def unread(partition: int, topic: str = "t") -> PartitionOffsets:
    return PartitionOffsets(topic, partition, None, 10, 100, committed_known=False, error="not answered")


def judged(partitions: Sequence[PartitionOffsets], **more: object) -> Judgement:
    lags = [one.lag_records for one in partitions if one.lag_records is not None]
    is_known = bool(lags) and not any(one.lag_is_unknown for one in partitions)
    verdict = Verdict.OK if is_known else Verdict.UNKNOWN
    each = tuple(PartitionJudgement(one.topic, one.partition, verdict, "", one.lag_records) for one in partitions)
    judgement = Judgement(verdict, "", sum(lags) if is_known else None, sum(lags), None, each)
    return replace(judgement, **more)  # type: ignore[arg-type]


def look(
    *partitions: PartitionOffsets,
    group: str = "g",
    pipeline: str | None = "p",
    members: int | None = 3,
    read_at: datetime = AT,
    error: PortError | None = None,
    **more: object,
) -> Look:
    read = GroupOffsets(group, read_at, "STABLE", members, partitions)
    return Look(Watched(ConsumerGroup(group), pipeline), follow(None, read), judged(partitions, **more), error)


def series_of(text: str) -> dict[Series, float]:
    """What prometheus_client's parser reads; a series that is there twice fails."""
    found: dict[Series, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def shown(*looks: Look, exporter_names: bool = False) -> dict[str, dict[str, float]]:
    """Return name -> label values in the order of their names, joined -> value."""
    found: dict[str, dict[str, float]] = {}
    for (name, labels), value in series_of(render_looks(looks, exporter_names)).items():
        found.setdefault(name, {})["/".join(value for _, value in labels)] = value
    return found


def test_a_group_says_all_that_is_known_of_it() -> None:
    """Lag by partition; time lag, rates, drain time, members and the time of the read by group; one verdict."""
    found = shown(
        look(
            at(0, 40),
            at(1, 99),
            verdict=Verdict.CATCHING_UP,
            eta_s=60,
            eta_min_s=40,
            eta_max_s=90,
            time_lag=TimeLag(840, 1020, 930),
            consumed_per_s=12.5,
            produced_per_s=10,
        )
    )

    assert {
        "cdc_consumergroup_lag": {"g/0/p/t": 60, "g/1/p/t": 1},
        "cdc_consumergroup_time_lag_seconds": {"g/p": 930},
        "cdc_consumergroup_verdict": {"g/p/CATCHING_UP": 1},
        "cdc_consumergroup_drain_seconds": {"g/p": 90},
        "cdc_consumergroup_unknown_partitions": {"g/p": 0},
        "cdc_consumergroup_consumed_records_per_second": {"g/p": 12.5},
        "cdc_consumergroup_produced_records_per_second": {"g/p": 10},
        "cdc_consumergroup_members": {"g/p": 3},
        "cdc_consumergroup_sampled_timestamp_seconds": {"g/p": AT.timestamp()},
    } == found


def test_a_group_without_a_pipeline_has_no_pipeline_label() -> None:
    """An empty label is an absent one to Prometheus: two spellings of the same series would clash."""
    found = shown(look(at(0, 40), pipeline=None))

    assert {"g/0/t": 60} == found["cdc_consumergroup_lag"]
    assert {"g/OK": 1} == found["cdc_consumergroup_verdict"]


@pytest.mark.parametrize(
    ("time_lag_s", "drain_s", "of"),
    [
        (0, 0, look(at(0, 100))),  # nothing unread: no age, nothing to wait for
        (None, None, look(at(0, 99))),
        (840, None, look(at(0, 99), time_lag=TimeLag(840, None, None))),  # at least that old
        (None, None, look(at(0, 99), eta_s=30, eta_min_s=20)),  # no upper bound is known
        (None, 45, look(at(0, 99), eta_s=30, eta_max_s=45)),
        (None, None, look(at(0, 100), unread(1))),  # what is known is all read, what is not may be old
        (None, None, look(at(0, None))),
    ],
)
def test_age_and_drain_time_are_0_only_when_all_is_read(
    time_lag_s: float | None, drain_s: float | None, of: Look
) -> None:
    """No age of what could not be seen, and no time to drain without an upper bound."""
    found = shown(of)

    assert (time_lag_s, drain_s) == tuple(
        found.get(f"cdc_consumergroup_{name}_seconds", {}).get("g/p") for name in ("time_lag", "drain")
    )


@pytest.mark.parametrize(
    ("lags", "unknown", "partitions"),
    [
        ({"g/0/p/t": 60}, 0, (at(0, 40), at(1, None))),  # never committed is no lag, and not unknown
        ({"g/0/p/t": 60}, 1, (at(0, 40), unread(1))),
        ({"g/0/p/t": 60}, 1, (at(0, 40), at(1, 5, None, None))),
        ({"g/0/p/t": 60}, 1, (at(0, 40), at(1, 101))),  # beyond the end: another topic than the one that was read
        ({"g/0/p/t": 95}, 0, (at(0, 5),)),  # below the log start: lost, and counted
        (None, 0, ()),
    ],
)
def test_what_is_not_known_is_absent(
    lags: dict[str, float] | None, unknown: int, partitions: Sequence[PartitionOffsets]
) -> None:
    """Never 0, never -1, never NaN: `unknown_partitions` says how many there are."""
    found = shown(look(*partitions))

    assert lags == found.get("cdc_consumergroup_lag")
    assert {"g/p": unknown} == found["cdc_consumergroup_unknown_partitions"]


@pytest.mark.parametrize(
    ("expected", "of"),
    [
        ({}, Look(Watched(ConsumerGroup("g"), "p"))),  # Kafka is not configured
        ({"verdict": {"g/p/UNKNOWN": 1}}, Look(Watched(ConsumerGroup("g"), "p"), error=Unreachable("no answer"))),
        (
            {"verdict": {"g/p/UNKNOWN": 1}, "sampled_timestamp_seconds": {"g/p": AT.timestamp()}},
            look(at(0, 40), error=Denied("needs DESCRIBE on group g")),  # what was read before is not what is
        ),
    ],
)
def test_a_group_that_could_not_be_read_has_a_verdict_and_no_number(
    expected: dict[str, dict[str, float]], of: Look
) -> None:
    """The numbers of the last good read would say that nothing happens; its age is shown."""
    found = shown(of, exporter_names=True)

    assert {f"cdc_consumergroup_{name}": values for name, values in expected.items()} == found


def test_kafka_exporters_names_carry_its_labels_only_when_asked_for() -> None:
    """What dashboards already query, by group, topic and partition, and nothing with a pipeline."""
    partitions = (at(0, 40), at(1, 99), at(0, 7, 0, 7, "u"), at(1, None, 0, 9, "u"))

    assert not any(name.startswith("kafka_") for name in shown(look(*partitions)))
    found = shown(look(*partitions), exporter_names=True)
    assert {
        "kafka_consumergroup_lag": {"g/0/t": 60, "g/1/t": 1, "g/0/u": 0},
        "kafka_consumergroup_lag_sum": {"g/t": 61, "g/u": 0},
        "kafka_consumergroup_current_offset": {"g/0/t": 40, "g/1/t": 99, "g/0/u": 7},
        "kafka_topic_partition_current_offset": {"0/t": 100, "1/t": 100, "0/u": 7, "1/u": 9},
        "kafka_topic_partition_oldest_offset": {"0/t": 10, "1/t": 10, "0/u": 0, "1/u": 0},
        "kafka_consumergroup_members": {"g": 3},
    } == {name: values for name, values in found.items() if name.startswith("kafka_")}


@pytest.mark.parametrize(
    ("sums", "partitions"),
    [
        ({"g/t": 60}, (at(0, 40), at(1, None))),
        ({"g/u": 1}, (at(0, 40), unread(1), at(0, 99, topic="u"))),  # one part is not known: no sum of that topic
        ({"g/u": 1}, (at(0, 40), at(1, 5, None, None), at(0, 99, topic="u"))),
        (None, (at(0, None), at(1, None))),  # never committed has no lag, so there is nothing to add up
    ],
)
def test_a_sum_stands_for_all_of_its_parts_or_is_absent(
    sums: dict[str, float] | None, partitions: Sequence[PartitionOffsets]
) -> None:
    """A sum over what happens to be known would fall when a broker is lost."""
    found = shown(look(*partitions, members=None), exporter_names=True)

    assert sums == found.get("kafka_consumergroup_lag_sum")
    assert "kafka_consumergroup_members" not in found


def test_what_two_pipelines_watch_is_there_once() -> None:
    """A group in two pipelines, a topic of two groups: the newest read counts, and no series is twice."""
    later = AT + timedelta(seconds=30)
    looks = (
        look(at(0, 40), pipeline="p"),
        look(at(0, 50, latest=120), pipeline="q", read_at=later),
        look(at(0, 90), group="h", pipeline="q"),
        look(at(0, 1), pipeline="p"),  # the same group for the same pipeline: the first counts
    )
    found = shown(*looks, exporter_names=True)

    assert {"g/0/p/t": 60, "g/0/q/t": 70, "h/0/q/t": 10} == found["cdc_consumergroup_lag"]
    assert {"g/0/t": 70, "h/0/t": 10} == found["kafka_consumergroup_lag"]
    assert {"0/t": 120} == found["kafka_topic_partition_current_offset"]


def test_any_name_is_read_back_as_it_is() -> None:
    """A group may be called anything Kafka allows, and that is everything; the parser of others reads it back."""
    lags = {(ODD, f"{ODD}2", "orders.v1_a-b", str(partition)): partition * 7 for partition in range(3)}
    partitions = [at(partition, 100 - lag, topic=topic) for (_, _, topic, partition), lag in _numbered(lags)]
    text = render_looks([look(*partitions, group=f"{ODD}2", pipeline=ODD)], True)

    family = GaugeMetricFamily(LAG.name, LAG.text, labels=LAG.labels)
    for key, lag in lags.items():
        family.add_metric(key, lag)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Single(family))  # type: ignore[arg-type]
    expected = series_of(generate_latest(registry).decode())
    assert expected == {key: value for key, value in series_of(text).items() if key[0] == LAG.name}


class _Single:
    def __init__(self, family: GaugeMetricFamily) -> None:
        self.family = family

    def collect(self) -> list[GaugeMetricFamily]:
        return [self.family]


def _numbered(
    lags: dict[tuple[str, str, str, str], int],
) -> list[tuple[tuple[str, str, str, int], int]]:
    return [
        ((pipeline, group, topic, int(partition)), lag) for (pipeline, group, topic, partition), lag in lags.items()
    ]


def test_a_name_that_is_no_unicode_does_not_take_the_page_away() -> None:
    """Half a surrogate pair cannot be written in UTF-8; the other groups still can."""
    page = render(Snapshot("1", sampled=(look(at(0, 40), group="\ud800"), look(at(0, 40), group="h")))).decode()

    assert 'group="?",topic="t",partition="0"} 60' in page
    assert 'group="h",topic="t",partition="0"} 60' in page


SOUND = Snapshot(
    "1",
    sampled=(
        look(at(0, 40), at(1, 50), group=ODD, time_lag=TimeLag(1, 2, 1.5), eta_s=1, eta_max_s=3,
             consumed_per_s=1.25e-7, produced_per_s=1e21),
        look(at(0, 40), group="g", pipeline=None),
        look(at(0, None), unread(1), group="h"),
        Look(Watched(ConsumerGroup("i"), "p"), error=Unreachable("no answer")),
    ),
    sampled_s=3,
    exporter_names=True,
)  # fmt: skip


def test_promtool_finds_nothing_wrong() -> None:
    """Names, units, help and types as Prometheus wants them, every family with and without samples."""
    promtool = shutil.which("promtool")
    if promtool is None:
        reason = "promtool is missing: the metrics were NOT checked; install the Debian package `prometheus`"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    for snapshot in (SOUND, Snapshot("1")):
        done = subprocess.run(
            [promtool, "check", "metrics"], input=render(snapshot), capture_output=True, timeout=60, check=False
        )
        assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)


def test_the_page_has_every_documented_metric_and_no_other() -> None:
    """What `make docs` lists is what is scraped."""
    told = {line.split()[2] for line in render(SOUND).decode().splitlines() if line.startswith("# HELP")}

    assert {name for name, _, _ in described()} == told
    assert {family.name for family in (*FAMILIES, *EXPORTER_FAMILIES)} < told


def probed(group: str, lag: int, verdict: str = "OK") -> Finding:
    facts = {"topics": [{"topic": "t", "partitions": [{"partition": 0, "lag_records": lag}]}]}
    return Finding("consumer_lag", group, verdict, Status.GREEN, "", AT, Signal.LAG, facts)


def test_a_number_has_one_source() -> None:
    """The sampler's look counts where there is one; a group that it does not tell of is shown from its probe."""
    findings = {"p": (probed("g", 7), probed("h", 8)), "q": (probed("g", 9),)}
    found = series_of(render(Snapshot("1", findings, sampled=(look(at(0, 40)),))).decode())

    assert {("p", "g"): 60, ("p", "h"): 8, ("q", "g"): 9} == {
        (dict(labels)["pipeline"], dict(labels)["group"]): value
        for (name, labels), value in found.items()
        if name == LAG.name
    }


def test_a_group_of_two_pipelines_has_a_verdict_in_both() -> None:
    """The sampler tells of it for the first; without the other's, its CDCDataLost could never fire."""
    facts = {
        "topics": [
            {
                "topic": "t",
                "partitions": [
                    {"partition": 0, "lag_records": 3, "verdict": "DATA_LOST"},
                    {"partition": 1, "lag_records": None, "verdict": "UNKNOWN"},
                    {"partition": 2, "lag_records": None, "verdict": "NEVER_COMMITTED"},
                ],
            }
        ]
    }
    lost = replace(probed("g", 0, "DATA_LOST"), facts=facts)
    blind = replace(probed("h", 0, "UNREACHABLE"), facts={})
    off = replace(probed("off", 0, "NOT_CONFIGURED"), facts={})
    text = render(Snapshot("1", {"p": (probed("g", 7),), "q": (lost, blind, off)}, sampled=(look(at(0, 40)),))).decode()
    found = {(name, tuple(value for _, value in labels)): value for (name, labels), value in series_of(text).items()}

    assert {("g", "p", "OK"), ("g", "q", "DATA_LOST"), ("h", "q", "UNKNOWN")} == {
        labels for (name, labels) in found if name == "cdc_consumergroup_verdict"
    }
    assert {("g", "p"): 0, ("g", "q"): 1} == {
        labels: value for (name, labels), value in found.items() if name == "cdc_consumergroup_unknown_partitions"
    }


@pytest.mark.parametrize(
    ("up", "error"),
    [(1, None), (0, Unreachable("no answer")), (0, Denied("needs DESCRIBE")), (1, Missing("no such group"))],
)
def test_a_group_that_cannot_be_sampled_makes_the_probe_blind(up: int, error: PortError | None) -> None:
    """One blind group is enough, whatever its last finding said."""
    looks = (look(at(0, 40)), look(at(0, 40), group="h", error=error), look(at(0, 1), group="free", pipeline=None))
    found = series_of(render(Snapshot("1", {"p": (probed("g", 7), probed("h", 7))}, sampled=looks)).decode())

    assert {(("pipeline", "p"), ("probe", "consumer_lag")): up} == {
        labels: value for (name, labels), value in found.items() if name == "cdc_probe_up"
    }


@pytest.mark.parametrize(
    ("up", "partitions"),
    [(0, (unread(0), unread(1))), (1, (unread(0), at(1, 40))), (1, (at(0, None),)), (1, ())],
)
def test_a_group_without_one_committed_offset_told_is_not_seen(
    up: int, partitions: tuple[PartitionOffsets, ...]
) -> None:
    """Its topics may be read with another permission: that says nothing of the group."""
    text = render(Snapshot("1", sampled=(look(*partitions),))).decode()
    assert f'cdc_probe_up{{pipeline="p",probe="consumer_lag"}} {up}.0' in text


@pytest.mark.parametrize(
    ("up", "age_s", "every_s"), [(1, 600, 30), (0, 600.1, 30), (1, 3600, 1200), (0, 3601, 1200), (1, None, 30)]
)
def test_samples_that_are_too_old_are_not_shown_as_what_is(up: int, age_s: float | None, every_s: float) -> None:
    """A sampler that stands still for ten minutes, or three passes, is blind: its last numbers calm nobody."""
    snapshot = Snapshot("1", sampled=(look(at(0, 40)),), sampled_s=age_s, sample_every_s=every_s)
    page = render(snapshot).decode()

    assert f'cdc_probe_up{{pipeline="p",probe="consumer_lag"}} {up}.0' in page
    assert (up == 1) == ("cdc_consumergroup_lag{" in page)
    assert ('verdict="UNKNOWN"} 1' in page) == (up == 0)
    assert "cdc_consumergroup_sampled_timestamp_seconds{" in page
