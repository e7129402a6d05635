"""What Alertmanager really sends and what the bot makes of it: design section 3, row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.incident import commands as c
from bot.incident.alerts import Unreadable, read_notification, unescape_receiver
from bot.incident.decisions import end_alerts
from bot.incident.notification import Alert
from bot.model import Severity

from .conftest import ALICE, T0, Case


def alert(name: str = "CDCConsumerLagHigh", fingerprint: str = "f1", status: str = "firing", **labels: str) -> Alert:
    labels = {"alertname": name, "pipeline": "customers", "severity": "warning", **labels}
    return Alert(fingerprint, status, labels, {"summary": name}, T0, None)  # type: ignore[arg-type]


def test_first_firing_opens_one_triaged_incident(case: Case) -> None:
    """The incident knows its pipeline, channel, owner, runbook, version and config, and every probe is due."""
    case.hear("01-first-firing.json")
    incident = case.incident()
    assert ("open", "customers", "#cdc-incidents", "@data-platform") == (
        incident.status, incident.pipeline, incident.channel, incident.owner,
    )  # fmt: skip
    assert ["consumer-lag"] == [r.runbook for r in incident.runbooks]
    assert ("0.1.0", "cfg", "aaa") == (incident.bot_version, incident.config_hash, incident.runbooks[0].hash)
    assert {"connector_state", "schema_changes", "dead_letters", "consumer_lag"} == {
        task.body["probe"] for task in case.tasks if task.kind == "probe"
    }


def test_more_alerts_of_the_group_join(case: Case) -> None:
    """Three alerts of one pipeline are one incident."""
    case.hear("01-first-firing.json")
    case.hear("02-grouped-3-firing.json")
    assert 3 == len(case.incident().firing)
    assert ["CDC-1"] == [i.id for i in case.board.open()]


def test_an_unchanged_repeat_changes_nothing(case: Case) -> None:
    """repeat_interval and the other replica send the same content: no event, no task, no message."""
    case.hear("02-grouped-3-firing.json")
    before = case.incident().version
    decision = case.hear("03-repeat-interval.json")
    assert ((), before) == (decision.changes, case.incident().version)


def test_partial_resolve_ends_one_alert_only(case: Case) -> None:
    """The resolved alert appears once and then vanishes; the group's own status is not asked."""
    case.hear("02-grouped-3-firing.json")
    case.hear("04-partially-resolved.json")
    assert (2, 3) == (len(case.incident().firing), len(case.incident().alerts))
    case.hear("05-all-resolved.json")
    assert case.incident().alerts_cleared
    assert case.incident().is_open, "cleared alerts are not recovery"
    assert "recovery" in [task.kind for task in case.tasks]


def test_an_old_firing_after_the_resolve_is_stale(case: Case) -> None:
    """Deliveries are reordered by retries: an episode that resolved does not fire again."""
    case.hear("02-grouped-3-firing.json")
    case.hear("04-partially-resolved.json")
    case.hear("02-grouped-3-firing.json")
    assert 2 == len(case.incident().firing)


def test_refire_within_reopen_reopens_the_thread(case: Case) -> None:
    """Same fingerprint, new startsAt: a flap."""
    case.hear("02-grouped-3-firing.json")
    case.hear("05-all-resolved.json")
    case.hear("04-partially-resolved.json")
    _resolve(case)
    case.pass_time(minutes=10)
    case.hear("06-refired-same-group.json")
    assert ("open", 1, 1) == (case.incident().status, case.incident().reopened, len(case.board.incidents))


def test_a_newer_start_ends_the_older_episode(case: Case) -> None:
    """The resolve in between was lost: one alert fires once, not twice."""
    case.hear("01-first-firing.json")
    case.hear("06-refired-same-group.json")
    assert ["ended", "firing"] == [a.status for a in case.incident().alerts]


def test_refire_after_reopen_within_opens_a_linked_incident(case: Case) -> None:
    """An hour later it is another incident that names the old one."""
    case.hear("02-grouped-3-firing.json")
    _resolve(case)
    case.pass_time(hours=1)
    case.hear("06-refired-same-group.json")
    assert (("CDC-1", "the same alert, earlier"),) == case.incident("CDC-2").links


def _resolve(case: Case) -> None:
    case.tell("CDC-1", c.ResolveIncident(ALICE, reason="test"))


def test_truncated_group_is_never_closed_and_is_fetched(case: Case) -> None:
    """Alertmanager's cut hides three alerts: they count as firing until the API showed the whole group."""
    case.hear("08-truncated-firing.json")
    incident = case.incident()
    assert 3 == incident.hidden_alerts
    assert ["fetch-group"] == [t.kind for t in case.tasks if t.kind == "fetch-group"]
    resolved = case.payload("08-truncated-firing.json")
    case.hear(replace(resolved, alerts=tuple(replace(a, status="resolved") for a in resolved.alerts)))
    assert not case.incident().alerts_cleared


def test_the_whole_group_clears_what_was_hidden(case: Case) -> None:
    """Once the API listed the group, nothing is hidden any more."""
    cut = case.payload("08-truncated-firing.json")
    case.hear(cut)
    case.hear(replace(cut, truncated=0))
    assert 0 == case.incident().hidden_alerts


def test_a_group_read_whole_and_found_empty_hides_nothing(case: Case) -> None:
    """The last notification of a cut group says "+3 not shown"; the API then shows none: nothing is hidden."""
    cut = case.payload("08-truncated-firing.json")
    case.hear(cut)
    case.tell("CDC-1", c.ReportGroup(cut.group_key))
    assert 0 == case.incident().hidden_alerts


