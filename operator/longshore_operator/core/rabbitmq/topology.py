"""What must exist in RabbitMQ, as data: exchanges, queues, bindings and policies.

Settings that can never change on an existing queue are arguments; all others are in policies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from longshore.contract.delays import LEVELS, binding_key, level_name, next_exchange
from longshore.contract.features import Features
from longshore.contract.names import (
    DEAD_EXCHANGE,
    DUE_EXCHANGE,
    JOBS_EXCHANGE,
    LOST,
    REPORTS_EXCHANGE,
    dead_queue_name,
    ending_with,
)
from longshore.contract.timing import Timeouts
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.core.rabbitmq.policies import (
    Absent,
    QueuePolicy,
    own_policies,
    shared_policies,
)
from longshore_operator.core.rabbitmq.rosters import DEAD, JOBS, ROSTERS, Listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """An exchange. All of Longshore's have the flags that are the defaults here."""

    name: str
    type: str = "topic"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False

    def __str__(self) -> str:
        flags = [
            *(["internal"] if self.internal else []),
            *(["auto-delete"] if self.auto_delete else []),
            "durable" if self.durable else "transient",
        ]
        arguments = dict(self.arguments) or "none"
        return f"exchange {self.name} ({' '.join(flags)} {self.type}, arguments {arguments})"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDefinition:
    """A durable queue."""

    name: str
    type: str = "quorum"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments besides `x-queue-type`."""

    @property
    def declared(self) -> Mapping[str, Any]:
        """All arguments that it is declared with."""
        return {"x-queue-type": self.type, **self.arguments}


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A binding from an exchange to a queue, or to another exchange."""

    source: str
    key: str
    destination: str
    to: Literal["queue", "exchange"] = "queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Objects of one vhost that belong together."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[QueueDefinition, ...] = ()
    bindings: tuple[Binding, ...] = ()
    policies: tuple[QueuePolicy, ...] = ()
    absent_policies: tuple[Absent, ...] = ()
    """Policies that must no longer exist."""

    listed: tuple[Listed, ...] = ()
    """Queues that a roster must name before they are declared."""

    rosters: tuple[str, ...] = ()
    """Rosters whose names no foreign policy may have."""


def vhost_topology() -> Topology:
    """Return what all TaskQueues of a Broker share."""
    levels = range(LEVELS)
    return Topology(
        exchanges=(
            Exchange(name=JOBS_EXCHANGE),
            Exchange(name=DUE_EXCHANGE, arguments={"alternate-exchange": LOST}),
            Exchange(name=LOST, type="fanout"),
            Exchange(name=DEAD_EXCHANGE),
            Exchange(name=REPORTS_EXCHANGE),
            *(Exchange(name=level_name(level)) for level in levels),
        ),
        queues=(QueueDefinition(name=LOST), *map(_level_queue, levels)),
        bindings=(
            Binding(source=LOST, key="", destination=LOST),
            *(binding for level in levels for binding in _level_bindings(level)),
        ),
        policies=shared_policies(),
        rosters=tuple(ROSTERS),
    )


def task_queue_topology(
    *, queue: str, spec: TaskQueueSpec, timeouts: Timeouts, features: Features
) -> Topology:
    """Return what one TaskQueue needs in addition to what it shares with the others.

    `queue` is its own name, to which jobs are addressed; with `spec.queue.name`, another existing
    queue holds them.
    """
    dead, source = dead_queue_name(queue), spec.queue.name or queue
    policies, absent = own_policies(queue, spec, timeouts=timeouts, features=features)
    return Topology(
        queues=(
            *([] if spec.queue.name else [QueueDefinition(name=queue)]),
            QueueDefinition(name=dead),
        ),
        bindings=(*entry_bindings(queue, source=source), dead_binding(queue)),
        policies=policies,
        absent_policies=absent,
        listed=listed_for(queue, adopts=spec.queue.name is not None),
    )


def listed_for(queue: str, *, adopts: bool) -> tuple[Listed, ...]:
    """Return what a TaskQueue needs in the rosters, even while its own policies override them."""
    dead = Listed(roster=DEAD, queue=queue)
    return (dead,) if adopts else (Listed(roster=JOBS, queue=queue), dead)


def objects_in_words(topology: Topology) -> tuple[str, ...]:
    """Describe the objects of a topology for people."""
    return (
        *(f"exchange {exchange.name}" for exchange in topology.exchanges),
        *(f"queue {queue.name}" for queue in topology.queues),
        *(f"binding {each.source} to {each.destination}" for each in topology.bindings),
        *(f"policy {policy.name}" for policy in topology.policies),
        *(f"policy {each.name}, which should not exist" for each in topology.absent_policies),
        *map(str, topology.listed),
    )


def entry_bindings(queue: str, *, source: str | None = None) -> tuple[Binding, ...]:
    """Return the bindings by which jobs addressed to `queue` enter the queue `source` that holds
    them (None: the same name). Without them, the queue gets no new jobs."""
    holder = source or queue
    return (
        Binding(source=JOBS_EXCHANGE, key=queue, destination=holder),
        Binding(source=DUE_EXCHANGE, key=ending_with(queue), destination=holder),
    )


def dead_binding(queue: str) -> Binding:
    """Return the binding for dead letters; the keys of RabbitMQ's own have delay bits before the
    name."""
    return Binding(source=DEAD_EXCHANGE, key=ending_with(queue), destination=dead_queue_name(queue))


def _level_queue(level: int) -> QueueDefinition:
    return QueueDefinition(
        name=level_name(level),
        arguments={
            "x-message-ttl": 2**level * 1000,
            "x-dead-letter-exchange": next_exchange(level),
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


def _level_bindings(level: int) -> tuple[Binding, Binding]:
    name = level_name(level)
    return (
        Binding(source=name, key=binding_key(level, bit=1), destination=name),
        Binding(
            source=name,
            key=binding_key(level, bit=0),
            destination=next_exchange(level),
            to="exchange",
        ),
    )
