"""The text of a `cdc.yml`: what was found, in the order in which one reads it, with a word on each line that needs one.

Promise
    The text loads with `bot.config` and an empty environment, whatever the systems call their things: every foreign
    word is a scalar that YAML itself has written, or stands in a comment without a control character.
    The same facts give the same text: no date, no address that changes, no order that does not come from a name.
    No secret is in it: the values of settings are names of variables or files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from bot.discovery.facts import Facts
from bot.discovery.judge import Findings, FoundGroup, FoundPipeline
from bot.model import LagThreshold, Objective

WIDTH = 110

_SECTIONS = ("kafka", "registry", "connect", "prometheus", "alertmanager")
_PARTS = {"kafka": "Kafka", "registry": "Schema Registry", "connect": "Connect", "prometheus": "Prometheus"}
_SLACK = {
    "bot_token": "${SLACK_BOT_TOKEN}",
    "app_token": "${SLACK_APP_TOKEN}",
    "channel": "#cdc-incidents",
}
_EXAMPLES = {
    "kafka": "{bootstrap: 'kafka:9092'}",
    "registry": "{url: 'http://registry:8081'}  # Apicurio: .../apis/ccompat/v7",
    "connect": "{url: 'http://connect:8083'}",
    "prometheus": "{url: 'http://prometheus:9090'}  # `cdc doctor` looks whether it scrapes the bot",
    "alertmanager": "{url: 'http://alertmanager:9093', tokens: ['${CDC_WEBHOOK_TOKEN}']}",
}
_WORDS = {
    ("listen",): "webhook, /metrics and /healthz; in a container 0.0.0.0:8080",
    ("state",): "the journal: on a disk that is kept",
    ("runbooks",): "yours to change; `cdc check runbooks` checks them",
    ("alertmanager", "tokens"): "make one: openssl rand -hex 16; Alertmanager sends it along",
    ("alertmanager", "receiver"): "the receiver in alertmanager.yml that posts to the bot",
    ("slack", "bot_token"): "xoxb-...: api.slack.com/apps, your app, OAuth & Permissions",
    ("slack", "app_token"): "xapp-...: Basic Information, App-Level Tokens, scope connections:write",
    ("slack", "channel"): "invite the bot there: /invite @cdc-oncall",
}
_SECTION = re.compile(r"""(["']?)([\w-]+)\1\s*:(?=\s|$)""")
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]+")


