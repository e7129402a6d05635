"""The verbs: what people type, what is meant, and what they are answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from bot.commands import BY_NAME, VERBS, Order, Query, answer, order_command, parse_line, read_choice
from bot.incident import commands as c
from bot.incident import events as e
from bot.incident.correlation import Board
from bot.incident.runbook import Step
from bot.incident.state import fold
from bot.model import ConsumerGroup, GroupOffsets, PartitionOffsets, Pipeline, Plan, Refusal, Severity, Sink, Status
from bot.ports import Missing, TailSample, TopicOffsets, Unreachable
from bot.probes.sources import Sources
from tests.unit.quiet_kafka import QuietKafka

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
ALICE = e.Who("slack:U1", "alice")
PIPELINE = Pipeline(
    "customers",
    "#cdc",
    topics=("customers",),
    consumers=(ConsumerGroup("flink"),),
    sink=Sink("customers-sink", dlq="dlq.customers"),
)
PLAN = Plan("restart_failed_tasks", "source", "restart", (), {}, hash="9f3a")
STEPS = (
    Step("look", "triage", "Look"),
    Step("decide", "actions", "Decide", choices=("roll back", "roll forward")),
    Step("restart", "actions", "Restart", action="restart_failed_tasks", guard="responder"),
)


class Brokers(QuietKafka):
    """Kafka with one group and one topic; `down` refuses everything."""

    def __init__(self, down: bool = False) -> None:
        self._down = down

    def read_group(self, group: str, topics: Sequence[str], deadline_s: float) -> GroupOffsets:
        if self._down:
            raise Unreachable("kafka:9092: refused the connection")
        if group != "flink":
            raise Missing(f"no group {group}")
        partitions = (PartitionOffsets("customers", 0, 90, 0, 90), PartitionOffsets("customers", 1, None, 0, 5))
        return GroupOffsets(group, AT, "Stable", 1, partitions)

    def read_topic(self, topic: str, deadline_s: float) -> TopicOffsets:
        raise Missing(f"no topic {topic}")

    def sample_tail(self, topic: str, count: int, deadline_s: float) -> TailSample:
        if self._down:
            raise Unreachable("kafka:9092: refused the connection")
        raise Missing(f"no topic {topic}")


def entries(incident_id: str, *more: tuple[e.Who, e.Event]) -> list[e.Entry]:
    opened = e.IncidentOpened("it broke", "customers", Severity.CRITICAL, f"pipeline:{incident_id}", "#cdc", "n")
    told = [(e.ALERTMANAGER, opened), (e.ALERTMANAGER, e.RunbookAttached("r", "R", "h", STEPS)), *more]
    return [e.Entry(incident_id, n, AT + timedelta(seconds=n), who, event) for n, (who, event) in enumerate(told, 1)]


def board(*stories: list[e.Entry]) -> Board:
    made = Board()
    for story in stories:
        incident = fold(story)
        assert incident is not None
        made.put(incident)
    return made


ONE = entries("CDC-1", (ALICE, e.ActionPlanned("k1", "restart", PLAN, "responder")))
TWO = entries("CDC-2")
GONE = entries("CDC-3", (ALICE, e.IncidentResolved(False, "enough")))


# --- parse_line ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (Query("help"), ""),
        (Query("help"), "  HELP  "),
        (Query("incidents"), "incidents"),
        (Query("health"), "health"),
        (Query("incident", {"id": "CDC-12"}), "incident cdc-12"),
        (Query("postmortem", {"id": "CDC-12"}), "postmortem `CDC-12`"),
        (Query("lag", {"group": "customers_flink"}), "lag customers_flink"),
        (Query("lag", {"group": "customers_flink"}), "LAG “customers_flink”"),
        (Query("dlq", {"topic": "dlq.customers"}), "dlq dlq.customers"),
        (Query("schema", {"subject": "customers-value"}), "schema customers-value"),
        (Query("connector", {"name": "source"}), "connector source"),
        (Order(None, "ack"), "ack"),
        (Order("CDC-12", "ack"), "ack CDC-12"),
        (Order(None, "lead"), "lead"),
        (Order("CDC-1", "lead", {"id": "slack:U7", "name": "bob"}), "lead CDC-1 <@U7|bob>"),
        (Order(None, "note", {"text": "the DBA is on it"}), "note the DBA is on it"),
        (Order("CDC-12", "note", {"text": "the  DBA\nis on it"}), "note cdc-12 the  DBA\nis on it"),
        (Order(None, "open", {"pipeline": "customers", "text": "rows are late"}), "open customers rows are late"),
        (Order(None, "mitigate", {"reason": ""}), "mitigate"),
        (Order("CDC-2", "resolve", {"reason": "will watch it"}), "resolve CDC-2 will watch it"),
        (Order("CDC-2", "reopen", {"reason": "it is back"}), "reopen CDC-2 it is back"),
        (Order("CDC-2", "link", {"other": "CDC-1", "reason": "same column"}), "link CDC-2 CDC-1 same column"),
        (Order(None, "link", {"other": "CDC-1", "reason": "same column"}), "link CDC-1 same column"),
        (Order(None, "done", {"step": "look", "reason": ""}), "done look"),
        (Order("CDC-2", "skip", {"step": "look", "reason": "known"}), "skip CDC-2 look known"),
        (Order("CDC-2", "undo", {"step": "look", "reason": ""}), "undo CDC-2 look"),
        (Order(None, "plan", {"step": "restart"}), "plan restart"),
        (Order("CDC-2", "run", {"key": "k1"}), "run CDC-2 k1"),
    ],
)
def test_a_line_is_read_as_people_type_it(asked, text):
    """Ids in any case, names in any quotes, notes with their spaces kept."""
    assert asked == parse_line(text)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("There is no command `lgg`. Did you mean `lag [GROUP]`? `help` lists them.", "lgg flink"),
        ("There is no command `acknowledge`. Did you mean `ack [ID]`? `help` lists them.", "acknowledge CDC-1"),
        ("There is no command `zzz`. `help` lists them.", "zzz"),
        ("`dlq` needs a topic. Write `dlq TOPIC`.", "dlq"),
        ("`dlq` takes a topic and nothing else, and got 2 words. Write `dlq TOPIC`.", "dlq a b"),
        ("`incident` needs an incident's id, like CDC-12. Write `incident ID`.", "incident 12"),
        ("`note` needs a text. Write `note [ID] TEXT`.", "note CDC-1"),
        ("`ack` takes only an id like CDC-12, not “CDC12”. Write `ack [ID]`.", "ack CDC12"),
        ("`open` needs a pipeline and what is wrong. Write `open PIPELINE TEXT`.", "open"),
        ("`reopen` needs an id like CDC-12. Write `reopen ID [REASON]`.", "reopen it is back"),
        ("`done` needs a step; `incident ID` lists them. Write `done [ID] STEP [REASON]`.", "done CDC-1"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_nearest_way(words, text):
    """Nothing is guessed: the refusal names what lacks and how to write it."""
    refusal = parse_line(text)

    assert isinstance(refusal, Refusal)
    assert words == str(refusal)


def test_every_verb_of_the_help_is_read():
    """No verb is promised that the grammar does not know."""
    examples = {"ID": "CDC-1", "OTHER": "CDC-2", "[@PERSON]": "<@U1>"}
    for verb in VERBS:
        words = [
            examples.get(word.strip("[]") if "@" not in word else word, word.strip("[]")) for word in verb.usage.split()
        ]
        asked = parse_line(" ".join(words))
        assert not isinstance(asked, Refusal), f"{verb.usage}: {asked}"
        assert verb.name == asked.verb


# --- order_command -------------------------------------------------------------------------------


def test_without_an_id_the_only_open_incident_is_meant():
    """Resolved ones do not count."""
    assert ("CDC-1", c.AcknowledgeIncident(ALICE)) == order_command(Order(None, "ack"), ALICE, board(ONE, GONE))


def test_several_open_incidents_are_listed_and_none_is_guessed():
    """At 3 a.m. the wrong incident acknowledged is worse than a second command."""
    refusal = order_command(Order(None, "ack"), ALICE, board(ONE, TWO))

    assert isinstance(refusal, Refusal)
    assert "CDC-1 (critical, customers); CDC-2 (critical, customers)" in refusal.reason
    assert "Nothing was done." in refusal.reason


@pytest.mark.parametrize(
    ("reason", "order"),
    [
        ("There is no incident CDC-9.", Order("CDC-9", "ack")),
        ("CDC-1 has no plan k9. Nothing was done.", Order("CDC-1", "run", {"key": "k9"})),
    ],
)
def test_what_is_not_there_is_refused(reason, order):
    """An id or a key that the journal does not hold."""
    refusal = order_command(order, ALICE, board(ONE))

    assert isinstance(refusal, Refusal)
    assert reason == refusal.reason


def test_no_open_incident_is_said():
    """Nothing open, nothing meant."""
    assert Refusal("No incident is open.", "Name one by its id: `incidents` lists them.") == order_command(
        Order(None, "note", {"text": "x"}), ALICE, board(GONE)
    )


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (c.AddNote(ALICE, "x y"), "note x y"),
        (c.AssignLead(ALICE, ALICE), "lead"),
        (c.AssignLead(ALICE, e.Who("slack:U7", "bob")), "lead <@U7|bob>"),
        (c.MitigateIncident(ALICE, "paused"), "mitigate paused"),
        (c.ResolveIncident(ALICE, ""), "resolve"),
        (c.ReopenIncident(ALICE, ""), "reopen CDC-1"),
        (c.CompleteStep(ALICE, "look", None, "seen"), "done look seen"),
        (c.CompleteStep(ALICE, "decide", "roll back", "not needed"), "done decide Roll back: not needed"),
        (c.CompleteStep(ALICE, "decide", None, "because"), "done decide because"),
        (c.SkipStep(ALICE, "look", "known"), "skip look known"),
        (c.UndoStep(ALICE, "look"), "undo look"),
        (c.PlanAction(ALICE, step="restart"), "plan restart"),
        (c.RunAction(ALICE, "k1", "9f3a"), "run k1"),
        (c.ApproveAction(ALICE, "k1", "9f3a"), "approve k1"),
        (c.CancelAction(ALICE, "k1"), "cancel k1"),
    ],
)
def test_an_order_becomes_one_command(command, text):
    """The typed words carry what the decision needs, the stored plan's hash included."""
    order = parse_line(text)

    assert isinstance(order, Order)
    assert ("CDC-1", command) == order_command(order, ALICE, board(ONE))


