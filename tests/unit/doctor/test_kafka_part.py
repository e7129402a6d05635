"""`cdc doctor`, Kafka: each line from both sides; the errors are those that tests/system/test_secured.py hears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from bot.doctor.check import Check
from bot.doctor.kafka import KafkaFacts, Tried, gather, judge
from bot.doctor.permissions import KafkaNeed, kafka_needs
from bot.model import ConsumerGroup, GroupKind, GroupOffsets, Pipeline, Retention, Sink
from bot.ports import Denied, KafkaBrokers, Missing, PortError, TailSample, TopicOffsets, Unreachable

WHERE = "kafka:9092"
BROKERS = KafkaBrokers("abc", 3)
TOPIC = KafkaNeed("DESCRIBE", "topic", "customers", ("consumer_lag",), ("p",), "pipelines.p.topics", "lag")
GROUP = KafkaNeed(
    "DESCRIBE", "group", "app", ("consumer_lag",), ("p",), "pipelines.p.consumers[0].group", "lag", ("customers",)
)
DLQ = KafkaNeed("READ", "topic", "dlq", ("dead_letters",), ("p",), "pipelines.p.sink.dlq", "the DLQ")
SCHEMAS = KafkaNeed(
    "READ", "topic", "_schemas", ("schema_changes",), ("p",), "pipelines.p.subjects", "times", optional=True
)
PIPELINE = Pipeline(
    "p", "#c", topics=("customers",), subjects=("s",), consumers=(ConsumerGroup("app", GroupKind.FLINK),),
    sink=Sink("sink", dlq="dlq"),
)  # fmt: skip

NO_ANSWER = f"Kafka at {WHERE}: no answer to `cluster` within 4 s"
AT = f"{WHERE}/bootstrap"
UNVERIFIED = (
    f"sasl_ssl://{AT}: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker "
    "certificate could not be verified, verify that ssl.ca.location is correctly configured"
)


def lines(error: PortError, **security: str) -> Check:
    """Return the one line of a cluster that was not reached."""
    named = {name.replace("_", "."): value for name, value in security.items()}
    (line,) = judge(KafkaFacts(WHERE, named, error=error))
    return line


@pytest.mark.parametrize(
    ("security", "error", "what", "remedy"),
    [
        (
            {},
            Unreachable(f"{NO_ANSWER}: the broker closed the connection at the first request: does it want SASL?"),
            "wants a login (SASL)",
            '`kafka: {config: {security.protocol: SASL_PLAINTEXT, sasl.mechanism: PLAIN, sasl.username: "${KAFKA_',
        ),
        (
            {"security_protocol": "SSL"},
            Unreachable(f"{NO_ANSWER}: the broker closed the connection at the first request: does it want SASL?"),
            "wants a login (SASL)",
            "security.protocol: SASL_SSL,",
        ),
        (
            {},
            Unreachable(f"{NO_ANSWER}: the broker closed the connection at the first bytes: does the port speak TLS?"),
            "the port speaks TLS and is asked in plain",
            "`kafka: {config: {security.protocol: SSL, ssl.ca.location: /etc/cdc-oncall/ca.pem}}`",
        ),
        (
            {"security_protocol": "SASL_PLAINTEXT"},
            Unreachable(f"{NO_ANSWER}: the broker closed the connection at the first bytes: does the port speak TLS?"),
            "the port speaks TLS and is asked in plain",
            "security.protocol: SASL_SSL,",
        ),
        (
            {"security_protocol": "SASL_SSL"},
            Unreachable(f"{NO_ANSWER}: Disconnected: closed by peer: connecting to a PLAINTEXT broker listener?"),
            "does not speak TLS",
            "security.protocol: SASL_PLAINTEXT}",
        ),
        (
            {"security_protocol": "SSL"},
            Unreachable(f"{NO_ANSWER}: Receive failed: SSL routines::tlsv13 alert certificate required: SSL alert 116"),
            "wants a client certificate (mTLS)",
            "ssl.certificate.location: /etc/cdc-oncall/client.pem, ssl.key.location:",
        ),
        (
            {"security_protocol": "SASL_SSL"},
            Unreachable(f"{NO_ANSWER}: {UNVERIFIED}"),
            "signed by a CA that is not trusted here",
            "`kafka: {config: {ssl.ca.location: /etc/cdc-oncall/ca.pem}}`",
        ),
        (
            {"security_protocol": "SASL_SSL"},
            Unreachable(f"{NO_ANSWER}: {UNVERIFIED} [Hostname mismatch, certificate is not valid for 'kafka'.]"),
            "for another host name",
            "kafka.bootstrap the name that the certificate is for",
        ),
        (
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"},
            Denied("SASL PLAIN mechanism handshake failed: Unsupported SASL mechanism: broker's supported mechanisms: "
                   "PLAIN,SCRAM-SHA-512"),
            "does not offer this SASL mechanism",
            "`kafka: {config: {sasl.mechanism: SCRAM-SHA-512}}`",
        ),
        (
            {"security_protocol": "SASL_SSL"},
            Denied("SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state: broker's"),
            "takes no login (SASL)",
            "security.protocol: SSL}",
        ),
        (
            {"security_protocol": "SASL_PLAINTEXT"},
            Denied("SASL authentication error: Authentication failed: Invalid username or password"),
            "does not take user and password",
            "sasl.username and sasl.password",
        ),
        (
            {"security_protocol": "SASL_PLAINTEXT"},
            Unreachable(f"Kafka at {WHERE}: the settings are refused: No provider for SASL mechanism GSSAPI"),
            "no sasl.mechanism says which",
            "`kafka: {config: {sasl.mechanism: PLAIN,",
        ),
        (
            {},
            Unreachable(f"Kafka at {WHERE}: the settings are refused: No such configuration property: sasl.mech"),
            "does not take kafka.config",
            "CONFIGURATION.md",
        ),
        (
            {},
            Unreachable(f"Kafka at {WHERE}: not asked: The secret file /s/kafka could not be read: No such file"),
            "a secret of kafka.config cannot be read",
            "Put the secret into that file",
        ),
        (
            {},
            Unreachable(f"{NO_ANSWER}: {AT}: Connect to ipv4#10.0.0.1:9092 failed: Connection refused"),
            "Connection refused",
            "kafka.bootstrap",
        ),
    ],
)  # fmt: skip
def test_what_keeps_the_bot_out_is_one_line_with_what_to_write(
    security: Mapping[str, str], error: PortError, what: str, remedy: str
) -> None:
    """What the matter is in words, librdkafka's own beside it, and the setting to write."""
    line = lines(error, **security)

    assert "failed" == line.status
    assert what in line.what
    assert remedy in line.remedy


