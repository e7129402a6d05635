"""The composition root: the only file that knows everything; it owns clock, ids, threads and schedule.

`serve` runs the bot; the drill and `make pipeline` start the same bot through `start_bot`. Imports stand inside
functions: a `cdc lag` must not pay for the web server, and `cdc --help` for nothing at all.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import socket

    from bot.charts import Charts
    from bot.clients.http import JsonHttp
    from bot.clients.slack import SlackChat
    from bot.config import Config
    from bot.dispatcher import Dispatcher
    from bot.edge.slack import SlackEdge
    from bot.edge.slack_socket import SlackSocket
    from bot.incident.commands import PersonCommand
    from bot.incident.correlation import Board
    from bot.incident.decisions import Decision
    from bot.incident.events import Entry
    from bot.incident.policy import Policy
    from bot.incident.runbook import Runbook
    from bot.lag.track import GroupTrack
    from bot.monitor import Monitor
    from bot.outbox import Outbox
    from bot.ports import Alertmanager, ChatLinks, Connect, Kafka, Series
    from bot.probes.consumer_lag import Watched
    from bot.probes.sources import Sources
    from bot.render.chart_words import Chart
    from bot.runner import Runner, World
    from bot.sampler import Sampler
    from bot.store.sqlite import Store

log = logging.getLogger("cdc")

POLL_S = 0.25
RECONCILE_EVERY_RECHECKS = 4
ABSENT_FOR_RECHECKS = 10
VERIFY_EVERY_S = 3.0
PRUNE_EVERY_S = 1800
LOOKED_BACK = timedelta(minutes=30)
COLLECTED_EVERY = 20_000
"""New objects between two searches for garbage. A pass over 10,000 partitions makes 80,000 that live on in the tracks:
at Python's 700 it is searched 130 times, which takes a fifteenth of the pass."""
SPEECH_EVERY_S, SPEECH_DEADLINE_S, SPEECH_CALL_S = 60, 20.0, 5


def clock() -> datetime:
    """The one clock."""
    return datetime.now(UTC)


def nonce() -> str:
    """The one source of random names."""
    import secrets

    return secrets.token_hex(4)


def version() -> str:
    from importlib.metadata import version as installed

    return installed("cdc-oncall")


# --- config and systems ----------------------------------------------------------------------------


def open_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Return the checked config. Raises bot.config.ConfigErrors. `environ` is read only when a secret is used."""
    from bot import config

    return config.load(path)


def runbooks(config: Config) -> tuple[Runbook, ...]:
    """Return the runbooks of the config's folder. Raises RunbookErrors."""
    from bot.config import read_runbooks

    return read_runbooks(config.runbooks)


def policy(config: Config) -> Policy:
    """Return what decisions need of config and runbooks."""
    from bot.incident.policy import Policy

    caps = {name: limits.cap_per_hour for name, limits in config.actions.items()}
    thresholds = config.alerts
    return Policy(
        pipelines={pipeline.name: pipeline for pipeline in config.pipelines},
        runbooks=runbooks(config),
        default_channel=config.channel,
        responders=frozenset(config.people.responders),
        approvers=frozenset(config.people.approvers),
        actions=frozenset(name for name, limits in config.actions.items() if limits.pipelines is None),
        caps=caps,
        command=config.command,
        environment=config.environment,
        reopen_within=timedelta(seconds=config.incidents.reopen_within),
        settle=timedelta(seconds=config.incidents.settle),
        recheck=timedelta(seconds=config.incidents.recheck),
        refusals=thresholds.refusals,
        refusals_window=timedelta(seconds=thresholds.refusals_window_s),
        refusals_severity=thresholds.refusals_severity,
        bot_version=version(),
        config_hash=config.hash,
    )


def sources(config: Config, environ: Mapping[str, str]) -> Sources:
    """Return the systems that probes ask, with their own credentials; what is not configured is None."""
    from bot.probes.sources import Sources

    kafka = registry = connect = flink = None
    if config.kafka:
        from bot.clients.kafka_cluster import ConfluentCluster

        settings = partial(config.kafka.client_settings, environ)
        kafka = ConfluentCluster(_revealed(f"Kafka at {config.kafka.bootstrap}", settings), clock)
    if config.registry:
        from bot.clients.registry import HttpSchemaRegistry

        registry = HttpSchemaRegistry(http(config.registry, environ))
    if config.connect:
        from bot.clients.connect import HttpConnect

        connect = HttpConnect(http(config.connect, environ))
    if config.flink:
        from bot.clients.flink import HttpFlink

        flink = HttpFlink(http(config.flink, environ))
    return Sources(
        kafka,
        registry,
        connect,
        track_of=partial(track_beside_bot, config.state),
        deadline_s=config.probes.deadline,
        cluster=kafka,
        flink=flink,
        horizon_s=config.lag.horizon,
        groups=config.lag.groups,
    )


