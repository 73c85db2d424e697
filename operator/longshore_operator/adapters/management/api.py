"""RabbitMQ's management API: reads one vhost in bulk, writes single objects."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from longshore_operator.adapters.management.answers import no_management, understood
from longshore_operator.adapters.management.batches import Batches
from longshore_operator.adapters.management.calls import ManagementCalls, checked
from longshore_operator.adapters.management.definitions import (
    Definitions,
    exchange_body,
    merged_definitions,
    policy_body,
    topology_definitions,
    user_definitions,
)
from longshore_operator.adapters.management.listings import (
    binding_in,
    exchange_in,
    permissions_in,
    policy_in,
    queue_in,
    state_in,
)
from longshore_operator.adapters.management.versions import versions_in
from longshore_operator.core.access.credentials import Address, hash_password
from longshore_operator.core.access.permissions import Keys, User
from longshore_operator.core.rabbitmq.blockage import Alarm
from longshore_operator.core.rabbitmq.depth import Count
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.policies import QueuePolicy
from longshore_operator.core.rabbitmq.topology import Binding, Topology
from longshore_operator.errors import Invalid

SILENT_FOR = 10
"""Seconds for which a node that has just started may report nothing; by default, it takes 5."""

LISTINGS = 4
"""Attempts at reading a list: RabbitMQ answers 500 if an object is removed meanwhile (4.3.6)."""


class Management:
    """One vhost, as its administrator sees it. Must be created while an event loop runs."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._calls = ManagementCalls(address)
        self._url = self._calls.url
        self._vhost = address.vhost
        self._me = address.username
        self._imports = Batches(self._import)
        self._departures = Batches(self._delete_users)

    async def close(self) -> None:
        """Close its connections."""
        await self._calls.close()

    async def version(self) -> str:
        """Return RabbitMQ's version: the lowest of its running nodes, if a cluster is being
        upgraded.

        This waits for a node that has just started and reports nothing yet.
        """
        found = await self._get("overview", "?disable_stats=true")
        if not isinstance(found, Mapping) or "rabbitmq_version" not in found:
            raise no_management(self._url)
        for _ in range(SILENT_FOR):
            nodes = await self._get("nodes", "?columns=running,applications")
            with understood(self._url):
                versions = versions_in(nodes)
            if versions.lowest is None or not versions.silent:
                break
            await asyncio.sleep(1.0)
        return versions.lowest or str(found["rabbitmq_version"])

    async def alarms(self) -> tuple[Alarm, ...]:
        """Return the alarms that are currently in effect on any node."""
        response = await self._calls.send("GET", "health", "checks", "alarms")
        if response.status != HTTPStatus.SERVICE_UNAVAILABLE:
            checked(response)
            return ()
        with understood(self._url):
            return tuple(
                Alarm(resource=str(each["resource"]), node=str(each["node"]))
                for each in response.json()["alarms"]
            )

    async def ensure_administrator(self) -> None:
        """Raise Invalid if our user lacks the tag `administrator`, without which it may read but
        not create users."""
        found = await self._get("whoami")
        with understood(self._url):
            tags = [str(tag) for tag in found["tags"]]
        if "administrator" not in tags:
            raise Invalid(
                f"user {self._me!r} is not an administrator of RabbitMQ at {self._url} "
                f"(its tags: {', '.join(tags) or 'none'}); give it the tag administrator, or name "
                "another Secret in spec.secretRef",
                reason="NotAdministrator",
            )

    async def ensure_vhost(self) -> None:
        """Ensure that the vhost exists and that the administrator has all rights in it.

        Raises Invalid if it is missing and must not be created.
        """
        if not await self._exists("vhosts", self._vhost):
            if not self._address.create_vhost:
                raise Invalid(
                    f"RabbitMQ has no virtual host {self._vhost!r} and spec.createVhost is false; "
                    "create it, or create a Broker with another spec.vhost",
                    reason="VhostNotFound",
                )
            await self._write("PUT", "vhosts", self._vhost, body={})
        if not await self._exists("permissions", self._vhost, self._me):
            everything = {"configure": ".*", "write": ".*", "read": ".*"}
            await self._write("PUT", "permissions", self._vhost, self._me, body=everything)

    async def inventory(self) -> Inventory:
        """Return what exists in the vhost now."""
        vhost = self._vhost
        lean = "?disable_stats=true"
        exchanges = await self._get("exchanges", vhost, lean)
        # No `enable_queue_totals`: it omits queues whose leader is down (4.0.5, 4.3.6).
        queues = await self._get("queues", vhost, lean)
        bindings = await self._get("bindings", vhost)
        policies = await self.policies()
        users = await self._get("users")
        permissions = await self._get("permissions")  # of all vhosts: users belong to none
        topics = await self._get("vhosts", vhost, "topic-permissions")
        with understood(self._url):
            inventory = Inventory(
                exchanges={item["name"]: exchange_in(item) for item in exchanges},
                queues={item["name"]: queue_in(item) for item in queues},
                bindings={binding_in(item) for item in bindings},
                policies=policies,
                states={item["name"]: state_in(item) for item in queues},
                password_hashes={item["name"]: item.get("password_hash", "") for item in users},
                tagged={item["name"] for item in users if item.get("tags")},
                permissions=permissions_in(permissions, vhost=vhost),
                strayed={item["user"] for item in permissions if item["vhost"] != vhost},
                exchange_policies={
                    item["name"]: item["policy"] for item in exchanges if item.get("policy")
                },
            )
            for item in topics:
                keys = Keys(write=item["write"], read=item["read"])
                inventory.topics.setdefault(item["user"], {})[item["exchange"]] = keys
        return inventory

    async def policies(self) -> dict[str, QueuePolicy]:
        """Return the vhost's current policies by name."""
        found = await self._get("policies", self._vhost)
        with understood(self._url):
            return {item["name"]: policy_in(item) for item in found}

    async def create(self, topology: Topology) -> None:
        """Write a topology of which nothing exists, together with others that are created at the
        same time."""
        try:
            await self._imports.add(topology_definitions(topology, vhost=self._vhost))
        except Invalid:
            # One bad object makes the whole import fail; alone, each gets its own answer.
            await self.apply(topology)

    async def apply(self, topology: Topology) -> None:
        """Write every object of `topology`, in the order of their dependencies."""
        vhost = self._vhost
        for absent in topology.absent_policies:
            await self._remove("policies", vhost, absent.name)
        for policy in topology.policies:
            await self._write("PUT", "policies", vhost, policy.name, body=policy_body(policy))
        for exchange in topology.exchanges:
            body = exchange_body(exchange)
            await self._write("PUT", "exchanges", vhost, exchange.name, body=body)
        for queue in topology.queues:
            body = {"durable": True, "arguments": dict(queue.declared)}
            await self._write("PUT", "queues", vhost, queue.name, body=body)
        for binding in topology.bindings:
            await self._write(
                "POST", *_binding_path(vhost, binding), body={"routing_key": binding.key}
            )

    async def unbind(self, binding: Binding) -> None:
        """Remove `binding`, if it exists."""
        await self._remove(*_binding_path(self._vhost, binding), binding.key or "~")

    async def create_user(self, user: User, *, password: str) -> str:
        """Create a new user, together with others that are created at the same time, and return the
        hash of its password."""
        hashed = hash_password(password, salt=secrets.token_bytes(4))
        definitions = user_definitions(user, password_hash=hashed, vhost=self._vhost)
        try:
            await self._imports.add(definitions)
        except Invalid:
            return await self.put_user(user, password=password)
        return hashed

    async def put_user(self, user: User, *, password: str) -> str:
        """Create or change `user` and return the hash of its password."""
        hashed = hash_password(password, salt=secrets.token_bytes(4))
        await self.put_hashed_user(user, password_hash=hashed)
        return hashed

    async def put_hashed_user(self, user: User, *, password_hash: str) -> None:
        """Create or change `user`, with the password that has this hash."""
        definitions = user_definitions(user, password_hash=password_hash, vhost=self._vhost)
        await self._write("PUT", "users", user.name, body=definitions["users"][0])
        await self._put_rights(user)

    async def _put_rights(self, user: User) -> None:
        await self._withdraw(user)
        # Topics first: without a topic permission RabbitMQ lets a user publish any key.
        for exchange, keys in user.topics:
            await self._write(
                "PUT",
                "topic-permissions",
                self._vhost,
                user.name,
                body={"exchange": exchange, "write": keys.write, "read": keys.read},
            )
        rights = user.permissions
        await self._write(
            "PUT",
            "permissions",
            self._vhost,
            user.name,
            body={"configure": rights.configure, "write": rights.write, "read": rights.read},
        )

    async def _withdraw(self, user: User) -> None:
        """Remove the rights that the user should not have."""
        rights = await self._get("users", user.name, "permissions")
        topics = await self._get("users", user.name, "topic-permissions")
        with understood(self._url):
            elsewhere = {item["vhost"] for item in rights} - {self._vhost}
            known = {item["exchange"] for item in topics if item["vhost"] == self._vhost}
        for vhost in elsewhere:
            await self._remove("permissions", vhost, user.name)
        if known <= dict(user.topics).keys():
            return
        # RabbitMQ can only remove all topic permissions of a user, and a user without any may
        # publish with any key. So until they are back, it may publish nothing.
        nothing = {"configure": "^$", "write": "^$", "read": user.permissions.read}
        await self._write("PUT", "permissions", self._vhost, user.name, body=nothing)
        await self._remove("topic-permissions", self._vhost, user.name)

    async def delete_user(self, name: str) -> None:
        """Remove a user, if it exists, together with others that are removed at the same time.

        RabbitMQ closes its connections.
        """
        await self._departures.add(name)

    async def delete_queue(self, name: str) -> None:
        """Remove a queue with all its jobs, if it exists."""
        await self._remove("queues", self._vhost, name)

    async def delete_exchange(self, name: str) -> None:
        """Remove an exchange, if it exists."""
        await self._remove("exchanges", self._vhost, name)

    async def delete_policy(self, name: str) -> None:
        """Remove a policy, if it exists."""
        await self._remove("policies", self._vhost, name)

    async def has_queue(self, name: str) -> bool:
        """Return whether there is a queue of this name."""
        return await self._exists("queues", self._vhost, name, "?disable_stats=true")

    async def count(self, queue: str) -> Count | None:
        """Return what the leader of a quorum queue counted last; None while nothing is known.

        The count is up to 5 s old because of `quorum_tick_interval`, and 5 s more because of
        `collect_statistics_interval`. All nodes give the same answer. With `enable_queue_totals`,
        they do not: each node reads its own table, in which only the leader writes (4.0.5, 4.3.6).
        """
        columns = "?columns=consumers,messages_persistent"
        response = await self._calls.send("GET", "queues", self._vhost, queue, query=columns)
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        found = checked(response).json() or {}  # RabbitMQ writes no columns as []
        if not isinstance(found, Mapping):
            raise no_management(self._url)
        # The leader counts both at the same time, and `messages` at another. Every message of a
        # quorum queue is persistent: ready, unacked, or on its way to the dead letters.
        consumers, jobs = found.get("consumers"), found.get("messages_persistent")
        if not isinstance(consumers, int) or not isinstance(jobs, int):
            return None
        return Count(consumers=consumers, jobs=jobs)

    async def _import(self, batch: Sequence[Definitions]) -> None:
        await self._write("POST", "definitions", body=merged_definitions(batch))

    async def _delete_users(self, names: Sequence[str]) -> None:
        await self._write("POST", "users", "bulk-delete", body={"users": names})
        # It answers 204 whatever happened to each: what remains is deleted one by one.
        users = await self._get("users")
        with understood(self._url):
            there = {user["name"] for user in users}
        for name in there.intersection(names):
            await self._remove("users", name)

    async def _get(self, *path: str) -> Any:
        query = path[-1] if path[-1].startswith("?") else ""
        parts = path[:-1] if query else path
        for _ in range(LISTINGS - 1):
            response = await self._calls.send("GET", *parts, query=query)
            if response.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                return checked(response).json()
            await asyncio.sleep(0.1)
        return checked(await self._calls.send("GET", *parts, query=query)).json()

    async def _exists(self, *path: str) -> bool:
        query = path[-1] if path[-1].startswith("?") else ""
        response = await self._calls.send("GET", *(path[:-1] if query else path), query=query)
        return response.status != HTTPStatus.NOT_FOUND and bool(checked(response))

    async def _write(self, method: str, *path: str, body: Mapping[str, Any]) -> None:
        checked(await self._calls.send(method, *path, body=body))

    async def _remove(self, *path: str) -> None:
        response = await self._calls.send("DELETE", *path)
        if response.status != HTTPStatus.NOT_FOUND:
            checked(response)


def _binding_path(vhost: str, binding: Binding) -> tuple[str, ...]:
    return ("bindings", vhost, "e", binding.source, binding.to[0], binding.destination)
