"""The drill world: every part around the bot, started together and wired by one cdc.yml.

    with World(work_dir) as world:
        bot = start_bot(world.config_path, world.environ)

The bot's port is chosen here and written to cdc.yml, because Slack and Alertmanager must
know it before the bot exists. Secrets are made up per world and given in `environ`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import requests
from confluent_kafka import KafkaException

from bot.drill.alertmanager import Alertmanager, Webhook
from bot.drill.alerts import AlertRules, Watched
from bot.drill.connect import ConnectWorker
from bot.drill.connectors import SINK, SOURCE, SinkTask, SourceTask
from bot.drill.database import Column, Database
from bot.drill.jobs import Job
from bot.drill.kafka import MockBrokers
from bot.drill.lake import Lake
from bot.drill.loopback import LoopbackServer, free_port
from bot.drill.registry import SchemaRegistry
from bot.drill.workspace import OWNERS, SlackWorkspace

PIPELINE, TOPIC, DLQ, TABLE = "customers", "customers", "dlq.customers", "lake.customers"
JOB, JOB_GROUP, SINK_GROUP = "customers-canonical", "customers_canonical_flink", f"connect-{SINK}"
FIRST_ROWS = 400
SHOP_ROWS_PER_S = 6.0
READY_S = 15.0
FLOWS_WITHIN_S, FLOWS_LAG_RECORDS = 3.0, 1000
COLUMNS = (Column("id", "integer"), Column("email", "text"), Column("name", "text"))


@dataclass(frozen=True)
class Places:
    """Where every part listens."""

    bot: str
    page: str
    slack_api: str
    kafka: str
    registry: str
    connect: str
    alertmanager: str
    database: str
    lake: str
    jobs: str


def config_text(places: Places) -> str:
    """The cdc.yml of the drill: the whole pipeline, both actions enabled, short times."""
    return f"""\
# Written by `cdc drill`: the customers pipeline of the local drill world.
listen: {places.bot.removeprefix("http://")}
environment: drill
state: ./cdc-oncall.db
kafka: {{bootstrap: "{places.kafka}"}}
registry: {{url: "{places.registry}"}}
connect: {{url: "{places.connect}"}}
alertmanager:
  url: {places.alertmanager}
  tokens: ["${{CDC_WEBHOOK_TOKEN}}"]
slack:
  bot_token: ${{SLACK_BOT_TOKEN}}
  signing_secret: ${{SLACK_SIGNING_SECRET}}
  api_url: {places.slack_api}
  channel: "#cdc-incidents"
people:
  responders: [U01ALICE, U02BOB]
  approvers: [U02BOB]
actions: [restart_failed_tasks, silence_alerts]
incidents: {{reopen_within: 10m, settle: 2s, recheck: 2s}}
probes: {{deadline: 4s}}
lag: {{sample_every: 2s}}
pipelines:
  {PIPELINE}:
    owner: {OWNERS}
    channel: "#cdc-incidents"
    source: {{connector: {SOURCE}}}
    topics: [{TOPIC}]
    subjects: [customers-value, customers-key]
    consumers:
      - {{group: {JOB_GROUP}, kind: flink, job: {JOB}, topics: [{TOPIC}]}}
      - {{group: {SINK_GROUP}, kind: connect-sink, topics: [{TOPIC}]}}
    sink: {{connector: {SINK}, table: {TABLE}, dlq: {DLQ}}}
    objective: {{dead_letters_per_day: 0.1%, lag: {{warn: 10000 for 5m, page: 100000 for 15m}}}}
