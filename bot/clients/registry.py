"""A Schema Registry over the Confluent API: Confluent, Karapace, Apicurio (`/apis/ccompat/v7`).

What they do not share stays unknown: a version's time (`ts`) is only in Confluent >= 8.0, a subject's
mode is not in Karapace. A mode is what the registry says, not a proof: Apicurio answers READONLY and
still accepts registrations.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

from bot.clients.http import JsonHttp, remaining_s
from bot.ports import Missing, PortError, SchemaVersion, SubjectState, Unreachable

T = TypeVar("T")


class HttpSchemaRegistry:
    """Implements `bot.ports.SchemaRegistry`."""

    def __init__(self, http: JsonHttp) -> None:
        self._http = http

    def read_subject(self, subject: str, newest: int, deadline_s: float) -> SubjectState:
        """Return the effective level, the mode and the `newest` last versions, oldest first.

        Versions are the answer and their absence is an error; level and mode are `not_known` lines.
        """
        quoted = quote(subject, safe="")
        ends_at = time.monotonic() + deadline_s
        path = f"/subjects/{quoted}/versions"
        try:
            all_versions = self._read(
                path, remaining_s(ends_at), lambda answer: tuple(sorted(int(number) for number in answer))
            )
        except Missing as error:
            raise Missing(f"no subject {subject} at {self._http.url} ({error})") from error
        versions = tuple(
            self._read(f"{path}/{number}", remaining_s(ends_at), lambda answer: _version(subject, answer))
            for number in (all_versions[-newest:] if newest > 0 else ())
        )
        not_known: list[str] = []

        def optional(what: str, path: str, key: str, params: dict[str, str]) -> str | None:
            try:
                answer = self._http.get(path, remaining_s(ends_at), params)
            except PortError as error:
                not_known.append(f"{what} of {subject}: {error}")
                return None
            word = answer.get(key) if isinstance(answer, dict) else None
            if not isinstance(word, str):
                not_known.append(f"{what} of {subject}: GET {self._http.url}{path} names none")
                return None
            return word

        to_global = {"defaultToGlobal": "true"}
        return SubjectState(
            subject=subject,
            compatibility=optional("compatibility level", f"/config/{quoted}", "compatibilityLevel", to_global),
            mode=optional("mode", f"/mode/{quoted}", "mode", to_global),
            versions=versions,
            all_versions=all_versions,
            not_known=tuple(not_known),
        )

    def read_schema(self, schema_id: int, deadline_s: float) -> str:
        """Return the schema text of a global id."""
        try:
            return self._read(f"/schemas/ids/{schema_id}", deadline_s, lambda answer: str(answer["schema"]))
        except Missing as error:
            raise Missing(f"no schema with id {schema_id} at {self._http.url} ({error})") from error

    def read_subjects(self, deadline_s: float) -> tuple[str, ...]:
        """Return every subject's name, sorted; soft-deleted ones are left out."""
        return self._read("/subjects", deadline_s, lambda answer: tuple(sorted(str(name) for name in list(answer))))

    def _read(self, path: str, deadline_s: float, parse: Callable[[Any], T]) -> T:
        answer = self._http.get(path, deadline_s)
        try:
            return parse(answer)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Unreachable(
                f"GET {self._http.url}{path}: answered other JSON than a Schema Registry's: is this the right address?"
            ) from error


def _version(subject: str, answer: Any) -> SchemaVersion:
    """`schemaType` is absent for Avro; `ts` is in milliseconds (Confluent's SchemaString)."""
    ts = answer.get("ts")
    return SchemaVersion(
        subject=subject,
        version=int(answer["version"]),
        schema_id=int(answer["id"]) if answer.get("id") is not None else None,
        schema_type=answer.get("schemaType") or "AVRO",
        schema=str(answer["schema"]),
        registered_at=datetime.fromtimestamp(ts / 1000, UTC) if isinstance(ts, int | float) and ts > 0 else None,
    )
