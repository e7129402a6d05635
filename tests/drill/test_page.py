"""The drill page in a real Chromium: one person walks one incident, as after `make demo`, click by click.

The tests of the walk share one drill and one page and follow each other as the clicks of a person do; a failure in one
fails those after it. Where there is no Chromium they are skipped, loudly; with CI=true that is a failure.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from bot.drill.workspace import SlackWorkspace
from tests.drill.conftest import CDC, CHECKOUT
from tests.drill.test_drill import READY_WITHIN_S, first_line

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
INCIDENT_WITHIN_S = 10
PATIENCE_MS = 20_000
TRIAGE = ("schema_changes", "connector_state", "consumer_lag", "dead_letters")
PAYLOAD = CHECKOUT / "tests" / "payloads" / "01-first-firing.json"


@dataclass(frozen=True)
class Desk:
    """A person's screen: the page, what went wrong in it, the drill behind it and the file of what that told."""

    page: Page
    complaints: list[str]
    drill: subprocess.Popen[str]
    printed_at_s: float
    told: Path

    @property
    def card(self) -> Locator:
        """The incident in the channel."""
        return self.page.locator("#channel-messages .message").first

    @property
    def thread(self) -> Locator:
        return self.page.locator("#thread-messages")

    def button(self, action_id: str) -> Locator:
        """An element of the thread's replies, by the beginning of its action id."""
        return self.thread.locator(f'[data-action-id^="{action_id}"]').last

    def type(self, words: str) -> None:
        """Type into the channel's box and send."""
        box = self.page.get_by_label("Message or command")
        box.fill(words)
        box.press("Enter")

    def become(self, name: str) -> None:
        self.page.locator(f'#people [data-user="{name}"]').click()

    def confirm(self, answer: str) -> None:
        """Answer the confirmation that a dangerous button asks for."""
        self.page.locator("dialog.confirm").get_by_role("button", name=answer, exact=True).click()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium of this machine; without one the tests are skipped, or fail where CI=true."""
    if not CHROMIUM.exists():
        missing = f"{CHROMIUM} is missing: the drill page was NOT tested. As root: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


def opened(browser: Browser, address: str) -> tuple[Page, list[str]]:
    """A page on an address, and the list that its errors and refused resources go to."""
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(address)
    return page, complaints


@pytest.fixture(scope="module")
def desk(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """What `make demo` starts, with its page open."""
    told = tmp_path_factory.mktemp("walk") / "stderr"
    with told.open("w") as stderr:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": stderr, "text": True}
        with subprocess.Popen([str(CDC), "drill", "schema-break"], **pipes) as drill:
            address = first_line(drill, READY_WITHIN_S).strip()
            printed_at_s = time.monotonic()
            try:
                yield Desk(*opened(browser, address), drill, printed_at_s, told)
            finally:
                drill.terminate()


@pytest.fixture(autouse=True)
def _what_the_drill_told(request: pytest.FixtureRequest) -> Iterator[None]:
    """Beside a failure stands what the drill and the bot in it had to say."""
    yield
    if "desk" in request.fixturenames:
        print(request.getfixturevalue("desk").told.read_text(encoding="utf-8"))


# --- the walk ---------------------------------------------------------------------------------------


def test_the_incident_is_on_the_page_within_10_s_of_the_address(desk: Desk) -> None:
    """The card names the pipeline, the subject and the field; the owner's mention is highlighted."""
    expect(desk.card).to_contain_text("Critical · customers", timeout=INCIDENT_WITHIN_S * 1000)
    assert time.monotonic() - desk.printed_at_s < INCIDENT_WITHIN_S
    expect(desk.card).to_contain_text(re.compile("customers-value: field tier"), timeout=PATIENCE_MS)
    expect(desk.card.locator(".mention.me")).to_have_text("@data-platform")


