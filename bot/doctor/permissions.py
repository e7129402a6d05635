"""`cdc doctor --permissions`: the least that each system has to grant, each with what is lost without it.

Derived from cdc.yml alone, nothing is asked: it can be handed to whoever grants before anything is reachable. The
text is a shell script: Kafka's part are commands to run, the other systems' parts are comments. What a probe says
when it is refused (`needs the ACL READ on topic dlq.customers`) is the `grant` of one row here, and the probes of its
`needed_by` are those that say it: tests/system/test_permissions.py takes each away on a real Kafka and listens.

Sources: Kafka's authorizer: READ implies DESCRIBE (StandardAuthorizerData); Confluent's operations by path
("Operation and Resource Support for Schema Registry"); Karapace's and Apicurio's roles from their documentation.
Kafka Connect has no roles: there a proxy decides by method and path.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.model import ConsumerGroup, GroupKind, Pipeline

PRINCIPAL = "User:cdc-oncall"

CONSUMER_LAG = "consumer_lag"
DEAD_LETTERS = "dead_letters"
CONNECTOR_STATE = "connector_state"
SCHEMA_CHANGES = "schema_changes"
RESTART = "restart_failed_tasks"
SILENCE = "silence_alerts"
DOCTOR = "doctor"
FIRE = "doctor --fire"

SCHEMAS_TOPIC = "_schemas"

CONFIGS = "DESCRIBE_CONFIGS"

_TOPIC_FEATURES: Mapping[str, str] = {
    CONSUMER_LAG: "how far the groups are behind",
    CONNECTOR_STATE: "what a connector delivered, beside its state",
    DEAD_LETTERS: "the share of dead letters among all records",
}
_DLQ_FEATURES: Mapping[str, str] = {
    DEAD_LETTERS: "what is in the DLQ",
    CONSUMER_LAG: "whether a sink's unread tail is in there",
}
_SCHEMAS_FEATURE = "when a version was registered"
_RETENTION_FEATURE = "how long unread records stay, and so how soon they are lost"
_PEEK_FEATURE = "whether a short unread tail holds a record at all, or only markers of transactions"


@dataclass(frozen=True)
class KafkaNeed:
    """One ACL. `setting` is where the name stands in cdc.yml; `topics` are those a group is read with.

    `optional`: without it a probe goes on with less, and says so only where it would have used it.
    """

    operation: str
    resource: str
    name: str
    needed_by: tuple[str, ...]
    pipelines: tuple[str, ...]
    setting: str
    feature: str
    topics: tuple[str, ...] = ()
    optional: bool = False

    @property
    def grant(self) -> str:
        """The permission as the probes word it."""
        return f"{self.operation} on {self.resource} {self.name}"


@dataclass(frozen=True)
class Grant:
    """One row of `--permissions --json`. `needed_by` are probes, actions and commands; `feature` is what is lost.

    `optional`: most will do without; the script has it as a comment.
    """

    system: str
    grant: str
    feature: str
    needed_by: tuple[str, ...]
    pipelines: tuple[str, ...] = ()
    optional: bool = False

    def document(self) -> Mapping[str, object]:
        return {
            "system": self.system,
            "grant": self.grant,
            "feature": self.feature,
            "needed_by": list(self.needed_by),
            "pipelines": list(self.pipelines),
            "optional": self.optional,
        }


@dataclass(frozen=True)
class Setup:
    """What of cdc.yml decides on permissions; an address is None where the system is not configured.

    `secured`: Kafka asks for a login. `acting_apart`: actions log in to Connect as another user than the probes.
    `manifest` is the text of the Slack app manifest that ships, empty without Slack.
    """

    pipelines: tuple[Pipeline, ...] = ()
    bootstrap: str | None = None
    secured: bool = False
    registry: str | None = None
    connect: str | None = None
    acting_apart: bool = False
    alertmanager: str | None = None
    prometheus: str | None = None
    manifest: str = ""
    socket_mode: bool = False
    actions: frozenset[str] = frozenset()
    flink: str | None = None


def grants(setup: Setup) -> tuple[Grant, ...]:
    """Return every permission, by system; nothing for a system that is not configured."""
    return (*_kafka(setup), *_connect(setup), *_registry(setup), *_monitoring(setup), *_flink(setup), *_slack(setup))


def kafka_needs(pipelines: Sequence[Pipeline]) -> tuple[KafkaNeed, ...]:
    """Return the ACLs that the probes of these pipelines need, each once, topics first."""
    found: dict[tuple[str, str, str], KafkaNeed] = {}
    for need in (need for pipeline in pipelines for need in _needs_of(pipeline)):
        key = (need.resource, need.name, need.operation if need.optional or need.operation == CONFIGS else "")
        found[key] = _merged(found[key], need) if key in found else need
    read = {need.name for need in found.values() if need.operation == "READ" and not need.optional}
    order = ("topic", "group")
    return tuple(
        sorted(
            (need for need in found.values() if not (need.optional and need.name in read)),
            key=lambda need: (need.optional, order.index(need.resource), need.operation == CONFIGS),
        )
    )


def render(setup: Setup, principal: str = PRINCIPAL) -> str:
    """Return the permissions as a shell script with comments; it ends with a newline."""
    parts = [
        "# What cdc-oncall needs, and nothing else: by the pipelines of cdc.yml; nothing was asked.",
        "# It reads. What changes something is here only for `doctor --fire` and the actions that cdc.yml enables"
        + (f" ({', '.join(sorted(setup.actions))})." if setup.actions else " (none)."),
    ]
    if setup.bootstrap:
        parts += _kafka_script(setup, principal)
    user = principal.partition(":")[2] or principal
    if setup.connect:
        parts += _table(
            "Kafka Connect",
            setup.connect,
            "it has no roles of its own; a proxy before it lets the probes' user do this and nothing else",
            _connect(setup),
        )
    if setup.registry:
        parts += _table("Schema Registry", setup.registry, "reading is enough", _registry(setup))
        parts += _registry_roles(setup, principal, user)
    for system, name, url in (
        ("alertmanager", "Alertmanager", setup.alertmanager),
        ("prometheus", "Prometheus", setup.prometheus),
    ):
        if url:
            rows = [grant for grant in _monitoring(setup) if grant.system == system]
            parts += _table(name, url, "a proxy before it lets the bot do this and nothing else", rows)
    if setup.flink:
        parts += _table("Flink", setup.flink, "reading is enough", _flink(setup))
    if setup.manifest:
        parts += _table("Slack", "", "scopes of the app, as `cdc manifest` asks for them", _slack(setup))
    return "\n".join(parts) + "\n"


# --- Kafka -------------------------------------------------------------------------------------------


def _needs_of(pipeline: Pipeline) -> Iterable[KafkaNeed]:
    here, by = f"pipelines.{pipeline.name}", (pipeline.name,)
    sink_group = pipeline.sink.consumer_group if pipeline.sink else None
    delivered = [CONNECTOR_STATE] if pipeline.connectors else []
    processed = [DEAD_LETTERS] if pipeline.dlq else []
    lag = [CONSUMER_LAG] if any(not group.topics or _reads(group, pipeline) for group in pipeline.groups) else []
    for topic in pipeline.topics:
        needed_by = (*lag, *delivered, *processed)
        if needed_by:
            yield KafkaNeed(
                "DESCRIBE", "topic", topic, needed_by, by, f"{here}.topics", _words(_TOPIC_FEATURES, needed_by)
            )
        if lag:
            yield from _unread_needs(topic, by, f"{here}.topics")
    for index, group in enumerate(pipeline.groups):
        setting = f"{here}.consumers[{index}].group" if group in pipeline.consumers else f"{here}.sink.connector"
        for topic in group.topics:
            behind = _TOPIC_FEATURES[CONSUMER_LAG]
            where = setting.replace(".group", ".topics")
            yield KafkaNeed("DESCRIBE", "topic", topic, (CONSUMER_LAG,), by, where, behind)
            yield from _unread_needs(topic, by, where)
        needed_by = (CONSUMER_LAG,)
        if group.group == sink_group:
            needed_by = (CONSUMER_LAG, *(delivered if pipeline.topics else ()), *processed)
        feature, topics = _words(_TOPIC_FEATURES, needed_by), group.topics or pipeline.topics
        yield KafkaNeed("DESCRIBE", "group", group.group, needed_by, by, setting, feature, topics)
    if pipeline.dlq:
        residue = any(group.kind is GroupKind.CONNECT_SINK for group in pipeline.groups)
        needed_by = (DEAD_LETTERS, *((CONSUMER_LAG,) if residue else ()))
        feature = _words(_DLQ_FEATURES, needed_by)
        yield KafkaNeed("READ", "topic", pipeline.dlq, needed_by, by, f"{here}.sink.dlq", feature)
    if pipeline.subjects:
        by_topic = (SCHEMA_CHANGES,)
        where = f"{here}.subjects"
        yield KafkaNeed("READ", "topic", SCHEMAS_TOPIC, by_topic, by, where, _SCHEMAS_FEATURE, optional=True)


def _unread_needs(topic: str, by: tuple[str, ...], setting: str) -> Iterable[KafkaNeed]:
    """Yield what is asked of a topic only where a group has unread data in it."""
    yield KafkaNeed(CONFIGS, "topic", topic, (CONSUMER_LAG,), by, setting, _RETENTION_FEATURE)
    yield KafkaNeed("READ", "topic", topic, (CONSUMER_LAG,), by, setting, _PEEK_FEATURE, optional=True)


def _reads(group: ConsumerGroup, pipeline: Pipeline) -> bool:
    return bool(set(group.topics) & set(pipeline.topics))


def _merged(one: KafkaNeed, other: KafkaNeed) -> KafkaNeed:
    """Two needs of one name are one ACL: READ implies DESCRIBE."""
    return replace(
        one,
        operation="READ" if "READ" in (one.operation, other.operation) else one.operation,
        needed_by=tuple(dict.fromkeys((*one.needed_by, *other.needed_by))),
        feature="; ".join(dict.fromkeys((*one.feature.split("; "), *other.feature.split("; ")))),
        pipelines=tuple(dict.fromkeys((*one.pipelines, *other.pipelines))),
        topics=tuple(dict.fromkeys((*one.topics, *other.topics))),
        optional=one.optional and other.optional,
    )


def _kafka(setup: Setup) -> tuple[Grant, ...]:
    needs = kafka_needs(setup.pipelines) if setup.bootstrap else ()
    return tuple(
        Grant("kafka", need.grant, need.feature, need.needed_by, need.pipelines, need.optional)
        for need in needs
        if need.name != SCHEMAS_TOPIC or not need.optional or setup.registry
    )


def kafka_command(setup: Setup, principal: str, operation: str, resource: str, names: Sequence[str]) -> str:
    """Return the `kafka-acls` command that grants an operation on named resources; never on `*`."""
    words = ["kafka-acls", "--bootstrap-server", setup.bootstrap or "HOST:PORT"]
    words += ["--command-config", "admin.properties"] if setup.secured else []
    as_written = "".join(word.capitalize() for word in operation.split("_"))
    words += ["--add", "--allow-principal", principal, "--operation", as_written]
    for name in names:
        words += [f"--{resource}", name]
    return shlex.join(words)


def _kafka_script(setup: Setup, principal: str) -> list[str]:
    lines = ["", f"# --- Kafka at {setup.bootstrap}: ACLs"]
    if setup.secured:
        lines.append("# admin.properties holds the login of somebody who may change ACLs; it is not in cdc.yml.")
    needs = [need for need in kafka_needs(setup.pipelines) if not need.optional]
    if not needs:
        lines.append("# No pipeline of cdc.yml names a topic, a group or a DLQ: the probes ask Kafka nothing yet.")
    by_reason: dict[tuple[str, str, str], list[KafkaNeed]] = {}
    for need in needs:
        of = f"pipeline{'s' if len(need.pipelines) > 1 else ''} {', '.join(need.pipelines)}"
        reason = f"{', '.join(need.needed_by)} of {of}: {need.feature}"
        by_reason.setdefault((reason, need.operation, need.resource), []).append(need)
    for (reason, operation, resource), alike in by_reason.items():
        lines.append(f"# {reason}")
        lines.append(kafka_command(setup, principal, operation, resource, [need.name for need in alike]))
    for pipeline in setup.pipelines:
        lines += [
            f"# Group {group.group} of pipeline {pipeline.name} has no topics in cdc.yml: it also needs "
            "Describe and DescribeConfigs on those it reads."
            for group in pipeline.groups
            if not group.topics and not pipeline.topics
        ]
    lines.append(
        "# `cdc init`, completion and the verbs show what this principal may Describe: they need no more than that."
    )
    peeked = [need.name for need in kafka_needs(setup.pipelines) if need.optional and need.name != SCHEMAS_TOPIC]
    if peeked:
        lines.append(f"# {CONSUMER_LAG}: {_PEEK_FEATURE}.")
        lines.append(
            "# It reads one record of such a tail and shows nothing of it. Where that may be: take the # away."
        )
        lines.append(f"# {kafka_command(setup, principal, 'READ', 'topic', peeked)}")
    if setup.registry and any(pipeline.subjects for pipeline in setup.pipelines):
        lines.append(
            f"# {SCHEMA_CHANGES}: {_SCHEMAS_FEATURE}. Only where the registry keeps no times itself (Karapace,"
        )
        lines.append("# Confluent before 8.0): take the # away.")
        lines.append(f"# {kafka_command(setup, principal, 'READ', 'topic', [SCHEMAS_TOPIC])}")
    return lines


# --- the systems that speak HTTP -----------------------------------------------------------------------


def _connect(setup: Setup) -> tuple[Grant, ...]:
    if not setup.connect:
        return ()
    rows = [
        Grant("connect", "GET /", "the worker's version", (DOCTOR,)),
        Grant(
            "connect", "GET /connectors", "names, completed and compared with cdc.yml", (DOCTOR, "completion", "init")
        ),
        Grant("connect", "GET /connector-plugins", "whether each connector's class is installed", (DOCTOR,)),
    ]
    for pipeline in setup.pipelines:
        for name in pipeline.connectors:
            by = (pipeline.name,)
            what = "which task failed, and why"
            rows.append(Grant("connect", f"GET /connectors/{name}/status", what, (CONNECTOR_STATE,), by))
            what = "the sink's group, where its config names one"
            rows.append(Grant("connect", f"GET /connectors/{name}/config", what, (CONNECTOR_STATE,), by))
            if RESTART in pipeline.actions:
                what = "restarting failed tasks" + (
                    ", as the user of connect.actions_auth" if setup.acting_apart else ""
                )
                rows.append(Grant("connect", f"POST /connectors/{name}/restart", what, (RESTART,), by))
    return tuple(rows)


def _registry(setup: Setup) -> tuple[Grant, ...]:
    if not setup.registry:
        return ()
    rows = [
        Grant("registry", "GET /subjects", "names, completed and compared with cdc.yml", (DOCTOR, "completion", "init"))
    ]
    subjects: dict[str, list[str]] = {}
    for pipeline in setup.pipelines:
        for subject in pipeline.subjects:
            subjects.setdefault(subject, []).append(pipeline.name)
    for subject, pipelines in subjects.items():
        for path, what in (
            (f"/subjects/{subject}/versions", "what changed in the newest versions"),
            (f"/subjects/{subject}/versions/*", "what changed in the newest versions"),
            (f"/config/{subject}", "the compatibility level"),
            (f"/mode/{subject}", "the mode"),
        ):
            rows.append(Grant("registry", f"GET {path}", what, (SCHEMA_CHANGES,), tuple(pipelines)))
    dead = tuple(pipeline.name for pipeline in setup.pipelines if pipeline.dlq)
    if dead:
        what = "the masked examples of Avro dead letters"
        rows.append(Grant("registry", "GET /schemas/ids/*", what, (DEAD_LETTERS,), dead))
    return tuple(rows)


def _registry_roles(setup: Setup, principal: str, user: str) -> list[str]:
    subjects = list(dict.fromkeys(subject for pipeline in setup.pipelines for subject in pipeline.subjects))
    lines = ["# As roles:"]
    for subject in subjects:
        role = [
            "confluent",
            "iam",
            "rbac",
            "role-binding",
            "create",
            "--principal",
            principal,
            "--role",
            "DeveloperRead",
        ]
        lines.append(
            f"#   Confluent: {shlex.join([*role, '--resource', f'Subject:{subject}'])} (and the cluster's ids)"
        )
    for subject in subjects:
        pattern = "Subject:" + re.sub(r"[^A-Za-z0-9_/-]", r"[\g<0>]", subject)
        lines.append(f"#   Karapace:  {json.dumps({'username': user, 'operation': 'Read', 'resource': pattern})}")
    lines.append("#   Apicurio:  role sr-readonly (it knows no roles by subject)")
    return lines


def _monitoring(setup: Setup) -> tuple[Grant, ...]:
    rows: list[Grant] = []
    if setup.alertmanager:
        rows += [
            Grant(
                "alertmanager",
                "GET /api/v2/alerts",
                "alerts whose end was never told; truncated groups",
                ("incidents",),
            ),
            Grant("alertmanager", "GET /api/v2/status", "whether its route points at the bot", (DOCTOR,)),
            Grant("alertmanager", "POST /api/v2/alerts", "the marked test alert", (FIRE,), optional=True),
        ]
        if SILENCE in setup.actions:
            rows.append(Grant("alertmanager", "POST /api/v2/silences", "silencing an incident's alerts", (SILENCE,)))
            rows.append(Grant("alertmanager", "GET /api/v2/silence/*", "whether the silence is active", (SILENCE,)))
    if setup.prometheus:
        rows += [
            Grant("prometheus", "GET /api/v1/status/buildinfo", "its version", (DOCTOR,)),
            Grant("prometheus", "GET /api/v1/targets", "whether it scrapes the bot", (DOCTOR,)),
            Grant("prometheus", "GET /api/v1/rules", "whether the rules of `cdc rules` are loaded", (DOCTOR,)),
            Grant("prometheus", "GET /api/v1/alertmanagers", "whether it tells this Alertmanager", (DOCTOR,)),
            Grant(
                "prometheus",
                "GET /api/v1/status/runtimeinfo",
                "whether it looks for its Alertmanager still",
                (DOCTOR,),
                optional=True,
            ),
            Grant(
                "prometheus",
                "GET /api/v1/query_range",
                "charts from before the bot's own samples; who else exports kafka_exporter's names",
                ("charts", DOCTOR),
                optional=True,
            ),
        ]
    return tuple(rows)


def _flink(setup: Setup) -> tuple[Grant, ...]:
    if not setup.flink:
        return ()
    both = (CONSUMER_LAG, DOCTOR)
    return (
        Grant("flink", "GET /v1/overview", "its version", (DOCTOR,)),
        Grant("flink", "GET /v1/jobs/overview", "whether each job runs", both),
        Grant("flink", "GET /v1/jobs/*/checkpoints", "whether checkpoints complete", both),
        Grant("flink", "GET /v1/jobs/*/checkpoints/config", "how often one is due", both),
        Grant("flink", "GET /v1/jobs/*/exceptions", "why a job failed", both),
    )


def _slack(setup: Setup) -> tuple[Grant, ...]:
    """Read the scopes off the manifest that ships: each stands there with its reason."""
    if not setup.manifest:
        return ()
    listed = setup.manifest.partition("scopes:")[2].partition("settings:")[0]
    found = re.findall(r"^\s*- ([a-z_.:]+)(?:\s+#\s*(.*))?$", listed, re.M)
    rows = [Grant("slack", scope, why or "the bot's own calls", ("incidents",)) for scope, why in found]
    if setup.socket_mode:
        what = "Socket Mode; on the app-level token (xapp-), not on the bot's"
        rows.append(Grant("slack", "connections:write", what, ("incidents",)))
    return tuple(rows)


def _table(name: str, url: str, how: str, rows: Sequence[Grant]) -> list[str]:
    width = max((len(row.grant) for row in rows), default=0)
    at = f" at {url}" if url else ""
    return [
        "",
        f"# --- {name}{at}: {how}",
        *(
            f"#   {row.grant:<{width}}  {', '.join(row.needed_by)}{' only, optional' * row.optional}: {row.feature}"
            for row in rows
        ),
    ]


def _words(features: Mapping[str, str], needed_by: Iterable[str]) -> str:
    return "; ".join(features[name] for name in needed_by)
