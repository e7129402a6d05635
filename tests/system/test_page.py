"""The page of the local workspace in a real browser: what a person at it clicks, types and must not be harmed by."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.alerts import alert, quick
from tests.system.parts import Chromium, wait_until
from tests.system.walk import OnCall, without_pipeline

HOSTILE = "<!channel> <@U02BOB> <script>document.title = 'owned'</script> *bold* `code` &amp; <https://evil.example|x>"


@pytest.fixture(scope="module")
def oncall(new_oncall: Callable[..., OnCall]) -> OnCall:
    """A bot with one incident, whose alert carries a hostile label and annotation."""
    oncall = new_oncall("page", without_pipeline, quick)
    hostile = alert("orders", consumer=HOSTILE)
    hostile["annotations"]["summary"] = f"orders is behind {HOSTILE}"
    oncall.alertmanager.post_alerts(hostile)
    oncall.channel.wait_for("checklist")
    return oncall


@pytest.fixture
def page(chromium: Chromium, oncall: OnCall) -> Iterator[Any]:
    """The workspace's page; a test fails when a script on it failed or when it asked any other server for anything."""
    page = chromium.browser.new_page(viewport={"width": 1440, "height": 960})
    errors: list[str] = []
    elsewhere: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request", lambda asked: None if asked.url.startswith(oncall.workspace.url) else elsewhere.append(asked.url)
    )
    page.set_default_timeout(10_000)
    page.goto(oncall.workspace.url)
    page.locator("#thread-messages article").first.wait_for()
    yield page
    page.close()
    assert ([], []) == (errors, elsewhere)


def test_a_hostile_label_pings_nobody_and_injects_nothing(page: Any, oncall: OnCall, tmp_path: Path) -> None:
    """Foreign text stands on the page as text: no mention, no link, no script."""
    card = page.locator("#channel-messages article").first
    assert "<!channel>" in card.inner_text()
    assert "<script>" in card.inner_text()
    assert 0 == page.locator("#channel-messages .mention, #thread-messages .mention").count()
    assert 0 == page.locator("a[href*='evil.example']").count()
    assert "owned" != page.title()
    assert 0 == page.locator("article script").count()
    assert "&lt;!channel&gt;" in str(oncall.channel.slot("card"))
    page.screenshot(path=tmp_path / "hostile.png")


def test_a_viewer_may_look_and_note_but_not_act(page: Any, oncall: OnCall) -> None:
    """Carol is no responder: her Plan changes nothing, and the reason is shown to her alone."""
    page.locator("#people [data-user=carol]").click()
    thread = page.locator("#thread-messages")
    thread.get_by_role("button", name="Plan: silence alerts").click()
    refused = page.locator("article.ephemeral", has_text="not").filter(has_text="responder").first
    refused.wait_for()
    assert oncall.channel.slot("plan:") is None

    page.locator("#people [data-user=alice]").click()
    assert 0 == page.locator("article.ephemeral", has_text="responder").count()


def test_the_incident_is_worked_at_the_page(page: Any, oncall: OnCall, tmp_path: Path) -> None:
    """Acknowledge, tick a step, note something in the modal, ask `/cdc`: each shows its effect by itself."""
    channel, thread = page.locator("#channel-messages"), page.locator("#thread-messages")
    channel.get_by_role("button", name="Acknowledge").click()
    channel.get_by_text("Lead: alice").wait_for()

    before = thread.get_by_role("button", name="Done", exact=True).count()
    thread.get_by_role("button", name="Done", exact=True).first.click()
    wait_until(lambda: thread.get_by_role("button", name="Done", exact=True).count() == before - 1, "a step ticked")

    channel.get_by_role("button", name="Note…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("What did you see or do?").fill("the producer of <b>orders</b> was deployed at 12:00")
    page.screenshot(path=tmp_path / "note.png")
    dialog.get_by_role("button", name="Save").click()
    thread.get_by_text("alice noted: the producer of <b>orders</b> was deployed at 12:00").wait_for()

    box = page.get_by_label("Message or command")
    box.fill("/cdc lag orders-sink")
    page.keyboard.press("Enter")
    answer = page.locator("article.ephemeral", has_text="orders-sink").filter(has_not_text="asking…").first
    answer.wait_for()
    assert "not configured" in answer.inner_text()

    box.fill("/cdc incidents")
    page.keyboard.press("Enter")
    page.locator("article.ephemeral", has_text="CDC-1").filter(has_text="orders is behind").first.wait_for()
    page.screenshot(path=tmp_path / "worked.png")
    [incident] = oncall.incidents()
    assert "acknowledged" == incident["status"]
    assert "done" in {step["status"] for step in incident["steps"]}
