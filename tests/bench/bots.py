"""The bot as the bench runs it: `cdc -c cdc.yml serve`, a process of its own, on a config given as text."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import requests

from tests.system.parts import Process

CDC = Path(sys.executable).with_name("cdc")


class BotProcess:
    """One bot in its own folder; made when its health page answers. Raises PartFailed with the end of its log."""

    def __init__(self, folder: Path, url: str, config: str, environ: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "cdc.yml"
        path.write_text(config, encoding="utf-8")
        self.url = url
        self.journal = folder / "cdc-oncall.db"
        self.process = Process("cdc-oncall", [CDC, "-c", path, "serve"], folder, environ)
        self.process.wait_ready(lambda: requests.get(f"{url}/healthz", timeout=5).ok, deadline_s=30)

    def __enter__(self) -> BotProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.stop(grace_s=20)
