"""`cdc.yml`: read once, checked whole, frozen.

Promise: `load` returns a Config or raises ConfigErrors with *every* error of the file, each as
`cdc.yml:14: pipelines.customers.objective: what is wrong: what to write`.

Invariants
    A config loads in an empty environment: a secret is a name until it is used (`Secret.reveal`).
    No secret is ever printed, by `str`, `repr`, an error or an export.
    Read-only until told otherwise: no action is enabled by default, and nobody may run one.
    A threshold is written once; the defaults are those of `bot.model` and `bot.slo.thresholds`.
    Relative paths are relative to the folder of the config file, not to where the bot was started.

Errors
    ConfigErrors   the file is not usable; `errors` holds the lines
    SecretError    a secret could not be resolved when it was used; the text names the variable or the file

The sections below are pydantic models because they read foreign input; they are frozen, and so is everything in them.
This module reads the config file and secret files and nothing else: no environment, no clock, no network.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from bot.checks.settings import LEVELS, PROFILES, CanonicalField, SchemaSettings
from bot.checks.subjects import wrong_template
from bot.incident.runbook import Runbook
from bot.incident.runbook_file import RunbookErrors
from bot.incident.runbook_file import parse as parse_runbook
from bot.incident.yaml_lines import Document, KeyPath, Problem, closest, read, schema_at, validate
from bot.model import ConsumerGroup, GroupKind, LagThreshold, Objective, Pipeline, Severity, Sink
from bot.shipped import shipped
from bot.slo.thresholds import Thresholds

ACTIONS = ("restart_failed_tasks", "silence_alerts")
PROBES = ("consumer_lag", "schema_changes", "dead_letters", "connector_state")


class ConfigErrors(Exception):
    """`cdc.yml` is not usable. `errors` are all of them, in the order of the file."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class SecretError(Exception):
    """A secret could not be resolved; the text names where it should come from, never what it is."""


# --- secrets ---------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Secret:
    """A value that stands elsewhere: `${NAME}` in the environment, or `{file: path}`.

    A file is read again at each use, so a rotated secret needs no restart. Where the config allows plain text as well
    (a user name, a librdkafka setting) `literal` holds it; it is not printed either.
    """

    variable: str | None = None
    file: Path | None = None
    literal: str | None = field(default=None)

    def reveal(self, environ: Mapping[str, str]) -> str:
        """Return the value. Raises SecretError naming the variable or the file when there is none."""
        if self.literal is not None:
            return self.literal
        if self.variable is not None:
            value = environ.get(self.variable, "")
            if not value:
                raise SecretError(f"The environment variable {self.variable} is not set. Set it and start again.")
            return value
        try:
            value = (self.file or Path()).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise SecretError(f"The secret file {self.file} could not be read: {reason}.") from error
        if not value:
            raise SecretError(f"The secret file {self.file} is empty.")
        return value

    def __str__(self) -> str:
        if self.variable is not None:
            return f"${{{self.variable}}}"
        return f"file {self.file}" if self.file is not None else "***"

    def __repr__(self) -> str:
        return f"Secret({self})"


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"},
        {
            "type": "object",
            "properties": {"file": {"type": "string"}},
            "required": ["file"],
            "additionalProperties": False,
        },
    ]
}


def _read_secret(value: Any, info: ValidationInfo) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, dict) and set(value) == {"file"} and isinstance(value["file"], str) and value["file"]:
        return Secret(file=_directory(info) / value["file"])
    if isinstance(value, str) and (match := _VARIABLE.fullmatch(value)):
        return Secret(variable=match[1])
    if value is None:
        raise ValueError('has no value: write "${NAME}" or {file: path}')
    raise ValueError('a secret must not stand in the config: write "${NAME}" or {file: path}')


def _read_open_text(value: Any, info: ValidationInfo) -> Secret:
    """A setting that may be plain text or come from elsewhere; numbers and booleans as librdkafka writes them."""
    if isinstance(value, bool):
        return Secret(literal=str(value).lower())
    if isinstance(value, int | float):
        return Secret(literal=str(value))
    if isinstance(value, str) and value and "${" not in value:
        return Secret(literal=value)
    if isinstance(value, list):
        raise ValueError("must be text: write one value, several with commas")
    if isinstance(value, str) and value and not _VARIABLE.fullmatch(value):
        raise ValueError('only a whole value can come from the environment: write "${NAME}" and nothing beside it')
    return _read_secret(value, info)


SecretText = Annotated[Secret, PlainValidator(_read_secret), WithJsonSchema(_SECRET_SCHEMA)]
OpenText = Annotated[
    Secret, PlainValidator(_read_open_text), WithJsonSchema({"type": ["string", "number", "boolean", "object"]})
]


# --- small words: durations, thresholds, addresses -------------------------------------------------

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_COUNT = re.compile(r"\d[\d_]*")


def parse_duration(text: object) -> float:
    """`90s`, `5m`, `1h30m` in seconds. Raises ValueError; a bare number is refused, its unit would be a guess."""
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError("not a duration: write a number with its unit, such as 30s, 5m, 1h30m or 1d")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text))
    if not 0 < seconds <= 366 * 86400:
        raise ValueError("must be longer than nothing and at most a year: write for example 5m")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest way to write seconds that `parse_duration` reads back: 90 is `90s`, 300 is `5m`."""
    for unit in ("d", "h", "m", "s"):
        if seconds % _UNITS_S[unit] == 0:
            return f"{int(seconds / _UNITS_S[unit])}{unit}"
    return f"{round(seconds * 1000)}ms"


def parse_lag_threshold(text: object) -> LagThreshold:
    """`10000 for 5m`. Raises ValueError."""
    count, seconds = _count_and_duration(text, "for", "10000 for 5m")
    return LagThreshold(count, round(seconds)) if seconds >= 1 else _refuse("shorter than a second: write at least 1s")


def parse_ratio(text: object) -> float:
    """`0.1%` as the fraction 0.001. Raises ValueError; a bare number is refused: 0.1 could mean ten per cent."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("not a percentage: write it with its sign, such as 0.1%")
    if not 0 < float(match[1]) <= 100:
        raise ValueError("must be over 0% and at most 100%: write for example 0.1%")
    return float(match[1]) / 100


def format_ratio(ratio: float) -> str:
    return f"{ratio * 100:.6g}%"