def test_linking_to_an_open_incident_means_the_other_one():
    """`link CDC-2` with two open: the one that is not CDC-2."""
    order = Order(None, "link", {"other": "CDC-2", "reason": ""})

    assert ("CDC-1", c.LinkIncident(ALICE, "CDC-2", "")) == order_command(order, ALICE, board(ONE, TWO))


@pytest.mark.parametrize(
    ("choice", "reason", "text"),
    [
        ("roll back", "not needed", "roll back: not needed"),
        ("roll back", "not needed", "“roll back” not needed"),
        ("roll back", "", "ROLL BACK"),
        (None, "rolling", "rolling"),
        (None, "roll backwards", "roll backwards"),
    ],
)
def test_a_choice_stands_before_its_reason(choice, reason, text):
    """A choice is a whole word or words, in any case."""
    assert (choice, reason) == read_choice(("roll back", "roll forward"), text)


# --- answers -------------------------------------------------------------------------------------


def ask(text, sources=Sources(), made=None, pipelines=(PIPELINE,), told=(), command="/cdc"):
    query = parse_line(text)
    assert isinstance(query, Query)
    return answer(query, sources, pipelines, made or Board(), AT + timedelta(minutes=5), lambda _: told, command)


def test_lag_is_the_contracts_document_and_a_row_per_partition():
    """A partition never committed has null offset and lag, and is not summed."""
    report = ask("lag flink", Sources(kafka=Brokers()))
    document = json.loads(json.dumps(report.document))

    assert 0 == report.exit_code
    keys = {
        "group",
        "state",
        "members",
        "lag_records",
        "time_lag_s",
        "verdict",
        "evidence",
        "eta_s",
        "topics",
        "not_known",
    }
    assert keys <= set(document)
    partition = document["topics"][0]["partitions"][1]
    assert (None, None, "NEVER_COMMITTED") == tuple(
        partition[key] for key in ("committed_offset", "lag_records", "verdict")
    )
    assert ("1", "not known", "not known", "NEVER_COMMITTED") in report.table.rows
    wide = ask("lag flink", Sources(kafka=Brokers()), command="cdc")
    assert ("customers", "1", "not known", "0", "5", "not known", "NEVER_COMMITTED") in wide.table.rows


