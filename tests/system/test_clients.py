"""Our clients on the real parts: what mock brokers and recorded answers cannot show.

`own_kafka` is a broker of this module's own: its first test asks the first question that broker ever hears.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from bot.actions import restart_failed_tasks
from bot.clients.alertmanager import HttpAlertmanager
from bot.clients.connect import HttpConnect
from bot.clients.http import JsonHttp
from bot.clients.kafka import FEW_GROUPS, ConfluentKafka
from bot.clients.registry import HttpSchemaRegistry
from bot.model import ConsumerGroup, GroupKind, Pipeline, Plan, Status
from bot.ports import Denied, Matcher, Missing, PortError, Rejected, SchemaVersion, SubjectState, Unreachable
from bot.probes.connector_state import connector_of
from bot.probes.consumer_lag import Watched, finding_of, look_at
from bot.probes.schema_changes import schema_of
from bot.probes.sources import Sources
from tests.system.conftest import _need
from tests.system.fetch import Available
from tests.system.parts import Alertmanager, Certificates, Connect, Kafka, Registry, SecuredKafka, wait_until
from tests.system.pipeline import alertmanager_config

SILENT = logging.getLogger("tests.librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def now() -> datetime:
    return datetime.now(UTC)


def client(kafka: Kafka, **settings: object) -> ConfluentKafka:
    return ConfluentKafka({"bootstrap.servers": kafka.bootstrap, **settings}, now)


def create_topic(kafka: Kafka, topic: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
    """Create a topic and wait until each partition has a leader that answers."""
    admin = kafka.admin()
    for future in admin.create_topics([NewTopic(topic, partitions, 1, config=dict(config or {}))]).values():
        future.result(timeout=30)
    looking = client(kafka)

    def answers() -> bool:
        try:
            return looking.read_topic(topic, 5).end_total == 0
        except PortError:
            return False

    wait_until(answers, f"topic {topic}")


def produce(kafka: Kafka, topic: str, records: int, partition: int = 0, **settings: object) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "allow.auto.create.topics": False}, logger=SILENT)
    for number in range(records):
        producer.produce(topic, b"%d" % number, partition=partition, **settings)
    assert 0 == producer.flush(30)


def consumer_of(kafka: Kafka, group: str) -> Consumer:
    settings = {
        "bootstrap.servers": kafka.bootstrap,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    }
    return Consumer(settings, logger=SILENT)


def commit(kafka: Kafka, group: str, topic: str, offsets: Mapping[int, int]) -> None:
    """Commit from outside the group; its coordinator may still be loading."""
    consumer = consumer_of(kafka, group)

    def committed() -> bool:
        try:
            consumer.commit(offsets=[TopicPartition(topic, p, o) for p, o in offsets.items()], asynchronous=False)
        except KafkaException:
            return False
        return True

    wait_until(committed, f"commit of {group}")
    consumer.close()


@pytest.fixture(scope="module")
def own_kafka(available: Available, scratch: Path) -> Iterator[Kafka]:
    """A broker that nobody has asked anything yet."""
    _need(available, "java", "kafka")
    with Kafka(available, scratch / "clients-kafka") as kafka:
        yield kafka


# --- Kafka ---------------------------------------------------------------------------------------


def test_the_first_question_to_a_fresh_broker_is_answered(own_kafka: Kafka) -> None:
    """No coordinator exists yet: `list_consumer_group_offsets` segfaults here (librdkafka 2.16).

    Nobody can tell about the group before its coordinator is there; from then on it is Missing.
    """
    kafka = client(own_kafka)

    def is_missing() -> bool:
        try:
            group = kafka.read_group("nope", [], 5)
        except Missing as error:
            return "no consumer group nope on Kafka at " in str(error)
        assert ((), None, None) == (group.partitions, group.state, group.members)
        assert group.not_known[0].startswith(f"Kafka at {own_kafka.bootstrap}: ")
        return False

    wait_until(is_missing, "group nope missing")


def test_no_call_of_the_port_creates_a_topic(own_kafka: Kafka) -> None:
    """The broker creates topics on its own (`auto.create.topics.enable`), and the settings ask for it, too."""
    kafka = client(own_kafka, **{"allow.auto.create.topics": "true"})

    for ask in (
        lambda: kafka.read_topic("typo", 5),
        lambda: kafka.read_group("shipping", ["typo"], 5),
        lambda: kafka.sample_tail("typo", 10, 5),
    ):
        with pytest.raises(Missing, match="no topic typo"):
            ask()
    with pytest.raises(Missing, match="no consumer group shipping"):
        kafka.read_group("shipping", [], 5)

    time.sleep(0.5)  # a creation would be seen a moment later
    assert "typo" not in own_kafka.admin().list_topics(timeout=5).topics


def test_an_unknown_group_is_missing_also_when_topics_are_named(own_kafka: Kafka) -> None:
    """Kafka answers DEAD with 0 members for a name that it never heard."""
    create_topic(own_kafka, "lonely")

    with pytest.raises(Missing, match="no consumer group nobody"):
        client(own_kafka).read_group("nobody", ["lonely"], 5)


def test_a_group_is_read_as_its_own_consumer_sees_it(own_kafka: Kafka) -> None:
    """Offsets, state and members against what a member of the group says; then again after it has left."""
    create_topic(own_kafka, "orders", 3)
    for partition, records in ((0, 10), (1, 7)):
        produce(own_kafka, "orders", records, partition)
    member = consumer_of(own_kafka, "shipping")
    member.subscribe(["orders"])
    read = 0
    while read < 17:
        message = member.poll(10)
        assert message is not None, "the member read nothing for 10 s"
        read += message.error() is None
    member.commit(offsets=[TopicPartition("orders", 0, 4), TopicPartition("orders", 1, 7)], asynchronous=False)
    truth = member.committed([TopicPartition("orders", number) for number in range(3)], timeout=10)
    ends = [member.get_watermark_offsets(TopicPartition("orders", number), timeout=10) for number in range(3)]

    alive = client(own_kafka).read_group("shipping", [], 5)
    member.close()
    left = wait_until(
        lambda: (found := client(own_kafka).read_group("shipping", ["orders"], 5)).state == "EMPTY" and found, "EMPTY"
    )

    expected = [
        (one.partition, one.offset if one.offset >= 0 else None, low, high)
        for one, (low, high) in zip(truth, ends, strict=True)
    ]
    assert [(0, 4, 0, 10), (1, 7, 0, 7), (2, None, 0, 0)] == expected
    for group in (alive, left):
        assert expected == [(p.partition, p.committed, p.earliest, p.latest) for p in group.partitions]
        assert () == group.not_known
    assert (("STABLE", 1), ("EMPTY", 0)) == ((alive.state, alive.members), (left.state, left.members))


def test_a_commit_is_never_beyond_the_end_that_is_read_after_it(own_kafka: Kafka) -> None:
    """A consumer that is level with a fast producer: reading the ends first would show commits beyond them."""
    create_topic(own_kafka, "busy")
    commit(own_kafka, "level", "busy", {0: 0})
    stop = threading.Event()

    def produce_and_commit() -> None:
        producer = Producer({"bootstrap.servers": own_kafka.bootstrap, "linger.ms": 0}, logger=SILENT)
        consumer = consumer_of(own_kafka, "level")
        offset = 0
        while not stop.is_set():
            producer.produce("busy", b"x", partition=0)
            producer.flush(10)
            offset += 1
            consumer.commit(offsets=[TopicPartition("busy", 0, offset)], asynchronous=False)
        consumer.close()

    worker = threading.Thread(target=produce_and_commit)
    worker.start()
    try:
        kafka = client(own_kafka)
        seen = [kafka.read_group("level", ["busy"], 5).partitions[0] for _ in range(40)]
    finally:
        stop.set()
        worker.join()

    assert seen[-1].committed > seen[0].committed, "nothing was committed meanwhile"
    assert [] == [(p.committed, p.latest) for p in seen if p.committed > p.latest]


def test_a_tail_that_ends_with_transaction_markers_is_read_by_its_end_not_by_count(own_kafka: Kafka) -> None:
    """Committed records only, no waiting for the offsets of markers and aborted records."""
    create_topic(own_kafka, "payments")
    producer = Producer({"bootstrap.servers": own_kafka.bootstrap, "transactional.id": "payments"}, logger=SILENT)
    wait_until(lambda: _initialised(producer), "the transaction coordinator")
    for keep in (True, False):
        producer.begin_transaction()
        for number in range(3):
            producer.produce("payments", b"%d" % number, partition=0)
        producer.flush(10)
        producer.commit_transaction(10) if keep else producer.abort_transaction(10)

    started = time.monotonic()
    sample = client(own_kafka).sample_tail("payments", 100, 10)

    assert [0, 1, 2] == [record.offset for record in sample.records]
    assert (8, ()) == (sample.offsets.end_total, sample.not_known)  # two markers, three aborted records
    assert time.monotonic() - started < 5


def _initialised(producer: Producer) -> bool:
    try:
        producer.init_transactions(5)
    except KafkaException:
        return False
    return True


def test_the_tail_of_an_empty_topic_is_empty_at_once(own_kafka: Kafka) -> None:
    """No dead letters is an answer, not a wait."""
    create_topic(own_kafka, "dlq.empty", 4)

    started = time.monotonic()
    sample = client(own_kafka).sample_tail("dlq.empty", 100, 10)

    assert ((), 0, ()) == (sample.records, sample.offsets.records, sample.not_known)
    assert time.monotonic() - started < 2


def test_sampling_leaves_no_group_behind(own_kafka: Kafka) -> None:
    """Nothing is joined and nothing committed: the broker has never heard of the sampler."""
    create_topic(own_kafka, "dlq.sampled", 2)
    produce(own_kafka, "dlq.sampled", 3)
    client(own_kafka).sample_tail("dlq.sampled", 10, 5)

    listed = own_kafka.admin().list_consumer_groups(request_timeout=10).result(timeout=10).valid
    assert "cdc-oncall-tail-sample" not in {group.group_id for group in listed}


def test_a_stopped_sink_is_told_at_two_looks(own_kafka: Kafka) -> None:
    """The group is empty, its commits are frozen, and the lag grows: the headline asks the right question."""
    create_topic(own_kafka, "sunk")
    produce(own_kafka, "sunk", 20)
    commit(own_kafka, "connect-sunk", "sunk", {0: 5})
    sink = ConsumerGroup("connect-sunk", GroupKind.CONNECT_SINK, topics=("sunk",))

    def wait(seconds: float) -> None:
        produce(own_kafka, "sunk", 30)
        time.sleep(seconds)

    finding = finding_of(look_at(Sources(client(own_kafka), wait=wait), Watched(sink)), now())

    assert "UNKNOWN" == finding.verdict  # 30 s without members prove it, not 2
    assert finding.headline.startswith("lag 45, nothing committed for ")
    assert finding.headline.endswith(" s, no members: is the sink running?")


@pytest.mark.parametrize("ask", ["read_topic", "read_group", "read_all", "sample_tail"])
def test_a_broker_that_went_away_is_unreachable_within_the_deadline(gone: ConfluentKafka, ask: str) -> None:
    """The client was connected before: what it knows of the broker must not let it wait."""
    calls: Mapping[str, Callable[[], object]] = {
        "read_topic": lambda: gone.read_topic("orders", 1.0),
        "read_group": lambda: gone.read_group("shipping", ["orders"], 1.0),
        "read_all": lambda: gone.read_group("shipping", [], 1.0),
        "sample_tail": lambda: gone.sample_tail("orders", 10, 1.0),
    }

    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"Kafka at 127\.0\.0\.1:\d+: no answer to "):
        calls[ask]()

    assert time.monotonic() - started < 1.6


@pytest.fixture(scope="module")
def gone(available: Available, scratch: Path) -> ConfluentKafka:
    """A client that has talked to a broker which then died."""
    _need(available, "java", "kafka")
    with Kafka(available, scratch / "gone-kafka") as kafka:
        talked = client(kafka)
        create_topic(kafka, "orders", 2)
        assert 0 == talked.read_topic("orders", 5).end_total
    return talked


# --- Kafka with access control ---------------------------------------------------------------------


def allow(kafka: SecuredKafka, operation: AclOperation, resource: ResourceType, name: str) -> None:
    binding = AclBinding(
        resource, name, ResourcePatternType.LITERAL, "User:cdc-oncall", "*", operation, AclPermissionType.ALLOW
    )
    admin = kafka.admin()  # kept while its futures run
    for future in admin.create_acls([binding]).values():
        future.result(timeout=10)


@pytest.fixture(scope="module")
def secured(available: Available, scratch: Path) -> Iterator[SecuredKafka]:
    """A secured Kafka with a topic and a group that has committed."""
    _need(available, "java", "kafka")
    folder = scratch / "secured-kafka"
    with SecuredKafka(available, folder, Certificates(folder / "certificates")) as kafka:
        admin = kafka.admin()
        for future in admin.create_topics([NewTopic("orders", 1, 1)]).values():
            future.result(timeout=30)
        producer = Producer(kafka.admin_settings(), logger=SILENT)
        producer.produce("orders", b"x")
        assert 0 == producer.flush(30)
        yield kafka


def test_a_user_without_any_permission_is_told_which_one_it_lacks(secured: SecuredKafka) -> None:
    """The on-call forwards the sentence to whoever grants it."""
    kafka = ConfluentKafka(secured.settings(), now)

    with pytest.raises(Denied, match="needs the ACL DESCRIBE on topic orders"):
        kafka.read_topic("orders", 5)
    with pytest.raises(Denied, match="needs the ACL READ on topic orders"):
        kafka.sample_tail("orders", 5, 5)
    with pytest.raises(Denied, match="needs the ACL DESCRIBE on group shipping"):
        kafka.read_group("shipping", [], 5)
    with pytest.raises(Denied, match="needs the ACL READ on topic orders"):
        kafka.holds_record({("orders", 0): 0}, 5)
    retention = kafka.read_retention(["orders"], 5)["orders"]
    assert isinstance(retention, Denied)
    assert str(retention).endswith("needs the ACL DESCRIBE_CONFIGS on topic orders")


def test_many_groups_lack_each_its_own_permission(secured: SecuredKafka) -> None:
    """Read in one pass, by the process that reads many: each names the ACL of its own group."""
    groups = [f"hidden-{number}" for number in range(FEW_GROUPS + 1)]

    answers = ConfluentKafka(secured.settings(), now).read_groups(dict.fromkeys(groups, ()), 5)

    for group in groups:
        assert isinstance(answers[group], Denied)
        assert str(answers[group]).endswith(f"needs the ACL DESCRIBE on group {group}")


def test_a_lacking_permission_is_one_line_beside_what_can_be_seen(secured: SecuredKafka) -> None:
    """With DESCRIBE on the topic alone: its ends are known, the commits and the records are not."""
    allow(secured, AclOperation.DESCRIBE, ResourceType.TOPIC, "orders")
    kafka = ConfluentKafka(secured.settings(), now)
    wait_until(lambda: _answered(lambda: kafka.read_topic("orders", 5)), "the permission took effect")

    group = kafka.read_group("shipping", ["orders"], 5)
    sample = kafka.sample_tail("orders", 5, 5)
    watched = Watched(ConsumerGroup("shipping", topics=("orders",)))
    finding = finding_of(look_at(Sources(kafka), watched), now())

    assert [(None, False, 1)] == [(p.committed, p.committed_known, p.latest) for p in group.partitions]
    assert 1 == len(group.not_known)
    assert group.not_known[0].endswith("was refused: needs the ACL DESCRIBE on group shipping")
    assert ((), ("records of orders/0: needs the ACL READ on topic orders",)) == (sample.records, sample.not_known)
    assert 1 == sum("needs the ACL" in line for line in finding.not_known)


def _answered(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except Denied:
        return False
    return True


def test_a_wrong_password_is_denied_and_not_shown(secured: SecuredKafka) -> None:
    """A rotated secret is no outage."""
    with pytest.raises(Denied) as raised:
        ConfluentKafka(secured.settings(password="hunter2"), now).read_topic("orders", 2)

    assert "hunter2" not in str(raised.value)


# --- the registry's topic --------------------------------------------------------------------------


class UndatedRegistry:
    """A registry before Confluent 8: two versions, no times."""

    def read_subject(self, subject: str, newest: int, deadline_s: float) -> SubjectState:
        text = json.dumps({"type": "record", "name": "r", "fields": []})
        versions = tuple(SchemaVersion(subject, number, number + 5, "AVRO", text) for number in (1, 2))
        return SubjectState(subject, "BACKWARD", "READWRITE", versions, (1, 2))

    def read_schema(self, schema_id: int, deadline_s: float) -> str:
        raise Missing("not asked for")


def test_the_schemas_topic_dates_the_versions_of_a_registry_that_does_not(own_kafka: Kafka) -> None:
    """Compacted, one partition, records as Confluent writes them; read without a group and without a commit."""
    kafka = client(own_kafka)
    first_seen = {("s", 2): now()}
    before = schema_of(Sources(kafka, UndatedRegistry(), first_seen=first_seen), "s", now)
    create_topic(own_kafka, "_schemas", config={"cleanup.policy": "compact"})
    at = now() - timedelta(hours=3)
    producer = Producer({"bootstrap.servers": own_kafka.bootstrap}, logger=SILENT)
    for key, value in (
        ({"keytype": "NOOP", "magic": 0}, None),
        ({"keytype": "SCHEMA", "subject": "s", "version": 1, "magic": 1}, {"version": 1, "id": 6, "deleted": False}),
        ({"keytype": "CONFIG", "subject": "s", "magic": 0}, {"compatibilityLevel": "BACKWARD"}),
        ({"keytype": "SCHEMA", "subject": "s", "version": 2, "magic": 1}, {"version": 2, "id": 7, "deleted": False}),
        ({"keytype": "SCHEMA", "subject": "s", "version": 9, "magic": 1}, None),
        ({"keytype": "NOOP", "magic": 0}, None),
    ):
        written = None if value is None else json.dumps({"subject": "s", "schema": "{}", **value}).encode()
        producer.produce("_schemas", written, json.dumps(key).encode(), timestamp=int(at.timestamp() * 1000))
    assert 0 == producer.flush(30)

    after = schema_of(Sources(kafka, UndatedRegistry(), first_seen=first_seen), "s", now)

    assert before.headline.startswith("newest version 2, first seen by the bot ")
    assert () == before.not_known
    assert f"version 2: registered {at:%Y-%m-%dT%H:%M:%SZ}, by the _schemas topic" == after.evidence[0]


def test_apicurio_is_read_like_any_registry(registry: Registry) -> None:
    """Versions, level and the 404 of an unknown subject, through its Confluent API."""
    subject = "clients-value"
    http = JsonHttp(registry.ccompat_url)
    for fields in ([], [{"name": "tier", "type": "string", "default": ""}]):
        schema = json.dumps({"type": "record", "name": "c", "fields": fields})
        http.post(f"/subjects/{subject}/versions", 10, body={"schema": schema})

    state = HttpSchemaRegistry(http).read_subject(subject, 5, 10)

    assert ([1, 2], None) == ([one.version for one in state.versions], state.versions[-1].registered_at)
    assert json.loads(HttpSchemaRegistry(http).read_schema(state.versions[-1].schema_id, 10))["fields"]
    with pytest.raises(Missing, match="no subject typo"):
        HttpSchemaRegistry(http).read_subject("typo", 1, 10)


# --- Connect -----------------------------------------------------------------------------------------


def test_connect_is_read_and_its_failed_tasks_are_restarted(connect: Connect, kafka: Kafka, scratch: Path) -> None:
    """A sink whose file cannot be made fails; once the folder is there, a restart runs, and the client says so."""
    name, folder = "clients-file-sink", scratch / "not-there-yet"
    create_topic(kafka, "clients.files")
    config = {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "tasks.max": "1",
        "topics": "clients.files",
        "file": str(folder / "out.txt"),
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
    }
    requests.put(f"{connect.url}/connectors/{name}/config", json=config, timeout=30).raise_for_status()
    port = HttpConnect(JsonHttp(connect.url))
    sources = Sources(client(kafka), None, port)
    try:
        wait_until(lambda: _states(port, name) == ["FAILED"], "the task failed")
        failed = connector_of(sources, name, now, ["clients.files"])
        planned = restart_failed_tasks.plan(failed, Pipeline("files", "#cdc"))
        assert (Status.RED, "FAILED") == (failed.status, failed.verdict)
        assert f"task 0 FAILED: NoSuchFileException: {folder / 'out.txt'}" == failed.headline
        assert isinstance(planned, Plan)
        assert f"Restart task 0 of {name}" == planned.summary

        folder.mkdir()
        produce(kafka, "clients.files", 3)
        outcome = restart_failed_tasks.run(port, planned, 10)
        assert outcome.succeeded
        assert outcome.detail.startswith(f"Connect answered: accepted: {name} RUNNING, restarting task 0")
        wait_until(lambda: _states(port, name) == ["RUNNING"], "the task runs")
        assert restart_failed_tasks.still_holds(connector_of(sources, name, now, ["clients.files"]))
        wait_until(
            lambda: connector_of(sources, name, now, ["clients.files"]).facts["delivered_total"] == 3, "3 delivered"
        )
        assert config["topics"] == port.read_connector(name, 10).config["topics"]
        assert name in {one.connector for one in port.read_connectors(10)}
    finally:
        requests.delete(f"{connect.url}/connectors/{name}", timeout=30)


def _states(port: HttpConnect, name: str) -> list[str]:
    try:
        return [task.state for task in port.read_connector(name, 10).tasks]
    except PortError:  # 404 for a moment after its creation, 409 while the worker rebalances
        return []


def test_an_unknown_connector_is_missing_for_reading_and_for_restarting(connect: Connect) -> None:
    """In Connect's own words, and nothing is retried."""
    port = HttpConnect(JsonHttp(connect.url))

    for ask in (lambda: port.read_connector("typo", 10), lambda: port.restart_failed("typo", 10)):
        with pytest.raises(Missing, match="no connector typo"):
            ask()


