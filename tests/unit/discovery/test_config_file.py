"""The text of cdc.yml: a golden one, and that no name a system can have breaks it."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bot.config import ACTIONS, Config, parse
from bot.discovery.config_file import Settings, merged, render
from bot.discovery.facts import ConnectorFacts, Facts
from bot.discovery.judge import Findings, FoundGroup, FoundPipeline, FoundSink, judge
from bot.discovery.kept import with_kept
from bot.incident.yaml_lines import read
from bot.model import ConsumerGroup, GroupKind, Objective, Sink
from bot.ports import GroupEntry

GOLDEN = Path(__file__).with_name("golden.yml")

SHOP = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "topic.prefix": "shop",
    "table.include.list": "public.customers,public.orders",
}
LAKE = {
    "connector.class": "io.tabular.iceberg.connect.IcebergSinkConnector",
    "topics": "shop.public.customers",
    "iceberg.tables": "lake.customers",
    "errors.tolerance": "all",
    "errors.deadletterqueue.topic.name": "dlq.customers",
    "errors.deadletterqueue.context.headers.enable": "true",
}
ARCHIVE = {"connector.class": "io.confluent.connect.s3.S3SinkConnector", "topics": "shop.public.orders"}
FACTS = Facts(
    connectors=(
        ConnectorFacts("shop-source", "source", SHOP, ("shop.public.customers", "shop.public.orders")),
        ConnectorFacts("customers-lake-sink", "sink", LAKE),
        ConnectorFacts("orders-archive", "sink", ARCHIVE),
        ConnectorFacts("quiet-source", "source", {"connector.class": "com.example.HttpSourceConnector"}, ()),
    ),
    topics=("__consumer_offsets", "audit", "dlq.customers", "shop.public.customers", "shop.public.orders"),
    groups=(
        GroupEntry("billing", "STABLE", ("shop.public.orders",), False),
        GroupEntry("canonical", "EMPTY", ("shop.public.customers",), True),
        GroupEntry("connect-customers-lake-sink", "STABLE", ("shop.public.customers",), False),
        GroupEntry("customers_flink", "EMPTY", ("shop.public.customers",), True),
    ),
    subjects=("com.acme.Invoice", "shop.public.customers-key", "shop.public.customers-value"),
    asked=("Connect", "Kafka", "Schema Registry", "Prometheus"),
    unreached=(("Prometheus", "refused"),),
)
SETTINGS = Settings(
    {
        "kafka": {
            "bootstrap": "kafka-1:9092,kafka-2:9092",
            "config": {
                "security.protocol": "SASL_SSL", "sasl.username": "cdc", "sasl.password": "${KAFKA_SASL_PASSWORD}",
            },
        },
        "connect": {"url": "http://connect:8083", "auth": {"user": "cdc", "password": "${CONNECT_PASSWORD}"}},
        "registry": {"url": "http://registry:8080/apis/ccompat/v7"},
        "prometheus": {"url": "http://prometheus:9090"},
        "alertmanager": {
            "url": "http://alertmanager:9093", "tokens": ["${CDC_WEBHOOK_TOKEN}"], "receiver": "cdc-oncall",
        },
    }
)  # fmt: skip


def loaded(text: str, folder: Path) -> Config:
    """Return the config as `cdc config check` would; raises ConfigErrors with what is wrong."""
    (folder / "runbooks").mkdir(exist_ok=True)
    return parse(text.encode("utf-8"), folder / "cdc.yml")


def test_the_file_reads_as_it_should(tmp_path):
    """The golden file is what a person sees; read the difference (`CDC_GOLDEN=1` writes it anew)."""
    text = render(judge(FACTS), FACTS, SETTINGS)
    if os.environ.get("CDC_GOLDEN") == "1":
        GOLDEN.write_text(text, "utf-8")
    assert GOLDEN.read_text("utf-8") == text
    assert 120 >= max(map(len, text.splitlines()))

    config = loaded(text, tmp_path)
    customers = config.pipeline("shop")
    assert customers is not None
    assert Sink("customers-lake-sink", "lake.customers", "dlq.customers") == customers.sink
    assert ConsumerGroup("canonical", GroupKind.FLINK, topics=("shop.public.customers",)) in customers.consumers
    assert ["orders-archive", "quiet", "shop"] == [each.name for each in config.pipelines]
    secrets = " ".join(config.unresolved({}))
    for variable in ("KAFKA_SASL_PASSWORD", "CONNECT_PASSWORD", "CDC_WEBHOOK_TOKEN", "SLACK_BOT_TOKEN"):
        assert variable in secrets


def test_the_same_facts_give_the_same_text():
    """Not a byte depends on when, or in which order, the systems answered."""
    turned = replace(
        FACTS,
        **{name: tuple(reversed(getattr(FACTS, name))) for name in ("connectors", "topics", "groups", "subjects")},
    )
    assert render(judge(FACTS), FACTS, SETTINGS) == render(judge(turned), turned, SETTINGS)


def test_what_was_written_is_read_back_and_written_the_same(tmp_path):
    """A second run keeps the settings of the first and finds no difference."""
    text = render(judge(FACTS), FACTS, SETTINGS)
    values = read(text, "cdc.yml").values
    kept = {key: value for key, value in values.items() if key != "pipelines"}
    assert text == render(with_kept(judge(FACTS), values["pipelines"]), FACTS, Settings(kept))


@pytest.mark.parametrize("settings", [Settings(), Settings(runbooks=False), SETTINGS])
def test_it_loads_without_any_pipeline(tmp_path, settings):
    """The file of an empty estate, or of no address at all, has no error either."""
    assert () == loaded(render(Findings(), Facts(), settings), tmp_path).pipelines


def test_its_examples_are_right(tmp_path):
    """Every example that stands in a comment loads once its # is taken away, with the actions that it names."""
    text = render(Findings(), Facts(), Settings({"alertmanager": {"url": "http://am:9093", "tokens": ["${T}"]}}))
    text = re.sub(r"(?m)^# (environment|kafka|registry|connect|prometheus|people): ", r"\1: ", text)
    text = re.sub(r"(?m)^  # webhook: ", "  webhook: ", text)
    text = re.sub(r"actions: \[\]  # .*: (\[.*\]), .*", r"actions: \1", text)
    text = text.replace("pipelines: {}", "pipelines:  ")
    text = re.sub(r"(?m)^#  ( *(customers|source|topics|subjects|consumers|-|sink))", r"  \1", text)
    more = re.findall(r"(?m)^#   ((?:owner|channel|managed_by|objective): (?:'[^']*'|\{.*\}|\w+))", text)
    assert 4 == len(more)
    text += "".join(f"    {line}\n" for line in more)

    config = loaded(text, tmp_path)
    (customers,) = config.pipelines
    assert (set(ACTIONS), "strimzi") == (set(config.actions), customers.managed_by)
    assert ("prod-eu", ("U0123ABCD",)) == (config.environment, config.people.responders)
    assert Objective() == customers.objective
    assert ("S0123ABCD", "#team-incidents") == (customers.owner, customers.channel)
    assert None not in (config.kafka, config.registry, config.connect, config.prometheus)


