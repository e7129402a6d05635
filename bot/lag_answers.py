"""The answers of `lag`: one group, the groups of the pipelines, every group there is.

Promise: an answer is as long as a screen, whatever the group's width; what it leaves out is counted and stands in the
document, which is that of contract.md. Worst first, everywhere. Imports nothing that `cdc lag GROUP` does not need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot.found import Known, ask_for, cell, headline, number, records, report_of, seen
from bot.lag.judge import judge_group
from bot.lag.track import follow
from bot.lag.verdict import Verdict
from bot.model import ConsumerGroup, Finding, GroupOffsets, Pipeline, Status, counted
from bot.ports import PortError
from bot.probes.consumer_lag import Look, Watched, besides_of, finding_of, look_at, watched_by
from bot.probes.lag_words import about, age_between, level_in
from bot.probes.sources import UNSEEN, Sources
from bot.report import Report, Table, failure

SHOWN_PARTITIONS = 10

# A partition or a member with this share of the lag is named; with less it is only one of several.
LARGE_SHARE = 0.5

# So many times the median makes a partition the hot one.
HOT_TIMES = 3

# Groups asked in one go, so that a progress bar moves and one slow broker does not hold all.
GROUPS_AT_ONCE = 50

# How old unread data is costs questions per partition: in a list it is asked for the groups furthest behind only.
AGED_PARTITIONS = 2000

# It stands among the facts here; in an incident's thread it is a line of the evidence.
AGE_WORDS = "oldest unread record"

Progress = Callable[[int, int], object]


def no_progress(done: int, of: int) -> None:
    """Who watches nobody."""


def lag_answer(
    said: Mapping[str, str], sources: Sources, pipelines: Sequence[Pipeline], now: datetime, command: str
) -> Report:
    """Answer `lag GROUP`, or `lag` without a group: the groups of the pipelines and those configured beside them."""
    if said.get("group"):
        all_partitions = said.get("partitions") == "all"
        return group_report(*seen(look_at_group, "lag", said, sources, pipelines, now), command, all_partitions)
    return groups_report(sources, configured_groups(sources, pipelines), now, command)


def watched_as(group: str, topics: Sequence[str], pipelines: Sequence[Pipeline]) -> Watched:
    """Return a group as cdc.yml knows it, else as it is named; `topics` are looked at as well."""
    known = next((each for each in watched_by(pipelines) if each.group == group), Watched(ConsumerGroup(group)))
    topics = tuple(dict.fromkeys((*known.consumer.topics, *topics)))
    return replace(known, consumer=replace(known.consumer, topics=topics))


def look_at_group(said: Mapping[str, str], sources: Sources, pipelines: Sequence[Pipeline], now: datetime) -> Finding:
    """Look at one group; `topics` are separated by commas."""
    topics = tuple(filter(None, said.get("topics", "").split(",")))
    return finding_of(look_at(sources, watched_as(said["group"], topics, pipelines)), now)


def configured_groups(sources: Sources, pipelines: Sequence[Pipeline]) -> tuple[Watched, ...]:
    """Return the groups of the pipelines, and those configured beside them, each once."""
    watched = {each.group: each for each in reversed(watched_by(pipelines))}
    named = {group: Watched(ConsumerGroup(group)) for group in sources.groups if group not in watched}
    return (*reversed(watched.values()), *named.values())


# --- one group -----------------------------------------------------------------------------------


def group_report(finding: Finding, known: Known, command: str, all_partitions: bool = False) -> Report:
    """A consumer group: how far behind in records and in time, why, per topic, its worst partitions, its members."""
    facts = finding.facts
    entries = sorted(
        ((str(topic["topic"]), entry) for topic in facts["topics"] for entry in topic["partitions"]), key=_worst_first
    )
    by_topic = _topics(facts["topics"]) if len(facts["topics"]) > 1 else ()
    shown = entries if all_partitions or len(entries) <= SHOWN_PARTITIONS + 2 else entries[:SHOWN_PARTITIONS]
    left_out = _left_out([entry for _, entry in entries[len(shown) :]], command)
    again = command if command.startswith("/") else f"{command} watch"
    tables = tuple(
        table for table in (by_topic, _few_columns(shown) if command.startswith("/") else _partitions(shown)) if table
    )
    told = replace(finding, evidence=tuple(line for line in finding.evidence if not line.startswith(AGE_WORDS)))
    return report_of(
        told,
        tuple(_facts(facts)),
        tables[0] if tables else Table((), ()),
        (_next(finding, again),) if finding.verdict == Verdict.UNKNOWN and entries else (),
        known,
        command,
        (*left_out, *_hot(facts), *_members(facts)),
        tables[1:],
    )


def _next(finding: Finding, command: str) -> str:
    return ask_for(finding, command) if command.startswith("/") else ask_for(finding, command).replace(" lag ", " ", 1)


def _worst_first(one: tuple[str, Mapping[str, Any]]) -> tuple[int, int, str, int]:
    topic, entry = one
    return -(entry["lag_records"] or 0), Verdict(entry["verdict"]).rank, topic, entry["partition"]


def _facts(facts: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    lag_records = facts["lag_records"]
    known = sum(topic["lag_records"] or 0 for topic in facts["topics"])
    members = facts["members"]
    yield "verdict", facts["verdict"]
    yield "state", facts["state"] or "not known"
    yield "members", number(members)
    yield "lag", records(lag_records) if lag_records is not None or not known else f"at least {records(known)}"
    if facts["time_lag_min_s"] is not None and (lag_records or known):
        yield "time lag", age_between(facts["time_lag_min_s"], facts["time_lag_max_s"])
    if facts["consumed_per_s"] is not None and facts["produced_per_s"] is not None:
        yield "rates", f"{_rate(facts['consumed_per_s'])} read, {_rate(facts['produced_per_s'])} written"
    if facts["eta_s"] is not None:
        yield "caught up", level_in(facts["eta_s"], facts["eta_min_s"], facts["eta_max_s"]).removeprefix("level ")
    if facts["commit_interval_s"] is not None:
        yield "commits", f"every {about(facts['commit_interval_s'])}"


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}/s" if per_s >= 10 else f"{per_s:,.1f}/s"


def _topics(topics: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("topic", "partitions", "lag", "share", "verdict")
    total = sum(topic["lag_records"] or 0 for topic in topics)
    rows = tuple(
        (
            str(topic["topic"]),
            str(len(topic["partitions"])),
            number(topic["lag_records"]),
            f"{100 * (topic['lag_records'] or 0) / total:.0f} %" if total and topic["lag_records"] is not None else "-",
            str(min((Verdict(entry["verdict"]) for entry in topic["partitions"]), key=lambda one: one.rank)),
        )
        for topic in sorted(topics, key=lambda each: (-(each["lag_records"] or 0), each["topic"]))
    )
    return Table(columns, rows, frozenset(columns[1:4]))


def _partitions(entries: Sequence[tuple[str, Mapping[str, Any]]]) -> Table | None:
    columns = ("topic", "partition", "committed", "earliest", "log end", "lag", "verdict")
    rows = tuple(
        (
            topic,
            str(entry["partition"]),
            number(entry["committed_offset"]),
            number(entry["earliest_offset"]),
            number(entry["log_end_offset"]),
            number(entry["lag_records"]),
            str(entry["verdict"]),
        )
        for topic, entry in entries
    )
    return Table(columns, rows, frozenset(columns[1:6])) if rows else None


def _few_columns(entries: Sequence[tuple[str, Mapping[str, Any]]]) -> Table | None:
    """The same for a chat: a thread beside its channel is some 50 letters wide, and a row that wraps is no row."""
    several = len({topic for topic, _ in entries}) > 1
    rows = tuple(
        (
            f"{topic}/{entry['partition']}" if several else str(entry["partition"]),
            number(entry["lag_records"]),
            number(entry["committed_offset"]),
            str(entry["verdict"]),
        )
        for topic, entry in entries
    )
    return Table(("partition", "lag", "committed", "verdict"), rows, frozenset({"lag", "committed"})) if rows else None


def _left_out(entries: Sequence[Mapping[str, Any]], command: str) -> tuple[str, ...]:
    if not entries:
        return ()
    count: dict[Verdict, int] = {}
    for entry in entries:
        count[Verdict(entry["verdict"])] = count.get(Verdict(entry["verdict"]), 0) + 1
    verdicts = ", ".join(f"{count[one]:,} {one}" for one in sorted(count, key=lambda one: one.rank))
    behind = sum(entry["lag_records"] or 0 for entry in entries)
    where = "" if command.startswith("/") else "; --all-partitions shows them"
    return (f"{counted(len(entries), 'more partition')} with {records(behind)} of lag: {verdicts}{where}",)


def _hot(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the partition that most of the lag is in, where the verdict has not done so."""
    lags = sorted(
        ((entry["lag_records"] or 0), f"{topic['topic']}/{entry['partition']}")
        for topic in facts["topics"]
        for entry in topic["partitions"]
    )
    total = sum(lag for lag, _ in lags)
    if len(lags) < 3 or facts["verdict"] == Verdict.SKEWED:
        return ()
    lag, name = lags[-1]
    if lag <= LARGE_SHARE * total or lag <= HOT_TIMES * lags[len(lags) // 2][0]:
        return ()
    return (f"{name} has {100 * lag / total:.0f} % of the lag",)


def _members(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the member that most of the lag waits for, where there are several."""
    members = facts["membership"]
    lags = {
        (topic["topic"], entry["partition"]): entry["lag_records"] or 0
        for topic in facts["topics"]
        for entry in topic["partitions"]
    }
    total = sum(lags.values())
    if len(members) < 2 or not total:
        return ()
    lag, worst = max(
        ((sum(lags.get((p["topic"], p["partition"]), 0) for p in one["partitions"]), one) for one in members),
        key=lambda each: (each[0], each[1]["id"]),
    )
    if lag <= LARGE_SHARE * total:
        return ()
    name = f"{worst['client'] or worst['id']} on {worst['host']}"
    read = counted(len(worst["partitions"]), "partition")
    return (f"{100 * lag / total:.0f} % of the lag waits for one of {len(members)} members: {name}, which has {read}",)


# --- several groups ------------------------------------------------------------------------------


def groups_report(
    sources: Sources,
    watched: Sequence[Watched],
    now: datetime,
    command: str,
    progress: Progress = no_progress,
    listed: bool = False,
) -> Report:
    """Several groups in one pass, worst first, a row each; one that could not be read is a row with its reason.

    `listed`: they are all that the cluster shows.
    """
    if sources.kafka is None:
        reason = "Kafka is not configured: nothing was asked."
        return failure("No group was asked", reason, "name it in cdc.yml, or give --bootstrap", exit_code=2)
    if not watched and listed:
        note = "Kafka lists no group, or none that this client may see: it needs DESCRIBE on them, or on the cluster."
        return Report("There is no group to ask about", Status.UNKNOWN, notes=(note,), document=[])
    if not watched:
        return Report(
            "There is no group to ask about",
            Status.UNKNOWN,
            notes=("cdc.yml names none in its pipelines and none under lag.groups.",),
            next_steps=(f"{command} lag GROUP",) if command.startswith("/") else (f"{command} lag --all",),
            document=[],
        )
    looks = look_at_groups(sources, watched, progress)
    found = sorted(((look, finding_of(look, now)) for look in looks), key=_worst_group_first)
    behind = sum(1 for _, finding in found if finding.verdict not in (Verdict.OK, *UNSEEN))
    unread = sum(1 for _, finding in found if finding.verdict in UNSEEN)
    title = f"{counted(len(found), 'group')}: {len(found) - behind - unread} OK, {behind} not"
    columns = ("group", "pipeline", "verdict", "lag", "time lag", "level")
    rows = tuple(
        (
            look.watched.group,
            cell(look.watched.pipeline),
            finding.verdict,
            number(finding.facts["lag_records"]) if finding.verdict not in UNSEEN else "-",
            _age_of(finding.facts),
            _level_of(finding.facts),
        )
        for look, finding in found
    )
    worst = next((one for _, one in found if one.verdict != Verdict.OK and one.target.isprintable()), None)
    return Report(
        f"{title}, {unread} not read" if unread else title,
        min((finding.status for _, finding in found), key=_WORST_FIRST.index),
        table=Table(columns, rows, frozenset({"lag"})),
        notes=tuple(headline(finding) for _, finding in found[:SHOWN_REASONS] if finding.verdict != Verdict.OK),
        not_known=tuple(
            dict.fromkeys(
                line if look.watched.group in line else f"{look.watched.group}: {line}"
                for look, finding in found
                for line in finding.not_known
            )
        )[:SHOWN_NOT_KNOWN],
        next_steps=(ask_for(worst, command),) if worst is not None else (),
        document=[_summary(look, finding) for look, finding in found],
        exit_code=3 if unread == len(found) else 0,
    )


SHOWN_REASONS = 5
SHOWN_NOT_KNOWN = 20
_WORST_FIRST = (Status.RED, Status.YELLOW, Status.UNKNOWN, Status.GREEN)


def look_at_groups(sources: Sources, watched: Sequence[Watched], progress: Progress = no_progress) -> tuple[Look, ...]:
    """Read many groups, some dozens at a time, then ask once what decides about those that are behind."""
    kafka = sources.kafka
    if kafka is None:
        return tuple(Look(each) for each in watched)
    read: dict[str, GroupOffsets | PortError] = {}
    for start in range(0, len(watched), GROUPS_AT_ONCE):
        part = watched[start : start + GROUPS_AT_ONCE]
        read |= kafka.read_groups({each.group: each.consumer.topics for each in part}, sources.deadline_s)
        progress(min(len(watched), start + GROUPS_AT_ONCE), len(watched))
    tracked = []
    for each in watched:
        offsets = read.get(each.group)
        if isinstance(offsets, GroupOffsets):
            sources.note(offsets)
            tracked.append((each, follow(sources.track_of(each.group), offsets)))
    asked = _furthest_behind([(each, track.newest) for each, track in tracked])
    beside = dict(
        zip(
            [each.group for each, _ in tracked if each.group in asked],
            besides_of(sources, [one for one in tracked if one[0].group in asked], sources.deadline_s),
            strict=True,
        )
    )
    looks = {}
    for each, track in tracked:
        known, not_known = beside.get(each.group) or (
            besides_of(replace(sources, kafka=None), [(each, track)], sources.deadline_s)[0][0],
            ("how old the oldest unread record is: not asked, too many groups are behind",),
        )
        looks[each.group] = Look(each, track, judge_group(track, known), not_known=not_known, beside=known)
    refused = {each.group: Look(each, error=_error(each, read.get(each.group))) for each in watched}
    return tuple(looks.get(each.group) or refused[each.group] for each in watched)


def _error(watched: Watched, answer: GroupOffsets | PortError | None) -> PortError:
    return answer if isinstance(answer, PortError) else PortError(f"group {watched.group}: no answer")


def _furthest_behind(read: Sequence[tuple[Watched, GroupOffsets]]) -> set[str]:
    """Return the groups to ask more about: those without unread data cost nothing, of the others the worst."""
    sizes = {
        each.group: (sum(one.lag_records or 0 for one in offsets.partitions),
                     sum(1 for one in offsets.partitions if one.lag_records))
        for each, offsets in read
    }  # fmt: skip
    asked, left = set(), AGED_PARTITIONS
    for group, (_, partitions) in sorted(sizes.items(), key=lambda item: (-item[1][0], item[0])):
        if partitions <= left:
            asked.add(group)
            left -= partitions
    return asked


def _worst_group_first(one: tuple[Look, Finding]) -> tuple[int, int, str]:
    """By verdict, then by lag; what could not be read stands where UNKNOWN stands."""
    look, finding = one
    verdict = Verdict.UNKNOWN if finding.verdict in UNSEEN else Verdict(finding.verdict)
    return verdict.rank, -(look.judgement.at_least_records if look.judgement else 0), look.watched.group


def _age_of(facts: Mapping[str, Any]) -> str:
    if facts["time_lag_min_s"] is None or not (facts["lag_records"] is None or facts["lag_records"]):
        return "-"
    return age_between(facts["time_lag_min_s"], facts["time_lag_max_s"]).removesuffix(" old")


def _level_of(facts: Mapping[str, Any]) -> str:
    if facts["eta_s"] is None:
        return "-"
    return level_in(facts["eta_s"], facts["eta_min_s"], facts["eta_max_s"]).removeprefix("level ")


def _summary(look: Look, finding: Finding) -> dict[str, Any]:
    facts, read = finding.facts, look.track.newest if look.track else None
    return {
        "group": look.watched.group,
        "pipeline": look.watched.pipeline,
        "verdict": facts["verdict"],
        "lag_records": facts["lag_records"],
        "time_lag_s": facts["time_lag_s"],
        "time_lag_min_s": facts["time_lag_min_s"],
        "time_lag_max_s": facts["time_lag_max_s"],
        "eta_s": facts["eta_s"],
        "eta_min_s": facts["eta_min_s"],
        "eta_max_s": facts["eta_max_s"],
        "state": facts["state"],
        "members": facts["members"],
        "unknown_partitions": sum(1 for one in read.partitions if one.lag_is_unknown) if read else None,
        "evidence": facts["evidence"],
        "not_known": facts["not_known"],
    }


def every_group(sources: Sources, pipelines: Sequence[Pipeline]) -> tuple[tuple[Watched, ...], tuple[str, ...]]:
    """Return every group that this client can list, as cdc.yml knows it, and what the listing could not tell.

    Those configured come first and stand even where they are not listed: Raises PortError.
    """
    if sources.cluster is None:
        return configured_groups(sources, pipelines), ("which groups there are: Kafka is not configured",)
    listing = sources.cluster.read_listing(sources.deadline_s)
    known = {each.group: each for each in configured_groups(sources, pipelines)}
    for entry in listing.groups or ():
        known.setdefault(entry.group, Watched(ConsumerGroup(entry.group)))
    return tuple(known.values()), listing.not_known
