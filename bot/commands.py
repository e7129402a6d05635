"""The verbs, defined once for Slack and the terminal: text in, a question or an order out; a question gets a Report.

`parse_line` reads what people type after `/cdc`; the terminal builds the same `Query` and `Order` from its
arguments. A `Query` is answered by `answer` and changes nothing. An `Order` becomes a command on one incident
through `order_command`, and is decided like a click. `open` alone has no incident yet.

Promise: every answer says what was asked, what was found, what is not known, and the next move; the Report's
`document` is the JSON of contract.md. A system that is down is an answer with exit code 3, never a stack trace.
This module knows no Slack and no terminal, and reads no clock.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.found import Known, ask_for, cell, headline, number, report_of, seen
from bot.incident import commands as c
from bot.incident.correlation import Board
from bot.incident.documents import incident_document, incident_summary
from bot.incident.events import Entry, Who
from bot.incident.runbook import SECTIONS
from bot.incident.state import Incident
from bot.incident.timeline import duration, rfc3339, timeline
from bot.lag_answers import lag_answer
from bot.model import Finding, Pipeline, Refusal, Severity, Status
from bot.probes.connector_state import connector_of
from bot.probes.dead_letters import dead_letters_of
from bot.probes.sources import Sources
from bot.probes.table import PROBES
from bot.report import Report, Table, failure
from bot.schema_answers import read_words, schema_answer


@dataclass(frozen=True)
class Query:
    """A question: `verb` is one of the read verbs, `arguments` its words by name. Changes nothing."""

    verb: str
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """Something to be done to an incident; `incident_id` None means the only open one (or, for `open`, a new one)."""

    incident_id: str | None
    verb: str
    arguments: Mapping[str, str] = field(default_factory=dict)


Ask = Query | Order


Link = Callable[[str], str | None]


def no_entries(incident_id: str) -> Sequence[Entry]:
    """The journal of somebody who has none."""
    return ()


def no_link(incident_id: str) -> str | None:
    """The address of an incident's thread where no chat is configured."""
    return None


@dataclass(frozen=True)
class Verb:
    """One line of the help: `usage` without the slash command."""

    name: str
    usage: str
    does: str


VERBS = (
    Verb("lag", "lag [GROUP]", "how far behind a consumer group is and why; without GROUP: all of cdc.yml"),
    Verb("dlq", "dlq TOPIC", "what is in a dead letter queue, by cause; payloads are masked"),
    Verb(
        "schema",
        "schema SUBJECT [diff 3 4]",
        "a subject's newest versions and what changed; `diff`: between two; `schema recent 24h`: in all subjects",
    ),
    Verb("connector", "connector NAME", "a connector's state, its tasks, and why one failed"),
    Verb("health", "health", "every pipeline: green, yellow, red or unknown, with reasons"),
    Verb("incidents", "incidents", "the open incidents, worst first, then the last resolved ones"),
    Verb("incident", "incident ID", "one incident: its alerts, findings, checklist and timeline"),
    Verb("ack", "ack [ID]", "acknowledge; you lead unless someone does already"),
    Verb("lead", "lead [ID] [@PERSON]", "take the lead, or give it to someone"),
    Verb("note", "note [ID] TEXT", "put a line on the timeline"),
    Verb("open", "open PIPELINE TEXT", "open an incident by hand"),
    Verb("done", "done [ID] STEP [REASON]", "mark a step done; for a decision: `done STEP CHOICE: REASON`"),
    Verb("skip", "skip [ID] STEP REASON", "skip a step and say why"),
    Verb("undo", "undo [ID] STEP", "set a step back to do"),
    Verb("plan", "plan [ID] STEP", "show what a step's action would do; changes nothing"),
    Verb("run", "run [ID] KEY", "run a planned action"),
    Verb("approve", "approve [ID] KEY", "approve someone else's plan"),
    Verb("cancel", "cancel [ID] KEY", "drop a plan that waits"),
    Verb("mitigate", "mitigate [ID] [REASON]", "the harm has stopped, the cause may remain"),
    Verb("resolve", "resolve [ID] [REASON]", "resolve once recovery is proved; with a reason: without proof, flagged"),
    Verb("reopen", "reopen ID [REASON]", "it is not over"),
    Verb("link", "link [ID] OTHER [REASON]", "tie two incidents together"),
    Verb("postmortem", "postmortem ID", "the postmortem as it stands"),
    Verb("help", "help", "this list"),
)
BY_NAME: Mapping[str, Verb] = {verb.name: verb for verb in VERBS}
READS = frozenset({"help", "incidents", "incident", "lag", "dlq", "schema", "connector", "health", "postmortem"})
TARGETS: Mapping[str, tuple[str, str]] = {
    "lag": ("group", "a consumer group"),
    "dlq": ("topic", "a topic"),
    "schema": ("subject", "a subject"),
    "connector": ("name", "a connector's name"),
}
SYNONYMS: Mapping[str, str] = {
    "acknowledge": "ack", "status": "health", "list": "incidents", "show": "incident", "close": "resolve", "?": "help",
    "dead-letters": "dlq", "deadletters": "dlq", "group": "lag", "watch": "lag", "connect": "connector",
    "subject": "schema",
}  # fmt: skip

