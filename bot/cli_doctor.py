"""`cdc doctor`: every part asked at once, each within a deadline; one line each with the remedy; nothing is changed.

The judging is in `bot/doctor/`, pure; here the parts are put together with their clients, and the lines printed. A part
that fails in a way nobody thought of is a line of that part and hides no other. `--fire` is the one thing that sends.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bot.cli_call import JSON, Call, account, stop

if TYPE_CHECKING:
    from bot.config import Config
    from bot.doctor.alertmanager import Address
    from bot.doctor.check import Check
    from bot.doctor.fire import MarkedAlert, Seen
    from bot.doctor.permissions import Setup

T = TypeVar("T")

QUESTION_S, TOTAL_S = 4.0, 13.0
ORDER = (
    "config", "journal", "bot", "slack", "alertmanager", "prometheus", "kafka", "registry", "connect", "flink",
    "coverage", "clock",
)  # fmt: skip
COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "not configured": None}


@click.command()
@JSON
@click.option(
    "--fail-on", type=click.Choice(["failed", "warning", "never"]), default="failed", show_default=True,
    help="Exit 1 when a line is as bad as this.",
)  # fmt: skip
@click.option("--permissions", is_flag=True, help="Print the least permissions instead; nothing is asked.")
@click.option(
    "--principal", metavar="NAME", help="For --permissions. Default: User: with sasl.username, or User:cdc-oncall."
)
@click.option("--fire", is_flag=True, help="Send a marked test alert through Alertmanager and follow it to its end.")
@click.option("--yes", is_flag=True, help="With --fire: send it even if others are told as well.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="With --fire: a label that routes want.")
@click.pass_obj
def doctor(
    call: Call, as_json: bool, fail_on: str, permissions: bool, principal: str | None, fire: bool, yes: bool,
    labels: tuple[str, ...],
) -> int:  # fmt: skip
    """What works, what does not, and the remedy, line by line."""
    if permissions:
        return _print_permissions(call, principal, as_json)
    if fire:
        return _fire(call, yes, labels, as_json)
    from bot.config import ConfigErrors
    from bot.doctor import config as config_part

    path = call.found_config()
    if path is None:
        return _print(call, config_part.judge_errors("cdc.yml", (_NO_CONFIG,)), as_json, exit_code=2)
    try:
        checked = call.app.open_config(path, call.environ)
    except ConfigErrors as errors:
        return _print(call, config_part.judge_errors(str(path), errors.errors), as_json, exit_code=2)
    checks = _examine(call, checked)
    return _print(call, checks, as_json, exit_code=_exit_code(checks, fail_on))


COMMANDS: tuple[click.Command, ...] = (doctor,)
_NO_CONFIG = (
    "there is no configuration, no -c PATH, no CDC_CONFIG, no ./cdc.yml: "
    "write `cdc init DIR` to have one written, or name one with -c"
)


# --- asking --------------------------------------------------------------------------------------


def _examine(call: Call, config: Config) -> tuple[Check, ...]:
    """Ask every part at once, then judge; what depends on another part's facts is judged last."""
    from bot.doctor import alertmanager, clock, coverage, journal, prometheus, slack
    from bot.doctor import config as config_part
    from bot.doctor import connect as connect_part
    from bot.doctor import flink as flink_part
    from bot.doctor import kafka as kafka_part
    from bot.doctor import registry as registry_part
    from bot.doctor.check import Check
    from bot.slo.rules import alert_names
    from bot.store.sqlite import is_owned

    gathers: dict[str, Callable[[], Any]] = {
        "config": lambda: _config_facts(call, config),
        "journal": lambda: journal.gather(config.state, is_owned, _look),
        "bot": lambda: _bot_facts(config),
        "coverage": lambda: _coverage_facts(call, config),
    }
    gathers |= {name: gather for name, gather in _systems(call, config).items() if gather is not None}
    found = _ask_all(gathers)
    said: dict[str, Any] = {name: facts for name, facts in found.items() if not isinstance(facts, Check)}
    lines: list[Check] = [facts for facts in found.values() if isinstance(facts, Check)]
    lines += _not_configured(config)

    alerts = alert_names(config.alerts)
    if "prometheus" not in found:
        said["prometheus"] = prometheus.PrometheusFacts(None)
    said["clock"] = _clock_offsets(said)
    metrics = said.get("prometheus", prometheus.PrometheusFacts(None))
    judges: dict[str, Callable[[Any], Sequence[Check]]] = {
        "config": config_part.judge,
        "journal": journal.judge,
        "bot": journal.judge_bot,
        "slack": lambda facts: slack.judge(facts, _scopes(), config.pipelines, config.channel),
        "alertmanager": lambda facts: alertmanager.judge(
            facts, _address(config), alertmanager.History(call.app.clock(), _last_webhook(config)), config.pipelines,
            _routed(alerts, prometheus.loaded(metrics, [name for name, _ in alerts])),
        ),
        "kafka": kafka_part.judge,
        "registry": registry_part.judge,
        "connect": connect_part.judge,
        "flink": flink_part.judge,
        "prometheus": lambda facts: prometheus.judge(
            facts, config.listen.port, config.listen.host, [name for name, _ in alerts], call.app.clock()
        ),
        "coverage": lambda facts: coverage.judge(facts, config.pipelines),
        "clock": clock.judge,
    }  # fmt: skip
    for name, judge in judges.items():
        if name in said:
            judged = _facts_or_line(name, partial(judge, said[name]))
            lines += [judged] if isinstance(judged, Check) else judged
    return tuple(sorted(lines, key=lambda line: ORDER.index(line.part)))


