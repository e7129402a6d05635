"""The app manifest asks for what is used and for nothing else, and keeps Slack's published limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.clients.slack import SlackChat
from bot.drill.loopback import Answer, Call, LoopbackServer, route
from bot.edge.slack import PATH
from bot.ports import Message
from bot.render.manifest import EVENTS_PATH, refuse_name, refuse_url, render_manifest
from tests.unit.edge_slack.conftest import VALUE, Edge

MANIFEST = Path(__file__).parents[3] / "manifest.yml"
URL = "https://cdc.example.com"
# docs.slack.dev/reference/app-manifest, and slackapi/manifest-schema: the keys of the parts that are used.
KEYS: Mapping[str, set[str]] = {
    "_metadata": {"major_version", "minor_version"},
    "display_information": {"name", "description", "background_color", "long_description"},
    "features": {"app_home", "bot_user", "slash_commands", "shortcuts", "unfurl_domains", "agent_view"},
    "oauth_config": {"scopes", "redirect_urls", "pkce_enabled"},
    "settings": {
        "event_subscriptions", "interactivity", "socket_mode_enabled", "org_deploy_enabled", "token_rotation_enabled",
        "allowed_ip_address_ranges",
    },
}  # fmt: skip
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
    "conversations.info": frozenset({"channels:read", "groups:read"}),
    "auth.test": frozenset(),
    # The app-level token's own scope, connections:write, is not the bot's.
    "apps.connections.open": frozenset(),
}
CHANNEL = {"id": "C01ABCDEF", "name": "incidents", "is_member": True}


@pytest.fixture(params=["socket", "http"])
def manifest(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(yaml.safe_load(render_manifest(url=URL if request.param == "http" else None)))


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
                "channel": CHANNEL if call.params["method"] == "conversations.info" else "C01ABCDEF",
                "ts": "1.0",
                "channels": [CHANNEL],
                "url": "ws://127.0.0.1:1/link",
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
    chat.read_identity()
    chat.read_channels(["C01ABCDEF"])
    chat.open_socket("xapp-t")
    yield heard
    server.stop()


def test_every_call_of_the_client_is_made_here() -> None:
    """A method added to SlackChat is added to the fixture above, or its scope would be missed. `respond` has none."""
    made = {"find", "post", "update", "post_ephemeral", "upload", "open_view", "read_identity", "read_channels"}
    made |= {"open_socket", "respond"}
    assert made == {name for name in vars(SlackChat) if not name.startswith("_")}


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


def test_the_file_in_the_repository_is_what_the_command_prints() -> None:
    """Who takes manifest.yml gets the app of the documented default: `/cdc` in Socket Mode."""
    assert MANIFEST.read_text() == render_manifest()


def test_socket_mode_needs_no_address() -> None:
    """Nothing comes in over HTTP, interactivity is on, and the head says where the other token is made."""
    manifest = yaml.safe_load(render_manifest())
    settings = manifest["settings"]
    assert (True, {"is_enabled": True}) == (settings["socket_mode_enabled"], settings["interactivity"])
    assert "url" not in manifest["features"]["slash_commands"][0]
    assert re.search(r"^#.*App-Level Tokens.*connections:write", render_manifest(), re.MULTILINE)
    assert "connections:write" not in manifest["oauth_config"]["scopes"]["bot"]


@pytest.mark.parametrize("url", [URL, f"{URL}/", "https://cdc.example.com:8443"])
def test_over_http_both_addresses_are_the_edges(url: str) -> None:
    """The command and the clicks go to the one route that the edge serves."""
    manifest = yaml.safe_load(render_manifest(url=url))
    (command,) = manifest["features"]["slash_commands"]
    settings = manifest["settings"]
    assert {f"{url.rstrip('/')}{PATH}"} == {command["url"], settings["interactivity"]["request_url"]}
    assert PATH == EVENTS_PATH
    assert not settings["socket_mode_enabled"]


def test_slack_would_take_it(manifest: dict[str, Any]) -> None:
    """Keys and lengths as Slack publishes them: one that is over or unknown is refused when the app is created."""
    assert set(KEYS) == set(manifest)
    assert {} == {part: keys - KEYS[part] for part, keys in ((p, set(manifest[p])) for p in KEYS) if keys - KEYS[part]}
    shown, features = manifest["display_information"], manifest["features"]
    (command,) = features["slash_commands"]
    assert (1, 1) == (manifest["_metadata"]["major_version"], manifest["_metadata"]["minor_version"])
    assert len(shown["name"]) <= 35
    assert len(shown["description"]) <= 140
    assert re.fullmatch(r"#[0-9a-fA-F]{6}", shown["background_color"])
    assert len(features["bot_user"]["display_name"]) <= 80
    assert {"command", "description", "usage_hint", "should_escape"} <= set(command)
    assert re.fullmatch(r"/[a-z0-9_-]{1,31}", command["command"])
    assert len(command["usage_hint"]) <= 1000
    assert len(command["description"]) <= 2000
    assert [True, True, True] == [
        type(manifest["settings"][k]) is bool for k in manifest["settings"] if k != "interactivity"
    ]


@pytest.mark.parametrize("name", ["cdc-oncall", "Data On-call", "true", "1.5", 'the "best" one', "été: #1", "🚒 cdc"])
def test_a_name_is_read_back_as_it_was_given(name: str) -> None:
    """YAML takes many a plain word for something else, and a colon for a mapping."""
    manifest = yaml.safe_load(render_manifest(name, "/data"))
    assert (name, name) == (manifest["display_information"]["name"], manifest["features"]["bot_user"]["display_name"])
    assert "/data" == manifest["features"]["slash_commands"][0]["command"]
    assert "/cdc" not in render_manifest(name, "/data")


@pytest.mark.parametrize(
    ("taken", "name"), [(True, "x" * 35), (False, "x" * 36), (False, ""), (False, " "), (False, "two\nlines")]
)
def test_a_name_over_the_limit_is_refused(taken: bool, name: str) -> None:
    """Slack takes 35 characters; a line break would end the comment and begin a key."""
    assert taken == (refuse_name(name) is None)


@pytest.mark.parametrize(
    ("taken", "url"),
    [
        (True, "https://cdc.example.com"),
        (True, "https://cdc.example.com:8443/bots/"),
        (False, "http://cdc.example.com"),
        (False, "cdc.example.com"),
        (False, "https://"),
        (False, "https://cdc.example.com/slack/events"),
        (False, "https://cdc.example.com?x=1"),
        (False, 'https://cdc.example.com/"\nx: y'),
    ],
)
def test_an_address_that_slack_cannot_call_is_refused(taken: bool, url: str) -> None:
    """Slack calls https alone; the route is added by us."""
    assert taken == (refuse_url(url) is None)