def _format_lag_threshold(threshold: LagThreshold) -> str:
    return f"{threshold.records} for {format_duration(threshold.for_s)}"


@dataclass(frozen=True)
class CountWindow:
    """More than `count` in `window_s` seconds."""

    count: int
    window_s: float


def _parse_count_window(text: object) -> CountWindow:
    return CountWindow(*_count_and_duration(text, "in", "5 in 10m"))


def _count_and_duration(text: object, word: str, example: str) -> tuple[int, float]:
    number, _, duration = text.partition(f" {word} ") if isinstance(text, str) else ("", "", "")
    if not _COUNT.fullmatch(number.strip()) or not _DURATION.fullmatch(duration.strip()):
        raise ValueError(f"not a count and a duration: write it like {example}")
    return int(number), parse_duration(duration.strip())


def _refuse(reason: str) -> Any:
    raise ValueError(reason)


def _parse_http_url(value: object) -> str:
    """An http(s) address without a trailing slash. Raises ValueError without repeating it: it may hold a password."""
    if not isinstance(value, str) or not re.match(r"https?://[^/\s]", value) or re.search(r"\s", value):
        raise ValueError("not an address: write http://host:port or https://host")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("not an address, its host or port cannot be read: write http://host:port") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError('holds a user or password: write them under auth: {user: NAME, password: "${NAME}"}')
    if not host or parts.query or parts.fragment:
        raise ValueError("more than an address: write http://host:port/path, without ? and #")
    return value.rstrip("/")


def _parse_bootstrap(value: object) -> str:
    entries = [entry.strip() for entry in value.split(",")] if isinstance(value, str) else []
    if not entries or not all(
        re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}", entry) for entry in entries
    ):
        raise ValueError("not a broker list: write host:9092, several with commas")
    if not all(0 < int(entry.rsplit(":", 1)[1]) <= 65535 for entry in entries):
        raise ValueError("a port must be 1 to 65535: write host:9092")
    return ",".join(entries)


@dataclass(frozen=True)
class Listen:
    """Where the bot's own HTTP server listens; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _parse_listen(value: object) -> Listen:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d+)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('not host:port: write "127.0.0.1:8080", or "0.0.0.0:8080" for every interface')
    if int(match[2]) > 65535:
        raise ValueError("a port must be 0 to 65535: write 127.0.0.1:8080")
    return Listen(match[1].strip("[]"), int(match[2]))


def _parse_channel(value: object) -> str:
    if value is None:
        raise ValueError('has no value, an unquoted # starts a comment: write "#cdc-incidents"')
    if not isinstance(value, str) or not re.fullmatch(r"#[^\s#,<>@A-Z]{1,80}|[CGD][A-Z0-9]{2,}", value):
        raise ValueError('not a channel: write its name "#cdc-incidents", in lower case, or its ID such as C0123ABCD')
    return value


def _parse_person(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[UW][A-Z0-9]{1,}|\*", value):
        raise ValueError('not a Slack member ID: write one such as U0123ABCD (profile, "Copy member ID"), or "*"')
    return value


def parse_command(value: object) -> str:
    """Return a slash command as Slack takes it. Raises ValueError with what to write."""
    if not isinstance(value, str) or not re.fullmatch(r"/[a-z0-9_-]{1,31}", value):
        raise ValueError("not a slash command: write /cdc, lower case, no spaces")
    return value


def _parse_topic(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", value) or value in (".", ".."):
        raise ValueError("not a topic name: write letters, digits, dots, - and _; quote it if it is a number")
    return value


def _parse_path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str) or not value.strip() or "\x00" in value:
        raise ValueError("must be the path of a file: write it as text")
    return _directory(info) / value


def _parse_name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("must be a name: write it as text, in quotes if it is a number")
    return value


def _named(action_list: object) -> object:
    """`[a, b]` means the same as `{a: {}, b: {}}`."""
    if isinstance(action_list, list) and all(isinstance(name, str) for name in action_list):
        return {name: {} for name in action_list}
    if isinstance(action_list, dict):
        return {name: {} if limits is None else limits for name, limits in action_list.items()}
    raise ValueError("must be a list of actions or a mapping with their limits: write [restart_failed_tasks]")


def _text(parse: Callable[[object], Any]) -> tuple[PlainValidator, WithJsonSchema]:
    return PlainValidator(parse), WithJsonSchema({"type": "string"})


Duration = Annotated[float, *_text(parse_duration)]
LagLine = Annotated[LagThreshold, *_text(parse_lag_threshold)]
Ratio = Annotated[float, *_text(parse_ratio)]
CountIn = Annotated[CountWindow, *_text(_parse_count_window)]
HttpUrl = Annotated[str, *_text(_parse_http_url)]
ApiUrl = Annotated[str, *_text(lambda value: _parse_http_url(value) + "/")]
Bootstrap = Annotated[str, *_text(_parse_bootstrap)]
ListenAddress = Annotated[Listen, *_text(_parse_listen)]
Channel = Annotated[str, *_text(_parse_channel)]
Person = Annotated[str, *_text(_parse_person)]
SlashCommand = Annotated[str, *_text(parse_command)]
Topic = Annotated[str, *_text(_parse_topic)]
Name = Annotated[str, *_text(_parse_name)]
ReadablePath = Annotated[Path, PlainValidator(_parse_path), WithJsonSchema({"type": "string"})]


# --- the sections of the file ----------------------------------------------------------------------


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


def _setting(default: Any, description: str, example: Any = None) -> Any:
    """A setting with its default as one writes it in the file; `...` is a required one."""
    examples = [example if example is not None else default]
    shown: dict[str, Any] = {"default": default} if isinstance(default, str | int) else {}
    return Field(default=default, description=description, examples=examples, json_schema_extra=shown)


class Auth(_Section):
    """How to log in: user and password, or a bearer token."""

    user: OpenText | None = _setting(None, "User name, or `${NAME}`.", "cdc-oncall")
    password: SecretText | None = _setting(None, "Password of the user.", "${PASSWORD}")
    bearer: SecretText | None = _setting(None, "Bearer token, instead of user and password.", "${TOKEN}")

    @model_validator(mode="after")
    def _one_way(self) -> Auth:
        if (self.bearer is None) == (self.user is None) or (self.user is None) != (self.password is None):
            raise ValueError('needs one way to log in: write {user: NAME, password: "${NAME}"} or {bearer: "${NAME}"}')
        return self

    def header(self, environ: Mapping[str, str]) -> str:
        """Return the value of the Authorization header. Raises SecretError."""
        if self.bearer is not None:
            return f"Bearer {self.bearer.reveal(environ)}"
        assert self.user is not None and self.password is not None
        pair = f"{self.user.reveal(environ)}:{self.password.reveal(environ)}"
        return "Basic " + base64.b64encode(pair.encode()).decode("ascii")


class BasicLogin(_Section):
    """One user and password that Alertmanager may send."""

    user: OpenText = _setting(..., "User name that Alertmanager sends.", "alertmanager")
    password: SecretText = _setting(..., "Its password.", "${CDC_WEBHOOK_PASSWORD}")


_SET_BY_THE_BOT = ("allow.auto.create.topics", "bootstrap.servers", "enable.auto.commit", "group.id")
# By name, so that what a later librdkafka adds is one too; JAAS and a bare token are Java's, pasted by mistake.
MUST_BE_SECRET = re.compile(
    r"password|passphrase|secret|\.key\.pem|\.pem\.key|keystore\.key$|ssl\.key$|token$|jaas\.config|oauthbearer\.config",
    re.IGNORECASE,
)


def is_open_secret(key: str, value: str) -> bool:
    """Whether a librdkafka setting holds a secret in plain text."""
    return MUST_BE_SECRET.search(key) is not None and _VARIABLE.fullmatch(value) is None


def _check_kafka_config(values: object) -> object:
    for key, value in values.items() if isinstance(values, dict) else ():
        if key in _SET_BY_THE_BOT:
            raise ValueError(f"{key} is set by the bot itself, it reads and never commits: remove it")
        if isinstance(value, str | int | float) and isinstance(key, str) and is_open_secret(key, str(value)):
            raise ValueError(f'{key} is a secret: write "${{NAME}}" or {{file: path}}')
    return values


class KafkaSection(_Section):
    """The brokers, and any librdkafka setting needed to reach them."""

    bootstrap: Bootstrap = _setting(..., "Brokers to ask first, `host:port`, several with commas.", "kafka:9092")
    config: Annotated[Mapping[str, OpenText], BeforeValidator(_check_kafka_config)] = _setting(
        {}, "librdkafka settings such as `security.protocol`; a value may be `${NAME}`.", {"security.protocol": "SSL"}
    )

    @model_validator(mode="after")
    def _freeze(self) -> KafkaSection:
        object.__setattr__(self, "config", MappingProxyType(dict(self.config)))
        return self

    def client_settings(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the librdkafka settings with their secrets resolved. Raises SecretError."""
        settings = {key: value.reveal(environ) for key, value in self.config.items()}
        return {**settings, "bootstrap.servers": self.bootstrap}


