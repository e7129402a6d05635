"""The real parts by themselves: the pipeline delivers, and each of the user's failures is really made and really cured.

No bot here. What the walks and the unit tests rely on is proved first, and the parts' answers are kept in `recorded/`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from bot.config import load
from tests.system.fetch import Available, PartMissing
from tests.system.parts import (
    Alertmanager,
    Chromium,
    Connect,
    Kafka,
    NotInTime,
    PartFailed,
    Process,
    Prometheus,
    wait_until,
)
from tests.system.pipeline import Pipeline, Record, alertmanager_config, cdc_yml, prometheus_config
from tests.system.recording import differences_in_shape, keep, keep_answer

NewPipeline = Callable[..., Pipeline]


def test_rows_arrive_end_to_end(pipeline: Pipeline) -> None:
    """A row inserted in the source database is in the target database, and the sink's lag returns to 0."""
    ids = pipeline.insert(500)
    pipeline.wait_for_rows(pipeline.rows_in_source())
    row = pipeline.in_target(f"select name, email, credit_limit from customers where id = {ids[-1]}")

    assert [(f"Customer {ids[-1]}", f"customer{ids[-1]}@example.com", ids[-1] * 100)] == row
    wait_until(lambda: pipeline.lag() == {0: 0, 1: 0}, "lag 0 on both partitions")
    assert {0: "RUNNING"} == pipeline.task_states(pipeline.source_connector)
    assert {0: "RUNNING"} == pipeline.task_states(pipeline.sink_connector)
    _keep_connectors("connect-connectors-running", pipeline)
    _keep_offsets_of_source(pipeline)


def test_an_update_and_a_delete_arrive(new_pipeline: NewPipeline) -> None:
    """The target follows the source: a changed row is changed, a deleted row is gone."""
    hr = new_pipeline("hr")
    hr.insert(2)
    hr.wait_for_rows(3)
    hr.in_source("update customers set name = 'Grace' where id = 2")
    hr.in_source("delete from customers where id = 3")

    wait_until(
        lambda: hr.in_target("select id, name from customers order by id") == [(1, "Customer 1"), (2, "Grace")],
        "the change and the deletion",
    )


def test_reading_creates_no_topic(kafka: Kafka) -> None:
    """Asking for an unknown topic with `allow.auto.create.topics=false` leaves it unknown, on a broker that would."""
    admin = kafka.admin()
    admin.list_topics("no.such.topic", timeout=10)

    assert "no.such.topic" not in admin.list_topics(timeout=10).topics


def test_curable_schema_break_fails_the_source_and_is_cured(new_pipeline: NewPipeline) -> None:
    """A required column without default fails the source task; with the default set and a restart the rows arrive."""
    crm = new_pipeline("crm")
    crm.add_column_without_default()
    crm.insert(3)
    crm.wait_for_tasks(crm.source_connector, "FAILED")

    trace = crm.task_trace(crm.source_connector)
    assert f"Incompatible artifact: {crm.value_subject} [AVRO]" in trace
    assert "list of diff types: [tier at /fields/4]" in trace
    assert 1 == crm.rows_in_target()
    _keep_connectors("connect-connectors-failed-column-without-default", crm)

    crm.set_default()
    crm.restart_failed_tasks(crm.source_connector)
    crm.wait_for_rows(4)
    assert [("gold",)] == crm.in_target("select tier from customers where id = 4")
    crm.wait_for_tasks(crm.source_connector, "RUNNING")


def test_type_change_fails_again_after_every_restart(new_pipeline: NewPipeline) -> None:
    """A long that became text is refused; altering it back and restarting does not help, for the WAL has the row."""
    erp = new_pipeline("erp")
    erp.change_type_to_text()
    erp.insert(1)
    erp.wait_for_tasks(erp.source_connector, "FAILED")

    diff = "list of diff types: [reader union lacking writer type: LONG at /fields/3/type/1]"
    assert diff in erp.task_trace(erp.source_connector)
    _keep_connectors("connect-connectors-failed-type-change", erp)

    erp.in_source("alter table customers alter column credit_limit type bigint using credit_limit::bigint")
    erp.restart_failed_tasks(erp.source_connector)
    wait_until(lambda: erp.task_history(erp.source_connector).count("FAILED") == 2, "FAILED again")
    assert diff in erp.task_trace(erp.source_connector)
    assert 1 == erp.rows_in_target()


