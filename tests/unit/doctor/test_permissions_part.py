"""`cdc doctor --permissions`: named resources only, each once, each with what needs it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from itertools import pairwise

import pytest

from bot.doctor.permissions import Setup, grants, kafka_needs, render
from bot.model import ConsumerGroup, GroupKind, Pipeline, Sink
from bot.shipped import shipped

CUSTOMERS = Pipeline(
    "customers", "#c", source_connector="src", topics=("customers",), subjects=("customers-value",),
    consumers=(ConsumerGroup("app", GroupKind.FLINK),), sink=Sink("sink", "t", "dlq.customers"),
)  # fmt: skip
WHOLE = Setup(
    (CUSTOMERS,), "kafka:9092", False, "http://registry", "http://connect", False, "http://am", "http://prometheus",
    shipped("manifest.yml").read_text("utf-8"), True,
)  # fmt: skip


def granted(setup: Setup, system: str) -> dict[str, tuple[str, ...]]:
    return {grant.grant: grant.needed_by for grant in grants(setup) if grant.system == system}


def behind(topic: str) -> dict[str, tuple[str, ...]]:
    """Return what is asked of a topic in which a group has unread data."""
    return {f"DESCRIBE_CONFIGS on topic {topic}": ("consumer_lag",), f"READ on topic {topic}": ("consumer_lag",)}


@pytest.mark.parametrize(
    ("pipeline", "needed"),
    [
        (Pipeline("p", "#c"), {}),
        (Pipeline("p", "#c", topics=("t",)), {}),
        (Pipeline("p", "#c", topics=("t",), source_connector="s"), {"DESCRIBE on topic t": ("connector_state",)}),
        (
            Pipeline("p", "#c", topics=("t",), consumers=(ConsumerGroup("g"),)),
            {**behind("t"), "DESCRIBE on topic t": ("consumer_lag",), "DESCRIBE on group g": ("consumer_lag",)},
        ),
        (
            Pipeline("p", "#c", topics=("t",), consumers=(ConsumerGroup("g", topics=("u",)),)),
            {**behind("u"), "DESCRIBE on topic u": ("consumer_lag",), "DESCRIBE on group g": ("consumer_lag",)},
        ),
        (
            Pipeline("p", "#c", sink=Sink("s")),
            {"DESCRIBE on group connect-s": ("consumer_lag",)},
        ),
        (
            Pipeline("p", "#c", topics=("t",), sink=Sink("s", dlq="d")),
            {
                **behind("t"),
                "DESCRIBE on topic t": ("consumer_lag", "connector_state", "dead_letters"),
                "READ on topic d": ("dead_letters", "consumer_lag"),
                "DESCRIBE on group connect-s": ("consumer_lag", "connector_state", "dead_letters"),
            },
        ),
        (
            Pipeline("p", "#c", topics=("d",), sink=Sink("s", dlq="d")),
            {
                **behind("d"),
                "READ on topic d": ("consumer_lag", "connector_state", "dead_letters"),
                "DESCRIBE on group connect-s": ("consumer_lag", "connector_state", "dead_letters"),
            },
        ),
        (Pipeline("p", "#c", subjects=("s",)), {"READ on topic _schemas": ("schema_changes",)}),
    ],
)
def test_kafka_needs_follow_from_what_the_probes_ask(pipeline: Pipeline, needed: dict[str, tuple[str, ...]]) -> None:
    """What nobody asks is not needed; READ includes DESCRIBE."""
    assert needed == {need.grant: need.needed_by for need in kafka_needs((pipeline,))}


def test_two_pipelines_on_one_topic_need_one_acl() -> None:
    """And it names both."""
    other = replace(CUSTOMERS, name="copy", consumers=(ConsumerGroup("other"),), sink=None)

    (need,) = [need for need in kafka_needs((CUSTOMERS, other)) if need.grant == "DESCRIBE on topic customers"]

    assert ("customers", "copy") == need.pipelines


def test_the_script_grants_named_resources_and_nothing_else() -> None:
    """No wildcard, no cluster, no write; reading `_schemas` and the topics stands there as a comment."""
    commands = [shlex.split(line) for line in render(WHOLE).splitlines() if not line.startswith("#") and line]

    assert {"kafka-acls"} == {command[0] for command in commands}
    assert {"Describe", "DescribeConfigs", "Read"} == {
        command[command.index("--operation") + 1] for command in commands
    }
    assert not {"*", "--cluster", "--producer", "--consumer", "_schemas"} & {word for one in commands for word in one}
    assert {"customers", "dlq.customers", "app", "connect-sink"} == {
        value for one in commands for word, value in pairwise(one) if word in ("--topic", "--group")
    }
    optional = [line for line in render(WHOLE).splitlines() if line.startswith("# kafka-acls")]
    assert ["--operation Read --topic customers", "--operation Read --topic _schemas"] == [
        line[line.index("--operation") :] for line in optional
    ]


def test_every_command_has_the_feature_that_needs_it_above() -> None:
    """As a comment with the probes and the pipeline."""
    printed = render(WHOLE).splitlines()
    above = [printed[index - 1] for index, line in enumerate(printed) if line.startswith("kafka-acls")]

    assert above
    assert all(line.startswith("# ") and " of pipeline customers: " in line for line in above)


def test_names_are_quoted_and_the_principal_is_the_callers() -> None:
    """A group may have any name."""
    odd = Pipeline("p", "#c", topics=("t",), consumers=(ConsumerGroup("it's; rm -rf"),))

    script = render(Setup((odd,), "kafka:9092", secured=True), "User:CN=bot,O=acme")

    (command,) = [line for line in script.splitlines() if "--group" in line]
    words = shlex.split(command)
    assert ["--command-config", "admin.properties"] == words[3:5]
    assert "User:CN=bot,O=acme" in words
    assert "it's; rm -rf" == words[-1]


@pytest.mark.parametrize(
    ("actions", "posts"),
    [
        (frozenset(), set()),
        (frozenset({"restart_failed_tasks"}), {"POST /connectors/src/restart", "POST /connectors/sink/restart"}),
        (frozenset({"silence_alerts"}), {"POST /api/v2/silences"}),
    ],
)
def test_only_an_enabled_action_may_change_something(actions: frozenset[str], posts: set[str]) -> None:
    """Read-only until told otherwise: without actions there is no POST anywhere."""
    setup = replace(WHOLE, actions=actions, pipelines=(replace(CUSTOMERS, actions=actions),))

    assert posts == {grant.grant for grant in grants(setup) if grant.grant.startswith("POST") and not grant.optional}
    assert posts == {word for word in posts if word in render(setup)}


def test_a_system_that_is_not_configured_needs_nothing() -> None:
    """A pipeline's names alone make no permission."""
    assert () == grants(Setup((CUSTOMERS,)))
    assert "---" not in render(Setup((CUSTOMERS,)))