def test_warning_that_becomes_critical_raises_the_same_incident(case: Case) -> None:
    """Inhibition hides the warning without a resolve: one incident, severity raised, the warning not resolved."""
    case.hear("01-first-firing.json")
    note = case.payload("01-first-firing.json")
    critical = alert("CDCConsumerLagCritical", "f9", severity="critical")
    case.hear(replace(note, alerts=(critical,)))
    assert (Severity.CRITICAL, 2) == (case.incident().severity, len(case.incident().firing))
    assert "SeverityRaised" in case.kinds()


def test_receiver_and_end_time_are_read_as_meant(case: Case) -> None:
    """`receiver` is regex-escaped, `endsAt` of a firing alert is year 1."""
    note = case.payload("01-first-firing.json")
    assert ("cdc-bot.prod", None) == (note.receiver, note.alerts[0].ends_at)
    assert "a.b+c" == unescape_receiver(r"a\.b\+c")


def test_changed_group_key_is_linked_by_fingerprint(case: Case) -> None:
    """Editing a route changes groupKey: an alert of no pipeline stays in its incident."""
    plain = case.payload("22-prometheus-schema-registry-409.json")
    case.hear(plain)
    again = replace(plain.alerts[0], starts_at=plain.alerts[0].starts_at + timedelta(minutes=1))
    case.hear(replace(plain, group_key="{}/{new}:{}", alerts=(again,)))
    assert ["CDC-1"] == list(case.board.incidents)


def test_alerts_without_a_pipeline_are_one_incident_per_group(case: Case) -> None:
    """No pipeline named: the group decides, and the default channel gets it."""
    plain = case.payload("22-prometheus-schema-registry-409.json")
    case.hear(plain)
    other = replace(plain.alerts[0], fingerprint="zz")
    case.hear(replace(plain, group_key="other", alerts=(other,)))
    assert ["CDC-1", "CDC-2"] == list(case.board.incidents)
    assert "#other" == case.incident().channel


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("consumergroup", "customers_canonical_flink"),
        ("group", "connect-customers-sink"),
        ("group_id", "customers_canonical_flink"),
        ("consumer_group", "customers_canonical_flink"),
        ("connector", "customers-source"),
        ("topic", "dlq.customers"),
        ("subject", "customers-value"),
    ],
)
def test_any_object_of_a_pipeline_names_it(case: Case, label: str, value: str) -> None:
    """Exporters name the group under five labels; all of them find the pipeline."""
    note = case.payload("01-first-firing.json")
    labels = {"alertname": "X", label: value}
    case.hear(replace(note, alerts=(replace(note.alerts[0], labels=labels),)))
    assert "customers" == case.incident().pipeline


def test_refused_schema_failed_connector_and_lag_are_one_incident(case: Case) -> None:
    """The three alerts of one cause join, whichever comes first."""
    note = case.payload("01-first-firing.json")
    for n, name in enumerate(("CDCConsumerLagWarning", "CDCConnectorFailed", "CDCSchemaRefusals")):
        case.hear(replace(note, group_key=name, alerts=(alert(name, f"f{n}"),)))
    assert ["CDC-1"] == list(case.board.incidents)
    assert {"consumer-lag", "connector-failed"} <= {r.runbook for r in case.incident().runbooks}


def test_alert_that_left_without_a_word_is_ended_and_says_so(case: Case) -> None:
    """An alert that ended while silenced gets no resolve: `ended`, with the reason, and recovery is looked for."""
    case.hear("01-first-firing.json")
    known = case.incident().firing[0]
    decision = end_alerts(case.incident(), [known.episode], "ended, no resolve was sent (silenced)")
    case._write(decision)
    assert ("ended", "ended, no resolve was sent (silenced)") == (
        case.incident().alerts[0].status, case.incident().alerts[0].note,
    )  # fmt: skip
    case.hear("01-first-firing.json")
    assert "firing" == case.incident().alerts[0].status, "it fires after all: news"


def test_resolve_of_an_alert_never_heard_of_opens_nothing(case: Case) -> None:
    """It ended before we knew: there is nothing to open."""
    case.hear("05-all-resolved.json")
    assert {} == case.board.incidents


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"{", "not JSON"),
        (b"[]", "not an Alertmanager"),
        (b"{}", "not an Alertmanager"),
        (b'{"version":"3","alerts":[]}', "version"),
        (b'{"version":"4","alerts":[{"status":"maybe","startsAt":"2026-01-01T00:00:00Z"}]}', "status"),
        (b"[" * 100_000, "not"),
    ],
)
def test_unreadable_bodies_say_where(body: bytes, words: str) -> None:
    """A body that is not a notification is refused with the place and the reason."""
    with pytest.raises(Unreadable, match=words):
        read_notification(body)


def test_grafana_is_understood(case: Case) -> None:
    """Grafana's own webhook says version 1 and adds fields: the alerts are the same."""
    body = (
        b'{"version":"1","receiver":"cdc","groupKey":"g","orgId":1,"title":"t","alerts":[{"status":"firing",'
        b'"labels":{"alertname":"Lag","group":"customers_canonical_flink"},"annotations":{},'
        b'"startsAt":"2026-11-23T02:00:00Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"ab","values":{"A":1}}]}'
    )
    note = read_notification(body)
    case.hear(note)
    assert ("grafana", "customers") == (note.sender, case.incident().pipeline)
