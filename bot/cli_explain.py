"""`cdc check explain [RULE]`: what a rule of the schema checks wants, why, and an example of each side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bot.cli_call import stop

if TYPE_CHECKING:
    from bot.checks.violation import Rule, Violation


@click.command("explain")
@click.argument("rule_id", metavar="[RULE]", required=False)
def explain(rule_id: str | None) -> int:
    """Tell a rule's reason with an example that fails and one that passes; without RULE list all of them."""
    import difflib

    from bot.checks.rules import ALL
    from bot.render.checks_rules import render_list, render_rule

    if rule_id is None:
        click.echo(render_list(ALL.values()), nl=False)
        return 0
    rule = ALL.get(rule_id.upper())
    if rule is None:
        near = difflib.get_close_matches(rule_id.upper(), ALL, 3, 0.5)
        told = f"Did you mean {', '.join(near)}? " if near else ""
        stop(f"There is no rule {rule_id}.", f"{told}`cdc check explain` lists all rules.")
    click.echo(render_rule(rule, _said(rule)), nl=False)
    return 0


def _said(rule: Rule) -> Violation | None:
    """Return what the check says of the failing example; None where that takes protoc, or the parser of SQL."""
    import datetime as dt
    from dataclasses import replace

    from bot.checks import run
    from bot.checks.settings import SchemaSettings

    example = rule.failing
    if example.kind != "avro":
        return None
    corpus = run.read([run.Source(example.file, example.new, example.kind)])
    old = {} if example.old is None else {example.file: example.old}
    before = (run.Snapshot("before", old, frozenset()),) if old else ()
    settings = replace(SchemaSettings(level=example.level), **dict(example.settings))
    found = run.check(corpus, settings, dt.date(2000, 1, 1), before, ()).violations
    return next((violation for violation in found if violation.rule == rule.id), None)