HOSTILE = [
    "a: b", "# c", "a #b", "- x", "{x}", "[x", "'", '"', "*a", "&a", "!t", "%d", "@x", "`x`", "null", "true", "1",
    "1.5", "0x1", "2026-11-23", "~", "?", "-", "---", "...", "a'b\"c", "\\n", "${HOME}", "é ü 漢字 🙂", "x" * 300,
    " lead", "trail ", "a,b", "yes", "=", "<<", "a\tb", "a\u00a0b", "a\u202eb", "1e3", "0o7", "12:30:45",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_the_file(tmp_path, name):
    """Whatever a connector or a group is called comes back as it was, and nothing else with it."""
    facts = Facts(
        connectors=(
            ConnectorFacts(name, "source", {"connector.class": f"x.{name}", "table.include.list": name}, ("a",)),
            ConnectorFacts(f"{name} sink", "sink", {"topics": "a", "collection.name.format": name}),
        ),
        groups=(GroupEntry(f"{name} group", "EMPTY", ("a",), True),),
        subjects=(name,),
    )
    (pipeline,) = loaded(render(judge(facts), facts, Settings()), tmp_path).pipelines or (None,)
    if "\t" in name:  # a control character: left out, with a remark
        assert None is pipeline
        return
    assert pipeline is not None
    assert (name, f"{name} sink") == pipeline.connectors
    assert {f"connect-{name} sink", f"{name} group"} == {each.group for each in pipeline.consumers}


@pytest.mark.parametrize("odd", ["a\tb", "a\nb", "   ", "a\x85b", "a\u2028b\ufeff", "\x1b[2J", "${env:GROUP}"])
def test_a_setting_that_no_file_can_hold_is_a_question(tmp_path, odd):
    """A group or table of that name is asked for; what is written loads, and names no other group."""
    settings = {"topics": "a", "consumer.override.group.id": odd, "iceberg.tables": f"lake.{odd}x"}
    facts = Facts(connectors=(ConnectorFacts("s", "sink", settings),), topics=("a",))
    findings = judge(facts)
    (pipeline,) = loaded(render(findings, facts, Settings()), tmp_path).pipelines
    assert () == pipeline.consumers
    assert [True] == ["group.id" in note for note in findings.pipelines[0].notes if note.endswith("which group is it?")]


@pytest.mark.parametrize(
    "odd", ["a\x85b", "a\u2028b", "a\u2029b", "a\ufeffb", "a\x7fb", "a\tb", "a\r\nb", "🙂\x85", "\uffff"]
)
@pytest.mark.parametrize("put", [lambda odd: odd, lambda odd: [odd, "é"], lambda odd: {"x": odd}])
def test_an_unusual_space_in_a_setting_comes_back(odd, put):
    """YAML ends lines at characters that no editor shows; in a list and a mapping too."""
    text = render(Findings(), Facts(), Settings({"environment": put(odd)}))
    assert put(odd) == yaml.safe_load(text)["environment"]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(1, "public.t00"), (7, "public.t06"), (8, "public.t06 and 1 more"), (50, "public.t06 and 43 more")],
)
def test_a_long_list_of_tables_is_cut(count, shown):
    """It is a word beside the connector, not a setting."""
    pipeline = FoundPipeline("p", "c", tables=tuple(f"public.t{number:02d}" for number in range(count)))
    text = render(Findings((pipeline,)), Facts(), Settings())
    assert [shown] == [
        line.rpartition(", ")[2].removeprefix("    # tables: ") for line in text.splitlines() if "tables" in line
    ]


