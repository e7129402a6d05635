"""What a connector's settings say: one row per situation, both sides of each edge."""

from __future__ import annotations

import pytest

from bot.discovery.connectors import (
    coordinator,
    dead_letter_queue,
    is_internal,
    kind,
    missing_topics,
    name_questions,
    pattern_question,
    read_topics,
    sink_group,
    sink_table,
    topics_of_interest,
    written_topics,
)
from bot.discovery.facts import ConnectorFacts, Facts, connector_facts
from bot.ports import ConnectorState

POSTGRES = {"connector.class": "io.debezium.connector.postgresql.PostgresConnector", "topic.prefix": "shop"}
MYSQL = {**POSTGRES, "connector.class": "io.debezium.connector.mysql.MySqlConnector"}
SQLSERVER = {**POSTGRES, "connector.class": "io.debezium.connector.sqlserver.SqlServerConnector"}
CUSTOMERS = {**POSTGRES, "table.include.list": "public.customers"}
ROUTE = {
    "transforms": "unwrap, route",
    "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
    "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
    "transforms.route.regex": r"shop\.public\.(.*)",
    "transforms.route.replacement": "cdc.$1",
}
SHARDS = {
    "transforms": "route",
    "transforms.route.type": "io.debezium.transforms.ByLogicalTableRouter",
    "transforms.route.topic.regex": r"(?<all>shop\.public\.orders)_\d+",
    "transforms.route.topic.replacement": "${all}",
}

ODD = ("a\tb", "a\nb", "   ", "a\x85b", "\x1b[2J", "a\u2028b", "${file:/secret:group}")
LONG = "shop-inventory-snapshots-eu-central"


def source(settings: dict[str, str], *used: str, told: bool = True) -> ConnectorFacts:
    return ConnectorFacts("s", "source", settings, used if told else None)


def sink(settings: dict[str, str], *used: str) -> ConnectorFacts:
    return ConnectorFacts("customers-sink", "sink", settings, used)


@pytest.mark.parametrize(
    ("settings", "used", "listed", "expected"),
    [
        # What Connect has seen it write is believed.
        (POSTGRES, ["shop.public.a"], None, ["shop.public.a"]),
        ({}, ["any.topic"], ["any.topic"], ["any.topic"]),
        ({}, ["any.topic", "gone"], ["any.topic"], ["any.topic"]),  # Connect remembers what was deleted
        ({}, [], ["any.topic"], []),
        # Its own bookkeeping is no topic of data.
        (POSTGRES, ["__debezium-heartbeat.shop", "shop.public.a"], None, ["shop.public.a"]),
        ({**POSTGRES, "topic.heartbeat.prefix": "beat"}, ["beat.shop", "shop.a"], None, ["shop.a"]),
        (POSTGRES, ["shop.transaction"], None, []),
        ({**POSTGRES, "topic.transaction": "tx"}, ["shop.tx", "shop.transaction"], None, ["shop.transaction"]),
        (MYSQL, ["shop", "shop.db.a"], None, ["shop.db.a"]),  # the schema change topic
        (POSTGRES, ["shop"], None, ["shop"]),  # PostgreSQL has none
        ({**MYSQL, "schema.history.internal.kafka.topic": "history"}, ["history"], None, []),
        ({**MYSQL, "database.history.kafka.topic": "history"}, ["history"], None, []),
        ({**POSTGRES, "signal.kafka.topic": "signals"}, ["signals"], None, []),
        # Nothing used yet: the table list, held against what the cluster lists.
        (CUSTOMERS, [], ["shop.public.customers", "shop.public.orders", "x"], ["shop.public.customers"]),
        (CUSTOMERS, [], ["other.public.customers"], []),
        (CUSTOMERS, [], None, ["shop.public.customers"]),  # no listing: as it would be called
        ({**POSTGRES, "table.include.list": "PUBLIC.A"}, [], ["shop.public.a"], ["shop.public.a"]),  # in any case
        ({**POSTGRES, "table.include.list": r"public\.a, public\.b.*"}, [], None, ["shop.public.a"]),
        (
            {**POSTGRES, "table.include.list": r"public\.(a|b).*"},
            [],
            ["shop.public.a", "shop.public.b2", "shop.public.c"],
            ["shop.public.a", "shop.public.b2"],
        ),
        (POSTGRES, [], ["shop.public.a", "shopping.public.b"], ["shop.public.a"]),  # no list: every table
        (SQLSERVER | {"table.include.list": "dbo.a"}, [], ["shop.erp.dbo.a", "shop.erp.dbo.ab"], ["shop.erp.dbo.a"]),
        ({**POSTGRES, "table.include.list": "public.(a"}, [], ["shop.public.a"], []),  # not a pattern: a question
        ({**POSTGRES, "topic.prefix": "", "database.server.name": "shop"}, [], ["shop.public.a"], ["shop.public.a"]),
        # One used, one not yet: both.
        (
            {**POSTGRES, "table.include.list": "public.a,public.b"},
            ["shop.public.a"],
            ["shop.public.a", "shop.public.b"],
            ["shop.public.a", "shop.public.b"],
        ),
        # Routers rename what the tables would be called.
        ({**CUSTOMERS, **ROUTE}, [], ["cdc.customers", "shop.public.customers"], ["cdc.customers"]),
        ({**CUSTOMERS, **ROUTE}, [], ["shop.public.customers"], []),
        ({**POSTGRES, "table.include.list": "public.orders_7", **SHARDS}, [], None, ["shop.public.orders"]),
        ({**POSTGRES, "table.include.list": "public.orders", **SHARDS}, [], None, ["shop.public.orders"]),  # no hit
        ({**CUSTOMERS, **ROUTE, "transforms.route.replacement": "cdc.$7"}, [], None, ["cdc.$7"]),
        ({**CUSTOMERS, **ROUTE, "transforms.route.regex": r"(\w+[.]?)+\d"}, [], None, ["shop.public.customers"]),
        ({**CUSTOMERS, **ROUTE, "transforms.route.regex": r"(s)hop\1.*"}, [], None, []),  # not a guess
    ],
)  # fmt: skip
def test_topics_of_a_source(settings, used, listed, expected):
    """Used topics first, then what the tables say; what cannot be known is empty, never a guess."""
    assert tuple(expected) == written_topics(source(settings, *used), listed)