@pytest.mark.parametrize(
    ("code", "text", "sources"),
    [
        (3, "lag flink", Sources(kafka=Brokers(down=True))),
        (3, "lag flonk", Sources(kafka=Brokers())),
        (3, "dlq dlq.customers", Sources(kafka=Brokers())),
        (2, "schema customers-value", Sources()),
        (2, "connector x", Sources()),
        (3, "incident CDC-9", Sources()),
        (3, "postmortem CDC-9", Sources()),
        (0, "incidents", Sources()),
        (0, "help", Sources()),
    ],
)
def test_exit_codes_tell_missing_from_misconfigured(code, text, sources):
    """3: not reachable or not there. 2: nobody told the bot where to ask. Whatever the verdict, an answer is 0."""
    assert code == ask(text, sources).exit_code


def test_a_missing_group_is_told_with_the_nearest_known_one():
    """A typing error costs one line, not a search."""
    report = ask("lag flonk", Sources(kafka=Brokers()))

    assert ("/cdc lag flink",) == report.next_steps
    assert Status.UNKNOWN is report.status
    assert report.document["lag_records"] is None


def test_health_is_the_worst_of_each_pipeline_with_reasons():
    """What could not be seen makes a pipeline unknown, never green."""
    report = ask("health", Sources(kafka=Brokers(down=True)))

    assert Status.UNKNOWN is report.status
    assert "customers" == report.document[0]["pipeline"]
    assert "unknown" == report.document[0]["status"]
    assert report.not_known


