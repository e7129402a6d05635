"""What a real broker answers to `ListOffsets(timestamp)`: that the bounds drawn from it are true rests on this."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from bot.clients.kafka_cluster import ConfluentCluster
from bot.lag.ladder import refine, time_lag_of, times_to_ask
from tests.system.parts import Kafka, wait_until
from tests.unit.lag.synthetic_log import SyntheticLog, in_order, out_of_order

SILENT = logging.getLogger("tests.ladder")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False
DEADLINE_S = 10.0


def to_the_millisecond(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def client(kafka: Kafka) -> ConfluentCluster:
    """A client that has asked nothing yet."""
    return ConfluentCluster({"bootstrap.servers": kafka.bootstrap}, lambda: datetime.now(UTC))


def create(kafka: Kafka, topic: str) -> None:
    """Small segments, and nothing deleted by age: the test deletes."""
    config = {"segment.bytes": str(1024 * 1024), "retention.ms": "-1"}
    admin = kafka.admin()
    for future in admin.create_topics([NewTopic(topic, 1, 1, config=config)]).values():
        future.result(timeout=30)
    wait_until(lambda: client(kafka).read_topic(topic, 5).end_total == 0, f"topic {topic}")


def write(kafka: Kafka, topic: str, stamps: Sequence[datetime], batch: int) -> None:
    """One record a timestamp, `batch` of them in one record batch: a time is looked for within batches too."""
    settings = {"bootstrap.servers": kafka.bootstrap, "linger.ms": 1000, "acks": "all", "enable.idempotence": True}
    producer = Producer(settings, logger=SILENT)
    for index, at in enumerate(stamps):
        producer.produce(topic, random.Random(index).randbytes(8000), timestamp=round(at.timestamp() * 1000))
        if index % batch == batch - 1:
            producer.flush(30)
    assert 0 == producer.flush(30)


@pytest.mark.parametrize("is_ordered", [True, False])
def test_a_broker_answers_the_first_offset_at_or_after_a_time(kafka: Kafka, is_ordered: bool) -> None:
    """In order or not, over segments, within batches: F(T) is the first of its kind; and what a deletion changes."""
    topic, now = f"ladder-{is_ordered}", to_the_millisecond(datetime.now(UTC))
    create(kafka, topic)
    draw = random.Random(is_ordered)
    stamps = in_order(draw, now, 800).stamps
    stamps = stamps if is_ordered else out_of_order(draw, stamps).stamps
    log = SyntheticLog(tuple(map(to_the_millisecond, stamps)))
    write(kafka, topic, log.stamps, batch=7)
    kept = client(kafka)
    for cut in (0, 300):
        if cut:
            admin = kafka.admin()
            for future in admin.delete_records([TopicPartition(topic, 0, cut)]).values():
                future.result(timeout=30)
            log = log.without_first(cut)
        asked = sorted({*times_to_ask(now, 1), *draw.sample(log.stamps, 20), now + timedelta(hours=1)})
        answers = client(kafka).read_offsets_at({(topic, 0): asked}, DEADLINE_S)[topic, 0]
        wrong = {at: answer for at, answer in answers.items() if answer != log.answers([at])[at]}
        # Segments below a start that DeleteRecords moved are there for some time yet: None for what they reach.
        assert {None} >= set(wrong.values())
        assert not wrong or (cut and max(wrong) < min(at for at, answer in answers.items() if answer is not None))

        for committed in draw.sample(range(log.earliest, log.latest), 10):
            ladder = dict(kept.read_offsets_at({(topic, 0): times_to_ask(now, 1)}, DEADLINE_S)[topic, 0])
            if more := refine(now, ladder, committed):
                ladder |= kept.read_offsets_at({(topic, 0): more}, DEADLINE_S)[topic, 0]
            found = time_lag_of(committed, log.earliest, log.latest, ladder, now)
            assert found is not None
            assert found.min_s <= (now - log.stamp(committed)).total_seconds()
            if is_ordered:
                assert found.max_s is None or (now - log.stamp(committed)).total_seconds() <= found.max_s


def test_an_empty_log_has_no_record_of_any_age(kafka: Kafka) -> None:
    """None for every time, the epoch too: that is why it tells something only of a log with records."""
    create(kafka, "ladder-empty")
    asked = times_to_ask(datetime.now(UTC), 1)
    assert {None} == set(
        client(kafka).read_offsets_at({("ladder-empty", 0): asked}, DEADLINE_S)["ladder-empty", 0].values()
    )


def test_a_transaction_marker_has_a_place_in_time(kafka: Kafka) -> None:
    """The marker at the end of a transaction is found as a record is: a position is taken for a record."""
    create(kafka, "ladder-marker")
    now = datetime.now(UTC)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "ladder"}, logger=SILENT)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("ladder-marker", b"x", timestamp=round((now - timedelta(hours=1)).timestamp() * 1000))
    producer.commit_transaction(30)  # the coordinator writes the marker after it has answered
    wait_until(lambda: client(kafka).read_topic("ladder-marker", DEADLINE_S).end_total == 2, "the marker")
    asked = [now - timedelta(hours=2), now - timedelta(minutes=30), now + timedelta(hours=1)]
    answers = client(kafka).read_offsets_at({("ladder-marker", 0): asked}, DEADLINE_S)["ladder-marker", 0]
    assert [0, 1, None] == [answers[at] for at in asked]
