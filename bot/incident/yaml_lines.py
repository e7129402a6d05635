"""YAML in which every value knows its line, and pydantic's complaints in a person's words.

Promise: a bad file is answered with *every* problem at once, each as
`cdc.yml:14: pipelines.customers.objective: what is wrong: what to write`.

Invariants
    Only plain JSON values come out; a date, an octal or a `!tag` cannot smuggle in another type.
    Duplicate keys are problems: YAML itself would silently keep the last one.
    An alias bomb or a self-referring alias is a problem, not a hang.
    A problem never repeats a value from the file: it could be a secret written in the wrong place.

This module opens no file; it knows neither `cdc.yml` nor runbooks.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

KeyPath = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

LARGEST_TEXT_BYTES = 1_000_000
MOST_VALUES = 100_000

_PLAIN_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null")}
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class Problem:
    """One thing wrong at `path`; `remedy` says what to write. `line` overrules the line of `path`."""

    path: KeyPath
    what: str
    remedy: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Document:
    """The plain values of a file, the line on which each path starts, and what was wrong with its YAML."""

    name: str
    values: Any = None
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def line_of(self, path: KeyPath) -> int:
        """The line of `path`, or of its nearest parent that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def render(self, problems: Iterable[Problem]) -> tuple[str, ...]:
        """Return the problems as text, in the order of the file, without repetition."""
        placed = sorted(
            ((problem.line or self.line_of(problem.path), problem) for problem in problems), key=lambda pair: pair[0]
        )
        return tuple(dict.fromkeys(_render(self.name, line, problem) for line, problem in placed))


def read(raw: bytes | str, name: str) -> Document:
    """Return the document; `values` is None and one problem is given when it is not YAML at all."""

    def unreadable(what: str, remedy: str, line: int | None = None) -> Document:
        return Document(name, problems=(Problem((), what, remedy, line),))

    if len(raw) > LARGEST_TEXT_BYTES:
        return unreadable(f"larger than {LARGEST_TEXT_BYTES:,} bytes", "is this the right file?")
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = bytes(error.object[: error.start]).count(b"\n") + 1
        return unreadable("not UTF-8 text", "save the file as UTF-8", line)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        return Document(name, problems=(_syntax_problem(error, text),))
    except RecursionError:
        return unreadable("nested too deeply", "is this the right file?")
    walk = _Walk()
    values = walk.value(node, ()) if node is not None else None
    return Document(name, values, walk.lines, tuple(walk.problems))


def dotted(path: KeyPath) -> str:
    """`("pipelines", "a", "consumers", 0)` is written `pipelines.a.consumers[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def closest(word: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown word: the one that was probably meant, else all of them."""
    choices = sorted(known)
    meant = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if meant:
        return f"did you mean `{meant[0]}`?"
    return f"write one of {', '.join(choices)}" if choices else "remove it"


def validate(
    model: type[Model], values: Any, schema: Mapping[str, Any], context: Mapping[str, Any] | None = None
) -> tuple[Model | None, list[Problem]]:
    """Return the model or every problem. In a strict model JSON mode lets a YAML list be a tuple, and no more."""
    try:
        return model.model_validate_json(json.dumps(values), context=dict(context or {})), []
    except ValidationError as error:
        entries = error.errors(include_url=False, include_context=True)
    paths = {tuple(entry["loc"]) for entry in entries}
    deeper = {path[:length] for path in paths for length in range(len(path))}
    # Of a list only the good items are counted: "empty" beside a bad item would send people to the wrong place.
    told = [entry for entry in entries if entry["type"] != "too_short" or tuple(entry["loc"]) not in deeper]
    return None, [_explain(entry, schema) for entry in told]


def schema_at(schema: Mapping[str, Any], path: KeyPath) -> Mapping[str, Any]:
    """Return the part of a JSON Schema that describes `path`, or an empty one."""
    here = _resolve(schema, schema)
    for part in path:
        if isinstance(part, int):
            step = here.get("items")
        else:
            step = here.get("properties", {}).get(part)
            if step is None:
                step = here.get("additionalProperties")
        here = _resolve(step, schema) if isinstance(step, Mapping) else {}
    return here


# --- leaves ----------------------------------------------------------------------------------------


def _render(name: str, line: int, problem: Problem) -> str:
    parts = [f"{name}:{line}", dotted(problem.path), problem.what, problem.remedy]
    return ": ".join(part for part in parts if part)