def test_acknowledge_makes_one_the_lead(desk: Desk) -> None:
    """Pressing Acknowledge changes the card for everybody: who leads, and the button is gone."""
    desk.card.get_by_role("button", name="Acknowledge").click()
    expect(desk.card).to_contain_text("Lead: alice", timeout=PATIENCE_MS)
    expect(desk.card.get_by_role("button", name="Acknowledge")).to_have_count(0)


def test_the_thread_opens_at_its_checklist(desk: Desk) -> None:
    """Closed and opened again by its replies, the thread shows the checklist without scrolling."""
    desk.page.get_by_label("Close thread").click()
    expect(desk.thread).to_be_hidden()
    desk.card.get_by_role("button", name=re.compile(r"\d+ replies")).click()
    expect(desk.thread.get_by_text("Triage", exact=True)).to_be_in_viewport()
    expect(desk.thread).to_contain_text("What the probes saw", timeout=PATIENCE_MS)


def test_ticked_steps_are_done(desk: Desk) -> None:
    """Each triage step is ticked by its button, which goes with it."""
    for step in TRIAGE:
        desk.button(f"step.done:{step}").click()
        expect(desk.button(f"step.done:{step}")).to_have_count(0, timeout=PATIENCE_MS)
    expect(desk.thread.get_by_text("✅ Done: Which task failed")).to_be_visible()


def test_a_note_is_written_in_a_modal(desk: Desk) -> None:
    """Note… opens a modal; an empty one is refused in it; what is written stands in the thread."""
    desk.card.get_by_role("button", name="Note").click()
    modal = desk.page.locator("dialog[open]")
    modal.locator("button[type=submit]").click()
    expect(modal.locator(".error").first).not_to_be_empty()
    modal.locator("textarea").fill("Deploy 4711 added the column <b>tier</b>")
    modal.locator("button[type=submit]").click()
    expect(modal).to_have_count(0, timeout=PATIENCE_MS)
    expect(desk.thread.get_by_text("Deploy 4711 added the column <b>tier</b>")).to_be_visible(timeout=PATIENCE_MS)


@pytest.mark.parametrize(
    ("command", "answers"),
    [
        ("/cdc help", ["/cdc lag [GROUP]", "/cdc postmortem ID"]),
        ("/cdc lag customers_canonical_flink", ["customers_canonical_flink", "committed"]),
        ("/cdc lag no_such_group", ["no_such_group"]),
        ("/drill help", ["/drill repair"]),
        ("/drill repair", ["Repaired at the part itself."]),
    ],
)
def test_commands_are_answered_to_the_one_who_asked(desk: Desk, command: str, answers: list[str]) -> None:
    """What is typed into the box is answered in the channel, visible to that person only."""
    shown = desk.page.locator("#channel-messages .message.ephemeral")
    before = shown.count()
    desk.type(command)
    for words in answers:
        expect(desk.page.locator("#channel-messages .ephemeral", has_text=words).last).to_be_visible(
            timeout=PATIENCE_MS
        )
    assert shown.count() > before
    expect(shown.last).to_contain_text("Only visible to you")


def test_a_plan_is_shown_first(desk: Desk) -> None:
    """Plan says what it would do and that nothing was changed; what comes below the view is announced."""
    desk.button("action.plan:restart_failed_tasks").click()
    expect(desk.button("action.run:")).to_have_count(1, timeout=PATIENCE_MS)
    expect(desk.thread).to_contain_text("Nothing was changed yet.")
    expect(desk.thread).to_contain_text("POST /connectors/customers-postgres-source/restart")


def test_someone_who_is_no_responder_is_refused_in_words(desk: Desk) -> None:
    """Carol may look; her Run changes nothing and tells her why and whom to ask, and her alone."""
    desk.become("carol")
    desk.button("action.run:").click()
    desk.confirm("Run")
    expect(desk.page.get_by_text("Not allowed: carol is not a responder").first).to_be_visible(timeout=PATIENCE_MS)
    desk.become("alice")
    expect(desk.page.get_by_text("Not allowed: carol is not a responder")).to_have_count(0)
    expect(desk.button("action.run:")).to_have_count(1)


