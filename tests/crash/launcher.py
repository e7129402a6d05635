"""The bot as a process that kills itself at one of its commits.

`python -m tests.crash.launcher` reads the environment:

    CDC_CRASH_CONFIG   the cdc.yml to serve
    CDC_CRASH_AT       where to die: `17:before` is the 17th commit of this process, `NAME#2:after` the 2nd commit
                       of the call site NAME; empty is never
    CDC_CRASH_LOG      a file that gets one line for each side of each commit: `17 before NAME`
    CDC_CRASH_CLOCK    a file holding seconds by which the bot's clock is ahead: the test lets time pass with it

The death is SIGKILL by its own hand, inside the store's commit: no handler, no flush, no goodbye. A call site is
the chain of functions of bot/ on the stack, innermost first, so a commit somebody adds tomorrow is a new one.

With `--zygote` the imports are paid once: each line of standard input is an environment as JSON, for which a
child is forked; its pid and later `exit STATUS` are printed. The child is as real a process as any.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import bot
import bot.app

BOT = str(Path(bot.__file__).parent)
UNTOLD = ("Store._commit", "Store._transaction", "Store.deciding")
POLL_S = 0.03


def call_site() -> str:
    """Return the functions of bot/ that lead to this commit, innermost first; the thread's own loop is left out."""
    names = []
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        told = code.co_filename.startswith(BOT) and code.co_qualname not in UNTOLD
        if told and not code.co_qualname.startswith(("Bot.", "start_bot")):
            names.append(code.co_qualname)
        frame = frame.f_back
    return "<".join(names) or "start"


class CrashPoint:
    """What `Store` calls on both sides of each commit; commits of one process come one at a time."""

    def __init__(self, at: str, log: Path) -> None:
        self._at = at
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._ordinal = 0
        self._of_site: Counter[str] = Counter()

    def __call__(self, moment: str) -> None:
        site = call_site()
        if moment == "before":
            self._ordinal += 1
            self._of_site[site] += 1
        os.write(self._log, f"{self._ordinal} {moment} {site}\n".encode())
        if self._at in (f"{self._ordinal}:{moment}", f"{site}#{self._of_site[site]}:{moment}"):
            os.kill(os.getpid(), signal.SIGKILL)


def ahead(own: Callable[[], datetime], file: Path) -> Callable[[], datetime]:
    """Return a clock that runs as many seconds ahead as the file says."""
    opened = os.open(file, os.O_RDONLY)
    return lambda: own() + timedelta(seconds=float(os.pread(opened, 32, 0) or 0))


def main() -> None:
    """Start the bot of the environment and serve until killed."""
    bot.app.clock = ahead(bot.app.clock, Path(os.environ["CDC_CRASH_CLOCK"]))
    bot.app.POLL_S = POLL_S
    point = CrashPoint(os.environ.get("CDC_CRASH_AT", ""), Path(os.environ["CDC_CRASH_LOG"]))
    bot.app.start_bot(Path(os.environ["CDC_CRASH_CONFIG"]), os.environ, point)
    threading.Event().wait()


def zygote() -> None:
    """Fork a bot for each line of standard input."""
    import_all()
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            child(json.loads(line))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"exit {status}", flush=True)


def child(environ: dict[str, str]) -> None:
    os.environ.update(environ)
    said = os.open(f"{environ['CDC_CRASH_LOG']}.out", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for own, other in ((0, nothing), (1, said), (2, said)):
        os.dup2(other, own)
    try:
        main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def import_all() -> None:
    """Import what a bot imports when it starts, so that a child does not have to."""
    import apscheduler.schedulers.background  # noqa: F401
    import starlette.applications  # noqa: F401
    import uvicorn
    import uvicorn.lifespan.off
    import uvicorn.loops.auto
    import uvicorn.protocols.http.auto  # noqa: F401

    import bot.clients.alertmanager
    import bot.clients.connect
    import bot.clients.slack
    import bot.config
    import bot.edge.slack
    import bot.edge.web
    import bot.incident.facts
    import bot.monitor
    import bot.outbox
    import bot.render.answers
    import bot.render.cards
    import bot.render.postmortem
    import bot.runner
    import bot.store.sqlite  # noqa: F401


if __name__ == "__main__":
    zygote() if "--zygote" in sys.argv else main()
