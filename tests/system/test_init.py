"""`cdc init` on the real pipeline: what it writes is what is there, and asking leaves no trace.

Other tests put pipelines of their own on the same cluster: what is asserted is the entry of `customers`, and that
nothing of it stands anywhere else.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from confluent_kafka import Consumer, TopicPartition

from bot.config import load
from bot.model import ConsumerGroup, GroupKind, Sink
from tests.system.pipeline import Pipeline

CDC = [sys.executable, "-c", "from bot.cli import main; main()"]
READER = "customers-reporting"


def cdc(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own with an empty environment."""
    return subprocess.run(
        [*CDC, *words],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"], **environ},
    )


@pytest.fixture(scope="module")
def reader(pipeline: Pipeline) -> str:
    """A group that is no connector's and has committed on the topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": pipeline.cluster.kafka.bootstrap,
            "group.id": READER,
            "allow.auto.create.topics": False,
            "enable.auto.commit": False,
        }
    )
    consumer.commit(offsets=[TopicPartition(pipeline.topic, 0, 0)], asynchronous=False)
    consumer.close()
    return READER


@pytest.fixture(scope="module")
def addresses(pipeline: Pipeline) -> list[str]:
    cluster = pipeline.cluster
    registry, connect = cluster.registry.ccompat_url, cluster.connect.url
    return ["--connect", connect, "--registry", registry, "--bootstrap", cluster.kafka.bootstrap]


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory, pipeline: Pipeline, reader: str, addresses: list[str]
) -> Iterator[tuple[Path, subprocess.CompletedProcess[str], dict[str, Any], dict[str, Any]]]:
    """The first run: its folder, how it ended, and what the systems listed before and after it."""
    folder = tmp_path_factory.mktemp("init") / "oncall"
    before = listed(pipeline)
    ran = cdc("init", str(folder), *addresses)
    yield folder, ran, before, listed(pipeline)


def listed(pipeline: Pipeline) -> dict[str, Any]:
    """Return everything that asking could have created by mistake."""
    admin = pipeline.cluster.kafka.admin()
    groups = admin.list_consumer_groups(request_timeout=10).result(timeout=20).valid
    return {
        "topics": sorted(admin.list_topics(timeout=10).topics),
        "groups": sorted(group.group_id for group in groups),
        "subjects": sorted(pipeline.registry("GET", "/subjects")),
        "connectors": sorted(requests.get(f"{pipeline.cluster.connect.url}/connectors", timeout=10).json()),
    }


def test_it_finds_the_pipeline_exactly(written, pipeline, reader):
    """Source, topic, subjects, sink with table and queue, and both groups: nothing is missing and nothing is added."""
    folder, ran, _, _ = written
    assert 0 == ran.returncode, ran.stderr

    found = load(folder / "cdc.yml").pipeline(pipeline.name)
    assert found is not None
    assert pipeline.source_connector == found.source_connector
    assert (pipeline.topic,) == found.topics
    assert {pipeline.value_subject, pipeline.key_subject} == set(found.subjects)
    assert Sink(pipeline.sink_connector, f"{pipeline.target_database}.customers", pipeline.dlq) == found.sink
    groups = {each.group: each for each in found.consumers}
    assert ConsumerGroup(pipeline.group, GroupKind.CONNECT_SINK, topics=(pipeline.topic,)) == groups[pipeline.group]
    assert {pipeline.group, reader} == set(groups)


def test_nothing_of_it_stands_twice(written, pipeline):
    """No other pipeline names its connectors, its topic, its subjects, its queue or its groups."""
    others = [each for each in load(written[0] / "cdc.yml").pipelines if each.name != pipeline.name]
    own = {
        pipeline.source_connector, pipeline.sink_connector, pipeline.topic, pipeline.value_subject,
        pipeline.key_subject, pipeline.dlq, pipeline.group,
    }  # fmt: skip
    theirs = {
        name
        for each in others
        for name in (*each.connectors, *each.topics, *each.subjects, each.dlq, *(group.group for group in each.groups))
    }
    assert set() == own & theirs


def test_it_says_what_it_asked_and_what_comes_next(written, pipeline):
    """Progress is on stderr, with the names found and the next command; stdout stays empty."""
    folder, ran, before, _ = written
    assert "" == ran.stdout
    assert f"asking Connect ... {len(before['connectors'])} connectors" in ran.stderr
    assert f"asking Schema Registry ... {len(before['subjects'])} subjects" in ran.stderr
    assert f"{len(before['topics'])} topics" in ran.stderr
    assert pipeline.name in ran.stderr
    assert f"cdc -c {folder / 'cdc.yml'} doctor" in ran.stderr
    assert "Not known" not in ran.stderr


def test_it_left_no_trace(written):
    """Asking created no topic, no group, no subject and no connector."""
    _, _, before, after = written
    assert before == after


def test_what_it_wrote_passes_the_check(written, pipeline):
    """`cdc config check` has no complaint, and each runbook that ships is there."""
    folder = written[0]
    checked = cdc("-c", str(folder / "cdc.yml"), "config", "check")
    assert 0 == checked.returncode, checked.stderr
    assert pipeline.name in checked.stdout
    assert 0 == cdc("check", "runbooks", str(folder / "runbooks")).returncode
    assert 5 == len(list((folder / "runbooks").glob("*.yml")))


def test_no_secret_of_a_connector_is_written(written):
    """A connector's config holds logins; none of it but names of topics, groups and tables is taken."""
    text = (written[0] / "cdc.yml").read_text()
    assert [] == [word for word in ("jdbc:", "password", "connection.", "database.") if word in text]


