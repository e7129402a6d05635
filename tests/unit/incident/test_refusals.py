"""Refused schemas: what is counted, when they are an alert, and what may be told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from bot.incident.notification import Notification
from bot.incident.policy import Policy
from bot.incident.refusals import (
    MOST_SUBJECTS,
    SUBJECT_NOT_KNOWN,
    Ledger,
    RefusedSchema,
    count_in_window,
    crossed,
    increases,
    ledger_document,
    noted,
    read_ledger,
    read_refused,
    write_refused,
)
from bot.model import Pipeline

T0 = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
POLICY = Policy(
    {
        "customers": Pipeline("customers", "#cdc", subjects=("customers-value",)),
        "orders": Pipeline("orders", "#cdc", topics=("orders",)),
    },
    (),
    "#cdc",
)
KEY = ("customers", "customers-value")


def refused(source: str = "log", subject: str = "customers-value", after_s: float = 0, **more: object) -> RefusedSchema:
    return RefusedSchema(source, subject, T0 + timedelta(seconds=after_s), **more)  # type: ignore[arg-type]


def ledger_of(*told: RefusedSchema, now: datetime = T0 + timedelta(minutes=5)) -> Ledger:
    ledger = Ledger()
    for one in told:
        ledger = noted(ledger, one, POLICY, now)
    return ledger


def alerts(ledger: Ledger, after_s: float = 300) -> tuple[Ledger, tuple[Notification, ...]]:
    return crossed(ledger, POLICY, T0 + timedelta(seconds=after_s))


@pytest.mark.parametrize(
    ("told", "fires"),
    [
        ([refused()] * 5, False),  # five are not more than five
        ([refused()] * 6, True),
        ([refused(count=6)], True),
        ([refused()] * 3 + [refused("connect")] * 3, False),  # the same refusals, seen twice
        ([refused()] * 6 + [refused("connect")] * 2, True),
        ([refused("ci")] * 20, False),  # CI blocked them: nothing was refused
        ([refused(is_frozen=True)] * 20, False),
        ([refused(after_s=-301)] * 6, False),  # told late: it was over before we heard of it
        ([refused(after_s=9999)] * 6, True),  # a clock ahead of ours: now
        ([refused()] * 3 + [refused(subject="customers-key")] * 3, False),  # of one subject
    ],
)
def test_more_refusals_than_allowed_are_an_alert(told: list[RefusedSchema], fires: bool) -> None:
    """By subject, within the window, by the source that saw the most."""
    assert fires is bool(alerts(ledger_of(*told))[1])


def test_the_alert_names_pipeline_subject_field_and_version() -> None:
    """As the rule of Prometheus does, and what the log told besides."""
    ledger = ledger_of(*[refused(field="tier", registered_version=3)] * 6)
    (notification,) = alerts(ledger)[1]
    (alert,) = notification.alerts
    expected = {
        "alertname": "CDCSchemaRefusals", "severity": "warning", "pipeline": "customers",
        "subject": "customers-value", "field": "tier",
    }  # fmt: skip
    assert expected == alert.labels
    summary = "customers: the registry refuses schemas of customers-value: field tier; conflicts with version 3"
    assert summary == alert.annotations["summary"]


def test_an_alert_is_told_once_and_ends_once_the_window_is_quiet() -> None:
    """One episode: told at the sixth, silent at the next ones, resolved when no more than five are left."""
    ledger, told = alerts(ledger_of(*[refused()] * 6))
    assert ["firing"] == [alert.status for one in told for alert in one.alerts]
    ledger, again = alerts(noted(ledger, refused(), POLICY, T0 + timedelta(seconds=300)))
    assert () == again
    assert () == alerts(ledger, 600)[1]
    ledger, ended = alerts(ledger, 601)
    (alert,) = ended[0].alerts
    assert ("resolved", told[0].alerts[0].fingerprint) == (alert.status, alert.fingerprint)
    assert told[0].alerts[0].starts_at == alert.starts_at
    assert () == alerts(ledger, 900)[1]


@pytest.mark.parametrize(
    ("told", "counts"),
    [
        (refused(), {(*KEY, "log"): 1}),
        (refused("ci"), {(*KEY, "ci"): 1}),
        (refused("prometheus", count=4), {(*KEY, "prometheus"): 4}),
        (refused("connect"), {}),  # the monitor counts traces
        (refused(is_frozen=True), {}),
        (refused(subject="orders-key"), {("orders", "orders-key", "log"): 1}),  # by its topic
        (refused(subject="stranger"), {("", "stranger", "log"): 1}),
        (refused(subject="stranger", pipeline="orders"), {("orders", "stranger", "log"): 1}),
        (refused(subject="stranger", pipeline="invented"), {("", "stranger", "log"): 1}),
    ],
)
def test_what_is_counted_for_whom(told: RefusedSchema, counts: dict[tuple[str, str, str], int]) -> None:
    """A subject belongs to the pipelines that have it; a pipeline that cdc.yml does not know is none."""
    assert counts == ledger_of(told).counts


@pytest.mark.parametrize("pipeline", ["", "customers", "no-such-pipeline"])
def test_made_up_subjects_do_not_make_series_without_end(pipeline: str) -> None:
    """Whoever may register may invent subjects, and whoever may post may name a pipeline; each is a series."""
    own = refused("ci", pipeline=pipeline)
    ledger = ledger_of(*(refused("ci", f"made-up-{n}", pipeline=pipeline) for n in range(MOST_SUBJECTS + 5)), own, own)

    assert MOST_SUBJECTS + 2 == len(ledger.counts)
    assert 5 == ledger.counts[pipeline if pipeline == "customers" else "", SUBJECT_NOT_KNOWN, "ci"]
    assert 2 == ledger.counts[*KEY, "ci"]


def test_a_source_that_knows_the_subject_alone_hides_no_field() -> None:
    """A request log tells the subject, a failed task's trace the field too, of the same refusal."""
    ledger = ledger_of(refused("connect", field="tier"), refused(after_s=1))
    assert ("tier", T0 + timedelta(seconds=1)) == (ledger.last[KEY].field, ledger.last[KEY].at)


