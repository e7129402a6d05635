"""The exporters that stand beside ours: where they lie, how they are fetched and how they are run.

klag-exporter (Rust) is a Rust crate and takes minutes to build; it wants Debian's libsasl2-dev,
libcurl4-openssl-dev and cmake. kafka_exporter and kminion are Go modules that the module proxy here does not hand out:
their figures were noted on another day, on such a machine (../shared/notes/peers-lag.md), and are marked so.
prometheus-kafka-consumer-group-exporter (PyPI) starts with an old client, but tells of no group: it reads
`__consumer_offsets`, and not what Kafka 4.1 writes there.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import requests

from tests.system.fetch import cache_folder
from tests.system.parts import HOST, Process, free_port

KLAG, KLAG_VERSION = "klag-exporter", "0.1.29"

NOTED_DAY = "noted on another day, not measured in this run"
NOT_AVAILABLE = (
    "not available: the Go module proxy refuses danielqsj/kafka_exporter and redpanda-data/kminion (403)",
    "not usable: prometheus-kafka-consumer-group-exporter 0.5.5 cannot parse the commits of Kafka 4.1 (version 4)",
)
NOTED_KMINION_S = 0.165
NOTED_KAFKA_EXPORTER_S = 1.9


def klag_program() -> Path:
    return cache_folder() / "peers" / f"{KLAG}-{KLAG_VERSION}" / "bin" / KLAG


def build_peers() -> None:
    """Build what is missing. Raises subprocess.CalledProcessError when that fails."""
    if not klag_program().is_file():
        cargo = shutil.which("cargo")
        if cargo is None:
            raise RuntimeError(f"{KLAG} is not built: there is no cargo here")
        subprocess.run(
            [cargo, "install", "--quiet", KLAG, "--version", KLAG_VERSION, "--root", klag_program().parents[1]],
            check=True,
        )


class Klag:
    """klag-exporter over all groups, each partition a series; `url` is where it is scraped."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}/metrics"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.toml"
        config.write_text(f"""\
[exporter]
poll_interval = "5s"
http_port = {port}
http_host = "{HOST}"
granularity = "partition"
[exporter.timestamp_sampling]
enabled = true
[exporter.otel]
enabled = false
[[clusters]]
name = "bench"
bootstrap_servers = "{bootstrap}"
group_whitelist = [".*"]
group_blacklist = []
topic_whitelist = [".*"]
topic_blacklist = ["^__.*"]
""")
        self.process = Process(KLAG, [klag_program(), "-c", config, "-l", "warn"], folder)


def wait_for_series(peer: Klag, name: str, count: int, deadline_s: float = 60.0) -> None:
    """Wait until the peer tells `count` series of a name."""

    def tells_all() -> bool:
        text = requests.get(peer.url, timeout=30).text
        return sum(line.startswith(name + "{") for line in text.splitlines()) >= count

    peer.process.wait_ready(tells_all, deadline_s)
