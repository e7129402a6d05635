"""The bot's `/metrics` and its rules in a real Prometheus: real lag, each edge with seconds for minutes, real loss.

One Kafka of this file's own, which the last test stops; groups that commit without being members, as Flink does.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from tests.system.fetch import Available
from tests.system.parts import HOST, Kafka, Prometheus, wait_until
from tests.system.pipeline import prometheus_config
from tests.system.walk import CDC, SHORT, OnCall, without_pipeline

GROUPS = ("edge", "lost", "still")
ODD = 'a"b\\c\nd e{f="g"} é 日本'
LAG = {"warn": "10000 for 5s", "page": "100000 for 15s"}


class Scene:
    """Kafka, the bot that samples it each second, and the Prometheus that scrapes the bot and runs its rules."""

    def __init__(self, available: Available, folder: Path, kafka: Kafka, new_oncall: Callable[..., OnCall]) -> None:
        self.kafka, self._admin = kafka, kafka.admin()
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5, "log_level": 0})
        topics = [NewTopic(name, 3, 1) for name in (*GROUPS, "odd")]
        for future in self._admin.create_topics(topics).values():
            future.result(30)
        for group in GROUPS:
            self.commit(group, group, {0: 0, 1: 0, 2: 0})
        self.commit(ODD, "odd", {0: 0})
        self.oncall = new_oncall("metrics", self._write_config)
        rules = folder / "metrics-rules.yml"
        rules.write_text(self.oncall.cdc("rules").stdout)
        self.config = prometheus_config(f"{self.oncall.url}/metrics", rules, self.oncall.alertmanager.url)
        self.prometheus = Prometheus(available, folder / "metrics-prometheus", self.config)

    def stop(self) -> None:
        self.prometheus.stop()
        self.oncall.stop()

    def _write_config(self, path: Path, oncall: OnCall) -> None:
        without_pipeline(path, oncall)
        document = yaml.safe_load(path.read_text())
        document |= {
            "kafka": {"bootstrap": self.kafka.bootstrap},
            "probes": {"interval": "1s", "deadline": "5s"},
            "lag": {"sample_every": "1s", "watch": "all", "kafka_exporter_names": True},
            "alerts": {**SHORT["alerts"], "stopped_for": "3s", "stopped_page_for": "6s", "blind_for": "3s"},
            "pipelines": {
                group: {
                    "channel": "#cdc-incidents",
                    "topics": [group],
                    "consumers": [{"group": group, "commit_interval": "1s"}],
                    "objective": {"lag": LAG},
                }
                for group in GROUPS
            },
        }
        path.write_text(yaml.safe_dump(document))

    # --- what happens to a group ---

    def produce(self, topic: str, records: int, partition: int = 0) -> None:
        for number in range(records):
            if number % 50_000 == 0:
                self._producer.flush(30)
            self._producer.produce(topic, b"%d" % number, partition=partition)
        assert 0 == self._producer.flush(30)

    def commit(self, group: str, topic: str, offsets: dict[int, int]) -> None:
        settings = {"bootstrap.servers": self.kafka.bootstrap, "group.id": group, "enable.auto.commit": False}
        consumer = Consumer(settings)
        places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        try:
            consumer.commit(offsets=places, asynchronous=False)
        finally:
            consumer.close()

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        places = [TopicPartition(topic, partition, offset)]
        for future in self._admin.delete_records(places).values():
            future.result(30)

    # --- what Prometheus knows ---

    def value(self, expression: str) -> float | None:
        """Return the one value of an expression, None where there is none."""
        found = self.prometheus.query(expression)
        assert len(found) < 2, found
        return float(found[0]["value"][1]) if found else None

    def wait_for(self, expression: str, value: float | None, deadline_s: float = 30.0) -> None:
        wait_until(lambda: self.value(expression) == value, f"{expression} == {value}", deadline_s)

    def wait_firing(self, alert: str, group: str, deadline_s: float = 40.0) -> dict[str, Any]:
        """Return the firing alert of a group."""

        def firing() -> dict[str, Any] | None:
            return next((each for each in self.alerts(group) if each["labels"]["alertname"] == alert
                         and each["state"] == "firing"), None)  # fmt: skip

        found = wait_until(firing, f"{alert} of {group} fires", deadline_s)
        assert found is not None
        return found

    def alerts(self, group: str) -> list[dict[str, Any]]:
        """Return what pends or fires for a pipeline."""
        return [alert for alert in self.prometheus.alerts() if alert["labels"].get("pipeline") == group]

    def pended_s(self, alert: str, group: str) -> float:
        """Return how long an alert was pending before it fired, by Prometheus' own samples."""
        since = dict[str, float]()
        for series in self.prometheus.query(f'ALERTS{{alertname="{alert}",pipeline="{group}"}}[5m]'):
            since[series["metric"]["alertstate"]] = float(series["values"][0][0])
        return since["firing"] - since["pending"]


@pytest.fixture(scope="module")
def scene(available: Available, scratch: Path, new_oncall: Callable[..., OnCall]) -> Iterator[Scene]:
    for part in ("java", "kafka", "prometheus"):
        available.place(part)
    with Kafka(available, scratch / "metrics-kafka") as kafka:
        scene = Scene(available, scratch, kafka, new_oncall)
        yield scene
        scene.stop()