def _systems(call: Call, config: Config) -> dict[str, Callable[[], Any] | None]:
    """Return how to ask each configured system; None for one that is not."""
    from bot.clients.alertmanager import HttpAlertmanager
    from bot.clients.connect import HttpConnect
    from bot.clients.flink import HttpFlink
    from bot.clients.prometheus import HttpPrometheus
    from bot.clients.registry import HttpSchemaRegistry
    from bot.doctor import alertmanager, prometheus, slack
    from bot.doctor import connect as connect_part
    from bot.doctor import flink as flink_part
    from bot.doctor import kafka as kafka_part
    from bot.doctor import registry as registry_part

    pipelines, environ = config.pipelines, call.environ

    def ask_slack() -> Any:
        from bot.clients.slack import SlackChat

        section = config.slack
        assert section is not None
        chat = SlackChat(lambda: section.bot_token.reveal(environ), section.api_url, int(QUESTION_S), call.app.clock)
        app_token = section.app_token
        channels = dict.fromkeys((section.channel, *(pipeline.channel for pipeline in pipelines)))
        token = None if app_token is None else (lambda: app_token.reveal(environ))
        return slack.gather(chat, section.mode or "socket", token, tuple(channels))

    def ask_alertmanager() -> Any:
        client = HttpAlertmanager(call.app.http(config.alertmanager, environ))
        return alertmanager.gather(client, client.external_url, QUESTION_S)

    def ask_prometheus() -> Any:
        http = call.app.http(config.prometheus, environ)
        exporters_at = call.app.clock() if config.lag.kafka_exporter_names else None
        return prometheus.gather(HttpPrometheus(http), http.url, QUESTION_S, exporters_at)

    def ask_kafka() -> Any:
        from bot.clients.kafka import ConfluentKafka

        section = config.kafka
        assert section is not None
        kafka = ConfluentKafka(lambda: section.client_settings(environ), call.app.clock)
        names = ("security.protocol", "sasl.mechanism", "sasl.mechanisms")
        security = {name: section.config[name].reveal(environ) for name in names if name in section.config}
        security |= {"principal": _principal(config)}
        return kafka_part.gather(kafka, kafka, section.bootstrap, security, pipelines, QUESTION_S)

    def ask_registry() -> Any:
        http = call.app.http(config.registry, environ)
        registry = HttpSchemaRegistry(http)
        return registry_part.gather(registry, registry, http.url, pipelines, QUESTION_S)

    def ask_connect() -> Any:
        assert config.connect is not None
        http = call.app.http(config.connect, environ)
        connect = HttpConnect(http)
        apart = config.connect.actions_auth is not None
        return connect_part.gather(connect, connect, http.url, pipelines, QUESTION_S, apart)

    def ask_flink() -> Any:
        if config.flink is None:
            return flink_part.gather(None, None, None, pipelines, QUESTION_S)
        http = call.app.http(config.flink, environ)
        flink = HttpFlink(http)
        return flink_part.gather(flink, flink, http.url, pipelines, QUESTION_S)

    return {
        "slack": ask_slack if config.slack else None,
        "alertmanager": ask_alertmanager if config.alertmanager else None,
        "prometheus": ask_prometheus if config.prometheus else None,
        "kafka": ask_kafka if config.kafka else None,
        "registry": ask_registry if config.registry else None,
        "connect": ask_connect if config.connect else None,
        "flink": ask_flink,
    }


