"""manifest.yml asks for what is used and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.clients.slack import SlackChat
from bot.drill.loopback import Answer, Call, LoopbackServer, route
from bot.edge.slack import PATH
from bot.ports import Message
from tests.unit.edge_slack.conftest import VALUE, Edge

MANIFEST = Path(__file__).parents[3] / "manifest.yml"
SCOPES: Mapping[str, frozenset[str]] = {
    # docs.slack.dev/reference/methods: the bot scopes of each method, for public and private channels.
    "chat.postMessage": frozenset({"chat:write"}),
    "chat.update": frozenset({"chat:write"}),
    "chat.postEphemeral": frozenset({"chat:write"}),
    "conversations.list": frozenset({"channels:read", "groups:read"}),
    "conversations.history": frozenset({"channels:history", "groups:history"}),
    "conversations.replies": frozenset({"channels:history", "groups:history"}),
    "files.getUploadURLExternal": frozenset({"files:write"}),
    "files.completeUploadExternal": frozenset({"files:write"}),
    "views.open": frozenset(),
}


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return dict(yaml.safe_load(MANIFEST.read_text()))


@pytest.fixture
def methods() -> Iterator[set[str]]:
    """The Web API methods that every call of SlackChat makes, heard by a server that says yes to all."""
    heard: set[str] = set()

    def yes(call: Call) -> Answer:
        heard.add(call.params["method"])
        return Answer(
            200,
            {
                "ok": True,
                "channel": "C01ABCDEF",
                "ts": "1.0",
                "channels": [{"id": "C01ABCDEF", "name": "incidents"}],
                "upload_url": f"{server.url}/upload",
                "file_id": "F1",
                "files": [{"id": "F1"}],
            },
        )

    routes = [route("POST", "/api/{method}", yes), route("POST", "/upload", lambda _: Answer(200, "OK"))]
    server = LoopbackServer("agreeable Slack", routes).start()
    chat = SlackChat(lambda: "xoxb-t", f"{server.url}/api/")
    chat.find("#incidents", None, "k")
    chat.find("#incidents", "1.0", "k")
    chat.post("#incidents", Message("x"), None)
    chat.update("#incidents", "1.0", Message("x"))
    chat.post_ephemeral("#incidents", "U1", Message("x"), None)
    chat.upload("#incidents", "1.0", "f.md", "text", "comment")
    chat.open_view("t", {"type": "modal"})
    yield heard
    server.stop()


def test_the_scopes_are_those_of_the_methods_called(manifest: dict[str, Any], methods: set[str]) -> None:
    """Each scope is needed by a call or by the slash command, and each call has its scopes."""
    assert set(SCOPES) == methods
    needed = frozenset({"commands"}).union(*(SCOPES[method] for method in methods))
    assert sorted(needed) == sorted(manifest["oauth_config"]["scopes"]["bot"])


def test_each_handler_has_its_place_in_the_manifest(manifest: dict[str, Any], edge: Edge) -> None:
    """The command of the manifest is answered, clicks and forms have an address, and no event is asked for."""
    (command,) = manifest["features"]["slash_commands"]
    settings = manifest["settings"]
    assert 200 == edge.slash("help", command=command["command"]).status_code
    assert 200 == edge.click("incident.ack", VALUE).status_code
    assert 200 == edge.submit("cdc.note", {"text": {"x": {"value": "note"}}}).status_code
    assert settings["interactivity"]["is_enabled"]
    assert "event_subscriptions" not in settings
    assert command["should_escape"]


def test_both_addresses_are_the_edges(manifest: dict[str, Any]) -> None:
    """HTTP mode: the command and the clicks go to the one route that the edge serves."""
    (command,) = manifest["features"]["slash_commands"]
    settings = manifest["settings"]
    urls = {command["url"], settings["interactivity"]["request_url"]}
    assert {f"https://cdc-oncall.example.com{PATH}"} == urls
    assert not settings["socket_mode_enabled"]


def test_the_names_keep_slacks_limits(manifest: dict[str, Any]) -> None:
    """A manifest over them is refused when the app is created."""
    shown = manifest["display_information"]
    (command,) = manifest["features"]["slash_commands"]
    assert len(shown["name"]) <= 35
    assert len(shown["description"]) <= 140
    assert len(manifest["features"]["bot_user"]["display_name"]) <= 80
    assert len(command["usage_hint"]) <= 1000
    assert len(command["description"]) <= 2000
