"""`cdc doctor --fire`: one marked test alert through the real Alertmanager, followed to its thread and to its end.

Before anything is sent the routes are asked whom it would reach: a pager of somebody else rings only after `--yes`.

What the alert is made of, and why
    alertname `CDCOncallTest`   matched by the route that is recommended for the bot's own alerts (`CDC.+`)
    severity `info`             mentions nobody
    pipeline `cdc-test-...`     of its own: it joins no incident, no probe runs, and it resolves when the alert ends
    `cdc_test`                  by which the webhook is found again
It is sent with an end: a command that is interrupted leaves nothing that fires on. Alertmanager speaks at the group's
`group_wait` first and at its `group_interval` then: those of the route are the times waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.doctor.alertmanager import Address, others, receivers_of_the_bot
from bot.doctor.check import Check, CheckStatus, names
from bot.model import TEST_ALERT
from bot.ports import AlertmanagerSetup, PortError
from bot.slo.route import Routing, routes_of

PART = "fire"

MARGIN_S = 60.0
OPEN_S = 30.0
POLL_S = 0.5
POST_DEADLINE_S = 5.0


@dataclass(frozen=True)
class MarkedAlert:
    """The test alert's labels and what it says; `pipeline` is its own, and nobody else's."""

    pipeline: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class FirePlan:
    """Whom the alert would reach and how long it takes. `refusal` says why it is not sent, and what to do first."""

    receivers: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    group_wait_s: float = 0.0
    group_interval_s: float = 0.0
    refusal: tuple[str, str] | None = None


@dataclass(frozen=True)
class Seen:
    """What the journal shows of the test alert. `link` is the card's, once it is posted."""

    webhook_at: datetime | None = None
    incident: str | None = None
    status: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class Step:
    """One step of the alert's way: came, with the seconds since the start, or did not, with what to look at."""

    came: bool
    what: str
    after_s: float
    remedy: str = ""

    def check(self) -> Check:
        return Check(PART, CheckStatus.OK if self.came else CheckStatus.FAILED, self.what, self.remedy)


def marked_alert(nonce: str, who: str, more: Mapping[str, str] | None = None) -> MarkedAlert:
    """Return the alert; `more` are labels that the own routes want."""
    pipeline = f"cdc-test-{nonce}"
    labels = {**(more or {}), "alertname": TEST_ALERT, "severity": "info", "pipeline": pipeline, "cdc_test": nonce}
    return MarkedAlert(
        pipeline,
        labels,
        {
            "summary": f"Test alert by {who} from cdc doctor: nothing is wrong",
            "description": "Sent with `cdc doctor --fire`; it ends by itself.",
        },
    )


def plan(routing: Routing, address: Address, alert: MarkedAlert, webhook_lines: Sequence[Check]) -> FirePlan:
    """Return whom the alert would reach. It is refused where it would not reach the bot, and its line says why.

    `webhook_lines` are what `doctor` says of the bot's receiver: one that fails would lose the alert.
    """
    found = routes_of(routing, alert.labels)
    ours = frozenset(receiver.name for receiver in receivers_of_the_bot(routing, address))
    broken = next((line for line in webhook_lines if line.status is CheckStatus.FAILED), None)
    if broken is not None:
        return FirePlan(found.receivers, refusal=(broken.what, broken.remedy))
    routes = [route for route in (*found.routes, *found.possible) if route.receiver in ours]
    besides = others(routing, found, ours, address)
    if not routes:
        words = ", ".join(f'{name}="{value}"' for name, value in alert.labels.items() if name != "cdc_test")
        return FirePlan(
            found.receivers, besides,
            refusal=(
                f"an alert with {words} does not reach the bot: it goes to {names(found.receivers) or 'nobody'}",
                'Let the route match `alertname =~ "CDC.+"`, or give the labels it wants: `--label NAME=VALUE`.',
            ),
        )  # fmt: skip
    route = routes[0]
    return FirePlan(found.receivers, besides, route.group_wait_s, route.group_interval_s)


