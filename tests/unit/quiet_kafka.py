"""A Kafka that answers what a look asks beside the offsets with nothing: for tests of something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from bot.model import GroupOffsets, PartitionKey, Retention
from bot.ports import PortError


class QuietKafka:
    """To be given `read_group`; a pass over several groups asks it one after another."""

    def read_group(self, group: str, topics: Sequence[str], deadline_s: float) -> GroupOffsets:
        raise NotImplementedError

    def read_groups(
        self, wanted: Mapping[str, Sequence[str]], deadline_s: float
    ) -> Mapping[str, GroupOffsets | PortError]:
        found: dict[str, GroupOffsets | PortError] = {}
        for group, topics in wanted.items():
            try:
                found[group] = self.read_group(group, topics, deadline_s)
            except PortError as error:
                found[group] = error
        return found

    def read_offsets_at(
        self, asked: Mapping[PartitionKey, Sequence[datetime]], deadline_s: float
    ) -> Mapping[PartitionKey, Mapping[datetime, int | None]]:
        return {}

    def read_retention(self, topics: Sequence[str], deadline_s: float) -> Mapping[str, Retention | PortError]:
        return {}

    def holds_record(self, starts: Mapping[PartitionKey, int], deadline_s: float) -> Mapping[PartitionKey, bool]:
        return {}
