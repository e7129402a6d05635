"""Idle memory: what the bot holds in the drill's world when nothing is wrong, its probes running."""

from __future__ import annotations

import time
from pathlib import Path

from bot.drill.world import World
from tests.bench.bots import BotProcess
from tests.bench.table import Row

WITHIN_MB = 150


def measure_memory(folder: Path, idle_s: float) -> list[Row]:
    """Return the row of the resident memory after `idle_s` seconds."""
    with World(folder) as world:
        config = world.config_path.read_text(encoding="utf-8")
        with BotProcess(folder / "bot", world.bot_url, config, world.environ) as bot:
            time.sleep(idle_s)
            resident = bot.process.memory_mb()
    return [
        Row(
            f"resident memory, {idle_s:g} s idle, probes running", f"{resident} MB", "", None, f"< {WITHIN_MB} MB",
            0 < resident < WITHIN_MB,
        )
    ]  # fmt: skip