@dataclass(frozen=True)
class Settings:
    """What is written beside the pipelines: `values` by section, as YAML gives them; secrets are names in them.

    `runbooks` is whether a folder of runbooks stands beside the file.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    runbooks: bool = True


def render(findings: Findings, facts: Facts, settings: Settings) -> str:
    """Return the whole file."""
    lines = [
        *_head(settings),
        "",
        *_systems(facts, settings.values),
        "",
        *_people(settings.values),
        "",
        *_pipelines(findings),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def merged(old: str, new: str) -> str:
    """Return a file that is there as it would be with what `new`, a rendered one, found: its systems and pipelines.

    What says the same keeps its form, and what discovery does not find (comments, `people`, `listen`) stays as it is:
    a difference of the two texts is a difference of what they say. `new` where `old` cannot be taken apart.
    """
    was, now = _taken_apart(old), _taken_apart(new)
    if not was or not now:
        return new
    written, found = yaml.safe_load(old), yaml.safe_load(new)
    texts = {part.key: part.lines for part in now}
    keys = {part.key for part in was}
    added = [line for key in _SECTIONS if key in found and key not in keys for line in texts[key]]
    lines: list[str] = []
    for part in was:
        if part.key == "pipelines":
            is_same = "".join(part.lines).rstrip() == "".join(texts["pipelines"]).rstrip()
            lines += [*added, *(part.lines if is_same else texts["pipelines"])]
        elif part.key in _SECTIONS and part.key in found and written[part.key] != found[part.key]:
            lines += texts[part.key]
        else:
            lines += part.lines
    if "pipelines" not in keys:
        lines += [*([] if lines[-1].endswith("\n") else ["\n"]), *added, *texts["pipelines"]]
    return "".join(lines)


@dataclass(frozen=True)
class _Part:
    """The lines of a section, or, with no key, those between two of them: comments and blank lines."""

    key: str | None
    lines: tuple[str, ...]


def _taken_apart(text: str) -> tuple[_Part, ...]:
    """Return the parts of a file, in order; none of a text that is not a section after the other."""
    starts: list[tuple[str | None, list[str]]] = [(None, [])]
    for line in text.splitlines(keepends=True):
        if key := _SECTION.match(line):
            starts.append((key[2], []))
        starts[-1][1].append(line)
    parts: list[_Part] = []
    for number, (key_of, lines) in enumerate(starts, 1):
        end = len(lines)
        while number < len(starts) and end > 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
            end -= 1  # it belongs to what comes next
        parts += [_Part(key_of, tuple(lines[:end])), _Part(None, tuple(lines[end:]))]
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError:
        return ()
    keys = [part.key for part in parts if part.key is not None]
    return tuple(parts) if isinstance(values, dict) and list(values) == keys else ()


# --- its parts -----------------------------------------------------------------------------------


def _head(settings: Settings) -> Iterator[str]:
    values = settings.values
    yield "# What cdc-oncall watches, and where it speaks. Written by `cdc init`; it is yours now."
    yield "# `cdc config check` finds mistakes, `cdc doctor` tries everything, `cdc init` again shows what is new."
    yield "# No secret stands here: ${NAME} is read from the environment when it is used, {file: PATH} from a file."
    yield ""
    yield from _setting("listen", values.get("listen", "127.0.0.1:8080"))
    if "environment" in values:
        yield from _setting("environment", values["environment"])
    else:
        yield "# environment: prod-eu  # shown on every card"
    yield from _setting("state", values.get("state", "./cdc-oncall.db"))
    if "runbooks" in values or settings.runbooks:
        yield from _setting("runbooks", values.get("runbooks", "./runbooks"))
    else:
        yield "# runbooks: ./runbooks  # yours, instead of those that ship"


def _systems(facts: Facts, values: Mapping[str, Any]) -> Iterator[str]:
    yield "# The systems. They are only read until `actions` names something."
    unreached = {part for part, _ in facts.unreached}
    for section in _SECTIONS:
        if section not in values:
            yield f"# {section}: {_EXAMPLES[section]}"
            continue
        if _PARTS.get(section) in unreached:
            yield f"# {_PARTS[section]} could not be read when this was written: what only it knows is not below."
        value = values[section]
        yield from _block(section, value)
        if section == "alertmanager" and isinstance(value, Mapping) and "webhook" not in value:
            yield "  # webhook: http://cdc-oncall:8080/alertmanager  # the bot, as Alertmanager reaches it"


def _people(values: Mapping[str, Any]) -> Iterator[str]:
    slack = values.get("slack", _SLACK)
    if isinstance(slack, Mapping) and slack.get("mode", "socket") == "socket" and "app_token" in slack:
        yield "# Slack by Socket Mode: the bot calls out, nothing must reach it from outside."
    yield from _block("slack", slack)
    yield ""
    if "people" in values:
        yield from _block("people", values["people"])
    else:
        yield "# people: {responders: [U0123ABCD]}  # who may run actions: Slack profile, Copy member ID"
    if values.get("actions"):
        yield from _setting("actions", values["actions"])
    else:
        yield "actions: []  # read-only. To enable: [restart_failed_tasks, silence_alerts], with people above"
    for section in ("incidents", "probes", "alerts"):
        if section in values:
            yield from _block(section, values[section])


def _pipelines(findings: Findings) -> Iterator[str]:
    default = Objective()
    ratio = f"{default.dead_letter_ratio_per_day * 100:.6g}%"
    yield "# Each pipeline may also have:"
    yield "#   owner: S0123ABCD            who is mentioned when someone must come: a Slack user group or member ID"
    yield "#   channel: '#team-incidents'  where its incidents go, instead of slack.channel"
    yield "#   managed_by: strimzi         or gitops, where changes by Connect's REST would be reverted"
    yield (
        f"#   objective: {{lag: {{warn: {_lag(default.lag_warn)}, page: {_lag(default.lag_page)}}}, "
        f"dead_letters_per_day: {ratio}}}  the defaults"
    )
    if not findings.pipelines:
        yield "pipelines: {}  # in its place, for example:"
        yield "#  customers:"
        yield "#    source: {connector: customers-source}"
        yield "#    topics: [shop.public.customers]"
        yield "#    subjects: [shop.public.customers-value, shop.public.customers-key]"
        yield "#    consumers:"
        yield "#      - {group: customers-flink, kind: flink}  # flink, connect-sink or consumer"
        yield "#    sink: {connector: customers-sink, table: lake.customers, dlq: dlq.customers}"
    else:
        yield "pipelines:"
        for pipeline in findings.pipelines:
            yield from _pipeline(pipeline)
    if findings.remarks:
        yield ""
        yield "# In no pipeline:"
        yield from (f"#   {_comment(remark)}" for remark in findings.remarks)


def _pipeline(pipeline: FoundPipeline) -> Iterator[str]:
    yield f"  {_scalar(pipeline.name)}:"
    if pipeline.is_as_written:
        for key, value in pipeline.kept.items():
            yield from _setting(str(key), value, "    ")
        return
    yield from (f"    # {_comment(note)}" for note in pipeline.notes)
    for key in ("owner", "channel"):
        if key in pipeline.kept:
            yield from _setting(key, pipeline.kept[key], "    ")
    if pipeline.source is not None:
        yield f"    source: {_flow({'connector': pipeline.source})}{_beside(pipeline.source_kind)}"
        if pipeline.tables:
            yield f"    # tables: {_comment(_listed(pipeline.tables))}"
    for key, names in (("topics", pipeline.topics), ("subjects", pipeline.subjects)):
        if names:
            yield from _setting(key, list(names), "    ")
    if pipeline.consumers:
        yield "    consumers:"
        for group in pipeline.consumers:
            yield from _consumer(group)
    if pipeline.sink is not None:
        sink = pipeline.sink
        entry = {"connector": sink.connector, "table": sink.table, "dlq": sink.dlq, "group": sink.group}
        yield f"    sink: {_flow({key: value for key, value in entry.items() if value})}{_beside(sink.kind)}"
        yield from (f"    # {_comment(line)}" for line in sink.advice)
    for key in ("objective", "managed_by"):
        if key in pipeline.kept:
            yield from _setting(key, pipeline.kept[key], "    ")


def _consumer(group: FoundGroup) -> Iterator[str]:
    entry: dict[str, Any] = {"group": group.group, "kind": group.kind.value}
    if group.job:
        entry["job"] = group.job
    if group.question:
        yield f"      # {_comment(group.question)}"
    flow = _flow({**entry, "topics": list(group.topics)} if group.topics else entry)
    if len(flow) <= WIDTH:
        yield f"      - {flow}"
        return
    yield f"      - group: {_scalar(group.group)}"
    for key in list(entry)[1:]:
        yield from _setting(key, entry[key], "        ")
    yield from _setting("topics", list(group.topics), "        ")


# --- leaves --------------------------------------------------------------------------------------


def _block(section: str, value: Any) -> Iterator[str]:
    """Yield a section with a line per setting; a value that is no mapping as it is, for `bot.config` to refuse."""
    if not isinstance(value, Mapping) or not value:
        yield from _setting(section, value)
        return
    yield f"{section}:"
    for key, inner in value.items():
        yield from _setting(str(key), inner, "  ", (section, str(key)))
        if isinstance(inner, Mapping):
            yield from _variables(inner)


def _variables(value: Mapping[str, Any]) -> Iterator[str]:
    names = [found for each in value.values() if isinstance(each, str) for found in re.findall(r"^\$\{(\w+)\}$", each)]
    if names:
        yield f"  # Set {' and '.join(dict.fromkeys(names))} in the bot's environment."


def _setting(key: str, value: Any, indent: str = "", path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield `key: value` with its word beside it; what is too long for a line takes a line per item."""
    shown = _flow(value) if isinstance(value, Mapping | list) else _scalar(value)
    word = _beside(_WORDS.get(path or (key,), ""))
    of_mappings = isinstance(value, list) and any(isinstance(each, Mapping) for each in value)
    fits = len(indent) + len(key) + len(shown) <= WIDTH and not of_mappings
    if fits or not isinstance(value, Mapping | list):
        yield f"{indent}{_scalar(key)}: {shown}{word}"
        return
    yield f"{indent}{_scalar(key)}:{word}"
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _setting(str(name), inner, f"{indent}  ", (*path, key, str(name)))
        return
    yield from (f"{indent}  - {_flow(item) if isinstance(item, Mapping | list) else _scalar(item)}" for item in value)


