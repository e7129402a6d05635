"""cdc.yml: what a good one becomes, and what is said about a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot import config
from bot.model import GroupKind, LagThreshold, Objective, Severity

FULL = Path(__file__).parent / "full.yml"
AM = 'alertmanager: {url: "http://am:9093", tokens: ["${T}"]}\n'
PEOPLE = "people: {responders: [U0ANA]}\n"


def read(text: str, path: Path = Path("cdc.yml")) -> config.Config:
    return config.parse(text.encode(), path)


def errors(text: str) -> list[str]:
    with pytest.raises(config.ConfigErrors) as caught:
        read(text)
    return list(caught.value.errors)


def test_a_full_config_becomes_frozen_values() -> None:
    """The example with every setting gives the pipeline of the design, with the actions enabled for it."""
    loaded = config.load(FULL)
    customers, orders = loaded.pipelines
    assert ("customers-postgres-source", "customers-iceberg-sink") == customers.connectors
    assert Objective(LagThreshold(10_000, 300), LagThreshold(100_000, 900), 0.001) == customers.objective
    assert (GroupKind.FLINK, "customers-canonical") == (customers.consumers[0].kind, customers.consumers[0].job)
    assert {"restart_failed_tasks", "silence_alerts"} == customers.actions
    assert {"silence_alerts"} == orders.actions
    assert ("#cdc-customers", "#cdc-incidents") == (customers.channel, orders.channel)
    assert FULL.parent / "cdc-oncall.db" == loaded.state
    with pytest.raises((AttributeError, TypeError)):
        loaded.kafka.config["x"] = 1  # type: ignore[union-attr, index]


def test_a_nearly_empty_config_is_read_only() -> None:
    """Without a word about actions and people nothing may be changed and nobody may change it."""
    loaded = read("pipelines: {a: {topics: [a]}}")
    assert ({}, False) == (dict(loaded.actions), bool(loaded.people.responders))
    assert Objective() == loaded.pipelines[0].objective
    assert ("127.0.0.1", 8080) == (loaded.listen.host, loaded.listen.port)
    assert (1800, 20, 15, 8) == (
        loaded.incidents.reopen_within,
        loaded.incidents.settle,
        loaded.incidents.recheck,
        loaded.probes.deadline,
    )


def test_approvers_are_the_responders_unless_named() -> None:
    """A team that names no approvers still can give a second opinion."""
    people = read(PEOPLE).people
    assert people.responders == people.approvers
    assert ("U0BEN",) == read("people: {responders: [U0ANA], approvers: [U0BEN]}").people.approvers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listen: 127.0.0.1:65536", "1: listen: a port must be 0 to 65535: write 127.0.0.1:8080"),
        (
            "listen: localhost",
            '1: listen: not host:port: write "127.0.0.1:8080", or "0.0.0.0:8080" for every interface',
        ),
        ("\nkafca: {}", "2: kafca: unknown setting: did you mean `kafka`?"),
        ("kafka: {}", "1: kafka.bootstrap: missing: write bootstrap: kafka:9092"),
        ("kafka: {bootstrap: kafka}", "1: kafka.bootstrap: not a broker list: write host:9092, several with commas"),
        (
            "kafka: {bootstrap: 'k:1', config: {group.id: x}}",
            "1: kafka.config: group.id is set by the bot itself, it reads and never commits: remove it",
        ),
        (
            "kafka: {bootstrap: 'k:1', config: {sasl.password: hunter2}}",
            '1: kafka.config: sasl.password is a secret: write "${NAME}" or {file: path}',
        ),
        (
            "registry: {url: 'http://me:hunter2@registry'}",
            '1: registry.url: holds a user or password: write them under auth: {user: NAME, password: "${NAME}"}',
        ),
        ("registry: {url: registry:8081}", "1: registry.url: not an address: write http://host:port or https://host"),
        (
            "registry: {url: 'http://r', auth: {user: me}}",
            '1: registry.auth: needs one way to log in: write {user: NAME, password: "${NAME}"} or {bearer: "${NAME}"}',
        ),
        (
            "alertmanager: {url: 'http://am'}",
            '1: alertmanager: accepts webhooks from anyone: write tokens: ["${CDC_WEBHOOK_TOKEN}"]',
        ),
        (
            "slack: {bot_token: xoxb-hunter2, signing_secret: '${S}'}",
            '1: slack.bot_token: a secret must not stand in the config: write "${NAME}" or {file: path}',
        ),
        (
            "slack: {mode: socket, bot_token: '${B}', signing_secret: '${S}'}",
            '1: slack: Socket Mode needs the app-level token: write app_token: "${SLACK_APP_TOKEN}", or mode: http',
        ),
        (
            "slack: {mode: http, bot_token: '${B}', app_token: '${A}'}",
            "1: slack: mode http needs the signing secret: "
            'write signing_secret: "${SLACK_SIGNING_SECRET}", or mode: socket',
        ),
        (
            "slack: {bot_token: '${B}'}",
            '1: slack: Socket Mode needs the app-level token: write app_token: "${SLACK_APP_TOKEN}", or mode: http',
        ),
        (
            "slack: {bot_token: '${B}', signing_secret: '${S}', command: cdc}",
            "1: slack.command: not a slash command: write /cdc, lower case, no spaces",
        ),
        (
            "people: {responders: ['@ana']}",
            "1: people.responders[0]: not a Slack member ID: write one such as U0123ABCD",
        ),
        (
            PEOPLE + AM + "actions: [silence_alert]",
            "3: actions.silence_alert: there is no action silence_alert: did you mean `silence_alerts`?",
        ),
        (
            PEOPLE + "actions: [silence_alerts]",
            "2: actions.silence_alerts: needs alertmanager, which is not configured: write alertmanager: {url: ...}",
        ),
        (
            AM + "actions: [silence_alerts]",
            '2: actions: actions are enabled but nobody may run them: write people: {responders: [U0123ABCD]} or ["*"]',
        ),
        (
            PEOPLE + AM + "actions: {silence_alerts: {pipelines: [custmers]}}\npipelines: {customers: {topics: [a]}}",
            "3: actions.silence_alerts.pipelines[0]: there is no pipeline custmers: did you mean `customers`?",
        ),
        (
            PEOPLE + AM + "actions: {silence_alerts: {cap_per_hour: 0}}",
            "3: actions.silence_alerts.cap_per_hour: input should be greater than or equal to 1",
        ),
        (
            "incidents: {settle: 20}",
            "1: incidents.settle: not a duration: write a number with its unit, such as 30s, 5m, 1h30m or 1d",
        ),
        (
            "alerts: {registry_refusals: 5}",
            "1: alerts.registry_refusals: not a count and a duration: write it like 5 in 10m",
        ),
        (
            "alerts:\n  registry_refusals_severity: hot",
            "2: alerts.registry_refusals_severity: unknown word: write one of critical, info, warning",
        ),
        ("runbooks: ./nowhere", "1: runbooks: there is no folder nowhere: write the path of an existing one"),
        ("a: [1", "1: not YAML: expected ',' or ']', but got '<stream end>'"),
        (
            "people: [${X}]",
            "1: not YAML: expected ',' or ']', but got '{': inside [] and {} put quotes around it: \"${NAME}\"",
        ),
        ("a:\n\tb: 1", "2: not YAML: found character '\\t' that cannot start any token: indent with spaces"),
        ("", "1: not a mapping of settings: begin with kafka:, slack: and pipelines:"),
        ("listen: a:1\nlisten: b:2", "2: listen: written twice, first on line 1: remove one of the two"),
    ],
)
def test_a_bad_setting_is_named_with_its_line_and_remedy(text: str, expected: str) -> None:
    """One mistake is one line: where it is, what is wrong, what to write."""
    found = errors(text)
    assert 1 == len(found), found
    assert found[0].startswith(f"cdc.yml:{expected}")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{}", "2: pipelines.a: names nothing to watch: write source, topics, consumers, subjects or sink"),
        ("{topics: a}", '2: pipelines.a.topics: must be a list: write topics: ["customers"]'),
        ("{topics: [a b]}", "2: pipelines.a.topics[0]: not a topic name"),
        (
            "{consumers: [{kind: flink}]}",
            "2: pipelines.a.consumers[0].group: missing: write group: customers_canonical_flink",
        ),
        ("{consumers: [{group: 7}]}", "2: pipelines.a.consumers[0].group: must be a name"),
        (
            "{consumers: [{group: g, kind: flik}]}",
            "2: pipelines.a.consumers[0].kind: unknown word: did you mean `flink`?",
        ),
        ("{topics: [t], managed_by: argo}", "2: pipelines.a.managed_by: unknown word: write one of gitops, strimzi"),
        ("{topics: [t], manged_by: gitops}", "2: pipelines.a.manged_by: unknown setting: did you mean `managed_by`?"),
        ("{topics: [t], channel: cdc}", "2: pipelines.a.channel: not a channel"),
        (
            "{topics: [t], channel: }",
            "2: pipelines.a.channel: has no value: write one or remove the line; an unquoted # starts a comment",
        ),
        (
            "{topics: [t], objective: {dead_letters_per_day: 0.1}}",
            "2: pipelines.a.objective.dead_letters_per_day: not a percentage: write it with its sign, such as 0.1%",
        ),
        (
            "{topics: [t], objective: {lag: {warn: 10000}}}",
            "2: pipelines.a.objective.lag.warn: not a count and a duration: write it like 10000 for 5m",
        ),
        (
            "{topics: [t], objective: {lag: {warn: 100000 for 5m}}}",
            "2: pipelines.a.objective.lag: warns at 100000 records, not before it pages at 100000",
        ),
        (
            "{consumers: [{group: taken}]}",
            "2: pipelines.a.consumers[0].group: consumer group taken already belongs to pipeline b",
        ),
        (
            "{sink: {connector: used}}",
            "2: pipelines.a.sink.connector: connector used already belongs to pipeline b",
        ),
    ],
)
def test_a_bad_pipeline_is_named_with_its_line_and_remedy(entry: str, expected: str) -> None:
    """The pipelines are the heart of the file: each mistake in one is named where it stands."""
    other = "b: {consumers: [{group: taken}], source: {connector: used}}"
    found = errors(f"pipelines: {{ {other},\n a: {entry} }}")
    assert 1 == len(found), found
    assert found[0].startswith(f"cdc.yml:{expected}")


def test_all_errors_are_reported_at_once() -> None:
    """Wrong shapes, unknown words, duplicates and contradictions come together, in the order of the file."""
    found = errors(
        "listen: nowhere\n"
        "pipelines:\n"
        "  a:\n"
        "    topics: [t]\n"
        "    gruops: []\n"
        "    objective: {lag: {warn: 9 for 1m, page: 8 for 1m}}\n"
        "  a: {topics: [t]}\n"
        "actions: [fly]\n"
    )
    assert ["1", "5", "6", "7", "8", "8"] == [line.split(":")[1] for line in found]


def test_a_list_of_wrong_items_hides_no_sibling() -> None:
    """Two mistakes in one consumer do not keep the rest of the pipeline from being checked."""
    found = errors(
        "pipelines:\n"
        "  a: {topics: [t], consumers: [{gruop: x, kind: flik}], objective: {lag: {warn: 9 for 1m, page: 8 for 1m}}}\n"
        "  b: {}\n"
    )
    assert 5 == len(found), found


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: &a [*a]", "an alias that contains itself"),
        ("a: !!python/object/apply:os.system [echo]", "unknown setting"),
        ('listen: "\\ud800"', "half a character"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_hostile_yaml_is_an_error_and_runs_nothing(text: str, what: str) -> None:
    """Self-reference, tags and deep nesting end in an error message."""
    assert any(what in line for line in errors(text))


def test_an_alias_bomb_is_refused() -> None:
    """A few lines that stand for billions of values do not hang the bot."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    assert any("more than 100,000 values" in line for line in errors(bomb))


