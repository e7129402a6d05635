"""The webhook over real uvicorn: 200 means on disk, 503 that it is not, and an alert is never sent elsewhere."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
import requests
import uvicorn
from starlette.applications import Starlette

from bot.app import Bot, start_bot
from bot.edge.web import MAX_BODY, Inbox, Intake, lag_routes, status_routes, webhook_routes
from bot.store.sqlite import Store
from tests.unit.shell.conftest import T0, alert, webhook

OLD, NEW = "old-token", "new-token"
CONFIG = """\
listen: 127.0.0.1:0
state: ./journal.db
alertmanager:
  url: http://127.0.0.1:9
  tokens: ["${OLD}", "${NEW}"]
  basic: [{user: am, password: "${PASSWORD}"}]
incidents: {recheck: 1d}
probes: {interval: 1d}
pipelines:
  customers: {owner: "@data-platform", channel: "#cdc-incidents", topics: [customers]}
"""


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    """The real bot, composed by app.py, without Slack."""
    folder = tmp_path_factory.mktemp("bot")
    (folder / "cdc.yml").write_text(CONFIG)
    running = start_bot(folder / "cdc.yml", {"OLD": OLD, "NEW": NEW, "PASSWORD": "pässword"})
    yield running
    running.stop()


def post(bot: Bot, body: bytes, path: str = "/alertmanager", token: str = OLD, **more: object) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return requests.post(f"{bot.url}{path}", data=body, headers=headers, timeout=10, allow_redirects=False)


def stored(bot: Bot, body: bytes) -> int:
    with sqlite3.connect(bot.config.state) as db:
        return int(db.execute("SELECT count(*) FROM inbox WHERE body = ?", (body,)).fetchone()[0])


def raw(bot: Bot, head: str, body: bytes = b"", read: bool = True) -> bytes:
    """Send bytes of our own making; return what comes back, or hang up without reading."""
    host, port = bot.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"POST /alertmanager HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + body)
        return connection.recv(4096) if read else b""


@pytest.mark.parametrize("path", ["/alertmanager", "/alertmanager/", "/alertmanager?x=1"])
def test_the_webhook_is_stored_and_never_redirected(bot: Bot, path: str) -> None:
    """A 307 to the other spelling would make Alertmanager send a GET and lose the alert."""
    body = webhook(alert(path=path))
    assert (200, {"stored": True}) == ((answer := post(bot, body, path)).status_code, answer.json())
    assert 1 == stored(bot, body)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {OLD}", 200),
        (f"Bearer {NEW}", 200),  # two are valid at once, for a rotation
        (f"bearer  {NEW}", 200),
        ("Basic YW06cMOkc3N3b3Jk", 200),  # am:pässword
        ("Basic YW06cGFzc3dvcmQ=", 401),  # am:password
        ("Basic not-base64!", 401),
        ("Bearer wrong", 401),
        ("Bearer ", 401),
        ("Bearer \xff\xfe", 401),
        (f"Token {OLD}", 401),
        (OLD, 401),
        (None, 401),
    ],
)
def test_only_who_knows_a_secret_may_post(bot: Bot, header: str | None, status: int) -> None:
    """A refusal says what to configure, and stores nothing."""
    body = webhook(alert(header=repr(header)))
    headers = {"Authorization": header.encode("latin-1")} if header is not None else {}
    answer = requests.post(f"{bot.url}/alertmanager", data=body, headers=headers, timeout=10)  # type: ignore[arg-type]
    assert (status, int(status == 200)) == (answer.status_code, stored(bot, body))
    assert OLD not in answer.text
    assert NEW not in answer.text


def test_a_body_of_17_mb_is_refused_and_one_of_16_is_not(bot: Bot) -> None:
    """The bound is the body's, announced or not."""
    too_large = b"x" * (MAX_BODY + 1)
    assert 413 == post(bot, too_large).status_code
    assert 413 == post(bot, (too_large[i : i + 65_536] for i in range(0, 17_000_000, 65_536))).status_code  # type: ignore[arg-type]
    assert 0 == stored(bot, too_large)
    largest = b"y" * MAX_BODY
    assert 200 == post(bot, largest).status_code
    assert 1 == stored(bot, largest)


