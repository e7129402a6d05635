"""What a name says: its parts, a time, an amount, a person; and what a misspelt one was meant to be.

A name is judged in snake case, whatever it is written in: `createdAt` is `created_at`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

LEGAL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
"""A name, a symbol, or one part of a namespace (specification, "Names")."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")
_TIME = re.compile(
    r"(?:.*_)?(?:at|ts|time|date|timestamp|datetime)\Z|(?:created|updated|deleted|modified|inserted)(?:_on)?\Z"
)
_SPAN = re.compile(
    r"(?:.*_)?(?:response|processing|elapsed|lead|run|wait|waiting|cpu|up|down|execution|handling|travel|cooking|idle|"
    r"latency|duration|total)_time\Z|looked_at\Z|(?:lat|what|that)\Z"
)
_MONEY = re.compile(
    r"(?:.*_)?(?:amount|price|cost|fee|fees|balance|total|subtotal|tax|vat|discount|salary|wage|revenue|payment|refund|"
    r"deposit|money|quantity|qty)(?:_(?:net|gross|total|paid|due|usd|eur|gbp|usd|local|base))?\Z"
)
_PERSON = re.compile(
    r"(?:.*_)?(?:e_?mail|phone|mobile|msisdn|fax|ssn|social_security|iban|passport|ip|ipv4|ipv6|birth|birthday|dob|"
    r"tax_id|national_id|first_name|last_name|full_name|middle_name|surname|family_name|given_name|maiden_name|"
    r"card|credit_card|card_number|pan|cvv|cvc|gender|ethnicity|religion|street)"
    r"(?:_?(?:address|addr|number|no|nr|date|day|place|code|security_number))?\Z|date_of_birth\Z|place_of_birth\Z"
)


class Meaning(NamedTuple):
    is_time: bool
    is_money: bool
    is_person: bool


@lru_cache(maxsize=8192)
def meaning(name: str) -> Meaning:
    """Return what the name of a field says of its values."""
    snake = snake_case(name)
    is_time = _TIME.match(snake) is not None and _SPAN.match(snake) is None
    return Meaning(is_time, _MONEY.match(snake) is not None, _PERSON.match(snake) is not None)


def is_legal_full(name: str) -> bool:
    """Return whether every part of a dotted name is legal."""
    return all(LEGAL.match(part) for part in name.split("."))


def snake_case(name: str) -> str:
    return _HUMP.sub("_", name).strip("_").lower()


def pascal_case(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name)) or "Type"


def legal(name: str) -> str:
    """Return the nearest legal name."""
    made = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return made if LEGAL.match(made) else f"_{made}"


def meant(written: str, reserved: Iterable[str]) -> str | None:
    """Return the reserved word that `written` misses by one edit (or by case, `_`, `-`), None where there is none."""
    squeezed = written.lower().replace("_", "").replace("-", "")
    for word in reserved:
        if _at_most_one_edit(squeezed, word.lower()):
            return word
    return "aliases" if written == "alias" else None


def _at_most_one_edit(one: str, other: str) -> bool:
    """Return whether the words are equal, or one insertion, deletion, replacement or swap of neighbours makes them."""
    if abs(len(one) - len(other)) > 1:
        return False
    if len(one) > len(other):
        one, other = other, one
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        return one[start:] == other[start + 1 :]
    if one[start + 1 :] == other[start + 1 :]:
        return True
    return one[start : start + 2] == other[start : start + 2][::-1] and one[start + 2 :] == other[start + 2 :]
