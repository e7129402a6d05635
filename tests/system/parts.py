"""The real parts: each class starts one on loopback, on a free port, and returns when it truly answers.

Making an object starts the part; `stop()` ends it. A part that is not ready within its deadline, or that ends before,
raises PartFailed with the last lines of its log. What was started, in which version and how fast, is in `PARTS`.

Promises
    Every process listens on 127.0.0.1 only and is ended by its own pid and process group, never by name.
    Every process dies with the test run, even when that is killed with SIGKILL: a leash process, one for the run,
    sees its pipe close and kills what is still registered. (A parent-death signal would not do: Linux sends it when
    the starting *thread* ends, and parts are started in threads.)
    Java heaps are bounded; PostgreSQL does not run as root.

This module knows no pipeline, no bot and no pytest.
"""

import contextlib
import os
import pwd
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import psycopg
import requests
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.system.fetch import Available

T = TypeVar("T")

HOST = "127.0.0.1"
LOG_TAIL_LINES = 25
INITDB_OPTIONS = ("-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")


@dataclass(frozen=True)
class RanOn:
    """One part that was started in this test run."""

    version: str
    ready_in_s: float


PARTS: dict[str, RanOn] = {}


class PartFailed(Exception):
    """A part ended or was not ready in time; the message has the end of its log."""


class NotInTime(Exception):
    """A question was not answered with yes before its deadline."""


def wait_until(ask: Callable[[], T], what: str, deadline_s: float = 30.0, every_s: float = 0.1) -> T:
    """Ask until the answer is true and return it; a refused connection is a no. Raise NotInTime at the deadline."""
    ends_at = time.monotonic() + deadline_s
    while True:
        last: object
        try:
            answer = ask()
            if answer:
                return answer
            last = answer
        except OSError as error:  # What requests and sockets raise while a part is still starting.
            last = error
        if time.monotonic() > ends_at:
            raise NotInTime(f"{what}: not within {deadline_s:.0f} s; the last answer was {last!r}")
        time.sleep(every_s)


def free_port() -> int:
    """Return a port that nobody listens on.

    Taken below 32768, where Linux hands out no ports by itself: between our asking and the part's listening no
    outgoing connection can take it.
    """
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        if port in _handed_out:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        _handed_out.add(port)
        return port


_handed_out: set[int] = set()


def scratch_folder() -> Path:
    """Return a new folder for the parts' data. Everybody may enter it: PostgreSQL runs as a user of its own."""
    folder = Path(tempfile.mkdtemp(prefix="cdc-parts-"))
    folder.chmod(0o755)
    return folder


