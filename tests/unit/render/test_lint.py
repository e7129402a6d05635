"""Our lint against Slack's rules: each rule broken once, and the workspace's rules broken by the same payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bot.drill.block_rules import broken_rules, broken_view_rules, total_characters
from bot.ports import Message
from bot.render.blocks import actions, button, confirm, context, header, mrkdwn, overflow, plain, section
from bot.render.lint import fitting, violations

Block = dict[str, Any]
GOOD = section("hello")


def raw(text: str, kind: str = "plain_text") -> Block:
    return {"type": kind, "text": text}


def pressing(**changes: Any) -> Block:
    return actions([{**button("Go", "a", "v"), **changes}])


def menu(*options: Block) -> Block:
    return section("x", accessory={"type": "overflow", "action_id": "m", "options": list(options)})


def choice(text: str = "t", value: str = "v") -> Block:
    return {"text": raw(text), "value": value}


ASK = confirm("Sure?", "really", "Yes")
BROKEN: Mapping[str, list[Block]] = {
    "51 blocks": [GOOD] * 51,
    "13,201 characters": [section("x" * 2641)] * 5,
    "unknown type": [{"type": "banner"}],
    "no block": ["text"],  # type: ignore[list-item]
    "input in a message": [{"type": "input", "label": raw("l"), "element": {"type": "plain_text_input"}}],
    "alert in a message": [{"type": "alert", "text": raw("x")}],
    "empty section": [{"type": "section"}],
    "section without words": [section(" ") | {"text": raw("", "mrkdwn")}],
    "long section": [section("x" * 3001)],
    "long section in emoji": [section("\N{FIRE}" * 1501)],
    "11 fields": [section("", fields=["x"] * 11)],
    "no fields": [{"type": "section", "text": raw("x"), "fields": []}],
    "long field": [section("", fields=["x" * 2001])],
    "accessory of no kind": [section("x", accessory={"type": "banner"})],
    "long header": [{"type": "header", "text": raw("x" * 151)}],
    "mrkdwn header": [{"type": "header", "text": raw("x", "mrkdwn")}],
    "empty context": [{"type": "context", "elements": []}],
    "11 in a context": [context(*["x"] * 11)],
    "long context": [context("x" * 2001)],
    "empty actions": [actions([])],
    "26 actions": [actions([button("b", f"a{n}", "v") for n in range(26)])],
    "long button": [pressing(text=raw("x" * 76))],
    "mrkdwn button": [pressing(text=raw("x", "mrkdwn"))],
    "button without words": [pressing(text=raw(""))],
    "long value": [pressing(value="x" * 2001)],
    "long url": [pressing(url="x" * 3001)],
    "unknown style": [pressing(style="warning")],
    "long action_id": [pressing(action_id="x" * 256)],
    "long block_id": [{**GOOD, "block_id": "x" * 256}],
    "block_id twice": [{**GOOD, "block_id": "b"}, {**GOOD, "block_id": "b"}],
    "action_id twice": [actions([button("b", "a", "1"), button("c", "a", "2")])],
    "empty menu": [menu()],
    "6 in a menu": [menu(*[choice(value=str(n)) for n in range(6)])],
    "long option": [menu(choice("x" * 76))],
    "long option value": [menu(choice(value="x" * 151))],
    "option without value": [menu(choice(value=""))],
    "option of no kind": [menu("x")],  # type: ignore[arg-type]
    "long confirm title": [pressing(confirm={**ASK, "title": raw("x" * 101)})],
    "long confirm text": [pressing(confirm={**ASK, "text": raw("x" * 301)})],
    "long confirm button": [pressing(confirm={**ASK, "confirm": raw("x" * 31)})],
    "confirm without text": [pressing(confirm={"title": raw("x")})],
    "image without words": [{"type": "image", "image_url": "https://x.example/a.png"}],
    "image without address": [{"type": "image", "alt_text": "a"}],
    "empty table": [{"type": "table", "rows": []}],
    "101 rows": [{"type": "table", "rows": [[{}]] * 101}],
    "21 columns": [{"type": "table", "rows": [[{}] * 21]}],
}
ONLY_OURS = {"long section in emoji"}


@pytest.mark.parametrize("blocks", BROKEN.values(), ids=BROKEN)
def test_each_rule_of_slack_is_one_of_ours(blocks: list[Block], request: pytest.FixtureRequest) -> None:
    """A payload that breaks a rule is named by our lint, and the drill's workspace refuses it as well."""
    assert violations(Message("text", tuple(blocks)))
    if request.node.callspec.id not in ONLY_OURS:
        assert broken_rules(blocks) or total_characters(blocks) > 13_200