def test_run_asks_before_it_changes_anything_and_shows_the_outcome(desk: Desk) -> None:
    """ "Not now" leaves the plan as it is; Run restarts the task, and the probe's word is the outcome."""
    desk.button("action.run:").click()
    expect(desk.page.locator("dialog.confirm")).to_contain_text("customers-postgres-source")
    desk.confirm("Not now")
    expect(desk.button("action.run:")).to_have_count(1)
    desk.button("action.run:").click()
    desk.confirm("Run")
    expect(desk.thread).to_contain_text("Done and verified", timeout=PATIENCE_MS)


def test_recovery_is_proved_and_the_incident_resolves(desk: Desk) -> None:
    """Proof appears in the thread, and the card turns to resolved by itself."""
    expect(desk.thread).to_contain_text("Recovery proved", timeout=PATIENCE_MS)
    expect(desk.card).to_contain_text("Resolved", timeout=PATIENCE_MS)


def test_the_chart_of_the_lag_is_seen_in_the_thread(desk: Desk) -> None:
    """A picture of the size it was drawn in, loaded, with what it shows in words."""
    picture = desk.thread.locator("img.picture").last
    picture.scroll_into_view_if_needed()
    expect(picture).to_be_visible()
    expect(picture).to_have_attribute("alt", re.compile("^Lag of .* records? behind.* What happened: .* fired"))
    assert [1000, 560] == picture.evaluate("it => it.decode().then(() => [it.naturalWidth, it.naturalHeight])")
    width = picture.evaluate("it => it.getBoundingClientRect().width")
    assert 300 < width <= picture.evaluate("it => it.closest('.body').clientWidth")


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light"), (390, "dark")])
def test_the_page_of_a_group_is_read_on_a_desk_and_on_a_phone(desk: Desk, width: int, scheme: Any) -> None:
    """Verdict, chart and partitions, without a script and without scrolling sideways, by day and by night."""
    lag = re.search(r"^Lag: +(http\S+/lag) ", desk.told.read_text(encoding="utf-8"), re.MULTILINE)
    assert lag is not None
    context = desk.page.context.browser.new_context(  # type: ignore[union-attr]
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=False
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(lag[1])
    page.get_by_role("link", name="customers_canonical_flink").click()
    expect(page.get_by_role("img", name=re.compile("^Lag of customers_canonical_flink, "))).to_be_visible()
    expect(page.get_by_role("heading", name="Partitions, worst first")).to_be_visible()
    expect(page.locator(".verdict").first).to_contain_text(re.compile("[✖▲✔?] [A-Z_]+"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ("rgb(255, 255, 255)" == back) is (scheme == "light")
    assert [] == complaints
    context.close()


def test_the_postmortem_can_be_opened(desk: Desk, tmp_path: Path) -> None:
    """Postmortem puts a Markdown file into the thread; its preview is prose, its download the whole text."""
    desk.card.get_by_role("button", name="Postmortem").click()
    file = desk.thread.locator(".file", has_text="postmortem-").last
    expect(file).to_contain_text("postmortem-", timeout=PATIENCE_MS)
    file.get_by_role("button", name="Preview").click()
    expect(file.locator(".file-preview h1")).to_contain_text("Postmortem")
    with desk.page.expect_download() as started:
        file.get_by_role("link", name="Download").click()
    started.value.save_as(tmp_path / "postmortem.md")
    text = (tmp_path / "postmortem.md").read_text(encoding="utf-8")
    assert text.startswith("# Postmortem") and "Deploy 4711" in text


def test_the_walk_left_no_error_in_the_page(desk: Desk) -> None:
    """No script failed and nothing was asked of another server."""
    assert [] == desk.complaints


def test_the_terminal_told_the_walk_and_the_score(desk: Desk) -> None:
    """Each stage was told as it was reached; Ctrl-C after the last ends with the score and exit 0."""
    time.sleep(1)
    desk.drill.send_signal(signal.SIGINT)
    desk.drill.wait(timeout=30)
    said = desk.told.read_text(encoding="utf-8")
    missing = [one for one in ("opened: ", "triaged: ", "acted: ", "recovered: ", "resolved: ") if one not in said]
    assert (0, []) == (desk.drill.returncode, missing), said
    assert "Finished schema-break: opened " in said


# --- a link into a thread -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thread", "hash_"),
    [("old", None), ("new", "#C01INCIDENTS/<img src=x onerror='window.injected=1'>"), ("new", "#C09NOWHERE/1.1")],
)
def test_a_link_opens_its_thread(browser: Browser, thread: str, hash_: str | None) -> None:
    """What `cdc incident` prints leads to the incident's thread, not to the newest one; a strange hash to nothing."""
    workspace = SlackWorkspace(token="xoxb-page", signing_secret="secret").start()
    try:
        said = {}
        for words in ("old", "new"):
            parent = {"channel": "C01INCIDENTS", "user": "alice", "text": f"the {words} one"}
            said[words] = requests.post(f"{workspace.url}/control/say", json=parent, timeout=5).json()["ts"]
            reply = {**parent, "text": f"reply to the {words} one", "thread_ts": said[words]}
            assert requests.post(f"{workspace.url}/control/say", json=reply, timeout=5).json()["ok"]
        link = f"/app_redirect?channel=C01INCIDENTS&message_ts={said['old']}" if hash_ is None else f"/{hash_}"
        page, complaints = opened(browser, workspace.url + link)
        expect(page.locator("#thread-messages")).to_contain_text(f"reply to the {thread} one")
        assert ([], None) == (complaints, page.evaluate("window.injected"))
    finally:
        workspace.stop()


# --- hostile words -------------------------------------------------------------------------------------


def test_a_hostile_alert_injects_nothing(browser: Browser) -> None:
    """`<!channel>`, a script and 10,000 characters in labels are words on the page: no mention, no markup.

    The page is not torn wide by them either.
    """
    script = "<script>window.injected=1</script><img src=x onerror='window.injected=1'>"
    payload = json.loads(PAYLOAD.read_text(encoding="utf-8"))
    alert = payload["alerts"][0]
    alert["labels"] |= {"alertname": "<!channel> Hostile", "instance": script, "padding": "A" * 10_000}
    alert["annotations"] |= {"summary": f"<!channel> {script} *bold* <https://evil.example|click> {'B' * 10_000}"}
    with subprocess.Popen([str(CDC), "drill", "idle", "--json"], stdout=subprocess.PIPE, text=True) as drill:
        try:
            places = json.loads(first_line(drill, READY_WITHIN_S))
            page, complaints = opened(browser, places["page"])
            bearer = {"Authorization": f"Bearer {places['token']}"}
            assert 200 == requests.post(places["webhook"], json=payload, headers=bearer, timeout=5).status_code
            card = page.locator("#channel-messages .message").first
            expect(card).to_contain_text("<!channel> Hostile", timeout=PATIENCE_MS)
            expect(page.locator("#thread-messages")).to_contain_text("Checklist", timeout=PATIENCE_MS)
            page.wait_for_timeout(500)
            assert [] == complaints
            assert page.evaluate("window.injected") is None
            assert 1 == page.locator("script").count(), "the page's own, and no other"
            assert 0 == page.locator(".messages img:not(.picture), .messages a[href*=evil]").count()
            assert [] == [word for word in page.locator(".mention").all_inner_texts() if word != "@data-platform"]
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.evaluate(
                "[...document.querySelectorAll('.body')].every((it) => it.scrollWidth <= it.clientWidth)"
            )
        finally:
            drill.terminate()
