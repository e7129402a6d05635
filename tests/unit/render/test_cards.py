"""The messages of an incident: what they say, what their buttons carry, and that Slack takes every one of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from bot.drill.block_rules import broken_rules, total_characters
from bot.incident import events as e
from bot.incident.policy import Policy
from bot.incident.runbook import Step
from bot.model import TEST_ALERT, Severity
from bot.ports import Message
from bot.render.cards import mention_of, render_slot
from bot.render.lint import violations
from tests.unit.render import scenes
from tests.unit.render.scenes import ALICE, BOB, Scene

GOLDEN = Path(__file__).parents[2] / "golden" / "blocks"


def shown(scene: Scene, slot: str, **changes: Any) -> Message:
    return render_slot(slot, scene.incident, scene.entries, scene.view(**changes))


def texts(node: Any) -> Iterator[str]:
    """Every mrkdwn and plain text of a message."""
    if isinstance(node, Mapping):
        if isinstance(node.get("text"), str):
            yield node["text"]
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from texts(item)


def words(message: Message) -> str:
    return "\n".join(texts(message.blocks))


def elements(message: Message) -> dict[str, Mapping[str, Any]]:
    """The buttons and menus, by action id."""
    found: dict[str, Mapping[str, Any]] = {}
    for block in message.blocks:
        for element in [*block.get("elements", ()), block.get("accessory")]:
            if isinstance(element, Mapping) and "action_id" in element:
                found[element["action_id"]] = element
    return found


def labels(message: Message) -> list[str]:
    return [el["text"]["text"] for el in elements(message).values() if el["type"] == "button"]


def value(element: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(element["value"]))


# --- golden ----------------------------------------------------------------------------------------


def golden(scene: Scene) -> str:
    slots = ["card", "checklist", "findings", *(f"plan:{a.key}" for a in scene.incident.actions)]
    return json.dumps({slot: asdict(shown(scene, slot)) for slot in slots}, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", scenes.TYPICAL)
def test_typical_incidents_look_as_they_looked(name: str) -> None:
    """The Block Kit of four typical incidents is what was reviewed; `python -m tests.unit.render.test_cards` rewrites it."""  # noqa: E501
    assert (GOLDEN / f"{name}.json").read_text() == golden(scenes.TYPICAL[name]())


# --- every message passes --------------------------------------------------------------------------

HOSTILE: Mapping[str, Callable[[], Scene]] = {
    "markup": scenes.hostile,
    "10,000 letters": lambda: scenes.hostile("x" * 10_000),
    "entities": lambda: scenes.hostile("<&>" * 3_000),
    "emoji": lambda: scenes.hostile("\N{FIRE}" * 5_000),
    "backticks": lambda: scenes.hostile("`" * 4_000),
    "lines": lambda: scenes.hostile("a\n" * 4_000),
    "nothing": lambda: scenes.hostile(""),
    "invisible": lambda: scenes.hostile("\n\n \u202e\x00"),
    "half a character": lambda: scenes.hostile("\ud83d"),
    "huge": scenes.huge,
}


@pytest.mark.parametrize("scene", [*HOSTILE.values(), *scenes.TYPICAL.values()], ids=[*HOSTILE, *scenes.TYPICAL])
def test_every_message_passes_slacks_rules(scene: Callable[[], Scene]) -> None:
    """Whatever the labels, names and numbers are: our lint and the workspace's rules take every slot, with blocks."""
    made = scene()
    incident, view = made.incident, made.view()
    for slot in scenes.slots(made):
        message = render_slot(slot, incident, made.entries, view)
        assert () == violations(message), slot
        assert [] == broken_rules(list(message.blocks)), slot
        assert total_characters(message.blocks) <= 13_200, slot
        assert message.blocks or slot == "event:99999", slot
        assert len(message.text) <= 120, slot
        json.dumps(asdict(message)).encode()


@pytest.mark.parametrize("scene", [*HOSTILE.values()], ids=[*HOSTILE])
def test_only_the_owner_can_be_mentioned(scene: Callable[[], Scene]) -> None:
    """`<!channel>` in a label pings nobody: the only unescaped markup is the owner's mention and our own link."""
    made = scene()
    incident, view = made.incident, made.view()
    for slot in scenes.slots(made):
        message = render_slot(slot, incident, made.entries, view)
        marked = [
            found
            for block in message.blocks
            for text in _mrkdwn(block)
            for found in re.findall(r"<[^>]*>", text)
            if found not in ("<@U02BOB>", "<!subteam^S01DATAPLATFORM>")
        ]
        assert [] == marked, slot
        assert [] == re.findall(r"<(?!@U02BOB>|!subteam\^S01DATAPLATFORM>)", message.text), slot


