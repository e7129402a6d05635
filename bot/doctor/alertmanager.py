"""`cdc doctor`, Alertmanager: is it there, does a receiver of it post to the bot, and do the routes lead there.

The configuration is read as it is in force, so what stands in a file that was never loaded does not count. From
Alertmanager 0.26 on a webhook's address is hidden: the receiver is then found by its name, and the proof that it is
ours is a webhook that came.

Whose alerts a route takes away is judged for alerts that are not the bot's own: those the others got before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from bot.doctor.check import Check, failed, names, ok, warning
from bot.doctor.http import unreached
from bot.model import Pipeline, Severity
from bot.ports import AlertmanagerSetup, AlertmanagerStatus, PortError, is_loopback
from bot.slo.route import (
    LabelMatcher,
    NotAConfig,
    Reached,
    Receiver,
    Route,
    Routing,
    Webhook,
    parse_routing,
    routes_of,
    with_continue,
    without,
)

PART = "alertmanager"
WEBHOOK_PATH = "/alertmanager"
FOREIGN_ALERT = "AlertOfSomebodyElse"
SHOWN_ROUTE = 'receiver: {receiver}, matchers: [alertname =~ "CDC.+"], group_by: [pipeline]'


@dataclass(frozen=True)
class AlertmanagerFacts:
    """What Alertmanager answered; `error` says why nothing else is known."""

    url: str
    status: AlertmanagerStatus | None = None
    error: PortError | None = None


@dataclass(frozen=True)
class Address:
    """Where the bot is reached, as cdc.yml knows it.

    `host` and `port` are those of `listen`, port 0 is not known; `webhook` None is not written.
    """

    receiver: str
    port: int
    webhook: str | None = None
    host: str = "0.0.0.0"

    @property
    def url(self) -> str:
        """The address to write into alertmanager.yml, as far as it is known."""
        return self.webhook or f"http://HOST:{self.port or 'PORT'}{WEBHOOK_PATH}"


@dataclass(frozen=True)
class History:
    """What came to the bot so far; `last_webhook_at` None is never, or no journal yet."""

    now: datetime
    last_webhook_at: datetime | None = None


def gather(alertmanager: AlertmanagerSetup, url: str, deadline_s: float) -> AlertmanagerFacts:
    try:
        return AlertmanagerFacts(url, alertmanager.read_status(deadline_s))
    except PortError as error:
        return AlertmanagerFacts(url, error=error)


def judge(
    facts: AlertmanagerFacts,
    address: Address,
    history: History,
    pipelines: Sequence[Pipeline],
    alerts: Sequence[tuple[str, Severity]],
) -> tuple[Check, ...]:
    """Return Alertmanager's lines. `alerts` are the bot's own rules that may fire, with their severity."""
    if facts.status is None:
        return (unreached(PART, facts.url, facts.error),)
    reachable = ok(PART, f"Alertmanager {facts.status.version} answers at {facts.url}")
    try:
        routing = parse_routing(facts.status.config)
    except NotAConfig as error:
        return (
            reachable,
            warning(
                PART, f"its configuration cannot be read ({error}): whether alerts reach the bot is not known",
                "Run `cdc doctor --fire` once the receiver is set up: it shows whether they do.",
            ),
        )  # fmt: skip
    ours = receivers_of_the_bot(routing, address)
    if not ours:
        return (reachable, *webhook_checks(routing, address))
    return (
        reachable,
        *webhook_checks(routing, address),
        *_routes(routing, ours, address, pipelines, alerts),
        *_proof(ours, address, history),
    )


# --- which receiver is ours ------------------------------------------------------------------------


def receivers_of_the_bot(routing: Routing, address: Address) -> tuple[Receiver, ...]:
    """Return the receivers that post to the bot: by address where it is shown, else the one that cdc.yml names."""
    by_address = tuple(
        receiver
        for receiver in routing.receivers.values()
        if any(_is_ours(webhook.url, address) for webhook in receiver.webhooks)
    )
    named = routing.receivers.get(address.receiver)
    if address.webhook is None and len({_host(webhook.url) for each in by_address for webhook in each.webhooks}) > 1:
        # Path and port alone do not tell this bot from another one on another host: the name does, else the first.
        return (named,) if named in by_address else by_address[:1]
    if by_address:
        return by_address
    return (named,) if named is not None and named.webhooks else ()


def _the_bots(receiver: Receiver, address: Address) -> tuple[Webhook, ...]:
    """Return those of our receiver's addresses that are the bot's; where none is shown to be, the first is meant."""
    shown = tuple(webhook for webhook in receiver.webhooks if _is_ours(webhook.url, address))
    return shown or receiver.webhooks[:1]


def webhook_checks(routing: Routing, address: Address) -> tuple[Check, ...]:
    """Return the lines on the bot's receivers alone: none is a failed line too."""
    ours = receivers_of_the_bot(routing, address)
    if not ours:
        return (_no_receiver(routing, address),)
    return tuple(line for receiver in ours for line in _webhook_lines(receiver, address))


