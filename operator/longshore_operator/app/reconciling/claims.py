"""What a TaskQueue must have: its Broker's permission, and a queue that no other one has."""

from longshore.contract.delays import shared_queues
from longshore.contract.names import JOBS_EXCHANGE, RABBITMQ_PREFIX, dead_queue_name
from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.owner import Owner
from longshore_operator.core.kubernetes.selector import matches
from longshore_operator.core.rabbitmq.adoption import reserved, unfit
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.topology import entry_bindings
from longshore_operator.errors import Invalid, OperatorError, Transient


def refuse_unallowed(task_queue: TaskQueueObject, *, broker: BrokerSpec, world: World) -> None:
    """Raise Invalid if the Broker does not serve the TaskQueue's namespace, or its name."""
    if why := _reserved_name(task_queue):
        raise Invalid(why, reason="NameReserved")
    selector, namespace = broker.allowed_namespaces, task_queue.owner.namespace
    if selector is None:
        return
    labels = world.namespace_labels(namespace)
    if labels is None:
        raise Transient(f"labels of namespace {namespace} are not known yet", reason="Connecting")
    if not matches(selector, labels):
        raise Invalid(
            f"its Broker's allowedNamespaces do not match the labels of namespace {namespace}; "
            "nothing is declared for it, and what was declared before stays as it is",
            reason="NamespaceNotAllowed",
        )


def refuse_gone(owner: Owner, *, world: World) -> None:
    """Raise Transient if the TaskQueue has been deleted meanwhile: its objects would replace those
    of a newer TaskQueue of the same name."""
    found = world.task_queue((owner.namespace, owner.name))
    if found is None or found.uid != owner.uid:
        name = f"{owner.namespace}/{owner.name}"
        raise Transient(f"TaskQueue {name} was deleted, or created again", reason="Gone")


def refuse_taken(
    task_queue: TaskQueueObject, *, broker: BrokerSpec, world: World, inventory: Inventory
) -> None:
    """Raise Invalid if another TaskQueue on the same Broker has the same queue."""
    other = rival(task_queue, broker=broker, world=world, inventory=inventory)
    if other is not None:
        raise Invalid(
            f"queue {task_queue.source!r} belongs to TaskQueue {other.owner.namespace}/"
            f"{other.owner.name}, which had it first; create a new TaskQueue with another queue in "
            "spec.queue.name, or delete one of the two",
            reason="QueueTaken",
        )
    if _has(task_queue, inventory=inventory):
        return
    for name in sorted(_claims(task_queue)):
        if keys := _strangers(name, task_queue=task_queue, world=world, inventory=inventory):
            raise Invalid(
                f"exchange {JOBS_EXCHANGE} routes the jobs of {' and '.join(keys)} to queue "
                f"{name!r}, so it belongs to a TaskQueue that is not on this Broker; create a new "
                "TaskQueue with another queue in spec.queue.name, or delete the other one; if it "
                "no longer exists, delete the queue's bindings with that TaskQueue's routing key",
                reason="QueueTaken",
            )


def others(
    task_queue: TaskQueueObject, *, broker: BrokerSpec, world: World, inventory: Inventory
) -> dict[str, str]:
    """Return the queues of this TaskQueue that another one has, each with the reason in words."""
    found = {
        name: f"queue {name} also gets the jobs of {' and '.join(keys)} and stays"
        for name in _claims(task_queue)
        if (keys := _strangers(name, task_queue=task_queue, world=world, inventory=inventory))
    }
    other = rival(task_queue, broker=broker, world=world, inventory=inventory)
    if other is not None:
        owner = other.owner
        for name in _claims(task_queue) & _claims(other):
            found[name] = f"queue {name} belongs to TaskQueue {owner.namespace}/{owner.name}"
    return found


