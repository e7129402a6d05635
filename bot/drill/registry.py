"""The drill's Schema Registry: Confluent's REST API with a real Avro compatibility check.

A schema that breaks the subject's level is refused with 409 in the words of Confluent
Schema Registry 7.4 and later; versions carry `ts` in milliseconds as from version 8 on.
The check is the one of `cdc check schemas`; like Confluent's it does not look at logical types. Avro only; nothing is
ever deleted.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.checks import json_text
from bot.checks.avro.lint import lint
from bot.checks.avro.read import link, read_part
from bot.checks.avro.resolution import Incompatibility
from bot.checks.avro.resolution import incompatibilities as conflicts
from bot.checks.avro.schema import Schema
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Pointer
from bot.drill.loopback import Answer, Call, LoopbackServer, route

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
LEVELS = ("NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE")
MODES = ("READWRITE", "READONLY", "IMPORT", "READONLY_OVERRIDE")


@dataclass(frozen=True)
class Version:
    """One registered version of a subject; `ts_ms` is when it was registered."""

    subject: str
    version: int
    id: int
    schema: str
    ts_ms: int

    def document(self) -> dict[str, Any]:
        """The version as the REST API shows it."""
        return {
            "subject": self.subject,
            "version": self.version,
            "id": self.id,
            "guid": f"00000000-0000-4000-8000-{self.id:012d}",
            "schemaType": "AVRO",
            "schema": self.schema,
            "ts": self.ts_ms,
            "deleted": False,
        }


class RegistryError(Exception):
    """An answer of the registry that is an error: HTTP status, error code, message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class SchemaRegistry:
    """A Schema Registry on 127.0.0.1."""

    def __init__(self, level: str = "BACKWARD") -> None:
        self._lock = threading.RLock()
        self._versions: dict[str, list[Version]] = {}
        self._ids: dict[str, int] = {}
        self._levels: dict[str, str] = {"": level}
        self._modes: dict[str, str] = {"": "READWRITE"}
        self._refusals: dict[str, list[float]] = {}
        self._outage = False
        self._server = LoopbackServer("Schema Registry", self._routes())
        self.url = self._server.url

    def start(self) -> SchemaRegistry:
        """Serve."""
        self._server.start()
        return self

    def stop(self) -> None:
        """End."""
        self._server.stop()

    def break_down(self, outage: bool) -> None:
        """From now on answer everything with 503, or stop doing so."""
        self._outage = outage

    def refusals(self, within_s: float) -> Mapping[str, int]:
        """How many registrations each subject was refused with 409 in the last seconds."""
        since = time.monotonic() - within_s
        with self._lock:
            counts = {subject: sum(at >= since for at in times) for subject, times in self._refusals.items()}
        return {subject: count for subject, count in counts.items() if count}

    def refused(self, subject: str) -> int:
        """How many registrations of a subject were refused with 409 since the start."""
        with self._lock:
            return len(self._refusals.get(subject, ()))

    # -- routes --------------------------------------------------------------------------

    def _routes(self) -> list[Any]:
        def guarded(run: Any) -> Any:
            def handler(call: Call) -> Answer:
                if self._outage:
                    return Answer(503, "Service Unavailable", media_type="text/plain")
                try:
                    return Answer(200, run(call), media_type=MEDIA_TYPE)
                except RegistryError as error:
                    body = {"error_code": error.code, "message": error.message}
                    return Answer(error.status, body, media_type=MEDIA_TYPE)

            return handler

        rows: tuple[tuple[str, str, Callable[[Call], Any]], ...] = (
            ("GET", "/", lambda _: {}),
            ("GET", "/subjects", lambda _: sorted(self._versions)),
            ("POST", "/subjects/{subject}", self._lookup),
            ("GET", "/subjects/{subject}/versions", lambda call: [one.version for one in self._subject(call)]),
            ("POST", "/subjects/{subject}/versions", self._register),
            ("GET", "/subjects/{subject}/versions/{version}", lambda call: self._version(call).document()),
            ("GET", "/subjects/{subject}/versions/{version}/schema", lambda c: json.loads(self._version(c).schema)),
            ("GET", "/schemas/types", lambda _: ["AVRO"]),
            ("GET", "/schemas/ids/{id}", lambda call: {"schema": self._by_id(call)[0].schema}),
            ("GET", "/schemas/ids/{id}/versions", self._uses_of_id),
            ("GET", "/config", lambda _: {"compatibilityLevel": self._levels[""]}),
            ("PUT", "/config", lambda call: self._set_level("", call)),
            ("GET", "/config/{subject}", self._level_of),
            ("PUT", "/config/{subject}", lambda call: self._set_level(call.params["subject"], call)),
            ("GET", "/mode", lambda _: {"mode": self._modes[""]}),
            ("PUT", "/mode", lambda call: self._set_mode("", call)),
            ("GET", "/mode/{subject}", self._mode_of),
            ("PUT", "/mode/{subject}", lambda call: self._set_mode(call.params["subject"], call)),
            ("POST", "/compatibility/subjects/{subject}/versions", self._compatibility),
            ("POST", "/compatibility/subjects/{subject}/versions/{version}", self._compatibility),
        )
        return [route(method, path, guarded(run)) for method, path, run in rows]

    def _register(self, call: Call) -> dict[str, int]:
        subject = call.params["subject"]
        schema = _parsed(call)
        with self._lock:
            versions = self._versions.get(subject, [])
            for known in versions:
                if known.schema == schema:
                    return {"id": known.id}
            mode = self._modes.get(subject, self._modes[""])
            if mode.startswith("READONLY"):
                raise RegistryError(422, 42205, f"Subject {subject} is in read-only mode")
            level = self._levels.get(subject, self._levels[""])
            said = incompatibilities(schema, versions, level)
            if said:
                self._refusals.setdefault(subject, []).append(time.monotonic())
                raise RegistryError(
                    409,
                    409,
                    "Schema being registered is incompatible with an earlier schema for subject "
                    f'"{subject}", details: [{", ".join(said)}]',
                )
            schema_id = self._ids.setdefault(schema, len(self._ids) + 1)
            made = Version(subject, len(versions) + 1, schema_id, schema, time.time_ns() // 1_000_000)
            self._versions[subject] = [*versions, made]
            return {"id": schema_id}

    def _lookup(self, call: Call) -> dict[str, Any]:
        schema = _parsed(call)
        for known in self._subject(call):
            if known.schema == schema:
                return known.document()
        raise RegistryError(404, 40403, "Schema not found")

    def _subject(self, call: Call) -> list[Version]:
        subject = call.params["subject"]
        with self._lock:
            if subject not in self._versions:
                raise RegistryError(404, 40401, f"Subject '{subject}' not found.")
            return list(self._versions[subject])

    def _version(self, call: Call) -> Version:
        versions, wanted = self._subject(call), call.params["version"]
        if wanted in ("latest", "-1"):
            return versions[-1]
        if not wanted.isdigit() or int(wanted) < 1:
            raise RegistryError(
                422, 42202, f"The specified version '{wanted}' is not a valid version id. Allowed values are between "
                "[1, 2^31-1] and the string \"latest\""
            )  # fmt: skip
        if int(wanted) > len(versions):
            raise RegistryError(404, 40402, f"Version {wanted} not found.")
        return versions[int(wanted) - 1]

    def _by_id(self, call: Call) -> list[Version]:
        wanted = call.params["id"]
        with self._lock:
            found = [one for versions in self._versions.values() for one in versions if str(one.id) == wanted]
        if not found:
            raise RegistryError(404, 40403, f"Schema {wanted} not found")
        return found

    def _uses_of_id(self, call: Call) -> list[dict[str, Any]]:
        return [{"subject": one.subject, "version": one.version} for one in self._by_id(call)]

    def _level_of(self, call: Call) -> dict[str, str]:
        subject = call.params["subject"]
        if subject not in self._levels:
            if call.query.get("defaultToGlobal") == "true":
                return {"compatibilityLevel": self._levels[""]}
            raise RegistryError(404, 40408, f"Subject '{subject}' does not have subject-level compatibility configured")
        return {"compatibilityLevel": self._levels[subject]}

    def _set_level(self, subject: str, call: Call) -> dict[str, str]:
        level = str(call.document().get("compatibility"))
        if level not in LEVELS:
            raise RegistryError(
                422, 42203, "Invalid compatibility level. Valid values are none, backward, forward, full, "
                "backward_transitive, forward_transitive, and full_transitive"
            )  # fmt: skip
        self._levels[subject] = level
        return {"compatibility": level}

    def _mode_of(self, call: Call) -> dict[str, str]:
        subject = call.params["subject"]
        if subject not in self._modes:
            if call.query.get("defaultToGlobal") == "true":
                return {"mode": self._modes[""]}
            raise RegistryError(404, 40409, f"Subject '{subject}' does not have subject-level mode configured")
        return {"mode": self._modes[subject]}

    def _set_mode(self, subject: str, call: Call) -> dict[str, str]:
        mode = str(call.document().get("mode"))
        if mode not in MODES:
            raise RegistryError(422, 42204, "Invalid mode. Valid values are READWRITE, READONLY, IMPORT.")
        self._modes[subject] = mode
        return {"mode": mode}

    def _compatibility(self, call: Call) -> dict[str, Any]:
        schema = _parsed(call)
        subject = call.params["subject"]
        level = self._levels.get(subject, self._levels[""])
        against = [self._version(call)] if "version" in call.params else self._subject(call)
        said = incompatibilities(schema, against, level)
        answer: dict[str, Any] = {"is_compatible": not said}
        if call.query.get("verbose") == "true":
            answer["messages"] = said
        return answer


UNREADABLE = ("A002", "A003", "A004", "A005", "A006", "A007", "A011")
"""What Java's parser refuses. It takes a wrong default: the registry validates defaults only where it is told to."""


def _parsed(call: Call) -> str:
    """The canonical text of the schema in a request body; raises 42201 when it is no Avro schema."""
    text = str(call.document().get("schema"))
    read(text)
    return json.dumps(json.loads(text.removeprefix("\ufeff")), separators=(",", ":"))


def read(text: str) -> Schema:
    """The schema of a text; raises 42201 with the first thing that is wrong with it."""
    document, broken = json_text.parse(text, "schema")
    wrong = () if document is not None else broken
    if not wrong:
        part = read_part(document, "schema")
        schemas, unknown = link([part])
        wrong = (*part.violations, *unknown)
        if not wrong and "schema" in schemas:
            wrong = tuple(one for one in lint(schemas["schema"], SchemaSettings()) if one.rule in UNREADABLE)
        if not wrong and "schema" in schemas:
            return schemas["schema"]
    details = f"{wrong[0].path}: {wrong[0].message}".removeprefix(": ") if wrong else "no schema"
    raise RegistryError(422, 42201, f"Invalid schema {text} of type AVRO, details: {details}")


def incompatibilities(schema: str, versions: Iterable[Version], level: str) -> list[str]:
    """Confluent's `details` for a schema against the versions its level looks at; empty when compatible."""
    against = list(versions)
    if level == "NONE" or not against:
        return []
    if not level.endswith("_TRANSITIVE"):
        against = against[-1:]
    new = read(schema)
    for version in reversed(against):
        old = read(version.schema)
        said: list[str] = []
        if level.startswith(("BACKWARD", "FULL")):
            said.extend(_detail(one, "new", "old") for one in conflicts(new, old))
        if level.startswith(("FORWARD", "FULL")):
            said.extend(_detail(one, "old", "new") for one in conflicts(old, new))
        if said:
            return [
                *said,
                f"{{oldSchemaVersion: {version.version}}}",
                f"{{oldSchema: '{version.schema}'}}",
                f"{{validateFields: 'false', compatibility: '{level}'}}",
            ]
    return []


_DESCRIPTIONS = {
    "READER_FIELD_MISSING_DEFAULT_VALUE": "The field '{info}' at path '{path}' in the {reader} schema has no default "
    "value and is missing in the {writer} schema",
    "TYPE_MISMATCH": "The type (path '{path}') of a field in the {reader} schema does not match with the {writer} "
    "schema",
    "NAME_MISMATCH": "The name of the schema has changed (path '{path}')",
    "FIXED_SIZE_MISMATCH": "The size of FIXED type field at path '{path}' in the {reader} schema does not match with "
    "the {writer} schema",
    "MISSING_ENUM_SYMBOLS": "The {reader} schema is missing enum symbols '{info}' at path '{path}' in the {writer} "
    "schema",
    "MISSING_UNION_BRANCH": "The {reader} schema is missing a type inside a union field at path '{path}' in the "
    "{writer} schema",
}
"""Confluent's words (`AvroSchema.isCompatible`, `Difference` of 7.4), by Java's SchemaIncompatibilityType."""


def _detail(one: Incompatibility, reader: str, writer: str) -> str:
    """One conflict as Confluent writes it; of a union, Java's path goes on with the writer's branch."""
    pointer: Pointer = one.reader
    if one.kind == "MISSING_UNION_BRANCH" and one.writer and isinstance(one.writer[-1], int):
        pointer = (*pointer, one.writer[-1])
    path = "/" + "/".join(str(step) for step in pointer)
    description = _DESCRIPTIONS[one.kind].format(path=path, reader=reader, writer=writer, info=one.info)
    return f"{{errorType:'{one.kind}', description:'{description}', additionalInfo:'{one.info}'}}"
