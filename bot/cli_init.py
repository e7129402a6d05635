"""`cdc init`: the first `cdc.yml`, from what is really there; run again, what has changed since.

Promise
    Nothing that exists is overwritten or touched: a file that is there is compared, and the difference is shown.
    No password is written or shown: one given in an address or with -X stands in the file as `${NAME}`.
    What could not be asked is said, and what is known is written all the same; nothing is, if nothing answered.

stdout is the difference, or the file with `--print`; all else is on stderr.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from bot.cli_call import Call, complain, read_settings, stop

if TYPE_CHECKING:
    from bot.config import Config
    from bot.discovery.facts import Facts
    from bot.discovery.gather import Systems
    from bot.discovery.judge import Findings

DEADLINE_S = 10.0
WEBHOOK_TOKENS = ["${CDC_WEBHOOK_TOKEN}"]
_ADDRESSES = ("connect", "registry", "prometheus", "alertmanager")


@dataclass(frozen=True)
class _Wanted:
    """What the file shall say beside the pipelines, and the passwords that were given only for asking."""

    values: dict[str, Any]
    given: dict[str, str] = field(default_factory=dict, repr=False)


@click.command()
@click.argument("folder", metavar="[DIR]", required=False)
@click.option("--connect", metavar="URL", help="Find connectors here. USER:PASSWORD@ is used and not written.")
@click.option("--registry", metavar="URL", help="Find subjects here; Apicurio: .../apis/ccompat/v7.")
@click.option("--bootstrap", metavar="HOST:PORT", help="Find topics and consumer groups here.")
@click.option("--prometheus", metavar="URL", help="Ask it for its Alertmanager.")
@click.option("--alertmanager", metavar="URL", help="The Alertmanager whose alerts come to the bot.")
@click.option(
    "-X", "--kafka-config", "kafka_settings", multiple=True, metavar="KEY=VALUE",
    callback=lambda _, __, given: read_settings(given),
    help="A librdkafka setting to reach the brokers; may be repeated. A value ${NAME} is from the environment.",
)  # fmt: skip
@click.option("--print", "is_printed", is_flag=True, help="Print the file and write nothing; so does `cdc init -`.")
@click.pass_obj
def init(
    call: Call,
    folder: str | None,
    connect: str | None,
    registry: str | None,
    bootstrap: str | None,
    prometheus: str | None,
    alertmanager: str | None,
    kafka_settings: Mapping[str, str],
    is_printed: bool,
) -> int:
    """Write cdc.yml and the runbooks, with the pipelines found in your systems; overwrites nothing.

    Without an address the file has examples in place of pipelines. Where there is a cdc.yml already, its addresses and
    logins are used, what you wrote into it is kept, and the difference is shown.
    """
    from bot.discovery.config_file import Settings, merged, render
    from bot.discovery.gather import gather
    from bot.discovery.judge import judge
    from bot.discovery.kept import with_kept

    is_printed = is_printed or folder == "-"
    target = _target(call, None if folder == "-" else folder)
    text = _read(target)
    written = _values(text, target)
    urls = {"connect": connect, "registry": registry, "prometheus": prometheus, "alertmanager": alertmanager}
    wanted = _wanted(written, {name: url for name, url in urls.items() if url}, bootstrap, kafka_settings)
    if registry:
        _with_confluent_address(call, wanted, target)
    facts = gather(_systems(call, wanted, target), DEADLINE_S, lambda words: click.echo(words, err=True, nl=False))
    if facts.is_blind:
        _stop_blind(facts)
    values = _with_alertmanager(wanted.values, facts)
    is_complete = None not in (facts.connectors, facts.groups, facts.subjects)
    findings = with_kept(judge(facts), written.get("pipelines"), is_complete)
    beside = target.parent / "runbooks"
    has_runbooks = any(beside.glob("*.yml")) or (not beside.exists() and not is_printed and text is None)
    new = render(findings, facts, Settings(values, has_runbooks))
    _say_found(facts, findings)
    if is_printed:
        click.echo(new, nl=False)
    elif text is None:
        _write(target, new)
    else:
        _compare(target, text, merged(text, new))
    return 0


COMMANDS: tuple[click.Command, ...] = (init,)


# --- what is there -------------------------------------------------------------------------------


def _target(call: Call, folder: str | None) -> Path:
    if folder is None:
        return call.found_config() or Path("cdc.yml")
    if call.config_path is not None:
        stop("Both -c and DIR say where cdc.yml is.", f"Write `cdc init {folder}`, or `cdc -c PATH init`.")
    if Path(folder).exists() and not Path(folder).is_dir():
        stop(f"{folder} is a file. Nothing was written.", "Give the folder that cdc.yml shall stand in.")
    return Path(folder) / "cdc.yml"


def _read(target: Path) -> str | None:
    """Return the text of the file that is there, None for none. Stops when it cannot be compared."""
    if target.exists() and not target.is_file():
        stop(f"{target} is there and is no file. Nothing was written.", "Move it away, or give another DIR.")
    try:
        return target.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        stop(f"{target} is there and is not UTF-8 text. Nothing was written.", "Save it as UTF-8, or give another DIR.")
    except OSError as error:
        stop(f"{target} cannot be read: {error.strerror}. Nothing was written.", "Give another DIR.", 3)


def _values(text: str | None, target: Path) -> dict[str, Any]:
    """Return the settings of an existing file; of one that is broken those that can be read, and say so."""
    from bot.config import ConfigErrors, parse
    from bot.incident.yaml_lines import read

    if text is None:
        return {}
    try:
        parse(text.encode("utf-8"), target)
    except ConfigErrors as errors:
        click.echo(f"{target} has errors; what can be read of it is used:", err=True)
        complain([f"  {line}" for line in errors.errors[:5]])
    values = read(text, str(target)).values
    return {str(key): value for key, value in values.items() if value is not None} if isinstance(values, dict) else {}


# --- what is asked, and how ----------------------------------------------------------------------


def _wanted(
    written: Mapping[str, Any], urls: Mapping[str, str], bootstrap: str | None, kafka_settings: Mapping[str, str]
) -> _Wanted:
    """Return the settings with the addresses given. A login in the file is used for the address it was written for."""
    wanted = _Wanted({key: value for key, value in written.items() if key != "pipelines"})
    for name, given in urls.items():
        url, user, password = _without_login(given, f"--{name}")
        old = written.get(name)
        section = dict(old) if isinstance(old, Mapping) and old.get("url") == url else {"url": url}
        if user:
            variable = f"{name.upper()}_PASSWORD"
            section["auth"] = {"user": user, "password": f"${{{variable}}}"}
            wanted.given[variable] = password
        wanted.values[name] = section
    old = written.get("kafka")
    if bootstrap or kafka_settings:
        same = isinstance(old, Mapping) and bootstrap in (None, old.get("bootstrap"))
        if not same and not bootstrap:
            stop("-X says how to reach Kafka, but not where it is.", "Give --bootstrap HOST:PORT as well.")
        kafka: dict[str, Any] = dict(old) if same and isinstance(old, Mapping) else {"bootstrap": bootstrap}
        settings = {**(kafka.get("config") or {}), **dict(_kept_secret(kafka_settings, wanted.given))}
        wanted.values["kafka"] = {**kafka, "config": settings} if settings else kafka
    return wanted


def _without_login(url: str, option: str) -> tuple[str, str, str]:
    """Return the address without its login, the user and the password; empty where there is none."""
    from urllib.parse import unquote, urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        stop(f"{option} is not an address. Nothing was asked or written.", "Write http://host:port.")
    bare = urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), parts.query, parts.fragment)
    )
    if "@" in bare:
        stop(
            f"The login in {option} cannot be read. Nothing was asked or written.", "Write / ? # in it as %2F %3F %23."
        )
    return bare, user, password


def _kept_secret(settings: Mapping[str, str], given: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the settings of -X as they may be written; a secret given in plain text goes to `given` under a name."""
    import re

    from bot.config import is_open_secret

    for key, value in settings.items():
        if is_open_secret(key, value):
            variable = "KAFKA_" + re.sub(r"[^A-Z0-9]+", "_", key.upper())
            given[variable] = value
            yield key, f"${{{variable}}}"
        else:
            yield key, value