def test_what_is_announced_too_large_is_not_read(bot: Bot) -> None:
    """The answer comes before the body."""
    answer = raw(bot, f"Authorization: Bearer {OLD}\r\nContent-Length: 17000000")
    assert b" 413 " in answer.splitlines()[0]


def test_a_sender_that_hangs_up_in_the_middle_stores_nothing(bot: Bot) -> None:
    """Half a body is not a webhook; Alertmanager sends the whole again."""
    raw(bot, f"Authorization: Bearer {OLD}\r\nContent-Length: 1000", b"half of it", read=False)
    time.sleep(0.05)
    assert 0 == stored(bot, b"half of it")
    assert 200 == post(bot, webhook(alert("after"))).status_code


@pytest.mark.parametrize("body", [b"\xff\xfe\x00 not UTF-8", b"{malformed", b"", b'{"some": "other shape"}'])
def test_what_cannot_be_understood_is_stored_all_the_same(bot: Bot, body: bytes) -> None:
    """A 4xx would make Alertmanager drop it: it is kept, byte for byte, and reported as unreadable."""
    assert 200 == post(bot, body).status_code
    assert 1 == stored(bot, body)


def test_the_same_webhook_at_once_is_one_row(bot: Bot) -> None:
    """A retry after a lost answer is answered 200 and stored once."""
    body = webhook(alert("retried"))
    assert [200, 200] == [post(bot, body).status_code for _ in range(2)]
    assert stored(bot, body) in (1, 2)  # two when the clock's window changed in between


# --- the pages -----------------------------------------------------------------------------------------