def test_a_connect_worker_that_is_another_service_says_so(registry: Registry) -> None:
    """The registry's address in the place of Connect's."""
    with pytest.raises(PortError, match=r"is this the right address|answered 404"):
        HttpConnect(JsonHttp(registry.url)).read_connectors(10)


# --- Alertmanager ------------------------------------------------------------------------------------


def test_alertmanager_lists_a_silenced_alert_and_knows_the_silence(
    new_alertmanager: Callable[[str], Alertmanager],
) -> None:
    """Created, seen active, its alert still listed as suppressed, then expired; a strange label does not escape."""
    alertmanager = new_alertmanager(alertmanager_config("http://127.0.0.1:1/none", "t"))
    port = HttpAlertmanager(JsonHttp(alertmanager.url))
    alertmanager.post_alerts(
        {"labels": {"alertname": "Lag", "pipeline": 'a "quoted"\\ name'}},
        {"labels": {"alertname": "Lag", "pipeline": "orders"}},
    )
    strange = Matcher("pipeline", 'a "quoted"\\ name')
    wait_until(lambda: len(port.read_alerts([Matcher("alertname", "Lag")], 5)) == 2, "two alerts")

    (alert,) = port.read_alerts([strange], 5)
    silence = port.create_silence([strange], now(), now() + timedelta(minutes=5), "ana", "INC-1: known", 5)
    wait_until(lambda: port.read_silence(silence, 5) == "active", "the silence is active")
    wait_until(lambda: port.read_alerts([strange], 5)[0].state == "suppressed", "the alert is suppressed")

    assert ("active", ("cdc-oncall",)) == (alert.state, alert.receivers)
    assert (silence,) == port.read_alerts([strange], 5)[0].silenced_by
    assert "active" == port.read_alerts([Matcher("pipeline", "orders|x", is_regex=True)], 5)[0].state
    requests.delete(f"{alertmanager.url}/api/v2/silence/{silence}", timeout=5).raise_for_status()
    wait_until(lambda: port.read_silence(silence, 5) == "expired", "the silence is expired")


def test_alertmanager_refuses_in_its_own_words(new_alertmanager: Callable[[str], Alertmanager]) -> None:
    """An unknown silence, a silence in the past, a matcher that is no regular expression; down, nothing was sent."""
    alertmanager = new_alertmanager(alertmanager_config("http://127.0.0.1:1/none", "t"))
    port = HttpAlertmanager(JsonHttp(alertmanager.url))
    lag = Matcher("alertname", "Lag")

    with pytest.raises(Missing, match="no silence 00000000"):
        port.read_silence("00000000-0000-4000-8000-000000000000", 5)
    with pytest.raises(Rejected, match="past"):
        port.create_silence([lag], now() - timedelta(hours=2), now() - timedelta(hours=1), "ana", "why", 5)
    with pytest.raises(Rejected):
        port.read_alerts([Matcher("alertname", "(", is_regex=True)], 5)

    alertmanager.stop()
    with pytest.raises(Unreachable, match="refused the connection") as raised:
        port.create_silence([lag], now(), now() + timedelta(hours=1), "ana", "why", 5)
    assert raised.value.sent is False