def _ask_all(gathers: Mapping[str, Callable[[], Any]], total_s: float = TOTAL_S) -> dict[str, Any]:
    """Run every gather in a thread of its own and return its facts, or a failed line for what did not come.

    The threads are daemons: one that hangs in a client neither delays the answer nor the end of the command.
    """
    found: dict[str, Any] = {}
    arrived = threading.Condition()

    def run(name: str, gather: Callable[[], Any]) -> None:
        facts = _facts_or_line(name, gather)
        with arrived:
            found.setdefault(name, facts)
            arrived.notify()

    waiting = sys.stderr.isatty()
    if waiting:
        click.echo(f"Asking {len(gathers)} parts, at most {total_s:g} s ...", err=True, nl=False)
    for name, gather in gathers.items():
        threading.Thread(target=run, args=(name, gather), name=f"doctor-{name}", daemon=True).start()
    with arrived:
        arrived.wait_for(lambda: len(found) == len(gathers), total_s)
        late = [name for name in gathers if name not in found]
        for name in late:
            found[name] = _late(name, total_s)
    if waiting:
        click.echo("\r\033[K", err=True, nl=False)
    return found


def _late(part: str, total_s: float) -> Check:
    from bot.doctor.check import failed

    return failed(
        part, f"did not answer all that was asked within {total_s:g} s",
        "Ask again; if it stays so, see whether that system is overloaded or a firewall drops the connection.",
    )  # fmt: skip


def _facts_or_line(part: str, gather: Callable[[], Any]) -> Any:
    from bot.config import SecretError
    from bot.doctor.check import failed
    from bot.doctor.config import secret_remedy

    try:
        return gather()
    except SecretError as error:
        return failed(
            part, f"not asked: {str(error).removesuffix(' Set it and start again.')}", secret_remedy(str(error))
        )
    except Exception as error:  # the edge of the process: a defect in one part must not hide the others
        return failed(
            part, f"could not be examined: {type(error).__name__}: {error}",
            "This is a defect of cdc-oncall: please report it with this line.",
        )  # fmt: skip


# --- what the parts are given ----------------------------------------------------------------------


def _config_facts(call: Call, config: Config) -> Any:
    from bot.config import read_runbooks
    from bot.doctor.config import ConfigFacts
    from bot.incident.runbook_file import RunbookErrors

    count, errors = 0, tuple[str, ...]()
    try:
        count = len(read_runbooks(config.runbooks))
    except RunbookErrors as wrong:
        errors = wrong.errors
    return ConfigFacts(
        path=str(config.path),
        pipelines=config.pipelines,
        unresolved=config.unresolved(call.environ),
        actions={name: limits.pipelines for name, limits in config.actions.items()},
        responders=config.people.responders,
        runbooks=count,
        runbook_errors=errors,
    )


def _bot_facts(config: Config) -> Any:
    from bot.clients.bot import read_page
    from bot.doctor.journal import gather_bot

    url = _own_url(config)
    return gather_bot(_is_running(config), url, lambda path: read_page(url or "", path, QUESTION_S))


def _is_running(config: Config) -> bool:
    """Whether a bot runs on the journal; without a journal, or in a folder that may not be read, none is seen."""
    from bot.store.sqlite import is_owned

    try:
        return config.state.is_file() and is_owned(config.state)
    except OSError:
        return False


def _own_url(config: Config) -> str | None:
    """Return where the bot is asked from this host; None where it takes a free port."""
    host, port = config.listen.host, config.listen.port
    if port == 0:
        return None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _coverage_facts(call: Call, config: Config) -> Any:
    from bot.clients.connect import HttpConnect
    from bot.doctor.coverage import gather

    connect = HttpConnect(call.app.http(config.connect, call.environ)) if config.connect else None
    cluster = None
    if config.kafka is not None:
        from bot.clients.kafka_cluster import ConfluentCluster

        section = config.kafka
        cluster = ConfluentCluster(lambda: section.client_settings(call.environ), call.app.clock)
    return gather(connect, cluster, config.pipelines, 2 * QUESTION_S)


def _look(path: Any) -> Any:
    """Return what stands in the journal, None without one, or why it cannot be read."""
    from bot.store.look import look
    from bot.store.sqlite import StoreError

    try:
        return look(path)
    except FileNotFoundError:
        return None
    except (StoreError, OSError) as error:
        return str(error)


def _last_webhook(config: Config) -> Any:
    return getattr(_look(config.state), "last_webhook_at", None)