def _is_ours(url: str | None, address: Address) -> bool:
    if url is None:
        return False
    if address.webhook is not None:
        return _same(url, address.webhook)
    parts = urlsplit(url)
    return parts.path.rstrip("/") == WEBHOOK_PATH and _port(url) == address.port


def _same(url: str, other: str) -> bool:
    return url.rstrip("/") == other.rstrip("/")


def _host(url: str | None) -> str | None:
    try:
        return urlsplit(url or "").hostname
    except ValueError:
        return None


def _port(url: str) -> int | None:
    parts = urlsplit(url)
    try:
        return parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None


def _no_receiver(routing: Routing, address: Address) -> Check:
    named = routing.receivers.get(address.receiver)
    paste = (
        f"Write `webhook_configs: [{{url: {address.url}, send_resolved: true, http_config: {{authorization: "
        f"{{credentials_file: FILE}}}}}}]` under receiver {address.receiver} and reload Alertmanager; "
        "`cdc rules` begins with all of it."
    )
    if named is not None:
        return failed(PART, f"receiver {address.receiver} has no webhook_configs: nothing is posted to the bot", paste)
    near = [
        f"{receiver.name} ({webhook.url})"
        for receiver in routing.receivers.values()
        for webhook in receiver.webhooks
        if webhook.url is not None
        and _port(webhook.url) == (_port(address.webhook) if address.webhook else address.port)
    ]
    if near:
        return failed(
            PART, f"receiver {names(near)} posts to the bot's port, but not to {address.url}",
            f"Write `url: {address.url}` there and reload Alertmanager.",
        )  # fmt: skip
    return failed(PART, f"no receiver posts to the bot: there is none named {address.receiver}", paste)


def _webhook_lines(receiver: Receiver, address: Address) -> Iterator[Check]:
    """Yield what is wrong with each address of our receiver, or one line when nothing is."""
    for webhook in _the_bots(receiver, address):
        wrong = tuple(_wrong(receiver.name, webhook, address))
        if wrong:
            yield from wrong
        elif webhook.url is not None:
            yield ok(PART, f"receiver {receiver.name} posts to {webhook.url}, with credentials, resolves too")
        else:
            yield ok(
                PART, f"receiver {receiver.name} posts with credentials, resolves too; its address is hidden",
            )  # fmt: skip


