"""Brings a TaskQueue to RabbitMQ: its queues and policies, then its users.

Nothing here knows where workers run, or whether there are any.
"""

from collections.abc import Callable
from dataclasses import dataclass

from longshore_operator.app.ports.kubernetes import Events, Secrets
from longshore_operator.app.reconciling.claims import (
    refuse_gone,
    refuse_taken,
    refuse_unallowed,
    refuse_unfit,
)
from longshore_operator.app.reconciling.events import tell_drift, tell_renewal
from longshore_operator.app.reconciling.state import Reconciliation
from longshore_operator.app.reconciling.users import admit
from longshore_operator.app.sessions.declaring import declare, refuse_foreign_policies
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.sessions.vhosts import Vhosts
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.workload import timeouts
from longshore_operator.core.rabbitmq.adoption import shortcomings
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.rosters import policies_in_force
from longshore_operator.core.rabbitmq.topology import (
    Topology,
    objects_in_words,
    task_queue_topology,
)
from longshore_operator.core.status import foreign_policy
from longshore_operator.errors import Invalid, OperatorError


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReconciler:
    """The broker part of reconciling. `secrets` keeps the users' credentials."""

    world: World
    vhosts: Vhosts
    secrets: Secrets
    events: Events
    new_password: Callable[[], str]

    async def reconcile(
        self, task_queue: TaskQueueObject, *, state: Reconciliation, session: Session
    ) -> bool:
        """Make RabbitMQ's objects match the spec, and report what others had changed.

        Returns whether this was a repair: nothing was requested since the last attempt, so that
        every difference is drift. Raises Transient or Invalid.
        """
        spec, owner = task_queue.spec, task_queue.owner
        if spec is None:
            raise Invalid(task_queue.invalid, reason="InvalidSpec")
        state.is_doubted = False
        limits = state.timeouts = timeouts(spec, features=session.features)
        topology = task_queue_topology(
            queue=owner.queue, spec=spec, timeouts=limits, features=session.features
        )
        is_known = state.is_of(task_queue) and state.session is session
        is_repair = is_known and state.wanted == topology
        try:
            await self._declare(task_queue, topology, state=state, session=session)
            refuse_gone(owner, world=self.world)
            await admit(
                owner,
                session=session,
                secrets=self.secrets,
                new_password=self.new_password,
                remembered=state.users,
                source=task_queue.source,
                rotation=task_queue.rotation,
            )
        except OperatorError as error:
            state.queue_trouble = error.trouble
            raise
        if is_repair:
            await tell_drift(owner, [*state.missed, *state.users.repaired], events=self.events)
        await tell_renewal(owner, list(state.users.renewed), events=self.events)
        state.missed, state.users.repaired, state.users.renewed = {}, {}, {}
        state.queue_trouble, state.wanted = None, topology
        judge(state, task_queue, session=session, inventory=await session.inventory())
        return is_repair

    async def _declare(
        self,
        task_queue: TaskQueueObject,
        topology: Topology,
        *,
        state: Reconciliation,
        session: Session,
    ) -> None:
        refuse_unallowed(task_queue, broker=session.spec, world=self.world)
        if state.failures and task_queue.spec is not None:
            # The last attempt may have failed because a shared exchange was missing.
            await self.vhosts.tend(task_queue.spec.broker.name, session)
        inventory = await session.inventory()
        if task_queue.adopts and task_queue.source not in inventory.states:
            session.doubt()  # the queue may be younger than the last reading
            inventory = await session.inventory()
        refuse_unfit(task_queue, inventory=inventory)
        refuse_taken(task_queue, broker=session.spec, world=self.world, inventory=inventory)
        await refuse_foreign_policies(topology, session=session, known=state.wanted)
        # Kept for the Event if this attempt fails, because the next one finds fewer missing.
        state.missed |= dict.fromkeys(objects_in_words(inventory.missing(topology)))
        await declare(topology, session=session)


def judge(
    state: Reconciliation, task_queue: TaskQueueObject, *, session: Session, inventory: Inventory
) -> None:
    """Note foreign policies in force on the queues, and the queues' shortcomings."""
    source, features = task_queue.source, session.features
    if state.wanted is not None and inventory.knows_policies:
        policies = state.wanted.policies
        expected = policies_in_force(policies, queue=task_queue.owner.queue, source=source)
        state.policy_trouble = foreign_policy(
            inventory.winning_policies(expected), features=features
        )
    queue = inventory.states.get(source)
    if queue is not None and task_queue.adopts:
        state.shortcomings = shortcomings(source, queue, features=features)
