"""What the bot asks of the world: one Protocol per system, with frozen results.

Promise: a call returns facts or raises `Unreachable`, `Missing` or `Denied`; it never returns a
number it did not read. Unknown is `None`, never 0 and never -1. Every call takes a deadline.
Nothing here says how: `clients/` has one file per port, `drill/` stands in for the systems themselves.

Errors
    PortError
    |-- Unreachable   no answer, a refused connection, an answer that is not the API (HTML, wrong JSON)
    |-- Denied        the system answered and refused: which permission is lacking
    |-- Missing       the system answered: there is no such topic, subject, connector, silence
    `-- Rejected      the system answered and refused the change: its reason
    An error's text names the address and what was asked; it never carries a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from bot.descriptors import BufFinding, ProtoSet
from bot.model import FlinkJob, GroupOffsets, PartitionKey, Retention


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine: no proxy stands before it, and nobody else reaches it."""
    return host in ("localhost", "::1") or (host or "").startswith("127.")


class PortError(Exception):
    """The world did not answer as asked; the text says which part, what was asked and what came back."""


class Unreachable(PortError):
    """No answer before the deadline, or an answer that is not the API's.

    `sent` False is certain: the request never left (a refused connection, an unknown host), so nothing was done.
    True is "it may have been carried out".
    """

    def __init__(self, *words: object, sent: bool = True) -> None:
        super().__init__(*words)
        self.sent = sent


class Denied(PortError):
    """The system refused to show or do it; the text names the permission."""


class Missing(PortError):
    """The system says there is no such thing. `error_code` is the number it gave for that, None where it gave none."""

    def __init__(self, *words: object, error_code: int | None = None) -> None:
        super().__init__(*words)
        self.error_code = error_code


class Rejected(PortError):
    """The system refused the change; the text is its reason.

    `status` and `error_code` are the numbers it gave, `reason` its own words; None where it gave none.
    """

    def __init__(
        self, *words: object, status: int | None = None, error_code: int | None = None, reason: str | None = None
    ) -> None:
        super().__init__(*words)
        self.status = status
        self.error_code = error_code
        self.reason = reason


# --- Kafka ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TopicOffsets:
    """Earliest and latest offset per partition of one topic; None where a leader did not answer."""

    topic: str
    partitions: Mapping[int, tuple[int | None, int | None]]
    not_known: tuple[str, ...] = ()

    @property
    def records(self) -> int | None:
        """Latest minus earliest over all partitions, or None when one is unknown."""
        pairs = list(self.partitions.values())
        if not pairs or any(earliest is None or latest is None for earliest, latest in pairs):
            return None
        return sum(latest - earliest for earliest, latest in pairs if earliest is not None and latest is not None)

    @property
    def end_total(self) -> int | None:
        """The sum of the log end offsets: grows by one per record produced; None when one is unknown."""
        ends = [latest for _, latest in self.partitions.values()]
        if not ends or any(end is None for end in ends):
            return None
        return sum(end for end in ends if end is not None)


@dataclass(frozen=True)
class Record:
    """One Kafka record as read; header order and duplicates are kept; `value` None is a tombstone."""

    topic: str
    partition: int
    offset: int
    at: datetime | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True)
class TailSample:
    """The newest records of a topic, oldest first, read without joining a group or committing."""

    topic: str
    records: tuple[Record, ...]
    offsets: TopicOffsets
    not_known: tuple[str, ...] = ()


