"""What exists in RabbitMQ now, and what is missing there."""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from longshore.contract.names import (
    DEAD_EXCHANGE,
    DUE_EXCHANGE,
    JOBS_EXCHANGE,
    dead_queue_name,
)
from longshore_operator.core.access.credentials import is_password
from longshore_operator.core.access.permissions import Keys, Permissions, User
from longshore_operator.core.rabbitmq.policies import EARLIER_PATTERNS, QueuePolicy
from longshore_operator.core.rabbitmq.rosters import DEAD, ROSTERS, can_be_listed, roster_of
from longshore_operator.core.rabbitmq.topology import (
    Binding,
    Exchange,
    QueueDefinition,
    Topology,
    dead_binding,
)

_ENTRIES = frozenset({JOBS_EXCHANGE, DUE_EXCHANGE})


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """A queue as it is, whoever declared it."""

    type: str
    is_durable: bool
    is_auto_deleted: bool
    arguments: Mapping[str, Any]
    policy: str | None
    """Name of the policy that is in force."""

    answers: bool = True
    """Whether enough of its members are online for it to work: a majority, for a quorum queue."""


@dataclass(slots=True, kw_only=True)
class Inventory:
    """One vhost as it was when it was read, with what was written since."""

    exchanges: dict[str, Exchange] = field(default_factory=dict)
    queues: dict[str, QueueDefinition] = field(default_factory=dict)
    bindings: set[Binding] = field(default_factory=set)
    policies: dict[str, QueuePolicy] = field(default_factory=dict)
    password_hashes: dict[str, str] = field(default_factory=dict)
    tagged: set[str] = field(default_factory=set)
    """Users with a tag, such as `administrator`. Longshore's have none."""

    permissions: dict[str, Permissions] = field(default_factory=dict)
    topics: dict[str, dict[str, Keys]] = field(default_factory=dict)
    """User → exchange → keys that it may use."""

    strayed: set[str] = field(default_factory=set)
    """Users with rights in other vhosts. Longshore's have none."""

    exchange_policies: dict[str, str] = field(default_factory=dict)
    """Names of the policies that are in force for exchanges. Longshore's are for queues only."""

    states: dict[str, QueueState] = field(default_factory=dict)
    """The state of each queue: only what was read, not what was written since."""

    knows_policies: bool = True
    """Whether `states` still show which policies are in force: none was written since."""

    _listed: dict[str, Set[str]] = field(default_factory=dict)
    """Queues that each roster names, cached since the last change of policies."""

    def missing(self, wanted: Topology) -> Topology:
        """Return the part of `wanted` that must be written."""
        return Topology(
            exchanges=tuple(e for e in wanted.exchanges if self.exchanges.get(e.name) != e),
            queues=tuple(q for q in wanted.queues if self.queues.get(q.name) != q),
            bindings=tuple(b for b in wanted.bindings if b not in self.bindings),
            policies=tuple(p for p in wanted.policies if self.policies.get(p.name) != p),
            absent_policies=tuple(p for p in wanted.absent_policies if p.is_in(self.policies)),
            listed=tuple(p for p in wanted.listed if p.queue not in self.listed(p.roster)),
        )

    def listed(self, roster: str) -> Set[str]:
        """Return the job queues that a roster names, for themselves or for their dead letters."""
        if roster not in self._listed:
            parts = ROSTERS[roster].listed(self.policies)
            self._listed[roster] = frozenset().union(*parts.values())
        return self._listed[roster]

    def declared(self, roster: str) -> Set[str]:
        """Return the job queues that Longshore has declared or, for the roster of dead letters,
        those whose dead-letter queue it has declared. Only Longshore binds queues to its exchanges
        under their own names."""
        if roster == DEAD:
            keys = {each.key.removeprefix("#.") for each in self._from(DEAD_EXCHANGE)}
            bound = {
                key: dead_queue_name(key) for key in keys if dead_binding(key) in self.bindings
            }
        else:
            ways = self._from(JOBS_EXCHANGE)
            bound = {each.key: each.key for each in ways if each.destination == each.key}
        return {key for key, queue in bound.items() if self._is_plain(queue) and can_be_listed(key)}

    def keys(self, queue: str) -> set[str]:
        """Return the names of the TaskQueues whose jobs are routed to a queue."""
        ways = (each for each in self.bindings if each.destination == queue and each.to == "queue")
        # Each of them has two bindings, of which one may be missing.
        keys = (each.key.removeprefix("#.") for each in ways if each.source in _ENTRIES)
        return {key for key in keys if can_be_listed(key)}

    def _from(self, exchange: str) -> Iterator[Binding]:
        return (each for each in self.bindings if each.source == exchange and each.to == "queue")

    def _is_plain(self, queue: str) -> bool:
        return self.queues.get(queue) == QueueDefinition(name=queue)

    def foreign_queues(self, wanted: Topology) -> list[str]:
        """Describe the queues that exist under a wanted name, but with other arguments."""
        return [
            f"queue {queue.name} ({self._in_words(queue.name)})"
            for queue in wanted.queues
            if queue.name in self.queues and self.queues[queue.name] != queue
        ]

    def foreign_exchanges(self, wanted: Topology) -> list[Exchange]:
        """Return the exchanges that exist under a wanted name, but with another type, other flags
        or other arguments."""
        return [
            found
            for exchange in wanted.exchanges
            if (found := self.exchanges.get(exchange.name)) and found != exchange
        ]

    def foreign_policies(self, wanted: Topology) -> list[str]:
        """Return the wanted names that foreign policies for other queues have.

        Another definition or priority does not make a policy foreign: an older Longshore may have
        written it, or someone may have changed Longshore's.
        """
        return [
            policy.name
            for policy in wanted.policies
            if (found := self.policies.get(policy.name))
            and found.pattern not in (policy.pattern, EARLIER_PATTERNS.get(policy.name))
        ] + [
            name for roster in wanted.rosters for name in ROSTERS[roster].unreadable(self.policies)
        ]

    def winning_policies(self, expected: Mapping[str, str]) -> dict[str, str]:
        """Return the queues to which another policy than expected applies, with that policy.

        The result is valid only while `knows_policies`.
        """
        return {
            queue: state.policy
            for queue, policy in expected.items()
            if (state := self.states.get(queue))
            and state.policy
            and policy not in (state.policy, roster_of(state.policy))
        }

    def has_dead_lettering(self, queue: str) -> bool:
        """Return whether jobs of a queue may be on their way to the dead letters, where they are
        neither ready nor held by a consumer. If in doubt, it is True."""
        state = self.states.get(queue)
        if state is None or not self.knows_policies:
            return True
        if "x-dead-letter-exchange" in state.arguments:
            return True
        if state.policy is None:
            return False
        policy = self.policies.get(state.policy)
        return policy is None or "dead-letter-exchange" in policy.definition

    def answers(self, queue: str) -> bool:
        """Return whether a queue works, as far as was read. One that does not reports 0 jobs."""
        state = self.states.get(queue)
        return state is None or state.answers

    def _in_words(self, queue: str) -> str:
        found = self.queues[queue]
        return f"{found.type}, arguments {dict(found.arguments) or 'none'}"

    def is_new(self, topology: Topology) -> bool:
        """Return whether nothing with these names exists, and nothing must be removed."""
        return not (
            topology.absent_policies
            or any(exchange.name in self.exchanges for exchange in topology.exchanges)
            or any(queue.name in self.queues for queue in topology.queues)
            or any(policy.name in self.policies for policy in topology.policies)
        )

    def add(self, written: Topology) -> None:
        """Record what was written, so that RabbitMQ need not be read again."""
        self.exchanges |= {exchange.name: exchange for exchange in written.exchanges}
        self.queues |= {queue.name: queue for queue in written.queues}
        self.bindings |= set(written.bindings)
        self.policies |= {policy.name: policy for policy in written.policies}
        for absent in written.absent_policies:
            self.policies.pop(absent.name, None)
        if written.policies or written.absent_policies:
            self.knows_policies = False
            self._listed.clear()

    def forget(self, queues: Iterable[str]) -> None:
        """Record that queues were deleted."""
        for queue in queues:
            self.queues.pop(queue, None)

    def add_user(self, user: User, *, password_hash: str) -> None:
        """Record that a user was created."""
        self.password_hashes[user.name] = password_hash
        self.tagged.discard(user.name)
        self.strayed.discard(user.name)
        self.permissions[user.name] = user.permissions
        self.topics[user.name] = dict(user.topics)

    def has_user(self, user: User, *, password: str) -> bool:
        """Return whether `user` exists with exactly its rights and with this password."""
        return self.has_rights(user) and is_password(
            password, password_hash=self.password_hashes[user.name]
        )

    def has_rights(self, user: User) -> bool:
        """Return whether `user` exists with exactly its rights."""
        return (
            user.name in self.password_hashes
            and user.name not in self.tagged
            and user.name not in self.strayed
            and self.permissions.get(user.name) == user.permissions
            and self.topics.get(user.name) == dict(user.topics)
        )
