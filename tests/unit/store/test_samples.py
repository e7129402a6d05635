"""The lag samples come back as they were read, stay small, and never stand in anybody's way."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.model import GroupOffsets, Member, PartitionOffsets
from bot.store.look_samples import look_samples
from bot.store.sample_format import samples_beside
from bot.store.samples import Samples

T0 = datetime(2026, 11, 23, 2, 0, 0, 123456, tzinfo=UTC)
GROUP = "customers_canonical_flink"
FAR = 2**62


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def partition(
    number: int = 0, committed: int | None = 90, latest: int | None = 100, **more: object
) -> PartitionOffsets:
    return replace(PartitionOffsets("customers", number, committed, 10, latest), **more)  # type: ignore[arg-type]


def read(at: datetime, *partitions: PartitionOffsets, group: str = GROUP, **more: object) -> GroupOffsets:
    return replace(GroupOffsets(group, at, "STABLE", 1, partitions or (partition(),)), **more)  # type: ignore[arg-type]


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Samples]:
    opened = Samples(tmp_path / "cdc-oncall.samples.db")
    yield opened
    opened.close()


MEMBERS = (
    Member("consumer-1-8f2c", "consumer-1", "/10.0.0.1", (("customers", 0), ("orders", 3))),
    Member("consumer-2-éß", "", "/10.0.0.2"),
)


@pytest.mark.parametrize(
    "stored",
    [
        read(T0),
        read(T0, group='odd "name";\n\0 ü%_'),
        read(T0, state=None, members=None, not_known=("state and members: needs DESCRIBE on group X",)),
        read(T0, members=2, membership=MEMBERS),
        replace(read(T0), partitions=()),
        read(T0, partition(committed=None)),
        read(T0, partition(committed=None, committed_known=False, error="needs DESCRIBE on group X")),
        read(T0, partition(latest=None, earliest=None, error="the leader did not answer")),
        read(T0, partition(last_stable=95), partition(1, last_stable=None), partition(2, last_stable=0)),
        read(T0, partition(committed=500)),
        read(T0, partition(committed=0, latest=0, earliest=0)),
        read(T0, partition(committed=1, latest=FAR, earliest=0), partition(1, committed=FAR, latest=0)),
        read(T0, *(partition(n, n * 7 if n % 3 else None, n * 1000 if n % 5 else None) for n in range(41))),
        read(T0, *(partition(0, topic=f"t{n}") for n in range(9))),
    ],
)
def test_a_read_comes_back_as_it_was(samples: Samples, stored: GroupOffsets) -> None:
    """Nothing unknown becomes a number, no number becomes another: a track over samples is one over reads."""
    samples.keep([stored])
    assert (stored,) == samples.since(stored.group, T0)
    assert (stored,) == look_samples(samples.path, stored.group, T0)


def test_any_numbers_come_back(samples: Samples) -> None:
    """A thousand reads of random offsets and gaps, many of them in one frame."""
    dice = random.Random(7)

    def some() -> int | None:
        return dice.choice([None, 0, dice.randrange(300), dice.randrange(70_000), dice.randrange(FAR)])

    stored = [
        read(after(n), *(partition(p, some(), some(), earliest=some(), last_stable=some()) for p in range(3)))
        for n in range(1000)
    ]
    samples.keep(stored)
    assert tuple(stored) == samples.since(GROUP, T0)


def test_what_changes_between_reads_comes_back(samples: Samples) -> None:
    """A rebalance, a partition more, a topic gone, another state: each read is told as it was."""
    stored = [
        read(T0, partition(), partition(1)),
        read(after(30), partition(), partition(1), state="PREPARING_REBALANCE", members=2, membership=MEMBERS),
        read(after(60), partition(), partition(1), members=2, membership=MEMBERS),
        read(after(90), partition(), partition(1), partition(2), members=2, membership=MEMBERS),
        read(after(120), partition(2), members=0, state="EMPTY"),
    ]
    for each in stored:
        samples.keep([each])
    assert tuple(stored) == samples.since(GROUP, T0)


def test_samples_are_told_by_group_and_time(samples: Samples) -> None:
    """Both ends count, another group's do not, an unknown group has none."""
    mine = [read(after(30 * n)) for n in range(5)]
    samples.keep([*mine, read(after(30), group="another")])
    assert tuple(mine[1:4]) == samples.since(GROUP, mine[1].at, mine[3].at)
    assert () == samples.since("unknown", T0)
    assert ("another", GROUP) == samples.groups()


