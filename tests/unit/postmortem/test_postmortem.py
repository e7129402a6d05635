"""The postmortem of a realistic incident: what is proved, what is not known, nothing invented."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.incident import events as e
from bot.incident.facts import PostmortemFacts, postmortem_facts
from bot.incident.runbook import Step
from bot.incident.state import fold
from bot.model import Finding, Plan, Severity, Signal, Status
from bot.render.postmortem import md, postmortem_document, render_markdown

FIRED = datetime(2026, 11, 23, 14, 0, 30, tzinfo=UTC)
AT = datetime(2026, 11, 23, 14, 2, 0, tzinfo=UTC)
ALICE, BOB = e.Who("slack:U1", "alice"), e.Who("slack:U2", "bob")

CAUSE = "customers-value: field tier conflicts with registered version 3 (added without a default)"


def connector(state: str, headline: str, at: datetime, delivered: int | None = 1_200) -> Finding:
    status = Status.GREEN if state == "RUNNING" else Status.RED
    facts = {"connector": "customers-source", "type": "source", "state": "RUNNING", "delivered_total": delivered}
    evidence = () if status is Status.GREEN else (f"task 0 FAILED: {CAUSE}",)
    return Finding(
        "connector_state", "customers-source", state, status, headline, at, Signal.CONNECTOR, facts, evidence
    )


def lag(records: int | None, at: datetime, earliest: int = 0, committed: int = 1_000) -> Finding:
    partition = {
        "partition": 0,
        "committed_offset": committed,
        "earliest_offset": earliest,
        "log_end_offset": None if records is None else committed + records,
        "lag_records": records,
        "verdict": "UNKNOWN",
    }
    facts = {
        "lag_records": records,
        "topics": [{"topic": "customers", "lag_records": records, "partitions": [partition]}],
    }
    headline = "UNKNOWN: lag not known" if records is None else f"UNKNOWN: lag {records:,}"
    unseen = ("state of group flink: needs DESCRIBE on group flink",)
    return Finding("consumer_lag", "flink", "UNKNOWN", Status.UNKNOWN, headline, at, Signal.LAG, facts, (), unseen)


def queue(end: int, records: int, at: datetime, groups: list[dict[str, object]] | None = None) -> Finding:
    facts = {"records": records, "end_total": end, "groups": groups or []}
    return Finding("dead_letters", "dlq.customers", "PRESENT", Status.YELLOW, f"{records} dead letters", at,
                   Signal.DEAD_LETTERS, facts)  # fmt: skip


STEPS = (
    Step("read_error", "triage", "Read the task's error"),
    Step("look_at_flink", "triage", "Is the Flink job running?"),
    Step("decide", "actions", "Roll back or roll forward", choices=("roll back", "roll forward")),
    Step("restart", "actions", "Restart the failed tasks", action="restart_failed_tasks", guard="responder"),
    Step("capture", "post_incident", "Capture the root cause in the runbook"),
    Step("ci", "post_incident", "Update the schema checks in CI"),
)
PLAN = Plan(
    "restart_failed_tasks",
    "customers-source",
    "Restart task 0 of customers-source",
    ("POST /connectors/customers-source/restart?includeTasks=true&onlyFailed=true", "Tasks that run are left alone."),
    {},
    ("at least one of task 0 is still FAILED",),
    (f"It failed with: {CAUSE}. If that is not repaired, it fails again.",),
    "9f3a7c",
)
STORY: tuple[tuple[int, e.Who, e.Event], ...] = (
    (0, e.ALERTMANAGER, e.IncidentOpened("customers: connector customers-source has failed", "customers",
        Severity.CRITICAL, "pipeline:customers", "#cdc-incidents", "n", "@data", "0.1.0", "c0ffee123456")),
    (0, e.ALERTMANAGER, e.RunbookAttached("connector-failed", "Connector failed", "abc123def456", STEPS)),
    (0, e.ALERTMANAGER, e.AlertFired("f1", FIRED,
        {"alertname": "CDCConnectorFailed", "severity": "critical", "connector": "customers-source"},
        {"summary": "customers: connector customers-source has failed"})),
    (3, e.BOT, e.ProbeReported(connector("FAILED", f"task 0 FAILED: {CAUSE}", AT + timedelta(seconds=3)))),
    (4, e.BOT, e.ProbeReported(lag(7, AT + timedelta(seconds=4)))),
    (4, e.BOT, e.ProbeReported(queue(20, 2, AT + timedelta(seconds=4)))),
    (45, ALICE, e.IncidentAcknowledged()),
    (100, ALICE, e.StepDone("read_error")),
    (160, ALICE, e.NoteAdded("bob added the column by hand this afternoon <!channel>")),
    (240, BOB, e.StepDone("decide", "roll forward", "the column is wanted; SET DEFAULT puts it right")),
    (250, BOB, e.StepSkipped("look_at_flink", "Flink reads what arrives; nothing arrives")),
    (300, ALICE, e.ActionPlanned("k1", "restart", PLAN, "responder", (connector("FAILED", "x", AT),))),
    (310, ALICE, e.ActionConfirmed("k1", "9f3a7c")),
    (311, ALICE, e.ActionStarted("k1")),
    (312, e.BOT, e.ActionFinished("k1", True, "Connect answered: 202")),
    (325, e.BOT, e.ActionVerified("k1", True, ("customers-source: all tasks RUNNING, 41 records delivered since",))),
    (325, e.BOT, e.StepDone("restart", None, "action restart_failed_tasks verified")),
    (325, e.BOT, e.IncidentMitigated("restart_failed_tasks verified")),
    (325, e.BOT, e.ProbeReported(connector("RUNNING", "RUNNING, 1 task", AT + timedelta(seconds=325), 1_241))),
    (330, e.BOT, e.ProbeReported(lag(48, AT + timedelta(seconds=330)))),
    (365, e.ALERTMANAGER, e.AlertResolved("f1", FIRED, AT + timedelta(seconds=360))),
    (366, e.BOT, e.RecoveryNotVerified(("customers-source: RUNNING and delivering; it must hold for 20 s",), True)),
    (390, e.BOT, e.ProbeReported(lag(0, AT + timedelta(seconds=390), committed=1_048))),
    (392, e.BOT, e.RecoveryProved(("customers-source: RUNNING, 41 records delivered since it broke", "flink: lag 0"))),
    (392, e.BOT, e.IncidentResolved(True, "recovery proved, alerts cleared")),
)  # fmt: skip


def facts_of(story: tuple[tuple[int, e.Who, e.Event], ...]) -> PostmortemFacts:
    entries = [
        e.Entry("CDC-12", version, AT + timedelta(seconds=second), who, event)
        for version, (second, who, event) in enumerate(story, 1)
    ]
    incident = fold(entries)
    assert incident is not None
    return postmortem_facts(incident, entries, AT + timedelta(hours=1))


def facts_with(*more: tuple[int, e.Who, e.Event]) -> PostmortemFacts:
    return facts_of((*STORY[:3], *more))


def test_harm_is_older_than_its_notice_and_every_duration_says_from_when():
    """Detection counts from the alert's own start; acknowledgement from the notice; the rest from the harm."""
    times = facts_of(STORY).times

    assert times.harm_began is not None
    assert (FIRED, "CDCConnectorFailed began to fire") == (times.harm_began.at, times.harm_began.why)
    assert (AT, "the first alert arrived") == (times.noticed.at, times.noticed.why)
    assert (90, 45, 415, 482) == (times.detect_s, times.acknowledge_s, times.mitigate_s, times.resolve_s)


