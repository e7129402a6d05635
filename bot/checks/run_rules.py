"""The rules S001-S007 as `cdc check explain` tells them: about the run, its waivers, and what a registry says."""

from __future__ import annotations

from bot.checks.violation import Answer, Example, Rule, Severity


def _customer(tier: str) -> str:
    return (
        '{\n  "type": "record", "name": "Customer", "namespace": "com.shop", "doc": "A customer of the shop.",\n'
        '  "fields": [\n'
        '    {"name": "id", "type": "long", "doc": "Primary key, set by the database."},\n'
        f"    {tier}\n  ]\n}}\n"
    )


_DECIDED = (
    '{"name": "tier", "type": ["null", "string"], "default": null, "doc": "Loyalty tier, null before the first."}'
)
_OLD = (
    '{\n  "type": "record", "name": "Customer", "namespace": "com.shop", "doc": "A customer of the shop.",\n'
    '  "fields": [\n    {"name": "id", "type": "long", "doc": "Primary key, set by the database."}\n  ]\n}\n'
)


def _waived(waiver: str) -> Example:
    tier = '{"name": "tier", "type": "string", "doc": "Loyalty tier of the shop.",\n     "cdc.waive": [' + waiver + "]}"
    return Example(_customer(tier), _OLD)


_GOOD = _waived(
    '{"rule": "C001", "reason": "The topic is rebuilt on Monday.", "owner": "@data", "until": "2099-01-31"}'
)


_JSON_SCHEMA = """{
  "$schema": "http://json-schema.org/draft-07/schema#", "title": "Customer", "type": "object",
  "properties": {
    "id": {"type": "integer"},
    "tier": {"type": %s}
  }
}
"""


def _json(tier: str, accepts: bool, *said: str) -> Example:
    """JSON Schema, which only the registry judges."""
    return Example(
        _JSON_SCHEMA % tier,
        _JSON_SCHEMA % '"string"',
        "json",
        file="schemas/customers-value.json",
        answer=Answer("JSON", accepts, said),
    )


def _decimal(scale: int, accepts: bool) -> Example:
    def total(digits: int) -> str:
        return _customer(
            '{"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": '
            f'{digits}}},\n     "doc": "Paid in all."}}'
        )

    return Example(total(scale), total(2), answer=Answer("AVRO", accepts))


def _order(*fields: str, **beside: str) -> Example:
    text = (
        '{\n  "type": "record", "name": "Order", "namespace": "com.shop", "doc": "An order.",\n  "fields": [\n    '
        + ",\n    ".join(fields)
        + "\n  ]\n}\n"
    )
    return Example(
        text,
        file="schemas/orders-value.avsc",
        beside={f"schemas/{name}-value.avsc": other for name, other in beside.items()},
    )


_BUYER = '{"name": "buyer", "type": "com.shop.Customer", "doc": "Who pays."}'
_BUYER_ID = '{"name": "buyer_id", "type": "long", "doc": "Who pays."}'
_LAST_ORDER = (
    '{"name": "last_order", "type": ["null", "com.shop.Order"], "default": null, "doc": "Null before the first."}'
)


def _two_shops(**settings: object) -> Example:
    return Example(
        _OLD,
        file="schemas/eu/customers-value.avsc",
        settings=settings,
        beside={"schemas/us/customers-value.avsc": _customer(_DECIDED)},
        answer=Answer("AVRO"),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        "S001",
        Severity.ERROR,
        "a waiver or a baseline's entry cannot be read",
        "A waiver is a decision: it names the rule, the reason and who answers for it. One that lacks any decides "
        'nothing, and what it was to waive counts. `until` is the last day on which it holds, as "2027-01-31".',
        _waived('{"rule": "C001", "reason": "The topic is rebuilt on Monday."}'),
        _GOOD,
        also=("C001",),
    ),
    Rule(
        "S002",
        Severity.ERROR,
        "a waiver of a rule that is not there or cannot be waived",
        "A misspelt rule would waive nothing and look as if it did. A001, A002, A003 and P001 cannot be waived: behind "
        "them nothing was checked. The S-rules cannot either: they are about the check itself.",
        _waived('{"rule": "A002", "reason": "The type comes later.", "owner": "@data"}'),
        _GOOD,
        also=("C001",),
    ),
    Rule(
        "S003",
        Severity.WARNING,
        "a waiver or a baseline's entry that waives nothing",
        "What it was written for is corrected, or has moved. Left in place it would hide the next violation of this "
        "rule there, which nobody has decided on. Waivers of changes are asked for only where the file is compared.",
        Example(
            _customer(
                _DECIDED[:-1] + ',\n     "cdc.waive": [{"rule": "A109", "reason": "No money.", "owner": "@data"}]}'
            )
        ),
        _GOOD,
    ),
    Rule(
        "S004",
        Severity.ERROR,
        "the registry would refuse the schema",
        "The registry was asked (`POST /compatibility/...`, which registers nothing) and says no where this check "
        "finds nothing: it may hold more versions, another level, rules of its own. For JSON Schema its verdict is the "
        "only one: this check does not judge JSON Schema. Registering would end in a 409.",
        _json('"integer"', False, "TYPE_CHANGED at #/properties/tier"),
        _json('["string", "null"]', True),
    ),
    Rule(
        "S005",
        Severity.NOTE,
        "the registry would accept what this check refuses",
        "A registry compares names and types at the subject's level. It sees no logical type, no scale, no sink, "
        "and for Protobuf not even a changed field number. So a schema that it takes can still break its readers; both "
        "verdicts are told, and the findings of this check say why.",
        _decimal(4, True),
        _decimal(2, True),
        also=("C008",),
    ),
    Rule(
        "S006",
        Severity.ERROR,
        "files that use each other's types in a circle",
        "With references each schema must be registered after those that it uses, so none can be the first. Avro "
        "itself allows a type to use itself; that works within one file.",
        _order(_BUYER, customers=_customer(_LAST_ORDER)),
        _order(_BUYER_ID, customers=_customer(_LAST_ORDER)),
    ),
    Rule(
        "S007",
        Severity.ERROR,
        "two files are the same subject",
        "Each would be registered as the next version of the other. Subjects come from the paths by a template "
        "(`checks.schemas.subjects`, `--subject`); files that only define types for others have the template `none`.",
        _two_shops(),
        _two_shops(subjects={"schemas/**": "{parent}-{stem}"}),
    ),
)
