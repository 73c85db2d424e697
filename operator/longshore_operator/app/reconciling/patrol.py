"""Finds objects that were deleted or changed by hand, and has them repaired."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from longshore.logs import Log
from longshore_operator.app.ports.workloads import Workloads
from longshore_operator.app.reconciling.queues import judge
from longshore_operator.app.reconciling.state import Reconciliation
from longshore_operator.app.reconciling.users import are_users_intact
from longshore_operator.app.sessions.installations import keep
from longshore_operator.app.sessions.session import INVENTORY_AGE, Session, Sessions
from longshore_operator.app.sessions.vhosts import Vhosts
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key, World
from longshore_operator.core.rabbitmq.exchanges import foreign_exchange_policy
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.policies import shared_policies_in_force
from longshore_operator.core.rabbitmq.topology import Topology, vhost_topology
from longshore_operator.core.status import foreign_shared_policy
from longshore_operator.errors import OperatorError

log = Log(__name__)

RESYNC = 600.0
"""Seconds after which even an undisturbed TaskQueue is compared with Kubernetes."""

PATIENCE = 3
"""How many times an object of a workload is restored at once. After that, the pauses grow: two
controllers that want different pod templates would otherwise replace pods forever."""


@dataclass(slots=True, kw_only=True)
class Patrol:
    """Marks TaskQueues as doubted for the reconciling loop. `clock` is monotonic."""

    world: World
    brokers: Sessions
    vhosts: Vhosts
    workloads: Workloads
    states: States[Reconciliation]
    clock: Callable[[], float]
    _began: dict[str, float] = field(default_factory=dict)
    """When each Broker was last looked at."""

    _looks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """The last look at each Broker."""

    def look(self, group: asyncio.TaskGroup) -> None:
        """Begin to look at each Broker that is due, as a task of `group`.

        A Broker that hangs does not delay the others.
        """
        now = self.clock()
        for name, session in self.brokers.sessions().items():
            last = self._looks.get(name)
            is_idle = last is None or last.done()
            if is_idle and now - self._began.get(name, -inf) > INVENTORY_AGE:
                self._began[name] = now
                self._looks[name] = group.create_task(self._patrol_one(name, session))

    async def _patrol_one(self, name: str, session: Session) -> None:
        try:
            await self._inspect(name, session)
            session.note_patrol(failed=False)
        except Exception as error:
            # An unusable answer, such as a proxy's, must not end the patrols of the others.
            session.note_patrol(failed=True)
            log.warning(
                "patrol-failed",
                broker=name,
                error=str(error),
                exc_info=not isinstance(error, OperatorError),
            )

    async def _inspect(self, name: str, session: Session) -> None:
        began = self.clock()
        inventory = await session.inventory(max_age=0.0)
        if session.owner and not await keep(session, inventory):
            session.give_up()
            return
        await self.vhosts.tend(name, session, inventory=inventory)
        if inventory.knows_policies:
            winning = inventory.winning_policies(shared_policies_in_force())
            session.policy_trouble = foreign_shared_policy(winning) or foreign_exchange_policy(
                inventory.exchange_policies, vhost_topology().exchanges
            )
        for key, task_queue in self.world.task_queues():
            state = self.states.of(key, task_queue)
            if state.session is not session or state.wanted is None or state.is_busy:
                continue
            if state.at >= began:
                continue  # written while the inventory was read
            is_intact = _is_intact(task_queue, state, session=session, inventory=inventory)
            if not is_intact or self._is_replaced(key, state):
                state.is_doubted = True
            if not is_intact:
                continue
            judge(state, task_queue, session=session, inventory=inventory)

    def _is_replaced(self, key: Key, state: Reconciliation) -> bool:
        """Return whether an object of its workload has changed since it was written."""
        pause = 10.0 * 2.0 ** min(state.repairs - PATIENCE, 10) if state.repairs >= PATIENCE else 0
        if self.clock() - state.repaired_at < min(pause, RESYNC):
            return False
        says = self.workloads.standing(key)
        return any(says.get(name) != said for name, said in state.placed.items())


def _is_intact(
    task_queue: TaskQueueObject, state: Reconciliation, *, session: Session, inventory: Inventory
) -> bool:
    is_declared = state.wanted is not None and inventory.missing(state.wanted) == Topology()
    return (
        is_declared
        and task_queue.source in inventory.states
        and are_users_intact(
            task_queue.owner,
            source=task_queue.source,
            session=session,
            inventory=inventory,
            remembered=state.users,
        )
    )
