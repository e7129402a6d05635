"""Slack's rules for a message or a view, checked before it is sent.

`violations` returns one line per broken rule with the place; an empty answer is a message that Slack
takes. `fitting` picks the longest of several forms that passes: too long becomes shorter, it never fails.

Sources: docs.slack.dev/reference/block-kit; the models of slack_sdk 3.47; the undocumented total of about
13,200 characters per message (bolt-js #2509), into which values are counted to be on the safe side.
Lengths are UTF-16 units.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bot.ports import Message
from bot.render.blocks import cut, units

MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100
TOTAL_CHARACTERS = 13_200
TEXT_CHARACTERS = 40_000
METADATA_CHARACTERS = 8_000

Found = Iterator[str]
Node = Mapping[str, Any]

_BUTTON_STYLES = (None, "primary", "danger")
_MESSAGE_BLOCKS = frozenset({"section", "header", "actions", "context", "divider", "image", "rich_text", "table"})
_VIEW_BLOCKS = _MESSAGE_BLOCKS - {"table"} | {"input"}
_SELECTS = frozenset({"static_select", "users_select", "conversations_select", "channels_select"})
_CHOICES = frozenset({"radio_buttons", "checkboxes"})
_INTERACTIVE = frozenset({"button", "overflow", "datepicker"}) | _SELECTS | _CHOICES
_INPUTS = _INTERACTIVE - {"button", "overflow"} | {"plain_text_input", "number_input"}
_MASS_MENTION = re.compile(r"<!(channel|here|everyone)\b")


def violations(shown: Message | Mapping[str, Any]) -> tuple[str, ...]:
    """Return what Slack would refuse in a message, or in a view given as a mapping with its `type`."""
    if isinstance(shown, Message):
        return tuple(_message(shown))
    return tuple(_view(shown))


def fitting(forms: Iterable[Callable[[], Message]]) -> Message:
    """Return the first form that Slack takes, longest first; at the very end the text of the last one alone."""
    message = Message(" ")
    for form in forms:
        message = form()
        if not violations(message):
            return message
    return replace(message, text=cut(message.text, 3000) or "(nothing to show)", blocks=())


# --- a message and a view --------------------------------------------------------------------------


def _message(message: Message) -> Found:
    if not message.text.strip():
        yield "text: a message needs a text: screen readers and notifications have nothing else"
    if _MASS_MENTION.search(message.text):
        yield "text: mentions a whole channel"
    yield from _longest("text", message.text, TEXT_CHARACTERS)
    yield from _most("blocks", len(message.blocks), MESSAGE_BLOCKS)
    yield from _blocks(message.blocks, _MESSAGE_BLOCKS)
    yield from _most("blocks: characters in all", _total(message.blocks), TOTAL_CHARACTERS)
    yield from _metadata(message.metadata)


def _metadata(metadata: Node) -> Found:
    if not metadata:
        return
    if not isinstance(metadata.get("event_type"), str) or not isinstance(metadata.get("event_payload"), Mapping):
        yield "metadata: needs event_type and event_payload"
        return
    yield from _most("metadata", len(repr(metadata)), METADATA_CHARACTERS)
    for name, value in metadata["event_payload"].items():
        if not isinstance(value, str | int | float | bool):
            yield f"metadata.event_payload.{name}: must be a plain value"


def _view(view: Node) -> Found:
    kind = view.get("type")
    if kind not in ("modal", "home"):
        yield f"type: {kind!r} is no view"
        return
    blocks = view.get("blocks")
    if not isinstance(blocks, list | tuple):
        yield "blocks: must be a list"
        return
    if kind == "modal":
        yield from _plain("title", view.get("title"), 24)
        for name in ("submit", "close"):
            if view.get(name) is not None:
                yield from _plain(name, view[name], 24)
        if any(_kind(block) == "input" for block in blocks) and view.get("submit") is None:
            yield "submit: a view with inputs needs it"
    yield from _longest("private_metadata", view.get("private_metadata") or "", 3000)
    yield from _longest("callback_id", view.get("callback_id") or "", 255)
    yield from _most("blocks", len(blocks), VIEW_BLOCKS)
    yield from _blocks(blocks, _VIEW_BLOCKS)


def _blocks(blocks: Sequence[Node], allowed: frozenset[str]) -> Found:
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        at = f"blocks[{index}]"
        kind = _kind(block)
        if kind not in allowed:
            yield f"{at}.type: {kind!r} is not allowed here"
            continue
        block_id = block.get("block_id")
        if block_id is not None:
            if not block_id:
                yield f"{at}.block_id: must not be empty"
            yield from _longest(f"{at}.block_id", block_id, 255)
            if block_id in seen:
                yield f"{at}.block_id: {block_id} is used twice"
            seen.add(block_id)
        yield from _BLOCK_RULES.get(kind, _nothing)(at, block)
        yield from _action_ids(at, block)
        yield from _mass_mentions(at, block)


def _action_ids(at: str, block: Node) -> Found:
    seen: set[str] = set()
    elements = [*_listed(block.get("elements")), block.get("accessory"), block.get("element")]
    for action_id in (element.get("action_id") for element in elements if isinstance(element, Mapping)):
        if action_id is None:
            continue
        if action_id in seen:
            yield f"{at}: action_id {action_id} is used twice"
        seen.add(action_id)


def _mass_mentions(at: str, node: Any) -> Found:
    """No markup calls a whole channel: a label could have said so. A plain_text reads no markup."""
    if isinstance(node, list | tuple):
        for item in node:
            yield from _mass_mentions(at, item)
    elif isinstance(node, Mapping):
        if node.get("type") == "mrkdwn" and _MASS_MENTION.search(str(node.get("text"))):
            yield f"{at}: mentions a whole channel"
        for value in node.values():
            if not isinstance(value, str):
                yield from _mass_mentions(at, value)


# --- blocks ----------------------------------------------------------------------------------------


def _nothing(at: str, block: Node) -> Found:
    return iter(())


def _section(at: str, block: Node) -> Found:
    text, fields = block.get("text"), block.get("fields")
    if text is None and not fields:
        yield f"{at}: a section needs a text or fields"
    if text is not None:
        yield from _text(f"{at}.text", text, 3000)
    if fields is not None:
        yield from _between(f"{at}.fields", fields, 1, 10)
        for index, field in enumerate(_listed(fields)):
            yield from _text(f"{at}.fields[{index}]", field, 2000)
    if block.get("accessory") is not None:
        yield from _element(f"{at}.accessory", block["accessory"], _INTERACTIVE | {"image"})


def _header(at: str, block: Node) -> Found:
    yield from _plain(f"{at}.text", block.get("text"), 150)


def _actions(at: str, block: Node) -> Found:
    yield from _between(f"{at}.elements", block.get("elements"), 1, 25)
    for index, element in enumerate(_listed(block.get("elements"))):
        yield from _element(f"{at}.elements[{index}]", element, _INTERACTIVE)


def _context(at: str, block: Node) -> Found:
    yield from _between(f"{at}.elements", block.get("elements"), 1, 10)
    for index, element in enumerate(_listed(block.get("elements"))):
        where = f"{at}.elements[{index}]"
        if _kind(element) == "image":
            yield from _image(where, element)
        else:
            yield from _text(where, element, 2000)


def _image(at: str, block: Node) -> Found:
    if not block.get("image_url") and not block.get("slack_file"):
        yield f"{at}: an image needs image_url or slack_file"
    yield from _longest(f"{at}.image_url", block.get("image_url") or "", 3000)
    if not block.get("alt_text"):
        yield f"{at}.alt_text: an image needs words"
    yield from _longest(f"{at}.alt_text", block.get("alt_text") or "", 2000)


def _input(at: str, block: Node) -> Found:
    yield from _plain(f"{at}.label", block.get("label"), 2000)
    if block.get("hint") is not None:
        yield from _plain(f"{at}.hint", block["hint"], 2000)
    yield from _element(f"{at}.element", block.get("element"), _INPUTS)


def _table(at: str, block: Node) -> Found:
    yield from _between(f"{at}.rows", block.get("rows"), 1, 100)
    for index, row in enumerate(_listed(block.get("rows"))):
        yield from _between(f"{at}.rows[{index}]", row, 1, 20)


_BLOCK_RULES: Mapping[str, Callable[[str, Node], Found]] = {
    "section": _section,
    "header": _header,
    "actions": _actions,
    "context": _context,
    "image": _image,
    "input": _input,
    "table": _table,
}


# --- elements --------------------------------------------------------------------------------------


def _element(at: str, element: Any, allowed: frozenset[str]) -> Found:
    kind = _kind(element)
    if kind not in allowed:
        yield f"{at}.type: {kind!r} is not allowed here"
        return
    yield from _longest(f"{at}.action_id", element.get("action_id") or "", 255)
    if element.get("action_id") == "":
        yield f"{at}.action_id: must not be empty"
    if kind == "image":
        yield from _image(at, element)
    if kind == "button":
        yield from _button(at, element)
    if kind == "overflow":
        yield from _options(at, element, 1, 5)
    if kind == "static_select":
        yield from _options(at, element, 1, 100)
    if kind in _CHOICES:
        yield from _options(at, element, 1, 10)
    if element.get("placeholder") is not None:
        yield from _plain(f"{at}.placeholder", element["placeholder"], 150)
    if kind == "plain_text_input":
        longest = element.get("max_length")
        if longest is not None and not 1 <= longest <= 3000:
            yield f"{at}.max_length: between 1 and 3000"
        yield from _longest(f"{at}.initial_value", element.get("initial_value") or "", longest or 3000)
    if element.get("confirm") is not None:
        yield from _confirm(f"{at}.confirm", element["confirm"])


def _button(at: str, element: Node) -> Found:
    yield from _plain(f"{at}.text", element.get("text"), 75)
    yield from _longest(f"{at}.value", element.get("value") or "", 2000)
    yield from _longest(f"{at}.url", element.get("url") or "", 3000)
    yield from _longest(f"{at}.accessibility_label", element.get("accessibility_label") or "", 75)
    if element.get("style") not in _BUTTON_STYLES:
        yield f"{at}.style: primary or danger"


def _options(at: str, element: Node, fewest: int, most: int) -> Found:
    options = element.get("options")
    yield from _between(f"{at}.options", options, fewest, most)
    values: set[Any] = set()
    for index, option in enumerate(_listed(options)):
        where = f"{at}.options[{index}]"
        if not isinstance(option, Mapping):
            yield f"{where}: must be an object"
            continue
        checked = _text if element.get("type") in _CHOICES else _plain
        yield from checked(f"{where}.text", option.get("text"), 75)
        if not option.get("value"):
            yield f"{where}.value: must not be empty"
        yield from _longest(f"{where}.value", option.get("value") or "", 150)
        if option.get("description") is not None:
            yield from _plain(f"{where}.description", option["description"], 75)
        if option.get("value") in values:
            yield f"{where}.value: is used twice"
        values.add(option.get("value"))


def _confirm(at: str, dialog: Any) -> Found:
    if not isinstance(dialog, Mapping):
        yield f"{at}: must be an object"
        return
    yield from _plain(f"{at}.title", dialog.get("title"), 100)
    yield from _text(f"{at}.text", dialog.get("text"), 300)
    yield from _plain(f"{at}.confirm", dialog.get("confirm"), 30)
    yield from _plain(f"{at}.deny", dialog.get("deny"), 30)
    if dialog.get("style") not in _BUTTON_STYLES:
        yield f"{at}.style: primary or danger"


# --- texts and numbers -----------------------------------------------------------------------------


def _plain(at: str, node: Any, limit: int) -> Found:
    yield from _text(at, node, limit, ("plain_text",))


def _text(at: str, node: Any, limit: int, kinds: Sequence[str] = ("plain_text", "mrkdwn")) -> Found:
    if not isinstance(node, Mapping):
        yield f"{at}: needs a text object"
        return
    if node.get("type") not in kinds:
        yield f"{at}.type: must be {' or '.join(kinds)}"
    if not isinstance(node.get("text"), str) or not node["text"]:
        yield f"{at}.text: must not be empty"
        return
    yield from _longest(f"{at}.text", node["text"], limit)


def _longest(at: str, text: str, limit: int) -> Found:
    yield from _most(at, units(text), limit)


def _most(at: str, number: int, limit: int) -> Found:
    if number > limit:
        yield f"{at}: {number:,} is over {limit:,}"


def _between(at: str, items: Any, fewest: int, most: int) -> Found:
    if not fewest <= len(_listed(items)) <= most:
        yield f"{at}: {len(_listed(items))} is not between {fewest} and {most}"


def _listed(items: Any) -> Sequence[Any]:
    return items if isinstance(items, list | tuple) else ()


def _kind(node: Any) -> str:
    return str(node.get("type")) if isinstance(node, Mapping) else type(node).__name__


def _total(blocks: Sequence[Node]) -> int:
    return sum(units(text) for block in blocks for text in _texts(block))


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, list | tuple):
        for item in node:
            yield from _texts(item)
    elif isinstance(node, Mapping):
        for name, value in node.items():
            if isinstance(value, str):
                if name in ("text", "value", "alt_text"):
                    yield value
            else:
                yield from _texts(value)
