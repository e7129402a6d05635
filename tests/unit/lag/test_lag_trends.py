"""Where a lag is going: sawtooths at their trough, falling behind, catching up and when it will be level."""

from __future__ import annotations

import pytest

from bot.lag.verdict import Verdict
from bot.model import GroupKind, LagThreshold, Objective
from tests.unit.lag.lag_reads import committer, every, group, judge, partition

V = Verdict
WARN_10K = Objective(lag_warn=LagThreshold(10_000, 300), lag_page=LagThreshold(100_000, 900))


def verdicts_over_time(reads, known_after, **how):
    return [judge(*reads[: count + 1], **how) for count in range(known_after, len(reads))]


@pytest.mark.parametrize(
    ("interval_s", "per_s", "known_after"),
    [(60, 200, 8), (300, 60, 28), (300, 200, 28), (120, 150, 16)],
)
def test_a_sawtooth_is_judged_at_its_trough(interval_s, per_s, known_after):
    """A committer of 60-300 s that keeps up crosses the warn line between its commits, and is well."""
    reads = committer(every(30, 4 * interval_s // 30 + 40), interval_s, per_s)

    judgements = verdicts_over_time(reads, known_after, objective=WARN_10K, kind=GroupKind.FLINK)

    assert {V.OK} == {judgement.verdict for judgement in judgements}
    assert max(judgement.at_least_records for judgement in judgements) > WARN_10K.lag_warn.records
    troughs = [judgement.trough_records for judgement in judgements]
    assert all(trough is not None and trough <= 30 * per_s for trough in troughs)
    assert {float(interval_s)} == {judgement.commit_interval_s for judgement in judgements}


@pytest.mark.parametrize("interval_s", [60, 300])
def test_a_slow_committer_that_reads_too_slowly_is_falling_behind(interval_s):
    """Its troughs rise over the warn line: that is no sawtooth."""
    reads = committer(every(30, 6 * interval_s // 30 + 20), interval_s, per_s=200, read_per_s=150, backlog=12_000)

    judgements = verdicts_over_time(reads, 4 * interval_s // 30, objective=WARN_10K)

    assert {V.FALLING_BEHIND} == {judgement.verdict for judgement in judgements}
    assert "reads 150.0/s, 200.0/s written" in judgements[-1].evidence
    assert 150 == pytest.approx(judgements[-1].consumed_per_s, rel=0.1)
    assert 200 == pytest.approx(judgements[-1].produced_per_s, rel=0.02)
    assert {None} == {judgement.eta_s for judgement in judgements}


def test_a_slow_committer_whose_commits_cease_is_judged_by_all_its_lag():
    """Three intervals without a commit: there is no trough to come."""
    reads = committer(every(30, 30), 60, 200)
    last = reads[-1].partitions[0]
    stood = [
        group(partition(last.committed, (last.latest or 0) + int(200 * s)), after_s=870 + s) for s in every(30, 12)[1:]
    ]

    judgement = judge(*reads, *stood, objective=WARN_10K)

    assert V.STUCK == judgement.verdict
    assert judgement.at_least_records == judgement.trough_records


def moving(*points: tuple[float, int, int]):
    return [group(partition(committed, latest), after_s=at_s) for at_s, committed, latest in points]


@pytest.mark.parametrize(
    ("verdict", "reads"),
    [
        (V.FALLING_BEHIND, moving((0, 0, 500), (10, 50, 555), (20, 100, 610))),
        (V.UNKNOWN, moving((0, 0, 500), (10, 50, 555), (19.9, 100, 610))),  # under two intervals
        (V.UNKNOWN, moving((0, 0, 500), (20, 100, 610))),  # two points prove any speed one likes
        # the lag at its warn line, and one over it
        (V.OK, moving((0, 0, 80), (10, 50, 140), (20, 100, 200))),
        (V.FALLING_BEHIND, moving((0, 0, 81), (10, 50, 141), (20, 100, 201))),
        # gaining in one half, losing in the other: neither
        (V.UNKNOWN, moving((0, 0, 500), (10, 50, 540), (20, 100, 630))),
        # as fast as it is written, give or take 2 %
        (V.UNKNOWN, moving((0, 0, 500), (10, 50, 550), (20, 100, 600))),
        (V.UNKNOWN, moving((0, 0, 5000), (10, 500, 5505), (20, 1000, 6010))),
        (V.CATCHING_UP, moving((0, 0, 500), (10, 50, 530), (20, 100, 560))),
        (V.UNKNOWN, moving((0, 0, 500), (10, 50, 530), (19.9, 100, 560))),
    ],
)
def test_a_trend_takes_three_commits_over_two_intervals(verdict, reads):
    """Rates are taken from commit to commit, and the lag is held against its warn line."""
    assert verdict == judge(*reads, commit_interval_s=10).verdict


def test_a_lag_that_stands_under_its_warn_line_is_within_what_was_promised():
    """It neither grows over the line nor is it gone: the numbers say so."""
    reads = moving((0, 0, 90), (200, 2000, 2090), (400, 4000, 4091))

    judgement = judge(*reads, commit_interval_s=10)

    assert V.OK == judgement.verdict
    assert "91 unread, under the warn line of 100; reads 10.0/s, 10.0/s written" in judgement.partitions[0].evidence


def test_an_eta_is_a_range_from_the_rates_of_parts_of_the_window():
    """It gained 2/s, then 4/s: 440 unread are gone in 110 to 220 s, most likely in 147 s."""
    reads = moving((0, 0, 500), (10, 50, 530), (20, 150, 590))

    judgement = judge(*reads, commit_interval_s=10)

    assert V.CATCHING_UP == judgement.verdict
    assert (147, 110, 220) == (judgement.eta_s, judgement.eta_min_s, judgement.eta_max_s)
    assert "level in 110 s-4 min" in judgement.evidence


def test_an_eta_has_no_upper_end_where_a_part_of_the_window_did_not_gain():
    """At its worst rate it would never be level."""
    judgement = judge(*moving((0, 0, 500), (10, 50, 550), (20, 100, 560)), commit_interval_s=10)

    assert V.CATCHING_UP == judgement.verdict
    assert (230, 115, None) == (judgement.eta_s, judgement.eta_min_s, judgement.eta_max_s)
    assert "level in at least 115 s" in judgement.evidence


def test_the_slowest_partition_is_the_groups_eta():
    """The group is level when its last partition is."""
    reads = [
        group(partition(50 * n, 500 + 30 * n), partition(10 * n, 300 + 5 * n, number=1), after_s=10 * n)
        for n in range(3)
    ]

    judgement = judge(*reads, commit_interval_s=10)

    assert [230, 580] == [one.eta_s for one in judgement.partitions]
    assert (580, 580) == (judgement.eta_s, judgement.eta_max_s)


def test_an_eta_counts_from_now_and_not_from_the_last_commit():
    """A minute committer looked at 50 s after its commit."""
    reads = moving((0, 0, 6000), (60, 600, 6060), (120, 1200, 6120), (180, 1800, 6180))
    at_commit, later = (
        judge(*reads, commit_interval_s=60),
        judge(*reads, *moving((230, 1800, 6230)), commit_interval_s=60),
    )

    assert at_commit.eta_s is not None
    assert at_commit.eta_s - 50 == later.eta_s


def test_data_written_since_a_level_read_is_not_due_yet():
    """Level half a minute ago, a commit a minute: whatever is unread now is younger than an interval."""
    reads = moving((0, 10, 10), (30, 10, 10), (60, 10, 15))

    assert V.OK == judge(*reads, commit_interval_s=60).verdict
    assert "not due yet" in judge(*reads, commit_interval_s=60).partitions[0].evidence


def test_rates_of_a_group_are_over_all_its_partitions():
    """Level partitions count too."""
    reads = [
        group(partition(50 * n, 500 + 30 * n), partition(10 * n, 10 * n, number=1), after_s=10 * n) for n in range(4)
    ]

    judgement = judge(*reads, commit_interval_s=10)

    assert (6.0, 4.0) == (judgement.consumed_per_s, judgement.produced_per_s)


def test_rates_of_a_short_history_are_not_known():
    """Under two commit intervals."""
    judgement = judge(*moving((0, 0, 500), (19.9, 50, 530)), commit_interval_s=10)

    assert (None, None) == (judgement.consumed_per_s, judgement.produced_per_s)
