"""`cdc doctor`, Slack: whose token it is, what it may do, where the bot is, and whether Slack can reach it.

Scopes are compared with those that the shipped manifest asks for. What Slack does not tell is said: to which app a bot
token belongs (only some answers name it), and in HTTP mode whether Slack reaches the bot at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bot.doctor.check import Check, failed, names, ok, warning
from bot.model import Pipeline
from bot.ports import ChatChannel, ChatError, ChatIdentity, ChatSetup

PART = "slack"

FEATURES: Mapping[str, str] = {
    "chat:write": "cards, replies and answers cannot be posted",
    "commands": "the slash command does not reach the bot",
    "files:write": "postmortems cannot be uploaded",
    "channels:history": "a message whose sending broke off cannot be looked up, and may come twice",
    "groups:history": "the same in private channels",
    "channels:read": "a channel given as #name cannot be found",
    "groups:read": "a private channel given as #name cannot be found",
}
"""What suffers without a scope; a test compares the names with manifest.yml."""


@dataclass(frozen=True)
class SlackFacts:
    """What Slack answered. A channel is what was read of it, or Slack's word for why not (`channel_not_found`).

    `near` has for a channel that is not there the one that is called most like it.

    `socket` is None where it was not asked, empty when a socket may be opened, else Slack's word. `app_token_app` is
    the app that the app-level token names in itself.
    """

    mode: str
    identity: ChatIdentity | None = None
    error: str | None = None
    channels: Mapping[str, ChatChannel | str] = field(default_factory=dict)
    near: Mapping[str, str] = field(default_factory=dict)
    socket: str | None = None
    app_token_app: str | None = None
    app_token_shape: Literal["app", "bot", "other"] = "app"


def gather(chat: ChatSetup, mode: str, app_token: Callable[[], str] | None, channels: Sequence[str]) -> SlackFacts:
    """Ask Slack. `channels` are those that cdc.yml names; without a working token nothing else is asked."""
    try:
        identity = chat.read_identity()
    except ChatError as error:
        return SlackFacts(mode, error=error.code)

    told = chat.read_channels(tuple(dict.fromkeys(channels)))
    found = {name: one.code if isinstance(one, ChatError) else one for name, one in told.items()}
    near = {name: one.near for name, one in told.items() if isinstance(one, ChatError) and one.near}
    if mode != "socket" or app_token is None:
        return SlackFacts(mode, identity, channels=found, near=near)
    token = app_token()
    try:
        chat.open_socket(token)
        socket = ""
    except ChatError as error:
        socket = error.code
    shape: Literal["app", "bot", "other"] = (
        "app" if token.startswith("xapp-") else "bot" if token.startswith("xoxb-") else "other"
    )
    app = re.match(r"xapp-\d+-(A[A-Z0-9]+)-", token)
    return SlackFacts(mode, identity, None, found, near, socket, app[1] if app else None, shape)


def judge(facts: SlackFacts, wanted: frozenset[str], pipelines: Sequence[Pipeline], default: str) -> tuple[Check, ...]:
    """Return Slack's lines. `wanted` are the manifest's scopes; `default` the channel of incidents of no pipeline."""
    identity = facts.identity
    if identity is None:
        return (_token_refused(facts.error or "no answer"),)
    return (
        ok(PART, f"the bot token works: workspace {identity.team} ({identity.team_id}), bot user {identity.user_id}"),
        *_scopes(identity, wanted),
        *_channels(facts, identity, pipelines, default),
        *_way_in(facts, identity),
        *_owners(pipelines),
    )


_REACH = "Let this host reach slack.com on port 443 (outbound), or set HTTPS_PROXY."
_INSTALL = "Install the app again in the workspace and put its new bot token into the secret."
_REINSTALL = "Paste `cdc manifest` into App Manifest of the app, save, and reinstall the app to the workspace."
_NOT_REACHED = ("unreachable", "timeout", "connection_lost", "unreadable_answer", "redirected")
_TOKEN_REMEDIES: Mapping[str, str] = {
    "invalid_auth": "Copy the Bot User OAuth Token (xoxb-) from OAuth & Permissions of the app into the secret of "
    "slack.bot_token.",
    "not_authed": "Put the Bot User OAuth Token (xoxb-) into the secret of slack.bot_token: it is empty.",
    "account_inactive": _INSTALL,
    "token_revoked": _INSTALL,
    "token_expired": "Turn token rotation off for the app, install it again and put its new bot token there.",
    "unreachable": _REACH,
    "timeout": _REACH,
    "unreadable_answer": "Write the Web API's address under slack.api_url, or let the proxy before it pass.",
    "redirected": "Write the Web API's address under slack.api_url (https): a redirect is not followed, it would "
    "take the token to another host.",
}
_POST_REMEDIES: Mapping[str, str] = {
    "channel_not_found": "Correct slack.channel in cdc.yml, or create the channel; if it is private, write "
    "`/invite @cdc-oncall` there.",
    "not_in_channel": "Write `/invite @cdc-oncall` in the channel of slack.channel.",
    "is_archived": "Unarchive the channel of slack.channel, or name another one in cdc.yml.",
    "missing_scope": _REINSTALL,
    "connection_lost": _REACH,
    "ratelimited": "Wait a minute and try again: Slack takes a message a second in a channel.",
}


def not_posted(code: str) -> tuple[str, str]:
    """Return why a message of the running bot was not posted, in words, and the remedy, for Slack's word `code`."""
    cause = f"the bot does not reach Slack ({code})" if code in _NOT_REACHED else f"Slack refuses the card ({code})"
    unknown = f"Look `{code}` up at https://docs.slack.dev under chat.postMessage."
    return cause, {**_TOKEN_REMEDIES, **_POST_REMEDIES}.get(code, unknown)