def _address(config: Config) -> Address:
    from bot.doctor.alertmanager import Address

    section = config.alertmanager
    assert section is not None
    return Address(section.receiver, config.listen.port, section.webhook, config.listen.host)


def _scopes() -> frozenset[str]:
    """Return the bot scopes that the shipped manifest asks for."""
    from bot.incident.yaml_lines import read
    from bot.shipped import shipped

    manifest: Any = read(shipped("manifest.yml").read_bytes(), "manifest.yml").values
    return frozenset(manifest["oauth_config"]["scopes"]["bot"])


def _routed(alerts: Sequence[tuple[str, Any]], loaded: Sequence[str] | None) -> Sequence[tuple[str, Any]]:
    """Return the alerts whose routes count: where Prometheus runs none of the bot's rules, none of them can fire."""
    return alerts if loaded is None else [(name, severity) for name, severity in alerts if name in loaded]


def _clock_offsets(said: Mapping[str, Any]) -> dict[str, float | None]:
    offsets = {name: getattr(said.get(name), "status", None) for name in ("alertmanager", "prometheus")}
    offsets |= {name: getattr(said.get(name), "server", None) for name in ("registry", "connect")}
    offsets |= {"slack": getattr(said.get("slack"), "identity", None)}
    return {name: getattr(told, "clock_offset_s", None) for name, told in offsets.items()}


def _not_configured(config: Config) -> list[Check]:
    from bot.doctor.check import not_configured

    missing = {
        "slack": (config.slack, "the bot speaks in the terminal only", 'slack: {bot_token: "${SLACK_BOT_TOKEN}", ...}'),
        "alertmanager": (
            config.alertmanager,
            "no alert is heard",
            "alertmanager: {url: http://HOST:9093, tokens: [...]}",
        ),
        "kafka": (config.kafka, "lag and dead letters are not seen", "kafka: {bootstrap: HOST:9092}"),
        "registry": (config.registry, "schemas are not seen", "registry: {url: http://HOST:8081}"),
        "connect": (config.connect, "connectors are not seen", "connect: {url: http://HOST:8083}"),
    }
    return [
        not_configured(part, f"cdc.yml has no {part} section: {loss}", f"Write `{line}` in cdc.yml.")
        for part, (section, loss, line) in missing.items()
        if section is None
    ]


# --- printing --------------------------------------------------------------------------------------


def _exit_code(checks: Sequence[Check], fail_on: str) -> int:
    from bot.doctor.check import CheckStatus, worst

    return 0 if fail_on == "never" else int(worst(checks).rank >= CheckStatus(fail_on).rank)


def _with_config(call: Call, words: str) -> str:
    """Return words whose `cdc ...` commands name the config as this one did, so that they can be pasted."""
    import re
    import shlex

    if call.config_path is None:
        return words
    option = f"-c {shlex.quote(str(call.config_path))}"
    return re.sub(r"`cdc (?=[a-z])", lambda _: f"`cdc {option} ", words.replace("`cdc init DIR", "`cdc init"))


def _runnable(call: Call, check: Check) -> Check:
    from dataclasses import replace

    return replace(check, what=_with_config(call, check.what), remedy=_with_config(call, check.remedy))


def _print(call: Call, checks: Sequence[Check], as_json: bool, exit_code: int) -> int:
    import json

    checks = [_runnable(call, check) for check in checks]
    if as_json:
        click.echo(json.dumps([check.document() for check in checks], indent=2, ensure_ascii=False))
        return exit_code
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in _lines(checks, colour):
        click.echo(line, color=colour)
    return exit_code


def _lines(checks: Sequence[Check], colour: bool) -> list[str]:
    """Return the lines grouped by part, aligned, each status as a word; what to do stands below its line."""
    from bot.doctor.check import CheckStatus

    part_width = max((len(check.part) for check in checks), default=0)
    word_width = max((len(check.status) for check in checks), default=0)
    lines: list[str] = []
    before = ""
    for check in checks:
        part, before = (check.part if check.part != before else ""), check.part
        word = check.status.upper() if check.status is CheckStatus.FAILED else str(check.status)
        shown = click.style(f"{word:<{word_width}}", fg=COLOURS[check.status], bold=True) if colour else word
        lines.append(f"{part:<{part_width}}  {shown:<{word_width}}  {check.what}")
        if check.remedy:
            lines.append(f"{'':<{part_width}}  {'':<{word_width}}  -> {check.remedy}")
    return [*lines, "", _summary(checks)]


