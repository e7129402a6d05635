"""What a person has written into `cdc.yml` since: it stays when the pipelines are found again.

Pure. Values come as YAML gives them and go back as they came; only what discovery cannot know is kept: names, owners,
channels, objectives, who manages a definition, the kind and job of a group, the table of a sink.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bot.discovery.judge import Findings, FoundGroup, FoundPipeline
from bot.model import GroupKind

KEPT = ("owner", "channel", "objective", "managed_by")

_CONNECTORS: tuple[tuple[str, Callable[[FoundPipeline], str | None]], ...] = (
    ("source", lambda pipeline: pipeline.source),
    ("sink", lambda pipeline: pipeline.sink.connector if pipeline.sink else None),
)


def with_kept(findings: Findings, written: Any, is_complete: bool = True) -> Findings:
    """Return the findings with what `written`, the `pipelines` of an existing cdc.yml, says of the same pipelines.

    A pipeline is the same if it has the same source connector, else the same sink, else the same name. One that was
    not found again is gone only if `is_complete`: everything was asked and answered. Else it stays as it is written.
    """
    if not isinstance(written, Mapping):
        return findings
    entries = {str(name): entry for name, entry in written.items() if isinstance(entry, Mapping)}
    same = _same(findings.pipelines, entries)
    taken = {name for name in same.values() if name}
    pipelines = []
    for pipeline in findings.pipelines:
        old = same.get(pipeline.name)
        if old is None:
            name = pipeline.name
            number = 2
            while name in taken:
                name, number = f"{pipeline.name[:76]}-{number}", number + 1
            taken.add(name)
            pipelines.append(replace(pipeline, name=name))
            continue
        pipelines.append(_kept(pipeline, old, entries[old]))
    if not is_complete:
        gone = {name: entry for name, entry in entries.items() if name not in same.values()}
        pipelines += [FoundPipeline(name, kept=entry, is_as_written=True) for name, entry in gone.items()]
    return replace(findings, pipelines=tuple(sorted(pipelines, key=lambda each: each.name)))


def _same(found: Sequence[FoundPipeline], entries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the written name of each pipeline that was written before; a written one is found once."""
    same: dict[str, str] = {}

    def match(pipeline: FoundPipeline, name: str) -> None:
        if pipeline.name not in same and name not in same.values():
            same[pipeline.name] = name

    for key, connector_of in _CONNECTORS:
        for pipeline in found:
            for name, entry in entries.items():
                if (connector := connector_of(pipeline)) and _text(entry.get(key), "connector") == connector:
                    match(pipeline, name)
    for pipeline in found:
        if pipeline.name in entries and not pipeline.source and not pipeline.sink:
            match(pipeline, pipeline.name)
    return same


def _kept(pipeline: FoundPipeline, name: str, entry: Mapping[str, Any]) -> FoundPipeline:
    listed = entry.get("consumers")
    consumers = {
        str(each.get("group")): each
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, Mapping)
    }
    is_same_sink = pipeline.sink and _text(entry.get("sink"), "connector") == pipeline.sink.connector
    table = _text(entry.get("sink"), "table") if is_same_sink else None
    return replace(
        pipeline,
        name=name,
        consumers=tuple(_group(each, consumers.get(each.group, {})) for each in pipeline.consumers),
        sink=replace(pipeline.sink, table=table or pipeline.sink.table) if pipeline.sink else None,
        kept={key: entry[key] for key in KEPT if key in entry},
    )


def _group(found: FoundGroup, written: Mapping[str, Any]) -> FoundGroup:
    if not written:
        return found
    said = written.get("kind", GroupKind.CONSUMER)
    kind = GroupKind(said) if said in list(GroupKind) else found.kind
    return replace(found, kind=kind, job=_text(written, "job"), question="" if kind != found.kind else found.question)


def _text(entry: Any, key: str) -> str | None:
    value = entry.get(key) if isinstance(entry, Mapping) else None
    return value if isinstance(value, str) else None
