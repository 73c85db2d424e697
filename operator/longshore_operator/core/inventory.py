"""What stands in RabbitMQ now, and what of the wanted is missing there."""

from dataclasses import dataclass, field

from longshore_operator.core.credentials import is_password
from longshore_operator.core.permissions import Keys, Permissions, User
from longshore_operator.core.topology import Binding, Exchange, Policy, Queue, Topology


@dataclass(slots=True, kw_only=True)
class Inventory:
    """One vhost as it was when read, with what was written since."""

    exchanges: dict[str, Exchange] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    bindings: set[Binding] = field(default_factory=set)
    policies: dict[str, Policy] = field(default_factory=dict)
    password_hashes: dict[str, str] = field(default_factory=dict)
    permissions: dict[str, Permissions] = field(default_factory=dict)
    topics: dict[str, dict[str, Keys]] = field(default_factory=dict)
    """User → exchange → keys that it may use."""

    def missing(self, wanted: Topology) -> Topology:
        """The part of `wanted` that must be written."""
        return Topology(
            exchanges=tuple(e for e in wanted.exchanges if self.exchanges.get(e.name) != e),
            queues=tuple(q for q in wanted.queues if self.queues.get(q.name) != q),
            bindings=tuple(b for b in wanted.bindings if b not in self.bindings),
            policies=tuple(p for p in wanted.policies if self.policies.get(p.name) != p),
            absent_policies=tuple(p for p in wanted.absent_policies if p in self.policies),
        )

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
        for name in written.absent_policies:
            self.policies.pop(name, None)

    def add_user(self, user: User, *, password_hash: str) -> None:
        """Note a user that was made."""
        self.password_hashes[user.name] = password_hash
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
            and self.permissions.get(user.name) == user.permissions
            and self.topics.get(user.name) == dict(user.topics)
        )