class Kafka(Protocol):
    def read_group(self, group: str, topics: Sequence[str], deadline_s: float) -> GroupOffsets:
        """Return offsets of `group` for the partitions of `topics`, or, with no topics, of all it has committed.

        Raises Missing only where the broker can tell that the group or a topic does not exist.
        """
        ...

    def read_groups(
        self, wanted: Mapping[str, Sequence[str]], deadline_s: float
    ) -> Mapping[str, GroupOffsets | PortError]:
        """Return each of the `wanted` groups (with its topics, or none: all it has committed), read in one pass.

        What one group or one broker refuses is that group's or those partitions' alone; never raises.
        """
        ...

    def read_offsets_at(
        self, asked: Mapping[PartitionKey, Sequence[datetime]], deadline_s: float
    ) -> Mapping[PartitionKey, Mapping[datetime, int | None]]:
        """Return per partition and time the first offset with a timestamp at or after it; None: no record that new.

        A time that was not answered is absent. Raises PortError when not one was, or when the broker cannot tell.
        """
        ...

    def read_retention(self, topics: Sequence[str], deadline_s: float) -> Mapping[str, Retention | PortError]:
        """Return what deletes the records of each topic. Never raises."""
        ...

    def holds_record(self, starts: Mapping[PartitionKey, int], deadline_s: float) -> Mapping[PartitionKey, bool]:
        """Return whether a reader of committed data gets a record at or after each offset, or only the partition's end.

        False is a tail of transaction markers, aborted or compacted records. A partition not read in time is absent.
        Raises PortError. Needs READ on the topic.
        """
        ...

    def read_topic(self, topic: str, deadline_s: float) -> TopicOffsets:
        """Return earliest and latest offsets. Raises Missing for an unknown topic and creates none by asking."""
        ...

    def sample_tail(self, topic: str, count: int, deadline_s: float) -> TailSample:
        """Return up to `count` newest records over all partitions, ended by partition EOF and the deadline."""
        ...


@dataclass(frozen=True)
class TopicEntry:
    """A topic as the cluster lists it."""

    topic: str
    partitions: int


@dataclass(frozen=True)
class GroupEntry:
    """A consumer group as the cluster lists it; `topics` are those it has committed, None where not asked or denied.

    `simple` groups commit without ever having had members, as Flink does; None where not asked.
    """

    group: str
    state: str | None
    topics: tuple[str, ...] | None = None
    simple: bool | None = None


@dataclass(frozen=True)
class KafkaListing:
    """What a cluster shows to this client: only what it may DESCRIBE."""

    cluster_id: str | None
    brokers: int
    topics: tuple[TopicEntry, ...]
    groups: tuple[GroupEntry, ...] | None
    not_known: tuple[str, ...] = ()


@dataclass(frozen=True)
class KafkaBrokers:
    """The cluster as any client that may log in sees it. Kafka's protocol tells no version of the brokers."""

    cluster_id: str | None
    brokers: int


class KafkaServer(Protocol):
    def read_brokers(self, deadline_s: float) -> KafkaBrokers:
        """Return the cluster's id and brokers: the question that tells whether one may talk to it at all."""
        ...


class KafkaCluster(Protocol):
    """The cluster as a whole, for setting up; the probes ask `Kafka`."""

    def read_listing(self, deadline_s: float) -> KafkaListing:
        """Return topics and groups; groups are None where they could not be listed."""
        ...

    def read_readers(self, groups: Sequence[str], topics: Sequence[str], deadline_s: float) -> KafkaListing:
        """Return those of `groups` with the ones of `topics` that each has committed."""
        ...


# --- Schema Registry -----------------------------------------------------------------------------


@dataclass(frozen=True)
class SchemaReference:
    """A schema that another one uses, by the name it is used with and the subject and version that hold it."""

    name: str
    subject: str
    version: int


@dataclass(frozen=True)
class SchemaVersion:
    """One registered version. `registered_at` is the registry's own `ts` (Confluent >= 8.0) or None.

    After a soft delete (`deleted`) that `ts` is the time of the deletion.
    """

    subject: str
    version: int
    schema_id: int | None
    schema_type: str
    schema: str
    registered_at: datetime | None = None
    references: tuple[SchemaReference, ...] = ()
    deleted: bool = False


@dataclass(frozen=True)
class SubjectState:
    """A subject as the registry shows it: effective level and mode, and the newest versions, oldest first.

    `deleted` are the numbers of the versions that are soft-deleted, which `all_versions` leaves out.
    """

    subject: str
    compatibility: str | None
    mode: str | None
    versions: tuple[SchemaVersion, ...]
    all_versions: tuple[int, ...] = ()
    not_known: tuple[str, ...] = ()
    deleted: tuple[int, ...] = ()


@dataclass(frozen=True)
class ServerFacts:
    """What a server says of itself. `clock_offset_s` is its clock minus ours, to the second; None where unsaid."""

    kind: str
    version: str | None
    calls: Mapping[str, str | None] = field(default_factory=dict)
    """A call the product needs -> None when it was answered, else why not."""
    plugins: tuple[str, ...] = ()
    clock_offset_s: float | None = None
    not_known: tuple[str, ...] = ()


class Server(Protocol):
    def read_server(self, deadline_s: float) -> ServerFacts:
        """Return what the server is and which of the calls that probes make it answers."""
        ...