def _summary(checks: Sequence[Check]) -> str:
    from bot.doctor.check import CheckStatus

    counts = {status: sum(check.status is status for check in checks) for status in reversed(CheckStatus)}
    counted = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    bad = [check for check in checks if check.status in (CheckStatus.FAILED, CheckStatus.WARNING)]
    first = max(bad, key=lambda check: check.status.rank, default=None)
    if first is None:
        return f"{counted}. Nothing to put right."
    return f"{counted}. First: {first.part}: {first.what.removesuffix('.')}. {first.remedy}".strip()


# --- permissions -----------------------------------------------------------------------------------


def _print_permissions(call: Call, principal: str | None, as_json: bool) -> int:
    import json

    from bot.doctor.permissions import grants, render

    config = call.config()
    setup = _setup(config)
    if as_json:
        click.echo(json.dumps([dict(grant.document()) for grant in grants(setup)], indent=2, ensure_ascii=False))
    else:
        click.echo(render(setup, principal or _principal(config)), nl=False)
    return 0


def _principal(config: Config) -> str:
    """Return the Kafka principal as far as cdc.yml tells it: the user name, where it stands there in plain."""
    from bot.doctor.permissions import PRINCIPAL

    user = config.kafka.config.get("sasl.username") if config.kafka else None
    return f"User:{user.literal}" if user is not None and user.literal else PRINCIPAL


def _setup(config: Config) -> Setup:
    from bot.doctor.permissions import Setup
    from bot.shipped import shipped

    slack = config.slack
    return Setup(
        pipelines=config.pipelines,
        bootstrap=config.kafka.bootstrap if config.kafka else None,
        secured=bool(config.kafka and "security.protocol" in config.kafka.config),
        registry=config.registry.url if config.registry else None,
        connect=config.connect.url if config.connect else None,
        acting_apart=bool(config.connect and config.connect.actions_auth),
        alertmanager=config.alertmanager.url if config.alertmanager else None,
        prometheus=config.prometheus.url if config.prometheus else None,
        manifest=shipped("manifest.yml").read_text("utf-8") if slack else "",
        socket_mode=bool(slack and slack.mode == "socket"),
        actions=frozenset(config.actions),
        flink=config.flink.url if config.flink else None,
    )


# --- fire ------------------------------------------------------------------------------------------