def test_an_envelope_refusal_names_no_column(new_pipeline: NewPipeline) -> None:
    """With Debezium's envelope the refusal has only a path: whoever wants the column must compare the schemas."""
    pos = new_pipeline("pos", envelope=True)
    pos.add_column_without_default()
    pos.insert(1)
    pos.wait_for_tasks(pos.source_connector, "FAILED")

    trace = pos.task_trace(pos.source_connector)
    assert "reader union lacking writer type: RECORD at /fields/1/type/1" in trace
    assert "tier" not in trace
    _keep_connectors("connect-connectors-failed-envelope", pos)


def test_poison_arrives_in_the_dead_letter_topic(new_pipeline: NewPipeline) -> None:
    """Records that are not Avro are dead-lettered with their own headers first, then Connect's; the rest goes on."""
    web = new_pipeline("web")
    web.produce_poison(4)
    letters = web.wait_for_dead_letters(4)

    names = [name for name, _ in letters[0].headers]
    assert ["producer", "batch", "__connect.errors.topic"] == names[:3]
    headers = dict(letters[0].headers)
    assert web.topic.encode() == headers["__connect.errors.topic"]
    assert web.sink_connector.encode() == headers["__connect.errors.connector.name"]
    assert b"VALUE_CONVERTER" == headers["__connect.errors.stage"]
    assert b"java.lang.IllegalStateException" == headers["__connect.errors.exception.class.name"]
    assert b"artifact reference cannot be null" == headers["__connect.errors.exception.message"]
    keep("dlq-records", [_readable(letter) for letter in letters])

    web.insert(10)
    web.wait_for_rows(11)
    assert {0: "RUNNING"} == web.task_states(web.sink_connector)


def test_a_dead_lettered_tail_is_never_committed(new_pipeline: NewPipeline) -> None:
    """The sink commits nothing for a tail that was dead-lettered: a lag stays that no consumer will ever drain."""
    tail = new_pipeline("tail")
    tail.insert(40)
    wait_until(lambda: tail.lag() == {0: 0, 1: 0}, "all committed before the poison")
    tail.produce_poison(2)
    tail.wait_for_dead_letters(2)

    with pytest.raises(NotInTime):  # Three times the interval at which the sink commits.
        wait_until(lambda: tail.lag() != {0: 1, 1: 1}, "another lag than 1 and 1", deadline_s=3)

    tail.insert(40)
    wait_until(lambda: tail.lag() == {0: 0, 1: 0}, "all committed after good records")


def test_a_stopped_sink_lets_its_lag_grow(new_pipeline: NewPipeline) -> None:
    """While the sink is stopped lag grows by what is inserted; after it is resumed the rows arrive and lag is 0."""
    app = new_pipeline("app")
    app.insert(40)
    app.wait_for_rows(41)
    wait_until(lambda: set(app.lag().values()) == {0}, "lag 0 before the stop")
    app.stop_sink()
    _keep_connectors("connect-connectors-stopped-sink", app)
    app.insert(200)
    wait_until(lambda: app.total_lag() == 200, "lag 200")
    assert 41 == app.rows_in_target()

    app.resume_sink()
    app.wait_for_rows(241)
    wait_until(lambda: app.total_lag() == 0, "lag 0 after the resume")


