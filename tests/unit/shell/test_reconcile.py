"""Alertmanager's own word: an alert is never ended by one absence, by a failure to look, or by someone else's list."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from bot.ports import Unreachable
from tests.unit.shell.conftest import AM, T0, FakeAlertmanager, Shell, alert, live, webhook

STANDBY = "http://standby.example:9093"


@pytest.fixture
def absent_s(shell: Shell) -> float:
    """How long an alert must be absent to have ended."""
    return shell.runner._world.absent_for.total_seconds()


def notes(shell: Shell) -> list[tuple[str, str]]:
    return [(known.status, known.note) for known in shell.incident().alerts]


def test_an_alert_absent_for_long_has_ended(shell: Shell, absent_s: float) -> None:
    """One absence concludes nothing (Alertmanager may have restarted); all looks over the span do, with the reason."""
    shell.hear(webhook(alert()))
    shell.runner.reconcile()
    shell.clock.passes(absent_s - 1)
    shell.runner.reconcile()
    assert [("firing", "")] == notes(shell)
    shell.clock.passes(1)
    shell.runner.reconcile()
    assert [("ended", "ended, no resolve was sent")] == notes(shell)
    assert "recovery" in shell.rows("SELECT kind FROM tasks")
    shell.runner.reconcile()
    assert 1 == shell.kinds().count("AlertEnded")


def test_an_alert_that_is_listed_again_starts_the_span_anew(
    shell: Shell, alertmanager: FakeAlertmanager, absent_s: float
) -> None:
    """Absent, there, absent: only the last span counts."""
    shell.hear(webhook(alert()))
    for listed in ([], [live()], []):
        alertmanager.live = listed
        shell.runner.reconcile()
        shell.clock.passes(absent_s)
    assert [("firing", "")] == notes(shell)


def test_nothing_is_concluded_while_alertmanager_is_down(
    shell: Shell, alertmanager: FakeAlertmanager, absent_s: float
) -> None:
    """No answer is not an empty list; it is counted."""
    shell.hear(webhook(alert()))
    alertmanager.down = Unreachable("refused the connection")
    for _ in range(4):
        shell.runner.reconcile()
        shell.clock.passes(absent_s)
    assert [("firing", "")] == notes(shell)
    assert {"reconcile": 4} == shell.errors


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"silenced_by": ("s1",)}, "ended, no resolve was sent (silenced)"),
        ({"inhibited_by": ("f9",)}, "ended, no resolve was sent (inhibited)"),
    ],
)
def test_the_reason_tells_of_a_silence(
    shell: Shell, alertmanager: FakeAlertmanager, absent_s: float, more: dict[str, tuple[str, ...]], reason: str
) -> None:
    """While silenced it fires on; when it then vanishes, that is why nobody sent a resolve."""
    shell.hear(webhook(alert()))
    alertmanager.live = [live(state="suppressed", **more)]
    shell.runner.reconcile()
    assert [("firing", "")] == notes(shell)
    alertmanager.live = []
    shell.runner.reconcile()
    shell.clock.passes(absent_s)
    shell.runner.reconcile()
    assert [("ended", reason)] == notes(shell)


def test_alerts_of_an_alertmanager_that_is_not_configured_are_left_alone(shell: Shell, absent_s: float) -> None:
    """Its list is not ours to read: only its own messages end them."""
    shell.hear(webhook(alert(), source="http://elsewhere:9093"))
    for _ in range(3):
        shell.runner.reconcile()
        shell.clock.passes(absent_s)
    assert [("firing", "")] == notes(shell)


def test_each_alertmanager_is_compared_with_its_own_alerts(start: Callable[..., Shell], absent_s: float) -> None:
    """With two of them, an alert of either ends when its own lists it no more."""
    shell = start(FakeAlertmanager(STANDBY))
    shell.hear(webhook(alert()))
    shell.hear(webhook(alert("f2"), source=STANDBY))
    shell.runner.reconcile()
    shell.clock.passes(absent_s)
    shell.runner.reconcile()
    assert ["ended", "ended"] == [known.status for known in shell.incident().alerts]


def test_what_fired_while_the_bot_was_down_is_adopted_at_the_first_look(
    start: Callable[[], Shell], alertmanager: FakeAlertmanager
) -> None:
    """Alertmanager said nothing afterwards: the first look after a start takes it in and says so; later ones do not."""
    before = start()
    before.hear(webhook(alert()))
    alertmanager.live = [
        live(), live("f2", starts_at=T0 + timedelta(minutes=5)), live("foreign", receivers=("someone-else",)),
        live("quiet", state="suppressed", silenced_by=("s",)),
    ]  # fmt: skip
    after = start()
    after.runner.reconcile()
    assert [("f1", ""), ("f2", "missed while down")] == [(a.fingerprint, a.note) for a in after.incident().alerts]
    alertmanager.live.append(live("f3"))
    after.runner.reconcile()
    assert 2 == len(after.incident().alerts)


def test_a_first_look_that_fails_is_made_up_for(start: Callable[[], Shell], alertmanager: FakeAlertmanager) -> None:
    """Bot and Alertmanager come up together: the first look that is answered counts."""
    start().hear(webhook(alert()))
    after = start()
    alertmanager.live, alertmanager.down = [live(), live("f2")], Unreachable("refused")
    after.runner.reconcile()
    alertmanager.down = None
    after.runner.reconcile()
    assert 2 == len(after.incident().alerts)


def test_an_alert_that_ended_and_fires_after_all_is_news(shell: Shell, absent_s: float) -> None:
    """We concluded, Alertmanager knows better: a repeat of the same episode makes it fire again."""
    shell.hear(webhook(alert()))
    shell.runner.reconcile()
    shell.clock.passes(absent_s)
    shell.runner.reconcile()
    shell.hear(webhook(alert()))
    assert ["firing"] == [known.status for known in shell.incident().alerts]


def test_a_cut_list_is_fetched_whole_and_only_from_a_configured_address(
    shell: Shell, alertmanager: FakeAlertmanager
) -> None:
    """`truncatedAlerts` hides what fires: the API knows it; a foreign address in a payload is never asked."""
    alertmanager.live = [live(), live("f2"), live("quiet", state="suppressed")]
    shell.hear(webhook(alert(), truncated=1))
    shell.work("fetch-group")
    assert {"f1", "f2"} == {known.fingerprint for known in shell.incident().alerts}
    shell.hear(webhook(alert("x1", pipeline="other"), source="http://evil.example", truncated=3))
    shell.work("fetch-group")
    assert ["x1"] == [known.fingerprint for known in shell.incident("CDC-2").alerts]
    assert ["http://evil.example is not a configured Alertmanager"] == shell.rows(
        "SELECT note FROM tasks WHERE kind = 'fetch-group' AND incident = 'CDC-2'"
    )


def test_a_cut_list_is_asked_for_again_while_alertmanager_is_down(shell: Shell, alertmanager: FakeAlertmanager) -> None:
    """What is hidden stays counted until the API was read."""
    alertmanager.down, alertmanager.live = Unreachable("refused"), [live(), live("f2")]
    shell.hear(webhook(alert(), truncated=1))
    shell.work("fetch-group")
    assert 1 == shell.incident().hidden_alerts
    alertmanager.down = None
    shell.clock.passes(15)
    shell.work("fetch-group")
    assert {"f1", "f2"} == {known.fingerprint for known in shell.incident().alerts}
    assert AM == shell.incident().alerts[-1].source
