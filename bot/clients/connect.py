"""Kafka Connect over its REST API: states, traces, and the restart of what failed.

States are spelled as the API spells them. RUNNING is what a worker last wrote to a compacted topic, no
proof of progress, and a trace can be of an earlier failure (KAFKA-12525): judging that is for the probe.
Configs hold secrets: they are returned for reading a key or two and must never be shown.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from bot.clients.http import JsonHttp, remaining_s
from bot.ports import ConnectorState, Missing, PortError, ServerFacts, TaskState, Unreachable


class HttpConnect:
    """Implements `bot.ports.Connect` and `Server`."""

    def __init__(self, http: JsonHttp) -> None:
        self._http = http

    def read_server(self, deadline_s: float) -> ServerFacts:
        """Return version and plugin classes; the calls on a connector are tried on the first one. Nothing is changed.

        Raises what `GET /` raised, and Unreachable for an answer that is not Kafka Connect's.
        """
        ends_at = time.monotonic() + deadline_s
        about = self._http.get("/", remaining_s(ends_at))
        if not isinstance(about, dict) or not {"version", "commit"} <= set(about):
            raise Unreachable(
                f"GET {self._http.url}/: answered other JSON than Kafka Connect's: is this the right address?"
            )
        calls: dict[str, str | None] = {}

        def ask(call: str, path: str, params: Mapping[str, Any] | None = None) -> Any:
            try:
                answer = self._http.get(path, remaining_s(ends_at), params)
            except PortError as error:
                calls[call] = str(error)
                return None
            calls[call] = None
            return answer

        listed = ask("GET /connectors", "/connectors", {"expand": ["status", "info"]})
        if isinstance(listed, list) and listed:
            calls["GET /connectors"] = "`expand` was ignored: Kafka Connect is older than 2.3"
        names = list(listed) if isinstance(listed, list | dict) else []
        if names:
            path = f"/connectors/{quote(str(names[0]), safe='')}"
            ask("GET /connectors/NAME/status", f"{path}/status")
            ask("GET /connectors/NAME/config", f"{path}/config")
        plugins = ask("GET /connector-plugins", "/connector-plugins")
        return ServerFacts(
            kind="Kafka Connect",
            version=str(about["version"]),
            calls=calls,
            plugins=tuple(str(one.get("class")) for one in plugins or () if isinstance(one, dict)),
            clock_offset_s=self._http.clock_offset_s,
        )

    def read_connector(self, name: str, deadline_s: float) -> ConnectorState:
        """Return state, tasks and config; a config that may not be read is a `not_known` line, not an error."""
        path = f"/connectors/{quote(name, safe='')}"
        ends_at = time.monotonic() + deadline_s
        try:
            status = self._http.get(f"{path}/status", remaining_s(ends_at))
        except Missing as error:
            raise Missing(f"no connector {name} at {self._http.url} ({error})") from error
        not_known: tuple[str, ...] = ()
        try:
            config = self._http.get(f"{path}/config", remaining_s(ends_at))
        except PortError as error:
            config, not_known = {}, (f"config of {name}: {error}",)
        return self._state(name, status, config, not_known)

    def read_connectors(self, deadline_s: float) -> tuple[ConnectorState, ...]:
        """Return every connector in one call; needs Kafka Connect 2.3 or newer."""
        answer = self._http.get("/connectors", deadline_s, {"expand": ["status", "info"]})
        if isinstance(answer, list) and not answer:
            return ()
        if not isinstance(answer, dict):
            raise Unreachable(f"GET {self._http.url}/connectors: `expand` was ignored: is this Kafka Connect >= 2.3?")
        return tuple(
            self._state(name, entry.get("status"), (entry.get("info") or {}).get("config") or {}, ())
            for name, entry in sorted(answer.items())
        )

    def read_connector_topics(self, name: str, deadline_s: float) -> tuple[str, ...]:
        """Return the topics a connector has really used (`GET /connectors/NAME/topics`, KIP-558, Kafka 2.5)."""
        path = f"/connectors/{quote(name, safe='')}/topics"
        answer = self._http.get(path, deadline_s)
        try:
            return tuple(sorted(str(topic) for topic in answer[name]["topics"]))
        except (KeyError, TypeError) as error:
            raise Unreachable(
                f"GET {self._http.url}{path}: answered other JSON than Kafka Connect's: is this the right address?"
            ) from error

    def restart_failed(self, name: str, deadline_s: float) -> str:
        """Restart the failed connector instance and tasks only (KIP-745, Kafka 3.0); return what was answered.

        `Rejected` is a rebalance in progress (409). `Unreachable` tells by `sent` whether it may have been carried out.
        """
        params = {"includeTasks": "true", "onlyFailed": "true"}
        try:
            answer = self._http.post(f"/connectors/{quote(name, safe='')}/restart", deadline_s, params)
        except Missing as error:
            raise Missing(f"no connector {name} at {self._http.url} ({error})") from error
        if not isinstance(answer, dict):
            return "accepted, no tasks were named"
        state = self._state(name, answer, {}, ())
        restarting = [str(task.task) for task in state.tasks if task.state == "RESTARTING"]
        return f"accepted: {name} {state.state}, restarting task {', '.join(restarting) or 'none'}"

    def _state(self, name: str, status: Any, config: Mapping[str, str], not_known: tuple[str, ...]) -> ConnectorState:
        try:
            connector = status["connector"]
            return ConnectorState(
                connector=name,
                type=status.get("type") or "unknown",
                state=connector["state"],
                worker=connector.get("worker_id"),
                trace=connector.get("trace"),
                tasks=tuple(
                    TaskState(int(task["id"]), task["state"], task.get("worker_id"), task.get("trace"))
                    for task in sorted(status["tasks"], key=lambda task: int(task["id"]))
                ),
                config=config,
                not_known=not_known,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unreachable(
                f"GET {self._http.url}/connectors/{name}/status: answered other JSON than Kafka Connect's: "
                "is this the right address?"
            ) from error
