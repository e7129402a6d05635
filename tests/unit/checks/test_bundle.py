"""An Avro schema as one text: other files' types are written where they are used first, and mean the same."""

from __future__ import annotations

import io
import json

import fastavro

from bot.checks.avro.bundle import bundled
from bot.checks.run import Source, read


def test_a_bundle_is_a_whole_schema() -> None:
    """Through several files, each type once, names that a namespace around them would change written in full."""
    sources = {
        "order.avsc": {
            "type": "record", "name": "Order", "namespace": "com.shop",
            "fields": [
                {"name": "ship_to", "type": "Address"},
                {"name": "bill_to", "type": ["null", "com.shop.Address"]},
                {"name": "lines", "type": {"type": "array", "items": {"type": "map", "values": "com.geo.Country"}}},
            ],
        },
        "address.avsc": {
            "type": "record", "name": "Address", "namespace": "com.shop",
            "fields": [{"name": "country", "type": "com.geo.Country"}, {"name": "next", "type": ["null", "Address"]}],
        },
        "country.avsc": {"type": "enum", "name": "Country", "namespace": "com.geo", "symbols": ["DE"]},
    }  # fmt: skip
    corpus = read(Source(file, json.dumps(text), "avro") for file, text in sources.items())
    text = bundled(corpus.parts["order.avsc"], corpus.schemas["order.avsc"])
    assert text is not None
    assert 1 == text.count('"symbols"')
    schema = fastavro.parse_schema(json.loads(text))
    order = {
        "ship_to": {"country": "DE", "next": None},
        "bill_to": {"country": "DE", "next": {"country": "DE", "next": None}},
        "lines": [{"a": "DE"}],
    }
    written = io.BytesIO()
    fastavro.schemaless_writer(written, schema, order)
    written.seek(0)
    assert order == fastavro.schemaless_reader(written, schema)


def test_what_cannot_be_linked_has_no_bundle() -> None:
    """Half a schema would be judged as if it were whole."""
    text = '{"type": "record", "name": "A", "fields": [{"name": "b", "type": "Nowhere"}]}'
    corpus = read([Source("a.avsc", text, "avro")])
    assert bundled(corpus.parts["a.avsc"], corpus.schemas.get("a.avsc")) is None