@pytest.mark.parametrize(
    "blocks",
    [
        [GOOD] * 50,
        [section("x" * 2640)] * 5,
        [section("x" * 3000)],
        [section("", fields=["x" * 2000] * 5)],
        [header("x" * 150)],
        [actions([button("x" * 75, f"a{n}", "v") for n in range(25)])],
        [section("x", accessory=overflow("m", [("x" * 75, "y" * 150)]))],
        [pressing(confirm=confirm("x" * 100, "x" * 300, "x" * 30))],
        [section("<!subteam^S01> and <@U01>")],
        [],
    ],
)
def test_what_is_at_the_limit_passes(blocks: list[Block]) -> None:
    """At the limit is not over it, here and in the workspace."""
    assert () == violations(Message("text", tuple(blocks)))
    assert [] == broken_rules(blocks)


@pytest.mark.parametrize(
    "message",
    [
        Message("", (GOOD,)),
        Message("  \n", (GOOD,)),
        Message("x" * 40_001),
        Message("<!channel> look"),
        Message("x", (section("<!here> look"),)),
        Message("x", (actions([{**button("b", "a", "v"), "confirm": {**ASK, "text": mrkdwn("<!everyone>")}}]),)),
        Message("x", (), {"event_type": "e"}),
        Message("x", (), {"event_type": "e", "event_payload": {"a": {"b": 1}}}),
        Message("x", (), {"event_type": "e", "event_payload": {"a": "x" * 9000}}),
        Message("x", (menu(choice(), choice()),)),
    ],
)
def test_our_own_rules(message: Message) -> None:
    """What Slack would post and we never do: no text, a call to the whole channel, metadata that is not flat."""
    assert violations(message)


def test_plain_text_reads_no_markup() -> None:
    """`<!channel>` in a header is letters."""
    assert () == violations(Message("x", (header("<!channel>"),)))


def modal(**changes: Any) -> Block:
    asked = {"type": "plain_text_input", "action_id": "a", "max_length": 2000}
    blocks = [{"type": "input", "block_id": "b", "label": plain("l"), "element": asked}]
    return {"type": "modal", "title": plain("t"), "submit": plain("s"), "blocks": blocks, **changes}


@pytest.mark.parametrize(
    "view",
    [
        modal(type="banner"),
        modal(title=raw("x" * 25)),
        modal(submit=raw("x" * 25)),
        modal(close=raw("x" * 25)),
        modal(submit=None),
        modal(private_metadata="x" * 3001),
        modal(callback_id="x" * 256),
        modal(blocks=[GOOD] * 101),
        modal(blocks=[{"type": "table", "rows": [[{}]]}]),
        modal(blocks="x"),
    ],
)
def test_each_rule_of_a_view(view: Block) -> None:
    """A view that Slack would refuse is named, and the workspace refuses it too."""
    assert violations(view)
    assert broken_view_rules(view)


def test_a_view_within_the_limits_passes() -> None:
    """A form with an input and its button."""
    assert () == violations(modal())
    assert [] == broken_view_rules(modal())


def test_the_longest_form_that_fits_is_taken() -> None:
    """Forms are tried in order; when none fits the text goes alone."""
    long, short = Message("t", (section("x" * 3001),)), Message("t", (GOOD,))
    assert short == fitting([lambda: long, lambda: short])
    assert Message("t") == fitting([lambda: long])
    assert "t" == fitting([lambda: long]).text
    assert () == violations(fitting([]))