"""


class World:
    """Every part of the drill; `start` returns when records flow from the table to the lake."""

    def __init__(self, work_dir: Path, *, port: int = 0, manifest: Path | None = None) -> None:
        self.work_dir = work_dir
        self.bot_url = f"http://127.0.0.1:{free_port()}"
        self.token = secrets.token_hex(16)
        bot_token, signing_secret = f"xoxb-drill-{secrets.token_hex(12)}", secrets.token_hex(16)
        self.environ: Mapping[str, str] = {
            "SLACK_BOT_TOKEN": bot_token,
            "SLACK_SIGNING_SECRET": signing_secret,
            "CDC_WEBHOOK_TOKEN": self.token,
        }
        self.workspace = SlackWorkspace(
            token=bot_token, signing_secret=signing_secret, manifest=manifest, port=port, reader_tokens=[self.token]
        )
        self.workspace.connect_app(f"{self.bot_url}/slack/events")
        self.brokers = MockBrokers()
        self.registry = SchemaRegistry("BACKWARD")
        self.database = Database("customers", COLUMNS)
        self.lake = Lake(TABLE)
        self.job = Job(JOB, self.brokers, JOB_GROUP, TOPIC)
        self._estate = LoopbackServer(
            "pipeline parts",
            [*self.database.routes("/database"), *self.lake.routes("/lake"), *self.job.routes("/jobs")],
        )
        self.connect = ConnectWorker("drill-mock-cluster")
        self.alertmanager = Alertmanager(Webhook(f"{self.bot_url}/alertmanager", self.token))
        watched = Watched(PIPELINE, TOPIC, DLQ, (JOB_GROUP, SINK_GROUP))
        self.alert_rules = AlertRules(watched, self.brokers, self.registry, self.connect, self.alertmanager.url)
        self.places = Places(
            bot=self.bot_url,
            page=self.workspace.url,
            slack_api=self.workspace.api_url,
            kafka=self.brokers.bootstrap,
            registry=self.registry.url,
            connect=self.connect.url,
            alertmanager=self.alertmanager.url,
            database=f"{self._estate.url}/database/tables/customers",
            lake=f"{self._estate.url}/lake/tables/{TABLE}",
            jobs=f"{self._estate.url}/jobs",
        )
        self.config_path = work_dir / "cdc.yml"

    def __enter__(self) -> World:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> World:
        """Start every part; raises RuntimeError when records do not flow within 15 s."""
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(config_text(self.places), encoding="utf-8")
        self.workspace.start()
        self.registry.start()
        self._estate.start()
        self.brokers.create((TOPIC, DLQ))
        self.database.insert_many(FIRST_ROWS)
        self.connect.start()
        self._create_connectors()
        self.job.start()
        self._wait_for_flow()
        self.database.open_shop(SHOP_ROWS_PER_S)
        self.alertmanager.start()
        self.alert_rules.start()
        return self

    def stop(self) -> None:
        """End every part: first what watches and moves records, then what they stand on; twice does nothing."""
        self.alert_rules.stop()
        movers = (self.alertmanager.stop, self.database.close, self.job.stop, self.connect.stop, self.workspace.stop)
        with ThreadPoolExecutor(len(movers)) as pool:
            for wave in (movers, (self._estate.stop, self.registry.stop)):
                for ending in [pool.submit(stop) for stop in wave]:
                    ending.result()
        self.brokers.stop()

    def flows(self) -> bool:
        """Whether everything runs and the lake took rows within the last 3 s, asked over the parts' own APIs.

        A part that does not answer does not flow.
        """
        try:
            return self._flows()
        except (requests.RequestException, KafkaException):
            return False

    def _flows(self) -> bool:
        statuses = requests.get(f"{self.places.connect}/connectors?expand=status", timeout=5).json()
        states = {
            part["state"] for one in statuses.values() for part in (one["status"]["connector"], *one["status"]["tasks"])
        }
        lake = requests.get(self.places.lake, timeout=5).json()
        job = requests.get(f"{self.places.jobs}/{JOB}", timeout=5).json()
        behind = self.brokers.lag(JOB_GROUP, TOPIC).lag_records
        fresh = lake["committed_at_s"] is not None and time.time() - float(lake["committed_at_s"]) < FLOWS_WITHIN_S
        return states == {"RUNNING"} and job["state"] == "RUNNING" and behind < FLOWS_LAG_RECORDS and fresh

    def _create_connectors(self) -> None:
        avro = {
            "value.converter": "io.confluent.connect.avro.AvroConverter",
            "value.converter.schema.registry.url": self.registry.url,
            "tasks.max": "1",
        }
        self.connect.add(
            SOURCE,
            "source",
            {
                "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
                "database.dbname": "shop",
                "table.include.list": "public.customers",
                "topic.prefix": "shop",
                **avro,
            },
            SourceTask(self.database, self.brokers, self.registry.url, TOPIC),
            (TOPIC,),
        )
        self.connect.add(
            SINK,
            "sink",
            {
                "connector.class": "org.apache.iceberg.connect.IcebergSinkConnector",
                "topics": TOPIC,
                "iceberg.tables": TABLE,
                "errors.tolerance": "all",
                "errors.deadletterqueue.topic.name": DLQ,
                "errors.deadletterqueue.context.headers.enable": "true",
                "errors.deadletterqueue.topic.replication.factor": "1",
                **avro,
            },
            SinkTask(self.brokers, self.registry.url, self.places.lake, topic=TOPIC, dlq=DLQ),
            (TOPIC,),
        )

    def _wait_for_flow(self) -> None:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            lag = self.brokers.lag(JOB_GROUP, TOPIC)
            if self.lake.document()["rows"] >= FIRST_ROWS and lag.lag_records == 0 and lag.committed_records:
                return
            time.sleep(0.05)
        states = self.connect.states()
        self.stop()
        raise RuntimeError(f"the drill world did not start within {READY_S:.0f} s: connectors are {states}")