def test_a_source_whose_used_topics_are_not_told_is_derived():
    """Topic tracking may be switched off; the table list still tells."""
    assert ("shop.public.customers",) == written_topics(source(CUSTOMERS, told=False), ["shop.public.customers"])


@pytest.mark.parametrize(
    ("settings", "used", "listed", "expected"),
    [
        ({"topics": "b, a,b"}, [], None, ["a", "b"]),
        ({"topics": "b, a"}, [], ["a"], ["a"]),
        ({"topics": "a"}, ["a", "old"], ["a", "old"], ["a"]),  # what it was configured for earlier does not count
        ({"topics.regex": r"shop\..*"}, [], ["shop.a", "xshop.a"], ["shop.a"]),
        ({"topics.regex": r"shop\..*"}, ["shop.a"], None, ["shop.a"]),
        ({"topics.regex": "("}, [], ["shop.a"], []),
        ({"topics.regex": r"([a-z]+[-_.]?)+\d"}, [], [LONG, f"{LONG}1"], [f"{LONG}1"]),  # linear, not for ever
        ({"topics.regex": "[a-z&&[^s]]+"}, [], ["shop"], []),  # Java's, not Python's
        ({"topics": "${file:/secret:topic}"}, [], None, []),
        ({}, [], ["a"], []),
    ],
)
def test_topics_of_a_sink(settings, used, listed, expected):
    """`topics` is the answer; a pattern is held against the cluster; a placeholder is no name."""
    assert tuple(expected) == read_topics(sink(settings, *used), listed)


