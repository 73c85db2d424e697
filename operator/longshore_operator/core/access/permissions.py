"""Rights in RabbitMQ: each TaskQueue has a worker user and a producer user, with least privilege.

Publishing through the default exchange cannot be restricted to some keys, so it is forbidden.
Everything enters by Longshore's topic exchanges, whose keys are checked by topic permissions.
Declaring anything is forbidden too, because RabbitMQ does not check the keys of what a queue
dead-letters. Orders reach a worker by direct reply-to, which needs no rights. Measured on 4.0.5 and
4.3.6: with these rights, every attempt on another namespace's queue gets 403.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from longshore.contract.delays import DELAY_EXCHANGE, LEVELS
from longshore.contract.names import (
    DEAD_EXCHANGE,
    JOBS_EXCHANGE,
    REPORTS_EXCHANGE,
)

Role = Literal["worker", "producer"]
ROLES: tuple[Role, ...] = ("worker", "producer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """Regular expressions of the objects that a user may configure, write to and read from."""

    configure: str
    write: str
    read: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Regular expressions of the keys with which a user may publish, and bind a queue."""

    write: str = "^$"
    read: str = "^$"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A RabbitMQ user with its rights in one vhost."""

    name: str
    permissions: Permissions
    topics: tuple[tuple[str, Keys], ...]
    """Exchanges with the keys that may be used there."""


def user_name(*, vhost: str, queue: str, role: Role) -> str:
    """Return a user's name. Users belong to all of RabbitMQ and queues to a vhost, so the name has
    both."""
    return f"{vhost}.{queue}.{role}"


def user(*, vhost: str, queue: str, role: Role, source: str | None = None) -> User:
    """Return the user of `role` for `queue`. It may publish to every queue of the queue's
    namespace.

    `source` is the queue from which workers take jobs, if it has another name.
    """
    namespace = re.escape(queue.partition(".")[0])
    own = _exactly(queue)
    topics = [
        (JOBS_EXCHANGE, Keys(write=rf"^{namespace}\.[^.]+$")),
        (DELAY_EXCHANGE, Keys(write=rf"^([01]\.){{{LEVELS}}}{namespace}\.[^.]+$")),
    ]
    read = "^$"
    if role == "worker":
        topics += [(DEAD_EXCHANGE, Keys(write=own)), (REPORTS_EXCHANGE, Keys(write=own))]
        read = _exactly(source or queue)
    return User(
        name=user_name(vhost=vhost, queue=queue, role=role),
        permissions=Permissions(configure="^$", write=_any_of(topics), read=read),
        topics=tuple(topics),
    )


def _any_of(topics: Iterable[tuple[str, Keys]]) -> str:
    return f"^({'|'.join(re.escape(exchange) for exchange, _ in topics)})$"


def _exactly(queue: str) -> str:
    return f"^{re.escape(queue)}$"
