"""Runbooks: what a good one becomes, and what is said about a bad one."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bot.incident.runbook import Runbook, Step, choose, fill
from bot.incident.runbook_file import RunbookErrors, parse
from bot.model import Finding, Pipeline, Signal, Sink, Status

PROBES = ("consumer_lag", "connector_state")
ACTIONS = ("restart_failed_tasks", "silence_alerts")

GOOD = """
title: Connector failed
signal: connector
alerts: ["Connect*"]
symptoms: [a task is FAILED]
triage:
  - {id: state, title: "Which task?", probe: connector_state, command: "curl {connect}/connectors/{connector}"}
actions:
  - {id: decide, title: "Which way?", choices: [back, forward], signal: schema}
  - {id: restart, title: Restart, action: restart_failed_tasks, guard: responder, when: [FAILED], args: {a: 1}}
post_incident:
  - {id: cause, title: Write it down}
"""


def read(text: str, name: str = "runbooks/connector-failed.yml") -> Runbook:
    return parse(text, name, probes=PROBES, actions=ACTIONS)


def test_a_runbook_becomes_frozen_steps_in_order() -> None:
    """The id is the file's name; steps keep their order and take the runbook's signal unless they name one."""
    runbook = read(GOOD)
    assert "connector-failed" == runbook.id
    assert ["triage", "actions", "actions", "post_incident"] == [step.section for step in runbook.steps]
    state, decide, restart, cause = runbook.steps
    assert (
        Step("state", "triage", "Which task?", "connector_state", command=state.command, signal=Signal.CONNECTOR)
        == state
    )
    assert (("back", "forward"), Signal.SCHEMA) == (decide.choices, decide.signal)
    assert ("restart_failed_tasks", "responder", {"a": 1}) == (restart.action, restart.guard, restart.args)
    assert cause is runbook.step("cause")
    assert (decide, restart) == runbook.section("actions")


def test_the_hash_is_of_the_bytes() -> None:
    """Text and bytes of the same file are the same runbook; a changed word is another."""
    assert read(GOOD).hash == parse(GOOD.encode(), "connector-failed.yml", probes=PROBES, actions=ACTIONS).hash
    assert read(GOOD).hash != read(GOOD.replace("Which", "What")).hash


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            "{id: x, title: X, probe: consumer_leg}",
            "triage[0].probe: there is no probe consumer_leg: did you mean `consumer_lag`?",
        ),
        (
            "{id: x, title: X, action: silence_alerts, guard: responder}",
            "triage[0].action: an action does not belong under",
        ),
        ("{id: x}", "triage[0].title: missing"),
        ("{id: X x, title: X}", "triage[0].id: string should match pattern"),
        ("{id: x, title: X, prob: consumer_lag}", "triage[0].prob: unknown setting: did you mean `probe`?"),
        ("{id: x, title: X, guard: responder}", "triage[0].guard: a guard without an action"),
        ("{id: x, title: X, choices: [one]}", "triage[0].choices: one choice is no decision: write at least two"),
        (
            "{id: x, title: X, command: 'lag {gruop}'}",
            "triage[0].command: unknown placeholder {gruop}: did you mean `group`?",
        ),
        (
            "{id: x, title: X, command: \"lag '{group}'\"}",
            "triage[0].command: {group} stands inside quotes: end the quotes",
        ),
        ("{id: x, title: 7}", "triage[0].title: must be text"),
        ("7", "triage[0]: must be a mapping of settings"),
    ],
)
def test_a_bad_triage_step_is_named_with_its_line(step: str, expected: str) -> None:
    """One mistake is one line: where it is, what is wrong, what to write."""
    with pytest.raises(RunbookErrors) as caught:
        read(f"title: T\nsignal: lag\nsymptoms: [s]\ntriage:\n  - {step}\n")
    assert 1 == len(caught.value.errors), caught.value.errors
    assert caught.value.errors[0].startswith(f"runbooks/connector-failed.yml:5: {expected}")


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            "{id: x, title: X, action: silence_alerts}",
            "actions[0].guard: action silence_alerts has no guard: write guard: responder or guard: second_person",
        ),
        (
            "{id: x, title: X, action: silence_alerts, guard: boss}",
            "actions[0].guard: there is no guard boss: write one of",
        ),
        ("{id: x, title: X, action: fly, guard: responder}", "actions[0].action: there is no action fly: write one of"),
        (
            "{id: x, title: X, action: silence_alerts, guard: responder, probe: consumer_lag}",
            "actions[0].action: both a probe and an action: make two steps of it",
        ),
        ("{id: t, title: X}", "actions[0].id: the id t is taken by triage[0]: write another"),
    ],
)
def test_a_bad_action_step_is_named_with_its_line(step: str, expected: str) -> None:
    """An action changes a running system: who may run it is never left open."""
    with pytest.raises(RunbookErrors) as caught:
        read(f"title: T\nsignal: lag\nsymptoms: [s]\ntriage: [{{id: t, title: T}}]\nactions:\n  - {step}\n")
    assert 1 == len(caught.value.errors), caught.value.errors
    assert caught.value.errors[0].startswith(f"runbooks/connector-failed.yml:6: {expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ":1: not a mapping: begin with title:, signal:, symptoms: and triage:"),
        ("title: [", ":1: not YAML"),
        (GOOD.replace("signal: connector", "signal: conector"), ":3: signal: unknown word: did you mean `connector`?"),
        (GOOD.replace("symptoms: [a task is FAILED]", "symptoms: []"), ":5: symptoms: must not be empty"),
        (GOOD + "title: again\n", ":13: title: written twice, first on line 2: remove one of the two"),
        (GOOD + "owner: me\n", ":13: owner: unknown setting: write one of"),
    ],
)
def test_a_bad_runbook_is_named_with_its_line(text: str, expected: str) -> None:
    """The parts around the steps are checked as well."""
    with pytest.raises(RunbookErrors) as caught:
        read(text)
    assert 1 == len(caught.value.errors), caught.value.errors
    assert caught.value.errors[0].startswith(f"runbooks/connector-failed.yml{expected}")


def test_all_errors_of_a_runbook_come_at_once() -> None:
    """A wrong shape hides no unknown probe behind it."""
    with pytest.raises(RunbookErrors) as caught:
        read("signal: lag\nsymptoms: [s]\ntriage:\n  - {id: a, title: T, probe: x}\n  - {id: a, titel: T}\n")
    assert [1, 4, 5, 5, 5] == [int(error.split(":")[1]) for error in caught.value.errors]


def runbook(name: str, signal: Signal, *alerts: str) -> Runbook:
    return Runbook(name, name, signal, alerts, ("s",), (), "")


LAG = runbook("lag", Signal.LAG, "CDCConsumerLag*", "*Lag*")
FLINK = runbook("flink", Signal.LAG, "FlinkLag*")
SCHEMA = runbook("schema", Signal.SCHEMA)
OTHER = runbook("other", Signal.OTHER)


@pytest.mark.parametrize(
    ("alertname", "labels", "signal", "expected"),
    [
        ("CDCConsumerLagWarning", {}, Signal.SCHEMA, LAG),  # the name says more than the signal
        ("FlinkLagHigh", {}, Signal.LAG, FLINK),  # the longer pattern says more
        ("Anything", {}, Signal.SCHEMA, SCHEMA),
        ("Anything", {}, Signal.CONNECTOR, OTHER),
        ("cdcconsumerlag", {}, Signal.OTHER, OTHER),  # alert names have a case
        ("CDCConsumerLagWarning", {"runbook": "schema"}, Signal.LAG, SCHEMA),
        ("CDCConsumerLagWarning", {"runbook": "nowhere"}, Signal.LAG, LAG),
    ],
)
def test_a_runbook_is_chosen_by_name_then_signal_then_the_generic_one(
    alertname: str, labels: dict[str, str], signal: Signal, expected: Runbook
) -> None:
    """Every alert gets a runbook."""
    assert expected == choose((OTHER, LAG, FLINK, SCHEMA), alertname, labels, signal)


def test_without_a_generic_runbook_an_unknown_alert_is_an_error() -> None:
    """The remedy is to write one."""
    with pytest.raises(LookupError, match="signal: other"):
        choose((LAG,), "X", {}, Signal.SCHEMA)


PIPELINE = Pipeline(
    "customers",
    "#x",
    source_connector="src",
    topics=("customers",),
    subjects=("customers-value",),
    sink=Sink("snk", "lake.customers", "dlq.customers"),
)


@pytest.mark.parametrize(
    ("command", "facts", "expected"),
    [
        ("{cdc} lag {group}", {}, "/cdc lag connect-snk"),
        ("{cdc} lag {group}", {"cdc": "/oncall", "group": "other"}, "/oncall lag other"),
        ("{cdc} schema {subject}", {"subject": ""}, "/cdc schema customers-value"),
        ("curl {connect}/connectors/{connector}", {}, "curl CONNECT/connectors/src"),
        ("curl {connect}/connectors/{sink}", {"connect": "http://c:8083"}, "curl http://c:8083/connectors/snk"),
        ("jq '.[] | {id, state}' {unknown}", {}, "jq '.[] | {id, state}' {unknown}"),
        ("x {dlq} {table} {pipeline} {job}", {}, "x dlq.customers lake.customers customers JOB"),
    ],
)
def test_a_command_is_filled_with_the_real_names(command: str, facts: dict[str, str], expected: str) -> None:
    """Facts first, then the pipeline's own names; what is not known stays a word to replace."""
    assert expected == fill(command, PIPELINE, facts)


