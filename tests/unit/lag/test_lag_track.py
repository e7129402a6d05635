"""What is remembered of reads, and how often a group is seen to commit."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bot.lag.interval import learned_s
from bot.lag.track import KEPT_POINTS, KEPT_READS, KEPT_STEPS, KEPT_TOTALS, KEPT_WAITS, follow
from bot.lag.verdict import Verdict
from bot.model import GroupKind
from tests.unit.lag.lag_reads import committer, every, group, judge, partition, tracked

V = Verdict


def test_a_partition_that_did_not_move_is_shared():
    """500 groups of 20 partitions are followed each pass: what stands still costs a comparison."""
    before = tracked(group(partition(5, 9), partition(3, 7, number=1)))

    after = follow(before, group(partition(5, 9), partition(4, 7, number=1), after_s=30))

    assert before.partitions[0] is after.partitions[0]
    assert before.partitions[1] is not after.partitions[1]


def test_an_older_read_is_left_out():
    """Two readers of one group may hand in their reads in any order."""
    track = tracked(group(partition(5, 9), after_s=30))

    assert track is follow(track, group(partition(4, 9)))


def test_a_track_does_not_grow():
    """Memory stays flat over any number of passes."""
    track = tracked(*committer(every(30, 500), 60, 50))

    [one] = track.partitions
    assert one is not None
    assert KEPT_READS == len(track.reads)
    assert len(one.points) <= KEPT_POINTS
    assert len(track.totals) <= KEPT_TOTALS
    assert (KEPT_WAITS, KEPT_STEPS) == (len(track.waits), len(track.steps))


def test_a_quick_watch_keeps_a_window_that_rates_can_be_taken_over():
    """A read each 2 s for two minutes does not leave 16 s of history."""
    [one] = tracked(*committer(every(2, 60), 1, 50)).partitions

    assert one is not None
    assert one.points[-1].at_s - one.points[0].at_s > 60


@pytest.mark.parametrize(
    ("low", "high", "interval_s", "step_s"),
    [
        (60, 60, 60, 30),
        (300, 300, 300, 30),
        (40, 50, 45, 30),  # seen as 30, 60, 30, 60 s
        (100, 100, 100, 10),
        (30, 30, 5, 30),  # reads cannot see it: at worst patient
        (2, 6, 3, 1.5),
    ],
)
def test_the_commit_interval_is_learned_from_commits(low, high, interval_s, step_s):
    """Never below the true interval by more than a step's chance, never over what reads can see."""
    track = tracked(*committer(every(step_s, int(20 * interval_s / step_s) + 30), interval_s, 50))

    learned = learned_s(track.waits)

    assert learned is not None
    assert low <= learned <= high


def test_pairs_of_reads_between_samples_do_not_shorten_what_is_learned():
    """A look of a person is two reads 1.5 s apart; the sampler's reads go on beside it."""
    seconds = sorted({*every(30, 60), *(second + 1.5 for second in every(30, 60))})

    learned = learned_s(tracked(*committer(seconds, 60, 50)).waits)

    assert learned is not None
    assert 55 <= learned <= 65


def test_a_pause_in_the_reading_teaches_no_interval():
    """The bot was down for three hours; the committer was not."""
    seconds = [*every(30, 40), *(12_000 + second for second in every(30, 40))]

    learned = learned_s(tracked(*committer(seconds, 60, 50)).waits)

    assert 60 == learned