def test_the_registry_answers_as_recorded(pipeline: Pipeline) -> None:
    """The registry's Confluent API: versions, level, a refusal with 409, a compatibility question, unknown names."""
    subject, base = pipeline.value_subject, pipeline.cluster.registry.ccompat_url
    newest = requests.get(f"{base}/subjects/{subject}/versions/latest", timeout=10)
    schema = json.loads(newest.json()["schema"])
    schema["fields"].append({"name": "tier", "type": "string"})
    incompatible = {"schema": json.dumps(schema)}

    refused = requests.post(f"{base}/subjects/{subject}/versions", json=incompatible, timeout=10)
    asked = requests.post(
        f"{base}/compatibility/subjects/{subject}/versions/latest?verbose=true", json=incompatible, timeout=10
    )
    unknown = requests.get(f"{base}/subjects/no-such-subject/versions", timeout=10)
    level = requests.get(f"{base}/config/{subject}", timeout=10)
    assert 409 == refused.status_code
    assert "tier at /fields/4" in refused.json()["message"]
    assert asked.json()["is_compatible"] is False
    assert (unknown.status_code, unknown.json()["error_code"]) == (404, 40401)
    assert {"compatibilityLevel": "BACKWARD"} == level.json()

    subjects = requests.get(f"{base}/subjects", timeout=10)
    keep_answer("registry-subjects", subjects, [name for name in subjects.json() if name.startswith("shop.")])
    keep_answer("registry-versions", requests.get(f"{base}/subjects/{subject}/versions", timeout=10))
    keep_answer("registry-version-1", requests.get(f"{base}/subjects/{subject}/versions/1", timeout=10))
    keep_answer("registry-version-latest", newest)
    keep_answer("registry-version-unknown", requests.get(f"{base}/subjects/{subject}/versions/99", timeout=10))
    keep_answer("registry-subject-unknown", unknown)
    keep_answer("registry-register-refused", refused)
    keep_answer("registry-compatibility-refused", asked)
    keep_answer(
        "registry-compatibility-accepted",
        requests.post(
            f"{base}/compatibility/subjects/{subject}/versions/latest?verbose=true",
            json={"schema": newest.json()["schema"]},
            timeout=10,
        ),
    )
    keep_answer("registry-config-global", requests.get(f"{base}/config", timeout=10))
    keep_answer("registry-config-subject", level)
    keep_answer("registry-config-subject-unset", requests.get(f"{base}/config/{pipeline.key_subject}", timeout=10))
    keep_answer("registry-mode-subject", requests.get(f"{base}/mode/{subject}", timeout=10))
    keep_answer("registry-mode-global", requests.get(f"{base}/mode", timeout=10))


def test_the_id_in_a_record_is_the_registrys_schema_id(new_pipeline: NewPipeline) -> None:
    """The four bytes after the magic byte are what `GET /schemas/ids/ID` takes: dead letters can be decoded by it.

    Apicurio counts contents and versions apart, and its converter writes the count of versions unless it is told
    `use-id=contentId`; a refusal, or one schema under two subjects, makes the two counts differ.
    """
    ids = new_pipeline("ids")
    first = ids.registry("GET", f"/subjects/{ids.value_subject}/versions/1")
    ids.registry("POST", "/subjects/ids-the-same-again/versions", {"schema": first["schema"]})
    ids.in_source("alter table customers add column tier text")
    ids.insert(1)
    ids.wait_for_rows(2)

    record = ids.newest_record()
    assert record.value is not None
    assert b"\x00" == record.value[:1]
    schema_id = int.from_bytes(record.value[1:5])
    by_id = requests.get(f"{ids.cluster.registry.ccompat_url}/schemas/ids/{schema_id}", timeout=10)
    latest = ids.registry("GET", f"/subjects/{ids.value_subject}/versions/latest")
    assert (2, schema_id) == (latest["version"], latest["id"])
    assert json.loads(latest["schema"]) == json.loads(by_id.json()["schema"])
    keep_answer("registry-schema-by-id", by_id)