def test_a_second_run_shows_no_difference_and_changes_no_byte(written, addresses):
    """With the addresses again, and without any: those in the file are used."""
    folder = written[0]
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    for words in (addresses, []):
        again = cdc("init", str(folder), *words)
        assert (0, "") == (again.returncode, again.stdout)
        assert "no difference" in again.stderr
    assert before == {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_a_person_wrote_stays_in_the_difference(written, addresses, tmp_path):
    """An owner is kept, and a topic that was taken out by mistake is shown as one to add."""
    values = yaml.safe_load((written[0] / "cdc.yml").read_text())
    values["pipelines"]["customers"] |= {"owner": "@data", "topics": []}
    (tmp_path / "cdc.yml").write_text(json.dumps({**values, "runbooks": str(written[0] / "runbooks")}, indent=1))

    shown = cdc("init", str(tmp_path), *addresses)

    added = "\n".join(line[1:] for line in shown.stdout.splitlines() if line[:1] == "+" and line[:3] != "+++")
    customers = yaml.safe_load(added)["pipelines"]["customers"]
    assert ("@data", ["shop.public.customers"]) == (customers["owner"], customers["topics"])
    assert "Nothing was overwritten" in shown.stderr


def test_apicurios_base_address_is_not_taken_for_a_registry(pipeline: Pipeline) -> None:
    """`init` finds its Confluent API and says so; `schema` says which address is meant, not "no subject"."""
    base = pipeline.cluster.registry.url
    right = pipeline.cluster.registry.ccompat_url
    written = cdc("init", "--print", "--registry", base)
    assert 0 == written.returncode, written.stderr
    assert f"{base} is Apicurio; its Confluent API is at {right}: that is used and written." in written.stderr
    assert {"url": right} == yaml.safe_load(written.stdout)["registry"]

    asked = cdc("schema", f"{pipeline.topic}-value", "--registry", base)
    assert f"is it Apicurio? its Confluent API is at {right}" in asked.stdout + asked.stderr
    assert "no subject" not in asked.stdout + asked.stderr
    missing = cdc("schema", "typo-value", "--registry", right)
    assert "no subject typo-value" in missing.stdout + missing.stderr
