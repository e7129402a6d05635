"""`cdc doctor`, Slack: each line from both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.doctor.slack import FEATURES, SlackFacts, gather, judge
from bot.model import Pipeline
from bot.ports import ChatChannel, ChatError, ChatIdentity

SCOPES = frozenset(FEATURES)
IDENTITY = ChatIdentity("Acme", "T1", "U1", "https://acme.slack.com/", SCOPES, app_id="A1")
HERE = ChatChannel("C1", "cdc", is_member=True, is_archived=False)
SOUND = SlackFacts("socket", IDENTITY, channels={"#cdc": HERE}, socket="", app_token_app="A1")
PIPELINES = (Pipeline("customers", "#cdc", owner="S0123ABCD"),)
MANIFEST = Path(__file__).parents[3] / "manifest.yml"


def bad(facts: SlackFacts, pipelines: tuple[Pipeline, ...] = PIPELINES) -> list[tuple[str, str]]:
    """Return status and words of every line that is not ok; each has a remedy."""
    lines = [line for line in judge(facts, SCOPES, pipelines, "#cdc") if line.status != "ok"]
    assert all(line.remedy for line in lines)
    return [(str(line.status), line.what) for line in lines]


def test_each_scope_of_the_manifest_has_its_feature() -> None:
    """A scope that is asked for, and nobody knows what for, is one too many."""
    asked = yaml.safe_load(MANIFEST.read_text())["oauth_config"]["scopes"]["bot"]
    assert set(asked) == set(FEATURES)


def test_a_sound_workspace_is_all_ok() -> None:
    """Whose token it is, its scopes, where the bot is, and the way in."""
    assert [
        "the bot token works: workspace Acme (T1), bot user U1",
        "all 7 scopes are granted",
        "the bot is in #cdc",
        "Socket Mode: a socket may be opened",
    ] == [line.what for line in judge(SOUND, SCOPES, PIPELINES, "#cdc")]
    assert [] == bad(SOUND)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("invalid_auth", "Slack did not let the bot in (invalid_auth)"),
        ("token_revoked", "Slack did not let the bot in (token_revoked)"),
        ("unreachable", "Slack was not reached (unreachable)"),
        ("redirected", "Slack was not reached (redirected)"),
        ("timeout", "Slack was not reached (timeout)"),
        ("something_new", "Slack did not let the bot in (something_new)"),
    ],
)
def test_a_token_that_does_not_work_is_one_line(code: str, words: str) -> None:
    """Nothing else is asked then."""
    assert [("failed", f"auth.test: {words}")] == bad(SlackFacts("socket", error=code))


@pytest.mark.parametrize(
    ("scopes", "lines"),
    [
        (SCOPES, []),
        (SCOPES | {"users:read"}, []),  # more than is needed is a note on the line
        (SCOPES - {"files:write"}, [("failed", "scope files:write is missing: postmortems cannot be uploaded")]),
        (
            SCOPES - {"chat:write", "commands"},
            [
                ("failed", "scope chat:write is missing: cards, replies and answers cannot be posted"),
                ("failed", "scope commands is missing: the slash command does not reach the bot"),
            ],
        ),
        (
            None,
            [("warning", "which scopes the token has is not known: Slack's answer did not name them")],
        ),
    ],
)
def test_a_missing_scope_names_what_suffers(scopes: frozenset[str] | None, lines: list[tuple[str, str]]) -> None:
    """One line per scope, with the feature that needs it; the remedy is to reinstall."""
    assert lines == bad(replace(SOUND, identity=replace(IDENTITY, scopes=scopes)))


@pytest.mark.parametrize(
    ("channels", "lines"),
    [
        (
            {"#cdc": replace(HERE, is_member=False)},
            ["the bot is not in #cdc (of customers, and of incidents without a"],
        ),
        (
            {"#cdc": replace(HERE, is_archived=True)},
            ["#cdc (of customers, and of incidents without a pipeline) is arch"],
        ),
        (
            {"#cdc": "channel_not_found"},
            ["there is no channel #cdc (of customers, and of incidents without a pipeline) in Acme"],
        ),
        ({"#cdc": HERE, "#x": "missing_scope"}, ["#x (of ) cannot be looked for without its scope"]),
        ({"#cdc": HERE, "#x": "timeout"}, ["#x (of ) could not be looked for: timeout"]),
        ({"#cdc": HERE, "#x": "channel_not_found"}, ["there is no channel #x"]),
        (
            {"#cdc": "channel_not_found", "#x": "channel_not_found"},
            ["none of the channels of cdc.yml is in Acme: #cdc, #x"],
        ),
    ],
)
def test_a_channel_that_cannot_be_posted_to(channels: Mapping[str, Any], lines: list[str]) -> None:
    """Not in it, archived, not there; all of several missing is another workspace's token."""
    found = bad(replace(SOUND, channels=channels))
    assert ["failed"] * len(lines) == [status for status, _ in found]
    for line, (_, words) in zip(lines, found, strict=True):
        assert words.startswith(line)


def test_a_channel_that_was_not_listed_may_be_there() -> None:
    """A large workspace: its id is asked for, and nothing is said to be missing."""
    [(status, what)] = bad(replace(SOUND, channels={"#cdc": "too_many_channels"}))
    assert "warning" == status
    assert "was not found among the first channels of a large workspace" in what


