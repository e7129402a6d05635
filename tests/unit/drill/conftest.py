"""A workspace with a throw-away Bolt app in it: what the local Slack is tested against."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from slack_bolt import Ack, App, BoltRequest
from slack_bolt.authorization import AuthorizeResult
from slack_sdk import WebClient

from bot.drill.loopback import Answer, Call, LoopbackServer, route
from bot.drill.workspace import SlackWorkspace

TOKEN, SECRET = "xoxb-drill", "drill-secret"
MODAL = {
    "type": "modal",
    "callback_id": "note",
    "private_metadata": "inc-1",
    "title": {"type": "plain_text", "text": "Add a note"},
    "submit": {"type": "plain_text", "text": "Save"},
    "blocks": [
        {
            "type": "input",
            "block_id": "note",
            "label": {"type": "plain_text", "text": "What did you see?"},
            "element": {"type": "plain_text_input", "action_id": "text", "multiline": True},
        },
        {
            "type": "input",
            "block_id": "kind",
            "optional": True,
            "label": {"type": "plain_text", "text": "Kind"},
            "element": {
                "type": "static_select",
                "action_id": "kind",
                "options": [
                    {"text": {"type": "plain_text", "text": "Finding"}, "value": "finding"},
                    {"text": {"type": "plain_text", "text": "Decision"}, "value": "decision"},
                ],
            },
        },
    ],
}


@dataclass
class Heard:
    """What the throw-away app was sent, in order."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    raw: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@dataclass
class Drill:
    """The workspace, a client of its Web API, and what the app heard."""

    workspace: SlackWorkspace
    client: WebClient
    heard: Heard


def bolt_app(client: WebClient, heard: Heard) -> App:
    app = App(
        signing_secret=SECRET,
        client=client,
        authorize=lambda **_: AuthorizeResult(
            enterprise_id=None, team_id="T0DRILL", bot_token=TOKEN, bot_user_id="U0CDCONCALL"
        ),
        process_before_response=True,
    )

    @app.action("ack")
    def on_ack(ack: Ack, body: dict[str, Any]) -> None:
        heard.bodies.append(body)
        ack()

    @app.action("menu")
    def on_menu(ack: Ack, body: dict[str, Any], respond: Any) -> None:
        heard.bodies.append(body)
        ack()
        respond(text=f"you chose {body['actions'][0]['selected_option']['value']}", response_type="ephemeral")

    @app.action("note")
    def on_note(ack: Ack, body: dict[str, Any]) -> None:
        heard.bodies.append(body)
        ack()
        client.views_open(trigger_id=body["trigger_id"], view=MODAL)

    @app.view("note")
    def on_submit(ack: Ack, body: dict[str, Any]) -> None:
        heard.bodies.append(body)
        text = body["view"]["state"]["values"]["note"]["text"]["value"]
        if text == "bad":
            ack(response_action="errors", errors={"note": "say more"})
        else:
            ack()

    @app.command("/cdc")
    def on_command(ack: Ack, body: dict[str, Any]) -> None:
        heard.bodies.append(body)
        ack(f"heard {body['text']}")

    @app.event("app_home_opened")
    def on_home(event: dict[str, Any]) -> None:
        heard.bodies.append(event)
        blocks = [{"type": "header", "text": {"type": "plain_text", "text": "Health board"}}]
        client.views_publish(user_id=event["user"], view={"type": "home", "blocks": blocks})

    return app


@pytest.fixture
def drill() -> Iterator[Drill]:
    """A started workspace whose app is a real Bolt app, over real HTTP both ways."""
    workspace = SlackWorkspace(token=TOKEN, signing_secret=SECRET, rate_limits=False).start()
    client = WebClient(token=TOKEN, base_url=workspace.api_url, retry_handlers=[])
    heard = Heard()
    app = bolt_app(client, heard)

    def events(call: Call) -> Answer:
        heard.raw.append((dict(call.headers), call.body))
        answer = app.dispatch(BoltRequest(body=call.body.decode(), headers=dict(call.headers)))
        media_type = (answer.headers.get("content-type") or ["text/plain"])[0]
        return Answer(answer.status, answer.body.encode(), media_type=media_type)

    server = LoopbackServer("bolt", [route("POST", "/slack/events", events)]).start()
    workspace.connect_app(f"{server.url}/slack/events")
    yield Drill(workspace, client, heard)
    for part in (server, workspace):
        # Ending takes uvicorn a fifth of a second that no test needs to wait for.
        threading.Thread(target=part.stop, daemon=True).start()
