"""The JSON of an incident: exactly the keys of contract.md, null where nothing is known."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from bot.incident import events as e
from bot.incident.documents import incident_document, incident_summary
from bot.incident.runbook import Step
from bot.incident.state import fold
from bot.model import Finding, Severity, Signal, Status

AT = datetime(2026, 11, 23, 14, 2, 11, 500_000, tzinfo=UTC)
ALICE = e.Who("slack:U1", "alice")
FINDING = Finding(
    "consumer_lag", "flink", "STUCK", Status.RED, "partition 2 is stuck", AT, Signal.LAG, {"lag_records": 5}, ("e",)
)
ENTRIES = [
    e.Entry("CDC-1", version, AT + timedelta(seconds=version), who, event)
    for version, (who, event) in enumerate(
        [
            (e.ALERTMANAGER, e.IncidentOpened("lag", None, Severity.WARNING, "group:g", "#cdc", "n")),
            (e.ALERTMANAGER, e.RunbookAttached("lag", "Lag", "h", (Step("look", "triage", "Look at the group"),))),
            (e.ALERTMANAGER, e.AlertFired("f1", AT, {"alertname": "CDCLag", "group": "flink"}, {})),
            (e.BOT, e.ProbeReported(FINDING)),
            (ALICE, e.StepSkipped("look", "seen already")),
        ],
        1,
    )
]
INCIDENT = fold(ENTRIES)


def test_the_summary_has_the_keys_of_the_contract():
    """Scripts read these keys from the first release on; a time that has not come is null."""
    document = incident_summary(INCIDENT)
    contract = {
        "id": "CDC-1",
        "status": "open",
        "severity": "warning",
        "pipeline": None,
        "title": "lag",
        "opened_at": "2026-11-23T14:02:12Z",
        "acknowledged_at": None,
        "mitigated_at": None,
        "resolved_at": None,
        "link": None,
    }

    assert contract == {key: document[key] for key in contract}
    alert = {
        "fingerprint": "f1",
        "starts_at": "2026-11-23T14:02:11Z",
        "ends_at": None,
        "status": "firing",
        "labels": {"alertname": "CDCLag", "group": "flink"},
    }
    assert [alert] == document["alerts"]
    assert [("look", "skipped")] == [(step["id"], step["status"]) for step in document["steps"]]


def test_the_link_is_the_one_given():
    """The document leads to the incident's thread, where there is one."""
    assert "https://slack.example/t" == incident_summary(INCIDENT, "https://slack.example/t")["link"]
    assert incident_summary(INCIDENT)["link"] is None


def test_the_document_adds_timeline_and_findings_and_is_plain_json():
    """One incident holds its whole story, serialisable as it is."""
    document = incident_document(INCIDENT, ENTRIES)

    assert document == json.loads(json.dumps(document))
    assert len(ENTRIES) == len(document["timeline"])
    assert {"at", "who", "what", "evidence"} == set(document["timeline"][0])
    finding = document["findings"][0]
    assert ("consumer_lag", "STUCK", "partition 2 is stuck", {"lag_records": 5}, "2026-11-23T14:02:11Z") == tuple(
        finding[key] for key in ("probe", "verdict", "headline", "facts", "at")
    )
