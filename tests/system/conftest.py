"""The real parts as fixtures: fetched once, started when a test first asks, stopped at the end of the run.

Every test in this folder is marked `system`. A test whose part cannot be had is skipped with the reason, or fails where
`CI=true`: a green run there means that it ran. The run ends with a table of the parts and their versions.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.system import fetch, parts
from tests.system.alerts import quick, silence_through_the_bot
from tests.system.estate import Estate
from tests.system.fetch import Available, PartMissing
from tests.system.parts import Alertmanager, Chromium, Cluster, Connect, Kafka, Postgres, Prometheus, Registry
from tests.system.pipeline import Pipeline
from tests.system.walk import OnCall, Walk, without_pipeline

HERE = Path(__file__).parent
WHOLE_CLUSTER = ("java", "kafka", "debezium-postgres", "debezium-jdbc", "avro-converter", "apicurio", "postgresql")

_reasons: dict[str, str] = {}
_kept_folders: list[Path] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.system)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not parts.PARTS and not _reasons:
        return
    terminalreporter.section("Real parts")
    rows = [(name, ran.version, f"{ran.ready_in_s:.1f} s") for name, ran in sorted(parts.PARTS.items())]
    for name, version, ready_in in [("name", "version", "ready in"), *rows]:
        terminalreporter.write_line(f"{name:<28}| {version:<18}| {ready_in}")
    for part, reason in sorted(_reasons.items()):
        terminalreporter.write_line(f"{part:<28}| NOT RUN           | {reason}", red=True)
    for folder in _kept_folders:
        terminalreporter.write_line(f"A test failed, so the parts' logs and data were kept: {folder}")


@pytest.fixture(scope="session")
def available() -> Available:
    """Where the parts are; fetches what is missing."""
    found = fetch.fetch()
    _reasons.update(found.reasons)
    return found


@pytest.fixture(scope="session")
def scratch(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The folder of the parts' data and logs; kept, and named in the summary, when a test failed."""
    folder = parts.scratch_folder()
    yield folder
    if request.session.testsfailed:
        _kept_folders.append(folder)
    else:
        parts.remove_folder(folder)


@pytest.fixture(scope="session")
def lazy_cluster(available: Available, scratch: Path) -> Iterator[Cluster]:
    """The cluster of the run with nothing started yet; a test asks for a part of it, or for `cluster`."""
    cluster = Cluster(available, scratch)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def cluster(available: Available, lazy_cluster: Cluster) -> Cluster:
    """Kafka, Connect, the registry and PostgreSQL, all running."""
    _need(available, *WHOLE_CLUSTER)
    return lazy_cluster.start()


@pytest.fixture(scope="session")
def kafka(available: Available, lazy_cluster: Cluster) -> Kafka:
    """A real Kafka; nothing else is started for it."""
    _need(available, "java", "kafka")
    return lazy_cluster.kafka


@pytest.fixture(scope="session")
def connect(available: Available, lazy_cluster: Cluster) -> Connect:
    """A real Kafka Connect, with the Kafka below it."""
    _need(available, "java", "kafka", "debezium-postgres", "debezium-jdbc", "avro-converter")
    return lazy_cluster.connect


@pytest.fixture(scope="session")
def registry(available: Available, lazy_cluster: Cluster) -> Registry:
    """A real Apicurio Registry."""
    _need(available, "java", "apicurio")
    return lazy_cluster.registry


@pytest.fixture(scope="session")
def postgres(available: Available, lazy_cluster: Cluster) -> Postgres:
    """A real PostgreSQL."""
    _need(available, "postgresql")
    return lazy_cluster.postgres


@pytest.fixture(scope="session")
def pipeline(cluster: Cluster) -> Pipeline:
    """The run's sound pipeline, named `customers`. Only look at it: what breaks a pipeline makes a `new_pipeline`."""
    return Pipeline(cluster).create()