def _token_refused(code: str) -> Check:
    asked = f"auth.test: Slack did not let the bot in ({code})"
    if code in _NOT_REACHED:
        asked = f"auth.test: Slack was not reached ({code})"
    unknown = f"Look `{code}` up at https://docs.slack.dev under auth.test."
    return failed(PART, asked, _TOKEN_REMEDIES.get(code, unknown))


def _scopes(identity: ChatIdentity, wanted: frozenset[str]) -> tuple[Check, ...]:
    if identity.scopes is None:
        return (
            warning(
                PART, "which scopes the token has is not known: Slack's answer did not name them",
                "Compare OAuth & Permissions of the app with `cdc manifest`.",
            ),
        )  # fmt: skip
    missing = sorted(wanted - identity.scopes)
    lines = [
        failed(PART, f"scope {scope} is missing: {FEATURES.get(scope, 'a feature needs it')}", _REINSTALL)
        for scope in missing
    ]
    extra = sorted(identity.scopes - wanted)
    more = f", and more than the bot uses: {names(extra)}" if extra else ""
    if not missing:
        lines.append(ok(PART, f"all {len(wanted)} scopes are granted{more}"))
    return tuple(lines)


def _channels(
    facts: SlackFacts, identity: ChatIdentity, pipelines: Sequence[Pipeline], default: str
) -> tuple[Check, ...]:
    missing = [name for name, found in facts.channels.items() if found == "channel_not_found"]
    if len(missing) > 1 and len(missing) == len(facts.channels):
        return (
            failed(
                PART, f"none of the channels of cdc.yml is in {identity.team}: {names(missing)}",
                f"If {identity.team} is not your workspace, put the bot token of the right one into the secret; "
                "else correct the names in cdc.yml, or create the channels, and invite the bot to private ones.",
            ),
        )  # fmt: skip
    lines: list[Check] = []
    well: list[str] = []
    for name, found in facts.channels.items():
        users = [pipeline.name for pipeline in pipelines if pipeline.channel == name]
        owners = [names(users)] if users else []
        whose = "of " + ", and of ".join([*owners, *(["incidents without a pipeline"] if name == default else [])])
        line = _channel(name, found, whose, identity.team, facts.near.get(name, ""))
        if line is None:
            well.append(name)
        else:
            lines.append(line)
    return (*([ok(PART, f"the bot is in {names(well)}")] if well else []), *lines)