def test_of_many_samples_the_newest_or_an_even_choice_is_told(samples: Samples) -> None:
    """A recall is bounded in partitions, a chart in points; one sample is told in any case."""
    samples.keep([read(after(30 * n), partition(), partition(1)) for n in range(20)])
    assert [after(30 * n) for n in (17, 18, 19)] == [r.at for r in samples.since(GROUP, T0, most_partitions=7)]
    assert [after(570)] == [r.at for r in samples.since(GROUP, T0, most_partitions=1)]
    starts = [each.at for each in samples.since(GROUP, T0, step_s=120)]
    assert 5 <= len(starts) <= 6
    assert T0 == starts[0]


def test_a_new_process_reads_and_goes_on(tmp_path: Path) -> None:
    """Samples outlive the process; the file is the bot's alone."""
    path = tmp_path / "state" / "cdc.samples.db"
    first, second = read(T0), read(after(30))
    before = Samples(path)
    before.keep([first])  # never closed: the process was killed
    again = Samples(path)
    again.keep([second])
    assert (first, second) == again.since(GROUP, T0)
    assert "0o600" == oct(path.stat().st_mode & 0o777)
    again.close()
    before.close()


def test_old_samples_are_thinned_and_then_deleted(samples: Samples) -> None:
    """Six hours in full, then the first of each five minutes, then none; frames and groups go with their samples."""
    begin = datetime(2026, 11, 23, tzinfo=UTC)
    day = [read(begin + timedelta(seconds=30 * n), partition(0, n, n + 5)) for n in range(2880)]
    samples.keep(day)
    now = begin + timedelta(days=1)
    for _ in range(2):
        samples.prune(now, 7 * 86400)
        kept = samples.since(GROUP, begin)
        assert [*day[: 18 * 120 : 10], *day[18 * 120 :]] == list(kept)
    samples.prune(now + timedelta(hours=1), 7 * 86400)
    assert [*day[: 19 * 120 : 10], *day[19 * 120 :]] == list(samples.since(GROUP, begin))
    samples.prune(now, 3600)
    assert day[23 * 120 :] == list(samples.since(GROUP, begin))
    assert rows(samples.path, "SELECT count(*) FROM frames") in (1, 2)
    samples.prune(now + timedelta(days=9), 7 * 86400)
    assert ((), 0) == (samples.groups(), rows(samples.path, "SELECT count(*) FROM frames"))
    samples.keep(day[-1:])
    assert (day[-1],) == samples.since(GROUP, begin)


def test_frames_that_thinning_left_without_a_sample_are_deleted(samples: Samples) -> None:
    """A group that rebalances all the time has a frame per sample: they do not outlive it."""
    samples.keep([read(after(30 * n), state=("STABLE", "PREPARING_REBALANCE")[n % 2]) for n in range(240)])
    samples.prune(after(9 * 3600), 7 * 86400)
    assert rows(samples.path, "SELECT count(*) FROM samples") == rows(samples.path, "SELECT count(*) FROM frames")
    assert 24 <= rows(samples.path, "SELECT count(*) FROM samples") <= 25


def test_samples_of_the_future_are_deleted(samples: Samples) -> None:
    """A clock that was set back leaves no sample that is newer than now."""
    samples.keep([read(T0), read(after(7200))])
    samples.prune(after(60), 7 * 86400)
    assert [T0] == [each.at for each in samples.since(GROUP, T0)]