@pytest.mark.parametrize(
    ("connector", "listed", "expected"),
    [
        (source({}, "a", "gone"), ["a"], ["gone"]),
        (source({}, "a", "__debezium-heartbeat.shop"), ["a"], []),  # its own affair
        (source({}, "a", "gone"), None, []),  # without a listing nothing is missing
        (sink({"topics": "a,gone"}), ["a"], ["gone"]),
        (sink({"topics": "a"}, "a", "old"), ["a"], []),  # read earlier, no more
        (sink({"topics.regex": "a.*"}, "a1", "a2"), ["a1"], ["a2"]),
    ],
)
def test_topics_that_the_cluster_does_not_list(connector, listed, expected):
    """They are left out of the pipeline and asked about: gone, or this login may not see them."""
    assert tuple(expected) == missing_topics(connector, listed)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "connect-customers-sink"),
        ({"consumer.override.group.id": ""}, "connect-customers-sink"),
        ({"consumer.override.group.id": "mine"}, "mine"),
        ({"consumer.override.group.id": " mine "}, " mine "),
        *(({"consumer.override.group.id": odd}, None) for odd in ODD),
    ],
)
def test_group_of_a_sink(settings, expected):
    """The override wins; one that no file can hold is a question, not another group."""
    assert expected == sink_group(sink(settings))
    assert bool(expected is None) is any("group.id" in each for each in name_questions(sink(settings), ()))


@pytest.mark.parametrize(
    ("named", "table", "is_asked"),
    [
        ("a", "lake.a", False),
        ("a b\N{NO-BREAK SPACE}c", "lake.a b\N{NO-BREAK SPACE}c", False),
        ("a\tb", None, True),
        ("a\nb", None, True),
        ("a\x85b", None, True),
        ("\x1b[2J", None, True),
        ("${file:/secret:table}", None, False),
    ],
)
@pytest.mark.parametrize("key", ["iceberg.tables", "collection.name.format"])
def test_a_table_that_no_file_can_hold_is_a_question(key, named, table, is_asked):
    """A placeholder is as good as none."""
    one = sink({key: f"lake.{named}"})
    assert (table, is_asked) == (sink_table(one, ["t"]), bool(name_questions(one, ["t"])))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dlq.a", "dlq.a"),
        (" dlq.a ", "dlq.a"),
        ("", None),
        ("${env:DLQ}", None),
        ("a" * 249, "a" * 249),
        ("a" * 250, None),
    ],
)
def test_dead_letter_queue_of_a_sink(name, expected):
    """Only what can be a topic is one."""
    assert expected == dead_letter_queue(sink({"errors.deadletterqueue.topic.name": name}))


@pytest.mark.parametrize(
    ("settings", "url", "topics", "expected"),
    [
        ({"collection.name.format": "c"}, "jdbc:postgresql://h:5/lake?user=a&password=b", ["t"], "lake.c"),
        ({"collection.name.format": "crm.customers"}, "jdbc:postgresql://h/lake", ["t"], "crm.customers"),
        ({"table.name.format": "${topic}"}, "", ["t"], "t"),
        ({"table.name.format": "${topic}"}, "", ["t", "u"], None),
        ({"iceberg.tables": "lake.customers"}, "", ["t"], "lake.customers"),
        ({"iceberg.tables": "lake.a,lake.b"}, "", ["t"], None),
        ({}, "jdbc:sqlserver://h;password=b", ["t"], None),
    ],
)  # fmt: skip
def test_table_of_a_sink(settings, url, topics, expected):
    """One table is named with its database; several, or none, are left to a person."""
    state = ConnectorState("s", "sink", "RUNNING", None, None, (), {**settings, "connection.url": url})
    assert expected == sink_table(connector_facts(state, ()), topics)


@pytest.mark.parametrize(
    ("settings", "listed", "expected"),
    [
        ({}, ["control-iceberg"], ("connect-customers-sink-coord", "control-iceberg")),
        ({"iceberg.control.topic": "lake.control"}, ["lake.control"], ("connect-customers-sink-coord", "lake.control")),
        ({"consumer.override.group.id": "lake-writer"}, ["control-iceberg"], ("lake-writer-coord", "control-iceberg")),
        ({}, ["customers"], None),  # it has not committed a table yet
        ({}, None, None),
        ({"connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector"}, ["control-iceberg"], None),
    ],
)  # fmt: skip
def test_coordinator_of_an_iceberg_sink(settings, listed, expected):
    """Rows are visible once it has read the control topic, whatever the lag of the sink's own group."""
    settings = {"connector.class": "org.apache.iceberg.connect.IcebergSinkConnector", **settings}
    assert expected == coordinator(sink(settings), listed)