def test_a_file_that_is_not_utf8_is_an_error_with_its_line() -> None:
    """Bytes of another encoding are named, not guessed."""
    with pytest.raises(config.ConfigErrors, match=r"cdc\.yml:2: not UTF-8 text: save the file as UTF-8"):
        config.parse(b"a: 1\nb: \xff", Path("cdc.yml"))


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    """The remedy is the option that names another file."""
    with pytest.raises(config.ConfigErrors, match=r"cdc\.yml: No such file or directory: give the path .* with -c"):
        config.load(tmp_path / "cdc.yml")


def test_yaml_merge_keys_share_settings_between_pipelines() -> None:
    """`<<: *name` works as people know it from other tools; an own value wins."""
    loaded = read("pipelines: {a: &a {topics: [t], owner: x}, b: {<<: *a, owner: y}}")
    assert [(("t",), "x"), (("t",), "y")] == [(pipeline.topics, pipeline.owner) for pipeline in loaded.pipelines]


def test_thresholds_of_the_alerts_come_from_the_file() -> None:
    """What is written under `alerts` reaches the rules; what is not keeps its default."""
    alerts = read("alerts: {registry_refusals: 2 in 30s, registry_refusals_severity: critical}").alerts
    assert (2, 30, Severity.CRITICAL, 60) == (
        alerts.refusals,
        alerts.refusals_window_s,
        alerts.refusals_severity,
        alerts.connector_failed_for_s,
    )


def test_the_hash_is_of_the_bytes() -> None:
    """A comment changed is a config changed: an incident records which file was in force."""
    assert read("listen: a:1").hash != read("listen: a:1 # really").hash
    assert 12 == len(read("listen: a:1").hash)


@pytest.mark.parametrize(
    ("secrets", "mode"),
    [
        ("app_token: '${A}'", "socket"),
        ("app_token: '${A}', signing_secret: '${S}'", "socket"),
        ("signing_secret: '${S}'", "http"),
        ("signing_secret: '${S}', app_token: '${A}', mode: http", "http"),
    ],
)
def test_the_mode_follows_from_the_secrets(tmp_path: Path, secrets: str, mode: str) -> None:
    """A config of before Socket Mode, with a signing secret alone, goes on over HTTP."""
    loaded = config.parse(f"slack: {{bot_token: '${{B}}', {secrets}}}".encode(), tmp_path / "cdc.yml")
    assert loaded.slack is not None and mode == loaded.slack.mode


def test_a_key_without_its_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigErrors, match=r"write certificate: \./client\.pem"):
        config.parse(b"registry: {url: 'https://r', tls: {key: k.pem}}", tmp_path / "cdc.yml")
