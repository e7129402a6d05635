"""`ConfluentKafka` against librdkafka's own mock brokers: a real client, real sockets, no JVM."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from bot.clients.kafka import ConfluentKafka
from bot.clients.kafka_connection import Failures
from bot.ports import Missing, PortError, Unreachable

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
SILENT = logging.getLogger("tests.librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False

# A certificate of nobody, for a hundred years; its key was thrown away.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBejCCAR+gAwIBAgIUdS+EmTJYwSQY5YS9qrMEsFE3bXgwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGbm9ib2R5MCAXDTI2MTEyMzE2MTkyNVoYDzIxMjYxMDMwMTYx
OTI1WjARMQ8wDQYDVQQDDAZub2JvZHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATlHCb/OA07wjbQwc9c5/rAAmy9arJU/wgihl+vaFnfk5xcoAE4vzTeJQ4NiSaN
bP8jpVUrngxkA3cDzk0IDpvHo1MwUTAdBgNVHQ4EFgQUMAvvRkpabgf1eMqiPqF2
oImzBcIwHwYDVR0jBBgwFoAUMAvvRkpabgf1eMqiPqF2oImzBcIwDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAtfmjMzNv7qNO+FGlh8cFdPWGqqvx
4+nERWkLKxJPZ/wCIQCIXaZ/1/8QO/D2+KBqK3mziIpT8MVwrFkHDu6clgDD3g==
-----END CERTIFICATE-----
"""


@dataclass(frozen=True)
class Brokers:
    """Mock brokers; they live as long as the producer that started them."""

    bootstrap: str
    producer: Producer

    def kafka(self, **settings: str) -> ConfluentKafka:
        return ConfluentKafka({"bootstrap.servers": self.bootstrap, **settings}, now=lambda: AT)

    def produce(self, topic: str, per_partition: int, partitions: int = 4, **fields: object) -> None:
        for offset in range(per_partition):
            for partition in range(partitions):
                self.producer.produce(
                    topic,
                    partition=partition,
                    **{"value": b"v%d" % offset, "timestamp": 1_000 * (offset + 1), **fields},
                )
        assert 0 == self.producer.flush(10)

    def commit(self, group: str, topic: str, offsets: dict[int, int]) -> None:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group}, logger=SILENT)
        partitions = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        consumer.commit(offsets=partitions, asynchronous=False)
        consumer.close()

    def topics(self) -> set[str]:
        return set(self.producer.list_topics(timeout=5).topics)


@pytest.fixture(scope="module")
def brokers() -> Iterator[Brokers]:
    producer = Producer({"bootstrap.servers": "", "test.mock.num.brokers": 3}, logger=SILENT)
    found = producer.list_topics(timeout=5).brokers.values()
    yield Brokers(",".join(f"{broker.host}:{broker.port}" for broker in found), producer)


def test_reads_committed_and_log_ends_per_partition(brokers):
    """A partition without a commit has None, never 0, and does not count as lag."""
    brokers.produce("orders", 10)
    brokers.commit("shipping", "orders", {0: 10, 1: 4, 2: 0})

    group = brokers.kafka().read_group("shipping", ["orders"], 5)

    assert [(0, 10, 0, 10, 0), (1, 4, 0, 10, 6), (2, 0, 0, 10, 10), (3, None, 0, 10, None)] == [
        (p.partition, p.committed, p.earliest, p.latest, p.lag_records) for p in group.partitions
    ]
    assert all(p.committed_known and p.error is None for p in group.partitions)
    assert AT == group.at


def test_a_broker_that_cannot_describe_groups_leaves_state_and_members_unknown(brokers):
    """Librdkafka's mock brokers do not know DescribeGroups: one line of not known, offsets all the same."""
    brokers.produce("orders-2", 1)

    group = brokers.kafka().read_group("nobody", ["orders-2"], 5)

    assert (None, None) == (group.state, group.members)
    assert ("state of group nobody: this broker cannot list or describe groups",) == group.not_known
    assert 4 == len(group.partitions)


