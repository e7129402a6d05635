"""The outbox: everything due is said, the most urgent first, each message once, whatever Slack answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from bot.incident import commands as c
from bot.incident.state import Incident
from bot.model import TEST_ALERT
from bot.outbox import KEPT_FOR_PAGES, POST_BURST, UPDATE_BURST, Bucket, ChartFile
from bot.ports import ChatError
from tests.unit.shell.conftest import ALICE, CHANNEL, T0, Clock, FakeChat, Shell, alert, webhook

LOST = ChatError("connection_lost", uncertain=True)
REFUSED = ChatError("unreachable")


def note(shell: Shell, text: str = "x") -> None:
    shell.dispatcher.order("CDC-1", c.AddNote(ALICE, text))


def answer(shell: Shell, key: str, body: Mapping[str, Any], channel: str = "C1", lane: str = "reply") -> None:
    with shell.store.deciding() as writer:
        writer.answer(key, channel, body, shell.clock(), lane)


def due(shell: Shell) -> list[str]:
    return shell.rows("SELECT key FROM outbox WHERE state = 'due' ORDER BY id")


# --- what is said, in which order ----------------------------------------------------------------------


def test_a_burst_of_changes_becomes_one_edit_with_the_newest_words(shell: Shell, chat: FakeChat) -> None:
    """The words are made when the message is sent: what came between is never shown."""
    shell.hear(webhook(alert()))
    shell.say_all()
    chat.calls.clear()
    shell.hear(webhook(alert("f2")))
    shell.hear(webhook(alert("f3")))
    shell.hear(webhook(alert("f4")))
    shell.say_all()
    assert [("update", "CDC-1/card")] == chat.calls
    card = next(message for _, _, message in chat.said.values() if "card" in message.text)
    assert f"CDC-1 card v{shell.incident().version}" == card.text


def test_a_reply_waits_for_its_card(shell: Shell, chat: FakeChat) -> None:
    """There is no thread before there is a card; a card that cannot be posted yet keeps its replies, in order."""
    chat.fails["post"] = [REFUSED, REFUSED]
    shell.hear(webhook(alert()))
    shell.outbox.drain()
    assert [("post", "CDC-1/card")] == chat.calls
    shell.say_all()
    assert "CDC-1/card" == chat.said_keys()[0]
    card_ts = next(iter(chat.said))
    assert {None, card_ts} == {thread for _, thread, _ in chat.said.values()}
    assert [] == due(shell)


def test_pages_overtake_and_have_the_last_slots_of_a_burst(shell: Shell, chat: FakeChat) -> None:
    """Replies fill what a burst leaves free; a page that comes then still goes out at once."""
    shell.hear(webhook(alert()))
    shell.outbox.drain()
    for n in range(10):
        note(shell, str(n))
    shell.outbox.drain()
    shell.outbox.drain()
    said = len(chat.said)
    assert said <= POST_BURST - KEPT_FOR_PAGES + 1
    shell.hear(webhook(alert("f2", severity="critical")))
    shell.outbox.drain()
    assert "CDC-1/page:severity-critical" in chat.said_keys()
    assert said < len(chat.said)


def test_one_channel_does_not_hold_up_another(shell: Shell, chat: FakeChat) -> None:
    """A storm in one channel is paced there; a message for another channel goes out in the same pass."""
    for n in range(300):
        answer(shell, f"storm-{n}", {"text": f"storm {n}"}, "#storm", "page")
    answer(shell, "other", {"text": "other"}, "#quiet", "cosmetic")
    shell.outbox.drain()
    assert "other" in [message.text for _, _, message in chat.said.values()]


def test_a_card_that_is_refused_for_good_holds_up_nobody(shell: Shell, chat: FakeChat) -> None:
    """Its replies have no thread and wait; those of other incidents are not behind them."""
    for n in range(30):
        shell.hear(webhook(alert(f"bad{n}", pipeline="", group=f"g{n}"), source=f"http://am{n}"))
    chat.fails["post"] = [ChatError("channel_not_found", permanent=True)] * 30
    shell.say_all()
    assert [30] == shell.rows("SELECT count(*) FROM outbox WHERE state = 'failed' AND error = 'channel_not_found'")
    shell.hear(webhook(alert("good")))
    shell.say_all()
    assert {"CDC-31/card", "CDC-31/checklist"} <= set(chat.said_keys())


@pytest.mark.parametrize(("keep", "at_once"), [(0.0, 3), (2.0, 1)])
def test_a_bucket_gives_its_burst_and_then_one_at_a_time(keep: float, at_once: int, clock: Clock) -> None:
    """A burst at once, then one token per interval; `keep` leaves that many for who is more urgent."""
    bucket = Bucket(3.0, 2.0)
    assert [True] * at_once + [False] == [bucket.take(clock(), keep) for _ in range(at_once + 1)]
    clock.passes(1.9)
    assert not bucket.take(clock(), keep)
    clock.passes(0.2)
    assert bucket.take(clock(), keep)
    clock.passes(3600)
    assert [True] * at_once + [False] == [bucket.take(clock(), keep) for _ in range(at_once + 1)]


def test_edits_are_paced_for_the_whole_workspace(shell: Shell, chat: FakeChat) -> None:
    """chat.update counts per workspace: many cards that change at once are edited at its pace."""
    for n in range(20):
        shell.hear(webhook(alert(f"f{n}", pipeline="", group=f"g{n}"), source=f"http://am{n}"))
    shell.say_all()
    chat.calls.clear()
    for n in range(20):
        shell.hear(webhook(alert(f"more{n}", pipeline="", group=f"g{n}"), source=f"http://am{n}"))
    shell.outbox.drain()
    assert len(chat.calls) <= UPDATE_BURST
    shell.say_all()
    assert 20 == len({what for method, what in chat.calls if method == "update"})


# --- what goes wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize("arrived", [True, False])
def test_an_uncertain_post_is_looked_up_before_it_is_repeated(shell: Shell, chat: FakeChat, arrived: bool) -> None:
    """The connection dropped: whether Slack took it or not, the message stands there once."""
    shell.hear(webhook(alert()))
    chat.takes, chat.fails["post"] = arrived, [LOST]
    shell.outbox.drain()
    chat.takes = False
    shell.say_all()
    assert 1 == chat.said_keys().count("CDC-1/card")
    assert ("find", "CDC-1/card") in chat.calls
    posts = chat.calls.count(("post", "CDC-1/card"))
    assert (1 if arrived else 2) == posts


@pytest.mark.parametrize(
    "look_up", [REFUSED, LOST, ChatError("ratelimited", retry_after_s=3), RuntimeError("a defect of ours")]
)
def test_a_look_up_that_fails_leaves_the_post_uncertain(shell: Shell, chat: FakeChat, look_up: Exception) -> None:
    """Slack took the message and cannot be asked: whatever the look-up died of, the message is not posted blindly."""
    shell.hear(webhook(alert()))
    chat.takes, chat.fails["post"] = True, [LOST]
    chat.fails["find"] = [look_up, look_up]
    shell.outbox.drain()
    chat.takes = False
    shell.say_all()
    assert 1 == chat.said_keys().count("CDC-1/card")
    assert [] == due(shell)


def test_a_crash_between_sending_and_sent_posts_nothing_twice(
    start: Callable[[], Shell], chat: FakeChat, clock: Clock
) -> None:
    """The process died with the request on its way: the next one finds the message by its key."""

    class Death(BaseException):
        pass

    dying = start()
    dying.hear(webhook(alert()))
    chat.takes, chat.fails["post"] = True, [Death()]  # type: ignore[list-item]
    with pytest.raises(Death):
        dying.outbox.drain()
    chat.takes = False
    after = start()
    after.say_all()
    assert [("post", "CDC-1/card"), ("find", "CDC-1/card")] == chat.calls[:2]
    assert 1 == chat.said_keys().count("CDC-1/card")
    assert [] == due(after)


def test_a_post_whose_end_could_not_be_written_is_not_repeated(shell: Shell, chat: FakeChat) -> None:
    """Slack has it and the journal was locked for a moment: it is looked up, not posted again."""
    other = sqlite3.connect(shell.journal, isolation_level=None)
    shell.store._db().execute("PRAGMA busy_timeout = 20")
    sent = shell.store.sent

    def locked_once(*arguments: Any) -> None:
        shell.store.sent = sent  # type: ignore[method-assign]
        other.execute("BEGIN IMMEDIATE")
        try:
            sent(*arguments)
        finally:
            other.execute("ROLLBACK")

    shell.hear(webhook(alert()))
    shell.store.sent = locked_once  # type: ignore[method-assign]
    shell.outbox.drain()
    shell.say_all()
    other.close()
    assert 1 == chat.calls.count(("post", "CDC-1/card"))
    assert 1 == chat.said_keys().count("CDC-1/card")


def test_a_429_pauses_that_method_in_that_channel_only(shell: Shell, chat: FakeChat) -> None:
    """Posts here wait as long as Slack wishes; edits here and posts elsewhere go on."""
    shell.hear(webhook(alert()))
    shell.say_all()
    chat.calls.clear()
    chat.fails["post"] = [ChatError("ratelimited", retry_after_s=30)]
    note(shell)
    shell.outbox.drain()
    answer(shell, "elsewhere", {"text": "elsewhere"}, "#elsewhere")
    note(shell, "y")
    shell.outbox.drain()
    assert 1 == sum(method == "post" and what.startswith("CDC-1/") for method, what in chat.calls)
    assert ("update", "CDC-1/card") in chat.calls
    assert ("post", "elsewhere") in chat.calls
    shell.clock.passes(29)
    shell.outbox.drain()
    assert 1 == sum(method == "post" and what.startswith("CDC-1/") for method, what in chat.calls)
    shell.clock.passes(2)
    shell.say_all()
    assert [] == due(shell)


def test_a_429_of_an_upload_does_not_pause_the_thread(shell: Shell, chat: FakeChat) -> None:
    """The file waits, the messages do not."""
    shell.hear(webhook(alert()))
    shell.say_all()
    chat.fails["upload"] = [ChatError("ratelimited", retry_after_s=30)]
    answer(shell, "file", {"postmortem": "CDC-1"}, CHANNEL)
    shell.outbox.drain()
    note(shell)
    chat.calls.clear()
    shell.outbox.drain()
    assert any(method == "post" for method, _ in chat.calls)
    shell.clock.passes(31)
    shell.outbox.drain()
    assert ("upload", "postmortem-CDC-1.md") in chat.calls


def test_a_permanent_refusal_is_kept_with_its_reason(shell: Shell, chat: FakeChat) -> None:
    """It is not tried for ever, and health shows it; the next change of the card tries again."""
    chat.fails["post"] = [ChatError("channel_not_found", permanent=True)]
    shell.hear(webhook(alert()))
    shell.say_all()
    assert 1 == len(chat.calls)
    depths = shell.store.depths()
    assert (1, "channel_not_found") == (depths["outbox_failed"], depths["outbox_refusal"])
    shell.hear(webhook(alert("f2")))
    shell.say_all()
    assert "CDC-1/card" in chat.said_keys()


def test_what_waits_for_a_refused_card_is_not_a_second_trouble(shell: Shell, chat: FakeChat) -> None:
    """Health tells of the card; another message that waits for another reason is told beside it."""
    chat.fails["post"] = [ChatError("invalid_blocks", permanent=True), REFUSED]
    shell.hear(webhook(alert()))
    note(shell)
    shell.outbox.drain()
    depths = shell.store.depths()
    assert ("invalid_blocks", None, "") == tuple(depths[f"outbox_{name}"] for name in ("refusal", "waits", "error"))
    assert depths["outbox_held"] == sum(depths["outbox"].values()) > 0
    shell.clock.passes(5)
    answer(shell, "a", {"text": "t"})
    shell.outbox.drain()
    depths = shell.store.depths()
    told = tuple(depths[f"outbox_{name}"] for name in ("refusal", "waits", "error"))
    assert ("invalid_blocks", shell.clock(), "unreachable") == told


def test_a_bot_that_is_invited_late_says_what_waited(shell: Shell, chat: FakeChat) -> None:
    """Not in the channel: the card waits, health says why, and it is posted without anything new happening."""
    chat.fails["post"] = [ChatError("not_in_channel")]
    shell.hear(webhook(alert()))
    shell.outbox.drain()
    depths = shell.store.depths()
    assert (0, "not_in_channel") == (depths["outbox_failed"], depths["outbox_error"])
    shell.clock.passes(61)
    shell.say_all()
    assert "CDC-1/card" in chat.said_keys()


def test_a_message_that_we_cannot_render_holds_up_nobody(shell: Shell, chat: FakeChat) -> None:
    """A defect of ours in one message is counted and tried again; the others are said."""
    shell.hear(webhook(alert()))
    shell.outbox.drain()
    render = shell.outbox._render
    shell.outbox._render = render.__class__(
        lambda name, *rest: 1 / 0 if name == "checklist" else render.slot(name, *rest), render.report, render.text,
        render.postmortem,
    )  # type: ignore[arg-type,return-value]  # fmt: skip
    note(shell)
    shell.say_all()
    assert ["CDC-1/checklist"] == due(shell)
    assert any("event:" in key for key in chat.said_keys())
    assert shell.errors["outbox"] > 1


def test_an_outage_loses_nothing_and_is_asked_about_ever_more_rarely(shell: Shell, chat: FakeChat) -> None:
    """Slack is down for an hour: a try a minute at last, and then everything is said once, in its newest words."""
    chat.fails["post"] = [REFUSED] * 10_000
    shell.hear(webhook(alert()))
    for n in range(5):
        note(shell, str(n))
    for _ in range(720):
        shell.outbox.drain()
        shell.clock.passes(5)
    assert len(chat.calls) < 80
    chat.fails.clear()
    shell.clock.passes(60)
    shell.say_all()
    assert [] == due(shell)
    keys = chat.said_keys()
    assert sorted(set(keys)) == sorted(keys)


@pytest.mark.parametrize(
    ("body", "way"),
    [
        ({"text": "t", "response_url": "https://hooks", "user": "U1"}, ("respond", "t")),
        ({"text": "t", "user": "U1"}, ("post_ephemeral", "t")),
        ({"text": "t"}, ("post", "t")),
    ],
)
def test_an_answer_goes_back_the_way_the_question_came(
    shell: Shell, chat: FakeChat, body: dict[str, str], way: tuple[str, str]
) -> None:
    """Through the response_url when there is one, to the person alone when there is one, else to the channel."""
    answer(shell, "a", body)
    shell.outbox.drain()
    assert [way] == chat.calls
    assert [] == due(shell)


def test_a_message_of_an_unknown_incident_is_kept_as_failed(shell: Shell) -> None:
    """It cannot be rendered, ever: it is not tried for ever, and not forgotten."""
    with shell.store.deciding() as writer:
        writer.deliver("CDC-404", "card", "page", CHANNEL, 1, T0)
    shell.outbox.drain()
    assert [("failed", "no such incident")] == shell.rows("SELECT state, error FROM outbox")


# --- a channel that is corrected in cdc.yml ------------------------------------------------------------


def corrected(start: Callable[[], Shell], channel: str) -> Shell:
    """The next process, with another channel in cdc.yml for the incidents' pipeline."""
    shell = start()
    pipelines = {"customers": replace(shell.policy.pipelines["customers"], channel=channel)}
    shell.policy = replace(shell.policy, pipelines=pipelines)
    return shell


