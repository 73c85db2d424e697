"""Whose a virtual host is: its mark in RabbitMQ.

The mark is an exchange that nobody publishes to. The owner's name is its alternate exchange, which
RabbitMQ compares when an exchange is declared that is there already (400 where it differs), so of
two that claim a virtual host at the same time one gets it. The mark is read with all other
exchanges, and goes with the virtual host.
"""

from longshore.contract.names import INSTALLATION_EXCHANGE
from longshore_operator.core.rabbitmq.topology import Exchange

_OWNER = "alternate-exchange"
_KIND = "kubernetes"


def owner_name(*, cluster: str | None, broker: str, uid: str) -> str:
    """The name of a Broker as an owner. It is the same for one that is made anew, in a cluster
    that is known."""
    return f"{_KIND}/{cluster}/{broker}" if cluster else f"broker/{uid}"


def mark_of(owner: str) -> Exchange:
    """The mark of a virtual host that is `owner`'s."""
    return Exchange(name=INSTALLATION_EXCHANGE, type="fanout", arguments={_OWNER: owner})


def vhost_owner_in(mark: Exchange) -> str:
    """The owner that a mark names; empty where somebody else has made it."""
    return str(mark.arguments.get(_OWNER, ""))


def broker_of(owner: str, *, cluster: str | None) -> str | None:
    """The name of the Broker that an owner is in `cluster`; None if it is in another one."""
    kind, _, rest = owner.partition("/")
    where, _, broker = rest.partition("/")
    return broker if cluster and (kind, where) == (_KIND, cluster) else None
