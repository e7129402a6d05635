"""The drill's lake: the table the sink writes to, and a switch that makes it unreachable."""

from __future__ import annotations

import threading
import time
from typing import Any

from starlette.routing import Route

from bot.drill.loopback import Answer, Call, route


class Lake:
    """One table in memory, upserted by id; while unreachable every write answers 503."""

    def __init__(self, table: str) -> None:
        self.table = table
        self._lock = threading.Lock()
        self._rows: dict[Any, dict[str, Any]] = {}
        self._commits = 0
        self._committed_at_s: float | None = None
        self.reachable = True

    def routes(self, prefix: str) -> list[Route]:
        """Read the table's facts, append rows, switch reachability."""
        here = f"{prefix}/tables/{self.table}"
        return [
            route("GET", here, lambda _: Answer(200, self.document())),
            route("POST", f"{here}/rows", self._append),
            route("PUT", f"{prefix}/reachable", self._switch),
        ]

    def document(self) -> dict[str, Any]:
        """Row count, columns seen, number of commits and the time of the last."""
        with self._lock:
            columns = list(dict.fromkeys(name for row in list(self._rows.values())[-1:] for name in row))
            return {
                "table": self.table,
                "reachable": self.reachable,
                "rows": len(self._rows),
                "columns": columns,
                "commits": self._commits,
                "committed_at_s": self._committed_at_s,
            }

    def _append(self, call: Call) -> Answer:
        if not self.reachable:
            return Answer(503, {"error": {"message": "Service Unavailable", "type": "ServiceUnavailableException"}})
        rows = call.document().get("rows") or []
        with self._lock:
            for row in rows:
                self._rows[row.get("id")] = row
            self._commits += 1
            self._committed_at_s = time.time()
        return Answer(200, {"rows": len(rows)})

    def _switch(self, call: Call) -> Answer:
        self.reachable = bool(call.document().get("reachable"))
        return Answer(200, self.document())