@pytest.mark.parametrize("gave_up", [True, False])
def test_an_incident_that_nobody_was_told_goes_to_the_corrected_channel(
    start: Callable[[], Shell], chat: FakeChat, gave_up: bool
) -> None:
    """The typo is corrected and the bot restarted: card and thread are said there, given up for good or not."""
    before = start()
    chat.fails["post"] = [ChatError("channel_not_found", permanent=gave_up)] * 9
    before.hear(webhook(alert()))
    before.outbox.drain()
    chat.fails.clear()
    after = corrected(start, "#right")
    after.say_all()
    note(after, "later")
    after.say_all()
    assert [] == due(after)
    assert [] == after.rows("SELECT key FROM outbox WHERE state = 'failed'")
    assert {("#right", None), ("C1", "1.0")} == {(channel, thread) for channel, thread, _ in chat.said.values()}
    assert ["#right"] == after.rows("SELECT DISTINCT channel FROM outbox"), "what is paced together has one name"


def test_a_card_that_stands_somewhere_keeps_its_thread_there(start: Callable[[], Shell], chat: FakeChat) -> None:
    """Another channel in cdc.yml is for what is new: a reply without its card would be lost."""
    before = start()
    before.hear(webhook(alert()))
    before.say_all()
    chat.said = {ts: said for ts, said in chat.said.items() if said[1] is None}
    after = corrected(start, "#right")
    note(after)
    after.say_all()
    assert [(CHANNEL, None), ("C1", "1.0")] == [(channel, thread) for channel, thread, _ in chat.said.values()]


