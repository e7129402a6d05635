"""`cdc doctor`, Kafka: can it be talked to, and may the bot see what its probes ask for?

Each permission that the probes of the pipelines need (`permissions.kafka_needs`) is tried as they use it: offsets of a
topic, one record of a DLQ, offsets and state of a group. Nothing is joined, committed or created.

What a broker that is secured otherwise does is told by librdkafka in its own words, or only by hanging up; `_CAUSES`
has what each means and the lines for cdc.yml. Measured on Apache Kafka 4.1.1 with librdkafka 2.16: tests/system/
test_secured.py has the real errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bot.doctor.check import Check, failed, names, ok, warning
from bot.doctor.permissions import CONFIGS, PRINCIPAL, SCHEMAS_TOPIC, KafkaNeed, Setup, kafka_command, kafka_needs
from bot.model import Pipeline
from bot.ports import Denied, Kafka, KafkaBrokers, KafkaServer, Missing, PortError

PART = "kafka"
AT_ONCE = 8

NEEDS_ACL = "needs the ACL"


@dataclass(frozen=True)
class Tried:
    """One permission, and what came of using it; `not_known` are the lines of an answer that was not whole."""

    need: KafkaNeed
    error: PortError | None = None
    not_known: tuple[str, ...] = ()


@dataclass(frozen=True)
class KafkaFacts:
    """`security` are `security.protocol` and `sasl.mechanism` of cdc.yml, as far as written there; never a secret.

    Its `principal` is who the ACLs are for.
    """

    bootstrap: str
    security: Mapping[str, str]
    brokers: KafkaBrokers | None = None
    error: PortError | None = None
    tried: tuple[Tried, ...] = ()


def gather(
    server: KafkaServer,
    kafka: Kafka,
    bootstrap: str,
    security: Mapping[str, str],
    pipelines: Sequence[Pipeline],
    deadline_s: float,
) -> KafkaFacts:
    """Ask the cluster, then try every permission; each question has `deadline_s`."""
    try:
        brokers = server.read_brokers(deadline_s)
    except PortError as error:
        return KafkaFacts(bootstrap, security, error=error)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tried = tuple(pool.map(lambda need: _try(kafka, need, deadline_s), kafka_needs(pipelines)))
    return KafkaFacts(bootstrap, security, brokers, tried=tried)


def judge(facts: KafkaFacts) -> tuple[Check, ...]:
    """Return a line on the cluster and, where it answers, one on the permissions together or one per lack."""
    if facts.brokers is None:
        return (_unreached(facts),)
    count, cluster = facts.brokers.brokers, facts.brokers.cluster_id or "unnamed"
    protocol = facts.security.get("security.protocol", "PLAINTEXT")
    brokers = f"{count} broker{'s' if count != 1 else ''}"
    reached = ok(PART, f"{brokers} at {facts.bootstrap}, cluster {cluster}, {protocol}")
    return (reached, *_permissions(facts))


# --- reaching it -------------------------------------------------------------------------------------


def _unreached(facts: KafkaFacts) -> Check:
    text = str(facts.error)
    protocol = facts.security.get("security.protocol", "PLAINTEXT").upper()
    for needle, what, remedy in _CAUSES:
        if needle in text:
            return failed(PART, f"{what}: {text}", remedy.format(**_words(text, protocol, facts)))
    return failed(
        PART, text, "Put the address that this machine reaches under kafka.bootstrap, or let it through the network."
    )


_SASL = 'sasl.mechanism: {mechanism}, sasl.username: "${{KAFKA_USER}}", sasl.password: "${{KAFKA_PASSWORD}}"'
_LOGIN = "Write `kafka: {{config: {{security.protocol: {with_sasl}, " + _SASL + "}}}}` into cdc.yml."
_CA = "ssl.ca.location: /etc/cdc-oncall/ca.pem"

# What is in the error's text -> what is the matter, and what to write. The first that matches counts.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        "not asked: The secret file",
        "a secret of kafka.config cannot be read",
        "Put the secret into that file, readable by this user; it is read again at each use.",
    ),
    (
        "not asked: The environment variable",
        "a secret of kafka.config is not set",
        "Set the variable where this command and the bot run.",
    ),
    (
        "No provider for SASL mechanism GSSAPI",
        "security.protocol asks for SASL, and no sasl.mechanism says which",
        "Write `kafka: {{config: {{" + _SASL + "}}}}` into cdc.yml.",
    ),
    (
        "ssl.ca.location failed",
        "the file of ssl.ca.location cannot be read",
        "Write the path of the CA's certificate (PEM), readable by this user: `kafka: {{config: {{" + _CA + "}}}}`.",
    ),
    (
        "the settings are refused",
        "librdkafka does not take kafka.config",
        "Correct the setting it names; the names are those of librdkafka's CONFIGURATION.md.",
    ),
    ("does it want SASL?", "the broker wants a login (SASL) and is asked without one", _LOGIN),
    (
        "does the port speak TLS?",
        "the port speaks TLS and is asked in plain",
        "Write `kafka: {{config: {{security.protocol: {with_tls}, " + _CA + "}}}}` into cdc.yml.",
    ),
    (
        "PLAINTEXT broker listener",
        "the port does not speak TLS and is asked with it",
        "Write `kafka: {{config: {{security.protocol: {without_tls}}}}}` into cdc.yml, or the TLS port.",
    ),
    (
        "certificate required",
        "the broker wants a client certificate (mTLS) and is shown none",
        "Write `kafka: {{config: {{security.protocol: SSL, ssl.certificate.location: /etc/cdc-oncall/client.pem, "
        "ssl.key.location: /etc/cdc-oncall/client.key, " + _CA + "}}}}` into cdc.yml.",
    ),
    (
        "bad certificate",
        "the broker does not take the client certificate",
        "Have the certificate under ssl.certificate.location signed by the CA that the broker trusts.",
    ),
    (
        "mismatch",
        "the broker's certificate is for another host name",
        "Write under kafka.bootstrap the name that the certificate is for.",
    ),
    (
        "certificate verify failed",
        "the broker's certificate is signed by a CA that is not trusted here",
        "Write `kafka: {{config: {{" + _CA + "}}}}` into cdc.yml, with the file of the CA that signed it.",
    ),
    (
        "Unsupported SASL mechanism",
        "the broker does not offer this SASL mechanism",
        "Write `kafka: {{config: {{sasl.mechanism: {offered}}}}}` into cdc.yml.",
    ),
    (
        "Request not valid in current SASL state",
        "the listener takes no login (SASL) and is sent one",
        "Write `kafka: {{config: {{security.protocol: {without_sasl}}}}}` into cdc.yml, or the SASL port.",
    ),
    (
        "uthentication",
        "the broker does not take user and password",
        "Correct what sasl.username and sasl.password under kafka.config stand for; a file is read again at each use.",
    ),
)


def _words(text: str, protocol: str, facts: KafkaFacts) -> Mapping[str, str]:
    offered = text.partition("broker's supported mechanisms: ")[2].partition("]")[0].strip()
    is_tls = protocol in ("SSL", "SASL_SSL")
    is_sasl = protocol.startswith("SASL")
    return {
        "mechanism": facts.security.get("sasl.mechanism") or facts.security.get("sasl.mechanisms", "PLAIN"),
        "offered": _strongest(offered) or "PLAIN",
        "with_sasl": "SASL_SSL" if is_tls else "SASL_PLAINTEXT",
        "with_tls": "SASL_SSL" if is_sasl else "SSL",
        "without_tls": "SASL_PLAINTEXT" if is_sasl else "PLAINTEXT",
        "without_sasl": "SSL" if is_tls else "PLAINTEXT",
    }


def _strongest(offered: str) -> str:
    found = [name.strip() for name in offered.split(",")]
    order = ("SCRAM-SHA-512", "SCRAM-SHA-256", "OAUTHBEARER", "PLAIN")
    return next((name for name in order if name in found), "")


# --- the permissions ---------------------------------------------------------------------------------


def _try(kafka: Kafka, need: KafkaNeed, deadline_s: float) -> Tried:
    try:
        if need.resource == "group":
            return Tried(need, not_known=kafka.read_group(need.name, need.topics, deadline_s).not_known)
        if need.operation == CONFIGS:
            settings = kafka.read_retention([need.name], deadline_s)[need.name]
            # Unknown topics and silent brokers have a line of their own, by what else is asked of them.
            return Tried(need, settings if isinstance(settings, Denied) else None)
        if need.operation == "READ":
            return Tried(need, not_known=kafka.sample_tail(need.name, 1, deadline_s).not_known)
        return Tried(need, not_known=kafka.read_topic(need.name, deadline_s).not_known)
    except PortError as error:
        return Tried(need, error)


def _permissions(facts: KafkaFacts) -> tuple[Check, ...]:
    lines = [(tried, _permission(tried, facts)) for tried in facts.tried]
    fine = [tried.need for tried, check in lines if check is None and tried.error is None and not tried.need.optional]
    checks = [check for _, check in lines if check is not None]
    if fine:
        checks.insert(0, ok(PART, f"what the probes ask is allowed: {names([need.grant for need in fine])}"))
    return tuple(checks)


def _permission(tried: Tried, facts: KafkaFacts) -> Check | None:
    """Return what is wrong; None where it works, and where the lack is of another name, which has its own line."""
    need, error = tried.need, tried.error
    of = f"{need.setting}: {need.resource} {need.name}"
    if isinstance(error, Missing):
        told_elsewhere = need.optional or (need.resource == "group" and "no topic" in str(error))
        return None if told_elsewhere else _missing(need, facts.bootstrap)
    if any(f"{NEEDS_ACL} {need.grant}" in line for line in (*tried.not_known, str(error or ""))):
        if need.optional:
            where = "needed only where the registry itself keeps no times"
            use = where if need.name == SCHEMAS_TOPIC else f"optional, for {need.feature}"
            return ok(PART, f"not seen, and {use}: {need.grant}")
        setup = Setup(bootstrap=facts.bootstrap, secured="security.protocol" in facts.security)
        principal = facts.security.get("principal", PRINCIPAL)
        command = kafka_command(setup, principal, need.operation, need.resource, [need.name])
        hidden = " (Kafka does not say then whether it exists)" if need.resource == "topic" else ""
        what = f"{of} {NEEDS_ACL} {need.grant}{hidden}: for {', '.join(need.needed_by)}"
        return failed(PART, what, f"Run `{command}`, or all of `cdc doctor --permissions`.")
    if error is not None and NEEDS_ACL not in str(error):
        return warning(
            PART, f"{of} could not be tried: {error}", "Run `cdc doctor` again; if it stays, see that broker."
        )
    return None


def _missing(need: KafkaNeed, where: str) -> Check:
    if need.resource == "topic":
        remedy = f"Correct {need.setting} in cdc.yml, or create the topic."
        return failed(PART, f"{need.setting}: there is no topic {need.name} at {where}", remedy)
    remedy = f"Correct {need.setting} in cdc.yml, or start its consumer: the line goes with its first commit."
    return warning(PART, f"{need.setting}: group {need.name} has never committed anything at {where}", remedy)