def test_a_cluster_where_everything_is_allowed_is_two_lines() -> None:
    """Who it is, and what was tried."""
    tried = (Tried(TOPIC), Tried(DLQ), Tried(GROUP))

    assert [
        ("ok", "3 brokers at kafka:9092, cluster abc, PLAINTEXT"),
        ("ok", "what the probes ask is allowed: DESCRIBE on topic customers, READ on topic dlq, DESCRIBE on group app"),
    ] == [(line.status, line.what) for line in judge(KafkaFacts(WHERE, {}, BROKERS, tried=tried))]


@pytest.mark.parametrize(
    ("tried", "status", "what", "remedy"),
    [
        (
            Tried(TOPIC, Denied("`partitions` was refused: needs the ACL DESCRIBE on topic customers")),
            "failed",
            "pipelines.p.topics: topic customers needs the ACL DESCRIBE on topic customers (Kafka does not say then "
            "whether it exists): for consumer_lag",
            "--add --allow-principal User:cdc-oncall --operation Describe --topic customers`",
        ),
        (
            Tried(DLQ, not_known=("records of dlq/0: needs the ACL READ on topic dlq",)),
            "failed",
            "pipelines.p.sink.dlq: topic dlq needs the ACL READ on topic dlq",
            "--operation Read --topic dlq`",
        ),
        (
            Tried(GROUP, not_known=("`state of group app` was refused: needs the ACL DESCRIBE on group app",)),
            "failed",
            "pipelines.p.consumers[0].group: group app needs the ACL DESCRIBE on group app: for consumer_lag",
            "--operation Describe --group app`",
        ),
        (
            Tried(TOPIC, Missing("no topic customers")),
            "failed",
            "pipelines.p.topics: there is no topic customers at kafka:9092",
            "Correct pipelines.p.topics in cdc.yml, or create the topic.",
        ),
        (
            Tried(GROUP, Missing("no consumer group app on Kafka")),
            "warning",
            "pipelines.p.consumers[0].group: group app has never committed anything at kafka:9092",
            "start its consumer",
        ),
        (
            Tried(TOPIC, Unreachable("no answer to `partitions of topic customers` within 4 s")),
            "warning",
            "pipelines.p.topics: topic customers could not be tried: no answer",
            "Run `cdc doctor` again",
        ),
    ],
)
def test_what_a_probe_may_not_see_is_a_line_that_names_the_setting(
    tried: Tried, status: str, what: str, remedy: str
) -> None:
    """And what cannot be seen is not among what is allowed."""
    _, line = judge(KafkaFacts(WHERE, {}, BROKERS, tried=(tried,)))

    assert status == line.status
    assert line.what.startswith(what)
    assert remedy in line.remedy


