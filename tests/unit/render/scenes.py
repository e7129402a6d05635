"""Incidents to render: four that happen, one that is huge and one whose every word is hostile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.incident import events as e
from bot.incident.policy import Policy
from bot.incident.runbook import Step
from bot.incident.state import Incident, fold
from bot.model import ConsumerGroup, Finding, GroupKind, Pipeline, Plan, Severity, Signal, Sink, Status
from bot.render.cards import View

T0 = datetime(2026, 11, 23, 2, 4, tzinfo=UTC)
ALICE, BOB = e.Who("slack:U01ALICE", "alice"), e.Who("slack:U02BOB", "bob")
CUSTOMERS = Pipeline(
    "customers",
    "#cdc-incidents",
    "S01DATAPLATFORM",
    "customers-postgres-source",
    ("customers",),
    ("customers-value", "customers-key"),
    (ConsumerGroup("customers_canonical_flink", GroupKind.FLINK, "customers-canonical"),),
    Sink("customers-iceberg-sink", "lake.customers", "dlq.customers"),
)
POLICY = Policy({"customers": CUSTOMERS}, (), "#cdc-incidents", actions=frozenset({"restart_failed_tasks"}))
STEPS = (
    Step(
        "schema.changes",
        "triage",
        "Look at recent schema changes on the subject",
        probe="schema_changes",
        command="{cdc} schema {subject}",
    ),
    Step(
        "dlq.patterns",
        "triage",
        "Read the dead letters: one pattern, or many?",
        probe="dead_letters",
        command="{cdc} dlq {dlq}",
    ),
    Step(
        "lag.group",
        "triage",
        "Is the consumer running, and how far behind is it?",
        probe="consumer_lag",
        command="{cdc} lag {group}",
    ),
    Step("schema.freeze", "actions", "Freeze schema changes on the subject"),
    Step(
        "schema.decide",
        "actions",
        "Decide: roll back the change, or roll forward with a default",
        choices=("roll back", "roll forward"),
    ),
    Step(
        "connector.restart",
        "actions",
        "Restart the failed tasks, once the cause is repaired",
        action="restart_failed_tasks",
        guard="responder",
        when=("FAILED",),
        command="curl -X POST '{connect}/connectors/{connector}/restart?includeTasks=true&onlyFailed=true'",
    ),
    Step("after.cause", "post_incident", "Write the root cause into the runbook"),
    Step("after.ci", "post_incident", "Add the change to the schema checks in CI", command="cdc check schema"),
)


@dataclass
class Scene:
    """Events in order, a minute apart unless told; `incident` is their fold."""

    entries: list[e.Entry] = field(default_factory=list)
    now: datetime = T0
    id: str = "CDC-12"

    def add(self, event: e.Event, who: e.Who = e.BOT, minutes: float = 1.0) -> Scene:
        self.now += timedelta(minutes=minutes)
        self.entries.append(e.Entry(self.id, len(self.entries) + 1, self.now, who, event))
        return self

    @property
    def incident(self) -> Incident:
        incident = fold(self.entries)
        assert incident is not None
        return incident

    def view(self, **changes: Any) -> View:
        return replace(View(POLICY, self.now + timedelta(seconds=30)), **changes)


def opened(
    severity: Severity = Severity.CRITICAL, title: str = "Connector customers-postgres-source has failed tasks"
) -> Scene:
    scene = Scene()
    scene.add(
        e.IncidentOpened(
            title, "customers", severity, "pipeline:customers", "#cdc-incidents", "5f3a9c1e", CUSTOMERS.owner, "0.1.0"
        ),
        e.ALERTMANAGER,
        0,
    )
    scene.add(e.RunbookAttached("schema-incompatible", "Schema incompatible", "abc", STEPS), e.ALERTMANAGER, 0)
    scene.add(fired("CdcConnectorFailed", severity, "Task 0 of customers-postgres-source is FAILED"), minutes=0)
    return scene


def fired(name: str, severity: Severity = Severity.CRITICAL, summary: str = "", **labels: str) -> e.AlertFired:
    return e.AlertFired(
        f"fp-{name}",
        T0 - timedelta(minutes=4),
        {"alertname": name, "severity": str(severity), "pipeline": "customers", **labels},
        {"summary": summary} if summary else {},
        "http://alertmanager:9093",
    )


def finding(
    probe: str,
    target: str,
    verdict: str,
    status: Status,
    headline: str,
    signal: Signal,
    at: datetime = T0,
    evidence: Sequence[str] = (),
    not_known: Sequence[str] = (),
    **facts: Any,
) -> Finding:
    return Finding(probe, target, verdict, status, headline, at, signal, facts, tuple(evidence), tuple(not_known))


REFUSED = finding(
    "connector_state",
    "customers-postgres-source",
    "FAILED",
    Status.RED,
    "task 0 FAILED: subject customers-value refuses field tier (no default) against version 3",
    Signal.CONNECTOR,
    evidence=(
        "task 0 FAILED on worker 10.0.0.4:8083",
        "registry: 409, incompatible with an earlier schema; reader field tier has no default value",
        "42,117 records delivered in all",
    ),
    failed_tasks=[0],
)
SCHEMA = finding(
    "schema_changes",
    "customers-value",
    "NO_CHANGE",
    Status.GREEN,
    "newest version 3, registered 2026-11-02T09:14:00Z",
    Signal.SCHEMA,
    evidence=("compatibility BACKWARD, mode READWRITE",),
)
NO_LETTERS = finding(
    "dead_letters", "dlq.customers", "NONE", Status.GREEN, "no dead letters", Signal.DEAD_LETTERS, records=0
)
LAG = finding(
    "consumer_lag",
    "customers_canonical_flink",
    "UNKNOWN",
    Status.YELLOW,
    "UNKNOWN: lag 12,408",
    Signal.LAG,
    evidence=("one sample: ask again in 30 s",),
    not_known=("state and members of customers_canonical_flink: needs DESCRIBE on the group",),
    lag_records=12_408,
)
PLAN = Plan(
    "restart_failed_tasks",
    "customers-postgres-source",
    "Restart the failed tasks of customers-postgres-source",
    (
        "Read the state of customers-postgres-source once more.",
        "POST /connectors/customers-postgres-source/restart?includeTasks=true&onlyFailed=true",
        "Look 30 s long whether the tasks run and deliver.",
    ),
    {"connector": "customers-postgres-source"},
    ("task 0 is still FAILED",),
    ("The cause may still be there: the registry refused field tier at 02:03 UTC.",),
    "9c1f0a77d2b4",
)


def schema_break() -> Scene:
    """A field without a default was refused; nobody is on it yet."""
    scene = opened()
    for one in (SCHEMA, REFUSED, NO_LETTERS, LAG):
        scene.add(e.ProbeReported(one), minutes=0.02)
    return scene


def worked_on() -> Scene:
    """Acknowledged, two steps settled, a plan waits, a warning joined."""
    scene = schema_break()
    scene.add(e.IncidentAcknowledged(), ALICE, 2)
    scene.add(fired("CdcConsumerLag", Severity.WARNING, "lag of customers_canonical_flink is 9,120"), e.ALERTMANAGER)
    scene.add(e.ProbeReported(replace(LAG, headline="UNKNOWN: lag 31,902", facts={"lag_records": 31_902})))
    scene.add(e.StepDone("schema.changes"), ALICE)
    scene.add(e.StepSkipped("dlq.patterns", "there are none"), ALICE)
    scene.add(e.StepDone("schema.decide", "roll forward", "the writers are deployed already"), ALICE)
    scene.add(e.NoteAdded("DBA sets a default on customers.tier now"), BOB)
    scene.add(e.ActionPlanned("a1", "connector.restart", PLAN, "responder", (REFUSED,)), ALICE)
    return scene


def not_verified() -> Scene:
    """The alerts cleared and the part is still broken."""
    scene = worked_on()
    scene.add(e.ActionConfirmed("a1", PLAN.hash), ALICE).add(e.ActionStarted("a1"), ALICE, 0.1)
    scene.add(e.ActionFinished("a1", True, "accepted: restarting task 0"), minutes=0.1)
    scene.add(e.ActionVerified("a1", False, ("task 0 FAILED again after 12 s: field tier has no default",)))
    scene.add(e.AlertResolved("fp-CdcConnectorFailed", T0 - timedelta(minutes=4), scene.now))
    scene.add(e.AlertEnded("fp-CdcConsumerLag", T0 - timedelta(minutes=4), "no resolve was sent (silenced)"))
    scene.add(e.RecoveryNotVerified(("customers-postgres-source: task 0 FAILED: field tier has no default",), True))
    return scene


def resolved() -> Scene:
    """Repaired, proved, resolved; the work afterwards is left."""
    scene = worked_on()
    scene.add(e.ActionConfirmed("a1", PLAN.hash), ALICE).add(e.ActionStarted("a1"), ALICE, 0.1)
    scene.add(e.ActionFinished("a1", True, "accepted: restarting task 0"), minutes=0.1)
    scene.add(e.ActionVerified("a1", True, ("task 0 RUNNING", "214 records delivered since it broke")))
    scene.add(e.StepDone("connector.restart", None, "action restart_failed_tasks verified"), minutes=0)
    scene.add(e.IncidentMitigated("restart_failed_tasks verified"), minutes=0)
    running = replace(
        REFUSED,
        verdict="RUNNING",
        status=Status.GREEN,
        headline="RUNNING: connector RUNNING, 1 of 1 task RUNNING",
        facts={"failed_tasks": []},
    )
    scene.add(e.ProbeReported(running), minutes=0)
    small = replace(LAG, verdict="OK", status=Status.GREEN, headline="OK: lag 0", facts={"lag_records": 0})
    scene.add(e.ProbeReported(small), minutes=0)
    scene.add(e.AlertResolved("fp-CdcConnectorFailed", T0 - timedelta(minutes=4), scene.now))
    scene.add(e.AlertResolved("fp-CdcConsumerLag", T0 - timedelta(minutes=4), scene.now), minutes=0)
    proof = (
        "customers-postgres-source: RUNNING, 214 records delivered since it broke",
        "customers_canonical_flink: lag 0",
    )
    scene.add(e.RecoveryProved(proof))
    scene.add(e.IncidentResolved(True, "recovery proved, alerts cleared"), minutes=0)
    return scene


TYPICAL = {
    "schema-break": schema_break,
    "worked-on": worked_on,
    "not-verified": not_verified,
    "resolved": resolved,
}


def hostile(
    word: str = "<!channel> `code` ```fence``` *bold* <@U1|x> <http://evil|ok> \u202e&amp; \ud83d\n\n@here",
) -> Scene:
    """Every foreign text is `word`."""
    scene = Scene(id="CDC-66")
    opened_by = e.Who("slack:U66", word)
    scene.add(
        e.IncidentOpened(word, word, Severity.CRITICAL, word, "#c", "5f3a9c1e", "U02BOB"),
        opened_by,
        0,
    )
    steps = (
        Step("h1", "triage", word, probe="connector_state", command=word),
        Step("h2", "actions", word, choices=(word, word + "2")),
        Step("h3", "actions", word, action="restart_failed_tasks", guard="second_person", command=word),
    )
    scene.add(e.RunbookAttached(word, word, word, steps))
    scene.add(e.AlertFired("f", T0, {"alertname": word, word: word}, {"summary": word, "description": word}, word))
    one = finding(
        "connector_state", word, word, Status.RED, word, Signal.CONNECTOR, T0, (word,) * 5, (word,) * 3, lag_records=1
    )
    scene.add(e.ProbeReported(one)).add(e.NoteAdded(word), opened_by).add(e.IncidentAcknowledged(), opened_by)
    scene.add(e.StepDone("h1", word, word), opened_by).add(e.IncidentLinked(word, word), opened_by)
    plan = Plan("restart_failed_tasks", word, word, (word,) * 9, {}, (word,) * 9, (word,) * 9, "hash")
    scene.add(e.ActionPlanned("k1", "h3", plan, "second_person"), opened_by)
    scene.add(e.ActionRefused("k9", word, word), opened_by)
    scene.add(e.AlertEnded("f", T0, word)).add(e.RecoveryNotVerified((word,) * 6, True))
    return scene


def huge(count: int = 300) -> Scene:
    """Hundreds of alerts, findings and steps."""
    scene = opened()
    steps = tuple(
        Step(
            f"huge.step-{n:03d}-{'x' * 30}",
            ("triage", "actions", "post_incident")[n % 3],
            f"Step {n} " + "does something long " * 9,
            probe="consumer_lag" if n % 3 == 0 else None,
            action="restart_failed_tasks" if n % 3 == 1 else None,
            guard="responder" if n % 3 == 1 else None,
            command="cdc lag {group} " + "--option value " * 20,
            when=("STUCK",),
        )
        for n in range(count)
    )
    scene.add(e.RunbookAttached("huge", "Huge", "h", steps))
    for n in range(count):
        scene.add(fired(f"Alert{n}", Severity.CRITICAL, "summary " * 60), e.ALERTMANAGER, 0.01)
        one = finding(
            "consumer_lag",
            f"group-{n}",
            "STUCK",
            Status.RED,
            "headline " * 40,
            Signal.LAG,
            T0,
            ("evidence " * 60,) * 9,
            ("not known " * 40,) * 9,
            lag_records=n,
        )
        scene.add(e.ProbeReported(one), minutes=0.01)
    plan = Plan("restart_failed_tasks", "t", "summary " * 200, ("step " * 300,) * 60, {}, (), (), "hash")
    scene.add(e.ActionPlanned("k1", "h3", plan, "responder"), ALICE)
    scene.add(e.AlertsHidden("g", 1_000), e.ALERTMANAGER)
    return scene


def slots(scene: Scene) -> list[str]:
    """Every slot that could be due for a scene."""
    kinds = ("severity-critical", "data-lost", "approval-k1", "unknown-a1", "recovered-9", "something-new")
    keys = {a.key for a in scene.incident.actions} | {"k9", "none"}
    return [
        "card",
        "checklist",
        "findings",
        *(f"plan:{key}" for key in sorted(keys)),
        *(f"event:{entry.version}" for entry in scene.entries[:30]),
        "event:99999",
        *(f"page:{kind}" for kind in kinds),
    ]
