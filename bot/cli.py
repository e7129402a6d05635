"""The `cdc` command: arguments in, a report out, an exit code.

Streams and codes are those of contract.md: with `--json` exactly one document on stdout, all else on stderr;
0 answered, 1 a check has findings, a drill did not reach its end or an order was refused, 2 usage or
configuration, 3 not reachable or not there. A defect of ours is 70, in one line; `--debug` shows its trace.

The verbs are those of `bot.commands`; what an incident is ordered is read by the same grammar as in Slack.
Everything but click is imported inside functions: `cdc --help` must not pay for Kafka.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from bot.cli_call import JSON, KAFKA_SETTINGS, App, Call, Stop, account, complain, is_interrupt, print_report, stop
from bot.cli_check import check
from bot.cli_doctor import COMMANDS as EXAMINING
from bot.cli_explain import explain
from bot.cli_generate import COMMANDS as WRITING
from bot.cli_init import COMMANDS as FIRST
from bot.cli_keep import COMMANDS as KEEPING
from bot.cli_keep import COMPLETE_VARIABLE, answer_completion, end_at_once, names
from bot.cli_lag import COMMANDS as LAG
from bot.cli_registry import COMMANDS as REGISTRY

if TYPE_CHECKING:
    from bot.commands import Query
    from bot.incident.events import Who
    from bot.model import Refusal

DEFECT = 70
INTERRUPTED = 130
# Commands that stay. They are looked for anywhere on the line: at worst a short one collects its garbage.
LASTING = frozenset({"serve", "watch", "drill", "follow-log"})
# Where no journal was opened there is nothing to close.
JOURNAL = "bot.store.sqlite"
SCENARIOS = ("schema-break", "lag", "connector-failed", "idle")


# --- the process edge ----------------------------------------------------------------------------


def main() -> None:
    if not set(sys.argv) & LASTING:
        gc.disable()  # a question is over before there is garbage: looking for it took a tenth of its time
    code = run(sys.argv[1:], os.environ, _app)
    if COMPLETE_VARIABLE in os.environ:
        end_at_once(code)
    if JOURNAL not in sys.modules:
        end_at_once(code)
    sys.exit(code)


def run(arguments: Sequence[str], environ: Mapping[str, str], load_app: Callable[[], App]) -> int:
    """Run one command and return its exit code. Nothing a user can cause ends in a stack trace."""
    debug = "--debug" in arguments
    if COMPLETE_VARIABLE in environ:
        return answer_completion(cdc, environ, load_app)
    try:
        code = cdc.main(list(arguments), "cdc", standalone_mode=False, obj=(environ, load_app))
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        told = "Did you mean" in error.format_message()  # click 8.5 says it by itself
        if isinstance(error, click.UsageError) and not told and (near := _nearest(error.message)):
            click.echo(f"Did you mean `cdc {near}`?", err=True)
        return error.code if isinstance(error, Stop) else 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit: give it somewhere to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if is_interrupt(error):
            return INTERRUPTED
        if debug:
            raise
        lines, code = _told(error)
        complain(lines)
        return code


def _nearest(message: str) -> str | None:
    """Return the command that an unknown one is nearest to: click names it and suggests none."""
    import difflib
    import re

    unknown = re.match(r"No such command '([^']+)'", message)
    near = difflib.get_close_matches(unknown[1].lower(), cdc.commands, 1, 0.6) if unknown else []
    return near[0] if near else None


def _told(error: Exception) -> tuple[list[str], int]:
    """Return what to say of an error and its exit code: those we know are the user's to act on, others are ours."""
    from bot.config import ConfigErrors, SecretError
    from bot.incident.runbook_file import RunbookErrors
    from bot.ports import PortError
    from bot.store.sqlite import StoreError

    if isinstance(error, (ConfigErrors, RunbookErrors)):
        return list(error.errors), 2
    if isinstance(error, SecretError):
        return [str(error)], 2
    if isinstance(error, (PortError, StoreError)):
        return [str(error)], 3
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return [f"{name}{error.strerror or error}"], 3
    return [
        f"cdc failed: {type(error).__name__}: {error}",
        "This is a defect of cdc-oncall. `cdc --debug ...` shows where; please report it with that.",
    ], DEFECT


