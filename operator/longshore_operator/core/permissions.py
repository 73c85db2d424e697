"""Who may do what in RabbitMQ: a worker user and a producer user per TaskQueue, with least rights.

Publishing through the default exchange cannot be restricted, so nobody may; everything enters by
Longshore's topic exchanges, whose keys topic permissions check. Measured on 4.3.6: with these
rights every attempt on another namespace's queue gets 403.
"""

import re
from dataclasses import dataclass
from typing import Literal

from longshore.contract.delays import DELAY_EXCHANGE, LEVELS
from longshore.contract.names import DEAD_EXCHANGE, JOBS_EXCHANGE, REPORTS_EXCHANGE

Role = Literal["worker", "producer"]
ROLES: tuple[Role, ...] = ("worker", "producer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """Regular expressions of the objects that a user may configure, write to and read from."""

    configure: str
    write: str
    read: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A RabbitMQ user with its rights in one vhost."""

    name: str
    permissions: Permissions
    topics: tuple[tuple[str, str], ...]
    """Exchanges with the keys, as a regular expression, that may be published there."""


def user_name(*, vhost: str, queue: str, role: Role) -> str:
    """Users belong to the whole of RabbitMQ, queues to a vhost: the name tells both."""
    return f"{vhost}.{queue}.{role}"


def user(*, vhost: str, queue: str, role: Role, source: str | None = None) -> User:
    """The user of `role` for `queue`. It may publish to every queue of the queue's namespace.

    `source` is the queue that workers take jobs from, where it has another name.
    """
    namespace = re.escape(queue.partition(".")[0])
    own = _exactly(queue)
    topics = [
        (JOBS_EXCHANGE, rf"^{namespace}\.[^.]+$"),
        (DELAY_EXCHANGE, rf"^([01]\.){{{LEVELS}}}{namespace}\.[^.]+$"),
    ]
    if role == "worker":
        topics += [(DEAD_EXCHANGE, own), (REPORTS_EXCHANGE, own)]
    return User(
        name=user_name(vhost=vhost, queue=queue, role=role),
        permissions=Permissions(
            configure="^$",
            write=f"^({'|'.join(re.escape(exchange) for exchange, _ in topics)})$",
            read=_exactly(source or queue) if role == "worker" else "^$",
        ),
        topics=tuple(topics),
    )


def _exactly(queue: str) -> str:
    return f"^{re.escape(queue)}$"