class Tls(_Section):
    """Certificates for an address with https: an own CA, and a client certificate where the server asks for one."""

    ca: ReadablePath | None = _setting(None, "File of the CA that signed the server's certificate.", "./ca.pem")
    certificate: ReadablePath | None = _setting(None, "Client certificate (PEM).", "./client.pem")
    key: ReadablePath | None = _setting(None, "Key of the client certificate.", "./client.key")

    @model_validator(mode="after")
    def _whole(self) -> Tls:
        if self.key is not None and self.certificate is None:
            raise ValueError("has a key without its certificate: write certificate: ./client.pem")
        return self


class RegistrySection(_Section):
    """The Schema Registry, by its Confluent-compatible API."""

    url: HttpUrl = _setting(
        ..., "Address of the Confluent API (Apicurio: `.../apis/ccompat/v7`).", "http://registry:8081"
    )
    auth: Auth | None = _setting(None, "How the probes log in.", {"bearer": "${REGISTRY_TOKEN}"})
    tls: Tls | None = _setting(None, "Certificates.", {"ca": "./ca.pem"})
    refusals_query: Name | None = _setting(
        None,
        "PromQL for the total of refused registrations (409) by label `subject`, where a proxy or a log is scraped; "
        "`prometheus` is asked.",
        'sum by (subject) (sr_responses_total{status="409"})',
    )


class ConnectSection(_Section):
    """The Kafka Connect cluster."""

    url: HttpUrl = _setting(..., "Address of the REST API.", "http://connect:8083")
    auth: Auth | None = _setting(None, "How the probes log in: reading is enough.", {"bearer": "${CONNECT_TOKEN}"})
    actions_auth: Auth | None = _setting(
        None, "How actions log in: may restart. Default: as the probes do.", {"bearer": "${CONNECT_ADMIN_TOKEN}"}
    )
    tls: Tls | None = _setting(None, "Certificates.", {"ca": "./ca.pem"})


class AlertmanagerSection(_Section):
    """The Alertmanager that calls the bot, and that the bot asks back."""

    url: HttpUrl = _setting(..., "Address of its API, as the bot reaches it.", "http://alertmanager:9093")
    auth: Auth | None = _setting(None, "How the bot logs in to the API.", {"bearer": "${ALERTMANAGER_TOKEN}"})
    tls: Tls | None = _setting(None, "Certificates.", {"ca": "./ca.pem"})
    receiver: Name = _setting("cdc-oncall", "Name of the receiver in Alertmanager's config that posts to the bot.")
    webhook: HttpUrl | None = _setting(
        None,
        "The address that receiver posts to, as Alertmanager reaches the bot; `cdc doctor` compares them.",
        "http://cdc-oncall:8080/alertmanager",
    )
    external_urls: tuple[HttpUrl, ...] = _setting(
        (),
        "The `externalURL` of payloads that may be checked against the API. Default: `url`.",
        "https://alerts.example.com",
    )
    tokens: tuple[SecretText, ...] = _setting(
        (), "Bearer tokens that the webhook accepts; two at once for a rotation.", ["${CDC_WEBHOOK_TOKEN}"]
    )
    basic: tuple[BasicLogin, ...] = _setting(
        (), "Users that the webhook accepts, instead of or beside tokens.", [{"user": "am", "password": "${PASSWORD}"}]
    )

    @model_validator(mode="after")
    def _closed(self) -> AlertmanagerSection:
        if not self.tokens and not self.basic:
            raise ValueError('accepts webhooks from anyone: write tokens: ["${CDC_WEBHOOK_TOKEN}"]')
        if not self.external_urls:
            object.__setattr__(self, "external_urls", (self.url,))
        return self