def test_an_outage_teaches_no_interval():
    """An hour without a commit, seen to stand still all the time, is not how often it commits."""
    reads = committer(every(30, 30), 60, 50)
    stood = reads[-1].partitions[0]
    for second in every(30, 120):
        now = partition(stood.committed, (stood.latest or 0) + int(50 * second))
        reads.append(group(now, after_s=900 + second))
    reads += [
        group(partition(400_000 + 50 * int(second // 60) * 60, 500_000 + int(50 * second)), after_s=4500 + second)
        for second in every(30, 12)
    ]

    learned = learned_s(tracked(*reads).waits)

    assert learned is not None
    assert 55 <= learned <= 65


def test_idle_hours_teach_no_interval():
    """A commit that was not due, because nothing was unread, is not late."""
    reads = []
    for index, second in enumerate(every(30, 400)):
        written = 10 * (index // 100 + 1)  # ten records each 50 minutes
        committed = written if index % 100 >= 2 else written - 10
        reads.append(group(partition(committed, written), after_s=second))

    assert 60 == learned_s(tracked(*reads).waits)


def test_a_rate_over_a_pause_is_right():
    """Two hours between reads: what was committed and written in them is known all the same."""
    reads = [group(partition(1000 * n, 50_000 + 900 * n), after_s=s) for n, s in enumerate((0, 30, 7230))]

    judgement = judge(*reads)

    assert judgement.consumed_per_s is not None
    assert judgement.produced_per_s is not None
    assert 1000 / 7200 == pytest.approx(judgement.consumed_per_s)
    assert 900 / 7200 == pytest.approx(judgement.produced_per_s)


def test_a_commit_that_went_back_begins_anew():
    """Rates before and after a reset do not mix, and what was learned of the interval stays."""
    reads = committer(every(30, 30), 60, 50)
    before = tracked(*reads)

    after = follow(before, group(partition(10, 145_000), after_s=900))

    [one] = after.partitions
    assert one is not None
    assert (10, 145_000) == (one.points[0].committed, one.points[-1].latest)
    assert before.waits == after.waits
    assert before.total.consumed == after.total.consumed


@pytest.mark.parametrize(
    ("verdict", "commits"),
    [
        (V.REWOUND, [20, 9]),
        (V.REWOUND, [20, 9, 12]),
        (V.REWOUND, [20, 9, 19]),
        (V.OK, [20, 9, 20]),  # got back there
        (V.REWOUND, [20, 9, 15, 12, 19]),  # went back twice: it was at 20 once
        (V.OK, [20, 9, 15, 12, 20]),
        (V.REWOUND, [20, 19]),
    ],
)
def test_a_rewind_is_told_until_the_commit_is_back(verdict, commits):
    """Records are read again until then."""
    reads = [group(partition(commit, 20), after_s=5 * index) for index, commit in enumerate(commits)]

    assert verdict == judge(*reads).verdict


def test_a_rewind_says_from_where_to_where_and_how_far_it_is():
    """Then and now."""
    reads = [group(partition(commit, 20_000), after_s=s) for commit, s in ((19_000, 0), (9_000, 30), (12_000, 60))]

    went_back = "the commit went back 10,000 records in 30 s: 19,000 -> 9,000, 30 s ago"
    assert f"t/0: {went_back}; 7,000 records short of where it was" == judge(*reads).evidence


def test_a_topic_made_anew_is_no_rewind():
    """Its log end went back too: there is nothing to get back to."""
    judgement = judge(
        group(partition(500, 520)), group(partition(3, 5), after_s=30), group(partition(5, 6), after_s=35)
    )

    assert V.OK == judgement.verdict


def test_a_partition_that_could_not_be_read_keeps_its_history():
    """A broker was away for two reads; the commit has stood still before and after."""
    frozen = [group(partition(10, 20 + n), after_s=30 * n) for n in range(2)]
    away = [group(partition(10, None), after_s=60), group(partition(None, 25, committed_known=False), after_s=90)]

    judgement = judge(*frozen, *away, group(partition(10, 30), after_s=120), commit_interval_s=40)

    assert V.STUCK == judgement.verdict
    assert "for 2 min" in judgement.evidence


def test_a_level_partition_that_could_not_be_read_is_not_taken_for_level_meanwhile():
    """Level ten minutes ago, then unseen: its unread records may be ten minutes old."""
    level, unseen_, now = partition(10, 10), partition(10, None), partition(10, 15)
    reads = [group(level), group(unseen_, after_s=570), group(now, after_s=600)]

    assert V.UNKNOWN == judge(*reads, commit_interval_s=60).verdict
    assert V.OK == judge(group(level), group(level, after_s=570), group(now, after_s=600), commit_interval_s=60).verdict


def test_a_partition_added_meanwhile_is_judged_alone():
    """It has one read; the others have theirs."""
    first = group(partition(5, 5), partition(9, 9, number=2))
    now = group(partition(5, 5), partition(1, 4, number=1), partition(9, 9, number=2), after_s=60)

    judgement = judge(first, now)

    assert [V.OK, V.UNKNOWN, V.OK] == [one.verdict for one in judgement.partitions]
    assert "one sample" in judgement.evidence


def test_a_partition_that_a_read_did_not_name_has_its_history_when_it_is_back():
    """A read of part of the topics is no reason to forget the others."""
    one, two = partition(10, 20), partition(7, 7, number=1)
    reads = [group(one, two), group(two, after_s=30), group(partition(10, 25), two, after_s=60)]

    judgement = judge(*reads, commit_interval_s=20)

    assert [V.STUCK, V.OK] == [each.verdict for each in judgement.partitions]


def test_a_track_over_stored_reads_is_the_track_before():
    """A restart changes nothing: folding the same reads gives the same track and the same verdict."""
    reads = committer(every(30, 50), 60, 50)
    stored = [replace(read) for read in reads]

    assert tracked(*reads) == tracked(*stored)
    assert judge(*reads) == judge(*stored)


def test_reads_at_odd_times_do_not_disturb_the_verdict():
    """Samples each 30 s, pairs when somebody asks, hours when the bot was down."""
    seed = random.Random(6)
    seconds, at_s = [], 0.0
    for _ in range(300):
        at_s += seed.choice([1.5, 30, 30, 30, 28.5, 1.2])
        seconds.append(at_s)
    seconds += [at_s + 20_000 + second for second in every(30, 30)]
    reads = committer(seconds, 60, 5)

    verdicts = {judge(*reads[: count + 1]).verdict for count in range(20, len(reads), 7)}

    assert verdicts <= {V.OK, V.UNKNOWN}
    assert V.OK == judge(*reads, kind=GroupKind.CONSUMER).verdict


def test_a_commit_beyond_the_log_end_leaves_no_history():
    """The log that it belongs to is gone; the commits to the new one begin anew."""
    reads = [group(partition(500, 520)), group(partition(500, 7), after_s=30), group(partition(3, 9), after_s=60)]

    assert "beyond the log end 7: was the topic recreated?" in judge(*reads[:2]).evidence
    assert "one sample" in judge(*reads).evidence


def test_what_is_learned_is_never_below_the_step_between_reads():
    """A pair of reads that both show a commit proves no interval of 1.5 s."""
    seconds = sorted({*every(30, 8), *(second + 1.5 for second in every(30, 8))})

    assert 28.5 == judge(*committer(seconds, 1, 2)).commit_interval_s


def test_reads_in_quick_succession_see_a_rewind():
    """Each of them is less than a second after the one before; the commit is not."""
    reads = [group(partition(20 if index < 3 else 9, 30), after_s=0.9 * index) for index in range(6)]

    assert V.REWOUND == judge(*reads).verdict