class Process:
    """One started program: its log, its readiness, its end."""

    def __init__(
        self,
        part: str,
        command: Sequence[str | Path],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.part = part
        self.started_at = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{part}.log"
        self._stop_signal = stop_signal
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _leash().hold(self._popen.pid)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def wait_ready(self, ask: Callable[[], T], deadline_s: float) -> T:
        """Return the first true answer; raise PartFailed as soon as the process has ended, or at the deadline."""

        def answer_while_alive() -> T:
            code = self._popen.poll()
            if code is not None:
                raise PartFailed(f"{self.part} ended with {code} before it was ready.\n{self.log_tail()}")
            return ask()

        try:
            return wait_until(answer_while_alive, f"{self.part} ready", deadline_s, every_s=0.05)
        except NotInTime as error:
            self.stop()
            raise PartFailed(f"{error}\n{self.log_tail()}") from error

    def is_ready(self, version: str) -> None:
        """Put the part into the record of what ran."""
        PARTS[self.part] = RanOn(version, round(time.monotonic() - self.started_at, 1))

    def log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([f"--- the end of {self.log} ---", *lines[-LOG_TAIL_LINES:]])

    def memory_mb(self) -> int:
        """Return the resident memory of the process itself, in MiB, 0 when it has ended."""
        with contextlib.suppress(OSError):
            resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
            return int(resident[1]) // 1024 if resident else 0
        return 0

    def stop(self, grace_s: float = 5.0) -> None:
        """End the process, its group with it; after `grace_s` by SIGKILL. Ending what has ended does nothing."""
        if self._popen.poll() is None:
            self._popen.send_signal(self._stop_signal)
            try:
                self._popen.wait(grace_s)
            except subprocess.TimeoutExpired:
                pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait(10)
        _leash().let_go(self._popen.pid)


class _Leash:
    """A small process that kills what is still held when this process is gone: its end of our pipe then closes."""

    PROGRAM = """
import os, signal, sys
held = set()
for line in sys.stdin:
    sign, pid = line[0], int(line[1:])
    held.add(pid) if sign == "+" else held.discard(pid)
for pid in held:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""

    def __init__(self) -> None:
        self._writing = threading.Lock()
        self._popen = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM], stdin=subprocess.PIPE, text=True, start_new_session=True
        )

    def hold(self, pid: int) -> None:
        self._write(f"+{pid}\n")

    def let_go(self, pid: int) -> None:
        self._write(f"-{pid}\n")

    def _write(self, line: str) -> None:
        assert self._popen.stdin is not None
        with self._writing:
            self._popen.stdin.write(line)
            self._popen.stdin.flush()


_only_leash: list[_Leash] = []
_making_leash = threading.Lock()


def _leash() -> _Leash:
    with _making_leash:
        if not _only_leash:
            _only_leash.append(_Leash())
        return _only_leash[0]


class _Stoppable:
    """What every part has: its process, an end, and use in a `with`."""

    process: Process

    def stop(self) -> None:
        self.process.stop()

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


class Kafka(_Stoppable):
    """Apache Kafka in KRaft mode, one node, broker and controller.

    `auto.create.topics.enable` stays at its default, true, so that a test can prove that our clients create no topic.
    `settings` are more broker properties.
    """

    def __init__(
        self, available: Available, folder: Path, port: int | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        port = port or free_port()
        controller_port = free_port()
        self.bootstrap = f"{HOST}:{port}"
        properties = _write_properties(
            folder / "server.properties",
            {
                "process.roles": "broker,controller",
                "node.id": "1",
                "controller.quorum.voters": f"1@{HOST}:{controller_port}",
                "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
                "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
                "controller.listener.names": "CONTROLLER",
                "log.dirs": str(folder / "data"),
                "num.partitions": "1",
                "offsets.topic.replication.factor": "1",
                "offsets.topic.num.partitions": "4",
                "transaction.state.log.replication.factor": "1",
                "transaction.state.log.min.isr": "1",
                "transaction.state.log.num.partitions": "4",
                "share.coordinator.state.topic.replication.factor": "1",
                "share.coordinator.state.topic.min.isr": "1",
                "group.initial.rebalance.delay.ms": "0",
                **(settings or {}),
            },
        )
        java = _kafka_java(available, folder, heap_mb=384)
        started_at = time.monotonic()
        formatting = subprocess.run(
            [*java, "kafka.tools.StorageTool", "format", "-t", "cdc-oncall-system-tests", "-c", str(properties)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if formatting.returncode != 0:
            raise PartFailed(f"Apache Kafka: the storage was not formatted.\n{formatting.stdout[-2000:]}")

        self.process = Process("Apache Kafka", [*java, "kafka.Kafka", properties], folder, stop_signal=signal.SIGKILL)
        self.process.started_at = started_at
        self.process.wait_ready(self._answers, deadline_s=60)
        version = re.search(r"Kafka version: (\S+)", self.process.log.read_text(errors="replace"))
        self.process.is_ready(version[1] if version else available.place("kafka").name)

    def admin(self) -> AdminClient:
        """Return a new admin client. Keep it while its futures run: they fail when it is collected."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "allow.auto.create.topics": False, "log_level": 0})

    def _answers(self) -> bool:
        # A socket first: librdkafka backs off after a refused connection, so it is asked once somebody listens.
        with socket.create_connection((HOST, int(self.bootstrap.split(":")[1])), timeout=1):
            pass
        try:
            admin = self.admin()
            return bool(admin.list_topics(timeout=5).brokers)
        except KafkaException:
            return False


class Connect(_Stoppable):
    """A Kafka Connect worker in distributed mode with Debezium and the Avro converter. It may start before Kafka."""

    def __init__(self, available: Available, folder: Path, bootstrap: str) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        plugins = [available.place(part) for part in ("debezium-postgres", "debezium-jdbc", "avro-converter")]
        properties = _write_properties(
            folder / "connect.properties",
            {
                "bootstrap.servers": bootstrap,
                "group.id": "connect-workers",
                "key.converter": "org.apache.kafka.connect.json.JsonConverter",
                "value.converter": "org.apache.kafka.connect.json.JsonConverter",
                "config.storage.topic": "connect-configs",
                "config.storage.replication.factor": "1",
                "offset.storage.topic": "connect-offsets",
                "offset.storage.replication.factor": "1",
                "offset.storage.partitions": "1",
                "status.storage.topic": "connect-status",
                "status.storage.replication.factor": "1",
                "status.storage.partitions": "1",
                "offset.flush.interval.ms": "1000",
                "scheduled.rebalance.max.delay.ms": "0",
                "listeners": f"HTTP://{HOST}:{port}",
                "rest.advertised.host.name": HOST,
                "plugin.path": ",".join(str(plugin) for plugin in plugins),
                "plugin.discovery": "service_load",
            },
        )
        java = _kafka_java(available, folder, heap_mb=512)
        self.process = Process(
            "Kafka Connect",
            [*java, "org.apache.kafka.connect.cli.ConnectDistributed", properties],
            folder,
            stop_signal=signal.SIGKILL,
        )
        self.process.wait_ready(self._answers, deadline_s=90)
        self.process.is_ready(_get_json(f"{self.url}/")["version"])
        converter = available.place("avro-converter").name.removeprefix("avro-converter-")
        PARTS["Avro converter"] = RanOn(converter, PARTS["Kafka Connect"].ready_in_s)
        for plugin in _get_json(f"{self.url}/connector-plugins"):
            name = {
                "io.debezium.connector.postgresql.PostgresConnector": "Debezium PostgreSQL source",
                "io.debezium.connector.jdbc.JdbcSinkConnector": "Debezium JDBC sink",
            }.get(plugin["class"])
            if name:
                PARTS[name] = RanOn(plugin["version"], PARTS["Kafka Connect"].ready_in_s)

    def _answers(self) -> bool:
        """The root answers before the worker has joined its group; `/connectors` does not."""
        return requests.get(f"{self.url}/connectors", timeout=2).status_code == 200


class Registry(_Stoppable):
    """Apicurio Registry in memory. `ccompat_url` is the Confluent API, `v2_url` the one its Avro converter uses."""

    def __init__(self, available: Available, folder: Path) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        self.ccompat_url = f"{self.url}/apis/ccompat/v7"
        self.v2_url = f"{self.url}/apis/registry/v2"
        self.process = Process(
            "Apicurio Registry",
            [*_java(available, heap_mb=320), "-jar", available.place("apicurio") / "quarkus-run.jar"],
            folder,
            {
                "QUARKUS_HTTP_HOST": HOST,
                "QUARKUS_HTTP_PORT": str(port),
                "QUARKUS_MANAGEMENT_HOST": HOST,
                "QUARKUS_MANAGEMENT_PORT": str(free_port()),
                "APICURIO_REST_DELETION_ARTIFACT_ENABLED": "true",
                "APICURIO_REST_DELETION_ARTIFACT_VERSION_ENABLED": "true",
                "APICURIO_REST_DELETION_GROUP_ENABLED": "true",
            },
            stop_signal=signal.SIGKILL,
        )
        self.process.wait_ready(self._answers, deadline_s=60)
        self.process.is_ready(_get_json(f"{self.url}/apis/registry/v3/system/info")["version"])

    def _answers(self) -> bool:
        return requests.get(f"{self.ccompat_url}/subjects", timeout=5).status_code == 200


class Postgres(_Stoppable):
    """PostgreSQL with `wal_level=logical`, superuser `postgres`, no password, and data that a power cut may take."""

    def __init__(self, available: Available, folder: Path) -> None:
        self.port = free_port()
        programs = available.place("postgresql").parent
        folder.mkdir(parents=True, exist_ok=True)
        data = folder / "data"
        unprivileged = self._as_postgres_user(folder)
        started_at = time.monotonic()
        initialising = subprocess.run(
            [*unprivileged, programs / "initdb", "-D", data, *INITDB_OPTIONS],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if initialising.returncode != 0:
            raise PartFailed(f"PostgreSQL: initdb failed.\n{initialising.stdout[-2000:]}")
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": str(folder),
            "wal_level": "logical",
            "max_replication_slots": "40",
            "max_wal_senders": "40",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "fsync": "off",
            "full_page_writes": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.process = Process(
            "PostgreSQL",
            [*unprivileged, programs / "postgres", "-D", data, *options],
            folder,
            stop_signal=signal.SIGINT,  # Its "fast" shutdown: open sessions are ended, shared memory is given back.
        )
        self.process.started_at = started_at
        self.process.wait_ready(self._answers, deadline_s=30)
        with self.connect() as connection:
            row = connection.execute("show server_version").fetchone()
        self.process.is_ready(row[0].split()[0] if row else "unknown")

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@{HOST}:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Return a new connection that commits each statement by itself."""
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)

    def _answers(self) -> bool:
        try:
            with self.connect():
                return True
        except psycopg.OperationalError:
            return False

    @staticmethod
    def _as_postgres_user(folder: Path) -> list[str]:
        """Return what to put before a command so that it does not run as root, which PostgreSQL refuses."""
        if os.geteuid() != 0:
            return []
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


class Prometheus(_Stoppable):
    """Prometheus on a configuration given as text. `reload()` takes a new one."""

    def __init__(self, available: Available, folder: Path, config: str) -> None:
        self.url = f"http://{HOST}:{free_port()}"
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "prometheus.yml"
        self._config.write_text(config)
        self.process = Process(
            "Prometheus",
            [
                available.place("prometheus"),
                f"--config.file={self._config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                f"--web.external-url={self.url}",
                "--web.enable-lifecycle",
                "--storage.tsdb.retention.time=1d",
            ],
            folder,
        )
        self.process.wait_ready(lambda: requests.get(f"{self.url}/-/ready", timeout=2).ok, deadline_s=30)
        self.process.is_ready(_get_json(f"{self.url}/api/v1/status/buildinfo")["data"]["version"])

    def reload(self, config: str) -> None:
        """Take a new configuration; raises requests.HTTPError with Prometheus's words when it refuses it."""
        _reload(self._config, config, self.url)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the instant vector of an expression."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=5)
        answer.raise_for_status()
        return list(answer.json()["data"]["result"])

    def alerts(self) -> list[dict[str, Any]]:
        """Return what `/api/v1/alerts` says: the pending and the firing ones."""
        return list(_get_json(f"{self.url}/api/v1/alerts")["data"]["alerts"])


class Alertmanager(_Stoppable):
    """One Alertmanager, without a cluster, on a configuration given as text. `reload()` takes a new one."""

    def __init__(self, available: Available, folder: Path, config: str) -> None:
        self.url = f"http://{HOST}:{free_port()}"
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "alertmanager.yml"
        self._config.write_text(config)
        self.process = Process(
            "Alertmanager",
            [
                available.place("alertmanager"),
                f"--config.file={self._config}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                f"--web.external-url={self.url}",
                "--cluster.listen-address=",
            ],
            folder,
        )
        self.process.wait_ready(lambda: requests.get(f"{self.url}/-/ready", timeout=2).ok, deadline_s=30)
        self.process.is_ready(_get_json(f"{self.url}/api/v2/status")["versionInfo"]["version"])

    def reload(self, config: str) -> None:
        """Take a new configuration; raises requests.HTTPError with Alertmanager's words when it refuses it."""
        _reload(self._config, config, self.url)

    def groups(self) -> list[dict[str, Any]]:
        """Return what `/api/v2/alerts/groups` says."""
        return list(_get_json(f"{self.url}/api/v2/alerts/groups"))

    def silences(self) -> list[dict[str, Any]]:
        """Return what `/api/v2/silences` says, expired ones too."""
        return list(_get_json(f"{self.url}/api/v2/silences"))

    def post_alerts(self, *alerts: Mapping[str, Any]) -> None:
        """Hand alerts in through `/api/v2/alerts`, as Prometheus does."""
        requests.post(f"{self.url}/api/v2/alerts", json=alerts, timeout=5).raise_for_status()


class Flink(_Stoppable):
    """Apache Flink: a JobManager, its REST API at `url`, and a TaskManager with four slots; `submit()` starts a job.

    A job goes on when a checkpoint of it fails, as one does where `tolerable-failed-checkpoints` is set: with its
    default, 0, it would restart and restart.
    """

    _OPENED = ("lang", "util", "nio", "net", "io", "util.concurrent")
    _MEMORY: Mapping[str, str] = {  # All must be set where no start script of Flink's works them out.
        "task.heap.size": "64mb",
        "task.off-heap.size": "0",
        "managed.size": "0",
        "network.min": "32mb",
        "network.max": "32mb",
        "framework.heap.size": "64mb",
        "framework.off-heap.size": "32mb",
        "jvm-metaspace.size": "128mb",
        "jvm-overhead.min": "32mb",
        "jvm-overhead.max": "32mb",
    }

    def __init__(self, available: Available, folder: Path, bootstrap: str) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        self._folder, self._bootstrap = folder, bootstrap
        self._job_jar = available.place("flink-job") / "job.jar"
        config = folder / "conf"
        settings = {
            "jobmanager.rpc.address": HOST,
            "jobmanager.rpc.port": str(free_port()),
            "jobmanager.bind-host": HOST,
            "rest.address": HOST,
            "rest.bind-address": HOST,
            "rest.port": str(port),
            "blob.server.port": str(free_port()),
            "taskmanager.host": HOST,
            "taskmanager.bind-host": HOST,
            "taskmanager.numberOfTaskSlots": "4",
            "web.upload.dir": str(folder / "jars"),
            "web.tmpdir": str(folder / "web"),
            "io.tmp.dirs": str(folder / "tmp"),
            "cluster.registration.error-delay": "200 ms",
            "execution.checkpointing.dir": (folder / "checkpoints").as_uri(),
            "execution.checkpointing.tolerable-failed-checkpoints": "1000000",
        }
        config.mkdir(parents=True)
        (config / "config.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        logging = _log_settings(config)
        libraries = [str(available.place(part) / "libs" / "*") for part in ("flink", "flink-job")]

        def command(heap_mb: int, main: str, *words: str) -> list[str]:
            opened = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in self._OPENED]
            java = [*_java(available, heap_mb), *opened, f"-Dlog4j2.configurationFile={logging}"]
            return [*java, "-cp", ":".join(libraries), main, "--configDir", str(config), *words]

        runtime = "org.apache.flink.runtime"
        cluster = f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint"
        memory = [f"taskmanager.memory.{name}={value}" for name, value in self._MEMORY.items()]
        sizes = [word for size in ("taskmanager.cpu.cores=2", *memory) for word in ("-D", size)]
        self.process = Process(
            "Apache Flink", command(256, cluster, "--executionMode", "cluster"), folder, stop_signal=signal.SIGKILL
        )
        worker = command(192, f"{runtime}.taskexecutor.TaskManagerRunner", *sizes)
        self.worker = Process("Flink TaskManager", worker, folder, stop_signal=signal.SIGKILL)
        try:
            self.process.wait_ready(lambda: _get_json(f"{self.url}/v1/overview")["slots-total"], deadline_s=60)
        except PartFailed as error:
            self.stop()
            raise PartFailed(f"{error}\n{self.worker.log_tail()}") from error
        self.process.is_ready(_get_json(f"{self.url}/v1/config")["flink-version"])
        with self._job_jar.open("rb") as jar:
            uploading = requests.post(f"{self.url}/v1/jars/upload", files={"jarfile": jar}, timeout=30)
        uploading.raise_for_status()
        self._jar = str(uploading.json()["filename"]).rpartition("/")[2]

    def submit(
        self,
        job_name: str,
        group: str,
        topic: str,
        checkpoint_s: float | None,
        settings: Mapping[str, str] | None = None,
    ) -> str:
        """Start a job that reads a topic from its beginning and commits as `group`; return its id.

        `checkpoint_s` None: without checkpoints. `settings` are more of Flink's. Raises requests.HTTPError.
        """
        asked = {
            "entryClass": "FlinkJob",
            "programArgsList": [job_name, self._bootstrap, topic, group, str(self._held(job_name))],
            "flinkConfiguration": {
                **({"execution.checkpointing.interval": f"{round(checkpoint_s * 1000)} ms"} if checkpoint_s else {}),
                **(settings or {}),
            },
        }
        answer = requests.post(f"{self.url}/v1/jars/{self._jar}/run", json=asked, timeout=30)
        if not answer.ok:
            raise requests.HTTPError(f"{job_name} was not started: {answer.text[:2000]}", response=answer)
        return str(answer.json()["jobid"])

    def cancel(self, job: str) -> None:
        """End a job without a savepoint, and return when it has ended."""
        requests.patch(f"{self.url}/v1/jobs/{job}", params={"mode": "cancel"}, timeout=10).raise_for_status()
        wait_until(lambda: self.state(job) == "CANCELED", f"job {job} cancelled")

    def state(self, job: str) -> str:
        """Return the job's state as `/jobs/overview` tells it; empty where it lists none of that id."""
        jobs = _get_json(f"{self.url}/v1/jobs/overview")["jobs"]
        return next((str(each["state"]) for each in jobs if each["jid"] == job), "")

    def break_checkpoints(self, job: str) -> None:
        """Put a file where the job's checkpoint folder was, which stops root, too: each checkpoint fails from now."""
        folder = self._folder / "checkpoints" / job
        shutil.rmtree(folder)
        folder.touch()

    def mend_checkpoints(self, job: str) -> None:
        (self._folder / "checkpoints" / job).unlink()

    def hold(self, job_name: str) -> None:
        """Let no record through: the job's checkpoints wait behind the records that it holds back."""
        self._held(job_name).touch()

    def let_go(self, job_name: str) -> None:
        self._held(job_name).unlink(missing_ok=True)

    def stop(self) -> None:
        self.worker.stop()
        self.process.stop()

    def _held(self, job_name: str) -> Path:
        return self._folder / f"{job_name}.held"


class Chromium:
    """Headless Chromium driven by Playwright's synchronous API: use it from the thread that made it."""

    ARGUMENTS = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    )

    def __init__(self, available: Available) -> None:
        from playwright.sync_api import sync_playwright  # Half a second that only a test with a page should pay.

        program = available.place("chromium")
        started_at = time.monotonic()
        self._playwright = sync_playwright().start()
        self.browser = self._playwright.chromium.launch(executable_path=program, args=list(self.ARGUMENTS))
        PARTS["Chromium"] = RanOn(self.browser.version, round(time.monotonic() - started_at, 1))

    def stop(self) -> None:
        self.browser.close()
        self._playwright.stop()


class Cluster:
    """What a pipeline runs on: Kafka, Connect, the registry and PostgreSQL, each started when it is first asked for.

    `start()` begins with all of them side by side; Connect is started with Kafka's address and waits for it by itself.
    """

    def __init__(self, available: Available, folder: Path) -> None:
        kafka_port = free_port()
        self._pool = ThreadPoolExecutor(4, "part")
        self._starting = threading.Lock()
        self._started: dict[str, Future[Any]] = {}
        self._makers: Mapping[str, Callable[[], Any]] = {
            "kafka": lambda: Kafka(available, folder / "kafka", kafka_port),
            "connect": lambda: Connect(available, folder / "connect", f"{HOST}:{kafka_port}"),
            "registry": lambda: Registry(available, folder / "registry"),
            "postgres": lambda: Postgres(available, folder / "postgres"),
        }

    @property
    def kafka(self) -> Kafka:
        return cast(Kafka, self._begin("kafka").result())

    @property
    def connect(self) -> Connect:
        self._begin("kafka")
        return cast(Connect, self._begin("connect").result())

    @property
    def registry(self) -> Registry:
        return cast(Registry, self._begin("registry").result())

    @property
    def postgres(self) -> Postgres:
        return cast(Postgres, self._begin("postgres").result())

    def start(self) -> "Cluster":
        """Start what does not run yet, and return when all do. Raises the first failure, PartFailed or PartMissing."""
        for future in [self._begin(name) for name in self._makers]:
            future.result()
        return self

    def stop(self) -> None:
        """Stop what was started, all at once."""
        self._pool.shutdown()
        running = [future.result() for future in self._started.values() if future.exception() is None]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda part: part.stop(), running))

    def _begin(self, name: str) -> Future[Any]:
        with self._starting:
            if name not in self._started:
                self._started[name] = self._pool.submit(self._makers[name])
            return self._started[name]


