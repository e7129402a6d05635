"""`cdc doctor --fire`: one marked test alert through the real Alertmanager, followed to its thread and to its end.

Before anything is sent the routes are asked whom it would reach: a pager of somebody else rings only after `--yes`.

What the alert is made of, and why
    alertname `CDCOncallTest`   matched by the route that is recommended for the bot's own alerts (`CDC.+`)
    severity `info`             mentions nobody
    pipeline `cdc-test-...`     of its own: it joins no incident, no probe runs, and it resolves when the alert ends
    `cdc_test`                  by which the webhook is found again
It is sent with an end: a command that is interrupted leaves nothing that fires on. Alertmanager speaks at the group's
`group_wait` first and at its `group_interval` then: those of the route are the times waited for. What the bot itself
knows ends a wait at once: a webhook that it refused, a card that Slack refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.doctor.alertmanager import Address, others, receivers_of_the_bot
from bot.doctor.check import Check, CheckStatus, names
from bot.doctor.slack import not_posted
from bot.model import TEST_ALERT
from bot.ports import AlertmanagerSetup, PortError, Unreachable
from bot.slo.route import Routing, routes_of

PART = "fire"

MARGIN_S = 60.0
OPEN_S = 30.0
POLL_S = 0.5
REFUSALS_EVERY_S = 3.0
POST_DEADLINE_S = 5.0
PASSING = re.compile(
    r"ratelimited|timeout|connection_lost|unreadable_answer|unreachable|http_\d+|internal_error|fatal_error"
)
"""Slack's words for what may be over at the next try, which the bot makes by itself."""


@dataclass(frozen=True)
class MarkedAlert:
    """The test alert's labels and what it says; `pipeline` is its own, and nobody else's."""

    pipeline: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class FirePlan:
    """Whom the alert would reach and how long it takes. `refusal` says why it is not sent, and what to do first.

    `receiver` is the bot's own among `receivers`.
    """

    receivers: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    first_s: float = 0.0
    group_interval_s: float = 0.0
    refusal: tuple[str, str] | None = None
    receiver: str = ""


@dataclass(frozen=True)
class Seen:
    """What the journal shows of the test alert. `link` is the card's, once it is posted.

    `card_error` is why the last attempt to post the card failed (Slack's word), empty before one did.
    """

    webhook_at: datetime | None = None
    incident: str | None = None
    status: str | None = None
    link: str | None = None
    card_error: str = ""


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
    # A group that stands already speaks at its next group_interval: only a label of this alert alone makes a new one.
    is_new = bool({"...", "pipeline", "cdc_test"} & set(route.group_by))
    first_s = route.group_wait_s if is_new else max(route.group_wait_s, route.group_interval_s)
    return FirePlan(found.receivers, besides, first_s, route.group_interval_s, receiver=route.receiver)


def follow(
    alertmanager: AlertmanagerSetup,
    alert: MarkedAlert,
    route: FirePlan,
    look: Callable[[], Seen],
    refusals: Callable[[], int | None],
    why: Callable[[], tuple[str, str]],
    has_chat: bool,
    now: Callable[[], datetime],
    pause: Callable[[float], object],
) -> Iterator[Step]:
    """Send the alert and yield a step at a time; after one that does not come the alert is ended all the same.

    `look` reads the journal; `refusals` counts the webhooks that the bot refused for their token, None where that is
    not known; `why` gives the cause and the remedy when a webhook does not come. `pause` waits some seconds.
    """
    started_at = now()
    longest_s = route.first_s + route.group_interval_s + 3 * MARGIN_S + OPEN_S

    def since_s() -> float:
        return round((now() - started_at).total_seconds(), 1)

    def wait_for(holds: Holds, patience_s: float, is_vain: Holds) -> Seen | None:
        ends_at = now() + timedelta(seconds=patience_s)
        while True:
            seen = look()
            if holds(seen):
                return seen
            if now() >= ends_at or is_vain(seen):
                return None
            pause(POLL_S)

    def post(ends_at: datetime) -> PortError | None:
        try:
            alertmanager.post_alert(alert.labels, alert.annotations, started_at, ends_at, POST_DEADLINE_S)
        except PortError as error:
            return error
        return None

    refused_before = refusals()
    is_ended = False
    try:
        if refused := post(started_at + timedelta(seconds=longest_s)):
            is_ended = not (isinstance(refused, Unreachable) and refused.sent)  # else it may have been taken
            yield Step(False, f"not accepted by Alertmanager: {refused}", since_s(), "See `cdc doctor --permissions`.")
            return
        yield Step(True, f"accepted by Alertmanager (receivers {names(route.receivers)})", since_s())
        is_refused = _Refused(refusals, refused_before, now)
        for step in _firing(route, wait_for, is_refused, why, look, has_chat, since_s):
            yield step
            if not step.came:
                is_ended = True
                yield _ended(post(now()), look().incident, since_s())
                return
        is_ended = True
        if refused := post(now()):
            yield _ended(refused, look().incident, since_s())
            return
        yield Step(True, "its end sent to Alertmanager", since_s())
        yield _resolved(route, wait_for, look, since_s)
    finally:
        if not is_ended:
            post(now())


