"""What the change rules tell somebody to paste makes the check pass, pasted to the letter and nothing else."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from bot.checks.avro.changes import Before, judge
from bot.checks.avro.lint import lint
from bot.checks.avro.read import link, read_part
from bot.checks.settings import LEVELS, PROFILES, SchemaSettings
from bot.checks.violation import Severity, Violation
from tests.unit.checks.avro_documents import enum, field, fixed, record, schema
from tests.unit.checks.avro_generator import Generator
from tests.unit.checks.pasting import pasted
from tests.unit.checks.test_changes_judge import TABLE

IN_WORDS = (
    "Keep the type, and write what is new to a topic of its own.",
    "Leave null among its types.",
    "Keep the field under its old name: ",
    'First publish the enum with a "default": ',
    "Keep the key's schema",
)
"""Remedies with nothing to paste: of a schema that is no record, and of what takes two steps."""
TOO_LONG = '" as it was'
"""Told in words too: JSON longer than anybody pastes, or that needs a type which is defined further down."""
ROUNDS = 12
Node = Any


def errors(document: Node, before: Sequence[Node], level: str, settings: SchemaSettings) -> list[Violation]:
    versions = [Before(schema(one), "git") for one in before]
    found = judge(schema(document), versions, level, settings)
    return [one for one in found if one.severity is Severity.ERROR]


def refused(document: Node) -> set[str]:
    """The rules that any Avro parser has as well, where the document breaks them."""
    part = read_part(document, "a.avsc")
    schemas, unknown = link([part])
    found = [*part.violations, *unknown]
    if (whole := schemas.get("a.avsc")) is not None:
        found += lint(whole, SchemaSettings())
    return {one.rule for one in found if one.severity is Severity.ERROR and one.rule < "A012"}


def muddled(document: Node) -> bool:
    """Whether an alias is the name of a field that is there as well: which is read as which is then anybody's guess."""
    (whole,) = link([read_part(document, "a.avsc")])[0].values()
    return any(
        {alias for one in found.fields for alias in one.aliases} & {one.name for one in found.fields}
        for found in whole.records()
    )


def in_words(violation: Violation) -> bool:
    return violation.remedy.startswith(IN_WORDS) or TOO_LONG in violation.remedy


def followed(
    document: Node, before: Sequence[Node], level: str, settings: SchemaSettings
) -> tuple[Node, list[Violation]]:
    """Return the document after all that can be pasted, one finding after the other, and the errors that are left."""
    for _ in range(ROUNDS):
        left = errors(document, before, level, settings)
        paste = next((made for one in left if (made := pasted(document, one)) is not None), None)
        if paste is None:
            return document, left
        document = paste
    raise AssertionError((level, sorted(settings.profiles), before, document, [(one.rule, one.path) for one in left]))


def sound(before: Sequence[Node], level: str, settings: SchemaSettings) -> bool:
    """Whether the last version kept the rules itself: where two versions contradict each other nothing fits both."""
    return len(before) < 2 or not errors(before[-1], before[:-1], level, settings)


@pytest.mark.parametrize("what", [what for what, row in TABLE.items() if any(one[1] == "error" for one in row[3])])
def test_each_error_of_the_table_is_gone_after_its_remedy(what: str) -> None:
    """Of every rule, and what is left has nothing to paste and says so."""
    old, new, (level, *profiles), _ = TABLE[what]
    before = old if isinstance(old, list) else [old]
    settings = SchemaSettings(profiles=frozenset(profiles))
    if not sound(before, level, settings):
        before, level = before[-1:], level.removesuffix("_TRANSITIVE")
    document, left = followed(new, before, level, settings)
    assert [] == [one.remedy for one in left if not in_words(one)]
    assert refused(new) >= refused(document)


