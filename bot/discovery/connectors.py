"""What a connector's own settings say: which topics it writes or reads, which group it commits with, its table.

Pure. What Connect has seen a connector use is believed first; settings fill in what was never used yet. A rule that
would be a guess is not made: the caller gets the question instead.

Sources: Debezium's documentation of `topic.prefix`, `table.include.list` and its heartbeat, transaction and schema
history topics; KIP-158 and KIP-298 for sinks; KIP-458 for `consumer.override.*`; KIP-558 for used topics.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from bot.discovery.facts import ConnectorFacts, Facts
from bot.patterns import Match, Pattern, read

HEARTBEAT = "__debezium-heartbeat"
_ROUTERS = {
    "org.apache.kafka.connect.transforms.RegexRouter": ("regex", "replacement"),
    "io.debezium.transforms.ByLogicalTableRouter": ("topic.regex", "topic.replacement"),
}
_INCLUDE = ("table.include.list", "collection.include.list", "table.whitelist", "collection.whitelist")
_UNNAMEABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")
_CONNECT_TOPIC = re.compile(
    r".*connect.*[-_.](configs?|offsets?|status(es)?)|.*[-_.]connect-(configs?|offsets?|status)"
)


def written_topics(source: ConnectorFacts, listed: Collection[str] | None) -> tuple[str, ...]:
    """Return the topics of data that a source writes, sorted; empty where nothing tells."""
    used = {topic for topic in source.used_topics or () if not _is_own(source, topic)}
    derived = {topic for topic in _derived(source, listed) if not _is_own(source, topic)}
    return _there(used | derived, listed)


def read_topics(sink: ConnectorFacts, listed: Collection[str] | None) -> tuple[str, ...]:
    """Return the topics that a sink reads, sorted: `topics`, or what `topics.regex` hits and what it has read."""
    regex = sink.settings.get("topics.regex", "")
    hits = {topic for topic in listed or () if regex and _hits(regex, topic)}
    return _there(_named_topics(sink) or set(sink.used_topics or ()) | hits, listed)


def pattern_question(connector: ConnectorFacts, listed: Collection[str] | None) -> str | None:
    """Return the question where topics hang on a pattern that cannot be followed here, so that some may be missing."""
    if connector.type == "sink":
        regex = "" if _named_topics(connector) else connector.settings.get("topics.regex", "")
        if regex and any(_hits(regex, topic) is None for topic in listed or ("",)):
            return f"topics.regex of {connector.name} is a pattern that cannot be followed here. Which does it read?"
    elif connector.java_class.startswith("io.debezium."):
        patterns = [*tables(connector), *(regex for regex, _ in _routers(connector))]
        if any(_java(pattern, ignore_case=True) is None for pattern in patterns):
            return f"{connector.name} has a pattern that cannot be followed here. Which topics does it write besides?"
    return None


def missing_topics(connector: ConnectorFacts, listed: Collection[str] | None) -> tuple[str, ...]:
    """Return the topics a connector has used, or is to read, that the cluster does not list: gone, or not shown to us.

    Connect remembers the topics a connector has used until the connector is deleted (KIP-558).
    """
    if listed is None:
        return ()
    named = _named_topics(connector) if connector.type == "sink" else set()
    topics = named or {topic for topic in connector.used_topics or () if not _is_own(connector, topic)}
    return tuple(sorted(topics - set(listed)))


def dead_letter_queue(sink: ConnectorFacts) -> str | None:
    """Return the queue that a sink names; None for none, and for one that its config provider fills in."""
    named = sink.settings.get("errors.deadletterqueue.topic.name", "").strip()
    return named if is_topic(named) else None


def overridden_group(sink: ConnectorFacts) -> str | None:
    """Return the group that a sink's config names, None for none and for one that a file cannot hold."""
    named = sink.settings.get("consumer.override.group.id", "")
    return named if is_name(named) and "${" not in named else None


def sink_group(sink: ConnectorFacts) -> str | None:
    """Return the group a sink commits with: `connect-NAME`, or what its config says instead; None as above."""
    return overridden_group(sink) if sink.settings.get("consumer.override.group.id") else f"connect-{sink.name}"


