"""RabbitMQ's import of definitions: many new objects by one request.

One object at a time, a TaskQueue is sixteen requests; a thousand of them kept the operator busy for
minutes. An import takes about 10 ms a TaskQueue, most of it for the two quorum queues (4.3.6).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from longshore_operator.core.permissions import User
from longshore_operator.core.topology import Topology

MOST = 100
"""Topologies or users in one request: it must end well within the timeout of a call."""

Definitions = Mapping[str, Sequence[Mapping[str, Any]]]
"""Lists of objects by kind, as RabbitMQ exports them."""


def topology_definitions(topology: Topology, *, vhost: str) -> Definitions:
    """All of `topology` but what is to be absent."""
    return {
        "policies": [
            {
                "vhost": vhost,
                "name": policy.name,
                "pattern": policy.pattern,
                "apply-to": policy.apply_to,
                "priority": policy.priority,
                "definition": dict(policy.definition),
            }
            for policy in topology.policies
        ],
        "exchanges": [
            {
                "vhost": vhost,
                "name": exchange.name,
                "type": exchange.type,
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": dict(exchange.arguments),
            }
            for exchange in topology.exchanges
        ],
        "queues": [
            {
                "vhost": vhost,
                "name": queue.name,
                "durable": True,
                "auto_delete": False,
                "arguments": {"x-queue-type": "quorum", **queue.arguments},
            }
            for queue in topology.queues
        ],
        "bindings": [
            {
                "vhost": vhost,
                "source": binding.source,
                "destination": binding.destination,
                "destination_type": binding.to,
                "routing_key": binding.key,
                "arguments": {},
            }
            for binding in topology.bindings
        ],
    }


def user_definitions(user: User, *, password_hash: str, vhost: str) -> Definitions:
    """A user with all its rights. Nobody knows its password yet, so their order does not matter."""
    rights = user.permissions
    return {
        "users": [
            {
                "name": user.name,
                "password_hash": password_hash,
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "",
            }
        ],
        "permissions": [
            {
                "user": user.name,
                "vhost": vhost,
                "configure": rights.configure,
                "write": rights.write,
                "read": rights.read,
            }
        ],
        "topic_permissions": [
            {
                "user": user.name,
                "vhost": vhost,
                "exchange": exchange,
                "write": keys.write,
                "read": keys.read,
            }
            for exchange, keys in user.topics
        ],
    }


class Importer:
    """Imports together what is asked for while another import is under way."""

    def __init__(self, post: Callable[[Definitions], Awaitable[None]]) -> None:
        self._post = post
        self._waiting: list[tuple[Definitions, asyncio.Future[None]]] = []
        self._import: asyncio.Task[None] | None = None

    async def write(self, definitions: Definitions) -> None:
        """Return when they stand. Raises as `post` does, for all that went into one request."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((definitions, done))
        if self._import is None:
            self._import = asyncio.create_task(self._write_all())
        await done

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._write(batch)
        finally:
            self._import = None

    async def _write(self, batch: Sequence[tuple[Definitions, asyncio.Future[None]]]) -> None:
        try:
            await self._post(merged(definitions for definitions, _ in batch))
        except BaseException as error:
            for _, done in batch:
                if not done.done():
                    done.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for _, done in batch:
                if not done.done():
                    done.set_result(None)


def merged(parts: Iterable[Definitions]) -> Definitions:
    """All objects of all parts, by kind."""
    whole: dict[str, list[Mapping[str, Any]]] = {}
    for part in parts:
        for kind, objects in part.items():
            whole.setdefault(kind, []).extend(objects)
    return whole