def test_the_peak_of_the_lag_is_what_was_delayed():
    """Records delayed are the most that a look saw waiting; between looks there may have been more."""
    delayed = facts_of(STORY).delayed

    assert (48, "at least") == (delayed.records, delayed.qualifier)


def test_rows_that_waited_in_the_database_are_not_called_zero():
    """A failed source has no lag in Kafka: nothing arrives. How many rows waited is not known, and said so."""
    facts = facts_with(
        (3, e.BOT, e.ProbeReported(connector("FAILED", "task 0 FAILED", AT, 1_200))),
        (4, e.BOT, e.ProbeReported(lag(0, AT))),
        (90, e.BOT, e.ProbeReported(connector("RUNNING", "RUNNING", AT, 1_241))),
    )

    assert facts.delayed.records is None
    assert any("it delivered 41 records from then to the last look" in line for line in facts.delayed.evidence)


def test_a_changed_schema_is_no_suspect_for_a_lag():
    """Yellow upstream of what the alerts name is not called broken."""
    changed = Finding("schema_changes", "customers-value", "CHANGED", Status.YELLOW, "version 1", AT, Signal.SCHEMA)
    fired = e.AlertFired("f2", AT, {"alertname": "CDCConsumerLagWarning"}, {})
    facts = facts_of(
        (
            *STORY[:2],
            (0, e.ALERTMANAGER, fired),
            (1, e.BOT, e.ProbeReported(changed)),
            (2, e.BOT, e.ProbeReported(lag(9, AT))),
        )
    )

    assert facts.cause is not None
    assert "flink" == facts.cause.target
    assert "Of the part that the alerts name the probes said: flink: UNKNOWN: lag 9." in render_markdown(facts)


