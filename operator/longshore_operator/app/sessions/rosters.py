"""Keeps the rosters: the policies that name each queue with default settings.

A queue is listed before it is declared, and stays listed until it is gone. After each change of a
policy, RabbitMQ matches every queue of the vhost with every pattern. So changes wait for each
other, and those that arrive meanwhile are made together.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from longshore.contract.names import dead_queue_name
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.policies import QueuePolicy
from longshore_operator.core.rabbitmq.rosters import DEAD, ROSTERS, Change, Listed
from longshore_operator.core.rabbitmq.topology import QueueDefinition, Topology

REST = 4.0
"""Pause after a change, as a multiple of the change's duration. A single change never waits; with
many, RabbitMQ spends at most a fifth of its time on them."""

LONGEST_REST = 5.0
"""Maximum seconds of this pause."""


class Policies(Protocol):
    """Reads and writes the policies of one vhost. Both methods raise Transient or Invalid."""

    async def policies(self) -> Mapping[str, QueuePolicy]: ...
    async def apply(self, topology: Topology) -> None: ...


@dataclass(slots=True, kw_only=True)
class Rosters:
    """The rosters of one vhost. `note` is called with what was written; `clock` is monotonic."""

    management: Policies
    note: Callable[[Callable[[Inventory], None]], None]
    clock: Callable[[], float]
    _waiting: set[Listed] = field(default_factory=set)
    _leaving: set[Listed] = field(default_factory=set)
    _stale: frozenset[Listed] = frozenset()
    """Entries that the last look found to belong to no TaskQueue."""

    _seen: set[str] = field(default_factory=set)
    """Policies with the rosters' names that were ours at the last look, or have been changed by
    hand since."""

    _rested_at: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def enlist(self, wanted: Iterable[Listed]) -> None:
        """Return once all of these are listed. Raises Transient or Invalid."""
        mine = set(wanted)
        self._waiting |= mine
        self._leaving -= mine
        await self._written(mine, among=self._waiting)

    async def strike(self, *gone: Listed) -> None:
        """Return once none of these, whose queues are gone, is listed. Raises Transient."""
        mine = set(gone)
        self._leaving |= mine - self._waiting
        await self._written(mine, among=self._leaving)

    async def _written(self, mine: Set[Listed], *, among: Set[Listed]) -> None:
        async with self._lock:
            if among.isdisjoint(mine):
                return  # another call has written these together with its own
            await asyncio.sleep(max(0.0, self._rested_at - self.clock()))
            add, drop = frozenset(self._waiting), frozenset(self._leaving)
            await self._write(add=add, drop=drop)
            self._waiting -= add
            self._leaving -= drop

    async def tend(
        self, inventory: Inventory, *, claimed: Set[Listed] | None = None
    ) -> tuple[QueuePolicy, ...]:
        """List missing entries again, strike out stale ones, and return the repaired policies.

        `claimed` is what all TaskQueues together need; None while that is unknown.
        An entry is struck out only if it was stale at the last look already, because a queue is
        declared a moment after it is listed.
        """
        missing = {
            Listed(roster=roster, queue=queue)
            for roster in ROSTERS
            for queue in inventory.declared(roster) - inventory.listed(roster)
        }
        stale = frozenset() if claimed is None else _stale(inventory, claimed=claimed)
        dropped, self._stale = stale & self._stale, stale
        repaired: tuple[QueuePolicy, ...] = ()
        self._see(inventory.policies)
        if missing or any(_changes(inventory.policies, seen=self._seen)):
            async with self._lock:
                repaired = await self._write(add=missing)
        if dropped:
            async with self._lock:
                await self._write(drop=dropped - self._waiting)
        return repaired

    async def _write(
        self, *, add: Set[Listed] = frozenset(), drop: Set[Listed] = frozenset()
    ) -> tuple[QueuePolicy, ...]:
        began = self.clock()
        written: list[QueuePolicy] = []
        # Read anew, not from memory: changes that others made since must not be undone.
        policies = await self.management.policies()
        self._see(policies)
        for change in _changes(policies, add=add, drop=drop, seen=self._seen):
            topology = Topology(policies=change.policies, absent_policies=change.absent)
            if change.policies:
                await self.management.apply(Topology(policies=change.policies))
            if change.absent:
                await self.management.apply(Topology(absent_policies=change.absent))
            self.note(partial(Inventory.add, written=topology))
            written += change.policies
            self._seen |= {policy.name for policy in change.policies}
        if drop:
            self.note(lambda inventory: inventory.forget(map(_queue_of, drop)))
        now = self.clock()
        self._rested_at = now + min(LONGEST_REST, REST * (now - began))
        return tuple(written)

    def _see(self, policies: Mapping[str, QueuePolicy]) -> None:
        # A policy that is gone is no longer ours: others may use its name.
        self._seen &= policies.keys()
        for roster in ROSTERS.values():
            self._seen |= roster.written(policies)


def _changes(
    policies: Mapping[str, QueuePolicy],
    *,
    seen: Set[str],
    add: Set[Listed] = frozenset(),
    drop: Set[Listed] = frozenset(),
) -> list[Change]:
    changes = (
        roster.changed(
            policies,
            add=_queues(add, roster=name),
            drop=_queues(drop, roster=name),
            seen=seen,
        )
        for name, roster in ROSTERS.items()
    )
    return [change for change in changes if change != Change()]


def _queues(listed: Iterable[Listed], *, roster: str) -> frozenset[str]:
    return frozenset(each.queue for each in listed if each.roster == roster)


def _stale(inventory: Inventory, *, claimed: Set[Listed]) -> frozenset[Listed]:
    """Return entries that no TaskQueue claims and that have no queue of ours, or whose queue was
    replaced by somebody else's of the same name."""
    doubtful = (
        Listed(roster=roster, queue=queue)
        for roster in ROSTERS
        for queue in inventory.listed(roster) - inventory.declared(roster)
    )
    return frozenset(
        each for each in doubtful if each not in claimed or _is_anothers(each, inventory=inventory)
    )


def _is_anothers(listed: Listed, *, inventory: Inventory) -> bool:
    name = _queue_of(listed)
    return inventory.queues.get(name) not in (None, QueueDefinition(name=name))


def _queue_of(listed: Listed) -> str:
    return dead_queue_name(listed.queue) if listed.roster == DEAD else listed.queue
