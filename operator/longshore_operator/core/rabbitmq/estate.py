"""Determines what in RabbitMQ belongs to a TaskQueue, from evidence in RabbitMQ.

A name proves nothing: a foreign queue may be named NAMESPACE.NAME and may be older than the
TaskQueue, which was then refused because of it. What Longshore has declared for a TaskQueue is
bound under its name, which nothing else does, and was listed in a roster before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from longshore.contract.names import dead_queue_name
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.policies import Absent, own_absent
from longshore_operator.core.rabbitmq.rosters import DEAD, JOBS
from longshore_operator.core.rabbitmq.topology import QueueDefinition, dead_binding, entry_bindings


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Whether one queue belongs to the TaskQueue; if not, why not. The reason may be empty."""

    is_ours: bool
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    """What a TaskQueue may leave behind."""

    jobs: Part
    """The queue that holds its jobs, whether declared for it or taken over."""

    dead: Part
    policies: tuple[Absent, ...]
    """Its own policies that exist."""

    has_taken_over: bool
    """Whether it has in fact taken over a queue that existed before."""

    is_anothers: bool
    """Whether another TaskQueue has the queue that holds its jobs."""


def estate_of(
    queue: str,
    *,
    inventory: Inventory,
    adopted: str | None = None,
    was_declared: bool = False,
    others: Mapping[str, str] = MappingProxyType({}),
) -> Estate:
    """Return the estate of the TaskQueue whose own queue is named `queue`.

    `adopted` is the queue that it has taken over, or wants to take over. `was_declared` comes from
    its status. `others` has a message for each queue that another TaskQueue has.
    """
    dead, source = dead_queue_name(queue), adopted or queue
    policies = tuple(
        each for each in own_absent(queue, source=source) if each.is_in(inventory.policies)
    )
    names = {policy.name for policy in policies}
    own_jobs, own_dead = own_absent(queue, source=source)
    is_bound = not inventory.bindings.isdisjoint(entry_bindings(queue, source=source))
    has_dead = (
        was_declared
        or dead_binding(queue) in inventory.bindings
        or queue in inventory.listed(DEAD)
        or own_dead.name in names
    )
    if adopted:
        jobs = _adopted(source, is_bound=is_bound, inventory=inventory)
    else:
        has_jobs = (
            was_declared
            or is_bound
            or queue in inventory.listed(JOBS)
            or own_jobs.name in names
            or (has_dead and queue not in inventory.queues)  # it has been deleted already
        )
        jobs = _own(source, is_declared=has_jobs, inventory=inventory)
    letters = _own(dead, is_declared=has_dead, inventory=inventory)
    return Estate(
        jobs=_unless_anothers(jobs, source, others=others),
        dead=_unless_anothers(letters, dead, others=others),
        policies=policies,
        # After its bindings were removed, other traces are the evidence.
        is_anothers=source in others,
        has_taken_over=adopted is not None
        and (is_bound or was_declared or has_dead or own_jobs.name in names),
    )


def _own(name: str, *, is_declared: bool, inventory: Inventory) -> Part:
    found = inventory.queues.get(name)
    if found not in (None, QueueDefinition(name=name)):
        return Part(is_ours=False, why_not=f"queue {name} was made by somebody else and stays")
    if not is_declared:
        why_not = f"queue {name} was not declared for this TaskQueue and stays"
        return Part(is_ours=False, why_not=why_not if found else "")
    return Part(is_ours=True)


def _adopted(name: str, *, is_bound: bool, inventory: Inventory) -> Part:
    # Anyone may write any name into a spec; its bindings are the proof, and it keeps them until
    # its end.
    if is_bound:
        return Part(is_ours=True)
    why_not = f"queue {name} was not taken over and stays" if name in inventory.queues else ""
    return Part(is_ours=False, why_not=why_not)


def _unless_anothers(part: Part, name: str, *, others: Mapping[str, str]) -> Part:
    return Part(is_ours=False, why_not=others[name]) if name in others else part