@pytest.mark.parametrize("arrived", [True, False])
def test_a_card_that_may_stand_in_the_old_channel_is_looked_up_there(
    start: Callable[[], Shell], chat: FakeChat, arrived: bool
) -> None:
    """The connection dropped while it was posted; then cdc.yml changed: it is looked up where it was sent."""
    before = start()
    before.hear(webhook(alert()))
    chat.takes, chat.fails["post"] = arrived, [LOST]
    before.outbox.drain()
    chat.takes = False
    after = corrected(start, "#right")
    after.say_all()
    assert [CHANNEL] == chat.looked_in
    cards = [channel for channel, thread, _ in chat.said.values() if thread is None]
    assert [CHANNEL if arrived else "#right"] == cards


@pytest.mark.parametrize(("code", "said"), [("channel_not_found", True), ("ratelimited", False)])
def test_a_channel_that_is_gone_holds_no_card_back(
    start: Callable[[], Shell], chat: FakeChat, code: str, said: bool
) -> None:
    """What was to be looked up in a channel that does not exist is said in the new one; an outage decides nothing."""
    before = start()
    before.hear(webhook(alert()))
    chat.fails["post"] = [LOST]
    before.outbox.drain()
    after = corrected(start, "#right")
    chat.fails["find"] = [ChatError(code)] * 99
    after.say_all()
    assert said == ("CDC-1/card" in chat.said_keys())