def test_a_sample_of_twenty_partitions_is_small(samples: Samples) -> None:
    """About a hundred bytes each, all in all, with members and busy partitions."""
    dice = random.Random(3)
    ends = [dice.randrange(10**9) for _ in range(20)]
    rates = [dice.choice([0, 1, 20, 50, 200]) for _ in range(20)]
    members = tuple(replace(MEMBERS[0], id=f"consumer-{n}-{dice.random()}") for n in range(4))
    for n in range(2880):
        ends = [end + 30 * rate for end, rate in zip(ends, rates, strict=True)]
        partitions = tuple(
            partition(p, end - int(rate * 10 * dice.random()), end, last_stable=end)
            for p, (end, rate) in enumerate(zip(ends, rates, strict=True))
        )
        samples.keep([read(after(30 * n), *partitions, members=4, membership=members)])
    rows(samples.path, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert samples.path.stat().st_size / 2880 <= 120


# --- what may go wrong ---


@pytest.mark.parametrize("contents", [b"this is no database " * 400, b"", b"SQLite format 3\0" + b"\xff" * 9000])
def test_a_file_that_cannot_be_read_is_set_aside(tmp_path: Path, contents: bytes) -> None:
    """The bot begins a new one and keeps the old beside it; an empty one is simply filled."""
    path = tmp_path / "cdc.samples.db"
    path.write_bytes(contents)
    samples = Samples(path)
    samples.keep([read(T0)])
    assert ("", 1) == (samples.wrong, len(samples.since(GROUP, T0)))
    aside = tmp_path / "cdc.samples.db.unreadable"
    assert (contents or None) == (aside.read_bytes() if aside.exists() else None)
    samples.close()


def test_a_file_of_another_version_is_set_aside(tmp_path: Path) -> None:
    """After a downgrade the bot samples anew; it does not guess at what a newer one wrote."""
    path = tmp_path / "cdc.samples.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE reads (x)")
        db.execute("PRAGMA user_version = 99")
    db.close()
    assert () == look_samples(path, GROUP, T0)
    samples = Samples(path)
    samples.keep([read(T0)])
    assert 1 == len(samples.since(GROUP, T0))
    samples.close()


