"""`cdc doctor --permissions` on a real Kafka with its authorizer on: the least is enough, and it is the least.

The printed script is run as it stands, with Kafka's own `kafka-acls` behind the command's name. Then every probe runs
as `User:cdc-oncall`; then each ACL alone is taken away, and exactly the probes it was printed for say so. An optional
one is missed aloud where it would have been used: both groups with unread data have a short tail.
"""

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from bot.clients.kafka import ConfluentKafka
from bot.config import load
from bot.model import Finding, Status
from bot.ports import ConnectorState, Missing, SchemaVersion, SubjectState, TaskState
from bot.probes.sources import Sources
from bot.probes.table import PROBES
from tests.system.conftest import _need
from tests.system.fetch import Available
from tests.system.parts import Certificates, SecuredKafka, wait_until
from tests.system.walk import run_cdc

PRINCIPAL = "User:cdc-oncall"
CONFIG = """
kafka:
  bootstrap: {bootstrap}
  config:
    security.protocol: SASL_PLAINTEXT
    sasl.mechanism: PLAIN
    sasl.username: cdc-oncall
    sasl.password: ${{KAFKA_PASSWORD}}
registry: {{url: "http://127.0.0.1:1"}}
connect: {{url: "http://127.0.0.1:1"}}
pipelines:
  customers:
    source: {{connector: customers-source}}
    topics: [customers]
    subjects: [customers-value]
    consumers: [{{group: customers_canonical, kind: flink}}]
    sink: {{connector: customers-sink, dlq: dlq.customers}}
  orders:
    consumers: [{{group: shipping, topics: [orders]}}]
"""
ENVIRON = {"KAFKA_PASSWORD": "oncall-secret"}

Grant = dict[str, Any]