def test_a_card_given_up_is_tried_once_a_start(start: Callable[[], Shell], chat: FakeChat) -> None:
    """What this release takes for hopeless stays so until the next start."""
    chat.fails["post"] = [ChatError("invalid_blocks", permanent=True)] * 9
    start().hear(webhook(alert()))
    for tries in (1, 2):
        start().say_all()
        assert tries == chat.calls.count(("post", "CDC-1/card"))


# --- charts --------------------------------------------------------------------------------------------

PICTURE = ChartFile("lag.png", b"png", "Lag of g: 12 records behind.")


def drawing(shell: Shell, chart: Callable[[str, Incident], ChartFile | None]) -> list[str]:
    """Give the outbox something to draw with; return the list of what was drawn."""
    drawn = list[str]()

    def draw(slot: str, incident: Incident) -> ChartFile | None:
        drawn.append(f"{incident.id}/{slot}")
        return chart(slot, incident)

    shell.outbox._render = replace(shell.outbox._render, chart=draw)
    return drawn


def charts(shell: Shell) -> list[str]:
    """Send charts until nothing moves, with time enough for every try."""
    for _ in range(200):
        shell.outbox.send_charts()
        shell.clock.passes(5.0)
    return shell.rows("SELECT state FROM outbox WHERE slot LIKE 'chart:%' ORDER BY id")


