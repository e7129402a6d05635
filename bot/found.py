"""What an answer about one finding is made of: its report, and the names that exist when there is no such thing.

Shared by all verbs that ask one system about one target; imports nothing that a `cdc lag` does not need.
"""

from __future__ import annotations

import difflib
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bot.model import Finding, Pipeline, Signal
from bot.ports import PortError
from bot.probes.sources import MISSING, NOT_CONFIGURED, UNSEEN, Sources
from bot.report import Report, Table

Look = Callable[[Mapping[str, str], Sources, Sequence[Pipeline], datetime], Finding]


@dataclass(frozen=True)
class Known:
    """Names that exist: those of cdc.yml, and those that the system listed once it had said that there is no such one.

    `not_listed` is why the system did not list them, empty when it did or was not asked.
    """

    configured: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    not_listed: str = ""

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return at most three names that are spelt much like `name`, the nearest first."""
        others = [known for known in dict.fromkeys((*self.configured, *self.listed)) if known != name]
        others = [known for known in others if known.isprintable()]  # a name may hold what steers a terminal
        return tuple(difflib.get_close_matches(name, others, SUGGESTED, ALIKE))


SUGGESTED = 3
ALIKE = 0.6


def seen(
    look: Look, verb: str, said: Mapping[str, str], sources: Sources, pipelines: Sequence[Pipeline], now: datetime
) -> tuple[Finding, Known]:
    """Look; and where there is no such thing, ask the system what there is, in the time that is left of the answer."""
    began_s = time.monotonic()
    finding = look(said, sources, pipelines, now)
    known = Known(tuple(configured_names(verb, pipelines)))
    if finding.verdict != MISSING:
        return finding, known
    left_s = max(LISTED_WITHIN_S, sources.deadline_s - (time.monotonic() - began_s))
    try:
        return finding, replace(known, listed=listed_names(verb, sources, left_s))
    except PortError as error:
        return finding, replace(known, not_listed=str(error))


LISTED_WITHIN_S = 0.5


def configured_names(verb: str, pipelines: Sequence[Pipeline]) -> list[str]:
    """Return the names in cdc.yml that a verb may be asked about, each once."""
    named = {
        "lag": [group.group for pipeline in pipelines for group in pipeline.groups],
        "dlq": [pipeline.dlq for pipeline in pipelines if pipeline.dlq],
        "schema": [subject for pipeline in pipelines for subject in pipeline.subjects],
        "connector": [name for pipeline in pipelines for name in pipeline.connectors],
    }
    return list(dict.fromkeys(named[verb]))


def listed_names(verb: str, sources: Sources, deadline_s: float) -> tuple[str, ...]:
    """Return the names that the system itself lists for a verb; none where it is not configured or cannot list.

    Raises PortError. A dead letter queue is looked for among all topics but Kafka's own.
    """
    if verb == "schema":
        return sources.registry.read_subjects(deadline_s) if sources.registry else ()
    if verb == "connector":
        return tuple(c.connector for c in sources.connect.read_connectors(deadline_s)) if sources.connect else ()
    if sources.cluster is None:
        return ()
    listing = sources.cluster.read_listing(deadline_s)
    if verb == "lag":
        return tuple(entry.group for entry in listing.groups or ())
    return tuple(entry.topic for entry in listing.topics if not entry.topic.startswith("__"))


def ask_for(finding: Finding, command: str) -> str:
    """Return the question about a finding's target, to be copied: in a terminal a shell reads what others named."""
    verb = {Signal.SCHEMA: "schema", Signal.CONNECTOR: "connector", Signal.DEAD_LETTERS: "dlq", Signal.LAG: "lag"}
    target = finding.target if command.startswith("/") else shlex.quote(finding.target)
    return f"{command} {verb.get(finding.signal, 'health')} {target}"


def report_of(
    finding: Finding,
    facts: tuple[tuple[str, str], ...],
    table: Table,
    next_steps: tuple[str, ...],
    known: Known,
    command: str,
    notes: tuple[str, ...] = (),
    more_tables: tuple[Table, ...] = (),
) -> Report:
    """Make the report of one finding; what could not be seen at all is exit code 3, not configured is 2."""
    was_seen = finding.verdict not in UNSEEN
    if finding.verdict == NOT_CONFIGURED:
        next_steps = ("name it in cdc.yml, or give its address on the command line",)
    elif finding.verdict == MISSING:
        near = known.nearest(finding.target)
        next_steps = tuple(ask_for(replace(finding, target=name), command) for name in near)
        notes = (f"cdc.yml names: {', '.join(known.configured)}",) if known.configured else ()
    return Report(
        headline(finding),
        finding.status,
        facts=facts if was_seen else (),
        table=table if table.rows else None,
        more_tables=more_tables,
        notes=(*finding.evidence, *notes),
        not_known=(*finding.not_known, *((f"what there is: {known.not_listed}",) if known.not_listed else ())),
        next_steps=next_steps,
        document=dict(finding.facts),
        exit_code=0 if was_seen else 2 if finding.verdict == NOT_CONFIGURED else 3,
    )


def headline(finding: Finding) -> str:
    """Name the target once: some headlines begin with it."""
    if finding.headline.startswith(finding.target):
        return finding.headline
    return f"{finding.target}: {finding.headline}"


def number(value: Any) -> str:
    return "not known" if value is None else f"{value:,}"


def records(count: int | None) -> str:
    return "not known" if count is None else f"{count:,} record{'' if count == 1 else 's'}"


def cell(value: Any) -> str:
    return "-" if value is None else str(value)
