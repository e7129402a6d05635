"""Whether the bot could speak: what Slack says of its token and its channels, in words, when it changes."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.app import start_bot
from bot.drill.loopback import free_port
from bot.drill.workspace import SlackWorkspace
from bot.monitor import Voice
from bot.ports import ChatChannel, ChatError, ChatIdentity
from tests.unit.shell.conftest import Clock

IN, OUT, OLD = (ChatChannel("C1", "a", member, archived) for member, archived in ((True, 0), (False, 0), (True, 1)))
NONE = ChatError("channel_not_found", permanent=True)
WELL = "Slack: speaks in #a, #b as a bot of Acme Inc"


@dataclass
class FakeSlack:
    """Answers as it is told; counts how often it was asked."""

    channels: Mapping[str, ChatChannel | ChatError] = field(default_factory=lambda: {"#a": IN, "#b": IN})
    error: ChatError | None = None
    asked: int = 0

    def read_identity(self) -> ChatIdentity:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return ChatIdentity("Acme\nInc", "T1", "U1", "", None)

    def read_channels(self, channels: Sequence[str]) -> Mapping[str, ChatChannel | ChatError]:
        return {name: self.channels[name] for name in channels}

    def open_socket(self, app_token: str) -> str:
        raise ChatError("not_asked_for")


def looking(slack: FakeSlack, clock: Clock) -> Voice:
    return Voice(lambda: slack, ("#a", "#b", "#a"), clock)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "cdc.monitor"]


@pytest.mark.parametrize(
    ("words", "slack"),
    [
        ((), FakeSlack()),
        (
            ("Slack does not take the bot token (invalid_auth): `cdc doctor` says more",),
            FakeSlack(error=ChatError("invalid_auth")),
        ),
        (
            ("Slack: the bot is not in #b: write `/invite @cdc-oncall` there",),
            FakeSlack({"#a": IN, "#b": OUT}),
        ),
        (
            (
                "Slack: there is no channel #a in Acme Inc that the bot can see",
                "Slack: #b is archived, nothing can be posted there",
            ),
            FakeSlack({"#a": NONE, "#b": OLD}),
        ),
        (
            ("Slack: whether the bot is in #b is not known (missing_scope): `cdc doctor` says more",),
            FakeSlack({"#a": IN, "#b": ChatError("missing_scope")}),
        ),
        ((), FakeSlack({"#a": IN, "#b": ChatError("too_many_channels")})),
        (
            ("Slack: the secret with the bot token cannot be read: `cdc doctor` says more",),
            FakeSlack(error=ChatError("bot_token_unreadable")),
        ),
        ((), FakeSlack(error=ChatError("unreachable"))),
        ((), FakeSlack(error=ChatError("unreadable_answer", uncertain=True))),
        ((), FakeSlack(error=ChatError("http_502"))),
        ((), FakeSlack({"#a": OUT, "#b": ChatError("ratelimited", retry_after_s=3)})),
    ],
)  # fmt: skip
def test_what_keeps_the_bot_from_speaking_is_said(words: tuple[str, ...], slack: FakeSlack, clock: Clock) -> None:
    """Each channel that cannot be posted to; an unreachable Slack is the outbox's to tell."""
    voice = looking(slack, clock)
    voice.look()
    assert words == voice.wrong()


def test_a_change_is_logged_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A warning when it goes wrong, a line when it is well; an outage between changes nothing."""
    caplog.set_level(logging.INFO)
    slack = FakeSlack(error=ChatError("invalid_auth"))
    voice = looking(slack, clock)
    wrong = ("WARNING", "Slack does not take the bot token (invalid_auth): `cdc doctor` says more")
    for error in (ChatError("invalid_auth"), ChatError("invalid_auth"), ChatError("unreachable")):
        slack.error = error
        voice.look()
    assert ([wrong], (wrong[1],)) == (told(caplog), voice.wrong())
    slack.error = None
    voice.look()
    voice.look()
    assert ([wrong, ("INFO", WELL)], ()) == (told(caplog), voice.wrong())


@pytest.mark.parametrize(("asked", "after_s"), [(1, 299.0), (2, 300.0)])
def test_what_is_well_is_looked_at_every_five_minutes(asked: int, after_s: float, clock: Clock) -> None:
    """What is wrong is looked at each time: who repairs it waits for a minute."""
    slack = FakeSlack()
    voice = looking(slack, clock)
    voice.look()
    clock.passes(after_s)
    voice.look()
    assert asked == slack.asked


@pytest.mark.parametrize(
    ("token", "channel", "words"),
    [
        ("xoxb-right", "#cdc-incidents", []),
        ("xoxb-wrong", "#cdc-incidents", ["Slack does not take the bot token (invalid_auth)"]),
        ("xoxb-right", "#nowhere", ["Slack: there is no channel #nowhere in "]),
    ],
)
def test_a_started_bot_says_whether_it_could_speak(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, token: str, channel: str, words: list[str]
) -> None:
    """Before there is anything to say: in the log and in /healthz; the token is in neither."""
    caplog.set_level(logging.INFO)
    slack = SlackWorkspace(token="xoxb-right", signing_secret="secret").start()
    path = tmp_path / "cdc.yml"
    path.write_text(
        f"listen: 127.0.0.1:{free_port()}\nstate: ./journal.db\nprobes: {{interval: 1d}}\n"
        f'slack: {{mode: http, channel: "{channel}", bot_token: "${{BOT}}", signing_secret: "${{SIGNING}}", '
        f'api_url: "{slack.url}/api/"}}\n'
        'alertmanager: {url: "http://127.0.0.1:9", tokens: ["${TOKEN}"]}\n'
        "pipelines: {customers: {topics: [customers]}}\n"
    )
    bot = start_bot(path, {"BOT": token, "SIGNING": "secret", "TOKEN": "token"})
    try:
        ends_at = time.monotonic() + 15
        while not told(caplog):
            assert time.monotonic() < ends_at, "the first look"
            time.sleep(0.02)
        wrong = [str(line) for line in bot.monitor.health()[1]["wrong"] if "Slack" in str(line)]
    finally:
        bot.stop()
        slack.stop()
    assert words == [line[: len(part)] for line, part in zip(wrong, words, strict=True)]
    assert ("WARNING" if words else "INFO") == told(caplog)[0][0]
    assert "xoxb" not in caplog.text + str(wrong)