def test_health_without_pipelines_is_unknown():
    """Nothing configured is not health."""
    assert Status.UNKNOWN is ask("health", pipelines=()).status


def test_incidents_are_open_first_and_all_are_in_the_document():
    """The table is for people and short; the document is whole."""
    report = ask("incidents", made=board(ONE, GONE))

    assert "1 open incident" == report.title
    assert ["CDC-1", "CDC-3"] == [entry["id"] for entry in report.document]
    assert ["CDC-1", "CDC-3"] == [row[0] for row in report.table.rows]


def test_an_incident_shows_steps_plans_and_the_next_move():
    """All that a responder needs to go on from a terminal, keys included."""
    report = ask("incident CDC-1", made=board(ONE), told=ONE)

    assert ("look", "triage", "todo", "Look") == report.table.rows[0]
    assert "plan k1: restart_failed_tasks on source, waiting" in report.notes
    assert ("/cdc ack CDC-1", "/cdc done CDC-1 look") == report.next_steps
    assert len(ONE) == len(report.document["timeline"])


def test_resolved_without_proof_is_never_green():
    """The colour says what was proved."""
    assert Status.UNKNOWN is ask("incident CDC-3", made=board(GONE), told=GONE).status


def test_the_help_lists_every_verb_with_the_configured_command():
    """One list for Slack and terminal."""
    report = answer(Query("help"), Sources(), (), Board(), AT, command="/data")

    assert set(BY_NAME) == {entry["verb"] for entry in report.document}
    assert all(row[0].startswith("/data ") for row in report.table.rows)