@dataclass(frozen=True)
class CompatibilityAnswer:
    """What a registry says of a schema that is not registered. `compatible` is None where it does not say.

    `asked` is the call that was answered; `new_subject`: it knows no such subject, so nothing is in the way.
    """

    compatible: bool | None
    asked: str
    messages: tuple[str, ...] = ()
    new_subject: bool = False


class SchemaRegistry(Protocol):
    def read_subject(self, subject: str, newest: int, deadline_s: float) -> SubjectState:
        """Return the subject with its `newest` last versions. Raises Missing for an unknown subject."""
        ...

    def read_version(self, subject: str, version: int, deadline_s: float) -> SchemaVersion:
        """Return one version, also a soft-deleted one. Raises Missing."""
        ...

    def read_referenced(self, schema: SchemaVersion, deadline_s: float) -> tuple[SchemaVersion, ...]:
        """Return every schema that this one uses, through any number of others, each once, the used before the user."""
        ...

    def read_recent(self, since: datetime, deadline_s: float) -> tuple[SchemaVersion, ...] | None:
        """Return what changed since then in all subjects, oldest first; None for a registry that keeps no times.

        A version that is soft-deleted (`deleted`) changed when it was deleted.
        """
        ...

    def read_schema(self, schema_id: int, deadline_s: float) -> str:
        """Return the schema text of a global id. Raises Missing."""
        ...

    def read_subjects(self, deadline_s: float) -> tuple[str, ...]:
        """Return every subject's name, sorted."""
        ...

    def read_level(self, subject: str, deadline_s: float) -> str:
        """Return the compatibility level in force, the global one for a subject that has none or is not there."""
        ...

    def check_compatibility(
        self,
        subject: str,
        schema: str,
        schema_type: str,
        references: Sequence[SchemaReference],
        deadline_s: float,
    ) -> CompatibilityAnswer:
        """Return whether the registry would take the schema; registers nothing. An unknown subject is no error."""
        ...


# --- git -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GitFiles:
    """How files differ from a commit. `name` is what to call it: `git main (3fa2b1c)`.

    `files` maps a path, as given and as it is now, to its bytes there, only where they differ; those in `deleted` are
    there no more. `unchanged` do not differ; a path in none of them is new. `renamed` maps a path to its old one.
    `notes` say what a person should know of the choice of the commit.
    """

    name: str
    commit: str
    files: Mapping[str, bytes]
    unchanged: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Git(Protocol):
    def read_before(
        self, ref: str | None, paths: Sequence[str], patterns: Sequence[str] = ("*.avsc", "*.proto")
    ) -> GitFiles:
        """Return how the files below `paths` differ from the merge-base of HEAD and `ref` (None: the main branch).

        `patterns` are the names that count. Raises Missing for an unknown ref or no repository, Denied where git
        refuses the folder, Unreachable where git cannot say (a shallow clone), each with the command that helps.
        """
        ...


# --- protoc and buf ------------------------------------------------------------------------------


class Protoc(Protocol):
    def compile(
        self,
        texts: Mapping[str, str],
        *,
        only: Collection[str] | None = None,
        folders: Sequence[str] = (),
        read: Callable[[str], str | None] = lambda path: None,
        places: bool = True,
        deadline_s: float = 120.0,
    ) -> ProtoSet:
        """Return the files of `texts` (path -> text), or those in `only`, compiled. A broken file stops no other.

        `folders` are where imports begin: `--proto-path` first, then the folders that were given. `read` returns a file
        of the same tree that is not in `texts`, None where there is none. Without `places` there are neither lines nor
        comments, and it is faster: for the side that is compared with. Raises Unreachable where protoc does not run.
        """
        ...


@dataclass(frozen=True)
class BufAnswer:
    """What `buf` found; `notes` name its version, the rules it ran with, and what it could not do."""

    findings: tuple[BufFinding, ...] = ()
    notes: tuple[str, ...] = ()


class Buf(Protocol):
    def lint(self, texts: Mapping[str, str], config: Mapping[str, str], deadline_s: float) -> BufAnswer:
        """Return what `buf lint` says of the files. `config` holds `buf.yaml` and `buf.lock` by path, or is empty."""
        ...

    def breaking(
        self, texts: Mapping[str, str], before: Mapping[str, str], config: Mapping[str, str], deadline_s: float
    ) -> BufAnswer:
        """Return what `buf breaking` says of the files after `before`. Raises Missing where there is no buf."""
        ...


