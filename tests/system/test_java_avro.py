"""Our Avro engine beside Java's, which registries and converters run: its verdict, its reading, its parser, its levels.

As in test_resolution_oracles.py a disagreement counts as explained only by a counterfactual: the one thing that Java
takes differently is rewritten, and then all agree.
"""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from bot.checks.avro.changes import Before, judge
from bot.checks.avro.schema import unqualified
from bot.checks.run import Source, check, read
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Severity
from tests.system.fetch import Available
from tests.system.parts import avro_oracle
from tests.unit.checks.avro_documents import schema
from tests.unit.checks.avro_generator import Generator, datum
from tests.unit.checks.test_resolution_oracles import at, readable, with_namesakes_renamed, without_unfit_defaults

PAIRS = 3000
SEED = 20261124
LEVELS = ("BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE")
Document = Any
Ask = Callable[[Sequence[Document]], list[Any]]


@pytest.fixture(scope="module")
def ask(available: Available, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Ask Java: one process for all questions of a call."""
    command = avro_oracle(available, tmp_path_factory.mktemp("avro-oracle"))

    def asked(questions: Sequence[Document]) -> list[Any]:
        lines = "".join(f"{json.dumps(question)}\n" for question in questions)
        ran = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=120, check=True)
        answers = [json.loads(line) for line in ran.stdout.splitlines()]
        assert len(questions) == len(answers), ran.stderr
        return answers

    return asked


def with_the_writers_names(reader: Document, writer: Document) -> Document:
    """A type whose namespace alone changed gets its old name back."""
    made, old = copy.deepcopy(reader), schema(writer)
    short = {unqualified(name): name for name in old.defined}
    parsed = schema(reader)
    for name in parsed.defined:
        node = at(made, parsed.named[name].pointer)
        if unqualified(name) in short and short[unqualified(name)] != name:
            was = short[unqualified(name)]
            node.pop("namespace", None)
            node["name"] = was
            if "." not in was:
                node["namespace"] = ""
    return made


def rewritten(document: Document, *rewrite: Callable[[Document, Any], None]) -> Document:
    made = copy.deepcopy(document)
    for one in rewrite:
        one(made, schema(made))
    return made


def test_the_verdict_and_the_reading_are_javas(ask: Ask) -> None:
    """What SchemaCompatibility calls compatible, so do we; what we call readable, Java reads, but for two named things:
    a default that does not fit, and a type that changed its namespace."""
    generator = Generator(SEED)
    pairs = []
    for seed in range(PAIRS):
        writer = generator.schema()
        chance, own = random.Random(seed), schema(writer)
        data = [base64.b64encode(datum(own, chance)).decode() for _ in range(40)]
        pairs.append({"writer": writer, "reader": generator.evolved(writer), "data": data})
    verdicts: Counter[bool] = Counter()
    odd: dict[str, list[Any]] = {"verdict": [], "reading": []}
    for pair, answer in zip(pairs, ask(pairs), strict=True):
        if answer["refused"] is not None:
            assert "Invalid default" in answer["refused"]
            continue
        ours = readable(pair["writer"], pair["reader"])
        verdicts[ours] += 1
        if ours != answer["compatible"]:
            odd["verdict"].append(pair)
        elif ours and answer["unreadable"] is not None:
            odd["reading"].append(pair)
    assert min(verdicts.values()) > PAIRS // 3, verdicts
    causes = (without_unfit_defaults, with_namesakes_renamed)
    again = [
        {**pair, "reader": rewritten(pair["reader"], *causes), "writer": rewritten(pair["writer"], *causes)}
        for pair in odd["verdict"]
    ]
    for pair, answer in zip(again, ask([{**one, "data": []} for one in again]), strict=True):
        assert readable(pair["writer"], pair["reader"]) == answer["compatible"], json.dumps(pair)
    again = [{**pair, "reader": with_the_writers_names(pair["reader"], pair["writer"])} for pair in odd["reading"]]
    for pair, answer in zip(again, ask(again), strict=True):
        assert (True, None) == (answer["compatible"], answer["unreadable"]), json.dumps(pair)
    assert odd["reading"], "the generator lost the types that change their namespace"


def test_whatever_a_level_refuses_in_java_is_an_error_here(ask: Ask) -> None:
    """800 histories of three versions, at each level; C001 and C008-C010 refuse more than Java."""
    generator = Generator(SEED + 1)
    histories = []
    for _ in range(800):
        first = generator.schema()
        second = generator.evolved(first)
        histories.append([first, second, generator.evolved(second)])
    refused: Counter[str] = Counter()
    for versions, answer in zip(histories, ask([{"versions": one} for one in histories]), strict=True):
        if answer["refused"] is not None:
            continue
        before = [Before(schema(one), f"v{number}") for number, one in enumerate(versions[:-1], 1)]
        for level in LEVELS:
            found = judge(schema(versions[-1]), before, level, SchemaSettings())
            if not answer[level]:
                refused[level] += 1
                assert any(one.severity is Severity.ERROR for one in found), (level, json.dumps(versions))
    assert min(refused[level] for level in LEVELS) > 100, refused


def broken(document: Document, chance: random.Random) -> Document:
    """Return the document with one thing put wrong at a random place."""
    made = copy.deepcopy(document)
    nodes = [node for node in _nodes(made) if isinstance(node, dict)]
    chance.shuffle(nodes)
    for node in nodes:
        keys = [
            key
            for key in node
            if key
            in ("name", "namespace", "type", "size", "symbols", "fields", "items", "values", "default", "aliases")
        ]
        if not keys:
            continue
        key = chance.choice(keys)
        roll = chance.random()
        if roll < 0.25:
            del node[key]
        elif roll < 0.75:
            node[key] = chance.choice(
                ["", "9x", "a-b", "a..b", "no.such.Type", 7, -1, None, True, [], {}, ["int", "int"], "int", "string"]
            )
        elif isinstance(node[key], list) and node[key]:
            node[key].append(copy.deepcopy(node[key][0]))
        else:
            node["default"] = chance.choice([None, "x", 7, [], {}, 1 << 40])
        return made
    return made


def _nodes(node: Document) -> Iterator[Document]:
    yield node
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for one in inner:
        yield from _nodes(one)


def test_what_javas_parser_refuses_is_an_error_here(ask: Ask) -> None:
    """3,000 schemas with one thing put wrong: a registry would answer 422 to what it cannot parse."""
    generator, chance = Generator(SEED + 2), random.Random(SEED)
    documents = [broken(generator.schema(), chance) for _ in range(PAIRS)]
    missed, refused = [], 0
    for document, answer in zip(documents, ask([{"schema": one} for one in documents]), strict=True):
        if answer["refused"] is None:
            continue
        refused += 1
        found = check(read([Source("a.avsc", json.dumps(document), "avro")]), SchemaSettings(), dt.date(2026, 11, 24))
        if not any(one.severity is Severity.ERROR and one.rule < "A100" for one in found.violations):
            missed.append((answer["refused"], json.dumps(document)))
    assert [] == missed[:5], len(missed)
    assert refused > PAIRS // 4