def _java(available: Available, heap_mb: int) -> list[str]:
    """Return a Java command for processes that live for minutes: a bounded heap, a quick start, two cores."""
    return [
        str(available.place("java")),
        "-Xms64m",
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Djava.net.preferIPv4Stack=true",
    ]


def avro_oracle(available: Available, folder: Path) -> list[str]:
    """Compile AvroOracle.java beside the Avro that the converter brought, and return the command that runs it."""
    libraries = f"{available.place('avro-converter') / 'avro-converter'}/*"
    source = Path(__file__).with_name("AvroOracle.java")
    subprocess.run(["javac", "--release", "17", "-proc:none", "-cp", libraries, "-d", folder, source], check=True)
    return [*_java(available, heap_mb=256), "-cp", f"{folder}:{libraries}", "AvroOracle"]


def _kafka_java(available: Available, folder: Path, heap_mb: int) -> list[str]:
    logging = _log_settings(folder)
    libraries = available.place("kafka") / "libs"
    return [*_java(available, heap_mb), f"-Dlog4j2.configurationFile={logging}", "-cp", f"{libraries}/*"]


def _log_settings(folder: Path) -> Path:
    """Write what sends a JVM's log to its standard output, and return where it stands."""
    return _write_properties(
        folder / "log4j2.properties",
        {
            "appender.stdout.type": "Console",
            "appender.stdout.name": "STDOUT",
            "appender.stdout.layout.type": "PatternLayout",
            "appender.stdout.layout.pattern": "%d{HH:mm:ss.SSS} %p %m (%c{1})%n",
            "rootLogger.level": "INFO",
            "rootLogger.appenderRef.stdout.ref": "STDOUT",
        },
    )