def test_healthy_parts_are_one_line():
    """A reader looks for what was broken; what was not is said once."""
    text = render_markdown(facts_with((3, e.BOT, e.ProbeReported(connector("RUNNING", "1 of 1 task RUNNING", AT)))))

    assert "- Healthy at every look: customers-source (connector_state: 1 of 1 task RUNNING)" in text


def test_steps_that_were_not_done_are_listed_with_their_reason():
    """What the runbook asked for and nobody did is for the review."""
    text = render_markdown(facts_of(STORY))

    assert "- Is the Flink job running?: skipped by bob: Flink reads what arrives; nothing arrives" in text


def test_no_gap_before_the_log_means_nothing_lost():
    """Zero is said only where offsets were compared."""
    assert 0 == facts_of(STORY).lost.records


def test_deleted_unread_records_are_lost_with_their_range():
    """A committed offset before the log's start names the range; it is an upper bound."""
    lost = facts_with((5, e.BOT, e.ProbeReported(lag(10, AT, earliest=1_200)))).lost

    assert (200, "up to") == (lost.records, lost.qualifier)
    assert ("flink, customers/0: offsets 1,000..1,199 were deleted before they were read",) == lost.evidence


def test_what_no_probe_could_read_is_not_a_number():
    """Unknown is null with its reason, never 0."""
    facts = facts_with((5, e.BOT, e.ProbeReported(lag(None, AT))))

    assert facts.delayed.records is None
    assert facts.dead_lettered.records is None
    assert "How many records were dead-lettered: no dead letter queue was looked at." in facts.not_known
    assert "How many records were delayed: no look at a consumer group could read its lag." in facts.not_known


@pytest.mark.parametrize(
    ("records", "qualifier", "first", "last_end"),
    [
        (5, "", [], 15),  # nothing there at first, five more later
        (8, "", [{"count": 3, "first_at": "2026-11-23T13:59:00Z"}], 15),  # young ones are this incident's
        (5, "", [{"count": 3, "first_at": "2026-11-20T13:59:00Z"}], 15),  # old ones are another's
        (3, "", [{"count": 3, "first_at": "2026-11-23T13:59:00Z"}], 10),
    ],
)
def test_dead_letters_are_those_of_this_incident(records, qualifier, first, last_end):
    """The first look's young letters and all that came after it; those that lay there for days are not ours."""
    held = sum(int(str(group["count"])) for group in first)
    facts = facts_with(
        (5, e.BOT, e.ProbeReported(queue(10, held, AT + timedelta(seconds=5), first))),
        (60, e.BOT, e.ProbeReported(queue(last_end, held + last_end - 10, AT + timedelta(seconds=60)))),
    )

    assert (records, qualifier) == (facts.dead_lettered.records, facts.dead_lettered.qualifier)


def test_a_sample_smaller_than_the_queue_is_a_lower_bound():
    """What was not sampled may be of this incident too."""
    young = [{"count": 3, "first_at": "2026-11-23T13:59:00Z"}]
    dead = facts_with((5, e.BOT, e.ProbeReported(queue(500, 500, AT, young)))).dead_lettered

    assert (3, "at least") == (dead.records, dead.qualifier)


def test_the_first_dead_letter_can_be_the_beginning_of_harm():
    """An alert on a rate comes minutes after the first record that failed."""
    young = [{"count": 3, "first_at": "2026-11-23T13:51:00Z"}]
    harm = facts_with((5, e.BOT, e.ProbeReported(queue(3, 3, AT, young)))).times.harm_began

    assert harm is not None
    assert ("2026-11-23 13:51:00+00:00", "the first dead letter in dlq.customers") == (str(harm.at), harm.why)


def test_a_queue_made_anew_is_not_a_negative_count():
    """A log end that went back proves nothing about how many failed."""
    facts = facts_with(
        (5, e.BOT, e.ProbeReported(queue(500, 1, AT))),
        (60, e.BOT, e.ProbeReported(queue(2, 2, AT + timedelta(seconds=60)))),
    )

    assert facts.dead_lettered.records is None


def test_resolved_without_proof_is_flagged_at_the_top():
    """The reader must not have to find it in the timeline."""
    facts = facts_with((600, ALICE, e.IncidentResolved(False, "will watch it over night")))
    text = render_markdown(facts)

    assert "Resolved without proof of recovery." in facts.flags
    assert text.index("**without proof of recovery**") < text.index("## Summary")
    assert "- 14:12:00 alice decided **resolved** (without proof of recovery): will watch it over night" in text