def _channel(name: str, found: ChatChannel | str, whose: str, team: str, near: str) -> Check | None:
    """Return what is wrong with a channel, or None."""
    if isinstance(found, str):
        if found == "channel_not_found":
            return failed(
                PART, f"there is no channel {name} ({whose}) in {team} that the bot can see",
                f"Correct the name in cdc.yml{f' (did you mean {near}?)' if near else ''}; else create it, or, if it "
                f"is private, write `/invite @cdc-oncall` in {name}; if {team} is not your workspace, put the bot "
                "token of the right one into the secret.",
            )  # fmt: skip
        if found == "missing_scope":
            return failed(
                PART, f"{name} ({whose}) cannot be looked for without its scope",
                "Grant the missing scopes and reinstall the app.",
            )  # fmt: skip
        if found == "too_many_channels":
            return warning(
                PART, f"{name} ({whose}) was not found among the first channels of a large workspace",
                f"Write the ID of {name} (C…: its About tab) in cdc.yml.",
            )  # fmt: skip
        return failed(PART, f"{name} ({whose}) could not be looked for: {found}", "Ask again with `cdc doctor`.")
    if found.is_archived:
        return failed(
            PART, f"{name} ({whose}) is archived: nothing can be posted there",
            "Unarchive it in Slack, or name another channel in cdc.yml.",
        )  # fmt: skip
    if not found.is_member:
        return failed(
            PART, f"the bot is not in {name} ({whose}): it cannot post there",
            f"Write `/invite @cdc-oncall` in {name}.",
        )  # fmt: skip
    return None


def _way_in(facts: SlackFacts, identity: ChatIdentity) -> tuple[Check, ...]:
    if facts.mode == "http":
        return (
            ok(
                PART, "HTTP mode, the signing secret is set; whether Slack reaches the bot shows when a button is "
                "pressed or the slash command is used",
            ),
        )  # fmt: skip
    if facts.app_token_shape != "app":
        kind = "a bot token (xoxb-)" if facts.app_token_shape == "bot" else "no app-level token (xapp-)"
        return (
            failed(
                PART, f"the secret of slack.app_token holds {kind}",
                "Make one under Basic Information, App-Level Tokens, with the scope connections:write; put it there.",
            ),
        )  # fmt: skip
    is_of_another = identity.app_id and facts.app_token_app and identity.app_id != facts.app_token_app
    if is_of_another:
        refused = f" (and apps.connections.open was refused: {facts.socket})" if facts.socket else ""
        return (
            failed(
                PART, f"the app-level token is of app {facts.app_token_app}, the bot token of app {identity.app_id}: "
                f"clicks would go to another app{refused}",
                "Take both tokens from the same app at https://api.slack.com/apps.",
            ),
        )  # fmt: skip
    if facts.socket:
        whose = f"; the one there is of app {facts.app_token_app}" if facts.app_token_app else ""
        remedies = {
            "invalid_auth": f"Copy the app-level token (xapp-) from Basic Information into the secret{whose}.",
            "missing_scope": "Make an app-level token with the scope connections:write and put it into the secret.",
            "redirected": "Write the Web API's address under slack.api_url (https): a redirect is not followed.",
            "socket_mode_disabled": "Turn Socket Mode on in the app's settings (or paste `cdc manifest` there).",
            "ratelimited": "Ask again in a minute: Slack lets a socket be asked for once a minute or so.",
        }
        line = f"Socket Mode: apps.connections.open was refused ({facts.socket})"
        if facts.socket == "ratelimited":
            return (warning(PART, line, remedies[facts.socket]),)
        hint = "See that the app's Socket Mode is on and slack.app_token is its app-level token (xapp-)."
        return (failed(PART, line, remedies.get(facts.socket, hint)),)
    same = "" if identity.app_id else "; whether both tokens are of one app Slack does not tell"
    return (ok(PART, f"Socket Mode: a socket may be opened{same}"),)


def _owners(pipelines: Sequence[Pipeline]) -> tuple[Check, ...]:
    """An app can mention an id only: a name is shown, and nobody is notified."""
    lines = []
    for pipeline in pipelines:
        owner = (pipeline.owner or "").strip()
        if owner and not re.fullmatch(
            r"[UWS][A-Z0-9]{6,}|<@[UW][A-Z0-9]+>|<!subteam\^S[A-Z0-9]+(\|@?[\w. -]+)?>", owner
        ):
            lines.append(
                warning(
                    PART, f"the owner of {pipeline.name}, {owner}, is shown but cannot be notified: it is no id",
                    "Write the id of the user group (S…: its profile, Copy group ID) or person (U…) as owner.",
                )
            )  # fmt: skip
    return tuple(lines)