def _config(wanted: _Wanted, target: Path) -> Config:
    """Return the sections of the systems, checked. Stops with what is wrong with an address or a setting."""
    import json

    from bot.config import ConfigErrors, parse

    sections = {name: wanted.values[name] for name in ("kafka", *_ADDRESSES) if name in wanted.values}
    if isinstance(sections.get("alertmanager"), Mapping):
        sections["alertmanager"] = {"tokens": WEBHOOK_TOKENS, **sections["alertmanager"]}
    try:
        return parse(json.dumps(sections).encode(), target)
    except ConfigErrors as errors:
        lines = [line.removeprefix(f"{target}:1: ") for line in errors.errors]
        stop("\n".join(lines), "Nothing was asked or written.")


def _systems(call: Call, wanted: _Wanted, target: Path) -> Systems:
    """Return the systems to ask. Stops as `_config` does."""
    from bot.app import http
    from bot.clients.prometheus import HttpPrometheus
    from bot.discovery.gather import Systems

    config = _config(wanted, target)
    environ = {**call.environ, **wanted.given}
    sources = call.app.sources(config, environ)
    prometheus = HttpPrometheus(http(config.prometheus, environ)) if config.prometheus else None
    return Systems(sources.connect, sources.cluster, sources.registry, prometheus)


def _with_confluent_address(call: Call, wanted: _Wanted, target: Path) -> None:
    """Put Apicurio's Confluent API in the place of a base address that was given for it, and say so."""
    from bot.app import http
    from bot.clients.registry import HttpSchemaRegistry

    section = _config(wanted, target).registry
    if section is None:
        return
    asked = http(section, {**call.environ, **wanted.given})
    address = HttpSchemaRegistry(asked).confluent_address(DEADLINE_S)
    if address is not None:
        click.echo(f"{asked.url} is Apicurio; its Confluent API is at {address}: that is used and written.", err=True)
        wanted.values["registry"] = {**wanted.values["registry"], "url": address}


