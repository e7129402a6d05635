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
    from bot.checks.rules import ALL
    from bot.render.checks_rules import render_ids, render_list, render_rule

    if rule_id is None:
        click.echo(render_list(ALL.values()), nl=False)
        return 0
    rule = ALL.get(rule_id.upper())
    if rule is None:
        family = [one for one in ALL if one[0] == rule_id[:1].upper() and one[1:].isdigit()]
        named = f"The {family[0][0]}-rules are" if family else "There are"
        stop(f"There is no rule {rule_id}.", f"{named} {render_ids(family or ALL)}. `cdc check explain` lists all.")
    click.echo(render_rule(rule, _said(rule)), nl=False)
    return 0


def _said(rule: Rule) -> Violation | None:
    """Return what the check says of the failing example; None where that takes protoc, or the parser of SQL."""
    import datetime as dt

    from bot.checks.examples import judged

    found = judged(rule.failing, dt.date(2000, 1, 1))
    return next((violation for violation in found or () if violation.rule == rule.id), None)
