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
"""Seconds for which a bulk reading is trusted. A change by hand may go unseen for that long, and is
repaired within 10 s."""

MAX_FAILED_PATROLS = 2
"""Patrols that may fail in a row before the session is opened anew."""


@dataclass(slots=True, kw_only=True)
class Session:
    """A connected Broker, with everything that was read from it."""

    spec: BrokerSpec
    address: Address
    features: Features
    link: Link
    clock: Callable[[], float]
    owner: str = ""
    """The required owner of the virtual host; empty if ownership is not checked."""

    policy_trouble: Trouble | None = None
    """A foreign policy that is in force for the queues that all TaskQueues share."""

    alarm: Trouble | None = None
    """An alarm of RabbitMQ that blocks all publishers."""

    _is_given_up: bool = False
    _failed_patrols: int = 0
    _inventory: Inventory | None = None
    _read_at: float = 0.0
    _doubts: int = 0
    _read_after: int = 0
    """The number of doubts when the inventory was read."""

    _meanwhile: list[Callable[[Inventory], None]] = field(default_factory=list)
    tending: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while shared objects are repaired, so that only one of many callers repairs them."""

    rosters: Rosters = field(init=False)
    """Policies that name the queues with default settings."""

    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.rosters = Rosters(management=self.management, note=self.note, clock=self.clock)

    @property
    def management(self) -> Management:
        """Access to the objects of the virtual host."""
        return self.link.management

    @property
    def is_void(self) -> bool:
        """Whether the session must be opened anew. This includes the case where only the
        management API refuses us, as after a change of the administrator's password."""
        failed = self._failed_patrols >= MAX_FAILED_PATROLS
        return self._is_given_up or failed or self.link.is_lost

    def give_up(self) -> None:
        """Have the session opened anew."""
        self._is_given_up = True

    def note_patrol(self, *, failed: bool) -> None:
        """Record whether the last patrol of its objects failed."""
        self._failed_patrols = self._failed_patrols + 1 if failed else 0

    async def inventory(self, *, max_age: float = INVENTORY_AGE) -> Inventory:
        """Return the vhost's objects, from one bulk reading for all callers in `max_age` s."""
        oldest, doubts = self.clock() - max_age, self._doubts
        if known := self._known(oldest, doubts):
            return known  # even while another caller, who needs newer data, reads
        async with self._lock:
            # A reading that began after this call is new enough, however long the wait was.
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
        """Return whether a queue worked when the vhost was last read; True before that."""
        return self._inventory is None or self._inventory.answers(queue)

    def note(self, change: Callable[[Inventory], None]) -> None:
        """Apply `change`, which records a write, to the inventory, also if it is being read."""
        if self._inventory is not None:
            change(self._inventory)
        if self._lock.locked():
            self._meanwhile.append(change)

    def doubt(self) -> None:
        """Read the inventory anew next time, because something differs from what was written."""
        self._doubts += 1


class Sessions(Protocol):
    """The sessions with all Brokers, as the other loops need them."""

    def session(self, name: str) -> Session | None:
        """Return the session with a Broker, if there is one."""
        ...

    def trouble(self, name: str) -> Trouble | None:
        """Return why there is no session; None if there is one."""
        ...

    def sessions(self) -> Mapping[str, Session]:
        """Return all sessions, by Broker."""
        ...
