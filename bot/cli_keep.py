"""The commands that set up and keep: `manifest`, `completion`, `backup`, `restore`; and what TAB completes.

A completion never costs more than its deadline, never prints an error, and never makes a file: a name that cannot be
had in time is not offered. Everything but click is imported inside functions.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from bot.cli_call import App, Call, stop

if TYPE_CHECKING:
    from bot.config import Config
    from bot.probes.sources import Sources
    from bot.store.copies import Contents, Restored

SHELLS = ("bash", "zsh", "fish")
COMPLETE_VARIABLE = "_CDC_COMPLETE"
LIVE_DEADLINE_S = 1.0
LIVE_BESIDE_S = 0.3

Environ = Mapping[str, str]


# --- the Slack manifest ----------------------------------------------------------------------------


@click.command()
@click.option("--mode", type=click.Choice(["socket", "http"]), help="How Slack reaches the bot. Default: socket.")
@click.option("--url", metavar="URL", help="The bot's public https:// address, for --mode http.")
@click.option("--command", "command", metavar="/NAME", help="The slash command. Default: /cdc.")
@click.option("--name", metavar="NAME", help="The app's name in Slack. Default: cdc-oncall.")
@click.pass_obj
def manifest(call: Call, mode: str | None, url: str | None, command: str | None, name: str | None) -> int:
    """Print the Slack app manifest; a config gives the defaults of --mode and --command."""
    from bot.config import parse_command
    from bot.render.manifest import DEFAULT_COMMAND, DEFAULT_NAME, refuse_name, refuse_url, render_manifest

    asks_config = (mode is None or command is None) and call.found_config() is not None
    slack = call.config().slack if asks_config else None
    command = command or (slack.command if slack else DEFAULT_COMMAND)
    mode = mode or ("http" if url else (slack.mode if slack and slack.mode else "socket"))
    name = DEFAULT_NAME if name is None else name
    try:
        parse_command(command)
    except ValueError as error:
        stop(f"--command {command}: {error}. No manifest was printed.")
    if wrong := refuse_name(name):
        stop(f"--name {name[:60]!r}: {wrong}. No manifest was printed.")
    if mode == "http" and url is None:
        stop(
            "Over HTTP Slack calls the bot, and its address is not known. No manifest was printed.",
            "Give --url https://HOST, or --mode socket, which needs no address.",
        )
    if mode == "socket" and url is not None:
        stop(
            "In Socket Mode there is no address: --url means nothing. No manifest was printed.",
            "Leave out one of both.",
        )
    if url is not None and (wrong := refuse_url(url)):
        stop(f"--url {url}: {wrong}. No manifest was printed.", "Write the address of `cdc serve`: https://HOST")
    click.echo(render_manifest(name, command, url), nl=False)
    return 0


# --- the journal's copies --------------------------------------------------------------------------


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.pass_obj
def backup(call: Call, file: Path, force: bool) -> int:
    """Copy the journal to FILE while the bot runs: consistent, checked, and on disk when this returns."""
    from bot.store.copies import backup as copy_journal

    contents = copy_journal(call.config().state, file, force)
    click.echo(f"{file}: {_told(contents)}; every page and event checked.")
    return 0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def restore(call: Call, file: Path) -> int:
    """Put a backup in the journal's place; the bot must be stopped. The present journal is kept beside it.

    What may have been done since the backup is not done again: a plan that was confirmed and not started is refused, a
    click that waited is dropped, and a message that was not posted is looked for in Slack before it is.
    """
    from bot.store.copies import restore as put_back

    config, ended = call.config(), []

    def settle(journal: Path) -> None:
        ended.extend(_end_what_waited(call.app, replace(config, state=journal)))

    restored = put_back(file, config.state, call.app.clock(), settle)
    click.echo(f"{config.state}: restored from {file}, {_told(restored.contents)}.")
    if restored.aside is not None:
        click.echo(f"The journal that was there is kept as {restored.aside}.")
        click.echo(_told_of_newer(restored))
    for line in ended:
        click.echo(line)
    return 0


def _told(contents: Contents) -> str:
    newest = f", the last event at {contents.newest:%Y-%m-%dT%H:%M:%SZ}" if contents.newest else ""
    incidents = f"{contents.incidents:,} incident{'' if contents.incidents == 1 else 's'}"
    return f"{incidents}, {contents.events:,} events, {contents.size_bytes:,} bytes{newest}"


def _told_of_newer(restored: Restored) -> str:
    """Say what the present journal knew and the backup does not, and how numbers go on."""
    newer = restored.newer
    if newer is None:
        return "It could not be read: numbers that it gave may be given again, and mean another card in Slack."
    if not newer:
        return "No incident of it is newer than the backup."
    ids = newer[0] if len(newer) == 1 else f"{newer[0]} to {newer[-1]}"
    count = f"{len(newer)} incident{'' if len(newer) == 1 else 's'} of it ({ids})"
    known = "is newer than the backup, and not known" if len(newer) == 1 else "are newer than the backup, and not known"
    return f"{count} {known} any more. The next one is CDC-{restored.last_number + 1}: no number is given twice."


def _end_what_waited(app: App, config: Config) -> list[str]:
    """End what a restored journal would do a second time, and return a line on each kind that there was."""
    from bot.dispatcher import Dispatcher, Nudges
    from bot.incident.commands import StartAction
    from bot.store.sqlite import Store

    policy, store = app.policy(config), Store(config.state)
    try:
        nothing = Nudges(lambda: None, lambda: None)
        dispatcher = Dispatcher(store, lambda: policy, app.clock, app.nonce, nothing, lambda _: None)
        with store.deciding() as writer:
            clicks, answers, messages = writer.rewind("restored from a backup: not decided")
        refused = []
        for task in store.unfinished_actions():
            key = str(task.body["key"])
            incident = dispatcher.incident(task.incident)
            action = incident.action(key) if incident else None
            if action is None or action.status != "confirmed":
                continue  # it had started: the bot says at its start that nobody knows the outcome
            dispatcher.settle(task, StartAction(key, NOT_STARTED))
            refused.append(f"{task.incident} {action.plan.action} on {action.plan.target}")
    finally:
        store.close()
    told = (
        (len(refused), f"Not run, plan anew if it is still wanted: {'; '.join(refused)}."),
        (clicks, f"{clicks} clicks or commands that waited were dropped: repeat what is still wanted."),
        (answers, f"{answers} answers that waited are not told any more."),
        (messages, f"{messages} messages that waited are looked for in Slack before they are posted."),
    )
    return [line for count, line in told if count]


NOT_STARTED = (
    "Not started: the journal was restored from a backup made before it, and nobody knows whether it was run since. "
    "Look, then plan it anew."
)


# --- completion ------------------------------------------------------------------------------------


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the completion script: `eval "$(cdc completion bash)"`, or save it where your shell looks."""
    click.echo(_script(context.find_root().command, shell), nl=False)
    return 0