def test_the_field_of_yesterday_is_not_that_of_a_refusal_that_tells_none() -> None:
    """Only within a window are they taken for one refusal."""
    ledger = ledger_of(refused("connect", after_s=-86_400, field="tier", registered_version=1), refused())
    assert (None, None, T0) == (ledger.last[KEY].field, ledger.last[KEY].registered_version, ledger.last[KEY].at)


def test_the_ledger_survives_a_restart() -> None:
    """As JSON beside the journal."""
    ledger = alerts(ledger_of(*[refused(field="tier", words="é")] * 6, refused("ci", rule="C001")))[0]
    assert ledger == read_ledger(json.loads(json.dumps(ledger_document(ledger))))
    assert 6 == count_in_window(ledger, KEY, POLICY, T0)


def test_a_refusal_is_written_as_it_is_read() -> None:
    """Both ends share one form."""
    one = refused(
        field="tier", path="/fields/1", registered_version=1, level="FULL", words="w", more=2, job="http://ci"
    )
    assert one == read_refused(write_refused(one))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "source must be one of"),
        (b'{"source": ["log"], "subject": "s"}', "source must be one of"),
        (b'{"source": "log"}', "subject is missing"),
        (b'{"source": "log", "subject": 7}', "subject must be text"),
        (b'{"source": "log", "subject": "s", "count": true}', "count must be a number"),
        (b'{"source": "log", "subject": "s", "count": -1}', "count must be a number"),
        (b'{"source": "log", "subject": "s", "count": 1e99}', "count must be a number"),
        (b'{"source": "log", "subject": "s", "at": "soon"}', "at must be a time"),
        (b'{"source": "log", "subject": "s", "at": 7}', "at must be a time"),
    ],
)
def test_what_is_no_refusal_is_said(body: bytes, reason: str) -> None:
    """Foreign bytes end in a reason, never in a trace."""
    with pytest.raises(ValueError, match=reason):
        read_refused(body)


def test_foreign_text_is_cut_and_made_one_line() -> None:
    """A subject is somebody else's text: what steers a terminal is blank, half a character is replaced."""
    one = read_refused(b'{"source": "log", "subject": "a\\u001b[31m\\nb\\ud800", "words": "' + b"w" * 9000 + b'"}')
    assert ("a [31m b?", 600) == (one.subject, len(one.words))


@pytest.mark.parametrize(
    ("before", "totals", "grown"),
    [
        (None, {"s": 7}, {}),  # what was there before we looked is no news
        ({}, {"s": 7}, {"s": 7}),  # its series begins with its first refusal
        ({"s": 7}, {"s": 7}, {}),
        ({"s": 7}, {"s": 9}, {"s": 2}),
        ({"s": 7}, {}, {}),  # not scraped just now
        ({"s": 7}, {"s": 2}, {"s": 2}),  # began anew
        ({"s": 7}, {"s": 0}, {}),
    ],
)
def test_prometheus_counters_grow_as_rate_counts_them(
    before: dict[str, int] | None, totals: dict[str, int], grown: dict[str, int]
) -> None:
    assert grown == increases(before, totals)