def _write_properties(path: Path, properties: Mapping[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    return path


def _reload(path: Path, config: str, url: str) -> None:
    before = path.read_text()
    path.write_text(config)
    answer = requests.post(f"{url}/-/reload", timeout=10)
    if not answer.ok:
        path.write_text(before)
        raise requests.HTTPError(f"{url} refused the configuration: {answer.text.strip()}", response=answer)


def _get_json(url: str) -> Any:
    answer = requests.get(url, timeout=10)
    answer.raise_for_status()
    return answer.json()


def remove_folder(folder: Path) -> None:
    """Remove a scratch folder with all that the parts left in it."""
    shutil.rmtree(folder, ignore_errors=True)


class Certificates:
    """A CA of the test's own and what it signed, in PEM files; made by the `openssl` command.

    `server.pem` is for 127.0.0.1 and localhost, `elsewhere.pem` for another host, `client.pem` for User:cdc-oncall;
    the key of each stands beside it as `.key`, and `NAME.chain.pem` holds both, as Kafka wants its PEM key store.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.ca = folder, folder / "ca.pem"
        self._openssl("req", "-x509", *_NEW_KEY, "-subj", "/CN=cdc test CA", "-keyout", "ca.key", "-out", "ca.pem")
        self.sign("server", "/CN=kafka", "IP:127.0.0.1,DNS:localhost")
        self.sign("elsewhere", "/CN=elsewhere", "DNS:kafka.elsewhere.example")
        self.sign("client", "/CN=cdc-oncall")

    def sign(self, name: str, subject: str, hosts: str = "") -> None:
        """Write `NAME.pem`, `NAME.key` and `NAME.chain.pem`; an older certificate of that name is replaced."""
        self._openssl("req", *_NEW_KEY, "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        extension = self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName={hosts}\n" if hosts else "basicConstraints=CA:FALSE\n")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", extension.name)
        self._openssl("x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
        key, certificate = (self.folder / f"{name}.{end}" for end in ("key", "pem"))
        (self.folder / f"{name}.chain.pem").write_text(key.read_text() + certificate.read_text())

    def _openssl(self, *words: str) -> None:
        made = subprocess.run(["openssl", *words], cwd=self.folder, capture_output=True, text=True)
        if made.returncode != 0:
            raise PartFailed(f"openssl {words[0]}: {made.stderr[-2000:]}")


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class SecuredKafka(_Stoppable):
    """Kafka with an authorizer that grants nothing by default, and one listener per way to be secured.

    `sasl` (SASL_PLAINTEXT) and `sasl_tls` (SASL_SSL) know PLAIN and SCRAM-SHA-512, `mtls` (SSL) wants a client
    certificate, `elsewhere` (SASL_SSL) shows a certificate for another host. `admin` may do everything; `cdc-oncall`
    what it is granted. `set_password` changes a SCRAM password while it runs.
    """

    ADMIN, USER = "admin", "cdc-oncall"
    _LOGIN = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="admin" password="admin-secret" user_admin="admin-secret" user_cdc-oncall="oncall-secret";'
    )
    _SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    _LISTENERS: Mapping[str, str] = {
        "sasl": "SASL_PLAINTEXT",
        "sasl_tls": "SASL_SSL",
        "mtls": "SSL",
        "elsewhere": "SASL_SSL",
    }

    def __init__(self, available: Available, folder: Path, certificates: Certificates) -> None:
        addresses = {name: f"{HOST}:{free_port()}" for name in self._LISTENERS}
        self.sasl, self.sasl_tls, self.mtls, self.elsewhere = addresses.values()
        self.folder, self._java = folder, _kafka_java(available, folder, heap_mb=384)
        controller = f"{HOST}:{free_port()}"
        listeners = ",".join(f"{name.upper()}://{address}" for name, address in addresses.items())
        protocols = ",".join(f"{name.upper()}:{protocol}" for name, protocol in self._LISTENERS.items())
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"{listeners},CONTROLLER://{controller}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{protocols}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "SASL",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": "User:admin;User:ANONYMOUS",  # The controller's listener knows no users.
            "log.dirs": str(folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
        }
        for name, protocol in self._LISTENERS.items():
            prefix = f"listener.name.{name}"
            if "SASL" in protocol:
                settings[f"{prefix}.plain.sasl.jaas.config"] = self._LOGIN
                settings[f"{prefix}.scram-sha-512.sasl.jaas.config"] = self._SCRAM
            if "SSL" in protocol.replace("SASL", ""):
                shown = "elsewhere" if name == "elsewhere" else "server"
                settings[f"{prefix}.ssl.keystore.type"] = "PEM"
                settings[f"{prefix}.ssl.keystore.location"] = str(certificates.folder / f"{shown}.chain.pem")
                settings[f"{prefix}.ssl.truststore.type"] = "PEM"
                settings[f"{prefix}.ssl.truststore.location"] = str(certificates.ca)
                settings[f"{prefix}.ssl.client.auth"] = "required" if name == "mtls" else "none"
        settings["listener.name.mtls.ssl.principal.mapping.rules"] = r"RULE:^CN=([^,]*).*$/$1/"
        properties = _write_properties(folder / "server.properties", settings)
        storage = ["kafka.tools.StorageTool", "format", "-t", "cdc-oncall-secured-tests", "-c", str(properties)]
        self.run_tool(*storage)
        self.process = Process("Secured Kafka", [*self._java, "kafka.Kafka", properties], folder)
        self.process.wait_ready(self._answers, deadline_s=60)
        self.process.is_ready(available.place("kafka").name.removeprefix("kafka-"))

    def settings(self, user: str = USER, password: str = "oncall-secret") -> dict[str, str]:
        """Return librdkafka settings for the `sasl` listener with PLAIN."""
        return {
            "bootstrap.servers": self.sasl,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": password,
        }

    def admin_settings(self) -> dict[str, str]:
        return self.settings(self.ADMIN, "admin-secret")

    def admin(self) -> AdminClient:
        """Return a new admin client of the super user. Keep it while its futures run."""
        return AdminClient({**self.admin_settings(), "allow.auto.create.topics": False, "log_level": 0})

    def set_password(self, user: str, password: str) -> None:
        """Set the SCRAM-SHA-512 password of a user; the old one is refused from then on."""
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        admin = self.admin()
        change = UserScramCredentialUpsertion(user, credential, password.encode())
        for future in admin.alter_user_scram_credentials([change]).values():
            future.result(timeout=10)

    def command_config(self) -> Path:
        """Return a file for `--command-config` of Kafka's own tools: the super user's login."""
        login = self._LOGIN.partition(" user_admin")[0] + ";"
        return _write_properties(
            self.folder / "admin.properties",
            {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.jaas.config": login},
        )

    def run_tool(self, *words: str) -> str:
        """Run a class of Kafka's jars to its end; return what it printed. Raises PartFailed with that."""
        ran = subprocess.run([*self._java, *words], cwd=self.folder, capture_output=True, text=True, timeout=60)
        if ran.returncode != 0:
            raise PartFailed(f"{words[0]}: {ran.stdout[-1000:]}{ran.stderr[-1000:]}")
        return ran.stdout

    def tool(self, name: str, java_class: str) -> Path:
        """Write a command `name` that runs a class of Kafka's jars, as Kafka's bin folder has it; return its folder."""
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        command = programs / name
        command.write_text(f'#!/bin/sh\nexec {shlex.join(self._java)} {java_class} "$@"\n')
        command.chmod(0o755)
        return programs

    def _answers(self) -> bool:
        with socket.create_connection((HOST, int(self.sasl.split(":")[1])), timeout=1):
            pass
        try:
            return bool(self.admin().list_topics(timeout=5).brokers)
        except KafkaException:
            return False
