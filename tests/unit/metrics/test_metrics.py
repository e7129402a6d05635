"""Metrics: what is known is shown, what is not is absent; counters only ever grow."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from bot.metrics import (
    Counters,
    Snapshot,
    advance,
    counters_document,
    health,
    read_counters,
    ready,
    render,
)
from bot.model import ConsumerGroup, Finding, Pipeline, Severity, Signal, Sink, Status

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
PIPELINE = Pipeline(
    "customers",
    "#cdc",
    source_connector="source",
    topics=("customers",),
    subjects=("customers-value",),
    consumers=(ConsumerGroup("flink"),),
    sink=Sink("sink", dlq="dlq.customers"),
)
REFUSED = (
    "org.apache.kafka.connect.errors.ConnectException: Incompatible artifact: customers-value [AVRO], "
    "num of incompatible diffs: {1}, list of diff types: [tier at /fields/4]"
)


def queue(end: int | None, verdict: str = "PRESENT") -> Finding:
    facts = {"end_total": end}
    return Finding("dead_letters", "dlq.customers", verdict, Status.YELLOW, "", AT, Signal.DEAD_LETTERS, facts)


def group(committed: int | None, name: str = "connect-sink", lag: int | None = 0, verdict: str = "OK") -> Finding:
    partition = {"partition": 0, "lag_records": lag}
    facts = {"committed_total": committed, "topics": [{"topic": "customers", "partitions": [partition]}]}
    return Finding("consumer_lag", name, verdict, Status.GREEN, "", AT, Signal.LAG, facts)


def connector(state: str, trace: str | None = None, verdict: str | None = None) -> Finding:
    facts = {"state": "RUNNING", "cause": None, "tasks": [{"task": 0, "state": state, "trace": trace}]}
    return Finding("connector_state", "source", verdict or state, Status.RED, "", AT, Signal.CONNECTOR, facts)


def counted(*passes: Finding) -> Counters:
    counters = Counters()
    for finding in passes:
        counters = advance(counters, PIPELINE, [finding])
    return counters


def dead(*ends: int | None) -> int | None:
    return counted(*(queue(end) for end in ends)).dead_letters.get(("customers", "dlq.customers"))


@pytest.mark.parametrize(
    ("total", "ends"),
    [
        (None, [None]),  # never read: absent
        (0, [500]),  # what lay there before counting began is no increase
        (3, [500, 503]),
        (3, [500, None, 503]),  # a pass that saw nothing changes nothing
        (3, [500, 503, 10]),  # made anew: a new baseline, never negative
        (5, [500, 503, 10, 12]),
    ],
)
def test_dead_letters_grow_by_what_came_since_the_last_look(total, ends):
    """Monotonic over gaps, rewinds and recreated topics."""
    assert total == dead(*ends)


def test_the_first_dead_letter_of_a_queue_that_did_not_exist_is_an_increase():
    """Connect makes the queue with its first record; a counter that began at 1 would show no increase."""
    counters = counted(queue(None, "MISSING"), queue(1))

    assert 1 == counters.dead_letters[("customers", "dlq.customers")]


def test_processed_records_are_those_of_the_sinks_own_group():
    """Every group commits the same records: one of them counts."""
    counters = counted(group(100), group(900, "flink"), group(150), group(1_000, "flink"))

    assert {("customers",): 50} == counters.processed


def test_a_rewound_group_counts_on_from_where_it_is():
    """An offset reset must not hide dead letters behind a million processed records."""
    assert {("customers",): 60} == counted(group(100), group(150), group(0), group(10)).processed


@pytest.mark.parametrize(
    ("refusals", "passes"),
    [
        (0, [connector("RUNNING")]),
        (1, [connector("FAILED", REFUSED)]),
        (1, [connector("FAILED", REFUSED)] * 3),  # the same trace is the same refusal
        (1, [connector("FAILED", REFUSED), connector("RESTARTING", REFUSED), connector("FAILED", REFUSED)]),
        (2, [connector("FAILED", REFUSED), connector("RUNNING", REFUSED), connector("FAILED", REFUSED)]),
        (2, [connector("FAILED", REFUSED), connector("FAILED", f"{REFUSED} at 14:02")]),
        (0, [connector("FAILED", "java.lang.OutOfMemoryError")]),
        (1, [connector("FAILED", REFUSED), connector("", verdict="UNREACHABLE"), connector("FAILED", REFUSED)]),
    ],
)
def test_a_refusal_is_counted_when_its_trace_is_new(refusals, passes):
    """Old traces are no news; a task that ran in between has failed again."""
    assert refusals == counted(*passes).conflicts[("customers", "customers-value", "connect")]


def test_refusals_of_every_configured_subject_begin_at_zero():
    """increase() needs a 0 before the first refusal."""
    assert 0 == counted().conflicts.get(("customers", "customers-value", "connect"), 0)
    assert 0 == advance(Counters(), PIPELINE, []).conflicts[("customers", "customers-value", "connect")]


def test_counters_survive_a_restart():
    """Kept as JSON beside the journal: dead letters that came while the bot was down are counted."""
    before = counted(queue(500), connector("FAILED", REFUSED))
    after = read_counters(json.loads(json.dumps(counters_document(before))))

    assert before == after
    assert 7 == advance(after, PIPELINE, [queue(507)]).dead_letters[("customers", "dlq.customers")]


def lines(snapshot: Snapshot) -> list[str]:
    return [line for line in render(snapshot).decode().splitlines() if not line.startswith("#")]


def test_lag_and_states_are_series_per_part():
    """One series a partition, one a task, each with the state that Connect spells."""
    findings = (group(100, lag=7), connector("FAILED", REFUSED))
    shown = lines(Snapshot("0.1.0", {"customers": findings}))

    for line in (
        'cdc_consumergroup_lag{group="connect-sink",partition="0",pipeline="customers",topic="customers"} 7',
        'cdc_connector_state{connector="source",pipeline="customers",state="RUNNING"} 1.0',
        'cdc_connector_task_state{connector="source",pipeline="customers",state="FAILED",task="0"} 1.0',
        'cdc_probe_up{pipeline="customers",probe="consumer_lag"} 1.0',
        'cdc_build_info{version="0.1.0"} 1.0',
    ):
        assert line in [_sorted_labels(one) for one in shown]


def _sorted_labels(line: str) -> str:
    name, _, rest = line.partition("{")
    labels, _, value = rest.rpartition("}")
    return f"{name}{{{','.join(sorted(labels.split(',')))}}}{value}" if rest else line


def test_unknown_is_an_absent_series():
    """Never 0, never NaN: an alert on `> 10000` must not be calmed by what was not read."""
    text = render(
        Snapshot("0.1.0", {"customers": (group(None, lag=None), connector("", verdict="UNREACHABLE"))})
    ).decode()

    assert "cdc_consumergroup_lag{" not in text
    assert "cdc_connector_state{" not in text
    assert "NaN" not in text
    assert 'cdc_probe_up{pipeline="customers",probe="connector_state"} 0.0' in text
    assert "cdc_inbox_depth 0" not in text


@pytest.mark.parametrize(
    ("up", "verdicts"),
    [
        ("1.0", ["OK"]),
        ("0.0", ["OK", "UNREACHABLE"]),  # one blind target is a blind probe
        ("0.0", ["DENIED"]),
        ("1.0", ["MISSING"]),  # the system answered
        (None, ["NOT_CONFIGURED"]),  # nobody asked it to look
    ],
)
def test_a_probe_is_up_when_it_saw_all_its_targets(up, verdicts):
    """A blind probe is an alert of its own: the other alerts that stand on it cannot fire."""
    findings = tuple(group(1, f"g{index}", verdict=verdict) for index, verdict in enumerate(verdicts))
    shown = [
        line.rpartition(" ")[2] for line in lines(Snapshot("", {"p": findings})) if line.startswith("cdc_probe_up")
    ]

    assert ([up] if up else []) == shown


def test_label_values_are_escaped():
    """A topic or reason with quotes and line breaks does not break the page."""
    assert 'cdc_errors_total{reason="a\\"b\\nc\\\\"} 1.0' in lines(Snapshot("", errors={'a"b\nc\\': 1}))


def test_queues_and_incidents_are_counted():
    """Depth and age of what waits; every severity is present, so that a graph does not vanish."""
    snapshot = Snapshot("", inbox_depth=0, outbox_depth={"page": 2}, outbox_oldest_s=3.5, tasks_depth={"probe": 4},
                        incidents_open={Severity.CRITICAL: 1})  # fmt: skip
    shown = lines(snapshot)

    for line in (
        "cdc_inbox_depth 0.0",
        "cdc_inbox_oldest_seconds 0.0",
        'cdc_outbox_depth{lane="page"} 2.0',
        'cdc_outbox_depth{lane="card"} 0.0',
        "cdc_outbox_oldest_seconds 3.5",
        'cdc_tasks_depth{kind="probe"} 4.0',
        'cdc_incidents_open{severity="critical"} 1.0',
        'cdc_incidents_open{severity="info"} 0.0',
        'cdc_webhook_requests_total{result="stored"} 0.0',
    ):
        assert line in shown


def test_a_bot_at_rest_is_healthy_and_says_nothing():
    """No reason, no noise."""
    assert (True, ()) == health(Snapshot("", inbox_depth=0))


@pytest.mark.parametrize(
    ("alive", "is_ready", "words", "snapshot"),
    [
        (True, True, (), Snapshot("", inbox_depth=3, inbox_oldest_s=60.0)),
        (False, False, ("the inbox stands still",), Snapshot("", inbox_depth=3, inbox_oldest_s=60.1)),
        (True, False, ("Slack messages wait",), Snapshot("", outbox_oldest_s=301, outbox_waits_s=301)),
        (True, True, (), Snapshot("", outbox_waits_s=3, outbox_attempts=2, outbox_error="unreachable")),
        (
            True,
            True,
            ("3 s: unreachable",),
            Snapshot("", outbox_waits_s=3, outbox_attempts=3, outbox_error="unreachable"),
        ),
        (True, True, ("journal could not be written: full",), Snapshot("", write_error="full")),
        (
            True,
            False,
            ("1 Slack message was refused (invalid_blocks), and 3 messages of the same thread not sent",),
            Snapshot("", outbox_oldest_s=301, outbox_held=3, outbox_failed=1, outbox_refusal="invalid_blocks"),
        ),
        (
            True,
            True,
            ("the oldest 31 s: unreachable", "2 Slack messages were refused (invalid_blocks)"),
            Snapshot(
                "", outbox_waits_s=31, outbox_error="unreachable", outbox_failed=2, outbox_refusal="invalid_blocks"
            ),
        ),
        (True, True, ("1 webhook request came",), Snapshot("", webhooks={"unauthorised": 1})),
        (True, True, ("2 webhook requests came with a wrong token",), Snapshot("", webhooks={"unauthorised": 2})),
        (True, True, (), Snapshot("", links=1, links_greeted=True)),
        (True, True, (), Snapshot("", links=0, links_down_s=60.0, links_greeted=True, links_error="unreachable")),
        (True, True, ("for 61 s: no reason is known;",), Snapshot("", links=0, links_down_s=61.0, links_greeted=True)),
        (True, True, (), Snapshot("", links=0, links_down_s=1.0)),  # the start: nothing was tried to its end yet
        (True, True, ("for 1 s: invalid_auth;",), Snapshot("", links=0, links_down_s=1.0, links_error="invalid_auth")),
        (True, True, ("could not be read",), Snapshot("", unreadable=1)),
        (True, True, ("the bot is not in #a",), Snapshot("", speechless=("Slack: the bot is not in #a",))),
        (True, True, ("samples stand still",), Snapshot("", sampling_wrong=("the lag samples stand still: 95 s",))),
        (True, True, ("last looked",), Snapshot("", last_pass_s=601)),
        (True, True, ("cannot see: g (p, consumer_lag)",), Snapshot("", {"p": (group(1, "g", verdict="DENIED"),)})),
    ],
)
def test_health_says_what_is_wrong(alive, is_ready, words, snapshot):
    """A restart cures a standing inbox only; a system that is down is told, not punished."""
    reasons = health(snapshot)[1]

    assert (alive, is_ready) == (health(snapshot)[0], ready(snapshot)[0])
    assert len(words) == len(reasons)
    assert all(word in reason for word, reason in zip(words, reasons, strict=True))


@pytest.mark.parametrize(("value", "links"), [("2.0", 2), ("0.0", 0), (None, None)])
def test_connections_to_slack_are_shown_where_there_are_any(value, links):
    """A bot that Slack comes to has no such series; one that is cut off shows 0."""
    shown = [line for line in render(Snapshot("", links=links)).decode().splitlines() if line[:1] != "#"]
    found = [line.split()[1] for line in shown if line.startswith("cdc_slack_connections")]

    assert ([value] if value else []) == found
