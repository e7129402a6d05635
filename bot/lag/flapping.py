"""Changes of a group's state and membership, and what many of them in a short time have for a cause.

A change is what two reads in a row disagree about, however many events lay between them; one pair of reads is one
change at most, so a rebalance that is seen in the middle counts as two. What the broker does not tell is no change.

The cause is read from how members go. Workers that are lost take all their members with them at once. A member that
exceeds `max.poll.interval.ms` is thrown out alone, while the others stay, and comes back under another id, to be thrown
out again. In a rolling restart each member goes once.
"""

from __future__ import annotations

from typing import NamedTuple

from bot.model import GroupKind, GroupOffsets, Member

FLAPPING_S = 600.0
FLAPPING_CHANGES = 3


class Seen(NamedTuple):
    """What was last told of a group: None or empty where it never was."""

    state: str | None = None
    members: int | None = None
    membership: tuple[Member, ...] = ()


class Change(NamedTuple):
    """What was different at a read: the states, and which of how many members were gone; `None`: no ids are told."""

    at_s: float
    was: str | None
    state: str | None
    gone: tuple[Member, ...] | None
    members_before: int | None


class Flapping(NamedTuple):
    evidence: str
    advice: tuple[str, ...]


def changed(seen: Seen, read: GroupOffsets) -> tuple[Seen, Change | None]:
    """Return what is known after this read, and the change it shows, if any."""
    state = seen.state if read.state is None else read.state
    members = seen.members if read.members is None else read.members
    has_ids = bool(read.membership) or read.members == 0
    membership = read.membership if has_ids else seen.membership
    if state == seen.state and members == seen.members and membership == seen.membership:
        return seen, None
    now = Seen(state, members, membership)
    if seen.state is None and seen.members is None:
        return now, None
    had_ids = bool(seen.membership) or seen.members == 0
    ids = {member.id for member in membership}
    before = {member.id for member in seen.membership}
    others = had_ids and has_ids and ids != before
    if state == seen.state and members == seen.members and not others:
        return now, None  # only the assignment moved, or ids are told for the first time
    gone = tuple(member for member in seen.membership if member.id not in ids) if had_ids and has_ids else None
    return now, Change(read.at.timestamp(), seen.state, state, gone, seen.members)


def recent(changes: tuple[Change, ...], change: Change | None, at_s: float) -> tuple[Change, ...]:
    """Return the changes of the last FLAPPING_S with the newest one."""
    if change is None and (not changes or at_s - changes[0].at_s <= FLAPPING_S):
        return changes
    kept = tuple(one for one in changes if at_s - one.at_s <= FLAPPING_S)
    return kept if change is None else (*kept, change)


def flapping_of(changes: tuple[Change, ...], at_s: float, kind: GroupKind) -> Flapping | None:
    """Return how the group flaps and why, or None where it changed less than FLAPPING_CHANGES times."""
    within = [change for change in changes if at_s - change.at_s <= FLAPPING_S]
    if len(within) < FLAPPING_CHANGES:
        return None
    cause, advice = _cause(within, kind)
    states = [change.state for change in within if change.state != change.was and change.state]
    seen = f" ({' -> '.join(states[-4:])})" if states else ""
    return Flapping(f"{len(within)} changes of state or members in 10 min{seen}: {cause}", advice)


def _cause(changes: list[Change], kind: GroupKind) -> tuple[str, tuple[str, ...]]:
    losses = [change for change in changes if change.gone]
    if not losses:
        if any(change.gone is None for change in changes):
            return "the cause is not known, for the members are not told by name", ()
        return "no member was lost", ("Look whether members are being added, or the group is rebalanced by hand.",)
    together = [change for change in losses if change.gone and len(change.gone) > 1]
    if sum(len(change.gone or ()) for change in together) > len(losses) - len(together):
        gone = max((change.gone or () for change in together), key=len)
        hosts = sorted({member.host for member in gone if member.host})
        where = f" on {', '.join(hosts[:3])}" if hosts else ""
        who = "Connect workers" if kind is GroupKind.CONNECT_SINK else "consumer processes"
        return (
            f"up to {len(gone)} members vanish together{where}: workers are lost",
            (f"Look why the {who} go: out of memory, restarts, evictions, network.",),
        )
    went = [(member.client, member.host) for change in losses for member in change.gone or ()]
    names = sorted({member.client or member.id for change in losses for member in change.gone or ()})
    named = f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
    if all(change.members_before == 1 for change in losses):
        return (
            f"its only member leaves again and again{named}: its process restarts, or a batch takes longer than "
            "max.poll.interval.ms",
            (_slower(kind),),
        )
    if len(set(went)) == len(went):
        return (
            f"members go one at a time, each of them once so far{named}: a rolling restart, or else a batch that takes "
            "longer than max.poll.interval.ms",
            ("Is it being deployed? Then wait for the end of that.", _slower(kind)),
        )
    return (
        f"members go one at a time{named}: thrown out, most likely because a batch takes longer than "
        "max.poll.interval.ms",
        (_slower(kind),),
    )


def _slower(kind: GroupKind) -> str:
    if kind is GroupKind.CONNECT_SINK:
        return "Give the sink fewer records at a time (consumer.override.max.poll.records), or make its target faster."
    return "Lower max.poll.records, or make the work on a batch faster; raising max.poll.interval.ms only hides it."
