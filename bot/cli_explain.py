"""`cdc check explain [RULE]`: what a rule of the schema checks wants, why, and an example of each side."""

from __future__ import annotations

import click

from bot.cli_call import stop


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
    click.echo(render_rule(rule), nl=False)
    return 0