# --- Kafka Connect -------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskState:
    """One task as the REST API spells it; `trace` is the API's text and may be an OLD one after a restart."""

    task: int
    state: str
    worker: str | None
    trace: str | None = None


@dataclass(frozen=True)
class ConnectorState:
    connector: str
    type: str
    state: str
    worker: str | None
    trace: str | None
    tasks: tuple[TaskState, ...]
    config: Mapping[str, str] = field(default_factory=dict)
    not_known: tuple[str, ...] = ()


class Connect(Protocol):
    def read_connector(self, name: str, deadline_s: float) -> ConnectorState:
        """Return state, tasks and config. Raises Missing for an unknown connector."""
        ...

    def read_connectors(self, deadline_s: float) -> tuple[ConnectorState, ...]:
        """Return every connector of the cluster in one call (`?expand=status&expand=info`)."""
        ...

    def read_connector_topics(self, name: str, deadline_s: float) -> tuple[str, ...]:
        """Return the topics a connector has really used since it was created (KIP-558)."""
        ...

    def restart_failed(self, name: str, deadline_s: float) -> str:
        """POST restart?includeTasks=true&onlyFailed=true; return what the API answered. 409 (rebalance) is Rejected."""
        ...


# --- Flink ---------------------------------------------------------------------------------------


class Flink(Protocol):
    def read_job(self, name: str, deadline_s: float) -> FlinkJob:
        """Return the newest job of that name or id, one that runs before those that ended.

        Raises Missing, with the names alike, where the cluster knows none.
        """
        ...


# --- Alertmanager --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Matcher:
    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def __str__(self) -> str:
        return f'{self.name}{"=" if self.is_equal else "!"}{"~" if self.is_regex else ""}"{self.value}"'


@dataclass(frozen=True)
class LiveAlert:
    """An alert as `/api/v2/alerts` lists it; `state` is active, suppressed or unprocessed."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    state: str
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    generator_url: str = ""
    receivers: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlertmanagerStatus:
    """`/api/v2/status`: the version and the configuration as it is in force, its secrets replaced by `<secret>`.

    `clock_offset_s` is its clock minus ours, to the second.
    """

    version: str
    config: str
    clock_offset_s: float | None = None


class Alertmanager(Protocol):
    external_url: str

    def read_alerts(self, matchers: Sequence[Matcher], deadline_s: float) -> tuple[LiveAlert, ...]:
        """Return the live alerts that all matchers hit, silenced and inhibited ones included."""
        ...

    def create_silence(
        self,
        matchers: Sequence[Matcher],
        starts_at: datetime,
        ends_at: datetime,
        created_by: str,
        comment: str,
        deadline_s: float,
    ) -> str:
        """Create a silence and return its id. Owner and comment must not be empty (Alertmanager would accept that)."""
        ...

    def read_silence(self, silence_id: str, deadline_s: float) -> str:
        """Return the silence's state (active, pending, expired). Raises Missing."""
        ...


class AlertmanagerSetup(Protocol):
    """What setting up asks of Alertmanager beside what the bot asks."""

    def read_status(self, deadline_s: float) -> AlertmanagerStatus: ...

    def post_alert(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        starts_at: datetime,
        ends_at: datetime,
        deadline_s: float,
    ) -> None:
        """Hand one alert in as Prometheus does; an `ends_at` that has passed resolves it."""
        ...


# --- Prometheus ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScrapeTarget:
    """An active target: where it is scraped, under which job, its health (`up`, `down`, `unknown`) and last error.

    `instance` is the label that its series carry.
    """

    url: str
    job: str
    health: str
    error: str
    instance: str = ""


@dataclass(frozen=True)
class PrometheusStatus:
    """What Prometheus does; a field is None where it was not told, and `not_known` says why."""

    version: str | None
    targets: tuple[ScrapeTarget, ...] | None
    rules: tuple[str, ...] | None
    """Names of the alert rules loaded."""
    alertmanagers: tuple[str, ...] | None
    """Addresses of the Alertmanagers that alerts are sent to."""
    clock_offset_s: float | None = None
    not_known: tuple[str, ...] = ()
    loaded_at: datetime | None = None
    """When it loaded its configuration, by its own clock; asked only where it tells no Alertmanager."""


