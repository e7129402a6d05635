"""What `cdc doctor` asks of Slack, against the drill's workspace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.clients.slack import SlackChat
from bot.drill.loopback import Answer, Call, LoopbackServer, route
from bot.drill.slack_store import Channel
from bot.drill.slack_web_api import scopes_of_manifest
from bot.drill.workspace import INCIDENTS, SlackWorkspace
from bot.ports import ChatChannel, ChatError, Message

TOKEN = "xoxb-very-secret"
MANIFEST = Path(__file__).parents[3] / "manifest.yml"


@pytest.fixture
def workspace() -> Iterator[SlackWorkspace]:
    workspace = SlackWorkspace(token=TOKEN, signing_secret="s", manifest=MANIFEST).start()
    yield workspace
    workspace.stop()


def test_the_token_tells_workspace_scopes_and_clock(workspace: SlackWorkspace) -> None:
    """Scopes are those that the workspace granted; the clock is compared with ours."""
    behind = SlackChat(lambda: TOKEN, workspace.api_url, clock=lambda: datetime.now(UTC) - timedelta(minutes=10))
    identity = behind.read_identity()
    assert ("Drill", "T0DRILL", "U0CDCONCALL", "A0CDCONCALL") == (
        identity.team, identity.team_id, identity.user_id, identity.app_id,
    )  # fmt: skip
    assert scopes_of_manifest(MANIFEST) == identity.scopes
    assert identity.clock_offset_s == pytest.approx(600, abs=2)


def test_a_wrong_token_is_slacks_word(workspace: SlackWorkspace) -> None:
    """`invalid_auth`, and the token is not in the error."""
    with pytest.raises(ChatError) as refused:
        SlackChat(lambda: "xoxb-other", workspace.api_url).read_identity()
    assert "invalid_auth" == refused.value.code == str(refused.value)


def test_a_workspace_that_grants_all_names_no_scopes() -> None:
    """Without the header the scopes are not known: None, not "none granted"."""
    workspace = SlackWorkspace(token=TOKEN, signing_secret="s").start()
    try:
        assert None is SlackChat(lambda: TOKEN, workspace.api_url).read_identity().scopes
    finally:
        workspace.stop()


@pytest.mark.parametrize("asked", ["#cdc-incidents", INCIDENTS])
@pytest.mark.parametrize(("is_member", "is_archived"), [(True, False), (False, False), (True, True)])
def test_a_channel_is_found_by_name_or_id(
    workspace: SlackWorkspace, asked: str, is_member: bool, is_archived: bool
) -> None:
    """Membership and archive are told; an archived channel is found, so that it can be named as archived."""
    known = workspace.store.channel(INCIDENTS)
    assert known is not None
    members = (workspace.app.bot_user_id,) if is_member else ()
    workspace.store.put_channel(replace(known, members=members, is_archived=is_archived))
    found = SlackChat(lambda: TOKEN, workspace.api_url).read_channels([asked])
    assert {asked: ChatChannel(INCIDENTS, "cdc-incidents", is_member, is_archived)} == found


def test_of_two_channels_with_a_name_the_living_one_counts(workspace: SlackWorkspace) -> None:
    """Slack frees the name of an archived channel."""
    workspace.store.put_channel(Channel("C09NEW", "reused", "", (), is_archived=True))
    workspace.store.put_channel(Channel("C08OLD", "reused", "", ()))
    found = SlackChat(lambda: TOKEN, workspace.api_url).read_channels(["#reused"])["#reused"]
    assert isinstance(found, ChatChannel)
    assert "C08OLD" == found.id


@pytest.mark.parametrize("asked", ["#elsewhere", "C0ELSEWHERE"])
def test_a_channel_that_is_not_there_is_not_found(workspace: SlackWorkspace, asked: str) -> None:
    """By name and by id the same word."""
    found = SlackChat(lambda: TOKEN, workspace.api_url).read_channels([asked, "#cdc-incidents"])
    assert {asked: "channel_not_found", "#cdc-incidents": None} == {
        name: getattr(one, "code", None) for name, one in found.items()
    }


@pytest.mark.parametrize(
    ("asked", "near"), [("#cdc-incident", "#cdc-incidents"), ("#cdc_incidents", "#cdc-incidents"), ("#zzz", "")]
)
def test_a_misspelt_channel_comes_with_the_one_that_is_meant(workspace: SlackWorkspace, asked: str, near: str) -> None:
    """Of those the bot can see; nothing is guessed where none is like it."""
    (found,) = SlackChat(lambda: TOKEN, workspace.api_url).read_channels([asked]).values()
    assert near == getattr(found, "near", None)


def test_many_channels_cost_one_listing(workspace: SlackWorkspace) -> None:
    """Slack allows some 20 listings a minute, and a workspace has many pages of channels."""
    chat = SlackChat(lambda: TOKEN, workspace.api_url)
    found = chat.read_channels(["#cdc-incidents", "#data-platform", INCIDENTS, "#elsewhere"])
    assert 4 == len(found)
    asked = [row.name for row in workspace.store.wire() if row.name.startswith("conversations.")]
    assert ["conversations.info", "conversations.list"] == sorted(asked)


def test_a_workspace_that_lacks_the_scope_says_so_for_each(workspace: SlackWorkspace) -> None:
    """By name and by id."""
    workspace.web_api.install(replace(workspace.app, scopes=frozenset({"chat:write"})))
    found = SlackChat(lambda: TOKEN, workspace.api_url).read_channels([INCIDENTS, "#cdc-incidents"])
    assert {"missing_scope"} == {getattr(one, "code", None) for one in found.values()}


def test_nothing_is_posted_to_an_archived_channel(workspace: SlackWorkspace) -> None:
    """The local workspace refuses as Slack does."""
    workspace.store.put_channel(Channel("C09NEW", "old", "", (workspace.app.bot_user_id,), is_archived=True))
    with pytest.raises(ChatError, match="is_archived"):
        SlackChat(lambda: TOKEN, workspace.api_url).post("#old", Message("x"), None)


def test_a_workspace_too_large_to_list_is_no_missing_channel() -> None:
    """After ten pages it is not known whether there is such a channel: its id would tell."""
    asked: list[str] = []

    def answer(call: Call) -> Answer:
        asked.append(call.params["method"])
        return Answer(200, {"ok": True, "channels": [], "response_metadata": {"next_cursor": "more"}})

    server = LoopbackServer("Slack", [route("GET", "/api/{method}", answer), route("POST", "/api/{method}", answer)])
    server.start()
    found = SlackChat(lambda: TOKEN, f"{server.url}/api/").read_channels(["#cdc"])["#cdc"]
    server.stop()
    assert "too_many_channels" == getattr(found, "code", None)
    assert ["conversations.list"] * 10 == asked
