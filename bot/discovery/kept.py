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

    A pipeline is the same if it has the same source connector, else the same sink, else the same name. What was not
    found again is gone only if `is_complete`: connectors, groups and subjects were all told. Else it stays as written.
    """
    if not isinstance(written, Mapping):
        return findings
    entries = {str(name): entry for name, entry in written.items() if isinstance(entry, Mapping)}
    same = _same(findings.pipelines, entries)
    taken = set(same.values() if is_complete else entries)
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
        kept = _kept(pipeline, old, entries[old])
        pipelines.append(kept if is_complete else _with_unseen(kept, entries[old]))
    if not is_complete:
        unseen = {name: entry for name, entry in entries.items() if name not in same.values()}
        theirs = {each.group for entry in unseen.values() for each in _written_groups(entry)}
        pipelines = [
            replace(each, consumers=tuple(group for group in each.consumers if group.group not in theirs))
            for each in pipelines
        ]
        pipelines += [FoundPipeline(name, kept=entry, is_as_written=True) for name, entry in unseen.items()]
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
    written = {each.group: each for each in _written_groups(entry)}
    is_same_sink = pipeline.sink and _text(entry.get("sink"), "connector") == pipeline.sink.connector
    table = _text(entry.get("sink"), "table") if is_same_sink else None
    return replace(
        pipeline,
        name=name,
        consumers=tuple(_group(each, written.get(each.group)) for each in pipeline.consumers),
        sink=replace(pipeline.sink, table=table or pipeline.sink.table) if pipeline.sink else None,
        kept={key: entry[key] for key in KEPT if key in entry},
    )


def _with_unseen(pipeline: FoundPipeline, entry: Mapping[str, Any]) -> FoundPipeline:
    """Return the pipeline with what it was written with and nobody answered for: topics, subjects, groups."""
    found = {each.group for each in pipeline.consumers}
    return replace(
        pipeline,
        topics=tuple(dict.fromkeys((*pipeline.topics, *_texts(entry.get("topics"))))),
        subjects=tuple(dict.fromkeys((*pipeline.subjects, *_texts(entry.get("subjects"))))),
        consumers=(*pipeline.consumers, *(each for each in _written_groups(entry) if each.group not in found)),
    )


def _written_groups(entry: Mapping[str, Any]) -> tuple[FoundGroup, ...]:
    listed = entry.get("consumers")
    return tuple(
        FoundGroup(group, _kind(each), _texts(each.get("topics")), job=_text(each, "job"))
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, Mapping) and (group := _text(each, "group"))
    )


def _group(found: FoundGroup, written: FoundGroup | None) -> FoundGroup:
    if written is None:
        return found
    question = found.question if written.kind == found.kind else ""
    return replace(found, kind=written.kind, job=written.job, question=question)


def _kind(written: Mapping[str, Any]) -> GroupKind:
    said = written.get("kind")
    return GroupKind(said) if said in list(GroupKind) else GroupKind.CONSUMER


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(each for each in (values if isinstance(values, list) else ()) if isinstance(each, str))


def _text(entry: Any, key: str) -> str | None:
    value = entry.get(key) if isinstance(entry, Mapping) else None
    return value if isinstance(value, str) else None
