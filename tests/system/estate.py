"""A team's estate before the bot: the real pipeline, a Prometheus, an Alertmanager with a pager, an empty workspace.

What the README's first hour starts from. Nothing here knows the bot but by what its reader would do: the scrape job
and the folder for rules are there, the pager's route is there, the app is created in the workspace and its tokens are
in `environ`. The bot's config, its process and Alertmanager's route to it are the reader's.
"""

import contextlib
import secrets
from pathlib import Path
from types import TracebackType

import yaml

from bot.drill.loopback import Answer, Call, LoopbackServer, route
from bot.drill.workspace import SlackWorkspace
from tests.system.fetch import Available
from tests.system.parts import Alertmanager, Prometheus, free_port
from tests.system.pipeline import Pipeline
from tests.system.walk import MANIFEST, Channel


class Pager:
    """What rings: it keeps the names of the alerts that Alertmanager sent it."""

    def __init__(self) -> None:
        self.rang: list[str] = []
        self._server = LoopbackServer("pager", [route("POST", "/ring", self._ring)])
        self.url = f"{self._server.url}/ring"
        self._server.start()
        self.stop = self._server.stop

    def _ring(self, call: Call) -> Answer:
        self.rang += [alert["labels"]["alertname"] for alert in call.document()["alerts"]]
        return Answer(200, {})

    def alertmanager_yml(self) -> str:
        """The configuration of a team with a pager and no bot."""
        return yaml.safe_dump(
            {
                "route": {
                    "receiver": "pager",
                    "group_by": ["alertname", "pipeline"],
                    "group_wait": "2s",
                    "group_interval": "5s",
                },
                "receivers": [{"name": "pager", "webhook_configs": [{"url": self.url}]}],
            },
            sort_keys=False,
        )


class Estate:
    """Everything of the team on loopback; `bot_port` is where its Prometheus expects the bot."""

    def __init__(
        self, available: Available, folder: Path, pipeline: Pipeline, *, page_port: int = 0, bot_port: int = 0
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.pipeline = pipeline
        self.bot_port = bot_port or free_port()
        self.rules = folder / "rules"
        self.rules.mkdir()
        self.environ = {
            "SLACK_BOT_TOKEN": f"xoxb-{secrets.token_hex(8)}",
            "SLACK_APP_TOKEN": f"xapp-1-A0CDCONCALL-{secrets.token_hex(8)}",
            "CDC_WEBHOOK_TOKEN": secrets.token_hex(8),
        }
        with contextlib.ExitStack() as stack:
            self.workspace = SlackWorkspace(
                token=self.environ["SLACK_BOT_TOKEN"],
                app_token=self.environ["SLACK_APP_TOKEN"],
                signing_secret=secrets.token_hex(8),
                manifest=MANIFEST,
                port=page_port,
            ).start()
            stack.callback(self.workspace.stop)
            self.channel = Channel(self.workspace.url)
            self.pager = Pager()
            stack.callback(self.pager.stop)
            self.alertmanager = Alertmanager(available, folder / "alertmanager", self.pager.alertmanager_yml())
            stack.callback(self.alertmanager.stop)
            self.alertmanager_yml = folder / "alertmanager" / "alertmanager.yml"
            self.prometheus = Prometheus(available, folder / "prometheus", self._prometheus_yml())
            stack.callback(self.prometheus.stop)
            pipeline.create()
            self._stack = stack.pop_all()

    def stop(self) -> None:
        self._stack.close()

    def __enter__(self) -> "Estate":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _prometheus_yml(self) -> str:
        alertmanager = self.alertmanager.url.removeprefix("http://")
        return yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                "rule_files": [f"{self.rules}/*.yml"],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
                "scrape_configs": [
                    {"job_name": "cdc-oncall", "static_configs": [{"targets": [f"127.0.0.1:{self.bot_port}"]}]}
                ],
            },
            sort_keys=False,
        )