class PrometheusSection(_Section):
    """The Prometheus that scrapes the bot and runs its rules. `cdc doctor` looks whether it does."""

    url: HttpUrl = _setting(..., "Address of Prometheus.", "http://prometheus:9090")
    auth: Auth | None = _setting(None, "How the bot logs in.", {"bearer": "${PROMETHEUS_TOKEN}"})
    tls: Tls | None = _setting(None, "Certificates.", {"ca": "./ca.pem"})


class FlinkSection(_Section):
    """The Flink cluster: its job's state and checkpoints tell what commits alone cannot."""

    url: HttpUrl = _setting(..., "Address of the JobManager's REST API.", "http://flink-jobmanager:8081")
    auth: Auth | None = _setting(None, "How the probes log in: reading is enough.", {"bearer": "${FLINK_TOKEN}"})
    tls: Tls | None = _setting(None, "Certificates.", {"ca": "./ca.pem"})


class SlackSection(_Section):
    """The Slack workspace. Without this section the bot works in the terminal only."""

    mode: Literal["socket", "http"] | None = _setting(
        None,
        "How Slack reaches the bot: `socket`, which needs no inbound address, or `http`. Default: `socket`; `http` "
        "where there is a signing secret and no app-level token.",
        "socket",
    )
    bot_token: SecretText = _setting(..., "Bot token (`xoxb-`).", "${SLACK_BOT_TOKEN}")
    app_token: SecretText | None = _setting(
        None, "App-level token (`xapp-`, scope `connections:write`): Socket Mode needs it.", "${SLACK_APP_TOKEN}"
    )
    signing_secret: SecretText | None = _setting(
        None, "Signing secret of the app: `mode: http` needs it.", "${SLACK_SIGNING_SECRET}"
    )
    api_url: ApiUrl = _setting("https://slack.com/api/", "Address of the Web API.")
    command: SlashCommand = _setting("/cdc", "Name of the slash command, wherever it is shown.")
    channel: Channel = _setting("#cdc-incidents", "Where incidents of no pipeline, or of one without a channel, go.")

    @model_validator(mode="after")
    def _reachable(self) -> SlackSection:
        if self.mode is None:
            is_http = self.signing_secret is not None and self.app_token is None
            object.__setattr__(self, "mode", "http" if is_http else "socket")
        if self.mode == "socket" and self.app_token is None:
            raise ValueError(
                'Socket Mode needs the app-level token: write app_token: "${SLACK_APP_TOKEN}", or mode: http'
            )
        if self.mode == "http" and self.signing_secret is None:
            raise ValueError(
                'mode http needs the signing secret: write signing_secret: "${SLACK_SIGNING_SECRET}", or mode: socket'
            )
        return self


class PeopleSection(_Section):
    """Who may do what. Anyone in the channel may acknowledge, note and tick steps; actions change systems."""

    responders: tuple[Person, ...] = _setting(
        (), 'Slack member IDs that may run actions; `"*"` is everyone.', ["U0123ABCD"]
    )
    approvers: tuple[Person, ...] = _setting(
        (), "Who may approve what needs a second person. Default: the responders.", ["U0123ABCD"]
    )

    @model_validator(mode="after")
    def _default_approvers(self) -> PeopleSection:
        if not self.approvers:
            object.__setattr__(self, "approvers", self.responders)
        return self


class ActionLimits(_Section):
    """Where an enabled action may be used, and how often."""

    pipelines: Annotated[tuple[Name, ...], Field(strict=False)] | None = _setting(
        None, "Only for these pipelines. Default: all.", ["customers"]
    )
    cap_per_hour: Annotated[int, Field(ge=1)] = _setting(10, "At most so many runs on one target in an hour.")


class IncidentsSection(_Section):
    """How an incident lives: when it reopens, when its recovery is believed."""

    reopen_within: Duration = _setting("30m", "An alert that fires again so soon reopens its incident.")
    settle: Duration = _setting("20s", "How long a recovered part must hold before recovery is proved.")
    recheck: Duration = _setting("15s", "How often the probes of an open incident look again.")


class ProbesSection(_Section):
    """How probes ask the systems."""

    deadline: Duration = _setting("8s", "How long one probe may take; then it says what it could not see.")
    interval: Duration = _setting("30s", "How often every pipeline is probed for `/metrics` and the health board.")


class LagSection(_Section):
    """Which groups are sampled, how often, and for how long the samples are kept."""

    sample_every: Duration = _setting("30s", "How often the watched groups are read.")
    keep: Duration = _setting("7d", "How long samples are kept, for charts and rates.")
    watch: Literal["pipelines", "all"] = _setting(
        "pipelines", "`pipelines`: the groups of the pipelines and `groups`. `all`: every group the bot may describe."
    )
    groups: tuple[Name, ...] = _setting(
        (), "More groups to watch, by name, such as those of Kafka Streams applications.", ["billing-stream"]
    )
    horizon: Duration = _setting(
        "8h", "How long an on-call may need: unread data that retention deletes sooner is LOSS_IMMINENT."
    )
    kafka_exporter_names: bool = _setting(
        False,
        "Whether `/metrics` has kafka_exporter's names as well (`kafka_consumergroup_lag`, ...). Beside a running "
        "kafka_exporter every sum over them would double.",
    )

    @model_validator(mode="after")
    def _not_too_often(self) -> LagSection:
        if self.sample_every < 1:
            raise ValueError("samples more often than once a second: write sample_every: 30s")
        return self


_DEFAULTS = Thresholds()
_OBJECTIVE = Objective()