@pytest.mark.parametrize("words", ["two\nlines: 1", "a\rb", "a\u2028b", "a\x85b: 1", "a\x1b[2Jb", "a\ud800b"])
def test_no_word_ends_a_comment(tmp_path, words):
    """What stands in a comment stays in it, and can be written as UTF-8."""
    pipeline = FoundPipeline(
        "p",
        "c",
        source_kind=words,
        tables=(words,),
        consumers=(FoundGroup("g", GroupKind.CONSUMER, (), words),),
        sink=FoundSink("s", words, None, None, None, (words,)),
        notes=(words,),
    )
    text = render(Findings((pipeline,), (words,)), Facts(), Settings())
    assert ["p"] == [each.name for each in loaded(text, tmp_path).pipelines]
    assert "\x1b" not in text


def test_long_lists_take_a_line_each(tmp_path):
    """A source of two hundred tables is read down, not across."""
    topics = tuple(f"shop.public.table_{number:03d}" for number in range(200))
    group = FoundGroup("g", GroupKind.FLINK, topics, job="j")
    text = render(Findings((FoundPipeline("p", "c", topics=topics, consumers=(group,)),)), Facts(), Settings())
    assert 120 >= max(map(len, text.splitlines()))
    assert ConsumerGroup("g", GroupKind.FLINK, "j", topics) == loaded(text, tmp_path).pipelines[0].consumers[0]


def test_an_overridden_group_is_the_only_one_of_a_sink(tmp_path):
    """Connect's own name for the group is then nobody's: it would be shown as never committed."""
    lake = ConnectorFacts("lake", "sink", {"topics": "a", "consumer.override.group.id": "mine"})
    facts = Facts(connectors=(lake,))
    (pipeline,) = loaded(render(judge(facts), facts, Settings()), tmp_path).pipelines
    assert ["mine"] == [each.group for each in pipeline.groups]


def test_a_certificate_in_a_setting_comes_back(tmp_path):
    """A librdkafka setting of several lines stays one value."""
    kafka = {"bootstrap": "k:9092", "config": {"ssl.ca.pem": "-----BEGIN\nabc\n-----END\n"}}
    config = loaded(render(Findings(), Facts(), Settings({"kafka": kafka})), tmp_path)
    assert config.kafka is not None
    assert "-----BEGIN\nabc\n-----END\n" == config.kafka.client_settings({})["ssl.ca.pem"]


# --- beside a file that is there ---------------------------------------------------------------------

NEW = """\
listen: 127.0.0.1:8080
connect:
  url: http://connect:8083
# Each pipeline may also have: ...
pipelines:
  crm:
    topics: [crm]

# In no pipeline:
#   a remark
"""
CONNECT = "connect:\n  url: http://connect:8083\n"
PIPELINES = NEW[NEW.index("pipelines:") :]


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        # what says the same keeps its form, what was not found stays, comments between sections too
        (
            "# mine\nconnect: {url: 'http://connect:8083'}\n\n# me\npeople: {responders: [U1]}\npipelines: {}\n",
            "# mine\nconnect: {url: 'http://connect:8083'}\n\n# me\npeople: {responders: [U1]}\n"
            + PIPELINES,
        ),
        # another address is a difference
        (
            "connect: {url: 'http://other'}\npeople: {responders: [U1]}\npipelines: {}\n",
            "connect:\n  url: http://connect:8083\npeople: {responders: [U1]}\n" + PIPELINES,
        ),
        # a system that was not there comes before the pipelines, which need not be last
        (
            "pipelines:\n  old: {topics: [x]}\n\n# last\nlisten: 0.0.0.0:1\n",
            CONNECT + PIPELINES + "\n# last\nlisten: 0.0.0.0:1\n",
        ),
        # without pipelines they come last
        ("listen: 0.0.0.0:1", "listen: 0.0.0.0:1\n" + CONNECT + PIPELINES),
        # what cannot be taken apart is compared whole
        ("", NEW),
        ("- a\n", NEW),
        ("{listen: '0.0.0.0:1'}\n", NEW),
        ("listen: [\n", NEW),
        ("a: 1\na: 2\n", NEW),
    ],
)  # fmt: skip
def test_what_a_person_wrote_outside_the_pipelines_keeps_its_form(old: str, expected: str) -> None:
    """The difference to the file is then what was found, and no matter of style."""
    assert expected == merged(old, NEW)


def test_a_file_with_nothing_new_is_itself() -> None:
    """Byte for byte, however it ends."""
    for text in (NEW, NEW.rstrip("\n"), NEW.replace("\n", "\n\n", 1)):
        assert text == merged(text, NEW)
