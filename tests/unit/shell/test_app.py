"""The composition: what a start promises, and what a second start by mistake may not do."""

from __future__ import annotations

import re
import socket
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from bot.app import Bot, clock, open_config, sources, start_bot
from bot.drill.loopback import free_port
from bot.model import GroupOffsets, PartitionOffsets
from bot.store.copies import backup, restore
from bot.store.samples import Samples
from bot.store.sqlite import Store, StoreError

ENVIRON = {"TOKEN": "token"}


def config(folder: Path) -> Path:
    path = folder / "cdc.yml"
    path.write_text(
        f"listen: 127.0.0.1:{free_port()}\n"
        "state: ./journal.db\n"
        'alertmanager: {url: "http://127.0.0.1:9", tokens: ["${TOKEN}"]}\n'
        "probes: {interval: 1d}\n"
        'pipelines: {customers: {owner: "@o", channel: "#c", topics: [customers]}}\n'
    )
    return path


def test_a_started_bot_takes_the_very_first_webhook(tmp_path: Path) -> None:
    """`start` returns when nobody is refused any more."""
    bot = start_bot(config(tmp_path), ENVIRON)
    try:
        headers = {"Authorization": "Bearer token"}
        assert 200 == requests.post(f"{bot.url}/alertmanager", data=b"{}", headers=headers, timeout=5).status_code
    finally:
        bot.stop()


def test_a_second_bot_on_the_same_address_touches_nothing(tmp_path: Path) -> None:
    """`cdc serve` twice by mistake: the second ends at once and does not settle the first one's running work."""
    path = config(tmp_path)
    bot = start_bot(path, ENVIRON)
    try:
        later = clock() + timedelta(days=1)
        with bot.store.deciding() as writer:
            writer.enqueue("under way", "CDC-1", "action", {"key": "k"}, later, later)
        assert bot.store.claim_task(["action"], later) is not None
        with pytest.raises(StoreError, match="another bot"):
            start_bot(path, ENVIRON)
        assert ["under way"] == [task.key for task in bot.store.running_tasks()]
    finally:
        bot.stop()


def test_a_terminal_has_the_history_that_the_bot_sampled(tmp_path: Path) -> None:
    """One question of `cdc lag` knows what the bot saw in the last half hour, and nothing older; it makes no file."""
    path = config(tmp_path)
    assert sources(open_config(path, {}), {}).track_of("g") is None
    assert ["cdc.yml"] == [each.name for each in tmp_path.iterdir()]
    samples, now = Samples(tmp_path / "journal.samples.db"), clock()
    partition = PartitionOffsets("customers", 0, 90, 10, 100)
    samples.keep([GroupOffsets("g", now - timedelta(minutes=age), None, None, (partition,)) for age in (40, 2, 1)])
    track = sources(open_config(path, {}), {}).track_of("g")
    samples.close()
    assert track is not None
    assert [now - timedelta(minutes=age) for age in (2, 1)] == [read.at for read in track.reads]


def test_a_bot_without_room_for_samples_runs_and_says_so(tmp_path: Path) -> None:
    """Samples are measurements: where they cannot be kept, alerts are taken all the same."""
    (tmp_path / "journal.samples.db").mkdir()
    bot = start_bot(config(tmp_path), ENVIRON)
    try:
        answer = requests.get(f"{bot.url}/healthz", timeout=5)
        assert 200 == answer.status_code
        assert "the lag samples cannot be written" in str(answer.json()["wrong"])
    finally:
        bot.stop()


DAMAGED = b"SQLite format 3\0" + b"this was a journal once" * 100