def _app() -> App:
    import bot.app

    return cast("App", bot.app)


def _who(environ: Mapping[str, str]) -> Who:
    """Return who sits at this terminal; they hold the journal file, which is the permission."""
    from bot.incident.events import Who

    name = account(environ)
    return Who(f"terminal:{name}", name)


# --- asking -----------------------------------------------------------------------------------------


def _ask(
    call: Call,
    query: Query,
    as_json: bool,
    bare: Mapping[str, str | None] | None = None,
    kafka_settings: Mapping[str, str] | None = None,
) -> int:
    """Ask a question: of the named system alone when an address is given, else of what cdc.yml knows.

    These questions are about the systems, and asking them makes no journal; what the bot remembers of schemas is looked
    at where there is one, so that a terminal and Slack say the same.
    """
    import shlex
    from dataclasses import replace

    from bot.commands import answer
    from bot.incident.correlation import Board

    app = call.app
    if kafka_settings and not (bare or {}).get("bootstrap"):
        stop("-X goes with --bootstrap.", "In cdc.yml the same settings stand under kafka.config.")
    if bare and any(bare.values()):
        given = {name: address for name, address in bare.items() if address}
        sources = app.bare_sources(**given, kafka_settings=kafka_settings)
        report = answer(query, sources, (), Board(), app.clock(), command="cdc")
        flags = " ".join(f"--{name} {shlex.quote(address)}" for name, address in given.items())
        return print_report(replace(report, next_steps=tuple(_with(flags, s) for s in report.next_steps)), as_json)
    if bare and call.found_config() is None:
        flags = " or ".join(f"--{name}" for name in bare)
        stop(f"Which system is to be asked? There is no cdc.yml here and no {flags}.", f"Give {flags}, or -c PATH.")
    config = call.config()
    sources = app.sources(config, call.environ)
    if query.verb in ("schema", "health"):
        sources = replace(sources, first_seen=app.first_seen(config))
    return print_report(answer(query, sources, config.pipelines, Board(), app.clock(), command="cdc"), as_json)


def _with(flags: str, step: str) -> str:
    """Return a next step that asks the system that was asked: without its address it would ask another, or none."""
    return f"{step} {flags}" if step.startswith("cdc ") else step


# --- the command and its questions ---------------------------------------------------------------


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-c", "config_path", type=click.Path(path_type=Path), help="The config. Default: CDC_CONFIG, ./cdc.yml.")
@click.option("--debug", is_flag=True, help="Show the stack trace of an unexpected error.")
@click.version_option(None, package_name="cdc-oncall", prog_name="cdc-oncall", message="%(prog)s %(version)s")
@click.pass_context
def cdc(context: click.Context, config_path: Path | None, debug: bool) -> None:
    """The on-call teammate for CDC pipelines: ask, act and prove from a terminal.

    The same verbs work in Slack as `/cdc VERB`, or as cdc.yml renames it. Without an ID the only open incident is
    meant.
    """
    environ, load_app = context.obj
    context.obj = Call(config_path, debug, environ, load_app)


@cdc.command()
@click.argument("topic", shell_complete=names("topic"))
@click.option("--bootstrap", metavar="HOST:PORT", help="Ask these brokers; no config needed.")
@click.option("--registry", metavar="URL", help="Read the field names of payloads from this registry.")
@KAFKA_SETTINGS
@JSON
@click.pass_obj
def dlq(
    call: Call,
    topic: str,
    bootstrap: str | None,
    registry: str | None,
    kafka_settings: Mapping[str, str],
    as_json: bool,
) -> int:
    """What is in a dead letter queue, by cause; payloads are masked."""
    from bot.commands import Query

    if registry and not bootstrap:
        stop("--registry alone does not say where the topic is.", "Give --bootstrap HOST:PORT as well.")
    asked = Query("dlq", {"topic": topic})
    return _ask(call, asked, as_json, {"bootstrap": bootstrap, "registry": registry}, kafka_settings)


