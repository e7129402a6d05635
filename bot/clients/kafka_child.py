"""The process that reads what many consumer groups committed: run by `bot.clients.kafka_groups`, never imported.

`AdminClient.list_consumer_group_offsets` is the one call that asks for hundreds of groups at once without a client
each, and it kills the process when a group's coordinator moves or is still loading (librdkafka 2.16); a DescribeGroups
answer that comes after its time-out aborts it (librdkafka #4605). So both are done here, where dying costs one answer.

Promise
    One line of JSON in, one out: plain values only, whatever a name or a reason holds.
    The first line holds the settings, credentials included: they are in no argument and in no environment.
    The end of the input is the end of the process, at once and whatever it is doing: it does not outlive its parent,
    also when that is killed with SIGKILL.

Stands alone on confluent_kafka, so that it starts fast and a folder that shadows a module cannot be in its way.

    in    {"id": 7, "deadline_s": 5.0, "committed": {GROUP: null | {TOPIC: [PARTITION, ...]}}, "describe": [GROUP, ...]}
    out   {"id": 7, "committed": {GROUP: {"offsets": {TOPIC: [PARTITION, OFFSET, ...]},
                                          "errors": [[TOPIC, PARTITION, CODE, TEXT], ...]} | {"error": [CODE, TEXT]}},
           "described": {GROUP: {"state": NAME, "members": [[ID, CLIENT, HOST, {TOPIC: [PARTITION, ...]}], ...]}
                                | {"error": [CODE, TEXT]}}}
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

DESCRIBE_AT_ONCE = 50
_INVALID = KafkaError._INVALID_ARG
DESCRIBE_TIMEOUT_S = 30.0


def main() -> None:
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    silent = logging.Logger("librdkafka")
    silent.addHandler(logging.NullHandler())
    settings: dict[str, Any] = {**json.loads(lines.get()), "error_cb": _ignore}
    admin = AdminClient(settings, logger=silent)
    while True:
        asked = json.loads(lines.get())
        admin.poll(0)
        answer = json.dumps(_answer(admin, asked), separators=(",", ":"))
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


def _listen(lines: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def _ignore(_: KafkaError) -> None:
    """The parent's own client tells what is the matter with the connection."""


def _answer(admin: AdminClient, asked: Mapping[str, Any]) -> dict[str, Any]:
    ends_at = time.monotonic() + asked["deadline_s"]
    timeout_s = max(0.001, asked["deadline_s"])
    committed = {group: _fired(admin, group, topics, timeout_s) for group, topics in asked["committed"].items()}
    described = _described(admin, asked["describe"], ends_at)
    return {
        "id": asked["id"],
        "committed": {group: _committed(future, ends_at) for group, future in committed.items()},
        "described": described,
    }


def _fired(admin: AdminClient, group: str, topics: Any, timeout_s: float) -> Future[Any]:
    """Return the answer to come; a question that librdkafka refuses is one group's error."""
    try:
        return admin.list_consumer_group_offsets([_wanted(group, topics)], request_timeout=timeout_s)[group]
    except (KafkaException, ValueError, TypeError) as error:
        refused: Future[Any] = Future()
        cause = error if isinstance(error, KafkaException) else KafkaException(KafkaError(_INVALID, str(error)))
        refused.set_exception(cause)
        return refused


def _wanted(group: str, topics: Mapping[str, Sequence[int]] | None) -> ConsumerGroupTopicPartitions:
    if topics is None:
        return ConsumerGroupTopicPartitions(group)
    named = [TopicPartition(topic, partition) for topic, partitions in topics.items() for partition in partitions]
    return ConsumerGroupTopicPartitions(group, named)


def _committed(future: Future[Any], ends_at: float) -> dict[str, Any]:
    try:
        answer = future.result(max(0.05, ends_at - time.monotonic() + 0.05))
    except (KafkaException, FutureTimeout) as error:
        return {"error": _reason(error)}
    offsets: dict[str, list[int]] = {}
    errors = []
    for found in answer.topic_partitions:
        if found.error is not None:
            errors.append([found.topic, found.partition, *_reason(found.error)])
        elif found.offset >= 0:
            offsets.setdefault(found.topic, []).extend((found.partition, found.offset))
    return {"offsets": offsets, "errors": errors}


def _described(admin: AdminClient, groups: Sequence[str], ends_at: float) -> dict[str, Any]:
    """Describe `DESCRIBE_AT_ONCE` groups at a time; those whose turn does not come in time are told as timed out."""
    found: dict[str, Any] = {}
    for start in range(0, len(groups), DESCRIBE_AT_ONCE):
        batch = groups[start : start + DESCRIBE_AT_ONCE]
        if time.monotonic() >= ends_at:
            found.update({group: {"error": [KafkaError._TIMED_OUT, "not asked in time"]} for group in batch})
            continue
        try:
            fired = admin.describe_consumer_groups(list(batch), request_timeout=DESCRIBE_TIMEOUT_S)
        except (KafkaException, ValueError, TypeError) as error:
            found.update({group: {"error": [_INVALID, str(error)]} for group in batch})
            continue
        for group, future in fired.items():
            try:
                answer = future.result(max(0.001, ends_at - time.monotonic()))
            except (KafkaException, FutureTimeout) as error:
                found[group] = {"error": _reason(error)}
                continue
            found[group] = {"state": answer.state.name, "members": [_member(member) for member in answer.members]}
    return found


def _member(member: Any) -> list[Any]:
    assigned: dict[str, list[int]] = {}
    for found in member.assignment.topic_partitions if member.assignment is not None else ():
        assigned.setdefault(found.topic, []).append(found.partition)
    return [member.member_id, member.client_id, member.host, assigned]


def _reason(error: Exception | KafkaError) -> list[Any]:
    inner = error.args[0] if isinstance(error, KafkaException) else error
    return (
        [inner.code(), inner.str()] if isinstance(inner, KafkaError) else [KafkaError._TIMED_OUT, "no answer in time"]
    )


if __name__ == "__main__":
    main()
