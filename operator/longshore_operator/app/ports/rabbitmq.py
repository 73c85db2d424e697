"""RabbitMQ as the app needs it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from longshore.contract.orders import Order
from longshore.contract.reports import WorkerReport
from longshore_operator.core.access.permissions import User
from longshore_operator.core.rabbitmq.blockage import Alarm
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.policies import QueuePolicy
from longshore_operator.core.rabbitmq.topology import Binding, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """A queue's jobs that wait, and its consumers."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Missing:
    """The queue is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a quorum queue's leader counted at one moment, which may be long ago."""

    consumers: int
    jobs: int
    """All that are in the queue: ready, unacked, and on their way to the dead letters."""


class Management(Protocol):
    """Reading and writing the objects of one vhost. All raise Transient or Invalid."""

    async def inventory(self) -> Inventory: ...
    async def create(self, topology: Topology) -> None: ...
    async def apply(self, topology: Topology) -> None: ...
    async def unbind(self, binding: Binding) -> None: ...
    async def create_user(self, user: User, *, password: str) -> str: ...
    async def put_user(self, user: User, *, password: str) -> str: ...
    async def put_hashed_user(self, user: User, *, password_hash: str) -> None: ...
    async def delete_user(self, name: str) -> None: ...
    async def delete_queue(self, name: str) -> None: ...
    async def delete_exchange(self, name: str) -> None: ...
    async def policies(self) -> Mapping[str, QueuePolicy]: ...
    async def delete_policy(self, name: str) -> None: ...
    async def has_queue(self, name: str) -> bool: ...


class Depths(Protocol):
    """Reading how full queues are."""

    async def read(
        self, queues: Iterable[str], *, channels: int = ...
    ) -> Mapping[str, Depth | Missing]: ...


class Fleet(Protocol):
    """Hearing what workers report, and telling them what to do."""

    def reports(self, queue: str) -> Mapping[str, WorkerReport]: ...
    def order(self, order: Order, *, queue: str, worker: str) -> None: ...
    def forget_silent(self) -> None: ...


class Scrutiny(Protocol):
    """Finding out for certain whether quorum queues hold jobs. Raises Transient."""

    async def has_ready(self, queue: str) -> bool:
        """Whether jobs wait in it. They do if the answer is yes; no may mean unknown."""
        ...

    async def is_empty(self, queue: str, *, dead_letters: bool) -> bool:
        """Whether there is no job in it, ready or unacked or, with `dead_letters`, on its way to
        the dead letters. There is none in a queue that does not exist."""
        ...

    async def stays_empty(self, queue: str) -> bool:
        """Whether no job has come since `is_empty` found it so."""
        ...


class Link(Protocol):
    """An open connection, as long as it lasts."""

    @property
    def management(self) -> Management: ...
    @property
    def depths(self) -> Depths: ...
    @property
    def fleet(self) -> Fleet: ...
    @property
    def version(self) -> str:
        """RabbitMQ's version when the link was opened; the lowest of its nodes'."""
        ...

    async def version_now(self) -> str:
        """The same, asked for now. Raises Transient."""
        ...

    async def alarms_now(self) -> tuple[Alarm, ...]:
        """Alarms that are in effect on any node now. Raises Transient."""
        ...

    @property
    def is_lost(self) -> bool: ...
    async def listen(self) -> None: ...
    def scrutiny(self) -> AbstractAsyncContextManager[Scrutiny]: ...
    async def close(self) -> None: ...