def follow(
    alertmanager: AlertmanagerSetup,
    alert: MarkedAlert,
    route: FirePlan,
    look: Callable[[], Seen],
    why: Callable[[], str],
    has_chat: bool,
    now: Callable[[], datetime],
    pause: Callable[[float], object],
) -> Iterator[Step]:
    """Send the alert and yield a step at a time; after one that does not come the alert is ended all the same.

    `look` reads the journal, `why` says what else is known when a webhook does not come. `pause` waits some seconds.
    """
    started_at = now()
    longest_s = route.group_wait_s + route.group_interval_s + 3 * MARGIN_S + OPEN_S

    def since_s() -> float:
        return round((now() - started_at).total_seconds(), 1)

    def wait_for(holds: Callable[[Seen], object], patience_s: float) -> Seen | None:
        ends_at = now() + timedelta(seconds=patience_s)
        while True:
            seen = look()
            if holds(seen):
                return seen
            if now() >= ends_at:
                return None
            pause(POLL_S)

    def post(ends_at: datetime) -> str | None:
        try:
            alertmanager.post_alert(alert.labels, alert.annotations, started_at, ends_at, POST_DEADLINE_S)
        except PortError as error:
            return str(error)
        return None

    if refused := post(started_at + timedelta(seconds=longest_s)):
        yield Step(False, f"not accepted by Alertmanager: {refused}", since_s(), "See `cdc doctor`.")
        return
    is_ended = False
    try:
        yield Step(True, f"accepted by Alertmanager (receivers {names(route.receivers)})", since_s())
        for step in _firing(route, wait_for, why, has_chat, since_s):
            yield step
            if not step.came:
                return
        is_ended = True
        if refused := post(now()):
            yield Step(False, f"its end was not accepted by Alertmanager: {refused}", since_s(), "It ends by itself.")
            return
        yield Step(True, "its end sent to Alertmanager", since_s())
        yield _resolved(route, wait_for, look, since_s)
    finally:
        if not is_ended:
            post(now())


Wait = Callable[[Callable[[Seen], object], float], Seen | None]


def _firing(
    route: FirePlan, wait_for: Wait, why: Callable[[], str], has_chat: bool, since_s: Callable[[], float]
) -> Iterator[Step]:
    """Yield the steps from the webhook to the card; the last is the one that did not come."""
    if wait_for(lambda seen: seen.webhook_at, route.group_wait_s + MARGIN_S) is None:
        yield Step(
            False, f"no webhook after {route.group_wait_s:g} s (group_wait) and {MARGIN_S:g} s: {why()}", since_s(),
            "Look for `Notify attempt failed` in Alertmanager's log, and at the bot's /healthz.",
        )  # fmt: skip
        return
    yield Step(True, "webhook stored by the bot", since_s())
    opened = wait_for(lambda seen: seen.incident, OPEN_S)
    if opened is None:
        words = f"no incident after {OPEN_S:g} s: the bot took the webhook in and does not go on"
        yield Step(False, words, since_s(), "Look into the bot's log and at its /healthz.")
        return
    yield Step(True, f"incident {opened.incident} opened", since_s())
    if not has_chat:
        yield Step(True, "no card: cdc.yml has no slack section", since_s())
        return
    posted = wait_for(lambda seen: seen.link, MARGIN_S)
    if posted is None:
        words = f"no card in Slack after {MARGIN_S:g} s; {opened.incident} is in the journal"
        yield Step(False, words, since_s(), "See the slack lines of `cdc doctor`: they name what Slack refuses.")
        return
    yield Step(True, f"card posted in Slack: {posted.link}", since_s())


def _resolved(route: FirePlan, wait_for: Wait, look: Callable[[], Seen], since_s: Callable[[], float]) -> Step:
    ended = wait_for(lambda seen: seen.status == "resolved", route.group_interval_s + MARGIN_S)
    if ended is not None:
        return Step(
            True, f"incident {ended.incident} resolved: its alert ended, and it has nothing to prove", since_s()
        )
    left = look()
    return Step(
        False, f"incident {left.incident} is {left.status} after {route.group_interval_s:g} s (group_interval) and "
        f"{MARGIN_S:g} s", since_s(),
        f"See that send_resolved is not false; close it with `cdc resolve {left.incident} it was a test`.",
    )  # fmt: skip