def test_connect_answers_as_recorded(connect: Connect) -> None:
    """Connect's own words: the root, the plugins, a connector that it does not know."""
    unknown = requests.get(f"{connect.url}/connectors/no-such-connector/status", timeout=10)
    assert 404 == unknown.status_code
    keep_answer("connect-root", requests.get(f"{connect.url}/", timeout=10))
    keep_answer("connect-plugins", requests.get(f"{connect.url}/connector-plugins", timeout=10))
    keep_answer("connect-connector-unknown", unknown)


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A listener on loopback: its URL, and what was posted to it with the right token."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            allowed = self.headers["Authorization"] == "Bearer right-token"
            if allowed:
                received.append(json.loads(body))
            self.send_response(200 if allowed else 401)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(b'cdc_consumer_lag_records{group="connect-customers-sink",partition="0"} 12000\n')

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_a_rule_on_scraped_metrics_reaches_the_webhook(
    new_prometheus: Callable[[str], Prometheus],
    new_alertmanager: Callable[[str], Alertmanager],
    webhook: tuple[str, list[dict[str, Any]]],
    tmp_path: Path,
) -> None:
    """Metrics are scraped, a rule fires, Alertmanager posts the group with the token; a silence then mutes it."""
    url, received = webhook
    rules = tmp_path / "rules.yml"
    rules.write_text(
        "groups: [{name: cdc, rules: [{alert: CdcConsumerLagHigh, expr: cdc_consumer_lag_records > 10000, for: 1s,"
        " labels: {severity: warning, pipeline: customers}, annotations: {summary: '{{ $value }} records behind'}}]}]"
    )
    alertmanager = new_alertmanager(alertmanager_config(f"{url}/alertmanager", "right-token"))
    new_prometheus(prometheus_config(f"{url}/metrics", rules, alertmanager.url))

    wait_until(lambda: received, "a post of Alertmanager's")
    assert "firing" == received[0]["status"]
    assert "12000 records behind" == received[0]["alerts"][0]["annotations"]["summary"]
    assert {"alertname": "CdcConsumerLagHigh", "pipeline": "customers"} == received[0]["groupLabels"]
    keep("alertmanager-webhook-firing", received[0])
    keep_answer("alertmanager-groups", requests.get(f"{alertmanager.url}/api/v2/alerts/groups", timeout=10))
    keep_answer("alertmanager-status", requests.get(f"{alertmanager.url}/api/v2/status", timeout=10))

    silence = {
        "matchers": [{"name": "pipeline", "value": "customers", "isRegex": False, "isEqual": True}],
        "startsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "endsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600)),
        "createdBy": "cdc-oncall",
        "comment": "incident 1: lag is being worked on",
    }
    made = requests.post(f"{alertmanager.url}/api/v2/silences", json=silence, timeout=10)
    assert 200 == made.status_code
    keep_answer("alertmanager-silence-post", made)
    one = requests.get(f"{alertmanager.url}/api/v2/silence/{made.json()['silenceID']}", timeout=10)
    assert "active" == one.json()["status"]["state"]
    keep_answer("alertmanager-silence-get", one)
    keep_answer("alertmanager-silences", requests.get(f"{alertmanager.url}/api/v2/silences", timeout=10))
    wait_until(lambda: alertmanager.groups()[0]["alerts"][0]["status"]["state"] == "suppressed", "suppressed")
    keep_answer("alertmanager-groups-silenced", requests.get(f"{alertmanager.url}/api/v2/alerts/groups", timeout=10))


def test_cdc_yml_is_what_the_bot_reads(pipeline: Pipeline, tmp_path: Path) -> None:
    """The config that the walks write loads without an error and names the pipeline's parts."""
    path = cdc_yml(
        tmp_path / "cdc.yml",
        pipeline,
        alertmanager_url="http://127.0.0.1:9093",
        prometheus_url="http://127.0.0.1:9090",
        slack_api_url="http://127.0.0.1:9000/api/",
    )
    read = load(path).pipelines[0]

    assert "customers" == read.name
    assert pipeline.source_connector == read.source_connector
    assert pipeline.group == read.consumers[0].group


def test_the_parts_die_with_the_run(available: Available, tmp_path: Path) -> None:
    """A run that is killed with SIGKILL leaves no part behind."""
    program = (
        "import sys, time; from pathlib import Path; from tests.system.parts import Process;"
        "print(Process('sleeper', ['sleep', '600'], Path(sys.argv[1])).pid, flush=True); time.sleep(600)"
    )
    run = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    part = int(run.stdout.readline())
    assert _is_running(part)
    run.kill()
    run.communicate()

    wait_until(lambda: not _is_running(part), f"process {part} gone", deadline_s=10)


