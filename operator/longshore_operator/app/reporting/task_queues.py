"""Writes the status of TaskQueues when it has changed, and posts Events on transitions."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from longshore.contract.names import dead_queue_name
from longshore.contract.reports import WorkerReport
from longshore_operator.api.v1alpha1 import (
    Condition,
    Jobs,
    ScalingStatus,
    TaskQueueStatus,
    Workers,
)
from longshore_operator.app.ports.kubernetes import Reportable
from longshore_operator.app.ports.workloads import ListedWorkers
from longshore_operator.app.reconciling.state import Reconciled
from longshore_operator.app.reporting.state import Reported, Seen
from longshore_operator.app.scaling.state import Scaled
from longshore_operator.app.sessions.keeper import CONNECTING
from longshore_operator.app.sessions.session import Session, Sessions
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key
from longshore_operator.core.kubernetes.pods import Pod, crash_of
from longshore_operator.core.scaling.sight import asked_for
from longshore_operator.core.status import (
    INVALID_SPEC,
    PASSING,
    TOLD,
    Facts,
    conditions,
    derived_timeouts,
    merge_patch,
    priorities,
)
from longshore_operator.trouble import Trouble

NUMBERS_EVERY = 5.0
"""Mean seconds between two writes that change only numbers. The numbers of a busy queue change all
the time, and a write costs as much as ten looks at a queue."""


TELL_AGAIN_AFTER = 60.0
"""Seconds within which one reason of a condition causes one Event, whatever happens in between."""

_REPEATED = frozenset({"Ready", "WorkersReady", "ScalingActive"})
"""Conditions whose reasons may alternate although nothing has been repaired."""


@dataclass(slots=True, kw_only=True)
class TaskQueueStatuses:
    """The only writer of TaskQueues' status. `now` gives RFC 3339, `clock` is monotonic,
    `chance` uniform in [0, 1)."""

    workloads: ListedWorkers
    brokers: Sessions
    cluster: Reportable
    now: Callable[[], str]
    clock: Callable[[], float]
    chance: Callable[[], float]
    reconciled: Callable[[Key, TaskQueueObject], Reconciled]
    scaled: Callable[[Key, TaskQueueObject], Scaled]

    def is_written(self, key: Key, task_queue: TaskQueueObject, reported: Reported) -> bool:
        """Return whether the status already says all this."""
        return reported.written == self._seen(key, task_queue)

    async def write(self, key: Key, task_queue: TaskQueueObject, reported: Reported) -> None:
        """Bring the status up to date with one patch, or with none. Raises Transient, Invalid."""
        seen = self._seen(key, task_queue)
        facts = seen.facts
        if seen == reported.written or _is_passing(facts, is_new=not task_queue.raw_status):
            return  # a verdict will follow in a moment; the old status stands until then
        status = self._status(seen, reported)
        after = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        patch = merge_patch(task_queue.raw_status, after)
        if not patch:
            reported.written = seen
            return
        if (
            not _is_news_in(patch, before=task_queue.raw_status)
            and self.clock() < reported.quiet_until
        ):
            return
        # Spread, so that the writes of many queues do not fall into one tick.
        reported.quiet_until = self.clock() + NUMBERS_EVERY * (0.5 + self.chance())
        await self.cluster.put_task_queue_status(
            namespace=key[0], name=key[1], uid=task_queue.uid, status=after
        )
        # The watch may not have shown the last write yet.
        before = reported.conditions or task_queue.status.conditions
        reported.conditions = status.conditions
        for condition in _news(before=before, after=status.conditions):
            if self._was_told(condition, reported):
                continue
            await self.cluster.event(
                namespace=key[0],
                name=key[1],
                uid=task_queue.owner.uid,
                type="Normal" if condition.status == "True" else "Warning",
                reason=condition.reason,
                message=f"{condition.type} is {condition.status}: {condition.message}",
            )

    def _was_told(self, condition: Condition, reported: Reported) -> bool:
        """Return whether this was an Event a moment ago. A repeated crash is reported once, even
        if Kubernetes gives other reasons between two crashes."""
        if condition.type not in _REPEATED:
            return False
        what, now = (condition.type, condition.reason), self.clock()
        last = reported.told.get(what)
        if last is not None and now - last < TELL_AGAIN_AFTER:
            return True
        reported.told[what] = now
        return False

    def _seen(self, key: Key, task_queue: TaskQueueObject) -> Seen:
        reconciled, scaled = self.reconciled(key, task_queue), self.scaled(key, task_queue)
        state, session = scaled.state, self._session(task_queue)
        pods = self.workloads.workers(key)
        return Seen(
            task_queue=task_queue,
            facts=self._facts(key, task_queue, reconciled, scaled),
            timeouts=reconciled.timeouts,
            ready=state.ready,
            running=_running(
                pods, session.link.fleet.reports(task_queue.owner.queue) if session else {}
            ),
            dead=state.dead,
            succeeded=state.tally.succeeded,
            failed=state.tally.failed,
            hazard=state.hazard,
        )

    def _facts(
        self, key: Key, task_queue: TaskQueueObject, reconciled: Reconciled, scaled: Scaled
    ) -> Facts:
        spec, deployment = task_queue.spec, self.workloads.workload(key)
        session, state = self._session(task_queue), scaled.state
        pods = self.workloads.workers(key)
        invalid = Trouble(reason=INVALID_SPEC, message=task_queue.invalid)
        return Facts(
            broker_trouble=self.brokers.trouble(task_queue.ending.broker),
            alarm=session.alarm if session else None,
            blockage=state.blockage,
            broker_version=session.link.version if session else None,
            queue_trouble=reconciled.queue_trouble if spec else invalid,
            worker_trouble=reconciled.worker_trouble,
            policy_trouble=reconciled.policy_trouble,
            shortcomings=reconciled.shortcomings,
            is_declared=session is not None
            and reconciled.is_of(generation=task_queue.generation, session=session),
            pods=pods,
            replicas=deployment.replicas if deployment else None,
            asked=asked_for(deployment, state.asked),
            decision=state.decision,
            silent=scaled.silent,
            crash=crash_of((pod for pod in pods if not pod.ending), epoch=self._epoch()),
            obstacle=state.obstacle,
            refused=state.refusals.trouble,
            is_halted=state.since.is_halted(now=self.clock()),
        )

    def _epoch(self) -> float:
        return datetime.fromisoformat(self.now()).timestamp()

    def _session(self, task_queue: TaskQueueObject) -> Session | None:
        return self.brokers.session(task_queue.ending.broker)

    def _status(self, seen: Seen, reported: Reported) -> TaskQueueStatus:
        task_queue, facts, now = seen.task_queue, seen.facts, self.now()
        queue, session = task_queue.owner.queue, self._session(task_queue)
        knows = session is not None
        return TaskQueueStatus(
            observed_generation=task_queue.generation,
            conditions=conditions(
                facts,
                generation=task_queue.generation,
                before=reported.conditions or task_queue.status.conditions,
                now=now,
            ),
            queue=task_queue.source,
            dead_queue=dead_queue_name(queue),
            priorities=priorities(session.features) if session else task_queue.status.priorities,
            timeouts=derived_timeouts(seen.timeouts)
            if seen.timeouts
            else task_queue.status.timeouts,
            jobs=Jobs(
                ready=seen.ready,
                running=seen.running if knows else None,
                dead=seen.dead if knows else None,
                succeeded=seen.succeeded,
                failed=seen.failed,
            ),
            workers=Workers(
                current=facts.replicas,
                ready=sum(pod.ready for pod in facts.pods if not pod.ending),
            ),
            scaling=_scaling(task_queue, seen, now=now),
        )


def _running(pods: Iterable[Pod], reports: Mapping[str, WorkerReport]) -> int | None:
    """Return how many jobs the workers hold; None while a worker that may hold some is silent."""
    if any(pod.running and pod.name not in reports for pod in pods):
        return None
    return sum(report.held for report in reports.values())


MOST_LINES, MOST_WORDS = 32, 512
"""The CRD's limits for reasons; a plug-in may have more to say."""


