"""What stands in RabbitMQ now, and what of the wanted is missing there."""

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
    """A queue as it is, whoever made it."""

    type: str
    is_durable: bool
    is_auto_deleted: bool
    arguments: Mapping[str, Any]
    policy: str | None
    """Name of the policy that is in force."""

    answers: bool = True
    """Whether so many of its members are there that it works: most of them for a quorum queue."""


@dataclass(slots=True, kw_only=True)
class Inventory:
    """One vhost as it was when read, with what was written since."""

    exchanges: dict[str, Exchange] = field(default_factory=dict)
    queues: dict[str, QueueDefinition] = field(default_factory=dict)
    bindings: set[Binding] = field(default_factory=set)
    policies: dict[str, QueuePolicy] = field(default_factory=dict)
    password_hashes: dict[str, str] = field(default_factory=dict)
    tagged: set[str] = field(default_factory=set)
    """Users with a tag, such as `administrator`. Ours have none."""

    permissions: dict[str, Permissions] = field(default_factory=dict)
    topics: dict[str, dict[str, Keys]] = field(default_factory=dict)
    """User → exchange → keys that it may use."""

    strayed: set[str] = field(default_factory=set)
    """Users with rights in other vhosts. Ours have none."""

    exchange_policies: dict[str, str] = field(default_factory=dict)
    """Names of the policies that are in force for exchanges. Ours are for queues only."""

    states: dict[str, QueueState] = field(default_factory=dict)
    """By queue. Only what was read, nothing that was written since."""

    knows_policies: bool = True
    """Whether `states` still tell which policies are in force: none was written since."""

    _listed: dict[str, Set[str]] = field(default_factory=dict)
    """Queues that each roster names, since the policies were written last."""

    def missing(self, wanted: Topology) -> Topology:
        """The part of `wanted` that must be written."""
        return Topology(
            exchanges=tuple(e for e in wanted.exchanges if self.exchanges.get(e.name) != e),
            queues=tuple(q for q in wanted.queues if self.queues.get(q.name) != q),
            bindings=tuple(b for b in wanted.bindings if b not in self.bindings),
            policies=tuple(p for p in wanted.policies if self.policies.get(p.name) != p),
            absent_policies=tuple(p for p in wanted.absent_policies if p.is_in(self.policies)),
            listed=tuple(p for p in wanted.listed if p.queue not in self.listed(p.roster)),
        )

    def listed(self, roster: str) -> Set[str]:
        """Job queues that a roster names: for their own sake, or for their dead letters'."""
        if roster not in self._listed:
            parts = ROSTERS[roster].listed(self.policies)
            self._listed[roster] = frozenset().union(*parts.values())
        return self._listed[roster]

    def declared(self, roster: str) -> Set[str]:
        """Job queues that Longshore has declared, or whose dead-letter queue it has, for `roster`:
        nobody else binds them to its exchanges under their own names."""
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
        """Names of the TaskQueues whose jobs are routed to a queue."""
        ways = (each for each in self.bindings if each.destination == queue and each.to == "queue")
        # Of the two ways that there are for each of them, one may be gone.
        keys = (each.key.removeprefix("#.") for each in ways if each.source in _ENTRIES)
        return {key for key in keys if can_be_listed(key)}

    def _from(self, exchange: str) -> Iterator[Binding]:
        return (each for each in self.bindings if each.source == exchange and each.to == "queue")

    def _is_plain(self, queue: str) -> bool:
        return self.queues.get(queue) == QueueDefinition(name=queue)

    def foreign_queues(self, wanted: Topology) -> list[str]:
        """Queues that are there under a wanted name but with other arguments, in words."""
        return [
            f"queue {queue.name} ({self._in_words(queue.name)})"
            for queue in wanted.queues
            if queue.name in self.queues and self.queues[queue.name] != queue
        ]

    def foreign_exchanges(self, wanted: Topology) -> list[Exchange]:
        """Wanted exchanges as they are there: made by somebody with another type, flags or
        arguments."""
        return [
            found
            for exchange in wanted.exchanges
            if (found := self.exchanges.get(exchange.name)) and found != exchange
        ]

    def foreign_policies(self, wanted: Topology) -> list[str]:
        """Names of wanted policies that somebody has given to a policy for other queues.

        Another definition or priority is no sign of it: an older Longshore may have written it, or
        someone may have changed ours.
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
        """Queues that are not under the policy that is expected for them, with the one that is.

        Means something only while `knows_policies`.
        """
        return {
            queue: state.policy
            for queue, policy in expected.items()
            if (state := self.states.get(queue))
            and state.policy
            and policy not in (state.policy, roster_of(state.policy))
        }

    def has_dead_lettering(self, queue: str) -> bool:
        """Whether jobs of a queue may be on their way to the dead letters, where no consumer holds
        them and they are not ready either. If in doubt, yes."""
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
        """Whether a queue works, for all that was read. One that does not counts 0 jobs."""
        state = self.states.get(queue)
        return state is None or state.answers

    def _in_words(self, queue: str) -> str:
        state = self.states.get(queue)
        kind = state.type if state else "quorum"
        arguments = dict(self.queues[queue].arguments)
        arguments.pop("x-queue-type", None)
        return f"{kind}, arguments {arguments or 'none'}"

    def is_new(self, topology: Topology) -> bool:
        """Whether nothing of these names is there, and nothing must go."""
        return not (
            topology.absent_policies
            or any(exchange.name in self.exchanges for exchange in topology.exchanges)
            or any(queue.name in self.queues for queue in topology.queues)
            or any(policy.name in self.policies for policy in topology.policies)
        )

    def add(self, written: Topology) -> None:
        """Note what was written, so that the next look need not ask RabbitMQ."""
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
        """Note queues that are gone."""
        for queue in queues:
            self.queues.pop(queue, None)

    def add_user(self, user: User, *, password_hash: str) -> None:
        """Note a user that was made."""
        self.password_hashes[user.name] = password_hash
        self.tagged.discard(user.name)
        self.strayed.discard(user.name)
        self.permissions[user.name] = user.permissions
        self.topics[user.name] = dict(user.topics)

    def has_user(self, user: User, *, password: str) -> bool:
        """Whether `user` is there, with exactly its rights and with this password."""
        return self.has_rights(user) and is_password(
            password, password_hash=self.password_hashes[user.name]
        )

    def has_rights(self, user: User) -> bool:
        """Whether `user` is there with exactly its rights."""
        return (
            user.name in self.password_hashes
            and user.name not in self.tagged
            and user.name not in self.strayed
            and self.permissions.get(user.name) == user.permissions
            and self.topics.get(user.name) == dict(user.topics)
        )
