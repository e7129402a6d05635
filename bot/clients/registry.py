"""A Schema Registry over the Confluent API: Confluent, Karapace, Apicurio (`/apis/ccompat/v7`).

What they do not share stays unknown: a version's time (`ts`) is only in Confluent >= 8.0, a subject's
mode is not in Karapace. A mode is what the registry says, not a proof: Apicurio answers READONLY and
still accepts registrations.

Their own 404 says which thing is not there by an `error_code`; one without it is another API's, such as that of
Apicurio's base address, and tells nothing of a subject.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

from bot.clients.http import JsonHttp, remaining_s
from bot.ports import (
    CompatibilityAnswer,
    Missing,
    PortError,
    Rejected,
    SchemaReference,
    SchemaVersion,
    ServerFacts,
    SubjectState,
    Unreachable,
)

T = TypeVar("T")

CCOMPAT = "/apis/ccompat/v7"
"""Where Apicurio has its Confluent API, from its root."""

# How each tells what it is, the first that answers so: where (from the root for Apicurio, whose Confluent API is below
# it), the key of the version, and what else must be in the answer.
_KINDS = (
    ("Apicurio", True, "/apis/registry/v3/system/info", "version", "name"),
    ("Apicurio", True, "/apis/registry/v2/system/info", "version", "name"),
    ("Karapace", False, "/_health", "karapace_version", "process_uptime_sec"),
    ("Confluent", False, "/v1/metadata/version", "version", "commitId"),
)


# What a registry's 404 may say of a subject; any other is "there is no such call".
_NO_SUBJECT, _NO_VERSION, _NO_LEVEL = 40401, 40402, 40408

# Apicurio's own dry run applies the rules of a registration. Measured on 3.3.3: nothing is registered.
_DRY_RUN = "/apis/registry/v3/groups/default/artifacts/{}/versions"
_DRY_RUN_SINCE = (3, 3)
_MEDIA_TYPES = {"PROTOBUF": "application/x-protobuf"}

MOST_REFERENCED = 100
"""A schema that uses more is not read: a registry must not hold a probe."""

LISTED_AT_ONCE = 1_000
"""What Confluent gives in one answer at most, unless it is told otherwise."""

MOST_LISTED = 20_000

_NOTHING_REFUSED = "the level is NONE: the registry refuses nothing"


class HttpSchemaRegistry:
    """Implements `bot.ports.SchemaRegistry` and `Server`."""

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
            gone = ", ".join(map(str, self._with_deleted(path, ends_at)))
            why = f"it was deleted with its versions {gone}" if gone else str(error)
            raise Missing(f"no subject {subject} at {self._http.url} ({why})") from error
        versions = tuple(
            self._read(f"{path}/{number}", remaining_s(ends_at), lambda answer: _version(subject, answer))
            for number in (all_versions[-newest:] if newest > 0 else ())
        )
        deleted = tuple(number for number in self._with_deleted(path, ends_at) if number not in all_versions)
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

        return SubjectState(
            subject=subject,
            compatibility=optional("compatibility level", f"/config/{quoted}", "compatibilityLevel", _TO_GLOBAL),
            mode=optional("mode", f"/mode/{quoted}", "mode", _TO_GLOBAL),
            versions=versions,
            all_versions=all_versions,
            not_known=tuple(not_known),
            deleted=deleted,
        )

    def _with_deleted(self, path: str, ends_at: float) -> tuple[int, ...]:
        """Return the versions with the soft-deleted ones; none where the registry does not list those."""
        try:
            return self._read(
                path,
                remaining_s(ends_at),
                lambda answer: tuple(sorted(int(number) for number in answer)),
                {"deleted": "true"},
            )
        except PortError:
            return ()

    def read_version(self, subject: str, version: int, deadline_s: float) -> SchemaVersion:
        """Return one version, also a soft-deleted one."""
        try:
            return self._read(
                f"/subjects/{quote(subject, safe='')}/versions/{version}",
                deadline_s,
                lambda answer: _version(subject, answer),
                {"deleted": "true"},
            )
        except Missing as error:
            raise Missing(f"no version {version} of {subject} at {self._http.url} ({error})") from error

    def read_referenced(self, schema: SchemaVersion, deadline_s: float) -> tuple[SchemaVersion, ...]:
        """Return every schema that this one uses, each once, the used before the user.

        Raises Unreachable for more than MOST_REFERENCED. A registry refuses a cycle; where there is one it ends here.
        """
        ends_at = time.monotonic() + deadline_s
        read: dict[tuple[str, int], SchemaVersion] = {}
        ordered: list[SchemaVersion] = []
        seen: set[tuple[str, int]] = set()
        pending = [(reference, False) for reference in reversed(schema.references)]
        while pending:
            reference, is_done = pending.pop()
            key = (reference.subject, reference.version)
            if is_done:
                ordered.append(read[key])
            elif key not in seen:
                seen.add(key)
                if len(seen) > MOST_REFERENCED:
                    words = f"{schema.subject} version {schema.version}: uses more than {MOST_REFERENCED} other schemas"
                    raise Unreachable(f"{words}: not read")
                read[key] = self.read_version(*key, remaining_s(ends_at))
                pending.append((reference, True))
                pending += [(inner, False) for inner in reversed(read[key].references)]
        return tuple(ordered)

    def read_recent(self, since: datetime, deadline_s: float) -> tuple[SchemaVersion, ...] | None:
        """Return what changed since then, oldest first; None for a registry whose list of schemas tells no times.

        Only Confluent >= 8.0 tells them; Apicurio's list names not even subjects. Raises Unreachable for a list longer
        than MOST_LISTED. Subjects outside the default context are not in it.
        """
        ends_at = time.monotonic() + deadline_s
        found: dict[tuple[str, int], SchemaVersion] = {}
        for start in range(0, MOST_LISTED, LISTED_AT_ONCE):
            page = {"latestOnly": "false", "deleted": "true", "offset": str(start), "limit": str(LISTED_AT_ONCE)}
            try:
                listed = self._read("/schemas", remaining_s(ends_at), list, page)
            except (Missing, Rejected):
                return None
            if not all(isinstance(entry, dict) and {"subject", "version", "ts"} <= entry.keys() for entry in listed):
                return None
            versions = [_version(str(entry["subject"]), entry) for entry in listed]
            known = len(found)
            found |= {(version.subject, version.version): version for version in versions}
            if len(listed) < LISTED_AT_ONCE or len(found) == known:
                recent = [v for v in found.values() if v.registered_at is not None and v.registered_at >= since]
                return tuple(sorted(recent, key=lambda v: (v.registered_at or since, v.subject, v.version)))
        raise Unreachable(f"GET {self._http.url}/schemas: lists more than {MOST_LISTED:,} versions: not read further")

    def read_schema(self, schema_id: int, deadline_s: float) -> str:
        """Return the schema text of a global id."""
        try:
            return self._read(f"/schemas/ids/{schema_id}", deadline_s, lambda answer: str(answer["schema"]))
        except Missing as error:
            raise Missing(f"no schema with id {schema_id} at {self._http.url} ({error})") from error

    def read_subjects(self, deadline_s: float) -> tuple[str, ...]:
        """Return every subject's name, sorted; soft-deleted ones are left out."""
        return self._read("/subjects", deadline_s, lambda answer: tuple(sorted(str(name) for name in list(answer))))

    def read_level(self, subject: str, deadline_s: float) -> str:
        """Return the compatibility level in force for the subject, the global one where it has none or is not there.

        Confluent and Karapace answer the global one for any subject; Apicurio knows only levels of what is there.
        """
        ends_at = time.monotonic() + deadline_s
        try:
            return self._read(f"/config/{quote(subject, safe='')}", remaining_s(ends_at), _level, _TO_GLOBAL)
        except Missing as error:
            if error.error_code not in (_NO_SUBJECT, _NO_LEVEL):
                raise
        return self._read("/config", remaining_s(ends_at), _level)

    def check_compatibility(
        self,
        subject: str,
        schema: str,
        schema_type: str,
        references: Sequence[SchemaReference],
        deadline_s: float,
    ) -> CompatibilityAnswer:
        """Return whether the registry would take the schema; registers nothing. An unknown subject passes.

        The call without a version follows the rule of a registration, transitive levels too; Karapace has only the
        one with `latest`, which does the same there. Apicurio's "yes" can be believed and its "no" cannot: the call
        without a version compares with every version whatever the level, refuses where no level is set (and a
        registration passes), and finds no references. There its dry run is asked, or what can be said without.
        """
        ends_at = time.monotonic() + deadline_s
        body: dict[str, Any] = {"schema": schema}
        if schema_type != "AVRO":
            body["schemaType"] = schema_type
        if references:
            body["references"] = [{"name": r.name, "subject": r.subject, "version": r.version} for r in references]
        path = f"/compatibility/subjects/{quote(subject, safe='')}/versions"
        try:
            answer = self._ask_compatibility(path, body, ends_at)
        except (Missing, Rejected) as error:
            if isinstance(error, Rejected) and error.status != 405:
                raise
            if isinstance(error, Missing) and error.error_code in (_NO_SUBJECT, _NO_VERSION):
                return CompatibilityAnswer(True, f"POST {path}", new_subject=True)
            try:
                answer = self._ask_compatibility(f"{path}/latest", body, ends_at)
            except Missing as missing:
                if missing.error_code not in (_NO_SUBJECT, _NO_VERSION):
                    raise
                return CompatibilityAnswer(True, f"POST {path}/latest", new_subject=True)
        if answer.compatible:
            return replace(answer, new_subject=not self._is_there(subject, remaining_s(ends_at)))
        kind, version = self._kind(ends_at)
        if kind != "Apicurio":
            return answer
        return self._as_apicurio_registers(subject, body, version, answer, ends_at)

    def _ask_compatibility(self, path: str, body: dict[str, Any], ends_at: float) -> CompatibilityAnswer:
        """Ask one of the two calls. A schema that the registry cannot read (422) is one that it would refuse."""
        asked = f"POST {path}"
        try:
            answer = self._http.post(path, remaining_s(ends_at), {"verbose": "true"}, body)
        except Rejected as error:
            if error.status != 422:
                raise
            return CompatibilityAnswer(False, asked, (error.reason or str(error),))
        compatible = answer.get("is_compatible") if isinstance(answer, dict) else None
        if not isinstance(compatible, bool):
            raise Unreachable(
                f"POST {self._http.url}{path}: answered without is_compatible: is this a Schema Registry?"
            )
        return CompatibilityAnswer(compatible, asked, _messages(answer.get("messages")))

    def _is_there(self, subject: str, deadline_s: float) -> bool:
        try:
            return bool(self._http.get(f"/subjects/{quote(subject, safe='')}/versions", deadline_s))
        except Missing:
            return False

    def _as_apicurio_registers(
        self, subject: str, body: dict[str, Any], version: str | None, refused: CompatibilityAnswer, ends_at: float
    ) -> CompatibilityAnswer:
        """Return what a registration would do where Apicurio's compatibility call said no."""
        if refused.messages and not body.get("references"):
            return refused  # it cannot read the schema; its dry run would not read it where no rule is set
        if _numbers(version) >= _DRY_RUN_SINCE:
            answered = self._dry_run(subject, body, ends_at)
            if answered is not None:
                return answered
        if body.get("references"):
            why = "Apicurio's compatibility call does not resolve references: only registering the schema would tell"
            return replace(refused, compatible=None, messages=(why,))
        level = self.read_level(subject, remaining_s(ends_at))
        if level == "NONE":
            return replace(refused, compatible=True, messages=(_NOTHING_REFUSED,))
        if level.endswith("_TRANSITIVE"):
            return refused
        path = f"/compatibility/subjects/{quote(subject, safe='')}/versions/latest"
        return self._ask_compatibility(path, body, ends_at)

    def _dry_run(self, subject: str, body: dict[str, Any], ends_at: float) -> CompatibilityAnswer | None:
        """Return what Apicurio would do with a registration, None where this login may not ask or it did not say."""
        path = _DRY_RUN.format(quote(subject, safe=""))
        content: dict[str, Any] = {
            "content": body["schema"],
            "contentType": _MEDIA_TYPES.get(body.get("schemaType", "AVRO"), "application/json"),
            "references": [
                {"name": r["name"], "artifactId": r["subject"], "version": str(r["version"])}
                for r in body.get("references", ())
            ],
        }
        asked = f"POST {path}?dryRun=true"
        try:
            self._http.at_root().post(path, remaining_s(ends_at), {"dryRun": "true"}, {"content": content})
        except Rejected as error:
            return CompatibilityAnswer(False, asked, ((error.reason or str(error)).partition(" Causes: ")[0],))
        except PortError:
            return None
        return CompatibilityAnswer(True, asked)

    def read_server(self, deadline_s: float) -> ServerFacts:
        """Return which registry it is and which calls it answers; those on a subject are tried on the first one.

        A server that says what it is but does not list its subjects is not an error: `calls` says why it does not (an
        address without the path of the Confluent API, a login that is lacking). Raises what `GET /subjects` raised.
        """
        ends_at = time.monotonic() + deadline_s
        calls: dict[str, str | None] = {}
        try:
            subjects = self._read("/subjects", remaining_s(ends_at), _names)
        except PortError as error:
            kind, version = self._kind(ends_at) if getattr(error, "sent", True) else ("", None)
            if not kind:
                raise
            said = str(error.__cause__ if isinstance(error.__cause__, Missing) else error)
            return ServerFacts(kind, version, {"GET /subjects": said}, clock_offset_s=self._http.clock_offset_s)
        calls["GET /subjects"] = None

        def ask(call: str, path: str) -> Any:
            try:
                answer = self._http.get(path, remaining_s(ends_at), _TO_GLOBAL if "defaultToGlobal" in call else None)
            except PortError as error:
                calls[call] = str(error)
                return None
            calls[call] = None
            return answer

        not_known: tuple[str, ...] = ()
        if subjects:
            subject = quote(subjects[0], safe="")
            ask("GET /subjects/SUBJECT/versions", f"/subjects/{subject}/versions")
            newest = ask("GET /subjects/SUBJECT/versions/VERSION", f"/subjects/{subject}/versions/latest")
            ask("GET /config/SUBJECT?defaultToGlobal=true", f"/config/{subject}")
            ask("GET /mode/SUBJECT?defaultToGlobal=true", f"/mode/{subject}")
            if isinstance(newest, dict) and newest.get("id") is not None:
                ask("GET /schemas/ids/ID", f"/schemas/ids/{newest['id']}")
        else:
            not_known = ("which of its calls work: it shows no subject to try them on",)
        kind, version = self._kind(ends_at)
        return ServerFacts(kind, version, calls, clock_offset_s=self._http.clock_offset_s, not_known=not_known)

    def confluent_address(self, deadline_s: float) -> str | None:
        """Return the address of Apicurio's Confluent API where this address is Apicurio's and not that; else None.

        It is tried: an address is returned only if it lists its subjects with the same login. Raises nothing.
        """
        ends_at = time.monotonic() + deadline_s
        try:
            self._read("/subjects", remaining_s(ends_at), _names)
            return None
        except PortError as error:
            if not getattr(error, "sent", True) or CCOMPAT in self._http.url or self._kind(ends_at)[0] != "Apicurio":
                return None
        root = self._http.at_root()
        try:
            _names(root.get(f"{CCOMPAT}/subjects", remaining_s(ends_at)))
        except (PortError, TypeError):
            return None
        return f"{root.url}{CCOMPAT}"

    def _kind(self, ends_at: float) -> tuple[str, str | None]:
        for kind, at_root, path, key, also in _KINDS:
            try:
                answer = (self._http.at_root() if at_root else self._http).get(path, remaining_s(ends_at))
            except PortError:
                continue
            if isinstance(answer, dict) and key in answer and also in answer:
                return kind, str(answer[key])
        return "", None

    def _read(self, path: str, deadline_s: float, parse: Callable[[Any], T], params: dict[str, str] | None = None) -> T:
        try:
            answer = self._http.get(path, deadline_s, params)
        except Missing as error:
            if error.error_code is not None:
                raise
            at = f"is it Apicurio? its Confluent API is at {self._http.at_root().url}{CCOMPAT}"
            hint = "is this the right address?" if CCOMPAT in self._http.url else f"is this the right address? {at}"
            raise Unreachable(f"{error}; this address does not answer as a Schema Registry: {hint}") from error
        try:
            return parse(answer)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Unreachable(
                f"GET {self._http.url}{path}: answered other JSON than a Schema Registry's: is this the right address?"
            ) from error


def _names(answer: Any) -> list[str]:
    if not isinstance(answer, list):
        raise TypeError("not a list")
    return [str(name) for name in answer]


_TO_GLOBAL = {"defaultToGlobal": "true"}


def _level(answer: Any) -> str:
    level = answer["compatibilityLevel"]
    if not isinstance(level, str):
        raise TypeError("not a word")
    return level.upper()


def _messages(said: Any) -> tuple[str, ...]:
    """Return a registry's messages, one string or a list, less the old schema, which Confluent repeats in full."""
    lines = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    return tuple(str(line) for line in lines if line and not str(line).startswith("{oldSchema:"))


def _numbers(version: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version or "")[:2])


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
        references=tuple(
            SchemaReference(str(used["name"]), str(used["subject"]), int(used["version"]))
            for used in answer.get("references") or ()
        ),
        deleted=answer.get("deleted") is True,
    )