def test_a_part_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error has the end of the part's log, at once and not at the deadline."""
    broken = Process("broken", ["sh", "-c", "echo port 1 is taken; exit 3"], tmp_path)

    with pytest.raises(PartFailed, match=r"broken ended with 3 before it was ready(.|\n)*port 1 is taken"):
        broken.wait_ready(lambda: False, deadline_s=60)


def test_a_part_that_cannot_be_had_is_a_reason() -> None:
    """What could not be fetched is named with its reason when a test asks for it, not before."""
    without_chromium = Available({"prometheus": Path("/usr/bin/prometheus")}, {"chromium": "not root; run: ..."})

    assert Path("/usr/bin/prometheus") == without_chromium.place("prometheus")
    with pytest.raises(PartMissing, match=r"chromium cannot be had: not root; run: \.\.\."):
        without_chromium.place("chromium")


def test_a_browser_renders_a_page(chromium: Chromium) -> None:
    """Chromium runs a page's script and takes a picture of it."""
    page = chromium.browser.new_page()
    page.set_content("<h1>waiting</h1><script>document.querySelector('h1').textContent = 'opened'</script>")

    assert "opened" == page.inner_text("h1")
    assert page.screenshot().startswith(b"\x89PNG")
    page.close()


@pytest.mark.parametrize(
    ("recorded", "now", "differences"),
    [
        ({"a": 1}, {"a": 2}, []),
        ({"a": 1}, {"a": "1"}, ["$.a: recorded int, now str"]),
        ({"a": 1}, {}, ["$.a: recorded, not answered now"]),
        ({}, {"a": 1}, ["$.a: answered now, not recorded"]),
        ([{"a": 1}], [{"b": 1}], ["$[0].a: recorded, not answered now", "$[0].b: answered now, not recorded"]),
        ([{"a": 1}], [], []),
        ({"a": None}, {"a": 1}, []),
    ],
)
def test_recordings_are_compared_by_shape(recorded: Any, now: Any, differences: list[str]) -> None:
    """Values may change from run to run; a key or a type that changed makes a recording false."""
    assert differences == differences_in_shape(recorded, now)


def _is_running(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet waited for (state Z) does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _keep_connectors(name: str, pipeline: Pipeline) -> None:
    """Keep `GET /connectors?expand=...` with this pipeline's connectors only, under names without the prefix."""
    answer = requests.get(f"{pipeline.cluster.connect.url}/connectors?expand=status&expand=info", timeout=10)
    own = {pipeline.source_connector, pipeline.sink_connector}
    body = {connector: said for connector, said in answer.json().items() if connector in own}
    assert own == set(body)
    dashed, underscored = pipeline.name.removesuffix("customers"), pipeline.topic_prefix.removesuffix("shop")
    plain = json.dumps(body)
    for prefix in filter(None, (dashed, underscored)):
        plain = plain.replace(prefix, "")
    keep_answer(name, answer, json.loads(plain))


def _keep_offsets_of_source(pipeline: Pipeline) -> None:
    url = f"{pipeline.cluster.connect.url}/connectors"
    wait_until(
        lambda: requests.get(f"{url}/{pipeline.source_connector}/offsets", timeout=10).json()["offsets"], "offsets"
    )
    keep_answer("connect-offsets-source", requests.get(f"{url}/{pipeline.source_connector}/offsets", timeout=10))
    keep_answer("connect-offsets-sink", requests.get(f"{url}/{pipeline.sink_connector}/offsets", timeout=10))


def _readable(letter: Record) -> dict[str, Any]:
    """Return a dead letter as JSON: bytes as hex, headers in order, each as text or null."""
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp_ms": letter.timestamp_ms,
        "key_hex": None if letter.key is None else letter.key.hex(),
        "value_hex": None if letter.value is None else letter.value.hex(),
        "headers": [[name, None if value is None else value.decode()] for name, value in letter.headers],
    }
