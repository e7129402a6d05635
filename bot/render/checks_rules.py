"""The rules of the schema checks as people read them: in a terminal, as docs/rules.md, as help in a code scanner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bot.checks.violation import Example, Rule, Violation
from bot.render.checks_text import headline, remedy

LANGUAGES = {"avro": "json", "json": "json", "proto": "proto", "ddl": "sql"}
_KINDS = {"AVRO": "avro", "JSON": "json", "PROTOBUF": "proto"}
FAMILIES = {
    "A": "Avro: one schema",
    "C": "Changes",
    "P": "Protobuf",
    "D": "DDL",
    "B": "What buf adds",
    "S": "The run: files, waivers, the baseline",
}


def render_list(rules: Iterable[Rule]) -> str:
    """Return all rules, one a line."""
    lines = [f"{rule.id}  {rule.severity:<7}  {rule.title}" for rule in rules]
    return "\n".join([*lines, "", "`cdc check explain RULE` tells a rule's reason, with an example."]) + "\n"


def render_ids(ids: Iterable[str]) -> str:
    """Return ids as ranges: `A001-A019, A101-A112`."""
    ranges: list[list[str]] = []
    for one in ids:
        before = ranges[-1][-1] if ranges else ""
        if before[1:].isdigit() and one == f"{before[0]}{int(before[1:]) + 1:03}":
            ranges[-1][1:] = [one]
        else:
            ranges.append([one])
    return ", ".join("-".join(ends) for ends in ranges)


def render_rule(rule: Rule, said: Violation | None = None) -> str:
    """Return one rule for a terminal: severity, reason, both examples, and what the check `said` of the failing one."""
    lines = [f"{rule.id}  {rule.severity}: {rule.title}", "", rule.why, ""]
    for word, example in (("Fails", rule.failing), ("Passes", rule.passing)):
        lines.append(f"{word}{_told(example)}{_also(word, rule)}:")
        if example.kind == "ddl" and example.old is not None:
            lines += ["", "  registered", *_indented(example.old), f"  {example.file}"]
        elif example.old is not None:
            lines += ["", "  before", *_indented(example.old), "  after"]
        elif example.beside:
            lines += ["", f"  {example.file}"]
        lines += _indented(example.new)
        for file, text in example.beside.items():
            lines += [f"  {file}", *_indented(text)]
        lines.append("")
        if word == "Fails" and said is not None:
            lines += [f"  {said.rule}  {headline(said)}", *(f"    {line}" for line in remedy(said)), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def render_page(rules: Iterable[Rule]) -> str:
    """Return docs/rules.md: an index, then rule by rule."""
    by_family: dict[str, list[Rule]] = {}
    for rule in rules:
        by_family.setdefault(rule.id[0], []).append(rule)
    lines = [
        "# The rules of `cdc check schemas`",
        "",
        "Rendered from the code by `make docs`; the tests run every example. `cdc check explain RULE` says the same.",
        "To stay short, some examples leave out what rules of the grade warning ask, such as comments.",
    ]
    for letter, family in by_family.items():
        lines += ["", f"## {FAMILIES.get(letter, letter)}", "", "| rule | severity | |", "|---|---|---|"]
        lines += [
            f"| [{r.id}](#{r.id.lower()}) | {r.severity} | {r.title.replace('|', chr(92) + '|')} |" for r in family
        ]
        for rule in family:
            lines += [
                "",
                f'### <a id="{rule.id.lower()}"></a>{rule.id}: {rule.title}',
                "",
                f"_{rule.severity}._ {rule.why}",
            ]
            lines += ["", *example_lines(rule)]
    return "\n".join(lines) + "\n"


def example_lines(rule: Rule) -> Iterator[str]:
    """Yield the examples of a rule as Markdown."""
    yield from _example(f"Fails{_told(rule.failing)}{_also('Fails', rule)}", rule.failing)
    yield ""
    yield from _example(f"Passes{_told(rule.passing)}", rule.passing)


def _example(head: str, example: Example) -> Iterator[str]:
    language = LANGUAGES[example.kind]
    yield f"{head}:"
    if example.kind == "ddl" and example.old is not None:
        yield from ("", "```json", *_lines(example.old), "```", "", f"is registered, and `{example.file}` says", "")
    elif example.old is not None:
        held = LANGUAGES[_KINDS[example.answer.schema_type]] if example.answer else language
        yield from ("", f"```{held}", *_lines(example.old), "```", "", "becomes", "")
    elif example.beside:
        yield from ("", f"`{example.file}`", "")
    else:
        yield ""
    yield from (f"```{language}", *_lines(example.new), "```")
    for file, text in example.beside.items():
        yield from ("", f"`{file}`", "", f"```{language}", *_lines(text), "```")


def _told(example: Example) -> str:
    """Return what the example needs to be what it is: a level, a profile, a setting, an answer."""
    told = [f"at level {example.level}"] if example.old is not None else []
    for name, value in example.settings.items():
        told.append(f"with {name} {_setting(value)}")
    if example.answer is not None and example.old is not None:
        told.append(f"where the registry holds {example.answer.schema_type}")
        if example.answer.accepts is not None:
            said = "".join(f" ({reason})" for reason in example.answer.said)
            told.append(f"and answers `is_compatible: {str(example.answer.accepts).lower()}`{said}")
    return f" {' '.join(told)}" if told else ""


def _also(word: str, rule: Rule) -> str:
    return f", also under {', '.join(rule.also)}" if word == "Fails" and rule.also else ""


def _setting(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"`{key}: {said}`" for key, said in value.items())
    return ", ".join(sorted(map(str, value))) if isinstance(value, (frozenset, set, tuple, list)) else str(value)


def _lines(text: str) -> list[str]:
    return text.strip("\n").split("\n")


def _indented(text: str) -> list[str]:
    return [f"    {line}".rstrip() for line in _lines(text)]
