"""The drill's Kafka Connect: the worker's REST API over tasks that really run.

A connector here has one task on a thread. A task that fails is FAILED with its trace and
stays so: Connect does not restart tasks by itself. A restart answers RESTARTING at once,
shows RUNNING a moment later, and fails again when the cause is still there.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.drill.connectors import Task, TaskFailed
from bot.drill.loopback import Answer, Call, LoopbackServer, route

VERSION = "4.1.1"
RESTART_DELAY_S = 0.3


@dataclass
class Connector:
    """A connector and its one task; guarded by the worker's lock."""

    name: str
    type: str
    config: dict[str, str]
    task: Task
    topics: tuple[str, ...]
    state: str = "UNASSIGNED"
    task_state: str = "UNASSIGNED"
    trace: str | None = None
    end: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class ConnectError(Exception):
    """An error document of the REST API."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class ConnectWorker:
    """A Connect worker on 127.0.0.1."""

    def __init__(self, cluster_id: str) -> None:
        self._lock = threading.RLock()
        self._connectors: dict[str, Connector] = {}
        self._cluster_id = cluster_id
        self._rebalancing = 0
        self._server = LoopbackServer("Kafka Connect", self._routes())
        self.url = self._server.url
        self._worker_id = f"127.0.0.1:{self._server.port}"

    def start(self) -> ConnectWorker:
        """Serve."""
        self._server.start()
        return self

    def stop(self) -> None:
        """End every task, then the server."""
        for connector in list(self._connectors.values()):
            self._end_task(connector)
        self._server.stop()

    def add(self, name: str, kind: str, config: Mapping[str, str], task: Task, topics: tuple[str, ...]) -> None:
        """Create a connector of type `source` or `sink` and run its task."""
        connector = Connector(name, kind, {"name": name, **config}, task, topics, state="RUNNING")
        with self._lock:
            self._connectors[name] = connector
        self._run_task(connector, 0.0)

    def rebalance(self, calls: int) -> None:
        """Answer the next changing calls with 409, as during a rebalance."""
        self._rebalancing = calls

    def states(self) -> dict[str, tuple[str, ...]]:
        """The state of each connector and of its task."""
        with self._lock:
            return {name: (one.state, one.task_state) for name, one in self._connectors.items()}

    # -- tasks ---------------------------------------------------------------------------

    def _run_task(self, connector: Connector, after_s: float) -> None:
        self._end_task(connector)
        end = threading.Event()
        with self._lock:
            connector.end = end
            connector.task_state = "RESTARTING" if after_s else "UNASSIGNED"
            connector.thread = threading.Thread(
                target=self._work, args=(connector, end, after_s), name=f"drill-{connector.name}", daemon=True
            )
            connector.thread.start()

    def _end_task(self, connector: Connector) -> None:
        connector.end.set()
        thread = connector.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=10)

    def _work(self, connector: Connector, end: threading.Event, after_s: float) -> None:
        if after_s and end.wait(after_s):
            return
        try:
            connector.task.open()
            self._set_task(connector, end, "RUNNING", None)
            while not end.is_set():
                if connector.state == "PAUSED":
                    end.wait(0.05)
                    continue
                connector.task.step()
        except TaskFailed as failed:
            self._set_task(connector, end, "FAILED", failed.trace)
        except Exception:
            # The thread's edge: whatever a task did not foresee is its trace, as in a real worker.
            self._set_task(connector, end, "FAILED", traceback.format_exc())
        finally:
            connector.task.close()

    def _set_task(self, connector: Connector, end: threading.Event, state: str, trace: str | None) -> None:
        with self._lock:
            if connector.end is not end:
                return
            paused = state == "RUNNING" and connector.state == "PAUSED"
            connector.task_state = "PAUSED" if paused else state
            connector.trace = trace

    # -- routes --------------------------------------------------------------------------

    def _routes(self) -> list[Any]:
        rows: tuple[tuple[str, str, Callable[[Call], Answer]], ...] = (
            ("GET", "/", lambda _: Answer(200, self._root())),
            ("GET", "/connector-plugins", lambda _: Answer(200, self._plugins())),
            ("GET", "/connectors", self._list),
            ("GET", "/connectors/{name}", lambda call: Answer(200, self._info(self._find(call)))),
            ("GET", "/connectors/{name}/status", lambda call: Answer(200, self._status(self._find(call, "status")))),
            ("GET", "/connectors/{name}/config", lambda call: Answer(200, self._find(call).config)),
            ("PUT", "/connectors/{name}/config", self._put_config),
            ("GET", "/connectors/{name}/tasks", lambda call: Answer(200, self._tasks(self._find(call)))),
            ("GET", "/connectors/{name}/tasks/{task}/status", self._task_status),
            ("GET", "/connectors/{name}/topics", self._topics),
            ("GET", "/connectors/{name}/offsets", lambda c: Answer(200, {"offsets": self._find(c).task.offsets()})),
            ("POST", "/connectors/{name}/restart", self._restart),
            ("POST", "/connectors/{name}/tasks/{task}/restart", self._restart_task),
            ("PUT", "/connectors/{name}/pause", lambda call: self._change_state(call, "PAUSED")),
            ("PUT", "/connectors/{name}/resume", lambda call: self._change_state(call, "RUNNING")),
            ("PUT", "/connectors/{name}/stop", lambda call: self._change_state(call, "STOPPED")),
        )
        return [route(method, path, _answering(run)) for method, path, run in rows]

    def _find(self, call: Call, what: str = "connector") -> Connector:
        name = call.params["name"]
        with self._lock:
            found = self._connectors.get(name)
        if found is None:
            raise ConnectError(
                404, f"No status found for connector {name}" if what == "status" else f"Connector {name} not found"
            )
        return found

    def _may_change(self) -> None:
        if self._rebalancing > 0:
            self._rebalancing -= 1
            raise ConnectError(
                409, "Cannot complete request momentarily due to stale configuration (typically caused by a "
                "concurrent config change)"
            )  # fmt: skip

    def _root(self) -> dict[str, str]:
        return {"version": VERSION, "commit": "be816b82d25370ce", "kafka_cluster_id": self._cluster_id}

    def _plugins(self) -> list[dict[str, str]]:
        """What is installed is what its connectors are of; the version is the worker's."""
        with self._lock:
            connectors = list(self._connectors.values())
        return [{"class": one.config["connector.class"], "type": one.type, "version": VERSION} for one in connectors]

    def _list(self, call: Call) -> Answer:
        expand = [value for name, value in call.query_pairs if name == "expand"]
        with self._lock:
            connectors = dict(self._connectors)
        if not expand:
            return Answer(200, list(connectors))
        shown: dict[str, dict[str, Any]] = {}
        for name, connector in connectors.items():
            shown[name] = {}
            if "status" in expand:
                shown[name]["status"] = self._status(connector)
            if "info" in expand:
                shown[name]["info"] = self._info(connector)
        return Answer(200, shown)

    def _info(self, connector: Connector) -> dict[str, Any]:
        stopped = connector.state == "STOPPED"
        return {
            "name": connector.name,
            "config": connector.config,
            "tasks": [] if stopped else [{"connector": connector.name, "task": 0}],
            "type": connector.type,
        }

    def _status(self, connector: Connector) -> dict[str, Any]:
        with self._lock:
            task: dict[str, Any] = {"id": 0, "state": connector.task_state, "worker_id": self._worker_id}
            if connector.trace is not None and connector.task_state == "FAILED":
                task["trace"] = connector.trace
            return {
                "name": connector.name,
                "connector": {"state": connector.state, "worker_id": self._worker_id},
                "tasks": [] if connector.state == "STOPPED" else [task],
                "type": connector.type,
            }

    def _tasks(self, connector: Connector) -> list[dict[str, Any]]:
        return [{"id": one, "config": connector.config} for one in self._info(connector)["tasks"]]

    def _task_status(self, call: Call) -> Answer:
        connector = self._find(call)
        tasks = self._status(connector)["tasks"]
        if call.params["task"] != "0" or not tasks:
            raise ConnectError(404, f"No status found for task {connector.name}-{call.params['task']}")
        return Answer(200, tasks[0])

    def _topics(self, call: Call) -> Answer:
        connector = self._find(call)
        return Answer(200, {connector.name: {"topics": list(connector.topics)}})

    def _put_config(self, call: Call) -> Answer:
        connector = self._find(call)
        self._may_change()
        connector.config = {str(name): str(value) for name, value in call.document().items()} | {"name": connector.name}
        self._run_task(connector, RESTART_DELAY_S)
        return Answer(200, self._info(connector))

    def _restart(self, call: Call) -> Answer:
        connector = self._find(call)
        self._may_change()
        include_tasks = call.query.get("includeTasks") == "true"
        only_failed = call.query.get("onlyFailed") == "true"
        if not include_tasks and not only_failed:
            return Answer(204)
        if include_tasks and (not only_failed or connector.task_state == "FAILED"):
            self._run_task(connector, RESTART_DELAY_S)
        return Answer(202, self._status(connector))

    def _restart_task(self, call: Call) -> Answer:
        connector = self._find(call)
        self._may_change()
        if call.params["task"] != "0" or connector.state == "STOPPED":
            raise ConnectError(404, f"Unknown task: {connector.name}-{call.params['task']}")
        self._run_task(connector, RESTART_DELAY_S)
        return Answer(204)

    def _change_state(self, call: Call, state: str) -> Answer:
        connector = self._find(call)
        self._may_change()
        before = connector.state
        with self._lock:
            connector.state = state
            if connector.task_state in ("RUNNING", "PAUSED") and state in ("RUNNING", "PAUSED"):
                connector.task_state = state
        if state == "STOPPED":
            self._end_task(connector)
            connector.task_state = "UNASSIGNED"
        elif before == "STOPPED":
            self._run_task(connector, RESTART_DELAY_S)
        return Answer(202)


def wait_for_state(worker: ConnectWorker, name: str, state: str, timeout_s: float) -> bool:
    """Wait until a connector's task is in a state; false when it was not in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if worker.states()[name][1] == state:
            return True
        time.sleep(0.02)
    return False


def _answering(run: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
    def handler(call: Call) -> Answer:
        try:
            return run(call)
        except ConnectError as error:
            return Answer(error.status, {"error_code": error.status, "message": error.message})

    return handler