def _scalar(value: Any) -> str:
    """Return a value as YAML writes it in a block: quoted only where it must be."""
    text: str = yaml.safe_dump(value, width=10**9, allow_unicode=True)
    return _on_one_line(text.removesuffix("...\n").rstrip("\n"), value)


def _flow(value: Any) -> str:
    """Return a value on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return _on_one_line(text.rstrip("\n"), value)


def _on_one_line(text: str, value: Any) -> str:
    """Return a value as it is where that is safe, else as JSON, which is YAML too.

    A text of several lines, such as a certificate in a librdkafka setting, is one; a character that YAML takes for the
    end of a line, or does not allow, is another.
    """
    if not _BREAKS.search(text):
        return text
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return _BREAKS.sub(lambda found: "".join(f"\\u{ord(char):04x}" for char in found[0]), shown)


def _beside(words: str) -> str:
    return f"  # {_comment(words)}" if words else ""


def _listed(words: Sequence[str]) -> str:
    """Return as many of the words as fit on a line, and how many more there are."""
    shown = ", ".join(words)
    if len(shown) <= WIDTH - 20:
        return shown
    fitting = shown[: WIDTH - 20].rpartition(", ")[0]
    return f"{fitting} and {len(words) - len(fitting.split(', '))} more" if fitting else f"{len(words)} patterns"


def _comment(words: str) -> str:
    """Return words that end neither the comment nor the line."""
    return _BREAKS.sub(" ", words)


def _lag(threshold: LagThreshold) -> str:
    return f"{threshold.records} for {threshold.for_s // 60}m"