def test_the_command_is_for_the_user_that_the_bot_logs_in_as() -> None:
    """With the login of somebody who may change ACLs beside it."""
    security = {"security.protocol": "SASL_SSL", "principal": "User:watcher"}

    (_, line) = judge(
        KafkaFacts(WHERE, security, BROKERS, tried=(Tried(TOPIC, Denied(f"needs the ACL {TOPIC.grant}")),))
    )

    assert "--command-config admin.properties --add --allow-principal User:watcher " in line.remedy


@pytest.mark.parametrize(
    ("tried", "said"),
    [
        (Tried(GROUP, Missing("no topic customers")), []),
        (Tried(GROUP, Denied("was refused: needs the ACL DESCRIBE on topic customers")), []),
        (Tried(SCHEMAS, Missing("no topic _schemas")), []),
        (Tried(SCHEMAS), []),
        (
            Tried(SCHEMAS, Denied("needs the ACL READ on topic _schemas")),
            ["not seen, and needed only where the registry itself keeps no times: READ on topic _schemas"],
        ),
    ],
)
def test_a_lack_is_told_once_and_an_optional_one_is_no_finding(tried: Tried, said: Sequence[str]) -> None:
    """A group whose topic is lacking is told at the topic; it is not said to be allowed either."""
    found = judge(KafkaFacts(WHERE, {}, BROKERS, tried=(tried,)))[1:]

    assert said == [line.what for line in found]
    assert {"ok"} >= {str(line.status) for line in found}


class Cluster:
    """Answers everything but what it is told to refuse; remembers what it was asked."""

    def __init__(self, error: PortError | None = None) -> None:
        self.error = error
        self.asked: list[tuple[object, ...]] = []

    def read_brokers(self, deadline_s: float) -> KafkaBrokers:
        if self.error:
            raise self.error
        return BROKERS

    def read_group(self, group: str, topics: Sequence[str], deadline_s: float) -> GroupOffsets:
        self.asked.append(("group", group, tuple(topics)))
        raise Missing(f"no consumer group {group}")

    def read_topic(self, topic: str, deadline_s: float) -> TopicOffsets:
        self.asked.append(("topic", topic))
        return TopicOffsets(topic, {})

    def sample_tail(self, topic: str, count: int, deadline_s: float) -> TailSample:
        self.asked.append(("tail", topic, count))
        return TailSample(topic, (), TopicOffsets(topic, {}))

    def read_retention(self, topics: Sequence[str], deadline_s: float) -> dict[str, Retention | PortError]:
        self.asked.append(("settings", *topics))
        return dict.fromkeys(topics, Retention(None, None))


def test_each_permission_is_tried_as_its_probe_uses_it() -> None:
    """Offsets of topics, one record of the DLQ, groups with the topics they are read with."""
    cluster = Cluster()

    facts = gather(cluster, cluster, WHERE, {}, (PIPELINE,), 1)

    assert [
        ("topic", "customers"),
        ("tail", "dlq", 1),
        ("settings", "customers"),
        ("group", "app", ("customers",)),
        ("group", "connect-sink", ("customers",)),
        ("tail", "customers", 1),
        ("tail", "_schemas", 1),
    ] == cluster.asked
    assert kafka_needs((PIPELINE,)) == tuple(tried.need for tried in facts.tried)


def test_a_topics_settings_that_may_not_be_seen_are_a_lack_with_its_command() -> None:
    """`kafka-acls` spells the operation in one word."""
    need = KafkaNeed("DESCRIBE_CONFIGS", "topic", "customers", ("consumer_lag",), ("p",), "pipelines.p.topics", "loss")
    denied = Denied("`settings of topic customers` was refused: needs the ACL DESCRIBE_CONFIGS on topic customers")

    (_, check) = judge(KafkaFacts(WHERE, {}, BROKERS, tried=(Tried(need, denied),)))

    assert "failed" == check.status
    assert "--operation DescribeConfigs --topic customers" in check.remedy


def test_reading_a_topic_is_optional_and_said_to_be() -> None:
    """A team that lets nobody read its records loses one feature, by name."""
    need = KafkaNeed("READ", "topic", "customers", ("consumer_lag",), ("p",), "x", "the tail", optional=True)
    tried = Tried(need, not_known=("records of customers/0: needs the ACL READ on topic customers",))

    (_, check) = judge(KafkaFacts(WHERE, {}, BROKERS, tried=(tried,)))

    assert ("ok", "not seen, and optional, for the tail: READ on topic customers") == (check.status, check.what)


def test_a_cluster_that_is_not_reached_is_asked_nothing_more() -> None:
    """One line, not one per topic."""
    cluster = Cluster(Unreachable("Connection refused"))

    assert 1 == len(judge(gather(cluster, cluster, WHERE, {}, (PIPELINE,), 1)))
    assert [] == cluster.asked
