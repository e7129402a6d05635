"""The runner: probes, plans, actions and verbs, each a task row.

Probes, plans, checks and verbs may be repeated: a row found `running` at start goes back. An action is at
most once: the row is claimed, its preconditions are read again, `ActionStarted` is committed, and only then
is the system asked, once. A start without an outcome is reported as unknown and never run again by itself.

Every remote call has a deadline; a failure of one task is an event or a note, never the end of its thread.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from bot import commands as verbs
from bot.actions import restart_failed_tasks, silence_alerts
from bot.actions.outcome import Outcome, Verification
from bot.dispatcher import Dispatcher
from bot.incident import commands as c
from bot.incident import events as e
from bot.incident.decisions import MISSED
from bot.incident.facts import failing_since
from bot.incident.notification import Alert, Notification
from bot.incident.policy import Policy
from bot.incident.refusals import Refusals, read_ledger, refusals_of
from bot.incident.state import ActionState, Incident
from bot.model import Finding, Pipeline, Plan, Refusal, Status
from bot.ports import Alertmanager, Connect, LiveAlert, Matcher, PortError
from bot.probes.connector_state import connector_of
from bot.probes.sources import Sources
from bot.probes.table import PROBES
from bot.report import Report
from bot.store.sqlite import Store, TaskRow

log = logging.getLogger("cdc.runner")

VERIFY_FOR = timedelta(seconds=90)
ATTEMPTS = 3
POOLS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "probe": (("probe", "recovery", "fetch-group"), 4),
    "action": (("plan", "action", "verify"), 3),
    "verb": (("verb",), 4),
}
REPORTS: TypeAdapter[Report] = TypeAdapter(Report)
Absent = dict[tuple[str, str, datetime], tuple[datetime, str]]


@dataclass(frozen=True)
class World:
    """The systems as the runner reaches them. `connect` is the one for actions, with its own credentials.

    `absent_for`: an alert that Alertmanager lists no more for so long has ended. Longer than a restarted
    Alertmanager needs to hear of everything again (Prometheus repeats each minute).
    """

    sources: Sources
    connect: Connect | None
    alertmanagers: Mapping[str, Alertmanager]
    verify_every_s: float = 3.0
    deadline_s: float = 8.0
    absent_for: timedelta = timedelta(seconds=150)


class Runner:
    """Runs claimed tasks; `run_one` is what each worker thread repeats."""

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        world: World,
        policy: Callable[[], Policy],
        clock: Callable[[], datetime],
        executor: Executor,
        count_error: Callable[[str], None],
    ) -> None:
        self._store, self._dispatcher, self._world = store, dispatcher, world
        self._policy, self._clock, self._executor, self._count_error = policy, clock, executor, count_error
        self._absent: dict[str, Absent] = {}
        self._suppressed: dict[str, str] = {}
        self._adopted: set[str] = set()
        self._reconciling = threading.Lock()
        self._recovering = threading.Lock()
        self._recovered = False
        self._owed: deque[tuple[TaskRow, Exception]] = deque()

    def recover(self) -> None:
        """At start: put repeatable tasks back, and say of every action that was on its way that nobody knows.

        When the journal cannot be written now, no task is run before it could be done: see `run_one`.
        """
        for task in self._store.running_tasks():
            if task.kind != "action":
                self._dispatcher.again(task, 0.0, task.body, "put back at start")
                continue
            key = str(task.body["key"])
            incident = self._dispatcher.incident(task.incident)
            action = incident.action(key) if incident else None
            if action is not None and action.status == "confirmed":
                self._dispatcher.again(task, 0.0, task.body, "not started before the restart")
            else:
                detail = "the bot stopped while the request was on its way: look whether it was carried out"
                self._dispatcher.settle(task, c.ReportOutcome(key, None, detail))
        self._recovered = True

    def run_one(self, kinds: Sequence[str]) -> bool:
        """Claim and run the next task; return False when none is due."""
        if not self._recovered:
            with self._recovering:
                if not self._recovered:
                    self.recover()
        self._settle_owed()
        task = self._store.claim_task(kinds, self._clock())
        if task is None:
            return False
        try:
            self._run(task)
        except Exception as error:
            log.exception("task %s failed", task.key)
            self._count_error(f"task:{task.kind}")
            self._owed.append((task, error))
            self._settle_owed()
        return True

    def _settle_owed(self) -> None:
        """Tell of failed tasks; what the journal does not take now is told at the next look, not at the next start."""
        while self._owed:
            try:
                task, error = self._owed.popleft()
            except IndexError:
                return  # another thread was faster
            try:
                self._fail(task, error)
            except BaseException:
                self._owed.appendleft((task, error))
                raise

    def _fail(self, task: TaskRow, error: Exception) -> None:
        """A defect of ours: an action's outcome is unknown, a repeatable task is tried a few times more.

        Who waits for a plan or an answer is told in the end; nothing ends in silence.
        """
        note = f"{type(error).__name__}: {error}"
        if task.kind == "action":
            self._dispatcher.settle(task, self._action_failed(task, note), note=note)
        elif task.kind == "recovery" or task.attempts < ATTEMPTS:  # an open incident is looked after to its end
            self._dispatcher.again(task, min(5.0 * task.attempts, 120.0), task.body, note)
        elif task.kind == "plan":
            self._dispatcher.settle(task, _no_plan(task.body, f"Not planned: {note}. Nothing was changed."), note=note)
        elif task.kind == "verify":
            report = c.ReportVerification(str(task.body["key"]), False, (f"not verified: {note}",))
            self._dispatcher.settle(task, report, note=note)
        elif task.kind == "verb":
            text = f"`{task.body['verb']}` failed: {note}. Nothing was changed; the bot's log has the details."
            self._dispatcher.settle(task, None, note=note, answer=_answer_to(task.body, {"text": text}))
        else:
            self._dispatcher.settle(task, None, note=note)

    def _action_failed(self, task: TaskRow, note: str) -> c.TaskCommand:
        """Return what to say of an action that we failed on: before its start nothing was asked of anyone."""
        key = str(task.body["key"])
        incident = self._dispatcher.incident(task.incident)
        action = incident.action(key) if incident else None
        if action is not None and action.status == "confirmed":
            return c.StartAction(key, f"Not started: {note}. Nothing was changed.")
        return c.ReportOutcome(key, None, note)

    def _run(self, task: TaskRow) -> None:
        if task.kind == "verb":
            self._verb(task)
            return
        incident = self._dispatcher.incident(task.incident)
        if incident is None:
            self._dispatcher.settle(task, None, note="no such incident")
        elif task.kind == "probe":
            self._probe(task, incident)
        elif task.kind == "recovery":
            self._recovery(task, incident)
        elif task.kind == "fetch-group":
            self._fetch_group(task)
        elif task.kind == "plan":
            self._plan(task, incident)
        elif task.kind == "action":
            self._action(task, incident)
        elif task.kind == "verify":
            self._verify(task, incident)
        else:
            self._dispatcher.settle(task, None, note=f"unknown kind {task.kind}")

    # --- probes ---

    def sources(self) -> Sources:
        """The probes' view of the world, with what we ourselves saw first."""
        return replace(
            self._world.sources, first_seen=self._store.seen_versions(), refusals_of=self._refusals_of, remembers=True
        )

    def _refusals_of(self, pipeline: str) -> tuple[Refusals, ...]:
        ledger = read_ledger(self._store.refusals())
        return tuple(refusals_of(ledger, pipeline, self._policy(), self._clock()))

    def _probe(self, task: TaskRow, incident: Incident) -> None:
        pipeline = self._policy().pipeline(incident.pipeline)
        if pipeline is None:
            self._dispatcher.settle(task, None, note="no pipeline")
            return
        sources = replace(self.sources(), failing_since=failing_since(incident))
        findings = PROBES[str(task.body["probe"])](sources, pipeline, self._clock)
        self._note_versions(findings)
        self._dispatcher.settle(task, c.ReportFindings(tuple(findings)))

    def probe_all(self, pipeline: Pipeline, since: datetime | None = None) -> tuple[Finding, ...]:
        """Run every probe of a pipeline in parallel, each with its own deadline; `since` is when it first failed."""
        sources = replace(self.sources(), failing_since=since)
        futures = [self._executor.submit(probe, sources, pipeline, self._clock) for probe in PROBES.values()]
        # No `concurrent.futures.wait`: it never wakes for a future that the executor cancelled when it was shut down.
        findings = tuple(finding for future in futures for finding in future.result())
        self._note_versions(findings)
        return findings

    def _note_versions(self, findings: Sequence[Finding]) -> None:
        """Remember when a registered version was first seen, for registries that keep no time."""
        known = self._store.seen_versions()
        for finding in findings:
            versions = finding.facts.get("versions", ()) if "subject" in finding.facts else ()
            pairs = [(str(finding.facts["subject"]), int(version["version"])) for version in versions]
            if fresh := [pair for pair in pairs if pair not in known]:
                self._store.first_seen(fresh, finding.at)

    def _recovery(self, task: TaskRow, incident: Incident) -> None:
        pipeline = self._policy().pipeline(incident.pipeline)
        if not incident.is_open:
            self._dispatcher.settle(task, None, note="resolved")
            return
        findings = self.probe_all(pipeline, failing_since(incident)) if pipeline else ()
        self._dispatcher.settle(task, c.ReportRecovery(findings))

    # --- verbs ---

    def _verb(self, task: TaskRow) -> None:
        query = verbs.Query(str(task.body["verb"]), task.body["arguments"])
        report = self.answer(query)
        document = {"report": REPORTS.dump_python(report, mode="json")}
        self._dispatcher.settle(task, None, answer=_answer_to(task.body, document))

    def answer(self, query: verbs.Query) -> Report:
        policy = self._policy()
        return verbs.answer(
            query, self.sources(), tuple(policy.pipelines.values()), self._dispatcher.board(), self._clock(),
            lambda incident_id: tuple(entry for _, entry in self._store.entries(incident_id)), policy.command,
        )  # fmt: skip

    # --- actions ---

    def _plan(self, task: TaskRow, incident: Incident) -> None:
        body = task.body
        who = e.Who(body["who"]["id"], body["who"]["name"])
        planned, before = self._planned(str(body["action"]), incident, body["arguments"], who)
        refused = str(planned) if isinstance(planned, Refusal) else ""
        plan = None if isinstance(planned, Refusal) else replace(planned, hash=hash_of(planned))
        report = c.ReportPlan(
            str(body["key"]), body["step"], str(body["guard"]), plan, refused, str(body["action"]), who, before
        )
        self._dispatcher.settle(task, report)

    def _planned(
        self, action: str, incident: Incident, arguments: Mapping[str, Any], who: e.Who
    ) -> tuple[Plan | Refusal, tuple[Finding, ...]]:
        pipeline = self._policy().pipeline(incident.pipeline)
        if action == silence_alerts.NAME:
            return self._planned_silence(incident, arguments, who), ()
        if pipeline is None:
            return Refusal("Not planned: this incident names no pipeline of cdc.yml. Nothing was changed."), ()
        found = self._connector_to_restart(pipeline, arguments.get("connector"))
        planned = restart_failed_tasks.plan(found, pipeline)
        broken = incident.worst.get((found.probe, found.target))
        return planned, ((found,) if broken is None else (broken, found))

    def _connector_to_restart(self, pipeline: Pipeline, wanted: object) -> Finding:
        """Return the finding of the named connector, else of the first that has something FAILED."""
        names = [str(wanted)] if wanted else list(pipeline.connectors)
        found = [self._look_at(name, pipeline) for name in names]
        broken = [f for f in found if f.status is Status.RED]
        return (broken or found)[0]

    def _look_at(self, connector: str, pipeline: Pipeline | None) -> Finding:
        topics, of = (pipeline.topics, pipeline.name) if pipeline else ((), "")
        return connector_of(self.sources(), connector, self._clock, topics, pipeline=of)

    def _planned_silence(self, incident: Incident, arguments: Mapping[str, Any], who: e.Who) -> Plan | Refusal:
        matchers = silence_alerts.matchers_for(incident)
        alertmanager = self._alertmanager_of(incident)
        if alertmanager is None:
            return Refusal("Not planned: no Alertmanager API is configured for these alerts. Nothing was changed.")
        try:
            hit = alertmanager.read_alerts(matchers, self._world.deadline_s) if matchers else ()
        except PortError as error:
            return Refusal(f"Not planned: {error}. Nothing was changed.")
        return silence_alerts.plan(incident, hit, matchers, who, arguments)

    def _alertmanager_of(self, incident: Incident) -> Alertmanager | None:
        """Only a configured Alertmanager is ever asked; a payload's own URL is compared, never fetched."""
        for alert in incident.alerts:
            if found := self._world.alertmanagers.get(alert.source):
                return found
        return None

    def _action(self, task: TaskRow, incident: Incident) -> None:
        key = str(task.body["key"])
        action = incident.action(key)
        if action is None or action.status != "confirmed":
            self._dispatcher.settle(task, None, note="not waiting to be run")
            return
        refused = self._precondition(action, incident)
        started = self._dispatcher.settle(task, c.StartAction(key, refused), ended=False)
        if started.refusal is not None:
            return
        outcome = self._act(action, incident)
        self._dispatcher.settle(task, c.ReportOutcome(key, outcome.succeeded, outcome.detail, outcome.result))

    def _precondition(self, action: ActionState, incident: Incident) -> str:
        if action.plan.action == silence_alerts.NAME:
            return "" if incident.is_open else "Not silenced: the incident is resolved. Nothing was changed."
        pipeline = self._policy().pipeline(incident.pipeline)
        return restart_failed_tasks.still_holds(self._look_at(action.plan.target, pipeline))

    def _act(self, action: ActionState, incident: Incident) -> Outcome:
        if action.plan.action == silence_alerts.NAME:
            alertmanager = self._alertmanager_of(incident)
            if alertmanager is None:
                return Outcome(False, "Not silenced: no Alertmanager API is configured for these alerts")
            return silence_alerts.run(alertmanager, action.plan, self._clock(), self._world.deadline_s)
        if self._world.connect is None:
            return Outcome(False, "Not restarted: no Connect is configured")
        return restart_failed_tasks.run(self._world.connect, action.plan, self._world.deadline_s)

    def _verify(self, task: TaskRow, incident: Incident) -> None:
        action = incident.action(str(task.body["key"]))
        if action is None or action.finished_at is None or action.verified is not None:
            self._dispatcher.settle(task, None, note="nothing to verify")
            return
        verification, findings = self._seen(action, incident, bool(task.body.get("green")))
        verified, evidence = verification.verified, verification.evidence
        if verified is None and self._clock() - action.finished_at < VERIFY_FOR:
            green = bool(findings) and findings[0].status is Status.GREEN
            self._dispatcher.again(task, self._world.verify_every_s, {**task.body, "green": green}, evidence[0])
            return
        if verified is None:
            evidence = (f"not verified within {VERIFY_FOR.total_seconds():.0f} s", *evidence)
        report = c.ReportVerification(action.key, bool(verified), evidence, findings)
        self._dispatcher.settle(task, report)

    def _seen(
        self, action: ActionState, incident: Incident, green_before: bool
    ) -> tuple[Verification, tuple[Finding, ...]]:
        if action.plan.action == silence_alerts.NAME:
            alertmanager = self._alertmanager_of(incident)
            if alertmanager is None:
                return Verification(None, ("no Alertmanager API is configured",)), ()
            silence = str(action.result.get("silence", ""))
            return silence_alerts.verify(alertmanager, silence, self._world.deadline_s), ()
        pipeline = self._policy().pipeline(incident.pipeline)
        now = self._look_at(action.plan.target, pipeline)
        before = action.before[0] if action.before else None
        since_s = (self._clock() - action.finished_at).total_seconds() if action.finished_at else 0.0
        return restart_failed_tasks.verify(before, now, green_before, since_s), (now,)

    # --- Alertmanager's own word ---

    def _fetch_group(self, task: TaskRow) -> None:
        """Alertmanager cut its list: take the whole group from its API, from a configured address only."""
        body = task.body
        alertmanager = self._world.alertmanagers.get(str(body["source"]))
        if alertmanager is None:
            self._dispatcher.settle(task, None, note=f"{body['source']} is not a configured Alertmanager")
            return
        matchers = [Matcher(name, value) for name, value in body["group_labels"].items()]
        try:
            live = alertmanager.read_alerts(matchers, self._world.deadline_s)
        except PortError as error:
            self._dispatcher.again(task, 15.0, body, str(error))
            return
        active = [alert for alert in live if alert.state == "active"]
        whole = Notification(
            str(body["receiver"]), str(body["group_key"]), body["group_labels"], str(body["source"]), 0,
            tuple(_heard(alert) for alert in active),
        )  # fmt: skip
        self._dispatcher.reconcile({}, "", [whole] if active else [])
        self._dispatcher.settle(task, c.ReportGroup(whole.group_key), note=f"{len(active)} alerts of the group")

    def reconcile(self) -> None:
        """Compare what fires here with what each configured Alertmanager lists.

        No message is not "still firing", and a single absence is not the end (Alertmanager itself may have
        restarted): an alert is ended when it was absent at every look for `absent_for`.
        """
        with self._reconciling:
            for source, alertmanager in self._world.alertmanagers.items():
                try:
                    live = alertmanager.read_alerts((), self._world.deadline_s)
                except PortError as error:
                    log.warning("reconcile: %s", error)
                    self._count_error("reconcile")
                    continue
                self._compare(source, live)

    def _compare(self, source: str, live: Sequence[LiveAlert]) -> None:
        now = self._clock()
        listed = {alert.fingerprint: alert for alert in live}
        for alert in live:
            if alert.state == "suppressed":
                self._suppressed[alert.fingerprint] = "silenced" if alert.silenced_by else "inhibited"
            else:
                self._suppressed.pop(alert.fingerprint, None)
        gone: dict[str, dict[str, list[tuple[str, datetime]]]] = {}
        before, absent = self._absent.get(source, {}), Absent()
        for incident in self._dispatcher.board().open():
            for known in incident.firing:
                if known.source != source or known.fingerprint in listed:
                    continue
                key = (incident.id, known.fingerprint, known.starts_at)
                since, why = before.get(key, (now, self._suppressed.get(known.fingerprint, "")))
                if now - since >= self._world.absent_for:
                    reason = "ended, no resolve was sent" + (f" ({why})" if why else "")
                    gone.setdefault(reason, {}).setdefault(incident.id, []).append((known.fingerprint, known.starts_at))
                else:
                    absent[key] = (since, why)
        self._absent[source] = absent
        for reason, episodes in gone.items():
            self._dispatcher.reconcile(episodes, reason, ())
        if source not in self._adopted:
            self._adopt_missed(source, live)

    def _adopt_missed(self, source: str, live: Sequence[LiveAlert]) -> None:
        """At the first look after a start: take in what fires for our receivers and was never told to us."""
        self._adopted.add(source)
        receivers = self._store.receivers()
        board = self._dispatcher.board()
        missed = [
            alert
            for alert in live
            if alert.state == "active"
            and receivers.intersection(alert.receivers)
            and not any(i.alert(alert.fingerprint, alert.starts_at) for i in board.with_fingerprint(alert.fingerprint))
        ]
        for alert in missed:
            receiver = next(name for name in alert.receivers if name in receivers)
            notification = Notification(
                receiver, f"missed:{alert.fingerprint}", {}, source, 0, (_heard(alert),), reason=MISSED
            )  # fmt: skip
            self._dispatcher.reconcile({}, "", [notification])


def _heard(alert: LiveAlert) -> Alert:
    return Alert(
        alert.fingerprint, "firing", alert.labels, alert.annotations, alert.starts_at, None, alert.generator_url
    )  # fmt: skip


def _answer_to(body: Mapping[str, Any], said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an answer for the person who asked, by the way the question came."""
    where = {"response_url": body.get("response_url"), "channel": body.get("channel"), "user": body["user"]["id"]}
    return {**said, **where}


def _no_plan(body: Mapping[str, Any], reason: str) -> c.ReportPlan:
    who = e.Who(body["who"]["id"], body["who"]["name"])
    return c.ReportPlan(str(body["key"]), body["step"], str(body["guard"]), None, reason, str(body["action"]), who)


def hash_of(plan: Plan) -> str:
    """Return what an approval is bound to: the first 16 digits of the SHA-256 of everything the plan says."""
    text = json.dumps(asdict(replace(plan, hash="")), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
