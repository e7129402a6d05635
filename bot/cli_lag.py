"""`cdc lag` and `cdc watch`: one group now, the groups there are, or one group until it is drained.

The fast path, `cdc lag GROUP --bootstrap ...`, imports the Kafka client, the judge and nothing else: no config, no
journal, no terminal. Everything but click is imported inside functions.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from bot.cli_call import JSON, KAFKA_SETTINGS, Call, is_interrupt, print_report, stop
from bot.cli_keep import names

if TYPE_CHECKING:
    from bot.lag.ladder import Ladder
    from bot.lag.track import GroupTrack
    from bot.model import Finding, GroupOffsets, PartitionKey, Pipeline
    from bot.probes.sources import Sources
    from bot.report import Report

INTERRUPTED = 130
LOST = 3

# A bar for what takes no longer than this would only flicker.
BAR_AFTER_S = 0.5

# Two reads closer than a second are one read.
SHORTEST_INTERVAL_S = 1.0

BOOTSTRAP = click.option("--bootstrap", metavar="HOST:PORT", help="Ask these brokers; no config needed.")
TOPICS = click.option("--topic", "topics", multiple=True, metavar="T", help="Look at these topics; may be repeated.")


@click.command()
@click.argument("group", required=False, shell_complete=names("group"))
@click.option("--all", "everything", is_flag=True, help="Every group that can be listed, worst first.")
@click.option("--all-partitions", is_flag=True, help="Show every partition, not only the worst.")
@BOOTSTRAP
@TOPICS
@KAFKA_SETTINGS
@JSON
@click.pass_obj
def lag(
    call: Call,
    group: str | None,
    everything: bool,
    all_partitions: bool,
    bootstrap: str | None,
    topics: tuple[str, ...],
    kafka_settings: Mapping[str, str],
    as_json: bool,
) -> int:
    """How far behind a consumer group is, in records and in time, and why.

    Without GROUP: the groups of the pipelines and those of lag.groups, worst first.
    """
    from bot.lag_answers import every_group, groups_report, lag_answer
    from bot.ports import PortError
    from bot.report import failure

    if group and everything:
        stop(f"--all asks about every group, and {group} is one.", "Leave one of them out.")
    if topics and not group:
        stop("--topic goes with a group.", "Write `cdc lag GROUP --topic T`.")
    if bootstrap and not group and not everything:
        stop("Which group is to be asked about?", "Name it, or ask about every one with --all.")
    sources, pipelines = _asked(call, bootstrap, kafka_settings)
    now = call.app.clock()
    if everything:
        try:
            watched, not_listed = every_group(sources, pipelines)
        except PortError as error:
            return print_report(failure("No group could be listed", str(error)), as_json)
        with _bar() as progress:
            report = groups_report(sources, watched, now, "cdc", progress, listed=True)
        report = replace(report, not_known=(*not_listed, *report.not_known))
    else:
        said = {"group": group or "", "topics": ",".join(topics), "partitions": "all" if all_partitions else ""}
        report = lag_answer(said, sources, pipelines, now, "cdc")
    return print_report(_addressed(report, bootstrap), as_json)


@click.command()
@click.argument("group", shell_complete=names("group"))
@BOOTSTRAP
@TOPICS
@click.option("--interval", default="5s", show_default=True, metavar="TIME", help="Time between looks: 5s, 1m.")
@click.option("--until-drained/--forever", default=True, show_default=True, help="When to end.")
@KAFKA_SETTINGS
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line, one for each look.")
@click.pass_obj
def watch(
    call: Call,
    group: str,
    bootstrap: str | None,
    topics: tuple[str, ...],
    interval: str,
    until_drained: bool,
    kafka_settings: Mapping[str, str],
    as_json: bool,
) -> int:
    """Follow a consumer group until it is drained: its lag is 0, or nothing but a residue twice.

    Ends with 0 when it is drained, with 3 when there is no such group, with 130 on Ctrl-C. Brokers that do not answer
    in between are a line, and it goes on.
    """
    from bot.found import seen
    from bot.lag_answers import group_report, look_at_group
    from bot.probes.sources import MISSING, UNSEEN

    every_s = read_interval(interval)
    sources, pipelines = _asked(call, bootstrap, kafka_settings)
    sources = replace(sources, wait=None, **_Memory(sources).as_sources())
    said = {"group": group, "topics": ",".join(topics)}
    finding, known = seen(look_at_group, "lag", said, sources, pipelines, call.app.clock())
    watching = _Watching(group, as_json)
    if finding.verdict in UNSEEN:
        code = print_report(_addressed(group_report(finding, known, "cdc"), bootstrap), False)
        if as_json:
            watching.print_look(finding)
        return code
    try:
        with watching.shown() as show:
            while True:
                began_s = time.monotonic()
                show(finding)
                if until_drained and watching.is_drained:
                    break
                if finding.verdict == MISSING:
                    return LOST
                time.sleep(max(0.0, every_s - (time.monotonic() - began_s)))
                finding = look_at_group(said, sources, pipelines, call.app.clock())
    except (KeyboardInterrupt, SystemError) as error:
        if not is_interrupt(error):
            raise
        watching.end("stopped")
        return INTERRUPTED
    watching.end("drained")
    return 0


def read_interval(word: str) -> float:
    """Return `5s`, `1m`, `2.5` as seconds. Stops at what is none, or too short to tell two reads apart."""
    import re

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|)", word.strip())
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if seconds < SHORTEST_INTERVAL_S:
        stop("--interval takes a time of at least a second.", "Write for example --interval 5s or --interval 1m.")
    return seconds


def _asked(call: Call, bootstrap: str | None, kafka_settings: Mapping[str, str]) -> tuple[Sources, Sequence[Pipeline]]:
    """Return the brokers that were named, else what cdc.yml knows. Stops where there is neither."""
    if bootstrap:
        return call.app.bare_sources(bootstrap=bootstrap, kafka_settings=kafka_settings), ()
    if kafka_settings:
        stop("-X goes with --bootstrap.", "In cdc.yml the same settings stand under kafka.config.")
    if call.found_config() is None:
        stop(
            "Which system is to be asked? There is no cdc.yml here and no --bootstrap.", "Give --bootstrap, or -c PATH."
        )
    config = call.config()
    return call.app.sources(config, call.environ), config.pipelines


def _addressed(report: Report, bootstrap: str | None) -> Report:
    """Return the report with next steps that ask the brokers that were asked."""
    import shlex

    flag = f" --bootstrap {shlex.quote(bootstrap)}" if bootstrap else ""
    return replace(
        report, next_steps=tuple(f"{step}{flag}" if step.startswith("cdc ") else step for step in report.next_steps)
    )


@contextmanager
def _bar() -> Iterator[Callable[[int, int], object]]:
    """Yield what is told of the groups done; on a terminal it draws a bar once that takes a while."""
    began_s, drawn = time.monotonic(), list[Any]()

    def told(done: int, of: int) -> None:
        if not sys.stderr.isatty() or (not drawn and time.monotonic() - began_s < BAR_AFTER_S):
            return
        if not drawn:
            from rich.console import Console
            from rich.progress import Progress

            bar = Progress(console=Console(stderr=True), transient=True)
            bar.start()
            drawn.extend((bar, bar.add_task("groups", total=of)))
        drawn[0].update(drawn[1], completed=done)

    try:
        yield told
    finally:
        if drawn:
            drawn[0].stop()


class _Memory:
    """What earlier looks showed, for as long as the watch runs; what `sources` remembers already is where it begins."""

    def __init__(self, sources: Sources) -> None:
        self._recall = sources.track_of
        self._tracks: dict[str, GroupTrack | None] = {}
        self._ladders: dict[PartitionKey, Ladder] = {}

    def as_sources(self) -> dict[str, Any]:
        return {
            "track_of": self._track_of,
            "note": self._note,
            "ladder_of": lambda key: self._ladders.get(key, {}),
            "note_ladders": self._ladders.update,
        }

    def _track_of(self, group: str) -> GroupTrack | None:
        if group not in self._tracks:
            self._tracks[group] = self._recall(group)
        return self._tracks[group]

    def _note(self, read: GroupOffsets) -> None:
        from bot.lag.track import follow

        self._tracks[read.group] = follow(self._track_of(read.group), read)


class _Watching:
    """The looks so far, shown as a panel on a terminal, as lines elsewhere."""

    def __init__(self, group: str, as_json: bool) -> None:
        self._group, self._as_json = group, as_json
        self._looks: list[Finding] = []

    @property
    def is_drained(self) -> bool:
        from bot.render.watch import is_drained

        return is_drained(self._looks)

    @contextmanager
    def shown(self) -> Iterator[Callable[[Finding], None]]:
        if self._as_json or not sys.stdout.isatty():
            yield self.print_look
            return
        from rich.live import Live
        from rich.text import Text

        from bot.render.terminal import STYLES
        from bot.render.watch import panel_of

        with Live(auto_refresh=False) as live:

            def show(finding: Finding) -> None:
                self._keep(finding)
                first, *lines = panel_of(self._looks)
                live.update(Text("\n").join((Text(first, STYLES[finding.status]), *map(Text, lines))), refresh=True)

            yield show

    def end(self, how: str) -> None:
        from bot.render.watch import last_line

        if not self._as_json:
            click.echo(last_line(self._looks, how))

    def print_look(self, finding: Finding) -> None:
        import json

        from bot.render.watch import document_of, line_of

        self._keep(finding)
        line = json.dumps(document_of(self._looks), ensure_ascii=False) if self._as_json else line_of(self._looks)
        click.echo(line)
        sys.stdout.flush()

    def _keep(self, finding: Finding) -> None:
        from bot.render.watch import KEPT_LOOKS

        self._looks = [*self._looks, finding][-KEPT_LOOKS:]


COMMANDS: tuple[click.Command, ...] = (lag, watch)
