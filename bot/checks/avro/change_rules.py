"""The rules C001-C020 as `cdc check explain` tells them, each with an example that fails and one that passes."""

from __future__ import annotations

from bot.checks.violation import Rule

RULES: tuple[Rule, ...] = ()