def _with_alertmanager(values: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """Return the settings with an Alertmanager: the one given, else the first one that Prometheus tells."""
    settings = dict(values)
    if "alertmanager" not in settings and facts.alertmanagers:
        url, *others = dict.fromkeys(_alertmanager_url(each) for each in facts.alertmanagers)
        settings["alertmanager"] = {"url": url}
        if others:
            complain([f"Prometheus also tells {', '.join(others)}: one of a cluster is enough."])
    section = settings.get("alertmanager")
    if isinstance(section, Mapping) and not section.get("tokens") and not section.get("basic"):
        settings["alertmanager"] = {
            **section,
            "tokens": WEBHOOK_TOKENS,
            "receiver": section.get("receiver", "cdc-oncall"),
        }
    return settings


def _alertmanager_url(told: str) -> str:
    """Return the base of `http://host:9093/api/v2/alerts`, as Prometheus lists it."""
    import re

    return _without_login(re.sub(r"/api/v\d/alerts/?$", "", told), "The Alertmanager of Prometheus")[0]


# --- what is said and written --------------------------------------------------------------------


def _stop_blind(facts: Facts) -> NoReturn:
    lines = [_why(part, reason) for part, reason in facts.unreached]
    stop(
        "\n".join(lines), "Nothing answered and nothing was written. Correct the address or the login; run it again.", 3
    )


def _why(part: str, reason: str) -> str:
    return reason if reason.startswith(part) else f"{part}: {reason}"


def _say_found(facts: Facts, findings: Findings) -> None:
    if facts.asked:
        names = [pipeline.name for pipeline in findings.pipelines]
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        complain([f"Found {len(names)} pipeline{'s' * (len(names) != 1)}{': ' if names else ''}{shown}."])
    complain([f"Not read: {_why(part, reason)}" for part, reason in facts.unreached])
    complain([f"Not known: {line}" for line in facts.not_known])
    if count := findings.questions:
        click.echo(
            f"{count} question{'s' * (count != 1)} stand{'s' * (count == 1)} in the file as a comment.", err=True
        )


def _write(target: Path, text: str) -> None:
    """Write the runbooks and the config where there are none, each whole or not at all.

    The config comes last: it names the runbooks.
    """
    import shlex
    import tempfile

    folder = target.parent / "runbooks"
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = ""
    with tempfile.TemporaryDirectory(prefix=".cdc-init-", dir=target.parent) as scratch:
        if folder.is_dir():
            _compare_runbooks(folder)
        elif not folder.exists():
            made, runbooks = Path(scratch) / "runbooks", _shipped_runbooks()
            made.mkdir()
            for name, runbook in runbooks.items():
                (made / name).write_bytes(runbook)
            made.rename(folder)
            beside = f" and {len(runbooks)} runbooks in {folder}"
        whole = Path(scratch) / target.name
        whole.write_text(text, "utf-8")
        if target.exists():
            stop(f"{target} was made meanwhile. It was not overwritten.", "Run the same command again: it compares.")
        whole.rename(target)
    click.echo(f"Wrote {target}{beside}.", err=True)
    option = f"-c {shlex.quote(str(target))}"
    click.echo(
        f"Next: set the variables it names, then `cdc {option} serve`, and in another terminal `cdc {option} doctor`.",
        err=True,
    )


def _compare(target: Path, old: str, new: str) -> None:
    if old == new:
        click.echo(f"{target} says what is there: no difference. Nothing was written.", err=True)
    else:
        _diff(target, old, new, "as cdc init would write it")
        click.echo(
            f"Nothing was overwritten: {target} is yours. Take over the lines you want, or print the whole file with "
            "--print; to begin anew, move it away.",
            err=True,
        )
    folder = target.parent / "runbooks"
    if folder.is_dir():
        _compare_runbooks(folder)


def _compare_runbooks(folder: Path) -> None:
    """Show how the runbooks of an existing folder differ from those that ship; they are the user's."""
    kept = []
    for name, shipped in _shipped_runbooks().items():
        path = folder / name
        if not path.exists():
            click.echo(f"{path} is not there; the shipped one was not added.", err=True)
        elif path.read_bytes() != shipped:
            _diff(path, path.read_text("utf-8", "replace"), shipped.decode("utf-8"), "as it ships")
            kept.append(name)
    if kept:
        click.echo(f"{folder} was left as it is; {', '.join(kept)} differ from those that ship.", err=True)


def _shipped_runbooks() -> dict[str, bytes]:
    """Return the runbooks that ship, by file name; the alert rules and the rendered page beside them are not ones."""
    from bot.shipped import shipped

    files = sorted(path for path in shipped("runbooks").glob("*.yml") if path.name != "alerts.yml")
    return {path.name: path.read_bytes() for path in files}


def _diff(path: Path, old: str, new: str, what: str) -> None:
    import difflib

    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), str(path), str(path), "as it is", what
    )
    for line in lines:
        click.echo(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n", nl=False)
