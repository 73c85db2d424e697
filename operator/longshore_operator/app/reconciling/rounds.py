"""Looks at the Secrets of all TaskQueues in turn, since nothing reports that one was deleted.

The operator may neither list nor watch Secrets: see ADR 9.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from longshore.logs import Log
from longshore_operator.app.ports.kubernetes import ReadableSecrets
from longshore_operator.app.reconciling.state import Reconciliation
from longshore_operator.app.reconciling.users import are_secrets_intact
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key, World
from longshore_operator.errors import OperatorError

log = Log(__name__)

SECRETS_AGE = 45.0
"""Seconds between two looks at a TaskQueue's Secrets, so that a lost one is back within 60 s."""

UNFIT_AGE = 5.0
"""The same, while one of its pods cannot start because a Secret is missing."""

_WANTING = "CreateContainerConfigError"
"""The reason in the status of a pod whose Secret does not exist."""

AT_ONCE = 8
"""Secrets read at the same time."""


@dataclass(slots=True, kw_only=True)
class Rounds:
    """`clock` is monotonic, `chance` uniform in [0, 1); `wake` starts a look at doubts."""

    world: World
    secrets: ReadableSecrets
    states: States[Reconciliation]
    clock: Callable[[], float]
    chance: Callable[[], float]
    wake: Callable[[], None]
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(1.0)

    async def look(self) -> None:
        """Look at all Secrets that are due."""
        async with asyncio.TaskGroup() as group:
            for key, task_queue in self.world.task_queues():
                state = self.states.of(key, task_queue)
                if self._is_due(key, state):
                    group.create_task(self._look(task_queue, state))

    def _is_due(self, key: Key, state: Reconciliation) -> bool:
        if not state.users.known or state.is_busy or state.is_doubted:
            return False
        now = self.clock()
        if state.secrets_due is None:
            # Spread from the start: a thousand TaskQueues may have been reconciled together.
            state.secrets_due = now + SECRETS_AGE * self.chance()
        wanting = any(
            pod.trouble is not None and pod.trouble.reason == _WANTING
            for pod in self.world.all_pods.get(key) or ()
        )
        early = SECRETS_AGE - UNFIT_AGE if wanting else 0.0
        return now >= state.secrets_due - early

    async def _look(self, task_queue: TaskQueueObject, state: Reconciliation) -> None:
        session = state.session
        state.secrets_due = self.clock() + SECRETS_AGE
        if session is None or task_queue.is_deleting:
            return
        async with self._slots:
            try:
                is_intact = await are_secrets_intact(
                    task_queue.owner,
                    session=session,
                    secrets=self.secrets,
                    remembered=state.users,
                )
            except OperatorError as error:
                owner = task_queue.owner
                name = f"{owner.namespace}.{owner.name}"
                log.info("secrets-not-read", task_queue=name, error=str(error))
                return
        if not is_intact and not state.is_busy:
            state.is_doubted = True
            self.wake()