def test_the_pages_are_served_to_who_reaches_the_port_and_run_nothing(bot: Bot) -> None:
    """As /metrics, without a login; no script, nothing from elsewhere, not in a frame, not cached; read-only."""
    for path, status in (("/lag", 200), ("/lag/", 200), ("/lag/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 404)):
        answer = requests.get(f"{bot.url}{path}", timeout=10)
        assert (status, "text/html; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "script" not in policy and "frame-ancestors 'none'" in policy
        assert ("no-store", "nosniff") == (answer.headers["cache-control"], answer.headers["x-content-type-options"])
        assert "<script" not in answer.text
        assert 405 == requests.post(f"{bot.url}{path}", timeout=10).status_code
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert "No group was sampled yet" in requests.get(f"{bot.url}/lag", timeout=10).text


# --- a journal that does not take it -------------------------------------------------------------------


class FullDisk:
    """An inbox on a disk that is full until it is not."""

    def __init__(self) -> None:
        self.full, self.rows = True, list[tuple[str, str, bytes]]()

    def receive_many(self, rows: Sequence[tuple[str, str, bytes]], now: datetime) -> None:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        self.rows += rows


@contextmanager
def served(inbox: Inbox, count: Callable[[str], None]) -> Iterator[str]:
    intake = Intake(inbox, lambda: T0, lambda: None)
    app = Starlette(routes=webhook_routes(intake, lambda: ([OLD], []), lambda: T0, count))
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off")
    server, listening = uvicorn.Server(config), config.bind_socket()
    listening.listen(100)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    intake.close()


def test_what_is_not_stored_is_answered_503_so_that_it_comes_again() -> None:
    """Alertmanager repeats a 5xx within seconds; when the disk has room the same body is taken."""
    inbox, counted = FullDisk(), list[str]()
    headers = {"Authorization": f"Bearer {OLD}"}
    with served(inbox, counted.append) as url:
        session = requests.Session()
        refused = session.post(f"{url}/alertmanager", data=b"{}", headers=headers, timeout=5)
        inbox.full = False
        taken = session.post(f"{url}/alertmanager", data=b"{}", headers=headers, timeout=5)
    assert (503, 200) == (refused.status_code, taken.status_code)
    assert "disk is full" in refused.json()["error"]
    assert [b"{}"] == [body for _, _, body in inbox.rows]
    assert ["not_stored", "stored"] == counted


def test_200_posts_at_once_are_all_stored(tmp_path: Path) -> None:
    """A storm: every 200 is a row on disk, in far fewer commits than posts."""
    commits = list[str]()
    store = Store(tmp_path / "journal.db", commits.append)
    bodies = [webhook(alert(f"storm-{n}")) for n in range(200)]
    headers = {"Authorization": f"Bearer {OLD}"}
    with served(store, lambda _: None) as url, ThreadPoolExecutor(40) as pool:
        ask = partial(requests.post, f"{url}/alertmanager", headers=headers, timeout=10)
        assert {200} == {answer.status_code for answer in pool.map(lambda body: ask(data=body), bodies)}
    with sqlite3.connect(store.path) as db:
        assert sorted(bodies) == sorted(row[0] for row in db.execute("SELECT body FROM inbox"))
    assert len(commits) / 2 < 200
    store.close()


def test_a_burst_that_fails_fails_for_everybody_in_it() -> None:
    """One commit, all or none: nobody is told 200 for a row that was rolled back."""
    inbox = FullDisk()
    with served(inbox, lambda _: None) as url, ThreadPoolExecutor(20) as pool:

        def send(n: int) -> int:
            headers = {"Authorization": f"Bearer {OLD}"}
            return requests.post(
                f"{url}/alertmanager", data=json.dumps(n), headers=headers, timeout=5
            ).status_code  # fmt: skip

        assert {503} == set(pool.map(send, range(40)))
        inbox.full = False
        assert {200} == set(pool.map(send, range(40)))
    assert 40 == len({body for _, _, body in inbox.rows})


def test_a_read_only_journal_answers_503(tmp_path: Path) -> None:
    """The real store on a file that cannot be written: the alert is refused aloud, not taken and lost."""
    (tmp_path / "cdc.yml").write_text(CONFIG)
    running = start_bot(tmp_path / "cdc.yml", {"OLD": OLD, "NEW": NEW, "PASSWORD": "p"})
    try:
        assert 200 == post(running, b"{}").status_code
        with sqlite3.connect(running.config.state) as db:
            db.execute("CREATE TRIGGER full BEFORE INSERT ON inbox BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        answer = post(running, b"[]")
        assert (503, True) == (answer.status_code, "disk is full" in answer.json()["error"])
        with sqlite3.connect(running.config.state) as db:
            db.execute("DROP TRIGGER full")
        assert 200 == post(running, b"[]").status_code
    finally:
        running.stop()


def test_many_readers_of_pages_do_not_hold_up_health() -> None:
    """A chart takes a while to draw: a hundred browsers wait for each other, the kubelet for none of them."""
    drawn, drawing = threading.Event(), threading.Semaphore(0)

    def page(group: str) -> tuple[bool, str]:
        drawing.release()
        drawn.wait(20)
        return True, group

    well: tuple[bool, dict[str, object]] = (True, {})
    routes = lag_routes(lambda: "", page) + status_routes(lambda: b"", lambda: well, lambda: well)
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        with ThreadPoolExecutor(60) as browsers:
            asked = [browsers.submit(requests.get, f"{url}/lag/g{number}", timeout=20) for number in range(60)]
            drawing.acquire(timeout=10)
            time.sleep(0.5)
            healthy = requests.get(f"{url}/healthz", timeout=5).status_code
            drawn.set()
            assert {200} == {each.result().status_code for each in asked}
    finally:
        drawn.set()
        server.should_exit = True
        thread.join(10)
    assert 200 == healthy