INCIDENT_ID = re.compile(r"CDC-[0-9]{1,9}", re.IGNORECASE)
_MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|([^>]*))?>")
_QUOTES = "`\"'“”‘’"


# --- what was asked ------------------------------------------------------------------------------


def parse_line(text: str) -> Ask | Refusal:
    """Return what a line such as `lag customers_flink` or `note CDC-12 the DBA is on it` asks.

    Incident ids are case-insensitive. An unknown verb is refused with the nearest one; nothing is guessed.
    """
    words = text.split(maxsplit=1)
    if not words:
        return Query("help")
    verb, rest = words[0].lower().removeprefix("/"), words[1].strip() if len(words) > 1 else ""
    if verb not in BY_NAME:
        return _unknown_verb(words[0])
    if verb in TARGETS:
        return _parse_target(verb, rest)
    if verb in ("help", "incidents", "health"):
        return Query(verb)
    if verb in ("incident", "postmortem"):
        incident_id = read_id(rest)
        return Query(verb, {"id": incident_id}) if incident_id else _usage(verb, "needs an incident's id, like CDC-12")
    if verb == "open":
        pipeline, _, title = rest.partition(" ")
        return Order(None, verb, {"pipeline": _bare(pipeline), "text": title.strip()}) if pipeline else _usage(
            verb, "needs a pipeline and what is wrong"
        )  # fmt: skip
    return _parse_order(verb, rest)


def _parse_target(verb: str, rest: str) -> Ask | Refusal:
    name, what = TARGETS[verb]
    words = rest.split()
    if verb == "schema" and words:
        said = read_words([_bare(word) for word in words])
        return _usage(verb, said) if isinstance(said, str) else Query(verb, said)
    if not words and verb == "lag":
        return Query(verb)
    if not words:
        return _usage(verb, f"needs {what}")
    if len(words) > 1:
        return _usage(verb, f"takes {what} and nothing else, and got {len(words)} words")
    return Query(verb, {name: _bare(words[0])})


def _parse_order(verb: str, rest: str) -> Ask | Refusal:
    first, _, after = rest.partition(" ")
    incident_id = read_id(first)
    if incident_id:
        rest = after.strip()
    head, _, tail = rest.partition(" ")
    tail = tail.strip()
    match verb:
        case "ack":
            return Order(incident_id, verb) if not rest else _usage(verb, f"takes only an id like CDC-12, not “{rest}”")
        case "lead":
            return _parse_lead(incident_id, rest)
        case "note":
            return Order(incident_id, verb, {"text": rest}) if rest else _usage(verb, "needs a text")
        case "mitigate" | "resolve":
            return Order(incident_id, verb, {"reason": rest})
        case "reopen":
            return (
                Order(incident_id, verb, {"reason": rest}) if incident_id else _usage(verb, "needs an id like CDC-12")
            )
        case "link":
            return _parse_link(incident_id, head, tail)
        case "done" | "skip" | "undo":
            named = {"step": _bare(head), "reason": tail}
            return Order(incident_id, verb, named) if head else _usage(verb, "needs a step; `incident ID` lists them")
        case "plan":
            return Order(incident_id, verb, {"step": _bare(head)}) if head and not tail else _usage(
                verb, "needs one step with an action; `incident ID` lists them"
            )  # fmt: skip
        case _:
            return Order(incident_id, verb, {"key": _bare(head)}) if head and not tail else _usage(
                verb, "needs the key of one plan; `incident ID` lists them"
            )  # fmt: skip