class AlertsSection(_Section):
    """Thresholds of the rendered alert rules that belong to no single pipeline."""

    registry_refusals: CountIn = _setting(
        f"{_DEFAULTS.refusals} in {format_duration(_DEFAULTS.refusals_window_s)}",
        "More refused registrations of a subject than this warn.",
    )
    registry_refusals_severity: Severity = _setting(
        _DEFAULTS.refusals_severity, "Severity of that alert: `warning`, or `critical` to page."
    )
    connector_failed_for: Duration = _setting(
        format_duration(_DEFAULTS.connector_failed_for_s), "How long a connector or task is FAILED before it pages."
    )
    dead_letters_window: Duration = _setting(
        format_duration(_DEFAULTS.dead_letters_window_s), "Window in which dead letters are counted."
    )
    stopped_for: Duration = _setting(
        format_duration(_DEFAULTS.stopped_for_s),
        "How long a group is STOPPED, STUCK or NOT_CHECKPOINTING before it warns.",
    )
    stopped_page_for: Duration = _setting(format_duration(_DEFAULTS.stopped_page_for_s), "The same, before it pages.")
    blind_for: Duration = _setting(
        format_duration(_DEFAULTS.blind_for_s),
        "How long a probe sees nothing, or a lag is not known, before that is an alert.",
    )
    runbook_url: Name = _setting(_DEFAULTS.runbook_url, "Page that alerts link to; the runbook's anchor is added.")

    def thresholds(self) -> Thresholds:
        return Thresholds(
            refusals=self.registry_refusals.count,
            refusals_window_s=self.registry_refusals.window_s,
            refusals_severity=self.registry_refusals_severity,
            connector_failed_for_s=self.connector_failed_for,
            dead_letters_window_s=self.dead_letters_window,
            stopped_for_s=self.stopped_for,
            stopped_page_for_s=self.stopped_page_for,
            blind_for_s=self.blind_for,
            runbook_url=self.runbook_url,
        )


_NAMES = SchemaSettings()
_SEVERITIES = ("error", "warning", "note")
Level = Annotated[str, *_text(lambda value: _parse_word(value, LEVELS, "compatibility level"))]
Profile = Annotated[str, *_text(lambda value: _parse_word(value, PROFILES, "profile"))]
Rating = Annotated[str, *_text(lambda value: _parse_word(value, (*_SEVERITIES, "off"), "severity"))]
Template = Annotated[str, *_text(lambda value: _parse_template(value))]
Pattern = Annotated[str, *_text(lambda value: _parse_pattern(value))]


def _parse_word(value: object, words: Collection[str], what: str) -> str:
    if value is False:
        value = "off"  # YAML 1.1 reads an unquoted off so
    for word in words:
        if isinstance(value, str) and value.casefold() == word.casefold():
            return word
    raise ValueError(f"not a {what}: write {', '.join(words)}")


def _parse_template(value: object) -> str:
    wrong = wrong_template(value) if isinstance(value, str) else "not a template: write {topic}-value"
    if wrong is not None:
        raise ValueError(wrong)
    return str(value)


def _parse_pattern(value: object) -> str:
    try:
        re.compile(value if isinstance(value, str) else "(")
    except re.error:
        raise ValueError("not a regular expression: write for example [a-z][a-z0-9_]*") from None
    return str(value)


class _CanonicalFieldEntry(_Section):
    """A field that every value schema must have (rule A111)."""

    name: Name = _setting(..., "Name of the field.", "event_time")
    types: tuple[Name, ...] = _setting(
        (), "Avro types it may have, `long/timestamp-micros` for a logical one. Default: any.", ["string"]
    )


class SchemasSection(_Section):
    """How `cdc check schemas` judges."""

    paths: tuple[ReadablePath, ...] = _setting((), "What is checked where the command names no paths.", ["./schemas"])
    level: Level = _setting(_NAMES.level, "Compatibility level where neither a registry nor `--level` says one.")
    levels: Mapping[str, Level] = _setting({}, "Level by a pattern of paths; the first that fits.", {"keys/**": "FULL"})
    profiles: tuple[Profile, ...] = _setting(
        (), "What reads the topics downstream: `flink`, `iceberg-v2`, `iceberg-v3`.", ["iceberg-v2"]
    )
    rules: Mapping[str, Rating] = _setting(
        {}, "Severity of a rule by its id: `error`, `warning`, `note` or `off`.", {"A101": "off"}
    )
    subjects: Mapping[str, Template] = _setting(
        {},
        "Subject by pattern of paths: a template of `{stem}`, `{topic}`, `{parent}`, `{name}` and `{end}`, a strategy "
        "(`RecordNameStrategy`) or `none` for files that only define types. Default: `{topic}-value`, or `-key`.",
        {"common/**": "none"},
    )
    namespaces: Mapping[str, Name] = _setting(
        {}, "Namespace that types must have, by a pattern of paths (rule A102).", {"schemas/**": "com.shop"}
    )
    fields: tuple[_CanonicalFieldEntry, ...] = _setting(
        (), "Fields that every value schema must have (rule A111).", [{"name": "event_time"}]
    )
    type_names: Pattern = _setting(_NAMES.type_pattern, "What names of types look like (rule A103).")
    field_names: Pattern = _setting(_NAMES.field_pattern, "What names of fields look like (rule A103).")
    symbol_names: Pattern = _setting(_NAMES.symbol_pattern, "What symbols of enums look like (rule A103).")
    baseline: ReadablePath | None = _setting(None, "File of accepted violations.", "./schemas/baseline.yml")
    proto_paths: tuple[ReadablePath, ...] = _setting(
        (), "Folders that imports of .proto files start from.", ["./proto"]
    )
    buf: bool = _setting(False, "Whether the installed buf is run over .proto files as well, as `--buf` does.")

    def settings(self) -> SchemaSettings:
        """Return what the checks are told."""
        return SchemaSettings(
            level=self.level,
            levels=self.levels,
            profiles=frozenset(self.profiles),
            severities={rule: None if rating == "off" else rating for rule, rating in self.rules.items()},
            subjects=self.subjects,
            namespaces=self.namespaces,
            fields=tuple(CanonicalField(one.name, one.types) for one in self.fields),
            type_pattern=self.type_names,
            field_pattern=self.field_names,
            symbol_pattern=self.symbol_names,
        )


class ChecksSection(_Section):
    """The checks of files, by kind."""

    schemas: SchemasSection = _setting({}, "The schema checks.", {"level": "FULL"})


class _SourceEntry(_Section):
    """The source connector."""

    connector: Name = _setting(..., "Name of the source connector.", "customers-postgres-source")