def _wrong(name: str, webhook: Webhook, address: Address) -> Iterator[Check]:
    url = webhook.url
    if url is not None and not _is_ours(url, address):
        path = urlsplit(url).path
        reload = f"Write `url: {address.url}` under receiver {name} and reload Alertmanager."
        if address.webhook is not None:
            yield failed(PART, f"receiver {name} posts to {url}, not to alertmanager.webhook {address.webhook}", reload)
        elif path.rstrip("/") != WEBHOOK_PATH:
            yield failed(
                PART, f"receiver {name} posts to {url}, where the bot answers 404: it listens at {WEBHOOK_PATH}",
                f"Write `url: {url.removesuffix(path)}{WEBHOOK_PATH}` under receiver {name} and reload Alertmanager.",
            )  # fmt: skip
        else:
            yield warning(
                PART, f"receiver {name} posts to {url}, and the bot listens on port {address.port or 'of its choice'}",
                f"If that is the proxy before the bot, write `webhook: {url}` under alertmanager in cdc.yml.",
            )  # fmt: skip
    if not webhook.send_resolved:
        yield failed(
            PART, f"receiver {name} has send_resolved: false: incidents never hear that alerts ended",
            f"Write `send_resolved: true` under receiver {name} and reload Alertmanager.",
        )  # fmt: skip
    if not webhook.has_credentials:
        yield failed(
            PART, f"receiver {name} sends no credentials: the bot answers 401 and the alert is lost",
            "Write `http_config: {authorization: {credentials_file: FILE}}` there, with a token of "
            "alertmanager.tokens in the file.",
        )  # fmt: skip
    if webhook.max_alerts:
        yield warning(
            PART, f"receiver {name} has max_alerts: {webhook.max_alerts}: larger groups are cut, and asked for again",
            f"Remove `max_alerts` under receiver {name}.",
        )  # fmt: skip


# --- do the routes lead there ----------------------------------------------------------------------


def alert_labels(alert: str, severity: Severity, pipeline: str | None = None) -> Mapping[str, str]:
    """Return the labels of the bot's own alerts that routes are likely to match."""
    labels = {"alertname": alert, "severity": str(severity)}
    return {**labels, "pipeline": pipeline} if pipeline else labels


def _routes(
    routing: Routing, ours: Sequence[Receiver], address: Address, pipelines: Sequence[Pipeline],
    alerts: Sequence[tuple[str, Severity]],
) -> Iterator[Check]:  # fmt: skip
    our_names = frozenset(receiver.name for receiver in ours)
    routes = [route for route in routing.root.walk() if route.receiver in our_names]
    shown = SHOWN_ROUTE.format(receiver=address.receiver if address.receiver in our_names else min(our_names))
    if not routes:
        yield failed(
            PART, f"no route leads to receiver {names(sorted(our_names))}: no alert reaches the bot",
            f"Write `- {{{shown}}}` as the first of route.routes and reload Alertmanager.",
        )  # fmt: skip
        return
    yield from _own_alerts(routing, our_names, address, pipelines, alerts, shown)
    for route in routes:
        yield from _taken_away(routing, route, our_names)
        if route.is_timed:
            yield warning(
                PART, f"{route.place}, which leads to the bot, is muted at certain times",
                "Remove its mute_time_intervals or active_time_intervals: incidents would be missed then.",
            )  # fmt: skip


def others(routing: Routing, found: Reached, ours: frozenset[str], address: Address) -> tuple[str, ...]:
    """Return who besides the bot is told of an alert, or may be: other receivers, and others in the bot's own."""
    told: list[str] = []
    for name in (*found.receivers, *found.possible_receivers):
        receiver = routing.receivers.get(name)
        if name not in ours:
            told += [name] if routing.notifies(name) else []
        elif receiver is not None:
            told += [f"{name} ({kind})" for kind in receiver.integrations if kind != "webhook"]
            the_bots = _the_bots(receiver, address)
            told += [
                f"{name} ({hook.url or 'webhook'})"
                for hook in receiver.webhooks
                if not any(hook is own for own in the_bots)
            ]
    return tuple(dict.fromkeys(told))


@dataclass(frozen=True)
class _Reach:
    """Where the bot's own alerts of one pipeline go. `away` do not reach the bot, but would with the labels `wants`."""

    away: tuple[str, ...]
    goes_to: tuple[str, ...]
    wants: tuple[str, ...]
    unread: tuple[str, ...]
    others: tuple[str, ...]


