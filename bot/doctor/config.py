"""`cdc doctor`, config: does cdc.yml load, can its secrets be resolved, what may the bot do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.doctor.check import Check, failed, names, ok, warning
from bot.model import Pipeline, counted

PART = "config"


@dataclass(frozen=True)
class ConfigFacts:
    """A config that loaded. `unresolved` says of each secret where it should come from, never what it is.

    `actions` are those enabled, with the pipelines they are for (None: all). `owners` is who may be mentioned.
    """

    path: str
    pipelines: tuple[Pipeline, ...] = ()
    unresolved: tuple[str, ...] = ()
    actions: Mapping[str, tuple[str, ...] | None] | None = None
    responders: tuple[str, ...] = ()
    runbooks: int = 0
    runbook_errors: tuple[str, ...] = ()


def judge_errors(path: str, errors: Sequence[str]) -> tuple[Check, ...]:
    """Return a line per error of a config that does not load; each says itself what to write, after its last colon."""
    return tuple(_error(path, error) for error in errors)


def judge(facts: ConfigFacts) -> tuple[Check, ...]:
    return (_loaded(facts), *_secrets(facts), _actions(facts), *_runbooks(facts))


def _loaded(facts: ConfigFacts) -> Check:
    if not facts.pipelines:
        return warning(
            PART, f"{facts.path} loads, and names no pipeline",
            "Run `cdc init DIR --connect URL --bootstrap HOST:PORT` to have them written from what is there.",
        )  # fmt: skip
    count = len(facts.pipelines)
    found = names([pipeline.name for pipeline in facts.pipelines])
    return ok(PART, f"{facts.path} loads: {count} pipeline{'s' if count > 1 else ''} ({found})")


def _secrets(facts: ConfigFacts) -> tuple[Check, ...]:
    if not facts.unresolved:
        return (ok(PART, "every secret resolves"),)
    return tuple(
        failed(PART, reason.removesuffix(" Set it and start again."), secret_remedy(reason))
        for reason in facts.unresolved
    )


def secret_remedy(reason: str) -> str:
    """Return what to do about a secret; `reason` names its variable or its file."""
    if named := re.search(r"environment variable (\S+) is not set", reason):
        return f"Set {named[1]} where this command and the bot run."
    return "Put the secret into that file, readable by the user of this command and of the bot."


def _actions(facts: ConfigFacts) -> Check:
    if not facts.actions:
        return ok(PART, "read-only: no action is enabled")
    told = [name if only is None else f"{name} (for {names(only)})" for name, only in sorted(facts.actions.items())]
    everyone = "*" in facts.responders
    count = len(facts.responders)
    who = "everyone in the channel" if everyone else f"{count} {'person' if count == 1 else 'people'}"
    line = f"actions enabled: {', '.join(told)}; {who} may run them"
    if everyone:
        return warning(PART, line, "Write the member IDs of those who may run actions under people.responders.")
    return ok(PART, line)


def _runbooks(facts: ConfigFacts) -> tuple[Check, ...]:
    if not facts.runbook_errors:
        return (ok(PART, f"{counted(facts.runbooks, 'runbook')} load{'s' if facts.runbooks == 1 else ''}"),)
    return tuple(_error("a runbook", error) for error in facts.runbook_errors)


def _error(path: str, error: str) -> Check:
    """Take `FILE:14: setting: what is wrong: what to write` apart at its last colon."""
    what, colon, remedy = error.rpartition(": ")
    if not colon:
        return failed(PART, error, f"Put {path} right; `cdc config check` shows every error of the config at once.")
    return failed(PART, what, f"{remedy[:1].upper()}{remedy[1:]}.")