def _parse_lead(incident_id: str | None, rest: str) -> Ask | Refusal:
    if not rest:
        return Order(incident_id, "lead")
    person = _MENTION.fullmatch(rest)
    if person is None:
        return _usage("lead", f"takes a mention like @alice, not “{rest}”")
    return Order(incident_id, "lead", {"id": f"slack:{person[1]}", "name": person[2] or person[1]})


def _parse_link(incident_id: str | None, head: str, tail: str) -> Ask | Refusal:
    other = read_id(head)
    if other:
        return Order(incident_id, "link", {"other": other, "reason": tail})
    if incident_id:
        return Order(None, "link", {"other": incident_id, "reason": f"{head} {tail}".strip()})
    return _usage("link", "needs the id of the other incident")


def read_id(word: str) -> str | None:
    """Return an incident id as it is written in the journal, or None when the word is none."""
    word = _bare(word.strip())
    return word.upper() if INCIDENT_ID.fullmatch(word) else None


def _bare(word: str) -> str:
    return word.strip(_QUOTES)


def _unknown_verb(word: str) -> Refusal:
    near = SYNONYMS.get(word.lower()) or next(iter(difflib.get_close_matches(word.lower(), BY_NAME, 1, 0.6)), None)
    hint = f"Did you mean `{BY_NAME[near].usage}`? " if near else ""
    return Refusal(f"There is no command `{word[:40].replace('`', '')}`.", f"{hint}`help` lists them.")


def _usage(verb: str, what: str) -> Refusal:
    return Refusal(f"`{verb}` {what}.", f"Write `{BY_NAME[verb].usage}`.")


# --- orders --------------------------------------------------------------------------------------


def order_command(order: Order, who: Who, board: Board) -> tuple[str, c.PersonCommand] | Refusal:
    """Return the incident meant and the command on it, or why that is not clear.

    Without an id the only open incident is meant; several are listed, none is guessed. `open` is not a command
    on an incident: see `decisions.open_by_hand`.
    """
    incident = _meant(order, board)
    if isinstance(incident, Refusal):
        return incident
    command = _command(order, who, incident)
    return command if isinstance(command, Refusal) else (incident.id, command)


def _meant(order: Order, board: Board) -> Incident | Refusal:
    if order.incident_id is not None:
        known = board.get(order.incident_id)
        return known or Refusal(f"There is no incident {order.incident_id}.", "`incidents` lists them.")
    candidates = [i for i in board.open() if i.id != order.arguments.get("other")]
    if not candidates:
        return Refusal("No incident is open.", "Name one by its id: `incidents` lists them.")
    if len(candidates) > 1:
        listed = "; ".join(f"{i.id} ({i.severity}, {i.pipeline or 'no pipeline'})" for i in candidates[:10])
        more = f" and {len(candidates) - 10} more" if len(candidates) > 10 else ""
        return Refusal(
            f"{len(candidates)} incidents are open, which one is meant? {listed}{more}. Nothing was done.",
            f"Write `{order.verb} {candidates[0].id} ...`.",
        )
    return candidates[0]


