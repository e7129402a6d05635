"""The rules of the schema checks as people read them: one in a terminal, all as a page, help in a code scanner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bot.checks.violation import Example, Rule

LANGUAGES = {"avro": "json", "proto": "proto", "ddl": "sql"}


def example_lines(rule: Rule) -> Iterator[str]:
    """Yield the examples of a rule as Markdown."""
    yield from _example("Fails", rule.failing)
    yield ""
    yield from _example("Passes", rule.passing)


def render_page(rules: Iterable[Rule]) -> Iterator[str]:
    """Yield docs/rules.md, rule by rule."""
    for rule in rules:
        yield from (f"### {rule.id} {rule.title}", "", f"_{rule.severity}_ {rule.why}", "", *example_lines(rule), "")


def _example(word: str, example: Example) -> Iterator[str]:
    language = LANGUAGES.get(example.kind, "")
    told = f" at level {example.level}" if example.old is not None else ""
    told += "".join(f", {name}: {value}" for name, value in example.settings.items())
    yield f"{word}{told}:"
    if example.old is not None:
        yield from ("", "before", f"```{language}", *example.old.strip("\n").split("\n"), "```", "", "after")
    yield from (f"```{language}", *example.new.strip("\n").split("\n"), "```")
