"""`cdc doctor`, Kafka Connect: each line from both sides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.doctor.connect import ConnectFacts, gather, judge
from bot.model import Pipeline, Sink
from bot.ports import ConnectorState, Denied, Missing, PortError, ServerFacts, Unreachable

URL = "http://connect:8083"
JDBC = "io.debezium.connector.jdbc.JdbcSinkConnector"
CALLS = dict.fromkeys(("GET /connectors", "GET /connectors/NAME/status", "GET /connector-plugins"))
SERVER = ServerFacts("Kafka Connect", "4.1.1", CALLS, plugins=(JDBC,))


def connector(name: str, kind: str = JDBC) -> ConnectorState:
    return ConnectorState(name, "sink", "RUNNING", None, None, (), {"connector.class": kind})


SOUND = ConnectFacts(
    URL, SERVER, {"sink": connector("sink")}, configured=(("sink", "pipelines.p.sink.connector"),)
)  # fmt: skip


def judged(facts: ConnectFacts) -> list[tuple[str, str]]:
    lines = judge(facts)
    assert all(line.remedy for line in lines if line.status != "ok")
    return [(str(line.status), line.what) for line in lines]


def test_a_sound_worker_is_all_ok() -> None:
    """Its version, the connectors of cdc.yml, the classes."""
    assert [
        ("ok", "Kafka Connect 4.1.1 at http://connect:8083: 1 connector"),
        ("ok", "connectors of cdc.yml found: sink"),
        ("ok", "the classes of its connectors are installed: JdbcSinkConnector"),
    ] == judged(SOUND)


@pytest.mark.parametrize(
    ("version", "too_old"),
    [
        ("2.2.1", True),
        ("2.3.0", False),
        ("5.2.4-ccs", True),
        ("5.3.0-ccs", False),
        ("7.6.0-ce", False),
        ("4.1.1", False),
        ("unknown", False),
    ],
)
def test_a_worker_older_than_2_3_is_too_old(version: str, too_old: bool) -> None:
    """Confluent Platform 5.3 is Apache Kafka 2.3; what is not a version is not judged."""
    lines = judged(replace(SOUND, server=replace(SERVER, version=version)))

    assert too_old == ("too old" in lines[0][1])
    assert ("failed" if too_old else "ok") == lines[0][0]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            Denied("GET x: answered 401, the credentials are missing"),
            '`connect: {auth: {user: NAME, password: "${CONNECT_',
        ),
        (Denied("GET x: answered 403, may not do this"), "`cdc doctor --permissions`"),
        (Unreachable("GET x: TLS failed: certificate not trusted"), "`connect: {tls: {ca: ./ca.pem}}`"),
        (Unreachable("GET x: closed the connection without an answer"), "`connect: {url: https://connect:8083}`"),
        (Unreachable("GET x: reset the connection"), "`connect: {url: https://connect:8083}`"),
        (Unreachable("answered other JSON than Kafka Connect's: is this the right address?"), "the address of the API"),
        (
            Unreachable("GET x: answered 302, go to https://sso/login: is this the right address?"),
            "the address of the API",
        ),
        (Unreachable("GET x: refused the connection"), "`connect: {url: ...}`"),
    ],
)
def test_what_keeps_the_bot_out_is_one_line_with_what_to_write(error: PortError, remedy: str) -> None:
    """The same whether the worker itself or only its connectors were refused."""
    for facts in (ConnectFacts(URL, error=error), ConnectFacts(URL, SERVER, None, error)):
        (line,) = judge(facts)
        assert ("failed", str(error)) == (line.status, line.what)
        assert remedy in line.remedy


@pytest.mark.parametrize(
    ("kind", "is_installed"),
    [(JDBC, True), ("JdbcSinkConnector", True), ("JdbcSink", True), ("org.apache.iceberg.IcebergSinkConnector", False)],
)
def test_a_class_that_is_not_installed_is_a_warning(kind: str, is_installed: bool) -> None:
    """Connect takes short names too; a restart of a connector without its plugin would fail."""
    line = judged(replace(SOUND, connectors={"sink": connector("sink", kind)}))[-1]

    assert ("ok" if is_installed else "warning") == line[0]
    assert is_installed or line[1].endswith(f"{kind} of sink")


def test_plugins_that_could_not_be_listed_are_not_said_to_be_installed() -> None:
    """Unknown is no green."""
    lines = judged(replace(SOUND, server=replace(SERVER, plugins=(), calls={**CALLS, "GET /connector-plugins": "403"})))

    assert ["ok", "warning", "ok"] == [line[0] for line in lines]
    assert not any("installed:" in line[1] for line in lines)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("GET x: answered 403, these credentials may not do this", "`cdc doctor --permissions`"),
        ("GET x: answered 404 with text that is not JSON", "a proxy before the worker"),
    ],
)
def test_a_call_that_does_not_work_is_a_permission_only_where_it_was_refused(reason: str, remedy: str) -> None:
    """A proxy that hides a path answers 404."""
    calls = {**CALLS, "GET /connectors/NAME/status": reason}

    (line,) = [line for line in judge(replace(SOUND, server=replace(SERVER, calls=calls))) if line.status != "ok"]

    assert ("failed", True) == (line.status, remedy in line.remedy)


def test_a_connector_that_is_not_there_names_the_setting() -> None:
    """A typo in cdc.yml is no failure of Connect."""
    line = judged(replace(SOUND, configured=(("snk", "pipelines.p.sink.connector"),)))[1]

    assert ("failed", "pipelines.p.sink.connector: there is no connector snk") == line


@pytest.mark.parametrize(
    ("acting", "version", "apart", "said"),
    [
        ((), "4.1.1", False, None),
        (("p",), "4.1.1", False, ("ok", "whether connect.auth may restart is not known before it is done")),
        (("p",), "4.1.1", True, ("ok", "whether connect.actions_auth may restart is not known before it is done")),
        (("p",), "2.8.0", False, ("failed", "came with Kafka 3.0 (KIP-745)")),
        (("p",), "6.2.0-ccs", False, ("failed", "came with Kafka 3.0 (KIP-745)")),
        (("p",), "7.0.0-ccs", False, ("ok", "is not known before it is done")),
    ],
)
def test_an_enabled_restart_is_not_tried(
    acting: tuple[str, ...], version: str, apart: bool, said: tuple[str, str] | None
) -> None:
    """Nobody restarts a connector to look whether one may."""
    facts = replace(SOUND, server=replace(SERVER, version=version), acting=acting, acting_apart=apart)

    lines = [line for line in judged(facts) if "restart_failed_tasks" in line[1]]

    assert ([] if said is None else [said[0]]) == [line[0] for line in lines]
    assert said is None or said[1] in lines[0][1]


class Worker:
    """A worker with one connector; it must not be asked to restart anything."""

    def __init__(self, error: PortError | None = None) -> None:
        self.error = error

    def read_server(self, deadline_s: float) -> ServerFacts:
        return SERVER

    def read_connectors(self, deadline_s: float) -> tuple[ConnectorState, ...]:
        if self.error:
            raise self.error
        return (connector("sink"),)

    def read_connector(self, name: str, deadline_s: float) -> ConnectorState:
        raise Missing("not asked for")

    def read_connector_topics(self, name: str, deadline_s: float) -> tuple[str, ...]:
        raise Missing("not asked for")

    def restart_failed(self, name: str, deadline_s: float) -> str:
        raise AssertionError("the doctor restarts nothing")


def test_gathering_asks_for_the_connectors_of_each_pipeline() -> None:
    """And knows where each stands in cdc.yml."""
    pipeline = Pipeline(
        "p", "#c", source_connector="src", sink=Sink("sink"), actions=frozenset({"restart_failed_tasks"})
    )

    facts = gather(Worker(), Worker(), URL, [pipeline], 1)

    assert (("src", "pipelines.p.source.connector"), ("sink", "pipelines.p.sink.connector")) == facts.configured
    assert ("p",) == facts.acting
    assert [("failed", "pipelines.p.source.connector: there is no connector src")] == [
        line for line in judged(facts) if line[0] != "ok"
    ]
    assert 1 == len(judged(gather(Worker(), Worker(Denied("answered 403")), URL, [pipeline], 1)))
