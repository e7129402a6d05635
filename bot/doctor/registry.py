"""`cdc doctor`, Schema Registry: which one is it, which of its calls work, are the subjects of cdc.yml there?

How each tells what it is: Apicurio by `/apis/registry/v3/system/info` at its root, Karapace by `/_health`, Confluent by
`/v1/metadata/version`. A mode is what the registry says: Apicurio answers READONLY and still takes registrations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.doctor.check import Check, failed, names, ok, warning
from bot.doctor.http import unreached
from bot.model import Pipeline
from bot.ports import Missing, PortError, SchemaRegistry, Server, ServerFacts

PART = "registry"

CCOMPAT = "/apis/ccompat/v7"

# Calls without which a probe does less, and what it then leaves out. Karapace knows no mode.
_LESS = {
    "GET /config/SUBJECT?defaultToGlobal=true": "the compatibility level is not known",
    "GET /mode/SUBJECT?defaultToGlobal=true": "the mode is not known",
    "GET /schemas/ids/ID": "Avro dead letters are shown without their fields",
}


@dataclass(frozen=True)
class RegistryFacts:
    """`subjects` are those of the pipelines that were asked for, with why they could not be read."""

    url: str
    server: ServerFacts | None = None
    error: PortError | None = None
    subjects: Mapping[tuple[str, str], PortError | None] = field(default_factory=dict)
    """(subject, where it stands in cdc.yml) -> None when it was read."""


def gather(
    server: Server, registry: SchemaRegistry, url: str, pipelines: Sequence[Pipeline], deadline_s: float
) -> RegistryFacts:
    """Ask what it is, then for each subject of the pipelines; each question has `deadline_s`."""
    try:
        found = server.read_server(deadline_s)
    except PortError as error:
        return RegistryFacts(url, error=error)
    subjects: dict[tuple[str, str], PortError | None] = {}
    if found.calls.get("GET /subjects") is None:
        for pipeline in pipelines:
            for subject in pipeline.subjects:
                subjects[subject, f"pipelines.{pipeline.name}.subjects"] = _read(registry, subject, deadline_s)
    return RegistryFacts(url, found, subjects=subjects)


def judge(facts: RegistryFacts) -> tuple[Check, ...]:
    """Return a line on the registry, one per call that does not work, one on the subjects or per lack."""
    server = facts.server
    if server is None:
        return (unreached(PART, facts.url, facts.error),)
    refused = server.calls.get("GET /subjects")
    if refused is not None:
        if server.kind == "Apicurio" and CCOMPAT.rpartition("/")[0] not in facts.url:
            what = f"this is Apicurio {server.version or ''}, but not the address of its Confluent API: {refused}"
            return (failed(PART, what, f"Write `registry: {{url: {_root(facts.url)}{CCOMPAT}}}` into cdc.yml."),)
        return (unreached(PART, facts.url, refused),)
    kind = f"{server.kind} {server.version or ''}".strip() if server.kind else "a registry that does not say which"
    note = "; a mode READONLY would not protect a subject there: Apicurio does not enforce it"
    notes = note if server.kind == "Apicurio" else ""
    count = sum(reason is None for reason in server.calls.values())
    unknown = f"; not known: {'; '.join(server.not_known)}" if server.not_known else ""
    line = ok(PART, f"{kind} at {facts.url}, {count} of {len(server.calls)} calls answered{notes}{unknown}")
    return (line, *_calls(server), *_subjects(facts))


def _calls(server: ServerFacts) -> tuple[Check, ...]:
    checks = []
    for call, reason in server.calls.items():
        if reason is None or (server.kind == "Karapace" and call.startswith("GET /mode")):
            continue
        less = _LESS.get(call)
        if "answered 403" in reason or "answered 401" in reason:
            remedy = "Grant reading, as `cdc doctor --permissions` lists it."
        else:
            remedy = "Look at the registry's log; `cdc schema SUBJECT` shows what it still tells."
        checks.append(
            warning(PART, f"{call} does not work, {less}: {reason}", remedy)
            if less
            else failed(PART, f"{call} does not work, schema_changes sees nothing: {reason}", remedy)
        )
    return tuple(checks)


def _subjects(facts: RegistryFacts) -> tuple[Check, ...]:
    found = [subject for (subject, _), error in facts.subjects.items() if error is None]
    checks = [ok(PART, f"subjects of cdc.yml found: {names(found)}")] if found else []
    for (subject, setting), error in facts.subjects.items():
        if isinstance(error, Missing):
            remedy = f"Correct {setting} in cdc.yml, or register its first version."
            checks.append(failed(PART, f"{setting}: there is no subject {subject}", remedy))
        elif error is not None:
            remedy = "Grant reading of that subject, as `cdc doctor --permissions` lists it."
            checks.append(failed(PART, f"{setting}: subject {subject} cannot be read: {error}", remedy))
    return tuple(checks)


def _read(registry: SchemaRegistry, subject: str, deadline_s: float) -> PortError | None:
    try:
        registry.read_subject(subject, 1, deadline_s)
    except PortError as error:
        return error
    return None


def _root(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