def _scaling(task_queue: TaskQueueObject, seen: Seen, *, now: str) -> ScalingStatus | None:
    decision, before = seen.facts.decision, task_queue.status.scaling
    if decision is None:
        return before
    is_same = before is not None and before.wanted == decision.wanted
    why = decision.why if seen.hazard is None else (*decision.why, seen.hazard)
    return ScalingStatus(
        wanted=decision.wanted,
        current=seen.facts.replicas,
        why=[line[:MOST_WORDS] for line in why[:MOST_LINES]],
        since=before.since if before and is_same else now,
    )


def _is_passing(facts: Facts, *, is_new: bool) -> bool:
    """Return whether the operator will know better in a moment."""
    if facts.broker_trouble is not None:
        return facts.broker_trouble == CONNECTING
    if facts.queue_trouble and facts.queue_trouble.reason == INVALID_SPEC:
        return False
    if not facts.is_declared:
        return True
    if facts.queue_trouble:
        return False
    decision = facts.decision
    if decision is None:
        return True  # the scaling loop has not run since the Broker answered
    if not is_new or facts.worker_trouble:
        return False
    # Its Deployment was just created, and the watch or the last tick has not shown it yet.
    return facts.replicas is None or decision.holds == "DeploymentUnknown"


def _is_news_in(patch: Mapping[str, Any], *, before: Mapping[str, Any]) -> bool:
    """Return whether more has changed than numbers of jobs and the reasons that contain them. A
    number that became known or unknown counts as more."""
    jobs, known, scaling = patch.get("jobs") or {}, before.get("jobs") or {}, patch.get("scaling")
    return (
        bool(patch.keys() - {"jobs", "scaling"})
        or bool((scaling or {}).keys() - {"why"})
        or any(value is None or name not in known for name, value in jobs.items())
    )


def _news(*, before: tuple[Condition, ...], after: tuple[Condition, ...]) -> list[Condition]:
    """Return the conditions that deserve an Event: new failures, and a `Ready` that became true."""
    known = {condition.type: condition for condition in before}
    return [condition for condition in after if _is_news(known.get(condition.type), now=condition)]


def _is_news(before: Condition | None, *, now: Condition) -> bool:
    if now.type == "Ready":
        return now.status == "True" and (before is None or before.status != "True")
    return (
        (now.type != "ScalingActive" or now.reason in TOLD)
        and now.status == "False"
        and now.reason not in PASSING
        and (before is None or before.reason != now.reason)
    )