@pytest.mark.parametrize(("contents", "has_lock"), [(DAMAGED, False), (b"not even a header" * 100, True)])
def test_a_journal_that_cannot_be_read_is_kept_and_alerts_are_stored(
    tmp_path: Path, contents: bytes, has_lock: bool
) -> None:
    """A damaged file stops nobody: it is kept beside, a new journal is begun, and /healthz says so.

    It was a journal by what is left of it, or because a bot has run on it.
    """
    path = config(tmp_path)
    (tmp_path / "journal.db").write_bytes(contents)
    if has_lock:
        (tmp_path / "journal.db.lock").touch()
    bot = start_bot(path, ENVIRON)
    try:
        headers = {"Authorization": "Bearer token"}
        assert 200 == requests.post(f"{bot.url}/alertmanager", data=b"{}", headers=headers, timeout=5).status_code
        told = requests.get(f"{bot.url}/healthz", timeout=5).json()["wrong"]
    finally:
        bot.stop()
    kept = list(tmp_path.glob("journal.db.unreadable-*"))
    assert [contents] == [file.read_bytes() for file in kept]
    assert [f"is kept as {kept[0]}"] == re.findall(r"is kept as [^,]+", " ".join(told))


@pytest.mark.parametrize("contents", [b"kafka: {}\n" * 100, b"x"])
def test_a_file_that_never_was_a_journal_is_left_where_it_is(tmp_path: Path, contents: bytes) -> None:
    """A wrong `state` costs nobody their file, also not at the second try."""
    path = config(tmp_path)
    (tmp_path / "journal.db").write_bytes(contents)
    for _ in range(2):
        with pytest.raises(StoreError, match="is not a journal of cdc-oncall: is `state` right"):
            start_bot(path, ENVIRON)
    assert {"cdc.yml", "journal.db"} == {each.name for each in tmp_path.iterdir()}
    assert contents == (tmp_path / "journal.db").read_bytes()


def test_a_restore_under_way_keeps_a_bot_from_starting(tmp_path: Path) -> None:
    """It would open the journal that is about to be moved away, and store alerts where nobody looks."""
    path, journal = config(tmp_path), tmp_path / "journal.db"
    Store(journal).close()
    backup(journal, tmp_path / "b.db")
    refused: list[str] = []

    def start_meanwhile(_: Path) -> None:
        with pytest.raises(StoreError) as error:
            start_bot(path, ENVIRON)
        refused.append(str(error.value))

    restored = restore(tmp_path / "b.db", journal, clock(), start_meanwhile)
    assert [True] == ["a restore is under way" in said for said in refused]
    assert restored.aside is not None


def test_a_bot_owns_the_journal_before_it_opens_it(tmp_path: Path) -> None:
    """Made and not yet started, it writes into the file that has the name: no restore can pull it away."""
    path, journal = config(tmp_path), tmp_path / "journal.db"
    Store(journal).close()
    backup(journal, tmp_path / "b.db")
    bot = Bot(open_config(path, ENVIRON), ENVIRON)
    with pytest.raises(StoreError, match="a bot runs on this journal; nothing was restored"):
        restore(tmp_path / "b.db", journal, clock(), lambda _: None)
    bot.start()
    bot.stop()
    assert restore(tmp_path / "b.db", journal, clock(), lambda _: None).aside is not None


def test_a_journal_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    """It is sound: a downgrade must not begin anew beside it."""
    path = config(tmp_path)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as journal:
        journal.execute("PRAGMA user_version = 999")
    with pytest.raises(StoreError, match="newer version"):
        start_bot(path, ENVIRON)
    assert [] == list(tmp_path.glob("*.unreadable-*"))


def test_a_port_in_use_is_named_with_the_setting(tmp_path: Path) -> None:
    """Address, reason and what to change; the journal is let go of."""
    path = config(tmp_path)
    address = re.findall(r"listen: (.*)", path.read_text())[0]
    host, _, port = address.partition(":")
    in_use = pytest.raises(OSError, match="does another bot run here")
    with socket.create_server((host, int(port))), in_use as caught:
        start_bot(path, ENVIRON)
    assert (address, True) == (caught.value.filename, "Change `listen` in" in caught.value.strerror)