def _mrkdwn(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if node.get("type") == "mrkdwn":
            assert node["verbatim"] is True
            yield node["text"]
        for item in node.values():
            yield from _mrkdwn(item)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _mrkdwn(item)


def test_foreign_backticks_cannot_leave_a_code_span() -> None:
    """A command with backticks becomes a block, and three backticks cannot end it."""
    text = words(shown(scenes.hostile("a```<!here>`b"), "checklist"))
    assert "```\na′′′&lt;!here&gt;`b\n```" in text


@pytest.mark.parametrize("slot", ["card", "checklist", "plan:a1", "page:severity-critical"])
def test_a_message_carries_its_key(slot: str) -> None:
    """The outbox looks for the key before it repeats an uncertain post."""
    expected = {
        "event_type": "cdc_incident",
        "event_payload": {"incident": "CDC-12", "slot": slot, "key": f"CDC-12/{slot}"},
    }
    assert expected == shown(scenes.worked_on(), slot).metadata


def test_an_unknown_slot_is_an_error() -> None:
    """A slot that announce does not know is a mistake of ours, not a message."""
    with pytest.raises(ValueError, match="there is no slot banner"):
        shown(scenes.schema_break(), "banner")


# --- the card --------------------------------------------------------------------------------------


def test_the_lock_screen_line_says_severity_pipeline_cause_and_number() -> None:
    """120 characters are enough to decide whether to get up; the mention notifies where no block is shown."""
    text = shown(scenes.schema_break(), "card").text
    assert text.startswith("CRITICAL customers: task 0 FAILED: subject customers-value")
    assert text.endswith("; lag 12,408 <!subteam^S01DATAPLATFORM>")


@pytest.mark.parametrize(
    ("expected", "severity", "slot"),
    [
        (True, Severity.CRITICAL, "card"),
        (False, Severity.WARNING, "card"),
        (False, Severity.CRITICAL, "checklist"),
        (False, Severity.CRITICAL, "findings"),
        (False, Severity.CRITICAL, "event:3"),
        (True, Severity.CRITICAL, "page:severity-critical"),
        (True, Severity.WARNING, "page:data-lost"),
        (True, Severity.WARNING, "page:approval-a1"),
        (True, Severity.WARNING, "page:unknown-a1"),
        (True, Severity.WARNING, "page:recovered-9"),
    ],
)
def test_exactly_pages_and_critical_cards_mention_the_owner(expected: bool, severity: Severity, slot: str) -> None:
    """Design section 7: all else is silent."""
    message = shown(scenes.opened(severity), slot)
    assert expected == ("<!subteam^S01DATAPLATFORM>" in words(message))
    assert expected == ("<!subteam^S01DATAPLATFORM>" in message.text)


@pytest.mark.parametrize(
    ("expected", "owner"),
    [
        ("@data-platform", "@data-platform"),
        ("<!subteam^S01ABC>", "<!subteam^S01ABC>"),
        ("<!subteam^S01ABC|@data>", "<!subteam^S01ABC|@data>"),
        ("<@U01ALICE>", "U01ALICE"),
        ("<@U01ALICE>", "<@U01ALICE>"),
        ("<!subteam^S01DATA>", "S01DATA"),
        ("&lt;!channel&gt;", "<!channel>"),
        ("SRE", "SRE"),
    ],
)
def test_an_owner_becomes_a_mention(expected: str, owner: str) -> None:
    """Ids and Slack's own syntax notify; a plain name is shown; the whole channel is nobody's owner."""
    assert expected == mention_of(owner)


def test_numbers_are_what_probes_read_now_and_then() -> None:
    """The number in an annotation is history: the card compares the first probe with the newest."""
    text = words(shown(scenes.worked_on(), "card"))
    assert "Lag *31,902 records*, 12,408 at alert time · customers_canonical_flink" in text
    assert "Failed tasks *1* · customers-postgres-source" in text


def test_an_unknown_number_is_not_zero() -> None:
    """A lag that could be read once and cannot now is `not known`."""
    scene = scenes.schema_break().add(e.ProbeReported(replace(scenes.LAG, facts={"lag_records": None})))
    assert "Lag *not known*, 12,408 at alert time" in words(shown(scene, "card"))


@pytest.mark.parametrize(
    ("expected", "then_s", "now_s"),
    [
        ("Time lag *17 min*, 45 s at alert time · customers_canonical_flink", 45.0, 1_020.4),
        ("Time lag *0 s*, 45 s at alert time", 45.0, 0.0),
        ("Time lag *not known*, 45 s at alert time", 45.0, None),
        (None, 0.0, 0.0),
        (None, None, None),
    ],
)
def test_time_behind_is_told_in_words(expected: str | None, then_s: float | None, now_s: float | None) -> None:
    """A group that is level and always was needs no line for it."""
    scene = scenes.opened()
    for time_lag_s in (then_s, now_s):
        scene.add(e.ProbeReported(replace(scenes.LAG, facts={"lag_records": 9, "time_lag_s": time_lag_s})))
    text = words(shown(scene, "card"))
    assert expected in text if expected else "Time lag" not in text


def test_without_a_broken_part_the_suspect_is_not_known() -> None:
    """No finding is no acquittal."""
    assert "not known yet, no probe has answered" in words(shown(scenes.opened(), "card"))


def test_alerts_not_shown_missed_and_flapping_are_told() -> None:
    """Alertmanager's cut, a start while the bot was down and a flap are each in words."""
    scene = scenes.opened().add(e.AlertsHidden("g", 3), e.ALERTMANAGER)
    missed = replace(scenes.fired("Late"), missed_while_down=True)
    scene.add(missed, e.ALERTMANAGER).add(e.IncidentResolved(True, "x")).add(e.IncidentReopened("again"))
    text = words(shown(scene, "card"))
    assert "+3 not shown by Alertmanager" in text
    assert "*Late* firing for" in text
    assert "missed while down" in text
    assert "flapped once" in text


def test_cleared_alerts_are_not_called_recovery() -> None:
    """The sentence that matters: the alert resolved while the part is still broken."""
    text = words(shown(scenes.not_verified(), "card"))
    assert "*Alerts cleared, recovery not verified:* customers-postgres-source: task 0 FAILED" in text
    assert "did not help: repair the cause first" in text


def test_a_test_alert_says_that_nothing_is_wrong() -> None:
    """Firing and ended: no suspect is looked for, no proof is missed, nobody is asked to do anything."""
    scene = Scene()
    scene.add(e.IncidentOpened("Test alert by alice", "cdc-test-1", Severity.INFO, "pipeline:cdc-test-1", "#c", "n"))
    scene.add(scenes.fired(TEST_ALERT, Severity.INFO))
    firing = words(shown(scene, "card"))
    ended = words(shown(scene.add(e.IncidentResolved(True, "the test alert ended")), "card"))
    for said in (firing, ended):
        assert "· test ·" in said and "*Next:* nothing:" in said
        assert not re.search("Suspect|not verified|[Pp]ostmortem|Nobody leads|Checklist", said)


@pytest.mark.parametrize(
    ("expected", "event"),
    [
        (["Acknowledge"], None),
        (["Note…"], e.IncidentAcknowledged()),
        (["Note…"], e.IncidentResolved(True, "the test alert ended")),
    ],
)
def test_a_test_has_next_to_no_buttons(expected: list[str], event: e.Event | None) -> None:
    """There is nothing to mitigate and no postmortem to write; one that hangs can be closed once it is acknowledged."""
    scene = Scene()
    scene.add(e.IncidentOpened("Test alert by alice", "cdc-test-1", Severity.INFO, "pipeline:cdc-test-1", "#c", "n"))
    scene.add(scenes.fired(TEST_ALERT, Severity.INFO))
    if event is not None:
        scene.add(event, ALICE)
    card = shown(scene, "card")
    assert expected == labels(card)
    assert ("incident.more" in elements(card)) == isinstance(event, e.IncidentAcknowledged)


def test_resolved_without_proof_says_so() -> None:
    """Green is for proof only."""
    scene = scenes.not_verified().add(e.IncidentResolved(False, "the team accepts it"), ALICE)
    header = next(texts(shown(scene, "card").blocks))
    assert "⚪️ Resolved, recovery not verified (critical) · customers · CDC-12" == header


@pytest.mark.parametrize(
    ("expected", "scene"),
    [
        (["Acknowledge", "Note…", "Mitigated"], scenes.schema_break),
        (["Mitigated", "Resolve", "Note…"], scenes.worked_on),
        (["Postmortem", "Reopen", "Note…"], scenes.resolved),
    ],
)
def test_the_buttons_fit_the_moment(expected: list[str], scene: Callable[[], Scene]) -> None:
    """Three buttons for what the moment needs; the rest is in the menu."""
    assert expected == labels(shown(scene(), "card"))


def test_a_button_carries_what_was_seen() -> None:
    """The revision and the nonce of the incident: a click on an old card is found out."""
    scene = scenes.worked_on()
    buttons = elements(shown(scene, "card"))
    expected = {"i": "CDC-12", "r": scene.incident.revision, "n": "5f3a9c1e", "v": "resolve"}
    assert expected == value(buttons["incident.resolve"])
    menu = {option["text"]["text"]: value(option)["v"] for option in buttons["incident.more"]["options"]}
    assert {
        "I lead": "lead",
        "Assign the lead…": "assign",
        "Resolve without proof…": "resolve_reason",
        "Postmortem": "postmortem",
    } == menu


# --- what to do now --------------------------------------------------------------------------------


def _unknown(scene: Scene) -> Scene:
    scene.add(e.ActionConfirmed("a1", "h"), ALICE).add(e.ActionStarted("a1"), ALICE)
    return scene.add(e.ActionOutcomeUnknown("a1", "no answer within 10 s"))


@pytest.mark.parametrize(
    ("expected", "scene"),
    [
        ("press *Acknowledge*", scenes.schema_break),
        ("waits in the thread: read it and press *Run*", scenes.worked_on),
        ("is running", lambda: scenes.worked_on().add(e.ActionConfirmed("a1", "h"), ALICE)),
        ("*look by hand* whether restart failed tasks", lambda: _unknown(scenes.worked_on())),
        (
            "Restart the failed tasks, once the cause is repaired (press *Plan*",
            lambda: scenes.worked_on().add(e.ActionCancelled("a1"), ALICE),
        ),
        ("recovery is being checked", lambda: scenes.opened().add(e.IncidentAcknowledged()).add(e.ResolveRequested())),
        ("did not help", scenes.not_verified),
        ("write the postmortem, and do the 2 tasks after the incident", scenes.resolved),
    ],
)
def test_the_next_step_is_one_sentence(expected: str, scene: Callable[[], Scene]) -> None:
    """The most pressing thing wins."""
    text = words(shown(scene(), "card"))
    assert 1 == text.count("*Next:*")
    assert expected in text


# --- the checklist ---------------------------------------------------------------------------------


def test_a_step_shows_its_finding_and_its_command() -> None:
    """What the probe saw stands under the step, and the command is filled with real names."""
    text = words(shown(scenes.schema_break(), "checklist"))
    assert (
        "☐ Is the consumer running, and how far behind is it?\n🟡 UNKNOWN: lag 12,408 · customers_canonical_flink\n"
        in text
    )
    assert "`/cdc lag customers_canonical_flink`" in text


def test_a_command_takes_the_names_that_are_given() -> None:
    """Addresses come from cdc.yml; what nobody knows stays a word to replace."""
    text = words(shown(scenes.schema_break(), "checklist", names={"connect": "http://connect:8083"}))
    assert "http://connect:8083" in text
    assert "'CONNECT/connectors/" in words(shown(scenes.schema_break(), "checklist"))


def test_settled_steps_say_who_when_and_why() -> None:
    """A decision is shown with its choice and reason, a skipped step with its reason."""
    text = words(shown(scenes.worked_on(), "checklist"))
    assert "✅ Done: Decide: roll back the change, or roll forward with a default\n_alice, 02:11 UTC_" in text
    assert "chose *roll forward* · the writers are deployed already" in text
    assert "⏭ Skipped: Read the dead letters: one pattern, or many?\n_alice, 02:10 UTC_ · there are none" in text
    assert "3 of 8 steps (1 skipped)" in text


def test_a_finding_recommends_its_step() -> None:
    """The verdict FAILED recommends the restart; nothing else is recommended."""
    text = words(shown(scenes.schema_break(), "checklist"))
    assert 1 == text.count("*recommended*")
    assert "Restart the failed tasks, once the cause is repaired · *recommended*" in text


def test_steps_have_the_buttons_of_their_kind() -> None:
    """A decision opens a form, an action shows its plan first, the rest is done; the menu holds what is rare."""
    scene = scenes.schema_break()
    found = elements(shown(scene, "checklist"))
    assert "Decide…" == found["step.done:schema.decide"]["text"]["text"]
    assert "Plan: restart failed tasks" == found["action.plan:connector.restart"]["text"]["text"]
    expected = {"i": "CDC-12", "r": 0, "n": "5f3a9c1e", "s": "lag.group", "v": "done"}
    assert expected == value(found["step.done:lag.group"])
    menu = found["step.more:connector.restart"]["options"]
    assert ["Done by hand", "Skip…"] == [option["text"]["text"] for option in menu]


@pytest.mark.parametrize(
    ("enabled", "policy"),
    [
        (True, scenes.POLICY),
        (False, replace(scenes.POLICY, actions=frozenset())),
        (False, replace(scenes.POLICY, actions=frozenset({"resume_connector"}))),
        (
            True,
            replace(
                scenes.POLICY, actions=frozenset(),
                pipelines={"customers": replace(scenes.CUSTOMERS, actions=frozenset({"restart_failed_tasks"}))},
            ),
        ),
    ],
)  # fmt: skip
def test_only_an_enabled_action_can_be_planned(enabled: bool, policy: Policy) -> None:
    """Where cdc.yml does not name the action, the step is one to do by hand, and says so beside its command."""
    message = shown(scenes.schema_break(), "checklist", policy=policy)
    found = elements(message)
    assert enabled == ("action.plan:connector.restart" in found)
    assert enabled != ("step.done:connector.restart" in found)
    small_print = "onlyFailed=true'`\n_not enabled in cdc.yml: run it by hand_"
    assert enabled != (small_print in words(message))
    menu = [option["text"]["text"] for option in found["step.more:connector.restart"]["options"]]
    assert (["Done by hand", "Skip…"] if enabled else ["Skip…"]) == menu


def test_the_card_asks_nobody_to_plan_what_is_not_enabled() -> None:
    """The next step is the same one, by hand."""
    scene = scenes.schema_break().add(e.IncidentAcknowledged(), ALICE)
    card = words(shown(scene, "card", policy=replace(scenes.POLICY, actions=frozenset())))
    assert "(by hand: the action is not enabled in cdc.yml)" in card
    assert "*Plan*" not in card


def test_a_settled_step_can_be_undone_with_its_new_revision() -> None:
    """Undo carries the revision that Done has made."""
    found = elements(shown(scenes.worked_on(), "checklist"))
    assert "step.done:schema.changes" not in found
    (undo,) = found["step.more:schema.changes"]["options"]
    assert ("undo", 1) == (value(undo)["v"], value(undo)["r"])


def test_a_long_step_id_still_fits_a_menu() -> None:
    """An option's value has 150 characters: the action id names the step where the value cannot."""
    step = Step("s" * 48, "triage", "Long")
    scene = scenes.opened().add(e.RunbookAttached("r", "R", "h", (step,)))
    long = replace(scene.incident, id="CDC-" + "9" * 40, nonce="n" * 32)
    message = render_slot("checklist", long, scene.entries, scene.view())
    assert () == violations(message)
    assert f"step.more:{'s' * 48}" in elements(message)


def test_a_huge_checklist_keeps_what_is_to_do() -> None:
    """Buttons move into menus, commands go, and the rest is counted."""
    message = shown(scenes.huge(), "checklist")
    assert len(message.blocks) > 20
    assert re.search(r"\+\d+ more steps, for want of room", words(message))
    assert 0 == words(message).count("--option value")


# --- plans -----------------------------------------------------------------------------------------


def test_a_plan_shows_what_it_does_before_it_can_be_run() -> None:
    """Steps, warnings, preconditions, who asked; Run is red and asks once more; both carry the hash of this plan."""
    message = shown(scenes.worked_on(), "plan:a1")
    text = words(message)
    for part in ("Nothing was changed yet", "POST /connectors/", "*Mind*", "task 0 is still FAILED", "Asked by alice"):
        assert part in text
    found = elements(message)
    assert ["Run", "Cancel"] == labels(message)
    run = found["action.run:a1"]
    assert ("danger", True) == (run["style"], "confirm" in run)
    assert {"i": "CDC-12", "r": 0, "n": "5f3a9c1e", "k": "a1", "h": "9c1f0a77d2b4", "v": "run"} == value(run)


def test_a_second_person_approves_before_anybody_runs() -> None:
    """Approve first, and no Run beside it; approved, Run appears."""
    scene = scenes.schema_break().add(e.ActionPlanned("a2", None, scenes.PLAN, "second_person"), ALICE)
    assert ["Approve", "Cancel"] == labels(shown(scene, "plan:a2"))
    scene.add(e.ActionApproved("a2", "9c1f0a77d2b4"), BOB)
    message = shown(scene, "plan:a2")
    assert ["Run", "Cancel"] == labels(message)
    assert "Approved by bob" in words(message)


@pytest.mark.parametrize(
    ("expected", "events"),
    [
        ("Queued by alice", (e.ActionConfirmed("a1", "h"),)),
        ("Running since", (e.ActionConfirmed("a1", "h"), e.ActionStarted("a1"))),
        ("not verified yet", (e.ActionStarted("a1"), e.ActionFinished("a1", True, "202"))),
        (
            "🟢 Done and verified.",
            (e.ActionFinished("a1", True, "202"), e.ActionVerified("a1", True, ("task 0 RUNNING",))),
        ),
        (
            "*it did not help*",
            (e.ActionFinished("a1", True, "202"), e.ActionVerified("a1", False, ("task 0 FAILED again",))),
        ),
        ("🔴 Failed. 409: a rebalance", (e.ActionFinished("a1", False, "409: a rebalance is in progress"),)),
        ("*Outcome unknown: check by hand.*", (e.ActionStarted("a1"), e.ActionOutcomeUnknown("a1", "no answer"))),
        ("Cancelled. Nothing was changed.", (e.ActionCancelled("a1"),)),
        ("Refused. task 0 is RUNNING", (e.ActionRefused("a1", "restart_failed_tasks", "task 0 is RUNNING"),)),
    ],
)
def test_a_plan_tells_its_outcome(expected: str, events: tuple[e.Event, ...]) -> None:
    """From queued to verified, in words; a plan that is over has no buttons."""
    scene = scenes.worked_on()
    for event in events:
        scene.add(event, ALICE)
    message = shown(scene, "plan:a1")
    assert expected in words(message)
    assert {} == elements(message)


def test_a_plan_that_could_not_be_made_says_why() -> None:
    """There is no plan in the state then: the journal has the reason."""
    scene = scenes.schema_break().add(e.ActionRefused("a7", "restart_failed_tasks", "Connect does not answer"), ALICE)
    assert "*Not planned: restart failed tasks*\nConnect does not answer" in words(shown(scene, "plan:a7"))


# --- findings, events, pages -----------------------------------------------------------------------


def test_findings_put_the_broken_and_upstream_first() -> None:
    """Red before yellow before green, and what could not be seen is told."""
    text = words(shown(scenes.schema_break(), "findings"))
    order = [text.index(word) for word in ("*FAILED*", "*UNKNOWN*", "*NO_CHANGE*", "*NONE*")]
    assert sorted(order) == order
    assert "_not known:_ state and members of customers_canonical_flink: needs DESCRIBE on the group" in text


def test_an_event_is_one_line_of_the_timeline() -> None:
    """What happened, when, and by whom."""
    scene = scenes.worked_on()
    version = next(entry.version for entry in scene.entries if isinstance(entry.event, e.NoteAdded))
    message = shown(scene, f"event:{version}")
    assert "bob noted: DBA sets a default on customers.tier now" == message.text
    assert 1 == len(message.blocks)


@pytest.mark.parametrize(
    ("expected", "slot"),
    [
        ("Severity raised to critical", "page:severity-critical"),
        ("Data was lost", "page:data-lost"),
        ("Approval wanted: Restart the failed tasks", "page:approval-a1"),
        ("Outcome unknown: Restart the failed tasks", "page:unknown-a1"),
        ("Recovery proved", "page:recovered-9"),
    ],
)
def test_a_page_says_what_happened_first(expected: str, slot: str) -> None:
    """The lock screen shows the pipeline and the reason."""
    message = shown(scenes.worked_on(), slot)
    assert message.text.startswith(f"customers: {expected}")
    assert expected in words(message)


if __name__ == "__main__":
    for scene_name, build in scenes.TYPICAL.items():
        (GOLDEN / f"{scene_name}.json").write_text(golden(build()))
