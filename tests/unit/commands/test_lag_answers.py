"""What `lag` answers: a wide group on one screen, the configured groups, every group there is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from bot.commands import Query, answer, parse_line
from bot.incident.correlation import Board
from bot.lag_answers import SHOWN_PARTITIONS, every_group, groups_report
from bot.model import ConsumerGroup, GroupOffsets, Member, PartitionOffsets, Pipeline, Status
from bot.ports import Denied, GroupEntry, KafkaListing, Missing, PortError, Unreachable
from bot.probes.sources import Sources
from bot.render.answers import render_report
from bot.render.plain import render_json, render_plain
from bot.report import Report
from tests.unit.quiet_kafka import QuietKafka

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
PIPELINES = (
    Pipeline("orders", "#cdc", topics=("t",), consumers=(ConsumerGroup("fine"), ConsumerGroup("behind"))),
    Pipeline("shop", "#cdc", topics=("t",), consumers=(ConsumerGroup("lost"),)),
)


def read(group: str, *partitions: PartitionOffsets, membership: tuple[Member, ...] = ()) -> GroupOffsets:
    return GroupOffsets(group, AT, "STABLE", len(membership) or 1, partitions, membership=membership)


def wide(count: int, topic: str = "t", lag: int = 0) -> tuple[PartitionOffsets, ...]:
    return tuple(PartitionOffsets(topic, n, 1000 - lag * n, 0, 1000) for n in range(count))


GROUPS: Mapping[str, GroupOffsets | PortError] = {
    "fine": read("fine", *wide(2)),
    "behind": read("behind", *wide(3, lag=5)),
    "lost": read("lost", PartitionOffsets("t", 0, 5, 9, 12)),
    "hidden": Denied("Kafka at k:9: `committed offsets of hidden` was refused: needs the ACL DESCRIBE on group hidden"),
}


class Cluster(QuietKafka):
    """A Kafka with a few groups; what it is asked in one pass is kept."""

    def __init__(self, groups: Mapping[str, GroupOffsets | PortError] = GROUPS) -> None:
        self._groups = groups
        self.passes: list[tuple[str, ...]] = []

    def read_group(self, group: str, topics: Sequence[str], deadline_s: float) -> GroupOffsets:
        found = self._groups.get(group, Missing(f"no consumer group {group}"))
        if isinstance(found, PortError):
            raise found
        return found

    def read_groups(
        self, wanted: Mapping[str, Sequence[str]], deadline_s: float
    ) -> Mapping[str, GroupOffsets | PortError]:
        self.passes.append(tuple(wanted))
        return super().read_groups(wanted, deadline_s)

    def read_listing(self, deadline_s: float) -> KafkaListing:
        return KafkaListing("c", 1, (), tuple(GroupEntry(name, "STABLE") for name in self._groups))


def ask(line: str, cluster: Cluster, pipelines: Sequence[Pipeline] = PIPELINES, command: str = "cdc") -> Report:
    query = parse_line(line)
    assert isinstance(query, Query)
    sources = Sources(kafka=cluster, cluster=cluster, groups=("hidden", "fine"))  # type: ignore[arg-type]
    return answer(query, sources, pipelines, Board(), AT, command=command)


def test_a_wide_group_is_told_by_its_worst_partitions() -> None:
    """Ten of a thousand, and what the others come to; the document has them all."""
    report = ask("lag w", Cluster({"w": read("w", *wide(1000, lag=1))}))
    assert report.table is not None
    document = json.loads(render_json(report))

    assert [str(n) for n in range(999, 999 - SHOWN_PARTITIONS, -1)] == [row[1] for row in report.table.rows]
    left = "990 more partitions with 489,555 records of lag: 989 UNKNOWN, 1 OK; --all-partitions shows them"
    assert left in report.notes
    assert 1000 == len(document["topics"][0]["partitions"])


def test_two_more_partitions_than_shown_are_shown() -> None:
    """A line that says "1 more" takes the room of the one."""
    report = ask("lag w", Cluster({"w": read("w", *wide(SHOWN_PARTITIONS + 2))}))

    assert report.table is not None
    assert SHOWN_PARTITIONS + 2 == len(report.table.rows)


def test_more_than_one_topic_makes_a_table_of_topics() -> None:
    """The share is of the records that are known to be unread."""
    group = read("g", *wide(3, "a", lag=10), *wide(2, "b", lag=90))
    report = ask("lag g", Cluster({"g": group}))
    assert report.table is not None

    assert ("topic", "partitions", "lag", "share", "verdict") == report.table.columns
    assert (("b", "2", "90", "75 %", "UNKNOWN"), ("a", "3", "30", "25 %", "UNKNOWN")) == report.table.rows
    assert ("b", "1") == report.more_tables[0].rows[0][:2]
    assert ["b", "1", "910"] in [line.split()[:3] for line in render_plain(report).splitlines()]


@pytest.mark.parametrize(
    ("named", "lags"),
    [
        (True, (10, 10, 31)),
        (False, (10, 11, 30)),  # over half of it, and not three times the median
        (False, (0, 31, 0, 31)),  # half of it is not most of it
        (False, (0, 9)),  # of two partitions one always has most
        (False, (0, 0, 0)),
    ],
)
def test_the_partition_that_most_of_the_lag_is_in_is_named(named: bool, lags: tuple[int, ...]) -> None:
    """One look proves no SKEWED; it shows where the lag is."""
    partitions = tuple(PartitionOffsets("t", n, 1000 - lag, 0, 1000) for n, lag in enumerate(lags))
    report = ask("lag g", Cluster({"g": read("g", *partitions)}))

    assert named is any(note.startswith("t/2 has ") and note.endswith(" % of the lag") for note in report.notes)


def test_a_commit_beyond_the_log_end_says_what_may_have_happened() -> None:
    """It is never a negative lag."""
    report = ask("lag g", Cluster({"g": read("g", PartitionOffsets("t", 0, 50, 0, 10), *wide(1, "u"))}))

    assert ("lag of t/0: its commit is beyond the log end, was the topic made anew?",) == report.not_known


@pytest.mark.parametrize(("named", "lags"), [(True, (40, 60)), (False, (50, 50))])
def test_the_member_that_most_of_the_lag_waits_for_is_named(named: bool, lags: tuple[int, int]) -> None:
    """Half of it is not most of it."""
    partitions = tuple(PartitionOffsets("t", n, 1000 - lag, 0, 1000) for n, lag in enumerate(lags))
    members = tuple(Member(f"m-{n}", f"app-{n}", f"/10.0.0.{n}", (("t", n),)) for n in range(2))
    report = ask("lag g", Cluster({"g": read("g", *partitions, membership=members)}))

    line = "60 % of the lag waits for one of 2 members: app-1 on /10.0.0.1, which has 1 partition"
    assert named is (line in report.notes)


def test_a_chat_gets_a_table_that_fits_a_thread() -> None:
    """Beside an open channel a thread is some 50 letters wide; a row that wraps is no row."""
    group = read("g", *(PartitionOffsets("a-topic-of-usual-length", n, 1_000_000, 0, 12_345_678) for n in range(40)))
    report = ask("lag g", Cluster({"g": group}), command="/cdc")
    blocks = json.dumps(render_report(report).blocks)
    assert report.table is not None

    assert ("partition", "lag", "committed", "verdict") == report.table.columns
    assert max(sum(map(len, row)) + 2 * len(row) for row in report.table.rows) <= 50
    assert all(f"\\n{n} " in blocks.replace("\\\\n", "\\n") for n in range(SHOWN_PARTITIONS))
    assert "30 more partitions" in blocks


def test_without_a_group_the_configured_ones_are_told_worst_first() -> None:
    """One pass, a row each, those beside the pipelines too; what could not be read stands where UNKNOWN stands."""
    cluster = Cluster()
    report = ask("lag", cluster)
    assert report.table is not None

    assert [("lost", "behind", "hidden", "fine")] == [tuple(sorted(one, key=_order)) for one in cluster.passes]
    assert [
        ("lost", "shop", "DATA_LOST", "7"),
        ("behind", "orders", "UNKNOWN", "15"),
        ("hidden", "-", "DENIED", "-"),
        ("fine", "orders", "OK", "0"),
    ] == [row[:4] for row in report.table.rows]
    assert Status.RED is report.status
    assert "4 groups: 1 OK, 2 not, 1 not read" == report.title
    assert any("needs the ACL DESCRIBE on group hidden" in line for line in report.not_known)
    assert ("cdc lag lost",) == report.next_steps
    assert 0 == report.exit_code


def _order(group: str) -> int:
    return ("lost", "behind", "hidden", "fine").index(group)


def test_the_list_is_a_document_of_summaries() -> None:
    """`cdc lag --json`, key by key; what is not known is null."""
    document = json.loads(render_json(ask("lag", Cluster())))
    by_group = {one["group"]: one for one in document}

    assert {
        "group": "behind",
        "pipeline": "orders",
        "verdict": "UNKNOWN",
        "lag_records": 15,
        "time_lag_s": None,
        "time_lag_min_s": None,
        "time_lag_max_s": None,
        "eta_s": None,
        "eta_min_s": None,
        "eta_max_s": None,
        "state": "STABLE",
        "members": 1,
        "unknown_partitions": 0,
    }.items() <= by_group["behind"].items()
    assert (None, None) == (by_group["hidden"]["lag_records"], by_group["hidden"]["unknown_partitions"])
    assert by_group["hidden"]["not_known"]


def test_every_group_that_is_listed_is_read_some_dozens_at_a_time() -> None:
    """So that a bar moves; the configured ones stand among them with their pipeline."""
    many = {f"g-{n:03}": read(f"g-{n:03}", *wide(1)) for n in range(120)}
    cluster = Cluster({**many, **GROUPS})
    sources = Sources(kafka=cluster, cluster=cluster)  # type: ignore[arg-type]
    seen: list[tuple[int, int]] = []
    watched, not_listed = every_group(sources, PIPELINES)
    report = groups_report(sources, watched, AT, "cdc", lambda done, of: seen.append((done, of)))

    assert () == not_listed
    assert [(50, 124), (100, 124), (124, 124)] == seen
    assert [50, 50, 24] == [len(one) for one in cluster.passes]
    assert report.table is not None
    assert ("lost", "shop", "DATA_LOST") == report.table.rows[0][:3]


@pytest.mark.parametrize(
    ("code", "title", "sources", "pipelines"),
    [
        (2, "No group was asked", Sources(), PIPELINES),
        (0, "There is no group to ask about", Sources(kafka=Cluster()), ()),  # type: ignore[arg-type]
        (
            3,
            "3 groups: 0 OK, 0 not, 3 not read",
            Sources(kafka=Cluster(dict.fromkeys(("fine", "behind", "lost"), Unreachable("down")))),  # type: ignore[arg-type]
            PIPELINES,
        ),
    ],
)
def test_a_list_of_nothing_says_why(code: int, title: str, sources: Sources, pipelines: Sequence[Pipeline]) -> None:
    """Not configured, nothing named, nothing answered."""
    report = answer(Query("lag"), sources, pipelines, Board(), AT)

    assert (code, title) == (report.exit_code, report.title)


@pytest.mark.parametrize("name", ["we\x1b[31mird", "a b", "Ω-grüppe", "-x", "x" * 300])
def test_a_name_of_odd_letters_is_a_name(name: str) -> None:
    """It is asked for as it is, and steers nothing."""
    there = ask_named(name, Cluster({name: read(name, *wide(1))}))
    missing = ask_named(name, Cluster())

    assert (0, 3) == (there.exit_code, missing.exit_code)
    assert all(char.isprintable() or char == "\n" for char in render_plain(there) + render_plain(missing))


def ask_named(name: str, cluster: Cluster) -> Report:
    sources = Sources(kafka=cluster, cluster=cluster)  # type: ignore[arg-type]
    return answer(Query("lag", {"group": name}), sources, (), Board(), AT, command="cdc")


def test_a_cluster_without_groups_is_said_to_have_none() -> None:
    """An empty cluster is an answer."""
    cluster = Cluster({})
    watched, _ = every_group(Sources(kafka=cluster, cluster=cluster), ())  # type: ignore[arg-type]
    report = groups_report(Sources(kafka=cluster), watched, AT, "cdc", listed=True)  # type: ignore[arg-type]

    assert (0, [], ()) == (report.exit_code, report.document, report.next_steps)
    assert "Kafka lists no group, or none that this client may see" in report.notes[0]