@cdc.command()
@click.argument("words", nargs=-1, metavar="SUBJECT [diff [A [B]]] | recent [24h]", shell_complete=names("subject"))
@click.option("--subject", metavar="NAME", help="A subject that is called `recent`.")
@click.option("--registry", metavar="URL", help="Ask this registry; no config needed.")
@JSON
@click.pass_obj
def schema(call: Call, words: tuple[str, ...], subject: str | None, registry: str | None, as_json: bool) -> int:
    """A subject's newest versions and what changed; `diff`: between two; `recent`: in all subjects.

    `diff` alone compares the last two versions, `diff 3` version 3 with the newest, `diff 3 4` those two: field by
    field, whether each side reads the other (BACKWARD, FORWARD), and what no level looks at, such as a decimal's scale.
    `recent` takes a length of time: 30m, 24h, 7d.
    """
    from bot.commands import Query
    from bot.schema_answers import read_words

    said = read_words(("--subject", subject, *words) if subject else words)
    if isinstance(said, str):
        stop(
            f"`cdc schema` {said}.", "Write cdc schema SUBJECT, cdc schema SUBJECT diff 3 4, or cdc schema recent 24h."
        )
    return _ask(call, Query("schema", said), as_json, {"registry": registry})


@cdc.command()
@click.argument("name", shell_complete=names("connector"))
@click.option("--connect", metavar="URL", help="Ask this Connect cluster; no config needed.")
@JSON
@click.pass_obj
def connector(call: Call, name: str, connect: str | None, as_json: bool) -> int:
    """A connector's state, its tasks, and why one failed."""
    from bot.commands import Query

    return _ask(call, Query("connector", {"name": name}), as_json, {"connect": connect})


@cdc.command()
@JSON
@click.pass_obj
def health(call: Call, as_json: bool) -> int:
    """Every pipeline: green, yellow, red or unknown, with reasons."""
    from bot.commands import Query

    return _ask(call, Query("health"), as_json)


@cdc.command()
@JSON
@click.pass_obj
def incidents(call: Call, as_json: bool) -> int:
    """The open incidents, worst first, then the last resolved ones."""
    return _read_journal(call, "incidents", None, as_json)


@cdc.command()
@click.argument("incident_id", metavar="ID", shell_complete=names("incident"))
@JSON
@click.pass_obj
def incident(call: Call, incident_id: str, as_json: bool) -> int:
    """One incident: its alerts, findings, checklist and timeline."""
    return _read_journal(call, "incident", incident_id, as_json)


def _read_journal(call: Call, verb: str, incident_id: str | None, as_json: bool) -> int:
    """Ask the journal alone: no other system is connected to for it."""
    from bot.commands import Query, answer, read_id
    from bot.probes.sources import Sources

    config = call.config()
    arguments = {} if incident_id is None else {"id": read_id(incident_id) or incident_id}
    reader = call.app.journal_reader(config)
    report = answer(
        Query(verb, arguments), Sources(), config.pipelines, reader.board(), call.app.clock(), reader.entries, "cdc",
        reader.link,
    )  # fmt: skip
    return print_report(report, as_json)


# --- orders --------------------------------------------------------------------------------------


def _order(name: str, usage: str, does: str) -> click.Command:
    """Make the command of one order; its words are read by the same grammar as in Slack."""

    @click.command(name, help=f"{does}\n\n\b\n  cdc {usage}", options_metavar="[--json]")
    @click.argument(
        "words", nargs=-1, type=click.UNPROCESSED, metavar=usage.partition(" ")[2], shell_complete=names("order")
    )
    @JSON
    @click.pass_obj
    def ordered(call: Call, words: tuple[str, ...], as_json: bool) -> int:
        return _give_order(call, " ".join((name, *words)), as_json)

    return ordered


