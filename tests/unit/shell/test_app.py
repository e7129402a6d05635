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

from bot.app import clock, start_bot
from bot.drill.loopback import free_port
from bot.store.sqlite import StoreError

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


def test_a_journal_that_cannot_be_read_is_kept_and_alerts_are_stored(tmp_path: Path) -> None:
    """A damaged file stops nobody: it is kept beside, a new journal is begun, and /healthz says so."""
    path = config(tmp_path)
    (tmp_path / "journal.db").write_bytes(b"this was a journal once" * 100)
    bot = start_bot(path, ENVIRON)
    try:
        headers = {"Authorization": "Bearer token"}
        assert 200 == requests.post(f"{bot.url}/alertmanager", data=b"{}", headers=headers, timeout=5).status_code
        told = requests.get(f"{bot.url}/healthz", timeout=5).json()["wrong"]
    finally:
        bot.stop()
    kept = list(tmp_path.glob("journal.db.unreadable-*"))
    assert [b"this was a journal once" * 100] == [file.read_bytes() for file in kept]
    assert [f"is kept as {kept[0]}"] == re.findall(r"is kept as [^,]+", " ".join(told))


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