def _command(order: Order, who: Who, incident: Incident) -> c.PersonCommand | Refusal:
    said = order.arguments
    reason = said.get("reason", "")
    match order.verb:
        case "ack":
            return c.AcknowledgeIncident(who)
        case "lead":
            return c.AssignLead(who, Who(said["id"], said["name"]) if "id" in said else who)
        case "note":
            return c.AddNote(who, said["text"])
        case "mitigate":
            return c.MitigateIncident(who, reason)
        case "resolve":
            return c.ResolveIncident(who, reason)
        case "reopen":
            return c.ReopenIncident(who, reason)
        case "link":
            return c.LinkIncident(who, said["other"], reason)
        case "done":
            step = incident.step(said["step"])
            choice, reason = read_choice(step.step.choices if step else (), reason)
            return c.CompleteStep(who, said["step"], choice, reason)
        case "skip":
            return c.SkipStep(who, said["step"], reason)
        case "undo":
            return c.UndoStep(who, said["step"])
        case "plan":
            return c.PlanAction(who, step=said["step"])
        case "run" | "approve" | "cancel":
            return _on_plan(order.verb, said["key"], who, incident)
        case _:
            return Refusal(
                f"`{order.verb}` is no order on an incident. Nothing was done.", "`help` lists the commands."
            )


def _on_plan(verb: str, key: str, who: Who, incident: Incident) -> c.PersonCommand | Refusal:
    """A typed key stands for the plan as it is stored: its hash is what was shown beside the key."""
    action = incident.action(key)
    if action is None:
        waiting = ", ".join(f"{a.key} ({a.plan.action})" for a in incident.actions if a.status == "planned")
        return Refusal(f"{incident.id} has no plan {key}. Nothing was done.", f"Waiting plans: {waiting or 'none'}.")
    if verb == "run":
        return c.RunAction(who, key, action.plan.hash)
    return c.ApproveAction(who, key, action.plan.hash) if verb == "approve" else c.CancelAction(who, key)


def read_choice(choices: Sequence[str], text: str) -> tuple[str | None, str]:
    """Return (choice, reason) of `roll back: the column is not needed`; the longest choice that fits wins."""
    plain = text.strip().strip(_QUOTES)
    for choice in sorted(choices, key=len, reverse=True):
        rest = plain[len(choice) :]
        if plain.lower().startswith(choice.lower()) and (not rest or not rest[0].isalnum()):
            return choice, rest.lstrip(_QUOTES + " :,-–").strip()
    return None, text.strip()


# --- answers -------------------------------------------------------------------------------------


def answer(
    query: Query,
    sources: Sources,
    pipelines: Sequence[Pipeline],
    board: Board,
    now: datetime,
    entries: Callable[[str], Sequence[Entry]] = no_entries,
    command: str = "/cdc",
    link: Link = no_link,
) -> Report:
    """Answer a question. `entries` reads one incident's journal; `command` is how people call us here.

    A system that does not answer makes a Report with exit code 3 that says so; it never raises for that.
    """
    said = query.arguments
    match query.verb:
        case "help":
            return help_report(command)
        case "incidents":
            return incidents_report(board, now, command, link)
        case "incident":
            known = board.get(said["id"])
            if known is None:
                return no_incident(said["id"], board, command)
            return incident_report(known, entries(known.id), now, command, link)
        case "postmortem":
            known = board.get(said["id"])
            return no_incident(said["id"], board, command) if known is None else _postmortem_ready(known, command)
        case "lag":
            return lag_answer(said, sources, pipelines, now, command)
        case "dlq":
            return dead_letters_report(*seen(_look_at_queue, "dlq", said, sources, pipelines, now), command)
        case "schema":
            return schema_answer(said, sources, pipelines, now, command)
        case "connector":
            return connector_report(*seen(_look_at_connector, "connector", said, sources, pipelines, now), command)
        case "health":
            return health_report(pipelines, look_at_all(sources, pipelines, now), command)
        case _:
            return failure(f"There is no question `{query.verb}`", "Nothing was asked.", f"{command} help", exit_code=2)


def no_incident(incident_id: str, board: Board, command: str) -> Report:
    """The clear error for an id that the journal does not hold."""
    newest = sorted(board.all(), key=lambda i: (i.opened_at, i.id))[-3:]
    known = f"The newest are {', '.join(i.id for i in newest)}." if newest else "There is none yet."
    return failure(f"There is no incident {incident_id}", known, f"{command} incidents")


def _postmortem_ready(incident: Incident, command: str) -> Report:
    """Slack gets the file from its own task; this says which incident it is about."""
    return Report(f"Postmortem of {incident.id}: {incident.title}", next_steps=(f"{command} postmortem {incident.id}",))


# --- looking -------------------------------------------------------------------------------------