def _give_order(call: Call, line: str, as_json: bool) -> int:
    from bot.commands import Order, order_command, parse_line
    from bot.model import Refusal

    asked = parse_line(line)
    if isinstance(asked, Refusal):
        stop(asked.reason, asked.next_step)
    if not isinstance(asked, Order):
        stop(f"`{line}` asks something; it orders nothing.")
    config, who = call.config(), _who(call.environ)
    if asked.verb == "open":
        said = asked.arguments
        reply, refusal = call.app.open_incident(config, who, said["pipeline"], said["text"])
        return _replied(None, reply, refusal, as_json)
    board = call.app.journal_reader(config).board()
    ordered = order_command(asked, who, board)
    if isinstance(ordered, Refusal):
        missing = asked.incident_id is not None and board.get(asked.incident_id) is None
        stop(ordered.reason, ordered.next_step, 3 if missing else 2)
    incident_id, command = ordered
    reply, refusal = call.app.order(config, call.environ, incident_id, command)
    code = _replied(incident_id, reply, refusal, as_json)
    if asked.verb == "plan" and code == 0:
        click.echo(
            f"`cdc incident {incident_id}` shows it with its key; `cdc run {incident_id} KEY` runs it.", err=True
        )
    return code


def _replied(incident_id: str | None, reply: str, refusal: Refusal | None, as_json: bool) -> int:
    import json

    from bot.render.plain import safe

    if as_json:
        document = {"incident": incident_id, "reply": reply or None, "refused": str(refusal) if refusal else None}
        click.echo(json.dumps(document, ensure_ascii=False))
    if refusal is not None:
        complain([str(refusal)])
        return 1
    if not as_json:
        click.echo(safe(reply) or f"Done on {incident_id}.")
    return 0


# Name, usage and help of the orders, as `bot.commands.VERBS` has them; a test compares the two.
ORDERS = (
    ("ack", "ack [ID]", "Acknowledge; you lead unless someone does already."),
    ("lead", "lead [ID]", "Take the lead."),
    ("note", "note [ID] TEXT", "Put a line on the timeline."),
    ("open", "open PIPELINE TEXT", "Open an incident by hand."),
    ("done", "done [ID] STEP [REASON]", "Mark a step done; for a decision: `done STEP CHOICE: REASON`."),
    ("skip", "skip [ID] STEP REASON", "Skip a step and say why."),
    ("undo", "undo [ID] STEP", "Set a step back to do."),
    ("plan", "plan [ID] STEP", "Show what a step's action would do; changes nothing."),
    ("run", "run [ID] KEY", "Run a planned action."),
    ("approve", "approve [ID] KEY", "Approve someone else's plan."),
    ("cancel", "cancel [ID] KEY", "Drop a plan that waits."),
    ("mitigate", "mitigate [ID] [REASON]", "The harm has stopped, the cause may remain."),
    ("resolve", "resolve [ID] [REASON]", "Resolve once recovery is proved; with a reason: without proof, flagged."),
    ("reopen", "reopen ID [REASON]", "It is not over."),
    ("link", "link [ID] OTHER [REASON]", "Tie two incidents together."),
)
for _name, _usage, _does in ORDERS:
    cdc.add_command(_order(_name, _usage, _does))


# --- the rest ------------------------------------------------------------------------------------


@cdc.command()
@click.argument("incident_id", metavar="ID", shell_complete=names("incident"))
@click.option("--format", "form", type=click.Choice(["md", "json"]), default="md", show_default=True)
@click.option("-o", "out", type=click.Path(path_type=Path), metavar="FILE", help="Write it there instead of stdout.")
@click.pass_obj
def postmortem(call: Call, incident_id: str, form: str, out: Path | None) -> int:
    """The postmortem: what is proved, what is not known, and blanks for what people must add."""
    import json

    from bot.commands import no_incident, read_id
    from bot.incident.facts import postmortem_facts
    from bot.render.postmortem import postmortem_document, render_markdown

    reader = call.app.journal_reader(call.config())
    board, wanted = reader.board(), read_id(incident_id) or incident_id
    known = board.get(wanted)
    if known is None:
        return print_report(no_incident(wanted, board, "cdc"), as_json=form == "json" and out is None)
    facts = postmortem_facts(known, tuple(reader.entries(wanted)), call.app.clock())
    as_document = form == "json"
    text = (
        json.dumps(postmortem_document(facts), indent=2, ensure_ascii=False) + "\n"
        if as_document
        else render_markdown(facts)
    )
    if out is None:
        click.echo(text, nl=False)
        return 0
    out.write_text(text, "utf-8")
    click.echo(f"Postmortem of {wanted} written to {out}.", err=True)
    return 0


