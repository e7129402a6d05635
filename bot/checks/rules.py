"""Every rule of the schema checks, by id: what `cdc check explain` and docs/rules.md tell."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bot.checks.avro.change_rules import RULES as CHANGE_RULES
from bot.checks.avro.lint_rules import RULES as LINT_RULES
from bot.checks.ddl.rules import RULES as DDL_RULES
from bot.checks.protobuf.rules import RULES as PROTOBUF_RULES
from bot.checks.run_rules import RULES as RUN_RULES
from bot.checks.violation import Rule

ALL: Mapping[str, Rule] = MappingProxyType(
    {rule.id: rule for rule in (*LINT_RULES, *CHANGE_RULES, *PROTOBUF_RULES, *DDL_RULES, *RUN_RULES)}
)