def resolve(shell: Shell) -> None:
    shell.dispatcher.order("CDC-1", c.ResolveIncident(ALICE, "it is over"))


def test_an_incident_gets_its_chart_when_it_opens_and_when_it_is_resolved(shell: Shell, chat: FakeChat) -> None:
    """In its thread, with its words for who does not see it; drawn when it is sent, and each once."""
    drawn = drawing(shell, lambda slot, incident: PICTURE)
    shell.hear(webhook(alert()))
    shell.say_all()
    assert ["sent"] == charts(shell)
    assert ("C1", "1.0", b"png", "Lag when CDC-1 was opened", PICTURE.alt) == chat.files["lag.png"]
    resolve(shell)
    shell.say_all()
    assert ["sent", "sent"] == charts(shell)
    assert "Lag when CDC-1 was resolved" == chat.files["lag.png"][3]
    assert ["CDC-1/chart:opened", "CDC-1/chart:resolved"] == drawn


def test_messages_and_charts_go_their_own_ways(shell: Shell, chat: FakeChat) -> None:
    """No message waits for a picture: the thread that says messages draws none, and the other says nothing."""
    drawn = drawing(shell, lambda slot, incident: PICTURE)
    shell.hear(webhook(alert()))
    shell.outbox.send_charts()
    assert ([], []) == (drawn, chat.calls)
    for _ in range(9):
        shell.outbox.drain()
        shell.clock.passes(1)
    assert [] == drawn
    assert ["CDC-1/chart:opened"] == due(shell)