def name_questions(sink: ConnectorFacts, topics: Collection[str]) -> list[str]:
    """Return the questions where a sink's group or table has a name that a file cannot hold."""
    questions = []
    if sink_group(sink) is None:
        shown = sink.settings["consumer.override.group.id"]
        questions.append(f"consumer.override.group.id of {sink.name} is {shown!a}: which group is it?")
    table = _table(sink, topics)
    if table is not None and not is_name(table):
        questions.append(f"The table of {sink.name} is {table!a}: which one is it?")
    return questions


def sink_table(sink: ConnectorFacts, topics: Collection[str]) -> str | None:
    """Return the one table a sink writes, with its database where that is known.

    None for several or none, and for one with a name that a file cannot hold.
    """
    table = _table(sink, topics)
    return table if table is not None and is_name(table) else None


def _table(sink: ConnectorFacts, topics: Collection[str]) -> str | None:
    tables = _items(sink.settings.get("iceberg.tables", ""))
    named = sink.settings.get("collection.name.format") or sink.settings.get("table.name.format") or ""
    if len(topics) == 1:
        named = named.replace("${topic}", next(iter(topics)))
    if named and "$" not in named:
        tables = [f"{sink.database}.{named}" if sink.database and "." not in named else named]
    return tables[0] if len(tables) == 1 and "${" not in tables[0] else None


def tables(source: ConnectorFacts) -> tuple[str, ...]:
    """Return Debezium's table list as it is written; its entries are regular expressions."""
    return tuple(item for key in _INCLUDE for item in _items(source.settings.get(key, "")))


def topics_of_interest(facts: Facts) -> tuple[str, ...]:
    """Return the topics whose readers matter: the connectors', or without any connector every topic of data."""
    if not facts.connectors:
        return tuple(topic for topic in facts.topics or () if not is_internal(topic))
    found: set[str] = set()
    for connector in facts.connectors:
        found.update((read_topics if connector.type == "sink" else written_topics)(connector, facts.topics))
    return tuple(sorted(found))


def is_name(name: str) -> bool:
    """Whether `cdc.yml` can hold the name: no control characters, not blank."""
    return bool(name.strip()) and not _UNNAMEABLE.search(name)


def is_topic(name: str) -> bool:
    """Whether Kafka allows the name: a placeholder such as `${file:...}` is none."""
    return re.fullmatch(r"[A-Za-z0-9._-]{1,249}", name) is not None and name not in (".", "..")


def is_internal(topic: str) -> bool:
    """Whether a topic is Kafka's, Connect's, the registry's or Debezium's own; by name, there is no other mark."""
    return (
        topic.startswith(("__", "_schemas", "_confluent", "mm2-", "control-iceberg"))
        or topic.endswith((".checkpoints.internal", ".transaction"))
        or _CONNECT_TOPIC.fullmatch(topic) is not None
    )


def kind(connector: ConnectorFacts) -> str:
    """Return what a person calls this connector: `Debezium PostgreSQL`, `Iceberg`, else the class's last word."""
    java_class = connector.java_class
    words = java_class.rpartition(".")[2]
    name = re.sub(r"(Source|Sink)?Connector(V\d)?$", "", words) or words
    name = {"Postgres": "PostgreSQL", "MySql": "MySQL", "MongoDb": "MongoDB", "Jdbc": "JDBC"}.get(name, name)
    return f"Debezium {name}" if java_class.startswith("io.debezium.") else name


def coordinator(sink: ConnectorFacts, listed: Collection[str] | None) -> tuple[str, str] | None:
    """Return (group, control topic) of an Iceberg sink's coordinator, or None.

    Its workers commit their offsets when data files are announced on the control topic; rows are visible once the
    coordinator has read that and committed the table (iceberg: kafka-connect, `Coordinator.java`). A lag of 0 in the
    sink's own group says nothing of the table.
    """
    group, topic = sink_group(sink), sink.settings.get("iceberg.control.topic") or "control-iceberg"
    if kind(sink) != "Iceberg" or group is None or listed is None or topic not in listed:
        return None
    return f"{group}-coord", topic


# --- leaves --------------------------------------------------------------------------------------


