"""`cdc doctor`, Kafka Connect: its version, whether the connectors' classes are installed, what may be read.

Whether an enabled action may be run cannot be known without running it: that is said, and nothing is restarted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.doctor.check import Check, failed, names, ok, warning
from bot.doctor.http import unreached
from bot.model import Pipeline
from bot.ports import Connect, ConnectorState, PortError, Server, ServerFacts

PART = "connect"

OLDEST = (2, 3)
RESTART_SINCE = (3, 0)
RESTART = "restart_failed_tasks"


@dataclass(frozen=True)
class ConnectFacts:
    """`connectors` None: they could not be read, `error` or the server's `calls` say why.

    `acting` are the pipelines with the restart enabled; `acting_apart`: it logs in as another user.
    """

    url: str
    server: ServerFacts | None = None
    connectors: Mapping[str, ConnectorState] | None = None
    error: PortError | None = None
    configured: tuple[tuple[str, str], ...] = ()
    """(connector, where it stands in cdc.yml)."""
    acting: tuple[str, ...] = ()
    acting_apart: bool = False


def gather(
    server: Server,
    connect: Connect,
    url: str,
    pipelines: Sequence[Pipeline],
    deadline_s: float,
    acting_apart: bool = False,
) -> ConnectFacts:
    """Ask the worker what it is, then for its connectors; each question has `deadline_s`."""
    configured = tuple(
        (name, f"pipelines.{pipeline.name}.{'source' if name == pipeline.source_connector else 'sink'}.connector")
        for pipeline in pipelines
        for name in pipeline.connectors
    )
    acting = tuple(pipeline.name for pipeline in pipelines if RESTART in pipeline.actions)
    try:
        found = server.read_server(deadline_s)
    except PortError as error:
        return ConnectFacts(url, error=error, configured=configured, acting=acting)
    try:
        connectors = {state.connector: state for state in connect.read_connectors(deadline_s)}
    except PortError as error:
        return ConnectFacts(url, found, None, error, configured, acting, acting_apart)
    return ConnectFacts(url, found, connectors, None, configured, acting, acting_apart)


def judge(facts: ConnectFacts) -> tuple[Check, ...]:
    """Return a line on the worker, then what is lacking: calls, connectors, classes; last what cannot be known."""
    server = facts.server
    if server is None:
        return (unreached(PART, facts.url, facts.error),)
    version = _version(server.version)
    if version is not None and version < OLDEST:
        what = f"Kafka Connect {server.version} at {facts.url} is too old: the states of all connectors need 2.3"
        return (failed(PART, what, "Upgrade the workers to Kafka 2.3 or newer, better 3.0: restarts need it."),)
    if facts.connectors is None:
        return (unreached(PART, facts.url, facts.error),)
    line = ok(PART, f"Kafka Connect {server.version} at {facts.url}: {_count(len(facts.connectors), 'connector')}")
    return (line, *_calls(server), *_connectors(facts), *_classes(facts, server), *_actions(facts, version))


def _calls(server: ServerFacts) -> tuple[Check, ...]:
    less = {
        "GET /connectors/NAME/status": "connector_state sees nothing",
        "GET /connectors/NAME/config": "a group that a sink's config names is not known",
        "GET /connector-plugins": "whether the classes are installed is not known",
    }
    checks = []
    for call, reason in server.calls.items():
        if reason is None or call not in less:
            continue
        line = failed if "status" in call else warning
        is_refused = "answered 401" in reason or "answered 403" in reason
        remedy = _GRANT if is_refused else _ELSEWHERE
        checks.append(line(PART, f"{call} does not work, {less[call]}: {reason}", remedy))
    return tuple(checks)


def _connectors(facts: ConnectFacts) -> tuple[Check, ...]:
    there = facts.connectors or {}
    found = [name for name, _ in facts.configured if name in there]
    checks = [ok(PART, f"connectors of cdc.yml found: {names(found)}")] if found else []
    checks += [
        failed(PART, f"{where}: there is no connector {name}", f"Correct {where} in cdc.yml, or create the connector.")
        for name, where in facts.configured
        if name not in there
    ]
    return tuple(checks)


def _classes(facts: ConnectFacts, server: ServerFacts) -> tuple[Check, ...]:
    """A class may be written short (`PostgresConnector`, `Postgres`), as Connect takes it."""
    if server.calls.get("GET /connector-plugins") is not None or not facts.connectors:
        return ()
    short = {plugin.rpartition(".")[2] for plugin in server.plugins}
    known = {*server.plugins, *short, *(name.removesuffix("Connector") for name in short)}
    wanted = {name: state.config.get("connector.class", "") for name, state in facts.connectors.items()}
    absent = [f"{kind} of {name}" for name, kind in wanted.items() if kind and kind not in known]
    if not absent:
        used = sorted({kind.rpartition(".")[2] for kind in wanted.values() if kind})
        return (ok(PART, f"the classes of its connectors are installed: {names(used)}"),) if used else ()
    remedy = "Install the plugin in `plugin.path` of every worker: a restart of these connectors will fail."
    return (warning(PART, f"not installed on this worker: {names(absent)}", remedy),)


def _actions(facts: ConnectFacts, version: tuple[int, int] | None) -> tuple[Check, ...]:
    if not facts.acting:
        return ()
    if version is not None and version < RESTART_SINCE:
        what = f"{RESTART} is enabled, but restarting only what failed came with Kafka 3.0 (KIP-745)"
        return (failed(PART, what, f"Upgrade the workers, or take {RESTART} out of actions in cdc.yml."),)
    who = "connect.actions_auth" if facts.acting_apart else "connect.auth"
    what = f"{RESTART} is enabled for {names(facts.acting)}: whether {who} may restart is not known before it is done"
    return (ok(PART, what),)


_ELSEWHERE = "See whether a proxy before the worker hands this path on; the worker's log says what it got."
_GRANT = "Let this user through, as `cdc doctor --permissions` lists it."


# Confluent Platform counts on its own: `7.6.0-ccs` is Apache Kafka 3.6.
_CONFLUENT_SINCE = {5: (2, 0), 6: (2, 6), 7: (3, 0), 8: (4, 0)}


def _version(text: str | None) -> tuple[int, int] | None:
    """Return Apache Kafka's (major, minor) of `4.1.1` or `7.6.0-ccs`, None where it is neither."""
    found = re.match(r"(\d+)\.(\d+)(?:\.\d+)*(-cc?[es]s?\b)?", text or "")
    if found is None:
        return None
    major, minor = int(found[1]), int(found[2])
    if found[3] is None or major not in _CONFLUENT_SINCE:
        return major, minor
    kafka_major, first_minor = _CONFLUENT_SINCE[major]
    return kafka_major, first_minor + minor


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
