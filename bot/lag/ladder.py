"""How old the oldest unread record is, by `ListOffsets(timestamp)`: proved bounds, no record read, no history needed.

The first offset at or after a time tells on which side of that time a committed offset stands. A few times asked, the
rungs, enclose the record's age.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

Ladder = Mapping[datetime, int | None]
"""Of one partition: time -> first offset with a timestamp at or after it; None: there is no record that new."""


@dataclass(frozen=True, slots=True)
class TimeLag:
    """Age of the oldest unread record in seconds; `max_s` None: not known, `about_s`: the best guess."""

    min_s: float
    max_s: float | None
    about_s: float | None