@pytest.mark.parametrize("more", [{"alertname": TEST_ALERT}, {"pipeline": ""}])
def test_where_there_is_no_lag_there_is_no_chart(shell: Shell, more: dict[str, str]) -> None:
    """The doctor's test alert is about nothing, and an alert without a pipeline names no group."""
    shell.hear(webhook(alert(**more)))
    assert [] == shell.rows("SELECT key FROM outbox WHERE slot LIKE 'chart:%'")


def test_nothing_to_draw_is_said_to_nobody(shell: Shell, chat: FakeChat) -> None:
    """No samples yet: the chart is settled without a word, and is no trouble."""
    shell.hear(webhook(alert()))
    shell.say_all()
    assert ["sent"] == charts(shell)
    assert {} == chat.files
    assert 0 == shell.store.depths()["outbox_failed"]


def test_a_chart_that_is_late_leaves_it_to_the_one_at_the_end(shell: Shell, chat: FakeChat) -> None:
    """Slack was down until it was over: the second picture shows all that the first would have."""
    drawn = drawing(shell, lambda slot, incident: PICTURE)
    shell.hear(webhook(alert()))
    resolve(shell)
    shell.say_all()
    assert ["sent", "sent"] == charts(shell)
    assert ["CDC-1/chart:resolved"] == drawn


@pytest.mark.parametrize("failure", [REFUSED, LOST, ChatError("missing_scope"), ChatError("http_500", uncertain=True)])
def test_a_chart_that_fails_is_tried_again(shell: Shell, chat: FakeChat, failure: ChatError) -> None:
    """An outage of a minute does not cost the picture."""
    drawing(shell, lambda slot, incident: PICTURE)
    shell.hear(webhook(alert()))
    chat.fails["upload"] = [failure] * 3
    shell.say_all()
    assert ["sent"] == charts(shell)
    assert 4 == chat.calls.count(("upload", "lag.png"))