def rival(
    task_queue: TaskQueueObject, *, broker: BrokerSpec, world: World, inventory: Inventory
) -> TaskQueueObject | None:
    """Return the TaskQueue that has a queue of this one, or is older and may have it.

    A request that is refused blocks no other: anyone may write any name into a spec. A TaskQueue
    whose spec can no longer be read keeps what it has.
    """
    mine, rank = _claims(task_queue), _rank(task_queue, inventory=inventory)
    adopts = task_queue.ending.queue_name is not None
    for _, other in world.task_queues():
        if not (adopts or other.ending.queue_name):
            continue  # two queues that were not adopted never have the same name
        if (
            other.ending.broker == task_queue.ending.broker
            and other.owner.uid != task_queue.owner.uid
            and mine & _claims(other)
            and _rank(other, inventory=inventory) < rank
            and (
                _has(other, inventory=inventory)
                or _may_have(other, broker=broker, world=world, inventory=inventory)
            )
        ):
            return other
    return None


def refuse_unfit(task_queue: TaskQueueObject, *, inventory: Inventory) -> None:
    """Raise Invalid if the queue that is to be taken over must not or cannot be."""
    name, spec = task_queue.source, task_queue.spec
    if spec is None or spec.queue.name is None:
        return
    if why := reserved(name, namespace=task_queue.owner.namespace):
        raise Invalid(f"spec.queue.name: {why} and cannot be taken over", reason="QueueReserved")
    state = inventory.states.get(name)
    if state is None:
        raise Invalid(
            f"spec.queue.name: there is no queue {name!r} on the Broker; declare it first, or "
            f"omit the field so that the TaskQueue gets its own queue {task_queue.owner.queue}",
            reason="QueueNotFound",
        )
    if why := unfit(name, state, type=spec.queue.type):
        raise Invalid(f"spec.queue.name: {why}", reason="QueueUnfit")


def _has(task_queue: TaskQueueObject, *, inventory: Inventory) -> bool:
    """Return whether its queue was declared for it, or taken over."""
    ways = entry_bindings(task_queue.owner.queue, source=task_queue.source)
    return not inventory.bindings.isdisjoint(ways)


def _strangers(
    name: str, *, task_queue: TaskQueueObject, world: World, inventory: Inventory
) -> list[str]:
    """Return other TaskQueues whose jobs reach queue `name`, on any Broker and in any cluster.

    A queue that a deleted TaskQueue left behind still gets its own jobs, but belongs to nobody.
    Raises Transient while it is unknown whether that is the case.
    """
    keys = inventory.keys(name) - {task_queue.owner.queue}
    if name in keys:
        if not world.is_complete:
            raise Transient("not all TaskQueues are known yet", reason="Connecting")
        namespace, _, own = name.partition(".")
        if world.task_queue((namespace, own)) is None:
            keys.discard(name)
    return sorted(keys)


def _may_have(
    task_queue: TaskQueueObject, *, broker: BrokerSpec, world: World, inventory: Inventory
) -> bool:
    if task_queue.spec is None:
        return False
    try:
        refuse_unallowed(task_queue, broker=broker, world=world)
        refuse_unfit(task_queue, inventory=inventory)
    except OperatorError:
        return False
    return True


def _rank(
    task_queue: TaskQueueObject, *, inventory: Inventory
) -> tuple[bool, tuple[str, str, str]]:
    """Rank the TaskQueue that has the queue before one that is older."""
    return not _has(task_queue, inventory=inventory), _age(task_queue)


def _reserved_name(task_queue: TaskQueueObject) -> str | None:
    """Return why no TaskQueue may have this namespace and name; None if one may."""
    owner = task_queue.owner
    if owner.queue.startswith(RABBITMQ_PREFIX):
        return (
            f"RabbitMQ reserves all names that begin with {RABBITMQ_PREFIX!r}, so queue "
            f"{owner.queue!r} cannot be declared; use a namespace whose name is not "
            f"{owner.namespace!r}"
        )
    if taken := {owner.queue, dead_queue_name(owner.queue)} & shared_queues():
        return (
            f"queue {taken.pop()!r} is shared by all TaskQueues of a Broker; give the TaskQueue "
            "another name, or use another namespace"
        )
    return None


def _claims(task_queue: TaskQueueObject) -> set[str]:
    return {task_queue.source, dead_queue_name(task_queue.owner.queue)}


def _age(task_queue: TaskQueueObject) -> tuple[str, str, str]:
    return task_queue.created, task_queue.owner.namespace, task_queue.owner.name