Holds = Callable[[Seen], object]
Wait = Callable[[Holds, float, Holds], Seen | None]


class _Refused:
    """Whether the bot has refused a webhook for its token since the start; it is asked every few seconds only."""

    def __init__(
        self, refusals: Callable[[], int | None], before: int | None, now: Callable[[], datetime]
    ) -> None:  # fmt: skip
        self._refusals, self._before, self._now = refusals, before, now
        self._asked_at = now()
        self.found = False

    def __call__(self, _: Seen) -> bool:
        if self._now() - self._asked_at >= timedelta(seconds=REFUSALS_EVERY_S):
            self.ask()
        return self.found

    def ask(self) -> None:
        self._asked_at = self._now()
        count = self._refusals()
        self.found = self._before is not None and count is not None and count > self._before


def _never(_: Seen) -> bool:
    return False


def _firing(
    route: FirePlan, wait_for: Wait, is_refused: _Refused, why: Callable[[], tuple[str, str]],
    look: Callable[[], Seen], has_chat: bool, since_s: Callable[[], float],
) -> Iterator[Step]:  # fmt: skip
    """Yield the steps from the webhook to the card; the last is the one that did not come."""
    if wait_for(lambda seen: seen.webhook_at, route.first_s + MARGIN_S, is_refused) is None:
        if not is_refused.found:
            is_refused.ask()
        yield _no_webhook(route, is_refused.found, why, since_s())
        return
    yield Step(True, "webhook stored by the bot", since_s())
    opened = wait_for(lambda seen: seen.incident, OPEN_S, _never)
    if opened is None:
        words = f"the bot took the webhook in and does not go on: no incident after {OPEN_S:g} s"
        yield Step(False, words, since_s(), "Look into the bot's log and at its /healthz.")
        return
    yield Step(True, f"incident {opened.incident} opened", since_s())
    if not has_chat:
        yield Step(True, "no card: cdc.yml has no slack section", since_s())
        return
    posted = wait_for(
        lambda seen: seen.link, MARGIN_S, lambda seen: seen.card_error and not PASSING.fullmatch(seen.card_error)
    )
    if posted is None:
        yield _no_card(look(), since_s())
        return
    yield Step(True, f"card posted in Slack: {posted.link}", since_s())


def _no_webhook(route: FirePlan, is_refused: bool, why: Callable[[], tuple[str, str]], after_s: float) -> Step:
    if is_refused:
        return Step(
            False, "Alertmanager sends a token the bot does not know: the bot answered 401", after_s,
            "Put a token of `alertmanager.tokens` into `http_config.authorization.credentials` (or its "
            f"credentials_file) of receiver {route.receiver} and reload Alertmanager.",
        )  # fmt: skip
    cause, remedy = why()
    return Step(
        False, f"{cause}: no webhook after the {route.first_s:g} s of the group and {MARGIN_S:g} s", after_s, remedy
    )


def _no_card(left: Seen, after_s: float) -> Step:
    what = f"{left.incident} is in the journal, and has no card after {after_s:g} s"
    if not left.card_error:
        words = f"the bot has not tried to post the card: {what}"
        return Step(False, words, after_s, "Look into the bot's log and at its /healthz.")
    cause, remedy = not_posted(left.card_error)
    return Step(False, f"{cause}: {what}", after_s, remedy)


def _ended(refused: PortError | None, incident: str | None, after_s: float) -> Step:
    """Return the last line after a step that did not come: what is left of the test."""
    left = f"incident {incident}" if incident else "a test incident that comes of it yet"
    if refused is None:
        return Step(True, f"the end of the test alert was sent to Alertmanager; {left} ends by itself", after_s)
    return Step(
        False, f"the end of the test alert could not be sent: {refused}; {left} ends by itself", after_s,
        "Nothing is to be done: the test alert was sent with an end.",
    )  # fmt: skip


def _resolved(route: FirePlan, wait_for: Wait, look: Callable[[], Seen], since_s: Callable[[], float]) -> Step:
    ended = wait_for(lambda seen: seen.status == "resolved", route.group_interval_s + MARGIN_S, _never)
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