def test_slack_scopes_are_those_of_the_shipped_manifest_each_with_its_reason() -> None:
    """Read off the file that the app is made from; Socket Mode adds the app-level token's."""
    scopes = {grant.grant: grant.feature for grant in grants(WHOLE) if grant.system == "slack"}

    assert {"chat:write", "commands", "files:write", "channels:history", "groups:history", "channels:read",
            "groups:read", "connections:write"} == set(scopes)  # fmt: skip
    assert "upload the postmortem" == scopes["files:write"]
    assert "connections:write" not in granted(replace(WHOLE, socket_mode=False), "slack")


def test_flink_is_read_for_the_lag_and_for_the_doctor() -> None:
    """Every path is a GET; without Flink's address there is no such part."""
    setup = replace(WHOLE, flink="http://flink")
    flink = granted(setup, "flink")
    assert all(grant.startswith("GET /v1/") for grant in flink)
    assert ("consumer_lag", "doctor") == flink["GET /v1/jobs/overview"]
    assert "--- Flink at http://flink: reading is enough" in render(setup)
    assert "--- Flink" not in render(WHOLE)


def test_registry_roles_are_by_subject_where_the_registry_can() -> None:
    """Confluent and Karapace know subjects; a dot in a Karapace pattern is a dot."""
    script = render(replace(WHOLE, pipelines=(replace(CUSTOMERS, subjects=("a.b-value",)),)))

    assert "--role DeveloperRead --resource Subject:a.b-value" in script
    assert '{"username": "cdc-oncall", "operation": "Read", "resource": "Subject:a[.]b-value"}' in script
    assert "sr-readonly" in script


def test_a_group_without_topics_is_named_with_what_it_lacks() -> None:
    """cdc.yml does not say what it reads."""
    bare = Pipeline("p", "#c", consumers=(ConsumerGroup("g"),))

    lacks = "it also needs Describe and DescribeConfigs on those it reads."
    assert f"# Group g of pipeline p has no topics in cdc.yml: {lacks}" in render(Setup((bare,), "kafka:9092"))


def test_what_fire_alone_needs_is_optional() -> None:
    """Whoever grants sees that the bot does without it."""
    [grant] = [each for each in grants(WHOLE) if each.grant == "POST /api/v2/alerts"]
    assert (True, ("doctor --fire",)) == (grant.optional, grant.needed_by)
    assert "doctor --fire only, optional: the marked test alert" in render(WHOLE)
