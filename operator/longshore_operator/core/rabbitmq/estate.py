"""What in RabbitMQ is a TaskQueue's own, by the evidence that stands there.

A name proves nothing: a queue called NAMESPACE.NAME may be somebody else's, made before the
TaskQueue, which was refused for it then. What was declared for a TaskQueue is bound under its name,
which nobody else does, and was listed in a roster before it was made.
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
    """One queue: the TaskQueue's, or not, and why not; no reason where there is none to tell."""

    is_ours: bool
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    """What a TaskQueue may leave behind."""

    jobs: Part
    """The queue that holds its jobs, whether its own or one that it took over."""

    dead: Part
    policies: tuple[Absent, ...]
    """Those of its own that stand there."""

    has_taken_over: bool
    """Whether its queue was there before it, and it was in fact given it."""

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
    """The estate of the TaskQueue whose own queue's name is `queue`.

    `adopted` is the queue that it has taken over, or wants to; `was_declared` is what its status
    says, and `others` says of queues that another TaskQueue has that they do.
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
            or (has_dead and queue not in inventory.queues)  # it is gone already
        )
        jobs = _own(source, is_declared=has_jobs, inventory=inventory)
    letters = _own(dead, is_declared=has_dead, inventory=inventory)
    return Estate(
        jobs=_unless_anothers(jobs, source, others=others),
        dead=_unless_anothers(letters, dead, others=others),
        policies=policies,
        # After its ways in were removed, what else is left of it tells.
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
    # Anybody may write any name into a spec; its bindings prove it, which it keeps to its end.
    if is_bound:
        return Part(is_ours=True)
    why_not = f"queue {name} was not taken over and stays" if name in inventory.queues else ""
    return Part(is_ours=False, why_not=why_not)


def _unless_anothers(part: Part, name: str, *, others: Mapping[str, str]) -> Part:
    return Part(is_ours=False, why_not=others[name]) if name in others else part
