"""The installation mark, which names the Broker that a virtual host belongs to.

The mark is an exchange to which nothing is published. Its alternate exchange is the owner's name.
When an existing exchange is declared again, RabbitMQ compares its alternate exchange (400 if it
differs), so only one of two Brokers that claim a virtual host at the same time gets it. The mark is
read with all other exchanges, and is removed with the virtual host.
"""

from longshore.contract.names import INSTALLATION_EXCHANGE
from longshore_operator.core.rabbitmq.topology import Exchange

_OWNER = "alternate-exchange"
_KIND = "kubernetes"


def owner_name(*, cluster: str | None, broker: str, uid: str) -> str:
    """Return the name of a Broker as an owner. A Broker that is recreated has the same name if the
    cluster is known."""
    return f"{_KIND}/{cluster}/{broker}" if cluster else f"broker/{uid}"


def mark_of(owner: str) -> Exchange:
    """Return the mark of a virtual host that belongs to `owner`."""
    return Exchange(name=INSTALLATION_EXCHANGE, type="fanout", arguments={_OWNER: owner})


def vhost_owner_in(mark: Exchange) -> str:
    """Return the owner that a mark names; empty if Longshore has not created it."""
    return str(mark.arguments.get(_OWNER, ""))


def broker_of(owner: str, *, cluster: str | None) -> str | None:
    """Return the name of the Broker that `owner` denotes in `cluster`; None if it denotes none
    there."""
    kind, _, rest = owner.partition("/")
    where, _, broker = rest.partition("/")
    return broker if cluster and (kind, where) == (_KIND, cluster) else None