@dataclass(frozen=True)
class Series:
    """One series of a range query: its labels, and its points in time order. A gap is an absent point."""

    labels: Mapping[str, str]
    points: tuple[tuple[datetime, float], ...]


class Prometheus(Protocol):
    def read_status(self, deadline_s: float) -> PrometheusStatus: ...

    def read_range(
        self, expression: str, since: datetime, until: datetime, step_s: float, deadline_s: float
    ) -> tuple[Series, ...]:
        """Return what `/api/v1/query_range` answers; NaN and infinite points are left out. Raises PortError."""
        ...


# --- Chat ----------------------------------------------------------------------------------------


class ChatError(PortError):
    """The chat refused or did not answer.

    `code` is its word (`channel_not_found`, `ratelimited`, ...). `uncertain` means the call may have been
    carried out (a time-out, a dropped connection): look before repeating. `retry_after_s` is its own wish.
    `permanent` means repeating the same call cannot help. `near` is, of a channel that was not found, the `#name` of
    the one that is called most like it, or empty.
    """

    def __init__(
        self,
        code: str,
        *,
        uncertain: bool = False,
        retry_after_s: float | None = None,
        permanent: bool = False,
        near: str = "",
    ) -> None:
        super().__init__(code)
        self.code = code
        self.uncertain = uncertain
        self.retry_after_s = retry_after_s
        self.permanent = permanent
        self.near = near


@dataclass(frozen=True)
class Message:
    """A rendered message: `text` is the lock-screen line (<= 120 characters for cards), `blocks` Block Kit."""

    text: str
    blocks: tuple[Mapping[str, Any], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Chat(Protocol):
    def post(self, channel: str, message: Message, thread_ts: str | None, broadcast: bool = False) -> tuple[str, str]:
        """Post and return (channel id, ts). Raises ChatError."""
        ...

    def update(self, channel: str, ts: str, message: Message) -> None:
        """Edit in place: notifies nobody. Raises ChatError."""
        ...

    def post_ephemeral(self, channel: str, user: str, message: Message, thread_ts: str | None) -> None: ...

    def respond(self, response_url: str, message: Message) -> None:
        """Answer a slash command or a click through its response_url (5 uses in 30 minutes)."""
        ...

    def find(self, channel: str, thread_ts: str | None, key: str) -> str | None:
        """Return the ts of the message whose metadata carries `key`, or None. An uncertain post is looked up by it."""
        ...

    def upload(
        self, channel: str, thread_ts: str | None, filename: str, content: str | bytes, comment: str, alt: str = ""
    ) -> None:
        """Share a file, at least once: what was shared cannot be looked up. `alt` is what a picture shows, in words."""
        ...

    def open_view(self, trigger_id: str, view: Mapping[str, Any]) -> None:
        """views.open: the trigger lives 3 s and works once. Raises ChatError."""
        ...


@dataclass(frozen=True)
class ChatIdentity:
    """Who a token is: workspace, app's bot user, and the scopes the workspace granted, None where it did not say.

    `app_id` is None where the chat does not say it: Slack tells an app-level token, not a bot token.
    """

    team: str
    team_id: str
    user_id: str
    url: str
    scopes: frozenset[str] | None
    clock_offset_s: float | None = None
    app_id: str | None = None


@dataclass(frozen=True)
class ChatChannel:
    id: str
    name: str
    is_member: bool
    is_archived: bool


@dataclass(frozen=True)
class ChatLinks:
    """The connections that the bot keeps open to the chat: how many of `wanted` stand, and since when none does.

    `down_s` is None while one stands; `hello_s` is the age of the last greeting, None before the first; `error` says
    in words why the last attempt failed, and is empty once one worked.
    """

    connected: int
    wanted: int
    down_s: float | None
    hello_s: float | None
    error: str


class ChatSetup(Protocol):
    """What setting up asks of the chat beside what the bot sends."""

    def read_identity(self) -> ChatIdentity:
        """auth.test. Raises ChatError."""
        ...

    def read_channels(self, channels: Sequence[str]) -> Mapping[str, ChatChannel | ChatError]:
        """Return each channel, given as `#name` or id, or why it is not known: `channel_not_found` and the like."""
        ...

    def open_socket(self, app_token: str) -> str:
        """apps.connections.open: return a single-use `wss://` address. Raises ChatError."""
        ...