class Secured:
    """The broker with what two pipelines use, and what the bot prints for them."""

    def __init__(self, kafka: SecuredKafka, folder: Path) -> None:
        self.kafka = kafka
        self.config = folder / "cdc.yml"
        self.config.write_text(CONFIG.format(bootstrap=kafka.sasl))
        self._fill()
        self.script = self._printed()
        self.grants: list[Grant] = json.loads(self._printed("--json"))
        self.admin = kafka.admin()
        self.before: dict[str, list[Finding]] = {}
        self.optional = {one["grant"] for one in self.grants if one["system"] == "kafka" and one["optional"]}

    def run_script(self, script: str) -> None:
        """Run it as a person would, beside an admin.properties."""
        programs = self.kafka.tool("kafka-acls", "org.apache.kafka.tools.AclCommand")
        self.kafka.command_config()
        ran = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=self.kafka.folder,
            env={"PATH": f"{programs}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert 0 == ran.returncode, ran.stdout + ran.stderr

    def acls(self) -> set[str]:
        """Return the ACLs of the bot's user as its probes word them."""
        found = self.admin.describe_acls(_any(PRINCIPAL)).result(timeout=10)
        return {f"{one.operation.name} on {one.restype.name.lower()} {one.name}" for one in found}

    def take_away(self, grant: str) -> None:
        operation, resource, name = _parsed(grant)
        only = AclBindingFilter(
            resource, name, ResourcePatternType.LITERAL, PRINCIPAL, "*", operation, AclPermissionType.ALLOW
        )
        for future in self.admin.delete_acls([only]).values():
            assert 1 == len(future.result(timeout=10))

    def give(self, grant: str) -> None:
        operation, resource, name = _parsed(grant)
        one = AclBinding(
            resource, name, ResourcePatternType.LITERAL, PRINCIPAL, "*", operation, AclPermissionType.ALLOW
        )
        for future in self.admin.create_acls([one]).values():
            future.result(timeout=10)

    def _printed(self, *options: str) -> str:
        return run_cdc("-c", str(self.config), "doctor", "--permissions", *options).stdout

    def _fill(self) -> None:
        """A group that is level, one that is one record behind, a sink with a short unread tail, a registry's topic."""
        admin, settings = self.kafka.admin(), self.kafka.admin_settings()
        topics = [NewTopic(name, 1, 1) for name in ("customers", "orders", "dlq.customers", "_schemas")]
        for future in admin.create_topics(topics).values():
            future.result(timeout=30)
        producer = Producer({**settings, "log_level": 0})
        for topic, count in (("customers", 20), ("orders", 5), ("dlq.customers", 3)):
            for number in range(count):
                producer.produce(topic, b"%d" % number)
        key = b'{"keytype":"SCHEMA","subject":"customers-value","version":2,"magic":1}'
        producer.produce("_schemas", key=key, value=b'{"subject":"customers-value","version":2,"id":7}')
        assert 0 == producer.flush(30)
        for group, topic, offset in (
            ("customers_canonical", "customers", 20),
            ("connect-customers-sink", "customers", 15),
            ("shipping", "orders", 4),
        ):
            consumer = Consumer({**settings, "group.id": group})
            consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
            consumer.close()


class RunningConnect:
    """Connectors that run: what they delivered is Kafka's to say."""

    def read_connector(self, name: str, deadline_s: float) -> ConnectorState:
        kind = "sink" if name.endswith("sink") else "source"
        return ConnectorState(name, kind, "RUNNING", "w:1", None, (TaskState(0, "RUNNING", "w:1"),))

    def read_connectors(self, deadline_s: float) -> tuple[ConnectorState, ...]:
        raise Missing("not asked for")

    def read_connector_topics(self, name: str, deadline_s: float) -> tuple[str, ...]:
        raise Missing("not asked for")

    def restart_failed(self, name: str, deadline_s: float) -> str:
        raise Missing("not asked for")


class UndatedRegistry:
    """A registry before Confluent 8: two versions, no times."""

    def read_subject(self, subject: str, newest: int, deadline_s: float) -> SubjectState:
        text = json.dumps({"type": "record", "name": "r", "fields": []})
        versions = tuple(SchemaVersion(subject, number, number + 5, "AVRO", text) for number in (1, 2))
        return SubjectState(subject, "BACKWARD", "READWRITE", versions, (1, 2))

    def read_schema(self, schema_id: int, deadline_s: float) -> str:
        raise Missing("not asked for")

    def read_subjects(self, deadline_s: float) -> tuple[str, ...]:
        raise Missing("not asked for")


@pytest.fixture(scope="module")
def secured(available: Available, scratch: Path) -> Iterator[Secured]:
    """The broker as super user set it up: the bot's user may do nothing yet."""
    _need(available, "java", "kafka")
    folder = scratch / "permissions"
    with SecuredKafka(available, folder, Certificates(folder / "certificates")) as kafka:
        yield Secured(kafka, folder)


@pytest.fixture(scope="module")
def granted(secured: Secured) -> Secured:
    """The same after the printed script was run; `secured.before` is what the probes found without it."""
    secured.before = probed(secured)
    secured.run_script(secured.script)
    wait_until(lambda: not lacking_required(secured), "the permissions took effect")
    return secured


def probed(secured: Secured) -> dict[str, list[Finding]]:
    """Return what each probe finds for both pipelines as the bot's user."""
    config = load(secured.config)
    assert config.kafka is not None
    kafka = ConfluentKafka(config.kafka.client_settings(ENVIRON), now)
    sources = Sources(kafka, UndatedRegistry(), RunningConnect(), wait=lambda _: None)
    return {
        name: [finding for pipeline in config.pipelines for finding in probe(sources, pipeline, now)]
        for name, probe in PROBES.items()
    }


def lacking(found: dict[str, list[Finding]], grant: str = "") -> set[str]:
    """Return the probes that say that they need an ACL, or this one."""
    words = f"needs the ACL {grant}"
    return {
        name for name, findings in found.items() for one in findings if any(words in line for line in one.not_known)
    }


def lacking_required(secured: Secured, found: dict[str, list[Finding]] | None = None) -> set[str]:
    """Return the probes that say that they need an ACL which is not optional."""
    return {
        name
        for name, findings in (found or probed(secured)).items()
        for one in findings
        for line in one.not_known
        if "needs the ACL" in line and not any(line.endswith(f"needs the ACL {grant}") for grant in secured.optional)
    }


def misses(secured: Secured, grant: str) -> set[str]:
    return lacking(probed(secured), grant)


def now() -> datetime:
    return datetime.now(UTC)


def test_without_any_permission_the_probes_say_what_they_lack(granted: Secured) -> None:
    """Kafka hides what may not be described: the words name the ACL, not an unknown topic; nothing looks healthy."""
    assert {"consumer_lag", "dead_letters", "connector_state"} == lacking(granted.before)
    assert {Status.UNKNOWN} == {one.status for name in ("consumer_lag", "dead_letters") for one in granted.before[name]}


def test_every_probe_runs_under_the_printed_permissions(granted: Secured) -> None:
    """Nothing is refused; the script granted what `--json` lists, and no more."""
    found = probed(granted)

    assert {
        one["grant"] for one in granted.grants if one["system"] == "kafka" and not one["optional"]
    } == granted.acls()
    assert set() == lacking_required(granted, found)
    assert {"customers_canonical": 0, "connect-customers-sink": 5, "shipping": 1} == {
        one.target: one.facts["lag_records"] for one in found["consumer_lag"]
    }
    assert [(3, 15)] == [(one.facts["records"], one.facts["processed_total"]) for one in found["dead_letters"]]
    assert [20, 15] == [one.facts["delivered_total"] for one in found["connector_state"]]


def test_without_one_permission_exactly_its_features_say_so(granted: Secured) -> None:
    """What is printed is the least: each ACL is missed by the probes that it is printed for, and by no other."""
    kafka = [one for one in granted.grants if one["system"] == "kafka" and not one["optional"]]
    missed = {}
    for one in kafka:
        granted.take_away(one["grant"])
        missing = partial(misses, granted, one["grant"])
        wait_until(missing, f"somebody misses {one['grant']}")
        missed[one["grant"]] = lacking_required(granted)
        granted.give(one["grant"])
        wait_until(lambda: not lacking_required(granted), f"nobody misses {one['grant']} any more")

    assert {one["grant"]: set(one["needed_by"]) for one in kafka} == missed
    assert 8 == len(kafka)


def test_the_optional_permission_dates_the_versions(granted: Secured) -> None:
    """Without it nothing is refused aloud and the time is not known; with the line's `#` taken away it is."""
    (before,) = probed(granted)["schema_changes"]
    (line,) = [line for line in granted.script.splitlines() if line.startswith("# kafka-acls") and "_schemas" in line]
    granted.run_script(line.removeprefix("# "))
    after = wait_until(
        lambda: (found := probed(granted)["schema_changes"][0]).facts["versions"][-1]["registered_at"] and found,
        "the version is dated",
    )
    granted.take_away("READ on topic _schemas")

    assert None is before.facts["versions"][-1]["registered_at"]
    assert "the _schemas topic" == after.facts["versions"][-1]["registered_by"]


def test_reading_the_topics_is_optional_and_shows_what_a_tail_holds(granted: Secured) -> None:
    """Without it the lag probe names the permission for each topic with a short tail; with the `#` taken away none."""
    before = probed(granted)
    (line,) = [line for line in granted.script.splitlines() if line.startswith("# kafka-acls") and "orders" in line]
    granted.run_script(line.removeprefix("# "))
    wait_until(lambda: not lacking(probed(granted)), "nothing is missed")
    for topic in ("customers", "orders"):
        granted.take_away(f"READ on topic {topic}")

    for topic in ("customers", "orders"):
        assert {"consumer_lag"} == lacking(before, f"READ on topic {topic}")
    assert {"READ on topic customers", "READ on topic orders", "READ on topic _schemas"} == granted.optional


def _parsed(grant: str) -> tuple[AclOperation, ResourceType, str]:
    operation, _, rest = grant.partition(" on ")
    resource, _, name = rest.partition(" ")
    return AclOperation[operation], ResourceType[resource.upper()], name


def _any(principal: str) -> AclBindingFilter:
    return AclBindingFilter(
        ResourceType.ANY,
        None,
        ResourcePatternType.ANY,
        principal,
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
