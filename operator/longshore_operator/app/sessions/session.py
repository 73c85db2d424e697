"""One RabbitMQ as the app sees it, and what it must be able to do."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from longshore.contract.features import Features
from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.app.ports.rabbitmq import Link, Management
from longshore_operator.app.sessions.rosters import Rosters
from longshore_operator.core.access.credentials import Address
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.trouble import Trouble

INVENTORY_AGE = 6.0
"""Seconds for which a bulk reading is trusted; so long may a change by hand go unseen, and within
10 s it is repaired."""

MAX_FAILED_PATROLS = 2
"""Patrols that may fail in a row before the session is opened anew."""


@dataclass(slots=True, kw_only=True)
class Session:
    """A Broker that answers."""

    spec: BrokerSpec
    address: Address
    features: Features
    link: Link
    clock: Callable[[], float]
    owner: str = ""
    """Whose the virtual host must be; empty where nobody asks."""

    policy_trouble: Trouble | None = None
    """A policy of somebody else's that is in force for the queues that all TaskQueues share."""

    alarm: Trouble | None = None
    """An alarm of RabbitMQ's that keeps everybody from publishing."""

    _is_given_up: bool = False
    _failed_patrols: int = 0
    _inventory: Inventory | None = None
    _read_at: float = 0.0
    _doubts: int = 0
    _read_after: int = 0
    """Doubts that there had been when it was read."""

    _meanwhile: list[Callable[[Inventory], None]] = field(default_factory=list)
    tending: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who repairs what all TaskQueues share: of many who miss it one is enough."""

    rosters: Rosters = field(init=False)
    """Policies that name the queues with default settings."""

    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.rosters = Rosters(management=self.management, note=self.note, clock=self.clock)

    @property
    def management(self) -> Management:
        """Its objects."""
        return self.link.management

    @property
    def is_void(self) -> bool:
        """Whether it must be opened anew: also when only the management API refuses us, as after
        the administrator's password was changed."""
        failed = self._failed_patrols >= MAX_FAILED_PATROLS
        return self._is_given_up or failed or self.link.is_lost

    def give_up(self) -> None:
        """Have it opened anew."""
        self._is_given_up = True

    def note_patrol(self, *, failed: bool) -> None:
        """How the last look at its objects went."""
        self._failed_patrols = self._failed_patrols + 1 if failed else 0

    async def inventory(self, *, max_age: float = INVENTORY_AGE) -> Inventory:
        """What stands in the vhost, read in bulk once for all who ask within `max_age` seconds."""
        oldest, doubts = self.clock() - max_age, self._doubts
        if known := self._known(oldest, doubts):
            return known  # also while somebody else, who wants it younger, reads
        async with self._lock:
            # A reading that began after we asked will do, however long we waited for it.
            if known := self._known(oldest, doubts):
                return known
            began, after = self.clock(), self._doubts
            self._meanwhile.clear()
            found = await self.management.inventory()
            for change in self._meanwhile:
                change(found)
            self._inventory, self._read_at, self._read_after = found, began, after
            return found

    def _known(self, oldest: float, doubts: int) -> Inventory | None:
        is_good = self._read_at >= oldest and self._read_after >= doubts
        return self._inventory if is_good else None

    def answers(self, queue: str) -> bool:
        """Whether a queue worked when the vhost was last read; yes before that."""
        return self._inventory is None or self._inventory.answers(queue)

    def note(self, change: Callable[[Inventory], None]) -> None:
        """Something was written; `change` adds it to what was read, or is being read."""
        if self._inventory is not None:
            change(self._inventory)
        if self._lock.locked():
            self._meanwhile.append(change)

    def doubt(self) -> None:
        """Read anew next time: something is not as it was written."""
        self._doubts += 1


class Sessions(Protocol):
    """The sessions with all Brokers, as the other loops need them."""

    def session(self, name: str) -> Session | None:
        """The session with a Broker, while there is one."""
        ...

    def trouble(self, name: str) -> Trouble | None:
        """Why there is no session."""
        ...

    def sessions(self) -> Mapping[str, Session]:
        """All sessions, by Broker."""
        ...
