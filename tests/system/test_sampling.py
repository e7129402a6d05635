"""The sampler on real Kafka: what a bot learned of a group outlives `kill -9`, and a rewind is a new beginning.

The bot is `cdc serve` as a process; what it knows is asked as a terminal asks, through its samples, and by `/metrics`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from bot.app import track_beside_bot
from bot.drill.loopback import free_port
from bot.lag.track import GroupTrack, PartitionTrack
from bot.store.sample_format import samples_beside
from tests.system.lag_lab import Lab, Rate
from tests.system.parts import Kafka, wait_until
from tests.system.walk import BotProcess

CONFIG = """\
listen: 127.0.0.1:{port}
state: ./cdc-oncall.db
kafka: {{bootstrap: "{bootstrap}"}}
probes: {{interval: 1d}}
lag: {{sample_every: 1s, groups: [{billing}]}}
pipelines:
  sampled:
    owner: "@data"
    channel: "#cdc"
    topics: [{topic}]
    consumers: [{{group: {group}}}]
"""
GROUP, BILLING, TOPIC = "sampling-reader", "sampling-billing", "sampling-orders"


@dataclass
class Running:
    """The bot and its group, which commits 20 of 40 records a second."""

    lab: Lab
    reader: Rate
    bot: BotProcess
    url: str
    journal: Path

    def track(self, group: str = GROUP) -> GroupTrack | None:
        return track_beside_bot(self.journal, group)

    def reads(self, count: int, group: str = GROUP) -> GroupTrack:
        """Wait until the bot has so many samples of the group that its rates are known."""

        def has() -> GroupTrack | None:
            track = self.track(group)
            return track if track is not None and len(track.steps) >= min(count, 8) and track.total.consumed else None

        found = wait_until(has, f"{count} samples of {group}", 20.0)
        assert found is not None
        return found

    def metrics(self) -> str:
        return requests.get(f"{self.url}/metrics", timeout=5).text


@pytest.fixture
def running(kafka: Kafka, tmp_path: Path) -> Iterator[Running]:
    port = free_port()
    with Lab(kafka.bootstrap) as lab:
        lab.topic(TOPIC, partitions=2)
        lab.produce_at(TOPIC, 40)
        reader = lab.commit_at(GROUP, TOPIC, 20)
        lab.committer(BILLING)(TOPIC, {0: 0, 1: 0})
        config = tmp_path / "cdc.yml"
        config.write_text(
            CONFIG.format(port=port, bootstrap=kafka.bootstrap, topic=TOPIC, group=GROUP, billing=BILLING)
        )
        bot = BotProcess(config, f"http://127.0.0.1:{port}", dict(os.environ))
        try:
            yield Running(lab, reader, bot, f"http://127.0.0.1:{port}", tmp_path / "cdc-oncall.db")
        finally:
            bot.stop()


def test_what_was_learned_outlives_kill_9(running: Running) -> None:
    """The next process goes on from the samples of the killed one; the pause between them makes no false rate.

    A group named beside the pipelines is sampled too. A rewind makes a new baseline: no rate spans it.
    """
    before = running.reads(6)
    assert before.total.consumed > 0
    assert running.track(BILLING) is not None
    assert "0o600" == oct(samples_beside(running.journal).stat().st_mode & 0o777)

    os.kill(running.bot.process.pid, 9)
    wait_until(lambda: not is_up(running.url), "the bot is gone")
    killed = running.track()
    assert killed is not None
    running.bot.start()
    after = wait_until(lambda: newer(running.track(), killed), "a sample after the restart", 15.0)
    assert after is not None
    assert after.total.consumed > killed.total.consumed >= before.total.consumed
    first = next(one for one in before.partitions if one is not None)
    assert first.first_s == next(one for one in after.partitions if one is not None).first_s
    # From its first pass on the new process knows what the old one had learned.
    page = wait_until(
        lambda: text if f'{GROUP}"' in (text := running.metrics()) else "", "metrics of the new process", 15.0
    )
    rates = [line for line in page.splitlines() if line.startswith("cdc_consumergroup_consumed_records_per_second{")]
    assert [True] == [5 < float(line.rsplit(" ", 1)[1]) < 60 for line in rates if GROUP in line]
    assert f'group="{BILLING}"' in page

    running.reader.stop()
    running.lab.committer(GROUP)(TOPIC, {0: 1})
    rewound = wait_until(lambda: rewinds(running.track()), "the rewind is sampled", 15.0)
    assert [1] == [one.committed for one in rewound]
    assert [(1,)] == [tuple(point.committed for point in one.points) for one in rewound]
    wait_until(lambda: f'group="{GROUP}",verdict="REWOUND"' in running.metrics(), "the rewind is told", 10.0)
    health = requests.get(f"{running.url}/healthz", timeout=5).json()
    assert [] == [line for line in health["wrong"] if "sample" in line]


def is_up(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=1).ok
    except requests.RequestException:
        return False


def newer(track: GroupTrack | None, than: GroupTrack) -> GroupTrack | None:
    return track if track is not None and track.total.consumed > than.total.consumed else None


def rewinds(track: GroupTrack | None) -> list[PartitionTrack]:
    return [one for one in (track.partitions if track else ()) if one is not None and one.rewind is not None]