def test_facts_hold_no_secret():
    """A login, an address or an unknown setting of a connector does not get past the gathering."""
    config = {
        "connector.class": "x.Sink",
        "topics": "a",
        "connection.url": "jdbc:postgresql://h/lake?password=hunter2",
        "connection.password": "hunter2",
        "database.password": "hunter2",
        "transforms.mask.replacement.secret": "hunter2",
        "errors.deadletterqueue.topic.name": "dlq",
        "sasl.jaas.config": "hunter2",
        "value.converter.basic.auth": "hunter2",
    }
    facts = connector_facts(ConnectorState("s", "sink", "RUNNING", None, None, (), config), None)
    assert "hunter2" not in repr(facts)
    assert {"connector.class", "topics", "errors.deadletterqueue.topic.name"} == set(facts.settings)
    assert "lake" == facts.database


@pytest.mark.parametrize(
    ("topic", "internal"),
    [
        ("__consumer_offsets", True), ("_schemas", True), ("_confluent-metrics", True), ("connect-configs", True),
        ("my-connect-cluster-offsets", True), ("connect_status", True), ("debezium_connect_statuses", True),
        ("control-iceberg", True), ("mm2-offset-syncs.b.internal", True), ("shop.transaction", True),
        ("orders", False), ("connect", False), ("offsets", False), ("order-status", False), ("_mine", False),
        ("transaction", False), ("connections", False),
    ],
)  # fmt: skip
def test_internal_topics(topic, internal):
    """By name alone, and a topic that merely sounds alike is a topic."""
    assert internal == is_internal(topic)


@pytest.mark.parametrize(
    ("java_class", "expected"),
    [
        ("io.debezium.connector.postgresql.PostgresConnector", "Debezium PostgreSQL"),
        ("io.debezium.connector.jdbc.JdbcSinkConnector", "Debezium JDBC"),
        ("io.tabular.iceberg.connect.IcebergSinkConnector", "Iceberg"),
        ("com.wepay.kafka.connect.bigquery.BigQuerySinkConnectorV2", "BigQuery"),
        ("FileStreamSink", "FileStreamSink"),
        ("", ""),
    ],
)
def test_kind_in_words(java_class, expected):
    """What a person calls it."""
    assert expected == kind(source({"connector.class": java_class}))


def test_without_connectors_every_topic_of_data_is_of_interest():
    """With connectors only theirs are: a large cluster has thousands of others."""
    listed = ("__consumer_offsets", "a", "connect-status", "b")
    assert ("a", "b") == topics_of_interest(Facts(topics=listed))
    assert ("a", "b") == topics_of_interest(Facts(topics=listed, connectors=()))
    assert ("a",) == topics_of_interest(Facts(topics=listed, connectors=(sink({"topics": "a"}),)))


@pytest.mark.parametrize(
    ("connector", "listed", "word"),
    [
        (sink({"topics.regex": r"shop\..*"}), ["shop.a"], None),
        (sink({"topics.regex": "("}), ["shop.a"], "topics.regex of customers-sink"),
        (sink({"topics.regex": "("}), None, "topics.regex of customers-sink"),
        (sink({"topics.regex": r"(a)\1"}), ["aa"], "topics.regex of customers-sink"),
        (sink({"topics.regex": r"(?!dlq\.).*"}), ["shop.a", "dlq.a"], "topics.regex of customers-sink"),
        (sink({"topics.regex": "(", "topics": "a"}), ["a"], None),  # Connect takes one of the two
        (sink({}), ["a"], None),
        (source(CUSTOMERS), ["a"], None),
        (source({**POSTGRES, "table.include.list": "public.(a"}), ["a"], "s has a pattern"),
        (source({**CUSTOMERS, **ROUTE, "transforms.route.regex": "[a-z&&[^s]]+"}), ["a"], "s has a pattern"),
        (source({"table.include.list": "("}), ["a"], None),  # not Debezium's: nothing is derived from it
    ],
)
def test_a_pattern_that_cannot_be_followed_is_a_question(connector, listed, word):
    """What Java reads otherwise, or RE2 does not, is asked, not left out."""
    question = pattern_question(connector, listed)
    assert word == (question and question[: len(word)])
    assert question is None or question.endswith("?")