def test_lag_of_real_kafka_fires_on_each_side_of_each_edge(scene: Scene) -> None:
    """10,000 is not over 10,000, 10,001 warns after 5 s; 100,000 does not page, 100,001 pages after 15 s; 0 ends it."""
    lag = 'sum(cdc_consumergroup_lag{pipeline="edge",group="edge"})'

    def lag_alerts() -> set[tuple[str, str]]:
        names = [(alert["labels"]["alertname"], alert["state"]) for alert in scene.alerts("edge")]
        return {each for each in names if each[0].startswith("CDCConsumerLag")}

    scene.produce("edge", 6_000, partition=0)
    scene.produce("edge", 4_000, partition=2)
    scene.wait_for(lag, 10_000)
    scene.wait_for(f"min_over_time({lag}[7s:1s]) == bool 10000", 1)
    assert set() == lag_alerts()

    scene.produce("edge", 1, partition=1)
    warned = scene.wait_firing("CDCConsumerLagWarning", "edge")
    assert {
        "alertname": "CDCConsumerLagWarning",
        "pipeline": "edge",
        "consumergroup": "edge",
        "severity": "warning",
    } == warned["labels"]
    assert 5 <= scene.pended_s("CDCConsumerLagWarning", "edge") < 8

    scene.produce("edge", 89_999, partition=1)
    scene.wait_for(lag, 100_000)
    scene.wait_for(f"min_over_time({lag}[7s:1s]) == bool 100000", 1)
    assert {("CDCConsumerLagWarning", "firing")} == lag_alerts()

    scene.produce("edge", 1, partition=1)
    paged = scene.wait_firing("CDCConsumerLagCritical", "edge")
    assert "critical" == paged["labels"]["severity"]
    assert "edge: edge is 100001 records behind" == paged["annotations"]["summary"]
    assert 15 <= scene.pended_s("CDCConsumerLagCritical", "edge") < 18

    scene.commit("edge", "edge", {0: 6_000, 1: 90_001, 2: 4_000})
    scene.wait_for(lag, 0)
    wait_until(lambda: not lag_alerts(), "the lag alerts ended")


def test_the_names_of_kafka_exporter_say_the_same(scene: Scene) -> None:
    """What a dashboard of kafka_exporter queries has its answer, per partition and as a sum, without doubling."""
    scene.commit("edge", "edge", {0: 5_990, 1: 90_001, 2: 4_000})
    scene.wait_for('sum by (consumergroup) (kafka_consumergroup_lag{consumergroup="edge"})', 10)

    for expression, value in (
        ('kafka_consumergroup_lag{consumergroup="edge",topic="edge",partition="0"}', 10),
        ('kafka_consumergroup_lag_sum{consumergroup="edge",topic="edge"}', 10),
        ('kafka_consumergroup_current_offset{consumergroup="edge",topic="edge",partition="0"}', 5_990),
        ('kafka_topic_partition_current_offset{topic="edge",partition="0"}', 6_000),
        ('kafka_topic_partition_oldest_offset{topic="edge",partition="0"}', 0),
        ('kafka_consumergroup_members{consumergroup="edge"}', 0),
        ('count(cdc_consumergroup_verdict{group="edge"})', 1),
        ('cdc_consumergroup_unknown_partitions{group="edge"}', 0),
        ('time() - cdc_consumergroup_sampled_timestamp_seconds{group="edge"} < bool 10', 1),
    ):
        assert value == scene.value(expression), expression


def test_a_group_of_any_name_is_scraped(scene: Scene) -> None:
    """Quotes, a backslash, a line break: one group's name does not cost the scrape; it has no pipeline and no alert."""
    scene.produce("odd", 7)
    name = json.dumps(ODD, ensure_ascii=False)

    scene.wait_for(f"sum(cdc_consumergroup_lag{{group={name}}})", 7)
    scene.wait_for(f'kafka_consumergroup_lag{{consumergroup={name},partition="0"}}', 7)
    assert 0 == scene.value(f"count(cdc_consumergroup_lag{{group={name},pipeline!=''}}) or vector(0)")
    assert 1 == scene.value('up{job="cdc-oncall"}')
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=requests.get(f"{scene.oncall.url}/metrics", timeout=10).content,
        capture_output=True,
        check=False,
    )
    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)


def test_a_group_that_stops_warns_then_pages_however_little_it_is(scene: Scene) -> None:
    """Three records and no commit: no lag rule would ever fire. The description names the verdict."""
    for offset in range(1, 4):
        scene.produce("still", 1)
        scene.commit("still", "still", {0: offset})
        time.sleep(1.1)
    scene.produce("still", 3)

    warned = scene.wait_firing("CDCConsumerStoppedWarning", "still", deadline_s=90)
    assert "still" == warned["labels"]["consumergroup"]
    assert warned["annotations"]["description"].startswith("STOPPED: ")
    paged = scene.wait_firing("CDCConsumerStoppedCritical", "still")
    assert "critical" == paged["labels"]["severity"]
    assert 3 <= scene.pended_s("CDCConsumerStoppedWarning", "still") < 6
    assert 6 <= scene.pended_s("CDCConsumerStoppedCritical", "still") < 9
    age_s = scene.value('cdc_consumergroup_time_lag_seconds{group="still"}')
    assert age_s is not None
    assert 6 <= age_s < 120

    scene.commit("still", "still", {0: 6})
    wait_until(lambda: not scene.alerts("still"), "a group that has read all is told of no more")
    for name in ("time_lag_seconds", "drain_seconds", "unknown_partitions"):
        assert 0 == scene.value(f'cdc_consumergroup_{name}{{group="still"}}')


