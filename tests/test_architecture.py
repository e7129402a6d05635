"""The architecture as a test: who may import whom, one place per package, and where the world may be read.

When this objects, the design is speaking: move the code, do not widen the table.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BOT = ROOT / "bot"
MODULES = sorted(path for path in BOT.rglob("*.py") if "_shipped" not in path.parts)

PURE = {"incident", "patterns", "redact", "lag", "slo", "report", "checks", "descriptors"}
# What each part may import of ours, besides itself.
TABLE: dict[str, set[str]] = {
    "model": set(),
    "ports": {"model", "descriptors"},
    "descriptors": set(),
    "checks": {"model", "descriptors", "patterns"},
    "schema_files": {"ports", "checks"},
    "schema_versions": {"ports", "checks"},
    "patterns": set(),
    "redact": set(),
    "shipped": set(),
    "report": {"model"},
    "incident": {"model"},
    "lag": {"model"},
    "slo": {"model", "patterns"},
    "discovery": {"model", "ports", "patterns"},
    "doctor": {"model", "ports", "slo", "report"},
    "probes": {"model", "ports", "lag", "incident", "redact", "checks"},
    "actions": {"model", "ports", "incident"},
    "render": {"model", "incident", "lag", "report", "ports", "checks"},
    "clients": {"model", "ports", "redact", "descriptors"},
    "store": {"model", "incident", "lag"},
    "config": {"model", "incident", "slo", "shipped", "checks"},
    "found": {"model", "ports", "probes", "report"},
    "lag_answers": {"model", "lag", "report", "ports", "probes", "found"},
    "schema_answers": {"model", "report", "ports", "probes", "found"},
    "commands": {"model", "incident", "lag", "report", "ports", "probes", "found", "lag_answers", "schema_answers"},
    "metrics": {"model", "incident", "lag", "probes", "lag_metrics"},
    "lag_metrics": {"model", "lag", "ports", "probes"},
    "edge": {"model", "incident", "lag", "report", "ports", "render"},
    "dispatcher": {"model", "incident", "report", "store", "commands", "edge"},
    "runner": {"model", "incident", "lag", "report", "ports", "store", "commands", "probes", "actions", "dispatcher"},
    "outbox": {"model", "incident", "report", "ports", "store", "dispatcher"},
    "charts": {"model", "incident", "lag", "ports", "probes", "render", "outbox", "sampler"},
    "sampler": {"model", "lag", "ports", "store", "probes"},
    "monitor": {"model", "incident", "lag", "ports", "store", "probes", "metrics", "dispatcher", "runner", "sampler"},
    "drill": {"model", "checks"},
}
FREE = {
    "app", "cli", "cli_call", "cli_init", "cli_doctor", "cli_keep", "cli_lag", "cli_check", "cli_explain",
    "cli_generate", "cli_registry", "cli_results",
}  # fmt: skip

# The places of each third-party package, as path prefixes below bot/.
PLACES: dict[str, tuple[str, ...]] = {
    "confluent_kafka": ("clients/kafka", "drill/"),
    "requests": ("clients/", "drill/"),
    "slack_sdk": ("clients/slack.py", "edge/slack.py", "render/blocks.py", "drill/"),
    "slack_bolt": ("edge/slack.py",),
    "sqlite_utils": ("store/",),
    "sqlite3": ("store/", "dispatcher.py"),
    "starlette": ("edge/", "app.py", "drill/"),
    "uvicorn": ("app.py", "drill/"),
    "websockets": ("edge/slack_socket.py", "drill/"),
    "apscheduler": ("app.py",),
    "click": ("cli",),
    "rich": ("cli", "render/terminal.py"),
    "prometheus_client": ("metrics.py",),
    "fastavro": ("probes/dead_letters.py", "drill/"),
    "avro": (),  # An oracle of tests: the checks use no Avro library.
    "re2": ("patterns.py",),
    "yaml": ("config.py", "discovery/config_file.py", "incident/yaml_lines.py", "slo/", "drill/"),
    "matplotlib": ("render/chart.py",),
    "sqlglot": ("checks/ddl/",),
    "google": ("clients/protoc.py",),
    "grpc_tools": ("clients/protoc.py",),
    "jinja2": ("render/", "drill/"),
    "pydantic": (
        "config.py", "incident/alerts.py", "incident/runbook_file.py", "incident/yaml_lines.py", "store/", "runner.py",
        "outbox.py",
    ),
}  # fmt: skip

# Where the clock, randomness and the environment may be read.
WORLD: dict[str, tuple[str, ...]] = {
    "datetime.now": ("app.py", "drill/"),
    "datetime.utcnow": (),
    "time.time": ("drill/",),
    "uuid": ("app.py", "drill/"),
    "random": ("drill/",),
    "secrets": ("app.py", "drill/"),
    "os.environ": ("app.py", "cli", "drill/"),
    "os.getenv": (),
}


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def part(path: Path) -> str:
    relative = path.relative_to(BOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Yield (module, line, at top level) of every import, also the ones inside functions."""
    top = {id(node) for node in tree(path).body}
    typing_only = {
        id(inner)
        for node in tree(path).body
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in top or id(node) in typing_only
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "bot" else [module]
            for name in names:
                yield name, node.lineno, id(node) in top or id(node) in typing_only


def ours(path: Path) -> Iterator[tuple[str, int]]:
    for module, line, _ in imports(path):
        if module.startswith("bot."):
            yield module.split(".")[1], line


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_table(path: Path) -> None:
    """A part imports only what the table allows; `app` and `cli` alone know everything."""
    name = part(path)
    if name in FREE or name == "__init__":
        return
    assert name in TABLE, f"{path}: {name} is not in the table of the architecture"
    allowed = TABLE[name] | {name}
    wrong = [f"{path.name}:{line} imports bot.{target}" for target, line in ours(path) if target not in allowed]
    assert [] == wrong


def test_there_is_no_import_cycle() -> None:
    """Modules form a tree of dependencies: no ring, not even inside one folder."""
    graph: dict[str, set[str]] = {}
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES}
    for name, path in names.items():
        found = set()
        for module, _, _ in imports(path):
            if module in names:
                found.add(module)
            elif module.startswith("bot.") and module.rsplit(".", 1)[0] in names:
                found.add(module.rsplit(".", 1)[0])
        graph[name.removesuffix(".__init__")] = found - {name}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name in done:
            return
        for target in graph.get(name, ()):
            visit(target, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_each_package_has_its_place(path: Path) -> None:
    """A third-party package is imported only where the design says; it can then be replaced there."""
    relative = str(path.relative_to(BOT))
    wrong = []
    for module, line, _ in imports(path):
        places = PLACES.get(module.split(".")[0])
        if places is not None and not any(relative.startswith(place) for place in places):
            wrong.append(f"{relative}:{line} imports {module}; its places are {places}")
    assert [] == wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_cli_and_app_import_inside_functions(path: Path) -> None:
    """Late imports are for start-up cost, in the two files that own it."""
    if part(path) in FREE:
        return
    assert [] == [f"{path.name}:{line} {module}" for module, line, top in imports(path) if not top]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_world_is_read_in_one_place(path: Path) -> None:
    """Clock, randomness and environment are arguments everywhere but in the composition root and the drill."""
    relative = str(path.relative_to(BOT))
    wrong = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
        elif isinstance(node, ast.Import):
            name = next((a.name for a in node.names if a.name in WORLD), "")
        else:
            continue
        name = name.removeprefix("dt.").removeprefix("datetime.datetime.") if name.count(".") > 1 else name
        places = WORLD.get(name)
        if places is not None and not any(relative.startswith(place) for place in places):
            wrong.append(f"{relative}:{node.lineno} reads {name}")
    assert [] == wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_dataclasses_of_the_pure_core_are_frozen(path: Path) -> None:
    """A value handed to a pure function cannot be changed by it."""
    if part(path) not in PURE | {"model", "ports", "probes", "actions"}:
        return
    loose = [
        f"{path.name}:{node.lineno} {node.name}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        if ast.unparse(decorator) in ("dataclass", "dataclass()")
    ]
    assert [] == loose


def test_nothing_is_patched() -> None:
    """Fakes are written, not patched in: a test that patches tests the patch."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path == Path(__file__):
            continue
        for node in ast.walk(tree(path)):
            name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if name in ("mock.patch", "unittest.mock", "monkeypatch.setattr") or (
                isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unittest.mock")
            ):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert [] == found