def test_unknown_outcomes_and_break_glass_are_flagged():
    """What nobody knows, and what went round a guard, stands in the notes and in what is not known."""
    facts = facts_with(
        (10, ALICE, e.ActionPlanned("k1", None, PLAN, "responder")),
        (11, ALICE, e.ActionConfirmed("k1", "9f3a7c")),
        (12, ALICE, e.ActionStarted("k1")),
        (30, e.BOT, e.ActionOutcomeUnknown("k1", "no answer in 8 s")),
        (40, BOB, e.ActionRefused("k2", "silence_alerts", "not enabled", break_glass=True)),
    )

    assert (
        "The outcome of restart_failed_tasks on customers-source is unknown: no answer in 8 s",
        "Break-glass was used for silence_alerts: not enabled",
    ) == facts.flags
    assert "**restart_failed_tasks on customers-source**: **outcome unknown**" in render_markdown(facts)


def test_an_action_stands_with_its_plan_its_outcome_and_its_proof():
    """Who asked, what was going to be done, what the system answered, what a probe then saw."""
    text = render_markdown(facts_of(STORY))

    for line in (
        "- **restart_failed_tasks on customers-source**: carried out, verified",
        "  - 14:07:00 asked for by alice, run by alice",
        "  - Plan: Restart task 0 of customers-source",
        "  - Outcome: Connect answered: 202",
        "  - Verification: customers-source: all tasks RUNNING, 41 records delivered since",
    ):
        assert line in text.splitlines()


def test_blanks_are_left_for_people():
    """Root cause, the three questions, owners and due dates are not for a machine to fill in."""
    text = render_markdown(facts_of(STORY))

    assert 4 == text.count("_to be written_")
    assert "| Capture the root cause in the runbook | todo | | |" in text


def test_foreign_text_cannot_ping_or_break_the_page():
    """A note may hold a mention, a table or HTML; it is shown, not obeyed."""
    text = render_markdown(facts_of(STORY))

    assert "<!channel>" not in text
    assert "&lt;!channel&gt;" in text


@pytest.mark.parametrize(
    ("shown", "raw"),
    [
        ("&lt;script&gt;", "<script>"),
        ("a \\| b", "a | b"),
        ("a b", "a\n\nb"),
        ("\\# heading", "# heading"),
        ("\\- item", "- item"),
        ("1\\. item", "1. item"),
        ("0.1.0", "0.1.0"),
        ("-1 is no count", "-1 is no count"),
        ("restart_failed_tasks", "restart_failed_tasks"),
        ("\\_emphasis\\_", "_emphasis_"),
        ("\\*bold\\*", "*bold*"),
        ("\\[text\\](http://x)", "[text](http://x)"),
        ("&amp;lt;", "&lt;"),
        ("customers & orders", "customers & orders"),
        ("red", "\x1b[31mred".replace("[31m", "")),
    ],
)
def test_markdown_shows_foreign_text_as_it_is(shown, raw):
    """No HTML, no accidental structure; identifiers stay readable."""
    assert shown == md(raw)


def test_a_label_of_ten_thousand_characters_is_cut_and_says_so():
    """A postmortem is read by people."""
    assert md("x" * 10_000).endswith("… (9,400 characters more)")


def test_the_json_holds_the_same_facts_as_plain_values():
    """Unknown is null; numbers are numbers."""
    document = postmortem_document(facts_of(STORY))

    assert document == json.loads(json.dumps(document))
    assert 48 == document["impact"]["records_delayed"]["records"]
    assert "2026-11-23T14:00:30Z" == document["times"]["harm_began_at"]
    assert 482 == document["times"]["resolve_s"]


def test_an_open_incident_makes_a_draft():
    """Exported in the middle, it says so and claims no end."""
    text = render_markdown(facts_of(STORY[:8]))

    assert "> **Draft.** The incident is not over; this is how it stood at 2026-11-23T15:02:00Z." in text
    assert "It is acknowledged, not resolved." in text
    assert "| Resolved | not resolved |" in text


def test_without_any_finding_nothing_is_claimed():
    """Probes that never answered leave blanks and say so."""
    facts = facts_of(STORY[:2])
    text = render_markdown(facts)

    assert facts.times.harm_began is None
    assert "No probe saw a broken part." in text
    assert "When harm began: no alert and no record names a time before the notice." in text


def test_looks_that_tell_nothing_new_are_left_out_of_the_findings():
    """A lag on its way down is one story: the changes of verdict, and the last look."""
    text = render_markdown(facts_of(STORY))
    looks = [line for line in text.splitlines() if "lag " in line and line.startswith("  - 14:")]

    assert ["  - 14:02:04 unknown: UNKNOWN: lag 7", "  - 14:08:30 unknown: UNKNOWN: lag 0"] == looks


def test_the_incident_is_not_changed_by_being_told():
    """Facts are a function of the entries: the same entries make the same file."""
    assert render_markdown(facts_of(STORY)) == render_markdown(replace(facts_of(STORY)))