@pytest.mark.parametrize("evil", ["a; rm -rf /", "$(reboot)", "`reboot`", "a b", "'", "a\nreboot", "-rf", "<!channel>"])
def test_a_foreign_name_is_one_word_of_the_shell(evil: str) -> None:
    """A topic named by someone else cannot become a second command, and the command stays one line."""
    filled = fill("kcat -t {topic} -e", replace(PIPELINE, topics=(evil,)))
    assert ["kcat", "-t", evil.replace("\n", " "), "-e"] == shlex.split(filled)
    assert "\n" not in filled


def test_without_a_pipeline_the_command_shows_what_to_put_in() -> None:
    """An alert that names no pipeline still gets its checklist."""
    assert "/cdc lag GROUP" == fill("{cdc} lag {group}", None)


@pytest.mark.parametrize(("verdict", "expected"), [("FAILED", True), ("RUNNING", False)])
def test_findings_recommend_steps(verdict: str, expected: bool) -> None:
    """A step is recommended by a verdict it names, and by no other."""
    finding = Finding("connector_state", "c", verdict, Status.RED, "", datetime(2026, 1, 1, tzinfo=UTC))
    restart = read(GOOD).step("restart")
    assert restart is not None
    assert expected is restart.recommended_by([finding])
    assert not replace(restart, when=()).recommended_by([finding])