def track_beside_bot(journal: Path, group: str) -> GroupTrack | None:
    """Return what the samples of the bot on this journal tell of a group, None without a bot."""
    from bot.lag.track import follow
    from bot.store.look_samples import look_samples
    from bot.store.sample_format import samples_beside

    track = None
    for read in look_samples(samples_beside(journal), group, clock() - LOOKED_BACK):
        track = follow(track, read)
    return track


def first_seen(config: Config) -> Mapping[tuple[str, int], datetime]:
    """Return when the bot first saw each (subject, version), from the journal if there is one."""
    from bot.store.look import seen_versions

    return seen_versions(config.state)


def bare_sources(
    bootstrap: str | None = None,
    registry: str | None = None,
    connect: str | None = None,
    kafka_settings: Mapping[str, str] | None = None,
) -> Sources:
    """Return systems given on the command line, without any config. `kafka_settings` are librdkafka's."""
    from bot.probes.sources import Sources

    kafka_port = registry_port = connect_port = None
    if bootstrap:
        from bot.clients.kafka_cluster import ConfluentCluster

        kafka_port = ConfluentCluster({**(kafka_settings or {}), "bootstrap.servers": bootstrap}, clock)
    if registry:
        from bot.clients.http import JsonHttp
        from bot.clients.registry import HttpSchemaRegistry

        registry_port = HttpSchemaRegistry(JsonHttp(registry))
    if connect:
        from bot.clients.connect import HttpConnect
        from bot.clients.http import JsonHttp

        connect_port = HttpConnect(JsonHttp(connect))
    return Sources(kafka_port, registry_port, connect_port, cluster=kafka_port)


def http(section: Any, environ: Mapping[str, str], auth: Any = None) -> JsonHttp:
    """Return the connection to a server of cdc.yml: its address, its login (or another one), its certificates.

    The login is resolved at each use: a rotated secret needs no restart.
    """
    from bot.clients.http import JsonHttp

    login, tls = auth or section.auth, section.tls
    headers = _revealed(section.url, lambda: {"Authorization": login.header(environ)}) if login else None
    return JsonHttp(section.url, headers, tls, clock)


def _revealed(where: str, reveal: Callable[[], dict[str, str]]) -> Callable[[], dict[str, str]]:
    """Return `reveal` with its SecretError as a port's error: a client asks at each use and knows no config."""

    def reveal_or_say() -> dict[str, str]:
        from bot.config import SecretError
        from bot.ports import Unreachable

        try:
            return reveal()
        except SecretError as error:
            raise Unreachable(f"{where}: not asked: {error}", sent=False) from error

    return reveal_or_say


def _world(config: Config, environ: Mapping[str, str], stop: threading.Event) -> World:
    from dataclasses import replace

    from bot.clients.alertmanager import HttpAlertmanager
    from bot.clients.connect import HttpConnect
    from bot.runner import World

    acting: Connect | None = None
    if config.connect:
        acting = HttpConnect(http(config.connect, environ, config.connect.actions_auth))
    alertmanagers: dict[str, Alertmanager] = {}
    if config.alertmanager:
        connection = http(config.alertmanager, environ)
        for url in config.alertmanager.external_urls:
            alertmanagers[url.rstrip("/")] = HttpAlertmanager(connection, url)
    probing = replace(sources(config, environ), wait=stop.wait)
    verify_every_s = min(VERIFY_EVERY_S, config.incidents.recheck)
    absent_for = timedelta(seconds=ABSENT_FOR_RECHECKS * config.incidents.recheck)
    return World(probing, acting, alertmanagers, verify_every_s, config.probes.deadline, absent_for)


# --- the journal, for one command --------------------------------------------------------------------