@pytest.fixture
def new_pipeline(cluster: Cluster) -> Iterator[Callable[..., Pipeline]]:
    """Return `new_pipeline(prefix, ...)`, which creates a pipeline of the test's own and removes it afterwards."""
    created: list[Pipeline] = []

    def create(prefix: str, partitions: int = 2, envelope: bool = False) -> Pipeline:
        pipeline = Pipeline(cluster, prefix, partitions, envelope)
        created.append(pipeline)
        return pipeline.create()

    yield create
    for pipeline in created:
        pipeline.remove()


@pytest.fixture
def new_walk(available: Available, cluster: Cluster, scratch: Path) -> Iterator[Callable[..., Walk]]:
    """Return `new_walk(prefix, ...)`: a pipeline of the test's own with the bot and all that watches it."""
    _need(available, "prometheus", "alertmanager")
    with contextlib.ExitStack() as stack:

        def start(prefix: str, **settings: Any) -> Walk:
            pipeline = Pipeline(cluster, prefix)
            stack.callback(pipeline.remove)
            walk = Walk(available, scratch / prefix, pipeline, **settings)
            stack.callback(walk.stop)
            return walk

        yield start


@pytest.fixture
def estate(available: Available, cluster: Cluster, scratch: Path) -> Iterator[Estate]:
    """A team's estate before the bot, with a pipeline of its own."""
    _need(available, "prometheus", "alertmanager")
    pipeline = Pipeline(cluster, "hour")
    try:
        with Estate(available, scratch / "estate", pipeline) as estate:
            yield estate
    finally:
        pipeline.remove()


@pytest.fixture(scope="session")
def new_oncall(available: Available, scratch: Path) -> Iterator[Callable[..., OnCall]]:
    """Return `new_oncall(name, ...)`: a bot with an Alertmanager and a Slack workspace, until the end of the run."""
    _need(available, "alertmanager")
    with contextlib.ExitStack() as stack:

        def start(name: str, *settings: Any) -> OnCall:
            oncall = OnCall(available, scratch / name, *settings)
            stack.callback(oncall.stop)
            return oncall

        yield start


@pytest.fixture(scope="session")
def silenced(new_oncall: Callable[..., OnCall]) -> OnCall:
    """A bot whose alert was silenced through it; the alert ends minutes later, and the last test looks at that."""
    return silence_through_the_bot(new_oncall("silenced", without_pipeline, quick))


@pytest.fixture
def new_prometheus(available: Available, scratch: Path) -> Iterator[Callable[[str], Prometheus]]:
    """Return `new_prometheus(config)`, which starts a Prometheus for this test."""
    _need(available, "prometheus")
    started: list[Prometheus] = []

    def start(config: str) -> Prometheus:
        started.append(Prometheus(available, scratch / f"prometheus-{time.monotonic_ns()}", config))
        return started[-1]

    yield start
    _stop_all(started)


@pytest.fixture
def new_alertmanager(available: Available, scratch: Path) -> Iterator[Callable[[str], Alertmanager]]:
    """Return `new_alertmanager(config)`, which starts an Alertmanager for this test."""
    _need(available, "alertmanager")
    started: list[Alertmanager] = []

    def start(config: str) -> Alertmanager:
        started.append(Alertmanager(available, scratch / f"alertmanager-{time.monotonic_ns()}", config))
        return started[-1]

    yield start
    _stop_all(started)


@pytest.fixture(scope="session")
def chromium(available: Available) -> Iterator[Chromium]:
    """A real headless browser; a test opens pages of its own with `chromium.browser.new_page()`."""
    _need(available, "chromium")
    chromium = Chromium(available)
    yield chromium
    chromium.stop()


def _need(available: Available, *names: str) -> None:
    """Skip the test loudly when a part cannot be had; fail it instead where `CI=true`."""
    for name in names:
        try:
            available.place(name)
        except PartMissing as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{missing} (with CI=true that is a failure)", pytrace=False)
            pytest.skip(str(missing))


def _stop_all(started: list[Prometheus] | list[Alertmanager]) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: part.stop(), started))