def _script(root: click.Command, shell: str) -> str:
    from click.shell_completion import get_completion_class

    if shell == "bash":
        return _BASH
    form = get_completion_class(shell)
    assert form is not None
    return form(root, {}, "cdc", COMPLETE_VARIABLE).source()


# Click's own script sends the words as bash split them, at each `:` of an address too; this sends the line as it is
# typed, and takes from each answer what bash holds for an earlier word. A name is somebody else's text: bash puts an
# answer on the line as it is, so it is quoted here, and between quotes, where that would not hold, only a name that
# needs none is offered.
_BASH = f"""\
_cdc_completion() {{
    local line="${{COMP_LINE:0:COMP_POINT}}" response completion kind value quoted
    local word="${{line##*[[:space:]]}}" before=""
    if [[ $COMP_WORDBREAKS == *:* && $word == *:* ]]; then before="${{word%:*}}:"; fi
    response=$(env COMP_WORDS="$line" {COMPLETE_VARIABLE}=bash_complete "$1" 2>/dev/null)
    while IFS= read -r completion; do
        kind="${{completion%%,*}}" value="${{completion#*,}}"
        case $kind in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain)
                value="${{value#"$before"}}"
                printf -v quoted %q "$value"
                if [[ $quoted == "$value" || $line != *[\\"\\'\\`]* ]]; then COMPREPLY+=("$quoted"); fi
                ;;
        esac
    done <<< "$response"
    return 0
}}
complete -o nosort -F _cdc_completion cdc 2>/dev/null || complete -F _cdc_completion cdc
"""


