"""What a TaskQueue may have: its Broker's leave, and a queue that is nobody else's."""

from longshore.contract.names import dead_queue_name
from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.app.objects import TaskQueueObject
from longshore_operator.app.world import World
from longshore_operator.core.adoption import reserved, unfit
from longshore_operator.core.inventory import Inventory
from longshore_operator.core.selector import matches
from longshore_operator.errors import Invalid, Transient


def refuse_unallowed(task_queue: TaskQueueObject, *, broker: BrokerSpec, world: World) -> None:
    """Raises Invalid where the Broker does not serve the TaskQueue's namespace."""
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


def refuse_taken(task_queue: TaskQueueObject, *, world: World) -> None:
    """Raises Invalid where an older TaskQueue on the same Broker has the same queue."""
    if (other := rival(task_queue, world=world)) is not None:
        raise Invalid(
            f"queue {task_queue.source!r} belongs to TaskQueue {other.owner.namespace}/"
            f"{other.owner.name}, which is older; name another in spec.queue.name of a new "
            "TaskQueue, or delete one of the two",
            reason="QueueTaken",
        )


def rival(task_queue: TaskQueueObject, *, world: World) -> TaskQueueObject | None:
    """The older TaskQueue that claims a queue of this one."""
    if task_queue.spec is None:
        return None
    mine, age = _claims(task_queue), _age(task_queue)
    adopts = task_queue.spec.queue.name is not None
    for _, other in world.task_queues():
        if other.spec is None or not (adopts or other.spec.queue.name):
            continue  # two queues of their own never have one name
        if (
            other.spec.broker.name == task_queue.spec.broker.name
            and other.owner.uid != task_queue.owner.uid
            and _age(other) < age
            and mine & _claims(other)
        ):
            return other
    return None


def refuse_unfit(task_queue: TaskQueueObject, *, inventory: Inventory) -> None:
    """Raises Invalid where the queue that is to be taken over must not or cannot be."""
    name, spec = task_queue.source, task_queue.spec
    if spec is None or spec.queue.name is None:
        return
    if why := reserved(name, namespace=task_queue.owner.namespace):
        raise Invalid(f"spec.queue.name: {why} and cannot be taken over", reason="QueueReserved")
    state = inventory.states.get(name)
    if state is None:
        raise Invalid(
            f"spec.queue.name: there is no queue {name!r} on the Broker; leave it out for a queue "
            f"{task_queue.owner.queue} of its own, or declare it first",
            reason="QueueNotFound",
        )
    if why := unfit(name, state, type=spec.queue.type):
        raise Invalid(f"spec.queue.name: {why}", reason="QueueUnfit")


def _claims(task_queue: TaskQueueObject) -> set[str]:
    return {task_queue.source, dead_queue_name(task_queue.owner.queue)}


def _age(task_queue: TaskQueueObject) -> tuple[str, str, str]:
    return task_queue.created, task_queue.owner.namespace, task_queue.owner.name