@cdc.command()
@click.pass_obj
def serve(call: Call) -> int:
    """Run the bot: webhooks in, Slack out, probes and actions, until SIGTERM."""
    call.app.serve(call.config(), call.environ)
    return 0


@cdc.command()
@click.argument("scenario", type=click.Choice(SCENARIOS), default="schema-break")
@click.option("--auto", is_flag=True, help="Play the responder too, and exit 1 unless every stage is reached.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write postmortem, timeline and score.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the page; 0 takes a free one.")
@JSON
@click.pass_obj
def drill(call: Call, scenario: str, auto: bool, out: Path | None, port: int, as_json: bool) -> int:
    """Break something in a world on loopback and walk the incident; needs no account and no config."""
    from bot.drill.drill import run_drill
    from bot.shipped import shipped

    try:
        return run_drill(
            scenario,
            call.app.start_bot,
            auto=auto,
            out=out,
            port=port,
            as_json=as_json,
            manifest=shipped("manifest.yml"),
        )
    except RuntimeError as error:
        stop(f"The drill did not start: {error}", exit_code=1)


@cdc.group()
def config() -> None:
    """The configuration: check it, or print its JSON Schema."""


@config.command("check")
@click.pass_obj
def config_check(call: Call) -> int:
    """Print every error of cdc.yml at once, with file, line and remedy."""
    checked = call.config()
    names = ", ".join(pipeline.name for pipeline in checked.pipelines) or "none"
    actions = ", ".join(sorted(checked.actions)) or "none: read-only"
    click.echo(f"{checked.path}: no errors. Pipelines: {names}. Actions enabled: {actions}.")
    for reason in checked.unresolved(call.environ):
        click.echo(f"note: {reason} `cdc serve` needs it.", err=True)
    return 0


@config.command("schema")
def config_schema() -> int:
    """Print the JSON Schema of cdc.yml, for editors."""
    import json

    from bot.config import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0


@cdc.group()
def runbooks() -> None:
    """The runbooks as people read them."""


@runbooks.command("render")
@click.pass_obj
def runbooks_render(call: Call) -> int:
    """Print the runbooks as one Markdown page; with a config: its runbooks, for its first pipeline."""
    from bot.config import read_runbooks
    from bot.render.markdown import EXAMPLE, EXAMPLE_ADDRESSES, render_runbook_page
    from bot.shipped import shipped

    if call.found_config() is None:
        click.echo(render_runbook_page(read_runbooks(shipped("runbooks"))), nl=False)
        return 0
    checked = call.config()
    known = {
        "bootstrap": checked.kafka.bootstrap if checked.kafka else None,
        "registry": checked.registry.url if checked.registry else None,
        "connect": checked.connect.url if checked.connect else None,
        "alertmanager": checked.alertmanager.url if checked.alertmanager else None,
        "cdc": checked.command,
    }
    addresses = {**EXAMPLE_ADDRESSES, **{name: address for name, address in known.items() if address}}
    pipeline = checked.pipelines[0] if checked.pipelines else EXAMPLE
    click.echo(render_runbook_page(read_runbooks(checked.runbooks), pipeline, addresses), nl=False)
    return 0


@cdc.command()
@click.pass_obj
def rules(call: Call) -> int:
    """Print the Prometheus alert rules with the thresholds of cdc.yml, or the defaults without one."""
    from bot.slo.rules import render_rules
    from bot.slo.thresholds import Thresholds

    if call.found_config() is None:
        click.echo(render_rules((), Thresholds()), nl=False)
        return 0
    checked = call.config()
    click.echo(render_rules(checked.pipelines, checked.alerts), nl=False)
    return 0


@cdc.command()
@JSON
def version(as_json: bool) -> int:
    """Print the version."""
    import json
    from importlib.metadata import version as installed

    number = installed("cdc-oncall")
    click.echo(json.dumps({"version": number}) if as_json else f"cdc-oncall {number}")
    return 0


for _command in (check, *FIRST, *EXAMINING, *KEEPING, *LAG, *REGISTRY, *WRITING):
    cdc.add_command(_command)
check.add_command(explain)

if __name__ == "__main__":
    main()