def answer_completion(root: click.Group, environ: Environ, load_app: Callable[[], App]) -> int:
    """Print what the words typed so far can become, as the shell's script reads it. Says nothing when it cannot."""
    from click.shell_completion import ShellComplete, get_completion_class, split_arg_string

    class Typed(ShellComplete):
        """The words from `environ`; the bash script sends the line up to the cursor, the others count the word."""

        def get_completion_args(self) -> tuple[list[str], str]:
            line = environ.get("COMP_WORDS", "")
            words = split_arg_string(line)[1:]
            if shell == "bash":
                incomplete = words.pop() if words and not line[-1:].isspace() else ""
                return words, incomplete
            if shell == "fish":
                incomplete = environ.get("COMP_CWORD", "")
                return (words[:-1] if incomplete and words and words[-1] == incomplete else words), incomplete
            place = int(environ.get("COMP_CWORD", "0"))
            return words[: place - 1], words[place - 1] if 0 < place <= len(words) else ""

    shell, _, wanted = environ.get(COMPLETE_VARIABLE, "").partition("_")
    try:
        known = get_completion_class(shell)
        if known is None or shell not in SHELLS:
            return 1
        if wanted == "source":  # as people know it of other commands made with click
            click.echo(_script(root, shell), nl=False)
            return 0
        asked = Typed(root, {"obj": (environ, load_app)}, "cdc", COMPLETE_VARIABLE)
        words, incomplete = asked.get_completion_args()
        form = known(root, {}, "cdc", COMPLETE_VARIABLE).format_completion
        lines = [form(item) for item in asked.get_completions(words, incomplete)]
    except Exception:
        return 1  # a shell that is being typed in is no place for an error
    if lines:
        click.echo("\n".join(lines))
    return 0


def end_at_once(code: int) -> NoReturn:
    """Leave without taking down what the system takes down: a Kafka client waits for its threads, or a dead broker."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


Names = Callable[[click.Context, click.Parameter, str], list[str]]


def names(kind: str) -> Names:
    """Return what completes an argument of this kind: group, topic, subject, connector, incident or order."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        environ, load_app = context.obj
        call = Call(context.find_root().params.get("config_path"), False, environ, load_app)
        typed = tuple(context.params.get("words") or ())
        found = _known(kind, call, context.params, context.info_name or "", typed, incomplete)
        return sorted({name for name in found if name.startswith(incomplete) and _is_offered(name)})

    return complete


def _is_offered(name: str) -> bool:
    """Whether a name can stand on a line: a live system may hold one that steers the terminal, or is an option."""
    return bool(name) and name.isprintable() and not name.startswith("-")


def _known(
    kind: str, call: Call, given: Mapping[str, Any], verb: str, typed: Sequence[str], incomplete: str
) -> Iterable[str]:
    """Return the names of the system that was typed, else of cdc.yml and of what it names.

    Where cdc.yml has names that fit, those of the system are waited for but briefly: it may be down.
    """
    if verb == "schema" and typed:
        return ("diff",) if len(typed) == 1 and typed[0] != "recent" else ()
    bare = {name: given[name] for name in ("bootstrap", "registry", "connect") if given.get(name)}
    if bare:
        settings = given.get("kafka_settings") or {}
        return _live(kind, lambda: call.app.bare_sources(**bare, kafka_settings=settings), LIVE_DEADLINE_S)
    if call.found_config() is None:
        return ()
    config = call.config()
    if kind == "order":
        if typed:
            return ()
        kind = "pipeline" if verb == "open" else "incident"
    if kind == "pipeline":
        return [pipeline.name for pipeline in config.pipelines]
    if kind == "incident":
        return _incidents(call, config, is_open=verb not in ("incident", "postmortem", "reopen", "link"))
    named = _configured(kind, config)
    if verb == "schema":
        named.append("recent")
    fits = any(name.startswith(incomplete) for name in named)
    live = _live(kind, lambda: call.app.sources(config, call.environ), LIVE_BESIDE_S if fits else LIVE_DEADLINE_S)
    return (*named, *live)


def _incidents(call: Call, config: Config, is_open: bool) -> list[str]:
    if not config.state.exists():
        return []  # opening it would make one
    board = call.app.journal_reader(config).board()
    return [incident.id for incident in (board.open() if is_open else board.all())]


def _configured(kind: str, config: Config) -> list[str]:
    from bot.found import configured_names

    return configured_names(_VERBS[kind], config.pipelines)


def _live(kind: str, open_sources: Callable[[], Sources], patience_s: float) -> list[str]:
    """Return the names that the system lists within the deadline; of a system that is down there are none."""
    found: list[str] = []

    def ask() -> None:
        from bot.found import listed_names

        try:
            found.extend(listed_names(_VERBS[kind], open_sources(), LIVE_DEADLINE_S))
        except Exception:
            return  # it is not there, or does not let us look: nothing is offered

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience_s)
    return list(found)


_VERBS = {"group": "lag", "topic": "dlq", "subject": "schema", "connector": "connector"}

COMMANDS: tuple[click.Command, ...] = (manifest, completion, backup, restore)