class _Walk:
    """Turns nodes into plain values and notes lines and duplicate keys on the way."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[Problem] = []
        self.constructor = yaml.constructor.SafeConstructor()
        self.open_nodes: set[int] = set()
        self.count = 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        self.count += 1
        if self.count > MOST_VALUES:
            if self.count == MOST_VALUES + 1:
                self._problem(path, node, f"more than {MOST_VALUES:,} values", "write out what the aliases repeat")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self.open_nodes:
            self._problem(path, node, "an alias that contains itself", "write the value out")
            return None
        self.open_nodes.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self.open_nodes.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            self._problem(path, node, "half a character (a lone surrogate)", "write the character itself")
            return ""
        if node.tag not in _PLAIN_SCALARS:
            return str(node.value)
        try:
            return self.constructor.construct_object(node)
        except (ValueError, yaml.YAMLError):
            return str(node.value)

    def _mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    inherited = self.value(source, path)
                    merged = {**(inherited if isinstance(inherited, dict) else {}), **merged}
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(path, key_node, "a key must be a word", "put quotes around it if it holds {} or []")
                continue
            key = str(key_node.value)
            here = (*path, key)
            line = key_node.start_mark.line + 1
            if key in own:
                first = self.lines[here]
                self._problem(here, key_node, f"written twice, first on line {first}", "remove one of the two")
                continue
            self.lines[here] = line
            own[key] = self.value(value_node, here)
        return {**merged, **own}

    def _problem(self, path: KeyPath, node: yaml.Node, what: str, remedy: str) -> None:
        self.problems.append(Problem(path, what, remedy, node.start_mark.line + 1))


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else 1
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    lines = text.splitlines()
    written = lines[line - 1] if 0 < line <= len(lines) else ""
    if "${" in written:
        remedy = 'inside [] and {} put quotes around it: "${NAME}"'
    elif "\t" in written:
        remedy = "indent with spaces, YAML allows no tabs"
    elif any(f" {sign}" in written for sign in "@`%"):
        remedy = 'a value that starts with @, ` or % needs quotes: "@data-platform"'
    else:
        remedy = "look at this line and the one before it for a missing colon, quote or bracket"
    return Problem((), f"not YAML: {what}", remedy, line)


def _explain(entry: Any, schema: Mapping[str, Any]) -> Problem:
    """One pydantic error as what is wrong and what to write."""
    path: KeyPath = tuple(entry["loc"])
    kind: str = entry["type"]
    expected = schema_at(schema, path)
    remedy = "".join(_written_as(path, expected))
    if kind == "extra_forbidden":
        known = schema_at(schema, path[:-1]).get("properties", {})
        return Problem(path, "unknown setting", closest(str(path[-1]), known))
    if kind == "missing":
        return Problem(path, "missing", remedy)
    if kind == "value_error":
        what, _, own_remedy = str(entry["ctx"]["error"]).partition(": ")
        return Problem(path, what, own_remedy or remedy)
    if entry["input"] is None:
        return Problem(path, "has no value", remedy or "write one")
    if kind in ("enum", "literal_error"):
        choices = [str(choice) for choice in expected.get("enum", [expected.get("const")]) if choice is not None]
        return Problem(path, "unknown word", closest(str(entry["input"]), choices))
    return Problem(path, _TYPE_WORDS.get(kind, entry["msg"].lower()), remedy)


_TYPE_WORDS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping of settings",
    "model_type": "must be a mapping of settings",
    "model_attributes_type": "must be a mapping of settings",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def _written_as(path: KeyPath, expected: Mapping[str, Any]) -> Iterator[str]:
    examples = expected.get("examples")
    if examples and path:
        example = json.dumps(examples[0]) if not isinstance(examples[0], str) else _quoted(examples[0])
        yield f"write {example}" if isinstance(path[-1], int) else f"write {path[-1]}: {example}"


def _quoted(text: str) -> str:
    return f'"{text}"' if text[:1] in "#@%`*&!|>{[$" else text


def _resolve(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow `$ref`, and take the one that is not null of an optional value; what stands beside them is kept."""
    here: Mapping[str, Any] = part
    for _ in range(8):
        if "$ref" in here:
            target = schema.get("$defs", {}).get(here["$ref"].rsplit("/", 1)[-1], {})
            here = {**target, **{key: value for key, value in here.items() if key != "$ref"}}
        elif "anyOf" in here:
            options = [option for option in here["anyOf"] if option.get("type") != "null"]
            rest = {key: value for key, value in here.items() if key != "anyOf"}
            here = {**(options[0] if options else {}), **rest}
        else:
            break
    return here
