"""The alert thresholds that belong to no single pipeline. Those of a pipeline stand in its objective."""

from __future__ import annotations

from dataclasses import dataclass

from bot.model import Severity


@dataclass(frozen=True)
class Thresholds:
    """When the rules fire.

    A schema refusal alert needs *more than* `refusals` refusals of one subject in `refusals_window_s`. Dead letters
    are counted, and compared with the objective, over `dead_letters_window_s`. A group that reads nothing warns after
    `stopped_for_s` and pages after `stopped_page_for_s`. `loss_held_s` is how long lost data is told at least: a group
    that jumps over the hole commits again within seconds, and Alertmanager's group_wait must not outlast the alert.
    `runbook_url` is the page that alerts link to; the anchor of the runbook is added to it.
    """

    refusals: int = 5
    refusals_window_s: float = 600
    refusals_severity: Severity = Severity.WARNING
    connector_failed_for_s: float = 60
    dead_letters_window_s: float = 300
    stopped_for_s: float = 300
    stopped_page_for_s: float = 900
    loss_held_s: float = 300
    blind_for_s: float = 600
    runbook_url: str = "runbooks/README.md"