def test_lost_data_pages_at_once(scene: Scene) -> None:
    """Records deleted below the commit, and a group that has jumped over the hole a moment later."""
    scene.produce("lost", 100)
    scene.commit("lost", "lost", {0: 10})
    scene.delete_before("lost", 0, 60)
    scene.wait_for('cdc_consumergroup_verdict{pipeline="lost",verdict="DATA_LOST"}', 1)
    scene.commit("lost", "lost", {0: 100})

    paged = scene.wait_firing("CDCDataLost", "lost")
    assert ("critical", "lost") == (paged["labels"]["severity"], paged["labels"]["consumergroup"])
    scene.wait_for('cdc_consumergroup_verdict{pipeline="lost",verdict="DATA_LOST"}', None)
    scene.wait_firing("CDCDataLost", "lost")


class OtherExporter:
    """What a kafka_exporter's page looks like, over HTTP."""

    def __init__(self) -> None:
        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(b'kafka_consumergroup_lag{consumergroup="edge",topic="edge",partition="0"} 10\n')

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), Page)
        self.address = f"{HOST}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def exporter_lines(scene: Scene, names: bool) -> list[tuple[str, str, str]]:
    """Return what `cdc doctor` says of kafka_exporter's names."""
    document = yaml.safe_load(scene.oncall.config.read_text())
    document["prometheus"] = {"url": scene.prometheus.url}
    document["lag"]["kafka_exporter_names"] = names
    config = scene.oncall.config.with_name("doctor.yml")
    config.write_text(yaml.safe_dump(document))
    command = [str(CDC), "-c", str(config), "doctor", "--json", "--fail-on", "never"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=scene.oncall.environ, check=True)
    lines = [line for line in json.loads(done.stdout) if line["part"] == "prometheus"]
    assert any(line["what"].startswith("scrapes ") for line in lines), lines
    return [(line["status"], line["what"], line["remedy"]) for line in lines if "kafka_exporter" in line["what"]]


def test_the_doctor_sees_another_job_with_the_same_names(scene: Scene) -> None:
    """Both are scraped and every sum doubles: a warning with the remedy. Alone: ok. Off: nothing."""
    wait_until(lambda: (scene.value("count(kafka_consumergroup_lag)") or 0) > 0, "the bot is scraped")
    assert ["ok"] == [status for status, _, _ in exporter_lines(scene, names=True)]

    other = OtherExporter()
    document = yaml.safe_load(scene.config)
    document["scrape_configs"].append({"job_name": "kafka-exporter", "static_configs": [{"targets": [other.address]}]})
    try:
        scene.prometheus.reload(yaml.safe_dump(document))
        scene.wait_for('count(kafka_consumergroup_lag{job="kafka-exporter"})', 1)
        # The doctor asks for a moment by Prometheus' clock, known to the second: the first scrape may be after it.
        wait_until(lambda: exporter_lines(scene, names=True)[0][0] == "warning", "the doctor's warning")
        [(_, what, remedy)] = exporter_lines(scene, names=True)
        assert f"job kafka-exporter ({other.address}) exports kafka_exporter's names as the bot does" in what
        assert "kafka_exporter_names: false" in remedy
        assert [] == exporter_lines(scene, names=False)
    finally:
        scene.prometheus.reload(scene.config)
        other.stop()


def test_a_broker_that_is_gone_is_told_as_blind_and_leaves_no_number(scene: Scene) -> None:
    """The last one, for it takes the broker away: no lag is shown, no lag alert fires or ends as recovered by a 0."""
    scene.wait_for('count(cdc_consumergroup_lag{pipeline="edge"})', 3)
    scene.kafka.stop()

    scene.wait_for('cdc_probe_up{pipeline="edge",probe="consumer_lag"}', 0, deadline_s=60)
    blind = scene.wait_firing("CDCProbeBlind", "edge")
    assert {"alertname": "CDCProbeBlind", "pipeline": "edge", "probe": "consumer_lag", "severity": "warning"} == blind[
        "labels"
    ]
    scene.wait_for('count(cdc_consumergroup_lag{pipeline="edge"})', None)
    scene.wait_for('count(kafka_consumergroup_lag{consumergroup="edge",job="cdc-oncall"})', None)
    scene.wait_for('cdc_consumergroup_verdict{pipeline="edge",verdict="UNKNOWN"}', 1)
    page = requests.get(f"{scene.oncall.url}/metrics", timeout=10).text
    assert "NaN" not in page
    assert " -1" not in page