class _ConsumerEntry(_Section):
    """A consumer group of the pipeline."""

    group: Name = _setting(..., "Name of the consumer group.", "customers_canonical_flink")
    kind: GroupKind = _setting(GroupKind.CONSUMER, "What commits for it: `flink`, `connect-sink` or `consumer`.")
    job: Name | None = _setting(None, "Name of the Flink job.", "customers-canonical")
    topics: tuple[Topic, ...] = _setting((), "Topics it reads. Default: all it has committed.", ["customers"])
    commit_interval: Duration | None = _setting(
        None, "How often it commits (Flink: the checkpoint interval). Default: learned from its commits.", "60s"
    )


class _SinkEntry(_Section):
    """The sink connector."""

    connector: Name = _setting(..., "Name of the sink connector.", "customers-iceberg-sink")
    table: Name | None = _setting(None, "Table it writes.", "lake.customers")
    dlq: Topic | None = _setting(None, "Its dead letter queue.", "dlq.customers")
    group: Name | None = _setting(
        None, "Its consumer group, if `consumer.override.group.id` is set. Default: `connect-NAME`.", "lake-writer"
    )


class _LagEntry(_Section):
    """When lag warns and when it pages: strictly more records, for so long."""

    warn: LagLine = _setting(_format_lag_threshold(_OBJECTIVE.lag_warn), "Lag that warns.")
    page: LagLine = _setting(_format_lag_threshold(_OBJECTIVE.lag_page), "Lag that pages.")


class _ObjectiveEntry(_Section):
    """What the pipeline promises. Verdicts, cards and alert rules follow from these numbers."""

    dead_letters_per_day: Ratio = _setting(
        format_ratio(_OBJECTIVE.dead_letter_ratio_per_day), "Share of a day's records that may be dead letters."
    )
    lag: _LagEntry = _setting({}, "When lag warns and pages.", {"warn": "10000 for 5m"})


class _PipelineEntry(_Section):
    """Source connector -> topics -> consumer groups and sink -> table, with DLQ, subjects and objective."""

    owner: Name | None = _setting(
        None,
        "Who is mentioned when someone must come: a Slack user group or member ID; a name is only shown.",
        "S0123ABCD",
    )
    channel: Channel | None = _setting(None, "Where its incidents go. Default: `slack.channel`.", "#cdc-incidents")
    source: _SourceEntry | None = _setting(None, "The source connector.", {"connector": "customers-postgres-source"})
    topics: tuple[Topic, ...] = _setting((), "Its topics.", ["customers"])
    subjects: tuple[Name, ...] = _setting((), "Its subjects in the registry.", ["customers-value"])
    consumers: tuple[_ConsumerEntry, ...] = _setting(
        (), "Its consumer groups.", [{"group": "customers_canonical_flink"}]
    )
    sink: _SinkEntry | None = _setting(None, "The sink connector.", {"connector": "customers-iceberg-sink"})
    objective: _ObjectiveEntry = _setting({}, "What it promises.", {"dead_letters_per_day": "0.1%"})
    managed_by: Literal["strimzi", "gitops"] | None = _setting(
        None, "Who owns the connectors' definition; changes by REST would be reverted.", "strimzi"
    )

    def pipeline(self, name: str, channel: str, actions: frozenset[str]) -> Pipeline:
        return Pipeline(
            name=name,
            channel=self.channel or channel,
            owner=self.owner,
            source_connector=self.source.connector if self.source else None,
            topics=self.topics,
            subjects=self.subjects,
            consumers=tuple(
                ConsumerGroup(each.group, each.kind, each.job, each.topics, each.commit_interval)
                for each in self.consumers
            ),
            sink=Sink(self.sink.connector, self.sink.table, self.sink.dlq, self.sink.group) if self.sink else None,
            objective=Objective(self.objective.lag.warn, self.objective.lag.page, self.objective.dead_letters_per_day),
            actions=actions,
            managed_by=self.managed_by,
        )


class _File(_Section):
    """cdc.yml: what the bot watches, where it speaks, and who may do what."""

    listen: ListenAddress = _setting("127.0.0.1:8080", "Where the bot's HTTP server listens; port 0 takes a free one.")
    environment: Name | None = _setting(None, "Name of this environment, shown on every card.", "prod-eu")
    state: Name = _setting("./cdc-oncall.db", "File of the journal.")
    runbooks: Name | None = _setting(None, "Folder of runbooks. Default: those that ship with the bot.", "./runbooks")
    kafka: KafkaSection | None = _setting(None, "The brokers.", {"bootstrap": "kafka:9092"})
    registry: RegistrySection | None = _setting(None, "The Schema Registry.", {"url": "http://registry:8081"})
    connect: ConnectSection | None = _setting(None, "The Connect cluster.", {"url": "http://connect:8083"})
    alertmanager: AlertmanagerSection | None = _setting(
        None, "The Alertmanager.", {"url": "http://alertmanager:9093", "tokens": ["${CDC_WEBHOOK_TOKEN}"]}
    )
    prometheus: PrometheusSection | None = _setting(None, "The Prometheus.", {"url": "http://prometheus:9090"})
    slack: SlackSection | None = _setting(None, "The Slack workspace.", {"bot_token": "${SLACK_BOT_TOKEN}"})
    people: PeopleSection = _setting({}, "Who may do what.", {"responders": ["U0123ABCD"]})
    actions: Annotated[Mapping[str, ActionLimits], BeforeValidator(_named)] = _setting(
        {},
        "Actions that may be run: a list of names, or names with limits. Default: none, read-only.",
        ["silence_alerts"],
    )
    flink: FlinkSection | None = _setting(None, "The Flink cluster.", {"url": "http://flink-jobmanager:8081"})
    lag: LagSection = _setting({}, "Which groups are sampled, and how.", {"sample_every": "30s"})
    incidents: IncidentsSection = _setting({}, "How incidents live.", {"reopen_within": "30m"})
    probes: ProbesSection = _setting({}, "How probes ask.", {"deadline": "8s"})
    alerts: AlertsSection = _setting({}, "Thresholds of the alert rules.", {"registry_refusals": "5 in 10m"})
    checks: ChecksSection = _setting({}, "What `cdc check` is told.", {"schemas": {"profiles": ["iceberg-v2"]}})
    pipelines: Mapping[str, _PipelineEntry] = _setting(
        {}, "The pipelines, by name.", {"customers": {"topics": ["customers"]}}
    )


