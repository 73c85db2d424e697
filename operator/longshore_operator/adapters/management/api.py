"""RabbitMQ's management API: reads one vhost in bulk, writes single objects."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp
from pydantic_core import from_json
from yarl import URL

from longshore.contract.timing import CONNECT_TIMEOUT
from longshore_operator.adapters import tls
from longshore_operator.adapters.management.answers import no_management, understood
from longshore_operator.adapters.management.batches import Batches
from longshore_operator.adapters.management.definitions import (
    Definitions,
    exchange_body,
    merged,
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
from longshore_operator.errors import Invalid, Transient

TIMEOUT = 20.0
"""Seconds for one call; the slowest, a policy among 500 others, takes 0.4 s."""

AT_ONCE = 8
"""Calls at the same time; RabbitMQ writes its objects one after the other anyway."""

SILENT_FOR = 10
"""Seconds that a node which has just started may say nothing of itself. By default it takes 5."""

LISTINGS = 4
"""Attempts at reading a list: RabbitMQ answers 500 when an object goes while it reads (4.3.6)."""


class Management:
    """One vhost, seen by its administrator. Made while an event loop runs."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._url = f"{address.management_url}/api/"
        self._vhost = address.vhost
        self._me = address.username
        credentials = aiohttp.encode_basic_auth(
            address.username, address.password, encoding="utf-8"
        )
        self._client = aiohttp.ClientSession(
            headers={"Authorization": credentials},
            timeout=aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=CONNECT_TIMEOUT),
            connector=aiohttp.TCPConnector(ssl=tls.context(address.tls)),
            # A proxy of the environment would hear the administrator's password.
            trust_env=False,
        )
        self._calls = asyncio.Semaphore(AT_ONCE)
        self._imports = Batches(self._import)
        self._departures = Batches(self._delete_users)

    async def close(self) -> None:
        """Give its connections back."""
        await self._client.close()

    async def version(self) -> str:
        """RabbitMQ's version; the lowest of its running nodes while a cluster is being upgraded.

        A node that has just started, and says nothing yet, is waited for.
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
        """Alarms that are in effect on any node, at this moment."""
        response = await self._send("GET", "health", "checks", "alarms")
        if response.status != HTTPStatus.SERVICE_UNAVAILABLE:
            _checked(response)
            return ()
        with understood(self._url):
            return tuple(
                Alarm(resource=str(each["resource"]), node=str(each["node"]))
                for each in response.json()["alarms"]
            )

    async def ensure_administrator(self) -> None:
        """Raises Invalid where our user may read but not make users, which takes this tag."""
        found = await self._get("whoami")
        with understood(self._url):
            tags = [str(tag) for tag in found["tags"]]
        if "administrator" not in tags:
            raise Invalid(
                f"user {self._me!r} is no administrator of RabbitMQ at {self._url} "
                f"(its tags: {', '.join(tags) or 'none'}); give it the tag administrator, or name "
                "another Secret in spec.secretRef",
                reason="NotAdministrator",
            )

    async def ensure_vhost(self) -> None:
        """See that the vhost is there, with all rights in it for the administrator.

        Raises Invalid where it is missing and must not be made.
        """
        if not await self._exists("vhosts", self._vhost):
            if not self._address.create_vhost:
                raise Invalid(
                    f"RabbitMQ has no virtual host {self._vhost!r} and spec.createVhost is false; "
                    "make it, or name another in spec.vhost of a new Broker",
                    reason="VhostNotFound",
                )
            await self._write("PUT", "vhosts", self._vhost, body={})
        if not await self._exists("permissions", self._vhost, self._me):
            everything = {"configure": ".*", "write": ".*", "read": ".*"}
            await self._write("PUT", "permissions", self._vhost, self._me, body=everything)

    async def inventory(self) -> Inventory:
        """What stands in the vhost now."""
        vhost = self._vhost
        lean = "?disable_stats=true"
        exchanges = await self._get("exchanges", vhost, lean)
        # No `enable_queue_totals`: with it queues whose leader is down are left out (4.0.5, 4.3.6).
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
        """The vhost's policies by name, as they are now."""
        found = await self._get("policies", self._vhost)
        with understood(self._url):
            return {item["name"]: policy_in(item) for item in found}

    async def create(self, topology: Topology) -> None:
        """Write what is wholly new, together with what others create at the same time."""
        try:
            await self._imports.add(topology_definitions(topology, vhost=self._vhost))
        except Invalid:
            # One bad object spoils an import for all: alone, each gets its own answer.
            await self.apply(topology)

    async def apply(self, topology: Topology) -> None:
        """Write every object of `topology`, in the order in which they need each other."""
        vhost = self._vhost
        for absent in topology.absent_policies:
            await self._remove("policies", vhost, absent.name)
        for policy in topology.policies:
            await self._write("PUT", "policies", vhost, policy.name, body=policy_body(policy))
        for exchange in topology.exchanges:
            body = exchange_body(exchange)
            await self._write("PUT", "exchanges", vhost, exchange.name, body=body)
        for queue in topology.queues:
            arguments = {"x-queue-type": "quorum", **queue.arguments}
            body = {"durable": True, "arguments": arguments}
            await self._write("PUT", "queues", vhost, queue.name, body=body)
        for binding in topology.bindings:
            await self._write(
                "POST", *_binding_path(vhost, binding), body={"routing_key": binding.key}
            )

    async def unbind(self, binding: Binding) -> None:
        """Remove `binding`, if it is there."""
        await self._remove(*_binding_path(self._vhost, binding), binding.key or "~")

    async def create_user(self, user: User, *, password: str) -> str:
        """Make a new user, together with what others create; its password's hash."""
        hashed = hash_password(password, salt=secrets.token_bytes(4))
        definitions = user_definitions(user, password_hash=hashed, vhost=self._vhost)
        try:
            await self._imports.add(definitions)
        except Invalid:
            return await self.put_user(user, password=password)
        return hashed

    async def put_user(self, user: User, *, password: str) -> str:
        """Make `user` what it should be; its password's hash."""
        hashed = hash_password(password, salt=secrets.token_bytes(4))
        await self.put_hashed_user(user, password_hash=hashed)
        return hashed

    async def put_hashed_user(self, user: User, *, password_hash: str) -> None:
        """Make `user` what it should be, with the password of this hash."""
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
        """Take away what rights the user has beyond its own."""
        rights = await self._get("users", user.name, "permissions")
        topics = await self._get("users", user.name, "topic-permissions")
        with understood(self._url):
            elsewhere = {item["vhost"] for item in rights} - {self._vhost}
            known = {item["exchange"] for item in topics if item["vhost"] == self._vhost}
        for vhost in elsewhere:
            await self._remove("permissions", vhost, user.name)
        if known <= dict(user.topics).keys():
            return
        # RabbitMQ removes all topic permissions of a user or none, and who has none may publish any
        # key: until they are back, nothing.
        nothing = {"configure": "^$", "write": "^$", "read": user.permissions.read}
        await self._write("PUT", "permissions", self._vhost, user.name, body=nothing)
        await self._remove("topic-permissions", self._vhost, user.name)

    async def delete_user(self, name: str) -> None:
        """Remove a user, if it is there, together with what others remove at the same time.

        RabbitMQ closes its connections.
        """
        await self._departures.add(name)

    async def delete_queue(self, name: str) -> None:
        """Remove a queue with all that is in it, if it is there."""
        await self._remove("queues", self._vhost, name)

    async def delete_exchange(self, name: str) -> None:
        """Remove an exchange, if it is there."""
        await self._remove("exchanges", self._vhost, name)

    async def delete_policy(self, name: str) -> None:
        """Remove a policy, if it is there."""
        await self._remove("policies", self._vhost, name)

    async def has_queue(self, name: str) -> bool:
        """Whether there is a queue of this name."""
        return await self._exists("queues", self._vhost, name, "?disable_stats=true")

    async def count(self, queue: str) -> Count | None:
        """What the leader of a quorum queue counted last; None while nothing is known of it.

        Up to 5 s old by `quorum_tick_interval`, and 5 s more by `collect_statistics_interval`. All
        nodes give the same answer, which they don't with `enable_queue_totals`: that one a node
        takes from a table of its own, in which only the leader has written (4.0.5, 4.3.6).
        """
        columns = "?columns=consumers,messages_persistent"
        response = await self._send("GET", "queues", self._vhost, queue, query=columns)
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        found = _checked(response).json() or {}  # RabbitMQ's way to write no columns is []
        if not isinstance(found, Mapping):
            raise no_management(self._url)
        # Both from one and the same look of the leader's; `messages` is from another. Every message
        # of a quorum queue is persistent: ready, unacked, on its way to the dead letters.
        consumers, jobs = found.get("consumers"), found.get("messages_persistent")
        if not isinstance(consumers, int) or not isinstance(jobs, int):
            return None
        return Count(consumers=consumers, jobs=jobs)

    async def _import(self, batch: Sequence[Definitions]) -> None:
        await self._write("POST", "definitions", body=merged(batch))

    async def _delete_users(self, names: Sequence[str]) -> None:
        await self._write("POST", "users", "bulk-delete", body={"users": names})
        # It answers 204 whatever became of each: what it could not delete is asked for by itself.
        users = await self._get("users")
        with understood(self._url):
            there = {user["name"] for user in users}
        for name in there.intersection(names):
            await self._remove("users", name)

    async def _get(self, *path: str) -> Any:
        query = path[-1] if path[-1].startswith("?") else ""
        parts = path[:-1] if query else path
        for _ in range(LISTINGS - 1):
            response = await self._send("GET", *parts, query=query)
            if response.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                return _checked(response).json()
            await asyncio.sleep(0.1)
        return _checked(await self._send("GET", *parts, query=query)).json()

    async def _exists(self, *path: str) -> bool:
        query = path[-1] if path[-1].startswith("?") else ""
        response = await self._send("GET", *(path[:-1] if query else path), query=query)
        return response.status != HTTPStatus.NOT_FOUND and bool(_checked(response))

    async def _write(self, method: str, *path: str, body: Mapping[str, Any]) -> None:
        _checked(await self._send(method, *path, body=body))

    async def _remove(self, *path: str) -> None:
        response = await self._send("DELETE", *path)
        if response.status != HTTPStatus.NOT_FOUND:
            _checked(response)

    async def _send(
        self, method: str, *path: str, query: str = "", body: Mapping[str, Any] | None = None
    ) -> "_Response":
        # Encoded already: a vhost of the name "/" is %2F, which must stay so.
        url = URL(self._url + "/".join(quote(part, safe="") for part in path) + query, encoded=True)
        try:
            async with (
                self._calls,
                self._client.request(method, url, json=body, allow_redirects=False) as answer,
            ):
                response = _Response(
                    what=f"{method} {url}", status=answer.status, body=await answer.read()
                )
        except RuntimeError as error:
            raise Transient("the session was closed meanwhile", reason="Connecting") from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody has cancelled us: aiohttp does, when it is closed while it looks up a name.
            raise Transient("the session was closed meanwhile", reason="Connecting") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            found = tls.trouble(error, address=self._address, where=self._url)
            text = f"{self._url}: {error or type(error).__name__}"
            raise found or Transient(text, reason="Unreachable") from error
        if response.status == HTTPStatus.UNAUTHORIZED:
            raise Transient(
                f"RabbitMQ at {self._url} refuses user {self._me!r}: no such user, "
                "another password, or no tag that lets it use the management API",
                reason="AuthenticationFailed",
            )
        return response


@dataclass(frozen=True, slots=True, kw_only=True)
class _Response:
    what: str
    status: int
    body: bytes

    def json(self) -> Any:
        try:
            return from_json(self.body)  # twice as fast as json, on megabytes every few seconds
        except ValueError as error:
            raise no_management(self.what) from error


def _checked(response: _Response) -> _Response:
    if response.status < HTTPStatus.MULTIPLE_CHOICES:
        return response
    said = response.body[:200].decode(errors="replace")
    with suppress(ValueError, AttributeError):  # not RabbitMQ's own words
        said = from_json(response.body).get("reason", said)
    text = f"{response.what}: {response.status} {said}"
    if response.status == HTTPStatus.BAD_REQUEST:
        raise Invalid(text, reason="Refused")
    raise Transient(text, reason="ManagementFailed")


def _binding_path(vhost: str, binding: Binding) -> tuple[str, ...]:
    return ("bindings", vhost, "e", binding.source, binding.to[0], binding.destination)
