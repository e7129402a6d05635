"""Block Kit in small pieces, and the only door through which foreign text enters a message.

Alert labels, error texts, topic and person names are foreign: `escaped` turns `&`, `<` and `>` into
entities, so that `<!channel>` pings nobody and no link can be forged. Every mrkdwn text is `verbatim`:
Slack then makes no link or mention of its own out of a bare word.

Lengths are counted as Slack's clients count them, in UTF-16 units: an emoji is two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bot.model import Finding, Severity, Status

Block = dict[str, Any]

SECTION_LIMIT = 3000
FIELD_LIMIT = 2000
HEADER_LIMIT = 150
BUTTON_LIMIT = 75
OPTION_VALUE_LIMIT = 150

STATUS_SIGN: Mapping[Status, str] = {
    Status.GREEN: "\N{LARGE GREEN CIRCLE}",
    Status.YELLOW: "\N{LARGE YELLOW CIRCLE}",
    Status.RED: "\N{LARGE RED CIRCLE}",
    Status.UNKNOWN: "\N{MEDIUM WHITE CIRCLE}\N{VARIATION SELECTOR-16}",
}
SEVERITY_SIGN: Mapping[Severity, str] = {
    Severity.CRITICAL: "\N{LARGE RED CIRCLE}",
    Severity.WARNING: "\N{LARGE ORANGE CIRCLE}",
    Severity.INFO: "\N{LARGE BLUE CIRCLE}",
}

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def units(text: str) -> int:
    """The length of `text` in UTF-16 units."""
    return len(text) + sum(1 for character in text if ord(character) > 0xFFFF)


def cleaned(text: str) -> str:
    """`text` without control and direction marks and halves of characters: what is seen is what is there."""
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", _INVISIBLE.sub("", text))


def escaped(text: str, limit: int = SECTION_LIMIT) -> str:
    """Foreign text for mrkdwn, at most `limit` long with its entities; what was cut ends in an ellipsis."""
    return _cut([_ENTITIES.get(character, character) for character in cleaned(text)[: limit + 1]], limit)


def line(text: str, limit: int = 300) -> str:
    """Foreign text on one line, escaped; a backtick in it opens no code span."""
    return escaped(" ".join(text.split()).replace("`", "′"), limit)


def prose(text: str, limit: int = 300) -> str:
    """A sentence of ours with names of others in it, escaped: its `code` spans stay, for they do no harm."""
    paired = text.count("`") % 2 == 0 and "``" not in text
    return escaped(" ".join(text.split()), limit) if paired else line(text, limit)


def cut(text: str, limit: int) -> str:
    """Foreign text on one line for a plain_text object, where no markup is read."""
    return _cut(list(" ".join(cleaned(text).split())[: limit + 1]), limit)


def code(text: str, limit: int = 1000) -> str:
    """Foreign text as code: a span, or a block where it has lines or backticks. It cannot end its own fence."""
    if "\n" in text.strip() or "`" in text:
        return fence(text.strip("\n"), limit)
    return f"`{line(text, limit - 2) or ' '}`"


def fence(text: str, limit: int = SECTION_LIMIT) -> str:
    """Foreign text as a monospaced block of at most `limit` with its fences."""
    return f"```\n{escaped(text.replace('```', chr(0x2032) * 3), limit - 8)}\n```"


def seen(finding: Finding, limit: int = 200) -> str:
    """A finding on one line: colour, its verdict as a word, and its headline; the verdict is not said twice."""
    says_it = finding.verdict in finding.headline
    words = finding.headline if says_it else f"{finding.verdict}: {finding.headline}"
    return f"{STATUS_SIGN[finding.status]} {line(words, limit)}"


def clock(at: datetime, now: datetime) -> str:
    """`14:02 UTC`, with the date when it is not today's."""
    return at.strftime("%H:%M UTC") if at.date() == now.date() else at.strftime("%Y-%m-%d %H:%M UTC")


# --- objects and blocks ----------------------------------------------------------------------------


def plain(text: str, limit: int = BUTTON_LIMIT) -> Block:
    return {"type": "plain_text", "text": cut(text, limit) or " ", "emoji": True}


def mrkdwn(text: str) -> Block:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def header(text: str) -> Block:
    return {"type": "header", "text": plain(text, HEADER_LIMIT)}


def section(
    text: str, *, fields: Sequence[str] = (), accessory: Block | None = None, block_id: str | None = None
) -> Block:
    block: Block = {"type": "section"}
    if block_id:
        block["block_id"] = block_id
    if text:
        block["text"] = mrkdwn(text)
    if fields:
        block["fields"] = [mrkdwn(field) for field in fields]
    if accessory is not None:
        block["accessory"] = accessory
    return block


def context(*texts: str) -> Block:
    return {"type": "context", "elements": [mrkdwn(text) for text in texts]}


def actions(elements: Sequence[Block], block_id: str | None = None) -> Block:
    block: Block = {"type": "actions", "elements": list(elements)}
    return {**block, "block_id": block_id} if block_id else block


def divider() -> Block:
    return {"type": "divider"}


def button(text: str, action_id: str, value: str, *, style: str | None = None, confirm: Block | None = None) -> Block:
    block: Block = {"type": "button", "text": plain(text), "action_id": action_id, "value": value}
    if style:
        block["style"] = style
    if confirm:
        block["confirm"] = confirm
    return block


def confirm(title: str, text: str, yes: str, no: str = "Not now", *, danger: bool = False) -> Block:
    dialog: Block = {
        "title": plain(title, 100),
        "text": plain(text, 300),
        "confirm": plain(yes, 30),
        "deny": plain(no, 30),
    }
    return {**dialog, "style": "danger"} if danger else dialog


def overflow(action_id: str, options: Sequence[tuple[str, str]]) -> Block:
    """A menu of 1 to 5 (label, value) entries."""
    return {
        "type": "overflow",
        "action_id": action_id,
        "options": [{"text": plain(label), "value": value} for label, value in options],
    }


def _cut(pieces: Sequence[str], limit: int) -> str:
    if sum(units(piece) for piece in pieces) <= limit:
        return "".join(pieces)
    kept: list[str] = []
    room = limit - 1
    for piece in pieces:
        room -= units(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept).rstrip() + "…"