def _look_at_queue(said: Mapping[str, str], sources: Sources, pipelines: Sequence[Pipeline], now: datetime) -> Finding:
    topic = said["topic"]
    for pipeline in pipelines:
        if pipeline.sink is not None and pipeline.dlq == topic:
            sink = (pipeline.sink.consumer_group, pipeline.topics)
            return dead_letters_of(sources, topic, lambda: now, sink)
    return dead_letters_of(sources, topic, lambda: now)


def _look_at_connector(
    said: Mapping[str, str], sources: Sources, pipelines: Sequence[Pipeline], now: datetime
) -> Finding:
    name = said["name"]
    pipeline = next((p for p in pipelines if name in p.connectors), None)
    topics, of = (pipeline.topics, pipeline.name) if pipeline else ((), "")
    return connector_of(sources, name, lambda: now, topics, pipeline=of)


def look_at_all(
    sources: Sources, pipelines: Sequence[Pipeline], now: datetime
) -> tuple[tuple[Pipeline, tuple[Finding, ...]], ...]:
    """Run every probe of every pipeline, in parallel: one dead system costs its deadline once, not once each."""
    asked = [(pipeline, probe) for pipeline in pipelines for probe in PROBES.values()]
    with ThreadPoolExecutor(max_workers=min(16, len(asked) or 1)) as pool:
        found = list(pool.map(lambda pair: pair[1](sources, pair[0], lambda: now), asked))
    return tuple(
        (pipeline, tuple(f for (p, _), seen in zip(asked, found, strict=True) if p is pipeline for f in seen))
        for pipeline in pipelines
    )


# --- what was found ------------------------------------------------------------------------------


def dead_letters_report(finding: Finding, known: Known, command: str) -> Report:
    """A dead letter queue, grouped by cause, the largest group first; the example of each is masked."""
    facts = finding.facts
    columns = ("count", "stage", "exception", "message", "from topic", "schema", "first", "last", "example at")
    rows = tuple(
        (
            number(group["count"]),
            cell(group["stage"]),
            cell(group["exception"]).rpartition(".")[2],
            cell(group["message"]),
            cell(group["topic"]),
            cell(group["schema_id"]),
            cell(group["first_at"]),
            cell(group["last_at"]),
            _position(group["example"]),
        )
        for group in facts["groups"]
    )
    examples = tuple(
        f"example {_position(group['example'])}: {json.dumps(group['example'].get('value'), ensure_ascii=False)}"
        for group in facts["groups"][:SHOWN_EXAMPLES]
        if isinstance(group["example"], Mapping)
    )
    return report_of(
        finding,
        (("records", number(facts["records"])),),
        Table(columns, rows, frozenset({"count"})),
        (),
        known,
        command,
        (*examples, *(("payloads are masked: names and types, never values",) if examples else ())),
    )


def connector_report(finding: Finding, known: Known, command: str) -> Report:
    """A connector and its tasks as the API spells them, each failed one with its cause taken out of the trace."""
    facts = finding.facts
    rows = tuple(
        (str(task["task"]), cell(task["state"]), cell(task["worker"]), cell(task["cause"])) for task in facts["tasks"]
    )
    return report_of(
        finding,
        (("type", cell(facts["type"])), ("state", cell(facts["state"]))),
        Table(("task", "state", "worker", "cause"), rows, frozenset({"task"})),
        (),
        known,
        command,
    )