def test_without_topics_all_partitions_of_the_topics_it_committed_are_read(brokers):
    """The partition that it never committed is the one to worry about; topics it never read are left out."""
    brokers.produce("returns", 3)
    brokers.produce("unread", 1)
    brokers.commit("refunds", "returns", {0: 3, 1: 1})

    group = brokers.kafka().read_group("refunds", [], 5)

    assert [("returns", 0, 3), ("returns", 1, 1), ("returns", 2, None), ("returns", 3, None)] == [
        (p.topic, p.partition, p.committed) for p in group.partitions
    ]


def test_without_topics_and_without_commits_no_partitions_is_said_to_be_not_known(brokers):
    """No partitions is not "no lag"."""
    group = brokers.kafka().read_group("nobody", [], 5)

    assert () == group.partitions
    assert any("partitions of nobody: it has committed nothing" in line for line in group.not_known)


@pytest.mark.parametrize("ask", ["read_topic", "read_group", "sample_tail"])
def test_asking_for_an_unknown_topic_creates_none(brokers, ask):
    """Even with auto-creation switched on in the settings, an unknown topic stays unknown."""
    kafka = brokers.kafka(**{"allow.auto.create.topics": "true"})
    calls = {
        "read_topic": lambda: kafka.read_topic("typo", 5),
        "read_group": lambda: kafka.read_group("shipping", ["typo"], 5),
        "sample_tail": lambda: kafka.sample_tail("typo", 10, 5),
    }

    with pytest.raises(Missing, match="no topic typo"):
        calls[ask]()

    assert "typo" not in brokers.topics()


def test_topic_offsets_give_records_and_end_total(brokers):
    """The end total is what a delivery counter compares."""
    brokers.produce("payments", 3, partitions=2)

    offsets = brokers.kafka().read_topic("payments", 5)

    assert {0: (0, 3), 1: (0, 3), 2: (0, 0), 3: (0, 0)} == offsets.partitions
    assert (6, 6) == (offsets.records, offsets.end_total)


@pytest.mark.parametrize("ask", ["read_topic", "read_group", "read_all", "sample_tail"])
def test_a_broker_that_is_down_is_named_within_the_deadline(ask):
    """The error says which address did not answer, and why; the call does not hang."""
    kafka = ConfluentKafka({"bootstrap.servers": "127.0.0.1:1"}, now=lambda: AT)
    calls = {
        "read_topic": lambda: kafka.read_topic("orders", 0.4),
        "read_group": lambda: kafka.read_group("shipping", ["orders"], 0.4),
        "read_all": lambda: kafka.read_group("shipping", [], 0.4),
        "sample_tail": lambda: kafka.sample_tail("orders", 10, 0.4),
    }

    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"Kafka at 127\.0\.0\.1:1: no answer to .*Connection refused"):
        calls[ask]()

    assert time.monotonic() - started < 0.8


def test_settings_that_librdkafka_refuses_are_an_error_not_a_crash():
    """A typo in the Kafka settings is told in librdkafka's words."""
    kafka = ConfluentKafka({"bootstrap.servers": "127.0.0.1:1", "sasl.mechanizm": "PLAIN"}, now=lambda: AT)

    with pytest.raises(Unreachable, match="No such configuration property"):
        kafka.read_topic("orders", 1)


def test_no_password_is_in_an_error():
    """What an on-call pastes into a thread names the address only."""
    settings = {
        "bootstrap.servers": "127.0.0.1:1",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "bot",
        "sasl.password": "hunter2",
    }

    with pytest.raises(Unreachable) as raised:
        ConfluentKafka(settings, now=lambda: AT).read_topic("orders", 0.3)

    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (4, [(0, 4), (1, 4), (2, 4), (3, 4)]),
        (8, [(0, 3), (1, 3), (2, 3), (3, 3), (0, 4), (1, 4), (2, 4), (3, 4)]),
        (0, []),
    ],
)
def test_tail_sample_takes_the_newest_of_each_partition_oldest_first(brokers, count, expected):
    """Records come in time order, an equal share of every partition."""
    if "dlq" not in brokers.topics():
        brokers.produce("dlq", 5)

    sample = brokers.kafka().sample_tail("dlq", count, 5)

    assert expected == [(record.partition, record.offset) for record in sample.records]
    assert () == sample.not_known
    assert 20 == sample.offsets.end_total