def _there(topics: set[str], listed: Collection[str] | None) -> tuple[str, ...]:
    return tuple(sorted(topics if listed is None else topics & set(listed)))


def _named_topics(sink: ConnectorFacts) -> set[str]:
    return {topic for topic in _items(sink.settings.get("topics", "")) if is_topic(topic)}


def _is_own(source: ConnectorFacts, topic: str) -> bool:
    """Whether a topic that a source writes is its own bookkeeping: heartbeat, history, transactions, schema changes."""
    settings = source.settings
    prefix = _prefix(source)
    own = {
        settings.get(key, "")
        for key in (
            "schema.history.internal.kafka.topic", "database.history.kafka.topic", "signal.kafka.topic",
            "notification.sink.topic.name",
        )
    }  # fmt: skip
    if prefix and source.java_class.startswith("io.debezium."):
        own.add(f"{prefix}.{settings.get('topic.transaction', 'transaction')}")
        if not re.search(r"Postgres|MongoDb", source.java_class):
            own.add(prefix)  # the schema change topic
    return topic in own or topic.startswith(("__", settings.get("topic.heartbeat.prefix") or HEARTBEAT))


def _derived(source: ConnectorFacts, listed: Collection[str] | None) -> Iterator[str]:
    """Yield what Debezium would write: a topic per table, as its routers rename it.

    With a listing and no router, the listing is filtered; else only tables that are no pattern can be named.
    """
    prefix = _prefix(source)
    if not prefix or not source.java_class.startswith("io.debezium."):
        return
    wanted = tables(source)
    routers = list(_routers(source))
    if listed is not None and not routers:
        for topic in listed:
            rest = topic.removeprefix(f"{prefix}.")
            if rest != topic and (not wanted or any(_hits(each, rest, ignore_case=True) for each in _both(wanted))):
                yield topic
        return
    for table in wanted:
        name = table.replace("\\.", ".")
        if re.fullmatch(r"[\w.$-]+", name):
            routed = _routed(f"{prefix}.{name}", routers)
            if routed is not None:
                yield routed


def _both(tables: Iterable[str]) -> Iterator[str]:
    """SQL Server lists `schema.table` and writes `PREFIX.database.schema.table`."""
    for table in tables:
        yield table
        yield rf"[^.]+\.(?:{table})"


def _routers(source: ConnectorFacts) -> Iterator[tuple[str, str]]:
    for name in _items(source.settings.get("transforms", "")):
        keys = _ROUTERS.get(source.settings.get(f"transforms.{name}.type", ""))
        if keys:
            regex, replacement = (source.settings.get(f"transforms.{name}.{key}", "") for key in keys)
            yield regex, replacement


def _routed(topic: str, routers: Iterable[tuple[str, str]]) -> str | None:
    """Return what the routers make of a topic; None where one of them is no pattern that is read here."""
    for regex, replacement in routers:
        pattern = _java(regex)
        if pattern is None:
            return None
        if found := pattern.fullmatch(topic):
            topic = _filled(replacement, found)
    return topic


def _filled(replacement: str, found: Match) -> str:
    """Return Java's replacement with its `$1` and `${name}` filled in; one that names no group stays as it is."""

    def group(reference: re.Match[str]) -> str:
        number = int(reference[1]) if reference[1] else found.names.get(reference[2], len(found.groups))
        return found.groups[number] or "" if number < len(found.groups) else reference[0]

    return re.sub(r"\$(?:(\d)|\{(\w+)\})", group, replacement)


def _hits(regex: str, text: str, ignore_case: bool = False) -> bool | None:
    """Whether a pattern of Java's is all of a text; None where it cannot be read here."""
    pattern = _java(regex, ignore_case)
    return None if pattern is None else pattern.fullmatch(text) is not None


def _java(regex: str, ignore_case: bool = False) -> Pattern | None:
    """Return Java's pattern, None for one with sets in sets, or that RE2 cannot read."""
    if re.search(r"\[\[|&&|\[\^?[^\]]*\[", regex):
        return None
    return read(re.sub(r"\(\?<(?![=!])", "(?P<", regex), ignore_case)


def _prefix(source: ConnectorFacts) -> str:
    return source.settings.get("topic.prefix") or source.settings.get("database.server.name") or ""


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