def _own_alerts(
    routing: Routing, ours: frozenset[str], address: Address, pipelines: Sequence[Pipeline],
    alerts: Sequence[tuple[str, Severity]], shown: str,
) -> Iterator[Check]:  # fmt: skip
    """Yield which of the bot's own alerts reach it, for each pipeline, and whom else."""
    if not alerts:
        return
    by_reach: dict[_Reach, list[str]] = {}
    for name in [pipeline.name for pipeline in pipelines] or [""]:
        by_reach.setdefault(_reach(routing, ours, address, name, alerts), []).append(name)
    for reach, of in by_reach.items():
        none = len(reach.away) == len(alerts)
        lost = (
            f"none of the bot's alerts{_of(of)} reaches it" if none else f"{names(reach.away)}{_of(of)} do not reach it"
        )
        if reach.wants:
            yield warning(
                PART, f"{lost} without {', '.join(reach.wants)}, which its rules do not set",
                'Set that under external_labels in prometheus.yml, or let the route match `alertname =~ "CDC.+"`.',
            )  # fmt: skip
        elif reach.away:
            yield failed(
                PART, f"{lost}: they go to {names(reach.goes_to)}",
                f"Write `- {{{shown}}}` as the first of route.routes and reload Alertmanager.",
            )  # fmt: skip
        if reach.unread:
            yield warning(
                PART, f"whether alerts{_of(of)} reach the bot is not known: `{names(reach.unread)}` is not read here",
                f"Ask `amtool config routes test alertname={alerts[0][0]} severity={alerts[0][1]}"
                f"{f' pipeline={of[0]}' if of[0] else ''}`.",
            )  # fmt: skip
    sound = [name for reach, of in by_reach.items() if not reach.away and not reach.unread for name in of]
    if sound:
        others_told = tuple(dict.fromkeys(name for reach in by_reach for name in reach.others))
        whom = f"; besides: {names(others_told)}" if others_told else " and nobody else"
        yield ok(PART, f"the bot's alerts{_of(sound)} reach it{whom}")


def _reach(
    routing: Routing, ours: frozenset[str], address: Address, pipeline: str, alerts: Sequence[tuple[str, Severity]]
) -> _Reach:
    labels = {alert: alert_labels(alert, severity, pipeline) for alert, severity in alerts}
    found = {alert: routes_of(routing, labels[alert]) for alert, _ in alerts}
    away = tuple(alert for alert in found if not _may_reach(found[alert], ours))
    unsure = [alert for alert in found if alert not in away and not ours & set(found[alert].receivers)]
    return _Reach(
        away,
        tuple(dict.fromkeys(receiver for alert in away for receiver in found[alert].receivers)),
        _wants(routing, ours, [labels[alert] for alert in away]),
        tuple(dict.fromkeys(text for alert in unsure for text in found[alert].not_known)),
        tuple(dict.fromkeys(name for each in found.values() for name in others(routing, each, ours, address))),
    )


