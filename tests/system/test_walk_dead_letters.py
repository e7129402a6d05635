"""Poison records, walked on the real pipeline: the queue grows, the producer is stopped, good records prove it."""

from collections.abc import Callable

from tests.system.golden import compare_with_golden
from tests.system.walk import Walk, words

NewWalk = Callable[..., Walk]
# Whether a look fell between the insert and the sink's commit, so that it saw a lag, is chance.
LAG_IN_BETWEEN = (
    (r"Records delayed: (at least \d+|none seen)", "Records delayed: <seen>"),
    (r"\| Delayed \| .*", "| Delayed | <seen> |"),
    (r"while \d+ were processed", "while <n> were processed"),
)


def test_dead_letters_are_walked_to_proved_recovery(new_walk: NewWalk) -> None:
    """No action of the bot fits: the responder stops the bad producer, marks the step done, and that is acting.

    Samples are grouped by stage and exception and masked: no value of a record is anywhere in Slack. Recovery is no
    new dead letter *while records are processed*; silence alone is not believed.
    """
    walk = new_walk("walk3")
    pipeline, oncall, channel, alice = walk.pipeline, walk.oncall, walk.channel, walk.alice
    pipeline.insert(20)
    pipeline.wait_for_rows(21)

    pipeline.produce_poison(4)
    pipeline.wait_for_dead_letters(4)

    channel.wait_for("card", "Warning · walk3-customers", "CDCDeadLettersGrowing", "Dead letters *4 records*")
    findings = words(channel.wait_for("findings", "4 dead letters", "VALUE_CONVERTER"))
    assert f"topic {pipeline.topic}" in findings
    answer = words(alice.type("/cdc", f"dlq {pipeline.dlq}"))
    assert "VALUE_CONVERTER: IllegalStateException" in answer
    assert '{"id": "long", "name": "string"}' in answer
    assert "not Avro at all" not in channel.everything() + alice.told()

    alice.acknowledge()
    for step in ("dead_letters", "schema_changes", "connector_state"):
        alice.tick(step)
    alice.tick("bad_producer")
    alice.tick("defend")
    pipeline.insert(16)
    pipeline.wait_for_rows(37)

    channel.wait_for("page:recovered", "Recovery proved", "no new dead letter", "were processed", deadline_s=60)
    channel.wait_for("card", "Resolved (warning)", deadline_s=60)
    [incident] = oncall.incidents()
    assert "resolved" == incident["status"]
    assert incident["acknowledged_at"] <= incident["mitigated_at"] <= incident["resolved_at"]
    assert 4 == len(pipeline.dead_letters())
    compare_with_golden("dead-letters", alice.export(), LAG_IN_BETWEEN, transient=("RESIDUAL",))