@pytest.mark.parametrize(
    ("changed", "status", "words"),
    [
        ({"socket": "invalid_auth"}, "failed", "apps.connections.open was refused (invalid_auth)"),
        ({"socket": "socket_mode_disabled"}, "failed", "was refused (socket_mode_disabled)"),
        ({"socket": "something_new"}, "failed", "was refused (something_new)"),
        ({"socket": "ratelimited"}, "warning", "was refused (ratelimited)"),
        ({"app_token_shape": "bot"}, "failed", "the secret of slack.app_token holds a bot token (xoxb-)"),
        ({"app_token_shape": "other"}, "failed", "holds no app-level token (xapp-)"),
        ({"app_token_app": "A2"}, "failed", "the app-level token is of app A2, the bot token of app A1"),
        ({"app_token_app": "A2", "socket": "invalid_auth"}, "failed", "token is of app A2, the bot token of app A1"),
    ],
)
def test_a_socket_that_cannot_be_opened(changed: Mapping[str, Any], status: str, words: str) -> None:
    """Slack's word, a token of the wrong kind, or tokens of two apps: clicks would go to the other one."""
    [(found, what)] = bad(replace(SOUND, **changed))
    assert status == found
    assert words in what


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(SOUND, identity=replace(IDENTITY, app_id=None)), "whether both tokens are of one app Slack does not"),
        (
            replace(SOUND, mode="http", socket=None),
            "HTTP mode, the signing secret is set; whether Slack reaches the bot",
        ),
    ],
)
def test_what_cannot_be_seen_is_said(facts: SlackFacts, words: str) -> None:
    """No verdict is made of it."""
    assert any(words in line.what for line in judge(facts, SCOPES, PIPELINES, "#cdc"))


@pytest.mark.parametrize(
    ("owner", "is_bad"),
    [
        (None, False),
        ("S0123ABCD", False),
        ("U0123ABCD", False),
        ("<!subteam^S0123ABCD|@data>", False),
        ("@data-platform", True),
        ("data-platform", True),
        ("U1", True),
    ],
)
def test_an_owner_that_cannot_be_notified_is_named(owner: str | None, is_bad: bool) -> None:
    """An app mentions ids; a name is only shown."""
    found = bad(SOUND, (Pipeline("customers", "#cdc", owner=owner),))
    expected = f"the owner of customers, {owner}, is shown but cannot be notified: it is no id"
    assert ([("warning", expected)] if is_bad else []) == found


@pytest.mark.parametrize(
    ("near", "words"),
    [({"#cdc": "#cdc-incidents"}, "Correct the name in cdc.yml (did you mean #cdc-incidents?); else create it"),
     ({}, "Correct the name in cdc.yml; else create it")],
)  # fmt: skip
def test_a_channel_that_is_not_there_may_be_misspelt(near: Mapping[str, str], words: str) -> None:
    """The name in cdc.yml comes first, with the one that is called most like it."""
    facts = replace(SOUND, channels={"#cdc": "channel_not_found"}, near=near)
    [line] = [line for line in judge(facts, SCOPES, PIPELINES, "#cdc") if line.status != "ok"]
    assert line.remedy.startswith(words)


def test_a_refused_token_says_whose_it_is_where_the_bots_app_is_not_known() -> None:
    """Slack does not tell the app of every bot token; the app-level token names its own."""
    facts = replace(SOUND, identity=replace(IDENTITY, app_id=None), socket="invalid_auth", app_token_app="A2")
    [line] = [line for line in judge(facts, SCOPES, PIPELINES, "#cdc") if line.status != "ok"]
    assert "the one there is of app A2" in line.remedy


@dataclass
class Workspace:
    """Slack as asked: an identity, channels, and what a socket costs."""

    identity: ChatIdentity | ChatError = IDENTITY
    channels: Mapping[str, ChatChannel] = field(default_factory=lambda: {"#cdc": HERE})
    refusal: str = ""
    tokens: list[str] = field(default_factory=list)

    def read_identity(self) -> ChatIdentity:
        if isinstance(self.identity, ChatError):
            raise self.identity
        return self.identity

    def read_channels(self, channels: Sequence[str]) -> Mapping[str, ChatChannel | ChatError]:
        return {name: self.channels.get(name, ChatError("channel_not_found", near="#cdc")) for name in channels}

    def open_socket(self, app_token: str) -> str:
        self.tokens.append(app_token)
        if self.refusal:
            raise ChatError(self.refusal)
        return "wss://slack"


def test_each_channel_is_looked_at_once() -> None:
    """Each channel is one entry, found or Slack's word; the app is read off the app-level token."""
    facts = gather(Workspace(), "socket", lambda: "xapp-1-A1-22-abc", ("#cdc", "#x", "#cdc"))
    assert ({"#cdc": HERE, "#x": "channel_not_found"}, {"#x": "#cdc"}) == (facts.channels, facts.near)
    assert ("", "A1", "app") == (facts.socket, facts.app_token_app, facts.app_token_shape)


def test_http_mode_opens_no_socket() -> None:
    """And a bot token that does not work asks nothing more."""
    workspace = Workspace()
    assert None is gather(workspace, "http", None, ("#cdc",)).socket
    assert "invalid_auth" == gather(Workspace(ChatError("invalid_auth")), "socket", lambda: "xapp-1", ()).error
    assert [] == workspace.tokens


@pytest.mark.parametrize(
    ("token", "shape", "app"),
    [("xoxb-1-2", "bot", None), ("xapp-1", "app", None), ("secret-word", "other", None)],
)
def test_a_token_of_the_wrong_kind_is_recognised(token: str, shape: str, app: str | None) -> None:
    """Its kind stands in it; no line holds the token."""
    facts = gather(Workspace(refusal="not_allowed_token_type"), "socket", lambda: token, ("#cdc",))
    assert (shape, app, "not_allowed_token_type") == (facts.app_token_shape, facts.app_token_app, facts.socket)
    assert token not in repr(facts) + repr(judge(facts, SCOPES, PIPELINES, "#cdc"))