def test_a_file_damaged_under_the_bot_is_begun_anew(tmp_path: Path) -> None:
    """Also for threads that had it open; what comes after is kept."""
    path = tmp_path / "cdc.samples.db"
    samples = Samples(path)
    samples.keep([read(after(30 * n)) for n in range(2000)])
    seen: list[int] = []
    go, done = threading.Event(), threading.Event()

    def another() -> None:
        samples.since(GROUP, T0)
        done.set()
        go.wait(10)
        seen.append(len(samples.since(GROUP, after(10**6))))

    thread = threading.Thread(target=another)
    thread.start()
    done.wait(10)
    rows(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    for n in range(3):
        samples.keep([read(after(10**6 + n))])
    assert "" == samples.wrong
    go.set()
    thread.join(10)
    assert [len(samples.since(GROUP, after(10**6)))] == seen
    assert 1 <= seen[0] <= 3
    samples.close()


def test_one_damaged_sample_is_left_out(samples: Samples) -> None:
    """The others are told."""
    samples.keep([read(after(n)) for n in range(3)])
    for body in (b"\1garbage", b"\0\x01", b""):
        with sqlite3.connect(samples.path) as db:
            db.execute("UPDATE samples SET body = ? WHERE at % 3000000 / 1000000 = ?", (body, T0.second % 3 + 1))
        db.close()
        assert len(samples.since(GROUP, T0)) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        reason = "a small disk is mounted by root only: a full one was NOT tried"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_nobody_and_nothing_is_lost(small_disk: Path) -> None:
    """While the disk is full the samples wait in memory, and are still told; then they are written."""
    samples = Samples(small_disk / "cdc.samples.db")
    samples.keep([read(T0)])
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    wide = [read(after(30 * n), *(partition(p, n, n * 10**6) for p in range(200))) for n in range(1, 150)]
    for each in wide:
        samples.keep([each])
    assert "full" in samples.wrong
    assert tuple(wide) == samples.since(GROUP, after(1))
    ballast.unlink()
    last = read(after(10**5))
    samples.keep([last])
    assert "" == samples.wrong
    assert (read(T0), *wide, last) == look_samples(samples.path, GROUP, T0, most_partitions=10**6)
    samples.close()


def test_what_waits_in_memory_is_bounded(tmp_path: Path) -> None:
    """A folder where nothing can be written: the newest reads are kept, the oldest give way."""
    path = tmp_path / "cdc.samples.db"
    path.mkdir()
    samples = Samples(path)
    assert "cannot be written" in samples.wrong
    wide = tuple(partition(p) for p in range(20_000))
    for n in range(9):
        samples.keep([read(after(n), *wide)])
    assert [after(n) for n in range(4, 9)] == [each.at for each in samples.since(GROUP, T0)]
    assert (GROUP,) == samples.groups()
    samples.prune(after(60), 86400)
    samples.close()


def test_readers_and_the_writer_do_not_wait_for_each_other(samples: Samples) -> None:
    """A look from another process's connection sees whole passes while the bot writes, and never an error."""
    stop, seen, failed = threading.Event(), list[int](), list[BaseException]()

    def look() -> None:
        try:
            while not stop.is_set():
                both = len(look_samples(samples.path, GROUP, T0)), len(samples.since("another", T0))
                seen.append(both[1] - both[0])
        except BaseException as error:
            failed.append(error)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    for n in range(200):
        samples.keep([read(after(n)), read(after(n), group="another")])
    stop.set()
    for reader in readers:
        reader.join(10)
    assert [] == failed
    assert min(seen) >= 0
    assert 200 == len(samples.since(GROUP, T0))


def test_a_look_makes_nothing(tmp_path: Path) -> None:
    """No file, no folder, no log beside a file that nobody has open; then there is no history."""
    assert () == look_samples(tmp_path / "state" / "cdc.samples.db", GROUP, T0)
    assert () == look_samples(tmp_path / "cdc.samples.db", GROUP, T0)
    assert [] == list(tmp_path.iterdir())
    samples = Samples(tmp_path / "cdc.samples.db")
    samples.keep([read(T0)])
    samples.close()
    assert 1 == len(look_samples(samples.path, GROUP, T0))
    assert ["cdc.samples.db"] == [path.name for path in tmp_path.iterdir()]
    (tmp_path / "odd %#?.samples.db").write_bytes(samples.path.read_bytes())
    assert 1 == len(look_samples(tmp_path / "odd %#?.samples.db", GROUP, T0))
    samples.path.write_bytes(b"no database" * 100)
    assert () == look_samples(samples.path, GROUP, T0)


@pytest.mark.parametrize(
    ("journal", "beside"),
    [("cdc-oncall.db", "cdc-oncall.samples.db"), ("state", "state.samples.db"), ("a.b.sqlite", "a.b.samples.sqlite")],
)
def test_the_samples_lie_beside_the_journal(tmp_path: Path, journal: str, beside: str) -> None:
    """Under a name of their own, and beside the file itself where the journal is a link."""
    assert tmp_path / beside == samples_beside(tmp_path / journal)
    (tmp_path / "real.db").touch()
    (tmp_path / "link.db").symlink_to("real.db")
    assert tmp_path / "real.samples.db" == samples_beside(tmp_path / "link.db")


def rows(path: Path, query: str) -> int:
    db = sqlite3.connect(path)
    try:
        (first, *_) = db.execute(query).fetchone()
        return int(first)
    finally:
        db.close()


@pytest.mark.parametrize("gone", ["cdc-oncall.samples.db", "cdc-oncall.samples.db*"])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_deleted_or_replaced_under_the_bot_is_begun_anew(
    tmp_path: Path, samples: Samples, gone: str, is_replaced: bool
) -> None:
    """From the next pass on, in every thread; no sample takes the number of a group or frame of the file before."""
    samples.keep([read(T0, group=group) for group in ("other", GROUP)])
    other = Samples(tmp_path / "another.db")
    other.keep([read(after(10), partition(0, 1, 2), group="another")])
    other.close()
    reader = threading.Thread(target=samples.since, args=(GROUP, T0))
    reader.start()
    reader.join()
    for file in tmp_path.glob(gone):
        file.unlink()
    if is_replaced:
        (tmp_path / "another.db").rename(samples.path)
    kept = [read(after(30), group=group) for group in (GROUP, "other")]
    writer = threading.Thread(target=samples.keep, args=(kept,))
    writer.start()
    writer.join()
    samples.keep([read(after(60))])
    assert "" == samples.wrong
    samples.close()
    again = Samples(samples.path)
    assert (kept[0], read(after(60))) == again.since(GROUP, after(1))
    assert (kept[1],) == again.since("other", after(1))
    again.close()