@pytest.mark.parametrize(
    "failure", [ChatError("file_uploads_disabled"), ChatError("invalid_arguments", permanent=True)]
)
def test_a_chart_that_never_succeeds_is_dropped_and_counted(shell: Shell, chat: FakeChat, failure: ChatError) -> None:
    """A workspace that takes no files has its incident all the same, and health has nothing to tell."""
    drawing(shell, lambda slot, incident: PICTURE)
    shell.hear(webhook(alert()))
    chat.fails["upload"] = [failure] * 99
    shell.say_all()
    assert ["dropped"] == charts(shell)
    assert (1 if failure.permanent else 6) == chat.calls.count(("upload", "lag.png"))
    assert 1 == shell.errors["chart:dropped"]
    depths = shell.store.depths()
    assert (0, {}) == (depths["outbox_failed"], depths["outbox"])
    chat.fails.clear()
    resolve(shell)
    shell.say_all()
    assert ["dropped", "sent"] == charts(shell)


def test_a_chart_that_cannot_be_drawn_holds_up_nobody(shell: Shell, chat: FakeChat) -> None:
    """A defect of ours in drawing is counted, tried again and then let go."""
    drawing(shell, lambda slot, incident: 1 / 0)  # type: ignore[arg-type,return-value]
    shell.hear(webhook(alert()))
    shell.say_all()
    assert ["dropped"] == charts(shell)
    assert shell.errors["chart"] > 1
    assert "CDC-1/card" in chat.said_keys()


def test_a_429_of_a_chart_pauses_charts_alone(shell: Shell, chat: FakeChat) -> None:
    """The next picture waits as long as Slack wishes; messages and the postmortem do not."""
    drawing(shell, lambda slot, incident: PICTURE)
    shell.hear(webhook(alert()))
    shell.outbox.drain()
    chat.fails["upload"] = [ChatError("ratelimited", retry_after_s=30)]
    shell.outbox.send_charts()
    answer(shell, "file", {"postmortem": "CDC-1"}, CHANNEL)
    note(shell)
    chat.calls.clear()
    shell.outbox.drain()
    shell.outbox.send_charts()
    assert {"post", "update", "upload"} >= {method for method, _ in chat.calls} >= {"post", "upload"}
    assert ("upload", "lag.png") not in chat.calls
    assert ["sent"] == charts(shell)


def test_charts_that_wait_make_nobody_wait_and_the_bot_is_ready(shell: Shell, chat: FakeChat) -> None:
    """A storm's charts are paced for an hour: a message of the same lane goes out beside them, and none is late."""
    drawing(shell, lambda slot, incident: PICTURE)
    shell.hear(webhook(alert()))
    shell.outbox.drain()
    with shell.store.deciding() as writer:
        for number in range(60):
            writer.deliver("CDC-1", f"chart:{number}", "cosmetic", CHANNEL, 1, T0)
        writer.deliver("CDC-1", "findings", "cosmetic", CHANNEL, 1, T0)
    shell.clock.passes(10)
    for _ in range(3):
        shell.outbox.drain()
    waiting = due(shell)
    assert 61 == len(waiting) == sum("chart:" in key for key in waiting)
    assert None is shell.store.depths()["outbox_oldest"]


def test_the_bot_can_stop_between_two_charts(shell: Shell, chat: FakeChat) -> None:
    """A storm's charts are drawn one a call: between them the thread sees that it is to end."""
    drawn = drawing(shell, lambda slot, incident: PICTURE)
    shell.hear(webhook(alert()))
    shell.outbox.drain()
    with shell.store.deciding() as writer:
        writer.deliver("CDC-1", "chart:again", "cosmetic", CHANNEL, 1, T0)
    shell.clock.passes(10)
    assert [1, 1, 0] == [shell.outbox.send_charts() for _ in range(3)]
    assert 2 == len(drawn)
