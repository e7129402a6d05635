"""The Slack app manifest: one page of YAML for api.slack.com/apps, for the command's name and the way Slack comes in.

Promise: it asks for the scopes of the calls that are made and for no others, and keeps Slack's limits. In Socket Mode
it holds no address; over HTTP both addresses are the one route of the bot. Sources: docs.slack.dev, "App manifest
reference", and the schema in slackapi/manifest-schema; measured in tests/unit/edge_slack/test_manifest.py.
"""

from __future__ import annotations

import json
import re

DEFAULT_NAME = "cdc-oncall"
DEFAULT_COMMAND = "/cdc"
NAME_LIMIT = 35
EVENTS_PATH = "/slack/events"

_HINT = "help | incidents | lag GROUP | dlq TOPIC | schema SUBJECT | connector NAME | health | ack | note TEXT"

_SOCKET_HEAD = """\
# Slack app manifest of {name}, Socket Mode: api.slack.com/apps -> Create New App -> From a manifest.
# Socket Mode also needs an app-level token (xapp-): Basic Information -> App-Level Tokens, scope connections:write.
"""
_HTTP_HEAD = """\
# Slack app manifest of {name}, HTTP mode: api.slack.com/apps -> Create New App -> From a manifest.
# Slack must reach `cdc serve` at {address} over TLS; the signing secret is under Basic Information -> App Credentials.
"""
_BODY = """\
# Only the scopes used are asked for. `cdc manifest` prints this for another command name, or for HTTP.
_metadata:
  major_version: 1
  minor_version: 1
display_information:
  name: {name}
  description: One triaged incident thread per broken CDC pipeline, with the runbook in it.
  background_color: "#1f4e5f"
features:
  bot_user:
    display_name: {name}
    always_online: true
  slash_commands:
    - command: {command}{command_url}
      description: Ask about a CDC pipeline, work on an incident
      usage_hint: "{hint}"
      should_escape: true
oauth_config:
  scopes:
    bot:
      - chat:write # post, edit, answer one person
      - commands # {command}
      - files:write # upload the postmortem
      - channels:history # look for a message before an uncertain post is repeated
      - groups:history # the same in a private channel
      - channels:read # the id of a channel given as #name
      - groups:read # the same of a private channel
settings:
  interactivity:
    is_enabled: true{interactivity_url}
  org_deploy_enabled: false
  socket_mode_enabled: {socket}
  token_rotation_enabled: false
"""


def render_manifest(name: str = DEFAULT_NAME, command: str = DEFAULT_COMMAND, url: str | None = None) -> str:
    """Return the manifest as YAML with its comments: for HTTP when `url`, the bot's own address, is given."""
    address = f"{url.rstrip('/')}{EVENTS_PATH}" if url else None
    head = _HTTP_HEAD if address else _SOCKET_HEAD
    return head.format(name=name, address=address) + _BODY.format(
        name=_scalar(name),
        command=_scalar(command),
        hint=_HINT,
        command_url=f"\n      url: {_scalar(address)}" if address else "",
        interactivity_url=f"\n    request_url: {_scalar(address)}" if address else "",
        socket="false" if address else "true",
    )


def refuse_name(name: str) -> str | None:
    """Return why Slack would not take the app's name, or None."""
    if not name.strip() or not name.isprintable():
        return "is empty or holds control characters"
    return f"has {len(name)} characters, Slack takes {NAME_LIMIT}" if len(name) > NAME_LIMIT else None


def refuse_url(url: str) -> str | None:
    """Return why Slack could not call the address, or None."""
    if not re.fullmatch(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?", url):
        return "is no https:// address with a host name"
    return f"already ends in {EVENTS_PATH}" if url.rstrip("/").endswith(EVENTS_PATH) else None


def _scalar(text: str) -> str:
    """Plain where no reader of YAML takes it for anything but text; else quoted as JSON, which YAML 1.2 reads."""
    plain = re.fullmatch(r"(/|https://)?[A-Za-z][A-Za-z0-9._:/-]*[A-Za-z0-9]", text) and re.search("[-/]", text)
    return text if plain else json.dumps(text, ensure_ascii=False)