def test_remedies_of_any_history_lead_to_a_schema_that_passes() -> None:
    """1,500 generated histories that were sound until their last version, all levels and profiles: followed to the end
    no error is left that had something to paste, and no parser refuses what was pasted."""
    generator, chance = Generator(11), random.Random(2)
    followed_ones = 0
    for _ in range(1500):
        first = generator.schema()
        second = generator.evolved(first)
        new = generator.evolved(second)
        level = chance.choice(LEVELS)
        settings = SchemaSettings(profiles=frozenset(chance.sample(PROFILES, chance.randint(0, 2))))
        before = [first, second]
        if not sound(before, level, settings):
            before, level = [second], level.removesuffix("_TRANSITIVE")
        if refused(second) | refused(new) or any(map(muddled, (first, second, new))):
            continue
        document, left = followed(copy.deepcopy(new), before, level, settings)
        followed_ones += document != new
        history = (level, sorted(settings.profiles), before, new, document)
        assert [] == [one.remedy for one in left if not in_words(one)], history
        assert set() == refused(document), history
    assert followed_ones > 300


SETTINGS = SchemaSettings()
STATUS = enum("A", "B", name="shop.Status")


def remedy(old: Node, new: Node, level: str = "FULL") -> str:
    (found,) = errors(new, [old], level, SETTINGS)
    return found.remedy


def test_a_type_that_stands_elsewhere_is_named_and_not_defined_again() -> None:
    """A second definition is refused by every parser; a type that went with its field comes back with it."""
    old = record(field("a", STATUS), field("b", "Status"))
    assert '{"name": "a", "type": "Status"}' in remedy(old, record(field("b", STATUS)))
    assert '{"name": "b", "type": "Status"}' in remedy(old, record(field("a", STATUS)))
    gone = record(field("a", STATUS, default="A"), field("b", "Status"), field("c", "int"))
    assert json.dumps(field("b", STATUS)) in remedy(gone, record(field("c", "int")))
    short = {**STATUS, "name": "Status"}
    told = remedy(record(field("a", short)), record(name="lake.Customer"), "FORWARD")
    assert json.dumps({**short, "namespace": "shop"}) in told


def test_a_type_that_is_defined_further_down_is_left_to_the_author() -> None:
    """JSON that names it too early would be refused."""
    old, new = record(field("a", fixed(2)), field("b", "Hash")), record(field("a", "int"), field("b", fixed(2)))
    assert 'the field "a" as it was' in remedy(old, new)


def test_a_field_that_takes_another_of_two_types_was_not_renamed() -> None:
    """An alias would give one type the name of the other, which is still there."""
    home, office = (record(field("street", "string"), name=f"shop.{name}") for name in ("Home", "Office"))
    old = record(field("a", home), field("b", office), field("c", "Home"))
    (found,) = errors(record(field("a", home), field("b", office), field("c", "Office")), [old], "FULL", SETTINGS)
    assert "field c was record Home, and is record Office" in found.message
    assert 'Keep it as it was: {"name": "c", "type": "Home"} - and put' in found.remedy


def test_a_required_field_that_went_comes_back_required() -> None:
    """Optional it would be as unreadable to the old readers as without it; then its way out is told."""
    old, new = record(field("a", "int"), field("b", "int")), record(field("a", "int"))
    told = remedy(old, new)
    assert told == 'Keep it: {"name": "b", "type": "int"} - to let it go, first publish it with a default.'
    with_default = record(field("a", "int"), field("b", "int", default=0))
    assert [] == errors(with_default, [old], "FULL", SETTINGS) == errors(new, [with_default], "FULL", SETTINGS)


def test_a_default_stays_readable_in_a_union() -> None:
    """The branch that it is a value of goes first, as readers before Avro 1.12 want it."""
    old, new = record(field("a", "int", default=7)), record(field("a", ["null", "int"]))
    (found,) = judge(schema(new), [Before(schema(old), "git")], "BACKWARD", SETTINGS)
    assert ("C016", Severity.WARNING) == (found.rule, found.severity)
    after = pasted(new, found)
    assert record(field("a", ["int", "null"], default=7)) == after
    assert () == judge(schema(after), [Before(schema(old), "git")], "BACKWARD", SETTINGS)