def health_report(
    pipelines: Sequence[Pipeline], seen: Sequence[tuple[Pipeline, Sequence[Finding]]], command: str
) -> Report:
    """Every pipeline by its worst finding now, with the reasons; what nobody could see is unknown, never green."""
    judged = [(pipeline, findings, _worst([f.status for f in findings])) for pipeline, findings in seen]
    judged.sort(key=lambda entry: (_WORST_FIRST.index(entry[2]), entry[0].name))
    rows = tuple(
        (pipeline.name if index == 0 else "", str(status) if index == 0 else "", reason)
        for pipeline, findings, status in judged
        for index, reason in enumerate(_reasons(findings, status))
    )
    document = [
        {
            "pipeline": pipeline.name,
            "status": str(status),
            "reasons": [
                {
                    "probe": f.probe,
                    "target": f.target,
                    "status": str(f.status),
                    "verdict": f.verdict,
                    "headline": f.headline,
                }
                for f in sorted(findings, key=lambda f: _WORST_FIRST.index(f.status))
            ],
            "not_known": [f"{f.target}: {line}" for f in findings for line in f.not_known],
        }
        for pipeline, findings, status in judged
    ]
    if not pipelines:
        return Report(
            "No pipeline is configured",
            Status.UNKNOWN,
            notes=("cdc.yml names none: there is nothing to judge.",),
            document=document,
        )
    counts = ", ".join(f"{n} {status}" for status in _WORST_FIRST if (n := sum(s is status for _, _, s in judged)))
    return Report(
        f"{len(judged)} pipeline{'' if len(judged) == 1 else 's'}: {counts}",
        _worst([status for _, _, status in judged]),
        table=Table(("pipeline", "status", "why"), rows),
        not_known=tuple(
            dict.fromkeys(f"{f.target}: {line}" for _, findings, _ in judged for f in findings for line in f.not_known)
        ),
        next_steps=tuple(
            dict.fromkeys(ask_for(f, command) for _, findings, _ in judged for f in findings if f.status is Status.RED)
        ),
        document=document,
    )


def _reasons(findings: Sequence[Finding], status: Status) -> tuple[str, ...]:
    """Say why a pipeline has its colour: all that is not green, or that everything seen is."""
    if not findings:
        return ("nothing to probe: cdc.yml names no connector, group, subject or dead letter queue",)
    if status is Status.GREEN:
        return (f"all {len(findings)} findings are green",)
    told = sorted((f for f in findings if f.status is not Status.GREEN), key=lambda f: _WORST_FIRST.index(f.status))
    return tuple(f"{f.status}: {headline(f)}" for f in told)


SHOWN_EXAMPLES = 3


def _position(example: Any) -> str:
    if not isinstance(example, Mapping):
        return "-"
    return f"{cell(example.get('partition'))}/{cell(example.get('offset'))}"


def help_report(command: str) -> Report:
    """Every verb with what it does; the same list for Slack and the terminal."""
    rows = tuple((f"{command} {verb.usage}", verb.does) for verb in VERBS)
    document = [{"verb": verb.name, "usage": verb.usage, "does": verb.does} for verb in VERBS]
    return Report(
        "What you can ask and order",
        table=Table(("command", "what it does"), rows),
        notes=("Without an ID the only open incident is meant.",),
        document=document,
    )


def incidents_report(board: Board, now: datetime, command: str, link: Link = no_link) -> Report:
    """The open incidents, worst first, then the resolved ones, newest first. The document holds all of them."""
    opened = board.open()
    closed = sorted((i for i in board.all() if not i.is_open), key=lambda i: (i.opened_at, i.id), reverse=True)
    shown = (*opened, *closed[:SHOWN_RESOLVED])
    rows = tuple(
        (i.id, i.status, str(i.severity), i.pipeline or "-", _age(i, now), i.lead.name if i.lead else "-", i.title)
        for i in shown
    )
    title = f"{len(opened)} open incident{'' if len(opened) == 1 else 's'}" if opened else "No incident is open"
    more = len(closed) - SHOWN_RESOLVED
    return Report(
        title,
        _worst(tuple(_status_of(i) for i in opened)) if opened else Status.GREEN,
        table=Table(("id", "status", "severity", "pipeline", "opened", "lead", "title"), rows) if rows else None,
        notes=(f"{more} older resolved incidents are not shown.",) if more > 0 else (),
        next_steps=(f"{command} incident {shown[0].id}",) if shown else (),
        document=[incident_summary(i, link(i.id)) for i in (*opened, *closed)],
    )


SHOWN_RESOLVED = 10
SHOWN_ROWS = 15