@dataclass(frozen=True)
class Journal:
    """The journal as a reader sees it: the board, and one incident's entries."""

    store: Store
    dispatcher: Dispatcher
    api_url: str | None = None

    def board(self) -> Board:
        return self.dispatcher.board()

    def entries(self, incident_id: str) -> tuple[Entry, ...]:
        return tuple(entry for _, entry in self.store.entries(incident_id))

    def link(self, incident_id: str) -> str | None:
        """Return the address of the incident's thread, or None while there is no card."""
        return thread_link(self.store.posted(incident_id, "card"), self.api_url)

    def order(self, incident_id: str, command: PersonCommand) -> Decision:
        """Decide a person's command now; the running bot says it and does it."""
        return self.dispatcher.order(incident_id, command)

    def close(self) -> None:
        self.store.close()


def open_journal(config: Config) -> Journal:
    """Open the journal beside a bot that may be running. Raises StoreError, RunbookErrors."""
    from bot.dispatcher import Dispatcher, Nudges
    from bot.store.sqlite import Store

    store, rules = Store(config.state), policy(config)
    nothing = Nudges(lambda: None, lambda: None)
    api_url = config.slack.api_url if config.slack else None
    return Journal(store, Dispatcher(store, lambda: rules, clock, nonce, nothing, lambda _: None), api_url)


journal_reader = open_journal


def _journal_of_the_bot(path: Path, on_commit: Callable[[str], None] | None) -> tuple[Store, str]:
    """Own the journal, then open it; return with it what is to be told for as long as the bot runs.

    One that cannot be read any more is kept beside and a new one begun: an alert must find a place. No action can be
    repeated by that, a plan of the old journal is unknown to the new one. Raises StoreError: a second bot ends here.
    """
    from bot.store.copies import put_aside
    from bot.store.sqlite import Store, UnreadableJournal, own

    with contextlib.ExitStack() as failed:
        lock = failed.enter_context(own(path))
        try:
            store, notice = Store(path, on_commit, lock), ""
        except UnreadableJournal as error:
            log.error("%s", error)
            aside = put_aside(path, clock())
            notice = (
                f"the journal could not be read when the bot started: it is kept as {aside}, and a new one was begun. "
                "What happened before is not in it: `cdc restore FILE` puts a backup in its place"
            )
            log.error("%s", notice)
            store = Store(path, on_commit, lock)
        failed.pop_all()  # the lock is the store's from here on
        return store, notice


def thread_link(card: tuple[str, str] | None, api_url: str | None) -> str | None:
    """Return Slack's redirect to a message: it needs neither the workspace's name nor another call."""
    if card is None or api_url is None:
        return None
    return f"{api_url.removesuffix('api/')}app_redirect?channel={card[0]}&message_ts={card[1]}"


def order(config: Config, environ: Mapping[str, str], incident_id: str, command: PersonCommand) -> tuple[str, Any]:
    """Store and decide a person's command against the journal; return (reply, refusal or None)."""
    journal = open_journal(config)
    try:
        decision = journal.order(incident_id, command)
    finally:
        journal.close()
    return _with_bot(config, decision.reply), decision.refusal


def refusal_inbox(config: Config) -> Callable[[str, bytes], None]:
    """Open the journal beside a bot that may be running; return what stores a refused schema in its inbox, by its key.

    Raises StoreError. What is returned raises Unreachable when the journal cannot be written now.
    """
    import hashlib

    from bot.incident.refusals import INBOX_KIND
    from bot.ports import Unreachable
    from bot.store.sqlite import NOT_NOW, Store

    store = Store(config.state)

    def put(key: str, body: bytes) -> None:
        try:
            store.receive(f"refusal:{hashlib.sha256(key.encode()).hexdigest()}", INBOX_KIND, body, clock())
        except NOT_NOW as error:
            raise Unreachable(f"{config.state}: cannot be written now: {error}", sent=False) from error

    return put


def _with_bot(config: Config, reply: str) -> str:
    """Say so when no bot runs on this journal: what was recorded is then neither told nor done."""
    from bot.store.sqlite import is_owned

    if is_owned(config.state):
        return reply
    return f"{reply} No bot runs on {config.state}: it is recorded, and told and done once one does.".strip()


def open_incident(config: Config, who: Any, pipeline: str, text: str) -> tuple[str, Any]:
    """Open an incident by hand; return (reply, refusal or None)."""
    journal = open_journal(config)
    try:
        decision = journal.dispatcher.open_incident(who, pipeline, text)
    finally:
        journal.close()
    return decision.reply, decision.refusal


