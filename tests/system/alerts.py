"""Alerts by hand, for a real Alertmanager: an alertmanager.yml in seconds, and an alert that is silenced early."""

from datetime import UTC, datetime, timedelta

import yaml

from tests.system.pipeline import alertmanager_config
from tests.system.walk import Json, OnCall


def quick(webhook_url: str, token: str) -> str:
    """Return an alertmanager.yml that speaks every 2 s, repeats after 4, and cuts the list of `cut: yes` to 2."""
    document = yaml.safe_load(alertmanager_config(webhook_url, token, ["pipeline"], "4s"))
    document["route"]["group_interval"] = "2s"
    document["route"]["routes"] = [{"receiver": "cutting", "matchers": ['cut = "yes"']}]
    [whole] = document["receivers"]
    cutting = {**whole["webhook_configs"][0], "max_alerts": 2}
    document["receivers"].append({"name": "cutting", "webhook_configs": [cutting]})
    return str(yaml.safe_dump(document))


def alert(pipeline: str, ends_at: datetime | None = None, **labels: str) -> Json:
    """Return an alert as Prometheus posts it; one of a pipeline that cdc.yml does not know still correlates."""
    posted: Json = {
        "labels": {"alertname": "LagHigh", "severity": "warning", "pipeline": pipeline, **labels},
        "annotations": {"summary": f"{pipeline} is behind"},
        "generatorURL": "http://prometheus.example/graph",
    }
    return posted if ends_at is None else {**posted, "endsAt": ends_at.isoformat()}


def silence_through_the_bot(oncall: OnCall) -> OnCall:
    """Have alice silence the first incident's alert, which ends by itself 70 s after it fired; return `oncall`."""
    oncall.alertmanager.post_alerts(alert("silenced", datetime.now(UTC) + timedelta(seconds=70)))
    oncall.channel.wait_for("checklist", incident="CDC-1")
    oncall.alertmanager.post_alerts(alert("heard", datetime.now(UTC) + timedelta(hours=2)))  # outlasts the run
    oncall.channel.wait_for("checklist", incident="CDC-2")
    alice = oncall.alice.on("CDC-1")
    alice.acknowledge()
    plan = alice.plan("silence_alerts")
    assert "Silence 1 alert for 60 min" in plan
    alice.run()
    oncall.channel.wait_for("plan:", "Done and verified", incident="CDC-1", deadline_s=30)
    return oncall
