"""An alert that ends while it is silenced: Alertmanager sends no resolve; the bot neither invents nor misses it.

The last test of the run: the silence was made by the first, and Alertmanager is asked once a minute.
"""

from tests.system.walk import OnCall


def test_an_alert_that_ends_silenced_is_ended_and_not_resolved(silenced: OnCall) -> None:
    """It is missing at two looks of a minute: ended, with the words that no resolve was sent, and why."""
    ended = silenced.wait_for_incident(
        lambda incident: [one["status"] for one in incident["alerts"]] == ["ended"], "ended", "CDC-1", deadline_s=200
    )

    told = [row["what"] for row in silenced.incident(ended["id"])["timeline"]]
    assert "LagHigh ended: ended, no resolve was sent (silenced)" in told
    assert ["firing"] == [one["status"] for one in silenced.incidents()[0]["alerts"]], "the other one fires on"