# --- the result ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """A checked `cdc.yml`. `hash` are the first 12 digits of the SHA-256 of its bytes; every incident records it."""

    path: Path
    hash: str
    listen: Listen
    environment: str | None
    state: Path
    runbooks: Path
    kafka: KafkaSection | None
    registry: RegistrySection | None
    connect: ConnectSection | None
    alertmanager: AlertmanagerSection | None
    prometheus: PrometheusSection | None
    slack: SlackSection | None
    people: PeopleSection
    actions: Mapping[str, ActionLimits]
    incidents: IncidentsSection
    probes: ProbesSection
    alerts: Thresholds
    pipelines: tuple[Pipeline, ...]
    flink: FlinkSection | None
    lag: LagSection
    checks: ChecksSection

    @property
    def channel(self) -> str:
        """Where incidents of no pipeline go."""
        return self.slack.channel if self.slack else _DEFAULT_CHANNEL

    @property
    def command(self) -> str:
        """The slash command as people type it here."""
        return self.slack.command if self.slack else _DEFAULT_COMMAND

    @property
    def addresses(self) -> Mapping[str, str]:
        """The addresses that the commands of a runbook are filled with."""
        parts = {
            "registry": self.registry,
            "connect": self.connect,
            "alertmanager": self.alertmanager,
            "flink": self.flink,
        }
        urls = {name: part.url for name, part in parts.items() if part is not None}
        return {**urls, "bootstrap": self.kafka.bootstrap} if self.kafka else urls

    def unresolved(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Return what is wrong with each secret that cannot be resolved now, in the order of the file."""
        sections = (self.kafka, self.registry, self.connect, self.alertmanager, self.prometheus, self.flink, self.slack)
        reasons: list[str] = []
        for secret in (secret for section in sections for secret in _secrets_in(section)):
            try:
                secret.reveal(environ)
            except SecretError as error:
                reasons.append(str(error))
        return tuple(dict.fromkeys(reasons))

    def pipeline(self, name: str) -> Pipeline | None:
        return next((pipeline for pipeline in self.pipelines if pipeline.name == name), None)


_DEFAULT_CHANNEL: str = SlackSection.model_fields["channel"].default
_DEFAULT_COMMAND: str = SlackSection.model_fields["command"].default


def _secrets_in(value: object) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _secrets_in(inner)
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _secrets_in(inner)


def load(path: Path | str) -> Config:
    """Return the config in the file at `path`. Raises ConfigErrors with every error of it."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise ConfigErrors((f"{path}: {reason}: give the path of the config with -c, or in CDC_CONFIG",)) from error
    return parse(raw, path)


def parse(raw: bytes, path: Path) -> Config:
    """Return the config in `raw`; `path` names it in errors, and relative paths start from its folder."""
    document = read(raw, str(path))
    problems = list(document.problems)
    if not isinstance(document.values, dict):
        if not problems:
            problems.append(Problem((), "not a mapping of settings", "begin with kafka:, slack: and pipelines:"))
        raise ConfigErrors(document.render(problems))
    empty = frozenset(_without_value((), document.values))
    problems += [Problem(path, "has no value", _EMPTY_REMEDY) for path in empty]
    context = {"directory": path.parent}
    file, wrong = validate(_File, document.values, _schema(), context)
    problems += [problem for problem in wrong if problem.path not in empty]
    left_out = empty
    if file is None:
        file, more = _without_the_broken_parts(document, wrong, context)
        left_out |= more
    problems += _contradictions(file, document, left_out)
    problems += _missing_folders(file, path.parent)
    if problems:
        raise ConfigErrors(document.render(problems))
    return _config(file, raw, path)


def read_runbooks(folder: Path) -> tuple[Runbook, ...]:
    """Return the runbooks in `folder`, by id. Raises RunbookErrors with every error of every file."""
    runbooks: list[Runbook] = []
    errors: list[str] = []
    for path in sorted(folder.glob("*.yml")):
        if path.name == "alerts.yml":
            continue
        try:
            runbooks.append(parse_runbook(path.read_bytes(), str(path), probes=PROBES, actions=ACTIONS))
        except OSError as error:
            errors.append(f"{path}: {error.strerror}")
        except RunbookErrors as error:
            errors += error.errors
    if not runbooks and not errors:
        errors.append(f"{folder}: holds no runbook (*.yml): remove `runbooks` from the config to use those that ship")
    if errors:
        raise RunbookErrors(tuple(errors))
    return tuple(runbooks)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `cdc.yml`, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_schema(), "title": "cdc.yml"}


def settings() -> list[tuple[str, str, str]]:
    """Return (dotted name, default as written or `required` or empty, description) of every setting, as documented."""
    return list(_settings_below((), json_schema()))


# --- leaves ----------------------------------------------------------------------------------------


@cache
def _schema() -> dict[str, Any]:
    schema = _File.model_json_schema()
    limits = schema["properties"]["actions"]
    names = {"type": "array", "items": {"enum": list(ACTIONS)}}
    schema["properties"]["actions"] = {
        **{key: limits[key] for key in ("description", "examples")},
        "anyOf": [{**limits, "propertyNames": {"enum": list(ACTIONS)}}, names],
    }
    return schema


def _directory(info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("directory", "."))


_EMPTY_REMEDY = 'write one or remove the line; an unquoted # starts a comment, write "#cdc-incidents"'


def _without_value(path: KeyPath, values: Any) -> Iterator[KeyPath]:
    """The settings that stand in the file with nothing after the colon; an action may: it has no limits then."""
    if values is None and path[:1] != ("actions",):
        yield path
    elif isinstance(values, dict):
        for key, value in values.items():
            yield from _without_value((*path, key), value)
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from _without_value((*path, index), value)


def _without_the_broken_parts(
    document: Document, wrong: list[Problem], context: Mapping[str, Any]
) -> tuple[_File, frozenset[KeyPath]]:
    """Return the file without what is broken, and the paths left out, so that the rest is checked as well."""
    left = copy.deepcopy(document.values)
    left_out: set[KeyPath] = set()
    file = None
    while file is None:
        cut: set[KeyPath] = set()
        for problem in wrong:
            if not any(problem.path[: len(path)] == path for path in cut):
                cut.add(_cut(left, problem.path))
        left_out |= cut
        if cut == {()}:
            return _File(), frozenset(left_out)
        file, wrong = validate(_File, left, _schema(), context)
    return file, frozenset(left_out)