def _wants(routing: Routing, ours: frozenset[str], away: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Return the labels, none of the bot's own, with which all these alerts would reach it; empty without any."""
    for route in routing.root.walk():
        if not away or route.receiver not in ours:
            continue
        matchers = [each for step in _path(routing.root, route) for each in step.matchers]
        more = {each.name: _fulfilling(each) for each in matchers if each.name not in away[0]}
        known = {name: value for name, value in more.items() if value}
        if known and all(ours & set(routes_of(routing, {**labels, **known}).receivers) for labels in away):
            return tuple(f'{name}="{value}"' for name, value in known.items())
    return ()


def _may_reach(found: Reached, ours: frozenset[str]) -> bool:
    return bool(ours & {*found.receivers, *found.possible_receivers})


def _of(pipelines: Sequence[str]) -> str:
    return f" of {names(pipelines)}" if any(pipelines) else ""


def _taken_away(routing: Routing, route: Route, ours: frozenset[str]) -> Iterator[Check]:
    """Yield a warning where a route to the bot keeps alerts of others that somebody was told of before.

    `continue` goes on to the next routes, and not back to the parent's receiver: that one wants a route of its own.
    """
    labels = None if route is routing.root else _example(routing, route)
    if labels is None or route not in routes_of(routing, labels).routes:
        return
    reached = routes_of(routing, labels).receivers
    missed = [
        name
        for name in routes_of(without(routing, route), labels).receivers
        if name not in reached and name not in ours and routing.notifies(name)
    ]
    if not missed:
        return
    example = ", ".join(f'{name}="{value}"' for name, value in labels.items() if name != "alertname")
    going_on = routes_of(with_continue(routing, route), labels).receivers
    remedy = [] if route.continues else [f"`continue: true` on {route.place}"]
    remedy += [f"`- {{receiver: {name}}}` as the last route beside it" for name in missed if name not in going_on]
    yield warning(
        PART, f"{route.place} keeps what it sends to the bot: {names(missed)} no longer "
        f"get{'s' if len(missed) == 1 else ''} alerts{f' with {example}' if example else ''}",
        f"Write {', and '.join(remedy)}, and reload Alertmanager.",
    )  # fmt: skip


def _example(routing: Routing, route: Route) -> Mapping[str, str] | None:
    """Return labels of an alert of somebody else that comes to this route, or None where none can be thought of."""
    path = _path(routing.root, route)
    labels = {"alertname": FOREIGN_ALERT}
    for matcher in (matcher for each in path for matcher in each.matchers):
        if matcher.matches(labels) is True:
            continue
        value = _fulfilling(matcher)
        if value is None or (matcher.name == "alertname" and value.startswith("CDC")):
            return None
        labels[matcher.name] = value
    fulfils = all(matcher.matches(labels) is True for each in path for matcher in each.matchers)
    return labels if fulfils and not any(each.unread for each in path) else None


def _path(here: Route, route: Route) -> tuple[Route, ...]:
    if here is route:
        return (here,)
    for child in here.routes:
        if path := _path(child, route):
            return (here, *path)
    return ()


def _fulfilling(matcher: LabelMatcher) -> str | None:
    """Return a value that fulfils the matcher: its own, or the first plain alternative of its regex."""
    if matcher.operator == "=":
        return matcher.value
    if matcher.operator in ("!=", "!~"):
        return "other"
    alternatives = re.split(r"\|", matcher.value.strip("()"))
    return next((each for each in alternatives if re.fullmatch(r"[\w -]+", each)), None)


# --- the proof -------------------------------------------------------------------------------------


def _proof(ours: Sequence[Receiver], address: Address, history: History) -> Iterator[Check]:
    """A webhook that came is the only proof where the address is hidden."""
    if history.last_webhook_at is not None:
        yield ok(PART, f"last webhook {_ago((history.now - history.last_webhook_at).total_seconds())}")
        return
    shown = [url for receiver in ours for webhook in receiver.webhooks if (url := webhook.url or address.webhook)]
    far = [url for url in shown if not is_loopback(urlsplit(url).hostname or "") and _port(url) == address.port]
    if far and is_loopback(address.host):
        yield warning(
            PART, f"no webhook has come yet, and {far[0]} is not reached: the bot listens on {address.host} alone",
            f"Write `listen: 0.0.0.0:{address.port}` in cdc.yml, if no proxy on this host takes it in, and restart.",
        )  # fmt: skip
        return
    if any(webhook.url is None for receiver in ours for webhook in receiver.webhooks):
        yield warning(
            PART, "no webhook has come yet, and Alertmanager hides the address: whether it is the bot's is not known",
            "Run `cdc doctor --fire`: it sends a test alert and follows it.",
        )  # fmt: skip
    else:
        yield ok(PART, "no webhook has come yet: `cdc doctor --fire` sends a test alert and follows it")


def _ago(seconds: float) -> str:
    if seconds < 90:
        return f"{max(0, round(seconds))} s ago"
    if seconds < 5400:
        return f"{round(seconds / 60)} min ago"
    return f"{round(seconds / 3600)} h ago" if seconds < 172_800 else f"{round(seconds / 86400)} days ago"
