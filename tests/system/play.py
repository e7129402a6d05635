"""`make pipeline`: the whole real pipeline with the bot beside it, to break and to repair by hand.

Starts PostgreSQL, Kafka, Connect, the registry, Prometheus, Alertmanager and the bot on loopback, prints where they
are and a handful of commands to paste, and stays until Ctrl-C or SIGTERM; then everything is stopped.
Windows are seconds instead of minutes: an alert fires within about ten seconds of what caused it.

`make pipeline BOT=no` leaves the bot out: the estate of a team before its first hour with it, to set up by hand.
"""

import argparse
import shlex
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.system import fetch, parts
from tests.system.estate import Estate
from tests.system.fetch import PartMissing
from tests.system.parts import Cluster, PartFailed
from tests.system.pipeline import Pipeline
from tests.system.walk import CDC, Walk

PLAYED = {
    "people": {"responders": ["*"]},
    "alerts": {"connector_failed_for": "2s", "dead_letters_window": "30s"},
}
DEFAULT_PAGE_PORT = 0
BOT_PORT = 8080


def main(arguments: Sequence[str] = ()) -> int:
    """Play until told to stop; 0 when everything was stopped in order, 1 when a part could not be had or started."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.play", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=DEFAULT_PAGE_PORT, help="port of the page; 0 takes a free one")
    parser.add_argument("--without-bot", action="store_true", help="only the estate: you set the bot up yourself")
    chosen = parser.parse_args(arguments)

    gone = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: gone.set())
    folder = parts.scratch_folder()
    started_at = time.monotonic()
    beside = "and a Slack workspace" if chosen.without_bot else "and the bot"
    _say(f"starting PostgreSQL, Kafka, Connect with Debezium, the registry, Prometheus, Alertmanager {beside} ...")
    try:
        cluster = Cluster(fetch.fetch(), folder)
        try:
            cluster.start()
            with _stage(cluster, folder, chosen) as stage:
                stage.pipeline.insert(20)
                took_s = time.monotonic() - started_at
                is_estate = isinstance(stage, Estate)
                print(before_the_bot(stage, took_s) if is_estate else directions(stage, took_s), flush=True)
                gone.wait()
                _say("stopping everything ...")
        finally:
            cluster.stop()
    except (PartMissing, PartFailed) as error:
        _say(f"the pipeline could not be started: {error}")
        return 1
    finally:
        parts.remove_folder(folder)
    _say("stopped")
    return 0


def _stage(cluster: Cluster, folder: Path, chosen: argparse.Namespace) -> Walk | Estate:
    available, pipeline = fetch.fetch(), Pipeline(cluster)
    if chosen.without_bot:
        return Estate(available, folder / "estate", pipeline, page_port=chosen.port, bot_port=BOT_PORT)
    return Walk(available, folder / "play", pipeline, page_port=chosen.port, more=PLAYED)


def before_the_bot(estate: Estate, took_s: float) -> str:
    """Return where the estate is, in the words that the README's first hour uses."""
    cluster, pipeline = estate.pipeline.cluster, estate.pipeline
    exports = "\n  ".join(f"export {name}={shlex.quote(value)}" for name, value in estate.environ.items())
    source = cluster.postgres.url(pipeline.source_database)
    return f"""
Ready after {took_s:.0f} s: the estate of a team that has no bot yet. Do the README's "Your first hour" with these; `cdc` is
in {CDC.parent} already, and the app stands in the workspace, so its steps 1 and 2 are done but for the three exports.

  Kafka                {cluster.kafka.bootstrap}
  Connect              {cluster.connect.url}
  registry             {cluster.registry.ccompat_url}
  Prometheus           {estate.prometheus.url}     scrapes 127.0.0.1:{estate.bot_port}, reads rules from {estate.rules}/*.yml
  Alertmanager         {estate.alertmanager.url}     its file: {estate.alertmanager_yml}
  Slack, played here   {estate.workspace.url}     the app is in #cdc-incidents; its tokens:

  {exports}

  In cdc.yml, under `slack:`, put     api_url: {estate.workspace.api_url}     for it is not slack.com.

  Reload Prometheus        curl -X POST {estate.prometheus.url}/-/reload
  Reload Alertmanager      curl -X POST {estate.alertmanager.url}/-/reload
  A row into the pipeline  psql {source} -c "insert into customers (id, name) select max(id) + 1, 'Ada' from customers"

Ctrl-C stops everything.
"""  # noqa: E501


def directions(walk: Walk, took_s: float) -> str:
    """Return where everything is, and what to paste to break and to repair it."""
    pipeline, cluster = walk.pipeline, walk.pipeline.cluster
    source, sink = cluster.postgres.url(pipeline.source_database), cluster.postgres.url(pipeline.target_database)
    connectors = f"{cluster.connect.url}/connectors"

    def sql(*statements: str) -> str:
        return " ".join([f"psql {source}", *(f'-c "{statement}"' for statement in statements)])

    def rows(count: int) -> str:
        return (
            "insert into customers (id, name, email) select n, 'Customer ' || n, 'c' || n || '@example.com' "
            f"from generate_series((select max(id) from customers) + 1, (select max(id) from customers) + {count}) n"
        )

    tier = "insert into customers (id, name, tier) select max(id) + 1, 'Grace', 'gold' from customers"
    poison = (
        f"{sys.executable} -c \"from confluent_kafka import Producer; p = Producer({{'bootstrap.servers': "
        f"'{cluster.kafka.bootstrap}'}}); [p.produce('{pipeline.topic}', b'not Avro') for _ in range(5)]; p.flush()\""
    )
    return f"""
Ready after {took_s:.0f} s. One row in the first table is a row in the second, a second later.

  the incident room    {walk.oncall.workspace.url}     <- open this one, and break something below
  source table         psql {source}
  target table         psql {sink}
  Kafka                {cluster.kafka.bootstrap}
  Connect              {connectors}
  registry             {cluster.registry.ccompat_url}/subjects
  Prometheus           {walk.prometheus.url}/alerts
  Alertmanager         {walk.oncall.alertmanager.url}
  the bot              {walk.oncall.url}/metrics
  its config           {walk.oncall.config}

In another terminal:

  # something to see: 10 rows
  {sql(rows(10))}

  # break the schema (the source task fails; the thread names subject, field and version) ...
  {sql("alter table customers add column tier text not null default 'basic'", "alter table customers alter column tier drop default", tier)}
  # ... repair it, then press Plan and Run in the thread
  {sql("alter table customers alter column tier set default 'basic'")}

  # fall behind (lag warns over 20 records, pages over 100) ...
  curl -s -X PUT {connectors}/{pipeline.sink_connector}/stop; {sql(rows(200))}
  # ... and catch up, then mark the step done in the thread
  curl -s -X PUT {connectors}/{pipeline.sink_connector}/resume

  # poison the topic (dead letters, masked, by cause) ...
  {poison}
  # ... and let good records prove that it is over
  {sql(rows(50))}

  # the same answers in the terminal
  {CDC} -c {walk.oncall.config} health
  {CDC} -c {walk.oncall.config} lag {pipeline.group}
  {CDC} -c {walk.oncall.config} incidents

Ctrl-C stops everything.
"""  # noqa: E501


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