def test_tail_sample_gives_a_short_partitions_share_to_the_others(brokers):
    """Asking for more than there is reads everything; one record in partition 1 leaves the rest to partition 0."""
    brokers.produce("skewed", 6, partitions=1)
    brokers.produce("skewed", 1, partitions=2)

    sample = brokers.kafka().sample_tail("skewed", 5, 5)

    assert [1] == [record.offset + 1 for record in sample.records if record.partition == 1]
    assert 5 == len(sample.records)
    assert 8 == len(brokers.kafka().sample_tail("skewed", 500, 5).records)


def test_tail_sample_keeps_order_duplicates_and_nulls_of_headers(brokers):
    """The last set of error headers counts, so their order must survive; a tombstone stays None."""
    headers = [("a", b"1"), ("b", None), ("a", b"2")]
    brokers.produce("headers", 1, partitions=1, headers=headers, value=None, key=b"k")

    (record,) = brokers.kafka().sample_tail("headers", 10, 5).records

    assert tuple(headers) == record.headers
    assert (b"k", None) == (record.key, record.value)
    assert datetime.fromtimestamp(1, UTC) == record.at


def test_tail_sample_ends_at_transaction_markers_by_eof(brokers):
    """Five records and a commit marker: end offset 6, five records, and no waiting for a sixth."""
    producer = Producer({"bootstrap.servers": brokers.bootstrap, "transactional.id": "t"}, logger=SILENT)
    producer.init_transactions(5)
    producer.begin_transaction()
    for offset in range(5):
        producer.produce("transactional", b"%d" % offset, partition=0)
    producer.commit_transaction(5)

    started = time.monotonic()
    sample = brokers.kafka().sample_tail("transactional", 100, 8)

    assert (5, 6) == (len(sample.records), sample.offsets.end_total)
    assert () == sample.not_known
    assert time.monotonic() - started < 4


def test_tail_sample_commits_nothing_and_joins_no_group(brokers):
    """The sampler's group has no offset afterwards."""
    brokers.produce("quiet", 2)
    brokers.kafka().sample_tail("quiet", 10, 5)

    group = brokers.kafka().read_group("cdc-oncall-tail-sample", ["quiet"], 5)

    assert [None] * 4 == [partition.committed for partition in group.partitions]


def test_one_client_serves_many_threads(brokers):
    """Probes run in parallel on one object."""
    brokers.produce("shared", 2)
    kafka = brokers.kafka()

    with ThreadPoolExecutor(8) as pool:
        totals = list(pool.map(lambda _: kafka.read_topic("shared", 5).end_total, range(40)))

    assert [8] * 40 == totals


def test_librdkafka_is_silent_on_stderr(capfd):
    """A broker that is down must not write over the terminal's answer."""
    with pytest.raises(Unreachable):
        ConfluentKafka({"bootstrap.servers": "127.0.0.1:1"}, now=lambda: AT).read_topic("orders", 0.3)

    assert "" == capfd.readouterr().err


# --- settings that change while it runs ----------------------------------------------------------------


class Changing:
    """Settings as they stand on disk: another answer at each reading, or none."""

    def __init__(self, *answers: dict[str, str] | PortError) -> None:
        self.answers = list(answers)
        self.read = 0

    def __call__(self) -> dict[str, str]:
        self.read += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, PortError):
            raise answer
        return answer


def test_changed_settings_are_used_without_a_new_object(brokers):
    """A rotated secret needs no restart: what is true now is asked with."""
    brokers.produce("rotated", 1, partitions=1)
    settings = Changing({"bootstrap.servers": "127.0.0.1:1"}, {"bootstrap.servers": brokers.bootstrap})
    kafka = ConfluentKafka(settings, now=lambda: AT, reread_s=0)

    with pytest.raises(Unreachable, match=r"Kafka at 127\.0\.0\.1:1: "):
        kafka.read_topic("rotated", 0.3)

    assert 1 == kafka.read_topic("rotated", 5).end_total


