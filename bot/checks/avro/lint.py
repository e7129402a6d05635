"""The rules A004-A112: what is wrong with one schema, whatever came before it."""

from __future__ import annotations

from bot.checks.avro.schema import Schema
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Violation


def lint(schema: Schema, settings: SchemaSettings) -> tuple[Violation, ...]:
    """Return the violations of one file's schema, in the order of the text; types of other files are theirs."""
    return ()
