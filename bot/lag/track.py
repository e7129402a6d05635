"""What the reads of a group so far tell: followed read by read, so that a judgement costs what one read costs.

`follow(None, read)` begins a track; `follow(track, read)` goes on. A one-shot read is a track of one read; a track over
the stored samples is the same as one over the reads they were made of.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.model import GroupOffsets

KEPT_READS = 3


@dataclass(frozen=True, slots=True)
class GroupTrack:
    """`reads` are the last of them, oldest first; never empty."""

    reads: tuple[GroupOffsets, ...]

    @property
    def newest(self) -> GroupOffsets:
        return self.reads[-1]


def follow(track: GroupTrack | None, read: GroupOffsets) -> GroupTrack:
    """Return the track with one more read. A read that is not newer than the newest is left out."""
    if track is None:
        return GroupTrack((read,))
    if read.at <= track.newest.at:
        return track
    return GroupTrack((*track.reads, read)[-KEPT_READS:])
