"""A stopped sink, walked on the real pipeline: lag warns, then pages in the same incident, then drains."""

from collections.abc import Callable

from tests.system.golden import compare_with_golden
from tests.system.parts import wait_until
from tests.system.walk import Walk

NewWalk = Callable[..., Walk]
LAG_ON_THE_WAY = (
    (r"\blag (60|260)\b", "lag <n>"),
    (r"public\.customers/[01]: \d+ unread", "public.customers/<n>: <n> unread"),
    (r"lag <n>, .+?, no members", "lag <n>, <what was committed>, no members"),
)


def test_lag_is_walked_from_warning_over_critical_to_proved_recovery(new_walk: NewWalk) -> None:
    """The sink is stopped through Connect: one incident, raised to critical; resumed through Connect, lag drains."""
    walk = new_walk("walk4", lag_warn="20 for 2s", lag_page="100 for 2s")
    pipeline, oncall, channel, alice = walk.pipeline, walk.oncall, walk.channel, walk.alice
    pipeline.insert(20)
    pipeline.wait_for_rows(21)
    wait_until(lambda: pipeline.total_lag() == 0, "all committed")

    pipeline.stop_sink()
    pipeline.insert(60)
    channel.wait_for("card", "Warning · walk4-customers", "CDCConsumerLagWarning", pipeline.group)
    alice.acknowledge()
    pipeline.insert(200)
    channel.wait_for("page:severity-critical", "Severity raised to critical")
    channel.wait_for("card", "Critical, acknowledged · walk4-customers")

    answer = alice.type("/cdc", f"lag {pipeline.group}")
    assert "260" in answer
    for step in ("consumer_lag", "connector_state", "schema_changes", "dead_letters"):
        alice.tick(step)
    pipeline.resume_sink()
    alice.tick("consumer_healthy")

    pipeline.wait_for_rows(281)
    channel.wait_for("page:recovered", "Recovery proved", deadline_s=60)
    channel.wait_for("card", "Resolved (critical)", deadline_s=60)
    [incident] = oncall.incidents()
    assert ("resolved", "critical") == (incident["status"], incident["severity"])
    assert {"CDCConsumerLagWarning", "CDCConsumerLagCritical"} == {a["labels"]["alertname"] for a in incident["alerts"]}
    assert 1 == len(channel.cards())
    assert 0 == pipeline.total_lag()
    compare_with_golden("lag", alice.export(), LAG_ON_THE_WAY)