def test_settings_are_not_read_at_every_call(brokers):
    """A secret's file is read once in REREAD_S, not once per topic."""
    brokers.produce("often", 1, partitions=1)
    settings = Changing({"bootstrap.servers": brokers.bootstrap})
    kafka = ConfluentKafka(settings, now=lambda: AT)

    for _ in range(5):
        kafka.read_topic("often", 5)

    assert 1 == settings.read


def test_settings_that_cannot_be_read_are_an_error_with_their_own_words():
    """A secret's file that is not there is named, and is no crash."""
    kafka = ConfluentKafka(Changing(Unreachable("not asked: The secret file /s/kafka")), now=lambda: AT)

    for ask in (
        lambda: kafka.read_topic("orders", 1),
        lambda: kafka.read_group("g", [], 1),
        lambda: kafka.read_brokers(1),
    ):
        with pytest.raises(Unreachable, match="The secret file /s/kafka"):
            ask()


def test_a_secret_that_is_being_written_anew_does_not_end_a_connection_that_stands(brokers):
    """Between the old file and the new one there may be none for a moment."""
    brokers.produce("gap", 1, partitions=1)
    settings = Changing({"bootstrap.servers": brokers.bootstrap}, Unreachable("not asked: The secret file /s/kafka"))
    kafka = ConfluentKafka(settings, now=lambda: AT, reread_s=0)

    assert [1, 1] == [kafka.read_topic("gap", 5).end_total for _ in range(2)]
    assert settings.read >= 2


def test_a_certificate_file_that_is_written_anew_makes_a_new_connection(tmp_path):
    """Its path stays the same: short-lived certificates are renewed in place."""
    ca = tmp_path / "ca.pem"
    ca.write_text("not a certificate")
    settings = {"bootstrap.servers": "127.0.0.1:1", "security.protocol": "SSL", "ssl.ca.location": str(ca)}
    kafka = ConfluentKafka(settings, now=lambda: AT, reread_s=0)
    with pytest.raises(Unreachable, match=r"ssl\.ca\.location failed"):
        kafka.read_topic("orders", 0.3)

    ca.write_text(CERTIFICATE)

    with pytest.raises(Unreachable, match="Connection refused"):
        kafka.read_topic("orders", 0.3)


def test_the_brokers_are_known_without_a_topic(brokers):
    """The question of `cdc doctor`: may one talk to it at all?"""
    found = brokers.kafka().read_brokers(5)

    assert 3 == found.brokers
    assert found.cluster_id


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Disconnected: connection closed by peer (after 5ms in state UP)", "does it want SASL?"),
        ("Disconnected: SSL connection closed by peer (after 0ms in state UP)", "does it want SASL?"),
        ("Disconnected: connection closed by peer (after 999ms in state APIVERSION_QUERY)", "does the port speak TLS?"),
        ("Disconnected: connection closed by peer (after 1000ms in state UP)", ""),
        ("Disconnected (after 600000ms in state UP)", ""),
        ("Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)", ""),
        ("Disconnected: connection closed by peer (after 3ms in state CONNECT)", ""),
    ],
)
def test_only_a_connection_closed_at_once_says_what_the_broker_wants(line, reason):
    """A broker that is going down, or closes what was idle, wants neither a login nor TLS."""
    failures = Failures()
    failures.logger.error("FAIL [rdkafka#producer-4]: 127.0.0.1:9092/bootstrap: %s", line)

    assert (bool(reason), True) == (bool(failures.reason()), failures.reason().endswith(reason))


def test_a_broker_that_hangs_up_without_a_word_is_told_from_one_that_is_down():
    """Librdkafka only logs it: at the first bytes, as a port does that speaks TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connection.recv(4096)
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        kafka = ConfluentKafka({"bootstrap.servers": f"127.0.0.1:{listening.getsockname()[1]}"}, now=lambda: AT)
        with pytest.raises(Unreachable, match="closed the connection at the first bytes: does the port speak TLS"):
            kafka.read_brokers(1.5)