def _cut(values: Any, path: KeyPath) -> KeyPath:
    """Remove from `values` the innermost setting on `path` that is there; return its path.

    Of a list the whole goes, or the lines of its later items would be wrong. A required setting that is missing takes
    the section that needs it along.
    """
    parents: list[dict[str, Any]] = []
    here = values
    for part in path:
        if not isinstance(here, dict) or part not in here:
            break
        parents.append(here)
        here = here[part]
    reached = path[: len(parents)]
    if reached:
        del parents[-1][str(reached[-1])]
    return reached


def _contradictions(file: _File, document: Document, left_out: frozenset[KeyPath]) -> Iterator[Problem]:
    """What each setting allows but all together do not. Of what was left out nothing is said to be missing."""
    broken = {path[0] for path in left_out if path}
    written = document.values.get("pipelines")
    names = [str(name) for name in written] if isinstance(written, dict) else []
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
            yield Problem(
                ("pipelines", name), "not a name for a pipeline", "write letters, digits, dots, - and _, at most 80"
            )
    for action, limits in file.actions.items():
        if action not in ACTIONS:
            yield Problem(("actions", action), f"there is no action {action}", closest(action, ACTIONS))
        for index, name in enumerate(limits.pipelines or ()):
            if name not in names:
                where = ("actions", action, "pipelines", index)
                yield Problem(where, f"there is no pipeline {name}", closest(name, names))
    if file.actions and not file.people.responders and "people" not in broken:
        yield Problem(
            ("actions",),
            "actions are enabled but nobody may run them",
            'write people: {responders: [U0123ABCD]} or ["*"]',
        )
    yield from _unreachable_actions(file, broken)
    if file.registry and file.registry.refusals_query and not file.prometheus and "prometheus" not in broken:
        yield Problem(
            ("registry", "refusals_query"), "needs prometheus, which is not configured", "write prometheus: {url: ...}"
        )
    owners: dict[tuple[str, str], str] = {}
    for name, entry in file.pipelines.items():
        whole = not any(path[:2] == ("pipelines", name) for path in left_out)
        yield from _pipeline_contradictions(name, entry, owners, whole)


def _unreachable_actions(file: _File, broken: Collection[object]) -> Iterator[Problem]:
    needs = {"restart_failed_tasks": ("connect", file.connect), "silence_alerts": ("alertmanager", file.alertmanager)}
    for action, (section, configured) in needs.items():
        if action in file.actions and configured is None and section not in broken:
            yield Problem(
                ("actions", action), f"needs {section}, which is not configured", f"write {section}: {{url: ...}}"
            )


def _pipeline_contradictions(
    name: str, entry: _PipelineEntry, owners: dict[tuple[str, str], str], whole: bool
) -> Iterator[Problem]:
    here: KeyPath = ("pipelines", name)
    if whole and not (entry.source or entry.sink or entry.consumers or entry.subjects or entry.topics):
        yield Problem(here, "names nothing to watch", "write source, topics, consumers, subjects or sink")
    lag = entry.objective.lag
    if lag.warn.records >= lag.page.records:
        yield Problem(
            (*here, "objective", "lag"),
            f"warns at {lag.warn.records} records, not before it pages at {lag.page.records}",
            "write a warn below page",
        )
    owned: list[tuple[str, str, KeyPath]] = [
        ("consumer group", consumer.group, (*here, "consumers", index, "group"))
        for index, consumer in enumerate(entry.consumers)
    ]
    if entry.source:
        owned.append(("connector", entry.source.connector, (*here, "source", "connector")))
    if entry.sink:
        owned.append(("connector", entry.sink.connector, (*here, "sink", "connector")))
    for kind, value, path in owned:
        owner = owners.setdefault((kind, value), name)
        if owner != name:
            yield Problem(path, f"{kind} {value} already belongs to pipeline {owner}", "name it in one pipeline only")
        elif [(each_kind, each) for each_kind, each, _ in owned].count((kind, value)) > 1:
            yield Problem(path, f"{kind} {value} is named twice in this pipeline", "name it once")


def _missing_folders(file: _File, directory: Path) -> Iterator[Problem]:
    if file.runbooks is not None and not (directory / file.runbooks).is_dir():
        yield Problem(
            ("runbooks",), f"there is no folder {directory / file.runbooks}", "write the path of an existing one"
        )


def _config(file: _File, raw: bytes, path: Path) -> Config:
    channel = file.slack.channel if file.slack else _DEFAULT_CHANNEL
    actions = MappingProxyType(dict(file.actions))

    def enabled(name: str) -> frozenset[str]:
        return frozenset(
            action for action, limits in actions.items() if limits.pipelines is None or name in limits.pipelines
        )

    return Config(
        path=path,
        hash=hashlib.sha256(raw).hexdigest()[:12],
        listen=file.listen,
        environment=file.environment,
        state=path.parent / file.state,
        runbooks=path.parent / file.runbooks if file.runbooks else shipped("runbooks"),
        kafka=file.kafka,
        registry=file.registry,
        connect=file.connect,
        alertmanager=file.alertmanager,
        prometheus=file.prometheus,
        slack=file.slack,
        people=file.people,
        actions=actions,
        incidents=file.incidents,
        probes=file.probes,
        alerts=file.alerts.thresholds(),
        pipelines=tuple(entry.pipeline(name, channel, enabled(name)) for name, entry in file.pipelines.items()),
        flink=file.flink,
        lag=file.lag,
        checks=file.checks,
    )


def _settings_below(path: KeyPath, schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    here = schema_at(schema, path)
    required = here.get("required", ())
    for name in here.get("properties", {}):
        inner = schema_at(schema, (*path, name))
        yield _documented((*path, name)), _shown_default(inner, name in required), inner.get("description", "")
        if isinstance(inner.get("additionalProperties"), Mapping) and "properties" not in inner:
            yield from _settings_below((*path, name, "NAME"), schema)
        elif isinstance(inner.get("items"), Mapping):
            yield from _settings_below((*path, name, 0), schema)
        elif name not in ("password", "bearer", "user") and "properties" in inner:
            yield from _settings_below((*path, name), schema)


def _documented(path: KeyPath) -> str:
    return "".join("[]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _shown_default(schema: Mapping[str, Any], required: bool) -> str:
    default = schema.get("default")
    return "required" if required else "" if default in (None, {}, []) else str(default)
