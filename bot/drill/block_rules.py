"""Slack's rules for Block Kit, as `chat.postMessage` and `views.open` enforce them.

`broken_rules(blocks, surface)` answers the messages Slack would put in
`response_metadata.messages`, each with a JSON pointer; an empty list is a valid payload.
Limits: docs.slack.dev/block-kit, and the undocumented total of about 13,200 characters
(bolt-js #2509), which Slack reports as another error: see `total_characters`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

Surface = Literal["message", "modal", "home"]
TOTAL_CHARACTERS = 13_200
MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100

_MESSAGE_TYPES = {
    "section", "header", "actions", "context", "divider", "image", "markdown", "rich_text", "table",
    "video", "file", "card", "carousel", "container", "plan", "task_card", "context_actions",
}  # fmt: skip
_TYPES: dict[Surface, set[str]] = {
    "message": _MESSAGE_TYPES,
    "modal": _MESSAGE_TYPES - {"table", "markdown", "file"} | {"input", "alert"},
    "home": _MESSAGE_TYPES - {"table", "markdown", "file"} | {"input"},
}
_SELECTS = {"static_select", "users_select", "conversations_select", "channels_select", "external_select"}
_INTERACTIVE = {
    "button", "overflow", "checkboxes", "radio_buttons", "datepicker", "timepicker", "datetimepicker",
    "multi_static_select", "multi_users_select", "workflow_button", "icon_button", "feedback_buttons",
} | _SELECTS  # fmt: skip
_INPUTS = _INTERACTIVE - {"button", "overflow", "workflow_button"} | {
    "plain_text_input", "number_input", "email_text_input", "url_text_input", "rich_text_input", "file_input",
}  # fmt: skip


def broken_rules(blocks: object, surface: Surface = "message") -> list[str]:
    """What Slack would say against these blocks, in document order."""
    if not isinstance(blocks, list):
        return ["[ERROR] must be an array [json-pointer:/blocks]"]
    said: list[str] = []
    limit = MESSAGE_BLOCKS if surface == "message" else VIEW_BLOCKS
    if len(blocks) > limit:
        said.append(f"[ERROR] no more than {limit} items allowed [json-pointer:/blocks]")
    for index, block in enumerate(blocks):
        said.extend(_block(block, f"/blocks/{index}", surface))
    said.extend(_duplicates(blocks))
    if sum(1 for block in blocks if isinstance(block, dict) and block.get("type") == "table") > 1:
        said.append("[ERROR] only one table is allowed per message [json-pointer:/blocks]")
    return said


def broken_view_rules(view: object) -> list[str]:
    """What Slack would say against a modal or Home view."""
    if not isinstance(view, dict):
        return ["[ERROR] must be an object [json-pointer:/view]"]
    kind = view.get("type")
    if kind not in ("modal", "home"):
        return [f"[ERROR] unsupported type: {kind} [json-pointer:/view/type]"]
    said: list[str] = []
    if kind == "modal":
        said.extend(_text(view.get("title"), "/view/title", 24, plain=True))
        for name in ("submit", "close"):
            if view.get(name) is not None:
                said.extend(_text(view[name], f"/view/{name}", 24, plain=True))
        has_input = any(isinstance(block, dict) and block.get("type") == "input" for block in view.get("blocks") or [])
        if has_input and not view.get("submit"):
            said.append("[ERROR] missing required field: submit [json-pointer:/view]")
    said.extend(_length(view.get("private_metadata"), "/view/private_metadata", 3000))
    said.extend(_length(view.get("callback_id"), "/view/callback_id", 255))
    said.extend(_length(view.get("external_id"), "/view/external_id", 255))
    said.extend(line.replace("json-pointer:/blocks", "json-pointer:/view/blocks") for line in _view_blocks(view))
    return said


def _view_blocks(view: dict[str, Any]) -> list[str]:
    return broken_rules(view.get("blocks"), "modal" if view["type"] == "modal" else "home")


def total_characters(blocks: Sequence[object]) -> int:
    """The characters of every text in the blocks together, which Slack caps at about 13,200."""
    return sum(len(text) for text in _texts(list(blocks)))


def _texts(node: object) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _texts(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name in ("text", "value", "alt_text", "title_text") and isinstance(value, str):
                yield value
            elif isinstance(value, list | dict):
                yield from _texts(value)


def _block(block: object, at: str, surface: Surface) -> Iterator[str]:
    if not isinstance(block, dict):
        yield f"[ERROR] must be an object [json-pointer:{at}]"
        return
    kind = block.get("type")
    if kind not in _TYPES[surface]:
        yield f"[ERROR] unsupported type: {kind} [json-pointer:{at}/type]"
        return
    yield from _length(block.get("block_id"), f"{at}/block_id", 255)
    if kind == "section":
        yield from _section(block, at)
    elif kind == "header":
        yield from _text(block.get("text"), f"{at}/text", 150, plain=True)
    elif kind == "actions":
        yield from _elements(block, at, 25, _INTERACTIVE)
    elif kind == "context":
        yield from _context(block, at)
    elif kind == "image":
        yield from _image(block, at)
    elif kind == "markdown":
        yield from _required_text(block.get("text"), f"{at}/text", 12_000)
    elif kind == "table":
        yield from _table(block, at)
    elif kind == "input":
        yield from _input(block, at)
    elif kind == "rich_text" and not isinstance(block.get("elements"), list):
        yield f"[ERROR] missing required field: elements [json-pointer:{at}]"


def _section(block: dict[str, Any], at: str) -> Iterator[str]:
    if block.get("text") is None and not block.get("fields"):
        yield f"[ERROR] missing required field: text or fields [json-pointer:{at}]"
    if block.get("text") is not None:
        yield from _text(block["text"], f"{at}/text", 3000)
    fields = block.get("fields")
    if fields is not None:
        if not isinstance(fields, list) or not fields:
            yield f"[ERROR] no fewer than 1 items allowed [json-pointer:{at}/fields]"
        else:
            if len(fields) > 10:
                yield f"[ERROR] no more than 10 items allowed [json-pointer:{at}/fields]"
            for index, one in enumerate(fields):
                yield from _text(one, f"{at}/fields/{index}", 2000)
    if block.get("accessory") is not None:
        yield from _element(block["accessory"], f"{at}/accessory", _INTERACTIVE | {"image"})


def _context(block: dict[str, Any], at: str) -> Iterator[str]:
    elements = block.get("elements")
    if not isinstance(elements, list) or not elements:
        yield f"[ERROR] no fewer than 1 items allowed [json-pointer:{at}/elements]"
        return
    if len(elements) > 10:
        yield f"[ERROR] no more than 10 items allowed [json-pointer:{at}/elements]"
    for index, element in enumerate(elements):
        where = f"{at}/elements/{index}"
        if isinstance(element, dict) and element.get("type") == "image":
            yield from _image(element, where)
        else:
            yield from _text(element, where, 2000)


def _image(block: dict[str, Any], at: str) -> Iterator[str]:
    if not block.get("image_url") and not block.get("slack_file"):
        yield f"[ERROR] missing required field: image_url [json-pointer:{at}]"
    yield from _length(block.get("image_url"), f"{at}/image_url", 3000)
    yield from _required_text(block.get("alt_text"), f"{at}/alt_text", 2000)


def _table(block: dict[str, Any], at: str) -> Iterator[str]:
    rows = block.get("rows")
    if not isinstance(rows, list) or not rows:
        yield f"[ERROR] no fewer than 1 items allowed [json-pointer:{at}/rows]"
        return
    if len(rows) > 100:
        yield f"[ERROR] no more than 100 items allowed [json-pointer:{at}/rows]"
    for index, row in enumerate(rows):
        if not isinstance(row, list) or not row:
            yield f"[ERROR] no fewer than 1 items allowed [json-pointer:{at}/rows/{index}]"
        elif len(row) > 20:
            yield f"[ERROR] no more than 20 items allowed [json-pointer:{at}/rows/{index}]"


def _input(block: dict[str, Any], at: str) -> Iterator[str]:
    yield from _text(block.get("label"), f"{at}/label", 2000, plain=True)
    if block.get("hint") is not None:
        yield from _text(block["hint"], f"{at}/hint", 2000, plain=True)
    yield from _element(block.get("element"), f"{at}/element", _INPUTS)


def _elements(block: dict[str, Any], at: str, limit: int, kinds: set[str]) -> Iterator[str]:
    elements = block.get("elements")
    if not isinstance(elements, list) or not elements:
        yield f"[ERROR] no fewer than 1 items allowed [json-pointer:{at}/elements]"
        return
    if len(elements) > limit:
        yield f"[ERROR] no more than {limit} items allowed [json-pointer:{at}/elements]"
    for index, element in enumerate(elements):
        yield from _element(element, f"{at}/elements/{index}", kinds)


def _element(element: object, at: str, kinds: set[str]) -> Iterator[str]:
    if not isinstance(element, dict):
        yield f"[ERROR] must be an object [json-pointer:{at}]"
        return
    kind = element.get("type")
    if kind not in kinds:
        yield f"[ERROR] unsupported type: {kind} [json-pointer:{at}/type]"
        return
    yield from _length(element.get("action_id"), f"{at}/action_id", 255)
    if kind == "image":
        yield from _image(element, at)
    if kind == "button":
        yield from _text(element.get("text"), f"{at}/text", 75, plain=True)
        yield from _length(element.get("value"), f"{at}/value", 2000)
        yield from _length(element.get("url"), f"{at}/url", 3000)
        if element.get("style") not in (None, "primary", "danger"):
            yield f"[ERROR] must be one of primary, danger [json-pointer:{at}/style]"
    if kind == "overflow":
        yield from _options(element, at, 1, 5)
    if kind in ("static_select", "multi_static_select") and not element.get("option_groups"):
        yield from _options(element, at, 1, 100)
    if kind in ("checkboxes", "radio_buttons"):
        yield from _options(element, at, 1, 10)
    if element.get("placeholder") is not None:
        yield from _text(element["placeholder"], f"{at}/placeholder", 150, plain=True)
    if element.get("confirm") is not None:
        yield from _confirm(element["confirm"], f"{at}/confirm")


def _options(element: dict[str, Any], at: str, fewest: int, most: int) -> Iterator[str]:
    options = element.get("options")
    if not isinstance(options, list) or len(options) < fewest:
        yield f"[ERROR] no fewer than {fewest} items allowed [json-pointer:{at}/options]"
        return
    if len(options) > most:
        yield f"[ERROR] no more than {most} items allowed [json-pointer:{at}/options]"
    for index, option in enumerate(options):
        where = f"{at}/options/{index}"
        if not isinstance(option, dict):
            yield f"[ERROR] must be an object [json-pointer:{where}]"
            continue
        plain = element.get("type") not in ("checkboxes", "radio_buttons")
        yield from _text(option.get("text"), f"{where}/text", 75, plain=plain)
        yield from _required_text(option.get("value"), f"{where}/value", 150)
        if option.get("description") is not None:
            yield from _text(option["description"], f"{where}/description", 75)


def _confirm(confirm: object, at: str) -> Iterator[str]:
    if not isinstance(confirm, dict):
        yield f"[ERROR] must be an object [json-pointer:{at}]"
        return
    yield from _text(confirm.get("title"), f"{at}/title", 100, plain=True)
    yield from _text(confirm.get("text"), f"{at}/text", 300)
    yield from _text(confirm.get("confirm"), f"{at}/confirm", 30, plain=True)
    yield from _text(confirm.get("deny"), f"{at}/deny", 30, plain=True)


def _text(node: object, at: str, most: int, *, plain: bool = False) -> Iterator[str]:
    if not isinstance(node, dict):
        yield f"[ERROR] missing required field [json-pointer:{at}]"
        return
    kinds = ("plain_text",) if plain else ("plain_text", "mrkdwn")
    if node.get("type") not in kinds:
        yield f"[ERROR] must be of type {' or '.join(kinds)} [json-pointer:{at}/type]"
    yield from _required_text(node.get("text"), f"{at}/text", most)


def _required_text(value: object, at: str, most: int) -> Iterator[str]:
    if not isinstance(value, str) or not value:
        yield f"[ERROR] must be more than 0 characters [json-pointer:{at}]"
    else:
        yield from _length(value, at, most)


def _length(value: object, at: str, most: int) -> Iterator[str]:
    if isinstance(value, str) and len(value) > most:
        yield f"[ERROR] must be less than {most + 1} characters [json-pointer:{at}]"


def _duplicates(blocks: Sequence[object]) -> Iterator[str]:
    """`block_id` is unique in a message; `action_id` is unique within its block."""
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        if not isinstance(block, dict):
            continue
        block_id = block.get("block_id")
        if isinstance(block_id, str):
            if block_id in seen:
                yield f"[ERROR] block_id must be unique: {block_id} [json-pointer:/blocks/{index}/block_id]"
            seen.add(block_id)
        in_block: set[str] = set()
        for action_id in _action_ids(block):
            if action_id in in_block:
                yield f"[ERROR] `action_id` {action_id} already exists [json-pointer:/blocks/{index}]"
            in_block.add(action_id)


def _action_ids(block: dict[str, Any]) -> Iterator[str]:
    for element in elements_of(block):
        if isinstance(element.get("action_id"), str):
            yield element["action_id"]


def elements_of(block: dict[str, Any]) -> list[dict[str, Any]]:
    """The interactive elements of a block, wherever the block keeps them."""
    found: list[Any] = []
    if isinstance(block.get("elements"), list) and block.get("type") in ("actions", "context_actions"):
        found.extend(block["elements"])
    for name in ("accessory", "element"):
        if isinstance(block.get(name), dict):
            found.append(block[name])
    return [element for element in found if isinstance(element, dict)]