# --- the bot -----------------------------------------------------------------------------------------


class Bot:
    """The running bot: its threads, its schedule and its server. `stop` ends them in order and loses nothing."""

    def __init__(
        self, config: Config, environ: Mapping[str, str], on_commit: Callable[[str], None] | None = None
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor
        from dataclasses import replace

        from bot.dispatcher import Dispatcher, Nudges
        from bot.monitor import Monitor, Tally, Voice
        from bot.runner import Runner
        from bot.store.sample_format import samples_beside
        from bot.store.samples import Samples

        self.config, self._environ = config, environ
        self.policy = policy(config)
        self.tally = Tally()
        self._stop = threading.Event()
        self._wake = {name: threading.Event() for name in ("inbox", "outbox", "chart", "probe", "action", "verb")}
        self._threads: list[threading.Thread] = []
        self._executor = ThreadPoolExecutor(8, thread_name_prefix="probes")
        self.store, notice = _journal_of_the_bot(config.state, on_commit)
        nudges = Nudges(self._wake["outbox"].set, self._wake_runner)
        self.dispatcher: Dispatcher = Dispatcher(
            self.store, lambda: self.policy, clock, nonce, nudges, self.tally.error
        )
        world = _world(config, environ, self._stop)
        self._samples = Samples(samples_beside(config.state))
        self.sampler: Sampler = self._make_sampler(world.sources)
        remembering = replace(
            world.sources,
            track_of=self.sampler.track_of,
            note=self.sampler.note,
            ladder_of=self.sampler.ladder_of,
            note_ladders=self.sampler.note_ladders,
        )
        world = replace(world, sources=remembering)
        self.runner: Runner = Runner(
            self.store, self.dispatcher, world, lambda: self.policy, clock, self._executor, self.tally.error
        )
        self._socket: SlackSocket | None = None
        self._chat: SlackChat | None = self._make_chat()
        channels = (config.channel, *(pipeline.channel for pipeline in config.pipelines))
        self._voice = Voice(self._speech_chat, channels, clock) if self._chat is not None else None
        self.monitor: Monitor = Monitor(
            self.store,
            self.dispatcher,
            self.runner,
            lambda: self.policy,
            clock,
            self.tally,
            version(),
            self._chat_links,
            notice,
            self._voice.wrong if self._voice else lambda: (),
            self.sampler,
            config.lag.kafka_exporter_names,
            self._wake["inbox"].set,
            self._refusal_series(),
        )
        self._charts: Charts = self._make_charts(world.sources.kafka)
        self._outbox: Outbox | None = self._make_outbox()
        self._server: Any = None
        self._scheduler: Any = None
        self._closers: list[Callable[[], None]] = []

    @property
    def url(self) -> str:
        return f"http://{self.config.listen.host}:{self._port}"

    def start(self) -> None:
        """Listen, settle what the last process left, then start threads and schedule. Waits for no other system.

        The address comes first, as the journal did when the bot was made: a second bot started by mistake ends there,
        before it settles the first one's work.
        """
        from bot.runner import POOLS
        from bot.store.sqlite import NOT_NOW

        self._serve()
        try:
            self.runner.recover()
        except NOT_NOW as error:
            log.error("the journal cannot be written now: %s; alerts are answered 503 until it can", error)
        self._loop("dispatcher", "inbox", self.dispatcher.step, 1)
        for pool, (kinds, count) in POOLS.items():
            self._loop(pool, pool, partial(self.runner.run_one, kinds), count)
        if self._outbox is not None:
            self._loop("outbox", "outbox", self._outbox.drain, 1)
            self._loop("charts", "chart", self._outbox.send_charts, 1)
        if self._socket is not None:
            self._socket.start()
        self._schedule()

    def stop(self) -> None:
        """Stop taking in first, then finish what is at hand; what is left stays in the journal."""
        if self._server is not None:
            self._server.should_exit = True
        if self._socket is not None:
            self._socket.close()
        self._stop.set()
        for event in self._wake.values():
            event.set()
        for thread in self._threads:
            thread.join(timeout=15)
        for close in self._closers:
            close()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self.sampler.close()
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=True)  # a look under way reads the journal: it is closed after it
        self._samples.close()
        self.store.close()

    # what the drill reads

    def read_incidents(self) -> list[dict[str, Any]]:
        from bot.incident.documents import incident_summary

        board = self.dispatcher.board()
        return [dict(incident_summary(i, self._link(i.id))) for i in board.all()]

    def read_incident(self, incident_id: str) -> dict[str, Any]:
        from bot.incident.documents import incident_document

        incident = self.dispatcher.incident(incident_id)
        if incident is None:
            return {}
        entries = tuple(entry for _, entry in self.store.entries(incident_id))
        return dict(incident_document(incident, entries, self._link(incident_id)))

    def _link(self, incident_id: str) -> str | None:
        slack = self.config.slack
        return thread_link(self.store.posted(incident_id, "card"), slack.api_url if slack else None)

    # --- parts ---

    def _wake_runner(self) -> None:
        for name in ("probe", "action", "verb"):
            self._wake[name].set()

    def _loop(self, name: str, wake: str, work: Callable[[], object], count: int) -> None:
        """Repeat `work` while there is some, else wait for a nudge or the next poll. A failure is counted.

        After a look that found nothing it rests for twice as long as the look took: a storm of nudges then costs a
        third of a core at most, and a quiet look of a millisecond delays nothing.
        """
        event = self._wake[wake]

        def run() -> None:
            while not self._stop.is_set():
                looked_at_s = time.monotonic()
                try:
                    busy = work()
                except Exception:
                    log.exception("%s failed; trying again", name)
                    self.tally.error(name)
                    self._stop.wait(1.0)
                    continue
                if not busy:
                    self._stop.wait(2 * (time.monotonic() - looked_at_s))
                    event.wait(POLL_S)
                    event.clear()

        for number in range(count):
            thread = threading.Thread(target=run, name=f"{name}-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _refusal_series(self) -> Callable[[datetime], Sequence[Series]] | None:
        """Return what asks Prometheus for refused registrations as they stand at a time, None where it is not to be."""
        from bot.clients.prometheus import HttpPrometheus

        section, asked = self.config.prometheus, self.config.registry
        if section is None or asked is None or asked.refusals_query is None:
            return None
        query, deadline_s = asked.refusals_query, self.config.probes.deadline
        prometheus = HttpPrometheus(http(section, self._environ))
        return lambda at: prometheus.read_range(query, at, at, 1.0, deadline_s)

    def _make_sampler(self, asked: Sources) -> Sampler:
        from bot.probes.consumer_lag import watched_by
        from bot.sampler import EveryGroup, Sampler, named_groups

        lag = self.config.lag
        named = named_groups(watched_by(self.config.pipelines), lag.groups)
        watched: Callable[[], Sequence[Watched]] = partial(tuple, named)
        if lag.watch == "all" and asked.cluster is not None:
            watched = EveryGroup(named, asked.cluster, self.tally.error)
        return Sampler(self._samples, asked, watched, clock, self.tally.error, lag.keep, lag.sample_every)

    def _make_charts(self, kafka: Kafka | None) -> Charts:
        from bot.charts import Charts
        from bot.clients.prometheus import HttpPrometheus

        section = self.config.prometheus
        prometheus = HttpPrometheus(http(section, self._environ)) if section else None

        def entries(incident_id: str) -> tuple[Entry, ...]:
            return tuple(entry for _, entry in self.store.entries(incident_id))

        return Charts(
            self.sampler, prometheus, lambda name: self.policy.pipeline(name), self.dispatcher.board, entries, clock,
            _drawn, self.config.lag.sample_every, kafka,
        )  # fmt: skip

    def _speech_chat(self) -> SlackChat:
        """The chat of one look whether the bot could speak: it ends by itself, and with the bot."""
        chat = self._make_chat(time.monotonic() + SPEECH_DEADLINE_S, SPEECH_CALL_S)
        assert chat is not None
        return chat

    def _make_chat(self, until_s: float | None = None, timeout_s: int = 10) -> SlackChat | None:
        """Return the chat; with `until_s` it makes no call after that time, nor once the bot stops."""
        slack = self.config.slack
        if slack is None:
            return None
        from bot.clients.slack import SlackChat
        from bot.config import SecretError
        from bot.ports import ChatError

        def token() -> str:
            if until_s is not None and (self._stop.is_set() or time.monotonic() > until_s):
                raise ChatError("timeout")
            try:
                return slack.bot_token.reveal(self._environ)
            except SecretError as error:  # being written anew, or gone: the messages wait
                if until_s is None:
                    log.error("slack: %s", error)
                raise ChatError("bot_token_unreadable") from error

        return SlackChat(token, slack.api_url, timeout_s)

    def _make_outbox(self) -> Outbox | None:
        if self._chat is None:
            return None
        from bot.outbox import Outbox, Renderers
        from bot.ports import Message
        from bot.render.answers import render_report, render_text
        from bot.render.cards import View, render_slot

        def slot(name: str, incident: Any, entries: Sequence[Any], now: datetime) -> Message:
            return render_slot(
                name,
                incident,
                entries,
                View(self.policy, now, names=self.config.addresses),
            )

        renderers = Renderers(slot, render_report, render_text, self.postmortem, self._charts.of_incident)
        return Outbox(self.store, self.dispatcher, self._chat, renderers, clock, self.tally.error)

    def postmortem(self, incident_id: str) -> tuple[str, str]:
        """Return (file name, Markdown) of an incident's postmortem as it stands."""
        from bot.incident.facts import postmortem_facts
        from bot.render.postmortem import render_markdown

        incident = self.dispatcher.incident(incident_id)
        if incident is None:
            raise KeyError(incident_id)
        entries = tuple(entry for _, entry in self.store.entries(incident_id))
        return f"postmortem-{incident_id}.md", render_markdown(postmortem_facts(incident, entries, clock()))

    def _serve(self) -> None:
        import uvicorn
        from starlette.applications import Starlette

        from bot.edge.web import Intake, lag_routes, refusal_routes, status_routes, webhook_routes

        intake = Intake(self.store, clock, self._wake["inbox"].set)
        routes = webhook_routes(intake, self._credentials, clock, self.tally.webhook)
        routes += refusal_routes(intake, self._credentials, self.tally.error)
        routes += status_routes(self.monitor.metrics, self.monitor.health, self.monitor.ready)
        routes += lag_routes(self._charts.page, self._charts.group_page)
        self._closers.append(intake.close)
        if self._chat is not None:
            routes += self._slack_routes(self._chat)
        app = Starlette(routes=routes)
        app.router.redirect_slashes = False
        settings = uvicorn.Config(
            app, host=self.config.listen.host, port=self.config.listen.port, log_level="warning", access_log=False,
            backlog=4096, timeout_graceful_shutdown=5, lifespan="off",
        )  # fmt: skip
        self._server = uvicorn.Server(settings)
        socket = _bound(self.config)
        socket.listen(settings.backlog)  # from here on nobody is refused: who comes before the server waits for it
        self._port = socket.getsockname()[1]
        threading.Thread(target=self._server.run, kwargs={"sockets": [socket]}, name="web", daemon=True).start()

    def _slack_routes(self, chat: SlackChat) -> Sequence[Any]:
        """Open Slack's door: its routes in mode http; in Socket Mode there are none, and the socket is made."""
        from bot.edge.slack import SlackEdge

        slack = self.config.slack
        assert slack is not None
        signing_secret = slack.signing_secret if slack.mode == "http" else None

        def store(key: str, kind: str, body: bytes) -> bool:
            fresh = self.store.receive(key, kind, body, clock())
            self._wake["inbox"].set()
            return fresh

        edge = SlackEdge(
            secrets=lambda: [signing_secret.reveal(self._environ)] if signing_secret else [], store=store,
            incident=self.dispatcher.incident, chat=chat, clock=clock, count_error=self.tally.error,
            command=slack.command,
        )  # fmt: skip
        self._closers.append(edge.close)
        if slack.mode == "http":
            return edge.routes()
        self._socket = self._make_socket(chat, edge)
        return []

    def _make_socket(self, chat: SlackChat, edge: SlackEdge) -> SlackSocket:
        """Socket Mode; the app-level token is read for each connection, so a rotated one works at the next."""
        from bot.config import SecretError
        from bot.edge.slack_socket import SlackSocket
        from bot.ports import PortError

        slack = self.config.slack
        assert slack is not None and slack.app_token is not None
        app_token = slack.app_token

        def open_url() -> str:
            try:
                return chat.open_socket(app_token.reveal(self._environ))
            except SecretError as error:
                raise PortError(str(error)) from error

        return SlackSocket(open_url=open_url, answer=edge.answer_envelope, count_error=self.tally.error)

    def _chat_links(self) -> ChatLinks | None:
        return self._socket.state() if self._socket is not None else None

    def _credentials(self) -> tuple[Sequence[str], Sequence[tuple[str, str]]]:
        """Resolved at each request: a rotated secret works at once, a missing one refuses and says so in the log."""
        from bot.config import SecretError

        section = self.config.alertmanager
        tokens: list[str] = []
        logins: list[tuple[str, str]] = []
        for token in section.tokens if section else ():
            try:
                tokens.append(token.reveal(self._environ))
            except SecretError as error:
                log.error("webhook token: %s", error)
        for login in section.basic if section else ():
            try:
                logins.append((login.user.reveal(self._environ), login.password.reveal(self._environ)))
            except SecretError as error:
                log.error("webhook login: %s", error)
        return tokens, logins

    def _schedule(self) -> None:
        from apscheduler.schedulers.background import BackgroundScheduler

        self._scheduler = BackgroundScheduler(timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1})
        now = clock()
        self._scheduler.add_job(
            self._guarded(self.monitor.look), "interval", seconds=self.config.probes.interval, next_run_time=now
        )
        self._scheduler.add_job(
            self._guarded(self.runner.reconcile),
            "interval",
            seconds=RECONCILE_EVERY_RECHECKS * self.config.incidents.recheck,
            next_run_time=now,
        )
        # Late is better than not at all: a pass left out is a gap in every rate.
        self._scheduler.add_job(
            self._guarded(self.sampler.look),
            "interval",
            seconds=self.config.lag.sample_every,
            next_run_time=now,
            misfire_grace_time=None,
        )
        self._scheduler.add_job(
            self._guarded(self.sampler.prune), "interval", seconds=PRUNE_EVERY_S, misfire_grace_time=None
        )
        self._scheduler.add_job(
            self._guarded(self.dispatcher.settle_refusals), "interval", seconds=self.config.incidents.recheck
        )
        self._scheduler.add_job(
            self._guarded(self.monitor.look_at_refusals), "interval", seconds=self.config.probes.interval,
            next_run_time=now,
        )  # fmt: skip
        if self._voice is not None:
            self._scheduler.add_job(
                self._guarded(self._voice.look), "interval", seconds=SPEECH_EVERY_S, next_run_time=now
            )
        self._scheduler.start()

    def _guarded(self, job: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                job()
            except Exception:
                if self._stop.is_set():
                    return  # the journal was closed under it, as it should be
                log.exception("scheduled %s failed", getattr(job, "__name__", "job"))
                self.tally.error("schedule")

        return run


def _drawn(chart: Chart, form: Literal["png", "svg"]) -> bytes:
    """Draw; the first time this loads matplotlib, for half a second."""
    from bot.render.chart import draw

    return draw(chart, form)


def _bound(config: Config) -> socket.socket:
    """Return a socket at the config's address. Raises OSError whose words say what to change."""
    import socket

    listen = config.listen
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((listen.host, listen.port))
    except OSError as error:
        bound.close()
        raise OSError(
            error.errno, f"{error.strerror}: does another bot run here? Change `listen` in {config.path}", str(listen)
        ) from error
    return bound


def start_bot(config_path: Path, environ: Mapping[str, str], on_commit: Callable[[str], None] | None = None) -> Bot:
    """Start a bot from a config file and return it running: what the drill and the tests are given."""
    bot = Bot(open_config(Path(config_path), environ), environ, on_commit)
    bot.start()
    return bot


def serve(config: Config, environ: Mapping[str, str]) -> None:
    """Run the bot until SIGTERM or Ctrl-C."""
    import gc
    import signal

    gc.set_threshold(COLLECTED_EVERY)

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if missing := config.unresolved(environ):
        from bot.config import SecretError

        raise SecretError(" ".join(missing))  # deaf and dumb is not a way to run
    for noisy in ("apscheduler", "slack_bolt", "urllib3", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    bot = Bot(config, environ)
    bot.start()
    log.info("cdc-oncall %s listens on %s, journal %s, config %s", version(), bot.url, config.state, config.hash)
    done.wait()
    log.info("stopping")
    bot.stop()
