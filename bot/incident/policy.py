"""Policy: what the config and the runbooks say, as decisions need it. Frozen; made anew when they change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from bot.incident.events import Who
from bot.incident.runbook import Runbook
from bot.model import Pipeline, Severity


@dataclass(frozen=True)
class Policy:
    """Who may do what, where incidents go, and how long things must hold.

    `caps` is actions started per hour and target. `responders` and `approvers` are `slack:ID` or `*`. More than
    `refusals` refused schemas of a subject within `refusals_window` are an alert.
    """

    pipelines: Mapping[str, Pipeline]
    runbooks: tuple[Runbook, ...]
    default_channel: str
    responders: frozenset[str] = frozenset()
    approvers: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()
    caps: Mapping[str, int] = field(default_factory=dict)
    command: str = "/cdc"
    environment: str | None = None
    reopen_within: timedelta = timedelta(minutes=30)
    settle: timedelta = timedelta(seconds=20)
    recheck: timedelta = timedelta(seconds=15)
    plan_ttl: timedelta = timedelta(minutes=10)
    refusals: int = 5
    refusals_window: timedelta = timedelta(minutes=10)
    refusals_severity: Severity = Severity.WARNING
    bot_version: str = ""
    config_hash: str = ""

    def pipeline(self, name: str | None) -> Pipeline | None:
        return self.pipelines.get(name) if name else None

    def enabled(self, action: str, pipeline: str | None) -> bool:
        """An action runs only where cdc.yml names it: for everything, or for this pipeline."""
        known = self.pipeline(pipeline)
        return action in self.actions or (known is not None and action in known.actions)

    def may_respond(self, who: Who) -> bool:
        return _listed(who, self.responders) or _listed(who, self.approvers)

    def may_close(self, who: Who) -> bool:
        """Whether `who` may say that it is over without proof: a responder, where any are named."""
        return not (self.responders or self.approvers) or self.may_respond(who)

    def may_approve(self, who: Who) -> bool:
        return _listed(who, self.approvers)


def _listed(who: Who, names: frozenset[str]) -> bool:
    """A terminal user holds the journal file and counts; the bot itself never approves anything."""
    if who.id.startswith("terminal:"):
        return True
    return who.id.startswith("slack:") and ("*" in names or who.id in names or who.id.removeprefix("slack:") in names)