def _fire(call: Call, yes: bool, labels: Sequence[str], as_json: bool) -> int:
    """Send the test alert and follow it; print each step as it comes. 0 when all came."""
    import json
    import signal
    import time

    from bot.clients.alertmanager import HttpAlertmanager
    from bot.doctor.fire import follow, marked_alert

    config = call.config()
    if config.alertmanager is None:
        stop(
            "There is no Alertmanager in cdc.yml. Nothing was sent.", "Write `alertmanager: {url: ..., tokens: [...]}`."
        )
    if not _is_running(config):
        stop(
            f"No bot runs on {config.state}: nobody would hear the alert. Nothing was sent.",
            _with_config(call, "Run `cdc serve`."), 1,
        )  # fmt: skip
    client = HttpAlertmanager(call.app.http(config.alertmanager, call.environ))
    alert = marked_alert(call.app.nonce(), account(call.environ), _more_labels(labels))
    route = _planned(call, config, client, alert, yes)
    _stop_without_slack(call, config)
    click.echo(
        f"Alertmanager tells the bot after up to {route.first_s:g} s, and the end after up to "
        f"{route.group_interval_s:g} s more (group_wait and group_interval of the route).",
        err=True,
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C: the alert is ended before the command is
    look = _watcher(call, config, alert)
    steps = []
    for step in follow(
        client, alert, route, look, lambda: _refused_webhooks(config), lambda: _why_no_webhook(client, alert),
        config.slack is not None, call.app.clock, time.sleep,
    ):  # fmt: skip
        steps.append(step)
        check = _runnable(call, step.check())
        if not as_json:
            word = "ok" if step.came else "FAILED"
            click.echo(f"{step.after_s:>6.1f} s  {word:<6}  {check.what}")
            if check.remedy:
                click.echo(f"{'':>8}  {'':<6}  -> {check.remedy}")
    if as_json:
        told = [{**_runnable(call, step.check()).document(), "after_s": step.after_s} for step in steps]
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    return 0 if all(step.came for step in steps) else 1


def _more_labels(labels: Sequence[str]) -> dict[str, str]:
    more = {}
    for each in labels:
        name, equals, value = each.partition("=")
        if not equals or not name:
            stop(f"--label {each}: not NAME=VALUE. Nothing was sent.")
        if name in ("alertname", "severity", "pipeline", "cdc_test"):
            stop(f"--label {each}: the test alert has a {name} of its own. Nothing was sent.")
        more[name] = value
    return more


def _planned(call: Call, config: Config, client: Any, alert: MarkedAlert, yes: bool) -> Any:
    """Return the plan, or stop: it would not reach the bot, or would ring somebody else's pager."""
    from bot.doctor import alertmanager, fire
    from bot.slo.route import NotAConfig, parse_routing

    address = _address(config)
    status = client.read_status(QUESTION_S)
    try:
        routing = parse_routing(status.config)
    except NotAConfig as error:
        stop(
            f"Whom the alert would reach is not known: Alertmanager's configuration: {error}. Nothing was sent.", "", 3
        )
    lines = alertmanager.webhook_checks(routing, address)
    route = fire.plan(routing, address, alert, lines)
    if route.refusal is not None:
        reason, remedy = route.refusal
        stop(f"Nothing was sent: {reason}.", _with_config(call, remedy), 1)
    if route.others and not yes:
        stop(
            f"Nothing was sent: {', '.join(route.others)} would be told as well; a pager would ring.",
            "Send it all the same with --yes, or match `alertname =~ \"CDC.+\"` in a route of the bot's own.", 1,
        )  # fmt: skip
    return route


def _stop_without_slack(call: Call, config: Config) -> None:
    """Stop where the card could not be posted, with what `cdc doctor` says of Slack."""
    from bot.doctor import slack
    from bot.doctor.check import Check, CheckStatus

    gather = _systems(call, config)["slack"]
    if gather is None:
        return
    facts = _ask_all({"slack": gather})["slack"]
    if isinstance(facts, Check):  # a secret that the bot has and this terminal has not is no reason
        click.echo(f"Slack was not tried from here: {facts.what} The card will show.", err=True)
        return
    lines = slack.judge(facts, _scopes(), config.pipelines, config.channel)
    bad = [_runnable(call, line) for line in lines if line.status is CheckStatus.FAILED]
    if bad:
        stop("\n".join(f"Nothing was sent: slack: {line.what}.\n-> {line.remedy}" for line in bad), exit_code=1)


def _watcher(call: Call, config: Config, alert: MarkedAlert) -> Callable[[], Seen]:
    """Return how to see the alert in the journal, which is only read."""
    from bot.doctor.fire import Seen
    from bot.store.look import card_error, webhook_with

    journal = call.app.journal_reader(config)

    def look() -> Seen:
        incident = next((each for each in journal.board().all() if each.pipeline == alert.pipeline), None)
        return Seen(
            webhook_at=webhook_with(config.state, alert.labels["cdc_test"]),
            incident=incident.id if incident else None,
            status=str(incident.status) if incident else None,
            link=journal.link(incident.id) if incident else None,
            card_error=card_error(config.state, incident.id) if incident else "",
        )

    return look


def _refused_webhooks(config: Config) -> int | None:
    """Return how many webhooks the bot has refused for their token since it started; None where it does not say."""
    from bot.clients.bot import read_counter
    from bot.ports import PortError

    url = _own_url(config)
    if url is None:
        return None
    try:
        return read_counter(url, 'cdc_webhook_requests_total{result="unauthorised"}', QUESTION_S)
    except PortError:
        return None


def _why_no_webhook(client: Any, alert: MarkedAlert) -> tuple[str, str]:
    """Return what Alertmanager says of an alert that did not arrive, and what to do."""
    from bot.ports import Matcher, PortError

    try:
        found = client.read_alerts([Matcher("cdc_test", alert.labels["cdc_test"])], QUESTION_S)
    except PortError as error:
        return str(error), "See the alertmanager lines of `cdc doctor`."
    if any(live.silenced_by for live in found):
        silences = ", ".join(name for live in found for name in live.silenced_by)
        return f"a silence in Alertmanager suppresses it ({silences})", "Expire that silence, and send it again."
    if any(live.inhibited_by for live in found):
        return "an inhibition in Alertmanager suppresses it", "See inhibit_rules in alertmanager.yml."
    log = "Look for `Notify attempt failed` in Alertmanager's log: it names the address and the reason."
    if not found:
        return "Alertmanager does not list it", "Look into Alertmanager's log; was it restarted meanwhile?"
    return f"Alertmanager has it as {found[0].state} and it did not get to the bot", log