def incident_report(
    incident: Incident, entries: Sequence[Entry], now: datetime, command: str, link: Link = no_link
) -> Report:
    """One incident: where it stands, its checklist, what the probes saw, the last rows of its timeline."""
    steps = sorted(incident.steps, key=lambda s: SECTIONS.index(s.step.section))
    rows = tuple((s.step.id, s.step.section.replace("_", "-"), s.status, s.step.title) for s in steps)
    told = timeline(entries)
    earlier = len(told) - SHOWN_ROWS
    notes = (
        *(f"{f.status}: {headline(f)}" for f in incident.findings.values()),
        *(f"plan {a.key}: {a.plan.action} on {a.plan.target}, {_action_word(a.status, a.verified)}"
          for a in incident.actions),
        *((f"{earlier} earlier rows of the timeline are not shown.",) if earlier > 0 else ()),
        *(f"{row.at:%H:%M:%S}  {row.what}" for row in told[-SHOWN_ROWS:]),
    )  # fmt: skip
    return Report(
        f"{incident.id} {incident.severity}, {incident.status}: {incident.title}",
        _status_of(incident),
        facts=_incident_facts(incident, now),
        table=Table(("step", "section", "status", "what"), rows) if rows else None,
        notes=notes,
        not_known=tuple(f"{f.target}: {line}" for f in incident.findings.values() for line in f.not_known),
        next_steps=_next_for(incident, command),
        document=incident_document(incident, entries, link(incident.id)),
    )


def _incident_facts(incident: Incident, now: datetime) -> tuple[tuple[str, str], ...]:
    firing = len(incident.firing)
    hidden = f", {incident.hidden_alerts} more not shown by Alertmanager" if incident.hidden_alerts else ""
    proved = {None: "not checked", True: "proved", False: "not verified"}[incident.recovery.proved]
    why = f": {incident.recovery.evidence[0]}" if incident.recovery.evidence else ""
    facts = (
        ("pipeline", incident.pipeline),
        ("opened", f"{rfc3339(incident.opened_at)} ({_age(incident, now)})"),
        ("acknowledged", rfc3339(incident.acknowledged_at) if incident.acknowledged_at else "not yet"),
        ("lead", incident.lead.name if incident.lead else "nobody"),
        ("mitigated", rfc3339(incident.mitigated_at) if incident.mitigated_at else None),
        ("resolved", rfc3339(incident.resolved_at) if incident.resolved_at else None),
        ("alerts", f"{firing} of {len(incident.alerts)} firing{hidden}"),
        ("recovery", f"{proved}{why}"),
        ("reopened", f"{incident.reopened} times" if incident.reopened else None),
        ("linked", ", ".join(other for other, _ in incident.links) or None),
    )
    return tuple((label, text) for label, text in facts if text)


def _next_for(incident: Incident, command: str) -> tuple[str, ...]:
    if not incident.is_open:
        return (f"{command} postmortem {incident.id}",)
    todo = next((s.step for s in incident.steps if s.status == "todo" and s.step.section != "post_incident"), None)
    return (
        *((f"{command} ack {incident.id}",) if incident.status == "open" else ()),
        *((f"{command} done {incident.id} {todo.id}",) if todo and not todo.action else ()),
        *((f"{command} plan {incident.id} {todo.id}",) if todo and todo.action else ()),
    )


def _action_word(status: str, verified: bool | None) -> str:
    if status == "succeeded":
        return {None: "carried out, not yet verified", True: "verified", False: "carried out, NOT verified"}[verified]
    return {"unknown": "outcome unknown", "planned": "waiting"}.get(status, status)


def _status_of(incident: Incident) -> Status:
    """The colour of an incident; resolved without proof is unknown, never green."""
    if incident.status == "resolved":
        return Status.GREEN if incident.resolved_verified else Status.UNKNOWN
    critical = incident.severity is Severity.CRITICAL and incident.status != "mitigated"
    return Status.RED if critical else Status.YELLOW


def _age(incident: Incident, now: datetime) -> str:
    return f"{duration(max(0.0, (now - incident.opened_at).total_seconds()))} ago"


_WORST_FIRST = (Status.RED, Status.YELLOW, Status.UNKNOWN, Status.GREEN)


def _worst(statuses: Sequence[Status]) -> Status:
    """The worst status; no status at all is unknown. Unknown outranks green: it is never shown as healthy."""
    return min(statuses, key=_WORST_FIRST.index, default=Status.UNKNOWN)
