"""The registry client against a real Apicurio: what it says of a schema is what a registration then does."""

from __future__ import annotations

import itertools
import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from bot.clients.http import JsonHttp
from bot.clients.registry import HttpSchemaRegistry
from bot.ports import Missing, SchemaReference
from tests.system.parts import Registry

A, B = {"name": "a", "type": "int"}, {"name": "b", "type": "string"}
B_WITH_DEFAULT = {**B, "default": ""}
LEVELS = [
    f"{level}{suffix}" for level in ("BACKWARD", "FORWARD", "FULL") for suffix in ("", "_TRANSITIVE")
]  # fmt: skip


def record(*fields: Any, name: str = "C") -> str:
    return json.dumps({"type": "record", "name": name, "namespace": "x", "fields": list(fields)})


def client(registry: Registry) -> HttpSchemaRegistry:
    return HttpSchemaRegistry(JsonHttp(registry.ccompat_url))


def subject() -> str:
    return f"client-{uuid.uuid4().hex[:8]}-value"


def register(registry: Registry, name: str, schema: str, kind: str = "AVRO", references: Any = None) -> int:
    body = {"schema": schema, "schemaType": kind, **({"references": references} if references else {})}
    return requests.post(f"{registry.ccompat_url}/subjects/{name}/versions", json=body, timeout=20).status_code


def set_level(registry: Registry, name: str, level: str) -> None:
    url = f"{registry.ccompat_url}/config/{name}"
    requests.put(url, json={"compatibility": level}, timeout=20).raise_for_status()


HISTORIES = {"one": (record(A, B),), "two": (record(A), record(A, B_WITH_DEFAULT))}
CANDIDATES = {
    "same field without default": record(A, B),
    "required field more": record(A, B, {"name": "z", "type": "int"}),
    "field gone": record(A),
    "promoted": record({"name": "a", "type": "long"}, B_WITH_DEFAULT),
    "another type": record({"name": "a", "type": "string"}, B_WITH_DEFAULT),
}


@pytest.mark.parametrize("level", [None, "NONE", *LEVELS])
def test_what_it_says_is_what_a_registration_does(registry: Registry, level: str | None) -> None:
    """At each level, with one version and with two, and where no level is set: there Apicurio's own answer is wrong."""
    for (history, versions), (what, schema) in itertools.product(HISTORIES.items(), CANDIDATES.items()):
        name = subject()
        assert [200] * len(versions) == [register(registry, name, version) for version in versions]
        if level is not None:
            set_level(registry, name, level)

        said = client(registry).check_compatibility(name, schema, "AVRO", (), 20)
        state = client(registry).read_subject(name, 1, 10)

        assert len(versions) == len(state.all_versions), "nothing was registered by asking"
        status = register(registry, name, schema)
        assert (said.compatible, status) in ((True, 200), (False, 409)), (level, history, what)
        assert not said.new_subject
        assert bool(said.messages) is (said.compatible is False), "a refusal names the field"


def test_a_new_subject_passes_with_a_note(registry: Registry) -> None:
    """And its level is the global one."""
    said = client(registry).check_compatibility(subject(), record(A), "AVRO", (), 20)

    assert (True, True) == (said.compatible, said.new_subject)
    assert "NONE" == client(registry).read_level(subject(), 10)


def test_the_level_of_a_subject_is_read(registry: Registry) -> None:
    """Its own before the global one."""
    name = subject()
    register(registry, name, record(A))
    before = client(registry).read_level(name, 10)
    set_level(registry, name, "FULL_TRANSITIVE")

    assert ("NONE", "FULL_TRANSITIVE") == (before, client(registry).read_level(name, 10))


def test_a_schema_that_uses_another_is_judged_with_it(registry: Registry) -> None:
    """Apicurio's compatibility call answers 422 to what a registration takes."""
    used, name = subject(), subject()
    register(registry, used, record(A, name="Address"))
    uses = {"name": "address", "type": "x.Address"}
    references = [{"name": "x.Address", "subject": used, "version": 1}]
    asked = (SchemaReference("x.Address", used, 1),)
    assert 200 == register(registry, name, record(uses), references=references)
    set_level(registry, name, "BACKWARD")

    yes = client(registry).check_compatibility(name, record(uses, B_WITH_DEFAULT), "AVRO", asked, 20)
    no = client(registry).check_compatibility(name, record(uses, B), "AVRO", asked, 20)
    read = client(registry).read_version(name, 1, 10)

    assert (True, False) == (yes.compatible, no.compatible)
    assert 409 == register(registry, name, record(uses, B), references=references)
    assert 200 == register(registry, name, record(uses, B_WITH_DEFAULT), references=references)
    assert asked == read.references
    assert [used] == [one.subject for one in client(registry).read_referenced(read, 10)]


def test_protobuf_is_judged_too(registry: Registry) -> None:
    """The same call, another type."""
    name = subject()
    assert 200 == register(registry, name, 'syntax = "proto3"; message A { string a = 1; }', "PROTOBUF")
    set_level(registry, name, "BACKWARD")

    for text, status in (
        ('syntax = "proto3"; message A { string a = 1; int32 c = 3; }', 200),
        ('syntax = "proto3"; message A { int64 a = 1; }', 409),
        ('syntax = "proto3"; message A { strin', 422),
    ):
        said = client(registry).check_compatibility(name, text, "PROTOBUF", (), 20)
        assert (said.compatible, status) == (status == 200, register(registry, name, text, "PROTOBUF"))


def test_a_text_that_is_no_schema_would_be_refused(registry: Registry) -> None:
    """Also where no level is set, and its dry run would take anything."""
    name = subject()
    register(registry, name, record(A))

    said = client(registry).check_compatibility(name, '{"type":"recor"}', "AVRO", (), 20)

    assert (said.compatible, 422) == (False, register(registry, name, '{"type":"recor"}'))


def test_soft_deletes_are_told(registry: Registry) -> None:
    """A version, then the subject."""
    name = subject()
    for schema in (record(A), record(A, B_WITH_DEFAULT)):
        register(registry, name, schema)
    url = f"{registry.ccompat_url}/subjects/{name}"

    requests.delete(f"{url}/versions/1", timeout=20).raise_for_status()
    state = client(registry).read_subject(name, 5, 10)
    requests.delete(url, timeout=20).raise_for_status()

    assert ((2,), (1,)) == (state.all_versions, state.deleted)
    with pytest.raises(Missing, match="it was deleted with its versions 1, 2"):
        client(registry).read_subject(name, 5, 10)


def test_apicurio_keeps_no_times(registry: Registry) -> None:
    """None, not "nothing changed"."""
    assert client(registry).read_recent(datetime(2026, 1, 1, tzinfo=UTC), 20) is None
